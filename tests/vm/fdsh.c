/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * fdsh: a shell for file descriptors. Reads one command a line and answers each with one line,
 * so that a test can break a disk between two calls of one process:
 *
 *	open NAME PATH FLAG…	FLAG: r w rw creat excl trunc append sync dsync direct dir
 *	dup NEW NAME
 *	write NAME BYTES [CHAR]
 *	pwrite NAME OFFSET BYTES [CHAR]
 *	fsync NAME | fdatasync NAME | syncfs NAME | close NAME
 *	start NAME		begin to write the file back, wait for nothing
 *	check NAME		does a writeback error wait for this description? (takes it; no I/O)
 *	rename OLD NEW | unlink PATH
 *	sleep MILLISECONDS
 *
 * The answer: the command and NAME, "=", the call's return value or the errno's name, and the
 * microseconds that it took: "fsync a = EIO 1234". NAMEs are the test's own, not numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS    12
#define MAX_FILES    256
#define BUFFER_BYTES (1 << 20)

struct file {
	char name[32];
	int fd;
};

static struct file files[MAX_FILES];
static char *buffer;

static struct file *find(const char *name)
{
	size_t i;

	for (i = 0; i < MAX_FILES; i++)
		if (files[i].name[0] && !strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}

static int fd_of(const char *name)
{
	struct file *f = find(name);

	return f ? f->fd : -1;
}

static int remember(const char *name, int fd)
{
	size_t i;

	if (fd < 0)
		return fd;
	for (i = 0; i < MAX_FILES; i++) {
		if (files[i].name[0])
			continue;
		snprintf(files[i].name, sizeof(files[i].name), "%s", name);
		files[i].fd = fd;
		return fd;
	}
	close(fd);
	errno = EMFILE;
	return -1;
}

static const struct {
	const char *word;
	int flag;
} flags[] = {
	{ "r", O_RDONLY },    { "w", O_WRONLY },      { "rw", O_RDWR },	      { "creat", O_CREAT },
	{ "excl", O_EXCL },   { "trunc", O_TRUNC },   { "append", O_APPEND }, { "sync", O_SYNC },
	{ "dsync", O_DSYNC }, { "direct", O_DIRECT }, { "dir", O_DIRECTORY },
};

/* -1 for a word that is no flag: a test that mistypes one must not test something else. */
static int parse_flags(char **words, int n)
{
	int i, value = 0;
	size_t k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < sizeof(flags) / sizeof(flags[0]); k++)
			if (!strcmp(words[i], flags[k].word))
				break;
		if (k == sizeof(flags) / sizeof(flags[0]))
			return -1;
		value |= flags[k].flag;
	}
	return value;
}

static long do_open(char **w, int n)
{
	int fl = parse_flags(w + 3, n - 3);

	if (fl < 0 || find(w[1])) {
		errno = EINVAL;
		return -1;
	}
	return remember(w[1], open(w[2], fl, 0644));
}

static long do_write(const char *name, off_t offset, const char *count, const char *fill)
{
	size_t bytes = strtoul(count, NULL, 0);

	if (bytes > BUFFER_BYTES) {
		errno = EINVAL;
		return -1;
	}
	memset(buffer, fill ? fill[0] : 'x', bytes);
	if (offset < 0)
		return write(fd_of(name), buffer, bytes);
	return pwrite(fd_of(name), buffer, bytes, offset);
}

static long do_close(const char *name)
{
	struct file *f = find(name);

	if (!f) {
		errno = EBADF;
		return -1;
	}
	f->name[0] = 0;
	return close(f->fd);
}

static long do_sleep(const char *ms)
{
	long n = atol(ms);
	struct timespec t = { n / 1000, n % 1000 * 1000000 };

	return nanosleep(&t, NULL);
}

/* Far beyond any page that is there: waits for nothing, but reports what errseq has for this file. */
static long do_check(int fd)
{
	return sync_file_range(fd, (off_t)1 << 40, 4096, SYNC_FILE_RANGE_WAIT_BEFORE);
}

static long run(char **w, int n)
{
	if (n >= 4 && !strcmp(w[0], "open"))
		return do_open(w, n);
	if (n == 3 && !strcmp(w[0], "dup"))
		return remember(w[1], dup(fd_of(w[2])));
	if ((n == 3 || n == 4) && !strcmp(w[0], "write"))
		return do_write(w[1], -1, w[2], w[3]);
	if ((n == 4 || n == 5) && !strcmp(w[0], "pwrite"))
		return do_write(w[1], strtol(w[2], NULL, 0), w[3], w[4]);
	if (n == 2 && !strcmp(w[0], "fsync"))
		return fsync(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "fdatasync"))
		return fdatasync(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "syncfs"))
		return syncfs(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "start"))
		return sync_file_range(fd_of(w[1]), 0, 0, SYNC_FILE_RANGE_WRITE);
	if (n == 2 && !strcmp(w[0], "check"))
		return do_check(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "close"))
		return do_close(w[1]);
	if (n == 3 && !strcmp(w[0], "rename"))
		return rename(w[1], w[2]);
	if (n == 2 && !strcmp(w[0], "unlink"))
		return unlink(w[1]);
	if (n == 2 && !strcmp(w[0], "sleep"))
		return do_sleep(w[1]);
	errno = ENOSYS;
	return -1;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(void)
{
	char line[4096], *words[MAX_WORDS + 1], *save, *word;
	uint64_t start, took;
	long ret;
	int n;

	buffer = aligned_alloc(4096, BUFFER_BYTES);
	if (!buffer)
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		memset(words, 0, sizeof(words));
		n = 0;
		for (word = strtok_r(line, " \n", &save); word && n < MAX_WORDS;
		     word = strtok_r(NULL, " \n", &save))
			words[n++] = word;
		if (!n)
			continue;
		start = now_us();
		ret = run(words, n);
		took = now_us() - start;
		printf("%s %s = ", words[0], n > 1 ? words[1] : "");
		if (ret < 0)
			printf("%s %llu\n", strerrorname_np(errno), (unsigned long long)took);
		else
			printf("%ld %llu\n", ret, (unsigned long long)took);
		fflush(stdout);
	}
	return 0;
}
