// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Which files this process has to do with: policy, ledger and session slot of each. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>

#include "guard/clock.h"
#include "guard/futex.h"
#include "guard/process.h"
#include "guard/sys.h"

static bool live(const struct sg_file *f)
{
	return atomic_load_explicit(&f->state, memory_order_acquire) == SG_SLOT_LIVE;
}

struct sg_file *sg_file_find(const struct sg_file_id *id)
{
	uint32_t i;

	for (i = 0; i < SG_FILES; i++)
		if (live(&sg_process.files[i]) && sg_file_id_equal(&sg_process.files[i].id, id))
			return &sg_process.files[i];
	return NULL;
}

struct sg_file *sg_file_find_ino(uint64_t dev, uint64_t ino)
{
	uint32_t i;

	for (i = 0; i < SG_FILES; i++)
		if (live(&sg_process.files[i]) && sg_process.files[i].id.ino == ino &&
		    sg_process.files[i].id.dev == dev)
			return &sg_process.files[i];
	return NULL;
}

/* --- directories with guarded files in them --- */

bool sg_is_dir_of(const char *dir, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	return slash && strncmp(dir, path, n ? n : 1) == 0 && dir[n ? n : 1] == '\0';
}

static void guard_dirs(struct sg_file *f)
{
	uint32_t i;
	struct sg_file *other, *dir, *file;

	for (i = 0; i < SG_FILES; i++) {
		other = &sg_process.files[i];
		if (!live(other) || other->is_dir == f->is_dir)
			continue;
		dir = f->is_dir ? f : other;
		file = f->is_dir ? other : f;
		if (file->wanted == SG_MODE_OBSERVE || !sg_is_dir_of(dir->path, file->path))
			continue;
		/* Its syncs are as precious as those of the file: elided when redundant, poisoned when failed. */
		dir->wanted = SG_MODE_GROUP;
		dir->on_error = file->on_error;
		atomic_store(&dir->ledger->mode, SG_MODE_GROUP);
		atomic_store(&sg_file_stats(dir)->wanted, SG_MODE_GROUP);
		atomic_store(&sg_file_stats(dir)->mode, SG_MODE_GROUP);
		atomic_store(&dir->dir_guarded, 1);
	}
}

/* --- enrolment --- */

/* A place: a free one, else one whose file is closed, with nothing at risk and no error to remember. */
static struct sg_file *place(void)
{
	struct sg_file *f, *closed = NULL;
	struct sg_at_risk risk;
	uint32_t i;

	for (i = 0; i < SG_FILES; i++) {
		f = &sg_process.files[i];
		if (atomic_load(&f->state) == SG_SLOT_FREE)
			return f;
		if (closed || atomic_load(&f->refs) || !live(f))
			continue;
		sg_ledger_at_risk(f->ledger, &risk);
		if ((f->wanted < SG_MODE_WINDOW || risk.records == 0) &&
		    !atomic_load(&f->ledger->poison_at))
			closed = f;
	}
	return closed;
}

static void reset_slot(struct sg_session_file *s)
{
	atomic_exchange(&s->state, SG_SLOT_FILLING);
	memset((char *)s + sizeof(s->state), 0, sizeof(*s) - sizeof(s->state));
}

static struct sg_ledger *local_ledger(struct sg_file *f, enum sg_mode mode, const struct stat *st)
{
	struct sg_ledger *l = &sg_process.local->ledgers[sg_file_index(f)];

	memset((void *)l, 0, sizeof(*l));
	l->id = f->id;
	l->max_records = l->max_bytes = l->max_delay_ns = UINT64_MAX;
	atomic_store(&l->size_base, (uint64_t)st->st_size);
	atomic_store(&l->mode, mode);
	atomic_store(&l->state, SG_SLOT_LIVE);
	f->ledger_index = SG_LOCAL;
	return l;
}

/* What the policy wants and what can be had: window and ensure need a broker. */
static void get_ledger(struct sg_file *f, int fd, const struct stat *st)
{
	struct sg_session_file *s = sg_file_stats(f);
	enum sg_mode mode = f->wanted;
	int index = -ENOTCONN;

	if (sg_process.broker && f->rule && !f->is_dir && mode != SG_MODE_OBSERVE)
		index = sg_client_enrol(fd, sg_file_index(f), f->rule, &f->id,
					(uint64_t)st->st_size);
	if (index >= 0) {
		f->ledger_index = (uint32_t)index;
		f->ledger = &sg_process.registry->ledgers[index];
		return;
	}
	if (mode > SG_MODE_GROUP) {
		mode = SG_MODE_GROUP;
		atomic_fetch_or(&s->flags, SG_F_NO_BROKER);
	}
	f->ledger = local_ledger(f, mode, st);
	if (f->wanted > SG_MODE_GROUP)
		sg_report(SG_EV_DEGRADED, sg_file_index(f), -index);
}

static void publish(struct sg_file *f, int fd)
{
	struct sg_session_file *s = sg_file_stats(f);
	enum sg_verdict verdict =
		sg_process.interposed ? SG_VERDICT_INTERPOSED : SG_VERDICT_UNKNOWN;

	sg_session_uses(sg_process.session, sg_file_index(f));
	if (fd >= 0 && verdict == SG_VERDICT_UNKNOWN)
		verdict = sg_identity_verdict(fd);
	s->id = f->id;
	memcpy(s->path, f->path, sizeof(s->path));
	atomic_store(&s->verdict, verdict);
	atomic_store(&s->wanted, f->wanted);
	atomic_store(&s->stall_ns, f->rule ? f->rule->stall_ns : 1000000000);
	atomic_fetch_or(&s->flags, (f->is_dir ? SG_F_DIR : 0) | (f->rule ? 0 : SG_F_UNMATCHED));
	if (f->rule &&
	    (f->rule->on_stall != SG_ON_STALL_BLOCK || f->rule->backend == SG_BACKEND_KMOD))
		atomic_fetch_or(&s->flags, SG_F_NOT_BUILT);
	atomic_store(&s->open_count, atomic_load(&f->refs));
}

static struct sg_file *enrol(int fd, const struct stat *st, const struct sg_file_id *id,
			     const struct sg_rule *rule, const char *path)
{
	struct sg_file *f = place();
	struct sg_session_file *s;
	struct statfs fs;

	if (!f) {
		atomic_fetch_add(&sg_process.session->untracked, 1);
		return NULL;
	}
	atomic_store(&f->state, SG_SLOT_FILLING);
	memset((char *)f + sizeof(f->state), 0, sizeof(*f) - sizeof(f->state));
	f->id = *id;
	f->born_ns = sg_identity_born_ns(fd);
	f->rule = rule;
	f->is_dir = S_ISDIR(st->st_mode);
	f->wanted = rule ? rule->mode : SG_MODE_OBSERVE;
	f->on_error = rule ? rule->on_error : SG_ON_ERROR_WARN;
	memcpy(f->path, path, strlen(path) + 1);
	if (f->is_dir && fstatfs(fd, &fs) == 0)
		f->fs_type = (uint64_t)fs.f_type & 0xffffffff;

	s = sg_file_stats(f);
	reset_slot(s);
	publish(f, fd);
	get_ledger(f, fd, st);
	atomic_store(&s->mode, sg_file_mode(f));
	atomic_store(&s->state, SG_SLOT_LIVE);
	atomic_store_explicit(&f->state, SG_SLOT_LIVE, memory_order_release);
	if (f->wanted >= SG_MODE_WINDOW)
		atomic_fetch_add(&sg_process.windowed, 1);
	guard_dirs(f);
	return f;
}

struct sg_file *sg_file_of(int fd, struct stat *st, const struct sg_file_id *id,
			   bool enrol_unmatched)
{
	char path[SG_PATH_BYTES];
	const struct sg_rule *rule = NULL;
	struct sg_file *f = sg_file_find(id);
	int len;

	if (f)
		return f;
	len = sg_identity_path(fd, path, sizeof(path));
	if (len > 0) {
		rule = S_ISDIR(st->st_mode) ? NULL : sg_policy_match(&sg_process.policy, path);
	} else {
		strcpy(path, "?");
		/* A chroot without /proc: rules that should match do not. */
		if (len != -ENAMETOOLONG && sg_process.policy.n &&
		    !atomic_exchange(&sg_process.pathless, 1))
			sg_report(SG_EV_DEGRADED, SG_NO_FILE, -len);
	}
	if (!rule && !enrol_unmatched)
		return NULL;
	sg_own_session();
	sg_lock();
	f = sg_file_find(id);
	if (!f)
		f = enrol(fd, st, id, rule, path);
	if (f && len == -ENAMETOOLONG)
		atomic_fetch_or(&sg_file_stats(f)->flags, SG_F_PATH_CUT);
	sg_unlock();
	return f;
}

bool sg_file_served(const struct sg_file *f)
{
	return f->ledger_index != SG_LOCAL && sg_file_has_ledger(f) && sg_broker_alive(sg_now_ns());
}

void sg_file_enrol_again(struct sg_file *f, int fd)
{
	struct stat st;
	int index;

	if (f->ledger_index == SG_LOCAL || fd < 0 || !f->rule || fstat(fd, &st) != 0)
		return;
	index = sg_client_enrol(fd, sg_file_index(f), f->rule, &f->id, (uint64_t)st.st_size);
	if (index >= 0) {
		f->ledger_index = (uint32_t)index;
		f->ledger = &sg_process.registry->ledgers[index];
	} else if (!sg_file_id_equal(&f->ledger->id, &f->id)) {
		f->ledger = local_ledger(f, SG_MODE_GROUP, &st);
		atomic_fetch_or(&sg_file_stats(f)->flags, SG_F_NO_BROKER);
		sg_report(SG_EV_DEGRADED, sg_file_index(f), -index);
	}
}

void sg_files_republish(void)
{
	struct sg_file *f;
	struct sg_session_file *s;
	uint32_t i;
	int fd;

	for (i = 0; i < SG_FILES; i++) {
		f = &sg_process.files[i];
		if (!live(f) || !atomic_load(&f->refs))
			continue;
		s = sg_file_stats(f);
		fd = sg_fd_of_file(f);
		publish(f, fd);
		/* The parent may have closed it meanwhile, and the broker with it. */
		sg_file_enrol_again(f, fd);
		atomic_store(&s->mode, sg_file_mode(f));
		atomic_store(&s->state, SG_SLOT_LIVE);
	}
}

void sg_file_demote(struct sg_file *f, enum sg_file_flag why)
{
	if (f->wanted < SG_MODE_WINDOW || !sg_file_bounded(f))
		return;
	sg_drain(f, -1);
	sg_ledger_demote(f->ledger, SG_MODE_GROUP, why);
	atomic_fetch_or(&sg_file_stats(f)->flags, why);
	atomic_store(&sg_file_stats(f)->mode, SG_MODE_GROUP);
	sg_report(SG_EV_DEMOTED, sg_file_index(f), 0);
}
