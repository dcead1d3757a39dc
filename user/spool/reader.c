// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * A reader walks segment after segment and stops at the first record of which it cannot say that it is durable. What
 * says so:
 *
 *   a later segment    a segment is synced before its successor is made
 *   `durable`          while a writer lives (it holds the lock): all up to its number was synced before it was written
 *   our own sync       where no writer lives: of what was walked before the sync began, and of the directory; and, of
 *                      what no writer knew to be durable, a look past the cache (ondisk.h): his sync may have failed
 *
 * A writer may begin or die between any two looks. The order of looking makes that harmless: first the lock, then
 * `durable`; first the walk, then the sync. What is concluded stays true whatever happens next.
 *
 * A segment has ended when it has a successor and then, looked at once more, has no further record: what was appended
 * before the successor was made must not be missed. A recovery puts a new file in a segment's place: so at the end of
 * one its name is looked at, too.
 *
 * One thing nobody wakes us for: a killed writer's lock is given back a moment after its file `lock` is closed, which
 * is what wakes. So after that event a lock that is still held is looked at again, after a millisecond, two, four, …:
 * some twenty looks in all, and at most as late again as the kernel was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/clock.h"
#include "spool/cursor.h"
#include "spool/dir.h"
#include "spool/ondisk.h"
#include "spool/prune.h"
#include "spool/segment.h"
#include "spool/watch.h"

#define FLAGS		(SPOOL_READ_AT_RISK | SPOOL_READ_DELETE)
#define TORN_TRIES	8
#define RELOOK_FIRST_NS 1000000ull
#define RELOOK_LAST_NS	(RELOOK_FIRST_NS << 22) /* more than an hour */

struct spool_reader {
	int dirfd;
	uint8_t id[SPOOL_ID_BYTES];
	uint32_t flags;

	/* where we are */
	struct sg_segment *segment; /* NULL: none is open */
	uint64_t number;	    /* of it, or of the last one */
	uint64_t next_number;	    /* of its successor, once `ended` */
	uint64_t before;	    /* last valid record in the segments before it */
	bool ended;		    /* it has a successor */
	bool alone;		    /* it had none, and no file was made since */
	bool whole;		    /* walked from its first byte, without damage */
	bool held;		    /* `event` is a record that was not given yet */
	struct sg_event event;
	uint64_t expected; /* the record after the last one given */

	/* what is durable */
	uint64_t durable; /* up to here, that is certain */
	uint64_t hint;	  /* up to here, says the file `durable` */
	bool live;	  /* a writer held the lock when we looked */
	int error;	  /* of our own sync, latched */

	/* the consumer */
	bool consumer;
	struct sg_cursor_file cursor;
	uint64_t given, acked, unstored, ack_every;
	struct sg_prune prune;

	/* sleeping */
	bool watching, fd_given;
	struct sg_watch watch;
	uint64_t relook_ns; /* 0: no writer may be about to be gone */
};

/* ---- where we are ---- */

static int walk_from(struct spool_reader *r, uint64_t seq)
{
	r->held = false;
	r->whole = false;
	return sg_segment_seek(r->segment, seq);
}

static void close_segment(struct spool_reader *r)
{
	sg_segment_close(r->segment);
	r->segment = NULL;
	r->held = false;
}

/* Deleted since it was listed, or not of this spool: there may be another. */
static bool no_segment(int err)
{
	return err == -ENOENT || err == -EXDEV || err == -EBADMSG;
}

/*
 * The segment `number` comes before the record that is expected. If it is the oldest one, those between were consumed
 * and deleted, which is no loss; but to a consumer that has come somewhere it is, since it had not acknowledged them.
 */
static int begin_behind(struct spool_reader *r, uint64_t number)
{
	struct sg_numbers all;
	int err;

	if (r->consumer && r->given)
		return 0;
	err = sg_dir_list(r->dirfd, SG_SEGMENT, &all);
	if (!err && all.n && all.v[0] == number)
		r->expected = number;
	sg_numbers_free(&all);
	return err;
}

static int open_segment(struct spool_reader *r, uint64_t number)
{
	/* An earlier one than the last may be opened anew: what is above it does not come before it. */
	uint64_t before = r->before < number ? r->before : 0;
	int err = sg_segment_open(&r->segment, r->dirfd, number, before, r->id);

	if (err)
		return err;
	r->number = number;
	r->ended = r->alone = false;
	r->whole = true;
	if (number > r->expected)
		err = begin_behind(r, number);
	else if (number < r->expected)
		err = walk_from(r, r->expected);
	if (err)
		close_segment(r);
	return err;
}

/* The one with the record that is expected; if that cannot be had, one before or else one behind. */
static int open_around(struct spool_reader *r, const struct sg_numbers *all)
{
	size_t i, at = 0;
	int err = -ENOENT;

	while (at < all->n && all->v[at] <= r->expected)
		at++;
	for (i = at; i > 0 && no_segment(err); i--)
		err = open_segment(r, all->v[i - 1]);
	for (i = at; i < all->n && no_segment(err); i++)
		err = open_segment(r, all->v[i]);
	return no_segment(err) ? -EAGAIN : err;
}

static int open_some(struct spool_reader *r)
{
	struct sg_numbers all;
	int err = sg_dir_list(r->dirfd, SG_SEGMENT, &all);

	if (!err)
		err = open_around(r, &all);
	sg_numbers_free(&all);
	return err;
}

/* The first of this spool behind ours, in *next; 0: there is none. */
static int pick_successor(const struct spool_reader *r, const struct sg_numbers *all,
			  uint64_t *next)
{
	struct sg_segment *s;
	size_t i;
	int err;

	*next = 0;
	for (i = 0; i < all->n; i++) {
		if (all->v[i] <= r->number)
			continue;
		err = sg_segment_open(&s, r->dirfd, all->v[i], 0, r->id);
		if (no_segment(err))
			continue;
		if (!err)
			*next = all->v[i];
		sg_segment_close(s);
		return err;
	}
	return 0;
}

/* Has our segment a successor? Then it was synced, and gets no more records. */
static int look_for_successor(struct spool_reader *r)
{
	struct sg_numbers all;
	uint64_t next = 0;
	int err;

	if (r->ended || (r->watching && r->alone))
		return 0;
	err = sg_dir_list(r->dirfd, SG_SEGMENT, &all);
	if (!err)
		err = pick_successor(r, &all, &next);
	sg_numbers_free(&all);
	if (err)
		return err;
	r->next_number = next;
	r->ended = next != 0;
	r->alone = !r->ended;
	return 0;
}

/* Was another file put in its place? One that was only deleted is none. */
static bool replaced(const struct spool_reader *r)
{
	char name[SG_NAME_BYTES];
	struct stat a, b;

	sg_dir_name(name, r->number, SG_SEGMENT);
	return fstat(sg_segment_fd(r->segment), &a) == 0 &&
	       fstatat(r->dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (a.st_dev != b.st_dev || a.st_ino != b.st_ino);
}

/* From a segment that has ended to its successor. */
static int move_on(struct spool_reader *r, bool clean)
{
	uint64_t last = sg_segment_last_seq(r->segment);
	struct sg_segment_header h;
	int err;

	if (clean && r->whole && last < r->next_number &&
	    sg_segment_header(r->segment, &h, NULL) != 3)
		sg_prune_walked(&r->prune, r->number, sg_segment_fd(r->segment));
	sg_prune_moved(&r->prune);
	if (last > r->before)
		r->before = last;
	close_segment(r);
	err = open_segment(r, r->next_number);
	return no_segment(err) ? 0 : err; /* then whatever there is now */
}

/* No record is here. 0: look again; -EAGAIN: that is all for now. */
static int at_end(struct spool_reader *r, bool clean)
{
	int err;

	/* Not before a successor was seen: what was put in its place came before that. */
	if (replaced(r)) {
		close_segment(r);
		return 0;
	}
	if (r->ended)
		return move_on(r, clean);
	err = look_for_successor(r);
	if (err)
		return err;
	return r->ended ? 0 : -EAGAIN;
}

/* What the walk came upon. */
static int take_event(struct spool_reader *r)
{
	switch (r->event.kind) {
	case SG_EVENT_FRAME:
		r->held = r->event.frame.seq >= r->expected;
		return 0;
	case SG_EVENT_DAMAGE:
		r->whole = false;
		return 0;
	case SG_EVENT_TAIL:
	case SG_EVENT_END:
		return at_end(r, r->event.kind == SG_EVENT_END);
	}
	return -EINVAL;
}

/* Hold the next record that was not given yet. -EAGAIN: there is none. */
static int advance(struct spool_reader *r)
{
	int err = 0;

	while (!err && !r->held) {
		if (!r->segment) {
			err = open_some(r);
			continue;
		}
		err = sg_segment_next(r->segment, &r->event);
		if (err == -EXDEV) { /* it had no header before, and now one of another spool */
			close_segment(r);
			err = 0;
			continue;
		}
		if (!err)
			err = take_event(r);
	}
	return err;
}

/* ---- what is durable ---- */

static bool may_give(const struct spool_reader *r, uint64_t seq)
{
	return (r->flags & SPOOL_READ_AT_RISK) || r->ended || seq <= r->durable;
}

/* What the file says; 0 if it says nothing. While it is written it may be seen torn; if it stays so, the end of that
 * write wakes us. */
static uint64_t read_durable(const struct spool_reader *r)
{
	int fd = openat(r->dirfd, "durable", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), i;
	uint64_t durable = 0, appended;
	uint8_t raw[SG_DURABLE_BYTES];
	bool ok = false;
	size_t got;

	if (fd < 0)
		return 0;
	for (i = 0; i < TORN_TRIES && !ok; i++)
		ok = sg_pread_all(fd, raw, sizeof(raw), 0, &got) == 0 &&
		     sg_durable_read(raw, got, sg_frame_seed(r->id), &durable, &appended);
	close(fd);
	return ok ? durable : 0;
}

/* What is known without a sync. The lock first: a writer that is there then has written what `durable` says, and one
 * that goes away later wakes us. */
static int look_how_far(struct spool_reader *r)
{
	int err = look_for_successor(r);

	if (err || r->ended)
		return err;
	r->live = sg_dir_locked(r->dirfd);
	r->hint = read_durable(r);
	if (r->live && r->hint > r->durable)
		r->durable = r->hint;
	return 0;
}

static int sync_all(struct spool_reader *r)
{
	if (fdatasync(sg_segment_fd(r->segment)) != 0)
		r->error = -errno;
	else
		r->error = sg_dir_sync(r->dirfd);
	return r->error;
}

/* Records from `offset` on were not known to be durable by who wrote them. */
static int look_at_disk(struct spool_reader *r, uint64_t offset)
{
	int err = sg_on_disk(sg_segment_fd(r->segment), offset, sg_segment_offset(r->segment));

	if (err == -EOPNOTSUPP)
		return 0;
	if (err == -EIO)
		r->error = err;
	return err;
}

/*
 * No writer lives: make durable what is there. One sync serves all that was walked before it, so go to the end first;
 * not where `durable` knows of more than the record at hand, which is the rule after a writer that was closed. (The sync
 * is made nevertheless: the directory may be a copy that nobody synced.)
 */
static int make_durable(struct spool_reader *r)
{
	uint64_t last = r->hint, seq = r->event.frame.seq, offset = r->event.offset;
	bool walk = last < seq;
	int err = r->error;

	if (!err && walk) {
		err = sg_segment_seek(r->segment, UINT64_MAX);
		last = sg_segment_last_seq(r->segment);
	}
	if (!err)
		err = sync_all(r);
	if (!err && walk)
		err = look_at_disk(r, offset);
	if (!err)
		r->durable = last > seq ? last : seq;
	if (!err && walk)
		err = walk_from(r, r->expected);
	if (err)
		close_segment(r);
	return err;
}

/* ---- giving ---- */

static void give(struct spool_reader *r, struct spool_record *record)
{
	const struct sg_frame *f = &r->event.frame;

	*record = (struct spool_record){
		.seq = f->seq,
		.time_ns = f->time_ns,
		.data = f->payload,
		.len = f->len,
		.segment = r->number,
		.offset = r->event.offset,
		.lost = f->seq - r->expected,
	};
	r->held = false;
	r->given = f->seq;
	r->expected = f->seq == UINT64_MAX ? f->seq : f->seq + 1;
}

/* The record at hand may not be given as far as we knew. -EAGAIN: it may not. */
static int ask(struct spool_reader *r)
{
	int err = look_how_far(r);

	if (err || may_give(r, r->event.frame.seq))
		return err;
	return r->live ? -EAGAIN : make_durable(r);
}

/* Give a record, or -EAGAIN. Does not sleep. */
static int look(struct spool_reader *r, struct spool_record *record)
{
	int err = 0;

	for (;;) {
		/* Beside a writer nothing need be read before something is durable. */
		if (r->segment && !r->held && !may_give(r, r->expected)) {
			err = look_how_far(r);
			if (!err && r->live && !may_give(r, r->expected))
				err = -EAGAIN;
		}
		if (!err)
			err = advance(r);
		if (!err && !may_give(r, r->event.frame.seq))
			err = ask(r);
		if (err)
			return err;
		if (r->held && may_give(r, r->event.frame.seq))
			break;
	}
	give(r, record);
	return 0;
}

/* ---- sleeping ---- */

static int watch(struct spool_reader *r)
{
	int err;

	if (r->watching)
		return 0;
	err = sg_watch_open(&r->watch, r->dirfd, r->flags & SPOOL_READ_AT_RISK);
	r->watching = !err;
	r->alone = false;
	return err;
}

/* From here on whatever happens wakes us. */
static int begin_look(struct spool_reader *r)
{
	unsigned int what = 0;
	int err = sg_watch_drain(&r->watch, &what);

	if (what & SG_WATCH_MADE)
		r->alone = false;
	if (what & SG_WATCH_LOCK_CLOSED)
		r->relook_ns = RELOOK_FIRST_NS;
	return err;
}

/* Nothing was there. A writer whose lock was closed and is held still may only be on its way out. */
static int end_look(struct spool_reader *r)
{
	uint64_t ns = SG_WATCH_NEVER;

	if (!r->live || r->relook_ns > RELOOK_LAST_NS)
		r->relook_ns = 0;
	if (r->relook_ns) {
		ns = r->relook_ns;
		r->relook_ns *= 2;
	}
	return sg_watch_again(&r->watch, ns);
}

static int look_and_sleep(struct spool_reader *r, struct spool_record *record, uint64_t deadline_ns)
{
	int err;

	for (;;) {
		err = begin_look(r);
		if (!err)
			err = look(r, record);
		if (err != -EAGAIN)
			return err;
		err = end_look(r);
		if (!err)
			err = sg_watch_wait(&r->watch, deadline_ns);
		if (err)
			return err;
	}
}

int spool_reader_next(struct spool_reader *r, struct spool_record *record, uint64_t deadline_ns)
{
	int err = look(r, record);

	if (err == -EAGAIN && !r->watching) {
		if (deadline_ns == 0)
			return err;
		err = watch(r);
		if (err)
			return err;
		err = -EAGAIN;
	}
	if (err == -EAGAIN)
		err = look_and_sleep(r, record, deadline_ns);
	/* There may be more, of which inotify says nothing any more. */
	if (!err && r->fd_given)
		(void)sg_watch_again(&r->watch, SG_WATCH_NOW);
	return err;
}

int spool_reader_fd(struct spool_reader *r)
{
	int err = watch(r);

	if (!err && !r->fd_given)
		err = sg_watch_again(&r->watch, SG_WATCH_NOW);
	if (err)
		return err;
	r->fd_given = true;
	return r->watch.epoll;
}

/* ---- the consumer ---- */

static int store(struct spool_reader *r)
{
	int err = sg_cursor_store(&r->cursor, r->acked, sg_wall_ns());

	if (err)
		return err;
	r->unstored = 0;
	if (r->flags & SPOOL_READ_DELETE)
		err = sg_prune(&r->prune, r->dirfd, r->id, r->acked);
	return err;
}

int spool_reader_ack(struct spool_reader *r, uint64_t seq)
{
	if (!r->consumer)
		return -EINVAL;
	if (seq > r->given)
		return -ERANGE;
	if (seq <= r->cursor.state.acked)
		return 0;
	if (seq > r->acked) {
		r->acked = seq;
		r->unstored++;
	}
	/* After an error the round stays open: the next call tries again, or has the latched error. */
	return r->unstored < r->ack_every ? 0 : store(r);
}

/* ---- open and close ---- */

/* Of the caller's struct, which may be older or newer than ours; what is newer must be zero. */
static int read_config(struct spool_reader_config *c, const struct spool_reader_config *given)
{
	const uint8_t *p = (const uint8_t *)given;
	size_t i;

	*c = (struct spool_reader_config)SPOOL_READER_CONFIG_INIT;
	if (!given)
		return 0;
	if (given->size < offsetof(struct spool_reader_config, ack_every) + sizeof(c->ack_every))
		return -EINVAL;
	for (i = sizeof(*c); i < given->size; i++)
		if (p[i])
			return -EINVAL;
	*c = *given;
	if ((c->flags & ~(uint32_t)FLAGS) || (c->consumer && !sg_cursor_name_ok(c->consumer)) ||
	    ((c->flags & SPOOL_READ_DELETE) && !c->consumer))
		return -EINVAL;
	return 0;
}

/* Identity, and permissions for new files, as the segment has them. */
static int identify(struct spool_reader *r, uint64_t number, uint32_t *mode)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	struct stat st;
	int err;

	err = sg_segment_open(&s, r->dirfd, number, 0, NULL);
	if (err)
		return err;
	sg_segment_header(s, &h, NULL);
	memcpy(r->id, h.id, sizeof(r->id));
	err = fstat(sg_segment_fd(s), &st) != 0 ? -errno : 0;
	*mode = st.st_mode & 0666;
	sg_segment_close(s);
	return err;
}

/* From the newest segment that has a header. */
static int find_identity(struct spool_reader *r, uint32_t *mode)
{
	struct sg_numbers all;
	size_t i;
	int err, found = -EBADMSG;

	err = sg_dir_list(r->dirfd, SG_SEGMENT, &all);
	for (i = all.n; !err && i > 0 && no_segment(found); i--)
		found = identify(r, all.v[i - 1], mode);
	sg_numbers_free(&all);
	if (err)
		return err;
	return no_segment(found) ? -EBADMSG : found;
}

static int open_consumer(struct spool_reader *r, const char *name, uint32_t mode)
{
	int err = sg_cursor_open(&r->cursor, r->dirfd, name, r->id, mode);

	if (err)
		return err;
	r->consumer = true;
	r->acked = r->given = r->cursor.state.acked;
	r->expected = r->acked == UINT64_MAX ? r->acked : r->acked + 1;
	return 0;
}

static void release(struct spool_reader *r)
{
	close_segment(r);
	if (r->watching)
		sg_watch_close(&r->watch);
	if (r->consumer)
		sg_cursor_close(&r->cursor);
	if (r->dirfd >= 0)
		close(r->dirfd);
	free(r);
}

static int begin(struct spool_reader *r, const char *dir, const struct spool_reader_config *c)
{
	uint32_t mode = 0;
	int err;

	r->dirfd = sg_dir_open(dir);
	if (r->dirfd < 0)
		return r->dirfd;
	r->flags = c->flags;
	r->ack_every = c->ack_every;
	r->expected = 1;
	err = find_identity(r, &mode);
	if (!err && c->consumer)
		err = open_consumer(r, c->consumer, mode);
	if (c->from > r->expected)
		r->expected = c->from;
	return err;
}

int spool_reader_open(struct spool_reader **reader, const char *dir,
		      const struct spool_reader_config *config)
{
	struct spool_reader_config c;
	struct spool_reader *r;
	int err;

	*reader = NULL;
	err = read_config(&c, config);
	if (err)
		return err;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->dirfd = -1;
	err = begin(r, dir, &c);
	if (err)
		release(r);
	else
		*reader = r;
	return err;
}

int spool_reader_close(struct spool_reader *r)
{
	int err = 0;

	if (!r)
		return 0;
	if (r->consumer)
		err = r->unstored ? store(r) : r->cursor.error;
	release(r);
	return err;
}
