/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * libspoolguard: a spool of checked records in a directory of segments.
 *
 * Every call returns 0 or a negative errno unless it says otherwise; nothing is printed. Nothing here is
 * async-signal-safe. A struct spool may be used by any number of threads; a reader, a mirror by one at a
 * time. After fork(2) the child must not touch what it inherited (closing it included).
 *
 * Words: a record is *appended* when the kernel has it, *durable* when a sync that began later has
 * succeeded, *at risk* between the two. The format is in docs/format.md. Link with -lspoolguard.
 */
#ifndef SPOOLGUARD_SPOOL_H
#define SPOOLGUARD_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPOOL_RECORD_MAX  67108864u /* most bytes of one record */
#define SPOOL_NAME_MAX	  64	    /* most characters of a consumer's name */
#define SPOOL_NO_DEADLINE UINT64_MAX
#define SPOOL_ID_BYTES	  16

/* All zero but the size; SPOOL_CONFIG_INIT and its like are made of it. */
#ifdef __cplusplus
#define SPOOL_INIT(type)                \
	([] {                           \
		struct type c = type(); \
		c.size = sizeof(c);     \
		return c;               \
	}())
#else
#define SPOOL_INIT(type)                     \
	{                                    \
		.size = sizeof(struct type), \
	}
#endif

/* ---- writing ---- */

struct spool;

/* When appended records are synced. Source of the modes: the audit spools that the format replaces. */
enum spool_sync_mode {
	/* As soon as batch_records, batch_bytes or batch_delay_ns is reached; these are also hard bounds of
	 * what is at risk: the next append waits. */
	SPOOL_SYNC_BATCH,
	/* Never by itself: at spool_sync(), spool_wait_durable(), rotation and close. */
	SPOOL_SYNC_NONE,
	/* spool_append() returns when its record is durable. Threads that append at once share a sync. */
	SPOOL_SYNC_RECORD,
	/* As BATCH, the bounds being limits only: how much is gathered follows the observed disk. */
	SPOOL_SYNC_ADAPTIVE,
};

/* What a failed sync, or a write that failed for another reason than space, does. */
enum spool_on_error {
	SPOOL_ON_ERROR_FAIL, /* this and every later call returns it (-EIO, …); open the spool anew */
	SPOOL_ON_ERROR_WARN, /* told to `notify` and in the status; appending goes on in a new segment, and
				 the records that it concerns stay reported as lost */
	SPOOL_ON_ERROR_ABORT, /* abort(3) */
};

enum spool_prealloc {
	SPOOL_PREALLOC_NONE,
	SPOOL_PREALLOC_RESERVE, /* fallocate(2), size kept: no ENOSPC inside a segment. -EOPNOTSUPP where the
				   file system cannot */
	SPOOL_PREALLOC_WRITTEN, /* zeros written: a sync then changes no metadata, which makes it cheaper */
};

/* What happened to the durability of a spool. */
struct spool_progress {
	uint64_t durable_seq;  /* all up to it is durable (but see lost_to); 0: nothing yet */
	uint64_t appended_seq; /* last record appended */
	uint64_t lost_from,
		lost_to; /* records that failed syncs concern; 0: none. With WARN only */
	int error;	 /* of the sync that just ended: 0 or negative errno */
};

/*
 * Called after each sync by the thread that made it, without a lock of ours held; it may append, it must
 * not close. Calls may come from several threads at once, and late: durable_seq may be lower than in an
 * earlier one. Syncs that it causes itself are told when it returns, by one more call; so if each call appends
 * something that is synced, they never end.
 */
typedef void (*spool_notify_fn)(void *arg, const struct spool_progress *progress);

/* Zero means the default everywhere. Always begin with SPOOL_CONFIG_INIT. */
struct spool_config {
	size_t size; /* sizeof(struct spool_config), so that it can grow */
	enum spool_sync_mode sync;
	enum spool_on_error on_error;
	enum spool_prealloc prealloc;
	uint32_t mode;		 /* permissions of new files; 0640 (directories get x where r is) */
	uint64_t batch_records;	 /* 64 */
	uint64_t batch_bytes;	 /* 1 MiB */
	uint64_t batch_delay_ns; /* 100 ms; at most 1 h */
	uint64_t
		segment_bytes; /* a segment is ended before it grows beyond; 64 MiB; 4 KiB to 1 TiB; at most a
				  quarter of max_bytes, since readers delete whole segments */
	uint64_t
		max_bytes; /* of all files of the directory, as in st_size; 0: no bound but the disk's */
	spool_notify_fn notify;
	void *notify_arg;
};
#define SPOOL_CONFIG_INIT SPOOL_INIT(spool_config)

/*
 * Open the spool in `dir` for appending; make it if it is not there, with parent directories, all durably.
 * A torn tail of the last segment (a crash) is moved to quarantine/ and cut; damage elsewhere is left to
 * spool_recover(). `config` may be NULL.
 *
 * -EBUSY: another writer (or a recovery, or a mirror) holds it. -EINVAL: a value of `config` is out of
 * range. -EBADMSG: the directory holds segments of two spools, or of no version known here. -ENOSPC and
 * whatever open(2), mkdir(2), read(2) return. Takes the lock of the directory until spool_close().
 */
int spool_open(struct spool **spool, const char *dir, const struct spool_config *config);

/*
 * Append one record. *seq (may be NULL) is its number. What is durable when it returns 0 depends on the mode.
 *
 * -EMSGSIZE: longer than SPOOL_RECORD_MAX. -ENOSPC, -EDQUOT: max_bytes or the disk is full; nothing was
 * appended, the spool is valid, and a later try may succeed. -EIO and others: see spool_on_error; in RECORD
 * mode the record itself may be in the file, with its durability unknown. -EOVERFLOW: record UINT64_MAX is there.
 * Thread-safe.
 */
int spool_append(struct spool *spool, const void *data, size_t len, uint64_t *seq);

/* The same of one record in pieces. -EINVAL: iovcnt is negative or above IOV_MAX (1024). */
int spool_appendv(struct spool *spool, const struct iovec *iov, int iovcnt, uint64_t *seq);

/* Make everything durable that was appended before the call. Returns 0 only after a sync that began after
 * it was entered, or if nothing is at risk. Thread-safe; callers share syncs. */
int spool_sync(struct spool *spool);

/*
 * Wait until record `seq` is durable, at most until deadline_ns of CLOCK_MONOTONIC (SPOOL_NO_DEADLINE).
 * In mode NONE, where nobody else would, it begins a sync, and the deadline is not looked at during it.
 * -ETIMEDOUT; -ERANGE: not yet appended; -EIO: it is among the records that a failed sync concerns.
 */
int spool_wait_durable(struct spool *spool, uint64_t seq, uint64_t deadline_ns);

/* All records up to this number are durable (with on_error WARN: but lost_from to lost_to). 0: none. */
uint64_t spool_durable_seq(const struct spool *spool);

struct spool_status {
	size_t size;	       /* set it to sizeof(struct spool_status) before the call */
	uint64_t first_seq;    /* oldest record; 0: empty */
	uint64_t appended_seq; /* newest record; 0: none */
	uint64_t durable_seq;
	uint64_t bytes; /* of all files in the directory */
	uint64_t max_bytes;
	uint64_t segments;
	uint64_t records_at_risk, bytes_at_risk;
	uint64_t oldest_at_risk_ns; /* age */
	uint64_t syncs, sync_ns;    /* made by this handle, and the time they took */
	uint64_t lost_from, lost_to;
	uint64_t cut_bytes; /* torn tail that spool_open() took away */
	int error;	    /* the latched one */
	uint8_t id[SPOOL_ID_BYTES];
};
int spool_status(struct spool *spool, struct spool_status *status);

/*
 * Sync, give the lock back, free. Returns the error of that sync, or the latched one; the handle is gone in
 * any case. No other thread may be inside a call. NULL is allowed.
 */
int spool_close(struct spool *spool);

/* ---- reading ---- */

struct spool_reader;

/* One record. `data` is valid until the next call on the reader. */
struct spool_record {
	uint64_t seq;
	uint64_t time_ns; /* appended, ns since 1970; 0 where the format has none */
	const void *data;
	size_t len;
	uint64_t segment; /* number in the name of its file */
	uint64_t offset;  /* of its frame in it */
	uint64_t lost;	  /* records missing right before it */
};

enum spool_reader_flag {
	SPOOL_READ_AT_RISK =
		1, /* also records that are not durable yet: after a crash their numbers may come
				   again with other content */
	SPOOL_READ_DELETE =
		2, /* spool_reader_ack() deletes segments that every consumer has acknowledged */
};

struct spool_reader_config {
	size_t size; /* sizeof(struct spool_reader_config) */
	const char *
		consumer; /* continue after what this consumer acknowledged, and let it acknowledge; NULL: none */
	uint64_t from;	    /* begin at this number if it is above the cursor's; 0: at the oldest */
	uint32_t flags;	    /* enum spool_reader_flag */
	uint32_t ack_every; /* make every n-th acknowledgement durable; 0: each */
};
#define SPOOL_READER_CONFIG_INIT SPOOL_INIT(spool_reader_config)

/*
 * Open a spool for reading; any number of readers beside a writer, one per consumer's name (-EBUSY).
 * Only durable records are given (where no writer lives, the reader makes them so by a sync of its own),
 * in the order of their numbers, each at least once.
 *
 * -ENOENT: no such directory. -EINVAL: a bad consumer's name, or `config`. -EBADMSG: no segment of a known
 * version.
 */
int spool_reader_open(struct spool_reader **reader, const char *dir,
		      const struct spool_reader_config *config);

/*
 * The next record. Waits for one until deadline_ns of CLOCK_MONOTONIC (0: not at all, SPOOL_NO_DEADLINE: for
 * ever), woken by the file system, not by polling.
 * -EAGAIN: none yet. Damage is skipped and shows as `lost`. -EIO: where no writer lives, the sync failed by which
 * the reader makes records durable, or the disk does not hold what the cache does; that is final for this reader.
 * Waiting takes inotify and /proc: -EMFILE, -ENOSPC, -ENOSYS where they cannot be had.
 */
int spool_reader_next(struct spool_reader *reader, struct spool_record *record,
		      uint64_t deadline_ns);

/*
 * Everything up to `seq` is done with: a reader of this consumer begins behind it from now on, after a crash
 * too if the call (or that of the ack_every round) returned 0. spool_reader_close() makes the last one durable.
 *
 * -EINVAL: no consumer. -ERANGE: not yet read. -ESTALE: the cursor's file was deleted. -EIO: a sync failed; it is the
 * answer to every later acknowledgement too. -ENOSPC and others of write(2): a later call may succeed. With
 * SPOOL_READ_DELETE also errors of a deletion; what was acknowledged is then durable nevertheless. Segments stay while
 * any consumer's cursor cannot be read, and such with damage, with all behind them, until spool_recover().
 */
int spool_reader_ack(struct spool_reader *reader, uint64_t seq);

/* Descriptor that polls readable when spool_reader_next() is worth a call, until that returns -EAGAIN; for event loops.
 * -EMFILE, -ENOSPC, -ENOSYS as there. */
int spool_reader_fd(struct spool_reader *reader);

int spool_reader_close(struct spool_reader *reader);

/* ---- checking, recovering ---- */

enum spool_format {
	SPOOL_FORMAT_DETECT,
	SPOOL_FORMAT_NATIVE,
	SPOOL_FORMAT_AUDIT,	/* obs audit spool: *.audit.bin with *.audit.bin.crc */
	SPOOL_FORMAT_COMMITLOG, /* SpacetimeDB commit log: *.stdb.log */
};

enum spool_finding_kind {
	SPOOL_FOUND_TORN,    /* the end of the last file is no whole record */
	SPOOL_FOUND_DAMAGE,  /* bytes that are no valid record */
	SPOOL_FOUND_HEADER,  /* a header, or one of its copies, is damaged */
	SPOOL_FOUND_GAP,     /* records from_seq to to_seq are missing */
	SPOOL_FOUND_INDEX,   /* an index is missing or wrong; costs nothing but time */
	SPOOL_FOUND_FOREIGN, /* a segment of another spool */
	SPOOL_FOUND_SIDECAR, /* audit spool: a sidecar is missing, short or long */
};

struct spool_finding {
	enum spool_finding_kind kind;
	const char *file;	   /* name in the directory; valid during the call */
	uint64_t offset, bytes;	   /* where; 0, 0 for a gap between segments */
	uint64_t from_seq, to_seq; /* records that it costs, where known */
	uint64_t durable;	   /* of these, how many were known to be durable */
	const char *why;	   /* "checksum", "length 4294967295 above 67108864", … */
	const char *quarantined;   /* recovery: name of what was kept, or NULL */
};

struct spool_summary {
	uint64_t segments, records, bytes; /* seen; bytes of valid records, their frames included */
	uint64_t first_seq, last_seq;
	uint64_t damaged_bytes, torn_bytes, missing_records, findings;
	uint64_t quarantined_bytes; /* recovery */
	enum spool_format format;
};

struct spool_check_config {
	size_t size; /* sizeof(struct spool_check_config) */
	enum spool_format format;
	void (*found)(void *arg, const struct spool_finding *finding);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
	void *arg;
	bool dry_run; /* recovery: tell, do nothing */
};
#define SPOOL_CHECK_CONFIG_INIT SPOOL_INIT(spool_check_config)

/*
 * Read everything and tell what is wrong. Memory does not grow with the spool. Works beside a writer: what is
 * being appended is then no torn tail. Returns 0 if there was no finding but of kind INDEX, 1 if there was,
 * or a negative errno. `summary` and `config` may be NULL.
 */
int spool_verify(const char *dir, const struct spool_check_config *config,
		 struct spool_summary *summary);

/*
 * Cut back a torn tail, move damage out of the way, rebuild indexes. Nothing is deleted that was not
 * verified: it lies in quarantine/. -EBUSY: a writer holds the spool. Returns as spool_verify().
 */
int spool_recover(const char *dir, const struct spool_check_config *config,
		  struct spool_summary *summary);

/* ---- mirroring ---- */

struct spool_mirror;

enum spool_mirror_flag {
	SPOOL_MIRROR_TRIM =
		1, /* a trailing fragment of the input is left out; else it is -EBADMSG */
};

struct spool_mirror_progress {
	uint64_t written_seq, durable_seq; /* last record written to the mirror, and synced there */
	uint64_t written_bytes, durable_bytes; /* by this handle */
	uint64_t skipped_records;	       /* were there already */
	uint64_t trimmed_bytes;
};

struct spool_mirror_config {
	size_t size;		  /* sizeof(struct spool_mirror_config) */
	enum spool_format format; /* NATIVE or COMMITLOG; DETECT: by the first bytes */
	uint32_t flags;
	uint32_t mode; /* permissions of new files; 0640 */
	void (*progress)(void *arg, const struct spool_mirror_progress *progress);
	void *arg;
};
#define SPOOL_MIRROR_CONFIG_INIT SPOOL_INIT(spool_mirror_config)

/*
 * Begin or resume the mirror in `dir`, which is itself a spool: its files have the names and the bytes of the source. A
 * torn tail of its own is kept in quarantine/ and cut. `config` may be NULL.
 *
 * -EBUSY: a writer, or another mirror, holds it. -EBADMSG: it is damaged elsewhere, or of another format. -EINVAL: a
 * value of `config` is out of range. And what open(2), mkdir(2), read(2), fsync(2) return.
 */
int spool_mirror_open(struct spool_mirror **mirror, const char *dir,
		      const struct spool_mirror_config *config);

/*
 * Take the next bytes of a stream of segments, in pieces of any size: the result does not depend on where
 * they are cut. Each frame is checked before it is written; records that the mirror has are skipped, and the last of
 * them must be the same. A segment is synced before the next begins.
 *
 * -EBADMSG: a frame or header is wrong, or not of this spool; -ESPIPE: a record is missing (expected … found
 * …); the mirror is valid up to there. Each later call returns it again. spool_mirror_why() says it in words, valid
 * until the next call; "" if there is no error.
 */
int spool_mirror_write(struct spool_mirror *mirror, const void *data, size_t len);
const char *spool_mirror_why(const struct spool_mirror *mirror);

/* The stream has ended: check its end, sync. After an error too, so that what is valid is durable. Returns the first
 * error. */
int spool_mirror_finish(struct spool_mirror *mirror);
int spool_mirror_status(const struct spool_mirror *mirror, struct spool_mirror_progress *progress);
/* Free; syncs nothing. NULL is allowed. */
int spool_mirror_close(struct spool_mirror *mirror);

/*
 * Mirror one directory into another, once, reading only what is new. Beside a writer only durable records are taken;
 * where none lives, the source is synced first. So no mirror holds a record that its source loses in a crash and
 * numbers anew. -EINVAL: `dir` is `src`; else as the calls above. `config` and `result` may be NULL.
 */
int spool_mirror_dir(const char *src, const char *dir, const struct spool_mirror_config *config,
		     struct spool_mirror_progress *result);

/* ---- all formats ---- */

/* Records of any format, from files that nobody needs to be writing. */
struct spool_scan;

/*
 * Read a spool of any format from record `from` on (0: the oldest). Damage is skipped and shows as `lost`, and so do
 * records of an audit spool for which there is no checksum; spool_verify() tells what it was. Nothing is
 * written, synced or locked.
 *
 * Numbers of formats that have none: a record of an audit spool counts from 1 over all its files, lost ones
 * included; a commit of a commit log has the offset of its first transaction plus 1 (its payload is its whole records
 * section). `segment` is the number in the file's name.
 *
 * -ENOENT: no such directory, or (an empty one too) no file of the format, or of any. -EBADMSG: files of
 * several formats, or native segments without any identity left. -EINVAL: no such format.
 */
int spool_scan_open(struct spool_scan **scan, const char *dir, enum spool_format format,
		    uint64_t from);
/* 0; -ENODATA: the end, also when called again; or what read(2) returns. One thread at a time. */
int spool_scan_next(struct spool_scan *scan, struct spool_record *record);
enum spool_format spool_scan_format(const struct spool_scan *scan); /* never DETECT */
void spool_scan_close(struct spool_scan *scan);			    /* NULL is allowed */

/* ---- converting ---- */

/* Zero means the default everywhere. */
struct spool_convert_config {
	size_t size;		/* sizeof(struct spool_convert_config) */
	uint32_t mode;		/* permissions of new files; 0640 */
	uint64_t segment_bytes; /* of a native spool or commit log; 64 MiB; 4 KiB to 1 TiB */
	bool commitlog_v0;	/* write version 0, which has no epochs, instead of 1 */
	bool unverified; /* take records of an audit spool along for which there is no checksum */
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes); /* of the source */
	void *arg;
};
#define SPOOL_CONVERT_CONFIG_INIT SPOOL_INIT(spool_convert_config)

/* What was converted, and what the target has no place for. */
struct spool_convert_result {
	enum spool_format from, to;
	uint64_t records, bytes;     /* written; bytes of payload */
	uint64_t lost_records;	     /* missing or damaged in the source */
	uint64_t unverified_records; /* taken along without a checksum */
	uint64_t renumbered_records; /* they have another number than in the source */
	uint64_t times_lost;	     /* records that had a time */
	uint64_t epochs_lost;	     /* commits whose epoch was not 0 */
	uint64_t merged_commits;     /* commits of several transactions that became one record */
	uint64_t
		empty_lost; /* empty records at the very end: an audit spool ends before zero bytes */
};

/*
 * Write the records of the spool `src` (from: DETECT is allowed) in order into `dst`, in another format or the
 * same one, payloads byte for byte. `dst` is made, with its parents; it may be there if it is empty. When it returns 0,
 * all is durable. After an error what lies in `dst` is incomplete: take it away before the next try.
 * `config` and `result` may be NULL.
 *
 * A native spool gets numbers from 1 on and the time of conversion; a commit log, one commit per record,
 * whose first offset is the first number less 1 and which has no gaps; an audit spool, one file.
 *
 * -ENOTEMPTY: `dst` holds something. -EBUSY: somebody else converts into it. -EINVAL: no such format, or a value of
 * `config` out of range. And what spool_scan_open(), spool_scan_next() and spool_open() return. Thread-safe.
 */
int spool_convert(const char *src, enum spool_format from, const char *dst, enum spool_format to,
		  const struct spool_convert_config *config, struct spool_convert_result *result);

#ifdef __cplusplus
}
#endif
#endif
