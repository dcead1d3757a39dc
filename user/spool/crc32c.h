/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* CRC-32C (Castagnoli), as in iSCSI (RFC 3720): "123456789" gives e3069283. */
#ifndef SG_SPOOL_CRC32C_H
#define SG_SPOOL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 to begin) over len bytes: crc(a ‖ b) = sg_crc32c(sg_crc32c(0, a), b). Pure, any thread. */
uint32_t sg_crc32c(uint32_t crc, const void *data, size_t len);

/* What `bytes` more bytes make of a CRC: crc(a ‖ b) = sg_crc32c_shift(crc(a), |b|) ^ crc(b). Pure, any thread. */
uint32_t sg_crc32c_shift(uint32_t crc, uint64_t bytes);

#endif
