/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * observe_abi.h: keys and values of the observer's maps, shared by the eBPF object and user space.
 *
 * A file is (device, inode, generation): inode numbers are reused at once after an unlink, so the
 * generation is part of the key. The device is in the kernel's form, major << 20 | minor; on btrfs
 * it is the subvolume's anonymous device, as in st_dev. The key of all zeros is "other": what no
 * longer found room in a full map is folded into it.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC. Enums are used as types on purpose: the maps carry BTF,
 * and bpftool then prints names.
 */
#ifndef SG_OBSERVE_ABI_H
#define SG_OBSERVE_ABI_H

#include <linux/types.h>

#define SG_OBSERVE_ABI 1 /* raised when a key or a value changes its layout */
#define SG_COMM_LEN    16
#define SG_PATH_BYTES  1024 /* room for the names of a path; a longer one is cut at its root end */
#define SG_NAME_MAX    256
#define SG_PATH_DEPTH  24 /* names and mount crossings followed */

/* --- latency histogram: 4 buckets per octave, 1.024 us to 68 s --- */

#define SG_BUCKETS 106

/*
 * Bucket of a duration: 0 is below 1.024 us, then four per power of two, the last one open. The
 * guard's histogram uses the same function, so that the two can be compared bucket by bucket.
 */
static inline __u32 sg_bucket(__u64 ns)
{
	__u64 x = ns >> 10, y = x;
	__u32 o = 0, m, i;

	if (!x)
		return 0;
	if (y >> 32) {
		y >>= 32;
		o += 32;
	}
	if (y >> 16) {
		y >>= 16;
		o += 16;
	}
	if (y >> 8) {
		y >>= 8;
		o += 8;
	}
	if (y >> 4) {
		y >>= 4;
		o += 4;
	}
	if (y >> 2) {
		y >>= 2;
		o += 2;
	}
	if (y >> 1)
		o += 1;
	m = o >= 2 ? (x >> (o - 2)) & 3 : (x << (2 - o)) & 3;
	i = 1 + 4 * o + m;
	return i < SG_BUCKETS ? i : SG_BUCKETS - 1;
}

/* Least duration in ns that falls into bucket i. */
static inline __u64 sg_bucket_low_ns(__u32 i)
{
	__u32 o, m;

	if (!i)
		return 0;
	o = (i - 1) / 4;
	m = (i - 1) % 4;
	return ((((__u64)(4 + m)) << o) >> 2) << 10;
}

/* --- files --- */

/* What was done to the file. */
enum sg_op {
	SG_OP_WRITE,
	SG_OP_FSYNC,
	SG_OP_FDATASYNC,
	SG_OP_DSYNC_WRITE, /* the sync nested in a write with O_SYNC or O_DSYNC */
	SG_OP_MSYNC,
	SG_OP_SYNC_FILE_RANGE, /* no durability: it flushes no disk cache and no metadata */
	SG_OP_OTHER,
	SG_OPS
};

/* How it came into the kernel. */
enum sg_route {
	SG_ROUTE_SYSCALL,
	SG_ROUTE_OSYNC,
	SG_ROUTE_MMAP,
	SG_ROUTE_IO_URING,
	SG_ROUTE_AIO,
	SG_ROUTE_OTHER, /* the kernel's own, as a loop device's flush or overlayfs copying up */
	SG_ROUTES
};

struct sg_file_key {
	__u64 ino;
	__u32 dev;
	__u32 gen;
};

struct sg_file_rec {
	__u64 first_ns;
	__u64 last_ns;
	__u64 written_bytes;   /* by writes that were not durable when they returned */
	__u64 durable_bytes;   /* written_bytes as it was when the last successful sync began */
	__u64 written_records; /* the same in calls */
	__u64 durable_records;
	__u64 max_risk_bytes; /* greatest written less durable, taken after each write */
	__u64 max_risk_records;
	__u64 oldest_ns;  /* no write at risk is older than this; 0: none is at risk */
	__u64 synced_ns;  /* when that sync began */
	__u64 unknown_ns; /* last dirtied by a route that does not say how many bytes */
	__u64 failed_ns;  /* last failed sync, 0: none */
	__s32 failed_errno;
	enum sg_route unknown_route;
	__u32 first_tgid; /* first and last to write or sync it */
	__u32 last_tgid;
	char first_comm[SG_COMM_LEN];
	char last_comm[SG_COMM_LEN];
	__u32 mode;	/* st_mode */
	__u32 fs_magic; /* f_type of statfs(2) */
};

enum sg_path_flag {
	SG_PATH_FROM_INODE =
		1, /* seen without an open file: names reach up to the file system's root only */
	SG_PATH_CUT = 2,      /* names are missing at the root end */
	SG_PATH_UNLINKED = 4, /* no name left when the path was read */
};

/* The names of a file from the leaf up, each closed by a zero byte. */
struct sg_path {
	__u32 bytes; /* used of names[] */
	__u32 flags; /* enum sg_path_flag */
	char names[SG_PATH_BYTES + SG_NAME_MAX];
};

/* --- counts --- */

struct sg_stat_key {
	struct sg_file_key file;
	enum sg_op op;
	enum sg_route route;
};

struct sg_stat {
	__u64 count;
	__u64 errors;
	__u64 untimed; /* of count: seen to begin, but this tier cannot see end and result */
	__u64 bytes;
	__u64 total_ns;
	__u64 max_ns;
	__u64 last_ns; /* when the last one ended */
	__s32 last_errno;
	__u32 pad;
	__u64 hist[SG_BUCKETS];
};

struct sg_error_key {
	struct sg_file_key file;
	enum sg_op op;
	__s32 error; /* errno, positive */
};

struct sg_error_count {
	__u64 count;
	__u64 last_ns;
};

/* Syncs of a file by process: fsync, fdatasync, msync and those nested in O_SYNC writes. */
struct sg_sync_key {
	struct sg_file_key file;
	__u32 tgid;
	enum sg_route route;
};

struct sg_sync_count {
	__u64 count;
	__u64 errors;
	__u64 last_ns;
};

/* --- in flight --- */

/* An O_SYNC write nests a sync: one task can have one of each in flight. */
enum sg_class { SG_CLASS_WRITE, SG_CLASS_SYNC };

enum sg_inflight_flag {
	SG_INFLIGHT_PENDING = 1,  /* the call was entered, its file is not known yet: no sync yet */
	SG_INFLIGHT_FULL = 2,	  /* covers the whole file */
	SG_INFLIGHT_DURABLE = 4,  /* a write that is durable when it returns */
	SG_INFLIGHT_NEST_ERR = 8, /* the sync nested in this write failed */
};

/* Which hook opened the entry, so that only its counterpart closes it. */
enum sg_origin {
	SG_ORIGIN_VFS, /* functions of the VFS */
	SG_ORIGIN_SYSCALL,
	SG_ORIGIN_FS,	    /* tracepoints of the file system, enter and exit */
	SG_ORIGIN_FS_ENTER, /* a file system with an enter tracepoint only: ends with the call */
	SG_ORIGIN_IO_URING,
};

struct sg_inflight_key {
	__u64 id; /* tgid << 32 | tid, or the address of an io_uring request */
	enum sg_class class;
	__u32 pad;
};

struct sg_inflight {
	struct sg_file_key file;
	__u64 start_ns;
	__u64 mark_bytes; /* written_bytes when it began */
	__u64 mark_records;
	__u64 bytes; /* asked for */
	__u64 frame; /* stack address of the hook: tells a nested call from a lost end */
	__u32 tgid;
	__u32 tid;
	enum sg_op op;
	enum sg_route route;
	enum sg_origin origin;
	__u32 depth; /* hooks passed within this one: not counted again */
	__u32 flags; /* enum sg_inflight_flag */
	__u32 pad;
	char comm[SG_COMM_LEN];
};

/* --- block devices --- */

enum sg_dev_op {
	SG_DEV_READ,
	SG_DEV_WRITE,
	SG_DEV_FLUSH,
	SG_DEV_DISCARD,
	SG_DEV_OTHER,
	SG_DEV_OPS
};

struct sg_dev_key {
	__u32 dev;
	enum sg_dev_op op;
};

struct sg_rq {
	struct sg_dev_key dev;
	__u64 start_ns;
	__u64 bytes;
};

/* --- writeback errors --- */

struct sg_wb_error {
	__u64 recorded; /* filemap_set_wb_err */
	__u64 recorded_ns;
	__u64 reported; /* handed to a caller by file_check_and_advance_wb_err */
	__u64 reported_ns;
	__s32 last_errno;
	__u32 unreported; /* 1: nobody was told of the last one yet */
	__u32 reported_tgid;
	char reported_comm[SG_COMM_LEN];
	__u32 writer_tgid; /* last writer when the error was recorded */
};

/* --- drops, settings, owner --- */

enum sg_drop {
	SG_DROP_FILES_FULL,    /* folded into "other" */
	SG_DROP_STATS_FULL,    /* folded into "other" */
	SG_DROP_SYNCS_FULL,    /* by process: not counted there */
	SG_DROP_ERRORS_FULL,   /* by errno: not counted there, the error is in the file's stat */
	SG_DROP_INFLIGHT_FULL, /* this call was not measured at all */
	SG_DROP_PATHS_FULL,    /* file without a path */
	SG_DROP_RQS_FULL,      /* this block request was not measured */
	SG_DROP_DEVICES_FULL,
	SG_DROP_WB_ERRORS_FULL,
	SG_DROP_LOST_END,  /* a call whose end was not seen */
	SG_DROP_AIO_BATCH, /* requests of one io_submit past those looked at */
	SG_DROPS
};

enum sg_config_flag {
	SG_CONFIG_TGIDS = 1,	 /* only processes in map filter_tgids */
	SG_CONFIG_CGROUPS = 2,	 /* only below cgroups in map filter_cgroups */
	SG_CONFIG_DEVS = 4,	 /* only file systems in map filter_devs */
	SG_CONFIG_ALL_TYPES = 8, /* also what is neither a regular file nor a directory */
};

struct sg_config {
	__u32 flags; /* enum sg_config_flag; may be changed while running */
	__u32 pad;
};

enum sg_tier {
	SG_TIER_AUTO,
	SG_TIER_FENTRY,
	SG_TIER_KPROBE,
	SG_TIER_TP_BTF,
	SG_TIER_TRACEPOINT,
	SG_TIERS
};

/* Hooks that are attached, as bits of sg_owner.hooks. */
enum sg_hook {
	SG_HOOK_VFS_FSYNC_RANGE,
	SG_HOOK_VFS_FSYNC,
	SG_HOOK_FSYNC_CALLS, /* fsync and fdatasync themselves */
	SG_HOOK_FSYNC_CALLS32,
	SG_HOOK_VFS_WRITE,
	SG_HOOK_VFS_WRITEV,
	SG_HOOK_SYNC_FILE_RANGE,
	SG_HOOK_IO_SUBMIT,
	SG_HOOK_SYSCALLS,
	SG_HOOK_EXT4,
	SG_HOOK_XFS,
	SG_HOOK_BTRFS,
	SG_HOOK_IO_URING,
	SG_HOOK_DIRTY,
	SG_HOOK_BLOCK,
	SG_HOOK_WB_ERR,
	SG_HOOKS
};

/* Who started the observer that these maps belong to. */
struct sg_owner {
	__u32 abi; /* SG_OBSERVE_ABI */
	__u32 pid;
	__u64 pid_start_ticks; /* field 22 of /proc/PID/stat: a reused pid is not the owner */
	__u64 started_ns;
	enum sg_tier tier;
	__u32 hooks; /* bits of enum sg_hook */
};

#endif
