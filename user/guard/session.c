// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/session.h"

#include <errno.h>
#include <string.h>

void sg_session_init(struct sg_session *s, enum sg_role role, uint32_t pid, uint64_t now_ns,
		     uint64_t wall_ns)
{
	s->magic = SG_SESSION_MAGIC;
	s->version = SG_SESSION_VERSION;
	s->size = sizeof(*s);
	s->role = role;
	s->pid = pid;
	s->started_ns = now_ns;
	s->started_wall_ns = wall_ns;
	/* Not a secret: it tells one session of a pid from the next. */
	s->nonce = now_ns ^ (uint64_t)pid << 32 ^ wall_ns << 7;
	atomic_store_explicit(&s->beat_ns, now_ns, memory_order_release);
}

int sg_session_op_begin(struct sg_session *s, uint32_t file, enum sg_op kind, uint64_t bytes,
			uint32_t tid, uint64_t now_ns)
{
	struct sg_session_op *op;
	uint32_t i, at;
	uint64_t free_word;

	for (i = 0; i < SG_OPS; i++) {
		at = (tid + i) % SG_OPS;
		op = &s->ops[at];
		free_word = 0;
		if (atomic_load_explicit(&op->start_ns, memory_order_relaxed) != 0 ||
		    !atomic_compare_exchange_strong_explicit(
			    &op->start_ns, &free_word, SG_OP_CLAIMED | tid, memory_order_acquire,
			    memory_order_relaxed))
			continue;
		atomic_store_explicit(&op->file, file, memory_order_relaxed);
		atomic_store_explicit(&op->kind, kind, memory_order_relaxed);
		atomic_store_explicit(&op->bytes, bytes, memory_order_relaxed);
		atomic_store_explicit(&op->tid, tid, memory_order_relaxed);
		atomic_store_explicit(&op->start_ns, now_ns, memory_order_release);
		return (int)at;
	}
	atomic_fetch_add_explicit(&s->untracked, 1, memory_order_relaxed);
	return -1;
}

void sg_session_op_end(struct sg_session *s, int op)
{
	if (op >= 0)
		atomic_store_explicit(&s->ops[op].start_ns, 0, memory_order_release);
}

void sg_session_ops_left(struct sg_session *s, uint32_t tid)
{
	uint64_t start_ns;
	uint32_t i;

	for (i = 0; i < SG_OPS; i++) {
		start_ns = atomic_load_explicit(&s->ops[i].start_ns, memory_order_relaxed);
		if (start_ns == (SG_OP_CLAIMED | tid) ||
		    (start_ns && !(start_ns & SG_OP_CLAIMED) &&
		     atomic_load_explicit(&s->ops[i].tid, memory_order_relaxed) == tid))
			sg_session_op_end(s, (int)i);
	}
}

void sg_session_op_becomes(struct sg_session *s, int op, enum sg_op kind, uint64_t start_ns)
{
	if (op < 0)
		return;
	atomic_store_explicit(&s->ops[op].kind, kind, memory_order_relaxed);
	atomic_store_explicit(&s->ops[op].start_ns, start_ns, memory_order_release);
}

void sg_session_uses(struct sg_session *s, uint32_t file)
{
	uint32_t seen = atomic_load_explicit(&s->files_end, memory_order_relaxed);

	while (seen <= file && !atomic_compare_exchange_weak(&s->files_end, &seen, file + 1))
		;
}

void sg_session_max(_Atomic uint64_t *word, uint64_t v)
{
	uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

	while (seen < v && !atomic_compare_exchange_weak_explicit(
				   word, &seen, v, memory_order_relaxed, memory_order_relaxed))
		;
}

void sg_session_event(struct sg_session *s, const struct sg_event *e)
{
	uint64_t n = atomic_fetch_add_explicit(&s->events_next, 1, memory_order_relaxed) + 1;
	struct sg_session_event *to = &s->events[n % SG_EVENTS];

	/* An exchange, so that nothing written below can be seen before it. */
	atomic_exchange_explicit(&to->seq, 0, memory_order_acq_rel);
	atomic_store_explicit(&to->ns, e->ns, memory_order_relaxed);
	atomic_store_explicit(&to->wall_ns, e->wall_ns, memory_order_relaxed);
	atomic_store_explicit(&to->kind, e->kind, memory_order_relaxed);
	atomic_store_explicit(&to->pid, e->pid, memory_order_relaxed);
	atomic_store_explicit(&to->file, e->file, memory_order_relaxed);
	atomic_store_explicit(&to->op, e->op, memory_order_relaxed);
	atomic_store_explicit(&to->start_ns, e->start_ns, memory_order_relaxed);
	atomic_store_explicit(&to->age_ns, e->age_ns, memory_order_relaxed);
	atomic_store_explicit(&to->bytes, e->bytes, memory_order_relaxed);
	atomic_store_explicit(&to->error, e->error, memory_order_relaxed);
	atomic_store_explicit(&to->tid, e->tid, memory_order_relaxed);
	memcpy(to->path, e->path, sizeof(to->path));
	atomic_store_explicit(&to->seq, n, memory_order_release);
}

/* --- reading what somebody else writes --- */

int sg_session_check(const void *mem, uint64_t size)
{
	const struct sg_session *s = mem;

	if (size < sizeof(*s))
		return -EMSGSIZE;
	if (s->magic != SG_SESSION_MAGIC || s->version != SG_SESSION_VERSION ||
	    s->size != sizeof(*s) || (s->role != SG_ROLE_GUARDED && s->role != SG_ROLE_BROKER))
		return -EPROTO;
	return 0;
}

/* A path from memory that may change under us: always ends, and holds no control characters that a
 * terminal would obey. */
static void copy_path(char *to, const char *from)
{
	size_t i;

	for (i = 0; i < SG_PATH_BYTES - 1 && from[i]; i++) {
		unsigned char c = (unsigned char)from[i];

		to[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	to[i] = '\0';
}

int sg_session_read_file(const struct sg_session *s, uint32_t i, struct sg_session_file *out)
{
	const struct sg_session_file *f;
	uint32_t state;

	if (i >= SG_FILES)
		return -ENOENT;
	f = &s->files[i];
	state = atomic_load_explicit(&f->state, memory_order_acquire);
	if (state != SG_SLOT_LIVE && state != SG_SLOT_CLOSED)
		return -ENOENT;
	memcpy((void *)out, (const void *)f, sizeof(*out));
	copy_path(out->path, f->path);
	return 0;
}

static bool read_event(const struct sg_session_event *from, uint64_t n, struct sg_event *out)
{
	if (atomic_load_explicit(&from->seq, memory_order_acquire) != n)
		return false;
	out->seq = n;
	out->ns = atomic_load_explicit(&from->ns, memory_order_relaxed);
	out->wall_ns = atomic_load_explicit(&from->wall_ns, memory_order_relaxed);
	out->kind = atomic_load_explicit(&from->kind, memory_order_relaxed);
	out->pid = atomic_load_explicit(&from->pid, memory_order_relaxed);
	out->file = atomic_load_explicit(&from->file, memory_order_relaxed);
	out->op = atomic_load_explicit(&from->op, memory_order_relaxed);
	out->start_ns = atomic_load_explicit(&from->start_ns, memory_order_relaxed);
	out->age_ns = atomic_load_explicit(&from->age_ns, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&from->bytes, memory_order_relaxed);
	out->error = atomic_load_explicit(&from->error, memory_order_relaxed);
	copy_path(out->path, from->path);
	/* Acquire: the number is looked at again after all the rest. */
	out->tid = atomic_load_explicit(&from->tid, memory_order_acquire);
	return atomic_load_explicit(&from->seq, memory_order_relaxed) == n;
}

int sg_session_read_event(const struct sg_session *s, uint64_t *seq, struct sg_event *out,
			  uint64_t *dropped)
{
	uint64_t last = atomic_load_explicit(&s->events_next, memory_order_acquire);
	uint64_t first = last > SG_EVENTS ? last - SG_EVENTS + 1 : 1;

	if (*seq == 0)
		*seq = 1;
	if (*seq > last)
		return 0;
	if (*seq < first) {
		*dropped += first - *seq;
		*seq = first;
	}
	/* A slot that is being written, or was overwritten meanwhile, is one that we lost; the last one
	 * may be still on its way in, so it is left for the next call. */
	for (; *seq <= last; (*seq)++) {
		if (read_event(&s->events[*seq % SG_EVENTS], *seq, out)) {
			(*seq)++;
			return 1;
		}
		if (*seq == last)
			return 0;
		(*dropped)++;
	}
	return 0;
}

#define NAME_OF(names, i) \
	((i) < sizeof(names) / sizeof((names)[0]) && (names)[i] ? (names)[i] : "unknown")

const char *sg_op_name(uint32_t op)
{
	static const char *const names[] = {
		[SG_OP_WRITE] = "write",
		[SG_OP_FSYNC] = "fsync",
		[SG_OP_FDATASYNC] = "fdatasync",
		[SG_OP_MSYNC] = "msync",
		[SG_OP_SYNC_FILE_RANGE] = "sync_file_range",
		[SG_OP_ADMISSION] = "admission",
		[SG_OP_DRAIN] = "drain",
	};

	return NAME_OF(names, op);
}

const char *sg_event_name(uint32_t kind)
{
	static const char *const names[] = {
		[SG_EV_STALL_BEGUN] = "stall begun",
		[SG_EV_STALL_CLEARED] = "stall cleared",
		[SG_EV_SYNC_ERROR] = "sync error",
		[SG_EV_POISONED] = "poisoned",
		[SG_EV_DEMOTED] = "demoted",
		[SG_EV_DEGRADED] = "degraded",
		[SG_EV_SESSION_BEGUN] = "session begun",
		[SG_EV_SESSION_ENDED] = "session ended",
		[SG_EV_FLUSHED_AFTER_DEATH] = "flushed after death",
	};

	return NAME_OF(names, kind);
}

const char *sg_counter_name(uint32_t c)
{
	static const char *const names[] = {
		[SG_C_APPENDS] = "appends",
		[SG_C_APPEND_BYTES] = "append_bytes",
		[SG_C_APPEND_ERRORS] = "append_errors",
		[SG_C_APPENDS_REFUSED] = "appends_refused",
		[SG_C_APPENDS_WAITED] = "appends_waited",
		[SG_C_APPEND_WAIT_NS] = "append_wait_ns",
		[SG_C_CALLS] = "sync_calls",
		[SG_C_LED] = "syncs_led",
		[SG_C_GROUPED] = "syncs_grouped",
		[SG_C_ELIDED] = "syncs_elided",
		[SG_C_WINDOWED] = "syncs_windowed",
		[SG_C_POISONED] = "syncs_poisoned",
		[SG_C_REFUSED] = "syncs_refused",
		[SG_C_DRAINS] = "drains",
		[SG_C_INLINE] = "inline_syncs",
		[SG_C_ISSUED] = "syncs_issued",
		[SG_C_SYNC_ERRORS] = "sync_errors",
		[SG_C_SYNC_NS] = "sync_ns",
		[SG_C_SYNC_MAX_NS] = "sync_max_ns",
		[SG_C_CALL_NS] = "call_ns",
		[SG_C_CALL_MAX_NS] = "call_max_ns",
		[SG_C_WRITE_NS] = "write_ns",
		[SG_C_WRITE_MAX_NS] = "write_max_ns",
		[SG_C_STALLS] = "stalls",
		[SG_C_RANGE_SYNCS] = "range_syncs",
	};

	return NAME_OF(names, c);
}
