// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Pins: one directory of a BPF file system holds the maps (by name) and the links (link_NAME), 0600 in
 * a 0700 directory.
 *
 * Two locks, both on directories that nobody but root can open, and both freed by the kernel when their
 * holder dies:
 *
 *   - flock(2) on the pin directory: exclusive while pins are made or removed, from the look at what is
 *     there to the last pin; shared while they are opened.
 *   - A read lock (F_OFD_SETLK) on the directory "users" in it, as long as somebody uses the observer.
 *     F_OFD_GETLK tells whether another one does, without taking anything. It is taken and given back
 *     under the first lock. Each observer has a "users" of its own: who finds another one there than
 *     his leaves the pins alone.
 *
 * Where /sys/fs/bpf is no BPF file system we do not mount one there: that place is the system's. One
 * of our own at /run/spoolguard/bpf goes away with the last pin; a lock file beside it is held around
 * all of this, since the pin directory cannot be locked before the mount is there. /run/spoolguard stays:
 * brokers put their sockets there at any time.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "internal.h"

#define SYSTEM_BPFFS "/sys/fs/bpf"
#define OWN_PARENT   "/run/spoolguard"
#define OWN_BPFFS    OWN_PARENT "/bpf"
#define OWN_DIR	     OWN_BPFFS "/spoolguard"
#define OWN_LOCK     OWN_PARENT "/bpf.lock"
#define USERS	     "users"

static bool is_bpffs(const char *dir)
{
	struct statfs s;

	return !statfs(dir, &s) && (unsigned long)s.f_type == BPF_FS_MAGIC;
}

const char *sg_observe_pin_dir(void)
{
	return is_bpffs(SYSTEM_BPFFS) ? SYSTEM_BPFFS "/spoolguard" : OWN_DIR;
}

static void forget_own(void)
{
	rmdir(OWN_BPFFS);
	unlink(OWN_LOCK);
}

static int mount_own(void)
{
	int rc = 0;

	if (is_bpffs(OWN_BPFFS))
		return 0;
	if ((mkdir(OWN_BPFFS, 0700) && errno != EEXIST) ||
	    mount("bpf", OWN_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		rc = -errno;
	if (rc)
		forget_own();
	else
		mount("", OWN_BPFFS, "", MS_PRIVATE, NULL);
	return rc;
}

/* Detached, since a reader may be looking into it just now. */
static void unmount_own(void)
{
	if (!umount2(OWN_BPFFS, MNT_DETACH))
		forget_own();
}

int sg_pin_dir(const char *pin_dir, char dir[256])
{
	if (snprintf(dir, 256, "%s", pin_dir ? pin_dir : sg_observe_pin_dir()) >= 256)
		return -ENAMETOOLONG;
	return 0;
}

/* --- locks --- */

/* 1 when the path leads elsewhere by now: whoever removes it while we wait leaves us with a dead one. */
static int lock_once(const char *path, int flags, int how, int *out)
{
	struct stat here, there;
	int rc = 0, fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, how) && !rc)
		rc = errno == EINTR ? 0 : -errno;
	if (!rc && (fstat(fd, &here) || lstat(path, &there) || here.st_ino != there.st_ino ||
		    here.st_dev != there.st_dev))
		rc = 1;
	if (rc)
		close(fd);
	else
		*out = fd;
	return rc;
}

/* `make`: the directory to make first, the path itself or the one that a file is to be made in; or NULL. */
static int lock_path(const char *path, int flags, const char *make, mode_t mode, int how, int *out)
{
	int rc;

	do {
		if (make && mkdir(make, mode) && errno != EEXIST)
			return -errno;
		rc = lock_once(path, flags, how, out);
	} while (rc > 0 || (make && rc == -ENOENT));
	return rc;
}

static int lock_own(enum sg_pin_access access, int how, int *fd)
{
	bool make = access == SG_PIN_MAKE;
	int rc = lock_path(OWN_LOCK, O_RDWR | (make ? O_CREAT : 0), make ? OWN_PARENT : NULL, 0755,
			   how, fd);

	return rc || !make ? rc : mount_own();
}

static int lock_dir(const char *dir, enum sg_pin_access access, int how, int *fd)
{
	bool make = access == SG_PIN_MAKE;
	struct statfs s;
	int rc = lock_path(dir, O_RDONLY | O_DIRECTORY, make ? dir : NULL, 0700, how, fd);

	if (rc)
		return rc;
	if (!fstatfs(*fd, &s) && (unsigned long)s.f_type == BPF_FS_MAGIC)
		return 0;
	if (make)
		rmdir(dir);
	return make ? -ENOTDIR : -ENOENT;
}

int sg_pin_lock(const char *dir, enum sg_pin_access access, struct sg_pin_lock *lock)
{
	int rc = 0, how = access == SG_PIN_READ ? LOCK_SH : LOCK_EX;

	*lock = (struct sg_pin_lock){ -1, -1 };
	if (!strcmp(dir, OWN_DIR))
		rc = lock_own(access, how, &lock->own_fd);
	if (!rc)
		rc = lock_dir(dir, access, how, &lock->dir_fd);
	if (rc)
		sg_pin_unlock(lock);
	return rc;
}

void sg_pin_unlock(struct sg_pin_lock *lock)
{
	if (lock->dir_fd >= 0)
		close(lock->dir_fd);
	if (lock->own_fd >= 0)
		close(lock->own_fd);
	*lock = (struct sg_pin_lock){ -1, -1 };
}

void sg_pin_note(const char *dir, int rc, char note[SG_OBSERVE_TEXT_MAX])
{
	if (rc)
		snprintf(note, SG_OBSERVE_TEXT_MAX, "not pinned: %s: %s", dir,
			 rc == -ENOTDIR ? "not on a BPF file system" : strerror(-rc));
	else if (!strcmp(dir, OWN_DIR))
		snprintf(note, SG_OBSERVE_TEXT_MAX,
			 "%s is no BPF file system: pinned on one mounted at %s", SYSTEM_BPFFS,
			 OWN_BPFFS);
}

/* --- users --- */

int sg_pin_users(const struct sg_pin_lock *lock, struct sg_pin_id *id)
{
	int fd = openat(lock->dir_fd, USERS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		close(fd);
		return -EIO;
	}
	*id = (struct sg_pin_id){ st.st_dev, st.st_ino };
	return fd;
}

int sg_pin_use(int users_fd)
{
	struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	return fcntl(users_fd, F_OFD_SETLK, &l) ? -errno : 0;
}

bool sg_pin_used(int users_fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(users_fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

bool sg_pin_is(const struct sg_pin_lock *lock, const struct sg_pin_id *id)
{
	struct stat st;

	return !fstatat(lock->dir_fd, USERS, &st, AT_SYMLINK_NOFOLLOW) && st.st_dev == id->dev &&
	       st.st_ino == id->ino;
}

/* --- pins --- */

static int make_users(struct sg_observe *o, const struct sg_pin_lock *lock)
{
	int fd;

	if (mkdirat(lock->dir_fd, USERS, 0700))
		return -errno;
	fd = sg_pin_users(lock, &o->id);
	if (fd < 0)
		return fd;
	o->users_fd = fd;
	return sg_pin_use(fd);
}

int sg_pin_all(struct sg_observe *o, const struct sg_pin_lock *lock)
{
	char path[512];
	size_t i;
	int rc = make_users(o, lock);

	if (rc)
		return rc;
	for (i = 0; i < SG_MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", o->pin_dir, sg_map_desc[i].name);
		rc = bpf_obj_pin(o->fd[i], path);
		if (rc)
			return -errno;
	}
	for (i = 0; i < o->links; i++) {
		/* "tb_sys_enter": the prefix is the program's kind, which the tier says already. */
		snprintf(path, sizeof(path), "%s/link_%s", o->pin_dir, o->link_name[i]);
		rc = bpf_link__pin(o->link[i], path);
		if (rc)
			return rc;
	}
	return 0;
}

static int open_map(const char *dir, const struct sg_map_desc *d)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, d->name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) || info.key_size != d->key_size ||
	    info.value_size != d->value_size) {
		close(fd);
		return -EPROTO;
	}
	return fd;
}

int sg_pin_open(struct sg_observe *o, const char *dir)
{
	int i;

	for (i = 0; i < SG_MAPS; i++) {
		int fd = open_map(dir, &sg_map_desc[i]);

		if (fd < 0) {
			while (i--) {
				close(o->fd[i]);
				o->fd[i] = -1;
			}
			return fd;
		}
		o->fd[i] = fd;
	}
	o->pinned = true;
	return 0;
}

/* Links first: nothing counts into maps that are going away. */
static void unlink_pins(int dir_fd, bool links)
{
	DIR *d = fdopendir(dup(dir_fd));
	struct dirent *e;

	if (!d)
		return;
	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && !strncmp(e->d_name, "link_", 5) == links)
			unlinkat(dir_fd, e->d_name, 0);
	closedir(d);
}

void sg_pin_clear(const struct sg_pin_lock *lock)
{
	unlink_pins(lock->dir_fd, true);
	unlink_pins(lock->dir_fd, false);
	unlinkat(lock->dir_fd, USERS, AT_REMOVEDIR);
}

int sg_pin_remove(const char *dir, struct sg_pin_lock *lock)
{
	int rc = 0;

	sg_pin_clear(lock);
	if (rmdir(dir) && errno != ENOENT)
		rc = -errno;
	close(lock->dir_fd);
	lock->dir_fd = -1;
	if (!rc && lock->own_fd >= 0)
		unmount_own();
	return rc;
}
