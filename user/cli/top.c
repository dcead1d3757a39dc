// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* spoolguard file top: rates are differences between two looks at the same model. */
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "guard/policy.h"
#include "guard/units.h"

struct before { /* what the last look found, to take differences from */
	struct sg_file_id id;
	uint64_t appends, bytes, calls, syncs;
};

struct line {
	const struct join_row *row;
	double appends, bytes, calls, syncs; /* per second */
	uint64_t p99_ns;
};

enum sort { BY_SYNCS, BY_CALLS, BY_APPENDS, BY_BYTES, BY_RISK, BY_P99, BY_PATH, SORTS };

struct column {
	const char *title;
	int width;
	enum sort sort;
	char key;
};

static const struct column columns[] = {
	{ "CALL/s", 8, BY_CALLS, 'c' },	 { "SYNC/s", 8, BY_SYNCS, 's' },
	{ "APP/s", 8, BY_APPENDS, 'a' }, { "BYTES/s", 9, BY_BYTES, 'b' },
	{ "AT RISK", 9, BY_RISK, 'r' },	 { "p99", 8, BY_P99, 'l' },
};

struct top {
	const char *dir;
	struct gathered g;
	struct before *before;
	unsigned int n_before;
	uint64_t before_ns;
	struct line *lines;
	unsigned int n;
	enum sort sort;
	unsigned int first; /* line on top of the screen */
	bool idle;	    /* show files too on which nothing happens */
};

/* --- one look --- */

static const struct before *find_before(const struct top *t, const struct sg_file_id *id)
{
	unsigned int i;

	for (i = 0; i < t->n_before; i++)
		if (sg_file_id_equal(&t->before[i].id, id))
			return &t->before[i];
	return NULL;
}

static double rate(uint64_t now, uint64_t then, uint64_t ns)
{
	return ns && now > then ? (double)(now - then) * SG_NSEC_PER_SEC / ns : 0;
}

static void make_line(const struct top *t, const struct join_row *r, struct line *l)
{
	const struct before *b = find_before(t, &r->id);
	uint64_t ns = t->before_ns && b ? t->g.join.now_ns - t->before_ns : 0, max_ns;
	const uint64_t *hist = join_sync_hist(r, &max_ns);

	*l = (struct line){ .row = r, .p99_ns = sg_hist_quantile(hist, SG_P99, max_ns) };
	if (!ns)
		return;
	l->appends = rate(join_appends(r), b->appends, ns);
	l->bytes = rate(join_append_bytes(r), b->bytes, ns);
	l->calls = rate(r->shim[SG_C_CALLS], b->calls, ns);
	l->syncs = rate(join_kernel_syncs(r), b->syncs, ns);
}

static void remember(struct top *t)
{
	unsigned int i;

	free(t->before);
	t->before = calloc(t->g.join.n + 1, sizeof(*t->before));
	t->n_before = t->before ? t->g.join.n : 0;
	t->before_ns = t->g.join.now_ns;
	for (i = 0; i < t->n_before; i++) {
		const struct join_row *r = &t->g.join.rows[i];

		t->before[i] = (struct before){ r->id, join_appends(r), join_append_bytes(r),
						r->shim[SG_C_CALLS], join_kernel_syncs(r) };
	}
}

static double sort_value(const struct line *l, enum sort sort)
{
	const double v[] = { [BY_SYNCS] = l->syncs,
			     [BY_CALLS] = l->calls,
			     [BY_APPENDS] = l->appends,
			     [BY_BYTES] = l->bytes,
			     [BY_RISK] = l->row->at_risk_bytes,
			     [BY_P99] = l->p99_ns,
			     [BY_PATH] = 0 };

	return v[sort];
}

static int by_sort(const void *pa, const void *pb, void *arg)
{
	const struct line *a = pa, *b = pb;
	double va = sort_value(a, *(enum sort *)arg), vb = sort_value(b, *(enum sort *)arg);

	return va != vb ? (va < vb ? 1 : -1) : strcmp(a->row->path, b->row->path);
}

static bool is_quiet(const struct line *l)
{
	return !l->appends && !l->syncs && !l->calls && !l->row->in_flight_ns &&
	       !l->row->poison_errno && !(l->row->has_ledger && l->row->at_risk_records);
}

static int look(struct top *t)
{
	unsigned int i;
	int rc = gather(t->dir, false, &t->g);

	if (rc)
		return rc;
	free(t->lines);
	t->lines = calloc(t->g.join.n + 1, sizeof(*t->lines));
	t->n = 0;
	for (i = 0; t->lines && i < t->g.join.n; i++) {
		make_line(t, &t->g.join.rows[i], &t->lines[t->n]);
		if (t->idle || !t->before_ns || !is_quiet(&t->lines[t->n]))
			t->n++;
	}
	if (t->n)
		qsort_r(t->lines, t->n, sizeof(*t->lines), by_sort, &t->sort);
	remember(t);
	return CLI_OK;
}

/* --- the screen --- */

static void number(int y, int x, int width, double v)
{
	mvprintw(y, x,
		 v >= 100000	     ? "%*.0fk"
		 : v >= 10 || v == 0 ? "%*.0f"
				     : "%*.1f",
		 v >= 100000 ? width - 1 : width, v >= 100000 ? v / 1000 : v);
}

static void at_risk(int y, int x, int width, const struct join_row *r)
{
	char buf[SG_UNITS_MAX];

	mvprintw(y, x, "%*s", width,
		 r->at_risk_unknown ? "unknown"
		 : r->has_at_risk   ? sg_units_bytes(buf, sizeof(buf), r->at_risk_bytes)
				    : "-");
}

static void draw_line(int y, const struct line *l, int path_width)
{
	char name[SG_PATH_BYTES + 64], clean[4 * SG_PATH_BYTES], buf[SG_UNITS_MAX];
	const struct join_row *r = l->row;
	bool stalled = r->stall_ns && r->in_flight_ns > r->stall_ns,
	     bad = r->poison_errno || stalled;
	size_t len;
	int x = path_width + 1;

	cli_clean(clean, sizeof(clean), file_name(r, name, sizeof(name)));
	len = strlen(clean);
	if (bad)
		attron(A_BOLD | COLOR_PAIR(1));
	/* The end of a path says more than its beginning. */
	mvprintw(y, 0, "%-*.*s", path_width, path_width,
		 len > (size_t)path_width ? clean + len - path_width : clean);
	mvprintw(y, x, "%-8.8s",
		 r->poison_errno ? "POISONED"
		 : stalled	 ? "STALLED"
		 : r->has_mode	 ? sg_mode_name(r->mode)
				 : "-");
	x += 8;
	number(y, x, 8, l->calls);
	number(y, x + 8, 8, l->syncs);
	number(y, x + 16, 8, l->appends);
	mvprintw(y, x + 24, "%*s", 9, sg_units_bytes(buf, sizeof(buf), l->bytes));
	at_risk(y, x + 33, 9, r);
	mvprintw(y, x + 42, "%*s", 8, l->p99_ns ? sg_units_time(buf, sizeof(buf), l->p99_ns) : "-");
	attroff(A_BOLD | COLOR_PAIR(1));
}

static void draw_head(const struct top *t, int path_width)
{
	unsigned int i;
	int x = path_width + 9;

	mvprintw(0, 0, "spoolguard: %u of %u files, %u sessions, observer %s", t->n, t->g.join.n,
		 t->g.view ? t->g.view->n_sessions : 0, t->g.kernel ? t->g.kernel->tier : "off");
	attron(A_REVERSE);
	mvhline(1, 0, ' ', COLS);
	mvprintw(1, 0, "%-*.*s MODE", path_width, path_width,
		 t->sort == BY_PATH ? "FILE*" : "FILE");
	for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		mvprintw(1, x, "%*s", columns[i].width - (columns[i].sort == t->sort),
			 columns[i].title);
		if (columns[i].sort == t->sort)
			addch('*');
		x += columns[i].width;
	}
	attroff(A_REVERSE);
}

static void draw(struct top *t)
{
	int path_width = COLS - 1 - 8 - 50, y;
	unsigned int rows = LINES > 3 ? LINES - 3 : 0;

	if (path_width < 8)
		path_width = 8;
	erase();
	draw_head(t, path_width);
	if (t->first && t->first + rows > t->n)
		t->first = t->n > rows ? t->n - rows : 0;
	for (y = 0; (unsigned int)y < rows && t->first + y < t->n; y++)
		draw_line(y + 2, &t->lines[t->first + y], path_width);
	mvprintw(LINES - 1, 0, "%.*s", COLS - 1,
		 "q quit  sort: c calls s syncs a appends b bytes r at risk l latency f file  i "
		 "idle too");
	refresh();
}

/* False: quit. */
static bool obey(struct top *t, int key)
{
	unsigned int i;

	for (i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (key == columns[i].key)
			t->sort = columns[i].sort;
	switch (key) {
	case 'q':
	case 'Q':
	case 27:
		return false;
	case 'f':
		t->sort = BY_PATH;
		break;
	case 'i':
		t->idle = !t->idle;
		break;
	case KEY_RIGHT:
		t->sort = (t->sort + 1) % SORTS;
		break;
	case KEY_LEFT:
		t->sort = (t->sort + SORTS - 1) % SORTS;
		break;
	case KEY_DOWN:
		t->first++;
		break;
	case KEY_UP:
		t->first -= t->first > 0;
		break;
	}
	if (t->n)
		qsort_r(t->lines, t->n, sizeof(*t->lines), by_sort, &t->sort);
	return true;
}

static int live(struct top *t, uint64_t interval_ns)
{
	uint64_t next_ns = 0, now_ns;
	bool looked = false;
	int rc = CLI_OK, key;

	for (;;) {
		now_ns = cli_now_ns();
		if (now_ns >= next_ns) {
			if (looked)
				gather_free(&t->g);
			rc = look(t);
			looked = true;
			if (rc)
				break;
			next_ns = now_ns + interval_ns;
		}
		draw(t);
		now_ns = cli_now_ns();
		timeout(next_ns > now_ns ? (next_ns - now_ns) / SG_NSEC_PER_MSEC + 1 : 0);
		key = getch();
		if (key != ERR && !obey(t, key))
			break;
	}
	return rc;
}

static int snapshot(const char *dir)
{
	const struct file_wanted all = { .word = NULL };
	struct gathered g;
	int rc = gather(dir, false, &g);

	if (!rc && cli.json)
		rc = cli_json(file_list_json(&g, &all, false));
	else if (!rc && !g.join.n)
		puts("No file was written or synced by a guarded program.");
	else if (!rc)
		file_table(stdout, &g, &all);
	gather_free(&g);
	return rc;
}

int file_top(const char *socket_dir, uint64_t interval_ns)
{
	struct top t = { .dir = socket_dir, .idle = true };
	struct gathered first;
	SCREEN *screen;
	int rc;

	if (cli.json || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return snapshot(socket_dir);
	/* An error has to be told before the screen is taken. */
	rc = gather(socket_dir, false, &first);
	gather_free(&first);
	if (rc)
		return rc;
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return cli_fail(CLI_DENIED, "Set TERM to your terminal's type.",
				"TERM=%s: no such terminal is known",
				getenv("TERM") ? getenv("TERM") : "");
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	set_escdelay(25);
	if (has_colors() && !getenv("NO_COLOR")) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
	}
	rc = live(&t, interval_ns);
	endwin();
	delscreen(screen);
	gather_free(&t.g);
	free(t.before);
	free(t.lines);
	return rc;
}
