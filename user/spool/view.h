/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A file seen through a window that moves, for the walks over foreign formats: any offset, flat memory. The window grows
 * only for what the caller has verified before. No mmap: a file that is cut back would be a SIGBUS.
 */
#ifndef SG_SPOOL_VIEW_H
#define SG_SPOOL_VIEW_H

#include <stddef.h>
#include <stdint.h>

struct sg_pane {
	int fd;
	uint64_t size; /* of the file when it was opened */
	uint8_t *buf;
	size_t room, have;
	uint64_t at;	    /* where in the file the window lies */
	uint64_t zero_from; /* behind it all bytes are zero; UINT64_MAX: not looked for yet */
};

/* Open the regular file `name`; never through a symlink. 0 or -errno (-EINVAL: not regular). Close in both cases. */
int sg_pane_open(struct sg_pane *v, int dirfd, const char *name);
void sg_pane_close(struct sg_pane *v);

/*
 * Bytes [offset, offset + want) of the file at *p, valid until the next call. They must lie below v->size: -ESTALE
 * means that the file was cut back since.
 */
int sg_pane_get(struct sg_pane *v, uint64_t offset, size_t want, const uint8_t **p);

/* Continue *crc over these bytes, in pieces, the window staying where it is. */
int sg_pane_crc(struct sg_pane *v, uint64_t offset, uint64_t bytes, uint32_t *crc);

/* The smallest offset from which on the file has zero bytes only; v->size if it ends in another byte. */
int sg_pane_zero_from(struct sg_pane *v, uint64_t *offset);

#endif
