// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Wrapped calls that append, sync, or make a file something other than append-only. */
#include <limits.h>
#include <sys/syscall.h>

#include "preload/preload.h"

/* The kernel moves no more than this in one call. */
#define MOST_BYTES 0x7ffff000ull

/* --- how many bytes, and where --- */

/*
 * May these bytes be read? The kernel answers EFAULT to a bad vector or offset, so looking at one of
 * the program's must not kill it. rt_sigprocmask reads 8 bytes before it refuses an unknown `how`.
 */
static bool readable(const void *from, size_t n)
{
	uintptr_t word = (uintptr_t)from & ~7ull, last = ((uintptr_t)from + n - 1) & ~7ull;
	int saved = errno;
	bool yes = true;

	while (yes) {
		yes = syscall(SYS_rt_sigprocmask, -1, word, NULL, 8) == 0 || errno != EFAULT;
		if ((word ^ last) < 4096)
			break;
		word = (word | 4095) + 1;
	}
	errno = saved;
	return yes;
}

static uint64_t iov_bytes(const struct iovec *iov, int n)
{
	uint64_t bytes = 0;
	int i;

	/* The kernel refuses these before it looks at the vector; so must we. */
	if (n <= 0 || n > IOV_MAX || !readable(iov, (size_t)n * sizeof(*iov)))
		return 0;
	for (i = 0; i < n && bytes < MOST_BYTES; i++)
		bytes += iov[i].iov_len < MOST_BYTES ? iov[i].iov_len : MOST_BYTES;
	return bytes;
}

static int64_t offset_at(const off64_t *at)
{
	return at && readable(at, sizeof(*at)) ? *at : -1;
}

static int (*checked_vsnprintf)(char *, size_t, int, size_t, const char *, va_list);

__attribute__((constructor)) static void find_checked_vsnprintf(void)
{
	/* By name only: there is none in musl, and none is called there. */
	checked_vsnprintf = sg_next_find("__vsnprintf_chk");
}

/* The length of what a format makes, so that it can be reserved: dprintf writes inside libc, in pieces.
 * A fortified call is measured by its fortified sister, lest %n be honoured here and refused there. */
static uint64_t print_bytes(int flag, const char *format, va_list ap)
{
	int saved = errno, n = 0; /* %m prints it */
	va_list copy;

	va_copy(copy, ap);
	if (flag < 0)
		n = vsnprintf(NULL, 0, format, copy);
	else if (checked_vsnprintf)
		n = checked_vsnprintf(NULL, 0, flag, 0, format, copy);
	va_end(copy);
	errno = saved;
	return n > 0 ? (uint64_t)n : 0;
}

/* --- appends --- */

struct append {
	struct sg_append guard;
	int saved_errno, cancel;
	bool tracked;
};

/* 0: make the call, then call append_end with its result. -1: fail it, errno is set. */
static int append_begin(struct append *a, int fd, uint64_t bytes, int64_t at)
{
	int error;

	a->saved_errno = errno;
	pthread_testcancel();
	error = sg_guard_append_begin(&a->guard, fd, bytes < MOST_BYTES ? bytes : MOST_BYTES, at);
	if (error) {
		errno = -error;
		return -1;
	}
	a->tracked = a->guard.stats != NULL;
	/* A call that is not tracked holds nothing, and stays a cancellation point. */
	if (a->tracked)
		a->cancel = sg_no_cancel();
	errno = a->saved_errno;
	return 0;
}

static ssize_t append_end(struct append *a, int fd, ssize_t result)
{
	int error = result < 0 ? errno : 0;

	if (!a->tracked)
		return result;
	sg_uncancel(a->cancel);
	if (result < 0) {
		sg_guard_append_end(&a->guard, fd, result, error);
		errno = error;
		return result;
	}
	error = sg_guard_append_end(&a->guard, fd, result, 0);
	errno = error ? error : a->saved_errno;
	return error ? -1 : result;
}

/* The common case, a descriptor that is no business of ours, is one load and a jump. */
#define FD_OF(fd, bytes, at) fd
#define SG_APPEND(ret, symbol, params, args, facts, ...)                      \
	static NOINLINE ret guarded_##symbol params                           \
	{                                                                     \
		struct append a;                                              \
                                                                              \
		if (!active())                                                \
			return sg_next.symbol args;                           \
		if (APPEND_BEGIN facts)                                       \
			return -1;                                            \
		return (ret)append_end(&a, FD_OF facts, sg_next.symbol args); \
	}                                                                     \
	WRAPPER(ret, symbol, params)                                          \
	{                                                                     \
		if (likely(sg_guard_is_plain(FD_OF facts)))                   \
			return sg_next.symbol args;                           \
		return guarded_##symbol args;                                 \
	}
#define APPEND_BEGIN(fd, bytes, at) append_begin(&a, fd, bytes, at)

/* --- syncs --- */

#define SYNC_FD(fd, op) fd
#define SYNC_OP(fd, op) op
#define SG_SYNC(ret, symbol, params, args, facts, ...)                           \
	WRAPPER(ret, symbol, params)                                             \
	{                                                                        \
		int saved = errno;                                               \
		ret r;                                                           \
                                                                                 \
		if (!active())                                                   \
			return sg_next.symbol args;                              \
		pthread_testcancel();                                            \
		r = sg_guard_sync(SYNC_FD facts, SYNC_OP facts, sg_next.symbol); \
		if (r == 0)                                                      \
			errno = saved;                                           \
		return r;                                                        \
	}

#define OTHER_BEGIN(fd, op, bytes, counts)  sg_guard_other_begin(fd, op, bytes)
#define OTHER_END(fd, op, bytes, counts)    sg_guard_other_end(fd, op, token)
#define OTHER_COUNTS(fd, op, bytes, counts) (counts)
#define SG_OTHER_SYNC(ret, symbol, params, args, facts, ...) \
	WRAPPER(ret, symbol, params)                         \
	{                                                    \
		int saved = errno, token, cancel;            \
		ret r;                                       \
                                                             \
		if (!OTHER_COUNTS facts || !active())        \
			return sg_next.symbol args;          \
		pthread_testcancel();                        \
		cancel = sg_no_cancel();                     \
		token = OTHER_BEGIN facts;                   \
		errno = saved;                               \
		r = sg_next.symbol args;                     \
		saved = errno;                               \
		OTHER_END facts;                             \
		sg_uncancel(cancel);                         \
		errno = saved;                               \
		return r;                                    \
	}

/* --- no longer append-only? --- */

static __attribute__((unused)) bool map_writes(int prot, int flags, int fd)
{
	return (prot & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE &&
	       !(flags & MAP_ANONYMOUS) && !sg_guard_is_plain(fd);
}

#define MAP_FD(prot, flags, fd) fd
#define SG_MMAP(ret, symbol, params, args, facts, ...)                                  \
	WRAPPER(ret, symbol, params)                                                    \
	{                                                                               \
		ret r = sg_next.symbol args;                                            \
		int saved;                                                              \
                                                                                        \
		if (r == MAP_FAILED || !map_writes facts || !active())                  \
			return r;                                                       \
		/* Nobody has the address yet, so this comes before the first store. */ \
		saved = errno;                                                          \
		sg_guard_mapped(MAP_FD facts);                                          \
		errno = saved;                                                          \
		return r;                                                               \
	}

#if defined(__SANITIZE_THREAD__)
/* TSan's runtime maps memory through this name before it can be told of a call. Tests only. */
#undef SG_MMAP
#define SG_MMAP(...)
#endif
#include "preload/symbols.def"

EXPORT int dprintf(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vdprintf(fd, format, ap);
	va_end(ap);
	return n;
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...);
EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vdprintf_chk(fd, flag, format, ap);
	va_end(ap);
	return n;
}

EXPORT void sync(void)
{
	/* Nothing can be returned; what fails is kept by the guard. */
	if (active())
		sg_drain_all();
	sg_next.sync();
}
