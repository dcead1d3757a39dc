// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "broker/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "guard/clock.h"
#include "guard/futex.h"

#ifndef TFD_TIMER_CANCEL_ON_SET
#define TFD_TIMER_CANCEL_ON_SET 2
#endif

/* How often descriptors of closed files are looked for, ms. */
#define RELEASE_MS 500

int sg_broker_dir(char *buf, size_t size)
{
	const char *dir = getenv("SPOOLGUARD_RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (dir && *dir)
		n = snprintf(buf, size, "%s", dir);
	else if (geteuid() == 0)
		n = snprintf(buf, size, "/run/spoolguard");
	else if (xdg && *xdg)
		n = snprintf(buf, size, "%s/spoolguard", xdg);
	else
		n = snprintf(buf, size, "/tmp/spoolguard-%u", geteuid());
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

void broker_event(struct sg_broker *b, enum sg_event_kind kind, uint32_t pid, uint32_t ledger,
		  int error, uint64_t records)
{
	struct sg_event e = { .ns = sg_now_ns(),
			      .wall_ns = sg_wall_ns(),
			      .kind = kind,
			      .pid = pid,
			      .file = ledger,
			      .error = (uint32_t)error,
			      .bytes = records };

	if (ledger < SG_FILES)
		memcpy(e.path, b->session->files[ledger].path, sizeof(e.path));
	sg_session_event(b->session, &e);
}

/* --- opening --- */

static int fail_at(const char *path, char *what, size_t size, int err)
{
	snprintf(what, size, "%s", path);
	return err;
}

/* The directory is ours alone: what lies in it is trusted by the command. */
static int own_dir(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return -errno;
	if (lstat(dir, &st) != 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	return access(dir, W_OK | X_OK) == 0 ? 0 : -errno;
}

static int listen_at(struct sg_broker *b, char *what, size_t size)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int on = 1, err;
	mode_t mask;

	if (snprintf(at.sun_path, sizeof(at.sun_path), "%s/broker.%d.sock", b->o.dir,
		     (int)getpid()) >= (int)sizeof(at.sun_path))
		return fail_at(b->o.dir, what, size, -ENAMETOOLONG);
	memcpy(b->socket, at.sun_path, sizeof(b->socket));
	b->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b->listen_fd < 0)
		return fail_at("socket", what, size, -errno);
	setsockopt(b->listen_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	unlink(b->socket); /* of an earlier process with our pid */
	mask = umask(0177);
	err = bind(b->listen_fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
			      listen(b->listen_fd, 128) != 0
		      ? -errno
		      : 0;
	umask(mask);
	return err ? fail_at(b->socket, what, size, err) : 0;
}

static int make_memory(struct sg_broker *b)
{
	b->registry =
		broker_shared_memory("spoolguard-registry", sizeof(*b->registry), &b->registry_fd);
	b->session = broker_shared_memory("spoolguard-broker", sizeof(*b->session), &b->session_fd);
	if (!b->registry || !b->session)
		return -ENOMEM;
	sg_registry_init(b->registry, (uint32_t)getpid());
	atomic_store(&b->registry->broker_beat_ns, sg_now_ns());
	sg_session_init(b->session, SG_ROLE_BROKER, (uint32_t)getpid(), sg_now_ns(), sg_wall_ns());
	b->session->uid = geteuid();
	snprintf(b->session->comm, sizeof(b->session->comm), "broker");
	return 0;
}

/* Armed for never, and cancelled when somebody sets the clock: a directory's ctime is then no proof. */
static void watch_clock(struct sg_broker *b)
{
	struct itimerspec never = { .it_value = { .tv_sec = (time_t)1 << 40 } };

	if (b->clock_fd < 0)
		b->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (b->clock_fd >= 0 &&
	    timerfd_settime(b->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never,
			    NULL) == 0)
		atomic_fetch_add(&b->registry->clock_epoch, 1);
	else
		atomic_store(&b->registry->clock_epoch, 0);
}

static int take_signals(struct sg_broker *b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signal_fd < 0 ? -errno : 0;
}

int sg_broker_open(const struct sg_broker_options *o, struct sg_broker **out, char *what,
		   size_t what_size)
{
	struct sg_broker *b = calloc(1, sizeof(*b));
	uint32_t i;
	struct rlimit files;
	int err;

	if (!b)
		return fail_at("memory", what, what_size, -ENOMEM);
	/* Two for each session, one for each connection and file: more than the usual 1024. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	b->o = *o;
	b->listen_fd = b->signal_fd = b->clock_fd = b->registry_fd = b->session_fd = -1;
	pthread_mutex_init(&b->lock, NULL);
	for (i = 0; i < SG_FILES; i++) {
		b->ledgers[i].fd = -1;
		b->ledgers[i].broker = b;
	}
	err = own_dir(o->dir);
	if (err)
		fail_at(o->dir, what, what_size, err);
	else if ((err = make_memory(b)) != 0)
		fail_at("shared memory", what, what_size, err);
	else if ((err = take_signals(b)) != 0)
		fail_at("signals", what, what_size, err);
	else
		err = listen_at(b, what, what_size);
	if (err) {
		sg_broker_close(b);
		return err;
	}
	watch_clock(b);
	*out = b;
	return 0;
}

const char *sg_broker_socket(const struct sg_broker *b)
{
	return b->socket;
}

/* --- messages --- */

struct packet {
	struct sg_msg m;
	struct ucred from;
	int fd; /* attached, or -1 */
};

/* Returns 1 with a packet, 0 when there is none now, -1 when the peer is gone or speaks nonsense. */
static int receive(int fd, struct packet *p)
{
	int err = sg_msg_receive(fd, &p->m, &p->fd, &p->from, MSG_DONTWAIT);

	if (err == 0)
		return 1;
	return err == -EAGAIN ? 0 : -1;
}

/* A peer that does not read must not stop us. */
static bool answer(int to, struct sg_msg *m, int fd)
{
	return sg_msg_send(to, m, fd, MSG_DONTWAIT) == 0;
}

static bool answer_read_only(int to, struct sg_msg *m, int memfd)
{
	int fd = broker_read_only(memfd);
	bool ok = fd >= 0 && answer(to, m, fd);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* --- sessions --- */

static void end_session(struct sg_broker *b, struct broker_session *s)
{
	if (s->ended)
		return;
	pthread_mutex_lock(&b->lock);
	s->ended = true;
	broker_session_gone(b, s);
	pthread_mutex_unlock(&b->lock);
	atomic_store(&s->mem->state, 2);
	if (s->pidfd >= 0)
		close(s->pidfd);
	s->pidfd = -1;
	broker_event(b, SG_EV_SESSION_ENDED, (uint32_t)s->pid, UINT32_MAX, 0, 0);
}

static struct broker_session *session_place(struct sg_broker *b)
{
	struct broker_session *s, *oldest = NULL;
	uint32_t i;

	for (i = 0; i < SG_BROKER_SESSIONS; i++) {
		s = &b->sessions[i];
		if (!s->used)
			return s;
		if (s->ended && (!oldest || s->mem->started_ns < oldest->mem->started_ns))
			oldest = s;
	}
	if (!oldest)
		return NULL;
	pthread_mutex_lock(&b->lock);
	munmap(oldest->mem, sizeof(*oldest->mem));
	close(oldest->memfd);
	memset(oldest, 0, sizeof(*oldest));
	pthread_mutex_unlock(&b->lock);
	return oldest;
}

/* A process brings its session: at its start, after exec (the old one of this pid has then ended), or as
 * a forked child. */
static bool new_session(struct sg_broker *b, const struct packet *p)
{
	struct sg_session *mem = p->fd >= 0 ? broker_map_session(p->fd) : NULL;
	struct broker_session *s;
	uint32_t i;
	int pidfd = mem ? (int)syscall(SYS_pidfd_open, p->from.pid, 0) : -1;
	bool gone = pidfd < 0 && errno == ESRCH;

	for (i = 0; mem && i < SG_BROKER_SESSIONS; i++)
		if (b->sessions[i].used && b->sessions[i].pid == p->from.pid)
			end_session(b, &b->sessions[i]);
	/* Without a pidfd its end would never be seen. */
	s = pidfd >= 0 || gone ? session_place(b) : NULL;
	if (!s) {
		if (pidfd >= 0)
			close(pidfd);
		if (mem)
			munmap(mem, sizeof(*mem));
		if (p->fd >= 0)
			close(p->fd);
		return false;
	}
	pthread_mutex_lock(&b->lock);
	memset(s, 0, sizeof(*s));
	s->mem = mem;
	s->memfd = p->fd;
	s->pid = p->from.pid;
	s->uid = p->from.uid;
	s->nonce = p->m.nonce;
	s->pidfd = pidfd;
	s->used = true;
	pthread_mutex_unlock(&b->lock);
	atomic_store(&mem->state, 1);
	sg_futex_wake(&mem->state, INT_MAX);
	broker_event(b, SG_EV_SESSION_BEGUN, (uint32_t)s->pid, UINT32_MAX, 0, 0);
	/* It said hello and died before we heard it. */
	if (gone)
		end_session(b, s);
	/* Its thresholds may be shorter than any so far. */
	atomic_fetch_add(&b->tick, 1);
	sg_futex_wake(&b->tick, 1);
	return true;
}

static struct broker_session *session_of(struct sg_broker *b, const struct packet *p)
{
	uint32_t i;

	for (i = 0; i < SG_BROKER_SESSIONS; i++)
		if (b->sessions[i].used && !b->sessions[i].ended &&
		    b->sessions[i].pid == p->from.pid && b->sessions[i].nonce == p->m.nonce)
			return &b->sessions[i];
	return NULL;
}

static void enrol(struct sg_broker *b, const struct packet *p)
{
	struct broker_session *s = session_of(b, p);
	int index;

	if (!s || p->m.enrol.slot >= SG_FILES || p->fd < 0) {
		if (p->fd >= 0)
			close(p->fd);
		return;
	}
	index = broker_enrol(b, &p->m, p->fd);
	atomic_store(&s->mem->files[p->m.enrol.slot].ledger,
		     index >= 0 ? (uint32_t)index + 1 : 0x80000000u | (uint32_t)-index);
	sg_futex_wake(&s->mem->files[p->m.enrol.slot].ledger, INT_MAX);
	atomic_fetch_add(&b->tick, 1);
	sg_futex_wake(&b->tick, 1);
}

static void list(struct sg_broker *b, int to)
{
	struct sg_msg m = { .kind = SG_MSG_REGISTRY };
	struct broker_session *s;
	uint32_t i;

	m.session.pid = (uint32_t)getpid();
	m.session.uid = geteuid();
	if (!answer_read_only(to, &m, b->registry_fd))
		return;
	m.kind = SG_MSG_SESSION;
	m.session.role = SG_ROLE_BROKER;
	if (!answer_read_only(to, &m, b->session_fd))
		return;
	for (i = 0; i < SG_BROKER_SESSIONS; i++) {
		s = &b->sessions[i];
		if (!s->used)
			continue;
		memset(&m, 0, sizeof(m));
		m.kind = SG_MSG_SESSION;
		m.nonce = s->nonce;
		m.session.pid = (uint32_t)s->pid;
		m.session.uid = s->uid;
		m.session.ended = s->ended;
		m.session.role = SG_ROLE_GUARDED;
		m.session.size = sizeof(*s->mem);
		if (!answer_read_only(to, &m, s->memfd))
			return;
	}
	memset(&m, 0, sizeof(m));
	m.kind = SG_MSG_END;
	answer(to, &m, -1);
}

static void drop_fd(struct packet *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* Returns false when the connection is to be closed. */
static bool handle(struct sg_broker *b, struct broker_conn *c, struct packet *p)
{
	struct sg_msg m = { .kind = SG_MSG_WELCOME };
	struct broker_session *s;

	switch (p->m.kind) {
	case SG_MSG_HELLO:
		c->guarded = true;
		return new_session(b, p) && answer(c->fd, &m, b->registry_fd);
	case SG_MSG_ADOPT:
		c->guarded = true;
		/* No room for a child is no reason to hang up on its parent, who shares the connection. */
		new_session(b, p);
		return true;
	case SG_MSG_ENROL:
		enrol(b, p);
		return true;
	case SG_MSG_LEAVE:
		drop_fd(p);
		s = session_of(b, p);
		if (s)
			s->left = true;
		return true;
	case SG_MSG_LIST:
		drop_fd(p);
		list(b, c->fd);
		return true;
	case SG_MSG_STOP:
		drop_fd(p);
		m.kind = SG_MSG_END;
		answer(c->fd, &m, -1);
		b->until_ended = true;
		atomic_store(&b->stopping, true);
		return false;
	default:
		drop_fd(p);
		return false;
	}
}

static void accept_one(struct sg_broker *b)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	uint32_t i;
	int fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		/* No descriptor left: the caller stays in the queue, and must not make us spin. */
		if (errno == EMFILE || errno == ENFILE)
			poll(NULL, 0, 20);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    (peer.uid == geteuid() || peer.uid == 0)) {
		for (i = 0; i < SG_BROKER_CONNS; i++) {
			if (b->conns[i].fd)
				continue;
			b->conns[i] =
				(struct broker_conn){ .fd = fd, .pid = peer.pid, .uid = peer.uid };
			return;
		}
	}
	close(fd);
}

static void serve_conn(struct sg_broker *b, struct broker_conn *c)
{
	struct packet p;
	int got;

	while ((got = receive(c->fd, &p)) == 1) {
		if (!handle(b, c, &p)) {
			got = -1;
			break;
		}
	}
	if (got < 0) {
		close(c->fd);
		c->fd = 0;
	}
}

/* --- the loop --- */

/* A forked child that execs loses its connection with its old image, and calls us from the new one. */
#define GRACE_NS 500000000ull

static bool nobody_left(const struct sg_broker *b)
{
	uint32_t i;

	if (!b->o.until || !b->until_ended)
		return false;
	for (i = 0; i < SG_BROKER_SESSIONS; i++)
		if (b->sessions[i].used && !b->sessions[i].ended)
			return false;
	/* A forked child that has not made its session yet still holds the connection. */
	for (i = 0; i < SG_BROKER_CONNS; i++)
		if (b->conns[i].fd && b->conns[i].guarded)
			return false;
	return true;
}

static bool done(struct sg_broker *b)
{
	if (atomic_load(&b->stopping))
		return true;
	if (!nobody_left(b)) {
		b->alone_ns = 0;
		return false;
	}
	if (!b->alone_ns)
		b->alone_ns = sg_now_ns();
	return sg_now_ns() - b->alone_ns >= GRACE_NS;
}

enum { P_LISTEN, P_SIGNAL, P_CLOCK, P_UNTIL, P_FIXED };

static uint32_t fill_poll(struct sg_broker *b, struct pollfd *fds, int *who)
{
	uint32_t n = P_FIXED, i;

	fds[P_LISTEN] = (struct pollfd){ b->listen_fd, POLLIN, 0 };
	fds[P_SIGNAL] = (struct pollfd){ b->signal_fd, POLLIN, 0 };
	fds[P_CLOCK] = (struct pollfd){ b->clock_fd, POLLIN, 0 };
	fds[P_UNTIL] = (struct pollfd){ b->until_ended ? -1 : b->o.until_pidfd, POLLIN, 0 };
	for (i = 0; i < SG_BROKER_CONNS; i++) {
		if (!b->conns[i].fd)
			continue;
		fds[n] = (struct pollfd){ b->conns[i].fd, POLLIN, 0 };
		who[n++] = (int)i;
	}
	for (i = 0; i < SG_BROKER_SESSIONS; i++) {
		if (!b->sessions[i].used || b->sessions[i].pidfd < 0)
			continue;
		fds[n] = (struct pollfd){ b->sessions[i].pidfd, POLLIN, 0 };
		who[n++] = -1 - (int)i;
	}
	return n;
}

static void drain_fd(int fd)
{
	char buf[256];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

static void one_round(struct sg_broker *b)
{
	static struct pollfd fds[P_FIXED + SG_BROKER_CONNS + SG_BROKER_SESSIONS];
	static int who[P_FIXED + SG_BROKER_CONNS + SG_BROKER_SESSIONS];
	uint32_t n = fill_poll(b, fds, who), i;

	if (poll(fds, n, b->alone_ns ? GRACE_NS / 10000000 : RELEASE_MS) < 0)
		return;
	for (i = P_FIXED; i < n; i++)
		if (fds[i].revents && who[i] >= 0)
			serve_conn(b, &b->conns[who[i]]);
	for (i = P_FIXED; i < n; i++)
		if (fds[i].revents && who[i] < 0 && b->sessions[-1 - who[i]].pidfd == fds[i].fd)
			end_session(b, &b->sessions[-1 - who[i]]);
	if (fds[P_LISTEN].revents)
		accept_one(b);
	if (fds[P_CLOCK].revents) {
		drain_fd(b->clock_fd);
		watch_clock(b);
	}
	if (fds[P_SIGNAL].revents) {
		drain_fd(b->signal_fd);
		atomic_store(&b->stopping, true);
	}
	if (fds[P_UNTIL].revents)
		b->until_ended = true;
	if (sg_now_ns() - b->released_ns < RELEASE_MS * 1000000ull)
		return;
	pthread_mutex_lock(&b->lock);
	broker_release_unused(b);
	pthread_mutex_unlock(&b->lock);
	b->released_ns = sg_now_ns();
}

/* From the moment the beat is 0 the guarded processes sync for themselves; then flush the rest, still
 * watched: that disk may hang, too. */
static void wind_up(struct sg_broker *b)
{
	pthread_mutex_lock(&b->lock);
	b->no_beat = true;
	atomic_store(&b->registry->broker_beat_ns, 0);
	atomic_store(&b->registry->clock_epoch, 0);
	pthread_mutex_unlock(&b->lock);
	broker_stop_flushers(b);
	atomic_store(&b->ended, true);
	atomic_fetch_add(&b->tick, 1);
	sg_futex_wake(&b->tick, 1);
	pthread_join(b->ticker, NULL);
}

int sg_broker_run(struct sg_broker *b)
{
	sigset_t all, old;
	char byte = 1;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&b->ticker, NULL, broker_ticker, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	if (b->o.ready_fd >= 0) {
		if (write(b->o.ready_fd, &byte, 1) != 1)
			atomic_store(&b->stopping, true); /* whoever started us is gone */
		close(b->o.ready_fd);
	}
	while (!done(b))
		one_round(b);
	wind_up(b);
	return 0;
}

void sg_broker_close(struct sg_broker *b)
{
	uint32_t i;

	if (!b)
		return;
	if (b->listen_fd >= 0) {
		close(b->listen_fd);
		if (b->socket[0])
			unlink(b->socket);
	}
	for (i = 0; i < SG_BROKER_SESSIONS; i++) {
		if (!b->sessions[i].used)
			continue;
		munmap(b->sessions[i].mem, sizeof(*b->sessions[i].mem));
		close(b->sessions[i].memfd);
		if (b->sessions[i].pidfd >= 0)
			close(b->sessions[i].pidfd);
	}
	for (i = 0; i < SG_BROKER_CONNS; i++)
		if (b->conns[i].fd)
			close(b->conns[i].fd);
	for (i = 0; i < SG_FILES; i++)
		if (b->ledgers[i].fd >= 0)
			close(b->ledgers[i].fd);
	if (b->registry)
		munmap(b->registry, sizeof(*b->registry));
	if (b->session)
		munmap(b->session, sizeof(*b->session));
	if (b->signal_fd >= 0)
		close(b->signal_fd);
	if (b->clock_fd >= 0)
		close(b->clock_fd);
	if (b->registry_fd >= 0)
		close(b->registry_fd);
	if (b->session_fd >= 0)
		close(b->session_fd);
	free(b);
}
