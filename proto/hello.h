/* SPDX-License-Identifier: MIT */
/*
 * The control frames that open a connection between two lazyds: u32 length (little endian), then as
 * many bytes, a message of control.proto; together at most LZ_HELLO_MAX. Pure; packs into and
 * unpacks from the caller's bytes.
 */
#ifndef LZ_HELLO_H
#define LZ_HELLO_H

#include <stddef.h>
#include <stdint.h>

enum { LZ_HELLO_VERSION = 1, LZ_HELLO_MAX = 4096, LZ_HELLO_LENGTH = 4, LZ_IDENTITY_LEN = 32 };
enum { LZ_HELLO_TEXT_MAX = 256 };
/* No server may welcome a client with less: max_request_pages is at least this. */
enum { LZ_HELLO_PAGES_MIN = 256 };

enum lz_hello_stream { LZ_HELLO_BOTH, LZ_HELLO_DEMAND, LZ_HELLO_BULK };

struct lz_hello {
	uint32_t version, page_size;
	uint8_t identity[LZ_IDENTITY_LEN];
	uint64_t session;
	enum lz_hello_stream stream;
	char software[LZ_HELLO_TEXT_MAX]; /* printable, cut where it is longer */
};

struct lz_welcome {
	uint32_t version, page_size, max_request_pages;
	char refusal[LZ_HELLO_TEXT_MAX]; /* "": welcome */
	char software[LZ_HELLO_TEXT_MAX];
};

/* The whole frame, length included; returns its length. Texts are cut so that it always fits. */
size_t lz_hello_put(const struct lz_hello *h, uint8_t out[LZ_HELLO_MAX]);
size_t lz_hello_put_welcome(const struct lz_welcome *w, uint8_t out[LZ_HELLO_MAX]);
/*
 * How long the frame that begins with @in is, length field included: 0 while @len bytes cannot
 * tell, -EBADMSG if it is empty or longer than LZ_HELLO_MAX.
 */
int64_t lz_hello_frame(const uint8_t *in, size_t len);
/*
 * @in: the frame's payload. -EBADMSG if it is no such message, -ENOMEM. What peers wrote as text is
 * made printable.
 */
int lz_hello_get(const uint8_t *in, size_t len, struct lz_hello *h);
int lz_hello_get_welcome(const uint8_t *in, size_t len, struct lz_welcome *w);

#endif
