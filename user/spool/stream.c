// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "spool/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/bytes.h"

#define SCAN_BYTES 65536u	    /* gathered at once while looking behind what is bad */
#define NUMBER_MAX (UINT64_MAX - 1) /* what is expected next must be a number */

/* What is at a point of the stream: a kind of piece, or one of these. */
enum { SHORT = -1, BAD = -2 };

void sg_stream_init(struct sg_stream *s, enum spool_format format, bool look_behind)
{
	*s = (struct sg_stream){ .format = format, .look_behind = look_behind };
}

void sg_stream_free(struct sg_stream *s)
{
	free(s->buf);
	s->buf = NULL;
	s->pending = s->room = 0;
}

static int need(struct sg_stream *s, uint64_t bytes)
{
	s->need = bytes;
	return SHORT;
}

static int bad(struct sg_stream *s, const char *why)
{
	s->why = why;
	return BAD;
}

/* ---- native ---- */

static int native_header(struct sg_stream *s, const uint8_t *p, struct sg_piece *piece)
{
	const char *why;

	if (sg_segment_header_read(p, SG_HEADER_BYTES, &piece->header, &why) == 3)
		return bad(s, why);
	piece->bytes = SG_HEADER_BYTES;
	piece->first = piece->header.first_seq;
	return SG_PIECE_HEADER;
}

/*
 * Zeros behind the last frame? A frame may begin with zeros, too, in its checksum; but 16 of them are none, since
 * its number is not 0, and with fewer the magic behind them would lie where a length or a number would be absurd.
 * BAD: no zeros, which is nothing bad.
 */
static int native_zeros(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
			struct sg_piece *piece)
{
	uint64_t n = 0;

	while (n < have && !p[n])
		n++;
	piece->bytes = n;
	if (n == 0)
		return BAD;
	if (n >= 16 || s->zeros_follow || (n == have && end))
		return SG_PIECE_ZEROS;
	if (n == have || (have < n + SG_MAGIC_BYTES && !end))
		return need(s, SG_FRAME_BYTES);
	if (have >= n + SG_MAGIC_BYTES && !memcmp(p + n, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES))
		return SG_PIECE_ZEROS;
	return BAD;
}

static int native_frame(struct sg_stream *s, const uint8_t *p, uint64_t have, uint64_t min,
			uint64_t max, bool end, struct sg_piece *piece)
{
	struct sg_frame f;

	switch (sg_frame_read(p, have, s->seed, min, max, &f, &s->need, &s->why)) {
	case SG_FRAME_VALID:
		break;
	case SG_FRAME_SHORT:
		return end ? bad(s, "ends in the middle of a record") : SHORT;
	default:
		return BAD;
	}
	piece->bytes = SG_FRAME_BYTES + (uint64_t)f.len;
	piece->first = piece->last = f.seq;
	piece->crc = sg_get32(p);
	return SG_PIECE_FRAME;
}

static int native_piece(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
			struct sg_piece *piece)
{
	int kind = bad(s, "no segment begins here");

	if (s->in_segment && s->flags & SG_HEADER_ZEROS) {
		kind = native_zeros(s, p, have, end, piece);
		if (kind != BAD)
			return kind;
	}
	if (have < SG_MAGIC_BYTES && !end)
		return need(s, SG_MAGIC_BYTES);
	if (have >= SG_MAGIC_BYTES && !memcmp(p, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES)) {
		if (have < SG_HEADER_BYTES)
			return end ? bad(s, "ends in the middle of a header")
				   : need(s, SG_HEADER_BYTES);
		return native_header(s, p, piece);
	}
	if (s->zeros_follow)
		kind = bad(s, "neither zeros nor a segment behind zeros");
	else if (s->in_segment)
		kind = native_frame(s, p, have, 1, NUMBER_MAX, end, piece);
	if (kind != BAD)
		return kind;
	/* A header whose first copy is damaged, in the magic too? */
	if (have < SG_HEADER_BYTES)
		return end ? BAD : need(s, SG_HEADER_BYTES);
	if (memcmp(p + SG_HEADER_COPY, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES) != 0)
		return BAD;
	return native_header(s, p, piece);
}

/* Behind what is bad: a header, or a frame whose number is possible there? */
static int native_behind(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
			 struct sg_piece *piece)
{
	if (have >= SG_MAGIC_BYTES && !memcmp(p, SG_SEGMENT_MAGIC, SG_MAGIC_BYTES)) {
		if (have < SG_HEADER_BYTES)
			return end ? BAD : need(s, SG_HEADER_BYTES);
		return native_header(s, p, piece);
	}
	if (!s->in_segment)
		return have < SG_MAGIC_BYTES && !end ? need(s, SG_MAGIC_BYTES) : BAD;
	return native_frame(s, p, have, s->next, NUMBER_MAX, end, piece);
}

/* ---- commit log: the number of a transaction is its offset plus 1 ---- */

static int commit(struct sg_stream *s, const uint8_t *p, uint64_t have,
		  const struct sg_commit_expect *expect, bool end, struct sg_piece *piece)
{
	struct sg_commit c;

	switch (sg_commit_read(p, have, s->version, expect, &c, &s->need, &s->why)) {
	case SG_FRAME_VALID:
		break;
	case SG_FRAME_SHORT:
		return end ? bad(s, "ends in the middle of a commit") : SHORT;
	default:
		return BAD;
	}
	piece->bytes = sg_commit_bytes(s->version, c.len);
	piece->first = c.offset + 1;
	piece->last = c.offset + c.n;
	piece->crc = sg_get32(p + piece->bytes - SG_CL_CRC_BYTES);
	piece->epoch = c.epoch;
	return SG_PIECE_FRAME;
}

static int log_header(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
		      struct sg_piece *piece)
{
	unsigned int version = 0;

	switch (sg_cl_header_read(p, have, &version, &s->need, &s->why)) {
	case SG_FRAME_VALID:
		break;
	case SG_FRAME_SHORT:
		return end ? bad(s, "ends in the middle of a header") : SHORT;
	default:
		return BAD;
	}
	piece->bytes = SG_CL_HEADER_BYTES;
	piece->version = (uint8_t)version;
	return SG_PIECE_HEADER;
}

static int log_piece(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
		     struct sg_piece *piece)
{
	struct sg_commit_expect expect = { 0, UINT64_MAX, s->epoch };

	if (!s->in_segment)
		return log_header(s, p, have, end, piece);
	if (have < 8)
		return end ? bad(s, "ends in the middle of a commit") : need(s, 8);
	/* The magic is a number that an offset may have: then the expected offset counts. */
	if (memcmp(p, SG_CL_MAGIC, SG_CL_MAGIC_BYTES) == 0 &&
	    !(s->numbered && sg_get64(p) == s->next - 1))
		return log_header(s, p, have, end, piece);
	return commit(s, p, have, &expect, end, piece);
}

static int log_behind(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
		      struct sg_piece *piece)
{
	struct sg_commit_expect expect = { 0, UINT64_MAX, s->epoch };
	uint64_t at = s->offset - s->bad_at;
	int kind = log_header(s, p, have, end, piece);

	if (kind != BAD || !s->in_segment)
		return kind;
	if (s->numbered) {
		expect.min_offset = s->next - 1;
		expect.max_offset = sg_commit_max_offset(s->version, s->next - 1, at);
	}
	return commit(s, p, have, &expect, end, piece);
}

/* ---- either ---- */

static int piece_at(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
		    struct sg_piece *piece)
{
	if (s->format == SPOOL_FORMAT_DETECT)
		s->format = *p == SG_CL_MAGIC[0] ? SPOOL_FORMAT_COMMITLOG : SPOOL_FORMAT_NATIVE;
	if (s->format == SPOOL_FORMAT_COMMITLOG)
		return log_piece(s, p, have, end, piece);
	return native_piece(s, p, have, end, piece);
}

/* What a piece tells of the next one. */
static void note(struct sg_stream *s, const struct sg_piece *piece)
{
	switch (piece->kind) {
	case SG_PIECE_HEADER:
		s->in_segment = true;
		s->zeros_follow = false;
		s->version = piece->version;
		if (s->format == SPOOL_FORMAT_COMMITLOG)
			return;
		s->flags = piece->header.flags;
		s->seed = sg_frame_seed(piece->header.id);
		s->next = piece->first;
		s->numbered = true;
		return;
	case SG_PIECE_FRAME:
		s->next = piece->last + 1;
		s->numbered = true;
		s->epoch = piece->epoch;
		return;
	case SG_PIECE_ZEROS:
		s->zeros_follow = true;
		return;
	case SG_PIECE_BREAK:
		return;
	}
}

/* Over what is bad, byte by byte. Returns how far; SHORT and what was found as piece_at(). */
static int look_behind(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end,
		       uint64_t *used)
{
	struct sg_piece piece;
	const char *why = s->why;
	int kind = BAD;

	while (*used < have) {
		if (s->format == SPOOL_FORMAT_COMMITLOG)
			kind = log_behind(s, p + *used, have - *used, end, &piece);
		else
			kind = native_behind(s, p + *used, have - *used, end, &piece);
		if (kind != BAD)
			break;
		++*used;
		s->offset++;
	}
	s->why = why;
	return kind;
}

/* Take apart what lies at p. used: how much of it is done with; of the rest, s->need bytes are needed. */
static int consume(struct sg_stream *s, const uint8_t *p, uint64_t have, bool end, sg_piece_fn fn,
		   void *arg, uint64_t *used)
{
	struct sg_piece piece;
	bool given = false;
	int kind, rc = 0;

	*used = 0;
	while (!rc && !s->bad && *used < have) {
		piece = (struct sg_piece){ .data = p + *used };
		kind = piece_at(s, piece.data, have - *used, end, &piece);
		if (kind == SHORT)
			break;
		if (kind == BAD) {
			s->bad = true;
			s->bad_at = s->offset;
			break;
		}
		piece.kind = (enum sg_piece_kind)kind;
		rc = fn(arg, &piece);
		note(s, &piece);
		given = true;
		*used += piece.bytes;
		s->offset += piece.bytes;
	}
	if (given && !rc)
		rc = fn(arg, &(struct sg_piece){ .kind = SG_PIECE_BREAK });
	if (!rc && s->bad) {
		if (!s->look_behind)
			return -EBADMSG;
		kind = look_behind(s, p, have, end, used);
		if (kind != BAD && kind != SHORT)
			rc = -EBADMSG;
	}
	return rc;
}

/* Room for as many bytes as there are, not as somebody says there will be. */
static int stash(struct sg_stream *s, const uint8_t *p, size_t len)
{
	size_t room = s->room ? s->room : 4096;
	uint8_t *buf;

	while (room < s->pending + len)
		room *= 2;
	if (room != s->room) {
		buf = realloc(s->buf, room);
		if (!buf)
			return -ENOMEM;
		s->buf = buf;
		s->room = room;
	}
	memcpy(s->buf + s->pending, p, len);
	s->pending += len;
	return 0;
}

static int consume_stash(struct sg_stream *s, bool end, sg_piece_fn fn, void *arg)
{
	uint64_t used;
	int rc = consume(s, s->buf, s->pending, end, fn, arg, &used);

	s->pending -= (size_t)used;
	if (used && s->pending)
		memmove(s->buf, s->buf + used, s->pending);
	return rc;
}

int sg_stream_push(struct sg_stream *s, const void *data, size_t len, sg_piece_fn fn, void *arg)
{
	const uint8_t *p = data;
	uint64_t used, want;
	int rc = 0;

	while (!rc && len) {
		if (!s->pending) {
			rc = consume(s, p, len, false, fn, arg, &used);
			p += used;
			len -= (size_t)used;
			if (rc || !len)
				break;
		}
		want = s->bad && s->need < SCAN_BYTES ? SCAN_BYTES : s->need;
		want = want - s->pending < len ? want - s->pending : len;
		rc = stash(s, p, (size_t)want);
		p += want;
		len -= (size_t)want;
		if (!rc && s->pending >= s->need)
			rc = consume_stash(s, false, fn, arg);
	}
	return rc;
}

int sg_stream_end(struct sg_stream *s, sg_piece_fn fn, void *arg, uint64_t *fragment_bytes)
{
	int rc = 0;

	*fragment_bytes = 0;
	if (s->pending)
		rc = consume_stash(s, true, fn, arg);
	if (s->bad)
		*fragment_bytes = s->offset - s->bad_at + s->pending;
	return rc;
}
