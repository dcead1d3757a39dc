// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Syncs of the tail: who makes them, what they settle, and what a failed one means. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "guard/clock.h"
#include "guard/futex.h"
#include "spool/dir.h"
#include "spool/writer.h"

#define COMPANY_MAX_NS 10000000ull /* the longest wait for company in a group */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- what is settled; under `state` ---- */

static uint64_t settled(const struct spool *s)
{
	return max_u64(atomic_load(&s->durable), s->lost_to);
}

/* The tail is bad: all of it that is not durable is lost, and not at risk any more. */
static void lose(struct spool *s, int error)
{
	uint64_t appended = atomic_load(&s->appended);
	struct sg_ledger_snapshot snap;

	if (appended > settled(s)) {
		if (!s->lost_from)
			s->lost_from = settled(s) + 1;
		s->lost_to = appended;
		s->lost_error = error;
	}
	sg_ledger_begin(&s->ledger, &snap, sg_now_ns());
	sg_ledger_failed(&s->ledger, &snap, &s->failures, error, (uint32_t)getpid(),
			 SG_OP_FDATASYNC, sg_wall_ns(), false);
}

static void latch(struct spool *s, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&s->error, &none, -error);
	sg_ledger_progress(&s->ledger);
	sg_ledger_kick(&s->ledger);
}

/* ---- one sync; one at a time ---- */

static struct sg_tail *hold_tail(struct spool *s, struct sg_ledger_snapshot *snap, uint64_t *upto,
				 int *error)
{
	struct sg_tail *t;

	pthread_mutex_lock(&s->state);
	t = s->tail;
	atomic_fetch_add(&t->refs, 1);
	*upto = atomic_load(&s->appended);
	*error = sg_latched(s) ? -sg_latched(s) : t->bad;
	sg_ledger_begin(&s->ledger, snap, sg_now_ns());
	sg_ledger_pace_begin(&s->ledger, &s->pace, snap->began_ns);
	pthread_mutex_unlock(&s->state);
	return t;
}

/*
 * EINTR says that the wait was interrupted and nothing of the data, which stay dirty; any other error is final. So is
 * the one of a disk that found itself full only now (thin provisioning); but ENOSPC would say that nothing was appended.
 */
static int sync_data(int fd)
{
	unsigned int n;

	for (n = 0; n < SG_EINTR_MAX; n++) {
		if (fdatasync(fd) == 0)
			return 0;
		if (errno != EINTR)
			return sg_no_space(-errno) ? EIO : errno;
	}
	return EINTR;
}

static void failed(struct spool *s, struct sg_tail *t, int error)
{
	if (s->c.on_error == SPOOL_ON_ERROR_ABORT)
		abort();
	pthread_mutex_lock(&s->state);
	if (s->c.on_error == SPOOL_ON_ERROR_FAIL) {
		latch(s, error);
	} else {
		t->bad = error;
		if (t == s->tail)
			lose(s, error);
	}
	pthread_mutex_unlock(&s->state);
}

int sg_durable_note(const struct spool *s, uint64_t durable)
{
	uint8_t out[SG_DURABLE_BYTES];

	sg_durable_write(out, s->seed, durable, max_u64(durable, atomic_load(&s->appended)));
	return sg_pwrite_all(s->durable_fd, out, sizeof(out), 0);
}

/* The data are safe; only who reads along does not learn it if this fails. For want of space: with the next sync. */
static int succeeded(struct spool *s, const struct sg_ledger_snapshot *snap, uint64_t upto)
{
	struct sg_news none = { 0 };
	int err;

	pthread_mutex_lock(&s->state);
	if (upto > atomic_load(&s->durable))
		atomic_store(&s->durable, upto);
	pthread_mutex_unlock(&s->state);
	sg_ledger_covered(&s->ledger, snap);
	err = sg_durable_note(s, atomic_load(&s->durable));
	return err && !sg_no_space(err) ? -sg_write_failed(s, err, &none) : 0;
}

static int issue(void *arg, bool full, struct sg_group_times *times)
{
	struct spool *s = arg;
	struct sg_ledger_snapshot snap;
	uint64_t upto, took_ns;
	struct sg_tail *t;
	int error;

	t = hold_tail(s, &snap, &upto, &error);
	times->began_ns = times->ended_ns = sg_now_ns();
	if (!error) {
		error = sync_data(t->fd);
		times->ended_ns = sg_now_ns();
		took_ns = times->ended_ns - times->began_ns;
		atomic_fetch_add(&s->syncs, 1);
		atomic_fetch_add(&s->sync_ns, took_ns);
		pthread_mutex_lock(&s->state);
		sg_ledger_pace_end(&s->ledger, &s->pace, times->ended_ns, took_ns);
		pthread_mutex_unlock(&s->state);
		if (error)
			failed(s, t, error);
		else
			error = succeeded(s, &snap, upto);
	}
	sg_tail_put(t);
	return error;
}

int sg_sync(struct spool *s, struct sg_news *news)
{
	bool led;
	int error = sg_group_sync(&s->group, issue, s, false, COMPANY_MAX_NS, &led);

	if (!led)
		return -error;
	news->any = true;
	if (error)
		news->error = -error;
	if (s->flushes)
		sg_ledger_kick(&s->ledger); /* it may have held back for this one */
	return -error;
}

/* ---- questions ---- */

bool sg_settled(struct spool *s, uint64_t seq)
{
	bool yes;

	pthread_mutex_lock(&s->state);
	yes = seq <= settled(s);
	pthread_mutex_unlock(&s->state);
	return yes;
}

uint64_t sg_known_durable(struct spool *s)
{
	uint64_t known;

	pthread_mutex_lock(&s->state);
	known = s->lost_from ? s->lost_from - 1 : atomic_load(&s->durable);
	pthread_mutex_unlock(&s->state);
	return known;
}

bool sg_unsettled(struct spool *s)
{
	return !sg_settled(s, atomic_load(&s->appended));
}

int sg_lost_news(struct spool *s)
{
	int err = 0;

	pthread_mutex_lock(&s->state);
	if (s->lost_to > s->lost_told)
		err = -s->lost_error;
	s->lost_told = s->lost_to;
	pthread_mutex_unlock(&s->state);
	return err;
}

int sg_lost_told(struct spool *s, uint64_t seq)
{
	int err;

	pthread_mutex_lock(&s->state);
	s->lost_told = max_u64(s->lost_told, seq);
	err = -s->lost_error;
	pthread_mutex_unlock(&s->state);
	return err;
}

bool sg_lost(struct spool *s, uint64_t seq)
{
	bool yes;

	pthread_mutex_lock(&s->state);
	yes = s->lost_from && seq >= s->lost_from && seq <= s->lost_to;
	pthread_mutex_unlock(&s->state);
	return yes;
}

void sg_publish(struct spool *s, uint64_t seq, uint64_t bytes)
{
	pthread_mutex_lock(&s->state);
	atomic_store(&s->appended, seq);
	sg_ledger_done(&s->ledger, bytes, bytes);
	/* It was inside the kernel while the sync failed, and may have shared a page with what was lost. */
	if (s->tail->bad)
		lose(s, s->tail->bad);
	pthread_mutex_unlock(&s->state);
}

int sg_write_failed(struct spool *s, int err, struct sg_news *news)
{
	if (sg_no_space(err))
		return err;
	switch (s->c.on_error) {
	case SPOOL_ON_ERROR_ABORT:
		abort();
	case SPOOL_ON_ERROR_WARN:
		news->any = true;
		news->error = err;
		break;
	case SPOOL_ON_ERROR_FAIL:
		pthread_mutex_lock(&s->state);
		latch(s, -err);
		pthread_mutex_unlock(&s->state);
		break;
	}
	return err;
}

/* ---- telling ---- */

struct sg_telling {
	pthread_t thread;
	struct sg_news more; /* what calls of notify itself had to tell */
	struct sg_telling *next;
};

/* Is this thread inside notify? Then it tells when that returns: no recursion. */
static bool tell_later(struct spool *s, const struct sg_news *news)
{
	struct sg_telling *t;

	pthread_mutex_lock(&s->state);
	for (t = s->telling; t && !pthread_equal(t->thread, pthread_self()); t = t->next)
		;
	pthread_mutex_unlock(&s->state);
	if (!t)
		return false;
	t->more.any = true;
	if (news->error)
		t->more.error = news->error;
	return true;
}

static void telling_begins(struct spool *s, struct sg_telling *me)
{
	pthread_mutex_lock(&s->state);
	me->next = s->telling;
	s->telling = me;
	pthread_mutex_unlock(&s->state);
}

static void telling_ends(struct spool *s, struct sg_telling *me)
{
	struct sg_telling **p;

	pthread_mutex_lock(&s->state);
	for (p = &s->telling; *p != me; p = &(*p)->next)
		;
	*p = me->next;
	pthread_mutex_unlock(&s->state);
}

static struct spool_progress progress(struct spool *s, int error)
{
	struct spool_progress p;

	pthread_mutex_lock(&s->state);
	p = (struct spool_progress){ .durable_seq = atomic_load(&s->durable),
				     .appended_seq = atomic_load(&s->appended),
				     .lost_from = s->lost_from,
				     .lost_to = s->lost_to,
				     .error = error };
	pthread_mutex_unlock(&s->state);
	return p;
}

void sg_tell(struct spool *s, const struct sg_news *news)
{
	struct sg_telling me = { .thread = pthread_self(), .more = *news };
	struct spool_progress p;

	if (!s->c.notify || !news->any || tell_later(s, news))
		return;
	telling_begins(s, &me);
	while (me.more.any) {
		p = progress(s, me.more.error);
		me.more = (struct sg_news){ 0 };
		s->c.notify(s->c.notify_arg, &p);
	}
	telling_ends(s, &me);
}

/* ---- waiting ---- */

int sg_wait(struct spool *s, uint32_t seen, uint64_t deadline_ns)
{
	uint64_t now_ns = sg_now_ns(), timeout_ns = UINT64_MAX;
	struct sg_ledger *l = &s->ledger;

	if (deadline_ns != SPOOL_NO_DEADLINE) {
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		timeout_ns = deadline_ns - now_ns;
	}
	atomic_fetch_add(&l->waiters, 1);
	sg_ledger_kick(l);
	sg_ledger_wait(l, seen, timeout_ns);
	atomic_fetch_sub(&l->waiters, 1);
	return 0;
}

bool sg_must_sync_itself(const struct spool *s)
{
	return s->c.sync == SPOOL_SYNC_NONE ||
	       (s->flushes && atomic_load(&s->flusher_tid) == gettid());
}

/* ---- the flusher ---- */

static struct sg_window_flush_out ask(struct spool *s)
{
	struct sg_window_flush_in in = { .fixed = s->c.sync == SPOOL_SYNC_BATCH };
	struct sg_window_flush_out out;

	in.sync_in_flight = atomic_load(&s->group.lock) == SG_GROUP_LEADS;
	pthread_mutex_lock(&s->state);
	if (in.sync_in_flight)
		in.in_flight_since_ns = s->pace.last_begin_ns;
	out = sg_ledger_ask(&s->ledger, &s->pace, in);
	pthread_mutex_unlock(&s->state);
	return out;
}

/* All at risk is still inside the kernel. Whoever comes back from there first wakes us. */
static void starve(struct spool *s, uint32_t seen)
{
	atomic_store(&s->starved, true);
	if (sg_ledger_nothing_to_cover(&s->ledger))
		sg_futex_wait(&s->ledger.kick, seen, UINT64_MAX);
}

static void *flusher(void *arg)
{
	struct spool *s = arg;
	struct sg_window_flush_out out;
	uint64_t now_ns;
	struct sg_news news;
	uint32_t seen;

	atomic_store(&s->flusher_tid, gettid());
	for (;;) {
		seen = atomic_load(&s->ledger.kick);
		if (atomic_load(&s->stop) || sg_latched(s))
			return NULL;
		out = ask(s);
		now_ns = sg_now_ns();
		if (out.what == SG_FLUSH_NOW && sg_ledger_nothing_to_cover(&s->ledger)) {
			starve(s, seen);
		} else if (out.what == SG_FLUSH_NOW) {
			news = (struct sg_news){ 0 };
			sg_sync(s, &news); /* its error is latched, or told */
			sg_tell(s, &news);
		} else if (out.what != SG_FLUSH_WAIT) {
			sg_futex_wait(&s->ledger.kick, seen, UINT64_MAX);
		} else if (out.until_ns > now_ns) {
			sg_futex_wait(&s->ledger.kick, seen, out.until_ns - now_ns);
		}
	}
}

/* Signals are the program's threads' business. */
int sg_flusher_start(struct spool *s)
{
	sigset_t all, old;
	int error;

	if (s->c.sync != SPOOL_SYNC_BATCH && s->c.sync != SPOOL_SYNC_ADAPTIVE)
		return 0;
	s->flushes = true; /* before it looks */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&s->flusher, NULL, flusher, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		s->flushes = false;
	return -error;
}

void sg_flusher_stop(struct spool *s)
{
	if (!s->flushes)
		return;
	atomic_store(&s->stop, true);
	sg_ledger_kick(&s->ledger);
	pthread_join(s->flusher, NULL);
	s->flushes = false;
}

/* ---- public ---- */

int spool_sync(struct spool *s)
{
	struct sg_news news = { 0 };
	int err = sg_latched(s), lost;

	if (err)
		return err;
	if (sg_unsettled(s)) {
		err = sg_sync(s, &news);
		sg_tell(s, &news);
	}
	lost = sg_lost_news(s);
	return err ? err : lost;
}

static int wait_once(struct spool *s, uint32_t seen, uint64_t deadline_ns)
{
	struct sg_news news = { 0 };

	if (!sg_must_sync_itself(s))
		return sg_wait(s, seen, deadline_ns);
	if (deadline_ns != SPOOL_NO_DEADLINE && sg_now_ns() >= deadline_ns)
		return -ETIMEDOUT;
	sg_sync(s, &news); /* the caller looks what it did */
	sg_tell(s, &news);
	return 0;
}

int spool_wait_durable(struct spool *s, uint64_t seq, uint64_t deadline_ns)
{
	uint32_t seen;
	int err = 0;

	while (!err) {
		seen = atomic_load(&s->ledger.progress);
		if (sg_latched(s))
			return sg_latched(s);
		if (seq > atomic_load(&s->appended))
			return -ERANGE;
		if (sg_lost(s, seq))
			return -EIO;
		if (seq <= atomic_load(&s->durable))
			return 0;
		err = wait_once(s, seen, deadline_ns);
	}
	return err;
}

uint64_t spool_durable_seq(const struct spool *s)
{
	return atomic_load(&s->durable);
}
