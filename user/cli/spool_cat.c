// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * spoolguard spool cat, ack.
 *
 * A native spool is read as any consumer reads it, so only what is durable is printed; the others by a scan. What is
 * acknowledged was written out before: whoever is killed in between prints it again.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "guard/units.h"
#include "spool/dir.h"
#include "spool/foreign.h"

#define ACK_EVERY 1024u /* records, while there are more at hand */

enum form { FORM_LINES, FORM_PREFIX, FORM_JSON };

struct cat {
	struct spool_reader *reader; /* one of these two */
	struct spool_scan *scan;
	enum form form;
	bool ack, follow, lost;
	uint64_t from, to, printed, acked;
	struct spool_signals signals; /* held back where something is acknowledged or waited for */
	int sig;
};

/* ---- one record ---- */

static char *base64(const uint8_t *p, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc(len / 3 * 4 + 5), *o = out;
	uint32_t v;
	size_t n;

	for (; out && len; p += n, len -= n) {
		n = len < 3 ? len : 3;
		v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*o++ = n > 2 ? digits[v & 63] : '=';
	}
	if (out)
		*o = 0;
	return out;
}

static int print_json(const struct spool_record *r)
{
	json_t *text = json_stringn(r->data, r->len), *doc;
	char *coded;

	doc = json_pack("{so so so so so}", "seq", cli_json_known(true, r->seq), "time_ns",
			cli_json_known(r->time_ns, r->time_ns), "segment",
			cli_json_known(true, r->segment), "offset", cli_json_known(true, r->offset),
			"lost", cli_json_known(true, r->lost));
	if (text) {
		json_object_set_new(doc, "text", text);
	} else { /* no UTF-8 */
		coded = base64(r->data, r->len);
		json_object_set_new(doc, "base64", coded ? json_string(coded) : NULL);
		free(coded);
	}
	json_object_set_new(doc, "schema", json_integer(CLI_SCHEMA));
	if (json_dumpf(doc, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	json_decref(doc);
	return ferror(stdout) ? CLI_IO : CLI_OK;
}

static int print(struct cat *c, const struct spool_record *r)
{
	uint32_t prefix = htole32((uint32_t)r->len);

	if (r->lost) {
		c->lost = true;
		cli_warn("%" PRIu64 " record%s missing before record %" PRIu64, r->lost,
			 r->lost == 1 ? " is" : "s are", r->seq);
	}
	if (c->form == FORM_JSON)
		return print_json(r);
	if (c->form == FORM_PREFIX)
		fwrite(&prefix, sizeof(prefix), 1, stdout);
	if (r->len)
		fwrite(r->data, 1, r->len, stdout);
	if (c->form == FORM_LINES)
		putchar('\n');
	return ferror(stdout) ? CLI_IO : CLI_OK;
}

/* ---- all of them ---- */

/* What was printed has left us; then it is acknowledged. */
static int settle(struct cat *c)
{
	int err = 0;

	if (fflush(stdout) || ferror(stdout))
		return cli_flush();
	if (c->ack && c->printed > c->acked) {
		err = spool_reader_ack(c->reader, c->printed);
		c->acked = c->printed;
	}
	if (err)
		return cli_fail(cli_exit_of(err), NULL, "acknowledging record %" PRIu64 ": %s",
				c->printed, strerror(-err));
	return CLI_OK;
}

static int next(struct cat *c, struct spool_record *r)
{
	if (c->scan)
		return spool_scan_next(c->scan, r);
	return spool_reader_next(c->reader, r, 0);
}

/* Nothing at hand. Returns an exit code; *more: go on. */
static int wait_for_more(struct cat *c, const char *dir, bool *more)
{
	int rc = settle(c), fd;
	char clean[512];

	*more = false;
	if (rc || !c->follow)
		return rc;
	/* poll(2) would pass over what is no descriptor, and nothing ever wake us. */
	fd = spool_reader_fd(c->reader);
	if (fd < 0)
		return cli_fail(cli_exit_of(fd), NULL, "%s: waiting for more: %s",
				cli_clean(clean, sizeof(clean), dir), strerror(-fd));
	c->sig = spool_signals_wait(&c->signals, fd, -1);
	*more = c->sig == 0;
	return CLI_OK;
}

static int print_all(struct cat *c, const char *dir)
{
	struct spool_record r;
	uint64_t n = 0;
	bool more = true;
	int rc = CLI_OK, err;

	while (!rc && more) {
		err = next(c, &r);
		if (err == -EAGAIN || err == -ENODATA) {
			rc = wait_for_more(c, dir, &more);
			continue;
		}
		if (err) {
			settle(c);
			return spool_fail(err, dir);
		}
		if (r.seq > c->to)
			break;
		if (r.seq < c->from)
			continue;
		rc = print(c, &r);
		c->printed = r.seq;
		if (rc || ++n % ACK_EVERY || c->signals.fd < 0)
			continue;
		rc = settle(c);
		c->sig = spool_signals_wait(&c->signals, -1, 0);
		more = c->sig == 0;
	}
	return rc ? rc : settle(c);
}

/* ---- opening ---- */

static int format_of(const char *dir, enum spool_format *format)
{
	int dirfd = sg_dir_open(dir), err;

	if (dirfd < 0)
		return dirfd;
	err = sg_format_detect(dirfd, format);
	close(dirfd);
	/* An empty directory is an empty spool, or soon will be one. */
	if (err == -ENOENT) {
		*format = SPOOL_FORMAT_NATIVE;
		err = 0;
	}
	return err;
}

static int open_reader(const struct cli_args *a, struct cat *c, const char *consumer)
{
	struct spool_reader_config config = SPOOL_READER_CONFIG_INIT;

	config.consumer = consumer;
	config.from = c->from;
	config.flags = (cli_opt(a, "at-risk") ? SPOOL_READ_AT_RISK : 0u) |
		       (cli_opt(a, "delete") ? SPOOL_READ_DELETE : 0u);
	return spool_reader_open(&c->reader, a->argv[0], &config);
}

static int open_either(const struct cli_args *a, struct cat *c, enum spool_format format)
{
	const char *consumer = cli_opt(a, "consumer"), *dir = a->argv[0];
	int err = format == SPOOL_FORMAT_DETECT ? format_of(dir, &format) : 0;

	if (err)
		return spool_fail(err, dir);
	if (format != SPOOL_FORMAT_NATIVE) {
		if (consumer || c->follow || cli_opt(a, "at-risk"))
			return cli_fail(CLI_USAGE, "Convert it first: spoolguard spool convert",
					"--consumer, --follow and --at-risk are for native spools");
		err = spool_scan_open(&c->scan, dir, format, c->from);
		return err ? spool_fail(err, dir) : CLI_OK;
	}
	err = open_reader(a, c, consumer);
	if (err == -EINVAL && consumer)
		return cli_fail(CLI_USAGE, "1 to 64 of A-Z a-z 0-9 . _ -, no dot in front.",
				"--consumer: that is no consumer's name");
	if (err == -EBUSY)
		return cli_fail(CLI_IO, NULL, "another reader is the consumer \"%s\" now",
				consumer);
	return err ? spool_fail(err, dir) : CLI_OK;
}

static int check_usage(const struct cli_args *a)
{
	static const char *const not_raw[] = { "from", "to",	 "follow",  "consumer",
					       "ack",  "delete", "at-risk", "length-prefix",
					       NULL };
	unsigned int i;

	for (i = 0; cli_opt(a, "raw") && not_raw[i]; i++)
		if (cli_opt(a, not_raw[i]))
			return cli_fail(CLI_USAGE, NULL, "--raw and --%s exclude each other",
					not_raw[i]);
	if (cli.json && (cli_opt(a, "raw") || cli_opt(a, "length-prefix")))
		return cli_fail(CLI_USAGE, NULL,
				"JSON and --raw or --length-prefix exclude each "
				"other");
	if (cli_opt(a, "ack") && !cli_opt(a, "consumer"))
		return cli_fail(CLI_USAGE, NULL, "--ack needs --consumer");
	if (cli_opt(a, "delete") && !cli_opt(a, "ack"))
		return cli_fail(CLI_USAGE, NULL, "--delete needs --ack");
	return CLI_OK;
}

int spool_do_cat(const struct cli_args *a)
{
	struct cat c = { .signals.fd = -1,
			 .form = cli.json		       ? FORM_JSON
				 : cli_opt(a, "length-prefix") ? FORM_PREFIX
							       : FORM_LINES,
			 .ack = cli_opt(a, "ack"),
			 .follow = cli_opt(a, "follow") };
	enum spool_format format;
	int rc = check_usage(a), err;

	rc = rc ? rc : spool_opt_format(a, "format", &format);
	rc = rc ? rc : cli_opt_count(a, "from", 0, &c.from);
	rc = rc ? rc : cli_opt_count(a, "to", UINT64_MAX, &c.to);
	if (rc)
		return rc;
	if (cli_opt(a, "raw"))
		return spool_raw(a->argv[0], format);
	if (c.ack || c.follow)
		rc = spool_signals_hold(&c.signals) ? CLI_IO : CLI_OK;
	rc = rc ? rc : open_either(a, &c, format);
	rc = rc ? rc : print_all(&c, a->argv[0]);
	err = spool_reader_close(c.reader);
	spool_scan_close(c.scan);
	if (!rc && err)
		rc = spool_fail(err, a->argv[0]);
	if (c.signals.fd >= 0)
		spool_signals_release(&c.signals, c.sig);
	return rc ? rc : c.lost ? CLI_FOUND : CLI_OK;
}

/* ---- ack ---- */

/* To acknowledge is to have read: the reader begins at that record, or behind it if it is missing. */
static int acknowledge(struct spool_reader *reader, uint64_t seq, const char *dir)
{
	struct spool_record r;
	int err = spool_reader_ack(reader, seq); /* what was acknowledged before stays so */

	if (err == -ERANGE)
		err = spool_reader_next(reader, &r, 0);
	if (!err)
		err = spool_reader_ack(reader, seq);
	if (err == -EAGAIN || err == -ERANGE)
		return cli_fail(CLI_IO, "See: spoolguard spool info DIR",
				"record %" PRIu64 " is not there, or not durable", seq);
	return err ? spool_fail(err, dir) : CLI_OK;
}

int spool_do_ack(const struct cli_args *a)
{
	const char *consumer = cli_opt(a, "consumer");
	struct cat c = { .signals.fd = -1 };
	int rc = CLI_OK, err;

	if (!consumer || !cli_opt(a, "seq"))
		return cli_fail(CLI_USAGE, NULL, "spoolguard spool ack needs --consumer and --seq");
	rc = cli_opt_count(a, "seq", 0, &c.from);
	rc = rc ? rc : open_either(a, &c, SPOOL_FORMAT_NATIVE);
	if (rc)
		return rc;
	rc = acknowledge(c.reader, c.from, a->argv[0]);
	err = spool_reader_close(c.reader);
	if (!rc && err)
		rc = spool_fail(err, a->argv[0]);
	if (rc)
		return rc;
	if (cli.json)
		return cli_json(json_pack("{so so so}", "spool", cli_json_str(a->argv[0]),
					  "consumer", cli_json_str(consumer), "acked",
					  cli_json_known(true, c.from)));
	printf("%s: acknowledged up to %" PRIu64 "\n", consumer, c.from);
	return CLI_OK;
}
