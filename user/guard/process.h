/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The one process object of the guard, shared by its own .c files only.
 *
 * DESIGN
 *
 *   descriptor → description → file → { session slot, ledger, group }
 *
 * A description (struct sg_desc) is what dup shares and what errseq and poison belong to; a file is an
 * inode. File i writes session slot i. Tables are fixed and never freed, so that a call which races with
 * a close finds stale data at worst, never freed memory; what decides (which inode a sync is for) is
 * checked against the kernel at every sync.
 *
 * Fork: a page that the kernel wipes in a child (MADV_WIPEONFORK) tells a child at its first call. It
 * then resets what other threads of the parent may have held, and makes a session of its own at its
 * first append or sync, so that a child which only closes and execs pays nothing. A vfork child shares
 * all memory with its parent and must leave the tables alone; it is told by its pid.
 */
#ifndef SG_GUARD_PROCESS_H
#define SG_GUARD_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guard/elide.h"
#include "guard/group.h"
#include "guard/guard.h"
#include "guard/ledger.h"
#include "guard/policy.h"
#include "guard/session.h"

#define SG_DESCS   16384
#define SG_NO_FILE UINT32_MAX
#define SG_LOCAL   UINT32_MAX /* sg_file.ledger_index: not in the broker's registry */

enum sg_desc_flag {
	SG_D_APPEND = 1,  /* O_APPEND: every write lands at the end */
	SG_D_DURABLE = 2, /* O_SYNC or O_DSYNC: a write is durable when it returns */
};

struct sg_desc {
	_Atomic uint32_t refs; /* descriptors of this process; 0: free */
	_Atomic uint32_t file; /* index, or SG_NO_FILE: a directory nobody has synced yet */
	_Atomic uint32_t flags;
	_Atomic uint32_t error;	    /* errno that this description alone has seen: it stays */
	_Atomic uint64_t looked_ns; /* when it was last checked to be this file */
	uint64_t opened_at; /* of the failure clock, before the open; 0: not seen to be opened */
	_Atomic uint64_t
		told_at; /* on_error=warn in a window: failures until then have been told of */
};

struct sg_file {
	_Atomic uint32_t state; /* SG_SLOT_* */
	_Atomic uint32_t refs;	/* descriptions */
	struct sg_file_id id;
	uint64_t born_ns;	    /* sg_identity_born_ns() */
	const struct sg_rule *rule; /* NULL: unmatched */
	enum sg_mode wanted;
	enum sg_on_error on_error;
	bool is_dir;
	_Atomic uint32_t dir_guarded; /* a directory with a guarded file in it */
	_Atomic uint32_t appended;    /* this process appended: its close and exec drain */
	uint32_t ledger_index;
	struct sg_ledger *ledger;
	struct sg_group group;
	_Atomic uint32_t proof_lock;
	struct sg_elide_proof proof;
	uint64_t fs_type;
	char path[SG_PATH_BYTES];
};

struct sg_process {
	_Atomic uint32_t *alive; /* in the wiped page: enum sg_alive */
	_Atomic uint32_t inited;
	_Atomic int pid;
	struct sg_session *_Atomic session;
	struct sg_registry *registry; /* the broker's, else local */
	struct sg_registry *local;
	bool broker;		      /* registry is a broker's */
	_Atomic uint32_t broker_lost; /* said once */
	_Atomic uint32_t pathless;    /* the same: no path of a descriptor is to be had */
	_Atomic uint32_t windowed;    /* files that ever wanted window or ensure */
	_Atomic uint32_t own_session; /* this process (not its parent) made `session` */
	int conn;		      /* socket to the broker, or -1 */
	uint64_t conn_dev, conn_ino;
	uint64_t nonce;
	char broker_path[108];
	const char *interposed;
	void (*say)(const char *message);
	_Atomic uint32_t lock; /* futex: file and description tables are being changed */
	struct sg_policy policy;
	bool bounds; /* a rule of the policy bounds what is at risk */
	struct sg_file files[SG_FILES];
	struct sg_desc descs[SG_DESCS];
};

enum sg_alive { SG_ALIVE_FORKED, SG_ALIVE_CHANGING, SG_ALIVE_READY };

extern struct sg_process sg_process;

/* --- process.c --- */

/* Begin a call: false when the guard is not ready, or this thread is inside a call already; the caller
 * then goes straight to the kernel. */
bool sg_enter(void);
void sg_leave(void);
/* Remember what an append holds while it is in the kernel; NULL: no more. */
void sg_hold(const struct sg_append *a);
/* As enter; also false in a vfork child, which must not touch the tables. */
bool sg_enter_tables(void);
/* Give this process a session of its own, if it inherited one. Call inside enter. */
void sg_own_session(void);
void sg_lock(void);
void sg_unlock(void);
uint32_t sg_tid(void);
bool sg_broker_alive(uint64_t now_ns);
void sg_report(enum sg_event_kind kind, uint32_t file, int error);

/* --- client.c --- */
bool sg_client_connect(void);
/* Hand the session memfd over; first: HELLO, and fetch the registry. */
bool sg_client_hello(int memfd, bool first);
/* Ask for a ledger. Returns its index, or -errno. */
int sg_client_enrol(int fd, uint32_t slot, const struct sg_rule *rule, const struct sg_file_id *id,
		    uint64_t size);
void sg_client_leave(void);
bool sg_client_owns(int fd);

/* --- files.c --- */

/* The file that fd is now, or NULL: no regular file or directory, or no room. `enrol_unmatched`: also
 * when no policy names it. st is filled on success. */
struct sg_file *sg_file_of(int fd, struct stat *st, const struct sg_file_id *id,
			   bool enrol_unmatched);
struct sg_file *sg_file_find(const struct sg_file_id *id);
struct sg_file *sg_file_find_ino(uint64_t dev, uint64_t ino);
/* Make every file with open descriptions known to a new session (after fork). */
void sg_files_republish(void);
static inline uint32_t sg_file_index(const struct sg_file *f)
{
	return (uint32_t)(f - sg_process.files);
}
static inline struct sg_session_file *sg_file_stats(const struct sg_file *f)
{
	return &sg_process.session->files[sg_file_index(f)];
}
/* The mode in force now. The ledger may have fallen to less than we want, or another process may want
 * more than we do. */
static inline enum sg_mode sg_file_mode(const struct sg_file *f)
{
	enum sg_mode mode =
		(enum sg_mode)atomic_load_explicit(&f->ledger->mode, memory_order_relaxed);

	return mode < f->wanted ? mode : f->wanted;
}
/* window or ensure, with a broker behind it: appends need room. */
static inline bool sg_file_bounded(const struct sg_file *f)
{
	return sg_file_mode(f) >= SG_MODE_WINDOW;
}
void sg_file_demote(struct sg_file *f, enum sg_file_flag why);
/* Is its ledger still its own? The broker drops files that nobody seems to have open, and may give their
 * place to another. */
static inline bool sg_file_has_ledger(const struct sg_file *f)
{
	return atomic_load_explicit(&f->ledger->state, memory_order_relaxed) == SG_SLOT_LIVE &&
	       sg_file_id_equal(&f->ledger->id, &f->id);
}
/* Does path lie right inside dir? Both resolved. */
bool sg_is_dir_of(const char *dir, const char *path);
/* Is there a broker that flushes f? */
bool sg_file_served(const struct sg_file *f);
/* Ask the broker anew, through a descriptor of f. In vain: it falls to group, visibly. */
void sg_file_enrol_again(struct sg_file *f, int fd);

/* --- fds.c --- */

/* The description behind fd if it is tracked. Looks at descriptors never seen before. NULL: plain. */
struct sg_desc *sg_desc_of(int fd);
/* The same for a sync: checked against the kernel, enrolled if need be. st is filled when it returns a
 * description; NULL: not a file of any interest, or bad. */
struct sg_desc *sg_desc_for_sync(int fd, struct stat *st);
/* d, or what fd has become; remembers the time. */
struct sg_desc *sg_desc_look_again(int fd, struct sg_desc *d, uint64_t now_ns);
/* Some open descriptor of a file, checked; -1 if none is known. */
int sg_fd_of_file(const struct sg_file *f);

/* --- sync.c --- */

/* Does an earlier sync's failure refuse this call (on_error=poison)? With abort the program ends here. */
bool sg_poisoned(const struct sg_file *f, const struct sg_desc *d);

/* One kernel sync of f through fd, with all its accounting. `counted` is the counter besides ISSUED.
 * next NULL: fdatasync or fsync by system call. Returns 0 or errno. */
int sg_issue(struct sg_file *f, int fd, enum sg_op op, sg_sync_fn next, enum sg_counter counted,
	     struct sg_group_times *times);
/* Have everything that came back from the kernel before now covered, by a real sync. 0 or -EIO. */
int sg_drain(struct sg_file *f, int fd);
int sg_drain_all_files(void);

#endif
