// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Reading the maps. A walk takes a snapshot of the whole map first (one batch call): walking by key
 * begins anew when the key under it is deleted, and would then give entries twice.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
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

static bool same_file(const struct sg_file_key *a, const struct sg_file_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->gen == b->gen;
}

static bool is_other(const struct sg_file_key *k)
{
	return !k->ino && !k->dev && !k->gen;
}

static int map_entries(int fd, __u32 *entries)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*entries = info.max_entries;
	return 0;
}

int sg_map_snapshot(int fd, const struct sg_map_desc *d, void **keys, void **values, __u32 *n)
{
	__u64 position = 0;
	__u32 entries = 0;
	int rc = map_entries(fd, &entries);

	if (rc)
		return rc;
	if (!entries)
		return -EINVAL;
	*keys = calloc(entries, d->key_size);
	*values = calloc(entries, d->value_size);
	*n = entries;
	if (!*keys || !*values)
		rc = -ENOMEM;
	else if (bpf_map_lookup_batch(fd, NULL, &position, *keys, *values, n, NULL) &&
		 errno != ENOENT)
		rc = -errno;
	if (rc) {
		free(*keys);
		free(*values);
		*keys = NULL;
		*values = NULL;
	}
	return rc;
}

struct snapshot {
	char *keys;
	char *values;
	__u32 n;
	const struct sg_map_desc *d;
};

static int snapshot_take(struct sg_observe *o, enum sg_map map, struct snapshot *s)
{
	void *keys, *values;
	int rc;

	memset(s, 0, sizeof(*s));
	s->d = &sg_map_desc[map];
	rc = sg_map_snapshot(o->fd[map], s->d, &keys, &values, &s->n);
	if (rc) {
		s->n = 0;
		return rc;
	}
	s->keys = keys;
	s->values = values;
	return 0;
}

static void *snapshot_key(const struct snapshot *s, __u32 i)
{
	return s->keys + (size_t)i * s->d->key_size;
}

static void *snapshot_value(const struct snapshot *s, __u32 i)
{
	return s->values + (size_t)i * s->d->value_size;
}

static void snapshot_free(struct snapshot *s)
{
	free(s->keys);
	free(s->values);
}

/* --- in flight --- */

/* The task ended and its call with it, unseen. io_uring requests may outlive the thread, not the process. */
static bool task_gone(const struct sg_inflight *e)
{
	return kill(e->origin == SG_ORIGIN_IO_URING ? e->tgid : e->tid, 0) && errno == ESRCH;
}

static void count_lost_end(struct sg_observe *o)
{
	__u32 cause = SG_DROP_LOST_END;
	__u64 n;

	if (!bpf_map_lookup_elem(o->fd[SG_MAP_DROPS], &cause, &n)) {
		n++;
		bpf_map_update_elem(o->fd[SG_MAP_DROPS], &cause, &n, BPF_ANY);
	}
}

int sg_observe_each_inflight(struct sg_observe *o, sg_observe_inflight_fn fn, void *arg)
{
	struct snapshot s;
	__u64 now;
	__u32 i;
	int rc = snapshot_take(o, SG_MAP_INFLIGHT, &s);

	now = now_ns();
	for (i = 0; !rc && i < s.n; i++) {
		const struct sg_inflight *e = snapshot_value(&s, i);

		if (task_gone(e)) {
			if (!bpf_map_delete_elem(o->fd[SG_MAP_INFLIGHT], snapshot_key(&s, i)))
				count_lost_end(o);
		} else if (!(e->flags & SG_INFLIGHT_PENDING)) {
			rc = fn(e, now > e->start_ns ? now - e->start_ns : 0, arg);
		}
	}
	snapshot_free(&s);
	return rc;
}

/* The in-flight list, for looking files up in it. */
struct ages {
	struct snapshot s;
	__u64 now;
};

static int keep_alive(const struct sg_inflight *e, __u64 age_ns, void *arg)
{
	return 0;
}

static int ages_take(struct sg_observe *o, struct ages *a)
{
	int rc = sg_observe_each_inflight(o, keep_alive, NULL); /* drops what is stale */

	if (!rc)
		rc = snapshot_take(o, SG_MAP_INFLIGHT, &a->s);
	a->now = now_ns();
	return rc;
}

static void ages_of(const struct ages *a, struct sg_observe_file *file)
{
	__u32 i;

	for (i = 0; i < a->s.n; i++) {
		const struct sg_inflight *e = snapshot_value(&a->s, i);
		__u64 age = a->now > e->start_ns ? a->now - e->start_ns : 1;

		if ((e->flags & SG_INFLIGHT_PENDING) || !same_file(&e->file, &file->key))
			continue;
		if (age > file->oldest_inflight_ns) {
			file->oldest_inflight_ns = age;
			file->oldest_inflight_op = e->op;
		}
	}
}

/* --- files --- */

static void fill_file(struct sg_observe *o, const struct sg_mounts *mounts,
		      const struct sg_file_key *key, const struct sg_file_rec *rec,
		      struct sg_observe_file *file)
{
	struct sg_path p;

	memset(file, 0, sizeof(*file));
	file->key = *key;
	file->dev = sg_dev_from_kernel(key->dev);
	file->is_other = is_other(key);
	file->rec = *rec;
	file->path_state = SG_PATH_NONE;
	if (!bpf_map_lookup_elem(o->fd[SG_MAP_PATHS], key, &p))
		file->path_state = sg_path_make(mounts, &p, key, file->path, sizeof(file->path));
	/* Renamed: the kernel reads the names anew at the next sync when they are not there. */
	if (file->path_state == SG_PATH_STALE && !(p.flags & SG_PATH_UNLINKED))
		bpf_map_delete_elem(o->fd[SG_MAP_PATHS], key);
	if (rec->written_bytes > rec->durable_bytes)
		file->at_risk_bytes = rec->written_bytes - rec->durable_bytes;
	if (rec->written_records > rec->durable_records)
		file->at_risk_records = rec->written_records - rec->durable_records;
	if (file->at_risk_records)
		file->at_risk_age_ns =
			now_ns() - (rec->oldest_ns ? rec->oldest_ns : rec->synced_ns);
	/* A sync that succeeds after a failed one proves nothing for what the failed one lost. */
	file->at_risk_known = !file->is_other && !rec->failed_ns &&
			      (!rec->unknown_ns || rec->unknown_ns < rec->synced_ns);
}

static bool shown(const struct sg_observe *o, const struct sg_observe_file *file)
{
	if (file->is_other)
		return file->rec.last_ns != 0;
	return !o->path_glob || !fnmatch(o->path_glob, file->path, 0);
}

int sg_observe_set_path_glob(struct sg_observe *o, const char *glob)
{
	char *copy = glob ? strdup(glob) : NULL;

	if (glob && !copy)
		return -ENOMEM;
	free(o->path_glob);
	o->path_glob = copy;
	return 0;
}

int sg_observe_each_file(struct sg_observe *o, sg_observe_file_fn fn, void *arg)
{
	struct sg_mounts *mounts = NULL;
	struct sg_observe_file *file = malloc(sizeof(*file));
	struct ages ages = {};
	struct snapshot s = {};
	__u32 i;
	int rc = file ? 0 : -ENOMEM;

	if (!rc)
		rc = ages_take(o, &ages);
	if (!rc)
		rc = snapshot_take(o, SG_MAP_FILES, &s);
	if (!rc)
		mounts = sg_mounts_read();
	for (i = 0; !rc && i < s.n; i++) {
		fill_file(o, mounts, snapshot_key(&s, i), snapshot_value(&s, i), file);
		if (!shown(o, file))
			continue;
		ages_of(&ages, file);
		rc = fn(file, arg);
	}
	sg_mounts_free(mounts);
	snapshot_free(&s);
	snapshot_free(&ages.s);
	free(file);
	return rc;
}

int sg_observe_file(struct sg_observe *o, const struct sg_file_key *key,
		    struct sg_observe_file *file)
{
	struct sg_mounts *mounts;
	struct sg_file_rec rec;
	struct ages ages = {};
	int rc;

	if (bpf_map_lookup_elem(o->fd[SG_MAP_FILES], key, &rec))
		return -errno;
	rc = ages_take(o, &ages);
	if (!rc) {
		mounts = sg_mounts_read();
		fill_file(o, mounts, key, &rec, file);
		sg_mounts_free(mounts);
		ages_of(&ages, file);
	}
	snapshot_free(&ages.s);
	return rc;
}

int sg_observe_find(struct sg_observe *o, dev_t dev, ino_t ino, const __u32 *gen,
		    struct sg_file_key *key)
{
	__u32 kernel_dev = sg_dev_to_kernel(dev), i;
	struct snapshot s;
	__u64 newest = 0;
	int rc = snapshot_take(o, SG_MAP_FILES, &s);

	if (rc)
		return rc;
	rc = -ENOENT;
	for (i = 0; i < s.n; i++) {
		const struct sg_file_key *k = snapshot_key(&s, i);
		const struct sg_file_rec *rec = snapshot_value(&s, i);

		if (k->ino != ino || k->dev != kernel_dev || (gen && k->gen != *gen))
			continue;
		if (rc && (rec->last_ns >= newest || !newest))
			rc = 0;
		else if (rec->last_ns <= newest)
			continue;
		newest = rec->last_ns;
		*key = *k;
	}
	snapshot_free(&s);
	return rc;
}

/* --- counts; every key of these maps begins with its file --- */

typedef int (*pair_fn)(const void *key, const void *value, void *arg);

struct walk {
	union {
		sg_observe_stat_fn stat;
		sg_observe_sync_fn sync;
		sg_observe_error_fn error;
		sg_observe_wb_error_fn wb_error;
	} fn;
	void *arg;
};

static int each(struct sg_observe *o, enum sg_map map, const struct sg_file_key *file, pair_fn fn,
		void *arg)
{
	struct snapshot s;
	__u32 i;
	int rc = snapshot_take(o, map, &s);

	for (i = 0; !rc && i < s.n; i++)
		if (!file || same_file(file, snapshot_key(&s, i)))
			rc = fn(snapshot_key(&s, i), snapshot_value(&s, i), arg);
	snapshot_free(&s);
	return rc;
}

static int call_stat(const void *key, const void *value, void *arg)
{
	const struct sg_stat *stat = value;
	const struct walk *w = arg;

	return stat->count ? w->fn.stat(key, stat, w->arg) : 0;
}

int sg_observe_each_stat(struct sg_observe *o, const struct sg_file_key *file,
			 sg_observe_stat_fn fn, void *arg)
{
	struct walk w = { .fn.stat = fn, .arg = arg };

	return each(o, SG_MAP_STATS, file, call_stat, &w);
}

static int call_sync(const void *key, const void *value, void *arg)
{
	const struct walk *w = arg;

	return w->fn.sync(key, value, w->arg);
}

int sg_observe_each_sync(struct sg_observe *o, const struct sg_file_key *file,
			 sg_observe_sync_fn fn, void *arg)
{
	struct walk w = { .fn.sync = fn, .arg = arg };

	return each(o, SG_MAP_SYNCS, file, call_sync, &w);
}

static int call_error(const void *key, const void *value, void *arg)
{
	const struct walk *w = arg;

	return w->fn.error(key, value, w->arg);
}

int sg_observe_each_error(struct sg_observe *o, const struct sg_file_key *file,
			  sg_observe_error_fn fn, void *arg)
{
	struct walk w = { .fn.error = fn, .arg = arg };

	return each(o, SG_MAP_ERRORS, file, call_error, &w);
}

static int call_wb_error(const void *key, const void *value, void *arg)
{
	const struct walk *w = arg;

	return w->fn.wb_error(key, value, w->arg);
}

int sg_observe_each_wb_error(struct sg_observe *o, sg_observe_wb_error_fn fn, void *arg)
{
	struct walk w = { .fn.wb_error = fn, .arg = arg };

	return each(o, SG_MAP_WB_ERRORS, NULL, call_wb_error, &w);
}

/* --- devices --- */

int sg_observe_each_device(struct sg_observe *o, sg_observe_dev_fn fn, void *arg)
{
	struct snapshot stats, requests = {};
	int rc = snapshot_take(o, SG_MAP_DEVICES, &stats);
	__u64 now;
	__u32 i, k;

	if (!rc)
		rc = snapshot_take(o, SG_MAP_REQUESTS, &requests);
	now = now_ns();
	for (i = 0; !rc && i < stats.n; i++) {
		const struct sg_dev_key *d = snapshot_key(&stats, i);
		__u64 oldest = 0;
		__u32 n = 0;

		for (k = 0; k < requests.n; k++) {
			const struct sg_rq *r = snapshot_value(&requests, k);

			if (r->dev.dev != d->dev || r->dev.op != d->op)
				continue;
			n++;
			if (now > r->start_ns && now - r->start_ns > oldest)
				oldest = now - r->start_ns;
		}
		rc = fn(d, snapshot_value(&stats, i), oldest, n, arg);
	}
	snapshot_free(&stats);
	snapshot_free(&requests);
	return rc;
}

/* --- room --- */

static void forget_in(struct sg_observe *o, enum sg_map map, const struct sg_file_key *file)
{
	struct snapshot s;
	__u32 i;

	if (snapshot_take(o, map, &s))
		return;
	for (i = 0; i < s.n; i++)
		if (same_file(file, snapshot_key(&s, i)))
			bpf_map_delete_elem(o->fd[map], snapshot_key(&s, i));
	snapshot_free(&s);
}

/* The record goes last: as long as it is there nothing else about the file is made anew. */
int sg_observe_forget(struct sg_observe *o, const struct sg_file_key *key)
{
	if (is_other(key))
		return -EINVAL;
	forget_in(o, SG_MAP_STATS, key);
	forget_in(o, SG_MAP_SYNCS, key);
	forget_in(o, SG_MAP_ERRORS, key);
	bpf_map_delete_elem(o->fd[SG_MAP_WB_ERRORS], key);
	bpf_map_delete_elem(o->fd[SG_MAP_PATHS], key);
	return bpf_map_delete_elem(o->fd[SG_MAP_FILES], key) ? -errno : 0;
}

struct evict {
	struct sg_observe *o;
	__u64 now;
	__u64 idle_ns;
	int n;
};

static int evict_one(const struct sg_observe_file *f, void *arg)
{
	struct evict *e = arg;
	__u64 last = f->rec.last_ns > f->rec.first_ns ? f->rec.last_ns : f->rec.first_ns;

	if (f->is_other || f->oldest_inflight_ns || f->at_risk_bytes || !f->at_risk_known ||
	    e->now - last < e->idle_ns)
		return 0;
	if (!sg_observe_forget(e->o, &f->key))
		e->n++;
	return 0;
}

int sg_observe_evict(struct sg_observe *o, __u64 idle_ns)
{
	struct evict e = { .o = o, .now = now_ns(), .idle_ns = idle_ns };
	char *glob = o->path_glob;
	int rc;

	o->path_glob = NULL;
	rc = sg_observe_each_file(o, evict_one, &e);
	o->path_glob = glob;
	return rc ? rc : e.n;
}

/* --- histograms --- */

__u64 sg_stat_quantile_ns(const struct sg_stat *stat, double share)
{
	__u64 timed = stat->count - stat->untimed, sum = 0, rank;
	__u32 i;

	if (!timed)
		return 0;
	rank = (__u64)(share * (double)timed);
	rank = rank < 1 ? 1 : rank;
	for (i = 0; i + 1 < SG_BUCKETS; i++) {
		sum += stat->hist[i];
		if (sum >= rank)
			break;
	}
	/* Never above what was really seen. */
	if (i + 1 == SG_BUCKETS || sg_bucket_low_ns(i + 1) > stat->max_ns)
		return stat->max_ns;
	return sg_bucket_low_ns(i + 1);
}

void sg_stat_join(struct sg_stat *a, const struct sg_stat *b)
{
	__u32 i;

	a->count += b->count;
	a->errors += b->errors;
	a->untimed += b->untimed;
	a->bytes += b->bytes;
	a->total_ns += b->total_ns;
	if (b->max_ns > a->max_ns)
		a->max_ns = b->max_ns;
	if (b->errors && b->last_ns >= a->last_ns)
		a->last_errno = b->last_errno;
	if (b->last_ns > a->last_ns)
		a->last_ns = b->last_ns;
	for (i = 0; i < SG_BUCKETS; i++)
		a->hist[i] += b->hist[i];
}
