/* SPDX-License-Identifier: MIT */
/*
 * Cases of the other kinds of memory: shared, with its pages in place or not, and of large pages;
 * and how such memory is made. Their common image is that of all the other cases.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/live/house.h"

enum { SMALL = 512, MIDDLE = 8192, LARGES = 8, HUGE = LARGES * LIVE_PER_LARGE };
enum { IN_PLACE = LIVE_SHARED | LIVE_MINOR, MIXED = IN_PLACE | LIVE_MIXED };
enum { BLOCK = 8, MARK = 1 << 24 };

/* ---- making it ---- */

const char *live_house_kind(unsigned with)
{
	if (with & LIVE_HUGE)
		return with & LIVE_MINOR    ? "hugetlb-minor"
		       : with & LIVE_SHARED ? "hugetlb-shared"
					    : "hugetlb";
	return with & LIVE_MINOR ? "minor" : with & LIVE_SHARED ? "shared" : "anonymous";
}

/* Not for good: what is asked for here is a limit, and none is taken before a case runs. */
void live_house_want_huge(void)
{
	FILE *f = fopen("/proc/sys/vm/nr_overcommit_hugepages", "r+e");
	unsigned long now = 0;

	if (!f)
		return;
	if (fscanf(f, "%lu", &now) == 1 && now < 4 * LARGES) {
		rewind(f);
		(void)fprintf(f, "%d\n", 4 * LARGES);
	}
	(void)fclose(f);
}

bool live_house_in_place(const struct live *l, uint64_t n)
{
	if (!(l->c->with & LIVE_MINOR))
		return false;
	return !(l->c->with & LIVE_MIXED) || n / BLOCK % 2 == 0;
}

static int map_flags(const struct live *l)
{
	int huge = l->c->with & LIVE_HUGE ? MAP_HUGETLB : 0;

	if (l->memfd >= 0)
		return MAP_SHARED;
	return MAP_PRIVATE | MAP_ANONYMOUS | huge;
}

void live_house_memfd(struct live *l)
{
	bool is_huge = l->c->with & LIVE_HUGE;
	size_t len = l->nr_pages * LIVE_PAGE;
	uint8_t *at;

	if (l->c->with & LIVE_SHARED) {
		l->memfd = memfd_create("memory", MFD_CLOEXEC | (is_huge ? MFD_HUGETLB : 0));
		LIVE_CHECK(l, l->memfd >= 0 && ftruncate(l->memfd, (off_t)len) == 0);
	}
	at = mmap(NULL, len, PROT_READ | PROT_WRITE, map_flags(l), l->memfd, 0);
	if (at == MAP_FAILED && is_huge)
		live_skip(l, "no large pages to be had, see /proc/sys/vm/nr_overcommit_hugepages");
	LIVE_CHECK(l, at != MAP_FAILED);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		if (live_held_at(l, n) && live_house_in_place(l, n))
			live_write(at + n * LIVE_PAGE, n + 1);
	(void)munmap(at, len);
}

void live_house_map(struct live *l)
{
	LIVE_CHECK(l, mmap(l->base, l->nr_pages * LIVE_PAGE, PROT_READ | PROT_WRITE,
			   map_flags(l) | MAP_FIXED, l->memfd, 0) == l->base);
}

/* ---- filling it ---- */

/* Every page that was asked for was mapped where it lay: no byte has been read. */
static void serve_in_place(struct live *l)
{
	live_serve_faults(l);
	LIVE_CHECK(l, l->stats.pages_demand == live_held(l->nr_pages));
	LIVE_CHECK(l, l->stats.bytes_read == 0);
}

/* ---- holes, and what is given back ---- */

static void give_back(struct live *l, uint64_t first, uint64_t nr, int how)
{
	LIVE_CHECK(l, madvise(live_at(l, first), nr * LIVE_PAGE, how) == 0);
}

/*
 * What is given back is the file's still, and what is taken out of the file is zero: whether the
 * page was there before or not.
 */
static void give_and_take(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 4 * BLOCK) {
		live_expect(l, n, live_code(n));
		give_back(l, n, BLOCK, MADV_DONTNEED);
		give_back(l, n + 2 * BLOCK, BLOCK, MADV_REMOVE);
		live_expect_image(l, n, n + BLOCK);
		for (uint64_t i = 0; i < BLOCK; i++)
			live_expect(l, n + 2 * BLOCK + i, 0);
	}
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n / BLOCK % 4 == 2 ? 0 : live_code(n));
}

/* Taken out of the file by who has not got it mapped: no event tells. */
static void serve_punched(struct live *l)
{
	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	for (uint64_t n = 2 * BLOCK; n < l->nr_pages; n += 4 * BLOCK)
		LIVE_CHECK(l, fallocate(l->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)(n * LIVE_PAGE), BLOCK * LIVE_PAGE) == 0);
	live_say(l);
	live_start(l);
	live_fill(l);
	LIVE_CHECK(l, l->stats.pages_lost == 0);
	live_end(l, 0);
}

static void touch_punched(struct live *l)
{
	live_hear(l);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n / BLOCK % 4 == 2 ? 0 : live_code(n));
}

/* ---- several who have it mapped ---- */

/* Writes to every other page and lets the second look: nothing is filled over what was written. */
static void write_half(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n += 2)
		live_write(live_at(l, n), MARK + n);
	live_say(l);
	live_hear(l);
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n % 2 ? live_code(n) : MARK + n);
}

static void serve_two(struct live *l)
{
	struct live other;

	live_begin(l, NULL);
	live_task(l);
	live_attach(l);
	live_hear_serving(l);
	other = *l;
	live_task(&other);
	live_attach(&other);
	live_start(l);
	live_hear_serving(&other);
	live_say(l);
	live_say(&other);
	live_fill(l);
	live_end(l, 0);
	other.l = NULL;
	other.memory = NULL;
	live_end(&other, 0);
}

static void look_in_child(struct live *l)
{
	for (uint64_t n = 0; n < l->nr_pages; n++)
		live_expect(l, n, n % 4 ? live_code(n) : MARK + n);
}

static void fork_and_look(struct live *l)
{
	pid_t child;

	for (uint64_t n = 0; n < l->nr_pages; n += 4)
		live_write(live_at(l, n), MARK + n);
	child = live_fork(l, look_in_child);
	look_in_child(l);
	live_wait(l, child);
}

static void move_and_look(struct live *l)
{
	size_t half = l->nr_pages / 2 * LIVE_PAGE;

	live_expect_image(l, 0, l->nr_pages / 4);
	LIVE_CHECK(l, mremap(l->base, half, half, MREMAP_MAYMOVE | MREMAP_FIXED,
			     live_at(l, l->nr_pages)) == live_at(l, l->nr_pages));
	for (uint64_t n = 0; n < l->nr_pages / 2; n++)
		live_expect(l, l->nr_pages + n, live_code(n));
	live_expect_image(l, l->nr_pages / 2, l->nr_pages);
}

/* ---- large pages ---- */

static void expect_large(struct live *l, uint64_t large)
{
	for (uint64_t n = large * LIVE_PER_LARGE; n < (large + 1) * LIVE_PER_LARGE; n++)
		live_expect(l, n, live_held_at(l, n) ? n + 1 : 0);
}

static void touch_large(struct live *l)
{
	for (uint64_t i = 0; i < LARGES; i++)
		expect_large(l, (i * 3 + 2) % LARGES);
}

static void serve_large(struct live *l)
{
	live_serve_faults(l);
	LIVE_CHECK(l, l->stats.pages_total == LARGES / 4 * 3);
	LIVE_CHECK(l, l->stats.pages_demand == l->stats.pages_total);
}

/* The half that is given back is none of a page's. */
static void give_large(struct live *l)
{
	give_back(l, LIVE_PER_LARGE, LIVE_PER_LARGE, MADV_DONTNEED);
	for (uint64_t n = LIVE_PER_LARGE; n < 2 * LIVE_PER_LARGE; n++)
		live_expect(l, n, 0);
	expect_large(l, 0);
	expect_large(l, 2);
	LIVE_CHECK(l, munmap(live_at(l, 4 * LIVE_PER_LARGE), LIVE_LARGE) == 0);
	expect_large(l, 5);
}

static void fork_large(struct live *l)
{
	pid_t child = live_fork(l, touch_large);

	touch_large(l);
	live_wait(l, child);
}

static void lose_large(struct live *l)
{
	for (uint64_t i = 0; i < LARGES; i++) {
		uint64_t n = i * LIVE_PER_LARGE;
		bool is_lost = live_held_at(l, n) && live_offset(l, n) + LIVE_LARGE > l->cut;

		LIVE_CHECK(l, live_can_read(l, n) == !is_lost);
		if (!is_lost)
			expect_large(l, i);
	}
}

const struct live_case live_cases_kinds[] = {
	{ "shared/faults", MIDDLE, LIVE_SHARED, live_touch_all, live_serve_faults },
	{ "shared/sweeping", MIDDLE, LIVE_SHARED, live_touch_all, live_serve_sweeping },
	{ "shared/two", SMALL, LIVE_SHARED, write_half, serve_two },
	{ "shared/fork", SMALL, LIVE_SHARED | LIVE_FORK, fork_and_look, live_serve_sweeping },
	{ "shared/move", SMALL, LIVE_SHARED, move_and_look, live_serve_sweeping },
	{ "in-place/faults", MIDDLE, IN_PLACE, live_touch_all, serve_in_place },
	{ "in-place/sweep", MIDDLE, IN_PLACE, live_touch_later, live_serve_sweep },
	{ "in-place/sweeping", MIDDLE, IN_PLACE, live_touch_all, live_serve_sweeping },
	{ "in-place/given-back", MIDDLE, IN_PLACE, give_and_take, live_serve_sweeping },
	{ "in-place/punched", MIDDLE, IN_PLACE, touch_punched, serve_punched },
	{ "in-place/two", SMALL, IN_PLACE, write_half, serve_two },
	{ "in-place/fork", SMALL, IN_PLACE | LIVE_FORK, fork_and_look, live_serve_sweeping },
	{ "in-place/move", SMALL, IN_PLACE, move_and_look, live_serve_sweeping },
	{ "mixed/faults", MIDDLE, MIXED, live_touch_all, live_serve_faults },
	{ "mixed/sweeping", MIDDLE, MIXED, live_touch_all, live_serve_sweeping },
	{ "mixed/two", SMALL, MIXED, write_half, serve_two },
	{ "mixed/fork", SMALL, MIXED | LIVE_FORK, fork_and_look, live_serve_sweeping },
	{ "huge/faults", HUGE, LIVE_HUGE, touch_large, serve_large },
	{ "huge/cold", HUGE, LIVE_HUGE | LIVE_DISK, touch_large, serve_large },
	{ "huge/sweeping", HUGE, LIVE_HUGE, touch_large, live_serve_sweeping },
	{ "huge/given-back", HUGE, LIVE_HUGE, give_large, live_serve_sweeping },
	{ "huge/fork", HUGE, LIVE_HUGE | LIVE_FORK, fork_large, live_serve_sweeping },
	{ "huge/lost", HUGE, LIVE_HUGE | LIVE_TRUNCATE | LIVE_POISON, lose_large,
	  live_serve_faults },
	{ "huge/shared", HUGE, LIVE_HUGE | LIVE_SHARED, touch_large, live_serve_faults },
	{ "huge/in-place", HUGE, LIVE_HUGE | IN_PLACE, touch_large, serve_large },
	{ NULL, 0, 0, NULL, NULL },
};
