// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Descriptors and descriptions: who is behind a number. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "guard/clock.h"
#include "guard/process.h"
#include "guard/sys.h"

_Atomic uint32_t sg_guard_fd[SG_FDS];

#define FD_FIRST 2u /* sg_guard_fd[fd] - FD_FIRST is a description */

static struct sg_desc *desc_at(uint32_t v)
{
	return v >= FD_FIRST ? &sg_process.descs[v - FD_FIRST] : NULL;
}

/* --- descriptions --- */

static void count_open(uint32_t file, int by)
{
	struct sg_file *f;
	uint32_t n;

	if (file >= SG_FILES)
		return;
	f = &sg_process.files[file];
	n = atomic_fetch_add(&f->refs, (uint32_t)by) + (uint32_t)by;
	/* In a child that has no session yet it is still the parent's, who has his own opinion. */
	if (atomic_load(&sg_process.own_session))
		atomic_store(&sg_file_stats(f)->open_count, n);
}

static struct sg_desc *desc_new(uint32_t file, uint32_t flags, uint64_t opened_at)
{
	static _Atomic uint32_t next;
	uint32_t i, none, start = atomic_load_explicit(&next, memory_order_relaxed);
	struct sg_desc *d;

	for (i = 0; i < SG_DESCS; i++) {
		d = &sg_process.descs[(start + i) % SG_DESCS];
		none = 0;
		if (atomic_load_explicit(&d->refs, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong(&d->refs, &none, 1))
			continue;
		atomic_store_explicit(&next, (start + i + 1) % SG_DESCS, memory_order_relaxed);
		atomic_store(&d->file, file);
		atomic_store(&d->flags, flags);
		atomic_store(&d->error, 0);
		d->opened_at = opened_at;
		atomic_store(&d->looked_ns, sg_now_ns());
		atomic_store(&d->told_at, opened_at);
		count_open(file, 1);
		return d;
	}
	atomic_fetch_add(&sg_process.session->untracked, 1);
	return NULL;
}

static void desc_put(struct sg_desc *d)
{
	uint32_t refs = atomic_load(&d->refs);

	/* Two closes may race on a stale number: never go below zero. */
	do {
		if (refs == 0)
			return;
	} while (!atomic_compare_exchange_weak(&d->refs, &refs, refs - 1));
	if (refs == 1)
		count_open(atomic_load(&d->file), -1);
}

static void set_fd(int fd, uint32_t v)
{
	uint32_t old = atomic_exchange(&sg_guard_fd[fd], v);

	if (old >= FD_FIRST)
		desc_put(desc_at(old));
}

static struct sg_desc *set_desc(int fd, struct sg_desc *d)
{
	set_fd(fd, d ? (uint32_t)(d - sg_process.descs) + FD_FIRST : SG_FD_PLAIN);
	return d;
}

/* --- looking --- */

static uint32_t flags_of(int fd)
{
	int fl = sg_sys_fcntl(fd, F_GETFL, 0);
	uint32_t flags = 0;

	if (fl < 0)
		return 0;
	if (fl & O_APPEND)
		flags |= SG_D_APPEND;
	if (fl & (O_SYNC | O_DSYNC))
		flags |= SG_D_DURABLE;
	return flags;
}

static bool is_file(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode);
}

/* A file that was closed for a while is not known to the broker any more: ask again. */
static void reopened(struct sg_file *f, int fd, const struct stat *st)
{
	if (atomic_load(&f->refs) || f->ledger_index == SG_LOCAL || !f->rule)
		return;
	sg_own_session();
	sg_lock();
	if (sg_client_enrol(fd, sg_file_index(f), f->rule, &f->id, (uint64_t)st->st_size) !=
	    (int)f->ledger_index) {
		/* Another ledger, or none: start afresh under a new slot. */
		atomic_store(&f->state, SG_SLOT_FREE);
		atomic_store(&sg_file_stats(f)->state, SG_SLOT_CLOSED);
	}
	sg_unlock();
}

static struct sg_file *file_for(int fd, struct stat *st, const struct sg_file_id *id, bool enrol)
{
	struct sg_file *f = sg_file_of(fd, st, id, enrol);

	if (f) {
		reopened(f, fd, st);
		if (atomic_load(&f->state) != SG_SLOT_LIVE)
			f = sg_file_of(fd, st, id, enrol);
	}
	return f;
}

/* Find out what fd is and remember it. */
static struct sg_desc *look(int fd, uint64_t opened_at, bool enrol, struct stat *st)
{
	struct sg_file_id id;
	struct sg_file *f = NULL;
	int saved = errno;
	struct sg_desc *d = NULL;

	if (sg_identity(fd, st, &id) != 0) {
		errno = saved;
		return NULL; /* not open: say nothing, remember nothing */
	}
	if (is_file(st)) {
		f = S_ISDIR(st->st_mode) && !enrol ? sg_file_find(&id)
						   : file_for(fd, st, &id, enrol);
		if (f || S_ISDIR(st->st_mode))
			d = desc_new(f ? sg_file_index(f) : SG_NO_FILE, flags_of(fd), opened_at);
	}
	set_desc(fd, d);
	errno = saved;
	return d;
}

struct sg_desc *sg_desc_of(int fd)
{
	struct stat st;
	uint32_t v;

	if ((unsigned int)fd >= SG_FDS)
		return NULL;
	v = atomic_load_explicit(&sg_guard_fd[fd], memory_order_relaxed);
	if (v == SG_FD_UNKNOWN)
		return look(fd, 0, false, &st);
	return desc_at(v);
}

/* The description behind fd, if it is still that of its file; st is filled then. */
static struct sg_desc *still(int fd, struct stat *st)
{
	struct sg_desc *d = desc_at(atomic_load(&sg_guard_fd[fd]));
	const struct sg_file *f;
	uint32_t file = d ? atomic_load(&d->file) : SG_NO_FILE;

	if (file >= SG_FILES)
		return NULL;
	f = &sg_process.files[file];
	return atomic_load(&f->state) == SG_SLOT_LIVE &&
			       sg_identity_still(fd, &f->id, f->born_ns, st)
		       ? d
		       : NULL;
}

struct sg_desc *sg_desc_for_sync(int fd, struct stat *st)
{
	struct sg_desc *d;
	struct sg_file_id id;
	struct sg_file *f;
	uint64_t opened_at = 0;

	if ((unsigned int)fd >= SG_FDS)
		return NULL;
	d = still(fd, st);
	if (d)
		return d;
	if (sg_identity(fd, st, &id) != 0 || !is_file(st))
		return NULL;
	d = desc_at(atomic_load(&sg_guard_fd[fd]));
	if (d && atomic_load(&d->file) == SG_NO_FILE && S_ISDIR(st->st_mode))
		opened_at = d->opened_at;
	f = file_for(fd, st, &id, true);
	if (!f)
		return NULL;
	return set_desc(fd, desc_new(sg_file_index(f), flags_of(fd), opened_at));
}

/* What fd is now, if the number was given to another file behind our back (raw calls, stdio). */
struct sg_desc *sg_desc_look_again(int fd, struct sg_desc *d, uint64_t now_ns)
{
	uint32_t file = atomic_load(&d->file);
	struct stat st;

	atomic_store_explicit(&d->looked_ns, now_ns, memory_order_relaxed);
	if (file >= SG_FILES || still(fd, &st) == d)
		return d;
	return look(fd, 0, false, &st);
}

int sg_fd_of_file(const struct sg_file *f)
{
	uint32_t v, index = sg_file_index(f);
	struct stat st;
	struct sg_desc *d;
	int fd;

	for (fd = 0; fd < SG_FDS; fd++) {
		v = atomic_load_explicit(&sg_guard_fd[fd], memory_order_relaxed);
		d = desc_at(v);
		if (d && atomic_load(&d->file) == index && sg_identity_is(fd, &f->id, &st))
			return fd;
	}
	return -1;
}

/* --- what the wrappers tell --- */

uint64_t sg_guard_open_begins(void)
{
	return sg_guard_ready() ? atomic_fetch_add(&sg_process.registry->failures, 1) + 1 : 0;
}

/* Has fd a place in the table? One that has none is counted. */
static bool has_place(int fd)
{
	if ((unsigned int)fd < SG_FDS)
		return true;
	if (fd >= 0 && sg_guard_ready())
		atomic_fetch_add(&sg_process.session->untracked, 1);
	return false;
}

void sg_guard_opened(int fd, uint64_t begun, int flags)
{
	struct stat st;

	if (!has_place(fd) || !sg_enter_tables())
		return;
	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_DIRECTORY)) {
		/* Mostly read and never synced: known only if somebody else writes it here. */
		struct sg_file_id id;
		struct sg_file *f = NULL;
		struct sg_desc *d = NULL;

		if (sg_identity(fd, &st, &id) == 0 && is_file(&st)) {
			f = sg_file_find(&id);
			if (f || S_ISDIR(st.st_mode))
				d = desc_new(f ? sg_file_index(f) : SG_NO_FILE, SG_D_APPEND, begun);
		}
		set_desc(fd, d);
	} else {
		look(fd, begun, false, &st);
	}
	sg_leave();
}

void sg_guard_duped(int from, int to)
{
	uint32_t v;
	struct sg_desc *d;

	if (from == to || !has_place(to) || !sg_enter_tables())
		return;
	v = (unsigned int)from < SG_FDS ? atomic_load(&sg_guard_fd[from]) : SG_FD_UNKNOWN;
	d = desc_at(v);
	if (d)
		atomic_fetch_add(&d->refs, 1);
	set_fd(to, v);
	sg_leave();
}

int sg_guard_closing(int fd, bool *private_fd)
{
	struct sg_desc *d;
	int err = 0;

	*private_fd = false;
	if ((unsigned int)fd >= SG_FDS || !sg_enter_tables())
		return 0;
	if (sg_client_owns(fd)) {
		*private_fd = true;
	} else {
		d = desc_at(atomic_load(&sg_guard_fd[fd]));
		if (d && atomic_load(&d->file) < SG_FILES &&
		    atomic_load(&sg_process.files[atomic_load(&d->file)].appended))
			err = sg_drain(&sg_process.files[atomic_load(&d->file)], fd);
	}
	sg_leave();
	return err;
}

void sg_guard_closed(unsigned int first, unsigned int last)
{
	unsigned int fd;

	if (first >= SG_FDS || !sg_enter_tables())
		return;
	for (fd = first; fd < SG_FDS && fd <= last; fd++)
		if (atomic_load_explicit(&sg_guard_fd[fd], memory_order_relaxed) != SG_FD_UNKNOWN)
			set_fd((int)fd, SG_FD_UNKNOWN);
	sg_leave();
}

int sg_guard_private_fds(int *fds, int max)
{
	if (max < 1 || !sg_guard_ready() || !sg_client_owns(sg_process.conn))
		return 0;
	fds[0] = sg_process.conn;
	return 1;
}

int sg_guard_closing_range(unsigned int first, unsigned int last)
{
	unsigned int fd;
	bool private_fd;
	int err = 0, e;

	if (!sg_guard_ready())
		return 0;
	for (fd = first; fd < SG_FDS && fd <= last; fd++) {
		if (!desc_at(atomic_load_explicit(&sg_guard_fd[fd], memory_order_relaxed)))
			continue;
		e = sg_guard_closing((int)fd, &private_fd);
		if (e)
			err = e;
	}
	return err;
}

void sg_guard_reflagged(int fd)
{
	struct sg_desc *d;

	if (sg_guard_is_plain(fd) || !sg_enter_tables())
		return;
	d = desc_at(atomic_load(&sg_guard_fd[fd]));
	if (d)
		atomic_store(&d->flags, flags_of(fd));
	sg_leave();
}

void sg_guard_mapped(int fd)
{
	struct sg_desc *d;

	if ((unsigned int)fd >= SG_FDS || !sg_enter_tables())
		return;
	d = sg_desc_of(fd);
	if (d && atomic_load(&d->file) < SG_FILES)
		sg_file_demote(&sg_process.files[atomic_load(&d->file)], SG_F_NOT_APPEND);
	sg_leave();
}
