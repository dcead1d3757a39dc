// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* A reader on a disk that fails: no error becomes a success. */
#include <dlfcn.h>
#include <errno.h>

#include "make.h"
#include "spool/cursor.h"
#include "spoolguard/spool.h"
#include "tap.h"

/* ---- the disk ---- */

static struct {
	int fail_fdatasync, fail_fsync, fail_pwrite; /* so many calls, from the next one on, */
	int good_fdatasyncs;			     /* but these first */
	int fdatasyncs, direct_reads;
	bool disk_differs; /* reads past the cache return something else */
} faults;

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	must(p != NULL, name);
	return p;
}

static bool fails(int *times, int error)
{
	if (*times <= 0)
		return false;
	--*times;
	errno = error;
	return true;
}

int fdatasync(int fd)
{
	int (*next)(int);

	*(void **)&next = real("fdatasync");
	faults.fdatasyncs++;
	if (faults.good_fdatasyncs > 0) {
		faults.good_fdatasyncs--;
		return next(fd);
	}
	return fails(&faults.fail_fdatasync, EIO) ? -1 : next(fd);
}

int fsync(int fd)
{
	int (*next)(int);

	*(void **)&next = real("fsync");
	return fails(&faults.fail_fsync, EIO) ? -1 : next(fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	ssize_t (*next)(int, const void *, size_t, off_t);

	*(void **)&next = real("pwrite");
	return fails(&faults.fail_pwrite, ENOSPC) ? -1 : next(fd, p, n, at);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
	ssize_t (*next)(int, void *, size_t, off_t), got;

	*(void **)&next = real("pread");
	got = next(fd, p, n, at);
	if (!(fcntl(fd, F_GETFL) & O_DIRECT))
		return got;
	faults.direct_reads++;
	if (faults.disk_differs && got > SG_HEADER_BYTES)
		((uint8_t *)p)[got - 1] ^= 1;
	return got;
}

/* ---- spools ---- */

#define RECORDS 300

static void put(const struct dir *d, uint64_t first, uint64_t last)
{
	struct made m = { 0 };
	uint64_t seq;

	made_header(&m, MAKE_ID, first, 0);
	for (seq = first; seq <= last; seq++)
		made_frame(&m, seq, 40);
	dir_put_segment(d, first, &m);
	made_free(&m);
}

static struct dir begin(void)
{
	struct dir d = dir_begin();

	memset(&faults, 0, sizeof(faults));
	put(&d, 1, RECORDS);
	return d;
}

static struct spool_reader *open_reader(const struct dir *d, const char *consumer)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct spool_reader *r = NULL;

	c.consumer = consumer;
	c.flags = consumer ? SPOOL_READ_DELETE : 0;
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&r, d->path, &c), 0);
	return r;
}

static int next(struct spool_reader *r)
{
	struct spool_record record;

	return spool_reader_next(r, &record, 0);
}

static void read_all(struct spool_reader *r, int records)
{
	while (records--)
		CU_ASSERT_EQUAL(next(r), 0);
}

static bool reads_past_the_cache(const struct dir *d)
{
	int fd = openat(d->fd, "00000000000000000001.spool", O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- records ---- */

static void test_one_sync_serves_all_that_is_there(void)
{
	struct dir d = begin();
	struct spool_reader *r = open_reader(&d, NULL);

	read_all(r, RECORDS);
	CU_ASSERT_EQUAL(next(r), -EAGAIN);
	CU_ASSERT_EQUAL(faults.fdatasyncs, 1);
	CU_ASSERT_EQUAL(faults.direct_reads > 0, reads_past_the_cache(&d));
	spool_reader_close(r);
	dir_end(&d);
}

/* The kernel tells of it once; asked again it would say that all is well. */
static void test_a_failed_sync_gives_no_record_ever(void)
{
	struct dir d = begin();
	struct spool_reader *r = open_reader(&d, NULL);

	faults.fail_fdatasync = 1;
	CU_ASSERT_EQUAL(next(r), -EIO);
	CU_ASSERT_EQUAL(next(r), -EIO);
	CU_ASSERT_EQUAL(faults.fdatasyncs, 1);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_a_failed_sync_of_the_directory_gives_no_record(void)
{
	struct dir d = begin();
	struct spool_reader *r = open_reader(&d, NULL);

	faults.fail_fsync = 1;
	CU_ASSERT_EQUAL(next(r), -EIO);
	CU_ASSERT_EQUAL(next(r), -EIO);
	spool_reader_close(r);
	dir_end(&d);
}

/* The sync of a writer failed, and it ended. Ours says 0; the disk says otherwise. */
static void test_a_sync_that_failed_for_another_is_seen_on_the_disk(void)
{
	struct dir d = begin();
	struct spool_reader *r = open_reader(&d, NULL);

	faults.disk_differs = true;
	CU_ASSERT_EQUAL(next(r), reads_past_the_cache(&d) ? -EIO : 0);
	faults.disk_differs = false;
	CU_ASSERT_EQUAL(next(r), reads_past_the_cache(&d) ? -EIO : 0);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_what_a_later_segment_makes_durable_is_given_on_a_failing_disk(void)
{
	struct dir d = begin();
	struct spool_reader *r;

	put(&d, RECORDS + 1, RECORDS + 5);
	r = open_reader(&d, NULL);
	faults.fail_fdatasync = 1;
	read_all(r, RECORDS);
	CU_ASSERT_EQUAL(next(r), -EIO);
	spool_reader_close(r);
	dir_end(&d);
}

/* ---- acknowledgements ---- */

static uint64_t acked(const struct dir *d)
{
	uint64_t least = 0;

	CU_ASSERT_EQUAL(sg_cursor_least(d->fd, MAKE_ID, &least), 0);
	return least;
}

static void test_an_acknowledgement_whose_sync_failed_never_counts(void)
{
	struct dir d = begin();
	struct spool_reader *r;

	put(&d, RECORDS + 1, RECORDS + 5);
	r = open_reader(&d, "a");
	read_all(r, RECORDS + 5);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 7), 0);
	faults.fail_fdatasync = 1;
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), -EIO);
	CU_ASSERT_EQUAL(acked(&d), 7); /* nor to those who would delete */
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), -EIO);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS + 1), -EIO);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 7), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), -EIO);
	CU_ASSERT_EQUAL(acked(&d), 7);
	CU_ASSERT_EQUAL(faccessat(d.fd, "00000000000000000001.spool", F_OK, 0), 0);
	dir_end(&d);
}

static void test_an_acknowledgement_without_space_is_made_again(void)
{
	struct dir d = begin();
	struct spool_reader *r = open_reader(&d, "a");

	read_all(r, 9);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 7), 0);
	faults.fail_pwrite = 1;
	CU_ASSERT_EQUAL(spool_reader_ack(r, 9), -ENOSPC);
	CU_ASSERT_EQUAL(acked(&d), 7);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 9), 0);
	CU_ASSERT_EQUAL(acked(&d), 9);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	dir_end(&d);
}

static void test_a_cursor_that_could_not_be_made_leaves_none(void)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct dir d = begin();
	struct spool_reader *r;

	c.consumer = "a";
	faults.fail_fdatasync = 1;
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &c), -EIO);
	faults.fail_pwrite = 1;
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &c), -ENOSPC);
	CU_ASSERT_EQUAL(acked(&d), UINT64_MAX);
	CU_ASSERT_NOT_EQUAL(faccessat(d.fd, ".cursor-a", F_OK, 0), 0);
	dir_end(&d);
}

/* Of another consumer's acknowledgement it is not known whether the disk has it. */
static void test_nothing_is_deleted_if_a_cursor_cannot_be_synced(void)
{
	struct dir d = begin();
	struct spool_reader *a, *b;

	put(&d, RECORDS + 1, RECORDS + 5);
	b = open_reader(&d, "b");
	a = open_reader(&d, "a");
	read_all(a, RECORDS + 5);
	read_all(b, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(b, RECORDS), 0);
	/* Its own acknowledgement is stored; the syncs by which it looks at the cursors fail. */
	faults.good_fdatasyncs = 1;
	faults.fail_fdatasync = 2;
	CU_ASSERT_EQUAL(spool_reader_ack(a, RECORDS), 0);
	CU_ASSERT_EQUAL(faccessat(d.fd, "00000000000000000001.spool", F_OK, 0), 0);
	faults.fail_fdatasync = 0;
	CU_ASSERT_EQUAL(spool_reader_ack(a, RECORDS + 1), 0);
	CU_ASSERT_NOT_EQUAL(faccessat(d.fd, "00000000000000000001.spool", F_OK, 0), 0);
	spool_reader_close(a);
	spool_reader_close(b);
	dir_end(&d);
}

static void test_a_failed_sync_after_a_deletion_is_told(void)
{
	struct dir d = begin();
	struct spool_reader *r;

	put(&d, RECORDS + 1, RECORDS + 5);
	r = open_reader(&d, "a");
	read_all(r, RECORDS + 5);
	faults.fail_fsync = 1;
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), -EIO);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(acked(&d), RECORDS); /* the acknowledgement itself is durable */
	spool_reader_close(r);
	dir_end(&d);
}

SG_TESTS("reader_faults", TEST(test_one_sync_serves_all_that_is_there),
	 TEST(test_a_failed_sync_gives_no_record_ever),
	 TEST(test_a_failed_sync_of_the_directory_gives_no_record),
	 TEST(test_a_sync_that_failed_for_another_is_seen_on_the_disk),
	 TEST(test_what_a_later_segment_makes_durable_is_given_on_a_failing_disk),
	 TEST(test_an_acknowledgement_whose_sync_failed_never_counts),
	 TEST(test_an_acknowledgement_without_space_is_made_again),
	 TEST(test_a_cursor_that_could_not_be_made_leaves_none),
	 TEST(test_nothing_is_deleted_if_a_cursor_cannot_be_synced),
	 TEST(test_a_failed_sync_after_a_deletion_is_told))
