/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* The broker of `run`: a process of its own beside the program, until the program and all that it started
 * guarded have ended. */
#ifndef SG_CLI_SPAWN_H
#define SG_CLI_SPAWN_H

#include <limits.h>

#include "cli/cli.h"

struct spawn {
	const char *dir;  /* session directory, NULL: the usual one */
	bool observe;	  /* start the observer too */
	bool report;	  /* print the table of files at the end */
	const char *file; /* into this file; NULL: on standard error */
	/* out */
	char socket[108]; /* "": there is no broker */
	bool observing;
};

/* Warns of what could not be had and goes on without it. Returns CLI_OK, or an exit code when the report
 * file cannot be written. */
int spawn_broker(struct spawn *s);

#endif
