/* SPDX-License-Identifier: MIT */
/* The judgement of handshake.h. */
#include "tool/handshake.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };
/* Below what anybody may map, and behind what any architecture gives to a process. */
#define ADDRESS_MIN UINT64_C(0x10000)
#define ADDRESS_MAX (UINT64_C(1) << 56)

__attribute__((format(printf, 2, 3))) static int refuse(struct lazyd_why *why, const char *format,
							...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return -EPROTO;
}

/* 1, 0 if there is no such key, or -EPROTO. */
static int number(const json_t *region, unsigned n, const char *key, uint64_t *to,
		  struct lazyd_why *why)
{
	const json_t *value = json_object_get(region, key);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return refuse(why, "region %u: %s is not a number from 0 to 2^63 - 1", n, key);
	*to = (uint64_t)json_integer_value(value);
	return 1;
}

static int needed(const json_t *region, unsigned n, const char *key, uint64_t *to,
		  struct lazyd_why *why)
{
	int r = number(region, n, key, to, why);

	return r < 0 ? r : r ? 0 : refuse(why, "region %u has no %s", n, key);
}

static int page_size(const json_t *region, unsigned n, uint64_t *to, struct lazyd_why *why)
{
	int r = number(region, n, "page_size", to, why);

	if (!r)
		r = number(region, n, "page_size_kib", to, why);
	if (!r)
		*to = PAGE;
	if (r >= 0 && *to != PAGE && *to != HUGE_PAGE)
		r = refuse(why, "region %u: pages of %" PRIu64 " bytes, and not of %d or %d", n,
			   *to, PAGE, HUGE_PAGE);
	return r < 0 ? r : 0;
}

static int read_region(struct lz_regions *out, const json_t *region, uint64_t size,
		       struct lazyd_why *why)
{
	unsigned n = out->nr;
	struct lazyd_place *p = &out->place[n];
	uint64_t page = 0;
	int r = json_is_object(region) ? 0 : refuse(why, "region %u is no object", n);

	if (!r)
		r = needed(region, n, "base_host_virt_addr", &p->at, why);
	if (!r)
		r = needed(region, n, "size", &p->len, why);
	if (!r)
		r = needed(region, n, "offset", &p->start, why);
	if (!r)
		r = page_size(region, n, &page, why);
	if (r)
		return r;
	if (n && page != out->page_size)
		return refuse(why, "region %u: pages of another size than those of region 0", n);
	if (!p->len || (p->at | p->len | p->start) & (page - 1))
		return refuse(why, "region %u is not whole pages of %" PRIu64 " bytes", n, page);
	if (p->at < ADDRESS_MIN || p->at > ADDRESS_MAX || p->len > ADDRESS_MAX - p->at)
		return refuse(why, "region %u is not in the address space of a process", n);
	if (size && (p->start > size || p->len > size - p->start))
		return refuse(why,
			      "region %u: bytes %" PRIu64 " to %" PRIu64
			      " of a memory file that has %" PRIu64,
			      n, p->start, p->start + p->len, size);
	if (p->start > INT64_MAX - p->len)
		return refuse(why, "region %u ends behind the longest of files", n);
	out->page_size = page;
	if (out->end < p->start + p->len)
		out->end = p->start + p->len;
	out->nr++;
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_overlaps(const struct lz_regions *all, struct lazyd_why *why)
{
	for (uint32_t i = 0; i < all->nr; i++)
		for (uint32_t k = 0; k < i; k++) {
			const struct lazyd_place *a = &all->place[k], *b = &all->place[i];

			if (overlap(a->at, a->len, b->at, b->len))
				return refuse(why, "regions %u and %u overlap in memory", k, i);
			if (overlap(a->start, a->len, b->start, b->len))
				return refuse(why, "regions %u and %u overlap in the file", k, i);
		}
	return 0;
}

static int read_regions(struct lz_regions *out, const json_t *all, uint64_t size,
			struct lazyd_why *why)
{
	size_t nr = json_array_size(all);
	int r = 0;

	if (!json_is_array(all))
		return refuse(why, "it is no array of regions");
	if (!nr || nr > LZ_REGIONS_MAX)
		return refuse(why, "%zu regions, and not 1 to %d", nr, LZ_REGIONS_MAX);
	for (size_t i = 0; !r && i < nr; i++)
		r = read_region(out, json_array_get(all, i), size, why);
	return r ? r : check_overlaps(out, why);
}

int lz_handshake_read(struct lz_regions *out, const char *text, size_t len, uint64_t size,
		      struct lazyd_why *why)
{
	json_error_t e;
	json_t *all = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	int r;

	*out = (struct lz_regions){ 0 };
	if (!all && json_error_code(&e) == json_error_premature_end_of_input)
		return len < LZ_HANDSHAKE_MAX
			       ? -EAGAIN
			       : refuse(why, "it is longer than %d bytes", LZ_HANDSHAKE_MAX);
	if (!all)
		return refuse(why, "it is no JSON from byte %d on", e.position);
	r = read_regions(out, all, size, why);
	json_decref(all);
	return r;
}
