// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Where a mirror ends, read from the mirror itself: nothing else is believed. */
#include "spool/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/bytes.h"
#include "spool/dir.h"

#define READ_BYTES 262144u

struct walk {
	struct sg_stream in;
	struct sg_piece header, last; /* bytes 0: none seen */
	uint64_t last_at, end;	      /* where the last frame begins, and ends */
	struct sg_index index;
};

static int on_piece(void *arg, const struct sg_piece *piece)
{
	struct walk *w = arg;

	switch (piece->kind) {
	case SG_PIECE_HEADER:
		if (w->header.bytes)
			return -EBADMSG; /* one file, two segments */
		w->header = *piece;
		break;
	case SG_PIECE_FRAME:
		if (w->last.bytes && piece->first != w->last.last + 1)
			return -EBADMSG;
		w->last = *piece;
		w->last_at = w->end;
		(void)sg_index_add(&w->index, piece->first, w->end);
		break;
	case SG_PIECE_ZEROS:
	case SG_PIECE_BREAK:
		return 0;
	}
	w->end += piece->bytes;
	return 0;
}

/* Read a whole segment. fragment: bytes behind w->end that are no frame, and before no frame. */
static int walk_file(struct walk *w, int fd, uint64_t *fragment)
{
	uint8_t *buf = malloc(READ_BYTES);
	uint64_t at = 0;
	size_t got = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		err = sg_pread_all(fd, buf, READ_BYTES, at, &got);
		if (err || !got)
			break;
		at += got;
		err = sg_stream_push(&w->in, buf, got, on_piece, w);
	}
	free(buf);
	return err ? err : sg_stream_end(&w->in, on_piece, w, fragment);
}

/* Nothing but zeros, or too little to be a header: a segment that was begun when the machine stopped. */
static int only_begun(int fd, uint64_t bytes, uint64_t header_bytes, bool *yes)
{
	uint8_t buf[4096];
	uint64_t at = 0;
	size_t got;
	int err;

	for (*yes = true; *yes && bytes > header_bytes && at < bytes; at += got) {
		err = sg_pread_all(fd, buf, sizeof(buf), at, &got);
		if (err || !got)
			return err;
		*yes = sg_all_zero(buf, got);
	}
	return 0;
}

static int drop_begun(struct spool_mirror *m, const char *name, uint64_t bytes)
{
	char kept[SG_KEPT_BYTES];
	int err = bytes ? sg_dir_keep_file(m->dirfd, name, m->config.mode, kept) : 0;

	if (err)
		return err;
	if (unlinkat(m->dirfd, name, 0) != 0)
		return -errno;
	return sg_dir_sync(m->dirfd);
}

/* Cut what is behind the last frame: a torn tail is kept, zeros need not be. */
static int cut(struct spool_mirror *m, int fd, const char *name, uint64_t end, uint64_t bytes,
	       uint64_t fragment)
{
	char kept[SG_KEPT_BYTES];
	int err = 0;

	if (fragment)
		err = sg_dir_keep_range(m->dirfd, name, end, bytes - end, m->config.mode, kept);
	if (!err && bytes > end && ftruncate(fd, (off_t)end) != 0)
		err = -errno;
	return err;
}

static int damaged(struct spool_mirror *m, const char *name, const struct walk *w)
{
	return sg_mirror_fail(m, -EBADMSG, "%s of the mirror is damaged behind byte %" PRIu64, name,
			      w->end);
}

/* The mirror ends where this walk did. */
static void adopt(struct spool_mirror *m, const struct walk *w, uint64_t number, int fd)
{
	bool native = m->format == SPOOL_FORMAT_NATIVE;

	m->fd = fd;
	m->number = number;
	m->end = w->end;
	m->index = w->index;
	m->header = w->header.header;
	m->version = w->header.version;
	m->numbered = true;
	m->next = native ? number : number + 1;
	m->last_known = w->last.bytes != 0;
	if (!m->last_known)
		return;
	m->next = w->last.last + 1;
	m->last_first = w->last.first;
	m->last_at = w->last_at;
	m->last_crc = w->last.crc;
	m->epoch = w->last.epoch;
}

/* Does what the file holds fit its name? */
static bool named_well(const struct spool_mirror *m, const struct walk *w, uint64_t number)
{
	if (m->format == SPOOL_FORMAT_NATIVE)
		return w->header.first == number;
	return !w->last.bytes || w->in.next > number;
}

static int judge(struct spool_mirror *m, struct walk *w, uint64_t number, const char *name, int fd)
{
	uint64_t fragment = 0;
	struct stat st;
	bool begun = false;
	int err = fstat(fd, &st) != 0 ? -errno : walk_file(w, fd, &fragment);

	if (!err && w->header.bytes == 0) {
		err = only_begun(fd, (uint64_t)st.st_size,
				 m->format == SPOOL_FORMAT_NATIVE ? SG_HEADER_BYTES
								  : SG_CL_HEADER_BYTES,
				 &begun);
		if (!err && begun)
			err = drop_begun(m, name, (uint64_t)st.st_size);
		return err ? err : begun ? -ENODATA : damaged(m, name, w);
	}
	if (err == -EBADMSG || (!err && !named_well(m, w, number)))
		return damaged(m, name, w);
	if (!err)
		err = cut(m, fd, name, w->end, (uint64_t)st.st_size, fragment);
	/* Whoever wrote it may not have come so far as to sync it. */
	if (!err && fdatasync(fd) != 0)
		err = -errno;
	return err;
}

/* -ENODATA: it had only been begun, and is gone. */
static int resume_at(struct spool_mirror *m, uint64_t number)
{
	char name[SG_NAME_BYTES];
	struct walk w = { .end = 0 };
	int fd, err;

	sg_dir_name(name, number, SG_MIRROR_NAMES(m));
	fd = openat(m->dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	sg_stream_init(&w.in, m->format, true);
	err = judge(m, &w, number, name, fd);
	sg_stream_free(&w.in);
	if (!err) {
		adopt(m, &w, number, fd);
		return 0;
	}
	close(fd);
	sg_index_free(&w.index);
	return err;
}

/* The format of what is there must be the one that is asked for. */
static int settle_format(struct spool_mirror *m, size_t native, size_t logs)
{
	enum spool_format there = native ? SPOOL_FORMAT_NATIVE : SPOOL_FORMAT_COMMITLOG;

	if (native == 0 && logs == 0)
		return 0;
	if ((native && logs) || (m->format != SPOOL_FORMAT_DETECT && m->format != there))
		return sg_mirror_fail(m, -EBADMSG, "the mirror holds another format");
	m->format = there;
	return 0;
}

int sg_mirror_resume(struct spool_mirror *m)
{
	struct sg_numbers native, logs = { 0 };
	const struct sg_numbers *list = &native;
	int err = sg_dir_list(m->dirfd, SG_SEGMENT, &native);
	size_t i;

	if (!err)
		err = sg_dir_list(m->dirfd, SG_CL_SUFFIX, &logs);
	if (!err)
		err = settle_format(m, native.n, logs.n);
	if (logs.n)
		list = &logs;
	for (i = list->n; !err && i > 0; i--) {
		err = resume_at(m, list->v[i - 1]);
		if (err != -ENODATA) {
			m->empty = !err && i == 1 && !m->last_known;
			break;
		}
		err = 0;
	}
	sg_numbers_free(&native);
	sg_numbers_free(&logs);
	return err ? err : sg_dir_sync(m->dirfd);
}
