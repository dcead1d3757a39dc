/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes as a frame, a segment's header, an index, a durable hint, a cursor. What is read as valid, written again, is
 * the same bytes. The first byte of the input says which checksums are put right before, which no fuzzer would guess.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc32c.h"
#include "spool/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t id[SPOOL_ID_BYTES] = "sixteen bytes id";

static void same(const void *a, const void *b, size_t n)
{
	if (memcmp(a, b, n) != 0)
		abort();
}

static void put_crc(uint8_t *p, size_t at, uint32_t crc)
{
	memcpy(p + at, &crc, sizeof(crc));
}

static void frame(uint8_t *p, size_t n, uint32_t seed, bool mend)
{
	uint8_t again[SG_FRAME_BYTES];
	struct iovec iov;
	struct sg_frame f;
	uint64_t need;
	const char *why = NULL;

	if (mend && n >= SG_FRAME_BYTES)
		put_crc(p, 0, sg_crc32c(seed, p + 4, n - 4));
	switch (sg_frame_read(p, n, seed, 1, UINT64_MAX, &f, &need, &why)) {
	case SG_FRAME_VALID:
		if (f.payload != p + SG_FRAME_BYTES || f.len > n - SG_FRAME_BYTES || !f.seq)
			abort();
		iov = (struct iovec){ (void *)(uintptr_t)f.payload, f.len };
		sg_frame_header_write(again, &f, seed, &iov, 1);
		same(p, again, sizeof(again));
		if (sg_frame_known_durable(&f) >= f.seq)
			abort();
		if (sg_frame_read(p, n, seed, f.seq + 1, UINT64_MAX, &f, &need, NULL) ==
			    SG_FRAME_VALID &&
		    f.seq != UINT64_MAX)
			abort();
		break;
	case SG_FRAME_SHORT:
		if (need <= n || need > SG_FRAME_MAX)
			abort();
		break;
	case SG_FRAME_BAD:
		if (!why)
			abort();
		break;
	}
}

static void header(uint8_t *p, size_t n, bool mend)
{
	struct sg_segment_header h = { .first_seq = 77 };
	uint8_t again[SG_HEADER_BYTES];
	const char *why = NULL;
	unsigned int bad;

	if (mend && n >= SG_HEADER_BYTES) {
		put_crc(p, 60, sg_crc32c(0, p, 60));
		put_crc(p, 124, sg_crc32c(0, p + 64, 60));
	}
	bad = sg_segment_header_read(p, n, &h, &why);
	if ((bad != 0) != (why != NULL) || (bad == 3 && h.first_seq != 77))
		abort();
	if (bad == 3)
		return;
	sg_segment_header_write(again, &h);
	same(again, p + (bad == 1 ? SG_HEADER_COPY : 0), SG_HEADER_COPY);
}

static void hints(uint8_t *p, size_t n, uint32_t seed, bool mend)
{
	uint64_t a = 0, b = 0;
	struct sg_cursor c;

	if (mend && n >= SG_CURSOR_BYTES)
		put_crc(p, 60, sg_crc32c(0, p, 60));
	if (sg_cursor_read(p, n, &c) && n < SG_CURSOR_BYTES)
		abort();
	if (mend && n >= SG_DURABLE_BYTES)
		put_crc(p, 28, sg_crc32c(0, p, 28));
	if (sg_index_header_read(p, n, &a) && n < SG_INDEX_HEADER)
		abort();
	if (mend && n >= SG_DURABLE_BYTES)
		put_crc(p, 28, sg_crc32c(seed, p, 28));
	if (sg_durable_read(p, n, seed, &a, &b) && a > b)
		abort();
	if (mend && n >= SG_INDEX_ENTRY)
		put_crc(p, 16, sg_crc32c(seed, p, 16));
	if (sg_index_entry_read(p, n, seed, &a, &b) && n < SG_INDEX_ENTRY)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t seed = sg_frame_seed(id);
	size_t n = size ? size - 1 : 0;
	uint8_t *p = malloc(n + 1);

	if (!p)
		return 0;
	memcpy(p, data + (size ? 1 : 0), n);
	frame(p, n, seed, size && data[0] & 1);
	header(p, n, size && data[0] & 2);
	hints(p, n, seed, size && data[0] & 4);
	free(p);
	return 0;
}
