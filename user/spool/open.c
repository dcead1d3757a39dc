// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Configuration, opening, closing and status of a spool that is written. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/clock.h"
#include "spool/bytes.h"
#include "spool/dir.h"
#include "spool/writer.h"

#define HOUR_NS		  UINT64_C(3600000000000)
#define SEGMENT_BYTES_MIN 4096u
#define SEGMENT_BYTES_MAX (UINT64_C(1) << 40)
#define SEGMENTS_MIN \
	4 /* of max_bytes: what is consumed is deleted by whole segments, and never the last */

/* ---- configuration ---- */

/* Of a caller that was compiled with a smaller or larger one. */
static int copy_config(struct spool_config *c, const struct spool_config *given)
{
	size_t n = given->size < sizeof(*c) ? given->size : sizeof(*c);

	if (given->size < sizeof(given->size) ||
	    (given->size > sizeof(*c) &&
	     !sg_all_zero((const uint8_t *)given + sizeof(*c), given->size - sizeof(*c))))
		return -EINVAL;
	memcpy(c, given, n);
	return 0;
}

static bool in_range(const struct spool_config *c)
{
	return c->sync <= SPOOL_SYNC_ADAPTIVE && c->on_error <= SPOOL_ON_ERROR_ABORT &&
	       c->prealloc <= SPOOL_PREALLOC_WRITTEN && !(c->mode & ~0777u) &&
	       c->batch_delay_ns <= HOUR_NS && c->segment_bytes >= SEGMENT_BYTES_MIN &&
	       c->segment_bytes <= SEGMENT_BYTES_MAX;
}

static void set_defaults(struct spool_config *c)
{
	c->mode = c->mode ? c->mode : 0640;
	c->batch_records = c->batch_records ? c->batch_records : 64;
	c->batch_bytes = c->batch_bytes ? c->batch_bytes : 1 << 20;
	c->batch_delay_ns = c->batch_delay_ns ? c->batch_delay_ns : 100000000;
	c->segment_bytes = c->segment_bytes ? c->segment_bytes : 64 << 20;
}

/* A full spool must be able to give room, segment by segment. */
static void fit_segments(struct spool_config *c)
{
	uint64_t most = c->max_bytes / SEGMENTS_MIN;

	if (!c->max_bytes || c->segment_bytes <= most)
		return;
	c->segment_bytes = most > SEGMENT_BYTES_MIN ? most : SEGMENT_BYTES_MIN;
}

static int configure(struct spool_config *c, const struct spool_config *given)
{
	int err = given ? copy_config(c, given) : 0;

	if (err)
		return err;
	set_defaults(c);
	if (!in_range(c))
		return -EINVAL;
	fit_segments(c);
	return 0;
}

/* ---- open ---- */

static struct spool *blank_spool(void)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->dirfd = s->lockfd = s->durable_fd = -1;
	pthread_mutex_init(&s->alone, NULL);
	pthread_mutex_init(&s->append, NULL);
	pthread_mutex_init(&s->state, NULL);
	s->group.window.shared = 1;
	return s;
}

static void free_spool(struct spool *s)
{
	sg_tail_put(s->tail);
	if (s->durable_fd >= 0)
		close(s->durable_fd);
	/* Last: whoever gets the lock finds everything done. */
	if (s->lockfd >= 0)
		sg_dir_unlock(s->lockfd);
	if (s->dirfd >= 0)
		close(s->dirfd);
	pthread_mutex_destroy(&s->alone);
	pthread_mutex_destroy(&s->append);
	pthread_mutex_destroy(&s->state);
	free(s);
}

static int open_files(struct spool *s, const char *dir)
{
	s->dirfd = sg_dir_make(dir, s->c.mode);
	if (s->dirfd < 0)
		return s->dirfd;
	s->lockfd = sg_dir_lock(s->dirfd, s->c.mode);
	if (s->lockfd < 0)
		return s->lockfd;
	s->durable_fd = openat(s->dirfd, "durable", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			       (mode_t)s->c.mode);
	return s->durable_fd < 0 ? -errno : 0;
}

static int begin(struct spool *s)
{
	struct sg_ledger *l = &s->ledger;
	int err;

	l->max_records = s->c.batch_records;
	l->max_bytes = s->c.batch_bytes;
	l->max_delay_ns = s->c.batch_delay_ns;
	err = sg_resume(s);
	if (!err)
		err = sg_durable_note(s, atomic_load(&s->durable));
	if (!err)
		err = sg_dir_bytes(s->dirfd, &s->bytes);
	return err ? err : sg_flusher_start(s);
}

int spool_open(struct spool **spool, const char *dir, const struct spool_config *config)
{
	struct spool *s = blank_spool();
	int err;

	if (!s)
		return -ENOMEM;
	err = configure(&s->c, config);
	if (!err)
		err = open_files(s, dir);
	if (!err)
		err = begin(s);
	if (err) {
		free_spool(s);
		return err;
	}
	*spool = s;
	return 0;
}

/* ---- close ---- */

static int finish(struct spool *s, struct sg_news *news)
{
	int err = sg_latched(s), lost;

	if (!err && !s->tail->bad) {
		err = sg_tail_cut(s, s->tail);
		if (err)
			err = sg_write_failed(s, err, news);
	}
	if (!sg_latched(s) && sg_unsettled(s)) {
		lost = sg_sync(s, news);
		err = err ? err : lost;
	}
	lost = sg_lost_news(s);
	return err ? err : lost;
}

int spool_close(struct spool *s)
{
	struct sg_news news = { 0 };
	int err;

	if (!s)
		return 0;
	sg_flusher_stop(s);
	err = finish(s, &news);
	sg_tell(s, &news);
	free_spool(s);
	return err;
}

/* ---- status ---- */

static int of_directory(struct spool *s, struct spool_status *st)
{
	struct sg_numbers numbers;
	int err;

	err = sg_dir_list(s->dirfd, SG_SEGMENT, &numbers);
	if (!err)
		err = sg_dir_bytes(s->dirfd, &st->bytes);
	st->segments = numbers.n;
	if (numbers.n && numbers.v[0] <= st->appended_seq)
		st->first_seq = numbers.v[0];
	sg_numbers_free(&numbers);
	return err;
}

static void of_state(struct spool *s, struct spool_status *st)
{
	struct sg_at_risk risk;
	uint64_t now_ns;

	pthread_mutex_lock(&s->state);
	st->appended_seq = atomic_load(&s->appended);
	st->durable_seq = atomic_load(&s->durable);
	st->lost_from = s->lost_from;
	st->lost_to = s->lost_to;
	pthread_mutex_unlock(&s->state);
	sg_ledger_at_risk(&s->ledger, &risk);
	now_ns = sg_now_ns();
	st->records_at_risk = risk.records;
	st->bytes_at_risk = risk.bytes;
	if (risk.records && risk.oldest_ns && now_ns > risk.oldest_ns)
		st->oldest_at_risk_ns = now_ns - risk.oldest_ns;
}

int spool_status(struct spool *s, struct spool_status *status)
{
	struct spool_status st = { .size = status->size };
	int err;

	if (st.size < sizeof(st.size))
		return -EINVAL;
	of_state(s, &st);
	st.max_bytes = s->c.max_bytes;
	st.syncs = atomic_load(&s->syncs);
	st.sync_ns = atomic_load(&s->sync_ns);
	st.cut_bytes = s->cut_bytes;
	st.error = sg_latched(s);
	memcpy(st.id, s->id, sizeof(st.id));
	err = of_directory(s, &st);
	if (err)
		return err;
	memcpy(status, &st, st.size < sizeof(st) ? st.size : sizeof(st));
	return 0;
}
