/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Everything that can be asked on this machine, put into one model. */
#ifndef SG_CLI_GATHER_H
#define SG_CLI_GATHER_H

#include "broker/broker.h"
#include "cli/cli.h"
#include "cli/join.h"

/* The option that every command has which reads sessions. */
#define CLI_SOCKET_DIR                                              \
	{                                                           \
		"socket-dir", "DIR", "look for brokers here", "dir" \
	}

struct gathered {
	char dir[4096];
	struct sg_view *view;	      /* NULL: no session directory, or none to be read */
	struct kernel_view *kernel;   /* NULL: no observer */
	int view_error, kernel_error; /* why not, -errno */
	struct join join;
};

/* Reports and returns an exit code when nothing at all may be read; having found nothing is no error.
 * `sessions_only` leaves the observer out. */
int gather(const char *socket_dir, bool sessions_only, struct gathered *g);
/* The same from a view and a kernel view in hand; neither is freed by gather_free then. */
int gather_from(struct gathered *g, struct sg_view *view, struct kernel_view *kernel);
void gather_free(struct gathered *g);

/* {"observer": {…} or null, "brokers": [pids], "unreachable": n}: who told, for every document. */
json_t *gather_sources_json(const struct gathered *g);
/* For people, on f: what is missing. `full` lists what the observer's tier cannot see, too. */
void gather_note(const struct gathered *g, FILE *f, bool full);

/* An absent device or file: report it so. */
int gather_nothing(const struct gathered *g, const char *what);

#endif
