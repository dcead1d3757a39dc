// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Wrapped calls that make, duplicate, close and rename: what the guard must know of descriptors, and
 * what must not overtake data at risk. */
#include "preload/preload.h"

/* --- drains --- */

static int drained(int error, int cancel, int saved)
{
	sg_uncancel(cancel);
	errno = error ? EIO : saved;
	return error ? -1 : 0;
}

int sg_drain_name(int dirfd, const char *path, bool follow)
{
	int saved = errno, cancel;

	if (!path || !active())
		return 0;
	cancel = sg_no_cancel();
	return drained(sg_guard_drain_path(dirfd, path, follow), cancel, saved);
}

int sg_drain_fd(int fd)
{
	int saved = errno, cancel;

	if (sg_guard_is_plain(fd) || !active())
		return 0;
	cancel = sg_no_cancel();
	return drained(sg_guard_drain_fd(fd), cancel, saved);
}

int sg_drain_all(void)
{
	int saved = errno, cancel;

	if (!active())
		return 0;
	cancel = sg_no_cancel();
	return drained(sg_guard_drain_all(), cancel, saved);
}

#define drain_name sg_drain_name
#define drain_fd   sg_drain_fd
#define drain_all  sg_drain_all

static int drain_names(int from_dir, const char *from, int to_dir, const char *to)
{
	return drain_name(from_dir, from, false) ? -1 : drain_name(to_dir, to, false);
}

static int drain_link(int dirfd, const char *path, int flags)
{
	if ((flags & AT_EMPTY_PATH) && path && !*path)
		return drain_fd(dirfd);
	return drain_name(dirfd, path, flags & AT_SYMLINK_FOLLOW);
}

#define DRAIN_BEFORE(before, after) (before)
#define DRAIN_AFTER(before, after)  after
#define SG_DRAIN(ret, symbol, params, args, facts, ...) \
	WRAPPER(ret, symbol, params)                    \
	{                                               \
		int saved;                              \
		ret r;                                  \
                                                        \
		if (DRAIN_BEFORE facts)                 \
			return -1;                      \
		r = sg_next.symbol args;                \
		saved = errno;                          \
		if (r == 0 && active())                 \
			DRAIN_AFTER facts;              \
		errno = saved;                          \
		return r;                               \
	}
#define SG_DRAIN_ERROR(ret, symbol, params, args, facts, ...)           \
	WRAPPER(ret, symbol, params)                                    \
	{                                                               \
		int saved = errno;                                      \
		ret r = DRAIN_BEFORE facts ? EIO : sg_next.symbol args; \
                                                                        \
		if (r == 0 && active())                                 \
			DRAIN_AFTER facts;                              \
		errno = saved;                                          \
		return r;                                               \
	}

/* --- opens --- */

struct opening {
	uint64_t begun;
	int flags;
	bool known, cuts;
};

/* 0, or -1 with errno: a file at risk is about to be cut, and could not be made durable before. */
static int open_begin(struct opening *o, int dirfd, const char *path, int flags)
{
	o->known = active();
	if (!o->known)
		return 0;
	o->flags = flags;
	o->cuts = path && (flags & O_TRUNC);
	if (o->cuts && drain_name(dirfd, path, !(flags & O_NOFOLLOW)))
		return -1;
	o->begun = sg_guard_open_begins();
	return 0;
}

static int open_end(const struct opening *o, int fd)
{
	int saved = errno;

	if (!o->known || fd < 0)
		return fd;
	sg_guard_opened(fd, o->begun, o->flags);
	if (o->cuts)
		sg_guard_resized_fd(fd);
	errno = saved;
	return fd;
}

/* Does the kernel take a mode from these flags? Only then did the caller pass one. */
static bool has_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

#define OPEN_BEGIN(dirfd, path, flags) open_begin(&o, dirfd, path, flags)
#define SG_OPEN(ret, symbol, params, args, facts, ...)    \
	WRAPPER(ret, symbol, params)                      \
	{                                                 \
		struct opening o = { 0 };                 \
                                                          \
		if (OPEN_BEGIN facts)                     \
			return -1;                        \
		return open_end(&o, sg_next.symbol args); \
	}
#define SG_OPEN_V(ret, symbol, params, args, facts, ...)  \
	WRAPPER(ret, symbol, params)                      \
	{                                                 \
		struct opening o = { 0 };                 \
		mode_t mode = 0;                          \
		va_list ap;                               \
                                                          \
		if (has_mode(flags)) {                    \
			va_start(ap, flags);              \
			mode = va_arg(ap, mode_t);        \
			va_end(ap);                       \
		}                                         \
		if (OPEN_BEGIN facts)                     \
			return -1;                        \
		return open_end(&o, sg_next.symbol args); \
	}
#define TEMP_FLAGS(flags) (flags)
#define SG_TEMP(ret, symbol, params, args, facts, ...)                \
	WRAPPER(ret, symbol, params)                                  \
	{                                                             \
		struct opening o = { 0 };                             \
                                                                      \
		if (open_begin(&o, AT_FDCWD, NULL, TEMP_FLAGS facts)) \
			return -1;                                    \
		return open_end(&o, sg_next.symbol args);             \
	}

/* --- opens by stdio --- */

static int stream_fd(FILE *f)
{
	int saved = errno, fd = fileno(f);

	errno = saved; /* a stream in memory has none */
	return fd;
}

static FILE *stream_opened(struct opening *o, FILE *f)
{
	int fd = f ? stream_fd(f) : -1, saved = errno;

	if (o->known && fd >= 0) {
		/* What the mode string came to; the call cannot fail on an open descriptor. */
		o->flags = sg_next.fcntl(fd, F_GETFL, 0);
		open_end(o, fd);
	}
	errno = saved;
	return f;
}

static int stream_begin(struct opening *o, const char *path, const char *mode)
{
	return open_begin(o, AT_FDCWD, path, *mode == 'w' ? O_TRUNC : 0);
}

#define SG_FOPEN(ret, symbol, params, args, facts, ...)        \
	WRAPPER(ret, symbol, params)                           \
	{                                                      \
		struct opening o = { 0 };                      \
                                                               \
		if (stream_begin(&o, path, mode))              \
			return NULL;                           \
		return stream_opened(&o, sg_next.symbol args); \
	}
#define SG_TMPFILE(ret, symbol, params, args, facts, ...)      \
	WRAPPER(ret, symbol, params)                           \
	{                                                      \
		struct opening o = { 0 };                      \
                                                               \
		open_begin(&o, AT_FDCWD, NULL, 0);             \
		return stream_opened(&o, sg_next.symbol args); \
	}

/* --- closes --- */

enum closing { CLOSE_UNGUARDED, CLOSE_GO, CLOSE_FAILED, CLOSE_PRIVATE };

/*
 * The entry is forgotten before the descriptor is closed: from then on another thread may be given the
 * number, and its entry must not be forgotten in its place. An entry that is made between the two is
 * found to be stale when it is used.
 */
static enum closing close_begin(int fd, int *cancel)
{
	bool private_fd = false;
	int saved = errno, error;

	if (fd < 0 || !active())
		return CLOSE_UNGUARDED;
	*cancel = sg_no_cancel();
	error = sg_guard_closing(fd, &private_fd);
	if (!private_fd)
		sg_guard_closed((unsigned int)fd, (unsigned int)fd);
	errno = saved;
	if (private_fd)
		return CLOSE_PRIVATE;
	return error ? CLOSE_FAILED : CLOSE_GO;
}

/* A descriptor that is no business of ours holds nothing: its entry goes without a call of the guard. */
static void forget_plain(int fd)
{
	uint32_t plain = SG_FD_PLAIN;

	if ((unsigned int)fd < SG_FDS && active())
		atomic_compare_exchange_strong(&sg_guard_fd[fd], &plain, SG_FD_UNKNOWN);
}

#define SG_CLOSE(ret, symbol, params, args, facts, ...) \
	WRAPPER(ret, symbol, params)                    \
	{                                               \
		int cancel = PTHREAD_CANCEL_DISABLE;    \
		enum closing begun;                     \
		ret r;                                  \
                                                        \
		if (sg_guard_is_plain(fd)) {            \
			forget_plain(fd);               \
			return sg_next.symbol args;     \
		}                                       \
		if (active())                           \
			pthread_testcancel();           \
		begun = close_begin(fd, &cancel);       \
		if (begun == CLOSE_UNGUARDED)           \
			return sg_next.symbol args;     \
		if (begun == CLOSE_PRIVATE) {           \
			sg_uncancel(cancel);            \
			errno = EBADF;                  \
			return -1;                      \
		}                                       \
		r = sg_next.symbol args;                \
		sg_uncancel(cancel);                    \
		if (r == 0 && begun == CLOSE_FAILED) {  \
			errno = EIO;                    \
			r = -1;                         \
		}                                       \
		return r;                               \
	}

EXPORT int fclose(FILE *f)
{
	int cancel = PTHREAD_CANCEL_DISABLE, r;
	enum closing begun = close_begin(stream_fd(f), &cancel);

	r = sg_next.fclose(f);
	if (begun == CLOSE_UNGUARDED)
		return r;
	sg_uncancel(cancel);
	if (r == 0 && begun == CLOSE_FAILED) {
		errno = EIO;
		r = EOF;
	}
	return r;
}

/* freopen ignores what closing the old file says (POSIX), and so do we; the guard keeps it. */
#define SG_FREOPEN(ret, symbol, params, args, facts, ...)                  \
	WRAPPER(ret, symbol, params)                                       \
	{                                                                  \
		int cancel = PTHREAD_CANCEL_DISABLE;                       \
		struct opening o = { 0 };                                  \
                                                                           \
		if (stream_begin(&o, path, mode))                          \
			return NULL;                                       \
		if (close_begin(stream_fd(f), &cancel) != CLOSE_UNGUARDED) \
			sg_uncancel(cancel);                               \
		return stream_opened(&o, sg_next.symbol args);             \
	}

/* Our own descriptors in [first, last], ascending. */
#define MOST_PRIVATE 16
static int private_in(unsigned int first, unsigned int last, int *fds)
{
	int all[MOST_PRIVATE], n = sg_guard_private_fds(all, MOST_PRIVATE), found = 0, i, j;

	for (i = 0; i < n; i++) {
		if (all[i] < 0 || (unsigned int)all[i] < first || (unsigned int)all[i] > last)
			continue;
		for (j = found++; j > 0 && fds[j - 1] > all[i]; j--)
			fds[j] = fds[j - 1];
		fds[j] = all[i];
	}
	return found;
}

static int close_gap(unsigned int first, unsigned int last, int flags)
{
	int saved = errno;

	sg_guard_closed(first, last);
	errno = saved;
	return sg_next.close_range(first, last, flags);
}

/* close_range around our own descriptors. */
static int close_gaps(unsigned int first, unsigned int last, int flags)
{
	int spare[MOST_PRIVATE], n = private_in(first, last, spare), i, r = 0;
	unsigned int hole;

	for (i = 0; i < n && r == 0; i++) {
		hole = (unsigned int)spare[i];
		if (hole > first)
			r = close_gap(first, hole - 1, flags);
		first = hole + 1;
	}
	if (r == 0 && first <= last)
		r = close_gap(first, last, flags);
	return r;
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	int cancel, error, saved = errno, r;

	/* What only marks, or is refused, closes nothing. */
	if (first > last || (flags & ~CLOSE_RANGE_UNSHARE) || !active())
		return sg_next.close_range(first, last, flags);
	cancel = sg_no_cancel();
	error = sg_guard_closing_range(first, last);
	errno = saved;
	r = close_gaps(first, last, flags);
	sg_uncancel(cancel);
	if (r == 0 && error) {
		errno = EIO;
		r = -1;
	}
	return r;
}

/* One by one: there is no close_range before Linux 5.9. */
static void close_each(int first, int end)
{
	for (; first < end; first++) {
		sg_guard_closed((unsigned int)first, (unsigned int)first);
		sg_next.close(first);
	}
}

EXPORT void closefrom(int from)
{
	int first = from < 0 ? 0 : from, spare[MOST_PRIVATE], n, i, cancel, saved = errno;

	if (!active()) {
		sg_next.closefrom(from);
		return;
	}
	cancel = sg_no_cancel();
	/* Nothing can be returned; what fails is kept by the guard. */
	sg_guard_closing_range((unsigned int)first, ~0u);
	n = private_in((unsigned int)first, ~0u, spare);
	for (i = 0; i < n; first = spare[i++] + 1)
		if (spare[i] > first &&
		    close_gap((unsigned int)first, (unsigned int)spare[i] - 1, 0) != 0)
			close_each(first, spare[i]);
	sg_guard_closed((unsigned int)first, ~0u);
	errno = saved;
	sg_next.closefrom(first);
	sg_uncancel(cancel);
}

/* --- duplicates --- */

static int duped(int from, int to)
{
	int saved = errno;

	if (to >= 0 && from != to && active())
		sg_guard_duped(from, to);
	errno = saved;
	return to;
}

/* dup2 loses what a close would have reported; a drain that fails is no such thing to lose: the call is
 * not made, as POSIX allows with EIO. A second try finds nothing at risk any more. */
static int replace_begin(int from, int to)
{
	int saved = errno, cancel, error = 0;
	bool private_fd = false;

	if (from == to || to < 0 || !active())
		return 0;
	cancel = sg_no_cancel();
	error = sg_guard_closing(to, &private_fd);
	return drained(error, cancel, saved);
}

#define DUP_FROM(from)	     from
#define DUP2_FROM(from, to)  from
#define DUP2_BEGIN(from, to) replace_begin(from, to)
#define SG_DUP(ret, symbol, params, args, facts, ...)              \
	WRAPPER(ret, symbol, params)                               \
	{                                                          \
		return duped(DUP_FROM facts, sg_next.symbol args); \
	}
#define SG_DUP2(ret, symbol, params, args, facts, ...)              \
	WRAPPER(ret, symbol, params)                                \
	{                                                           \
		if (DUP2_BEGIN facts)                               \
			return -1;                                  \
		return duped(DUP2_FROM facts, sg_next.symbol args); \
	}

static int fcntl_end(int fd, int cmd, int r)
{
	int saved = errno;

	if (r < 0)
		return r;
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return duped(fd, r);
	/* O_APPEND may have gone: the next write may not be an append. */
	if (cmd == F_SETFL && !sg_guard_is_plain(fd) && active())
		sg_guard_reflagged(fd);
	errno = saved;
	return r;
}

#define SG_FCNTL_V(ret, symbol, params, args, facts, ...)                               \
	WRAPPER(ret, symbol, params)                                                    \
	{                                                                               \
		va_list ap;                                                             \
		long arg;                                                               \
                                                                                        \
		/* Number or pointer, or nothing at all: it goes through as it came. */ \
		va_start(ap, cmd);                                                      \
		arg = va_arg(ap, long);                                                 \
		va_end(ap);                                                             \
		return fcntl_end(fd, cmd, sg_next.symbol args);                         \
	}

#include "preload/symbols.def"

/* --- exec with a list --- */

static int list_length(va_list ap)
{
	int n = 1;

	while (va_arg(ap, char *))
		n++;
	return n;
}

/* The arguments after the first, and its NULL. */
static void list_fill(char **argv, const char *first, int n, va_list ap)
{
	int i;

	argv[0] = (char *)first;
	for (i = 1; i <= n; i++)
		argv[i] = va_arg(ap, char *);
}

static int first_length(const char *first, va_list ap)
{
	return first ? list_length(ap) : 0;
}

/* argv lives on the stack, as in libc: these may be called in a vfork child. */
#define EXEC_LIST(call, ...)                                              \
	do {                                                              \
		va_list ap;                                               \
		char **argv;                                              \
		int n;                                                    \
                                                                          \
		va_start(ap, arg);                                        \
		n = first_length(arg, ap);                                \
		va_end(ap);                                               \
		argv = __builtin_alloca(((size_t)n + 1) * sizeof(*argv)); \
		va_start(ap, arg);                                        \
		list_fill(argv, arg, n, ap);                              \
		__VA_ARGS__;                                              \
		va_end(ap);                                               \
		return call;                                              \
	} while (0)

EXPORT int execl(const char *path, const char *arg, ...)
{
	EXEC_LIST(execv(path, argv));
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	EXEC_LIST(execvp(file, argv));
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	char *const *env;

	EXEC_LIST(execve(path, argv, env), env = va_arg(ap, char *const *));
}
