/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Deleting segments that every consumer has acknowledged: whole ones, from the front, never the last one, and none in
 * which a byte is that nobody could verify; and not before the header of the one behind it, which keeps the spool's
 * identity, is good and synced. Several processes may do so at once. One thread at a time per struct.
 */
#ifndef SG_SPOOL_PRUNE_H
#define SG_SPOOL_PRUNE_H

#include <stdint.h>
#include <sys/types.h>

#include "spoolguard/spool.h"

#define SG_PRUNE_WALKED 8

/* Begin with zeros. */
struct sg_prune {
	struct sg_prune_file {
		uint64_t number;
		dev_t dev;
		ino_t ino;
	} walked[SG_PRUNE_WALKED], damaged;
	unsigned int turn;
	uint64_t from; /* below this acknowledgement nothing can go */
};

/* The caller has walked this segment, open at fd, from its first byte to its last, with a successor there, and found
 * nothing but valid frames; so it need not be read again. Only a few are remembered. */
void sg_prune_walked(struct sg_prune *p, uint64_t number, int fd);

/* The caller came to another segment: there may be something to do. */
void sg_prune_moved(struct sg_prune *p);

/*
 * The caller's consumer has durably acknowledged up to `acked`: delete what may go now. Where the cursor of another
 * consumer cannot be read nothing is deleted, which is no error.
 *
 * 0, or -errno of reading, unlinking or syncing the directory.
 */
int sg_prune(struct sg_prune *p, int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t acked);

#endif
