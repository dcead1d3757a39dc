/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * wait_lines FILE COUNT SECONDS [PID]: return once FILE, which need not exist yet, has COUNT lines; status 1
 * and a message after SECONDS, or as soon as the process PID that should write them is gone.
 *
 * Prints the number of lines and FILE's last change, in seconds of the wall clock: the time at which the last line
 * came, exact to the kernel's tick. So this program need not hurry: it looks at most every 10 ms, to leave the
 * processors to those who are measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 10
/* mmap and a remote change raise no event */
#define LOOK_ANYWAY_MS 500

struct tally {
	const char *path;
	int fd;
	struct stat st;
	long lines;
};

/* Count on from where the last call stopped; from the beginning if another file took the name, or it shrank. */
static int tally_lines(struct tally *t)
{
	static char chunk[1 << 16];
	struct stat st;
	const char *p;
	ssize_t n;

	if (stat(t->path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (t->fd >= 0 && (st.st_ino != t->st.st_ino || st.st_dev != t->st.st_dev ||
			   st.st_size < lseek(t->fd, 0, SEEK_CUR))) {
		close(t->fd);
		t->fd = -1;
	}
	if (t->fd < 0) {
		t->lines = 0;
		t->fd = open(t->path, O_RDONLY | O_CLOEXEC);
		if (t->fd < 0)
			return errno == ENOENT ? 0 : -errno;
	}
	while ((n = read(t->fd, chunk, sizeof(chunk))) > 0)
		for (p = chunk; (p = memchr(p, '\n', (size_t)(chunk + n - p))); p++)
			t->lines++;
	if (n < 0 || fstat(t->fd, &t->st))
		return -errno;
	return 0;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void nap(long ms)
{
	struct timespec t = { .tv_nsec = ms * 1000000 };

	nanosleep(&t, NULL);
}

static int watch(const char *path)
{
	char *copy = strdup(path);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (!copy || fd < 0 ||
	    inotify_add_watch(fd, dirname(copy), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
		fprintf(stderr, "wait_lines: cannot watch the folder of %s: %s\n", path,
			strerror(errno));
		exit(1);
	}
	free(copy);
	return fd;
}

static void drain(int fd)
{
	static char events[1 << 14];

	while (read(fd, events, sizeof(events)) > 0)
		;
}

int main(int argc, char **argv)
{
	struct tally t = { .fd = -1 };
	struct pollfd p[2] = { { .events = POLLIN }, { .fd = -1, .events = POLLIN } };
	const char *why = NULL;
	long want, end, left;
	int ret;

	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: wait_lines FILE COUNT SECONDS [PID]\n");
		return 2;
	}
	t.path = argv[1];
	want = atol(argv[2]);
	end = now_ms() + atol(argv[3]) * 1000;
	p[0].fd = watch(t.path);
	if (argc > 4) {
		p[1].fd = (int)syscall(SYS_pidfd_open, atoi(argv[4]), 0);
		if (p[1].fd < 0)
			why = "its writer is gone";
	}
	/* The reason to stop is acted upon after one more look: the last lines may have come just before. */
	for (;;) {
		drain(p[0].fd);
		ret = tally_lines(&t);
		if (ret) {
			fprintf(stderr, "wait_lines: %s: %s\n", t.path, strerror(-ret));
			return 1;
		}
		if (t.lines >= want)
			break;
		if (why) {
			fprintf(stderr, "wait_lines: %s: %s, with %ld of %ld lines\n", t.path, why,
				t.lines, want);
			return 1;
		}
		left = end - now_ms();
		if (left <= 0) {
			why = "out of time";
			continue;
		}
		poll(p, 2, (int)(left < LOOK_ANYWAY_MS ? left : LOOK_ANYWAY_MS));
		if (p[1].fd >= 0 && p[1].revents)
			why = "its writer is gone";
		else
			nap(LOOK_MS);
	}
	printf("%ld %lld.%09ld\n", t.lines, (long long)t.st.st_mtim.tv_sec, t.st.st_mtim.tv_nsec);
	return 0;
}
