/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What checking and recovering a native spool share. spool_verify() and spool_recover() open the directory and find
 * the format; those of other programs go to sg_foreign_verify() and sg_foreign_recover() (foreign.h).
 */
#ifndef SG_SPOOL_CHECK_H
#define SG_SPOOL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "spoolguard/spool.h"

struct sg_check {
	int dirfd;
	bool recover; /* mend it; else, and with config.dry_run, touch nothing */
	struct spool_check_config config;
	struct spool_summary
		summary; /* the format's functions fill all but findings, *_bytes of findings and
					 missing_records, which sg_check_found() counts */
	bool found;	 /* anything but INDEX */
	uint64_t done_bytes, total_bytes, told_bytes;
};

/* Tell a finding, and count it in the summary. */
void sg_check_found(struct sg_check *c, const struct spool_finding *finding);

/* So many more bytes of the total were read. The callback is called every MiB or so. */
void sg_check_progress(struct sg_check *c, uint64_t bytes);

/* May it write? */
static inline bool sg_check_mends(const struct sg_check *c)
{
	return c->recover && !c->config.dry_run;
}

/* Summary and findings into *c: 0 (also with findings) or -errno. Recovery takes the lock (-EBUSY). */
int sg_native_verify(struct sg_check *c);
int sg_native_recover(struct sg_check *c);

#endif
