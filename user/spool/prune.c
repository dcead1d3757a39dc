// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/prune.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/cursor.h"
#include "spool/dir.h"
#include "spool/segment.h"

static bool is(const struct sg_prune_file *a, const struct sg_prune_file *b)
{
	return a->number == b->number && a->dev == b->dev && a->ino == b->ino;
}

void sg_prune_walked(struct sg_prune *p, uint64_t number, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	p->walked[p->turn++ % SG_PRUNE_WALKED] =
		(struct sg_prune_file){ number, st.st_dev, st.st_ino };
}

void sg_prune_moved(struct sg_prune *p)
{
	p->from = 0;
}

/* Read it all: 1 if every byte belongs to a valid frame below `next`, 0 if not, or -errno. */
static int verify(int dirfd, uint64_t number, uint64_t next, const uint8_t *id)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	struct sg_event e;
	int err;

	err = sg_segment_open(&s, dirfd, number, 0, id);
	if (err == -EXDEV || err == -EBADMSG)
		return 0;
	if (err)
		return err;
	sg_segment_checks_only(s);
	do
		err = sg_segment_next(s, &e);
	while (!err && e.kind == SG_EVENT_FRAME);
	if (!err)
		err = e.kind == SG_EVENT_END && sg_segment_last_seq(s) < next &&
		      sg_segment_header(s, &h, NULL) != 3;
	sg_segment_close(s);
	return err;
}

/* May the bytes of this segment go? 1, 0 or -errno; -ENOENT: they are gone. */
static int verified(struct sg_prune *p, int dirfd, uint64_t number, uint64_t next,
		    const uint8_t *id)
{
	struct sg_prune_file file = { .number = number };
	char name[SG_NAME_BYTES];
	struct stat st;
	int i, ok;

	sg_dir_name(name, number, SG_SEGMENT);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	file.dev = st.st_dev;
	file.ino = st.st_ino;
	for (i = 0; i < SG_PRUNE_WALKED; i++)
		if (is(&p->walked[i], &file))
			return 1;
	if (is(&p->damaged, &file))
		return 0;
	ok = verify(dirfd, number, next, id);
	if (ok == 0)
		p->damaged = file;
	return ok;
}

/*
 * Is the spool's identity safe in the segment behind, which may be the last, and only just made? Without it nobody
 * could say any more whose the cursors are, nor what a valid frame is. 1, 0 or -errno.
 */
static int identity_stays(int dirfd, uint64_t behind, const uint8_t *id)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	int err = sg_segment_open(&s, dirfd, behind, 0, id);

	if (err)
		return err == -EXDEV || err == -EBADMSG || err == -ENOENT ? 0 : err;
	if (sg_segment_header(s, &h, NULL) != 3)
		err = fdatasync(sg_segment_fd(s)) != 0 ? -errno : 1;
	sg_segment_close(s);
	return err;
}

static int unlink_if_there(int dirfd, uint64_t number, const char *suffix)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, suffix);
	return unlinkat(dirfd, name, 0) != 0 && errno != ENOENT ? -errno : 0;
}

/* Synced one by one: no crash may leave a later one deleted and this one there, which would be a gap. The index first:
 * alone, it would stay for ever. */
static int delete (int dirfd, uint64_t number)
{
	int err = unlink_if_there(dirfd, number, SG_INDEX);

	if (!err)
		err = unlink_if_there(dirfd, number, SG_SEGMENT);
	return err ? err : sg_dir_sync(dirfd);
}

/* The oldest segments, as long as all of their records are acknowledged by everybody. */
static int delete_up_to(struct sg_prune *p, int dirfd, const uint8_t *id,
			const struct sg_numbers *all, uint64_t acked)
{
	size_t i;
	int ok, err = 0;

	p->from = UINT64_MAX; /* until sg_prune_moved() */
	for (i = 0; !err && i + 1 < all->n; i++) {
		p->from = all->v[i + 1] - 1;
		if (p->from > acked)
			break;
		ok = verified(p, dirfd, all->v[i], all->v[i + 1], id);
		if (ok > 0)
			ok = identity_stays(dirfd, all->v[i + 1], id);
		if (ok == 0)
			break;
		err = ok < 0 && ok != -ENOENT ? ok : delete (dirfd, all->v[i]);
		p->from = UINT64_MAX;
	}
	return err;
}

int sg_prune(struct sg_prune *p, int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t acked)
{
	struct sg_numbers all;
	uint64_t least;
	int err;

	if (acked < p->from)
		return 0;
	err = sg_cursor_least(dirfd, id, &least);
	if (err == -ENOMEM)
		return err;
	/* Our own at least must be there: nobody tells, then nobody deletes. */
	if (err || least == UINT64_MAX || least < p->from)
		return 0;
	err = sg_dir_list(dirfd, SG_SEGMENT, &all);
	if (!err)
		err = delete_up_to(p, dirfd, id, &all, least);
	sg_numbers_free(&all);
	return err;
}
