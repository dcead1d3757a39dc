// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard policy check | show */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "guard/units.h"

#define MOST_ERRORS 20

struct check {
	struct sg_policy *policy;
	struct sg_policy_report report;
	struct sg_policy_error errors[MOST_ERRORS];
	unsigned int n_errors;
};

/* Put something harmless where a wrong line stands, so that the next error shows. A section keeps being
 * a section, else the keys below it would look like those of the one above. */
static bool neutralize(char *text, size_t *len, size_t room, unsigned int line, unsigned int serial)
{
	char *at = text, *end, instead[64] = "";
	size_t n = 0;

	while (--line && (at = strchr(at, '\n')))
		at++;
	if (!at || *at == 0)
		return false;
	end = strchr(at, '\n');
	end = end ? end : text + *len;
	if (at[strspn(at, " \t")] == '[')
		n = snprintf(instead, sizeof(instead), "[/instead/of/section/%u]", serial);
	if (*len - (end - at) + n >= room)
		return false;
	memmove(at + n, end, text + *len - end + 1);
	memcpy(at, instead, n);
	*len -= (end - at) - n;
	return true;
}

/* Every error that can be told without guessing: the first, then what stands after it. */
static void check_file(struct check *c, const char *text, size_t len, const char *source)
{
	size_t room = len + 64 * MOST_ERRORS + 1;
	struct sg_policy_report report;
	char *copy = malloc(room);
	unsigned int last = 0;

	if (sg_policy_parse_file(c->policy, text, len, source, &c->report) == 0 || !copy)
		goto out;
	c->errors[c->n_errors++] = c->report.error;
	/* A text with NUL bytes or too long has no lines to go on with. */
	if (strlen(text) != len || len > SG_POLICY_TEXT)
		goto out;
	memcpy(copy, text, len + 1);
	report = c->report;
	while (c->n_errors < MOST_ERRORS && report.error.line > last) {
		last = report.error.line;
		if (!neutralize(copy, &len, room, last, c->n_errors) ||
		    sg_policy_parse_file(c->policy, copy, len, source, &report) == 0)
			break;
		if (report.error.line > last)
			c->errors[c->n_errors++] = report.error;
	}
out:
	free(copy);
}

static json_t *error_json(const struct sg_policy_error *e)
{
	return json_pack("{si si so}", "line", (int)e->line, "column", (int)e->column, "message",
			 cli_json_str(e->message));
}

static int check_json(const struct check *c, const char *source)
{
	json_t *errors = json_array(), *warnings = json_array();
	unsigned int i;

	for (i = 0; i < c->n_errors; i++)
		json_array_append_new(errors, error_json(&c->errors[i]));
	for (i = 0; i < c->report.warnings && i < SG_POLICY_WARNINGS; i++)
		json_array_append_new(warnings, error_json(&c->report.warning[i]));
	return cli_json(json_pack("{so sb si so so}", "policy", cli_json_str(source), "valid",
				  !c->n_errors, "rules", c->n_errors ? 0 : (int)c->policy->n,
				  "errors", errors, "warnings", warnings));
}

static void check_print(const struct check *c, const char *source)
{
	char clean[4096];
	unsigned int i;

	for (i = 0; i < c->n_errors; i++)
		fprintf(stderr, "Error: %s\n", c->errors[i].message);
	for (i = 0; i < c->report.warnings && i < SG_POLICY_WARNINGS; i++)
		cli_warn("%s", c->report.warning[i].message);
	if (!c->n_errors)
		printf("%s: valid, %u rule%s\n", cli_clean(clean, sizeof(clean), source),
		       c->policy->n, c->policy->n == 1 ? "" : "s");
}

static int do_check(const struct cli_args *a)
{
	const char *line = cli_opt(a, "policy"), *source = line	     ? "--policy"
							   : a->argc ? a->argv[0]
								     : NULL;
	struct check *c;
	size_t len;
	char *text;
	int err;

	if (!source || (line && a->argc))
		return cli_fail(CLI_USAGE, "Name one file, or give --policy.",
				"spoolguard policy check needs %s",
				source ? "a file or --policy, not both" : "a file");
	c = calloc(1, sizeof(*c));
	if (!c || !(c->policy = calloc(1, sizeof(*c->policy)))) {
		free(c);
		return cli_fail(CLI_IO, NULL, "out of memory");
	}
	if (line) {
		if (sg_policy_parse_line(c->policy, line, strlen(line), source, &c->report))
			c->errors[c->n_errors++] = c->report.error;
	} else if ((err = cli_read_file(source, &text, &len))) {
		err = cli_fail(cli_exit_of(err),
			       "Check that the file exists and that you may read it.", "%s: %s",
			       source, strerror(-err));
		goto out;
	} else {
		check_file(c, text, len, source);
		free(text);
	}
	err = CLI_OK;
	if (cli.json)
		err = check_json(c, source);
	else
		check_print(c, source);
	if (!err && c->n_errors)
		err = CLI_FOUND;
out:
	free(c->policy);
	free(c);
	return err;
}

/* As the shim sees the path: resolved; a file that does not exist yet, in its resolved directory. */
static void resolve(const char *path, char out[PATH_MAX])
{
	char dir[PATH_MAX], *slash;

	if (realpath(path, out))
		return;
	snprintf(dir, sizeof(dir), "%s%s", strchr(path, '/') ? "" : "./", path);
	slash = strrchr(dir, '/');
	*slash = 0;
	if (!realpath(*dir ? dir : "/", out)) {
		snprintf(out, PATH_MAX, "%s", path);
		return;
	}
	snprintf(out + strlen(out), PATH_MAX - strlen(out), "%s%s", out[1] ? "/" : "", slash + 1);
}

static void show_print(const char *path, const struct sg_rule *rule, const char *source,
		       bool is_file)
{
	char value[SG_POLICY_SPILL_MAX + 16];
	struct cli_table *t;
	int k;

	printf("File:  %s\n", path);
	if (rule)
		printf("Rule:  %s (%s, %s %u)\n", rule->glob, source, is_file ? "line" : "rule",
		       rule->line);
	else
		printf("Rule:  none matches%s%s%s; the file is only observed\n",
		       *source ? " (" : "", source, *source ? ")" : "");
	if (!rule)
		return;
	t = cli_table_new();
	cli_table_column(t, "KEY", CLI_LEFT);
	cli_table_column(t, "VALUE", CLI_LEFT);
	cli_table_column(t, "FROM", CLI_LEFT);
	for (k = 0; k < SG_KEYS; k++) {
		sg_policy_format_value(rule, k, value, sizeof(value));
		cli_table_line(t);
		cli_table_text(t, sg_policy_key_name(k));
		cli_table_text(t, value);
		cli_table_text(t, rule->set & 1u << k ? "policy" : "default");
	}
	cli_table_print(t, stdout);
}

static int show_json(const char *path, const struct sg_rule *rule, const char *source)
{
	char value[SG_POLICY_SPILL_MAX + 16];
	json_t *values = json_object(), *r = NULL;
	int k;

	for (k = 0; rule && k < SG_KEYS; k++) {
		sg_policy_format_value(rule, k, value, sizeof(value));
		json_object_set_new(values, sg_policy_key_name(k),
				    json_pack("{so sb}", "value", cli_json_str(value), "given",
					      !!(rule->set & 1u << k)));
	}
	if (rule)
		r = json_pack("{so si so}", "glob", cli_json_str(rule->glob), "line",
			      (int)rule->line, "values", values);
	else
		json_decref(values);
	return cli_json(json_pack("{so so so ss}", "path", cli_json_str(path), "policy",
				  *source ? cli_json_str(source) : json_null(), "rule",
				  r ? r : json_null(), "mode",
				  sg_mode_name(rule ? rule->mode : SG_MODE_OBSERVE)));
}

static int do_show(const struct cli_args *a)
{
	char path[PATH_MAX], clean[PATH_MAX];
	const struct sg_rule *rule;
	struct cli_policy *p;
	int rc;

	rc = cli_policy_load(cli_opt(a, "policy"), cli_opt(a, "policy-file"), &p);
	if (rc)
		return rc;
	if (!*a->argv[0]) {
		free(p);
		return cli_fail(CLI_USAGE, NULL,
				"spoolguard policy show: an empty path names no file");
	}
	resolve(a->argv[0], path);
	rule = sg_policy_match(&p->policy, path);
	if (cli.json)
		rc = show_json(path, rule, p->source);
	else
		show_print(cli_clean(clean, sizeof(clean), path), rule, p->source, p->is_file);
	free(p);
	return rc;
}

static const struct cli_option check_options[] = {
	{ "policy", "POLICY", "check this one-line policy instead of a file", NULL },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_option show_options[] = {
	{ "policy", "POLICY", "a one-line policy", NULL },
	{ "policy-file", "FILE", "a policy file; else what a guarded program would read", "file" },
	{ NULL, NULL, NULL, NULL },
};
static const struct cli_command commands[] = {
	{ .name = "check",
	  .args = "FILE",
	  .help = "report every error of a policy file (- is standard input)",
	  .options = check_options,
	  .complete = "file",
	  .max_args = 1,
	  .run = do_check },
	{ .name = "show",
	  .args = "PATH",
	  .help = "show which rule wins for a file, and its values",
	  .options = show_options,
	  .complete = "file",
	  .min_args = 1,
	  .max_args = 1,
	  .run = do_show },
	{ .run = NULL },
};
const struct cli_object cli_policy = { "policy", "check a policy, or see which rule a file gets",
				       commands };
