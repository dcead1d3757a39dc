/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* All that lies in a spool, seen by the walk alone: for tests of the writer. */
#ifndef SG_TESTS_SPOOL_WALK_H
#define SG_TESTS_SPOOL_WALK_H

#include "make.h"
#include "spool/segment.h"

struct walked {
	uint64_t segments, records, first, last, gaps; /* gaps: jumps in the numbers */
	uint64_t damaged, torn;			       /* places */
	int err;
};

typedef void (*walk_fn)(void *arg, const struct sg_frame *f);

MAKE_UNUSED static void walk_frame(struct walked *w, const struct sg_frame *f)
{
	w->records++;
	w->gaps += w->last && f->seq != w->last + 1;
	w->first = w->first ? w->first : f->seq;
	w->last = f->seq;
}

MAKE_UNUSED static void walk_segment(struct walked *w, struct sg_segment *s, walk_fn fn, void *arg)
{
	struct sg_event e;

	do {
		w->err = sg_segment_next(s, &e);
		if (w->err)
			return;
		w->damaged += e.kind == SG_EVENT_DAMAGE;
		w->torn += e.kind == SG_EVENT_TAIL;
		if (e.kind != SG_EVENT_FRAME)
			continue;
		walk_frame(w, &e.frame);
		if (fn)
			fn(arg, &e.frame);
	} while (e.kind == SG_EVENT_FRAME || e.kind == SG_EVENT_DAMAGE);
}

MAKE_UNUSED static struct walked walk_spool(const char *path, walk_fn fn, void *arg)
{
	struct walked w = { 0 };
	struct sg_numbers n = { 0 };
	struct sg_segment *s;
	int fd = sg_dir_open(path);
	size_t i;

	w.err = fd < 0 ? fd : sg_dir_list(fd, SG_SEGMENT, &n);
	for (i = 0; i < n.n && !w.err; i++) {
		w.err = sg_segment_open(&s, fd, n.v[i], w.last, NULL);
		if (w.err)
			break;
		w.segments++;
		walk_segment(&w, s, fn, arg);
		sg_segment_close(s);
	}
	sg_numbers_free(&n);
	if (fd >= 0)
		close(fd);
	return w;
}

/* Nothing is wrong with it, and it holds exactly the records first to last. */
MAKE_UNUSED static bool walk_is(const struct walked *w, uint64_t first, uint64_t last)
{
	return !w->err && !w->gaps && !w->damaged && !w->torn && w->last == last &&
	       w->first == (last >= first ? first : 0);
}

#endif
