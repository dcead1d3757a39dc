// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/ledger.h"

#include <errno.h>
#include <string.h>

#include "guard/clock.h"
#include "guard/futex.h"

void sg_registry_init(struct sg_registry *r, uint32_t broker_pid)
{
	r->magic = SG_REGISTRY_MAGIC;
	r->version = SG_REGISTRY_VERSION;
	r->size = sizeof(*r);
	r->broker_pid = broker_pid;
	atomic_store(&r->failures,
		     1); /* so that a description opened at 0 ("unknown") is before any failure */
}

int sg_registry_check(const void *mem, uint64_t size)
{
	const struct sg_registry *r = mem;

	if (size < sizeof(*r))
		return -EMSGSIZE;
	if (r->magic != SG_REGISTRY_MAGIC || r->version != SG_REGISTRY_VERSION ||
	    r->size != sizeof(*r))
		return -EPROTO;
	return 0;
}

/* Take n of what is left under max; false when that would pass it. */
static bool take(_Atomic uint64_t *reserved, const _Atomic uint64_t *covered, uint64_t n,
		 uint64_t max, uint64_t *at_risk)
{
	uint64_t r = atomic_load(reserved);

	do {
		uint64_t c = atomic_load(covered);

		/* Never below zero, should a process count as done what was given up for dead. */
		*at_risk = ((int64_t)(r - c) > 0 ? r - c : 0) + n;
		if (*at_risk > max)
			return false;
	} while (!atomic_compare_exchange_weak(reserved, &r, r + n));
	return true;
}

static void mark_oldest(struct sg_ledger *l, uint64_t now_ns)
{
	uint64_t none = 0;

	if (atomic_load(&l->oldest_ns) == 0)
		atomic_compare_exchange_strong(&l->oldest_ns, &none, now_ns);
}

static bool none_at_risk(const struct sg_ledger *l)
{
	return (int64_t)(atomic_load(&l->reserved_records) - atomic_load(&l->covered_records)) <= 0;
}

/* Something was covered by a sync that began at since_ns, or (0) given back. */
static void settle_oldest(struct sg_ledger *l, uint64_t since_ns)
{
	uint64_t seen = atomic_load(&l->oldest_ns);

	if (none_at_risk(l)) {
		if (seen && !atomic_compare_exchange_strong(&l->oldest_ns, &seen, 0))
			return;
		/* Somebody may have reserved before he could see the 0. */
		if (!none_at_risk(l))
			mark_oldest(l, since_ns ? since_ns : seen);
		return;
	}
	while (seen && seen < since_ns &&
	       !atomic_compare_exchange_weak(&l->oldest_ns, &seen, since_ns))
		;
}

static int refused(struct sg_ledger *l, uint64_t now_ns)
{
	uint64_t none = 0;

	if (atomic_load_explicit(&l->refused_ns, memory_order_relaxed) == 0)
		atomic_compare_exchange_strong(&l->refused_ns, &none, now_ns);
	return -EAGAIN;
}

int sg_ledger_reserve(struct sg_ledger *l, uint64_t bytes, uint64_t now_ns, bool *kick)
{
	uint64_t oldest = atomic_load(&l->oldest_ns);
	uint64_t records, at_risk_bytes, mark;

	*kick = false;
	if (bytes > l->max_bytes)
		return -EFBIG;
	if (oldest && now_ns > oldest && now_ns - oldest > l->max_delay_ns)
		return refused(l, now_ns);
	if (!take(&l->reserved_records, &l->covered_records, 1, l->max_records, &records))
		return refused(l, now_ns);
	if (!take(&l->reserved_bytes, &l->covered_bytes, bytes, l->max_bytes, &at_risk_bytes)) {
		atomic_fetch_sub(&l->reserved_records, 1);
		settle_oldest(l, 0); /* what is at risk grows no younger by a refusal */
		return refused(l, now_ns);
	}
	/* Looked at again: a sync that ended since may have found nothing at risk and cleared it. */
	if (atomic_load(&l->oldest_ns) == 0) {
		mark_oldest(l, now_ns);
		*kick = true;
	}
	/* Exactly one append crosses the mark. */
	mark = atomic_load(&l->kick_records);
	if (records == mark)
		*kick = true;
	mark = atomic_load(&l->kick_bytes);
	if (at_risk_bytes >= mark && at_risk_bytes - bytes < mark)
		*kick = true;
	sg_session_max(&l->peak_records, records);
	sg_session_max(&l->peak_bytes, at_risk_bytes);
	return 0;
}

void sg_ledger_reserve_unbounded(struct sg_ledger *l, uint64_t bytes, uint64_t now_ns)
{
	atomic_fetch_add(&l->reserved_records, 1);
	atomic_fetch_add(&l->reserved_bytes, bytes);
	mark_oldest(l, now_ns);
}

void sg_ledger_peak(struct sg_ledger *l)
{
	struct sg_at_risk risk;

	sg_ledger_at_risk(l, &risk);
	sg_session_max(&l->peak_records, risk.records);
	sg_session_max(&l->peak_bytes, risk.bytes);
}

void sg_ledger_done(struct sg_ledger *l, uint64_t reserved, uint64_t written)
{
	if (written < reserved)
		atomic_fetch_sub(&l->reserved_bytes, reserved - written);
	if (written == 0) {
		atomic_fetch_sub(&l->reserved_records, 1);
		settle_oldest(l, 0);
		sg_ledger_progress(l);
		return;
	}
	/* Bytes first: a snapshot takes records first, so it never counts a record without its bytes. */
	atomic_fetch_add(&l->done_bytes, written);
	atomic_fetch_add(&l->done_records, 1);
}

void sg_ledger_orphaned(struct sg_ledger *l, uint64_t records, uint64_t bytes)
{
	atomic_fetch_add(&l->done_bytes, bytes);
	atomic_fetch_add(&l->done_records, records);
	sg_ledger_kick(l);
}

void sg_ledger_begin(const struct sg_ledger *l, struct sg_ledger_snapshot *s, uint64_t now_ns)
{
	s->records = atomic_load(&l->done_records);
	s->bytes = atomic_load(&l->done_bytes);
	s->began_ns = now_ns;
}

static void grow_to(_Atomic uint64_t *word, uint64_t v)
{
	uint64_t seen = atomic_load(word);

	while (seen < v && !atomic_compare_exchange_weak(word, &seen, v))
		;
}

void sg_ledger_covered(struct sg_ledger *l, const struct sg_ledger_snapshot *s)
{
	uint64_t oldest = atomic_load(&l->oldest_ns);

	if (oldest && s->began_ns > oldest)
		sg_session_max(&l->peak_age_ns, s->began_ns - oldest);
	grow_to(&l->covered_bytes, s->bytes);
	grow_to(&l->covered_records, s->records);
	settle_oldest(l, s->began_ns);
	sg_ledger_progress(l);
}

static void note_failure(struct sg_ledger *l, int error, uint32_t pid, enum sg_op op,
			 uint64_t wall_ns)
{
	atomic_store(&l->poison_pid, pid);
	atomic_store(&l->poison_op, op);
	atomic_store(&l->poison_wall_ns, wall_ns);
	atomic_store(&l->poison_errno, (uint32_t)error);
}

void sg_ledger_failed(struct sg_ledger *l, const struct sg_ledger_snapshot *s,
		      _Atomic uint64_t *failures, int error, uint32_t pid, enum sg_op op,
		      uint64_t wall_ns, bool poison)
{
	uint64_t covered = atomic_load(&l->covered_records);
	uint64_t covered_bytes = atomic_load(&l->covered_bytes), at;

	if (s->records > covered)
		atomic_fetch_add(&l->lost_records, s->records - covered);
	if (s->bytes > covered_bytes)
		atomic_fetch_add(&l->lost_bytes, s->bytes - covered_bytes);
	note_failure(l, error, pid, op, wall_ns);
	/* Before the bound opens up again: no append may slip in between. */
	at = atomic_fetch_add(failures, 1) + 1;
	if (poison)
		grow_to(&l->poison_at, at);
	grow_to(&l->failed_at, at);
	sg_ledger_covered(l, s);
}

void sg_ledger_poison_before(struct sg_ledger *l, uint64_t opened_at, int error, uint32_t pid,
			     enum sg_op op, uint64_t wall_ns)
{
	if (!atomic_load(&l->poison_at))
		note_failure(l, error, pid, op, wall_ns);
	grow_to(&l->poison_at, opened_at + 1);
}

void sg_ledger_at_risk(const struct sg_ledger *l, struct sg_at_risk *out)
{
	uint64_t covered = atomic_load(&l->covered_records),
		 covered_bytes = atomic_load(&l->covered_bytes);
	uint64_t reserved = atomic_load(&l->reserved_records),
		 reserved_bytes = atomic_load(&l->reserved_bytes);

	/* Read one after the other while others move them: never below zero. */
	out->records = reserved > covered ? reserved - covered : 0;
	out->bytes = reserved_bytes > covered_bytes ? reserved_bytes - covered_bytes : 0;
	out->oldest_ns = atomic_load(&l->oldest_ns);
}

static struct sg_window_seen seen(struct sg_ledger *l, uint64_t now_ns)
{
	return (struct sg_window_seen){ .now_ns = now_ns,
					.records = atomic_load(&l->reserved_records),
					.bytes = atomic_load(&l->reserved_bytes),
					.refused_ns = atomic_exchange(&l->refused_ns, 0) };
}

void sg_ledger_pace_begin(struct sg_ledger *l, struct sg_window_pace *p, uint64_t now_ns)
{
	struct sg_window_seen s = seen(l, now_ns);

	sg_window_pace_begin(p, &s);
}

void sg_ledger_pace_end(struct sg_ledger *l, struct sg_window_pace *p, uint64_t now_ns,
			uint64_t sync_ns)
{
	struct sg_window_seen s = seen(l, now_ns);

	sg_window_pace_end(p, &s, sync_ns, atomic_load(&l->waiters));
}

struct sg_window_flush_out sg_ledger_ask(struct sg_ledger *l, struct sg_window_pace *p,
					 struct sg_window_flush_in in)
{
	struct sg_window_flush_out out;
	struct sg_at_risk risk;

	in.max_delay_ns = l->max_delay_ns;
	in.max_records = l->max_records;
	in.max_bytes = l->max_bytes;
	in.waiters += atomic_load(&l->waiters);
	sg_ledger_at_risk(l, &risk);
	do {
		in.now_ns = sg_now_ns();
		in.oldest_at_risk_ns =
			risk.records ? (risk.oldest_ns ? risk.oldest_ns : in.now_ns) : 0;
		in.records_at_risk = risk.records;
		in.bytes_at_risk = risk.bytes;
		out = sg_window_decide(p, in);
		atomic_store(&l->kick_records, out.records_mark);
		atomic_store(&l->kick_bytes, out.bytes_mark);
		/* Whoever reserved before he could see the marks did not kick at them. */
		sg_ledger_at_risk(l, &risk);
	} while (out.what == SG_FLUSH_WAIT &&
		 (risk.records >= out.records_mark || risk.bytes >= out.bytes_mark));
	return out;
}

void sg_ledger_kick(struct sg_ledger *l)
{
	atomic_fetch_add(&l->kick, 1);
	sg_futex_wake(&l->kick, 1);
}

void sg_ledger_progress(struct sg_ledger *l)
{
	atomic_fetch_add(&l->progress, 1);
	if (atomic_load(&l->waiters))
		sg_futex_wake(&l->progress, INT_MAX);
}

int sg_ledger_wait(struct sg_ledger *l, uint32_t seen, uint64_t timeout_ns)
{
	return sg_futex_wait(&l->progress, seen, timeout_ns);
}

void sg_ledger_demote(struct sg_ledger *l, uint32_t mode, uint32_t flag)
{
	atomic_fetch_or(&l->flags, flag);
	atomic_store(&l->mode, mode);
	sg_ledger_progress(l);
	sg_ledger_kick(l);
}
