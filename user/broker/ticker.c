// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The ticker: looks at every operation under way in every session, tells of stalls that began and
 * cleared, keeps the beat by which a guarded process knows that we live, and copies what must outlive
 * a process (poison, what is at risk) from shared memory into our own.
 *
 * It does no file I/O, so no disk can stop it.
 */
#include <string.h>
#include <unistd.h>

#include "broker/internal.h"
#include "guard/clock.h"
#include "guard/futex.h"

#define TICK_MAX_NS  100000000ull
#define TICK_MIN_NS  2000000ull
#define STALL_MIN_NS 1000000ull

static void stall_event(struct sg_broker *b, const struct sg_session *s,
			const struct sg_session_op *op, enum sg_event_kind kind, uint64_t start_ns,
			uint64_t now_ns)
{
	struct sg_event e = { .ns = now_ns,
			      .wall_ns = sg_wall_ns(),
			      .kind = kind,
			      .pid = s->pid,
			      .file = UINT32_MAX,
			      .start_ns = start_ns,
			      .age_ns = now_ns - start_ns };
	struct sg_session_file f;
	uint32_t slot = atomic_load_explicit(&op->file, memory_order_relaxed);

	e.op = atomic_load_explicit(&op->kind, memory_order_relaxed);
	e.bytes = atomic_load_explicit(&op->bytes, memory_order_relaxed);
	e.tid = atomic_load_explicit(&op->tid, memory_order_relaxed);
	if (sg_session_read_file(s, slot, &f) == 0) {
		memcpy(e.path, f.path, sizeof(e.path));
		if (s == b->session)
			e.file = slot;
	}
	sg_session_event(b->session, &e);
}

static uint64_t threshold(const struct sg_session *s, uint32_t slot)
{
	uint64_t ns = slot < SG_FILES
			      ? atomic_load_explicit(&s->files[slot].stall_ns, memory_order_relaxed)
			      : 0;

	if (ns == 0)
		return 1000000000;
	return ns < STALL_MIN_NS ? STALL_MIN_NS : ns;
}

/* Returns the time to the next threshold of an operation under way. */
static uint64_t watch(struct sg_broker *b, const struct sg_session *s, uint64_t *stalled,
		      uint64_t now_ns)
{
	const struct sg_session_op *op;
	uint64_t start_ns, limit_ns, age_ns, next_ns = TICK_MAX_NS;
	uint32_t i;

	for (i = 0; i < SG_OPS; i++) {
		op = &s->ops[i];
		start_ns = atomic_load_explicit(&op->start_ns, memory_order_acquire);
		if (stalled[i] && stalled[i] != start_ns) {
			stall_event(b, s, op, SG_EV_STALL_CLEARED, stalled[i], now_ns);
			stalled[i] = 0;
		}
		if (start_ns == 0 || start_ns > now_ns) /* a claim is far in the future */
			continue;
		limit_ns = threshold(s, atomic_load_explicit(&op->file, memory_order_relaxed));
		age_ns = now_ns - start_ns;
		if (age_ns >= limit_ns && stalled[i] != start_ns) {
			stalled[i] = start_ns;
			stall_event(b, s, op, SG_EV_STALL_BEGUN, start_ns, now_ns);
		}
		if (age_ns < limit_ns && limit_ns - age_ns < next_ns)
			next_ns = limit_ns - age_ns;
		if (limit_ns / 10 < next_ns)
			next_ns = limit_ns / 10;
	}
	return next_ns;
}

/* The thresholds of files decide how soon a new operation can become a stall. */
static uint64_t shortest(const struct sg_session *s)
{
	uint64_t ns, min_ns = UINT64_MAX;
	uint32_t i, end = sg_session_files(s);

	for (i = 0; i < end; i++) {
		if (atomic_load_explicit(&s->files[i].state, memory_order_relaxed) != SG_SLOT_LIVE)
			continue;
		ns = threshold(s, i);
		if (ns < min_ns)
			min_ns = ns;
	}
	return min_ns == UINT64_MAX ? TICK_MAX_NS : min_ns / 10;
}

static void keep(struct sg_broker *b)
{
	struct sg_session_file *s;
	struct sg_ledger *l;
	struct sg_at_risk risk;
	uint32_t i;

	for (i = 0; i < SG_FILES; i++) {
		if (!b->ledgers[i].used)
			continue;
		l = &b->registry->ledgers[i];
		s = &b->session->files[i];
		sg_ledger_at_risk(l, &risk);
		atomic_store(&s->at_risk_records, risk.records);
		atomic_store(&s->at_risk_bytes, risk.bytes);
		atomic_store(&s->oldest_at_risk_ns, risk.records ? risk.oldest_ns : 0);
		sg_session_max(&s->peak_records, atomic_load(&l->peak_records));
		sg_session_max(&s->peak_bytes, atomic_load(&l->peak_bytes));
		sg_session_max(&s->peak_age_ns, atomic_load(&l->peak_age_ns));
		atomic_store(&s->mode, atomic_load(&l->mode));
		atomic_store(&s->flags, atomic_load(&l->flags));
		if (atomic_load(&l->poison_at)) {
			atomic_store(&s->poison_errno, atomic_load(&l->poison_errno));
			atomic_store(&s->poison_wall_ns, atomic_load(&l->poison_wall_ns));
		}
	}
}

void *broker_ticker(void *broker)
{
	struct sg_broker *b = broker;
	static uint64_t own_stalled[SG_OPS];
	struct broker_session *s;
	uint64_t now_ns, next_ns, n;
	uint32_t i, seen;

	while (!atomic_load(&b->ended)) {
		seen = atomic_load(&b->tick);
		now_ns = sg_now_ns();
		atomic_store(&b->session->beat_ns, now_ns);
		next_ns = watch(b, b->session, own_stalled, now_ns);
		n = shortest(b->session);
		next_ns = n < next_ns ? n : next_ns;
		pthread_mutex_lock(&b->lock);
		if (!b->no_beat)
			atomic_store(&b->registry->broker_beat_ns, now_ns);
		for (i = 0; i < SG_BROKER_SESSIONS; i++) {
			s = &b->sessions[i];
			if (!s->used || s->ended)
				continue;
			n = watch(b, s->mem, s->stalled, now_ns);
			next_ns = n < next_ns ? n : next_ns;
			n = shortest(s->mem);
			next_ns = n < next_ns ? n : next_ns;
		}
		keep(b);
		pthread_mutex_unlock(&b->lock);
		sg_futex_wait(&b->tick, seen, next_ns < TICK_MIN_NS ? TICK_MIN_NS : next_ns);
	}
	return NULL;
}
