/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Operations in flight, from begin to end.
 *
 * One entry per (task, class): an O_SYNC write nests a sync, so the task alone is no key. Only the
 * hook that opened an entry closes it. A sync within a sync (overlayfs: its own inode, then the
 * upper one) is not counted again; a sync within a write belongs to the file of that write.
 */
#ifndef SG_OPS_BPF_H
#define SG_OPS_BPF_H

static __always_inline struct sg_inflight *inflight_get(__u64 id, enum sg_class class)
{
	struct sg_inflight_key k = { .id = id, .class = class };

	return bpf_map_lookup_elem(&inflight, &k);
}

static __always_inline void inflight_delete(__u64 id, enum sg_class class)
{
	struct sg_inflight_key k = { .id = id, .class = class };

	bpf_map_delete_elem(&inflight, &k);
}

static __always_inline void inflight_put(struct sg_inflight *e, __u64 id, enum sg_class class)
{
	struct sg_inflight_key k = { .id = id, .class = class };

	if (bpf_map_update_elem(&inflight, &k, e, BPF_ANY))
		drop(SG_DROP_INFLIGHT_FULL);
}

static __always_inline bool is_sync(enum sg_op op)
{
	return op != SG_OP_WRITE && op != SG_OP_SYNC_FILE_RANGE;
}

/* --- what the current task is --- */

#define PF_IO_WORKER_ 0x10
#define PF_WQ_WORKER_ 0x20
#define PF_KTHREAD_   0x200000
#define TS_COMPAT_    2

static __always_inline bool is_kernel_thread(void)
{
	return current_task()->flags & PF_KTHREAD_;
}

/* A 32-bit program: its system calls have other numbers. */
static __always_inline bool task_is_compat(struct task_struct *task)
{
	if (!bpf_core_field_exists(task->thread_info.status))
		return false;
	return task->thread_info.status & TS_COMPAT_;
}

/* Opcode of the request that an io_uring worker is at, -1 when unknown. */
static __always_inline int io_worker_opcode(struct task_struct *task)
{
	struct io_worker *w = BPF_CORE_READ(task, worker_private);
	struct io_wq_work *work = BPF_CORE_READ(w, cur_work);
	struct io_kiocb *req;

	if (!work)
		return -1;
	req = (void *)work - bpf_core_field_offset(struct io_kiocb, work);
	return BPF_CORE_READ(req, opcode);
}

/* An aio fsync runs in a kernel worker, as a loop device's flush does: only its work item names the file. */
static __always_inline bool kworker_at_aio_fsync(struct task_struct *task, struct inode *inode)
{
	struct kthread *k = BPF_CORE_READ(task, worker_private);
	struct worker *w = BPF_CORE_READ(k, data);
	struct work_struct *work = BPF_CORE_READ(w, current_work);
	struct fsync_iocb *req;

	if (!work)
		return false;
	req = (void *)work - bpf_core_field_offset(struct fsync_iocb, work);
	return BPF_CORE_READ(req, file, f_inode) == inode;
}

static __always_inline bool uring_writes(int opcode)
{
	return opcode == IORING_OP_WRITE || opcode == IORING_OP_WRITEV ||
	       opcode == IORING_OP_WRITE_FIXED;
}

/* Number of the system call that a user task is in, -1: none, or one of a 32-bit program. */
static __always_inline long current_syscall(void)
{
	if (task_is_compat(current_task()))
		return -1;
	return (int)current_regs()->orig_ax;
}

static __always_inline void classify_kernel_thread(struct sg_inflight *e, struct task_struct *task,
						   unsigned int flags, struct inode *inode)
{
	e->route = SG_ROUTE_OTHER;
	if ((flags & PF_WQ_WORKER_) && kworker_at_aio_fsync(task, inode))
		e->route = SG_ROUTE_AIO;
}

static __always_inline void classify_syscall(struct sg_inflight *e)
{
	switch (current_syscall()) {
	case __NR_fsync:
	case __NR_fdatasync:
		e->route = SG_ROUTE_SYSCALL;
		break;
	case __NR_msync:
		e->op = SG_OP_MSYNC;
		e->route = SG_ROUTE_MMAP;
		break;
	case __NR_io_uring_enter:
		e->op = SG_OP_DSYNC_WRITE;
		e->route = SG_ROUTE_IO_URING;
		break;
	case __NR_io_submit:
		e->op = SG_OP_DSYNC_WRITE;
		e->route = SG_ROUTE_AIO;
		break;
	case __NR_write:
	case __NR_writev:
	case __NR_pwrite64:
	case __NR_pwritev:
	case __NR_pwritev2:
	case __NR_sendfile:
	case __NR_splice:
	case __NR_copy_file_range:
		e->op = SG_OP_DSYNC_WRITE;
		e->route = SG_ROUTE_OSYNC;
		break;
	default:
		e->route = SG_ROUTE_OTHER;
	}
}

/* Op and route of a sync that no system call or write in flight explains. */
static __noinline void classify(struct sg_inflight *e, struct inode *inode, int datasync)
{
	struct task_struct *task = current_task();
	unsigned int flags = BPF_CORE_READ(task, flags);

	e->op = datasync ? SG_OP_FDATASYNC : SG_OP_FSYNC;
	if (flags & PF_IO_WORKER_) {
		e->route = SG_ROUTE_IO_URING;
		if (uring_writes(io_worker_opcode(task)))
			e->op = SG_OP_DSYNC_WRITE;
	} else if (flags & (PF_WQ_WORKER_ | PF_KTHREAD_)) {
		classify_kernel_thread(e, task, flags, inode);
	} else {
		classify_syscall(e);
	}
}

/* --- begin --- */

/* Fill in the file; false when it is not wanted. */
static __noinline bool op_file(struct sg_inflight *e, struct inode *inode, struct file *file)
{
	struct sg_file_rec *rec = file_get(&e->file, inode, file);

	if (!rec)
		return false;
	if (e->op != SG_OP_WRITE && e->file.ino)
		path_fill(&e->file, inode, file);
	/* Records first: a write in between then counts as not synced in both. */
	e->mark_records = *(volatile __u64 *)&rec->written_records;
	e->mark_bytes = *(volatile __u64 *)&rec->written_bytes;
	e->start_ns = bpf_ktime_get_ns();
	/* A kernel worker does an aio fsync for whoever used the file last. */
	if (is_kernel_thread())
		e->tgid = e->route == SG_ROUTE_AIO ? rec->last_tgid : e->tgid;
	else
		file_touch(rec, e->start_ns);
	return true;
}

static __always_inline void op_who(struct sg_inflight *e)
{
	__u64 id = bpf_get_current_pid_tgid();

	e->tgid = id >> 32;
	e->tid = (__u32)id;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

/* e: op, route, origin, flags, bytes and frame are set. */
static __noinline void op_begin(struct sg_inflight *e, __u64 id, struct inode *inode,
				struct file *file)
{
	op_who(e);
	if (op_file(e, inode, file))
		inflight_put(e, id, e->op == SG_OP_WRITE ? SG_CLASS_WRITE : SG_CLASS_SYNC);
}

/* --- end --- */

static __noinline void count_stat(const struct sg_inflight *e, __u64 ns, __u64 bytes, __s32 error)
{
	struct sg_stat_key k = { .file = e->file, .op = e->op, .route = e->route };
	struct sg_stat *s = stat_of(&stats, &k);
	struct sg_file_rec *other;

	if (!s) {
		drop(SG_DROP_STATS_FULL);
		__builtin_memset(&k.file, 0, sizeof(k.file));
		s = bpf_map_lookup_elem(&stats, &k);
		other = bpf_map_lookup_elem(&files, &k.file);
		if (other)
			other->last_ns = bpf_ktime_get_ns();
	}
	if (s)
		stat_add(s, ns, bytes, error, bpf_ktime_get_ns());
}

static __noinline void count_error(const struct sg_inflight *e, __s32 error)
{
	struct sg_error_key k = { .file = e->file, .op = e->op, .error = error };
	struct sg_error_count zero = {}, *n;

	bpf_map_update_elem(&errors, &k, &zero, BPF_NOEXIST);
	n = bpf_map_lookup_elem(&errors, &k);
	if (!n) {
		drop(SG_DROP_ERRORS_FULL);
		return;
	}
	add(&n->count, 1);
	n->last_ns = bpf_ktime_get_ns();
}

static __noinline void count_sync(const struct sg_inflight *e, __s32 error)
{
	struct sg_sync_key k = { .file = e->file, .tgid = e->tgid, .route = e->route };
	struct sg_sync_count zero = {}, *n;

	n = bpf_map_lookup_elem(&syncs, &k);
	if (!n) {
		bpf_map_update_elem(&syncs, &k, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&syncs, &k);
	}
	if (!n) {
		drop(SG_DROP_SYNCS_FULL);
		return;
	}
	add(&n->count, 1);
	if (error)
		add(&n->errors, 1);
	n->last_ns = bpf_ktime_get_ns();
}

/* After these the pages may be clean and their data gone. */
static __always_inline bool loses_data(__s32 error)
{
	return error && error != 4 /* EINTR */ && error != 9 /* EBADF */ &&
	       error != 22 /* EINVAL */ && error != 95 /* EOPNOTSUPP */ &&
	       error < 512 /* ERESTARTSYS and its kin */;
}

/* A write that is not durable: more is at risk now, and maybe more than ever. */
static __always_inline void risk_add(struct sg_file_rec *rec, __u64 start_ns, __u64 bytes)
{
	__u64 written_bytes = __sync_fetch_and_add(&rec->written_bytes, bytes) + bytes;
	__u64 written_records = __sync_fetch_and_add(&rec->written_records, 1) + 1;
	__u64 durable_bytes = *(volatile __u64 *)&rec->durable_bytes;
	__u64 durable_records = *(volatile __u64 *)&rec->durable_records;

	__sync_val_compare_and_swap(&rec->oldest_ns, 0, start_ns);
	if (written_bytes > durable_bytes)
		raise_to(&rec->max_risk_bytes, written_bytes - durable_bytes);
	if (written_records > durable_records)
		raise_to(&rec->max_risk_records, written_records - durable_records);
}

/* A sync of the whole file succeeded: what was written before it began is durable. */
static __always_inline void risk_drop(struct sg_file_rec *rec, const struct sg_inflight *e)
{
	raise_to(&rec->durable_bytes, e->mark_bytes);
	raise_to(&rec->durable_records, e->mark_records);
	raise_to(&rec->synced_ns, e->start_ns);
	/* What is left was written since; that it all began before a later sync is not known of it. */
	rec->oldest_ns = *(volatile __u64 *)&rec->written_records > rec->durable_records
				 ? rec->synced_ns
				 : 0;
}

static __always_inline void at_risk_after_write(const struct sg_inflight *e, long ret)
{
	struct sg_file_rec *rec = bpf_map_lookup_elem(&files, &e->file);
	bool durable = (e->flags & SG_INFLIGHT_DURABLE) && !(e->flags & SG_INFLIGHT_NEST_ERR);

	if (!rec)
		return;
	if (ret < 0 && (e->flags & SG_INFLIGHT_DURABLE))
		file_unknown(rec, e->route);
	else if (ret > 0 && !durable) {
		/* io_uring and aio dirty pages in places that we cannot tie to the request. */
		if (e->route == SG_ROUTE_SYSCALL)
			risk_add(rec, e->start_ns, ret);
		else
			file_unknown(rec, e->route);
	}
}

static __always_inline void at_risk_after_sync(const struct sg_inflight *e, __s32 error)
{
	struct sg_file_rec *rec = bpf_map_lookup_elem(&files, &e->file);

	if (!rec)
		return;
	if (loses_data(error)) {
		rec->failed_errno = error;
		rec->failed_ns = bpf_ktime_get_ns();
	}
	if (error || !(e->flags & SG_INFLIGHT_FULL))
		return;
	risk_drop(rec, e);
}

/* A sync nested in a write decides whether that write was durable when it returned. */
static __always_inline void tell_outer_write(const struct sg_inflight *e, __u64 id, __s32 error)
{
	struct sg_inflight *w = inflight_get(id, SG_CLASS_WRITE);

	if (w)
		w->flags |= SG_INFLIGHT_DURABLE | (error ? SG_INFLIGHT_NEST_ERR : 0);
}

static __noinline void op_count(const struct sg_inflight *e, long ret, __u64 ns)
{
	__s32 error = errno_of(ret);

	count_stat(e, ns, e->op == SG_OP_WRITE && ret > 0 ? ret : 0, error);
	if (error)
		count_error(e, error);
	if (is_sync(e->op)) {
		count_sync(e, error);
		if (ns)
			at_risk_after_sync(e, error);
	} else if (e->op == SG_OP_WRITE) {
		at_risk_after_write(e, ret);
	}
}

/* Close the entry if this origin opened it. The copy on the stack keeps it from changing beneath us. */
static __noinline void op_end(__u64 id, enum sg_class class, enum sg_origin origin, long ret)
{
	struct sg_inflight *p = inflight_get(id, class), e;
	__u64 ns;

	if (!p || p->origin != origin)
		return;
	if (p->depth) {
		p->depth--;
		return;
	}
	e = *p;
	inflight_delete(id, class);
	if (e.flags & SG_INFLIGHT_PENDING)
		return;
	ns = bpf_ktime_get_ns() - e.start_ns;
	op_count(&e, ret, ns ? ns : 1);
	if (e.op == SG_OP_DSYNC_WRITE)
		tell_outer_write(&e, id, errno_of(ret));
}

/* Count what is seen to begin and whose end this tier cannot see. */
static __noinline void op_untimed(struct sg_inflight *e, struct inode *inode, struct file *file)
{
	op_who(e);
	if (op_file(e, inode, file))
		op_count(e, e->bytes, 0);
}

/* A sync nested in the write w is of the file that w writes, whatever layer it is seen at. */
static __noinline void nested_begin(struct sg_inflight *e, __u64 id, const struct sg_inflight *w)
{
	e->op = SG_OP_DSYNC_WRITE;
	e->route = SG_ROUTE_OSYNC;
	e->flags = 0;
	e->file = w->file;
	op_who(e);
	e->start_ns = bpf_ktime_get_ns();
	inflight_put(e, id, SG_CLASS_SYNC);
}

/*
 * May the current task be looked at for this file? Kernel workers act for others, whom a filter by
 * process cannot see in them: there the file decides, by having been seen already.
 */
static __noinline bool wanted(struct inode *inode)
{
	const struct sg_config *c = config_get();
	struct sg_file_key key = {};

	if (!c || !type_wanted(c, BPF_CORE_READ(inode, i_mode)))
		return false;
	if (task_wanted())
		return true;
	if (!is_kernel_thread())
		return false;
	file_key(&key, inode);
	return bpf_map_lookup_elem(&files, &key);
}

#endif
