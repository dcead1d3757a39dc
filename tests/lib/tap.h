/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/* CUnit tests that print TAP: SG_TESTS(suite, TEST(a), TEST(b)) makes main(). */
#ifndef SG_TESTS_TAP_H
#define SG_TESTS_TAP_H

#include <CUnit/CUnit.h>
#include <CUnit/TestRun.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned int tap_count;

static void tap_complete(const CU_pTest test, const CU_pSuite suite,
			 const CU_pFailureRecord failure)
{
	CU_pFailureRecord f;

	printf("%sok %u - %s\n", failure ? "not " : "", ++tap_count, test->pName);
	for (f = failure; f; f = f->pNext)
		printf("    # %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
	fflush(stdout);
}

struct tap_test {
	const char *name;
	CU_TestFunc func;
};

static int tap_run(const char *suite_name, const struct tap_test *tests, size_t n)
{
	CU_pSuite suite;
	size_t i;
	int failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite(suite_name, NULL, NULL);
	for (i = 0; i < n; i++)
		CU_add_test(suite, tests[i].name, tests[i].func);
	CU_set_test_complete_handler(tap_complete);
	CU_run_all_tests();
	failed = CU_get_number_of_failures() != 0;
	printf("1..%u\n", tap_count);
	CU_cleanup_registry();
	return failed;
}

#define TEST(f)       \
	{             \
#f, f \
	}
#define SG_TESTS(suite, ...)                                                    \
	int main(void)                                                          \
	{                                                                       \
		static const struct tap_test tests[] = { __VA_ARGS__ };         \
		return tap_run(suite, tests, sizeof(tests) / sizeof(tests[0])); \
	}

#endif
