/* SPDX-License-Identifier: MIT */
/* The log of the daemons: a line an event, whole lines from two processes into one file. */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/service.h"

void lz_log_say(const struct lz_log *log, int level, const char *format, ...)
{
	static const char *const NAMES[] = { "", "error", "warn", "info", "debug" };
	char line[768], stamp[32];
	struct timespec now;
	struct tm tm;
	va_list ap;
	int n, m;

	if (level > log->level)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line, sizeof(line), "%s.%03ldZ lazyd[%d] level=%s ", stamp,
		     now.tv_nsec / 1000000, (int)getpid(), NAMES[level]);
	va_start(ap, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, ap);
	va_end(ap);
	n = n + m < (int)sizeof(line) - 1 ? n + m : (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* A line that nobody takes is lost: to wait for its reader would be
	 * to let the tasks wait. */
	if (lz_out_takes(log->fd))
		(void)!write(log->fd, line, (size_t)n);
}
