// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The wrappers and the guard, linked into this program: its own calls go through them, by symbol
 * precedence. So what they did can be read from the session memory, and sanitizers see all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guard/guard.h"
#include "tap.h"

/* A cancelled thread leaves poison on its stack, where ASan then puts a variable of its own. */
const char *__asan_default_options(void)
{
	return "use_sigaltstack=0";
}

static char scratch[64];

/* Before the constructor of the wrappers, which has no priority. */
__attribute__((constructor(101))) static void set_policy(void)
{
	static char policy[160];

	snprintf(scratch, sizeof(scratch), "/tmp/spoolguard-wrappers.%d", (int)getpid());
	/* A rule that bounds, though no file here has it: descriptors are then looked at every 10 ms. */
	snprintf(policy, sizeof(policy), "%s/*.log:mode=group;/nowhere/*:mode=window", scratch);
	setenv("SPOOLGUARD_POLICY", policy, 1);
	unsetenv("SPOOLGUARD_BROKER");
	unsetenv("SPOOLGUARD_DISABLE");
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

__attribute__((destructor)) static void clean(void)
{
	nftw(scratch, forget, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- what the session says --- */

static const char *in_scratch(const char *name)
{
	static char path[8][128];
	static int turn;
	char *p = path[turn++ % 8];

	mkdir(scratch, 0700);
	snprintf(p, sizeof(path[0]), "%s/%s", scratch, name);
	return p;
}

static int open_log(const char *name)
{
	return open(in_scratch(name), O_RDWR | O_CREAT | O_APPEND, 0600);
}

static struct sg_session_file *file_of(int fd)
{
	struct sg_session *s = sg_guard_session();
	struct stat st;
	int i;

	if (fstat(fd, &st) != 0)
		return NULL;
	for (i = 0; i < SG_FILES; i++)
		if (s->files[i].state == SG_SLOT_LIVE && s->files[i].id.ino == st.st_ino &&
		    s->files[i].id.dev == st.st_dev)
			return &s->files[i];
	return NULL;
}

static uint64_t count_of(int fd, enum sg_counter c)
{
	struct sg_session_file *f = file_of(fd);

	return f ? atomic_load(&f->counter[c]) : 0;
}

/* Operations that are told to be under way. */
static int ops_under_way(void)
{
	struct sg_session *s = sg_guard_session();
	int i, n = 0;

	for (i = 0; i < SG_OPS; i++)
		n += atomic_load(&s->ops[i].start_ns) != 0;
	return n;
}

/* --- tests --- */

static void test_the_guard_is_there(void)
{
	int fd = open_log("there.log");

	CU_ASSERT_TRUE_FATAL(sg_guard_ready());
	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(file_of(fd));
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), 1);
	close(fd);
}

/* One append is one append, and its bytes are those that came back. */
#define APPENDS(expr, bytes)                                                                    \
	do {                                                                                    \
		uint64_t n_ = count_of(fd, SG_C_APPENDS), b_ = count_of(fd, SG_C_APPEND_BYTES); \
		errno = 77;                                                                     \
		CU_ASSERT_EQUAL(expr, bytes);                                                   \
		CU_ASSERT_EQUAL(errno, 77);                                                     \
		CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), n_ + 1);                            \
		CU_ASSERT_EQUAL(count_of(fd, SG_C_APPEND_BYTES), b_ + (bytes));                 \
	} while (0)

ssize_t __write(int, const void *, size_t);
ssize_t __pwrite64(int, const void *, size_t, off64_t);
int __dprintf_chk(int, int, const char *, ...);

static void test_every_append_is_counted_once_and_keeps_errno(void)
{
	struct iovec v[2] = { { "one ", 4 }, { "two\n", 4 } };
	int fd = open_log("append.log"), in = open(in_scratch("in"), O_RDWR | O_CREAT, 0600), p[2];
	off64_t from = 0;

	CU_ASSERT_EQUAL_FATAL(pipe(p), 0);
	CU_ASSERT_EQUAL(write(in, "0123456789", 10), 10);
	CU_ASSERT_EQUAL(write(p[1], "0123456789", 10), 10);
	APPENDS(write(fd, "line\n", 5), 5);
	APPENDS(__write(fd, "line\n", 5), 5);
	APPENDS(writev(fd, v, 2), 8);
	APPENDS(pwrite(fd, "line\n", 5, 0), 5);
	APPENDS(pwrite64(fd, "line\n", 5, 0), 5);
	APPENDS(__pwrite64(fd, "line\n", 5, 0), 5);
	APPENDS(pwritev(fd, v, 2, 0), 8);
	APPENDS(pwritev64(fd, v, 2, 0), 8);
	APPENDS(pwritev2(fd, v, 2, -1, 0), 8);
	APPENDS(pwritev64v2(fd, v, 2, -1, RWF_APPEND), 8);
	APPENDS(splice(p[0], NULL, fd, NULL, 0, 0), 0);
	APPENDS(dprintf(fd, "%d\n", 123), 4);
	APPENDS(__dprintf_chk(fd, 1, "%d\n", 123), 4);
	fcntl(fd, F_SETFL, 0);
	lseek(fd, 0, SEEK_END);
	APPENDS(splice(p[0], NULL, fd, NULL, 10, 0), 10);
	APPENDS(sendfile(fd, in, &from, 5), 5);
	APPENDS(sendfile64(fd, in, &from, 50), 5);
	from = 0;
	APPENDS(copy_file_range(in, &from, fd, NULL, 5, 0), 5);
	CU_ASSERT_EQUAL(ops_under_way(), 0);
	close(p[0]);
	close(p[1]);
	close(in);
	close(fd);
}

static void test_failed_append_is_no_append(void)
{
	int fd = open_log("failed.log");
	struct iovec v = { NULL, 5 };

	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	errno = 0;
	CU_ASSERT_EQUAL(syscall(SYS_write, fd, (void *)8, 5), -1);
	v.iov_base = (void *)8;
	CU_ASSERT_EQUAL(writev(fd, &v, 1), -1);
	CU_ASSERT_EQUAL(errno, EFAULT);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), 1);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPEND_ERRORS), 1);
	CU_ASSERT_EQUAL(ops_under_way(), 0);
	close(fd);
}

int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);

/* A descriptor that was looked at when it was opened is neither unknown nor plain. */
#define TRACKS(expr)                                                            \
	do {                                                                    \
		int fd_ = (expr);                                               \
		CU_ASSERT_TRUE_FATAL(fd_ >= 0);                                 \
		CU_ASSERT_TRUE(atomic_load(&sg_guard_fd[fd_]) > SG_FD_PLAIN);   \
		CU_ASSERT_EQUAL(close(fd_), 0);                                 \
		CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[fd_]), SG_FD_UNKNOWN); \
	} while (0)
#define TRACKS_STREAM(expr)                                                    \
	do {                                                                   \
		FILE *f_ = (expr);                                             \
		int n_;                                                        \
		CU_ASSERT_PTR_NOT_NULL_FATAL(f_);                              \
		n_ = fileno(f_);                                               \
		CU_ASSERT_TRUE(atomic_load(&sg_guard_fd[n_]) > SG_FD_PLAIN);   \
		CU_ASSERT_EQUAL(fclose(f_), 0);                                \
		CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[n_]), SG_FD_UNKNOWN); \
	} while (0)

static void test_every_open_is_tracked_and_every_close_forgets(void)
{
	const char *log = in_scratch("open.log");
	char t[4][128];
	int i;

	for (i = 0; i < 4; i++)
		strcpy(t[i], in_scratch(i % 2 ? "tXXXXXX.log" : "tXXXXXX"));
	TRACKS(open(log, O_WRONLY | O_CREAT, 0600));
	TRACKS(open64(log, O_WRONLY));
	TRACKS(__open(log, O_WRONLY));
	TRACKS(__open64(log, O_WRONLY));
	TRACKS(__open_2(log, O_WRONLY));
	TRACKS(__open64_2(log, O_WRONLY));
	TRACKS(openat(AT_FDCWD, log, O_WRONLY));
	TRACKS(openat64(AT_FDCWD, log, O_WRONLY));
	TRACKS(__openat_2(AT_FDCWD, log, O_WRONLY));
	TRACKS(__openat64_2(AT_FDCWD, log, O_WRONLY));
	TRACKS(creat(log, 0600));
	TRACKS(creat64(log, 0600));
	TRACKS(mkstemps(t[1], 4));
	TRACKS(mkostemps64(t[3], 4, O_APPEND));
	TRACKS_STREAM(fopen(log, "w"));
	TRACKS_STREAM(fopen64(log, "a"));
	TRACKS_STREAM(freopen(log, "r+", fopen("/dev/null", "r")));
	TRACKS_STREAM(freopen64(log, "a", fopen(log, "r")));
}

static void test_opened_for_writing_elsewhere_is_plain(void)
{
	int fd = open(in_scratch("other"), O_WRONLY | O_CREAT, 0600),
	    null = open("/dev/null", O_WRONLY);

	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[fd]), SG_FD_PLAIN);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[null]), SG_FD_PLAIN);
	close(fd);
	close(null);
}

static void test_duplicates_share_and_forget_what_was_there(void)
{
	int fd = open_log("dup.log"), d = dup(fd), plain = open("/dev/null", O_WRONLY), last;
	uint32_t v = atomic_load(&sg_guard_fd[fd]);

	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[d]), v);
	CU_ASSERT_EQUAL(dup2(fd, 200), 200);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[200]), v);
	CU_ASSERT_EQUAL(dup3(fd, 201, O_CLOEXEC), 201);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[201]), v);
	last = fcntl(fd, F_DUPFD, 210);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[last]), v);
	CU_ASSERT_EQUAL(fcntl(fd, F_DUPFD_CLOEXEC, 211), 211);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[211]), v);
	CU_ASSERT_EQUAL(dup2(plain, 200), 200);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[200]), SG_FD_PLAIN);
	CU_ASSERT_EQUAL(dup2(-1, 201), -1);
	CU_ASSERT_EQUAL(write(211, "x", 1), 1);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), 1);
	CU_ASSERT_EQUAL(close_range(200, 220, 0), 0);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[211]), SG_FD_UNKNOWN);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[fd]), v);
	close(fd);
	close(d);
	close(plain);
}

static void test_every_sync_is_counted_once_and_keeps_errno(void)
{
	int fd = open_log("sync.log");

	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	errno = 77;
	CU_ASSERT_EQUAL(fsync(fd), 0);
	CU_ASSERT_EQUAL(fdatasync(fd), 0);
	CU_ASSERT_EQUAL(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
	CU_ASSERT_EQUAL(errno, 77);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_CALLS), 2);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_RANGE_SYNCS), 1);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_LED), 2);
	CU_ASSERT_EQUAL(ops_under_way(), 0);
	close(fd);
}

/* --- cancellation --- */

static void *append_for_ever(void *arg)
{
	int fd = *(int *)arg;

	for (;;)
		if (write(fd, "line\n", 5) != 5 || fdatasync(fd) != 0)
			abort();
	return NULL;
}

static void test_cancelled_thread_leaves_nothing_under_way(void)
{
	int fd = open_log("cancel.log"), i;
	struct stat st;
	pthread_t t;
	void *how;

	for (i = 0; i < 30; i++) {
		struct timespec wait = { 0, 100000 * (1 + i % 10) };

		CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, append_for_ever, &fd), 0);
		nanosleep(&wait, NULL);
		pthread_cancel(t);
		pthread_join(t, &how);
		CU_ASSERT_PTR_EQUAL(how, PTHREAD_CANCELED);
		CU_ASSERT_EQUAL(ops_under_way(), 0);
	}
	/* What is in the file is what was counted: no append was cut off from its count. */
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL((uint64_t)st.st_size, count_of(fd, SG_C_APPEND_BYTES));
	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	close(fd);
}

static _Atomic int went_on;

static void *cancel_self_and_call(void *arg)
{
	int fd = *(int *)arg;

	pthread_cancel(pthread_self());
	switch (went_on) {
	case 0:
		(void)!write(fd, "x", 1);
		break;
	case 1:
		fsync(fd);
		break;
	case 2:
		close(fd);
		break;
	case 3:
		open("/dev/null", O_RDONLY);
		break;
	}
	went_on = -1;
	return NULL;
}

static void test_calls_stay_cancellation_points(void)
{
	int fds[2] = { open_log("point.log"), open("/dev/null", O_WRONLY) }, i, call;
	pthread_t t;
	void *how;

	for (i = 0; i < 2; i++)
		for (call = 0; call < 4; call++) {
			went_on = call;
			pthread_create(&t, NULL, cancel_self_and_call, &fds[i]);
			pthread_join(t, &how);
			CU_ASSERT_EQUAL(went_on, call);
			CU_ASSERT_PTR_EQUAL(how, PTHREAD_CANCELED);
		}
	/* close was cancelled before it closed. */
	CU_ASSERT_TRUE(fcntl(fds[0], F_GETFD) >= 0);
	CU_ASSERT_TRUE(fcntl(fds[1], F_GETFD) >= 0);
	close(fds[0]);
	close(fds[1]);
}

/* --- children --- */

#if !defined(__SANITIZE_THREAD__)
/* What a vfork child does to its descriptors, its parent's tables do not show. */
static void test_vfork_child_leaves_the_tables_alone(void)
{
	int fd = open_log("vfork.log"), plain = open("/dev/null", O_WRONLY), status = -1;
	uint32_t v = atomic_load(&sg_guard_fd[fd]);
	uint64_t appends;
	pid_t pid;

	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	appends = count_of(fd, SG_C_APPENDS);
	pid = vfork();
	if (pid == 0) {
		dup2(plain, fd);
		close(plain);
		close_range(100, 200, 0);
		(void)!write(fd, "to null\n", 8);
		open("/dev/null", O_WRONLY);
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[fd]), v);
	CU_ASSERT_EQUAL(atomic_load(&sg_guard_fd[plain]), SG_FD_PLAIN);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), appends);
	pid = vfork();
	if (pid == 0)
		_exit(3);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 3);
	/* The session of the parent goes on. */
	CU_ASSERT_EQUAL(write(fd, "y", 1), 1);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), appends + 1);
	CU_ASSERT_NOT_EQUAL(atomic_load(&sg_guard_session()->state), 2);
	close(fd);
	close(plain);
}

static void test_fork_child_is_guarded_by_itself(void)
{
	int fd = open_log("fork.log"), status = -1;
	pid_t pid;

	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	pid = fork();
	if (pid == 0) {
		struct sg_session *inherited = sg_guard_session();

		if (write(fd, "child\n", 6) != 6 || fsync(fd) != 0)
			_exit(1);
		if (sg_guard_session() == inherited ||
		    sg_guard_session()->pid != (uint32_t)getpid())
			_exit(2);
		_exit(count_of(fd, SG_C_APPENDS) == 1 ? 0 : 3);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), 1);
	close(fd);
}
#endif

/* --- fd reuse, threads, signals --- */

static void test_number_reused_behind_our_back_is_seen_at_the_sync(void)
{
	int fd = open_log("first.log"), again;

	CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
	syscall(SYS_close, fd);
	again = (int)syscall(SYS_openat, AT_FDCWD, in_scratch("second.log"),
			     O_WRONLY | O_CREAT | O_APPEND, 0600);
	CU_ASSERT_EQUAL_FATAL(again, fd);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_CALLS), 1);
	CU_ASSERT_STRING_EQUAL(strrchr(file_of(fd)->path, '/'), "/second.log");
	close(fd);
}

static void test_append_to_a_number_reused_behind_our_back_goes_to_its_own_file(void)
{
	int first = open_log("a.log"), keep = dup(first), again;

	CU_ASSERT_EQUAL(write(first, "x", 1), 1);
	syscall(SYS_close, first);
	again = (int)syscall(SYS_openat, AT_FDCWD, in_scratch("b.log"),
			     O_WRONLY | O_CREAT | O_APPEND, 0600);
	CU_ASSERT_EQUAL_FATAL(again, first);
	/* A descriptor is believed for 10 ms; then it is looked at again. */
	usleep(11000);
	CU_ASSERT_EQUAL(write(again, "yy", 2), 2);
	CU_ASSERT_EQUAL(count_of(keep, SG_C_APPEND_BYTES), 1);
	CU_ASSERT_EQUAL(count_of(again, SG_C_APPEND_BYTES), 2);
	close(keep);
	close(again);
}

static void test_descriptors_beyond_the_table_work_and_are_counted(void)
{
	struct rlimit was, more = { SG_FDS + 10, SG_FDS + 10 };
	int fd = open_log("beyond.log"), high;
	uint64_t before = atomic_load(&sg_guard_session()->untracked);

	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &was), 0);
	if (was.rlim_max > more.rlim_max)
		more.rlim_max = was.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &more) == 0) { /* refused: there are none beyond */
		high = dup2(fd, SG_FDS + 3);
		CU_ASSERT_EQUAL(high, SG_FDS + 3);
		CU_ASSERT_EQUAL(write(high, "x", 1), 1);
		CU_ASSERT_EQUAL(fsync(high), 0);
		CU_ASSERT_EQUAL(close(high), 0);
		CU_ASSERT_EQUAL(atomic_load(&sg_guard_session()->untracked), before + 1);
		setrlimit(RLIMIT_NOFILE, &was);
	}
	close(fd);
}

#define HAMMERS 4
static void *hammer(void *arg)
{
	char name[16];
	int i, fd, d;

	snprintf(name, sizeof(name), "h%d.log", (int)(intptr_t)arg % 2);
	for (i = 0; i < 150; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", scratch, name);
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		d = dup(fd);
		if (write(fd, "line\n", 5) != 5 || (i % 10 == 0 && fsync(d) != 0) || close(fd) ||
		    close(d))
			abort();
	}
	return NULL;
}

static void test_threads_open_append_sync_close_at_once(void)
{
	pthread_t t[HAMMERS];
	struct stat st;
	int i, fd;

	mkdir(scratch, 0700);
	for (i = 0; i < HAMMERS; i++)
		pthread_create(&t[i], NULL, hammer, (void *)(intptr_t)i);
	for (i = 0; i < HAMMERS; i++)
		pthread_join(t[i], NULL);
	fd = open_log("h0.log");
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 150 * 5 * HAMMERS / 2);
	CU_ASSERT_EQUAL(count_of(fd, SG_C_APPENDS), 150 * HAMMERS / 2);
	CU_ASSERT_EQUAL(ops_under_way(), 0);
	close(fd);
}

static int signal_fd;
static _Atomic int handled;

static void on_signal(int sig)
{
	int saved = errno;

	if (write(signal_fd, "signal\n", 7) != 7 || fsync(signal_fd) != 0)
		abort();
	handled++;
	errno = saved;
}

static void test_handler_that_syncs_inside_a_sync_does_not_hang(void)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerspec often = { { 0, 300000 }, { 0, 300000 } }, never = { 0 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct timespec t0, t1;
	timer_t timer;
	int lines = 0;

	signal_fd = open_log("signal.log");
	sigaction(SIGRTMIN, &sa, NULL);
	CU_ASSERT_EQUAL_FATAL(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	timer_settime(timer, 0, &often, NULL);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	do {
		CU_ASSERT_EQUAL(write(signal_fd, "line\n", 5), 5);
		CU_ASSERT_EQUAL(fsync(signal_fd), 0);
		lines++;
		clock_gettime(CLOCK_MONOTONIC, &t1);
	} while (t1.tv_sec - t0.tv_sec < 1);
	timer_settime(timer, 0, &never, NULL);
	timer_delete(timer);
	CU_ASSERT_TRUE(handled > 0);
	CU_ASSERT_TRUE(lines > 0);
	CU_ASSERT_EQUAL(ops_under_way(), 0);
	close(signal_fd);
}

/* --- a handler that never comes back --- */

static sigjmp_buf back;
static _Atomic bool ended;

static void on_jump(int sig)
{
	siglongjmp(back, 1);
}

static void *other_caller(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (!atomic_load(&ended))
		if (write(signal_fd, "line\n", 5) != 5 || fsync(signal_fd) != 0)
			abort();
	return NULL;
}

/* The jumps land anywhere in our calls. Afterwards nobody waits, and this thread is guarded still. */
static void test_handler_that_jumps_out_of_a_call_harms_nobody(void)
{
	struct sigaction sa = { .sa_handler = on_jump, .sa_flags = SA_NODEFER };
	struct itimerspec often = { { 0, 700000 }, { 0, 700000 } }, never = { 0 };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	volatile int jumps = 0;
	uint64_t calls;
	pthread_t t;
	timer_t timer;

	signal_fd = open_log("jump.log");
	sigaction(SIGRTMIN, &sa, NULL);
	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	CU_ASSERT_EQUAL_FATAL(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, other_caller, NULL), 0);
	timer_settime(timer, 0, &often, NULL);
	if (sigsetjmp(back, 1))
		jumps++;
	while (jumps < 400) {
		(void)!write(signal_fd, "line\n", 5);
		fsync(signal_fd);
	}
	timer_settime(timer, 0, &never, NULL);
	timer_delete(timer);
	calls = count_of(signal_fd, SG_C_CALLS);
	CU_ASSERT_EQUAL(fsync(signal_fd), 0);
	CU_ASSERT_TRUE(count_of(signal_fd, SG_C_CALLS) > calls);
	atomic_store(&ended, true);
	pthread_join(t, NULL);
	close(signal_fd);
}

SG_TESTS("wrappers", TEST(test_the_guard_is_there),
	 TEST(test_every_append_is_counted_once_and_keeps_errno),
	 TEST(test_failed_append_is_no_append),
	 TEST(test_every_open_is_tracked_and_every_close_forgets),
	 TEST(test_opened_for_writing_elsewhere_is_plain),
	 TEST(test_duplicates_share_and_forget_what_was_there),
	 TEST(test_every_sync_is_counted_once_and_keeps_errno),
	 TEST(test_cancelled_thread_leaves_nothing_under_way),
	 TEST(test_calls_stay_cancellation_points),
#if !defined(__SANITIZE_THREAD__)
	 TEST(test_vfork_child_leaves_the_tables_alone), TEST(test_fork_child_is_guarded_by_itself),
#endif
	 TEST(test_number_reused_behind_our_back_is_seen_at_the_sync),
	 TEST(test_append_to_a_number_reused_behind_our_back_goes_to_its_own_file),
	 TEST(test_descriptors_beyond_the_table_work_and_are_counted),
	 TEST(test_threads_open_append_sync_close_at_once),
	 TEST(test_handler_that_syncs_inside_a_sync_does_not_hang),
	 TEST(test_handler_that_jumps_out_of_a_call_harms_nobody))
