/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Which files of a directory belong to a spool of another program, in order, and whether somebody writes them. */
#ifndef SG_SPOOL_FOREIGN_FILES_H
#define SG_SPOOL_FOREIGN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spoolguard/spool.h"

#define SG_FOREIGN_NAME_BYTES 80 /* room for any of their names */

struct sg_foreign_file {
	uint64_t number; /* nanoseconds, or first offset */
	uint32_t pid;	 /* audit */
	bool orphan;	 /* audit: a sidecar whose data file is missing */
	uint64_t dev, ino;
};

struct sg_foreign_files {
	struct sg_foreign_file *v; /* by number, then pid */
	size_t n;
	uint64_t bytes; /* of all of them, sidecars not counted */
};

/* 0 (with n = 0 where there is none) or -errno. Free also after an error. */
int sg_foreign_list(int dirfd, enum spool_format format, struct sg_foreign_files *files);
void sg_foreign_files_free(struct sg_foreign_files *files);
void sg_foreign_name(const struct sg_foreign_file *file, enum spool_format format,
		     char out[SG_FOREIGN_NAME_BYTES]);

/*
 * Does a process have one of them open for writing, or hold an exclusive flock on it? The formats have no lock of their
 * own, so the kernel is asked, by a lease; where it does not answer (files of others, without CAP_LEASE; some file
 * systems), /proc is, as far as it may be read. There a process that cannot be looked into counts as a writer only if
 * an audit file has its pid in its name, and writers in other PID namespaces are not seen. Never seen: writers on other
 * hosts, and one that opens the file a moment later.
 *
 * 0 or -errno; *busy.
 */
int sg_foreign_busy(int dirfd, enum spool_format format, const struct sg_foreign_files *files,
		    bool *busy);

#endif
