/* SPDX-License-Identifier: MIT */
/* The stream with TLS against a real page server:
 * pages by both connections, and when it is no use to try again. */
#define _GNU_SOURCE 1
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_reader.h"
#include "tests/lib/certs.h"
#include "tests/lib/scratch.h"
#include "tests/lib/served.h"
#include "tests/lib/suite.h"

enum { FIRST = 512, TURNS = 20000 };
#define SECOND UINT64_C(1000000000)

static struct lz_server_options server_options;
static struct lz_tls *good, *client, *misnamed;
static uint64_t now_ns;

static void serve(const struct lz_tls *tls)
{
	server_options.tls = tls;
	served_open(&server_options);
	served_listen(AF_INET, &address, sizeof(address));
}

static void open_stream(const struct lz_tls *tls)
{
	struct lz_stream_options o = { .timeout_ns = 60 * SECOND, .tls = tls };

	memset(o.hello.identity, 0x5a, sizeof(o.hello.identity));
	reader_open(&o, SERVED_PID, BASE + FIRST * PAGE);
}

static enum lz_stream_state state(void)
{
	return lz_stream_stats(stream).state;
}

/* The stream, then the server; no time passes but what the test makes pass. */
static void turn(void)
{
	struct lz_completion c;

	if (lz_stream_deadline(stream) <= now_ns)
		lz_stream_tick(stream, &ring, now_ns);
	lz_stream_flush(stream, &ring, now_ns);
	ck_assert_int_eq(lz_ring_wait(&ring, 100000), 0);
	while (lz_ring_reap(&ring, &c, 1))
		if (c.tag.kind == LZ_TAG_NET)
			lz_stream_completed(stream, &ring, c.tag, now_ns);
	if (served.server && !served.done) {
		int ret = lz_server_turn(served.server, 0);

		ck_assert_int_ge(ret, 0);
		served.done = ret == 0;
	}
}

static void until(enum lz_stream_state want, unsigned ends)
{
	for (int i = 0; state() != want || nr_ended < ends; i++) {
		ck_assert_int_lt(i, TURNS);
		turn();
	}
}

static void setup(void)
{
	memset(&server_options, 0, sizeof(server_options));
	memset(&served, 0, sizeof(served));
	reader_reset();
	now_ns = SECOND;
	good = certs_tls(CERTS_GOOD, NULL);
	misnamed = certs_tls(CERTS_WRONG_NAME, NULL);
	client = certs_tls(CERTS_GOOD, CERTS_NAME);
}

static void teardown(void)
{
	reader_close();
	if (served.server)
		served_close();
	lz_tls_free(good);
	lz_tls_free(misnamed);
	lz_tls_free(client);
}

START_TEST(brings_pages)
{
	server_options.once = true;
	serve(good);
	open_stream(client);
	until(LZ_STREAM_UP, READS);
	for (unsigned i = 0; i < READS; i++) {
		ck_assert_int_eq(result[i], sizeof(bytes[i]));
		for (unsigned p = 0; p < READ_PAGES; p++)
			ck_assert(served_is(FIRST + i * READ_PAGES + p, bytes[i] + p * PAGE));
	}
	ck_assert(logged("event=source-connected", "cert=\"source.test\""));
	ck_assert_uint_eq(served_stats().clients_total, 2);
	lz_stream_release(stream, &ring, now_ns);
	until(LZ_STREAM_RELEASED, READS);
	for (int i = 0; !served.done; i++) {
		ck_assert_int_lt(i, TURNS);
		turn();
	}
	ck_assert_uint_eq(served_stats().clients_dropped, 0);
}
END_TEST

/* From the start: there is nothing to wait for. */
static const struct {
	int server, client; /* 0: plain text, 1: good, 2: of the wrong name */
	const char *reason, *there;
} unfit[] = {
	{ 2, 1, "does not name source.test", "it refuses our certificate" },
	{ 0, 1, "it does not speak TLS", "it speaks TLS, and this server does not" },
	{ 1, 0, "it speaks TLS, and this end does not", "it does not speak TLS" },
};
enum { NR_UNFIT = sizeof(unfit) / sizeof(unfit[0]) };

START_TEST(is_unfit)
{
	struct lz_tls *const tls[] = { NULL, good, misnamed };

	serve(tls[unfit[_i].server]);
	open_stream(unfit[_i].client ? client : NULL);
	until(LZ_STREAM_GONE, READS);
	for (unsigned i = 0; i < READS; i++)
		ck_assert_int_eq(result[i], -ETIMEDOUT);
	ck_assert(logged("event=source-gone", unfit[_i].reason));
	for (int i = 0; !served_logged("event=client-", unfit[_i].there); i++) {
		ck_assert_int_lt(i, TURNS);
		turn();
	}
}
END_TEST

/* After it was fit once it may be again. */
START_TEST(has_become_unfit)
{
	serve(good);
	open_stream(client);
	until(LZ_STREAM_UP, READS);
	served_close();
	memset(&served, 0, sizeof(served));
	until(LZ_STREAM_DOWN, READS);
	serve(misnamed);
	nr_ended = 0;
	ck_assert_int_eq(source->ops->begin(source, &ring, &reads[0]), 0);
	while (!served_logged("event=client-refused", "it refuses our certificate")) {
		now_ns += SECOND / 10;
		turn();
		ck_assert_uint_lt(now_ns, 30 * SECOND);
	}
	ck_assert_int_ne(state(), LZ_STREAM_GONE);
	served_close();
	serve(good);
	memset(bytes[0], 0, sizeof(bytes[0]));
	while (!nr_ended) {
		now_ns += SECOND / 10;
		turn();
		ck_assert_uint_lt(now_ns, 60 * SECOND);
	}
	ck_assert_int_eq(result[0], sizeof(bytes[0]));
	ck_assert(served_is(FIRST, bytes[0]));
}
END_TEST

/* It takes the connection, and no handshake. */
START_TEST(does_not_get_on)
{
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr = { htonl(INADDR_LOOPBACK) } };
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	open_stream(client);
	for (int i = 0; i < 50; i++)
		turn();
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	now_ns += 9 * SECOND;
	turn();
	ck_assert_int_eq(state(), LZ_STREAM_OPENING);
	now_ns += SECOND;
	ck_assert_uint_le(lz_stream_deadline(stream), now_ns);
	lz_stream_tick(stream, &ring, now_ns);
	ck_assert_int_eq(state(), LZ_STREAM_DOWN);
	ck_assert(logged("event=source-lost", "it does not answer"));
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stream_tls");
	TCase *t = tcase_create("stream_tls");

	if (!scratch_has_ring())
		return 77;
	certs_make();
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, brings_pages);
	tcase_add_loop_test(t, is_unfit, 0, NR_UNFIT);
	tcase_add_test(t, has_become_unfit);
	tcase_add_test(t, does_not_get_on);
	suite_add_tcase(s, t);
	return run_suite(s);
}
