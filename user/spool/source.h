/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The segments of a directory as one stream of bytes, for a mirror and for `spool cat --raw`. Only what is durable
 * counts: beside a writer that is what its `durable` file says; where none lives the last segment is synced first.
 * Otherwise a mirror could keep a record that its source loses in a crash and numbers anew. One thread.
 */
#ifndef SG_SPOOL_SOURCE_H
#define SG_SPOOL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spool/dir.h"
#include "spoolguard/spool.h"

struct sg_source {
	int dirfd, fd;
	enum spool_format format; /* NATIVE or COMMITLOG */
	struct sg_numbers list;
	size_t at; /* of the list: the segment that is read */
	uint64_t offset;
	uint64_t last_bytes; /* of the last segment no more than these */
	uint64_t limit;	     /* last record to take */
	uint64_t done_bytes, total_bytes;
};

/*
 * format: NATIVE, COMMITLOG or DETECT. 0; -ENOENT: no such directory; -EBADMSG: no segment of such a format in it;
 * the error of a failed sync; what open(2) and read(2) return. Close it also after an error.
 */
int sg_source_open(struct sg_source *s, const char *dir, enum spool_format format);
void sg_source_close(struct sg_source *s);

/* Go on at `offset` of the list's at-th segment. */
void sg_source_seek(struct sg_source *s, size_t at, uint64_t offset);

/* The next bytes, never of two segments at once. *got 0: the end. A segment that is gone by now is passed over. */
int sg_source_read(struct sg_source *s, void *buf, size_t len, size_t *got);

/* What the last bytes came from. */
uint64_t sg_source_number(const struct sg_source *s);

#endif
