/* SPDX-License-Identifier: MIT */
/* The sources of sources.h, and the embedder's callback behind one of them. */
#include "uffd/sources.h"

#include <errno.h>
#include <string.h>

#include "uffd/lazyd.h"

static int64_t ask(void *arg, const struct lz_ask *a)
{
	const struct lz_memory_call *call = arg;
	const struct lazyd_ask public = { .token = a->token,
					  .start = a->start,
					  .len = a->len,
					  .to = a->to,
					  .urgent = a->urgent };

	return call->ask(call->arg, &public);
}

static int open_call(const struct lz_memory_call *call, bool may_wait, struct lz_source **out)
{
	struct lz_call_options o = { .ask = ask,
				     .arg = (void *)(uintptr_t)call,
				     .in_place = call->in_place,
				     .may_wait = may_wait };

	return lz_call_open(out, &o);
}

int lz_sources_open(const struct lz_memory_source *from, bool may_wait, struct lz_source **out)
{
	struct lz_file_look as = { from->mtime_ns, from->blocks };

	switch (from->kind) {
	case LZ_FROM_FILE:
		return lz_file_open(out, from->fd, from->size, &as);
	case LZ_FROM_PLACE:
		return lz_place_open(out);
	case LZ_FROM_PROCESS:
		return lz_file_open(out, from->fd, from->size, NULL);
	case LZ_FROM_CALL:
		return open_call(&from->call, may_wait, out);
	case LZ_FROM_PARTS:
		return lz_parts_open(from->memory, out);
	case LZ_FROM_REMOTE:
		break;
	}
	return -EINVAL;
}

static bool read_zeros(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	(void)s;
	(void)offset;
	memset(to, 0, len);
	return true;
}

struct lz_source *lz_sources_zeros(void)
{
	static const struct lz_source_ops ops = { .read_now = read_zeros };
	static struct lz_source zeros = { .ops = &ops };

	return &zeros;
}
