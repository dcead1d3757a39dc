// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Prints the least time of a write to a descriptor that no policy names, in tenths of a nanosecond. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CALLS	2000
#define BATCHES 600

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(void)
{
	int fd = open("/dev/null", O_WRONLY), i, b;
	int64_t least = INT64_MAX, t;

	for (b = 0; b < BATCHES; b++) {
		t = now_ns();
		for (i = 0; i < CALLS; i++)
			if (write(fd, "x", 1) != 1)
				return 1;
		t = now_ns() - t;
		if (t < least)
			least = t;
	}
	printf("%lld\n", (long long)(least * 10 / CALLS));
	return 0;
}
