/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The writer of a spool, inside: open.c (configuration, open, close, status), resume.c (what an earlier writer left),
 * tail.c (the segment being written, rotation), append.c, commit.c (syncs, waiting, errors).
 *
 * DESIGN
 *
 * Two locks. `append` serialises appends and rotations, and is held while a frame is written; `state` is held for a few
 * instructions, and guards which segment is the tail, how far it goes and what was lost. Order: append, state.
 * So a sync can begin (it takes `state` alone) while an append is inside the kernel, and an append that has to rotate
 * can wait for a sync.
 *
 * One sync at a time (guard/group.h, with `shared` set): all of them are made on the tail's one description, and of
 * two at once only one would be told of an error. What is at risk is counted by a ledger (guard/ledger.h), whose
 * bounds admit appends before they take a lock; what begins a sync by itself is the flusher's question to the window
 * controller. All records before the tail are settled: durable, or (WARN) lost. So a sync of the tail settles all.
 *
 * A sync that failed is final. FAIL: the handle is latched, no system call on the data follows. WARN: the tail is
 * `bad`: everything in it that was not durable is lost, what was being written meanwhile too; it is never synced
 * again, and the next append begins a new one.
 */
#ifndef SG_SPOOL_WRITER_H
#define SG_SPOOL_WRITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guard/group.h"
#include "guard/ledger.h"
#include "spool/frame.h"
#include "spool/index.h"
#include "spoolguard/spool.h"

/* The segment that is written. */
struct sg_tail {
	_Atomic uint32_t refs; /* the spool's, and that of each sync under way */
	int fd;
	uint64_t number;
	/* under `append` */
	uint64_t end;	/* of the last frame; the next one begins here */
	uint64_t size;	/* of the file; above `end` are zeros written in advance */
	bool zeros;	/* its header says that they may be there, and we write them */
	bool reserved;	/* blocks beyond the end of the file */
	bool cut_first; /* a failed append could not be cut back: its bytes still lie behind `end` */
	bool leave;	/* a write failed (WARN): rotate */
	bool sealed;	/* nothing to do before its successor is made */
	struct sg_index index;
	/* under `state` */
	int bad; /* errno of its failed sync (WARN) */
};

/* What spool_config.notify has to be told when the locks are given back. */
struct sg_news {
	bool any;
	int error;
};

struct sg_telling;

struct spool {
	struct spool_config c; /* defaults filled in */
	int dirfd, lockfd, durable_fd;
	uint8_t id[SPOOL_ID_BYTES];
	uint32_t seed;
	uint64_t cut_bytes;

	pthread_mutex_t
		alone; /* held over an append that is larger than the bound; before the others */
	pthread_mutex_t append;
	uint64_t bytes; /* of the directory, as last counted, with our own growth; under `append` */

	pthread_mutex_t state;
	struct sg_tail *tail;	   /* changed under both */
	_Atomic uint64_t appended; /* changed under both */
	_Atomic uint64_t durable;
	uint64_t lost_from, lost_to, lost_told;
	int lost_error;
	struct sg_telling *telling; /* threads inside notify */
	_Atomic int error;	    /* latched: negative errno; written under `state` */

	struct sg_group group;
	struct sg_ledger ledger;
	_Atomic uint64_t failures; /* the ledger's clock of failures */
	_Atomic uint64_t syncs, sync_ns;
	struct sg_window_pace pace; /* under `state` */

	bool flushes; /* there is a flusher: BATCH and ADAPTIVE */
	pthread_t flusher;
	_Atomic pid_t flusher_tid;
	_Atomic bool stop;
	_Atomic bool starved; /* it waits until something that it can cover is done */
};

/* ---- resume.c ---- */

/* Under the lock of the directory, dirfd being open: identity, tail, numbers. All that is found is durable when it
 * returns 0. */
int sg_resume(struct spool *s);

/* ---- tail.c ---- */

/* Make the segment `first_seq`, durably in the directory. */
int sg_tail_create(struct spool *s, uint64_t first_seq, struct sg_tail **tail);

/* Reserve blocks for it, if the configuration says so. */
int sg_tail_reserve(const struct spool *s, struct sg_tail *t);

/* Cut away what was preallocated and not used. Under `append`. */
int sg_tail_cut(struct spool *s, struct sg_tail *t);

void sg_tail_put(struct sg_tail *t);

/*
 * Under `append`: write one frame of `bytes` in all with the next number, rotating before if it is time. On success
 * it is published, and done in the ledger. An error has been dealt with as on_error says; nothing was appended then.
 */
int sg_tail_append(struct spool *s, const struct iovec *iov, int iovcnt, uint64_t bytes,
		   uint64_t *seq, struct sg_news *news);

/* ---- commit.c ---- */

/* ENOSPC or EDQUOT: the spool is valid, and a later try may succeed. */
static inline bool sg_no_space(int err)
{
	return err == -ENOSPC || err == -EDQUOT;
}

static inline int sg_latched(const struct spool *s)
{
	return atomic_load(&s->error);
}

/* A write failed: err, after on_error was obeyed if it is not for space. Under `append` or alone. */
int sg_write_failed(struct spool *s, int err, struct sg_news *news);

/* A sync that begins after the call; 0 or -errno. Not under `state`. */
int sg_sync(struct spool *s, struct sg_news *news);

/* Is record `seq`, and all before it, either durable or lost? */
bool sg_settled(struct spool *s, uint64_t seq);

/* All up to this number is durable, without exception. */
uint64_t sg_known_durable(struct spool *s);

/* Is anything appended neither? */
bool sg_unsettled(struct spool *s);

/* Frame `seq`, `bytes` long, is in the tail: count it. Under `append`. */
void sg_publish(struct spool *s, uint64_t seq, uint64_t bytes);

/* 0, or the error of a failed sync that no spool_sync() has returned yet (WARN). */
int sg_lost_news(struct spool *s);

/* The error to return for the record `seq`, which is lost: its caller knows, spool_sync() need not say it again. */
int sg_lost_told(struct spool *s, uint64_t seq);

/* Is `seq` among the records that a failed sync concerns? */
bool sg_lost(struct spool *s, uint64_t seq);

/* Write the file `durable`. */
int sg_durable_note(const struct spool *s, uint64_t durable);

/* Without a lock: call notify, if there is news. */
void sg_tell(struct spool *s, const struct sg_news *news);

/* Wait until the ledger moves on from `seen`, or deadline_ns; the flusher is told that somebody waits. */
int sg_wait(struct spool *s, uint32_t seen, uint64_t deadline_ns);

/* Does nobody else begin the sync that this thread would wait for? */
bool sg_must_sync_itself(const struct spool *s);

int sg_flusher_start(struct spool *s);
void sg_flusher_stop(struct spool *s);

#endif
