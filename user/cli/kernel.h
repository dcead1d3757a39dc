/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What the observer saw, in plain structs with names of their own: bpf/observe_abi.h and guard/session.h
 * both speak of operations and files and cannot be read side by side, so kernel.c reads only the former
 * and everything else in the command only this.
 *
 * Devices are in the form of st_dev here, times in ns of CLOCK_MONOTONIC.
 */
#ifndef SG_CLI_KERNEL_H
#define SG_CLI_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guard/hist.h"

enum kernel_op {
	KERNEL_WRITE,
	KERNEL_FSYNC,
	KERNEL_FDATASYNC,
	KERNEL_DSYNC_WRITE, /* nested in a write with O_SYNC or O_DSYNC */
	KERNEL_MSYNC,
	KERNEL_SYNC_FILE_RANGE, /* no durability */
	KERNEL_OTHER,
	KERNEL_OPS
};

enum kernel_route {
	KERNEL_BY_SYSCALL,
	KERNEL_BY_OSYNC,
	KERNEL_BY_MSYNC,
	KERNEL_BY_IO_URING,
	KERNEL_BY_AIO,
	KERNEL_BY_OTHER,
	KERNEL_ROUTES
};

struct kernel_stat {
	uint64_t count, errors, untimed, bytes, total_ns, max_ns;
	uint64_t hist[SG_HIST_BUCKETS];
};

struct kernel_file {
	uint64_t dev, ino;
	uint32_t gen;
	bool other; /* not one file: what found no room in a map */
	bool directory;
	const char *path; /* NULL: unknown */
	bool path_whole;  /* from / on */
	bool unlinked;
	const char *comm;		    /* last writer, or NULL */
	uint32_t pid, first_pid;	    /* last and first to write or sync it */
	const struct kernel_stat *op;	    /* KERNEL_OPS of them */
	const struct kernel_stat *sync;	    /* all that are real syncs, merged */
	uint64_t sync_route[KERNEL_ROUTES]; /* real syncs by route */
	uint64_t syncs, sync_errors;	    /* their sum */
	bool at_risk_unknown; /* written by a route that does not tell how much: never to be shown as 0 */
	uint64_t at_risk_bytes;
	uint64_t peak_records, peak_bytes;	  /* most at risk ever, in write calls and bytes */
	uint64_t oldest_write_ns, oldest_sync_ns; /* age of what is in flight, 0: nothing */
	int last_errno;
	uint64_t last_error_ns;
	uint64_t wb_recorded, wb_reported; /* writeback errors */
	bool wb_unreported;
	int wb_errno;
	const char *wb_reported_comm; /* who was told, NULL when unknown */
	uint32_t wb_reported_pid, wb_writer_pid;
};

enum kernel_dev_op {
	KERNEL_DEV_READ,
	KERNEL_DEV_WRITE,
	KERNEL_DEV_FLUSH,
	KERNEL_DEV_DISCARD,
	KERNEL_DEV_OTHER,
	KERNEL_DEV_OPS
};

struct kernel_device {
	uint64_t dev;
	char name[32];
	const struct kernel_stat *op; /* KERNEL_DEV_OPS of them */
	uint64_t oldest_ns;	      /* age of the oldest request in flight, 0: none */
	unsigned int inflight;
};

struct kernel_inflight {
	uint64_t dev, ino;
	uint32_t gen;
	enum kernel_op op;
	enum kernel_route route;
	uint64_t start_ns, bytes;
	uint32_t pid, tid;
	char comm[17];
};

struct kernel_drop {
	const char *what;
	uint64_t count;
};

/* One look at everything; all pointers live until kernel_free. */
struct kernel_view {
	char tier[24]; /* "fentry", …; "" when nothing runs */
	char blind
		[2048]; /* routes that this tier cannot see: one sentence per line, "" when none */
	uint32_t owner_pid;
	uint64_t started_ns, now_ns;
	struct kernel_file *files;
	unsigned int n_files;
	struct kernel_device *devices;
	unsigned int n_devices;
	struct kernel_inflight *inflight;
	unsigned int n_inflight;
	struct kernel_drop *drops; /* only those that are not 0 */
	unsigned int n_drops;
	void *priv;
};

const char *kernel_op_name(enum kernel_op op);
const char *kernel_route_name(enum kernel_route route);
const char *kernel_dev_op_name(enum kernel_dev_op op);
static inline bool kernel_op_is_sync(enum kernel_op op)
{
	return op >= KERNEL_FSYNC && op <= KERNEL_MSYNC;
}

/* Read the maps that a running observer pinned. 0, or -errno: -ENOENT none runs, -EPERM, -EPROTO. */
int kernel_open(struct kernel_view **out);
void kernel_free(struct kernel_view *v);

/* An observer of our own, or one in use that is shared. */
struct kernel_observer;
struct kernel_filter {
	const uint32_t *pids;
	unsigned int n_pids;
	const char *tier; /* NULL: the best */
};
/* 0 or -errno; `why` then tells a person. A filter cannot be shared: it gets an observer without pins. */
int kernel_start(const struct kernel_filter *filter, struct kernel_observer **out, char *why,
		 size_t size);
int kernel_snapshot(struct kernel_observer *o, struct kernel_view **out);
/* The last one out ends it. */
void kernel_stop(struct kernel_observer *o);
bool kernel_is_tier(const char *name);

struct kernel_tier {
	const char *name;
	bool works;
	char why[512]; /* what attaching said when it does not */
};
#define KERNEL_TIERS 4
/* Try every tier by loading and attaching. 0 or -errno when not even that could be tried. */
int kernel_probe(struct kernel_tier tiers[KERNEL_TIERS]);

#endif
