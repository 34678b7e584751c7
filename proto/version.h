/* Order of version strings: SemVer 2.0.0's precedence (semver.org, section 11), carried over to any other
 * string so that "1.4", "2024-01-05" and "build 7" have their place in the same order.
 *
 * A 'v' before a leading digit is skipped. Build metadata, from the first '+' on, is ignored. What is left is
 * cut at its first '-' into core and pre-release.
 * - Cores: runs of digits compare by value, other bytes one by one; a run of digits is below any other byte,
 * a core that ends is below one that goes on (1.4 < 1.4.0 < 1.10).
 * - Equal cores: one without pre-release is above one with; pre-releases compare identifier by identifier
 * between dots: digits by value, others byte by byte, digits below others, fewer below more.
 *
 * For two SemVer versions this is exactly SemVer's precedence, and over all strings it is one total order:
 * never a cycle, so sorting and "version<1.4" are safe on mixed fleets. Strings are at most VERSION_LEN_MAX
 * bytes; what is longer is not looked at. Nothing is parsed into integers, so numbers have any length. */
#ifndef PROTO_VERSION_H
#define PROTO_VERSION_H

enum { VERSION_LEN_MAX = 64 };

/* Below 0: a is older than b; 0: the same precedence (not always the same text); above 0: a is newer. */
int version_compare(const char *a, const char *b);

#endif
