// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/look.h"

#include "spool/segment.h"

static void see_frame(struct sg_look *l, const struct sg_event *e, uint64_t durable)
{
	l->frames++;
	sg_index_add(&l->index, e->frame.seq, e->offset);
	if (e->frame.seq > durable && !l->unsure_from)
		l->unsure_from = e->offset;
}

static int walk_on(struct sg_segment *walk, struct sg_look *l, uint64_t durable)
{
	struct sg_event e;
	int err;

	for (;;) {
		err = sg_segment_next(walk, &e);
		if (err)
			return err;
		if (e.kind == SG_EVENT_FRAME)
			see_frame(l, &e, durable);
		else if (e.kind == SG_EVENT_DAMAGE)
			l->damaged = true;
		else
			break;
	}
	l->end = e.offset;
	l->torn_bytes = e.kind == SG_EVENT_TAIL ? e.bytes : 0;
	return 0;
}

int sg_look_at(int dirfd, uint64_t number, const uint8_t *id, uint64_t durable, struct sg_look *l)
{
	struct sg_segment_header h;
	struct sg_segment *walk;
	const char *why;
	int err;

	*l = (struct sg_look){ .number = number };
	err = sg_segment_open(&walk, dirfd, number, number ? number - 1 : 0, id);
	if (err)
		return err;
	sg_segment_checks_only(walk);
	err = walk_on(walk, l, durable);
	l->headless = sg_segment_header(walk, &h, &why) == 3;
	l->flags = l->headless ? 0 : h.flags;
	l->last_seq = sg_segment_last_seq(walk);
	sg_segment_close(walk);
	return err;
}
