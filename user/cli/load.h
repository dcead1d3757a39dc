/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* Which policy is in force, and where its text came from. */
#ifndef SG_CLI_LOAD_H
#define SG_CLI_LOAD_H

#include "cli/cli.h"
#include "guard/policy.h"

#define CLI_POLICY_FILE "/etc/spoolguard/spoolguard.conf"

struct cli_policy {
	struct sg_policy policy;
	struct sg_policy_report report;
	char source
		[4096]; /* a path, "--policy", "SPOOLGUARD_POLICY", or "" when there is no policy at all */
	bool is_file;
};

/* The whole of a file ("-": stdin), NUL-terminated, at most SG_POLICY_TEXT + 1 bytes. 0 or -errno. */
int cli_read_file(const char *path, char **text, size_t *len);

/* From --policy, --policy-file, $SPOOLGUARD_POLICY, $SPOOLGUARD_CONF or the file in /etc, in this order.
 * Reports what is wrong (and warnings) and returns CLI_OK, CLI_USAGE or CLI_IO. Free with free(). */
int cli_policy_load(const char *line, const char *file, struct cli_policy **out);

#endif
