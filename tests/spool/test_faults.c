// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Every Nth call by which a writer changes or syncs files fails, once or from then on, in every way. Afterwards, the
 * faults being over: every record that was known to be durable is there, none is there that was not appended, the
 * spool can be written, and the error reached the caller.
 *
 * SWEEP=full: runs of 1000 appends, every N of every fault. Else 40 appends, and from then on for every 5th N only.
 */
#include <pthread.h>

#include "interpose.h"

#include "spoolguard/spool.h"
#include "tap.h"
#include "walk.h"

#define APPENDS_MAX 1000
#define BEFORE	    10 /* records that are there before, in a spool with a torn tail */
#define NUMBERS	    (BEFORE + APPENDS_MAX + 2)

/* ---- the fault ---- */

static struct {
	pthread_mutex_t lock;
	bool on, forever;
	unsigned long nth, seen; /* of the calls that can fail so */
	int error;		 /* an errno, or CALL_SHORT */
	bool hit;
	enum call_kind kind; /* of the first that was hit, and its file */
	char name[256];
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool can_fail(const struct call *c)
{
	return fault.error != CALL_SHORT || c->kind == CALL_PWRITE || c->kind == CALL_PWRITEV;
}

static void note_hit(const struct call *c)
{
	char link[64];
	ssize_t n;

	fault.hit = true;
	fault.kind = c->kind;
	if (c->name) {
		snprintf(fault.name, sizeof(fault.name), "%.200s", c->name);
		return;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->fd);
	n = readlink(link, fault.name, sizeof(fault.name) - 1);
	fault.name[n > 0 ? n : 0] = '\0';
}

static int call_before(const struct call *c)
{
	int error = 0;

	pthread_mutex_lock(&fault.lock);
	if (fault.on && can_fail(c)) {
		fault.seen++;
		if (fault.seen == fault.nth || (fault.forever && fault.seen > fault.nth))
			error = fault.error;
		if (error && !fault.hit)
			note_hit(c);
	}
	pthread_mutex_unlock(&fault.lock);
	return error;
}

static void call_after(const struct call *c, long result)
{
}

/* ---- one run ---- */

struct run {
	const struct spool_config *config;
	unsigned int appends;
	bool acked[NUMBERS];   /* its append returned 0 */
	bool written[NUMBERS]; /* its append gave it this number */
	uint64_t last, durable;
	uint64_t lost_from, lost_to;
	_Atomic unsigned int errors; /* returned by any call, or told */
	uint64_t more;		     /* number of the record that is appended afterwards */
};

static void on_progress(void *arg, const struct spool_progress *p)
{
	struct run *r = arg;

	r->errors += p->error != 0;
}

#define PAYLOAD_MAX 600

/* What record seq holds. */
static size_t payload(uint8_t p[PAYLOAD_MAX], uint64_t seq)
{
	size_t len = (size_t)(seq * 97 % PAYLOAD_MAX), i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(seq + i);
	return len;
}

static void append_one(struct spool *s, struct run *r)
{
	uint8_t p[PAYLOAD_MAX];
	uint64_t seq = 0;
	int err = spool_append(s, p, payload(p, r->last + 1), &seq);

	r->errors += err != 0;
	if (!seq)
		return;
	CU_ASSERT_EQUAL_FATAL(seq, r->last + 1);
	r->last = seq;
	r->written[seq] = true;
	r->acked[seq] = err == 0;
}

static void append_all(struct spool *s, struct run *r)
{
	unsigned int i;

	for (i = 0; i < r->appends; i++) {
		append_one(s, r);
		if (i % 10 == 9)
			r->errors += spool_sync(s) != 0;
	}
}

static void note_end(struct spool *s, struct run *r)
{
	struct spool_status st = { .size = sizeof(st) };

	r->durable = spool_durable_seq(s);
	CU_ASSERT_EQUAL(spool_status(s, &st), 0);
	r->lost_from = st.lost_from;
	r->lost_to = st.lost_to;
}

static void write_spool(const char *dir, struct run *r)
{
	struct spool_config c = *r->config;
	struct spool *s = NULL;
	unsigned int errors;

	c.notify = on_progress;
	c.notify_arg = r;
	fault.on = true;
	if (spool_open(&s, dir, &c) != 0) {
		fault.on = false;
		r->errors++;
		return;
	}
	append_all(s, r);
	errors = spool_sync(s) != 0;
	r->errors += errors;
	pthread_mutex_lock(&fault.lock);
	fault.on = false; /* looking is not writing */
	pthread_mutex_unlock(&fault.lock);
	note_end(s, r);
	pthread_mutex_lock(&fault.lock);
	fault.on = true;
	pthread_mutex_unlock(&fault.lock);
	r->errors += spool_close(s) != 0;
	fault.on = false;
}

/* ---- before the run ---- */

static void write_before(const char *dir, struct run *r)
{
	struct spool *s = NULL;
	unsigned int i;

	CU_ASSERT_EQUAL_FATAL(spool_open(&s, dir, NULL), 0);
	for (i = 0; i < BEFORE; i++)
		append_one(s, r);
	CU_ASSERT_EQUAL_FATAL(spool_close(s), 0);
	r->durable = BEFORE;
}

/* As an append leaves it that was cut off. */
static void tear(const char *dir)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%.200s/%020d%s", dir, 1, SG_SEGMENT);
	f = fopen(path, "ae");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs("the beginning of a frame, and not its end", f);
	fclose(f);
}

/* ---- what must hold after it ---- */

struct found {
	const struct run *run;
	bool there[NUMBERS];
	unsigned int invented, missing;
	bool writable, told;
	struct walked w;
};

static void see(void *arg, const struct sg_frame *f)
{
	struct found *v = arg;
	uint8_t p[PAYLOAD_MAX];
	size_t len = payload(p, f->seq);

	if (f->seq == v->run->more)
		return;
	if (f->seq >= NUMBERS || !v->run->written[f->seq] || f->len != len ||
	    memcmp(p, f->payload, len) != 0)
		v->invented++;
	else
		v->there[f->seq] = true;
}

static unsigned int count_missing(const struct run *r, const struct found *v)
{
	bool record = r->config->sync == SPOOL_SYNC_RECORD;
	unsigned int n = 0;
	uint64_t i;

	for (i = 1; i <= r->last; i++) {
		if (r->lost_from && i >= r->lost_from && i <= r->lost_to)
			continue;
		if (i <= r->durable || (record && r->acked[i]))
			n += !v->there[i];
	}
	return n;
}

static bool append_more(const char *dir, struct run *r)
{
	struct spool *s = NULL;
	bool ok;

	if (spool_open(&s, dir, NULL) != 0)
		return false;
	ok = spool_append(s, "more", 4, &r->more) == 0 && r->more > r->durable;
	return spool_close(s) == 0 && ok;
}

/* A hint that found no room is nobody's loss, nor are zeros ahead; a short or interrupted call was made good by the next one. */
static bool may_be_silent(const struct run *r)
{
	bool hint = strstr(fault.name, SG_INDEX) || strstr(fault.name, "/durable");

	if (!fault.hit || fault.error == CALL_SHORT)
		return true;
	if (fault.error == ENOSPC)
		return hint ||
		       (r->config->prealloc == SPOOL_PREALLOC_WRITTEN && fault.kind == CALL_PWRITE);
	return fault.error == EINTR && !fault.forever &&
	       (fault.kind == CALL_PWRITEV || fault.kind == CALL_PWRITE ||
		fault.kind == CALL_FDATASYNC);
}

static const char *error_name(void)
{
	return fault.error == CALL_SHORT ? "short" : strerrorname_np(fault.error);
}

static void check(const char *dir, struct run *r)
{
	struct found *v = calloc(1, sizeof(*v));
	bool held;

	v->run = r;
	v->writable = append_more(dir, r);
	v->w = walk_spool(dir, see, v);
	v->missing = count_missing(r, v);
	v->told = r->errors || may_be_silent(r);
	held = v->writable && v->told && !v->invented && !v->missing && !v->w.err &&
	       !v->w.damaged && !v->w.torn;
	if (!held)
		printf("# %s %s %lu (%s %s), mode %d, on_error %d: %u errors, last %lu, durable "
		       "%lu; "
		       "then writable %d, missing %u, invented %u, damaged %lu, torn %lu, err %d\n",
		       error_name(), fault.forever ? "from" : "at", fault.nth,
		       call_names[fault.kind], fault.name, r->config->sync, r->config->on_error,
		       (unsigned int)r->errors, r->last, r->durable, v->writable, v->missing,
		       v->invented, v->w.damaged, v->w.torn, v->w.err);
	CU_ASSERT_TRUE(held);
	free(v);
}

/* ---- the sweep ---- */

static bool full_size(void)
{
	const char *e = getenv("SWEEP");

	return e && strcmp(e, "full") == 0;
}

/* Returns how many calls it made that could fail so. */
static unsigned long run_with(const struct spool_config *c, bool torn, int error, unsigned long nth,
			      bool forever)
{
	struct run *r = calloc(1, sizeof(*r));
	struct dir d = dir_begin();
	char path[128];

	snprintf(path, sizeof(path), "%s/a/b", d.path);
	r->config = c;
	r->appends = full_size() ? APPENDS_MAX : 40;
	if (torn) {
		write_before(path, r);
		tear(path);
	}
	fault.seen = 0;
	fault.hit = false;
	fault.name[0] = '\0';
	fault.nth = nth;
	fault.forever = forever;
	fault.error = error;
	write_spool(path, r);
	check(path, r);
	dir_end(&d);
	free(r);
	return fault.seen;
}

static void sweep(const struct spool_config *c, bool torn, int error)
{
	unsigned long n, calls = run_with(c, torn, error, 0, false);
	unsigned long step = full_size() ? 1 : 5;

	CU_ASSERT_TRUE(calls > 40);
	for (n = 1; n <= calls; n++) {
		run_with(c, torn, error, n, false);
		if (n % step == 0)
			run_with(c, torn, error, n, true);
	}
}

static void sweep_all(enum spool_sync_mode sync, enum spool_on_error on_error,
		      enum spool_prealloc prealloc, bool torn)
{
	static const int errors[] = { EIO, ENOSPC, EINTR, CALL_SHORT };
	struct spool_config c = SPOOL_CONFIG_INIT;
	size_t i;

	c.sync = sync;
	c.on_error = on_error;
	c.prealloc = prealloc;
	c.segment_bytes = 4096;
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		sweep(&c, torn, errors[i]);
}

static void test_every_fault_is_told_and_loses_nothing_durable_in_record_mode(void)
{
	sweep_all(SPOOL_SYNC_RECORD, SPOOL_ON_ERROR_FAIL, SPOOL_PREALLOC_NONE, false);
}

static void test_every_fault_is_told_and_loses_nothing_durable_with_reserved_segments(void)
{
	sweep_all(SPOOL_SYNC_NONE, SPOOL_ON_ERROR_FAIL, SPOOL_PREALLOC_RESERVE, false);
}

static void test_every_fault_is_told_and_loses_nothing_durable_in_batches(void)
{
	sweep_all(SPOOL_SYNC_BATCH, SPOOL_ON_ERROR_FAIL, SPOOL_PREALLOC_WRITTEN, false);
}

static void test_every_fault_is_told_and_loses_nothing_durable_after_a_crash(void)
{
	sweep_all(SPOOL_SYNC_NONE, SPOOL_ON_ERROR_FAIL, SPOOL_PREALLOC_NONE, true);
}

static void test_every_fault_is_told_and_loses_nothing_durable_where_it_only_warns(void)
{
	sweep_all(SPOOL_SYNC_RECORD, SPOOL_ON_ERROR_WARN, SPOOL_PREALLOC_NONE, false);
	sweep_all(SPOOL_SYNC_NONE, SPOOL_ON_ERROR_WARN, SPOOL_PREALLOC_WRITTEN, true);
}

SG_TESTS("faults", TEST(test_every_fault_is_told_and_loses_nothing_durable_in_record_mode),
	 TEST(test_every_fault_is_told_and_loses_nothing_durable_with_reserved_segments),
	 TEST(test_every_fault_is_told_and_loses_nothing_durable_in_batches),
	 TEST(test_every_fault_is_told_and_loses_nothing_durable_after_a_crash),
	 TEST(test_every_fault_is_told_and_loses_nothing_durable_where_it_only_warns))
