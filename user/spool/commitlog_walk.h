/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Walking one segment of a commit log: its commits, and what is between them. */
#ifndef SG_SPOOL_COMMITLOG_WALK_H
#define SG_SPOOL_COMMITLOG_WALK_H

#include <stdint.h>

#include "spool/commitlog.h"

enum sg_cl_kind {
	SG_CL_COMMIT, /* a valid commit: `commit`, its records valid until the next call */
	SG_CL_DAMAGE, /* bytes that are no commit, and behind them a valid one, which comes next */
	SG_CL_GAP, /* no damaged byte, but transactions are missing before the commit that comes next */
	SG_CL_HEADER, /* the header of the segment is damaged, or lies about the version */
	SG_CL_TAIL,   /* bytes up to the end of the file in which no valid commit is */
	SG_CL_END,    /* the end of the file, or of all but preallocated zeros */
};

struct sg_cl_event {
	enum sg_cl_kind kind;
	uint64_t offset, bytes; /* in the file */
	uint64_t from, to;	/* DAMAGE, GAP: transactions [from, to) are missing */
	const char *why;	/* static */
	struct sg_commit commit;
};

struct sg_cl_walk;

/*
 * Begin to walk the segment `name`. expected: offset of its first transaction (from its name, or where the
 * segment before it ended, whichever is higher); epoch: that of the last commit before it; limit: offset that
 * all must lie below (the next segment's first), UINT64_MAX if there is none.
 *
 * 0, -ENOMEM, what open(2) and read(2) return.
 */
int sg_cl_open(struct sg_cl_walk **walk, int dirfd, const char *name, uint64_t expected,
	       uint64_t epoch, uint64_t limit);
void sg_cl_close(struct sg_cl_walk *walk);

/* The next event; 0 or -errno. TAIL and END come once, END last and then always. */
int sg_cl_next(struct sg_cl_walk *walk, struct sg_cl_event *event);

uint64_t sg_cl_expected(const struct sg_cl_walk *walk); /* offset that the next commit must have */
uint64_t sg_cl_epoch(const struct sg_cl_walk *walk);
unsigned int
sg_cl_version(const struct sg_cl_walk *walk); /* of its commits; 1 where that is not known */
uint64_t sg_cl_position(const struct sg_cl_walk *walk); /* in the file */
uint64_t sg_cl_size(const struct sg_cl_walk *walk);	/* of the file */

#endif
