// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * sg-io FILE STEP…: open or create FILE, then do each step, N times where it ends in =N.
 *
 *   write pwrite writev append2 (O_APPEND|O_DSYNC write) osync (O_SYNC) rwfdsync sendfile
 *   fsync fdatasync range msync (dirties through mmap first) mmap (dirties only) mmapsync (msync only)
 *   uring-write uring-fsync uring-fdatasync uring-fixed uring-dsync aio-write aio-fsync aio-fdsync
 *   dirfsync (of FILE's directory) rofsync (on a read-only descriptor) badfsync (-1) pipefsync
 *   unlink recreate (closes, unlinks, creates anew) rename=NAME sleep=MS
 *
 * Each write is of 100 bytes. Any unexpected result ends it with status 1; with -k it goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <libgen.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BYTES 100

static char block[BYTES];
static const char *path;
static int fd;

static void reopen(int flags)
{
	close(fd);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | flags, 0644);
}

static long with_flags(int flags)
{
	int f = open(path, O_WRONLY | O_APPEND | flags);
	long n = write(f, block, BYTES);

	close(f);
	return n;
}

static long do_writev(int flags)
{
	struct iovec v[2] = { { block, 60 }, { block, BYTES - 60 } };

	return flags ? pwritev2(fd, v, 2, -1, flags) : writev(fd, v, 2);
}

static long do_sendfile(void)
{
	char name[] = "/tmp/sg-io.XXXXXX";
	int in = mkstemp(name), out = open(path, O_WRONLY);
	loff_t at = 0;
	long n;

	unlink(name);
	if (write(in, block, BYTES) != BYTES)
		return -1;
	lseek(out, 0, SEEK_END);
	n = sendfile(out, in, &at, BYTES);
	close(in);
	close(out);
	return n;
}

static long do_mmap(int touch, int sync)
{
	static char *p;
	static char value;

	if (!p) {
		if (ftruncate(fd, 4096))
			return -1;
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (touch)
		p[5] = ++value;
	return sync ? msync(p, 4096, MS_SYNC) : 0;
}

static long uring(int op, int datasync, int fixed, int flags)
{
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	int f = flags ? open(path, O_RDWR | flags) : fd;
	long res;

	if (io_uring_queue_init(4, &ring, 0))
		return -1;
	if (fixed && io_uring_register_files(&ring, &f, 1))
		return -1;
	sqe = io_uring_get_sqe(&ring);
	if (op == IORING_OP_FSYNC)
		io_uring_prep_fsync(sqe, fixed ? 0 : f, datasync ? IORING_FSYNC_DATASYNC : 0);
	else
		io_uring_prep_write(sqe, fixed ? 0 : f, block, BYTES, -1);
	if (fixed)
		sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_submit(&ring);
	if (io_uring_wait_cqe(&ring, &cqe))
		return -1;
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	io_uring_queue_exit(&ring);
	if (f != fd)
		close(f);
	return res;
}

static long aio(int op)
{
	struct iocb cb = { .aio_fildes = fd, .aio_lio_opcode = op }, *list = &cb;
	io_context_t ctx = 0;
	struct io_event event;
	long res = -1;
	int n;

	if (op == IO_CMD_PWRITE) {
		cb.u.c.buf = block;
		cb.u.c.nbytes = BYTES;
	}
	if (!io_setup(4, &ctx) && io_submit(ctx, 1, &list) == 1) {
		/* The end of an io_uring, before us, may interrupt the wait. */
		do
			n = io_getevents(ctx, 1, 1, &event, NULL);
		while (n == -EINTR);
		if (n == 1)
			res = (long)event.res;
	}
	io_destroy(ctx);
	return res;
}

static long dir_fsync(void)
{
	char copy[4096];
	long rc;
	int d;

	snprintf(copy, sizeof(copy), "%s", path);
	d = open(dirname(copy), O_RDONLY | O_DIRECTORY);
	rc = fsync(d);
	close(d);
	return rc;
}

static long readonly_fsync(void)
{
	int f = open(path, O_RDONLY);
	long rc = fsync(f);

	close(f);
	return rc;
}

static long pipe_fsync(void)
{
	int p[2];
	long rc = pipe(p) ? 0 : fsync(p[1]);

	close(p[0]);
	close(p[1]);
	return rc == -1 && errno == EINVAL ? 0 : -1;
}

static long recreate(void)
{
	close(fd);
	if (unlink(path))
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0644);
	return fd < 0 ? -1 : 0;
}

/* What the step returns, and what it should. */
static long step(const char *name, const char *value, long *want)
{
	*want = 0;
	if (!strcmp(name, "fsync"))
		return fsync(fd);
	if (!strcmp(name, "fdatasync"))
		return fdatasync(fd);
	if (!strcmp(name, "range"))
		return sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE);
	if (!strcmp(name, "msync"))
		return do_mmap(1, 1);
	if (!strcmp(name, "mmapsync"))
		return do_mmap(0, 1);
	if (!strcmp(name, "mmap"))
		return do_mmap(1, 0);
	if (!strcmp(name, "uring-fsync"))
		return uring(IORING_OP_FSYNC, 0, 0, 0);
	if (!strcmp(name, "uring-fdatasync"))
		return uring(IORING_OP_FSYNC, 1, 0, 0);
	if (!strcmp(name, "uring-fixed"))
		return uring(IORING_OP_FSYNC, 0, 1, 0);
	if (!strcmp(name, "aio-fsync"))
		return aio(IO_CMD_FSYNC);
	if (!strcmp(name, "aio-fdsync"))
		return aio(IO_CMD_FDSYNC);
	if (!strcmp(name, "dirfsync"))
		return dir_fsync();
	if (!strcmp(name, "rofsync"))
		return readonly_fsync();
	if (!strcmp(name, "badfsync"))
		return fsync(-1) == -1 && errno == EBADF ? 0 : -1;
	if (!strcmp(name, "pipefsync"))
		return pipe_fsync();
	if (!strcmp(name, "unlink"))
		return unlink(path);
	if (!strcmp(name, "recreate"))
		return recreate();
	if (!strcmp(name, "rename"))
		return rename(path, value);
	if (!strcmp(name, "sleep"))
		return usleep(atoi(value) * 1000);
	*want = BYTES;
	if (!strcmp(name, "write"))
		return write(fd, block, BYTES);
	if (!strcmp(name, "pwrite"))
		return pwrite(fd, block, BYTES, 0);
	if (!strcmp(name, "writev"))
		return do_writev(0);
	if (!strcmp(name, "rwfdsync"))
		return do_writev(RWF_DSYNC);
	if (!strcmp(name, "append2"))
		return with_flags(O_DSYNC);
	if (!strcmp(name, "osync"))
		return with_flags(O_SYNC);
	if (!strcmp(name, "sendfile"))
		return do_sendfile();
	if (!strcmp(name, "uring-write"))
		return uring(IORING_OP_WRITE, 0, 0, 0);
	if (!strcmp(name, "uring-dsync"))
		return uring(IORING_OP_WRITE, 0, 0, O_DSYNC);
	if (!strcmp(name, "aio-write"))
		return aio(IO_CMD_PWRITE);
	fprintf(stderr, "sg-io: no step %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	int i, keep_going = 0;

	if (argc > 1 && !strcmp(argv[1], "-k")) {
		keep_going = 1;
		argv++;
		argc--;
	}
	if (argc < 2)
		return 2;
	memset(block, 'x', sizeof(block));
	path = argv[1];
	fd = -1;
	reopen(0);
	if (fd < 0) {
		perror(path);
		return 1;
	}
	for (i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		int n = 1, numbered;
		long want;

		if (value)
			*value++ = 0;
		numbered = value && strcmp(argv[i], "rename") != 0 && strcmp(argv[i], "sleep") != 0;
		for (n = numbered ? atoi(value) : 1; n > 0; n--) {
			long got = step(argv[i], value, &want);

			if (got == want)
				continue;
			fprintf(stderr, "sg-io: %s: %ld, errno %s\n", argv[i], got,
				strerror(errno));
			if (!keep_going)
				return 1;
		}
	}
	return 0;
}
