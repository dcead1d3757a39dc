// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * A record is a length and a payload; the only thing that tells a record from other bytes is that its
 * payload's checksum stands in the sidecar, at its number. So the walk holds two positions, in the file and
 * in the sidecar, and a fault is what makes them disagree. In the order in which they are tried:
 *
 *   the record behind, by the length, has the next checksum: this payload (or this checksum) is damaged;
 *   this record has a later checksum: records are missing, without a trace in the file;
 *   the record behind has this checksum: there is none for this record;
 *   some offset further on has a record with one of the next checksums: the length was damaged.
 *
 * A payload below four bytes is weak evidence behind a fault, and an empty one (checksum 0) none: it counts
 * only if the records behind it agree as well, up to one that is not weak or to the exact end of both files. Where the
 * two positions agree an empty record is one if a good record with a payload follows; the others are zero
 * bytes at an end, as a crash leaves them, which nothing tells from them.
 *
 * Checksums are taken to stand at multiples of four: a write of the sidecar that failed for want of space
 * ends at a block's border, and what a crash tears is the end.
 *
 * What cannot be recovered: records for which there is no checksum (they are unverified, not lost, and
 * recovery keeps them); those behind damage that swallowed more than WINDOW records; which of several equal
 * payloads was lost; a weak record between two damages. A payload that holds another record's length and
 * payload can be taken for it when the record around it is damaged. Trailing zeros are never records.
 *
 * Work: each byte of a search is read once for all candidates (ranges.h); what is spent on looks beside is bounded as
 * in commitlog_walk.c.
 */
#include "spool/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/bytes.h"
#include "spool/crc32c.h"
#include "spool/ranges.h"
#include "spool/view.h"
#include "spoolguard/spool.h"

#define NEAR	      64u	   /* checksums looked through behind damage at first, … */
#define NEAR_BYTES    65536u	   /* … this far; then … */
#define WINDOW	      65536u	   /* … so many, where two records must agree */
#define WINDOW_COST   (64u << 20)  /* what it takes to sort them, in bytes of checksums */
#define CHAIN	      64u	   /* weak records in a row that are enough */
#define STRONG_BYTES  4u	   /* a payload from here on is evidence */
#define LOOK_COST     64u	   /* what any look costs beside */
#define SMALL_BYTES   8192u	   /* a candidate's checksum up to here is taken at once */
#define RANGE_COST    1024u	   /* of a larger one, through sg_ranges */
#define BUDGET_BYTES  (4ull << 30) /* of checksums over candidates, … */
#define BUDGET_FACTOR 64	   /* … and that many for each byte that was walked */

struct wanted {
	uint32_t crc, ahead; /* how many checksums behind the current one it stands */
};

struct sg_audit {
	struct sg_pane data, side;
	bool sidecar, told_start;
	bool told_long;
	uint64_t pos, entry, entries; /* in the sidecar, whole ones */
	uint64_t number, spent;
	uint64_t confirmed;	  /* empty records before it are followed by one that is not */
	struct sg_ranges *ranges; /* of the search under way */
	struct wanted wanted[WINDOW];
	size_t n_wanted;
};

/* One look at an offset. */
struct look {
	bool whole; /* length and payload lie in the file */
	uint32_t len, crc;
	uint64_t end; /* behind the payload */
	const char *why;
};

bool sg_audit_name(const char *name, uint64_t *nanos, uint32_t *pid)
{
	const char *digits = "0123456789", *p = name + 21;
	unsigned long long n;
	size_t width;

	if (strspn(name, digits) != 20 || name[20] != '-')
		return false;
	width = strspn(p, digits);
	if (width == 0 || width > 10 || (width > 1 && *p == '0') ||
	    strcmp(p + width, SG_AUDIT_SUFFIX) != 0)
		return false;
	n = strtoull(p, NULL, 10);
	errno = 0;
	*nanos = strtoull(name, NULL, 10);
	*pid = (uint32_t)n;
	return errno == 0 && n <= UINT32_MAX;
}

void sg_audit_name_write(char out[SG_AUDIT_NAME_BYTES], uint64_t nanos, uint32_t pid)
{
	snprintf(out, SG_AUDIT_NAME_BYTES, "%020" PRIu64 "-%" PRIu32 SG_AUDIT_SUFFIX, nanos, pid);
}

int sg_audit_open(struct sg_audit **out, int dirfd, const char *name)
{
	char side[SG_AUDIT_NAME_BYTES + sizeof(SG_AUDIT_SIDECAR)];
	struct sg_audit *a;
	int err;

	if (strlen(name) >= SG_AUDIT_NAME_BYTES)
		return -ENAMETOOLONG;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->side.fd = -1;
	err = sg_pane_open(&a->data, dirfd, name);
	if (!err) {
		strcpy(side, name);
		strcat(side, SG_AUDIT_SIDECAR);
		err = sg_pane_open(&a->side, dirfd, side);
		a->sidecar = !err;
		err = err == -ENOENT ? 0 : err;
	}
	if (err) {
		sg_audit_close(a);
		return err;
	}
	a->entries = a->side.size / SG_AUDIT_CRC_BYTES;
	*out = a;
	return 0;
}

void sg_audit_close(struct sg_audit *a)
{
	if (!a)
		return;
	sg_pane_close(&a->data);
	sg_pane_close(&a->side);
	sg_ranges_free(a->ranges);
	free(a);
}

/* ---- looking ---- */

static int read_entry(struct sg_audit *a, uint64_t entry, uint32_t *crc)
{
	const uint8_t *p;
	int err = sg_pane_get(&a->side, entry * SG_AUDIT_CRC_BYTES, SG_AUDIT_CRC_BYTES, &p);

	if (!err)
		*crc = sg_get32(p);
	return err;
}

/* Length and end of what would be a record at `at`; no checksum yet. */
static int look(struct sg_audit *a, uint64_t at, struct look *l)
{
	uint64_t rest = a->data.size - at;
	const uint8_t *p;
	int err;

	*l = (struct look){ .why = "shorter than the length of a record" };
	if (rest < SG_AUDIT_LEN_BYTES)
		return 0;
	err = sg_pane_get(&a->data, at, SG_AUDIT_LEN_BYTES, &p);
	if (err)
		return err;
	l->len = sg_get32(p);
	l->end = at + SG_AUDIT_LEN_BYTES + l->len;
	l->why = "the file ends inside the record";
	if (l->len > SPOOL_RECORD_MAX)
		l->why = "length above 67108864";
	else
		l->whole = rest - SG_AUDIT_LEN_BYTES >= l->len;
	return 0;
}

static int add_crc(struct sg_audit *a, uint64_t at, struct look *l)
{
	l->crc = 0;
	a->spent += l->len + LOOK_COST;
	return sg_pane_crc(&a->data, at + SG_AUDIT_LEN_BYTES, l->len, &l->crc);
}

/* The same of one of many candidates, offset after offset, whose payloads overlap: each byte is read once. */
static int add_crc_of_many(struct sg_audit *a, uint64_t at, struct look *l)
{
	bool whole;
	int err;

	if (l->len <= SMALL_BYTES)
		return add_crc(a, at, l);
	a->spent += RANGE_COST;
	err = sg_ranges_crc(a->ranges, a->data.fd, 0, at + SG_AUDIT_LEN_BYTES, l->end, &l->crc,
			    &whole);
	return err ? err : whole ? 0 : -ESTALE;
}

/* Is the record at `at` the one of this entry, by its checksum alone? */
static int matches(struct sg_audit *a, uint64_t at, uint64_t entry, struct look *l, bool *yes)
{
	uint32_t crc;
	int err;

	*yes = false;
	if (entry >= a->entries || at >= a->data.size)
		return 0;
	err = look(a, at, l);
	if (err || !l->whole)
		return err;
	err = add_crc(a, at, l);
	if (!err)
		err = read_entry(a, entry, &crc);
	*yes = !err && l->crc == crc;
	return err;
}

/* The same with the evidence that a place in doubt needs: so many records that are not weak, or the exact end. */
static int convinces(struct sg_audit *a, uint64_t at, uint64_t entry, unsigned int strong,
		     bool *yes)
{
	unsigned int step;
	struct look l;
	uint64_t zeros;
	int err = sg_pane_zero_from(&a->data, &zeros);

	*yes = false;
	if (err || at >= zeros)
		return err;
	for (step = 0; step < CHAIN; step++, entry++, at = l.end) {
		if (step && entry == a->entries && at == a->data.size)
			return 0;
		err = matches(a, at, entry, &l, yes);
		if (err || !*yes)
			return err;
		if (l.len >= STRONG_BYTES && --strong == 0)
			return 0;
	}
	return 0;
}

/* ---- finding the way again ---- */

static int by_crc(const void *x, const void *y)
{
	const struct wanted *a = x, *b = y;

	if (a->crc != b->crc)
		return a->crc < b->crc ? -1 : 1;
	/* Of equal ones the current checksum comes last: one record at least is lost here. */
	return a->ahead - 1 < b->ahead - 1 ? -1 : a->ahead != b->ahead;
}

/* Begin to look for the next checksums. */
static int fill_wanted(struct sg_audit *a, size_t most)
{
	size_t n;
	int err = 0;

	if (!a->ranges)
		a->ranges = sg_ranges_new();
	if (!a->ranges)
		return -ENOMEM;
	sg_ranges_reset(a->ranges);
	for (n = 0; !err && n < most && a->entry + n < a->entries; n++) {
		a->wanted[n].ahead = (uint32_t)n;
		err = read_entry(a, a->entry + n, &a->wanted[n].crc);
	}
	a->n_wanted = n;
	qsort(a->wanted, n, sizeof(*a->wanted), by_crc);
	return err;
}

/* The first of the wanted ones with this checksum, or where it would stand. */
static size_t first_wanted(const struct sg_audit *a, uint32_t crc)
{
	size_t low = 0, high = a->n_wanted, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (a->wanted[middle].crc < crc)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Does a record with a wanted checksum begin at `at`? *ahead: which. Records that lie between took four bytes each, if
 * there are bytes between at all.
 */
static int is_wanted(struct sg_audit *a, uint64_t at, unsigned int strong, uint64_t *ahead,
		     bool *yes)
{
	uint64_t room = (at - a->pos) / SG_AUDIT_LEN_BYTES;
	struct look l;
	size_t i;
	int err;

	*yes = false;
	err = look(a, at, &l);
	if (err || !l.whole)
		return err;
	err = add_crc_of_many(a, at, &l);
	if (err)
		return err;
	for (i = first_wanted(a, l.crc); i < a->n_wanted && a->wanted[i].crc == l.crc; i++) {
		*ahead = a->wanted[i].ahead;
		if (at == a->pos ? *ahead == 0 : *ahead > room + 1)
			continue;
		err = convinces(a, at, a->entry + *ahead, strong, yes);
		if (err || *yes)
			return err;
	}
	return 0;
}

static bool affordable(const struct sg_audit *a, uint64_t at)
{
	return a->spent < BUDGET_BYTES || (a->spent - BUDGET_BYTES) / BUDGET_FACTOR <= at;
}

/* From *at on. */
static int search(struct sg_audit *a, uint64_t distance, unsigned int strong, uint64_t *at,
		  uint64_t *ahead, bool *found)
{
	uint64_t end;
	int err = sg_pane_zero_from(&a->data, &end);

	if (end - a->pos > distance)
		end = a->pos + distance;
	while (!err && !*found && *at < end && affordable(a, *at)) {
		err = is_wanted(a, *at, strong, ahead, found);
		*at += !*found;
	}
	return err;
}

/*
 * Near by, one record among few checksums is enough; further on, where chance would find one among many, it takes two
 * that follow each other.
 */
static int search_all(struct sg_audit *a, uint64_t *at, uint64_t *ahead, bool *found)
{
	int err;

	*at = a->pos + 1;
	err = search(a, NEAR_BYTES, 1, at, ahead, found);
	if (err || *found || !affordable(a, a->pos))
		return err;
	a->spent += WINDOW_COST;
	err = fill_wanted(a, WINDOW);
	*at = a->pos; /* many may be missing right here */
	return err ? err : search(a, UINT64_MAX, 2, at, ahead, found);
}

/*
 * The record at the position does not have the current checksum. Where does the next good one lie, and how
 * many checksums ahead?
 */
static int resynchronise(struct sg_audit *a, const struct look *here, uint64_t *at, uint64_t *ahead,
			 bool *found)
{
	int err = 0;

	*found = false;
	*at = here->end;
	*ahead = 1;
	if (here->whole)
		err = convinces(a, *at, a->entry + 1, 1, found);
	if (err || *found)
		return err;
	err = fill_wanted(a, NEAR);
	if (err)
		return err;
	*at = a->pos;
	err = is_wanted(a, *at, 1, ahead, found);
	if (err || *found || !here->whole)
		return err || *found ? err : search_all(a, at, ahead, found);
	*at = here->end;
	*ahead = 0;
	err = convinces(a, *at, a->entry, 1, found);
	return err || *found ? err : search_all(a, at, ahead, found);
}

/* ---- events ---- */

static void set_event(const struct sg_audit *a, struct sg_audit_event *e, enum sg_audit_kind kind,
		      uint64_t offset, uint64_t bytes, const char *why)
{
	*e = (struct sg_audit_event){
		.kind = kind, .offset = offset, .bytes = bytes, .why = why, .number = a->number
	};
}

static int give(struct sg_audit *a, struct sg_audit_event *e, enum sg_audit_kind kind,
		const struct look *l)
{
	const uint8_t *p;
	int err = sg_pane_get(&a->data, a->pos, (size_t)(l->end - a->pos), &p);

	if (err)
		return err;
	set_event(a, e, kind, a->pos, l->end - a->pos, NULL);
	e->data = p + SG_AUDIT_LEN_BYTES;
	e->len = l->len;
	a->pos = l->end;
	a->number++;
	a->entry += kind == SG_AUDIT_RECORD;
	return 0;
}

/* How many records the rest of the sidecar stands for: none, if it is nothing but zeros. */
static int left_in_sidecar(struct sg_audit *a, uint64_t *left)
{
	uint64_t zeros = 0;
	int err = a->sidecar ? sg_pane_zero_from(&a->side, &zeros) : 0;

	*left = zeros > a->entry * SG_AUDIT_CRC_BYTES ? a->entries - a->entry : 0;
	return err;
}

static int tail(struct sg_audit *a, struct sg_audit_event *e, const char *why)
{
	int err;

	if (!affordable(a, a->pos))
		why = "too many false beginnings of records to look through";
	set_event(a, e, SG_AUDIT_TAIL, a->pos, a->data.size - a->pos, why);
	err = left_in_sidecar(a, &e->lost);
	a->number += e->lost;
	a->pos = a->data.size;
	a->told_long = true; /* with these records */
	return err;
}

static int at_end(struct sg_audit *a, struct sg_audit_event *e)
{
	uint64_t at = a->entry * SG_AUDIT_CRC_BYTES;
	int err;

	set_event(a, e, SG_AUDIT_END, a->pos, 0, NULL);
	if (a->told_long || a->entry == a->entries)
		return 0;
	a->told_long = true;
	set_event(a, e, SG_AUDIT_SIDE, at, a->entries * SG_AUDIT_CRC_BYTES - at,
		  "checksums of records that the file does not have");
	err = left_in_sidecar(a, &e->lost);
	a->number += e->lost;
	return err;
}

/* What is wrong with the sidecar as a file. Returns whether there is something to tell. */
static bool at_start(struct sg_audit *a, struct sg_audit_event *e)
{
	uint64_t torn = a->side.size % SG_AUDIT_CRC_BYTES;

	a->told_start = true;
	if (a->sidecar && !torn)
		return false;
	set_event(a, e, SG_AUDIT_SIDE, a->side.size - torn, torn,
		  a->sidecar ? "ends inside a checksum" : "missing");
	return true;
}

static int at_fault(struct sg_audit *a, const struct look *here, struct sg_audit_event *e)
{
	const char *why = here->whole ? "checksum" : here->why;
	uint64_t at, ahead;
	bool found;
	int err = resynchronise(a, here, &at, &ahead, &found);

	if (err)
		return err;
	if (!found)
		return tail(a, e, why);
	if (ahead == 0)
		why = "no checksum for it in the sidecar";
	if (at == a->pos)
		why = "the sidecar has checksums of records that are missing";
	set_event(a, e, at > a->pos ? SG_AUDIT_DAMAGE : SG_AUDIT_GAP, a->pos, at - a->pos, why);
	e->lost = ahead ? ahead : 1;
	a->number += e->lost;
	a->entry += ahead;
	a->pos = at;
	return 0;
}

/* What the position has, whatever lies behind it. */
static int next_here(struct sg_audit *a, struct sg_audit_event *e)
{
	uint64_t zeros;
	struct look l;
	bool yes;
	int err;

	if (a->pos == a->data.size)
		return at_end(a, e);
	err = sg_pane_zero_from(&a->data, &zeros);
	if (err)
		return err;
	if (zeros <= a->pos)
		return tail(a, e, "zero bytes up to the end");
	err = look(a, a->pos, &l);
	if (err)
		return err;
	if (a->entry == a->entries) /* no checksum is left */
		return l.whole ? give(a, e, SG_AUDIT_UNVERIFIED, &l) : tail(a, e, l.why);
	err = matches(a, a->pos, a->entry, &l, &yes);
	if (err)
		return err;
	return yes ? give(a, e, SG_AUDIT_RECORD, &l) : at_fault(a, &l, e);
}

/*
 * An empty record was found, *e. It is one only if a good record with a payload follows, else it would be a zero
 * tail as soon as what is behind it was cut away.
 */
static int confirm_empty(struct sg_audit *a, struct sg_audit_event *e)
{
	uint64_t pos = a->pos, entry = a->entry, number = a->number;
	struct sg_audit_event later;
	int err = 0;

	do
		err = next_here(a, &later);
	while (!err && later.kind == SG_AUDIT_RECORD && later.len == 0);
	if (err)
		return err;
	a->told_long = false;
	a->confirmed = a->pos;
	a->pos = pos;
	a->entry = entry;
	a->number = number;
	if (later.kind == SG_AUDIT_RECORD || later.kind == SG_AUDIT_DAMAGE ||
	    later.kind == SG_AUDIT_GAP)
		return 0;
	a->confirmed = 0;
	a->pos = e->offset;
	a->entry--;
	a->number--;
	if (later.kind != SG_AUDIT_UNVERIFIED)
		return tail(a, e, later.why ? later.why : "zero bytes up to the end");
	a->entries = a->entry;
	return next_here(a, e);
}

int sg_audit_next(struct sg_audit *a, struct sg_audit_event *e)
{
	int err;

	if (!a->told_start && at_start(a, e))
		return 0;
	err = next_here(a, e);
	if (err || e->kind != SG_AUDIT_RECORD || e->len || e->offset < a->confirmed)
		return err;
	return confirm_empty(a, e);
}

uint64_t sg_audit_position(const struct sg_audit *a)
{
	return a->pos;
}

uint64_t sg_audit_size(const struct sg_audit *a)
{
	return a->data.size;
}

uint64_t sg_audit_number(const struct sg_audit *a)
{
	return a->number;
}

bool sg_audit_has_sidecar(const struct sg_audit *a)
{
	return a->sidecar;
}
