// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* One record: admitted by the ledger, written under the lock, synced if the mode says so. */
#include <errno.h>
#include <limits.h>

#include "guard/clock.h"
#include "spool/writer.h"

/* How one append was let in. */
struct entry {
	uint64_t bytes;
	bool kick;	  /* the flusher has to be woken when it is done */
	bool inline_sync; /* to be synced before it returns */
	bool alone;	  /* it holds the lock of that name */
};

static bool bounded(const struct spool *s)
{
	return s->c.sync == SPOOL_SYNC_BATCH || s->c.sync == SPOOL_SYNC_ADAPTIVE;
}

/* No room: until a sync has made some. The flusher's own thread, inside notify, makes it. A sync that failed has latched
 * the spool, or (WARN) made room too. */
static void wait_for_room(struct spool *s, uint32_t seen, struct sg_news *news)
{
	if (sg_must_sync_itself(s))
		sg_sync(s, news);
	else
		sg_wait(s, seen, SPOOL_NO_DEADLINE);
}

/* Larger than the bound: the only such one at risk, and synced before it returns. */
static int admit_alone(struct spool *s, struct entry *e, struct sg_news *news)
{
	pthread_mutex_lock(&s->alone);
	e->alone = true;
	if (sg_unsettled(s) && sg_sync(s, news) && sg_latched(s))
		return sg_latched(s);
	sg_ledger_reserve_unbounded(&s->ledger, e->bytes, sg_now_ns());
	e->inline_sync = true;
	return 0;
}

static int admit(struct spool *s, struct entry *e, struct sg_news *news)
{
	struct sg_ledger *l = &s->ledger;
	uint32_t seen;
	int err;

	for (;;) {
		seen = atomic_load(&l->progress);
		err = sg_latched(s);
		if (err)
			return err;
		if (!bounded(s)) {
			sg_ledger_reserve_unbounded(l, e->bytes, sg_now_ns());
			e->inline_sync = s->c.sync == SPOOL_SYNC_RECORD;
			return 0;
		}
		err = sg_ledger_reserve(l, e->bytes, sg_now_ns(), &e->kick);
		if (err == -EFBIG)
			return admit_alone(s, e, news);
		if (err != -EAGAIN)
			return err;
		wait_for_room(s, seen, news);
	}
}

/* Written or not: it is not inside the kernel any more. */
static void leave(struct spool *s, const struct entry *e, int err)
{
	if (err)
		sg_ledger_done(&s->ledger, e->bytes, 0);
	if (s->flushes && (e->kick || atomic_exchange(&s->starved, false)))
		sg_ledger_kick(&s->ledger);
}

static int write_and_sync(struct spool *s, const struct iovec *iov, int iovcnt, struct entry *e,
			  uint64_t *seq, struct sg_news *news)
{
	int err;

	pthread_mutex_lock(&s->append);
	err = sg_tail_append(s, iov, iovcnt, e->bytes, seq, news);
	pthread_mutex_unlock(&s->append);
	leave(s, e, err);
	if (err || !e->inline_sync)
		return err;
	/* Another's sync, begun since, may have taken it along. */
	if (!sg_settled(s, *seq))
		err = sg_sync(s, news);
	return sg_lost(s, *seq) ? sg_lost_told(s, *seq) : err;
}

static int append(struct spool *s, const struct iovec *iov, int iovcnt, struct entry *e,
		  uint64_t *seq, struct sg_news *news)
{
	int err = admit(s, e, news);

	if (!err)
		err = write_and_sync(s, iov, iovcnt, e, seq, news);
	if (e->alone)
		pthread_mutex_unlock(&s->alone);
	return err;
}

/* -EMSGSIZE also for lengths whose sum would wrap. */
static int total_of(const struct iovec *iov, int iovcnt, uint64_t *total)
{
	int i;

	*total = 0;
	for (i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > SPOOL_RECORD_MAX - *total)
			return -EMSGSIZE;
		*total += iov[i].iov_len;
	}
	return 0;
}

int spool_appendv(struct spool *s, const struct iovec *iov, int iovcnt, uint64_t *seq)
{
	struct sg_news news = { 0 };
	struct entry e = { 0 };
	uint64_t own_seq = 0;
	int err;

	if (iovcnt < 0 || iovcnt > IOV_MAX)
		return -EINVAL;
	err = total_of(iov, iovcnt, &e.bytes);
	if (err)
		return err;
	e.bytes += SG_FRAME_BYTES;
	err = append(s, iov, iovcnt, &e, &own_seq, &news);
	/* Also after a failed sync: the record is in the file. */
	if (seq && own_seq)
		*seq = own_seq;
	sg_tell(s, &news);
	return err;
}

int spool_append(struct spool *s, const void *data, size_t len, uint64_t *seq)
{
	struct iovec iov = { (void *)data, len };

	return spool_appendv(s, &iov, 1, seq);
}
