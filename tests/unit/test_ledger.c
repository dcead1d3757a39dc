/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "guard/clock.h"
#include "guard/ledger.h"
#include "tap.h"

static struct sg_ledger l;
static _Atomic uint64_t failures;

static void fresh(uint64_t records, uint64_t bytes, uint64_t delay_ns)
{
	memset((void *)&l, 0, sizeof(l));
	l.max_records = records;
	l.max_bytes = bytes;
	l.max_delay_ns = delay_ns;
	atomic_store(&failures, 1);
}

static int append(uint64_t bytes, uint64_t now_ns)
{
	bool kick;
	int err = sg_ledger_reserve(&l, bytes, now_ns, &kick);

	if (err == 0)
		sg_ledger_done(&l, bytes, bytes);
	return err;
}

static void sync_at(uint64_t now_ns)
{
	struct sg_ledger_snapshot s;

	sg_ledger_begin(&l, &s, now_ns);
	sg_ledger_covered(&l, &s);
}

static struct sg_at_risk risk(void)
{
	struct sg_at_risk r;

	sg_ledger_at_risk(&l, &r);
	return r;
}

static void test_records_are_bounded(void)
{
	fresh(3, 1000, 1000);
	CU_ASSERT_EQUAL(append(1, 10), 0);
	CU_ASSERT_EQUAL(append(1, 11), 0);
	CU_ASSERT_EQUAL(append(1, 12), 0);
	CU_ASSERT_EQUAL(append(1, 13), -EAGAIN);
	CU_ASSERT_EQUAL(risk().records, 3);
	sync_at(14);
	CU_ASSERT_EQUAL(risk().records, 0);
	CU_ASSERT_EQUAL(append(1, 15), 0);
}

static void test_bytes_are_bounded_and_a_refusal_takes_nothing(void)
{
	fresh(100, 100, 1000);
	CU_ASSERT_EQUAL(append(60, 10), 0);
	CU_ASSERT_EQUAL(append(60, 11), -EAGAIN);
	CU_ASSERT_EQUAL(risk().records, 1);
	CU_ASSERT_EQUAL(risk().bytes, 60);
	CU_ASSERT_EQUAL(append(40, 12), 0);
	CU_ASSERT_EQUAL(append(101, 13), -EFBIG);
}

static void test_nothing_is_admitted_past_max_delay(void)
{
	fresh(100, 1000, 50);
	CU_ASSERT_EQUAL(append(1, 10), 0);
	CU_ASSERT_EQUAL(append(1, 60), 0);
	CU_ASSERT_EQUAL(append(1, 61), -EAGAIN);
	sync_at(62);
	CU_ASSERT_EQUAL(append(1, 200), 0);
}

/* The promise that counts: what entered the kernel while the sync began is not covered by it. */
static void test_an_append_in_flight_is_not_covered(void)
{
	struct sg_ledger_snapshot s;
	bool kick;

	fresh(100, 1000, 50);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 7, 10, &kick), 0);
	CU_ASSERT_TRUE(kick);
	sg_ledger_begin(&l, &s, 20);
	sg_ledger_done(&l, 7, 7);
	sg_ledger_covered(&l, &s);
	CU_ASSERT_EQUAL(risk().records, 1);
	CU_ASSERT_EQUAL(risk().bytes, 7);
	CU_ASSERT_EQUAL(risk().oldest_ns, 20);
	sync_at(30);
	CU_ASSERT_EQUAL(risk().records, 0);
	CU_ASSERT_EQUAL(risk().oldest_ns, 0);
}

static void test_a_short_write_gives_the_rest_back(void)
{
	bool kick;

	fresh(100, 1000, 50);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, 10, &kick), 0);
	sg_ledger_done(&l, 10, 4);
	CU_ASSERT_EQUAL(risk().bytes, 4);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, 11, &kick), 0);
	sg_ledger_done(&l, 10, 0);
	CU_ASSERT_EQUAL(risk().bytes, 4);
	CU_ASSERT_EQUAL(risk().records, 1);
}

static void test_a_failed_write_alone_leaves_nothing_at_risk(void)
{
	bool kick;

	fresh(100, 1000, 50);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, 10, &kick), 0);
	sg_ledger_done(&l, 10, 0);
	CU_ASSERT_EQUAL(risk().oldest_ns, 0);
	CU_ASSERT_EQUAL(append(1, 1000), 0);
}

static void test_a_failure_poisons_what_was_open_and_nothing_later(void)
{
	struct sg_ledger_snapshot s;
	uint64_t before = atomic_load(&failures), after;

	fresh(100, 1000, 50);
	append(5, 10);
	sg_ledger_begin(&l, &s, 20);
	CU_ASSERT_FALSE(sg_ledger_poisoned(&l, before));
	sg_ledger_failed(&l, &s, &failures, EIO, 1, SG_OP_FSYNC, 99, true);
	after = atomic_load(&failures);
	CU_ASSERT_TRUE(sg_ledger_poisoned(&l, before));
	CU_ASSERT_TRUE(sg_ledger_poisoned(&l, 0));
	CU_ASSERT_FALSE(sg_ledger_poisoned(&l, after));
	CU_ASSERT_EQUAL(atomic_load(&l.lost_records), 1);
	CU_ASSERT_EQUAL(atomic_load(&l.lost_bytes), 5);
	CU_ASSERT_EQUAL(risk().records, 0);
}

/* A failure of another file in the same registry must not clear this one's. */
static void test_a_second_failure_keeps_the_first(void)
{
	struct sg_ledger_snapshot s;

	fresh(100, 1000, 50);
	sg_ledger_begin(&l, &s, 1);
	sg_ledger_failed(&l, &s, &failures, EIO, 1, SG_OP_FSYNC, 1, true);
	atomic_fetch_add(&failures, 5);
	CU_ASSERT_TRUE(sg_ledger_poisoned(&l, 1));
	CU_ASSERT_FALSE(sg_ledger_poisoned(&l, 2));
}

/* --- many writers and two syncers: never above the bound, nothing left over --- */

#define WRITERS 8
#define ROUNDS	20000
#define BOUND	5

static _Atomic int64_t worst;
static _Atomic bool stop;

static void *writer(void *arg)
{
	uint64_t i;
	bool kick;

	for (i = 0; i < ROUNDS; i++) {
		while (sg_ledger_reserve(&l, 3, 1, &kick) != 0)
			sched_yield();
		sg_ledger_done(&l, 3, i % 7 ? 3 : 0);
	}
	return NULL;
}

static void *syncer(void *arg)
{
	struct sg_at_risk r;
	int64_t seen;

	while (!atomic_load(&stop)) {
		sync_at(2);
		/* covered is read first there: what is seen can be too much, never too little */
		r.records = atomic_load(&l.reserved_records);
		r.records -= atomic_load(&l.covered_records);
		seen = (int64_t)r.records;
		if (seen > 0 && seen <= INT32_MAX && seen > atomic_load(&worst))
			atomic_store(&worst, seen);
		sched_yield();
	}
	return NULL;
}

static void test_the_bound_holds_under_contention(void)
{
	pthread_t w[WRITERS], s[2];
	int i;

	fresh(BOUND, 1000, UINT64_MAX);
	atomic_store(&stop, false);
	atomic_store(&worst, 0);
	for (i = 0; i < 2; i++)
		pthread_create(&s[i], NULL, syncer, NULL);
	for (i = 0; i < WRITERS; i++)
		pthread_create(&w[i], NULL, writer, NULL);
	for (i = 0; i < WRITERS; i++)
		pthread_join(w[i], NULL);
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(s[i], NULL);
	sync_at(3);
	CU_ASSERT(atomic_load(&l.peak_records) <= BOUND);
	CU_ASSERT(atomic_load(&worst) <= BOUND);
	CU_ASSERT_EQUAL(risk().records, 0);
	CU_ASSERT_EQUAL(risk().bytes, 0);
	CU_ASSERT_EQUAL(risk().oldest_ns, 0);
}

static void test_a_file_without_bounds_has_a_peak_too(void)
{
	fresh(1, 1000, UINT64_MAX);
	sg_ledger_reserve_unbounded(&l, 10, 1);
	sg_ledger_peak(&l);
	sg_ledger_done(&l, 10, 10);
	sg_ledger_reserve_unbounded(&l, 20, 2);
	sg_ledger_peak(&l);
	sg_ledger_done(&l, 20, 20);
	sync_at(3);
	sg_ledger_peak(&l);
	CU_ASSERT_EQUAL(atomic_load(&l.peak_records), 2);
	CU_ASSERT_EQUAL(atomic_load(&l.peak_bytes), 30);
	CU_ASSERT_EQUAL(risk().records, 0);
}

static void test_a_refusal_makes_the_oldest_no_younger(void)
{
	fresh(100, 100, 50);
	CU_ASSERT_EQUAL(append(60, 10), 0);
	CU_ASSERT_EQUAL(append(60, 40), -EAGAIN);
	CU_ASSERT_EQUAL(risk().oldest_ns, 10);
	CU_ASSERT_EQUAL(append(1, 61), -EAGAIN);
}

static void test_what_the_dead_reserved_is_covered_by_the_next_sync(void)
{
	bool kick;

	fresh(2, 100, 50);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 7, 10, &kick), 0);
	sync_at(20);
	CU_ASSERT_EQUAL(risk().records, 1);
	sg_ledger_orphaned(&l, 1, 7);
	CU_ASSERT_EQUAL(risk().records, 1);
	sync_at(30);
	CU_ASSERT_EQUAL(risk().records, 0);
	CU_ASSERT_EQUAL(risk().oldest_ns, 0);
	/* One that was not dead after all must not shut the window for good. */
	sg_ledger_done(&l, 7, 7);
	sync_at(40);
	CU_ASSERT_EQUAL(risk().oldest_ns, 0);
	CU_ASSERT_EQUAL(append(1, 200), 0);
}

static void test_its_flusher_is_told_what_is_at_risk_and_sets_the_marks(void)
{
	struct sg_window_flush_in in = { .fixed = true };
	struct sg_window_pace p = { 0 };
	bool kick;

	fresh(4, 1000, 3600000000000u);
	CU_ASSERT_EQUAL(sg_ledger_ask(&l, &p, in).what, SG_FLUSH_IDLE);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, sg_now_ns(), &kick), 0);
	CU_ASSERT_TRUE(sg_ledger_nothing_to_cover(&l));
	sg_ledger_done(&l, 10, 10);
	CU_ASSERT_FALSE(sg_ledger_nothing_to_cover(&l));
	CU_ASSERT_EQUAL(sg_ledger_ask(&l, &p, in).what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(atomic_load(&l.kick_records), 4);
	CU_ASSERT_EQUAL(atomic_load(&l.kick_bytes), 1000);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, sg_now_ns(), &kick), 0);
	CU_ASSERT_FALSE(kick);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, sg_now_ns(), &kick), 0);
	CU_ASSERT_EQUAL(sg_ledger_reserve(&l, 10, sg_now_ns(), &kick), 0);
	CU_ASSERT_TRUE(kick);
	CU_ASSERT_EQUAL(sg_ledger_ask(&l, &p, in).what, SG_FLUSH_NOW);
}

SG_TESTS("ledger", TEST(test_records_are_bounded),
	 TEST(test_bytes_are_bounded_and_a_refusal_takes_nothing),
	 TEST(test_nothing_is_admitted_past_max_delay),
	 TEST(test_an_append_in_flight_is_not_covered),
	 TEST(test_a_short_write_gives_the_rest_back),
	 TEST(test_a_failed_write_alone_leaves_nothing_at_risk),
	 TEST(test_a_failure_poisons_what_was_open_and_nothing_later),
	 TEST(test_a_second_failure_keeps_the_first), TEST(test_the_bound_holds_under_contention),
	 TEST(test_a_file_without_bounds_has_a_peak_too),
	 TEST(test_a_refusal_makes_the_oldest_no_younger),
	 TEST(test_what_the_dead_reserved_is_covered_by_the_next_sync),
	 TEST(test_its_flusher_is_told_what_is_at_risk_and_sets_the_marks))
