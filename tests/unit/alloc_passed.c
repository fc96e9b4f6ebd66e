/* SPDX-License-Identifier: MIT */
/* The descriptors of alloc_passed.h. Not here: any test. */
#include "alloc_passed.h"

#include <check.h>
#include <fcntl.h>

int fd = -1, fd2 = -1;

void is_untouched(void)
{
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
}
