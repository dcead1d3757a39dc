/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* The three futex calls that the guard and the broker use. Shared futexes throughout: the words lie in
 * memory that several processes map. errno is left alone. */
#ifndef SG_GUARD_FUTEX_H
#define SG_GUARD_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word == seen, at most timeout_ns (UINT64_MAX: without end). 0 or -ETIMEDOUT; may return
 * early for no reason. */
static inline int sg_futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
	struct timespec ts = { (time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000) };
	int saved = errno;
	long r = syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ns == UINT64_MAX ? NULL : &ts,
			 NULL, 0);
	int err = r != 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;

	errno = saved;
	return err;
}

static inline void sg_futex_wake(_Atomic uint32_t *word, int n)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
	errno = saved;
}

#endif
