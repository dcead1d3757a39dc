// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * verify is one walk. recover is four steps, so that a crash between any two leaves everything in place:
 *
 *   plan    a walk that only notes, for each file, what is to be done with it;
 *   keep    what will go lies in quarantine/, synced;
 *   tell    a second walk over what is still untouched, telling each finding with the name of what was kept,
 *           and writing the good records of files that are to be replaced beside them;
 *   mend    at the end of each file: the new one is synced and renamed over, or the tail is cut.
 *
 * A file with damage in its middle is replaced by one that has its good records; a file with nothing but a
 * bad end is cut; an audit file without a sidecar, or a sidecar without its file, is moved away whole. An
 * audit file and its sidecar cannot be replaced at one stroke: after a crash between the two renames the walk
 * finds its way through the pair by itself, and the originals lie in quarantine/.
 *
 * Offsets of a commit log stay as they are, so its gap stays: the records behind it can be read, but the
 * database itself will not go beyond.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/audit.h"
#include "spool/bytes.h"
#include "spool/commitlog.h"
#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spool/foreign.h"
#include "spool/foreign_files.h"
#include "spool/foreign_write.h"
#include "spool/view.h"

#define TEMPORARY  ".spoolguard-new"
#define MODE	   0640u
#define TELL_BYTES (1u << 20) /* between two calls of `progress` */

enum action {
	LEAVE,
	CUT,	  /* file and sidecar, behind the last good record */
	REPLACE,  /* by its good records */
	MOVE_OUT, /* the whole file */
};

struct plan {
	enum action action;
	bool bad, index_wrong; /* so far */
	uint64_t good_end, records;
	char kept[SG_KEPT_BYTES], side_kept[SG_KEPT_BYTES];
};

/* Follows the index of one segment of a commit log: do its entries point at commits, in order? */
struct index_check {
	struct sg_pane view;
	bool open, wrong;
	uint64_t at;
	struct sg_cl_index entry; /* the next one; offset 0: there is none */
};

struct job {
	int dirfd;
	enum spool_format format;
	const struct spool_check_config *config;
	struct spool_summary summary;
	bool found;    /* anything but INDEX */
	bool mending;  /* recovery that is no dry run, its plan made */
	bool planning; /* the walk that makes it */
	uint64_t told_bytes;
	struct plan *plans; /* one for each file; NULL: verify */
	struct index_check index;
	size_t file; /* the one that events come from */
	struct sg_foreign_writer *writer;
};

static bool is_log(const struct job *j)
{
	return j->format == SPOOL_FORMAT_COMMITLOG;
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* ---- the index of a segment ---- */

static int index_step(struct index_check *x)
{
	const uint8_t *p;
	int err;

	x->entry.offset = 0;
	if (x->at + SG_CL_INDEX_ENTRY > x->view.size)
		return 0;
	err = sg_pane_get(&x->view, x->at, SG_CL_INDEX_ENTRY, &p);
	if (!err)
		sg_cl_index_read(p, &x->entry);
	x->at += SG_CL_INDEX_ENTRY;
	return err;
}

static void index_close(struct index_check *x)
{
	if (x->open)
		sg_pane_close(&x->view);
	x->open = false;
}

/* A missing one is nothing to tell: the format does without. */
static int index_open(struct index_check *x, int dirfd, const struct sg_foreign_file *f)
{
	char name[SG_NAME_BYTES];
	int err;

	*x = (struct index_check){ 0 };
	sg_dir_name(name, f->number, SG_CL_INDEX);
	err = sg_pane_open(&x->view, dirfd, name);
	x->open = true;
	return err == -ENOENT ? 0 : err ? err : index_step(x);
}

static int index_commit(struct index_check *x, const struct spool_record *commit)
{
	int err = 0;

	while (!err && x->entry.offset && x->entry.place <= commit->offset) {
		if (x->entry.place < commit->offset || x->entry.offset != commit->seq - 1)
			x->wrong = true;
		err = index_step(x);
	}
	return err;
}

/* ---- telling ---- */

static void found(struct job *j, const struct spool_finding *f)
{
	struct spool_summary *s = &j->summary;

	if (f->from_seq)
		s->missing_records += f->to_seq - f->from_seq + 1;
	if (f->kind == SPOOL_FOUND_TORN)
		s->torn_bytes += f->bytes;
	if (f->kind == SPOOL_FOUND_DAMAGE)
		s->damaged_bytes += f->bytes;
	if (f->kind != SPOOL_FOUND_INDEX)
		j->found = true;
	s->findings++;
	if (j->config->found)
		j->config->found(j->config->arg, f);
}

static void progress(struct job *j, const struct sg_foreign *walk, bool end)
{
	uint64_t done = sg_foreign_done_bytes(walk), total = sg_foreign_total_bytes(walk);

	if (j->planning || !j->config->progress || (!end && done - j->told_bytes < TELL_BYTES))
		return;
	j->told_bytes = done;
	j->config->progress(j->config->arg, done, done > total ? done : total);
}

/* Is the file of this finding being written right now? Then its end is no fault. */
static int is_live(const struct job *j, const struct sg_foreign_files *all, size_t file, bool *live)
{
	struct sg_foreign_files one = { .v = all->v + file, .n = 1 };

	return sg_foreign_busy(j->dirfd, j->format, &one, live);
}

static bool concerns_end(const struct job *j, const struct spool_finding *f)
{
	return f->kind == SPOOL_FOUND_TORN || f->kind == SPOOL_FOUND_SIDECAR ||
	       (f->kind == SPOOL_FOUND_HEADER && f->bytes < SG_CL_HEADER_BYTES);
}

static int tell(struct job *j, const struct sg_foreign *walk, const struct sg_foreign_event *e)
{
	struct spool_finding f = e->finding;
	const struct plan *p;
	bool live = false;
	int err;

	if (!j->plans && concerns_end(j, &f)) {
		err = is_live(j, sg_foreign_files(walk), e->file, &live);
		if (err || live)
			return err;
	}
	if (j->mending) {
		p = &j->plans[e->file];
		f.quarantined = ends_with(f.file, SG_AUDIT_SIDECAR) ? p->side_kept : p->kept;
		/* A gap of a log is told but not mended: nothing of it was kept. */
		if (!*f.quarantined || (is_log(j) && f.kind == SPOOL_FOUND_GAP))
			f.quarantined = NULL;
	}
	found(j, &f);
	return 0;
}

static void tell_index(struct job *j, const struct sg_foreign_file *file)
{
	char name[SG_NAME_BYTES];
	struct spool_finding f = {
		.kind = SPOOL_FOUND_INDEX,
		.file = name,
		.why = "does not point at the commits of its segment",
	};

	sg_dir_name(name, file->number, SG_CL_INDEX);
	if (j->plans && *j->plans[j->file].side_kept)
		f.quarantined = j->plans[j->file].side_kept;
	found(j, &f);
}

static void count(struct job *j, const struct sg_foreign_event *e)
{
	struct spool_summary *s = &j->summary;

	s->records++;
	s->bytes += e->bytes;
	s->first_seq = s->first_seq ? s->first_seq : e->record.seq;
	s->last_seq = e->record.seq + e->n - 1;
}

/* ---- planning ---- */

static void plan_event(struct job *j, const struct sg_foreign_event *e)
{
	struct plan *p = &j->plans[e->file];
	const struct spool_finding *f = &e->finding;

	if (e->kind == SG_FOREIGN_RECORD) {
		p->records++;
		p->good_end = e->record.offset + e->bytes;
		if (p->bad)
			p->action = REPLACE;
		return;
	}
	if (e->kind != SG_FOREIGN_FINDING)
		return;
	if (is_log(j) && f->kind == SPOOL_FOUND_GAP)
		return;
	if (is_log(j) && (f->kind == SPOOL_FOUND_HEADER || f->offset < SG_CL_HEADER_BYTES))
		p->action = REPLACE;
	p->bad = true;
	if (p->action == LEAVE)
		p->action = CUT;
}

/* ---- keeping ---- */

static bool is_there(int dirfd, const char *name, uint64_t *size)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	*size = (uint64_t)st.st_size;
	return true;
}

static int keep(struct job *j, const char *name, enum action action, uint64_t good_end,
		char kept[SG_KEPT_BYTES])
{
	uint64_t size;

	if (!is_there(j->dirfd, name, &size))
		return 0;
	if (action != CUT)
		good_end = 0;
	else if (size <= good_end)
		return 0;
	j->summary.quarantined_bytes += size - good_end;
	if (action != CUT)
		return sg_dir_keep_file(j->dirfd, name, MODE, kept);
	return sg_dir_keep_range(j->dirfd, name, good_end, size - good_end, MODE, kept);
}

static void side_name(const struct job *j, const struct sg_foreign_file *f,
		      char out[SG_FOREIGN_NAME_BYTES])
{
	if (is_log(j)) {
		sg_dir_name(out, f->number, SG_CL_INDEX);
		return;
	}
	sg_foreign_name(f, j->format, out);
	if (!f->orphan)
		strcat(out, SG_AUDIT_SIDECAR);
}

static int keep_file(struct job *j, const struct sg_foreign_file *f, struct plan *p)
{
	char name[SG_FOREIGN_NAME_BYTES], side[SG_FOREIGN_NAME_BYTES];
	uint64_t size;
	int err;

	side_name(j, f, side);
	if (!is_log(j) && p->action != LEAVE && (f->orphan || !is_there(j->dirfd, side, &size)))
		p->action = MOVE_OUT;
	if (is_log(j) && p->good_end < SG_CL_HEADER_BYTES)
		p->good_end = SG_CL_HEADER_BYTES;
	if (p->action == LEAVE && !p->index_wrong)
		return 0;
	err = keep(j, side, is_log(j) ? MOVE_OUT : p->action, SG_AUDIT_CRC_BYTES * p->records,
		   p->side_kept);
	if (err || f->orphan || p->action == LEAVE)
		return err;
	sg_foreign_name(f, j->format, name);
	return keep(j, name, p->action, p->good_end, p->kept);
}

/* ---- mending ---- */

static int remove_name(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, 0) != 0 && errno != ENOENT ? -errno : 0;
}

static int cut(int dirfd, const char *name, uint64_t end)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) != 0 ||
	    ((uint64_t)st.st_size > end && (ftruncate(fd, (off_t)end) != 0 || fsync(fd) != 0)))
		err = -errno;
	close(fd);
	return err;
}

/* The new file takes the place of the old one, and what it was allowed and to whom. */
static int replace(int dirfd, const char *from, const char *to)
{
	struct stat st;
	int fd = openat(dirfd, from, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;

	if (fd < 0)
		return -errno;
	if (fstatat(dirfd, to, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    (fchown(fd, st.st_uid, st.st_gid) != 0 && errno != EPERM) ||
	    fchmod(fd, st.st_mode & 07777) != 0 || fsync(fd) != 0)
		err = -errno;
	close(fd);
	return err || renameat(dirfd, from, dirfd, to) == 0 ? err : -errno;
}

/* What was written of a new file: a copy of what is still there. */
static void drop_new(struct job *j)
{
	unlinkat(j->dirfd, TEMPORARY, 0);
	unlinkat(j->dirfd, TEMPORARY SG_AUDIT_SIDECAR, 0);
}

static int put_in_place(struct job *j, const char *name, const char *side)
{
	int err = replace(j->dirfd, TEMPORARY, name);

	if (!err && !is_log(j))
		err = replace(j->dirfd, TEMPORARY SG_AUDIT_SIDECAR, side);
	return err;
}

/* What was planned for the file whose last event has come. */
static int mend_file(struct job *j, const struct sg_foreign_file *f, const struct plan *p)
{
	char name[SG_FOREIGN_NAME_BYTES], side[SG_FOREIGN_NAME_BYTES];
	int dirfd = j->dirfd, err = 0;

	sg_foreign_name(f, j->format, name);
	side_name(j, f, side);
	if (is_log(j) && *p->side_kept)
		err = remove_name(dirfd, side);
	switch (err ? LEAVE : p->action) {
	case LEAVE:
		break;
	case CUT:
		err = cut(dirfd, name, p->good_end);
		if (!err && !is_log(j))
			err = cut(dirfd, side, SG_AUDIT_CRC_BYTES * p->records);
		break;
	case REPLACE:
		err = put_in_place(j, name, side);
		break;
	case MOVE_OUT:
		err = remove_name(dirfd, name);
		break;
	}
	return err ? err : sg_dir_sync(dirfd);
}

/* ---- the walk ---- */

static int begin_file(struct job *j, const struct sg_foreign_files *files)
{
	int err = 0;

	if (is_log(j))
		err = index_open(&j->index, j->dirfd, &files->v[j->file]);
	if (err || !j->mending || j->plans[j->file].action != REPLACE)
		return err;
	return sg_foreign_writer_open(&j->writer, j->dirfd, j->format, TEMPORARY, MODE);
}

static int end_file(struct job *j, const struct sg_foreign_files *files)
{
	struct plan *p = j->plans ? &j->plans[j->file] : NULL;
	bool wrong = j->index.open && (j->index.wrong || j->index.entry.offset);
	int err = 0;

	index_close(&j->index);
	if (wrong && p && j->planning)
		p->index_wrong = true;
	else if (wrong)
		tell_index(j, &files->v[j->file]);
	if (j->writer) {
		err = sg_foreign_writer_close(j->writer);
		j->writer = NULL;
		if (err)
			drop_new(j);
	}
	if (!err && j->mending)
		err = mend_file(j, &files->v[j->file], p);
	return err;
}

/* Go to the file that events come from now, over all between. */
static int follow(struct job *j, const struct sg_foreign *walk, size_t file, bool *begun)
{
	const struct sg_foreign_files *files = sg_foreign_files(walk);
	int err = 0;

	if (!*begun) {
		*begun = true;
		j->file = 0;
		err = begin_file(j, files);
	}
	while (!err && j->file < file) {
		err = end_file(j, files);
		j->file++;
		if (!err && j->file < files->n)
			err = begin_file(j, files);
	}
	return err;
}

static int handle(struct job *j, const struct sg_foreign *walk, const struct sg_foreign_event *e)
{
	int err = 0;

	if (e->kind == SG_FOREIGN_RECORD && is_log(j))
		err = index_commit(&j->index, &e->record);
	if (err)
		return err;
	if (j->planning) {
		plan_event(j, e);
		return 0;
	}
	if (e->kind == SG_FOREIGN_FINDING)
		return tell(j, walk, e);
	if (e->kind != SG_FOREIGN_RECORD)
		return 0;
	count(j, e);
	return j->writer ? sg_foreign_writer_put(j->writer, e) : 0;
}

static int walk_all(struct job *j)
{
	struct sg_foreign_event e = { .kind = SG_FOREIGN_FINDING };
	const struct sg_foreign_files *files;
	struct sg_foreign *walk;
	bool begun = false;
	int err = sg_foreign_open(&walk, j->dirfd, j->format, 0);

	if (err)
		return err;
	files = sg_foreign_files(walk);
	while (!err && e.kind != SG_FOREIGN_END) {
		err = sg_foreign_next(walk, &e);
		if (!err)
			err = follow(j, walk, e.kind == SG_FOREIGN_END ? files->n : e.file, &begun);
		if (!err)
			err = handle(j, walk, &e);
		progress(j, walk, e.kind == SG_FOREIGN_END);
	}
	j->summary.segments = sg_foreign_segments(walk);
	index_close(&j->index);
	if (j->writer)
		drop_new(j);
	sg_foreign_writer_abandon(j->writer);
	j->writer = NULL;
	sg_foreign_close(walk);
	return err;
}

static int result(const struct job *j, int err, struct spool_summary *summary)
{
	*summary = j->summary;
	summary->format = j->format;
	return err ? err : j->found;
}

int sg_foreign_verify(int dirfd, enum spool_format format, const struct spool_check_config *config,
		      struct spool_summary *summary)
{
	struct job j = { .format = format, .dirfd = dirfd, .config = config };

	return result(&j, walk_all(&j), summary);
}

/* ---- recovery ---- */

static int plan_all(struct job *j, const struct sg_foreign_files *files)
{
	int err;

	j->plans = calloc(files->n, sizeof(*j->plans));
	if (!j->plans)
		return -ENOMEM;
	j->planning = true;
	err = walk_all(j);
	j->planning = false;
	return err;
}

static int keep_all(struct job *j, const struct sg_foreign_files *files)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < files->n; i++)
		err = keep_file(j, &files->v[i], &j->plans[i]);
	return err;
}

static int refuse_live(const struct job *j, const struct sg_foreign_files *files)
{
	bool busy;
	int err = sg_foreign_busy(j->dirfd, j->format, files, &busy);

	return err ? err : busy ? -EBUSY : 0;
}

/* Behind the lock: the steps above. The files are listed anew by each walk; without a writer they stay the same. */
static int recover_locked(struct job *j)
{
	struct sg_foreign_files files;
	int err = sg_foreign_list(j->dirfd, j->format, &files);

	if (!err && files.n == 0)
		err = -ENOENT;
	if (!err)
		err = refuse_live(j, &files);
	if (!err)
		err = plan_all(j, &files);
	j->mending = !j->config->dry_run;
	if (!err && j->mending)
		err = keep_all(j, &files);
	if (!err)
		err = walk_all(j);
	free(j->plans);
	sg_foreign_files_free(&files);
	return err;
}

int sg_foreign_recover(int dirfd, enum spool_format format, const struct spool_check_config *config,
		       struct spool_summary *summary)
{
	struct job j = { .format = format, .dirfd = dirfd, .config = config };
	int lock = -1, err = 0;

	if (config->dry_run) {
		err = sg_dir_locked(dirfd) ? -EBUSY : 0;
	} else {
		lock = sg_dir_lock(dirfd, MODE);
		err = lock < 0 ? lock : 0;
	}
	if (!err)
		err = recover_locked(&j);
	if (lock >= 0)
		sg_dir_unlock(lock);
	return result(&j, err, summary);
}
