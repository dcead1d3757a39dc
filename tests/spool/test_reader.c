// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Reading a spool: order, what is durable, following, sleeping. The writer is played by hand, byte by byte. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "guard/clock.h"
#include "make.h"
#include "spool/index.h"
#include "spoolguard/spool.h"
#include "tap.h"

#define MS	1000000ull
#define LONG_NS 20000000000ull /* what must end before ends well before */

/* ---- a writer by hand ---- */

/* The segment `first`, records first to last. */
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

static int open_file(const struct dir *d, const char *name, int flags)
{
	int fd = openat(d->fd, name, flags | O_CLOEXEC, 0640);

	must(fd >= 0, name);
	return fd;
}

static int open_segment(const struct dir *d, uint64_t first)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, first, SG_SEGMENT);
	return open_file(d, name, O_WRONLY);
}

static void add_bytes(const struct dir *d, uint64_t first, const void *p, size_t n)
{
	int fd = open_segment(d, first);

	must(lseek(fd, 0, SEEK_END) >= 0 && write(fd, p, n) == (ssize_t)n, "append");
	close(fd);
}

static void add(const struct dir *d, uint64_t first, uint64_t seq)
{
	struct made m = { 0 };

	made_frame(&m, seq, 40);
	add_bytes(d, first, m.p, m.n);
	made_free(&m);
}

static void set_durable_of(const struct dir *d, const uint8_t *id, uint64_t durable)
{
	int fd = open_file(d, "durable", O_WRONLY | O_CREAT);
	uint8_t raw[SG_DURABLE_BYTES];

	sg_durable_write(raw, sg_frame_seed(id), durable, durable + 1000);
	must(sg_pwrite_all(fd, raw, sizeof(raw), 0) == 0, "durable");
	close(fd);
}

static void set_durable(const struct dir *d, uint64_t durable)
{
	set_durable_of(d, MAKE_ID, durable);
}

static int lock(const struct dir *d)
{
	int fd = sg_dir_lock(d->fd, 0640);

	must(fd >= 0, "lock");
	return fd;
}

/* ---- a reader ---- */

static struct spool_reader *open_from(const struct dir *d, uint64_t from, uint32_t flags)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct spool_reader *r = NULL;

	c.from = from;
	c.flags = flags;
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&r, d->path, &c), 0);
	return r;
}

static struct spool_reader *open_reader(const struct dir *d)
{
	return open_from(d, 0, 0);
}

static bool is_made(const struct spool_record *record)
{
	struct made m = { 0 };
	bool same;

	made_frame(&m, record->seq, 40);
	same = record->len == 40 && record->time_ns == 1000 + record->seq &&
	       memcmp(record->data, m.p + SG_FRAME_BYTES, 40) == 0;
	made_free(&m);
	return same;
}

/* The next one, which is waited for up to `deadline_ns`; 0: there is none. *lost may be NULL. */
static uint64_t next_by(struct spool_reader *r, uint64_t deadline_ns, uint64_t *lost)
{
	struct spool_record record;
	int err = spool_reader_next(r, &record, deadline_ns);

	CU_ASSERT(err == 0 || err == -EAGAIN);
	if (err)
		return 0;
	CU_ASSERT_TRUE(is_made(&record));
	if (lost)
		*lost = record.lost;
	else
		CU_ASSERT_EQUAL(record.lost, 0);
	return record.seq;
}

static uint64_t next_now(struct spool_reader *r)
{
	return next_by(r, 0, NULL);
}

static void expect_run(struct spool_reader *r, uint64_t from, uint64_t to)
{
	for (; from <= to; from++)
		CU_ASSERT_EQUAL(next_now(r), from);
}

/* ---- what is there ---- */

static void test_records_come_in_order_over_segments(void)
{
	struct dir d = dir_begin();
	struct spool_record record;
	struct spool_reader *r;

	put(&d, 1, 10);
	put(&d, 11, 20);
	put(&d, 21, 25);
	r = open_reader(&d);
	expect_run(r, 1, 11);
	CU_ASSERT_EQUAL(spool_reader_next(r, &record, 0), 0);
	CU_ASSERT_EQUAL(record.seq, 12);
	CU_ASSERT_EQUAL(record.segment, 11);
	CU_ASSERT_EQUAL(record.offset, SG_HEADER_BYTES + SG_FRAME_BYTES + 40);
	expect_run(r, 13, 25);
	CU_ASSERT_EQUAL(next_now(r), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	dir_end(&d);
}

static void test_a_reader_begins_at_any_record(void)
{
	struct sg_index x = { 0 };
	struct dir d = dir_begin();
	struct spool_reader *r;
	uint64_t from;

	put(&d, 1, 10);
	put(&d, 11, 20);
	must(sg_index_add(&x, 11, SG_HEADER_BYTES) == 0, "index");
	must(sg_index_write(&x, d.fd, 11, 11, sg_frame_seed(MAKE_ID), 0640) == 0, "index");
	sg_index_free(&x);
	for (from = 1; from <= 21; from++) {
		r = open_from(&d, from, 0);
		expect_run(r, from, 20);
		CU_ASSERT_EQUAL(next_now(r), 0);
		spool_reader_close(r);
	}
	dir_end(&d);
}

static void test_a_reader_that_is_ahead_waits_for_its_record(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 1, 10);
	r = open_from(&d, 13, 0);
	CU_ASSERT_EQUAL(next_now(r), 0);
	add(&d, 1, 11);
	add(&d, 1, 12);
	CU_ASSERT_EQUAL(next_now(r), 0);
	put(&d, 13, 14);
	expect_run(r, 13, 14);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_deleted_first_segments_are_no_gap(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 31, 40);
	r = open_reader(&d);
	expect_run(r, 31, 40);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_missing_records_are_told_as_lost(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	uint64_t lost = 0, seq;

	put(&d, 1, 10);
	put(&d, 31, 40); /* a segment is missing between them */
	r = open_reader(&d);
	expect_run(r, 1, 10);
	CU_ASSERT_EQUAL(next_by(r, 0, &lost), 31);
	CU_ASSERT_EQUAL(lost, 20);
	for (seq = 32; seq <= 40; seq++)
		CU_ASSERT_EQUAL(next_now(r), seq);
	spool_reader_close(r);
	dir_end(&d);
}

/* Whichever byte is wrong, the record it belongs to is lost, and only it. */
static void test_damage_is_skipped_and_told_as_lost(void)
{
	const size_t frame = SG_FRAME_BYTES + 40;
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m;
	uint64_t lost = 0;
	size_t at;

	put(&d, 1, 4);
	put(&d, 5, 6);
	m = dir_get_segment(&d, 1);
	for (at = SG_HEADER_BYTES + frame; at < SG_HEADER_BYTES + 2 * frame; at++) {
		m.p[at] ^= 0x10;
		dir_put_segment(&d, 1, &m);
		m.p[at] ^= 0x10;
		r = open_reader(&d);
		CU_ASSERT_EQUAL(next_now(r), 1);
		CU_ASSERT_EQUAL(next_by(r, 0, &lost), 3);
		CU_ASSERT_EQUAL(lost, 1);
		expect_run(r, 4, 6);
		spool_reader_close(r);
	}
	made_free(&m);
	dir_end(&d);
}

static void test_the_torn_end_of_an_earlier_segment_is_lost(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	uint64_t lost = 0;
	struct made m;

	put(&d, 1, 4);
	m = dir_get_segment(&d, 1);
	m.n -= 7;
	dir_put_segment(&d, 1, &m);
	put(&d, 5, 6);
	r = open_reader(&d);
	expect_run(r, 1, 3);
	CU_ASSERT_EQUAL(next_by(r, 0, &lost), 5);
	CU_ASSERT_EQUAL(lost, 1);
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

static void test_a_segment_that_lost_its_header_is_read(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m;

	put(&d, 1, 4);
	put(&d, 5, 6);
	m = dir_get_segment(&d, 5);
	memset(m.p, 0xff, SG_HEADER_BYTES);
	dir_put_segment(&d, 5, &m);
	r = open_reader(&d);
	expect_run(r, 1, 6);
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

/* What is read goes on beneath a deletion; behind it the next segment that is there follows. */
static void test_segments_deleted_while_reading_are_passed_over(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 1, 10);
	put(&d, 11, 20);
	put(&d, 21, 30);
	r = open_reader(&d);
	expect_run(r, 1, 3);
	unlinkat(d.fd, "00000000000000000001.spool", 0);
	unlinkat(d.fd, "00000000000000000011.spool", 0);
	expect_run(r, 4, 10);
	expect_run(r, 21, 30);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_what_cannot_be_read_is_refused(void)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct {
		struct spool_reader_config c;
		uint64_t more;
	} newer = { .c = SPOOL_READER_CONFIG_INIT, .more = 0 };
	struct dir d = dir_begin();
	struct spool_reader *r = (void *)&c;

	CU_ASSERT_EQUAL(spool_reader_open(&r, "/nonexistent/spool", NULL), -ENOENT);
	CU_ASSERT_PTR_NULL(r);
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, NULL), -EBADMSG);
	dir_put(&d, "00000000000000000001.spool", "no header", 9);
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, NULL), -EBADMSG);
	put(&d, 1, 2);
	c.flags = 4;
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &c), -EINVAL);
	c.flags = 0;
	c.size = 8;
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &c), -EINVAL);
	newer.c.size = sizeof(newer);
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &newer.c), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	newer.more = 1;
	CU_ASSERT_EQUAL(spool_reader_open(&r, d.path, &newer.c), -EINVAL);
	CU_ASSERT_EQUAL(spool_reader_close(NULL), 0);
	dir_end(&d);
}

/* ---- what is durable ---- */

static void test_beside_a_writer_only_durable_records_are_given(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	int fd = lock(&d);

	put(&d, 1, 10);
	set_durable(&d, 4);
	r = open_reader(&d);
	expect_run(r, 1, 4);
	CU_ASSERT_EQUAL(next_now(r), 0);
	CU_ASSERT_EQUAL(next_now(r), 0);
	set_durable(&d, 6);
	expect_run(r, 5, 6);
	CU_ASSERT_EQUAL(next_now(r), 0);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

/* Missing, torn, or of another spool: nothing is known, and nothing given. */
static void test_a_durable_file_that_says_nothing_makes_nothing_durable(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m;
	int fd = lock(&d);

	put(&d, 1, 10);
	r = open_reader(&d);
	CU_ASSERT_EQUAL(next_now(r), 0);
	set_durable(&d, 5);
	m = dir_get(&d, "durable");
	m.p[8] ^= 1;
	dir_put(&d, "durable", m.p, m.n);
	CU_ASSERT_EQUAL(next_now(r), 0);
	dir_put(&d, "durable", m.p, 20);
	CU_ASSERT_EQUAL(next_now(r), 0);
	set_durable_of(&d, MAKE_OTHER_ID, 5);
	CU_ASSERT_EQUAL(next_now(r), 0);
	set_durable(&d, 5);
	expect_run(r, 1, 5);
	spool_reader_close(r);
	made_free(&m);
	close(fd);
	dir_end(&d);
}

static void test_a_segment_with_a_successor_is_durable_whatever_the_file_says(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	int fd = lock(&d);

	put(&d, 1, 10);
	put(&d, 11, 20);
	r = open_reader(&d);
	expect_run(r, 1, 10);
	CU_ASSERT_EQUAL(next_now(r), 0);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

static void test_records_at_risk_are_given_on_request(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	int fd = lock(&d);

	put(&d, 1, 3);
	r = open_from(&d, 0, SPOOL_READ_AT_RISK);
	expect_run(r, 1, 3);
	CU_ASSERT_EQUAL(next_now(r), 0);
	add(&d, 1, 4);
	CU_ASSERT_EQUAL(next_now(r), 4);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

static void test_without_a_writer_everything_valid_is_given(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 1, 10);
	set_durable(&d, 4); /* of a writer that was killed */
	r = open_reader(&d);
	expect_run(r, 1, 10);
	CU_ASSERT_EQUAL(next_now(r), 0);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_a_writer_that_comes_and_goes_is_noticed_at_each_look(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	int fd;

	put(&d, 1, 3);
	r = open_reader(&d);
	expect_run(r, 1, 3);
	fd = lock(&d);
	add(&d, 1, 4);
	CU_ASSERT_EQUAL(next_now(r), 0);
	close(fd); /* killed */
	CU_ASSERT_EQUAL(next_now(r), 4);
	fd = lock(&d);
	add(&d, 1, 5);
	CU_ASSERT_EQUAL(next_now(r), 0);
	set_durable(&d, 5);
	CU_ASSERT_EQUAL(next_now(r), 5);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

/* The end of a write that was under way is no record, and what a writer puts in its place is. */
static void test_a_torn_tail_that_a_writer_cuts_is_followed_by_what_it_appends(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m = { 0 };
	int fd;

	put(&d, 1, 3);
	made_frame(&m, 4, 200);
	add_bytes(&d, 1, m.p, m.n - 30);
	made_free(&m);
	r = open_reader(&d);
	expect_run(r, 1, 3);
	CU_ASSERT_EQUAL(next_now(r), 0);
	fd = open_segment(&d, 1);
	must(ftruncate(fd, SG_HEADER_BYTES + 3 * (SG_FRAME_BYTES + 40)) == 0, "ftruncate");
	close(fd);
	add(&d, 1, 4);
	CU_ASSERT_EQUAL(next_now(r), 4);
	CU_ASSERT_EQUAL(next_now(r), 0);
	spool_reader_close(r);
	dir_end(&d);
}

/* A recovery puts a new file in the place of one that is being read. */
static void test_a_segment_that_was_replaced_is_read_on(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m;

	put(&d, 1, 5);
	r = open_reader(&d);
	expect_run(r, 1, 5);
	CU_ASSERT_EQUAL(next_now(r), 0);
	m = dir_get_segment(&d, 1);
	made_frame(&m, 6, 40);
	dir_put(&d, "new", m.p, m.n);
	must(renameat(d.fd, "new", d.fd, "00000000000000000001.spool") == 0, "rename");
	CU_ASSERT_EQUAL(next_now(r), 6);
	add(&d, 1, 7);
	CU_ASSERT_EQUAL(next_now(r), 7);
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

/* A writer that was killed left a segment without a header; the next one puts it aside, makes it anew, fills it and goes
 * on to another, all between two looks. */
static void test_a_segment_that_was_replaced_and_ended_meanwhile_is_read(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 1, 5);
	dir_put(&d, "00000000000000000006.spool", "", 0);
	r = open_reader(&d);
	expect_run(r, 1, 5);
	CU_ASSERT_EQUAL(next_now(r), 0);
	must(unlinkat(d.fd, "00000000000000000006.spool", 0) == 0, "unlink");
	put(&d, 6, 10);
	put(&d, 11, 12);
	expect_run(r, 6, 12);
	spool_reader_close(r);
	dir_end(&d);
}

/* Zeros behind the last record, as a preallocated segment has them, are overwritten in place. */
static void test_a_preallocated_segment_is_followed(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct made m = { 0 };
	uint64_t seq;
	size_t end;

	made_header(&m, MAKE_ID, 1, SG_HEADER_ZEROS);
	made_frame(&m, 1, 40);
	end = m.n;
	made_add(&m, NULL, 600000);
	dir_put_segment(&d, 1, &m);
	r = open_reader(&d);
	CU_ASSERT_EQUAL(next_now(r), 1);
	for (seq = 2; seq < 40; seq++) {
		struct made f = { 0 };
		int fd = open_segment(&d, 1);

		CU_ASSERT_EQUAL(next_now(r), 0);
		made_frame(&f, seq, 40);
		must(sg_pwrite_all(fd, f.p, f.n, end) == 0, "pwrite");
		end += f.n;
		close(fd);
		made_free(&f);
		CU_ASSERT_EQUAL(next_now(r), seq);
	}
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

/* ---- sleeping ---- */

static void test_a_deadline_is_kept(void)
{
	uint64_t begin_ns, took_ns;
	struct dir d = dir_begin();
	struct spool_reader *r;

	put(&d, 1, 1);
	r = open_reader(&d);
	CU_ASSERT_EQUAL(next_now(r), 1);
	begin_ns = sg_now_ns();
	CU_ASSERT_EQUAL(next_by(r, begin_ns + 50 * MS, NULL), 0);
	took_ns = sg_now_ns() - begin_ns;
	CU_ASSERT(took_ns >= 50 * MS);
	CU_ASSERT(took_ns < LONG_NS);
	CU_ASSERT_EQUAL(next_by(r, 1, NULL), 0); /* past */
	spool_reader_close(r);
	dir_end(&d);
}

/* A thread that waits for one record. */
struct waiter {
	struct spool_reader *r;
	uint64_t got, nvcsw, cpu_ns;
	pthread_t thread;
};

static void *wait_for_one(void *arg)
{
	struct waiter *w = arg;
	struct rusage before, after;
	uint64_t cpu_ns;

	getrusage(RUSAGE_THREAD, &before);
	cpu_ns = sg_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	w->got = next_by(w->r, sg_now_ns() + LONG_NS, NULL);
	w->cpu_ns = sg_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	getrusage(RUSAGE_THREAD, &after);
	w->nvcsw = (uint64_t)(after.ru_nvcsw - before.ru_nvcsw);
	return NULL;
}

static struct waiter *start_waiting(struct spool_reader *r)
{
	struct waiter *w = calloc(1, sizeof(*w));

	must(w != NULL, "calloc");
	w->r = r;
	must(pthread_create(&w->thread, NULL, wait_for_one, w) == 0, "pthread_create");
	return w;
}

static uint64_t end_waiting(struct waiter *w)
{
	uint64_t got;

	pthread_join(w->thread, NULL);
	got = w->got;
	free(w);
	return got;
}

static void pass(uint64_t ns)
{
	struct timespec t = { 0, (long)ns };

	nanosleep(&t, NULL);
}

/* While nothing becomes durable a writer may append as it likes: the reader neither runs nor wakes. Then one write to
 * the file `durable` is enough. */
static void test_a_waiting_reader_sleeps_until_something_is_durable(void)
{
	struct dir d = dir_begin();
	uint8_t raw[SG_DURABLE_BYTES];
	struct made m = { 0 };
	struct spool_reader *r;
	struct waiter *w;
	int fd = lock(&d), segment, durable;
	uint64_t seq;

	put(&d, 1, 1);
	set_durable(&d, 1);
	r = open_reader(&d);
	CU_ASSERT_EQUAL(next_now(r), 1);
	segment = open_segment(&d, 1);
	durable = open_file(&d, "durable", O_WRONLY);
	w = start_waiting(r);
	for (seq = 2; seq < 300; seq++) {
		pass(1 * MS);
		m.n = 0;
		made_frame(&m, seq, 40);
		must(lseek(segment, 0, SEEK_END) >= 0 && write(segment, m.p, m.n) == (ssize_t)m.n,
		     "append");
	}
	sg_durable_write(raw, sg_frame_seed(MAKE_ID), 2, 299);
	must(sg_pwrite_all(durable, raw, sizeof(raw), 0) == 0, "durable");
	pthread_join(w->thread, NULL);
	CU_ASSERT_EQUAL(w->got, 2);
	CU_ASSERT(w->cpu_ns < 20 * MS);
	CU_ASSERT(w->nvcsw < 20);
	free(w);
	spool_reader_close(r);
	made_free(&m);
	close(durable);
	close(segment);
	close(fd);
	dir_end(&d);
}

static void test_each_append_wakes_a_reader_of_records_at_risk(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct waiter *w;
	uint64_t seq;

	put(&d, 1, 1);
	r = open_from(&d, 0, SPOOL_READ_AT_RISK);
	CU_ASSERT_EQUAL(next_now(r), 1);
	for (seq = 2; seq < 20; seq++) {
		w = start_waiting(r);
		pass(1 * MS);
		add(&d, 1, seq);
		CU_ASSERT_EQUAL(end_waiting(w), seq);
	}
	spool_reader_close(r);
	dir_end(&d);
}

static void test_a_new_segment_wakes(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct waiter *w;

	put(&d, 1, 3);
	r = open_reader(&d);
	expect_run(r, 1, 3);
	w = start_waiting(r);
	pass(5 * MS);
	put(&d, 4, 5);
	CU_ASSERT_EQUAL(end_waiting(w), 4);
	spool_reader_close(r);
	dir_end(&d);
}

/* The file is made anew, under its name or moved there, while the reader sleeps. */
static void test_a_durable_file_that_is_replaced_wakes(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct waiter *w;
	int fd = lock(&d);

	put(&d, 1, 5);
	r = open_reader(&d);
	w = start_waiting(r);
	pass(5 * MS);
	set_durable(&d, 1);
	CU_ASSERT_EQUAL(end_waiting(w), 1);
	must(renameat(d.fd, "durable", d.fd, "kept") == 0, "rename");
	w = start_waiting(r);
	pass(5 * MS);
	set_durable(&d, 2);
	CU_ASSERT_EQUAL(end_waiting(w), 2);
	w = start_waiting(r);
	pass(5 * MS);
	must(renameat(d.fd, "durable", d.fd, "new") == 0, "rename");
	must(renameat(d.fd, "new", d.fd, "durable") == 0, "rename");
	set_durable(&d, 3);
	CU_ASSERT_EQUAL(end_waiting(w), 3);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

/* A process that holds the lock and is killed: what it appended is there, and nobody will sync it but the reader. */
static void test_the_death_of_the_writer_wakes(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct waiter *w;
	int ready[2], status;
	char byte;
	pid_t pid;

	put(&d, 1, 3);
	must(pipe(ready) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		lock(&d);
		must(write(ready[1], "r", 1) == 1, "write");
		for (;;)
			pause();
	}
	must(pid > 0 && read(ready[0], &byte, 1) == 1, "fork");
	r = open_reader(&d);
	CU_ASSERT_EQUAL(next_now(r), 0);
	w = start_waiting(r);
	pass(5 * MS);
	must(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid, "kill");
	CU_ASSERT_EQUAL(end_waiting(w), 1);
	expect_run(r, 2, 3);
	spool_reader_close(r);
	close(ready[0]);
	close(ready[1]);
	dir_end(&d);
}

/* The kernel tells of the file's end before it gives the lock back. Here that takes a while. */
static void test_a_lock_that_is_given_back_after_its_file_was_closed_is_noticed(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	struct waiter *w;
	int fd = lock(&d);

	put(&d, 1, 3);
	r = open_reader(&d);
	w = start_waiting(r);
	pass(5 * MS);
	close(open_file(&d, "lock", O_RDWR));
	pass(30 * MS);
	must(flock(fd, LOCK_UN) == 0, "flock");
	CU_ASSERT_EQUAL(end_waiting(w), 1);
	spool_reader_close(r);
	close(fd);
	dir_end(&d);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static bool becomes_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 20000) == 1;
}

static void test_the_descriptor_is_readable_as_long_as_there_may_be_a_record(void)
{
	struct dir d = dir_begin();
	struct spool_reader *r;
	int fd = lock(&d), poll_fd;

	put(&d, 1, 9);
	set_durable(&d, 2);
	r = open_reader(&d);
	poll_fd = spool_reader_fd(r);
	CU_ASSERT_FATAL(poll_fd >= 0);
	CU_ASSERT_EQUAL(spool_reader_fd(r), poll_fd);
	CU_ASSERT_TRUE(readable(poll_fd));
	CU_ASSERT_EQUAL(next_now(r), 1);
	CU_ASSERT_TRUE(readable(poll_fd));
	CU_ASSERT_EQUAL(next_now(r), 2);
	CU_ASSERT_EQUAL(next_now(r), 0);
	CU_ASSERT_FALSE(readable(poll_fd));
	set_durable(&d, 4);
	CU_ASSERT_TRUE(becomes_readable(poll_fd));
	CU_ASSERT_EQUAL(next_now(r), 3);
	CU_ASSERT_TRUE(readable(poll_fd));
	CU_ASSERT_EQUAL(next_now(r), 4);
	CU_ASSERT_EQUAL(next_now(r), 0);
	CU_ASSERT_FALSE(readable(poll_fd));
	close(fd);
	CU_ASSERT_TRUE(becomes_readable(poll_fd));
	CU_ASSERT_EQUAL(next_by(r, sg_now_ns() + LONG_NS, NULL), 5);
	spool_reader_close(r);
	dir_end(&d);
}

/* No descriptor for inotify is left: an error, not a loop. What needs no sleep goes on. */
static void test_where_inotify_is_refused_waiting_is_an_error(void)
{
	struct rlimit old, none;
	struct spool_record record;
	struct dir d = dir_begin();
	struct spool_reader *r;
	int top;

	put(&d, 1, 2);
	r = open_reader(&d);
	expect_run(r, 1, 2);
	getrlimit(RLIMIT_NOFILE, &old);
	top = dup(0);
	none = old;
	none.rlim_cur = (rlim_t)top;
	close(top);
	/* One descriptor is left for looking. */
	none.rlim_cur++;
	setrlimit(RLIMIT_NOFILE, &none);
	CU_ASSERT_EQUAL(spool_reader_next(r, &record, 0), -EAGAIN);
	CU_ASSERT_EQUAL(spool_reader_next(r, &record, SPOOL_NO_DEADLINE), -EMFILE);
	CU_ASSERT_EQUAL(spool_reader_fd(r), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &old);
	add(&d, 1, 3);
	CU_ASSERT_EQUAL(next_by(r, sg_now_ns() + LONG_NS, NULL), 3);
	spool_reader_close(r);
	dir_end(&d);
}

SG_TESTS("reader", TEST(test_records_come_in_order_over_segments),
	 TEST(test_a_reader_begins_at_any_record),
	 TEST(test_a_reader_that_is_ahead_waits_for_its_record),
	 TEST(test_deleted_first_segments_are_no_gap), TEST(test_missing_records_are_told_as_lost),
	 TEST(test_damage_is_skipped_and_told_as_lost),
	 TEST(test_the_torn_end_of_an_earlier_segment_is_lost),
	 TEST(test_a_segment_that_lost_its_header_is_read),
	 TEST(test_segments_deleted_while_reading_are_passed_over),
	 TEST(test_what_cannot_be_read_is_refused),
	 TEST(test_beside_a_writer_only_durable_records_are_given),
	 TEST(test_a_durable_file_that_says_nothing_makes_nothing_durable),
	 TEST(test_a_segment_with_a_successor_is_durable_whatever_the_file_says),
	 TEST(test_records_at_risk_are_given_on_request),
	 TEST(test_without_a_writer_everything_valid_is_given),
	 TEST(test_a_writer_that_comes_and_goes_is_noticed_at_each_look),
	 TEST(test_a_torn_tail_that_a_writer_cuts_is_followed_by_what_it_appends),
	 TEST(test_a_segment_that_was_replaced_is_read_on),
	 TEST(test_a_segment_that_was_replaced_and_ended_meanwhile_is_read),
	 TEST(test_a_preallocated_segment_is_followed), TEST(test_a_deadline_is_kept),
	 TEST(test_a_waiting_reader_sleeps_until_something_is_durable),
	 TEST(test_each_append_wakes_a_reader_of_records_at_risk), TEST(test_a_new_segment_wakes),
	 TEST(test_a_durable_file_that_is_replaced_wakes), TEST(test_the_death_of_the_writer_wakes),
	 TEST(test_a_lock_that_is_given_back_after_its_file_was_closed_is_noticed),
	 TEST(test_the_descriptor_is_readable_as_long_as_there_may_be_a_record),
	 TEST(test_where_inotify_is_refused_waiting_is_an_error))
