/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * obs audit spools: every cut, every flipped byte of a file and of its sidecar; SPOOL_SWEEP=full recovers at each, else
 * at some.
 *
 * What the format allows, as the sweeps have it: a record is given if and only if its bytes and its checksum's are
 * intact, except that an empty one is a record only if one with a payload follows: else it is zero bytes at an end.
 */
#include <sys/wait.h>

#include "foreign.h"
#include "spool/foreign_files.h"

#define NAME "00000000000000000100-42.audit.bin"
#define SIDE NAME ".crc"
#define N    30

static char dir[64];
static struct recs all;
static struct bytes data, side;
static size_t ends[N];

static void build(size_t n)
{
	size_t i;

	drop(&data);
	drop(&side);
	fill(&all, n);
	for (i = 0; i < n; i++) {
		add32(&data, (uint32_t)all.v[i].len);
		add(&data, all.v[i].data, all.v[i].len);
		add32(&side, sg_crc32c(0, all.v[i].data, all.v[i].len));
		ends[i] = data.n;
	}
}

static void fresh(void)
{
	make_dir(dir);
	put_file(dir, NAME, data.p, data.n);
	put_file(dir, SIDE, side.p, side.n);
}

/* Recovered, the same records are there, and nothing is wrong any more. */
static void check_recovered(const bool *keep)
{
	struct spool_summary s;
	struct told t;

	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT(t.kept_n >= 1);
	CU_ASSERT(s.quarantined_bytes > 0);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT(gives(dir, &all, keep));
}

static void test_a_good_spool_has_no_finding(void)
{
	bool keep[N];
	struct spool_summary s;
	struct told t;

	build(N);
	fresh();
	memset(keep, 1, sizeof(keep));
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(t.n, 0);
	CU_ASSERT_EQUAL(s.records, N);
	CU_ASSERT_EQUAL(s.bytes, data.n);
	CU_ASSERT_EQUAL(s.first_seq, 1);
	CU_ASSERT_EQUAL(s.last_seq, N);
	CU_ASSERT_EQUAL(s.format, SPOOL_FORMAT_AUDIT);
	remove_dir(dir);
}

/* The first n are intact: which of them are records? */
static void keep_first(bool keep[N], size_t n)
{
	while (n && all.v[n - 1].len == 0)
		n--;
	memset(keep, 0, N);
	memset(keep, 1, n);
}

static void test_every_cut_gives_what_lies_before_it(void)
{
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t cut, i;

	build(N);
	fresh();
	for (cut = 0; cut < data.n; cut++) {
		put_file(dir, NAME, data.p, cut);
		put_file(dir, SIDE, side.p, side.n);
		for (i = 0; i < N && ends[i] <= cut; i++)
			;
		keep_first(keep, i);
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
		CU_ASSERT_EQUAL(s.records + s.missing_records, N);
		if (cut % stride(23) == 0)
			check_recovered(keep);
	}
	remove_dir(dir);
}

static void test_every_cut_of_the_sidecar_gives_what_it_confirms(void)
{
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t cut;

	build(N);
	fresh();
	for (cut = 0; cut < side.n; cut++) {
		put_file(dir, NAME, data.p, data.n);
		put_file(dir, SIDE, side.p, cut);
		keep_first(keep, cut / 4);
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
		CU_ASSERT(t.of[SPOOL_FOUND_SIDECAR] >= 1);
		CU_ASSERT_EQUAL(s.records + s.missing_records, N);
		if (cut % stride(11) == 0) {
			CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
			CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
			CU_ASSERT(gives(dir, &all, keep));
		}
	}
	remove_dir(dir);
}

/* Of the file, or of the sidecar. */
static void sweep_flips(struct bytes *b, const char *name, size_t step)
{
	static const uint8_t masks[] = { 0xff, 0x01, 0x80, 0x10 };
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t at, m, lost;

	for (at = 0; at < b->n; at++) {
		for (lost = 0; b == &data ? ends[lost] <= at : lost < at / 4; lost++)
			;
		memset(keep, 1, sizeof(keep));
		keep[lost] = false;
		for (m = at % stride(sizeof(masks)); m < sizeof(masks);
		     m += stride(sizeof(masks))) {
			b->p[at] ^= masks[m];
			put_file(dir, name, b->p, b->n);
			CU_ASSERT(gives(dir, &all, keep));
			CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
			CU_ASSERT_EQUAL(s.records, N - 1);
			CU_ASSERT_EQUAL(s.missing_records, 1);
			CU_ASSERT_EQUAL(t.last.from_seq, lost + 1);
			if ((at * sizeof(masks) + m) % step == 0) {
				check_recovered(keep);
				put_file(dir, NAME, data.p, data.n);
				put_file(dir, SIDE, side.p, side.n);
			}
			b->p[at] ^= masks[m];
		}
		put_file(dir, name, b->p, b->n);
	}
}

static void test_every_flipped_byte_costs_its_record_alone(void)
{
	build(N);
	fresh();
	sweep_flips(&data, NAME, stride(61));
	remove_dir(dir);
}

static void test_every_flipped_byte_of_the_sidecar_costs_its_record_alone(void)
{
	build(N);
	fresh();
	sweep_flips(&side, SIDE, stride(37));
	remove_dir(dir);
}

static void test_a_missing_sidecar_is_told_and_nothing_is_given(void)
{
	struct spool_summary s;
	bool keep[N] = { 0 };
	struct told t;
	char path[128];

	build(N);
	fresh();
	snprintf(path, sizeof(path), "%s/" SIDE, dir);
	unlink(path);
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_SIDECAR], 2);
	CU_ASSERT_EQUAL(t.last.from_seq, 1);
	CU_ASSERT_EQUAL(t.last.to_seq, N);
	CU_ASSERT_EQUAL(s.records, 0);
	/* Recovery takes the whole file out of the way, and loses none of it. */
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT(file_is(dir, "quarantine/" NAME, data.p, data.n));
	CU_ASSERT(!file_is(dir, NAME, data.p, data.n));
	remove_dir(dir);
}

static void test_a_sidecar_without_its_file_is_told_and_kept(void)
{
	struct spool_summary s;
	struct told t;
	char path[128];

	build(N);
	fresh();
	put_file(dir, "00000000000000000200-1.audit.bin", data.p, data.n);
	put_file(dir, "00000000000000000200-1.audit.bin.crc", side.p, side.n);
	snprintf(path, sizeof(path), "%s/" NAME, dir);
	unlink(path);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_SIDECAR], 1);
	CU_ASSERT_STRING_EQUAL(t.file, SIDE);
	CU_ASSERT_EQUAL(s.records, N);
	CU_ASSERT_EQUAL(s.missing_records, N);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT_STRING_EQUAL(t.kept, SIDE);
	CU_ASSERT(file_is(dir, "quarantine/" SIDE, side.p, side.n));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	remove_dir(dir);
}

static void test_a_checksum_that_was_never_written_costs_one_record(void)
{
	struct spool_summary s;
	bool keep[N];
	struct told t;
	size_t k;

	build(N);
	fresh();
	for (k = 0; k + 1 < N; k++) {
		/* Its neighbour is equal: which of the two checksums is missing cannot be told. */
		if (all.v[k].len == 0 && (all.v[k + 1].len == 0 || (k && all.v[k - 1].len == 0)))
			continue;
		memmove(side.p + 4 * k, side.p + 4 * k + 4, 4 * (N - 1 - k));
		put_file(dir, SIDE, side.p, side.n - 4);
		memset(keep, 1, sizeof(keep));
		keep[k] = false;
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
		CU_ASSERT_EQUAL(s.records, N - 1);
		build(N);
	}
	remove_dir(dir);
}

static void test_two_damages_leave_what_is_between(void)
{
	struct spool_summary s;
	bool keep[N];
	struct told t;

	build(N);
	fresh();
	data.p[0] ^= 0x40; /* a length of records far apart, and one checksum between */
	data.p[ends[19] + 1] ^= 0x40;
	side.p[4 * 10] ^= 1;
	put_file(dir, NAME, data.p, data.n);
	put_file(dir, SIDE, side.p, side.n);
	memset(keep, 1, sizeof(keep));
	keep[0] = keep[10] = keep[20] = false;
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_DAMAGE], 3);
	CU_ASSERT_EQUAL(s.missing_records, 3);
	check_recovered(keep);
	remove_dir(dir);
}

/* Of a file of many records a quarter is overwritten: with zeros, with noise, with text. */
static void test_what_lies_behind_a_large_damage_is_found_again(void)
{
	const size_t n = 40000, payload = 36, record = 40;
	struct spool_summary s;
	struct told t;
	size_t i, kind;
	uint32_t v;

	for (kind = 0; kind < 3; kind++) {
		drop(&data);
		drop(&side);
		for (i = 0, v = 1; i < n; i++) {
			add32(&data, (uint32_t)payload);
			for (size_t j = 0; j < payload / 4; j++)
				add32(&data, v = v * 1664525 + 1013904223);
			add32(&side, sg_crc32c(0, data.p + data.n - payload, payload));
		}
		for (i = n / 4 * record + 7; i < n / 2 * record; i++, v = v * 1664525 + 1013904223)
			data.p[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)(v >> 24) : 'x';
		fresh();
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
		CU_ASSERT_EQUAL(t.n, 1);
		CU_ASSERT_EQUAL(t.last.kind, SPOOL_FOUND_DAMAGE);
		CU_ASSERT_EQUAL(t.last.bytes, n / 4 * record);
		CU_ASSERT_EQUAL(s.records, n - n / 4);
		CU_ASSERT_EQUAL(s.missing_records, n / 4);
		remove_dir(dir);
	}
}

/* Which of equal records were lost cannot be told, but how many, and nothing behind them is. */
static void test_equal_records_around_a_damage_cost_no_more_than_it(void)
{
	struct spool_summary s;
	struct told t;
	size_t i;

	drop(&data);
	drop(&side);
	for (i = 0; i < 4000; i++) {
		add32(&data, 8);
		add32(&data, i < 3000 ? 7 : (uint32_t)i);
		add32(&data, 7);
		add32(&side, sg_crc32c(0, data.p + data.n - 8, 8));
	}
	memset(data.p + 1000 * 12, 0xaa, 600 * 12);
	fresh();
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(s.records, 3400);
	CU_ASSERT_EQUAL(s.missing_records, 600);
	remove_dir(dir);
}

static void test_zero_bytes_at_the_end_are_a_torn_tail(void)
{
	static const uint8_t zeros[4096];
	struct spool_summary s;
	bool keep[N];
	struct told t;

	build(N);
	add(&data, zeros, sizeof(zeros));
	add(&side, zeros, 64); /* the sidecar's end was lost as well */
	fresh();
	memset(keep, 1, sizeof(keep));
	CU_ASSERT(gives(dir, &all, keep));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(t.of[SPOOL_FOUND_TORN], 1);
	CU_ASSERT_EQUAL(s.torn_bytes, 4096);
	CU_ASSERT_EQUAL(s.missing_records, 0);
	check_recovered(keep);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n - 4096));
	CU_ASSERT(file_is(dir, SIDE, side.p, side.n - 64));
	remove_dir(dir);
}

static void test_a_length_is_capped_before_it_is_believed(void)
{
	static const uint32_t lens[] = { 0xffffffff, 67108865, 67108864, 0x7fffffff };
	struct spool_summary s;
	struct told t;
	bool keep[N];
	size_t i;

	memset(keep, 1, sizeof(keep));
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		build(N);
		add32(&data, lens[i]);
		add32(&data, 0x11223344);
		add32(&side, 0x55667788);
		fresh();
		CU_ASSERT(gives(dir, &all, keep));
		CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
		CU_ASSERT_EQUAL(s.torn_bytes, 8);
		CU_ASSERT_EQUAL(strncmp(t.why, lens[i] > 67108864 ? "length" : "the file", 6), 0);
		remove_dir(dir);
	}
}

static void test_work_is_bounded_where_every_byte_may_begin_a_record(void)
{
	struct spool_summary s;
	struct told t;
	size_t i;

	/* 0x0003ffff at each multiple of four, and plausible in between. */
	drop(&data);
	drop(&side);
	for (i = 0; i < 98304; i++)
		add32(&data, 0x00010001);
	for (i = 0; i < 4096; i++)
		add32(&side, 0x12345678);
	fresh();
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(s.records, 0);
	remove_dir(dir);
}

static void test_recovery_keeps_what_it_cuts(void)
{
	struct spool_summary s;
	struct told t;

	build(N);
	add(&data, "torn", 4);
	fresh();
	CU_ASSERT_EQUAL(recover(dir, true, &t, &s), 1);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n)); /* a dry run changes nothing */
	CU_ASSERT_EQUAL(t.kept_n, 0);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT_EQUAL(s.quarantined_bytes, 4);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n - 4));
	snprintf(t.file, sizeof(t.file), "quarantine/%.200s", t.kept);
	CU_ASSERT(file_is(dir, t.file, "torn", 4));
	/* In the middle: the whole original. */
	data.p[5] ^= 1;
	put_file(dir, NAME, data.p, data.n);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	CU_ASSERT(file_is(dir, "quarantine/" NAME, data.p, data.n));
	CU_ASSERT(file_is(dir, "quarantine/" SIDE, side.p, side.n));
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	remove_dir(dir);
}

static void test_a_crash_between_the_two_renames_loses_nothing(void)
{
	struct bytes old_side = { 0 };
	struct spool_summary s;
	bool keep[N];
	struct told t;

	build(N);
	add(&old_side, side.p, side.n);
	data.p[5] ^= 1;
	fresh();
	memset(keep, 1, sizeof(keep));
	keep[0] = false;
	check_recovered(keep);
	/* The new file beside the old sidecar. */
	put_file(dir, SIDE, old_side.p, old_side.n);
	CU_ASSERT(gives(dir, &all, keep));
	check_recovered(keep);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	drop(&old_side);
	remove_dir(dir);
}

static void test_recovery_leaves_a_live_file_alone(void)
{
	struct spool_summary s;
	struct told t;
	char path[128];
	int fd;

	build(N);
	add(&data, "torn", 4);
	fresh();
	snprintf(path, sizeof(path), "%s/" NAME, dir);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), -EBUSY);
	CU_ASSERT(file_is(dir, NAME, data.p, data.n));
	/* And what is being written is no torn tail. */
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	close(fd);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 1);
	CU_ASSERT_EQUAL(recover(dir, false, &t, &s), 1);
	remove_dir(dir);
}

/* In a process that owns nothing, so that no lease is granted: is the file seen to be written? */
static bool busy_for_stranger(int write_fd, uint32_t pid)
{
	struct sg_foreign_file f = { .number = 100, .pid = pid };
	struct sg_foreign_files files = { .v = &f, .n = 1 };
	char name[SG_FOREIGN_NAME_BYTES];
	int dirfd, status;
	struct stat st;
	pid_t child;
	bool busy;

	sg_foreign_name(&f, SPOOL_FORMAT_AUDIT, name);
	put_file(dir, name, "", 0);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fstatat(dirfd, name, &st, 0);
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	child = fork();
	if (child == 0) {
		if (write_fd)
			write_fd = openat(dirfd, name, O_WRONLY);
		if (setuid(65534) != 0 ||
		    sg_foreign_busy(dirfd, SPOOL_FORMAT_AUDIT, &files, &busy) != 0)
			_exit(2);
		_exit(busy);
	}
	waitpid(child, &status, 0);
	close(dirfd);
	return WEXITSTATUS(status) == 1;
}

static void test_a_writer_is_seen_without_a_lease(void)
{
	if (geteuid() != 0)
		return; /* another one's file is needed */
	make_dir(dir);
	chmod(dir, 0755);
	CU_ASSERT(!busy_for_stranger(0, 4194999));
	CU_ASSERT(busy_for_stranger(1, 4194999));
	/* The process in the name lives and cannot be looked into. */
	CU_ASSERT(busy_for_stranger(0, (uint32_t)getpid()));
	remove_dir(dir);
}

static void test_files_follow_in_the_order_of_their_names(void)
{
	static struct recs got;
	struct spool_summary s;
	struct told t;
	size_t i;

	build(3);
	make_dir(dir);
	for (i = 3; i-- > 0;) {
		char name[64], crc[80];

		snprintf(name, sizeof(name), "%020zu-%d.audit.bin", 100 + i / 2, i == 1 ? 9 : 10);
		snprintf(crc, sizeof(crc), "%s.crc", name);
		data.p[4] = (uint8_t)('a' + i);
		sg_put32(side.p, sg_crc32c(0, data.p + 4, all.v[0].len));
		put_file(dir, name, data.p, data.n);
		put_file(dir, crc, side.p, side.n);
	}
	CU_ASSERT_EQUAL(scan(dir, 0, &got), 0);
	CU_ASSERT_EQUAL(got.n, 9);
	CU_ASSERT_EQUAL(got.v[0].data[0], 'b'); /* 100-9, 100-10, 101-10 */
	CU_ASSERT_EQUAL(got.v[3].data[0], 'a');
	CU_ASSERT_EQUAL(got.v[6].data[0], 'c');
	CU_ASSERT_EQUAL(got.v[8].seq, 9);
	CU_ASSERT_EQUAL(verify(dir, &t, &s), 0);
	CU_ASSERT_EQUAL(s.segments, 3);
	CU_ASSERT_EQUAL(scan(dir, 5, &got), 0);
	CU_ASSERT_EQUAL(got.n, 5);
	CU_ASSERT_EQUAL(got.v[0].seq, 5);
	remove_dir(dir);
}

static void test_a_scan_counts_what_is_missing(void)
{
	static struct recs got;

	build(N);
	data.p[ends[7] + 4] ^= 1;
	fresh();
	CU_ASSERT_EQUAL(scan(dir, 0, &got), 0);
	CU_ASSERT_EQUAL(got.v[7].seq, 8);
	CU_ASSERT_EQUAL(got.v[8].seq, 10);
	CU_ASSERT_EQUAL(got.v[8].lost, 1);
	CU_ASSERT_EQUAL(got.v[9].lost, 0);
	remove_dir(dir);
}

SG_TESTS("audit", TEST(test_a_good_spool_has_no_finding),
	 TEST(test_every_cut_gives_what_lies_before_it),
	 TEST(test_every_cut_of_the_sidecar_gives_what_it_confirms),
	 TEST(test_every_flipped_byte_costs_its_record_alone),
	 TEST(test_every_flipped_byte_of_the_sidecar_costs_its_record_alone),
	 TEST(test_a_missing_sidecar_is_told_and_nothing_is_given),
	 TEST(test_a_sidecar_without_its_file_is_told_and_kept),
	 TEST(test_a_checksum_that_was_never_written_costs_one_record),
	 TEST(test_two_damages_leave_what_is_between),
	 TEST(test_what_lies_behind_a_large_damage_is_found_again),
	 TEST(test_equal_records_around_a_damage_cost_no_more_than_it),
	 TEST(test_zero_bytes_at_the_end_are_a_torn_tail),
	 TEST(test_a_length_is_capped_before_it_is_believed),
	 TEST(test_work_is_bounded_where_every_byte_may_begin_a_record),
	 TEST(test_recovery_keeps_what_it_cuts),
	 TEST(test_a_crash_between_the_two_renames_loses_nothing),
	 TEST(test_recovery_leaves_a_live_file_alone), TEST(test_a_writer_is_seen_without_a_lease),
	 TEST(test_files_follow_in_the_order_of_their_names),
	 TEST(test_a_scan_counts_what_is_missing))
