// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The next definition of every wrapped symbol. */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/preload.h"

static void *find(const char *symbol);

/* --- first: what a pointer is until the constructor has run --- */

#define FIRST_SYSCALL(ret, symbol, args, nr, ...) return (ret)syscall(SYS_##nr, ##__VA_ARGS__)
#define FIRST_LOOKUP(ret, symbol, args)                    \
	do {                                               \
		sg_next.symbol = find(#symbol);            \
		if (!sg_next.symbol)                       \
			sg_next.symbol = missing_##symbol; \
		return (ret)sg_next.symbol args;           \
	} while (0)

#define SG_ANY(ret, symbol, params, args, facts, how, ...)         \
	static __attribute__((unused)) ret missing_##symbol params \
	{                                                          \
		errno = ENOSYS;                                    \
		return (ret)-1;                                    \
	}                                                          \
	static ret first_##symbol params                           \
	{                                                          \
		FIRST_##how(ret, symbol, args, ##__VA_ARGS__);     \
	}
/* mode and arg are passed on as they came: the wrappers always hand one over. */
#define SG_WITH(type, last, name, ret, symbol, params, args, facts, how, ...) \
	static __attribute__((unused)) ret missing_##symbol params            \
	{                                                                     \
		errno = ENOSYS;                                               \
		return (ret)-1;                                               \
	}                                                                     \
	static ret first_##symbol params                                      \
	{                                                                     \
		va_list ap;                                                   \
		type name;                                                    \
                                                                              \
		va_start(ap, last);                                           \
		name = va_arg(ap, type);                                      \
		va_end(ap);                                                   \
		FIRST_##how(ret, symbol, args, ##__VA_ARGS__);                \
	}
#define SG_OPEN_V(...)	SG_WITH(mode_t, flags, mode, __VA_ARGS__)
#define SG_FCNTL_V(...) SG_WITH(long, cmd, arg, __VA_ARGS__)
/* A stdio call that is missing answers NULL, not -1. */
#define SG_STREAM(ret, symbol, params, args, facts, how) \
	static ret missing_##symbol params               \
	{                                                \
		errno = ENOSYS;                          \
		return NULL;                             \
	}                                                \
	static ret first_##symbol params                 \
	{                                                \
		FIRST_##how(ret, symbol, args);          \
	}
#define SG_FOPEN(...)	SG_STREAM(__VA_ARGS__)
#define SG_FREOPEN(...) SG_STREAM(__VA_ARGS__)
#define SG_TMPFILE(...) SG_STREAM(__VA_ARGS__)
#include "preload/symbols.def"

struct sg_next sg_next = {
#define SG_ANY(ret, symbol, ...) .symbol = first_##symbol,
#include "preload/symbols.def"
};

/* --- lookup --- */

/* Before glibc 2.36 RTLD_NEXT gave the oldest of several versions. These have more than one. */
static const struct {
	const char *symbol, *version;
} versioned[] = {
	{ "quick_exit", "GLIBC_2.24" },
};

static void *find_version(const char *symbol, const char *version)
{
	/* Not in musl, so not by name. */
	void *(*versioned_lookup)(void *, const char *, const char *) =
		dlsym(RTLD_DEFAULT, "dlvsym");

	return versioned_lookup ? versioned_lookup(RTLD_NEXT, symbol, version) : NULL;
}

static void *find(const char *symbol)
{
	void *found;
	size_t i;

	for (i = 0; i < sizeof(versioned) / sizeof(versioned[0]); i++) {
		if (strcmp(versioned[i].symbol, symbol) != 0)
			continue;
		found = find_version(symbol, versioned[i].version);
		if (found)
			return found;
	}
	/* Not as a tail call: the loader asks who the caller is. */
	found = dlsym(RTLD_NEXT, symbol);
	return found;
}

void *sg_next_find(const char *symbol)
{
	return find(symbol);
}

void sg_next_resolve(void)
{
	void *found;

	/* A symbol that libc lacks keeps its first function: the system call, or ENOSYS. */
#define SG_ANY(ret, symbol, ...) \
	found = find(#symbol);   \
	if (found)               \
		sg_next.symbol = (ret(*) SG_PARAMS(__VA_ARGS__))found;
#define SG_PARAMS(params, ...) params
#include "preload/symbols.def"
}

/* --- who else is there --- */

static const char *library_of(const void *address, void **base)
{
	Dl_info info;

	if (!address || !dladdr(address, &info) || !info.dli_fname)
		return NULL;
	*base = info.dli_fbase;
	return info.dli_fname;
}

static const char *short_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *sg_next_interposed(void)
{
	void *libc = NULL, *beneath = NULL, *above = NULL, *self = NULL;
	const char *name;

	/* errno's address is libc's own business: nobody interposes it. */
	if (!library_of((const void *)__errno_location, &libc) ||
	    !library_of((const void *)&sg_next, &self))
		return NULL;
	name = library_of((const void *)sg_next.fsync, &beneath);
	/* Before 2.34 fsync was libpthread's as well. */
	if (name && beneath != libc && beneath != self &&
	    strncmp(short_name(name), "libpthread", 10) != 0)
		return short_name(name);
	name = library_of(dlsym(RTLD_DEFAULT, "fsync"), &above);
	if (name && above != self && above != libc)
		return short_name(name);
	return NULL;
}
