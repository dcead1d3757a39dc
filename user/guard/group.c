// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/group.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "guard/clock.h"
#include "guard/futex.h"

/* A signal handler that jumps out of a call may take a wake-up with it, so nobody sleeps for ever on one. */
#define AWAKE_NS 200000000ull
/* Between taking the lock and knowing whether to lead there are a few instructions. */
#define LOOKS_NS 50000ull

bool sg_group_void_error(int error)
{
	return error == EBADF || error == EINVAL || error == EROFS || error == ENOSYS ||
	       error == EINTR;
}

/* Numbers wrap: compare by distance. */
static bool reached(uint32_t have, uint32_t need)
{
	return (int32_t)(have - need) >= 0;
}

static uint32_t bit_of(uint32_t number)
{
	return 1u << (number % 32);
}

/* One process only: the words are private, which spares the kernel a look at the mapping. */
static void wait_finished(struct sg_group *g, uint32_t seen, uint32_t need)
{
	uint64_t end_ns = sg_now_ns() + AWAKE_NS;
	struct timespec end = { (time_t)(end_ns / 1000000000), (long)(end_ns % 1000000000) };
	int saved = errno;

	syscall(SYS_futex, &g->finished, FUTEX_WAIT_BITSET_PRIVATE, seen, &end, NULL, bit_of(need));
	errno = saved;
}

static void wake_finished(struct sg_group *g, uint32_t number, int n)
{
	int saved = errno;

	syscall(SYS_futex, &g->finished, FUTEX_WAKE_BITSET_PRIVATE, n, NULL, NULL, bit_of(number));
	errno = saved;
}

static bool try_lead(struct sg_group *g)
{
	uint32_t nobody = 0;

	return atomic_compare_exchange_strong(&g->lock, &nobody, SG_GROUP_LOOKS);
}

static void note(struct sg_group *g, uint64_t now_ns, uint64_t sync_ns)
{
	uint32_t nobody = 0;

	if (!atomic_compare_exchange_strong(&g->window_lock, &nobody, 1))
		return;
	sg_window_group_done(&g->window, now_ns,
			     atomic_load_explicit(&g->calls_total, memory_order_relaxed), sync_ns,
			     atomic_load_explicit(&g->inside, memory_order_relaxed));
	atomic_store(&g->window_lock, 0);
}

/* Until as many callers are there as came lately, at most w: those whom the last sync served are on
 * their way back, those who came during it are here. */
static void gather(struct sg_group *g, uint32_t number, uint64_t max_wait_ns)
{
	uint32_t here = atomic_load(&g->pending[number & 1]);
	uint32_t target = g->served_last + g->came_last, seen;
	uint64_t wait_ns = sg_window_group_wait_ns(&g->window, g->came_last, max_wait_ns);
	uint64_t end_ns, now_ns;

	if (wait_ns == 0 || here >= target)
		return;
	end_ns = sg_now_ns() + wait_ns;
	atomic_store(&g->gather_target, target);
	for (;;) {
		seen = atomic_load(&g->gather);
		now_ns = sg_now_ns();
		if (now_ns >= end_ns || atomic_load(&g->pending[number & 1]) >= target)
			break;
		sg_futex_wait(&g->gather, seen, end_ns - now_ns);
	}
	atomic_store(&g->gather_target, 0);
}

static void arrive(struct sg_group *g, uint32_t need)
{
	uint32_t n = atomic_fetch_add(&g->pending[need & 1], 1) + 1;
	uint32_t target = atomic_load(&g->gather_target);

	if (target && n == target) {
		atomic_fetch_add(&g->gather, 1);
		sg_futex_wake(&g->gather, 1);
	}
}

static void finish(struct sg_group *g, uint32_t number, int error)
{
	uint32_t seen;

	atomic_store(&g->result[number % SG_GROUP_RESULTS],
		     (uint64_t)number << 32 | (uint32_t)error);
	/* The lock first: a caller that then finds `finished` unchanged can lead, and one that slept on
	 * the old value is woken below. A new leader may finish before us, so only ever move forward. */
	atomic_store(&g->lock, SG_GROUP_FREE);
	seen = atomic_load(&g->finished);
	while (!reached(seen, number) && !atomic_compare_exchange_weak(&g->finished, &seen, number))
		;
	/* Whoever counts himself inside after this look finds `finished` moved. */
	if (atomic_load(&g->inside) == 1)
		return;
	wake_finished(g, number, INT_MAX);
	wake_finished(g, number + 1, 1);
}

/* No signal while we lead: a handler that leaves by siglongjmp would leave everybody waiting. A kernel
 * sync cannot be interrupted either, so a signal comes hardly later than without us. */
static void no_signals(sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, old);
}

static int lead(struct sg_group *g, sg_group_issue issue, void *arg, bool full,
		uint64_t max_wait_ns)
{
	uint32_t number = atomic_load(&g->begun) + 1;
	struct sg_group_times t = { 0, 0 };
	int error;

	gather(g, number, max_wait_ns);
	atomic_store(&g->begun, number);
	g->served_last = atomic_exchange(&g->pending[number & 1], 0);
	full |= atomic_exchange(&g->full[number & 1], 0);
	error = issue(arg, full, &t);
	g->came_last = atomic_load(&g->pending[(number + 1) & 1]);
	atomic_fetch_add_explicit(&g->calls_total, 1, memory_order_relaxed);
	note(g, t.ended_ns, t.ended_ns - t.began_ns);
	finish(g, number, error);
	return error;
}

/* The outcome of the sync that served a caller. Returns false when it served nobody (the leader's
 * descriptor was bad) or is forgotten: the caller tries again. */
static bool outcome(const struct sg_group *g, uint32_t need, uint32_t finished, int *error)
{
	uint64_t r = atomic_load(&g->result[need % SG_GROUP_RESULTS]);

	if ((uint32_t)(r >> 32) != need) {
		r = atomic_load(&g->result[finished % SG_GROUP_RESULTS]);
		if ((uint32_t)(r >> 32) != finished)
			return false;
	}
	*error = (int)(uint32_t)r;
	return !sg_group_void_error(*error);
}

static int bare(struct sg_group *g, sg_group_issue issue, void *arg, bool full)
{
	struct sg_group_times t = { 0, 0 };
	int error = issue(arg, full, &t);

	atomic_fetch_add_explicit(&g->calls_total, 1, memory_order_relaxed);
	note(g, t.ended_ns, t.ended_ns - t.began_ns);
	return error;
}

/* Returns the number that this caller needs. */
static uint32_t enter(struct sg_group *g, bool full)
{
	uint32_t need = atomic_load(&g->begun) + 1;

	/* A leader numbers his sync and then looks who wants it full; if he was quicker, the next one. */
	while (full) {
		atomic_store(&g->full[need & 1], 1);
		if (!reached(atomic_load(&g->begun), need))
			break;
		need = atomic_load(&g->begun) + 1;
	}
	arrive(g, need);
	return need;
}

static int grouped(struct sg_group *g, sg_group_issue issue, void *arg, bool full,
		   uint64_t max_wait_ns, bool *led)
{
	uint32_t need = enter(g, full), finished, lock;
	sigset_t old;
	int error;

	for (;;) {
		finished = atomic_load(&g->finished);
		if (reached(finished, need)) {
			if (outcome(g, need, finished, &error)) {
				atomic_fetch_add_explicit(&g->calls_total, 1, memory_order_relaxed);
				return error;
			}
			need = enter(g, full);
			continue;
		}
		lock = atomic_load(&g->lock);
		if (lock == SG_GROUP_LEADS) {
			wait_finished(g, finished, need);
			continue;
		}
		if (lock == SG_GROUP_LOOKS) {
			/* It may be released with nothing done, and nobody woken. */
			sg_futex_wait(&g->lock, SG_GROUP_LOOKS, LOOKS_NS);
			continue;
		}
		no_signals(&old);
		if (!try_lead(g)) {
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			continue;
		}
		if (!reached(atomic_load(&g->finished), need)) {
			*led = true;
			atomic_store(&g->lock, SG_GROUP_LEADS);
			error = lead(g, issue, arg, full, max_wait_ns);
			pthread_sigmask(SIG_SETMASK, &old, NULL);
			return error;
		}
		atomic_store(&g->lock, SG_GROUP_FREE);
		wake_finished(g, atomic_load(&g->begun) + 1, 1);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
}

int sg_group_sync(struct sg_group *g, sg_group_issue issue, void *arg, bool full,
		  uint64_t max_wait_ns, bool *led)
{
	int error;

	atomic_fetch_add(&g->inside, 1); /* before the look at `finished`: see finish() */
	if (sg_window_group_choose(&g->window) == SG_BARE) {
		*led = true;
		error = bare(g, issue, arg, full);
	} else {
		*led = false;
		error = grouped(g, issue, arg, full, max_wait_ns, led);
	}
	atomic_fetch_sub_explicit(&g->inside, 1, memory_order_relaxed);
	return error;
}

void sg_group_forked(struct sg_group *g)
{
	atomic_store(&g->lock, SG_GROUP_FREE);
	atomic_store(&g->window_lock, 0);
	atomic_store(&g->gather_target, 0);
	atomic_store(&g->inside, 0);
	atomic_store(&g->pending[0], 0);
	atomic_store(&g->pending[1], 0);
	atomic_store(&g->finished, atomic_load(&g->begun));
}
