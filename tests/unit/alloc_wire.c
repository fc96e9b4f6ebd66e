/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out on the wire, at either end and at any moment: the connection it hits ends,
 * that is told, the client comes again, and every page it has asked for arrives with its own bytes.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iouring/server.h"
#include "stream_reader.h"
#include "tests/lib/certs.h"
#include "tests/lib/failing.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

enum {
	PAGE = LZ_PS_PAGE,
	PAGES = READS * READ_PAGES,
	PID = 7,
	WAIT_NS = 100000,
	TURNS = 600000, /* a minute, where nothing happens */
	ALLOCATIONS_MAX = 200,
};
#define BASE UINT64_C(0x7f0000000000)

static struct lz_tls *server_tls, *client_tls;
static struct lz_server *server;
static struct lz_source *pages;
static int file;
static uint64_t now_ns;

/* No page is like another. */
static uint64_t word(uint64_t page, uint64_t i)
{
	return (page + 1) << 16 | i;
}

/* What the server calls; it asks for no memory. */
static int64_t find(void *arg, uint32_t pid, uint64_t vaddr, uint64_t max, struct lz_source **from,
		    uint64_t *offset)
{
	uint64_t page = (vaddr - BASE) / PAGE;

	(void)arg;
	if (pid != PID || page >= PAGES)
		return -ENOENT;
	*from = pages;
	*offset = page * PAGE;
	return (int64_t)(PAGES - page < max ? PAGES - page : max);
}

/* ---- both ends ---- */

static void serve(const struct lz_tls *tls)
{
	struct lz_server_options o = { .find = find,
				       .log = log_line,
				       .max_clients = 8,
				       .giver.max_request_pages = 1024,
				       .tls = tls };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	file = memfd_create("pages", MFD_CLOEXEC);
	ck_assert(fd >= 0 && file >= 0);
	for (uint64_t page = 0; page < PAGES; page++) {
		uint64_t to[PAGE / 8];

		for (uint64_t i = 0; i < PAGE / 8; i++)
			to[i] = word(page, i);
		ck_assert_int_eq(write(file, to, PAGE), PAGE);
	}
	ck_assert_int_eq(lz_file_open(&pages, file, PAGES * PAGE, NULL), 0);
	ck_assert_int_eq(lz_server_open(&server, &o), 0);
	address = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(lz_server_listen(server, fd), 0);
}

static void open_stream(const struct lz_tls *tls)
{
	struct lz_stream_options o = { .tls = tls };

	reader_open(&o, PID, BASE);
}

static void close_both(void)
{
	reader_close();
	lz_server_close(server);
	pages->ops->close(pages);
	close(file);
}

/* The stream's clock stands still but for what it waits for to connect anew. */
static int turn(void)
{
	struct lz_completion c[16];
	int ret = lz_server_turn(server, 0);

	if (ret < 0)
		return ret;
	if (lz_stream_stats(stream).state == LZ_STREAM_DOWN)
		now_ns = lz_stream_deadline(stream);
	lz_stream_tick(stream, &ring, now_ns);
	lz_stream_flush(stream, &ring, now_ns);
	ret = lz_ring_wait(&ring, WAIT_NS);
	for (unsigned i = 0, n = lz_ring_reap(&ring, c, 16); i < n; i++)
		if (c[i].tag.kind == LZ_TAG_NET)
			lz_stream_completed(stream, &ring, c[i].tag, now_ns);
	return ret;
}

static void all_is_right(void)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		const uint8_t *at = bytes[page / READ_PAGES] + page % READ_PAGES * PAGE;

		ck_assert_int_eq(result[page / READ_PAGES], READ_PAGES * PAGE);
		for (uint64_t i = 0; i < PAGE / 8; i++) {
			uint64_t want = word(page, i);

			if (memcmp(at + i * 8, &want, 8))
				ck_abort_msg("page %" PRIu64 " has a wrong byte", page);
		}
	}
}

static struct {
	unsigned refused, dropped, lost;
} seen;

static bool fill(bool tls, unsigned n)
{
	struct lz_server_stats s;
	bool failed;
	int r = 0;

	reader_reset();
	now_ns = 1;
	memset(bytes, 0, sizeof(bytes));
	serve(tls ? server_tls : NULL);
	open_stream(tls ? client_tls : NULL);
	failing_arm(FAILING_ONCE, n);
	for (unsigned i = 0; i < TURNS && nr_ended < READS && !r; i++) {
		r = turn();
		r = r < 0 ? r : 0;
	}
	failed = failing_disarm();
	ck_assert_int_eq(r, 0);
	ck_assert_msg(nr_ended == READS, "allocation %u failed, and %u of %d reads ended: %s", n,
		      nr_ended, READS, last_line());
	all_is_right();
	lz_server_stats(server, &s);
	if (s.clients_refused)
		ck_assert_uint_gt(logged("event=client-refused", "memory"), 0);
	if (lz_stream_stats(stream).nr_reconnects)
		ck_assert_uint_gt(logged("event=source-lost", "reason="), 0);
	seen.refused += logged("event=client-refused", "memory");
	seen.dropped += logged("event=client-dropped", "memory");
	seen.lost += logged("event=source-lost", "memory");
	close_both();
	return failed;
}

START_TEST(every_page_arrives)
{
	unsigned n = 0, before = failing_descriptors();

	while (fill(_i, n)) {
		ck_assert_uint_eq(failing_descriptors(), before);
		ck_assert_uint_lt(++n, ALLOCATIONS_MAX);
	}
	/* A client's object, a hello at the server, a session or a welcome at the client. */
	ck_assert_uint_gt(seen.refused, 0);
	ck_assert_uint_gt(seen.dropped, 0);
	ck_assert_uint_gt(seen.lost, 0);
}
END_TEST

static void make_tls(void)
{
	server_tls = certs_tls(CERTS_GOOD, NULL);
	client_tls = certs_tls(CERTS_GOOD, CERTS_NAME);
}

static void free_tls(void)
{
	lz_tls_free(server_tls);
	lz_tls_free(client_tls);
}

int main(void)
{
	Suite *s = suite_create("alloc_wire");
	TCase *t = tcase_create("alloc_wire");

	if (!scratch_has_ring())
		return 77;
	certs_make();
	tcase_set_timeout(t, 300);
	tcase_add_checked_fixture(t, make_tls, free_tls);
	tcase_add_loop_test(t, every_page_arrives, 0, 2);
	suite_add_tcase(s, t);
	return run_suite(s);
}
