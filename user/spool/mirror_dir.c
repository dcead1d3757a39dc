// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* From one directory into another: the stream begins with the last record that the mirror has. */
#include "spool/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spool/dir.h"
#include "spool/source.h"

#define READ_BYTES 262144u

bool sg_mirror_is_source(const char *src, const char *dir)
{
	struct stat x, y;

	return stat(src, &x) == 0 && stat(dir, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static bool same_directory(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* The segment that has the mirror's last record, else the first: then the mirror says what is missing. */
static size_t place(const struct spool_mirror *m, const struct sg_source *s)
{
	size_t i = s->list.n;

	while (m->fd >= 0 && i > 0 && s->list.v[i - 1] > m->number)
		i--;
	if (m->fd >= 0 && i > 0)
		return i - 1;
	return 0;
}

/* Pass over what lies before the mirror's last record, which stays to be compared. */
static void skip_to_last(struct spool_mirror *m, struct sg_source *s)
{
	m->in.next = m->last_first;
	m->in.numbered = m->in_numbered = true;
	m->in.epoch = 0;
	m->in_offset = m->last_at;
	if (m->in_held) {
		m->in_held = false;
		m->in_number = m->number;
	}
	s->done_bytes += m->last_at - s->offset;
	sg_source_seek(s, s->at, m->last_at);
}

static int read_source(struct spool_mirror *m, struct sg_source *s, uint8_t *buf, size_t len,
		       size_t *got)
{
	int err = sg_source_read(s, buf, len, got);

	if (err)
		return sg_mirror_fail(m, err, "reading the source: %s", strerror(-err));
	if (*got) {
		m->hinted = true;
		m->in_hint = sg_source_number(s);
	}
	return 0;
}

/* The header of the segment in which the mirror ends is read, the rest only from there. */
static int enter_segment(struct spool_mirror *m, struct sg_source *s, uint8_t *buf)
{
	size_t want = m->format == SPOOL_FORMAT_COMMITLOG ? SG_CL_HEADER_BYTES : SG_HEADER_BYTES;
	size_t got;
	int err = read_source(m, s, buf, want, &got);

	if (err || got == 0)
		return err;
	err = spool_mirror_write(m, buf, got);
	if (!err && !m->stopped && m->last_known && got == want && m->in_hint == m->number)
		skip_to_last(m, s);
	return err;
}

static int pour(struct spool_mirror *m, struct sg_source *s, uint8_t *buf,
		void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes), void *arg)
{
	size_t got = 0;
	int err;

	for (;;) {
		err = read_source(m, s, buf, READ_BYTES, &got);
		if (err || got == 0)
			return err;
		err = spool_mirror_write(m, buf, got);
		if (err || m->stopped)
			return err;
		if (progress)
			progress(arg, s->done_bytes, s->total_bytes);
	}
}

static int feed(struct spool_mirror *m, struct sg_source *s,
		void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes), void *arg)
{
	uint8_t *buf;
	size_t i;
	int err = 0;

	if (same_directory(m->dirfd, s->dirfd))
		return sg_mirror_fail(m, -EINVAL, "a directory is no mirror of itself");
	if (m->format != SPOOL_FORMAT_DETECT && m->format != s->format)
		return sg_mirror_fail(m, -EBADMSG, "the source has another format than the mirror");
	m->in.format = s->format;
	m->limit = s->limit;
	buf = malloc(READ_BYTES);
	if (!buf)
		return -ENOMEM;
	i = place(m, s);
	sg_source_seek(s, i, 0);
	if (m->fd >= 0 && i < s->list.n && s->list.v[i] == m->number)
		err = enter_segment(m, s, buf);
	if (!err && !m->stopped)
		err = pour(m, s, buf, progress, arg);
	if (!err && progress)
		progress(arg, s->total_bytes, s->total_bytes);
	free(buf);
	return err;
}

int sg_mirror_feed_dir(struct spool_mirror *m, const char *src,
		       void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
		       void *arg)
{
	struct sg_source s;
	int err = sg_source_open(&s, src, m->config.format);

	if (err == -EBADMSG)
		sg_mirror_fail(m, err, "the source holds no segment");
	else if (err)
		sg_mirror_fail(m, err, "the source cannot be read: %s", strerror(-err));
	else
		err = feed(m, &s, progress, arg);
	sg_source_close(&s);
	return err;
}

int spool_mirror_dir(const char *src, const char *dir, const struct spool_mirror_config *config,
		     struct spool_mirror_progress *result)
{
	struct spool_mirror *m;
	int err, ended;

	if (sg_mirror_is_source(src, dir))
		return -EINVAL;
	err = spool_mirror_open(&m, dir, config);
	if (err)
		return err;
	err = sg_mirror_feed_dir(m, src, NULL, NULL);
	ended = spool_mirror_finish(m);
	if (result)
		spool_mirror_status(m, result);
	spool_mirror_close(m);
	return err ? err : ended;
}
