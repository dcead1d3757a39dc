/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes as an audit file and its sidecar. Input: flags, how many bytes of the rest are the file, the file, the
 * sidecar. What is told tiles the file; only what the sidecar confirms is given; recovery keeps just that.
 */
#include "foreign.h"
#include "spool/audit.h"
#include "spool/bytes.h"

#define NAME	   "00000000000000000007-1.audit.bin"
#define NO_SIDECAR 1u
#define RIGHT_CRCS \
	2u /* the sidecar is that of the file's records, the input's bytes on top of it */
#define AND_RECOVER 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t add_crcs(const uint8_t *data, size_t n, uint8_t *side, size_t given)
{
	size_t at = 0, out = 0, len;

	for (; n - at >= 4; at += 4 + len, out += 4) {
		len = sg_get32(data + at);
		if (len > n - at - 4)
			break;
		if (out + 4 > given)
			memset(side + out, 0, 4);
		sg_put32(side + out, sg_get32(side + out) ^ sg_crc32c(0, data + at + 4, len));
	}
	return out > given ? out : given;
}

static void confirmed(const struct sg_audit_event *e, const uint8_t *side, size_t n)
{
	uint32_t crc = sg_crc32c(0, e->data, e->len);
	size_t at;

	for (at = 0; at + 4 <= n; at += 4)
		if (sg_get32(side + at) == crc)
			return;
	abort();
}

static void walk(int dirfd, const uint8_t *side, size_t n, size_t file_bytes)
{
	uint64_t at = 0, number = 0, events = 0;
	struct sg_audit_event e;
	struct sg_audit *a;

	MUST(sg_audit_open(&a, dirfd, NAME) == 0);
	do {
		MUST(sg_audit_next(a, &e) == 0);
		MUST(++events <= 2 * file_bytes + 8);
		MUST(e.number >= number);
		number = e.number;
		if (e.kind == SG_AUDIT_SIDE || e.kind == SG_AUDIT_END)
			continue;
		MUST(e.offset == at);
		MUST(e.kind == SG_AUDIT_GAP ? e.bytes == 0 && e.lost : e.bytes != 0);
		at += e.bytes;
		if (e.kind == SG_AUDIT_RECORD)
			confirmed(&e, side, n);
	} while (e.kind != SG_AUDIT_END);
	MUST(at == file_bytes);
	sg_audit_close(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
	size_t n, sides;
	uint8_t *side;
	int dirfd;

	if (size < 3 || size > 4096)
		return 0;
	dirfd = begin();
	n = sg_get16(in + 1) % (size - 2);
	sides = in[0] & NO_SIDECAR ? 0 : size - 3 - n;
	side = calloc(1, size + 4096);
	memcpy(side, in + 3 + n, sides);
	if ((in[0] & (RIGHT_CRCS | NO_SIDECAR)) == RIGHT_CRCS)
		sides = add_crcs(in + 3, n, side, sides);
	put(dirfd, NAME, in + 3, n);
	if (!(in[0] & NO_SIDECAR))
		put(dirfd, NAME SG_AUDIT_SIDECAR, side, sides);
	walk(dirfd, side, sides, n);
	if (in[0] & AND_RECOVER)
		check_recovery(SPOOL_FORMAT_AUDIT, true);
	free(side);
	return 0;
}
