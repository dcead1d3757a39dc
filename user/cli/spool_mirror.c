// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard spool mirror: from a directory or from standard input. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "guard/units.h"
#include "spool/mirror.h"

#define READ_BYTES 262144u

static void show(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	spool_bar_show(arg, done_bytes, total_bytes);
}

/* Standard input into the mirror. *read_err: what is the input's fault. */
static int pour(struct spool_mirror *m, struct spool_bar *bar, int *read_err)
{
	uint8_t *buf = malloc(READ_BYTES);
	uint64_t done = 0;
	ssize_t n = 1;
	int err = buf ? 0 : -ENOMEM;

	while (!err && n) {
		n = read(STDIN_FILENO, buf, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*read_err = -errno;
			break;
		}
		err = spool_mirror_write(m, buf, (size_t)n);
		done += (uint64_t)n;
		spool_bar_show(bar, done, 0);
	}
	free(buf);
	return err;
}

static int tell(const struct spool_mirror_progress *p, const char *dst)
{
	char clean[512], size[SG_UNITS_MAX];

	if (cli.json)
		return cli_json(json_pack("{so so so so so so so}", "mirror", cli_json_str(dst),
					  "written", cli_json_known(true, p->written_seq),
					  "durable", cli_json_known(true, p->durable_seq),
					  "written_bytes", cli_json_known(true, p->written_bytes),
					  "durable_bytes", cli_json_known(true, p->durable_bytes),
					  "skipped_records",
					  cli_json_known(true, p->skipped_records), "trimmed_bytes",
					  cli_json_known(true, p->trimmed_bytes)));
	printf("%s: %s written, durable up to record %" PRIu64,
	       cli_clean(clean, sizeof(clean), dst),
	       sg_units_bytes(size, sizeof(size), p->written_bytes), p->durable_seq);
	if (p->trimmed_bytes)
		printf("; %" PRIu64 " bytes at the end left out", p->trimmed_bytes);
	putchar('\n');
	return CLI_OK;
}

/* An error of the stream is something found; one of the mirror's disk is not. */
static int tell_error(int err, const struct spool_mirror *m, const char *dst)
{
	bool wrong = err == -EBADMSG || err == -ESPIPE;
	struct spool_mirror_progress p;
	char clean[512];

	spool_mirror_status(m, &p);
	return cli_fail(wrong ? CLI_FOUND : cli_exit_of(err), NULL,
			"%s: %s; the mirror is good and durable up to record %" PRIu64,
			cli_clean(clean, sizeof(clean), dst),
			*spool_mirror_why(m) ? spool_mirror_why(m) : strerror(-err), p.durable_seq);
}

static int run(struct spool_mirror *m, const char *src, const char *dst)
{
	bool from_stdin = !strcmp(src, "-");
	struct spool_mirror_progress p;
	struct spool_bar bar;
	int err, ended, read_err = 0;

	spool_bar_begin(&bar, "mirror");
	err = from_stdin ? pour(m, &bar, &read_err) : sg_mirror_feed_dir(m, src, show, &bar);
	ended = spool_mirror_finish(m);
	spool_bar_clear(&bar);
	if (read_err)
		return cli_fail(CLI_IO, NULL, "standard input: %s", strerror(-read_err));
	if (err || ended)
		return tell_error(err ? err : ended, m, dst);
	spool_mirror_status(m, &p);
	return tell(&p, dst);
}

int spool_do_mirror(const struct cli_args *a)
{
	static const char *const trailing[] = { "error", "trim", NULL };
	struct spool_mirror_config config = SPOOL_MIRROR_CONFIG_INIT;
	struct spool_mirror *m;
	unsigned int trim = 0;
	char clean[512];
	int rc = spool_opt_format(a, "format", &config.format), err;

	rc = rc ? rc : spool_opt_word(a, "trailing", trailing, &trim);
	if (!rc && config.format == SPOOL_FORMAT_AUDIT)
		rc = cli_fail(CLI_USAGE, "Convert it: spoolguard spool convert",
			      "--format: an audit spool cannot be mirrored");
	if (rc)
		return rc;
	if (strcmp(a->argv[0], "-") != 0 && sg_mirror_is_source(a->argv[0], a->argv[1]))
		return cli_fail(CLI_USAGE, NULL, "%s: a directory is no mirror of itself",
				cli_clean(clean, sizeof(clean), a->argv[1]));
	config.flags = trim ? SPOOL_MIRROR_TRIM : 0;
	err = spool_mirror_open(&m, a->argv[1], &config);
	if (err == -EBADMSG)
		return cli_fail(
			CLI_FOUND,
			"See: spoolguard spool verify DIR. Remove the damaged file and those "
			"after it: they are mirrored again.",
			"%s: the mirror is damaged, or of another format",
			cli_clean(clean, sizeof(clean), a->argv[1]));
	if (err)
		return spool_fail(err, a->argv[1]);
	rc = run(m, a->argv[0], a->argv[1]);
	spool_mirror_close(m);
	return rc;
}
