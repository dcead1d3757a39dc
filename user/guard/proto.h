/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Messages between a guarded process, the broker and the command, over a SOCK_SEQPACKET Unix socket: one
 * message, one packet, at most a few descriptors attached. All are fixed-size and host-endian (both ends
 * run on one kernel).
 *
 * A guarded process reads from its socket once, at HELLO. All later answers are written into its session
 * memory and woken by futex: the connection is inherited over fork, and two readers on one connection
 * would steal each other's answers.
 *
 *   guarded → broker   HELLO   + session memfd            → WELCOME + registry memfd (read-write)
 *                      ADOPT   + session memfd            → session->state = 1      (a forked child)
 *                      ENROL   + descriptor of the file   → files[slot].ledger
 *                      LEAVE                              (clean exit: everything is drained)
 *   command → broker   LIST                               → SESSION + session memfd (read-only), …, END
 *                      STOP                               → END                      (own uid or root)
 */
#ifndef SG_GUARD_PROTO_H
#define SG_GUARD_PROTO_H

#include <stdint.h>

#include "guard/identity.h"

#define SG_PROTO_VERSION 2

enum sg_msg_kind {
	SG_MSG_HELLO = 1,
	SG_MSG_WELCOME,
	SG_MSG_ADOPT,
	SG_MSG_ENROL,
	SG_MSG_LEAVE,
	SG_MSG_LIST,
	SG_MSG_SESSION,
	SG_MSG_REGISTRY,
	SG_MSG_END,
	SG_MSG_STOP,
	SG_MSG_REFUSED,
};

struct sg_msg {
	uint32_t kind;
	uint32_t version;
	uint64_t nonce; /* of the session that speaks */
	union {
		struct {
			uint32_t slot;
			uint32_t mode; /* enum sg_mode wanted */
			uint64_t max_records, max_bytes, max_delay_ns, stall_ns;
			uint32_t on_error;
			uint32_t fixed; /* adapt = off */
			uint64_t size;	/* of the file when it was enrolled */
			struct sg_file_id id;
		} enrol;
		struct {
			uint32_t pid, uid;
			uint32_t ended; /* the process is gone; its memory is kept for the report */
			uint32_t role;
			uint64_t size;
		} session;
		struct {
			int32_t error; /* errno */
			char why[100];
		} refused;
	};
};

struct ucred;

/*
 * Send one message, stamped with this version, and a descriptor with it (-1: none). flags: of sendmsg(2),
 * MSG_NOSIGNAL is added. 0 or -errno. Async-signal-safe; leaves errno alone.
 */
int sg_msg_send(int to, struct sg_msg *m, int fd, int flags);

/*
 * Receive one message, and the first descriptor that came with it (*fd, -1: none; others are closed). from:
 * who sent it, where the socket passes credentials, or NULL. flags: of recvmsg(2). 0; -errno; -EPROTO, with
 * nothing left open: the peer is gone, or the message is not one of this version and size.
 * Async-signal-safe; leaves errno alone.
 */
int sg_msg_receive(int from, struct sg_msg *m, int *fd, struct ucred *sender, int flags);

#endif
