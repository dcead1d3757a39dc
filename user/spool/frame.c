// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/frame.h"

#include <endian.h>
#include <string.h>

#include "spool/crc32c.h"

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void put16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return n == 0;
}

/* ---- segment header ---- */

void sg_segment_header_write(uint8_t out[SG_HEADER_BYTES], const struct sg_segment_header *h)
{
	memset(out, 0, SG_HEADER_COPY);
	memcpy(out, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES);
	put16(out + 8, 1);
	put16(out + 10, SG_HEADER_BYTES);
	put32(out + 12, h->flags);
	memcpy(out + 16, h->id, SPOOL_ID_BYTES);
	put64(out + 32, h->first_seq);
	put64(out + 40, h->created_ns);
	put32(out + 60, sg_crc32c(0, out, 60));
	memcpy(out + SG_HEADER_COPY, out, SG_HEADER_COPY);
}

/* NULL, or what is wrong with this copy. */
static const char *header_fault(const uint8_t *p)
{
	if (memcmp(p, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES) != 0)
		return "magic";
	if (get32(p + 60) != sg_crc32c(0, p, 60))
		return "checksum of the header";
	if (get16(p + 8) != 1)
		return "version is not 1";
	if (get16(p + 10) != SG_HEADER_BYTES || !all_zero(p + 48, 12) ||
	    (get32(p + 12) & ~SG_HEADER_ZEROS) || get64(p + 32) == 0 ||
	    all_zero(p + 16, SPOOL_ID_BYTES))
		return "header with values that version 1 does not have";
	return NULL;
}

unsigned int sg_segment_header_read(const void *in, size_t len, struct sg_segment_header *h,
				    const char **why)
{
	const uint8_t *p = in;
	const char *fault[2];
	unsigned int bad;

	if (len < SG_HEADER_BYTES) {
		*why = "shorter than its header";
		return 3;
	}
	fault[0] = header_fault(p);
	fault[1] = header_fault(p + SG_HEADER_COPY);
	bad = (fault[0] ? 1u : 0) | (fault[1] ? 2u : 0);
	/* Two good copies that differ: somebody wrote one; the first counts. */
	if (!bad && memcmp(p, p + SG_HEADER_COPY, SG_HEADER_COPY) != 0) {
		fault[1] = "the two copies of the header differ";
		bad = 2;
	}
	*why = fault[0] ? fault[0] : fault[1];
	if (bad == 3)
		return bad;
	p += fault[0] ? SG_HEADER_COPY : 0;
	memcpy(h->id, p + 16, SPOOL_ID_BYTES);
	h->flags = get32(p + 12);
	h->first_seq = get64(p + 32);
	h->created_ns = get64(p + 40);
	return bad;
}

uint32_t sg_frame_seed(const uint8_t id[SPOOL_ID_BYTES])
{
	return sg_crc32c(0, id, SPOOL_ID_BYTES);
}

/* ---- frames ---- */

void sg_frame_header_write(uint8_t out[SG_FRAME_BYTES], const struct sg_frame *f, uint32_t seed,
			   const struct iovec *iov, int iovcnt)
{
	uint32_t crc;
	int i;

	put32(out + 4, f->len);
	put64(out + 8, f->seq);
	put64(out + 16, f->time_ns);
	put32(out + 24, f->at_risk);
	put32(out + 28, 0);
	crc = sg_crc32c(seed, out + 4, SG_FRAME_BYTES - 4);
	for (i = 0; i < iovcnt; i++)
		crc = sg_crc32c(crc, iov[i].iov_base, iov[i].iov_len);
	put32(out, crc);
}

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

uint32_t sg_frame_peek(const void *in, struct sg_frame *f)
{
	const uint8_t *p = in;

	f->len = get32(p + 4);
	f->seq = get64(p + 8);
	f->time_ns = get64(p + 16);
	f->at_risk = get32(p + 24);
	f->payload = p + SG_FRAME_BYTES;
	return get32(p);
}

enum sg_frame_verdict sg_frame_read(const void *in, uint64_t have, uint32_t seed, uint64_t min_seq,
				    uint64_t max_seq, struct sg_frame *f, uint64_t *need,
				    const char **why)
{
	const uint8_t *p = in;
	struct sg_frame g;
	uint32_t crc;

	if (have < SG_FRAME_BYTES)
		return too_short(need, SG_FRAME_BYTES);
	crc = sg_frame_peek(p, &g);
	if (g.len > SPOOL_RECORD_MAX)
		return bad(why, "length above 67108864");
	if (g.seq == 0 || g.seq < min_seq || g.seq > max_seq)
		return bad(why, "sequence number");
	if (get32(p + 28) != 0)
		return bad(why, "reserved bytes are not zero");
	if (have < SG_FRAME_BYTES + (uint64_t)g.len)
		return too_short(need, SG_FRAME_BYTES + (uint64_t)g.len);
	if (crc != sg_crc32c(seed, p + 4, SG_FRAME_BYTES - 4 + (size_t)g.len))
		return bad(why, "checksum");
	*f = g;
	return SG_FRAME_VALID;
}

/* ---- index, durable, cursor ---- */

void sg_index_header_write(uint8_t out[SG_INDEX_HEADER], uint64_t first_seq)
{
	memset(out, 0, SG_INDEX_HEADER);
	memcpy(out, "SGINDEX\n", SG_MAGIC_BYTES);
	put16(out + 8, 1);
	put16(out + 10, SG_INDEX_ENTRY);
	put64(out + 16, first_seq);
	put32(out + 28, sg_crc32c(0, out, 28));
}

bool sg_index_header_read(const void *in, size_t len, uint64_t *first_seq)
{
	const uint8_t *p = in;

	if (len < SG_INDEX_HEADER || memcmp(p, "SGINDEX\n", SG_MAGIC_BYTES) != 0 ||
	    get32(p + 28) != sg_crc32c(0, p, 28) || get16(p + 8) != 1 ||
	    get16(p + 10) != SG_INDEX_ENTRY)
		return false;
	*first_seq = get64(p + 16);
	return true;
}

void sg_index_entry_write(uint8_t out[SG_INDEX_ENTRY], uint32_t seed, uint64_t seq, uint64_t offset)
{
	put64(out, seq);
	put64(out + 8, offset);
	put32(out + 16, sg_crc32c(seed, out, 16));
	put32(out + 20, 0);
}

bool sg_index_entry_read(const void *in, size_t len, uint32_t seed, uint64_t *seq, uint64_t *offset)
{
	const uint8_t *p = in;

	if (len < SG_INDEX_ENTRY || get32(p + 16) != sg_crc32c(seed, p, 16) || get32(p + 20) != 0)
		return false;
	*seq = get64(p);
	*offset = get64(p + 8);
	return true;
}

void sg_durable_write(uint8_t out[SG_DURABLE_BYTES], uint32_t seed, uint64_t durable,
		      uint64_t appended)
{
	memset(out, 0, SG_DURABLE_BYTES);
	memcpy(out, "SGDURBL\n", SG_MAGIC_BYTES);
	put64(out + 8, durable);
	put64(out + 16, appended);
	put32(out + 28, sg_crc32c(seed, out, 28));
}

bool sg_durable_read(const void *in, size_t len, uint32_t seed, uint64_t *durable,
		     uint64_t *appended)
{
	const uint8_t *p = in;

	if (len < SG_DURABLE_BYTES || memcmp(p, "SGDURBL\n", SG_MAGIC_BYTES) != 0 ||
	    get32(p + 28) != sg_crc32c(seed, p, 28))
		return false;
	*durable = get64(p + 8);
	*appended = get64(p + 16);
	return *durable <= *appended;
}

void sg_cursor_write(uint8_t out[SG_CURSOR_BYTES], const struct sg_cursor *c)
{
	memset(out, 0, SG_CURSOR_BYTES);
	memcpy(out, "SGCURSR\n", SG_MAGIC_BYTES);
	put16(out + 8, 1);
	memcpy(out + 16, c->id, SPOOL_ID_BYTES);
	put64(out + 32, c->generation);
	put64(out + 40, c->acked);
	put64(out + 48, c->time_ns);
	put32(out + 60, sg_crc32c(0, out, 60));
}

bool sg_cursor_read(const void *in, size_t len, struct sg_cursor *c)
{
	const uint8_t *p = in;

	if (len < SG_CURSOR_BYTES || memcmp(p, "SGCURSR\n", SG_MAGIC_BYTES) != 0 ||
	    get32(p + 60) != sg_crc32c(0, p, 60) || get16(p + 8) != 1)
		return false;
	memcpy(c->id, p + 16, SPOOL_ID_BYTES);
	c->generation = get64(p + 32);
	c->acked = get64(p + 40);
	c->time_ns = get64(p + 48);
	return true;
}

bool sg_cursor_name_ok(const char *name)
{
	static const char ok[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strspn(name, ok);

	return n && n <= SPOOL_NAME_MAX && name[n] == '\0' && name[0] != '.';
}
