/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* The events that sessions and brokers tell, merged in order of time. */
#ifndef SG_CLI_EVENTS_H
#define SG_CLI_EVENTS_H

#include "cli/gather.h"

enum events_which { EVENTS_OF_FILES, EVENTS_ALL /* sessions too */, EVENTS_STALLS };

/* `file events [PATH] [--follow]` and `stall watch`. */
int events_command(const struct cli_args *a, enum events_which which);

struct events {
	struct sg_event *list;
	unsigned int n, room;
	uint64_t dropped; /* overwritten before they were read */
	struct events_cursor {
		uint32_t pid;
		uint64_t nonce, seq;
	} * cursors; /* how far each ring was read */
	unsigned int n_cursors;
};

/* Read what is new in every ring of the view, oldest first. The cursors survive in e, the list is made anew. */
int events_read(struct events *e, const struct sg_view *view, enum events_which which);
void events_free(struct events *e);
json_t *event_json(const struct sg_event *ev);
void event_print(const struct sg_event *ev);

#endif
