/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A model of one file: a program that appends, a window, a disk; in discrete events, without clock, randomness or I/O.
 * The rule that decides when a sync begins is the guard's own code (guard/window.h), so what is seen here is what it
 * does. docs/window.md says what the model leaves out.
 */
#ifndef SG_CLI_SIMULATE_H
#define SG_CLI_SIMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guard/hist.h"
#include "guard/window.h"

/* ---- a recorded trace ---- */

#define SIM_TRACE_EVENTS 1000000 /* most events */
#define SIM_TRACE_LINE	 128	 /* longest line, bytes */

struct sim_trace {
	struct sim_append {
		uint64_t ns, bytes;
	} * appends; /* ns from the first event of the trace */
	struct sim_sync {
		uint64_t ns, took_ns;
	} * syncs;
	size_t n_appends, n_syncs;
	uint64_t duration_ns;
};

/*
 * Parses text[0..len): one event per line, "ns,operation,bytes,duration", ascending in ns; operation is append, fsync
 * or fdatasync. Empty lines and lines that begin with '#' are passed over.
 *
 * Returns 0; -EINVAL (why[0..size) tells what, *line where; 0: the whole text), -ENOMEM. Free with sim_trace_free().
 */
int sim_trace_parse(struct sim_trace *t, const char *text, size_t len, unsigned int *line,
		    char *why, size_t size);
void sim_trace_free(struct sim_trace *t);

/* ---- disks ---- */

enum sim_disk_kind {
	SIM_NVME,
	SIM_SSD,
	SIM_DISK,
	SIM_NETWORK,
	SIM_DEGRADING,
	SIM_STALLING,
	SIM_MIXED,
	SIM_DISKS, /* so many synthetic ones */
	SIM_RECORDED = SIM_DISKS,
};

struct sim_disk {
	enum sim_disk_kind kind;
	uint64_t seed;
	uint64_t permille;    /* how long its syncs take, against its kind's: 1000 */
	uint64_t duration_ns; /* of the whole run: how fast a degrading one degrades */
	const struct sim_trace *trace;
};

const char *sim_disk_name(enum sim_disk_kind kind);

/* The disk of file `i` of a fleet: the first is its kind's own, others take half to twice as long. */
struct sim_disk sim_disk_of(enum sim_disk_kind kind, uint64_t seed, unsigned int i,
			    uint64_t duration_ns);

/* How long a sync takes that begins at begin_ns. Pure: the same for every rule that is compared. */
uint64_t sim_sync_ns(const struct sim_disk *d, uint64_t begin_ns);

/* ---- rules ---- */

enum sim_rule {
	SIM_CONTROLLER, /* guard/window.h */
	SIM_EACH,	/* each record is synced before the next: no window */
	SIM_HALF,   /* PostgreSQL's rule as a window: half a sync, as measured on the fresh disk */
	SIM_SECOND, /* Redis' rule: a second */
	SIM_WINDOW, /* any other fixed window */
	SIM_RULES = SIM_WINDOW,
};

const char *sim_rule_name(enum sim_rule rule);

struct sim_setup {
	struct sim_disk disk;
	uint64_t duration_ns;
	uint64_t max_records, max_bytes, max_delay_ns; /* the bounds, which hold for every rule */
	uint64_t append_ns;			       /* what one append takes by itself */
	uint64_t gap_ns;       /* from record to record; 0: as fast as appends go */
	uint64_t record_bytes; /* unless there is a trace */
};

/* ---- results ---- */

#define SIM_RISK_BINS 128

struct sim_result {
	uint64_t duration_ns; /* of all files together */
	uint64_t records;     /* that got in; at the end at most the bound of them is at risk */
	uint64_t syncs, sync_ns;
	uint64_t waited_ns;		 /* by all appends together */
	uint64_t waits[SG_HIST_BUCKETS]; /* how long each append was held up */
	uint64_t wait_max_ns;
	uint64_t risk_ns[SIM_RISK_BINS +
			 1]; /* time with so many records at risk, in parts of the bound */
	uint64_t risk_max, risk_bytes_max, age_max_ns;
	uint64_t max_records; /* the bound */
};

/* Run one rule. window_records and window_ns are SIM_WINDOW's. Adds to *r, so that a fleet is a sum. */
void sim_run(const struct sim_setup *s, enum sim_rule rule, uint64_t window_records,
	     uint64_t window_ns, struct sim_result *r);

/*
 * The offline best: the most records that were found to get in within the same bounds by somebody who knows the
 * disk's future. Every 50 ms one of 36 fixed windows is chosen anew; a search tries all of them on what really
 * comes, and goes on from the four best states. It is never below the best fixed window of the 36. Returns records,
 * or 0 when out of memory.
 */
uint64_t sim_best(const struct sim_setup *s);

/* Records at risk, below which it was for ppm of the time; never more than were. */
uint64_t sim_risk_quantile(const struct sim_result *r, uint32_t ppm);

#endif
