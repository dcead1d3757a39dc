// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/gather.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_sessions(struct gathered *g)
{
	uint32_t i;

	for (i = 0; g->view && i < g->view->n_sessions; i++)
		join_add_session(&g->join, g->view->sessions[i].mem, g->view->sessions[i].ended);
	for (i = 0; g->view && i < g->view->n_brokers; i++)
		join_add_broker(&g->join, g->view->brokers[i].mem, g->view->brokers[i].registry);
}

int gather_from(struct gathered *g, struct sg_view *view, struct kernel_view *kernel)
{
	g->view = view;
	g->kernel = kernel;
	join_init(&g->join, cli_now_ns());
	add_sessions(g);
	join_add_kernel(&g->join, kernel);
	if (join_finish(&g->join))
		return cli_fail(CLI_IO, NULL, "out of memory");
	return CLI_OK;
}

/* Take over what `from` holds. sg_view_free frees whatever is in the lists. */
static void merge(struct sg_view *to, struct sg_view *from)
{
	struct sg_view_session *s;
	struct sg_view_broker *b;

	s = reallocarray(to->sessions, to->n_sessions + from->n_sessions + 1, sizeof(*s));
	to->sessions = s ? s : to->sessions;
	b = reallocarray(to->brokers, to->n_brokers + from->n_brokers + 1, sizeof(*b));
	to->brokers = b ? b : to->brokers;
	to->unreachable += from->unreachable;
	if (!s || !b) {
		sg_view_free(from);
		return;
	}
	memcpy(s + to->n_sessions, from->sessions, from->n_sessions * sizeof(*s));
	memcpy(b + to->n_brokers, from->brokers, from->n_brokers * sizeof(*b));
	to->n_sessions += from->n_sessions;
	to->n_brokers += from->n_brokers;
	from->n_sessions = from->n_brokers = 0;
	sg_view_free(from);
}

/* Root also sees the services that `spoolguard enable` gave a directory of their own. */
static void add_services(struct sg_view **view, int *error)
{
	struct sg_view *more;
	glob_t found;
	size_t i;

	if (geteuid() || getenv("SPOOLGUARD_RUNTIME_DIR") ||
	    glob("/run/spoolguard-*", GLOB_ONLYDIR, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++) {
		if (sg_view_open(found.gl_pathv[i], &more))
			continue;
		if (*view)
			merge(*view, more);
		else
			*view = more;
		*error = 0;
	}
	globfree(&found);
}

int gather(const char *socket_dir, bool sessions_only, struct gathered *g)
{
	struct kernel_view *kernel = NULL;
	struct sg_view *view = NULL;

	memset(g, 0, sizeof(*g));
	if (socket_dir)
		snprintf(g->dir, sizeof(g->dir), "%s", socket_dir);
	else if (sg_broker_dir(g->dir, sizeof(g->dir)))
		return cli_fail(CLI_IO, "Name a shorter one with --socket-dir.",
				"the session directory's path is too long");
	g->view_error = sg_view_open(g->dir, &view);
	if (g->view_error)
		view = NULL;
	if (!socket_dir)
		add_services(&view, &g->view_error);
	g->kernel_error = sessions_only ? -ENOENT : kernel_open(&kernel);
	if (g->kernel_error)
		kernel = NULL;
	/* A directory that was asked for by name has to be there; the usual one need not. */
	if (g->view_error && (socket_dir || (g->view_error != -ENOENT && !kernel))) {
		if (kernel)
			kernel_free(kernel);
		return cli_fail(cli_exit_of(g->view_error),
				"Sessions can be read by the user who runs them and by root.",
				"%s: %s", g->dir, strerror(-g->view_error));
	}
	return gather_from(g, view, kernel);
}

void gather_free(struct gathered *g)
{
	join_free(&g->join);
	if (g->view)
		sg_view_free(g->view);
	if (g->kernel)
		kernel_free(g->kernel);
	memset(g, 0, sizeof(*g));
}

/* The next sentence of what a tier cannot see; NULL at the end. */
static const char *sentence(const char **at, int *len)
{
	const char *s = *at;

	if (!*s)
		return NULL;
	*len = strcspn(s, "\n");
	*at = s + *len + (s[*len] == '\n');
	return s;
}

static json_t *observer_json(const struct kernel_view *k)
{
	json_t *drops = json_object(), *blind = json_array();
	const char *at = k->blind, *one;
	unsigned int i;
	int len;

	while ((one = sentence(&at, &len)))
		json_array_append_new(blind, json_stringn(one, len));

	for (i = 0; i < k->n_drops; i++)
		json_object_set_new(drops, k->drops[i].what,
				    cli_json_known(true, k->drops[i].count));
	return json_pack("{so sI sI so so}", "tier", cli_json_str(k->tier), "pid",
			 (json_int_t)k->owner_pid, "running_ns",
			 (json_int_t)(k->now_ns > k->started_ns ? k->now_ns - k->started_ns : 0),
			 "cannot_see", blind, "drops", drops);
}

json_t *gather_sources_json(const struct gathered *g)
{
	json_t *brokers = json_array();
	uint32_t i;

	for (i = 0; g->view && i < g->view->n_brokers; i++)
		if (g->view->brokers[i].mem)
			json_array_append_new(brokers, json_integer(g->view->brokers[i].pid));
	return json_pack("{so so si si}", "observer",
			 g->kernel ? observer_json(g->kernel) : json_null(), "brokers", brokers,
			 "sessions", g->view ? (int)g->view->n_sessions : 0, "unreachable",
			 g->view ? (int)g->view->unreachable : 0);
}

static void note_blind(const struct kernel_view *k, FILE *f)
{
	const char *at = k->blind, *s;
	int len;

	fprintf(f, "Observer: tier %s. It does not see all:\n", k->tier);
	while ((s = sentence(&at, &len)))
		fprintf(f, "  %.*s\n", len, s);
}

void gather_note(const struct gathered *g, FILE *f, bool full)
{
	unsigned int i;

	if (!g->kernel && g->kernel_error == -ENOENT)
		fputs("No observer runs: what the kernel did, and syncs that passed the shim by, "
		      "are not shown.\n",
		      f);
	else if (!g->kernel && g->kernel_error)
		fprintf(f,
			"The observer cannot be read (%s): only root sees what the kernel did.\n",
			strerror(-g->kernel_error));
	else if (g->kernel && *g->kernel->blind && full)
		note_blind(g->kernel, f);
	else if (g->kernel)
		fprintf(f, "Observer: tier %s; spoolguard feature tells what it cannot see.\n",
			g->kernel->tier);
	for (i = 0; g->kernel && i < g->kernel->n_drops; i++)
		fprintf(f, "Observer dropped: %s, %llu times.\n", g->kernel->drops[i].what,
			(unsigned long long)g->kernel->drops[i].count);
	if (g->view && g->view->unreachable)
		fprintf(f, "%u broker socket%s in %s did not answer.\n", g->view->unreachable,
			g->view->unreachable == 1 ? "" : "s", g->dir);
}

int gather_nothing(const struct gathered *g, const char *what)
{
	char clean[1024];

	return cli_fail(CLI_IO,
			g->kernel ? "It shows once a guarded program appends to it, or anybody "
				    "writes or syncs it."
				  : "It shows once a guarded program appends to it; start an "
				    "observer to see all others.",
			"%s: no session and no observer knows it",
			cli_clean(clean, sizeof(clean), what));
}
