/* SPDX-License-Identifier: MIT */
/*
 * `lazyd workingset`: looks at what `lazyd fill --record` has written, draws it, and makes one of
 * several. Reads and writes those files and nothing else; the images are not looked at.
 */
#include "tool/workingset.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool/out.h"
#include "tool/replace.h"
#include "tool/tool.h"

struct words {
	const char *output; /* NULL: standard output */
	bool json;
	char **file;
	int nr_files;
};

static int usage(const char *what)
{
	lz_out_error("%s; lazyd --help shows what workingset takes", what);
	return LZ_EXIT_USAGE;
}

static int complain(const char *name, const char *what)
{
	lz_out_error("%s %s", name, what);
	return LZ_EXIT_FAILED;
}

static int cannot(const char *name, int error)
{
	lz_out_error("%s: %s", name, strerror(error));
	return LZ_EXIT_FAILED;
}

static int read_file(const char *name, struct lazyd_workingset **out)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC), r;
	struct lazyd_why why = { "" };

	if (fd < 0)
		return cannot(name, errno);
	r = lazyd_workingset_read(out, fd, &why);
	(void)close(fd);
	if (r && why.text[0])
		return complain(name, why.text);
	return r ? cannot(name, -r) : LZ_EXIT_OK;
}

/* ---- inspect ---- */

/* What a set has of one task. */
struct share {
	uint32_t task;
	uint64_t pages, runs, lowest, end;
};

struct inspection {
	const char *name;
	char identity[2 * LAZYD_IDENTITY_LEN + 1];
	unsigned flags;
	struct share *share, total;
	size_t nr_shares;
};

static void add_up(struct share *s, const struct lazyd_touch *t)
{
	s->lowest = s->runs && s->lowest < t->start ? s->lowest : t->start;
	s->end = s->end > t->start + t->len ? s->end : t->start + t->len;
	s->pages += t->len >> 12;
	s->runs++;
}

/* Tasks in the order of their first touch. */
static int look_at(struct inspection *in, const struct lazyd_workingset *w)
{
	const uint8_t *identity = lazyd_workingset_identity(w);
	struct lazyd_touch t;

	for (size_t i = 0; i < LAZYD_IDENTITY_LEN; i++)
		(void)snprintf(in->identity + 2 * i, 3, "%02x", identity[i]);
	in->flags = lazyd_workingset_flags(w);
	for (size_t n = 0; !lazyd_workingset_touch(w, n, &t); n++) {
		size_t i = 0;

		while (i < in->nr_shares && in->share[i].task != t.owner)
			i++;
		if (i == in->nr_shares) {
			struct share *all = reallocarray(in->share, i + 1, sizeof(*all));

			if (!all)
				return -ENOMEM;
			in->share = all;
			all[in->nr_shares++] = (struct share){ .task = t.owner };
		}
		add_up(&in->share[i], &t);
		add_up(&in->total, &t);
	}
	return 0;
}

static void print_row(const char *task, const struct share *s)
{
	printf("%8s %10" PRIu64 " %10s %8" PRIu64 " %#18" PRIx64 " %#18" PRIx64 "\n", task,
	       s->pages, lz_out_size(lz_out_pages(s->pages)).s, s->runs, s->lowest, s->end);
}

static void print_text(const struct inspection *in)
{
	char task[16];

	printf("%8s %10s %10s %8s %18s %18s\n", "task", "pages", "", "runs", "from", "to");
	for (size_t i = 0; i < in->nr_shares; i++) {
		(void)snprintf(task, sizeof(task), "%" PRIu32, in->share[i].task);
		print_row(task, &in->share[i]);
	}
	print_row("all", &in->total);
	printf("images   %s\n", in->identity);
	if (in->flags & LAZYD_WORKINGSET_SWEPT)
		printf("swept    pages came meanwhile by other ways too: "
		       "whoever touched them later is not in it\n");
	if (in->flags & LAZYD_WORKINGSET_CUT)
		printf("cut      the time or the room for it came to an end\n");
}

static json_t *share_json(const struct share *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "pages", (json_int_t)s->pages, "bytes",
			 (json_int_t)lz_out_pages(s->pages), "runs", (json_int_t)s->runs, "from",
			 (json_int_t)s->lowest, "to", (json_int_t)s->end);
}

static int print_json(const struct inspection *in)
{
	json_t *tasks = json_array();
	int r = 0;

	for (size_t i = 0; i < in->nr_shares; i++) {
		json_t *json = share_json(&in->share[i]);

		r |= json_object_set_new(json, "pid", json_integer(in->share[i].task));
		r |= json_array_append_new(tasks, json);
	}
	return r ? -ENOMEM
		 : lz_out_print(json_pack("{s:s, s:s, s:b, s:b, s:o, s:o}", "file", in->name,
					  "identity", in->identity, "swept",
					  in->flags & LAZYD_WORKINGSET_SWEPT ? 1 : 0, "cut",
					  in->flags & LAZYD_WORKINGSET_CUT ? 1 : 0, "tasks", tasks,
					  "total", share_json(&in->total)));
}

static int inspect(const struct words *words)
{
	struct inspection in = { .name = words->file[0] };
	struct lazyd_workingset *w = NULL;
	int r;

	if (words->nr_files != 1 || words->output)
		return usage("inspect takes one file, and perhaps --json");
	if (read_file(in.name, &w))
		return LZ_EXIT_FAILED;
	r = look_at(&in, w);
	if (!r && words->json)
		r = print_json(&in);
	else if (!r)
		print_text(&in);
	lazyd_workingset_free(w);
	free(in.share);
	return r ? cannot(in.name, -r) : LZ_EXIT_OK;
}

/* ---- svg, merge: to a file that is there whole or as it was before ---- */

static int open_output(struct lz_replace *to, const char *name)
{
	int r = lz_replace_open(to, name, -1);

	if (!r)
		r = lz_replace_begin(to) > 0 ? 0 : -EIO;
	if (!r)
		return LZ_EXIT_OK;
	if (r == -EINVAL)
		return complain(name, "is there and is no file");
	if (r == -EBUSY)
		return complain(name, "is being written to by another lazyd");
	return cannot(name, -r);
}

static int draw_to(const struct lazyd_workingset *w, const struct words *words)
{
	struct lz_replace to = { .fd = -1 };
	FILE *f;
	int r;

	if (open_output(&to, words->output))
		return LZ_EXIT_FAILED;
	f = fdopen(dup(to.fd), "w");
	r = f ? lz_workingset_draw(w, words->file[0], f) : -errno;
	if (f && fclose(f) && !r)
		r = -errno;
	if (!r)
		r = lz_replace_end(&to);
	lz_replace_close(&to);
	return r ? cannot(words->output, -r) : LZ_EXIT_OK;
}

static int svg(const struct words *words)
{
	struct lazyd_workingset *w = NULL;
	int r;

	if (words->nr_files != 1 || words->json)
		return usage("svg takes one file, and perhaps -o");
	if (read_file(words->file[0], &w))
		return LZ_EXIT_FAILED;
	if (words->output) {
		r = draw_to(w, words);
	} else {
		r = lz_workingset_draw(w, words->file[0], stdout);
		/* What cannot be written is looked at in main.c. */
		r = r && !ferror(stdout) ? cannot("standard output", -r) : LZ_EXIT_OK;
	}
	lazyd_workingset_free(w);
	return r;
}

/* A run of each by turns: what all of them touch early comes early. */
static int merge_into(struct lazyd_workingset *to, struct lazyd_workingset **from, int nr)
{
	struct lazyd_touch t;
	bool more = true;
	int r = 0;

	for (int i = 0; i < nr; i++)
		lazyd_workingset_mark(to, lazyd_workingset_flags(from[i]));
	for (size_t n = 0; more && !r; n++) {
		more = false;
		for (int i = 0; i < nr && !r; i++) {
			if (lazyd_workingset_touch(from[i], n, &t))
				continue;
			more = true;
			r = lazyd_workingset_add(to, &t);
		}
	}
	return r == -ENOSPC ? 0 : r; /* it says that it was cut */
}

static int merge_to(struct lazyd_workingset **from, const struct words *words)
{
	const uint8_t *identity = lazyd_workingset_identity(from[0]);
	struct lz_replace to = { .fd = -1 };
	struct lazyd_workingset *w = NULL;
	int r;

	for (int i = 1; i < words->nr_files; i++)
		if (memcmp(lazyd_workingset_identity(from[i]), identity, LAZYD_IDENTITY_LEN) != 0) {
			lz_out_error("%s is of other images than %s", words->file[i],
				     words->file[0]);
			return LZ_EXIT_FAILED;
		}
	if (open_output(&to, words->output))
		return LZ_EXIT_FAILED;
	r = lazyd_workingset_new(&w, identity);
	if (!r)
		r = merge_into(w, from, words->nr_files);
	if (!r)
		r = lazyd_workingset_write(w, to.fd);
	if (!r)
		r = lz_replace_end(&to);
	lazyd_workingset_free(w);
	lz_replace_close(&to);
	return r ? cannot(words->output, -r) : LZ_EXIT_OK;
}

static int merge(const struct words *words)
{
	struct lazyd_workingset **from;
	int r = LZ_EXIT_OK;

	if (words->nr_files < 1 || !words->output || words->json)
		return usage("merge takes files, and -o with the name of another");
	from = calloc((size_t)words->nr_files, sizeof(struct lazyd_workingset *));
	if (!from)
		return cannot(words->output, ENOMEM);
	for (int i = 0; i < words->nr_files && !r; i++)
		r = read_file(words->file[i], &from[i]);
	if (!r)
		r = merge_to(from, words);
	for (int i = 0; i < words->nr_files; i++)
		lazyd_workingset_free(from[i]);
	free(from);
	return r;
}

int lz_tool_workingset(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	static const struct {
		const char *name;
		int (*run)(const struct words *words);
	} verbs[] = { { "inspect", inspect }, { "svg", svg }, { "merge", merge } };
	struct words words = { 0 };
	int c;

	while ((c = lz_out_option(argc, argv, "o:", options)) != -1) {
		if (c == 'o')
			words.output = optarg;
		else if (c == 'j')
			words.json = true;
		else
			return LZ_EXIT_USAGE;
	}
	if (optind >= argc)
		return usage("inspect, svg or merge");
	words.file = argv + optind + 1;
	words.nr_files = argc - optind - 1;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[optind], verbs[i].name) == 0)
			return verbs[i].run(&words);
	return usage("inspect, svg or merge");
}
