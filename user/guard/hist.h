/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A log-linear latency histogram: 4 buckets per octave, the same in user space and in BPF.
 *
 *   x = ns >> 10                    units of 1.024 µs
 *   x == 0                          bucket 0
 *   o = floor(log2 x)
 *   m = o >= 2 ? (x >> (o - 2)) & 3 : (x << (2 - o)) & 3
 *   bucket = min(1 + 4 * o + m, 105)
 *
 * Bucket i > 0 begins at ((4 + m) << o >> 2) << 10 ns. The last, 105, begins at 68.7 s and has no
 * end. Below four units there are fewer values than buckets: 2, 3, 4, 6 and 8 are never used.
 * A quarter octave keeps the error of a quantile under 25 % (under 10 % interpolated), in 848 bytes.
 *
 * A histogram is an array of SG_HIST_BUCKETS counters, often in shared memory that another process
 * writes: every counter is read and written with relaxed atomics and nothing in it is trusted.
 * All functions are thread-safe and async-signal-safe.
 */
#ifndef SG_GUARD_HIST_H
#define SG_GUARD_HIST_H

#include <stdbool.h>
#include <stdint.h>

#define SG_HIST_BUCKETS 106

/* Quantiles, in parts per million. */
#define SG_P50	500000u
#define SG_P90	900000u
#define SG_P99	990000u
#define SG_P999 999000u

/* The bucket of a duration, 0..SG_HIST_BUCKETS-1. Pure. */
unsigned int sg_hist_bucket(uint64_t ns);

/* First ns of bucket i; UINT64_MAX when there is no bucket i. Pure. */
uint64_t sg_hist_lower(unsigned int i);

/*
 * First ns after bucket i (the lower bound of the next used bucket); UINT64_MAX for the last,
 * and when there is no bucket i. Pure.
 */
uint64_t sg_hist_upper(unsigned int i);

/* Can a duration fall in bucket i? False for 2, 3, 4, 6, 8 and beyond the last: do not draw them. */
bool sg_hist_used(unsigned int i);

/* Counts one duration in buckets[SG_HIST_BUCKETS]; other threads or processes may write too. */
void sg_hist_record(uint64_t *buckets, uint64_t ns);

/* Number of durations recorded (saturates). */
uint64_t sg_hist_total(const uint64_t *buckets);

/* dst += src, bucket by bucket (saturates). dst belongs to the caller, src may be shared. */
void sg_hist_merge(uint64_t *dst, const uint64_t *src);

/* dst = src. A copy of a live histogram is not one instant, but each counter is whole. */
void sg_hist_copy(uint64_t *dst, const uint64_t *src);

/*
 * The quantile ppm (parts per million, SG_P99 …; more than 1000000 counts as that) in ns, linear
 * within its bucket. max_ns is the greatest duration known to have been recorded, 0 when unknown:
 * no quantile is above it, and it is the end of the last bucket. Returns 0 for an empty histogram.
 * Reads each counter once or twice: of a live histogram the answer is near, never out of range.
 */
uint64_t sg_hist_quantile(const uint64_t *buckets, uint32_t ppm, uint64_t max_ns);

#endif
