// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Start, find and stop the observer, and what is known about it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- owner --- */

/* Start time of a process in clock ticks since boot, 0 when there is none. */
static __u64 start_ticks(__u32 pid)
{
	unsigned long long ticks = 0;
	char path[64], text[1024], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	/* The name may hold anything: count fields from its closing bracket. */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d"
			 " %*d %llu",
			 &ticks) != 1)
		return 0;
	return ticks;
}

static int owner_get(const struct sg_observe *o, struct sg_owner *owner)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(o->fd[SG_MAP_OWNER], &zero, owner) ? -errno : 0;
}

static bool owner_alive(const struct sg_owner *owner)
{
	return owner->pid && start_ticks(owner->pid) == owner->pid_start_ticks;
}

static int owner_set(const struct sg_observe *o, enum sg_tier tier, __u32 hooks, __u64 started_ns)
{
	struct sg_owner owner = {
		.abi = SG_OBSERVE_ABI,
		.pid = getpid(),
		.pid_start_ticks = start_ticks(getpid()),
		.started_ns = started_ns,
		.tier = tier,
		.hooks = hooks,
	};
	__u32 zero = 0;

	return bpf_map_update_elem(o->fd[SG_MAP_OWNER], &zero, &owner, BPF_ANY) ? -errno : 0;
}

/* --- settings --- */

static int filter_fill(int fd, const void *keys, size_t n, size_t key_size)
{
	__u8 yes = 1;
	size_t i;

	for (i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, (const char *)keys + i * key_size, &yes, BPF_ANY))
			return -errno;
	return 0;
}

static void filter_clear(int fd)
{
	__u64 key; /* the widest of the three */

	while (!bpf_map_get_next_key(fd, NULL, &key))
		if (bpf_map_delete_elem(fd, &key))
			return;
}

static int settings_apply(const struct sg_observe *o, const struct sg_observe_options *options)
{
	struct sg_config config = {
		.flags = (options->tgids_n ? SG_CONFIG_TGIDS : 0) |
			 (options->cgroup_ids_n ? SG_CONFIG_CGROUPS : 0) |
			 (options->devs_n ? SG_CONFIG_DEVS : 0) |
			 (options->all_types ? SG_CONFIG_ALL_TYPES : 0),
	};
	__u32 zero = 0, dev;
	size_t i;
	int rc;

	filter_clear(o->fd[SG_MAP_FILTER_TGIDS]);
	filter_clear(o->fd[SG_MAP_FILTER_CGROUPS]);
	filter_clear(o->fd[SG_MAP_FILTER_DEVS]);
	rc = filter_fill(o->fd[SG_MAP_FILTER_TGIDS], options->tgids, options->tgids_n,
			 sizeof(__u32));
	if (!rc)
		rc = filter_fill(o->fd[SG_MAP_FILTER_CGROUPS], options->cgroup_ids,
				 options->cgroup_ids_n, sizeof(__u64));
	for (i = 0; !rc && i < options->devs_n; i++) {
		dev = sg_dev_to_kernel(options->devs[i]);
		rc = filter_fill(o->fd[SG_MAP_FILTER_DEVS], &dev, 1, sizeof(dev));
	}
	if (!rc && bpf_map_update_elem(o->fd[SG_MAP_CONFIG], &zero, &config, BPF_ANY))
		rc = -errno;
	return rc;
}

/* Room for what full maps fold together, made while there is room for sure. */
static int make_other(const struct sg_observe *o)
{
	struct sg_file_rec rec = { .first_ns = now_ns() };
	struct sg_stat_key k = {};
	struct sg_stat *s = calloc(1, sizeof(*s));
	int rc = 0, op, route;

	if (!s)
		return -ENOMEM;
	if (bpf_map_update_elem(o->fd[SG_MAP_FILES], &k.file, &rec, BPF_ANY))
		rc = -errno;
	for (op = 0; !rc && op < SG_OPS; op++)
		for (route = 0; !rc && route < SG_ROUTES; route++) {
			k.op = op;
			k.route = route;
			if (bpf_map_update_elem(o->fd[SG_MAP_STATS], &k, s, BPF_ANY))
				rc = -errno;
		}
	free(s);
	return rc;
}

int sg_maps_prepare(const struct sg_observe *o, const struct sg_observe_options *options)
{
	int rc = settings_apply(o, options);

	return rc ? rc : make_other(o);
}

/* --- start --- */

static int options_check(const struct sg_observe_options *options)
{
	if ((unsigned int)options->tier >= SG_TIERS ||
	    (unsigned int)options->existing > SG_EXISTING_SHARE)
		return -EINVAL;
	if ((options->max_files && options->max_files < 2) ||
	    (options->max_stats && options->max_stats < SG_OPS * SG_ROUTES))
		return -EINVAL;
	return 0;
}

/* Best tier first; the tier asked for, or all. */
static int attach_best(struct sg_observe *o, const struct sg_observe_options *options,
		       enum sg_tier *tier, __u32 *hooks)
{
	int t, rc = -ENOTSUP, first = options->tier ? options->tier : SG_TIER_FENTRY;
	int last = options->tier ? options->tier : SG_TIER_TRACEPOINT;

	sg_probe_text_clear();
	for (t = first; t <= last; t++) {
		rc = sg_attach_tier(o, options, t, hooks);
		if (!rc) {
			sg_probe_text_add("%s: attached\n", sg_tier_name(t));
			*tier = t;
			return 0;
		}
	}
	return rc == -ENOMEM ? rc : -ENOTSUP;
}

static void close_maps(struct sg_observe *o)
{
	int i;

	for (i = 0; i < SG_MAPS; i++) {
		if (o->fd[i] >= 0)
			close(o->fd[i]);
		o->fd[i] = -1;
	}
}

static void close_users(struct sg_observe *o)
{
	if (o->users_fd >= 0)
		close(o->users_fd);
	o->users_fd = -1;
}

static bool has_filter(const struct sg_observe_options *options)
{
	return options->tgids_n || options->cgroup_ids_n || options->devs_n || options->all_types;
}

/* Who takes over may change the filters, as he says so; who shares may not. */
static bool fits(const struct sg_observe_options *options, const struct sg_owner *owner, bool used)
{
	if (owner->abi != SG_OBSERVE_ABI || (options->tier && options->tier != owner->tier))
		return false;
	if (options->existing == SG_EXISTING_SHARE)
		return used && !has_filter(options);
	return options->existing == SG_EXISTING_REUSE;
}

static int join(struct sg_observe *o, const struct sg_observe_options *options,
		const struct sg_owner *owner, bool used)
{
	int rc = sg_pin_use(o->users_fd);

	if (!rc && !(used && owner_alive(owner)))
		rc = owner_set(o, owner->tier, owner->hooks, owner->started_ns);
	if (!rc && has_filter(options))
		rc = settings_apply(o, options);
	return rc;
}

/* 1: it is ours too; 0: none is left, start anew. */
static int settle_existing(struct sg_observe *o, const struct sg_observe_options *options,
			   const struct sg_pin_lock *lock)
{
	struct sg_owner owner;
	bool used;
	int rc;

	o->users_fd = sg_pin_users(lock, &o->id);
	used = o->users_fd >= 0 && sg_pin_used(o->users_fd);
	rc = sg_pin_open(o, o->pin_dir);
	if (rc && rc != -ENOENT && rc != -EPROTO && rc != -EPERM && rc != -EACCES)
		return rc;
	if (!rc)
		rc = owner_get(o, &owner);
	if (!rc && options->existing == SG_EXISTING_FAIL)
		return -EEXIST;
	if (!rc && o->users_fd >= 0 && fits(options, &owner, used)) {
		rc = join(o, options, &owner, used);
		return rc ? rc : 1;
	}
	if (used)
		return -EBUSY;
	close_maps(o);
	close_users(o);
	o->pinned = false;
	sg_pin_clear(lock);
	return 0;
}

static int start_anew(struct sg_observe *o, const struct sg_observe_options *options)
{
	enum sg_tier tier;
	__u32 hooks;
	int rc = attach_best(o, options, &tier, &hooks);

	return rc ? rc : owner_set(o, tier, hooks, now_ns());
}

static int start_locked(struct sg_observe *o, const struct sg_observe_options *options,
			struct sg_pin_lock *lock)
{
	int rc = settle_existing(o, options, lock);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = start_anew(o, options);
	if (!rc)
		rc = sg_pin_all(o, lock);
	if (rc) {
		close_users(o);
		sg_pin_remove(o->pin_dir, lock);
	}
	o->pinned = !rc;
	return rc;
}

static int start_pinned(struct sg_observe *o, const struct sg_observe_options *options)
{
	struct sg_pin_lock lock;
	int rc = sg_pin_dir(options->pin_dir, o->pin_dir);

	if (rc)
		return rc;
	rc = sg_pin_lock(o->pin_dir, SG_PIN_MAKE, &lock);
	sg_pin_note(o->pin_dir, rc, o->pin_note);
	if (rc)
		return start_anew(o, options);
	rc = start_locked(o, options, &lock);
	if (rc)
		close_users(o);
	sg_pin_unlock(&lock);
	return rc;
}

static struct sg_observe *handle_new(void)
{
	struct sg_observe *o = calloc(1, sizeof(*o));
	int i;

	if (!o)
		return NULL;
	for (i = 0; i < SG_MAPS; i++)
		o->fd[i] = -1;
	o->users_fd = -1;
	return o;
}

int sg_observe_start(const struct sg_observe_options *options, struct sg_observe **out)
{
	static const struct sg_observe_options defaults;
	struct sg_observe *o;
	int rc;

	options = options ? options : &defaults;
	rc = options_check(options);
	if (rc)
		return rc;
	if (geteuid() != 0)
		return -EPERM;
	o = handle_new();
	if (!o)
		return -ENOMEM;
	if (options->path_glob && !(o->path_glob = strdup(options->path_glob)))
		rc = -ENOMEM;
	if (rc)
		goto out;
	if (options->pin_dir && !*options->pin_dir)
		rc = start_anew(o, options);
	else
		rc = start_pinned(o, options);
out:
	if (rc)
		sg_observe_close(o);
	else
		*out = o;
	return rc;
}

static int open_locked(struct sg_observe *o, const struct sg_pin_lock *lock)
{
	struct sg_owner owner;
	int fd, rc = sg_pin_open(o, o->pin_dir);

	if (!rc)
		rc = owner_get(o, &owner);
	if (!rc && owner.abi != SG_OBSERVE_ABI)
		rc = -EPROTO;
	if (rc)
		return rc;
	fd = sg_pin_users(lock, &o->id);
	if (fd < 0)
		return fd == -ENOENT ? -EPROTO : fd;
	o->used = sg_pin_used(fd);
	close(fd);
	return 0;
}

int sg_observe_open(const char *pin_dir, struct sg_observe **out)
{
	struct sg_pin_lock lock;
	struct sg_observe *o;
	int rc;

	if (geteuid() != 0)
		return -EPERM;
	o = handle_new();
	if (!o)
		return -ENOMEM;
	rc = sg_pin_dir(pin_dir, o->pin_dir);
	if (!rc)
		rc = sg_pin_lock(o->pin_dir, SG_PIN_READ, &lock);
	if (!rc) {
		rc = open_locked(o, &lock);
		sg_pin_unlock(&lock);
	}
	if (rc)
		sg_observe_close(o);
	else
		*out = o;
	return rc;
}

void sg_observe_close(struct sg_observe *o)
{
	if (!o)
		return;
	close_users(o);
	if (o->skel)
		sg_attach_undo(o); /* pinned links stay attached: only our reference goes */
	else
		close_maps(o);
	free(o->path_glob);
	free(o);
}

/* Our own use ends under the lock too: two that leave at once must not each leave it to the other. */
static int end(struct sg_observe *o, bool if_last)
{
	struct sg_pin_lock lock;
	bool used;
	int rc = 0;

	if (o->pinned)
		rc = sg_pin_lock(o->pin_dir, SG_PIN_CHANGE, &lock);
	if (o->pinned && !rc) {
		used = o->users_fd >= 0 && sg_pin_used(o->users_fd);
		close_users(o);
		if (sg_pin_is(&lock, &o->id) && !(if_last && used))
			rc = sg_pin_remove(o->pin_dir, &lock);
		sg_pin_unlock(&lock);
	}
	sg_observe_close(o);
	return rc == -ENOENT ? 0 : rc;
}

int sg_observe_stop(struct sg_observe *o)
{
	return end(o, false);
}

int sg_observe_leave(struct sg_observe *o)
{
	return end(o, true);
}

int sg_observe_remove_pins(const char *pin_dir)
{
	struct sg_pin_lock lock;
	char dir[256];
	int rc = sg_pin_dir(pin_dir, dir);

	if (!rc)
		rc = sg_pin_lock(dir, SG_PIN_CHANGE, &lock);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = sg_pin_remove(dir, &lock);
	sg_pin_unlock(&lock);
	return rc;
}

/* --- what runs --- */

int sg_observe_info(struct sg_observe *o, struct sg_observe_info *info)
{
	struct sg_config config = {};
	struct sg_owner owner;
	__u32 i, zero = 0;
	int rc;

	memset(info, 0, sizeof(*info));
	rc = owner_get(o, &owner);
	if (rc)
		return rc;
	bpf_map_lookup_elem(o->fd[SG_MAP_CONFIG], &zero, &config);
	info->tier = owner.tier;
	info->hooks = owner.hooks;
	info->owner_pid = owner.pid;
	info->owner_alive = owner_alive(&owner);
	info->in_use = o->used || o->users_fd >= 0 || !o->pinned;
	info->started_ns = owner.started_ns;
	info->pinned = o->pinned;
	info->config_flags = config.flags;
	if (o->pinned)
		memcpy(info->pin_dir, o->pin_dir, sizeof(info->pin_dir));
	memcpy(info->pin_note, o->pin_note, sizeof(info->pin_note));
	for (i = 0; i < SG_DROPS; i++)
		bpf_map_lookup_elem(o->fd[SG_MAP_DROPS], &i, &info->drops[i]);
	return 0;
}

int sg_observe_probe(__u32 *works)
{
	static const struct sg_observe_options options;
	struct sg_observe *o;
	__u32 hooks;
	int t;

	*works = 0;
	if (geteuid() != 0)
		return -EPERM;
	sg_probe_text_clear();
	for (t = SG_TIER_FENTRY; t < SG_TIERS; t++) {
		o = handle_new();
		if (!o)
			return -ENOMEM;
		if (!sg_attach_tier(o, &options, t, &hooks)) {
			*works |= 1U << t;
			sg_probe_text_add("%s: attached\n", sg_tier_name(t));
		}
		sg_observe_close(o);
	}
	return 0;
}
