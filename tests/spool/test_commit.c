// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* When a writer syncs, for whom, and what it promises: proven from a history of its system calls. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "interpose.h"

#include "guard/clock.h"
#include "spool/bytes.h"
#include "spoolguard/spool.h"
#include "tap.h"
#include "walk.h"

#define THREADS	    64
#define PER_THREAD  50
#define HISTORY_MAX 20000
#define COMPANY_NS \
	20000000 /* a thread may sleep until the next sync although this one covered it: not for ever */
#define HOUR_NS UINT64_C(3600000000000)

/* ---- the history ---- */

struct sync_seen {
	uint64_t began, ended, began_ns;
	ino_t ino;
	bool ok;
};

/* Times are numbers of events: a total order. Everything under `lock`. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool on;
	uint64_t clock;

	uint64_t write_ended[HISTORY_MAX], returned[HISTORY_MAX]; /* by sequence number */
	struct spool *spool;		       /* begun by nobody else than us, from record 1 on */
	uint64_t begun_records, ended_records; /* writes */
	uint64_t most_records;		       /* at risk */
	uint64_t live;			       /* threads */
	struct sync_seen syncs[HISTORY_MAX];
	size_t n_syncs;

	/* what a sync does */
	bool until_all_wait;	/* it ends when every live thread waits for the next one */
	uint64_t until_records; /* it ends when so many records are at risk */
	bool held;		/* it ends when this is false */
	uint64_t in_sync;
	int fail_sync;		      /* errno of the next */
	bool write_waits_for_failure; /* the next write ends after a sync has failed */
} h = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

static __thread size_t my_sync;

static void history_begin(void)
{
	pthread_mutex_lock(&h.lock);
	memset(&h.on, 0, sizeof(h) - offsetof(__typeof__(h), on));
	h.on = true;
	pthread_mutex_unlock(&h.lock);
}

static void history_end(void)
{
	pthread_mutex_lock(&h.lock);
	h.on = false;
	pthread_mutex_unlock(&h.lock);
}

/* One of the fields below `what a sync does`. */
#define SET(field, value)                         \
	do {                                      \
		pthread_mutex_lock(&h.lock);      \
		h.field = (value);                \
		pthread_cond_broadcast(&h.moved); \
		pthread_mutex_unlock(&h.lock);    \
	} while (0)

static uint64_t seq_of(const struct call *c)
{
	return sg_get64((const uint8_t *)c->iov[0].iov_base + 8);
}

/* What the spool itself does not know to be durable: at least what is at risk. */
static uint64_t at_risk(void)
{
	return h.spool ? h.begun_records - spool_durable_seq(h.spool) : 0;
}

static void write_begins(void)
{
	h.begun_records++;
	h.most_records = at_risk() > h.most_records ? at_risk() : h.most_records;
	pthread_cond_broadcast(&h.moved);
	while (h.write_waits_for_failure)
		pthread_cond_wait(&h.moved, &h.lock);
}

static void write_ends(const struct call *c)
{
	uint64_t seq = seq_of(c);

	h.ended_records++;
	if (seq < HISTORY_MAX)
		h.write_ended[seq] = ++h.clock;
}

static bool sync_goes_on(void)
{
	if (h.held)
		return true;
	if (h.until_all_wait)
		return h.ended_records - spool_durable_seq(h.spool) < h.live;
	return h.live && at_risk() < h.until_records;
}

static int sync_begins(const struct call *c)
{
	int fault = h.fail_sync;
	struct timespec end;
	struct stat st;

	h.fail_sync = 0;
	my_sync = h.n_syncs++;
	fstat(c->fd, &st);
	h.syncs[my_sync] =
		(struct sync_seen){ .began = ++h.clock, .began_ns = sg_now_ns(), .ino = st.st_ino };
	h.in_sync++;
	pthread_cond_broadcast(&h.moved);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += (end.tv_nsec += COMPANY_NS) >= 1000000000;
	end.tv_nsec %= 1000000000;
	while (sync_goes_on()) {
		if (!h.until_all_wait)
			pthread_cond_wait(&h.moved, &h.lock);
		else if (pthread_cond_timedwait(&h.moved, &h.lock, &end) != 0)
			break;
	}
	h.in_sync--;
	return fault;
}

static void sync_ends(long result)
{
	h.syncs[my_sync].ended = ++h.clock;
	h.syncs[my_sync].ok = result == 0;
	if (result != 0)
		h.write_waits_for_failure = false;
}

static int call_before(const struct call *c)
{
	int fault = 0;

	pthread_mutex_lock(&h.lock);
	if (h.on && c->kind == CALL_PWRITEV)
		write_begins();
	if (h.on && c->kind == CALL_FDATASYNC)
		fault = sync_begins(c);
	pthread_cond_broadcast(&h.moved);
	pthread_mutex_unlock(&h.lock);
	return fault;
}

static void call_after(const struct call *c, long result)
{
	pthread_mutex_lock(&h.lock);
	if (h.on && c->kind == CALL_PWRITEV)
		write_ends(c);
	if (h.on && c->kind == CALL_FDATASYNC)
		sync_ends(result);
	pthread_cond_broadcast(&h.moved);
	pthread_mutex_unlock(&h.lock);
}

static void append_returned(uint64_t seq)
{
	pthread_mutex_lock(&h.lock);
	h.returned[seq] = ++h.clock;
	pthread_mutex_unlock(&h.lock);
}

static void thread_lives(int n)
{
	pthread_mutex_lock(&h.lock);
	h.live += (uint64_t)n;
	pthread_cond_broadcast(&h.moved);
	pthread_mutex_unlock(&h.lock);
}

/* Did a sync begin after its write had ended, and end with success before the append returned? */
static bool was_covered(uint64_t seq)
{
	size_t i;

	for (i = 0; i < h.n_syncs; i++)
		if (h.syncs[i].ok && h.syncs[i].began > h.write_ended[seq] &&
		    h.syncs[i].ended < h.returned[seq])
			return true;
	return false;
}

/* ---- helpers ---- */

static struct spool *open_spool(const struct dir *d, const struct spool_config *c)
{
	struct spool *s = NULL;

	CU_ASSERT_EQUAL_FATAL(spool_open(&s, d->path, c), 0);
	return s;
}

static void close_spool(struct spool *s, int expected)
{
	CU_ASSERT_EQUAL(spool_close(s), expected);
	history_end();
}

static struct spool_status status_of(struct spool *s)
{
	struct spool_status st = { .size = sizeof(st) };

	CU_ASSERT_EQUAL_FATAL(spool_status(s, &st), 0);
	return st;
}

struct appender {
	struct spool *s;
	size_t len;
	unsigned int n;
	int err;
	_Atomic int tid;
};

static void *append_some(void *arg)
{
	struct appender *a = arg;
	uint8_t p[4096] = { 0 };
	unsigned int i;
	uint64_t seq;
	int err;

	atomic_store(&a->tid, gettid());
	for (i = 0; i < a->n; i++) {
		err = spool_append(a->s, p, a->len, &seq);
		if (err)
			a->err = err;
		else
			append_returned(seq);
	}
	thread_lives(-1);
	return NULL;
}

static void run_appenders(struct spool *s, unsigned int threads, unsigned int each, size_t len)
{
	struct appender a[THREADS];
	pthread_t t[THREADS];
	unsigned int i;

	thread_lives((int)threads);
	for (i = 0; i < threads; i++) {
		a[i] = (struct appender){ .s = s, .n = each, .len = len };
		pthread_create(&t[i], NULL, append_some, &a[i]);
	}
	for (i = 0; i < threads; i++) {
		pthread_join(t[i], NULL);
		CU_ASSERT_EQUAL(a[i].err, 0);
	}
}

/* ---- RECORD ---- */

static void test_an_append_in_record_mode_returns_after_a_sync_that_began_after_its_write(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	unsigned int uncovered = 0;
	struct dir d = dir_begin();
	struct walked w;
	struct spool *s;
	uint64_t seq;

	c.sync = SPOOL_SYNC_RECORD;
	s = open_spool(&d, &c);
	history_begin();
	SET(spool, s);
	SET(until_all_wait, true);
	run_appenders(s, THREADS, PER_THREAD, 50);
	for (seq = 1; seq <= THREADS * PER_THREAD; seq++)
		uncovered += !was_covered(seq);
	CU_ASSERT_EQUAL(uncovered, 0);
	/* Threads that append at once share a sync. */
	CU_ASSERT_TRUE(h.n_syncs < THREADS * PER_THREAD / 8);
	CU_ASSERT_EQUAL(status_of(s).syncs, h.n_syncs);
	CU_ASSERT_EQUAL(spool_durable_seq(s), THREADS * PER_THREAD);
	close_spool(s, 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, THREADS * PER_THREAD));
	dir_end(&d);
}

struct syncer {
	struct spool *s;
	unsigned int wrong;
};

static void *sync_and_check(void *arg)
{
	struct syncer *y = arg;
	uint64_t seq;
	unsigned int i;

	for (i = 0; i < PER_THREAD; i++) {
		y->wrong += spool_append(y->s, "x", 1, &seq) != 0;
		if (i % 2)
			y->wrong += spool_sync(y->s) != 0;
		else
			y->wrong += spool_wait_durable(y->s, seq, SPOOL_NO_DEADLINE) != 0;
		append_returned(seq);
	}
	return NULL;
}

static void sync_from_many(enum spool_sync_mode mode, uint64_t segment_bytes)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct syncer y[8];
	unsigned int i, uncovered = 0;
	struct dir d = dir_begin();
	pthread_t t[8];
	struct walked w;
	struct spool *s;
	uint64_t seq;

	c.sync = mode;
	c.segment_bytes = segment_bytes;
	s = open_spool(&d, &c);
	history_begin();
	for (i = 0; i < 8; i++) {
		y[i] = (struct syncer){ s, 0 };
		pthread_create(&t[i], NULL, sync_and_check, &y[i]);
	}
	for (i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		CU_ASSERT_EQUAL(y[i].wrong, 0);
	}
	for (seq = 1; seq <= 8 * PER_THREAD; seq++)
		uncovered += !was_covered(seq);
	CU_ASSERT_EQUAL(uncovered, 0);
	close_spool(s, 0);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, 8 * PER_THREAD));
	dir_end(&d);
}

static void test_a_sync_from_any_thread_in_any_mode_covers_what_was_appended_before(void)
{
	sync_from_many(SPOOL_SYNC_NONE, 0);
	sync_from_many(SPOOL_SYNC_BATCH, 0);
	sync_from_many(SPOOL_SYNC_ADAPTIVE, 0);
	sync_from_many(SPOOL_SYNC_NONE, 4096);
	sync_from_many(SPOOL_SYNC_BATCH, 4096);
	sync_from_many(SPOOL_SYNC_RECORD, 4096);
}

/* ---- bounds ---- */

static void check_bounds(const struct spool_config *c, size_t len, uint64_t records)
{
	struct dir d = dir_begin();
	struct spool *s = open_spool(&d, c);

	history_begin();
	SET(spool, s);
	SET(until_records, records); /* each sync takes until the bound is reached */
	run_appenders(s, 4, 200, len);
	close_spool(s, 0);
	CU_ASSERT_EQUAL(h.most_records, records);
	CU_ASSERT_TRUE(h.n_syncs >= 800 / records / 2);
	dir_end(&d);
}

static void test_a_batch_never_has_more_at_risk_than_its_bounds(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	int sync;

	for (sync = 0; sync < 2; sync++) {
		c.sync = sync ? SPOOL_SYNC_ADAPTIVE : SPOOL_SYNC_BATCH;
		c.batch_delay_ns = HOUR_NS;
		c.batch_records = 8;
		c.batch_bytes = 1 << 20;
		check_bounds(&c, 10, 8);
		c.batch_records = 1000;
		c.batch_bytes = 1050; /* ten frames of 100 bytes */
		check_bounds(&c, 100 - SG_FRAME_BYTES, 10);
	}
}

struct done {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	uint64_t durable;
	int error;
};

static void on_progress(void *arg, const struct spool_progress *p)
{
	struct done *t = arg;

	pthread_mutex_lock(&t->lock);
	t->durable = p->durable_seq > t->durable ? p->durable_seq : t->durable;
	t->error = p->error ? p->error : t->error;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
}

static void wait_told(struct done *t, uint64_t durable)
{
	pthread_mutex_lock(&t->lock);
	while (t->durable < durable)
		pthread_cond_wait(&t->moved, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

static void test_a_batch_is_synced_when_its_bound_or_its_time_is_reached_and_not_before(void)
{
	struct done t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	uint64_t before_ns;
	struct spool *s;

	c.notify = on_progress;
	c.notify_arg = &t;
	c.batch_records = 3;
	c.batch_delay_ns = HOUR_NS;
	s = open_spool(&d, &c);
	history_begin();
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_append(s, "2", 1, NULL), 0);
	CU_ASSERT_EQUAL(status_of(s).syncs, 0);
	CU_ASSERT_EQUAL(spool_append(s, "3", 1, NULL), 0);
	wait_told(&t, 3);
	close_spool(s, 0);
	CU_ASSERT_EQUAL(h.n_syncs, 1);

	c.batch_delay_ns = 20000000;
	s = open_spool(&d, &c);
	history_begin();
	before_ns = sg_now_ns();
	CU_ASSERT_EQUAL(spool_append(s, "4", 1, NULL), 0);
	wait_told(&t, 4);
	CU_ASSERT_TRUE(h.syncs[0].began_ns - before_ns >= c.batch_delay_ns);
	close_spool(s, 0);
	CU_ASSERT_EQUAL(h.n_syncs, 1);
	dir_end(&d);
}

/* Does thread tid sleep? */
static bool asleep(int tid)
{
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return strstr(line, ") S ") != NULL;
}

static void test_nothing_is_admitted_while_the_oldest_at_risk_is_past_its_time(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct appender a = { .n = 1 };
	struct dir d = dir_begin();
	struct spool *s;
	pthread_t t;

	c.batch_delay_ns = 1000000;
	s = open_spool(&d, &c);
	history_begin();
	SET(held, true);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	pthread_mutex_lock(&h.lock);
	while (!h.in_sync)
		pthread_cond_wait(&h.moved, &h.lock);
	pthread_mutex_unlock(&h.lock);
	/* The sync began when the time was over; from now on nothing enters. */
	a.s = s;
	thread_lives(1);
	pthread_create(&t, NULL, append_some, &a);
	while (!atomic_load(&a.tid) || !asleep(a.tid))
		sched_yield();
	SET(held, false);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(a.err, 0);
	CU_ASSERT_TRUE(h.write_ended[2] > h.syncs[0].ended);
	close_spool(s, 0);
	dir_end(&d);
}

static void test_a_record_larger_than_the_bound_is_synced_before_its_append_returns(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;
	uint8_t p[200] = { 0 };
	uint64_t seq;

	c.batch_bytes = 100;
	c.batch_delay_ns = HOUR_NS;
	s = open_spool(&d, &c);
	CU_ASSERT_EQUAL(spool_append(s, p, 1, &seq), 0);
	history_begin();
	CU_ASSERT_EQUAL(spool_append(s, p, sizeof(p), &seq), 0);
	append_returned(seq);
	CU_ASSERT_TRUE(was_covered(2));
	/* The other one was made durable before: never both at risk. */
	CU_ASSERT_TRUE(h.syncs[0].ok && h.syncs[0].ended < h.write_ended[2]);
	CU_ASSERT_EQUAL(h.n_syncs, 2);
	close_spool(s, 0);
	dir_end(&d);
}

static void test_of_records_larger_than_the_bound_only_one_is_at_risk(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;

	c.batch_bytes = 100;
	c.batch_delay_ns = HOUR_NS;
	s = open_spool(&d, &c);
	history_begin();
	SET(spool, s);
	SET(until_all_wait, true); /* the others have time to come along */
	run_appenders(s, 4, 3, 200);
	close_spool(s, 0);
	CU_ASSERT_EQUAL(h.most_records, 1);
	dir_end(&d);
}

/* ---- errors ---- */

static void test_with_fail_a_failed_sync_is_final(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;
	size_t syncs;
	int mode;

	for (mode = SPOOL_SYNC_BATCH; mode <= SPOOL_SYNC_ADAPTIVE; mode++) {
		c.sync = (enum spool_sync_mode)mode;
		c.batch_delay_ns = HOUR_NS;
		s = open_spool(&d, &c);
		history_begin();
		SET(fail_sync, EIO);
		if (mode == SPOOL_SYNC_RECORD)
			CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), -EIO)
		else
			CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
		CU_ASSERT_EQUAL(spool_sync(s), -EIO);
		syncs = h.n_syncs;
		CU_ASSERT_EQUAL(syncs, 1);
		CU_ASSERT_EQUAL(spool_sync(s), -EIO);
		CU_ASSERT_EQUAL(spool_append(s, "2", 1, NULL), -EIO);
		CU_ASSERT_EQUAL(spool_wait_durable(s, 1, SPOOL_NO_DEADLINE), -EIO);
		CU_ASSERT_EQUAL(status_of(s).error, -EIO);
		CU_ASSERT_EQUAL(status_of(s).durable_seq, status_of(s).appended_seq - 1);
		close_spool(s, -EIO);
		CU_ASSERT_EQUAL(h.n_syncs, syncs);
	}
	dir_end(&d);
}

/* ENOSPC is the answer to an append that may be tried again; this one is in the file, and none will succeed. */
static void test_a_sync_for_which_the_disk_has_no_space_is_as_final(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	uint64_t seq = 0;
	struct spool *s;

	c.sync = SPOOL_SYNC_RECORD;
	s = open_spool(&d, &c);
	history_begin();
	SET(fail_sync, ENOSPC);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, &seq), -EIO);
	CU_ASSERT_EQUAL(seq, 1);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), -EIO);
	CU_ASSERT_EQUAL(status_of(s).error, -EIO);
	close_spool(s, -EIO);
	dir_end(&d);
}

static void test_an_appender_that_waits_for_room_learns_of_the_failure(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct appender a = { .n = 1 };
	struct dir d = dir_begin();
	struct spool *s;
	pthread_t t;

	c.batch_records = 1;
	s = open_spool(&d, &c);
	history_begin();
	SET(held, true);
	SET(fail_sync, EIO);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	a.s = s;
	thread_lives(1);
	pthread_create(&t, NULL, append_some, &a);
	while (!atomic_load(&a.tid) || !asleep(a.tid))
		sched_yield();
	SET(held, false);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(a.err, -EIO);
	close_spool(s, -EIO);
	dir_end(&d);
}

static void test_with_warn_appending_goes_on_elsewhere_and_the_loss_stays_known(void)
{
	struct done t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool_status st;
	struct walked w;
	struct spool *s;
	size_t i;

	c.sync = SPOOL_SYNC_NONE;
	c.on_error = SPOOL_ON_ERROR_WARN;
	c.notify = on_progress;
	c.notify_arg = &t;
	s = open_spool(&d, &c);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	history_begin();
	CU_ASSERT_EQUAL(spool_append(s, "2", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_append(s, "3", 1, NULL), 0);
	SET(fail_sync, EIO);
	CU_ASSERT_EQUAL(spool_sync(s), -EIO);
	CU_ASSERT_EQUAL(t.error, -EIO);
	CU_ASSERT_EQUAL(spool_append(s, "4", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 1, 0), 0);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 2, 0), -EIO);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 3, 0), -EIO);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 4, 0), 0);
	st = status_of(s);
	CU_ASSERT_EQUAL(st.lost_from, 2);
	CU_ASSERT_EQUAL(st.lost_to, 3);
	CU_ASSERT_EQUAL(st.durable_seq, 4);
	CU_ASSERT_EQUAL(st.segments, 2);
	CU_ASSERT_EQUAL(st.error, 0);
	CU_ASSERT_EQUAL(st.records_at_risk, 0);
	close_spool(s, 0);
	/* The file whose sync failed is never synced again. */
	for (i = 1; i < h.n_syncs; i++)
		CU_ASSERT_NOT_EQUAL(h.syncs[i].ino, h.syncs[0].ino);
	w = walk_spool(d.path, NULL, NULL);
	CU_ASSERT_TRUE(walk_is(&w, 1, 4));
	dir_end(&d);
}

static void known_durable(void *arg, const struct sg_frame *f)
{
	uint64_t known = sg_frame_known_durable(f);

	if (known > *(uint64_t *)arg)
		*(uint64_t *)arg = known;
}

static void test_no_frame_claims_that_a_lost_record_was_durable(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	uint64_t known = 0;
	struct spool *s;

	c.sync = SPOOL_SYNC_RECORD;
	c.on_error = SPOOL_ON_ERROR_WARN;
	s = open_spool(&d, &c);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	history_begin();
	SET(fail_sync, EIO);
	CU_ASSERT_EQUAL(spool_append(s, "2", 1, NULL), -EIO);
	CU_ASSERT_EQUAL(spool_append(s, "3", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_append(s, "4", 1, NULL), 0);
	close_spool(s, 0);
	walk_spool(d.path, known_durable, &known);
	CU_ASSERT_EQUAL(known, 1);
	dir_end(&d);
}

/* It was inside the kernel while the sync failed. */
static void test_with_warn_what_was_being_written_during_the_failure_is_lost_too(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct appender a = { .n = 1 };
	struct dir d = dir_begin();
	struct spool_status st;
	struct spool *s;
	pthread_t t;

	c.sync = SPOOL_SYNC_NONE;
	c.on_error = SPOOL_ON_ERROR_WARN;
	s = open_spool(&d, &c);
	CU_ASSERT_EQUAL(spool_append(s, "1", 1, NULL), 0);
	history_begin();
	SET(write_waits_for_failure, true);
	a.s = s;
	thread_lives(1);
	pthread_create(&t, NULL, append_some, &a);
	pthread_mutex_lock(&h.lock);
	while (!h.begun_records)
		pthread_cond_wait(&h.moved, &h.lock);
	h.fail_sync = EIO;
	pthread_mutex_unlock(&h.lock);
	CU_ASSERT_EQUAL(spool_sync(s), -EIO);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(a.err, 0);
	CU_ASSERT_EQUAL(spool_append(s, "3", 1, NULL), 0);
	CU_ASSERT_EQUAL(spool_wait_durable(s, 3, SPOOL_NO_DEADLINE), 0);
	st = status_of(s);
	CU_ASSERT_EQUAL(st.lost_from, 1);
	CU_ASSERT_EQUAL(st.lost_to, 2);
	spool_sync(s); /* tells of record 2, if it came back too late for the first */
	CU_ASSERT_EQUAL(spool_sync(s), 0);
	close_spool(s, 0);
	dir_end(&d);
}

static void test_with_abort_a_failed_sync_aborts(void)
{
	struct spool_config c = SPOOL_CONFIG_INIT;
	struct dir d = dir_begin();
	struct spool *s;
	int status;
	pid_t pid;

	c.sync = SPOOL_SYNC_RECORD;
	c.on_error = SPOOL_ON_ERROR_ABORT;
	pid = fork();
	if (pid == 0) {
		if (spool_open(&s, d.path, &c) != 0)
			_exit(1);
		history_begin();
		SET(fail_sync, EIO);
		spool_append(s, "1", 1, NULL);
		_exit(2);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	dir_end(&d);
}

SG_TESTS("commit", TEST(test_with_abort_a_failed_sync_aborts), /* first: it forks */
	 TEST(test_an_append_in_record_mode_returns_after_a_sync_that_began_after_its_write),
	 TEST(test_a_sync_from_any_thread_in_any_mode_covers_what_was_appended_before),
	 TEST(test_a_batch_never_has_more_at_risk_than_its_bounds),
	 TEST(test_a_batch_is_synced_when_its_bound_or_its_time_is_reached_and_not_before),
	 TEST(test_nothing_is_admitted_while_the_oldest_at_risk_is_past_its_time),
	 TEST(test_a_record_larger_than_the_bound_is_synced_before_its_append_returns),
	 TEST(test_of_records_larger_than_the_bound_only_one_is_at_risk),
	 TEST(test_with_fail_a_failed_sync_is_final),
	 TEST(test_a_sync_for_which_the_disk_has_no_space_is_as_final),
	 TEST(test_an_appender_that_waits_for_room_learns_of_the_failure),
	 TEST(test_with_warn_appending_goes_on_elsewhere_and_the_loss_stays_known),
	 TEST(test_no_frame_claims_that_a_lost_record_was_durable),
	 TEST(test_with_warn_what_was_being_written_during_the_failure_is_lost_too))
