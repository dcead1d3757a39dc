/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <stdint.h>
#include <string.h>

#include "guard/glob.h"

/* One bit per position in the glob at which a way through it may stand; the last is "matched". */
#define WORDS ((SG_GLOB_MAX + 1 + 63) / 64)

struct states {
	uint64_t w[WORDS];
};

size_t sg_glob_set_len(const char *glob, size_t len)
{
	size_t i = 1, first;

	if (i < len && (glob[i] == '!' || glob[i] == '^'))
		i++;
	first = i;
	while (i < len) {
		if (glob[i] == ']' && i > first)
			return i + 1;
		i += glob[i] == '\\' ? 2 : 1;
	}
	return 0;
}

/* Reads one byte, perhaps escaped, of a set that is known to be well-formed. */
static unsigned char set_byte(const char *set, size_t *i)
{
	if (set[*i] == '\\')
		(*i)++;
	return (unsigned char)set[(*i)++];
}

/* Reads "c" or "c-d" at *i, before end (the offset of the closing bracket). */
static void set_range(const char *set, size_t end, size_t *i, unsigned char *lo, unsigned char *hi)
{
	*lo = *hi = set_byte(set, i);
	if (*i + 1 < end && set[*i] == '-') {
		(*i)++;
		*hi = set_byte(set, i);
	}
}

static bool set_match(const char *set, size_t len, unsigned char c)
{
	bool negated = set[1] == '!' || set[1] == '^', found = false;
	size_t i = negated ? 2 : 1;
	unsigned char lo, hi;

	while (i < len - 1) {
		set_range(set, len - 1, &i, &lo, &hi);
		found |= c >= lo && c <= hi;
	}
	return c != '/' && found != negated;
}

static enum sg_glob_error set_check(const char *set, size_t len, size_t *at)
{
	size_t i = set[1] == '!' || set[1] == '^' ? 2 : 1;
	unsigned char lo, hi;

	while (i < len - 1) {
		*at = i;
		if (set[i] == '[' && (set[i + 1] == ':' || set[i + 1] == '.' || set[i + 1] == '='))
			return SG_GLOB_NAMED_CLASS;
		set_range(set, len - 1, &i, &lo, &hi);
		if (hi < lo)
			return SG_GLOB_BAD_RANGE;
	}
	return SG_GLOB_OK;
}

/* Checks the token at glob[i]; *n gets its length. On a fault *at gets the offset within it. */
static enum sg_glob_error token_check(const char *glob, size_t len, size_t i, size_t *n, size_t *at)
{
	*n = 1;
	*at = 0;
	if (glob[i] == '\\') {
		*n = 2;
		return i + 1 == len ? SG_GLOB_LONE_ESCAPE : SG_GLOB_OK;
	}
	if (glob[i] == '[') {
		*n = sg_glob_set_len(glob + i, len - i);
		return *n ? set_check(glob + i, *n, at) : SG_GLOB_OPEN_SET;
	}
	return SG_GLOB_OK;
}

static enum sg_glob_error check(const char *glob, size_t len, size_t *at)
{
	enum sg_glob_error e;
	size_t i, n, within;

	*at = 0;
	if (!len)
		return SG_GLOB_EMPTY;
	if (glob[0] != '/')
		return SG_GLOB_RELATIVE;
	if (len > SG_GLOB_MAX) {
		*at = SG_GLOB_MAX;
		return SG_GLOB_TOO_LONG;
	}
	for (i = 0; i < len; i++)
		if ((unsigned char)glob[i] < 0x20 || glob[i] == 0x7f) {
			*at = i;
			return SG_GLOB_CONTROL_BYTE;
		}
	for (i = 0; i < len; i += n) {
		e = token_check(glob, len, i, &n, &within);
		if (e) {
			*at = i + within;
			return e;
		}
	}
	return SG_GLOB_OK;
}

enum sg_glob_error sg_glob_check(const char *glob, size_t len, size_t *at)
{
	size_t ignored;

	return check(glob, len, at ? at : &ignored);
}

const char *sg_glob_strerror(enum sg_glob_error e)
{
	switch (e) {
	case SG_GLOB_OK:
		break;
	case SG_GLOB_EMPTY:
		return "the glob is empty";
	case SG_GLOB_RELATIVE:
		return "a glob is an absolute path, beginning with /";
	case SG_GLOB_TOO_LONG:
		return "the glob is longer than 512 bytes";
	case SG_GLOB_OPEN_SET:
		return "a [ without its ]; a plain one is written \\[";
	case SG_GLOB_BAD_RANGE:
		return "a range in [ ] runs backwards";
	case SG_GLOB_NAMED_CLASS:
		return "classes like [:alpha:] are not known here; write a range, like [a-z]";
	case SG_GLOB_LONE_ESCAPE:
		return "a \\ at the end; a plain one is written \\\\";
	case SG_GLOB_CONTROL_BYTE:
		return "a control byte in the glob";
	}
	return "";
}

static size_t star_run(const char *glob, size_t p)
{
	size_t n = 1;

	while (glob[p + n] == '*')
		n++;
	return n;
}

static void set_bit(struct states *s, size_t p)
{
	s->w[p / 64] |= UINT64_C(1) << p % 64;
}

/*
 * A way arrives at p: also add what it reaches there without a byte, behind stars. When it has
 * just passed a '/', a component "**" and the '/' behind it may both be nothing.
 */
static void arrive(struct states *s, const char *glob, size_t p, bool after_slash)
{
	size_t n;

	for (;;) {
		set_bit(s, p);
		if (glob[p] != '*')
			return;
		n = star_run(glob, p);
		p += n;
		if (n >= 2 && after_slash && glob[p] == '/') {
			set_bit(s, p);
			p++;
		} else {
			after_slash = false;
		}
	}
}

/* The way at p meets the byte c. */
static void step(struct states *next, const char *glob, size_t len, size_t p, unsigned char c)
{
	size_t n = 1;

	switch (glob[p]) {
	case '\0':
		return;
	case '*':
		if (c != '/' || star_run(glob, p) >= 2)
			arrive(next, glob, p, false);
		return;
	case '?':
		if (c == '/')
			return;
		break;
	case '[':
		n = sg_glob_set_len(glob + p, len - p);
		if (!set_match(glob + p, n, c))
			return;
		break;
	case '\\':
		n = 2;
		if ((unsigned char)glob[p + 1] != c)
			return;
		break;
	default:
		if ((unsigned char)glob[p] != c)
			return;
	}
	arrive(next, glob, p + n, c == '/');
}

static bool step_all(struct states *next, const struct states *cur, const char *glob, size_t len,
		     unsigned char c)
{
	size_t i, words = len / 64 + 1;
	bool any = false;
	uint64_t w;

	memset(next, 0, sizeof(*next));
	for (i = 0; i < words; i++)
		for (w = cur->w[i]; w; w &= w - 1)
			step(next, glob, len, i * 64 + (size_t)__builtin_ctzll(w), c);
	for (i = 0; i < words; i++)
		any |= next->w[i] != 0;
	return any;
}

bool sg_glob_match(const char *glob, const char *path)
{
	size_t len = strnlen(glob, SG_GLOB_MAX + 1), ignored;
	struct states s[2] = { 0 };
	unsigned int cur = 0;

	if (check(glob, len, &ignored))
		return false;
	arrive(&s[cur], glob, 0, false);
	for (; *path; path++, cur ^= 1)
		if (!step_all(&s[cur ^ 1], &s[cur], glob, len, (unsigned char)*path))
			return false;
	return s[cur].w[len / 64] >> len % 64 & 1;
}
