// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The bytes of the format: checksums, headers, frames, index entries, cursors. */
#include "tap.h"

#include <string.h>

#include "make.h"
#include "spool/crc32c.h"

/* Bit by bit, from the definition. */
static uint32_t slow_crc(uint32_t crc, const uint8_t *p, size_t n)
{
	int bit;

	for (crc = ~crc; n; n--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

static void noise(uint8_t *p, size_t n, uint32_t x)
{
	while (n--) {
		x = x * 1664525 + 1013904223;
		*p++ = (uint8_t)(x >> 24);
	}
}

static void test_crc_of_the_published_vectors(void)
{
	uint8_t b[32];

	CU_ASSERT_EQUAL(sg_crc32c(0, "", 0), 0);
	CU_ASSERT_EQUAL(sg_crc32c(0, "a", 1), 0xc1d04330);
	CU_ASSERT_EQUAL(sg_crc32c(0, "123456789", 9), 0xe3069283);
	memset(b, 0, sizeof(b));
	CU_ASSERT_EQUAL(sg_crc32c(0, b, sizeof(b)), 0x8a9136aa);
	memset(b, 0xff, sizeof(b));
	CU_ASSERT_EQUAL(sg_crc32c(0, b, sizeof(b)), 0x62a8ab43);
}

/* Both ways to compute it, on both sides of the size where one takes over, at every alignment. */
static void test_crc_is_the_same_for_small_and_large(void)
{
	static uint8_t b[70000];
	size_t n, at, bad = 0;

	noise(b, sizeof(b), 1);
	for (n = 0; n <= 600; n++)
		for (at = 0; at < 9; at++)
			bad += sg_crc32c(0, b + at, n) != slow_crc(0, b + at, n);
	for (n = 65530; n < 65540; n++)
		bad += sg_crc32c(5, b + 3, n) != slow_crc(5, b + 3, n);
	CU_ASSERT_EQUAL(bad, 0);
}

static void test_crc_continues_at_every_split(void)
{
	uint8_t b[500];
	size_t n, bad = 0;
	uint32_t whole;

	noise(b, sizeof(b), 2);
	whole = sg_crc32c(0, b, sizeof(b));
	for (n = 0; n <= sizeof(b); n++) {
		bad += sg_crc32c(sg_crc32c(0, b, n), b + n, sizeof(b) - n) != whole;
		bad += (sg_crc32c_shift(sg_crc32c(0, b, n), sizeof(b) - n) ^
			sg_crc32c(0, b + n, sizeof(b) - n)) != whole;
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static void test_header_round_trip(void)
{
	struct sg_segment_header h = { .first_seq = 42,
				       .created_ns = 99,
				       .flags = SG_HEADER_ZEROS };
	struct sg_segment_header got;
	uint8_t raw[SG_HEADER_BYTES];
	const char *why;

	memcpy(h.id, MAKE_ID, sizeof(h.id));
	sg_segment_header_write(raw, &h);
	CU_ASSERT_EQUAL(sg_segment_header_read(raw, sizeof(raw), &got, &why), 0);
	CU_ASSERT_EQUAL(memcmp(got.id, h.id, sizeof(h.id)), 0);
	CU_ASSERT_EQUAL(got.first_seq, 42);
	CU_ASSERT_EQUAL(got.created_ns, 99);
	CU_ASSERT_EQUAL(got.flags, SG_HEADER_ZEROS);
	CU_ASSERT_EQUAL(sg_segment_header_read(raw, sizeof(raw) - 1, &got, &why), 3);
}

static void test_header_survives_any_one_byte(void)
{
	struct made m = { 0 };
	struct sg_segment_header h;
	const char *why;
	size_t i, bad = 0;

	made_header(&m, MAKE_ID, 1, 0);
	for (i = 0; i < SG_HEADER_BYTES; i++) {
		m.p[i] ^= 0x10;
		bad += sg_segment_header_read(m.p, m.n, &h, &why) != (i < SG_HEADER_COPY ? 1u : 2u);
		bad += h.first_seq != 1 || why == NULL;
		m.p[i] ^= 0x10;
	}
	CU_ASSERT_EQUAL(bad, 0);
	m.p[3] ^= 1;
	m.p[SG_HEADER_COPY + 20] ^= 1;
	CU_ASSERT_EQUAL(sg_segment_header_read(m.p, m.n, &h, &why), 3);
	made_free(&m);
}

static void test_header_of_an_unknown_flag_is_refused(void)
{
	struct sg_segment_header h = { .first_seq = 1, .flags = 2 }, got;
	uint8_t raw[SG_HEADER_BYTES];
	const char *why;

	memcpy(h.id, MAKE_ID, sizeof(h.id));
	sg_segment_header_write(raw, &h);
	CU_ASSERT_EQUAL(sg_segment_header_read(raw, sizeof(raw), &got, &why), 3);
	h.flags = 0;
	memset(h.id, 0, sizeof(h.id));
	sg_segment_header_write(raw, &h);
	CU_ASSERT_EQUAL(sg_segment_header_read(raw, sizeof(raw), &got, &why), 3);
}

static enum sg_frame_verdict judge(const struct made *m, struct sg_frame *f)
{
	return sg_frame_read(m->p, m->n, sg_frame_seed(MAKE_ID), 1, UINT64_MAX, f, NULL, NULL);
}

static void test_frame_round_trip(void)
{
	static const size_t lens[] = { 0, 1, 7, 159, 160, 161, 192, 193, 5000, 300000 };
	struct made m = { 0 };
	struct sg_frame f;
	size_t i;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		m.n = 0;
		made_frame(&m, 9 + i, lens[i]);
		CU_ASSERT_EQUAL(judge(&m, &f), SG_FRAME_VALID);
		CU_ASSERT_EQUAL(f.seq, 9 + i);
		CU_ASSERT_EQUAL(f.len, lens[i]);
		CU_ASSERT_EQUAL(f.time_ns, 1009 + i);
		CU_ASSERT_PTR_EQUAL(f.payload, m.p + SG_FRAME_BYTES);
	}
	made_free(&m);
}

static void test_frame_in_pieces_has_the_same_bytes(void)
{
	struct sg_frame f = { .len = 10, .seq = 3, .at_risk = 2 };
	struct iovec whole = { (void *)(uintptr_t) "0123456789", 10 };
	struct iovec parts[3] = { { whole.iov_base, 4 },
				  { NULL, 0 },
				  { (char *)whole.iov_base + 4, 6 } };
	uint8_t a[SG_FRAME_BYTES], b[SG_FRAME_BYTES];

	sg_frame_header_write(a, &f, 77, &whole, 1);
	sg_frame_header_write(b, &f, 77, parts, 3);
	CU_ASSERT_EQUAL(memcmp(a, b, sizeof(a)), 0);
}

static void test_frame_with_any_bit_flipped_is_invalid(void)
{
	struct made m = { 0 };
	struct sg_frame f;
	size_t bit, valid = 0;

	made_frame(&m, 5, 40);
	for (bit = 0; bit < 8 * m.n; bit++) {
		m.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		valid += judge(&m, &f) == SG_FRAME_VALID;
		m.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CU_ASSERT_EQUAL(valid, 0);
	made_free(&m);
}

static void test_zeros_are_never_a_frame(void)
{
	static const uint8_t zeros[4096];
	struct sg_frame f;
	size_t n, valid = 0;

	for (n = SG_FRAME_BYTES; n <= sizeof(zeros); n++)
		valid += sg_frame_read(zeros, n, sg_frame_seed(MAKE_ID), 0, UINT64_MAX, &f, NULL,
				       NULL) != SG_FRAME_BAD;
	/* Not even with the seed whose checksum of zeros would be zero. */
	for (n = 0; n < 1000; n++)
		valid += sg_frame_read(zeros, sizeof(zeros), (uint32_t)n * 4294967u, 0, UINT64_MAX,
				       &f, NULL, NULL) != SG_FRAME_BAD;
	CU_ASSERT_EQUAL(valid, 0);
}

static void test_frame_of_another_spool_is_invalid(void)
{
	struct made m = { 0 };
	struct sg_frame f;

	made_frame_of(&m, MAKE_OTHER_ID, 5, 0, "x", 1);
	CU_ASSERT_EQUAL(judge(&m, &f), SG_FRAME_BAD);
	made_free(&m);
}

static void test_frame_asks_for_the_bytes_that_it_needs(void)
{
	struct made m = { 0 };
	struct sg_frame f;
	uint64_t need = 0;
	size_t n, bad = 0;

	made_frame(&m, 5, 100);
	for (n = 0; n < m.n; n++) {
		bad += sg_frame_read(m.p, n, 0, 1, 9, &f, &need, NULL) != SG_FRAME_SHORT;
		bad += need != (n < SG_FRAME_BYTES ? SG_FRAME_BYTES : m.n);
	}
	CU_ASSERT_EQUAL(bad, 0);
	made_free(&m);
}

static void test_length_and_number_are_bounded(void)
{
	struct made m = { 0 };
	const char *why = NULL;
	struct sg_frame f;

	made_frame(&m, 5, 1);
	CU_ASSERT_EQUAL(sg_frame_read(m.p, m.n, sg_frame_seed(MAKE_ID), 6, 9, &f, NULL, &why),
			SG_FRAME_BAD);
	CU_ASSERT_STRING_EQUAL(why, "sequence number");
	CU_ASSERT_EQUAL(sg_frame_read(m.p, m.n, sg_frame_seed(MAKE_ID), 1, 4, &f, NULL, &why),
			SG_FRAME_BAD);
	memcpy(m.p + 4, "\x01\x00\x00\x04", 4); /* 64 MiB and one byte */
	CU_ASSERT_EQUAL(judge(&m, &f), SG_FRAME_BAD);
	memcpy(m.p + 4, "\x00\x00\x00\x04", 4);
	CU_ASSERT_EQUAL(judge(&m, &f), SG_FRAME_SHORT);
	made_free(&m);
}

static void test_known_durable_follows_from_what_was_at_risk(void)
{
	struct sg_frame f = { .seq = 10, .at_risk = 3 };

	CU_ASSERT_EQUAL(sg_frame_known_durable(&f), 6);
	f.at_risk = 0;
	CU_ASSERT_EQUAL(sg_frame_known_durable(&f), 9);
	f.at_risk = 9;
	CU_ASSERT_EQUAL(sg_frame_known_durable(&f), 0);
	f.seq = UINT64_MAX;
	f.at_risk = UINT32_MAX;
	CU_ASSERT_EQUAL(sg_frame_known_durable(&f), 0);
	CU_ASSERT_EQUAL(sg_frame_max_seq(UINT64_MAX - 1, 64), UINT64_MAX);
	CU_ASSERT_EQUAL(sg_frame_max_seq(7, 63), 9);
}

static void test_magic_is_no_frame(void)
{
	struct made m = { 0 };
	struct sg_frame f;

	made_header(&m, MAKE_ID, 1, 0);
	CU_ASSERT_EQUAL(judge(&m, &f), SG_FRAME_BAD);
	made_free(&m);
}

static void test_index_round_trip_and_flips(void)
{
	uint8_t head[SG_INDEX_HEADER], raw[SG_INDEX_ENTRY];
	uint64_t seq = 0, offset = 0, first = 0;
	size_t i, bad = 0;

	sg_index_header_write(head, 12);
	sg_index_entry_write(raw, 5, 300, 70000);
	CU_ASSERT(sg_index_header_read(head, sizeof(head), &first) && first == 12);
	CU_ASSERT(sg_index_entry_read(raw, sizeof(raw), 5, &seq, &offset));
	CU_ASSERT(seq == 300 && offset == 70000);
	CU_ASSERT_FALSE(sg_index_entry_read(raw, sizeof(raw), 6, &seq, &offset));
	for (i = 0; i < sizeof(raw); i++) {
		raw[i] ^= 1;
		bad += sg_index_entry_read(raw, sizeof(raw), 5, &seq, &offset);
		raw[i] ^= 1;
	}
	for (i = 0; i < sizeof(head); i++) {
		head[i] ^= 1;
		bad += sg_index_header_read(head, sizeof(head), &first);
		head[i] ^= 1;
	}
	CU_ASSERT_EQUAL(bad, 0);
}

static void test_durable_and_cursor_round_trip_and_flips(void)
{
	struct sg_cursor c = { .generation = 3, .acked = 17, .time_ns = 5 }, got;
	uint8_t d[SG_DURABLE_BYTES], raw[SG_CURSOR_BYTES];
	uint64_t durable, appended;
	size_t i, bad = 0;

	memcpy(c.id, MAKE_ID, sizeof(c.id));
	sg_durable_write(d, 4, 10, 12);
	sg_cursor_write(raw, &c);
	CU_ASSERT(sg_durable_read(d, sizeof(d), 4, &durable, &appended));
	CU_ASSERT(durable == 10 && appended == 12);
	CU_ASSERT_FALSE(sg_durable_read(d, sizeof(d), 5, &durable, &appended));
	CU_ASSERT(sg_cursor_read(raw, sizeof(raw), &got));
	CU_ASSERT(got.generation == 3 && got.acked == 17 && got.time_ns == 5);
	for (i = 0; i < sizeof(d); i++) {
		d[i] ^= 0x80;
		bad += sg_durable_read(d, sizeof(d), 4, &durable, &appended);
		d[i] ^= 0x80;
	}
	for (i = 0; i < sizeof(raw); i++) {
		raw[i] ^= 0x80;
		bad += sg_cursor_read(raw, sizeof(raw), &got);
		raw[i] ^= 0x80;
	}
	CU_ASSERT_EQUAL(bad, 0);
}

SG_TESTS("frame", TEST(test_crc_of_the_published_vectors),
	 TEST(test_crc_is_the_same_for_small_and_large), TEST(test_crc_continues_at_every_split),
	 TEST(test_header_round_trip), TEST(test_header_survives_any_one_byte),
	 TEST(test_header_of_an_unknown_flag_is_refused), TEST(test_frame_round_trip),
	 TEST(test_frame_in_pieces_has_the_same_bytes),
	 TEST(test_frame_with_any_bit_flipped_is_invalid), TEST(test_zeros_are_never_a_frame),
	 TEST(test_frame_of_another_spool_is_invalid),
	 TEST(test_frame_asks_for_the_bytes_that_it_needs),
	 TEST(test_length_and_number_are_bounded),
	 TEST(test_known_durable_follows_from_what_was_at_risk), TEST(test_magic_is_no_frame),
	 TEST(test_index_round_trip_and_flips), TEST(test_durable_and_cursor_round_trip_and_flips))
