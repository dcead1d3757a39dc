// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard run: put a program under guard, in place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/load.h"
#include "cli/program.h"
#include "cli/spawn.h"

#define POLICY_LINE (SG_POLICY_RULES * SG_POLICY_RULE_TEXT)

static int export_policy(const struct cli_policy *p)
{
	char *line;
	int n;

	if (!p->source[0]) /* no policy anywhere: the shim observes */
		return CLI_OK;
	line = malloc(POLICY_LINE);
	n = line ? sg_policy_format(&p->policy, line, POLICY_LINE) : -ENOMEM;
	if (n >= 0 && setenv("SPOOLGUARD_POLICY", line, 1))
		n = -errno;
	free(line);
	/* One environment string is at most 128 KiB (MAX_ARG_STRLEN). */
	if (n >= 128 * 1024 - 32)
		n = -E2BIG;
	return n < 0 ? cli_fail(CLI_IO, "Make it shorter.",
				"%s: the policy does not fit into the environment: %s", p->source,
				strerror(-n))
		     : CLI_OK;
}

/* What is preloaded already stays, and stays before us. */
static int export_preload(void)
{
	char path[PATH_MAX], looked[2 * PATH_MAX + 256], *all;
	const char *old = getenv("LD_PRELOAD");
	int rc;

	if (program_preload(path, looked, sizeof(looked)))
		return cli_fail(CLI_DENIED, "Install it, or name it in SPOOLGUARD_PRELOAD.",
				"libspoolguard-preload.so is not there; looked at %s", looked);
	if (strpbrk(path, ": "))
		return cli_fail(
			CLI_DENIED,
			"Put it where the path has none, and name it in SPOOLGUARD_PRELOAD.",
			"%s: a path with a blank or a colon cannot be preloaded", path);
	if (old && strstr(old, path)) /* guarded already, by an outer run */
		return CLI_OK;
	if (asprintf(&all, "%s%s%s", old ? old : "", old && *old ? ":" : "", path) < 0)
		return cli_fail(CLI_IO, NULL, "out of memory");
	rc = setenv("LD_PRELOAD", all, 1) ? cli_fail(CLI_IO, NULL, "out of memory") : CLI_OK;
	free(all);
	return rc;
}

static int cannot_run(const char *name, int err)
{
	char clean[512];

	cli_clean(clean, sizeof(clean), name);
	if (err == -ENOENT)
		return cli_fail(CLI_NOT_FOUND, "Check the name and PATH.", "%s: no such program",
				clean);
	return cli_fail(CLI_NOT_EXECUTABLE, "Check its permissions.", "%s: cannot be executed: %s",
			clean, strerror(-err));
}

static int check_options(const struct cli_args *a)
{
	if (cli_opt(a, "report") && cli_opt(a, "no-broker"))
		return cli_fail(CLI_USAGE, "Leave one of them out.",
				"--report and --no-broker exclude each other: the broker writes "
				"the report");
	return CLI_OK;
}

static void warn_without_broker(const struct sg_policy *p)
{
	unsigned int i;

	for (i = 0; i < p->n; i++) {
		if (p->rules[i].mode < SG_MODE_WINDOW)
			continue;
		cli_warn("--no-broker: window and ensure fall to group.");
		return;
	}
}

static int start_broker(const struct cli_args *a)
{
	const char *file = cli_opt(a, "report");
	struct spawn s = {
		.dir = cli_opt(a, "socket-dir"),
		.observe = geteuid() == 0 && !cli_opt(a, "no-observe"),
		.report = file != NULL,
		.file = file && *file ? file : NULL,
	};
	int rc;

	if (cli_opt(a, "no-broker")) {
		unsetenv("SPOOLGUARD_BROKER");
		return CLI_OK;
	}
	rc = spawn_broker(&s);
	if (rc)
		return rc;
	if (!s.socket[0])
		unsetenv("SPOOLGUARD_BROKER");
	else if (setenv("SPOOLGUARD_BROKER", s.socket, 1))
		return cli_fail(CLI_IO, NULL, "out of memory");
	return CLI_OK;
}

static int do_run(const struct cli_args *a)
{
	enum program_reach reach;
	struct cli_policy *p;
	char path[PATH_MAX];
	int rc, err;

	rc = check_options(a);
	if (rc)
		return rc;
	rc = cli_policy_load(cli_opt(a, "policy"), cli_opt(a, "policy-file"), &p);
	if (rc)
		return rc;
	if (cli_opt(a, "no-broker"))
		warn_without_broker(&p->policy);
	rc = export_policy(p);
	free(p);
	if (rc)
		return rc;
	err = program_find(a->argv[0], path);
	if (err)
		return cannot_run(a->argv[0], err);
	reach = program_judge(path);
	if (reach != PROGRAM_REACHED)
		cli_warn("%s %s: it runs unguarded, seen by the observer only; what it starts is "
			 "guarded if it can be.",
			 path, program_reach_why(reach));
	rc = export_preload();
	rc = rc ? rc : start_broker(a);
	if (rc)
		return rc;
	execvp(a->argv[0], a->argv);
	return cannot_run(a->argv[0], -errno);
}

static const struct cli_option options[] = {
	{ "policy", "POLICY", "a one-line policy: GLOB:key=value,…;…", NULL },
	{ "policy-file", "FILE", "a policy file", "file" },
	{ "report", "[FILE]",
	  "when all has ended, print the table of files (standard error, or FILE)", "file" },
	{ "no-observe", NULL, "as root: do not start the observer", NULL },
	{ "no-broker", NULL, "no background process: observe and group only", NULL },
	{ "socket-dir", "DIR", "session directory", "dir" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command commands[] = {
	{ .args = "[--] PROGRAM [ARGS]",
	  .help = "run a program under guard, in place of this one",
	  .options = options,
	  .complete = "program",
	  .min_args = 1,
	  .max_args = -1,
	  .rest = true,
	  .run = do_run },
	{ .run = NULL },
};
const struct cli_object cli_run = { "run", "run a program under guard", commands };
