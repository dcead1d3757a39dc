/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * DESIGN of the group trial. Whether grouping pays cannot be computed: ext4's journal groups by
 * itself (measured 33-fold at a 13 ms sync), xfs does not, and it changes with the disk and the
 * number of callers. So it is measured, as little as possible:
 *
 *   LONE ──company──► TRIAL ──verdict──► EXPLOIT ──time, or another regime──► TRIAL …
 *     ▲                 │                   │
 *     └─────────────────┴──── alone ────────┘
 *
 * A measurement begins and ends with a sync that ends, so that it holds whole groups, and leaves
 * out the first two sync times after a change of sides, in which syncs of the other side still end.
 *
 * DESIGN of the flush. Two ways to run a window of R records over a disk whose sync takes S, when L records/s want in:
 *
 *   early   begin at R - L S or before, append on meanwhile:  L while L S <= R / 2, then R / 2 S
 *   late    begin when full, let everybody wait:              R / (S + R / L)
 *
 * They meet at L S = R. The same with the time bound D in place of R, where they meet at S = 0.62 D. So both t and L
 * must be known; L is counted only while there is room (arrived()), else the late way would seem to have little load,
 * take the early one, and so on to and fro.
 */
#include <string.h>

#include "guard/window.h"

#define MEASURE_MIN_NS UINT64_C(20000000) /* 20 ms */
#define MEASURE_SYNCS  8		  /* and at least as many smoothed sync times */
#define PAUSE_FACTOR   8  /* a measurement that takes this many times its length held a pause */
#define COMPANY_X16    24 /* mean callers, 1.5: fewer is a lone caller */
/*
 * Grouping must be this much better to be chosen, and to be kept. A measurement of a few dozen records is off by some
 * per cent, and what no measurement can tell apart is left as the program and its file system do it by themselves.
 */
#define CHOSEN_PCT 115
#define KEPT_PCT   107
#define PLAIN_PCT   150 /* and so much to be chosen after one pair of measurements */
#define FACTOR_MIN  16
#define FACTOR_MAX  128
#define REGIME_SEEN 2 /* measurements in a row that must differ */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t clamp_u64(uint64_t v, uint64_t lo, uint64_t hi)
{
	return v < lo ? lo : min_u64(v, hi);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

/* a × b / c, saturated; c > 0. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 v = (unsigned __int128)a * b / c;

	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

uint64_t sg_window_smooth_ns(uint64_t t_ns, uint64_t sample_ns)
{
	if (!t_ns)
		return sample_ns;
	return t_ns - t_ns / 4 + sample_ns / 4;
}

/* ---- groups ---- */

void sg_window_group_init(struct sg_window_group *g)
{
	memset(g, 0, sizeof(*g));
}

enum sg_window_choice sg_window_group_choose(const struct sg_window_group *g)
{
	return __atomic_load_n(&g->choice, __ATOMIC_RELAXED) == SG_BARE ? SG_BARE : SG_GROUP;
}

uint64_t sg_window_group_wait_ns(const struct sg_window_group *g,
				 unsigned int callers_during_last_sync, uint64_t max_wait_ns)
{
	uint64_t t = __atomic_load_n(&g->side[SG_GROUP].t_ns, __ATOMIC_RELAXED);

	return callers_during_last_sync < 2 ? 0 : min_u64(t / 2, max_wait_ns);
}

/* The state may lie in shared memory: whatever stands there, an index is 0 or 1. */
static unsigned int index_of(uint32_t side)
{
	return side == SG_BARE;
}

/* What one measurement found. */
struct measured {
	uint64_t elapsed_ns;
	uint64_t calls;
	uint64_t rate;	      /* calls per 1000 s */
	uint64_t t_ns;	      /* mean */
	uint64_t callers_x16; /* mean */
};

static uint64_t measure_ns(const struct sg_window_group *g)
{
	uint64_t t = min_u64(g->side[index_of(g->choice)].t_ns, UINT64_MAX / 64 / MEASURE_SYNCS);

	return max_u64(MEASURE_MIN_NS, t * MEASURE_SYNCS);
}

static void measure_begin(struct sg_window_group *g, uint64_t now_ns, uint64_t calls_total)
{
	g->begin_ns = now_ns;
	g->calls_at_begin = calls_total;
	g->last_end_ns = now_ns;
	g->longest_gap_ns = 0;
	g->sum_sync_ns = 0;
	g->sum_callers = 0;
	g->syncs = 0;
}

static uint64_t rate_of(uint64_t calls, uint64_t ns)
{
	return mul_div(calls, UINT64_C(1000000000000), max_u64(ns, 1));
}

/* Without its longest gap: at its best, if a stall fell into it. */
static uint64_t best_rate(const struct sg_window_group *g, const struct measured *m)
{
	return rate_of(m->calls, m->elapsed_ns - min_u64(g->longest_gap_ns, m->elapsed_ns));
}

/*
 * Not half as good as the verdict's side, even without its longest gap (a stall must not decide):
 * a quarter of a measurement shows that.
 */
static bool clear_loser(const struct sg_window_group *g, const struct measured *m)
{
	return g->phase == SG_WINDOW_TRIAL && g->choice != g->verdict &&
	       best_rate(g, m) < g->side[index_of(g->verdict)].rate / 2;
}

static void count_sync(struct sg_window_group *g, uint64_t now_ns, uint64_t sync_ns,
		       unsigned int concurrent_callers)
{
	uint64_t gap = now_ns - min_u64(now_ns, g->last_end_ns);

	g->longest_gap_ns = max_u64(g->longest_gap_ns, gap);
	g->last_end_ns = now_ns;
	g->sum_sync_ns = add_saturated(g->sum_sync_ns, sync_ns);
	g->sum_callers += concurrent_callers;
	g->syncs++;
}

/* True when the measurement under way is long enough; then *m is what it found. */
static bool measure_end(const struct sg_window_group *g, uint64_t now_ns, uint64_t calls_total,
			struct measured *m)
{
	uint64_t want = measure_ns(g);

	m->elapsed_ns = now_ns > g->begin_ns ? now_ns - g->begin_ns : 0;
	if (m->elapsed_ns < max_u64(want / 4, MEASURE_MIN_NS))
		return false;
	m->calls = calls_total > g->calls_at_begin ? calls_total - g->calls_at_begin : 0;
	m->rate = rate_of(m->calls, m->elapsed_ns);
	if (g->syncs < MEASURE_SYNCS ? m->elapsed_ns < 4 * want
				     : m->elapsed_ns < want && !clear_loser(g, m))
		return false;
	m->t_ns = g->sum_sync_ns / max_u64(g->syncs, 1);
	m->callers_x16 = g->sum_callers * 16 / max_u64(g->syncs, 1);
	return true;
}

static void choose(struct sg_window_group *g, enum sg_window_choice choice, uint64_t now_ns)
{
	uint64_t t = max_u64(g->side[SG_GROUP].t_ns, g->side[SG_BARE].t_ns);

	if (g->choice == choice)
		return;
	if (g->phase == SG_WINDOW_TRIAL)
		g->side_ns[index_of(g->choice)] += now_ns - min_u64(now_ns, g->switched_ns);
	__atomic_store_n(&g->choice, choice, __ATOMIC_RELAXED);
	g->switched_ns = now_ns;
	g->settle_until_ns = add_saturated(now_ns, add_saturated(t, t));
	g->begin_ns = 0;
}

static enum sg_window_choice other(uint32_t side)
{
	return side == SG_GROUP ? SG_BARE : SG_GROUP;
}

/* Alone: grouping costs a lone caller nothing, and there is nothing to measure. */
static void go_alone(struct sg_window_group *g, uint64_t now_ns)
{
	choose(g, SG_GROUP, now_ns);
	g->phase = SG_WINDOW_LONE;
}

static void exploit(struct sg_window_group *g, uint64_t now_ns)
{
	choose(g, (enum sg_window_choice)g->verdict, now_ns);
	g->phase = SG_WINDOW_EXPLOIT;
	g->changed = 0;
}

static void trial_begin(struct sg_window_group *g, uint64_t now_ns)
{
	g->phase = SG_WINDOW_TRIAL;
	g->round = 0;
	g->side[SG_GROUP].rate = 0;
	g->side[SG_BARE].rate = 0;
	g->side[SG_GROUP].best_rate = 0;
	g->side[SG_BARE].best_rate = 0;
	g->side_ns[SG_GROUP] = 0;
	g->side_ns[SG_BARE] = 0;
	g->switched_ns = now_ns;
	choose(g, (enum sg_window_choice)g->verdict, now_ns);
}

static enum sg_window_choice better(const struct sg_window_group *g)
{
	bool keep = g->decided && index_of(g->verdict) == SG_GROUP;
	uint64_t least = mul_div(g->side[SG_BARE].rate, keep ? KEPT_PCT : CHOSEN_PCT, 100);

	return g->side[SG_GROUP].rate > least ? SG_GROUP : SG_BARE;
}

static void trial_end(struct sg_window_group *g, uint64_t now_ns)
{
	enum sg_window_choice winner = better(g);
	bool first = !g->decided, change = winner != g->verdict;

	g->verdict = winner;
	choose(g, (enum sg_window_choice)g->verdict, now_ns); /* books the time of the last round */
	g->cost_ns = max_u64(g->side_ns[other(g->verdict)], MEASURE_MIN_NS);
	g->factor = change || first ? FACTOR_MIN : (uint32_t)min_u64(g->factor * 2, FACTOR_MAX);
	g->decided = 1;
	g->windows = 0;
	g->exploited_ns = 0;
	exploit(g, now_ns);
}

/* Is one side better even if the other had the only stall? */
static bool is_plain(const struct sg_window_group *g)
{
	const struct sg_window_side *a = &g->side[SG_GROUP], *b = &g->side[SG_BARE];

	return a->rate > mul_div(b->best_rate, PLAIN_PCT, 100) || b->rate > a->best_rate;
}

/*
 * The rounds measure the verdict's side, the other, and both again unless the other has lost. The first trial of
 * all may end after one pair: until it does, every caller pays for a side that nothing speaks for yet.
 */
static void trial_step(struct sg_window_group *g, const struct measured *m, uint64_t now_ns)
{
	struct sg_window_side *side = &g->side[index_of(g->choice)];

	side->rate = max_u64(side->rate, m->rate);
	side->best_rate = max_u64(side->best_rate, best_rate(g, m));
	side->ref_t_ns = m->t_ns;
	side->ref_callers = m->callers_x16;
	if (g->round == 3 ||
	    (g->round == 1 && (g->decided ? better(g) == g->verdict : is_plain(g))) ||
	    clear_loser(g, m)) {
		trial_end(g, now_ns);
		return;
	}
	g->round++;
	choose(g, other(g->choice), now_ns);
}

static bool differs(uint64_t a, uint64_t b)
{
	return a / 2 > b || b / 2 > a;
}

static void exploit_step(struct sg_window_group *g, const struct measured *m, uint64_t now_ns)
{
	const struct sg_window_side *side = &g->side[index_of(g->choice)];
	bool regime;

	g->windows++;
	g->exploited_ns = add_saturated(g->exploited_ns, m->elapsed_ns);
	if (differs(m->t_ns, side->ref_t_ns) || differs(m->callers_x16, side->ref_callers))
		g->changed++;
	else
		g->changed = 0;
	/* Not sooner than FACTOR_MIN: a load that swings to and fro must not be on trial all the time. */
	regime = g->changed >= REGIME_SEEN && g->windows >= FACTOR_MIN;
	if (!regime && g->exploited_ns < mul_div(g->cost_ns, g->factor, 1))
		return;
	if (regime)
		g->factor = FACTOR_MIN / 2; /* doubled when the verdict stands */
	trial_begin(g, now_ns);
	trial_step(g, m, now_ns); /* this measurement is the trial's first */
}

static void lone_step(struct sg_window_group *g, const struct measured *m, uint64_t now_ns)
{
	if (g->decided && !differs(m->callers_x16, g->side[index_of(g->verdict)].ref_callers)) {
		exploit(g, now_ns);
		return;
	}
	trial_begin(g, now_ns);
	/* Alone, callers group: what was measured is the trial's first round if that is the verdict's side. */
	if (g->verdict == SG_GROUP)
		trial_step(g, m, now_ns);
}

static void measured(struct sg_window_group *g, const struct measured *m, uint64_t now_ns)
{
	if (m->callers_x16 < COMPANY_X16) {
		go_alone(g, now_ns);
		return;
	}
	switch ((enum sg_window_phase)g->phase) {
	case SG_WINDOW_LONE:
		lone_step(g, m, now_ns);
		break;
	case SG_WINDOW_TRIAL:
		trial_step(g, m, now_ns);
		break;
	case SG_WINDOW_EXPLOIT:
		exploit_step(g, m, now_ns);
		break;
	}
}

/* A measurement that held a pause says nothing. A trial is given up, the verdict stands. */
static void paused(struct sg_window_group *g, uint64_t now_ns)
{
	if (g->phase != SG_WINDOW_TRIAL)
		return;
	if (g->decided) {
		g->exploited_ns = 0;
		exploit(g, now_ns);
	} else {
		go_alone(g, now_ns);
	}
}

void sg_window_group_done(struct sg_window_group *g, uint64_t now_ns, uint64_t calls_total,
			  uint64_t sync_ns, unsigned int concurrent_callers)
{
	struct sg_window_side *side = &g->side[index_of(g->choice)];
	struct measured m;

	__atomic_store_n(&side->t_ns, sg_window_smooth_ns(side->t_ns, sync_ns), __ATOMIC_RELAXED);
	if (g->shared || now_ns < g->settle_until_ns)
		return;
	if (!g->begin_ns) {
		measure_begin(g, now_ns, calls_total);
		return;
	}
	count_sync(g, now_ns, sync_ns, concurrent_callers);
	if (!measure_end(g, now_ns, calls_total, &m))
		return;
	g->begin_ns = 0;
	if (m.elapsed_ns > PAUSE_FACTOR * measure_ns(g))
		paused(g, now_ns);
	else
		measured(g, &m, now_ns);
	if (now_ns >= g->settle_until_ns)
		measure_begin(g, now_ns, calls_total);
}

/* ---- what is remembered of the disk and the load ---- */

#define ARRIVED_RECORDS 32		   /* a rate is taken over so many, */
#define ARRIVED_NS	UINT64_C(20000000) /* or over so long; */
#define ARRIVED_LEAST	2 /* and where an append was refused, over at least so many */

/* What arrived from since_ns until the first refusal is what is offered; later appends were kept waiting. */
static void arrived(struct sg_window_pace *p, const struct sg_window_seen *seen)
{
	bool refused = seen->refused_ns && seen->refused_ns < seen->now_ns;
	uint64_t until = refused ? seen->refused_ns : seen->now_ns;
	uint64_t ns = until > p->since_ns ? until - p->since_ns : 0;
	uint64_t records = seen->records > p->since_records ? seen->records - p->since_records : 0;
	uint64_t bytes = seen->bytes > p->since_bytes ? seen->bytes - p->since_bytes : 0;
	bool enough =
		refused ? records >= ARRIVED_LEAST : records >= ARRIVED_RECORDS || ns >= ARRIVED_NS;

	if (!enough && !refused && p->since_ns)
		return;
	if (enough && p->since_ns) {
		ns = max_u64(ns, 1);
		p->records_per_s =
			sg_window_smooth_ns(p->records_per_s, mul_div(records, 1000000000, ns));
		p->bytes_per_s =
			sg_window_smooth_ns(p->bytes_per_s, mul_div(bytes, 1000000000, ns));
	}
	p->since_ns = seen->now_ns;
	p->since_records = seen->records;
	p->since_bytes = seen->bytes;
}

static uint64_t median_of_3(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t lo = min_u64(a, b), hi = max_u64(a, b);

	return clamp_u64(c, lo, hi);
}

static uint64_t recent(const struct sg_window_pace *p, unsigned int ago)
{
	return p->recent_ns[(p->syncs - 1 - ago) % SG_WINDOW_RECENT];
}

static uint64_t typical(const struct sg_window_pace *p)
{
	uint64_t last = recent(p, 0), t = sg_window_smooth_ns(p->t_ns, last), median;

	if (p->syncs < 3)
		return t;
	median = median_of_3(last, recent(p, 1), recent(p, 2));
	if ((median / 2 > t && last / 2 > t) || (median < t / 2 && last < t / 2))
		return median;
	return t;
}

static uint64_t high_quantile(const struct sg_window_pace *p)
{
	uint64_t n = min_u64(p->syncs, SG_WINDOW_RECENT), first = 0, second = 0, v, i;

	for (i = 0; i < n; i++) {
		v = p->recent_ns[i];
		second = max_u64(second, min_u64(v, first));
		first = max_u64(first, v);
	}
	return n < 4 ? first : second;
}

void sg_window_pace_begin(struct sg_window_pace *p, const struct sg_window_seen *seen)
{
	arrived(p, seen);
	p->last_begin_ns = seen->now_ns;
}

void sg_window_pace_end(struct sg_window_pace *p, const struct sg_window_seen *seen,
			uint64_t sync_ns, unsigned int waiters)
{
	arrived(p, seen);
	p->recent_ns[p->syncs++ % SG_WINDOW_RECENT] = sync_ns;
	p->t_ns = typical(p);
	p->high_ns = high_quantile(p);
	p->company = waiters;
	p->last_end_ns = seen->now_ns;
}

/* ---- flushing ---- */

#define STALE_MAX_NS   UINT64_C(200000)	  /* a woken caller is gone from the count by then */
#define COMPANY_MAX_NS UINT64_C(10000000) /* the longest wait for company */

/* Stamped by a thread that read the clock a little later, or by a broken one: not in the future. */
static uint64_t oldest_ns(const struct sg_window_flush_in *in)
{
	return min_u64(in->oldest_at_risk_ns, in->now_ns);
}

/* The least that a sync begun now must be expected to take, by what others see and by what has not ended yet. */
static uint64_t evidence_ns(const struct sg_window_flush_in *in)
{
	uint64_t age = 0;

	if (in->in_flight_since_ns && in->in_flight_since_ns < in->now_ns)
		age = in->now_ns - in->in_flight_since_ns;
	return max_u64(in->device_ns, age);
}

static uint64_t t_ns(const struct sg_window_flush_in *in)
{
	return max_u64(in->sync_ns_smoothed, evidence_ns(in));
}

static uint64_t high_ns(const struct sg_window_flush_in *in)
{
	return max_u64(in->sync_ns_high, t_ns(in));
}

static uint64_t lead_ns(const struct sg_window_flush_in *in)
{
	uint64_t lead = in->sync_ns_high ? mul_div(high_ns(in), 3, 2) : mul_div(t_ns(in), 3, 1);

	if (!lead) /* no sync yet: as for a slow disk */
		return in->max_delay_ns / 2;
	return clamp_u64(lead, in->max_delay_ns / 8, in->max_delay_ns / 2);
}

static uint64_t soft_mark(uint64_t max)
{
	return max_u64(max / 2, 1);
}

/* Where a sync must begin so that the rest of the bound lasts until it ends. */
static uint64_t hard_mark(const struct sg_window_flush_in *in, uint64_t at_risk, uint64_t max,
			  uint64_t per_s)
{
	uint64_t age = in->now_ns - oldest_ns(in), t = t_ns(in), fill;

	if (!t)
		return soft_mark(max);
	t = max_u64(add_saturated(t, t / 2), in->sync_ns_high);
	if (per_s)
		fill = mul_div(per_s, t, UINT64_C(1000000000));
	else
		fill = mul_div(at_risk, t, max_u64(age, 1));
	return clamp_u64(max - min_u64(fill, max), soft_mark(max), max_u64(max - max / 8, 1));
}

/* Does so much arrive during one sync that it fills a window of `max`? Once it did, 4/5 will do. */
static bool fills(const struct sg_window_flush_in *in, uint64_t per_s, uint64_t max)
{
	uint64_t fill = mul_div(per_s, t_ns(in), UINT64_C(1000000000));

	return per_s && fill >= (in->late ? max - max / 5 : max);
}

static bool is_late(const struct sg_window_flush_in *in)
{
	uint64_t d = in->max_delay_ns;

	return fills(in, in->records_per_s, in->max_records) ||
	       fills(in, in->bytes_per_s, in->max_bytes) ||
	       t_ns(in) >= max_u64(in->late ? d / 2 : d / 2 + d / 8, 1);
}

/* The earliest begin that keeps the share of time in sync under its target. */
static uint64_t share_ns(const struct sg_window_flush_in *in)
{
	unsigned int share = in->share_permille ? in->share_permille : SG_WINDOW_SHARE;

	return add_saturated(in->last_begin_ns, mul_div(t_ns(in), 1000, share));
}

/* From when on those who wait are heeded. */
static uint64_t heed_ns(const struct sg_window_flush_in *in, bool late)
{
	uint64_t end = min_u64(in->last_end_ns, in->now_ns), t = t_ns(in);

	if (in->fixed || !in->last_end_ns || (!late && in->company < 2))
		return 0;
	if (in->company >= 2 && in->waiters < in->company &&
	    in->records_at_risk < soft_mark(in->max_records) &&
	    in->bytes_at_risk < soft_mark(in->max_bytes))
		return end + min_u64(t / 2, COMPANY_MAX_NS);
	return end + min_u64(t / 8, STALE_MAX_NS);
}

static struct sg_window_flush_out flush_wait(const struct sg_window_flush_in *in, uint64_t due_ns)
{
	uint64_t hard_r = hard_mark(in, in->records_at_risk, in->max_records, in->records_per_s);
	uint64_t hard_b = hard_mark(in, in->bytes_at_risk, in->max_bytes, in->bytes_per_s);
	uint64_t soft_r = soft_mark(in->max_records), soft_b = soft_mark(in->max_bytes);
	struct sg_window_flush_out out = { SG_FLUSH_WAIT, due_ns, soft_r, soft_b, false };

	if (in->records_at_risk >= hard_r || in->bytes_at_risk >= hard_b)
		return (struct sg_window_flush_out){ .what = SG_FLUSH_NOW };
	if (in->records_at_risk < soft_r && in->bytes_at_risk < soft_b)
		return out;
	if (!in->last_begin_ns || in->now_ns >= share_ns(in))
		return (struct sg_window_flush_out){ .what = SG_FLUSH_NOW };
	out.until_ns = min_u64(due_ns, share_ns(in));
	out.records_mark = hard_r;
	out.bytes_mark = hard_b;
	return out;
}

/* Not before a bound is reached. */
static struct sg_window_flush_out full_wait(const struct sg_window_flush_in *in, uint64_t due_ns)
{
	if (in->records_at_risk >= in->max_records || in->bytes_at_risk >= in->max_bytes)
		return (struct sg_window_flush_out){ .what = SG_FLUSH_NOW };
	return (struct sg_window_flush_out){ SG_FLUSH_WAIT, due_ns, in->max_records, in->max_bytes,
					     false };
}

static bool no_room(const struct sg_window_flush_in *in)
{
	return !in->oldest_at_risk_ns || !in->max_delay_ns || !in->max_records || !in->max_bytes;
}

static struct sg_window_flush_out flush(const struct sg_window_flush_in *in, bool late)
{
	uint64_t lead = in->fixed || late ? 0 : lead_ns(in);
	uint64_t due_ns = add_saturated(oldest_ns(in), in->max_delay_ns - lead);
	uint64_t heed = heed_ns(in, late);
	struct sg_window_flush_out out;

	if (!in->oldest_at_risk_ns && !in->records_at_risk && !in->bytes_at_risk)
		return (struct sg_window_flush_out){ .what = SG_FLUSH_IDLE };
	if (in->sync_in_flight)
		return (struct sg_window_flush_out){ .what = SG_FLUSH_HOLD };
	if (no_room(in) || in->now_ns >= due_ns || (in->waiters && in->now_ns >= heed))
		return (struct sg_window_flush_out){ .what = SG_FLUSH_NOW };
	out = in->fixed || late ? full_wait(in, due_ns) : flush_wait(in, due_ns);
	if (out.what == SG_FLUSH_WAIT && in->waiters)
		out.until_ns = min_u64(out.until_ns, heed);
	return out;
}

struct sg_window_flush_out sg_window_flush(const struct sg_window_flush_in *in)
{
	bool late = !in->fixed && is_late(in);
	struct sg_window_flush_out out = flush(in, late);

	out.late = late;
	return out;
}

struct sg_window_flush_out sg_window_decide(struct sg_window_pace *p, struct sg_window_flush_in in)
{
	struct sg_window_flush_out out;

	in.sync_ns_smoothed = p->t_ns;
	in.sync_ns_high = p->high_ns;
	in.records_per_s = p->records_per_s;
	in.bytes_per_s = p->bytes_per_s;
	in.last_begin_ns = p->last_begin_ns;
	in.last_end_ns = p->last_end_ns;
	in.company = p->company;
	in.late = p->late;
	out = sg_window_flush(&in);
	p->late = out.late;
	return out;
}
