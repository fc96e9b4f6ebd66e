/* SPDX-License-Identifier: MIT */
/* The messages of msg.h. */
#include "uffd/msg.h"

#include <errno.h>

int lz_msg_decode(const struct uffd_msg *m, struct lz_event *ev, int *ufd)
{
	uint64_t len;

	*ufd = -1;
	ev->to = 0;
	ev->minor = false;
	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		ev->type = LZ_EV_FAULT;
		ev->minor = m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR;
		ev->range = (struct lz_range){ m->arg.pagefault.address, m->arg.pagefault.address };
		return 0;
	case UFFD_EVENT_FORK:
		ev->type = LZ_EV_FORK;
		*ufd = (int)m->arg.fork.ufd;
		return *ufd < 0 ? -EBADMSG : 0;
	case UFFD_EVENT_REMAP:
		ev->type = LZ_EV_REMAP;
		len = m->arg.remap.len;
		ev->range = (struct lz_range){ m->arg.remap.from, m->arg.remap.from + len };
		ev->to = m->arg.remap.to;
		if (ev->to + len < ev->to)
			return -EBADMSG;
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		ev->type = m->event == UFFD_EVENT_REMOVE ? LZ_EV_REMOVE : LZ_EV_UNMAP;
		ev->range = (struct lz_range){ m->arg.remove.start, m->arg.remove.end };
		break;
	default:
		return -EBADMSG;
	}
	/* Every layout change is one of whole pages, and of 4 KiB at least. */
	if ((ev->range.start | ev->range.end | ev->to) & 4095)
		return -EBADMSG;
	return ev->range.start < ev->range.end ? 0 : -EBADMSG;
}
