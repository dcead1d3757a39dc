// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/dir.h"
#include "spool/frame.h"

#define BATCH 128u /* entries read or written at once */

/* ---- building ---- */

static void halve(struct sg_index *x)
{
	size_t i;

	for (i = 0; 2 * i < x->n; i++)
		x->v[i] = x->v[2 * i];
	x->n = i;
	x->stride_bytes *= 2;
}

int sg_index_add(struct sg_index *x, uint64_t seq, uint64_t offset)
{
	struct sg_index_place *v;
	size_t room;

	if (!x->stride_bytes)
		x->stride_bytes = SG_INDEX_STRIDE;
	if (x->n && offset - x->v[x->n - 1].offset < x->stride_bytes)
		return 0;
	if (x->n == SG_INDEX_ENTRIES)
		halve(x);
	if (x->n == x->room) {
		room = x->room ? 2 * x->room : 64;
		v = reallocarray(x->v, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		x->v = v;
		x->room = room;
	}
	x->v[x->n++] = (struct sg_index_place){ seq, offset };
	return 0;
}

void sg_index_free(struct sg_index *x)
{
	free(x->v);
	*x = (struct sg_index){ 0 };
}

static int write_entries(const struct sg_index *x, int fd, uint64_t first_seq, uint32_t seed)
{
	uint8_t buf[BATCH * SG_INDEX_ENTRY];
	uint64_t at = SG_INDEX_HEADER;
	size_t i, n;
	int err;

	sg_index_header_write(buf, first_seq);
	err = sg_pwrite_all(fd, buf, SG_INDEX_HEADER, 0);
	for (i = 0; !err && i < x->n; i += n, at += n * SG_INDEX_ENTRY) {
		for (n = 0; n < BATCH && i + n < x->n; n++)
			sg_index_entry_write(buf + n * SG_INDEX_ENTRY, seed, x->v[i + n].seq,
					     x->v[i + n].offset);
		err = sg_pwrite_all(fd, buf, n * SG_INDEX_ENTRY, at);
	}
	return err;
}

int sg_index_write(const struct sg_index *x, int dirfd, uint64_t number, uint64_t first_seq,
		   uint32_t seed, uint32_t mode)
{
	char tmp[SG_NAME_BYTES], name[SG_NAME_BYTES];
	int fd, err;

	sg_dir_name(tmp, number, SG_INDEX_TMP);
	sg_dir_name(name, number, SG_INDEX);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    (mode_t)mode);
	if (fd < 0)
		return -errno;
	err = write_entries(x, fd, first_seq, seed);
	if (close(fd) != 0 && !err)
		err = -errno;
	if (!err && renameat(dirfd, tmp, dirfd, name) != 0)
		err = -errno;
	if (err)
		unlinkat(dirfd, tmp, 0);
	return err;
}

/* ---- using ---- */

/* Open the index and count its entries; -EBADMSG if it is none of this segment. */
static int open_index(int dirfd, uint64_t number, uint64_t first_seq, uint64_t *entries,
		      bool *ragged)
{
	char name[SG_NAME_BYTES];
	uint8_t raw[SG_INDEX_HEADER];
	uint64_t first;
	struct stat st;
	size_t got = 0;
	int fd, err;

	sg_dir_name(name, number, SG_INDEX);
	fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	err = fstat(fd, &st) != 0 ? -errno : sg_pread_all(fd, raw, sizeof(raw), 0, &got);
	if (!err && (!S_ISREG(st.st_mode) || !sg_index_header_read(raw, got, &first) ||
		     first != first_seq || st.st_size < (off_t)SG_INDEX_HEADER))
		err = -EBADMSG;
	if (err) {
		close(fd);
		return err;
	}
	*entries = ((uint64_t)st.st_size - SG_INDEX_HEADER) / SG_INDEX_ENTRY;
	*ragged = ((uint64_t)st.st_size - SG_INDEX_HEADER) % SG_INDEX_ENTRY != 0;
	return fd;
}

static int read_entry(int fd, uint64_t i, uint32_t seed, uint64_t *seq, uint64_t *offset)
{
	uint8_t raw[SG_INDEX_ENTRY];
	size_t got = 0;
	int err = sg_pread_all(fd, raw, sizeof(raw), SG_INDEX_HEADER + i * SG_INDEX_ENTRY, &got);

	if (err)
		return err;
	return sg_index_entry_read(raw, got, seed, seq, offset) ? 0 : -EBADMSG;
}

int sg_index_find(int dirfd, uint64_t number, uint64_t first_seq, uint32_t seed, uint64_t seq,
		  uint64_t *at_seq, uint64_t *offset)
{
	uint64_t low = 0, high = 0, middle, s = 0, o = 0;
	bool ragged;
	int fd = open_index(dirfd, number, first_seq, &high, &ragged), err = 0;

	if (fd < 0)
		return fd;
	*at_seq = 0;
	while (!err && low < high) {
		middle = low + (high - low) / 2;
		err = read_entry(fd, middle, seed, &s, &o);
		if (!err && s <= seq) {
			*at_seq = s;
			*offset = o;
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	close(fd);
	if (err)
		return err;
	return *at_seq ? 0 : -ENOENT;
}

/* ---- checking ---- */

struct sg_index_check {
	int fd;
	uint32_t seed;
	uint64_t entries, next; /* the entry `next` is expected, and is in the batch */
	uint64_t seq, offset;
	const char *why;
	uint64_t first; /* of the batch */
	size_t n;
	uint8_t batch[BATCH * SG_INDEX_ENTRY];
};

/* Take the entry `next` from the batch, reading the batch if it is used up. */
static void load(struct sg_index_check *c)
{
	const uint8_t *p;

	if (c->why || c->next == c->entries)
		return;
	if (c->next - c->first >= c->n) {
		c->first = c->next;
		if (sg_pread_all(c->fd, c->batch, sizeof(c->batch),
				 SG_INDEX_HEADER + c->next * SG_INDEX_ENTRY, &c->n) != 0)
			c->n = 0;
		c->n /= SG_INDEX_ENTRY;
	}
	p = c->batch + (c->next - c->first) * SG_INDEX_ENTRY;
	if (!c->n || !sg_index_entry_read(p, SG_INDEX_ENTRY, c->seed, &c->seq, &c->offset))
		c->why = "an entry's checksum";
}

struct sg_index_check *sg_index_check_begin(int dirfd, uint64_t number, uint64_t first_seq,
					    uint32_t seed)
{
	struct sg_index_check *c = calloc(1, sizeof(*c));
	bool ragged = false;

	if (!c)
		return NULL;
	c->seed = seed;
	c->fd = open_index(dirfd, number, first_seq, &c->entries, &ragged);
	if (c->fd == -ENOENT)
		c->why = "missing";
	else if (c->fd < 0)
		c->why = "not an index of this segment";
	else if (ragged)
		c->why = "ends inside an entry";
	load(c);
	return c;
}

void sg_index_check_frame(struct sg_index_check *c, uint64_t seq, uint64_t offset)
{
	if (c->why || c->next == c->entries || offset < c->offset)
		return;
	if (offset != c->offset || seq != c->seq) {
		c->why = "an entry where no such record begins";
		return;
	}
	c->next++;
	load(c);
}

const char *sg_index_check_end(struct sg_index_check *c)
{
	const char *why = c->why;

	if (!why && c->next != c->entries)
		why = "an entry where no such record begins";
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	return why;
}
