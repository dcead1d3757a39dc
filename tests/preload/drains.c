// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Built with the wrappers inside, run with a window and a broker: nothing overtakes data at risk. For each
 * call: three appends that are at risk, the call, and nothing at risk any more when it has returned.
 * Prints what is not so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/process.h"

static int fd, failures;

static const struct sg_file *file;

static const struct sg_file *file_of(int of)
{
	struct stat st;
	int i;

	if (fstat(of, &st))
		return NULL;
	for (i = 0; i < SG_FILES; i++)
		if (sg_process.files[i].state == SG_SLOT_LIVE &&
		    sg_process.files[i].id.ino == st.st_ino &&
		    sg_process.files[i].id.dev == st.st_dev)
			return &sg_process.files[i];
	return NULL;
}

static long at_risk(void)
{
	struct sg_at_risk risk = { 0 };

	if (!file)
		return -1;
	sg_ledger_at_risk(file->ledger, &risk);
	return (long)risk.records;
}

static void check(const char *what, long got, long want)
{
	if (got == want)
		return;
	printf("%s: %ld, not %ld (errno %d)\n", what, got, want, errno);
	failures++;
}

static void begin(void)
{
	int i;

	unlink("f.log");
	unlink("g.log");
	fd = open("f.log", O_RDWR | O_CREAT | O_APPEND, 0644);
	for (i = 0; i < 3; i++)
		if (write(fd, "line\n", 5) != 5)
			failures++;
	if (fsync(fd))
		failures++;
	file = file_of(fd);
}

#define DRAINS(expr)                                          \
	do {                                                  \
		begin();                                      \
		check("at risk before " #expr, at_risk(), 3); \
		check(#expr, (expr) ? 1 : 0, 1);              \
		check("at risk after " #expr, at_risk(), 0);  \
		close(fd);                                    \
	} while (0)
#define HOLDS(expr)                                          \
	do {                                                 \
		begin();                                     \
		check(#expr, (expr) ? 1 : 0, 1);             \
		check("at risk after " #expr, at_risk(), 3); \
		close(fd);                                   \
	} while (0)

/* Is the file demoted to group by this? */
#define MODE(want, expr)                                              \
	do {                                                          \
		begin();                                              \
		check(#expr, (expr) ? 1 : 0, 1);                      \
		check("mode after " #expr, sg_file_mode(file), want); \
		close(fd);                                            \
	} while (0)
#define PLAIN_FLAGS (fcntl(fd, F_SETFL, 0) == 0)

static int other(void)
{
	static int null = -1;

	return null < 0 ? null = open("/dev/null", O_WRONLY) : null;
}

static int dir(void)
{
	return open(".", O_RDONLY | O_DIRECTORY);
}

static bool reopened(const char *mode)
{
	FILE *f = fopen("f.log", mode);

	return f && fclose(f) == 0;
}

int main(void)
{
	void *m;

	other();
	HOLDS(fsync(fd) == 0);
	HOLDS(fdatasync(fd) == 0);
	HOLDS(lseek(fd, 0, SEEK_SET) == 0);
	HOLDS(access("f.log", F_OK) == 0);
	HOLDS(unlink("missing.log") == -1);
	HOLDS(open("f.log", O_RDONLY) >= 0);
	DRAINS(rename("f.log", "g.log") == 0);
	DRAINS(renameat(AT_FDCWD, "f.log", AT_FDCWD, "g.log") == 0);
	DRAINS(renameat2(AT_FDCWD, "f.log", AT_FDCWD, "g.log", 0) == 0);
	DRAINS(close(open("h.log", O_CREAT | O_WRONLY, 0600)) == 0 &&
	       rename("h.log", "f.log") == 0);
	DRAINS(link("f.log", "g.log") == 0);
	DRAINS(linkat(AT_FDCWD, "f.log", AT_FDCWD, "g.log", 0) == 0);
	DRAINS(linkat(fd, "", AT_FDCWD, "g.log", AT_EMPTY_PATH) == 0);
	DRAINS(unlink("f.log") == 0);
	DRAINS(unlinkat(AT_FDCWD, "f.log", 0) == 0);
	DRAINS(remove("f.log") == 0);
	DRAINS(truncate("f.log", 1) == 0);
	DRAINS(truncate64("f.log", 1) == 0);
	DRAINS(ftruncate(fd, 1) == 0);
	DRAINS(ftruncate64(fd, 1) == 0);
	DRAINS(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	DRAINS(fallocate64(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	DRAINS(posix_fallocate(fd, 0, 4096) == 0);
	DRAINS(posix_fallocate64(fd, 0, 4096) == 0);
	DRAINS(open("f.log", O_WRONLY | O_TRUNC) >= 0);
	DRAINS(openat(AT_FDCWD, "f.log", O_WRONLY | O_TRUNC) >= 0);
	DRAINS(creat("f.log", 0600) >= 0);
	DRAINS(reopened("w"));
	DRAINS(freopen("f.log", "w", stdin) != NULL);
	DRAINS(close(fd) == 0);
	DRAINS(dup2(2, fd) == fd);
	DRAINS(dup3(2, fd, O_CLOEXEC) == fd);
	DRAINS(close_range((unsigned int)fd, (unsigned int)fd, 0) == 0);
	DRAINS(fclose(fdopen(fd, "a")) == 0);
	DRAINS(fsync(dir()) == 0);
	DRAINS(syncfs(fd) == 0);
	DRAINS((sync(), true));
	DRAINS(execl("/missing", "missing", NULL) == -1 && errno == ENOENT);
	DRAINS(execvp("missing-program", (char *[]){ NULL }) == -1);
	/* No append-only file any more. */
	DRAINS((m = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	MODE(SG_MODE_WINDOW, pwrite(fd, "x", 1, 0) == 1); /* O_APPEND wins */
	MODE(SG_MODE_WINDOW, lseek(fd, 0, SEEK_SET) == 0 && write(fd, "x", 1) == 1);
	MODE(SG_MODE_WINDOW, PLAIN_FLAGS && lseek(fd, 0, SEEK_END) == 15 && write(fd, "x", 1) == 1);
	MODE(SG_MODE_WINDOW, PLAIN_FLAGS && pwrite(fd, "x", 1, 15) == 1);
	MODE(SG_MODE_GROUP, PLAIN_FLAGS && pwrite(fd, "x", 1, 14) == 1);
	MODE(SG_MODE_GROUP, PLAIN_FLAGS && lseek(fd, 0, SEEK_SET) == 0 && write(fd, "x", 1) == 1);
	MODE(SG_MODE_GROUP, PLAIN_FLAGS && lseek(fd, -1, SEEK_CUR) == 14 && write(fd, "x", 1) == 1);
	MODE(SG_MODE_GROUP, (m = mmap(NULL, 5, PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	MODE(SG_MODE_WINDOW, (m = mmap(NULL, 5, PROT_WRITE, MAP_PRIVATE, fd, 0)) != MAP_FAILED);
	MODE(SG_MODE_WINDOW, (m = mmap(NULL, 5, PROT_READ, MAP_SHARED, fd, 0)) != MAP_FAILED);
	printf("%d failures\n", failures);
	return failures != 0;
}
