/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* A look at the segment where an earlier writer stopped. */
#ifndef SG_SPOOL_LOOK_H
#define SG_SPOOL_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/index.h"
#include "spoolguard/spool.h"

struct sg_look {
	uint64_t number, frames;
	uint64_t last_seq;	  /* of its last frame; number - 1 if there is none */
	uint64_t end, torn_bytes; /* of its last frame; what follows it */
	uint64_t unsure_from;	  /* offset of the first frame above `durable`; 0: there is none */
	bool damaged;		  /* before its last frame */
	bool headless;		  /* no copy of its header is good */
	uint32_t flags;		  /* of the header */
	struct sg_index index;	  /* sg_index_free(), after an error too */
};

/* Walk the segment `number` of the spool `id` (its records up to `durable` being known to be that). 0, or what
 * sg_segment_open() and sg_segment_next() return. */
int sg_look_at(int dirfd, uint64_t number, const uint8_t *id, uint64_t durable, struct sg_look *l);

#endif
