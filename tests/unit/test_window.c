/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "guard/window.h"
#include "tap.h"

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* ---- a simulated disk with callers that sync without pause ---- */

#define CALLERS 64
#define NEVER	UINT64_MAX

struct disk {
	uint64_t group_ns; /* a shared sync */
	uint64_t bare_ns;  /* one of `callers` syncs at once */
	unsigned int noise_pct;
	unsigned int callers;
};

struct sim {
	struct sg_window_group g;
	struct disk disk;
	uint64_t now;
	uint64_t calls;
	uint64_t choice_ns[2]; /* time spent under each choice */
	uint64_t bare_end[CALLERS];
	uint64_t bare_begin[CALLERS];
	bool waits[CALLERS];  /* for the next group */
	bool member[CALLERS]; /* of the group in flight */
	uint64_t group_end;
	uint64_t group_begin;
	int forced; /* a fixed choice, -1: the controller's */
};

static uint64_t noisy(const struct disk *d, uint64_t ns)
{
	uint64_t span = ns * d->noise_pct / 100;

	return ns - span + (span ? rnd() % (2 * span + 1) : 0);
}

static void enter(struct sim *s, unsigned int i)
{
	enum sg_window_choice c = sg_window_group_choose(&s->g);

	if (s->forced >= 0)
		c = (enum sg_window_choice)s->forced;
	s->bare_end[i] = NEVER;
	if (c == SG_GROUP) {
		s->waits[i] = true;
		return;
	}
	s->bare_begin[i] = s->now;
	s->bare_end[i] = s->now + noisy(&s->disk, s->disk.bare_ns);
}

static void lead(struct sim *s)
{
	bool any = false;
	unsigned int i;

	if (s->group_end != NEVER)
		return;
	for (i = 0; i < s->disk.callers; i++) {
		s->member[i] = s->waits[i];
		any |= s->waits[i];
		s->waits[i] = false;
	}
	if (!any)
		return;
	s->group_begin = s->now;
	s->group_end = s->now + noisy(&s->disk, s->disk.group_ns);
}

static void sim_init(struct sim *s, struct disk d, int forced)
{
	unsigned int i;

	memset(s, 0, sizeof(*s));
	seed = 88172645463325252u;
	s->disk = d;
	s->forced = forced;
	s->now = SEC;
	s->group_end = NEVER;
	for (i = 0; i < CALLERS; i++)
		s->bare_end[i] = NEVER;
	for (i = 0; i < d.callers; i++)
		enter(s, i);
	lead(s);
}

static void group_ends(struct sim *s)
{
	uint64_t t = s->group_end - s->group_begin;
	unsigned int i;

	s->group_end = NEVER;
	for (i = 0; i < s->disk.callers; i++)
		s->calls += s->member[i];
	sg_window_group_done(&s->g, s->now, s->calls, t, s->disk.callers);
	for (i = 0; i < s->disk.callers; i++)
		if (s->member[i]) {
			s->member[i] = false;
			enter(s, i);
		}
	lead(s);
}

static void bare_ends(struct sim *s, unsigned int i)
{
	s->calls++;
	/* A third find the lock taken and leave. */
	if (rnd() % 3)
		sg_window_group_done(&s->g, s->now, s->calls, s->now - s->bare_begin[i],
				     s->disk.callers);
	enter(s, i);
	lead(s);
}

static void step(struct sim *s)
{
	uint64_t next = s->group_end, begin = s->now;
	unsigned int i, who = CALLERS;

	for (i = 0; i < s->disk.callers; i++)
		if (s->bare_end[i] < next) {
			next = s->bare_end[i];
			who = i;
		}
	s->now = next;
	s->choice_ns[sg_window_group_choose(&s->g)] += next - begin;
	if (who < CALLERS)
		bare_ends(s, who);
	else
		group_ends(s);
}

/* Runs for so long; returns calls per second of that time. */
static double run(struct sim *s, uint64_t ns)
{
	uint64_t end = s->now + ns, begin = s->now, calls = s->calls;

	while (s->now < end)
		step(s);
	return (double)(s->calls - calls) * 1e9 / (double)(s->now - begin);
}

static double run_fixed(struct disk d, int forced, uint64_t ns)
{
	struct sim s;

	sim_init(&s, d, forced);
	return run(&s, ns);
}

/* The disk of a ratio: grouping completes ratio × the calls that bare does. */
static struct disk disk(uint64_t group_ns, double ratio, unsigned int noise_pct,
			unsigned int callers)
{
	return (struct disk){ group_ns, (uint64_t)((double)group_ns * ratio), noise_pct, callers };
}

static void check_settles(struct disk d, enum sg_window_choice want, uint64_t ns)
{
	double fixed = run_fixed(d, want, ns), got;
	struct sim s;

	sim_init(&s, d, -1);
	got = run(&s, ns);
	CU_ASSERT_EQUAL(s.g.phase == SG_WINDOW_LONE, false);
	CU_ASSERT_EQUAL(s.g.verdict, want);
	CU_ASSERT_TRUE(got >= 0.97 * fixed);
	printf("# t %llu us, bare %llu us, %u callers, noise %u %%: %.3f of the better side, other "
	       "side %.2f %% of "
	       "time\n",
	       (unsigned long long)(d.group_ns / US), (unsigned long long)(d.bare_ns / US),
	       d.callers, d.noise_pct, got / fixed,
	       100.0 * (double)s.choice_ns[!want] / (double)(s.choice_ns[0] + s.choice_ns[1]));
}

static void test_where_grouping_pays_it_settles_on_group(void)
{
	check_settles(disk(300 * US, 2.6, 0, 16), SG_GROUP, 20 * SEC);
	check_settles(disk(300 * US, 2.6, 20, 16), SG_GROUP, 20 * SEC);
	check_settles(disk(5 * MS, 10, 20, 64), SG_GROUP, 60 * SEC);
	check_settles(disk(5 * MS, 2, 20, 4), SG_GROUP, 60 * SEC);
}

static void test_where_grouping_costs_it_settles_on_bare(void)
{
	check_settles(disk(1 * MS, 0.8, 0, 16), SG_BARE, 20 * SEC);
	check_settles(disk(1 * MS, 0.8, 20, 16), SG_BARE, 20 * SEC);
	check_settles(disk(13 * MS, 0.8, 20, 64), SG_BARE, 120 * SEC);
	check_settles(disk(5 * MS, 0.5, 20, 4), SG_BARE, 60 * SEC);
	check_settles(disk(5 * MS, 0.1, 20, 16), SG_BARE, 20 * SEC);
}

static void test_where_it_does_not_matter_little_is_lost(void)
{
	struct disk d = disk(2 * MS, 1.0, 20, 16);
	double fixed = run_fixed(d, SG_BARE, 30 * SEC);
	struct sim s;

	sim_init(&s, d, -1);
	CU_ASSERT_TRUE(run(&s, 30 * SEC) >= 0.97 * fixed);
}

/* The noise of a measurement must not make it group where the file system is better by itself. */
static void test_a_few_per_cent_do_not_make_it_group(void)
{
	static const double bare[] = { 0.95, 1.0, 1.03 };
	unsigned int i, grouped = 0;
	struct sim s;

	for (i = 0; i < 30; i++) {
		sim_init(&s, disk(20 * MS, bare[i % 3], 20, 4), -1);
		seed += i;
		run(&s, 20 * SEC);
		grouped += s.g.verdict == SG_GROUP;
	}
	CU_ASSERT_TRUE(grouped <= 1);
}

static void test_trials_of_the_worse_side_take_under_one_percent(void)
{
	struct disk d = disk(1 * MS, 0.8, 20, 16);
	struct sim s;
	double share;

	sim_init(&s, d, -1);
	run(&s, 20 * SEC);
	memset(s.choice_ns, 0, sizeof(s.choice_ns));
	run(&s, 60 * SEC);
	share = (double)s.choice_ns[SG_GROUP] / (double)(s.choice_ns[0] + s.choice_ns[1]);
	CU_ASSERT_TRUE(share < 0.01);
	CU_ASSERT_TRUE(share > 0);
}

/* Moves a running simulation to another disk; syncs in flight end as they would have. */
static void check_follows(struct disk from, struct disk to, enum sg_window_choice want)
{
	double fixed = run_fixed(to, want, 30 * SEC), got;
	struct sim s;

	sim_init(&s, from, -1);
	run(&s, 10 * SEC);
	CU_ASSERT_NOT_EQUAL(s.g.verdict, (uint32_t)want);
	s.disk = to;
	run(&s, 3 * SEC);
	CU_ASSERT_EQUAL(s.g.verdict, (uint32_t)want);
	got = run(&s, 27 * SEC);
	CU_ASSERT_TRUE(got >= 0.97 * fixed);
}

static void test_another_regime_is_followed(void)
{
	check_follows(disk(300 * US, 2.6, 20, 16), disk(5 * MS, 0.8, 20, 16), SG_BARE);
	check_follows(disk(5 * MS, 0.8, 20, 16), disk(300 * US, 2.6, 20, 16), SG_GROUP);
}

/* The sync time stays as it is, so nothing tells but the next trial. */
static void test_a_regime_that_does_not_show_is_found_by_the_next_trial(void)
{
	struct disk d = disk(1 * MS, 0.8, 20, 16);
	struct sim s;

	sim_init(&s, d, -1);
	run(&s, 10 * SEC);
	CU_ASSERT_EQUAL(s.g.verdict, SG_BARE);
	s.disk.group_ns = s.disk.bare_ns * 10 / 26;
	run(&s, 10 * SEC);
	CU_ASSERT_EQUAL(s.g.verdict, SG_GROUP);
}

static void test_a_lone_caller_is_never_put_on_trial(void)
{
	struct sim s;

	sim_init(&s, disk(300 * US, 0.8, 20, 1), -1);
	run(&s, 10 * SEC);
	CU_ASSERT_EQUAL(s.g.phase, SG_WINDOW_LONE);
	CU_ASSERT_EQUAL(s.choice_ns[SG_BARE], 0);
	CU_ASSERT_EQUAL(s.g.decided, 0);
}

/* Company comes and goes: the verdict is kept, and alone there is nothing to choose. */
static void test_company_that_returns_finds_the_verdict(void)
{
	struct sg_window_group g;
	struct sim s;

	sim_init(&s, disk(1 * MS, 0.8, 20, 16), -1);
	run(&s, 10 * SEC);
	g = s.g;
	CU_ASSERT_EQUAL(sg_window_group_choose(&g), SG_BARE);
	while (g.phase != SG_WINDOW_LONE)
		sg_window_group_done(&g, s.now += MS, s.calls += 1, MS, 1);
	CU_ASSERT_EQUAL(sg_window_group_choose(&g), SG_GROUP);
	while (g.phase == SG_WINDOW_LONE)
		sg_window_group_done(&g, s.now += MS, s.calls += 16, MS, 16);
	CU_ASSERT_EQUAL(g.phase, SG_WINDOW_EXPLOIT);
	CU_ASSERT_EQUAL(sg_window_group_choose(&g), SG_BARE);
}

/* A stall of 3 s hits one measurement of the trial: the better of two counts. */
static void test_one_stall_does_not_decide_a_trial(void)
{
	uint64_t now, calls, stall_at;
	struct sg_window_group g;
	unsigned int i;
	bool bare;

	for (stall_at = 20; stall_at < 400; stall_at += 7) {
		sg_window_group_init(&g);
		now = SEC;
		calls = 0;
		for (i = 0; i < 4000; i++) {
			bare = sg_window_group_choose(&g) == SG_BARE;
			now += i == stall_at ? 3 * SEC : bare ? 800 * US : MS;
			calls += 16;
			sg_window_group_done(&g, now, calls, i == stall_at ? 3 * SEC : MS, 16);
		}
		CU_ASSERT_EQUAL(g.verdict, SG_BARE);
	}
}

static void test_pauses_are_not_measured(void)
{
	struct sg_window_group g;
	uint64_t now = SEC, calls = 0;
	unsigned int i;

	/* Two callers every second: never anything to compare. */
	sg_window_group_init(&g);
	for (i = 0; i < 2000; i++) {
		now += SEC;
		calls += 2;
		sg_window_group_done(&g, now, calls, MS, 2);
	}
	CU_ASSERT_EQUAL(sg_window_group_choose(&g), SG_GROUP);
	CU_ASSERT_EQUAL(g.decided, 0);
}

/* Random bytes, with each phase in its turn. */
static void garbage(struct sg_window_group *g)
{
	uint64_t *w = (uint64_t *)(void *)g;
	size_t i;

	for (i = 0; i < sizeof(*g) / sizeof(*w); i++)
		w[i] = rnd() >> rnd() % 64;
	g->phase = (uint32_t)(rnd() % 4);
	g->settle_until_ns = 0;
}

static void test_senseless_numbers_do_no_harm(void)
{
	struct sg_window_group g;
	unsigned int i;

	memset(&g, 0, sizeof(g));
	seed = 4711;
	for (i = 0; i < 200000; i++)
		sg_window_group_done(&g, rnd() >> rnd() % 64, rnd() >> rnd() % 64,
				     rnd() >> rnd() % 64, (unsigned int)(rnd() >> rnd() % 64));
	for (i = 0; i < 2000; i++) {
		if (i % 20 == 0)
			garbage(&g);
		sg_window_group_done(&g, rnd(), rnd(), rnd(), (unsigned int)rnd());
		CU_ASSERT_TRUE(sg_window_group_choose(&g) <= SG_BARE);
		CU_ASSERT_TRUE(sg_window_group_wait_ns(&g, 2, MS) <= MS);
	}
	memset(&g, 0xff, sizeof(g));
	sg_window_group_done(&g, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX);
	CU_PASS("no trap");
}

static struct sg_window_group shared;
static bool stop;

static void *chooser(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		if (sg_window_group_choose(&shared) > SG_BARE ||
		    sg_window_group_wait_ns(&shared, 2, MS) > MS)
			return &stop;
	return NULL;
}

/* For the thread sanitizer: one writes, another chooses without a lock. */
static void test_choosing_needs_no_lock(void)
{
	void *failed = NULL;
	pthread_t t;
	uint64_t i;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, chooser, NULL), 0);
	for (i = 1; i < 50000; i++)
		sg_window_group_done(&shared, SEC + i * MS, i * 16, MS, 16);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, &failed);
	CU_ASSERT_PTR_NULL(failed);
}

static void test_smoothing_is_that_of_jbd2(void)
{
	CU_ASSERT_EQUAL(sg_window_smooth_ns(0, 4000), 4000);
	CU_ASSERT_EQUAL(sg_window_smooth_ns(4000, 8000), 5000);
	CU_ASSERT_EQUAL(sg_window_smooth_ns(8000, 0), 6000);
	CU_ASSERT_TRUE(sg_window_smooth_ns(UINT64_MAX, UINT64_MAX) >= UINT64_MAX - 3);
}

static void test_a_leader_waits_only_when_two_came_during_the_last_sync(void)
{
	struct sg_window_group g;

	sg_window_group_init(&g);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 9, MS), 0);
	sg_window_group_done(&g, SEC, 1, 4 * MS, 4);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 0, 10 * MS), 0);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 1, 10 * MS), 0);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 2, 10 * MS), 2 * MS);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 2, MS), MS);
	CU_ASSERT_EQUAL(sg_window_group_wait_ns(&g, 2, 0), 0);
}

static void test_callers_of_one_description_always_group(void)
{
	uint64_t now = SEC, calls = 0;
	struct sg_window_group g;
	unsigned int i;

	sg_window_group_init(&g);
	g.shared = 1;
	for (i = 0; i < 10000; i++) {
		now += MS;
		calls += i % 2 ? 64 : 1;
		sg_window_group_done(&g, now, calls, MS, 64);
		CU_ASSERT_EQUAL_FATAL(sg_window_group_choose(&g), SG_GROUP);
	}
	CU_ASSERT_EQUAL(g.side[SG_GROUP].t_ns, MS);
}

/* ---- flushing ---- */

static struct sg_window_flush_in at_risk(void)
{
	return (struct sg_window_flush_in){
		.now_ns = 100 * SEC,
		.oldest_at_risk_ns = 100 * SEC - MS,
		.records_at_risk = 1,
		.bytes_at_risk = 100,
		.max_delay_ns = 50 * MS,
		.max_records = 512,
		.max_bytes = 1 << 20,
		.sync_ns_smoothed = MS,
		.last_begin_ns = 99 * SEC,
	};
}

static enum sg_flush what(const struct sg_window_flush_in *in)
{
	return sg_window_flush(in).what;
}

static void test_nothing_at_risk_is_idle(void)
{
	struct sg_window_flush_in in = at_risk();

	in.oldest_at_risk_ns = in.records_at_risk = in.bytes_at_risk = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_IDLE);
	in.records_at_risk = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 0;
	in.bytes_at_risk = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_a_sync_begins_early_enough_to_end_in_time(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out = sg_window_flush(&in);

	/* 3 t is 3 ms, an eighth of the bound 6.25 ms */
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(out.until_ns, in.oldest_at_risk_ns + 50 * MS - 6250 * US);
	in.sync_ns_smoothed = 5 * MS;
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 35 * MS);
	in.sync_ns_smoothed = 200 * MS; /* cannot end in time: half is what there is */
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 25 * MS);
	in.sync_ns_smoothed = UINT64_MAX;
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 25 * MS);
	in.now_ns = in.oldest_at_risk_ns + 25 * MS;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.now_ns--;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
}

static void test_a_blocked_caller_is_served_at_once(void)
{
	struct sg_window_flush_in in = at_risk();

	in.waiters = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_one_sync_at_a_time(void)
{
	struct sg_window_flush_in in = at_risk();

	in.sync_in_flight = true;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_HOLD);
	in.waiters = 3;
	in.now_ns += SEC;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_HOLD);
	in.oldest_at_risk_ns = in.records_at_risk = in.bytes_at_risk = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_IDLE);
}

static void test_half_full_begins_a_sync_when_the_disk_has_time(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out = sg_window_flush(&in);

	CU_ASSERT_EQUAL(out.records_mark, 256);
	CU_ASSERT_EQUAL(out.bytes_mark, 512 << 10);
	in.records_at_risk = 256;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 1;
	in.bytes_at_risk = 512 << 10;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_half_full_waits_when_the_disk_is_over_its_share(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out;

	in.records_at_risk = 256;
	in.records_per_s = 10000; /* 10 in a sync: far from full */
	in.last_begin_ns = in.now_ns - 2 * MS;
	out = sg_window_flush(&in);
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(out.until_ns, in.last_begin_ns + 4 * MS); /* a share of 1/4 */
	CU_ASSERT_EQUAL(out.records_mark, 448);
	in.share_permille = 500;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.share_permille = 0;
	in.last_begin_ns = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_what_would_fill_up_during_the_sync_begins_it(void)
{
	struct sg_window_flush_in in = at_risk();

	in.last_begin_ns = in.now_ns; /* over its share */
	in.records_at_risk = 447;
	in.records_per_s = 10000;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	in.records_at_risk = 448;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 362; /* 100 arrive in a sync, and half as many for safety */
	in.records_per_s = 100000;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 361;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	in.records_at_risk = 256;
	in.records_per_s = 10000000; /* never below one half */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_per_s = 0; /* judged from 256 in 1 ms */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_a_bound_of_zero_or_one_leaves_no_room(void)
{
	struct sg_window_flush_in in = at_risk();

	in.max_records = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.max_records = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in = at_risk();
	in.max_bytes = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in = at_risk();
	in.max_delay_ns = 0;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_an_append_stamped_after_now_waits_from_now(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out;

	in.oldest_at_risk_ns = UINT64_MAX;
	out = sg_window_flush(&in);
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_TRUE(out.until_ns <= in.now_ns + in.max_delay_ns);
}

static uint64_t log_uniform(void)
{
	return rnd() >> rnd() % 64;
}

static void test_fixed_bounds_begin_a_sync_when_reached_and_not_before(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out;

	in.fixed = true;
	in.records_at_risk = in.max_records - 1;
	in.bytes_at_risk = in.max_bytes - 1;
	in.sync_ns_smoothed = 20 * MS; /* moves no mark */
	out = sg_window_flush(&in);
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(out.until_ns, in.oldest_at_risk_ns + 50 * MS);
	CU_ASSERT_EQUAL(out.records_mark, in.max_records);
	CU_ASSERT_EQUAL(out.bytes_mark, in.max_bytes);
	in.records_at_risk++;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk--;
	in.bytes_at_risk++;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.bytes_at_risk--;
	in.now_ns = in.oldest_at_risk_ns + 50 * MS - 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	in.now_ns++;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.now_ns--;
	in.waiters = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.sync_in_flight = true;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_HOLD);
}

static void check_properties(const struct sg_window_flush_in *in)
{
	struct sg_window_flush_out out = sg_window_flush(in);
	bool risk = in->oldest_at_risk_ns || in->records_at_risk || in->bytes_at_risk;
	uint64_t oldest = in->oldest_at_risk_ns < in->now_ns ? in->oldest_at_risk_ns : in->now_ns;
	uint64_t limit =
		oldest + in->max_delay_ns < oldest ? UINT64_MAX : oldest + in->max_delay_ns;

	CU_ASSERT_EQUAL(out.what == SG_FLUSH_IDLE, !risk);
	CU_ASSERT_EQUAL(out.what == SG_FLUSH_HOLD, risk && in->sync_in_flight);
	if (!risk || in->sync_in_flight)
		return;
	if (in->waiters || in->now_ns >= limit || in->records_at_risk >= in->max_records ||
	    in->bytes_at_risk >= in->max_bytes)
		CU_ASSERT_EQUAL(out.what, SG_FLUSH_NOW);
	if (out.what != SG_FLUSH_WAIT)
		return;
	CU_ASSERT_TRUE(out.until_ns > in->now_ns && out.until_ns <= limit);
	CU_ASSERT_TRUE(out.records_mark > in->records_at_risk &&
		       out.records_mark <= in->max_records);
	CU_ASSERT_TRUE(out.bytes_mark > in->bytes_at_risk && out.bytes_mark <= in->max_bytes);
}

static void test_random_inputs_keep_every_promise(void)
{
	struct sg_window_flush_in in;
	unsigned int i;

	seed = 42;
	for (i = 0; i < 300000; i++) {
		in.now_ns = log_uniform();
		in.oldest_at_risk_ns =
			rnd() % 4 ? in.now_ns - log_uniform() % (in.now_ns + 1) : log_uniform();
		in.records_at_risk = log_uniform();
		in.bytes_at_risk = log_uniform();
		in.max_delay_ns = log_uniform();
		in.max_records = log_uniform();
		in.max_bytes = log_uniform();
		in.sync_ns_smoothed = log_uniform();
		in.last_begin_ns = log_uniform();
		in.records_per_s = rnd() % 2 ? log_uniform() : 0;
		in.bytes_per_s = rnd() % 2 ? log_uniform() : 0;
		in.waiters = rnd() % 8 == 0;
		in.share_permille = rnd() % 2 ? (unsigned int)(rnd() % 1001) : 0;
		in.sync_in_flight = rnd() % 8 == 0;
		if (rnd() % 8 == 0)
			in.oldest_at_risk_ns = in.records_at_risk = in.bytes_at_risk = 0;
		check_properties(&in);
	}
}

/* ---- the whole window, driven as the broker drives it ---- */

struct spool {
	uint64_t sync_ns, gap_ns; /* a sync, and from append to append */
	uint64_t refused;	  /* appends that found the window full or too old */
	uint64_t syncs, appends, most;
};

/* Appends every gap_ns while admitted; asks sg_window_flush() at each event. */
static void run_window(struct spool *s, uint64_t ns)
{
	struct sg_window_flush_in in = at_risk();
	uint64_t end = SEC + ns, next_append = SEC, sync_end = NEVER, carried = 0, after_begin = 0,
		 wake = NEVER;
	struct sg_window_flush_out out;

	in.oldest_at_risk_ns = in.records_at_risk = in.bytes_at_risk = in.last_begin_ns = 0;
	in.sync_ns_smoothed = 0;
	in.records_per_s = SEC / s->gap_ns;
	for (in.now_ns = SEC; in.now_ns < end;) {
		in.now_ns = next_append < sync_end ? next_append : sync_end;
		if (wake < in.now_ns)
			in.now_ns = wake;
		if (in.now_ns == sync_end) {
			in.sync_ns_smoothed = sg_window_smooth_ns(in.sync_ns_smoothed, s->sync_ns);
			in.records_at_risk -= carried;
			in.bytes_at_risk -= carried * 100;
			in.oldest_at_risk_ns = in.records_at_risk ? after_begin : 0;
			in.sync_in_flight = false;
			sync_end = NEVER;
		}
		if (in.now_ns == next_append) {
			next_append += s->gap_ns;
			if (in.records_at_risk >= in.max_records ||
			    (in.oldest_at_risk_ns &&
			     in.now_ns - in.oldest_at_risk_ns > in.max_delay_ns)) {
				s->refused++;
			} else {
				if (!in.records_at_risk++)
					in.oldest_at_risk_ns = in.now_ns;
				if (in.sync_in_flight && !after_begin)
					after_begin = in.now_ns;
				in.bytes_at_risk += 100;
				s->appends++;
			}
		}
		if (in.records_at_risk > s->most)
			s->most = in.records_at_risk;
		out = sg_window_flush(&in);
		wake = out.what == SG_FLUSH_WAIT ? out.until_ns : NEVER;
		if (out.what == SG_FLUSH_NOW) {
			in.sync_in_flight = true;
			in.last_begin_ns = in.now_ns;
			carried = in.records_at_risk;
			after_begin = 0;
			sync_end = in.now_ns + s->sync_ns;
			s->syncs++;
		}
	}
}

static void test_a_steady_load_is_never_refused_and_rarely_synced(void)
{
	struct spool s = { .sync_ns = MS, .gap_ns = MS };

	run_window(&s, 10 * SEC); /* 1000/s: the time bound rules */
	CU_ASSERT_EQUAL(s.refused, 0);
	CU_ASSERT_TRUE(s.syncs < 10 * SEC / (43 * MS) + 3);
	s = (struct spool){ .sync_ns = MS, .gap_ns = 20 * US };
	run_window(&s, 10 * SEC); /* 50000/s: 512 in 10 ms, so the record bound rules */
	CU_ASSERT_EQUAL(s.refused, 0);
	CU_ASSERT_TRUE(s.most <= 512);
	CU_ASSERT_TRUE(s.syncs * s.sync_ns < 10 * SEC / 4); /* the share of time in sync */
	s = (struct spool){ .sync_ns = 20 * MS, .gap_ns = 500 * US };
	run_window(&s, 10 * SEC);
	CU_ASSERT_EQUAL(s.refused, 0);
}

static void test_a_disk_too_slow_for_the_bounds_refuses_and_never_exceeds_them(void)
{
	struct spool s = { .sync_ns = 3 * SEC, .gap_ns = MS };

	run_window(&s, 30 * SEC);
	CU_ASSERT_TRUE(s.refused > 0);
	CU_ASSERT_TRUE(s.appends > 0);
	CU_ASSERT_TRUE(s.most <= 512);
	CU_ASSERT_TRUE(s.syncs >= 9);
}

SG_TESTS("window", TEST(test_where_grouping_pays_it_settles_on_group),
	 TEST(test_where_grouping_costs_it_settles_on_bare),
	 TEST(test_where_it_does_not_matter_little_is_lost),
	 TEST(test_a_few_per_cent_do_not_make_it_group),
	 TEST(test_trials_of_the_worse_side_take_under_one_percent),
	 TEST(test_another_regime_is_followed),
	 TEST(test_a_regime_that_does_not_show_is_found_by_the_next_trial),
	 TEST(test_a_lone_caller_is_never_put_on_trial),
	 TEST(test_company_that_returns_finds_the_verdict),
	 TEST(test_one_stall_does_not_decide_a_trial), TEST(test_pauses_are_not_measured),
	 TEST(test_senseless_numbers_do_no_harm), TEST(test_choosing_needs_no_lock),
	 TEST(test_smoothing_is_that_of_jbd2),
	 TEST(test_a_leader_waits_only_when_two_came_during_the_last_sync),
	 TEST(test_nothing_at_risk_is_idle), TEST(test_a_sync_begins_early_enough_to_end_in_time),
	 TEST(test_a_blocked_caller_is_served_at_once), TEST(test_one_sync_at_a_time),
	 TEST(test_half_full_begins_a_sync_when_the_disk_has_time),
	 TEST(test_half_full_waits_when_the_disk_is_over_its_share),
	 TEST(test_what_would_fill_up_during_the_sync_begins_it),
	 TEST(test_a_bound_of_zero_or_one_leaves_no_room),
	 TEST(test_an_append_stamped_after_now_waits_from_now),
	 TEST(test_fixed_bounds_begin_a_sync_when_reached_and_not_before),
	 TEST(test_callers_of_one_description_always_group),
	 TEST(test_random_inputs_keep_every_promise),
	 TEST(test_a_steady_load_is_never_refused_and_rarely_synced),
	 TEST(test_a_disk_too_slow_for_the_bounds_refuses_and_never_exceeds_them))
