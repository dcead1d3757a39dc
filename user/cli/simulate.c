// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN. One state struct holds the program, the ledger, the disk and the controller's memory at one instant, and has
 * no pointers: a copy of it is a fork of the future. That is all the search for the offline best needs.
 *
 * Between two events appends come at a constant distance (a program that is behind catches up first), so they are
 * admitted in runs, not one by one; only where latencies are counted are the late ones looked at singly.
 */
#include "cli/simulate.h"

#include <stdlib.h>
#include <string.h>

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

#define NEVER UINT64_MAX
#define WAKE_NS \
	(20 * US) /* from the end of a sync to the next try of an append that waited for it */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- disks ---- */

const char *sim_disk_name(enum sim_disk_kind kind)
{
	static const char *const names[] = { "nvme",	  "ssd",      "disk",  "network",
					     "degrading", "stalling", "mixed", "recorded" };

	return kind <= SIM_RECORDED ? names[kind] : "?";
}

/* splitmix64, by Sebastiano Vigna (public domain). */
static uint64_t hash(uint64_t a, uint64_t b)
{
	uint64_t z = a + (b + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

struct sim_disk sim_disk_of(enum sim_disk_kind kind, uint64_t seed, unsigned int i,
			    uint64_t duration_ns)
{
	uint64_t own = hash(seed, i);

	return (struct sim_disk){ .kind = kind,
				  .seed = own,
				  .permille = i ? 500 + hash(own, 1) % 1501 : 1000,
				  .duration_ns = duration_ns };
}

static uint64_t between(uint64_t h, uint64_t lo_us, uint64_t hi_us)
{
	return lo_us * US + h % ((hi_us - lo_us) * US);
}

/* The weather of a disk changes every so often: two syncs begun close together are alike. */
static uint64_t weather(const struct sim_disk *d, uint64_t ns, uint64_t every_ns)
{
	return hash(d->seed, ns / every_ns);
}

static uint64_t nvme_ns(const struct sim_disk *d, uint64_t ns)
{
	uint64_t h = weather(d, ns, MS);

	return h % 500 ? between(h >> 16, 60, 100) : between(h >> 16, 1000, 2000);
}

static uint64_t ssd_ns(const struct sim_disk *d, uint64_t ns)
{
	uint64_t h = weather(d, ns, 2 * MS);

	return h % 100 ? between(h >> 16, 700, 1300) : 8 * MS;
}

static uint64_t disk_ns(const struct sim_disk *d, uint64_t ns)
{
	return between(weather(d, ns, 20 * MS) >> 16, 8000, 16000);
}

/* 3 ms to the other side, and a tail that halves with every 1.5 ms. */
static uint64_t network_ns(const struct sim_disk *d, uint64_t ns)
{
	uint64_t h = weather(d, ns, 10 * MS);
	unsigned int tail = (unsigned int)__builtin_ctzll(h | UINT64_C(1) << 8);

	return (h >> 16) % 50 ? 3 * MS + tail * 1500 * US + (h >> 32) % MS : 40 * MS;
}

/* From 200 us to 100 times that, evenly in octaves. */
static uint64_t degrading_ns(const struct sim_disk *d, uint64_t ns)
{
	uint64_t at = min_u64(ns, d->duration_ns);
	uint64_t octave = (uint64_t)((unsigned __int128)at * 6644 / max_u64(d->duration_ns, 1));
	uint64_t base = (200 * US) << octave / 1000;

	return (base + base * (octave % 1000) / 1000) * (90 + weather(d, ns, 10 * MS) % 21) / 100;
}

/* Half a millisecond; once in two seconds nothing ends for 300 ms. */
static uint64_t stalling_ns(const struct sim_disk *d, uint64_t ns)
{
	uint64_t took = between(weather(d, ns, 2 * MS) >> 16, 400, 600), period = ns / (2 * SEC);
	uint64_t begin = period * 2 * SEC + 500 * MS + hash(d->seed, ~period) % SEC;
	uint64_t end = begin + 300 * MS;

	return ns + took > begin && ns < end ? end - ns + took : took;
}

/* A volume that moves between the four, every half second. */
static uint64_t mixed_ns(const struct sim_disk *d, uint64_t ns)
{
	switch (ns / (500 * MS) % 4) {
	case 0:
		return nvme_ns(d, ns);
	case 1:
		return disk_ns(d, ns);
	case 2:
		return ssd_ns(d, ns);
	default:
		return network_ns(d, ns);
	}
}

/* As long as the last one recorded that began before, or the first. */
static uint64_t recorded_ns(const struct sim_trace *t, uint64_t ns)
{
	size_t lo = 0, hi = t->n_syncs, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (t->syncs[mid].ns <= ns)
			lo = mid;
		else
			hi = mid;
	}
	return t->syncs[lo].took_ns;
}

uint64_t sim_sync_ns(const struct sim_disk *d, uint64_t begin_ns)
{
	uint64_t ns = 0;

	switch (d->kind) {
	case SIM_NVME:
		ns = nvme_ns(d, begin_ns);
		break;
	case SIM_SSD:
		ns = ssd_ns(d, begin_ns);
		break;
	case SIM_DISK:
		ns = disk_ns(d, begin_ns);
		break;
	case SIM_NETWORK:
		ns = network_ns(d, begin_ns);
		break;
	case SIM_DEGRADING:
		ns = degrading_ns(d, begin_ns);
		break;
	case SIM_STALLING:
		ns = stalling_ns(d, begin_ns);
		break;
	case SIM_MIXED:
		ns = mixed_ns(d, begin_ns);
		break;
	case SIM_RECORDED:
		ns = recorded_ns(d->trace, begin_ns);
		break;
	}
	return max_u64((uint64_t)((unsigned __int128)ns * d->permille / 1000), 1);
}

/* ---- the state ---- */

struct state {
	uint64_t now_ns;
	/* the program */
	uint64_t free_ns;  /* when it can make its next append */
	uint64_t tried_ns; /* when it first tried the one that waits */
	bool waits;	   /* an append found no room */
	bool asleep;	   /* and goes on sleeping until free_ns */
	/* the ledger */
	uint64_t admitted, covered, admitted_bytes, covered_bytes;
	uint64_t oldest_ns, refused_ns;
	/* the disk */
	bool syncing;
	uint64_t sync_begin_ns, sync_end_ns, carries, carries_bytes;
	/* the rule */
	struct sg_window_pace pace;
};

struct sim {
	const struct sim_setup *s;
	enum sim_rule rule;
	uint64_t window_records, window_ns;
	struct state at;
	struct sim_result *r; /* NULL: nobody asks */
};

const char *sim_rule_name(enum sim_rule rule)
{
	static const char *const names[] = { "controller", "every record", "half a sync",
					     "every second" };

	return rule < SIM_RULES ? names[rule] : "window";
}

static uint64_t records_at_risk(const struct state *x)
{
	return x->admitted - x->covered;
}

static uint64_t bytes_at_risk(const struct state *x)
{
	return x->admitted_bytes - x->covered_bytes;
}

static struct sg_window_seen seen(struct state *x)
{
	struct sg_window_seen v = { x->now_ns, x->admitted, x->admitted_bytes, x->refused_ns };

	x->refused_ns = 0;
	return v;
}

/* ---- the program ---- */

static uint64_t ready_ns(const struct sim_setup *s, uint64_t i)
{
	const struct sim_trace *t = s->disk.trace;

	if (t)
		return i < t->n_appends ? t->appends[i].ns : NEVER;
	return i * s->gap_ns;
}

/* A record larger than the window has to itself what the window can hold. */
static uint64_t bytes_of(const struct sim_setup *s, uint64_t i)
{
	const struct sim_trace *t = s->disk.trace;

	return min_u64(t ? t->appends[i].bytes : s->record_bytes, s->max_bytes);
}

static uint64_t next_append_ns(const struct sim *m)
{
	return max_u64(m->at.free_ns, ready_ns(m->s, m->at.admitted));
}

static bool has_room(const struct sim *m, uint64_t ns)
{
	const struct state *x = &m->at;

	return !(x->oldest_ns && ns > x->oldest_ns && ns - x->oldest_ns > m->s->max_delay_ns) &&
	       records_at_risk(x) < m->s->max_records &&
	       bytes_at_risk(x) + bytes_of(m->s, x->admitted) <= m->s->max_bytes;
}

static void count_wait(struct sim_result *r, uint64_t waited_ns, uint64_t n)
{
	r->waits[sg_hist_bucket(waited_ns)] += n;
	r->waited_ns += waited_ns * n;
	r->wait_max_ns = max_u64(r->wait_max_ns, waited_ns);
}

/* For so long so many records were at risk. */
static void count_risk(const struct sim *m, uint64_t ns)
{
	const struct state *x = &m->at;
	uint64_t n = records_at_risk(x);

	if (!m->r)
		return;
	m->r->risk_ns[(n * SIM_RISK_BINS + m->s->max_records - 1) / m->s->max_records] += ns;
	m->r->risk_max = max_u64(m->r->risk_max, n);
	m->r->risk_bytes_max = max_u64(m->r->risk_bytes_max, bytes_at_risk(x));
}

static void move_to(struct sim *m, uint64_t ns)
{
	count_risk(m, ns - m->at.now_ns);
	m->at.now_ns = ns;
}

/* One append now. */
static void admit(struct sim *m)
{
	struct state *x = &m->at;
	uint64_t ready = ready_ns(m->s, x->admitted), since = x->now_ns;

	if (x->waits)
		since = x->tried_ns;
	if (m->s->gap_ns || m->s->disk.trace)
		since = min_u64(since, ready);
	if (m->r && m->rule != SIM_EACH)
		count_wait(m->r, x->now_ns - since, 1);
	if (!x->oldest_ns)
		x->oldest_ns = x->now_ns;
	x->admitted_bytes += bytes_of(m->s, x->admitted);
	x->admitted++;
	x->waits = x->asleep = false;
	x->free_ns = x->now_ns + m->s->append_ns;
}

/* As many more as come at the same distance, before until_ns and before a mark or bound is reached. */
static void admit_run(struct sim *m, uint64_t until_ns, uint64_t records_mark, uint64_t bytes_mark)
{
	const struct sim_setup *s = m->s;
	struct state *x = &m->at;
	uint64_t step = max_u64(s->gap_ns, s->append_ns), first = next_append_ns(m), n, i;
	uint64_t bytes, left;

	/* Behind its time it goes faster, and in a trace nothing is regular: one by one. */
	if (s->disk.trace || (s->gap_ns && ready_ns(s, x->admitted) < x->free_ns) || !step)
		return;
	bytes = bytes_of(s, x->admitted);
	if (x->oldest_ns)
		until_ns = min_u64(until_ns, x->oldest_ns + s->max_delay_ns);
	if (first >= until_ns)
		return;
	n = (until_ns - first + step - 1) / step;
	left = min_u64(records_mark, s->max_records);
	n = min_u64(n, left > records_at_risk(x) ? left - records_at_risk(x) : 0);
	left = min_u64(bytes_mark, s->max_bytes);
	left = left > bytes_at_risk(x) ? left - bytes_at_risk(x) : 0;
	n = min_u64(n, left / max_u64(bytes, 1));
	if (!n)
		return;
	if (m->r) {
		move_to(m, first);
		for (i = 0; i < n; i++) {
			x->admitted++;
			x->admitted_bytes += bytes;
			count_risk(m, i + 1 < n ? step : 0);
		}
		count_wait(m->r, 0, n);
	} else {
		x->admitted += n;
		x->admitted_bytes += n * bytes;
	}
	x->now_ns = first + (n - 1) * step;
	x->free_ns = x->now_ns + s->append_ns;
}

/* ---- the rule ---- */

static struct sg_window_flush_out decide(struct sim *m)
{
	const struct sim_setup *s = m->s;
	struct state *x = &m->at;
	struct sg_window_flush_in in = { .now_ns = x->now_ns,
					 .oldest_at_risk_ns = x->oldest_ns,
					 .records_at_risk = records_at_risk(x),
					 .bytes_at_risk = bytes_at_risk(x),
					 .max_delay_ns = s->max_delay_ns,
					 .max_records = s->max_records,
					 .max_bytes = s->max_bytes,
					 .sync_in_flight = x->syncing,
					 .waiters = x->waits,
					 .fixed = true };

	if (in.sync_in_flight)
		in.in_flight_since_ns = x->sync_begin_ns;
	if (m->rule == SIM_CONTROLLER) {
		in.fixed = false;
		return sg_window_decide(&x->pace, in);
	}
	/* Whom the last sync lets in goes on by himself: he waits for no other. */
	in.waiters = x->waits && !x->asleep;
	in.max_records = min_u64(m->window_records, s->max_records);
	in.max_delay_ns = min_u64(m->window_ns, s->max_delay_ns);
	return sg_window_flush(&in);
}

static void sync_begins(struct sim *m)
{
	struct state *x = &m->at;
	struct sg_window_seen v;

	if (m->rule == SIM_CONTROLLER) {
		v = seen(x);
		sg_window_pace_begin(&x->pace, &v);
	}
	if (m->r)
		m->r->age_max_ns = max_u64(m->r->age_max_ns, x->now_ns - x->oldest_ns);
	x->syncing = true;
	x->sync_begin_ns = x->now_ns;
	x->sync_end_ns = x->now_ns + sim_sync_ns(&m->s->disk, x->now_ns);
	x->carries = x->admitted;
	x->carries_bytes = x->admitted_bytes;
}

static void sync_ends(struct sim *m)
{
	struct state *x = &m->at;
	struct sg_window_seen v;

	if (m->rule == SIM_CONTROLLER) {
		v = seen(x);
		sg_window_pace_end(&x->pace, &v, x->now_ns - x->sync_begin_ns, x->waits);
	}
	if (m->r) {
		m->r->syncs++;
		m->r->sync_ns += x->now_ns - x->sync_begin_ns;
	}
	x->syncing = false;
	x->covered = x->carries;
	x->covered_bytes = x->carries_bytes;
	x->oldest_ns = records_at_risk(x) ? x->sync_begin_ns : 0;
	if (x->waits) {
		x->asleep = true;
		x->free_ns = x->now_ns + WAKE_NS;
	}
}

/* ---- events ---- */

/* The program's next append, at its time: it gets in, with those right behind it, or begins to wait. */
static void append_event(struct sim *m, uint64_t ns, uint64_t until_ns,
			 const struct sg_window_flush_out *out)
{
	struct state *x = &m->at;
	uint64_t records = out->what == SG_FLUSH_WAIT ? out->records_mark : NEVER;
	uint64_t bytes = out->what == SG_FLUSH_WAIT ? out->bytes_mark : NEVER;

	move_to(m, ns);
	if (has_room(m, ns)) {
		admit(m);
		/* The first at risk has the rule asked anew. */
		if (out->what != SG_FLUSH_IDLE)
			admit_run(m, until_ns, records, bytes);
		return;
	}
	if (!x->waits)
		x->tried_ns = ns;
	if (!x->refused_ns)
		x->refused_ns = ns;
	x->waits = true;
	x->asleep = false;
	x->free_ns = NEVER; /* until a sync ends */
}

/* Without a window: append, sync, and only then the next. */
static void step_each(struct sim *m, uint64_t end_ns)
{
	struct state *x = &m->at;
	uint64_t ns = next_append_ns(m), since;

	if (ns >= end_ns) {
		move_to(m, end_ns);
		return;
	}
	since = m->s->gap_ns || m->s->disk.trace ? ready_ns(m->s, x->admitted) : ns;
	move_to(m, ns);
	admit(m);
	count_risk(m, 0);
	sync_begins(m);
	move_to(m, min_u64(x->sync_end_ns, end_ns));
	if (x->now_ns < x->sync_end_ns)
		return;
	sync_ends(m);
	if (m->r)
		count_wait(m->r, x->now_ns - since, 1);
	x->free_ns = x->now_ns + m->s->append_ns;
}

static void step(struct sim *m, uint64_t end_ns)
{
	struct state *x = &m->at;
	struct sg_window_flush_out out;
	uint64_t append_ns, until_ns;

	out = decide(m);
	if (out.what == SG_FLUSH_NOW) {
		sync_begins(m);
		return;
	}
	until_ns = min_u64(x->syncing ? x->sync_end_ns : NEVER,
			   out.what == SG_FLUSH_WAIT ? out.until_ns : NEVER);
	append_ns = next_append_ns(m);
	until_ns = min_u64(until_ns, end_ns);
	if (append_ns < until_ns) {
		append_event(m, append_ns, until_ns, &out);
		return;
	}
	move_to(m, until_ns);
	if (x->syncing && x->sync_end_ns == until_ns)
		sync_ends(m);
}

/* At 0 nothing could be at risk: that time means none. */
static void begin(struct state *x)
{
	x->now_ns = x->free_ns = 1;
}

static void run_until(struct sim *m, uint64_t end_ns)
{
	while (m->at.now_ns < end_ns)
		if (m->rule == SIM_EACH)
			step_each(m, end_ns);
		else
			step(m, end_ns);
}

/* What somebody would measure who sets it up: ten syncs in a row. */
static uint64_t fresh_sync_ns(const struct sim_disk *d)
{
	uint64_t at = 0, i;

	for (i = 0; i < 10; i++)
		at += sim_sync_ns(d, at);
	return at / 10;
}

void sim_run(const struct sim_setup *s, enum sim_rule rule, uint64_t window_records,
	     uint64_t window_ns, struct sim_result *r)
{
	struct sim m = { .s = s,
			 .rule = rule,
			 .window_records = window_records,
			 .window_ns = window_ns,
			 .r = r };

	if (rule != SIM_WINDOW) {
		m.window_records = s->max_records;
		m.window_ns = rule == SIM_HALF ? fresh_sync_ns(&s->disk) / 2 : SEC;
	}
	begin(&m.at);
	run_until(&m, s->duration_ns);
	r->duration_ns += s->duration_ns;
	r->records += m.at.admitted;
	r->max_records = s->max_records;
}

uint64_t sim_risk_quantile(const struct sim_result *r, uint32_t ppm)
{
	uint64_t total = 0, before = 0;
	unsigned int i;

	for (i = 0; i <= SIM_RISK_BINS; i++)
		total += r->risk_ns[i];
	for (i = 0; i < SIM_RISK_BINS; i++) {
		before += r->risk_ns[i];
		if (before >= (uint64_t)((unsigned __int128)total * ppm / 1000000))
			break;
	}
	return min_u64(i * r->max_records / SIM_RISK_BINS, r->risk_max);
}

/* ---- the offline best ---- */

#define SLICE_NS (50 * MS)
#define KEPT	 4
#define RECORDS	 9
#define DELAYS	 4
#define WINDOWS	 (RECORDS * DELAYS)

static void use_window(struct sim *m, unsigned int i)
{
	static const unsigned int parts[RECORDS] = { 1, 2, 4, 6, 8, 10, 12, 14, 16 }; /* of 16 */

	m->window_records = max_u64(m->s->max_records * parts[i / DELAYS] / 16, 1);
	m->window_ns = max_u64(m->s->max_delay_ns * (i % DELAYS + 1) / DELAYS, 1);
}

/* Who has synced what has got in is ahead of one who has yet to. */
static uint64_t worth(const struct state *x)
{
	return x->covered + x->admitted;
}

/* Put x among the best, if it is one of them and none is the same. */
static unsigned int put(struct state *best, unsigned int n, const struct state *x)
{
	unsigned int i, at = n;

	for (i = 0; i < n; i++)
		if (!memcmp(&best[i], x, sizeof(*x)))
			return n;
	while (at && worth(&best[at - 1]) < worth(x))
		at--;
	if (at == KEPT)
		return n;
	n = n < KEPT ? n + 1 : n;
	memmove(&best[at + 1], &best[at], (n - at - 1) * sizeof(*x));
	best[at] = *x;
	return n;
}

static uint64_t best_fixed(const struct sim_setup *s)
{
	uint64_t most = 0;
	unsigned int i;

	for (i = 0; i < WINDOWS; i++) {
		struct sim m = { .s = s, .rule = SIM_WINDOW };

		use_window(&m, i);
		begin(&m.at);
		run_until(&m, s->duration_ns);
		most = max_u64(most, m.at.admitted);
	}
	return most;
}

uint64_t sim_best(const struct sim_setup *s)
{
	struct state *best = calloc(2 * KEPT, sizeof(*best)), *next;
	unsigned int n = 1, more, i, j;
	uint64_t ns, most;

	if (!best)
		return 0;
	next = best + KEPT;
	begin(best);
	for (ns = 0; ns < s->duration_ns; n = more) {
		ns = min_u64(ns + SLICE_NS, s->duration_ns);
		for (i = more = 0; i < n; i++) {
			for (j = 0; j < WINDOWS; j++) {
				struct sim m = { .s = s, .rule = SIM_WINDOW };

				memcpy(&m.at, &best[i], sizeof(m.at));
				use_window(&m, j);
				run_until(&m, ns);
				more = put(next, more, &m.at);
			}
		}
		memcpy(best, next, more * sizeof(*best));
	}
	for (i = 0, most = best_fixed(s); i < n; i++)
		most = max_u64(most, best[i].admitted);
	free(best);
	return most;
}
