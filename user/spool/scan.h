/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* What conversion needs of a scan beyond the public calls. */
#ifndef SG_SPOOL_SCAN_H
#define SG_SPOOL_SCAN_H

#include "spool/foreign.h"

/* As spool_scan_open(). unverified: give also records of an audit spool for which there is no checksum. */
int sg_scan_open(struct spool_scan **scan, const char *dir, enum spool_format format, uint64_t from,
		 bool unverified);

/* As spool_scan_next(), with all that is known of the record: kind RECORD or UNVERIFIED. -ENODATA: the end. */
int sg_scan_next(struct spool_scan *scan, struct sg_foreign_event *event);

/* Records that are missing behind the last one that sg_scan_next() gave; right only at the end. */
uint64_t sg_scan_lost_at_end(const struct spool_scan *scan);

void sg_scan_progress(const struct spool_scan *scan, uint64_t *done_bytes, uint64_t *total_bytes);

#endif
