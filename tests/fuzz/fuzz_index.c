/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes as the index of a good segment, with or without right checksums: seeking by it comes to the same record as
 * without it.
 */
#include "make.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc32c.h"
#include "spool/index.h"
#include "spool/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS 200u
#define NAME	"00000000000000000001.index"

static struct dir dir = { .fd = -1 };

static void end_dir(void)
{
	dir_end(&dir);
}

/* Records 2, 4, … of changing length. */
static void begin(void)
{
	struct made m = { 0 };
	uint64_t i;

	dir = dir_begin();
	atexit(end_dir);
	made_header(&m, MAKE_ID, 1, 0);
	for (i = 1; i <= RECORDS; i++)
		made_frame(&m, 2 * i, i * 37 % 101);
	dir_put_segment(&dir, 1, &m);
	made_free(&m);
}

static void put_crc(uint8_t *p, uint32_t crc)
{
	memcpy(p, &crc, sizeof(crc));
}

/* What a careless or hostile writer would have made of it. */
static void mend(uint8_t *p, size_t n)
{
	uint32_t seed = sg_frame_seed(MAKE_ID);
	size_t at;

	if (n < SG_INDEX_HEADER)
		return;
	sg_index_header_write(p, 1);
	for (at = SG_INDEX_HEADER; at + SG_INDEX_ENTRY <= n; at += SG_INDEX_ENTRY) {
		memset(p + at + 2, 0, 6); /* numbers and offsets that may exist */
		memset(p + at + 10, 0, 6);
		put_crc(p + at + 16, sg_crc32c(seed, p + at, 16));
		put_crc(p + at + 20, 0);
	}
}

static void seek(struct sg_segment *s, uint64_t seq)
{
	uint64_t want = seq < 2 ? 2 : seq + seq % 2;
	struct sg_event e;

	if (sg_segment_seek(s, seq) != 0 || sg_segment_next(s, &e) != 0)
		abort();
	if (want > 2 * RECORDS ? e.kind != SG_EVENT_END
			       : e.kind != SG_EVENT_FRAME || e.frame.seq != want)
		abort();
}

static void check_whole(void)
{
	struct sg_index_check *c = sg_index_check_begin(dir.fd, 1, 1, sg_frame_seed(MAKE_ID));
	struct sg_segment *s;
	struct sg_event e;

	if (!c || sg_segment_open(&s, dir.fd, 1, 0, NULL) != 0)
		abort();
	while (sg_segment_next(s, &e) == 0 && e.kind == SG_EVENT_FRAME)
		sg_index_check_frame(c, e.frame.seq, e.offset);
	sg_index_check_end(c);
	sg_segment_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_segment *s;
	size_t n = size ? size - 1 : 0;
	uint8_t *p = malloc(n + 1);

	if (!p)
		return 0;
	if (dir.fd < 0)
		begin();
	memcpy(p, data + (size ? 1 : 0), n);
	if (size && data[0] & 1)
		mend(p, n);
	dir_put(&dir, NAME, p, n);
	if (sg_segment_open(&s, dir.fd, 1, 0, NULL) != 0)
		abort();
	seek(s, size ? data[0] : 0);
	seek(s, n ? 2 * (uint64_t)p[n - 1] : 0);
	seek(s, 399);
	seek(s, 17);
	seek(s, 401);
	sg_segment_close(s);
	check_whole();
	free(p);
	return 0;
}
