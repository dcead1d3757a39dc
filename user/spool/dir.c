// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPY_BYTES 65536
#define QUARANTINE "quarantine"
#define LOOK_NS	   100000 /* whoever looks at the lock is done by then, mostly */
#define LOCK_TRIES 2000

/* ---- files ---- */

int sg_pread_all(int fd, void *buf, size_t len, uint64_t offset, size_t *got)
{
	unsigned int interrupted = 0;
	ssize_t n;

	for (*got = 0; *got < len; *got += (size_t)n) {
		n = pread(fd, (char *)buf + *got, len - *got, (off_t)(offset + *got));
		if (n < 0 && errno == EINTR && interrupted++ < SG_EINTR_MAX)
			n = 0;
		else if (n < 0)
			return -errno;
		else if (n == 0)
			return 0;
	}
	return 0;
}

int sg_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset)
{
	unsigned int interrupted = 0;
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR && interrupted++ < SG_EINTR_MAX)
			n = 0;
		else if (n < 0)
			return -errno;
		else if (n == 0)
			return -ENOSPC;
	}
	return 0;
}

/* ---- the directory ---- */

static uint32_t dir_mode(uint32_t mode)
{
	return mode | (mode & 0444) >> 2;
}

int sg_dir_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int sg_dir_sync(int dirfd)
{
	return fsync(dirfd) != 0 ? -errno : 0;
}

/* The parent may be a mere O_PATH descriptor. */
static int sync_parent(int parent)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = sg_dir_sync(fd);
	close(fd);
	return err;
}

/* Into the directory `name` of parent, made if missing. Returns its descriptor. The parent is synced also where
 * it was there: whoever made it may not have come so far. */
static int enter(int parent, const char *name, uint32_t mode)
{
	int fd, err;

	if (mkdirat(parent, name, dir_mode(mode)) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = sync_parent(parent);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* One step of a path. A directory that is there may be passable without being readable; the last must be. */
static int step(int parent, const char *name, bool last, uint32_t mode)
{
	int fd = openat(parent, name, (last ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	return errno == ENOENT ? enter(parent, name, mode) : -errno;
}

int sg_dir_make(const char *path, uint32_t mode)
{
	char copy[PATH_MAX], *name, *rest = copy;
	size_t len = strlen(path);
	int fd, next;

	/* What is there needs no way to it. */
	fd = sg_dir_open(path);
	if (fd != -ENOENT || len == 0)
		return fd;
	if (len >= sizeof(copy))
		return -ENAMETOOLONG;
	while (len > 1 && path[len - 1] == '/')
		len--;
	memcpy(copy, path, len);
	copy[len] = '\0';
	fd = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (fd >= 0 && (name = strsep(&rest, "/")) != NULL) {
		if (!*name)
			continue;
		next = step(fd, name, !rest, mode);
		close(fd);
		fd = next;
	}
	return fd;
}

/* Who only looks whether it is held (sg_dir_locked) holds it shared for a moment, which must not refuse a writer:
 * whoever can share it, too, tries again. */
static int take_lock(int fd)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	unsigned int tries;

	for (tries = 0; tries < LOCK_TRIES; tries++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno == EWOULDBLOCK && flock(fd, LOCK_SH | LOCK_NB) == 0) {
			flock(fd, LOCK_UN);
			nanosleep(&pause, NULL);
			continue;
		}
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	}
	return -EBUSY;
}

int sg_dir_lock(int dirfd, uint32_t mode)
{
	int fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	int err;

	if (fd < 0)
		return -errno;
	err = take_lock(fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

void sg_dir_unlock(int lock)
{
	flock(lock, LOCK_UN);
	close(lock);
}

bool sg_dir_locked(int dirfd)
{
	/* A FIFO of that name must not hang us. */
	int fd = openat(dirfd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool locked;

	if (fd < 0)
		return false;
	locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	sg_dir_unlock(fd);
	return locked;
}

/* ---- names ---- */

void sg_dir_name(char out[SG_NAME_BYTES], uint64_t number, const char *suffix)
{
	snprintf(out, SG_NAME_BYTES, "%020" PRIu64 "%.32s", number, suffix);
}

bool sg_dir_number(const char *name, const char *suffix, uint64_t *number)
{
	if (strspn(name, "0123456789") != 20 || strcmp(name + 20, suffix) != 0)
		return false;
	errno = 0;
	*number = strtoull(name, NULL, 10);
	return errno == 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int add(struct sg_numbers *out, size_t *room, uint64_t number)
{
	uint64_t *v;

	if (out->n == *room) {
		*room = *room ? 2 * *room : 64;
		v = reallocarray(out->v, *room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		out->v = v;
	}
	out->v[out->n++] = number;
	return 0;
}

int sg_dir_stream(int dirfd, DIR **d)
{
	int err, fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*d = fdopendir(fd);
	if (*d)
		return 0;
	err = -errno;
	close(fd);
	return err;
}

static int list(int dirfd, const char *suffix, struct sg_numbers *out)
{
	struct dirent *e;
	uint64_t number;
	size_t room = 0;
	DIR *d;
	int err;

	*out = (struct sg_numbers){ 0 };
	err = sg_dir_stream(dirfd, &d);
	if (err)
		return err;
	while (!err && (errno = 0, e = readdir(d)) != NULL)
		if (sg_dir_number(e->d_name, suffix, &number))
			err = add(out, &room, number);
	if (!err)
		err = -errno;
	closedir(d);
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), by_value);
	return err;
}

/*
 * A file that is made while a directory is read may be told or not, each for itself: so a later segment may be seen
 * and one before it not. But what a second reading begins after is told by it. So the second one counts, up to where
 * the first had come.
 */
int sg_dir_list(int dirfd, const char *suffix, struct sg_numbers *out)
{
	struct sg_numbers first;
	uint64_t last;
	int err;

	*out = (struct sg_numbers){ 0 };
	err = list(dirfd, suffix, &first);
	last = first.n ? first.v[first.n - 1] : 0;
	if (!err && first.n)
		err = list(dirfd, suffix, out);
	while (out->n && out->v[out->n - 1] > last)
		out->n--;
	sg_numbers_free(&first);
	return err;
}

void sg_numbers_free(struct sg_numbers *n)
{
	free(n->v);
	*n = (struct sg_numbers){ 0 };
}

static int sum_files(int dirfd, uint64_t *bytes)
{
	struct dirent *e;
	struct stat st;
	DIR *d;
	int err = sg_dir_stream(dirfd, &d);

	if (err)
		return err;
	while (!err && (errno = 0, e = readdir(d)) != NULL) {
		if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			*bytes += S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
		else if (errno != ENOENT)
			err = -errno;
	}
	if (!err)
		err = -errno;
	closedir(d);
	return err;
}

int sg_dir_bytes(int dirfd, uint64_t *bytes)
{
	int err, fd;

	*bytes = 0;
	err = sum_files(dirfd, bytes);
	if (err)
		return err;
	fd = openat(dirfd, QUARANTINE, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = sum_files(fd, bytes);
	close(fd);
	return err;
}

/* ---- the quarantine ---- */

/* The n-th name to try. */
static void kept_name(char out[SG_KEPT_BYTES], const char *base, unsigned int n)
{
	if (n)
		snprintf(out, SG_KEPT_BYTES, "%.290s.%u", base, n);
	else
		snprintf(out, SG_KEPT_BYTES, "%.290s", base);
}

static int create(int qfd, const char *base, uint32_t mode, char kept[SG_KEPT_BYTES])
{
	unsigned int n;
	int fd;

	for (n = 0;; n++) {
		kept_name(kept, base, n);
		fd = openat(qfd, kept, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST || n == UINT_MAX)
			return -errno;
	}
}

static int copy(int from, int to, uint64_t offset, uint64_t bytes)
{
	char buf[COPY_BYTES];
	uint64_t done = 0;
	size_t want, got;
	int err;

	while (done < bytes) {
		want = bytes - done < sizeof(buf) ? (size_t)(bytes - done) : sizeof(buf);
		err = sg_pread_all(from, buf, want, offset + done, &got);
		if (!err && got)
			err = sg_pwrite_all(to, buf, got, done);
		if (err)
			return err;
		if (got < want)
			break; /* it ends here: a concurrent cut, or the caller's whole file */
		done += got;
	}
	return fsync(to) != 0 ? -errno : 0;
}

static int keep_copy(int dirfd, int qfd, const char *name, const char *base, uint64_t offset,
		     uint64_t bytes, uint32_t mode, char kept[SG_KEPT_BYTES])
{
	int from = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to, err;

	if (from < 0)
		return -errno;
	to = create(qfd, base, mode, kept);
	err = to < 0 ? to : copy(from, to, offset, bytes);
	if (to >= 0 && close(to) != 0 && !err)
		err = -errno;
	if (to >= 0 && err)
		unlinkat(qfd, kept, 0);
	close(from);
	return err;
}

int sg_dir_keep_range(int dirfd, const char *name, uint64_t offset, uint64_t bytes, uint32_t mode,
		      char kept[SG_KEPT_BYTES])
{
	char base[SG_KEPT_BYTES];
	int qfd = enter(dirfd, QUARANTINE, mode), err;

	if (qfd < 0)
		return qfd;
	snprintf(base, sizeof(base), "%.255s.%" PRIu64, name, offset);
	err = keep_copy(dirfd, qfd, name, base, offset, bytes, mode, kept);
	if (!err)
		err = sg_dir_sync(qfd);
	close(qfd);
	return err;
}

/* Is it there already, by a call that did not come to its end? */
static bool same_file(int dirfd, const char *name, int qfd, const char *kept)
{
	struct stat a, b;

	return fstatat(dirfd, name, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(qfd, kept, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* 0, or -errno; -EPERM and the like where the file system has no links. */
static int keep_link(int dirfd, int qfd, const char *name, char kept[SG_KEPT_BYTES])
{
	unsigned int n;

	for (n = 0;; n++) {
		kept_name(kept, name, n);
		if (linkat(dirfd, name, qfd, kept, 0) == 0)
			return 0;
		if (errno != EEXIST || n == UINT_MAX)
			return -errno;
		if (same_file(dirfd, name, qfd, kept))
			return 0;
	}
}

int sg_dir_keep_file(int dirfd, const char *name, uint32_t mode, char kept[SG_KEPT_BYTES])
{
	int qfd = enter(dirfd, QUARANTINE, mode), err;

	if (qfd < 0)
		return qfd;
	err = keep_link(dirfd, qfd, name, kept);
	if (err == -EPERM || err == -EOPNOTSUPP || err == -EMLINK || err == -ENOSYS)
		err = keep_copy(dirfd, qfd, name, name, 0, UINT64_MAX, mode, kept);
	if (!err)
		err = sg_dir_sync(qfd);
	close(qfd);
	return err;
}
