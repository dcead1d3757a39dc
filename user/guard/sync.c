// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * A sync: by the mode of its file a kernel sync of its own, a share in one, a promise inside the window,
 * or, for a directory that did not change, nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "guard/clock.h"
#include "guard/hist.h"
#include "guard/process.h"
#include "guard/sys.h"

#define COMPANY_MAX_NS 10000000ull /* the longest wait for company in a group */
#define LOOK_AGAIN_NS  100000000ull

/* --- one kernel sync --- */

static void tell_poison(struct sg_file *f, int error)
{
	atomic_store(&sg_file_stats(f)->poison_errno, (uint32_t)error);
	atomic_store(&sg_file_stats(f)->poison_wall_ns, atomic_load(&f->ledger->poison_wall_ns));
	sg_report(SG_EV_POISONED, sg_file_index(f), error);
}

/*
 * Does every description of f ask the kernel at its next sync? Then the one that met the error, and those
 * opened before it, are poisoned: whether the failure was before or after a later open, only errseq knows.
 * In a window nobody asks, and elided directory syncs do not either: then all that is open is poisoned.
 */
static bool each_asks(const struct sg_file *f)
{
	return f->wanted == SG_MODE_GROUP && !f->is_dir &&
	       atomic_load(&f->ledger->mode) <= (uint32_t)SG_MODE_GROUP;
}

static void sync_failed(struct sg_file *f, const struct sg_ledger_snapshot *snap, int fd, int error,
			enum sg_op op)
{
	bool poison = f->wanted != SG_MODE_OBSERVE && f->on_error == SG_ON_ERROR_POISON;
	const struct sg_desc *d = each_asks(f) ? sg_desc_of(fd) : NULL;

	sg_count(sg_file_stats(f), SG_C_SYNC_ERRORS, 1);
	sg_report(SG_EV_SYNC_ERROR, sg_file_index(f), error);
	if (f->wanted == SG_MODE_OBSERVE)
		return;
	if (poison && d)
		sg_ledger_poison_before(f->ledger, d->opened_at, error, (uint32_t)sg_process.pid,
					op, sg_wall_ns());
	sg_ledger_failed(f->ledger, snap, &sg_process.registry->failures, error,
			 (uint32_t)sg_process.pid, op, sg_wall_ns(), poison && !d);
	if (poison)
		tell_poison(f, error);
	if (f->on_error == SG_ON_ERROR_ABORT)
		abort();
}

static void count_sync(struct sg_session_file *s, uint64_t took_ns)
{
	sg_count(s, SG_C_ISSUED, 1);
	sg_count(s, SG_C_SYNC_NS, took_ns);
	sg_session_max(&s->counter[SG_C_SYNC_MAX_NS], took_ns);
	sg_hist_record((uint64_t *)s->sync_hist, took_ns);
	if (took_ns >= atomic_load_explicit(&s->stall_ns, memory_order_relaxed))
		sg_count(s, SG_C_STALLS, 1);
}

int sg_issue(struct sg_file *f, int fd, enum sg_op op, sg_sync_fn next, enum sg_counter counted,
	     struct sg_group_times *times)
{
	struct sg_session_file *s = sg_file_stats(f);
	struct sg_ledger_snapshot snap;
	int error, slot, state, ignored;

	times->began_ns = sg_now_ns();
	sg_ledger_begin(f->ledger, &snap, times->began_ns);
	slot = sg_session_op_begin(sg_process.session, sg_file_index(f), op, 0, sg_tid(),
				   times->began_ns);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	error = (next		     ? next(fd)
		 : op == SG_OP_FSYNC ? sg_sys_fsync(fd)
				     : sg_sys_fdatasync(fd))
			? errno
			: 0;
	pthread_setcancelstate(state, &ignored);
	times->ended_ns = sg_now_ns();
	sg_session_op_end(sg_process.session, slot);
	if (sg_group_void_error(error)) {
		if (counted == SG_C_LED)
			sg_count(s, SG_C_REFUSED, 1);
		return error;
	}
	count_sync(s, times->ended_ns - times->began_ns);
	sg_count(s, counted, 1);
	if (error)
		sync_failed(f, &snap, fd, error, op);
	else
		sg_ledger_covered(f->ledger, &snap);
	return error;
}

/* --- groups --- */

struct issue {
	struct sg_file *f;
	int fd;
	enum sg_op op;
	sg_sync_fn next;
	enum sg_counter counted;
	struct sg_group_times *times; /* or NULL */
};

static int issue(void *arg, bool full, struct sg_group_times *times)
{
	const struct issue *i = arg;

	int error;

	if (full && i->op != SG_OP_FSYNC)
		error = sg_issue(i->f, i->fd, SG_OP_FSYNC, NULL, i->counted, times);
	else
		error = sg_issue(i->f, i->fd, i->op, i->next, i->counted, times);
	if (i->times)
		*i->times = *times;
	return error;
}

/* An error that only this description has not been told yet. sync_file_range far beyond the end waits
 * for nothing and does no I/O, but asks errseq. Returns -1 where it may not be asked (seccomp). */
static int own_error(int fd)
{
	int saved = errno, error = 0;

	if (sg_sys_sync_file_range(fd, (int64_t)1 << 40, 4096, SYNC_FILE_RANGE_WAIT_BEFORE) != 0)
		error = errno;
	errno = saved;
	if (error == EPERM || error == EACCES || error == ENOSYS)
		return -1;
	return sg_group_void_error(error) || error == ESPIPE ? 0 : error;
}

bool sg_poisoned(const struct sg_file *f, const struct sg_desc *d)
{
	if (f->wanted == SG_MODE_OBSERVE || f->on_error == SG_ON_ERROR_WARN)
		return false;
	if (f->on_error == SG_ON_ERROR_POISON)
		return atomic_load_explicit(&d->error, memory_order_relaxed) ||
		       sg_ledger_poisoned(f->ledger, d->opened_at);
	/* The broker's failed sync, or another process'. */
	if (atomic_load_explicit(&f->ledger->failed_at, memory_order_relaxed) > d->opened_at)
		abort();
	return false;
}

/* The kernel told this description, in a group that another led. Its dups in other processes share its
 * errseq and would hear nothing any more. */
static void told(struct sg_file *f, struct sg_desc *d, int error, enum sg_op op)
{
	sg_count(sg_file_stats(f), SG_C_SYNC_ERRORS, 1);
	sg_report(SG_EV_SYNC_ERROR, sg_file_index(f), error);
	if (f->on_error == SG_ON_ERROR_ABORT)
		abort();
	if (f->on_error != SG_ON_ERROR_POISON)
		return;
	atomic_store(&d->error, (uint32_t)error);
	sg_ledger_poison_before(f->ledger, d->opened_at, error, (uint32_t)sg_process.pid, op,
				sg_wall_ns());
	tell_poison(f, error);
}

/* *times is filled when this caller made the kernel sync. */
static int group_sync(struct sg_file *f, struct sg_desc *d, int fd, enum sg_op op, sg_sync_fn next,
		      struct sg_group_times *times)
{
	struct issue i = { f, fd, op, next, SG_C_LED, times };
	struct sg_group_times own_times;
	int error, own;
	bool led;

	if (sg_poisoned(f, d)) {
		sg_count(sg_file_stats(f), SG_C_POISONED, 1);
		return EIO;
	}
	error = sg_group_sync(&f->group, issue, &i, op == SG_OP_FSYNC, COMPANY_MAX_NS, &led);
	if (led)
		return error;
	own = own_error(fd);
	/* Where our description cannot be asked, or the leader's alone was told of an error (it may be one from
	 * before our open), only a sync of our own can tell. */
	if (own < 0 || (error && !own))
		return issue(&i, false, &own_times);
	sg_count(sg_file_stats(f), SG_C_GROUPED, 1);
	if (own)
		told(f, d, own, op);
	return own || !sg_poisoned(f, d) ? own : EIO;
}

/* --- directories --- */

static int64_t clock_offset_ns(void)
{
	return (int64_t)(sg_wall_ns() - sg_now_ns());
}

static void elide_stat(const struct sg_file *f, const struct stat *st, struct sg_elide_stat *out)
{
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	out->gen = f->id.gen;
	out->ctime_ns = st->st_ctim.tv_sec * 1000000000ll + st->st_ctim.tv_nsec;
	out->mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec;
	out->size = (uint64_t)st->st_size;
	out->nlink = st->st_nlink;
	out->mode = st->st_mode;
}

static bool proof_lock(struct sg_file *f)
{
	uint32_t none = 0;

	return atomic_compare_exchange_strong(&f->proof_lock, &none, 1);
}

/* st was read after the call was entered. */
static bool redundant(struct sg_file *f, const struct stat *st)
{
	struct sg_elide_stat now;
	bool yes;
	uint64_t epoch;

	if (!proof_lock(f))
		return false;
	elide_stat(f, st, &now);
	epoch = atomic_load(&sg_process.registry->clock_epoch);
	yes = epoch && sg_broker_alive(sg_now_ns()) &&
	      sg_elide_redundant(&f->proof, &now, epoch, clock_offset_ns());
	atomic_store(&f->proof_lock, 0);
	return yes;
}

static int64_t coarse_step_ns(void)
{
	struct timespec ts;

	return clock_getres(CLOCK_REALTIME_COARSE, &ts) == 0 ? ts.tv_nsec : 10000000;
}

static bool begin_proof(struct sg_file *f, int fd, struct sg_elide_proof *proof)
{
	uint64_t epoch = atomic_load(&sg_process.registry->clock_epoch);
	int64_t offset = clock_offset_ns(), coarse = (int64_t)sg_clock_ns(CLOCK_REALTIME_COARSE);
	struct sg_elide_stat before;
	struct stat st;

	if (!epoch || fstat(fd, &st) != 0)
		return false;
	elide_stat(f, &st, &before);
	*proof = (struct sg_elide_proof){ 0 };
	return sg_elide_begin(proof, f->fs_type, &before, coarse, 2 * (uint64_t)coarse_step_ns(),
			      epoch, offset) == 0;
}

/* After a real sync: what it proves from now on. A failed one leaves nothing proven. */
static void keep_proof(struct sg_file *f, struct sg_elide_proof *proof, int error)
{
	if (!proof && !error)
		return;
	while (!proof_lock(f)) {
		if (!error)
			return; /* the next sync will be a real one, that is all */
		sched_yield();
	}
	if (error) {
		sg_elide_forget(&f->proof);
	} else {
		sg_elide_synced(proof, true);
		f->proof = *proof;
	}
	atomic_store(&f->proof_lock, 0);
}

static int drain_others_in(const char *dir);

/* An elided sync drains nothing: no name changed, so none can become durable before what is at risk. */
static int dir_sync(struct sg_file *f, struct sg_desc *d, int fd, enum sg_op op, sg_sync_fn next,
		    const struct stat *st, struct sg_group_times *times)
{
	struct sg_elide_proof proof;
	bool provable;
	int error;

	if (sg_poisoned(f, d)) {
		sg_count(sg_file_stats(f), SG_C_POISONED, 1);
		return EIO;
	}
	if (atomic_load(&f->dir_guarded) && redundant(f, st)) {
		sg_count(sg_file_stats(f), SG_C_ELIDED, 1);
		return 0;
	}
	error = -sg_drain_all_files();
	if (!error)
		error = -drain_others_in(f->path);
	if (error) {
		sg_count(sg_file_stats(f), SG_C_POISONED, 1);
		return error;
	}
	provable = atomic_load(&f->dir_guarded) && begin_proof(f, fd, &proof);
	error = sg_issue(f, fd, op, next, SG_C_LED, times);
	keep_proof(f, provable ? &proof : NULL, error);
	return error;
}

/* --- window --- */

/* Bytes that came without a reservation (stdio, raw calls, another program). Tells whether there were any;
 * from now on they belong to the base. */
static bool grew_unseen(struct sg_file *f, const struct stat *st)
{
	struct sg_ledger *l = f->ledger;
	uint64_t base = atomic_load(&l->size_base);
	uint64_t done = atomic_load(&l->done_bytes), reserved = atomic_load(&l->reserved_bytes);
	int64_t more = (int64_t)((uint64_t)st->st_size - base - reserved);

	/* Shrunk, with nothing under way: truncated from outside. */
	if (more > 0 || (more < 0 && done == reserved))
		atomic_compare_exchange_strong(&l->size_base, &base, base + (uint64_t)more);
	if (more > 0)
		atomic_fetch_or(&sg_file_stats(f)->flags, SG_F_UNTRACKED);
	return more > 0;
}

/* on_error=warn: a failure that the broker met and this description has not heard of yet. */
static int unheard(struct sg_file *f, struct sg_desc *d, int fd)
{
	uint64_t failed_at = atomic_load_explicit(&f->ledger->failed_at, memory_order_relaxed);
	uint64_t told_at = atomic_load_explicit(&d->told_at, memory_order_relaxed);

	if (f->on_error != SG_ON_ERROR_WARN || failed_at <= told_at ||
	    !atomic_compare_exchange_strong(&d->told_at, &told_at, failed_at))
		return 0;
	own_error(fd); /* the same failure, as the kernel has it: once is enough */
	return (int)atomic_load(&f->ledger->poison_errno);
}

static int window_sync(struct sg_file *f, struct sg_desc *d, int fd, enum sg_op op, sg_sync_fn next,
		       const struct stat *st, struct sg_group_times *times)
{
	struct sg_at_risk risk;
	int error;

	if (sg_poisoned(f, d)) {
		sg_count(sg_file_stats(f), SG_C_POISONED, 1);
		return EIO;
	}
	/* With nothing at risk no flush is to come: what is asked for is a new file, a cut, a mode. */
	sg_ledger_at_risk(f->ledger, &risk);
	if (grew_unseen(f, st) || !sg_file_served(f) || !risk.records)
		return group_sync(f, d, fd, op, next, times);
	error = unheard(f, d, fd);
	if (error) {
		sg_count(sg_file_stats(f), SG_C_POISONED, 1);
		return error;
	}
	if (op == SG_OP_FSYNC)
		atomic_store_explicit(&f->ledger->want_full, 1, memory_order_relaxed);
	sg_count(sg_file_stats(f), SG_C_WINDOWED, 1);
	return 0;
}

static int sync_by_mode(struct sg_file *f, struct sg_desc *d, int fd, enum sg_op op,
			sg_sync_fn next, const struct stat *st, struct sg_group_times *times)
{
	enum sg_mode mode = sg_file_mode(f);

	if (f->is_dir)
		return dir_sync(f, d, fd, op, next, st, times);
	if (mode == SG_MODE_WINDOW)
		return window_sync(f, d, fd, op, next, st, times);
	if (f->wanted != SG_MODE_OBSERVE)
		return group_sync(f, d, fd, op, next, times);
	return sg_issue(f, fd, op, next, SG_C_LED, times);
}

int sg_guard_sync(int fd, enum sg_op op, sg_sync_fn next)
{
	struct sg_session_file *s;
	struct sg_desc *d;
	struct sg_file *f;
	struct sg_group_times times = { 0, 0 };
	struct stat st;
	uint64_t t0, took_ns;
	int saved = errno, error;

	/* Not sg_enter_tables: a vfork child does not come here (see the wrappers), and a sync is often. */
	if (!sg_enter())
		return next(fd);
	t0 = sg_now_ns();
	d = sg_desc_for_sync(fd, &st);
	if (!d) {
		sg_leave();
		return next(fd);
	}
	sg_leave();
	pthread_testcancel();
	sg_enter();
	sg_own_session();
	f = &sg_process.files[atomic_load(&d->file)];
	s = sg_file_stats(f);
	sg_count(s, SG_C_CALLS, 1);
	error = sync_by_mode(f, d, fd, op, next, &st, &times);
	took_ns = (times.ended_ns ? times.ended_ns : sg_now_ns()) - t0;
	sg_count(s, SG_C_CALL_NS, took_ns);
	sg_session_max(&s->counter[SG_C_CALL_MAX_NS], took_ns);
	sg_hist_record((uint64_t *)s->call_hist, took_ns);
	atomic_store_explicit(&sg_process.session->beat_ns, t0 + took_ns, memory_order_relaxed);
	sg_leave();
	errno = error ? error : saved;
	return error ? -1 : 0;
}

int sg_guard_other_begin(int fd, enum sg_op op, uint64_t bytes)
{
	struct sg_desc *d;
	int token;

	if (fd < 0 || sg_guard_is_plain(fd) || !sg_enter())
		return -1;
	d = sg_desc_of(fd);
	if (!d || atomic_load(&d->file) >= SG_FILES) {
		sg_leave();
		return -1;
	}
	sg_own_session();
	if (op == SG_OP_SYNC_FILE_RANGE)
		sg_count(&sg_process.session->files[atomic_load(&d->file)], SG_C_RANGE_SYNCS, 1);
	token = sg_session_op_begin(sg_process.session, atomic_load(&d->file), op, bytes, sg_tid(),
				    sg_now_ns());
	sg_leave();
	return token;
}

void sg_guard_other_end(int fd, enum sg_op op, int token)
{
	(void)fd;
	(void)op;
	if (token >= 0)
		sg_session_op_end(sg_process.session, token);
}

/* --- draining --- */

/* Does f hold anything that a policy promised to keep in order? */
static bool holds(const struct sg_file *f)
{
	struct sg_at_risk risk;

	if (atomic_load_explicit(&f->state, memory_order_acquire) != SG_SLOT_LIVE ||
	    f->wanted < SG_MODE_WINDOW)
		return false;
	sg_ledger_at_risk(f->ledger, &risk);
	return risk.records != 0;
}

static int drain_by_fd(struct sg_file *f, int fd)
{
	bool led, full = atomic_exchange(&f->ledger->want_full, 0);
	struct issue i = { f, fd, full ? SG_OP_FSYNC : SG_OP_FDATASYNC, NULL, SG_C_DRAINS, NULL };

	if (sg_group_sync(&f->group, issue, &i, full, 0, &led) == 0)
		return 0;
	if (full)
		atomic_store(&f->ledger->want_full, 1);
	return -EIO;
}

/* The broker has a descriptor of its own: have it sync, and wait. -EAGAIN: it is gone. */
static int drain_by_broker(struct sg_file *f)
{
	struct sg_ledger *l = f->ledger;
	uint64_t target = atomic_load(&l->done_records), failed = atomic_load(&l->failed_at);
	uint32_t seen;
	int err = 0;

	atomic_fetch_add(&l->waiters, 1);
	for (;;) {
		seen = atomic_load(&l->progress);
		if (atomic_load(&l->covered_records) >= target)
			break;
		if (!sg_file_served(f)) {
			err = -EAGAIN;
			break;
		}
		sg_ledger_kick(l);
		sg_ledger_wait(l, seen, LOOK_AGAIN_NS);
	}
	atomic_fetch_sub(&l->waiters, 1);
	return err == 0 && atomic_load(&l->failed_at) != failed ? -EIO : err;
}

/* What another process has at risk in a file that this one is about to rename, link, cut or remove. Without a
 * broker nothing is. */
static int drain_other(uint64_t dev, uint64_t ino)
{
	struct sg_file other = { .ledger_index = 0 };
	struct sg_ledger *l;
	uint32_t i;
	int err = 0;

	for (i = 0; sg_process.broker && i < SG_FILES; i++) {
		l = &sg_process.registry->ledgers[i];
		if (l->id.ino != ino || l->id.dev != dev ||
		    atomic_load(&l->mode) < (uint32_t)SG_MODE_WINDOW) /* nobody flushes it */
			continue;
		other.ledger = l;
		other.id = l->id;
		if (drain_by_broker(&other) == -EIO)
			err = -EIO;
	}
	return err;
}

/* What other processes have at risk in files right inside a directory that is about to be synced. */
static int drain_others_in(const char *dir)
{
	struct sg_file other = { .ledger_index = 0 };
	struct sg_at_risk risk;
	struct sg_ledger *l;
	uint32_t i;
	int err = 0;

	for (i = 0; sg_process.broker && i < SG_FILES; i++) {
		l = &sg_process.registry->ledgers[i];
		if (atomic_load_explicit(&l->state, memory_order_acquire) != SG_SLOT_LIVE ||
		    atomic_load(&l->mode) < (uint32_t)SG_MODE_WINDOW ||
		    !memchr(l->path, '\0', sizeof(l->path)) || !sg_is_dir_of(dir, l->path))
			continue;
		sg_ledger_at_risk(l, &risk);
		if (!risk.records)
			continue;
		other.ledger = l;
		other.id = l->id;
		if (drain_by_broker(&other) == -EIO)
			err = -EIO;
	}
	return err;
}

int sg_drain(struct sg_file *f, int fd)
{
	int err;

	if (!holds(f))
		return 0;
	if (fd < 0 && f->ledger_index != SG_LOCAL) {
		err = drain_by_broker(f);
		if (err != -EAGAIN)
			return err;
	}
	if (fd < 0)
		fd = sg_fd_of_file(f);
	return fd < 0 ? -EIO : drain_by_fd(f, fd);
}

int sg_drain_all_files(void)
{
	int err = 0;
	uint32_t i;

	if (!atomic_load_explicit(&sg_process.windowed, memory_order_relaxed))
		return 0;
	for (i = 0; i < SG_FILES; i++)
		if (atomic_load_explicit(&sg_process.files[i].appended, memory_order_relaxed) &&
		    sg_drain(&sg_process.files[i], -1) != 0)
			err = -EIO;
	return err;
}

int sg_guard_drain_all(void)
{
	int err;

	if (!sg_enter_tables())
		return 0;
	err = sg_drain_all_files();
	sg_leave();
	return err;
}

int sg_guard_drain_fd(int fd)
{
	struct sg_desc *d;
	int err = 0;

	if (sg_guard_is_plain(fd) || !sg_enter_tables())
		return 0;
	d = sg_desc_of(fd);
	if (d && atomic_load(&d->file) < SG_FILES)
		err = sg_drain(&sg_process.files[atomic_load(&d->file)], -1);
	sg_leave();
	return err;
}

int sg_guard_drain_path(int dirfd, const char *path, bool follow)
{
	struct sg_file *f;
	struct stat st;
	int saved = errno, err = 0;

	if (!sg_guard_ready() ||
	    (!atomic_load_explicit(&sg_process.windowed, memory_order_relaxed) &&
	     !sg_process.broker) ||
	    !sg_enter_tables())
		return 0;
	if (fstatat(dirfd, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode)) {
			err = sg_drain_all_files();
		} else {
			f = sg_file_find_ino(st.st_dev, st.st_ino);
			err = f ? sg_drain(f, -1) : drain_other(st.st_dev, st.st_ino);
		}
	}
	sg_leave();
	errno = saved;
	return err;
}

static void resized(struct sg_file *f, const struct stat *st)
{
	struct sg_ledger *l = f->ledger;

	atomic_store(&l->size_base, (uint64_t)st->st_size - atomic_load(&l->reserved_bytes));
}

void sg_guard_resized_fd(int fd)
{
	struct sg_desc *d;
	struct stat st;

	if (sg_guard_is_plain(fd) || !sg_enter_tables())
		return;
	d = sg_desc_of(fd);
	if (d && atomic_load(&d->file) < SG_FILES && fstat(fd, &st) == 0)
		resized(&sg_process.files[atomic_load(&d->file)], &st);
	sg_leave();
}

void sg_guard_resized_path(const char *path)
{
	struct sg_file *f;
	struct stat st;
	int saved = errno;

	if (!sg_guard_ready() ||
	    !atomic_load_explicit(&sg_process.windowed, memory_order_relaxed) || !sg_enter_tables())
		return;
	if (stat(path, &st) == 0) {
		f = sg_file_find_ino(st.st_dev, st.st_ino);
		if (f)
			resized(f, &st);
	}
	sg_leave();
	errno = saved;
}
