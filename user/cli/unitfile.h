/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* A systemd unit as text: the fragment and its drop-ins, as `systemctl cat` shows them. */
#ifndef SG_CLI_UNITFILE_H
#define SG_CLI_UNITFILE_H

#include <stdbool.h>
#include <stddef.h>

#define UNIT_MOST 32 /* most lines that are kept of a list such as ExecStart */

struct unit {
	char *text;		/* all files, each under a line "# /its/path" */
	char *start[UNIT_MOST]; /* ExecStart lines in force */
	unsigned int n_start;
};

/* Is this a name that systemd would take? Writes it with ".service" where that is missing. */
bool unit_name(const char *word, char *name, size_t size);

/* Read a service: with systemctl when systemd runs and root is "", else from the folders of unit files
 * below root. Our own drop-in (file name `ours`) is left out. 0, -ENOENT or another -errno. */
int unit_read(const char *root, const char *name, const char *ours, struct unit *u);
void unit_free(struct unit *u);

/* The last value of a key of [Service], NULL when there is none; valid until the next call. */
const char *unit_value(const struct unit *u, const char *key);
/* Does any line of a list key hold this text? */
bool unit_has(const struct unit *u, const char *key, const char *text);
bool unit_is_true(const struct unit *u, const char *key);

bool unit_systemd_runs(void);

#endif
