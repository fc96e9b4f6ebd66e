/* SPDX-License-Identifier: MIT */
/*
 * Control frames: between the structs of hello.h and the messages of control.proto. Fields that a
 * later version adds are let pass; lengths, ranges and enumerators are checked.
 */
#include "proto/hello.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "proto/unpack.h"

static_assert(LZ_HELLO_BOTH == (int)LZ__CONTROL__STREAM__BOTH &&
		      LZ_HELLO_DEMAND == (int)LZ__CONTROL__STREAM__DEMAND &&
		      LZ_HELLO_BULK == (int)LZ__CONTROL__STREAM__BULK,
	      "streams are numbered as in control.proto");

static size_t put(const ProtobufCMessage *m, uint8_t out[LZ_HELLO_MAX])
{
	size_t len = protobuf_c_message_get_packed_size(m);

	assert(len <= LZ_HELLO_MAX - LZ_HELLO_LENGTH);
	for (int i = 0; i < LZ_HELLO_LENGTH; i++)
		out[i] = (uint8_t)(len >> 8 * i);
	return LZ_HELLO_LENGTH + protobuf_c_message_pack(m, out + LZ_HELLO_LENGTH);
}

/* What a peer wrote goes onto terminals, and into fields of logs, which it is not to end. */
static void take_text(char to[LZ_HELLO_TEXT_MAX], const char *text)
{
	size_t n = 0;

	for (; text && text[n] && n < LZ_HELLO_TEXT_MAX - 1; n++)
		to[n] = text[n] == '"' ? '\'' : text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
	to[n] = '\0';
}

size_t lz_hello_put(const struct lz_hello *h, uint8_t out[LZ_HELLO_MAX])
{
	struct lz_hello copy = *h;
	Lz__Control__Hello m = LZ__CONTROL__HELLO__INIT;

	m.version = copy.version;
	m.page_size = copy.page_size;
	m.identity = (ProtobufCBinaryData){ LZ_IDENTITY_LEN, copy.identity };
	m.session = copy.session;
	m.stream = (Lz__Control__Stream)copy.stream;
	copy.software[LZ_HELLO_TEXT_MAX - 1] = '\0';
	m.software = copy.software;
	return put(&m.base, out);
}

size_t lz_hello_put_welcome(const struct lz_welcome *w, uint8_t out[LZ_HELLO_MAX])
{
	struct lz_welcome copy = *w;
	Lz__Control__Welcome m = LZ__CONTROL__WELCOME__INIT;

	m.version = copy.version;
	m.page_size = copy.page_size;
	m.has_max_request_pages = !copy.refusal[0];
	m.max_request_pages = copy.max_request_pages;
	copy.refusal[LZ_HELLO_TEXT_MAX - 1] = '\0';
	m.refusal = copy.refusal[0] ? copy.refusal : NULL;
	copy.software[LZ_HELLO_TEXT_MAX - 1] = '\0';
	m.software = copy.software;
	return put(&m.base, out);
}

int64_t lz_hello_frame(const uint8_t *in, size_t len)
{
	uint64_t size = 0;

	if (len < LZ_HELLO_LENGTH)
		return 0;
	for (int i = 0; i < LZ_HELLO_LENGTH; i++)
		size |= (uint64_t)in[i] << 8 * i;
	if (!size || size > LZ_HELLO_MAX - LZ_HELLO_LENGTH)
		return -EBADMSG;
	return (int64_t)size + LZ_HELLO_LENGTH;
}

int lz_hello_get(const uint8_t *in, size_t len, struct lz_hello *h)
{
	int err;
	Lz__Control__Hello *m = lz_unpack(&lz__control__hello__descriptor, in, len, &err);
	bool is_good = m && m->identity.len == LZ_IDENTITY_LEN && (int)m->stream >= LZ_HELLO_BOTH &&
		       (int)m->stream <= LZ_HELLO_BULK;

	if (is_good) {
		*h = (struct lz_hello){
			.version = m->version,
			.page_size = m->page_size,
			.session = m->session,
			.stream = (enum lz_hello_stream)m->stream,
		};
		memcpy(h->identity, m->identity.data, LZ_IDENTITY_LEN);
		take_text(h->software, m->software);
	}
	lz__control__hello__free_unpacked(m, NULL);
	return is_good ? 0 : err ? err : -EBADMSG;
}

int lz_hello_get_welcome(const uint8_t *in, size_t len, struct lz_welcome *w)
{
	int err;
	Lz__Control__Welcome *m = lz_unpack(&lz__control__welcome__descriptor, in, len, &err);
	/* A refusal without words would look like a welcome. */
	bool is_good = m && (m->refusal ? m->refusal[0] != '\0' : m->has_max_request_pages);

	if (is_good) {
		*w = (struct lz_welcome){
			.version = m->version,
			.page_size = m->page_size,
			.max_request_pages = m->max_request_pages,
		};
		take_text(w->refusal, m->refusal);
		take_text(w->software, m->software);
	}
	lz__control__welcome__free_unpacked(m, NULL);
	return is_good ? 0 : err ? err : -EBADMSG;
}
