// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spool/audit.h"
#include "spool/commitlog_walk.h"
#include "spool/dir.h"
#include "spool/foreign_files.h"

struct sg_foreign {
	int dirfd;
	enum spool_format format;
	struct sg_foreign_files files;
	size_t next; /* file that comes after the open one */
	uint64_t done_bytes;
	char name[SG_FOREIGN_NAME_BYTES];

	struct sg_audit *audit; /* the open one, or NULL */
	struct sg_cl_walk *log;
	bool tail_told; /* of the open log: what follows is not a gap besides */

	uint64_t base;			 /* audit: records of the files before */
	uint64_t expected, epoch;	 /* log: of the segments before */
	bool begun;			 /* log: there were segments before */
	uint64_t lost;			 /* since the last record */
	struct spool_finding unverified; /* audit: the run of records without checksum so far */
};

/* ---- opening ---- */

int sg_foreign_open(struct sg_foreign **out, int dirfd, enum spool_format format, uint64_t from)
{
	struct sg_foreign *w = calloc(1, sizeof(*w));
	const struct sg_foreign_file *f;
	int err;

	if (!w)
		return -ENOMEM;
	w->dirfd = dirfd;
	w->format = format;
	err = sg_foreign_list(dirfd, format, &w->files);
	if (!err && w->files.n == 0)
		err = -ENOENT;
	if (err) {
		sg_foreign_close(w);
		return err;
	}
	f = w->files.v;
	while (format == SPOOL_FORMAT_COMMITLOG && w->next + 1 < w->files.n &&
	       f[w->next + 1].number < from)
		w->next++;
	*out = w;
	return 0;
}

static void close_file(struct sg_foreign *w)
{
	if (w->audit)
		w->done_bytes += sg_audit_size(w->audit);
	if (w->log)
		w->done_bytes += sg_cl_size(w->log);
	sg_audit_close(w->audit);
	sg_cl_close(w->log);
	w->audit = NULL;
	w->log = NULL;
}

void sg_foreign_close(struct sg_foreign *w)
{
	if (!w)
		return;
	close_file(w);
	sg_foreign_files_free(&w->files);
	free(w);
}

/* ---- telling ---- */

static void set_finding(struct sg_foreign *w, struct sg_foreign_event *e,
			enum spool_finding_kind kind, uint64_t offset, uint64_t bytes,
			const char *why)
{
	*e = (struct sg_foreign_event){ .kind = SG_FOREIGN_FINDING };
	e->finding.kind = kind;
	e->finding.file = w->name;
	e->finding.offset = offset;
	e->finding.bytes = bytes;
	e->finding.why = why;
}

/* `n` records from number `from` on are missing. */
static void set_lost(struct sg_foreign *w, struct sg_foreign_event *e, uint64_t from, uint64_t n)
{
	if (n) {
		e->finding.from_seq = from;
		e->finding.to_seq = from + n - 1;
	}
	w->lost += n;
}

/* ---- audit ---- */

static const struct sg_foreign_file *current(const struct sg_foreign *w)
{
	return &w->files.v[w->next - 1];
}

static void audit_record(struct sg_foreign *w, const struct sg_audit_event *a,
			 struct sg_foreign_event *e)
{
	*e = (struct sg_foreign_event){ .kind = a->kind == SG_AUDIT_RECORD ? SG_FOREIGN_RECORD
									   : SG_FOREIGN_UNVERIFIED,
					.bytes = a->bytes,
					.n = 1 };
	e->record.seq = w->base + a->number + 1;
	e->record.data = a->data;
	e->record.len = a->len;
	e->record.segment = current(w)->number;
	e->record.offset = a->offset;
	e->record.lost = w->lost;
	w->lost = 0;
	if (a->kind == SG_AUDIT_RECORD)
		return;
	if (!w->unverified.bytes) {
		w->unverified.offset = a->offset;
		w->unverified.from_seq = e->record.seq;
	}
	w->unverified.bytes += a->bytes;
	w->unverified.to_seq = e->record.seq;
}

/* They end with the file, or with a tail: now it can be told which they were. */
static bool tell_unverified(struct sg_foreign *w, struct sg_foreign_event *e)
{
	if (!w->unverified.bytes)
		return false;
	set_finding(w, e, SPOOL_FOUND_SIDECAR, w->unverified.offset, w->unverified.bytes,
		    "no checksum for these records");
	e->finding.from_seq = w->unverified.from_seq;
	e->finding.to_seq = w->unverified.to_seq;
	w->unverified = (struct spool_finding){ 0 };
	return true;
}

/* Of the open file; it is closed when it ends, without an event. */
static int audit_event(struct sg_foreign *w, struct sg_foreign_event *e)
{
	static const enum spool_finding_kind kinds[] = {
		[SG_AUDIT_DAMAGE] = SPOOL_FOUND_DAMAGE,
		[SG_AUDIT_GAP] = SPOOL_FOUND_GAP,
		[SG_AUDIT_SIDE] = SPOOL_FOUND_SIDECAR,
		[SG_AUDIT_TAIL] = SPOOL_FOUND_TORN,
	};
	struct sg_audit_event a;
	int err = sg_audit_next(w->audit, &a);

	if (err)
		return err;
	switch (a.kind) {
	case SG_AUDIT_RECORD:
	case SG_AUDIT_UNVERIFIED:
		audit_record(w, &a, e);
		return 0;
	case SG_AUDIT_END:
		if (tell_unverified(w, e))
			return 0;
		w->base += sg_audit_number(w->audit);
		close_file(w);
		return 0;
	default:
		break;
	}
	if (a.kind == SG_AUDIT_SIDE)
		strcat(w->name, SG_AUDIT_SIDECAR);
	set_finding(w, e, kinds[a.kind], a.offset, a.bytes, a.why);
	set_lost(w, e, w->base + a.number + 1, a.lost);
	return 0;
}

/* ---- commit log ---- */

static void log_record(struct sg_foreign *w, const struct sg_cl_event *c,
		       struct sg_foreign_event *e)
{
	*e = (struct sg_foreign_event){ .kind = SG_FOREIGN_RECORD,
					.bytes = c->bytes,
					.epoch = c->commit.epoch,
					.n = c->commit.n };
	e->record.seq = c->commit.offset + 1;
	e->record.data = c->commit.records;
	e->record.len = c->commit.len;
	e->record.segment = current(w)->number;
	e->record.offset = c->offset;
	e->record.lost = w->lost;
	w->lost = 0;
}

/* Only the last segment's end can be torn and no more. A writer that found one before began a new segment where the
 * torn one's good part ends: then nothing is missing. */
static void log_tail(struct sg_foreign *w, const struct sg_cl_event *c, struct sg_foreign_event *e)
{
	uint64_t expected = sg_cl_expected(w->log), lost = 0;

	if (w->next < w->files.n && w->files.v[w->next].number > expected)
		lost = w->files.v[w->next].number - expected;
	set_finding(w, e, lost ? SPOOL_FOUND_DAMAGE : SPOOL_FOUND_TORN, c->offset, c->bytes,
		    c->why);
	set_lost(w, e, expected + 1, lost);
	w->tail_told = true;
}

static void log_end(struct sg_foreign *w)
{
	w->expected = sg_cl_expected(w->log);
	w->epoch = sg_cl_epoch(w->log);
	w->begun = true;
	close_file(w);
}

static int log_event(struct sg_foreign *w, struct sg_foreign_event *e)
{
	struct sg_cl_event c;
	int err = sg_cl_next(w->log, &c);

	if (err)
		return err;
	switch (c.kind) {
	case SG_CL_COMMIT:
		log_record(w, &c, e);
		return 0;
	case SG_CL_TAIL:
		log_tail(w, &c, e);
		return 0;
	case SG_CL_END:
		log_end(w);
		return 0;
	case SG_CL_DAMAGE:
	case SG_CL_GAP:
	case SG_CL_HEADER:
		break;
	}
	set_finding(w, e,
		    c.kind == SG_CL_DAMAGE ? SPOOL_FOUND_DAMAGE
		    : c.kind == SG_CL_GAP  ? SPOOL_FOUND_GAP
					   : SPOOL_FOUND_HEADER,
		    c.offset, c.bytes, c.why);
	set_lost(w, e, c.from + 1, c.to - c.from);
	return 0;
}

/* The next segment; a gap before it is told first. */
static int open_log(struct sg_foreign *w, struct sg_foreign_event *e, bool *told)
{
	const struct sg_foreign_file *f = &w->files.v[w->next];
	uint64_t limit = w->next + 1 < w->files.n ? f[1].number : UINT64_MAX;
	uint64_t expected = w->begun && w->expected > f->number ? w->expected : f->number;
	int err;

	if (limit < expected) /* segments overlap: the next one's name binds nobody */
		limit = UINT64_MAX;
	err = sg_cl_open(&w->log, w->dirfd, w->name, expected, w->epoch, limit);
	*told = !err && w->begun && expected > w->expected && !w->tail_told;
	if (*told) {
		set_finding(w, e, SPOOL_FOUND_GAP, 0, 0, "transactions are missing before it");
		set_lost(w, e, w->expected + 1, expected - w->expected);
	}
	w->tail_told = false;
	return err;
}

/* ---- the walk ---- */

static int orphan(struct sg_foreign *w, struct sg_foreign_event *e)
{
	struct stat st;

	if (fstatat(w->dirfd, w->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	set_finding(w, e, SPOOL_FOUND_SIDECAR, 0, (uint64_t)st.st_size,
		    "the file that it has the checksums of is missing");
	set_lost(w, e, w->base + 1, (uint64_t)st.st_size / SG_AUDIT_CRC_BYTES);
	w->base += (uint64_t)st.st_size / SG_AUDIT_CRC_BYTES;
	return 0;
}

static int open_next(struct sg_foreign *w, struct sg_foreign_event *e, bool *told)
{
	const struct sg_foreign_file *f = &w->files.v[w->next];
	int err;

	*told = false;
	sg_foreign_name(f, w->format, w->name);
	if (f->orphan) {
		*told = true;
		err = orphan(w, e);
	} else if (w->format == SPOOL_FORMAT_AUDIT) {
		err = sg_audit_open(&w->audit, w->dirfd, w->name);
	} else {
		err = open_log(w, e, told);
	}
	/* A consumer deleted it since the listing. */
	if (err == -ENOENT) {
		w->begun = *told = false;
		err = 0;
	}
	w->next += !err;
	return err;
}

/* From the open file, or from opening the next one. May give nothing: then *e stays END. */
static int step(struct sg_foreign *w, struct sg_foreign_event *e)
{
	bool told;
	int err;

	if (!w->audit && !w->log) {
		err = open_next(w, e, &told);
		if (err || told || (!w->audit && !w->log))
			return err;
	}
	sg_foreign_name(current(w), w->format, w->name);
	return w->audit ? audit_event(w, e) : log_event(w, e);
}

int sg_foreign_next(struct sg_foreign *w, struct sg_foreign_event *e)
{
	int err = 0;

	*e = (struct sg_foreign_event){ .kind = SG_FOREIGN_END };
	while (!err && e->kind == SG_FOREIGN_END && (w->audit || w->log || w->next < w->files.n))
		err = step(w, e);
	e->file = w->next - 1;
	return err;
}

const struct sg_foreign_files *sg_foreign_files(const struct sg_foreign *w)
{
	return &w->files;
}

uint64_t sg_foreign_segments(const struct sg_foreign *w)
{
	return w->next;
}

uint64_t sg_foreign_done_bytes(const struct sg_foreign *w)
{
	return w->done_bytes + (w->audit ? sg_audit_position(w->audit) : 0) +
	       (w->log ? sg_cl_position(w->log) : 0);
}

uint64_t sg_foreign_total_bytes(const struct sg_foreign *w)
{
	return w->files.bytes;
}
