/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * send_lines TO COUNT [RATE [PREFIX [BYTES]]]: hand COUNT numbered lines to a logger, as fast as it takes
 * them or RATE a second (0: as fast), each at least BYTES long:
 *
 *	PREFIX 17/5000 .
 *
 * The dots at the end tell a whole line from a torn one. TO says how:
 *
 *	PATH (a socket)	one datagram per line, as syslog(3) sends it
 *	PATH (a FIFO)	a stream of lines; "-" is standard output
 *	http:PATH	one GET per line over one connection, the line in the header X-Line
 *	redis:PATH	one RPUSH per line, each answered before the next
 *
 * Nothing is ever dropped: a full queue is waited for. Prints the number of lines and the wall clock before the
 * first and after the last, in seconds. Status 1 and a message after 60 s without progress, or at an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STUCK_MS       60000
#define CONNECT_TRIES  500
#define LINE_MAX_BYTES 8192

enum to { TO_DATAGRAM, TO_STREAM, TO_HTTP, TO_REDIS };

struct target {
	enum to to;
	int fd;
};

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("send_lines: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void await(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, STUCK_MS) == 0)
		die("no progress for %d s", STUCK_MS / 1000);
}

/* The logger may still be starting: retry for ten seconds. */
static int connect_to(const char *path, int type)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, tries;

	if (strlen(path) >= sizeof(a.sun_path))
		die("%s: longer than a socket's path may be", path);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	for (tries = 0; connect(fd, (struct sockaddr *)&a, sizeof(a)); tries++) {
		if ((errno != ENOENT && errno != ECONNREFUSED) || tries == CONNECT_TRIES)
			die("%s: %s", path, strerror(errno));
		nanosleep(&pause, NULL);
	}
	return fd;
}

static struct target target_open(const char *name)
{
	struct target t = { .to = TO_STREAM };
	struct stat st;

	if (!strcmp(name, "-")) {
		t.fd = STDOUT_FILENO;
	} else if (!strncmp(name, "http:", 5)) {
		t.to = TO_HTTP;
		t.fd = connect_to(name + 5, SOCK_STREAM);
	} else if (!strncmp(name, "redis:", 6)) {
		t.to = TO_REDIS;
		t.fd = connect_to(name + 6, SOCK_STREAM);
	} else if (!stat(name, &st) && S_ISFIFO(st.st_mode)) {
		t.fd = open(name, O_WRONLY | O_CLOEXEC);
	} else {
		t.to = TO_DATAGRAM;
		t.fd = connect_to(name, SOCK_DGRAM);
	}
	if (t.fd < 0)
		die("%s: %s", name, strerror(errno));
	return t;
}

static void send_datagram(int fd, const char *text, size_t bytes)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (send(fd, text, bytes, MSG_DONTWAIT) < 0) {
		if (errno == EAGAIN)
			await(fd, POLLOUT);
		else if (errno == ENOBUFS)
			nanosleep(&pause, NULL);
		else if (errno != EINTR)
			die("send: %s", strerror(errno));
	}
}

static void send_stream(int fd, const char *text, size_t bytes)
{
	ssize_t n;

	for (; bytes; text += n, bytes -= (size_t)n) {
		await(fd, POLLOUT);
		n = write(fd, text, bytes);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			die("write: %s", strerror(errno));
		if (n < 0)
			n = 0;
	}
}

/* One answer, up to END; the next request is sent only then, so there is never more in the stream. */
static void read_answer(int fd, const char *end, const char *want)
{
	char answer[LINE_MAX_BYTES];
	size_t have = 0;
	ssize_t n;

	do {
		await(fd, POLLIN);
		n = read(fd, answer + have, sizeof(answer) - 1 - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("the connection ended: %s", n ? strerror(errno) : "closed");
		have += (size_t)n;
		answer[have] = 0;
	} while (have < strlen(end) || strcmp(answer + have - strlen(end), end));
	if (strncmp(answer, want, strlen(want)))
		die("answered: %s", answer);
}

static void send_line(const struct target *t, const char *line)
{
	char text[LINE_MAX_BYTES + 256];
	int n;

	switch (t->to) {
	case TO_DATAGRAM:
		n = snprintf(text, sizeof(text), "<13>Jan  1 00:00:00 sg: %s", line);
		send_datagram(t->fd, text, (size_t)n);
		break;
	case TO_STREAM:
		n = snprintf(text, sizeof(text), "%s\n", line);
		send_stream(t->fd, text, (size_t)n);
		break;
	case TO_HTTP:
		n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: sg\r\nX-Line: %s\r\n\r\n",
			     line);
		send_stream(t->fd, text, (size_t)n);
		read_answer(t->fd, "\r\n\r\n", "HTTP/1.1 204");
		break;
	case TO_REDIS:
		n = snprintf(text, sizeof(text), "*3\r\n$5\r\nRPUSH\r\n$3\r\nlog\r\n$%zu\r\n%s\r\n",
			     strlen(line), line);
		send_stream(t->fd, text, (size_t)n);
		read_answer(t->fd, "\r\n", ":");
		break;
	}
}

/* The time of line N at RATE a second after FROM; absolute, so that a late line does not delay the rest. */
static void pace(const struct timespec *from, long n, long rate)
{
	struct timespec t = *from;

	t.tv_sec += n / rate;
	t.tv_nsec += n % rate * (1000000000 / rate);
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static long number(const char *s, long min, const char *what)
{
	char *end;
	long n = strtol(s, &end, 10);

	if (*end || end == s || n < min)
		die("%s: \"%s\" is no number of at least %ld", what, s, min);
	return n;
}

int main(int argc, char **argv)
{
	struct timespec from, began, ended;
	char line[LINE_MAX_BYTES];
	const char *prefix;
	long count, rate, bytes, i;
	struct target t;
	int n;

	if (argc < 3 || argc > 6) {
		fprintf(stderr, "usage: send_lines SOCKET|FIFO|-|http:SOCKET|redis:SOCKET COUNT "
				"[RATE [PREFIX [BYTES]]]\n");
		return 2;
	}
	count = number(argv[2], 0, "COUNT");
	rate = argc > 3 ? number(argv[3], 0, "RATE") : 0;
	prefix = argc > 4 ? argv[4] : "line";
	bytes = argc > 5 ? number(argv[5], 0, "BYTES") : 0;
	if (bytes >= LINE_MAX_BYTES || strlen(prefix) > 100 || rate > 1000000000)
		die("BYTES below %d, PREFIX at most 100, RATE at most 1000000000", LINE_MAX_BYTES);

	signal(SIGPIPE, SIG_IGN);
	t = target_open(argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &from);
	clock_gettime(CLOCK_REALTIME, &began);
	for (i = 0; i < count; i++) {
		if (rate)
			pace(&from, i, rate);
		n = snprintf(line, sizeof(line), "%s %ld/%ld .", prefix, i + 1, count);
		for (; n < bytes; n++)
			line[n] = '.';
		line[n] = 0;
		send_line(&t, line);
	}
	clock_gettime(CLOCK_REALTIME, &ended);
	if (t.fd != STDOUT_FILENO)
		printf("%ld %lld.%09ld %lld.%09ld\n", count, (long long)began.tv_sec, began.tv_nsec,
		       (long long)ended.tv_sec, ended.tv_nsec);
	return 0;
}
