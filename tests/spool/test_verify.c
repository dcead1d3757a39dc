// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* What verify tells of spools that were made by hand. */
#include "tap.h"

#include <pthread.h>
#include <stdatomic.h>

#include "found.h"
#include "spool/index.h"

#define FRAME 42u /* bytes of a record of 10 bytes */
#define AT(i) (SG_HEADER_BYTES + (uint64_t)((i)-1) * FRAME)

/* A segment with the records first to last of 10 bytes; `risk` of those before each were at risk. */
static struct made segment(const uint8_t *id, uint64_t first, uint64_t last, uint32_t risk)
{
	struct made m = { 0 };
	uint64_t seq;

	made_header(&m, id, first, 0);
	for (seq = first; seq <= last; seq++)
		made_frame_of(&m, id, seq, risk, "0123456789", 10);
	return m;
}

static void put(const struct dir *d, uint64_t first, uint64_t last)
{
	struct made m = segment(MAKE_ID, first, last, 0);

	dir_put_segment(d, first, &m);
	made_free(&m);
}

static void put_index(const struct dir *d, uint64_t first)
{
	struct sg_index x = { 0 };

	must(sg_index_add(&x, first, SG_HEADER_BYTES) == 0, "index");
	must(sg_index_write(&x, d->fd, first, first, sg_frame_seed(MAKE_ID), 0640) == 0, "index");
	sg_index_free(&x);
}

static void put_durable(const struct dir *d, uint64_t durable)
{
	uint8_t raw[SG_DURABLE_BYTES];

	sg_durable_write(raw, sg_frame_seed(MAKE_ID), durable, durable);
	dir_put(d, "durable", raw, sizeof(raw));
}

static void test_a_good_spool_has_no_finding(void)
{
	struct dir d = dir_begin();
	struct spool_summary sum;
	struct found all;

	put(&d, 1, 10);
	put_index(&d, 1);
	put(&d, 11, 20);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 0);
	CU_ASSERT_EQUAL(all.n, 0);
	CU_ASSERT(sum.segments == 2 && sum.records == 20 && sum.bytes == 20 * FRAME);
	CU_ASSERT(sum.first_seq == 1 && sum.last_seq == 20 && sum.findings == 0);
	CU_ASSERT_EQUAL(sum.format, SPOOL_FORMAT_NATIVE);
	CU_ASSERT(all.calls >= 1 && all.done == all.total);
	CU_ASSERT_EQUAL(all.total, 256 + 20 * FRAME);
	CU_ASSERT_EQUAL(spool_verify(d.path, NULL, NULL), 0);
	dir_end(&d);
}

static void test_nothing_is_a_good_spool(void)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool_summary sum;
	struct found all;

	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 0);
	CU_ASSERT_EQUAL(spool_verify(d.path, &c, &sum), 0);
	CU_ASSERT_EQUAL(sum.format, SPOOL_FORMAT_NATIVE);
	CU_ASSERT_EQUAL(spool_recover(d.path, &c, &sum), 0);
	CU_ASSERT_EQUAL(dir_count(&d, "."), 0);
	dir_end(&d);
}

static void test_bad_arguments_are_refused(void)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;
	struct dir d = dir_begin();

	CU_ASSERT_EQUAL(spool_verify("/nonexistent", NULL, NULL), -ENOENT);
	c.size = 4;
	CU_ASSERT_EQUAL(spool_verify(d.path, &c, NULL), -EINVAL);
	c.size = sizeof(c);
	c.format = (enum spool_format)9;
	CU_ASSERT_EQUAL(spool_verify(d.path, &c, NULL), -EINVAL);
	CU_ASSERT_EQUAL(spool_recover(d.path, &c, NULL), -EINVAL);
	dir_end(&d);
}

static void test_a_torn_end_is_torn_in_the_last_segment_only(void)
{
	struct dir d = dir_begin();
	struct made a = segment(MAKE_ID, 1, 10, 0), b = segment(MAKE_ID, 11, 20, 0);
	struct spool_summary sum;
	struct found all;

	a.n -= 5;
	b.n -= 7;
	dir_put_segment(&d, 1, &a);
	put_index(&d, 1);
	dir_put_segment(&d, 11, &b);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT_EQUAL(all.n, 2);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_DAMAGE, 1, AT(10), FRAME - 5));
	CU_ASSERT(found_cost(&all, 0, 10, 10, 1));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_TORN, 11, AT(10), FRAME - 7));
	CU_ASSERT(found_cost(&all, 1, 0, 0, 0));
	CU_ASSERT(sum.damaged_bytes == FRAME - 5 && sum.torn_bytes == FRAME - 7);
	CU_ASSERT(sum.missing_records == 1 && sum.findings == 2 && sum.records == 18);
	made_free(&a);
	made_free(&b);
	dir_end(&d);
}

static void test_gaps_inside_and_between_segments(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct spool_summary sum;
	struct found all;

	made_header(&m, MAKE_ID, 5, 0);
	made_frame_of(&m, MAKE_ID, 6, 1, "a", 1); /* 5 is missing; 4 were durable */
	made_frame_of(&m, MAKE_ID, 9, 0, "b", 1); /* 7 and 8 are; all were durable */
	dir_put_segment(&d, 5, &m);
	put_index(&d, 1); /* of a segment that is not there */
	put(&d, 21, 25);  /* 10 to 20 */
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT_EQUAL(all.n, 4);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_GAP, 5, SG_HEADER_BYTES, 0));
	CU_ASSERT(found_cost(&all, 0, 5, 5, 1));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_GAP, 5, SG_HEADER_BYTES + 33, 0));
	CU_ASSERT(found_cost(&all, 1, 7, 8, 2));
	CU_ASSERT(found_is(&all, 2, SPOOL_FOUND_INDEX, 5, 0, 0));
	CU_ASSERT(found_is(&all, 3, SPOOL_FOUND_GAP, 21, 0, 0));
	CU_ASSERT(found_cost(&all, 3, 10, 20, 11));
	CU_ASSERT_EQUAL(sum.missing_records, 14);
	made_free(&m);
	dir_end(&d);
}

/* Of the lost, only those count as durable that the writer knew to be: later frames tell. */
static void test_lost_records_are_durable_as_far_as_the_writer_knew(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct found all;

	made_header(&m, MAKE_ID, 1, 0);
	made_frame_of(&m, MAKE_ID, 1, 0, "a", 1);
	made_frame_of(&m, MAKE_ID, 10, 9, "a", 1);
	made_frame_of(&m, MAKE_ID, 20, UINT32_MAX, "a", 1);
	made_frame_of(&m, MAKE_ID, 21, 16, "a", 1); /* 4 were durable */
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(all.n, 2);
	CU_ASSERT(found_cost(&all, 0, 2, 9, 3));
	CU_ASSERT(found_cost(&all, 1, 11, 19, 0));
	/* The hint `durable` tells the rest. */
	put_durable(&d, 15);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(found_cost(&all, 0, 2, 9, 8));
	CU_ASSERT(found_cost(&all, 1, 11, 19, 5));
	made_free(&m);
	dir_end(&d);
}

static void test_more_gaps_than_can_wait_are_all_told(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct spool_summary sum;
	struct found all;
	uint64_t seq;

	made_header(&m, MAKE_ID, 1, 0);
	for (seq = 1; seq <= 401; seq += 2)
		made_frame_of(&m, MAKE_ID, seq, UINT32_MAX, "a", 1);
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT(all.n == 200 && sum.missing_records == 200 && sum.findings == 200);
	for (seq = 0; seq < 200; seq++)
		CU_ASSERT(found_cost(&all, (unsigned int)seq, 2 * seq + 2, 2 * seq + 2, 0));
	made_free(&m);
	dir_end(&d);
}

static void test_durable_records_missing_at_the_end_are_told(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_ID, 1, 10, 0);
	struct found all;

	dir_put_segment(&d, 1, &m);
	put_durable(&d, 10);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	put_durable(&d, 12);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 && all.v[0].kind == SPOOL_FOUND_GAP && found_cost(&all, 0, 11, 12, 2));
	m.n--;
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_TORN, 1, AT(10), FRAME - 1));
	CU_ASSERT(found_cost(&all, 0, 10, 12, 3));
	made_free(&m);
	dir_end(&d);
}

static void test_damage_is_told_with_what_it_cost(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_ID, 1, 10, 0);
	struct spool_summary sum;
	struct found all;

	m.p[AT(3) + 35] ^= 1;
	m.p[AT(4) + 1] ^= 1;
	m.p[AT(8) + 4] ^= 0x80;
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT_EQUAL(all.n, 2);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_DAMAGE, 1, AT(3), 2 * FRAME));
	CU_ASSERT(found_cost(&all, 0, 3, 4, 2));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_DAMAGE, 1, AT(8), FRAME));
	CU_ASSERT(found_cost(&all, 1, 8, 8, 1));
	CU_ASSERT(sum.damaged_bytes == 3 * FRAME && sum.missing_records == 3);
	made_free(&m);
	dir_end(&d);
}

static void test_damage_across_the_border_of_segments(void)
{
	struct dir d = dir_begin();
	struct made a = segment(MAKE_ID, 1, 10, 0), b = segment(MAKE_ID, 11, 20, 0);
	struct found all;

	a.p[AT(9) + 9] ^= 1;
	a.p[AT(10) + 9] ^= 1;
	b.p[AT(1) + 9] ^= 1;
	dir_put_segment(&d, 1, &a);
	put_index(&d, 1);
	dir_put_segment(&d, 11, &b);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT_EQUAL(all.n, 2);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_DAMAGE, 1, AT(9), 2 * FRAME));
	CU_ASSERT(found_cost(&all, 0, 9, 10, 2));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_DAMAGE, 11, AT(1), FRAME));
	CU_ASSERT(found_cost(&all, 1, 11, 11, 1));
	made_free(&a);
	made_free(&b);
	dir_end(&d);
}

static void test_copies_of_a_header_are_told_apart(void)
{
	struct dir d = dir_begin();
	struct made a = segment(MAKE_ID, 1, 3, 0), b = segment(MAKE_ID, 4, 6, 0),
		    c = segment(MAKE_ID, 7, 9, 0);
	struct spool_summary sum;
	struct found all;

	a.p[20] ^= 1;
	b.p[64 + 20] ^= 1;
	c.p[20] ^= 1;
	c.p[64 + 20] ^= 1;
	dir_put_segment(&d, 1, &a);
	dir_put_segment(&d, 4, &b);
	dir_put_segment(&d, 7, &c);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT_EQUAL(all.n, 3);
	CU_ASSERT(found_is(&all, 0, SPOOL_FOUND_HEADER, 1, 0, 64));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_HEADER, 4, 64, 64));
	CU_ASSERT(found_is(&all, 2, SPOOL_FOUND_HEADER, 7, 0, 128));
	CU_ASSERT_EQUAL(sum.records, 9);
	made_free(&a);
	made_free(&b);
	made_free(&c);
	dir_end(&d);
}

static void test_a_name_that_is_not_the_number_is_told(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_ID, 1, 3, 0);
	struct spool_summary sum;
	struct found all;

	dir_put_segment(&d, 2, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_HEADER, 2, 32, 8));
	CU_ASSERT_EQUAL(sum.records, 3);
	made_free(&m);
	dir_end(&d);
}

static void test_spool_without_any_header_is_told(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_ID, 1, 3, 0);
	struct found all;

	memset(m.p, 0, SG_HEADER_BYTES);
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_HEADER, 1, 0, m.n));
	made_free(&m);
	dir_end(&d);
}

static void test_segment_of_another_spool_is_foreign(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_OTHER_ID, 1, 5, 0);
	struct spool_summary sum;
	struct found all;

	dir_put_segment(&d, 1, &m);
	put(&d, 6, 10);
	put_index(&d, 6);
	put(&d, 11, 12);
	CU_ASSERT_EQUAL(verify(&d, &all, &sum), 1);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_FOREIGN, 1, 0, m.n));
	CU_ASSERT(sum.records == 7 && sum.segments == 3 && sum.first_seq == 6);
	made_free(&m);
	dir_end(&d);
}

static void test_wrong_index_is_told_and_costs_nothing(void)
{
	struct dir d = dir_begin();
	struct sg_index x = { 0 };
	struct found all;

	put(&d, 1, 10);
	put(&d, 11, 20);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_INDEX, 1, 0, 0));
	CU_ASSERT_STRING_EQUAL(all.v[0].why, "missing");
	sg_index_add(&x, 1, SG_HEADER_BYTES + 1);
	sg_index_write(&x, d.fd, 1, 1, sg_frame_seed(MAKE_ID), 0640);
	sg_index_write(&x, d.fd, 11, 11, sg_frame_seed(MAKE_OTHER_ID), 0640);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT(all.n == 2 && found_is(&all, 0, SPOOL_FOUND_INDEX, 1, 0, 0));
	CU_ASSERT(found_is(&all, 1, SPOOL_FOUND_INDEX, 11, 0, 0));
	sg_index_free(&x);
	dir_end(&d);
}

static void test_preallocated_zeros_are_no_finding(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct found all;

	made_header(&m, MAKE_ID, 1, SG_HEADER_ZEROS);
	made_frame(&m, 1, 10);
	made_add(&m, NULL, 100000);
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT_EQUAL(all.n, 0);
	memset(m.p + SG_HEADER_BYTES + FRAME, 9, 50);
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 &&
		  found_is(&all, 0, SPOOL_FOUND_TORN, 1, SG_HEADER_BYTES + FRAME, 50));
	made_free(&m);
	dir_end(&d);
}

static void test_what_a_writer_is_appending_is_no_torn_tail(void)
{
	struct dir d = dir_begin();
	struct made m = segment(MAKE_ID, 1, 5, 0), none = { 0 };
	struct found all;
	int lock;

	m.n -= 3;
	dir_put_segment(&d, 1, &m);
	lock = sg_dir_lock(d.fd, 0640);
	CU_ASSERT(lock >= 0);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT_EQUAL(all.n, 0);
	/* Neither is a file that has no header yet. */
	m.n += 3;
	dir_put_segment(&d, 1, &m);
	put_index(&d, 1);
	dir_put_segment(&d, 6, &none);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 0);
	CU_ASSERT_EQUAL(all.n, 0);
	close(lock);
	CU_ASSERT_EQUAL(verify(&d, &all, NULL), 1);
	CU_ASSERT(all.n == 1 && found_is(&all, 0, SPOOL_FOUND_HEADER, 6, 0, 128));
	made_free(&m);
	dir_end(&d);
}

struct churn {
	const struct dir *d;
	_Atomic bool end;
};

/* A writer and a consumer: a new segment in front, the oldest gone, the `durable` hint moving along. */
static void *churn(void *arg)
{
	struct churn *c = arg;
	char name[SG_NAME_BYTES];
	uint64_t i;

	for (i = 1; !c->end; i += 10) {
		put(c->d, i + 40, i + 49);
		put_durable(c->d, i + 49);
		put_index(c->d, i + 30);
		sg_dir_name(name, i, SG_SEGMENT);
		unlinkat(c->d->fd, name, 0);
		sg_dir_name(name, i, SG_INDEX);
		unlinkat(c->d->fd, name, 0);
	}
	return NULL;
}

static void test_verify_beside_segments_that_come_and_go(void)
{
	struct dir d = dir_begin();
	struct churn c = { .d = &d };
	struct found all;
	pthread_t t;
	int i, lock = sg_dir_lock(d.fd, 0640), bad = 0;

	for (i = 1; i <= 31; i += 10)
		put(&d, (uint64_t)i, (uint64_t)i + 9);
	put_durable(&d, 40);
	must(pthread_create(&t, NULL, churn, &c) == 0, "thread");
	for (i = 0; i < 300; i++)
		bad += verify(&d, &all, NULL) != 0;
	c.end = true;
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(bad, 0);
	close(lock);
	dir_end(&d);
}

SG_TESTS("verify", TEST(test_a_good_spool_has_no_finding), TEST(test_nothing_is_a_good_spool),
	 TEST(test_bad_arguments_are_refused),
	 TEST(test_a_torn_end_is_torn_in_the_last_segment_only),
	 TEST(test_gaps_inside_and_between_segments),
	 TEST(test_lost_records_are_durable_as_far_as_the_writer_knew),
	 TEST(test_more_gaps_than_can_wait_are_all_told),
	 TEST(test_durable_records_missing_at_the_end_are_told),
	 TEST(test_damage_is_told_with_what_it_cost),
	 TEST(test_damage_across_the_border_of_segments),
	 TEST(test_copies_of_a_header_are_told_apart),
	 TEST(test_a_name_that_is_not_the_number_is_told),
	 TEST(test_spool_without_any_header_is_told),
	 TEST(test_segment_of_another_spool_is_foreign),
	 TEST(test_wrong_index_is_told_and_costs_nothing),
	 TEST(test_preallocated_zeros_are_no_finding),
	 TEST(test_what_a_writer_is_appending_is_no_torn_tail),
	 TEST(test_verify_beside_segments_that_come_and_go))
