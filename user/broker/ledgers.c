// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Files that the broker syncs: enrolment, and the flusher of each.
 *
 * The broker opens the file anew (/proc/self/fd) and drops the descriptor that it was handed: so its
 * syncs take no error from the program's description, its close drops no lock, and a flock ends with the
 * program. A file that cannot be opened anew (permissions) is synced through the handed descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/internal.h"
#include "guard/clock.h"
#include "guard/futex.h"
#include "guard/group.h"
#include "guard/hist.h"
#include "guard/identity.h"

/* How long a reservation that no process has a write for must stand still until it counts as a dead
 * process'. A write is announced before it reserves, so this only bridges the reading of two memories. */
#define ORPHANED_NS 100000000ull

/* How long nobody has had a file open before our descriptor of it is closed. */
#define UNUSED_NS 1000000000ull

/* --- flushing --- */

static void count_sync(struct broker_ledger *p, uint64_t took_ns)
{
	struct sg_session_file *s = broker_stats(p);

	sg_count(s, SG_C_ISSUED, 1);
	sg_count(s, SG_C_SYNC_NS, took_ns);
	sg_session_max(&s->counter[SG_C_SYNC_MAX_NS], took_ns);
	sg_hist_record((uint64_t *)s->sync_hist, took_ns);
}

static void flush_failed(struct broker_ledger *p, const struct sg_ledger_snapshot *snap, int error,
			 enum sg_op op)
{
	struct sg_ledger *l = broker_shared(p);
	bool poison = p->on_error == SG_ON_ERROR_POISON;

	sg_count(broker_stats(p), SG_C_SYNC_ERRORS, 1);
	sg_ledger_failed(l, snap, &p->broker->registry->failures, error, (uint32_t)getpid(), op,
			 sg_wall_ns(), poison);
	broker_event(p->broker, SG_EV_SYNC_ERROR, (uint32_t)getpid(), broker_ledger_index(p), error,
		     0);
	if (poison)
		broker_event(p->broker, SG_EV_POISONED, (uint32_t)getpid(), broker_ledger_index(p),
			     error, 0);
}

static void flush(struct broker_ledger *p)
{
	struct sg_ledger *l = broker_shared(p);
	enum sg_op op = atomic_exchange(&l->want_full, 0) ? SG_OP_FSYNC : SG_OP_FDATASYNC;
	struct sg_ledger_snapshot snap;
	uint64_t t0 = sg_now_ns(), t1;
	int slot, error;

	sg_ledger_pace_begin(l, &p->pace, t0);
	sg_ledger_begin(l, &snap, t0);
	slot = sg_session_op_begin(p->broker->session, broker_ledger_index(p), op, 0,
				   broker_ledger_index(p), t0);
	error = (op == SG_OP_FSYNC ? fsync(p->fd) : fdatasync(p->fd)) ? errno : 0;
	sg_session_op_end(p->broker->session, slot);
	t1 = sg_now_ns();
	count_sync(p, t1 - t0);
	sg_ledger_pace_end(l, &p->pace, t1, t1 - t0);
	if (error)
		flush_failed(p, &snap, error, op);
	else
		sg_ledger_covered(l, &snap);
}

static struct sg_window_flush_out decide(struct broker_ledger *p)
{
	struct sg_window_flush_in in = { .fixed = atomic_load(&p->fixed) };

	in.waiters = atomic_load(&p->died) || atomic_load(&p->stop);
	return sg_ledger_ask(broker_shared(p), &p->pace, in);
}

/* Has a live process a write of this ledger under way, or too much of everything to tell? */
static bool under_way(const struct sg_broker *b, uint32_t ledger)
{
	const struct broker_session *s;
	const struct sg_session_op *op;
	uint32_t i, j, file, busy;
	uint64_t start_ns;

	for (i = 0; i < SG_BROKER_SESSIONS; i++) {
		s = &b->sessions[i];
		if (!s->used || s->ended)
			continue;
		for (j = 0, busy = 0; j < SG_OPS; j++) {
			op = &s->mem->ops[j];
			start_ns = atomic_load_explicit(&op->start_ns, memory_order_acquire);
			if (start_ns == 0)
				continue;
			busy++;
			if (start_ns & SG_OP_CLAIMED) /* then it has reserved nothing yet */
				continue;
			file = atomic_load_explicit(&op->file, memory_order_relaxed);
			if (atomic_load_explicit(&op->kind, memory_order_relaxed) == SG_OP_WRITE &&
			    file < SG_FILES &&
			    atomic_load_explicit(&s->mem->files[file].ledger,
						 memory_order_relaxed) == ledger + 1)
				return true;
		}
		if (busy == SG_OPS)
			return true;
	}
	return false;
}

/* A process that was killed inside a write never gives its place back; while another has the file open
 * nobody else does. All at risk is such places, or writes that are slow: tell them apart. */
static void reclaim(struct broker_ledger *p)
{
	struct sg_ledger *l = broker_shared(p);
	uint64_t reserved = atomic_load(&l->reserved_records), done = atomic_load(&l->done_records);
	uint64_t bytes = atomic_load(&l->reserved_bytes) - atomic_load(&l->done_bytes);
	uint64_t now_ns = sg_now_ns();
	bool busy;

	/* Whoever holds the lock may be waiting for our end. */
	if (pthread_mutex_trylock(&p->broker->lock) != 0)
		return;
	busy = under_way(p->broker, broker_ledger_index(p));
	pthread_mutex_unlock(&p->broker->lock);
	if (busy || reserved != p->still.reserved || done != p->still.done) {
		p->still.reserved = reserved;
		p->still.done = done;
		p->still.since_ns = now_ns;
		return;
	}
	if (now_ns - p->still.since_ns < ORPHANED_NS || (int64_t)(reserved - done) <= 0)
		return;
	atomic_store(&p->died, true);
	sg_ledger_orphaned(l, reserved - done, (int64_t)bytes > 0 ? bytes : 0);
}

static void *flusher(void *arg)
{
	struct broker_ledger *p = arg;
	struct sg_ledger *l = broker_shared(p);
	struct sg_window_flush_out out;
	uint64_t now_ns;
	uint32_t seen;

	for (;;) {
		seen = atomic_load(&l->kick);
		out = decide(p);
		if (out.what != SG_FLUSH_IDLE && (p->fd < 0 || sg_ledger_nothing_to_cover(l))) {
			if (atomic_load(&p->stop))
				break;
			reclaim(p);
			sg_futex_wait(&l->kick, seen, 20000000);
			continue;
		}
		/* An fsync came while an fdatasync was covering the last append. */
		if (out.what == SG_FLUSH_IDLE && p->fd >= 0 && atomic_load(&l->want_full))
			out.what = SG_FLUSH_NOW;
		if (out.what == SG_FLUSH_NOW) {
			atomic_store(&p->syncing, true);
			flush(p);
			atomic_store(&p->syncing, false);
			if (atomic_exchange(&p->died, false))
				broker_event(p->broker, SG_EV_FLUSHED_AFTER_DEATH, 0,
					     broker_ledger_index(p), 0, 0);
			continue;
		}
		if (out.what == SG_FLUSH_IDLE) {
			atomic_store(&p->died, false);
			if (atomic_load(&p->stop))
				break;
			sg_futex_wait(&l->kick, seen, UINT64_MAX);
			continue;
		}
		now_ns = sg_now_ns();
		if (out.until_ns > now_ns)
			sg_futex_wait(&l->kick, seen, out.until_ns - now_ns);
	}
	return NULL;
}

void broker_stop_flushers(struct sg_broker *b)
{
	struct broker_ledger *p;
	uint32_t i;

	for (i = 0; i < SG_FILES; i++) {
		p = &b->ledgers[i];
		if (!p->running)
			continue;
		atomic_store(&p->stop, true);
		sg_ledger_kick(broker_shared(p));
		pthread_join(p->thread, NULL);
		p->running = false;
	}
}

/* --- enrolment --- */

static struct broker_ledger *find(struct sg_broker *b, const struct sg_file_id *id)
{
	uint32_t i;

	for (i = 0; i < SG_FILES; i++)
		if (b->ledgers[i].used && sg_file_id_equal(&b->ledgers[i].id, id))
			return &b->ledgers[i];
	return NULL;
}

static bool reusable(struct broker_ledger *p)
{
	return p->used && p->fd < 0 && !p->running && !atomic_load(&broker_shared(p)->poison_at) &&
	       !broker_in_use(p->broker, broker_ledger_index(p));
}

static struct broker_ledger *place(struct sg_broker *b)
{
	uint32_t i;

	for (i = 0; i < SG_FILES; i++)
		if (!b->ledgers[i].used)
			return &b->ledgers[i];
	for (i = 0; i < SG_FILES; i++)
		if (reusable(&b->ledgers[i]))
			return &b->ledgers[i];
	return NULL;
}

static int own_description(int fd)
{
	static const int how[] = { O_RDONLY, O_WRONLY };
	char path[32];
	size_t i;
	int own;

	/* On a network or FUSE file system an open may hang the broker, and every other file with it. */
	if (sg_identity_verdict(fd) == SG_VERDICT_FUSE ||
	    sg_identity_verdict(fd) == SG_VERDICT_NETWORK)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (i = 0; i < 2; i++) {
		own = open(path, how[i] | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (own >= 0) {
			close(fd);
			return own;
		}
	}
	return fd;
}

static void fill(struct broker_ledger *p, const struct sg_msg *m, const struct sg_file_id *id,
		 int fd)
{
	struct sg_ledger *l = broker_shared(p);
	struct sg_session_file *s = broker_stats(p);

	memset((void *)l, 0, sizeof(*l));
	memset((void *)s, 0, sizeof(*s));
	sg_session_uses(p->broker->session, broker_ledger_index(p));
	p->used = true;
	p->id = l->id = s->id = *id;
	p->on_error = m->enrol.on_error;
	p->fixed = m->enrol.fixed != 0;
	memset(&p->pace, 0, sizeof(p->pace));
	l->max_records = m->enrol.max_records;
	l->max_bytes = m->enrol.max_bytes;
	l->max_delay_ns = m->enrol.max_delay_ns;
	if (sg_identity_path(fd, l->path, sizeof(l->path)) < 0)
		l->path[0] = '\0';
	memcpy(s->path, l->path, sizeof(s->path));
	atomic_store(&l->size_base, m->enrol.size);
	atomic_store(&l->mode, m->enrol.mode);
	atomic_store(&s->mode, m->enrol.mode);
	atomic_store(&s->wanted, m->enrol.mode);
	atomic_store(&s->stall_ns, m->enrol.stall_ns);
	atomic_store(&s->verdict, sg_identity_verdict(fd));
	atomic_store(&l->state, SG_SLOT_LIVE);
	atomic_store(&s->state, SG_SLOT_LIVE);
}

/* Several processes, several policies: the tighter bound, the higher mode (a process that wants less
 * takes less for itself), and adapting if one wants it. A file that has fallen stays fallen. */
static void merge(struct broker_ledger *p, const struct sg_msg *m)
{
	struct sg_ledger *l = broker_shared(p);

	if (m->enrol.max_records < l->max_records)
		l->max_records = m->enrol.max_records;
	if (m->enrol.max_bytes < l->max_bytes)
		l->max_bytes = m->enrol.max_bytes;
	if (m->enrol.max_delay_ns < l->max_delay_ns)
		l->max_delay_ns = m->enrol.max_delay_ns;
	if (!m->enrol.fixed)
		atomic_store(&p->fixed, false);
	if (m->enrol.mode > atomic_load(&l->mode) && !(atomic_load(&l->flags) & SG_F_NOT_APPEND)) {
		atomic_store(&l->mode, m->enrol.mode);
		atomic_store(&broker_stats(p)->mode, m->enrol.mode);
	}
}

static int start_flusher(struct broker_ledger *p)
{
	int err;

	if (p->running || atomic_load(&broker_shared(p)->mode) < SG_MODE_WINDOW)
		return 0;
	atomic_store(&p->stop, false);
	err = pthread_create(&p->thread, NULL, flusher, p);
	p->running = err == 0;
	return -err;
}

static bool sane(const struct sg_msg *m)
{
	return m->enrol.mode <= SG_MODE_ENSURE && m->enrol.on_error <= SG_ON_ERROR_WARN &&
	       m->enrol.max_records && m->enrol.max_bytes && m->enrol.max_delay_ns &&
	       m->enrol.max_delay_ns <= SG_POLICY_TIME_MAX_NS;
}

int broker_enrol(struct sg_broker *b, const struct sg_msg *m, int fd)
{
	struct broker_ledger *p;
	struct sg_file_id id;
	struct stat st;
	int err;

	if (!sane(m) || sg_identity(fd, &st, &id) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	fd = own_description(fd);
	pthread_mutex_lock(&b->lock);
	p = find(b, &id);
	if (p) {
		merge(p, m);
	} else {
		p = place(b);
		if (p) {
			p->broker = b;
			p->fd = -1;
			fill(p, m, &id, fd);
		}
	}
	if (!p) {
		pthread_mutex_unlock(&b->lock);
		close(fd);
		return -ENOSPC;
	}
	if (p->fd < 0)
		p->fd = fd;
	else
		close(fd);
	p->wanted_ns = sg_now_ns();
	atomic_store(&broker_shared(p)->state, SG_SLOT_LIVE);
	err = start_flusher(p);
	pthread_mutex_unlock(&b->lock);
	sg_ledger_kick(broker_shared(p));
	return err ? err : (int)broker_ledger_index(p);
}

/* --- who uses what --- */

static bool uses(const struct broker_session *s, uint32_t ledger)
{
	uint32_t i, end = sg_session_files(s->mem);

	for (i = 0; i < end; i++)
		if (atomic_load_explicit(&s->mem->files[i].ledger, memory_order_relaxed) ==
			    ledger + 1 &&
		    atomic_load_explicit(&s->mem->files[i].state, memory_order_relaxed) ==
			    SG_SLOT_LIVE &&
		    atomic_load_explicit(&s->mem->files[i].open_count, memory_order_relaxed))
			return true;
	return false;
}

bool broker_in_use(const struct sg_broker *b, uint32_t ledger)
{
	uint32_t i;

	for (i = 0; i < SG_BROKER_SESSIONS; i++)
		if (b->sessions[i].used && !b->sessions[i].ended && uses(&b->sessions[i], ledger))
			return true;
	return false;
}

/* Nobody is left who could finish what he reserved. */
static void finish_reservations(struct sg_ledger *l)
{
	int64_t records =
		(int64_t)(atomic_load(&l->reserved_records) - atomic_load(&l->done_records));
	int64_t bytes = (int64_t)(atomic_load(&l->reserved_bytes) - atomic_load(&l->done_bytes));

	atomic_store(&l->waiters, 0);
	if (records > 0)
		sg_ledger_orphaned(l, (uint64_t)records, bytes > 0 ? (uint64_t)bytes : 0);
}

void broker_session_gone(struct sg_broker *b, struct broker_session *s)
{
	struct sg_at_risk risk;
	struct broker_ledger *p;
	uint32_t i;

	for (i = 0; i < SG_FILES; i++) {
		p = &b->ledgers[i];
		if (!p->used || !p->running || !uses(s, i))
			continue;
		if (!broker_in_use(b, i))
			finish_reservations(broker_shared(p));
		sg_ledger_at_risk(broker_shared(p), &risk);
		if (risk.records)
			atomic_store(&p->died, true);
		sg_ledger_kick(broker_shared(p));
	}
}

void broker_release_unused(struct sg_broker *b)
{
	struct broker_ledger *p;
	struct sg_at_risk risk;
	uint32_t i;

	for (i = 0; i < SG_FILES; i++) {
		p = &b->ledgers[i];
		if (!p->used || p->fd < 0)
			continue;
		/* Between our answer and its first use a process may be slow; a slower one finds CLOSED
		 * and enrols again. */
		if (broker_in_use(b, i))
			p->wanted_ns = sg_now_ns();
		if (sg_now_ns() - p->wanted_ns < UNUSED_NS)
			continue;
		sg_ledger_at_risk(broker_shared(p), &risk);
		/* Joining a flusher that hangs in a sync would stop us with it. */
		if (p->running && (risk.records || atomic_load(&p->syncing)))
			continue;
		atomic_store(&broker_shared(p)->state, SG_SLOT_CLOSED);
		if (p->running) {
			atomic_store(&p->stop, true);
			sg_ledger_kick(broker_shared(p));
			pthread_join(p->thread, NULL);
			p->running = false;
		}
		close(p->fd);
		p->fd = -1;
	}
}
