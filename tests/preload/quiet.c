// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Counts allocations while wrapped calls are made on a file given by name; prints the count. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static int counted;

void *malloc(size_t n)
{
	counted++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	counted++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	counted++;
	return __libc_realloc(p, n);
}

int main(int argc, char **argv)
{
	struct iovec v = { (char *)"vector\n", 7 };
	int round, fd, d, bad = 0, before = counted;

	for (round = 0; round < 3; round++) {
		fd = open(argv[1], O_RDWR | O_CREAT | O_APPEND, 0644);
		bad |= write(fd, "line\n", 5) != 5;
		bad |= writev(fd, &v, 1) != 7;
		bad |= pwrite(fd, "line\n", 5, 0) != 5;
		bad |= fsync(fd) != 0;
		bad |= fdatasync(fd) != 0;
		d = dup(fd);
		bad |= dup2(fd, 100) != 100;
		bad |= fcntl(fd, F_SETFL, O_APPEND) != 0;
		bad |= lseek(fd, 0, SEEK_END) < 0;
		bad |= ftruncate(fd, 10) != 0;
		bad |= close(d) != 0;
		bad |= close_range(100, 100, 0) != 0;
		bad |= rename(argv[1], argv[2]) != 0;
		bad |= unlink(argv[2]) != 0;
		bad |= close(fd) != 0;
	}
	printf("%d allocations, %s\n", counted - before,
	       bad ? "and a call failed" : "all calls done");
	return bad;
}
