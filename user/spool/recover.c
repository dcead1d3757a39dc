// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * The walk of check.c finds; here is what is done about it, in an order that a crash may end anywhere:
 *
 *   a torn tail    its bytes are copied into quarantine/ and synced, then cut off, then the file is synced
 *   other damage   the file is linked into quarantine/; its valid frames go byte for byte behind a good header into
 *                  N.spool.tmp; that is synced, and renamed over the file; the directory is synced
 *   a wrong name   linked to the one that its header has, then unlinked; into quarantine/ if that name is taken
 *   no header and no frame, or of another spool:  linked into quarantine/, then unlinked
 *
 * So whatever a crash leaves is the spool before a step or behind it, and a stray N.spool.tmp, which the next recovery
 * removes: it holds only what the segment still has.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "spool/check.h"
#include "spool/foreign.h"

#define SEGMENT_TMP ".spool.tmp"
#define COPY_BYTES  262144u
#define SPARE_BYTES 65536u /* for directories and an index, beside the new segment */
#define FILE_MODE   0666

/* ---- small steps ---- */

static uint32_t mode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_mode & FILE_MODE : 0600;
}

static int remove_name(int dirfd, uint64_t number, const char *suffix)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, suffix);
	return unlinkat(dirfd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

static bool same_file(int dirfd, const char *name, const char *other)
{
	struct stat a, b;

	return fstatat(dirfd, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(dirfd, other, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int enough_space(int dirfd, uint64_t bytes)
{
	struct statvfs st;

	if (fstatvfs(dirfd, &st) != 0)
		return -errno;
	return st.f_bavail >= (bytes + SPARE_BYTES) / st.f_frsize + 1 ? 0 : -ENOSPC;
}

static int keep_whole(struct sg_check *c, struct sg_checked *s)
{
	char name[SG_NAME_BYTES];
	int err;

	sg_dir_name(name, s->number, SG_SEGMENT);
	err = sg_dir_keep_file(c->dirfd, name, mode_of(c->dirfd), s->kept);
	if (err)
		*s->kept = '\0';
	else
		c->summary.quarantined_bytes += s->size_bytes;
	return err;
}

/* The segment and its index are gone from the spool; what is worth something lies in quarantine/. */
static int drop(struct sg_check *c, struct sg_checked *s)
{
	int err = remove_name(c->dirfd, s->number, SG_INDEX);

	if (!err)
		err = remove_name(c->dirfd, s->number, SG_SEGMENT);
	return err ? err : sg_dir_sync(c->dirfd);
}

/* ---- writing a segment anew ---- */

struct rewrite {
	const struct sg_checked *s;
	int from, to;
	uint64_t end;		      /* of what is written */
	uint64_t run_from, run_bytes; /* valid frames side by side, to be copied at once */
	struct sg_index index;
	uint8_t *buf;
};

static int copy_run(struct rewrite *r)
{
	size_t want, got;
	int err = 0;

	for (; !err && r->run_bytes; r->run_bytes -= want) {
		want = r->run_bytes < COPY_BYTES ? (size_t)r->run_bytes : COPY_BYTES;
		err = sg_pread_all(r->from, r->buf, want, r->run_from, &got);
		if (!err && got < want)
			err = -EIO; /* it was there a moment ago, and nobody else may write */
		if (!err)
			err = sg_pwrite_all(r->to, r->buf, want, r->end);
		r->run_from += want;
		r->end += want;
	}
	return err;
}

static int copy_frame(struct rewrite *r, const struct sg_event *e)
{
	int err = 0;

	if (r->run_bytes && (e->offset != r->run_from + r->run_bytes || r->run_bytes >= COPY_BYTES))
		err = copy_run(r);
	if (!r->run_bytes)
		r->run_from = e->offset;
	if (!err)
		sg_index_add(&r->index, e->frame.seq, r->end + r->run_bytes);
	r->run_bytes += e->bytes;
	return err;
}

static int copy_frames(struct rewrite *r)
{
	struct sg_event e;
	int err = sg_segment_seek(r->s->walk, 0);

	while (!err) {
		err = sg_segment_next(r->s->walk, &e);
		if (err || e.kind == SG_EVENT_TAIL || e.kind == SG_EVENT_END)
			break;
		if (e.kind == SG_EVENT_FRAME)
			err = copy_frame(r, &e);
	}
	return err ? err : copy_run(r);
}

static int write_header(struct rewrite *r)
{
	struct sg_segment_header h = r->s->header;
	uint8_t raw[SG_HEADER_BYTES];

	if (r->s->bad_copies == 3)
		h.created_ns = r->s->first_time_ns;
	sg_segment_header_write(raw, &h);
	r->end = sizeof(raw);
	return sg_pwrite_all(r->to, raw, sizeof(raw), 0);
}

static void same_owner(int from, int to)
{
	struct stat st;

	/* As far as we may; without it the file is still right. */
	if (fstat(from, &st) == 0 && fchown(to, st.st_uid, st.st_gid) == 0)
		fchmod(to, st.st_mode & 07777);
}

static int write_new(struct sg_check *c, struct rewrite *r)
{
	char tmp[SG_NAME_BYTES];
	int err;

	sg_dir_name(tmp, r->s->number, SEGMENT_TMP);
	r->to = openat(c->dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		       (mode_t)mode_of(r->from));
	if (r->to < 0)
		return -errno;
	same_owner(r->from, r->to);
	err = write_header(r);
	if (!err)
		err = copy_frames(r);
	if (!err && fsync(r->to) != 0)
		err = -errno;
	if (close(r->to) != 0 && !err)
		err = -errno;
	return err;
}

static int rename_new(struct sg_check *c, const struct sg_checked *s)
{
	char tmp[SG_NAME_BYTES], name[SG_NAME_BYTES];

	sg_dir_name(tmp, s->number, SEGMENT_TMP);
	sg_dir_name(name, s->number, SG_SEGMENT);
	return renameat(c->dirfd, tmp, c->dirfd, name) != 0 ? -errno : 0;
}

/* It did not come to the rename: leave all as it was. What is kept goes only if it is the very file that stays. */
static void undo(struct sg_check *c, struct sg_checked *s)
{
	char kept[SG_KEPT_BYTES + 16], name[SG_NAME_BYTES];

	remove_name(c->dirfd, s->number, SEGMENT_TMP);
	sg_dir_name(name, s->number, SG_SEGMENT);
	snprintf(kept, sizeof(kept), "quarantine/%s", s->kept);
	if (!same_file(c->dirfd, name, kept) || unlinkat(c->dirfd, kept, 0) != 0)
		return;
	*s->kept = '\0';
	c->summary.quarantined_bytes -= s->size_bytes;
}

static void write_index(struct sg_check *c, const struct sg_checked *s, const struct sg_index *x)
{
	int err = sg_index_write(x, c->dirfd, s->number, s->header.first_seq,
				 sg_frame_seed(s->header.id), mode_of(sg_segment_fd(s->walk)));

	if (!c->index_error)
		c->index_error = err;
}

static int rewrite(struct sg_check *c, struct sg_checked *s)
{
	struct rewrite r = { .s = s, .from = sg_segment_fd(s->walk) };
	int err;

	r.buf = malloc(COPY_BYTES);
	err = r.buf ? write_new(c, &r) : -ENOMEM;
	if (!err)
		err = rename_new(c, s);
	if (err)
		undo(c, s);
	else
		err = sg_dir_sync(c->dirfd);
	if (!err)
		write_index(c, s, &r.index);
	sg_index_free(&r.index);
	free(r.buf);
	return err;
}

/* ---- what the walk asks for ---- */

static int keep(struct sg_check *c, struct sg_checked *s)
{
	int err = enough_space(c->dirfd, s->size_bytes);

	return err ? err : keep_whole(c, s);
}

static int cut(struct sg_check *c, struct sg_checked *s, uint64_t offset, uint64_t bytes)
{
	char name[SG_NAME_BYTES];
	int fd, err = enough_space(c->dirfd, bytes);

	if (err)
		return err;
	sg_dir_name(name, s->number, SG_SEGMENT);
	err = sg_dir_keep_range(c->dirfd, name, offset, bytes, mode_of(c->dirfd), s->kept);
	if (err) {
		*s->kept = '\0';
		return err;
	}
	c->summary.quarantined_bytes += bytes;
	fd = openat(c->dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)offset) != 0 || fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err;
}

static int finish(struct sg_check *c, struct sg_checked *s)
{
	if (s->damaged && s->bad_copies == 3 && s->records == 0)
		return drop(c, s);
	if (s->damaged)
		return rewrite(c, s);
	if (s->index_why)
		write_index(c, s, &s->index);
	/* Of the newest one a crash of the writer may have left pages that no sync has covered. */
	return s->newest && fsync(sg_segment_fd(s->walk)) != 0 ? -errno : 0;
}

static int take_out(struct sg_check *c, struct sg_checked *s)
{
	int err = keep_whole(c, s);

	return err ? err : drop(c, s);
}

/* ---- the call ---- */

/* What a recovery that was killed has left half written. */
static int remove_stale(int dirfd, const char *suffix)
{
	struct sg_numbers stale;
	size_t i;
	int err = sg_dir_list(dirfd, suffix, &stale);

	for (i = 0; !err && i < stale.n; i++)
		err = remove_name(dirfd, stale.v[i], suffix);
	sg_numbers_free(&stale);
	return err;
}

/* The number that a segment's own header has; `number` if it tells none. */
static int own_number(int dirfd, uint64_t number, uint64_t *own)
{
	struct sg_segment_header h;
	struct sg_segment *s;
	int err = sg_segment_open(&s, dirfd, number, 0, NULL);

	*own = number;
	/* One that is gone was consumed meanwhile. */
	if (err)
		return err == -EBADMSG || err == -ENOENT ? 0 : err;
	sg_segment_header(s, &h, NULL);
	*own = h.first_seq;
	sg_segment_close(s);
	return 0;
}

/* Before the walk, which takes the segments in the order of their names. */
static int name_right(struct sg_check *c, uint64_t number, uint64_t own)
{
	char name[SG_NAME_BYTES], right[SG_NAME_BYTES];
	struct sg_checked s = { .number = number };
	struct spool_finding f = { .kind = SPOOL_FOUND_HEADER,
				   .file = name,
				   .offset = 32,
				   .bytes = 8,
				   .why = SG_MISNAMED };
	struct stat st;
	int err = 0;

	sg_dir_name(name, number, SG_SEGMENT);
	sg_dir_name(right, own, SG_SEGMENT);
	if (fstatat(c->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	s.size_bytes = (uint64_t)st.st_size;
	/* It is there already where a recovery was killed. */
	if (!same_file(c->dirfd, name, right) && linkat(c->dirfd, name, c->dirfd, right, 0) != 0)
		err = errno == EEXIST ? keep_whole(c, &s) : -errno;
	if (!err)
		err = drop(c, &s);
	f.quarantined = *s.kept ? s.kept : NULL;
	if (!err)
		sg_check_tell(c, &f);
	return err;
}

static int name_all_right(struct sg_check *c)
{
	struct sg_numbers segments;
	uint64_t own;
	size_t i;
	int err = sg_dir_list(c->dirfd, SG_SEGMENT, &segments);

	for (i = 0; !err && i < segments.n; i++) {
		err = own_number(c->dirfd, segments.v[i], &own);
		if (!err && own != segments.v[i])
			err = name_right(c, segments.v[i], own);
	}
	sg_numbers_free(&segments);
	return err;
}

static int mend(struct sg_check *c)
{
	static const struct sg_mender mender = { keep, cut, finish, take_out };
	int lock = sg_dir_lock(c->dirfd, mode_of(c->dirfd)), err;

	if (lock < 0)
		return lock;
	err = remove_stale(c->dirfd, SEGMENT_TMP);
	if (!err)
		err = remove_stale(c->dirfd, SG_INDEX_TMP);
	if (!err)
		err = name_all_right(c);
	if (!err)
		err = sg_check_native(c, &mender);
	/* `durable` stays as it is: the numbers up to it never come again, also if their records are lost. */
	if (!err)
		err = c->index_error;
	sg_dir_unlock(lock);
	return err;
}

static int recover_native(struct sg_check *c)
{
	int err;

	if (c->nothing)
		return 0; /* not even a lock is left where no spool is */
	if (!c->config.dry_run)
		err = mend(c);
	else if (sg_dir_locked(c->dirfd))
		err = -EBUSY;
	else
		err = sg_check_native(c, NULL);
	return err ? err : c->found;
}

int spool_recover(const char *dir, const struct spool_check_config *config,
		  struct spool_summary *summary)
{
	struct sg_check c;
	int err = sg_check_begin(&c, dir, config);

	if (err)
		return err;
	err = sg_check_format(&c);
	if (!err && c.config.format == SPOOL_FORMAT_NATIVE)
		err = recover_native(&c);
	else if (!err)
		err = sg_foreign_recover(c.dirfd, c.config.format, &c.config, &c.summary);
	close(c.dirfd);
	if (summary)
		*summary = c.summary;
	return err;
}
