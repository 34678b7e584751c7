/* Feeds each file of the folders given as arguments to the fuzz target, once as it is, once cut in half and
 * once with its middle byte flipped: the corpus as a plain test, without libFuzzer. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20 };

/* In a heap block of exactly `len` bytes, so that a read past the end is seen. */
static void feed(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (!copy)
		abort();
	if (len > 0)
		memcpy(copy, bytes, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static int replay_file(const char *dir, const char *name, uint8_t *buf)
{
	char path[4096];
	size_t len;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "rbe");
	if (!f) {
		fprintf(stderr, "cannot open '%s': %s\n", path, strerror(errno));
		return -1;
	}
	len = fread(buf, 1, INPUT_MAX, f);
	fclose(f);
	feed(buf, len);
	feed(buf, len / 2);
	if (len > 0) {
		buf[len / 2] ^= 0x10;
		feed(buf, len);
	}
	return 0;
}

/* Number of files; -1 after a message. */
static int replay_folder(const char *dir, uint8_t *buf)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	int n = 0;

	if (!d) {
		fprintf(stderr, "cannot open '%s': %s\n", dir, strerror(errno));
		return -1;
	}
	while (n >= 0 && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] != '.')
			n = replay_file(dir, entry->d_name, buf) ? -1 : n + 1;
	}
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	uint8_t *buf = malloc(INPUT_MAX);
	int total = 0;

	for (int i = 1; buf && i < argc && total >= 0; i++) {
		int n = replay_folder(argv[i], buf);

		total = n < 0 ? -1 : total + n;
	}
	free(buf);
	if (total <= 0) {
		fprintf(stderr, "no corpus was read\n");
		return 1;
	}
	printf("%d files\n", total);
	return 0;
}
