// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/crc32c.h"
#include "spool/dir.h"

#define WINDOW_BYTES 131072u
#define PIECE_BYTES  32768u

int sg_pane_open(struct sg_pane *v, int dirfd, const char *name)
{
	struct stat st;

	*v = (struct sg_pane){ .zero_from = UINT64_MAX };
	v->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (v->fd < 0)
		return -errno;
	if (fstat(v->fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	v->size = (uint64_t)st.st_size;
	return 0;
}

void sg_pane_close(struct sg_pane *v)
{
	if (v->fd >= 0)
		close(v->fd);
	free(v->buf);
	*v = (struct sg_pane){ .fd = -1 };
}

static int make_room(struct sg_pane *v, size_t want)
{
	uint8_t *buf;

	if (want < WINDOW_BYTES)
		want = WINDOW_BYTES;
	if (want <= v->room)
		return 0;
	buf = realloc(v->buf, want);
	if (!buf)
		return -ENOMEM;
	v->buf = buf;
	v->room = want;
	return 0;
}

int sg_pane_get(struct sg_pane *v, uint64_t offset, size_t want, const uint8_t **p)
{
	int err;

	if (offset < v->at || offset - v->at > v->have || v->have - (offset - v->at) < want) {
		err = make_room(v, want);
		if (err)
			return err;
		v->at = offset;
		v->have = 0;
		err = sg_pread_all(v->fd, v->buf, v->room, offset, &v->have);
		if (err)
			return err;
		if (v->have < want)
			return -ESTALE;
	}
	*p = v->buf + (offset - v->at);
	return 0;
}

int sg_pane_crc(struct sg_pane *v, uint64_t offset, uint64_t bytes, uint32_t *crc)
{
	uint8_t piece[PIECE_BYTES];
	size_t want, got;
	int err;

	if (offset >= v->at && offset - v->at <= v->have && v->have - (offset - v->at) >= bytes) {
		*crc = sg_crc32c(*crc, v->buf + (offset - v->at), (size_t)bytes);
		return 0;
	}
	for (; bytes; offset += got, bytes -= got) {
		want = bytes < sizeof(piece) ? (size_t)bytes : sizeof(piece);
		err = sg_pread_all(v->fd, piece, want, offset, &got);
		if (err)
			return err;
		if (got < want)
			return -ESTALE;
		*crc = sg_crc32c(*crc, piece, got);
	}
	return 0;
}

int sg_pane_zero_from(struct sg_pane *v, uint64_t *offset)
{
	uint64_t end = v->size;
	uint8_t piece[4096];
	size_t want, got;
	int err;

	if (v->zero_from == UINT64_MAX) {
		for (got = 0; end && !got; end -= want - got) {
			want = end < sizeof(piece) ? (size_t)end : sizeof(piece);
			err = sg_pread_all(v->fd, piece, want, end - want, &got);
			if (err)
				return err;
			if (got < want)
				return -ESTALE;
			while (got && !piece[got - 1])
				got--;
		}
		v->zero_from = end;
	}
	*offset = v->zero_from;
	return 0;
}
