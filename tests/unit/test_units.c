/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "guard/units.h"
#include "tap.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct parsed {
	const char *text;
	int rc;
	uint64_t value;
};

static void test_times_need_a_unit_and_are_whole(void)
{
	static const struct parsed cases[] = {
		{ "50ms", 0, 50000000 },
		{ "1s", 0, 1000000000 },
		{ "2m", 0, 120 * SG_NSEC_PER_SEC },
		{ "2min", 0, 120 * SG_NSEC_PER_SEC },
		{ "100us", 0, 100000 },
		{ "7ns", 0, 7 },
		{ "3h", 0, 10800 * SG_NSEC_PER_SEC },
		{ "1d", 0, 86400 * SG_NSEC_PER_SEC },
		{ "50 ms", 0, 50000000 },
		{ "50\tms", 0, 50000000 },
		{ "0s", 0, 0 },
		{ "0050ms", 0, 50000000 },
		{ "18446744073709551615ns", 0, UINT64_MAX },
		{ "18446744073s", 0, UINT64_C(18446744073000000000) },
		{ "50", -EDOM, 0 },
		{ "0", -EDOM, 0 },
		{ "50 ", -EDOM, 0 },
		{ "", -EINVAL, 0 },
		{ "ms", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ " 1s", -EINVAL, 0 },
		{ "1.5s", -EINVAL, 0 },
		{ "1,5s", -EINVAL, 0 },
		{ "1S", -ENOTSUP, 0 },
		{ "1sec", -ENOTSUP, 0 },
		{ "1s ", -ENOTSUP, 0 },
		{ "1KiB", -ENOTSUP, 0 },
		{ "18446744074s", -ERANGE, 0 },
		{ "18446744073709551616ns", -ERANGE, 0 },
		{ "99999999999999999999999999s", -ERANGE, 0 },
	};
	uint64_t v;
	size_t i;
	int rc;

	for (i = 0; i < N(cases); i++) {
		v = 4711;
		rc = sg_units_parse_time(cases[i].text, strlen(cases[i].text), &v);
		CU_ASSERT_EQUAL(rc, cases[i].rc);
		CU_ASSERT_EQUAL(v, rc ? 4711 : cases[i].value);
		if (rc != cases[i].rc)
			printf("# %s: %d\n", cases[i].text, rc);
	}
}

static void test_sizes_are_bytes_or_binary_units(void)
{
	static const struct parsed cases[] = {
		{ "4096", 0, 4096 },
		{ "4096B", 0, 4096 },
		{ "512KiB", 0, 512 << 10 },
		{ "1MiB", 0, 1 << 20 },
		{ "2 GiB", 0, UINT64_C(2) << 30 },
		{ "1TiB", 0, UINT64_C(1) << 40 },
		{ "0", 0, 0 },
		{ "1MB", -ENOTSUP, 0 },
		{ "1M", -ENOTSUP, 0 },
		{ "1mib", -ENOTSUP, 0 },
		{ "1ms", -ENOTSUP, 0 },
		{ "x", -EINVAL, 0 },
		{ "1.5MiB", -EINVAL, 0 },
		{ "16777216TiB", -ERANGE, 0 },
	};
	uint64_t v;
	size_t i;
	int rc;

	for (i = 0; i < N(cases); i++) {
		v = 4711;
		rc = sg_units_parse_bytes(cases[i].text, strlen(cases[i].text), &v);
		CU_ASSERT_EQUAL(rc, cases[i].rc);
		CU_ASSERT_EQUAL(v, rc ? 4711 : cases[i].value);
	}
}

static void test_counts_are_digits_only(void)
{
	uint64_t v = 0;

	CU_ASSERT_EQUAL(sg_units_parse_count("512", 3, &v), 0);
	CU_ASSERT_EQUAL(v, 512);
	CU_ASSERT_EQUAL(sg_units_parse_count("512x", 3, &v), 0);
	CU_ASSERT_EQUAL(sg_units_parse_count("512x", 4, &v), -EINVAL);
	CU_ASSERT_EQUAL(sg_units_parse_count("", 0, &v), -EINVAL);
	CU_ASSERT_EQUAL(sg_units_parse_count("5.0", 3, &v), -EINVAL);
	CU_ASSERT_EQUAL(sg_units_parse_count("18446744073709551616", 20, &v), -ERANGE);
	CU_ASSERT_EQUAL(v, 512);
}

static void test_times_for_people_have_three_digits(void)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0 ns" },
		{ 870, "870 ns" },
		{ 999, "999 ns" },
		{ 1000, "1 us" },
		{ 1350, "1.35 us" },
		{ 1350000, "1.35 ms" },
		{ 1300000, "1.3 ms" },
		{ 1005000, "1.01 ms" },
		{ 50000000, "50 ms" },
		{ 50040000, "50 ms" },
		{ 50060000, "50.1 ms" },
		{ 123456789, "123 ms" },
		{ 999500, "1 ms" },
		{ 999499, "999 us" },
		{ 999999999, "1 s" },
		{ UINT64_C(1200000000), "1.2 s" },
		{ UINT64_C(9996000000), "10 s" },
		{ UINT64_C(59400000000), "59.4 s" },
		{ UINT64_C(59600000000), "1 min" },
		{ UINT64_C(125000000000), "2 min 5 s" },
		{ UINT64_C(12000000000000), "3 h 20 min" },
		{ UINT64_C(187200000000000), "2 d 4 h" },
		{ UINT64_MAX, "213503 d 23 h" },
	};
	char buf[SG_UNITS_MAX];
	size_t i;

	for (i = 0; i < N(cases); i++)
		CU_ASSERT_STRING_EQUAL(sg_units_time(buf, sizeof(buf), cases[i].ns), cases[i].text);
}

static void test_sizes_for_people_have_three_digits(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 512, "512 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ 65536, "64 KiB" },
		{ 1536 << 10, "1.5 MiB" },
		{ (1 << 20) - 1, "1 MiB" },
		{ 1000 << 10, "1000 KiB" },
		{ UINT64_C(1) << 40, "1 TiB" },
		{ UINT64_MAX, "16777216 TiB" },
	};
	char buf[SG_UNITS_MAX];
	size_t i;

	for (i = 0; i < N(cases); i++)
		CU_ASSERT_STRING_EQUAL(sg_units_bytes(buf, sizeof(buf), cases[i].bytes),
				       cases[i].text);
}

static void check_exact(uint64_t v)
{
	char buf[SG_UNITS_MAX];
	struct sg_text t;
	uint64_t back = ~v;

	sg_text_init(&t, buf, sizeof(buf));
	sg_text_time_exact(&t, v);
	CU_ASSERT_EQUAL(sg_units_parse_time(buf, t.len, &back), 0);
	CU_ASSERT_EQUAL(back, v);
	sg_text_init(&t, buf, sizeof(buf));
	sg_text_bytes_exact(&t, v);
	back = ~v;
	CU_ASSERT_EQUAL(sg_units_parse_bytes(buf, t.len, &back), 0);
	CU_ASSERT_EQUAL(back, v);
	CU_ASSERT_FALSE(sg_text_truncated(&t));
}

static void test_exact_forms_are_read_back_as_the_same_number(void)
{
	static const uint64_t odd[] = { 0, 1, 999, 1000, 1500000, 4096, 4097, UINT64_MAX };
	uint64_t v = 1;
	size_t i;

	for (i = 0; i < N(odd); i++)
		check_exact(odd[i]);
	for (i = 0; i < 64; i++, v = v * 3 + (i & 1))
		check_exact(v);
}

static void test_text_is_cut_and_ends_in_nul(void)
{
	char buf[8] = "xxxxxxx";
	struct sg_text t;

	sg_text_init(&t, buf, 6);
	sg_text_str(&t, "abc");
	CU_ASSERT_FALSE(sg_text_truncated(&t));
	sg_text_u64(&t, 1234);
	CU_ASSERT_TRUE(sg_text_truncated(&t));
	CU_ASSERT_EQUAL(t.len, 7);
	CU_ASSERT_STRING_EQUAL(buf, "abc12");
	CU_ASSERT_EQUAL(buf[6], 'x');
	sg_text_init(&t, buf, 1);
	sg_text_char(&t, 'a');
	CU_ASSERT_STRING_EQUAL(buf, "");
}

static void test_text_numbers(void)
{
	char buf[80];
	struct sg_text t;

	sg_text_init(&t, buf, sizeof(buf));
	sg_text_i64(&t, INT64_MIN);
	sg_text_char(&t, ' ');
	sg_text_i64(&t, -1);
	sg_text_char(&t, ' ');
	sg_text_hex(&t, UINT64_MAX);
	sg_text_char(&t, ' ');
	sg_text_hex(&t, 0);
	CU_ASSERT_STRING_EQUAL(buf, "-9223372036854775808 -1 ffffffffffffffff 0");
}

static void check_clean(const char *in, size_t n, size_t max, const char *want)
{
	char buf[64];
	struct sg_text t;

	sg_text_init(&t, buf, sizeof(buf));
	sg_text_clean(&t, in, n, max);
	CU_ASSERT_STRING_EQUAL(buf, want);
}

static void test_foreign_text_is_made_printable_utf8(void)
{
	check_clean("plain \"text\" \\", 14, 40, "plain \"text\" \\");
	check_clean("a\0b\x1b[2J\x7f\n", 9, 40, "a?b?[2J??");
	check_clean("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, 40,
		    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	check_clean("\xc2\x9b"
		    "1m",
		    4, 40, "??1m");			/* CSI as one C1 character */
	check_clean("\xc0\xaf", 2, 40, "??");		/* overlong '/' */
	check_clean("\xe0\x80\xaf", 3, 40, "???");	/* overlong */
	check_clean("\xed\xa0\x80", 3, 40, "???");	/* surrogate */
	check_clean("\xf4\x90\x80\x80", 4, 40, "????"); /* past U+10FFFF */
	check_clean("\xff\xfe", 2, 40, "??");
	check_clean("a\xe2\x82", 3, 40, "a??"); /* cut short */
	check_clean("abcdef", 6, 6, "abcdef");
	check_clean("abcdefg", 7, 6, "abcdef...");
	check_clean("abc\xe2\x82\xac"
		    "d",
		    7, 5, "abc..."); /* never half a character */
}

SG_TESTS("units", TEST(test_times_need_a_unit_and_are_whole),
	 TEST(test_sizes_are_bytes_or_binary_units), TEST(test_counts_are_digits_only),
	 TEST(test_times_for_people_have_three_digits),
	 TEST(test_sizes_for_people_have_three_digits),
	 TEST(test_exact_forms_are_read_back_as_the_same_number),
	 TEST(test_text_is_cut_and_ends_in_nul), TEST(test_text_numbers),
	 TEST(test_foreign_text_is_made_printable_utf8))
