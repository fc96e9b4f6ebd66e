/* SPDX-License-Identifier: MIT */
/* The output of out.h. Sizes are binary (MiB), rates decimal (MB/s),
 * as disks and networks have it. */
#include "tool/out.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)
#define BAR_NS (NS_PER_S / 10)
#define PLAIN_NS (3 * NS_PER_S)
enum { PAGE_BYTES = 4096, BAR_MIN = 10, BAR_MAX = 40, COLUMNS_DEFAULT = 80 };

void lz_out_error(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)fputs("lazyd: ", stderr);
	(void)vfprintf(stderr, format, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

int lz_out_option(int argc, char **argv, const char *letters, const struct option *options)
{
	char letter[] = "-?";
	const char *word;
	int c;

	opterr = 0;
	c = getopt_long(argc, argv, letters, options, NULL);
	if (c != '?')
		return c;
	/* A letter may be in the midst of a word. */
	word = optind > 0 ? argv[optind - 1] : "";
	if (optopt > 0 && optopt < 127 && strncmp(word, "--", 2) != 0) {
		letter[1] = (char)optopt;
		word = letter;
	}
	lz_out_error("there is no option \"%s\", or it lacks its argument: see `lazyd %s --help`",
		     word, argv[0]);
	return c;
}

int lz_out_why(struct lazyd_why *why, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return r;
}

uint64_t lz_out_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t lz_out_pages(uint64_t pages)
{
	return pages * PAGE_BYTES;
}

/* ---- figures ---- */

/* Three digits that mean something: 9.87, 98.7, 987. */
static struct lz_text figure(double n, const char *unit)
{
	struct lz_text t;
	int digits = n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;

	(void)snprintf(t.s, sizeof(t.s), "%.*f %s", digits, n, unit);
	return t;
}

struct lz_text lz_out_size(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	struct lz_text t;
	double n = (double)bytes;
	size_t i = 0;

	while (n >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		i++;
	}
	if (n != (double)(uint64_t)n)
		return figure(n, units[i]);
	(void)snprintf(t.s, sizeof(t.s), "%.0f %s", n, units[i]);
	return t;
}

struct lz_text lz_out_duration(uint64_t ns)
{
	struct lz_text t;
	uint64_t s = ns / NS_PER_S;

	if (ns < 1000)
		(void)snprintf(t.s, sizeof(t.s), "%" PRIu64 " ns", ns);
	else if (ns < 1000000)
		return figure((double)ns / 1e3, "us");
	else if (ns < NS_PER_S)
		return figure((double)ns / 1e6, "ms");
	else if (s < 120)
		return figure((double)ns / 1e9, "s");
	else if (s < 7200)
		(void)snprintf(t.s, sizeof(t.s), "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else
		(void)snprintf(t.s, sizeof(t.s), "%" PRIu64 " h %" PRIu64 " min", s / 3600,
			       s / 60 % 60);
	return t;
}

struct lz_text lz_out_rate(uint64_t bytes, double seconds)
{
	double n = seconds > 0 ? (double)bytes / seconds : 0;

	return n >= 1e9   ? figure(n / 1e9, "GB/s")
	       : n >= 1e6 ? figure(n / 1e6, "MB/s")
			  : figure(n / 1e3, "kB/s");
}

/* ---- statistics ---- */

int lz_out_json(FILE *to, json_t *json)
{
	int r = json ? 0 : -ENOMEM;

	if (!r && json_dumpf(json, to, JSON_INDENT(2)))
		r = -EIO;
	if (!r && (fputc('\n', to) == EOF || fflush(to) == EOF))
		r = -errno;
	json_decref(json);
	return r;
}

int lz_out_print(json_t *json)
{
	if (!json)
		return -ENOMEM;
	(void)lz_out_json(stdout, json);
	return 0;
}

bool lz_out_takes(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
}

json_t *lz_out_stats_json(const struct lazyd_stats *stats, double seconds)
{
#define FIELD(name)                                       \
	{                                                 \
#name, offsetof(struct lazyd_stats, name) \
	}
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		FIELD(nr_spaces),      FIELD(pages_total),     FIELD(pages_owed),
		FIELD(pages_demand),   FIELD(pages_neighbour), FIELD(pages_sweep),
		FIELD(pages_zero),     FIELD(pages_gone),      FIELD(pages_lost),
		FIELD(files_changed),  FIELD(faults),          FIELD(waiting),
		FIELD(ev_remove),      FIELD(ev_unmap),        FIELD(ev_remap),
		FIELD(ev_fork),        FIELD(ev_exit),         FIELD(res_eagain),
		FIELD(res_eexist),     FIELD(res_enoent),      FIELD(res_partial),
		FIELD(bytes_read),     FIELD(bytes_cached),    FIELD(latency_count),
		FIELD(latency_p50_ns), FIELD(latency_p99_ns),  FIELD(latency_max_ns),
		FIELD(resumes),        FIELD(bytes_wire),      FIELD(remote_zero),
		FIELD(remote_window),  FIELD(remote_state),    FIELD(reconnects),
		FIELD(pages_replay),   FIELD(runs_recorded),   FIELD(record_over),
	};
#undef FIELD
	json_t *json = json_object();
	int r = json_object_set_new(json, "seconds", json_real(seconds));

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint64_t n;

		memcpy(&n, (const char *)stats + fields[i].offset, sizeof(n));
		r |= json_object_set_new(json, fields[i].name, json_integer((json_int_t)n));
	}
	if (r) {
		json_decref(json);
		return NULL;
	}
	return json;
}

void lz_out_summary(FILE *to, const struct lazyd_stats *s, double seconds)
{
	uint64_t filled = lz_out_pages(s->pages_demand + s->pages_neighbour + s->pages_replay +
				       s->pages_sweep);

	if (!lz_out_takes(fileno(to)))
		return;
	fprintf(to, "filled    %s in %s, %s\n", lz_out_size(filled).s,
		lz_out_duration((uint64_t)(seconds * 1e9)).s, lz_out_rate(filled, seconds).s);
	fprintf(to,
		"pages     %" PRIu64 " owed: %" PRIu64 " on demand, %" PRIu64
		" neighbours, %" PRIu64 " by the sweep, %" PRIu64 " dropped by their owner\n",
		s->pages_total, s->pages_demand, s->pages_neighbour, s->pages_sweep, s->pages_gone);
	fprintf(to, "zero      %" PRIu64 " pages that the images do not hold\n", s->pages_zero);
	if (s->pages_replay)
		fprintf(to, "replayed  %" PRIu64 " pages\n", s->pages_replay);
	if (s->runs_recorded)
		fprintf(to, "recorded  %" PRIu64 " runs%s\n", s->runs_recorded,
			s->record_over ? ", until the end of its time or room" : "");
	if (s->pages_owed)
		fprintf(to, "owed      %" PRIu64 " pages still\n", s->pages_owed);
	if (s->pages_lost)
		fprintf(to, "LOST      %" PRIu64 " pages: their bytes could not be had\n",
			s->pages_lost);
	fprintf(to, "bytes     %s from the page cache, %s read\n", lz_out_size(s->bytes_cached).s,
		lz_out_size(s->bytes_read).s);
	fprintf(to, "faults    %" PRIu64 ", answered %" PRIu64 "\n", s->faults, s->latency_count);
	fprintf(to, "latency   p50 %s, p99 %s, max %s from message to page\n",
		lz_out_duration(s->latency_p50_ns).s, lz_out_duration(s->latency_p99_ns).s,
		lz_out_duration(s->latency_max_ns).s);
	fprintf(to,
		"events    remove %" PRIu64 ", unmap %" PRIu64 ", remap %" PRIu64 ", fork %" PRIu64
		", exit %" PRIu64 "\n",
		s->ev_remove, s->ev_unmap, s->ev_remap, s->ev_fork, s->ev_exit);
	fprintf(to,
		"kernel    eagain %" PRIu64 ", eexist %" PRIu64 ", enoent %" PRIu64
		", partial %" PRIu64 "\n",
		s->res_eagain, s->res_eexist, s->res_enoent, s->res_partial);
	if (s->remote_state)
		fprintf(to,
			"wire      %s, %" PRIu64 " pages said to be zero, %" PRIu64 " reconnects\n",
			lz_out_size(s->bytes_wire).s, s->remote_zero, s->reconnects);
	if (s->resumes)
		fprintf(to, "resumed   %" PRIu64 " times\n", s->resumes);
}

/* ---- progress ---- */

static int columns(FILE *to)
{
	struct winsize w;

	if (ioctl(fileno(to), TIOCGWINSZ, &w) || !w.ws_col)
		return COLUMNS_DEFAULT;
	return w.ws_col;
}

static void draw_bar(FILE *to, double part, const char *text)
{
	char full[] = "########################################";
	char rest[] = "........................................";
	int width = columns(to) - 1 - 3 - (int)strlen(text), n;

	_Static_assert(sizeof(full) == BAR_MAX + 1, "as long as the bar may be");
	width = width > BAR_MAX ? BAR_MAX : width < BAR_MIN ? 0 : width;
	n = (int)(part * width);
	if (width)
		fprintf(to, "\r[%.*s%.*s] %s\033[K", n, full, width - n, rest, text);
	else
		fprintf(to, "\r%.*s\033[K", columns(to) - 1, text);
	(void)fflush(to);
}

void lz_progress_begin(struct lz_progress *p, FILE *to)
{
	*p = (struct lz_progress){ .to = to, .drawn_ns = lz_out_now() };
	p->is_terminal = isatty(fileno(to)) == 1;
}

void lz_progress_update(struct lz_progress *p, const struct lazyd_stats *s)
{
	uint64_t now = lz_out_now(), done = s->pages_total - s->pages_owed;
	double part = s->pages_total ? (double)done / (double)s->pages_total : 0, rate;
	struct lz_text left = { "?" };
	char text[256];

	if (now - p->drawn_ns < (p->is_terminal ? BAR_NS : PLAIN_NS) ||
	    !lz_out_takes(fileno(p->to)))
		return;
	/* A worker that took over counts what its predecessor had not noted again. */
	rate = done > p->drawn_done ? (double)(done - p->drawn_done) : 0;
	rate *= 1e9 / (double)(now - p->drawn_ns);
	p->rate = p->rate > 0 ? 0.8 * p->rate + 0.2 * rate : rate;
	p->drawn_ns = now;
	p->drawn_done = done;
	if (p->rate >= 1)
		left = lz_out_duration((uint64_t)((double)s->pages_owed / p->rate * 1e9));
	(void)snprintf(text, sizeof(text),
		       "%3.0f %% of %s, %s, %" PRIu64 " faults, %" PRIu64 " waiting, %s left",
		       part * 100, lz_out_size(lz_out_pages(s->pages_total)).s,
		       lz_out_rate(lz_out_pages((uint64_t)p->rate), 1).s, s->faults, s->waiting,
		       left.s);
	p->is_drawn = p->is_terminal;
	if (p->is_terminal)
		draw_bar(p->to, part, text);
	else
		fprintf(p->to, "%s\n", text);
}

void lz_progress_end(struct lz_progress *p)
{
	if (p->is_drawn && lz_out_takes(fileno(p->to)))
		(void)fputs("\r\033[K", p->to);
	(void)fflush(p->to);
	p->is_drawn = false;
}
