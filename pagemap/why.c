/* SPDX-License-Identifier: MIT */
/* The sentence that goes with a failure: written here, read by whoever asked. */
#include "pagemap/why.h"

#include <stdarg.h>
#include <stdio.h>

int lz_why_say(struct lz_why *why, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return err;
}
