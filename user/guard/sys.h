/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * System calls that the guard makes for itself. By number, since in the preload library the names of
 * libc are our own wrappers.
 */
#ifndef SG_GUARD_SYS_H
#define SG_GUARD_SYS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int sg_sys_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

static inline int sg_sys_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static inline ssize_t sg_sys_read(int fd, void *buf, size_t n)
{
	return syscall(SYS_read, fd, buf, n);
}

static inline int sg_sys_fcntl(int fd, int cmd, long arg)
{
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static inline int sg_sys_ftruncate(int fd, int64_t size)
{
	return (int)syscall(SYS_ftruncate, fd, size);
}

static inline int64_t sg_sys_lseek(int fd, int64_t offset, int whence)
{
	return syscall(SYS_lseek, fd, offset, whence);
}

static inline int sg_sys_fsync(int fd)
{
	return (int)syscall(SYS_fsync, fd);
}

static inline int sg_sys_fdatasync(int fd)
{
	return (int)syscall(SYS_fdatasync, fd);
}

static inline int sg_sys_sync_file_range(int fd, int64_t offset, int64_t n, unsigned int flags)
{
	return (int)syscall(SYS_sync_file_range, fd, offset, n, flags);
}

/* musl has no name for it yet. */
static inline int sg_sys_statx(int fd, unsigned int mask, struct statx *x)
{
	return (int)syscall(SYS_statx, fd, "", AT_EMPTY_PATH, mask, x);
}

/* MAP_FAILED on failure. */
static inline void *sg_sys_map(size_t size, int prot, int flags, int fd)
{
	return (void *)syscall(SYS_mmap, NULL, size, prot, flags, fd, 0);
}

#endif
