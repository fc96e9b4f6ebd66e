/* SPDX-License-Identifier: MIT */
/* The reads and the log of stream_reader.h. Not here: any test. */
#include "stream_reader.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/fds.h"

struct sockaddr_in address;
struct lz_ring ring;
struct lz_stream *stream;
struct lz_source *source;
struct lz_source_read reads[READS];
uint8_t bytes[READS][READ_PAGES * LZ_PS_PAGE];
int64_t result[READS];
unsigned nr_ended;

enum { LINES = 64 };
static char lines[LINES][512];
static unsigned nr_lines;
static uint64_t first_address;

void reader_reset(void)
{
	nr_ended = nr_lines = 0;
}

static void ended(void *arg, struct lz_source_read *r, int64_t n)
{
	(void)arg;
	result[r - reads] = n;
	nr_ended++;
}

void log_line(void *arg, int level, const char *line)
{
	(void)arg, (void)level;
	if (nr_lines < LINES)
		(void)snprintf(lines[nr_lines++], sizeof(lines[0]), "%s", line);
}

unsigned logged(const char *a, const char *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_lines; i++)
		n += strstr(lines[i], a) && strstr(lines[i], b);
	return n;
}

const char *last_line(void)
{
	return nr_lines ? lines[nr_lines - 1] : "";
}

static size_t ranges(void *memory, uint64_t offset, uint64_t len, struct lz_ps_range *out,
		     size_t max)
{
	(void)memory, (void)max;
	out[0] = (struct lz_ps_range){ first_address + offset, len / LZ_PS_PAGE };
	return 1;
}

void reader_open(struct lz_stream_options *o, uint32_t pid, uint64_t base)
{
	first_address = base;
	o->connect = fds_connect;
	o->connect_arg = &address;
	o->ended = ended;
	o->log = log_line;
	o->layout = LZ_PS_32;
	ck_assert_int_eq(lz_ring_open(&ring, 64), 0);
	ck_assert_int_eq(lz_stream_open(&stream, o), 0);
	ck_assert_int_eq(lz_stream_source(stream, pid, ranges, NULL, &source), 0);
	for (unsigned i = 0; i < READS; i++) {
		reads[i] = (struct lz_source_read){ .source = source,
						    .offset = i * sizeof(bytes[i]),
						    .to = bytes[i],
						    .len = sizeof(bytes[i]),
						    .request = i,
						    .urgent = i == 0 };
		ck_assert_int_eq(source->ops->begin(source, &ring, &reads[i]), 0);
	}
}

void reader_close(void)
{
	source->ops->close(source);
	lz_stream_close(stream, &ring);
	lz_ring_close(&ring);
}
