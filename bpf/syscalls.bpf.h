/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tiers tp_btf and tracepoint: the system calls, and the file systems' own sync tracepoints.
 *
 * A call that names its file (fsync, write) is measured from enter to exit. What has no such call
 * (msync, a sync nested in a write, kernel workers) is seen by the file system's tracepoint: ext4 has
 * enter and exit, xfs and btrfs enter only; there the end is that of the system call, and without one
 * the sync is counted untimed. 32-bit programs are left to the file system's tracepoints.
 */
#ifndef SG_SYSCALLS_BPF_H
#define SG_SYSCALLS_BPF_H

#define MS_SYNC_ 4

static __noinline int sys_begin(int fd, enum sg_op op, __u64 bytes, bool dsync)
{
	struct sg_inflight e = { .op = op, .origin = SG_ORIGIN_SYSCALL, .bytes = bytes };
	struct file *file = fd_file(fd);
	struct inode *inode;

	if (!file || !file_type_wanted(file) || is_path_only(file))
		return 0;
	inode = file_inode(file);
	if (!wanted(inode))
		return 0;
	if (op == SG_OP_FSYNC || op == SG_OP_FDATASYNC)
		e.flags = SG_INFLIGHT_FULL;
	else if (op == SG_OP_WRITE && (dsync || file_is_dsync(file, inode)))
		e.flags = SG_INFLIGHT_DURABLE;
	op_begin(&e, bpf_get_current_pid_tgid(), inode, file);
	return 0;
}

/* One call of sys_begin for all: the verifier follows each call anew. */
static __always_inline int on_sys_enter(long nr)
{
	struct pt_regs *regs;
	enum sg_op op = SG_OP_WRITE;
	bool third = false, sized = false, dsync = false;
	int fd;

	/* By the number alone first: this runs for every system call of every process. */
	switch (nr) {
	case __NR_write:
	case __NR_pwrite64:
		sized = true;
		break;
	case __NR_writev:
	case __NR_pwritev:
	case __NR_pwritev2:
	case __NR_sendfile:
	case __NR_io_submit:
		break;
	case __NR_splice:
	case __NR_copy_file_range:
		third = true;
		break;
	case __NR_fsync:
		op = SG_OP_FSYNC;
		break;
	case __NR_fdatasync:
		op = SG_OP_FDATASYNC;
		break;
	case __NR_sync_file_range:
		op = SG_OP_SYNC_FILE_RANGE;
		sized = true;
		break;
	default:
		return 0;
	}
	if (task_is_compat(current_task()))
		return 0;
	regs = current_regs();
	if (nr == __NR_io_submit)
		return on_io_submit(regs->si, regs->dx);
	if (nr == __NR_pwritev2)
		dsync = rwf_is_dsync(regs->r9);
	fd = third ? regs->dx : regs->di;
	return sys_begin(fd, op, sized ? regs->dx : 0, dsync);
}

static __noinline int sys_write_end(long ret)
{
	__u64 id = bpf_get_current_pid_tgid();

	if (!inflight_get(id, SG_CLASS_WRITE))
		return 0; /* most of them: to a pipe or a socket */
	op_end(id, SG_CLASS_SYNC, SG_ORIGIN_FS_ENTER, ret < 0 ? ret : 0);
	op_end(id, SG_CLASS_WRITE, SG_ORIGIN_SYSCALL, ret);
	return 0;
}

/* A 32-bit program has nothing in flight here: its other numbers find no entry. */
static __always_inline int on_sys_exit(int nr, long ret)
{
	switch (nr) {
	case __NR_write:
	case __NR_pwrite64:
	case __NR_writev:
	case __NR_pwritev:
	case __NR_pwritev2:
	case __NR_sendfile:
	case __NR_splice:
	case __NR_copy_file_range:
		return sys_write_end(ret);
	case __NR_fsync:
	case __NR_fdatasync:
	case __NR_sync_file_range:
		op_end(bpf_get_current_pid_tgid(), SG_CLASS_SYNC, SG_ORIGIN_SYSCALL, ret);
		return 0;
	case __NR_msync:
		op_end(bpf_get_current_pid_tgid(), SG_CLASS_SYNC, SG_ORIGIN_FS_ENTER, ret);
		return 0;
	}
	return 0;
}

SG_EVENT(sys_enter, on_sys_enter(nr), void *unused, long nr);
SG_EVENT(sys_exit, on_sys_exit(current_regs()->orig_ax, ret), void *unused, long ret);

/* --- file systems --- */

/* Does the sync end within a system call whose exit we see? */
static __always_inline bool ends_with_call(const struct sg_inflight *e)
{
	return e->route == SG_ROUTE_OSYNC || e->route == SG_ROUTE_MMAP;
}

static __noinline int fs_enter(struct inode *inode, struct file *file, int datasync, bool has_exit)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct sg_inflight e = { .origin = has_exit ? SG_ORIGIN_FS : SG_ORIGIN_FS_ENTER };
	struct sg_inflight *outer = inflight_get(id, SG_CLASS_SYNC);

	/* An msync over two files ends the first where the second begins: it would stop at an error. */
	if (outer && outer->origin == SG_ORIGIN_FS_ENTER)
		op_end(id, SG_CLASS_SYNC, SG_ORIGIN_FS_ENTER, 0);
	else if (outer)
		return 0;
	outer = inflight_get(id, SG_CLASS_WRITE);
	if (outer) {
		nested_begin(&e, id, outer);
		return 0;
	}
	if (!wanted(inode))
		return 0;
	classify(&e, inode, datasync);
	if (e.op == SG_OP_FSYNC || e.op == SG_OP_FDATASYNC)
		e.flags |= SG_INFLIGHT_FULL;
	if (has_exit || ends_with_call(&e))
		op_begin(&e, id, inode, file);
	else if (e.route != SG_ROUTE_IO_URING || e.op == SG_OP_DSYNC_WRITE ||
		 !HOOKED(SG_HOOK_IO_URING))
		op_untimed(&e, inode, file);
	return 0;
}

SG_EVENT(ext4_sync_file_enter, fs_enter(file_inode(file), file, datasync, true), struct file *file,
	 int datasync);
SG_EVENT(ext4_sync_file_exit, op_end(bpf_get_current_pid_tgid(), SG_CLASS_SYNC, SG_ORIGIN_FS, ret),
	 struct inode *inode, int ret);
SG_EVENT(xfs_file_fsync, fs_enter(__builtin_preserve_access_index(&ip->i_vnode), NULL, 0, false),
	 struct xfs_inode *ip);
SG_EVENT(btrfs_sync_file, fs_enter(file_inode(file), file, datasync, false), struct file *file,
	 int datasync);

#endif
