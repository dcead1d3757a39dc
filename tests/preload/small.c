// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Append, sync, stdio and exec, in portable C: built against musl, dynamic and static, and against glibc. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WANT(expr)                                                       \
	do {                                                             \
		errno = 77;                                              \
		if (!(expr)) {                                           \
			printf("not so: %s (errno %d)\n", #expr, errno); \
			return 1;                                        \
		}                                                        \
	} while (0)

static void *in_thread(void *arg)
{
	int fd = *(int *)arg;

	return (void *)(long)(write(fd, "thread\n", 7) == 7 && fsync(fd) == 0);
}

int main(int argc, char **argv)
{
	struct iovec v[2] = { { (char *)"one ", 4 }, { (char *)"two\n", 4 } };
	int fd, d, status;
	pthread_t t;
	void *ok;
	FILE *f;
	pid_t pid;

	WANT((fd = open("small.log", O_RDWR | O_CREAT | O_APPEND, 0644)) >= 0);
	WANT(write(fd, "line\n", 5) == 5 && errno == 77);
	WANT(writev(fd, v, 2) == 8);
	WANT(pwrite(fd, "line\n", 5, 0) == 5);
	WANT(dprintf(fd, "%s %d\n", "printed", 1) == 10);
	WANT(fsync(fd) == 0 && errno == 77);
	WANT(fdatasync(fd) == 0);
	WANT((d = fcntl(fd, F_DUPFD_CLOEXEC, 40)) == 40);
	WANT(dup2(fd, 41) == 41);
	WANT(write(-1, "x", 1) == -1 && errno == EBADF);
	WANT(fsync(-1) == -1 && errno == EBADF);
	WANT(lseek(fd, 0, SEEK_END) == 28);
	WANT(close(d) == 0);
	WANT(close(d) == -1 && errno == EBADF);
	WANT(pthread_create(&t, NULL, in_thread, &fd) == 0);
	WANT(pthread_join(t, &ok) == 0 && ok);
	WANT((f = fopen("small.log", "a")) != NULL);
	WANT(fputs("stdio\n", f) >= 0 && fflush(f) == 0 && fsync(fileno(f)) == 0 && fclose(f) == 0);
	WANT(rename("small.log", "small2.log") == 0);
	WANT(truncate("small2.log", 5) == 0);
	pid = vfork();
	if (pid == 0) {
		close(fd);
		execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
		_exit(1);
	}
	WANT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	WANT(close(fd) == 0);
	puts("all so");
	return 0;
}
