/* SPDX-License-Identifier: GPL-2.0-only */
/* Block devices: each request from issue to completion, by kind. */
#ifndef SG_BLOCK_BPF_H
#define SG_BLOCK_BPF_H

#define REQ_OP_MASK_ 0xff

static __always_inline __u32 dev_op(__u32 cmd_flags)
{
	switch (cmd_flags & REQ_OP_MASK_) {
	case 0: /* REQ_OP_READ */
		return SG_DEV_READ;
	case 1: /* REQ_OP_WRITE */
		return SG_DEV_WRITE;
	case 2: /* REQ_OP_FLUSH */
		return SG_DEV_FLUSH;
	case 3: /* REQ_OP_DISCARD */
		return SG_DEV_DISCARD;
	default:
		return SG_DEV_OTHER;
	}
}

static __noinline int on_rq_issue(struct request *rq)
{
	struct gendisk *disk = BPF_CORE_READ(rq, q, disk);
	struct sg_rq r = {};
	__u64 key = (__u64)rq;

	if (!disk)
		return 0;
	r.dev.dev = (__u32)BPF_CORE_READ(disk, major) << 20 | BPF_CORE_READ(disk, first_minor);
	r.dev.op = dev_op(BPF_CORE_READ(rq, cmd_flags));
	r.bytes = BPF_CORE_READ(rq, __data_len);
	r.start_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&requests, &key, &r, BPF_ANY))
		drop(SG_DROP_RQS_FULL);
	return 0;
}

static __noinline int on_rq_complete(struct request *rq, __u32 bytes, bool failed)
{
	__u64 key = (__u64)rq, now = bpf_ktime_get_ns();
	struct sg_rq *r = bpf_map_lookup_elem(&requests, &key);
	struct sg_stat *s;

	/* A part of it: the rest is still on its way. */
	if (!r || bytes < BPF_CORE_READ(rq, __data_len))
		return 0;
	s = stat_of(&devices, &r->dev);
	if (s)
		stat_add(s, now > r->start_ns ? now - r->start_ns : 1, r->bytes,
			 failed ? 5 /* EIO */ : 0, now);
	else
		drop(SG_DROP_DEVICES_FULL);
	bpf_map_delete_elem(&requests, &key);
	return 0;
}

SG_EVENT(block_rq_issue, on_rq_issue(rq), struct request *rq);
SG_EVENT(block_rq_complete, on_rq_complete(rq, bytes, status != 0), struct request *rq, __u8 status,
	 unsigned int bytes);

#endif
