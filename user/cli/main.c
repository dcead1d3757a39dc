// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The spoolguard command: only the list of objects; everything else is in their files and in common.c. */
#include <locale.h>

#include "cli/cli.h"

const struct cli_object *const cli_objects[] = {
	&cli_run,    &cli_observe, &cli_enable,	 &cli_disable, &cli_file,
	&cli_device, &cli_session, &cli_stall,	 &cli_policy,  &cli_spool,
	&cli_window, &cli_feature, &cli_version, &cli_help,    NULL,
};

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	return cli_dispatch(argc, argv);
}
