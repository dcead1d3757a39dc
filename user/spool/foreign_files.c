// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/foreign_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/audit.h"
#include "spool/commitlog.h"
#include "spool/dir.h"

/* ---- listing ---- */

static int add(struct sg_foreign_files *files, size_t *room, const struct sg_foreign_file *f)
{
	struct sg_foreign_file *v;

	if (files->n == *room) {
		*room = *room ? 2 * *room : 64;
		v = reallocarray(files->v, *room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		files->v = v;
	}
	files->v[files->n++] = *f;
	return 0;
}

/* Is it one of this format's files? */
static bool parse(const char *name, enum spool_format format, struct sg_foreign_file *f)
{
	char data[SG_FOREIGN_NAME_BYTES];
	size_t len = strlen(name), side = strlen(SG_AUDIT_SIDECAR);

	*f = (struct sg_foreign_file){ 0 };
	if (format == SPOOL_FORMAT_COMMITLOG)
		return sg_dir_number(name, SG_CL_SUFFIX, &f->number);
	if (sg_audit_name(name, &f->number, &f->pid))
		return true;
	if (len <= side || len - side >= sizeof(data) ||
	    strcmp(name + len - side, SG_AUDIT_SIDECAR) != 0)
		return false;
	memcpy(data, name, len - side);
	data[len - side] = '\0';
	f->orphan = true; /* until its file is seen */
	return sg_audit_name(data, &f->number, &f->pid);
}

static int by_order(const void *x, const void *y)
{
	const struct sg_foreign_file *a = x, *b = y;

	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->orphan - b->orphan;
}

/* Sidecars that follow their files are not files of their own. */
static void drop_sidecars(struct sg_foreign_files *files)
{
	struct sg_foreign_file *v = files->v;
	size_t i, n = 0;

	for (i = 0; i < files->n; i++)
		if (!v[i].orphan || n == 0 || v[n - 1].number != v[i].number ||
		    v[n - 1].pid != v[i].pid)
			v[n++] = v[i];
	files->n = n;
}

static int add_entry(int dirfd, enum spool_format format, const char *name,
		     struct sg_foreign_files *files, size_t *room)
{
	struct sg_foreign_file f;
	struct stat st;

	if (!parse(name, format, &f))
		return 0;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	files->bytes += f.orphan ? 0 : (uint64_t)st.st_size;
	return add(files, room, &f);
}

int sg_foreign_list(int dirfd, enum spool_format format, struct sg_foreign_files *files)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	struct dirent *e;
	size_t room = 0;
	DIR *d;

	*files = (struct sg_foreign_files){ 0 };
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (errno = 0, e = readdir(d)) != NULL)
		err = add_entry(dirfd, format, e->d_name, files, &room);
	if (!err)
		err = -errno;
	closedir(d);
	if (files->n) {
		qsort(files->v, files->n, sizeof(*files->v), by_order);
		drop_sidecars(files);
	}
	return err;
}

void sg_foreign_files_free(struct sg_foreign_files *files)
{
	free(files->v);
	*files = (struct sg_foreign_files){ 0 };
}

void sg_foreign_name(const struct sg_foreign_file *f, enum spool_format format,
		     char out[SG_FOREIGN_NAME_BYTES])
{
	if (format == SPOOL_FORMAT_COMMITLOG) {
		sg_dir_name(out, f->number, SG_CL_SUFFIX);
		return;
	}
	sg_audit_name_write(out, f->number, f->pid);
	if (f->orphan)
		strcat(out, SG_AUDIT_SIDECAR);
}

/* ---- who writes ---- */

static bool is_ours(const struct sg_foreign_files *files, const struct stat *st)
{
	size_t i;

	for (i = 0; i < files->n; i++)
		if (files->v[i].ino == st->st_ino && files->v[i].dev == st->st_dev)
			return true;
	return false;
}

static bool has_pid(const struct sg_foreign_files *files, const char *pid)
{
	unsigned long n = strtoul(pid, NULL, 10);
	size_t i;

	for (i = 0; i < files->n; i++)
		if (files->v[i].pid == n)
			return true;
	return false;
}

/* Was this descriptor opened for writing? What vanishes meanwhile was not. */
static bool writes(const char *pid, const char *fd)
{
	char path[64], line[64];
	unsigned int flags = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	fclose(f);
	return (flags & O_ACCMODE) != O_RDONLY;
}

static bool process_writes(const struct sg_foreign_files *files, const char *pid, bool audit)
{
	bool found = false;
	struct dirent *e;
	struct stat st;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	d = opendir(path);
	if (!d)
		return errno != ENOENT && errno != ESRCH && audit && has_pid(files, pid);
	while (!found && (e = readdir(d)) != NULL)
		if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
		    is_ours(files, &st))
			found = writes(pid, e->d_name);
	closedir(d);
	return found;
}

/*
 * A read lease is granted only where nobody has the file open for writing, or mapped so: the kernel's own count, which
 * sees all processes. It is given back at once; should somebody open the file meanwhile, the signal is one
 * that does nothing by default (SIGIO would end the process).
 *
 * 1: nobody, 0: somebody, -1: no answer (not our file, or not this file system).
 */
static int ask_by_lease(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) != 0)
		return -1;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return errno == EAGAIN ? 0 : -1;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return 1;
}

/* By lock and lease: *busy, and whether /proc is to be asked besides. */
static int ask_files(int dir, enum spool_format format, const struct sg_foreign_files *files,
		     bool *busy, bool *unsure)
{
	char name[SG_FOREIGN_NAME_BYTES];
	int fd, answer;
	size_t i;

	for (i = 0; i < files->n && !*busy; i++) {
		sg_foreign_name(&files->v[i], format, name);
		fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return -errno;
		*busy = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
		answer = *busy ? 0 : ask_by_lease(fd);
		*busy = answer == 0;
		*unsure = *unsure || answer < 0;
		close(fd);
	}
	return 0;
}

int sg_foreign_busy(int dir, enum spool_format format, const struct sg_foreign_files *files,
		    bool *busy)
{
	bool unsure = false;
	struct dirent *e;
	DIR *d;
	int err;

	*busy = false;
	err = ask_files(dir, format, files, busy, &unsure);
	if (err || *busy || !unsure)
		return err;
	d = opendir("/proc");
	if (!d)
		return -errno;
	while (!*busy && (e = readdir(d)) != NULL)
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			*busy = process_writes(files, e->d_name, format == SPOOL_FORMAT_AUDIT);
	closedir(d);
	return 0;
}
