/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Spools made by hand: bytes of segments, and directories that hold them. */
#ifndef SG_TESTS_SPOOL_MAKE_H
#define SG_TESTS_SPOOL_MAKE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/dir.h"
#include "spool/frame.h"

#define MAKE_UNUSED __attribute__((unused))

struct made {
	uint8_t *p;
	size_t n, room;
};

static const uint8_t MAKE_ID[SPOOL_ID_BYTES] = "sixteen bytes id";
static const uint8_t MAKE_OTHER_ID[SPOOL_ID_BYTES] = "another spool's.";

MAKE_UNUSED static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

MAKE_UNUSED static void made_add(struct made *m, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (m->n + n > m->room) {
		m->room = 2 * (m->n + n);
		m->p = realloc(m->p, m->room);
		must(m->p != NULL, "realloc");
	}
	if (p)
		memcpy(m->p + m->n, p, n);
	else
		memset(m->p + m->n, 0, n);
	m->n += n;
}

MAKE_UNUSED static void made_free(struct made *m)
{
	free(m->p);
	*m = (struct made){ 0 };
}

MAKE_UNUSED static void made_header(struct made *m, const uint8_t *id, uint64_t first,
				    uint32_t flags)
{
	struct sg_segment_header h = { .first_seq = first, .created_ns = 7, .flags = flags };
	uint8_t raw[SG_HEADER_BYTES];

	memcpy(h.id, id, SPOOL_ID_BYTES);
	sg_segment_header_write(raw, &h);
	made_add(m, raw, sizeof(raw));
}

MAKE_UNUSED static void made_frame_of(struct made *m, const uint8_t *id, uint64_t seq,
				      uint32_t at_risk, const void *payload, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)payload, len };
	struct sg_frame f = {
		.len = (uint32_t)len, .at_risk = at_risk, .seq = seq, .time_ns = 1000 + seq
	};
	uint8_t raw[SG_FRAME_BYTES];

	sg_frame_header_write(raw, &f, sg_frame_seed(id), &iov, 1);
	made_add(m, raw, sizeof(raw));
	if (len)
		made_add(m, payload, len);
}

/* Record seq of MAKE_ID, `len` bytes that depend on seq and have no zeros. */
MAKE_UNUSED static void made_frame(struct made *m, uint64_t seq, size_t len)
{
	uint8_t *payload = malloc(len + 1);
	size_t i;

	must(payload != NULL, "malloc");
	for (i = 0; i < len; i++)
		payload[i] = (uint8_t)(1 + (seq * 31 + i * 7) % 255);
	made_frame_of(m, MAKE_ID, seq, 0, payload, len);
	free(payload);
}

/* A directory that is gone after dir_end(). */
struct dir {
	char path[64];
	int fd;
};

/* In memory where that is to be had: thousands of small spools want no disk. */
MAKE_UNUSED static struct dir dir_begin(void)
{
	struct dir d = { "/dev/shm/spoolguard-test.XXXXXX", -1 };

	if (access("/dev/shm", W_OK) != 0)
		strcpy(d.path, "/tmp/spoolguard-test.XXXXXX");
	must(mkdtemp(d.path) != NULL, "mkdtemp");
	d.fd = sg_dir_open(d.path);
	must(d.fd >= 0, "open");
	return d;
}

MAKE_UNUSED static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	return remove(path);
}

MAKE_UNUSED static void dir_end(struct dir *d)
{
	close(d->fd);
	nftw(d->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

MAKE_UNUSED static void dir_put(const struct dir *d, const char *name, const void *p, size_t n)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	must(fd >= 0, name);
	must(sg_pwrite_all(fd, p, n, 0) == 0, name);
	close(fd);
}

MAKE_UNUSED static void dir_put_segment(const struct dir *d, uint64_t number, const struct made *m)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, SG_SEGMENT);
	dir_put(d, name, m->p, m->n);
}

/* The bytes of a file, n = 0 and p = NULL if there is none. */
MAKE_UNUSED static struct made dir_get(const struct dir *d, const char *name)
{
	int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC);
	struct made m = { 0 };
	struct stat st;

	if (fd < 0)
		return m;
	must(fstat(fd, &st) == 0, name);
	made_add(&m, NULL, (size_t)st.st_size + 1);
	must(sg_pread_all(fd, m.p, m.n, 0, &m.n) == 0, name);
	close(fd);
	return m;
}

MAKE_UNUSED static struct made dir_get_segment(const struct dir *d, uint64_t number)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, SG_SEGMENT);
	return dir_get(d, name);
}

MAKE_UNUSED static bool made_same(const struct made *a, const struct made *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

#endif
