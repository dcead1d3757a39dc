// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Conversion: a scan of any format into a sink of any format. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "spool/audit.h"
#include "spool/commitlog.h"
#include "spool/dir.h"
#include "spool/foreign_write.h"
#include "spool/scan.h"

#define TELL_BYTES	  (1u << 20) /* between two calls of `progress` */
#define SEGMENT_BYTES	  (UINT64_C(64) << 20)
#define SEGMENT_BYTES_MIN 4096u
#define SEGMENT_BYTES_MAX (UINT64_C(1) << 40)

struct convert {
	struct spool_convert_config config;
	struct spool_convert_result result;
	const char *dst;
	int dirfd;

	struct spool *spool; /* native */
	struct sg_foreign_writer *writer;
	uint64_t next;	/* number that the next record gets; 0: none yet */
	uint64_t empty; /* audit: empty records held back until another follows */
	uint64_t told_bytes;
};

/* ---- the destination ---- */

static int check_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	struct dirent *e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = 0;
	while (!err && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			err = -ENOTEMPTY;
	if (!err)
		err = -errno;
	closedir(d);
	return err;
}

/* The lock is on the directory itself: a file of ours would not be empty any more, nor foreign. */
static int open_dst(struct convert *c)
{
	c->dirfd = sg_dir_make(c->dst, c->config.mode);
	if (c->dirfd < 0)
		return c->dirfd;
	if (flock(c->dirfd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return check_empty(c->dirfd);
}

/* ---- native ---- */

static int native_begin(struct convert *c)
{
	struct spool_config config = SPOOL_CONFIG_INIT;

	config.sync = SPOOL_SYNC_NONE;
	config.mode = c->config.mode;
	config.segment_bytes = c->config.segment_bytes;
	return spool_open(&c->spool, c->dst, &config);
}

static int native_put(struct convert *c, struct sg_foreign_event *e, uint64_t *seq)
{
	return spool_append(c->spool, e->record.data, e->record.len, seq);
}

static int native_end(struct convert *c)
{
	int err = spool_sync(c->spool), closed = spool_close(c->spool);

	c->spool = NULL;
	return err ? err : closed;
}

/* ---- audit ---- */

static int audit_begin(struct convert *c)
{
	char name[SG_AUDIT_NAME_BYTES];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	sg_audit_name_write(name, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
			    (uint32_t)getpid());
	c->next = 1;
	return sg_foreign_writer_open(&c->writer, c->dirfd, SPOOL_FORMAT_AUDIT, name,
				      c->config.mode);
}

static int audit_put(struct convert *c, struct sg_foreign_event *e, uint64_t *seq)
{
	static const struct sg_foreign_event nothing = { .record.data = "" };
	int err = 0;

	*seq = c->next++;
	if (e->record.len == 0) {
		c->empty++;
		return 0;
	}
	for (; !err && c->empty; c->empty--)
		err = sg_foreign_writer_put(c->writer, &nothing);
	return err ? err : sg_foreign_writer_put(c->writer, e);
}

static int writer_end(struct convert *c)
{
	int err = 0;

	if (c->writer)
		err = sg_foreign_writer_close(c->writer);
	c->writer = NULL;
	return err ? err : sg_dir_sync(c->dirfd);
}

static int audit_end(struct convert *c)
{
	c->result.empty_lost = c->empty;
	c->result.records -= c->empty;
	return writer_end(c);
}

/* ---- commit log ---- */

static int log_segment(struct convert *c)
{
	char name[SG_NAME_BYTES];
	int err = writer_end(c);

	sg_dir_name(name, c->next - 1, SG_CL_SUFFIX);
	return err ? err
		   : sg_foreign_writer_open(&c->writer, c->dirfd, SPOOL_FORMAT_COMMITLOG, name,
					    c->config.mode);
}

static int log_put(struct convert *c, struct sg_foreign_event *e, uint64_t *seq)
{
	uint64_t bytes = sg_commit_bytes(!c->config.commitlog_v0, (uint32_t)e->record.len);
	struct sg_foreign_event commit = *e;
	int err = 0;

	if (!c->next)
		c->next = e->record.seq;
	if (c->next + e->n < c->next)
		return -EOVERFLOW;
	if (!c->writer || sg_foreign_writer_bytes(c->writer) + bytes > c->config.segment_bytes)
		err = log_segment(c);
	if (err)
		return err;
	*seq = c->next;
	c->next += e->n;
	commit.record.seq = *seq;
	commit.bytes = bytes; /* this says the version */
	return sg_foreign_writer_put(c->writer, &commit);
}

/* A log without a record is a segment without a commit. */
static int log_end(struct convert *c)
{
	int err = 0;

	if (!c->next) {
		c->next = 1;
		err = log_segment(c);
	}
	return err ? err : writer_end(c);
}

/* ---- all ---- */

static const struct sink {
	int (*begin)(struct convert *c);
	int (*put)(struct convert *c, struct sg_foreign_event *e, uint64_t *seq);
	int (*end)(struct convert *c);
} sinks[] = {
	[SPOOL_FORMAT_NATIVE] = { native_begin, native_put, native_end },
	[SPOOL_FORMAT_AUDIT] = { audit_begin, audit_put, audit_end },
	[SPOOL_FORMAT_COMMITLOG] = { NULL, log_put, log_end },
};

static void count(struct convert *c, const struct sg_foreign_event *e, uint64_t seq)
{
	bool log = c->result.to == SPOOL_FORMAT_COMMITLOG;
	struct spool_convert_result *r = &c->result;

	r->records++;
	r->bytes += e->record.len;
	r->lost_records += e->record.lost;
	r->unverified_records += e->kind == SG_FOREIGN_UNVERIFIED;
	r->renumbered_records += seq != e->record.seq;
	r->times_lost += e->record.time_ns != 0;
	r->epochs_lost += e->epoch != 0 && (!log || c->config.commitlog_v0);
	r->merged_commits += e->n > 1 && !log;
}

static void tell(struct convert *c, const struct spool_scan *scan, bool end)
{
	uint64_t done, total;

	if (!c->config.progress)
		return;
	sg_scan_progress(scan, &done, &total);
	if (!end && done - c->told_bytes < TELL_BYTES)
		return;
	c->told_bytes = done;
	c->config.progress(c->config.arg, done, done > total ? done : total);
}

static int copy_records(struct convert *c, struct spool_scan *scan)
{
	const struct sink *sink = &sinks[c->result.to];
	struct sg_foreign_event e;
	uint64_t seq;
	int err;

	for (;;) {
		err = sg_scan_next(scan, &e);
		if (err)
			break;
		err = sink->put(c, &e, &seq);
		if (err)
			return err;
		count(c, &e, seq);
		tell(c, scan, false);
	}
	if (err != -ENODATA)
		return err;
	c->result.lost_records += sg_scan_lost_at_end(scan);
	tell(c, scan, true);
	return sink->end(c);
}

static int convert_scan(struct convert *c, struct spool_scan *scan)
{
	const struct sink *sink = &sinks[c->result.to];
	int err = open_dst(c);

	if (!err && sink->begin)
		err = sink->begin(c);
	if (!err)
		err = copy_records(c, scan);
	if (c->spool)
		spool_close(c->spool); /* after an error: that one is told */
	sg_foreign_writer_abandon(c->writer);
	if (c->dirfd >= 0)
		close(c->dirfd);
	return err;
}

static int configure(struct convert *c, const struct spool_convert_config *given)
{
	struct spool_convert_config *o = &c->config;

	if (given && (given->size < sizeof(given->size) || given->size > 4096))
		return -EINVAL;
	if (given)
		memcpy(o, given, given->size < sizeof(*o) ? given->size : sizeof(*o));
	o->size = sizeof(*o);
	o->mode = o->mode ? o->mode : 0640;
	o->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_BYTES;
	if ((o->mode & ~0777u) || o->segment_bytes < SEGMENT_BYTES_MIN ||
	    o->segment_bytes > SEGMENT_BYTES_MAX)
		return -EINVAL;
	return 0;
}

int spool_convert(const char *src, enum spool_format from, const char *dst, enum spool_format to,
		  const struct spool_convert_config *config, struct spool_convert_result *result)
{
	struct convert c = { .dst = dst, .dirfd = -1, .result.to = to };
	struct spool_scan *scan;
	int err;

	if (to != SPOOL_FORMAT_NATIVE && to != SPOOL_FORMAT_AUDIT && to != SPOOL_FORMAT_COMMITLOG)
		return -EINVAL;
	err = configure(&c, config);
	if (!err)
		err = sg_scan_open(&scan, src, from, 0, c.config.unverified);
	if (err)
		return err;
	c.result.from = spool_scan_format(scan);
	err = convert_scan(&c, scan);
	spool_scan_close(scan);
	if (result)
		*result = c.result;
	return err;
}
