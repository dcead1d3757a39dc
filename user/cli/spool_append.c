// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * spoolguard spool append: standard input into a spool, by line or by length prefix.
 *
 * SIGINT, SIGTERM and SIGHUP end it as the end of the input would: what was appended is synced and counted, then the
 * signal has its way.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "guard/units.h"

#define READ_BYTES 65536u

struct input {
	struct spool_signals signals;
	bool prefixed;
	char *buf;
	size_t at, have, room; /* buf[at..have) is not appended yet */
	size_t searched;       /* of that, bytes without a newline */
	uint64_t records;      /* taken so far */
	bool ended;
	int sig;
};

/* Read more. 0 (or the end, or a signal, which it notes), or an exit code. */
static int fill(struct input *in)
{
	ssize_t n;
	char *buf;

	if (in->at && in->at == in->have)
		in->at = in->have = 0;
	if (in->at && in->room - in->have < READ_BYTES) {
		memmove(in->buf, in->buf + in->at, in->have - in->at);
		in->have -= in->at;
		in->at = 0;
	}
	if (in->room - in->have < READ_BYTES) {
		in->room = 2 * in->room + 2 * READ_BYTES;
		buf = realloc(in->buf, in->room);
		if (!buf)
			return cli_fail(CLI_IO, NULL, "out of memory");
		in->buf = buf;
	}
	in->sig = spool_signals_wait(&in->signals, STDIN_FILENO, -1);
	if (in->sig)
		return CLI_OK;
	n = read(STDIN_FILENO, in->buf + in->have, READ_BYTES);
	if (n < 0 && errno != EINTR && errno != EAGAIN)
		return cli_fail(CLI_IO, NULL, "standard input: %s", strerror(errno));
	in->ended = n == 0;
	in->have += n > 0 ? (size_t)n : 0;
	return CLI_OK;
}

static int too_long(const struct input *in)
{
	return cli_fail(CLI_IO, NULL, "%s %" PRIu64 " is longer than %u bytes",
			in->prefixed ? "record" : "line", in->records + 1, SPOOL_RECORD_MAX);
}

/* Is a whole line there? len: without its newline; used: with it. */
static int whole_line(struct input *in, size_t *len, size_t *used)
{
	size_t have = in->have - in->at;
	char *end = NULL;

	if (have > in->searched)
		end = memchr(in->buf + in->at + in->searched, '\n', have - in->searched);
	in->searched = end ? 0 : have;
	*len = end ? (size_t)(end - (in->buf + in->at)) : have;
	*used = end ? *len + 1 : in->ended ? have : 0;
	if (*len > SPOOL_RECORD_MAX)
		return too_long(in);
	return CLI_OK;
}

/* The same of a record with a prefix; `used` counts the prefix, which the caller passes over. */
static int whole_record(struct input *in, size_t *len, size_t *used)
{
	size_t have = in->have - in->at;
	uint32_t prefix;

	*used = 0;
	if (have == 0)
		return CLI_OK;
	if (have >= sizeof(prefix)) {
		memcpy(&prefix, in->buf + in->at, sizeof(prefix));
		*len = le32toh(prefix);
		if (*len > SPOOL_RECORD_MAX)
			return too_long(in);
		if (have >= sizeof(prefix) + *len) {
			*used = sizeof(prefix) + *len;
			return CLI_OK;
		}
	}
	if (in->ended)
		return cli_fail(CLI_IO, NULL,
				"standard input ends in the middle of record %" PRIu64,
				in->records + 1);
	return CLI_OK;
}

/* Append what is whole of what was read. err: of the library. */
static int take_all(struct input *in, struct spool *spool, uint64_t *first, uint64_t *last,
		    int *err)
{
	size_t len = 0, used, skip = in->prefixed ? sizeof(uint32_t) : 0;
	int rc;

	for (;;) {
		rc = in->prefixed ? whole_record(in, &len, &used) : whole_line(in, &len, &used);
		if (rc || !used)
			return rc;
		*err = spool_append(spool, in->buf + in->at + skip, len, last);
		if (*err)
			return CLI_OK;
		if (!*first)
			*first = *last;
		in->at += used;
		in->records++;
	}
}

struct result {
	uint64_t first, last, left_bytes;
	int rc, err; /* reported; not reported yet */
	struct spool_status status;
};

static void pump(struct input *in, struct spool *spool, struct result *r)
{
	do {
		r->rc = fill(in);
		if (!r->rc)
			r->rc = take_all(in, spool, &r->first, &r->last, &r->err);
	} while (!r->rc && !r->err && !in->ended && !in->sig);
	r->left_bytes = in->have - in->at;
}

static int configure(const struct cli_args *a, struct spool_config *c)
{
	static const char *const syncs[] = { "batch", "none", "record", "adaptive", NULL };
	static const char *const preallocs[] = { "none", "reserve", "written", NULL };
	static const char *const errors[] = { "fail", "warn", "abort", NULL };
	unsigned int sync = 0, prealloc = 0, on_error = 0;
	int rc;

	if (cli_opt(a, "lines") && cli_opt(a, "length-prefix"))
		return cli_fail(CLI_USAGE, NULL, "--lines and --length-prefix exclude each other");
	rc = spool_opt_word(a, "sync", syncs, &sync);
	rc = rc ? rc : spool_opt_word(a, "prealloc", preallocs, &prealloc);
	rc = rc ? rc : spool_opt_word(a, "on-error", errors, &on_error);
	rc = rc ? rc : cli_opt_count(a, "batch-records", 0, &c->batch_records);
	rc = rc ? rc : spool_opt_bytes(a, "batch-bytes", &c->batch_bytes);
	rc = rc ? rc : cli_opt_time(a, "batch-delay", 0, &c->batch_delay_ns);
	rc = rc ? rc : spool_opt_bytes(a, "segment-bytes", &c->segment_bytes);
	rc = rc ? rc : spool_opt_bytes(a, "max-bytes", &c->max_bytes);
	c->sync = (enum spool_sync_mode)sync;
	c->prealloc = (enum spool_prealloc)prealloc;
	c->on_error = (enum spool_on_error)on_error;
	return rc;
}

static json_t *result_json(const struct input *in, const struct result *r, const char *dir)
{
	const struct spool_status *s = &r->status;

	return json_pack("{so so so so so so so so}", "spool", cli_json_str(dir), "appended",
			 cli_json_known(true, in->records), "first",
			 cli_json_known(r->first, r->first), "last",
			 cli_json_known(r->first, r->last), "durable",
			 cli_json_known(true, s->durable_seq), "lost_from",
			 cli_json_known(s->lost_to, s->lost_from), "lost_to",
			 cli_json_known(s->lost_to, s->lost_to), "signal",
			 in->sig ? cli_json_str(strsignal(in->sig)) : json_null());
}

static int tell(const struct input *in, const struct result *r, const char *dir)
{
	char clean[512];

	if (r->left_bytes && in->sig)
		cli_warn("%" PRIu64 " bytes of an unfinished %s were not appended", r->left_bytes,
			 in->prefixed ? "record" : "line");
	if (r->status.lost_to)
		cli_warn("records %" PRIu64 " to %" PRIu64
			 " may be lost: their sync failed, see --on-error",
			 r->status.lost_from, r->status.lost_to);
	if (cli.json)
		return cli_json(result_json(in, r, dir));
	cli_clean(clean, sizeof(clean), dir);
	if (in->records)
		printf("%s: appended %" PRIu64 " record%s, %" PRIu64 " to %" PRIu64
		       "; durable up to %" PRIu64 "\n",
		       clean, in->records, in->records == 1 ? "" : "s", r->first, r->last,
		       r->status.durable_seq);
	else
		printf("%s: appended nothing; durable up to %" PRIu64 "\n", clean,
		       r->status.durable_seq);
	return CLI_OK;
}

/* An append or a sync failed: one error that also says how far it came. */
static int tell_failure(const struct input *in, const struct result *r, const char *dir)
{
	bool full = r->err == -ENOSPC || r->err == -EDQUOT;
	char clean[512];

	return cli_fail(cli_exit_of(r->err),
			full ? "Acknowledge and delete records, or raise --max-bytes." : NULL,
			"%s: %s; %" PRIu64 " record%s appended, durable up to %" PRIu64,
			cli_clean(clean, sizeof(clean), dir),
			full ? "the spool is full" : strerror(-r->err), in->records,
			in->records == 1 ? "" : "s", r->status.durable_seq);
}

static int finish(struct input *in, struct spool *spool, struct result *r, const char *dir)
{
	int err = spool_sync(spool);

	r->err = r->err ? r->err : err;
	r->status.size = sizeof(r->status);
	spool_status(spool, &r->status);
	err = spool_close(spool);
	r->err = r->err ? r->err : err;
	if (r->rc) /* told already; on stderr there is room for the rest */
		fprintf(stderr,
			"%" PRIu64 " records were appended before that, durable up to %" PRIu64
			"\n",
			in->records, r->status.durable_seq);
	else if (r->err)
		r->rc = tell_failure(in, r, dir);
	else
		r->rc = tell(in, r, dir);
	return r->rc ? r->rc : r->status.lost_to ? CLI_FOUND : CLI_OK;
}

int spool_do_append(const struct cli_args *a)
{
	struct input in = { .signals.fd = -1, .prefixed = cli_opt(a, "length-prefix") };
	struct spool_config config = SPOOL_CONFIG_INIT;
	struct result r = { .rc = CLI_OK };
	struct spool *spool;
	int rc, err;

	rc = configure(a, &config);
	if (rc)
		return rc;
	/* Before the spool has threads: they inherit the mask. */
	err = spool_signals_hold(&in.signals);
	if (!err)
		err = spool_open(&spool, a->argv[0], &config);
	if (err) {
		spool_signals_release(&in.signals, 0);
		if (err == -EINVAL)
			return cli_fail(CLI_USAGE, "See: man spoolguard-spool",
					"an option is out of its range");
		return spool_fail(err, a->argv[0]);
	}
	pump(&in, spool, &r);
	rc = finish(&in, spool, &r, a->argv[0]);
	free(in.buf);
	spool_signals_release(&in.signals, in.sig);
	return rc;
}
