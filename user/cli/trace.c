// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* A recorded trace of one file, line by line; no I/O. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/simulate.h"
#include "guard/units.h"

struct event {
	uint64_t ns, bytes, took_ns;
	bool append;
};

struct parser {
	struct sim_trace *t;
	size_t room_appends, room_syncs;
	uint64_t first_ns, last_ns;
	char *why;
	size_t size;
};

static int wrong(struct parser *p, const char *what)
{
	snprintf(p->why, p->size, "%s", what);
	return -EINVAL;
}

/* The next field of a line, up to the comma or the end. False when there is none. */
static bool field(const char **at, const char *end, const char **s, size_t *len)
{
	const char *comma;

	if (!*at)
		return false;
	comma = memchr(*at, ',', (size_t)(end - *at));
	*s = *at;
	*len = (size_t)((comma ? comma : end) - *at);
	*at = comma ? comma + 1 : NULL;
	return true;
}

static bool number(const char **at, const char *end, uint64_t *v)
{
	const char *s;
	size_t len;

	return field(at, end, &s, &len) && sg_units_parse_count(s, len, v) == 0 && *v <= INT64_MAX;
}

static int parse_event(struct parser *p, const char *at, const char *end, struct event *e)
{
	const char *s;
	size_t len;

	if (!number(&at, end, &e->ns))
		return wrong(p, "the time is no whole number of ns");
	if (!field(&at, end, &s, &len))
		return wrong(p, "there is no operation");
	e->append = len == 6 && !memcmp(s, "append", 6);
	if (!e->append && !(len == 5 && !memcmp(s, "fsync", 5)) &&
	    !(len == 9 && !memcmp(s, "fdatasync", 9)))
		return wrong(p, "no such operation; there are append, fsync, fdatasync");
	if (!number(&at, end, &e->bytes))
		return wrong(p, "the size is no whole number of bytes");
	if (!number(&at, end, &e->took_ns))
		return wrong(p, "the duration is no whole number of ns");
	if (at)
		return wrong(p, "more than four fields");
	if (p->t->n_appends + p->t->n_syncs && e->ns < p->last_ns)
		return wrong(p, "the time goes back");
	return 0;
}

static void *grown(void *list, size_t n, size_t *room, size_t each)
{
	size_t more = *room ? 2 * *room : 64;
	void *bigger;

	if (n < *room)
		return list;
	bigger = reallocarray(list, more, each);
	if (bigger)
		*room = more;
	return bigger;
}

static int keep(struct parser *p, const struct event *e)
{
	struct sim_trace *t = p->t;
	void *list;

	if (t->n_appends + t->n_syncs == SIM_TRACE_EVENTS)
		return wrong(p, "more than 1000000 events");
	if (!(t->n_appends + t->n_syncs))
		p->first_ns = e->ns;
	p->last_ns = e->ns;
	list = e->append ? grown(t->appends, t->n_appends, &p->room_appends, sizeof(*t->appends))
			 : grown(t->syncs, t->n_syncs, &p->room_syncs, sizeof(*t->syncs));
	if (!list)
		return -ENOMEM;
	if (e->append) {
		t->appends = list;
		t->appends[t->n_appends++] = (struct sim_append){ e->ns - p->first_ns, e->bytes };
	} else {
		t->syncs = list;
		t->syncs[t->n_syncs++] = (struct sim_sync){ e->ns - p->first_ns, e->took_ns };
	}
	return 0;
}

static int parse_line(struct parser *p, const char *at, const char *end)
{
	struct event e;
	int err;

	if (at == end || *at == '#')
		return 0;
	if (end - at > SIM_TRACE_LINE)
		return wrong(p, "the line is longer than 128 bytes");
	err = parse_event(p, at, end, &e);
	return err ? err : keep(p, &e);
}

static int whole(struct parser *p)
{
	if (!p->t->n_appends)
		return wrong(p, "there is no append in it");
	if (!p->t->n_syncs)
		return wrong(p, "there is no sync in it");
	p->t->duration_ns = p->last_ns - p->first_ns;
	if (p->t->duration_ns < SG_NSEC_PER_MSEC)
		return wrong(p, "it is shorter than 1 ms");
	if (p->t->duration_ns > 86400 * SG_NSEC_PER_SEC)
		return wrong(p, "it is longer than a day");
	return 0;
}

int sim_trace_parse(struct sim_trace *t, const char *text, size_t len, unsigned int *line,
		    char *why, size_t size)
{
	struct parser p = { .t = t, .why = why, .size = size };
	const char *at = text, *end = text + len, *eol;
	int err = 0;

	memset(t, 0, sizeof(*t));
	for (*line = 0; !err && at < end; at = eol + 1) {
		eol = memchr(at, '\n', (size_t)(end - at));
		if (!eol)
			eol = end;
		(*line)++;
		err = parse_line(&p, at, eol);
	}
	if (!err) {
		*line = 0;
		err = whole(&p);
	}
	if (err)
		sim_trace_free(t);
	return err;
}

void sim_trace_free(struct sim_trace *t)
{
	free(t->appends);
	free(t->syncs);
	memset(t, 0, sizeof(*t));
}
