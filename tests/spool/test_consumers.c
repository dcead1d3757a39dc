// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Consumers of a spool: their cursors, and the deletion of what all of them have acknowledged. */
#include <errno.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "make.h"
#include "spool/cursor.h"
#include "spool/index.h"
#include "spoolguard/spool.h"
#include "tap.h"

#define PER_SEGMENT 10
#define SEGMENTS    5
#define RECORDS	    (PER_SEGMENT * SEGMENTS)

/* ---- spools made by hand ---- */

static uint64_t first_of(uint64_t segment)
{
	return segment * PER_SEGMENT + 1;
}

static struct made segment_of(uint64_t segment)
{
	uint64_t first = first_of(segment), seq;
	struct made m = { 0 };

	made_header(&m, MAKE_ID, first, 0);
	for (seq = first; seq < first + PER_SEGMENT; seq++)
		made_frame(&m, seq, 20);
	return m;
}

static void put_segment(const struct dir *d, uint64_t segment)
{
	struct made m = segment_of(segment);

	dir_put_segment(d, first_of(segment), &m);
	made_free(&m);
}

/* Records 1 to RECORDS in segments of ten, each with an index; nobody writes it. */
static struct dir made_spool(void)
{
	struct dir d = dir_begin();
	uint64_t i;

	for (i = 0; i < SEGMENTS; i++) {
		struct sg_index x = { 0 };

		put_segment(&d, i);
		must(sg_index_add(&x, first_of(i), SG_HEADER_BYTES) == 0, "index");
		must(sg_index_write(&x, d.fd, first_of(i), first_of(i), sg_frame_seed(MAKE_ID),
				    0640) == 0,
		     "index");
		sg_index_free(&x);
	}
	return d;
}

static bool there(const struct dir *d, uint64_t segment, const char *suffix)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, first_of(segment), suffix);
	return faccessat(d->fd, name, F_OK, 0) == 0;
}

/* Which segments are there, as bits; an index is there only with its segment. */
static unsigned int segments(const struct dir *d)
{
	unsigned int bits = 0, i;

	for (i = 0; i < SEGMENTS; i++) {
		bits |= there(d, i, SG_SEGMENT) ? 1u << i : 0;
		CU_ASSERT(there(d, i, SG_SEGMENT) || !there(d, i, SG_INDEX));
	}
	return bits;
}

#define ALL ((1u << SEGMENTS) - 1)

/* ---- readers ---- */

static int try_open(struct spool_reader **r, const struct dir *d, const char *consumer,
		    uint32_t flags, uint32_t ack_every)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;

	c.consumer = consumer;
	c.flags = flags;
	c.ack_every = ack_every;
	return spool_reader_open(r, d->path, &c);
}

static struct spool_reader *open_reader(const struct dir *d, const char *consumer, uint32_t flags)
{
	struct spool_reader *r = NULL;

	CU_ASSERT_EQUAL_FATAL(try_open(&r, d, consumer, flags, 0), 0);
	return r;
}

static uint64_t next_seq(struct spool_reader *r)
{
	struct spool_record record;
	int err = spool_reader_next(r, &record, 0);

	CU_ASSERT(err == 0 || err == -EAGAIN);
	return err ? 0 : record.seq;
}

static void read_to(struct spool_reader *r, uint64_t seq)
{
	uint64_t got;

	do
		got = next_seq(r);
	while (got && got < seq);
	CU_ASSERT_EQUAL(got, seq);
}

/* The first record that a new reader of this consumer gets. */
static uint64_t resumes_at(const struct dir *d, const char *consumer)
{
	struct spool_reader *r = open_reader(d, consumer, 0);
	uint64_t seq = next_seq(r);

	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	return seq;
}

/* ---- cursors ---- */

static void test_a_consumer_resumes_behind_what_it_acknowledged(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0);

	read_to(r, 27);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 23), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 24);
	CU_ASSERT_EQUAL(resumes_at(&d, "b"), 1);
	dir_end(&d);
}

static void test_an_acknowledgement_never_goes_back(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0);

	read_to(r, 30);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 25), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 7), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 31), -ERANGE);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 26);
	dir_end(&d);
}

static void test_without_a_consumer_nothing_is_acknowledged(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, NULL, 0);

	read_to(r, 3);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 3), -EINVAL);
	spool_reader_close(r);
	r = NULL;
	CU_ASSERT_EQUAL(try_open(&r, &d, NULL, SPOOL_READ_DELETE, 0), -EINVAL);
	CU_ASSERT_PTR_NULL(r);
	dir_end(&d);
}

static void test_ack_every_gathers_and_close_makes_the_last_durable(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = NULL;
	uint64_t acked = 0;

	CU_ASSERT_EQUAL_FATAL(try_open(&r, &d, "a", 0, 3), 0);
	read_to(r, 10);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 1), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 2), 0);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 3), 0);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, 3);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 4), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, 4);
	dir_end(&d);
}

static void test_a_consumer_s_name_is_held_by_one_reader(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0), *second = NULL, *other;

	CU_ASSERT_EQUAL(try_open(&second, &d, "a", 0, 0), -EBUSY);
	CU_ASSERT_PTR_NULL(second);
	other = open_reader(&d, "b", 0);
	spool_reader_close(other);
	spool_reader_close(r);
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 1);
	dir_end(&d);
}

static void test_bad_names_are_refused_and_make_no_file(void)
{
	static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a b", "ä", "../x", NULL };
	char longest[SPOOL_NAME_MAX + 2];
	struct dir d = made_spool();
	struct spool_reader *r = NULL;
	uint64_t acked;
	int i;

	for (i = 0; bad[i]; i++)
		CU_ASSERT_EQUAL(try_open(&r, &d, bad[i], 0, 0), -EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[SPOOL_NAME_MAX + 1] = '\0';
	CU_ASSERT_EQUAL(try_open(&r, &d, longest, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, UINT64_MAX);
	longest[SPOOL_NAME_MAX] = '\0';
	CU_ASSERT_EQUAL(resumes_at(&d, longest), 1);
	dir_end(&d);
}

/* Acknowledge 5, 6 and 7, so that the two slots hold 6 and 7. */
static struct dir with_cursor_at_7(struct made *file)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0);

	read_to(r, 7);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 5), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 6), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 7), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	*file = dir_get(&d, "cursor-a");
	CU_ASSERT_EQUAL_FATAL(file->n, SG_CURSOR_FILE_BYTES);
	return d;
}

static unsigned int slot_of_7(const struct made *file)
{
	struct sg_cursor c;
	int slot = sg_cursor_pick(file->p, file->n, &c);

	CU_ASSERT_FATAL(slot >= 0);
	CU_ASSERT_EQUAL(c.acked, 7);
	return (unsigned int)slot;
}

/* A write of the slot was cut short after every possible number of bytes. */
static void test_a_torn_slot_falls_back_to_the_other(void)
{
	struct made file;
	struct dir d = with_cursor_at_7(&file);
	size_t at = slot_of_7(&file) * (size_t)SG_CURSOR_STRIDE, cut, i;
	uint8_t whole[SG_CURSOR_BYTES];

	memcpy(whole, file.p + at, sizeof(whole));
	for (cut = 0; cut <= SG_CURSOR_BYTES; cut++) {
		for (i = 0; i < SG_CURSOR_BYTES; i++)
			file.p[at + i] = i < cut ? whole[i] : (uint8_t)~whole[i];
		dir_put(&d, "cursor-a", file.p, file.n);
		CU_ASSERT_EQUAL(resumes_at(&d, "a"), cut < SG_CURSOR_BYTES ? 7 : 8);
	}
	made_free(&file);
	dir_end(&d);
}

static void test_the_slot_that_was_torn_is_written_next(void)
{
	struct made file;
	struct dir d = with_cursor_at_7(&file);
	size_t at = slot_of_7(&file) * (size_t)SG_CURSOR_STRIDE;
	struct spool_reader *r;

	file.p[at + 40] ^= 1;
	dir_put(&d, "cursor-a", file.p, file.n);
	r = open_reader(&d, "a", 0);
	read_to(r, 9);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 9), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	made_free(&file);
	file = dir_get(&d, "cursor-a");
	CU_ASSERT_TRUE(sg_cursor_read(file.p + at, SG_CURSOR_BYTES, &(struct sg_cursor){ 0 }));
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 10);
	made_free(&file);
	dir_end(&d);
}

static void test_a_cursor_without_a_valid_slot_is_refused(void)
{
	struct spool_reader *r = NULL;
	struct made file;
	struct dir d = with_cursor_at_7(&file);

	file.p[40] ^= 1;
	file.p[SG_CURSOR_STRIDE + 40] ^= 1;
	dir_put(&d, "cursor-a", file.p, file.n);
	CU_ASSERT_EQUAL(try_open(&r, &d, "a", 0, 0), -EBADMSG);
	dir_put(&d, "cursor-a", "", 0);
	CU_ASSERT_EQUAL(try_open(&r, &d, "a", 0, 0), -EBADMSG);
	CU_ASSERT_PTR_NULL(r);
	made_free(&file);
	dir_end(&d);
}

static void test_a_cursor_of_another_spool_is_refused(void)
{
	struct sg_cursor c = { .generation = 3, .acked = 40 };
	uint8_t raw[SG_CURSOR_BYTES];
	struct spool_reader *r = NULL;
	struct dir d = made_spool();

	memcpy(c.id, MAKE_OTHER_ID, sizeof(c.id));
	sg_cursor_write(raw, &c);
	dir_put(&d, "cursor-a", raw, sizeof(raw));
	CU_ASSERT_EQUAL(try_open(&r, &d, "a", 0, 0), -EBADMSG);
	dir_end(&d);
}

/* What is left of a creation that a crash cut short is neither a cursor nor in the way. */
static void test_a_creation_that_was_cut_short_is_done_again(void)
{
	struct dir d = made_spool();
	uint64_t acked;

	dir_put(&d, ".cursor-a", "half", 4);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, UINT64_MAX);
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 1);
	CU_ASSERT_NOT_EQUAL(faccessat(d.fd, ".cursor-a", F_OK, 0), 0);
	dir_end(&d);
}

static void test_an_acknowledgement_into_a_deleted_cursor_is_an_error(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", SPOOL_READ_DELETE);

	read_to(r, RECORDS);
	unlinkat(d.fd, "cursor-a", 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), -ESTALE);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), -ESTALE);
	CU_ASSERT_EQUAL(segments(&d), ALL);
	CU_ASSERT_EQUAL(spool_reader_close(r), -ESTALE);
	dir_end(&d);
}

/* Threads that all want the same consumer, which does not exist yet: one gets it. */
struct racer {
	const struct dir *d;
	pthread_barrier_t *barrier;
	struct spool_reader *r;
	int err;
};

static void *race(void *arg)
{
	struct racer *me = arg;

	pthread_barrier_wait(me->barrier);
	me->err = try_open(&me->r, me->d, "a", 0, 0);
	return NULL;
}

static void test_of_many_that_make_a_cursor_at_once_one_gets_it(void)
{
	pthread_barrier_t barrier;
	struct racer racers[4];
	struct dir d = made_spool();
	pthread_t threads[4];
	int round, i, got;

	pthread_barrier_init(&barrier, NULL, 4);
	for (round = 0; round < 50; round++) {
		for (got = i = 0; i < 4; i++) {
			racers[i] = (struct racer){ .d = &d, .barrier = &barrier };
			pthread_create(&threads[i], NULL, race, &racers[i]);
		}
		for (i = 0; i < 4; i++) {
			pthread_join(threads[i], NULL);
			CU_ASSERT(racers[i].err == 0 || racers[i].err == -EBUSY);
			got += racers[i].err == 0;
		}
		CU_ASSERT_EQUAL(got, 1);
		for (i = 0; i < 4; i++)
			spool_reader_close(racers[i].r);
		CU_ASSERT_EQUAL(resumes_at(&d, "a"), 1);
		unlinkat(d.fd, "cursor-a", 0);
	}
	pthread_barrier_destroy(&barrier);
	dir_end(&d);
}

static void test_a_writer_learns_the_highest_acknowledgement(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0), *s = open_reader(&d, "b", 0);
	uint64_t acked = 1;

	read_to(r, 20);
	read_to(s, 30);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 20), 0);
	CU_ASSERT_EQUAL(spool_reader_ack(s, 28), 0);
	dir_put(&d, "cursor-c", "unreadable", 10);
	CU_ASSERT_EQUAL(sg_cursor_highest(d.fd, MAKE_ID, &acked), 0);
	CU_ASSERT_EQUAL(acked, 28);
	CU_ASSERT_EQUAL(sg_cursor_least(d.fd, MAKE_ID, &acked), -EBADMSG);
	spool_reader_close(r);
	spool_reader_close(s);
	dir_end(&d);
}

/* ---- deletion ---- */

static void test_whole_segments_are_deleted_when_acknowledged(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", SPOOL_READ_DELETE);

	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 9), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 10), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~1u);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 39), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~7u);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_the_last_segment_is_never_deleted(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", SPOOL_READ_DELETE);

	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(&d), 1u << (SEGMENTS - 1));
	CU_ASSERT_EQUAL(next_seq(r), 0);
	spool_reader_close(r);
	CU_ASSERT_EQUAL(resumes_at(&d, "a"), 0);
	dir_end(&d);
}

/* The last segment has no header yet: the one before it alone says whose the spool is. */
static void test_the_last_header_is_never_deleted(void)
{
	struct dir d = made_spool();
	struct spool_reader *r;

	dir_put(&d, "00000000000000000041.spool", "", 0);
	r = open_reader(&d, "a", SPOOL_READ_DELETE);
	read_to(r, RECORDS - PER_SEGMENT);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS - PER_SEGMENT), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~7u);
	put_segment(&d, 4);
	CU_ASSERT_EQUAL(next_seq(r), RECORDS - PER_SEGMENT + 1);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS - PER_SEGMENT + 1), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~15u);
	spool_reader_close(r);
	dir_end(&d);
}

static void test_nothing_is_deleted_that_another_consumer_has_not_acknowledged(void)
{
	struct dir d = made_spool();
	struct spool_reader *slow = open_reader(&d, "slow", 0);
	struct spool_reader *r = open_reader(&d, "quick", SPOOL_READ_DELETE);

	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS - 1), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL);
	read_to(slow, 25);
	CU_ASSERT_EQUAL(spool_reader_ack(slow, 25), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL); /* it does not delete */
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~3u);
	spool_reader_close(slow);
	/* Also one that nobody holds at the moment counts. */
	spool_reader_close(r);
	CU_ASSERT_EQUAL(resumes_at(&d, "slow"), 26);
	dir_end(&d);
}

static void test_an_acknowledgement_that_is_not_durable_deletes_nothing(void)
{
	struct spool_reader *r = NULL;
	struct dir d = made_spool();

	CU_ASSERT_EQUAL_FATAL(try_open(&r, &d, "a", SPOOL_READ_DELETE, 2), 0);
	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 40), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~15u);
	dir_end(&d);
}

static void test_an_unreadable_cursor_keeps_everything(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", SPOOL_READ_DELETE);

	dir_put(&d, "cursor-b", "no cursor", 9);
	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS - 1), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL);
	unlinkat(d.fd, "cursor-b", 0);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(&d), 1u << (SEGMENTS - 1));
	spool_reader_close(r);
	dir_end(&d);
}

/* One byte of the third segment is wrong: it and what follows it stay, so that the records stay in one piece. Where it
 * has no header left the one before it stays, too: it says whose the records are. */
static void check_damage_stays(const struct dir *d, bool in_header)
{
	struct spool_reader *r;
	struct made m = segment_of(2);

	if (in_header)
		memset(m.p, 0, SG_HEADER_BYTES);
	else
		m.p[SG_HEADER_BYTES + SG_FRAME_BYTES + 3] ^= 1;
	dir_put_segment(d, first_of(2), &m);
	r = open_reader(d, "a", SPOOL_READ_DELETE);
	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(d), in_header ? ALL & ~1u : ALL & ~3u);
	spool_reader_close(r);
	made_free(&m);
}

static void test_a_segment_with_damage_is_kept(void)
{
	struct dir d = made_spool();

	check_damage_stays(&d, false);
	dir_end(&d);
}

static void test_a_segment_without_a_header_is_kept(void)
{
	struct dir d = made_spool();

	check_damage_stays(&d, true);
	dir_end(&d);
}

static void test_a_repaired_segment_is_deleted(void)
{
	struct dir d = made_spool();
	struct spool_reader *r;

	check_damage_stays(&d, false);
	unlinkat(d.fd, "00000000000000000021.spool", 0);
	put_segment(&d, 2);
	r = open_reader(&d, "b", SPOOL_READ_DELETE);
	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(&d), 1u << (SEGMENTS - 1));
	spool_reader_close(r);
	dir_end(&d);
}

/* What was read before a restart is verified again before it goes. */
static void test_a_segment_that_was_read_in_an_earlier_life_is_verified_before_it_goes(void)
{
	struct dir d = made_spool();
	struct spool_reader *r = open_reader(&d, "a", 0);
	struct made m = segment_of(1);

	read_to(r, 35);
	CU_ASSERT_EQUAL(spool_reader_ack(r, 35), 0);
	spool_reader_close(r);
	m.p[m.n - 1] ^= 1;
	dir_put_segment(&d, first_of(1), &m);
	r = open_reader(&d, "a", SPOOL_READ_DELETE);
	read_to(r, RECORDS);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(segments(&d), ALL & ~1u);
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

static void test_a_foreign_segment_is_neither_read_nor_deleted(void)
{
	struct dir d = made_spool();
	struct spool_reader *r;
	struct made m = { 0 };
	uint64_t seq;

	/* Between the second and the third. */
	made_header(&m, MAKE_OTHER_ID, 15, 0);
	for (seq = 15; seq < 20; seq++)
		made_frame_of(&m, MAKE_OTHER_ID, seq, 0, "x", 1);
	dir_put_segment(&d, 15, &m);
	r = open_reader(&d, "a", SPOOL_READ_DELETE);
	for (seq = 1; seq <= RECORDS; seq++)
		CU_ASSERT_EQUAL(next_seq(r), seq);
	CU_ASSERT_EQUAL(spool_reader_ack(r, RECORDS), 0);
	CU_ASSERT_EQUAL(faccessat(d.fd, "00000000000000000015.spool", F_OK, 0), 0);
	spool_reader_close(r);
	made_free(&m);
	dir_end(&d);
}

/* Two that delete and one that reads, at once: each gets every record, and at the end one segment is left. */
struct eater {
	const struct dir *d;
	const char *name;
	uint64_t wrong;
};

static void *eat(void *arg)
{
	struct eater *me = arg;
	struct spool_reader *r = NULL;
	struct spool_record record;
	uint64_t seq;

	me->wrong = try_open(&r, me->d, me->name, SPOOL_READ_DELETE, 0) != 0;
	for (seq = 1; !me->wrong && seq <= RECORDS; seq++)
		me->wrong = spool_reader_next(r, &record, 0) != 0 || record.seq != seq ||
			    record.lost || spool_reader_ack(r, seq) != 0;
	me->wrong |= spool_reader_close(r) != 0;
	return NULL;
}

static void test_consumers_that_delete_at_once_lose_nothing(void)
{
	static const char *const names[] = { "a", "b", "c" };
	struct eater eaters[3];
	pthread_t threads[3];
	int round, i;

	for (round = 0; round < 10; round++) {
		struct dir d = made_spool();

		/* All must be known before one deletes. */
		for (i = 0; i < 3; i++)
			resumes_at(&d, names[i]);
		for (i = 0; i < 3; i++) {
			eaters[i] = (struct eater){ &d, names[i], 0 };
			pthread_create(&threads[i], NULL, eat, &eaters[i]);
		}
		for (i = 0; i < 3; i++) {
			pthread_join(threads[i], NULL);
			CU_ASSERT_EQUAL(eaters[i].wrong, 0);
		}
		CU_ASSERT_EQUAL(segments(&d), 1u << (SEGMENTS - 1));
		dir_end(&d);
	}
}

SG_TESTS("consumers", TEST(test_a_consumer_resumes_behind_what_it_acknowledged),
	 TEST(test_an_acknowledgement_never_goes_back),
	 TEST(test_without_a_consumer_nothing_is_acknowledged),
	 TEST(test_ack_every_gathers_and_close_makes_the_last_durable),
	 TEST(test_a_consumer_s_name_is_held_by_one_reader),
	 TEST(test_bad_names_are_refused_and_make_no_file),
	 TEST(test_a_torn_slot_falls_back_to_the_other),
	 TEST(test_the_slot_that_was_torn_is_written_next),
	 TEST(test_a_cursor_without_a_valid_slot_is_refused),
	 TEST(test_a_cursor_of_another_spool_is_refused),
	 TEST(test_a_creation_that_was_cut_short_is_done_again),
	 TEST(test_an_acknowledgement_into_a_deleted_cursor_is_an_error),
	 TEST(test_of_many_that_make_a_cursor_at_once_one_gets_it),
	 TEST(test_a_writer_learns_the_highest_acknowledgement),
	 TEST(test_whole_segments_are_deleted_when_acknowledged),
	 TEST(test_the_last_segment_is_never_deleted), TEST(test_the_last_header_is_never_deleted),
	 TEST(test_nothing_is_deleted_that_another_consumer_has_not_acknowledged),
	 TEST(test_an_acknowledgement_that_is_not_durable_deletes_nothing),
	 TEST(test_an_unreadable_cursor_keeps_everything), TEST(test_a_segment_with_damage_is_kept),
	 TEST(test_a_segment_without_a_header_is_kept), TEST(test_a_repaired_segment_is_deleted),
	 TEST(test_a_segment_that_was_read_in_an_earlier_life_is_verified_before_it_goes),
	 TEST(test_a_foreign_segment_is_neither_read_nor_deleted),
	 TEST(test_consumers_that_delete_at_once_lose_nothing))
