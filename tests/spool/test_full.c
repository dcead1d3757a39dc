// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* A spool that is full, by its own bound or because the disk is: it stays valid, and goes on when there is room. */
#include "interpose.h"

#include "spoolguard/spool.h"
#include "tap.h"
#include "walk.h"

static int faults[2];	/* of the next two pwritev */
static int cut_fault;	/* of the next ftruncate */
static int zeros_fault; /* of every pwrite */

static int call_before(const struct call *c)
{
	int fault = 0;

	if (c->kind == CALL_PWRITEV) {
		fault = faults[0];
		faults[0] = faults[1];
		faults[1] = 0;
	}
	if (c->kind == CALL_PWRITE)
		fault = zeros_fault;
	if (c->kind == CALL_FTRUNCATE) {
		fault = cut_fault;
		cut_fault = 0;
	}
	return fault;
}

static void call_after(const struct call *c, long result)
{
}

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

static void check_holds(const struct dir *d, uint64_t first, uint64_t last)
{
	struct walked w = walk_spool(d->path, NULL, NULL);

	CU_ASSERT_TRUE(walk_is(&w, first, last));
}

/* ---- the disk ---- */

static void half_a_frame(const struct spool_config *c, int error)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, c);
	uint8_t p[300] = { 1 };
	uint64_t seq = 0;

	CU_ASSERT_EQUAL(spool_append(s, p, sizeof(p), &seq), 0);
	faults[0] = CALL_SHORT;
	faults[1] = error;
	CU_ASSERT_EQUAL(spool_append(s, p, sizeof(p), &seq), -error);
	check_holds(&d, 1, 1); /* not a byte of it is left */
	/* A shorter one would not cover what the longer one left. */
	CU_ASSERT_EQUAL(spool_append(s, p, 3, &seq), 0);
	CU_ASSERT_EQUAL(seq, 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, 2);
	dir_end(&d);
}

static void test_a_full_disk_in_the_middle_of_a_frame_leaves_a_valid_spool(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	int prealloc, sync;

	for (prealloc = 0; prealloc <= SPOOL_PREALLOC_WRITTEN; prealloc++)
		for (sync = 0; sync <= SPOOL_SYNC_ADAPTIVE; sync++) {
			c.prealloc = (enum spool_prealloc)prealloc;
			c.sync = (enum spool_sync_mode)sync;
			half_a_frame(&c, ENOSPC);
			half_a_frame(&c, EDQUOT);
		}
}

static void test_what_could_not_be_cut_back_is_cut_before_the_next_append(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;
	uint8_t p[300] = { 1 };
	uint64_t seq = 0;

	c.on_error = SPOOL_ON_ERROR_WARN;
	s = open_spool(&d, &c);
	faults[0] = CALL_SHORT;
	faults[1] = ENOSPC;
	cut_fault = EIO;
	CU_ASSERT_EQUAL(spool_append(s, p, sizeof(p), &seq), -EIO);
	CU_ASSERT_EQUAL(spool_append(s, p, 3, &seq), 0);
	CU_ASSERT_EQUAL(seq, 1);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, 1);

	c.on_error = SPOOL_ON_ERROR_FAIL;
	s = open_spool(&d, &c);
	faults[0] = CALL_SHORT;
	faults[1] = ENOSPC;
	cut_fault = EIO;
	CU_ASSERT_EQUAL(spool_append(s, p, sizeof(p), &seq), -EIO);
	CU_ASSERT_EQUAL(spool_append(s, p, 3, &seq), -EIO);
	CU_ASSERT_EQUAL(spool_close(s), -EIO);
	s = open_spool(&d, &c);
	CU_ASSERT_TRUE(status_of(s).cut_bytes > 0);
	CU_ASSERT_EQUAL(spool_append(s, p, 3, &seq), 0);
	CU_ASSERT_EQUAL(seq, 2);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, 2);
	dir_end(&d);
}

/* The zeros are only there to make syncs cheap. */
static void test_a_record_that_fits_is_taken_where_zeros_ahead_of_it_do_not_fit(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;

	c.prealloc = SPOOL_PREALLOC_WRITTEN;
	c.sync = SPOOL_SYNC_NONE;
	s = open_spool(&d, &c);
	zeros_fault = ENOSPC;
	CU_ASSERT_EQUAL(spool_append(s, "record", 6, NULL), 0);
	zeros_fault = EDQUOT;
	CU_ASSERT_EQUAL(spool_append(s, "record", 6, NULL), 0);
	zeros_fault = 0;
	CU_ASSERT_TRUE(status_of(s).bytes < 4096);
	CU_ASSERT_EQUAL(spool_append(s, "record", 6, NULL), 0);
	CU_ASSERT_TRUE(status_of(s).bytes > 4096);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, 3);
	dir_end(&d);
}

/* ---- max_bytes ---- */

#define MAX_BYTES 100000

/* Returns the last number that found room. */
static uint64_t append_until_full(struct spool *s)
{
	uint8_t p[500] = { 1 };
	uint64_t seq = 0;
	int err;

	do {
		err = spool_append(s, p, sizeof(p), &seq);
	} while (!err);
	CU_ASSERT_EQUAL(err, -ENOSPC);
	return seq;
}

static void check_full(const struct spool_config *c)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, c);
	uint64_t last, bytes, seq;
	int i;

	last = append_until_full(s);
	CU_ASSERT_TRUE(last > MAX_BYTES / 2 / 532);
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	CU_ASSERT_TRUE(status_of(s).bytes <= MAX_BYTES);
	CU_ASSERT_EQUAL(status_of(s).durable_seq, last);
	CU_ASSERT_EQUAL(status_of(s).records_at_risk,
			0); /* a refusal leaves nothing in the books */
	CU_ASSERT_EQUAL(spool_close(s), 0);
	check_holds(&d, 1, last);
	for (i = 0; i < 3; i++) { /* the bound survives reopening */
		s = open_spool(&d, c);
		seq = append_until_full(s);
		last = seq ? seq : last;
		CU_ASSERT_TRUE(status_of(s).bytes <= MAX_BYTES);
		CU_ASSERT_EQUAL(spool_close(s), 0);
	}
	CU_ASSERT_EQUAL(sg_dir_bytes(d.fd, &bytes), 0);
	CU_ASSERT_TRUE(bytes <= MAX_BYTES);
	check_holds(&d, 1, last);
	dir_end(&d);
}

static void test_max_bytes_bounds_all_files_over_reopening(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	int prealloc;

	c.sync = SPOOL_SYNC_NONE;
	c.max_bytes = MAX_BYTES;
	for (prealloc = 0; prealloc <= SPOOL_PREALLOC_WRITTEN; prealloc++) {
		c.prealloc = (enum spool_prealloc)prealloc;
		c.segment_bytes = 8192;
		check_full(&c);
		c.segment_bytes = 0; /* larger than all that may be: made smaller */
		check_full(&c);
	}
}

static void test_other_files_count(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	static uint8_t other[MAX_BYTES / 2];
	struct dir d = dir_begin();
	struct spool *s;
	uint64_t last;

	c.max_bytes = MAX_BYTES;
	dir_put(&d, "other", other, sizeof(other));
	s = open_spool(&d, &c);
	last = append_until_full(s);
	CU_ASSERT_TRUE(last < MAX_BYTES / 2 / 532);
	CU_ASSERT_TRUE(status_of(s).bytes <= MAX_BYTES);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	dir_end(&d);
}

static void test_room_that_a_reader_makes_is_used(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	char name[SG_NAME_BYTES];
	uint64_t last, next;
	struct walked w;
	struct spool *s;

	c.max_bytes = MAX_BYTES; /* one segment would hold it all: the writer makes several */
	s = open_spool(&d, &c);
	last = append_until_full(s);
	CU_ASSERT_TRUE(status_of(s).segments >= 3);
	sg_dir_name(name, 1, SG_SEGMENT);
	CU_ASSERT_EQUAL(unlinkat(d.fd, name, 0), 0);
	next = append_until_full(s);
	CU_ASSERT_TRUE(next > last + 20);
	CU_ASSERT_TRUE(status_of(s).bytes <= MAX_BYTES);
	CU_ASSERT_TRUE(status_of(s).first_seq > 1);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(!w.err && !w.gaps && !w.damaged && !w.torn && w.last == next);
	dir_end(&d);
}

SG_TESTS("full", TEST(test_a_full_disk_in_the_middle_of_a_frame_leaves_a_valid_spool),
	 TEST(test_what_could_not_be_cut_back_is_cut_before_the_next_append),
	 TEST(test_a_record_that_fits_is_taken_where_zeros_ahead_of_it_do_not_fit),
	 TEST(test_max_bytes_bounds_all_files_over_reopening), TEST(test_other_files_count),
	 TEST(test_room_that_a_reader_makes_is_used))
