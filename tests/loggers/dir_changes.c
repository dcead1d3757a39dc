/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * dir_changes DIR: change and sync the directory DIR as told, one command a line, so that a test can look at the
 * counters in between. Each is answered with "ok" or with the error.
 *
 *	create NAME, unlink NAME, mkdir NAME, rmdir NAME, rename OLD NEW, link OLD NEW, symlink TO NAME
 *	hold NAME		append to NAME, and keep it open: a directory is guarded when a guarded file is open in it
 *	sync			fsync of DIR, through the one descriptor that is open all the time
 *	churn COUNT		COUNT times: create or unlink, and sync at once, while the directory's times do not move
 *
 * Names are in DIR unless they begin with a slash.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int create(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -1 : close(fd);
}

static int hold(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	return fd < 0 || write(fd, "held\n", 5) != 5 ? -1 : 0;
}

static int churn(int dir, long count)
{
	long i;

	for (i = 0; i < count; i++)
		if ((i % 2 ? unlinkat(dir, "churned", 0) : create(dir, "churned")) || fsync(dir))
			return -1;
	return 0;
}

static int obey(int dir, const char *word, const char *a, const char *b)
{
	if (!strcmp(word, "sync"))
		return fsync(dir);
	if (!strcmp(word, "hold"))
		return hold(dir, a);
	if (!strcmp(word, "churn"))
		return churn(dir, atol(a));
	if (!strcmp(word, "create"))
		return create(dir, a);
	if (!strcmp(word, "unlink"))
		return unlinkat(dir, a, 0);
	if (!strcmp(word, "mkdir"))
		return mkdirat(dir, a, 0700);
	if (!strcmp(word, "rmdir"))
		return unlinkat(dir, a, AT_REMOVEDIR);
	if (!strcmp(word, "rename"))
		return renameat(dir, a, dir, b);
	if (!strcmp(word, "link"))
		return linkat(dir, a, dir, b, 0);
	if (!strcmp(word, "symlink"))
		return symlinkat(a, dir, b);
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	char line[9000], word[32], a[4097], b[4097];
	int dir;

	if (argc != 2) {
		fprintf(stderr, "usage: dir_changes DIR\n");
		return 2;
	}
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		perror(argv[1]);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		word[0] = a[0] = b[0] = 0;
		if (sscanf(line, "%31s %4096s %4096s", word, a, b) < 1)
			continue;
		if (obey(dir, word, a, b))
			printf("%s: %s\n", word, strerror(errno));
		else
			puts("ok");
		fflush(stdout);
	}
	return 0;
}
