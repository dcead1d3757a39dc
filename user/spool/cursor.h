/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * How far a consumer has acknowledged: the file cursor-NAME, two slots that are written in turn (docs/format.md). A
 * write that is cut short costs the newer acknowledgement and never the older one, so a consumer gets a record again
 * and never misses one. A file in which no slot is valid is an error: it is not known where to begin then.
 */
#ifndef SG_SPOOL_CURSOR_H
#define SG_SPOOL_CURSOR_H

#include <stddef.h>
#include <stdint.h>

#include "spool/frame.h"

#define SG_CURSOR_PREFIX     "cursor-"
#define SG_CURSOR_FILE_BYTES (SG_CURSOR_STRIDE + SG_CURSOR_BYTES)

/* Of the bytes of a cursor's file: *c is the valid slot that counts. Returns its number, 0 or 1; -EBADMSG: none is
 * valid. Pure. */
int sg_cursor_pick(const void *file, size_t len, struct sg_cursor *c);

/* One consumer's, held. */
struct sg_cursor_file {
	int fd;
	unsigned int slot;	/* the one that holds `state` */
	struct sg_cursor state; /* as it is durable */
	int error;		/* of a failed sync: latched */
};

/*
 * Take the cursor of the consumer `name`; made with `mode`, durably, at 0, if it is not there. Its flock is held until
 * it is closed.
 *
 * -EBUSY: somebody holds it. -EINVAL: no consumer's name. -EBADMSG: no slot is valid, or it is of another spool than
 * `id`. And what open(2), read(2), write(2), fsync(2), rename(2) return.
 */
int sg_cursor_open(struct sg_cursor_file *c, int dirfd, const char *name,
		   const uint8_t id[SPOOL_ID_BYTES], uint32_t mode);

/*
 * Make it durable that all up to `acked` is done with. time_ns: wall clock.
 *
 * After a failed sync every later call returns its error: nobody can tell what the disk has. After a failed write a
 * later call may succeed. -ESTALE: the file was deleted. One thread at a time.
 */
int sg_cursor_store(struct sg_cursor_file *c, uint64_t acked, uint64_t time_ns);

void sg_cursor_close(struct sg_cursor_file *c);

/* ---- those of all consumers ---- */

/*
 * Called for each cursor-* of the directory, in no order. err: 0, or why it cannot be read (then c is NULL): -EBADMSG
 * for bytes that are no cursor of this spool. What it returns but 0 ends the walk.
 */
typedef int (*sg_cursor_fn)(void *arg, const char *consumer, int err, const struct sg_cursor *c);

/* What each says now, without taking it. 0, what fn returned, or -errno. */
int sg_cursor_each(int dirfd, const uint8_t id[SPOOL_ID_BYTES], sg_cursor_fn fn, void *arg);

/*
 * Up to *acked every consumer has acknowledged, and that is durable (each file is synced here after it was read).
 * UINT64_MAX: there is no consumer. Any cursor that cannot be read is an error: nobody may delete then.
 */
int sg_cursor_least(int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t *acked);

/*
 * The highest number that any consumer has acknowledged; 0: none. Cursors that cannot be read are passed over.
 *
 * A writer must number on above it. Where the end of a spool was lost although it had been durable (damage, a disk
 * that lied), the numbers would else come again, and whoever had acknowledged them would never get the new records.
 */
int sg_cursor_highest(int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t *acked);

#endif
