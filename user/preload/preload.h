/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What the wrappers share.
 *
 * DESIGN
 *
 * A wrapper translates and calls the guard; it keeps no state of its own. symbols.def is the list of
 * them. wrap_*.c turn each row into a function, next.c into a pointer to the next definition of the same
 * symbol (libc's, or that of another preloaded library beneath us).
 *
 * The pointers begin as functions that make the system call themselves, or look the symbol up, so a call
 * that comes before our constructor works. (The constructors of the program's own libraries run before
 * ours; so do calls that libc makes while it starts.) The constructor then looks all of them up at once,
 * because dlsym may allocate, and no wrapped call may.
 *
 * Inside this library a plain call of a wrapped symbol would come back to the wrapper. Nothing here may
 * call one; tests/preload/test_link.sh looks.
 */
#ifndef SG_PRELOAD_PRELOAD_H
#define SG_PRELOAD_PRELOAD_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guard/guard.h"

/* System calls are made with offsets in one register. */
_Static_assert(sizeof(long) == 8, "64-bit machines only");

#define EXPORT __attribute__((visibility("default")))
/* The head of a wrapper. Not every header declares its symbol, or its variants. */
#define WRAPPER(ret, symbol, params) \
	EXPORT ret symbol params;    \
	EXPORT ret symbol params
#define NOINLINE    __attribute__((noinline))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NOTHING	    (void)0

/* The next definition of each symbol; never NULL: what libc does not have fails with ENOSYS. */
struct sg_next {
#define SG_ANY(ret, symbol, params, ...) ret(*symbol) params;
#include "preload/symbols.def"
};
extern struct sg_next sg_next;

/* Look all symbols up; once, from the constructor. */
void sg_next_resolve(void);
/* The next definition of a symbol that has no row with a pointer, or NULL. */
void *sg_next_find(const char *symbol);
/* The file name of a library whose fsync stands before libc's (beneath us or above us), or NULL. */
const char *sg_next_interposed(void);

/* Has a child that shares this memory (vfork, clone with CLONE_VM) ever been made? Sticky: from then
 * on wrappers ask the kernel who they are. Programs that never do so pay nothing for it. */
extern _Atomic unsigned char sg_shared_child;
/* Are we in such a child? It has descriptors of its own, but our tables are its parent's. */
bool sg_in_shared_child(void);

/* May the guard be called? */
static inline bool active(void)
{
	if (!sg_guard_ready())
		return false;
	return likely(!atomic_load_explicit(&sg_shared_child, memory_order_relaxed)) ||
	       !sg_in_shared_child();
}

/* From here to sg_uncancel a cancellation waits: it must not leave a reservation, an operation under
 * way or a descriptor entry behind. */
static inline int sg_no_cancel(void)
{
	int state = PTHREAD_CANCEL_ENABLE;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

static inline void sg_uncancel(int state)
{
	if (state == PTHREAD_CANCEL_ENABLE)
		pthread_setcancelstate(state, NULL);
}

/* Drains, for wrappers of calls that are no cancellation points. 0, or -1 with errno EIO. */
int sg_drain_name(int dirfd, const char *path, bool follow);
int sg_drain_fd(int fd);
int sg_drain_all(void);

#endif
