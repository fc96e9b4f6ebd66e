/* SPDX-License-Identifier: MIT */
/* The public functions of TLS: from options that may be an older caller's to iouring/tls.h. */
#include <errno.h>
#include <string.h>

#include "iouring/tls.h"
#include "uffd/lazyd.h"
#include "uffd/sized.h"

_Static_assert((int)LZ_TLS_WHY_MAX <= (int)LAZYD_WHY_MAX, "a reason fits");

int lazyd_tls_new(struct lazyd_tls **out, const struct lazyd_tls_options *options,
		  struct lazyd_why *why)
{
	struct lazyd_tls_options o = { 0 };
	struct lz_tls *t = NULL;
	char text[LZ_TLS_WHY_MAX];
	int r;

	if (!out || !options || !lz_sized_take(&o, sizeof(o), options, options->size))
		return lz_sized_refuse(why ? why->text : NULL);
	r = lz_tls_new(&t,
		       &(struct lz_tls_options){ .cacert = o.cacert,
						 .cacrl = o.cacrl,
						 .cert = o.cert,
						 .key = o.key,
						 .name = o.name },
		       text);
	if (why)
		(void)strcpy(why->text, text);
	if (!r)
		*out = (struct lazyd_tls *)t;
	return r;
}

void lazyd_tls_free(struct lazyd_tls *t)
{
	lz_tls_free((struct lz_tls *)t);
}
