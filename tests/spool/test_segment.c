// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The walk of one segment: frames, damage, ends, growth, seeking. */
#include "tap.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "make.h"
#include "spool/crc32c.h"
#include "spool/index.h"
#include "spool/ranges.h"
#include "spool/segment.h"

static struct sg_segment *walk(const struct dir *d, uint64_t number)
{
	struct sg_segment *s;

	must(sg_segment_open(&s, d->fd, number, 0, MAKE_ID) == 0, "walk");
	return s;
}

static struct sg_event next(struct sg_segment *s)
{
	struct sg_event e;
	int err = sg_segment_next(s, &e);

	CU_ASSERT_EQUAL(err, 0);
	if (err)
		e.kind = SG_EVENT_END;
	return e;
}

static void is_frame(struct sg_segment *s, uint64_t seq)
{
	struct sg_event e = next(s);

	CU_ASSERT_EQUAL(e.kind, SG_EVENT_FRAME);
	CU_ASSERT_EQUAL(e.frame.seq, seq);
}

static void is_other(struct sg_segment *s, enum sg_event_kind kind, uint64_t offset, uint64_t bytes)
{
	struct sg_event e = next(s);

	CU_ASSERT_EQUAL(e.kind, kind);
	CU_ASSERT_EQUAL(e.offset, offset);
	CU_ASSERT_EQUAL(e.bytes, bytes);
	if (kind == SG_EVENT_DAMAGE || kind == SG_EVENT_TAIL)
		CU_ASSERT_PTR_NOT_NULL(e.why);
}

/* Header and records 1 to n of 10 bytes. */
static struct made records(unsigned int n, uint32_t flags)
{
	struct made m = { 0 };
	unsigned int i;

	made_header(&m, MAKE_ID, 1, flags);
	for (i = 1; i <= n; i++)
		made_frame(&m, i, 10);
	return m;
}

#define FRAME	 42u /* bytes of such a record */
#define AT(i)	 (SG_HEADER_BYTES + ((i)-1) * FRAME)
#define FAR_AWAY 1000000u

static void test_frames_come_in_order_with_their_payload(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment *s;
	struct sg_event e;

	made_header(&m, MAKE_ID, 5, 0);
	made_frame_of(&m, MAKE_ID, 5, 0, "five", 4);
	made_frame_of(&m, MAKE_ID, 6, 4, "", 0);
	made_frame_of(&m, MAKE_ID, 9, 2, "nine", 4);
	dir_put_segment(&d, 5, &m);
	s = walk(&d, 5);
	e = next(s);
	CU_ASSERT(e.kind == SG_EVENT_FRAME && e.offset == 128 && e.bytes == 36);
	CU_ASSERT(e.frame.len == 4 && memcmp(e.frame.payload, "five", 4) == 0);
	CU_ASSERT_EQUAL(sg_segment_known_durable(s), 4);
	is_frame(s, 6);
	is_frame(s, 9);
	CU_ASSERT_EQUAL(sg_segment_last_seq(s), 9);
	CU_ASSERT_EQUAL(sg_segment_known_durable(s), 6);
	is_other(s, SG_EVENT_END, m.n, 0);
	is_other(s, SG_EVENT_END, m.n, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

/* Frames across the window and far above it, kept or only checked. */
static void large(bool checks_only)
{
	static const size_t lens[] = { 262112, 262113, 3000000, 5, 262144, 1 };
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment *s;
	struct sg_event e;
	size_t i, at = SG_HEADER_BYTES;

	made_header(&m, MAKE_ID, 1, 0);
	for (i = 0; i < 6; i++)
		made_frame(&m, i + 1, lens[i]);
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	if (checks_only)
		sg_segment_checks_only(s);
	for (i = 0; i < 6; i++, at += SG_FRAME_BYTES + e.frame.len) {
		e = next(s);
		CU_ASSERT(e.kind == SG_EVENT_FRAME && e.frame.seq == i + 1 && e.offset == at &&
			  e.frame.len == lens[i] && e.frame.time_ns == 1001 + i);
		CU_ASSERT(e.frame.payload
				  ? !memcmp(e.frame.payload, m.p + at + SG_FRAME_BYTES, e.frame.len)
				  : checks_only);
	}
	is_other(s, SG_EVENT_END, m.n, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_large_frames_are_read_whole(void)
{
	large(false);
}

static void test_large_frames_are_checked_without_being_kept(void)
{
	large(true);
}

static void test_damage_of_a_large_frame_is_one_damage(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment *s;

	made_header(&m, MAKE_ID, 1, 0);
	made_frame(&m, 1, 2000000);
	made_frame(&m, 2, 10);
	m.p[1500000] ^= 1;
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_other(s, SG_EVENT_DAMAGE, 128, 2000032);
	is_frame(s, 2);
	is_other(s, SG_EVENT_END, m.n, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_walk_goes_on_behind_damage(void)
{
	struct dir d = dir_begin();
	struct made m = records(5, 0);
	struct sg_segment *s;

	m.p[AT(2) + 4] = 0xff; /* its length */
	m.p[AT(4) + 40] ^= 1;  /* its payload */
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_DAMAGE, AT(2), FRAME);
	is_frame(s, 3);
	is_other(s, SG_EVENT_DAMAGE, AT(4), FRAME);
	is_frame(s, 5);
	is_other(s, SG_EVENT_END, AT(6), 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

/* A number further ahead than the damage can explain waits for one that is not; at the limit it is none. */
static void test_number_behind_damage_is_bounded(void)
{
	static const char nonsense[] =
		"63 bytes of nonsense, less than two frames. ...................";
	struct dir d = dir_begin();
	struct made m = records(1, 0);
	struct sg_segment *s;

	made_add(&m, nonsense, 63);
	made_frame(&m, 4, 10); /* 1 + 1 + 63 / 32 = 3 */
	made_frame(&m, 6, 10); /* 2 + 105 / 32 = 5 */
	made_frame(&m, 6, 10); /* 2 + 147 / 32 = 6 */
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_DAMAGE, AT(2), 63 + 2 * FRAME);
	is_frame(s, 6);
	is_other(s, SG_EVENT_END, m.n, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

/* Records were lost before, without a trace but their numbers; then the frame behind them is damaged. */
static void test_damage_right_behind_a_gap_costs_its_record_only(void)
{
	struct dir d = dir_begin();
	struct made m = records(1, 0);
	struct sg_segment *s;

	made_frame(&m, 500, 10);
	made_frame(&m, 501, 10);
	made_frame(&m, 502, 10);
	m.p[AT(2) + 20] ^= 1;
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_DAMAGE, AT(2), FRAME);
	is_frame(s, 501);
	is_frame(s, 502);
	is_other(s, SG_EVENT_END, m.n, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_frame_that_does_not_rise_is_damage(void)
{
	struct dir d = dir_begin();
	struct made m = records(3, 0);
	struct sg_segment *s;

	made_frame(&m, 3, 10);
	made_frame(&m, 4, 10);
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_frame(s, 2);
	is_frame(s, 3);
	is_other(s, SG_EVENT_DAMAGE, AT(4), FRAME);
	is_frame(s, 4);
	sg_segment_close(s);
	/* The same over the border of a segment. */
	must(sg_segment_open(&s, d.fd, 1, 2, MAKE_ID) == 0, "open");
	is_other(s, SG_EVENT_DAMAGE, AT(1), 2 * FRAME);
	is_frame(s, 3);
	sg_segment_close(s);
	/* Above the highest number there is none. */
	must(sg_segment_open(&s, d.fd, 1, UINT64_MAX, MAKE_ID) == 0, "open");
	is_other(s, SG_EVENT_TAIL, AT(1), 5 * FRAME);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_frame_inside_a_damaged_payload_of_another_spool_is_none(void)
{
	struct dir d = dir_begin();
	struct made m = records(1, 0), inner = { 0 };
	struct sg_segment *s;

	made_frame_of(&inner, MAKE_OTHER_ID, 2, 0, "not ours", 8);
	made_frame_of(&m, MAKE_ID, 2, 0, inner.p, inner.n);
	m.p[AT(2)] ^= 1;
	made_frame(&m, 3, 1);
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_DAMAGE, AT(2), SG_FRAME_BYTES + inner.n);
	is_frame(s, 3);
	sg_segment_close(s);
	made_free(&m);
	made_free(&inner);
	dir_end(&d);
}

static void test_every_cut_is_a_tail_or_an_end(void)
{
	struct dir d = dir_begin();
	struct made m = records(3, 0), part = { 0 };
	struct sg_segment *s;
	size_t n, whole, i;

	for (n = SG_HEADER_BYTES; n <= m.n; n++) {
		part.n = 0;
		made_add(&part, m.p, n);
		dir_put_segment(&d, 1, &part);
		whole = (n - SG_HEADER_BYTES) / FRAME;
		s = walk(&d, 1);
		for (i = 1; i <= whole; i++)
			is_frame(s, i);
		is_other(s, n == AT(i) ? SG_EVENT_END : SG_EVENT_TAIL, AT(i), n - AT(i));
		sg_segment_close(s);
	}
	made_free(&m);
	made_free(&part);
	dir_end(&d);
}

static void test_zeros_end_a_segment_only_if_its_header_says_so(void)
{
	struct dir d = dir_begin();
	struct made with = records(2, SG_HEADER_ZEROS), without = records(2, 0);
	struct sg_segment *s;

	made_add(&with, NULL, FAR_AWAY);
	made_add(&without, NULL, FAR_AWAY);
	dir_put_segment(&d, 1, &with);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_frame(s, 2);
	is_other(s, SG_EVENT_END, AT(3), 0);
	is_other(s, SG_EVENT_END, AT(3), 0);
	sg_segment_close(s);
	dir_put_segment(&d, 1, &without);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_frame(s, 2);
	is_other(s, SG_EVENT_TAIL, AT(3), FAR_AWAY);
	sg_segment_close(s);
	/* A torn frame in front of the zeros: the zeros are no part of it. */
	memset(with.p + AT(3) + 3, 0xee, 20);
	dir_put_segment(&d, 1, &with);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_frame(s, 2);
	is_other(s, SG_EVENT_TAIL, AT(3), 23);
	sg_segment_close(s);
	made_free(&with);
	made_free(&without);
	dir_end(&d);
}

/* A frame that ends in zeros, before zeros that may be there, behind damage: all of it is the frame. */
static void test_frame_of_zeros_before_zeros_is_found_behind_damage(void)
{
	static const uint8_t nothing[100];
	size_t len;

	for (len = 0; len <= sizeof(nothing); len += 50) {
		struct dir d = dir_begin();
		struct made m = records(1, SG_HEADER_ZEROS);
		struct sg_segment *s;

		m.p[AT(1)] ^= 1;
		made_frame_of(&m, MAKE_ID, 2, 0, nothing, len);
		made_add(&m, NULL, 5000);
		dir_put_segment(&d, 1, &m);
		s = walk(&d, 1);
		is_other(s, SG_EVENT_DAMAGE, AT(1), FRAME);
		is_frame(s, 2);
		is_other(s, SG_EVENT_END, AT(2) + SG_FRAME_BYTES + len, 0);
		sg_segment_close(s);
		made_free(&m);
		dir_end(&d);
	}
}

static void put_at(const struct dir *d, uint64_t number, const struct made *m, size_t from,
		   size_t to)
{
	char name[SG_NAME_BYTES];
	int fd;

	sg_dir_name(name, number, SG_SEGMENT);
	fd = openat(d->fd, name, O_WRONLY);
	must(fd >= 0 && sg_pwrite_all(fd, m->p + from, to - from, from) == 0, name);
	close(fd);
}

static void test_a_growing_segment_is_followed(void)
{
	struct dir d = dir_begin();
	struct made m = records(3, 0), begin = { 0 };
	struct sg_segment *s;

	made_add(&begin, m.p, AT(2));
	dir_put_segment(&d, 1, &begin);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_END, AT(2), 0);
	put_at(&d, 1, &m, AT(2), AT(2) + 35);
	is_other(s, SG_EVENT_TAIL, AT(2), 35);
	put_at(&d, 1, &m, AT(2) + 35, AT(3));
	is_frame(s, 2);
	is_other(s, SG_EVENT_END, AT(3), 0);
	put_at(&d, 1, &m, AT(3), AT(4));
	is_frame(s, 3);
	sg_segment_close(s);
	made_free(&m);
	made_free(&begin);
	dir_end(&d);
}

static void test_frames_written_over_zeros_are_followed(void)
{
	struct dir d = dir_begin();
	struct made m = records(4, SG_HEADER_ZEROS), begin = { 0 };
	struct sg_segment *s;
	unsigned int i;

	made_add(&begin, m.p, SG_HEADER_BYTES);
	made_add(&begin, NULL, FAR_AWAY);
	dir_put_segment(&d, 1, &begin);
	s = walk(&d, 1);
	for (i = 1; i <= 4; i++) {
		is_other(s, SG_EVENT_END, AT(i), 0);
		put_at(&d, 1, &m, AT(i), AT(i) + 33);
		is_other(s, SG_EVENT_TAIL, AT(i), 33);
		put_at(&d, 1, &m, AT(i) + 33, AT(i + 1));
		is_frame(s, i);
	}
	is_other(s, SG_EVENT_END, AT(5), 0);
	sg_segment_close(s);
	made_free(&m);
	made_free(&begin);
	dir_end(&d);
}

static void test_a_tail_that_is_completed_becomes_its_frames(void)
{
	struct dir d = dir_begin();
	struct made m = records(1, SG_HEADER_ZEROS), begin = { 0 };
	struct sg_segment *s;

	made_frame(&m, 2, 400000);
	made_frame(&m, 3, 400000);
	made_add(&begin, m.p, AT(2) + 100000);
	made_add(&begin, NULL, FAR_AWAY);
	dir_put_segment(&d, 1, &begin);
	s = walk(&d, 1);
	is_frame(s, 1);
	is_other(s, SG_EVENT_TAIL, AT(2), 100000);
	put_at(&d, 1, &m, AT(2), m.n);
	is_frame(s, 2);
	is_frame(s, 3);
	sg_segment_close(s);
	made_free(&m);
	made_free(&begin);
	dir_end(&d);
}

struct writing {
	const struct dir *d;
	const struct made *m;
	unsigned int n;
};

/* Each frame in two halves, as a large one is while the kernel copies it. */
static void *write_halves(void *arg)
{
	const struct writing *w = arg;
	unsigned int i;

	for (i = 1; i <= w->n; i++) {
		put_at(w->d, 1, w->m, AT(i), AT(i) + 20 + i % 20);
		put_at(w->d, 1, w->m, AT(i) + 20 + i % 20, AT(i + 1));
	}
	return NULL;
}

/* Beside a writer nothing is ever damage, whatever the walk had read before. */
static void walk_beside_writer(uint32_t flags)
{
	enum { N = 20000 };
	struct dir d = dir_begin();
	struct made m = records(N, flags), begin = { 0 };
	struct writing w = { &d, &m, N };
	unsigned int damage = 0, wrong = 0;
	struct sg_segment *s;
	struct sg_event e;
	uint64_t last = 0;
	pthread_t t;

	made_add(&begin, m.p, SG_HEADER_BYTES);
	if (flags)
		made_add(&begin, NULL, N * FRAME + 5000);
	dir_put_segment(&d, 1, &begin);
	s = walk(&d, 1);
	must(pthread_create(&t, NULL, write_halves, &w) == 0, "thread");
	while (last < N && damage + wrong == 0) {
		must(sg_segment_next(s, &e) == 0, "next");
		damage += e.kind == SG_EVENT_DAMAGE;
		if (e.kind == SG_EVENT_FRAME)
			wrong += e.frame.seq != ++last;
	}
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(damage, 0);
	CU_ASSERT_EQUAL(wrong, 0);
	sg_segment_close(s);
	made_free(&m);
	made_free(&begin);
	dir_end(&d);
}

static void test_no_damage_is_seen_beside_a_writer(void)
{
	walk_beside_writer(0);
	walk_beside_writer(SG_HEADER_ZEROS);
}

static int truncateat(const struct dir *d, const char *name, off_t size)
{
	int fd = openat(d->fd, name, O_WRONLY), err = fd < 0 ? -1 : ftruncate(fd, size);

	close(fd);
	return err;
}

static void test_a_file_cut_while_it_is_read_just_ends(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment *s;
	char name[SG_NAME_BYTES];

	made_header(&m, MAKE_ID, 1, 0);
	made_frame(&m, 1, 500000);
	made_frame(&m, 2, 500000);
	made_frame(&m, 3, 500000);
	dir_put_segment(&d, 1, &m);
	sg_dir_name(name, 1, SG_SEGMENT);
	s = walk(&d, 1);
	is_frame(s, 1);
	must(truncateat(&d, name, 128 + 500032 + 1000) == 0, "truncate");
	is_other(s, SG_EVENT_TAIL, 128 + 500032, 1000);
	must(truncateat(&d, name, 50) == 0, "truncate");
	is_other(s, SG_EVENT_END, 128 + 500032, 0);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

/* As a writer does that gives back what it preallocated, and one that takes more. */
static void test_zeros_that_come_and_go_stay_the_end(void)
{
	static const unsigned int zeros[] = { 9000, 70, 1, 0, 400000, 31, 300000 };
	struct dir d = dir_begin();
	struct made m = records(1, SG_HEADER_ZEROS);
	struct sg_segment *s;
	char name[SG_NAME_BYTES];
	unsigned int i;

	dir_put_segment(&d, 1, &m);
	sg_dir_name(name, 1, SG_SEGMENT);
	s = walk(&d, 1);
	is_frame(s, 1);
	for (i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++) {
		must(truncateat(&d, name, (off_t)(m.n + zeros[i])) == 0, "truncate");
		is_other(s, SG_EVENT_END, m.n, 0);
		is_other(s, SG_EVENT_END, m.n, 0);
	}
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_header_lost_is_put_together_from_name_and_spool(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment_header h;
	struct sg_segment *s;
	const char *why;

	made_header(&m, MAKE_ID, 7, 0);
	made_frame(&m, 7, 10);
	m.p[0] ^= 1;
	dir_put_segment(&d, 7, &m);
	s = walk(&d, 7);
	CU_ASSERT_EQUAL(sg_segment_header(s, &h, &why), 1);
	is_frame(s, 7);
	sg_segment_close(s);
	m.p[64] ^= 1;
	dir_put_segment(&d, 7, &m);
	s = walk(&d, 7);
	CU_ASSERT_EQUAL(sg_segment_header(s, &h, &why), 3);
	CU_ASSERT_STRING_EQUAL(why, "magic");
	CU_ASSERT_EQUAL(h.first_seq, 7);
	CU_ASSERT_EQUAL(memcmp(h.id, MAKE_ID, sizeof(h.id)), 0);
	is_frame(s, 7);
	sg_segment_close(s);
	CU_ASSERT_EQUAL(sg_segment_open(&s, d.fd, 7, 0, NULL), -EBADMSG);
	made_free(&m);
	dir_end(&d);
}

static void test_header_that_comes_later_is_read_then(void)
{
	struct dir d = dir_begin();
	struct made m = records(1, SG_HEADER_ZEROS), none = { 0 };
	struct sg_segment_header h;
	struct sg_segment *s;

	dir_put_segment(&d, 1, &none);
	s = walk(&d, 1);
	CU_ASSERT_EQUAL(sg_segment_header(s, &h, NULL), 3);
	is_other(s, SG_EVENT_END, SG_HEADER_BYTES, 0);
	put_at(&d, 1, &m, 0, m.n);
	is_frame(s, 1);
	CU_ASSERT_EQUAL(sg_segment_header(s, &h, NULL), 0);
	CU_ASSERT_EQUAL(h.flags, SG_HEADER_ZEROS);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_segment_of_another_spool_is_refused(void)
{
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_segment *s;

	made_header(&m, MAKE_OTHER_ID, 1, 0);
	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(sg_segment_open(&s, d.fd, 1, 0, MAKE_ID), -EXDEV);
	CU_ASSERT_PTR_NULL(s);
	CU_ASSERT_EQUAL(sg_segment_open(&s, d.fd, 1, 0, NULL), 0);
	sg_segment_close(s);
	CU_ASSERT_EQUAL(sg_segment_open(&s, d.fd, 2, 0, NULL), -ENOENT);
	must(mkfifoat(d.fd, "00000000000000000003.spool", 0600) == 0, "mkfifo");
	CU_ASSERT_EQUAL(sg_segment_open(&s, d.fd, 3, 0, MAKE_ID), -EBADMSG);
	made_free(&m);
	dir_end(&d);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * 12 MiB full of headers that could be true, each claiming most of what follows: one CRC each would be 2 TB of them.
 * Behind them lies a real frame, and it is found.
 */
static void test_made_up_headers_cost_linear_work(void)
{
	struct dir d = dir_begin();
	struct made m = records(1, 0);
	struct sg_segment *s;
	size_t at, n = 12u << 20;
	uint8_t raw[SG_FRAME_BYTES];
	double began;
	uint32_t len;

	for (at = 0; at < n; at += sizeof(raw)) {
		len = (uint32_t)(n - at - 1000);
		if (n - at < 20000)
			len = 8000;
		memset(raw, 0, sizeof(raw));
		memcpy(raw, "crc.", 4);
		memcpy(raw + 4, &len, 4);
		raw[8] = 2;
		made_add(&m, raw, sizeof(raw));
	}
	made_frame(&m, 2, 1 << 20);
	dir_put_segment(&d, 1, &m);
	s = walk(&d, 1);
	began = cpu_seconds();
	is_frame(s, 1);
	is_other(s, SG_EVENT_DAMAGE, AT(2), n);
	is_frame(s, 2);
	CU_ASSERT(cpu_seconds() - began < 60);
	sg_segment_close(s);
	made_free(&m);
	dir_end(&d);
}

static void test_crc_of_ranges_is_that_of_their_bytes(void)
{
	enum { N = 3000000 };
	struct dir d = dir_begin();
	struct made m = { 0 };
	struct sg_ranges *r = sg_ranges_new();
	uint32_t x = 1, crc, seed = 77;
	uint64_t from = 0, to;
	unsigned int i, bad = 0;
	bool whole;
	int fd;

	made_add(&m, NULL, N);
	for (i = 0; i < N; i++)
		m.p[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	dir_put(&d, "f", m.p, m.n);
	fd = openat(d.fd, "f", O_RDONLY);
	for (i = 0; i < 3000; i++) {
		x = x * 1664525 + 1013904223;
		from += x >> 22;
		x = x * 1664525 + 1013904223;
		to = from + (x >> (i % 3 ? 12 : 24));
		if (i % 500 == 499)
			from += 100000;
		if (from > to)
			to = from;
		bad += sg_ranges_crc(r, fd, seed, from, to, &crc, &whole) != 0;
		bad += whole != (to <= N);
		if (whole && to <= N)
			bad += crc != sg_crc32c(seed, m.p + from, to - from);
	}
	CU_ASSERT_EQUAL(bad, 0);
	close(fd);
	sg_ranges_free(r);
	made_free(&m);
	dir_end(&d);
}

/* ---- seeking ---- */

static struct made thousand(struct sg_index *x)
{
	struct made m = { 0 };
	uint64_t i;

	made_header(&m, MAKE_ID, 1, 0);
	for (i = 1; i <= 1000; i++) {
		must(sg_index_add(x, 2 * i, m.n) == 0, "index");
		made_frame(&m, 2 * i, 1000);
	}
	return m;
}

static void seek_everywhere(const struct dir *d)
{
	struct sg_segment *s = walk(d, 1);
	uint64_t seq;

	for (seq = 1; seq <= 2000; seq += 37) {
		CU_ASSERT_EQUAL(sg_segment_seek(s, seq), 0);
		is_frame(s, seq + seq % 2);
	}
	for (seq = 1999; seq > 100; seq -= 97) {
		CU_ASSERT_EQUAL(sg_segment_seek(s, seq), 0);
		is_frame(s, seq + seq % 2);
	}
	CU_ASSERT_EQUAL(sg_segment_seek(s, 2001), 0);
	is_other(s, SG_EVENT_END, 128 + 1000 * 1032, 0);
	sg_segment_close(s);
}

static void test_seek_finds_the_record_or_the_next(void)
{
	struct dir d = dir_begin();
	struct sg_index x = { 0 };
	struct made m = thousand(&x);

	dir_put_segment(&d, 1, &m);
	seek_everywhere(&d);
	CU_ASSERT_EQUAL(sg_index_write(&x, d.fd, 1, 1, sg_frame_seed(MAKE_ID), 0640), 0);
	CU_ASSERT_EQUAL(x.n, 16);
	seek_everywhere(&d);
	sg_index_free(&x);
	made_free(&m);
	dir_end(&d);
}

/* The same answers with an index that is empty, cut, of another segment, damaged, or plainly lies. */
static void test_no_index_can_mislead(void)
{
	struct dir d = dir_begin();
	struct sg_index x = { 0 }, lie = { 0 };
	struct made m = thousand(&x), index;
	uint32_t seed = sg_frame_seed(MAKE_ID);
	size_t i;

	dir_put_segment(&d, 1, &m);
	CU_ASSERT_EQUAL(sg_index_write(&x, d.fd, 1, 1, seed, 0640), 0);
	index = dir_get(&d, "00000000000000000001.index");
	for (i = 0; i < index.n; i += 13) {
		dir_put(&d, "00000000000000000001.index", index.p, i);
		seek_everywhere(&d);
		index.p[i] ^= 0x40;
		dir_put(&d, "00000000000000000001.index", index.p, index.n);
		seek_everywhere(&d);
		index.p[i] ^= 0x40;
	}
	for (i = 1; i < 16; i++)
		sg_index_add(&lie, 100 * i, i * SG_INDEX_STRIDE);
	CU_ASSERT_EQUAL(sg_index_write(&lie, d.fd, 1, 1, seed, 0640), 0);
	seek_everywhere(&d);
	CU_ASSERT_EQUAL(sg_index_write(&x, d.fd, 1, 2, seed, 0640), 0);
	seek_everywhere(&d);
	CU_ASSERT_EQUAL(sg_index_write(&x, d.fd, 1, 1, seed + 1, 0640), 0);
	seek_everywhere(&d);
	sg_index_free(&x);
	sg_index_free(&lie);
	made_free(&m);
	made_free(&index);
	dir_end(&d);
}

static void test_index_stays_small_in_a_large_segment(void)
{
	struct sg_index x = { 0 };
	uint64_t seq, stride = SG_INDEX_STRIDE;
	size_t i, bad = 0;

	for (seq = 1; seq <= 300000; seq++)
		CU_ASSERT_EQUAL_FATAL(sg_index_add(&x, seq, 128 + seq * stride), 0);
	CU_ASSERT(x.n <= SG_INDEX_ENTRIES && x.n > SG_INDEX_ENTRIES / 4);
	for (i = 0; i < x.n; i++)
		bad += x.v[i].offset != 128 + x.v[i].seq * stride ||
		       (i && x.v[i].seq <= x.v[i - 1].seq);
	CU_ASSERT_EQUAL(bad, 0);
	sg_index_free(&x);
}

SG_TESTS("segment", TEST(test_frames_come_in_order_with_their_payload),
	 TEST(test_large_frames_are_read_whole),
	 TEST(test_large_frames_are_checked_without_being_kept),
	 TEST(test_damage_of_a_large_frame_is_one_damage), TEST(test_walk_goes_on_behind_damage),
	 TEST(test_number_behind_damage_is_bounded),
	 TEST(test_damage_right_behind_a_gap_costs_its_record_only),
	 TEST(test_frame_that_does_not_rise_is_damage),
	 TEST(test_frame_inside_a_damaged_payload_of_another_spool_is_none),
	 TEST(test_every_cut_is_a_tail_or_an_end),
	 TEST(test_zeros_end_a_segment_only_if_its_header_says_so),
	 TEST(test_frame_of_zeros_before_zeros_is_found_behind_damage),
	 TEST(test_a_growing_segment_is_followed),
	 TEST(test_frames_written_over_zeros_are_followed),
	 TEST(test_a_tail_that_is_completed_becomes_its_frames),
	 TEST(test_no_damage_is_seen_beside_a_writer),
	 TEST(test_a_file_cut_while_it_is_read_just_ends),
	 TEST(test_zeros_that_come_and_go_stay_the_end),
	 TEST(test_header_lost_is_put_together_from_name_and_spool),
	 TEST(test_header_that_comes_later_is_read_then),
	 TEST(test_segment_of_another_spool_is_refused),
	 TEST(test_made_up_headers_cost_linear_work),
	 TEST(test_crc_of_ranges_is_that_of_their_bytes),
	 TEST(test_seek_finds_the_record_or_the_next), TEST(test_no_index_can_mislead),
	 TEST(test_index_stays_small_in_a_large_segment))
