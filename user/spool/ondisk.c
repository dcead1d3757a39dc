// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/ondisk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool/dir.h"

#define ALIGN	    4096u /* no disk wants more */
#define PIECE_BYTES 262144u

/* The same file again, past the cache. */
static int open_direct(int fd)
{
	char path[32];
	int direct;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct >= 0)
		return direct;
	return errno == EINVAL || errno == ENOENT ? -EOPNOTSUPP : -errno;
}

/* One read: behind a short one the place is not aligned, and the file at its end. */
static int read_direct(int fd, void *buf, uint64_t at, size_t *got)
{
	ssize_t n;

	do
		n = pread(fd, buf, PIECE_BYTES, (off_t)at);
	while (n < 0 && errno == EINTR);
	*got = n < 0 ? 0 : (size_t)n;
	if (n >= 0)
		return 0;
	return errno == EINVAL ? -EOPNOTSUPP : -errno;
}

/* Of the piece at `at`, which both buffers hold from its beginning, what lies in [from, to). */
static int compare(int cached, int direct, uint8_t *buf, uint64_t at, uint64_t from, uint64_t to)
{
	uint8_t *other = buf + PIECE_BYTES;
	size_t skip = from > at ? (size_t)(from - at) : 0, end, got;
	int err;

	end = to - at < PIECE_BYTES ? (size_t)(to - at) : PIECE_BYTES;
	err = read_direct(direct, buf, at, &got);
	if (err)
		return err;
	if (got < end)
		return -EIO;
	err = sg_pread_all(cached, other, end, at, &got);
	if (err)
		return err;
	return got == end && memcmp(buf + skip, other + skip, end - skip) == 0 ? 0 : -EIO;
}

int sg_on_disk(int fd, uint64_t from, uint64_t to)
{
	int direct = open_direct(fd), err = 0;
	uint64_t at = from - from % ALIGN;
	void *buf;

	if (direct < 0)
		return direct;
	if (posix_memalign(&buf, ALIGN, 2 * (size_t)PIECE_BYTES) != 0) {
		close(direct);
		return -ENOMEM;
	}
	for (; !err && at < to; at += PIECE_BYTES)
		err = compare(fd, direct, buf, at, from, to);
	free(buf);
	close(direct);
	return err;
}
