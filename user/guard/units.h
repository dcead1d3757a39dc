/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Times and sizes as people write them, and text built without stdio.
 *
 * All of this runs inside a preloaded library, also from signal handlers: no allocation, no locale,
 * no stdio (snprintf is not async-signal-safe). Every function here is async-signal-safe and
 * thread-safe as long as two threads do not share one struct sg_text.
 */
#ifndef SG_GUARD_UNITS_H
#define SG_GUARD_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_NSEC_PER_USEC UINT64_C(1000)
#define SG_NSEC_PER_MSEC UINT64_C(1000000)
#define SG_NSEC_PER_SEC	 UINT64_C(1000000000)

/*
 * A bounded text under construction. buf always ends in NUL (size must be at least 1); what does
 * not fit is dropped and len goes on counting, as snprintf's result does, so that len >= size
 * means "truncated".
 */
struct sg_text {
	char *buf;
	size_t size;
	size_t len;
};

/* Begins an empty text in buf of size bytes (size >= 1). */
void sg_text_init(struct sg_text *t, char *buf, size_t size);

/* True when something did not fit. */
bool sg_text_truncated(const struct sg_text *t);

/* Append one byte; a string up to its NUL; n bytes as they are. */
void sg_text_char(struct sg_text *t, char c);
void sg_text_str(struct sg_text *t, const char *s);
void sg_text_mem(struct sg_text *t, const char *s, size_t n);

/*
 * Appends n bytes that came from outside for a person to read: control characters and bytes that
 * are not UTF-8 become '?', and what is longer than max bytes is cut (between characters) and ends
 * in "...". So the result is safe on a terminal and valid in JSON.
 */
void sg_text_clean(struct sg_text *t, const char *s, size_t n, size_t max);

/* Append a number in decimal, or in lower-case hexadecimal without prefix. */
void sg_text_u64(struct sg_text *t, uint64_t v);
void sg_text_i64(struct sg_text *t, int64_t v);
void sg_text_hex(struct sg_text *t, uint64_t v);

/*
 * Append a time for people, to three significant digits: "870 ns", "1.35 ms", "50 ms", "1.2 s",
 * "2 min 5 s", "3 h 20 min", "2 d 4 h".
 */
void sg_text_time(struct sg_text *t, uint64_t ns);

/* Append a size for people, to three significant digits: "512 B", "64 KiB", "1.5 MiB". */
void sg_text_bytes(struct sg_text *t, uint64_t bytes);

/*
 * Append a time or a size exactly, with the largest unit that divides it, as the parsers below
 * read it: "50ms", "1500us", "1MiB", "4097B". sg_units_parse_*() of it gives the same number.
 */
void sg_text_time_exact(struct sg_text *t, uint64_t ns);
void sg_text_bytes_exact(struct sg_text *t, uint64_t bytes);

/*
 * The same for a plain buffer. Returns buf, so that it can stand in an argument list.
 * SG_UNITS_MAX bytes always suffice.
 */
#define SG_UNITS_MAX 32
const char *sg_units_time(char *buf, size_t size, uint64_t ns);
const char *sg_units_bytes(char *buf, size_t size, uint64_t bytes);

/*
 * Parses s[0..len) as a time: a whole number and one of ns, us, ms, s, m, min, h, d (blanks
 * between the two allowed). *ns gets nanoseconds. "0s" is 0: whether 0 makes sense is the caller's
 * question.
 *
 * Returns 0, -EINVAL (no whole number there), -EDOM (a number without a unit), -ENOTSUP (unknown
 * unit) or -ERANGE (does not fit in 64 bits); *ns is written on success only.
 */
int sg_units_parse_time(const char *s, size_t len, uint64_t *ns);

/*
 * Parses s[0..len) as a size in bytes: a whole number alone or with B, KiB, MiB, GiB, TiB.
 * Decimal units (kB, MB) are refused: nobody agrees on what they mean. Returns as
 * above, without -EDOM.
 */
int sg_units_parse_bytes(const char *s, size_t len, uint64_t *bytes);

/* Parses s[0..len) as a whole number, digits only. Returns 0, -EINVAL or -ERANGE. */
int sg_units_parse_count(const char *s, size_t len, uint64_t *count);

#endif
