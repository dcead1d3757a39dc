/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Session memory: what one guarded process tells of itself, in one sealed memfd that it shares with the
 * broker. The process writes, the broker and the command read. The layout is fixed and versioned, all
 * fields are naturally aligned, and every shared word is read and written atomically, so that a reader
 * sees a torn *page* at worst, never a torn word.
 *
 * A reader trusts nothing in here: use the sg_session_read_* calls, which check every index, length and
 * string and copy what they return.
 *
 *   header | files[SG_FILES] | ops[SG_OPS] | events[SG_EVENTS]
 *
 * The broker keeps a session of its own (role SG_ROLE_BROKER): there, file slot i belongs to ledger i,
 * so that what the broker did for a file is not in memory that a guarded process can write.
 */
#ifndef SG_GUARD_SESSION_H
#define SG_GUARD_SESSION_H

#include <stdatomic.h>
#include <stdint.h>

#include "guard/hist.h"
#include "guard/identity.h"

#define SG_SESSION_MAGIC   0x3144524155474753ull /* "SGGUARD1" read as little-endian */
#define SG_SESSION_VERSION 1
#define SG_FILES	   256
#define SG_OPS		   256
#define SG_EVENTS	   1024
#define SG_PATH_BYTES	   512

enum sg_role { SG_ROLE_GUARDED = 1, SG_ROLE_BROKER = 2 };
enum sg_status { SG_STATUS_OK, SG_STATUS_DEGRADED, SG_STATUS_CRITICAL };

/* What a program asked for, or the broker does. */
enum sg_op {
	SG_OP_WRITE,
	SG_OP_FSYNC,
	SG_OP_FDATASYNC,
	SG_OP_MSYNC,
	SG_OP_SYNC_FILE_RANGE,
	SG_OP_ADMISSION, /* an append that waits because the window is full */
	SG_OP_DRAIN,	 /* a sync before a rename, close, … */
	SG_OP_MAX
};

/*
 * Counters of a file. Two equations hold exactly whenever no call is under way:
 *   CALLS  = LED + GROUPED + ELIDED + WINDOWED + POISONED + REFUSED
 *   ISSUED = LED + DRAINS + INLINE      (kernel syncs made by this process)
 */
enum sg_counter {
	SG_C_APPENDS,
	SG_C_APPEND_BYTES,
	SG_C_APPEND_ERRORS,
	SG_C_APPENDS_REFUSED, /* returned EIO: the description is poisoned */
	SG_C_APPENDS_WAITED,  /* were held at the bound */
	SG_C_APPEND_WAIT_NS,
	SG_C_CALLS,    /* syncs that the program asked for */
	SG_C_LED,      /* … that became a kernel sync in the caller */
	SG_C_GROUPED,  /* … served by a sync that another caller led */
	SG_C_ELIDED,   /* … of a directory, proven redundant */
	SG_C_WINDOWED, /* … that returned inside the window */
	SG_C_POISONED, /* … that returned EIO because an earlier sync failed */
	SG_C_REFUSED,  /* … that the kernel refused without trying (EBADF, EINVAL, …) */
	SG_C_DRAINS,   /* kernel syncs before rename, close, … */
	SG_C_INLINE,   /* kernel syncs of an append larger than the window, or without a broker */
	SG_C_ISSUED,
	SG_C_SYNC_ERRORS,
	SG_C_SYNC_NS, /* time in kernel syncs */
	SG_C_SYNC_MAX_NS,
	SG_C_CALL_NS, /* time in sync calls as the program saw them */
	SG_C_CALL_MAX_NS,
	SG_C_WRITE_NS,
	SG_C_WRITE_MAX_NS,
	SG_C_STALLS,
	SG_C_RANGE_SYNCS, /* sync_file_range: no durability, counted apart */
	SG_C_MAX
};

enum sg_file_flag {
	SG_F_DIR = 1,
	SG_F_PATH_CUT = 2,    /* the path did not fit */
	SG_F_UNMATCHED = 4,   /* no policy names it; seen because it was synced */
	SG_F_NO_BROKER = 8,   /* wanted window or ensure, has group: there is no broker */
	SG_F_NOT_APPEND = 16, /* demoted: written below its end, or mapped shared and writable */
	SG_F_UNTRACKED = 32,  /* grew by appends that the shim did not see (stdio, raw calls) */
	SG_F_GROUP_OFF = 64,  /* grouping was measured and does not pay now */
	SG_F_NOT_BUILT = 128, /* the policy asks for something that this build does not do yet */
};

enum { SG_SLOT_FREE, SG_SLOT_FILLING, SG_SLOT_LIVE, SG_SLOT_CLOSED };

struct sg_session_file {
	_Atomic uint32_t state;	 /* SG_SLOT_* */
	_Atomic uint32_t flags;	 /* enum sg_file_flag */
	_Atomic uint32_t mode;	 /* enum sg_mode in force */
	_Atomic uint32_t wanted; /* enum sg_mode that the policy asks for */
	struct sg_file_id id;
	/* Written by the broker when it has answered an enrolment: ledger index + 1, or 0x80000000 | errno.
	 * A futex. */
	_Atomic uint32_t ledger;
	_Atomic uint32_t verdict;	 /* enum sg_verdict */
	_Atomic uint32_t open_count;	 /* descriptions open in this process */
	_Atomic uint32_t poison_errno;	 /* 0: not poisoned */
	_Atomic uint64_t poison_wall_ns; /* CLOCK_REALTIME */
	_Atomic uint64_t stall_ns;	 /* threshold */
	_Atomic uint64_t at_risk_records, at_risk_bytes,
		oldest_at_risk_ns; /* broker session only: see ledger */
	_Atomic uint64_t peak_records, peak_bytes, peak_age_ns;
	_Atomic uint64_t counter[SG_C_MAX];
	_Atomic uint64_t write_hist[SG_HIST_BUCKETS];
	_Atomic uint64_t sync_hist[SG_HIST_BUCKETS]; /* kernel syncs */
	_Atomic uint64_t call_hist[SG_HIST_BUCKETS]; /* sync calls as the program saw them */
	char path[SG_PATH_BYTES];
};

/* One operation under way. start_ns is the atomic word that the ticker watches (the idea of Pebble's
 * disk_health): 0 free, SG_OP_CLAIMED | tid while it is being filled, else CLOCK_MONOTONIC of the start. */
#define SG_OP_CLAIMED (UINT64_C(1) << 63)
struct sg_session_op {
	_Atomic uint64_t start_ns;
	_Atomic uint32_t file; /* slot */
	_Atomic uint32_t kind; /* enum sg_op */
	_Atomic uint64_t bytes;
	_Atomic uint32_t tid;
	uint32_t pad;
};

enum sg_event_kind {
	SG_EV_STALL_BEGUN = 1,
	SG_EV_STALL_CLEARED,
	SG_EV_SYNC_ERROR,
	SG_EV_POISONED,
	SG_EV_DEMOTED,
	SG_EV_DEGRADED, /* no broker, table full, … */
	SG_EV_SESSION_BEGUN,
	SG_EV_SESSION_ENDED,
	SG_EV_FLUSHED_AFTER_DEATH, /* the broker synced what a dead process left at risk */
	SG_EV_MAX
};

struct sg_session_event {
	_Atomic uint64_t seq; /* 0 while it is being written; else its number, from 1 */
	_Atomic uint64_t ns;  /* CLOCK_MONOTONIC */
	_Atomic uint64_t wall_ns;
	_Atomic uint32_t kind; /* enum sg_event_kind */
	_Atomic uint32_t pid;
	_Atomic uint32_t
		file; /* slot; in the broker's session: ledger, or UINT32_MAX with path set */
	_Atomic uint32_t op; /* enum sg_op */
	_Atomic uint64_t start_ns, age_ns, bytes;
	_Atomic uint32_t error; /* errno */
	_Atomic uint32_t tid;
	char path[SG_PATH_BYTES];
};

struct sg_session {
	uint64_t magic;
	uint32_t version, size;
	uint32_t role; /* enum sg_role */
	uint32_t pid, ppid, uid;
	uint64_t nonce, started_ns, started_wall_ns;
	_Atomic uint32_t state;	 /* futex: 0 new, 1 accepted by the broker, 2 ended */
	_Atomic uint32_t status; /* enum sg_status */
	_Atomic uint64_t beat_ns;
	_Atomic uint64_t nested;    /* calls made while another was interrupted (signal handlers) */
	_Atomic uint64_t untracked; /* calls on descriptors that found no place in a table */
	_Atomic uint64_t events_next; /* number of the last event claimed */
	char comm[16];
	_Atomic uint32_t
		files_end; /* no slot from here on was ever used: its pages need not exist */
	char pad[60];
	struct sg_session_file files[SG_FILES];
	struct sg_session_op ops[SG_OPS];
	struct sg_session_event events[SG_EVENTS];
};

/* --- writer: async-signal-safe, lock-free, never fails --- */

void sg_session_init(struct sg_session *s, enum sg_role role, uint32_t pid, uint64_t now_ns,
		     uint64_t wall_ns);

/* Claim an operation word; returns its index or -1 when all are taken (counted in `untracked`). */
int sg_session_op_begin(struct sg_session *s, uint32_t file, enum sg_op kind, uint64_t bytes,
			uint32_t tid, uint64_t now_ns);
void sg_session_op_end(struct sg_session *s, int op);
/* Thread tid has left all that it had under way. */
void sg_session_ops_left(struct sg_session *s, uint32_t tid);
/* It is something else now, since start_ns. */
void sg_session_op_becomes(struct sg_session *s, int op, enum sg_op kind, uint64_t start_ns);

static inline void sg_count(struct sg_session_file *f, enum sg_counter c, uint64_t n)
{
	atomic_fetch_add_explicit(&f->counter[c], n, memory_order_relaxed);
}

/* Slot `file` is used from now on. */
void sg_session_uses(struct sg_session *s, uint32_t file);
static inline uint32_t sg_session_files(const struct sg_session *s)
{
	uint32_t end = atomic_load_explicit(&s->files_end, memory_order_relaxed);

	return end < SG_FILES ? end : SG_FILES;
}

void sg_session_max(_Atomic uint64_t *word, uint64_t v);

struct sg_event {
	uint64_t seq, ns, wall_ns, start_ns, age_ns, bytes;
	uint32_t kind, pid, file, op, error, tid;
	char path[SG_PATH_BYTES];
};
void sg_session_event(struct sg_session *s, const struct sg_event *e);

/* --- reader of memory that somebody else writes --- */

/* Does a mapping of `size` bytes begin with a session of our version? 0 or -EPROTO, -EMSGSIZE. */
int sg_session_check(const void *mem, uint64_t size);

/* A checked, NUL-terminated, control-free copy of file slot i. Returns 0, or -ENOENT for a slot that is
 * free or out of range. */
int sg_session_read_file(const struct sg_session *s, uint32_t i, struct sg_session_file *out);

/* The event numbered *seq (from 1) or the oldest still held after it; *seq moves to the next. `dropped`
 * counts those that were overwritten. Returns 1 with an event, 0 when there is none yet. */
int sg_session_read_event(const struct sg_session *s, uint64_t *seq, struct sg_event *out,
			  uint64_t *dropped);

const char *sg_op_name(uint32_t op);
const char *sg_event_name(uint32_t kind);
const char *sg_counter_name(uint32_t c);

#endif
