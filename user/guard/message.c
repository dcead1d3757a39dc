// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The messages of proto.h, with descriptors and credentials: for both ends of the socket. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "guard/proto.h"
#include "guard/sys.h"

#define FDS_MAX 4 /* so many may come with one message; one is kept */

int sg_msg_send(int to, struct sg_msg *m, int fd, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	int saved = errno, err;
	struct cmsghdr *c;
	ssize_t n;

	m->version = SG_PROTO_VERSION;
	if (fd >= 0) {
		h.msg_control = control.bytes;
		h.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do {
		n = sendmsg(to, &h, MSG_NOSIGNAL | flags);
	} while (n < 0 && errno == EINTR);
	err = n == (ssize_t)sizeof(*m) ? 0 : n < 0 ? -errno : -EPROTO;
	errno = saved;
	return err;
}

static void take_fds(struct cmsghdr *c, int *fd)
{
	size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int got;

	for (i = 0; i < n; i++) {
		memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		if (*fd < 0)
			*fd = got;
		else
			sg_sys_close(got);
	}
}

static ssize_t receive(int from, struct msghdr *h, int flags)
{
	ssize_t n;

	do {
		n = recvmsg(from, h, MSG_CMSG_CLOEXEC | flags);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int sg_msg_receive(int from, struct sg_msg *m, int *fd, struct ucred *sender, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	int saved = errno;
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	if (sender)
		*sender = (struct ucred){ 0 };
	n = receive(from, &h, flags);
	if (n < 0) {
		errno = saved;
		return (int)n;
	}
	for (c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && sender)
			memcpy(sender, CMSG_DATA(c), sizeof(*sender));
		else if (c->cmsg_type == SCM_RIGHTS)
			take_fds(c, fd);
	}
	errno = saved;
	if (n == (ssize_t)sizeof(*m) && m->version == SG_PROTO_VERSION &&
	    !(h.msg_flags & MSG_TRUNC))
		return 0;
	if (*fd >= 0)
		sg_sys_close(*fd);
	*fd = -1;
	errno = saved;
	return -EPROTO;
}
