// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Writing a spool: what goes in comes out, over rotation, reopening and what a crash leaves. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "guard/clock.h"
#include "spoolguard/spool.h"
#include "tap.h"
#include "walk.h"

#define RECORDS 1000

static struct spool *open_spool(const struct dir *d, const struct spool_config *c)
{
	struct spool *s = NULL;

	CU_ASSERT_EQUAL_FATAL(spool_open(&s, d->path, c), 0);
	return s;
}

static struct spool_status status_of(struct spool *s)
{
	struct spool_status st = { .size = sizeof(st) };

	CU_ASSERT_EQUAL_FATAL(spool_status(s, &st), 0);
	return st;
}

static size_t length_of(uint64_t seq)
{
	return seq % 7 == 0 ? 0 : (size_t)(seq * 37 % 700);
}

static void fill(uint8_t *p, uint64_t seq)
{
	size_t i;

	for (i = 0; i < length_of(seq); i++)
		p[i] = (uint8_t)(seq * 31 + i * 7);
}

static void append_one(struct spool *s, uint64_t expected)
{
	uint8_t p[700];
	uint64_t seq = 0;

	fill(p, expected);
	CU_ASSERT_EQUAL(spool_append(s, p, length_of(expected), &seq), 0);
	CU_ASSERT_EQUAL(seq, expected);
}

static void append_many(struct spool *s, uint64_t from, uint64_t to)
{
	for (; from <= to; from++)
		append_one(s, from);
}

static void check_payload(void *arg, const struct sg_frame *f)
{
	uint8_t p[700];

	fill(p, f->seq);
	if (f->len != length_of(f->seq) || memcmp(p, f->payload, f->len) != 0)
		++*(unsigned int *)arg;
}

static void check_holds(const struct dir *d, uint64_t first, uint64_t last)
{
	unsigned int wrong = 0;
	struct walked w = walk_spool(d->path, check_payload, &wrong);

	CU_ASSERT_TRUE(walk_is(&w, first, last));
	CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- what goes in comes out ---- */

static void round_trip(const struct spool_config *c)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, c);
	struct spool_status st;

	append_many(s, 1, RECORDS);
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	CU_ASSERT_EQUAL(spool_durable_seq(s), RECORDS);
	CU_ASSERT_EQUAL(spool_wait_durable(s, RECORDS, 0), 0);
	st = status_of(s);
	CU_ASSERT_EQUAL(st.first_seq, 1);
	CU_ASSERT_EQUAL(st.appended_seq, RECORDS);
	CU_ASSERT_EQUAL(st.records_at_risk, 0);
	CU_ASSERT_EQUAL(st.bytes_at_risk, 0);
	CU_ASSERT_EQUAL(st.oldest_at_risk_ns, 0);
	CU_ASSERT_TRUE(st.segments > 10);
	CU_ASSERT_TRUE(st.syncs > 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, RECORDS);
	dir_end(&d);
}

static void test_what_is_appended_is_there_in_every_mode(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	int sync, prealloc;

	c.segment_bytes = 16384;
	for (sync = SPOOL_SYNC_BATCH; sync <= SPOOL_SYNC_ADAPTIVE; sync++)
		for (prealloc = SPOOL_PREALLOC_NONE; prealloc <= SPOOL_PREALLOC_WRITTEN;
		     prealloc++) {
			c.sync = (enum spool_sync_mode)sync;
			c.prealloc = (enum spool_prealloc)prealloc;
			round_trip(&c);
		}
}

static void test_pieces_are_one_record(void)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, NULL);
	struct iovec iov[IOV_MAX];
	uint8_t p[700];
	size_t i, n = 0;
	uint64_t seq;

	fill(p, 1);
	for (i = 0; i < IOV_MAX; i++) {
		iov[i].iov_len = i % 3 == 0 || n == length_of(1) ? 0 : 1;
		iov[i].iov_base = p + n;
		n += iov[i].iov_len;
	}
	CU_ASSERT_EQUAL_FATAL(n, length_of(1));
	CU_ASSERT_EQUAL(spool_appendv(s, iov, IOV_MAX, &seq), 0);
	CU_ASSERT_EQUAL(spool_appendv(s, iov, IOV_MAX + 1, &seq), -EINVAL);
	CU_ASSERT_EQUAL(spool_appendv(s, iov, -1, &seq), -EINVAL);
	CU_ASSERT_EQUAL(spool_appendv(s, NULL, 0, &seq), 0); /* an empty record */
	CU_ASSERT_EQUAL(seq, 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	s = open_spool(&d, NULL);
	CU_ASSERT_EQUAL(status_of(s).appended_seq, 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	dir_end(&d);
}

static void test_a_record_may_have_64_mib_and_not_a_byte_more(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	uint8_t *p = calloc(1, SPOOL_RECORD_MAX + 1);
	struct iovec two[2] = { { p, SIZE_MAX }, { p, 2 } };
	struct walked w;
	struct spool *s;
	uint64_t seq = 0;

	c.segment_bytes = 4096;
	s = open_spool(&d, &c);
	CU_ASSERT_EQUAL(spool_append(s, p, SPOOL_RECORD_MAX + 1, &seq), -EMSGSIZE);
	CU_ASSERT_EQUAL(spool_appendv(s, two, 2, &seq), -EMSGSIZE);
	CU_ASSERT_EQUAL(spool_append(s, p, SPOOL_RECORD_MAX, &seq), 0);
	CU_ASSERT_EQUAL(seq, 1);
	/* Larger than the bound of what may be at risk: durable when it returns. */
	CU_ASSERT_EQUAL(spool_durable_seq(s), 1);
	CU_ASSERT_EQUAL(spool_append(s, p, 1, &seq), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, 2));
	CU_ASSERT_EQUAL(w.segments, 2);
	free(p);
	dir_end(&d);
}

/* ---- reopening ---- */

static void test_reopening_goes_on_with_the_numbers_in_the_same_spool(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool_status a, b;
	struct spool *s;
	uint64_t i;

	c.segment_bytes = 16384;
	c.sync = SPOOL_SYNC_NONE;
	s = open_spool(&d, &c);
	a = status_of(s);
	CU_ASSERT_EQUAL(a.first_seq, 0);
	CU_ASSERT_EQUAL(a.appended_seq, 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	for (i = 0; i < 20; i++) {
		c.prealloc = (enum spool_prealloc)(i % 3);
		s = open_spool(&d, &c);
		b = status_of(s);
		CU_ASSERT_EQUAL(memcmp(a.id, b.id, sizeof(a.id)), 0);
		CU_ASSERT_EQUAL(b.appended_seq, i * 50);
		CU_ASSERT_EQUAL(b.durable_seq, i * 50);
		append_many(s, i * 50 + 1, i * 50 + 50);
		CU_ASSERT_EQUAL(spool_close(s), 0);
	}
	check_holds(&d, 1, 1000);
	dir_end(&d);
}

static void test_a_second_writer_is_busy(void)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, NULL), *second = NULL;

	CU_ASSERT_EQUAL(spool_open(&second, d.path, NULL), -EBUSY);
	CU_ASSERT_PTR_NULL(second);
	append_one(s, 1);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	s = open_spool(&d, NULL);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, 1);
	dir_end(&d);
}

static void test_missing_directories_are_made(void)
{
	struct dir d = dir_begin();
	struct dir deep = d;
	struct spool *s = NULL;
	char path[96];

	snprintf(path, sizeof(path), "%s/a/b/c", d.path);
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, path, NULL), 0);
	append_one(s, 1);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	strcat(deep.path, "/a/b/c");
	check_holds(&deep, 1, 1);
	dir_end(&d);
}

static void test_a_configuration_out_of_range_is_refused(void)
{
	static const struct spool_config bad[] = {
		{ .size = 0 },
		{ .size = sizeof(struct spool_config), .sync = (enum spool_sync_mode)4 },
		{ .size = sizeof(struct spool_config), .on_error = (enum spool_on_error)3 },
		{ .size = sizeof(struct spool_config), .prealloc = (enum spool_prealloc)3 },
		{ .size = sizeof(struct spool_config), .mode = 01000 },
		{ .size = sizeof(struct spool_config), .batch_delay_ns = 3600000000001 },
		{ .size = sizeof(struct spool_config), .segment_bytes = 4095 },
		{ .size = sizeof(struct spool_config), .segment_bytes = (1ull << 40) + 1 },
	};
	struct {
		struct spool_config c;
		uint64_t more;
	} larger = { SPOOL_CONFIG_INIT, 0 };
	struct dir d = dir_begin();
	struct spool *s = NULL;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(spool_open(&s, d.path, &bad[i]), -EINVAL);
	larger.c.size = sizeof(larger);
	larger.more = 1;
	CU_ASSERT_EQUAL(spool_open(&s, d.path, &larger.c), -EINVAL);
	larger.more = 0;
	CU_ASSERT_EQUAL(spool_open(&s, d.path, &larger.c), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	CU_ASSERT_EQUAL(spool_close(NULL), 0);
	dir_end(&d);
}

/* ---- waiting ---- */

static void test_waiting_begins_a_sync_where_nobody_else_would(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;

	c.sync = SPOOL_SYNC_NONE;
	s = open_spool(&d, &c);
	append_many(s, 1, 10);
	CU_ASSERT_EQUAL(spool_durable_seq(s), 0);
	CU_ASSERT_EQUAL(status_of(s).records_at_risk, 10);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 11, SPOOL_NO_DEADLINE), -ERANGE);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 5, 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(spool_durable_seq(s), 0);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 5, SPOOL_NO_DEADLINE), 0);
	CU_ASSERT_EQUAL(spool_durable_seq(s), 10);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 10, 0), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	dir_end(&d);
}

static void test_waiting_does_not_wait_for_the_delay_of_a_batch(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	uint64_t begin_ns = sg_now_ns();
	struct dir d = dir_begin();
	struct spool *s;
	int mode;

	c.batch_delay_ns = 3600000000000;
	for (mode = 0; mode < 2; mode++) {
		c.sync = mode ? SPOOL_SYNC_ADAPTIVE : SPOOL_SYNC_BATCH;
		s = open_spool(&d, &c);
		append_one(s, (uint64_t)mode + 1);
		CU_ASSERT_EQUAL(spool_wait_durable(s, (uint64_t)mode + 1, SPOOL_NO_DEADLINE), 0);
		CU_ASSERT_EQUAL(spool_close(s), 0);
	}
	CU_ASSERT_TRUE(sg_now_ns() - begin_ns < 1800000000000);
	dir_end(&d);
}

/* ---- notify ---- */

struct told {
	struct spool *s;
	unsigned int calls, to_append;
	uint64_t durable;
	int error;
};

static void on_progress(void *arg, const struct spool_progress *p)
{
	struct told *t = arg;

	t->calls++;
	if (p->durable_seq > t->durable)
		t->durable = p->durable_seq;
	t->error |= p->error;
	if (t->to_append) {
		t->to_append--;
		CU_ASSERT_EQUAL(spool_append(t->s, "more", 4, NULL), 0);
		CU_ASSERT_EQUAL(spool_append(t->s, "more", 4, NULL), 0);
	}
}

/* In BATCH it is the flusher that would make room: it must not wait for itself. */
static void test_notify_may_append_in_every_mode(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct told t;
	struct dir d;
	int sync;

	c.notify = on_progress;
	c.notify_arg = &t;
	c.batch_records = 1;
	for (sync = SPOOL_SYNC_BATCH; sync <= SPOOL_SYNC_ADAPTIVE; sync++) {
		d = dir_begin();
		t = (struct told){ .to_append = 3 };
		c.sync = (enum spool_sync_mode)sync;
		t.s = open_spool(&d, &c);
		CU_ASSERT_EQUAL(spool_append(t.s, "one", 3, NULL), 0);
		CU_ASSERT_EQUAL(spool_sync(t.s), 0);
		CU_ASSERT_EQUAL(spool_close(t.s), 0);
		CU_ASSERT_EQUAL(t.error, 0);
		CU_ASSERT_TRUE(t.calls > 0);
		CU_ASSERT_TRUE(t.durable >= 1);
		dir_end(&d);
	}
}

static void put_durable(const struct dir *d, uint64_t durable)
{
	uint8_t raw[SG_DURABLE_BYTES];

	sg_durable_write(raw, sg_frame_seed(MAKE_ID), durable, durable);
	dir_put(d, "durable", raw, sizeof(raw));
}

/* A record numbered 0, or of an earlier number, would be none: better none is taken. */
static void test_behind_the_highest_number_nothing_is_taken(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct spool *s;

	made_header(&m, MAKE_ID, 1, 0);
	dir_put_segment(&d, 1, &m);
	put_durable(&d, UINT64_MAX - 2);
	s = open_spool(&d, NULL);
	append_one(s, UINT64_MAX - 1);
	append_one(s, UINT64_MAX);
	CU_ASSERT_EQUAL(spool_append(s, "more", 4, NULL), -EOVERFLOW);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	s = open_spool(&d, NULL);
	CU_ASSERT_EQUAL(spool_append(s, "more", 4, NULL), -EOVERFLOW);
	CU_ASSERT_EQUAL(status_of(s).records_at_risk, 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, UINT64_MAX - 1, UINT64_MAX);
	made_free(&m);
	dir_end(&d);
}

static void test_no_segment_is_made_behind_the_highest_number(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct spool *s = NULL;

	made_header(&m, MAKE_ID, 1, 0);
	dir_put_segment(&d, 1, &m);
	put_durable(&d, UINT64_MAX);
	CU_ASSERT_EQUAL(spool_open(&s, d.path, NULL), -EOVERFLOW);
	made_free(&m);
	dir_end(&d);
}

SG_TESTS("append", TEST(test_what_is_appended_is_there_in_every_mode),
	 TEST(test_pieces_are_one_record), TEST(test_a_record_may_have_64_mib_and_not_a_byte_more),
	 TEST(test_reopening_goes_on_with_the_numbers_in_the_same_spool),
	 TEST(test_a_second_writer_is_busy), TEST(test_missing_directories_are_made),
	 TEST(test_a_configuration_out_of_range_is_refused),
	 TEST(test_waiting_begins_a_sync_where_nobody_else_would),
	 TEST(test_waiting_does_not_wait_for_the_delay_of_a_batch),
	 TEST(test_notify_may_append_in_every_mode),
	 TEST(test_behind_the_highest_number_nothing_is_taken),
	 TEST(test_no_segment_is_made_behind_the_highest_number))
