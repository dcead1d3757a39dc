/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Spools of other programs: which format a directory holds, and what verify, recover, scan and convert need of them.
 * One walk tells records and faults alike; everything else stands on it.
 *
 * Numbers: an audit spool has none, so its records count from 1 over all files, lost ones included. A
 * transaction of a commit log has its offset plus 1; a commit has the number of its first one.
 */
#ifndef SG_SPOOL_FOREIGN_H
#define SG_SPOOL_FOREIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "spoolguard/spool.h"

/*
 * Which format do the files of this directory have? Names say which files are looked at, their content
 * decides: a native header, the magic of a commit log, a record that its sidecar confirms. Where no file's
 * content speaks for a format, a name counts, so that a spool whose only file is damaged can still be
 * recovered.
 *
 * 0; -ENOENT: no file of any format, an empty directory too; -EBADMSG: files of several formats; or what open(2) and
 * read(2) return.
 */
int sg_format_detect(int dirfd, enum spool_format *format);

enum sg_foreign_kind {
	SG_FOREIGN_RECORD,     /* a record whose checksum is right: `record` */
	SG_FOREIGN_UNVERIFIED, /* audit: a whole record for which there is no checksum: `record` */
	SG_FOREIGN_FINDING,    /* a fault: `finding` */
	SG_FOREIGN_END,
};

struct sg_foreign_event {
	enum sg_foreign_kind kind;
	struct spool_record
		record; /* `lost` is what is missing since the record before; time_ns is 0 */
	uint64_t bytes; /* of the record, with what frames it in its file */
	uint64_t epoch; /* of the commit */
	uint32_t n;	/* its transactions; 1 in an audit spool */
	size_t file;	/* which of sg_foreign_files() */
	struct spool_finding finding;
};

struct sg_foreign; /* one open walk over a directory */

/* Begin at the file that may hold record `from`; 0: at the first. dirfd is borrowed. -ENOENT: no file of this format. */
int sg_foreign_open(struct sg_foreign **walk, int dirfd, enum spool_format format, uint64_t from);

/* The next event; what it points to is valid until the next call. 0 or -errno; after END again END. */
int sg_foreign_next(struct sg_foreign *walk, struct sg_foreign_event *event);

struct sg_foreign_files;
const struct sg_foreign_files *
sg_foreign_files(const struct sg_foreign *walk);	       /* foreign_files.h */
uint64_t sg_foreign_segments(const struct sg_foreign *walk);   /* files seen so far */
uint64_t sg_foreign_done_bytes(const struct sg_foreign *walk); /* of all files, walked so far */
uint64_t sg_foreign_total_bytes(const struct sg_foreign *walk);
void sg_foreign_close(struct sg_foreign *walk);

/* spool_verify() and spool_recover() of both foreign formats; `config` and `summary` are never NULL. */
int sg_foreign_verify(int dirfd, enum spool_format format, const struct spool_check_config *config,
		      struct spool_summary *summary);
int sg_foreign_recover(int dirfd, enum spool_format format, const struct spool_check_config *config,
		       struct spool_summary *summary);

#endif
