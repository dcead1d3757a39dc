// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/dir.h"
#include "spool/segment.h"

struct spool_scan {
	int dirfd;
	enum spool_format format;
	uint64_t from, lost; /* lost: since the last record that was given */
	bool unverified;

	struct sg_foreign *foreign;

	/* native */
	struct sg_numbers segments;
	size_t next; /* segment that comes after the open one */
	struct sg_segment *segment;
	uint64_t expected; /* number that the next record has if nothing is lost; 0: any */
	uint64_t last, done_bytes, total_bytes;
	uint8_t id[SPOOL_ID_BYTES];
};

/* ---- native ---- */

/* The identity, of the first segment that tells it: the others need not. */
static int find_identity(struct spool_scan *s)
{
	struct sg_segment_header header;
	struct sg_segment *segment;
	size_t i;
	int err = -EBADMSG;

	for (i = 0; i < s->segments.n && err; i++) {
		err = sg_segment_open(&segment, s->dirfd, s->segments.v[i], 0, NULL);
		if (err == -EBADMSG || err == -ENOENT)
			continue;
		if (err)
			return err;
		sg_segment_header(segment, &header, NULL);
		memcpy(s->id, header.id, sizeof(s->id));
		sg_segment_close(segment);
	}
	return err == -ENOENT ? -EBADMSG : err;
}

static void sum_sizes(struct spool_scan *s)
{
	char name[SG_NAME_BYTES];
	struct stat st;
	size_t i;

	for (i = s->next; i < s->segments.n; i++) {
		sg_dir_name(name, s->segments.v[i], SG_SEGMENT);
		if (fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			s->total_bytes += (uint64_t)st.st_size;
	}
}

static int open_native(struct spool_scan *s)
{
	int err = sg_dir_list(s->dirfd, SG_SEGMENT, &s->segments);

	if (err)
		return err;
	if (s->segments.n == 0)
		return -ENOENT;
	while (s->next + 1 < s->segments.n && s->segments.v[s->next + 1] <= s->from)
		s->next++;
	s->expected = s->from;
	sum_sizes(s);
	return find_identity(s);
}

/* A segment that vanished was consumed; one of another spool is none of ours. */
static int open_segment(struct spool_scan *s)
{
	uint64_t number = s->segments.v[s->next++];
	int err = sg_segment_open(&s->segment, s->dirfd, number, s->last, s->id);

	if (err == -ENOENT || err == -EXDEV)
		return 0;
	if (!err && s->from > number && s->last == 0)
		err = sg_segment_seek(s->segment, s->from);
	if (!err && !s->expected)
		s->expected = number;
	return err;
}

static void close_segment(struct spool_scan *s)
{
	struct stat st;

	if (fstat(sg_segment_fd(s->segment), &st) == 0)
		s->done_bytes += (uint64_t)st.st_size;
	sg_segment_close(s->segment);
	s->segment = NULL;
}

static void native_record(struct spool_scan *s, const struct sg_event *event,
			  struct sg_foreign_event *e)
{
	const struct sg_frame *f = &event->frame;

	*e = (struct sg_foreign_event){ .kind = SG_FOREIGN_RECORD, .bytes = event->bytes, .n = 1 };
	e->record.seq = f->seq;
	e->record.time_ns = f->time_ns;
	e->record.data = f->payload;
	e->record.len = f->len;
	e->record.segment = s->segments.v[s->next - 1];
	e->record.offset = event->offset;
	if (s->expected && f->seq > s->expected)
		e->record.lost = f->seq - s->expected;
	s->expected = f->seq + 1;
	s->last = f->seq;
}

static int next_native(struct spool_scan *s, struct sg_foreign_event *e)
{
	struct sg_event event;
	int err;

	for (;;) {
		while (!s->segment && s->next < s->segments.n) {
			err = open_segment(s);
			if (err)
				return err;
		}
		if (!s->segment)
			return -ENODATA;
		err = sg_segment_next(s->segment, &event);
		if (err)
			return err;
		if (event.kind == SG_EVENT_FRAME && event.frame.seq >= s->from) {
			native_record(s, &event, e);
			return 0;
		}
		if (event.kind == SG_EVENT_TAIL || event.kind == SG_EVENT_END)
			close_segment(s);
	}
}

/* ---- foreign ---- */

/* How many records this costs whoever scans. Those before `from` nobody asked for; those without a checksum are told
 * at the end of their file (by its name, not the sidecar's), when they may have been given. */
static uint64_t costs(const struct spool_scan *s, const struct spool_finding *f)
{
	uint64_t end = f->to_seq + 1, from = f->from_seq > s->from ? f->from_seq : s->from;
	const char *suffix = strrchr(f->file, '.');

	if (!f->from_seq || end <= from)
		return 0;
	if (s->unverified && f->kind == SPOOL_FOUND_SIDECAR && strcmp(suffix, ".crc") != 0)
		return 0;
	return end - from;
}

static int next_foreign(struct spool_scan *s, struct sg_foreign_event *e)
{
	const struct spool_record *r = &e->record;
	int err;

	for (;;) {
		err = sg_foreign_next(s->foreign, e);
		if (err)
			return err;
		if (e->kind == SG_FOREIGN_END)
			return -ENODATA;
		if (e->kind == SG_FOREIGN_FINDING) {
			s->lost += costs(s, &e->finding);
			continue;
		}
		if (r->seq + e->n - 1 < s->from)
			continue;
		if (e->kind == SG_FOREIGN_UNVERIFIED && !s->unverified)
			continue; /* a finding tells them later, and so counts them */
		e->record.lost = s->lost;
		s->lost = 0;
		return 0;
	}
}

/* ---- all ---- */

int sg_scan_next(struct spool_scan *s, struct sg_foreign_event *e)
{
	return s->foreign ? next_foreign(s, e) : next_native(s, e);
}

int spool_scan_next(struct spool_scan *s, struct spool_record *record)
{
	struct sg_foreign_event e;
	int err = sg_scan_next(s, &e);

	if (!err)
		*record = e.record;
	return err;
}

static int open_format(struct spool_scan *s)
{
	int err = 0;

	if (s->format == SPOOL_FORMAT_DETECT)
		err = sg_format_detect(s->dirfd, &s->format);
	if (err)
		return err;
	return s->format == SPOOL_FORMAT_NATIVE
		       ? open_native(s)
		       : sg_foreign_open(&s->foreign, s->dirfd, s->format, s->from);
}

int sg_scan_open(struct spool_scan **scan, const char *dir, enum spool_format format, uint64_t from,
		 bool unverified)
{
	struct spool_scan *s;
	int err;

	if ((unsigned int)format > SPOOL_FORMAT_COMMITLOG)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->format = format;
	s->from = from;
	s->unverified = unverified;
	s->dirfd = sg_dir_open(dir);
	err = s->dirfd < 0 ? s->dirfd : open_format(s);
	if (err) {
		spool_scan_close(s);
		return err;
	}
	*scan = s;
	return 0;
}

int spool_scan_open(struct spool_scan **scan, const char *dir, enum spool_format format,
		    uint64_t from)
{
	return sg_scan_open(scan, dir, format, from, false);
}

enum spool_format spool_scan_format(const struct spool_scan *s)
{
	return s->format;
}

uint64_t sg_scan_lost_at_end(const struct spool_scan *s)
{
	return s->lost;
}

void sg_scan_progress(const struct spool_scan *s, uint64_t *done, uint64_t *total)
{
	if (s->foreign) {
		*done = sg_foreign_done_bytes(s->foreign);
		*total = sg_foreign_total_bytes(s->foreign);
		return;
	}
	*done = s->done_bytes + (s->segment ? sg_segment_offset(s->segment) : 0);
	*total = s->total_bytes;
}

void spool_scan_close(struct spool_scan *s)
{
	if (!s)
		return;
	sg_foreign_close(s->foreign);
	sg_segment_close(s->segment);
	sg_numbers_free(&s->segments);
	if (s->dirfd >= 0)
		close(s->dirfd);
	free(s);
}
