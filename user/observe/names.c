// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Names of the observer's enums, and what each tier cannot see. */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "observe.h"

#define NAME_OF(names, i) ((size_t)(i) < sizeof(names) / sizeof((names)[0]) ? (names)[i] : "?")

static const char *const tier_names[] = { "auto", "fentry", "kprobe", "tp_btf", "tracepoint" };
static const char *const op_names[] = { "write", "fsync",	    "fdatasync", "dsync-write",
					"msync", "sync_file_range", "other" };
static const char *const route_names[] = { "syscall", "osync", "mmap", "io_uring", "aio", "other" };
static const char *const dev_op_names[] = { "read", "write", "flush", "discard", "other" };
static const char *const drop_names[] = {
	"files_full",	  "stats_full", "syncs_full",	 "errors_full",
	"inflight_full",  "paths_full", "requests_full", "devices_full",
	"wb_errors_full", "lost_end",	"aio_batch",
};
static const char *const hook_names[] = {
	"vfs_fsync_range", "vfs_fsync", "fsync_calls", "fsync_calls32", "vfs_write", "vfs_writev",
	"sync_file_range", "io_submit", "syscalls",    "ext4",		"xfs",	     "btrfs",
	"io_uring",	   "dirty",	"block",       "wb_err",
};

const char *sg_tier_name(enum sg_tier tier)
{
	return NAME_OF(tier_names, tier);
}

const char *sg_observe_op_name(enum sg_op op)
{
	return NAME_OF(op_names, op);
}

const char *sg_route_name(enum sg_route route)
{
	return NAME_OF(route_names, route);
}

const char *sg_dev_op_name(enum sg_dev_op op)
{
	return NAME_OF(dev_op_names, op);
}

const char *sg_drop_name(enum sg_drop cause)
{
	return NAME_OF(drop_names, cause);
}

const char *sg_hook_name(enum sg_hook hook)
{
	return NAME_OF(hook_names, hook);
}

int sg_tier_parse(const char *name)
{
	int i;

	for (i = 0; i < SG_TIERS; i++)
		if (!strcmp(name, tier_names[i]))
			return i;
	return -EINVAL;
}

/* A hook that is missing hides a route; some routes a tier hides with all its hooks. */
static const struct unseen {
	bool vfs_tier; /* fentry and kprobe, or the two tracepoint tiers */
	int without;   /* enum sg_hook, or -1: always */
	const char *text;
} unseen[] = {
	{ true, SG_HOOK_VFS_WRITEV, "writev: not measured; bytes at risk are unknown" },
	{ true, SG_HOOK_FSYNC_CALLS32, "32-bit programs: fsync and fdatasync may pass unseen" },
	{ true, SG_HOOK_SYNC_FILE_RANGE, "sync_file_range: not seen" },
	{ true, SG_HOOK_IO_SUBMIT,
	  "aio writes: not counted; bytes at risk are unknown for buffered ones" },
	{ true, -1, "sendfile, splice, copy_file_range: not measured; bytes at risk are unknown" },
	{ false, SG_HOOK_EXT4, "ext4: msync, and syncs nested in O_SYNC writes, are not seen" },
	{ false, SG_HOOK_XFS, "xfs: msync, and syncs nested in O_SYNC writes, are not seen" },
	{ false, SG_HOOK_BTRFS, "btrfs: msync, and syncs nested in O_SYNC writes, are not seen" },
	{ false, -1, "xfs, btrfs: aio fsync is counted without time and result" },
	{ false, -1,
	  "file systems other than ext4, xfs, btrfs: msync, aio fsync and syncs nested in "
	  "O_SYNC writes are not seen" },
	{ false, -1,
	  "32-bit programs: writes are not measured, syncs only by ext4, xfs and btrfs" },
};

static const struct unseen always[] = {
	{ false, SG_HOOK_IO_URING,
	  "io_uring: writes, and syncs but for those seen in vfs_fsync_range or "
	  "ext4, are not seen" },
	{ false, SG_HOOK_DIRTY,
	  "mmap, io_uring and aio writers are not found: their bytes at risk show as 0" },
	{ false, SG_HOOK_BLOCK, "block devices are not measured" },
	{ false, SG_HOOK_WB_ERR, "writeback errors are not seen" },
	{ false, -1, "aio and io_uring writes: bytes at risk are unknown" },
	{ false, -1, "sync and syncfs: bytes that they make durable still count as at risk" },
};

const char *sg_observe_unseen(const struct sg_observe_info *info, size_t i)
{
	bool vfs = info->tier == SG_TIER_FENTRY || info->tier == SG_TIER_KPROBE;
	size_t k;

	for (k = 0; k < sizeof(unseen) / sizeof(unseen[0]); k++) {
		const struct unseen *u = &unseen[k];

		if (u->vfs_tier == vfs && (u->without < 0 || !(info->hooks & 1U << u->without)) &&
		    !i--)
			return u->text;
	}
	for (k = 0; k < sizeof(always) / sizeof(always[0]); k++)
		if ((always[k].without < 0 || !(info->hooks & 1U << always[k].without)) && !i--)
			return always[k].text;
	return NULL;
}

dev_t sg_dev_from_kernel(__u32 dev)
{
	return makedev(dev >> 20, dev & 0xfffff);
}

__u32 sg_dev_to_kernel(dev_t dev)
{
	return major(dev) << 20 | minor(dev);
}
