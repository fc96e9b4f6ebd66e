/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the giver share: what a client says, which the test writes into one stream, and
 * what a giver hears of it, as text, wherever it is cut. The fixture is global; each test begins
 * with a fresh one.
 */
#ifndef GIVER_CLIENT_H
#define GIVER_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/giver.h"

enum { TEXT = 8192, STREAM = 1 << 16, MAX_PAGES = 600 };

extern struct lz_giver g;

/* What the client says. */
extern uint8_t stream[STREAM];
extern size_t len;

void setup(void);
void say(enum lz_ps_layout layout, uint32_t cmd, uint32_t flags, uint64_t nr_pages, uint64_t vaddr,
	 uint64_t dst_id);
void say_range(uint64_t vaddr, uint64_t nr_pages);
void say_probe(enum lz_ps_layout layout);
/* One that the giver likes. */
struct lz_hello hello(void);
void say_hello(const struct lz_hello *h);
/* The probe and that hello. */
void say_lazyd(void);

/* Takes stream[] in pieces of at most @cut bytes, of random length if it is 0. */
void hear(char *text, size_t cut);
/* What is heard is @expected, wherever it is cut. */
void hears(const char *expected);

#endif
