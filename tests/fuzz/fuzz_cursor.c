// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The file of a cursor, and the file `durable`, that a stranger wrote. Byte 0 of the input says which checksums are put
 * right, so that what lies behind them is reached, byte 1 how much of the cursor's file is there; then come slot, slot
 * and durable. Whatever they are, what counts is a slot that is valid by itself, and the other one says nothing later.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spool/crc32c.h"
#include "spool/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED  0x5eed5eedu
#define BYTES (2 + 2 * SG_CURSOR_BYTES + SG_DURABLE_BYTES)

static void put_crc(uint8_t *p, size_t n, uint32_t seed)
{
	uint32_t crc = sg_crc32c(seed, p, n);
	size_t i;

	for (i = 0; i < sizeof(crc); i++)
		p[n + i] = (uint8_t)(crc >> (8 * i));
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* The one that was not picked is bad, or older. */
static void check_other(const uint8_t *slot, size_t len, const struct sg_cursor *picked)
{
	struct sg_cursor c;

	if (!sg_cursor_read(slot, len, &c) || c.generation == UINT64_MAX)
		return;
	must(c.generation < picked->generation ||
	     (c.generation == picked->generation && c.acked >= picked->acked));
}

static void check_pick(const uint8_t *file, size_t len)
{
	uint8_t again[SG_CURSOR_BYTES];
	struct sg_cursor c, same;
	int slot = sg_cursor_pick(file, len, &c);
	size_t at = slot == 1 ? SG_CURSOR_STRIDE : 0, other = SG_CURSOR_STRIDE - at;

	if (slot < 0) {
		must(!sg_cursor_read(file, len, &c) || c.generation == UINT64_MAX);
		return;
	}
	must(slot <= 1 && at + SG_CURSOR_BYTES <= len && c.generation != UINT64_MAX);
	must(sg_cursor_read(file + at, len - at, &same) && memcmp(&c, &same, sizeof(c)) == 0);
	if (other < len)
		check_other(file + other, len - other, &c);
	sg_cursor_write(again, &c);
	must(sg_cursor_read(again, sizeof(again), &same) && memcmp(&c, &same, sizeof(c)) == 0);
}

static void check_durable(const uint8_t *p, size_t len)
{
	uint64_t durable, appended;

	if (sg_durable_read(p, len, SEED, &durable, &appended))
		must(len >= SG_DURABLE_BYTES && durable <= appended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t in[BYTES] = { 0 }, *slots = in + 2, *durable = slots + 2 * SG_CURSOR_BYTES, *file;
	size_t len;

	memcpy(in, data, size < sizeof(in) ? size : sizeof(in));
	if (in[0] & 1)
		put_crc(slots, SG_CURSOR_BYTES - 4, 0);
	if (in[0] & 2)
		put_crc(slots + SG_CURSOR_BYTES, SG_CURSOR_BYTES - 4, 0);
	if (in[0] & 4)
		put_crc(durable, SG_DURABLE_BYTES - 4, SEED);
	/* On the heap and exactly as long as it says, so that a read beyond it is seen. */
	len = in[1] < 255 ? SG_CURSOR_FILE_BYTES * (size_t)in[1] / 254 : SG_CURSOR_BYTES;
	file = calloc(1, SG_CURSOR_FILE_BYTES);
	must(file != NULL);
	memcpy(file, slots, SG_CURSOR_BYTES);
	memcpy(file + SG_CURSOR_STRIDE, slots + SG_CURSOR_BYTES, SG_CURSOR_BYTES);
	file = realloc(file, len ? len : 1);
	must(file != NULL);
	check_pick(file, len);
	free(file);
	check_durable(durable, size < BYTES ? size % (SG_DURABLE_BYTES + 1) : SG_DURABLE_BYTES);
	return 0;
}
