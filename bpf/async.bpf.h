/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * io_uring and aio: asked for by one task, done by another or by none.
 *
 * Their bytes at risk are unknown: pages are dirtied in places that cannot be tied to the request.
 */
#ifndef SG_ASYNC_BPF_H
#define SG_ASYNC_BPF_H

/* --- io_uring: from submission to completion of a request, whose address is the key --- */

#define REQ_FIXED_FILE_ (1U << 0) /* IOSQE_FIXED_FILE: the number is of a table of the ring */
#define REQ_CQE_SKIP_	(1U << 6) /* IOSQE_CQE_SKIP_SUCCESS: its completion is not seen */

/* Is a sync of this file seen where it is done? Then its request is not counted. */
static __always_inline bool sync_seen_inside(struct inode *inode)
{
	return HOOKED(SG_HOOK_VFS_FSYNC_RANGE) ||
	       (HOOKED(SG_HOOK_EXT4) && inode_magic(inode) == EXT4_MAGIC);
}

/* What a request is: op and flags; false when it is none of ours. */
static __always_inline bool uring_op(struct sg_inflight *e, struct io_kiocb *req)
{
	struct io_sync *sync = (void *)req;
	int opcode = BPF_CORE_READ(req, opcode);

	if (uring_writes(opcode)) {
		e->op = SG_OP_WRITE;
		return true;
	}
	if (opcode == IORING_OP_SYNC_FILE_RANGE) {
		e->op = SG_OP_SYNC_FILE_RANGE;
		return !HOOKED(SG_HOOK_SYNC_FILE_RANGE);
	}
	if (opcode != IORING_OP_FSYNC || HOOKED(SG_HOOK_VFS_FSYNC_RANGE))
		return false;
	e->op = BPF_CORE_READ(sync, flags) & IORING_FSYNC_DATASYNC ? SG_OP_FDATASYNC : SG_OP_FSYNC;
	if (!BPF_CORE_READ(sync, off) && !BPF_CORE_READ(sync, len))
		e->flags |= SG_INFLIGHT_FULL;
	return true;
}

/* False when the request's file is not wanted, or its sync is seen inside. */
static __always_inline bool uring_file(struct sg_inflight *e, struct file *file,
				       struct inode *inode)
{
	if (!wanted(inode) || (is_sync(e->op) && sync_seen_inside(inode)))
		return false;
	if (e->op == SG_OP_WRITE && file_is_dsync(file, inode))
		e->flags |= SG_INFLIGHT_DURABLE;
	return true;
}

static __noinline int on_uring_submit(struct io_kiocb *req)
{
	struct sg_inflight e = { .route = SG_ROUTE_IO_URING, .origin = SG_ORIGIN_IO_URING };
	unsigned int flags = BPF_CORE_READ(req, flags);
	struct inode *inode;
	struct file *file;

	if (!uring_op(&e, req))
		return 0;
	if (flags & REQ_FIXED_FILE_) {
		if (flags & REQ_CQE_SKIP_)
			return 0;
		e.flags |= SG_INFLIGHT_PENDING;
		e.start_ns = bpf_ktime_get_ns();
		op_who(&e);
		inflight_put(&e, (__u64)req, SG_CLASS_SYNC);
		return 0;
	}
	file = fd_file(BPF_CORE_READ(req, cqe.fd));
	if (!file)
		return 0;
	inode = file_inode(file);
	if (!uring_file(&e, file, inode))
		return 0;
	if (flags & REQ_CQE_SKIP_)
		op_untimed(&e, inode, file);
	else
		op_begin(&e, (__u64)req, inode, file);
	return 0;
}

/* A request on a ring's own file table: the file is known now. */
static __noinline int uring_resolve(struct sg_inflight *p, struct io_kiocb *req)
{
	struct file *file = BPF_CORE_READ(req, file);
	struct sg_inflight e = *p;
	struct inode *inode;

	if (!file)
		return 0;
	inode = file_inode(file);
	if (!uring_file(&e, file, inode) || !op_file(&e, inode, file))
		return 0;
	p->file = e.file;
	p->flags = e.flags & ~SG_INFLIGHT_PENDING;
	p->mark_bytes = 0; /* unknown when it began: it raises nothing */
	p->mark_records = 0;
	return 0;
}

static __noinline int on_uring_complete(struct io_kiocb *req, long res)
{
	struct sg_inflight *p = inflight_get((__u64)req, SG_CLASS_SYNC);

	if (p && (p->flags & SG_INFLIGHT_PENDING))
		uring_resolve(p, req);
	op_end((__u64)req, SG_CLASS_SYNC, SG_ORIGIN_IO_URING, res);
	op_end((__u64)req, SG_CLASS_WRITE, SG_ORIGIN_IO_URING, res);
	return 0;
}

SG_EVENT(io_uring_submit_req, on_uring_submit(req), struct io_kiocb *req);
SG_EVENT(io_uring_submit_sqe, on_uring_submit(req), struct io_kiocb *req);
SG_EVENT_AS(io_uring_complete_cqe, io_uring_complete,
	    on_uring_complete(req, BPF_CORE_READ(cqe, res)), void *ring, struct io_kiocb *req,
	    struct io_uring_cqe *cqe);
SG_EVENT_AS(io_uring_complete_res, io_uring_complete, on_uring_complete(req, res), void *ring,
	    struct io_kiocb *req, __u64 user_data, int res);

/* --- aio: io_submit names the files; an fsync is done in a kernel worker --- */

#define AIO_BATCH 1024

/* One request of io_submit; pointers is the program's array of addresses. */
static long aio_one(__u32 i, __u64 *pointers)
{
	struct sg_inflight e = { .op = SG_OP_WRITE, .route = SG_ROUTE_AIO };
	struct iocb *user = NULL;
	__u16 opcode = 0;
	__u32 fd = 0;
	struct sg_file_rec *rec;
	struct inode *inode;
	struct file *file;

	if (bpf_probe_read_user(&user, sizeof(user), (void *)(*pointers + i * sizeof(user))) ||
	    bpf_probe_read_user(&opcode, sizeof(opcode), &user->aio_lio_opcode) ||
	    bpf_probe_read_user(&fd, sizeof(fd), &user->aio_fildes))
		return 0;
	file = fd_file(fd);
	if (!file)
		return 0;
	inode = file_inode(file);
	if (!wanted(inode))
		return 0;
	switch (opcode) {
	case IOCB_CMD_PWRITE:
		bpf_probe_read_user(&e.bytes, sizeof(e.bytes), &user->aio_nbytes);
		/* fall through */
	case IOCB_CMD_PWRITEV:
		op_untimed(&e, inode, file);
		rec = bpf_map_lookup_elem(&files, &e.file);
		if (rec)
			file_unknown(rec, SG_ROUTE_AIO);
		break;
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		/* So that the worker's sync is put down to this process. */
		rec = file_get(&e.file, inode, file);
		if (rec)
			file_touch(rec, bpf_ktime_get_ns());
	}
	return 0;
}

static __noinline int on_io_submit(long n, __u64 pointers)
{
	if (n <= 0)
		return 0;
	bpf_loop(n < AIO_BATCH ? n : AIO_BATCH, aio_one, &pointers, 0);
	if (n > AIO_BATCH)
		drop(SG_DROP_AIO_BATCH);
	return 0;
}

SEC("fentry/__x64_sys_io_submit")
int BPF_PROG(fe_io_submit, struct pt_regs *regs)
{
	return on_io_submit(PT_REGS_PARM2_CORE_SYSCALL(regs), PT_REGS_PARM3_CORE_SYSCALL(regs));
}

SEC("kprobe/__x64_sys_io_submit")
int BPF_KPROBE(kp_io_submit, struct pt_regs *regs)
{
	return on_io_submit(PT_REGS_PARM2_CORE_SYSCALL(regs), PT_REGS_PARM3_CORE_SYSCALL(regs));
}

#endif
