/* SPDX-License-Identifier: MIT */
/* Each of the things of served.h behind a server, with the identity that clients must name. */
#include "tool/served.h"

#include <string.h>

#include "tool/live.h"
#include "tool/tool.h"

int lz_served_check_options(const struct lz_served *v, const struct lz_service *s)
{
	const struct lz_snapshot_files *vm = &s->vm;
	const char *stray = vm->nr_layers ? "--layer" : vm->state ? "--snapshot" : NULL;

	if ((v->tree || v->stop) && !v->pid)
		return lz_service_usage(s, "without --pid there is no process for",
					v->tree ? "--tree" : "--stop");
	if (!vm->memory)
		return stray ? lz_service_usage(s, "without --memory there is no", stray) : -1;
	if (v->pid || v->images)
		return lz_service_usage(s, "a server of --memory has nothing else: no",
					v->pid ? "--pid" : "--images-dir");
	if (!vm->state)
		return lz_service_usage(s, "which --snapshot, the file of the VM's state, has",
					vm->memory);
	return -1;
}

int lz_served_open_files(struct lz_served *v, const struct lz_service *s)
{
	struct lazyd_why why = { { 0 } };
	int r;

	if (!s->vm.memory)
		return LZ_EXIT_OK;
	r = lz_snapshot_open(&v->snapshot, &s->vm, &why);
	if (!r)
		r = lz_snapshot_identity(s->vm.state, v->identity, &why);
	return r ? lz_service_refuse(s, why.text) : LZ_EXIT_OK;
}

/* What they have goes to the images, which the other end must have too:
 * it asks under their identity. */
static int look_at_processes(struct lz_served *v, const struct lz_service *s, int images_fd,
			     struct lz_live *live, struct lazyd_why *why)
{
	struct lazyd_images *images;
	int r = lz_live_look(live, v->pid, v->tree, v->stop, why);

	if (!r)
		r = lz_live_write(live, images_fd, why);
	if (r)
		return r;
	lz_log_say(&s->log, LAZYD_LOG_INFO, "event=live processes=%zu bytes=%llu", live->nr,
		   (unsigned long long)live->bytes);
	if (live->nr_shared)
		lz_log_say(&s->log, LAZYD_LOG_WARN,
			   "event=shared-left-out areas=%llu shared memory is not a process's own",
			   (unsigned long long)live->nr_shared);
	r = lazyd_images_open(&images, images_fd, why);
	if (r)
		return r;
	r = lazyd_images_identity(images, v->identity, why);
	lazyd_images_close(images);
	return r;
}

static int serve_images(int images_fd, const struct lazyd_server_options *o,
			struct lazyd_server **out, struct lazyd_why *why)
{
	struct lazyd_images *images;
	int r = lazyd_images_open(&images, images_fd, why);

	if (r)
		return r;
	r = lazyd_server_new(out, images, o, why);
	lazyd_images_close(images);
	return r;
}

int lz_served_open(struct lz_served *v, const struct lz_service *s, int images_fd,
		   struct lazyd_server_options *options, struct lazyd_server **out)
{
	struct lazyd_why why = { { 0 } };
	struct lz_live live = { 0 };
	int r;

	if (s->vm.memory || v->pid) {
		options->identity = v->identity;
		r = v->pid ? look_at_processes(v, s, images_fd, &live, &why) : 0;
		if (!r)
			r = lazyd_server_new(out, NULL, options, &why);
		if (!r && s->vm.memory)
			r = lz_snapshot_serve(&v->snapshot, *out, &why);
		else if (!r)
			r = lz_live_serve(&live, *out, &why);
	} else {
		r = serve_images(images_fd, options, out, &why);
	}
	lz_live_free(&live);
	if (r && !s->vm.memory && !v->pid)
		return lz_service_refuse_images(s, &why);
	return r ? lz_service_refuse(s, why.text) : LZ_EXIT_OK;
}

void lz_served_close(struct lz_served *v)
{
	lz_snapshot_close(&v->snapshot);
}
