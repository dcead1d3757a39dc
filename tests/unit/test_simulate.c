/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/simulate.h"
#include "tap.h"

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static struct sim_setup setup_of(enum sim_disk_kind kind, uint64_t seed)
{
	struct sim_setup s = { .duration_ns = 4 * SEC,
			       .max_records = 512,
			       .max_bytes = 1 << 20,
			       .max_delay_ns = 50 * MS,
			       .append_ns = 5 * US,
			       .record_bytes = 200 };

	s.disk = sim_disk_of(kind, seed, 0, s.duration_ns);
	return s;
}

static struct sim_result run(const struct sim_setup *s, enum sim_rule rule)
{
	struct sim_result r = { 0 };

	sim_run(s, rule, 0, 0, &r);
	return r;
}

/* ---- disks ---- */

static void test_disks_are_what_they_are_called(void)
{
	struct sim_disk d = sim_disk_of(SIM_NVME, 1, 0, 10 * SEC);
	uint64_t ns, took, long_ones = 0;

	for (ns = 1; ns < 10 * SEC; ns += MS) {
		took = sim_sync_ns(&d, ns);
		CU_ASSERT_TRUE((took >= 60 * US && took < 100 * US) ||
			       (took >= MS && took < 2 * MS));
		long_ones += took >= MS;
	}
	CU_ASSERT_TRUE(long_ones > 5 && long_ones < 60);
	d = sim_disk_of(SIM_DISK, 1, 0, 10 * SEC);
	for (ns = 1; ns < 10 * SEC; ns += MS)
		CU_ASSERT_TRUE(sim_sync_ns(&d, ns) >= 8 * MS && sim_sync_ns(&d, ns) < 16 * MS);
	d = sim_disk_of(SIM_DEGRADING, 1, 0, 10 * SEC);
	took = sim_sync_ns(&d, 10 * SEC - 1) / sim_sync_ns(&d, 1);
	CU_ASSERT_TRUE(took > 80 && took < 125);
}

static void test_a_sync_that_meets_a_stall_ends_after_it(void)
{
	struct sim_disk d = sim_disk_of(SIM_STALLING, 1, 0, 10 * SEC);
	uint64_t ns, took, end = 0, hung = 0;

	for (ns = 1; ns < 10 * SEC; ns += MS) {
		took = sim_sync_ns(&d, ns);
		if (took < 10 * MS)
			continue;
		/* All of one stall end within the sync time after its end. */
		if (ns > end)
			end = ns + took;
		CU_ASSERT_TRUE(ns + took < end + MS && ns + took + MS > end);
		hung++;
	}
	CU_ASSERT_TRUE(hung >= 5 * 288 &&
		       hung <= 5 * 292); /* 300 ms of every 2 s, but the last 10 */
}

static void test_a_fleet_has_disks_of_its_own(void)
{
	struct sim_disk a = sim_disk_of(SIM_SSD, 1, 1, SEC), b = sim_disk_of(SIM_SSD, 1, 2, SEC);

	CU_ASSERT_NOT_EQUAL(a.seed, b.seed);
	CU_ASSERT_TRUE(a.permille >= 500 && a.permille <= 2000);
	CU_ASSERT_NOT_EQUAL(sim_sync_ns(&a, 1), sim_sync_ns(&b, 1));
	CU_ASSERT_NOT_EQUAL(sim_disk_of(SIM_SSD, 2, 1, SEC).seed, a.seed);
	CU_ASSERT_EQUAL(sim_disk_of(SIM_SSD, 1, 0, SEC).permille, 1000);
}

/* ---- the model against arithmetic ---- */

/* `n` records that all want in at once, on a disk whose syncs take sync_ns. */
static struct sim_trace burst(size_t n, uint64_t bytes, uint64_t sync_ns)
{
	struct sim_trace t = { .appends = calloc(n, sizeof(*t.appends)),
			       .syncs = calloc(1, sizeof(*t.syncs)),
			       .n_appends = n,
			       .n_syncs = 1,
			       .duration_ns = 4 * SEC };
	size_t i;

	t.syncs[0].took_ns = sync_ns;
	for (i = 0; i < n; i++)
		t.appends[i].bytes = bytes;
	return t;
}

static uint64_t records_of(uint64_t sync_ns, enum sim_rule rule, uint64_t bytes)
{
	struct sim_trace t = burst(1000000, bytes, sync_ns);
	struct sim_setup s = setup_of(SIM_RECORDED, 1);
	struct sim_result r;

	s.disk.trace = &t;
	r = run(&s, rule);
	CU_ASSERT_TRUE(r.risk_max <= s.max_records && r.risk_bytes_max <= s.max_bytes);
	sim_trace_free(&t);
	return r.records;
}

static bool near(uint64_t a, uint64_t b)
{
	return a <= b + b / 50 && a + a / 50 >= b;
}

static void test_throughput_is_what_arithmetic_says(void)
{
	/* 4 s; 512 in 10 ms and 2.56 ms and the waking up: late */
	CU_ASSERT_TRUE(near(records_of(10 * MS, SIM_CONTROLLER, 200), 4 * SEC / 12580 / US * 512));
	/* half a window at a time: 256 in 1.8 ms */
	CU_ASSERT_TRUE(near(records_of(1800 * US, SIM_CONTROLLER, 200), 4 * SEC / 1800 / US * 256));
	/* the disk is no limit */
	CU_ASSERT_TRUE(near(records_of(MS, SIM_CONTROLLER, 200), 4 * SEC / 5 / US));
	/* bytes bound it: 10 of 100 KiB in 10 ms and 50 us */
	CU_ASSERT_TRUE(
		near(records_of(10 * MS, SIM_CONTROLLER, 100 << 10), 4 * SEC / 10070 / US * 10));
	CU_ASSERT_TRUE(near(records_of(10 * MS, SIM_EACH, 200), 4 * SEC / 10005 / US));
	CU_ASSERT_TRUE(near(records_of(10 * MS, SIM_SECOND, 200), 4 * SEC / 12580 / US * 512));
	/* never more than 256 at a time, one sync after the other, when half a sync is shorter than to fill up */
	CU_ASSERT_TRUE(near(records_of(4 * MS, SIM_HALF, 200), 4 * SEC / 4000 / US * 256));
}

static void test_a_paced_load_gets_all_it_asks_for(void)
{
	struct sim_setup s = setup_of(SIM_SSD, 1);
	struct sim_result r;

	s.gap_ns = MS;
	r = run(&s, SIM_CONTROLLER);
	CU_ASSERT_EQUAL(r.records, 4000);
	CU_ASSERT_TRUE(sg_hist_total(r.waits) >= r.records);
	CU_ASSERT_TRUE(r.age_max_ns <= 50 * MS);
	CU_ASSERT_TRUE(r.syncs < 4 * SEC / (40 * MS));
	CU_ASSERT_TRUE(r.wait_max_ns < 3 * MS); /* 8 ms is more than the 6.25 ms of the lead */
	CU_ASSERT_TRUE(r.risk_max >= 44 && r.risk_max <= 51);
	r = run(&s, SIM_EACH);
	CU_ASSERT_EQUAL(r.risk_max, 1);
	CU_ASSERT_TRUE(r.syncs + 1 >= r.records);
	CU_ASSERT_TRUE(r.wait_max_ns >= 8 * MS);
}

static void test_time_at_risk_is_all_time(void)
{
	struct sim_setup s = setup_of(SIM_MIXED, 1);
	unsigned int rule, i;
	struct sim_result r;
	uint64_t sum;

	for (rule = 0; rule < SIM_RULES; rule++) {
		r = run(&s, (enum sim_rule)rule);
		for (i = 0, sum = 0; i <= SIM_RISK_BINS; i++)
			sum += r.risk_ns[i];
		CU_ASSERT_TRUE(near(sum, s.duration_ns));
		CU_ASSERT_TRUE(sim_risk_quantile(&r, 500000) <= sim_risk_quantile(&r, 990000));
		CU_ASSERT_TRUE(sim_risk_quantile(&r, 1000000) == r.risk_max);
	}
}

static void test_the_same_arguments_give_the_same_result(void)
{
	struct sim_setup s = setup_of(SIM_MIXED, 1), other = setup_of(SIM_MIXED, 2);
	struct sim_result a = run(&s, SIM_CONTROLLER), b = run(&s, SIM_CONTROLLER);

	CU_ASSERT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	b = run(&other, SIM_CONTROLLER);
	CU_ASSERT_NOT_EQUAL(a.syncs, b.syncs);
	CU_ASSERT_EQUAL(sim_best(&s), sim_best(&s));
}

/* ---- the rules against each other ---- */

static uint64_t best_of(const struct sim_setup *s)
{
	uint64_t best = sim_best(s), records;
	unsigned int rule;

	for (rule = 0; rule < SIM_RULES; rule++) {
		records = run(s, (enum sim_rule)rule).records;
		best = records > best ? records : best;
	}
	return best;
}

static void test_no_fixed_window_is_above_the_offline_best(void)
{
	static const unsigned int sixteenth[] = { 1, 4, 8, 12, 16 };
	struct sim_setup s = setup_of(SIM_MIXED, 3);
	uint64_t best = sim_best(&s);
	unsigned int i, j;

	for (i = 0; i < 5; i++) {
		for (j = 1; j <= 4; j++) {
			struct sim_result r = { 0 };

			sim_run(&s, SIM_WINDOW, s.max_records * sixteenth[i] / 16,
				s.max_delay_ns * j / 4, &r);
			CU_ASSERT_TRUE(r.records <= best);
		}
	}
	CU_ASSERT_TRUE(best > run(&s, SIM_SECOND).records);
}

static void test_the_controller_is_within_15_percent_of_the_best_on_every_disk(void)
{
	static const struct {
		uint64_t records, delay_ns;
	} bounds[] = { { 512, 50 * MS }, { 50, 20 * MS }, { 20000, 30 * MS } };
	struct sim_setup s;
	unsigned int kind, i, seed;
	uint64_t best, mine, worst = 1000;

	for (kind = 0; kind < SIM_DISKS; kind++) {
		for (seed = 1; seed <= 2; seed++) {
			for (i = 0; i < 3; i++) {
				s = setup_of((enum sim_disk_kind)kind, seed);
				s.duration_ns = s.disk.duration_ns = 2 * SEC;
				s.max_records = bounds[i].records;
				s.max_delay_ns = bounds[i].delay_ns;
				s.max_bytes = 16 << 20;
				best = best_of(&s);
				mine = run(&s, SIM_CONTROLLER).records;
				CU_ASSERT_TRUE(mine * 100 >= best * 85);
				worst = mine * 1000 / best < worst ? mine * 1000 / best : worst;
			}
		}
	}
	printf("# at worst %llu permille of the best\n", (unsigned long long)worst);
}

static void test_on_changing_disks_it_is_better_than_each_fixed_window(void)
{
	static const enum sim_disk_kind kinds[] = { SIM_MIXED, SIM_DEGRADING };
	struct sim_setup s;
	unsigned int kind, rule, seed;
	struct sim_result mine, other;

	for (kind = 0; kind < 2; kind++) {
		for (seed = 1; seed <= 3; seed++) {
			s = setup_of(kinds[kind], seed);
			mine = run(&s, SIM_CONTROLLER);
			for (rule = SIM_EACH; rule < SIM_RULES; rule++)
				CU_ASSERT_TRUE(run(&s, (enum sim_rule)rule).records < mine.records);
			/* At equal throughput: fewer syncs than the short ones, less waiting than the long. */
			s.gap_ns = 500 * US;
			mine = run(&s, SIM_CONTROLLER);
			other = run(&s, SIM_HALF);
			CU_ASSERT_TRUE(mine.sync_ns * 2 < other.sync_ns);
			other = run(&s, SIM_SECOND);
			CU_ASSERT_TRUE(mine.waited_ns * 2 < other.waited_ns);
			CU_ASSERT_TRUE(near(mine.records, other.records));
		}
	}
}

static void test_no_rule_exceeds_a_bound(void)
{
	struct sim_setup s;
	unsigned int kind, rule;
	struct sim_result r;

	for (kind = 0; kind < SIM_DISKS; kind++) {
		for (rule = 0; rule < SIM_RULES; rule++) {
			s = setup_of((enum sim_disk_kind)kind, 5);
			s.max_records = 100;
			s.max_bytes = 12345;
			r = run(&s, (enum sim_rule)rule);
			CU_ASSERT_TRUE(r.records > 0);
			CU_ASSERT_TRUE(r.risk_max <= 61); /* of 200 bytes */
			CU_ASSERT_TRUE(r.risk_bytes_max <= 12345);
			s.max_records = 7;
			r = run(&s, (enum sim_rule)rule);
			CU_ASSERT_TRUE(r.risk_max <= 7 && r.records > 0);
		}
	}
}

/* ---- traces ---- */

static char why[128];
static unsigned int line;
static struct sim_trace trace;

static int parse(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1); /* exact, so that one byte too far is seen */
	int err;

	memcpy(copy, text, len);
	why[0] = '\0';
	err = sim_trace_parse(&trace, copy, len, &line, why, sizeof(why));
	free(copy);
	return err;
}

static void test_a_trace_is_read(void)
{
	CU_ASSERT_EQUAL(
		parse("# a comment\n\n1000000000,append,120,3000\n1000000000,fdatasync,0,5000000\n"
		      "1002000000,fsync,0,7000000\n1003000000,append,1,1"),
		0);
	CU_ASSERT_EQUAL(trace.n_appends, 2);
	CU_ASSERT_EQUAL(trace.n_syncs, 2);
	CU_ASSERT_EQUAL(trace.appends[0].ns, 0);
	CU_ASSERT_EQUAL(trace.appends[0].bytes, 120);
	CU_ASSERT_EQUAL(trace.appends[1].ns, 3 * MS);
	CU_ASSERT_EQUAL(trace.syncs[1].ns, 2 * MS);
	CU_ASSERT_EQUAL(trace.syncs[1].took_ns, 7 * MS);
	CU_ASSERT_EQUAL(trace.duration_ns, 3 * MS);
	sim_trace_free(&trace);
}

static void refused(const char *text, unsigned int at, const char *says)
{
	CU_ASSERT_EQUAL(parse(text), -EINVAL);
	CU_ASSERT_EQUAL(line, at);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, says));
	CU_ASSERT_PTR_NULL(trace.appends);
}

#define GOOD "1,append,1,1\n2,fsync,0,1\n"

static void test_a_bad_trace_is_refused_by_line(void)
{
	char longer[SIM_TRACE_LINE + 64];

	refused("", 0, "no append");
	refused("1,fsync,0,1\n3000000,fsync,0,1\n", 0, "no append");
	refused("1,append,0,1\n", 0, "no sync");
	refused(GOOD, 0, "shorter than 1 ms");
	refused(GOOD "86400000000003,fsync,0,1\n", 0, "longer than a day");
	refused(GOOD "1,fsync,0,1\n", 3, "goes back");
	refused(GOOD "x,fsync,0,1\n", 3, "time is no");
	refused(GOOD "-3,fsync,0,1\n", 3, "time is no");
	refused(GOOD " 3,fsync,0,1\n", 3, "time is no");
	refused(GOOD "9223372036854775808,fsync,0,1\n", 3, "time is no");
	refused(GOOD "3\n", 3, "no operation");
	refused(GOOD "3,\n", 3, "no such operation");
	refused(GOOD "3,write,0,1\n", 3, "no such operation");
	refused(GOOD "3,fsync\n", 3, "size is no");
	refused(GOOD "3,fsync,,1\n", 3, "size is no");
	refused(GOOD "3,fsync,0\n", 3, "duration is no");
	refused(GOOD "3,fsync,0,1ms\n", 3, "duration is no");
	refused(GOOD "3,fsync,0,1,\n", 3, "more than four");
	refused(GOOD "3,fsync,0,1\r\n", 3, "duration is no");
	memset(longer, '1', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	refused(longer, 1, "longer than 128");
}

static void test_a_trace_has_a_most(void)
{
	static const char event[] = "1,append,1,1\n";
	size_t n = sizeof(event) - 1, i;
	char *text = malloc((SIM_TRACE_EVENTS + 1) * n);

	for (i = 0; i <= SIM_TRACE_EVENTS; i++)
		memcpy(text + i * n, event, n);
	CU_ASSERT_EQUAL(
		sim_trace_parse(&trace, text, (SIM_TRACE_EVENTS + 1) * n, &line, why, sizeof(why)),
		-EINVAL);
	CU_ASSERT_EQUAL(line, SIM_TRACE_EVENTS + 1);
	free(text);
}

static void test_any_bytes_are_a_trace_or_refused(void)
{
	static const char alphabet[] = "0123456789,,,\n\n#afx-\r";
	static const char seedling[] = "1,append,12,3\n2,fsync,0,4\n3000000,fdatasync,0,4\n";
	uint64_t x = 88172645463325252u;
	unsigned int i, j, good = 0;
	char text[sizeof(seedling)];

	for (i = 0; i < 20000; i++) {
		memcpy(text, seedling, sizeof(seedling));
		for (j = 0; j < i % 4; j++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			text[x % (sizeof(text) - 1)] = alphabet[(x >> 32) % (sizeof(alphabet) - 1)];
		}
		if (parse(text) == 0) {
			CU_ASSERT_TRUE(trace.n_appends && trace.n_syncs && trace.duration_ns);
			good++;
			sim_trace_free(&trace);
		} else {
			CU_ASSERT_TRUE(why[0] != '\0');
		}
	}
	CU_ASSERT_TRUE(good > 5000 && good < 20000);
}

SG_TESTS("simulate", TEST(test_disks_are_what_they_are_called),
	 TEST(test_a_sync_that_meets_a_stall_ends_after_it),
	 TEST(test_a_fleet_has_disks_of_its_own), TEST(test_throughput_is_what_arithmetic_says),
	 TEST(test_a_paced_load_gets_all_it_asks_for), TEST(test_time_at_risk_is_all_time),
	 TEST(test_the_same_arguments_give_the_same_result),
	 TEST(test_no_fixed_window_is_above_the_offline_best),
	 TEST(test_the_controller_is_within_15_percent_of_the_best_on_every_disk),
	 TEST(test_on_changing_disks_it_is_better_than_each_fixed_window),
	 TEST(test_no_rule_exceeds_a_bound), TEST(test_a_trace_is_read),
	 TEST(test_a_bad_trace_is_refused_by_line), TEST(test_a_trace_has_a_most),
	 TEST(test_any_bytes_are_a_trace_or_refused))
