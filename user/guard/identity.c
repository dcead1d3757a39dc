// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/identity.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guard/sys.h"

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

static bool ask(int fd, struct statx *x)
{
	int saved = errno;
	bool told = sg_sys_statx(fd, STATX_BASIC_STATS | STATX_BTIME, x) == 0 &&
		    (x->stx_mask & STATX_BTIME);

	errno = saved;
	return told;
}

static uint64_t time_ns(const struct statx_timestamp *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + t->tv_nsec;
}

uint64_t sg_identity_born_ns(int fd)
{
	struct statx x;

	return ask(fd, &x) ? time_ns(&x.stx_btime) : 0;
}

static struct timespec timespec_of(const struct statx_timestamp *t)
{
	return (struct timespec){ t->tv_sec, t->tv_nsec };
}

bool sg_identity_still(int fd, const struct sg_file_id *id, uint64_t born_ns, struct stat *st)
{
	struct statx x;

	if (!born_ns || !ask(fd, &x))
		return sg_identity_is(fd, id, st);
	memset(st, 0, sizeof(*st));
	st->st_dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	st->st_ino = x.stx_ino;
	st->st_mode = x.stx_mode;
	st->st_nlink = x.stx_nlink;
	st->st_uid = x.stx_uid;
	st->st_gid = x.stx_gid;
	st->st_size = (off_t)x.stx_size;
	st->st_blksize = x.stx_blksize;
	st->st_blocks = (blkcnt_t)x.stx_blocks;
	st->st_atim = timespec_of(&x.stx_atime);
	st->st_mtim = timespec_of(&x.stx_mtime);
	st->st_ctim = timespec_of(&x.stx_ctime);
	return time_ns(&x.stx_btime) == born_ns && st->st_ino == id->ino && st->st_dev == id->dev;
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
