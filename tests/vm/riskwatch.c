/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * riskwatch FILE: starts an observer of its own, says "ready", and when standard input ends prints what was at most
 * at risk in FILE, as the kernel counted it after each write: "records N bytes N".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/observe.h"

int main(int argc, char **argv)
{
	struct sg_observe_options options = { .pin_dir = "" };
	struct sg_observe_file file;
	struct sg_file_key key;
	struct sg_observe *o;
	struct stat st;
	char c;
	int err;

	if (argc != 2)
		return 2;
	err = sg_observe_start(&options, &o);
	if (err) {
		fprintf(stderr, "riskwatch: %s\n%s", strerror(-err), sg_observe_probe_text());
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	err = stat(argv[1], &st) ? -errno : sg_observe_find(o, st.st_dev, st.st_ino, NULL, &key);
	if (!err)
		err = sg_observe_file(o, &key, &file);
	if (err)
		fprintf(stderr, "riskwatch: %s: %s\n", argv[1], strerror(-err));
	else
		printf("records %llu bytes %llu\n", file.rec.max_risk_records,
		       file.rec.max_risk_bytes);
	sg_observe_close(o);
	return err != 0;
}
