// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/identity.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#ifndef ZFS_SUPER_MAGIC
#define ZFS_SUPER_MAGIC 0x2fc12fc1
#endif

/* Only regular files and directories: on a device the same ioctl number may mean anything. */
static uint32_t generation(int fd, mode_t mode)
{
	long gen = 0;

	if (!S_ISREG(mode) && !S_ISDIR(mode))
		return 0;
	/* The ABI says long, every file system writes an int. */
	if (ioctl(fd, FS_IOC_GETVERSION, &gen) != 0)
		return 0;
	return (uint32_t)gen;
}

int sg_identity(int fd, struct stat *st, struct sg_file_id *id)
{
	int saved = errno;
	int err;

	if (fstat(fd, st) != 0) {
		err = -errno;
		errno = saved;
		return err;
	}
	id->dev = st->st_dev;
	id->ino = st->st_ino;
	id->gen = generation(fd, st->st_mode);
	id->pad = 0;
	errno = saved;
	return 0;
}

bool sg_identity_is(int fd, const struct sg_file_id *id, struct stat *st)
{
	struct sg_file_id now = { 0 };

	return sg_identity(fd, st, &now) == 0 && sg_file_id_equal(&now, id);
}

int sg_identity_path(int fd, char *buf, size_t size)
{
	char link[32] = "/proc/self/fd/";
	char digits[12];
	size_t n = 14, d = sizeof(digits);
	unsigned int v = (unsigned int)fd;
	int saved = errno;
	ssize_t len;

	do {
		digits[--d] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	memcpy(link + n, digits + d, sizeof(digits) - d);
	link[n + sizeof(digits) - d] = '\0';

	len = readlink(link, buf, size);
	if (len < 0)
		len = -errno;
	else if ((size_t)len >= size)
		len = -ENAMETOOLONG;
	else
		buf[len] = '\0';
	errno = saved;
	return (int)len;
}

static long magic_of(int fd)
{
	struct statfs fs;
	int saved = errno;
	long magic = fstatfs(fd, &fs) == 0 ? (long)(fs.f_type & 0xffffffff) : 0;

	errno = saved;
	return magic;
}

enum sg_verdict sg_identity_verdict(int fd)
{
	switch (magic_of(fd)) {
	case EXT4_SUPER_MAGIC: /* ext2, ext3 and ext4 share it */
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case ZFS_SUPER_MAGIC:
		return SG_VERDICT_DURABLE;
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case HUGETLBFS_MAGIC:
		return SG_VERDICT_VOLATILE_RAM;
	case NFS_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case V9FS_MAGIC:
		return SG_VERDICT_NETWORK;
	case FUSE_SUPER_MAGIC:
		return SG_VERDICT_FUSE;
	case OVERLAYFS_SUPER_MAGIC:
		return SG_VERDICT_OVERLAY;
	default:
		return SG_VERDICT_UNKNOWN;
	}
}

const char *sg_verdict_name(enum sg_verdict v)
{
	static const char *const names[] = {
		[SG_VERDICT_UNKNOWN] = "unknown",
		[SG_VERDICT_DURABLE] = "durable",
		[SG_VERDICT_VOLATILE_RAM] = "volatile (RAM)",
		[SG_VERDICT_NETWORK] = "as the server promises",
		[SG_VERDICT_FUSE] = "as the FUSE server does",
		[SG_VERDICT_OVERLAY] = "as the upper layer",
		[SG_VERDICT_NOBARRIER] = "void (mounted without barriers)",
		[SG_VERDICT_INTERPOSED] = "void (a library beneath turns syncs off)",
	};

	return v < SG_VERDICT_MAX ? names[v] : names[SG_VERDICT_UNKNOWN];
}
