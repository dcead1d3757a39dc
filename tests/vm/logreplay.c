/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * logreplay LOG list				one line per entry: number, sector, sectors, flags, mark
 * logreplay LOG replay IMAGE [mark NAME | upto N]
 *
 * Rebuilds in IMAGE (a file or device of the logged disk's size, in the state that the disk had when
 * logging began) what the disk held at a mark, or after the first N entries: a power cut there.
 *
 * A log is what dm-log-writes, and QEMU's blklogwrites, write; all little endian, in sectors of the size
 * that the first one names:
 *
 *	sector 0:	u64 magic "rhsswfj" as a number, u64 version (1), u64 entries, u32 sector size
 *	each entry:	one sector: u64 sector, u64 sectors, u64 flags, u64 length of text; a mark's text follows
 *			in the same sector; then the data, except for a discard or a mark
 *	flags:		1 flush, 2 FUA, 4 discard, 8 mark, 16 metadata
 *
 * An entry is valid if and only if (1) its header and data lie inside the log, (2) its flags are known, and
 * (3) its text ends inside its sector. The first that is not ends the program with status 1.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAGIC   0x6a736677736872ULL
#define LOG_VERSION 1
#define COPY_BYTES  (1 << 20)

enum {
	LOG_FLUSH = 1,
	LOG_FUA = 2,
	LOG_DISCARD = 4,
	LOG_MARK = 8,
	LOG_METADATA = 16,
	LOG_KNOWN = 31
};

struct super {
	uint64_t magic, version, entries;
	uint32_t sector_bytes;
} __attribute__((packed));

struct entry {
	uint64_t sector, sectors, flags, text_bytes;
};

struct log {
	int fd;
	off_t size;
	uint64_t entries, sector_bytes;
	/* the entry that was read last */
	uint64_t number;
	off_t next, data;
	struct entry e;
	char mark[4096];
};

static int bad(struct log *log, const char *what)
{
	fprintf(stderr, "logreplay: entry %llu: %s\n", (unsigned long long)log->number, what);
	return -EINVAL;
}

static int log_open(struct log *log, const char *path)
{
	struct super s;

	log->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (log->fd < 0)
		return -errno;
	/* not fstat: a log is often a block device */
	log->size = lseek(log->fd, 0, SEEK_END);
	if (pread(log->fd, &s, sizeof(s), 0) != sizeof(s) || le64toh(s.magic) != LOG_MAGIC)
		return bad(log, "this is no log of writes");
	if (le64toh(s.version) != LOG_VERSION)
		return bad(log, "an unknown version");
	log->entries = le64toh(s.entries);
	log->sector_bytes = le32toh(s.sector_bytes);
	if (log->sector_bytes < 512 || log->sector_bytes > sizeof(log->mark))
		return bad(log, "an impossible sector size");
	log->next = log->sector_bytes;
	return 0;
}

/* 1: log->e is the next entry; 0: there are no more; -errno */
static int log_next(struct log *log)
{
	struct entry *e = &log->e;
	uint64_t left;

	if (log->number >= log->entries)
		return 0;
	if (log->next + (off_t)log->sector_bytes > log->size)
		return bad(log, "its header lies beyond the log's end");
	if (pread(log->fd, e, sizeof(*e), log->next) != sizeof(*e))
		return -EIO;
	e->sector = le64toh(e->sector);
	e->sectors = le64toh(e->sectors);
	e->flags = le64toh(e->flags);
	e->text_bytes = le64toh(e->text_bytes);
	log->data = log->next + (off_t)log->sector_bytes;
	left = (uint64_t)(log->size - log->data) / log->sector_bytes;
	if (e->flags & ~(uint64_t)LOG_KNOWN)
		return bad(log, "unknown flags");
	if (e->text_bytes > log->sector_bytes - sizeof(*e))
		return bad(log, "its text is longer than its sector");
	if (!(e->flags & LOG_DISCARD) && e->sectors > left)
		return bad(log, "its data lie beyond the log's end");

	log->mark[0] = 0;
	if (e->flags & LOG_MARK) {
		if (pread(log->fd, log->mark, e->text_bytes, log->next + (off_t)sizeof(*e)) !=
		    (ssize_t)e->text_bytes)
			return -EIO;
		log->mark[e->text_bytes] = 0;
	}
	log->next = log->data;
	if (!(e->flags & LOG_DISCARD))
		log->next += (off_t)(e->sectors * log->sector_bytes);
	log->number++;
	return 1;
}

static int list(struct log *log)
{
	static const char *const names[] = { "flush", "fua", "discard", "mark", "metadata" };
	int ret;
	size_t i;

	while ((ret = log_next(log)) > 0) {
		printf("%llu %llu %llu ", (unsigned long long)log->number - 1,
		       (unsigned long long)log->e.sector, (unsigned long long)log->e.sectors);
		for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (log->e.flags & (1u << i))
				printf("%s,", names[i]);
		printf(" %s\n", log->mark);
	}
	return ret;
}

/* Copy BYTES of the log from FROM, or zeros if FROM is negative, to the image. */
static int put(struct log *log, int image, off_t from, off_t to, uint64_t bytes)
{
	static char copy[COPY_BYTES];
	size_t n;

	if (from < 0)
		memset(copy, 0, sizeof(copy));
	for (; bytes; bytes -= n, to += (off_t)n) {
		n = bytes < sizeof(copy) ? bytes : sizeof(copy);
		if (from >= 0) {
			if (pread(log->fd, copy, n, from) != (ssize_t)n)
				return -EIO;
			from += (off_t)n;
		}
		if (pwrite(image, copy, n, to) != (ssize_t)n)
			return errno ? -errno : -EIO;
	}
	return 0;
}

static int replay(struct log *log, const char *path, const char *mark, uint64_t upto)
{
	unsigned long long done = 0;
	int image, ret = 0;
	off_t size, to;

	image = open(path, O_WRONLY | O_CLOEXEC);
	if (image < 0)
		return -errno;
	size = lseek(image, 0, SEEK_END);
	while (log->number < upto && (ret = log_next(log)) > 0) {
		if (mark && !strcmp(log->mark, mark))
			break;
		if (log->e.flags & LOG_MARK)
			continue;
		to = (off_t)(log->e.sector * log->sector_bytes);
		if (log->e.sector > (uint64_t)size / log->sector_bytes ||
		    log->e.sectors > (uint64_t)(size - to) / log->sector_bytes) {
			ret = bad(log, "it writes beyond the image's end");
			break;
		}
		ret = put(log, image, log->e.flags & LOG_DISCARD ? -1 : log->data, to,
			  log->e.sectors * log->sector_bytes);
		if (ret)
			break;
		done++;
	}
	if (ret >= 0 && mark && strcmp(log->mark, mark)) {
		fprintf(stderr, "logreplay: no mark \"%s\"\n", mark);
		ret = -ENOENT;
	}
	if (ret >= 0)
		ret = fsync(image) ? -errno : 0;
	close(image);
	if (!ret)
		printf("replayed %llu entries\n", done);
	return ret;
}

int main(int argc, char **argv)
{
	struct log log = { .fd = -1 };
	const char *mark = NULL;
	uint64_t upto = UINT64_MAX;
	int ret;

	if (argc == 6 && !strcmp(argv[4], "mark"))
		mark = argv[5];
	else if (argc == 6 && !strcmp(argv[4], "upto"))
		upto = strtoull(argv[5], NULL, 0);
	if (!(argc == 3 && !strcmp(argv[2], "list")) &&
	    !((argc == 4 || mark || upto != UINT64_MAX) && !strcmp(argv[2], "replay"))) {
		fprintf(stderr,
			"usage: logreplay LOG list | LOG replay IMAGE [mark NAME | upto N]\n");
		return 2;
	}
	ret = log_open(&log, argv[1]);
	if (!ret)
		ret = argc == 3 ? list(&log) : replay(&log, argv[3], mark, upto);
	if (ret < 0)
		fprintf(stderr, "logreplay: %s: %s\n", argv[1], strerror(-ret));
	return ret < 0;
}
