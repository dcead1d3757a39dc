// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Listing the segments of a spool while a writer makes more. Most file systems do it right nearly always, so here
 * readdir(3) is ours. */
#include <dlfcn.h>

#include "make.h"
#include "tap.h"

#define SEGMENTS 6

static struct dir spool;
static unsigned int readings; /* of the directory, that came to their end */
static uint64_t made_late;    /* this one was made behind the place where the first reading was */
static uint64_t made_last;    /* and this one, made later, before it */

static void make_segment(uint64_t number)
{
	char name[SG_NAME_BYTES];

	sg_dir_name(name, number, SG_SEGMENT);
	dir_put(&spool, name, "", 0);
}

static bool is_hidden(const struct dirent *e)
{
	uint64_t number;

	if (!sg_dir_number(e->d_name, SG_SEGMENT, &number))
		return false;
	return (readings == 0 && number == made_late) || (readings < 2 && number == made_last);
}

struct dirent *readdir(DIR *d)
{
	struct dirent *(*real)(DIR *) = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");
	struct dirent *e;

	do
		e = real(d);
	while (e && is_hidden(e));
	readings += e == NULL;
	return e;
}

static void begin(void)
{
	uint64_t i;

	spool = dir_begin();
	for (i = 1; i <= SEGMENTS; i++)
		make_segment(i);
	readings = 0;
}

static void check_list(uint64_t last)
{
	struct sg_numbers n;
	size_t i;

	CU_ASSERT_EQUAL(sg_dir_list(spool.fd, SG_SEGMENT, &n), 0);
	CU_ASSERT_EQUAL_FATAL(n.n, last);
	for (i = 0; i < n.n; i++)
		CU_ASSERT_EQUAL(n.v[i], i + 1);
	sg_numbers_free(&n);
	dir_end(&spool);
}

static void test_a_segment_made_before_one_that_is_listed_is_listed(void)
{
	begin();
	made_late = 4;
	check_list(SEGMENTS);
}

/* The second reading, too, meets a new one and passes over one before it: so only what the first saw counts. */
static void test_what_only_the_second_reading_saw_is_not_listed(void)
{
	begin();
	make_segment(SEGMENTS + 1);
	make_segment(SEGMENTS + 2);
	made_late = SEGMENTS + 2;
	made_last = SEGMENTS + 1;
	check_list(SEGMENTS);
}

SG_TESTS("list", TEST(test_a_segment_made_before_one_that_is_listed_is_listed),
	 TEST(test_what_only_the_second_reading_saw_is_not_listed))
