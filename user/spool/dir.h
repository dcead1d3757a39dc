/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A spool as a directory: names, the lock, what is synced when, and the quarantine. Every call takes the
 * directory as a descriptor, so that a rename of the directory under a running program changes nothing.
 * Errors are negative errnos. Thread-safe as far as the file system is.
 */
#ifndef SG_SPOOL_DIR_H
#define SG_SPOOL_DIR_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SG_NAME_BYTES 64 /* room for any file name of ours but a cursor's and a quarantined one's */
#define SG_SEGMENT    ".spool"
#define SG_INDEX      ".index"

/*
 * Make `path` and its missing parents (mode: of files; directories get x where r is), each synced in its parent, and
 * open it. Not atomic: whoever finds it there goes on.
 */
int sg_dir_make(const char *path, uint32_t mode);

/* Open an existing one, O_CLOEXEC. */
int sg_dir_open(const char *path);

/* Take the writer's lock: a descriptor that holds it until it is closed, or -EBUSY. Made with `mode` if missing. */
int sg_dir_lock(int dirfd, uint32_t mode);

/* Give an flock back and close its descriptor. Closing alone would leave it to a child that was forked meanwhile. */
void sg_dir_unlock(int lock);

/* Does somebody hold it? A moment's truth. Never creates it, and never refuses it to anybody. */
bool sg_dir_locked(int dirfd);

/* fsync of the directory: 0 or -errno. */
int sg_dir_sync(int dirfd);

/* "00000000000000000042.spool" */
void sg_dir_name(char out[SG_NAME_BYTES], uint64_t number, const char *suffix);

/* The number in a name of 20 digits and exactly this suffix; false if it is no such name. */
bool sg_dir_number(const char *name, const char *suffix, uint64_t *number);

/* Read the directory: a stream of its own, so that the position of dirfd stays. closedir() it. */
int sg_dir_stream(int dirfd, DIR **d);

struct sg_numbers {
	uint64_t *v; /* ascending */
	size_t n;
};

/* All numbers of files with this suffix. Of those that are made meanwhile some may be missing, but none below another
 * that is there, if they are made in their order. Free with sg_numbers_free(), also after an error. */
int sg_dir_list(int dirfd, const char *suffix, struct sg_numbers *out);
void sg_numbers_free(struct sg_numbers *n);

/* Sum of st_size of all regular files, those in quarantine/ too. */
int sg_dir_bytes(int dirfd, uint64_t *bytes);

/*
 * Keep bytes [offset, offset + bytes) of the file `name` as quarantine/NAME.OFFSET (with .1, .2, … where that is
 * taken), synced with its directories. kept: its name there, for a report.
 */
#define SG_KEPT_BYTES 320
int sg_dir_keep_range(int dirfd, const char *name, uint64_t offset, uint64_t bytes, uint32_t mode,
		      char kept[SG_KEPT_BYTES]);

/* Keep the whole file, by a hard link where the file system has them, else by a copy. */
int sg_dir_keep_file(int dirfd, const char *name, uint32_t mode, char kept[SG_KEPT_BYTES]);

/* An interrupted call is made again at most so often: then EINTR is an error like others. */
#define SG_EINTR_MAX 100

/* pread and pwrite until all is done, or an end of file (*got < len), or an error. */
int sg_pread_all(int fd, void *buf, size_t len, uint64_t offset, size_t *got);
int sg_pwrite_all(int fd, const void *buf, size_t len, uint64_t offset);

#endif
