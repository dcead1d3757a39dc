/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guard/policy.h"
#include "tap.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))
#define MS   UINT64_C(1000000)

static struct sg_policy policy, again;
static struct sg_policy_report report;

static int parse_file(const char *text)
{
	return sg_policy_parse_file(&policy, text, strlen(text), "spoolguard.conf", &report);
}

static int parse_line(const char *text)
{
	return sg_policy_parse_line(&policy, text, strlen(text), "SPOOLGUARD_POLICY", &report);
}

/* ---- what is right ---- */

static void check_defaults(const struct sg_rule *r)
{
	CU_ASSERT_EQUAL(r->mode, SG_MODE_OBSERVE);
	CU_ASSERT_EQUAL(r->max_delay_ns, 50 * MS);
	CU_ASSERT_EQUAL(r->max_records, 512);
	CU_ASSERT_EQUAL(r->max_bytes, 1 << 20);
	CU_ASSERT_TRUE(r->adapt);
	CU_ASSERT_EQUAL(r->stall_ns, 1000 * MS);
	CU_ASSERT_EQUAL(r->on_stall, SG_ON_STALL_BLOCK);
	CU_ASSERT_STRING_EQUAL(r->spill_dir, "");
	CU_ASSERT_EQUAL(r->on_error, SG_ON_ERROR_POISON);
	CU_ASSERT_EQUAL(r->backend, SG_BACKEND_AUTO);
}

static void test_an_empty_text_is_an_empty_policy(void)
{
	static const char *const texts[] = { "", "\n", "; x\n# y\n\n  \t\n",
					     "\xef\xbb\xbf; BOM\n" };
	size_t i;

	for (i = 0; i < N(texts); i++) {
		CU_ASSERT_EQUAL(parse_file(texts[i]), 0);
		CU_ASSERT_EQUAL(policy.n, 0);
	}
	CU_ASSERT_EQUAL(parse_line(""), 0);
	CU_ASSERT_EQUAL(parse_line(" ; ;"), 0);
	CU_ASSERT_EQUAL(policy.n, 0);
	CU_ASSERT_PTR_NULL(sg_policy_match(&policy, "/a"));
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, NULL, 0, "x", NULL), 0);
}

static void test_every_key_of_a_file_is_read(void)
{
	const struct sg_rule *r = &policy.rules[0];

	CU_ASSERT_EQUAL(
		parse_file("[/var/log/audit/*.log]\n"
			   "mode        = window          ; observe | group | window | ensure\n"
			   "max_delay   = 20ms            # (window, ensure)\n"
			   "max_records = 100\n"
			   "max_bytes   = 64 KiB\n"
			   "adapt=off\r\n"
			   "\tstall\t=\t2s\t\n"
			   "on_stall    = spill:/var/spool/a b;c ; inline\n"
			   "on_error    = abort\n"
			   "backend     = kmod"),
		0);
	CU_ASSERT_EQUAL_FATAL(policy.n, 1);
	CU_ASSERT_STRING_EQUAL(r->glob, "/var/log/audit/*.log");
	CU_ASSERT_EQUAL(r->mode, SG_MODE_WINDOW);
	CU_ASSERT_EQUAL(r->max_delay_ns, 20 * MS);
	CU_ASSERT_EQUAL(r->max_records, 100);
	CU_ASSERT_EQUAL(r->max_bytes, 65536);
	CU_ASSERT_FALSE(r->adapt);
	CU_ASSERT_EQUAL(r->stall_ns, 2000 * MS);
	CU_ASSERT_EQUAL(r->on_stall, SG_ON_STALL_SPILL);
	CU_ASSERT_STRING_EQUAL(r->spill_dir, "/var/spool/a b;c");
	CU_ASSERT_EQUAL(r->on_error, SG_ON_ERROR_ABORT);
	CU_ASSERT_EQUAL(r->backend, SG_BACKEND_KMOD);
	CU_ASSERT_EQUAL(r->set, (1u << SG_KEYS) - 1);
	CU_ASSERT_EQUAL(r->line, 1);
	CU_ASSERT_EQUAL(report.warnings, 0);
}

static void test_keys_that_are_not_given_have_their_defaults(void)
{
	CU_ASSERT_EQUAL(parse_file("\n[/a]\n\n[/b] ; comment with ] in it\n"), 0);
	CU_ASSERT_EQUAL_FATAL(policy.n, 2);
	check_defaults(&policy.rules[0]);
	check_defaults(&policy.rules[1]);
	CU_ASSERT_STRING_EQUAL(policy.rules[1].glob, "/b");
	CU_ASSERT_EQUAL(policy.rules[1].line, 4);
	CU_ASSERT_EQUAL(parse_line("/a:"), 0);
	CU_ASSERT_EQUAL_FATAL(policy.n, 1);
	check_defaults(&policy.rules[0]);
}

static void test_every_choice_is_read(void)
{
	char text[64];
	unsigned int i;

	for (i = 0; i <= SG_MODE_ENSURE; i++) {
		snprintf(text, sizeof(text), "/a:mode=%s", sg_mode_name((enum sg_mode)i));
		CU_ASSERT_EQUAL(parse_line(text), 0);
		CU_ASSERT_EQUAL(policy.rules[0].mode, i);
	}
	for (i = 0; i <= SG_ON_ERROR_WARN; i++) {
		snprintf(text, sizeof(text), "/a:on_error=%s",
			 sg_on_error_name((enum sg_on_error)i));
		CU_ASSERT_EQUAL(parse_line(text), 0);
		CU_ASSERT_EQUAL(policy.rules[0].on_error, i);
	}
	for (i = 0; i <= SG_BACKEND_KMOD; i++) {
		snprintf(text, sizeof(text), "/a:backend=%s", sg_backend_name((enum sg_backend)i));
		CU_ASSERT_EQUAL(parse_line(text), 0);
		CU_ASSERT_EQUAL(policy.rules[0].backend, i);
	}
	CU_ASSERT_EQUAL(parse_line("/a:on_stall=fail"), 0);
	CU_ASSERT_EQUAL(policy.rules[0].on_stall, SG_ON_STALL_FAIL);
	CU_ASSERT_EQUAL(parse_line("/a:on_stall=block"), 0);
	CU_ASSERT_EQUAL(policy.rules[0].on_stall, SG_ON_STALL_BLOCK);
}

static void test_the_one_line_form(void)
{
	CU_ASSERT_EQUAL(
		parse_line(
			"/var/log/app/*.log:mode=group,stall=500ms; /x\\:y\\;z : mode = window , "
			"on_stall=spill:/a\\,b:c\\;d ;/**:"),
		0);
	CU_ASSERT_EQUAL_FATAL(policy.n, 3);
	CU_ASSERT_STRING_EQUAL(policy.rules[0].glob, "/var/log/app/*.log");
	CU_ASSERT_EQUAL(policy.rules[0].mode, SG_MODE_GROUP);
	CU_ASSERT_EQUAL(policy.rules[0].stall_ns, 500 * MS);
	CU_ASSERT_STRING_EQUAL(policy.rules[1].glob, "/x:y;z");
	CU_ASSERT_STRING_EQUAL(policy.rules[1].spill_dir, "/a,b:c;d");
	CU_ASSERT_EQUAL(policy.rules[1].line, 2);
	CU_ASSERT_STRING_EQUAL(policy.rules[2].glob, "/**");
}

static void test_sections_hold_sets_blanks_and_escapes(void)
{
	static const struct {
		const char *section, *glob;
	} cases[] = {
		{ "[/a/[xy].log]", "/a/[xy].log" },
		{ "[/a/[]x].log] ; ]", "/a/[]x].log" },
		{ "[/a/\\].log]", "/a/\\].log" },
		{ "[ /a b ]", "/a b" },
		{ "[/a\\ ]", "/a\\ " },
		{ "[/a;b#c]", "/a;b#c" },
		{ "[/a\\:b]", "/a:b" },
		{ "[/a\\\\:b]", "/a\\\\:b" },
		{ "[/a=b]", "/a=b" },
	};
	size_t i;

	for (i = 0; i < N(cases); i++) {
		CU_ASSERT_EQUAL(parse_file(cases[i].section), 0);
		CU_ASSERT_EQUAL(policy.n, 1);
		CU_ASSERT_STRING_EQUAL(policy.rules[0].glob, cases[i].glob);
	}
}

static void test_the_first_match_wins(void)
{
	CU_ASSERT_EQUAL(parse_line("/var/log/audit/*:mode=window;/var/log/**:mode=group"), 0);
	CU_ASSERT_PTR_EQUAL(sg_policy_match(&policy, "/var/log/audit/a"), &policy.rules[0]);
	CU_ASSERT_PTR_EQUAL(sg_policy_match(&policy, "/var/log/b"), &policy.rules[1]);
	CU_ASSERT_PTR_EQUAL(sg_policy_match(&policy, "/var/log/audit/x/a"), &policy.rules[1]);
	CU_ASSERT_PTR_NULL(sg_policy_match(&policy, "/etc/passwd"));
	CU_ASSERT_PTR_NULL(sg_policy_match(&policy, ""));
}

static void test_as_many_rules_as_fit(void)
{
	char text[2048];
	int i, n = 0;

	for (i = 0; i < SG_POLICY_RULES; i++)
		n += snprintf(text + n, sizeof(text) - n, "[/%d]\n", i);
	CU_ASSERT_EQUAL(parse_file(text), 0);
	CU_ASSERT_EQUAL(policy.n, SG_POLICY_RULES);
	snprintf(text + n, sizeof(text) - n, "[/more]\n");
	CU_ASSERT_EQUAL(parse_file(text), -E2BIG);
	CU_ASSERT_STRING_EQUAL(report.error.message,
			       "spoolguard.conf:65: too many rules; the most is 64");
	CU_ASSERT_EQUAL(policy.n, 0);
}

/* ---- what is wrong ---- */

struct bad {
	const char *text;
	unsigned int line, column;
	const char *message;
};

static void check_bad(const struct bad *cases, size_t n, int (*parse)(const char *))
{
	size_t i;

	for (i = 0; i < n; i++) {
		CU_ASSERT_EQUAL(parse(cases[i].text), -EINVAL);
		CU_ASSERT_EQUAL(policy.n, 0);
		CU_ASSERT_STRING_EQUAL(report.error.message, cases[i].message);
		CU_ASSERT_EQUAL(report.error.line, cases[i].line);
		CU_ASSERT_EQUAL(report.error.column, cases[i].column);
		if (strcmp(report.error.message, cases[i].message) ||
		    report.error.line != cases[i].line || report.error.column != cases[i].column)
			printf("# %u:%u %s\n", report.error.line, report.error.column,
			       report.error.message);
	}
}

#define C "spoolguard.conf:"
#define S "[/a]\n"

static const struct bad bad_files[] = {
	/* values */
	{ S "max_delay = 50\n", 2, 1, C "2: max_delay = \"50\": a time needs a unit, like 50ms" },
	{ S "\n\n  max_delay = 50", 4, 3,
	  C "4: max_delay = \"50\": a time needs a unit, like 50ms" },
	{ S "max_delay = 50parsec", 2, 1,
	  C "2: max_delay = \"50parsec\": no such unit; there are ns, us, ms, s, m, h, d" },
	{ S "max_delay = soon", 2, 1,
	  C "2: max_delay = \"soon\": a time is a whole number and a unit, like 50ms" },
	{ S "max_delay = 1.5s", 2, 1,
	  C "2: max_delay = \"1.5s\": a time is a whole number and a unit, like 50ms" },
	{ S "max_delay = -5ms", 2, 1,
	  C "2: max_delay = \"-5ms\": a time is a whole number and a unit, like 50ms" },
	{ S "max_delay = 0ms", 2, 1, C "2: max_delay = \"0ms\": 0 leaves no room; the least is 1" },
	{ S "max_delay = 25h", 2, 1, C "2: max_delay = \"25h\": too long; the most is 1d" },
	{ S "stall = 99999999999999999999s", 2, 1,
	  C "2: stall = \"99999999999999999999s\": too long; the most is 1d" },
	{ S "stall = 30000000000000000m", 2, 1,
	  C "2: stall = \"30000000000000000m\": too long; the most is 1d" },
	{ S "stall = 0s", 2, 1, C "2: stall = \"0s\": 0 leaves no room; the least is 1" },
	{ S "max_records = many", 2, 1,
	  C "2: max_records = \"many\": a whole number is wanted, like 512" },
	{ S "max_records = 5k", 2, 1,
	  C "2: max_records = \"5k\": a whole number is wanted, like 512" },
	{ S "max_records = 0", 2, 1, C "2: max_records = \"0\": 0 leaves no room; the least is 1" },
	{ S "max_records = 1000000001", 2, 1,
	  C "2: max_records = \"1000000001\": too many; the most is 1000000000" },
	{ S "max_records = 18446744073709551616", 2, 1,
	  C "2: max_records = \"18446744073709551616\": too many; the most is 1000000000" },
	{ S "max_bytes = 1MB", 2, 1,
	  C "2: max_bytes = \"1MB\": no such unit; there are B, KiB, MiB, GiB, TiB" },
	{ S "max_bytes = big", 2, 1,
	  C "2: max_bytes = \"big\": a size is a whole number, perhaps with a unit, like 1MiB" },
	{ S "max_bytes = 0KiB", 2, 1,
	  C "2: max_bytes = \"0KiB\": 0 leaves no room; the least is 1" },
	{ S "max_bytes = 2TiB", 2, 1, C "2: max_bytes = \"2TiB\": too large; the most is 1TiB" },
	{ S "max_bytes = 99999999TiB", 2, 1,
	  C "2: max_bytes = \"99999999TiB\": too large; the most is 1TiB" },
	{ S "mode = fast", 2, 1,
	  C "2: mode = \"fast\": no such mode; there are observe, group, window, ensure" },
	{ S "mode = Window", 2, 1,
	  C "2: mode = \"Window\": no such mode; there are observe, group, window, ensure" },
	{ S "adapt = yes", 2, 1, C "2: adapt = \"yes\": no such choice; there are off, on" },
	{ S "on_stall = panic", 2, 1,
	  C "2: on_stall = \"panic\": no such choice; there are block, fail, spill:DIR" },
	{ S "on_stall = spill:DIR", 2, 1,
	  C "2: on_stall = \"spill:DIR\": the folder must be an absolute path" },
	{ S "on_stall = spill", 2, 1,
	  C "2: on_stall = \"spill\": spill needs a folder, like spill:/var/spool/app" },
	{ S "on_stall = spill: ", 2, 1,
	  C "2: on_stall = \"spill:\": spill needs a folder, like spill:/var/spool/app" },
	{ S "on_error = ignore", 2, 1,
	  C "2: on_error = \"ignore\": no such choice; there are poison, abort, warn" },
	{ S "backend = dpdk", 2, 1,
	  C "2: backend = \"dpdk\": no such backend; there are auto, syscall, kmod" },
	{ S "mode = \"window\"", 2, 1,
	  C "2: mode = \"\"window\"\": no such mode; there are observe, group, window, ensure" },
	{ S "mode =", 2, 1, C "2: mode = \"\": a value is missing" },
	{ S "mode = ; window", 2, 1, C "2: mode = \"\": a value is missing" },
	{ S "mode =#window", 2, 1, C "2: mode = \"\": a value is missing" },
	{ S "max_delay = 012345678901234567890123456789012345678901234567890", 2, 1,
	  C "2: max_delay = \"0123456789012345678901234567890123456789...\": too long; the most is "
	    "1d" },
	/* keys */
	{ S "max_dely = 5ms", 2, 1, C "2: max_dely: no such key; did you mean max_delay?" },
	{ S "MAX-DELAY = 5ms", 2, 1, C "2: MAX-DELAY: no such key; did you mean max_delay?" },
	{ S "records = 5", 2, 1, C "2: records: no such key; did you mean max_records?" },
	{ S "onerror = warn", 2, 1, C "2: onerror: no such key; did you mean on_error?" },
	{ S "colour = blue", 2, 1,
	  C "2: colour: no such key; there are mode, max_delay, max_records, max_bytes, adapt, "
	    "stall, "
	    "on_stall, on_error, backend" },
	{ S "a_key_longer_than_any_other_there_is_or_ever_was = 1", 2, 1,
	  C
	  "2: a_key_longer_than_any_other_there_is_or_...: no such key; there are mode, max_delay, "
	  "max_records, max_bytes, adapt, stall, on_stall, on_error, backend" },
	{ S "mode = group\nstall=1s\nmode = group", 4, 1,
	  C "4: mode: given twice; the first is in line 2" },
	{ S "mode group", 2, 1, C "2: \"mode group\": neither [section] nor key = value" },
	{ S " = group", 2, 2, C "2: a key is missing before the =" },
	{ "mode = group\n[/a]", 1, 1, C "1: \"mode = group\": a key before the first [section]" },
	/* sections */
	{ "[/a", 1, 1, C "1: \"[/a\": a section ends with ]" },
	{ "[", 1, 1, C "1: \"[\": a section ends with ]" },
	{ "[/a[b]\nmode = group", 1, 1, C "1: \"[/a[b]\": a section ends with ]" },
	{ "[/a] mode = group", 1, 6,
	  C "1: \"mode = group\": nothing but a comment may follow a section" },
	{ "[]", 1, 2, C "1: \"\": the glob is empty" },
	{ "[ \t]", 1, 4, C "1: \"\": the glob is empty" },
	{ "[*.log]", 1, 2, C "1: \"*.log\": a glob is an absolute path, beginning with /" },
	{ "[/a/[z-a]]", 1, 6, C "1: \"/a/[z-a]\": a range in [ ] runs backwards" },
	{ "[/a/[[:alpha:]]]", 1, 6,
	  C "1: \"/a/[[:alpha:]\": classes like [:alpha:] are not known here; write a range, like "
	    "[a-z]" },
	{ S "[/b]\nmode=group\n[/a]", 4, 2, C "4: /a: given twice; the first is in line 1" },
	{ "[/a:b]\n[/a\\:b]", 2, 2, C "2: /a\\:b: given twice; the first is in line 1" },
	/* bytes */
	{ S "mode = \x1b[31m", 2, 8, C "2: a control byte" },
	{ S "; a lone \r return", 2, 10, C "2: a control byte" },
	{ "[/\xff\xfe", 1, 1, C "1: \"[/??\": a section ends with ]" },
};

static void test_bad_files_are_refused_with_the_exact_reason(void)
{
	check_bad(bad_files, N(bad_files), parse_file);
}

#undef C
#define C "SPOOLGUARD_POLICY: "

static const struct bad bad_lines[] = {
	{ "/a:max_delay=50", 1, 4, C "rule 1: max_delay = \"50\": a time needs a unit, like 50ms" },
	{ "/a:mode=group;/b:mode=fast", 2, 18,
	  C "rule 2: mode = \"fast\": no such mode; there are observe, group, window, ensure" },
	{ "/a", 1, 1, C "rule 1: \"/a\": a rule is GLOB:key=value,key=value" },
	{ "/a\\:mode=group", 1, 1,
	  C "rule 1: \"/a\\:mode=group\": a rule is GLOB:key=value,key=value" },
	{ "mode=group", 1, 1, C "rule 1: \"mode=group\": a rule is GLOB:key=value,key=value" },
	{ "/a:group", 1, 4, C "rule 1: \"group\": not of the form key=value" },
	{ "/a:mode=group,,stall=1s", 1, 15,
	  C "rule 1: a key = value is missing between the commas" },
	{ "/a:mode=group,", 1, 14, C "rule 1: nothing follows the last comma" },
	{ "/a:,", 1, 4, C "rule 1: a key = value is missing between the commas" },
	{ "/a:=x", 1, 4, C "rule 1: a key is missing before the =" },
	{ "/a:mode=", 1, 4, C "rule 1: mode = \"\": a value is missing" },
	{ "/a:stal=1s", 1, 4, C "rule 1: stal: no such key; did you mean stall?" },
	{ "/a:mode=group,mode=group", 1, 15,
	  C "rule 1: mode: given twice; the first is in the same rule" },
	{ "/a:;/b:;/a:", 3, 9, C "rule 3: /a: given twice; the first is in rule 1" },
	{ ":mode=group", 1, 1, C "rule 1: \"\": the glob is empty" },
	{ "a*:mode=group", 1, 1, C "rule 1: \"a*\": a glob is an absolute path, beginning with /" },
	{ "/[a:mode=group", 1, 2,
	  C "rule 1: \"/[a\": a [ without its ]; a plain one is written \\[" },
	{ "/[[\\:a\\:]]:mode=group", 1, 3,
	  C "rule 1: \"/[[\\:a\\:]]\": classes like [:alpha:] are not known here; write a range, "
	    "like [a-z]" },
	{ "/a\\", 1, 1, C "rule 1: \"/a\\\": a rule is GLOB:key=value,key=value" },
	{ "/a:mode=group\n", 0, 0, C "a control byte" },
};

static void test_bad_lines_are_refused_with_the_exact_reason(void)
{
	check_bad(bad_lines, N(bad_lines), parse_line);
}

static void test_nul_bytes_are_refused(void)
{
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, "[/a]\nmo\0de", 10, "f", &report), -EINVAL);
	CU_ASSERT_STRING_EQUAL(report.error.message, "f:2: a NUL byte: is this a text file?");
	CU_ASSERT_EQUAL(report.error.column, 3);
	CU_ASSERT_EQUAL(sg_policy_parse_line(&policy, "/a:\0", 4, "P", &report), -EINVAL);
	CU_ASSERT_STRING_EQUAL(report.error.message, "P: a NUL byte");
}

static char big[SG_POLICY_TEXT + 2];

static void test_lengths_are_bounded(void)
{
	memset(big, ' ', sizeof(big) - 1);
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, big, sizeof(big) - 1, "f", &report), -E2BIG);
	CU_ASSERT_STRING_EQUAL(report.error.message, "f: larger than 256 KiB: this is no policy");
	CU_ASSERT_EQUAL(report.error.line, 0);
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, big, SG_POLICY_LINE, "f", &report), 0);
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, big, SG_POLICY_LINE + 1, "f", &report),
			-EINVAL);
	CU_ASSERT_STRING_EQUAL(report.error.message, "f:1: the line is longer than 1024 bytes");
	CU_ASSERT_EQUAL(sg_policy_parse_line(&policy, big, SG_POLICY_TEXT, "P", &report), 0);
	memset(big, 'a', 2000);
	memcpy(big, "[/", 2);
	big[514] = ']';
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, big, 515, "f", &report), -EINVAL);
	CU_ASSERT_STRING_EQUAL(report.error.message,
			       "f:1: \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			       "...\": the glob is longer than 512 bytes");
	big[513] = ']';
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, big, 514, "f", &report), 0);
	CU_ASSERT_EQUAL(strlen(policy.rules[0].glob), SG_GLOB_MAX);
	memcpy(big, "/a:mode=", 8);
	big[513] = 'a';
	CU_ASSERT_EQUAL(sg_policy_parse_line(&policy, big, 1100, "P", &report), -EINVAL);
	CU_ASSERT_STRING_EQUAL(report.error.message,
			       "P: rule 1: the value is longer than 1024 bytes");
}

static void test_a_spill_folder_is_bounded(void)
{
	char text[512] = "/a:on_stall=spill:/";

	memset(text + 19, 'd', 254);
	CU_ASSERT_EQUAL(parse_line(text), 0);
	CU_ASSERT_EQUAL(strlen(policy.rules[0].spill_dir), SG_POLICY_SPILL_MAX);
	text[19 + 254] = 'd';
	CU_ASSERT_EQUAL(parse_line(text), -EINVAL);
	CU_ASSERT_STRING_EQUAL(
		report.error.message,
		"SPOOLGUARD_POLICY: rule 1: on_stall = \"spill:/ddddddddddddddddddddddddddd"
		"dddddd...\": the folder's path is longer than 255 bytes");
}

static void test_a_long_source_is_shortened_from_the_left(void)
{
	char source[300];

	memset(source, 'x', sizeof(source));
	strcpy(source + 240, "/etc/spoolguard/spoolguard.conf");
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, "x", 1, source, &report), -EINVAL);
	CU_ASSERT_STRING_EQUAL(
		report.error.message,
		"...xxxxxxxxxxxxxxxxxxxxxxxxxx/etc/spoolguard/spoolguard.conf:1: \"x\": "
		"neither [section] nor key = value");
}

static void test_a_report_is_optional(void)
{
	CU_ASSERT_EQUAL(sg_policy_parse_file(&policy, "x", 1, "f", NULL), -EINVAL);
	CU_ASSERT_EQUAL(sg_policy_parse_line(&policy, "/a:stall=1s", 11, "f", NULL), 0);
}

/* ---- warnings ---- */

static void check_warning(const char *text, unsigned int line, unsigned int column,
			  const char *message)
{
	CU_ASSERT_EQUAL(parse_file(text), 0);
	CU_ASSERT_EQUAL(report.warnings, message ? 1 : 0);
	CU_ASSERT_STRING_EQUAL(report.warning[0].message, message ? message : "");
	CU_ASSERT_EQUAL(report.warning[0].line, line);
	CU_ASSERT_EQUAL(report.warning[0].column, column);
	if (message && strcmp(report.warning[0].message, message))
		printf("# %s\n", report.warning[0].message);
}

#undef C
#define C "spoolguard.conf:"
#define E "[/a]\nmode = ensure\n"

static void test_settings_without_effect_are_warned_of(void)
{
	check_warning("[/a]\nmode=group\n\n max_records=5\n", 4, 2,
		      C "4: max_records: has no effect in mode group");
	check_warning("[/a]\nmax_delay=5ms\nmode=group\n[/b]\nmode=group", 2, 1,
		      C "2: max_delay: has no effect in mode group");
	check_warning("[/a]\nmode=observe\nadapt=off", 3, 1,
		      C "3: adapt: has no effect in mode observe");
	check_warning("[/a]\nmode=observe\nbackend=kmod", 3, 1,
		      C "3: backend: has no effect in mode observe");
	check_warning("[/a]\nmode=observe\non_stall=fail", 3, 1,
		      C "3: on_stall: has no effect in mode observe");
	check_warning("[/a]\nmode=observe\nmax_bytes=1", 3, 1,
		      C "3: max_bytes: has no effect in mode observe");
	check_warning("[/a]\nstall=1s", 1, 2,
		      C "1: no mode is given: these files are only observed");
	check_warning(E "max_records=5\nmax_bytes=5\nmax_delay=1s\nadapt=on\nbackend=kmod", 0, 0,
		      NULL);
}

static void test_rules_that_are_never_reached_are_warned_of(void)
{
	check_warning(E "[/**]\nmode=group\n[/b*]\nmode=group", 5, 2,
		      C "5: never reached: all it matches is matched in line 3");
	check_warning(E "[/l/*.log]\nmode=group\n[/l/\\x.log]\nmode=group", 5, 2,
		      C "5: never reached: all it matches is matched in line 3");
	check_warning(E "[/l/x.log]\nmode=group\n[/l/*.log]\nmode=group", 0, 0, NULL);
	check_warning("[/a//b]\nmode=group", 1, 2,
		      C "1: the glob matches no file: a resolved path has no //, . or .. in it");
	check_warning("[/a/../b]\nmode=group", 1, 2,
		      C "1: the glob matches no file: a resolved path has no //, . or .. in it");
	check_warning("[/a/]\nmode=group", 1, 2,
		      C "1: the glob matches no file: a resolved path has no //, . or .. in it");
	CU_ASSERT_EQUAL(parse_line("/**:mode=group;/b:mode=group"), 0);
	CU_ASSERT_STRING_EQUAL(
		report.warning[0].message,
		"SPOOLGUARD_POLICY: rule 2: never reached: all it matches is matched in rule 1");
}

static void test_more_warnings_than_fit_are_counted(void)
{
	CU_ASSERT_EQUAL(parse_line("/a:adapt=on,max_bytes=1,max_records=1;/b:adapt=on,max_bytes=1,"
				   "max_records=1;/c:adapt=on,max_bytes=1,max_records=1"),
			0);
	CU_ASSERT_EQUAL(report.warnings, 12);
	CU_ASSERT_NOT_EQUAL(report.warning[SG_POLICY_WARNINGS - 1].message[0], '\0');
}

/* ---- writing ---- */

static void check_same(const struct sg_policy *a, const struct sg_policy *b)
{
	struct sg_rule x, y;
	unsigned int i;

	CU_ASSERT_EQUAL_FATAL(a->n, b->n);
	for (i = 0; i < a->n; i++) {
		x = a->rules[i];
		y = b->rules[i];
		x.line = y.line = 0;
		CU_ASSERT_STRING_EQUAL(x.glob, y.glob);
		CU_ASSERT_EQUAL(memcmp(&x, &y, sizeof(x)), 0);
	}
}

static void check_round_trip(const char *line)
{
	char out[8192], twice[8192];
	int n;

	n = sg_policy_format(&policy, out, sizeof(out));
	CU_ASSERT_TRUE_FATAL(n >= 0 && (size_t)n == strlen(out));
	if (line)
		CU_ASSERT_STRING_EQUAL(out, line);
	CU_ASSERT_EQUAL(sg_policy_parse_line(&again, out, n, "again", &report), 0);
	check_same(&policy, &again);
	CU_ASSERT_EQUAL(sg_policy_format(&again, twice, sizeof(twice)), n);
	CU_ASSERT_STRING_EQUAL(out, twice);
}

static void test_what_is_written_is_read_back_the_same(void)
{
	CU_ASSERT_EQUAL(
		parse_file("[/a:b;c,d/[:;]x\\:\\\\:\\ "
			   "]\nmode=window\nmax_delay=1500us\nmax_records=7\n"
			   "max_bytes=4097\nadapt=off\nstall=120s\non_stall=spill:/x,y;z:\\q\\\n"
			   "on_error=warn\nbackend=syscall\n[/b]\n[/c]\nmode=observe\nadapt=on"),
		0);
	check_round_trip(
		"/a\\:b\\;c,d/[\\:\\;]x\\:\\\\\\:\\ :mode=window,max_delay=1500us,max_records=7,"
		"max_bytes=4097B,adapt=off,stall=2m,on_stall=spill:/x\\,y\\;z:\\\\q\\\\,"
		"on_error=warn,backend=syscall;/b:;/c:mode=observe,adapt=on");
	CU_ASSERT_EQUAL(parse_file(""), 0);
	check_round_trip("");
}

/* Found by fuzzing: with its colons escaped this glob is longer than a glob may be. */
static void test_a_glob_of_many_colons_is_read_back(void)
{
	char text[SG_GLOB_MAX + 8] = "[/";

	memset(text + 2, ':', SG_GLOB_MAX - 1);
	text[SG_GLOB_MAX + 1] = ']';
	CU_ASSERT_EQUAL(parse_file(text), 0);
	CU_ASSERT_EQUAL(strlen(policy.rules[0].glob), SG_GLOB_MAX);
	check_round_trip(NULL);
	text[SG_GLOB_MAX + 1] = ':';
	text[SG_GLOB_MAX + 2] = ']';
	CU_ASSERT_EQUAL(parse_file(text), -EINVAL);
	CU_ASSERT_EQUAL(report.error.column, SG_GLOB_MAX + 2);
}

static void test_a_changed_rule_is_written_without_its_set_bits(void)
{
	char out[SG_POLICY_RULE_TEXT];
	struct sg_rule r;

	sg_rule_init(&r);
	strcpy(r.glob, "/a");
	CU_ASSERT_EQUAL(sg_policy_format_rule(&r, out, sizeof(out)), 3);
	CU_ASSERT_STRING_EQUAL(out, "/a:");
	r.mode = SG_MODE_GROUP;
	r.max_bytes = 4096;
	CU_ASSERT_EQUAL(sg_policy_format_rule(&r, out, sizeof(out)), 28);
	CU_ASSERT_STRING_EQUAL(out, "/a:mode=group,max_bytes=4KiB");
}

static void test_the_longest_rule_fits_its_buffer(void)
{
	char out[SG_POLICY_RULE_TEXT];
	struct sg_rule r;
	int n;

	sg_rule_init(&r);
	memset(r.glob, ':', SG_GLOB_MAX);
	memset(r.spill_dir, ',', SG_POLICY_SPILL_MAX);
	r.on_stall = SG_ON_STALL_SPILL;
	r.set = (1u << SG_KEYS) - 1;
	r.max_delay_ns = r.stall_ns = SG_POLICY_TIME_MAX_NS - 1;
	r.max_bytes = SG_POLICY_BYTES_MAX - 1;
	n = sg_policy_format_rule(&r, out, sizeof(out));
	CU_ASSERT_TRUE(n > 1500);
	CU_ASSERT_EQUAL(sg_policy_format_rule(&r, out, n + 1), n);
	CU_ASSERT_EQUAL(sg_policy_format_rule(&r, out, n), -ENOSPC);
	CU_ASSERT_STRING_EQUAL(out, "");
	CU_ASSERT_EQUAL(sg_policy_format_rule(&r, out, 0), -ENOSPC);
	CU_ASSERT_EQUAL(sg_policy_format(&policy, out, 0), -ENOSPC);
}

static void test_single_values_are_written(void)
{
	static const char *const want[SG_KEYS] = { "window", "50ms",	 "512",	   "1MiB", "on",
						   "1s",     "spill:/x", "poison", "auto" };
	char out[300];
	unsigned int k;

	CU_ASSERT_EQUAL(parse_line("/a:mode=window,on_stall=spill:/x"), 0);
	for (k = 0; k < SG_KEYS; k++) {
		CU_ASSERT_EQUAL(sg_policy_format_value(&policy.rules[0], (enum sg_policy_key)k, out,
						       sizeof(out)),
				(int)strlen(want[k]));
		CU_ASSERT_STRING_EQUAL(out, want[k]);
	}
	CU_ASSERT_EQUAL(sg_policy_format_value(&policy.rules[0], SG_KEYS, out, sizeof(out)),
			-EINVAL);
	CU_ASSERT_EQUAL(sg_policy_format_value(&policy.rules[0], SG_KEY_MODE, out, 3), -ENOSPC);
	CU_ASSERT_STRING_EQUAL(sg_policy_key_name(SG_KEYS), "?");
	CU_ASSERT_STRING_EQUAL(sg_mode_name((enum sg_mode)9), "?");
	CU_ASSERT_STRING_EQUAL(sg_on_stall_name(SG_ON_STALL_SPILL), "spill");
}

SG_TESTS("policy", TEST(test_an_empty_text_is_an_empty_policy),
	 TEST(test_every_key_of_a_file_is_read),
	 TEST(test_keys_that_are_not_given_have_their_defaults), TEST(test_every_choice_is_read),
	 TEST(test_the_one_line_form), TEST(test_sections_hold_sets_blanks_and_escapes),
	 TEST(test_the_first_match_wins), TEST(test_as_many_rules_as_fit),
	 TEST(test_bad_files_are_refused_with_the_exact_reason),
	 TEST(test_bad_lines_are_refused_with_the_exact_reason), TEST(test_nul_bytes_are_refused),
	 TEST(test_lengths_are_bounded), TEST(test_a_spill_folder_is_bounded),
	 TEST(test_a_long_source_is_shortened_from_the_left), TEST(test_a_report_is_optional),
	 TEST(test_settings_without_effect_are_warned_of),
	 TEST(test_rules_that_are_never_reached_are_warned_of),
	 TEST(test_more_warnings_than_fit_are_counted),
	 TEST(test_what_is_written_is_read_back_the_same),
	 TEST(test_a_glob_of_many_colons_is_read_back),
	 TEST(test_a_changed_rule_is_written_without_its_set_bits),
	 TEST(test_the_longest_rule_fits_its_buffer), TEST(test_single_values_are_written))
