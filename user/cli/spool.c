// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard spool: the tables, and what its commands share. */
#include "cli/spool.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "guard/units.h"

#define BAR_CELLS   30
#define BAR_STEP_NS (100 * SG_NSEC_PER_MSEC)

static const char *const format_names[] = { "detect", "native", "audit", "commitlog", NULL };

const char *spool_format_name(enum spool_format format)
{
	switch (format) {
	case SPOOL_FORMAT_NATIVE:
	case SPOOL_FORMAT_AUDIT:
	case SPOOL_FORMAT_COMMITLOG:
		return format_names[format];
	default:
		return "unknown";
	}
}

/* ---- options ---- */

int spool_opt_word(const struct cli_args *a, const char *name, const char *const *words,
		   unsigned int *index)
{
	const char *v = cli_opt(a, name);
	char list[128] = "", clean[128];
	struct sg_text t;
	unsigned int i;

	if (!v)
		return CLI_OK;
	sg_text_init(&t, list, sizeof(list));
	for (i = 0; words[i]; i++) {
		if (!strcmp(words[i], v)) {
			*index = i;
			return CLI_OK;
		}
		sg_text_str(&t, i ? ", " : "");
		sg_text_str(&t, words[i]);
	}
	return cli_fail(CLI_USAGE, NULL, "--%s = \"%s\": there are %s", name,
			cli_clean(clean, sizeof(clean), v), list);
}

int spool_opt_format(const struct cli_args *a, const char *name, enum spool_format *format)
{
	unsigned int i = SPOOL_FORMAT_DETECT;
	int rc = spool_opt_word(a, name, format_names, &i);

	*format = (enum spool_format)i;
	return rc;
}

int spool_opt_bytes(const struct cli_args *a, const char *name, uint64_t *bytes)
{
	const char *v = cli_opt(a, name);
	char clean[128];

	*bytes = 0;
	if (!v)
		return CLI_OK;
	if (sg_units_parse_bytes(v, strlen(v), bytes) || !*bytes)
		return cli_fail(CLI_USAGE, NULL,
				"--%s = \"%s\": that is no size above 0; write one like 64MiB",
				name, cli_clean(clean, sizeof(clean), v));
	return CLI_OK;
}

/* ---- errors ---- */

int spool_fail(int err, const char *dir)
{
	char clean[512];

	cli_clean(clean, sizeof(clean), dir);
	switch (-err) {
	case EBUSY:
		return cli_fail(CLI_IO, "Wait until it has ended; fuser(1) on DIR/lock finds it.",
				"%s: a writer, a recovery or a mirror holds this spool", clean);
	case EBADMSG:
		return cli_fail(CLI_IO, "See: spoolguard spool verify DIR",
				"%s: no spool of a known format and version", clean);
	case ENOSPC:
	case EDQUOT:
		return cli_fail(CLI_IO, "Acknowledge and delete records, or raise --max-bytes.",
				"%s: %s", clean, strerror(-err));
	default:
		return cli_fail(cli_exit_of(err), NULL, "%s: %s", clean, strerror(-err));
	}
}

/* ---- signals ---- */

int spool_signals_hold(struct spool_signals *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, &s->before))
		return -errno;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->fd < 0 ? -errno : 0;
}

int spool_signals_wait(const struct spool_signals *s, int fd, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = s->fd, .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };
	struct signalfd_siginfo info;

	while (poll(fds, 2, timeout_ms) < 0)
		if (errno != EINTR)
			return 0; /* then read(2) will say why */
	if (fds[0].revents && read(s->fd, &info, sizeof(info)) == sizeof(info))
		return (int)info.ssi_signo;
	return 0;
}

void spool_signals_release(struct spool_signals *s, int sig)
{
	if (s->fd >= 0)
		close(s->fd);
	if (sig) {
		fflush(stdout);
		signal(sig, SIG_DFL);
		raise(sig);
	}
	sigprocmask(SIG_SETMASK, &s->before, NULL);
}

/* ---- progress ---- */

void spool_bar_begin(struct spool_bar *bar, const char *what)
{
	*bar = (struct spool_bar){ .what = what,
				   .begun_ns = cli_now_ns(),
				   .visible = isatty(STDERR_FILENO) == 1 };
}

void spool_bar_show(struct spool_bar *bar, uint64_t done, uint64_t total)
{
	char size[SG_UNITS_MAX], rate[SG_UNITS_MAX], cells[BAR_CELLS + 1];
	uint64_t now_ns, gone_ns;
	size_t full;

	if (!bar->visible)
		return;
	now_ns = cli_now_ns();
	if (bar->drawn && now_ns - bar->shown_ns < BAR_STEP_NS)
		return;
	gone_ns = now_ns - bar->begun_ns + 1;
	sg_units_bytes(size, sizeof(size), done);
	sg_units_bytes(rate, sizeof(rate), (uint64_t)((double)done * 1e9 / (double)gone_ns));
	full = total ? (size_t)((double)done / (double)total * BAR_CELLS) : 0;
	full = full > BAR_CELLS ? BAR_CELLS : full;
	memset(cells, '-', BAR_CELLS);
	memset(cells, '#', full);
	cells[BAR_CELLS] = 0;
	fprintf(stderr, "\r%s %s%s%s%s, %s/s\033[K", bar->what, total ? "[" : "",
		total ? cells : "", total ? "] " : "", size, rate);
	fflush(stderr);
	bar->shown_ns = now_ns;
	bar->drawn = true;
}

void spool_bar_clear(struct spool_bar *bar)
{
	if (bar->drawn)
		fputs("\r\033[K", stderr);
	bar->drawn = false;
}

/* ---- the tables ---- */

#define FORMATS "native, audit or commitlog; else it is found out"

static const struct cli_option append_options[] = {
	{ "lines", NULL, "each line is a record (the default)", NULL },
	{ "length-prefix", NULL, "each record has its length in front: 4 bytes, little-endian",
	  NULL },
	{ "sync", "MODE", "none, record, batch (the default) or adaptive", "sync-mode" },
	{ "batch-records", "N", "most records at risk; 64", NULL },
	{ "batch-bytes", "SIZE", "most bytes at risk; 1MiB", NULL },
	{ "batch-delay", "TIME", "a record at risk is synced after this time; 100ms", NULL },
	{ "segment-bytes", "SIZE", "a file is ended before it grows beyond; 64MiB", NULL },
	{ "max-bytes", "SIZE", "most bytes of the whole directory", NULL },
	{ "prealloc", "HOW", "none (the default), reserve or written", "prealloc" },
	{ "on-error", "WHAT", "fail (the default), warn or abort", "on-error" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option cat_options[] = {
	{ "from", "N", "begin with record N", NULL },
	{ "to", "N", "end with record N", NULL },
	{ "follow", NULL, "wait for more records", NULL },
	{ "consumer", "NAME", "continue after what this consumer has acknowledged", NULL },
	{ "ack", NULL, "acknowledge what was printed", NULL },
	{ "delete", NULL, "delete segments that every consumer has acknowledged", NULL },
	{ "at-risk", NULL, "also records that are not durable yet", NULL },
	{ "raw", NULL, "the files' bytes, as spool mirror - takes them", NULL },
	{ "length-prefix", NULL, "the length in front of each record: 4 bytes, little-endian",
	  NULL },
	{ "format", "FORMAT", FORMATS, "format" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option format_options[] = {
	{ "format", "FORMAT", FORMATS, "format" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option recover_options[] = {
	{ "dry-run", NULL, "tell what would be done, and do nothing", NULL },
	{ "format", "FORMAT", FORMATS, "format" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option mirror_options[] = {
	{ "trailing", "WHAT", "a fragment at the end of the source: error (the default) or trim",
	  "trailing" },
	{ "format", "FORMAT", "native or commitlog; else it is found out", "format" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option convert_options[] = {
	{ "to-format", "FORMAT", "native, audit or commitlog", "format" },
	{ "from-format", "FORMAT", FORMATS, "format" },
	{ "segment-bytes", "SIZE", "a file is ended before it grows beyond; 64MiB", NULL },
	{ "commitlog-v0", NULL, "write version 0 of the commit log, which has no epochs", NULL },
	{ "unverified", NULL, "take audit records along that have no checksum", NULL },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option ack_options[] = {
	{ "consumer", "NAME", "who has done with the records", NULL },
	{ "seq", "N", "up to this number", NULL },
	{ NULL, NULL, NULL, NULL },
};

static const struct cli_command commands[] = {
	{ .name = "append",
	  .args = "DIR",
	  .help = "append records from standard input; make the spool if there is none",
	  .options = append_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_append },
	{ .name = "cat",
	  .args = "DIR",
	  .help = "print records: one per line, or as asked",
	  .options = cat_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_cat },
	{ .name = "info",
	  .args = "DIR",
	  .help = "tell what a spool holds, and who reads it",
	  .options = format_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_info },
	{ .name = "verify",
	  .args = "DIR",
	  .help = "check every record; exit 1 if anything is wrong",
	  .options = format_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_verify },
	{ .name = "recover",
	  .args = "DIR",
	  .help = "cut a torn tail, move damage to quarantine, rebuild indexes",
	  .options = recover_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_recover },
	{ .name = "mirror",
	  .args = "SRC DST",
	  .help = "copy what is new, checked, byte for byte (SRC - is standard input)",
	  .options = mirror_options,
	  .complete = "dir",
	  .min_args = 2,
	  .max_args = 2,
	  .run = spool_do_mirror },
	{ .name = "convert",
	  .args = "SRC DST",
	  .help = "write all records anew in another format",
	  .options = convert_options,
	  .complete = "dir",
	  .min_args = 2,
	  .max_args = 2,
	  .run = spool_do_convert },
	{ .name = "ack",
	  .args = "DIR",
	  .help = "acknowledge records for a consumer",
	  .options = ack_options,
	  .complete = "dir",
	  .min_args = 1,
	  .max_args = 1,
	  .run = spool_do_ack },
	{ .run = NULL },
};
const struct cli_object cli_spool = {
	"spool", "spools of checked records: append, read, verify, recover, mirror", commands
};
