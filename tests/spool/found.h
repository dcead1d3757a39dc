/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* What verify and recover found, remembered; and how files compare. */
#ifndef SG_TESTS_SPOOL_FOUND_H
#define SG_TESTS_SPOOL_FOUND_H

#include "make.h"

#define FOUND_MAX 256

struct found {
	struct spool_finding v[FOUND_MAX];
	char file[FOUND_MAX][64], kept[FOUND_MAX][64];
	unsigned int n;
	uint64_t done, total;
	unsigned int calls;
};

MAKE_UNUSED static void found_one(void *arg, const struct spool_finding *f)
{
	struct found *all = arg;

	if (all->n < FOUND_MAX) {
		all->v[all->n] = *f;
		snprintf(all->file[all->n], 64, "%s", f->file ? f->file : "");
		snprintf(all->kept[all->n], 64, "%s", f->quarantined ? f->quarantined : "");
	}
	all->n++;
}

MAKE_UNUSED static void found_progress(void *arg, uint64_t done, uint64_t total)
{
	struct found *all = arg;

	must(done >= all->done && done <= total, "progress");
	all->done = done;
	all->total = total;
	all->calls++;
}

static struct spool_check_config found_config(struct found *all)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;

	memset(all, 0, sizeof(*all));
	c.format = SPOOL_FORMAT_NATIVE;
	c.found = found_one;
	c.progress = found_progress;
	c.arg = all;
	return c;
}

MAKE_UNUSED static int verify(const struct dir *d, struct found *all, struct spool_summary *sum)
{
	struct spool_check_config c = found_config(all);

	return spool_verify(d->path, &c, sum);
}

MAKE_UNUSED static int recover(const struct dir *d, struct found *all, struct spool_summary *sum)
{
	struct spool_check_config c = found_config(all);

	return spool_recover(d->path, &c, sum);
}

/* Is the i-th finding this one? */
MAKE_UNUSED static bool found_is(const struct found *all, unsigned int i,
				 enum spool_finding_kind kind, uint64_t number, uint64_t offset,
				 uint64_t bytes)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, kind == SPOOL_FOUND_INDEX ? SG_INDEX : SG_SEGMENT);
	return i < all->n && all->v[i].kind == kind && all->v[i].offset == offset &&
	       all->v[i].bytes == bytes && strcmp(all->file[i], name) == 0 && all->v[i].why;
}

MAKE_UNUSED static bool found_cost(const struct found *all, unsigned int i, uint64_t from,
				   uint64_t to, uint64_t durable)
{
	return i < all->n && all->v[i].from_seq == from && all->v[i].to_seq == to &&
	       all->v[i].durable == durable;
}

/* Does a finding's quarantined file hold exactly these bytes? */
MAKE_UNUSED static bool found_kept(const struct dir *d, const struct found *all, unsigned int i,
				   const uint8_t *p, size_t n)
{
	char name[128];
	struct made m;
	bool same;

	if (i >= all->n || !all->kept[i][0])
		return false;
	snprintf(name, sizeof(name), "quarantine/%s", all->kept[i]);
	m = dir_get(d, name);
	same = m.p && m.n == n && memcmp(m.p, p, n) == 0;
	made_free(&m);
	return same;
}

/* How many files lie in a directory below d. */
MAKE_UNUSED static unsigned int dir_count(const struct dir *d, const char *below)
{
	int fd = openat(d->fd, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	unsigned int n = 0;
	struct dirent *e;

	while (list && (e = readdir(list)) != NULL)
		n += e->d_name[0] != '.';
	if (list)
		closedir(list);
	return n;
}

#endif
