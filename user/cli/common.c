// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * From words to a command. Dispatch, --help, `help -j` and completion are all made from the same tables,
 * so they cannot disagree. Objects and commands may be shortened as long as one only is meant.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "guard/units.h"

struct cli_global cli;

static const struct cli_option global_options[] = {
	{ "json", NULL, "print JSON (-j)", NULL },
	{ "pretty", NULL, "print JSON, indented (-p)", NULL },
	{ "version", NULL, "print the version (-V)", NULL },
	{ "help", NULL, "print help (-h)", NULL },
	{ NULL, NULL, NULL, NULL },
};

static bool global_option(int c)
{
	cli.json |= c == 'j' || c == 'p';
	cli.pretty |= c == 'p';
	return c == 'j' || c == 'p';
}

/* --- help --- */

static void usage_line(const struct cli_object *o, const struct cli_command *c)
{
	unsigned int i;

	printf("  spoolguard %s", o->name);
	if (c->name && c->is_default)
		printf(" [%s]", c->name);
	else if (c->name)
		printf(" %s", c->name);
	for (i = 0; c->options && c->options[i].name; i++) {
		const struct cli_option *p = &c->options[i];

		if (!p->arg)
			printf(" [--%s]", p->name);
		else if (p->arg[0] == '[')
			printf(" [--%s[=%.*s]]", p->name, (int)strlen(p->arg) - 2, p->arg + 1);
		else
			printf(" [--%s %s]", p->name, p->arg);
	}
	printf("%s%s\n", c->args ? " " : "", c->args ? c->args : "");
}

static void help_command(const struct cli_object *o, const struct cli_command *c)
{
	unsigned int i;

	usage_line(o, c);
	printf("      %s\n", c->help);
	for (i = 0; c->options && c->options[i].name; i++) {
		const struct cli_option *p = &c->options[i];
		char word[64];

		snprintf(word, sizeof(word), "--%s%s%s", p->name,
			 p->arg && p->arg[0] != '[' ? " " : "", p->arg ? p->arg : "");
		printf("      %-24s %s\n", word, p->help);
	}
}

static const char *manual_of(const struct cli_object *o, char *buf, size_t size)
{
	if (o == &cli_version || o == &cli_help)
		snprintf(buf, size, "spoolguard(1)");
	else
		snprintf(buf, size, "spoolguard-%s(1)",
			 o == &cli_disable ? cli_enable.name : o->name);
	return buf;
}

static void help_object(const struct cli_object *o)
{
	char manual[64];
	const struct cli_command *c;

	printf("spoolguard %s: %s\n\nUsage:\n", o->name, o->help);
	for (c = o->commands; c->run; c++)
		help_command(o, c);
	printf("\nGlobal options: -j, --json  -p, --pretty  -h, --help.  Manual: %s.\n",
	       manual_of(o, manual, sizeof(manual)));
}

static void help_all(void)
{
	unsigned int i;

	printf("Makes the logs and spools that programs append to durable at a known cost, and "
	       "shows what the\n"
	       "disk does to them.\n\nUsage: spoolguard [-j | -p] OBJECT [COMMAND] "
	       "[ARGS]\n\nObjects:\n");
	for (i = 0; cli_objects[i]; i++)
		printf("  %-10s %s\n", cli_objects[i]->name, cli_objects[i]->help);
	printf("\nOptions:\n");
	for (i = 0; global_options[i].name; i++)
		printf("  --%-8s %s\n", global_options[i].name, global_options[i].help);
	printf("\n'spoolguard OBJECT help' tells more. Objects and commands may be shortened.\n");
}

static json_t *str_or_null(const char *s)
{
	return s ? cli_json_str(s) : json_null();
}

static json_t *options_json(const struct cli_option *p)
{
	json_t *list = json_array();

	for (; p && p->name; p++)
		json_array_append_new(
			list, json_pack("{so so so so}", "name", cli_json_str(p->name), "arg",
					str_or_null(p->arg), "help", cli_json_str(p->help),
					"complete", str_or_null(p->complete)));
	return list;
}

static json_t *object_json(const struct cli_object *o)
{
	const struct cli_command *c;
	json_t *list = json_array();

	for (c = o->commands; c->run; c++)
		json_array_append_new(list,
				      json_pack("{so so so sb so so}", "name", str_or_null(c->name),
						"args", str_or_null(c->args), "help",
						cli_json_str(c->help), "default", c->is_default,
						"complete", str_or_null(c->complete), "options",
						options_json(c->options)));
	return json_pack("{so so so}", "name", cli_json_str(o->name), "help", cli_json_str(o->help),
			 "commands", list);
}

static int help_json(const struct cli_object *only)
{
	json_t *list = json_array();
	unsigned int i;

	for (i = 0; cli_objects[i]; i++)
		if (!only || only == cli_objects[i])
			json_array_append_new(list, object_json(cli_objects[i]));
	return cli_json(
		json_pack("{so so}", "objects", list, "options", options_json(global_options)));
}

/* For completion: one word per line, TAB-separated, "-" where there is none. */
static void help_words(void)
{
	const struct cli_command *c;
	const struct cli_option *p;
	unsigned int i;

	for (i = 0; cli_objects[i]; i++) {
		const char *o = cli_objects[i]->name;

		printf("object\t%s\n", o);
		for (c = cli_objects[i]->commands; c->run; c++) {
			printf("command\t%s\t%s\t%s\n", o, c->name ? c->name : "-",
			       c->complete ? c->complete : "-");
			for (p = c->options; p && p->name; p++)
				printf("option\t%s\t%s\t--%s\t%s\n", o, c->name ? c->name : "-",
				       p->name,
				       !p->arg	     ? "-"
				       : p->complete ? p->complete
						     : "text");
		}
	}
	for (p = global_options; p->name; p++)
		printf("global\t--%s\n", p->name);
}

/* --- words --- */

/* The index of the name that `word` means among n, -1 when none, -2 when several. */
static int match(const char *word, unsigned int n, const char *(*name)(const void *, unsigned int),
		 const void *in)
{
	int found = -1;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (!strcmp(name(in, i), word))
			return i;
		if (*word && !strncmp(name(in, i), word, strlen(word)))
			found = found == -1 ? (int)i : -2;
	}
	return found;
}

static const char *object_name(const void *in, unsigned int i)
{
	return cli_objects[i]->name;
}

static const char *command_name(const void *in, unsigned int i)
{
	const struct cli_object *o = in;

	return o->commands[i].name;
}

/* "show, latency, top, events": what fits of the names that begin like word. */
static const char *names(char *buf, size_t size, const char *word, unsigned int n,
			 const char *(*name)(const void *, unsigned int), const void *in)
{
	struct sg_text t;
	unsigned int i;

	sg_text_init(&t, buf, size);
	for (i = 0; i < n; i++) {
		if (strncmp(name(in, i), word, strlen(word)))
			continue;
		sg_text_str(&t, t.len ? ", " : "");
		sg_text_str(&t, name(in, i));
	}
	return buf;
}

static int no_such(const char *what, const char *word, bool several, const char *list)
{
	char clean[128];

	cli_clean(clean, sizeof(clean), word);
	if (several)
		return cli_fail(CLI_USAGE, "Write more of the word.", "%s \"%s\" is ambiguous: %s",
				what, clean, list);
	return cli_fail(CLI_USAGE, "See: spoolguard help", "unknown %s \"%s\"; there are %s", what,
			clean, list);
}

static unsigned int count_objects(void)
{
	unsigned int n = 0;

	while (cli_objects[n])
		n++;
	return n;
}

static const struct cli_object *find_object(const char *word)
{
	unsigned int n = count_objects();
	int i = match(word, n, object_name, NULL);
	char list[256];

	if (i >= 0)
		return cli_objects[i];
	no_such("object", word, i == -2,
		names(list, sizeof(list), i == -2 ? word : "", n, object_name, NULL));
	return NULL;
}

static const struct cli_command *find_command(const struct cli_object *o, const char *word)
{
	unsigned int n = 0;
	char list[256];
	int i;

	while (o->commands[n].run)
		n++;
	i = match(word, n, command_name, o);
	if (i >= 0)
		return &o->commands[i];
	no_such("command", word, i == -2,
		names(list, sizeof(list), i == -2 ? word : "", n, command_name, o));
	return NULL;
}

static const struct cli_command *default_command(const struct cli_object *o)
{
	const struct cli_command *c;

	for (c = o->commands; c->run; c++)
		if (!c->name || c->is_default)
			return c;
	cli_fail(CLI_USAGE, NULL, "spoolguard %s needs a command; see: spoolguard %s help", o->name,
		 o->name);
	return NULL;
}

/* --- options --- */

#define OPT_BASE 1000

static int bad_option(const struct cli_object *o, int c, char **argv, int value)
{
	char word[128], hint[96];

	snprintf(hint, sizeof(hint), "See: spoolguard %s help", o->name);
	cli_clean(word, sizeof(word),
		  value < OPT_BASE && value ? (char[]){ '-', value, 0 } : argv[optind - 1]);
	if (c == ':')
		return cli_fail(CLI_USAGE, hint, "spoolguard %s: option %s needs a value", o->name,
				word);
	return cli_fail(CLI_USAGE, hint, "spoolguard %s: no such option: %s", o->name, word);
}

static void long_options(const struct cli_command *c, struct option *out)
{
	static const struct option globals[] = { { "json", no_argument, NULL, 'j' },
						 { "pretty", no_argument, NULL, 'p' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	unsigned int n = 0;
	const struct cli_option *p;

	for (p = c->options; p && p->name && n < CLI_OPTIONS; p++, n++)
		out[n] = (struct option){ p->name,
					  !p->arg	     ? no_argument
					  : p->arg[0] == '[' ? optional_argument
							     : required_argument,
					  NULL, OPT_BASE + n };
	memcpy(out + n, globals, sizeof(globals));
}

static int check_count(const struct cli_args *a)
{
	const struct cli_command *c = a->command;
	char hint[96], word[128];

	snprintf(hint, sizeof(hint), "See: spoolguard %s help", a->object->name);
	if (a->argc < c->min_args)
		return cli_fail(CLI_USAGE, hint, "spoolguard %s%s%s needs %s", a->object->name,
				c->name ? " " : "", c->name ? c->name : "",
				c->args ? c->args : "an argument");
	if (c->max_args >= 0 && a->argc > c->max_args)
		return cli_fail(CLI_USAGE, hint, "spoolguard %s%s%s: one word too many: %s",
				a->object->name, c->name ? " " : "", c->name ? c->name : "",
				cli_clean(word, sizeof(word), a->argv[c->max_args]));
	return CLI_OK;
}

/* argv[0] is a word before the options. */
static int run_command(const struct cli_object *o, const struct cli_command *c, int argc,
		       char **argv)
{
	struct cli_args a = { .object = o, .command = c };
	struct option longs[CLI_OPTIONS + 4];
	int k, rc = CLI_OK;

	a.given = calloc(argc + 1, sizeof(*a.given));
	if (!a.given)
		return cli_fail(CLI_IO, NULL, "out of memory");
	long_options(c, longs);
	optind = 0;
	opterr = 0;
	while ((k = getopt_long(argc, argv, c->rest ? "+:jph" : ":jph", longs, NULL)) != -1) {
		if (k >= OPT_BASE) {
			a.given[a.n_given].option = k - OPT_BASE;
			a.given[a.n_given++].value = optarg ? optarg : "";
		} else if (k == 'h') {
			if (cli.json)
				rc = help_json(o);
			else
				help_object(o);
			goto out;
		} else if (!global_option(k)) {
			rc = bad_option(o, k, argv, optopt);
			goto out;
		}
	}
	a.argc = argc - optind;
	a.argv = argv + optind;
	rc = check_count(&a);
	if (rc == CLI_OK)
		rc = c->run(&a);
out:
	free(a.given);
	return rc;
}

static int run_object(int argc, char **argv)
{
	const struct cli_object *o = find_object(argv[0]);
	const struct cli_command *c;
	bool word = argc > 1 && argv[1][0] != '-';

	if (!o)
		return CLI_USAGE;
	if (!o->commands->name) /* the object is the command */
		return run_command(o, o->commands, argc, argv);
	if (word && !strcmp(argv[1], "help")) {
		if (cli.json)
			return help_json(o);
		help_object(o);
		return CLI_OK;
	}
	c = word ? find_command(o, argv[1]) : NULL;
	if (!c && (word || !(c = default_command(o))))
		return CLI_USAGE;
	return run_command(o, c, argc - word, argv + word);
}

/* An error on the command line should be JSON even when -j comes after it; what follows `run` or "--" is
 * another program's business. */
static void look_ahead(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") && strcmp(argv[i], "run"); i++)
		global_option(!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json")     ? 'j'
			      : !strcmp(argv[i], "-p") || !strcmp(argv[i], "--pretty") ? 'p'
										       : 0);
}

static int do_version(const struct cli_args *a)
{
	if (cli.json)
		return cli_json(json_pack("{ss}", "version", SG_VERSION));
	printf("spoolguard %s\n", SG_VERSION);
	return CLI_OK;
}

static int do_help(const struct cli_args *a)
{
	const struct cli_object *o = NULL;

	if (a->argc && !strcmp(a->argv[0], "words")) {
		help_words();
		return CLI_OK;
	}
	if (a->argc && !(o = find_object(a->argv[0])))
		return CLI_USAGE;
	if (cli.json)
		return help_json(o);
	if (o)
		help_object(o);
	else
		help_all();
	return CLI_OK;
}

static int dispatch(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },
					       { "pretty", no_argument, NULL, 'p' },
					       { "version", no_argument, NULL, 'V' },
					       { "help", no_argument, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	const struct cli_args none = { .object = &cli_help };
	int k;

	look_ahead(argc, argv);
	opterr = 0;
	while ((k = getopt_long(argc, argv, "+:jpVh", longs, NULL)) != -1) {
		if (k == 'V')
			return do_version(&none);
		if (k == 'h')
			return do_help(&none);
		if (!global_option(k))
			return bad_option(&cli_help, k, argv, optopt);
	}
	if (optind == argc) {
		if (!cli.json)
			help_all();
		return cli_fail(CLI_USAGE, "See: spoolguard help", "no object is named");
	}
	return run_object(argc - optind, argv + optind);
}

int cli_dispatch(int argc, char **argv)
{
	int rc, flushed;

	if (argc < 1)
		return CLI_USAGE;
	cli.argv_begin = argv[0];
	cli.argv_end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
	rc = dispatch(argc, argv);
	flushed = cli_flush();
	return rc == CLI_OK ? flushed : rc;
}

/* --- what a command asks of its options --- */

const char *cli_opt_nth(const struct cli_args *a, const char *name, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < a->n_given; i++)
		if (!strcmp(a->command->options[a->given[i].option].name, name) && n-- == 0)
			return a->given[i].value;
	return NULL;
}

const char *cli_opt(const struct cli_args *a, const char *name)
{
	unsigned int i;

	for (i = a->n_given; i-- > 0;)
		if (!strcmp(a->command->options[a->given[i].option].name, name))
			return a->given[i].value;
	return NULL;
}

int cli_opt_time(const struct cli_args *a, const char *name, uint64_t fallback_ns, uint64_t *ns)
{
	const char *v = cli_opt(a, name);
	char word[128];
	int rc;

	*ns = fallback_ns;
	if (!v)
		return CLI_OK;
	rc = sg_units_parse_time(v, strlen(v), ns);
	cli_clean(word, sizeof(word), v);
	if (rc == -EDOM)
		return cli_fail(CLI_USAGE, NULL, "--%s = \"%s\": a time needs a unit, like 50ms",
				name, word);
	if (rc || !*ns)
		return cli_fail(CLI_USAGE, NULL,
				"--%s = \"%s\": that is no time above 0; write one like 50ms or 2s",
				name, word);
	return CLI_OK;
}

int cli_opt_count(const struct cli_args *a, const char *name, uint64_t fallback, uint64_t *n)
{
	const char *v = cli_opt(a, name);
	char word[128];

	*n = fallback;
	if (!v)
		return CLI_OK;
	if (sg_units_parse_count(v, strlen(v), n) || !*n)
		return cli_fail(CLI_USAGE, NULL, "--%s = \"%s\": that is no whole number above 0",
				name, cli_clean(word, sizeof(word), v));
	return CLI_OK;
}

static const struct cli_command version_commands[] = {
	{ .help = "print the version", .run = do_version },
	{ .run = NULL },
};
const struct cli_object cli_version = { "version", "print the version", version_commands };

static const struct cli_command help_commands[] = {
	{ .args = "[OBJECT]",
	  .help = "print help, or what one object can do",
	  .complete = "object",
	  .max_args = 1,
	  .run = do_help },
	{ .run = NULL },
};
const struct cli_object cli_help = { "help", "print help", help_commands };
