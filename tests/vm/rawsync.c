/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* rawsync FILE N: N times 100 bytes and an fsync, by bare system calls of a static program: no preload sees it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char record[100] = "raw";
	int fd, n = argc == 3 ? atoi(argv[2]) : 0;

	fd = argc == 3 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
	if (fd < 0)
		return 2;
	while (n-- > 0)
		if (syscall(SYS_write, fd, record, sizeof(record)) != sizeof(record) ||
		    syscall(SYS_fsync, fd))
			return 1;
	return 0;
}
