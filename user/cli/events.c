// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/events.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/file.h"
#include "guard/units.h"

/* How often the rings are looked at, and how often it is asked whether there are new sessions. */
#define LOOK_NS	  (250 * SG_NSEC_PER_MSEC)
#define ASK_EVERY 8

/* --- reading --- */

static struct events_cursor *cursor(struct events *e, const struct sg_session *mem)
{
	struct events_cursor *more;
	unsigned int i;

	for (i = 0; i < e->n_cursors; i++)
		if (e->cursors[i].nonce == mem->nonce && e->cursors[i].pid == mem->pid)
			return &e->cursors[i];
	more = reallocarray(e->cursors, e->n_cursors + 1, sizeof(*more));
	if (!more)
		return NULL;
	e->cursors = more;
	more[e->n_cursors] = (struct events_cursor){ .pid = mem->pid, .nonce = mem->nonce };
	return &more[e->n_cursors++];
}

static bool is_of_session(const struct sg_event *ev)
{
	return ev->kind == SG_EV_SESSION_BEGUN || ev->kind == SG_EV_SESSION_ENDED;
}

static bool is_stall(const struct sg_event *ev)
{
	return ev->kind == SG_EV_STALL_BEGUN || ev->kind == SG_EV_STALL_CLEARED;
}

static int keep(struct events *e, const struct sg_event *ev)
{
	struct sg_event *more;

	if (e->n == e->room) {
		more = reallocarray(e->list, e->room ? 2 * e->room : 64, sizeof(*more));
		if (!more)
			return -ENOMEM;
		e->room = e->room ? 2 * e->room : 64;
		e->list = more;
	}
	e->list[e->n++] = *ev;
	return 0;
}

/* At most one ring's worth at a time: a writer that never stops must not keep us here. */
static int read_ring(struct events *e, const struct sg_session *mem, enum events_which which)
{
	struct events_cursor *c = cursor(e, mem);
	struct sg_event ev;
	unsigned int i;

	if (!c)
		return -ENOMEM;
	for (i = 0; i < SG_EVENTS && sg_session_read_event(mem, &c->seq, &ev, &e->dropped) == 1;
	     i++)
		if ((which == EVENTS_STALLS ? is_stall(&ev)
					    : which == EVENTS_ALL || !is_of_session(&ev)) &&
		    keep(e, &ev))
			return -ENOMEM;
	return 0;
}

static int by_time(const void *pa, const void *pb)
{
	const struct sg_event *a = pa, *b = pb;

	return a->ns == b->ns ? (a->seq > b->seq) - (a->seq < b->seq) : a->ns < b->ns ? -1 : 1;
}

int events_read(struct events *e, const struct sg_view *view, enum events_which which)
{
	uint32_t i;
	int err = 0;

	e->n = 0;
	for (i = 0; !err && view && i < view->n_brokers; i++)
		if (view->brokers[i].mem)
			err = read_ring(e, view->brokers[i].mem, which);
	for (i = 0; !err && view && i < view->n_sessions; i++)
		err = read_ring(e, view->sessions[i].mem, which);
	if (e->n)
		qsort(e->list, e->n, sizeof(*e->list), by_time);
	return err;
}

void events_free(struct events *e)
{
	free(e->list);
	free(e->cursors);
	memset(e, 0, sizeof(*e));
}

/* --- showing --- */

static const char *errno_name(uint32_t e)
{
	const char *name = e < 4096 ? strerrorname_np(e) : NULL;

	return name ? name : "unknown";
}

json_t *event_json(const struct sg_event *ev)
{
	char when[40];
	bool stall = is_stall(ev);

	return json_pack("{ss so ss so so so so so so so}", "when",
			 cli_when(when, sizeof(when), ev->wall_ns), "ns",
			 cli_json_known(true, ev->ns), "event", sg_event_name(ev->kind), "pid",
			 cli_json_known(ev->pid, ev->pid), "tid", cli_json_known(ev->tid, ev->tid),
			 "path", ev->path[0] ? cli_json_str(ev->path) : json_null(), "operation",
			 stall ? json_string(sg_op_name(ev->op)) : json_null(), "age_ns",
			 cli_json_known(stall, ev->age_ns), "bytes",
			 cli_json_known(stall, ev->bytes), "errno",
			 ev->error ? json_string(errno_name(ev->error)) : json_null());
}

void event_print(const struct sg_event *ev)
{
	char when[40], age[SG_UNITS_MAX], path[4 * SG_PATH_BYTES];

	printf("%s  %-20s", cli_when(when, sizeof(when), ev->wall_ns), sg_event_name(ev->kind));
	if (ev->path[0])
		printf(" %s", cli_clean(path, sizeof(path), ev->path));
	if (is_stall(ev))
		printf(" %s for %s", sg_op_name(ev->op),
		       sg_units_time(age, sizeof(age), ev->age_ns));
	if (ev->error)
		printf(" %s", errno_name(ev->error));
	if (ev->pid)
		printf(" pid %u", ev->pid);
	putchar('\n');
}

/* --- the commands --- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

static bool is_wanted(const struct sg_event *ev, const struct file_wanted *w)
{
	return !w->word || !strcmp(ev->path, w->path) || !strcmp(ev->path, w->word);
}

static int list_json(const struct events *e, const struct file_wanted *w)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < e->n; i++)
		if (is_wanted(&e->list[i], w))
			json_array_append_new(list, event_json(&e->list[i]));
	return cli_json(
		json_pack("{so so}", "events", list, "dropped", cli_json_known(true, e->dropped)));
}

static int each(const struct events *e, const struct file_wanted *w, bool line)
{
	unsigned int i;

	for (i = 0; i < e->n; i++) {
		if (!is_wanted(&e->list[i], w))
			continue;
		if (line && cli_json_line(stdout, event_json(&e->list[i])))
			return CLI_IO;
		if (!line)
			event_print(&e->list[i]);
	}
	return fflush(stdout) ? CLI_IO : CLI_OK;
}

/* The rings are read at a fixed rate and never waited for, so that a watcher costs the watched nothing. */
static int follow(struct gathered *g, const char *dir, struct events *e,
		  const struct file_wanted *w, enum events_which which)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	const struct sigaction sa = { .sa_handler = on_signal };
	unsigned int n;
	int rc = CLI_OK;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	for (n = 1; !rc && !interrupted; n++) {
		if (events_read(e, g->view, which))
			return cli_fail(CLI_IO, NULL, "out of memory");
		rc = each(e, w, cli.json);
		if (rc || interrupted)
			break;
		nanosleep(&look, NULL);
		if (n % ASK_EVERY == 0) {
			gather_free(g);
			rc = gather(dir, true, g);
		}
	}
	return rc;
}

int events_command(const struct cli_args *a, enum events_which which)
{
	const char *dir = cli_opt(a, "socket-dir");
	struct file_wanted w;
	struct events e = { 0 };
	struct gathered g;
	int rc;

	file_wanted_parse(&w, a->argc ? a->argv[0] : NULL);
	rc = gather(dir, true, &g);
	if (!rc && (which == EVENTS_STALLS || cli_opt(a, "follow")))
		rc = follow(&g, dir, &e, &w, which);
	else if (!rc && events_read(&e, g.view, which))
		rc = cli_fail(CLI_IO, NULL, "out of memory");
	else if (!rc)
		rc = cli.json ? list_json(&e, &w) : each(&e, &w, false);
	if (!rc && e.dropped && !cli.json)
		cli_warn("%llu events were overwritten before they were read",
			 (unsigned long long)e.dropped);
	events_free(&e);
	gather_free(&g);
	return rc;
}
