/* SPDX-License-Identifier: MIT */
/* The pages, the reads and the fixture of stream_world.h. Not here: any test. */
#include "stream_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lz_ring ring;
struct lz_stream *stream;
struct lz_source *source;
uint64_t now_ns;
int32_t keep[LZ_STREAM_NR];
uint64_t keep_ino[LZ_STREAM_NR];
unsigned asked[PAGES], asked_urgent_on[LZ_STREAM_NR], asked_on[LZ_STREAM_NR];
struct lz_source_read reads[SLOTS];
int64_t result[SLOTS];
unsigned nr_ended, order[SLOTS];
void (*on_ended)(unsigned slot);

static uint8_t *buffer[SLOTS];
static uint64_t first_page[SLOTS];
enum { LINES = 256 };
static char lines[LINES][512];
static unsigned nr_lines;
static uint64_t seed;

void must(bool ok)
{
	if (!ok)
		ck_abort();
}

uint64_t random_below(uint64_t n)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (seed >> 33) % n;
}

/* ---- pages ---- */

static uint64_t address_of(uint64_t page)
{
	return 0x10000000 + (page + page / 5 * 3) * PAGE;
}

uint64_t page_at(uint64_t address)
{
	uint64_t n = (address - 0x10000000) / PAGE;

	must(n % 8 < 5);
	return n / 8 * 5 + n % 8;
}

bool page_is_zero(uint64_t page)
{
	return script.zeros && page % script.zeros == 0;
}

bool page_is_lost(uint64_t page)
{
	return script.lost && page % script.lost == script.lost - 1;
}

void page_bytes(uint64_t page, uint8_t *out)
{
	for (unsigned i = 0; i < PAGE; i++)
		out[i] = page_is_zero(page) ? 0 : (uint8_t)(1 + page * 131 + i * 7 + (i >> 8));
}

static size_t ranges(void *memory, uint64_t offset, uint64_t len, struct lz_ps_range *out,
		     size_t max)
{
	size_t n = 0;

	must(memory == asked);
	for (uint64_t p = offset / PAGE; p < (offset + len) / PAGE; p++) {
		uint64_t a = address_of(p);

		if (n && out[n - 1].vaddr + out[n - 1].nr_pages * PAGE == a) {
			out[n - 1].nr_pages++;
			continue;
		}
		must(n < max);
		out[n++] = (struct lz_ps_range){ a, 1 };
	}
	return n;
}

/* ---- reads ---- */

int start(unsigned slot, uint64_t page, uint64_t nr, bool urgent)
{
	int r;

	/* Of exactly this length, so that a sanitizer sees what goes past it. */
	free(buffer[slot]);
	buffer[slot] = malloc(nr * PAGE);
	ck_assert_ptr_nonnull(buffer[slot]);
	memset(buffer[slot], 0xee, nr * PAGE);
	first_page[slot] = page;
	reads[slot] = (struct lz_source_read){ .source = source,
					       .offset = page * PAGE,
					       .to = buffer[slot],
					       .len = nr * PAGE,
					       .request = slot,
					       .urgent = urgent };
	r = source->ops->begin(source, &ring, &reads[slot]);
	result[slot] = r ? r : INT64_MIN;
	return r;
}

void check_read(unsigned slot)
{
	uint64_t nr = reads[slot].len / PAGE, good = 0;
	uint8_t bytes[PAGE];

	while (good < nr && !page_is_lost(first_page[slot] + good))
		good++;
	ck_assert_int_eq(result[slot], good ? (int64_t)(good * PAGE) : -EIO);
	for (uint64_t i = 0; i < good; i++) {
		page_bytes(first_page[slot] + i, bytes);
		ck_assert_mem_eq(buffer[slot] + i * PAGE, bytes, PAGE);
	}
}

void note_asked(unsigned link, uint64_t page)
{
	bool urgent = false;

	asked[page]++;
	for (unsigned i = 0; i < SLOTS; i++)
		if (result[i] == INT64_MIN && reads[i].urgent && page >= first_page[i] &&
		    page < first_page[i] + reads[i].len / PAGE)
			urgent = true;
	asked_on[link]++;
	asked_urgent_on[link] += urgent;
}

static void ended(void *arg, struct lz_source_read *r, int64_t res)
{
	unsigned slot = (unsigned)(r - reads);

	ck_assert_ptr_eq(arg, &result);
	ck_assert_uint_lt(slot, SLOTS);
	ck_assert_int_eq(result[slot], INT64_MIN);
	ck_assert_int_ne(res, INT64_MIN);
	result[slot] = res;
	order[nr_ended++ % SLOTS] = slot;
	if (on_ended)
		on_ended(slot);
}

static void log_line(void *arg, int level, const char *line)
{
	ck_assert_ptr_eq(arg, &result);
	ck_assert_int_ge(level, 1);
	ck_assert_int_le(level, 4);
	(void)snprintf(lines[nr_lines++ % LINES], sizeof(lines[0]), "%s", line);
}

unsigned logged(const char *what)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr_lines && i < LINES; i++)
		n += strstr(lines[i], what) != NULL;
	return n;
}

/* ---- turns ---- */

enum lz_stream_state state(void)
{
	return lz_stream_stats(stream).state;
}

static void complete(void)
{
	struct lz_completion c[64];
	unsigned n;

	while (lz_ring_has_work(&ring) && (n = lz_ring_reap(&ring, c, 64)))
		for (unsigned i = 0; i < n; i++)
			if (c[i].tag.kind == LZ_TAG_NET)
				lz_stream_completed(stream, &ring, c[i].tag, now_ns);
}

void turn_slowly(size_t max)
{
	if (lz_stream_deadline(stream) <= now_ns)
		lz_stream_tick(stream, &ring, now_ns);
	lz_stream_flush(stream, &ring, now_ns);
	must(!lz_ring_submit(&ring));
	complete();
	for (unsigned i = 0; i < nr_peers; i++)
		peer_pump(peer[i], max);
}

void turn(void)
{
	turn_slowly(SIZE_MAX);
}

void turns(unsigned n)
{
	while (n--)
		turn();
}

void until_ended(unsigned nr)
{
	for (unsigned i = 0; nr_ended < nr && i < 20000; i++)
		turn();
	ck_assert_uint_eq(nr_ended, nr);
}

void until_state(enum lz_stream_state wanted)
{
	for (unsigned i = 0; state() != wanted && i < 1000; i++)
		turn();
	ck_assert_int_eq(state(), wanted);
}

void until_deadline(void)
{
	uint64_t at = lz_stream_deadline(stream);

	ck_assert_uint_ne(at, UINT64_MAX);
	ck_assert_uint_gt(at, now_ns);
	now_ns = at;
}

/* ---- the fixture ---- */

void world_setup(void)
{
	script = (struct script){ .layout = LZ_PS_32, .limit = SIZE_MAX, .timeout_ns = 60 * SEC };
	ck_assert_int_eq(lz_ring_open(&ring, 64), 0);
	now_ns = 1000 * SEC;
	seed = 1;
	nr_peers = nr_connects = nr_lines = nr_ended = 0;
	on_ended = NULL;
	memset(asked, 0, sizeof(asked));
	memset(asked_on, 0, sizeof(asked_on));
	memset(asked_urgent_on, 0, sizeof(asked_urgent_on));
	memset(reads, 0, sizeof(reads));
	for (unsigned i = 0; i < SLOTS; i++)
		result[i] = 0;
	keep[0] = keep[1] = -1;
}

void world_open(void)
{
	struct lz_stream_options o = { .connect = script.connect ? script.connect : connect_peer,
				       .connect_arg = &script,
				       .ended = ended,
				       .log = log_line,
				       .arg = &result,
				       .layout = script.layout,
				       .only_lazyd = script.only_lazyd,
				       .hello = { .session = 5, .software = "the test" },
				       .timeout_ns = script.timeout_ns,
				       .keep = script.keeps ? keep : NULL,
				       .keep_ino = keep_ino };

	o.hello.identity[0] = script.identity;
	ck_assert_int_eq(lz_stream_open(&stream, &o), 0);
	ck_assert_int_eq(lz_stream_source(stream, PID, ranges, asked, &source), 0);
}

void world_teardown(void)
{
	source->ops->close(source);
	lz_stream_close(stream, &ring);
	peers_free();
	for (unsigned i = 0; i < SLOTS; i++) {
		free(buffer[i]);
		buffer[i] = NULL;
	}
	lz_ring_close(&ring);
}
