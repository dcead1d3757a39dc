/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The window controller: when to sync, and with whom. Pure: the time, the disk and the callers are
 * arguments, so a simulator can drive it over any disk. Three questions:
 *
 *   how long may the leader of a group wait for company?     sg_window_group_wait_ns()
 *   does grouping pay on this file system at all?            sg_window_group_choose(), _done()
 *   when must the background sync of a window begin?         sg_window_flush()
 *
 * All times are ns of one monotonic clock. Nothing allocates; everything is async-signal-safe.
 */
#ifndef SG_GUARD_WINDOW_H
#define SG_GUARD_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* jbd2's smoothing: t <- (sample + 3 t) / 4; the first sample (t == 0) is taken as it is. Pure. */
uint64_t sg_window_smooth_ns(uint64_t t_ns, uint64_t sample_ns);

/* ---- groups ---- */

enum sg_window_choice {
	SG_GROUP, /* share one sync; 0, so that zeroed memory is a valid start */
	SG_BARE,  /* every caller syncs by itself; the file system groups better alone */
};

enum sg_window_phase {
	SG_WINDOW_LONE, /* no company: nothing to choose (callers group, which costs a lone one nothing) */
	SG_WINDOW_TRIAL,   /* the two sides are measured in turn */
	SG_WINDOW_EXPLOIT, /* the better one runs */
};

/* What one side of the choice was seen to do. */
struct sg_window_side {
	uint64_t t_ns;	      /* smoothed sync time on this side, relaxed atomic */
	uint64_t rate;	      /* calls per 1000 s: the better measurement of the trial under way */
	uint64_t best_rate;   /* the same without the longest gap of each measurement */
	uint64_t ref_t_ns;    /* mean sync time when last measured in a trial */
	uint64_t ref_callers; /* mean concurrent callers then, × 16 */
};

/*
 * State of one file. All zero is a valid start. Only sg_window_group_done() writes it, and its
 * callers must be serialised (a try-lock will do: a call left out loses nothing, since the counts
 * are cumulative). `choice` alone may be read without the lock.
 */
struct sg_window_group {
	uint32_t choice;  /* enum sg_window_choice, relaxed atomic */
	uint32_t verdict; /* the side that won the last trial; SG_GROUP before any */
	uint32_t phase;	  /* enum sg_window_phase */
	uint32_t decided; /* a trial has ended with a verdict */
	uint32_t round;	  /* of the trial: 0 and 2 measure the verdict's side, 1 and 3 the other */
	uint32_t factor;  /* exploit this many times what the last trial cost */
	uint32_t changed; /* measurements in a row that look like another regime */
	uint32_t windows; /* measurements since the verdict */
	uint64_t exploited_ns;	  /* time measured on the verdict's side since the verdict */
	uint64_t cost_ns;	  /* time that the last trial spent on the side that lost */
	uint64_t side_ns[2];	  /* time of the trial under way spent on each side */
	uint64_t switched_ns;	  /* when the choice last changed */
	uint64_t settle_until_ns; /* syncs begun under the other choice still end until then */
	uint64_t begin_ns;	  /* of the measurement under way; 0: with the next sync to end */
	uint64_t calls_at_begin;
	uint64_t last_end_ns;	 /* of a sync of this measurement */
	uint64_t longest_gap_ns; /* from one such end to the next */
	uint64_t sum_sync_ns;	 /* over the syncs of this measurement */
	uint64_t sum_callers;
	uint64_t syncs;
	struct sg_window_side side[2];
	uint32_t shared; /* set by the owner: callers share one description, so they always group */
	uint32_t pad;
};

/* Begin afresh (the same as zeroing). */
void sg_window_group_init(struct sg_window_group *g);

/*
 * What a caller that enters a sync now shall do. One relaxed load: any thread, any time, no lock.
 */
enum sg_window_choice sg_window_group_choose(const struct sg_window_group *g);

/*
 * How long the leader of a group may wait for company before its sync, ns: clamp(t / 2, 0,
 * max_wait_ns), but 0 unless at least two callers arrived during the last sync (PostgreSQL's
 * commit_delay and commit_siblings; t as in jbd2). The leader ends the wait as soon as as many as
 * came last time are there. Reads only side[SG_GROUP].t_ns (relaxed): needs no lock.
 */
uint64_t sg_window_group_wait_ns(const struct sg_window_group *g,
				 unsigned int callers_during_last_sync, uint64_t max_wait_ns);

/*
 * A kernel sync of this file ended.
 *
 * now_ns: when it ended. calls_total: how many guarded sync calls on this file have completed since
 * the start, in either way, this one's included (cumulative, so that a caller who finds the lock
 * taken may just leave). sync_ns: how long the kernel sync took. concurrent_callers: threads inside
 * a sync call of this file when it ended, the caller included.
 *
 * Alternates measurements of both sides, by completed calls per second over at least 20 ms, 8
 * smoothed sync times and 8 syncs, and runs the better one: grouping if it is 15 % better (7 % to be
 * kept), since what no measurement can tell apart is best left as it is. A change of sides needs two
 * pairs of measurements, of which the better of each side counts, so that one stall decides
 * nothing; of the first trial one pair, if it is plain even so. The other side is tried again after 16, 32, 64 and then every 128 times what the trial
 * cost, so a steady load loses less than 1 % to trials; and soon when the mean sync time or the
 * number of callers changes by more than 2 ×. A lone caller never enters it.
 *
 * If `shared`, only the smoothed time is kept and the choice stays SG_GROUP: of two syncs at once on one open
 * file description only one is told of an error, so the other's success would be false.
 */
void sg_window_group_done(struct sg_window_group *g, uint64_t now_ns, uint64_t calls_total,
			  uint64_t sync_ns, unsigned int concurrent_callers);

/* ---- flushing ---- */

/*
 * What the controller remembers of one file's disk and load. Pure data, all zero is a valid start; it may lie in
 * shared memory, and whatever stands there does no harm beyond a bad guess inside the bounds. One writer at a time.
 */
#define SG_WINDOW_RECENT 8

struct sg_window_pace {
	uint64_t recent_ns[SG_WINDOW_RECENT];	       /* the last sync times, a ring */
	uint64_t syncs;				       /* so many have ended */
	uint64_t t_ns;				       /* typical sync time; 0: none yet */
	uint64_t high_ns;			       /* a high quantile of the recent ones */
	uint64_t records_per_s, bytes_per_s;	       /* offered while there is room; 0: unknown */
	uint64_t since_ns, since_records, since_bytes; /* where the count of arrivals begins */
	uint64_t last_begin_ns, last_end_ns;
	uint32_t company; /* callers that waited when the last sync ended */
	uint32_t late;	  /* the last answer was: the disk is too slow to begin early */
};

/* The counts of a file at now_ns. */
struct sg_window_seen {
	uint64_t now_ns;
	uint64_t records, bytes; /* admitted since the start, cumulative */
	uint64_t refused_ns; /* when an append first found no room, since last asked; 0: none did */
};

/* A sync begins. Call it right before. */
void sg_window_pace_begin(struct sg_window_pace *p, const struct sg_window_seen *seen);

/*
 * A sync that took sync_ns has ended, with `waiters` callers waiting now (those it served included, as far as they have
 * not woken up yet).
 *
 * t: jbd2's smoothing, but when the median of the last three and the last sync agree that it is off by more than 2 ×,
 * it becomes that median: two slow syncs, or two fast ones, are enough, and one outlier is forgotten with the next.
 * high: the second longest of the last eight (the longest of fewer than four), so one outlier is none.
 */
void sg_window_pace_end(struct sg_window_pace *p, const struct sg_window_seen *seen,
			uint64_t sync_ns, unsigned int waiters);

enum sg_flush {
	SG_FLUSH_IDLE, /* nothing is at risk: ask again after an append */
	SG_FLUSH_WAIT, /* ask again at until_ns, or when a mark is passed, or when somebody waits */
	SG_FLUSH_NOW,  /* begin a sync */
	SG_FLUSH_HOLD, /* a sync is in flight, a second one gains nothing: ask again when it ends */
};

struct sg_window_flush_in {
	uint64_t now_ns;
	uint64_t oldest_at_risk_ns; /* when the oldest append at risk was made; 0: none is */
	uint64_t records_at_risk;
	uint64_t bytes_at_risk;
	uint64_t max_delay_ns; /* the policy's bounds; a bound of 0 leaves no room: sync now */
	uint64_t max_records;
	uint64_t max_bytes;
	uint64_t sync_ns_smoothed; /* typical time of this file's syncs; 0: none yet */
	uint64_t sync_ns_high;	   /* a high quantile of it; 0: unknown, then 3 × the typical */
	uint64_t device_ns;	   /* what syncs of others take on its device now; 0: unknown */
	uint64_t
		in_flight_since_ns; /* when a sync began on its device that has not ended; 0: none */
	uint64_t last_begin_ns;	    /* when the last background sync began; 0: none yet */
	uint64_t last_end_ns;	    /* when it ended; 0: none yet */
	uint64_t records_per_s;	    /* arrival; 0: unknown, then judged from what is at risk */
	uint64_t bytes_per_s;
	unsigned int waiters; /* callers blocked until something is durable (drain, full window) */
	unsigned int company; /* how many they were when the last sync ended */
	unsigned int share_permille; /* target for the share of time in sync; 0: SG_WINDOW_SHARE */
	bool sync_in_flight;
	bool late;  /* the last answer's */
	bool fixed; /* the bounds are a program's own, exact: nothing begins before one is reached */
};

#define SG_WINDOW_SHARE 250 /* permille */

struct sg_window_flush_out {
	enum sg_flush what;
	uint64_t until_ns; /* SG_FLUSH_WAIT: now_ns < until_ns <= oldest + max_delay; else 0 */
	uint64_t
		records_mark; /* SG_FLUSH_WAIT: ask again as soon as this much is at risk; else 0 */
	uint64_t bytes_mark;
	bool late; /* the disk is too slow to begin early; give it back with the next question */
};

/*
 * When must the background sync begin? No append is admitted once the oldest at risk (one whose
 * sync is in flight included) is older than max_delay, and none while records or bytes are at their bounds.
 *
 * While the disk is fast enough, a sync must END before that, and appends go on meanwhile: it begins at
 * oldest + max_delay - lead, with lead = clamp(1.5 × high, max_delay / 8, max_delay / 2) (3 t if high is unknown), not
 * earlier, since each sync costs the same however much it carries. It begins sooner
 *  - when a caller is blocked (see below);
 *  - when records or bytes pass the hard mark, where by the arrival rate the rest would fill up
 *    during the sync (at least half and at most 7/8 of the bound);
 *  - when they pass the soft mark, one half, if the share of time in sync stays under its target.
 *
 * When the disk is so slow that a window fills up during one sync (arrival × t >= the bound; or t >= 5/8 of max_delay),
 * half a window at a time is half the throughput, however early it begins: then it begins late, when a bound is
 * reached or a caller is blocked, and carries all there is room for. It returns from there below 4/5 (and 1/2).
 * docs/window.md has the arithmetic.
 *
 * t and high count no less than device_ns and than the age of the sync in flight: that one has not ended is evidence.
 *
 * A blocked caller begins a sync at once; but those whom the last sync served need a moment to wake up, so when late or
 * in company waiters are heeded only min(t / 8, 200 us) after its end; and where at least two waited then, and less
 * than half of the window is at risk, the sync waits for as many again, for min(t / 2, 10 ms) at most.
 *
 * If `fixed`, it begins when a bound is reached, when max_delay has passed, or when a caller is blocked, and
 * not before: the marks are the bounds.
 *
 * Something at risk never gives SG_FLUSH_IDLE. Pure.
 */
struct sg_window_flush_out sg_window_flush(const struct sg_window_flush_in *in);

/* The same with what *p remembers: fills in sync times, arrival, company, the last sync and `late`, and keeps the
 * answer's `late`. */
struct sg_window_flush_out sg_window_decide(struct sg_window_pace *p, struct sg_window_flush_in in);

#endif
