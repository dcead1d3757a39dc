// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Two watches. That of the directory leaves out writes, so that a sleeping reader costs a writer's append nothing, and
 * is not woken by it. That of `durable` is set anew at each drain, which also follows a file that took its place; one
 * that does not exist yet wakes by being made.
 *
 * An epoll descriptor holds the inotify and a timer, so a program's event loop sees one.
 */
#include "spool/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "guard/clock.h"
#include "spoolguard/spool.h"

/* Reads of one drain: a writer may be as quick as we are. What is left makes the next wait return at once. */
#define DRAIN_READS 64

/* Through the descriptor, so that it is that directory, whatever its path is now. */
static int watch(const struct sg_watch *w, const char *name, uint32_t mask)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d%s", w->dirfd, name);
	return inotify_add_watch(w->inotify, path, mask) < 0 ? -errno : 0;
}

static int watch_dir(const struct sg_watch *w)
{
	uint32_t mask = IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR;
	int err = watch(w, "", mask | (w->appends ? IN_MODIFY : 0));

	return err == -ENOENT ? -ENOSYS : err;
}

static int add_to_epoll(const struct sg_watch *w, int fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) != 0 ? -errno : 0;
}

static int make_fds(struct sg_watch *w)
{
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->inotify < 0)
		return -errno;
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (w->timer < 0)
		return -errno;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	return w->epoll < 0 ? -errno : 0;
}

int sg_watch_open(struct sg_watch *w, int dirfd, bool appends)
{
	int err;

	*w = (struct sg_watch){
		.dirfd = dirfd, .inotify = -1, .timer = -1, .epoll = -1, .appends = appends
	};
	err = make_fds(w);
	if (!err)
		err = watch_dir(w);
	if (!err)
		err = add_to_epoll(w, w->inotify);
	if (!err)
		err = add_to_epoll(w, w->timer);
	if (err)
		sg_watch_close(w);
	return err;
}

void sg_watch_close(struct sg_watch *w)
{
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->timer >= 0)
		close(w->timer);
	if (w->inotify >= 0)
		close(w->inotify);
	w->epoll = w->timer = w->inotify = -1;
}

static unsigned int what_it_is(const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return SG_WATCH_MADE | SG_WATCH_LOCK_CLOSED;
	if (e->mask & (IN_CREATE | IN_MOVED_TO))
		return SG_WATCH_MADE;
	if ((e->mask & IN_CLOSE_WRITE) && e->len && strcmp(e->name, "lock") == 0)
		return SG_WATCH_LOCK_CLOSED;
	return 0;
}

static unsigned int read_events(const char *buf, size_t len)
{
	const struct inotify_event *e;
	unsigned int what = 0;
	size_t at;

	for (at = 0; at < len; at += sizeof(*e) + e->len) {
		e = (const struct inotify_event *)(const void *)(buf + at);
		what |= what_it_is(e);
	}
	return what;
}

int sg_watch_drain(struct sg_watch *w, unsigned int *what)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int i, err;
	ssize_t n;

	for (i = 0; i < DRAIN_READS; i++) {
		n = read(w->inotify, buf, sizeof(buf));
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*what |= read_events(buf, (size_t)n);
	}
	if (w->appends)
		return 0;
	err = watch(w, "/durable", IN_MODIFY | IN_DONT_FOLLOW);
	return err == -ENOENT ? 0 : err;
}

int sg_watch_again(struct sg_watch *w, uint64_t ns)
{
	struct itimerspec t = { .it_value = { (time_t)(ns / 1000000000),
					      (long)(ns % 1000000000) } };

	if (ns == w->again_ns)
		return 0;
	if (timerfd_settime(w->timer, 0, &t, NULL) != 0)
		return -errno;
	w->again_ns = ns;
	return 0;
}

int sg_watch_wait(struct sg_watch *w, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = w->epoll, .events = POLLIN };
	struct timespec left;
	uint64_t now_ns;
	int n;

	for (;;) {
		now_ns = deadline_ns ? sg_now_ns() : 0;
		if (now_ns >= deadline_ns)
			return -EAGAIN;
		left = (struct timespec){ (time_t)((deadline_ns - now_ns) / 1000000000),
					  (long)((deadline_ns - now_ns) % 1000000000) };
		n = ppoll(&p, 1, deadline_ns == SPOOL_NO_DEADLINE ? NULL : &left, NULL);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}
