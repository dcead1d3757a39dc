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
	in.sync_ns_high = 8 * MS; /* a quantile needs less room than a guess */
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 38 * MS);
	in.sync_ns_high = 20 * MS; /* may not end in time: half is what there is */
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 25 * MS);
	in.now_ns = in.oldest_at_risk_ns + 25 * MS;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.now_ns--;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
}

static void test_a_disk_too_slow_to_end_in_time_is_synced_late(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out;

	in.sync_ns_smoothed = 31 * MS;
	CU_ASSERT_FALSE(sg_window_flush(&in).late);
	in.sync_ns_smoothed = 32 * MS; /* 5/8 of 50 ms is 31.25 */
	in.records_at_risk = 511;
	out = sg_window_flush(&in);
	CU_ASSERT_TRUE(out.late);
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(out.until_ns, in.oldest_at_risk_ns + 50 * MS);
	CU_ASSERT_EQUAL(out.records_mark, 512);
	CU_ASSERT_EQUAL(out.bytes_mark, 1 << 20);
	in.sync_ns_smoothed = UINT64_MAX;
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 50 * MS);
	in.records_at_risk = 512;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 1;
	in.now_ns = in.oldest_at_risk_ns + 50 * MS;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in = at_risk();
	in.sync_ns_smoothed = 26 * MS; /* and until one half is undercut */
	in.late = true;
	CU_ASSERT_TRUE(sg_window_flush(&in).late);
	in.sync_ns_smoothed = 24 * MS;
	CU_ASSERT_FALSE(sg_window_flush(&in).late);
}

static void test_a_window_that_fills_up_during_one_sync_is_synced_when_full(void)
{
	struct sg_window_flush_in in = at_risk();

	in.sync_ns_smoothed = 5 * MS;
	in.records_at_risk = 300;
	in.records_per_s = 102000; /* 510 in a sync */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_per_s = 103000;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	in.records_per_s = 85000;
	in.late = true; /* until 4/5 are undercut */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	in.records_per_s = 80000;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in = at_risk();
	in.bytes_at_risk = 900 << 10;
	in.bytes_per_s = 2000 << 20; /* 2 MiB in a sync */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(sg_window_flush(&in).bytes_mark, 1 << 20);
	in.fixed = true; /* where nothing adapts nothing is late */
	CU_ASSERT_FALSE(sg_window_flush(&in).late);
}

static void test_what_others_see_of_the_disk_counts(void)
{
	struct sg_window_flush_in in = at_risk();

	in.device_ns = 100 * MS;
	CU_ASSERT_TRUE(sg_window_flush(&in).late);
	in.device_ns = 0;
	in.in_flight_since_ns = in.now_ns - 100 * MS; /* not ended, and evidence all the same */
	CU_ASSERT_TRUE(sg_window_flush(&in).late);
	in.sync_in_flight = true;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_HOLD);
	CU_ASSERT_TRUE(sg_window_flush(&in).late);
	in.in_flight_since_ns = in.now_ns + 1;
	CU_ASSERT_FALSE(sg_window_flush(&in).late);
	in = at_risk();
	in.sync_ns_smoothed = 0;
	in.device_ns = 5 * MS; /* no sync of this file yet: better than a guess */
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.oldest_at_risk_ns + 35 * MS);
}

static void test_a_blocked_caller_is_served_at_once(void)
{
	struct sg_window_flush_in in = at_risk();

	in.waiters = 1;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.last_end_ns = in.now_ns; /* even right after another sync, */
	in.company = 1;		    /* at which nobody else waited */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
}

static void test_those_whom_the_last_sync_served_begin_no_other(void)
{
	struct sg_window_flush_in in = at_risk();
	struct sg_window_flush_out out;

	in.sync_ns_smoothed = 800 * US;
	in.last_end_ns = in.now_ns - 10 * US;
	in.waiters = in.company = 4;
	out = sg_window_flush(&in);
	CU_ASSERT_EQUAL(out.what, SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(out.until_ns, in.last_end_ns + 100 * US); /* t / 8 */
	in.now_ns = in.last_end_ns + 100 * US;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.sync_ns_smoothed = 40 * MS;
	in.company = in.waiters = 1;
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.last_end_ns + 200 * US); /* late */
	in.now_ns = in.last_end_ns + 200 * US;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.last_end_ns = UINT64_MAX; /* senseless: taken for now */
	CU_ASSERT_TRUE(sg_window_flush(&in).until_ns <= in.now_ns + 200 * US);
}

static void test_a_blocked_caller_waits_for_company_that_came_before(void)
{
	struct sg_window_flush_in in = at_risk();

	in.sync_ns_smoothed = 2 * MS;
	in.last_end_ns = in.now_ns - 300 * US;
	in.company = 4;
	in.waiters = 3;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_WAIT);
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.last_end_ns + MS); /* t / 2 */
	in.waiters = 4;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.waiters = 3;
	in.now_ns = in.last_end_ns + MS;
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.now_ns--;
	in.records_at_risk = 256; /* perhaps blocked by the window, and nobody else can come */
	CU_ASSERT_EQUAL(what(&in), SG_FLUSH_NOW);
	in.records_at_risk = 1;
	in.sync_ns_smoothed = 24 * MS;
	CU_ASSERT_EQUAL(sg_window_flush(&in).until_ns, in.last_end_ns + 10 * MS);
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
	in.records_per_s = 400000; /* never below one half */
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
	if (in->now_ns >= limit || in->records_at_risk >= in->max_records ||
	    in->bytes_at_risk >= in->max_bytes ||
	    (in->waiters && (in->fixed || in->now_ns - in->last_end_ns >= 10 * MS)))
		CU_ASSERT_EQUAL(out.what, SG_FLUSH_NOW);
	if (out.what != SG_FLUSH_WAIT)
		return;
	if (in->waiters)
		CU_ASSERT_TRUE(out.until_ns <= in->now_ns + 10 * MS);
	CU_ASSERT_TRUE(out.until_ns > in->now_ns && out.until_ns <= limit);
	CU_ASSERT_TRUE(out.records_mark > in->records_at_risk &&
		       out.records_mark <= in->max_records);
	CU_ASSERT_TRUE(out.bytes_mark > in->bytes_at_risk && out.bytes_mark <= in->max_bytes);
}

static void test_random_inputs_keep_every_promise(void)
{
	struct sg_window_flush_in in = { 0 };
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
		in.sync_ns_high = rnd() % 2 ? log_uniform() : 0;
		in.device_ns = rnd() % 4 ? 0 : log_uniform();
		in.in_flight_since_ns = rnd() % 4 ? 0 : log_uniform();
		in.last_begin_ns = log_uniform();
		in.last_end_ns = rnd() % 2 ? in.now_ns - log_uniform() % (in.now_ns + 1) : 0;
		in.company = rnd() % 4 ? 0 : (unsigned int)log_uniform();
		in.late = rnd() % 2;
		in.fixed = rnd() % 4 == 0;
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

/* ---- what is remembered ---- */

static struct sg_window_pace pace;
static uint64_t clock_ns, came;

/* One sync that carried `records` in `gap` and took sync_ns. */
static void one_sync(uint64_t gap_ns, uint64_t records, uint64_t sync_ns)
{
	struct sg_window_seen seen;

	clock_ns += gap_ns;
	came += records;
	seen = (struct sg_window_seen){ clock_ns, came, came * 100, 0 };
	sg_window_pace_begin(&pace, &seen);
	clock_ns += sync_ns;
	seen.now_ns = clock_ns;
	sg_window_pace_end(&pace, &seen, sync_ns, 0);
}

static void syncs(unsigned int n, uint64_t sync_ns)
{
	while (n--)
		one_sync(40 * MS, 40, sync_ns);
}

static void pace_begin(void)
{
	memset(&pace, 0, sizeof(pace));
	clock_ns = 100 * SEC;
	came = 0;
}

/* What it would do with one record at risk that has just come: until when does it wait? */
static struct sg_window_flush_out decide(void)
{
	struct sg_window_flush_in in = at_risk();

	in.now_ns = in.oldest_at_risk_ns = clock_ns;
	return sg_window_decide(&pace, in);
}

static void test_a_disk_100_times_slower_is_known_after_two_syncs(void)
{
	struct sg_window_flush_in in = at_risk();
	static const uint64_t fast[] = { 100 * US, 300 * US, MS, 10 * MS };
	unsigned int i, before;

	for (i = 0; i < sizeof(fast) / sizeof(fast[0]); i++) {
		for (before = 2; before < 20; before++) {
			pace_begin();
			syncs(before, fast[i]);
			CU_ASSERT_FALSE(decide().late);
			/* While the first of them is in flight, its age is what is known. */
			in.now_ns = clock_ns + 200 * MS;
			in.in_flight_since_ns = clock_ns;
			in.sync_in_flight = true;
			CU_ASSERT_TRUE(sg_window_decide(&pace, in).late);
			syncs(2, 100 * fast[i]);
			CU_ASSERT_EQUAL(pace.t_ns, 100 * fast[i]);
			CU_ASSERT_EQUAL(pace.high_ns, 100 * fast[i]);
			CU_ASSERT_EQUAL(decide().late, 100 * fast[i] >= 25 * MS); /* it was late */
			if (!decide().late)
				CU_ASSERT_TRUE(decide().until_ns <=
					       clock_ns + 50 * MS - 12500 * US);
		}
	}
}

static void test_a_disk_that_recovers_is_known_after_ten_syncs(void)
{
	unsigned int slow, n;
	uint64_t until;

	pace_begin();
	syncs(20, MS);
	until = decide().until_ns - clock_ns;
	for (slow = 1; slow < 20; slow++) {
		syncs(slow, 100 * MS);
		for (n = 0; n < 10; n++)
			syncs(1, MS);
		CU_ASSERT_EQUAL(pace.high_ns, MS);
		CU_ASSERT_TRUE(pace.t_ns <= 2 * MS);
		CU_ASSERT_FALSE(decide().late);
		CU_ASSERT_EQUAL(decide().until_ns - clock_ns, until);
	}
}

static void test_one_slow_sync_is_forgotten_with_the_next(void)
{
	pace_begin();
	syncs(20, MS);
	syncs(1, 10 * SEC);
	syncs(2, MS);
	CU_ASSERT_EQUAL(pace.t_ns, MS);
	CU_ASSERT_EQUAL(pace.high_ns, MS);
	CU_ASSERT_FALSE(decide().late);
}

static void test_the_high_quantile_is_the_second_longest_of_eight(void)
{
	pace_begin();
	syncs(1, 3 * MS);
	CU_ASSERT_EQUAL(pace.high_ns, 3 * MS);
	syncs(6, MS);
	CU_ASSERT_EQUAL(pace.high_ns, MS);
	syncs(1, 2 * MS);
	CU_ASSERT_EQUAL(pace.high_ns, 2 * MS);
	syncs(1, MS);
	CU_ASSERT_EQUAL(pace.high_ns, MS); /* the 3 ms were nine ago */
}

static void test_arrival_is_counted_while_there_is_room(void)
{
	struct sg_window_seen seen = { .now_ns = SEC };

	pace_begin();
	sg_window_pace_begin(&pace, &seen);
	seen = (struct sg_window_seen){ SEC + 10 * MS, 100, 20000, 0 };
	sg_window_pace_end(&pace, &seen, 10 * MS, 0);
	CU_ASSERT_EQUAL(pace.records_per_s, 10000);
	CU_ASSERT_EQUAL(pace.bytes_per_s, 2000000);
	/* 100 more in the next 10 ms, then nothing for 90 ms: there was no room. */
	seen = (struct sg_window_seen){ SEC + 110 * MS, 200, 40000, SEC + 20 * MS };
	sg_window_pace_begin(&pace, &seen);
	CU_ASSERT_EQUAL(pace.records_per_s, 10000);
	/* None at all: it says nothing of the load. */
	seen = (struct sg_window_seen){ SEC + 210 * MS, 200, 40000, SEC + 111 * MS };
	sg_window_pace_end(&pace, &seen, 100 * MS, 0);
	CU_ASSERT_EQUAL(pace.records_per_s, 10000);
	/* Too few to tell a rate from are left for the next time. */
	seen = (struct sg_window_seen){ SEC + 211 * MS, 205, 40500, 0 };
	sg_window_pace_begin(&pace, &seen);
	CU_ASSERT_EQUAL(pace.records_per_s, 10000);
	seen = (struct sg_window_seen){ SEC + 214 * MS, 240, 44000, 0 };
	sg_window_pace_end(&pace, &seen, 3 * MS, 0);
	CU_ASSERT_EQUAL(pace.records_per_s, 10000);
	/* Counters that go back are none. */
	seen = (struct sg_window_seen){ SEC + 100 * MS, 1, 1, UINT64_MAX };
	sg_window_pace_end(&pace, &seen, 0, 0);
	CU_ASSERT_TRUE(pace.records_per_s <= 10000);
}

static void test_any_memory_keeps_every_promise(void)
{
	struct sg_window_flush_in in;
	struct sg_window_flush_out out;
	struct sg_window_seen seen;
	uint64_t *word = (uint64_t *)&pace;
	unsigned int i, j;

	seed = 7;
	for (i = 0; i < 100000; i++) {
		for (j = 0; j < sizeof(pace) / sizeof(*word); j++)
			word[j] = log_uniform();
		seen = (struct sg_window_seen){ log_uniform(), log_uniform(), log_uniform(),
						log_uniform() };
		sg_window_pace_begin(&pace, &seen);
		sg_window_pace_end(&pace, &seen, log_uniform(), (unsigned int)rnd());
		in = at_risk();
		in.waiters = rnd() % 2;
		out = sg_window_decide(&pace, in);
		CU_ASSERT_TRUE(out.what == SG_FLUSH_NOW || out.what == SG_FLUSH_WAIT);
		if (out.what == SG_FLUSH_NOW)
			continue;
		CU_ASSERT_TRUE(out.until_ns > in.now_ns && out.until_ns <= in.now_ns + 49 * MS);
		CU_ASSERT_TRUE(out.records_mark <= 512 && out.bytes_mark <= 1 << 20);
		CU_ASSERT_TRUE(!in.waiters || out.until_ns <= in.now_ns + 10 * MS);
	}
}

/* ---- the whole window, driven as the broker drives it ---- */

struct spool {
	uint64_t sync_ns, gap_ns; /* a sync, and from append to append */
	uint64_t refused;	  /* appends that found the window full or too old */
	uint64_t syncs, appends, most;
	uint64_t turns;		 /* from early to late or back */
	uint64_t least, largest; /* records that a sync began with, once it has settled */
};

/* Appends every gap_ns while admitted; asks sg_window_decide() at each event. */
static void run_window(struct spool *s, uint64_t ns)
{
	struct sg_window_flush_in in = at_risk();
	uint64_t end = SEC + ns, next_append = SEC, sync_end = NEVER, carried = 0, after_begin = 0,
		 wake = NEVER, refused_ns = 0;
	struct sg_window_flush_out out = { 0 };
	struct sg_window_seen seen;
	bool late = false;

	memset(&pace, 0, sizeof(pace));
	s->least = NEVER;
	in.oldest_at_risk_ns = in.records_at_risk = in.bytes_at_risk = in.last_begin_ns = 0;
	for (in.now_ns = SEC; in.now_ns < end;) {
		in.now_ns = next_append < sync_end ? next_append : sync_end;
		if (wake < in.now_ns)
			in.now_ns = wake;
		if (in.now_ns == sync_end) {
			seen = (struct sg_window_seen){ in.now_ns, s->appends, s->appends * 100,
							refused_ns };
			sg_window_pace_end(&pace, &seen, s->sync_ns, in.waiters);
			refused_ns = in.waiters = 0;
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
				in.waiters = 1;
				refused_ns = refused_ns ? refused_ns : in.now_ns;
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
		out = sg_window_decide(&pace, in);
		s->turns += out.late != late;
		late = out.late;
		wake = out.what == SG_FLUSH_WAIT ? out.until_ns : NEVER;
		if (out.what == SG_FLUSH_NOW) {
			in.sync_in_flight = true;
			seen = (struct sg_window_seen){ in.now_ns, s->appends, s->appends * 100,
							refused_ns };
			sg_window_pace_begin(&pace, &seen);
			refused_ns = 0;
			carried = in.records_at_risk;
			if (s->syncs > 20) {
				s->least = carried < s->least ? carried : s->least;
				s->largest = carried > s->largest ? carried : s->largest;
			}
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

static void test_a_constant_load_on_a_constant_disk_never_oscillates(void)
{
	static const uint64_t sync_ns[] = {
		50 * US, 200 * US, MS,	    1500 * US, 2 * MS,	5 * MS,
		10 * MS, 20 * MS,  26 * MS, 30 * MS,   40 * MS, 300 * MS
	};
	static const uint64_t gap_ns[] = { 4 * US, 20 * US, 41 * US, 100 * US, 450 * US, 7 * MS };
	unsigned int i, j;
	struct spool s;

	for (i = 0; i < sizeof(sync_ns) / sizeof(sync_ns[0]); i++) {
		for (j = 0; j < sizeof(gap_ns) / sizeof(gap_ns[0]); j++) {
			s = (struct spool){ .sync_ns = sync_ns[i], .gap_ns = gap_ns[j] };
			run_window(&s, 4 * SEC + 40 * s.sync_ns);
			CU_ASSERT_TRUE(s.turns <= 1);
			CU_ASSERT_TRUE(s.most <= 512);
			CU_ASSERT_TRUE(s.syncs > 20);
			CU_ASSERT_TRUE(s.largest - s.least <= 1);
		}
	}
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
	 TEST(test_a_disk_too_slow_for_the_bounds_refuses_and_never_exceeds_them),
	 TEST(test_a_disk_too_slow_to_end_in_time_is_synced_late),
	 TEST(test_a_window_that_fills_up_during_one_sync_is_synced_when_full),
	 TEST(test_what_others_see_of_the_disk_counts),
	 TEST(test_those_whom_the_last_sync_served_begin_no_other),
	 TEST(test_a_blocked_caller_waits_for_company_that_came_before),
	 TEST(test_a_disk_100_times_slower_is_known_after_two_syncs),
	 TEST(test_a_disk_that_recovers_is_known_after_ten_syncs),
	 TEST(test_one_slow_sync_is_forgotten_with_the_next),
	 TEST(test_the_high_quantile_is_the_second_longest_of_eight),
	 TEST(test_arrival_is_counted_while_there_is_room),
	 TEST(test_any_memory_keeps_every_promise),
	 TEST(test_a_constant_load_on_a_constant_disk_never_oscillates))
