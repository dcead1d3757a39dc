// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * A guarded process' side of the socket to the broker. It reads once, at HELLO; all other answers come
 * through session memory (see proto.h). The socket stays open at a high number, so that a forked child
 * which has changed its user or its root can still reach the broker. A program that closes it all the
 * same is connected anew.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "guard/clock.h"
#include "guard/futex.h"
#include "guard/process.h"
#include "guard/proto.h"
#include "guard/sys.h"

#define CONN_BASE 1000		/* below it are the numbers that programs use */
#define ANSWER_NS 2000000000ull /* how long the broker may take to answer */
#define LOOK_NS	  100000000ull	/* how often it is seen to live meanwhile */

bool sg_client_owns(int fd)
{
	struct stat st;
	int saved = errno;
	bool ours = fd >= 0 && fd == sg_process.conn && fstat(fd, &st) == 0 &&
		    S_ISSOCK(st.st_mode) && st.st_dev == sg_process.conn_dev &&
		    st.st_ino == sg_process.conn_ino;

	errno = saved;
	return ours;
}

static int high(int fd)
{
	int moved = sg_sys_fcntl(fd, F_DUPFD_CLOEXEC, CONN_BASE);

	if (moved < 0)
		moved = sg_sys_fcntl(fd, F_DUPFD_CLOEXEC, 100);
	if (moved < 0)
		return fd;
	sg_sys_close(fd);
	return moved;
}

bool sg_client_connect(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_NS / 1000000000 };
	struct stat st;
	int fd;

	if (sg_client_owns(sg_process.conn))
		return true;
	sg_process.conn = -1;
	memcpy(to.sun_path, sg_process.broker_path, sizeof(to.sun_path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	fd = high(fd);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 || fstat(fd, &st) != 0) {
		sg_sys_close(fd);
		return false;
	}
	sg_process.conn = fd;
	sg_process.conn_dev = st.st_dev;
	sg_process.conn_ino = st.st_ino;
	return true;
}

static bool send_with_fd(struct sg_msg *m, int fd)
{
	m->nonce = sg_process.nonce;
	return sg_msg_send(sg_process.conn, m, fd, 0) == 0;
}

static bool map_registry(void)
{
	struct sg_msg m;
	struct stat st;
	void *mem;
	int fd;

	if (sg_msg_receive(sg_process.conn, &m, &fd, NULL, 0) != 0 || fd < 0)
		return false;
	if (m.kind != SG_MSG_WELCOME || fstat(fd, &st) != 0 ||
	    st.st_size < (off_t)sizeof(struct sg_registry)) {
		sg_sys_close(fd);
		return false;
	}
	mem = sg_sys_map(sizeof(struct sg_registry), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	sg_sys_close(fd);
	if (mem == MAP_FAILED)
		return false;
	if (sg_registry_check(mem, (uint64_t)st.st_size) != 0) {
		munmap(mem, sizeof(struct sg_registry));
		return false;
	}
	sg_process.registry = mem;
	return true;
}

bool sg_client_hello(int memfd, bool first)
{
	struct sg_msg m = { .kind = first ? SG_MSG_HELLO : SG_MSG_ADOPT };

	return sg_client_connect() && send_with_fd(&m, memfd) && (!first || map_registry());
}

int sg_client_enrol(int fd, uint32_t slot, const struct sg_rule *rule, const struct sg_file_id *id,
		    uint64_t size)
{
	struct sg_msg m = { .kind = SG_MSG_ENROL };
	_Atomic uint32_t *answer = &sg_process.session->files[slot].ledger;
	uint64_t end_ns = sg_now_ns() + ANSWER_NS, now_ns;
	uint32_t got;

	m.enrol.slot = slot;
	m.enrol.mode = rule->mode;
	m.enrol.max_records = rule->max_records;
	m.enrol.max_bytes = rule->max_bytes;
	m.enrol.max_delay_ns = rule->max_delay_ns;
	m.enrol.stall_ns = rule->stall_ns;
	m.enrol.on_error = rule->on_error;
	m.enrol.fixed = !rule->adapt;
	m.enrol.size = size;
	m.enrol.id = *id;
	atomic_store(answer, 0);
	/* A broker that hangs must not cost every open its two seconds. */
	if (!sg_broker_alive(sg_now_ns()))
		return -ETIMEDOUT;
	if (!sg_client_connect() || !send_with_fd(&m, fd))
		return -ENOTCONN;
	while ((got = atomic_load(answer)) == 0) {
		now_ns = sg_now_ns();
		if (now_ns >= end_ns || !sg_broker_alive(now_ns))
			return -ETIMEDOUT;
		sg_futex_wait(answer, 0, LOOK_NS);
	}
	if (got & 0x80000000u)
		return -(int)(got & 0x7fffffffu);
	if (got > SG_FILES)
		return -EPROTO;
	/* A late answer, to what was asked for another file in this slot? */
	return sg_file_id_equal(&sg_process.registry->ledgers[got - 1].id, id) ? (int)(got - 1)
									       : -ESTALE;
}

void sg_client_leave(void)
{
	struct sg_msg m = { .kind = SG_MSG_LEAVE };

	if (sg_client_owns(sg_process.conn))
		send_with_fd(&m, -1);
}
