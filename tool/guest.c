/* SPDX-License-Identifier: MIT */
/* `lazyd fill --firecracker`: its part of the command line,
 * and the memory that all VMs have in common. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool/session.h"
#include "tool/tool.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };
enum { SMALL, HUGE, NR_SIZES };
static const uint64_t SIZES[NR_SIZES] = { PAGE, HUGE_PAGE };
/*
 * How large a memory elsewhere is says the first VM. It is taken for one that ends at the next
 * power of two, from 2 MiB to 1 TiB: all of these are made at once, in pages of either size, so
 * that keeper and workers know them by number. What a VM has none of costs it a bit a page.
 */
enum { REMOTE_SHIFT_MIN = 21, REMOTE_SHIFT_MAX = 40 };
enum { NR_REMOTE = REMOTE_SHIFT_MAX - REMOTE_SHIFT_MIN + 1 };

/* ---- the command line ---- */

/* "1000" or "100000-165535". */
static int take_users(struct lz_fill_options *o)
{
	static const char DIGITS[] = "0123456789";
	size_t len = strspn(optarg, DIGITS);
	const char *second = optarg[len] == '-' ? optarg + len + 1 : optarg;
	unsigned long from, upto;

	if (o->vm.uid_from <= o->vm.uid_upto)
		return lz_service_usage(&o->service,
					"--allow-user is given once, and not again for", optarg);
	errno = 0;
	from = strtoul(optarg, NULL, 10);
	upto = strtoul(second, NULL, 10);
	if (errno || !len || !*second || second[strspn(second, DIGITS)] || from > upto ||
	    upto >= UINT32_MAX)
		return lz_service_usage(&o->service,
					"--allow-user takes a uid or two with a - between, not",
					optarg);
	o->vm.uid_from = (uint32_t)from;
	o->vm.uid_upto = (uint32_t)upto;
	return -1;
}

int lz_guest_option(struct lz_fill_options *o, int c)
{
	struct lz_vm_options *vm = &o->vm;

	switch (c) {
	case LZ_GUEST_FIRECRACKER:
		vm->socket = optarg;
		return -1;
	case LZ_GUEST_ALLOW_USER:
		return take_users(o);
	case LZ_GUEST_MAX_VMS:
		return lz_service_take_number(&o->service, 1, LZ_GUESTS_MAX,
					      "--max-vms takes a number from 1 to 1024, not",
					      &vm->max);
	default:
		vm->detach = true;
		return -1;
	}
}

/* Where their memory is: in files here, or with a page server that has those. */
static int check_memory(const struct lz_fill_options *o)
{
	const struct lz_snapshot_files *vm = &o->service.vm;
	const char *stray = vm->memory      ? "--memory"
			    : vm->nr_layers ? "--layer"
			    : o->ps_header  ? "--ps-header"
					    : NULL;

	if (o->page_server && stray)
		return lz_service_usage(&o->service, "VMs whose memory a `lazyd serve` has take no",
					stray);
	if (o->page_server && !vm->state)
		return lz_service_usage(
			&o->service, "which --snapshot, a file of state, do VMs load that come to",
			o->vm.socket);
	if (o->page_server)
		return -1;
	if (!vm->memory)
		return lz_service_usage(&o->service, "which --memory have the VMs that come to",
					o->vm.socket);
	if (vm->state)
		return lz_service_usage(&o->service, "without --page-server there is no",
					"--snapshot");
	return -1;
}

int lz_guest_check_options(const struct lz_fill_options *o)
{
	const struct lz_vm_options *vm = &o->vm;
	const struct lz_snapshot_files *files = &o->service.vm;
	const char *stray = files->memory                  ? "--memory"
			    : files->nr_layers             ? "--layer"
			    : files->state                 ? "--snapshot"
			    : vm->detach                   ? "--detach-when-full"
			    : vm->max                      ? "--max-vms"
			    : vm->uid_from <= vm->uid_upto ? "--allow-user"
							   : NULL;

	if (!vm->socket)
		return stray ? lz_service_usage(&o->service, "without --firecracker there is no",
						stray)
			     : -1;
	return check_memory(o);
}

/* ---- their memory ---- */

static bool is_others(const struct lz_snapshot *s)
{
	struct stat st;

	for (unsigned n = 0; n < s->nr; n++)
		if (fstat(s->fd[n], &st) || st.st_uid != geteuid())
			return true;
	return false;
}

static int open_files(struct lz_fill *f, struct lazyd_why *why)
{
	const struct lz_snapshot_files *files = &f->o.service.vm;
	int r;

	if (f->o.page_server) {
		r = lz_snapshot_identity(files->state, f->identity, why);
		memcpy(&f->snapshot.fingerprint, f->identity, sizeof(f->snapshot.fingerprint));
		return r;
	}
	r = lz_snapshot_open(&f->snapshot, files, why);
	f->others_images = is_others(&f->snapshot);
	return r;
}

int lz_guest_open_files(struct lz_fill *f)
{
	const struct lz_vm_options *vm = &f->o.vm;
	struct lazyd_why why = { { 0 } };
	char address[sizeof("unix:") + 128];

	if (!vm->socket)
		return LZ_EXIT_OK;
	if (snprintf(address, sizeof(address), "unix:%s", vm->socket) >= (int)sizeof(address))
		return lz_service_usage(&f->o.service, "too long for a unix socket is", vm->socket);
	if (lz_addr_parse(&f->vm_addr, address, NULL))
		return LZ_EXIT_USAGE;
	if (open_files(f, &why))
		return lz_service_refuse(&f->o.service, why.text);
	return LZ_EXIT_OK;
}

/* In pages of both sizes, where that can be: how large a VM's are it says itself. */
static int make_local(struct lz_fill *f)
{
	struct lazyd_why why = { { 0 } };

	for (unsigned i = 0; i < NR_SIZES; i++) {
		int r = lz_snapshot_memory(&f->snapshot, SIZES[i], &f->memory[i], &why);

		if (r && i == SMALL)
			return lz_service_refuse(&f->o.service, why.text);
		if (r)
			break;
		f->nr_memories++;
	}
	return LZ_EXIT_OK;
}

static int make_remote(struct lz_fill *f)
{
	int r = lz_peer_prepare(f);

	if (r)
		return r;
	for (unsigned i = 0; !r && i < NR_REMOTE * NR_SIZES; i++) {
		r = lz_snapshot_elsewhere(UINT64_C(1) << (REMOTE_SHIFT_MIN + i / NR_SIZES),
					  SIZES[i % NR_SIZES], &f->memory[i]);
		f->nr_memories += !r;
	}
	return r ? lz_service_refuse(&f->o.service, strerror(-r)) : LZ_EXIT_OK;
}

int lz_guest_read_files(struct lz_fill *f, uint64_t *max_pages)
{
	int r;

	f->memory = calloc(NR_REMOTE * NR_SIZES, sizeof(struct lazyd_memory *));
	if (!f->memory)
		return lz_service_refuse(&f->o.service, strerror(ENOMEM));
	r = f->o.page_server ? make_remote(f) : make_local(f);
	for (int i = 0; i < f->nr_memories; i++)
		if (lazyd_memory_pages(f->memory[i]) > *max_pages)
			*max_pages = lazyd_memory_pages(f->memory[i]);
	return r;
}

const char *lz_guest_memory(const struct lz_fill *f, const struct lz_regions *r, int *memory)
{
	int size = r->page_size == SIZES[HUGE] ? HUGE : SMALL, i = 0;

	if (f->o.page_server)
		while (i < NR_REMOTE && r->end > UINT64_C(1) << (REMOTE_SHIFT_MIN + i))
			i++;
	*memory = i * NR_SIZES + size;
	if (*memory < f->nr_memories)
		return NULL;
	return f->o.page_server ? "its memory ends behind 1 TiB"
				: "this memory cannot be served in pages of 2 MiB";
}
