// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "guard/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard/clock.h"
#include "guard/futex.h"
#include "guard/sys.h"
#include "guard/units.h"

struct sg_process sg_process = { .conn = -1 };

/* Initial-exec TLS (see build.mk): a load, no allocation, safe in a signal handler. */
static __thread int depth;
static __thread uintptr_t frame;       /* of the call under way */
static __thread struct sg_append held; /* what it holds, should it never come back */
static __thread uint32_t tid_cache, tid_pid;

/* --- fork --- */

static void forked(void)
{
	uint32_t i;

	/* Only this thread exists: what others held is held by nobody. */
	atomic_store(&sg_process.lock, 0);
	for (i = 0; i < SG_FILES; i++) {
		sg_group_forked(&sg_process.files[i].group);
		atomic_store(&sg_process.files[i].proof_lock, 0);
		atomic_store(&sg_process.files[i].appended, 0);
	}
	atomic_store(&sg_process.pid, getpid());
	atomic_store(&sg_process.own_session, 0);
}

static bool alive(void)
{
	uint32_t state = atomic_load_explicit(sg_process.alive, memory_order_acquire);
	uint32_t wiped = SG_ALIVE_FORKED;

	if (state == SG_ALIVE_READY)
		return true;
	if (atomic_compare_exchange_strong(sg_process.alive, &wiped, SG_ALIVE_CHANGING)) {
		forked();
		atomic_store(sg_process.alive, SG_ALIVE_READY);
		sg_futex_wake(sg_process.alive, INT_MAX);
		return true;
	}
	while (atomic_load(sg_process.alive) == SG_ALIVE_CHANGING)
		sg_futex_wait(sg_process.alive, SG_ALIVE_CHANGING, UINT64_MAX);
	return true;
}

/*
 * A signal handler may leave our call by siglongjmp and never come back. A call made from further up the
 * stack than the one "under way", or from the same level, tells: a handler runs further down, by the signal
 * frame at least, or on a stack of its own. What the lost call had reserved counts as written, so the next
 * sync covers it.
 */
#define SAME_LEVEL \
	512 /* bytes by which our own ways in differ; a signal frame takes 1000 and more */

static bool abandoned(uintptr_t now)
{
	struct sg_append a = held;
	stack_t on;

	if (now + SAME_LEVEL < frame || sigaltstack(NULL, &on) != 0 || (on.ss_flags & SS_ONSTACK))
		return false;
	held.stats = NULL;
	sg_session_ops_left(sg_process.session, sg_tid());
	if (a.stats) {
		if (a.waits)
			atomic_fetch_sub(&a.ledger->waiters, 1);
		else if (a.ledger)
			sg_ledger_done(a.ledger, a.reserved, a.reserved);
		pthread_setcancelstate(a.cancel_state, NULL);
	}
	return true;
}

void sg_hold(const struct sg_append *a)
{
	if (a)
		held = *a;
	else
		held.stats = NULL;
}

bool sg_enter(void)
{
	if (!sg_guard_ready())
		return false;
	if (depth && !abandoned((uintptr_t)__builtin_frame_address(0))) {
		atomic_fetch_add_explicit(&sg_process.session->nested, 1, memory_order_relaxed);
		return false;
	}
	depth = 1;
	frame = (uintptr_t)__builtin_frame_address(0);
	return alive();
}

void sg_leave(void)
{
	depth = 0;
}

bool sg_enter_tables(void)
{
	if (!sg_enter())
		return false;
	if (getpid() == atomic_load_explicit(&sg_process.pid, memory_order_relaxed))
		return true;
	sg_leave();
	return false;
}

void sg_lock(void)
{
	uint32_t none = 0;

	while (!atomic_compare_exchange_strong(&sg_process.lock, &none, 1)) {
		sg_futex_wait(&sg_process.lock, 1, 1000000);
		none = 0;
	}
}

void sg_unlock(void)
{
	atomic_store(&sg_process.lock, 0);
	sg_futex_wake(&sg_process.lock, 1);
}

uint32_t sg_tid(void)
{
	uint32_t pid = (uint32_t)atomic_load_explicit(&sg_process.pid, memory_order_relaxed);

	if (tid_pid != pid) {
		tid_cache = (uint32_t)syscall(SYS_gettid);
		tid_pid = pid;
	}
	return tid_cache;
}

bool sg_broker_alive(uint64_t now_ns)
{
	uint64_t beat;

	if (!sg_process.broker)
		return false;
	beat = atomic_load_explicit(&sg_process.registry->broker_beat_ns, memory_order_relaxed);
	return now_ns < beat + SG_BROKER_GONE_NS;
}

void sg_report(enum sg_event_kind kind, uint32_t file, int error)
{
	struct sg_event e = { .ns = sg_now_ns(),
			      .wall_ns = sg_wall_ns(),
			      .kind = kind,
			      .file = file,
			      .pid = (uint32_t)sg_process.pid,
			      .error = (uint32_t)error };

	e.tid = sg_tid();
	if (file < SG_FILES)
		memcpy(e.path, sg_process.files[file].path, sizeof(e.path));
	sg_session_event(sg_process.session, &e);
}

/* --- the session --- */

/* Memory to share with the broker; *memfd is -1 where only our children will see it. */
static void *shared_memory(size_t size, int *memfd)
{
	int fd = (int)syscall(SYS_memfd_create, "spoolguard-session",
			      MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *mem = MAP_FAILED;

	*memfd = -1;
	if (fd >= 0 && sg_sys_ftruncate(fd, (int64_t)size) == 0 &&
	    sg_sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		mem = sg_sys_map(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	if (mem != MAP_FAILED) {
		*memfd = fd;
		return mem;
	}
	if (fd >= 0)
		sg_sys_close(fd);
	return sg_sys_map(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
}

/* The name of the process, without stdio. */
static void read_comm(char comm[16])
{
	int fd = sg_sys_open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	if (fd >= 0) {
		n = sg_sys_read(fd, comm, 15);
		sg_sys_close(fd);
	}
	if (n < 0)
		n = 0;
	if (n > 0 && comm[n - 1] == '\n')
		n--;
	comm[n] = '\0';
}

static struct sg_session *new_session(int *memfd)
{
	struct sg_session *s = shared_memory(sizeof(*s), memfd);

	if (s == MAP_FAILED)
		return NULL;
	sg_session_init(s, SG_ROLE_GUARDED, (uint32_t)getpid(), sg_now_ns(), sg_wall_ns());
	s->ppid = (uint32_t)getppid();
	s->uid = getuid();
	read_comm(s->comm);
	return s;
}

void sg_own_session(void)
{
	struct sg_session *s;
	int saved = errno, memfd;

	if (atomic_load_explicit(&sg_process.own_session, memory_order_acquire))
		return;
	if (getpid() != atomic_load_explicit(&sg_process.pid, memory_order_relaxed))
		return; /* a vfork child: it uses its parent's, as all else */
	sg_lock();
	if (atomic_load(&sg_process.own_session)) {
		sg_unlock();
		return;
	}
	s = new_session(&memfd);
	if (s) {
		sg_process.nonce = s->nonce;
		atomic_store(&sg_process.session, s);
		if (memfd >= 0) {
			if (sg_process.broker)
				sg_client_hello(memfd, false);
			sg_sys_close(memfd);
		}
	}
	atomic_store_explicit(&sg_process.own_session, 1, memory_order_release);
	sg_unlock();
	sg_files_republish();
	errno = saved;
}

/* --- init and exit --- */

static void say(const char *message)
{
	if (sg_process.say)
		sg_process.say(message);
}

static void load_policy_file(const char *path, struct sg_policy_report *report)
{
	static char text[SG_POLICY_TEXT + 1];
	char message[320];
	struct sg_text t;
	size_t len = 0;
	ssize_t n = -1;
	int fd = sg_sys_open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && len < sizeof(text) &&
	       (n = sg_sys_read(fd, text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		sg_sys_close(fd);
	if (n < 0) {
		sg_text_init(&t, message, sizeof(message));
		sg_text_clean(&t, path, strlen(path), 200);
		sg_text_str(&t, ": cannot read the policy: ");
		sg_text_str(&t, errno == ENOENT	  ? "no such file"
				: errno == EACCES ? "permission denied"
						  : "I/O error");
		sg_text_str(&t, "; every file is only observed");
		say(message);
		return;
	}
	if (sg_policy_parse_file(&sg_process.policy, text, len, path, report) != 0)
		say(report->error.message);
}

static void load_policy(const struct sg_guard_config *c)
{
	static struct sg_policy_report report;
	unsigned int i;

	if (c->policy) {
		if (sg_policy_parse_line(&sg_process.policy, c->policy, strlen(c->policy),
					 "SPOOLGUARD_POLICY", &report) != 0)
			say(report.error.message);
	} else if (c->policy_file) {
		load_policy_file(c->policy_file, &report);
	}
	for (i = 0; i < sg_process.policy.n; i++)
		sg_process.bounds |= sg_process.policy.rules[i].mode >= SG_MODE_WINDOW;
}

/* The path of a descriptor comes from there; a rule matches a path. */
static void look_for_proc(void)
{
	char c;

	if (sg_process.policy.n && readlink("/proc/self/exe", &c, 1) < 0)
		say("no /proc here, so no path of a file is known and no rule of the policy "
		    "matches: all is only observed");
}

static bool make_alive_page(void)
{
	void *page = sg_sys_map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (page == MAP_FAILED)
		return false;
	madvise(page, 4096, MADV_WIPEONFORK);
	sg_process.alive = page;
	return true;
}

/* A registry of our own, for what the broker does not keep. */
static bool make_local_registry(void)
{
	struct sg_registry *r =
		sg_sys_map(sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);

	if (r == MAP_FAILED)
		return false;
	sg_registry_init(r, 0);
	sg_process.local = r;
	sg_process.registry = r;
	return true;
}

static void meet_broker(const char *path, int memfd)
{
	size_t len = path ? strlen(path) : 0;

	if (!path)
		return;
	if (memfd < 0) {
		say("memfd_create is refused here, so no broker can serve this program; window and "
		    "ensure fall back to group");
		return;
	}
	if (len < sizeof(sg_process.broker_path)) {
		memcpy(sg_process.broker_path, path, len + 1);
		sg_process.broker = sg_client_connect() && sg_client_hello(memfd, true);
	}
	if (!sg_process.broker)
		say("the broker does not answer; window and ensure fall back to group");
}

void sg_guard_init(const struct sg_guard_config *config)
{
	int saved = errno, memfd = -1;
	struct sg_session *s;

	if (atomic_load(&sg_process.inited))
		return;
	sg_process.say = config->say;
	sg_process.interposed = config->interposed;
	atomic_store(&sg_process.pid, getpid());
	s = new_session(&memfd);
	if (!s || !make_alive_page() || !make_local_registry()) {
		say("no memory for a session; the program runs unguarded");
		return;
	}
	sg_process.nonce = s->nonce;
	atomic_store(&sg_process.session, s);
	atomic_store(&sg_process.own_session, 1);
	load_policy(config);
	look_for_proc();
	meet_broker(config->broker, memfd);
	if (memfd >= 0)
		sg_sys_close(memfd);
	atomic_store(sg_process.alive, SG_ALIVE_READY);
	atomic_store_explicit(&sg_process.inited, 1, memory_order_release);
	errno = saved;
}

bool sg_guard_ready(void)
{
	return atomic_load_explicit(&sg_process.inited, memory_order_acquire);
}

void sg_guard_exit(void)
{
	int saved = errno;

	if (!sg_enter_tables())
		return;
	if (atomic_load(&sg_process.own_session)) {
		sg_drain_all_files();
		if (sg_process.broker)
			sg_client_leave();
	}
	sg_leave();
	errno = saved;
}

struct sg_session *sg_guard_session(void)
{
	return atomic_load(&sg_process.session);
}
