/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The bytes of the native format, version 1, as docs/format.md has them. Pure: bytes in, values out, no
 * I/O, no clock, no allocation; nothing outside the given bytes is read, whatever they say.
 */
#ifndef SG_SPOOL_FRAME_H
#define SG_SPOOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "spoolguard/spool.h"

#define SG_HEADER_BYTES	 128u /* of a segment: two copies */
#define SG_HEADER_COPY	 64u
#define SG_FRAME_BYTES	 32u /* of a frame, before its payload */
#define SG_FRAME_MAX	 ((uint64_t)SG_FRAME_BYTES + SPOOL_RECORD_MAX)
#define SG_HEADER_ZEROS	 1u /* flag: zero bytes may follow the last frame */
#define SG_MAGIC_BYTES	 8u
#define SG_SEGMENT_MAGIC "SGSPOOL\n"
#define SG_INDEX_HEADER	 32u
#define SG_INDEX_ENTRY	 24u
#define SG_DURABLE_BYTES 32u
#define SG_CURSOR_BYTES	 64u   /* of a slot */
#define SG_CURSOR_STRIDE 4096u /* from one slot to the other */

/* ---- segment header ---- */

struct sg_segment_header {
	uint8_t id[SPOOL_ID_BYTES];
	uint64_t first_seq, created_ns;
	uint32_t flags;
};

void sg_segment_header_write(uint8_t out[SG_HEADER_BYTES], const struct sg_segment_header *h);

/*
 * Of the first `len` bytes of a file. Returns which copies are bad: 0 none, 1 the first, 2 the second, and 3
 * both (or len is too short): then *h is untouched and *why says what is wrong with the first.
 */
unsigned int sg_segment_header_read(const void *in, size_t len, struct sg_segment_header *h,
				    const char **why);

/* CRC of the identity, from which those of frames continue. */
uint32_t sg_frame_seed(const uint8_t id[SPOOL_ID_BYTES]);

/* ---- frames ---- */

struct sg_frame {
	uint32_t len, at_risk;
	uint64_t seq, time_ns;
	const uint8_t *payload; /* into the bytes given */
};

/* The 32 bytes before a payload that lies in iov[]; f->len is its length in all. */
void sg_frame_header_write(uint8_t out[SG_FRAME_BYTES], const struct sg_frame *f, uint32_t seed,
			   const struct iovec *iov, int iovcnt);

/* What the 32 bytes at p say, unchecked (f->payload: what follows them); returns their CRC. */
uint32_t sg_frame_peek(const void *p, struct sg_frame *f);

enum sg_frame_verdict {
	SG_FRAME_VALID,
	SG_FRAME_SHORT, /* more bytes are needed: *need in all */
	SG_FRAME_BAD,	/* *why */
};

/*
 * Is a valid frame at p, of which `have` bytes are there? Its number must lie in [min_seq, max_seq].
 * `why` and `need` may be NULL. The checks that need no CRC come first, so a scan for the next frame over damaged
 * bytes is quick.
 */
enum sg_frame_verdict sg_frame_read(const void *p, uint64_t have, uint32_t seed, uint64_t min_seq,
				    uint64_t max_seq, struct sg_frame *f, uint64_t *need,
				    const char **why);

/* Highest number that a frame `distance` damaged bytes behind the last valid one (number last) may have. */
static inline uint64_t sg_frame_max_seq(uint64_t last, uint64_t distance)
{
	uint64_t max = last + 1 + distance / SG_FRAME_BYTES;

	return max < last ? UINT64_MAX : max;
}

/* What f's number proves durable: see "at 24" in docs/format.md. */
static inline uint64_t sg_frame_known_durable(const struct sg_frame *f)
{
	return f->seq - 1 > f->at_risk && f->at_risk != UINT32_MAX ? f->seq - 1 - f->at_risk : 0;
}

/* ---- index, durable, cursor ---- */

void sg_index_header_write(uint8_t out[SG_INDEX_HEADER], uint64_t first_seq);
bool sg_index_header_read(const void *in, size_t len, uint64_t *first_seq);
void sg_index_entry_write(uint8_t out[SG_INDEX_ENTRY], uint32_t seed, uint64_t seq,
			  uint64_t offset);
bool sg_index_entry_read(const void *in, size_t len, uint32_t seed, uint64_t *seq,
			 uint64_t *offset);

void sg_durable_write(uint8_t out[SG_DURABLE_BYTES], uint32_t seed, uint64_t durable,
		      uint64_t appended);
bool sg_durable_read(const void *in, size_t len, uint32_t seed, uint64_t *durable,
		     uint64_t *appended);

struct sg_cursor {
	uint8_t id[SPOOL_ID_BYTES];
	uint64_t generation, acked, time_ns;
};
void sg_cursor_write(uint8_t out[SG_CURSOR_BYTES], const struct sg_cursor *c);
bool sg_cursor_read(const void *in, size_t len, struct sg_cursor *c);

/* 1 to 64 of A–Z a–z 0–9 . _ -, no dot in front. */
bool sg_cursor_name_ok(const char *name);

#endif
