// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * Segments are walked in the order of their numbers. Three things are known only later than they are found:
 *
 *   - what a damage cost: with the next valid frame. It is *held* until then;
 *   - how many lost records were durable: a later frame may tell more (docs/format.md, "at 24"). A finding waits in a
 *     short queue until that cannot change any more, or the spool ends, or the queue is full;
 *   - where recovery keeps it: before it is queued, since the mender acts at the first damage of a segment.
 *
 * Beside a writer, segments vanish from the front, and the end of the newest one is being written: neither is told.
 */
#include "spool/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/foreign.h"

#define WAITING	   64u
#define TELL_BYTES (1u << 20) /* between two calls of `progress` */

struct waiting {
	struct spool_finding finding;
	uint64_t number; /* of the segment */
	char kept[SG_KEPT_BYTES];
};

struct native {
	struct sg_check *c;
	const struct sg_mender *mender;
	uint8_t id[SPOOL_ID_BYTES];
	bool have_id;
	uint64_t last;	/* number of the last valid frame */
	uint64_t next;	/* number that comes next if nothing is lost */
	uint64_t known; /* all up to it was known to be durable */
	bool begun;	/* `next` means something */
	bool holding;	/* held: a damage whose cost the next frame tells */
	struct waiting held;
	struct waiting queue[WAITING];
	unsigned int first, n;
};

/* ---- telling ---- */

void sg_check_tell(struct sg_check *c, const struct spool_finding *finding)
{
	if (finding->kind != SPOOL_FOUND_INDEX)
		c->found = true;
	c->summary.findings++;
	if (c->config.found)
		c->config.found(c->config.arg, finding);
}

static void tell(struct native *n, struct waiting *w)
{
	struct spool_summary *sum = &n->c->summary;
	struct spool_finding *f = &w->finding;
	char name[SG_NAME_BYTES];
	uint64_t to = f->to_seq < n->known ? f->to_seq : n->known;

	sg_dir_name(name, w->number, f->kind == SPOOL_FOUND_INDEX ? SG_INDEX : SG_SEGMENT);
	f->file = name;
	f->quarantined = *w->kept ? w->kept : NULL;
	if (f->from_seq) {
		sum->missing_records += f->to_seq - f->from_seq + 1;
		f->durable = to >= f->from_seq ? to - f->from_seq + 1 : 0;
	}
	if (f->kind == SPOOL_FOUND_TORN)
		sum->torn_bytes += f->bytes;
	if (f->kind == SPOOL_FOUND_DAMAGE)
		sum->damaged_bytes += f->bytes;
	sg_check_tell(n->c, f);
}

/* Tell what cannot change any more; all: everything. */
static void flush(struct native *n, bool all)
{
	struct waiting *w;

	while (n->n) {
		w = &n->queue[n->first];
		if (!all && w->finding.from_seq && w->finding.to_seq > n->known)
			return;
		tell(n, w);
		n->first = (n->first + 1) % WAITING;
		n->n--;
	}
}

static void push(struct native *n, const struct waiting *w)
{
	if (n->n == WAITING) {
		tell(n, &n->queue[n->first]);
		n->first = (n->first + 1) % WAITING;
		n->n--;
	}
	n->queue[(n->first + n->n) % WAITING] = *w;
	n->n++;
	flush(n, false);
}

static struct waiting finding(const struct sg_checked *s, enum spool_finding_kind kind,
			      uint64_t offset, uint64_t bytes, const char *why)
{
	struct waiting w = { .number = s->number };

	w.finding.kind = kind;
	w.finding.offset = offset;
	w.finding.bytes = bytes;
	w.finding.why = why;
	memcpy(w.kept, s->kept, sizeof(w.kept));
	return w;
}

/* It is known now that the next record there is has number seq: what was held, or a gap, has cost those before. */
static void settle(struct native *n, const struct sg_checked *s, uint64_t offset, uint64_t seq)
{
	bool lost = n->begun && seq > n->next;
	struct waiting w = finding(s, SPOOL_FOUND_GAP, offset, 0, "records are missing");

	if (n->holding)
		w = n->held;
	if (lost) {
		w.finding.from_seq = n->next;
		w.finding.to_seq = seq - 1;
	}
	if (n->holding || lost) {
		if (w.finding.kind == SPOOL_FOUND_GAP)
			*w.kept = '\0';
		push(n, &w);
	}
	n->holding = false;
	if (!n->begun || seq > n->next)
		n->next = seq;
	n->begun = true;
}

static void progress(struct sg_check *c, uint64_t done, bool end)
{
	c->done_bytes = done;
	if (!c->config.progress || (!end && done - c->told_bytes < TELL_BYTES))
		return;
	c->told_bytes = done;
	c->config.progress(c->config.arg, done, done > c->total_bytes ? done : c->total_bytes);
}

/* ---- one segment ---- */

/* The first damage of a segment is where recovery keeps it. */
static int damaged(struct native *n, struct sg_checked *s)
{
	if (s->damaged)
		return 0;
	s->damaged = true;
	return n->mender ? n->mender->keep(n->c, s) : 0;
}

/* A file whose writer has not come to its header yet. */
static bool just_made(const struct native *n, const struct sg_checked *s)
{
	return s->newest && s->size_bytes < SG_HEADER_BYTES && !n->mender &&
	       sg_dir_locked(n->c->dirfd);
}

static int on_header(struct native *n, struct sg_checked *s)
{
	struct waiting w;
	const char *why;
	int err = 0;

	s->bad_copies = sg_segment_header(s->walk, &s->header, &why);
	if (s->bad_copies && !just_made(n, s)) {
		err = damaged(n, s);
		w = finding(s, SPOOL_FOUND_HEADER, s->bad_copies == 2 ? SG_HEADER_COPY : 0,
			    s->bad_copies == 3 ? SG_HEADER_BYTES : SG_HEADER_COPY, why);
		push(n, &w);
	}
	/* Recovery has seen to that before. */
	if (s->bad_copies != 3 && s->header.first_seq != s->number) {
		w = finding(s, SPOOL_FOUND_HEADER, 32, 8, SG_MISNAMED);
		push(n, &w);
	}
	return err;
}

static void on_frame(struct native *n, struct sg_checked *s, const struct sg_event *e,
		     struct sg_index_check *index)
{
	struct spool_summary *sum = &n->c->summary;
	uint64_t known = sg_frame_known_durable(&e->frame);

	settle(n, s, e->offset, e->frame.seq);
	n->last = e->frame.seq;
	n->next = e->frame.seq + 1;
	if (known > n->known)
		n->known = known;
	flush(n, false);
	if (!s->records++)
		s->first_time_ns = e->frame.time_ns;
	if (!sum->records++)
		sum->first_seq = e->frame.seq;
	sum->last_seq = e->frame.seq;
	sum->bytes += e->bytes;
	sg_index_check_frame(index, e->frame.seq, e->offset);
	/* Out of memory the index becomes coarser. */
	sg_index_add(&s->index, e->frame.seq, e->offset);
}

static int on_damage(struct native *n, struct sg_checked *s, const struct sg_event *e)
{
	int err = damaged(n, s);

	n->held = finding(s, SPOOL_FOUND_DAMAGE, e->offset, e->bytes, e->why);
	n->holding = true;
	return err;
}

/* Is somebody still writing at this end? If it is gone by now, *e becomes what it left. */
static int being_written(struct native *n, struct sg_checked *s, struct sg_event *e, bool *yes)
{
	*yes = s->newest && !n->mender && sg_dir_locked(n->c->dirfd);
	return *yes || !s->newest || n->mender ? 0 : sg_segment_next(s->walk, e);
}

static int on_tail(struct native *n, struct sg_checked *s, const struct sg_event *e)
{
	struct waiting w;
	int err = 0;

	if (n->mender && !s->damaged)
		err = n->mender->cut(n->c, s, e->offset, e->bytes);
	w = finding(s, s->newest ? SPOOL_FOUND_TORN : SPOOL_FOUND_DAMAGE, e->offset, e->bytes,
		    e->why);
	n->held = w;
	n->holding = true;
	return err;
}

/* What one event means. *end: it was the last. */
static int on_event(struct native *n, struct sg_checked *s, struct sg_event *e,
		    struct sg_index_check *index, bool *end)
{
	bool written = false;
	int err = 0;

	if (e->kind == SG_EVENT_TAIL)
		err = being_written(n, s, e, &written);
	if (err)
		return err;
	switch (e->kind) {
	case SG_EVENT_FRAME:
		on_frame(n, s, e, index);
		return 0;
	case SG_EVENT_DAMAGE:
		return on_damage(n, s, e);
	case SG_EVENT_TAIL:
		*end = true;
		return written ? 0 : on_tail(n, s, e);
	case SG_EVENT_END:
		*end = true;
		return 0;
	}
	return 0;
}

static int walk_frames(struct native *n, struct sg_checked *s, struct sg_index_check *index)
{
	uint64_t before = n->c->done_bytes;
	struct sg_event e;
	bool end = false;
	int err = 0;

	while (!end && !err) {
		err = sg_segment_next(s->walk, &e);
		if (!err)
			err = on_event(n, s, &e, index, &end);
		if (!err)
			progress(n->c, before + sg_segment_offset(s->walk), false);
	}
	n->c->done_bytes = before;
	return err;
}

static void on_index(struct native *n, struct sg_checked *s, const char *why)
{
	struct waiting w;

	/* The newest one gets its index when the next begins. */
	if (!why || (s->newest && strcmp(why, "missing") == 0))
		return;
	s->index_why = why;
	if (s->damaged)
		return;
	w = finding(s, SPOOL_FOUND_INDEX, 0, 0, why);
	*w.kept = '\0';
	push(n, &w);
}

/* An open segment. */
static int check_open(struct native *n, struct sg_checked *s)
{
	struct sg_index_check *index;
	int err = on_header(n, s);

	if (err)
		return err;
	index = sg_index_check_begin(n->c->dirfd, s->number, s->header.first_seq,
				     sg_frame_seed(s->header.id));
	if (!index)
		return -ENOMEM;
	sg_segment_checks_only(s->walk);
	if (s->header.first_seq)
		settle(n, s, 0, s->header.first_seq);
	err = walk_frames(n, s, index);
	on_index(n, s, sg_index_check_end(index));
	if (!err && n->mender)
		err = n->mender->finish(n->c, s);
	n->c->summary.segments++;
	return err;
}

/* A segment of another spool, or one that nothing is known of. */
static int check_stranger(struct native *n, struct sg_checked *s, bool foreign)
{
	struct waiting w;
	int err = 0;

	/* Without any identity nothing can be verified, so nothing is moved but what can hold no record. */
	if (n->mender && !foreign && s->size_bytes > SG_HEADER_BYTES)
		return -EBADMSG;
	if (n->mender)
		err = n->mender->take_out(n->c, s);
	else if (!foreign && just_made(n, s))
		return 0;
	w = foreign ? finding(s, SPOOL_FOUND_FOREIGN, 0, s->size_bytes, "identity of another spool")
		    : finding(s, SPOOL_FOUND_HEADER, 0, s->size_bytes,
			      "no header is left that tells the spool's identity");
	push(n, &w);
	n->c->summary.segments++;
	return err;
}

static int file_size(int dirfd, uint64_t number, uint64_t *size)
{
	char name[SG_NAME_BYTES];
	struct stat st;

	sg_dir_name(name, number, SG_SEGMENT);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_segment(struct native *n, uint64_t number, bool newest)
{
	struct sg_checked *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->number = number;
	s->newest = newest;
	err = file_size(n->c->dirfd, number, &s->size_bytes);
	if (!err)
		err = sg_segment_open(&s->walk, n->c->dirfd, number, n->last,
				      n->have_id ? n->id : NULL);
	if (err == 0)
		err = check_open(n, s);
	else if (err == -EXDEV || err == -EBADMSG)
		err = check_stranger(n, s, err == -EXDEV);
	else if (err == -ENOENT) {
		/* Consumed meanwhile, and with it all before: consumers do not ask for the lock. */
		n->begun = false;
		err = 0;
	}
	progress(n->c, n->c->done_bytes + s->size_bytes, false);
	sg_segment_close(s->walk);
	sg_index_free(&s->index);
	free(s);
	return err;
}

/* ---- all of them ---- */

/* The identity that most segments have (Boyer and Moore, MJRTY: one pass, one candidate). */
static int find_identity(struct native *n, const struct sg_numbers *segments)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	uint64_t votes = 0;
	size_t i;
	int err;

	for (i = 0; i < segments->n; i++) {
		err = sg_segment_open(&s, n->c->dirfd, segments->v[i], 0, NULL);
		if (err == -ENOENT || err == -EBADMSG)
			continue;
		if (err)
			return err;
		sg_segment_header(s, &h, NULL);
		sg_segment_close(s);
		if (!votes)
			memcpy(n->id, h.id, sizeof(n->id));
		n->have_id = true;
		if (memcmp(n->id, h.id, sizeof(n->id)) == 0)
			votes++;
		else
			votes--;
	}
	return 0;
}

static int sum_sizes(struct native *n, const struct sg_numbers *segments)
{
	uint64_t size = 0;
	size_t i;
	int err;

	for (i = 0; i < segments->n; i++) {
		err = file_size(n->c->dirfd, segments->v[i], &size);
		if (err && err != -ENOENT)
			return err;
		n->c->total_bytes += err ? 0 : size;
	}
	return 0;
}

/* The hint `durable`: 0 if it is missing or wrong. */
static void read_durable(int dirfd, uint32_t seed, uint64_t *durable)
{
	int fd = openat(dirfd, "durable", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint8_t raw[SG_DURABLE_BYTES];
	uint64_t appended;
	size_t got;

	*durable = 0;
	if (fd < 0)
		return;
	if (sg_pread_all(fd, raw, sizeof(raw), 0, &got) != 0 ||
	    !sg_durable_read(raw, got, seed, durable, &appended))
		*durable = 0;
	close(fd);
}

/* The writer once said that it was durable up to here, and the spool ends before. */
static void settle_end(struct native *n, uint64_t newest, uint64_t durable)
{
	struct sg_checked s = { .number = newest };

	if (durable > n->known)
		n->known = durable;
	if (n->begun && durable >= n->next)
		settle(n, &s, 0, durable + 1);
	else if (n->holding)
		push(n, &n->held);
	n->holding = false;
	flush(n, true);
}

/* What the writer says first, then which segments there are: so all that it says is there to be seen. */
static int look_around(struct native *n, struct sg_numbers *segments, uint64_t *durable)
{
	int err = sg_dir_list(n->c->dirfd, SG_SEGMENT, segments);

	if (!err)
		err = find_identity(n, segments);
	if (err || !n->have_id)
		return err;
	read_durable(n->c->dirfd, sg_frame_seed(n->id), durable);
	sg_numbers_free(segments);
	return sg_dir_list(n->c->dirfd, SG_SEGMENT, segments);
}

static int check_all(struct native *n)
{
	struct sg_numbers segments = { 0 };
	uint64_t durable = 0;
	size_t i;
	int err = look_around(n, &segments, &durable);

	if (!err)
		err = sum_sizes(n, &segments);
	for (i = 0; !err && i < segments.n; i++)
		err = check_segment(n, segments.v[i], i + 1 == segments.n);
	settle_end(n, segments.n ? segments.v[segments.n - 1] : 0, durable);
	progress(n->c, n->c->done_bytes, true);
	sg_numbers_free(&segments);
	return err;
}

int sg_check_native(struct sg_check *c, const struct sg_mender *mender)
{
	struct native *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return -ENOMEM;
	n->c = c;
	n->mender = mender;
	err = check_all(n);
	free(n);
	return err;
}

/* ---- the call ---- */

int sg_check_begin(struct sg_check *c, const char *dir, const struct spool_check_config *config)
{
	*c = (struct sg_check){ .config = SPOOL_CHECK_CONFIG_INIT };
	if (config &&
	    (config->size < sizeof(config->size) + sizeof(config->format) || config->size > 4096))
		return -EINVAL;
	if (config)
		memcpy(&c->config, config,
		       config->size < sizeof(c->config) ? config->size : sizeof(c->config));
	if ((unsigned int)c->config.format > SPOOL_FORMAT_COMMITLOG)
		return -EINVAL;
	c->config.size = sizeof(c->config);
	c->dirfd = sg_dir_open(dir);
	return c->dirfd < 0 ? c->dirfd : 0;
}

int sg_check_format(struct sg_check *c)
{
	int err = 0;

	if (c->config.format == SPOOL_FORMAT_DETECT)
		err = sg_format_detect(c->dirfd, &c->config.format);
	/* Nothing there is a native spool without records. */
	if (err == -ENOENT) {
		c->nothing = true;
		c->config.format = SPOOL_FORMAT_NATIVE;
		err = 0;
	}
	c->summary.format = c->config.format;
	return err;
}

int spool_verify(const char *dir, const struct spool_check_config *config,
		 struct spool_summary *summary)
{
	struct sg_check c;
	int err = sg_check_begin(&c, dir, config);

	if (err)
		return err;
	err = sg_check_format(&c);
	if (!err && c.config.format == SPOOL_FORMAT_NATIVE) {
		err = sg_check_native(&c, NULL);
		err = err ? err : c.found;
	} else if (!err) {
		err = sg_foreign_verify(c.dirfd, c.config.format, &c.config, &c.summary);
	}
	close(c.dirfd);
	if (summary)
		*summary = c.summary;
	return err;
}
