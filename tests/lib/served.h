/* SPDX-License-Identifier: MIT */
/*
 * A page server and its clients in one thread: who waits for an answer lets the server take turns
 * meanwhile, so that nothing here sleeps and a test that hangs fails after PATIENCE_NS. It looks
 * again after each turn: what the server has closed may end a moment later, where another process
 * looks at /proc/PID/fd just then, and no turn brings that.
 *
 * Task 7 has pages from BASE on:
 *   0 ..  99   in file one
 * 100 .. 103   nowhere
 * 104 .. 511   in file one, right behind the first
 * 512 .. 2047  in file two
 * 3000 .. 3015 in a source that is slow: its bytes come by served_thaw(), called once for each read
 * 3100 .. 3115 in one whose pages fail that served.bad has a bit for, by a completion
 * 3200 .. 3207 in a file that ends in the middle of the third
 * Page n is filled with what served_page() says; every 16th is zeros.
 */
#ifndef LZ_TEST_SERVED_H
#define LZ_TEST_SERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iouring/server.h"
#include "proto/asker.h"

enum { SERVED_PID = 7, SERVED_LOG_MAX = 4096, PAGE = LZ_PS_PAGE };
#define BASE UINT64_C(0x7f0000000000)
#define MSEC INT64_C(1000000)
#define TURN_NS (1000 * MSEC)
#define PATIENCE_NS (20 * TURN_NS)

struct served {
	struct lz_server *server;
	uint32_t bad;      /* pages of the failing source */
	int32_t bad_by;    /* with what; 0: EBADF by a completion */
	bool done;         /* turn() has said so */
	uint64_t now_ns;   /* what served_clock() says */
	unsigned quiet;    /* turns on end in which nothing happened */
	unsigned nr_slow;  /* reads of the slow source begun */
	unsigned nr_looks; /* for what is in memory of that, or of the failing one: nothing */
	unsigned nr_lines;
	char line[SERVED_LOG_MAX][256];
};

extern struct served served;

/* For the options: time that passes when served_later() says so, however long a test is held up. */
uint64_t served_clock(void);
/* What the options lack is filled in. */
void served_open(struct lz_server_options *o);
void served_close(void);
/* A client's end of a new connection. */
int served_pair(void);
int served_tcp(int family);
int served_listen(int family, void *address, unsigned len);
/* Turns until nothing is left to be done at once. */
void served_run(void);
/* It is so much later, and what is to be done then is done. */
void served_later(uint64_t ns);
/* A turn that waits; false when the server is done. */
bool served_turn(void);
/* The page's bytes. */
void served_page(uint64_t page, uint8_t to[LZ_PS_PAGE]);
bool served_is_zero(uint64_t page);
bool served_is(uint64_t page, const uint8_t *bytes);
/* A read of @nr pages from the slow source's page @page gets its bytes. */
void served_thaw(uint64_t page, unsigned nr);
/* Lines of the log with both texts in them. */
unsigned served_logged(const char *a, const char *b);
struct lz_server_stats served_stats(void);

/* ---- a client ---- */

void say_bytes(int fd, const void *bytes, size_t len);
/* False at the end of the stream. */
bool hear_bytes(int fd, void *to, size_t len);
/* The stream ends, by an EOF or a reset, and nothing more is said before. */
void hear_end(int fd);
void say_header(int fd, enum lz_ps_layout layout, uint32_t cmd, uint64_t vaddr, uint64_t nr_pages,
		uint64_t dst_id);
void hear_header(int fd, enum lz_ps_layout layout, struct lz_ps_header *h);
/* A plain client's request and its answer: how many pages came, and they were right. */
void ask_plain(int fd, enum lz_ps_layout layout, uint64_t page, uint64_t nr);
uint64_t hear_plain(int fd, enum lz_ps_layout layout, uint64_t page);

struct asking {
	int fd;
	struct lz_asker a;
	size_t at, end;
	uint8_t bytes[1 << 16];
	uint8_t page[1 << 20];
};

struct asking *asking_new(int fd, enum lz_hello_stream stream, uint64_t session);
void asking_free(struct asking *c);
void asking_ask(struct asking *c, uint16_t tag, const struct lz_ps_range *range, size_t nr);
/* The next event; the bytes of pages are in c->page. False at the end of the stream. */
bool asking_next(struct asking *c, struct lz_asker_event *ev);

#endif
