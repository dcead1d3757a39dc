/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Commit logs, versions 0 and 1: every cut, every flipped byte; SPOOL_SWEEP=full recovers at each, else at some.
 *
 * What the format allows, as the sweeps have it: a commit is given if and only if its bytes are intact, whatever the
 * segment's header says. A cut between two commits leaves a shorter log that is whole, so nothing is told of it.
 */
#include "foreign.h"
#include "spool/commitlog.h"

#define NAME  "00000000000000000000.stdb.log"
#define INDEX "00000000000000000000.stdb.ofs"
#define N     30

static char dir[64];
static struct recs all;
static struct bytes data;
static size_t starts[N], ends[N];
static uint64_t offsets[N + 1];

static void add_header(struct bytes *b, unsigned int version)
{
	const uint8_t rest[] = { (uint8_t)version, 0, 0, 0 };

	add(b, "(ds)^2", 6);
	add(b, rest, 4);
}

/* Written out here once more, not by the code under test. */
static void add_commit(struct bytes *b, unsigned int version, uint64_t offset, uint64_t epoch,
		       uint16_t n, const void *records, size_t len)
{
	size_t at = b->n;

	add64(b, offset);
	if (version)
		add64(b, epoch);
	add16(b, n);
	add32(b, (uint32_t)len);
	add(b, records, len);
	add32(b, sg_crc32c(0, b->p + at, b->n - at));
}

static void build(unsigned int version, uint64_t first)
{
	uint16_t n;
	size_t i;

	drop(&data);
	fill(&all, N);
	add_header(&data, version);
	offsets[0] = first;
	for (i = 0; i < N; i++) {
		n = (uint16_t)(1 + i % 3);
		starts[i] = data.n;
		add_commit(&data, version, offsets[i], i / 8, n, all.v[i].data, all.v[i].len);
		ends[i] = data.n;
		offsets[i + 1] = offsets[i] + n;
	}
}

static void fresh(void)
{
	make_dir(dir);
	put_file(dir, NAME, data.p, data.n);
}

static void check_recovered(const bool *keep, bool gap)
{
	struct spool_summary s;
	struct told t;

	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT(t.kept_n >= 1);
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), gap);
	CU_ASSERT_EQUAL(t.n, gap);
	CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_GAP], gap);
}

static void test_a_good_log_has_no_finding(void)
{
	static struct recs got;
	struct spool_summary s;
	struct told t;
	bool keep[N];
	unsigned int v;

	memset(keep, 1, sizeof(keep));
	for (v = 0; v < 2; v++) {
		build(v, 0);
		fresh();
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
		CU_ASSERT_EQUAL(t.n, 0);
		CU_ASSERT_EQUAL(s.records, N);
		CU_ASSERT_EQUAL(s.bytes, data.n - 10);
		CU_ASSERT_EQUAL(s.first_seq, 1);
		CU_ASSERT_EQUAL(s.last_seq, offsets[N]);
		CU_ASSERT_EQUAL(s.format, SPOOL_FORMAT_COMMITLOG);
		CU_ASSERT_EQUAL(scan(dir, offsets[5] + 2, &got), 0); /* inside the sixth */
		CU_ASSERT_EQUAL(got.n, N - 5);
		CU_ASSERT_EQUAL(got.v[0].seq, offsets[5] + 1);
		CU_ASSERT_EQUAL(got.v[0].lost, 0);
		remove_dir(dir);
	}
}

static void sweep_cuts(unsigned int version)
{
	struct spool_summary s;
	struct told t;
	bool keep[N], clean;
	size_t cut, i;

	build(version, 0);
	fresh();
	for (cut = 0; cut < data.n; cut++) {
		put_file(dir, NAME, data.p, cut);
		clean = cut == 10;
		for (i = 0; i < N; i++) {
			keep[i] = ends[i] <= cut;
			clean = clean || ends[i] == cut;
		}
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), !clean);
		CU_ASSERT_EQUAL(t.n, !clean);
		if (!clean && cut) {
			for (i = 0; i < N && ends[i] <= cut; i++)
				;
			CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_TORN], 1);
			CU_ASSERT_EQUAL(s.torn_bytes, cut - (cut < 10 ? 0 : starts[i]));
		}
		if (!clean && cut % stride(23) == 0)
			check_recovered(keep, false);
	}
	remove_dir(dir);
}

static void test_every_cut_gives_what_lies_before_it(void)
{
	sweep_cuts(0);
	sweep_cuts(1);
}

static void check_flip(size_t at, size_t step)
{
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t lost;

	for (lost = 0; at >= 10 && ends[lost] <= at; lost++)
		;
	memset(keep, 1, sizeof(keep));
	keep[lost] = at < 10;
	put_file(dir, NAME, data.p, data.n);
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.n, 1);
	CU_ASSERT_EQUAL(t.last.kind, at < 10	     ? SPOOL_FOUND_HEADER
				     : lost == N - 1 ? SPOOL_FOUND_TORN
						     : SPOOL_FOUND_DAMAGE);
	if (at >= 10) {
		CU_ASSERT_EQUAL(t.last.offset, starts[lost]);
		CU_ASSERT_EQUAL(t.last.bytes, ends[lost] - starts[lost]);
	}
	if (at >= 10 && lost < N - 1) {
		CU_ASSERT_EQUAL(t.last.from_seq, offsets[lost] + 1);
		CU_ASSERT_EQUAL(t.last.to_seq, offsets[lost + 1]);
	}
	if (step == 0)
		check_recovered(keep, at >= 10 && lost < N - 1);
}

static void sweep_flips(unsigned int version)
{
	static const uint8_t masks[] = { 0xff, 0x01, 0x80, 0x10 };
	size_t at, m;

	build(version, 0);
	fresh();
	for (at = 0; at < data.n; at++) {
		for (m = at % stride(sizeof(masks)); m < sizeof(masks);
		     m += stride(sizeof(masks))) {
			data.p[at] ^= masks[m];
			check_flip(at, (at * sizeof(masks) + m) % stride(61));
			data.p[at] ^= masks[m];
		}
	}
	remove_dir(dir);
}

static void test_every_flipped_byte_costs_its_commit_alone(void)
{
	sweep_flips(0);
	sweep_flips(1);
}

static void test_trailing_bytes_of_any_number_are_counted(void)
{
	static const uint8_t zeros[64],
		ones[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
	struct spool_summary s;
	struct told t;
	size_t n, kind;

	for (kind = 0; kind < 2; kind++) {
		for (n = 1; n < 22; n++) {
			build(1, 0);
			add(&data, kind ? ones : zeros, n);
			fresh();
			CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
			CU_ASSERT_EQUAL(s.torn_bytes, n);
			remove_dir(dir);
		}
	}
	/* A whole header of zeros: whoever preallocates leaves them, and it is the end. */
	build(1, 0);
	add(&data, zeros, 22);
	fresh();
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	remove_dir(dir);
}

/* Good commits, then one that is wrong in itself, its checksum right. */
static void check_refused(const struct bytes *wrong, const char *why)
{
	struct spool_summary s;
	struct told t;
	bool keep[N];

	memset(keep, 1, sizeof(keep));
	add(&data, wrong->p, wrong->n);
	fresh();
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(s.torn_bytes, wrong->n);
	CU_ASSERT_STRING_EQUAL(t.why, why);
	remove_dir(dir);
}

static void test_commits_that_cannot_be_are_refused(void)
{
	struct bytes b = { 0 };

	build(1, 0);
	add_commit(&b, 1, offsets[N], 2, 1, "epoch", 5);
	check_refused(&b, "epoch below that of the commit before");
	drop(&b);
	build(1, 0);
	add_commit(&b, 1, offsets[N], 9, 0, "none", 4);
	check_refused(&b, "commit of no transaction");
	drop(&b);
	build(1, 0);
	add_commit(&b, 1, offsets[N] - 1, 9, 1, "again", 5);
	check_refused(&b, "transaction offset");
	drop(&b);
	build(1, 0);
	add_commit(&b, 1, offsets[N], 9, 1, "length", 6);
	sg_put32(b.p + 18, 0xffffffff);
	check_refused(&b, "length above 67108864");
	drop(&b);
}

static void test_segments_follow_and_gaps_between_are_told(void)
{
	static struct recs got;
	struct bytes second = { 0 };
	struct spool_summary s;
	char name[64];
	struct told t;

	build(1, 0);
	fresh();
	add_header(&second, 1);
	add_commit(&second, 1, offsets[N], 9, 1, "next", 4);
	snprintf(name, sizeof(name), "%020llu.stdb.log", (unsigned long long)offsets[N]);
	put_file(dir, name, second.p, second.n);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(s.segments, 2);
	CU_ASSERT_EQUAL(s.records, N + 1);
	/* The first one's end is torn: a writer that found it so began the second there. */
	add(&data, "torn", 4);
	put_file(dir, NAME, data.p, data.n);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.last.kind, SPOOL_FOUND_TORN);
	CU_ASSERT_EQUAL(s.missing_records, 0);
	/* The end of the first one is missing, at a commit's border. */
	put_file(dir, NAME, data.p, ends[N - 2]);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.n, 1);
	CU_ASSERT_EQUAL(t.last.kind, SPOOL_FOUND_GAP);
	CU_ASSERT_EQUAL(t.last.from_seq, offsets[N - 1] + 1);
	CU_ASSERT_EQUAL(t.last.to_seq, offsets[N]);
	CU_ASSERT_STRING_EQUAL(t.file, name);
	CU_ASSERT_EQUAL(scan(dir, 0, &got), 0);
	CU_ASSERT_EQUAL(got.v[N - 1].lost, offsets[N] - offsets[N - 1]);
	/* And not at a border: this is damage, not torn, since more follows. */
	put_file(dir, NAME, data.p, ends[N - 2] + 7);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.n, 1);
	CU_ASSERT_EQUAL(t.last.kind, SPOOL_FOUND_DAMAGE);
	CU_ASSERT_EQUAL(t.last.bytes, 7);
	CU_ASSERT_EQUAL(s.missing_records, offsets[N] - offsets[N - 1]);
	drop(&second);
	remove_dir(dir);
}

static void test_an_index_is_only_a_hint(void)
{
	struct bytes index = { 0 };
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t i;

	build(1, 0);
	fresh();
	memset(keep, 1, sizeof(keep));
	for (i = 3; i < N; i += 5) {
		add64(&index, offsets[i]);
		add64(&index, starts[i]);
	}
	add64(&index, 0);
	add64(&index, 0);
	put_file(dir, INDEX, index.p, index.n);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(t.n, 0);
	/* Each byte of its entries. A finding, but nothing wrong with the log. */
	for (i = 0; i + 16 < index.n; i++) {
		index.p[i] ^= 0x21;
		put_file(dir, INDEX, index.p, index.n);
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
		CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_INDEX], 1);
		CU_ASSERT(gives(dir, &all, keep));
		index.p[i] ^= 0x21;
	}
	/* Recovery takes a wrong one away, and any of a log that it changes. */
	index.p[9] ^= 1;
	put_file(dir, INDEX, index.p, index.n);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 0);
	CU_ASSERT_STRING_EQUAL(t.kept, INDEX);
	CU_ASSERT(file_is(dir, "quarantine/" INDEX, index.p, index.n));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(t.n, 0);
	drop(&index);
	remove_dir(dir);
}

static void test_a_commit_in_a_payload_is_no_commit_of_this_log(void)
{
	struct bytes inner = { 0 };
	struct spool_summary s;
	struct told t;

	/* The outer one is intact, so what it carries is not looked at; damaged, the inner one's offset does
	 * not fit before the next segment's. */
	drop(&data);
	add_header(&data, 1);
	add_commit(&inner, 1, 1000, 0, 1, "inner", 5);
	add_commit(&data, 1, 0, 0, 1, inner.p, inner.n);
	add_commit(&data, 1, 1, 0, 1, "last", 4);
	fresh();
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(s.records, 2);
	data.p[10] ^= 4;
	put_file(dir, NAME, data.p, data.n);
	drop(&data);
	add_header(&data, 1);
	add_commit(&data, 1, 2, 0, 1, "next", 4);
	put_file(dir, "00000000000000000002.stdb.log", data.p, data.n);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(s.records, 2);
	CU_ASSERT_EQUAL(s.missing_records, 1);
	drop(&inner);
	remove_dir(dir);
}

static void test_recovery_leaves_a_live_log_alone(void)
{
	struct spool_summary s;
	struct told t;
	char path[128];
	int fd;

	build(1, 0);
	add(&data, "torn", 4);
	fresh();
	snprintf(path, sizeof(path), "%s/" NAME, dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), -EBUSY);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	close(fd);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	remove_dir(dir);
}

static void test_recovery_keeps_what_it_cuts(void)
{
	struct spool_summary s;
	char path[600];
	struct told t;

	build(1, 0);
	add(&data, "torn", 4);
	fresh();
	CU_ASSERT_EQUAL(recover(dir, true, &t, &s), 1);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n));
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	snprintf(path, sizeof(path), "quarantine/%s", t.kept);
	CU_ASSERT(file_is(dir, path, "torn", 4));
	CU_ASSERT(file_is(dir, NAME, data.p, data.n - 4));
	data.p[starts[4]] ^= 1;
	put_file(dir, NAME, data.p, data.n);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT_STRING_EQUAL(t.kept, NAME);
	CU_ASSERT(file_is(dir, "quarantine/" NAME, data.p, data.n));
	remove_dir(dir);
}

SG_TESTS("commitlog", TEST(test_a_good_log_has_no_finding),
	 TEST(test_every_cut_gives_what_lies_before_it),
	 TEST(test_every_flipped_byte_costs_its_commit_alone),
	 TEST(test_trailing_bytes_of_any_number_are_counted),
	 TEST(test_commits_that_cannot_be_are_refused),
	 TEST(test_segments_follow_and_gaps_between_are_told), TEST(test_an_index_is_only_a_hint),
	 TEST(test_a_commit_in_a_payload_is_no_commit_of_this_log),
	 TEST(test_recovery_leaves_a_live_log_alone), TEST(test_recovery_keeps_what_it_cuts))
