/* SPDX-License-Identifier: MIT */
/* The bytes of wset.h. Numbers are least significant byte first. */
#include "proto/wset.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint8_t MAGIC[8] = { 'l', 'a', 'z', 'y', 'd', '-', 'w', 's' };

enum {
	VERSION_AT = 8,
	FLAGS_AT = 12,
	IDENTITY_AT = 16,
	RUNS_AT = 48,
	HEAD = 56,
	RUN = 16,
	TAIL = 4
};

static void put(uint8_t *to, uint64_t number, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (uint8_t)(number >> 8 * i);
}

static uint64_t get(const uint8_t *from, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number |= (uint64_t)from[i] << 8 * i;
	return number;
}

/* CRC-32 as Ethernet, gzip and zip have it, four bits at a time. */
static uint32_t checksum(const uint8_t *bytes, size_t len)
{
	static const uint32_t of_bits[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		crc = crc >> 4 ^ of_bits[crc & 15];
		crc = crc >> 4 ^ of_bits[crc & 15];
	}
	return ~crc;
}

size_t lz_wset_size(size_t nr_runs)
{
	return HEAD + nr_runs * RUN + TAIL;
}

void lz_wset_put_head(uint8_t *to, const struct lz_wset_head *head)
{
	memcpy(to, MAGIC, sizeof(MAGIC));
	put(to + VERSION_AT, LZ_WSET_VERSION, 4);
	put(to + FLAGS_AT, head->flags, 4);
	memcpy(to + IDENTITY_AT, head->identity, sizeof(head->identity));
	put(to + RUNS_AT, head->nr_runs, 8);
}

void lz_wset_put_run(uint8_t *to, size_t n, const struct lz_wset_run *run)
{
	to += HEAD + n * RUN;
	put(to, run->address, 8);
	put(to + 8, run->nr_pages, 4);
	put(to + 12, run->task, 4);
}

void lz_wset_seal(uint8_t *to, size_t nr_runs)
{
	size_t len = HEAD + nr_runs * RUN;

	put(to + len, checksum(to, len), TAIL);
}

__attribute__((format(printf, 3, 4))) static int refuse(struct lz_wset *w, int err,
							const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(w->what, sizeof(w->what), format, args);
	va_end(args);
	return err;
}

static int check_runs(struct lz_wset *w)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < w->head.nr_runs; i++) {
		struct lz_wset_run r = lz_wset_run(w, i);

		if (!r.nr_pages || r.address % LZ_WSET_PAGE ||
		    r.nr_pages > (UINT64_MAX - r.address) / LZ_WSET_PAGE)
			return refuse(w, -EBADMSG, "has a run, %u, that is no pages", i);
		pages += r.nr_pages;
	}
	return pages > LZ_WSET_PAGES_MAX
		       ? refuse(w, -EBADMSG, "has more than %d pages", LZ_WSET_PAGES_MAX)
		       : 0;
}

int lz_wset_parse(struct lz_wset *w, const uint8_t *bytes, size_t len)
{
	uint64_t version, nr;

	memset(w, 0, sizeof(*w));
	if (len < VERSION_AT + 4 || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
		return refuse(w, -EBADMSG, "is no working set");
	version = get(bytes + VERSION_AT, 4);
	if (version != LZ_WSET_VERSION)
		return refuse(w, version > LZ_WSET_VERSION ? -EPROTONOSUPPORT : -EBADMSG,
			      "is of version %u, not %d", (unsigned)version, LZ_WSET_VERSION);
	if (len < lz_wset_size(0))
		return refuse(w, -EBADMSG, "is cut off: %zu bytes", len);
	nr = get(bytes + RUNS_AT, 8);
	if (nr > LZ_WSET_RUNS_MAX)
		return refuse(w, -EBADMSG, "claims %llu runs, more than the %d there may be",
			      (unsigned long long)nr, LZ_WSET_RUNS_MAX);
	if (len != lz_wset_size((size_t)nr))
		return refuse(w, -EBADMSG, "has %zu bytes, and %zu with the %llu runs it claims",
			      len, lz_wset_size((size_t)nr), (unsigned long long)nr);
	if (get(bytes + len - TAIL, TAIL) != checksum(bytes, len - TAIL))
		return refuse(w, -EBADMSG, "is damaged: it does not have its checksum");
	w->head.flags = (uint32_t)get(bytes + FLAGS_AT, 4);
	w->head.nr_runs = (uint32_t)nr;
	memcpy(w->head.identity, bytes + IDENTITY_AT, sizeof(w->head.identity));
	w->runs = bytes + HEAD;
	return check_runs(w);
}

struct lz_wset_run lz_wset_run(const struct lz_wset *w, size_t n)
{
	const uint8_t *at = w->runs + n * RUN;

	return (struct lz_wset_run){ .address = get(at, 8),
				     .nr_pages = (uint32_t)get(at + 8, 4),
				     .task = (uint32_t)get(at + 12, 4) };
}
