// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Built with the wrappers inside: syncs the file given by name, prints what the guard thinks of it. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "guard/guard.h"

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644), i;
	struct sg_session *s = sg_guard_session();

	if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) || !s)
		return 1;
	for (i = 0; i < SG_FILES; i++)
		if (s->files[i].state == SG_SLOT_LIVE)
			printf("%s\n", sg_verdict_name(s->files[i].verdict));
	return 0;
}
