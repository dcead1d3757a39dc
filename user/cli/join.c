// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/policy.h"
#include "guard/units.h"

/* Session memory and ledgers are written by others while they are read. */
#define LOAD(word) atomic_load_explicit(&(word), memory_order_relaxed)

void join_init(struct join *j, uint64_t now_ns)
{
	memset(j, 0, sizeof(*j));
	j->now_ns = now_ns;
}

void join_free(struct join *j)
{
	free(j->rows);
	free(j->flights);
	memset(j, 0, sizeof(*j));
}

/* --- rows --- */

static struct join_row *find(struct join *j, const struct sg_file_id *id)
{
	struct join_row *loose = NULL;
	unsigned int i;

	for (i = 0; i < j->n; i++) {
		struct join_row *r = &j->rows[i];

		if (r->other || r->id.ino != id->ino || r->id.dev != id->dev)
			continue;
		if (r->id.gen == id->gen)
			return r;
		if (!r->id.gen || !id->gen)
			loose = r;
	}
	if (loose && !loose->id.gen)
		loose->id.gen = id->gen;
	return loose;
}

static struct join_row *add_row(struct join *j, const struct sg_file_id *id)
{
	struct join_row *rows;

	if (j->n == j->room) {
		j->room = j->room ? 2 * j->room : 64;
		rows = reallocarray(j->rows, j->room, sizeof(*rows));
		if (!rows) {
			j->room = j->n;
			j->out_of_memory = true;
			return NULL;
		}
		j->rows = rows;
	}
	memset(&j->rows[j->n], 0, sizeof(*rows));
	j->rows[j->n].id = *id;
	j->rows[j->n].id.pad = 0;
	return &j->rows[j->n++];
}

static struct join_row *row_of(struct join *j, const struct sg_file_id *id, uint32_t seen)
{
	struct join_row *r = find(j, id);

	if (!r && !j->closed)
		r = add_row(j, id);
	if (r)
		r->seen |= seen;
	return r;
}

/* The longest whole path wins over one that was cut. */
static void name_row(struct join_row *r, const char *path, bool cut)
{
	if (!path || !*path || (r->path[0] && (cut || !r->path_cut)))
		return;
	strncpy(r->path, path, sizeof(r->path) - 1);
	r->path_cut = cut || strlen(path) >= sizeof(r->path);
}

static bool is_maximum(uint32_t c)
{
	return c == SG_C_SYNC_MAX_NS || c == SG_C_CALL_MAX_NS || c == SG_C_WRITE_MAX_NS;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static void add_counters(uint64_t to[SG_C_MAX], const struct sg_session_file *f)
{
	uint32_t c;

	for (c = 0; c < SG_C_MAX; c++)
		to[c] = is_maximum(c) ? greater(to[c], LOAD(f->counter[c]))
				      : sum(to[c], LOAD(f->counter[c]));
}

static uint64_t age(uint64_t now_ns, uint64_t since_ns)
{
	return since_ns && since_ns < now_ns ? now_ns - since_ns : 0;
}

/* --- sessions --- */

static void poison_from_slot(struct join_row *r, const struct sg_session_file *f, uint32_t pid)
{
	uint32_t error = LOAD(f->poison_errno);

	if (!error || (r->poison_errno && r->poison_wall_ns >= LOAD(f->poison_wall_ns)))
		return;
	r->poison_errno = error;
	r->poison_wall_ns = LOAD(f->poison_wall_ns);
	r->poison_pid = pid;
	r->poison_op = SG_OP_FSYNC;
}

static void add_slot(struct join_row *r, const struct sg_session_file *f, bool ended)
{
	bool live = LOAD(f->state) == SG_SLOT_LIVE && !ended;

	name_row(r, f->path, LOAD(f->flags) & SG_F_PATH_CUT);
	r->flags |= LOAD(f->flags);
	r->directory |= !!(LOAD(f->flags) & SG_F_DIR);
	/* What is in force now is what a live process has; among the dead the last one tells. */
	if (live || !r->open) {
		r->mode = LOAD(f->mode);
		r->wanted = greater(r->wanted, LOAD(f->wanted));
		r->has_mode = true;
	}
	r->open |= live;
	if (LOAD(f->verdict) != SG_VERDICT_UNKNOWN && LOAD(f->verdict) < SG_VERDICT_MAX)
		r->verdict = LOAD(f->verdict);
	r->stall_ns = greater(r->stall_ns, LOAD(f->stall_ns));
	sg_hist_merge(r->write_hist, (const uint64_t *)f->write_hist);
	sg_hist_merge(r->sync_hist, (const uint64_t *)f->sync_hist);
	sg_hist_merge(r->call_hist, (const uint64_t *)f->call_hist);
}

static void add_flight(struct join *j, const struct join_flight *f)
{
	struct join_flight *more;

	if (j->n_flights == j->room_flights) {
		j->room_flights = j->room_flights ? 2 * j->room_flights : 16;
		more = reallocarray(j->flights, j->room_flights, sizeof(*more));
		if (!more) {
			j->room_flights = j->n_flights;
			j->out_of_memory = true;
			return;
		}
		j->flights = more;
	}
	j->flights[j->n_flights++] = *f;
}

static void add_op(struct join *j, const struct sg_session *mem, const struct sg_session_op *op)
{
	uint64_t start = atomic_load_explicit(&op->start_ns, memory_order_acquire);
	struct join_flight f = { .pid = mem->pid,
				 .tid = LOAD(op->tid),
				 .op = LOAD(op->kind),
				 .bytes = LOAD(op->bytes),
				 .broker = mem->role == SG_ROLE_BROKER };
	struct sg_session_file *slot;
	struct join_row *r;

	if (start == 0 || start > j->now_ns) /* a claim is far in the future */
		return;
	slot = malloc(sizeof(*slot));
	if (!slot || sg_session_read_file(mem, LOAD(op->file), slot))
		goto out;
	/* Ended between the two looks: then the slot that we read may be another's. */
	if (atomic_load_explicit(&op->start_ns, memory_order_acquire) != start)
		goto out;
	f.age_ns = j->now_ns - start;
	f.stall_ns = LOAD(slot->stall_ns);
	strcpy(f.path, slot->path);
	add_flight(j, &f);
	r = find(j, &slot->id);
	if (r && f.age_ns > r->in_flight_ns) {
		r->in_flight_ns = f.age_ns;
		r->in_flight_op = f.op;
		r->in_flight_pid = f.pid;
	}
out:
	free(slot);
}

static void add_session_ops(struct join *j, const struct sg_session *mem)
{
	unsigned int i;

	for (i = 0; i < SG_OPS; i++)
		add_op(j, mem, &mem->ops[i]);
}

void join_add_session(struct join *j, const struct sg_session *mem, bool ended)
{
	struct sg_session_file *f = malloc(sizeof(*f));
	struct join_row *r;
	uint32_t i;

	if (!f) {
		j->out_of_memory = true;
		return;
	}
	if (!j->guarded_since_ns || mem->started_ns < j->guarded_since_ns)
		j->guarded_since_ns = mem->started_ns;
	for (i = 0; i < SG_FILES; i++) {
		if (sg_session_read_file(mem, i, f))
			continue;
		r = row_of(j, &f->id, JOIN_SHIM);
		if (!r)
			break;
		r->sessions++;
		add_slot(r, f, ended);
		add_counters(r->shim, f);
		poison_from_slot(r, f, mem->pid);
	}
	if (!ended)
		add_session_ops(j, mem);
	free(f);
}

/* --- the broker --- */

static void add_ledger(struct join *j, const struct sg_ledger *l)
{
	uint32_t state = atomic_load_explicit(&l->state, memory_order_acquire);
	char path[SG_PATH_BYTES];
	struct sg_at_risk risk;
	struct join_row *r;

	if (state != SG_SLOT_LIVE && state != SG_SLOT_CLOSED)
		return;
	r = row_of(j, &l->id, JOIN_BROKER);
	if (!r)
		return;
	memcpy(path, l->path, sizeof(path));
	path[sizeof(path) - 1] = 0;
	name_row(r, path, LOAD(l->flags) & SG_F_PATH_CUT);
	r->flags |= LOAD(l->flags);
	r->mode = LOAD(l->mode);
	r->has_mode = r->has_ledger = r->has_at_risk = true;
	sg_ledger_at_risk(l, &risk);
	r->at_risk_records += risk.records;
	r->at_risk_bytes += risk.bytes;
	r->at_risk_age_ns = greater(r->at_risk_age_ns, age(j->now_ns, risk.oldest_ns));
	r->max_records = l->max_records;
	r->max_bytes = l->max_bytes;
	r->max_delay_ns = l->max_delay_ns;
	r->peak_records = greater(r->peak_records, LOAD(l->peak_records));
	r->peak_bytes = greater(r->peak_bytes, LOAD(l->peak_bytes));
	r->peak_age_ns = greater(r->peak_age_ns, LOAD(l->peak_age_ns));
	r->lost_records += LOAD(l->lost_records);
	r->lost_bytes += LOAD(l->lost_bytes);
	if (LOAD(l->poison_at)) {
		r->poison_errno = LOAD(l->poison_errno);
		r->poison_wall_ns = LOAD(l->poison_wall_ns);
		r->poison_pid = LOAD(l->poison_pid);
		r->poison_op = LOAD(l->poison_op);
	}
}

static void add_broker_slots(struct join *j, const struct sg_session *mem)
{
	struct sg_session_file *f = malloc(sizeof(*f));
	struct join_row *r;
	uint32_t i;

	if (!f) {
		j->out_of_memory = true;
		return;
	}
	for (i = 0; i < SG_FILES; i++) {
		if (sg_session_read_file(mem, i, f))
			continue;
		r = row_of(j, &f->id, JOIN_BROKER);
		if (!r)
			continue;
		name_row(r, f->path, LOAD(f->flags) & SG_F_PATH_CUT);
		add_counters(r->broker, f);
		sg_hist_merge(r->sync_hist, (const uint64_t *)f->sync_hist);
		r->stall_ns = greater(r->stall_ns, LOAD(f->stall_ns));
		poison_from_slot(r, f, mem->pid);
	}
	free(f);
	add_session_ops(j, mem);
}

void join_add_broker(struct join *j, const struct sg_session *mem,
		     const struct sg_registry *registry)
{
	unsigned int i;

	for (i = 0; registry && i < SG_FILES; i++)
		add_ledger(j, &registry->ledgers[i]);
	if (mem)
		add_broker_slots(j, mem);
}

void join_add_ledgers_of(struct join *j, const struct sg_session *mem,
			 const struct sg_registry *registry)
{
	j->closed = true;
	join_add_broker(j, mem, registry);
	j->closed = false;
}

/* --- the kernel --- */

static void add_kernel_file(struct join *j, const struct kernel_file *k)
{
	struct sg_file_id id = { .dev = k->dev, .ino = k->ino, .gen = k->gen };
	struct join_row *r = k->other ? add_row(j, &id) : row_of(j, &id, JOIN_KERNEL);
	uint64_t oldest = greater(k->oldest_write_ns, k->oldest_sync_ns);

	if (!r)
		return;
	r->seen |= JOIN_KERNEL;
	r->other |= k->other;
	r->kernel = k;
	r->directory |= k->directory;
	name_row(r, k->path, !k->path_whole);
	/* A write through mmap or io_uring passes the shim, so that its ledger cannot know either. */
	r->at_risk_unknown |= k->at_risk_unknown;
	if (!r->has_ledger) {
		r->has_at_risk = true;
		r->at_risk_bytes = k->at_risk_bytes;
	}
	if (oldest > r->in_flight_ns && !r->in_flight_pid) {
		r->in_flight_ns = oldest;
		r->in_flight_op = UINT32_MAX;
		r->in_flight_pid = k->pid;
	}
}

void join_add_kernel(struct join *j, const struct kernel_view *v)
{
	unsigned int i;

	j->kernel = v;
	for (i = 0; v && i < v->n_files; i++)
		add_kernel_file(j, &v->files[i]);
}

/* --- all together --- */

static bool in_trouble(const struct join_row *r)
{
	return r->poison_errno || (r->stall_ns && r->in_flight_ns > r->stall_ns);
}

static int worst_first(const void *pa, const void *pb)
{
	const struct join_row *a = pa, *b = pb;
	uint64_t na = join_kernel_syncs(a) + a->shim[SG_C_CALLS],
		 nb = join_kernel_syncs(b) + b->shim[SG_C_CALLS];

	if (a->other != b->other)
		return a->other - b->other;
	if (in_trouble(a) != in_trouble(b))
		return in_trouble(b) - in_trouble(a);
	if (na != nb)
		return na < nb ? 1 : -1;
	if (join_appends(a) != join_appends(b))
		return join_appends(a) < join_appends(b) ? 1 : -1;
	return strcmp(a->path, b->path);
}

static void finish_row(const struct join *j, struct join_row *r)
{
	uint64_t issued = sum(r->shim[SG_C_ISSUED], r->broker[SG_C_ISSUED]);
	uint64_t seen = r->kernel ? r->kernel->syncs : 0;

	/* What the shim did before the observer began is missing from the kernel's count. */
	r->unseen_known = j->kernel && !r->other &&
			  (!(r->seen & (JOIN_SHIM | JOIN_BROKER)) || !j->guarded_since_ns ||
			   j->kernel->started_ns <= j->guarded_since_ns);
	r->unseen = (int64_t)(seen - issued);
	if (r->wanted < r->mode)
		r->wanted = r->mode;
}

int join_finish(struct join *j)
{
	unsigned int i;

	for (i = 0; i < j->n; i++)
		finish_row(j, &j->rows[i]);
	if (j->n)
		qsort(j->rows, j->n, sizeof(*j->rows), worst_first);
	return j->out_of_memory ? -ENOMEM : 0;
}

/* --- what a table asks --- */

uint64_t join_appends(const struct join_row *r)
{
	return r->shim[SG_C_APPENDS] || !r->kernel ? r->shim[SG_C_APPENDS]
						   : r->kernel->op[KERNEL_WRITE].count;
}

uint64_t join_append_bytes(const struct join_row *r)
{
	return r->shim[SG_C_APPENDS] || !r->kernel ? r->shim[SG_C_APPEND_BYTES]
						   : r->kernel->op[KERNEL_WRITE].bytes;
}

uint64_t join_kernel_syncs(const struct join_row *r)
{
	return r->kernel ? r->kernel->syncs : sum(r->shim[SG_C_ISSUED], r->broker[SG_C_ISSUED]);
}

/* Ours where we made the syncs, else what the kernel saw of the others. */
const uint64_t *join_sync_hist(const struct join_row *r, uint64_t *max_ns)
{
	*max_ns = greater(r->shim[SG_C_SYNC_MAX_NS], r->broker[SG_C_SYNC_MAX_NS]);
	if (!r->kernel || sg_hist_total(r->sync_hist))
		return r->sync_hist;
	*max_ns = r->kernel->sync->max_ns;
	return r->kernel->sync->hist;
}

const uint64_t *join_write_hist(const struct join_row *r, uint64_t *max_ns)
{
	*max_ns = r->shim[SG_C_WRITE_MAX_NS];
	if (r->seen & JOIN_SHIM && sg_hist_total(r->write_hist))
		return r->write_hist;
	if (!r->kernel)
		return r->write_hist;
	*max_ns = r->kernel->op[KERNEL_WRITE].max_ns;
	return r->kernel->op[KERNEL_WRITE].hist;
}

uint64_t join_errors(const struct join_row *r)
{
	uint64_t own = r->shim[SG_C_APPEND_ERRORS] + r->shim[SG_C_SYNC_ERRORS] +
		       r->broker[SG_C_SYNC_ERRORS];
	uint64_t seen = 0;
	int op;

	for (op = 0; r->kernel && op < KERNEL_OPS; op++)
		seen += r->kernel->op[op].errors;
	return greater(own, seen);
}

uint64_t join_stalls(const struct join_row *r)
{
	return sum(r->shim[SG_C_STALLS], r->broker[SG_C_STALLS]);
}

const char *join_why(const struct join_row *r, char *buf, size_t size)
{
	static const struct {
		uint32_t flag;
		const char *why;
	} reasons[] = {
		{ SG_F_NO_BROKER, "no broker" },
		{ SG_F_NOT_APPEND, "not append-only" },
		{ SG_F_UNTRACKED, "appended to behind the shim" },
		{ SG_F_NOT_BUILT, "asks for what this build cannot do" },
		{ SG_F_GROUP_OFF, "grouping does not pay" },
	};
	struct sg_text t;
	unsigned int i;

	sg_text_init(&t, buf, size);
	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (!(r->flags & reasons[i].flag))
			continue;
		sg_text_str(&t, t.len ? ", " : "");
		sg_text_str(&t, reasons[i].why);
	}
	return buf;
}
