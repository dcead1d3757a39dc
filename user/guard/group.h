/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Group sync: concurrent callers on one inode share one kernel sync.
 *
 * THE PROMISE: a caller that gets 0 had a kernel sync that began after it entered and ended, with
 * success, before it returns.
 *
 * DESIGN
 *
 * Syncs are numbered as they begin; one is in flight at a time. A caller that enters while number n is
 * the last that began needs number n + 1 or a later one, and is served by the first that finishes. It
 * becomes the leader if nobody leads, else it sleeps. When n finishes, everybody who needed n is woken,
 * and one of those who need n + 1, to lead it (a futex bitset keeps the others asleep).
 *
 * A leader may wait for company, and grouping is switched off where it does not pay: both are the
 * window controller's decisions (guard/window.h). A lone caller takes one uncontended compare-and-swap
 * more than without us.
 *
 * Source of the idea: group commit as in PostgreSQL's XLogFlush and InnoDB's binlog; waiting as in jbd2.
 */
#ifndef SG_GUARD_GROUP_H
#define SG_GUARD_GROUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guard/window.h"

#define SG_GROUP_RESULTS 16

enum sg_group_lock {
	SG_GROUP_FREE,
	SG_GROUP_LOOKS, /* taken, to see whether a sync is still needed */
	SG_GROUP_LEADS, /* `finished` will move: whoever sleeps on it is woken */
};

struct sg_group {
	_Atomic uint32_t lock;	   /* enum sg_group_lock */
	_Atomic uint32_t begun;	   /* number of the last sync that began */
	_Atomic uint32_t finished; /* futex: number of the last that ended */
	_Atomic uint32_t pending
		[2]; /* callers that need a sync of that parity; a guide, not a count to trust */
	_Atomic uint32_t
		full[2]; /* somebody needs an fsync, not only an fdatasync, of that parity */
	_Atomic uint32_t gather; /* futex: the leader waits for company */
	_Atomic uint32_t gather_target;
	_Atomic uint32_t inside; /* callers now in sg_group_sync */
	_Atomic uint32_t window_lock;
	_Atomic uint64_t calls_total;
	_Atomic uint64_t result[SG_GROUP_RESULTS]; /* number << 32 | errno */
	uint32_t served_last;			   /* under lock */
	uint32_t came_last; /* callers that arrived while the last sync ran; under lock */
	struct sg_window_group window;
};

/* When a kernel sync began and ended, ns. A clock costs more than all the rest here where the kernel has no
 * fast one, so it is read once for everybody. */
struct sg_group_times {
	uint64_t began_ns, ended_ns;
};

/* Makes one kernel sync, of all the metadata too if `full`. Returns 0 or an errno. */
typedef int (*sg_group_issue)(void *arg, bool full, struct sg_group_times *times);

/*
 * Have a sync that begins after this call. issue() makes it if this caller leads (*led is then true).
 * `full`: an fsync; whoever leads then makes one, though he himself wants less.
 * max_wait_ns bounds the wait for company. An errno for which void_error() is true concerns only the
 * caller (a bad descriptor), not the inode: the others then find another leader.
 *
 * Returns 0 or an errno. When *led is false the error, if any, is the leader's; the caller still has to
 * ask its own description for an error that it alone has not seen (DESIGN 2.2).
 *
 * Thread-safe. Not for a caller that interrupted itself in here: it would wait for itself.
 */
int sg_group_sync(struct sg_group *g, sg_group_issue issue, void *arg, bool full,
		  uint64_t max_wait_ns, bool *led);

/* Errors that say nothing of the inode's data: EBADF, EINVAL, EROFS, ENOSYS, EINTR. */
bool sg_group_void_error(int error);

/* In a forked child: nobody leads, nobody waits; what was learned of the disk stays. */
void sg_group_forked(struct sg_group *g);

#endif
