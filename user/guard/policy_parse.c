/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * DESIGN: one pass, no allocation. Both forms are cut into the same three calls: rule_begin(glob),
 * setting(key, value) and rule_end(). What is only different between the forms — where a rule ends,
 * comments, escapes, how a place is named in a message — stays in the two cutters.
 */
#include <errno.h>
#include <string.h>

#include "guard/policy.h"
#include "guard/policy_names.h"
#include "guard/units.h"

/* A piece of the text. */
struct span {
	const char *s;
	size_t n;
};

/* Where something stands: as in struct sg_policy_error. */
struct place {
	unsigned int line;
	unsigned int column; /* 0: the text as a whole */
};

struct parser {
	struct sg_policy *policy;
	struct sg_policy_report *report;
	struct sg_rule *rule; /* the one being read, NULL before the first */
	const char *source;
	struct span text;
	bool one_line;
	unsigned int line;	/* now: of the file, or rule number */
	const char *line_begin; /* columns count from here */
	struct place rule_at;
	struct place key_at[SG_KEYS];
	struct sg_policy_error unseen;	/* stands in for a report nobody wants */
	char value[SG_POLICY_LINE + 1]; /* a value of the one-line form without its escapes */
};

/* ---- spans ---- */

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct span span(const char *begin, const char *end)
{
	return (struct span){ begin, (size_t)(end - begin) };
}

static bool is(struct span v, const char *word)
{
	return v.n == strlen(word) && !memcmp(v.s, word, v.n);
}

static struct span trim(struct span v)
{
	while (v.n && blank(v.s[0])) {
		v.s++;
		v.n--;
	}
	while (v.n && blank(v.s[v.n - 1]))
		v.n--;
	return v;
}

/* As trim, but an escaped blank at the end is part of the glob. */
static struct span trim_glob(struct span v)
{
	struct span t = trim(v);
	size_t slashes = 0;

	while (slashes < t.n && t.s[t.n - 1 - slashes] == '\\')
		slashes++;
	if (slashes % 2 && t.s + t.n < v.s + v.n)
		t.n++;
	return t;
}

/* ---- messages ---- */

#define SOURCE_SHOWN 60 /* bytes of the source's name, the right end */
#define VALUE_SHOWN  40 /* bytes of a key, value or glob: so that every message fits */

static void text_source(struct sg_text *t, const char *source)
{
	size_t n = strlen(source);

	if (n > SOURCE_SHOWN) {
		source += n - SOURCE_SHOWN + 3;
		n = SOURCE_SHOWN - 3;
		sg_text_str(t, "...");
	}
	sg_text_clean(t, source, n, n);
}

static void text_shown(struct sg_text *t, struct span v)
{
	sg_text_clean(t, v.s, v.n, VALUE_SHOWN);
}

static void text_quoted(struct sg_text *t, struct span v)
{
	sg_text_char(t, '"');
	text_shown(t, v);
	sg_text_char(t, '"');
}

static struct place here(const struct parser *p, const char *at)
{
	if (!at)
		return (struct place){ 0, 0 };
	return (struct place){ p->line, (unsigned int)(at - p->line_begin) + 1 };
}

static void say(struct parser *p, struct sg_policy_error *e, struct sg_text *t, struct place at)
{
	e->line = at.line;
	e->column = at.column;
	sg_text_init(t, e->message, sizeof(e->message));
	text_source(t, p->source);
	if (at.column) {
		sg_text_str(t, p->one_line ? ": rule " : ":");
		sg_text_u64(t, at.line);
	}
	sg_text_str(t, ": ");
}

/* Begins the error about the place `at` in the text (NULL: the text as a whole). */
static void fail_begin(struct parser *p, struct sg_text *t, const char *at)
{
	say(p, p->report ? &p->report->error : &p->unseen, t, here(p, at));
}

static int fail(struct parser *p, const char *at, const char *why)
{
	struct sg_text t;

	fail_begin(p, &t, at);
	sg_text_str(&t, why);
	return -EINVAL;
}

/* "WHAT": why */
static int fail_quoted(struct parser *p, const char *at, struct span what, const char *why)
{
	struct sg_text t;

	fail_begin(p, &t, at);
	text_quoted(&t, what);
	sg_text_str(&t, ": ");
	sg_text_str(&t, why);
	return -EINVAL;
}

/* A setting as the parser knows it while it reads its value. */
struct setting {
	enum sg_policy_key key;
	struct span value;
	const char *at;
};

static void fail_setting_begin(struct parser *p, struct sg_text *t, const struct setting *s)
{
	fail_begin(p, t, s->at);
	sg_text_str(t, sg_policy_key_names[s->key]);
	sg_text_str(t, " = ");
	text_quoted(t, s->value);
	sg_text_str(t, ": ");
}

static int fail_setting(struct parser *p, const struct setting *s, const char *why)
{
	struct sg_text t;

	fail_setting_begin(p, &t, s);
	sg_text_str(&t, why);
	return -EINVAL;
}

static void text_list(struct sg_text *t, const char *const *names, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		sg_text_str(t, i ? ", " : "");
		sg_text_str(t, names[i]);
	}
}

static void say_rule(struct parser *p, struct sg_text *t, unsigned int line)
{
	sg_text_str(t, p->one_line ? "rule " : "line ");
	sg_text_u64(t, line);
}

/* Begins a warning; false when nobody wants it or there is no more room. */
static bool warn_begin(struct parser *p, struct sg_text *t, struct place at)
{
	if (!p->report || p->report->warnings++ >= SG_POLICY_WARNINGS)
		return false;
	say(p, &p->report->warning[p->report->warnings - 1], t, at);
	return true;
}

/* ---- which key was meant? ---- */

#define WORD_MAX 24

static char fold(char c)
{
	if (c == '-')
		return '_';
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance of word (at most WORD_MAX bytes) and name. */
static unsigned int distance(struct span word, const char *name)
{
	unsigned int row[WORD_MAX + 1], i, j, diagonal, above, n = (unsigned int)strlen(name);

	for (i = 0; i <= word.n; i++)
		row[i] = i;
	for (j = 1; j <= n; j++) {
		diagonal = row[0];
		row[0] = j;
		for (i = 1; i <= word.n; i++) {
			above = row[i];
			row[i] = min3(row[i] + 1, row[i - 1] + 1,
				      diagonal + (fold(word.s[i - 1]) != name[j - 1]));
			diagonal = above;
		}
	}
	return row[word.n];
}

/* Is word, of at least 4 bytes, the end of name, like "delay" of "max_delay"? */
static bool is_end_of(struct span word, const char *name)
{
	size_t n = strlen(name);

	return word.n >= 4 && word.n < n && !memcmp(name + n - word.n, word.s, word.n);
}

static const char *nearest_key(struct span word)
{
	unsigned int best = 4, d, k;
	const char *name = NULL;

	if (word.n < 3 || word.n > WORD_MAX)
		return NULL;
	for (k = 0; k < SG_KEYS; k++) {
		d = is_end_of(word, sg_policy_key_names[k])
			    ? 1
			    : distance(word, sg_policy_key_names[k]);
		if (d < best && d <= word.n / 2) {
			best = d;
			name = sg_policy_key_names[k];
		}
	}
	return name;
}

static int fail_unknown_key(struct parser *p, struct span key)
{
	const char *name = nearest_key(key);
	struct sg_text t;

	fail_begin(p, &t, key.s);
	text_shown(&t, key);
	sg_text_str(&t, ": no such key; ");
	if (name) {
		sg_text_str(&t, "did you mean ");
		sg_text_str(&t, name);
		sg_text_str(&t, "?");
	} else {
		sg_text_str(&t, "there are ");
		text_list(&t, sg_policy_key_names, SG_KEYS);
	}
	return -EINVAL;
}

/* ---- values ---- */

static int parse_choice(struct parser *p, const struct setting *s, const char *const *names,
			size_t n, const char *what, unsigned int *choice)
{
	struct sg_text t;
	unsigned int i;

	for (i = 0; i < n; i++)
		if (is(s->value, names[i])) {
			*choice = i;
			return 0;
		}
	fail_setting_begin(p, &t, s);
	sg_text_str(&t, what);
	sg_text_str(&t, "; there are ");
	text_list(&t, names, n);
	return -EINVAL;
}

static int check_bound(struct parser *p, const struct setting *s, uint64_t v, uint64_t most,
		       const char *too_much)
{
	if (!v)
		return fail_setting(p, s, "0 leaves no room; the least is 1");
	return v > most ? fail_setting(p, s, too_much) : 0;
}

static int parse_time(struct parser *p, const struct setting *s, uint64_t *ns)
{
	const char *too_much = "too long; the most is 1d";
	uint64_t v;
	int rc = sg_units_parse_time(s->value.s, s->value.n, &v);

	switch (rc) {
	case 0:
		break;
	case -EDOM:
		return fail_setting(p, s, "a time needs a unit, like 50ms");
	case -ENOTSUP:
		return fail_setting(p, s, "no such unit; there are ns, us, ms, s, m, h, d");
	case -ERANGE:
		return fail_setting(p, s, too_much);
	default:
		return fail_setting(p, s, "a time is a whole number and a unit, like 50ms");
	}
	rc = check_bound(p, s, v, SG_POLICY_TIME_MAX_NS, too_much);
	if (!rc)
		*ns = v;
	return rc;
}

static int parse_bytes(struct parser *p, const struct setting *s, uint64_t *bytes)
{
	const char *too_much = "too large; the most is 1TiB";
	uint64_t v;
	int rc = sg_units_parse_bytes(s->value.s, s->value.n, &v);

	switch (rc) {
	case 0:
		break;
	case -ENOTSUP:
		return fail_setting(p, s, "no such unit; there are B, KiB, MiB, GiB, TiB");
	case -ERANGE:
		return fail_setting(p, s, too_much);
	default:
		return fail_setting(p, s,
				    "a size is a whole number, perhaps with a unit, like 1MiB");
	}
	rc = check_bound(p, s, v, SG_POLICY_BYTES_MAX, too_much);
	if (!rc)
		*bytes = v;
	return rc;
}

static int parse_records(struct parser *p, const struct setting *s, uint64_t *records)
{
	const char *too_much = "too many; the most is 1000000000";
	uint64_t v;
	int rc = sg_units_parse_count(s->value.s, s->value.n, &v);

	if (rc == -ERANGE)
		return fail_setting(p, s, too_much);
	if (rc)
		return fail_setting(p, s, "a whole number is wanted, like 512");
	rc = check_bound(p, s, v, SG_POLICY_RECORDS_MAX, too_much);
	if (!rc)
		*records = v;
	return rc;
}

static int parse_spill(struct parser *p, const struct setting *s, struct sg_rule *rule)
{
	struct span dir = { s->value.s + 6, s->value.n - 6 };

	dir = trim(dir);
	if (!dir.n)
		return fail_setting(p, s, "spill needs a folder, like spill:/var/spool/app");
	if (dir.s[0] != '/')
		return fail_setting(p, s, "the folder must be an absolute path");
	if (dir.n > SG_POLICY_SPILL_MAX)
		return fail_setting(p, s, "the folder's path is longer than 255 bytes");
	memcpy(rule->spill_dir, dir.s, dir.n);
	rule->spill_dir[dir.n] = '\0';
	rule->on_stall = SG_ON_STALL_SPILL;
	return 0;
}

static int parse_on_stall(struct parser *p, const struct setting *s, struct sg_rule *rule)
{
	static const char *const shown[] = { "block", "fail", "spill:DIR" };
	unsigned int c = 0;
	int rc;

	if (is(s->value, "spill"))
		return fail_setting(p, s, "spill needs a folder, like spill:/var/spool/app");
	if (s->value.n >= 6 && !memcmp(s->value.s, "spill:", 6))
		return parse_spill(p, s, rule);
	rc = parse_choice(p, s, shown, SG_N(shown), "no such choice", &c);
	if (!rc)
		rule->on_stall = (enum sg_on_stall)c;
	return rc;
}

static int parse_value(struct parser *p, const struct setting *s, struct sg_rule *rule)
{
	unsigned int c = 0;
	int rc = 0;

	switch (s->key) {
	case SG_KEY_MODE:
		rc = parse_choice(p, s, sg_policy_mode_names, SG_N(sg_policy_mode_names),
				  "no such mode", &c);
		rule->mode = (enum sg_mode)c;
		break;
	case SG_KEY_MAX_DELAY:
		return parse_time(p, s, &rule->max_delay_ns);
	case SG_KEY_MAX_RECORDS:
		return parse_records(p, s, &rule->max_records);
	case SG_KEY_MAX_BYTES:
		return parse_bytes(p, s, &rule->max_bytes);
	case SG_KEY_ADAPT:
		rc = parse_choice(p, s, sg_policy_switch_names, SG_N(sg_policy_switch_names),
				  "no such choice", &c);
		rule->adapt = c;
		break;
	case SG_KEY_STALL:
		return parse_time(p, s, &rule->stall_ns);
	case SG_KEY_ON_STALL:
		return parse_on_stall(p, s, rule);
	case SG_KEY_ON_ERROR:
		rc = parse_choice(p, s, sg_policy_on_error_names, SG_N(sg_policy_on_error_names),
				  "no such choice", &c);
		rule->on_error = (enum sg_on_error)c;
		break;
	case SG_KEY_BACKEND:
		rc = parse_choice(p, s, sg_policy_backend_names, SG_N(sg_policy_backend_names),
				  "no such backend", &c);
		rule->backend = (enum sg_backend)c;
		break;
	case SG_KEYS:
		break;
	}
	return rc;
}

/* ---- the three calls that both forms come down to ---- */

static int fail_twice(struct parser *p, struct span what, unsigned int first)
{
	struct sg_text t;

	fail_begin(p, &t, what.s);
	text_shown(&t, what);
	sg_text_str(&t, ": given twice; the first is ");
	if (p->one_line && first == p->line)
		sg_text_str(&t, "in the same rule");
	else {
		sg_text_str(&t, "in ");
		say_rule(p, &t, first);
	}
	return -EINVAL;
}

static int setting(struct parser *p, struct span key, struct span value)
{
	struct setting s = { .value = value, .at = key.s };
	unsigned int k;
	int rc;

	if (!key.n)
		return fail(p, key.s, "a key is missing before the =");
	for (k = 0; k < SG_KEYS && !is(key, sg_policy_key_names[k]); k++)
		;
	if (k == SG_KEYS)
		return fail_unknown_key(p, key);
	s.key = (enum sg_policy_key)k;
	if (p->rule->set & 1u << k)
		return fail_twice(p, key, p->key_at[k].line);
	if (!value.n)
		return fail_setting(p, &s, "a value is missing");
	rc = parse_value(p, &s, p->rule);
	if (rc)
		return rc;
	p->rule->set |= 1u << k;
	p->key_at[k] = here(p, key.s);
	return 0;
}

/* Does the backslash at glob.s[i] only guard the ':' or ';' behind it? In a glob these are plain. */
static bool guards(struct span glob, size_t i)
{
	return i + 1 < glob.n && (glob.s[i + 1] == ':' || glob.s[i + 1] == ';');
}

/*
 * Copies a glob without such backslashes, so that both forms give the same rule. Stops when more
 * than SG_GLOB_MAX bytes are out (out has room for one more and a NUL) or at the offset `until` of
 * the copy. Returns how far it came in glob.
 */
static size_t copy_glob(char *out, struct span glob, size_t until)
{
	size_t i, n = 0;

	for (i = 0; i < glob.n && n <= SG_GLOB_MAX && n < until; i++) {
		if (glob.s[i] == '\\' && i + 1 < glob.n) {
			if (!guards(glob, i))
				out[n++] = '\\';
			i++;
		}
		out[n++] = glob.s[i];
	}
	out[n] = '\0';
	return i;
}

/* Copies and checks the glob of a rule. */
static int read_glob(struct parser *p, struct sg_rule *rule, struct span glob)
{
	char copy[SG_GLOB_MAX + 3];
	enum sg_glob_error e;
	size_t at;

	copy_glob(copy, glob, SIZE_MAX);
	e = sg_glob_check(copy, strlen(copy), &at);
	if (e) {
		at = copy_glob(copy, glob, at);
		return fail_quoted(p, glob.s + at, glob, sg_glob_strerror(e));
	}
	strcpy(rule->glob, copy);
	return 0;
}

static int rule_begin(struct parser *p, struct span glob)
{
	struct sg_policy *policy = p->policy;
	struct sg_rule *rule = &policy->rules[policy->n];
	unsigned int i;
	int rc;

	if (policy->n == SG_POLICY_RULES) {
		fail(p, glob.s, "too many rules; the most is 64");
		return -E2BIG;
	}
	sg_rule_init(rule);
	rc = read_glob(p, rule, glob);
	if (rc)
		return rc;
	for (i = 0; i < policy->n; i++)
		if (!strcmp(policy->rules[i].glob, rule->glob))
			return fail_twice(p, glob, policy->rules[i].line);
	rule->line = p->line;
	p->rule = rule;
	p->rule_at = here(p, glob.s);
	policy->n++;
	return 0;
}

static void warn_no_effect(struct parser *p, enum sg_policy_key key)
{
	struct sg_text t;

	if (!(p->rule->set & 1u << key) || !warn_begin(p, &t, p->key_at[key]))
		return;
	sg_text_str(&t, sg_policy_key_names[key]);
	sg_text_str(&t, ": has no effect in mode ");
	sg_text_str(&t, sg_policy_mode_names[p->rule->mode]);
}

static void warn_keys(struct parser *p)
{
	static const enum sg_policy_key of_window[] = { SG_KEY_MAX_DELAY, SG_KEY_MAX_RECORDS,
							SG_KEY_MAX_BYTES, SG_KEY_ADAPT };
	static const enum sg_policy_key of_guard[] = { SG_KEY_ON_STALL, SG_KEY_BACKEND };
	struct sg_text t;
	size_t i;

	if (!(p->rule->set & 1u << SG_KEY_MODE) && warn_begin(p, &t, p->rule_at))
		sg_text_str(&t, "no mode is given: these files are only observed");
	if (p->rule->mode == SG_MODE_OBSERVE || p->rule->mode == SG_MODE_GROUP)
		for (i = 0; i < SG_N(of_window); i++)
			warn_no_effect(p, of_window[i]);
	if (p->rule->mode == SG_MODE_OBSERVE)
		for (i = 0; i < SG_N(of_guard); i++)
			warn_no_effect(p, of_guard[i]);
}

/* The one path that a glob without wildcards means, without escapes; false when it has any. */
static bool literal(const char *glob, char *path)
{
	for (; *glob; glob++) {
		if (*glob == '*' || *glob == '?' || *glob == '[')
			return false;
		if (*glob == '\\')
			glob++;
		*path++ = *glob;
	}
	*path = '\0';
	return true;
}

/* Does `earlier` match all that `glob` matches? Told for sure only in the two plain cases. */
static bool covers(const char *earlier, const char *glob)
{
	char path[SG_GLOB_MAX + 1];

	if (!strcmp(earlier, "/**"))
		return true;
	return literal(glob, path) && sg_glob_match(earlier, path);
}

/* No resolved path holds "//", "/./", "/../" or ends in '/'. */
static bool matches_nothing(const char *glob)
{
	size_t n = strlen(glob);

	return strstr(glob, "//") || strstr(glob, "/./") || strstr(glob, "/../") ||
	       glob[n - 1] == '/';
}

static void warn_reach(struct parser *p)
{
	const struct sg_policy *policy = p->policy;
	struct sg_text t;
	unsigned int i;

	if (matches_nothing(p->rule->glob) && warn_begin(p, &t, p->rule_at))
		sg_text_str(&t,
			    "the glob matches no file: a resolved path has no //, . or .. in it");
	for (i = 0; i + 1 < policy->n; i++) {
		if (!covers(policy->rules[i].glob, p->rule->glob))
			continue;
		if (!warn_begin(p, &t, p->rule_at))
			return;
		sg_text_str(&t, "never reached: all it matches is matched in ");
		say_rule(p, &t, policy->rules[i].line);
		return;
	}
}

static void rule_end(struct parser *p)
{
	if (!p->rule)
		return;
	warn_keys(p);
	warn_reach(p);
}

/* ---- the file ---- */

static int check_line(struct parser *p, struct span line)
{
	size_t i;
	char c;

	if (line.n > SG_POLICY_LINE)
		return fail(p, line.s, "the line is longer than 1024 bytes");
	for (i = 0; i < line.n; i++) {
		c = line.s[i];
		if (!c)
			return fail(p, line.s + i, "a NUL byte: is this a text file?");
		if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
			return fail(p, line.s + i, "a control byte");
	}
	return 0;
}

static bool comment(char c)
{
	return c == ';' || c == '#';
}

/* Cuts "value ; comment": a ';' or '#' begins one at the start or behind a blank. */
static struct span without_comment(struct span v)
{
	size_t i;

	for (i = 0; i < v.n; i++)
		if (comment(v.s[i]) && (!i || blank(v.s[i - 1])))
			v.n = i;
	return trim(v);
}

/* Offset of the ']' that ends a section, sets within the glob skipped; line.n when there is none. */
static size_t section_end(struct span line)
{
	size_t i = 1, set;

	while (i < line.n && line.s[i] != ']') {
		set = line.s[i] == '[' ? sg_glob_set_len(line.s + i, line.n - i) : 0;
		i += set ? set : line.s[i] == '\\' ? 2 : 1;
	}
	return i < line.n ? i : line.n;
}

static int section(struct parser *p, struct span line)
{
	size_t end = section_end(line);
	struct span rest;
	int rc;

	if (end == line.n)
		return fail_quoted(p, line.s, line, "a section ends with ]");
	rule_end(p);
	rc = rule_begin(p, trim_glob(span(line.s + 1, line.s + end)));
	rest = without_comment(span(line.s + end + 1, line.s + line.n));
	if (!rc && rest.n)
		rc = fail_quoted(p, rest.s, rest, "nothing but a comment may follow a section");
	return rc;
}

static int file_line(struct parser *p, struct span raw)
{
	struct span line = trim(raw);
	const char *eq;
	int rc;

	rc = check_line(p, raw);
	if (rc || !line.n || comment(line.s[0]))
		return rc;
	if (line.s[0] == '[')
		return section(p, line);
	line = without_comment(line);
	eq = memchr(line.s, '=', line.n);
	if (!eq)
		return fail_quoted(p, line.s, line, "neither [section] nor key = value");
	if (!p->rule)
		return fail_quoted(p, line.s, line, "a key before the first [section]");
	return setting(p, trim(span(line.s, eq)), without_comment(span(eq + 1, line.s + line.n)));
}

static int parse_file(struct parser *p)
{
	const char *at = p->text.s, *end = at + p->text.n, *nl;
	struct span line;
	int rc = 0;

	if (p->text.n >= 3 && !memcmp(at, "\xef\xbb\xbf", 3)) /* an editor's byte order mark */
		at += 3;
	for (; !rc && at < end; at = nl + 1) {
		nl = memchr(at, '\n', (size_t)(end - at));
		if (!nl)
			nl = end;
		line = span(at, nl);
		if (line.n && line.s[line.n - 1] == '\r')
			line.n--;
		p->line++;
		p->line_begin = at;
		rc = file_line(p, line);
	}
	if (!rc)
		rule_end(p);
	return rc;
}

/* ---- the one-line form ---- */

/* Offset of the first unescaped byte of `stops` in v, v.n when there is none. */
static size_t find(struct span v, const char *stops)
{
	size_t i = 0;

	while (i < v.n && !strchr(stops, v.s[i]))
		i += v.s[i] == '\\' ? 2 : 1;
	return i < v.n ? i : v.n;
}

static struct span unescape(struct parser *p, struct span v)
{
	size_t i, n = 0;

	for (i = 0; i < v.n; i++) {
		if (v.s[i] == '\\' && i + 1 < v.n && strchr(":;,\\", v.s[i + 1]))
			i++;
		p->value[n++] = v.s[i];
	}
	return (struct span){ p->value, n };
}

static int line_setting(struct parser *p, struct span pair)
{
	const char *eq;

	if (!pair.n)
		return fail(p, pair.s, "a key = value is missing between the commas");
	if (pair.n > SG_POLICY_LINE)
		return fail(p, pair.s, "the value is longer than 1024 bytes");
	eq = memchr(pair.s, '=', pair.n);
	if (!eq)
		return fail_quoted(p, pair.s, pair, "not of the form key=value");
	return setting(p, trim(span(pair.s, eq)), unescape(p, trim(span(eq + 1, pair.s + pair.n))));
}

static int line_rule(struct parser *p, struct span rule)
{
	size_t colon = find(rule, ":"), n;
	struct span rest;
	int rc;

	if (colon == rule.n)
		return fail_quoted(p, rule.s, rule, "a rule is GLOB:key=value,key=value");
	rc = rule_begin(p, trim_glob(span(rule.s, rule.s + colon)));
	rest = trim(span(rule.s + colon + 1, rule.s + rule.n));
	while (!rc && rest.n) {
		n = find(rest, ",");
		rc = line_setting(p, trim(span(rest.s, rest.s + n)));
		if (!rc && n + 1 == rest.n)
			rc = fail(p, rest.s + n, "nothing follows the last comma");
		n += n < rest.n;
		rest = span(rest.s + n, rest.s + rest.n);
	}
	return rc;
}

static int check_bytes(struct parser *p)
{
	size_t i;
	char c;

	for (i = 0; i < p->text.n; i++) {
		c = p->text.s[i];
		if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
			return fail(p, NULL, c ? "a control byte" : "a NUL byte");
	}
	return 0;
}

static int parse_line(struct parser *p)
{
	struct span rest = p->text, rule;
	size_t n;
	int rc;

	rc = check_bytes(p);
	p->line_begin = p->text.s;
	while (!rc && rest.n) {
		n = find(rest, ";");
		rule = trim_glob(span(rest.s, rest.s + n));
		n += n < rest.n;
		rest = span(rest.s + n, rest.s + rest.n);
		if (!rule.n)
			continue;
		p->line++;
		rc = line_rule(p, rule);
		if (!rc)
			rule_end(p);
	}
	return rc;
}

/* ---- entry points ---- */

static int parse(struct sg_policy *policy, const char *text, size_t len, const char *source,
		 struct sg_policy_report *report, bool one_line)
{
	struct parser p;
	int rc;

	memset(&p, 0, sizeof(p));
	p.policy = policy;
	p.report = report;
	p.source = source;
	p.text = (struct span){ text, len };
	p.one_line = one_line;
	policy->n = 0;
	if (report)
		memset(report, 0, sizeof(*report));
	if (len > SG_POLICY_TEXT) {
		fail(&p, NULL, "larger than 256 KiB: this is no policy");
		return -E2BIG;
	}
	rc = one_line ? parse_line(&p) : parse_file(&p);
	if (rc)
		policy->n = 0;
	return rc;
}

int sg_policy_parse_file(struct sg_policy *policy, const char *text, size_t len, const char *source,
			 struct sg_policy_report *report)
{
	return parse(policy, text, len, source, report, false);
}

int sg_policy_parse_line(struct sg_policy *policy, const char *text, size_t len, const char *source,
			 struct sg_policy_report *report)
{
	return parse(policy, text, len, source, report, true);
}
