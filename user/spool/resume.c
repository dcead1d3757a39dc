// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * What an earlier writer left, and where to go on.
 *
 * Only the last segment is walked. Its torn tail is cut (and kept in quarantine/). If it is damaged inside, or its
 * header is lost, it is left as it is, and a new segment follows. Numbers that were known to be durable, or were
 * acknowledged by a consumer, are not given again, even if their records are gone: so the loss shows as a gap.
 *
 * A sync of an earlier writer may have failed; the pages in question are then clean, and a new sync would say 0 without
 * writing them. So what was not known to be durable is written again, byte for byte, before the first sync.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/bytes.h"
#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spool/look.h"
#include "spool/writer.h"

#define PIECE_BYTES 65536
#define CURSOR	    "cursor-"

static void name_of(char name[SG_NAME_BYTES], uint64_t number)
{
	sg_dir_name(name, number, SG_SEGMENT);
}

static int open_segment(const struct spool *s, uint64_t number, int flags)
{
	char name[SG_NAME_BYTES];
	int fd;

	name_of(name, number);
	fd = openat(s->dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* ---- identity ---- */

static int new_id(struct spool *s)
{
	ssize_t n;

	/* So few bytes come at once, or not at all. */
	n = getrandom(s->id, sizeof(s->id), 0);
	if (n != sizeof(s->id))
		return n < 0 ? -errno : -EIO;
	s->id[0] |= sg_all_zero(s->id, sizeof(s->id));
	s->seed = sg_frame_seed(s->id);
	return 0;
}

/* A header that somebody wrote whole, but not as version 1 has it. */
static bool unknown_version(const uint8_t *p, size_t len)
{
	return len >= SG_HEADER_COPY && memcmp(p, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES) == 0 &&
	       sg_get32(p + 60) == sg_crc32c(0, p, 60);
}

/* Does one header fit the others? -EBADMSG if not. */
static int identify(struct spool *s, uint64_t number, bool *known)
{
	struct sg_segment_header h;
	uint8_t p[SG_HEADER_BYTES];
	const char *why;
	size_t got;
	int fd, err;

	fd = open_segment(s, number, O_RDONLY);
	if (fd < 0) /* a consumer may have deleted it since it was listed; never the last one */
		return fd == -ENOENT ? 0 : fd;
	err = sg_pread_all(fd, p, sizeof(p), 0, &got);
	close(fd);
	if (err)
		return err;
	if (sg_segment_header_read(p, got, &h, &why) == 3)
		return unknown_version(p, got) ? -EBADMSG : 0;
	if (*known)
		return memcmp(s->id, h.id, sizeof(h.id)) != 0 ? -EBADMSG : 0;
	memcpy(s->id, h.id, sizeof(h.id));
	s->seed = sg_frame_seed(s->id);
	*known = true;
	return 0;
}

static int identify_all(struct spool *s, const struct sg_numbers *numbers, bool *known)
{
	size_t i;
	int err = 0;

	*known = false;
	for (i = 0; i < numbers->n && !err; i++)
		err = identify(s, numbers->v[i], known);
	return err;
}

/* ---- what was said to be durable, or acknowledged ---- */

static uint64_t noted_durable(const struct spool *s)
{
	uint64_t durable, appended;
	uint8_t p[SG_DURABLE_BYTES];
	size_t got;

	if (sg_pread_all(s->durable_fd, p, sizeof(p), 0, &got) != 0 ||
	    !sg_durable_read(p, got, s->seed, &durable, &appended))
		return 0;
	return durable;
}

static int cursor_acked(const struct spool *s, const char *name, uint64_t *acked)
{
	uint8_t p[SG_CURSOR_BYTES];
	struct sg_cursor c;
	size_t got;
	int fd, err = 0, slot;

	fd = openat(s->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	for (slot = 0; slot < 2 && !err; slot++) {
		err = sg_pread_all(fd, p, sizeof(p), slot * (uint64_t)SG_CURSOR_STRIDE, &got);
		if (!err && sg_cursor_read(p, got, &c) && memcmp(c.id, s->id, sizeof(c.id)) == 0 &&
		    c.acked > *acked)
			*acked = c.acked;
	}
	close(fd);
	return err;
}

/* The highest number that any consumer has acknowledged. */
static int highest_acked(const struct spool *s, uint64_t *acked)
{
	int err = 0, fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d;

	*acked = 0;
	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		err = -errno;
		close(fd);
		return err;
	}
	while (!err && (errno = 0, e = readdir(d)) != NULL)
		if (strncmp(e->d_name, CURSOR, strlen(CURSOR)) == 0 &&
		    sg_cursor_name_ok(e->d_name + strlen(CURSOR)))
			err = cursor_acked(s, e->d_name, acked);
	if (!err)
		err = -errno;
	closedir(d);
	return err;
}

/* ---- making it durable ---- */

static int rewrite(int fd, uint64_t at, uint64_t to)
{
	uint8_t buf[PIECE_BYTES];
	size_t want, got;
	int err;

	for (; at < to; at += got) {
		want = to - at < sizeof(buf) ? (size_t)(to - at) : sizeof(buf);
		err = sg_pread_all(fd, buf, want, at, &got);
		if (!err && got < want)
			err = -EIO; /* it was there a moment ago, and the lock is ours */
		if (!err)
			err = sg_pwrite_all(fd, buf, got, at);
		if (err)
			return err;
	}
	return 0;
}

static int make_durable(const struct spool *s, int fd, const struct sg_look *l)
{
	int err = l->unsure_from ? rewrite(fd, l->unsure_from, l->end) : 0;

	if (!err && fdatasync(fd) != 0)
		err = -errno;
	return err ? err : sg_dir_sync(s->dirfd);
}

/* ---- going on ---- */

/* No byte of it is known to be ours, or it has nothing: kept, and out of the way. */
static int set_aside(const struct spool *s, uint64_t number)
{
	char name[SG_NAME_BYTES], kept[SG_KEPT_BYTES];
	int err;

	name_of(name, number);
	err = sg_dir_keep_file(s->dirfd, name, s->c.mode, kept);
	if (!err && unlinkat(s->dirfd, name, 0) != 0)
		err = -errno;
	return err;
}

static int cut_torn(struct spool *s, int fd, const struct sg_look *l)
{
	char name[SG_NAME_BYTES], kept[SG_KEPT_BYTES];
	int err = 0;

	name_of(name, l->number);
	if (l->torn_bytes)
		err = sg_dir_keep_range(s->dirfd, name, l->end, l->torn_bytes, s->c.mode, kept);
	/* Zeros written in advance go too; they come again when they are wanted. */
	if (!err && ftruncate(fd, (off_t)l->end) != 0)
		err = -errno;
	s->cut_bytes = l->torn_bytes;
	return err;
}

static bool goes_on(const struct sg_look *l, uint64_t next)
{
	return !l->headless && !l->damaged && next == l->last_seq + 1;
}

static int adopt(struct spool *s, int fd, struct sg_look *l)
{
	struct sg_tail *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->refs = 1;
	t->fd = fd;
	t->number = l->number;
	t->end = t->size = l->end;
	t->zeros = l->flags & SG_HEADER_ZEROS;
	err = sg_tail_reserve(s, t);
	if (err) {
		free(t);
		return err;
	}
	t->index = l->index;
	l->index = (struct sg_index){ 0 };
	s->tail = t;
	return 0;
}

static int go_on(struct spool *s, struct sg_look *l, uint64_t next)
{
	int fd = open_segment(s, l->number, O_RDWR), err = 0;

	if (fd < 0)
		return fd;
	if (!l->headless && !l->damaged)
		err = cut_torn(s, fd, l);
	if (!err)
		err = make_durable(s, fd, l);
	if (!err && goes_on(l, next))
		err = adopt(s, fd, l);
	if (!s->tail)
		close(fd);
	return err;
}

static int after(struct spool *s, uint64_t number)
{
	struct sg_look l = { 0 };
	uint64_t durable = noted_durable(s), next, acked;
	int err;

	err = highest_acked(s, &acked);
	if (!err)
		err = sg_look_at(s->dirfd, number, s->id, durable, &l);
	if (!err) {
		next = l.last_seq > durable ? l.last_seq : durable;
		next = (next > acked ? next : acked) + 1;
		if (l.headless && !l.frames)
			err = set_aside(s, number);
		else
			err = go_on(s, &l, next);
		atomic_store(&s->appended, next - 1);
	}
	sg_index_free(&l.index);
	return err;
}

/* Neither a header nor anything else: a crash right after it was made. */
static int blank(const struct spool *s, uint64_t number, bool *is)
{
	uint8_t buf[PIECE_BYTES];
	uint64_t at = 0;
	size_t got;
	int fd = open_segment(s, number, O_RDONLY), err;

	if (fd < 0)
		return fd;
	do {
		err = sg_pread_all(fd, buf, sizeof(buf), at, &got);
		*is = !err && (sg_all_zero(buf, got) || at + got < SG_HEADER_BYTES);
		at += got;
	} while (*is && got == sizeof(buf));
	close(fd);
	return err;
}

/* No segment says whose it is. That is all right only if they are all blank. */
static int begin_anew(struct spool *s, const struct sg_numbers *numbers)
{
	int err = 0;
	bool is;
	size_t i;

	for (i = 0; i < numbers->n && !err; i++) {
		err = blank(s, numbers->v[i], &is);
		if (!err && !is)
			err = -EBADMSG;
	}
	for (i = 0; i < numbers->n && !err; i++)
		err = set_aside(s, numbers->v[i]);
	if (!err)
		err = new_id(s);
	if (numbers->n && numbers->v[numbers->n - 1])
		atomic_store(&s->appended, numbers->v[numbers->n - 1] - 1);
	return err;
}

int sg_resume(struct spool *s)
{
	struct sg_numbers numbers;
	bool known = false;
	int err;

	err = sg_dir_list(s->dirfd, SG_SEGMENT, &numbers);
	if (!err)
		err = identify_all(s, &numbers, &known);
	if (!err)
		err = known ? after(s, numbers.v[numbers.n - 1]) : begin_anew(s, &numbers);
	sg_numbers_free(&numbers);
	if (err)
		return err;
	atomic_store(&s->durable, atomic_load(&s->appended));
	if (s->tail)
		return 0;
	if (atomic_load(&s->appended) == UINT64_MAX)
		return -EOVERFLOW;
	err = sg_tail_create(s, atomic_load(&s->appended) + 1, &s->tail);
	if (!err && fdatasync(s->tail->fd) != 0)
		err = -errno;
	return err;
}
