/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What the objects of the command share: the tables that dispatch, --help and completion are made from,
 * errors, and output for people and for programs.
 *
 * With -j or -p, whatever is printed on stdout is one valid JSON document with "schema": 1 (the watch
 * commands: one such document per line), errors too.
 */
#ifndef SG_CLI_CLI_H
#define SG_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_SCHEMA 1

enum cli_exit {
	CLI_OK = 0,
	CLI_FOUND = 1,	/* done, and something is wrong */
	CLI_USAGE = 2,	/* a bad command line or policy */
	CLI_DENIED = 3, /* no permission, or a feature is missing */
	CLI_IO = 4,	/* reading or writing failed */
	/* `run` only, as env(1) */
	CLI_NOT_EXECUTABLE = 126,
	CLI_NOT_FOUND = 127,
};

/* --- the tables --- */

#define CLI_OPTIONS 12 /* most options of one command */

struct cli_option {
	const char *name; /* long name; NULL ends a list */
	const char *arg;  /* NULL: a flag; "[X]": optional */
	const char *help;
	const char *complete; /* what completes its argument: file, dir, pid, or NULL */
};

struct cli_args {
	const struct cli_object *object;
	const struct cli_command *command;
	int argc; /* what is left after the options */
	char **argv;
	struct {
		unsigned int option;
		const char *value;
	} * given; /* in the order of the command line */
	unsigned int n_given;
};

struct cli_command {
	const char *name; /* NULL: the object is the command */
	const char *args; /* as the usage line shows them, or NULL */
	const char *help;
	const struct cli_option *options;
	const char
		*complete; /* what completes its arguments: file, device, unit, program, or NULL */
	int min_args, max_args; /* max -1: any number */
	bool rest; /* the first argument ends the options: what follows is another program's */
	bool is_default; /* when the object stands alone */
	int (*run)(const struct cli_args *args);
};

struct cli_object {
	const char *name;
	const char *help;
	const struct cli_command *commands; /* ends with run == NULL */
};

extern const struct cli_object *const cli_objects[]; /* ends with NULL */

/* The objects, one file each. */
extern const struct cli_object cli_run, cli_observe, cli_enable, cli_disable, cli_feature, cli_file,
	cli_device, cli_session, cli_stall, cli_policy, cli_spool, cli_window, cli_version,
	cli_help;

/* Run what the words name. Returns an exit code. */
int cli_dispatch(int argc, char **argv);

/* The last value of an option; "" for a flag or an option given without its optional value; NULL if absent. */
const char *cli_opt(const struct cli_args *a, const char *name);
/* The n-th value (from 0) of an option that may be repeated, or NULL. */
const char *cli_opt_nth(const struct cli_args *a, const char *name, unsigned int n);
/* A time like "50ms" of option `name`, or fallback. On a bad one reports it and returns CLI_USAGE. */
int cli_opt_time(const struct cli_args *a, const char *name, uint64_t fallback_ns, uint64_t *ns);
/* A count from 1. The same. */
int cli_opt_count(const struct cli_args *a, const char *name, uint64_t fallback, uint64_t *n);

/* --- output --- */

struct cli_global {
	bool json, pretty;
	char *argv_begin, *argv_end; /* where ps reads our command line */
};
extern struct cli_global cli;

/* Report what failed, and how to mend it (hint may be NULL). Returns `code`, so that a caller can end with
 * return cli_fail(…). */
int cli_fail(int code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "Warning: …" on stderr; never on stdout. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Which exit code stands for an errno: EPERM and EACCES 3, missing features 3, else 4. */
int cli_exit_of(int error);

/* Print one document and give it back to jansson; adds "schema". Returns CLI_OK or CLI_IO. */
int cli_json(json_t *document);
/* The same on f, flushed by the caller. */
int cli_json_to(FILE *f, json_t *document);
/* The same on one line, at once (the watch commands and -j run --report). */
int cli_json_line(FILE *f, json_t *document);
/* Flush stdout; CLI_IO with a message when something that was printed did not arrive. */
int cli_flush(void);

/* Bytes that came from a file name or another process, made safe for a terminal and for JSON: control
 * bytes and invalid UTF-8 become \xNN. Returns dst. */
const char *cli_clean(char *dst, size_t size, const char *src);
json_t *cli_json_str(const char *s);
/* A number that may be unknown. */
json_t *cli_json_known(bool known, uint64_t v);
/* "2026-05-04T03:02:01+0200" of CLOCK_REALTIME ns. Returns dst. */
const char *cli_when(char *dst, size_t size, uint64_t wall_ns);

uint64_t cli_now_ns(void);
uint64_t cli_wall_ns(void);

/* --- tables for people (libsmartcols) --- */

struct cli_table;
enum cli_align { CLI_LEFT, CLI_RIGHT, CLI_PATH /* left; gives way when the line is too narrow */ };

struct cli_table *cli_table_new(void);
void cli_table_column(struct cli_table *t, const char *name, enum cli_align align);
/* A new line; its cells are then added from left to right. */
void cli_table_line(struct cli_table *t);
void cli_table_text(struct cli_table *t, const char *text); /* cleaned here */
void cli_table_bad(struct cli_table *t, const char *text);  /* the same, red on a terminal */
void cli_table_count(struct cli_table *t, uint64_t v);
void cli_table_bytes(struct cli_table *t, uint64_t v);
void cli_table_time(struct cli_table *t, uint64_t ns);
void cli_table_none(struct cli_table *t); /* "-" */
/* Print to f (title may be NULL) and free. */
void cli_table_print(struct cli_table *t, FILE *f);
void cli_table_free(struct cli_table *t);

/* --- histograms --- */

/* Bars in the terminal: bucket range, count, bar. max_ns as in sg_hist_quantile. */
void cli_hist_print(FILE *f, const char *title, const uint64_t *buckets, uint64_t max_ns);
/* {"count", "p50_ns", "p90_ns", "p99_ns", "max_ns", "buckets": [{"from_ns", "to_ns" or null, "count"}]} */
json_t *cli_hist_json(const uint64_t *buckets, uint64_t max_ns, bool with_buckets);

#endif
