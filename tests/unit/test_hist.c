/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <pthread.h>
#include <string.h>

#include "guard/hist.h"
#include "tap.h"

#define US UINT64_C(1024) /* the histogram's unit, 1.024 µs */

static void test_buckets_are_as_agreed_with_bpf(void)
{
	CU_ASSERT_EQUAL(sg_hist_bucket(0), 0);
	CU_ASSERT_EQUAL(sg_hist_bucket(1023), 0);
	CU_ASSERT_EQUAL(sg_hist_bucket(1 * US), 1);
	CU_ASSERT_EQUAL(sg_hist_bucket(2 * US), 5);
	CU_ASSERT_EQUAL(sg_hist_bucket(3 * US), 7);
	CU_ASSERT_EQUAL(sg_hist_bucket(4 * US), 9);
	CU_ASSERT_EQUAL(sg_hist_bucket(5 * US), 10);
	CU_ASSERT_EQUAL(sg_hist_bucket(7 * US), 12);
	CU_ASSERT_EQUAL(sg_hist_bucket(8 * US), 13);
	CU_ASSERT_EQUAL(sg_hist_bucket(9 * US), 13);
	CU_ASSERT_EQUAL(sg_hist_bucket(10 * US), 14);
	CU_ASSERT_EQUAL(sg_hist_bucket((US << 26) - 1), 104);
	CU_ASSERT_EQUAL(sg_hist_bucket(US << 26), 105);
	CU_ASSERT_EQUAL(sg_hist_bucket(UINT64_MAX), 105);
}

static void test_bounds_meet_and_hold_their_bucket(void)
{
	unsigned int i, next, unused = 0;

	CU_ASSERT_EQUAL(sg_hist_lower(0), 0);
	for (i = 0; i < SG_HIST_BUCKETS; i++) {
		if (!sg_hist_used(i)) {
			unused++;
			CU_ASSERT_TRUE(sg_hist_lower(i) < sg_hist_upper(i));
			continue;
		}
		CU_ASSERT_EQUAL(sg_hist_bucket(sg_hist_lower(i)), i);
		if (i == SG_HIST_BUCKETS - 1)
			continue;
		CU_ASSERT_EQUAL(sg_hist_bucket(sg_hist_upper(i) - 1), i);
		for (next = i + 1; !sg_hist_used(next); next++)
			;
		CU_ASSERT_EQUAL(sg_hist_upper(i), sg_hist_lower(next));
	}
	CU_ASSERT_EQUAL(unused, 5);
	CU_ASSERT_EQUAL(sg_hist_upper(SG_HIST_BUCKETS - 1), UINT64_MAX);
	CU_ASSERT_EQUAL(sg_hist_lower(SG_HIST_BUCKETS), UINT64_MAX);
	CU_ASSERT_EQUAL(sg_hist_upper(SG_HIST_BUCKETS), UINT64_MAX);
	CU_ASSERT_EQUAL(sg_hist_lower(UINT32_MAX), UINT64_MAX);
	CU_ASSERT_FALSE(sg_hist_used(SG_HIST_BUCKETS));
}

static void test_every_duration_is_within_its_bucket(void)
{
	uint64_t ns = 1;
	unsigned int i, b;

	for (i = 0; i < 4000 && ns < UINT64_MAX / 2; i++, ns += ns / 64 + 1) {
		b = sg_hist_bucket(ns);
		CU_ASSERT_TRUE(sg_hist_lower(b) <= ns && ns < sg_hist_upper(b));
	}
}

static void test_quantiles_of_an_even_spread_are_near(void)
{
	uint64_t h[SG_HIST_BUCKETS] = { 0 }, q;
	unsigned int i;

	for (i = 1; i <= 100000; i++)
		sg_hist_record(h, i * UINT64_C(1000)); /* 1 µs … 100 ms */
	CU_ASSERT_EQUAL(sg_hist_total(h), 100000);
	q = sg_hist_quantile(h, SG_P50, 0);
	CU_ASSERT_TRUE(q > 49000000 && q < 51000000);
	q = sg_hist_quantile(h, SG_P99, 100000000);
	CU_ASSERT_TRUE(q > 95000000 && q <= 100000000);
	CU_ASSERT_TRUE(sg_hist_quantile(h, 0, 0) <= 1024);
	CU_ASSERT_EQUAL(sg_hist_quantile(h, 1000000, 100000000), 100000000);
	CU_ASSERT_EQUAL(sg_hist_quantile(h, UINT32_MAX, 100000000), 100000000);
}

static void test_quantiles_rise_and_stay_below_the_max(void)
{
	uint64_t h[SG_HIST_BUCKETS] = { 0 }, last = 0, q, max = UINT64_C(90000000000);
	uint32_t ppm;

	sg_hist_record(h, 5);
	sg_hist_record(h, 1500);
	sg_hist_record(h, 2048);
	sg_hist_record(h, 3000000);
	sg_hist_record(h, max);
	for (ppm = 0; ppm <= 1000000; ppm += 1000) {
		q = sg_hist_quantile(h, ppm, max);
		CU_ASSERT_TRUE(q >= last && q <= max);
		last = q;
	}
	CU_ASSERT_EQUAL(last, max);
}

static void test_a_quantile_of_few_is_in_a_bucket_that_counted(void)
{
	uint64_t h[SG_HIST_BUCKETS] = { 0 }, q;

	CU_ASSERT_EQUAL(sg_hist_quantile(h, SG_P99, 7), 0);
	sg_hist_record(h, 1000000);
	q = sg_hist_quantile(h, SG_P50, 1000000);
	CU_ASSERT_TRUE(q >= sg_hist_lower(sg_hist_bucket(1000000)) && q <= 1000000);
	sg_hist_record(h, UINT64_C(100000000000));
	CU_ASSERT_EQUAL(sg_hist_quantile(h, SG_P99, 0), US << 26);
}

/* Shared memory may hold anything: counts in buckets that nothing falls into, and sums past 64 bits. */
static void test_a_hostile_histogram_gives_a_number_and_no_harm(void)
{
	uint64_t h[SG_HIST_BUCKETS] = { 0 }, m[SG_HIST_BUCKETS];
	unsigned int i;

	h[2] = h[3] = h[6] = h[8] = 10;
	CU_ASSERT_TRUE(sg_hist_quantile(h, SG_P50, 0) >= US);
	CU_ASSERT_TRUE(sg_hist_quantile(h, SG_P99, 0) <= 4 * US);
	memset(h, 0xff, sizeof(h));
	CU_ASSERT_EQUAL(sg_hist_total(h), UINT64_MAX);
	for (i = 0; i <= 10; i++)
		CU_ASSERT_TRUE(sg_hist_quantile(h, i * 100000, 5000) <= 5000);
	memset(m, 0xff, sizeof(m));
	sg_hist_merge(m, h);
	CU_ASSERT_EQUAL(m[0], UINT64_MAX);
}

static void test_merge_and_copy(void)
{
	uint64_t a[SG_HIST_BUCKETS] = { 0 }, b[SG_HIST_BUCKETS] = { 0 };

	sg_hist_record(a, 10);
	sg_hist_record(b, 10);
	sg_hist_record(b, 1000000);
	sg_hist_merge(a, b);
	CU_ASSERT_EQUAL(sg_hist_total(a), 3);
	CU_ASSERT_EQUAL(a[0], 2);
	sg_hist_copy(a, b);
	CU_ASSERT_EQUAL(memcmp(a, b, sizeof(a)), 0);
}

#define THREADS 4
#define EACH	20000

static uint64_t shared[SG_HIST_BUCKETS];

static void *recorder(void *arg)
{
	uint64_t i;

	for (i = 0; i < EACH; i++)
		sg_hist_record(shared, i * 1000);
	return NULL;
}

static void test_threads_lose_no_count(void)
{
	uint64_t copy[SG_HIST_BUCKETS];
	pthread_t t[THREADS];
	unsigned int i;

	for (i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, recorder, NULL), 0);
	for (i = 0; i < 100; i++) {
		sg_hist_copy(copy, shared);
		CU_ASSERT_TRUE(sg_hist_quantile(shared, SG_P99, 20000000) <= 20000000);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(sg_hist_total(shared), THREADS * EACH);
}

SG_TESTS("hist", TEST(test_buckets_are_as_agreed_with_bpf),
	 TEST(test_bounds_meet_and_hold_their_bucket),
	 TEST(test_every_duration_is_within_its_bucket),
	 TEST(test_quantiles_of_an_even_spread_are_near),
	 TEST(test_quantiles_rise_and_stay_below_the_max),
	 TEST(test_a_quantile_of_few_is_in_a_bucket_that_counted),
	 TEST(test_a_hostile_histogram_gives_a_number_and_no_harm), TEST(test_merge_and_copy),
	 TEST(test_threads_lose_no_count))
