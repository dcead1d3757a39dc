/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "guard/session.h"
#include "tap.h"

static struct sg_session *s;

static void fresh(void)
{
	free(s);
	s = calloc(1, sizeof(*s));
	sg_session_init(s, SG_ROLE_GUARDED, 42, 1000, 2000);
}

static void put(uint32_t pid)
{
	struct sg_event e = { .kind = SG_EV_STALL_BEGUN, .pid = pid };

	sg_session_event(s, &e);
}

static void test_events_come_in_order_and_once(void)
{
	struct sg_event e;
	uint64_t seq = 0, dropped = 0;
	uint32_t i;

	fresh();
	for (i = 1; i <= 10; i++)
		put(i);
	for (i = 1; i <= 10; i++) {
		CU_ASSERT_EQUAL_FATAL(sg_session_read_event(s, &seq, &e, &dropped), 1);
		CU_ASSERT_EQUAL(e.pid, i);
		CU_ASSERT_EQUAL(e.seq, i);
	}
	CU_ASSERT_EQUAL(sg_session_read_event(s, &seq, &e, &dropped), 0);
	put(11);
	CU_ASSERT_EQUAL(sg_session_read_event(s, &seq, &e, &dropped), 1);
	CU_ASSERT_EQUAL(dropped, 0);
}

static void test_overwritten_events_are_counted(void)
{
	struct sg_event e;
	uint64_t seq = 0, dropped = 0, n = 0;
	uint32_t i;

	fresh();
	for (i = 1; i <= SG_EVENTS + 100; i++)
		put(i);
	while (sg_session_read_event(s, &seq, &e, &dropped) == 1)
		n++;
	CU_ASSERT_EQUAL(n, SG_EVENTS);
	CU_ASSERT_EQUAL(dropped, 100);
}

static void test_a_path_without_an_end_is_cut_and_cleaned(void)
{
	struct sg_session_file f;

	fresh();
	memset(s->files[3].path, 'x', sizeof(s->files[3].path));
	s->files[3].path[4] = '\033';
	CU_ASSERT_EQUAL(sg_session_read_file(s, 3, &f), -ENOENT); /* free */
	atomic_store(&s->files[3].state, SG_SLOT_LIVE);
	CU_ASSERT_EQUAL(sg_session_read_file(s, 3, &f), 0);
	CU_ASSERT_EQUAL(strlen(f.path), SG_PATH_BYTES - 1);
	CU_ASSERT_EQUAL(f.path[4], '?');
	CU_ASSERT_EQUAL(sg_session_read_file(s, SG_FILES, &f), -ENOENT);
	CU_ASSERT_EQUAL(sg_session_read_file(s, UINT32_MAX, &f), -ENOENT);
}

static void test_a_stranger_is_refused(void)
{
	fresh();
	CU_ASSERT_EQUAL(sg_session_check(s, sizeof(*s)), 0);
	CU_ASSERT_EQUAL(sg_session_check(s, sizeof(*s) - 1), -EMSGSIZE);
	s->version++;
	CU_ASSERT_EQUAL(sg_session_check(s, sizeof(*s)), -EPROTO);
	s->version--;
	s->magic ^= 1;
	CU_ASSERT_EQUAL(sg_session_check(s, sizeof(*s)), -EPROTO);
}

static void test_an_operation_word_is_taken_and_given_back(void)
{
	int ops[SG_OPS], i;

	fresh();
	for (i = 0; i < SG_OPS; i++) {
		ops[i] = sg_session_op_begin(s, 0, SG_OP_FSYNC, 0, 7, 100);
		CU_ASSERT(ops[i] >= 0);
	}
	CU_ASSERT_EQUAL(sg_session_op_begin(s, 0, SG_OP_FSYNC, 0, 7, 100), -1);
	CU_ASSERT_EQUAL(atomic_load(&s->untracked), 1);
	sg_session_op_end(s, -1);
	sg_session_op_end(s, ops[5]);
	CU_ASSERT_EQUAL(sg_session_op_begin(s, 0, SG_OP_FSYNC, 0, 7, 100), ops[5]);
}

/* 200 000 mutations, with writers at work: the readers end and stay inside (ASan tells). */
static void test_no_mutation_harms_a_reader(void)
{
	struct sg_session_file f;
	struct sg_event e;
	uint64_t seq, dropped;
	uint32_t i, at;

	fresh();
	srandom(1);
	for (i = 0; i < 200000; i++) {
		at = (uint32_t)random() % sizeof(*s);
		if (i % 2)
			at %= 256;
		((unsigned char *)s)[at] = (unsigned char)random();
		if (sg_session_read_file(s, (uint32_t)random() % (SG_FILES + 8), &f) == 0)
			CU_ASSERT(strnlen(f.path, SG_PATH_BYTES) < SG_PATH_BYTES);
		if (i % 64)
			continue;
		seq = (uint64_t)random();
		dropped = 0;
		for (at = 0; at <= SG_EVENTS && sg_session_read_event(s, &seq, &e, &dropped) == 1;
		     at++)
			CU_ASSERT(strnlen(e.path, SG_PATH_BYTES) < SG_PATH_BYTES);
		CU_ASSERT(at <= SG_EVENTS);
		atomic_store(&s->events_next, atomic_load(&s->events_next) % 5000);
	}
}

SG_TESTS("session", TEST(test_events_come_in_order_and_once),
	 TEST(test_overwritten_events_are_counted),
	 TEST(test_a_path_without_an_end_is_cut_and_cleaned), TEST(test_a_stranger_is_refused),
	 TEST(test_an_operation_word_is_taken_and_given_back),
	 TEST(test_no_mutation_harms_a_reader))
