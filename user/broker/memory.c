// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/internal.h"

void *broker_shared_memory(const char *name, size_t size, int *memfd)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *mem;

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, (off_t)size) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
	    (mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		close(fd);
		return NULL;
	}
	*memfd = fd;
	return mem;
}

struct sg_session *broker_map_session(int memfd)
{
	int seals = fcntl(memfd, F_GET_SEALS);
	struct stat st;
	void *mem;

	/* Without the seal a truncate would turn our next look into a SIGBUS. */
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(memfd, &st) != 0 ||
	    st.st_size < (off_t)sizeof(struct sg_session))
		return NULL;
	mem = mmap(NULL, sizeof(struct sg_session), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	if (sg_session_check(mem, (uint64_t)st.st_size) != 0) {
		munmap(mem, sizeof(struct sg_session));
		return NULL;
	}
	return mem;
}

int broker_read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}
