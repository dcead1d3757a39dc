// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * A new cursor is written whole under another name (.cursor-NAME, which is no consumer's), synced and then renamed: so
 * no crash leaves an empty one, of which nobody could say whether it had been something.
 */
#include "spool/cursor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/dir.h"

#define NAME_BYTES (sizeof(SG_CURSOR_PREFIX) + SPOOL_NAME_MAX + 1)
/* Somebody may delete or make the file between two steps; nobody does so for ever. */
#define OPEN_TRIES 16

/* ---- bytes ---- */

int sg_cursor_pick(const void *file, size_t len, struct sg_cursor *c)
{
	struct sg_cursor slot;
	int i, best = -EBADMSG;
	size_t at;

	for (i = 0; i < 2; i++) {
		at = (size_t)i * SG_CURSOR_STRIDE;
		if (at > len || !sg_cursor_read((const uint8_t *)file + at, len - at, &slot))
			continue;
		if (slot.generation == UINT64_MAX)
			continue; /* nothing could follow it */
		/* Two of one generation were never written; the lower number loses nothing. */
		if (best >= 0 && (slot.generation < c->generation ||
				  (slot.generation == c->generation && slot.acked >= c->acked)))
			continue;
		*c = slot;
		best = i;
	}
	return best;
}

static uint64_t offset_of(unsigned int slot)
{
	return (uint64_t)slot * SG_CURSOR_STRIDE;
}

/* The slot that counts, or -errno. */
static int load(int fd, const uint8_t *id, struct sg_cursor *c)
{
	uint8_t file[SG_CURSOR_FILE_BYTES];
	size_t got;
	int err, slot;

	err = sg_pread_all(fd, file, sizeof(file), 0, &got);
	if (err)
		return err;
	slot = sg_cursor_pick(file, got, c);
	if (slot >= 0 && memcmp(c->id, id, SPOOL_ID_BYTES) != 0)
		return -EBADMSG;
	return slot;
}

/* ---- taking it ---- */

static bool same_file(int dirfd, const char *name, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(dirfd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Open `name` and lock it: a descriptor, or -errno; -ESTALE: it went away meanwhile. */
static int open_locked(int dirfd, const char *name, int flags, uint32_t mode)
{
	int fd, err = 0;

	/* A FIFO of that name must not hang us. */
	fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags,
		    (mode_t)mode);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else if (!same_file(dirfd, name, fd))
		err = -ESTALE;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Both slots, so that from now on no write needs space, and one that is cut short leaves the other. */
static int write_first(int fd, const uint8_t *id)
{
	struct sg_cursor c = { .generation = 0 };
	uint8_t raw[SG_CURSOR_BYTES];
	unsigned int slot;
	int err = 0;

	memcpy(c.id, id, sizeof(c.id));
	if (ftruncate(fd, 0) != 0) /* of a creation that was cut short */
		return -errno;
	for (slot = 0; slot < 2 && !err; slot++) {
		c.generation++;
		sg_cursor_write(raw, &c);
		err = sg_pwrite_all(fd, raw, sizeof(raw), offset_of(slot));
	}
	if (!err && fdatasync(fd) != 0)
		err = -errno;
	return err;
}

/* A new one, held. Who makes one holds the file with the other name, so two never make it at once; -ESTALE: it is
 * there now. */
static int create(int dirfd, const char *name, const uint8_t *id, uint32_t mode)
{
	char other[NAME_BYTES + 1];
	struct stat st;
	int fd, err;

	snprintf(other, sizeof(other), ".%s", name);
	fd = open_locked(dirfd, other, O_CREAT, mode);
	if (fd < 0)
		return fd;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		unlinkat(dirfd, other, 0);
		close(fd);
		return -ESTALE;
	}
	err = write_first(fd, id);
	if (!err && renameat(dirfd, other, dirfd, name) != 0)
		err = -errno;
	if (!err)
		return fd;
	unlinkat(dirfd, other, 0);
	close(fd);
	return err;
}

static int take(int dirfd, const char *name, const uint8_t *id, uint32_t mode)
{
	int fd, tries;

	for (tries = 0; tries < OPEN_TRIES; tries++) {
		fd = open_locked(dirfd, name, 0, 0);
		if (fd == -ENOENT)
			fd = create(dirfd, name, id, mode);
		if (fd != -ESTALE)
			return fd;
	}
	return -ESTALE;
}

int sg_cursor_open(struct sg_cursor_file *c, int dirfd, const char *name,
		   const uint8_t id[SPOOL_ID_BYTES], uint32_t mode)
{
	char file[NAME_BYTES];
	int slot, err;

	*c = (struct sg_cursor_file){ .fd = -1 };
	if (!sg_cursor_name_ok(name))
		return -EINVAL;
	snprintf(file, sizeof(file), SG_CURSOR_PREFIX "%s", name);
	c->fd = take(dirfd, file, id, mode);
	if (c->fd < 0)
		return c->fd;
	slot = load(c->fd, id, &c->state);
	/* Also where it was there: whoever made it may not have come so far. */
	err = slot < 0 ? slot : sg_dir_sync(dirfd);
	if (err)
		sg_cursor_close(c);
	else
		c->slot = (unsigned int)slot;
	return err;
}

void sg_cursor_close(struct sg_cursor_file *c)
{
	if (c->fd >= 0)
		sg_dir_unlock(c->fd);
	c->fd = -1;
}

/* ---- storing ---- */

/* Whether the disk has it is not known, so nobody may count on it: others read this file before they delete. No error
 * can make it worse; the slot before it is durable. */
static void take_back(const struct sg_cursor_file *c, unsigned int slot)
{
	static const uint8_t nothing[SG_CURSOR_BYTES];

	(void)sg_pwrite_all(c->fd, nothing, sizeof(nothing), offset_of(slot));
}

int sg_cursor_store(struct sg_cursor_file *c, uint64_t acked, uint64_t time_ns)
{
	struct sg_cursor next = c->state;
	uint8_t raw[SG_CURSOR_BYTES];
	unsigned int slot = !c->slot;
	struct stat st;
	int err;

	if (c->error)
		return c->error;
	if (fstat(c->fd, &st) != 0)
		return -errno;
	if (st.st_nlink == 0)
		return -ESTALE;
	next.generation++;
	next.acked = acked;
	next.time_ns = time_ns;
	sg_cursor_write(raw, &next);
	err = sg_pwrite_all(c->fd, raw, sizeof(raw), offset_of(slot));
	if (err)
		return err;
	if (fdatasync(c->fd) != 0) {
		c->error = -errno;
		take_back(c, slot);
		return c->error;
	}
	c->state = next;
	c->slot = slot;
	return 0;
}

/* ---- those of all consumers ---- */

/* durable: make so what was read, after it was. */
static int peek(int dirfd, const char *file, const uint8_t *id, bool durable, struct sg_cursor *c)
{
	int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), err;

	if (fd < 0)
		return -errno;
	err = load(fd, id, c);
	if (err >= 0)
		err = durable && fdatasync(fd) != 0 ? -errno : 0;
	close(fd);
	return err;
}

static int each(int dirfd, const uint8_t *id, bool durable, sg_cursor_fn fn, void *arg)
{
	const size_t prefix = strlen(SG_CURSOR_PREFIX);
	struct sg_cursor c = { .acked = 0 };
	struct dirent *e;
	int err, bad;
	DIR *d;

	err = sg_dir_stream(dirfd, &d);
	if (err)
		return err;
	while (!err && (errno = 0, e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, SG_CURSOR_PREFIX, prefix) != 0)
			continue;
		bad = peek(dirfd, e->d_name, id, durable, &c);
		err = fn(arg, e->d_name + prefix, bad, bad ? NULL : &c);
	}
	if (!err)
		err = -errno;
	closedir(d);
	return err;
}

int sg_cursor_each(int dirfd, const uint8_t id[SPOOL_ID_BYTES], sg_cursor_fn fn, void *arg)
{
	return each(dirfd, id, false, fn, arg);
}

static int lower(void *arg, const char *consumer, int err, const struct sg_cursor *c)
{
	uint64_t *acked = arg;

	if (!err && c->acked < *acked)
		*acked = c->acked;
	return err;
}

int sg_cursor_least(int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t *acked)
{
	*acked = UINT64_MAX;
	return each(dirfd, id, true, lower, acked);
}

static int higher(void *arg, const char *consumer, int err, const struct sg_cursor *c)
{
	uint64_t *acked = arg;

	if (!err && c->acked > *acked)
		*acked = c->acked;
	return 0;
}

int sg_cursor_highest(int dirfd, const uint8_t id[SPOOL_ID_BYTES], uint64_t *acked)
{
	*acked = 0;
	return sg_cursor_each(dirfd, id, higher, acked);
}
