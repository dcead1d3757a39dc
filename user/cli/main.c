// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The spoolguard command: only the list of objects; everything else is in their files and in common.c. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdbool.h>

#include "cli/cli.h"

const struct cli_object *const cli_objects[] = {
	&cli_run,    &cli_observe, &cli_enable,	 &cli_disable, &cli_file,
	&cli_device, &cli_session, &cli_stall,	 &cli_policy,  &cli_spool,
	&cli_window, &cli_feature, &cli_version, &cli_help,    NULL,
};

/*
 * A standard descriptor that is closed would be the next file that is opened, and what we print go into it: into a
 * segment of a spool. So each gets something on which reading or writing fails as before, and programs that we start
 * find it closed.
 */
static bool fill_standard_descriptors(void)
{
	int fd;

	for (fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	if (!fill_standard_descriptors())
		return CLI_IO;
	setlocale(LC_ALL, "");
	return cli_dispatch(argc, argv);
}
