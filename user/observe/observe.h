/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * observe.h: start, find, read and stop the eBPF observer.
 *
 * Calls return 0 or a positive count, or -errno; nothing is printed. A handle may be used by one
 * thread at a time; two handles of one observer may be used at once, in one process or in two.
 * No call is async-signal-safe. Times are nanoseconds of CLOCK_MONOTONIC, sizes are bytes.
 *
 * The observer lives in pinned maps and links: it goes on measuring when the process that started it
 * ends, until sg_observe_stop, or until the last of its users leaves (sg_observe_leave). A user is a
 * handle from sg_observe_start; one whose process dies counts no more. Start, open, leave and stop are
 * kept apart by a lock, also between processes, and may wait for each other for seconds. Reading needs
 * root (CAP_BPF and CAP_PERFMON, and the 0600 pins).
 *
 * Shape after libbpf's own handles and bpftool's "prog show pids"; bcc's filetop and syncsnoop are
 * what it replaces.
 */
#ifndef SG_OBSERVE_H
#define SG_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "observe_abi.h"

struct sg_observe;

#define SG_OBSERVE_PATH_MAX 1280
#define SG_OBSERVE_TEXT_MAX 512

/* --- start and stop --- */

enum sg_observe_existing {
	SG_EXISTING_REUSE, /* take over one that fits (same layout and tier; filters given replace its), else replace it */
	SG_EXISTING_REPLACE, /* stop it and start anew, from zero */
	SG_EXISTING_FAIL,    /* -EEXIST */
	SG_EXISTING_SHARE, /* share one in use that fits, with no filter given, as it is; replace one without users */
};

/* Zeroed: best tier, default pin directory, no filter, reuse what runs. */
struct sg_observe_options {
	enum sg_tier tier; /* SG_TIER_AUTO, or that one or nothing */
	enum sg_observe_existing existing;
	const char *pin_dir;   /* NULL: default (see sg_observe_pin_dir); "": no pins */
	const char *btf_path;  /* BTF of the running kernel if it exports none, or NULL */
	const char *path_glob; /* files shown by sg_observe_each_file, fnmatch(3); NULL: all */
	const __u32 *tgids;    /* only these processes; */
	size_t tgids_n;
	const __u64 *cgroup_ids; /* only below these cgroups (inode number in cgroup2); */
	size_t cgroup_ids_n;
	const dev_t *devs; /* only these file systems (st_dev) */
	size_t devs_n;
	bool all_types;	 /* pipes, devices and sockets too */
	__u32 max_files; /* sizes of the maps, 0: default (4096 files, 8192 counts) */
	__u32 max_stats;
	__u32 max_inflight;
};

/*
 * Load and attach the observer: the best tier that really attaches, or the one asked for.
 *
 * -EPERM   not root; -EEXIST  one runs and SG_EXISTING_FAIL was asked for
 * -EBUSY   one is in use that does not fit or was to be replaced
 * -ENOTSUP no tier attaches (sg_observe_probe_text tells why); -EINVAL a bad option
 *          (also when the kernel exports no BTF and btf_path is NULL); other values from bpf(2)
 */
int sg_observe_start(const struct sg_observe_options *options, struct sg_observe **out);

/*
 * Open an observer that runs already, by its pins. pin_dir as in the options.
 * -ENOENT none runs; -EPERM not root; -EPROTO its maps have another layout (replace it).
 */
int sg_observe_open(const char *pin_dir, struct sg_observe **out);

/*
 * Detach, remove all pins (and the mount made for them) whoever else uses them, free the handle. Also
 * after sg_observe_open. Pins that are another observer's by now are left alone.
 */
int sg_observe_stop(struct sg_observe *o);

/* The same if nobody else uses it; else sg_observe_close. */
int sg_observe_leave(struct sg_observe *o);

/* Free the handle. A pinned observer goes on, one without pins ends. NULL is allowed. */
void sg_observe_close(struct sg_observe *o);

/* Remove pins that no sg_observe_open accepts any more. 0 also when there are none. */
int sg_observe_remove_pins(const char *pin_dir);

/*
 * Where pins go by default: /sys/fs/bpf/spoolguard if /sys/fs/bpf is a BPF file system, else
 * /run/spoolguard/bpf, which sg_observe_start mounts and the stop unmounts.
 */
const char *sg_observe_pin_dir(void);

/* --- what runs, what it sees --- */

struct sg_observe_info {
	enum sg_tier tier;
	__u32 hooks; /* bits of enum sg_hook: what is attached */
	__u32 owner_pid;
	bool owner_alive; /* false: it was left running, or its owner died */
	bool in_use;	  /* when it was started or opened; false: replaceable */
	__u64 started_ns;
	bool pinned;
	char pin_dir[256];		    /* "" when not pinned */
	char pin_note[SG_OBSERVE_TEXT_MAX]; /* why it is pinned elsewhere or not at all, or "" */
	__u64 drops[SG_DROPS];
	__u32 config_flags;
};

int sg_observe_info(struct sg_observe *o, struct sg_observe_info *info);

/*
 * The i-th route (0, 1, …) that the tier in force cannot see or sees in part, as a sentence.
 * Returns NULL past the last. Static text.
 */
const char *sg_observe_unseen(const struct sg_observe_info *info, size_t i);

/*
 * What attaching each tier said, as "fentry: vfs_fsync_range: Operation not permitted" lines, from
 * the last sg_observe_start or sg_observe_probe of this process. Valid until the next one.
 */
const char *sg_observe_probe_text(void);

/* Try all tiers by loading and attaching, without pins; sets a bit (1 << tier) for each that works. */
int sg_observe_probe(__u32 *works);

const char *sg_tier_name(enum sg_tier tier);
const char *sg_observe_op_name(enum sg_op op);
const char *sg_route_name(enum sg_route route);
const char *sg_dev_op_name(enum sg_dev_op op);
const char *sg_drop_name(enum sg_drop cause);
const char *sg_hook_name(enum sg_hook hook);
/* SG_TIER_AUTO for "auto"; -EINVAL for no tier. */
int sg_tier_parse(const char *name);

/* --- files --- */

enum sg_path_state {
	SG_PATH_OK,    /* the path leads to this very file now */
	SG_PATH_STALE, /* it was the file's name; unlinked, renamed, or out of reach of this process */
	SG_PATH_PARTIAL, /* only the last names are known: it does not begin at "/" */
	SG_PATH_NONE,
};

struct sg_observe_file {
	struct sg_file_key key; /* dev in kernel form */
	dev_t dev;		/* as in st_dev */
	bool is_other;		/* what full maps folded together */
	enum sg_path_state path_state;
	char path[SG_OBSERVE_PATH_MAX];
	struct sg_file_rec rec;
	bool at_risk_known;    /* false: at_risk_bytes is only a lower bound; show "unknown" */
	__u64 at_risk_bytes;   /* written since the last successful sync began */
	__u64 at_risk_records; /* the same in write calls; the greatest ever are in rec.max_risk_* */
	__u64 at_risk_age_ns;  /* no write at risk is older than this; 0: none */
	__u64 oldest_inflight_ns; /* age of its oldest call in flight, 0: none */
	enum sg_op oldest_inflight_op;
};

/* Callbacks: return 0 to go on; any other value ends the walk and is returned by it. */
typedef int (*sg_observe_file_fn)(const struct sg_observe_file *file, void *arg);
typedef int (*sg_observe_stat_fn)(const struct sg_stat_key *key, const struct sg_stat *stat,
				  void *arg);
typedef int (*sg_observe_sync_fn)(const struct sg_sync_key *key, const struct sg_sync_count *n,
				  void *arg);
typedef int (*sg_observe_error_fn)(const struct sg_error_key *key, const struct sg_error_count *n,
				   void *arg);
typedef int (*sg_observe_inflight_fn)(const struct sg_inflight *e, __u64 age_ns, void *arg);
typedef int (*sg_observe_dev_fn)(const struct sg_dev_key *key, const struct sg_stat *stat,
				 __u64 oldest_inflight_ns, __u32 inflight_n, void *arg);
typedef int (*sg_observe_wb_error_fn)(const struct sg_file_key *key, const struct sg_wb_error *w,
				      void *arg);

/* All files that match path_glob, in no order; "other" comes only when something is in it. */
int sg_observe_each_file(struct sg_observe *o, sg_observe_file_fn fn, void *arg);

/* Show only files whose path matches from now on; NULL: all. -ENOMEM. */
int sg_observe_set_path_glob(struct sg_observe *o, const char *glob);

/* One file by key, with its path. -ENOENT when it is not known. */
int sg_observe_file(struct sg_observe *o, const struct sg_file_key *key,
		    struct sg_observe_file *file);

/*
 * Files by what stat(2) gives, newest generation first by last use. gen as FS_IOC_GETVERSION gives it,
 * or NULL when the caller does not know it. -ENOENT when there is none.
 */
int sg_observe_find(struct sg_observe *o, dev_t dev, ino_t ino, const __u32 *gen,
		    struct sg_file_key *key);

/* Counts and histograms by (file, op, route); of one file, or of all with NULL. */
int sg_observe_each_stat(struct sg_observe *o, const struct sg_file_key *file,
			 sg_observe_stat_fn fn, void *arg);

/* Syncs by (file, process, route), of one file or of all: against what a guarded process says it issued. */
int sg_observe_each_sync(struct sg_observe *o, const struct sg_file_key *file,
			 sg_observe_sync_fn fn, void *arg);

/* Errors by (file, op, errno), of one file or of all. */
int sg_observe_each_error(struct sg_observe *o, const struct sg_file_key *file,
			  sg_observe_error_fn fn, void *arg);

/* Calls in flight now, oldest first or not. Entries of tasks that are gone are removed and counted. */
int sg_observe_each_inflight(struct sg_observe *o, sg_observe_inflight_fn fn, void *arg);

/* --- devices and writeback errors --- */

int sg_observe_each_device(struct sg_observe *o, sg_observe_dev_fn fn, void *arg);
int sg_observe_each_wb_error(struct sg_observe *o, sg_observe_wb_error_fn fn, void *arg);

/* --- room --- */

/*
 * Forget files that were not used for idle_ns, that have nothing in flight, nothing at risk and no
 * failed sync, with all their counts. Returns how many. 0 idle_ns: all such files.
 */
int sg_observe_evict(struct sg_observe *o, __u64 idle_ns);

/* Forget one file with all its counts, whatever its state. -ENOENT when it is not known. */
int sg_observe_forget(struct sg_observe *o, const struct sg_file_key *key);

/* --- histograms --- */

/* Least upper bound in ns of the given share (0 to 1) of the timed calls; 0 when there are none. */
__u64 sg_stat_quantile_ns(const struct sg_stat *stat, double share);

/* Add b to a, for rows that join several ops or routes. */
void sg_stat_join(struct sg_stat *a, const struct sg_stat *b);

/* Conversions between the kernel's device form and st_dev. */
dev_t sg_dev_from_kernel(__u32 dev);
__u32 sg_dev_to_kernel(dev_t dev);

#endif
