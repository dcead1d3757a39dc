// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * kill -9 at random points, of a writer and of two consumers that follow it and delete what both have acknowledged.
 *
 * A writer's process tells through a pipe of each append that returned; a consumer's of each record before it
 * acknowledges it, and of each acknowledgement that returned. This process holds both against each other:
 *
 *   whatever append returned for is delivered to each consumer, at least once, with the bytes that went in
 *   no record is delivered that no writer appended, and none under two numbers
 *   a consumer gets the numbers in order, without a gap, and never again what it was told is acknowledged
 *
 * KILLS=1000 for a long run; SEED=… to have the same lives again (not the same points: those are times).
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "guard/clock.h"
#include "make.h"
#include "spoolguard/spool.h"
#include "tap.h"

#define KILLS_DEFAULT 60
#define CONSUMERS     2
#define THREADS	      3
#define LIFE_NS	      60000000u /* longest */
#define PAYLOAD_MAX   20000u
#define END_NS	      60000000000ull

/* ---- what is said ---- */

enum said {
	APPENDED, /* seq: what spool_append() gave */
	GIVEN,	  /* seq: a record that a consumer got */
	ACKED,	  /* seq: an acknowledgement returned */
	FAILED,	  /* error */
};

/* Less than PIPE_BUF: written whole, or not at all. */
struct message {
	uint32_t said, who; /* who: the thread of a writer, or the consumer */
	uint32_t life;	    /* of the process that says it */
	int32_t error;
	uint64_t seq;
	uint32_t by_life, by_thread; /* who appended the record, */
	uint64_t count;		     /* as its how manieth */
};

static int says; /* the pipe's end of a child */

static void say(const struct message *m)
{
	if (write(says, m, sizeof(*m)) != sizeof(*m))
		_exit(1);
}

static void say_failed(struct message m, int error)
{
	m.said = FAILED;
	m.error = error;
	say(&m);
	_exit(1);
}

/* ---- records ---- */

struct tag {
	uint32_t life, thread;
	uint64_t count;
};

static size_t length_of(const struct tag *t)
{
	uint64_t x = (t->life * 7919u + t->thread * 104729u + t->count) * 2654435761u;

	return sizeof(*t) + (x % 50 == 0 ? x / 50 % PAYLOAD_MAX : x % 300);
}

static uint8_t byte_of(const struct tag *t, size_t i)
{
	return (uint8_t)(t->life * 3 + t->thread * 5 + t->count * 7 + i * 11);
}

static size_t make_payload(uint8_t *p, const struct tag *t)
{
	size_t len = length_of(t), i;

	memcpy(p, t, sizeof(*t));
	for (i = sizeof(*t); i < len; i++)
		p[i] = byte_of(t, i);
	return len;
}

/* Are these the bytes that went in? */
static bool read_payload(const struct spool_record *record, struct tag *t)
{
	const uint8_t *p = record->data;
	size_t i;

	if (record->len < sizeof(*t))
		return false;
	memcpy(t, p, sizeof(*t));
	if (record->len != length_of(t))
		return false;
	for (i = sizeof(*t); i < record->len; i++)
		if (p[i] != byte_of(t, i))
			return false;
	return true;
}

/* ---- the writer's process ---- */

struct appender {
	struct spool *s;
	uint32_t life, thread;
	bool syncs;
};

static void *append_for_ever(void *arg)
{
	const struct appender *a = arg;
	struct tag t = { a->life, a->thread, 0 };
	struct message m = { .said = APPENDED, .who = a->thread, .life = a->life };
	uint8_t *p = malloc(sizeof(t) + PAYLOAD_MAX);
	int err;

	must(p != NULL, "malloc");
	for (;; t.count++) {
		err = spool_append(a->s, p, make_payload(p, &t), &m.seq);
		if (!err && a->syncs && t.count % 16 == 15)
			err = spool_sync(a->s);
		if (err)
			say_failed(m, err);
		m.by_life = t.life;
		m.by_thread = t.thread;
		m.count = t.count;
		say(&m);
	}
	return NULL;
}

static struct spool_config config_of(unsigned int life)
{
	static const enum spool_sync_mode modes[] = { SPOOL_SYNC_RECORD, SPOOL_SYNC_BATCH,
						      SPOOL_SYNC_NONE, SPOOL_SYNC_ADAPTIVE };
	struct spool_config c = SPOOL_CONFIG_INIT;

	c.sync = modes[life % 4];
	c.prealloc = (enum spool_prealloc)(life / 4 % 3);
	c.segment_bytes = 4096u << (life / 12 % 6);
	c.batch_records = 8;
	c.batch_delay_ns = 5000000;
	return c;
}

static void write_for_ever(const char *path, unsigned int life)
{
	struct spool_config c = config_of(life);
	struct appender a[THREADS];
	pthread_t thread;
	struct spool *s;
	unsigned int i, n = life % 3 == 0 ? THREADS : 1;
	int err = spool_open(&s, path, &c);

	if (err)
		say_failed((struct message){ .who = 99, .life = life }, err);
	for (i = 0; i < n; i++)
		a[i] = (struct appender){ s, life, i, c.sync == SPOOL_SYNC_NONE };
	for (i = 1; i < n; i++)
		must(pthread_create(&thread, NULL, append_for_ever, &a[i]) == 0, "pthread_create");
	append_for_ever(&a[0]);
}

/* ---- a consumer's process ---- */

static const char *const names[CONSUMERS] = { "zero", "one" };

static void read_for_ever(const char *path, unsigned int who, unsigned int life)
{
	struct message m = { .who = who, .life = life };
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct spool_record record = { 0 };
	struct spool_reader *r;
	struct tag t;
	int err;

	c.consumer = names[who];
	c.flags = SPOOL_READ_DELETE;
	err = spool_reader_open(&r, path, &c);
	while (!err) {
		m.by_thread = 1;
		err = spool_reader_next(r, &record, SPOOL_NO_DEADLINE);
		m.by_thread = 2;
		if (!err && !read_payload(&record, &t))
			err = -EBADMSG;
		m.seq = record.seq;
		if (!err && record.lost) {
			err = -ENODATA;
			m.by_life = (uint32_t)record.segment;
			m.by_thread = (uint32_t)record.offset;
			m.count = record.lost;
		}
		if (err)
			break;
		m.said = GIVEN;
		m.by_life = t.life;
		m.by_thread = t.thread;
		m.count = t.count;
		say(&m);
		if (record.seq % 5)
			continue;
		err = spool_reader_ack(r, record.seq);
		m.said = ACKED;
		if (!err)
			say(&m);
	}
	say_failed(m, err);
}

/* ---- the judge ---- */

struct known {
	bool appended, given[CONSUMERS], tagged;
	struct tag tag;
};

struct judge {
	struct dir d;
	char path[80];
	int from, to; /* the pipe */
	uint32_t seed;
	struct known *v; /* by number */
	uint64_t room, highest;
	uint64_t appended, faults;
	struct {
		uint32_t life;
		uint64_t last, acked; /* given last in this life; acknowledged ever */
		uint64_t highest;
	} consumers[CONSUMERS];
	pid_t writer, readers[CONSUMERS];
	uint32_t lives, reader_lives;
};

static void fault(struct judge *j, const char *what, const struct message *m)
{
	if (j->faults++ < 10)
		printf("    # %s: who %u life %u record %llu (life %u thread %u count %llu) error "
		       "%d\n",
		       what, m->who, m->life, (unsigned long long)m->seq, m->by_life, m->by_thread,
		       (unsigned long long)m->count, m->error);
}

static struct known *known(struct judge *j, uint64_t seq)
{
	uint64_t room = j->room;

	if (seq >= room) {
		room = 2 * seq + 1024;
		j->v = realloc(j->v, room * sizeof(*j->v));
		must(j->v != NULL, "realloc");
		memset(j->v + j->room, 0, (room - j->room) * sizeof(*j->v));
		j->room = room;
	}
	if (seq > j->highest)
		j->highest = seq;
	return &j->v[seq];
}

/* A number stands for one record, whoever speaks of it, and whenever. */
static struct known *same(struct judge *j, const struct message *m)
{
	struct known *k = known(j, m->seq);
	struct tag t = { m->by_life, m->by_thread, m->count };

	if (k->tagged && memcmp(&k->tag, &t, sizeof(t)) != 0)
		fault(j, "another record of the same number", m);
	k->tagged = true;
	k->tag = t;
	return k;
}

static void given(struct judge *j, const struct message *m)
{
	struct known *k = same(j, m);

	if (m->life !=
	    j->consumers[m->who].life) { /* a new life: it begins behind what is acknowledged */
		j->consumers[m->who].life = m->life;
		if (m->seq <= j->consumers[m->who].acked)
			fault(j, "acknowledged, and given again", m);
		if (m->seq > j->consumers[m->who].highest + 1)
			fault(j, "passed over", m);
	} else if (m->seq != j->consumers[m->who].last + 1) {
		fault(j, "out of order", m);
	}
	j->consumers[m->who].last = m->seq;
	if (m->seq > j->consumers[m->who].highest)
		j->consumers[m->who].highest = m->seq;
	k->given[m->who] = true;
}

static void hear(struct judge *j, const struct message *m)
{
	switch ((enum said)m->said) {
	case APPENDED:
		if (same(j, m)->appended)
			fault(j, "a number given twice", m);
		known(j, m->seq)->appended = true;
		j->appended++;
		break;
	case GIVEN:
		given(j, m);
		break;
	case ACKED:
		j->consumers[m->who].acked = m->seq;
		break;
	case FAILED:
		fault(j, "failed", m);
		break;
	}
}

/* What the pipe has, until deadline_ns. */
static void listen_until(struct judge *j, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = j->from, .events = POLLIN };
	struct message m[64];
	uint64_t now_ns;
	ssize_t n;
	size_t i;

	for (;;) {
		n = read(j->from, m, sizeof(m));
		for (i = 0; n > 0 && i < (size_t)n / sizeof(m[0]); i++)
			hear(j, &m[i]);
		now_ns = sg_now_ns();
		if (now_ns >= deadline_ns && n <= 0)
			return;
		/* A life that has ended says no more, so this ends also where it is talkative. */
		if (n <= 0)
			poll(&p, 1, (int)((deadline_ns - now_ns) / 1000000) + 1);
		else if (now_ns >= deadline_ns && j->writer > 0)
			return;
	}
}

static uint32_t dice(struct judge *j)
{
	j->seed = j->seed * 1664525u + 1013904223u;
	return j->seed >> 8;
}

static pid_t start(struct judge *j)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		close(j->from);
		says = j->to;
	}
	return pid;
}

static void start_writer(struct judge *j)
{
	uint32_t life = ++j->lives;

	j->writer = start(j);
	if (j->writer == 0)
		write_for_ever(j->path, life);
}

static void start_reader(struct judge *j, unsigned int who)
{
	uint32_t life = ++j->reader_lives;

	j->readers[who] = start(j);
	if (j->readers[who] == 0)
		read_for_ever(j->path, who, life);
}

/* A child that ended by itself said why. */
static void end(struct judge *j, pid_t *pid)
{
	int status;

	kill(*pid, SIGKILL);
	must(waitpid(*pid, &status, 0) == *pid, "waitpid");
	if (!WIFSIGNALED(status))
		fault(j, "a child ended by itself", &(struct message){ .error = status });
	*pid = 0;
}

/* ---- what is left ---- */

static void found(void *arg, const struct spool_finding *f)
{
	struct judge *j = arg;

	if (f->kind == SPOOL_FOUND_TORN || f->kind == SPOOL_FOUND_INDEX)
		return;
	/* Killed between the making of a segment and the writing of its header. */
	if (f->kind == SPOOL_FOUND_HEADER && strcmp(f->why, "shorter than its header") == 0)
		return;
	printf("    # %s: finding %d at %llu: %s\n", f->file, (int)f->kind,
	       (unsigned long long)f->offset, f->why ? f->why : "");
	j->faults++;
}

/* Nobody is there: a torn tail may be, nothing else. */
static void verify(struct judge *j, bool clean)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;
	int found_any;

	c.found = found;
	c.arg = j;
	found_any = spool_verify(j->path, &c, NULL);
	CU_ASSERT(clean ? found_any == 0 : found_any >= 0);
}

static bool all_given(const struct judge *j, uint64_t to)
{
	unsigned int i;

	for (i = 0; i < CONSUMERS; i++)
		if (j->consumers[i].highest < to)
			return false;
	return true;
}

/* Each writer's thread counted its records: they lie there in that order, and none twice or left out. */
static void check_counts(struct judge *j)
{
	size_t n = ((size_t)j->lives + 1) * THREADS, at;
	uint64_t *next = calloc(n, sizeof(*next)), seq;

	must(next != NULL, "calloc");
	for (seq = 1; seq <= j->highest; seq++) {
		const struct known *k = &j->v[seq];

		at = (size_t)k->tag.life * THREADS + k->tag.thread;
		if (!k->tagged || at >= n || k->tag.count != next[at]) {
			fault(j, "not what was appended", &(struct message){ .seq = seq });
			break;
		}
		next[at]++;
	}
	free(next);
}

static void check_all_given(struct judge *j)
{
	uint64_t seq;
	unsigned int i;

	for (seq = 1; seq <= j->highest; seq++)
		for (i = 0; i < CONSUMERS; i++)
			if (!j->v[seq].given[i])
				fault(j, "never given", &(struct message){ .seq = seq, .who = i });
}

/* The readers get what is there, and are then killed for the last time. */
static void finish(struct judge *j)
{
	uint64_t deadline_ns = sg_now_ns() + END_NS, last;
	struct spool_status st = { .size = sizeof(st) };
	struct spool *s;
	unsigned int i;

	CU_ASSERT_EQUAL_FATAL(spool_open(&s, j->path, NULL), 0);
	CU_ASSERT_EQUAL(spool_status(s, &st), 0);
	last = st.appended_seq;
	CU_ASSERT_EQUAL(spool_close(s), 0);
	while (!all_given(j, last) && !j->faults && sg_now_ns() < deadline_ns)
		listen_until(j, sg_now_ns() + 20000000);
	for (i = 0; i < CONSUMERS; i++)
		end(j, &j->readers[i]);
	listen_until(j, sg_now_ns());
	CU_ASSERT_EQUAL(j->highest, last);
	check_counts(j);
	check_all_given(j);
	verify(j, true);
}

/* Nothing is kept for a consumer of which the spool does not know yet. */
static void introduce(const char *path, const char *consumer)
{
	struct spool_reader_config c = SPOOL_READER_CONFIG_INIT;
	struct spool_reader *r;

	c.consumer = consumer;
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&r, path, &c), 0);
	CU_ASSERT_EQUAL(spool_reader_close(r), 0);
}

static struct judge begin(void)
{
	struct judge j = { .seed = getenv("SEED") ? (uint32_t)atoi(getenv("SEED"))
						  : (uint32_t)sg_wall_ns() };
	struct spool *s;
	int ends[2], i;

	printf("    # SEED=%u\n", j.seed);
	j.d = dir_begin();
	snprintf(j.path, sizeof(j.path), "%s/spool", j.d.path);
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, j.path, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(spool_close(s), 0);
	for (i = 0; i < CONSUMERS; i++)
		introduce(j.path, names[i]);
	must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
	j.from = ends[0];
	j.to = ends[1];
	must(fcntl(j.from, F_SETFL, O_NONBLOCK) == 0, "fcntl");
	return j;
}

static void test_no_kill_loses_repeats_or_invents_a_record(void)
{
	unsigned int kills = getenv("KILLS") ? (unsigned int)atoi(getenv("KILLS")) : KILLS_DEFAULT;
	struct judge j = begin();
	unsigned int n, i;

	for (i = 0; i < CONSUMERS; i++)
		start_reader(&j, i);
	for (n = 0; n < kills && !j.faults; n++) {
		start_writer(&j);
		/* Every third dies young: in spool_open(), or not long after. */
		listen_until(&j, sg_now_ns() + dice(&j) % (n % 3 ? LIFE_NS : LIFE_NS / 20));
		for (i = 0; i < CONSUMERS; i++) {
			if (dice(&j) % 3)
				continue;
			end(&j, &j.readers[i]);
			start_reader(&j, i);
		}
		end(&j, &j.writer);
		if (n % 8 == 0)
			verify(&j, false);
	}
	finish(&j);
	CU_ASSERT_EQUAL(j.faults, 0);
	CU_ASSERT(j.appended > kills);
	printf("    # %u writers and %u readers killed, %llu records\n", j.lives, j.reader_lives,
	       (unsigned long long)j.highest);
	close(j.from);
	close(j.to);
	free(j.v);
	dir_end(&j.d);
}

SG_TESTS("kill", TEST(test_no_kill_loses_repeats_or_invents_a_record))
