/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The formats against their texts: golden.py, which knows nothing but these, writes spools that the library must read
 * exactly, and reads what the library wrote, checking every field.
 */
#include <time.h>

#include "foreign.h"

static char top[64];

static bool run(const char *what, const char *out)
{
	char command[512];

	snprintf(command, sizeof(command), "python3 tests/spool/golden.py %s >%s/%s", what, top,
		 out);
	return system(command) == 0;
}

static bool golden(void)
{
	char what[128];

	make_dir(top);
	snprintf(what, sizeof(what), "write %s", top);
	return run(what, "log");
}

static size_t unhex(const char *hex, uint8_t *out)
{
	unsigned int v;
	size_t n = 0;

	for (; *hex && *hex != '-' && sscanf(hex, "%2x", &v) == 1; hex += 2)
		out[n++] = (uint8_t)v;
	return n;
}

/* The next line of a record, as golden.py writes it. */
static bool line_is(FILE *f, const struct spool_record *r, bool with_time)
{
	unsigned long long seq, time, lost;
	static char hex[2048];
	uint8_t data[1024];
	size_t n;

	if (fscanf(f, "%llu %llu %llu %2047s", &seq, &time, &lost, hex) != 4)
		return false;
	n = unhex(hex, data);
	return seq == r->seq && (!with_time || time == r->time_ns) && lost == r->lost &&
	       n == r->len && (n == 0 || memcmp(data, r->data, n) == 0);
}

/* Are the next n lines what a scan of dir gives? */
static bool scan_is(FILE *f, const char *dir, enum spool_format format, size_t n)
{
	struct spool_record r;
	struct spool_scan *s;
	bool same = true;

	if (spool_scan_open(&s, dir, SPOOL_FORMAT_DETECT, 0) != 0)
		return false;
	same = spool_scan_format(s) == format;
	for (; n && same; n--)
		same = spool_scan_next(s, &r) == 0 && line_is(f, &r, true);
	same = same && spool_scan_next(s, &r) == -ENODATA;
	spool_scan_close(s);
	return same;
}

static enum spool_format named(const char *s)
{
	return *s == 'n'   ? SPOOL_FORMAT_NATIVE
	       : *s == 'a' ? SPOOL_FORMAT_AUDIT
			   : SPOOL_FORMAT_COMMITLOG;
}

static void test_we_read_what_another_wrote(void)
{
	char name[64], format[32], path[256];
	unsigned int cases = 0;
	struct spool_summary s;
	int result, got;
	struct told t;
	size_t n;
	FILE *f;

	CU_ASSERT_FATAL(golden());
	snprintf(path, sizeof(path), "%s/cases", top);
	f = fopen(path, "r");
	CU_ASSERT_FATAL(f != NULL);
	while (fscanf(f, " case %63s %31s %d %zu", name, format, &result, &n) == 4) {
		snprintf(path, sizeof(path), "%s/%s", top, name);
		got = verify(path, &t, &s);
		if (got != result || s.records != n) {
			printf("# %s: verify gives %d, %llu records: %s\n", name, got,
			       (unsigned long long)s.records, t.why);
			CU_FAIL("verify");
		}
		if (!scan_is(f, path, named(format), n)) {
			printf("# %s: the scan differs\n", name);
			CU_FAIL("scan");
			break;
		}
		cases++;
	}
	CU_ASSERT(feof(f));
	CU_ASSERT_EQUAL(cases, 29);
	fclose(f);
	remove_dir(top);
}

/* Bytes of a file of one directory and another. */
static bool same_file(const char *a, const char *an, const char *b, const char *bn)
{
	char ad[256], bd[256];
	struct bytes x;
	bool same;

	snprintf(ad, sizeof(ad), "%s/%s", top, a);
	snprintf(bd, sizeof(bd), "%s/%s", top, b);
	x = get_file(ad, an);
	same = x.n != SIZE_MAX && file_is(bd, bn, x.p, x.n);
	free(x.p);
	return same;
}

static int convert(const char *from, const char *to, enum spool_format format, bool v0)
{
	struct spool_convert_config c = SPOOL_CONVERT_CONFIG_INIT;
	char src[256], dst[256];

	c.commitlog_v0 = v0;
	snprintf(src, sizeof(src), "%s/%s", top, from);
	snprintf(dst, sizeof(dst), "%s/%s", top, to);
	return spool_convert(src, SPOOL_FORMAT_DETECT, dst, format, &c, NULL);
}

static void only_audit_file(const char *in, char name[256])
{
	char path[256];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", top, in);
	d = opendir(path);
	*name = '\0';
	while (d && (e = readdir(d)) != NULL)
		if (strlen(e->d_name) > 10 &&
		    !strcmp(e->d_name + strlen(e->d_name) - 10, ".audit.bin"))
			snprintf(name, 256, "%s", e->d_name);
	if (d)
		closedir(d);
}

static void test_we_write_the_bytes_that_another_writes(void)
{
	char name[256], side[300];

	CU_ASSERT_FATAL(golden());
	CU_ASSERT_EQUAL(convert("plain-native", "log0", SPOOL_FORMAT_COMMITLOG, true), 0);
	CU_ASSERT_EQUAL(convert("plain-audit", "log1", SPOOL_FORMAT_COMMITLOG, false), 0);
	CU_ASSERT_EQUAL(convert("plain-log1", "audit", SPOOL_FORMAT_AUDIT, false), 0);
	CU_ASSERT(same_file("plain-log0", "00000000000000000000.stdb.log", "log0",
			    "00000000000000000000.stdb.log"));
	CU_ASSERT(same_file("plain-log1", "00000000000000000000.stdb.log", "log1",
			    "00000000000000000000.stdb.log"));
	only_audit_file("audit", name);
	snprintf(side, sizeof(side), "%s.crc", name);
	CU_ASSERT(same_file("plain-audit", "01700000000000000000-4321.audit.bin", "audit", name));
	CU_ASSERT(
		same_file("plain-audit", "01700000000000000000-4321.audit.bin.crc", "audit", side));
	remove_dir(top);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void append_all(const char *dir, enum spool_prealloc prealloc, struct recs *all)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct spool *s;
	size_t i;

	c.segment_bytes = 4096;
	c.prealloc = prealloc;
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, dir, &c), 0);
	fill(all, 120);
	for (i = 0; i < all->n; i++) {
		CU_ASSERT_EQUAL(spool_append(s, all->v[i].data, all->v[i].len, &all->v[i].seq), 0);
		if (i % 7 == 0)
			CU_ASSERT_EQUAL(spool_sync(s), 0);
	}
	CU_ASSERT_EQUAL(spool_close(s), 0);
}

static void acknowledge(const char *dir, uint64_t seq)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct spool_reader *reader;
	struct spool_record r = { 0 };

	c.consumer = "golden";
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&reader, dir, &c), 0);
	while (r.seq < seq && spool_reader_next(reader, &r, 0) == 0)
		CU_ASSERT_EQUAL(spool_reader_ack(reader, r.seq), 0);
	CU_ASSERT_EQUAL(spool_reader_close(reader), 0);
}

static void another_reads(enum spool_prealloc prealloc)
{
	uint64_t before = now_ns(), after;
	unsigned long long acked = 0, time;
	static struct recs all;
	struct spool_record r;
	char dir[96], path[160];
	long at;
	size_t i;
	FILE *f;

	make_dir(top);
	snprintf(dir, sizeof(dir), "%s/spool", top);
	append_all(dir, prealloc, &all);
	acknowledge(dir, 33);
	after = now_ns();
	snprintf(path, sizeof(path), "read native %s", dir);
	CU_ASSERT(run(path, "out"));
	snprintf(path, sizeof(path), "%s/out", top);
	f = fopen(path, "r");
	CU_ASSERT_EQUAL(fscanf(f, "cursor golden %llu\n", &acked), 1);
	CU_ASSERT_EQUAL(acked, 33);
	for (i = 0; i < all.n; i++) {
		r = (struct spool_record){ .seq = i + 1,
					   .data = all.v[i].data,
					   .len = all.v[i].len };
		at = ftell(f);
		CU_ASSERT_EQUAL(fscanf(f, "%*u %llu", &time), 1);
		CU_ASSERT(time >= before && time <= after);
		fseek(f, at, SEEK_SET);
		CU_ASSERT(line_is(f, &r, false));
	}
	CU_ASSERT_EQUAL(fscanf(f, "%llu", &time), EOF);
	fclose(f);
	remove_dir(top);
}

static void test_another_reads_what_we_wrote(void)
{
	another_reads(SPOOL_PREALLOC_NONE);
	another_reads(SPOOL_PREALLOC_RESERVE);
	another_reads(SPOOL_PREALLOC_WRITTEN);
}

static void another_reads_converted(const char *format, bool v0)
{
	static struct recs all;
	struct spool_record r;
	char dir[96], what[160];
	size_t i;
	FILE *f;

	make_dir(top);
	snprintf(dir, sizeof(dir), "%s/spool", top);
	append_all(dir, SPOOL_PREALLOC_NONE, &all);
	CU_ASSERT_EQUAL(convert("spool", "other", named(format), v0), 0);
	snprintf(what, sizeof(what), "read %s %s/other", format, top);
	CU_ASSERT(run(what, "out"));
	snprintf(what, sizeof(what), "%s/out", top);
	f = fopen(what, "r");
	for (i = 0; i < all.n; i++) {
		r = (struct spool_record){ .seq = i + 1,
					   .data = all.v[i].data,
					   .len = all.v[i].len };
		CU_ASSERT(line_is(f, &r, true));
	}
	fclose(f);
	remove_dir(top);
}

static void test_another_reads_what_we_converted(void)
{
	another_reads_converted("audit", false);
	another_reads_converted("commitlog", false);
	another_reads_converted("commitlog", true);
}

SG_TESTS("golden", TEST(test_we_read_what_another_wrote),
	 TEST(test_we_write_the_bytes_that_another_writes), TEST(test_another_reads_what_we_wrote),
	 TEST(test_another_reads_what_we_converted))
