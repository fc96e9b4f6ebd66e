/* SPDX-License-Identifier: MIT */
/* Runs a unit suite and says how it went. */
#include <stdlib.h>

#include "tests/lib/suite.h"

int run_suite(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
