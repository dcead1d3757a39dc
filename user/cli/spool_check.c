// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard spool verify, recover. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/spool.h"
#include "guard/units.h"

#define MOST_FINDINGS 10000u /* in one JSON document; the rest is only counted */

struct check {
	struct spool_bar bar;
	json_t *findings;
	uint64_t omitted;
};

static const char *kind_name(enum spool_finding_kind kind)
{
	static const char *const names[] = { "torn",  "damage",	 "header", "gap",
					     "index", "foreign", "sidecar" };

	return (size_t)kind < sizeof(names) / sizeof(*names) ? names[kind] : "unknown";
}

static json_t *finding_json(const struct spool_finding *f)
{
	return json_pack("{ss so so so so so so so so}", "kind", kind_name(f->kind), "file",
			 f->file ? cli_json_str(f->file) : json_null(), "offset",
			 cli_json_known(true, f->offset), "bytes", cli_json_known(true, f->bytes),
			 "from", cli_json_known(f->from_seq, f->from_seq), "to",
			 cli_json_known(f->to_seq, f->to_seq), "durable",
			 cli_json_known(true, f->durable), "why",
			 f->why ? cli_json_str(f->why) : json_null(), "quarantined",
			 f->quarantined ? cli_json_str(f->quarantined) : json_null());
}

static void print_finding(const struct spool_finding *f)
{
	char file[512], why[512], kept[1024], size[SG_UNITS_MAX];

	printf("%-7s %s", kind_name(f->kind),
	       f->file ? cli_clean(file, sizeof(file), f->file) : "-");
	if (f->bytes)
		printf(" at %" PRIu64 ", %s", f->offset,
		       sg_units_bytes(size, sizeof(size), f->bytes));
	if (f->why && *f->why)
		printf(": %s", cli_clean(why, sizeof(why), f->why));
	if (f->to_seq && f->to_seq != f->from_seq)
		printf("; costs records %" PRIu64 " to %" PRIu64, f->from_seq, f->to_seq);
	else if (f->to_seq)
		printf("; costs record %" PRIu64, f->to_seq);
	if (f->durable && f->to_seq == f->from_seq)
		printf(", which was durable");
	else if (f->durable)
		printf(", %" PRIu64 " of them durable", f->durable);
	if (f->quarantined)
		printf("; kept as quarantine/%s", cli_clean(kept, sizeof(kept), f->quarantined));
	putchar('\n');
}

static void found(void *arg, const struct spool_finding *f)
{
	struct check *c = arg;

	spool_bar_clear(&c->bar);
	if (!cli.json)
		print_finding(f);
	else if (json_array_size(c->findings) < MOST_FINDINGS)
		json_array_append_new(c->findings, finding_json(f));
	else
		c->omitted++;
}

static void progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct check *c = arg;

	spool_bar_show(&c->bar, done_bytes, total_bytes);
}

static int check_json(struct check *c, const struct spool_summary *s, const char *dir, bool dry_run)
{
	json_t *doc = json_pack(
		"{so ss so so so so so so so so so sb so so}", "spool", cli_json_str(dir), "format",
		spool_format_name(s->format), "segments", cli_json_known(true, s->segments),
		"records", cli_json_known(true, s->records), "bytes",
		cli_json_known(true, s->bytes), "first", cli_json_known(s->records, s->first_seq),
		"last", cli_json_known(s->records, s->last_seq), "damaged_bytes",
		cli_json_known(true, s->damaged_bytes), "torn_bytes",
		cli_json_known(true, s->torn_bytes), "missing_records",
		cli_json_known(true, s->missing_records), "quarantined_bytes",
		cli_json_known(true, s->quarantined_bytes), "dry_run", dry_run, "findings",
		c->findings, "findings_omitted", cli_json_known(true, c->omitted));

	return cli_json(doc);
}

static int print_summary(const struct spool_summary *s, bool kept)
{
	char size[SG_UNITS_MAX], damaged[SG_UNITS_MAX], torn[SG_UNITS_MAX], away[SG_UNITS_MAX];

	printf("%s, %" PRIu64 " file%s, %" PRIu64 " record%s", spool_format_name(s->format),
	       s->segments, s->segments == 1 ? "" : "s", s->records, s->records == 1 ? "" : "s");
	if (s->records)
		printf(" (%" PRIu64 " to %" PRIu64 ")", s->first_seq, s->last_seq);
	printf(", %s: ", sg_units_bytes(size, sizeof(size), s->bytes));
	if (s->findings == 0)
		printf("nothing wrong");
	else
		printf("%" PRIu64 " finding%s, %s damaged, %s torn, %" PRIu64 " record%s missing",
		       s->findings, s->findings == 1 ? "" : "s",
		       sg_units_bytes(damaged, sizeof(damaged), s->damaged_bytes),
		       sg_units_bytes(torn, sizeof(torn), s->torn_bytes), s->missing_records,
		       s->missing_records == 1 ? "" : "s");
	if (kept && s->quarantined_bytes)
		printf("; %s in quarantine",
		       sg_units_bytes(away, sizeof(away), s->quarantined_bytes));
	putchar('\n');
	return CLI_OK;
}

/* Both calls: they differ in what they do, not in what they tell. */
static int check(const struct cli_args *a, const char *what,
		 int (*call)(const char *, const struct spool_check_config *,
			     struct spool_summary *))
{
	struct spool_check_config config = SPOOL_CHECK_CONFIG_INIT;
	struct check c = { .findings = NULL };
	struct spool_summary s = { 0 };
	int found_any, rc = spool_opt_format(a, "format", &config.format);

	if (rc)
		return rc;
	config.found = found;
	config.progress = progress;
	config.arg = &c;
	config.dry_run = call == spool_recover && cli_opt(a, "dry-run");
	c.findings = json_array();
	spool_bar_begin(&c.bar, what);
	found_any = call(a->argv[0], &config, &s);
	spool_bar_clear(&c.bar);
	if (found_any < 0) {
		json_decref(c.findings);
		return spool_fail(found_any, a->argv[0]);
	}
	rc = cli.json ? check_json(&c, &s, a->argv[0], config.dry_run)
		      : print_summary(&s, call == spool_recover);
	if (!cli.json)
		json_decref(c.findings);
	return rc ? rc : found_any ? CLI_FOUND : CLI_OK;
}

int spool_do_verify(const struct cli_args *a)
{
	return check(a, "verify", spool_verify);
}

int spool_do_recover(const struct cli_args *a)
{
	return check(a, "recover", spool_recover);
}
