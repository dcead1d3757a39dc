// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * DESIGN
 *
 * A window of the file lies in one buffer. Frames that fit in it are judged there; of larger ones the CRC is taken in
 * pieces, and only if it is right the buffer grows and the frame is read once more (and judged once more, since the
 * file may have changed in between).
 *
 * Behind damage every offset is a candidate. Almost all fail the number's range, which is one subtraction. A candidate
 * with a plausible header costs a CRC: at once if it is small, else through sg_ranges, which reads each byte once for
 * all of them. So the work is linear in the bytes, also for bytes that somebody made up to be full of headers.
 *
 * Beside a writer the window may be older than what the kernel has. So no fault is believed before it was seen again
 * in bytes read anew, and no damage before a second scan, begun after the first ended, finds the same: the valid frame
 * behind it was written after everything before it.
 */
#include "spool/segment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spool/index.h"
#include "spool/ranges.h"

#define WINDOW_BYTES 262144u
#define SMALL_BYTES  8192u /* a candidate's CRC up to here is taken at once */

struct sg_segment {
	int fd, dirfd;
	uint64_t number, last_before;
	bool checks_only;

	uint8_t *buf;
	size_t room;
	uint64_t at; /* the window: bytes [at, at + n) of the file */
	size_t n;

	uint64_t offset, last, known_durable;
	uint64_t zeros_to; /* up to here nothing but zeros was seen behind the last frame */

	struct sg_segment_header header;
	unsigned int bad_copies;
	const char *why;
	uint32_t seed;
	struct sg_ranges *ranges;
};

/* What a look at one offset says. */
enum look { LOOK_BAD, LOOK_VALID };

/* ---- the window ---- */

/* Make the window hold [offset, offset + len) as far as the file has it; len fits in the buffer. */
static int window(struct sg_segment *s, uint64_t offset, size_t len, const uint8_t **p,
		  size_t *have)
{
	int err;

	if (offset < s->at || offset - s->at > s->n || s->n - (size_t)(offset - s->at) < len) {
		s->n = 0;
		err = sg_pread_all(s->fd, s->buf, len > WINDOW_BYTES ? len : WINDOW_BYTES, offset,
				   &s->n);
		s->at = offset;
		if (err) {
			s->n = 0;
			return err;
		}
	}
	*p = s->buf + (offset - s->at);
	*have = s->n - (size_t)(offset - s->at);
	return 0;
}

static void forget_window(struct sg_segment *s)
{
	s->n = 0;
}

static int grow(struct sg_segment *s, size_t room)
{
	uint8_t *buf;

	if (room <= s->room)
		return 0;
	buf = realloc(s->buf, room);
	if (!buf)
		return -ENOMEM;
	s->buf = buf;
	s->room = room;
	return 0;
}

/* ---- one frame ---- */

/* The highest number that must lie below: of the frame before, or of what comes before the segment's first. */
static uint64_t floor_seq(const struct sg_segment *s)
{
	uint64_t first = s->header.first_seq;

	return first && first - 1 > s->last ? first - 1 : s->last;
}

static const char *cut_short(size_t have)
{
	return have < SG_FRAME_BYTES ? "shorter than the header of a frame"
				     : "the file ends inside the frame";
}

/* Is the CRC of the `bytes` bytes of the frame at offset right? In pieces, whatever the length claims. */
static int crc_in_pieces(struct sg_segment *s, uint64_t offset, uint64_t bytes, uint32_t *crc,
			 bool *whole)
{
	uint64_t done = 4;
	const uint8_t *p;
	size_t have;
	int err;

	*crc = s->seed;
	for (*whole = true; done < bytes; done += have) {
		err = window(s, offset + done, 1, &p, &have);
		if (err)
			return err;
		if (have == 0) {
			*whole = false;
			return 0;
		}
		if (have > bytes - done)
			have = (size_t)(bytes - done);
		*crc = sg_crc32c(*crc, p, have);
	}
	return 0;
}

/* A frame larger than the window, whose header f is plausible. */
static int look_at_large(struct sg_segment *s, uint64_t offset, struct sg_frame *f, uint32_t want,
			 const char **why)
{
	uint64_t bytes = SG_FRAME_BYTES + (uint64_t)f->len, seq = f->seq;
	enum sg_frame_verdict verdict;
	const uint8_t *p;
	size_t have;
	uint32_t crc;
	bool whole;
	int err;

	err = crc_in_pieces(s, offset, bytes, &crc, &whole);
	if (err)
		return err;
	*why = whole ? "checksum" : cut_short(SG_FRAME_BYTES);
	if (!whole || crc != want)
		return LOOK_BAD;
	f->payload = NULL;
	if (s->checks_only)
		return LOOK_VALID;
	err = grow(s, (size_t)bytes);
	if (err)
		return err;
	err = window(s, offset, (size_t)bytes, &p, &have);
	if (err)
		return err;
	verdict = sg_frame_read(p, have, s->seed, seq, seq, f, NULL, why);
	return verdict == SG_FRAME_VALID ? LOOK_VALID : LOOK_BAD;
}

/* Is there a valid frame at offset, numbered in [min, max]? LOOK_…, or -errno. */
static int look_at(struct sg_segment *s, uint64_t offset, uint64_t min, uint64_t max,
		   struct sg_frame *f, const char **why)
{
	enum sg_frame_verdict verdict;
	const uint8_t *p;
	uint64_t need;
	uint32_t crc;
	size_t have;
	int err;

	*why = "sequence number";
	if (min == 0)
		return LOOK_BAD; /* there is no number above the last one */
	err = window(s, offset, SG_FRAME_BYTES, &p, &have);
	if (err)
		return err;
	verdict = sg_frame_read(p, have, s->seed, min, max, f, &need, why);
	if (verdict == SG_FRAME_SHORT && have >= SG_FRAME_BYTES && need <= WINDOW_BYTES) {
		err = window(s, offset, (size_t)need, &p, &have);
		if (err)
			return err;
		verdict = sg_frame_read(p, have, s->seed, min, max, f, NULL, why);
	} else if (verdict == SG_FRAME_SHORT && have >= SG_FRAME_BYTES) {
		crc = sg_frame_peek(p, f);
		return look_at_large(s, offset, f, crc, why);
	}
	if (verdict == SG_FRAME_SHORT)
		*why = cut_short(have);
	return verdict == SG_FRAME_VALID ? LOOK_VALID : LOOK_BAD;
}

static int accept(struct sg_segment *s, struct sg_event *event)
{
	const struct sg_frame *f = &event->frame;
	uint64_t durable = sg_frame_known_durable(f);

	event->kind = SG_EVENT_FRAME;
	event->offset = s->offset;
	event->bytes = SG_FRAME_BYTES + (uint64_t)f->len;
	s->offset += event->bytes;
	s->last = f->seq;
	if (durable > s->known_durable)
		s->known_durable = durable;
	return 0;
}

/* ---- behind damage ---- */

/* Is the candidate, whose 32 bytes lie at p and are plausible, a frame? */
static int check_candidate(struct sg_segment *s, uint64_t offset, const uint8_t *p, uint64_t min,
			   uint64_t max)
{
	struct sg_frame f;
	const char *why;
	uint64_t need;
	uint32_t want, crc;
	bool whole;
	int err;

	if (sg_frame_read(p, SG_FRAME_BYTES, s->seed, min, max, &f, &need, NULL) ==
		    SG_FRAME_SHORT &&
	    need > SMALL_BYTES) {
		want = sg_frame_peek(p, &f);
		err = sg_ranges_crc(s->ranges, s->fd, s->seed, offset + 4, offset + need, &crc,
				    &whole);
		if (err)
			return err;
		return whole && crc == want ? LOOK_VALID : LOOK_BAD;
	}
	return look_at(s, offset, min, max, &f, &why);
}

static uint64_t number_at(const uint8_t *p)
{
	uint64_t seq;

	memcpy(&seq, p + 8, sizeof(seq));
	return le64toh(seq);
}

static bool reserved_is_zero(const uint8_t *p)
{
	uint32_t reserved;

	memcpy(&reserved, p + 28, sizeof(reserved));
	return reserved == 0;
}

/* The first of the n offsets from p on whose number lies in [min, max], and with zeros where they belong; else n. */
static size_t first_plausible(const uint8_t *p, size_t n, uint64_t min, uint64_t max)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (number_at(p + i) - min <= max - min && reserved_is_zero(p + i))
			break;
	return i;
}

/* The highest number that a frame at o may have: `near`, as the damage before it can explain, else any. */
static uint64_t ceiling(const struct sg_segment *s, uint64_t o, bool near)
{
	return near ? sg_frame_max_seq(floor_seq(s), o - s->offset) : UINT64_MAX;
}

/* The first valid frame behind the one that is expected at s->offset, beginning before `end`; *at = end if there is
 * none. Its last bytes may be zeros that lie behind `end`. */
static int scan(struct sg_segment *s, uint64_t end, bool near, uint64_t *at)
{
	uint64_t min = floor_seq(s) + 1, o = s->offset + 1;
	const uint8_t *p;
	size_t have, n, i;
	int look, err;

	*at = end;
	if (min == 0)
		return 0;
	if (!s->ranges)
		s->ranges = sg_ranges_new();
	if (!s->ranges)
		return -ENOMEM;
	sg_ranges_reset(s->ranges);
	while (o < end) {
		err = window(s, o, SG_FRAME_BYTES, &p, &have);
		if (err || have < SG_FRAME_BYTES)
			return err;
		n = have - SG_FRAME_BYTES + 1;
		i = first_plausible(p, n, min, ceiling(s, o + n, near));
		o += i;
		if (i == n)
			continue;
		look = check_candidate(s, o, p + i, min, ceiling(s, o, near));
		if (look < 0)
			return look;
		if (look == LOOK_VALID) {
			*at = o;
			return 0;
		}
		o++;
	}
	return 0;
}

static bool zero_bytes(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Where the last byte that is not zero ends, `from` if there is none. Backwards, since it is the zeros that are long. */
static int content_end(struct sg_segment *s, uint64_t from, uint64_t size, uint64_t *end)
{
	uint64_t at;
	size_t want, got;
	int err;

	forget_window(s);
	for (*end = size; *end > from; *end = at) {
		want = *end - from < WINDOW_BYTES ? (size_t)(*end - from) : WINDOW_BYTES;
		at = *end - want;
		err = sg_pread_all(s->fd, s->buf, want, at, &got);
		if (err)
			return err;
		if (zero_bytes(s->buf, got))
			continue;
		while (s->buf[got - 1] == 0)
			got--;
		*end = at + got;
		return 0;
	}
	return 0;
}

/*
 * Where the bytes end that want an explanation: before the zeros that the header allows, else at the file's end. What
 * was zero before is not read again while the next frame's place is zero: a writer goes forward.
 */
static int unexplained_end(struct sg_segment *s, uint64_t size, uint64_t *end)
{
	const uint8_t *p;
	uint64_t from = s->offset;
	size_t have;
	int err;

	*end = size;
	if (!(s->header.flags & SG_HEADER_ZEROS) || size <= s->offset)
		return 0;
	err = window(s, s->offset, SG_FRAME_BYTES, &p, &have);
	if (err)
		return err;
	if (s->zeros_to > from && s->zeros_to <= size &&
	    zero_bytes(p, have < SG_FRAME_BYTES ? have : SG_FRAME_BYTES))
		from = s->zeros_to;
	err = content_end(s, from, size, end);
	if (err)
		return err;
	if (*end == from)
		*end = s->offset;
	if (*end == s->offset)
		s->zeros_to = size;
	return 0;
}

static int file_size(const struct sg_segment *s, uint64_t *size)
{
	struct stat st;

	if (fstat(s->fd, &st) != 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int tell(struct sg_event *event, enum sg_event_kind kind, uint64_t offset, uint64_t bytes)
{
	event->kind = kind;
	event->offset = offset;
	event->bytes = bytes;
	return 0;
}

/* No valid frame is at s->offset: what is there? */
static int explain(struct sg_segment *s, struct sg_event *event)
{
	uint64_t size = 0, end, at, before = UINT64_MAX;
	int err, look;

	for (;; before = at) {
		forget_window(s);
		look = look_at(s, s->offset, floor_seq(s) + 1, UINT64_MAX, &event->frame,
			       &event->why);
		if (look == LOOK_VALID)
			return accept(s, event);
		err = look < 0 ? look : file_size(s, &size);
		if (!err)
			err = unexplained_end(s, size, &end);
		if (err)
			return err;
		if (end <= s->offset)
			return tell(event, SG_EVENT_END, s->offset, 0);
		forget_window(s);
		err = scan(s, end, true, &at);
		if (!err && at == end)
			err = scan(s, end, false, &at);
		if (err)
			return err;
		if (at == end)
			return tell(event, SG_EVENT_TAIL, s->offset, end - s->offset);
		if (at == before)
			break;
	}
	tell(event, SG_EVENT_DAMAGE, s->offset, at - s->offset);
	s->offset = at;
	return 0;
}

/* ---- the header ---- */

static int read_header(struct sg_segment *s, const uint8_t *id)
{
	uint8_t raw[SG_HEADER_BYTES];
	struct sg_segment_header h;
	size_t got;
	int err = sg_pread_all(s->fd, raw, sizeof(raw), 0, &got);

	if (err)
		return err;
	s->why = NULL;
	s->bad_copies = sg_segment_header_read(raw, got, &h, &s->why);
	if (s->bad_copies == 3 && !id)
		return -EBADMSG;
	if (s->bad_copies == 3) {
		h = (struct sg_segment_header){ .first_seq = s->number };
		memcpy(h.id, id, sizeof(h.id));
	}
	if (id && memcmp(id, h.id, sizeof(h.id)) != 0)
		return -EXDEV;
	s->header = h;
	s->seed = sg_frame_seed(h.id);
	return 0;
}

/* ---- the walk ---- */

static int open_file(struct sg_segment *s)
{
	char name[SG_NAME_BYTES];
	struct stat st;

	sg_dir_name(name, s->number, SG_SEGMENT);
	/* A FIFO of that name must not hang us. */
	s->fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return -errno;
	return S_ISREG(st.st_mode) ? 0 : -EBADMSG;
}

int sg_segment_open(struct sg_segment **segment, int dirfd, uint64_t number, uint64_t last_seq,
		    const uint8_t *id)
{
	struct sg_segment *s = calloc(1, sizeof(*s));
	int err;

	*segment = NULL;
	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->dirfd = dirfd;
	s->number = number;
	s->last = s->last_before = last_seq;
	s->offset = SG_HEADER_BYTES;
	err = grow(s, WINDOW_BYTES);
	if (!err)
		err = open_file(s);
	if (!err)
		err = read_header(s, id);
	if (err)
		sg_segment_close(s);
	else
		*segment = s;
	return err;
}

void sg_segment_close(struct sg_segment *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	sg_ranges_free(s->ranges);
	free(s->buf);
	free(s);
}

void sg_segment_checks_only(struct sg_segment *s)
{
	s->checks_only = true;
}

int sg_segment_next(struct sg_segment *s, struct sg_event *event)
{
	uint8_t id[SPOOL_ID_BYTES];
	int look, err;

	*event = (struct sg_event){ 0 };
	if (s->bad_copies == 3 && s->offset == SG_HEADER_BYTES) {
		/* Its writer may only just have made the file. */
		memcpy(id, s->header.id, sizeof(id));
		err = read_header(s, id);
		if (err)
			return err;
	}
	look = look_at(s, s->offset, floor_seq(s) + 1, UINT64_MAX, &event->frame, &event->why);
	if (look < 0)
		return look;
	return look == LOOK_VALID ? accept(s, event) : explain(s, event);
}

/* By the index, if it helps: to the last of its frames that is not above seq. */
static int jump(struct sg_segment *s, uint64_t seq)
{
	uint64_t at_seq, offset;
	struct sg_frame f;
	const char *why;
	int look;

	if (sg_index_find(s->dirfd, s->number, s->header.first_seq, s->seed, seq, &at_seq,
			  &offset) != 0)
		return 0;
	if (offset <= s->offset || at_seq <= floor_seq(s))
		return 0;
	look = look_at(s, offset, at_seq, at_seq, &f, &why);
	if (look != LOOK_VALID)
		return look;
	s->offset = offset;
	s->last = at_seq - 1;
	return 0;
}

int sg_segment_seek(struct sg_segment *s, uint64_t seq)
{
	uint64_t offset, last;
	struct sg_event event;
	int err;

	if (seq <= s->last) {
		s->offset = SG_HEADER_BYTES;
		s->last = s->last_before;
	}
	err = jump(s, seq);
	while (!err) {
		offset = s->offset;
		last = s->last;
		err = sg_segment_next(s, &event);
		if (err || event.kind == SG_EVENT_TAIL || event.kind == SG_EVENT_END)
			break;
		if (event.kind == SG_EVENT_FRAME && event.frame.seq >= seq) {
			s->offset = offset;
			s->last = last;
			break;
		}
	}
	return err;
}

unsigned int sg_segment_header(const struct sg_segment *s, struct sg_segment_header *h,
			       const char **why)
{
	*h = s->header;
	if (why)
		*why = s->why;
	return s->bad_copies;
}

uint64_t sg_segment_last_seq(const struct sg_segment *s)
{
	return s->last;
}

uint64_t sg_segment_offset(const struct sg_segment *s)
{
	return s->offset;
}

uint64_t sg_segment_known_durable(const struct sg_segment *s)
{
	return s->known_durable;
}

int sg_segment_fd(const struct sg_segment *s)
{
	return s->fd;
}
