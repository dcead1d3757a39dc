// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/commitlog.h"

#include <string.h>

#include "spool/bytes.h"
#include "spool/crc32c.h"

#define MAX_TRANSACTIONS 65535u

static enum sg_frame_verdict bad(const char **why, const char *what)
{
	if (why)
		*why = what;
	return SG_FRAME_BAD;
}

static enum sg_frame_verdict too_short(uint64_t *need, uint64_t bytes)
{
	if (need)
		*need = bytes;
	return SG_FRAME_SHORT;
}

/* ---- segment header ---- */

void sg_cl_header_write(uint8_t out[SG_CL_HEADER_BYTES], unsigned int version)
{
	memset(out, 0, SG_CL_HEADER_BYTES);
	memcpy(out, SG_CL_MAGIC, SG_CL_MAGIC_BYTES);
	out[6] = (uint8_t)version;
}

enum sg_frame_verdict sg_cl_header_read(const void *in, uint64_t have, unsigned int *version,
					uint64_t *need, const char **why)
{
	const uint8_t *p = in;

	if (memcmp(p, SG_CL_MAGIC, have < SG_CL_MAGIC_BYTES ? have : SG_CL_MAGIC_BYTES) != 0)
		return bad(why, "magic");
	if (have > 6 && p[6] >= SG_CL_VERSIONS)
		return bad(why, "version is neither 0 nor 1");
	if (have > 7 && p[7] != 0)
		return bad(why, "checksum is not CRC-32C");
	if (have > 8 && !sg_all_zero(p + 8, have > 9 ? 2 : 1))
		return bad(why, "reserved bytes are not zero");
	if (have < SG_CL_HEADER_BYTES)
		return too_short(need, SG_CL_HEADER_BYTES);
	*version = p[6];
	return SG_FRAME_VALID;
}

/* ---- commits ---- */

size_t sg_commit_write(uint8_t header[SG_CL_COMMIT_MAX], uint8_t crc[SG_CL_CRC_BYTES],
		       unsigned int version, const struct sg_commit *c)
{
	size_t bytes = sg_commit_header_bytes(version);

	sg_put64(header, c->offset);
	if (version)
		sg_put64(header + 8, c->epoch);
	sg_put16(header + bytes - 6, (uint16_t)c->n);
	sg_put32(header + bytes - 4, c->len);
	sg_put32(crc, sg_crc32c(sg_crc32c(0, header, bytes), c->records, c->len));
	return bytes;
}

enum sg_frame_verdict sg_commit_header_read(const void *in, unsigned int version,
					    const struct sg_commit_expect *expect,
					    struct sg_commit *c, const char **why)
{
	const uint8_t *p = in, *end = p + sg_commit_header_bytes(version);

	c->offset = sg_get64(p);
	c->epoch = version ? sg_get64(p + 8) : 0;
	c->n = sg_get16(end - 6);
	c->len = sg_get32(end - 4);
	c->records = NULL;
	if (c->n == 0)
		return bad(why, "commit of no transaction");
	if (c->len > SPOOL_RECORD_MAX)
		return bad(why, "length above 67108864");
	if (c->offset < expect->min_offset || c->offset > expect->max_offset)
		return bad(why, "transaction offset");
	/* The number that comes next must be one. */
	if (c->offset >= UINT64_MAX - c->n)
		return bad(why, "transaction offset above the greatest number");
	if (version && c->epoch < expect->min_epoch)
		return bad(why, "epoch below that of the commit before");
	return SG_FRAME_VALID;
}

enum sg_frame_verdict sg_commit_read(const void *in, uint64_t have, unsigned int version,
				     const struct sg_commit_expect *expect, struct sg_commit *c,
				     uint64_t *need, const char **why)
{
	size_t header = sg_commit_header_bytes(version);
	const uint8_t *p = in;
	struct sg_commit got;

	if (have < header)
		return too_short(need, header);
	if (sg_commit_header_read(p, version, expect, &got, why) != SG_FRAME_VALID)
		return SG_FRAME_BAD;
	if (have < sg_commit_bytes(version, got.len))
		return too_short(need, sg_commit_bytes(version, got.len));
	if (sg_get32(p + header + got.len) != sg_crc32c(0, p, header + got.len))
		return bad(why, "checksum");
	got.records = p + header;
	*c = got;
	return SG_FRAME_VALID;
}

uint64_t sg_commit_max_offset(unsigned int version, uint64_t expected, uint64_t distance)
{
	uint64_t commits = distance / sg_commit_bytes(version, 0), max;

	if (__builtin_mul_overflow(commits, (uint64_t)MAX_TRANSACTIONS, &max) ||
	    __builtin_add_overflow(expected, max, &max))
		return UINT64_MAX;
	return max;
}

/* ---- index ---- */

void sg_cl_index_read(const uint8_t in[SG_CL_INDEX_ENTRY], struct sg_cl_index *e)
{
	e->offset = sg_get64(in);
	e->place = sg_get64(in + 8);
}
