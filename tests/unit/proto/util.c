#include "tests/unit/proto/util.h"

/* Keys for tests alone: they are public and sign nothing that anybody trusts. */
static const char *const p256_keys[] = {
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgROG3Nu68Cc38kVrK\n"
	"UzsQ2DxT7xfbNaRoDnTEhhAFhDehRANCAATL/c0t2AXHBgYK9t+lniA3f0IpCERW\n"
	"scnw8jGDjRc5AQgGK5Mj+YrW6gTHFSEzvRciw3/VMxxXLJc8PS6UP+SQ\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghPVfBmLsuCO29/jj\n"
	"n/KGFk1Nr+s2PWoBWSqwDjDzsPuhRANCAARJ2W9a98RncxWO6JYszDfD53jjhJwf\n"
	"DuVheEbvPdt97eJWO5fvYg1KBe3COrH6Jze337dftTv+7e46f6iloJyh\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9I7CzuSN/dOCNmFq\n"
	"qQj9TJ4K+NaCZ9ZVTKLRgn2HMVGhRANCAARLcaNTG4WQDNQxDoPPVcNxdj0KkqKV\n"
	"huXFyc+1RsCTGbDoAH35gAmUpQLhJhkaDRkYScQGy6ltTW51FmiAIXOc\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB/CQ1dlq2b7Td29v\n"
	"S/RD+LtlR6TTCfOmdRCrCtv1wUWhRANCAASLJt1cegR035DVVb2Th4VVYnlt7vYg\n"
	"3EWhr22wccis/EHgjv3ODAM5IgS071u4qBvC0ExUOURVYWWq1K3bt4eW\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7aAY9fwksrDCW/SM\n"
	"VU+irYcbK1JmG74y32ISgCbZrMuhRANCAAS56CVHIK6CYnJe16IWzIe39jgi6Lpy\n"
	"dhpzjr92s73qmDOuE1366W7ThWhU/WvWMjRMULCu5ctNv3E/IrK8qPEC\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzUOAxaE4m8QL0z0C\n"
	"NE0GBveVqpX4OcJ3z22dSxL0kk2hRANCAAQHO0ViFSCN1I/CKyg41HNMTEe46j45\n"
	"kYYOJCEfRms8TWTpPq5CdD1d6TD6bg4NQHQ9/ZdXbcpChG/IaMxkjHnm\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpdNTPmQW+3779hw7\n"
	"ElCXTyLrm09KValzK2kRpEW2YsihRANCAATuMqRlG/y5qQJVuVaKvtr/Fa5jkozF\n"
	"YR/MsZOYgsB1HFc0gmq/7Bmuqz1QNI6q0LkbQqhob3EuZ5mHnA1CGz5g\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6s4L2un4XFuyqM0E\n"
	"J8DW3/27HduQbtj59gL5dv+dTvqhRANCAARDRJs5fT9DSm5phZPWvqHq4lfC5IwI\n"
	"KGOi/Aja5otRCB9Cj8YidJQ+cB1I4HMcrxvljDrkHxkrRkrcA+nTD0Kh\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv9sQFUTM9yco06Ut\n"
	"iAAziEiKwxx82ujx+ETjDRJAdvehRANCAARCHtILJ+AwB0tihA7pqcmMX7Zd13BR\n"
	"3M09OGajjCypiUEE7AeNlQRD/TWVGzvHmrRdiCM7dwH9nJ4E/HQItr79\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjTedTIEe6LT46rxL\n"
	"Kib7F9JJ2GQ60bxllW1F6QMYMa6hRANCAARpcVMryVybuPGyvqfPXLFKew5kCSMU\n"
	"6ekM2LwezD8NX3SneDSdTlaZqI+gj5Js2rVCPjtd4908wL+a4fHRCH/H\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgS3PMleex5DKgrx0+\n"
	"6b+ep5/qdbEixl8e2Sl2ty88T5KhRANCAAQS+qTnrIksikHraZsr4M+3BTtL9WsX\n"
	"tEDUxZ/KtdcIHASe5XN7qH0Xmp9cD9452X33NytzHEAy4VGHYmcBGxen\n",
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgX8uxGDIBi8I/0Mcj\n"
	"8Pb37i/l8JKwjvV8B9OwIW8lv3qhRANCAARq0RO+YrGzhQdXXGxUZvu7rKTmYYu8\n"
	"b3lvTu68xTjqPefcQ9ITiFYjKqf5XRtFk36MkjQDQp1eTtmpEcYo6HGj\n",
};
/* RFC 8032 section 7.1, test 1, as PKCS#8. */
static const char ed25519_key[] = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n";

static int hex_value(char ch)
{
	const char *digits = "0123456789abcdef", *at = ch ? strchr(digits, ch) : NULL;

	return at ? (int)(at - digits) : -1;
}

size_t from_hex(const char *hex, void *buf, size_t cap)
{
	uint8_t *out = buf;
	size_t n = 0;

	while (*hex) {
		int high, low;

		if (*hex == ' ' || *hex == '\n' || *hex == '\t') {
			hex++;
			continue;
		}
		high = hex_value(hex[0]);
		low = hex_value(hex[1]);
		assert_true(high >= 0 && low >= 0);
		assert_true(n < cap);
		out[n++] = (uint8_t)(high << 4 | low);
		hex += 2;
	}
	return n;
}

void check_hex(const void *p, size_t len, const char *hex, const char *file, int line)
{
	uint8_t want[4096];
	size_t n = from_hex(hex, want, sizeof want);
	const uint8_t *got = p;

	if (n == len && memcmp(got, want, n) == 0)
		return;
	for (size_t i = 0; i < len; i++)
		print_error("%02x", got[i]);
	print_error("\n%s:%d: want %s\n", file, line, hex);
	_fail(file, line);
}

void check_err(enum ota_err got, enum ota_err want, const char *file, int line)
{
	if (got == want)
		return;
	print_error("%s:%d: got %s, want %s\n", file, line, ota_err_name(got), ota_err_name(want));
	_fail(file, line);
}

enum ota_err verdict_on(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	enum ota_err err;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, bytes, len);
	err = fn(copy, len, ctx);
	free(copy);
	return err;
}

size_t try_bit_flips(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx)
{
	uint8_t *copy = malloc(len);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	assert_err(fn(copy, len, ctx), OTA_OK);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		enum ota_err err;

		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err = fn(copy, len, ctx);
		if (err == OTA_OK || err == OTA_ALREADY) {
			print_error("bit %zu of byte %zu flipped and taken\n", bit % 8, bit / 8);
			fail();
		}
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(copy);
	return 8 * len;
}

size_t try_lengths(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx)
{
	uint8_t *longer = calloc(1, len + 16);
	size_t tried = 0;

	assert_non_null(longer);
	memcpy(longer, bytes, len);
	for (size_t n = 0; n <= len + 16; n++) {
		enum ota_err err;

		if (n == len)
			continue;
		err = verdict_on(longer, n, fn, ctx);
		if (err == OTA_OK || ota_err_reason(err) != 1) {
			print_error("%zu of %zu bytes: %s\n", n, len, ota_err_name(err));
			fail();
		}
		tried++;
	}
	free(longer);
	return tried;
}

void replace_once(uint8_t *bytes, size_t len, const void *from, const void *to, size_t n)
{
	uint8_t *found = NULL;

	for (size_t i = 0; i + n <= len; i++) {
		if (memcmp(bytes + i, from, n) == 0) {
			assert_null(found);
			found = bytes + i;
		}
	}
	assert_non_null(found);
	memcpy(found, to, n);
}

static struct ota_signer signers[TEST_SIGNERS + 1];

static void release_signers(void)
{
	for (size_t i = 0; i < LEN(signers); i++)
		crypto_signer_release(&signers[i]);
}

static const struct ota_signer *load(size_t slot, const char *base64)
{
	static int is_registered;
	char pem[512];
	int n;

	if (!is_registered) {
		atexit(release_signers);
		is_registered = 1;
	}
	if (!signers[slot].ctx) {
		n = snprintf(pem, sizeof pem, "-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n",
			base64);
		assert_err(crypto_signer_from_pem(pem, (size_t)n, NULL, &signers[slot]), OTA_OK);
	}
	return &signers[slot];
}

const struct ota_signer *test_signer(unsigned n)
{
	assert_true(n < TEST_SIGNERS);
	return load(n, p256_keys[n]);
}

const struct ota_signer *test_signer_ed25519(void)
{
	return load(TEST_SIGNERS, ed25519_key);
}

struct cose_key test_key(const struct ota_signer *s)
{
	struct cose_key key = {s->alg, {s->pub, s->pub_len}, {0}};

	memcpy(key.kid, s->kid, sizeof key.kid);
	return key;
}

void fill(void *out, size_t n, uint8_t first)
{
	uint8_t *p = out;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + i);
}

static uint8_t *read_whole(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rbe");
	uint8_t *buf;
	long size;

	if (!f)
		return NULL;
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	assert_true(size >= 0);
	rewind(f);
	buf = malloc((size_t)size + 1);
	assert_non_null(buf);
	*len = fread(buf, 1, (size_t)size, f);
	assert_int_equal(*len, size);
	buf[*len] = 0;
	fclose(f);
	return buf;
}

static const char *shared_dir(void)
{
	const char *dir = getenv("OTA_SHARED");

	return dir && *dir ? dir : "../shared";
}

uint8_t *shared_file(const char *name, size_t *len)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", shared_dir(), name);
	return read_whole(path, len);
}

uint8_t *source_file(const char *name, size_t *len)
{
	uint8_t *bytes = read_whole(name, len);

	if (!bytes)
		print_error("cannot read '%s' (run from the source root)\n", name);
	assert_non_null(bytes);
	return bytes;
}

void need_shared(void)
{
	size_t len;
	uint8_t *probe = shared_file("README.md", &len);

	if (!probe) {
		printf("skipped: no shared data\n");
		exit(77);
	}
	free(probe);
}
