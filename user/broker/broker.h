/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The broker: a small process that does the syncs which must not run on a thread of the guarded program,
 * watches for stalls, and keeps what a session told after its process is gone.
 */
#ifndef SG_BROKER_BROKER_H
#define SG_BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guard/ledger.h"
#include "guard/session.h"

struct sg_broker_options {
	const char *dir; /* session directory: the socket is made in it */
	int ready_fd; /* one byte is written when the socket listens, then it is closed; -1: none */
	pid_t until; /* end when this process, and every session, has ended; 0: serve until STOP or a signal */
	int until_pidfd; /* pidfd of `until`, or -1 */
};

/* The directory of sockets: $SPOOLGUARD_RUNTIME_DIR, /run/spoolguard for root, else
 * $XDG_RUNTIME_DIR/spoolguard, else /tmp/spoolguard-UID. Returns 0 or -ENAMETOOLONG. */
int sg_broker_dir(char *buf, size_t size);

struct sg_broker;

/* Make the directory (0700) and the socket, listen. Returns 0 or -errno; *what names the path that
 * failed. The path of the socket is sg_broker_socket(). */
int sg_broker_open(const struct sg_broker_options *o, struct sg_broker **out, char *what,
		   size_t what_size);
const char *sg_broker_socket(const struct sg_broker *b);
/* Serve until done. Blocks SIGTERM, SIGINT and SIGHUP and takes them as "drain and end". Returns 0. */
int sg_broker_run(struct sg_broker *b);
/* After run: everything that sessions told, through the same interface that a client has. */
struct sg_view;
int sg_broker_view(struct sg_broker *b, struct sg_view **out);
void sg_broker_close(struct sg_broker *b);

/* --- a reader's view of one or more brokers (also used by the command) --- */

struct sg_view_session {
	const struct sg_session
		*mem; /* read-only mapping: use the checked readers of session.h only */
	uint32_t pid, uid;
	bool ended;
	const struct sg_registry *registry; /* of its broker: checked, read-only */
	const struct sg_session *broker;    /* the broker's own session */
	uint32_t broker_pid;
};

struct sg_view {
	struct sg_view_session *sessions;
	uint32_t n_sessions;
	struct sg_view_broker {
		const struct sg_session *mem;
		const struct sg_registry *registry;
		uint32_t pid;
		char socket[108];
	} * brokers;
	uint32_t n_brokers;
	uint32_t unreachable; /* sockets that nobody answers at, or that refused us */
};

/* Ask every broker whose socket lies in dir. Returns 0 (also with none), -ENOENT when dir does not exist,
 * -EACCES, or another -errno. Mappings live until sg_view_free; memory in them goes on changing. */
int sg_view_open(const char *dir, struct sg_view **out);
void sg_view_free(struct sg_view *v);

/* Tell the broker behind `socket` to drain and end. */
int sg_broker_stop(const char *socket);

#endif
