/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core_types.h: the kernel types that the observer reads, and of each only the members it reads.
 *
 * It stands in for a generated vmlinux.h in every build: offsets are relocated when the object is
 * loaded (preserve_access_index), so a build host needs no BTF, file systems built as modules need
 * no second header, and the same source meets the same compiler everywhere. Member names are the
 * contract; a member that a kernel lacks is asked for with bpf_core_field_exists first.
 */
#ifndef SG_CORE_TYPES_H
#define SG_CORE_TYPES_H

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/types.h>
#include <stdbool.h>

/* bpf_tracing.h: registers have the kernel's names. */
#define __VMLINUX_H__

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long bx, bp, r10, ip, ax, cx, dx, si, di, orig_ax, sp, r8, r9;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

struct qstr {
	const unsigned char *name;
};

struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
	unsigned long s_flags;
};

struct address_space {
	struct inode *host;
};

struct inode {
	unsigned short i_mode;
	unsigned int i_flags;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	unsigned long i_ino;
	__u32 i_generation;
	struct hlist_head i_dentry;
};

/* i_state was a long with its bits in macros, then an enum with other bits. */
enum inode_state_flags_t { I_DIRTY_PAGES = 4 };

struct inode___enum {
	enum inode_state_flags_t i_state;
};

struct inode___long {
	unsigned long i_state;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	unsigned int f_mode;
	__u32 f_wb_err;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct thread_info {
	__u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	struct files_struct *files;
	void *worker_private;
};

/* btrfs: st_dev is the subvolume's. */
struct btrfs_root {
	__u32 anon_dev;
};

struct btrfs_inode {
	struct btrfs_root *root;
	struct inode vfs_inode;
};

struct xfs_inode {
	struct inode i_vnode;
};

/* Since 6.8: a file opened by overlayfs on a layer below knows the file that the program sees. */
struct backing_file {
	struct file file;
	struct path user_path;
};

/* The work item that a kernel thread is at: tells an aio fsync from a loop device's flush. */
struct kthread {
	void *data;
};

struct work_struct {
	void *func;
};

struct worker {
	struct work_struct *current_work;
	char desc[32];
};

struct fsync_iocb {
	struct file *file;
	struct work_struct work;
};

struct io_wq_work {
	int cancel_seq;
};

struct io_worker {
	struct io_wq_work *cur_work;
};

struct io_cqe {
	__u64 user_data;
	__s32 res;
	int fd;
};

struct io_kiocb {
	struct file *file;
	__u8 opcode;
	unsigned int flags;
	struct io_cqe cqe;
	struct io_wq_work work;
};

struct io_sync {
	struct file *file;
	__s64 len;
	__s64 off;
	int flags;
};

struct folio {
	unsigned long flags;
};

struct gendisk {
	int major;
	int first_minor;
};

struct request_queue {
	struct gendisk *disk;
};

struct request {
	struct request_queue *q;
	__u32 cmd_flags;
	unsigned int __data_len;
};

#pragma clang attribute pop

#endif
