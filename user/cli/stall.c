// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard stall list | watch */
#include <stdlib.h>
#include <string.h>

#include "cli/events.h"
#include "guard/units.h"

/* One line of the list: an operation that passed its threshold, finished or not. */
struct stall {
	uint64_t began_wall_ns, age_ns, bytes, threshold_ns;
	const char *path, *op;
	uint32_t pid, tid;
	bool over, by_kernel;
};

struct stalls {
	struct stall *list;
	unsigned int n;
};

static void add(struct stalls *s, struct stall one)
{
	struct stall *more = reallocarray(s->list, s->n + 1, sizeof(*more));

	if (!more)
		return;
	s->list = more;
	more[s->n++] = one;
}

static bool same(const struct sg_event *begun, const struct sg_event *cleared)
{
	return cleared->kind == SG_EV_STALL_CLEARED && cleared->start_ns == begun->start_ns &&
	       cleared->pid == begun->pid && cleared->tid == begun->tid;
}

static void add_past(struct stalls *s, const struct events *e)
{
	unsigned int i;

	for (i = 0; i < e->n; i++) {
		const struct sg_event *ev = &e->list[i];

		if (ev->kind != SG_EV_STALL_CLEARED)
			continue;
		add(s, (struct stall){ .began_wall_ns = ev->wall_ns - ev->age_ns,
				       .age_ns = ev->age_ns,
				       .bytes = ev->bytes,
				       .path = ev->path,
				       .op = sg_op_name(ev->op),
				       .pid = ev->pid,
				       .tid = ev->tid,
				       .over = true });
	}
}

/* A begun event without its cleared one, of an operation that is gone: its process died in it. */
static void add_lost(struct stalls *s, const struct events *e, const struct join *j)
{
	unsigned int i, k;

	for (i = 0; i < e->n; i++) {
		const struct sg_event *ev = &e->list[i];
		bool found = false;

		if (ev->kind != SG_EV_STALL_BEGUN)
			continue;
		for (k = i; k < e->n && !found; k++)
			found = same(ev, &e->list[k]);
		for (k = 0; k < j->n_flights && !found; k++)
			found = j->flights[k].pid == ev->pid && j->flights[k].tid == ev->tid;
		if (!found)
			add(s, (struct stall){ .began_wall_ns = ev->wall_ns - ev->age_ns,
					       .age_ns = ev->age_ns,
					       .bytes = ev->bytes,
					       .path = ev->path,
					       .op = sg_op_name(ev->op),
					       .pid = ev->pid,
					       .tid = ev->tid,
					       .over = true });
	}
}

static void add_flights(struct stalls *s, const struct join *j)
{
	uint64_t wall = cli_wall_ns();
	unsigned int i;

	for (i = 0; i < j->n_flights; i++) {
		const struct join_flight *f = &j->flights[i];
		uint64_t threshold = f->stall_ns ? f->stall_ns : SG_NSEC_PER_SEC;

		if (f->age_ns >= threshold)
			add(s, (struct stall){ .began_wall_ns = wall - f->age_ns,
					       .age_ns = f->age_ns,
					       .bytes = f->bytes,
					       .threshold_ns = threshold,
					       .path = f->path,
					       .op = sg_op_name(f->op),
					       .pid = f->pid,
					       .tid = f->tid });
	}
}

/* What the kernel has in flight and no session told of: programs that are not guarded. */
static void add_kernel(struct stalls *s, const struct gathered *g)
{
	const struct kernel_view *k = g->kernel;
	uint64_t wall = cli_wall_ns();
	unsigned int i, r, f;

	for (i = 0; k && i < k->n_inflight; i++) {
		const struct kernel_inflight *e = &k->inflight[i];
		uint64_t age = k->now_ns > e->start_ns ? k->now_ns - e->start_ns : 0,
			 threshold = SG_NSEC_PER_SEC;
		const char *path = "";
		bool told = false;

		for (r = 0; r < g->join.n; r++) {
			const struct join_row *row = &g->join.rows[r];

			if (row->id.dev != e->dev || row->id.ino != e->ino || row->id.gen != e->gen)
				continue;
			path = row->path;
			threshold = row->stall_ns ? row->stall_ns : threshold;
		}
		for (f = 0; f < g->join.n_flights && !told; f++)
			told = g->join.flights[f].pid == e->pid && g->join.flights[f].tid == e->tid;
		if (!told && age >= threshold)
			add(s, (struct stall){ .began_wall_ns = wall - age,
					       .age_ns = age,
					       .bytes = e->bytes,
					       .threshold_ns = threshold,
					       .path = path,
					       .op = kernel_op_name(e->op),
					       .pid = e->pid,
					       .tid = e->tid,
					       .by_kernel = true });
	}
}

static int oldest_first(const void *pa, const void *pb)
{
	const struct stall *a = pa, *b = pb;

	return (a->began_wall_ns > b->began_wall_ns) - (a->began_wall_ns < b->began_wall_ns);
}

static json_t *stall_json(const struct stall *s)
{
	char when[40];

	return json_pack("{ss sb so so ss so so so ss}", "began",
			 cli_when(when, sizeof(when), s->began_wall_ns), "in_flight", !s->over,
			 "age_ns", cli_json_known(true, s->age_ns), "path",
			 *s->path ? cli_json_str(s->path) : json_null(), "operation", s->op, "pid",
			 cli_json_known(true, s->pid), "tid", cli_json_known(true, s->tid), "bytes",
			 cli_json_known(true, s->bytes), "seen_by",
			 s->by_kernel ? "kernel" : "shim");
}

static int print_json(const struct stalls *s, const struct gathered *g)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < s->n; i++)
		json_array_append_new(list, stall_json(&s->list[i]));
	return cli_json(json_pack("{so so}", "sources", gather_sources_json(g), "stalls", list));
}

static void print_table(const struct stalls *s)
{
	struct cli_table *t;
	unsigned int i;
	char when[40];

	if (!s->n) {
		puts("No stalls.");
		return;
	}
	t = cli_table_new();
	cli_table_column(t, "BEGAN", CLI_LEFT);
	cli_table_column(t, "LASTED", CLI_RIGHT);
	cli_table_column(t, "STATE", CLI_LEFT);
	cli_table_column(t, "OPERATION", CLI_LEFT);
	cli_table_column(t, "BYTES", CLI_RIGHT);
	cli_table_column(t, "PID", CLI_RIGHT);
	cli_table_column(t, "FILE", CLI_PATH);
	for (i = 0; i < s->n; i++) {
		const struct stall *one = &s->list[i];

		cli_table_line(t);
		cli_table_text(t, cli_when(when, sizeof(when), one->began_wall_ns));
		cli_table_time(t, one->age_ns);
		if (one->over)
			cli_table_text(t, "over");
		else
			cli_table_bad(t, "in flight");
		cli_table_text(t, one->op);
		cli_table_bytes(t, one->bytes);
		cli_table_count(t, one->pid);
		cli_table_text(t, *one->path ? one->path : "?");
	}
	cli_table_print(t, stdout);
}

static int do_list(const struct cli_args *a)
{
	struct stalls s = { 0 };
	struct events e = { 0 };
	struct gathered g;
	int rc = gather(cli_opt(a, "socket-dir"), false, &g);

	if (!rc && events_read(&e, g.view, EVENTS_STALLS))
		rc = cli_fail(CLI_IO, NULL, "out of memory");
	if (!rc) {
		add_past(&s, &e);
		add_lost(&s, &e, &g.join);
		add_flights(&s, &g.join);
		add_kernel(&s, &g);
		if (s.n)
			qsort(s.list, s.n, sizeof(*s.list), oldest_first);
		if (cli.json)
			rc = print_json(&s, &g);
		else
			print_table(&s);
	}
	free(s.list);
	events_free(&e);
	gather_free(&g);
	return rc;
}

static int do_watch(const struct cli_args *a)
{
	return events_command(a, EVENTS_STALLS);
}

static const struct cli_option options[] = { CLI_SOCKET_DIR, { NULL, NULL, NULL, NULL } };
static const struct cli_command commands[] = {
	{ .name = "list",
	  .help = "syncs and writes that passed their threshold, those in flight too",
	  .options = options,
	  .is_default = true,
	  .run = do_list },
	{ .name = "watch",
	  .args = "[PATH]",
	  .help = "print stalls as they begin and clear, until interrupted",
	  .options = options,
	  .complete = "file",
	  .max_args = 1,
	  .run = do_watch },
	{ .run = NULL },
};
const struct cli_object cli_stall = { "stall", "syncs and writes that took, or take, too long",
				      commands };
