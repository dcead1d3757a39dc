/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Can a preloaded library reach a program? Judged by its file, before it is started. */
#ifndef SG_CLI_PROGRAM_H
#define SG_CLI_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum program_reach {
	PROGRAM_REACHED,
	PROGRAM_STATIC,	 /* no dynamic linker: nothing is preloaded */
	PROGRAM_SECURE,	 /* set-user-ID, set-group-ID or file capabilities: LD_PRELOAD is ignored */
	PROGRAM_FOREIGN, /* of another machine or word size than our library */
	PROGRAM_GO,	 /* dynamic, but makes its system calls itself */
};

/* Find `name` as execvp(3) does: into path. 0, or -ENOENT, -EACCES (found, may not be executed), … */
int program_find(const char *name, char path[PATH_MAX]);

/* A script is judged by its interpreter. What cannot be read counts as reached. */
enum program_reach program_judge(const char *path);
const char *program_reach_why(enum program_reach r);

/* The preload library: $SPOOLGUARD_PRELOAD, beside this binary, or ../lib/spoolguard. 0, or -ENOENT with
 * the places that were looked at in `looked`. */
int program_preload(char path[PATH_MAX], char *looked, size_t size);

#endif
