/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Sleeping until something may have happened in a spool's directory, by inotify(7); nothing is polled. One thread at a
 * time. Errors are negative errnos.
 *
 * What wakes: a file made, renamed to, or closed after writing; a write to `durable`, which the writer makes after each
 * sync; with `appends` any write. The caller drains, looks, and only then waits: what happens after the drain is not
 * missed.
 */
#ifndef SG_SPOOL_WATCH_H
#define SG_SPOOL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define SG_WATCH_NEVER 0u
#define SG_WATCH_NOW   1u

struct sg_watch {
	int dirfd, inotify, timer, epoll;
	bool appends;
	uint64_t again_ns; /* what the timer is set to */
};

/* Needs /proc. -EMFILE, -ENOSPC: the user's limits of inotify; -ENOSYS: no /proc. */
int sg_watch_open(struct sg_watch *w, int dirfd, bool appends);
void sg_watch_close(struct sg_watch *w);

/* What happened so far; SG_WATCH_… bits are added to *what, and all of them if events were lost. */
#define SG_WATCH_MADE	     1u /* a file was made, or renamed to */
#define SG_WATCH_LOCK_CLOSED 2u /* somebody who could write it closed the file `lock` */
int sg_watch_drain(struct sg_watch *w, unsigned int *what);

/* Wake also after so many ns from now, once; or SG_WATCH_NEVER; or SG_WATCH_NOW: every wait returns at once, until this
 * is called with something else. */
int sg_watch_again(struct sg_watch *w, uint64_t ns);

/* 0: something happened. -EAGAIN: deadline_ns of CLOCK_MONOTONIC has come. A signal is not an end. */
int sg_watch_wait(struct sg_watch *w, uint64_t deadline_ns);

#endif
