// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * A library whose constructor appends and syncs, and whose destructor appends. The preload library's
 * constructor runs after those of the program's own libraries, and its destructor before theirs, so
 * these calls come before anything of ours is set up, and after we have gone. Built with MAIN it is the
 * program that uses the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int early_failures(void);

#ifdef MAIN
int main(void)
{
	int fd = open("late.log", O_WRONLY | O_CREAT | O_APPEND, 0600);

	if (write(fd, "late\n", 5) != 5 || fsync(fd) || close(fd))
		return 1;
	return early_failures();
}
#else
static int failures, last_fd;

#define WANT(expr)                                                        \
	do {                                                              \
		errno = 77;                                               \
		if (!(expr)) {                                            \
			fprintf(stderr, "early: %s: %d\n", #expr, errno); \
			failures++;                                       \
		}                                                         \
	} while (0)

__attribute__((constructor)) static void early(void)
{
	struct iovec v = { (char *)"vector\n", 7 };
	int fd, d, status;
	FILE *f;
	void *m;
	pid_t pid;

	WANT((fd = open("early.log", O_RDWR | O_CREAT | O_APPEND, 0600)) >= 0);
	WANT(write(fd, "early\n", 6) == 6 && errno == 77);
	WANT(writev(fd, &v, 1) == 7);
	WANT(pwrite(fd, "p\n", 2, 0) == 2);
	WANT(pwritev(fd, &v, 1, 0) == 7);
	WANT(dprintf(fd, "%d\n", 5) == 2);
	WANT(fsync(fd) == 0 && errno == 77);
	WANT(fdatasync(fd) == 0);
	WANT(write(-1, "x", 1) == -1 && errno == EBADF);
	WANT(fsync(-1) == -1 && errno == EBADF);
	WANT((d = dup(fd)) >= 0);
	WANT(dup2(fd, 77) == 77);
	WANT(fcntl(fd, F_DUPFD, 78) == 78);
	WANT(close_range(77, 78, 0) == 0);
	WANT(lseek(fd, 0, SEEK_END) == 24);
	WANT(ftruncate(fd, 6) == 0);
	WANT((m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED);
	WANT(msync(m, 4096, MS_SYNC) == 0);
	munmap(m, 4096);
	WANT(close(d) == 0);
	WANT(close(fd) == 0);
	WANT(rename("early.log", "early2.log") == 0);
	WANT(link("early2.log", "early.log") == 0);
	WANT(unlink("early2.log") == 0);
	WANT((f = fopen("early.log", "a")) && fputs("stdio\n", f) >= 0 && fclose(f) == 0);
	pid = vfork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 5", NULL);
		_exit(1);
	}
	WANT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	WANT(system("exit 6") == 6 << 8);
	WANT((last_fd = open("last.log", O_WRONLY | O_CREAT | O_APPEND, 0600)) >= 0);
}

__attribute__((destructor)) static void last(void)
{
	if (write(last_fd, "last\n", 5) != 5)
		_exit(9);
}

int early_failures(void)
{
	return failures;
}
#endif
