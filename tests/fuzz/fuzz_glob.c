/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * "GLOB\nPATH": the check and the matcher agree on what is a glob, and on short input the matcher
 * agrees with the plain backtracking one below, written from the same definition.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guard/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define JUDGED 20 /* bytes of glob and of path: the judge takes exponential time */

static const char *set_ends(const char *g)
{
	const char *first = g + 1 + (g[1] == '!' || g[1] == '^'), *p = first;

	while (*p != ']' || p == first)
		p += *p == '\\' ? 2 : 1;
	return p;
}

static bool in_set(const char *g, unsigned char c)
{
	bool negated = g[1] == '!' || g[1] == '^', found = false;
	const char *p = g + 1 + negated, *end = set_ends(g);
	unsigned char lo, hi;

	while (p < end) {
		p += *p == '\\';
		lo = hi = (unsigned char)*p++;
		if (*p == '-' && p + 1 < end) {
			p++;
			p += *p == '\\';
			hi = (unsigned char)*p++;
		}
		found |= lo <= c && c <= hi;
	}
	return found ^ negated;
}

static bool judge(const char *g, const char *p, bool after_slash)
{
	const char *rest = g;
	bool deep;

	if (!*g)
		return !*p;
	if (*g == '*') {
		deep = g[1] == '*';
		while (*rest == '*')
			rest++;
		if (deep && after_slash && *rest == '/' && judge(rest + 1, p, true))
			return true;
		for (;; p++) {
			if (judge(rest, p, false))
				return true;
			if (!*p || (*p == '/' && !deep))
				return false;
		}
	}
	if (!*p)
		return false;
	if (*g == '[')
		return *p != '/' && in_set(g, (unsigned char)*p) &&
		       judge(set_ends(g) + 1, p + 1, false);
	if (*g == '?')
		return *p != '/' && judge(g + 1, p + 1, false);
	g += *g == '\\';
	return *g == *p && judge(g + 1, p + 1, *p == '/');
}

static void check(const char *glob, size_t len, const char *path)
{
	size_t at = 0;
	enum sg_glob_error e = sg_glob_check(glob, len, &at);
	bool match = sg_glob_match(glob, path);

	if (at > len || (e && match))
		abort();
	if (!e && len <= JUDGED && strlen(path) <= JUDGED && match != judge(glob, path, false))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
	size_t len = nl ? (size_t)(nl - data) : size, rest = nl ? size - len - 1 : 0;
	char *glob = malloc(len + 1), *path = malloc(rest + 1);

	if (len)
		memcpy(glob, data, len);
	glob[len] = '\0';
	if (rest)
		memcpy(path, nl + 1, rest);
	path[rest] = '\0';
	check(glob, strlen(glob), path);
	free(glob);
	free(path);
	return 0;
}
