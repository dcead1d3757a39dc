/* SPDX-License-Identifier: GPL-2.0-only */
/* Which file it is: its key, its record and its names. */
#ifndef SG_FILE_BPF_H
#define SG_FILE_BPF_H

#define E2BIG_	      7
#define EXT4_MAGIC    0xef53
#define BTRFS_MAGIC   0x9123683e
#define OVERLAY_MAGIC 0x794c7630

#define S_IFMT_	 0170000
#define S_IFDIR_ 0040000
#define S_IFREG_ 0100000

#define FMODE_PATH_	0x4000
#define O_DSYNC_	00010000
#define SB_SYNCHRONOUS_ (1UL << 4)
#define S_SYNC_		(1 << 0)

static __always_inline __u32 inode_magic(struct inode *inode)
{
	return BPF_CORE_READ(inode, i_sb, s_magic);
}

/* The device as st_dev shows it. */
static __always_inline __u32 inode_dev(struct inode *inode)
{
	if (inode_magic(inode) == BTRFS_MAGIC && bpf_core_field_exists(struct btrfs_inode, root)) {
		__u64 offset = bpf_core_field_offset(struct btrfs_inode, vfs_inode);
		struct btrfs_inode *b = (void *)inode - offset;
		__u32 dev = BPF_CORE_READ(b, root, anon_dev);

		if (dev)
			return dev;
	}
	return BPF_CORE_READ(inode, i_sb, s_dev);
}

/*
 * The inode that the program sees. overlayfs opens files of its own on the layers below: until 6.7
 * they carry the overlay's path, since then they are backing files, which know the path beside it.
 */
static __always_inline struct inode *file_inode(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct inode *seen = BPF_CORE_READ(file, f_path.dentry, d_inode);

	if (seen && seen != inode && inode_magic(seen) == OVERLAY_MAGIC)
		return seen;
	return inode;
}

/* Are writes through this descriptor durable when they return? */
static __always_inline bool file_is_dsync(struct file *file, struct inode *inode)
{
	return (BPF_CORE_READ(file, f_flags) & O_DSYNC_) ||
	       (BPF_CORE_READ(inode, i_flags) & S_SYNC_) ||
	       (BPF_CORE_READ(inode, i_sb, s_flags) & SB_SYNCHRONOUS_);
}

static __always_inline struct sg_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline bool type_wanted(const struct sg_config *c, __u32 mode)
{
	__u32 type = mode & S_IFMT_;

	return type == S_IFREG_ || type == S_IFDIR_ || (c->flags & SG_CONFIG_ALL_TYPES);
}

/* The type alone, for most writes are to pipes and sockets. An overlay's file has that of the one below. */
static __always_inline bool file_type_wanted(struct file *file)
{
	const struct sg_config *c = config_get();

	return c && type_wanted(c, BPF_CORE_READ(file, f_inode, i_mode));
}

/* Is the current task one to look at? Kernel threads act for others: the file decides then. */
static __noinline bool task_wanted(void)
{
	const struct sg_config *c = config_get();
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	int level;

	if (!c)
		return false;
	if ((c->flags & SG_CONFIG_TGIDS) && !bpf_map_lookup_elem(&filter_tgids, &tgid))
		return false;
	if (!(c->flags & SG_CONFIG_CGROUPS))
		return true;
	for (level = 0; level < 16; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			return false;
		if (bpf_map_lookup_elem(&filter_cgroups, &id))
			return true;
	}
	return false;
}

/* --- names --- */

/* One name behind the others; false when there is no room for it. */
static __always_inline bool path_add(struct sg_path *p, struct dentry *d)
{
	__u32 at = p->bytes;
	long n;

	if (at >= SG_PATH_BYTES)
		return false;
	n = bpf_probe_read_kernel_str(&p->names[at & (SG_PATH_BYTES - 1)], SG_NAME_MAX,
				      BPF_CORE_READ(d, d_name.name));
	if (n <= 0 || n > SG_NAME_MAX)
		return false;
	p->bytes = at + n;
	return true;
}

static __noinline void path_walk(struct sg_path *p, struct dentry *d, struct vfsmount *vfsmnt)
{
	struct mount *mnt = NULL;
	int i;

	if (vfsmnt)
		mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
	else
		p->flags |= SG_PATH_FROM_INODE;
	if (!BPF_CORE_READ(d, d_hash.pprev) && BPF_CORE_READ(d, d_parent) != d)
		p->flags |= SG_PATH_UNLINKED;
	for (i = 0; i < SG_PATH_DEPTH; i++) {
		struct dentry *parent = BPF_CORE_READ(d, d_parent);

		if (mnt && d == BPF_CORE_READ(mnt, mnt.mnt_root)) {
			struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

			if (up == mnt)
				return;
			d = BPF_CORE_READ(mnt, mnt_mountpoint);
			mnt = up;
			continue;
		}
		if (!parent || parent == d)
			return;
		if (!path_add(p, d))
			break;
		d = parent;
	}
	p->flags |= SG_PATH_CUT;
}

/* Read the names of a file that has none yet. One task makes the entry, and only that one fills it. */
static __noinline void path_fill(struct sg_file_key *key, struct inode *inode, struct file *file)
{
	struct vfsmount *mnt = NULL;
	struct dentry *d;
	struct sg_path *p;
	__u32 zero = 0;
	void *init;

	p = bpf_map_lookup_elem(&paths, key);
	if (p && (!file || !(p->flags & SG_PATH_FROM_INODE)))
		return;
	if (file) {
		mnt = BPF_CORE_READ(file, f_path.mnt);
		d = BPF_CORE_READ(file, f_path.dentry);
	} else {
		struct hlist_node *alias = BPF_CORE_READ(inode, i_dentry.first);

		if (!alias)
			return;
		d = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	}
	if (!d)
		return;
	if (p) {
		p->bytes = 0;
		p->flags = 0;
	} else {
		init = bpf_map_lookup_elem(&zero_path, &zero);
		if (!init || (int)bpf_map_update_elem(&paths, key, init, BPF_NOEXIST) == -E2BIG_) {
			drop(SG_DROP_PATHS_FULL);
			return;
		}
		p = bpf_map_lookup_elem(&paths, key);
		if (!p)
			return;
	}
	path_walk(p, d, mnt);
}

/* --- key and record --- */

static __noinline int file_key(struct sg_file_key *key, struct inode *inode)
{
	key->ino = BPF_CORE_READ(inode, i_ino);
	key->dev = inode_dev(inode);
	key->gen = BPF_CORE_READ(inode, i_generation);
	return 0;
}

/* Dirty before we first saw it: written by nobody knows whom, at risk by nobody knows how much. */
static __always_inline bool inode_was_dirty(struct inode *inode)
{
	struct inode___enum *i = (void *)inode;

	if (bpf_core_field_exists(((struct inode___long *)0)->i_state))
		return BPF_CORE_READ((struct inode___long *)inode, i_state) & 4;
	if (bpf_core_field_exists(i->i_state))
		return BPF_CORE_READ(i, i_state) &
		       bpf_core_enum_value(enum inode_state_flags_t, I_DIRTY_PAGES);
	return false;
}

static __always_inline void file_first(struct sg_file_rec *rec, struct inode *inode)
{
	rec->mode = BPF_CORE_READ(inode, i_mode);
	rec->fs_magic = inode_magic(inode);
	rec->first_ns = bpf_ktime_get_ns();
	rec->first_tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(rec->first_comm, sizeof(rec->first_comm));
	if (inode_was_dirty(inode)) {
		rec->unknown_route = SG_ROUTE_OTHER;
		raise_to(&rec->unknown_ns, rec->first_ns);
	}
}

/*
 * The record of a file, made on first sight. NULL when it is not wanted. When the map is full the
 * key becomes "other" and its record is given.
 */
static __noinline struct sg_file_rec *file_get(struct sg_file_key *key, struct inode *inode,
					       struct file *file)
{
	const struct sg_config *c = config_get();
	struct sg_file_rec *rec;
	__u32 zero = 0;
	void *init;
	int rc; /* the upper half of what the call returns is undefined before Linux 6.4 */

	if (!c || !inode || !type_wanted(c, BPF_CORE_READ(inode, i_mode)))
		return NULL;
	file_key(key, inode);
	if ((c->flags & SG_CONFIG_DEVS) && !bpf_map_lookup_elem(&filter_devs, &key->dev))
		return NULL;
	rec = bpf_map_lookup_elem(&files, key);
	if (rec)
		return rec;
	init = bpf_map_lookup_elem(&zero_file, &zero);
	if (!init)
		return NULL;
	rc = bpf_map_update_elem(&files, key, init, BPF_NOEXIST);
	if (rc == -E2BIG_) {
		drop(SG_DROP_FILES_FULL);
		key->ino = 0;
		key->dev = 0;
		key->gen = 0;
	}
	rec = bpf_map_lookup_elem(&files, key);
	if (rec && !rc) { /* made by this task: nobody else fills it in */
		file_first(rec, inode);
		path_fill(key, inode, file);
	}
	return rec;
}

static __always_inline void file_touch(struct sg_file_rec *rec, __u64 now)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	rec->last_ns = now;
	if (rec->last_tgid == tgid)
		return;
	rec->last_tgid = tgid;
	bpf_get_current_comm(rec->last_comm, sizeof(rec->last_comm));
}

static __always_inline void file_unknown(struct sg_file_rec *rec, __u32 route)
{
	rec->unknown_route = route;
	raise_to(&rec->unknown_ns, bpf_ktime_get_ns());
}

/* --- the current task: a typed pointer, which may be followed without a helper's cost --- */

static __always_inline struct task_struct *current_task(void)
{
	return (void *)bpf_get_current_task_btf();
}

static __always_inline struct pt_regs *current_regs(void)
{
	return (void *)bpf_task_pt_regs((void *)current_task());
}

static __always_inline struct file *fd_file(int fd)
{
	struct fdtable *fdt = current_task()->files->fdt;
	struct file *file = NULL;

	if (fd < 0 || (__u32)fd >= fdt->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), fdt->fd + fd);
	return file;
}

/* A path only: no call does anything with it. */
static __always_inline bool is_path_only(struct file *file)
{
	return BPF_CORE_READ(file, f_mode) & FMODE_PATH_;
}

#endif
