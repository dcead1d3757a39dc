// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard window simulate */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/simulate.h"
#include "guard/policy.h"
#include "guard/units.h"

#define FILES_MAX    1000
#define DURATION_MAX (3600 * SG_NSEC_PER_SEC)
#define TRACE_MAX    (64u << 20) /* bytes */
#define APPEND_NS    (5 * SG_NSEC_PER_USEC)

/* What one disk, or one fleet of its kind, has shown. */
struct shown {
	const char *disk;
	struct sim_result rule[SIM_RULES];
	uint64_t best; /* records */
};

struct simulation {
	struct sim_setup setup;
	struct sim_trace trace;
	bool traced;
	bool wanted[SIM_DISKS];
	uint64_t seed, files;
	struct shown shown[SIM_DISKS];
	unsigned int n;
};

/* ---- what is asked for ---- */

static int parse_bytes(const struct cli_args *a, const char *name, uint64_t fallback, uint64_t *v)
{
	const char *text = cli_opt(a, name);
	char clean[128];

	*v = fallback;
	if (text && (sg_units_parse_bytes(text, strlen(text), v) || !*v))
		return cli_fail(CLI_USAGE, NULL,
				"--%s = \"%s\": that is no size above 0; write one like 1MiB", name,
				cli_clean(clean, sizeof(clean), text));
	return CLI_OK;
}

static int no_such_disk(const char *word)
{
	char list[128], clean[128];
	struct sg_text t;
	unsigned int i;

	sg_text_init(&t, list, sizeof(list));
	for (i = 0; i < SIM_DISKS; i++) {
		sg_text_str(&t, i ? ", " : "");
		sg_text_str(&t, sim_disk_name((enum sim_disk_kind)i));
	}
	return cli_fail(CLI_USAGE, NULL, "--disk = \"%s\": no such disk; there are %s",
			cli_clean(clean, sizeof(clean), word), list);
}

static int parse_disks(const struct cli_args *a, struct simulation *m)
{
	const char *word;
	unsigned int i, n;

	for (n = 0; (word = cli_opt_nth(a, "disk", n)); n++) {
		for (i = 0; i < SIM_DISKS; i++)
			if (!strcmp(word, sim_disk_name((enum sim_disk_kind)i)))
				break;
		if (i == SIM_DISKS)
			return no_such_disk(word);
		m->wanted[i] = true;
	}
	for (i = 0; !n && i < SIM_DISKS; i++)
		m->wanted[i] = true;
	return CLI_OK;
}

static int too_much(const char *name, const char *most)
{
	return cli_fail(CLI_USAGE, NULL, "--%s: at most %s", name, most);
}

static int parse_bounds(const struct cli_args *a, struct sim_setup *s)
{
	struct sg_rule rule;
	int rc;

	sg_rule_init(&rule);
	rc = cli_opt_count(a, "max-records", rule.max_records, &s->max_records);
	if (!rc)
		rc = parse_bytes(a, "max-bytes", rule.max_bytes, &s->max_bytes);
	if (!rc)
		rc = cli_opt_time(a, "max-delay", rule.max_delay_ns, &s->max_delay_ns);
	if (!rc && s->max_records > SG_POLICY_RECORDS_MAX)
		rc = too_much("max-records", "1000000000");
	if (!rc && s->max_bytes > SG_POLICY_BYTES_MAX)
		rc = too_much("max-bytes", "1TiB");
	if (!rc && s->max_delay_ns > SG_POLICY_TIME_MAX_NS)
		rc = too_much("max-delay", "1d");
	return rc;
}

static int parse_load(const struct cli_args *a, struct simulation *m)
{
	struct sim_setup *s = &m->setup;
	uint64_t rate;
	int rc;

	s->append_ns = APPEND_NS;
	rc = cli_opt_count(a, "rate", 1, &rate);
	if (!rc && rate > SG_NSEC_PER_SEC / APPEND_NS)
		rc = too_much("rate", "200000: one append takes 5 us in this model");
	if (!rc && cli_opt(a, "rate"))
		s->gap_ns = SG_NSEC_PER_SEC / rate;
	if (!rc)
		rc = parse_bytes(a, "record-bytes", 200, &s->record_bytes);
	if (!rc)
		rc = cli_opt_time(a, "duration", 10 * SG_NSEC_PER_SEC, &s->duration_ns);
	if (!rc && s->duration_ns > DURATION_MAX)
		rc = too_much("duration", "1h");
	if (!rc)
		rc = cli_opt_count(a, "files", 1, &m->files);
	if (!rc && m->files > FILES_MAX)
		rc = too_much("files", "1000");
	if (!rc)
		rc = cli_opt_count(a, "seed", 1, &m->seed);
	return rc;
}

/* ---- the trace ---- */

static int read_text(const char *path, char **text, size_t *len)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	int err = 0;

	if (!f)
		return -errno;
	*text = malloc(TRACE_MAX + 1);
	*len = *text ? fread(*text, 1, TRACE_MAX + 1, f) : 0;
	if (!*text)
		err = -ENOMEM;
	else if (ferror(f))
		err = -EIO;
	else if (*len > TRACE_MAX)
		err = -EFBIG;
	if (f != stdin)
		fclose(f);
	return err;
}

static int bad_trace(const char *path, int err, unsigned int line, const char *why)
{
	char clean[512];

	cli_clean(clean, sizeof(clean), path);
	if (err != -EINVAL)
		return cli_fail(CLI_IO, NULL, "%s: %s", clean, strerror(-err));
	if (line)
		return cli_fail(CLI_USAGE, "A line is ns,operation,bytes,duration.", "%s:%u: %s",
				clean, line, why);
	return cli_fail(CLI_USAGE, NULL, "%s: %s", clean, why);
}

static int load_trace(const struct cli_args *a, struct simulation *m)
{
	static const char *const not_with[] = { "disk",	    "rate",	    "files",
						"duration", "record-bytes", "seed" };
	const char *path = cli_opt(a, "trace");
	unsigned int line = 0, i;
	char why[128] = "", *text = NULL;
	size_t len = 0;
	int err;

	if (!path)
		return CLI_OK;
	for (i = 0; i < sizeof(not_with) / sizeof(not_with[0]); i++)
		if (cli_opt(a, not_with[i]))
			return cli_fail(CLI_USAGE, NULL, "--trace and --%s: the trace has its own",
					not_with[i]);
	err = read_text(path, &text, &len);
	if (!err)
		err = sim_trace_parse(&m->trace, text, len, &line, why, sizeof(why));
	free(text);
	if (err)
		return bad_trace(path, err, line, why);
	m->traced = true;
	m->setup.duration_ns = m->trace.duration_ns + 1; /* its last event too */
	return CLI_OK;
}

/* ---- running ---- */

static int run_file(struct simulation *m, struct shown *w, enum sim_disk_kind kind, unsigned int i)
{
	struct sim_setup s = m->setup;
	unsigned int rule;
	uint64_t best;

	s.disk = sim_disk_of(kind, m->seed, i, s.duration_ns);
	if (m->traced)
		s.disk.trace = &m->trace;
	best = sim_best(&s);
	for (rule = 0; rule < SIM_RULES; rule++) {
		uint64_t before = w->rule[rule].records;

		sim_run(&s, (enum sim_rule)rule, 0, 0, &w->rule[rule]);
		/* Whoever does better without knowing the future was the best. */
		if (w->rule[rule].records - before > best)
			best = w->rule[rule].records - before;
	}
	w->best += best;
	return best ? CLI_OK : cli_fail(CLI_IO, NULL, "no record comes in that time");
}

static int run_kind(struct simulation *m, enum sim_disk_kind kind)
{
	struct shown *w = &m->shown[m->n++];
	unsigned int i;
	int rc = CLI_OK;

	w->disk = sim_disk_name(kind);
	for (i = 0; !rc && i < m->files; i++)
		rc = run_file(m, w, kind, i);
	return rc;
}

static int run_all(struct simulation *m)
{
	unsigned int i;
	int rc = CLI_OK;

	if (m->traced)
		return run_kind(m, SIM_RECORDED);
	for (i = 0; !rc && i < SIM_DISKS; i++)
		if (m->wanted[i])
			rc = run_kind(m, (enum sim_disk_kind)i);
	return rc;
}

/* ---- figures ---- */

static double per_s(const struct simulation *m, uint64_t n)
{
	return (double)n * SG_NSEC_PER_SEC / (double)m->setup.duration_ns;
}

static double of_best(const struct shown *w, const struct sim_result *r)
{
	return 100.0 * (double)r->records / (double)w->best;
}

static double in_sync(const struct sim_result *r)
{
	return 100.0 * (double)r->sync_ns / (double)r->duration_ns;
}

static uint64_t mean_wait_ns(const struct sim_result *r)
{
	uint64_t n = sg_hist_total(r->waits);

	return n ? r->waited_ns / n : 0;
}

/* The lowest bucket begins at 0: it is that of those who did not wait. */
static uint64_t p99_wait_ns(const struct sim_result *r)
{
	uint64_t n = sg_hist_total(r->waits);

	if (r->waits[0] >= n - n / 100)
		return 0;
	return sg_hist_quantile(r->waits, SG_P99, r->wait_max_ns);
}

/* ---- for people ---- */

static void rate_cell(struct cli_table *t, double v, int digits)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%.*f", digits, v);
	cli_table_text(t, buf);
}

static void percent_cell(struct cli_table *t, double v)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%.1f %%", v);
	cli_table_text(t, buf);
}

static void add_rule(struct cli_table *t, const struct simulation *m, const struct shown *w,
		     unsigned int rule)
{
	const struct sim_result *r = &w->rule[rule];

	cli_table_line(t);
	cli_table_text(t, rule ? "" : w->disk);
	cli_table_text(t, sim_rule_name((enum sim_rule)rule));
	rate_cell(t, per_s(m, r->records), 0);
	percent_cell(t, of_best(w, r));
	cli_table_time(t, mean_wait_ns(r));
	cli_table_time(t, p99_wait_ns(r));
	cli_table_count(t, sim_risk_quantile(r, SG_P50));
	cli_table_count(t, sim_risk_quantile(r, SG_P99));
	cli_table_count(t, r->risk_max);
	rate_cell(t, per_s(m, r->syncs), 1);
	percent_cell(t, in_sync(r));
}

static void add_best(struct cli_table *t, const struct simulation *m, const struct shown *w)
{
	unsigned int i;

	cli_table_line(t);
	cli_table_text(t, "");
	cli_table_text(t, "offline best");
	rate_cell(t, per_s(m, w->best), 0);
	percent_cell(t, 100);
	for (i = 0; i < 7; i++)
		cli_table_none(t);
}

static int print_table(const struct simulation *m)
{
	static const char *const columns[] = { "RECORDS/s", "OF BEST", "WAIT",
					       "p99",	    "AT RISK", "p99",
					       "max",	    "SYNCS/s", "IN SYNC" };
	struct cli_table *t = cli_table_new();
	unsigned int i, rule;

	cli_table_column(t, "DISK", CLI_LEFT);
	cli_table_column(t, "RULE", CLI_LEFT);
	for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		cli_table_column(t, columns[i], CLI_RIGHT);
	for (i = 0; i < m->n; i++) {
		for (rule = 0; rule < SIM_RULES; rule++)
			add_rule(t, m, &m->shown[i], rule);
		add_best(t, m, &m->shown[i]);
	}
	cli_table_print(t, stdout);
	return CLI_OK;
}

/* ---- for programs ---- */

static int print_csv(const struct simulation *m)
{
	const struct sim_result *r;
	unsigned int i, rule;

	puts("disk,rule,records_per_s,of_best,wait_mean_ns,wait_p99_ns,at_risk_p50,at_risk_p99,at_"
	     "risk_max,"
	     "at_risk_max_bytes,age_max_ns,syncs_per_s,in_sync");
	for (i = 0; i < m->n; i++) {
		for (rule = 0; rule < SIM_RULES; rule++) {
			r = &m->shown[i].rule[rule];
			printf("%s,%s,%.1f,%.4f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
			       ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.1f,%.4f\n",
			       m->shown[i].disk, sim_rule_name((enum sim_rule)rule),
			       per_s(m, r->records), of_best(&m->shown[i], r) / 100,
			       mean_wait_ns(r), p99_wait_ns(r), sim_risk_quantile(r, SG_P50),
			       sim_risk_quantile(r, SG_P99), r->risk_max, r->risk_bytes_max,
			       r->age_max_ns, per_s(m, r->syncs), in_sync(r) / 100);
		}
		printf("%s,offline best,%.1f,1.0000,,,,,,,,,\n", m->shown[i].disk,
		       per_s(m, m->shown[i].best));
	}
	return CLI_OK;
}

static json_t *count(uint64_t v)
{
	return cli_json_known(true, v);
}

static json_t *rule_json(const struct simulation *m, const struct shown *w, unsigned int rule)
{
	const struct sim_result *r = &w->rule[rule];

	return json_pack(
		"{ss so so sf sf so so s{so so so so} so so sf sf}", "rule",
		sim_rule_name((enum sim_rule)rule), "files", count(m->files), "records",
		count(r->records), "records_per_s", per_s(m, r->records), "of_best",
		of_best(w, r) / 100, "wait_mean_ns", count(mean_wait_ns(r)), "wait_p99_ns",
		count(p99_wait_ns(r)), "at_risk", "p50", count(sim_risk_quantile(r, SG_P50)), "p99",
		count(sim_risk_quantile(r, SG_P99)), "max", count(r->risk_max), "max_bytes",
		count(r->risk_bytes_max), "age_max_ns", count(r->age_max_ns), "syncs",
		count(r->syncs), "syncs_per_s", per_s(m, r->syncs), "in_sync", in_sync(r) / 100);
}

static int print_json(const struct simulation *m)
{
	json_t *disks = json_array(), *rules;
	unsigned int i, rule;

	for (i = 0; i < m->n; i++) {
		rules = json_array();
		for (rule = 0; rule < SIM_RULES; rule++)
			json_array_append_new(rules, rule_json(m, &m->shown[i], rule));
		json_array_append_new(disks, json_pack("{ss so sf so}", "disk", m->shown[i].disk,
						       "best_records", count(m->shown[i].best),
						       "best_records_per_s",
						       per_s(m, m->shown[i].best), "rules", rules));
	}
	return cli_json(json_pack(
		"{so so so so so so}", "duration_ns", count(m->setup.duration_ns), "max_records",
		count(m->setup.max_records), "max_bytes", count(m->setup.max_bytes), "max_delay_ns",
		count(m->setup.max_delay_ns), "seed", count(m->seed), "disks", disks));
}

/* ---- the plot: throughput of each rule, as a share of the best ---- */

#define BAR    14
#define GROUP  (SIM_RULES * BAR + 26)
#define LEFT   56
#define TOP    40
#define HEIGHT 240

static void plot_axes(FILE *f, unsigned int width)
{
	unsigned int i, y;

	fprintf(f,
		"<text x=\"%d\" y=\"16\">Records per second, as a share of the offline "
		"best</text>\n",
		LEFT);
	for (i = 0; i <= 4; i++) {
		y = TOP + HEIGHT - i * HEIGHT / 4;
		fprintf(f, "<line x1=\"%d\" y1=\"%u\" x2=\"%u\" y2=\"%u\" stroke=\"#ccc\"/>\n",
			LEFT, y, width - 10, y);
		fprintf(f, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">%u %%</text>\n", LEFT - 6,
			y + 4, i * 25);
	}
}

static void plot_disk(FILE *f, const struct shown *w, unsigned int x, const char *const *colours)
{
	unsigned int rule;

	for (rule = 0; rule < SIM_RULES; rule++) {
		double h = of_best(w, &w->rule[rule]) / 100 * HEIGHT;

		fprintf(f,
			"<rect x=\"%u\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" "
			"fill=\"%s\"><title>%s, %s: "
			"%.1f %%</title></rect>\n",
			x + rule * BAR, TOP + HEIGHT - h, BAR - 2, h, colours[rule], w->disk,
			sim_rule_name((enum sim_rule)rule), of_best(w, &w->rule[rule]));
	}
	fprintf(f, "<text x=\"%u\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
		x + SIM_RULES * BAR / 2, TOP + HEIGHT + 18, w->disk);
}

static void plot_all(FILE *f, const struct simulation *m)
{
	static const char *const colours[SIM_RULES] = { "#1b6ca8", "#b0b0b0", "#e0a030",
							"#7a4f9a" };
	unsigned int width = LEFT + (m->n > 6 ? m->n : 6) * GROUP + 10, i;

	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" "
		"height=\"100%%\" "
		"fill=\"white\"/>\n",
		width, TOP + HEIGHT + 56);
	plot_axes(f, width);
	for (i = 0; i < m->n; i++)
		plot_disk(f, &m->shown[i], LEFT + 12 + i * GROUP, colours);
	for (i = 0; i < SIM_RULES; i++) {
		fprintf(f, "<rect x=\"%u\" y=\"%d\" width=\"10\" height=\"10\" fill=\"%s\"/>\n",
			LEFT + i * 120, TOP + HEIGHT + 34, colours[i]);
		fprintf(f, "<text x=\"%u\" y=\"%d\">%s</text>\n", LEFT + i * 120 + 16,
			TOP + HEIGHT + 43, sim_rule_name((enum sim_rule)i));
	}
	fputs("</svg>\n", f);
}

static int plot(const struct simulation *m, const char *path)
{
	FILE *f = fopen(path, "we");
	char clean[512];
	bool bad;

	if (f) {
		plot_all(f, m);
		bad = ferror(f);
		if (fclose(f) == 0 && !bad)
			return CLI_OK;
	}
	return cli_fail(cli_exit_of(errno), NULL, "%s: %s", cli_clean(clean, sizeof(clean), path),
			strerror(errno));
}

/* ---- the command ---- */

static int show(const struct cli_args *a, const struct simulation *m)
{
	const char *path = cli_opt(a, "plot");
	int rc = path ? plot(m, path) : CLI_OK;

	if (rc)
		return rc;
	if (cli.json)
		return print_json(m);
	return cli_opt(a, "csv") ? print_csv(m) : print_table(m);
}

static int do_simulate(const struct cli_args *a)
{
	struct simulation *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return cli_fail(CLI_IO, NULL, "out of memory");
	rc = parse_disks(a, m);
	if (!rc)
		rc = parse_bounds(a, &m->setup);
	if (!rc)
		rc = parse_load(a, m);
	if (!rc)
		rc = load_trace(a, m);
	if (!rc)
		rc = run_all(m);
	if (!rc)
		rc = show(a, m);
	sim_trace_free(&m->trace);
	free(m);
	return rc;
}

static const struct cli_option options[] = {
	{ "disk", "KIND", "only this synthetic disk; may be repeated", "disk-kind" },
	{ "trace", "FILE", "a recorded disk and program instead; - is standard input", "file" },
	{ "rate", "N", "records per second; without it as many as get in", NULL },
	{ "files", "N", "a fleet of so many files, each on a disk of its own (1)", NULL },
	{ "duration", "TIME", "simulated time (10s)", NULL },
	{ "record-bytes", "SIZE", "size of a record (200)", NULL },
	{ "max-records", "N", "most records at risk (512)", NULL },
	{ "max-bytes", "SIZE", "most bytes at risk (1MiB)", NULL },
	{ "max-delay", "TIME", "oldest that may be at risk (50ms)", NULL },
	{ "seed", "N", "another run of the same disks (1)", NULL },
	{ "csv", NULL, "print CSV", NULL },
	{ "plot", "FILE", "draw the throughputs, as SVG", "file" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command commands[] = {
	{ .name = "simulate",
	  .help = "what the window controller makes of a disk, against fixed windows",
	  .options = options,
	  .is_default = true,
	  .run = do_simulate },
	{ .run = NULL },
};
const struct cli_object cli_window = { "window", "how the window follows a disk, in a model",
				       commands };
