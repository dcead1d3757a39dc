// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Makes every wrapped call, well and badly, in the current directory, and prints what each returned and
 * left in errno (77 before it). Run bare and guarded, the two transcripts and the files left behind have
 * to be the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Out of view of the compiler, which would warn of what is meant to fail. */
static void *volatile bad_pointer = (void *)8;
static volatile int bad_fd = 9999;
static volatile size_t much = (size_t)-1;
static volatile int minus = -1, too_many = 5000;

/* Fortified and internal names, which no header declares. */
int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
ssize_t __write(int, const void *, size_t);
ssize_t __pwrite64(int, const void *, size_t, off64_t);
off_t __lseek(int, off_t, int);
int __dup2(int, int);
int __close(int);
int __fcntl(int, int, ...);
int __dprintf_chk(int, int, const char *, ...);
int __vdprintf_chk(int, int, const char *, va_list);

static void tell(const char *what, long r, int e)
{
	char line[400];
	int n = snprintf(line, sizeof(line), "%-70s %ld %d\n", what, r, e);

	if (syscall(SYS_write, 1, line, n) != n)
		_exit(99);
}

#define CALL(expr)                      \
	({                              \
		long r_;                \
		errno = 77;             \
		r_ = (long)(expr);      \
		tell(#expr, r_, errno); \
		r_;                     \
	})
/* A pointer: only whether there is one. */
#define STREAM(expr)                            \
	({                                      \
		FILE *f_;                       \
		errno = 77;                     \
		f_ = (expr);                    \
		tell(#expr, f_ != NULL, errno); \
		f_;                             \
	})

static void opens(void)
{
	int fd, dir = open(".", O_RDONLY | O_DIRECTORY), i;
	struct stat st;
	char t[] = "tXXXXXX", t64[] = "tXXXXXX", ts[] = "tXXXXXX.log", ts64[] = "tXXXXXX.log",
	     to[] = "tXXXXXX", to64[] = "tXXXXXX", tos[] = "tXXXXXX.log", tos64[] = "tXXXXXX.log",
	     bad[] = "no";
	int made[32], n = 0;

	umask(027);
	fd = CALL(open("a.log", O_WRONLY | O_CREAT | O_APPEND, 0640));
	CALL(fstat(fd, &st));
	tell("mode", st.st_mode, 0);
	made[n++] = fd;
	made[n++] = CALL(open64("a.log", O_RDWR | O_CREAT, 0600));
	made[n++] = CALL(__open("b.log", O_WRONLY | O_CREAT | O_EXCL, 0604));
	CALL(__open("b.log", O_WRONLY | O_CREAT | O_EXCL, 0604));
	made[n++] = CALL(__open64("b.log", O_WRONLY));
	made[n++] = CALL(__open_2("b.log", O_WRONLY));
	made[n++] = CALL(__open64_2("b.log", O_RDONLY));
	made[n++] = CALL(openat(dir, "c.log", O_WRONLY | O_CREAT | O_DSYNC, 0644));
	made[n++] = CALL(openat64(dir, "c.log", O_WRONLY | O_TRUNC));
	made[n++] = CALL(__openat_2(dir, "c.log", O_WRONLY));
	made[n++] = CALL(__openat64_2(dir, "c.log", O_WRONLY));
	made[n++] = CALL(creat("d.log", 0600));
	made[n++] = CALL(creat64("d.log", 0600));
	made[n++] = CALL(open(".", O_RDWR | O_TMPFILE, 0600));
	CALL(fstat(made[n - 1], &st));
	tell("mode of the O_TMPFILE", st.st_mode, 0);
	CALL(open("missing.log", O_WRONLY));
	CALL(open("missing/a.log", O_WRONLY | O_CREAT | O_TRUNC, 0644));
	CALL(open(bad_pointer, O_WRONLY | O_TRUNC));
	CALL(open("", O_RDONLY));
	CALL(openat(bad_fd, "a.log", O_RDONLY));
	CALL(openat(made[0], "a.log", O_RDONLY));
	CALL(open(".", O_WRONLY));
	made[n++] = CALL(mkstemp(t));
	made[n++] = CALL(mkstemp64(t64));
	made[n++] = CALL(mkstemps(ts, 4));
	made[n++] = CALL(mkstemps64(ts64, 4));
	made[n++] = CALL(mkostemp(to, O_APPEND));
	made[n++] = CALL(mkostemp64(to64, O_APPEND));
	made[n++] = CALL(mkostemps(tos, 4, O_CLOEXEC));
	made[n++] = CALL(mkostemps64(tos64, 4, O_CLOEXEC));
	CALL(mkstemp(bad));
	for (i = 0; i < n; i++) {
		CALL(write(made[i], "made\n", 5));
		CALL(fcntl(made[i], F_GETFL));
		CALL(close(made[i]));
	}
	CALL(unlink(t));
	CALL(unlink(t64));
	CALL(unlink(ts));
	CALL(unlink(ts64));
	CALL(unlink(to));
	CALL(unlink(to64));
	CALL(unlink(tos));
	CALL(unlink(tos64));
	CALL(close(dir));
}

static int vprint(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vdprintf(fd, format, ap);
	va_end(ap);
	return n;
}

static int vprint_chk(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vdprintf_chk(fd, 1, format, ap);
	va_end(ap);
	return n;
}

static void appends(void)
{
	struct iovec v[3] = { { "one ", 4 }, { "two ", 4 }, { "three\n", 6 } };
	struct iovec none[1] = { { bad_pointer, 5 } },
		     big[2] = { { v, SSIZE_MAX }, { v, SSIZE_MAX } };
	int fd = open("app.log", O_RDWR | O_CREAT | O_APPEND, 0644),
	    in = open("in", O_RDWR | O_CREAT, 0644);
	int pos = open("pos.log", O_RDWR | O_CREAT, 0644), full = open("/dev/full", O_WRONLY), p[2],
	    ro, i;
	int null = open("/dev/null", O_WRONLY);
	off_t at = 0;
	off64_t at64 = 0, out64 = 0;
	char long_text[20000];

	ro = open("app.log", O_RDONLY);
	if (pipe(p))
		_exit(98);
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	CALL(write(in, "0123456789abcdef", 16));
	for (i = 0; i < 2; i++) {
		CALL(write(fd, "line\n", 5));
		CALL(__write(fd, "line\n", 5));
		CALL(write(fd, "", 0));
		CALL(write(fd, bad_pointer, 5));
		CALL(write(fd, bad_pointer, much));
		CALL(write(bad_fd, "x", 1));
		CALL(write(-1, "x", 1));
		CALL(write(ro, "x", 1));
		CALL(write(full, "x", 1));
		CALL(write(null, "x", 1));
		CALL(writev(fd, v, 3));
		CALL(writev(fd, v, 0));
		CALL(writev(fd, v, minus));
		CALL(writev(fd, v, too_many));
		CALL(writev(fd, bad_pointer, 2));
		CALL(writev(fd, none, 1));
		CALL(writev(fd, big, 2));
		CALL(pwrite(pos, "line\n", 5, 0));
		CALL(pwrite64(pos, "line\n", 5, 5));
		CALL(__pwrite64(pos, "line\n", 5, 10));
		CALL(pwrite(pos, "hole\n", 5, 100));
		CALL(pwrite(pos, "x", 1, -5));
		CALL(pwrite(fd, "at end in spite of 0\n", 21, 0));
		CALL(pwrite(p[1], "x", 1, 0));
		CALL(pwritev(pos, v, 3, 20));
		CALL(pwritev64(pos, v, 3, 40));
		CALL(pwritev2(fd, v, 3, -1, 0));
		CALL(pwritev2(pos, v, 3, 0, RWF_DSYNC));
		CALL(pwritev2(pos, v, 3, 0, RWF_APPEND));
		CALL(pwritev2(pos, v, 3, 0, 0x4000));
		CALL(pwritev64v2(pos, v, 3, 60, 0));
		at = 2, at64 = 4;
		CALL(sendfile(pos, in, &at, 4));
		CALL(sendfile64(pos, in, &at64, 100));
		CALL(sendfile(fd, in, NULL, 4));
		CALL(sendfile(pos, bad_fd, NULL, 4));
		CALL(sendfile(pos, in, bad_pointer, 4));
		tell("offsets after sendfile", at * 1000 + at64, 0);
		CALL(write(p[1], "through the pipe\n", 17));
		out64 = 200;
		CALL(splice(p[0], NULL, pos, &out64, 17, 0));
		tell("offset after splice", out64, 0);
		CALL(splice(p[0], NULL, fd, NULL, 1, SPLICE_F_NONBLOCK));
		CALL(splice(p[0], NULL, pos, bad_pointer, 1, SPLICE_F_NONBLOCK));
		at64 = 0, out64 = 300;
		CALL(copy_file_range(in, &at64, pos, &out64, 8, 0));
		CALL(copy_file_range(in, &at64, pos, NULL, 8, 0));
		CALL(copy_file_range(in, &at64, fd, NULL, 8, 0));
		CALL(copy_file_range(in, &at64, pos, bad_pointer, 8, 0));
		tell("offsets after copy_file_range", at64 * 1000 + out64, 0);
		CALL(dprintf(fd, "%d %s %m\n", 7, "seven"));
		CALL(dprintf(fd, "%s\n", long_text));
		CALL(dprintf(fd, "%2$s %1$d\n", 1, "positions"));
		CALL(dprintf(bad_fd, "x"));
		CALL(__dprintf_chk(fd, 1, "%05d %.3f\n", 42, 1.5));
		CALL(vprint(fd, "%s %c %ld\n", "v", 'c', 123456789L));
		CALL(vprint_chk(fd, "%s %c %ld\n", "v", 'c', 123456789L));
		CALL(vprint(fd, "%ls", L"\xd800"));
	}
	CALL(lseek(fd, 0, SEEK_CUR));
	CALL(lseek(pos, 0, SEEK_CUR));
	CALL(lseek64(pos, -3, SEEK_END));
	CALL(__lseek(pos, 3, SEEK_SET));
	CALL(lseek(pos, -1, SEEK_SET));
	CALL(lseek(p[0], 0, SEEK_CUR));
	CALL(lseek(bad_fd, 0, SEEK_SET));
	CALL(write(pos, "below", 5));
	CALL(write(p[1], "x", 1));
	CALL(close(p[0]));
	CALL(close(p[1]));
	CALL(close(fd));
	CALL(close(in));
	CALL(close(pos));
	CALL(close(full));
	CALL(close(null));
	CALL(close(ro));
}

static void syncs(void)
{
	int fd = open("sync.log", O_RDWR | O_CREAT | O_APPEND, 0644), dir = open(".", O_RDONLY),
	    p[2];
	int ro = open("sync.log", O_RDONLY);
	char *m;

	if (pipe(p) || ftruncate(fd, 8192))
		_exit(98);
	CALL(write(fd, "line\n", 5));
	CALL(fsync(fd));
	CALL(fdatasync(fd));
	CALL(fsync(ro));
	CALL(fsync(dir));
	CALL(fdatasync(dir));
	CALL(fsync(p[1]));
	CALL(fdatasync(p[0]));
	CALL(fsync(bad_fd));
	CALL(fdatasync(-1));
	CALL(fsync(INT_MAX));
	CALL(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	CALL(sync_file_range(fd, -1, 0, 0));
	CALL(sync_file_range(p[0], 0, 0, 0));
	CALL(sync_file_range(bad_fd, 0, 0, 0));
	CALL(syncfs(fd));
	CALL(syncfs(bad_fd));
	m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	tell("mmap", m != MAP_FAILED, 0);
	m[4096] = 'm';
	CALL(msync(m, 8192, MS_SYNC));
	CALL(msync(m, 8192, MS_ASYNC));
	CALL(msync(m + 1, 1, MS_SYNC));
	CALL(msync(m, 8192, MS_SYNC | MS_ASYNC));
	CALL(munmap(m, 8192));
	CALL(mmap(NULL, 0, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	CALL(mmap64(NULL, 4096, PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED);
	CALL((sync(), 0));
	CALL(close(fd));
	CALL(close(dir));
	CALL(close(ro));
	CALL(close(p[0]));
	CALL(close(p[1]));
}

static void duplicates(void)
{
	int fd = open("dup.log", O_WRONLY | O_CREAT, 0644), d;
	struct flock lock = { .l_type = F_WRLCK };

	CALL(write(fd, "a", 1));
	d = CALL(dup(fd));
	CALL(write(d, "b", 1));
	CALL(dup(bad_fd));
	CALL(dup2(fd, 50));
	CALL(__dup2(fd, 51));
	CALL(dup2(fd, fd));
	CALL(dup2(bad_fd, fd));
	CALL(dup2(fd, -1));
	CALL(dup3(fd, 52, O_CLOEXEC));
	CALL(dup3(fd, fd, 0));
	CALL(dup3(fd, 53, 1));
	CALL(write(50, "c", 1));
	CALL(fsync(51));
	CALL(write(52, "d", 1));
	CALL(fcntl(52, F_GETFD));
	CALL(fcntl(fd, F_DUPFD, 60));
	CALL(fcntl64(fd, F_DUPFD_CLOEXEC, 60));
	CALL(__fcntl(fd, F_DUPFD, 60));
	CALL(fcntl(fd, F_DUPFD, -1));
	CALL(fcntl(fd, F_GETFL));
	CALL(fcntl(fd, F_SETFL, O_APPEND));
	CALL(fcntl(fd, F_GETFL));
	CALL(fcntl(fd, F_SETLK, &lock));
	CALL(fcntl(fd, F_SETLK, bad_pointer));
	CALL(fcntl(fd, 12345, 0));
	CALL(fcntl(bad_fd, F_GETFD));
	CALL(flock(fd, LOCK_EX | LOCK_NB));
	CALL(close(50));
	CALL(close(50));
	CALL(write(50, "gone", 4));
	CALL(__close(51));
	CALL(close(-1));
	CALL(close(bad_fd));
	CALL(close_range(52, 62, 0));
	CALL(write(60, "gone", 4));
	CALL(close_range(10, 5, 0));
	CALL(close_range(800, 900, 0x100));
	CALL(dup2(fd, 70));
	CALL(close_range(70, 70, CLOSE_RANGE_CLOEXEC));
	CALL(fcntl(70, F_GETFD));
	CALL(dup2(fd, 900));
	CALL((closefrom(70), 0));
	CALL(write(900, "gone", 4));
	CALL(close(d));
	CALL(close(fd));
}

static void names(void)
{
	int fd, dir = open(".", O_RDONLY | O_DIRECTORY);

	fd = open("n.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
	CALL(write(fd, "0123456789", 10));
	CALL(rename("n.log", "n1.log"));
	CALL(rename("n.log", "n1.log"));
	CALL(rename(bad_pointer, "n1.log"));
	CALL(rename("n1.log", bad_pointer));
	CALL(renameat(dir, "n1.log", dir, "n2.log"));
	CALL(renameat(bad_fd, "n1.log", dir, "n2.log"));
	CALL(renameat2(dir, "n2.log", dir, "n3.log", RENAME_NOREPLACE));
	CALL(renameat2(dir, "n3.log", dir, "a.log", RENAME_EXCHANGE));
	CALL(renameat2(dir, "n3.log", dir, "a.log", 0x100));
	CALL(renameat2(dir, "n3.log", dir, "a.log", RENAME_EXCHANGE));
	CALL(link("n3.log", "l1.log"));
	CALL(link("n3.log", "l1.log"));
	CALL(linkat(dir, "n3.log", dir, "l2.log", 0));
	CALL(symlink("n3.log", "s.log"));
	CALL(linkat(dir, "s.log", dir, "l3.log", AT_SYMLINK_FOLLOW));
	CALL(linkat(dir, "s.log", dir, "l4.log", 0));
	CALL(linkat(bad_fd, "", dir, "l5.log", AT_EMPTY_PATH));
	CALL(unlink("l1.log"));
	CALL(unlink("l1.log"));
	CALL(unlink("."));
	CALL(unlink(bad_pointer));
	CALL(unlinkat(dir, "l2.log", 0));
	CALL(mkdir("sub.log", 0755));
	CALL(unlinkat(dir, "sub.log", 0));
	CALL(unlinkat(dir, "sub.log", AT_REMOVEDIR));
	CALL(mkdir("sub.log", 0755));
	CALL(remove("sub.log"));
	CALL(remove("l3.log"));
	CALL(remove("l3.log"));
	CALL(truncate("n3.log", 5));
	CALL(truncate64("n3.log", 4));
	CALL(truncate("missing.log", 4));
	CALL(truncate("n3.log", -1));
	CALL(ftruncate(fd, 3));
	CALL(write(fd, "abc", 3));
	CALL(ftruncate64(fd, 5));
	CALL(ftruncate(bad_fd, 5));
	CALL(ftruncate(fd, -1));
	CALL(fallocate(fd, 0, 0, 100));
	CALL(fallocate64(fd, FALLOC_FL_KEEP_SIZE, 0, 5000));
	CALL(fallocate(fd, 0, -1, 100));
	CALL(fallocate(bad_fd, 0, 0, 100));
	CALL(posix_fallocate(fd, 0, 200));
	CALL(posix_fallocate64(fd, 0, 300));
	CALL(posix_fallocate(bad_fd, 0, 200));
	CALL(posix_fallocate(fd, 0, -200));
	CALL(lseek(fd, 0, SEEK_END));
	CALL(close(fd));
	CALL(close(dir));
}

static void streams(void)
{
	FILE *f, *g;
	int fd;

	f = STREAM(fopen("f.log", "w"));
	CALL(fputs("hello\n", f));
	CALL(fflush(f));
	CALL(fsync(fileno(f)));
	CALL(write(fileno(f), "direct\n", 7));
	f = STREAM(freopen("f.log", "a", f));
	CALL(fputs("again\n", f));
	f = STREAM(freopen64("g.log", "w", f));
	CALL(fputs("other\n", f));
	CALL(fclose(f));
	f = STREAM(fopen64("f.log", "r+"));
	CALL(fseek(f, 0, SEEK_END));
	CALL(fputs("more\n", f));
	CALL(fclose(f));
	STREAM(fopen("missing/f.log", "w"));
	STREAM(fopen("f.log", "q"));
	STREAM(fopen("f.log", "wx"));
	f = STREAM(tmpfile());
	g = STREAM(tmpfile64());
	CALL(fputs("x", f));
	CALL(fclose(f));
	CALL(fclose(g));
	f = STREAM(fmemopen(NULL, 100, "w"));
	CALL(fputs("in memory", f));
	CALL(fclose(f));
	f = STREAM(fopen("/dev/full", "w"));
	CALL(fputs("lost\n", f));
	CALL(fclose(f));
	fd = open("h.log", O_WRONLY | O_CREAT, 0644);
	f = STREAM(fdopen(fd, "w"));
	CALL(fputs("by number\n", f));
	CALL(fclose(f));
	CALL(write(fd, "gone", 4));
	f = fopen("h.log", "a");
	close(fileno(f));
	CALL(fputs("x", f));
	CALL(fclose(f));
	STREAM(freopen("missing/f.log", "a", stdin));
}

static int status_of(int how)
{
	char *const argv[] = { "sh", "-c", "exit ${CODE:-7}", NULL }, *const env[] = { "CODE=8",
										       NULL };
	int status, fd;
	pid_t pid = fork();

	if (pid == 0) {
		switch (how) {
		case 0:
			execv("/bin/sh", argv);
			break;
		case 1:
			execve("/bin/sh", argv, env);
			break;
		case 2:
			execvp("sh", argv);
			break;
		case 3:
			execvpe("sh", argv, env);
			break;
		case 4:
			execl("/bin/sh", "sh", "-c", "exit 9", NULL);
			break;
		case 5:
			execlp("sh", "sh", "-c", "exit $#", "name", "1", "2", "3", NULL);
			break;
		case 6:
			execle("/bin/sh", "sh", "-c", "exit $CODE", NULL, env);
			break;
		case 7:
			fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
			fexecve(fd, argv, env);
			break;
		case 8:
			execveat(AT_FDCWD, "/bin/sh", argv, env, 0);
			break;
		case 9:
			_exit(execl("/missing", "missing", NULL) == -1 && errno == ENOENT ? 10 : 0);
		case 10:
			_exit(execlp("missing-program", "x", NULL) == -1 && errno == ENOENT ? 11
											    : 0);
		case 11:
			_exit(execv("/", argv) == -1 && errno == EACCES ? 12 : 0);
		case 12:
			_exit(13);
		case 13:
			_Exit(14);
		case 14:
			quick_exit(15);
		}
		_exit(97);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int how;

	close(0);
	open("/dev/null", O_RDONLY);
	opens();
	appends();
	syncs();
	duplicates();
	names();
	streams();
	for (how = 0; how <= 14; how++)
		CALL(status_of(how));
	return 0;
}
