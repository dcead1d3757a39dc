/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Segments one behind the other, as a stream of bytes that comes in pieces of any size, taken apart into headers
 * and frames. What comes out does not depend on where the pieces are cut. No I/O; one thread at a time.
 *
 * Memory: whatever is whole is looked at where it lies. Only the frame that a cut goes through is gathered, in a
 * buffer that grows with the bytes that have come, never with a length that nobody has checked.
 */
#ifndef SG_SPOOL_STREAM_H
#define SG_SPOOL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spool/commitlog.h"
#include "spool/frame.h"

enum sg_piece_kind {
	SG_PIECE_HEADER,
	SG_PIECE_FRAME, /* of a commit log: a commit */
	SG_PIECE_ZEROS, /* the end of a preallocated segment */
	SG_PIECE_BREAK, /* none: what `data` of earlier pieces points to goes away after this call */
};

struct sg_piece {
	enum sg_piece_kind kind;
	const uint8_t *data;
	uint64_t bytes;
	uint64_t first; /* HEADER, native: number in it. FRAME: of its first record */
	uint64_t last;	/* FRAME: of its last record */
	uint32_t crc;	/* FRAME: its own, which tells it from another of the same number */
	struct sg_segment_header header; /* HEADER, native */
	uint8_t version;		 /* HEADER, commit log */
	uint64_t epoch;			 /* FRAME, commit log */
};

/* Called for each piece, in order. Whatever it returns but 0 ends sg_stream_push(), which returns it. */
typedef int (*sg_piece_fn)(void *arg, const struct sg_piece *piece);

struct sg_stream {
	enum spool_format format; /* DETECT until the first bytes are there */
	bool look_behind;	  /* see sg_stream_init() */
	bool in_segment;	  /* behind a header */
	bool zeros_follow;	  /* behind the zeros that end a segment */
	bool numbered;		  /* `next` is known */
	uint64_t next;		  /* number that the next record should have */
	uint64_t offset;	  /* bytes taken apart so far */
	bool bad;		  /* at bad_at begins what is no frame; */
	uint64_t bad_at;
	const char *why; /* this is why */
	/* what the last header says */
	uint32_t flags, seed;
	uint8_t version;
	uint64_t epoch;
	/* what a cut goes through */
	uint8_t *buf;
	size_t pending, room;
	uint64_t need; /* so many bytes there decide */
};

/*
 * format: NATIVE, COMMITLOG, or DETECT: by the first bytes.
 * look_behind: where no frame is, go on looking whether a valid one follows, so that the end of the stream tells
 * damage from a trailing fragment; else the first bad byte is -EBADMSG.
 */
void sg_stream_init(struct sg_stream *s, enum spool_format format, bool look_behind);
void sg_stream_free(struct sg_stream *s);

/* The next bytes. 0; -EBADMSG: damage, *why* tells; -ENOMEM; what fn returned. After an error the stream is done
 * with. */
int sg_stream_push(struct sg_stream *s, const void *data, size_t len, sg_piece_fn fn, void *arg);

/* No more bytes. fragment_bytes: how many at the end are no frame (0: it ended well); of these no valid frame is
 * any. -EBADMSG: damage, and behind it something valid. */
int sg_stream_end(struct sg_stream *s, sg_piece_fn fn, void *arg, uint64_t *fragment_bytes);

#endif
