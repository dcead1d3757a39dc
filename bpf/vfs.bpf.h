/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tiers fentry and kprobe: the functions that all syncs and most writes pass.
 *
 * In the source vfs_fsync_range is the common point of fsync, fdatasync, msync, O_SYNC writes, io_uring
 * and aio fsync. In the binary it is not: compilers inline it within its file (in Debian's 6.1, into
 * fdatasync and into vfs_fsync, which aio calls), and a hook does not fire for an inlined copy. So the
 * callers of that file are hooked too, and of several hooks on one path the outermost counts.
 */
#ifndef SG_VFS_BPF_H
#define SG_VFS_BPF_H

#define WHOLE_FILE_END 0x7fffffffffffffffLL

/*
 * A call by a task that has one of the class in flight already is nested when it lies deeper on the
 * stack, which grows down; else the end of the old one was lost.
 */
static __always_inline bool is_nested(struct sg_inflight *p, __u64 frame)
{
	if (!p)
		return false;
	if (frame < p->frame) {
		p->depth++;
		return true;
	}
	drop(SG_DROP_LOST_END);
	return false;
}

static __noinline int vfs_sync_begin(__u64 frame, struct file *file, bool whole, int datasync)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct sg_inflight e = { .origin = SG_ORIGIN_VFS, .frame = frame }, *w;
	struct inode *inode = file_inode(file);

	if (is_nested(inflight_get(id, SG_CLASS_SYNC), frame))
		return 0;
	w = inflight_get(id, SG_CLASS_WRITE);
	if (w) {
		nested_begin(&e, id, w);
		return 0;
	}
	if (!wanted(inode))
		return 0;
	classify(&e, inode, datasync);
	if (whole)
		e.flags |= SG_INFLIGHT_FULL;
	op_begin(&e, id, inode, file);
	return 0;
}

/* fsync or fdatasync, whatever the compiler made of what lies below. */
static __noinline int call_sync_begin(__u64 frame, int fd, enum sg_op op)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct sg_inflight e = {
		.op = op,
		.route = SG_ROUTE_SYSCALL,
		.origin = SG_ORIGIN_VFS,
		.frame = frame,
		.flags = SG_INFLIGHT_FULL,
	};
	struct file *file = fd_file(fd);
	struct inode *inode;

	if (!file || is_path_only(file))
		return 0;
	inode = file_inode(file);
	if (!wanted(inode))
		return 0;
	is_nested(inflight_get(id, SG_CLASS_SYNC), frame); /* it cannot be: counts a lost end */
	op_begin(&e, id, inode, file);
	return 0;
}

static __noinline int vfs_write_begin(__u64 frame, struct file *file, __u64 bytes, bool dsync)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct sg_inflight e = { .origin = SG_ORIGIN_VFS, .frame = frame, .bytes = bytes };
	struct inode *inode;

	if (!file_type_wanted(file))
		return 0;
	inode = file_inode(file);
	if (!wanted(inode) || is_nested(inflight_get(id, SG_CLASS_WRITE), frame))
		return 0;
	if (dsync || file_is_dsync(file, inode))
		e.flags |= SG_INFLIGHT_DURABLE;
	op_begin(&e, id, inode, file);
	return 0;
}

static __noinline int vfs_range_begin(__u64 frame, struct file *file, __u64 bytes)
{
	struct sg_inflight e = {
		.op = SG_OP_SYNC_FILE_RANGE,
		.origin = SG_ORIGIN_VFS,
		.frame = frame,
		.bytes = bytes,
	};
	struct inode *inode = file_inode(file);

	if (!wanted(inode))
		return 0;
	e.route = BPF_CORE_READ(current_task(), flags) & PF_IO_WORKER_ ? SG_ROUTE_IO_URING
								       : SG_ROUTE_SYSCALL;
	op_begin(&e, bpf_get_current_pid_tgid(), inode, file);
	return 0;
}

static __always_inline int vfs_end(enum sg_class class, long ret)
{
	op_end(bpf_get_current_pid_tgid(), class, SG_ORIGIN_VFS, ret);
	return 0;
}

static __always_inline bool rwf_is_dsync(int flags)
{
	return flags & (RWF_DSYNC | RWF_SYNC);
}

/* --- fentry --- */

SEC("fentry/vfs_fsync_range")
int BPF_PROG(fe_vfs_fsync_range, struct file *file, __s64 start, __s64 end, int datasync)
{
	return vfs_sync_begin((__u64)ctx, file, !start && end == WHOLE_FILE_END, datasync);
}

SEC("fexit/vfs_fsync_range")
int BPF_PROG(fx_vfs_fsync_range, struct file *file, __s64 start, __s64 end, int datasync, int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

SEC("fentry/vfs_fsync")
int BPF_PROG(fe_vfs_fsync, struct file *file, int datasync)
{
	return vfs_sync_begin((__u64)ctx, file, true, datasync);
}

SEC("fexit/vfs_fsync")
int BPF_PROG(fx_vfs_fsync, struct file *file, int datasync, int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

#define SG_CALL_SYNC(symbol_, op_, reg_)                                                      \
	SEC("fentry/" #symbol_) int BPF_PROG(fe_##symbol_, struct pt_regs *regs)              \
	{                                                                                     \
		return call_sync_begin((__u64)ctx, BPF_CORE_READ(regs, reg_), op_);           \
	}                                                                                     \
	SEC("fexit/" #symbol_) int BPF_PROG(fx_##symbol_, struct pt_regs *regs, long ret)     \
	{                                                                                     \
		return vfs_end(SG_CLASS_SYNC, ret);                                           \
	}                                                                                     \
	SEC("kprobe/" #symbol_) int BPF_KPROBE(kp_##symbol_, struct pt_regs *regs)            \
	{                                                                                     \
		return call_sync_begin(PT_REGS_SP_CORE(ctx), BPF_CORE_READ(regs, reg_), op_); \
	}                                                                                     \
	SEC("kretprobe/" #symbol_) int BPF_KRETPROBE(kr_##symbol_, long ret)                  \
	{                                                                                     \
		return vfs_end(SG_CLASS_SYNC, ret);                                           \
	}                                                                                     \
	struct sg_call_##symbol_

SG_CALL_SYNC(__x64_sys_fsync, SG_OP_FSYNC, di);
SG_CALL_SYNC(__x64_sys_fdatasync, SG_OP_FDATASYNC, di);
SG_CALL_SYNC(__ia32_sys_fsync, SG_OP_FSYNC, bx);
SG_CALL_SYNC(__ia32_sys_fdatasync, SG_OP_FDATASYNC, bx);

SEC("fentry/vfs_write")
int BPF_PROG(fe_vfs_write, struct file *file, const char *buf, __u64 count)
{
	return vfs_write_begin((__u64)ctx, file, count, false);
}

SEC("fexit/vfs_write")
int BPF_PROG(fx_vfs_write, struct file *file, const char *buf, __u64 count, __s64 *pos, long ret)
{
	return vfs_end(SG_CLASS_WRITE, ret);
}

SEC("fentry/vfs_writev")
int BPF_PROG(fe_vfs_writev, struct file *file, void *vec, unsigned long vlen, __s64 *pos, int flags)
{
	return vfs_write_begin((__u64)ctx, file, 0, rwf_is_dsync(flags));
}

SEC("fexit/vfs_writev")
int BPF_PROG(fx_vfs_writev, struct file *file, void *vec, unsigned long vlen, __s64 *pos, int flags,
	     long ret)
{
	return vfs_end(SG_CLASS_WRITE, ret);
}

SEC("fentry/sync_file_range")
int BPF_PROG(fe_sync_file_range, struct file *file, __s64 offset, __s64 bytes)
{
	return vfs_range_begin((__u64)ctx, file, bytes);
}

SEC("fexit/sync_file_range")
int BPF_PROG(fx_sync_file_range, struct file *file, __s64 offset, __s64 bytes, unsigned int flags,
	     int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

/* --- kprobe --- */

SEC("kprobe/vfs_fsync_range")
int BPF_KPROBE(kp_vfs_fsync_range, struct file *file, __s64 start, __s64 end, int datasync)
{
	return vfs_sync_begin(PT_REGS_SP_CORE(ctx), file, !start && end == WHOLE_FILE_END,
			      datasync);
}

SEC("kretprobe/vfs_fsync_range")
int BPF_KRETPROBE(kr_vfs_fsync_range, int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

SEC("kprobe/vfs_fsync")
int BPF_KPROBE(kp_vfs_fsync, struct file *file, int datasync)
{
	return vfs_sync_begin(PT_REGS_SP_CORE(ctx), file, true, datasync);
}

SEC("kretprobe/vfs_fsync")
int BPF_KRETPROBE(kr_vfs_fsync, int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

SEC("kprobe/vfs_write")
int BPF_KPROBE(kp_vfs_write, struct file *file, const char *buf, __u64 count)
{
	return vfs_write_begin(PT_REGS_SP_CORE(ctx), file, count, false);
}

SEC("kretprobe/vfs_write")
int BPF_KRETPROBE(kr_vfs_write, long ret)
{
	return vfs_end(SG_CLASS_WRITE, ret);
}

SEC("kprobe/vfs_writev")
int BPF_KPROBE(kp_vfs_writev, struct file *file, void *vec, unsigned long vlen, __s64 *pos,
	       int flags)
{
	return vfs_write_begin(PT_REGS_SP_CORE(ctx), file, 0, rwf_is_dsync(flags));
}

SEC("kretprobe/vfs_writev")
int BPF_KRETPROBE(kr_vfs_writev, long ret)
{
	return vfs_end(SG_CLASS_WRITE, ret);
}

SEC("kprobe/sync_file_range")
int BPF_KPROBE(kp_sync_file_range, struct file *file, __s64 offset, __s64 bytes)
{
	return vfs_range_begin(PT_REGS_SP_CORE(ctx), file, bytes);
}

SEC("kretprobe/sync_file_range")
int BPF_KRETPROBE(kr_sync_file_range, int ret)
{
	return vfs_end(SG_CLASS_SYNC, ret);
}

#endif
