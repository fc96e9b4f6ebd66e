/* SPDX-License-Identifier: MIT */
/*
 * The areas of a process: of texts as the kernel writes them and as it never would, and of this
 * process, by both files.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tool/maps.h"

enum { PAGE = 4096, AREAS_MAX = 4096, STOP = 7 };

static struct lz_maps_area area[AREAS_MAX];
static int nr;

static int take(const struct lz_maps_area *a, void *arg)
{
	ck_assert_int_lt(nr, AREAS_MAX);
	area[nr++] = *a;
	return nr == *(const int *)arg ? STOP : 0;
}

static int parse_until(enum lz_maps_file which, const char *text, int end)
{
	FILE *f = fmemopen((char *)(uintptr_t)text, strlen(text), "r");
	int r;

	nr = 0;
	ck_assert_ptr_nonnull(f);
	r = lz_maps_parse(f, which, take, &end);
	(void)fclose(f);
	return r;
}

static int parse(enum lz_maps_file which, const char *text)
{
	return parse_until(which, text, 0);
}

static const char MAPS[] =
	"55d0c8a00000-55d0c8a02000 r-xp 00002000 fe:01 1234                       /usr/bin/a name\n"
	"7f0000000000-7f0000003000 rw-s 00000000 00:01 77                         /memfd:x (deleted)\n"
	"7f0000003000-7f0000004000 ---p 00000000 00:00 0 \n"
	"7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

START_TEST(of_maps)
{
	ck_assert_int_eq(parse(LZ_MAPS, MAPS), 0);
	ck_assert_int_eq(nr, 5);
	ck_assert_uint_eq(area[0].start, 0x55d0c8a00000);
	ck_assert_uint_eq(area[0].end, 0x55d0c8a02000);
	ck_assert_uint_eq(area[0].prot, PROT_READ | PROT_EXEC);
	ck_assert_uint_eq(area[1].prot, PROT_READ | PROT_WRITE);
	ck_assert_uint_eq(area[2].prot, PROT_NONE);
	ck_assert_uint_eq(area[4].end, 0xffffffffff601000);
	for (int i = 0; i < nr; i++) {
		ck_assert_int_eq(area[i].is_shared, i == 1);
		ck_assert_int_eq(area[i].is_kernels, i >= 3);
		ck_assert(!area[i].is_registered && !area[i].may_be_huge);
	}
	ck_assert_int_eq(parse(LZ_MAPS, ""), 0);
	ck_assert_int_eq(nr, 0);
	ck_assert_int_eq(parse_until(LZ_MAPS, MAPS, 2), STOP);
	ck_assert_int_eq(nr, 2);
}
END_TEST

#define FIRST "10000-20000 rw-p 00000000 00:00 0 \n"
#define FIELDS(rss, swap, huge, flags)                                                      \
	"Size: 64 kB\nRss: " rss " kB\nPss: 1 kB\nAnonymous: 60 kB\nAnonHugePages: 60 kB\n" \
	"Swap: " swap " kB\nSwapPss: 60 kB\nTHPeligible: " huge                             \
	"\nProtectionKey: 0\nVmFlags: " flags " \n"

START_TEST(of_smaps)
{
	ck_assert_int_eq(
		parse(LZ_SMAPS,
		      FIRST FIELDS("12", "8", "1", "rd wr mr um ac") "20000-30000 r--s 00000000 00:01 7    VmFlags: um\n" FIELDS(
			      "0", "0", "0",
			      "rd mr uw ui") "30000-40000 r--p 00000000 00:00 0 \n" FIELDS("80",
											   "0", "0",
											   "um")),
		0);
	ck_assert_int_eq(nr, 3);
	ck_assert(area[0].is_registered && area[0].may_be_huge && !area[0].is_shared);
	ck_assert_uint_eq(area[0].missing, (64 - 12 - 8) << 10);
	ck_assert(!area[1].is_registered && !area[1].may_be_huge && area[1].is_shared);
	ck_assert_uint_eq(area[1].missing, 64 << 10);
	/* More of it than there is. */
	ck_assert(area[2].is_registered);
	ck_assert_uint_eq(area[2].missing, 0);
}
END_TEST

/* What has no end is no area: its process has ended. */
START_TEST(cut_short)
{
	ck_assert_int_eq(parse(LZ_SMAPS, FIRST "Size: 64 kB\nRss: 64 kB\n"), 0);
	ck_assert_int_eq(nr, 0);
}
END_TEST

START_TEST(what_is_none)
{
	static const char *const TEXT[] = {
		"\n",
		"nothing\n",
		"10000-\n",
		"10000-20000\n",
		"10000-20000 \n",
		"10000-20000 rw\n",
		"10000-20000 rw-pp 0 0 0\n",
		"10000-20000 rw-pppppppppppppp 0 0 0\n",
		FIRST "Size: 64 kB\n", /* of maps */
	};

	for (size_t i = 0; i < sizeof(TEXT) / sizeof(TEXT[0]); i++)
		ck_assert_msg(parse(LZ_MAPS, TEXT[i]) == -EPROTO, "%s was read", TEXT[i]);
	ck_assert_int_eq(parse(LZ_SMAPS, "Size: 64 kB\n"), -EPROTO);
}
END_TEST

/* A path may be of any length: each newline in it is told by four letters. */
START_TEST(a_long_name)
{
	enum { NAME = 20000 };
	static char text[NAME + 3 * sizeof(FIRST)] = "10000-20000 rw-p 00000000 fe:01 9  /";
	size_t len = strlen(text);

	memset(text + len, '-', NAME);
	memcpy(text + len + NAME, "\n" FIRST, sizeof("\n" FIRST));
	ck_assert_int_eq(parse(LZ_MAPS, text), 0);
	ck_assert_int_eq(nr, 2);
}
END_TEST

/* One area, and then nothing: so reads the file of a process that ends meanwhile. */
static ssize_t read_and_fail(void *cookie, char *to, size_t room)
{
	int *reads = cookie;

	if ((*reads)++) {
		errno = ESRCH;
		return -1;
	}
	ck_assert_uint_ge(room, sizeof(FIRST) - 1);
	memcpy(to, FIRST, sizeof(FIRST) - 1);
	return sizeof(FIRST) - 1;
}

START_TEST(ends_meanwhile)
{
	int reads = 0, end = 0;
	FILE *f = fopencookie(&reads, "r", (cookie_io_functions_t){ .read = read_and_fail });

	nr = 0;
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(lz_maps_parse(f, LZ_MAPS, take, &end), -ESRCH);
	ck_assert_int_eq(nr, 1);
	(void)fclose(f);
}
END_TEST

static const struct lz_maps_area *find(enum lz_maps_file which, const void *at)
{
	int end = 0;

	nr = 0;
	ck_assert_int_eq(lz_maps_read(getpid(), which, take, &end), 0);
	for (int i = 0; i < nr; i++)
		if (area[i].start <= (uintptr_t)at && (uintptr_t)at < area[i].end)
			return &area[i];
	ck_abort_msg("it is in no area");
}

/* A page of three, between two areas of nobody. */
START_TEST(of_this_process)
{
	uint8_t *at = mmap(NULL, 5 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct lz_maps_area *a;

	ck_assert_ptr_ne(at, MAP_FAILED);
	ck_assert_int_eq(mprotect(at + PAGE, 3 * PAGE, PROT_READ | PROT_WRITE), 0);
	at[2 * PAGE] = 1;
	for (enum lz_maps_file which = LZ_MAPS; which <= LZ_SMAPS; which++) {
		a = find(which, at + PAGE);
		ck_assert_uint_eq(a->start, (uintptr_t)at + PAGE);
		ck_assert_uint_eq(a->end, (uintptr_t)at + 4 * PAGE);
		ck_assert_uint_eq(a->prot, PROT_READ | PROT_WRITE);
		ck_assert(!a->is_shared && !a->is_kernels && !a->is_registered);
	}
	ck_assert_uint_eq(a->missing, 2 * PAGE);
}
END_TEST

START_TEST(of_nobody)
{
	int end = 0;

	ck_assert_int_eq(lz_maps_read(1 << 30, LZ_MAPS, take, &end), -ESRCH);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("maps");
	TCase *t = tcase_create("texts"), *u = tcase_create("processes");

	tcase_add_test(t, of_maps);
	tcase_add_test(t, of_smaps);
	tcase_add_test(t, cut_short);
	tcase_add_test(t, what_is_none);
	tcase_add_test(t, a_long_name);
	tcase_add_test(t, ends_meanwhile);
	tcase_add_test(u, of_this_process);
	tcase_add_test(u, of_nobody);
	suite_add_tcase(s, t);
	suite_add_tcase(s, u);
	return run_suite(s);
}
