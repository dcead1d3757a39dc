// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The joined model of files, from made-up sessions, ledgers and observers. */
#include <stdlib.h>
#include <string.h>

#include "cli/join.h"
#include "guard/policy.h"
#include "tap.h"

#define NOW 10000000000ull
#define DEV 0xfe00

static struct sg_session *session(uint32_t pid, enum sg_role role)
{
	struct sg_session *s = calloc(1, sizeof(*s));

	sg_session_init(s, role, pid, 1000, 2000);
	return s;
}

static struct sg_session_file *slot(struct sg_session *s, uint32_t i, uint64_t ino, uint32_t gen,
				    const char *path)
{
	struct sg_session_file *f = &s->files[i];

	f->id = (struct sg_file_id){ .dev = DEV, .ino = ino, .gen = gen };
	atomic_store(&f->state, SG_SLOT_LIVE);
	strcpy(f->path, path);
	return f;
}

static struct sg_registry *registry(void)
{
	struct sg_registry *r = calloc(1, sizeof(*r));

	sg_registry_init(r, 1);
	return r;
}

static struct sg_ledger *ledger(struct sg_registry *r, uint32_t i, uint64_t ino, uint32_t gen,
				const char *path)
{
	struct sg_ledger *l = &r->ledgers[i];

	l->id = (struct sg_file_id){ .dev = DEV, .ino = ino, .gen = gen };
	strcpy(l->path, path);
	l->max_records = 8;
	l->max_bytes = 4096;
	l->max_delay_ns = 50000000;
	atomic_store(&l->mode, SG_MODE_WINDOW);
	atomic_store(&l->state, SG_SLOT_LIVE);
	return l;
}

/* A kernel view of one file, with `syncs` fdatasyncs by system call. */
struct fake {
	struct kernel_stat op[KERNEL_OPS], sync;
	struct kernel_file file;
	struct kernel_view view;
};

static struct fake *kernel(uint64_t ino, uint32_t gen, const char *path, uint64_t syncs)
{
	struct fake *k = calloc(1, sizeof(*k));

	k->file = (struct kernel_file){ .dev = DEV,
					.ino = ino,
					.gen = gen,
					.path = path,
					.path_whole = true,
					.op = k->op,
					.sync = &k->sync,
					.syncs = syncs };
	k->file.sync_route[KERNEL_BY_SYSCALL] = syncs;
	k->op[KERNEL_FDATASYNC].count = k->sync.count = syncs;
	k->view = (struct kernel_view){
		.tier = "fake", .started_ns = 500, .now_ns = NOW, .files = &k->file, .n_files = 1
	};
	return k;
}

static void test_shim_alone_makes_a_row(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct sg_session_file *f = slot(s, 3, 11, 1, "/a");
	struct join j;

	sg_count(f, SG_C_APPENDS, 5);
	sg_count(f, SG_C_APPEND_BYTES, 500);
	atomic_store(&f->mode, SG_MODE_GROUP);
	atomic_store(&f->wanted, SG_MODE_WINDOW);
	atomic_store(&f->flags, SG_F_NO_BROKER);
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_kernel(&j, NULL);
	CU_ASSERT_EQUAL(join_finish(&j), 0);
	CU_ASSERT_EQUAL_FATAL(j.n, 1);
	CU_ASSERT_STRING_EQUAL(j.rows[0].path, "/a");
	CU_ASSERT_EQUAL(j.rows[0].seen, JOIN_SHIM);
	CU_ASSERT_EQUAL(join_appends(&j.rows[0]), 5);
	CU_ASSERT_EQUAL(join_append_bytes(&j.rows[0]), 500);
	CU_ASSERT_EQUAL(j.rows[0].mode, SG_MODE_GROUP);
	CU_ASSERT_EQUAL(j.rows[0].wanted, SG_MODE_WINDOW);
	CU_ASSERT_FALSE(j.rows[0].unseen_known);
	CU_ASSERT_FALSE(j.rows[0].has_at_risk);
	join_free(&j);
	free(s);
}

static void test_kernel_alone_makes_a_row(void)
{
	struct fake *k = kernel(11, 4, "/b", 9);
	struct join j;

	k->op[KERNEL_WRITE].count = 20;
	k->op[KERNEL_WRITE].bytes = 2000;
	k->file.at_risk_bytes = 100;
	join_init(&j, NOW);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_EQUAL_FATAL(j.n, 1);
	CU_ASSERT_EQUAL(j.rows[0].seen, JOIN_KERNEL);
	CU_ASSERT_EQUAL(join_appends(&j.rows[0]), 20);
	CU_ASSERT_EQUAL(join_kernel_syncs(&j.rows[0]), 9);
	CU_ASSERT_TRUE(j.rows[0].unseen_known);
	CU_ASSERT_EQUAL(j.rows[0].unseen, 9);
	CU_ASSERT_TRUE(j.rows[0].has_at_risk);
	CU_ASSERT_EQUAL(j.rows[0].at_risk_bytes, 100);
	CU_ASSERT_FALSE(j.rows[0].has_mode);
	join_free(&j);
	free(k);
}

static void test_a_file_seen_by_all_is_one_row(void)
{
	struct sg_session *a = session(7, SG_ROLE_GUARDED), *b = session(8, SG_ROLE_GUARDED);
	struct sg_session *broker = session(9, SG_ROLE_BROKER);
	struct sg_registry *r = registry();
	struct sg_ledger *l = ledger(r, 2, 11, 4, "/log");
	struct fake *k = kernel(11, 4, "/log", 10);
	struct join j;
	bool kick;

	sg_count(slot(a, 0, 11, 4, "/log"), SG_C_ISSUED, 2);
	sg_count(slot(b, 9, 11, 4, "/log"), SG_C_ISSUED, 3);
	sg_count(&a->files[0], SG_C_APPENDS, 1);
	sg_count(&b->files[9], SG_C_APPENDS, 2);
	sg_count(slot(broker, 2, 11, 4, "/log"), SG_C_ISSUED, 4);
	sg_ledger_reserve(l, 100, NOW - 7000, &kick);
	join_init(&j, NOW);
	join_add_session(&j, a, false);
	join_add_session(&j, b, true);
	join_add_broker(&j, broker, r);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_EQUAL_FATAL(j.n, 1);
	CU_ASSERT_EQUAL(j.rows[0].seen, JOIN_SHIM | JOIN_BROKER | JOIN_KERNEL);
	CU_ASSERT_EQUAL(j.rows[0].sessions, 2);
	CU_ASSERT_EQUAL(j.rows[0].shim[SG_C_ISSUED], 5);
	CU_ASSERT_EQUAL(j.rows[0].broker[SG_C_ISSUED], 4);
	CU_ASSERT_EQUAL(join_appends(&j.rows[0]), 3);
	CU_ASSERT_TRUE(j.rows[0].unseen_known);
	CU_ASSERT_EQUAL(j.rows[0].unseen, 10 - 5 - 4);
	CU_ASSERT_EQUAL(j.rows[0].at_risk_records, 1);
	CU_ASSERT_EQUAL(j.rows[0].at_risk_bytes, 100);
	CU_ASSERT_EQUAL(j.rows[0].at_risk_age_ns, 7000);
	CU_ASSERT_EQUAL(j.rows[0].max_records, 8);
	CU_ASSERT_EQUAL(j.rows[0].mode, SG_MODE_WINDOW);
	join_free(&j);
	free(a);
	free(b);
	free(broker);
	free(r);
	free(k);
}

static void test_another_generation_is_another_file(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct fake *k = kernel(11, 2, "/new", 1);
	struct join j;

	slot(s, 0, 11, 1, "/old");
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_EQUAL(j.n, 2);
	join_free(&j);
	free(s);
	free(k);
}

static void test_an_unknown_generation_joins(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct fake *k = kernel(11, 77, "/tmpfs", 1);
	struct join j;

	slot(s, 0, 11, 0, "/tmpfs");
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_EQUAL(j.n, 1);
	CU_ASSERT_EQUAL(j.rows[0].id.gen, 77);
	join_free(&j);
	free(s);
	free(k);
}

static void test_unseen_is_unknown_when_the_observer_came_later(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct fake *k = kernel(11, 1, "/a", 1);
	struct join j;

	sg_count(slot(s, 0, 11, 1, "/a"), SG_C_ISSUED, 5);
	k->view.started_ns = s->started_ns + 1;
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_FALSE(j.rows[0].unseen_known);
	join_free(&j);
	free(s);
	free(k);
}

static void test_a_route_without_bytes_makes_at_risk_unknown(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct sg_registry *r = registry();
	struct fake *k = kernel(11, 1, "/journal", 1);
	struct join j;

	slot(s, 0, 11, 1, "/journal");
	ledger(r, 0, 11, 1, "/journal");
	k->file.at_risk_unknown = true;
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_broker(&j, NULL, r);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_TRUE(j.rows[0].at_risk_unknown);
	join_free(&j);
	free(s);
	free(r);
	free(k);
}

static void test_poison_is_told_by_the_ledger(void)
{
	struct sg_registry *r = registry();
	struct sg_ledger *l = ledger(r, 5, 11, 1, "/bad");
	struct sg_ledger_snapshot snap;
	struct join j;

	sg_ledger_begin(l, &snap, 5);
	sg_ledger_failed(l, &snap, &r->failures, 5, 4242, SG_OP_FDATASYNC, 777, true);
	ledger(r, 6, 12, 1, "/a-good-one-that-sorts-first");
	join_init(&j, NOW);
	join_add_broker(&j, NULL, r);
	join_finish(&j);
	CU_ASSERT_EQUAL_FATAL(j.n, 2);
	CU_ASSERT_STRING_EQUAL(j.rows[0].path, "/bad");
	CU_ASSERT_EQUAL(j.rows[0].poison_errno, 5);
	CU_ASSERT_EQUAL(j.rows[0].poison_pid, 4242);
	CU_ASSERT_EQUAL(j.rows[0].poison_op, SG_OP_FDATASYNC);
	CU_ASSERT_EQUAL(j.rows[0].poison_wall_ns, 777);
	CU_ASSERT_EQUAL(j.rows[1].poison_errno, 0);
	join_free(&j);
	free(r);
}

static void test_the_oldest_in_flight_is_found(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct join j;

	atomic_store(&slot(s, 0, 11, 1, "/a")->stall_ns, 5000);
	sg_session_op_begin(s, 0, SG_OP_WRITE, 1, 70, NOW - 100);
	sg_session_op_begin(s, 0, SG_OP_FSYNC, 0, 71, NOW - 9000);
	sg_session_op_begin(s, 0, SG_OP_FSYNC, 0, 72,
			    NOW + 50); /* began after we looked at the clock */
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_finish(&j);
	CU_ASSERT_EQUAL(j.rows[0].in_flight_ns, 9000);
	CU_ASSERT_EQUAL(j.rows[0].in_flight_op, SG_OP_FSYNC);
	CU_ASSERT_EQUAL(j.rows[0].in_flight_pid, 7);
	CU_ASSERT_EQUAL(j.n_flights, 2);
	join_free(&j);
	join_init(&j, NOW);
	join_add_session(&j, s, true); /* nothing of a dead process is in flight */
	join_finish(&j);
	CU_ASSERT_EQUAL(j.rows[0].in_flight_ns, 0);
	CU_ASSERT_EQUAL(j.n_flights, 0);
	join_free(&j);
	free(s);
}

static void test_maxima_are_not_added(void)
{
	struct sg_session *a = session(7, SG_ROLE_GUARDED), *b = session(8, SG_ROLE_GUARDED);
	struct join j;
	uint64_t max_ns;

	sg_count(slot(a, 0, 11, 1, "/a"), SG_C_SYNC_MAX_NS, 30);
	sg_count(slot(b, 0, 11, 1, "/a"), SG_C_SYNC_MAX_NS, 40);
	join_init(&j, NOW);
	join_add_session(&j, a, false);
	join_add_session(&j, b, false);
	join_finish(&j);
	join_sync_hist(&j.rows[0], &max_ns);
	CU_ASSERT_EQUAL(max_ns, 40);
	join_free(&j);
	free(a);
	free(b);
}

/* Every byte of a session may be what a hostile process likes. */
static void test_hostile_memory_is_survived(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct sg_registry *r = registry();
	unsigned int round, i;
	struct join j;
	char why[160];

	srand(1);
	for (round = 0; round < 8; round++) {
		unsigned char *p = (unsigned char *)s->files;

		for (i = 0; i < sizeof(*s) - offsetof(struct sg_session, files); i++)
			p[i] = round == 0 ? 0xff : round == 1 ? 2 : rand();
		p = (unsigned char *)r->ledgers;
		for (i = 0; i < sizeof(r->ledgers); i++)
			p[i] = round == 0 ? 0xff : round == 1 ? 2 : rand();
		for (i = 0; i < SG_FILES; i++) {
			atomic_store(&s->files[i].state, i % 2 ? SG_SLOT_LIVE : SG_SLOT_CLOSED);
			atomic_store(&r->ledgers[i].state, SG_SLOT_LIVE);
		}
		join_init(&j, NOW);
		join_add_session(&j, s, false);
		join_add_broker(&j, s, r);
		CU_ASSERT_EQUAL(join_finish(&j), 0);
		for (i = 0; i < j.n; i++) {
			CU_ASSERT_TRUE(strlen(j.rows[i].path) < sizeof(j.rows[i].path));
			join_why(&j.rows[i], why, sizeof(why));
		}
		join_free(&j);
	}
	free(s);
	free(r);
}

static void test_what_full_maps_fold_is_shown_apart_and_last(void)
{
	struct sg_session *s = session(7, SG_ROLE_GUARDED);
	struct fake *k = kernel(0, 0, NULL, 1000);
	struct join j;

	k->file.dev = 0;
	k->file.other = true;
	slot(s, 0, 11, 1, "/a");
	join_init(&j, NOW);
	join_add_session(&j, s, false);
	join_add_kernel(&j, &k->view);
	join_finish(&j);
	CU_ASSERT_EQUAL_FATAL(j.n, 2);
	CU_ASSERT_TRUE(j.rows[1].other);
	CU_ASSERT_FALSE(j.rows[1].unseen_known);
	join_free(&j);
	free(s);
	free(k);
}

SG_TESTS("join", TEST(test_shim_alone_makes_a_row), TEST(test_kernel_alone_makes_a_row),
	 TEST(test_a_file_seen_by_all_is_one_row), TEST(test_another_generation_is_another_file),
	 TEST(test_an_unknown_generation_joins),
	 TEST(test_unseen_is_unknown_when_the_observer_came_later),
	 TEST(test_a_route_without_bytes_makes_at_risk_unknown),
	 TEST(test_poison_is_told_by_the_ledger), TEST(test_the_oldest_in_flight_is_found),
	 TEST(test_maxima_are_not_added), TEST(test_hostile_memory_is_survived),
	 TEST(test_what_full_maps_fold_is_shown_apart_and_last))
