// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * ISA-L folds three streams at once, which pays from a few hundred bytes on; below, the processor's own
 * instruction, eight bytes at a time, has the answer before ISA-L has begun.
 */
#include "spool/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <string.h>

static uint32_t by_isal(uint32_t state, const uint8_t *p, size_t len)
{
	int n;

	for (; len; p += n, len -= (size_t)n) {
		n = len > INT_MAX ? INT_MAX : (int)len;
		/* Its prototype lacks a const; it only reads. */
		state = crc32_iscsi((unsigned char *)(uintptr_t)p, n, state);
	}
	return state;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

#define SMALL_BYTES 192 /* measured: bench/crc32c.c */

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t state, const uint8_t *p,
								 size_t len)
{
	uint64_t s = state, word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		s = _mm_crc32_u64(s, word);
	}
	for (; len; p++, len--)
		s = _mm_crc32_u8((uint32_t)s, *p);
	return (uint32_t)s;
}

static uint32_t update(uint32_t state, const uint8_t *p, size_t len)
{
	if (len <= SMALL_BYTES && __builtin_cpu_supports("sse4.2"))
		return by_instruction(state, p, len);
	return by_isal(state, p, len);
}
#else
static uint32_t update(uint32_t state, const uint8_t *p, size_t len)
{
	return by_isal(state, p, len);
}
#endif

uint32_t sg_crc32c(uint32_t crc, const void *data, size_t len)
{
	return ~update(~crc, data, len);
}

/* ---- shift: polynomials over GF(2) modulo that of CRC-32C, bit 31 being x^0 ---- */

#define POLYNOMIAL 0x82f63b78u

static uint32_t product(uint32_t a, uint32_t b)
{
	uint32_t p = 0, m;

	for (m = 1u << 31; m; m >>= 1) {
		if (a & m)
			p ^= b;
		b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
	}
	return p;
}

/* crc(a ‖ b) ^ crc(b) = crc(a) · x^(8·|b|), by squaring. */
uint32_t sg_crc32c_shift(uint32_t crc, uint64_t bytes)
{
	uint32_t power = 1u << (31 - 8); /* x^8 */

	for (; bytes; bytes >>= 1) {
		if (bytes & 1)
			crc = product(power, crc);
		power = product(power, power);
	}
	return crc;
}
