// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Tables and histograms for people. */
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "guard/hist.h"
#include "guard/units.h"

#define BAR_WIDTH 40

struct cli_table {
	struct libscols_table *t;
	struct libscols_line *line;
	size_t column;
};

struct cli_table *cli_table_new(void)
{
	struct cli_table *t = calloc(1, sizeof(*t));

	if (!t || !(t->t = scols_new_table())) {
		fputs("Error: out of memory\n", stderr);
		exit(CLI_IO);
	}
	return t;
}

void cli_table_column(struct cli_table *t, const char *name, enum cli_align align)
{
	scols_table_new_column(t->t, name, align == CLI_PATH ? 0.3 : 0,
			       align == CLI_RIGHT ? SCOLS_FL_RIGHT : 0);
}

void cli_table_line(struct cli_table *t)
{
	t->line = scols_table_new_line(t->t, NULL);
	t->column = 0;
}

static struct libscols_cell *cell(struct cli_table *t, const char *text)
{
	if (!t->line)
		return NULL;
	scols_line_set_data(t->line, t->column, text);
	return scols_line_get_cell(t->line, t->column++);
}

void cli_table_text(struct cli_table *t, const char *text)
{
	char clean[2048];

	cell(t, cli_clean(clean, sizeof(clean), text));
}

void cli_table_bad(struct cli_table *t, const char *text)
{
	char clean[2048];
	struct libscols_cell *c = cell(t, cli_clean(clean, sizeof(clean), text));

	if (c)
		scols_cell_set_color(c, "red");
}

void cli_table_count(struct cli_table *t, uint64_t v)
{
	char buf[24];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)v);
	cell(t, buf);
}

void cli_table_bytes(struct cli_table *t, uint64_t v)
{
	char buf[SG_UNITS_MAX];

	cell(t, sg_units_bytes(buf, sizeof(buf), v));
}

void cli_table_time(struct cli_table *t, uint64_t ns)
{
	char buf[SG_UNITS_MAX];

	cell(t, sg_units_time(buf, sizeof(buf), ns));
}

void cli_table_none(struct cli_table *t)
{
	cell(t, "-");
}

void cli_table_print(struct cli_table *t, FILE *f)
{
	bool tty = isatty(fileno(f)) && !getenv("NO_COLOR");

	scols_table_set_stream(t->t, f);
	scols_table_enable_colors(t->t, tty);
	/* A narrow terminal wraps lines rather than hiding columns; a file gets full width. */
	scols_table_set_termforce(t->t,
				  isatty(fileno(f)) ? SCOLS_TERMFORCE_AUTO : SCOLS_TERMFORCE_NEVER);
	if (scols_table_get_nlines(t->t))
		scols_print_table(t->t);
	cli_table_free(t);
}

void cli_table_free(struct cli_table *t)
{
	scols_unref_table(t->t);
	free(t);
}

/* --- histograms --- */

static void range(char *buf, size_t size, unsigned int i)
{
	char from[SG_UNITS_MAX], to[SG_UNITS_MAX];

	sg_units_time(from, sizeof(from), sg_hist_lower(i));
	if (sg_hist_upper(i) == UINT64_MAX)
		snprintf(buf, size, "%s and more", from);
	else
		snprintf(buf, size, "%s .. %s", from,
			 sg_units_time(to, sizeof(to), sg_hist_upper(i)));
}

/* Eighths of a cell where the terminal has them, else '#'. */
static void bar(FILE *f, uint64_t n, uint64_t most, bool utf8)
{
	static const char *const eighth[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	unsigned int len = (double)n / most * BAR_WIDTH * 8, i;

	if (!len)
		len = 1;
	for (i = 0; i < len / 8; i++)
		fputs(utf8 ? "█" : "#", f);
	if (utf8)
		fputs(eighth[len % 8], f);
	else if (len < 8)
		fputs("#", f);
}

static bool speaks_utf8(void)
{
	const char *s = getenv("LC_ALL");

	if (!s || !*s)
		s = getenv("LC_CTYPE");
	if (!s || !*s)
		s = getenv("LANG");
	return s && (strstr(s, "UTF-8") || strstr(s, "utf8") || strstr(s, "UTF8"));
}

static void summary(FILE *f, const char *title, const uint64_t *b, uint64_t total, uint64_t max_ns)
{
	char p50[SG_UNITS_MAX], p99[SG_UNITS_MAX], max[SG_UNITS_MAX];

	fprintf(f, "%s: %llu, p50 %s, p99 %s, max %s\n", title, (unsigned long long)total,
		sg_units_time(p50, sizeof(p50), sg_hist_quantile(b, SG_P50, max_ns)),
		sg_units_time(p99, sizeof(p99), sg_hist_quantile(b, SG_P99, max_ns)),
		sg_units_time(max, sizeof(max), sg_hist_quantile(b, 1000000, max_ns)));
}

void cli_hist_print(FILE *f, const char *title, const uint64_t *buckets, uint64_t max_ns)
{
	unsigned int i, first = SG_HIST_BUCKETS, last = 0;
	uint64_t total = sg_hist_total(buckets), most = 1;
	bool utf8 = speaks_utf8();
	char label[2 * SG_UNITS_MAX + 8];

	for (i = 0; i < SG_HIST_BUCKETS; i++) {
		if (!buckets[i])
			continue;
		first = first < i ? first : i;
		last = i;
		most = buckets[i] > most ? buckets[i] : most;
	}
	if (!total) {
		fprintf(f, "%s: none\n", title);
		return;
	}
	summary(f, title, buckets, total, max_ns);
	for (i = first; i <= last; i++) {
		if (!sg_hist_used(i))
			continue;
		range(label, sizeof(label), i);
		fprintf(f, "  %22s %10llu  ", label, (unsigned long long)buckets[i]);
		if (buckets[i])
			bar(f, buckets[i], most, utf8);
		fputc('\n', f);
	}
}

static json_t *buckets_json(const uint64_t *b)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < SG_HIST_BUCKETS; i++)
		if (b[i])
			json_array_append_new(
				list, json_pack("{sI so so}", "from_ns",
						(json_int_t)sg_hist_lower(i), "to_ns",
						cli_json_known(sg_hist_upper(i) != UINT64_MAX,
							       sg_hist_upper(i)),
						"count", cli_json_known(true, b[i])));
	return list;
}

json_t *cli_hist_json(const uint64_t *b, uint64_t max_ns, bool with_buckets)
{
	json_t *v;

	v = json_pack("{so so so so so}", "count", cli_json_known(true, sg_hist_total(b)), "p50_ns",
		      cli_json_known(true, sg_hist_quantile(b, SG_P50, max_ns)), "p90_ns",
		      cli_json_known(true, sg_hist_quantile(b, SG_P90, max_ns)), "p99_ns",
		      cli_json_known(true, sg_hist_quantile(b, SG_P99, max_ns)), "max_ns",
		      cli_json_known(true, sg_hist_quantile(b, 1000000, max_ns)));
	if (with_buckets)
		json_object_set_new(v, "buckets", buckets_json(b));
	return v;
}
