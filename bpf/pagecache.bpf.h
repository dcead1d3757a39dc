/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages dirtied by routes that nothing else sees, and errors of writeback. */
#ifndef SG_PAGECACHE_BPF_H
#define SG_PAGECACHE_BPF_H

/* Writeback gives a page back dirty now and then; that is nobody's write. */
static __always_inline bool is_flusher(struct task_struct *task)
{
	struct kthread *k = BPF_CORE_READ(task, worker_private);
	struct worker *w = BPF_CORE_READ(k, data);
	char desc[6] = {};

	bpf_probe_read_kernel(desc, 5, &w->desc);
	return desc[0] == 'f' && desc[1] == 'l' && desc[2] == 'u' && desc[3] == 's' &&
	       desc[4] == 'h';
}

static __always_inline __u32 dirty_route(unsigned int task_flags)
{
	if (task_flags & PF_IO_WORKER_)
		return SG_ROUTE_IO_URING;
	if (task_flags & PF_KTHREAD_)
		return SG_ROUTE_OTHER;
	switch (current_syscall()) {
	case __NR_io_uring_enter:
		return SG_ROUTE_IO_URING;
	case __NR_io_submit:
		return SG_ROUTE_AIO;
	case __NR_sendfile:
	case __NR_splice:
	case __NR_copy_file_range:
	case __NR_truncate:
	case __NR_ftruncate:
	case __NR_fallocate:
		return SG_ROUTE_OTHER;
	default:
		return SG_ROUTE_MMAP; /* a page fault, wherever it came from */
	}
}

static __noinline int on_dirty(struct address_space *mapping)
{
	struct inode *inode = BPF_CORE_READ(mapping, host);
	__u64 id = bpf_get_current_pid_tgid();
	struct task_struct *task = current_task();
	unsigned int flags = BPF_CORE_READ(task, flags);
	struct sg_file_key key = {};
	struct sg_file_rec *rec;

	if (!inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT_) != S_IFREG_)
		return 0;
	if (inflight_get(id, SG_CLASS_WRITE) || inflight_get(id, SG_CLASS_SYNC))
		return 0;
	if ((flags & PF_WQ_WORKER_) && is_flusher(task))
		return 0;
	if (wanted(inode)) {
		rec = file_get(&key, inode, NULL);
		if (rec && !(flags & PF_KTHREAD_))
			file_touch(rec, bpf_ktime_get_ns());
	} else {
		/* Not a process to look at, but it may touch a file that is. */
		file_key(&key, inode);
		rec = bpf_map_lookup_elem(&files, &key);
	}
	if (rec)
		file_unknown(rec, dirty_route(flags));
	return 0;
}

/* The verifier wants the test: a folio may have no mapping. */
SG_EVENT(
	writeback_dirty_folio,
	{
		if (mapping)
			on_dirty(mapping);
	},
	void *folio, struct address_space *mapping);

/* --- errors --- */

static __noinline struct sg_wb_error *wb_error_get(struct sg_file_key *key)
{
	struct sg_wb_error zero = {}, *w = bpf_map_lookup_elem(&wb_errors, key);

	if (w)
		return w;
	if ((int)bpf_map_update_elem(&wb_errors, key, &zero, BPF_NOEXIST) == -E2BIG_)
		drop(SG_DROP_WB_ERRORS_FULL);
	return bpf_map_lookup_elem(&wb_errors, key);
}

/* Any inode: a block device's own holds the errors of metadata. */
static __noinline int on_wb_error(struct address_space *mapping, __u32 eseq)
{
	struct inode *inode = BPF_CORE_READ(mapping, host);
	struct sg_file_key key = {};
	struct sg_file_rec *rec;
	struct sg_wb_error *w;

	if (!inode)
		return 0;
	file_key(&key, inode);
	w = wb_error_get(&key);
	if (!w)
		return 0;
	add(&w->recorded, 1);
	w->last_errno = eseq & 0xfff;
	w->recorded_ns = bpf_ktime_get_ns();
	w->unreported = 1;
	rec = bpf_map_lookup_elem(&files, &key);
	if (!rec) {
		rec = file_get(&key, inode, NULL);
	}
	if (rec)
		w->writer_tgid = rec->last_tgid;
	return 0;
}

static __noinline int on_wb_report(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct sg_file_key key = {};
	struct sg_wb_error *w;

	file_key(&key, inode);
	w = wb_error_get(&key);
	if (!w)
		return 0;
	add(&w->reported, 1);
	w->reported_ns = bpf_ktime_get_ns();
	w->reported_tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(w->reported_comm, sizeof(w->reported_comm));
	w->last_errno = BPF_CORE_READ(file, f_wb_err) & 0xfff;
	w->unreported = 0;
	return 0;
}

SG_EVENT(filemap_set_wb_err, on_wb_error(mapping, eseq), struct address_space *mapping, __u32 eseq);
SG_EVENT(file_check_and_advance_wb_err, on_wb_report(file), struct file *file, __u32 old);

#endif
