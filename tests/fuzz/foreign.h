/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* For the targets of foreign formats: a directory in memory, and what must hold of any spool in it. */
#ifndef SG_FUZZ_FOREIGN_H
#define SG_FUZZ_FOREIGN_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/crc32c.h"
#include "spool/dir.h"
#include "spoolguard/spool.h"

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static char fuzz_dir[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return strcmp(path, fuzz_dir) == 0 ? 0 : remove(path);
}

static void empty_dir(void)
{
	MUST(nftw(fuzz_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void leave(void)
{
	empty_dir();
	rmdir(fuzz_dir);
}

/* Its descriptor; empty at each call. */
static int begin(void)
{
	static int fd = -1;

	if (fd < 0) {
		strcpy(fuzz_dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/spoolguard-fuzz.XXXXXX"
							       : "/tmp/spoolguard-fuzz.XXXXXX");
		MUST(mkdtemp(fuzz_dir) != NULL);
		atexit(leave);
		fd = sg_dir_open(fuzz_dir);
		MUST(fd >= 0);
	}
	empty_dir();
	return fd;
}

static void put(int dirfd, const char *name, const void *data, size_t n)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && sg_pwrite_all(fd, data, n, 0) == 0 && close(fd) == 0);
}

/* A number for all records of a scan and their order. */
static uint32_t digest(enum spool_format format, uint64_t *records)
{
	struct spool_record r;
	struct spool_scan *s;
	uint64_t last = 0;
	uint32_t crc = 0;
	int err;

	*records = 0;
	MUST(spool_scan_open(&s, fuzz_dir, format, 0) == 0);
	while ((err = spool_scan_next(s, &r)) == 0) {
		MUST(r.seq > last);
		last = r.seq;
		crc = sg_crc32c(crc, &r.len, sizeof(r.len));
		crc = sg_crc32c(crc, r.data, r.len);
		++*records;
	}
	MUST(err == -ENODATA);
	spool_scan_close(s);
	return crc;
}

static void only_gaps(void *arg, const struct spool_finding *f)
{
	MUST(f->kind == SPOOL_FOUND_GAP);
}

/* Recovered, the spool has the same records as before, and no fault but gaps. gone: all its files may be. */
static void check_recovery(enum spool_format format, bool gone)
{
	struct spool_check_config c = SPOOL_CHECK_CONFIG_INIT;
	struct spool_summary s;
	uint64_t before, after;
	uint32_t crc = digest(format, &before);
	int err;

	c.format = format;
	err = spool_verify(fuzz_dir, &c, &s);
	MUST((err == 0 || err == 1) && s.records == before);
	MUST(spool_recover(fuzz_dir, &c, &s) == err && s.records == before);
	c.found = only_gaps;
	err = spool_verify(fuzz_dir, &c, &s);
	if (gone && err == -ENOENT) {
		MUST(before == 0);
		return;
	}
	MUST(err == 0 || err == 1);
	MUST(digest(format, &after) == crc && after == before);
}

#endif
