// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The mirror: the same result however the stream is cut, a valid mirror whatever is in it, and every sync where it
 * belongs. The sources are put together here from the format's pure code, not by the writer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spool/dir.h"
#include "spool/mirror.h"
#include "spool/source.h"
#include "tap.h"

/* ---- faults and counts: these take the place of libc's ---- */

static int sync_fails_in; /* the n-th from now fails; 0: none */
static unsigned int syncs;
static int dir_sync_fails_in;
static int write_fails_in; /* so that half arrives, and then none */
static uint64_t read_bytes;
static void (*on_sync)(void);

int fdatasync(int fd)
{
	syncs++;
	if (on_sync)
		on_sync();
	if (sync_fails_in && --sync_fails_in == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	if (dir_sync_fails_in && --dir_sync_fails_in == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (write_fails_in && --write_fails_in == 0) {
		if (n < 2) {
			errno = ENOSPC;
			return -1;
		}
		write_fails_in = 1;
		n /= 2;
	}
	return syscall(SYS_pwrite64, fd, buf, n, at);
}

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
	ssize_t got = syscall(SYS_pread64, fd, buf, n, at);

	read_bytes += got > 0 ? (uint64_t)got : 0;
	return got;
}

/* ---- scratch directories, in memory where that is to be had ---- */

static char top[64], dst[80], src[80];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void scratch(void)
{
	snprintf(top, sizeof(top), "%s/mirror.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(top))
		abort();
	snprintf(dst, sizeof(dst), "%s/dst", top);
	snprintf(src, sizeof(src), "%s/src", top);
}

/* ---- sources ---- */

#define SEGMENTS 8

struct file {
	char name[SG_NAME_BYTES];
	uint8_t bytes[4096];
	size_t len;  /* as the mirror should have it */
	size_t full; /* as the source has it: with zeros behind */
};

struct spool_files {
	struct file file[SEGMENTS];
	size_t n;
	uint8_t id[SPOOL_ID_BYTES];
	uint64_t next;
	uint64_t time_ns; /* 0: the number */
	uint8_t version;  /* commit log */
};

static void add_segment(struct spool_files *s, uint32_t flags)
{
	struct sg_segment_header h = { .first_seq = s->next,
				       .created_ns = 1000 + s->next,
				       .flags = flags };
	struct file *f = &s->file[s->n++];

	memcpy(h.id, s->id, sizeof(h.id));
	sg_dir_name(f->name, s->next, SG_SEGMENT);
	sg_segment_header_write(f->bytes, &h);
	f->len = f->full = SG_HEADER_BYTES;
}

static void add_record(struct spool_files *s, size_t len)
{
	struct file *f = &s->file[s->n - 1];
	struct sg_frame frame = { .len = (uint32_t)len,
				  .seq = s->next,
				  .time_ns = s->time_ns ? s->time_ns : s->next };
	uint8_t payload[1024];
	struct iovec iov = { payload, len };
	size_t i;

	for (i = 0; i < len; i++)
		payload[i] = (uint8_t)(s->next * 31 + i);
	sg_frame_header_write(f->bytes + f->len, &frame, sg_frame_seed(s->id), &iov, 1);
	memcpy(f->bytes + f->len + SG_FRAME_BYTES, payload, len);
	f->len += SG_FRAME_BYTES + len;
	f->full = f->len;
	s->next++;
}

static void add_zeros(struct spool_files *s, size_t bytes)
{
	struct file *f = &s->file[s->n - 1];

	memset(f->bytes + f->len, 0, bytes);
	f->full = f->len + bytes;
}

/* Three segments: one preallocated, a record of nothing, the last one with records, too. */
static struct spool_files native(void)
{
	struct spool_files s = { .next = 1, .id = { 1, 2, 3 } };

	add_segment(&s, 0);
	add_record(&s, 5);
	add_record(&s, 0);
	add_record(&s, 33);
	add_segment(&s, SG_HEADER_ZEROS);
	add_record(&s, 9);
	add_record(&s, 1);
	add_zeros(&s, 77);
	add_segment(&s, 0);
	add_record(&s, 17);
	add_record(&s, 2);
	return s;
}

static void add_log(struct spool_files *s)
{
	struct file *f = &s->file[s->n++];

	sg_dir_name(f->name, s->next, SG_CL_SUFFIX);
	sg_cl_header_write(f->bytes, s->version);
	f->len = f->full = SG_CL_HEADER_BYTES;
}

static void add_commit(struct spool_files *s, uint16_t n, size_t len)
{
	struct file *f = &s->file[s->n - 1];
	uint8_t records[1024], crc[SG_CL_CRC_BYTES];
	struct sg_commit c = { .offset = s->next, .epoch = 3, .n = n, .len = (uint32_t)len };

	memset(records, 'r', sizeof(records));
	c.records = records;
	f->len += sg_commit_write(f->bytes + f->len, crc, s->version, &c);
	memcpy(f->bytes + f->len, records, len);
	memcpy(f->bytes + f->len + len, crc, sizeof(crc));
	f->len += len + sizeof(crc);
	f->full = f->len;
	s->next += n;
}

static struct spool_files commitlog(uint8_t version)
{
	struct spool_files s = { .next = 0, .version = version };

	add_log(&s);
	add_commit(&s, 1, 11);
	add_commit(&s, 3, 40);
	add_log(&s);
	add_commit(&s, 2, 1);
	add_commit(&s, 1, 0);
	add_log(&s);
	add_commit(&s, 1, 30);
	return s;
}

/* All of it as a stream. */
static size_t stream(const struct spool_files *s, uint8_t *out)
{
	size_t i, n = 0;

	for (i = 0; i < s->n; i++) {
		memcpy(out + n, s->file[i].bytes, s->file[i].full);
		n += s->file[i].full;
	}
	return n;
}

static void put_file(const char *dir, const char *name, const void *bytes, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0)
		abort();
}

static void put(const char *dir, const struct spool_files *s)
{
	size_t i;

	mkdir(dir, 0700);
	for (i = 0; i < s->n; i++)
		put_file(dir, s->file[i].name, s->file[i].bytes, s->file[i].full);
}

static ssize_t get_file(const char *dir, const char *name, uint8_t *out, size_t size)
{
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, out, size);
	close(fd);
	return n;
}

static size_t count_files(const char *dir, const char *suffix)
{
	struct sg_numbers list;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	size_t n;

	if (fd < 0)
		return 0;
	sg_dir_list(fd, suffix, &list);
	n = list.n;
	sg_numbers_free(&list);
	close(fd);
	return n;
}

static bool identical(const struct spool_files *s)
{
	uint8_t bytes[8192];
	size_t i;

	for (i = 0; i < s->n; i++)
		if (get_file(dst, s->file[i].name, bytes, sizeof(bytes)) !=
			    (ssize_t)s->file[i].len ||
		    memcmp(bytes, s->file[i].bytes, s->file[i].len) != 0)
			return false;
	return count_files(dst, SG_SEGMENT) + count_files(dst, SG_CL_SUFFIX) == s->n;
}

/* Whole frames, from the first on: a mirror that ended early. */
static bool prefix(const struct spool_files *s)
{
	uint8_t bytes[8192];
	ssize_t n;
	size_t i;

	for (i = 0; i < s->n; i++) {
		n = get_file(dst, s->file[i].name, bytes, sizeof(bytes));
		if (n < 0)
			return true;
		if ((size_t)n > s->file[i].len || memcmp(bytes, s->file[i].bytes, (size_t)n) != 0)
			return false;
	}
	return true;
}

/* ---- one mirror after another ---- */

static int open_mirror(struct spool_mirror **m, uint32_t flags)
{
	struct spool_mirror_config c = SPOOL_MIRROR_CONFIG_INIT;

	c.flags = flags;
	return spool_mirror_open(m, dst, &c);
}

/* Two writes, cut at `cut`, and the end. */
static int mirror_cut(const uint8_t *p, size_t len, size_t cut, uint32_t flags,
		      struct spool_mirror_progress *progress)
{
	struct spool_mirror *m;
	int err = open_mirror(&m, flags), ended;

	if (err)
		return err;
	err = spool_mirror_write(m, p, cut);
	if (!err)
		err = spool_mirror_write(m, p + cut, len - cut);
	ended = spool_mirror_finish(m);
	if (progress)
		spool_mirror_status(m, progress);
	spool_mirror_close(m);
	return err ? err : ended;
}

static int mirror(const uint8_t *p, size_t len, uint32_t flags)
{
	return mirror_cut(p, len, len, flags, NULL);
}

static void every_split(const struct spool_files *s)
{
	uint8_t p[16384];
	size_t len = stream(s, p), cut;

	scratch();
	for (cut = 0; cut <= len; cut++) {
		CU_ASSERT_EQUAL(mirror_cut(p, len, cut, 0, NULL), 0);
		CU_ASSERT(identical(s));
		remove_all(dst);
	}
	remove_all(top);
}

static void every_split_point_gives_the_same_mirror(void)
{
	struct spool_files s = native();

	every_split(&s);
}

static void every_split_point_of_a_commit_log_gives_the_same_mirror(void)
{
	struct spool_files s = commitlog(1);

	every_split(&s);
	s = commitlog(0);
	every_split(&s);
}

static void random_splits(const struct spool_files *s, unsigned int seed)
{
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len = stream(s, p), at, n, most = 1 + seed % 90;

	srandom(seed);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, seed % 2 ? SPOOL_MIRROR_TRIM : 0), 0);
	for (at = 0; at < len; at += n) {
		n = 1 + (size_t)random() % most;
		n = n < len - at ? n : len - at;
		CU_ASSERT_EQUAL(spool_mirror_write(m, p + at, n), 0);
	}
	CU_ASSERT_EQUAL(spool_mirror_finish(m), 0);
	spool_mirror_close(m);
	CU_ASSERT(identical(s));
	remove_all(dst);
}

static void random_splits_give_the_same_mirror(void)
{
	struct spool_files a = native(), b = commitlog(1);
	unsigned int seed;

	scratch();
	for (seed = 0; seed < 180; seed++) {
		random_splits(&a, seed);
		random_splits(&b, seed);
	}
	remove_all(top);
}

/* ---- resuming ---- */

static void resume_everywhere(const struct spool_files *s)
{
	struct spool_mirror_progress progress;
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len = stream(s, p), cut;
	uint64_t had;

	scratch();
	for (cut = 0; cut <= len; cut++) {
		CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
		CU_ASSERT_EQUAL(spool_mirror_write(m, p, cut), 0);
		spool_mirror_status(m, &progress);
		had = progress.written_seq;
		spool_mirror_close(m);
		CU_ASSERT_EQUAL(mirror_cut(p, len, len, 0, &progress), 0);
		CU_ASSERT_EQUAL(progress.skipped_records, had);
		CU_ASSERT_EQUAL(progress.durable_seq, progress.written_seq);
		CU_ASSERT(identical(s));
		remove_all(dst);
	}
	remove_all(top);
}

static void a_mirror_resumes_wherever_the_stream_broke_off(void)
{
	struct spool_files s = native(), log = commitlog(1);

	resume_everywhere(&s);
	resume_everywhere(&log);
}

/* What lies in quarantine/: all of it, whatever its name. */
static ssize_t kept(uint8_t *out, size_t size)
{
	char dir[128];
	struct dirent *e;
	ssize_t n = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/quarantine", dst);
	d = opendir(dir);
	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			n += get_file(dir, e->d_name, out + n, size - (size_t)n);
	if (d)
		closedir(d);
	return n;
}

/* Is there anything but whole files in it? */
static bool kept_a_range(void)
{
	char dir[128];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/quarantine", dst);
	d = opendir(dir);
	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && strlen(e->d_name) != 20 + strlen(SG_SEGMENT))
			found = true;
	if (d)
		closedir(d);
	return found;
}

/* A crash of the mirror's machine: its last segment, of two frames behind `header` bytes, ends anywhere. */
static void torn_everywhere(const struct spool_files *s, size_t header, size_t first)
{
	const struct file *last = &s->file[s->n - 1];
	uint8_t p[16384], out[8192];
	size_t len = stream(s, p), cut, whole;

	scratch();
	for (cut = 0; cut < last->len; cut++) {
		whole = cut < header ? 0 : cut < header + first ? header : header + first;
		put(dst, s);
		put_file(dst, last->name, last->bytes, cut);
		CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
		CU_ASSERT_EQUAL(kept(out, sizeof(out)), (ssize_t)(cut - whole));
		CU_ASSERT(memcmp(out, last->bytes + whole, cut - whole) == 0);
		CU_ASSERT_EQUAL(get_file(dst, last->name, out, sizeof(out)), (ssize_t)last->len);
		CU_ASSERT(memcmp(out, last->bytes, last->len) == 0);
		remove_all(dst);
	}
	remove_all(top);
}

static void a_torn_tail_of_the_mirror_is_kept_and_cut(void)
{
	struct spool_files s = native(), log = commitlog(1);

	torn_everywhere(&s, SG_HEADER_BYTES, SG_FRAME_BYTES + 17);
	add_commit(&log, 1, 5);
	torn_everywhere(&log, SG_CL_HEADER_BYTES, SG_CL_COMMIT_MAX + 30 + SG_CL_CRC_BYTES);
}

static void damage_in_the_mirror_is_refused(void)
{
	struct spool_files s = native(), hurt = s;
	uint8_t p[16384];
	size_t len = stream(&s, p);

	scratch();
	hurt.file[2].bytes[SG_HEADER_BYTES + 40] ^= 1;
	put(dst, &hurt);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	remove_all(top);
}

/* ---- wrong streams ---- */

static void a_flipped_byte_ends_the_mirror_before_it(void)
{
	struct spool_files s = native();
	uint8_t p[16384], bytes[8192];
	size_t len = stream(&s, p), at, f, in = 0;
	int err;

	scratch();
	for (at = 0, f = 0; at < len; at++, in++) {
		if (in == s.file[f].full) {
			f++;
			in = 0;
		}
		p[at] ^= 0x10;
		err = mirror(p, len, 0);
		p[at] ^= 0x10;
		if (in <
		    SG_HEADER_BYTES) { /* the other copy stands for it, and the byte is passed on */
			CU_ASSERT_EQUAL(err, 0);
			CU_ASSERT_EQUAL(get_file(dst, s.file[f].name, bytes, sizeof(bytes)),
					(ssize_t)s.file[f].len);
			CU_ASSERT_EQUAL(bytes[in], p[at] ^ 0x10);
		} else {
			CU_ASSERT(err == -EBADMSG || err == -ESPIPE);
			CU_ASSERT(prefix(&s));
			CU_ASSERT_EQUAL(count_files(dst, SG_SEGMENT), f + 1);
			/* …and mended, it goes on from there. */
			CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
			CU_ASSERT(identical(&s));
		}
		remove_all(dst);
	}
	remove_all(top);
}

static void a_flipped_byte_in_a_commit_log_ends_the_mirror(void)
{
	struct spool_files s = commitlog(1);
	uint8_t p[16384];
	size_t len = stream(&s, p), at;

	scratch();
	for (at = 0; at < len; at++) {
		p[at] ^= 0x10;
		CU_ASSERT_NOT_EQUAL(mirror(p, len, 0), 0);
		p[at] ^= 0x10;
		CU_ASSERT(prefix(&s));
		CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
		CU_ASSERT(identical(&s));
		remove_all(dst);
	}
	remove_all(top);
}

static void a_missing_record_is_told_by_number(void)
{
	struct spool_files s = { .next = 1, .id = { 7 } };
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	add_record(&s, 4);
	s.next = 3;
	add_record(&s, 4);
	len = stream(&s, p);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, len), -ESPIPE);
	CU_ASSERT_STRING_EQUAL(spool_mirror_why(m), "expected record 2, found 3");
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, len), -ESPIPE);
	CU_ASSERT_EQUAL(spool_mirror_finish(m), -ESPIPE);
	spool_mirror_close(m);
	CU_ASSERT(prefix(&s));
	remove_all(top);
}

static void a_missing_segment_is_told_by_number(void)
{
	struct spool_files s = native();
	uint8_t p[16384];
	size_t len = stream(&s, p), cut = s.file[0].full + s.file[1].full;

	scratch();
	memmove(p + s.file[0].full, p + cut, len - cut);
	CU_ASSERT_EQUAL(mirror(p, len - s.file[1].full, 0), -ESPIPE);
	CU_ASSERT_EQUAL(count_files(dst, SG_SEGMENT), 1);
	remove_all(top);
}

static void a_stream_that_begins_behind_the_mirror_is_a_gap(void)
{
	struct spool_files s = native();

	scratch();
	CU_ASSERT_EQUAL(mirror(s.file[0].bytes, s.file[0].full, 0), 0);
	CU_ASSERT_EQUAL(mirror(s.file[2].bytes, s.file[2].full, 0), -ESPIPE);
	CU_ASSERT_EQUAL(mirror(s.file[1].bytes, s.file[1].full, 0), 0);
	CU_ASSERT_EQUAL(mirror(s.file[2].bytes, s.file[2].full, 0), 0);
	CU_ASSERT(identical(&s));
	remove_all(top);
}

static void a_fresh_mirror_may_begin_with_any_segment(void)
{
	struct spool_files s = native();
	struct spool_mirror_progress progress;

	scratch();
	CU_ASSERT_EQUAL(mirror_cut(s.file[2].bytes, s.file[2].full, 0, 0, &progress), 0);
	CU_ASSERT_EQUAL(progress.durable_seq, s.next - 1);
	CU_ASSERT_EQUAL(count_files(dst, SG_SEGMENT), 1);
	remove_all(top);
}

static void another_spool_is_refused(void)
{
	struct spool_files a = native(), b = { .next = 1, .id = { 9, 9 } };
	uint8_t p[16384];
	size_t len;

	scratch();
	len = stream(&a, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	add_segment(&b, 0);
	add_record(&b, 5);
	len = stream(&b, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	CU_ASSERT(identical(&a));
	remove_all(top);
}

/* A machine crashed, lost what was not durable, and numbered anew. */
static void a_source_that_changed_behind_the_mirror_is_refused(void)
{
	struct spool_files s = { .next = 1, .id = { 4 } }, t;
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	add_record(&s, 4);
	t = s;
	add_record(&s, 6);
	add_record(&t, 6);
	t.file[0].len -= SG_FRAME_BYTES + 6; /* the same number and length, another time */
	t.next--;
	t.time_ns = 99;
	add_record(&t, 6);
	add_record(&t, 6);
	len = stream(&s, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	len = stream(&t, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	put(src, &t);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -EBADMSG);
	CU_ASSERT(identical(&s));
	remove_all(top);
}

/* The same records, but in other files: then the copy would not be one. */
static void a_stream_divided_in_another_way_is_refused(void)
{
	struct spool_files s = { .next = 1, .id = { 4 } }, t;
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	add_record(&s, 4);
	add_record(&s, 4);
	t = s;
	add_segment(&s, 0);
	add_record(&s, 4);
	add_record(&t, 4);
	add_record(&t, 4);
	len = stream(&s, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	len = stream(&t, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	CU_ASSERT(identical(&s));
	remove_all(dst);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	len = stream(&s, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	CU_ASSERT(identical(&t));
	remove_all(top);
}

/* "(ds)^2" is a number, too. */
static void a_commit_whose_offset_looks_like_the_magic_is_no_header(void)
{
	struct spool_files s = { .next = UINT64_C(0x325e29736428) - 1, .version = 1 };

	add_log(&s);
	add_commit(&s, 1, 11);
	add_commit(&s, 1, 12);
	add_log(&s);
	add_commit(&s, 1, 13);
	every_split(&s);
}

static void another_format_is_refused(void)
{
	struct spool_files s = native(), log = commitlog(1);
	uint8_t p[16384];
	size_t len = stream(&s, p);

	scratch();
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	len = stream(&log, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), -EBADMSG);
	put(src, &log);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -EBADMSG);
	remove_all(top);
}

/* ---- the end ---- */

static void fragments(const struct spool_files *s)
{
	struct spool_mirror_progress progress;
	uint8_t p[16384];
	size_t len = stream(s, p), cut, whole;

	scratch();
	whole = len - s->file[s->n - 1].len;
	for (cut = whole + 1; cut < len; cut++) {
		int err = mirror(p, cut, 0);

		CU_ASSERT(err == 0 || err == -EBADMSG);
		CU_ASSERT(prefix(s));
		remove_all(dst);
		CU_ASSERT_EQUAL(mirror_cut(p, cut, cut / 2, SPOOL_MIRROR_TRIM, &progress), 0);
		CU_ASSERT_EQUAL(progress.trimmed_bytes != 0, err != 0);
		CU_ASSERT(prefix(s));
		CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
		CU_ASSERT(identical(s));
		remove_all(dst);
	}
	remove_all(top);
}

static void a_trailing_fragment_is_an_error_or_trimmed(void)
{
	struct spool_files s = native(), log = commitlog(1);

	fragments(&s);
	fragments(&log);
}

static void trailing_garbage_of_any_length_is_trimmed_if_asked(void)
{
	struct spool_files s = native();
	struct spool_mirror_progress progress;
	uint8_t p[300000];
	size_t len = stream(&s, p), n;

	scratch();
	for (n = 1; n < 200000; n = n * 3 + 1) {
		memset(p + len, 0x5a, n);
		CU_ASSERT_EQUAL(mirror(p, len + n, 0), -EBADMSG);
		CU_ASSERT_EQUAL(mirror_cut(p, len + n, 3, SPOOL_MIRROR_TRIM, &progress), 0);
		CU_ASSERT_EQUAL(progress.trimmed_bytes, n);
		CU_ASSERT(identical(&s));
		remove_all(dst);
	}
	remove_all(top);
}

static void damage_with_records_behind_it_is_never_trimmed(void)
{
	struct spool_files s = native();
	const struct file *last = &s.file[2];
	uint8_t p[16384];
	size_t len = stream(&s, p), at, cut;

	scratch();
	/* the first frame of the last segment: one follows */
	for (at = len - last->len + SG_HEADER_BYTES; at < len - last->len + SG_HEADER_BYTES + 49;
	     at++)
		for (cut = at - 3; cut < at + 3; cut++) {
			p[at] ^= 0x21;
			CU_ASSERT_EQUAL(mirror_cut(p, len, cut, SPOOL_MIRROR_TRIM, NULL), -EBADMSG);
			p[at] ^= 0x21;
			CU_ASSERT(prefix(&s));
			remove_all(dst);
		}
	remove_all(top);
}

static void an_empty_newest_segment_is_mirrored(void)
{
	struct spool_files s = native(), log = commitlog(0);
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	len = stream(&s, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	CU_ASSERT(identical(&s));
	remove_all(dst);
	add_log(&log);
	len = stream(&log, p);
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	CU_ASSERT(identical(&log));
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	CU_ASSERT(identical(&log));
	remove_all(top);
}

/* ---- durability ---- */

static size_t segments_at_sync[8];

static void note_sync(void)
{
	if (syncs <= 8)
		segments_at_sync[syncs - 1] = count_files(dst, SG_SEGMENT);
}

static void a_segment_is_synced_before_the_next_begins(void)
{
	struct spool_files s = native();
	uint8_t p[16384];
	size_t len = stream(&s, p);

	scratch();
	syncs = 0;
	on_sync = note_sync;
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	on_sync = NULL;
	CU_ASSERT_EQUAL(syncs, 3);
	CU_ASSERT_EQUAL(segments_at_sync[0], 1);
	CU_ASSERT_EQUAL(segments_at_sync[1], 2);
	CU_ASSERT_EQUAL(segments_at_sync[2], 3);
	remove_all(top);
}

static void written_and_durable_are_told_apart(void)
{
	struct spool_files s = native();
	struct spool_mirror_progress progress;
	struct spool_mirror *m;

	scratch();
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, s.file[0].bytes, s.file[0].full), 0);
	spool_mirror_status(m, &progress);
	CU_ASSERT_EQUAL(progress.written_seq, 3);
	CU_ASSERT_EQUAL(progress.durable_seq, 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, s.file[1].bytes, s.file[1].full), 0);
	spool_mirror_status(m, &progress);
	CU_ASSERT_EQUAL(progress.written_seq, 5);
	CU_ASSERT_EQUAL(progress.durable_seq, 3);
	CU_ASSERT_EQUAL(progress.durable_bytes, s.file[0].len);
	CU_ASSERT_EQUAL(spool_mirror_finish(m), 0);
	spool_mirror_status(m, &progress);
	CU_ASSERT_EQUAL(progress.durable_seq, 5);
	CU_ASSERT_EQUAL(progress.written_bytes, s.file[0].len + s.file[1].len);
	spool_mirror_close(m);
	remove_all(top);
}

static void a_failed_sync_is_returned_and_not_tried_again(void)
{
	struct spool_files s = native();
	struct spool_mirror_progress progress;
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len = stream(&s, p);
	int n;

	scratch();
	for (n = 1; n <= 3; n++) {
		int err;

		CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
		sync_fails_in = n;
		err = spool_mirror_write(m, p, len);
		CU_ASSERT_EQUAL(err, n < 3 ? -EIO : 0);
		syncs = 0;
		CU_ASSERT_EQUAL(spool_mirror_finish(m), -EIO);
		CU_ASSERT_EQUAL(spool_mirror_finish(m), -EIO);
		CU_ASSERT_EQUAL(syncs, n == 3 ? 1 : 0);
		spool_mirror_status(m, &progress);
		CU_ASSERT(progress.durable_seq < progress.written_seq);
		spool_mirror_close(m);
		sync_fails_in = 0;
		CU_ASSERT(prefix(&s));
		remove_all(dst);
	}
	remove_all(top);
}

static void a_failed_sync_of_the_directory_is_returned(void)
{
	struct spool_files s = native();
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len = stream(&s, p);
	int n;

	scratch();
	/* The new directory in its parent, the mirror at open, and one new name after the other. */
	for (n = 1; n <= 5; n++) {
		dir_sync_fails_in = n;
		CU_ASSERT_EQUAL(mirror(p, len, 0), -EIO);
		CU_ASSERT_EQUAL(dir_sync_fails_in, 0);
		CU_ASSERT(prefix(&s));
		remove_all(dst);
	}
	CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
	/* What an earlier mirror wrote is only durable when it could be synced. */
	sync_fails_in = 1;
	CU_ASSERT_EQUAL(open_mirror(&m, 0), -EIO);
	sync_fails_in = 0;
	dir_sync_fails_in = 1;
	CU_ASSERT_EQUAL(open_mirror(&m, 0), -EIO);
	dir_sync_fails_in = 0;
	remove_all(top);
}

static void a_full_disk_leaves_a_whole_mirror(void)
{
	struct spool_files s = native();
	uint8_t p[16384];
	size_t len = stream(&s, p);
	int n, err;

	scratch();
	for (n = 1; n < 40; n++) {
		write_fails_in = n;
		err = mirror(p, len, 0);
		write_fails_in = 0;
		CU_ASSERT(err == -ENOSPC || (err == 0 && identical(&s)));
		CU_ASSERT(prefix(&s));
		CU_ASSERT_EQUAL(mirror(p, len, 0), 0);
		/* Half a frame was taken back at once; only a file of half a header had to be kept. */
		CU_ASSERT_FALSE(kept_a_range());
		CU_ASSERT(identical(&s));
		remove_all(dst);
	}
	remove_all(top);
}

static uint64_t said_durable(const struct spool_files *s)
{
	uint64_t durable = 0, appended;
	uint8_t p[SG_DURABLE_BYTES];

	CU_ASSERT_EQUAL(get_file(dst, "durable", p, sizeof(p)), (ssize_t)sizeof(p));
	CU_ASSERT(sg_durable_read(p, sizeof(p), sg_frame_seed(s->id), &durable, &appended));
	return durable;
}

static void what_a_full_disk_refused_is_not_called_durable(void)
{
	struct spool_files s = { .next = 1, .id = { 7 } };
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t first, len;

	scratch();
	add_segment(&s, 0);
	add_record(&s, 40);
	first = stream(&s, p);
	add_record(&s, 40);
	len = stream(&s, p);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, first), 0);
	write_fails_in = 1;
	CU_ASSERT_EQUAL(spool_mirror_write(m, p + first, len - first), -ENOSPC);
	write_fails_in = 0;
	CU_ASSERT_EQUAL(spool_mirror_finish(m), -ENOSPC);
	spool_mirror_close(m);
	CU_ASSERT_EQUAL(said_durable(&s), 1);
	remove_all(top);
}

/* As who mends a damaged mirror does. */
static void what_was_removed_from_a_mirror_is_not_called_durable(void)
{
	struct spool_files s = native();
	struct spool_mirror *m;
	char path[256];
	uint8_t p[16384];

	scratch();
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, stream(&s, p)), 0);
	CU_ASSERT_EQUAL(spool_mirror_finish(m), 0);
	spool_mirror_close(m);
	snprintf(path, sizeof(path), "%s/%s", dst, s.file[s.n - 1].name);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT(said_durable(&s) < strtoull(s.file[s.n - 1].name, NULL, 10));
	spool_mirror_close(m);
	remove_all(top);
}

/* The last thing that a mirror does before a gap is to write what came before it. */
static void a_write_that_fails_before_a_gap_is_told_instead_of_it(void)
{
	struct spool_files s = { .next = 1, .id = { 7 } };
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	add_record(&s, 40);
	s.next = 3;
	add_record(&s, 4);
	len = stream(&s, p);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	write_fails_in = 3; /* `durable` and the header are the first */
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, len), -ENOSPC);
	write_fails_in = 0;
	CU_ASSERT_EQUAL(spool_mirror_finish(m), -ENOSPC);
	spool_mirror_close(m);
	CU_ASSERT_EQUAL(get_file(dst, s.file[0].name, p, sizeof(p)), SG_HEADER_BYTES);
	remove_all(top);
}

static void a_long_segment_is_synced_on_the_way(void)
{
	struct spool_files s = { .next = 1, .id = { 7 } };
	struct spool_mirror_progress progress;
	const size_t len = 1 << 20;
	uint8_t *frame = calloc(1, SG_FRAME_BYTES + len);
	struct iovec iov = { frame + SG_FRAME_BYTES, len };
	struct sg_frame f = { .len = (uint32_t)len };
	struct spool_mirror *m;

	CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
	scratch();
	add_segment(&s, 0);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, s.file[0].bytes, SG_HEADER_BYTES), 0);
	for (f.seq = 1; f.seq <= 70; f.seq++) {
		sg_frame_header_write(frame, &f, sg_frame_seed(s.id), &iov, 1);
		CU_ASSERT_EQUAL(spool_mirror_write(m, frame, SG_FRAME_BYTES + len), 0);
	}
	spool_mirror_status(m, &progress);
	CU_ASSERT_EQUAL(progress.written_seq, 70);
	CU_ASSERT(progress.durable_seq >= 60 && progress.durable_seq < 70);
	spool_mirror_close(m);
	free(frame);
	remove_all(top);
}

static void a_second_mirror_is_refused(void)
{
	struct spool_mirror *m, *n;

	scratch();
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(open_mirror(&n, 0), -EBUSY);
	CU_ASSERT_PTR_NULL(n);
	spool_mirror_close(m);
	CU_ASSERT_EQUAL(open_mirror(&n, 0), 0);
	spool_mirror_close(n);
	remove_all(top);
}

static void a_claimed_length_allocates_nothing(void)
{
	struct spool_files s = { .next = 1, .id = { 4 } };
	const struct sg_frame big = { .len = SPOOL_RECORD_MAX, .seq = 1 };
	struct spool_mirror *m;
	uint8_t p[16384];
	size_t len;

	scratch();
	add_segment(&s, 0);
	len = stream(&s, p);
	sg_frame_header_write(p + len, &big, sg_frame_seed(s.id), NULL, 0);
	CU_ASSERT_EQUAL_FATAL(open_mirror(&m, 0), 0);
	CU_ASSERT_EQUAL(spool_mirror_write(m, p, len + SG_FRAME_BYTES + 100), 0);
	CU_ASSERT(m->in.room <= 8192);
	CU_ASSERT_EQUAL(spool_mirror_finish(m), -EBADMSG);
	spool_mirror_close(m);
	remove_all(top);
}

/* ---- directories ---- */

static void a_directory_is_mirrored_and_then_only_what_is_new(void)
{
	struct spool_files s = native();
	struct spool_mirror_progress progress;
	uint64_t first;

	scratch();
	put(src, &s);
	read_bytes = 0;
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, &progress), 0);
	first = read_bytes;
	CU_ASSERT_EQUAL(progress.durable_seq, 7);
	CU_ASSERT(identical(&s));
	add_record(&s, 20);
	put(src, &s);
	read_bytes = 0;
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, &progress), 0);
	CU_ASSERT_EQUAL(progress.skipped_records, 1);
	CU_ASSERT_EQUAL(progress.durable_seq, 8);
	CU_ASSERT(read_bytes < first);
	CU_ASSERT(identical(&s));
	remove_all(top);
}

static void a_directory_that_grows_is_followed_from_any_record(void)
{
	struct spool_files all = { .next = 1, .id = { 5 } };
	unsigned int i;

	scratch();
	for (i = 0; i < 40; i++) {
		if (i % 7 == 0)
			add_segment(&all, i % 14 ? SG_HEADER_ZEROS : 0);
		add_record(&all, i * 3);
		if (i % 14 == 13)
			add_zeros(&all, 100);
		put(src, &all);
		CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
		CU_ASSERT(identical(&all));
	}
	remove_all(top);
}

static void a_commit_log_directory_is_mirrored(void)
{
	struct spool_files s = commitlog(1);

	scratch();
	put(src, &s);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&s));
	add_commit(&s, 4, 9);
	add_log(&s);
	put(src, &s);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&s));
	add_commit(&s, 1, 9);
	put(src, &s);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&s));
	remove_all(top);
}

static void deleted_segments_of_the_source_cost_the_mirror_nothing(void)
{
	struct spool_files s = native();
	char path[256];

	scratch();
	put(src, &s);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	snprintf(path, sizeof(path), "%s/%s", src, s.file[0].name);
	unlink(path);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&s));
	remove_all(top);
}

/* Beside a writer: what is durable, and no error for what is being appended. */
static void of_a_live_source_only_durable_records_are_taken(void)
{
	struct spool_files s = native(), want;
	uint8_t durable[SG_DURABLE_BYTES];
	int dirfd, lock;

	scratch();
	s.next = 8;
	want = s;
	add_record(&s, 50);
	add_record(&s, 50);
	s.file[2].full -= 13;
	put(src, &s);
	sg_durable_write(durable, sg_frame_seed(s.id), 7, 9);
	put_file(src, "durable", durable, sizeof(durable));
	dirfd = sg_dir_open(src);
	lock = sg_dir_lock(dirfd, 0600);
	CU_ASSERT_FATAL(lock >= 0);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&want));
	close(lock);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -EBADMSG);
	close(dirfd);
	remove_all(top);
}

/* A writer that has told nothing yet: the segments before the last one are durable. */
static void of_a_silent_live_source_the_complete_segments_are_taken(void)
{
	struct spool_files s = native(), want = s;
	int dirfd, lock;

	scratch();
	want.n = 2;
	put(src, &s);
	dirfd = sg_dir_open(src);
	lock = sg_dir_lock(dirfd, 0600);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	CU_ASSERT(identical(&want));
	close(lock);
	close(dirfd);
	remove_all(top);
}

static void a_failed_sync_of_the_source_is_no_success(void)
{
	struct spool_files s = native();

	scratch();
	put(src, &s);
	sync_fails_in = 1;
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -EIO);
	sync_fails_in = 0;
	remove_all(top);
}

/* A reader deleted it after we looked. */
static void a_segment_that_goes_away_is_passed_over(void)
{
	struct spool_files s = native();
	uint8_t bytes[8192];
	struct sg_source source;
	char path[256];
	size_t got;

	scratch();
	put(src, &s);
	CU_ASSERT_EQUAL_FATAL(sg_source_open(&source, src, SPOOL_FORMAT_DETECT), 0);
	snprintf(path, sizeof(path), "%s/%s", src, s.file[0].name);
	unlink(path);
	CU_ASSERT_EQUAL(sg_source_read(&source, bytes, sizeof(bytes), &got), 0);
	CU_ASSERT_EQUAL(got, s.file[1].full);
	CU_ASSERT_EQUAL(sg_source_number(&source), 4);
	sg_source_close(&source);
	remove_all(top);
}

static void a_directory_is_no_mirror_of_itself(void)
{
	struct spool_files s = native();
	uint8_t p[4096];
	char also[128];

	scratch();
	/* What its writer has not written to the end yet must not be taken for a torn tail of the mirror. */
	s.file[s.n - 1].len -= 3;
	s.file[s.n - 1].full = s.file[s.n - 1].len;
	put(src, &s);
	snprintf(also, sizeof(also), "%s/../src", src);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, also, NULL, NULL), -EINVAL);
	CU_ASSERT_EQUAL(get_file(src, s.file[s.n - 1].name, p, sizeof(p)),
			(ssize_t)s.file[s.n - 1].len);
	snprintf(also, sizeof(also), "%s/lock", src);
	CU_ASSERT_EQUAL(access(also, F_OK), -1);
	remove_all(top);
}

static void bad_sources_are_errors(void)
{
	scratch();
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -ENOENT);
	mkdir(src, 0700);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), -EBADMSG);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, src, NULL, NULL), -EINVAL);
	put_file(src, "00000000000000000001.spool", "", 0);
	CU_ASSERT_EQUAL(spool_mirror_dir(src, dst, NULL, NULL), 0);
	remove_all(top);
}

static void a_bad_configuration_is_refused(void)
{
	struct spool_mirror_config c = SPOOL_MIRROR_CONFIG_INIT;
	struct spool_mirror *m;

	scratch();
	c.flags = 0x80;
	CU_ASSERT_EQUAL(spool_mirror_open(&m, dst, &c), -EINVAL);
	c.flags = 0;
	c.format = SPOOL_FORMAT_AUDIT;
	CU_ASSERT_EQUAL(spool_mirror_open(&m, dst, &c), -EINVAL);
	c.size = sizeof(c) + 8;
	CU_ASSERT_EQUAL(spool_mirror_open(&m, dst, &c), -EINVAL);
	CU_ASSERT_EQUAL(access(dst, F_OK), -1);
	remove_all(top);
}

SG_TESTS("mirror", TEST(every_split_point_gives_the_same_mirror),
	 TEST(every_split_point_of_a_commit_log_gives_the_same_mirror),
	 TEST(random_splits_give_the_same_mirror),
	 TEST(a_mirror_resumes_wherever_the_stream_broke_off),
	 TEST(a_torn_tail_of_the_mirror_is_kept_and_cut), TEST(damage_in_the_mirror_is_refused),
	 TEST(a_flipped_byte_ends_the_mirror_before_it),
	 TEST(a_flipped_byte_in_a_commit_log_ends_the_mirror),
	 TEST(a_missing_record_is_told_by_number), TEST(a_missing_segment_is_told_by_number),
	 TEST(a_stream_that_begins_behind_the_mirror_is_a_gap),
	 TEST(a_fresh_mirror_may_begin_with_any_segment), TEST(another_spool_is_refused),
	 TEST(a_source_that_changed_behind_the_mirror_is_refused), TEST(another_format_is_refused),
	 TEST(a_trailing_fragment_is_an_error_or_trimmed),
	 TEST(trailing_garbage_of_any_length_is_trimmed_if_asked),
	 TEST(damage_with_records_behind_it_is_never_trimmed),
	 TEST(an_empty_newest_segment_is_mirrored),
	 TEST(a_segment_is_synced_before_the_next_begins), TEST(written_and_durable_are_told_apart),
	 TEST(a_failed_sync_is_returned_and_not_tried_again),
	 TEST(a_failed_sync_of_the_directory_is_returned), TEST(a_full_disk_leaves_a_whole_mirror),
	 TEST(a_stream_divided_in_another_way_is_refused),
	 TEST(what_a_full_disk_refused_is_not_called_durable),
	 TEST(what_was_removed_from_a_mirror_is_not_called_durable),
	 TEST(a_write_that_fails_before_a_gap_is_told_instead_of_it),
	 TEST(a_long_segment_is_synced_on_the_way), TEST(a_segment_that_goes_away_is_passed_over),
	 TEST(a_directory_is_no_mirror_of_itself),
	 TEST(a_commit_whose_offset_looks_like_the_magic_is_no_header),
	 TEST(a_second_mirror_is_refused), TEST(a_claimed_length_allocates_nothing),
	 TEST(a_directory_is_mirrored_and_then_only_what_is_new),
	 TEST(a_directory_that_grows_is_followed_from_any_record),
	 TEST(a_commit_log_directory_is_mirrored),
	 TEST(deleted_segments_of_the_source_cost_the_mirror_nothing),
	 TEST(of_a_live_source_only_durable_records_are_taken),
	 TEST(of_a_silent_live_source_the_complete_segments_are_taken),
	 TEST(a_failed_sync_of_the_source_is_no_success), TEST(bad_sources_are_errors),
	 TEST(a_bad_configuration_is_refused))
