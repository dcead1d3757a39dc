// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Attach tiers.
 *
 * A tier is a set of hooks, each hook a few programs that must all attach. Whether it works is found
 * out by doing it: `bpftool feature` and the kernel's configuration are both wrong at times. A hook
 * that a tier can do without is left out and the tier is loaded again, since the programs know at load
 * time which hooks there are (one hook counts what another would count twice).
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "spoolguard.skel.h"

const struct sg_map_desc sg_map_desc[SG_MAPS] = {
	[SG_MAP_FILES] = { "files", sizeof(struct sg_file_key), sizeof(struct sg_file_rec) },
	[SG_MAP_PATHS] = { "paths", sizeof(struct sg_file_key), sizeof(struct sg_path) },
	[SG_MAP_STATS] = { "stats", sizeof(struct sg_stat_key), sizeof(struct sg_stat) },
	[SG_MAP_ERRORS] = { "errors", sizeof(struct sg_error_key), sizeof(struct sg_error_count) },
	[SG_MAP_SYNCS] = { "syncs", sizeof(struct sg_sync_key), sizeof(struct sg_sync_count) },
	[SG_MAP_INFLIGHT] = { "inflight", sizeof(struct sg_inflight_key),
			      sizeof(struct sg_inflight) },
	[SG_MAP_DEVICES] = { "devices", sizeof(struct sg_dev_key), sizeof(struct sg_stat) },
	[SG_MAP_REQUESTS] = { "requests", sizeof(__u64), sizeof(struct sg_rq) },
	[SG_MAP_WB_ERRORS] = { "wb_errors", sizeof(struct sg_file_key),
			       sizeof(struct sg_wb_error) },
	[SG_MAP_FILTER_TGIDS] = { "filter_tgids", sizeof(__u32), sizeof(__u8) },
	[SG_MAP_FILTER_CGROUPS] = { "filter_cgroups", sizeof(__u64), sizeof(__u8) },
	[SG_MAP_FILTER_DEVS] = { "filter_devs", sizeof(__u32), sizeof(__u8) },
	[SG_MAP_DROPS] = { "drops", sizeof(__u32), sizeof(__u64) },
	[SG_MAP_CONFIG] = { "config", sizeof(__u32), sizeof(struct sg_config) },
	[SG_MAP_OWNER] = { "owner", sizeof(__u32), sizeof(struct sg_owner) },
};

/* --- what libbpf says, kept instead of printed: its callback takes no argument of ours --- */

static _Thread_local char libbpf_said[256];
static _Thread_local char probe_text[4096];

static int keep_message(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN &&
	    !libbpf_said[0]) /* the first: those after it are its consequences */
		vsnprintf(libbpf_said, sizeof(libbpf_said), format, args);
	return 0;
}

void sg_probe_text_clear(void)
{
	probe_text[0] = 0;
}

void sg_probe_text_add(const char *format, ...)
{
	size_t n = strlen(probe_text);
	va_list args;

	va_start(args, format);
	vsnprintf(probe_text + n, sizeof(probe_text) - n, format, args);
	va_end(args);
}

const char *sg_observe_probe_text(void)
{
	return probe_text;
}

/* The cause in one line: libbpf's last warning can hold a piece of the verifier's log. */
static void explain(enum sg_tier tier, const char *what, int error)
{
	char *end = strpbrk(libbpf_said, "\n");

	if (end)
		*end = 0;
	sg_probe_text_add("%s: %s: %s%s%s%s\n", sg_tier_name(tier), what, strerror(-error),
			  libbpf_said[0] ? " (" : "", libbpf_said, libbpf_said[0] ? ")" : "");
}

/* --- hooks --- */

struct hook_event {
	const char *event;   /* tracepoint, or function */
	const char *program; /* without the prefix that tells its kind */
	enum sg_hook hook;
	int params; /* of the tracepoint, with its hidden first one; 0: any */
};

static const struct hook_event functions[] = {
	{ "vfs_fsync_range", "vfs_fsync_range", SG_HOOK_VFS_FSYNC_RANGE, 0 },
	{ "vfs_fsync", "vfs_fsync", SG_HOOK_VFS_FSYNC, 0 },
	{ "__x64_sys_fsync", "__x64_sys_fsync", SG_HOOK_FSYNC_CALLS, 0 },
	{ "__x64_sys_fdatasync", "__x64_sys_fdatasync", SG_HOOK_FSYNC_CALLS, 0 },
	{ "__ia32_sys_fsync", "__ia32_sys_fsync", SG_HOOK_FSYNC_CALLS32, 0 },
	{ "__ia32_sys_fdatasync", "__ia32_sys_fdatasync", SG_HOOK_FSYNC_CALLS32, 0 },
	{ "vfs_write", "vfs_write", SG_HOOK_VFS_WRITE, 0 },
	{ "vfs_writev", "vfs_writev", SG_HOOK_VFS_WRITEV, 0 },
	{ "sync_file_range", "sync_file_range", SG_HOOK_SYNC_FILE_RANGE, 0 },
	{ "__x64_sys_io_submit", "io_submit", SG_HOOK_IO_SUBMIT, 0 },
};

static const struct hook_event call_events[] = {
	{ "sys_enter", "sys_enter", SG_HOOK_SYSCALLS, 0 },
	{ "sys_exit", "sys_exit", SG_HOOK_SYSCALLS, 0 },
	{ "ext4_sync_file_enter", "ext4_sync_file_enter", SG_HOOK_EXT4, 0 },
	{ "ext4_sync_file_exit", "ext4_sync_file_exit", SG_HOOK_EXT4, 0 },
	{ "xfs_file_fsync", "xfs_file_fsync", SG_HOOK_XFS, 0 },
	{ "btrfs_sync_file", "btrfs_sync_file", SG_HOOK_BTRFS, 0 },
};

/* In every tier. io_uring renamed one event and changed the other's arguments between kernels. */
static const struct hook_event common_events[] = {
	{ "io_uring_submit_req", "io_uring_submit_req", SG_HOOK_IO_URING, 0 },
	{ "io_uring_submit_sqe", "io_uring_submit_sqe", SG_HOOK_IO_URING, 0 },
	{ "io_uring_complete", "io_uring_complete_cqe", SG_HOOK_IO_URING, 4 },
	{ "io_uring_complete", "io_uring_complete_res", SG_HOOK_IO_URING, 8 },
	{ "writeback_dirty_folio", "writeback_dirty_folio", SG_HOOK_DIRTY, 0 },
	{ "block_rq_issue", "block_rq_issue", SG_HOOK_BLOCK, 0 },
	{ "block_rq_complete", "block_rq_complete", SG_HOOK_BLOCK, 0 },
	{ "filemap_set_wb_err", "filemap_set_wb_err", SG_HOOK_WB_ERR, 0 },
	{ "file_check_and_advance_wb_err", "file_check_and_advance_wb_err", SG_HOOK_WB_ERR, 0 },
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

static __u32 required(enum sg_tier tier)
{
	if (tier == SG_TIER_FENTRY || tier == SG_TIER_KPROBE)
		return 1U << SG_HOOK_VFS_FSYNC_RANGE | 1U << SG_HOOK_VFS_FSYNC |
		       1U << SG_HOOK_FSYNC_CALLS | 1U << SG_HOOK_VFS_WRITE;
	return 1U << SG_HOOK_SYSCALLS;
}

struct attempt {
	struct sg_observe *o;
	enum sg_tier tier;
	__u32 left_out; /* hooks found not to attach */
	__u32 hooks;
	struct btf *vmlinux;
	struct bpf_object *object;
};

/* Parameters of a tracepoint by its BTF typedef, 0 when it does not exist. */
static int params_in(const struct btf *btf, const char *event)
{
	const struct btf_type *t;
	char name[96];
	int id;

	snprintf(name, sizeof(name), "btf_trace_%s", event);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	if (id <= 0)
		return 0;
	t = btf__type_by_id(btf, btf__type_by_id(btf, id)->type);
	t = btf__type_by_id(btf, t->type);
	return btf_vlen(t);
}

/* Modules that bring tracepoints of their own. */
static int event_params(const struct btf *vmlinux, const char *event)
{
	static const char *const modules[] = { "ext4", "xfs", "btrfs" };
	int n = params_in(vmlinux, event);
	size_t i;

	for (i = 0; !n && i < N(modules); i++) {
		struct btf *btf;

		if (strncmp(event, modules[i], strlen(modules[i])) != 0)
			continue;
		btf = btf__load_module_btf(modules[i], (struct btf *)vmlinux);
		if (!btf)
			continue;
		n = params_in(btf, event);
		btf__free(btf);
	}
	return n;
}

static struct bpf_program *program(struct attempt *a, const char *prefix, const char *name)
{
	char full[96];

	snprintf(full, sizeof(full), "%s_%s", prefix, name);
	return bpf_object__find_program_by_name(a->object, full);
}

/* Programs of a hook are loaded together; the hook counts as there once one of them is chosen. */
static void choose(struct attempt *a, const char *prefix, const struct hook_event *e)
{
	struct bpf_program *p = program(a, prefix, e->program);

	if (!p || (a->left_out & 1U << e->hook))
		return;
	bpf_program__set_autoload(p, true);
	a->hooks |= 1U << e->hook;
}

static void choose_events(struct attempt *a, const struct hook_event *events, size_t n)
{
	const char *prefix = a->tier == SG_TIER_TRACEPOINT ? "rt" : "tb";
	size_t i;

	for (i = 0; i < n; i++) {
		int params = event_params(a->vmlinux, events[i].event);

		if (params && (!events[i].params || params == events[i].params))
			choose(a, prefix, &events[i]);
	}
}

static void choose_functions(struct attempt *a)
{
	bool fentry = a->tier == SG_TIER_FENTRY;
	size_t i;

	for (i = 0; i < N(functions); i++) {
		if (btf__find_by_name_kind(a->vmlinux, functions[i].event, BTF_KIND_FUNC) <= 0)
			continue;
		choose(a, fentry ? "fe" : "kp", &functions[i]);
		choose(a, fentry ? "fx" : "kr", &functions[i]);
	}
}

static void choose_programs(struct attempt *a)
{
	struct bpf_program *p;

	a->hooks = 0;
	for (p = bpf_object__next_program(a->object, NULL); p;
	     p = bpf_object__next_program(a->object, p))
		bpf_program__set_autoload(p, false);
	if (a->tier == SG_TIER_FENTRY || a->tier == SG_TIER_KPROBE)
		choose_functions(a);
	else
		choose_events(a, call_events, N(call_events));
	choose_events(a, common_events, N(common_events));
}

/* The hook that a program belongs to. */
static int hook_of(const char *program_name)
{
	const struct {
		const struct hook_event *e;
		size_t n;
	} sets[] = {
		{ functions, N(functions) },
		{ call_events, N(call_events) },
		{ common_events, N(common_events) },
	};
	size_t s, i;

	for (s = 0; s < N(sets); s++)
		for (i = 0; i < sets[s].n; i++)
			if (!strcmp(program_name + 3, sets[s].e[i].program))
				return sets[s].e[i].hook;
	return -1;
}

/* --- load and attach --- */

static int attach_all(struct attempt *a)
{
	struct bpf_program *p;

	for (p = bpf_object__next_program(a->object, NULL); p;
	     p = bpf_object__next_program(a->object, p)) {
		struct sg_observe *o = a->o;
		const char *name = bpf_program__name(p);
		struct bpf_link *link;
		int rc, hook = hook_of(name);

		if (!bpf_program__autoload(p))
			continue;
		libbpf_said[0] = 0;
		link = bpf_program__attach(p);
		if (link && o->links < SG_LINKS_MAX) {
			o->link_name[o->links] = name;
			o->link[o->links++] = link;
			continue;
		}
		rc = link ? -E2BIG : -errno;
		bpf_link__destroy(link);
		explain(a->tier, name, rc);
		if (hook < 0 || (required(a->tier) & 1U << hook))
			return rc;
		a->left_out |= 1U << hook;
		return -EAGAIN;
	}
	return 0;
}

static void set_sizes(struct spoolguard_bpf *skel, const struct sg_observe_options *options)
{
	if (options->max_files) {
		bpf_map__set_max_entries(skel->maps.files, options->max_files);
		bpf_map__set_max_entries(skel->maps.paths, options->max_files);
	}
	if (options->max_stats) {
		bpf_map__set_max_entries(skel->maps.stats, options->max_stats);
		bpf_map__set_max_entries(skel->maps.syncs, options->max_stats);
	}
	if (options->max_inflight)
		bpf_map__set_max_entries(skel->maps.inflight, options->max_inflight);
}

static int load_once(struct attempt *a, const struct sg_observe_options *options)
{
	struct bpf_object_open_opts opts = { .sz = sizeof(opts),
					     .btf_custom_path = options->btf_path };
	struct sg_observe *o = a->o;
	int rc, i;

	o->skel = spoolguard_bpf__open_opts(&opts);
	if (!o->skel)
		return -errno;
	a->object = o->skel->obj;
	choose_programs(a);
	if ((a->hooks & required(a->tier)) != required(a->tier)) {
		sg_probe_text_add("%s: this kernel has not the functions or events it needs\n",
				  sg_tier_name(a->tier));
		return -ENOENT;
	}
	o->skel->rodata->hooks = a->hooks;
	set_sizes(o->skel, options);
	libbpf_said[0] = 0;
	rc = spoolguard_bpf__load(o->skel);
	if (rc) {
		explain(a->tier, "load", rc);
		return rc;
	}
	for (i = 0; i < SG_MAPS; i++)
		o->fd[i] = bpf_object__find_map_fd_by_name(a->object, sg_map_desc[i].name);
	rc = sg_maps_prepare(o, options);
	return rc ? rc : attach_all(a);
}

void sg_attach_undo(struct sg_observe *o)
{
	int i;

	while (o->links)
		bpf_link__destroy(o->link[--o->links]);
	spoolguard_bpf__destroy(o->skel); /* and with it its maps */
	o->skel = NULL;
	for (i = 0; i < SG_MAPS; i++)
		o->fd[i] = -1;
}

int sg_attach_tier(struct sg_observe *o, const struct sg_observe_options *options,
		   enum sg_tier tier, __u32 *hooks)
{
	struct attempt a = { .o = o, .tier = tier };
	libbpf_print_fn_t before = libbpf_set_print(keep_message);
	int rc;

	a.vmlinux =
		options->btf_path ? btf__parse(options->btf_path, NULL) : btf__load_vmlinux_btf();
	if (!a.vmlinux) {
		sg_probe_text_add("%s: no BTF of the kernel: %s\n", sg_tier_name(tier),
				  strerror(errno));
		rc = -ENOENT;
		goto out;
	}
	do {
		rc = load_once(&a, options);
		if (rc)
			sg_attach_undo(o);
	} while (rc == -EAGAIN);
	*hooks = a.hooks;
out:
	btf__free(a.vmlinux);
	libbpf_set_print(before);
	return rc;
}
