/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One handler, two programs: the kernel gives a BTF tracepoint (tb_) and a raw tracepoint (rt_) the
 * same arguments, and the handlers follow pointers by reading only. Raw tracepoints are the last
 * tier: they need no BTF-typed attachment (and no tracefs). User space loads one of the two.
 */
#ifndef SG_EVENT_BPF_H
#define SG_EVENT_BPF_H

#define SG_EVENT(event_, handler_, args_...) SG_EVENT_AS(event_, event_, handler_, args_)

/* name_: for two handlers of one event, whose arguments differ between kernels. */
#define SG_EVENT_AS(name_, event_, handler_, args_...)           \
	SEC("tp_btf/" #event_) int BPF_PROG(tb_##name_, ##args_) \
	{                                                        \
		handler_;                                        \
		return 0;                                        \
	}                                                        \
	SEC("raw_tp/" #event_) int BPF_PROG(rt_##name_, ##args_) \
	{                                                        \
		handler_;                                        \
		return 0;                                        \
	}                                                        \
	struct sg_event_##name_

#endif
