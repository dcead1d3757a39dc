/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The CRC-32C of many overlapping ranges of one file, in work linear in the file: bytes that are full of plausible
 * frame headers, each claiming 64 MiB, must not cost 64 MiB each.
 *
 * CRC is linear: crc(b) = crc(a ‖ b) ^ shift(crc(a), |b|). So the CRC of everything up to each 4 KiB is kept, for as
 * far as a frame can reach (64 KiB of memory), and a range costs at most two pieces of 4 KiB and one shift.
 */
#ifndef SG_SPOOL_RANGES_H
#define SG_SPOOL_RANGES_H

#include <stdbool.h>
#include <stdint.h>

struct sg_ranges;

struct sg_ranges *sg_ranges_new(void); /* NULL: out of memory */
void sg_ranges_free(struct sg_ranges *r);

/* Forget what was read: the file may have changed. */
void sg_ranges_reset(struct sg_ranges *r);

/*
 * CRC of the bytes [from, to) of fd, continued from `seed`. `from` must not fall from call to call (until a reset), and
 * to - from is at most SG_FRAME_MAX. *whole is false, and *crc unset, if the file ends before `to`.
 * 0, or what pread(2) returns, negative. One thread at a time.
 */
int sg_ranges_crc(struct sg_ranges *r, int fd, uint32_t seed, uint64_t from, uint64_t to,
		  uint32_t *crc, bool *whole);

#endif
