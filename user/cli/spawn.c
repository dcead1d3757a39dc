// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * The program is started by execvp in our own process, so that its pid, parent, terminal, session and
 * Type=notify are what they would be without us. The broker therefore has to be the other process:
 *
 *   - It is a grandchild: a program that waits for all its children must neither wait for the broker (it
 *     would wait for ever: the broker waits for the program) nor meet a child that it does not know. The
 *     child in between is made with clone(2) and no exit signal, so that not even a blocked SIGCHLD is
 *     left pending for the program.
 *   - It holds nothing of the program's but standard error, and this only for the report: a pipeline
 *     must not wait for it.
 *   - It is in a session of its own (Ctrl-C is for the program), in /, with default signals.
 */
#include "cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/file.h"
#include "cli/gather.h"

struct ready { /* what the broker tells us when it is up */
	int broker_error, observe_error;
	char what[256], why[512], socket[108];
};

struct report {
	int fd;					  /* -1: none wanted */
	char path[PATH_MAX], temporary[PATH_MAX]; /* "" when written in place */
};

/* --- the report --- */

/* Written beside and renamed at the end, so that a report which is there is whole. What is no regular
 * file is written in place. */
static int report_open(const struct spawn *s, struct report *r)
{
	struct stat st;
	char *cwd;

	*r = (struct report){ .fd = -1 };
	if (!s->report)
		return CLI_OK;
	if (!s->file) {
		r->fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
		return CLI_OK;
	}
	cwd = s->file[0] == '/' ? strdup("") : getcwd(NULL, 0);
	if (!cwd || snprintf(r->path, sizeof(r->path), "%s%s%s", cwd, *cwd ? "/" : "", s->file) >=
			    (int)sizeof(r->path) - 8)
		errno = ENAMETOOLONG;
	else if (!stat(r->path, &st) && !S_ISREG(st.st_mode))
		r->fd = open(r->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
	else
		r->fd = mkostemp(strcat(strcpy(r->temporary, r->path), ".XXXXXX"), O_CLOEXEC);
	free(cwd);
	if (r->fd >= 0)
		return CLI_OK;
	return cli_fail(cli_exit_of(errno), "Name a file in a directory that you may write.",
			"--report=%s: %s", s->file, strerror(errno));
}

/* The machine's other files are nobody's question here, unless there are none of ours: a program that no
 * preload reaches. */
static uint32_t *guarded_pids(const struct sg_view *view, pid_t program, unsigned int *n)
{
	uint32_t *pids = calloc(1 + (view ? view->n_sessions : 0), sizeof(*pids)), i;

	*n = 0;
	if (!pids)
		return NULL;
	pids[(*n)++] = program;
	for (i = 0; view && i < view->n_sessions; i++)
		pids[(*n)++] = view->sessions[i].pid;
	return pids;
}

static void report_write(const struct report *r, pid_t program, struct sg_view *view,
			 struct kernel_view *kernel)
{
	struct file_wanted w = { .word = NULL };
	struct gathered g = { .kernel_error = -ENOENT };
	FILE *f = fdopen(r->fd, "w");
	uint32_t *pids;

	if (!f)
		return;
	pids = guarded_pids(view, program, &w.n_pids);
	w.pids = pids;
	if (!gather_from(&g, view, kernel)) {
		if (!file_wanted_any(&w, &g.join))
			w.pids = NULL;
		if (cli.json) {
			cli_json_to(f, file_list_json(&g, &w, true));
		} else if (!g.join.n) {
			fputs("No file was written or synced under guard.\n", f);
		} else {
			file_table(f, &g, &w);
			gather_note(&g, f, true);
		}
	}
	free(pids);
	join_free(&g.join);
	if (*r->temporary)
		fchmod(fileno(f), 0644);
	if (!fclose(f) && *r->temporary)
		rename(r->temporary, r->path);
}

/* --- the broker's process --- */

/* `keep` (ends with -1) move to the lowest numbers after standard error; all else is closed. */
static void close_others(int *const keep[])
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), n, fd;

	/* Out of the way first, so that no move lands on one still wanted. */
	for (n = 0; keep[n]; n++)
		if (*keep[n] >= 0)
			*keep[n] = fcntl(*keep[n], F_DUPFD_CLOEXEC, 64);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	for (n = 0, fd = 3; keep[n]; n++) {
		if (*keep[n] < 0)
			continue;
		dup3(*keep[n], fd, O_CLOEXEC);
		*keep[n] = fd++;
	}
	close_range(fd, ~0u, 0);
}

static void default_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t none;
	int sig;

	for (sig = 1; sig < NSIG; sig++)
		sigaction(sig, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void wait_pidfd(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (pidfd >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

static void broker_life(const struct spawn *s, const char *dir, pid_t until, int pidfd,
			int ready_fd, const struct report *report)
{
	struct sg_broker_options o = {
		.dir = dir, .ready_fd = -1, .until = until, .until_pidfd = pidfd
	};
	struct kernel_observer *observer = NULL;
	struct kernel_view *kernel = NULL;
	struct sg_broker *b = NULL;
	struct sg_view *view = NULL;
	struct ready r = { 0 };

	r.broker_error = sg_broker_open(&o, &b, r.what, sizeof(r.what));
	if (!r.broker_error)
		snprintf(r.socket, sizeof(r.socket), "%s", sg_broker_socket(b));
	r.observe_error =
		s->observe ? kernel_start(NULL, &observer, r.why, sizeof(r.why)) : -ECANCELED;
	if (write(ready_fd, &r, sizeof(r)) != sizeof(r))
		r.broker_error = -EPIPE;
	close(ready_fd);
	if (!r.broker_error)
		sg_broker_run(b);
	else if (observer)
		wait_pidfd(pidfd);
	if (observer && kernel_snapshot(observer, &kernel))
		kernel = NULL;
	if (b && sg_broker_view(b, &view))
		view = NULL;
	if (report->fd >= 0)
		report_write(report, until, view, kernel);
	if (view)
		sg_view_free(view);
	if (kernel)
		kernel_free(kernel);
	if (b)
		sg_broker_close(b);
	kernel_stop(observer);
}

/* In ps it must not look like the program that it serves: somebody would kill it by that name. */
static void rename_process(pid_t until)
{
	char title[64];
	size_t room = cli.argv_end - cli.argv_begin;

	snprintf(title, sizeof(title), "spoolguard: broker of %d", (int)until);
	memset(cli.argv_begin, 0, room);
	strncpy(cli.argv_begin, title, room - 1);
}

static void __attribute__((noreturn))
broker_process(const struct spawn *s, const char *dir, pid_t until, int pidfd, int ready_fd,
	       struct report *report)
{
	int *const keep[] = { &ready_fd, &pidfd, &report->fd, NULL };

	setsid();
	default_signals();
	rename_process(until);
	close_others(keep);
	umask(077);
	if (chdir("/"))
		_exit(CLI_IO);
	broker_life(s, dir, until, pidfd, ready_fd, report);
	exit(CLI_OK);
}

/* --- our side --- */

static int absolute_dir(const struct spawn *s, char *dir, size_t size)
{
	char cwd[PATH_MAX] = "";

	if (!s->dir)
		return sg_broker_dir(dir, size);
	if (s->dir[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return -errno;
	return snprintf(dir, size, "%s%s%s", cwd, *cwd ? "/" : "", s->dir) < (int)size
		       ? 0
		       : -ENAMETOOLONG;
}

static void start(const struct spawn *s, const char *dir, struct report *report, int ready[2])
{
	pid_t self = getpid(), child;
	int pidfd = syscall(SYS_pidfd_open, self, 0);

	fflush(NULL);
	child = syscall(SYS_clone, 0UL, NULL, NULL, NULL,
			0UL); /* as fork, with no signal at its end */
	if (!child) {
		if (!fork())
			broker_process(s, dir, self, pidfd, ready[1], report);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
}

static void tell(const struct spawn *s, const char *dir, const struct ready *r)
{
	if (r->broker_error)
		cli_warn("no broker: %s: %s; window and ensure fall to group. Make it writable, or "
			 "name another "
			 "directory with --socket-dir or SPOOLGUARD_RUNTIME_DIR.",
			 *r->what ? r->what : dir, strerror(-r->broker_error));
	if (s->observe && r->observe_error)
		cli_warn("no observer: %s", r->why);
}

int spawn_broker(struct spawn *s)
{
	struct ready r = { .broker_error = -EIO,
			   .observe_error = -EIO,
			   .why = "the broker's process died" };
	int ready[2], rc, err;
	struct report report;
	char dir[PATH_MAX];

	rc = report_open(s, &report);
	if (rc)
		return rc;
	err = absolute_dir(s, dir, sizeof(dir));
	if (!err && pipe2(ready, O_CLOEXEC))
		err = -errno;
	if (err) {
		r.broker_error = err;
	} else {
		start(s, dir, &report, ready);
		close(ready[1]);
		while (read(ready[0], &r, sizeof(r)) < 0 && errno == EINTR)
			;
		close(ready[0]);
	}
	if (report.fd >= 0)
		close(report.fd);
	tell(s, dir, &r);
	snprintf(s->socket, sizeof(s->socket), "%s", r.broker_error ? "" : r.socket);
	s->observing = s->observe && !r.observe_error;
	return CLI_OK;
}
