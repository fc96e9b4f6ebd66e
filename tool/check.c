/* SPDX-License-Identifier: MIT */
/*
 * `lazyd check`: prints what the probes have found, and whether `lazyd fill` can work here; with
 * --criu, whether the CRIU and the runc that are here can do lazy pages.
 */
#include "tool/tool.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tool/out.h"
#include "tool/probe.h"

static const char *const states[] = {
	[LZ_PROBE_OK] = "ok",
	[LZ_PROBE_LIMITED] = "limited",
	[LZ_PROBE_NO] = "no",
	[LZ_PROBE_ABSENT] = "absent",
};

static const char FILL[] = "lazyd fill";

/* What a finding is about: the name of a program. */
static const char *whose(const struct lz_finding *n)
{
	if (strcmp(n->section, LZ_PROBE_CRIU) == 0 || strcmp(n->section, LZ_PROBE_RUNC) == 0)
		return n->section;
	return FILL;
}

/* LZ_PROBE_NO if anything that @program cannot do without is missing; ABSENT: it is not here. */
static enum lz_probe_state verdict(const struct lz_findings *f, const char *program)
{
	enum lz_probe_state state = LZ_PROBE_ABSENT;

	for (size_t i = 0; i < f->nr; i++) {
		const struct lz_finding *n = &f->at[i];

		if (strcmp(whose(n), program) != 0)
			continue;
		if (n->state == LZ_PROBE_NO)
			return LZ_PROBE_NO;
		if (n->state != LZ_PROBE_ABSENT)
			state = LZ_PROBE_OK;
	}
	return state;
}

static void print_verdict(const struct lz_findings *f, const char *program, const char *what)
{
	enum lz_probe_state state = verdict(f, program);

	if (state != LZ_PROBE_ABSENT)
		printf("%s %s %s here.\n", program, state == LZ_PROBE_NO ? "CANNOT" : "can", what);
}

/* true, false, or null where it is not here */
static json_t *json_verdict(const struct lz_findings *f, const char *program)
{
	enum lz_probe_state state = verdict(f, program);

	return state == LZ_PROBE_ABSENT ? json_null() : json_boolean(state == LZ_PROBE_OK);
}

static void print_text(const struct lz_findings *f)
{
	const char *section = "";

	for (size_t i = 0; i < f->nr; i++) {
		const struct lz_finding *n = &f->at[i];

		if (strcmp(section, n->section) != 0)
			printf("%s%s\n", i ? "\n" : "", n->section);
		section = n->section;
		printf("  %-8s %s%s%s\n", states[n->state], n->name, n->value[0] ? ": " : "",
		       n->value);
		if (n->cause[0])
			printf("           %s: %s\n", n->cause, n->remedy);
	}
	putchar('\n');
	print_verdict(f, FILL, "work");
	print_verdict(f, LZ_PROBE_CRIU, "do lazy pages");
	print_verdict(f, LZ_PROBE_RUNC, "do lazy pages");
}

static int print_json(const struct lz_findings *f)
{
	json_t *list = json_array();
	int r = 0;

	for (size_t i = 0; i < f->nr; i++) {
		const struct lz_finding *n = &f->at[i];

		r |= json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "section", n->section,
					"name", n->name, "state", states[n->state], "value",
					n->value, "cause", n->cause, "remedy", n->remedy));
	}
	return lz_out_print(r ? NULL
			      : json_pack("{s:o, s:o, s:o, s:o}", "can_fill", json_verdict(f, FILL),
					  "can_criu", json_verdict(f, LZ_PROBE_CRIU), "can_runc",
					  json_verdict(f, LZ_PROBE_RUNC), "findings", list));
}

int lz_tool_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "criu", no_argument, NULL, 'c' },
		{ "criu-path", required_argument, NULL, 'C' },
		{ "runc-path", required_argument, NULL, 'R' },
		{ NULL, 0, NULL, 0 },
	};
	static struct lz_findings found;
	const char *criu_path = NULL, *runc_path = NULL;
	bool json = false, criu = false, fine;
	int c;

	while ((c = lz_out_option(argc, argv, "", options)) != -1) {
		if (c == '?')
			return LZ_EXIT_USAGE;
		json = json || c == 'j';
		criu = criu || c != 'j';
		criu_path = c == 'C' ? optarg : criu_path;
		runc_path = c == 'R' ? optarg : runc_path;
	}
	if (optind < argc) {
		lz_out_error("check takes no '%s'; lazyd --help shows what it takes", argv[optind]);
		return LZ_EXIT_USAGE;
	}
	lz_probe_kernel(&found);
	lz_probe_uffd(&found);
	lz_probe_ring(&found);
	lz_probe_caps(&found);
	lz_probe_confinement(&found);
	lz_probe_limits(&found);
	lz_probe_processes(&found);
	if (criu) {
		lz_probe_criu(&found, criu_path);
		lz_probe_runc(&found, runc_path, criu_path);
	}
	if (!json)
		print_text(&found);
	else if (print_json(&found))
		return LZ_EXIT_FAILED;
	fine = verdict(&found, FILL) != LZ_PROBE_NO &&
	       verdict(&found, LZ_PROBE_CRIU) != LZ_PROBE_NO &&
	       verdict(&found, LZ_PROBE_RUNC) != LZ_PROBE_NO;
	return fine ? LZ_EXIT_OK : LZ_EXIT_FAILED;
}
