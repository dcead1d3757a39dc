// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * sg_stream takes the bytes apart, so nothing here depends on where they were cut. Each piece that it gives was
 * checked; here it is only held against the two positions of mirror.h. Frames that lie side by side in memory and
 * follow each other are written by one call.
 *
 * A sync that failed, or any other error, is latched: the mirror's end is then not what we think it is. Whoever
 * opens it anew finds out by reading.
 */
#include "spool/mirror.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool/dir.h"

#define MODE	     0640u
#define UNSYNCED_MAX 67108864u /* a long segment is synced every so many bytes */

int sg_mirror_fail(struct spool_mirror *m, int error, const char *fmt, ...)
{
	va_list ap;

	if (m->error)
		return m->error;
	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	m->error = error;
	return error;
}

static void tell(const struct spool_mirror *m)
{
	if (m->config.progress)
		m->config.progress(m->config.arg, &m->progress);
}

/* ---- writing ---- */

/* For readers of a mirror under way. Only a hint: where it cannot be written, they wait for the mirror's end. */
static void tell_durable(struct spool_mirror *m)
{
	uint8_t bytes[SG_DURABLE_BYTES];

	if (m->format != SPOOL_FORMAT_NATIVE)
		return;
	if (m->durable_fd < 0)
		m->durable_fd =
			openat(m->dirfd, "durable", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			       (mode_t)m->config.mode);
	if (m->durable_fd < 0)
		return;
	/* Not m->next: what could not be written is counted there. */
	sg_durable_write(bytes, sg_frame_seed(m->header.id), m->progress.durable_seq,
			 m->progress.durable_seq);
	(void)sg_pwrite_all(m->durable_fd, bytes, sizeof(bytes), 0);
}

static int sync_segment(struct spool_mirror *m)
{
	if (m->error || !m->dirty)
		return m->error;
	if (fdatasync(m->fd) != 0) {
		m->sync_failed = true;
		return sg_mirror_fail(m, -errno, "sync of the mirror: %s", strerror(errno));
	}
	m->dirty = false;
	m->unsynced_bytes = 0;
	m->progress.durable_seq = m->progress.written_seq;
	m->progress.durable_bytes = m->progress.written_bytes;
	tell_durable(m);
	tell(m);
	return 0;
}

/* Write what waits. Where that fails half-way, what arrived is taken back: a full disk should leave a whole mirror. */
static int flush(struct spool_mirror *m)
{
	uint64_t bytes = m->run_bytes;
	int err;

	m->run_bytes = 0;
	if (m->error || bytes == 0)
		return m->error;
	err = sg_pwrite_all(m->fd, m->run, (size_t)bytes, m->end);
	if (err) {
		if (ftruncate(m->fd, (off_t)m->end) != 0)
			err = err == -ENOSPC ? -errno : err;
		return sg_mirror_fail(m, err, "writing the mirror: %s", strerror(-err));
	}
	m->end += bytes;
	m->dirty = true;
	m->unsynced_bytes += bytes;
	m->progress.written_seq = m->next - 1;
	m->progress.written_bytes += bytes;
	tell(m);
	return m->unsynced_bytes >= UNSYNCED_MAX ? sync_segment(m) : 0;
}

/* A hint that the segment gets when it is complete: where it cannot be written, reading takes longer. */
static void end_index(struct spool_mirror *m)
{
	if (m->format == SPOOL_FORMAT_NATIVE && m->fd >= 0)
		(void)sg_index_write(&m->index, m->dirfd, m->number, m->number,
				     sg_frame_seed(m->header.id), m->config.mode);
	sg_index_free(&m->index);
	m->index = (struct sg_index){ 0 };
}

/* The next segment: the one before is synced first, its name at once. */
static int begin_segment(struct spool_mirror *m, uint64_t number, const uint8_t *header,
			 size_t bytes)
{
	char name[SG_NAME_BYTES];
	int err = flush(m);

	if (!err)
		err = sync_segment(m);
	if (err)
		return err;
	end_index(m);
	if (m->fd >= 0)
		close(m->fd);
	sg_dir_name(name, number, SG_MIRROR_NAMES(m));
	m->fd = openat(m->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		       (mode_t)m->config.mode);
	if (m->fd < 0)
		return sg_mirror_fail(m, -errno, "%s: %s", name, strerror(errno));
	m->dirty = true;
	m->number = number;
	m->end = bytes;
	m->progress.written_bytes += bytes;
	err = sg_pwrite_all(m->fd, header, bytes, 0);
	if (!err) {
		err = sg_dir_sync(m->dirfd);
		m->sync_failed = err != 0;
	}
	return err ? sg_mirror_fail(m, err, "%s: %s", name, strerror(-err)) : 0;
}

/* ---- headers ---- */

static int missing(struct spool_mirror *m, uint64_t expected, uint64_t found)
{
	return sg_mirror_fail(m, -ESPIPE, "expected record %" PRIu64 ", found %" PRIu64, expected,
			      found);
}

static int divided(struct spool_mirror *m)
{
	return sg_mirror_fail(m, -EBADMSG,
			      "the stream is divided into segments in another way than the mirror");
}

static int misnamed(struct spool_mirror *m, uint64_t number)
{
	return sg_mirror_fail(m, -EBADMSG, "the segment named %" PRIu64 " begins with %" PRIu64,
			      m->in_hint, number);
}

/* A header of the segment in which the mirror ends. */
static int same_segment(struct spool_mirror *m, const struct sg_segment_header *h)
{
	if (h->flags == m->header.flags && h->created_ns == m->header.created_ns)
		return 0;
	return sg_mirror_fail(m, -EBADMSG, "segment %" PRIu64 " of the stream is not the mirror's",
			      m->number);
}

static int native_header(struct spool_mirror *m, const struct sg_piece *piece)
{
	const struct sg_segment_header *h = &piece->header;

	if (m->hinted && h->first_seq != m->in_hint)
		return misnamed(m, h->first_seq);
	if (m->fd >= 0 && memcmp(h->id, m->header.id, SPOOL_ID_BYTES) != 0)
		return sg_mirror_fail(m, -EBADMSG, "the stream is of another spool");
	if (m->in_numbered && h->first_seq > m->in.next)
		return missing(m, m->in.next, h->first_seq);
	if (m->in_numbered && h->first_seq < m->in.next)
		return sg_mirror_fail(m, -EBADMSG,
				      "segment %" PRIu64 " comes behind record %" PRIu64,
				      h->first_seq, m->in.next - 1);
	m->in_numbered = true;
	m->in_number = h->first_seq;
	m->in_offset = piece->bytes;
	if (m->numbered && h->first_seq > m->next)
		return missing(m, m->next, h->first_seq);
	if (m->fd >= 0 && h->first_seq < m->number)
		return 0;
	if (m->fd >= 0 && h->first_seq == m->number)
		return same_segment(m, h);
	if (m->numbered && h->first_seq < m->next)
		return divided(m);
	m->header = *h;
	if (m->fd < 0)
		tell_durable(m);
	m->next = h->first_seq;
	m->numbered = true;
	return begin_segment(m, h->first_seq, piece->data, piece->bytes);
}

/* The segment of a commit log has its number from the first commit in it. */
static int begin_held(struct spool_mirror *m, uint64_t number)
{
	m->in_held = false;
	m->in_number = number;
	if (m->hinted && number != m->in_hint)
		return misnamed(m, number);
	if (m->fd >= 0 && number < m->number)
		return 0;
	if (m->fd >= 0 && number == m->number) {
		if (m->held[6] == m->version)
			return 0;
		return sg_mirror_fail(m, -EBADMSG,
				      "segment %" PRIu64 " of the stream is not the mirror's",
				      number);
	}
	if (m->numbered && number != m->next - 1)
		return number > m->next - 1 ? missing(m, m->next, number + 1) : divided(m);
	m->version = m->held[6];
	m->next = number + 1;
	m->numbered = true;
	return begin_segment(m, number, m->held, SG_CL_HEADER_BYTES);
}

/* One without a commit: only what comes next can have named it. */
static int begin_empty(struct spool_mirror *m)
{
	if (m->hinted)
		return begin_held(m, m->in_hint);
	if (m->in_numbered)
		return begin_held(m, m->in.next - 1);
	if (m->numbered)
		return begin_held(m, m->next - 1);
	m->in_held = false;
	return 0;
}

static int log_header(struct spool_mirror *m, const struct sg_piece *piece)
{
	if (m->in_held)
		return sg_mirror_fail(m, -EBADMSG, "a segment without a commit is not the last");
	memcpy(m->held, piece->data, SG_CL_HEADER_BYTES);
	m->in_held = true;
	m->in_offset = piece->bytes;
	return 0;
}

/* ---- frames ---- */

/* One that the mirror should have. Only the last can be told from another of the same number at no cost. */
static int pass_over(struct spool_mirror *m, const struct sg_piece *piece)
{
	if (piece->last >= m->next)
		return sg_mirror_fail(m, -EBADMSG,
				      "the mirror ends inside the commit of offset %" PRIu64,
				      piece->first - 1);
	if (m->last_known && piece->last == m->next - 1 && piece->crc != m->last_crc)
		return sg_mirror_fail(
			m, -EBADMSG,
			"record %" PRIu64
			" differs from the mirror's: the source was changed behind it",
			piece->last);
	m->progress.skipped_records += piece->last - piece->first + 1;
	m->in_offset += piece->bytes;
	return 0;
}

static int take(struct spool_mirror *m, const struct sg_piece *piece)
{
	int err;

	if (m->in_number != m->number || m->in_offset != m->end + m->run_bytes)
		return divided(m);
	if (m->run_bytes && m->run + m->run_bytes != piece->data) {
		err = flush(m);
		if (err)
			return err;
	}
	if (m->run_bytes == 0)
		m->run = piece->data;
	(void)sg_index_add(&m->index, piece->first, m->in_offset);
	m->last_known = true;
	m->last_first = piece->first;
	m->last_at = m->in_offset;
	m->last_crc = piece->crc;
	m->epoch = piece->epoch;
	m->run_bytes += piece->bytes;
	m->in_offset += piece->bytes;
	m->next = piece->last + 1;
	return 0;
}

static int frame(struct spool_mirror *m, const struct sg_piece *piece)
{
	int err;

	if (m->in_numbered && piece->first > m->in.next)
		return missing(m, m->in.next, piece->first);
	if (m->in_numbered && piece->first < m->in.next)
		return sg_mirror_fail(m, -EBADMSG,
				      "record %" PRIu64 " comes behind record %" PRIu64,
				      piece->first, m->in.next - 1);
	m->in_numbered = true;
	if (m->in_held) {
		err = begin_held(m, piece->first - 1);
		if (err)
			return err;
	}
	if (m->numbered && piece->first < m->next)
		return pass_over(m, piece);
	if (m->numbered && piece->first > m->next)
		return missing(m, m->next, piece->first);
	return take(m, piece);
}

/* ---- the stream ---- */

static int header(struct spool_mirror *m, const struct sg_piece *piece)
{
	m->format = m->in.format;
	if (m->format == SPOOL_FORMAT_COMMITLOG)
		return log_header(m, piece);
	return native_header(m, piece);
}

/* Nothing above the limit, the header of a segment included. */
static int stop(struct spool_mirror *m)
{
	m->stopped = true;
	return -ECANCELED;
}

static int piece_within(struct spool_mirror *m, const struct sg_piece *piece)
{
	int err;

	switch (piece->kind) {
	case SG_PIECE_HEADER:
		return m->in.format == SPOOL_FORMAT_NATIVE && piece->first > m->limit
			       ? stop(m)
			       : header(m, piece);
	case SG_PIECE_FRAME:
		err = frame(m, piece);
		return !err && piece->last >= m->limit ? stop(m) : err;
	case SG_PIECE_ZEROS:
		return 0;
	case SG_PIECE_BREAK:
		return flush(m);
	}
	return 0;
}

/* What was checked before an error is written, so that the mirror ends where the error is. */
static int on_piece(void *arg, const struct sg_piece *piece)
{
	struct spool_mirror *m = arg;
	int err = piece_within(m, piece), latched = m->error, flushed;

	if (!err)
		return 0;
	m->error = 0;
	flushed = flush(m);
	if (flushed)
		return flushed;
	m->error = latched;
	return err;
}

static int stream_error(struct spool_mirror *m, int err)
{
	if (m->stopped && err == -ECANCELED)
		return 0;
	if (m->error)
		return m->error;
	if (err != -EBADMSG)
		return sg_mirror_fail(m, err, "%s", strerror(-err));
	return sg_mirror_fail(m, err, "damage in the stream at byte %" PRIu64 ": %s%s",
			      m->in.bad_at, m->in.why,
			      m->in.look_behind ? ", and valid records behind it" : "");
}

int spool_mirror_write(struct spool_mirror *m, const void *data, size_t len)
{
	int err;

	if (m->error || m->stopped)
		return m->error;
	if (m->finished)
		return -EINVAL;
	err = sg_stream_push(&m->in, data, len, on_piece, m);
	return err ? stream_error(m, err) : 0;
}

static int end_of_stream(struct spool_mirror *m)
{
	uint64_t fragment;
	int err = sg_stream_end(&m->in, on_piece, m, &fragment);

	if (err == -EBADMSG && !m->in.look_behind && !m->error)
		return sg_mirror_fail(m, err,
				      "the last %" PRIu64 " bytes of the stream are no whole "
				      "record: %s",
				      fragment, m->in.why);
	if (err)
		return stream_error(m, err);
	if (m->in_held)
		err = begin_empty(m);
	m->progress.trimmed_bytes = fragment;
	return err;
}

int spool_mirror_finish(struct spool_mirror *m)
{
	int err, latched;

	if (!m->finished && !m->error && !m->stopped)
		(void)end_of_stream(m);
	m->finished = true;
	/* What was written before an error should be durable, too. A sync that failed is not tried again: it would
	 * succeed, and prove nothing. */
	latched = m->error;
	if (m->sync_failed)
		return latched;
	m->error = 0;
	err = sync_segment(m);
	if (latched)
		m->error = latched;
	return err ? err : latched;
}

const char *spool_mirror_why(const struct spool_mirror *m)
{
	return m->why;
}

int spool_mirror_status(const struct spool_mirror *m, struct spool_mirror_progress *progress)
{
	*progress = m->progress;
	return 0;
}

/* ---- its life ---- */

static int configure(struct spool_mirror *m, const struct spool_mirror_config *config)
{
	if (config && (config->size > sizeof(*config) || config->size < sizeof(config->size)))
		return -EINVAL;
	if (config)
		memcpy(&m->config, config, config->size);
	if (m->config.mode == 0)
		m->config.mode = MODE;
	if (m->config.flags & ~(uint32_t)SPOOL_MIRROR_TRIM || m->config.mode & ~07777u)
		return -EINVAL;
	switch (m->config.format) {
	case SPOOL_FORMAT_DETECT:
	case SPOOL_FORMAT_NATIVE:
	case SPOOL_FORMAT_COMMITLOG:
		return 0;
	default:
		return -EINVAL;
	}
}

static int start(struct spool_mirror *m, const char *dir, const struct spool_mirror_config *config)
{
	int err = configure(m, config);

	if (err)
		return err;
	m->dirfd = sg_dir_make(dir, m->config.mode);
	if (m->dirfd < 0)
		return m->dirfd;
	m->lock = sg_dir_lock(m->dirfd, m->config.mode);
	if (m->lock < 0)
		return m->lock;
	m->format = m->config.format;
	err = sg_mirror_resume(m);
	if (err)
		return err;
	sg_stream_init(&m->in, m->format, m->config.flags & SPOOL_MIRROR_TRIM);
	m->progress.written_seq = m->progress.durable_seq =
		m->numbered && !m->empty ? m->next - 1 : 0;
	/* Who mends a mirror takes files away, of which the last one told. */
	if (m->fd >= 0)
		tell_durable(m);
	return 0;
}

int spool_mirror_open(struct spool_mirror **mirror, const char *dir,
		      const struct spool_mirror_config *config)
{
	struct spool_mirror *m = calloc(1, sizeof(*m));
	int err;

	*mirror = NULL;
	if (!m)
		return -ENOMEM;
	m->dirfd = m->lock = m->fd = m->durable_fd = -1;
	m->limit = UINT64_MAX;
	err = start(m, dir, config);
	if (err) {
		spool_mirror_close(m);
		return err;
	}
	*mirror = m;
	return 0;
}

int spool_mirror_close(struct spool_mirror *m)
{
	const int fds[] = { m ? m->fd : -1, m ? m->durable_fd : -1, m ? m->dirfd : -1 };
	size_t i;

	if (!m)
		return 0;
	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	/* Last: whoever gets the lock finds everything done. */
	if (m->lock >= 0)
		sg_dir_unlock(m->lock);
	sg_stream_free(&m->in);
	sg_index_free(&m->index);
	free(m);
	return 0;
}
