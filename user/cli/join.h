/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * One row per file, made from all who saw it: the shim (sessions), the broker (its session and its
 * ledgers) and the kernel (the observer). Works with any of them missing. Prints nothing, asks nothing:
 * the sources and the time are given.
 *
 * A file is (device, inode, generation). Where one source has no generation (0: the file system does not
 * tell, or the tier cannot see it) device and inode decide.
 */
#ifndef SG_CLI_JOIN_H
#define SG_CLI_JOIN_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/kernel.h"
#include "guard/ledger.h"
#include "guard/session.h"

enum join_seen { JOIN_SHIM = 1, JOIN_BROKER = 2, JOIN_KERNEL = 4 };

struct join_row {
	struct sg_file_id id;
	uint32_t seen;		  /* enum join_seen */
	char path[SG_PATH_BYTES]; /* "" when nobody knows */
	bool path_cut, other;	  /* other: not one file, see kernel.h */
	bool directory, open;
	uint32_t sessions; /* that have it in a slot */
	uint32_t flags;	   /* enum sg_file_flag, of everybody */
	bool has_mode;
	uint32_t mode, wanted; /* enum sg_mode: in force, asked for */
	uint32_t verdict;      /* enum sg_verdict */
	uint64_t stall_ns;     /* threshold, 0 unknown */

	uint64_t shim[SG_C_MAX]; /* counters; the …MAX_NS ones are the greatest, the others sums */
	uint64_t broker[SG_C_MAX];
	uint64_t write_hist[SG_HIST_BUCKETS], call_hist[SG_HIST_BUCKETS];
	uint64_t sync_hist[SG_HIST_BUCKETS]; /* kernel syncs of shim and broker */

	/* At risk: from the ledger, which is exact; else what the kernel saw. */
	bool has_ledger, has_at_risk, at_risk_unknown;
	uint64_t at_risk_records, at_risk_bytes, at_risk_age_ns;
	uint64_t max_records, max_bytes, max_delay_ns;
	uint64_t peak_records, peak_bytes, peak_age_ns;
	uint64_t lost_records, lost_bytes;

	uint32_t poison_errno; /* 0: clean */
	uint64_t poison_wall_ns;
	uint32_t poison_pid, poison_op;

	/* In flight: the oldest that anybody sees. */
	uint64_t in_flight_ns;
	uint32_t in_flight_op; /* enum sg_op, UINT32_MAX when only the kernel sees it */
	uint32_t in_flight_pid;

	const struct kernel_file *kernel; /* or NULL */
	bool unseen_known; /* false: the kernel was not watched for as long as the shim was there */
	int64_t unseen;	   /* kernel syncs that neither shim nor broker issued */
};

struct join_flight { /* one operation under way */
	uint32_t pid, tid;
	uint32_t op; /* enum sg_op */
	uint64_t age_ns, bytes, stall_ns;
	char path[SG_PATH_BYTES];
	bool broker;
};

struct join {
	struct join_row *rows;
	unsigned int n, room;
	struct join_flight *flights;
	unsigned int n_flights, room_flights;
	uint64_t now_ns;
	uint64_t guarded_since_ns; /* start of the earliest session, 0: none */
	const struct kernel_view *kernel;
	bool closed; /* no new rows */
	bool out_of_memory;
};

void join_init(struct join *j, uint64_t now_ns);
/* A guarded process. `mem` has passed sg_session_check; it may go on changing. */
void join_add_session(struct join *j, const struct sg_session *mem, bool ended);
/* A broker: slot i of its session is ledger i. Either may be NULL. */
void join_add_broker(struct join *j, const struct sg_session *mem,
		     const struct sg_registry *registry);
/* The same, of files only that are there already: to show one session. */
void join_add_ledgers_of(struct join *j, const struct sg_session *mem,
			 const struct sg_registry *registry);
/* The kernel's view, which must outlive the join. NULL: no observer runs. */
void join_add_kernel(struct join *j, const struct kernel_view *v);
/* After the last source: computes what needs all of them and sorts the rows (worst first: poisoned,
 * stalled, then by number of syncs and appends). Returns 0 or -ENOMEM. */
int join_finish(struct join *j);
void join_free(struct join *j);

/* Sync calls and latencies over all sources, for a table: the kernel's where nobody else saw the file. */
uint64_t join_appends(const struct join_row *r);
uint64_t join_append_bytes(const struct join_row *r);
uint64_t join_kernel_syncs(const struct join_row *r);
const uint64_t *join_sync_hist(const struct join_row *r, uint64_t *max_ns);
const uint64_t *join_write_hist(const struct join_row *r, uint64_t *max_ns);
uint64_t join_errors(const struct join_row *r);
uint64_t join_stalls(const struct join_row *r);

/* Why the mode in force is not the one asked for, for people: writes "" when it is. Returns buf. */
const char *join_why(const struct join_row *r, char *buf, size_t size);

#endif
