/* SPDX-License-Identifier: MIT */
/* The client and the fixture of giver_client.h. Not here: any test. */
#include "giver_client.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lz_giver g;
uint8_t stream[STREAM];
size_t len;

static struct lz_giver_options options;

void setup(void)
{
	options = (struct lz_giver_options){ .max_request_pages = MAX_PAGES };
	strcpy(options.software, "lazyd test");
	memset(options.identity, 0xab, sizeof(options.identity));
	lz_giver_init(&g, &options);
	len = 0;
}

void say(enum lz_ps_layout layout, uint32_t cmd, uint32_t flags, uint64_t nr_pages, uint64_t vaddr,
	 uint64_t dst_id)
{
	struct lz_ps_header h = { cmd, flags, nr_pages, vaddr, dst_id };

	len += lz_ps_put(layout, &h, stream + len);
}

void say_range(uint64_t vaddr, uint64_t nr_pages)
{
	struct lz_ps_range r = { vaddr, nr_pages };

	len += lz_ps_put_range(&r, stream + len);
}

void say_probe(enum lz_ps_layout layout)
{
	say(layout, LZ_PS_PARENT, 0, 0, 0, LZ_PS_PROBE);
}

struct lz_hello hello(void)
{
	struct lz_hello h = { .version = LZ_HELLO_VERSION,
			      .page_size = LZ_PS_PAGE,
			      .session = 7,
			      .stream = LZ_HELLO_BULK };

	memset(h.identity, 0xab, sizeof(h.identity));
	return h;
}

void say_hello(const struct lz_hello *h)
{
	len += lz_hello_put(h, stream + len);
}

void say_lazyd(void)
{
	struct lz_hello h = hello();

	say_probe(LZ_PS_32);
	say_hello(&h);
}

/* One line an event. */
static void note(char *text, enum lz_giver_event_type ev)
{
	char *to = text + strlen(text), *end = text + TEXT;

	switch (ev) {
	case LZ_GIVER_MORE:
		break;
	case LZ_GIVER_SAY:
		snprintf(to, (size_t)(end - to), "say %02x %02x %02x %02x\n", g.say[0], g.say[1],
			 g.say[2], g.say[3]);
		ck_assert_uint_eq(g.nr_say, 4);
		break;
	case LZ_GIVER_HELLO:
		snprintf(to, (size_t)(end - to), "hello session %llu stream %d\n",
			 (unsigned long long)g.hello.session, g.hello.stream);
		ck_assert_uint_gt(g.nr_say, LZ_HELLO_LENGTH);
		break;
	case LZ_GIVER_GET:
		to += snprintf(to, (size_t)(end - to),
			       "get %llx pid %u pages %llu:", (unsigned long long)g.get.dst_id,
			       g.get.pid, (unsigned long long)g.get.nr_pages);
		for (size_t n = 0; n < g.get.nr_ranges; n++)
			to += snprintf(to, (size_t)(end - to), " %llx+%llu",
				       (unsigned long long)g.get.range[n].vaddr,
				       (unsigned long long)g.get.range[n].nr_pages);
		snprintf(to, (size_t)(end - to), "\n");
		break;
	case LZ_GIVER_CLOSE:
		snprintf(to, (size_t)(end - to), "close %02x %02x %02x %02x\n", g.say[0], g.say[1],
			 g.say[2], g.say[3]);
		ck_assert_uint_eq(g.nr_say, 4);
		break;
	}
}

void hear(char *text, size_t cut)
{
	size_t at = 0, n = 0;

	lz_giver_init(&g, &options);
	text[0] = '\0';
	while (at < len || n) {
		enum lz_giver_event_type ev;
		int64_t taken;

		if (!n) {
			n = cut ? cut : 1 + (size_t)rand() % 50;
			n = n < len - at ? n : len - at;
		}
		taken = lz_giver_take(&g, stream + at, n, &ev);
		if (taken < 0) {
			ck_assert_int_eq(taken, -EBADMSG);
			ck_assert_uint_gt(strlen(g.why), 0);
			strcat(strcat(text, "refused: "), g.why);
			ck_assert_int_eq(lz_giver_take(&g, stream, 1, &ev), -EBADMSG);
			return;
		}
		ck_assert_int_le(taken, (int64_t)n);
		at += (size_t)taken;
		n -= (size_t)taken;
		ck_assert(ev != LZ_GIVER_MORE || !n);
		note(text, ev);
	}
}

void hears(const char *expected)
{
	char text[TEXT];

	hear(text, STREAM);
	ck_assert_str_eq(text, expected);
	for (size_t cut = 1; cut < 40; cut++) {
		hear(text, cut);
		ck_assert_str_eq(text, expected);
	}
	for (int n = 0; n < 20; n++) {
		hear(text, 0);
		ck_assert_str_eq(text, expected);
	}
}
