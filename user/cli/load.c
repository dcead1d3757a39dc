// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One byte more than a policy may have, so that a longer one is seen to be too long. */
#define READ_MAX (SG_POLICY_TEXT + 1)

int cli_read_file(const char *path, char **text, size_t *len)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
				   : dup(STDIN_FILENO),
	    err = 0;
	char *buf = malloc(READ_MAX + 1);
	ssize_t n = 0;

	*len = 0;
	if (fd < 0 || !buf) {
		err = fd < 0 ? -errno : -ENOMEM;
		goto out;
	}
	while (*len < READ_MAX && (n = read(fd, buf + *len, READ_MAX - *len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err = -errno;
			goto out;
		}
		*len += n;
	}
	buf[*len] = 0;
	*text = buf;
	buf = NULL;
out:
	if (fd >= 0)
		close(fd);
	free(buf);
	return err;
}

static void pick_source(struct cli_policy *p, const char *line, const char *file, const char **text)
{
	const char *env_line = getenv("SPOOLGUARD_POLICY"), *env_file = getenv("SPOOLGUARD_CONF");
	bool named = line || file;

	*text = line ? line : named ? NULL : env_line;
	p->is_file = !*text;
	if (*text)
		snprintf(p->source, sizeof(p->source), "%s",
			 line ? "--policy" : "SPOOLGUARD_POLICY");
	else if (file || (env_file && *env_file))
		snprintf(p->source, sizeof(p->source), "%s", file ? file : env_file);
	else if (!access(CLI_POLICY_FILE, F_OK))
		snprintf(p->source, sizeof(p->source), "%s", CLI_POLICY_FILE);
}

static int complain(const struct cli_policy *p, int err)
{
	unsigned int i;

	for (i = 0; i < p->report.warnings && i < SG_POLICY_WARNINGS; i++)
		cli_warn("%s", p->report.warning[i].message);
	if (!err)
		return CLI_OK;
	return cli_fail(CLI_USAGE,
			"The policy was not put in force; spoolguard.conf(5) lists the keys.", "%s",
			p->report.error.message);
}

int cli_policy_load(const char *line, const char *file, struct cli_policy **out)
{
	struct cli_policy *p = calloc(1, sizeof(*p));
	const char *text;
	char *read = NULL;
	size_t len = 0;
	int err = 0, rc;

	*out = NULL;
	if (!p)
		return cli_fail(CLI_IO, NULL, "out of memory");
	if (line && file) {
		free(p);
		return cli_fail(CLI_USAGE, "Give one of them.",
				"--policy and --policy-file exclude each other");
	}
	pick_source(p, line, file, &text);
	if (text) {
		err = sg_policy_parse_line(&p->policy, text, strlen(text), p->source, &p->report);
	} else if (p->source[0]) {
		err = cli_read_file(p->source, &read, &len);
		if (err) {
			rc = cli_fail(cli_exit_of(err), "Name another with --policy-file.",
				      "%s: %s", p->source, strerror(-err));
			free(p);
			return rc;
		}
		err = sg_policy_parse_file(&p->policy, read, len, p->source, &p->report);
		free(read);
	}
	rc = complain(p, err);
	if (rc)
		free(p);
	else
		*out = p;
	return rc;
}
