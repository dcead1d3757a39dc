/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The index of a segment: a hint where its records lie. It is never synced and never trusted: what a crash leaves of it
 * has wrong checksums, and whoever uses an entry verifies the frame at its offset.
 */
#ifndef SG_SPOOL_INDEX_H
#define SG_SPOOL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_INDEX_TMP	".index.tmp"
#define SG_INDEX_STRIDE 65536u /* bytes between two entries */
#define SG_INDEX_ENTRIES \
	65536u /* most entries: beyond, every second one goes and the stride doubles */

/* ---- building ---- */

struct sg_index_place {
	uint64_t seq, offset;
};

/* Begin with zeros. */
struct sg_index {
	struct sg_index_place *v;
	size_t n, room;
	uint64_t stride_bytes; /* 0: SG_INDEX_STRIDE */
};

/* The frame `seq` lies at `offset`: remembered if the last one remembered is far enough back. 0 or -ENOMEM (then it
 * is not remembered, which does no harm). Ascending. At most 1 MiB of memory. */
int sg_index_add(struct sg_index *x, uint64_t seq, uint64_t offset);

/* Write it beside the segment `number`, over an old one; not synced. By whoever holds the lock. 0 or -errno, which
 * leaves the old one. */
int sg_index_write(const struct sg_index *x, int dirfd, uint64_t number, uint64_t first_seq,
		   uint32_t seed, uint32_t mode);

void sg_index_free(struct sg_index *x);

/* ---- using ---- */

/*
 * The last place that is not above `seq` in the index of the segment `number`. Reads a few entries only. 0, -ENOENT
 * (no index, or none so low), -EBADMSG (it is no index of this segment, or an entry is damaged), or -errno.
 */
int sg_index_find(int dirfd, uint64_t number, uint64_t first_seq, uint32_t seed, uint64_t seq,
		  uint64_t *at_seq, uint64_t *offset);

/* ---- checking ---- */

struct sg_index_check;

/* Hold the index of the segment `number` against its frames. NULL: out of memory. A missing one is no error here. */
struct sg_index_check *sg_index_check_begin(int dirfd, uint64_t number, uint64_t first_seq,
					    uint32_t seed);

/* The next frame; ascending. */
void sg_index_check_frame(struct sg_index_check *c, uint64_t seq, uint64_t offset);

/* Frees. NULL if every entry was a frame, else what is wrong (static), "missing" for instance. */
const char *sg_index_check_end(struct sg_index_check *c);

#endif
