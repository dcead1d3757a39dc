/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Inside a mirror: two positions in one numbering. `in` is where the stream is, the rest is where the mirror ends.
 * What lies before the mirror's end is passed over, what lies right behind it is written, and anything else is an
 * error. Nothing of the mirror is ever written twice or in the middle.
 */
#ifndef SG_SPOOL_MIRROR_H
#define SG_SPOOL_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "spool/index.h"
#include "spool/stream.h"

struct spool_mirror {
	struct spool_mirror_config config;
	int dirfd, lock;
	enum spool_format format; /* of what is there; DETECT: nothing yet */

	/* where the mirror ends */
	int fd;				 /* its last segment; -1: none yet */
	uint64_t number, end;		 /* the name and the size of that */
	struct sg_segment_header header; /* native */
	uint8_t version;		 /* commit log */
	bool numbered;			 /* `next` counts; else the mirror may begin anywhere */
	uint64_t next;			 /* its next record */
	uint64_t last_first, last_at;	 /* its last frame: number of the first record, offset */
	uint32_t last_crc;
	bool empty; /* found with a header, and no record in it */
	bool last_known;       /* these three are set */
	uint64_t epoch;	       /* of that */
	struct sg_index index; /* native: of the last segment */

	/* where the stream is */
	struct sg_stream in;
	bool in_numbered;	       /* in.next was told by a frame */
	uint64_t in_number, in_offset; /* segment and place in it */
	bool in_held; /* commit log: the header waits for the number of its segment */
	uint8_t held[SG_CL_HEADER_BYTES];
	bool hinted; /* the stream comes from a directory: in_hint is the number in the name of its segment */
	uint64_t in_hint;
	uint64_t limit; /* records above are not taken, and end the stream */
	bool stopped;	/* that was so */

	/* frames that were checked and wait to be written at `end`, in one piece */
	const uint8_t *run;
	uint64_t run_bytes;

	uint64_t unsynced_bytes;
	bool dirty; /* the segment, or its name, is not synced */
	int durable_fd;
	bool sync_failed, finished;
	int error; /* the first; each later call returns it */
	char why[256];
	struct spool_mirror_progress progress;
};

#define SG_MIRROR_NAMES(m) ((m)->format == SPOOL_FORMAT_COMMITLOG ? SG_CL_SUFFIX : SG_SEGMENT)

/* Where does the mirror end? Cuts a torn tail, which goes to quarantine/ first, and syncs what is there. 0, -EBADMSG:
 * it is damaged elsewhere, or of two formats; or -errno. m->why tells. */
int sg_mirror_resume(struct spool_mirror *m);

/* Latch and explain an error. Returns it. */
int sg_mirror_fail(struct spool_mirror *m, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Is src the directory `dir`? To be asked before the mirror is opened, which cuts a torn tail: there it may be what the
 * source's writer is about to complete. */
bool sg_mirror_is_source(const char *src, const char *dir);

/*
 * Feed the segments of the directory src to the mirror, from where it ends. `progress` (may be NULL) is told how
 * many bytes were read of how many. Then call spool_mirror_finish(). Errors as spool_mirror_write(), and those of
 * open(2) and read(2); -EINVAL: src is the mirror itself.
 */
int sg_mirror_feed_dir(struct spool_mirror *m, const char *src,
		       void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes),
		       void *arg);

#endif
