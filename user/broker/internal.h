/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The broker's own state.
 *
 * Threads: main (sockets, pidfds, signals, the clock), the ticker (stalls, the beat), and one flusher per
 * file in window or ensure, since a sync on a hung disk holds its thread. `lock` guards the tables of
 * sessions and ledgers; no sync and no open happens under it.
 */
#ifndef SG_BROKER_INTERNAL_H
#define SG_BROKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "broker/broker.h"
#include "guard/ledger.h"
#include "guard/policy.h"
#include "guard/proto.h"
#include "guard/session.h"

#define SG_BROKER_SESSIONS 512
#define SG_BROKER_CONNS	   512

struct broker_session {
	bool used, ended, left; /* left: it said that it exits, drained */
	pid_t pid;
	uid_t uid;
	int pidfd, memfd;
	struct sg_session *mem;
	uint64_t nonce;
	uint64_t stalled[SG_OPS]; /* start of the operation reported as stalled; 0: none */
};

struct broker_conn {
	int fd;
	pid_t pid;
	uid_t uid;
	bool guarded;
};

struct broker_ledger {
	bool used, running;
	_Atomic bool stop, died; /* died: a process that had something at risk is gone */
	_Atomic bool syncing;
	int fd; /* a description of our own; -1 while nobody has the file open */
	struct sg_file_id id;
	enum sg_on_error on_error;
	_Atomic bool fixed;	    /* adapt = off, of every process that has it enrolled */
	struct sg_window_pace pace; /* the flusher's */
	uint64_t wanted_ns;	    /* when it was last seen to be wanted; under lock */
	struct {
		uint64_t reserved, done, since_ns;
	} still; /* the flusher's: since when nothing moves although something is reserved */
	pthread_t thread;
	struct sg_broker *broker;
};

struct sg_broker {
	struct sg_broker_options o;
	char socket[108];
	int listen_fd, signal_fd, clock_fd, registry_fd, session_fd;
	struct sg_registry *registry;
	struct sg_session *session; /* our own */
	struct broker_session sessions[SG_BROKER_SESSIONS];
	struct broker_conn conns[SG_BROKER_CONNS];
	struct broker_ledger ledgers[SG_FILES];
	pthread_mutex_t lock;
	pthread_t ticker;
	_Atomic bool stopping, ended;
	bool no_beat;	       /* under lock */
	_Atomic uint32_t tick; /* futex: wakes the ticker before its time */
	bool until_ended;
	uint64_t alone_ns;    /* since when nobody is left; 0: somebody is */
	uint64_t released_ns; /* when broker_release_unused last ran */
};

static inline uint32_t broker_ledger_index(const struct broker_ledger *p)
{
	return (uint32_t)(p - p->broker->ledgers);
}
static inline struct sg_ledger *broker_shared(const struct broker_ledger *p)
{
	return &p->broker->registry->ledgers[broker_ledger_index(p)];
}
static inline struct sg_session_file *broker_stats(const struct broker_ledger *p)
{
	return &p->broker->session->files[broker_ledger_index(p)];
}

void broker_event(struct sg_broker *b, enum sg_event_kind kind, uint32_t pid, uint32_t ledger,
		  int error, uint64_t records);

/* ledgers.c */
/* Returns a ledger index or -errno. Takes ownership of fd. */
int broker_enrol(struct sg_broker *b, const struct sg_msg *m, int fd);
/* With the lock held: a session has ended; its files are flushed, what it held half-done is given up. */
void broker_session_gone(struct sg_broker *b, struct broker_session *s);
/* With the lock held: does a live session have the file of this ledger open? */
bool broker_in_use(const struct sg_broker *b, uint32_t ledger);
/* With the lock held: drop descriptors of files that nobody has open and that hold nothing. */
void broker_release_unused(struct sg_broker *b);
void broker_stop_flushers(struct sg_broker *b);

/* ticker.c */
void *broker_ticker(void *broker);

/* memory.c */
void *broker_shared_memory(const char *name, size_t size, int *memfd);
/* Map a memfd that a stranger gave us, if it is a session that cannot shrink. NULL if not. */
struct sg_session *broker_map_session(int memfd);
int broker_read_only(int fd);

#endif
