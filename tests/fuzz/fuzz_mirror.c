/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Any bytes as a stream of segments. The same bytes whole and in pieces must give the same mirror, and a mirror that
 * is fed once more must find nothing to do.
 *
 * Checksums stop almost any change, so bytes may also be a recipe: headers, frames, commits and zeros with the right
 * checksums, in an order and with numbers that no writer would choose.
 *
 * Byte 0: bit 0: recipe; bit 1: trim; bits 2 to 7: how the pieces are cut.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/commitlog.h"
#include "spool/crc32c.h"
#include "spool/frame.h"
#include "spool/mirror.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

#define STREAM_MAX 65536u

static char top[64], whole[80], pieces[80];

static void clear(const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%.255s", dir, e->d_name);
		if (e->d_name[0] != '.' && unlink(path) != 0) {
			clear(path);
			rmdir(path);
		}
	}
	if (d)
		closedir(d);
}

static void at_exit(void)
{
	clear(top);
	rmdir(top);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	snprintf(top, sizeof(top), "%s/fuzz_mirror.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(top));
	snprintf(whole, sizeof(whole), "%s/whole", top);
	snprintf(pieces, sizeof(pieces), "%s/pieces", top);
	MUST(mkdir(whole, 0700) == 0 && mkdir(pieces, 0700) == 0);
	atexit(at_exit);
	return 0;
}

/* ---- recipes ---- */

struct cook {
	uint8_t *out;
	size_t n;
	uint64_t next;
	uint32_t seed;
	unsigned int version;
	uint8_t id[SPOOL_ID_BYTES];
};

static void cook_header(struct cook *c, uint8_t x)
{
	struct sg_segment_header h = { .flags = x & 1, .created_ns = x, .first_seq = c->next };

	c->id[0] = x & 0x40 ? 2 : 1;
	memcpy(h.id, c->id, sizeof(h.id));
	c->seed = sg_frame_seed(c->id);
	sg_segment_header_write(c->out + c->n, &h);
	c->n += SG_HEADER_BYTES;
}

static void cook_frame(struct cook *c, uint8_t x)
{
	struct sg_frame f = { .len = x & 63, .seq = c->next++ };
	struct iovec iov = { c->out + c->n + SG_FRAME_BYTES, f.len };

	memset(iov.iov_base, x, f.len);
	sg_frame_header_write(c->out + c->n, &f, c->seed, &iov, 1);
	c->n += SG_FRAME_BYTES + f.len;
}

static void cook_commit(struct cook *c, uint8_t x)
{
	struct sg_commit m = {
		.offset = c->next - 1, .epoch = x >> 6, .n = 1 + (x & 3), .len = x & 31
	};
	size_t bytes = sg_commit_header_bytes(c->version);

	m.records = c->out + c->n + bytes;
	memset(c->out + c->n + bytes, x, m.len);
	sg_commit_write(c->out + c->n, c->out + c->n + bytes + m.len, c->version, &m);
	c->n += bytes + m.len + SG_CL_CRC_BYTES;
	c->next += m.n;
}

static size_t cook(uint8_t *out, const uint8_t *p, size_t len)
{
	struct cook c = { .out = out, .next = 1 };

	for (; len >= 2 && c.n < STREAM_MAX - 256; p += 2, len -= 2)
		switch (p[0] & 7) {
		case 0:
			cook_header(&c, p[1]);
			break;
		case 1:
		case 2:
			cook_frame(&c, p[1]);
			break;
		case 3:
			memset(out + c.n, 0, p[1]);
			c.n += p[1];
			break;
		case 4:
			c.next += (uint64_t)(int64_t)(int8_t)p[1]; /* a gap, or back */
			break;
		case 5:
			c.version = p[1] & 1;
			sg_cl_header_write(out + c.n, c.version);
			c.n += SG_CL_HEADER_BYTES;
			break;
		case 6:
			cook_commit(&c, p[1]);
			break;
		case 7:
			out[c.n++] = p[1];
			break;
		}
	return c.n;
}

/* ---- the two mirrors ---- */

static int feed(const char *dir, const uint8_t *p, size_t len, uint32_t flags, unsigned int cut,
		struct spool_mirror_progress *progress)
{
	struct spool_mirror_config config = SPOOL_MIRROR_CONFIG_INIT;
	struct spool_mirror *m;
	size_t at, n;
	int err, ended;

	config.flags = flags;
	err = spool_mirror_open(&m, dir, &config);
	MUST(err == 0);
	for (at = 0; !err && at < len; at += n) {
		n = cut ? 1 + (at * 7 + cut) % (2 * (size_t)cut) : len;
		n = n < len - at ? n : len - at;
		err = spool_mirror_write(m, p + at, n);
		MUST(err == 0 || err == -EBADMSG || err == -ESPIPE);
	}
	ended = spool_mirror_finish(m);
	MUST(!err || ended == err);
	MUST(!ended == !*spool_mirror_why(m));
	MUST(m->in.room <= 2 * len + 8192);
	spool_mirror_status(m, progress);
	MUST(progress->durable_seq == progress->written_seq);
	spool_mirror_close(m);
	return ended;
}

static void same_file(const char *name)
{
	static uint8_t a[2 * STREAM_MAX], b[2 * STREAM_MAX];
	char path[512];
	FILE *f, *g;
	size_t n;

	snprintf(path, sizeof(path), "%s/%.255s", whole, name);
	f = fopen(path, "r");
	snprintf(path, sizeof(path), "%s/%.255s", pieces, name);
	g = fopen(path, "r");
	MUST(f && g);
	n = fread(a, 1, sizeof(a), f);
	MUST(fread(b, 1, sizeof(b), g) == n && memcmp(a, b, n) == 0);
	fclose(f);
	fclose(g);
}

static unsigned int each_file(const char *dir, void (*fn)(const char *))
{
	struct dirent *e;
	unsigned int n = 0;
	DIR *d = opendir(dir);

	MUST(d);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.') {
			n++;
			if (fn)
				fn(e->d_name);
		}
	closedir(d);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t stream[STREAM_MAX + 4096];
	struct spool_mirror_progress a, b;
	uint32_t flags;
	size_t len;
	int err;

	if (size < 2 || size > STREAM_MAX / 2)
		return 0;
	flags = data[0] & 2 ? SPOOL_MIRROR_TRIM : 0;
	if (data[0] & 1)
		len = cook(stream, data + 1, size - 1);
	else
		memcpy(stream, data + 1, len = size - 1);
	clear(whole);
	clear(pieces);
	err = feed(whole, stream, len, flags, 0, &a);
	MUST(feed(pieces, stream, len, flags, 1 + (data[0] >> 2), &b) == err);
	MUST(a.written_bytes == b.written_bytes && a.trimmed_bytes == b.trimmed_bytes);
	MUST(each_file(whole, same_file) == each_file(pieces, NULL));
	MUST(feed(pieces, stream, len, flags, 0, &b) == err && b.written_bytes == 0);
	MUST(each_file(whole, same_file) == each_file(pieces, NULL));
	return 0;
}
