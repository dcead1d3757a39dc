// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * From the names that the observer collected to a path that can be opened.
 *
 * With an open file the names reach through all mounts up to the root of its mount namespace. Of an
 * inode alone (a page dirtied through mmap) they end at the root of its file system; then our own
 * mount table says where that is. Either way the result is looked up again: a name may have gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "internal.h"

struct mount_entry {
	dev_t dev;
	char *root;
	char *point;
};

struct sg_mounts {
	size_t n;
	struct mount_entry entry[];
};

/* \040 and its like, as the kernel writes them. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* st_dev of a place without asking a server or a hung disk for more than it has in memory. */
static int cheap_stat(const char *path, dev_t *dev, __u64 *ino)
{
	struct statx s;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_INO, &s))
		return -errno;
	*dev = makedev(s.stx_dev_major, s.stx_dev_minor);
	*ino = s.stx_ino;
	return 0;
}

static bool parse_mount(char *line, struct mount_entry *e)
{
	unsigned int maj, min;
	char root[1024], point[1024], *type;
	__u64 ino;

	if (sscanf(line, "%*d %*d %u:%u %1023s %1023s", &maj, &min, root, point) != 4)
		return false;
	unescape(root);
	unescape(point);
	e->dev = makedev(maj, min);
	type = strstr(line, " - ");
	/* The table has the superblock's number; files have their subvolume's. */
	if (type && !strncmp(type + 3, "btrfs ", 6))
		cheap_stat(point, &e->dev, &ino);
	e->root = strdup(root);
	e->point = strdup(point);
	return e->root && e->point;
}

void sg_mounts_free(struct sg_mounts *m)
{
	size_t i;

	if (!m)
		return;
	for (i = 0; i < m->n; i++) {
		free(m->entry[i].root);
		free(m->entry[i].point);
	}
	free(m);
}

struct sg_mounts *sg_mounts_read(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	struct sg_mounts *m = calloc(1, sizeof(*m)), *more;
	size_t room = 0, size = 0;
	char *line = NULL;

	while (f && m && getline(&line, &size, f) > 0) {
		if (m->n == room) {
			room = room ? 2 * room : 32;
			more = realloc(m, sizeof(*m) + room * sizeof(m->entry[0]));
			if (!more)
				break;
			m = more;
		}
		memset(&m->entry[m->n], 0, sizeof(m->entry[0]));
		if (parse_mount(line, &m->entry[m->n])) {
			m->n++;
		} else {
			free(m->entry[m->n].root);
			free(m->entry[m->n].point);
		}
	}
	free(line);
	if (f)
		fclose(f);
	return m;
}

/* Names from the leaf up, to "/a/b/leaf". Returns the length, 0 when it has no room. */
static size_t join_names(const struct sg_path *p, char *out, size_t size)
{
	size_t bytes = p->bytes < sizeof(p->names) ? p->bytes : sizeof(p->names);
	size_t need = bytes, at = need, i = 0;

	if (need + 1 > size || size < 2)
		return 0;
	if (!bytes) { /* the root itself */
		memcpy(out, "/", 2);
		return 1;
	}
	out[need] = 0;
	while (i < bytes) {
		size_t n = strnlen(p->names + i, bytes - i);

		if (n + 1 > at)
			return 0;
		at -= n;
		memcpy(out + at, p->names + i, n);
		out[--at] = '/';
		i += n + 1;
	}
	memmove(out, out + at, need - at + 1);
	return need - at;
}

/* A path within a file system, under the place where that part of it is mounted. */
static bool under_mount(const struct sg_mounts *m, dev_t dev, const char *path, char *out,
			size_t size)
{
	size_t i;

	for (i = m ? m->n : 0; i--;) {
		const struct mount_entry *e = &m->entry[i];
		size_t n = !strcmp(e->root, "/") ? 0 : strlen(e->root);
		int len;

		if (e->dev != dev || strncmp(path, e->root, n) != 0 || path[n] != '/')
			continue;
		len = snprintf(out, size, "%s%s", strcmp(e->point, "/") ? e->point : "", path + n);
		return len > 0 && (size_t)len < size;
	}
	return false;
}

static bool leads_to(const char *path, const struct sg_file_key *key)
{
	dev_t dev = 0;
	__u64 ino = 0;

	return !cheap_stat(path, &dev, &ino) && dev == sg_dev_from_kernel(key->dev) &&
	       ino == key->ino;
}

enum sg_path_state sg_path_make(const struct sg_mounts *m, const struct sg_path *p,
				const struct sg_file_key *key, char *out, size_t size)
{
	char inner[SG_OBSERVE_PATH_MAX];

	out[0] = 0;
	if (!join_names(p, inner, sizeof(inner)))
		return SG_PATH_NONE;
	if (p->flags & SG_PATH_CUT) {
		snprintf(out, size, "…%.*s", (int)size - 8, inner);
		return SG_PATH_PARTIAL;
	}
	if (!(p->flags & SG_PATH_FROM_INODE)) {
		snprintf(out, size, "%s", inner);
	} else if (!under_mount(m, sg_dev_from_kernel(key->dev), inner, out, size)) {
		snprintf(out, size, "…%.*s", (int)size - 8, inner);
		return SG_PATH_PARTIAL;
	}
	return leads_to(out, key) ? SG_PATH_OK : SG_PATH_STALE;
}
