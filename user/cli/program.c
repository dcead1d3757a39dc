// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define INTERPRETERS 4 /* a script of a script of …: the kernel allows as many */
#define HEADERS	     256

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_segment;
typedef Elf64_Shdr elf_section;
#define OUR_CLASS ELFCLASS64
#else
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_segment;
typedef Elf32_Shdr elf_section;
#define OUR_CLASS ELFCLASS32
#endif

#if defined(__x86_64__)
#define OUR_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#elif defined(__riscv)
#define OUR_MACHINE EM_RISCV
#elif defined(__s390x__)
#define OUR_MACHINE EM_S390
#elif defined(__powerpc64__)
#define OUR_MACHINE EM_PPC64
#else
#define OUR_MACHINE EM_NONE
#endif

static int may_run(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EACCES;
	return access(path, X_OK) ? -errno : 0;
}

int program_find(const char *name, char path[PATH_MAX])
{
	const char *dir = getenv("PATH"), *end;
	int err, result = -ENOENT;

	if (!*name)
		return -ENOENT;
	if (strchr(name, '/')) {
		if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
			return -ENAMETOOLONG;
		return may_run(path);
	}
	for (dir = dir ? dir : "/bin:/usr/bin";; dir = end + 1) {
		end = strchrnul(dir, ':');
		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)(end - dir), dir,
			     end > dir ? "/" : "", name) < PATH_MAX) {
			err = may_run(path);
			if (!err)
				return 0;
			if (err == -EACCES) /* goes on looking, but this is then what to tell */
				result = err;
		}
		if (!*end)
			return result;
	}
}

/* "#!/bin/sh -e": the interpreter's path. */
static bool interpreter(const char *head, ssize_t n, char path[PATH_MAX])
{
	const char *at = head + 2, *end;

	if (n < 3 || head[0] != '#' || head[1] != '!')
		return false;
	at += strspn(at, " \t");
	end = at + strcspn(at, " \t\r\n");
	if (end == at || end - at >= PATH_MAX)
		return false;
	memcpy(path, at, end - at);
	path[end - at] = 0;
	return true;
}

static bool is_secure(const char *path)
{
	struct statvfs fs;
	struct stat st;

	if (stat(path, &st) || statvfs(path, &fs) || fs.f_flag & ST_NOSUID)
		return false;
	if (st.st_mode & S_ISUID && st.st_uid != getuid())
		return true;
	if (st.st_mode & S_ISGID && st.st_mode & S_IXGRP && st.st_gid != getgid())
		return true;
	return geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0;
}

static bool has_segment(int fd, const elf_header *h, uint32_t type)
{
	elf_segment s;
	unsigned int i;

	for (i = 0; i < h->e_phnum && i < HEADERS; i++) {
		if (pread(fd, &s, sizeof(s), h->e_phoff + i * sizeof(s)) != sizeof(s))
			return false;
		if (s.p_type == type)
			return true;
	}
	return false;
}

static bool has_section(int fd, const elf_header *h, const char *name)
{
	elf_section names, s;
	char found[32];
	unsigned int i;

	if (h->e_shentsize != sizeof(s) ||
	    pread(fd, &names, sizeof(names), h->e_shoff + h->e_shstrndx * sizeof(s)) !=
		    sizeof(names))
		return false;
	for (i = 0; i < h->e_shnum && i < HEADERS; i++) {
		memset(found, 0, sizeof(found));
		if (pread(fd, &s, sizeof(s), h->e_shoff + i * sizeof(s)) != sizeof(s) ||
		    pread(fd, found, sizeof(found) - 1, names.sh_offset + s.sh_name) <= 0)
			return false;
		if (!strcmp(found, name))
			return true;
	}
	return false;
}

static enum program_reach judge_elf(int fd, const elf_header *h)
{
	if (h->e_ident[EI_CLASS] != OUR_CLASS || h->e_machine != OUR_MACHINE ||
	    h->e_phentsize != sizeof(elf_segment))
		return PROGRAM_FOREIGN;
	if (!has_segment(fd, h, PT_INTERP))
		return PROGRAM_STATIC;
	return has_section(fd, h, ".go.buildinfo") ? PROGRAM_GO : PROGRAM_REACHED;
}

enum program_reach program_judge(const char *path)
{
	enum program_reach r = PROGRAM_REACHED;
	char at[PATH_MAX], next[PATH_MAX];
	union {
		elf_header elf;
		char text[256];
	} head;
	unsigned int i;
	ssize_t n;
	int fd;

	snprintf(at, sizeof(at), "%s", path);
	for (i = 0; i < INTERPRETERS; i++) {
		fd = open(at, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		memset(&head, 0, sizeof(head));
		n = fd < 0 ? -1 : pread(fd, &head, sizeof(head) - 1, 0);
		if (n >= (ssize_t)sizeof(head.elf) && !memcmp(head.elf.e_ident, ELFMAG, SELFMAG))
			r = judge_elf(fd, &head.elf);
		if (fd >= 0)
			close(fd);
		if (!interpreter(head.text, n, next))
			return r == PROGRAM_REACHED && is_secure(at) ? PROGRAM_SECURE : r;
		strcpy(at, next);
	}
	return r;
}

const char *program_reach_why(enum program_reach r)
{
	switch (r) {
	case PROGRAM_STATIC:
		return "is linked statically, so no preload reaches it";
	case PROGRAM_SECURE:
		return "gains privileges when it starts, so its dynamic linker ignores LD_PRELOAD";
	case PROGRAM_FOREIGN:
		return "is of another machine type than the preload library";
	case PROGRAM_GO:
		return "is a Go program, whose system calls pass every preload by";
	default:
		return "is reached";
	}
}

static bool exists(const char *path, char *looked, size_t size)
{
	size_t n = strlen(looked);

	snprintf(looked + n, size - n, "%s%s", n ? ", " : "", path);
	return !access(path, R_OK);
}

int program_preload(char path[PATH_MAX], char *looked, size_t size)
{
	static const char *const places[] = { "libspoolguard-preload.so",
					      "../lib/spoolguard/libspoolguard-preload.so" };
	const char *env = getenv("SPOOLGUARD_PRELOAD");
	char self[PATH_MAX], candidate[PATH_MAX + 64];
	unsigned int i;
	ssize_t n;

	looked[0] = 0;
	if (env && *env)
		return exists(env, looked, size) && realpath(env, path) ? 0 : -ENOENT;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return -ENOENT;
	self[n] = 0;
	n = strrchr(self, '/') - self + 1;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(candidate, sizeof(candidate), "%.*s%s", (int)n, self, places[i]);
		if (exists(candidate, looked, size) && realpath(candidate, path))
			return 0;
	}
	return -ENOENT;
}
