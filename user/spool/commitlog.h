/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The bytes of a SpacetimeDB commit log, versions 0 and 1, as docs/format-commitlog.md has them. Pure like
 * frame.h: bytes in, values out, no I/O, no clock, no allocation; nothing outside the given bytes is read.
 */
#ifndef SG_SPOOL_COMMITLOG_H
#define SG_SPOOL_COMMITLOG_H

#include <stddef.h>
#include <stdint.h>

#include "spool/frame.h"

#define SG_CL_SUFFIX	   ".stdb.log" /* a segment: 20 digits of its first offset, and this */
#define SG_CL_INDEX	   ".stdb.ofs"
#define SG_CL_MAGIC	   "(ds)^2"
#define SG_CL_MAGIC_BYTES  6u
#define SG_CL_HEADER_BYTES 10u /* of a segment */
#define SG_CL_COMMIT_MAX   22u /* of a commit's header, in the version that has the longer one */
#define SG_CL_CRC_BYTES	   4u  /* behind the records */
#define SG_CL_VERSIONS	   2u  /* 0 and 1 */
#define SG_CL_INDEX_ENTRY  16u

/* ---- segment header ---- */

/* `version`: 0 or 1; the checksum is CRC-32C. */
void sg_cl_header_write(uint8_t out[SG_CL_HEADER_BYTES], unsigned int version);

/*
 * Of the first bytes of a segment, of which `have` are there. SG_FRAME_SHORT: so far they are the beginning
 * of a header, and *need in all are needed; SG_FRAME_BAD: they cannot be one (*why). `need` and `why` may be
 * NULL.
 */
enum sg_frame_verdict sg_cl_header_read(const void *in, uint64_t have, unsigned int *version,
					uint64_t *need, const char **why);

/* ---- commits ---- */

struct sg_commit {
	uint64_t offset; /* of its first transaction, counted from 0 */
	uint64_t epoch;	 /* 0 in version 0 */
	uint32_t n;	 /* how many transactions: 1 to 65535 */
	uint32_t len;	 /* bytes of the records section */
	const uint8_t *records;
};

/* What a commit must be to follow those before it. */
struct sg_commit_expect {
	uint64_t min_offset, max_offset; /* equal where the commit before is known */
	uint64_t min_epoch;		 /* of version 1 only */
};

/* Bytes of a commit's header in this version: 14 or 22. */
static inline size_t sg_commit_header_bytes(unsigned int version)
{
	return version ? SG_CL_COMMIT_MAX : 14u;
}

/* Bytes of a whole commit: header, records, checksum. */
static inline uint64_t sg_commit_bytes(unsigned int version, uint32_t len)
{
	return sg_commit_header_bytes(version) + (uint64_t)len + SG_CL_CRC_BYTES;
}

/* What stands before and behind c->records. Returns the bytes of the header. */
size_t sg_commit_write(uint8_t header[SG_CL_COMMIT_MAX], uint8_t crc[SG_CL_CRC_BYTES],
		       unsigned int version, const struct sg_commit *c);

/*
 * The checks that need no more than the header: p has sg_commit_header_bytes(version) bytes. VALID: they
 * may be a commit; c->records is not set.
 */
enum sg_frame_verdict sg_commit_header_read(const void *p, unsigned int version,
					    const struct sg_commit_expect *expect,
					    struct sg_commit *c, const char **why);

/*
 * Is a valid commit at p, of which `have` bytes are there? Its records may be SPOOL_RECORD_MAX bytes long.
 * SG_FRAME_SHORT: *need bytes in all are needed; a header that is wrong is found BAD as soon as it is there,
 * so no more than SPOOL_RECORD_MAX + 26 bytes are ever asked for. `need` and `why` may be NULL.
 */
enum sg_frame_verdict sg_commit_read(const void *p, uint64_t have, unsigned int version,
				     const struct sg_commit_expect *expect, struct sg_commit *c,
				     uint64_t *need, const char **why);

/* Highest offset that a commit `distance` damaged bytes behind the expected one may have: each lost one took at least a
 * header and a checksum, and may have held 65535 transactions. */
uint64_t sg_commit_max_offset(unsigned int version, uint64_t expected, uint64_t distance);

/* ---- index: pairs of offset and place, only a hint ---- */

struct sg_cl_index {
	uint64_t offset; /* 0: empty, and so are all behind it */
	uint64_t place;	 /* of the commit in the segment, in bytes */
};
void sg_cl_index_read(const uint8_t in[SG_CL_INDEX_ENTRY], struct sg_cl_index *e);

#endif
