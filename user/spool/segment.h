/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Walking one native segment: frames, and what is between them. The one place that knows how to go on behind
 * damage; verify, recovery, reader, scan, mirror and the writer's look at its tail all stand on it.
 *
 * Memory: one buffer, that grows to the largest record whose CRC was right (a length is believed only then; until
 * then it is read in pieces). No mmap: a file that a writer cuts back would be a SIGBUS.
 */
#ifndef SG_SPOOL_SEGMENT_H
#define SG_SPOOL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/frame.h"

enum sg_event_kind {
	SG_EVENT_FRAME,	 /* a valid frame: event.frame, its payload valid until the next call */
	SG_EVENT_DAMAGE, /* bytes that are no frame, and behind them a valid one, which comes next */
	/* Bytes up to the end of the file, or to the zeros that its header allows there, in which no valid frame is: torn,
	 * damaged or being written. */
	SG_EVENT_TAIL,
	SG_EVENT_END, /* the end of the file, or of the zeros that its header allows there */
};

struct sg_event {
	enum sg_event_kind kind;
	uint64_t offset,
		bytes; /* in the file; a frame's header is included. END: where the last frame ends, 0 */
	const char *why; /* DAMAGE, TAIL: the first fault found; static */
	struct sg_frame frame;
};

struct sg_segment; /* one open walk */

/*
 * Begin to walk the segment `number` of the directory.
 *
 * last_seq: number of the last valid frame before it in the spool, 0 if none: frames must lie above. id: the
 * spool's identity, or NULL if not known yet. A segment whose header is lost is walked with `id`; one of another
 * spool is refused.
 *
 * 0, -ENOENT, -ENOMEM, what open(2) and read(2) return; -EBADMSG: no valid header and no id, or no regular file;
 * -EXDEV: it is of another spool. dirfd stays open as long as the walk. One thread at a time.
 */
int sg_segment_open(struct sg_segment **segment, int dirfd, uint64_t number, uint64_t last_seq,
		    const uint8_t *id);
void sg_segment_close(struct sg_segment *segment);

/* For whoever only checks: payloads of large frames are verified, but not kept (event.frame.payload may be NULL), so
 * that memory does not depend on the records. Before the first sg_segment_next(). */
void sg_segment_checks_only(struct sg_segment *segment);

/*
 * The next event; 0 or -errno. After TAIL and END the position stays, and the next call looks again whether
 * the file has grown: so a live segment is followed. The damage of a header is no event: sg_segment_header().
 */
int sg_segment_next(struct sg_segment *segment, struct sg_event *event);

/* Go to the frame `seq` or, if it is missing, to the first above it, by the index if there is a good one, else by
 * walking. Damage on the way is not told. 0, or -errno. If the segment ends before: next gives TAIL or END. By the
 * index it comes to the frame without having seen the one before: sg_segment_last_seq() is then its number less 1. */
int sg_segment_seek(struct sg_segment *segment, uint64_t seq);

/* Which copies of the header are bad (bits 1 and 2), and why. *h: the good one, or what was put together. */
unsigned int sg_segment_header(const struct sg_segment *segment, struct sg_segment_header *h,
			       const char **why);

uint64_t
sg_segment_last_seq(const struct sg_segment
			    *segment); /* of the last valid frame; as given to open before any */
uint64_t sg_segment_offset(const struct sg_segment *segment); /* where the next event begins */
uint64_t sg_segment_known_durable(
	const struct sg_segment *segment); /* greatest sg_frame_known_durable() seen */
int sg_segment_fd(const struct sg_segment *segment);

#endif
