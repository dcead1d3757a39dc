/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes as a commit log: one segment or two, as they are or with the checksums put right. What is told tiles
 * each file; offsets only grow; recovery keeps what was given. And the pure parser, in pieces of any size.
 */
#include "foreign.h"
#include "spool/bytes.h"
#include "spool/commitlog_walk.h"

#define RIGHT_CRCS  1u
#define TWO	    2u
#define AND_RECOVER 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Commits as their lengths say, each with the checksum it should have. */
static void fix_crcs(uint8_t *data, size_t n)
{
	size_t at = SG_CL_HEADER_BYTES, header, len;

	if (n < SG_CL_HEADER_BYTES)
		return;
	header = sg_commit_header_bytes(data[6] & 1);
	for (; at < n && n - at >= header; at += header + len + SG_CL_CRC_BYTES) {
		len = sg_get32(data + at + header - 4);
		if (len > n - at - header || n - at - header - len < SG_CL_CRC_BYTES)
			return;
		sg_put32(data + at + header + len, sg_crc32c(0, data + at, header + len));
	}
}

static void walk(int dirfd, const char *name, size_t size)
{
	uint64_t at = size < SG_CL_HEADER_BYTES ? 0 : SG_CL_HEADER_BYTES, next = 0, events = 0;
	struct sg_cl_event e;
	struct sg_cl_walk *w;

	MUST(sg_cl_open(&w, dirfd, name, 0, 0, UINT64_MAX) == 0);
	do {
		MUST(sg_cl_next(w, &e) == 0);
		MUST(++events <= 2 * size + 8);
		if (e.kind == SG_CL_HEADER)
			continue;
		MUST(e.offset == at || e.kind == SG_CL_END);
		at += e.bytes;
		if (e.kind == SG_CL_GAP || e.kind == SG_CL_DAMAGE) {
			MUST(e.from == next && e.to >= next);
			next = e.to;
		}
		if (e.kind == SG_CL_COMMIT) {
			MUST(e.commit.offset == next && e.commit.n >= 1);
			next += e.commit.n;
		}
	} while (e.kind != SG_CL_END);
	MUST(at <= size);
	sg_cl_close(w);
}

/* It asks for more only as long as more can help, and for no more than the cap allows. */
static void parse(const uint8_t *data, size_t size)
{
	const struct sg_commit_expect any = { 0, UINT64_MAX, 0 };
	struct sg_commit c;
	uint64_t need;
	unsigned int version;
	size_t have;
	uint8_t *exact;

	for (have = 0; have <= size && have <= 64; have++) {
		exact = malloc(have + !have);
		if (have)
			memcpy(exact, data, have);
		if (sg_cl_header_read(exact, have, &version, &need, NULL) == SG_FRAME_SHORT)
			MUST(need > have && need == SG_CL_HEADER_BYTES);
		for (version = 0; version < SG_CL_VERSIONS; version++)
			if (sg_commit_read(exact, have, version, &any, &c, &need, NULL) ==
			    SG_FRAME_SHORT)
				MUST(need > have && need <= SPOOL_RECORD_MAX + 26ull);
		free(exact);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
	uint8_t *copy;
	size_t first;
	int dirfd;

	if (size < 3 || size > 4096)
		return 0;
	parse(in + 3, size - 3);
	dirfd = begin();
	copy = malloc(size);
	memcpy(copy, in, size);
	first = in[0] & TWO ? sg_get16(in + 1) % (size - 2) : size - 3;
	if (in[0] & RIGHT_CRCS) {
		fix_crcs(copy + 3, first);
		fix_crcs(copy + 3 + first, size - 3 - first);
	}
	put(dirfd, "00000000000000000000.stdb.log", copy + 3, first);
	walk(dirfd, "00000000000000000000.stdb.log", first);
	if (in[0] & TWO)
		put(dirfd, "00000000000000000004.stdb.log", copy + 3 + first, size - 3 - first);
	if (in[0] & AND_RECOVER)
		check_recovery(SPOOL_FORMAT_COMMITLOG, false);
	free(copy);
	return 0;
}
