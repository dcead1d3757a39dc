// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard spool cat --raw: headers and frames as they lie in the files, each checked. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "spool/dir.h"
#include "spool/foreign.h"
#include "spool/source.h"
#include "spool/stream.h"

#define READ_BYTES 262144u

static int print_piece(void *arg, const struct sg_piece *p)
{
	const struct sg_source *s = arg;
	bool native = s->format == SPOOL_FORMAT_NATIVE;

	if (p->kind != SG_PIECE_HEADER && p->kind != SG_PIECE_FRAME)
		return 0;
	if (native && p->kind == SG_PIECE_HEADER && p->first > s->limit)
		return -ECANCELED;
	if (fwrite(p->data, 1, p->bytes, stdout) != p->bytes)
		return -EIO;
	return native && p->kind == SG_PIECE_FRAME && p->last >= s->limit ? -ECANCELED : 0;
}

static int pour(struct sg_source *s, struct sg_stream *in, uint64_t *fragment)
{
	uint8_t *buf = malloc(READ_BYTES);
	size_t got = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err) {
		err = sg_source_read(s, buf, READ_BYTES, &got);
		if (err || !got)
			break;
		err = sg_stream_push(in, buf, got, print_piece, s);
	}
	free(buf);
	return err ? err : sg_stream_end(in, print_piece, s, fragment);
}

/* Where that fails, opening the source will say why. */
static void detect(const char *dir, enum spool_format *format)
{
	int dirfd = sg_dir_open(dir);

	if (dirfd < 0)
		return;
	(void)sg_format_detect(dirfd, format);
	close(dirfd);
}

int spool_raw(const char *dir, enum spool_format format)
{
	uint64_t fragment = 0;
	struct sg_stream in;
	struct sg_source s;
	int err, rc;

	if (format == SPOOL_FORMAT_DETECT)
		detect(dir, &format);
	if (format == SPOOL_FORMAT_AUDIT)
		return cli_fail(CLI_USAGE, NULL, "--raw: an audit spool is no stream of segments");
	err = sg_source_open(&s, dir, format);
	sg_stream_init(&in, s.format, true);
	if (!err)
		err = pour(&s, &in, &fragment);
	rc = cli_flush();
	if (!rc && err == -EBADMSG && in.bad)
		rc = cli_fail(CLI_FOUND, "See: spoolguard spool verify DIR",
			      "damage at byte %" PRIu64 " of the stream: %s", in.bad_at, in.why);
	else if (!rc && err && err != -ECANCELED)
		rc = spool_fail(err, dir);
	else if (!rc && fragment)
		rc = cli_fail(CLI_FOUND, "See: spoolguard spool recover DIR",
			      "the last %" PRIu64 " bytes are no whole record, and left out: %s",
			      fragment, in.why);
	sg_stream_free(&in);
	sg_source_close(&s);
	return rc;
}
