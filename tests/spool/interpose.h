/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Every call by which a writer changes or syncs files, seen before and after it is made. Included by one file of a
 * test, which defines call_before() and call_after().
 */
#ifndef SG_TESTS_SPOOL_INTERPOSE_H
#define SG_TESTS_SPOOL_INTERPOSE_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum call_kind {
	CALL_PWRITEV,
	CALL_PWRITE,
	CALL_FDATASYNC,
	CALL_FSYNC,
	CALL_OPENAT,
	CALL_FTRUNCATE,
	CALL_FALLOCATE,
	CALL_MKDIRAT,
	CALL_UNLINKAT,
	CALL_LINKAT,
	CALL_RENAMEAT,
	CALL_KINDS
};

static const char *const call_names[CALL_KINDS]
	__attribute__((unused)) = { "pwritev",	"pwrite",    "fdatasync", "fsync",
				    "openat",	"ftruncate", "fallocate", "mkdirat",
				    "unlinkat", "linkat",    "renameat" };

struct call {
	enum call_kind kind;
	int fd;
	const struct iovec *iov; /* PWRITEV */
	int iovcnt;
	const char *name; /* OPENAT, MKDIRAT, UNLINKAT, LINKAT, RENAMEAT */
	int flags;	  /* OPENAT */
};

#define CALL_SHORT (-1) /* write half */

/* Before a call: 0, an errno that it shall fail with, or CALL_SHORT. */
static int call_before(const struct call *c);
/* After it; result: what it returned. */
static void call_after(const struct call *c, long result);

#define REAL(name) real_##name
#define NEXT(type, name, ...)                                         \
	static type (*REAL(name))(__VA_ARGS__);                       \
	__attribute__((constructor)) static void resolve_##name(void) \
	{                                                             \
		*(void **)&REAL(name) = dlsym(RTLD_NEXT, #name);      \
	}

NEXT(ssize_t, pwritev, int, const struct iovec *, int, off_t)
NEXT(ssize_t, pwrite, int, const void *, size_t, off_t)
NEXT(int, fdatasync, int)
NEXT(int, fsync, int)
NEXT(int, openat, int, const char *, int, ...)
NEXT(int, ftruncate, int, off_t)
NEXT(int, fallocate, int, int, off_t, off_t)
NEXT(int, mkdirat, int, const char *, mode_t)
NEXT(int, unlinkat, int, const char *, int)
NEXT(int, linkat, int, const char *, int, const char *, int)
NEXT(int, renameat, int, const char *, int, const char *)

/* errno as the call left it. */
static long call_ended(const struct call *c, long result)
{
	int saved = errno;

	call_after(c, result);
	errno = saved;
	return result;
}

/* The plain ones: no short result. */
#define MADE(call, real)                                       \
	do {                                                   \
		int fault_ = call_before(&(call));             \
		if (fault_ > 0) {                              \
			errno = fault_;                        \
			return (int)call_ended(&(call), -1);   \
		}                                              \
		return (int)call_ended(&(call), (long)(real)); \
	} while (0)

/* Half of what was given: the first half of the first piece that has anything. */
static ssize_t short_pwritev(int fd, const struct iovec *iov, int iovcnt, off_t at)
{
	while (iovcnt > 1 && iov->iov_len == 0)
		iov++, iovcnt--;
	return REAL(pwrite)(fd, iov->iov_base, iov->iov_len - iov->iov_len / 2, at);
}

ssize_t pwritev(int fd, const struct iovec *iov, int iovcnt, off_t at)
{
	struct call c = { .kind = CALL_PWRITEV, .fd = fd, .iov = iov, .iovcnt = iovcnt };
	int fault = call_before(&c);

	if (fault > 0) {
		errno = fault;
		return call_ended(&c, -1);
	}
	return call_ended(&c, fault == CALL_SHORT ? short_pwritev(fd, iov, iovcnt, at)
						  : REAL(pwritev)(fd, iov, iovcnt, at));
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	struct call c = { .kind = CALL_PWRITE, .fd = fd };
	int fault = call_before(&c);

	if (fault > 0) {
		errno = fault;
		return call_ended(&c, -1);
	}
	return call_ended(&c, REAL(pwrite)(fd, p, fault == CALL_SHORT ? n - n / 2 : n, at));
}

int fdatasync(int fd)
{
	struct call c = { .kind = CALL_FDATASYNC, .fd = fd };

	MADE(c, REAL(fdatasync)(fd));
}

int fsync(int fd)
{
	struct call c = { .kind = CALL_FSYNC, .fd = fd };

	MADE(c, REAL(fsync)(fd));
}

int openat(int fd, const char *name, int flags, ...)
{
	struct call c = { .kind = CALL_OPENAT, .fd = fd, .name = name, .flags = flags };
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	MADE(c, REAL(openat)(fd, name, flags, mode));
}

int ftruncate(int fd, off_t size)
{
	struct call c = { .kind = CALL_FTRUNCATE, .fd = fd };

	MADE(c, REAL(ftruncate)(fd, size));
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	struct call c = { .kind = CALL_FALLOCATE, .fd = fd };

	MADE(c, REAL(fallocate)(fd, mode, at, n));
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	struct call c = { .kind = CALL_MKDIRAT, .fd = fd, .name = name };

	MADE(c, REAL(mkdirat)(fd, name, mode));
}

int unlinkat(int fd, const char *name, int flags)
{
	struct call c = { .kind = CALL_UNLINKAT, .fd = fd, .name = name };

	MADE(c, REAL(unlinkat)(fd, name, flags));
}

int linkat(int from, const char *old, int to, const char *name, int flags)
{
	struct call c = { .kind = CALL_LINKAT, .fd = to, .name = name };

	MADE(c, REAL(linkat)(from, old, to, name, flags));
}

int renameat(int from, const char *old, int to, const char *name)
{
	struct call c = { .kind = CALL_RENAMEAT, .fd = to, .name = name };

	MADE(c, REAL(renameat)(from, old, to, name));
}

#endif
