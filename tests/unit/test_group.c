/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The promise of group sync, from a recorded history: every call that returned 0 had a kernel sync of
 * that inode that began after the call was entered and ended before it returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "guard/clock.h"
#include "guard/group.h"
#include "tap.h"

#define THREADS 64
#define CALLS	60

struct call {
	uint64_t entered, left;
	int error;
	bool led, full;
};

struct sync {
	uint64_t began, ended;
	int error;
	bool full;
};

/* One clock for all: a counter, so that "before" is never a tie. */
static _Atomic uint64_t moment;
static struct sync syncs[THREADS * CALLS];
static _Atomic uint32_t n_syncs;
static struct call calls[THREADS][CALLS];
static struct sg_group group;
static int file;
static _Atomic uint32_t fail_every;

static uint64_t tick(void)
{
	return atomic_fetch_add(&moment, 1) + 1;
}

static int record_sync(void *arg, bool full, struct sg_group_times *times)
{
	uint32_t i = atomic_fetch_add(&n_syncs, 1), every = atomic_load(&fail_every);
	struct sync *s = &syncs[i];

	(void)arg;
	times->began_ns = sg_now_ns();
	s->began = tick();
	s->full = full;
	s->error = fdatasync(file) ? errno : 0;
	if (every && i % every == 0)
		s->error = EIO;
	s->ended = tick();
	times->ended_ns = sg_now_ns();
	return s->error;
}

static void *caller(void *arg)
{
	struct call *mine = arg;
	int i;

	for (i = 0; i < CALLS; i++) {
		CU_ASSERT_FATAL(write(file, "record\n", 7) == 7);
		mine[i].full = i % 7 == 0; /* an fsync among fdatasyncs */
		mine[i].entered = tick();
		mine[i].error = sg_group_sync(&group, record_sync, NULL, mine[i].full, 10000000,
					      &mine[i].led);
		mine[i].left = tick();
	}
	return NULL;
}

static bool served(const struct call *c)
{
	uint32_t i;

	for (i = 0; i < n_syncs; i++)
		if (syncs[i].error == 0 && syncs[i].began > c->entered &&
		    syncs[i].ended < c->left && syncs[i].full >= c->full)
			return true;
	return false;
}

static bool failed_meanwhile(const struct call *c)
{
	uint32_t i;

	for (i = 0; i < n_syncs; i++)
		if (syncs[i].error == c->error && syncs[i].began > c->entered &&
		    syncs[i].ended < c->left)
			return true;
	return false;
}

static void run(uint32_t threads)
{
	pthread_t t[THREADS];
	uint32_t i;

	memset(&group, 0, sizeof(group));
	memset(syncs, 0, sizeof(syncs));
	memset(calls, 0, sizeof(calls));
	atomic_store(&n_syncs, 0);
	for (i = 0; i < threads; i++)
		CU_ASSERT_FATAL(pthread_create(&t[i], NULL, caller, calls[i]) == 0);
	for (i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
}

static void check(uint32_t threads)
{
	uint32_t i, j, broken = 0;

	for (i = 0; i < threads; i++)
		for (j = 0; j < CALLS; j++)
			if (calls[i][j].error ? !failed_meanwhile(&calls[i][j])
					      : !served(&calls[i][j]))
				broken++;
	CU_ASSERT_EQUAL(broken, 0);
}

static void open_file(void)
{
	char path[] = "build/group-test.XXXXXX";

	file = mkstemp(path);
	CU_ASSERT_FATAL(file >= 0);
	unlink(path);
}

static void test_a_call_that_returns_0_had_a_sync_inside_it(void)
{
	open_file();
	run(THREADS);
	check(THREADS);
	CU_ASSERT(n_syncs < THREADS * CALLS); /* and they did share */
	close(file);
}

static void test_two_callers_are_served_too(void)
{
	open_file();
	run(2);
	check(2);
	close(file);
}

static void test_a_lone_caller_leads_every_sync(void)
{
	open_file();
	run(1);
	check(1);
	CU_ASSERT_EQUAL(n_syncs, CALLS);
	close(file);
}

static void test_every_member_of_a_failed_group_gets_the_error(void)
{
	open_file();
	atomic_store(&fail_every, 3);
	run(THREADS);
	check(THREADS);
	atomic_store(&fail_every, 0);
	close(file);
}

/* --- a leader whose descriptor is bad serves nobody, and harms nobody --- */

static pthread_barrier_t both;

static int bad_descriptor(void *arg, bool full, struct sg_group_times *times)
{
	(void)arg;
	(void)full;
	pthread_barrier_wait(&both);
	/* Until the other one waits for the next sync. */
	while (atomic_load(&group.pending[0]) + atomic_load(&group.pending[1]) == 0)
		sched_yield();
	return EBADF;
}

static void *bad_leader(void *arg)
{
	bool led;

	*(int *)arg = sg_group_sync(&group, bad_descriptor, NULL, false, 0, &led);
	return NULL;
}

static int good(void *arg, bool full, struct sg_group_times *times)
{
	(void)full;
	++*(int *)arg;
	return 0;
}

static void test_a_bad_descriptor_of_the_leader_fails_only_the_leader(void)
{
	pthread_t t;
	int bad = 0, made = 0, error;
	bool led;

	memset(&group, 0, sizeof(group));
	pthread_barrier_init(&both, NULL, 2);
	CU_ASSERT_FATAL(pthread_create(&t, NULL, bad_leader, &bad) == 0);
	pthread_barrier_wait(&both);
	error = sg_group_sync(&group, good, &made, false, 0, &led);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(bad, EBADF);
	CU_ASSERT_EQUAL(error, 0);
	CU_ASSERT_EQUAL(made, 1);
	pthread_barrier_destroy(&both);
}

/* --- a caller that only looked gives the lock back while another goes to sleep on it --- */

static void *lone(void *arg)
{
	bool led;

	sg_group_sync(&group, good, arg, false, 0, &led);
	return NULL;
}

static void test_a_caller_does_not_sleep_behind_one_that_only_looks(void)
{
	struct timespec pause = { 0, 20000000 };
	pthread_t t;
	int made = 0;

	memset(&group, 0, sizeof(group));
	atomic_store(&group.lock, SG_GROUP_LOOKS);
	CU_ASSERT_FATAL(pthread_create(&t, NULL, lone, &made) == 0);
	nanosleep(&pause, NULL);
	CU_ASSERT_EQUAL(made, 0);
	atomic_store(&group.lock, SG_GROUP_FREE);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(made, 1);
}

SG_TESTS("group", TEST(test_a_call_that_returns_0_had_a_sync_inside_it),
	 TEST(test_two_callers_are_served_too), TEST(test_a_lone_caller_leads_every_sync),
	 TEST(test_every_member_of_a_failed_group_gets_the_error),
	 TEST(test_a_caller_does_not_sleep_behind_one_that_only_looks),
	 TEST(test_a_bad_descriptor_of_the_leader_fails_only_the_leader))
