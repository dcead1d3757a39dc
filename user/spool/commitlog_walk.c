// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * Commits have no magic, but a checksum over header and records, and an offset that must go on where the
 * last one ended. So behind damage each byte is a candidate: first those whose offset the damaged bytes can
 * explain, then, if there is none, any above the expected one.
 *
 * What that cannot tell: a commit that a record carries in its payload (a log of logs) from one of this log,
 * when the commit around it is damaged and the inner one's offset fits. The format does not tie a commit to
 * its log.
 *
 * Work: a candidate costs a checksum over as many bytes as its length claims. A file made for it could have
 * one at every byte, so what a walk may spend grows with how far it has come, and no faster: when it is
 * spent, the rest is given up as a tail.
 */
#include "spool/commitlog_walk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "spool/bytes.h"
#include "spool/crc32c.h"
#include "spool/view.h"

#define BUDGET_BYTES  (4ull << 30) /* of checksums over candidates, … */
#define BUDGET_FACTOR 64	   /* … and that many for each byte that was walked */

struct sg_cl_walk {
	struct sg_pane view;
	uint64_t pos, expected, epoch, limit, spent;
	unsigned int version;
	bool version_known; /* a commit was valid in it, */
	bool header_told;   /* or that it is not the header's has been told */
	const char *why;    /* the first fault before `found` */
	enum {
		AT_HEADER,
		AT_COMMIT,
		AT_FOUND, /* `found` is to be given out next */
		AT_END,
	} state;
	struct sg_commit found;
	uint64_t found_at;
};

int sg_cl_open(struct sg_cl_walk **out, int dirfd, const char *name, uint64_t expected,
	       uint64_t epoch, uint64_t limit)
{
	struct sg_cl_walk *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	err = sg_pane_open(&w->view, dirfd, name);
	if (err) {
		sg_cl_close(w);
		return err;
	}
	w->expected = expected;
	w->epoch = epoch;
	w->limit = limit;
	w->version = 1;
	*out = w;
	return 0;
}

void sg_cl_close(struct sg_cl_walk *w)
{
	if (!w)
		return;
	sg_pane_close(&w->view);
	free(w);
}

/* ---- candidates ---- */

/* Is there a valid commit at `at`, in this version, its offset in [min, max]? *why if not. */
static int look(struct sg_cl_walk *w, uint64_t at, unsigned int version, uint64_t min, uint64_t max,
		struct sg_commit *c, bool *valid, const char **why)
{
	struct sg_commit_expect expect = { min, max, w->epoch };
	size_t header = sg_commit_header_bytes(version);
	uint64_t rest = w->view.size - at;
	uint32_t crc = 0, stored = 0;
	const uint8_t *p;
	int err;

	*valid = false;
	*why = "shorter than the header of a commit";
	if (rest < header)
		return 0;
	err = sg_pane_get(&w->view, at, header, &p);
	if (err || sg_commit_header_read(p, version, &expect, c, why) != SG_FRAME_VALID)
		return err;
	*why = "reaches into the next segment's offsets";
	if (c->offset + c->n > w->limit)
		return 0;
	*why = "the file ends inside the commit";
	if (rest < sg_commit_bytes(version, c->len))
		return 0;
	w->spent += c->len;
	*why = "checksum";
	err = sg_pane_crc(&w->view, at, header + c->len, &crc);
	if (!err)
		err = sg_pane_get(&w->view, at + header + c->len, SG_CL_CRC_BYTES, &p);
	if (!err)
		stored = sg_get32(p);
	*valid = !err && crc == stored;
	return err;
}

/* The same in the version that the header says, and in the other while no commit has confirmed it. */
static int look_in_any(struct sg_cl_walk *w, uint64_t at, uint64_t min, uint64_t max,
		       struct sg_commit *c, bool *valid, const char **why)
{
	const char *other;
	int err = look(w, at, w->version, min, max, c, valid, why);

	if (err || *valid || w->version_known)
		return err;
	err = look(w, at, !w->version, min, max, c, valid, &other);
	if (!err && *valid)
		w->version = !w->version;
	return err;
}

static bool affordable(const struct sg_cl_walk *w, uint64_t at)
{
	return w->spent < BUDGET_BYTES || (w->spent - BUDGET_BYTES) / BUDGET_FACTOR <= at;
}

/* The first valid commit behind the position; bounded: only one that the bytes in between can explain. */
static int search(struct sg_cl_walk *w, bool bounded, bool *found)
{
	const char *why;
	uint64_t at, max = UINT64_MAX;
	int err = 0;

	*found = false;
	for (at = w->pos + 1; !err && !*found && at < w->view.size && affordable(w, at); at++) {
		if (bounded)
			max = sg_commit_max_offset(0, w->expected, at - w->pos);
		err = look_in_any(w, at, w->expected, max, &w->found, found, &why);
		w->found_at = at;
	}
	return err;
}

/* ---- events ---- */

static void set_event(struct sg_cl_event *e, enum sg_cl_kind kind, uint64_t offset, uint64_t bytes,
		      const char *why)
{
	*e = (struct sg_cl_event){ .kind = kind, .offset = offset, .bytes = bytes, .why = why };
}

static int give_found(struct sg_cl_walk *w, struct sg_cl_event *e)
{
	size_t header = sg_commit_header_bytes(w->version);
	uint64_t bytes = sg_commit_bytes(w->version, w->found.len);
	const uint8_t *p;
	int err = sg_pane_get(&w->view, w->found_at, (size_t)bytes, &p);

	if (err)
		return err;
	set_event(e, SG_CL_COMMIT, w->found_at, bytes, NULL);
	e->commit = w->found;
	e->commit.records = p + header;
	w->pos = w->found_at + bytes;
	w->expected = w->found.offset + w->found.n;
	w->epoch = w->version ? w->found.epoch : w->epoch;
	w->version_known = true;
	w->state = AT_COMMIT;
	return 0;
}

/* Zeros up to the end are no fragment where they are long enough to have been preallocated: whoever writes the
 * format takes a header of zeros for the end. */
static int at_zeros(struct sg_cl_walk *w, bool *zeros)
{
	uint64_t from;
	int err;

	*zeros = false;
	if (w->view.size - w->pos < sg_commit_header_bytes(w->version))
		return 0;
	err = sg_pane_zero_from(&w->view, &from);
	*zeros = !err && from <= w->pos;
	return err;
}

/* A commit was found: what is to be told before it. */
static int lead_to_found(struct sg_cl_walk *w, unsigned int declared, struct sg_cl_event *e)
{
	if (w->version != declared && !w->header_told) {
		w->header_told = true;
		w->state = AT_FOUND;
		set_event(e, SG_CL_HEADER, 0, SG_CL_HEADER_BYTES,
			  "the commits are of the other version than it says");
		return 0;
	}
	if (w->found_at == w->pos && w->found.offset == w->expected)
		return give_found(w, e);
	set_event(e, w->found_at > w->pos ? SG_CL_DAMAGE : SG_CL_GAP, w->pos, w->found_at - w->pos,
		  w->found_at > w->pos ? w->why : "transactions are missing");
	e->from = w->expected;
	e->to = w->found.offset;
	w->pos = w->found_at;
	w->expected = w->found.offset;
	w->state = AT_FOUND;
	return 0;
}

static int resynchronise(struct sg_cl_walk *w, bool *found)
{
	int err = search(w, true, found);

	if (!err && !*found)
		err = search(w, false, found);
	return err;
}

static int next_commit(struct sg_cl_walk *w, struct sg_cl_event *e)
{
	unsigned int declared = w->version;
	bool found = false, zeros = false;
	const char *ignored;
	int err = 0;

	set_event(e, SG_CL_END, w->pos, 0, NULL);
	if (w->pos < w->view.size)
		err = at_zeros(w, &zeros);
	if (err || zeros || w->pos == w->view.size) {
		w->state = err ? w->state : AT_END;
		return err;
	}
	w->found_at = w->pos;
	err = look_in_any(w, w->pos, w->expected, w->expected, &w->found, &found, &w->why);
	/* Whole but not the next: what is between was taken out, by a recovery for one. */
	if (!err && !found)
		err = look_in_any(w, w->pos, w->expected, UINT64_MAX, &w->found, &found, &ignored);
	if (!err && !found)
		err = resynchronise(w, &found);
	if (err)
		return err;
	if (found)
		return lead_to_found(w, declared, e);
	if (!affordable(w, w->pos))
		w->why = "too many false beginnings of commits to look through";
	set_event(e, SG_CL_TAIL, w->pos, w->view.size - w->pos, w->why);
	w->state = AT_END;
	return 0;
}

/* Returns whether there is something to tell. */
static int read_header(struct sg_cl_walk *w, struct sg_cl_event *e, bool *tell)
{
	uint64_t have = w->view.size < SG_CL_HEADER_BYTES ? w->view.size : SG_CL_HEADER_BYTES;
	enum sg_frame_verdict verdict;
	const char *why = "shorter than its header";
	const uint8_t *p = (const uint8_t *)"";
	int err = have ? sg_pane_get(&w->view, 0, (size_t)have, &p) : 0;

	if (err)
		return err;
	verdict = sg_cl_header_read(p, have, &w->version, NULL, &why);
	w->state = AT_COMMIT;
	w->pos = have;
	w->header_told = *tell = verdict != SG_FRAME_VALID;
	set_event(e, have < SG_CL_HEADER_BYTES && have ? SG_CL_TAIL : SG_CL_HEADER, 0, have, why);
	return 0;
}

int sg_cl_next(struct sg_cl_walk *w, struct sg_cl_event *e)
{
	bool tell;
	int err;

	if (w->state == AT_HEADER) {
		err = read_header(w, e, &tell);
		if (err || tell)
			return err;
	}
	switch (w->state) {
	case AT_HEADER:
	case AT_COMMIT:
		return next_commit(w, e);
	case AT_FOUND:
		return lead_to_found(w, w->version, e);
	case AT_END:
		break;
	}
	set_event(e, SG_CL_END, w->pos, 0, NULL);
	return 0;
}

uint64_t sg_cl_expected(const struct sg_cl_walk *w)
{
	return w->expected;
}

uint64_t sg_cl_epoch(const struct sg_cl_walk *w)
{
	return w->epoch;
}

unsigned int sg_cl_version(const struct sg_cl_walk *w)
{
	return w->version;
}

uint64_t sg_cl_position(const struct sg_cl_walk *w)
{
	return w->pos;
}

uint64_t sg_cl_size(const struct sg_cl_walk *w)
{
	return w->view.size;
}
