// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "guard/units.h"
#include "observe/observe.h"

_Static_assert(SG_BUCKETS == SG_HIST_BUCKETS, "one histogram in both worlds");
_Static_assert((int)KERNEL_OPS == (int)SG_OPS &&
		       (int)KERNEL_DSYNC_WRITE == (int)SG_OP_DSYNC_WRITE &&
		       (int)KERNEL_MSYNC == (int)SG_OP_MSYNC,
	       "operations are numbered alike");
_Static_assert((int)KERNEL_ROUTES == (int)SG_ROUTES && (int)KERNEL_DEV_OPS == (int)SG_DEV_OPS,
	       "routes and block operations too");
_Static_assert(KERNEL_TIERS == SG_TIERS - 1, "all tiers but auto");

/* What a file's pointers lead to. */
struct file_data {
	struct sg_file_key key;
	struct kernel_stat op[KERNEL_OPS], sync;
	char path[SG_OBSERVE_PATH_MAX];
	char comm[SG_COMM_LEN + 1], wb_comm[SG_COMM_LEN + 1];
};

struct device_data {
	struct kernel_stat op[KERNEL_DEV_OPS];
};

/* Everything behind a view. Files are reached by pointer, so that the list may move while it grows. */
struct collected {
	struct kernel_view *view;
	struct file_data **files;
	unsigned int *by_key; /* indexes of files in the order of their keys */
	struct device_data **devices;
	unsigned int room_files, room_devices, room_inflight;
};

struct kernel_observer {
	struct sg_observe *o;
};

const char *kernel_op_name(enum kernel_op op)
{
	static const char *const names[] = { "write", "fsync",		 "fdatasync", "dsync_write",
					     "msync", "sync_file_range", "other" };

	return op < KERNEL_OPS ? names[op] : "unknown";
}

const char *kernel_route_name(enum kernel_route route)
{
	static const char *const names[] = {
		"syscall", "osync", "msync", "io_uring", "aio", "other"
	};

	return route < KERNEL_ROUTES ? names[route] : "unknown";
}

const char *kernel_dev_op_name(enum kernel_dev_op op)
{
	static const char *const names[] = { "read", "write", "flush", "discard", "other" };

	return op < KERNEL_DEV_OPS ? names[op] : "unknown";
}

/* Where the maps are pinned: NULL is the usual place. */
static const char *pin_dir(void)
{
	const char *dir = getenv("SPOOLGUARD_PIN_DIR");

	return dir && *dir ? dir : NULL;
}

/* --- collecting --- */

/* Room for one more. Returns false when out of memory. */
static bool grow(void *list, unsigned int n, unsigned int *room, size_t size)
{
	void **p = list, *more;

	if (n < *room)
		return true;
	more = reallocarray(*p, *room ? 2 * *room : 64, size);
	if (!more)
		return false;
	*room = *room ? 2 * *room : 64;
	*p = more;
	return true;
}

static void copy_comm(char *to, const char *from)
{
	memcpy(to, from, SG_COMM_LEN);
	to[SG_COMM_LEN] = 0;
}

static int take_file(const struct sg_observe_file *f, void *arg)
{
	struct collected *c = arg;
	struct kernel_view *v = c->view;
	unsigned int room = c->room_files;
	struct file_data *d = calloc(1, sizeof(*d));
	struct kernel_file *k;

	if (!d || !grow(&v->files, v->n_files, &room, sizeof(*v->files)) ||
	    !grow(&c->files, v->n_files, &c->room_files, sizeof(*c->files))) {
		free(d);
		return -ENOMEM;
	}
	c->files[v->n_files] = d;
	k = &v->files[v->n_files++];
	d->key = f->key;
	copy_comm(d->comm, f->rec.last_comm);
	snprintf(d->path, sizeof(d->path), "%s", f->path);
	*k = (struct kernel_file){
		.dev = f->dev,
		.ino = f->key.ino,
		.gen = f->key.gen,
		.other = f->is_other,
		.directory = S_ISDIR(f->rec.mode),
		.path = f->path_state == SG_PATH_NONE ? NULL : d->path,
		.path_whole = f->path_state == SG_PATH_OK || f->path_state == SG_PATH_STALE,
		.unlinked = f->path_state == SG_PATH_STALE,
		.comm = d->comm[0] ? d->comm : NULL,
		.pid = f->rec.last_tgid,
		.first_pid = f->rec.first_tgid,
		.op = d->op,
		.sync = &d->sync,
		.at_risk_unknown = !f->at_risk_known,
		.at_risk_bytes = f->at_risk_bytes,
		.peak_records = f->rec.max_risk_records,
		.peak_bytes = f->rec.max_risk_bytes,
		.last_errno = f->rec.failed_errno,
		.last_error_ns = f->rec.failed_ns,
	};
	if (f->oldest_inflight_op == SG_OP_WRITE)
		k->oldest_write_ns = f->oldest_inflight_ns;
	else
		k->oldest_sync_ns = f->oldest_inflight_ns;
	return 0;
}

static int compare(const void *pa, const void *pb, void *arg)
{
	struct file_data *const *files = arg;

	return memcmp(&files[*(const unsigned int *)pa]->key,
		      &files[*(const unsigned int *)pb]->key, sizeof(struct sg_file_key));
}

/* After the last file: thousands of counts are going to ask for theirs. */
static int make_index(struct collected *c)
{
	unsigned int i, n = c->view->n_files;

	c->by_key = calloc(n + 1, sizeof(*c->by_key));
	if (!c->by_key)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		c->by_key[i] = i;
	qsort_r(c->by_key, n, sizeof(*c->by_key), compare, c->files);
	return 0;
}

static int find_file(const struct collected *c, const struct sg_file_key *key)
{
	unsigned int low = 0, high = c->view->n_files, middle;
	int order;

	while (low < high) {
		middle = low + (high - low) / 2;
		order = memcmp(&c->files[c->by_key[middle]]->key, key, sizeof(*key));
		if (!order)
			return c->by_key[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static void add_stat(struct kernel_stat *to, const struct sg_stat *from)
{
	to->count += from->count;
	to->errors += from->errors;
	to->untimed += from->untimed;
	to->bytes += from->bytes;
	to->total_ns += from->total_ns;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
	sg_hist_merge(to->hist, (const uint64_t *)from->hist);
}

static int take_stat(const struct sg_stat_key *key, const struct sg_stat *stat, void *arg)
{
	struct collected *c = arg;
	int i = find_file(c, &key->file);
	struct kernel_file *k;

	if (i < 0 || key->op >= SG_OPS || key->route >= SG_ROUTES)
		return 0;
	k = &c->view->files[i];
	add_stat(&c->files[i]->op[key->op], stat);
	if (!kernel_op_is_sync((enum kernel_op)key->op))
		return 0;
	add_stat(&c->files[i]->sync, stat);
	k->sync_route[key->route] += stat->count;
	k->syncs += stat->count;
	k->sync_errors += stat->errors;
	return 0;
}

static int take_wb_error(const struct sg_file_key *key, const struct sg_wb_error *w, void *arg)
{
	struct collected *c = arg;
	int i = find_file(c, key);
	struct kernel_file *k;

	if (i < 0)
		return 0;
	k = &c->view->files[i];
	copy_comm(c->files[i]->wb_comm, w->reported_comm);
	k->wb_recorded = w->recorded;
	k->wb_reported = w->reported;
	k->wb_unreported = w->unreported;
	k->wb_errno = w->last_errno;
	k->wb_reported_comm = c->files[i]->wb_comm[0] ? c->files[i]->wb_comm : NULL;
	k->wb_reported_pid = w->reported_tgid;
	k->wb_writer_pid = w->writer_tgid;
	return 0;
}

static int take_inflight(const struct sg_inflight *e, __u64 age_ns, void *arg)
{
	struct collected *c = arg;
	struct kernel_view *v = c->view;
	struct kernel_inflight *f;

	if (e->flags & SG_INFLIGHT_PENDING)
		return 0;
	if (!grow(&v->inflight, v->n_inflight, &c->room_inflight, sizeof(*v->inflight)))
		return -ENOMEM;
	f = &v->inflight[v->n_inflight++];
	*f = (struct kernel_inflight){ .dev = sg_dev_from_kernel(e->file.dev),
				       .ino = e->file.ino,
				       .gen = e->file.gen,
				       .op = (enum kernel_op)e->op,
				       .route = (enum kernel_route)e->route,
				       .start_ns = e->start_ns,
				       .bytes = e->bytes,
				       .pid = e->tgid,
				       .tid = e->tid };
	copy_comm(f->comm, e->comm);
	return 0;
}

/* "vda1" of a device number; the number itself where sysfs does not tell. */
static void device_name(uint64_t dev, char *buf, size_t size)
{
	char link[64], target[256];
	const char *base;
	ssize_t n;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = readlink(link, target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = 0;
		base = strrchr(target, '/');
		snprintf(buf, size, "%.*s", (int)size - 1, base ? base + 1 : target);
	} else {
		snprintf(buf, size, "%u:%u", major(dev), minor(dev));
	}
}

static int device_index(struct collected *c, uint64_t dev)
{
	struct kernel_view *v = c->view;
	unsigned int i, room = c->room_devices;
	struct device_data *d;

	for (i = 0; i < v->n_devices; i++)
		if (v->devices[i].dev == dev)
			return i;
	d = calloc(1, sizeof(*d));
	if (!d || !grow(&v->devices, i, &room, sizeof(*v->devices)) ||
	    !grow(&c->devices, i, &c->room_devices, sizeof(*c->devices))) {
		free(d);
		return -ENOMEM;
	}
	c->devices[i] = d;
	v->devices[i] = (struct kernel_device){ .dev = dev, .op = d->op };
	device_name(dev, v->devices[i].name, sizeof(v->devices[i].name));
	return v->n_devices++;
}

static int take_device(const struct sg_dev_key *key, const struct sg_stat *stat, __u64 oldest_ns,
		       __u32 n, void *arg)
{
	struct collected *c = arg;
	int i = device_index(c, sg_dev_from_kernel(key->dev));

	if (i < 0 || key->op >= SG_DEV_OPS)
		return i < 0 ? i : 0;
	if (stat)
		add_stat(&c->devices[i]->op[key->op], stat);
	c->view->devices[i].inflight += n;
	if (oldest_ns > c->view->devices[i].oldest_ns)
		c->view->devices[i].oldest_ns = oldest_ns;
	return 0;
}

static int take_info(struct sg_observe *o, struct kernel_view *v)
{
	struct sg_observe_info info;
	struct sg_text t;
	const char *s;
	size_t i;
	int err = sg_observe_info(o, &info);

	if (err)
		return err;
	snprintf(v->tier, sizeof(v->tier), "%s", sg_tier_name(info.tier));
	v->owner_pid = info.owner_pid;
	v->started_ns = info.started_ns;
	sg_text_init(&t, v->blind, sizeof(v->blind));
	for (i = 0; (s = sg_observe_unseen(&info, i)); i++) {
		sg_text_str(&t, i ? "\n" : "");
		sg_text_str(&t, s);
	}
	v->drops = calloc(SG_DROPS, sizeof(*v->drops));
	if (!v->drops)
		return -ENOMEM;
	for (i = 0; i < SG_DROPS; i++)
		if (info.drops[i])
			v->drops[v->n_drops++] =
				(struct kernel_drop){ sg_drop_name(i), info.drops[i] };
	return 0;
}

static int collect(struct sg_observe *o, struct kernel_view **out)
{
	struct kernel_view *v = calloc(1, sizeof(*v));
	struct collected *c = calloc(1, sizeof(*c));
	struct timespec now;
	int err;

	if (!v || !c) {
		free(v);
		free(c);
		return -ENOMEM;
	}
	v->priv = c;
	c->view = v;
	err = take_info(o, v);
	err = err ?: sg_observe_each_file(o, take_file, c);
	err = err ?: make_index(c);
	err = err ?: sg_observe_each_stat(o, NULL, take_stat, c);
	err = err ?: sg_observe_each_wb_error(o, take_wb_error, c);
	err = err ?: sg_observe_each_inflight(o, take_inflight, c);
	err = err ?: sg_observe_each_device(o, take_device, c);
	clock_gettime(CLOCK_MONOTONIC, &now);
	v->now_ns = now.tv_sec * SG_NSEC_PER_SEC + now.tv_nsec;
	if (err < 0) {
		kernel_free(v);
		return err;
	}
	*out = v;
	return 0;
}

int kernel_open(struct kernel_view **out)
{
	struct sg_observe *o;
	int err = sg_observe_open(pin_dir(), &o);

	if (err)
		return err;
	err = collect(o, out);
	sg_observe_close(o);
	return err;
}

void kernel_free(struct kernel_view *v)
{
	struct collected *c = v ? v->priv : NULL;
	unsigned int i;

	if (!v)
		return;
	for (i = 0; c && i < v->n_files; i++)
		free(c->files[i]);
	for (i = 0; c && i < v->n_devices; i++)
		free(c->devices[i]);
	if (c) {
		free(c->files);
		free(c->devices);
		free(c->by_key);
	}
	free(c);
	free(v->files);
	free(v->devices);
	free(v->inflight);
	free(v->drops);
	free(v);
}

/* --- an observer of our own --- */

/* What attaching said, on one line. */
static void explain_attach(char *why, size_t size)
{
	const char *text = sg_observe_probe_text();
	struct sg_text t;

	sg_text_init(&t, why, size);
	sg_text_str(&t, "no way to attach works here: ");
	for (; text && *text; text++)
		if (*text != '\n')
			sg_text_char(&t, *text);
		else if (text[1])
			sg_text_str(&t, "; ");
}

static void explain(int err, char *why, size_t size)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		snprintf(why, size, "not permitted; it needs root (CAP_BPF and CAP_PERFMON)");
		break;
	case -ENOTSUP:
		if (access("/sys/kernel/btf/vmlinux", F_OK))
			snprintf(why, size, "this kernel exports no BTF (/sys/kernel/btf/vmlinux)");
		else
			explain_attach(why, size);
		break;
	case -EBUSY:
		snprintf(why, size, "another one is in use that cannot be shared");
		break;
	default:
		snprintf(why, size, "%s", strerror(-err));
	}
}

int kernel_start(const struct kernel_filter *filter, struct kernel_observer **out, char *why,
		 size_t size)
{
	struct sg_observe_options opt = { .existing = SG_EXISTING_SHARE, .pin_dir = pin_dir() };
	struct kernel_observer *k = calloc(1, sizeof(*k));
	int err;

	if (!k) {
		explain(-ENOMEM, why, size);
		return -ENOMEM;
	}
	if (filter && (filter->n_pids || filter->tier)) {
		opt.tgids = filter->pids;
		opt.tgids_n = filter->n_pids;
		opt.tier = filter->tier ? sg_tier_parse(filter->tier) : SG_TIER_AUTO;
		opt.pin_dir = "";
	}
	err = sg_observe_start(&opt, &k->o);
	if (err) {
		explain(err, why, size);
		free(k);
		return err;
	}
	*out = k;
	return 0;
}

int kernel_snapshot(struct kernel_observer *k, struct kernel_view **out)
{
	return collect(k->o, out);
}

void kernel_stop(struct kernel_observer *k)
{
	if (!k)
		return;
	sg_observe_leave(k->o);
	free(k);
}

bool kernel_is_tier(const char *name)
{
	return sg_tier_parse(name) >= 0;
}

/* --- what would work --- */

/* The lines of text that begin with "name: ", joined. */
static void reasons(const char *text, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);
	struct sg_text t;
	const char *end;

	sg_text_init(&t, out, size);
	for (; text && *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		if (strncmp(text, name, n) || strncmp(text + n, ": ", 2))
			continue;
		sg_text_str(&t, t.len ? "; " : "");
		sg_text_mem(&t, text + n + 2, end - text - n - 2);
	}
}

int kernel_probe(struct kernel_tier tiers[KERNEL_TIERS])
{
	__u32 works = 0;
	int err = sg_observe_probe(&works), i;

	for (i = 0; i < KERNEL_TIERS; i++) {
		tiers[i].name = sg_tier_name(i + 1);
		tiers[i].works = works & 1u << (i + 1);
		tiers[i].why[0] = 0;
		if (!tiers[i].works)
			reasons(sg_observe_probe_text(), tiers[i].name, tiers[i].why,
				sizeof(tiers[i].why));
		if (!tiers[i].works && !tiers[i].why[0])
			explain(err ?: -ENOTSUP, tiers[i].why, sizeof(tiers[i].why));
	}
	return works ? 0 : err;
}
