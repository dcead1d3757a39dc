/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * sync_threads FILE THREADS MILLISECONDS [PAUSE_US]: that many threads append 128 bytes and fdatasync,
 * one descriptor each; prints records per second. Before each record a thread pauses for a random time
 * below PAUSE_US (the same times in each run). Against a disk whose delays are counted in timer ticks
 * that matters: a program in step with the ticks loses a whole one, or none, by a microsecond.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static uint64_t pause_us;
static _Atomic uint64_t records;
static _Atomic int stop;
static pthread_barrier_t start;

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void pause_random(unsigned int *seed)
{
	struct timespec t = { 0, 0 };

	if (!pause_us)
		return;
	t.tv_nsec = (long)((uint64_t)rand_r(seed) * pause_us / RAND_MAX * 1000);
	nanosleep(&t, NULL);
}

static void *append(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	char record[128];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	memset(record, 'r', sizeof(record));
	record[sizeof(record) - 1] = '\n';
	pthread_barrier_wait(&start);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		pause_random(&seed);
		if (write(fd, record, sizeof(record)) != sizeof(record) || fdatasync(fd) != 0) {
			perror(path);
			exit(1);
		}
		atomic_fetch_add_explicit(&records, 1, memory_order_relaxed);
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct timespec wait;
	pthread_t *t;
	double began;
	int n, i, ms;

	if (argc < 4 || argc > 5 || (n = atoi(argv[2])) < 1 || (ms = atoi(argv[3])) < 1) {
		fprintf(stderr, "usage: sync_threads FILE THREADS MILLISECONDS [PAUSE_US]\n");
		return 2;
	}
	path = argv[1];
	pause_us = argc > 4 ? strtoull(argv[4], NULL, 10) % 1000000 : 0;
	t = calloc((size_t)n, sizeof(*t));
	pthread_barrier_init(&start, NULL, (unsigned int)n + 1);
	for (i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, append, (void *)(uintptr_t)(i + 1)) != 0)
			return 1;
	pthread_barrier_wait(&start);
	began = now_s();
	wait = (struct timespec){ ms / 1000, ms % 1000 * 1000000L };
	nanosleep(&wait, NULL);
	atomic_store(&stop, 1);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	printf("%.2f\n", (double)atomic_load(&records) / (now_s() - began));
	free(t);
	return 0;
}
