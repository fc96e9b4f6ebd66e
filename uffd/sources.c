/* SPDX-License-Identifier: MIT */
/* The sources of sources.h, and the embedder's callback behind one of them. */
#include "uffd/sources.h"

#include <errno.h>

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
	case LZ_FROM_REMOTE:
		break;
	}
	return -EINVAL;
}
