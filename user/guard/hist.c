/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include "guard/hist.h"

#define LAST (SG_HIST_BUCKETS - 1)

unsigned int sg_hist_bucket(uint64_t ns)
{
	uint64_t x = ns >> 10;
	unsigned int o, m, i;

	if (!x)
		return 0;
	o = 63 - (unsigned int)__builtin_clzll(x);
	m = (o >= 2 ? x >> (o - 2) : x << (2 - o)) & 3;
	i = 1 + 4 * o + m;
	return i < LAST ? i : LAST;
}

uint64_t sg_hist_lower(unsigned int i)
{
	unsigned int o = (i - 1) / 4, m = (i - 1) % 4;

	if (!i)
		return 0;
	if (i > LAST)
		return UINT64_MAX;
	return ((uint64_t)(4 + m) << o >> 2) << 10;
}

uint64_t sg_hist_upper(unsigned int i)
{
	unsigned int j = i + 1;

	if (i >= LAST)
		return UINT64_MAX;
	while (!sg_hist_used(j))
		j++;
	return sg_hist_lower(j);
}

bool sg_hist_used(unsigned int i)
{
	return i <= LAST && sg_hist_bucket(sg_hist_lower(i)) == i;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

void sg_hist_record(uint64_t *buckets, uint64_t ns)
{
	__atomic_fetch_add(&buckets[sg_hist_bucket(ns)], 1, __ATOMIC_RELAXED);
}

uint64_t sg_hist_total(const uint64_t *buckets)
{
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < SG_HIST_BUCKETS; i++)
		total = add_saturated(total, load(&buckets[i]));
	return total;
}

void sg_hist_merge(uint64_t *dst, const uint64_t *src)
{
	unsigned int i;

	for (i = 0; i < SG_HIST_BUCKETS; i++)
		dst[i] = add_saturated(dst[i], load(&src[i]));
}

void sg_hist_copy(uint64_t *dst, const uint64_t *src)
{
	unsigned int i;

	for (i = 0; i < SG_HIST_BUCKETS; i++)
		dst[i] = load(&src[i]);
}

/* a × num / den without overflow, num <= den, rounded down. */
static uint64_t share(uint64_t a, uint64_t num, uint64_t den)
{
	return (uint64_t)((unsigned __int128)a * num / den);
}

/* Which of `total` durations in order is the quantile: rounded up, at least the first. */
static uint64_t rank_of(uint64_t total, uint32_t ppm)
{
	uint64_t rank = (uint64_t)(((unsigned __int128)total * ppm + 999999) / 1000000);

	return rank ? rank : 1;
}

/* The `into`-th of n durations in bucket i (1 <= into <= n), spread evenly over it. */
static uint64_t within(unsigned int i, uint64_t into, uint64_t n, uint64_t max_ns)
{
	uint64_t lower = sg_hist_lower(i), upper = sg_hist_upper(i);

	if (upper == UINT64_MAX)
		upper = max_ns > lower ? max_ns : lower;
	lower += share(upper - lower, into, n);
	return max_ns && lower > max_ns ? max_ns : lower;
}

uint64_t sg_hist_quantile(const uint64_t *buckets, uint32_t ppm, uint64_t max_ns)
{
	uint64_t total = sg_hist_total(buckets), rank, seen = 0, n;
	unsigned int i, last = SG_HIST_BUCKETS;
	uint64_t last_n = 0;

	if (!total)
		return 0;
	rank = rank_of(total, ppm < 1000000 ? ppm : 1000000);
	for (i = 0; i < SG_HIST_BUCKETS; i++) {
		n = load(&buckets[i]);
		if (!n)
			continue;
		if (n >= rank - seen)
			return within(i, rank - seen, n, max_ns);
		seen += n;
		last = i;
		last_n = n;
	}
	/* The counters went back between the two passes (a hostile or reset page). */
	return last < SG_HIST_BUCKETS ? within(last, last_n, last_n, max_ns) : 0;
}
