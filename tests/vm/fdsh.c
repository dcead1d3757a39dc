/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * fdsh: a shell for file descriptors. Reads one command a line and answers each with one line,
 * so that a test can break a disk between two calls of one process:
 *
 *	open NAME PATH FLAG…	FLAG: r w rw creat excl trunc append sync dsync direct dir
 *	dup NEW NAME
 *	write NAME BYTES [CHAR]
 *	pwrite NAME OFFSET BYTES [CHAR]
 *	fsync NAME | fdatasync NAME | syncfs NAME | close NAME
 *	start NAME		begin to write the file back, wait for nothing
 *	check NAME		does a writeback error wait for this description? (takes it; no I/O)
 *	rename OLD NEW | link OLD NEW | unlink PATH
 *	truncate PATH BYTES | ftruncate NAME BYTES
 *	sleep MILLISECONDS
 *	exec PROGRAM		in place of fdsh; no answer if it works
 *	thread K COMMAND…	begin it on thread K (1 to 8) and answer at once; join K answers with its outcome
 *	fork K			a child that inherits all that is open; in K COMMAND… has it run one
 *
 * The answer: the command and NAME, "=", the call's return value or the errno's name, and the
 * microseconds that it took: "fsync a = EIO 1234". NAMEs are the test's own, not numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORDS    12
#define MAX_FILES    256
#define MAX_OTHERS   9
#define BUFFER_BYTES (1 << 20)

struct file {
	char name[32];
	int fd;
};

struct line {
	char text[4096];
	char *words[MAX_WORDS + 1];
	int n;
};

struct thread {
	bool begun;
	pthread_t id;
	struct line line;
	long ret;
	int error;
	uint64_t took_us;
};

struct child {
	FILE *in, *out;
};

static struct file files[MAX_FILES];
static struct thread threads[MAX_OTHERS];
static struct child children[MAX_OTHERS];
static char *buffer;

static struct file *find(const char *name)
{
	size_t i;

	for (i = 0; i < MAX_FILES; i++)
		if (files[i].name[0] && !strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}

static int fd_of(const char *name)
{
	struct file *f = find(name);

	return f ? f->fd : -1;
}

static int remember(const char *name, int fd)
{
	size_t i;

	if (fd < 0)
		return fd;
	for (i = 0; i < MAX_FILES; i++) {
		if (files[i].name[0])
			continue;
		snprintf(files[i].name, sizeof(files[i].name), "%s", name);
		files[i].fd = fd;
		return fd;
	}
	close(fd);
	errno = EMFILE;
	return -1;
}

static const struct {
	const char *word;
	int flag;
} flags[] = {
	{ "r", O_RDONLY },    { "w", O_WRONLY },      { "rw", O_RDWR },	      { "creat", O_CREAT },
	{ "excl", O_EXCL },   { "trunc", O_TRUNC },   { "append", O_APPEND }, { "sync", O_SYNC },
	{ "dsync", O_DSYNC }, { "direct", O_DIRECT }, { "dir", O_DIRECTORY },
};

/* -1 for a word that is no flag: a test that mistypes one must not test something else. */
static int parse_flags(char **words, int n)
{
	int i, value = 0;
	size_t k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < sizeof(flags) / sizeof(flags[0]); k++)
			if (!strcmp(words[i], flags[k].word))
				break;
		if (k == sizeof(flags) / sizeof(flags[0]))
			return -1;
		value |= flags[k].flag;
	}
	return value;
}

static long do_open(char **w, int n)
{
	int fl = parse_flags(w + 3, n - 3);

	if (fl < 0 || find(w[1])) {
		errno = EINVAL;
		return -1;
	}
	return remember(w[1], open(w[2], fl, 0644));
}

static long do_write(const char *name, off_t offset, const char *count, const char *fill)
{
	size_t bytes = strtoul(count, NULL, 0);

	if (bytes > BUFFER_BYTES) {
		errno = EINVAL;
		return -1;
	}
	memset(buffer, fill ? fill[0] : 'x', bytes);
	if (offset < 0)
		return write(fd_of(name), buffer, bytes);
	return pwrite(fd_of(name), buffer, bytes, offset);
}

static long do_close(const char *name)
{
	struct file *f = find(name);

	if (!f) {
		errno = EBADF;
		return -1;
	}
	f->name[0] = 0;
	return close(f->fd);
}

static long do_sleep(const char *ms)
{
	long n = atol(ms);
	struct timespec t = { n / 1000, n % 1000 * 1000000 };

	return nanosleep(&t, NULL);
}

/* Far beyond any page that is there: waits for nothing, but reports what errseq has for this file. */
static long do_check(int fd)
{
	return sync_file_range(fd, (off_t)1 << 40, 4096, SYNC_FILE_RANGE_WAIT_BEFORE);
}

static long run(char **w, int n)
{
	if (n >= 4 && !strcmp(w[0], "open"))
		return do_open(w, n);
	if (n == 3 && !strcmp(w[0], "dup"))
		return remember(w[1], dup(fd_of(w[2])));
	if ((n == 3 || n == 4) && !strcmp(w[0], "write"))
		return do_write(w[1], -1, w[2], w[3]);
	if ((n == 4 || n == 5) && !strcmp(w[0], "pwrite"))
		return do_write(w[1], strtol(w[2], NULL, 0), w[3], w[4]);
	if (n == 2 && !strcmp(w[0], "fsync"))
		return fsync(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "fdatasync"))
		return fdatasync(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "syncfs"))
		return syncfs(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "start"))
		return sync_file_range(fd_of(w[1]), 0, 0, SYNC_FILE_RANGE_WRITE);
	if (n == 2 && !strcmp(w[0], "check"))
		return do_check(fd_of(w[1]));
	if (n == 2 && !strcmp(w[0], "close"))
		return do_close(w[1]);
	if (n == 3 && !strcmp(w[0], "rename"))
		return rename(w[1], w[2]);
	if (n == 3 && !strcmp(w[0], "link"))
		return link(w[1], w[2]);
	if (n == 2 && !strcmp(w[0], "unlink"))
		return unlink(w[1]);
	if (n == 3 && !strcmp(w[0], "truncate"))
		return truncate(w[1], atol(w[2]));
	if (n == 3 && !strcmp(w[0], "ftruncate"))
		return ftruncate(fd_of(w[1]), atol(w[2]));
	if (n == 2 && !strcmp(w[0], "sleep"))
		return do_sleep(w[1]);
	if (n == 2 && !strcmp(w[0], "exec"))
		return execl(w[1], w[1], NULL);
	errno = ENOSYS;
	return -1;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void split(struct line *l)
{
	char *save, *word;

	memset(l->words, 0, sizeof(l->words));
	l->n = 0;
	for (word = strtok_r(l->text, " \n", &save); word && l->n < MAX_WORDS;
	     word = strtok_r(NULL, " \n", &save))
		l->words[l->n++] = word;
}

/* The index that a word names, or 0. */
static int other(const char *word)
{
	int k = word ? atoi(word) : 0;

	return k > 0 && k < MAX_OTHERS ? k : 0;
}

static void *on_thread(void *arg)
{
	struct thread *t = arg;
	uint64_t start = now_us();

	t->ret = run(t->line.words, t->line.n);
	t->error = errno;
	t->took_us = now_us() - start;
	return NULL;
}

static long begin_thread(struct line *l)
{
	struct thread *t = &threads[other(l->words[1])];
	int i;

	if (t == threads || t->begun || l->n < 3) {
		errno = EINVAL;
		return -1;
	}
	t->line = *l;
	for (i = 2; i < l->n; i++)
		t->line.words[i - 2] = t->line.text + (l->words[i] - l->text);
	t->line.n = l->n - 2;
	t->line.words[t->line.n] = NULL;
	errno = pthread_create(&t->id, NULL, on_thread, t);
	t->begun = !errno;
	return errno ? -1 : 0;
}

static long join_thread(const struct line *l, uint64_t *took_us)
{
	struct thread *t = &threads[other(l->words[1])];

	if (!t->begun) {
		errno = ESRCH;
		return -1;
	}
	pthread_join(t->id, NULL);
	t->begun = false;
	*took_us = t->took_us;
	errno = t->error;
	return t->ret;
}

static void serve(FILE *in, FILE *out);

static long begin_child(const struct line *l)
{
	struct child *c = &children[other(l->words[1])];
	int pair[2];
	pid_t pid;

	if (c == children || c->in || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		errno = EINVAL;
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		serve(fdopen(pair[1], "r"), fdopen(dup(pair[1]), "w"));
		exit(0);
	}
	close(pair[1]);
	c->in = fdopen(dup(pair[0]), "r");
	c->out = fdopen(pair[0], "w");
	return pid;
}

/* The child's own answer, as it comes. */
static bool in_child(const char *text, FILE *out)
{
	char name[16], answer[256];
	struct child *c;
	int at = 0;

	if (sscanf(text, "in %15s %n", name, &at) != 1 || !at)
		return false;
	c = &children[other(name)];
	if (!c->in)
		return false;
	fputs(text + at, c->out);
	fflush(c->out);
	fputs(fgets(answer, sizeof(answer), c->in) ? answer : "in child = EPIPE 0\n", out);
	fflush(out);
	return true;
}

static void serve(FILE *in, FILE *out)
{
	static __thread struct line l;
	uint64_t start, took;
	long ret;

	while (fgets(l.text, sizeof(l.text), in)) {
		if (in_child(l.text, out))
			continue;
		split(&l);
		if (!l.n)
			continue;
		start = now_us();
		took = UINT64_MAX;
		if (!strcmp(l.words[0], "thread"))
			ret = begin_thread(&l);
		else if (!strcmp(l.words[0], "join"))
			ret = join_thread(&l, &took);
		else if (!strcmp(l.words[0], "fork"))
			ret = begin_child(&l);
		else
			ret = run(l.words, l.n);
		if (took == UINT64_MAX)
			took = now_us() - start;
		fprintf(out, "%s %s = ", l.words[0], l.n > 1 ? l.words[1] : "");
		if (ret < 0)
			fprintf(out, "%s %llu\n", strerrorname_np(errno), (unsigned long long)took);
		else
			fprintf(out, "%ld %llu\n", ret, (unsigned long long)took);
		fflush(out);
	}
}

int main(void)
{
	buffer = aligned_alloc(4096, BUFFER_BYTES);
	if (!buffer)
		return 1;
	serve(stdin, stdout);
	return 0;
}
