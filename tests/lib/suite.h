/* SPDX-License-Identifier: MIT */
/* The end of a unit suite's main(). */
#ifndef LZ_TEST_SUITE_H
#define LZ_TEST_SUITE_H

#include <check.h>

/* Runs @s, as the environment says (CK_FORK, CK_RUN_CASE, CK_VERBOSITY), and frees it;
 * what main() returns. */
int run_suite(Suite *s);

#endif
