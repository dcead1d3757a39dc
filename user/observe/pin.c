// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Pins: one directory of a BPF file system holds the maps (by name) and the links (link_NAME), 0600 in
 * a 0700 directory. Two starts at once are kept apart by a lock on that directory.
 *
 * Where /sys/fs/bpf is no BPF file system we do not mount one there: that place is the system's. One
 * of our own at /run/spoolguard/bpf goes away with the last pin.
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

static bool is_bpffs(const char *dir)
{
	struct statfs s;

	return !statfs(dir, &s) && (unsigned long)s.f_type == BPF_FS_MAGIC;
}

const char *sg_observe_pin_dir(void)
{
	return is_bpffs(SYSTEM_BPFFS) ? SYSTEM_BPFFS "/spoolguard" : OWN_BPFFS "/spoolguard";
}

static int mount_own(char *note)
{
	snprintf(note, SG_OBSERVE_TEXT_MAX, "%s is no BPF file system: pinned on one mounted at %s",
		 SYSTEM_BPFFS, OWN_BPFFS);
	if (is_bpffs(OWN_BPFFS))
		return 0;
	if ((mkdir(OWN_PARENT, 0755) && errno != EEXIST) ||
	    (mkdir(OWN_BPFFS, 0700) && errno != EEXIST))
		return -errno;
	if (mount("bpf", OWN_BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return -errno;
	mount("", OWN_BPFFS, "", MS_PRIVATE, NULL);
	return 0;
}

int sg_pin_find(const char *pin_dir, char dir[256])
{
	if (snprintf(dir, 256, "%s", pin_dir ? pin_dir : sg_observe_pin_dir()) >= 256)
		return -ENAMETOOLONG;
	return access(dir, F_OK) ? -errno : 0;
}

/* Somebody who removes the directory while we wait for its lock leaves us with a dead one: again. */
static int lock_dir(const char *dir, int *lock_fd)
{
	struct stat here, there;
	int fd;

	for (;;) {
		if (mkdir(dir, 0700) && errno != EEXIST)
			return -errno;
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && errno != ENOENT)
			return -errno;
		if (fd < 0)
			continue;
		if (!flock(fd, LOCK_EX) && !fstat(fd, &here) && !stat(dir, &there) &&
		    here.st_ino == there.st_ino && here.st_dev == there.st_dev)
			break;
		close(fd);
	}
	*lock_fd = fd;
	return 0;
}

int sg_pin_lock(const char *pin_dir, char dir[256], char *note, int *lock_fd)
{
	int rc;

	*lock_fd = -1;
	if (!pin_dir && !is_bpffs(SYSTEM_BPFFS)) {
		rc = mount_own(note);
		if (rc)
			goto out;
	}
	rc = sg_pin_find(pin_dir, dir);
	if (rc == -ENOENT)
		rc = 0;
	if (!rc)
		rc = lock_dir(dir, lock_fd);
	if (!rc && !is_bpffs(dir)) {
		sg_pin_unlock(*lock_fd);
		rmdir(dir);
		rc = -ENOTDIR;
	}
out:
	if (rc)
		snprintf(note, SG_OBSERVE_TEXT_MAX, "not pinned: %s: %s", dir[0] ? dir : OWN_BPFFS,
			 rc == -ENOTDIR ? "not on a BPF file system" : strerror(-rc));
	return rc;
}

void sg_pin_unlock(int lock_fd)
{
	if (lock_fd >= 0)
		close(lock_fd);
}

int sg_pin_all(struct sg_observe *o)
{
	char path[512];
	size_t i;
	int rc;

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
			while (i--)
				close(o->fd[i]);
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

int sg_pin_clear(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (is_bpffs(dir)) {
		unlink_pins(fd, true);
		unlink_pins(fd, false);
	}
	close(fd);
	return 0;
}

int sg_pin_remove_all(const char *dir)
{
	int rc = sg_pin_clear(dir);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (rmdir(dir) && errno != ENOENT)
		rc = -errno;
	if (!strcmp(dir, OWN_BPFFS "/spoolguard") && !rc && !umount2(OWN_BPFFS, 0)) {
		rmdir(OWN_BPFFS);
		rmdir(OWN_PARENT);
	}
	return rc;
}
