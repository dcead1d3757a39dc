// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* family WHAT [ARGS]: what processes do to their descriptors, memory and children. Prints what it saw. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DIE(what) (perror(what), exit(1))

static int open_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0)
		DIE(path);
	return fd;
}

static void append(int fd, const char *line)
{
	if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		DIE("write");
}

static void sync_it(int fd)
{
	if (fsync(fd) || fdatasync(fd))
		DIE("fsync");
}

/* closeall HOW LOG: as a daemon does, between two appends. */
static int closeall(char **a)
{
	int fd = open_log(a[1]), i;

	append(fd, "before\n");
	if (strcmp(a[0], "loop") == 0) {
		for (i = 3; i < 5000; i++)
			close(i);
	} else if (strcmp(a[0], "raw") == 0) {
		for (i = 3; i < 5000; i++)
			syscall(SYS_close, i);
	} else if (strcmp(a[0], "range") == 0) {
		if (close_range(3, ~0u, 0))
			DIE("close_range");
	} else if (strcmp(a[0], "from") == 0) {
		closefrom(3);
	} else {
		return 2;
	}
	if (write(fd, "x", 1) != -1 || errno != EBADF)
		return 3;
	if (open_log(a[1]) != fd)
		return 4;
	append(fd, "after\n");
	sync_it(fd);
	for (i = 0; i < 100; i++)
		append(fd, "more\n");
	sync_it(fd);
	puts("done");
	return close(fd);
}

/* chain N LOG: append, sync, exec ourselves, N times. */
static int chain(char **a)
{
	int n = atoi(a[0]), fd = open_log(a[1]);
	char next[12];

	append(fd, "link\n");
	sync_it(fd);
	append(fd, "unsynced\n");
	if (n <= 1)
		return puts("end") < 0;
	snprintf(next, sizeof(next), "%d", n - 1);
	execl("/proc/self/exe", "family", "chain", next, a[1], NULL);
	return 1;
}

/* tree LOG: children by fork, by vfork, and by fork without exec that die of _exit or a signal. */
static int tree(char **a)
{
	int fd = open_log(a[0]), i, j, status;
	pid_t pid;

	append(fd, "parent\n");
	for (i = 0; i < 8; i++) {
		pid = fork();
		if (pid == 0) {
			for (j = 0; j < 50; j++) {
				append(fd, "child\n");
				sync_it(fd);
			}
			if (i % 2)
				raise(SIGKILL);
			_exit(0);
		}
		append(fd, "parent\n");
		sync_it(fd);
		pid = vfork();
		if (pid == 0) {
			dup2(fd, 1);
			close(fd);
			execl("/bin/echo", "echo", "grandchild", NULL);
			_exit(127);
		}
		waitpid(pid, &status, 0);
		if (status)
			return 5;
	}
	while (wait(&status) > 0)
		;
	append(fd, "parent\n");
	sync_it(fd);
	return 0;
}

static bool locked_for_others(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK ? 1 : 0);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == 1;
}

/* locks LOG: a record lock is dropped by any close of its file in this process, also by one of ours. */
static int locks(char **a)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open_log(a[0]), i, d;

	if (fcntl(fd, F_SETLK, &lock))
		DIE("F_SETLK");
	for (i = 0; i < 200; i++) {
		append(fd, "locked\n");
		sync_it(fd);
		if (i % 50 == 0) {
			usleep(30000); /* time for a window to be flushed */
			if (!locked_for_others(fd))
				return 6;
		}
	}
	if (rename(a[0], "renamed.log") || !locked_for_others(fd))
		return 7;
	d = dup(fd);
	close(d); /* drops it, as it does bare */
	if (locked_for_others(fd))
		return 8;
	puts("held");
	return 0;
}

/* flocks LOG: goes with the last close of the description; nobody may hold another one. */
static int flocks(char **a)
{
	int fd = open_log(a[0]), other = open_log(a[0]), i;

	if (flock(fd, LOCK_EX))
		DIE("flock");
	for (i = 0; i < 20; i++) {
		append(fd, "locked\n");
		sync_it(fd);
	}
	if (flock(other, LOCK_EX | LOCK_NB) == 0)
		return 6;
	close(fd);
	if (flock(other, LOCK_EX | LOCK_NB))
		return 7;
	puts("released");
	return 0;
}

/* userns LOG: fails with EINVAL in a process that has a second thread. */
static int userns(char **a)
{
	int fd = open_log(a[0]);

	append(fd, "x\n");
	sync_it(fd);
	printf("unshare %d %s\n", unshare(CLONE_NEWUSER), strerror(errno));
	append(fd, "y\n");
	sync_it(fd);
	return 0;
}

static int storm_fd;
static void storm_handler(int sig)
{
	int saved = errno;

	append(storm_fd, "s\n");
	sync_it(storm_fd);
	errno = saved;
}

static volatile bool storm_over;
static void *storm_thread(void *arg)
{
	while (!storm_over) {
		append(storm_fd, "t\n");
		sync_it(storm_fd);
	}
	return NULL;
}

/* storm LOG: four threads sync while a timer's handler appends and syncs inside their calls. */
static int storm(char **a)
{
	struct sigaction sa = { .sa_handler = storm_handler, .sa_flags = SA_RESTART };
	struct itimerspec often = { { 0, 500000 }, { 0, 500000 } }, never = { 0 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	pthread_t t[4];
	timer_t timer;
	int i;

	storm_fd = open_log(a[0]);
	sigaction(SIGRTMIN, &sa, NULL);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, storm_thread, NULL);
	timer_settime(timer, 0, &often, NULL);
	for (i = 0; i < 100; i++)
		usleep(10000);
	timer_settime(timer, 0, &never, NULL);
	storm_over = true;
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	puts("calm");
	return 0;
}

static void *appender(void *arg)
{
	for (;;) {
		append(storm_fd, "line\n");
		sync_it(storm_fd);
	}
	return NULL;
}

/* cancel LOG: threads are cancelled at any place in an append or a sync, many at the bound. */
static int cancel(char **a)
{
	pthread_t t[8];
	void *how;
	int i, round;

	storm_fd = open_log(a[0]);
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 8; i++)
			pthread_create(&t[i], NULL, appender, NULL);
		usleep((useconds_t)(round * 97 % 3000));
		for (i = 0; i < 8; i++)
			pthread_cancel(t[i]);
		for (i = 0; i < 8; i++) {
			pthread_join(t[i], &how);
			if (how != PTHREAD_CANCELED)
				return 6;
		}
	}
	append(storm_fd, "line\n");
	sync_it(storm_fd);
	puts("cancelled");
	return 0;
}

/* osync LOG: a descriptor whose writes are durable by themselves, and one whose flags change. */
static int osync(char **a)
{
	int fd = open(a[0], O_WRONLY | O_CREAT | O_APPEND | O_SYNC, 0644), i;

	for (i = 0; i < 20; i++)
		append(fd, "durable\n");
	sync_it(fd);
	printf("flags %#x\n", fcntl(fd, F_GETFL));
	return close(fd);
}

/* daemon LOG: daemon(3) puts /dev/null on 0, 1 and 2 inside libc. */
static int daemonize(char **a)
{
	int fd = open_log(a[0]), keep = dup(1);

	dup2(fd, 1);
	append(1, "log\n");
	sync_it(1);
	if (daemon(1, 0))
		DIE("daemon");
	append(1, "nowhere\n");
	if (fsync(1) != -1 || errno != EINVAL) /* of /dev/null */
		append(keep, "fsync of 1 went astray\n");
	append(fd, "log\n");
	sync_it(fd);
	append(keep, "daemon done\n");
	return 0;
}

/* later LOG: exits leaving appends behind, one in an atexit handler. */
static int later_fd;
static void at_exit(void)
{
	append(later_fd, "atexit\n");
}
static int later(char **a)
{
	later_fd = open_log(a[0]);
	append(later_fd, "main\n");
	atexit(at_exit);
	return 0;
}

/* killed LOG: children killed inside their writes, while we have the file open; then we append. */
static int killed(char **a)
{
	struct timespec run = { 0, 20000000 }, idle = { 0, 100000000 };
	static const char line[] = "a line of a process that is about to be killed\n";
	int fd = open_log(a[0]), i;
	pid_t child;

	append(fd, "before\n");
	for (i = 0; i < 10; i++) {
		child = fork();
		if (child < 0)
			DIE("fork");
		for (; child == 0;)
			append(fd, line);
		nanosleep(&run, NULL);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	nanosleep(&idle, NULL);
	for (i = 0; i < 3; i++) {
		append(fd, "after\n");
		sync_it(fd);
	}
	puts("done");
	return close(fd);
}

/* jumps LOG: a handler jumps out of appends, most of them held at the bound. */
static sigjmp_buf out;
static volatile sig_atomic_t may_jump;
static void jump(int sig)
{
	(void)sig;
	if (may_jump) {
		may_jump = 0;
		siglongjmp(out, 1);
	}
}

static int jumps(char **a)
{
	struct sigaction sa = { .sa_handler = jump };
	struct itimerval soon = { .it_value = { 0, 0 } };
	struct timespec idle = { 0, 200000000 };
	int fd = open_log(a[0]);
	volatile int i;

	sigaction(SIGALRM, &sa, NULL);
	for (i = 0; i < 400; i++) {
		may_jump = 1;
		soon.it_value.tv_usec = 200 + i * 3;
		if (sigsetjmp(out, 1))
			continue;
		setitimer(ITIMER_REAL, &soon, NULL);
		for (;;)
			append(fd, "line\n");
	}
	nanosleep(&idle, NULL);
	for (i = 0; i < 100; i++)
		append(fd, "after\n");
	puts("done");
	return close(fd);
}

/* moved LOG COMMAND: data at risk, and another process that is to rename the file. */
static int moved(char **a)
{
	int fd = open_log(a[0]);

	append(fd, "line\n");
	if (fsync(fd) || system(a[1]))
		DIE("moved");
	puts("done");
	return close(fd);
}

/* bits LOG: syncs that are not about appends. */
static int bits(char **a)
{
	struct timespec flushed = { 0, 300000000 };
	int fd = open_log(a[0]);

	append(fd, "line\n");
	if (fsync(fd))
		DIE("fsync");
	nanosleep(&flushed, NULL);
	if (ftruncate(fd, 0) || fdatasync(fd) || fchmod(fd, 0600) || fsync(fd))
		DIE("cut");
	puts("done");
	return close(fd);
}

static const struct {
	const char *name;
	int (*run)(char **args);
	int args;
} all[] = {
	{ "closeall", closeall, 2 }, { "chain", chain, 2 },   { "tree", tree, 1 },
	{ "locks", locks, 1 },	     { "flocks", flocks, 1 }, { "userns", userns, 1 },
	{ "storm", storm, 1 },	     { "osync", osync, 1 },   { "daemon", daemonize, 1 },
	{ "later", later, 1 },	     { "cancel", cancel, 1 }, { "killed", killed, 1 },
	{ "bits", bits, 1 },	     { "jumps", jumps, 1 },   { "moved", moved, 2 },
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (argc == all[i].args + 2 && strcmp(argv[1], all[i].name) == 0)
			return all[i].run(argv + 2);
	return 64;
}
