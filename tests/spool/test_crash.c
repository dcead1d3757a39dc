// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* What a writer makes of what a crash, or a failed sync, left. */
#include "interpose.h"

#include "spool/crc32c.h"
#include "spoolguard/spool.h"
#include "tap.h"
#include "walk.h"

#define RECORDS 20

/* ---- what is written before the first sync of an open ---- */

static struct {
	bool on, fail_sync, synced;
	uint64_t rewritten; /* calls that wrote to a segment before it was synced */
} watch;

static int call_before(const struct call *c)
{
	char link[64], name[256];
	ssize_t n;

	if (!watch.on)
		return 0;
	if (c->kind == CALL_FDATASYNC) {
		watch.synced = true;
		return watch.fail_sync ? EIO : 0;
	}
	if (c->kind != CALL_PWRITE || watch.synced)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	n = readlink(link, name, sizeof(name) - 1);
	name[n > 0 ? n : 0] = '\0';
	watch.rewritten += strstr(name, SG_SEGMENT) != NULL;
	return 0;
}

static void call_after(const struct call *c, long result)
{
}

/* ---- helpers ---- */

static struct spool *open_spool(const struct dir *d)
{
	struct spool *s = NULL;

	CU_ASSERT_EQUAL_FATAL(spool_open(&s, d->path, NULL), 0);
	return s;
}

static struct spool_status status_of(struct spool *s)
{
	struct spool_status st = { .size = sizeof(st) };

	CU_ASSERT_EQUAL_FATAL(spool_status(s, &st), 0);
	return st;
}

/* One segment of MAKE_ID, RECORDS records from `first` on; ends[i]: where the i-th ends. */
static struct made segment_of(uint64_t first, size_t ends[RECORDS + 1])
{
	struct made m = { 0 };
	unsigned int i;

	made_header(&m, MAKE_ID, first, 0);
	ends[0] = m.n;
	for (i = 0; i < RECORDS; i++) {
		made_frame(&m, first + i, (i * 13) % 40);
		ends[i + 1] = m.n;
	}
	return m;
}

static unsigned int whole_before(const size_t ends[RECORDS + 1], size_t cut)
{
	unsigned int n = 0;

	while (n < RECORDS && ends[n + 1] <= cut)
		n++;
	return n;
}

static void put_durable(const struct dir *d, uint64_t durable)
{
	uint8_t p[SG_DURABLE_BYTES];

	sg_durable_write(p, sg_frame_seed(MAKE_ID), durable, durable);
	dir_put(d, "durable", p, sizeof(p));
}

static uint64_t append_one(struct spool *s)
{
	uint64_t seq = 0;

	CU_ASSERT_EQUAL(spool_append(s, "more", 4, &seq), 0);
	return seq;
}

static struct made quarantined(const struct dir *d, uint64_t number, uint64_t offset)
{
	char name[SG_KEPT_BYTES];

	snprintf(name, sizeof(name), "quarantine/%020lu%s.%lu", number, SG_SEGMENT, offset);
	return dir_get(d, name);
}

/* ---- torn tails ---- */

static void cut_at(const struct made *m, const size_t *ends, size_t cut)
{
	unsigned int whole = whole_before(ends, cut);
	struct dir d = dir_begin();
	struct made part = { m->p, cut, cut }, kept;
	struct spool_status st;
	struct walked w;
	struct spool *s;

	dir_put_segment(&d, 1, &part);
	s = open_spool(&d);
	st = status_of(s);
	CU_ASSERT_EQUAL(st.appended_seq, whole);
	CU_ASSERT_EQUAL(st.durable_seq, whole);
	CU_ASSERT_EQUAL(st.cut_bytes, cut - ends[whole]);
	CU_ASSERT_EQUAL(memcmp(st.id, MAKE_ID, sizeof(st.id)), 0);
	CU_ASSERT_EQUAL(append_one(s), whole + 1);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, whole + 1));
	CU_ASSERT_EQUAL(w.segments, 1);
	kept = quarantined(&d, 1, ends[whole]);
	CU_ASSERT_EQUAL(kept.n, cut - ends[whole]);
	CU_ASSERT_TRUE(kept.n == 0 || memcmp(kept.p, m->p + ends[whole], kept.n) == 0);
	made_free(&kept);
	dir_end(&d);
}

static void test_a_tail_torn_at_any_byte_is_kept_and_cut(void)
{
	size_t ends[RECORDS + 1], cut;
	struct made m = segment_of(1, ends);

	for (cut = SG_HEADER_BYTES; cut <= m.n; cut++)
		cut_at(&m, ends, cut);
	made_free(&m);
}

static void test_zeros_written_in_advance_are_no_torn_tail(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct spool *s;

	made_header(&m, MAKE_ID, 1, SG_HEADER_ZEROS);
	made_frame(&m, 1, 10);
	made_add(&m, NULL, 5000);
	dir_put_segment(&d, 1, &m);
	s = open_spool(&d);
	CU_ASSERT_EQUAL(status_of(s).cut_bytes, 0);
	CU_ASSERT_EQUAL(append_one(s), 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	made_free(&m);
	dir_end(&d);
}

/* ---- damage ---- */

/* Nothing but a new segment, which begins with record `next`. */
static void check_left(const struct dir *d, uint64_t number, const struct made *m, uint64_t next)
{
	struct spool *s = open_spool(d);
	struct made now;

	CU_ASSERT_EQUAL(append_one(s), next);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	now = dir_get_segment(d, number);
	CU_ASSERT_TRUE(made_same(&now, m));
	made_free(&now);
	now = dir_get_segment(d, next);
	CU_ASSERT_TRUE(now.n > SG_HEADER_BYTES);
	made_free(&now);
}

static void test_a_segment_damaged_inside_is_left_and_a_new_one_follows(void)
{
	size_t ends[RECORDS + 1];
	struct made m = segment_of(1, ends);
	struct dir d = dir_begin();

	m.p[ends[3] + 5] ^= 1;
	dir_put_segment(&d, 1, &m);
	check_left(&d, 1, &m, RECORDS + 1);
	made_free(&m);
	dir_end(&d);
}

static void test_a_segment_without_a_header_is_left_and_a_new_one_follows(void)
{
	size_t ends[RECORDS + 1];
	struct made a = segment_of(1, ends), b = segment_of(RECORDS + 1, ends);
	struct dir d = dir_begin();

	memset(b.p, 0xff, SG_HEADER_BYTES);
	dir_put_segment(&d, 1, &a);
	dir_put_segment(&d, RECORDS + 1, &b);
	check_left(&d, RECORDS + 1, &b, 2 * RECORDS + 1);
	made_free(&a);
	made_free(&b);
	dir_end(&d);
}

/* A crash right after it was made. */
static void blank_last(const void *p, size_t n, bool alone)
{
	struct made blank = { (void *)(uintptr_t)p, n, n }, kept;
	uint64_t number = alone ? 1 : RECORDS + 1;
	size_t ends[RECORDS + 1];
	struct made a = segment_of(1, ends);
	struct dir d = dir_begin();
	char name[SG_KEPT_BYTES];
	struct walked w;
	struct spool *s;

	if (!alone)
		dir_put_segment(&d, 1, &a);
	dir_put_segment(&d, number, &blank);
	s = open_spool(&d);
	CU_ASSERT_EQUAL(append_one(s), number);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, number));
	snprintf(name, sizeof(name), "quarantine/%020lu%s", number, SG_SEGMENT);
	kept = dir_get(&d, name);
	CU_ASSERT_PTR_NOT_NULL(kept.p);
	CU_ASSERT_TRUE(made_same(&kept, &blank));
	made_free(&kept);
	made_free(&a);
	dir_end(&d);
}

static void test_an_empty_last_segment_is_kept_and_made_anew(void)
{
	static const uint8_t zeros[5000], some[50] = "SGSPOOL\n";
	int alone;

	for (alone = 0; alone < 2; alone++) {
		blank_last(zeros, 0, alone);
		blank_last(zeros, SG_HEADER_BYTES, alone);
		blank_last(zeros, sizeof(zeros), alone);
		blank_last(some, sizeof(some), alone);
	}
}

static int open_result(const struct dir *d)
{
	struct spool *s = NULL;
	int err = spool_open(&s, d->path, NULL);

	CU_ASSERT_PTR_NULL(s);
	return err;
}

static void test_two_spools_in_one_directory_are_refused(void)
{
	size_t ends[RECORDS + 1];
	struct made a = segment_of(1, ends), b = { 0 };
	struct dir d = dir_begin();

	made_header(&b, MAKE_OTHER_ID, RECORDS + 1, 0);
	dir_put_segment(&d, 1, &a);
	dir_put_segment(&d, RECORDS + 1, &b);
	CU_ASSERT_EQUAL(open_result(&d), -EBADMSG);
	made_free(&a);
	made_free(&b);
	dir_end(&d);
}

static void test_an_unknown_version_or_a_file_that_nobody_can_tell_is_refused_untouched(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 }, now;
	uint32_t crc;
	int i;

	made_header(&m, MAKE_ID, 1, 0);
	made_frame(&m, 1, 10);
	for (i = 0; i < 2; i++) {
		if (i == 0) {
			m.p[8] = m.p[SG_HEADER_COPY + 8] = 2;
			crc = sg_crc32c(0, m.p, 60);
			memcpy(m.p + 60, &crc, 4);
			memcpy(m.p + SG_HEADER_COPY + 60, &crc, 4);
		} else {
			memset(m.p, 0xaa, SG_HEADER_BYTES);
		}
		dir_put_segment(&d, 1, &m);
		CU_ASSERT_EQUAL(open_result(&d), -EBADMSG);
		now = dir_get_segment(&d, 1);
		CU_ASSERT_TRUE(made_same(&now, &m));
		made_free(&now);
	}
	made_free(&m);
	dir_end(&d);
}

/* ---- numbers ---- */

static void test_numbers_known_to_be_durable_are_not_given_again(void)
{
	size_t ends[RECORDS + 1];
	struct made m = segment_of(1, ends), part = { m.p, ends[5] + 3, 0 };
	struct dir d = dir_begin();
	struct walked w;
	struct spool *s;

	dir_put_segment(&d, 1, &part);
	put_durable(&d, 10);
	s = open_spool(&d);
	CU_ASSERT_EQUAL(append_one(s), 11); /* 6 to 10 are gone, and that shows */
	CU_ASSERT_EQUAL(spool_close(s), 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_EQUAL(w.gaps, 1);
	CU_ASSERT_EQUAL(w.segments, 2);
	CU_ASSERT_EQUAL(w.records, 6);
	made_free(&m);
	dir_end(&d);
}

static void put_cursor(const struct dir *d, const char *name, const uint8_t *id, uint64_t acked,
		       unsigned int slot)
{
	struct sg_cursor c = { .generation = 1, .acked = acked };
	uint8_t p[SG_CURSOR_STRIDE + SG_CURSOR_BYTES] = { 0 };

	memcpy(c.id, id, sizeof(c.id));
	sg_cursor_write(p + slot * SG_CURSOR_STRIDE, &c);
	dir_put(d, name, p, sizeof(p));
}

static void test_numbers_that_a_consumer_acknowledged_are_not_given_again(void)
{
	size_t ends[RECORDS + 1];
	struct made m = segment_of(1, ends);
	struct dir d = dir_begin();
	struct spool *s;

	dir_put_segment(&d, 1, &m);
	put_cursor(&d, "cursor-a", MAKE_ID, RECORDS + 5, 0);
	put_cursor(&d, "cursor-b", MAKE_ID, RECORDS + 7, 1);
	put_cursor(&d, "cursor-c", MAKE_OTHER_ID, RECORDS + 100, 0);
	s = open_spool(&d);
	CU_ASSERT_EQUAL(append_one(s), RECORDS + 8);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	made_free(&m);
	dir_end(&d);
}

/* ---- what an earlier sync may have dropped ---- */

static void open_watched(const struct dir *d)
{
	struct spool *s;

	memset(&watch, 0, sizeof(watch));
	watch.on = true;
	s = open_spool(d);
	watch.on = false;
	CU_ASSERT_TRUE(watch.synced);
	CU_ASSERT_EQUAL(spool_close(s), 0);
}

/* After a sync that failed the pages are clean: a new one would say 0 and write nothing. */
static void test_what_was_not_known_to_be_durable_is_written_again_before_the_first_sync(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s = NULL;
	struct made before, after;

	c.sync = SPOOL_SYNC_NONE;
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, d.path, &c), 0);
	append_one(s);
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	append_one(s);
	watch.on = watch.fail_sync = true;
	CU_ASSERT_EQUAL(spool_sync(s), -EIO);
	CU_ASSERT_EQUAL(spool_close(s), -EIO);
	before = dir_get_segment(&d, 1);
	open_watched(&d);
	CU_ASSERT_EQUAL(watch.rewritten, 1);
	after = dir_get_segment(&d, 1);
	CU_ASSERT_TRUE(made_same(&before, &after));
	open_watched(&d); /* now it is known */
	CU_ASSERT_EQUAL(watch.rewritten, 0);
	made_free(&before);
	made_free(&after);
	dir_end(&d);
}

static void test_an_open_whose_sync_fails_fails(void)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d);

	append_one(s);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	memset(&watch, 0, sizeof(watch));
	watch.on = watch.fail_sync = true;
	CU_ASSERT_EQUAL(open_result(&d), -EIO);
	watch.on = false;
	s = open_spool(&d); /* and gave the lock back */
	CU_ASSERT_EQUAL(append_one(s), 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	dir_end(&d);
}

SG_TESTS("crash", TEST(test_a_tail_torn_at_any_byte_is_kept_and_cut),
	 TEST(test_zeros_written_in_advance_are_no_torn_tail),
	 TEST(test_a_segment_damaged_inside_is_left_and_a_new_one_follows),
	 TEST(test_a_segment_without_a_header_is_left_and_a_new_one_follows),
	 TEST(test_an_empty_last_segment_is_kept_and_made_anew),
	 TEST(test_two_spools_in_one_directory_are_refused),
	 TEST(test_an_unknown_version_or_a_file_that_nobody_can_tell_is_refused_untouched),
	 TEST(test_numbers_known_to_be_durable_are_not_given_again),
	 TEST(test_numbers_that_a_consumer_acknowledged_are_not_given_again),
	 TEST(test_what_was_not_known_to_be_durable_is_written_again_before_the_first_sync),
	 TEST(test_an_open_whose_sync_fails_fails))
