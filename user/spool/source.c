// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/commitlog.h"
#include "spool/frame.h"

#define DURABLE_TRIES 100 /* it is rewritten in place while we read */

static const char *suffix(enum spool_format format)
{
	return format == SPOOL_FORMAT_COMMITLOG ? SG_CL_SUFFIX : SG_SEGMENT;
}

static int open_segment(const struct sg_source *s, size_t at)
{
	char name[SG_NAME_BYTES];
	int fd;

	sg_dir_name(name, s->list.v[at], suffix(s->format));
	/* A FIFO of that name must not hang us. */
	fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int list(struct sg_source *s)
{
	sg_numbers_free(&s->list);
	return sg_dir_list(s->dirfd, suffix(s->format), &s->list);
}

/* The format whose segments are there. */
static int find_format(struct sg_source *s)
{
	struct sg_numbers logs;
	int err;

	s->format = SPOOL_FORMAT_COMMITLOG;
	err = sg_dir_list(s->dirfd, SG_CL_SUFFIX, &logs);
	if (!err && logs.n == 0)
		s->format = SPOOL_FORMAT_NATIVE;
	sg_numbers_free(&logs);
	return err;
}

/* Of the last segment with a header: what frames' checksums continue from. */
static bool find_seed(const struct sg_source *s, uint32_t *seed)
{
	uint8_t bytes[SG_HEADER_BYTES];
	struct sg_segment_header h;
	const char *why;
	size_t i, got = 0;
	int fd;

	for (i = s->list.n; i-- > 0; got = 0) {
		fd = open_segment(s, i);
		if (fd < 0)
			continue;
		if (sg_pread_all(fd, bytes, sizeof(bytes), 0, &got))
			got = 0;
		close(fd);
		if (sg_segment_header_read(bytes, got, &h, &why) != 3) {
			*seed = sg_frame_seed(h.id);
			return true;
		}
	}
	return false;
}

/* What the writer has told; 0: nothing. */
static uint64_t read_durable(const struct sg_source *s, uint32_t seed)
{
	uint8_t bytes[SG_DURABLE_BYTES];
	uint64_t durable = 0, appended;
	int i, fd = openat(s->dirfd, "durable", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t got;

	for (i = 0; fd >= 0 && i < DURABLE_TRIES; i++)
		if (!sg_pread_all(fd, bytes, sizeof(bytes), 0, &got) &&
		    sg_durable_read(bytes, got, seed, &durable, &appended))
			break;
	if (fd >= 0)
		close(fd);
	return durable;
}

/* A segment is complete and synced before the next one is there: so all before the last one are durable. */
static int limit_live(struct sg_source *s)
{
	uint64_t durable = 0;
	uint32_t seed;
	int err;

	if (find_seed(s, &seed))
		durable = read_durable(s, seed);
	err = list(s);
	if (err || s->list.n == 0)
		return err;
	s->limit = s->list.v[s->list.n - 1] - 1;
	if (durable > s->limit)
		s->limit = durable;
	return 0;
}

/* Nobody else will sync it. What is appended from now on does not count. */
static int sync_last(struct sg_source *s)
{
	int fd = open_segment(s, s->list.n - 1), err = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0)
		err = -errno;
	else if (fdatasync(fd) != 0)
		err = -errno;
	else
		s->last_bytes = (uint64_t)st.st_size;
	close(fd);
	if (!err)
		err = sg_dir_sync(s->dirfd);
	/* On a medium that cannot be written there is nothing to sync. */
	return err == -EROFS ? 0 : err;
}

static int add_up(struct sg_source *s)
{
	char name[SG_NAME_BYTES];
	struct stat st;
	size_t i;

	for (i = 0; i < s->list.n; i++) {
		sg_dir_name(name, s->list.v[i], suffix(s->format));
		if (fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			s->total_bytes += (uint64_t)st.st_size;
		else if (errno != ENOENT)
			return -errno;
	}
	return 0;
}

int sg_source_open(struct sg_source *s, const char *dir, enum spool_format format)
{
	int err = 0;

	*s = (struct sg_source){
		.fd = -1, .format = format, .limit = UINT64_MAX, .last_bytes = UINT64_MAX
	};
	s->dirfd = sg_dir_open(dir);
	if (s->dirfd < 0)
		return s->dirfd;
	if (format == SPOOL_FORMAT_DETECT)
		err = find_format(s);
	if (!err)
		err = list(s);
	if (!err && s->list.n == 0)
		err = -EBADMSG;
	if (err)
		return err;
	if (s->format == SPOOL_FORMAT_NATIVE && sg_dir_locked(s->dirfd))
		err = limit_live(s);
	else
		err = sync_last(s);
	return err ? err : add_up(s);
}

static void close_segment(struct sg_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void sg_source_close(struct sg_source *s)
{
	close_segment(s);
	if (s->dirfd >= 0)
		close(s->dirfd);
	sg_numbers_free(&s->list);
	s->dirfd = -1;
}

void sg_source_seek(struct sg_source *s, size_t at, uint64_t offset)
{
	if (at != s->at)
		close_segment(s);
	s->at = at;
	s->offset = offset;
}

uint64_t sg_source_number(const struct sg_source *s)
{
	return s->list.v[s->at];
}

/* What of len may be read here. */
static size_t allowed(const struct sg_source *s, size_t len)
{
	uint64_t left;

	if (s->at + 1 < s->list.n)
		return len;
	left = s->last_bytes > s->offset ? s->last_bytes - s->offset : 0;
	return left < len ? (size_t)left : len;
}

int sg_source_read(struct sg_source *s, void *buf, size_t len, size_t *got)
{
	int err;

	for (*got = 0; s->at < s->list.n; s->at++, s->offset = 0) {
		if (s->fd < 0)
			s->fd = open_segment(s, s->at);
		if (s->fd == -ENOENT)
			continue;
		if (s->fd < 0)
			return s->fd;
		err = sg_pread_all(s->fd, buf, allowed(s, len), s->offset, got);
		s->offset += *got;
		s->done_bytes += *got;
		if (err || *got)
			return err;
		close_segment(s);
	}
	return 0;
}
