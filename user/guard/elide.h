/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * When is the sync of a directory provably redundant?
 *
 * When nothing in it changed since a successful sync of it began. The proof rests on ctime, which
 * no program can set, with three holes closed:
 *
 *  - ctime moves in steps (the kernel's coarse clock; whole seconds in 128-byte ext4 inodes), so a
 *    change just after the stat may leave it as it was. So the ctime seen before the sync must
 *    already be older than the coarse clock by more than one step: then any later change shows.
 *  - the clock may be set back, and a later change may get the same ctime. So the proof ends when
 *    the clock is set: seen by a counter (timerfd, TFD_TIMER_CANCEL_ON_SET) and by the offset
 *    between the realtime and the monotonic clock.
 *  - a file system may keep its times otherwise (NFS, FUSE, overlayfs): only ext4, xfs and btrfs.
 *
 * The order in which the caller reads things is part of the proof; see each function. Any doubt
 * means "not redundant": then the sync is done. A proof belongs to one directory and is not
 * locked: the caller serialises its writers. All functions are pure and async-signal-safe.
 */
#ifndef SG_GUARD_ELIDE_H
#define SG_GUARD_ELIDE_H

#include <stdbool.h>
#include <stdint.h>

#define SG_ELIDE_GRANULARITY_MIN_NS \
	UINT64_C(10000000) /* 10 ms: 197 of 200 changes were hidden below */
#define SG_ELIDE_WHOLE_SECONDS_NS UINT64_C(2000000000) /* for times without nanoseconds */
#define SG_ELIDE_OFFSET_JITTER_NS INT64_C(1000000)     /* two clocks are not read in one instant */

/* What stat(2) and FS_IOC_GETVERSION tell of a directory; times in ns since 1970. */
struct sg_elide_stat {
	uint64_t dev;
	uint64_t ino;
	uint64_t gen;
	int64_t ctime_ns;
	int64_t mtime_ns;
	uint64_t size;
	uint64_t nlink;
	uint32_t mode;
};

enum sg_elide_state {
	SG_ELIDE_NONE,	 /* no proof; 0, so that zeroed memory is a valid proof */
	SG_ELIDE_BEGUN,	 /* a sync that may become one is in flight */
	SG_ELIDE_PROVEN, /* that sync succeeded */
};

struct sg_elide_proof {
	enum sg_elide_state state;
	struct sg_elide_stat before;
	uint64_t clock_epoch;
	int64_t offset_ns;
};

/* Is f_type (statfs(2)) a file system whose directory times the proof may rest on? */
bool sg_elide_fs_ok(uint64_t f_type);

/*
 * Before a sync of the directory. The caller reads, in this order: clock_epoch (how often the
 * clock was set), offset_ns (CLOCK_REALTIME minus CLOCK_MONOTONIC), now_coarse_ns (CLOCK_REALTIME_COARSE),
 * then before (the stat), and begins the sync after this call. granularity_ns is
 * 2 × clock_getres(CLOCK_REALTIME_COARSE); less than SG_ELIDE_GRANULARITY_MIN_NS counts as that.
 *
 * Returns 0 when this sync, if it succeeds, will be a proof; -ENOTDIR, -ENOTSUP (file system),
 * -EAGAIN (the directory changed too recently, or its times lie ahead of the clock): then there is
 * no proof, sg_elide_synced() changes nothing, and the next sync is a real one too.
 */
int sg_elide_begin(struct sg_elide_proof *proof, uint64_t f_type,
		   const struct sg_elide_stat *before, int64_t now_coarse_ns,
		   uint64_t granularity_ns, uint64_t clock_epoch, int64_t offset_ns);

/* After that sync: ok when it returned 0. A failed one leaves no proof. */
void sg_elide_synced(struct sg_elide_proof *proof, bool ok);

/* Forget the proof (the directory fd was closed, a change was seen by other means, an error). */
void sg_elide_forget(struct sg_elide_proof *proof);

/*
 * May a sync of the directory be left out? The caller reads now (the stat) first, after the call
 * that asks for the sync was entered, and then clock_epoch and offset_ns: a clock set between
 * the two is then seen. True only if every condition holds.
 */
bool sg_elide_redundant(const struct sg_elide_proof *proof, const struct sg_elide_stat *now,
			uint64_t clock_epoch, int64_t offset_ns);

#endif
