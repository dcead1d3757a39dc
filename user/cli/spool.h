/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* What the commands of `spoolguard spool` share. */
#ifndef SG_CLI_SPOOL_H
#define SG_CLI_SPOOL_H

#include <signal.h>

#include "cli/cli.h"
#include "spoolguard/spool.h"

int spool_do_append(const struct cli_args *a);
int spool_do_cat(const struct cli_args *a);
int spool_do_ack(const struct cli_args *a);
int spool_do_info(const struct cli_args *a);
int spool_do_verify(const struct cli_args *a);
int spool_do_recover(const struct cli_args *a);
int spool_do_mirror(const struct cli_args *a);
int spool_do_convert(const struct cli_args *a);

/* The segments of dir, as they are but for zero tails and what is not durable, to standard output. */
int spool_raw(const char *dir, enum spool_format format);

/* "native", "audit", "commitlog", "unknown". */
const char *spool_format_name(enum spool_format format);

/* The value of an option that names a format, DETECT if it is not given; one that gives a size; one of `words` (NULL
 * ends them; *index keeps its value if it is not given). On a bad value: report it and return CLI_USAGE. */
int spool_opt_format(const struct cli_args *a, const char *name, enum spool_format *format);
int spool_opt_bytes(const struct cli_args *a, const char *name, uint64_t *bytes);
int spool_opt_word(const struct cli_args *a, const char *name, const char *const *words,
		   unsigned int *index);

/* Report an errno of the library about this directory. Returns an exit code. */
int spool_fail(int err, const char *dir);

/* Hold back SIGINT, SIGTERM and SIGHUP: a descriptor that becomes readable when one has come, or -errno. */
struct spool_signals {
	int fd;
	sigset_t before;
};
int spool_signals_hold(struct spool_signals *s);
/* Wait until fd (-1: none) is readable or the time is over (0), or one of them has come: its number. -1: no end. */
int spool_signals_wait(const struct spool_signals *s, int fd, int timeout_ms);
/* Close, let them through again, and if `sig` is not 0 end by it as if it had not been held back. */
void spool_signals_release(struct spool_signals *s, int sig);

/* How far long work is: a line on standard error, if that is a terminal. */
struct spool_bar {
	const char *what;
	uint64_t begun_ns, shown_ns;
	bool visible, drawn;
};
void spool_bar_begin(struct spool_bar *bar, const char *what);
void spool_bar_show(struct spool_bar *bar, uint64_t done_bytes,
		    uint64_t total_bytes); /* total 0: not known */
void spool_bar_clear(struct spool_bar *bar);

#endif
