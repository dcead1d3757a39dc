// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard file show | latency | top | events */
#include "cli/file.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cli/events.h"
#include "cli/gather.h"
#include "guard/policy.h"
#include "guard/units.h"

/* --- which file --- */

/* "dev:ino" with dev as MAJOR:MINOR or one number. */
static bool parse_id(const char *word, uint64_t *dev, uint64_t *ino)
{
	unsigned int maj, min;
	unsigned long long a, b;
	int end = 0;

	if (sscanf(word, "%u:%u:%llu%n", &maj, &min, &b, &end) == 3 && !word[end]) {
		*dev = makedev(maj, min);
	} else if (sscanf(word, "%llu:%llu%n", &a, &b, &end) == 2 && !word[end]) {
		*dev = a;
	} else {
		return false;
	}
	*ino = b;
	return true;
}

bool file_wanted_parse(struct file_wanted *w, const char *word)
{
	struct stat st;

	memset(w, 0, sizeof(*w));
	w->word = word;
	if (!word)
		return true;
	if (parse_id(word, &w->dev, &w->ino))
		w->by_id = true;
	else if (!realpath(word, w->path))
		snprintf(w->path, sizeof(w->path), "%s", word);
	if (!w->by_id && !stat(word, &st)) {
		w->dev = st.st_dev;
		w->ino = st.st_ino;
	}
	return w->by_id || w->path[0] == '/';
}

static bool is_of(const struct file_wanted *w, const struct join_row *r)
{
	unsigned int i;

	if (!w->pids || r->seen & (JOIN_SHIM | JOIN_BROKER))
		return true;
	for (i = 0; r->kernel && i < w->n_pids; i++)
		if (r->kernel->pid == w->pids[i] || r->kernel->first_pid == w->pids[i])
			return true;
	return false;
}

bool file_wanted_any(const struct file_wanted *w, const struct join *j)
{
	unsigned int i;

	for (i = 0; i < j->n; i++)
		if (file_wanted_is(w, &j->rows[i]))
			return true;
	return false;
}

bool file_wanted_is(const struct file_wanted *w, const struct join_row *r)
{
	if (!w->word)
		return is_of(w, r);
	if (r->other)
		return false;
	if (w->ino && r->id.ino == w->ino && r->id.dev == w->dev)
		return true;
	return !w->by_id && !strcmp(w->path, r->path);
}

/* --- JSON --- */

static const struct {
	const char *name;
	enum sg_counter c;
} sync_counters[] = {
	{ "calls", SG_C_CALLS },
	{ "led", SG_C_LED },
	{ "grouped", SG_C_GROUPED },
	{ "elided", SG_C_ELIDED },
	{ "windowed", SG_C_WINDOWED },
	{ "poisoned", SG_C_POISONED },
	{ "refused", SG_C_REFUSED },
	{ "drains", SG_C_DRAINS },
	{ "inline", SG_C_INLINE },
	{ "issued", SG_C_ISSUED },
	{ "errors", SG_C_SYNC_ERRORS },
	{ "issued_ns", SG_C_SYNC_NS },
	{ "issued_max_ns", SG_C_SYNC_MAX_NS },
	{ "call_ns", SG_C_CALL_NS },
	{ "call_max_ns", SG_C_CALL_MAX_NS },
	{ "range_syncs", SG_C_RANGE_SYNCS },
};

static json_t *count(uint64_t v)
{
	return cli_json_known(true, v);
}

static json_t *shim_json(const struct join_row *r)
{
	json_t *syncs = json_object();
	unsigned int i;

	if (!(r->seen & JOIN_SHIM)) {
		json_decref(syncs);
		return json_null();
	}
	for (i = 0; i < sizeof(sync_counters) / sizeof(sync_counters[0]); i++)
		json_object_set_new(syncs, sync_counters[i].name,
				    count(r->shim[sync_counters[i].c]));
	return json_pack("{si so so so so so so so}", "sessions", (int)r->sessions, "appends",
			 count(r->shim[SG_C_APPENDS]), "append_bytes",
			 count(r->shim[SG_C_APPEND_BYTES]), "append_errors",
			 count(r->shim[SG_C_APPEND_ERRORS]), "appends_refused",
			 count(r->shim[SG_C_APPENDS_REFUSED]), "appends_waited",
			 count(r->shim[SG_C_APPENDS_WAITED]), "append_wait_ns",
			 count(r->shim[SG_C_APPEND_WAIT_NS]), "syncs", syncs);
}

static json_t *broker_json(const struct join_row *r)
{
	if (!(r->seen & JOIN_BROKER))
		return json_null();
	return json_pack("{so so so so}", "issued", count(r->broker[SG_C_ISSUED]), "errors",
			 count(r->broker[SG_C_SYNC_ERRORS]), "issued_ns",
			 count(r->broker[SG_C_SYNC_NS]), "issued_max_ns",
			 count(r->broker[SG_C_SYNC_MAX_NS]));
}

static json_t *writeback_json(const struct kernel_file *k)
{
	char buf[32];

	if (!k->wb_recorded && !k->wb_reported)
		return json_null();
	snprintf(buf, sizeof(buf), "%s",
		 strerrorname_np(k->wb_errno) ? strerrorname_np(k->wb_errno) : "?");
	return json_pack("{so so sb ss so so so}", "recorded", count(k->wb_recorded), "reported",
			 count(k->wb_reported), "unreported", k->wb_unreported, "errno", buf,
			 "writer_pid", cli_json_known(k->wb_writer_pid, k->wb_writer_pid),
			 "reported_pid", cli_json_known(k->wb_reported_pid, k->wb_reported_pid),
			 "reported_comm",
			 k->wb_reported_comm ? cli_json_str(k->wb_reported_comm) : json_null());
}

static json_t *kernel_json(const struct join_row *r, bool buckets)
{
	const struct kernel_file *k = r->kernel;
	json_t *ops = json_object(), *routes = json_object();
	int i;

	if (!k) {
		json_decref(ops);
		json_decref(routes);
		return json_null();
	}
	for (i = 0; i < KERNEL_OPS; i++) {
		const struct kernel_stat *s = &k->op[i];

		if (s->count)
			json_object_set_new(
				ops, kernel_op_name(i),
				json_pack("{so so so so so so so}", "count", count(s->count),
					  "errors", count(s->errors), "untimed", count(s->untimed),
					  "bytes", count(s->bytes), "total_ns", count(s->total_ns),
					  "max_ns", count(s->max_ns), "latency",
					  cli_hist_json(s->hist, s->max_ns, buckets)));
	}
	for (i = 0; i < KERNEL_ROUTES; i++)
		json_object_set_new(routes, kernel_route_name(i), count(k->sync_route[i]));
	return json_pack(
		"{so so so so so so s{so so}}", "syncs", count(k->syncs), "sync_errors",
		count(k->sync_errors), "syncs_by_route", routes, "operations", ops, "last_writer",
		k->comm ? json_pack("{so so}", "pid", count(k->pid), "comm", cli_json_str(k->comm))
			: json_null(),
		"writeback_errors", writeback_json(k), "most_at_risk", "records",
		cli_json_known(!k->at_risk_unknown, k->peak_records), "bytes",
		cli_json_known(!k->at_risk_unknown, k->peak_bytes));
}

static json_t *at_risk_json(const struct join_row *r)
{
	bool known = r->has_at_risk && !r->at_risk_unknown;

	return json_pack("{sb so so so so so so so so so so so}", "known", known, "records",
			 cli_json_known(known && r->has_ledger, r->at_risk_records), "bytes",
			 cli_json_known(known, r->at_risk_bytes), "age_ns",
			 cli_json_known(known && r->has_ledger, r->at_risk_age_ns), "max_records",
			 cli_json_known(r->max_records, r->max_records), "max_bytes",
			 cli_json_known(r->max_bytes, r->max_bytes), "max_delay_ns",
			 cli_json_known(r->max_delay_ns, r->max_delay_ns), "peak_records",
			 cli_json_known(r->has_ledger, r->peak_records), "peak_bytes",
			 cli_json_known(r->has_ledger, r->peak_bytes), "peak_age_ns",
			 cli_json_known(r->has_ledger, r->peak_age_ns), "lost_records",
			 cli_json_known(r->has_ledger, r->lost_records), "lost_bytes",
			 cli_json_known(r->has_ledger, r->lost_bytes));
}

static const char *errno_name(uint32_t e)
{
	const char *name = e < 4096 ? strerrorname_np(e) : NULL;

	return name ? name : "unknown";
}

static json_t *poison_json(const struct join_row *r)
{
	char when[40];

	if (!r->poison_errno)
		return json_null();
	return json_pack("{ss si ss sI ss}", "errno", errno_name(r->poison_errno), "number",
			 (int)r->poison_errno, "when",
			 cli_when(when, sizeof(when), r->poison_wall_ns), "pid",
			 (json_int_t)r->poison_pid, "operation", sg_op_name(r->poison_op));
}

static json_t *flight_json(const struct join_row *r)
{
	if (!r->in_flight_ns)
		return json_null();
	return json_pack("{so so ss sb}", "age_ns", count(r->in_flight_ns), "pid",
			 cli_json_known(r->in_flight_pid, r->in_flight_pid), "operation",
			 r->in_flight_op == UINT32_MAX ? "seen by the kernel"
						       : sg_op_name(r->in_flight_op),
			 "stalled", r->stall_ns && r->in_flight_ns > r->stall_ns);
}

static json_t *seen_json(const struct join_row *r)
{
	json_t *seen = json_array();

	if (r->seen & JOIN_SHIM)
		json_array_append_new(seen, json_string("shim"));
	if (r->seen & JOIN_BROKER)
		json_array_append_new(seen, json_string("broker"));
	if (r->seen & JOIN_KERNEL)
		json_array_append_new(seen, json_string("kernel"));
	return seen;
}

static json_t *latency_json(const struct join_row *r, bool buckets)
{
	uint64_t wmax, smax;
	const uint64_t *w = join_write_hist(r, &wmax), *s = join_sync_hist(r, &smax);

	return json_pack("{so so so}", "write", cli_hist_json(w, wmax, buckets), "sync",
			 cli_hist_json(s, smax, buckets), "call",
			 cli_hist_json(r->call_hist, r->shim[SG_C_CALL_MAX_NS], buckets));
}

json_t *file_json(const struct join_row *r, bool buckets)
{
	char why[160];
	json_t *o;

	o = json_pack("{so sb sb sb so so sI sI}", "path",
		      r->path[0] ? cli_json_str(r->path) : json_null(), "path_cut", r->path_cut,
		      "other", r->other, "directory", r->directory, "device",
		      json_sprintf("%u:%u", major(r->id.dev), minor(r->id.dev)), "inode",
		      count(r->id.ino), "generation", (json_int_t)r->id.gen, "st_dev",
		      (json_int_t)r->id.dev);
	if (!o)
		return json_object();
	json_object_set_new(o, "seen_by", seen_json(r));
	json_object_set_new(o, "open", json_boolean(r->open));
	json_object_set_new(o, "mode",
			    r->has_mode ? json_string(sg_mode_name(r->mode)) : json_null());
	json_object_set_new(o, "mode_wanted",
			    r->has_mode ? json_string(sg_mode_name(r->wanted)) : json_null());
	json_object_set_new(o, "mode_why",
			    *join_why(r, why, sizeof(why)) ? json_string(why) : json_null());
	json_object_set_new(o, "verdict", json_string(sg_verdict_name(r->verdict)));
	json_object_set_new(o, "appends", count(join_appends(r)));
	json_object_set_new(o, "bytes", count(join_append_bytes(r)));
	json_object_set_new(o, "shim", shim_json(r));
	json_object_set_new(o, "broker", broker_json(r));
	json_object_set_new(o, "kernel", kernel_json(r, buckets));
	json_object_set_new(o, "unseen", r->unseen_known ? json_integer(r->unseen) : json_null());
	json_object_set_new(o, "at_risk", at_risk_json(r));
	json_object_set_new(o, "latency", latency_json(r, buckets));
	json_object_set_new(o, "in_flight", flight_json(r));
	json_object_set_new(o, "errors", count(join_errors(r)));
	json_object_set_new(o, "stalls", count(join_stalls(r)));
	json_object_set_new(o, "stall_threshold_ns", cli_json_known(r->stall_ns, r->stall_ns));
	json_object_set_new(o, "poisoned", poison_json(r));
	return o;
}

/* json_pack's "I" and "o" consume in order: an inode above INT64_MAX is cut by count(). */
json_t *file_list_json(const struct gathered *g, const struct file_wanted *w, bool buckets)
{
	json_t *files = json_array();
	unsigned int i;

	for (i = 0; i < g->join.n; i++)
		if (file_wanted_is(w, &g->join.rows[i]))
			json_array_append_new(files, file_json(&g->join.rows[i], buckets));
	return json_pack("{so so}", "sources", gather_sources_json(g), "files", files);
}

/* --- for people --- */

const char *file_name(const struct join_row *r, char *buf, size_t size)
{
	if (r->other)
		snprintf(buf, size, "(other files)");
	else if (!r->path[0])
		snprintf(buf, size, "%u:%u:%llu", major(r->id.dev), minor(r->id.dev),
			 (unsigned long long)r->id.ino);
	else
		snprintf(buf, size, "%s%s%s", r->path_cut ? "…" : "", r->path,
			 r->directory ? "/" : "");
	return buf;
}

static const char *state_of(const struct join_row *r, char *buf, size_t size)
{
	if (r->poison_errno)
		snprintf(buf, size, "poisoned %s", errno_name(r->poison_errno));
	else if (r->stall_ns && r->in_flight_ns > r->stall_ns)
		snprintf(buf, size, "stalled");
	else if (r->kernel && r->kernel->wb_unreported)
		snprintf(buf, size, "unreported %s", errno_name(r->kernel->wb_errno));
	else
		return NULL;
	return buf;
}

static void at_risk_cell(struct cli_table *t, const struct join_row *r)
{
	char buf[2 * SG_UNITS_MAX], size[SG_UNITS_MAX];

	if (r->at_risk_unknown || !r->has_at_risk) {
		cli_table_text(t, r->at_risk_unknown ? "unknown" : "-");
		return;
	}
	sg_units_bytes(size, sizeof(size), r->at_risk_bytes);
	if (!r->has_ledger) {
		cli_table_text(t, size);
		return;
	}
	if (!r->at_risk_records && !r->at_risk_bytes) {
		cli_table_text(t, "0");
		return;
	}
	snprintf(buf, sizeof(buf), "%llu / %s", (unsigned long long)r->at_risk_records, size);
	cli_table_text(t, buf);
}

static void latency_cells(struct cli_table *t, const uint64_t *hist, uint64_t max_ns)
{
	static const uint32_t quantile[] = { SG_P50, SG_P99, 1000000 };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		if (sg_hist_total(hist))
			cli_table_time(t, sg_hist_quantile(hist, quantile[i], max_ns));
		else
			cli_table_none(t);
	}
}

static void known_cell(struct cli_table *t, bool known, uint64_t v)
{
	if (known)
		cli_table_count(t, v);
	else
		cli_table_none(t);
}

static void mode_cell(struct cli_table *t, const struct join_row *r)
{
	char buf[64];

	if (!r->has_mode)
		cli_table_none(t);
	else if (r->mode == r->wanted)
		cli_table_text(t, sg_mode_name(r->mode));
	else {
		snprintf(buf, sizeof(buf), "%s (wants %s)", sg_mode_name(r->mode),
			 sg_mode_name(r->wanted));
		cli_table_bad(t, buf);
	}
}

/* Without a guarded program there is nothing to tell the kernel's syncs from. */
static bool any_guarded(const struct gathered *g)
{
	return g->view && (g->view->n_sessions || g->view->n_brokers);
}

static void sync_cells(struct cli_table *t, const struct join_row *r, const struct gathered *g)
{
	bool own = r->seen & (JOIN_SHIM | JOIN_BROKER), guarded = any_guarded(g);

	if (guarded) {
		known_cell(t, r->seen & JOIN_SHIM, r->shim[SG_C_CALLS]);
		known_cell(t, own, r->shim[SG_C_ISSUED]);
		known_cell(t, own && r->seen & JOIN_BROKER, r->broker[SG_C_ISSUED]);
	}
	if (g->kernel)
		known_cell(t, r->kernel, r->kernel ? r->kernel->syncs : 0);
	if (g->kernel && guarded)
		known_cell(t, r->unseen_known, r->unseen > 0 ? r->unseen : 0);
}

static void sync_columns(struct cli_table *t, const struct gathered *g)
{
	bool guarded = any_guarded(g);

	if (guarded) {
		cli_table_column(t, "CALLS", CLI_RIGHT);
		cli_table_column(t, "SHIM", CLI_RIGHT);
		cli_table_column(t, "BROKER", CLI_RIGHT);
	}
	if (g->kernel)
		cli_table_column(t, "KERNEL", CLI_RIGHT);
	if (g->kernel && guarded)
		cli_table_column(t, "UNSEEN", CLI_RIGHT);
}

static void add_line(struct cli_table *t, const struct join_row *r, const struct gathered *g)
{
	char buf[SG_PATH_BYTES + 64];
	uint64_t max_ns;
	const uint64_t *hist = join_sync_hist(r, &max_ns);
	const char *state;

	cli_table_line(t);
	cli_table_text(t, file_name(r, buf, sizeof(buf)));
	mode_cell(t, r);
	cli_table_count(t, join_appends(r));
	cli_table_bytes(t, join_append_bytes(r));
	sync_cells(t, r, g);
	at_risk_cell(t, r);
	latency_cells(t, hist, max_ns);
	cli_table_count(t, join_stalls(r));
	cli_table_count(t, join_errors(r));
	state = state_of(r, buf, sizeof(buf));
	if (state)
		cli_table_bad(t, state);
	else
		cli_table_text(t, sg_verdict_name(r->verdict));
}

void file_table(FILE *f, const struct gathered *g, const struct file_wanted *w)
{
	static const char *const tail[] = {
		"AT RISK", "SYNC p50", "p99", "max", "STALLS", "ERRORS"
	};
	struct cli_table *t = cli_table_new();
	unsigned int i;

	cli_table_column(t, "FILE", CLI_PATH);
	cli_table_column(t, "MODE", CLI_LEFT);
	cli_table_column(t, "APPENDS", CLI_RIGHT);
	cli_table_column(t, "BYTES", CLI_RIGHT);
	sync_columns(t, g);
	for (i = 0; i < sizeof(tail) / sizeof(tail[0]); i++)
		cli_table_column(t, tail[i], CLI_RIGHT);
	cli_table_column(t, "STATE", CLI_LEFT);
	for (i = 0; i < g->join.n; i++)
		if (file_wanted_is(w, &g->join.rows[i]))
			add_line(t, &g->join.rows[i], g);
	cli_table_print(t, f);
}

/* One file in full: label and value. */
static void pair(const char *label, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void pair(const char *label, const char *fmt, ...)
{
	va_list ap;

	printf("  %-14s ", label);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

#define U(v) ((unsigned long long)(v))

static void detail_shim(const struct join_row *r)
{
	const uint64_t *c = r->shim;
	char size[SG_UNITS_MAX], wait[SG_UNITS_MAX];

	pair("appends", "%llu, %s, %llu failed, %llu refused, %llu waited for room (%s)",
	     U(c[SG_C_APPENDS]), sg_units_bytes(size, sizeof(size), c[SG_C_APPEND_BYTES]),
	     U(c[SG_C_APPEND_ERRORS]), U(c[SG_C_APPENDS_REFUSED]), U(c[SG_C_APPENDS_WAITED]),
	     sg_units_time(wait, sizeof(wait), c[SG_C_APPEND_WAIT_NS]));
	pair("sync calls",
	     "%llu = %llu led + %llu grouped + %llu elided + %llu windowed + %llu poisoned + %llu "
	     "refused",
	     U(c[SG_C_CALLS]), U(c[SG_C_LED]), U(c[SG_C_GROUPED]), U(c[SG_C_ELIDED]),
	     U(c[SG_C_WINDOWED]), U(c[SG_C_POISONED]), U(c[SG_C_REFUSED]));
	pair("issued by shim", "%llu = %llu led + %llu drains + %llu inline", U(c[SG_C_ISSUED]),
	     U(c[SG_C_LED]), U(c[SG_C_DRAINS]), U(c[SG_C_INLINE]));
}

static void detail_kernel(const struct join_row *r)
{
	const struct kernel_file *k = r->kernel;
	int i;

	printf("  %-14s %llu", "kernel syncs", U(k->syncs));
	for (i = 0; i < KERNEL_ROUTES; i++)
		if (k->sync_route[i])
			printf(", %llu by %s", U(k->sync_route[i]), kernel_route_name(i));
	putchar('\n');
	if (r->unseen_known)
		pair("unseen", "%lld = %llu by the kernel - %llu by the shim - %llu by the broker",
		     (long long)r->unseen, U(k->syncs), U(r->shim[SG_C_ISSUED]),
		     U(r->broker[SG_C_ISSUED]));
	else
		pair("unseen", "not known: the observer began after the program");
	if (k->wb_recorded)
		pair("writeback", "%llu errors recorded, last %s, %s", U(k->wb_recorded),
		     errno_name(k->wb_errno),
		     k->wb_unreported ? "reported to nobody yet" : "reported");
}

static void detail_risk(const struct join_row *r)
{
	char size[SG_UNITS_MAX], age[SG_UNITS_MAX];

	if (r->at_risk_unknown)
		pair("at risk", "unknown: written by a route that does not tell how much (mmap, "
				"io_uring, aio)");
	else if (!r->has_ledger)
		pair("at risk", "%s", sg_units_bytes(size, sizeof(size), r->at_risk_bytes));
	else
		pair("at risk", "%llu records, %s, oldest %s", U(r->at_risk_records),
		     sg_units_bytes(size, sizeof(size), r->at_risk_bytes),
		     sg_units_time(age, sizeof(age), r->at_risk_age_ns));
	if (r->has_ledger)
		pair("highest", "%llu records, %s, oldest %s", U(r->peak_records),
		     sg_units_bytes(size, sizeof(size), r->peak_bytes),
		     sg_units_time(age, sizeof(age), r->peak_age_ns));
	if (r->has_ledger && r->max_records)
		pair("bounds", "%llu records, %s, %s", U(r->max_records),
		     sg_units_bytes(size, sizeof(size), r->max_bytes),
		     sg_units_time(age, sizeof(age), r->max_delay_ns));
	if (r->lost_records)
		pair("lost", "%llu records, %s: a sync failed over them", U(r->lost_records),
		     sg_units_bytes(size, sizeof(size), r->lost_bytes));
}

static void detail_latency(const char *label, const uint64_t *hist, uint64_t max_ns)
{
	char a[SG_UNITS_MAX], b[SG_UNITS_MAX], c[SG_UNITS_MAX];

	if (sg_hist_total(hist))
		pair(label, "p50 %s, p99 %s, max %s (%llu)",
		     sg_units_time(a, sizeof(a), sg_hist_quantile(hist, SG_P50, max_ns)),
		     sg_units_time(b, sizeof(b), sg_hist_quantile(hist, SG_P99, max_ns)),
		     sg_units_time(c, sizeof(c), sg_hist_quantile(hist, 1000000, max_ns)),
		     U(sg_hist_total(hist)));
}

static void detail_mode(const struct join_row *r)
{
	char why[160];

	join_why(r, why, sizeof(why));
	if (!r->has_mode)
		pair("mode", "not guarded");
	else if (r->mode == r->wanted)
		pair("mode", "%s%s%s%s", sg_mode_name(r->mode), *why ? " (" : "", why,
		     *why ? ")" : "");
	else
		pair("mode", "%s; the policy asks for %s (%s)", sg_mode_name(r->mode),
		     sg_mode_name(r->wanted), *why ? why : "not in force yet");
}

static void detail(const struct join_row *r)
{
	char buf[SG_PATH_BYTES + 64], clean[4 * SG_PATH_BYTES], when[40];
	uint64_t max_ns;
	const uint64_t *hist;

	printf("%s\n", cli_clean(clean, sizeof(clean), file_name(r, buf, sizeof(buf))));
	pair("identity", "device %u:%u, inode %llu, generation %u", major(r->id.dev),
	     minor(r->id.dev), U(r->id.ino), r->id.gen);
	detail_mode(r);
	pair("syncs are", "%s", sg_verdict_name(r->verdict));
	if (r->seen & JOIN_SHIM)
		detail_shim(r);
	else
		pair("writes", "%llu, %s", U(join_appends(r)),
		     sg_units_bytes(when, sizeof(when), join_append_bytes(r)));
	if (r->seen & JOIN_BROKER)
		pair("issued by broker", "%llu", U(r->broker[SG_C_ISSUED]));
	if (r->kernel)
		detail_kernel(r);
	detail_risk(r);
	hist = join_write_hist(r, &max_ns);
	detail_latency("write", hist, max_ns);
	hist = join_sync_hist(r, &max_ns);
	detail_latency("sync", hist, max_ns);
	detail_latency("sync call", r->call_hist, r->shim[SG_C_CALL_MAX_NS]);
	if (r->in_flight_ns)
		pair("in flight", "oldest %s (%s, pid %u)",
		     sg_units_time(when, sizeof(when), r->in_flight_ns),
		     r->in_flight_op == UINT32_MAX ? "seen by the kernel"
						   : sg_op_name(r->in_flight_op),
		     r->in_flight_pid);
	pair("stalls", "%llu", U(join_stalls(r)));
	pair("errors", "%llu", U(join_errors(r)));
	if (r->poison_errno)
		pair("poisoned", "%s at %s, in %s of pid %u", errno_name(r->poison_errno),
		     cli_when(when, sizeof(when), r->poison_wall_ns), sg_op_name(r->poison_op),
		     r->poison_pid);
}

/* --- commands --- */

static int bad_name(const char *word)
{
	char clean[512];

	return cli_fail(CLI_IO, "Give a path, DEVICE:INODE or MAJOR:MINOR:INODE.", "%s: %s",
			cli_clean(clean, sizeof(clean), word), strerror(ENOENT));
}

static int show(const struct gathered *g, const struct file_wanted *w)
{
	unsigned int i;

	if (cli.json)
		return cli_json(file_list_json(g, w, false));
	if (!g->join.n)
		printf("No file was written or synced by a guarded program%s.\n",
		       g->kernel ? " or any other" : "");
	else if (!w->word)
		file_table(stdout, g, w);
	for (i = 0; w->word && i < g->join.n; i++)
		if (file_wanted_is(w, &g->join.rows[i]))
			detail(&g->join.rows[i]);
	gather_note(g, stderr, false);
	return CLI_OK;
}

static int do_show(const struct cli_args *a)
{
	struct file_wanted w;
	struct gathered g;
	int rc;

	if (!file_wanted_parse(&w, a->argc ? a->argv[0] : NULL))
		return bad_name(a->argv[0]);
	rc = gather(cli_opt(a, "socket-dir"), false, &g);
	if (!rc)
		rc = w.word && !file_wanted_any(&w, &g.join) ? gather_nothing(&g, w.word)
							     : show(&g, &w);
	gather_free(&g);
	return rc;
}

static void latency_print(const struct join_row *r)
{
	char buf[SG_PATH_BYTES + 64], clean[4 * SG_PATH_BYTES];
	uint64_t max_ns;
	const uint64_t *hist;

	printf("%s\n\n", cli_clean(clean, sizeof(clean), file_name(r, buf, sizeof(buf))));
	hist = join_write_hist(r, &max_ns);
	cli_hist_print(stdout, "Writes", hist, max_ns);
	hist = join_sync_hist(r, &max_ns);
	cli_hist_print(stdout, "\nSyncs in the kernel", hist, max_ns);
	if (r->seen & JOIN_SHIM)
		cli_hist_print(stdout, "\nSync calls, as the program saw them", r->call_hist,
			       r->shim[SG_C_CALL_MAX_NS]);
}

static int do_latency(const struct cli_args *a)
{
	struct file_wanted w;
	struct gathered g;
	unsigned int i;
	int rc;

	if (!file_wanted_parse(&w, a->argv[0]))
		return bad_name(a->argv[0]);
	rc = gather(cli_opt(a, "socket-dir"), false, &g);
	if (!rc && !file_wanted_any(&w, &g.join))
		rc = gather_nothing(&g, w.word);
	else if (!rc && cli.json)
		rc = cli_json(file_list_json(&g, &w, true));
	else if (!rc)
		for (i = 0; i < g.join.n; i++)
			if (file_wanted_is(&w, &g.join.rows[i]))
				latency_print(&g.join.rows[i]);
	gather_free(&g);
	return rc;
}

static int do_top(const struct cli_args *a)
{
	uint64_t interval_ns;
	int rc = cli_opt_time(a, "interval", SG_NSEC_PER_SEC, &interval_ns);

	return rc ? rc : file_top(cli_opt(a, "socket-dir"), interval_ns);
}

static int do_events(const struct cli_args *a)
{
	return events_command(a, cli_opt(a, "all") ? EVENTS_ALL : EVENTS_OF_FILES);
}

static const struct cli_option options[] = { CLI_SOCKET_DIR, { NULL, NULL, NULL, NULL } };
static const struct cli_option top_options[] = {
	{ "interval", "TIME", "between two looks (1s)", NULL },
	CLI_SOCKET_DIR,
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option events_options[] = {
	{ "all", NULL, "also sessions that begin and end", NULL },
	{ "follow", NULL, "go on with new events until interrupted", NULL },
	CLI_SOCKET_DIR,
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command commands[] = {
	{ .name = "show",
	  .args = "[PATH | DEV:INO]",
	  .help = "one line per file, or all that is known of one",
	  .options = options,
	  .complete = "file",
	  .max_args = 1,
	  .is_default = true,
	  .run = do_show },
	{ .name = "latency",
	  .args = "PATH | DEV:INO",
	  .help = "draw the latencies of a file's writes and syncs",
	  .options = options,
	  .complete = "file",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_latency },
	{ .name = "top",
	  .help = "the busiest files, live; on no terminal, once",
	  .options = top_options,
	  .run = do_top },
	{ .name = "events",
	  .args = "[PATH]",
	  .help = "stalls, errors, poison, changes of mode",
	  .options = events_options,
	  .complete = "file",
	  .max_args = 1,
	  .run = do_events },
	{ .run = NULL },
};
const struct cli_object cli_file = {
	"file", "files that are written: their syncs, latencies and what is at risk", commands
};
