/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Walking one file of an obs audit spool with its sidecar: docs/format-audit.md. */
#ifndef SG_SPOOL_AUDIT_H
#define SG_SPOOL_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_AUDIT_SUFFIX	    ".audit.bin"
#define SG_AUDIT_SIDECAR    ".crc" /* behind the whole name of the data file */
#define SG_AUDIT_NAME_BYTES 64	   /* room for a name, the sidecar's too */
#define SG_AUDIT_LEN_BYTES  4u	   /* before a payload */
#define SG_AUDIT_CRC_BYTES  4u	   /* in the sidecar, for each record */

/* "<nanos: 20 digits>-<pid>.audit.bin"? */
bool sg_audit_name(const char *name, uint64_t *nanos, uint32_t *pid);
void sg_audit_name_write(char out[SG_AUDIT_NAME_BYTES], uint64_t nanos, uint32_t pid);

enum sg_audit_kind {
	SG_AUDIT_RECORD,     /* its checksum is right: data, len valid until the next call */
	SG_AUDIT_UNVERIFIED, /* a whole record for which the sidecar has no checksum: the same */
	SG_AUDIT_DAMAGE, /* bytes that are no record, and behind them a valid one, which comes next */
	SG_AUDIT_GAP, /* no damaged byte, but the sidecar has checksums of records that are missing */
	SG_AUDIT_SIDE, /* the sidecar is missing, long or torn; offset and bytes are in it */
	SG_AUDIT_TAIL, /* bytes up to the end of the file in which no valid record is */
	SG_AUDIT_END,
};

struct sg_audit_event {
	enum sg_audit_kind kind;
	uint64_t offset, bytes; /* in the file; a record's length is included */
	uint64_t number; /* of the record, or of the first lost one, from 0, lost ones counted */
	uint64_t lost;	 /* records, as far as the sidecar tells */
	const char *why; /* static */
	const uint8_t *data;
	uint32_t len;
};

struct sg_audit;

/* Begin to walk the data file `name`. 0, -ENOMEM, what open(2) and read(2) return. A sidecar that is not there is no
 * error but an event. */
int sg_audit_open(struct sg_audit **audit, int dirfd, const char *name);
void sg_audit_close(struct sg_audit *audit);

/* The next event; 0 or -errno. END comes last and then always. */
int sg_audit_next(struct sg_audit *audit, struct sg_audit_event *event);

uint64_t sg_audit_position(const struct sg_audit *audit); /* in the data file */
uint64_t sg_audit_size(const struct sg_audit *audit);	  /* of it */
uint64_t sg_audit_number(const struct sg_audit *audit); /* of the next record; after END: of all */
bool sg_audit_has_sidecar(const struct sg_audit *audit);

#endif
