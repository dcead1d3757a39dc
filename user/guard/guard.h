/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The guard: what happens to an append or a sync of a file that a policy names. One per process. It does
 * not know who calls it (a wrapped libc symbol, the spool library, a test): the real calls come in as
 * function pointers.
 *
 * Rules for every call here unless it says otherwise: async-signal-safe, thread-safe, allocates nothing,
 * leaves errno alone when it succeeds. A call that interrupts another call of the same thread (from a
 * signal handler) is passed straight to the kernel, so it cannot deadlock. A failure of ours never fails
 * the program: the call then does what it did without us, and a counter tells.
 *
 * Cancellation: calls on tracked descriptors act on a pending cancellation when they are entered and
 * while they wait for room or company, and not while they hold a reservation or lead a sync.
 */
#ifndef SG_GUARD_GUARD_H
#define SG_GUARD_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "guard/session.h"

/* What is known of a descriptor. Descriptors from SG_FDS on are not tracked (counted). */
#define SG_FDS	      65536
#define SG_FD_UNKNOWN 0u /* look when it is first used */
#define SG_FD_PLAIN \
	1u /* no business of ours: not a regular file or directory, or no policy names it */
extern _Atomic uint32_t sg_guard_fd[SG_FDS];

/* The one thing a wrapped append pays on a descriptor that no policy names. False also before init and
 * for numbers out of range: those calls go straight to the kernel. */
static inline bool sg_guard_is_plain(int fd)
{
	return (unsigned int)fd >= SG_FDS ||
	       atomic_load_explicit(&sg_guard_fd[fd], memory_order_relaxed) == SG_FD_PLAIN;
}

struct sg_guard_config {
	const char *policy;	 /* one-line policy, or NULL */
	const char *policy_file; /* path of a policy file, or NULL; `policy` wins */
	const char *broker;	 /* path of the broker's socket, or NULL */
	const char *interposed;	 /* name of a library beneath us that voids syncs, or NULL */
	void (*say)(const char *message); /* reports a problem of ours, at most a few times */
};

/* Once, from the constructor, before other threads matter; not async-signal-safe. Strings must stay.
 * Always leaves the guard usable: whatever is wrong is said, and the mode falls to observe. */
void sg_guard_init(const struct sg_guard_config *config);

/* Has init run? Before that, wrappers call the kernel directly. */
bool sg_guard_ready(void);

/* At exit: drain what is at risk with real syncs, tell the broker. Call from the destructor and from
 * wrapped _exit, _Exit, quick_exit. */
void sg_guard_exit(void);

/* --- descriptors --- */

/* Take this before an open call, hand it to sg_guard_opened after it: poison is by time of open. */
uint64_t sg_guard_open_begins(void);
/* fd came from an open that began at `begun`, with O_… flags (0 for stdio). fd < 0 is ignored. */
void sg_guard_opened(int fd, uint64_t begun, int flags);
/* `to` is now the same description as `from` (dup, dup2, dup3, F_DUPFD). Whatever `to` was is forgotten;
 * call sg_guard_closing(to) before a dup2 or dup3. to < 0 is ignored. */
void sg_guard_duped(int from, int to);
/* Before close: drains an at-risk file. Returns 0 or -EIO when that drain failed (close then returns
 * EIO after closing). *private_fd is true when fd is one of ours: the caller returns EBADF untouched. */
int sg_guard_closing(int fd, bool *private_fd);
/* After close of a range [first, last] or of one descriptor. */
void sg_guard_closed(unsigned int first, unsigned int last);
/* Descriptors of ours that a close-all loop must spare; fills up to max numbers, returns how many. */
int sg_guard_private_fds(int *fds, int max);
/* Drain every tracked descriptor in the range, before close_range or closefrom. 0 or -EIO. */
int sg_guard_closing_range(unsigned int first, unsigned int last);

/* --- appends --- */

struct sg_append {
	struct sg_session_file *stats; /* NULL: not tracked, nothing to end */
	struct sg_ledger *ledger;
	uint64_t began_ns, reserved;
	uint32_t file;
	int op;
	bool sync_inline, kick, in_window;
	bool waits; /* for room, counted in ledger->waiters; nothing is reserved */
	int cancel_state;
};

/* Before an append of `bytes` (the sum of an iovec) through fd. `at` is the file offset of a pwrite, or -1
 * for the descriptor's own position. May wait for room in the window. Returns 0: go on, then call
 * sg_guard_append_end with the result (always, when it returned 0); or -EIO: the description is poisoned,
 * do not write, return -1 with errno EIO. */
int sg_guard_append_begin(struct sg_append *a, int fd, uint64_t bytes, int64_t at);
/* `result` and `error` as the real call gave them (error: errno when result < 0). Returns 0, or an errno
 * to fail the call with although bytes were written: an inline sync failed. */
int sg_guard_append_end(struct sg_append *a, int fd, int64_t result, int error);

/* --- syncs --- */

typedef int (*sg_sync_fn)(int fd);
/* A sync call on fd. `next` is the real fsync or fdatasync. Returns 0 or -1 with errno, like them. */
int sg_guard_sync(int fd, enum sg_op op, sg_sync_fn next);
/* sync_file_range, msync, syncfs: counted and timed, never grouped. Bracket the real call with these;
 * begin returns a token for end. fd -1 where there is none (msync). syncfs and sync count as a drain. */
int sg_guard_other_begin(int fd, enum sg_op op, uint64_t bytes);
void sg_guard_other_end(int fd, enum sg_op op, int token);

/* --- what must not overtake data at risk --- */

/* Before a call that changes names or sizes: drains the file at path if it is at risk (both names for a
 * rename; a directory drains everything). Returns 0, or -EIO when the drain failed: the wrapper then
 * fails the call with EIO and does not make it. dirfd as in openat(2). follow: resolve a last symlink. */
int sg_guard_drain_path(int dirfd, const char *path, bool follow);
/* Before ftruncate, fallocate, a seek-and-overwrite, …: the same by descriptor. */
int sg_guard_drain_fd(int fd);
/* After a truncate of fd or path changed a size on purpose. */
void sg_guard_resized_fd(int fd);
void sg_guard_resized_path(const char *path);
/* Before exec, and sync(): everything this process has at risk. 0 or -EIO. In a vfork child it does
 * nothing. */
int sg_guard_drain_all(void);

/* fcntl changed the status flags of fd (O_APPEND may be gone). */
void sg_guard_reflagged(int fd);
/* fd was mapped shared and writable: its file is no append-only file; falls to group, visibly. */
void sg_guard_mapped(int fd);

/* Session memory of this process, or NULL; for tests and for the broker's own use. */
struct sg_session *sg_guard_session(void);

#endif
