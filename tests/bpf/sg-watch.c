// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * sg-watch: the observer as a test sees it. Prints "word=value" lines.
 *
 *   sg-watch [-t TIER] [-p PINDIR] [-e reuse|replace|fail] [-f MAXFILES] [-s MAXSTATS] [-n MAXINFLIGHT]
 *            [-T TGID] [-C CGROUPID] [-D PATH] start [COMMAND ARGS…]   with a command: dump and stop when it ends
 *   sg-watch [-p PINDIR] [-g GLOB] dump | info | inflight | devices | wberrors | stop | forget-idle | probe | remove
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/observe.h"

static int print_stat(const struct sg_stat_key *k, const struct sg_stat *s, void *arg)
{
	__u64 hist = 0;
	__u32 i;

	for (i = 0; i < SG_BUCKETS; i++)
		hist += s->hist[i];
	printf("stat ino=%llu op=%s route=%s count=%llu errors=%llu errno=%d untimed=%llu "
	       "bytes=%llu hist=%llu "
	       "ordered=%d path=%s\n",
	       k->file.ino, sg_observe_op_name(k->op), sg_route_name(k->route), s->count, s->errors,
	       s->last_errno, s->untimed, s->bytes, hist,
	       s->max_ns <= s->total_ns && sg_stat_quantile_ns(s, 0.5) <= sg_stat_quantile_ns(s, 1),
	       (char *)arg);
	return 0;
}

static int print_sync(const struct sg_sync_key *k, const struct sg_sync_count *n, void *arg)
{
	printf("sync ino=%llu tgid=%u route=%s count=%llu errors=%llu path=%s\n", k->file.ino,
	       k->tgid, sg_route_name(k->route), n->count, n->errors, (char *)arg);
	return 0;
}

static int print_error(const struct sg_error_key *k, const struct sg_error_count *n, void *arg)
{
	printf("error ino=%llu op=%s errno=%d count=%llu path=%s\n", k->file.ino,
	       sg_observe_op_name(k->op), k->error, n->count, (char *)arg);
	return 0;
}

static int print_file(const struct sg_observe_file *f, void *arg)
{
	static const char *const states[] = { "ok", "stale", "partial", "none" };
	struct sg_observe *o = arg;
	char risk[32];

	snprintf(risk, sizeof(risk), "%llu", (unsigned long long)f->at_risk_bytes);
	printf("file dev=%u:%u ino=%llu gen=%u other=%d mode=%o at_risk=%s records=%llu "
	       "max_risk=%llu/%llu unknown_route=%s "
	       "failed=%d "
	       "first=%u:%s last=%u:%s path_state=%s path=%s\n",
	       major(f->dev), minor(f->dev), f->key.ino, f->key.gen, f->is_other, f->rec.mode,
	       f->at_risk_known ? risk : "unknown", f->at_risk_records, f->rec.max_risk_records,
	       f->rec.max_risk_bytes, f->rec.unknown_ns ? sg_route_name(f->rec.unknown_route) : "-",
	       f->rec.failed_errno, f->rec.first_tgid, f->rec.first_comm, f->rec.last_tgid,
	       f->rec.last_comm, states[f->path_state], f->path);
	sg_observe_each_stat(o, &f->key, print_stat, (void *)f->path);
	sg_observe_each_sync(o, &f->key, print_sync, (void *)f->path);
	return sg_observe_each_error(o, &f->key, print_error, (void *)f->path);
}

static int print_inflight(const struct sg_inflight *e, __u64 age_ns, void *arg)
{
	printf("inflight ino=%llu op=%s route=%s tgid=%u tid=%u comm=%s age_ms=%llu\n", e->file.ino,
	       sg_observe_op_name(e->op), sg_route_name(e->route), e->tgid, e->tid, e->comm,
	       (unsigned long long)age_ns / 1000000);
	return 0;
}

static int print_device(const struct sg_dev_key *k, const struct sg_stat *s, __u64 oldest_ns,
			__u32 n, void *arg)
{
	dev_t dev = sg_dev_from_kernel(k->dev);
	__u64 hist = 0;
	__u32 i;

	for (i = 0; i < SG_BUCKETS; i++)
		hist += s->hist[i];
	printf("device dev=%u:%u op=%s count=%llu errors=%llu bytes=%llu hist=%llu inflight=%u "
	       "oldest_ms=%llu\n",
	       major(dev), minor(dev), sg_dev_op_name(k->op), s->count, s->errors, s->bytes, hist,
	       n, (unsigned long long)oldest_ns / 1000000);
	return 0;
}

static int print_wb_error(const struct sg_file_key *k, const struct sg_wb_error *w, void *arg)
{
	printf("wberror ino=%llu recorded=%llu reported=%llu errno=%d unreported=%u to=%u:%s "
	       "writer=%u\n",
	       k->ino, w->recorded, w->reported, w->last_errno, w->unreported, w->reported_tgid,
	       w->reported_comm, w->writer_tgid);
	return 0;
}

static void print_info(struct sg_observe *o)
{
	struct sg_observe_info info;
	const char *text;
	size_t i;

	if (sg_observe_info(o, &info))
		return;
	printf("tier=%s\nowner_alive=%d\nowner_pid=%u\nin_use=%d\npinned=%d\npin_dir=%s\n",
	       sg_tier_name(info.tier), info.owner_alive, info.owner_pid, info.in_use, info.pinned,
	       info.pin_dir);
	printf("pin_note=%s\n", info.pin_note);
	for (i = 0; i < SG_HOOKS; i++)
		if (info.hooks & 1U << i)
			printf("hook=%s\n", sg_hook_name(i));
	for (i = 0; i < SG_DROPS; i++)
		printf("drop_%s=%llu\n", sg_drop_name(i), info.drops[i]);
	for (i = 0; (text = sg_observe_unseen(&info, i)); i++)
		printf("unseen=%s\n", text);
}

static int fail(int rc, const char *what)
{
	if (rc < 0)
		fprintf(stderr, "%s: %s\n%s", what, strerror(-rc), sg_observe_probe_text());
	return rc < 0;
}

static void dump(struct sg_observe *o)
{
	sg_observe_each_file(o, print_file, o);
	sg_observe_each_inflight(o, print_inflight, NULL);
	sg_observe_each_device(o, print_device, NULL);
	sg_observe_each_wb_error(o, print_wb_error, NULL);
}

static int run(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int start(const struct sg_observe_options *options, char **argv)
{
	struct sg_observe *o;
	int rc = sg_observe_start(options, &o);

	if (fail(rc, "start"))
		return rc == -EPERM ? 3 : rc == -EEXIST ? 17 : rc == -ENOTSUP ? 95 : 1;
	print_info(o);
	if (!argv[0]) {
		sg_observe_close(o);
		return 0;
	}
	rc = run(argv);
	dump(o);
	print_info(o);
	sg_observe_stop(o);
	return rc;
}

static int with_handle(const char *pin_dir, const char *glob, const char *what)
{
	struct sg_observe *o;
	int rc = sg_observe_open(pin_dir, &o);

	if (fail(rc, "open"))
		return rc == -EPERM ? 3 : rc == -ENOENT ? 2 : 1;
	rc = sg_observe_set_path_glob(o, glob);
	if (!strcmp(what, "dump"))
		dump(o);
	else if (!strcmp(what, "info"))
		print_info(o);
	else if (!strcmp(what, "forget-idle"))
		printf("evicted=%d\n", sg_observe_evict(o, 0));
	else if (!strcmp(what, "inflight"))
		rc = sg_observe_each_inflight(o, print_inflight, NULL);
	else if (!strcmp(what, "stop"))
		return fail(sg_observe_stop(o), "stop");
	sg_observe_close(o);
	return fail(rc, what);
}

static int probe(void)
{
	__u32 works;
	int rc = sg_observe_probe(&works), t;

	if (fail(rc, "probe"))
		return rc == -EPERM ? 3 : 1;
	for (t = SG_TIER_FENTRY; t < SG_TIERS; t++)
		printf("works_%s=%d\n", sg_tier_name(t), !!(works & 1U << t));
	printf("%s", sg_observe_probe_text());
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const existing[] = { "reuse", "replace", "fail" };
	struct sg_observe_options options = {};
	struct stat st;
	__u64 cgroup;
	__u32 tgid;
	dev_t dev;
	int c, i;

	setlinebuf(stdout);
	while ((c = getopt(argc, argv, "+t:p:e:f:s:n:g:T:C:D:")) != -1) {
		switch (c) {
		case 't':
			if (sg_tier_parse(optarg) < 0)
				return 64;
			options.tier = sg_tier_parse(optarg);
			break;
		case 'p':
			options.pin_dir = optarg;
			break;
		case 'e':
			for (i = 0; i < 3; i++)
				if (!strcmp(optarg, existing[i]))
					options.existing = i;
			break;
		case 'f':
			options.max_files = strtoul(optarg, NULL, 0);
			break;
		case 's':
			options.max_stats = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			options.max_inflight = strtoul(optarg, NULL, 0);
			break;
		case 'g':
			options.path_glob = optarg;
			break;
		case 'T':
			tgid = strtoul(optarg, NULL, 0);
			options.tgids = &tgid;
			options.tgids_n = 1;
			break;
		case 'C':
			cgroup = strtoull(optarg, NULL, 0);
			options.cgroup_ids = &cgroup;
			options.cgroup_ids_n = 1;
			break;
		case 'D':
			if (stat(optarg, &st))
				return 64;
			dev = st.st_dev;
			options.devs = &dev;
			options.devs_n = 1;
			break;
		default:
			return 64;
		}
	}
	if (optind == argc)
		return 64;
	if (!strcmp(argv[optind], "start"))
		return start(&options, argv + optind + 1);
	if (!strcmp(argv[optind], "probe"))
		return probe();
	if (!strcmp(argv[optind], "remove"))
		return fail(sg_observe_remove_pins(options.pin_dir), "remove");
	return with_handle(options.pin_dir, options.path_glob, argv[optind]);
}
