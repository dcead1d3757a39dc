// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * spoolguard enable | disable: a service that is guarded whenever it starts.
 *
 * DESIGN
 *
 * The drop-in puts `spoolguard run` before the unit's own ExecStart. run executes the program in its own
 * process, so that pid, Type=notify and Type=simple stay what they are, and brings the broker, which a mere
 * Environment=LD_PRELOAD would not. LD_PRELOAD itself is appended to by run, whatever the unit sets. A
 * RuntimeDirectory of its own makes the session directory writable under ProtectSystem=strict and for any
 * User=. The observer is not started from there: it is for the machine, not for one service.
 *
 * Nothing is restarted and systemd is not reloaded: the operator is told the commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/load.h"
#include "cli/program.h"
#include "cli/unitfile.h"

#define MARK	  "# Made by spoolguard enable"
#define DROP_IN	  "spoolguard.conf"
#define MOST_SAID 16

struct said {
	char text[MOST_SAID][512];
	unsigned int n;
};

struct enabling {
	const char *root;
	char name[NAME_MAX + 1], dir[PATH_MAX], file[PATH_MAX + 32], self[PATH_MAX];
	const char *policy, *policy_file;
	char policy_path[PATH_MAX];
	struct unit unit;
	struct said refuse, warn;
};

static void say(struct said *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct said *s, const char *fmt, ...)
{
	va_list ap;

	if (s->n == MOST_SAID)
		return;
	va_start(ap, fmt);
	vsnprintf(s->text[s->n++], sizeof(s->text[0]), fmt, ap);
	va_end(ap);
}

/* --- checks --- */

/* "-:/usr/sbin/x -n": what stands before the path, and the path. */
static size_t prefix_length(const char *start)
{
	return strspn(start, "@-:+!|");
}

static void program_of(const char *start, char out[PATH_MAX])
{
	const char *p = start + prefix_length(start);
	char quote = *p == '"' || *p == '\'' ? *p : 0;
	size_t n;

	p += quote != 0;
	n = quote ? strcspn(p, quote == '"' ? "\"" : "'") : strcspn(p, " \t");
	snprintf(out, PATH_MAX, "%.*s", (int)n, p);
}

static void check_program(struct enabling *e, const char *start)
{
	char program[PATH_MAX], path[2 * PATH_MAX];
	enum program_reach reach;

	program_of(start, program);
	if (memchr(start, '@', prefix_length(start)))
		say(&e->refuse,
		    "ExecStart=%.60s: the prefix @ gives the program another name, which run "
		    "cannot",
		    start);
	if (*program != '/' || strpbrk(program, "%$"))
		return;
	snprintf(path, sizeof(path), "%s%s", e->root, program);
	reach = program_judge(path);
	if (access(path, X_OK))
		say(&e->warn, "%.200s: %s", program, strerror(errno));
	else if (reach != PROGRAM_REACHED)
		say(&e->refuse, "%.200s %s; use spoolguard observe", program,
		    program_reach_why(reach));
}

/* A profile that attaches by path is named after it: usr.sbin.rsyslogd. */
static void check_apparmor(struct enabling *e, const char *start)
{
	char program[PATH_MAX], path[2 * PATH_MAX], *p;
	size_t n;

	program_of(start, program);
	if (*program != '/')
		return;
	n = snprintf(path, sizeof(path), "%s/etc/apparmor.d/", e->root);
	snprintf(path + n, sizeof(path) - n, "%s", program + 1);
	for (p = path + n; *p; p++)
		if (*p == '/')
			*p = '.';
	if (!access(path, F_OK))
		say(&e->warn,
		    "an AppArmor profile confines it (%s): add to /etc/apparmor.d/local/%.100s the "
		    "lines "
		    "\"%.150s mr,\" and \"/run/spoolguard-*/** rw,\"",
		    path + strlen(e->root), path + n, "/**/libspoolguard-preload.so");
}

static bool below(const char *path, const char *dir)
{
	return !strncmp(path, dir, strlen(dir)) && path[strlen(dir)] == '/';
}

static void check_sandbox(struct enabling *e)
{
	const struct unit *u = &e->unit;
	const char *v;

	if ((v = unit_value(u, "AppArmorProfile")))
		say(&e->refuse,
		    "AppArmorProfile=%.100s holds from the start and would confine spoolguard too",
		    v);
	if ((v = unit_value(u, "RootDirectory")) || (v = unit_value(u, "RootImage")))
		say(&e->refuse,
		    "the service lives in another root (%.200s), where spoolguard is not", v);
	v = unit_value(u, "SystemCallFilter");
	if (v && *v != '~' && !unit_has(u, "SystemCallFilter", "@system-service"))
		say(&e->refuse,
		    "SystemCallFilter=%.100s allows too little for the shim and its broker; "
		    "@system-service would do",
		    v);
	else if (v && (unit_has(u, "SystemCallFilter", "memfd_create") ||
		       unit_has(u, "SystemCallFilter", "@sync")))
		say(&e->warn,
		    "SystemCallFilter=%.100s: make sure that it lets memfd_create and the sync "
		    "calls pass",
		    v);
	if ((v = unit_value(u, "RestrictAddressFamilies")) && *v != '~' &&
	    !unit_has(u, "RestrictAddressFamilies", "AF_UNIX"))
		say(&e->warn,
		    "RestrictAddressFamilies=%.100s has no AF_UNIX: no broker, window and ensure "
		    "fall to group",
		    v);
	v = unit_value(u, "ProtectHome");
	if (v && strcmp(v, "no") && strcmp(v, "read-only") &&
	    (below(e->self, "/home") || below(e->self, "/root") || below(e->self, "/run/user")))
		say(&e->refuse, "ProtectHome=%.30s hides %.200s from the service", v, e->self);
	if (unit_is_true(u, "PrivateTmp") && (below(e->self, "/tmp") || below(e->self, "/var/tmp")))
		say(&e->refuse, "PrivateTmp hides %.200s from the service", e->self);
}

static void check_rest(struct enabling *e)
{
	const struct unit *u = &e->unit;
	const char *type = unit_value(u, "Type");

	if (!u->n_start)
		say(&e->refuse, "it has no ExecStart");
	if (type && !strcmp(type, "forking") && !unit_value(u, "PIDFile"))
		say(&e->warn, "Type=forking without PIDFile: systemd may not find the main process "
			      "beside the broker");
	if (unit_has(u, "Environment", "LD_PRELOAD="))
		say(&e->warn,
		    "the unit preloads something already; it stays, the shim is appended");
	if (!e->policy && !e->policy_file && access(CLI_POLICY_FILE, R_OK))
		say(&e->warn, "there is no policy (%s): the service is only observed",
		    CLI_POLICY_FILE);
}

static void check_all(struct enabling *e)
{
	unsigned int i;

	for (i = 0; i < e->unit.n_start; i++) {
		check_program(e, e->unit.start[i]);
		check_apparmor(e, e->unit.start[i]);
	}
	check_sandbox(e);
	check_rest(e);
}

/* --- the drop-in --- */

/* In a unit file % begins a specifier, and in a quoted string \ and " mean something. */
static void quoted(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', f);
		if (*s == '%' || *s == '$')
			fputc(*s, f);
		fputc(*s, f);
	}
	fputc('"', f);
}

/* Environment= knows specifiers but no $. */
static void environment(FILE *f, const char *name, const char *s)
{
	fprintf(f, "Environment=\"%s=", name);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\' || *s == '%')
			fputc(*s == '%' ? '%' : '\\', f);
		fputc(*s, f);
	}
	fputs("\"\n", f);
}

static void write_drop_in(const struct enabling *e, FILE *f)
{
	unsigned int i;

	fprintf(f, "%s. Take it away with: spoolguard disable %s\n", MARK, e->name);
	fprintf(f, "[Service]\nRuntimeDirectory=spoolguard-%%N\n");
	fprintf(f, "Environment=SPOOLGUARD_RUNTIME_DIR=%%t/spoolguard-%%N\n");
	if (e->policy)
		environment(f, "SPOOLGUARD_POLICY", e->policy);
	fprintf(f, "ExecStart=\n");
	for (i = 0; i < e->unit.n_start; i++) {
		const char *start = e->unit.start[i];
		size_t n = prefix_length(start);

		fprintf(f, "ExecStart=%.*s%s run --no-observe ", (int)n, start, e->self);
		if (e->policy_file) {
			fprintf(f, "--policy-file ");
			quoted(f, e->policy_path);
			fputc(' ', f);
		}
		fprintf(f, "-- %s\n", start + n);
	}
}

/* 1: ours, 0: none there, -1: somebody else's. */
static int whose(const char *path)
{
	char *text;
	size_t len;
	int mine;

	if (cli_read_file(path, &text, &len))
		return access(path, F_OK) ? 0 : -1;
	mine = !strncmp(text, MARK, strlen(MARK));
	free(text);
	return mine ? 1 : -1;
}

static int make_dirs(char *dir)
{
	char *p;

	for (p = dir + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

static void sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

static int install(struct enabling *e, const char *content, size_t len)
{
	char tmp[PATH_MAX + 48];
	int fd, err = make_dirs(e->dir);

	if (err)
		return err;
	snprintf(tmp, sizeof(tmp), "%s.XXXXXX", e->file);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, content, len) != (ssize_t)len || fchmod(fd, 0644) || fsync(fd) ||
	    rename(tmp, e->file))
		err = -errno;
	if (err)
		unlink(tmp);
	close(fd);
	sync_dir(e->dir);
	return err;
}

/* --- the commands --- */

static json_t *said_json(const struct said *s)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; i < s->n; i++)
		json_array_append_new(list, cli_json_str(s->text[i]));
	return list;
}

static int tell(const struct enabling *e, const char *content, bool written)
{
	unsigned int i;

	if (cli.json)
		return cli_json(json_pack("{ss so sb so so so}", "unit", e->name, "drop_in",
					  cli_json_str(e->file), "written", written, "content",
					  cli_json_str(content), "warnings", said_json(&e->warn),
					  "reload_needed", json_boolean(written)));
	for (i = 0; i < e->warn.n; i++)
		cli_warn("%s: %s", e->name, e->warn.text[i]);
	if (!written) {
		printf("%s", content);
		return CLI_OK;
	}
	printf("%s written.\n", e->file);
	printf("It takes hold with: systemctl daemon-reload && systemctl restart %s\n", e->name);
	return CLI_OK;
}

static int refuse(const struct enabling *e)
{
	char all[1024] = "";
	unsigned int i;
	size_t n = 0;

	for (i = 0; i < e->refuse.n && n < sizeof(all); i++)
		n += snprintf(all + n, sizeof(all) - n, "%s%s", i ? "; " : "", e->refuse.text[i]);
	return cli_fail(CLI_DENIED,
			"Mend that in the unit, or write the drop-in all the same with --force.",
			"%s cannot be guarded: %s", e->name, all);
}

static int prepare(const struct cli_args *a, struct enabling *e)
{
	ssize_t n;

	e->root = cli_opt(a, "root") ? cli_opt(a, "root") : "";
	if (!strcmp(e->root, "/"))
		e->root = "";
	if (!unit_name(a->argv[0], e->name, sizeof(e->name))) {
		char clean[256];

		return cli_fail(CLI_USAGE, "Write it like rsyslog or rsyslog.service.",
				"%s: that is no name of a unit",
				cli_clean(clean, sizeof(clean), a->argv[0]));
	}
	if (snprintf(e->dir, sizeof(e->dir), "%s/etc/systemd/system/%s.d", e->root, e->name) >=
	    (int)sizeof(e->dir))
		return cli_fail(CLI_IO, NULL, "--root: the path is too long");
	snprintf(e->file, sizeof(e->file), "%s/%s", e->dir, DROP_IN);
	n = readlink("/proc/self/exe", e->self, sizeof(e->self) - 1);
	e->self[n > 0 ? n : 0] = 0;
	if (n <= 0 || strpbrk(e->self, " %\"'\\$"))
		return cli_fail(CLI_DENIED, "Install it where the path has no blanks and signs.",
				"%s: such a path cannot stand in a unit", e->self);
	return CLI_OK;
}

static int check_policy(const struct cli_args *a, struct enabling *e)
{
	struct cli_policy *p;
	int rc;

	e->policy = cli_opt(a, "policy");
	e->policy_file = cli_opt(a, "policy-file");
	if (!e->policy && !e->policy_file)
		return CLI_OK;
	rc = cli_policy_load(e->policy, e->policy_file, &p);
	if (rc)
		return rc;
	free(p);
	if (e->policy_file && !realpath(e->policy_file, e->policy_path))
		return cli_fail(CLI_IO, "The service reads it whenever it starts: name a file.",
				"%s: %s", e->policy_file, strerror(errno));
	return CLI_OK;
}

static int read_unit(struct enabling *e)
{
	int err = unit_read(e->root, e->name, "/" DROP_IN, &e->unit);

	if (err == -ENOENT)
		return cli_fail(CLI_IO, "See: systemctl list-unit-files --type=service",
				"%s: no such unit", e->name);
	if (err)
		return cli_fail(cli_exit_of(err), NULL, "%s: the unit cannot be read: %s", e->name,
				strerror(-err));
	return CLI_OK;
}

static int put_in_place(struct enabling *e, bool dry)
{
	char *content = NULL;
	size_t len;
	FILE *f = open_memstream(&content, &len);
	int rc, err;

	if (!f)
		return cli_fail(CLI_IO, NULL, "out of memory");
	write_drop_in(e, f);
	fclose(f);
	if (!dry && whose(e->file) < 0)
		rc = cli_fail(CLI_IO, "Move it away if it is not needed.",
			      "%s is there and was not made by spoolguard", e->file);
	else if (!dry && (err = install(e, content, len)))
		rc = cli_fail(cli_exit_of(err),
			      err == -EACCES || err == -EPERM ? "Run this as root." : NULL,
			      "%s: %s", e->file, strerror(-err));
	else
		rc = tell(e, content, !dry);
	free(content);
	return rc;
}

static int do_enable(const struct cli_args *a)
{
	struct enabling *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return cli_fail(CLI_IO, NULL, "out of memory");
	rc = prepare(a, e);
	rc = rc ? rc : check_policy(a, e);
	rc = rc ? rc : read_unit(e);
	if (!rc) {
		check_all(e);
		if (e->refuse.n && !cli_opt(a, "force"))
			rc = refuse(e);
		else
			rc = put_in_place(e, cli_opt(a, "dry-run"));
	}
	unit_free(&e->unit);
	free(e);
	return rc;
}

static int do_disable(const struct cli_args *a)
{
	struct enabling *e = calloc(1, sizeof(*e));
	int rc, mine;

	if (!e)
		return cli_fail(CLI_IO, NULL, "out of memory");
	rc = prepare(a, e);
	if (rc)
		goto out;
	mine = whose(e->file);
	if (mine <= 0) {
		rc = cli_fail(CLI_IO, mine ? "Take it away by hand if it is not needed." : NULL,
			      "%s: %s%s", e->name, mine ? e->file : "is not enabled",
			      mine ? " was not made by spoolguard, or cannot be read" : "");
	} else if (unlink(e->file)) {
		rc = cli_fail(cli_exit_of(errno), "Run this as root.", "%s: %s", e->file,
			      strerror(errno));
	} else {
		sync_dir(e->dir);
		rmdir(e->dir); /* stays when there is more in it */
		if (cli.json)
			rc = cli_json(json_pack("{ss so sb}", "unit", e->name, "removed",
						cli_json_str(e->file), "reload_needed", 1));
		else
			printf("%s removed.\nIt takes hold with: systemctl daemon-reload && "
			       "systemctl restart %s\n",
			       e->file, e->name);
	}
out:
	free(e);
	return rc;
}

static const struct cli_option enable_options[] = {
	{ "policy", "POLICY", "a one-line policy for this service", NULL },
	{ "policy-file", "FILE", "a policy file for this service; else " CLI_POLICY_FILE, "file" },
	{ "dry-run", NULL, "print the drop-in, write nothing", NULL },
	{ "force", NULL, "write it although a check says that it will not work", NULL },
	{ "root", "DIR", "work on the system below this directory", "dir" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option disable_options[] = {
	{ "root", "DIR", "work on the system below this directory", "dir" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command enable_commands[] = {
	{ .args = "UNIT",
	  .help = "write a systemd drop-in that runs the service under guard",
	  .options = enable_options,
	  .complete = "unit",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_enable },
	{ .run = NULL },
};
static const struct cli_command disable_commands[] = {
	{ .args = "UNIT",
	  .help = "take that drop-in away",
	  .options = disable_options,
	  .complete = "unit",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_disable },
	{ .run = NULL },
};
const struct cli_object cli_enable = { "enable", "guard a systemd service whenever it starts",
				       enable_commands };
const struct cli_object cli_disable = { "disable", "guard it no more", disable_commands };
