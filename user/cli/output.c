// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Errors and JSON, and bytes from outside made fit to print. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "guard/units.h"

static const char *exit_name(int code)
{
	switch (code) {
	case CLI_FOUND:
		return "found";
	case CLI_USAGE:
		return "usage";
	case CLI_DENIED:
		return "denied";
	case CLI_NOT_FOUND:
		return "not-found";
	case CLI_NOT_EXECUTABLE:
		return "not-executable";
	default:
		return "io";
	}
}

int cli_fail(int code, const char *hint, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (cli.json) {
		cli_json(json_pack("{s{ss si so so}}", "error", "kind", exit_name(code), "code",
				   code, "message", cli_json_str(message), "hint",
				   hint ? cli_json_str(hint) : json_null()));
		return code;
	}
	fflush(stdout);
	fprintf(stderr, "Error: %s\n", message);
	if (hint)
		fprintf(stderr, "  %s\n", hint);
	return code;
}

void cli_warn(const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "Warning: %s\n", message);
}

int cli_exit_of(int error)
{
	switch (error < 0 ? -error : error) {
	case EPERM:
	case EACCES:
	case ENOSYS:
	case EOPNOTSUPP:
		return CLI_DENIED;
	default:
		return CLI_IO;
	}
}

static int dump(FILE *f, json_t *document, size_t flags)
{
	int rc;

	if (!document)
		return CLI_IO;
	json_object_set_new(document, "schema", json_integer(CLI_SCHEMA));
	rc = json_dumpf(document, f, flags | JSON_REAL_PRECISION(9));
	json_decref(document);
	return rc || fputc('\n', f) == EOF ? CLI_IO : CLI_OK;
}

int cli_json_to(FILE *f, json_t *document)
{
	return dump(f, document, cli.pretty ? JSON_INDENT(2) : JSON_COMPACT);
}

int cli_json(json_t *document)
{
	return cli_json_to(stdout, document);
}

int cli_json_line(FILE *f, json_t *document)
{
	int rc = dump(f, document, JSON_COMPACT);

	return fflush(f) ? CLI_IO : rc;
}

int cli_flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return CLI_OK;
	fprintf(stderr, "Error: standard output: %s\n", strerror(errno));
	return CLI_IO;
}

/* Length of the valid UTF-8 sequence at s that is fit to print, 0 when there is none. */
static size_t printable(const unsigned char *s)
{
	size_t n = s[0] < 0x80			 ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : (s[0] & 0xf0) == 0xe0	 ? 3
						 : 4,
	       i;
	uint32_t v = n == 1 ? s[0] : s[0] & (0xff >> (n + 1));

	if ((s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && v < 0x800) || (n == 4 && (v < 0x10000 || v > 0x10ffff)) ||
	    (v >= 0xd800 && v < 0xe000))
		return 0;
	if (v < 0x20 || (v >= 0x7f && v < 0xa0) || v == 0x2028 || v == 0x2029 ||
	    (v >= 0x202a && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069))
		return 0; /* controls, and what turns the writing direction */
	return n;
}

const char *cli_clean(char *dst, size_t size, const char *src)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)src;
	size_t n, at = 0;

	while (*s) {
		n = printable(s);
		if (at + (n ? n : 4) >= size)
			break;
		if (n) {
			memcpy(dst + at, s, n);
			at += n;
			s += n;
			continue;
		}
		dst[at++] = '\\';
		dst[at++] = 'x';
		dst[at++] = hex[*s >> 4];
		dst[at++] = hex[*s++ & 15];
	}
	dst[at] = 0;
	return dst;
}

json_t *cli_json_str(const char *s)
{
	size_t size = 4 * strlen(s) + 1;
	char *clean = malloc(size);
	json_t *v;

	if (!clean)
		return json_null();
	v = json_string(cli_clean(clean, size, s));
	free(clean);
	return v ? v : json_null();
}

json_t *cli_json_known(bool known, uint64_t v)
{
	return known ? json_integer((json_int_t)(v > INT64_MAX ? INT64_MAX : v)) : json_null();
}

const char *cli_when(char *dst, size_t size, uint64_t wall_ns)
{
	time_t t = wall_ns / SG_NSEC_PER_SEC;
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(dst, size, "%Y-%m-%dT%H:%M:%S%z", &tm))
		snprintf(dst, size, "?");
	return dst;
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * SG_NSEC_PER_SEC + t.tv_nsec;
}

uint64_t cli_now_ns(void)
{
	return now(CLOCK_MONOTONIC);
}

uint64_t cli_wall_ns(void)
{
	return now(CLOCK_REALTIME);
}
