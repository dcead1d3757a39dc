// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* A reader's view of brokers and their sessions: over the socket, or of one's own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/internal.h"

#define ANSWER_S 2

static void *grown(void *array, uint32_t n, size_t size)
{
	/* Powers of two: grows when it is full. */
	if (n & (n - 1))
		return array;
	return realloc(array, (n ? 2u * n : 1u) * size);
}

static const void *map_checked(int fd, size_t size, int (*check)(const void *, uint64_t))
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *mem;

	if (fstat(fd, &st) != 0 || st.st_size < (off_t)size || seals < 0 ||
	    !(seals & F_SEAL_SHRINK))
		return NULL;
	mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	if (check(mem, (uint64_t)st.st_size) == 0)
		return mem;
	munmap(mem, size);
	return NULL;
}

static struct sg_view_broker *add_broker(struct sg_view *v, const char *socket, uint32_t pid)
{
	struct sg_view_broker *all = grown(v->brokers, v->n_brokers, sizeof(*all)), *b;

	if (!all)
		return NULL;
	v->brokers = all;
	b = &all[v->n_brokers++];
	memset(b, 0, sizeof(*b));
	b->pid = pid;
	snprintf(b->socket, sizeof(b->socket), "%s", socket);
	return b;
}

static int add_session(struct sg_view *v, const struct sg_session *mem, const struct sg_msg *m,
		       const struct sg_view_broker *b)
{
	struct sg_view_session *all = grown(v->sessions, v->n_sessions, sizeof(*all));

	if (!all)
		return -ENOMEM;
	v->sessions = all;
	all[v->n_sessions++] = (struct sg_view_session){ .mem = mem,
							 .pid = m->session.pid,
							 .uid = m->session.uid,
							 .ended = m->session.ended,
							 .registry = b->registry,
							 .broker = b->mem,
							 .broker_pid = b->pid };
	return 0;
}

/* --- over the socket --- */

static int dial(const char *socket_path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_S };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", socket_path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int ask(int fd, enum sg_msg_kind kind)
{
	struct sg_msg m = { .kind = kind };

	return sg_msg_send(fd, &m, -1, 0);
}

/* A descriptor that came with m. Mappings that fail their check are left out. */
static int take(struct sg_view *v, struct sg_view_broker *b, const struct sg_msg *m, int fd)
{
	const struct sg_session *s;

	if (m->kind == SG_MSG_REGISTRY) {
		b->pid = m->session.pid;
		b->registry = map_checked(fd, sizeof(struct sg_registry), sg_registry_check);
		return b->registry ? 0 : -EPROTO;
	}
	s = map_checked(fd, sizeof(*s), sg_session_check);
	if (!s)
		return 0;
	if (m->session.role == SG_ROLE_BROKER) {
		b->mem = s;
		return 0;
	}
	return add_session(v, s, m, b);
}

static int read_list(struct sg_view *v, struct sg_view_broker *b, int conn)
{
	struct sg_msg m;
	int err = ask(conn, SG_MSG_LIST), fd = -1;

	while (err == 0) {
		err = sg_msg_receive(conn, &m, &fd, NULL, 0);
		if (err == 0 && m.kind == SG_MSG_END)
			return 0;
		if (err == 0)
			err = (m.kind == SG_MSG_REGISTRY || m.kind == SG_MSG_SESSION) && fd >= 0
				      ? take(v, b, &m, fd)
				      : -EPROTO;
		if (fd >= 0)
			close(fd);
	}
	return err;
}

static void see_broker(struct sg_view *v, const char *socket_path)
{
	struct sg_view_broker *b;
	int conn = dial(socket_path);

	/* A socket that a killed broker left behind. */
	if (conn == -ECONNREFUSED) {
		unlink(socket_path);
		return;
	}
	if (conn < 0) {
		v->unreachable++;
		return;
	}
	b = add_broker(v, socket_path, 0);
	if (!b || read_list(v, b, conn) != 0 || !b->registry || !b->mem)
		v->unreachable++;
	close(conn);
}

int sg_view_open(const char *dir, struct sg_view **out)
{
	struct sg_view *v;
	char path[108];
	struct dirent *e;
	size_t len;
	DIR *d = opendir(dir);

	if (!d)
		return -errno;
	v = calloc(1, sizeof(*v));
	while (v && (e = readdir(d)) != NULL) {
		len = strlen(e->d_name);
		if (strncmp(e->d_name, "broker.", 7) != 0 || len < 6 ||
		    strcmp(e->d_name + len - 5, ".sock") != 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < (int)sizeof(path))
			see_broker(v, path);
	}
	closedir(d);
	if (!v)
		return -ENOMEM;
	*out = v;
	return 0;
}

/* --- one's own --- */

static const void *map_again(int fd, size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

int sg_broker_view(struct sg_broker *b, struct sg_view **out)
{
	struct sg_view *v = calloc(1, sizeof(*v));
	struct sg_view_broker *own = v ? add_broker(v, b->socket, (uint32_t)getpid()) : NULL;
	struct sg_msg m = { 0 };
	const struct sg_session *mem;
	uint32_t i;

	if (!own) {
		free(v);
		return -ENOMEM;
	}
	own->registry = map_again(b->registry_fd, sizeof(struct sg_registry));
	own->mem = map_again(b->session_fd, sizeof(struct sg_session));
	for (i = 0; own->registry && own->mem && i < SG_BROKER_SESSIONS; i++) {
		if (!b->sessions[i].used)
			continue;
		mem = map_again(b->sessions[i].memfd, sizeof(*mem));
		m.session.pid = (uint32_t)b->sessions[i].pid;
		m.session.uid = b->sessions[i].uid;
		m.session.ended = b->sessions[i].ended;
		if (mem && add_session(v, mem, &m, own) != 0)
			munmap((void *)mem, sizeof(*mem));
	}
	*out = v;
	return 0;
}

void sg_view_free(struct sg_view *v)
{
	uint32_t i;

	if (!v)
		return;
	for (i = 0; i < v->n_sessions; i++)
		munmap((void *)v->sessions[i].mem, sizeof(struct sg_session));
	for (i = 0; i < v->n_brokers; i++) {
		if (v->brokers[i].mem)
			munmap((void *)v->brokers[i].mem, sizeof(struct sg_session));
		if (v->brokers[i].registry)
			munmap((void *)v->brokers[i].registry, sizeof(struct sg_registry));
	}
	free(v->sessions);
	free(v->brokers);
	free(v);
}

int sg_broker_stop(const char *socket_path)
{
	struct sg_msg m;
	int conn = dial(socket_path), err, fd = -1;

	if (conn < 0)
		return conn;
	err = ask(conn, SG_MSG_STOP);
	if (err == 0)
		err = sg_msg_receive(conn, &m, &fd, NULL, 0);
	if (fd >= 0)
		close(fd);
	close(conn);
	return err;
}
