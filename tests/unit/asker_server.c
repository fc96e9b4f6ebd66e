/* SPDX-License-Identifier: MIT */
/* The answers and the fixture of asker_server.h. Not here: any test. */
#include "asker_server.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lz_asker_options options;
struct lz_asker a;
uint8_t stream[STREAM];
size_t len;
bool closes;

/* What pages are made of. */
static uint8_t payload[16 * LZ_PS_PAGE];

enum { ASKS = 8 };
static struct {
	uint16_t tag;
	size_t nr;
	struct lz_ps_range range[3];
} asks[ASKS];
static size_t nr_asks;

void setup(void)
{
	options = (struct lz_asker_options){ .layout = LZ_PS_32 };
	options.hello.version = LZ_HELLO_VERSION;
	options.hello.page_size = LZ_PS_PAGE;
	lz_asker_init(&a, &options);
	memset(payload, 'p', sizeof(payload));
	len = nr_asks = 0;
	closes = false;
}

void known(void)
{
	options.known = true;
}

void ask(uint16_t tag, size_t nr, struct lz_ps_range one, struct lz_ps_range two)
{
	asks[nr_asks].tag = tag;
	asks[nr_asks].nr = nr;
	asks[nr_asks].range[0] = one;
	asks[nr_asks++].range[1] = two;
}

void ask_one(uint16_t tag, uint64_t vaddr, uint64_t nr_pages)
{
	ask(tag, 1, (struct lz_ps_range){ vaddr, nr_pages }, (struct lz_ps_range){ 0 });
}

/* ---- what the server says ---- */

void answer(const char *bytes)
{
	memcpy(stream + len, bytes, 4);
	len += 4;
}

void answer_welcome(struct lz_welcome w)
{
	len += lz_hello_put_welcome(&w, stream + len);
}

void answer_lazyd(void)
{
	answer("LZD\1");
	answer_welcome((struct lz_welcome){
		.version = LZ_HELLO_VERSION, .page_size = LZ_PS_PAGE, .max_request_pages = 1024 });
}

void reply(enum lz_ps_layout layout, uint32_t flags, uint64_t nr_pages, uint64_t vaddr,
	   uint64_t dst_id)
{
	struct lz_ps_header h = { LZ_PS_ADD_F, flags, nr_pages, vaddr, dst_id };

	len += lz_ps_put(layout, &h, stream + len);
	if (flags != LZ_PS_PRESENT || nr_pages > sizeof(payload) / LZ_PS_PAGE)
		return;
	memcpy(stream + len, payload, nr_pages * LZ_PS_PAGE);
	len += nr_pages * LZ_PS_PAGE;
}

void reply_lazyd(uint32_t flags, uint64_t nr_pages, uint64_t first, uint64_t tag)
{
	reply(LZ_PS_32, flags, nr_pages, first, tag << 32 | PID);
}

/* ---- what is heard ---- */

static void ask_all(void)
{
	uint8_t out[512];

	for (size_t n = 0; n < nr_asks; n++)
		ck_assert_int_gt(lz_asker_ask(&a, asks[n].tag, PID, asks[n].range, asks[n].nr, out,
					      sizeof(out)),
				 0);
}

static void note(char *text, const struct lz_asker_event *ev)
{
	static const char *const names[] = {
		[LZ_ASKER_MORE] = "more",   [LZ_ASKER_OPEN] = "open", [LZ_ASKER_BYTES] = "bytes",
		[LZ_ASKER_ZEROS] = "zeros", [LZ_ASKER_LOST] = "lost", [LZ_ASKER_REST] = "rest",
	};
	char *to = text + strlen(text);
	size_t room = (size_t)(text + TEXT - to);

	if (ev->type == LZ_ASKER_OPEN)
		snprintf(to, room, "open %s\n", a.state == LZ_ASKER_PLAIN ? "plain" : "lazyd");
	else if (ev->type == LZ_ASKER_END)
		snprintf(to, room, "end %d\n", ev->status);
	else if (ev->type != LZ_ASKER_MORE)
		snprintf(to, room, "%s %u: %llu+%llu\n", names[ev->type], ev->tag,
			 (unsigned long long)ev->first, (unsigned long long)ev->nr);
}

static void say(void)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];

	lz_asker_say(&a, out);
	if (lz_asker_is_open(&a) && closes && !a.nr_replies && !a.payload && !a.rests)
		ck_assert_uint_gt(lz_asker_close(&a, out), 0);
}

void hear(char *text, size_t cut)
{
	size_t at = 0, n = 0;
	struct lz_asker_event ev = { 0 };

	lz_asker_init(&a, &options);
	text[0] = '\0';
	say();
	while (at < len || n || ev.type != LZ_ASKER_MORE) {
		int64_t taken;

		if (!n) {
			n = cut ? cut : 1 + (size_t)rand() % 3000;
			n = n < len - at ? n : len - at;
		}
		if (a.payload) {
			taken = (int64_t)(n < a.payload ? n : a.payload);
			if (!n)
				return;
			ck_assert(!memcmp(stream + at, payload, (size_t)taken));
			lz_asker_paid(&a, (uint64_t)taken);
		} else {
			taken = lz_asker_take(&a, stream + at, n, &ev);
			if (taken < 0) {
				ck_assert_int_eq(taken, -EBADMSG);
				ck_assert_int_eq(a.state, LZ_ASKER_BROKEN);
				strcat(strcat(text, "broken: "), a.why);
				ck_assert_int_eq(lz_asker_take(&a, stream, 1, &ev), -EBADMSG);
				ck_assert(!lz_asker_is_open(&a));
				return;
			}
			ck_assert_int_le(taken, (int64_t)n);
			ck_assert(ev.type != LZ_ASKER_MORE || taken == (int64_t)n);
			note(text, &ev);
			if (ev.type == LZ_ASKER_OPEN)
				ask_all();
		}
		at += (size_t)taken;
		n -= (size_t)taken;
		say();
	}
}

void hears(const char *expected)
{
	static const size_t cuts[] = { 1, 2, 3, 5, 7, 13, 31, 32, 33, 4095, 4096, 4097, STREAM };
	char text[TEXT];

	for (size_t n = 0; n < sizeof(cuts) / sizeof(cuts[0]); n++) {
		hear(text, cuts[n]);
		ck_assert_str_eq(text, expected);
	}
	for (int n = 0; n < 20; n++) {
		hear(text, 0);
		ck_assert_str_eq(text, expected);
	}
}
