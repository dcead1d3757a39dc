/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Conversion, and the scan that it stands on: payloads and order byte for byte, and what could not be kept is told. */
#include <signal.h>
#include <sys/resource.h>

#include "foreign.h"
#include "spool/commitlog.h"

#define N 40

static char top[64], src[96], dst[96], back[96];
static struct recs all;
static bool keep[N];

static void make_dirs(void)
{
	make_dir(top);
	snprintf(src, sizeof(src), "%s/src", top);
	snprintf(dst, sizeof(dst), "%s/new/dst", top); /* its parent is missing too */
	snprintf(back, sizeof(back), "%s/back", top);
	memset(keep, 1, sizeof(keep));
}

static void make_native(size_t n)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct spool *s;
	size_t i;

	make_dirs();
	fill(&all, n);
	c.segment_bytes = 4096;
	c.sync = SPOOL_SYNC_NONE;
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, src, &c), 0);
	for (i = 0; i < n; i++)
		CU_ASSERT_EQUAL(spool_append(s, all.v[i].data, all.v[i].len, NULL), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
}

static int convert(const char *from, const char *to, enum spool_format format,
		   struct spool_convert_result *r)
{
	struct spool_convert_config c = SPOOL_CONVERT_CONFIG_INIT;

	c.segment_bytes = 4096;
	return spool_convert(from, SPOOL_FORMAT_DETECT, to, format, &c, r);
}

static void round_trip(enum spool_format over)
{
	struct spool_convert_result r;
	struct spool_summary s;
	static struct recs got;
	struct told t;
	size_t i;

	make_native(N);
	CU_ASSERT_EQUAL(convert(src, dst, over, &r), 0);
	CU_ASSERT_EQUAL(r.from, SPOOL_FORMAT_NATIVE);
	CU_ASSERT_EQUAL(r.to, over);
	CU_ASSERT_EQUAL(r.records, N);
	CU_ASSERT_EQUAL(r.times_lost, N);
	CU_ASSERT_EQUAL(r.lost_records + r.renumbered_records + r.epochs_lost + r.merged_commits,
			0);
	CU_ASSERT_EQUAL(verify(dst, &t, &s), 0);
	CU_ASSERT_EQUAL(t.n, 0);
	CU_ASSERT_EQUAL(s.format, over);
	CU_ASSERT(gives(dst, &all, keep));
	CU_ASSERT_EQUAL(convert(dst, back, SPOOL_FORMAT_NATIVE, &r), 0);
	CU_ASSERT_EQUAL(r.records, N);
	CU_ASSERT_EQUAL(r.times_lost, over == SPOOL_FORMAT_NATIVE ? N : 0);
	CU_ASSERT_EQUAL(verify(back, &t, &s), 0);
	CU_ASSERT(gives(back, &all, keep));
	CU_ASSERT_EQUAL(scan(back, 0, &got), 0);
	for (i = 0; i < got.n; i++)
		CU_ASSERT_EQUAL(got.v[i].seq, i + 1);
	remove_dir(top);
}

static void test_native_to_audit_and_back_keeps_every_byte(void)
{
	round_trip(SPOOL_FORMAT_AUDIT);
}

static void test_native_to_commit_log_and_back_keeps_every_byte(void)
{
	round_trip(SPOOL_FORMAT_COMMITLOG);
}

static void test_native_to_native_keeps_every_byte(void)
{
	round_trip(SPOOL_FORMAT_NATIVE);
}

static void test_audit_to_commit_log_and_back_keeps_every_byte(void)
{
	struct spool_convert_result r;

	make_native(N);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_AUDIT, &r), 0);
	CU_ASSERT_EQUAL(convert(dst, back, SPOOL_FORMAT_COMMITLOG, &r), 0);
	CU_ASSERT(gives(back, &all, keep));
	CU_ASSERT_EQUAL(r.renumbered_records, 0);
	remove_dir(top);
}

static void test_version_0_can_be_written(void)
{
	struct spool_convert_config c = SPOOL_CONVERT_CONFIG_INIT;
	struct spool_convert_result r;
	struct spool_summary s;
	struct bytes b;
	struct told t;

	make_native(N);
	c.commitlog_v0 = true;
	CU_ASSERT_EQUAL(
		spool_convert(src, SPOOL_FORMAT_NATIVE, dst, SPOOL_FORMAT_COMMITLOG, &c, &r), 0);
	b = get_file(dst, "00000000000000000000.stdb.log");
	CU_ASSERT_EQUAL_FATAL(b.n != SIZE_MAX && b.n > 10, true);
	CU_ASSERT_EQUAL(b.p[6], 0);
	drop(&b);
	CU_ASSERT_EQUAL(verify(dst, &t, &s), 0);
	CU_ASSERT(gives(dst, &all, keep));
	remove_dir(top);
}

static void test_segments_of_a_log_end_at_their_size(void)
{
	struct spool_convert_result r;
	struct spool_config c = SPOOL_CONFIG_INIT;
	static const uint8_t payload[200];
	struct spool_summary s;
	struct spool *spool;
	struct told t;
	int i;

	make_dirs();
	CU_ASSERT_EQUAL_FATAL(spool_open(&spool, src, &c), 0);
	for (i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(spool_append(spool, payload, sizeof(payload), NULL), 0);
	CU_ASSERT_EQUAL(spool_close(spool), 0);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_COMMITLOG, &r), 0);
	CU_ASSERT_EQUAL(verify(dst, &t, &s), 0);
	CU_ASSERT_EQUAL(s.records, 100);
	CU_ASSERT_EQUAL(s.segments, 6); /* 18 commits of 226 bytes fit into 4096 */
	CU_ASSERT(file_is(dst, "00000000000000000018.stdb.log", NULL, 0) == false);
	remove_dir(top);
}

/* What the target cannot hold is counted. */
static void test_epochs_and_commits_of_several_transactions_are_told(void)
{
	struct sg_commit c = { .n = 3, .epoch = 7, .len = 4, .records = (const uint8_t *)"abcd" };
	uint8_t header[SG_CL_COMMIT_MAX], crc[SG_CL_CRC_BYTES], head[SG_CL_HEADER_BYTES];
	struct spool_convert_result r;
	static struct recs got;
	struct bytes b = { 0 };

	make_dirs();
	mkdir(src, 0700);
	sg_cl_header_write(head, 1);
	add(&b, head, sizeof(head));
	for (c.offset = 10; c.offset < 19; c.offset += 3) {
		add(&b, header, sg_commit_write(header, crc, 1, &c));
		add(&b, c.records, c.len);
		add(&b, crc, sizeof(crc));
	}
	put_file(src, "00000000000000000010.stdb.log", b.p, b.n);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_NATIVE, &r), 0);
	CU_ASSERT_EQUAL(r.records, 3);
	CU_ASSERT_EQUAL(r.epochs_lost, 3);
	CU_ASSERT_EQUAL(r.merged_commits, 3);
	CU_ASSERT_EQUAL(r.renumbered_records, 3);
	CU_ASSERT_EQUAL(r.times_lost, 0);
	CU_ASSERT_EQUAL(scan(dst, 0, &got), 0);
	CU_ASSERT_EQUAL(got.n, 3);
	CU_ASSERT_EQUAL(memcmp(got.v[2].data, "abcd", 4), 0);
	/* To another log nothing is lost: not a byte. */
	CU_ASSERT_EQUAL(convert(src, back, SPOOL_FORMAT_COMMITLOG, &r), 0);
	CU_ASSERT_EQUAL(r.epochs_lost + r.merged_commits + r.renumbered_records, 0);
	CU_ASSERT(file_is(back, "00000000000000000010.stdb.log", b.p, b.n));
	drop(&b);
	remove_dir(top);
}

static void test_empty_records_at_the_very_end_are_told(void)
{
	struct spool_convert_result r;
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct spool_summary s;
	struct spool *spool;
	struct told t;

	make_native(N);
	CU_ASSERT_EQUAL_FATAL(spool_open(&spool, src, &c), 0);
	CU_ASSERT_EQUAL(spool_append(spool, "", 0, NULL), 0);
	CU_ASSERT_EQUAL(spool_append(spool, "", 0, NULL), 0);
	CU_ASSERT_EQUAL(spool_close(spool), 0);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_AUDIT, &r), 0);
	CU_ASSERT_EQUAL(r.empty_lost, 2);
	CU_ASSERT_EQUAL(r.records, N);
	CU_ASSERT_EQUAL(verify(dst, &t, &s), 0);
	CU_ASSERT(gives(dst, &all, keep));
	/* A log can hold them. */
	CU_ASSERT_EQUAL(convert(src, back, SPOOL_FORMAT_COMMITLOG, &r), 0);
	CU_ASSERT_EQUAL(r.records, N + 2);
	CU_ASSERT_EQUAL(verify(back, &t, &s), 0);
	CU_ASSERT_EQUAL(s.records, N + 2);
	remove_dir(top);
}

static void test_what_is_lost_in_the_source_is_told(void)
{
	static struct recs got;
	struct spool_convert_result r;
	struct bytes b;

	make_native(N);
	b = get_file(src, "00000000000000000001.spool");
	b.p[128 + 5] ^= 1;
	put_file(src, "00000000000000000001.spool", b.p, b.n);
	drop(&b);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_COMMITLOG, &r), 0);
	CU_ASSERT_EQUAL(r.records, N - 1);
	CU_ASSERT_EQUAL(r.lost_records, 1);
	keep[0] = false;
	CU_ASSERT(gives(dst, &all, keep));
	CU_ASSERT_EQUAL(scan(dst, 0, &got), 0);
	CU_ASSERT_EQUAL(got.v[0].seq, 2);
	remove_dir(top);
}

static void test_records_without_a_checksum_come_along_only_if_asked_for(void)
{
	struct spool_convert_config c = SPOOL_CONVERT_CONFIG_INIT;
	struct spool_convert_result r;
	static struct recs got;

	make_dirs();
	mkdir(src, 0700);
	put_file(src, "00000000000000000001-1.audit.bin", "\3\0\0\0abc\2\0\0\0de", 13);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_NATIVE, &r), 0);
	CU_ASSERT_EQUAL(r.records, 0);
	CU_ASSERT_EQUAL(r.lost_records, 2);
	c.unverified = true;
	CU_ASSERT_EQUAL(spool_convert(src, SPOOL_FORMAT_AUDIT, back, SPOOL_FORMAT_NATIVE, &c, &r),
			0);
	CU_ASSERT_EQUAL(r.records, 2);
	CU_ASSERT_EQUAL(r.unverified_records, 2);
	CU_ASSERT_EQUAL(r.lost_records, 0);
	CU_ASSERT_EQUAL(scan(back, 0, &got), 0);
	CU_ASSERT_EQUAL(got.n, 2);
	CU_ASSERT_EQUAL(memcmp(got.v[1].data, "de", 2), 0);
	remove_dir(top);
}

static void test_a_destination_that_holds_something_is_refused(void)
{
	struct spool_convert_config c = SPOOL_CONVERT_CONFIG_INIT;
	struct spool_convert_result r;
	int f;

	make_native(3);
	mkdir(back, 0700);
	put_file(back, "note", "x", 1);
	for (f = SPOOL_FORMAT_NATIVE; f <= SPOOL_FORMAT_COMMITLOG; f++) {
		CU_ASSERT_EQUAL(convert(src, back, (enum spool_format)f, &r), -ENOTEMPTY);
		CU_ASSERT_EQUAL(convert(src, src, (enum spool_format)f, &r), -ENOTEMPTY);
	}
	CU_ASSERT(file_is(back, "note", "x", 1));
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_DETECT, &r), -EINVAL);
	c.segment_bytes = 4095;
	CU_ASSERT_EQUAL(spool_convert(src, SPOOL_FORMAT_DETECT, dst, SPOOL_FORMAT_AUDIT, &c, &r),
			-EINVAL);
	c.segment_bytes = 0;
	c.mode = 010000;
	CU_ASSERT_EQUAL(spool_convert(src, SPOOL_FORMAT_DETECT, dst, SPOOL_FORMAT_AUDIT, &c, &r),
			-EINVAL);
	CU_ASSERT_EQUAL(access(dst, F_OK), -1);
	remove_dir(top);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit r;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &r);
	r.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &r);
}

static void test_a_write_that_fails_is_told(void)
{
	struct spool_convert_result r;
	int f, err;

	for (f = SPOOL_FORMAT_NATIVE; f <= SPOOL_FORMAT_COMMITLOG; f++) {
		make_native(N);
		limit_files(100);
		err = convert(src, dst, (enum spool_format)f, &r);
		limit_files(RLIM_INFINITY);
		CU_ASSERT_EQUAL(err, -EFBIG);
		remove_dir(top);
	}
}

/* Recovery that cannot write leaves all as it was, and can be made again. */
static void failed_recovery(const char *name, size_t damage)
{
	static struct recs before, after;
	struct spool_summary s;
	struct bytes b;
	struct told t;
	int err;

	b = get_file(dst, name);
	CU_ASSERT_FATAL(b.n != SIZE_MAX);
	b.p[damage] ^= 1;
	put_file(dst, name, b.p, b.n);
	CU_ASSERT_EQUAL(scan(dst, 0, &before), 0);
	CU_ASSERT_EQUAL(before.n, N - 1);
	limit_files(100);
	err = recover(dst, false, &t, &s);
	limit_files(RLIM_INFINITY);
	CU_ASSERT_EQUAL(err, -EFBIG);
	CU_ASSERT(file_is(dst, name, b.p, b.n));
	CU_ASSERT_EQUAL(get_file(dst, ".spoolguard-new").n, SIZE_MAX);
	CU_ASSERT_EQUAL(recover(dst, false, &t, &s), 1);
	CU_ASSERT_EQUAL(scan(dst, 0, &after), 0);
	CU_ASSERT_EQUAL(after.n, N - 1);
	drop(&b);
	remove_dir(top);
}

static void test_a_recovery_that_fails_changes_nothing(void)
{
	struct spool_convert_result r;
	struct dirent *e;
	char name[256] = "";
	DIR *d;

	make_native(N);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_COMMITLOG, &r), 0);
	failed_recovery("00000000000000000000.stdb.log", 12);
	make_native(N);
	CU_ASSERT_EQUAL(convert(src, dst, SPOOL_FORMAT_AUDIT, &r), 0);
	d = opendir(dst);
	while ((e = readdir(d)) != NULL)
		if (strlen(e->d_name) > 4 && !strcmp(e->d_name + strlen(e->d_name) - 4, ".bin"))
			snprintf(name, sizeof(name), "%s", e->d_name);
	closedir(d);
	failed_recovery(name, 5);
}

static enum spool_format format_of(const char *dir, int *err)
{
	enum spool_format f = SPOOL_FORMAT_DETECT;
	struct spool_scan *s;

	*err = spool_scan_open(&s, dir, SPOOL_FORMAT_DETECT, 0);
	if (*err == 0) {
		f = spool_scan_format(s);
		spool_scan_close(s);
	}
	return f;
}

static void test_the_format_is_found_by_content(void)
{
	int err;

	make_dirs();
	mkdir(src, 0700);
	format_of(src, &err);
	CU_ASSERT_EQUAL(err, -ENOENT);
	/* A name counts where nothing else does, … */
	put_file(src, "00000000000000000001.spool", "not one", 7);
	CU_ASSERT_EQUAL(format_of(src, &err), SPOOL_FORMAT_DETECT);
	CU_ASSERT_EQUAL(err, -EBADMSG); /* native, but no identity is left */
	/* … content before it, … */
	put_file(src, "00000000000000000001.stdb.log", "(ds)^2\1\0\0\0", 10);
	CU_ASSERT_EQUAL(format_of(src, &err), SPOOL_FORMAT_COMMITLOG);
	/* … and two that are confirmed are no answer. */
	put_file(src, "00000000000000000001-1.audit.bin", "\1\0\0\0a", 5);
	CU_ASSERT_EQUAL(format_of(src, &err), SPOOL_FORMAT_COMMITLOG);
	put_file(src, "00000000000000000001-1.audit.bin.crc", "\x30\x43\xd0\xc1", 4);
	format_of(src, &err);
	CU_ASSERT_EQUAL(err, -EBADMSG);
	remove_dir(top);
}

SG_TESTS("convert", TEST(test_native_to_audit_and_back_keeps_every_byte),
	 TEST(test_native_to_commit_log_and_back_keeps_every_byte),
	 TEST(test_native_to_native_keeps_every_byte),
	 TEST(test_audit_to_commit_log_and_back_keeps_every_byte),
	 TEST(test_version_0_can_be_written), TEST(test_segments_of_a_log_end_at_their_size),
	 TEST(test_epochs_and_commits_of_several_transactions_are_told),
	 TEST(test_empty_records_at_the_very_end_are_told),
	 TEST(test_what_is_lost_in_the_source_is_told),
	 TEST(test_records_without_a_checksum_come_along_only_if_asked_for),
	 TEST(test_a_destination_that_holds_something_is_refused),
	 TEST(test_a_write_that_fails_is_told), TEST(test_a_recovery_that_fails_changes_nothing),
	 TEST(test_the_format_is_found_by_content))
