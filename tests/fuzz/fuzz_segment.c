/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The walk of a segment against one that knows no shortcut: at each offset it asks for a frame, as docs/format.md has
 * it. Both must tell the same events. The input is a list of pieces, good and bad, of which the file is made.
 */
#include "make.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spool/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LARGEST 300000u /* bytes of a file, so that a run takes milliseconds */

struct input {
	const uint8_t *p;
	size_t n;
};

static uint8_t byte(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

/* Small, and at the front of a file sometimes around the sizes where the walk changes its way. */
static size_t length(struct input *in, size_t at)
{
	static const size_t special[] = { 8159, 8160, 8161, 65536, 262111, 262112, 262113, 400000 };
	uint8_t b = byte(in);

	return b >= 248 && at < 1000 ? special[b - 248] : b % 120;
}

static void frame(struct made *m, struct input *in, const uint8_t *id, uint64_t *seq, bool inner)
{
	size_t n = length(in, m->n), i;
	struct made payload = { 0 };
	uint64_t inside;

	*seq += 1 + (byte(in) > 200 ? byte(in) : 0);
	made_add(&payload, NULL, n);
	for (i = 0; i < n && i < 64; i++)
		payload.p[i] = byte(in);
	inside = *seq + byte(in) % 3;
	if (inner)
		made_frame_of(&payload, id, inside, 0, "inner", 5);
	made_frame_of(m, id, *seq, byte(in), payload.p, payload.n);
	made_free(&payload);
}

/* One more piece of the file. */
static void piece(struct made *m, struct input *in, uint64_t *seq)
{
	size_t before = m->n, n, i;
	uint8_t what = byte(in);

	switch (what % 8) {
	case 0:
	case 1:
		frame(m, in, MAKE_ID, seq, false);
		return;
	case 2:
		frame(m, in, MAKE_OTHER_ID, seq, false);
		return;
	case 3: /* a frame that is not whole */
		frame(m, in, MAKE_ID, seq, false);
		n = byte(in);
		m->n -= n < m->n - before ? n : m->n - before;
		return;
	case 4: /* one with a wrong byte, and perhaps a frame inside */
		frame(m, in, MAKE_ID, seq, what & 64);
		m->p[before + (byte(in) | (size_t)byte(in) << 8) % (m->n - before)] ^=
			(uint8_t)(1u << what / 32 % 8);
		return;
	case 5:
		made_add(m, NULL, length(in, m->n));
		return;
	case 6: /* a header without its frame */
		frame(m, in, MAKE_ID, seq, false);
		m->n = before + SG_FRAME_BYTES;
		return;
	default:
		n = length(in, m->n);
		made_add(m, NULL, n);
		for (i = 0; i < n && i < 64; i++)
			m->p[before + i] = byte(in);
		*seq -= *seq > 3 && what & 128 ? 2 : 0; /* numbers that do not rise */
	}
}

/* ---- the slow walk ---- */

struct slow {
	const struct made *m;
	uint64_t first, last, at, end;
};

static bool valid(const struct slow *s, uint64_t at, uint64_t max, struct sg_frame *f)
{
	uint64_t below = s->first - 1 > s->last ? s->first - 1 : s->last;

	if (at >= s->m->n || below == UINT64_MAX)
		return false;
	return sg_frame_read(s->m->p + at, s->m->n - at, sg_frame_seed(MAKE_ID), below + 1, max, f,
			     NULL, NULL) == SG_FRAME_VALID;
}

static struct sg_event slow_next(struct slow *s)
{
	uint64_t below = s->first - 1 > s->last ? s->first - 1 : s->last, at;
	struct sg_event e = { .kind = SG_EVENT_END, .offset = s->at };

	if (valid(s, s->at, UINT64_MAX, &e.frame)) {
		e.kind = SG_EVENT_FRAME;
		e.bytes = SG_FRAME_BYTES + (uint64_t)e.frame.len;
		s->last = e.frame.seq;
		s->at += e.bytes;
		return e;
	}
	if (s->at >= s->end)
		return e;
	for (at = s->at + 1; at < s->m->n; at++)
		if (valid(s, at, sg_frame_max_seq(below, at - s->at), &e.frame))
			break;
	for (at = at < s->m->n ? at : s->at + 1; at < s->m->n; at++)
		if (valid(s, at, UINT64_MAX, &e.frame))
			break;
	e.kind = at < s->m->n ? SG_EVENT_DAMAGE : SG_EVENT_TAIL;
	e.bytes = (at < s->m->n ? at : s->end) - s->at;
	if (at < s->m->n)
		s->at = at;
	return e;
}

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void compare(const struct dir *d, const struct made *m, uint64_t first, uint32_t flags,
		    uint64_t last, bool checks_only)
{
	struct slow slow = { m, first, last, SG_HEADER_BYTES, m->n };
	struct sg_segment *s;
	struct sg_event a, b;

	while (flags && slow.end > SG_HEADER_BYTES && m->p[slow.end - 1] == 0)
		slow.end--;
	check(sg_segment_open(&s, d->fd, 1, last, MAKE_ID) == 0);
	if (checks_only)
		sg_segment_checks_only(s);
	do {
		a = slow_next(&slow);
		check(sg_segment_next(s, &b) == 0);
		check(a.kind == b.kind && a.offset == b.offset && a.bytes == b.bytes);
		if (a.kind == SG_EVENT_FRAME) {
			check(a.frame.seq == b.frame.seq && a.frame.len == b.frame.len &&
			      a.frame.at_risk == b.frame.at_risk);
			check(b.frame.payload
				      ? memcmp(a.frame.payload, b.frame.payload, a.frame.len) == 0
				      : checks_only);
		} else {
			check(a.kind == SG_EVENT_END || b.why);
		}
	} while (a.kind != SG_EVENT_TAIL && a.kind != SG_EVENT_END);
	sg_segment_close(s);
}

static struct dir dir = { .fd = -1 };

static void end_dir(void)
{
	dir_end(&dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct made m = { 0 };
	uint64_t first, seq, last;
	uint8_t how = byte(&in);

	if (dir.fd < 0) {
		dir = dir_begin();
		atexit(end_dir);
	}
	first = how & 4 ? UINT64_MAX - byte(&in) : 1 + byte(&in);
	last = how & 8 ? first + byte(&in) % 8 : byte(&in) % 4;
	made_header(&m, MAKE_ID, first, how & 1 ? SG_HEADER_ZEROS : 0);
	for (seq = first - 1; in.n && m.n < LARGEST;)
		piece(&m, &in, &seq);
	dir_put_segment(&dir, 1, &m);
	compare(&dir, &m, first, how & 1, last, how & 2);
	made_free(&m);
	return 0;
}
