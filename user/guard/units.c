/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "guard/units.h"

void sg_text_init(struct sg_text *t, char *buf, size_t size)
{
	t->buf = buf;
	t->size = size;
	t->len = 0;
	buf[0] = '\0';
}

bool sg_text_truncated(const struct sg_text *t)
{
	return t->len >= t->size;
}

void sg_text_char(struct sg_text *t, char c)
{
	if (t->len + 1 < t->size) {
		t->buf[t->len] = c;
		t->buf[t->len + 1] = '\0';
	}
	t->len++;
}

void sg_text_str(struct sg_text *t, const char *s)
{
	while (*s)
		sg_text_char(t, *s++);
}

void sg_text_mem(struct sg_text *t, const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		sg_text_char(t, s[i]);
}

/*
 * Length of the printable UTF-8 character at s[0..n), 0 when there is none: not a control character
 * (C1 included: terminals obey U+009B), no overlong form, no surrogate, nothing past U+10FFFF.
 */
static size_t printable(const char *str, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0xa0, 0x800, 0x10000 };
	const unsigned char *s = (const unsigned char *)str;
	size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c;
	size_t i;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
		return 0;
	c = s[0] & (0x7f >> len);
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return len;
}

void sg_text_clean(struct sg_text *t, const char *s, size_t n, size_t max)
{
	size_t i = 0, len;

	while (i < n) {
		len = printable(s + i, n - i);
		if (i + (len ? len : 1) > max) {
			sg_text_str(t, "...");
			return;
		}
		if (len)
			sg_text_mem(t, s + i, len);
		else
			sg_text_char(t, '?');
		i += len ? len : 1;
	}
}

static void text_base(struct sg_text *t, uint64_t v, unsigned int base)
{
	char digits[20];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		sg_text_char(t, digits[--n]);
}

void sg_text_u64(struct sg_text *t, uint64_t v)
{
	text_base(t, v, 10);
}

void sg_text_i64(struct sg_text *t, int64_t v)
{
	if (v < 0)
		sg_text_char(t, '-');
	text_base(t, v < 0 ? -(uint64_t)v : (uint64_t)v, 10);
}

void sg_text_hex(struct sg_text *t, uint64_t v)
{
	text_base(t, v, 16);
}

struct unit {
	const char *name;
	uint64_t size;
};

/* ---- for people: three significant digits ---- */

/* Writes v / units[i].size; at `limit` of a unit the next one begins, after rounding too. */
static void text_scaled(struct sg_text *t, uint64_t v, const struct unit *units, unsigned int n,
			unsigned int limit)
{
	unsigned int i = 0, decimals;
	uint64_t whole, frac, scale;

	while (i + 1 < n && v >= units[i + 1].size)
		i++;
	whole = v / units[i].size;
	decimals = whole >= 100 ? 0 : whole >= 10 ? 1 : 2;
	scale = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
	frac = (v % units[i].size * scale + units[i].size / 2) / units[i].size;
	if (frac == scale) {
		whole++;
		frac = 0;
	}
	if (whole == limit && i + 1 < n) {
		whole = 1;
		i++;
	}
	sg_text_u64(t, whole);
	if (frac) {
		sg_text_char(t, '.');
		if (decimals == 2)
			sg_text_char(t, '0' + frac / 10);
		if (frac % 10 || decimals == 1)
			sg_text_char(t, '0' + frac % 10);
	}
	sg_text_char(t, ' ');
	sg_text_str(t, units[i].name);
}

static void text_two(struct sg_text *t, uint64_t big, const char *big_unit, uint64_t small,
		     const char *small_unit)
{
	sg_text_u64(t, big);
	sg_text_str(t, big_unit);
	if (small) {
		sg_text_char(t, ' ');
		sg_text_u64(t, small);
		sg_text_str(t, small_unit);
	}
}

void sg_text_time(struct sg_text *t, uint64_t ns)
{
	static const struct unit units[] = {
		{ "ns", 1 },
		{ "us", SG_NSEC_PER_USEC },
		{ "ms", SG_NSEC_PER_MSEC },
		{ "s", SG_NSEC_PER_SEC },
	};
	uint64_t s = ns / SG_NSEC_PER_SEC + (ns % SG_NSEC_PER_SEC >= SG_NSEC_PER_SEC / 2);

	if (s < 60)
		text_scaled(t, ns, units, 4, 1000);
	else if (s < 3600)
		text_two(t, s / 60, " min", s % 60, " s");
	else if (s < 86400)
		text_two(t, s / 3600, " h", s % 3600 / 60, " min");
	else
		text_two(t, s / 86400, " d", s % 86400 / 3600, " h");
}

void sg_text_bytes(struct sg_text *t, uint64_t bytes)
{
	static const struct unit units[] = {
		{ "B", 1 },
		{ "KiB", UINT64_C(1) << 10 },
		{ "MiB", UINT64_C(1) << 20 },
		{ "GiB", UINT64_C(1) << 30 },
		{ "TiB", UINT64_C(1) << 40 },
	};

	text_scaled(t, bytes, units, 5, 1024);
}

/* ---- for the parser: exact ---- */

/* Greatest first; of two with one size the first is written. */
static const struct unit time_units[] = {
	{ "d", 86400 * SG_NSEC_PER_SEC }, { "h", 3600 * SG_NSEC_PER_SEC },
	{ "m", 60 * SG_NSEC_PER_SEC },	  { "min", 60 * SG_NSEC_PER_SEC },
	{ "s", SG_NSEC_PER_SEC },	  { "ms", SG_NSEC_PER_MSEC },
	{ "us", SG_NSEC_PER_USEC },	  { "ns", 1 },
};

static const struct unit byte_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "B", 1 },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void text_exact(struct sg_text *t, uint64_t v, const struct unit *units, size_t n)
{
	size_t i = 0;

	while (i + 1 < n && (!v || v % units[i].size))
		i++;
	sg_text_u64(t, v / units[i].size);
	sg_text_str(t, units[i].name);
}

void sg_text_time_exact(struct sg_text *t, uint64_t ns)
{
	text_exact(t, ns, time_units, N(time_units));
}

void sg_text_bytes_exact(struct sg_text *t, uint64_t bytes)
{
	text_exact(t, bytes, byte_units, N(byte_units));
}

const char *sg_units_time(char *buf, size_t size, uint64_t ns)
{
	struct sg_text t;

	sg_text_init(&t, buf, size);
	sg_text_time(&t, ns);
	return buf;
}

const char *sg_units_bytes(char *buf, size_t size, uint64_t bytes)
{
	struct sg_text t;

	sg_text_init(&t, buf, size);
	sg_text_bytes(&t, bytes);
	return buf;
}

/* ---- parsing ---- */

/* Reads digits from s[0..len); *used gets how many. */
static int parse_digits(const char *s, size_t len, uint64_t *v, size_t *used)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < len && s[i] >= '0' && s[i] <= '9'; i++)
		if (__builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(s[i] - '0'), &sum))
			return -ERANGE;
	if (!i || (i < len && (s[i] == '.' || s[i] == ',')))
		return -EINVAL;
	*v = sum;
	*used = i;
	return 0;
}

static int parse_unit(const char *s, size_t len, const struct unit *units, size_t n, uint64_t *size)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strlen(units[i].name) == len && !memcmp(units[i].name, s, len)) {
			*size = units[i].size;
			return 0;
		}
	return -ENOTSUP;
}

static int parse_scaled(const char *s, size_t len, const struct unit *units, size_t n,
			uint64_t bare_unit, uint64_t *out)
{
	uint64_t v, unit = bare_unit;
	size_t used;
	int rc;

	rc = parse_digits(s, len, &v, &used);
	if (rc)
		return rc;
	while (used < len && (s[used] == ' ' || s[used] == '\t'))
		used++;
	if (used < len) {
		rc = parse_unit(s + used, len - used, units, n, &unit);
		if (rc)
			return rc;
	}
	if (!unit)
		return -EDOM;
	if (__builtin_mul_overflow(v, unit, &v))
		return -ERANGE;
	*out = v;
	return 0;
}

int sg_units_parse_time(const char *s, size_t len, uint64_t *ns)
{
	return parse_scaled(s, len, time_units, N(time_units), 0, ns);
}

int sg_units_parse_bytes(const char *s, size_t len, uint64_t *bytes)
{
	return parse_scaled(s, len, byte_units, N(byte_units), 1, bytes);
}

int sg_units_parse_count(const char *s, size_t len, uint64_t *count)
{
	uint64_t v;
	size_t used;
	int rc;

	rc = parse_digits(s, len, &v, &used);
	if (rc)
		return rc;
	if (used < len)
		return -EINVAL;
	*count = v;
	return 0;
}
