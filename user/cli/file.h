/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* How files are shown; also for reports, the observer and top. */
#ifndef SG_CLI_FILE_H
#define SG_CLI_FILE_H

#include <limits.h>

#include "cli/gather.h"

/* Which files are meant: all (word NULL), a path or an identity. */
struct file_wanted {
	const char *word;
	bool by_id;
	uint64_t dev, ino;
	char path[PATH_MAX];
	/* With these: what sessions told, and what these processes wrote; no file of others. */
	const uint32_t *pids;
	unsigned int n_pids;
};

bool file_wanted_parse(struct file_wanted *w, const char *word);
bool file_wanted_any(const struct file_wanted *w, const struct join *j);
bool file_wanted_is(const struct file_wanted *w, const struct join_row *r);

/* A name for people: not cleaned. */
const char *file_name(const struct join_row *r, char *buf, size_t size);
json_t *file_json(const struct join_row *r, bool buckets);
/* {"sources": …, "files": […]} */
json_t *file_list_json(const struct gathered *g, const struct file_wanted *w, bool buckets);
void file_table(FILE *f, const struct gathered *g, const struct file_wanted *w);

/* Full screen until q; one snapshot when standard output is no terminal. */
int file_top(const char *socket_dir, uint64_t interval_ns);

#endif
