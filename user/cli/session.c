// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard session list | show */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"
#include "cli/gather.h"
#include "guard/units.h"

static const char *status_name(uint32_t status)
{
	static const char *const names[] = { "ok", "degraded", "critical" };

	return status < 3 ? names[status] : "unknown";
}

static uint32_t status_of(const struct sg_view_session *s)
{
	return atomic_load_explicit(&s->mem->status, memory_order_relaxed);
}

static unsigned int count_files(const struct sg_session *mem)
{
	struct sg_session_file *f = malloc(sizeof(*f));
	unsigned int i, n = 0;

	for (i = 0; f && i < SG_FILES; i++)
		n += !sg_session_read_file(mem, i, f);
	free(f);
	return n;
}

static const char *comm_of(const struct sg_session *mem, char buf[64])
{
	char comm[sizeof(mem->comm) + 1];

	memcpy(comm, mem->comm, sizeof(mem->comm));
	comm[sizeof(mem->comm)] = 0;
	return cli_clean(buf, 64, comm);
}

static json_t *session_json(const struct sg_view_session *s)
{
	char comm[64], when[40];

	return json_pack("{sI sI ss sb ss ss sI si so so so}", "pid", (json_int_t)s->pid, "uid",
			 (json_int_t)s->uid, "comm", comm_of(s->mem, comm), "ended", s->ended,
			 "status", status_name(status_of(s)), "started",
			 cli_when(when, sizeof(when), s->mem->started_wall_ns), "broker",
			 (json_int_t)s->broker_pid, "files", (int)count_files(s->mem),
			 "nested_calls", cli_json_known(true, atomic_load(&s->mem->nested)),
			 "untracked_calls", cli_json_known(true, atomic_load(&s->mem->untracked)),
			 "events", cli_json_known(true, atomic_load(&s->mem->events_next)));
}

static void session_line(struct cli_table *t, const struct sg_view_session *s)
{
	char comm[64], when[40];

	cli_table_line(t);
	cli_table_count(t, s->pid);
	cli_table_text(t, comm_of(s->mem, comm));
	cli_table_count(t, s->uid);
	cli_table_text(t, s->ended ? "ended" : "running");
	if (status_of(s) == SG_STATUS_OK)
		cli_table_text(t, status_name(status_of(s)));
	else
		cli_table_bad(t, status_name(status_of(s)));
	cli_table_count(t, count_files(s->mem));
	cli_table_text(t, cli_when(when, sizeof(when), s->mem->started_wall_ns));
	cli_table_count(t, s->broker_pid);
}

static int do_list(const struct cli_args *a)
{
	json_t *list = json_array();
	struct cli_table *t;
	struct gathered g;
	uint32_t i;
	int rc = gather(cli_opt(a, "socket-dir"), true, &g);

	t = cli_table_new();
	cli_table_column(t, "PID", CLI_RIGHT);
	cli_table_column(t, "PROGRAM", CLI_LEFT);
	cli_table_column(t, "UID", CLI_RIGHT);
	cli_table_column(t, "STATE", CLI_LEFT);
	cli_table_column(t, "STATUS", CLI_LEFT);
	cli_table_column(t, "FILES", CLI_RIGHT);
	cli_table_column(t, "STARTED", CLI_LEFT);
	cli_table_column(t, "BROKER", CLI_RIGHT);
	for (i = 0; !rc && g.view && i < g.view->n_sessions; i++) {
		if (g.view->sessions[i].ended && !cli_opt(a, "all") &&
		    !count_files(g.view->sessions[i].mem))
			continue;
		json_array_append_new(list, session_json(&g.view->sessions[i]));
		session_line(t, &g.view->sessions[i]);
	}
	if (!rc && cli.json)
		rc = cli_json(
			json_pack("{so sO}", "sources", gather_sources_json(&g), "sessions", list));
	else if (!rc && !json_array_size(list))
		puts("No guarded process runs under a broker.");
	else if (!rc) {
		cli_table_print(t, stdout);
		t = NULL;
	}
	if (t)
		cli_table_free(t);
	json_decref(list);
	gather_free(&g);
	return rc;
}

/* The files of one process only: a model of their own, from its session and its broker's ledgers. */
static int show_one(struct gathered *g, const struct sg_view_session *s)
{
	const struct file_wanted all = { .word = NULL };
	struct gathered one = { .view = NULL };
	json_t *doc;
	int rc = CLI_OK;

	join_init(&one.join, cli_now_ns());
	join_add_session(&one.join, s->mem, s->ended);
	join_add_ledgers_of(&one.join, s->broker, s->registry);
	if (join_finish(&one.join))
		return cli_fail(CLI_IO, NULL, "out of memory");
	if (cli.json) {
		doc = file_list_json(&one, &all, false);
		json_object_del(doc, "sources");
		json_object_set_new(doc, "session", session_json(s));
		rc = cli_json(doc);
	} else {
		char comm[64], when[40];

		printf("%s, pid %u, uid %u: %s, %s since %s, broker %u\n", comm_of(s->mem, comm),
		       s->pid, s->uid, status_name(status_of(s)),
		       s->ended ? "ended, guarded" : "guarded",
		       cli_when(when, sizeof(when), s->mem->started_wall_ns), s->broker_pid);
		printf("  calls from signal handlers %llu, calls not tracked %llu\n",
		       (unsigned long long)atomic_load(&s->mem->nested),
		       (unsigned long long)atomic_load(&s->mem->untracked));
		file_table(stdout, &one, &all);
	}
	join_free(&one.join);
	return rc;
}

static int do_show(const struct cli_args *a)
{
	const struct sg_view_session *s = NULL;
	struct gathered g;
	uint64_t pid;
	uint32_t i;
	int rc;

	if (sg_units_parse_count(a->argv[0], strlen(a->argv[0]), &pid))
		return cli_fail(CLI_USAGE, "See: spoolguard session list",
				"spoolguard session show: that is no pid");
	rc = gather(cli_opt(a, "socket-dir"), true, &g);
	/* The newest: an exec makes another session of the same pid. */
	for (i = 0; !rc && g.view && i < g.view->n_sessions; i++)
		if (g.view->sessions[i].pid == pid &&
		    (!s || s->mem->started_ns <= g.view->sessions[i].mem->started_ns))
			s = &g.view->sessions[i];
	if (!rc && !s)
		rc = cli_fail(CLI_IO, "See: spoolguard session list",
			      "%llu: no guarded process with this pid", (unsigned long long)pid);
	else if (!rc)
		rc = show_one(&g, s);
	gather_free(&g);
	return rc;
}

static const struct cli_option list_options[] = {
	{ "all", NULL, "also ended ones that had no file of note", NULL },
	CLI_SOCKET_DIR,
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option options[] = { CLI_SOCKET_DIR, { NULL, NULL, NULL, NULL } };
static const struct cli_command commands[] = {
	{ .name = "list",
	  .help = "guarded processes, also ended ones that a broker remembers",
	  .options = list_options,
	  .is_default = true,
	  .run = do_list },
	{ .name = "show",
	  .args = "PID",
	  .help = "the files of one guarded process",
	  .options = options,
	  .complete = "session",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_show },
	{ .run = NULL },
};
const struct cli_object cli_session = { "session", "guarded processes", commands };
