/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/elide.h"

/* linux/magic.h, spelt out since musl has no such header of its own */
#define EXT4_MAGIC  0xef53u
#define XFS_MAGIC   0x58465342u
#define BTRFS_MAGIC 0x9123683eu

bool sg_elide_fs_ok(uint64_t f_type)
{
	return f_type == EXT4_MAGIC || f_type == XFS_MAGIC || f_type == BTRFS_MAGIC;
}

static bool whole_seconds(const struct sg_elide_stat *st)
{
	return st->ctime_ns % 1000000000 == 0 && st->mtime_ns % 1000000000 == 0;
}

/* Would a change made from now on surely get another ctime than this stat shows? */
static bool settled(const struct sg_elide_stat *st, int64_t now_coarse_ns, uint64_t granularity_ns)
{
	uint64_t least = granularity_ns;
	int64_t age;

	if (least < SG_ELIDE_GRANULARITY_MIN_NS)
		least = SG_ELIDE_GRANULARITY_MIN_NS;
	if (whole_seconds(st) && least < SG_ELIDE_WHOLE_SECONDS_NS)
		least = SG_ELIDE_WHOLE_SECONDS_NS;
	if (__builtin_sub_overflow(now_coarse_ns, st->ctime_ns, &age))
		return false;
	return age > 0 && (uint64_t)age > least;
}

int sg_elide_begin(struct sg_elide_proof *proof, uint64_t f_type,
		   const struct sg_elide_stat *before, int64_t now_coarse_ns,
		   uint64_t granularity_ns, uint64_t clock_epoch, int64_t offset_ns)
{
	sg_elide_forget(proof);
	if (!S_ISDIR(before->mode))
		return -ENOTDIR;
	if (!sg_elide_fs_ok(f_type))
		return -ENOTSUP;
	if (!settled(before, now_coarse_ns, granularity_ns))
		return -EAGAIN;
	proof->before = *before;
	proof->clock_epoch = clock_epoch;
	proof->offset_ns = offset_ns;
	proof->state = SG_ELIDE_BEGUN;
	return 0;
}

void sg_elide_synced(struct sg_elide_proof *proof, bool ok)
{
	if (proof->state != SG_ELIDE_BEGUN)
		return;
	if (ok)
		proof->state = SG_ELIDE_PROVEN;
	else
		sg_elide_forget(proof);
}

void sg_elide_forget(struct sg_elide_proof *proof)
{
	proof->state = SG_ELIDE_NONE;
}

static bool same(const struct sg_elide_stat *a, const struct sg_elide_stat *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->gen == b->gen &&
	       a->ctime_ns == b->ctime_ns && a->mtime_ns == b->mtime_ns && a->size == b->size &&
	       a->nlink == b->nlink && a->mode == b->mode;
}

static bool clock_unset(const struct sg_elide_proof *proof, uint64_t clock_epoch, int64_t offset_ns)
{
	int64_t moved;

	if (clock_epoch != proof->clock_epoch ||
	    __builtin_sub_overflow(offset_ns, proof->offset_ns, &moved))
		return false;
	return moved >= -SG_ELIDE_OFFSET_JITTER_NS && moved <= SG_ELIDE_OFFSET_JITTER_NS;
}

bool sg_elide_redundant(const struct sg_elide_proof *proof, const struct sg_elide_stat *now,
			uint64_t clock_epoch, int64_t offset_ns)
{
	return proof->state == SG_ELIDE_PROVEN && same(&proof->before, now) &&
	       clock_unset(proof, clock_epoch, offset_ns);
}
