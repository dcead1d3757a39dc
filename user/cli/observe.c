// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard observe: programs that run already, with nothing preloaded and nothing restarted. */
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/file.h"
#include "guard/units.h"

#define MOST_PIDS 1024

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

static int parse_pids(const struct cli_args *a, uint32_t *pids, unsigned int *n)
{
	const char *v;
	char clean[64];
	uint64_t pid;

	for (*n = 0; (v = cli_opt_nth(a, "pid", *n)); (*n)++) {
		cli_clean(clean, sizeof(clean), v);
		if (*n == MOST_PIDS)
			return cli_fail(CLI_USAGE, NULL, "at most %d processes can be named",
					MOST_PIDS);
		if (sg_units_parse_count(v, strlen(v), &pid) || !pid || pid > INT32_MAX)
			return cli_fail(CLI_USAGE, NULL,
					"--pid = \"%s\": that is no process number", clean);
		if (kill(pid, 0) && errno == ESRCH)
			return cli_fail(CLI_IO, "See: ps -e", "--pid = %s: no such process", clean);
		pids[*n] = pid;
	}
	return CLI_OK;
}

static bool path_wanted(const struct cli_args *a, const char *path)
{
	const char *glob;
	unsigned int i;

	for (i = 0; (glob = cli_opt_nth(a, "path", i)); i++)
		if (!fnmatch(glob, path ? path : "", 0))
			return true;
	return i == 0;
}

/* Files that nobody asked for are taken out before the join. */
static void filter(const struct cli_args *a, struct kernel_view *k)
{
	unsigned int i, n = 0;

	for (i = 0; i < k->n_files; i++)
		if (path_wanted(a, k->files[i].path))
			k->files[n++] = k->files[i];
	k->n_files = n;
}

static int show(const struct cli_args *a, struct kernel_observer *o, bool line)
{
	const struct file_wanted all = { .word = NULL };
	struct kernel_view *k;
	struct gathered g = { .view = NULL };
	unsigned int seen;
	json_t *doc;
	int rc = kernel_snapshot(o, &k);

	if (rc)
		return cli_fail(cli_exit_of(rc), NULL, "the observer's maps cannot be read: %s",
				strerror(-rc));
	seen = k->n_files;
	filter(a, k);
	rc = gather_from(&g, NULL, k);
	if (!rc && cli.json) {
		doc = file_list_json(&g, &all, false);
		rc = line ? cli_json_line(stdout, doc) : cli_json(doc);
	} else if (!rc) {
		if (g.join.n)
			file_table(stdout, &g, &all);
		else
			printf("No file %s written or synced.\n",
			       seen ? "of those names was" : "was");
		gather_note(&g, stderr, !line);
		rc = fflush(stdout) ? CLI_IO : CLI_OK;
	}
	join_free(&g.join);
	k->n_files = seen;
	kernel_free(k);
	return rc;
}

static void sleep_ns(uint64_t ns)
{
	const struct timespec t = { .tv_sec = ns / SG_NSEC_PER_SEC,
				    .tv_nsec = ns % SG_NSEC_PER_SEC };

	nanosleep(&t, NULL); /* a signal ends it: that is what it is for */
}

static int watch(const struct cli_args *a, struct kernel_observer *o, uint64_t duration_ns,
		 uint64_t interval_ns)
{
	uint64_t begun_ns = cli_now_ns(),
		 end_ns = duration_ns ? begun_ns + duration_ns : UINT64_MAX, now_ns, next_ns;
	int rc = CLI_OK;

	next_ns = interval_ns ? begun_ns + interval_ns : UINT64_MAX;
	while (!rc && !interrupted && (now_ns = cli_now_ns()) < end_ns) {
		uint64_t until = next_ns < end_ns ? next_ns : end_ns;

		if (until == UINT64_MAX)
			pause();
		else if (until > now_ns)
			sleep_ns(until - now_ns);
		if (interrupted || cli_now_ns() < next_ns)
			continue;
		rc = show(a, o, true);
		next_ns += interval_ns;
	}
	return rc ? rc : show(a, o, interval_ns != 0);
}

static int explain(int err, const char *why)
{
	if (err == -EPERM || err == -EACCES)
		return cli_fail(CLI_DENIED, "Run this as root.",
				"the observer cannot be started: %s", why);
	return cli_fail(cli_exit_of(err) == CLI_IO && err == -ENOENT ? CLI_DENIED
								     : cli_exit_of(err),
			"See: spoolguard feature probe", "the observer cannot be started: %s", why);
}

static int do_observe(const struct cli_args *a)
{
	const struct sigaction sa = { .sa_handler = on_signal };
	uint32_t *pids = calloc(MOST_PIDS, sizeof(*pids));
	struct kernel_filter f = { .pids = pids, .tier = cli_opt(a, "tier") };
	uint64_t duration_ns, interval_ns;
	struct kernel_observer *o;
	char why[1024] = "";
	int rc, err;

	rc = cli_opt_time(a, "duration", 0, &duration_ns);
	rc = rc ? rc : cli_opt_time(a, "interval", 0, &interval_ns);
	rc = rc ? rc : parse_pids(a, pids, &f.n_pids);
	if (!rc && f.tier && !kernel_is_tier(f.tier))
		rc = cli_fail(CLI_USAGE, "There are auto, fentry, kprobe, tp_btf and tracepoint.",
			      "--tier: no such tier");
	if (rc)
		goto out;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	err = kernel_start(&f, &o, why, sizeof(why));
	if (err) {
		rc = explain(err, why);
		goto out;
	}
	/* Also for scripts: from here on nothing is missed. */
	fprintf(stderr, "Observing%s; Ctrl-C ends it and shows what was seen.\n",
		f.n_pids ? " these processes" : "");
	rc = watch(a, o, duration_ns, interval_ns);
	kernel_stop(o);
out:
	free(pids);
	return rc;
}

static const struct cli_option options[] = {
	{ "duration", "TIME", "end after this time; else with Ctrl-C", NULL },
	{ "interval", "TIME", "show what was seen so far, again and again", NULL },
	{ "pid", "PID", "only this process; may be repeated", "pid" },
	{ "path", "GLOB", "only files with such a path; may be repeated", "file" },
	{ "tier", "TIER", "attach this way or not at all: fentry, kprobe, tp_btf, tracepoint",
	  "tier" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command commands[] = {
	{ .help = "count and time every write and sync, without touching a program",
	  .options = options,
	  .run = do_observe },
	{ .run = NULL },
};
const struct cli_object cli_observe = { "observe",
					"watch programs that run already; nothing is preloaded",
					commands };
