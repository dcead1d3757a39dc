/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The ledger of one file: what is at risk in it, and whether it is poisoned. It lies in memory that
 * the broker shares with every process guarded under it (the registry), so that a bound holds over
 * fork, exec and several processes, and survives each of them.
 *
 * DESIGN
 *
 * Three pairs of counters that only grow, in records and in bytes:
 *
 *   reserved   taken before an append enters the kernel (and given back if it did not happen)
 *   done       appends that came back from the kernel
 *   covered    the value of `done` just before a sync began that then succeeded
 *
 * at risk = reserved - covered. An append that is inside the kernel while a sync begins is reserved and
 * not done, so that sync does not cover it. Nothing has to be in order, and anybody may sync: the
 * snapshot is taken before, the result is written with an atomic maximum after.
 *
 * oldest_ns is when the oldest append at risk was admitted, 0 when nothing is. After a sync that began
 * at T, whatever is still at risk came back from the kernel after T: oldest becomes T. So the age of an
 * append counts from its admission or, if a sync began while it was inside the kernel, from that sync:
 * never from later than its return. It costs one word, and no list.
 *
 * A sync that fails moves what it should have covered to `lost`: it is not at risk any more, it is gone
 * or unknown, and every description opened before is poisoned. `failures` is one clock for the whole
 * registry, which ticks at every open and every failure: a description remembers its tick from before its
 * open, and is poisoned if the file's poison_at is later (the file need not be known when the open starts).
 *
 * Every call is async-signal-safe and lock-free except sg_ledger_wait. Memory order is sequentially
 * consistent where two words have to agree (reserve and oldest), relaxed elsewhere.
 */
#ifndef SG_GUARD_LEDGER_H
#define SG_GUARD_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guard/identity.h"
#include "guard/session.h"
#include "guard/window.h"

#define SG_REGISTRY_MAGIC   0x3152454744454c53ull /* "SLEDGER1" */
#define SG_REGISTRY_VERSION 3

struct sg_ledger {
	_Atomic uint32_t state; /* SG_SLOT_* */
	uint32_t pad;
	struct sg_file_id id;
	_Atomic uint32_t
		mode; /* enum sg_mode in force: window and ensure may fall to group, visibly */
	_Atomic uint32_t flags; /* enum sg_file_flag: why it fell */
	uint64_t max_records, max_bytes, max_delay_ns;
	_Atomic uint64_t reserved_records, reserved_bytes;
	_Atomic uint64_t done_records, done_bytes;
	_Atomic uint64_t covered_records, covered_bytes;
	_Atomic uint64_t lost_records, lost_bytes;
	_Atomic uint64_t oldest_ns;
	_Atomic uint64_t size_base; /* file size that was there before the first reservation */
	_Atomic uint64_t kick_records,
		kick_bytes; /* at risk at which an append wakes the flusher */
	_Atomic uint64_t
		refused_ns;	   /* when an append first found no room, since the flusher asked */
	_Atomic uint32_t kick;	   /* futex: something to do for the flusher */
	_Atomic uint32_t progress; /* futex: covered moved, or poisoned, or demoted */
	_Atomic uint32_t waiters;  /* appends and drains that wait on progress */
	_Atomic uint32_t want_full; /* somebody called fsync, not only fdatasync */
	_Atomic uint32_t poison_errno;
	_Atomic uint64_t poison_at; /* value of `failures` when it was poisoned; 0 never */
	_Atomic uint64_t
		failed_at; /* the same of any failed sync, also where the policy does not poison */
	_Atomic uint64_t poison_wall_ns;
	_Atomic uint32_t poison_pid;
	_Atomic uint32_t poison_op;
	_Atomic uint64_t peak_records, peak_bytes, peak_age_ns;
	char path[SG_PATH_BYTES];
};

struct sg_registry {
	uint64_t magic;
	uint32_t version, size;
	uint32_t broker_pid, pad;
	_Atomic uint64_t broker_beat_ns; /* CLOCK_MONOTONIC; the broker is gone when this is old */
	_Atomic uint64_t
		failures; /* a clock: ticks at every open, and every failed sync of any file */
	_Atomic uint64_t
		clock_epoch; /* grows whenever CLOCK_REALTIME is set; 0: nobody watches it */
	struct sg_ledger ledgers[SG_FILES];
};

/* How long the broker's beat may be old before it counts as gone, in ns. */
#define SG_BROKER_GONE_NS 2000000000ull

struct sg_ledger_snapshot {
	uint64_t records, bytes; /* of done */
	uint64_t began_ns;
};

struct sg_at_risk {
	uint64_t records, bytes, oldest_ns;
};

void sg_registry_init(struct sg_registry *r, uint32_t broker_pid);
int sg_registry_check(const void *mem, uint64_t size);

/* Take a place for one append of `bytes` at now_ns. Returns 0, -EAGAIN when a bound or max_delay stands
 * against it (wait with sg_ledger_wait), -EFBIG when bytes alone exceed max_bytes (sync inline).
 * *kick tells that the flusher has to be woken (sg_ledger_kick) once the append is done. */
int sg_ledger_reserve(struct sg_ledger *l, uint64_t bytes, uint64_t now_ns, bool *kick);

/* As reserve, without bounds: observe and group keep the count only. */
void sg_ledger_reserve_unbounded(struct sg_ledger *l, uint64_t bytes, uint64_t now_ns);
/* Remember what is at risk now if it never was more. Not after an append that is synced before it returns. */
void sg_ledger_peak(struct sg_ledger *l);

/* The append came back with `written` of the `reserved` bytes (0: it did not happen). */
void sg_ledger_done(struct sg_ledger *l, uint64_t reserved, uint64_t written);

/* So much is reserved by processes that died before they could say how it ended. It may have been written:
 * it counts as done, and the next sync covers it. */
void sg_ledger_orphaned(struct sg_ledger *l, uint64_t records, uint64_t bytes);

/* Before a sync, and after it succeeded or failed (error = errno > 0). */
void sg_ledger_begin(const struct sg_ledger *l, struct sg_ledger_snapshot *s, uint64_t now_ns);
void sg_ledger_covered(struct sg_ledger *l, const struct sg_ledger_snapshot *s);
void sg_ledger_failed(struct sg_ledger *l, const struct sg_ledger_snapshot *s,
		      _Atomic uint64_t *failures, int error, uint32_t pid, enum sg_op op,
		      uint64_t wall_ns, bool poison);

/* A description opened at `opened_at` alone was told of an error that others were told of before: it, and
 * what was opened before it, is poisoned; what was opened since asks for itself. */
void sg_ledger_poison_before(struct sg_ledger *l, uint64_t opened_at, int error, uint32_t pid,
			     enum sg_op op, uint64_t wall_ns);

void sg_ledger_at_risk(const struct sg_ledger *l, struct sg_at_risk *out);
static inline bool sg_ledger_poisoned(const struct sg_ledger *l, uint64_t opened_at)
{
	return atomic_load(&l->poison_at) > opened_at;
}

/* All that is at risk is still inside the kernel: a sync would cover nothing. */
static inline bool sg_ledger_nothing_to_cover(const struct sg_ledger *l)
{
	return atomic_load(&l->done_records) == atomic_load(&l->covered_records);
}

/*
 * Its flusher's question to the window controller. *p is what the controller remembers, `in` says what neither knows
 * (sync in flight, `fixed`, waiters beyond the ledger's own); the rest is filled in, and the marks at which an append
 * kicks are set. The flusher reads `kick` before and sleeps on that value: so no append is missed.
 */
struct sg_window_flush_out sg_ledger_ask(struct sg_ledger *l, struct sg_window_pace *p,
					 struct sg_window_flush_in in);

/* Around each sync of its flusher: what the controller has to remember of it. One caller at a time. */
void sg_ledger_pace_begin(struct sg_ledger *l, struct sg_window_pace *p, uint64_t now_ns);
void sg_ledger_pace_end(struct sg_ledger *l, struct sg_window_pace *p, uint64_t now_ns,
			uint64_t sync_ns);

void sg_ledger_kick(struct sg_ledger *l);
void sg_ledger_progress(struct sg_ledger *l);

/* Sleep until progress moves on from `seen` or timeout_ns passes, counted in `waiters` by the caller. A cancellation point is the caller's
 * business. Returns 0 or -ETIMEDOUT. */
int sg_ledger_wait(struct sg_ledger *l, uint32_t seen, uint64_t timeout_ns);

/* Fall to another mode, once, with the reason; wakes the waiters. */
void sg_ledger_demote(struct sg_ledger *l, uint32_t mode, uint32_t flag);

#endif
