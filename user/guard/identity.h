/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Which file is it: (device, inode, generation). An inode number is handed out again at once after an
 * unlink, so the generation is part of the identity. All calls here are async-signal-safe, allocate
 * nothing and leave errno alone.
 */
#ifndef SG_GUARD_IDENTITY_H
#define SG_GUARD_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct sg_file_id {
	uint64_t dev; /* st_dev, as user space sees it (makedev form) */
	uint64_t ino;
	uint32_t gen; /* FS_IOC_GETVERSION; 0 where the file system has none */
	uint32_t pad;
};

/* What a successful sync is worth on the file system a file lies on (DESIGN 2.6). */
enum sg_verdict {
	SG_VERDICT_UNKNOWN,	 /* a file system that we know nothing of */
	SG_VERDICT_DURABLE,	 /* ext4, xfs, btrfs and their like */
	SG_VERDICT_VOLATILE_RAM, /* tmpfs, ramfs: nothing survives a power cut */
	SG_VERDICT_NETWORK,	 /* nfs, cifs, …: what the server promises */
	SG_VERDICT_FUSE,	 /* what the user-space server does */
	SG_VERDICT_OVERLAY,	 /* as the upper layer; void if mounted volatile */
	SG_VERDICT_NOBARRIER,	 /* mounted so that no flush reaches the device */
	SG_VERDICT_INTERPOSED,	 /* a library such as libeatmydata turns syncs off beneath us */
	SG_VERDICT_MAX
};

static inline bool sg_file_id_equal(const struct sg_file_id *a, const struct sg_file_id *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->gen == b->gen;
}

/* Fill id and st for an open fd. Returns 0 or -errno (of fstat). */
int sg_identity(int fd, struct stat *st, struct sg_file_id *id);

/* Is fd still the file that id names? Costs one fstat and, for a regular file, one ioctl. st is filled. */
bool sg_identity_is(int fd, const struct sg_file_id *id, struct stat *st);

/*
 * When the file behind fd was made, ns since 1970; 0 where the file system or the kernel does not tell.
 *
 * An inode number is given again only when its last file is gone, so (device, inode, birth) says as much as
 * (device, inode, generation) does, but for two files of one number made within one tick of the clock. And one statx
 * tells all three, while the generation costs an ioctl of its own. So files are told apart by generation, and
 * whether a descriptor is still the file that it was is asked by birth.
 */
uint64_t sg_identity_born_ns(int fd);

/* As sg_identity_is(), where born_ns is what sg_identity_born_ns() said of that file. One statx, if it is not 0. */
bool sg_identity_still(int fd, const struct sg_file_id *id, uint64_t born_ns, struct stat *st);

/* The path that the kernel has for fd now, from /proc/self/fd. Returns its length or -errno;
 * -ENAMETOOLONG where it does not fit. */
int sg_identity_path(int fd, char *buf, size_t size);

/* What a sync of fd is worth, judged by its file system's type alone. */
enum sg_verdict sg_identity_verdict(int fd);

/* "durable", "volatile (RAM)", …: a static string. */
const char *sg_verdict_name(enum sg_verdict v);

#endif
