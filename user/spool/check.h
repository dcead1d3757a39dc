/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What checking and recovering a native spool share: one walk over all segments, which finds the faults, counts
 * and tells them. Recovery gives it a struct sg_mender, which it calls where something is to be mended; verify
 * gives none. So both find the same.
 */
#ifndef SG_SPOOL_CHECK_H
#define SG_SPOOL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/dir.h"
#include "spool/index.h"
#include "spool/segment.h"
#include "spoolguard/spool.h"

/* One call of spool_verify() or spool_recover(). */
struct sg_check {
	int dirfd;
	struct spool_check_config config;
	struct spool_summary summary;
	bool nothing;	 /* there are no files of any format */
	bool found;	 /* anything but INDEX */
	int index_error; /* recovery: the first index that could not be written */
	uint64_t done_bytes, total_bytes, told_bytes;
};

/* One segment while it is walked. */
struct sg_checked {
	uint64_t number, size_bytes;
	bool newest; /* the last of the spool */
	struct sg_segment *walk;
	struct sg_segment_header header;
	unsigned int bad_copies;
	bool damaged; /* a header's copy, or bytes in the middle: it wants to be written anew */
	uint64_t records, first_time_ns;
	char kept[SG_KEPT_BYTES]; /* where the mender keeps what is wrong; "" if it does not */
	struct sg_index index;	  /* of its valid frames */
	const char *index_why;	  /* what is wrong with the one in its file; NULL: nothing */
};

/* What recovery does on the way. Each returns 0 or -errno, which ends the walk. */
struct sg_mender {
	/* The first damage of this segment: keep the file, name it in s->kept. */
	int (*keep)(struct sg_check *c, struct sg_checked *s);
	/* No valid frame from `offset` to the end, and no damage before: keep these bytes, name them in s->kept,
	 * cut. */
	int (*cut)(struct sg_check *c, struct sg_checked *s, uint64_t offset, uint64_t bytes);
	/* The walk of it is at its end: write it and its index anew if they want it. */
	int (*finish)(struct sg_check *c, struct sg_checked *s);
	/* A file that is none of this spool's: out of the way. Names it in s->kept. */
	int (*take_out)(struct sg_check *c, struct sg_checked *s);
};

/*
 * Walk the native spool; findings and summary into *c. mender may be NULL. 0 (also with findings), or -errno.
 * -EBADMSG: no header is left in the whole spool, and recovery was to mend it.
 */
int sg_check_native(struct sg_check *c, const struct sg_mender *mender);

/* Fill *c for a call on `dir`; c->dirfd is closed by the caller. 0, -EINVAL (config), or what open(2) returns. */
int sg_check_begin(struct sg_check *c, const char *dir, const struct spool_check_config *config);

/* Tell a finding that costs no record, outside the walk. */
void sg_check_tell(struct sg_check *c, const struct spool_finding *finding);

/* What is told of a segment whose name is not its number; at 32 in its header. */
#define SG_MISNAMED "its first sequence number is not the one in its name"

/* The format is found, if it was to be. 0 or -errno. */
int sg_check_format(struct sg_check *c);

#endif
