// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "spool/audit.h"
#include "spool/commitlog.h"
#include "spool/dir.h"
#include "spool/foreign.h"
#include "spool/foreign_files.h"
#include "spool/frame.h"

/* What speaks for a format. */
struct evidence {
	bool named, confirmed;
};

/* The first bytes of a file; *got of them. A file that is no longer there has none. */
static int beginning(int dirfd, const char *name, uint8_t *buf, size_t len, size_t *got)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), err;

	*got = 0;
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	err = sg_pread_all(fd, buf, len, 0, got);
	close(fd);
	return err;
}

static int native(int dirfd, struct evidence *e)
{
	struct sg_segment_header header;
	struct sg_numbers numbers;
	uint8_t buf[SG_HEADER_BYTES];
	char name[SG_NAME_BYTES];
	const char *why;
	size_t i, got;
	int err = sg_dir_list(dirfd, SG_SEGMENT, &numbers);

	e->named = numbers.n != 0;
	for (i = 0; !err && !e->confirmed && i < numbers.n; i++) {
		sg_dir_name(name, numbers.v[i], SG_SEGMENT);
		err = beginning(dirfd, name, buf, sizeof(buf), &got);
		e->confirmed = !err && sg_segment_header_read(buf, got, &header, &why) != 3;
	}
	sg_numbers_free(&numbers);
	return err;
}

/* Is the first record one that the sidecar confirms? */
static int confirm_audit(int dirfd, const char *name, bool *yes)
{
	struct sg_audit_event event = { .kind = SG_AUDIT_END };
	struct sg_audit *audit;
	int err = sg_audit_open(&audit, dirfd, name);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = sg_audit_next(audit, &event);
	*yes = !err && event.kind == SG_AUDIT_RECORD;
	sg_audit_close(audit);
	return err;
}

static int confirm_log(int dirfd, const char *name, bool *yes)
{
	uint8_t buf[SG_CL_MAGIC_BYTES];
	size_t got;
	int err = beginning(dirfd, name, buf, sizeof(buf), &got);

	*yes = !err && got == sizeof(buf) && memcmp(buf, SG_CL_MAGIC, sizeof(buf)) == 0;
	return err;
}

static int foreign(int dirfd, enum spool_format format, struct evidence *e)
{
	struct sg_foreign_files files;
	char name[SG_FOREIGN_NAME_BYTES];
	size_t i;
	int err = sg_foreign_list(dirfd, format, &files);

	e->named = files.n != 0;
	for (i = 0; !err && !e->confirmed && i < files.n; i++) {
		if (files.v[i].orphan)
			continue;
		sg_foreign_name(&files.v[i], format, name);
		err = format == SPOOL_FORMAT_AUDIT ? confirm_audit(dirfd, name, &e->confirmed)
						   : confirm_log(dirfd, name, &e->confirmed);
	}
	sg_foreign_files_free(&files);
	return err;
}

int sg_format_detect(int dirfd, enum spool_format *format)
{
	struct evidence e[SPOOL_FORMAT_COMMITLOG + 1] = { 0 };
	unsigned int named = 0, confirmed = 0, f, by_name = 0, by_content = 0;
	int err = native(dirfd, &e[SPOOL_FORMAT_NATIVE]);

	if (!err)
		err = foreign(dirfd, SPOOL_FORMAT_AUDIT, &e[SPOOL_FORMAT_AUDIT]);
	if (!err)
		err = foreign(dirfd, SPOOL_FORMAT_COMMITLOG, &e[SPOOL_FORMAT_COMMITLOG]);
	if (err)
		return err;
	for (f = SPOOL_FORMAT_NATIVE; f <= SPOOL_FORMAT_COMMITLOG; f++) {
		named += e[f].named;
		confirmed += e[f].confirmed;
		by_name = e[f].named ? f : by_name;
		by_content = e[f].confirmed ? f : by_content;
	}
	if (!named)
		return -ENOENT;
	if (confirmed > 1 || (!confirmed && named > 1))
		return -EBADMSG;
	*format = confirmed ? by_content : by_name;
	return 0;
}
