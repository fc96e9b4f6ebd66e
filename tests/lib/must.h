/* SPDX-License-Identifier: MIT */
/* For inner loops of unit suites: ck_assert() writes to a pipe each time. */
#ifndef LZ_TEST_MUST_H
#define LZ_TEST_MUST_H

#include <check.h>

/* What fails tells @first_seed of the suite, which begins such a loop. */
#define MUST_EQ(a, b)                                                                 \
	do {                                                                          \
		if ((a) != (b))                                                       \
			ck_abort_msg("line %d: " #a " != " #b ", seed %lu", __LINE__, \
				     (unsigned long)first_seed);                      \
	} while (0)

#endif
