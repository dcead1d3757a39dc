// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* An append: room in the window before it, the count after it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "guard/clock.h"
#include "guard/hist.h"
#include "guard/process.h"
#include "guard/sys.h"

/* How long to sleep before the broker is looked at again, while an append is held. */
#define LOOK_AGAIN_NS 100000000ull

/* How long a write believes its descriptor to be what it was. A number can change hands behind our back; to ask
 * the kernel at every write would cost more than all the rest here. Where no rule bounds what is at risk, a wrong
 * belief miscounts, and no more. */
#define LOOK_NS		  10000000ull
#define LOOK_UNBOUNDED_NS 1000000000ull

/* Act on a cancellation while nothing is held. */
static void may_cancel(void)
{
	sg_leave();
	pthread_testcancel();
	sg_enter();
}

/* Does this write land at the end? Without O_APPEND another description, or a seek, may have moved either. */
static bool is_append(const struct sg_desc *d, int fd, int64_t at)
{
	uint32_t flags = atomic_load_explicit(&d->flags, memory_order_relaxed);
	struct stat st;

	if (flags & SG_D_APPEND)
		return true;
	if (at < 0)
		at = sg_sys_lseek(fd, 0, SEEK_CUR);
	return fstat(fd, &st) != 0 || at >= st.st_size;
}

/* Wait until the flusher has made progress; without a flusher do its work. */
static void wait_for_room(struct sg_append *a, struct sg_file *f, int fd, uint32_t seen)
{
	if (!sg_file_served(f)) {
		sg_drain(f, fd);
		return;
	}
	/* A signal handler may leave from here and not come back. */
	a->ledger = f->ledger;
	a->waits = true;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &a->cancel_state);
	atomic_fetch_add(&a->ledger->waiters, 1);
	sg_hold(a);
	sg_ledger_kick(a->ledger);
	sg_ledger_wait(a->ledger, seen, LOOK_AGAIN_NS);
	sg_hold(NULL);
	atomic_fetch_sub(&a->ledger->waiters, 1);
	pthread_setcancelstate(a->cancel_state, NULL);
	a->waits = false;
	a->ledger = NULL;
}

/* Until there is room. 0 or -EIO: poisoned meanwhile. */
static int admit(struct sg_append *a, struct sg_file *f, const struct sg_desc *d, int fd,
		 uint64_t bytes)
{
	struct sg_ledger *l = f->ledger;
	uint64_t waited_ns = 0;
	uint32_t seen;
	int err;

	for (;;) {
		seen = atomic_load(&l->progress);
		if (sg_poisoned(f, d)) {
			err = -EIO;
			break;
		}
		if (!sg_file_bounded(f)) {
			sg_ledger_reserve_unbounded(l, bytes, sg_now_ns());
			sg_ledger_peak(l);
			err = 0;
			break;
		}
		err = sg_ledger_reserve(l, bytes, sg_now_ns(), &a->kick);
		if (err == -EFBIG) {
			/* Larger than the window: alone, and synced before it returns. */
			struct sg_at_risk risk;

			sg_ledger_at_risk(l, &risk);
			if (risk.records == 0 || sg_drain(f, fd) == 0) {
				sg_ledger_reserve_unbounded(l, bytes, sg_now_ns());
				a->sync_inline = true;
				err = 0;
				break;
			}
			continue;
		}
		if (err == 0)
			break;
		if (!waited_ns)
			waited_ns = sg_now_ns();
		sg_session_op_becomes(sg_process.session, a->op, SG_OP_ADMISSION, waited_ns);
		wait_for_room(a, f, fd, seen);
		/* A cancelled thread leaves no operation under way behind. */
		sg_session_op_end(sg_process.session, a->op);
		may_cancel();
		a->op = sg_session_op_begin(sg_process.session, a->file, SG_OP_WRITE, bytes,
					    sg_tid(), waited_ns);
	}
	if (waited_ns) {
		sg_count(a->stats, SG_C_APPENDS_WAITED, 1);
		sg_count(a->stats, SG_C_APPEND_WAIT_NS, sg_now_ns() - waited_ns);
	}
	return err;
}

int sg_guard_append_begin(struct sg_append *a, int fd, uint64_t bytes, int64_t at)
{
	struct sg_desc *d;
	struct sg_file *f;
	uint64_t now_ns;

	a->stats = NULL;
	if (sg_guard_is_plain(fd) || !sg_guard_ready())
		return 0;
	pthread_testcancel();
	if (!sg_enter())
		return 0;
	now_ns = sg_now_ns();
	d = sg_desc_of(fd);
	if (d && now_ns - atomic_load_explicit(&d->looked_ns, memory_order_relaxed) >
			 (sg_process.bounds ? LOOK_NS : LOOK_UNBOUNDED_NS))
		d = sg_desc_look_again(fd, d, now_ns);
	if (!d || atomic_load(&d->file) >= SG_FILES) {
		sg_leave();
		return 0;
	}
	sg_own_session();
	f = &sg_process.files[atomic_load(&d->file)];
	a->file = sg_file_index(f);
	a->stats = sg_file_stats(f);
	a->ledger = NULL;
	a->sync_inline = a->kick = a->waits = false;
	a->in_window = sg_file_bounded(f) && !(atomic_load(&d->flags) & SG_D_DURABLE);
	if (a->in_window && !is_append(d, fd, at)) {
		sg_file_demote(f, SG_F_NOT_APPEND);
		a->in_window = false;
	}
	if (a->in_window && !sg_file_has_ledger(f)) {
		sg_file_enrol_again(f, fd);
		a->in_window = sg_file_bounded(f);
	}
	/* Before the reservation, so that the broker knows one whose process was killed: nobody has a write
	 * under way, and still something is reserved. */
	a->op = sg_session_op_begin(sg_process.session, a->file, SG_OP_WRITE, bytes, sg_tid(),
				    now_ns);
	if (sg_poisoned(f, d) || (a->in_window && admit(a, f, d, fd, bytes) != 0)) {
		sg_session_op_end(sg_process.session, a->op);
		sg_count(a->stats, SG_C_APPENDS_REFUSED, 1);
		a->stats = NULL;
		sg_leave();
		return -EIO;
	}
	if (!(atomic_load(&d->flags) & SG_D_DURABLE))
		a->ledger = f->ledger;
	a->reserved = bytes;
	/* Only an append in a window may have waited since. */
	a->began_ns = a->in_window ? sg_now_ns() : now_ns;
	if (a->ledger && !a->in_window) {
		sg_ledger_reserve_unbounded(a->ledger, bytes, a->began_ns);
		sg_ledger_peak(a->ledger);
	}
	if (!atomic_load_explicit(&f->appended, memory_order_relaxed))
		atomic_store(&f->appended, 1);
	sg_session_op_becomes(sg_process.session, a->op, SG_OP_WRITE, a->began_ns);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &a->cancel_state);
	sg_hold(a);
	return 0;
}

static void count_append(struct sg_append *a, uint64_t written, int error, uint64_t took_ns)
{
	sg_session_op_end(sg_process.session, a->op);
	if (error) {
		sg_count(a->stats, SG_C_APPEND_ERRORS, 1);
		return;
	}
	sg_count(a->stats, SG_C_APPENDS, 1);
	sg_count(a->stats, SG_C_APPEND_BYTES, written);
	sg_count(a->stats, SG_C_WRITE_NS, took_ns);
	sg_session_max(&a->stats->counter[SG_C_WRITE_MAX_NS], took_ns);
	sg_hist_record((uint64_t *)a->stats->write_hist, took_ns);
}

int sg_guard_append_end(struct sg_append *a, int fd, int64_t result, int error)
{
	struct sg_group_times times;
	uint64_t now_ns, written = result > 0 ? (uint64_t)result : 0;
	int saved = errno, failed = 0, state;
	struct sg_file *f;

	if (!a->stats)
		return 0;
	sg_hold(NULL);
	now_ns = sg_now_ns();
	f = &sg_process.files[a->file];
	/* A call whose size was not known before (vdprintf): as large as it turned out. */
	if (a->ledger && written > a->reserved) {
		atomic_fetch_add(&a->ledger->reserved_bytes, written - a->reserved);
		a->reserved = written;
	}
	if (a->ledger)
		sg_ledger_done(a->ledger, a->reserved, written);
	count_append(a, written, result < 0 ? error : 0, now_ns - a->began_ns);
	atomic_store_explicit(&sg_process.session->beat_ns, now_ns, memory_order_relaxed);
	if (a->kick ||
	    (a->in_window && atomic_load_explicit(&a->ledger->waiters, memory_order_relaxed)))
		sg_ledger_kick(a->ledger);
	if (a->sync_inline && written)
		failed = sg_issue(f, fd, SG_OP_FDATASYNC, NULL, SG_C_INLINE, &times);
	a->stats = NULL;
	sg_leave();
	pthread_setcancelstate(a->cancel_state, &state);
	errno = saved;
	return failed;
}
