/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Does a disk really hold what a sync of ours said it does? */
#ifndef SG_SPOOL_ONDISK_H
#define SG_SPOOL_ONDISK_H

#include <stdint.h>

/*
 * A write-back that failed leaves its pages clean in the cache. Whoever synced then was told so, once; a sync of another
 * process returns 0 afterwards, and what a crash leaves is something else (Rebello et al., ATC'20). Reading past the
 * cache (O_DIRECT) shows it, and spoils nothing.
 *
 * After a sync of the file open at fd: are bytes [from, to) the same on the disk as in the cache? 0; -EIO: they are not;
 * -EOPNOTSUPP: the file system has no such reads, or /proc is missing; -ENOMEM; or what read(2) returns.
 */
int sg_on_disk(int fd, uint64_t from, uint64_t to);

#endif
