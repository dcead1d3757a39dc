// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/ranges.h"

#include <errno.h>
#include <stdlib.h>

#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spool/frame.h"

#define STEP	 4096u
#define READ	 65536u
#define CHECKS	 (SPOOL_RECORD_MAX / STEP + 4)
#define NOT_EVEN UINT64_MAX

struct sg_ranges {
	uint64_t base;	    /* the CRCs begin here; a multiple of STEP */
	uint64_t end;	    /* the CRC is known up to here; a multiple of STEP */
	uint64_t file_ends; /* it was seen to end before this */
	uint64_t from;	    /* the last `from`, and the CRC up to it */
	uint32_t crc_from;
	uint32_t check[CHECKS]; /* CRC of [base, STEP * i), at i modulo CHECKS */
	uint8_t piece[READ];
};

struct sg_ranges *sg_ranges_new(void)
{
	struct sg_ranges *r = malloc(sizeof(*r));

	if (r)
		sg_ranges_reset(r);
	return r;
}

void sg_ranges_free(struct sg_ranges *r)
{
	free(r);
}

void sg_ranges_reset(struct sg_ranges *r)
{
	r->base = NOT_EVEN;
	r->file_ends = UINT64_MAX;
}

static uint32_t *check(struct sg_ranges *r, uint64_t offset)
{
	return &r->check[offset / STEP % CHECKS];
}

static void begin(struct sg_ranges *r, uint64_t from)
{
	r->base = r->end = r->from = from - from % STEP;
	*check(r, r->base) = 0;
	r->crc_from = 0;
}

/* Continue crc over [at, to), which is at most READ bytes. */
static int piece(struct sg_ranges *r, int fd, uint64_t at, uint64_t to, uint32_t *crc, bool *whole)
{
	size_t want = (size_t)(to - at), got;
	int err = sg_pread_all(fd, r->piece, want, at, &got);

	if (err)
		return err;
	*whole = got == want;
	if (!*whole && to < r->file_ends)
		r->file_ends = to;
	*crc = sg_crc32c(*crc, r->piece, got);
	return 0;
}

/* Know the CRCs up to the last multiple of STEP that is not above `to`. */
static int extend(struct sg_ranges *r, int fd, uint64_t to, bool *whole)
{
	size_t want, got, i;
	uint32_t crc;
	int err;

	for (*whole = true; r->end + STEP <= to; r->end += i) {
		want = to - r->end < READ ? (size_t)(to - r->end) : READ;
		err = sg_pread_all(fd, r->piece, want, r->end, &got);
		if (err)
			return err;
		crc = *check(r, r->end);
		for (i = 0; i + STEP <= got; i += STEP) {
			crc = sg_crc32c(crc, r->piece + i, STEP);
			*check(r, r->end + i + STEP) = crc;
		}
		if (i == 0) {
			*whole = false;
			if (to < r->file_ends)
				r->file_ends = to;
			return 0;
		}
	}
	return 0;
}

/* The CRC of [base, from): from the nearest place below it where it is known. */
static int advance(struct sg_ranges *r, int fd, uint64_t from, bool *whole)
{
	uint64_t below = from - from % STEP;
	int err = extend(r, fd, from, whole);

	if (err || !*whole)
		return err;
	if (below > r->from) {
		r->from = below;
		r->crc_from = *check(r, below);
	}
	err = piece(r, fd, r->from, from, &r->crc_from, whole);
	if (!err && *whole)
		r->from = from;
	else
		r->base = NOT_EVEN;
	return err;
}

int sg_ranges_crc(struct sg_ranges *r, int fd, uint32_t seed, uint64_t from, uint64_t to,
		  uint32_t *crc, bool *whole)
{
	uint64_t below = to - to % STEP;
	uint32_t all;
	int err;

	*whole = to < r->file_ends;
	if (!*whole)
		return 0;
	if (r->base == NOT_EVEN || from >= r->end)
		begin(r, from);
	err = advance(r, fd, from, whole);
	if (!err && *whole)
		err = extend(r, fd, to, whole);
	if (err || !*whole)
		return err;
	all = *check(r, below);
	err = piece(r, fd, below, to, &all, whole);
	*crc = all ^ sg_crc32c_shift(r->crc_from ^ seed, to - from);
	return err;
}
