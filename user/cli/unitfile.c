// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
#include "cli/unitfile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MOST_TEXT (1024 * 1024)

static const char *const folders[] = { "/etc/systemd/system", "/run/systemd/system",
				       "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
				       "/lib/systemd/system" };
#define FOLDERS (sizeof(folders) / sizeof(folders[0]))

bool unit_systemd_runs(void)
{
	return !access("/run/systemd/system", F_OK); /* as sd_booted(3) */
}

bool unit_name(const char *word, char *name, size_t size)
{
	static const char also[] = ":_.\\@-";
	const char *suffix = ".service", *p;
	size_t n = strlen(word), s = strlen(suffix);

	for (p = word; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(also, *p))
			return false;
	if (!n || word[0] == '.' || word[0] == '-')
		return false;
	if (n > s && !strcmp(word + n - s, suffix))
		suffix = "";
	return snprintf(name, size, "%s%s", word, suffix) < (int)size;
}

/* --- the text --- */

static int append(FILE *to, const char *path, const char *shown)
{
	char buf[4096];
	size_t n;
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	fprintf(to, "# %s\n", shown);
	while ((n = fread(buf, 1, sizeof(buf), f)) && ftell(to) < MOST_TEXT)
		fwrite(buf, 1, n, to);
	fputc('\n', to);
	fclose(f);
	return 0;
}

static int is_conf(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && !strcmp(e->d_name + n - 5, ".conf");
}

static void append_drop_ins(FILE *to, const char *root, const char *name)
{
	char dir[PATH_MAX], path[PATH_MAX + 256];
	struct dirent **list;
	unsigned int i;
	int n, k;

	/* Least important folder first, so that what comes later wins. */
	for (i = FOLDERS; i-- > 0;) {
		snprintf(dir, sizeof(dir), "%s%s/%s.d", root, folders[i], name);
		n = scandir(dir, &list, is_conf, alphasort);
		for (k = 0; k < n; k++) {
			snprintf(path, sizeof(path), "%s/%s", dir, list[k]->d_name);
			append(to, path, path + strlen(root));
			free(list[k]);
		}
		if (n >= 0)
			free(list);
	}
}

/* "x@1.service" is made from "x@.service". */
static void template_of(const char *name, char out[NAME_MAX + 1])
{
	const char *at = strchr(name, '@'), *dot = strrchr(name, '.');

	snprintf(out, NAME_MAX + 1, "%s", name);
	if (at && dot > at + 1)
		snprintf(out, NAME_MAX + 1, "%.*s%s", (int)(at - name) + 1, name, dot);
}

static int append_fragment(FILE *to, const char *root, const char *name)
{
	char path[PATH_MAX + NAME_MAX];
	unsigned int i;
	int err;

	for (i = 0; i < FOLDERS; i++) {
		snprintf(path, sizeof(path), "%s%s/%s", root, folders[i], name);
		err = append(to, path, path + strlen(root));
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

static int from_folders(FILE *to, const char *root, const char *name)
{
	char template[NAME_MAX + 1];
	int err = append_fragment(to, root, name);

	template_of(name, template);
	if (err == -ENOENT && strcmp(template, name))
		err = append_fragment(to, root, template);
	if (err)
		return err;
	if (strcmp(template, name))
		append_drop_ins(to, root, template);
	append_drop_ins(to, root, name);
	return 0;
}

/* The name was checked: it holds nothing that a shell reads but a backslash, which stands in quotes. */
static int from_systemctl(FILE *to, const char *name)
{
	char command[NAME_MAX + 64], buf[4096];
	size_t n, total = 0;
	FILE *p;

	snprintf(command, sizeof(command), "systemctl cat -- '%s' 2>/dev/null", name);
	p = popen(command, "re");
	if (!p)
		return -errno;
	while ((n = fread(buf, 1, sizeof(buf), p)) && total < MOST_TEXT)
		total += fwrite(buf, 1, n, to);
	return pclose(p) || !total ? -ENOENT : 0;
}

/* --- lines --- */

/* The next line with its continuations joined into one; NULL at the end. Free it. */
static char *next_line(const char **at)
{
	char *line = NULL;
	size_t size = 0, n;
	const char *end;
	FILE *f;
	bool more = true;

	if (!**at)
		return NULL;
	f = open_memstream(&line, &size);
	while (f && more && **at) {
		end = strchrnul(*at, '\n');
		n = end - *at;
		more = n && end[-1] == '\\';
		fwrite(*at, 1, n - more, f);
		if (more)
			fputc(' ', f);
		*at = *end ? end + 1 : end;
	}
	if (f)
		fclose(f);
	return line;
}

static char *strip(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = 0;
	return s;
}

/* Walk over all assignments in [Service] outside the file `ours`. */
typedef void (*assignment_fn)(const char *key, const char *value, void *arg);

static void walk(const char *text, const char *ours, assignment_fn fn, void *arg)
{
	bool service = false, skip = false;
	char *line, *s, *eq;
	size_t n;

	while ((line = next_line(&text))) {
		s = strip(line);
		n = strlen(s);
		if (!strncmp(s, "# /", 3)) { /* another file begins */
			skip = ours && strlen(s) > strlen(ours) &&
			       !strcmp(s + n - strlen(ours), ours);
			service = false;
		} else if (*s == '[') {
			service = !strcmp(s, "[Service]");
		} else if (service && !skip && *s && *s != '#' && *s != ';' &&
			   (eq = strchr(s, '='))) {
			*eq = 0;
			fn(strip(s), strip(eq + 1), arg);
		}
		free(line);
	}
}

static void take_start(const char *key, const char *value, void *arg)
{
	struct unit *u = arg;

	if (strcmp(key, "ExecStart"))
		return;
	if (!*value) /* an empty one begins the list anew */
		while (u->n_start)
			free(u->start[--u->n_start]);
	else if (u->n_start < UNIT_MOST)
		u->start[u->n_start++] = strdup(value);
}

/* What is left out once is left out for good: the text is made anew without our own file. */
struct copy {
	FILE *to;
};

static void take_line(const char *key, const char *value, void *arg)
{
	struct copy *c = arg;

	fprintf(c->to, "%s=%s\n", key, value);
}

int unit_read(const char *root, const char *name, const char *ours, struct unit *u)
{
	char *raw = NULL, *text = NULL;
	size_t size;
	FILE *f = open_memstream(&raw, &size);
	struct copy c;
	int err;

	memset(u, 0, sizeof(*u));
	if (!f)
		return -ENOMEM;
	err = !*root && unit_systemd_runs() ? from_systemctl(f, name) : from_folders(f, root, name);
	fclose(f);
	c.to = err ? NULL : open_memstream(&text, &size);
	if (c.to) {
		fputs("[Service]\n", c.to);
		walk(raw, ours, take_line, &c);
		fclose(c.to);
		u->text = text;
		walk(text, NULL, take_start, u);
	} else if (!err) {
		err = -ENOMEM;
	}
	free(raw);
	return err;
}

void unit_free(struct unit *u)
{
	while (u->n_start)
		free(u->start[--u->n_start]);
	free(u->text);
	memset(u, 0, sizeof(*u));
}

struct query {
	const char *key, *text;
	char last[4096];
	bool found;
};

static void take_query(const char *key, const char *value, void *arg)
{
	struct query *q = arg;

	if (strcmp(key, q->key))
		return;
	snprintf(q->last, sizeof(q->last), "%s", value);
	q->found = q->text ? (*value && q->found) || strstr(value, q->text) : true;
}

const char *unit_value(const struct unit *u, const char *key)
{
	static struct query q;

	q = (struct query){ .key = key };
	walk(u->text, NULL, take_query, &q);
	return q.found && *q.last ? q.last : NULL;
}

bool unit_has(const struct unit *u, const char *key, const char *text)
{
	struct query q = { .key = key, .text = text };

	walk(u->text, NULL, take_query, &q);
	return q.found;
}

bool unit_is_true(const struct unit *u, const char *key)
{
	const char *v = unit_value(u, key);

	return v && (!strcasecmp(v, "yes") || !strcasecmp(v, "true") || !strcasecmp(v, "on") ||
		     !strcmp(v, "1"));
}
