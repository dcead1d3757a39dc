/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Writing one file of another program's format: for conversion, and for recovery, which writes a file anew. */
#ifndef SG_SPOOL_FOREIGN_WRITE_H
#define SG_SPOOL_FOREIGN_WRITE_H

#include <stdint.h>

#include "spool/foreign.h"

struct sg_foreign_writer;

/*
 * Create (or make anew, a regular file) the file `name`; an audit file gets its sidecar beside it, a log its
 * header with the first commit. The commit log's version follows that of the first commit: 0 only if it has 18
 * bytes of frame. dirfd is borrowed. 0 or -errno.
 */
int sg_foreign_writer_open(struct sg_foreign_writer **writer, int dirfd, enum spool_format format,
			   const char *name, uint32_t mode);

/* Add e->record: number (log), data and length; of a log also epoch and n. Version and order are the caller's. */
int sg_foreign_writer_put(struct sg_foreign_writer *writer, const struct sg_foreign_event *e);

uint64_t sg_foreign_writer_bytes(const struct sg_foreign_writer *writer); /* written so far */

/* Write out, sync file and sidecar, not the directory. The writer is gone in any case. */
int sg_foreign_writer_close(struct sg_foreign_writer *writer);

/* Close without a promise. NULL is allowed. */
void sg_foreign_writer_abandon(struct sg_foreign_writer *writer);

#endif
