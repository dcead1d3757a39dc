/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* For the tests of foreign formats: directories, files, and what a scan gives. */
#ifndef SG_TESTS_FOREIGN_H
#define SG_TESTS_FOREIGN_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/bytes.h"
#include "spool/crc32c.h"
#include "spoolguard/spool.h"
#include "tap.h"

#define MAX_RECORDS 128

struct bytes {
	uint8_t *p;
	size_t n, room;
};

struct rec {
	uint8_t data[256];
	size_t len;
	uint64_t seq, lost;
};

struct recs {
	struct rec v[MAX_RECORDS];
	size_t n;
};

/* ---- files ---- */

static inline void make_dir(char path[64])
{
	strcpy(path, "/tmp/spoolguard-test.XXXXXX");
	if (!mkdtemp(path))
		abort();
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static inline void remove_dir(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void put_file(const char *dir, const char *name, const void *data, size_t n)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f) != 0)
		abort();
}

/* Free the result; n is SIZE_MAX where there is no such file. */
static inline struct bytes get_file(const char *dir, const char *name)
{
	struct bytes b = { .n = SIZE_MAX };
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	if (!f)
		return b;
	b.p = malloc(1 << 20);
	b.n = fread(b.p, 1, 1 << 20, f);
	fclose(f);
	return b;
}

static inline bool file_is(const char *dir, const char *name, const void *data, size_t n)
{
	struct bytes b = get_file(dir, name);
	bool same = b.n == n && (n == 0 || memcmp(b.p, data, n) == 0);

	free(b.p);
	return same;
}

static inline void add(struct bytes *b, const void *data, size_t n)
{
	if (b->n + n >= b->room) {
		b->room = 2 * (b->n + n) + 64;
		b->p = realloc(b->p, b->room);
	}
	if (n)
		memcpy(b->p + b->n, data, n);
	b->n += n;
}

static inline void add32(struct bytes *b, uint32_t v)
{
	uint8_t raw[4];

	sg_put32(raw, v);
	add(b, raw, 4);
}

static inline void add64(struct bytes *b, uint64_t v)
{
	uint8_t raw[8];

	sg_put64(raw, v);
	add(b, raw, 8);
}

static inline void add16(struct bytes *b, uint16_t v)
{
	uint8_t raw[2];

	sg_put16(raw, v);
	add(b, raw, 2);
}

static inline void drop(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){ 0 };
}

/* ---- what the library says ---- */

struct told {
	unsigned int n, of[16]; /* by kind */
	struct spool_finding last;
	char file[256], kept[512], why[128];
	uint64_t kept_n;
};

static inline void note(void *arg, const struct spool_finding *f)
{
	struct told *t = arg;

	t->n++;
	t->of[f->kind]++;
	t->last = *f;
	snprintf(t->file, sizeof(t->file), "%s", f->file);
	snprintf(t->why, sizeof(t->why), "%s", f->why ? f->why : "");
	if (f->quarantined) {
		snprintf(t->kept, sizeof(t->kept), "%s", f->quarantined);
		t->kept_n++;
	}
}

static inline int verify(const char *dir, struct told *t, struct spool_summary *s)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;

	memset(t, 0, sizeof(*t));
	c.found = note;
	c.arg = t;
	return spool_verify(dir, &c, s);
}

static inline int recover(const char *dir, bool dry, struct told *t, struct spool_summary *s)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;

	memset(t, 0, sizeof(*t));
	c.found = note;
	c.arg = t;
	c.dry_run = dry;
	return spool_recover(dir, &c, s);
}

/* All records that a scan gives. 0, or its error. */
static inline int scan(const char *dir, uint64_t from, struct recs *out)
{
	struct spool_record r;
	struct spool_scan *s;
	struct rec *o;
	int err = spool_scan_open(&s, dir, SPOOL_FORMAT_DETECT, from);

	out->n = 0;
	if (err)
		return err;
	while ((err = spool_scan_next(s, &r)) == 0) {
		o = &out->v[out->n++];
		if (out->n == MAX_RECORDS || r.len > sizeof(o->data))
			abort();
		o->seq = r.seq;
		o->lost = r.lost;
		o->len = r.len;
		if (r.len)
			memcpy(o->data, r.data, r.len);
	}
	spool_scan_close(s);
	return err == -ENODATA ? 0 : err;
}

/* Does a scan of dir give exactly those of `all` that `keep` says, in order? */
static inline bool gives(const char *dir, const struct recs *all, const bool *keep)
{
	static struct recs got;
	size_t i, g = 0;

	if (scan(dir, 0, &got) != 0)
		return false;
	for (i = 0; i < all->n; i++) {
		if (!keep[i])
			continue;
		if (g == got.n || got.v[g].len != all->v[i].len ||
		    memcmp(got.v[g].data, all->v[i].data, all->v[i].len) != 0)
			return false;
		g++;
	}
	return g == got.n;
}

/* Every n-th step of a sweep; SPOOL_SWEEP=full: each. */
static inline size_t stride(size_t n)
{
	const char *s = getenv("SPOOL_SWEEP");

	return s && !strcmp(s, "full") ? 1 : n;
}

/* Payloads of many lengths, zeros and short ones among them, none like another but the empty ones. */
static inline void fill(struct recs *r, size_t n)
{
	static const size_t lens[] = { 17, 4, 0, 33, 1, 60, 0, 0, 12, 3, 2, 25 };
	size_t i, j;

	r->n = n;
	for (i = 0; i < n; i++) {
		r->v[i].len = i + 1 == n ? 19 : lens[i % 12];
		for (j = 0; j < r->v[i].len; j++)
			r->v[i].data[j] = (uint8_t)(i % 5 == 3 && j > 2 ? 0 : i * 7 + j * 31 + 1);
	}
}

#endif
