/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#ifndef SG_GUARD_CLOCK_H
#define SG_GUARD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t sg_clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t sg_now_ns(void)
{
	return sg_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t sg_wall_ns(void)
{
	return sg_clock_ns(CLOCK_REALTIME);
}

#endif
