/* SPDX-License-Identifier: MIT */
/*
 * A caller that was built with another lazyd.h: with shorter structs, which must not be read or
 * written behind their end, and with longer ones, whose new members are asked for or not.
 */
#include <stddef.h>

#include "tests/embed/own.h"

enum { LONGER = 64 };

/* The end of @len bytes is the end of what may be touched. */
static void *at_the_end(size_t len)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, 2 * OWN_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		OWN_MUST(page != MAP_FAILED && !mprotect(page + OWN_PAGE, OWN_PAGE, PROT_NONE));
	}
	memset(page, 0, OWN_PAGE);
	return page + OWN_PAGE - len;
}

static int new_with(size_t size, int asks)
{
	struct lazyd_options *o = at_the_end(size > 8 ? (size + 7) & ~(size_t)7 : 8);
	uint8_t *bytes = (uint8_t *)o;
	struct lazyd *l;
	int r;

	memcpy(bytes, &size, sizeof(size));
	if (asks)
		bytes[size - 1] = 1;
	r = lazyd_new(&l, o);
	if (!r)
		lazyd_free(l);
	return r;
}

static void shorter_figures(struct lazyd *l, size_t size)
{
	struct lazyd_stats *st = at_the_end(size), whole;

	lazyd_stats_sized(l, NULL, st, size);
	lazyd_stats(l, NULL, &whole);
	OWN_MUST(!memcmp(st, &whole, size));
}

int main(void)
{
	struct {
		struct lazyd_stats known;
		uint64_t unknown[LONGER];
	} longer;
	struct lazyd_options o = { .size = sizeof(o) };
	struct lazyd_server_options so = { .size = 4 };
	struct lazyd_tls_options to = { .size = 4 };
	struct lazyd_why why = { "" };
	struct lazyd_server *server;
	struct lazyd_tls *tls;
	struct lazyd *l;

	OWN_MUST(new_with(sizeof(o), 0) == 0);
	OWN_MUST(new_with(sizeof(size_t), 0) == 0);
	OWN_MUST(new_with(offsetof(struct lazyd_options, remote), 0) == 0);
	OWN_MUST(new_with(0, 0) == -EINVAL);
	OWN_MUST(new_with(sizeof(size_t) - 1, 0) == -EINVAL);
	OWN_MUST(new_with(sizeof(o) + LONGER, 0) == 0);
	OWN_MUST(new_with(sizeof(o) + LONGER, 1) == -EINVAL);
	OWN_MUST(lazyd_server_new(&server, NULL, &so, NULL) == -EINVAL);
	/* What is printed where that fails has a sentence in it. */
	OWN_MUST(lazyd_server_new(&server, NULL, &so, &why) == -EINVAL);
	OWN_MUST(strstr(why.text, "longer than this library knows"));
	so.size = sizeof(so);
	(void)strcpy(why.text, "");
	OWN_MUST(lazyd_server_new(&server, NULL, &so, &why) == -EINVAL);
	OWN_MUST(strstr(why.text, "an argument is missing"));
	(void)strcpy(why.text, "");
	OWN_MUST(lazyd_tls_new(&tls, &to, &why) == -EINVAL);
	OWN_MUST(why.text[0]);

	OWN_MUST(!lazyd_new(&l, &o));
	shorter_figures(l, sizeof(uint64_t));
	shorter_figures(l, offsetof(struct lazyd_stats, faults));
	shorter_figures(l, sizeof(struct lazyd_stats));
	memset(&longer, 0xff, sizeof(longer));
	lazyd_stats_sized(l, NULL, &longer.known, sizeof(longer));
	for (int i = 0; i < LONGER; i++)
		OWN_MUST(longer.unknown[i] == 0);
	lazyd_free(l);
	return 0;
}
