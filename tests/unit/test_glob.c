/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "guard/glob.h"
#include "tap.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct pair {
	const char *glob;
	const char *path;
};

static void check_all(const struct pair *cases, size_t n, bool want)
{
	size_t i;

	for (i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(sg_glob_match(cases[i].glob, cases[i].path), want);
		if (sg_glob_match(cases[i].glob, cases[i].path) != want)
			printf("# %s %s\n", cases[i].glob, cases[i].path);
	}
}

static void test_matches(void)
{
	static const struct pair cases[] = {
		{ "/", "/" },
		{ "/var/log/messages", "/var/log/messages" },
		{ "/var/log/*.log", "/var/log/app.log" },
		{ "/var/log/*.log", "/var/log/.log" },
		{ "/var/log/*", "/var/log/" },
		{ "/var/*/x", "/var/log/x" },
		{ "/a*b*c", "/a1b2b3c" },
		{ "/a*", "/a" },
		{ "/**", "/" },
		{ "/**", "/a/b/c" },
		{ "/**/x", "/x" },
		{ "/**/x", "/a/b/x" },
		{ "/a/**/b", "/a/b" },
		{ "/a/**/b", "/a/x/b" },
		{ "/a/**/b", "/a/x/y/b" },
		{ "/a/**/**/b", "/a/b" },
		{ "/a/**/**/b", "/a/x/b" },
		{ "/a/**/*.log", "/a/x.log" },
		{ "/a/**/*.log", "/a/b/c/x.log" },
		{ "/a/***/b", "/a/b" },
		{ "/a**b", "/a/x/b" },
		{ "/a**b", "/ab" },
		{ "/var/**", "/var/" },
		{ "/?", "/a" },
		{ "/a?c", "/abc" },
		{ "/[a-c]x", "/bx" },
		{ "/[a-c]x", "/cx" },
		{ "/[!a-c]x", "/dx" },
		{ "/[^a-c]x", "/dx" },
		{ "/[]a]x", "/]x" },
		{ "/[!]a]x", "/bx" },
		{ "/[a-]x", "/-x" },
		{ "/[-a]x", "/-x" },
		{ "/[a!]x", "/!x" },
		{ "/[\\]]x", "/]x" },
		{ "/[\\\\]x", "/\\x" },
		{ "/[\\a-\\c]x", "/bx" },
		{ "/[[]x", "/[x" },
		{ "/[*?]x", "/*x" },
		{ "/\\*", "/*" },
		{ "/\\[a]", "/[a]" },
		{ "/a\\\\b", "/a\\b" },
		{ "/a]b", "/a]b" },
		{ "/a{b,c}", "/a{b,c}" },
		{ "/[\x80-\xff]", "/\xc3" },
		{ "/\xc3\xa4*", "/\xc3\xa4x" },
		{ "/a*b", "/a:b;c,b" },
		{ "/ a", "/ a" },
	};

	check_all(cases, N(cases), true);
}

static void test_mismatches(void)
{
	static const struct pair cases[] = {
		{ "/", "" },
		{ "/", "//" },
		{ "/a", "/A" },
		{ "/a", "/ab" },
		{ "/ab", "/a" },
		{ "/a", "a" },
		{ "/var/log/*.log", "/var/log/sub/app.log" },
		{ "/var/log/*.log", "/var/log/app.log.1" },
		{ "/var/log/*.log", "/xvar/log/app.log" },
		{ "/var/*/x", "/var/a/b/x" },
		{ "/a/**/b", "/a/xb" },
		{ "/a/**/b", "/ab" },
		{ "/a/**/b", "/a/x/yb" },
		{ "/a/**/**/b", "/a/xb" },
		{ "/x**/b", "/xb" },
		{ "/**x/b", "/b" },
		{ "/**/x", "/ax" },
		{ "/?", "/" },
		{ "/a?b", "/a/b" },
		{ "/?", "/ab" },
		{ "/a[!b]c", "/a/c" },
		{ "/a[.-0]c", "/a/c" },
		{ "/[a-c]x", "/dx" },
		{ "/[!a-c]x", "/ax" },
		{ "/[a\\-c]x", "/bx" },
		{ "/[a-]x", "/bx" },
		{ "/[a-c]", "/" },
		{ "/\\*", "/a" },
		{ "/\\?", "/a" },
		{ "/\\a", "/\\a" },
	};

	check_all(cases, N(cases), false);
}

struct fault {
	const char *glob;
	enum sg_glob_error e;
	size_t at;
};

static void test_faults_are_named_and_placed(void)
{
	static const struct fault cases[] = {
		{ "", SG_GLOB_EMPTY, 0 },
		{ "a", SG_GLOB_RELATIVE, 0 },
		{ "*.log", SG_GLOB_RELATIVE, 0 },
		{ "\\/a", SG_GLOB_RELATIVE, 0 },
		{ "/a[b", SG_GLOB_OPEN_SET, 2 },
		{ "/a[", SG_GLOB_OPEN_SET, 2 },
		{ "/a[]", SG_GLOB_OPEN_SET, 2 },
		{ "/a[!]", SG_GLOB_OPEN_SET, 2 },
		{ "/a[\\]", SG_GLOB_OPEN_SET, 2 },
		{ "/a[b\\", SG_GLOB_OPEN_SET, 2 },
		{ "/a[z-a]", SG_GLOB_BAD_RANGE, 3 },
		{ "/a[bz-a]", SG_GLOB_BAD_RANGE, 4 },
		{ "/a[[:alpha:]]", SG_GLOB_NAMED_CLASS, 3 },
		{ "/a[x[=a=]]", SG_GLOB_NAMED_CLASS, 4 },
		{ "/a\\", SG_GLOB_LONE_ESCAPE, 2 },
		{ "/a\nb", SG_GLOB_CONTROL_BYTE, 2 },
		{ "/a\\\x7f", SG_GLOB_CONTROL_BYTE, 3 },
		{ "/a[\x01]", SG_GLOB_CONTROL_BYTE, 3 },
	};
	size_t i, at;

	for (i = 0; i < N(cases); i++) {
		at = 99;
		CU_ASSERT_EQUAL(sg_glob_check(cases[i].glob, strlen(cases[i].glob), &at),
				cases[i].e);
		CU_ASSERT_EQUAL(at, cases[i].at);
		CU_ASSERT_TRUE(strlen(sg_glob_strerror(cases[i].e)) > 10);
		CU_ASSERT_FALSE(sg_glob_match(cases[i].glob, cases[i].glob));
		CU_ASSERT_FALSE(sg_glob_match(cases[i].glob, "/ab"));
	}
	CU_ASSERT_EQUAL(sg_glob_check("/ok", 3, NULL), SG_GLOB_OK);
	CU_ASSERT_STRING_EQUAL(sg_glob_strerror(SG_GLOB_OK), "");
}

static void test_longest_glob(void)
{
	char glob[SG_GLOB_MAX + 2], path[SG_GLOB_MAX + 2];

	memset(glob, 'a', sizeof(glob));
	glob[0] = '/';
	glob[SG_GLOB_MAX] = '\0';
	strcpy(path, glob);
	CU_ASSERT_TRUE(sg_glob_match(glob, path));
	path[SG_GLOB_MAX - 1] = 'b';
	CU_ASSERT_FALSE(sg_glob_match(glob, path));
	glob[SG_GLOB_MAX] = 'a';
	glob[SG_GLOB_MAX + 1] = '\0';
	CU_ASSERT_FALSE(sg_glob_match(glob, glob));
	CU_ASSERT_EQUAL(sg_glob_check(glob, SG_GLOB_MAX + 1, NULL), SG_GLOB_TOO_LONG);
}

/* Fills dst[0..n) with repetitions of unit and ends it. */
static void repeat(char *dst, size_t n, const char *unit)
{
	size_t i, u = strlen(unit);

	for (i = 0; i < n; i++)
		dst[i] = unit[i % u];
	dst[n] = '\0';
}

/* A backtracking matcher needs longer than the universe has for these. */
static void test_pathological_globs_take_bounded_time(void)
{
	static const char *const units[] = {
		"*a", "**a", "?*", "*?", "**/", "*[a-z]", "***", "/**"
	};
	char glob[SG_GLOB_MAX + 1], path[4096];
	struct timespec a, b;
	size_t i;

	repeat(path, sizeof(path) - 1, "a");
	path[0] = '/';
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (i = 0; i < N(units); i++) {
		glob[0] = '/';
		repeat(glob + 1, 480, units[i]);
		strcat(glob, "zzz");
		CU_ASSERT_FALSE(sg_glob_match(glob, path));
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	CU_ASSERT_TRUE(b.tv_sec - a.tv_sec < 10);
}

/* The obvious matcher, exponential, as the judge: recursion over the same definitions. */
static bool judge(const char *g, const char *p, bool after_slash)
{
	const char *rest;

	if (!*g)
		return !*p;
	if (*g == '*') {
		bool deep = g[1] == '*';

		for (rest = g; *rest == '*'; rest++)
			;
		if (deep && after_slash && *rest == '/' && judge(rest + 1, p, true))
			return true;
		for (;; p++) {
			if (judge(rest, p, false))
				return true;
			if (!*p || (*p == '/' && !deep))
				return false;
		}
	}
	if (!*p || (*g == '?' ? *p == '/' : *g != *p))
		return false;
	return judge(g + 1, p + 1, *p == '/');
}

static void test_agrees_with_a_plain_backtracking_matcher(void)
{
	static const char alphabet[] = "**?/ab";
	char glob[9] = "/", path[8] = "/";
	uint32_t x = 1, matched = 0;
	unsigned int i, j;
	bool got;

	for (i = 0; i < 100000; i++) {
		for (j = 1; j < 8; j++) {
			x = x * 1664525 + 1013904223;
			glob[j] = alphabet[(x >> 24) % 6];
			path[j - 1 + (j == 1)] = "/ab"[(x >> 16) % 3];
		}
		path[0] = '/';
		glob[2 + (x >> 8) % 6] = '\0';
		path[1 + (x >> 12) % 6] = '\0';
		got = sg_glob_match(glob, path);
		matched += got;
		if (got != judge(glob, path, false)) {
			printf("# %s %s\n", glob, path);
			CU_FAIL("differs");
		}
	}
	CU_ASSERT_TRUE(matched > 1000);
}

static void test_set_len(void)
{
	CU_ASSERT_EQUAL(sg_glob_set_len("[a]b", 4), 3);
	CU_ASSERT_EQUAL(sg_glob_set_len("[]a]b", 5), 4);
	CU_ASSERT_EQUAL(sg_glob_set_len("[!]]b", 5), 4);
	CU_ASSERT_EQUAL(sg_glob_set_len("[\\]]b", 5), 4);
	CU_ASSERT_EQUAL(sg_glob_set_len("[a]", 2), 0);
	CU_ASSERT_EQUAL(sg_glob_set_len("[", 1), 0);
	CU_ASSERT_EQUAL(sg_glob_set_len("[]", 2), 0);
}

SG_TESTS("glob", TEST(test_matches), TEST(test_mismatches), TEST(test_faults_are_named_and_placed),
	 TEST(test_longest_glob), TEST(test_pathological_globs_take_bounded_time),
	 TEST(test_agrees_with_a_plain_backtracking_matcher), TEST(test_set_len))
