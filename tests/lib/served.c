/* SPDX-License-Identifier: MIT */
/* The server and the clients of served.h. */
#define _GNU_SOURCE 1
#include "tests/lib/served.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct served served;

static const struct {
	uint64_t first, nr;
	int source;
	uint64_t at; /* page of the source */
} region[] = {
	{ 0, 100, 0, 0 },   { 104, 408, 0, 100 }, { 512, 1536, 1, 0 },
	{ 3000, 16, 2, 0 }, { 3100, 16, 3, 0 },   { 3200, 8, 4, 0 },
};
enum { NR_REGIONS = sizeof(region) / sizeof(region[0]), SLOW = 2, FAILING = 3, SHORT = 4 };

static int file[5], slow[2] = { -1, -1 };
static struct lz_source *source[5];

/* ---- sources ---- */

static uint64_t hash(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

bool served_is_zero(uint64_t page)
{
	return page % 16 == 9;
}

void served_page(uint64_t page, uint8_t to[LZ_PS_PAGE])
{
	for (uint64_t i = 0; i < PAGE / 8; i++) {
		/* Some begin with zeros and are none. */
		uint64_t word = served_is_zero(page) || (i < 500 && page % 16 == 3)
					? 0
					: hash(page << 16 | i);

		memcpy(to + i * 8, &word, 8);
	}
}

bool served_is(uint64_t page, const uint8_t *bytes)
{
	uint8_t want[PAGE];

	served_page(page, want);
	return memcmp(want, bytes, PAGE) == 0;
}

static int slow_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	struct lz_tag tag = { .kind = LZ_TAG_READ, .id = r->request, .generation = r->generation };

	(void)s;
	served.nr_slow++;
	return lz_ring_read(ring, slow[0], r->to + r->have, r->len - r->have, 0, tag);
}

/* One page a read, until the one that fails. */
static int failing_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	struct lz_tag tag = { .kind = LZ_TAG_READ, .id = r->request, .generation = r->generation };
	uint64_t at = r->offset + r->have;
	bool bad = served.bad >> at / PAGE & 1;

	(void)s;
	if (bad && served.bad_by)
		return served.bad_by;
	return lz_ring_read(ring, bad ? -1 : file[FAILING], r->to + r->have, PAGE, at, tag);
}

static bool never_now(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	(void)s, (void)offset, (void)to, (void)len;
	served.nr_looks++;
	return false;
}

static void no_close(struct lz_source *s)
{
	(void)s;
}

static const struct lz_source_ops slow_ops = { .begin = slow_begin,
					       .read_now = never_now,
					       .close = no_close };
static const struct lz_source_ops failing_ops = { .begin = failing_begin,
						  .read_now = never_now,
						  .close = no_close };
static struct lz_source slow_source = { &slow_ops }, failing_source = { &failing_ops };

static void open_sources(void)
{
	uint8_t bytes[PAGE];

	for (int i = 0; i < 5; i++) {
		file[i] = memfd_create("served", MFD_CLOEXEC);
		ck_assert_int_ge(file[i], 0);
	}
	for (int i = 0; i < NR_REGIONS; i++)
		for (uint64_t n = 0; n < region[i].nr; n++) {
			served_page(region[i].first + n, bytes);
			ck_assert_int_eq(pwrite(file[region[i].source], bytes, PAGE,
						(off_t)((region[i].at + n) * PAGE)),
					 PAGE);
		}
	ck_assert_int_eq(ftruncate(file[SHORT], 5 * PAGE / 2), 0);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(lz_file_open(&source[i], file[i], 1 << 30, NULL), 0);
	source[SLOW]->ops->close(source[SLOW]);
	source[FAILING]->ops->close(source[FAILING]);
	source[SLOW] = &slow_source;
	source[FAILING] = &failing_source;
	ck_assert_int_eq(pipe(slow), 0);
}

static int64_t find(void *arg, uint32_t pid, uint64_t vaddr, uint64_t max, struct lz_source **s,
		    uint64_t *offset)
{
	uint64_t page = (vaddr - BASE) / PAGE;

	(void)arg;
	ck_assert_uint_gt(max, 0);
	ck_assert_uint_eq(vaddr % PAGE, 0);
	if (pid != SERVED_PID)
		return -ENOENT;
	for (int i = 0; i < NR_REGIONS; i++) {
		uint64_t in = page - region[i].first, left = region[i].nr - in;

		if (in >= region[i].nr)
			continue;
		*s = source[region[i].source];
		*offset = (region[i].at + in) * PAGE;
		return (int64_t)(left < max ? left : max);
	}
	return 0;
}

void served_thaw(uint64_t page, unsigned nr)
{
	uint8_t bytes[16 * PAGE];

	for (unsigned i = 0; i < nr; i++)
		served_page(page + i, bytes + (size_t)i * PAGE);
	ck_assert_int_eq(write(slow[1], bytes, nr * (size_t)PAGE), nr * PAGE);
}

/* ---- the server ---- */

static void log_line(void *arg, int level, const char *line)
{
	(void)arg, (void)level;
	ck_assert_uint_lt(served.nr_lines, SERVED_LOG_MAX);
	snprintf(served.line[served.nr_lines++], sizeof(served.line[0]), "%s", line);
}

unsigned served_logged(const char *a, const char *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < served.nr_lines; i++)
		n += strstr(served.line[i], a) && strstr(served.line[i], b);
	return n;
}

void served_open(struct lz_server_options *o)
{
	memset(&served, 0, sizeof(served));
	served.now_ns = (uint64_t)MSEC; /* like any clock's, not 0 */
	open_sources();
	o->find = find;
	o->log = log_line;
	o->giver.max_request_pages = 1024;
	memset(o->giver.identity, 0x5a, sizeof(o->giver.identity));
	if (!o->max_clients)
		o->max_clients = 256;
	ck_assert_int_eq(lz_server_open(&served.server, o), 0);
}

void served_close(void)
{
	lz_server_close(served.server);
	for (int i = 0; i < 5; i++) {
		source[i]->ops->close(source[i]);
		close(file[i]);
	}
	close(slow[0]);
	close(slow[1]);
}

static int64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 * MSEC + t.tv_nsec;
}

uint64_t served_clock(void)
{
	return served.now_ns;
}

void served_later(uint64_t ns)
{
	served.now_ns += ns;
	served_run();
}

bool served_turn(void)
{
	int64_t before = clock_ns();
	int ret;

	ck_assert(!served.done);
	ret = lz_server_turn(served.server, TURN_NS);
	ck_assert_int_ge(ret, 0);
	served.done = ret == 0;
	served.quiet = clock_ns() - before >= TURN_NS ? served.quiet + 1 : 0;
	ck_assert_msg(served.quiet * TURN_NS < PATIENCE_NS, "the server waits for nothing");
	return !served.done;
}

void served_run(void)
{
	struct lz_server_stats before, after = served_stats();

	do {
		before = after;
		for (int i = 0; i < 4 && !served.done; i++) {
			int ret = lz_server_turn(served.server, 0);

			ck_assert_int_ge(ret, 0);
			served.done = ret == 0;
		}
		after = served_stats();
	} while (memcmp(&before, &after, sizeof(after)));
}

struct lz_server_stats served_stats(void)
{
	struct lz_server_stats s;

	lz_server_stats(served.server, &s);
	return s;
}

int served_pair(void)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	ck_assert_int_eq(lz_server_accept(served.server, fd[0]), 0);
	return fd[1];
}

int served_listen(int family, void *address, unsigned len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr *a = address;
	socklen_t got = len;

	ck_assert_int_ge(fd, 0);
	memset(address, 0, len);
	a->sa_family = (sa_family_t)family;
	if (family == AF_INET)
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
	else
		got = sizeof(a->sa_family); /* the kernel names it */
	ck_assert_int_eq(bind(fd, a, got), 0);
	got = len;
	ck_assert_int_eq(getsockname(fd, a, &got), 0);
	ck_assert_int_eq(listen(fd, 1024), 0);
	ck_assert_int_eq(lz_server_listen(served.server, fd), 0);
	return (int)got;
}

int served_tcp(int family)
{
	struct sockaddr_storage a;
	int len = served_listen(family, &a, sizeof(a));
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, (socklen_t)len), 0);
	return fd;
}

/* ---- a client ---- */

void say_bytes(int fd, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;

	while (len) {
		ssize_t n = send(fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			ck_assert_int_eq(errno, EAGAIN);
			served_turn();
			continue;
		}
		from += n;
		len -= (size_t)n;
	}
}

/* Bytes; 0 at the end of the stream, however it came. */
static size_t hear(int fd, void *to, size_t len)
{
	for (;;) {
		ssize_t n = recv(fd, to, len, MSG_DONTWAIT);

		if (n < 0 && errno == ECONNRESET)
			return 0;
		if (n >= 0)
			return (size_t)n;
		ck_assert_int_eq(errno, EAGAIN);
		if (served.done) {
			/* The kernel closes what its ring held in its own time. */
			struct pollfd p = { .fd = fd, .events = POLLIN };

			ck_assert_int_eq(poll(&p, 1, PATIENCE_NS / MSEC), 1);
			continue;
		}
		served_turn();
	}
}

bool hear_bytes(int fd, void *to, size_t len)
{
	uint8_t *at = to;

	while (len) {
		size_t n = hear(fd, at, len);

		if (!n)
			return false;
		at += n;
		len -= n;
	}
	return true;
}

void hear_end(int fd)
{
	uint8_t byte;

	ck_assert(!hear_bytes(fd, &byte, 1));
	close(fd);
}

void say_header(int fd, enum lz_ps_layout layout, uint32_t cmd, uint64_t vaddr, uint64_t nr_pages,
		uint64_t dst_id)
{
	struct lz_ps_header h = {
		.cmd = cmd, .vaddr = vaddr, .nr_pages = nr_pages, .dst_id = dst_id
	};
	uint8_t bytes[LZ_PS_HEADER_MAX];

	say_bytes(fd, bytes, lz_ps_put(layout, &h, bytes));
}

void hear_header(int fd, enum lz_ps_layout layout, struct lz_ps_header *h)
{
	uint8_t bytes[LZ_PS_HEADER_MAX];

	ck_assert(hear_bytes(fd, bytes, (size_t)layout));
	lz_ps_get(layout, bytes, h);
}

void ask_plain(int fd, enum lz_ps_layout layout, uint64_t page, uint64_t nr)
{
	say_header(fd, layout, LZ_PS_GET, BASE + page * PAGE, nr, SERVED_PID);
}

uint64_t hear_plain(int fd, enum lz_ps_layout layout, uint64_t page)
{
	struct lz_ps_header h;
	uint8_t bytes[PAGE];

	hear_header(fd, layout, &h);
	ck_assert_uint_eq(h.cmd, LZ_PS_ADD_F);
	ck_assert_uint_eq(h.flags, LZ_PS_PRESENT);
	ck_assert_uint_eq(h.dst_id, SERVED_PID);
	ck_assert_uint_eq(h.vaddr, BASE + page * PAGE);
	for (uint64_t i = 0; i < h.nr_pages; i++) {
		ck_assert(hear_bytes(fd, bytes, PAGE));
		ck_assert(served_is(page + i, bytes));
	}
	return h.nr_pages;
}

struct asking *asking_new(int fd, enum lz_hello_stream stream, uint64_t session)
{
	struct asking *c = calloc(1, sizeof(*c));
	struct lz_asker_options o = { .layout = LZ_PS_24 };
	struct lz_asker_event ev;

	ck_assert_ptr_nonnull(c);
	c->fd = fd;
	o.hello.stream = stream;
	o.hello.session = session;
	o.hello.version = LZ_HELLO_VERSION;
	o.hello.page_size = PAGE;
	memset(o.hello.identity, 0x5a, sizeof(o.hello.identity));
	snprintf(o.hello.software, sizeof(o.hello.software), "a \"test\"");
	lz_asker_init(&c->a, &o);
	ck_assert(asking_next(c, &ev));
	ck_assert_int_eq(ev.type, LZ_ASKER_OPEN);
	ck_assert_int_eq(c->a.state, LZ_ASKER_LAZYD);
	return c;
}

void asking_free(struct asking *c)
{
	close(c->fd);
	free(c);
}

void asking_ask(struct asking *c, uint16_t tag, const struct lz_ps_range *range, size_t nr)
{
	uint8_t bytes[LZ_PS_HEADER_MAX + LZ_PS_RANGES_MAX * LZ_PS_RANGE_BYTES];
	int64_t n = lz_asker_ask(&c->a, tag, SERVED_PID, range, nr, bytes, sizeof(bytes));

	ck_assert_int_gt(n, 0);
	say_bytes(c->fd, bytes, (size_t)n);
}

bool asking_next(struct asking *c, struct lz_asker_event *ev)
{
	uint8_t out[LZ_PS_HEADER_MAX + LZ_HELLO_MAX];
	int64_t n;

	for (;;) {
		n = lz_asker_take(&c->a, c->bytes + c->at, c->end - c->at, ev);
		ck_assert_msg(n >= 0, "%s", c->a.why);
		c->at += (size_t)n;
		if (ev->type != LZ_ASKER_MORE)
			break;
		say_bytes(c->fd, out, lz_asker_say(&c->a, out));
		c->at = 0;
		c->end = hear(c->fd, c->bytes, sizeof(c->bytes));
		if (!c->end)
			return false;
	}
	if (ev->type == LZ_ASKER_BYTES) {
		size_t len = ev->nr * PAGE, here = c->end - c->at < len ? c->end - c->at : len;

		ck_assert_uint_le(len, sizeof(c->page));
		memcpy(c->page, c->bytes + c->at, here);
		c->at += here;
		if (!hear_bytes(c->fd, c->page + here, len - here))
			return false;
		lz_asker_paid(&c->a, len);
	}
	return true;
}
