/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps, and how they are counted in.
 *
 * All hashes are preallocated and bounded: an LRU map evicts silently and early, even the sync that
 * hangs. When one is full the cause is counted and the count goes to the file "other", whose
 * entries user space makes at the start. Sizes are defaults; user space may set others before loading.
 */
#ifndef SG_MAPS_BPF_H
#define SG_MAPS_BPF_H

#define SG_HASH(name_, key_, value_, entries_)   \
	struct {                                 \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, entries_);   \
		__type(key, key_);               \
		__type(value, value_);           \
	} name_ SEC(".maps")

#define SG_ARRAY(name_, value_, entries_)         \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, entries_);    \
		__type(key, __u32);               \
		__type(value, value_);            \
	} name_ SEC(".maps")

SG_HASH(files, struct sg_file_key, struct sg_file_rec, 4096);
SG_HASH(paths, struct sg_file_key, struct sg_path, 4096);
SG_HASH(stats, struct sg_stat_key, struct sg_stat, 8192);
SG_HASH(errors, struct sg_error_key, struct sg_error_count, 1024);
SG_HASH(syncs, struct sg_sync_key, struct sg_sync_count, 8192);
SG_HASH(inflight, struct sg_inflight_key, struct sg_inflight, 4096);
SG_HASH(devices, struct sg_dev_key, struct sg_stat, 256);
SG_HASH(requests, __u64, struct sg_rq, 8192);
SG_HASH(wb_errors, struct sg_file_key, struct sg_wb_error, 1024);
SG_HASH(filter_tgids, __u32, __u8, 1024);
SG_HASH(filter_cgroups, __u64, __u8, 64);
SG_HASH(filter_devs, __u32, __u8, 64);
SG_ARRAY(drops, __u64, SG_DROPS);
SG_ARRAY(config, struct sg_config, 1);
SG_ARRAY(owner, struct sg_owner, 1);

/* Values too large for the stack begin as a copy of these. Nothing writes them. */
SG_ARRAY(zero_stat, struct sg_stat, 1);
SG_ARRAY(zero_path, struct sg_path, 1);
SG_ARRAY(zero_file, struct sg_file_rec, 1);

/* The hooks that user space attaches: who counts what depends on it. */
const volatile __u32 hooks;

#define HOOKED(h) (hooks & (1U << (h)))

static __always_inline void add(__u64 *p, __u64 n)
{
	__sync_fetch_and_add(p, n);
}

/* Never lowers *p; gives up after a few lost races, in which the others raised it. */
static __always_inline void raise_to(__u64 *p, __u64 v)
{
	int i;

	for (i = 0; i < 8; i++) {
		__u64 old = *(volatile __u64 *)p;

		if (v <= old || __sync_val_compare_and_swap(p, old, v) == old)
			return;
	}
}

static __always_inline void drop(__u32 cause)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &cause);

	if (n)
		add(n, 1);
}

/* What a call returned as a positive errno, 0 for success. */
static __always_inline __s32 errno_of(long ret)
{
	return ret < 0 && ret >= -4095 ? -ret : 0;
}

/* ns 0 means that the end was not seen. */
static __always_inline void stat_add(struct sg_stat *s, __u64 ns, __u64 bytes, __s32 error,
				     __u64 now)
{
	__u32 i;

	add(&s->count, 1);
	if (bytes)
		add(&s->bytes, bytes);
	if (error) {
		add(&s->errors, 1);
		s->last_errno = error;
	}
	s->last_ns = now;
	if (!ns) {
		add(&s->untimed, 1);
		return;
	}
	add(&s->total_ns, ns);
	raise_to(&s->max_ns, ns);
	i = sg_bucket(ns);
	if (i < SG_BUCKETS)
		add(&s->hist[i], 1);
}

static __always_inline struct sg_stat *stat_of(void *map, const void *key)
{
	__u32 zero = 0;
	struct sg_stat *s = bpf_map_lookup_elem(map, key);
	void *init;

	if (s)
		return s;
	init = bpf_map_lookup_elem(&zero_stat, &zero);
	if (init)
		bpf_map_update_elem(map, key, init, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

#endif
