// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The segment being written: its making, its frames, its end. All under `append`. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/clock.h"
#include "spool/dir.h"
#include "spool/writer.h"

#define ZEROS_AHEAD (1u << 20) /* so many bytes of zeros are written at once */
#define PIECES	    64	       /* of a record, in one system call */

static bool is_empty(const struct sg_tail *t)
{
	return t->end == SG_HEADER_BYTES;
}

/* ---- room ---- */

/* Is there room for `more` bytes under max_bytes? Readers delete segments: counted anew before it is denied. */
static int room_for(struct spool *s, uint64_t more)
{
	int err;

	if (!s->c.max_bytes || s->bytes + more <= s->c.max_bytes)
		return 0;
	err = sg_dir_bytes(s->dirfd, &s->bytes);
	if (err)
		return err;
	return s->bytes + more <= s->c.max_bytes ? 0 : -ENOSPC;
}

static void resized(struct spool *s, struct sg_tail *t, uint64_t size)
{
	uint64_t less = t->size > size ? t->size - size : 0;

	s->bytes += size > t->size ? size - t->size : 0;
	s->bytes -= less < s->bytes ? less : s->bytes;
	t->size = size;
}

static int cut(struct spool *s, struct sg_tail *t)
{
	if (ftruncate(t->fd, (off_t)t->end) != 0)
		return -errno;
	resized(s, t, t->end);
	t->cut_first = false;
	return 0;
}

int sg_tail_cut(struct spool *s, struct sg_tail *t)
{
	int err;

	if (!t->cut_first && !t->reserved && t->size <= t->end)
		return 0;
	err = cut(s, t); /* also at the same size: that gives back what is reserved beyond it */
	if (!err)
		t->reserved = false;
	return err;
}

/* ---- making and leaving ---- */

int sg_tail_reserve(const struct spool *s, struct sg_tail *t)
{
	uint64_t bytes = s->c.segment_bytes > t->size ? s->c.segment_bytes : t->size;

	if (s->c.prealloc != SPOOL_PREALLOC_RESERVE)
		return 0;
	if (fallocate(t->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) != 0)
		return -errno;
	t->reserved = true;
	return 0;
}

static int begin_file(struct spool *s, struct sg_tail *t)
{
	struct sg_segment_header h = { .first_seq = t->number, .created_ns = sg_wall_ns() };
	uint8_t out[SG_HEADER_BYTES];
	int err;

	memcpy(h.id, s->id, sizeof(h.id));
	h.flags = t->zeros ? SG_HEADER_ZEROS : 0;
	sg_segment_header_write(out, &h);
	err = sg_pwrite_all(t->fd, out, sizeof(out), 0);
	if (err)
		return err;
	t->end = t->size = SG_HEADER_BYTES;
	err = sg_tail_reserve(s, t);
	return err ? err : sg_dir_sync(s->dirfd);
}

int sg_tail_create(struct spool *s, uint64_t first_seq, struct sg_tail **tail)
{
	struct sg_tail *t = calloc(1, sizeof(*t));
	char name[SG_NAME_BYTES];
	int err;

	if (!t)
		return -ENOMEM;
	sg_dir_name(name, first_seq, SG_SEGMENT);
	t->refs = 1;
	t->number = first_seq;
	t->zeros = s->c.prealloc == SPOOL_PREALLOC_WRITTEN;
	t->fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       (mode_t)s->c.mode);
	if (t->fd < 0) {
		err = -errno;
		free(t);
		return err;
	}
	err = begin_file(s, t);
	if (err) {
		unlinkat(s->dirfd, name, 0);
		sg_tail_put(t);
		return err;
	}
	*tail = t;
	return 0;
}

void sg_tail_put(struct sg_tail *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	close(t->fd);
	sg_index_free(&t->index);
	free(t);
}

/* ---- rotation ---- */

static int bad(struct spool *s, const struct sg_tail *t)
{
	int error;

	pthread_mutex_lock(&s->state);
	error = t->bad;
	pthread_mutex_unlock(&s->state);
	return error;
}

/* All that lies in the tail becomes durable, or is known to be lost. */
static int settle(struct spool *s, struct sg_tail *t, struct sg_news *news)
{
	int err;

	if (bad(s, t))
		return 0;
	err = sg_tail_cut(s, t);
	if (err)
		return sg_write_failed(s, err, news);
	if (sg_unsettled(s))
		err = sg_sync(s, news);
	return err && (sg_unsettled(s) || sg_latched(s)) ? err : 0;
}

/* The end of a segment. Its index is a hint: for want of space there is none. */
static int seal(struct spool *s, struct sg_tail *t, struct sg_news *news)
{
	int err;

	if (t->sealed)
		return 0;
	err = settle(s, t, news);
	if (err)
		return err;
	t->sealed = true;
	err = sg_index_write(&t->index, s->dirfd, t->number, t->number, s->seed, s->c.mode);
	if (!err)
		s->bytes += SG_INDEX_HEADER + SG_INDEX_ENTRY * t->index.n;
	else if (!sg_no_space(err) && sg_write_failed(s, err, news) && sg_latched(s))
		return err;
	return 0;
}

/* A tail whose sync failed before it had a record: its successor has the same name. */
static int drop_empty(struct spool *s, const struct sg_tail *t)
{
	char name[SG_NAME_BYTES];

	if (!is_empty(t))
		return 0;
	sg_dir_name(name, t->number, SG_SEGMENT);
	return unlinkat(s->dirfd, name, 0) != 0 && errno != ENOENT ? -errno : 0;
}

static void become_tail(struct spool *s, struct sg_tail *t)
{
	struct sg_tail *old = s->tail;

	pthread_mutex_lock(&s->state);
	s->tail = t;
	pthread_mutex_unlock(&s->state);
	s->bytes += t->size;
	sg_tail_put(old);
}

static int rotate(struct spool *s, uint64_t bytes, struct sg_news *news)
{
	struct sg_tail *t = s->tail, *next = NULL;
	int err;

	err = room_for(s, SG_HEADER_BYTES + bytes + SG_INDEX_HEADER +
				  SG_INDEX_ENTRY * (uint64_t)t->index.n);
	if (!err)
		err = seal(s, t, news);
	if (err)
		return err;
	err = drop_empty(s, t);
	if (!err)
		err = sg_tail_create(s, atomic_load(&s->appended) + 1, &next);
	if (err)
		return sg_write_failed(s, err, news);
	become_tail(s, next);
	return 0;
}

static bool time_to_rotate(struct spool *s, uint64_t bytes)
{
	struct sg_tail *t = s->tail;

	if (bad(s, t) || t->sealed)
		return true;
	return !is_empty(t) && (t->leave || t->end + bytes > s->c.segment_bytes);
}

/* ---- frames ---- */

/* Fill v with what of the frame lies behind its first `skip` bytes; as much as fits. */
static int pieces(struct iovec v[PIECES], uint8_t *header, const struct iovec *iov, int iovcnt,
		  uint64_t skip)
{
	struct iovec piece = { header, SG_FRAME_BYTES };
	int n = 0, i = 0;

	for (;;) {
		if (skip < piece.iov_len) {
			v[n].iov_base = (char *)piece.iov_base + skip;
			v[n++].iov_len = piece.iov_len - (size_t)skip;
			skip = 0;
		} else {
			skip -= piece.iov_len;
		}
		if (i == iovcnt || n == PIECES)
			return n;
		piece = iov[i++];
	}
}

static int write_frame(const struct sg_tail *t, uint8_t *header, const struct iovec *iov,
		       int iovcnt, uint64_t bytes)
{
	unsigned int interrupted = 0;
	struct iovec v[PIECES];
	uint64_t done;
	ssize_t n;

	for (done = 0; done < bytes; done += (uint64_t)n) {
		n = pwritev(t->fd, v, pieces(v, header, iov, iovcnt, done), (off_t)(t->end + done));
		if (n < 0 && errno == EINTR && interrupted++ < SG_EINTR_MAX)
			n = 0;
		else if (n < 0)
			return -errno;
		else if (n == 0)
			return -ENOSPC;
	}
	return 0;
}

static void frame_header(struct spool *s, uint8_t out[SG_FRAME_BYTES], const struct iovec *iov,
			 int iovcnt, uint64_t bytes)
{
	struct sg_frame f = { .len = (uint32_t)(bytes - SG_FRAME_BYTES), .time_ns = sg_wall_ns() };
	uint64_t known = sg_known_durable(s), behind;

	f.seq = atomic_load(&s->appended) + 1;
	behind = f.seq - 1 - known;
	f.at_risk = behind > UINT32_MAX ? UINT32_MAX : (uint32_t)behind;
	sg_frame_header_write(out, &f, s->seed, iov, iovcnt);
}

/* Zeros up to `to`, but for the next `bytes`, which the frame fills. */
static int zeros_ahead(const struct sg_tail *t, uint64_t bytes, uint64_t to)
{
	static const uint8_t zeros[65536];
	uint64_t at = t->end + bytes;
	size_t n;
	int err;

	for (; at < to; at += n) {
		n = to - at < sizeof(zeros) ? (size_t)(to - at) : sizeof(zeros);
		err = sg_pwrite_all(t->fd, zeros, n, at);
		if (err)
			return err;
	}
	return 0;
}

/* They are only wanted: what they took is given back, and the frame may find space. */
static int without_zeros(const struct sg_tail *t, uint64_t bytes, uint64_t *size)
{
	*size = t->end + bytes > t->size ? t->end + bytes : t->size;
	return ftruncate(t->fd, (off_t)t->size) != 0 ? -errno : 0;
}

/* How far the file shall go so that it holds `bytes` more: with zeros ahead, where they are written. */
static uint64_t grown(const struct spool *s, const struct sg_tail *t, uint64_t bytes)
{
	uint64_t need = t->end + bytes, to = need + ZEROS_AHEAD, left;

	if (!t->zeros || s->c.prealloc != SPOOL_PREALLOC_WRITTEN || need <= t->size)
		return need > t->size ? need : t->size;
	if (to > s->c.segment_bytes)
		to = s->c.segment_bytes;
	left = s->c.max_bytes > s->bytes ? s->c.max_bytes - s->bytes : 0;
	if (s->c.max_bytes && to > t->size + left)
		to = t->size + left;
	return to > need ? to : need;
}

/* A failed append leaves no byte: the file ends where its last frame does. */
static int take_back(struct spool *s, struct sg_tail *t, int err, struct sg_news *news)
{
	int cut_err;

	t->cut_first = true;
	cut_err = cut(s, t);
	if (!sg_no_space(err))
		t->leave = true;
	return sg_write_failed(s, cut_err && sg_no_space(err) ? cut_err : err, news);
}

static int make_ready(struct spool *s, uint64_t bytes, struct sg_news *news)
{
	int err = 0;

	if (s->tail->cut_first)
		err = cut(s, s->tail);
	if (err)
		return sg_write_failed(s, err, news);
	return time_to_rotate(s, bytes) ? rotate(s, bytes, news) : 0;
}

int sg_tail_append(struct spool *s, const struct iovec *iov, int iovcnt, uint64_t bytes,
		   uint64_t *seq, struct sg_news *news)
{
	uint8_t header[SG_FRAME_BYTES];
	struct sg_tail *t;
	uint64_t size;
	int err = sg_latched(s);

	/* The number behind the highest would be 0, which no frame has. */
	if (!err && atomic_load(&s->appended) == UINT64_MAX)
		err = -EOVERFLOW;
	if (!err)
		err = make_ready(s, bytes, news);
	t = s->tail;
	if (!err && t->end + bytes > t->size)
		err = room_for(s, t->end + bytes - t->size);
	if (err)
		return err;
	frame_header(s, header, iov, iovcnt, bytes);
	size = grown(s, t, bytes);
	if (size > t->size)
		err = zeros_ahead(t, bytes, size);
	if (sg_no_space(err))
		err = without_zeros(t, bytes, &size);
	if (!err)
		err = write_frame(t, header, iov, iovcnt, bytes);
	if (err)
		return take_back(s, t, err, news);
	resized(s, t, size);
	*seq = atomic_load(&s->appended) + 1;
	sg_index_add(&t->index, *seq, t->end);
	t->end += bytes;
	sg_publish(s, *seq, bytes);
	return 0;
}
