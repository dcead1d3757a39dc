/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * hop FILE COUNT: append a byte, then have it drained (ftruncate to the size it has), COUNT times; prints
 * the median nanoseconds of the drain. On a file system whose sync costs nothing (tmpfs), guarded in
 * window against bare, this is the way to the broker and back.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	uint64_t *took, t0;
	int fd, n, i;

	if (argc != 3 || (n = atoi(argv[2])) < 1) {
		fprintf(stderr, "usage: hop FILE COUNT\n");
		return 2;
	}
	fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0644);
	took = calloc((size_t)n, sizeof(*took));
	if (fd < 0 || !took) {
		perror(argv[1]);
		return 1;
	}
	for (i = 0; i < n; i++) {
		if (write(fd, "x", 1) != 1) {
			perror(argv[1]);
			return 1;
		}
		t0 = now_ns();
		if (ftruncate(fd, i + 1) != 0) {
			perror(argv[1]);
			return 1;
		}
		took[i] = now_ns() - t0;
	}
	qsort(took, (size_t)n, sizeof(*took), by_size);
	printf("%llu\n", (unsigned long long)took[n / 2]);
	free(took);
	return 0;
}
