/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* One test per condition of the proof: each takes a case that is redundant and breaks one thing. */
#include <errno.h>
#include <string.h>

#include "guard/elide.h"
#include "tap.h"

#define EXT4 0xef53
#define MS   INT64_C(1000000)
#define SEC  INT64_C(1000000000)

#define NOW    (1700000000 * SEC + 123456789)
#define EPOCH  7
#define OFFSET (1690000000 * SEC)
#define GRAN   (8 * MS)

static struct sg_elide_stat quiet_dir(void)
{
	return (struct sg_elide_stat){
		.dev = 0x801,
		.ino = 12,
		.gen = 345,
		.ctime_ns = NOW - 3 * SEC + 1,
		.mtime_ns = NOW - 3 * SEC + 1,
		.size = 4096,
		.nlink = 2,
		.mode = 040755,
	};
}

static int begin(struct sg_elide_proof *p, const struct sg_elide_stat *st)
{
	return sg_elide_begin(p, EXT4, st, NOW, GRAN, EPOCH, OFFSET);
}

/* A proof of quiet_dir(), as after a good sync. */
static struct sg_elide_proof proven(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	CU_ASSERT_EQUAL(begin(&p, &st), 0);
	sg_elide_synced(&p, true);
	return p;
}

static bool redundant(const struct sg_elide_proof *p, const struct sg_elide_stat *st)
{
	return sg_elide_redundant(p, st, EPOCH, OFFSET);
}

static void test_an_unchanged_synced_directory_is_redundant(void)
{
	struct sg_elide_proof p = proven();
	struct sg_elide_stat st = quiet_dir();

	CU_ASSERT_TRUE(redundant(&p, &st));
	CU_ASSERT_TRUE(redundant(&p, &st));
}

static void test_zeroed_memory_proves_nothing(void)
{
	struct sg_elide_proof p;
	struct sg_elide_stat st = { 0 };

	memset(&p, 0, sizeof(p));
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, 0, 0));
}

static void test_a_sync_that_only_began_proves_nothing(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	CU_ASSERT_EQUAL(begin(&p, &st), 0);
	CU_ASSERT_FALSE(redundant(&p, &st));
}

static void test_a_failed_sync_proves_nothing_and_ends_the_proof(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = proven();

	CU_ASSERT_EQUAL(begin(&p, &st), 0);
	CU_ASSERT_FALSE(redundant(&p, &st));
	sg_elide_synced(&p, false);
	CU_ASSERT_FALSE(redundant(&p, &st));
	sg_elide_synced(&p, true);
	CU_ASSERT_FALSE(redundant(&p, &st));
}

static void test_a_refused_begin_ends_the_old_proof(void)
{
	struct sg_elide_stat st = quiet_dir(), young = quiet_dir();
	struct sg_elide_proof p = proven();

	young.ctime_ns = NOW;
	CU_ASSERT_EQUAL(begin(&p, &young), -EAGAIN);
	sg_elide_synced(&p, true);
	CU_ASSERT_FALSE(redundant(&p, &st));
	CU_ASSERT_FALSE(redundant(&p, &young));
}

static void test_forget(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = proven();

	sg_elide_forget(&p);
	CU_ASSERT_FALSE(redundant(&p, &st));
}

#define CHANGED(field, value)                                       \
	static void test_a_changed_##field##_is_not_redundant(void) \
	{                                                           \
		struct sg_elide_proof p = proven();                 \
		struct sg_elide_stat st = quiet_dir();              \
                                                                    \
		st.field = value;                                   \
		CU_ASSERT_FALSE(redundant(&p, &st));                \
	}

CHANGED(dev, 0x802)
CHANGED(ino, 13)
CHANGED(gen, 346)
CHANGED(ctime_ns, NOW - 3 * SEC + 2)
CHANGED(mtime_ns, NOW - 3 * SEC + 2)
CHANGED(size, 8192)
CHANGED(nlink, 3)
CHANGED(mode, 040700)

static void test_a_clock_that_was_set_ends_the_proof(void)
{
	struct sg_elide_proof p = proven();
	struct sg_elide_stat st = quiet_dir();

	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH + 1, OFFSET));
}

static void test_an_offset_that_moved_ends_the_proof(void)
{
	struct sg_elide_proof p = proven();
	struct sg_elide_stat st = quiet_dir();

	CU_ASSERT_TRUE(sg_elide_redundant(&p, &st, EPOCH, OFFSET + MS));
	CU_ASSERT_TRUE(sg_elide_redundant(&p, &st, EPOCH, OFFSET - MS));
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH, OFFSET + MS + 1));
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH, OFFSET - MS - 1));
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH, INT64_MIN));
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH, INT64_MAX));
	p.offset_ns = INT64_MIN;
	CU_ASSERT_FALSE(sg_elide_redundant(&p, &st, EPOCH, INT64_MAX));
}

static int begin_aged(int64_t age_ns, uint64_t granularity_ns)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	st.ctime_ns = NOW - age_ns;
	return sg_elide_begin(&p, EXT4, &st, NOW, granularity_ns, EPOCH, OFFSET);
}

static void test_a_directory_changed_within_the_granularity_is_no_proof(void)
{
	CU_ASSERT_EQUAL(begin_aged(20 * MS + 1, 20 * MS), 0);
	CU_ASSERT_EQUAL(begin_aged(20 * MS, 20 * MS), -EAGAIN);
	CU_ASSERT_EQUAL(begin_aged(0, 20 * MS), -EAGAIN);
}

static void test_the_granularity_is_never_below_10_ms(void)
{
	CU_ASSERT_EQUAL(begin_aged(10 * MS, 1), -EAGAIN);
	CU_ASSERT_EQUAL(begin_aged(10 * MS, 0), -EAGAIN);
	CU_ASSERT_EQUAL(begin_aged(10 * MS + 1, 1), 0);
}

static void test_times_ahead_of_the_clock_are_no_proof(void)
{
	CU_ASSERT_EQUAL(begin_aged(-SEC, GRAN), -EAGAIN);
	CU_ASSERT_EQUAL(begin_aged(3 * SEC, UINT64_MAX), -EAGAIN);
}

static void test_an_age_past_64_bits_is_no_proof(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	st.ctime_ns = INT64_MIN;
	CU_ASSERT_EQUAL(sg_elide_begin(&p, EXT4, &st, INT64_MAX, GRAN, EPOCH, OFFSET), -EAGAIN);
}

static int begin_at(int64_t ctime_ns, int64_t mtime_ns)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	st.ctime_ns = ctime_ns;
	st.mtime_ns = mtime_ns;
	return begin(&p, &st);
}

/* A 128-byte ext4 inode keeps whole seconds: a change 1.9 s later may still look the same. */
static void test_whole_seconds_need_two_seconds(void)
{
	int64_t whole = 1699999999 * SEC; /* 1.12 s before NOW */

	CU_ASSERT_EQUAL(begin_at(whole, whole), -EAGAIN);
	CU_ASSERT_EQUAL(begin_at(whole, whole - SEC), -EAGAIN);
	CU_ASSERT_EQUAL(begin_at(whole, whole - 1), 0);
	CU_ASSERT_EQUAL(begin_at(whole + 1, whole), 0);
	CU_ASSERT_EQUAL(begin_at(whole - SEC, whole), 0); /* 2.12 s */
}

static void test_only_known_file_systems(void)
{
	static const uint64_t good[] = { 0xef53, 0x58465342, 0x9123683e };
	static const uint64_t bad[] = { 0,
					0x01021994 /* tmpfs */,
					0x6969 /* nfs */,
					0x65735546 /* fuse */,
					0x794c7630 /* overlay */,
					0xffffffff9123683e };
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CU_ASSERT_EQUAL(sg_elide_begin(&p, good[i], &st, NOW, GRAN, EPOCH, OFFSET), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CU_ASSERT_EQUAL(sg_elide_begin(&p, bad[i], &st, NOW, GRAN, EPOCH, OFFSET),
				-ENOTSUP);
		sg_elide_synced(&p, true);
		CU_ASSERT_FALSE(redundant(&p, &st));
	}
}

static void test_only_directories(void)
{
	struct sg_elide_stat st = quiet_dir();
	struct sg_elide_proof p = { 0 };

	st.mode = 0100644;
	CU_ASSERT_EQUAL(begin(&p, &st), -ENOTDIR);
	sg_elide_synced(&p, true);
	CU_ASSERT_FALSE(redundant(&p, &st));
}

SG_TESTS("elide", TEST(test_an_unchanged_synced_directory_is_redundant),
	 TEST(test_zeroed_memory_proves_nothing), TEST(test_a_sync_that_only_began_proves_nothing),
	 TEST(test_a_failed_sync_proves_nothing_and_ends_the_proof),
	 TEST(test_a_refused_begin_ends_the_old_proof), TEST(test_forget),
	 TEST(test_a_changed_dev_is_not_redundant), TEST(test_a_changed_ino_is_not_redundant),
	 TEST(test_a_changed_gen_is_not_redundant), TEST(test_a_changed_ctime_ns_is_not_redundant),
	 TEST(test_a_changed_mtime_ns_is_not_redundant), TEST(test_a_changed_size_is_not_redundant),
	 TEST(test_a_changed_nlink_is_not_redundant), TEST(test_a_changed_mode_is_not_redundant),
	 TEST(test_a_clock_that_was_set_ends_the_proof),
	 TEST(test_an_offset_that_moved_ends_the_proof),
	 TEST(test_a_directory_changed_within_the_granularity_is_no_proof),
	 TEST(test_the_granularity_is_never_below_10_ms),
	 TEST(test_times_ahead_of_the_clock_are_no_proof),
	 TEST(test_an_age_past_64_bits_is_no_proof), TEST(test_whole_seconds_need_two_seconds),
	 TEST(test_only_known_file_systems), TEST(test_only_directories))
