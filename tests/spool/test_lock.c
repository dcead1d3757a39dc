// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* The writer's lock of a spool, and looking at it. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spool/dir.h"
#include "spoolguard/spool.h"
#include "tap.h"

#define LOOKERS 3
#define ROUNDS	3000

static char path[] = "/tmp/spoolguard-lock.XXXXXX";
static atomic_bool stop;

static int fresh_dir(void)
{
	snprintf(path, sizeof(path), "%s", "/tmp/spoolguard-lock.XXXXXX");
	return mkdtemp(path) ? sg_dir_open(path) : -errno;
}

static void remove_dir(int dirfd)
{
	unlinkat(dirfd, "lock", 0);
	close(dirfd);
	CU_ASSERT_EQUAL(rmdir(path), 0);
}

static void *look(void *arg)
{
	while (!atomic_load(&stop))
		sg_dir_locked(*(int *)arg);
	return NULL;
}

static void test_looking_at_the_lock_never_refuses_it_to_a_writer(void)
{
	int dirfd = fresh_dir(), lock, i, refused = 0;
	pthread_t lookers[LOOKERS];

	CU_ASSERT_FATAL(dirfd >= 0);
	close(sg_dir_lock(dirfd, 0640));
	atomic_store(&stop, false);
	for (i = 0; i < LOOKERS; i++)
		pthread_create(&lookers[i], NULL, look, &dirfd);
	for (i = 0; i < ROUNDS; i++) {
		lock = sg_dir_lock(dirfd, 0640);
		refused += lock < 0;
		if (lock >= 0)
			close(lock);
	}
	atomic_store(&stop, true);
	for (i = 0; i < LOOKERS; i++)
		pthread_join(lookers[i], NULL);
	CU_ASSERT_EQUAL(refused, 0);
	remove_dir(dirfd);
}

static void test_a_second_writer_is_refused_at_once(void)
{
	int dirfd = fresh_dir(), lock;

	CU_ASSERT_FATAL(dirfd >= 0);
	CU_ASSERT_FALSE(sg_dir_locked(dirfd));
	lock = sg_dir_lock(dirfd, 0640);
	CU_ASSERT_FATAL(lock >= 0);
	CU_ASSERT_TRUE(sg_dir_locked(dirfd));
	CU_ASSERT_EQUAL(sg_dir_lock(dirfd, 0640), -EBUSY);
	close(lock);
	CU_ASSERT_FALSE(sg_dir_locked(dirfd));
	remove_dir(dirfd);
}

/* A program that writes a spool may start others; until they exec they hold what it had open. */
static void test_a_child_does_not_keep_what_was_given_back(void)
{
	struct spool_reader_config config = SPOOL_READER_CONFIG_INIT;
	int dirfd = fresh_dir(), go[2];
	struct spool_reader *reader;
	struct spool *s;
	pid_t child;

	CU_ASSERT_FATAL(dirfd >= 0 && pipe(go) == 0);
	config.consumer = "c";
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, path, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&reader, path, &config), 0);
	child = fork();
	if (child == 0) {
		close(go[1]);
		_exit((int)read(go[0], go, 1));
	}
	CU_ASSERT_EQUAL(spool_reader_close(reader), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	CU_ASSERT_FALSE(sg_dir_locked(dirfd));
	CU_ASSERT_EQUAL_FATAL(spool_reader_open(&reader, path, &config), 0);
	CU_ASSERT_EQUAL(spool_reader_close(reader), 0);
	CU_ASSERT_EQUAL(spool_recover(path, NULL, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(spool_open(&s, path, NULL), 0);
	CU_ASSERT_EQUAL(spool_close(s), 0);
	close(go[0]);
	close(go[1]);
	waitpid(child, NULL, 0);
	unlinkat(dirfd, "00000000000000000001.spool", 0);
	unlinkat(dirfd, "00000000000000000001.index", 0);
	unlinkat(dirfd, "durable", 0);
	unlinkat(dirfd, "cursor-c", 0);
	remove_dir(dirfd);
}

SG_TESTS("lock", TEST(test_looking_at_the_lock_never_refuses_it_to_a_writer),
	 TEST(test_a_second_writer_is_refused_at_once),
	 TEST(test_a_child_does_not_keep_what_was_given_back))
