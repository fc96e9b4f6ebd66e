/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the asker share: a server's answers, which the test writes into one stream, and
 * what an asker hears of them, as text, wherever they are cut. The fixture is global; each test
 * begins with a fresh one.
 */
#ifndef ASKER_SERVER_H
#define ASKER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/asker.h"

enum { TEXT = 8192, STREAM = 1 << 17, PID = 1000 };

extern struct lz_asker_options options;
extern struct lz_asker a;

/* What the server says. */
extern uint8_t stream[STREAM];
extern size_t len;

/* CLOSE is said once all has come. */
extern bool closes;

void setup(void);
/* Hello goes along with the probe: its answer may come along with that to the probe. */
void known(void);

/* What is asked when it is open. */
void ask(uint16_t tag, size_t nr, struct lz_ps_range one, struct lz_ps_range two);
void ask_one(uint16_t tag, uint64_t vaddr, uint64_t nr_pages);

/* Four bytes. */
void answer(const char *bytes);
void answer_welcome(struct lz_welcome w);
void answer_lazyd(void);
/* A reply, with the bytes of the pages if it says that there are any. */
void reply(enum lz_ps_layout layout, uint32_t flags, uint64_t nr_pages, uint64_t vaddr,
	   uint64_t dst_id);
void reply_lazyd(uint32_t flags, uint64_t nr_pages, uint64_t first, uint64_t tag);

/* Takes stream[] in pieces of at most @cut bytes, of random length if it is 0. */
void hear(char *text, size_t cut);
/* What is heard is @expected, wherever it is cut. */
void hears(const char *expected);

#endif
