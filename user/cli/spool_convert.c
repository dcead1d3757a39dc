// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard spool convert. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/spool.h"
#include "guard/units.h"

static void show(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	spool_bar_show(arg, done_bytes, total_bytes);
}

static int tell_json(const struct spool_convert_result *r, const char *dst)
{
	return cli_json(json_pack(
		"{so ss ss so so so so so so so so so}", "spool", cli_json_str(dst), "from",
		spool_format_name(r->from), "to", spool_format_name(r->to), "records",
		cli_json_known(true, r->records), "bytes", cli_json_known(true, r->bytes),
		"lost_records", cli_json_known(true, r->lost_records), "unverified_records",
		cli_json_known(true, r->unverified_records), "renumbered_records",
		cli_json_known(true, r->renumbered_records), "times_lost",
		cli_json_known(true, r->times_lost), "epochs_lost",
		cli_json_known(true, r->epochs_lost), "merged_commits",
		cli_json_known(true, r->merged_commits), "empty_lost",
		cli_json_known(true, r->empty_lost)));
}

static void tell(const struct spool_convert_result *r, const char *dst)
{
	const struct {
		uint64_t n;
		const char *what;
	} notes[] = {
		{ r->lost_records, "records are missing or damaged in the source" },
		{ r->unverified_records, "records had no checksum" },
		{ r->renumbered_records, "records have another number now" },
		{ r->times_lost, "records had a time, which this format does not keep" },
		{ r->epochs_lost, "commits had an epoch, which this format does not keep" },
		{ r->merged_commits, "commits of several transactions became one record each" },
		{ r->empty_lost, "empty records at the end could not be kept" },
	};
	char clean[512], size[SG_UNITS_MAX];
	size_t i;

	printf("%s: %" PRIu64 " record%s, %s, from %s to %s\n",
	       cli_clean(clean, sizeof(clean), dst), r->records, r->records == 1 ? "" : "s",
	       sg_units_bytes(size, sizeof(size), r->bytes), spool_format_name(r->from),
	       spool_format_name(r->to));
	for (i = 0; i < sizeof(notes) / sizeof(*notes); i++)
		if (notes[i].n)
			printf("  %" PRIu64 " %s\n", notes[i].n, notes[i].what);
}

static int tell_error(int err, const struct cli_args *a)
{
	char clean[512];

	switch (-err) {
	case ENOTEMPTY:
		return cli_fail(CLI_IO, "Name a directory that is empty or not there.",
				"%s: not empty", cli_clean(clean, sizeof(clean), a->argv[1]));
	case EBUSY:
		return spool_fail(err, a->argv[1]);
	case EINVAL:
		return cli_fail(CLI_USAGE, "See: man spoolguard-spool",
				"an option is out of its range");
	case ENOENT:
	case EBADMSG:
		return spool_fail(err, a->argv[0]);
	default:
		return cli_fail(cli_exit_of(err),
				"What lies in DST is incomplete: take it away before the next try.",
				"%s: %s", cli_clean(clean, sizeof(clean), a->argv[1]),
				strerror(-err));
	}
}

int spool_do_convert(const struct cli_args *a)
{
	struct spool_convert_config config = SPOOL_CONVERT_CONFIG_INIT;
	struct spool_convert_result r = { .records = 0 };
	enum spool_format from, to;
	struct spool_bar bar;
	int rc, err;

	rc = spool_opt_format(a, "from-format", &from);
	rc = rc ? rc : spool_opt_format(a, "to-format", &to);
	rc = rc ? rc : spool_opt_bytes(a, "segment-bytes", &config.segment_bytes);
	if (!rc && to == SPOOL_FORMAT_DETECT)
		rc = cli_fail(CLI_USAGE, NULL,
			      "spoolguard spool convert needs --to-format: native, audit or "
			      "commitlog");
	if (rc)
		return rc;
	config.commitlog_v0 = cli_opt(a, "commitlog-v0");
	config.unverified = cli_opt(a, "unverified");
	config.progress = show;
	config.arg = &bar;
	spool_bar_begin(&bar, "convert");
	err = spool_convert(a->argv[0], from, a->argv[1], to, &config, &r);
	spool_bar_clear(&bar);
	if (err)
		return tell_error(err, a);
	if (cli.json)
		rc = tell_json(&r, a->argv[1]);
	else
		tell(&r, a->argv[1]);
	return rc ? rc : r.lost_records ? CLI_FOUND : CLI_OK;
}
