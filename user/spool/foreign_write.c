// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/foreign_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool/audit.h"
#include "spool/bytes.h"
#include "spool/commitlog.h"
#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spool/foreign_files.h"

#define BUFFER_BYTES 65536u

/* Gathers small writes; the first error stays. */
struct out {
	int fd, err;
	uint64_t at; /* bytes in the file */
	size_t n;
	uint8_t buf[BUFFER_BYTES];
};

struct sg_foreign_writer {
	enum spool_format format;
	bool begun; /* the header of a log is written */
	unsigned int version;
	struct out data, side;
};

/* ---- output ---- */

static int out_open(struct out *o, int dirfd, const char *name, uint32_t mode)
{
	o->fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		       (mode_t)mode);
	return o->fd < 0 ? -errno : 0;
}

static void out_flush(struct out *o)
{
	if (!o->err && o->n)
		o->err = sg_pwrite_all(o->fd, o->buf, o->n, o->at);
	o->at += o->n;
	o->n = 0;
}

static void out_put(struct out *o, const void *data, size_t len)
{
	if (o->n + len > sizeof(o->buf))
		out_flush(o);
	if (len <= sizeof(o->buf)) {
		if (len)
			memcpy(o->buf + o->n, data, len);
		o->n += len;
		return;
	}
	if (!o->err)
		o->err = sg_pwrite_all(o->fd, data, len, o->at);
	o->at += len;
}

/* A sync that failed is not tried again. */
static int out_close(struct out *o)
{
	out_flush(o);
	if (!o->err && fsync(o->fd) != 0)
		o->err = -errno;
	if (close(o->fd) != 0 && !o->err)
		o->err = -errno;
	return o->err;
}

/* ---- files ---- */

int sg_foreign_writer_open(struct sg_foreign_writer **out, int dirfd, enum spool_format format,
			   const char *name, uint32_t mode)
{
	char side[SG_FOREIGN_NAME_BYTES];
	struct sg_foreign_writer *w;
	int err;

	if (strlen(name) + sizeof(SG_AUDIT_SIDECAR) > sizeof(side))
		return -ENAMETOOLONG;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->format = format;
	w->version = 1;
	w->side.fd = -1;
	err = out_open(&w->data, dirfd, name, mode);
	if (!err && format == SPOOL_FORMAT_AUDIT) {
		strcpy(side, name);
		strcat(side, SG_AUDIT_SIDECAR);
		err = out_open(&w->side, dirfd, side, mode);
	}
	if (err) {
		sg_foreign_writer_abandon(w);
		return err;
	}
	*out = w;
	return 0;
}

static void put_audit(struct sg_foreign_writer *w, const struct spool_record *r)
{
	uint8_t len[SG_AUDIT_LEN_BYTES], crc[SG_AUDIT_CRC_BYTES];

	sg_put32(len, (uint32_t)r->len);
	sg_put32(crc, sg_crc32c(0, r->data, r->len));
	out_put(&w->data, len, sizeof(len));
	out_put(&w->data, r->data, r->len);
	out_put(&w->side, crc, sizeof(crc));
}

static void put_header(struct sg_foreign_writer *w)
{
	uint8_t header[SG_CL_HEADER_BYTES];

	if (w->begun)
		return;
	w->begun = true;
	sg_cl_header_write(header, w->version);
	out_put(&w->data, header, sizeof(header));
}

static void put_commit(struct sg_foreign_writer *w, const struct sg_foreign_event *e)
{
	struct sg_commit c = { .offset = e->record.seq - 1,
			       .epoch = e->epoch,
			       .n = e->n,
			       .len = (uint32_t)e->record.len,
			       .records = e->record.data };
	uint8_t header[SG_CL_COMMIT_MAX], crc[SG_CL_CRC_BYTES];
	size_t bytes;

	if (!w->begun)
		w->version = e->bytes != sg_commit_bytes(0, c.len);
	put_header(w);
	bytes = sg_commit_write(header, crc, w->version, &c);
	out_put(&w->data, header, bytes);
	out_put(&w->data, c.records, c.len);
	out_put(&w->data, crc, sizeof(crc));
}

int sg_foreign_writer_put(struct sg_foreign_writer *w, const struct sg_foreign_event *e)
{
	if (e->record.len > SPOOL_RECORD_MAX)
		return -EMSGSIZE;
	if (w->format == SPOOL_FORMAT_AUDIT)
		put_audit(w, &e->record);
	else
		put_commit(w, e);
	return w->data.err ? w->data.err : w->side.err;
}

uint64_t sg_foreign_writer_bytes(const struct sg_foreign_writer *w)
{
	return w->data.at + w->data.n;
}

int sg_foreign_writer_close(struct sg_foreign_writer *w)
{
	int err, side = 0;

	if (w->format == SPOOL_FORMAT_COMMITLOG)
		put_header(w);
	err = out_close(&w->data);
	if (w->format == SPOOL_FORMAT_AUDIT)
		side = out_close(&w->side);
	free(w);
	return err ? err : side;
}

void sg_foreign_writer_abandon(struct sg_foreign_writer *w)
{
	if (!w)
		return;
	if (w->data.fd >= 0)
		close(w->data.fd);
	if (w->side.fd >= 0)
		close(w->side.fd);
	free(w);
}
