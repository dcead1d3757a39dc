/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Globs on absolute, resolved paths.
 *
 *   *       any bytes but '/', also none
 *   **      any bytes, '/' too; as a whole component it may also stand for no folder at all, so
 *           that a, two stars, b with slashes between them match a/b
 *   ?       one byte but '/'
 *   [a-z]   one byte of the set, [!a-z] or [^a-z] one outside it; never '/';
 *           ']' in the first place is a plain byte
 *   \c      the byte c itself, inside a set too
 *
 * Bytes, not characters: there is no locale here. fnmatch(3) is not used: it allocates, depends on
 * the locale, knows no "**" and can take exponential time.
 */
#ifndef SG_GUARD_GLOB_H
#define SG_GUARD_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#define SG_GLOB_MAX 512 /* longest glob in bytes, without the NUL */

enum sg_glob_error {
	SG_GLOB_OK,
	SG_GLOB_EMPTY,
	SG_GLOB_RELATIVE,     /* does not begin with '/' */
	SG_GLOB_TOO_LONG,     /* more than SG_GLOB_MAX bytes */
	SG_GLOB_OPEN_SET,     /* '[' without its ']' */
	SG_GLOB_BAD_RANGE,    /* [z-a] */
	SG_GLOB_NAMED_CLASS,  /* [[:alpha:]]: not known here, and else silently a plain set */
	SG_GLOB_LONE_ESCAPE,  /* '\' at the end */
	SG_GLOB_CONTROL_BYTE, /* a byte below 0x20, or DEL */
};

/*
 * Checks glob[0..len). Returns SG_GLOB_OK or what is wrong; *at (may be NULL) gets the offset of
 * the fault. Pure, async-signal-safe.
 */
enum sg_glob_error sg_glob_check(const char *glob, size_t len, size_t *at);

/* The fault in words, in English, a static string ("" for SG_GLOB_OK). Pure. */
const char *sg_glob_strerror(enum sg_glob_error e);

/*
 * Length of the set that begins at glob[0] == '[' within glob[0..len), brackets included, or 0 when
 * it has no end. For parsers that must know which ']' and ':' belong to a glob. Pure.
 */
size_t sg_glob_set_len(const char *glob, size_t len);

/*
 * Does path, absolute and resolved, NUL-terminated, match glob? A glob that sg_glob_check()
 * refuses matches nothing, whatever the path.
 *
 * Runs all ways through the pattern at once, one bit per pattern position (Thompson, "Regular
 * expression search algorithm", CACM 1968), so it never backtracks: at most
 * strlen(path) × strlen(glob) steps for any input, and about 150 bytes of stack. Pure,
 * thread-safe, async-signal-safe.
 */
bool sg_glob_match(const char *glob, const char *path);

#endif
