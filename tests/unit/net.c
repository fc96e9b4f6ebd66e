/* SPDX-License-Identifier: MIT */
/* Sockets beside the ring: polls and their completions, connecting, how connections end. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iouring/net.h"
#include "tests/lib/scratch.h"
#include "tests/lib/suite.h"

static struct lz_ring ring;
static struct lz_net net;
static int listener = -1, peer = -1;
static struct sockaddr_in address;

static void listen_here(void)
{
	socklen_t len = sizeof(address);

	address = (struct sockaddr_in){ .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
}

/* A new connection under the fixture's number 5. */
static void connect_both(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	peer = accept(listener, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	lz_net_open(&net, fd, 5, LZ_NET_DEMAND);
}

static void setup(void)
{
	ck_assert_int_eq(lz_ring_open(&ring, 8), 0);
	memset(&net, 0, sizeof(net));
	listen_here();
	connect_both();
}

static void teardown(void)
{
	lz_net_close(&net, &ring);
	close(peer);
	close(listener);
	lz_ring_close(&ring);
}

static bool completion(struct lz_completion *c, int64_t timeout_ns)
{
	do {
		ck_assert_int_eq(lz_ring_wait(&ring, timeout_ns), 0);
		if (lz_ring_reap(&ring, c, 1))
			return true;
	} while (timeout_ns < 0);
	return false;
}

/* The next completion is this connection's. */
static bool next_is_out(void)
{
	struct lz_completion c;
	bool out = false;

	ck_assert(completion(&c, -1));
	ck_assert(lz_net_completed(&net, c.tag, &out));
	return out;
}

static int option(int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(getsockopt(net.fd, level, name, &value, &len), 0);
	return value;
}

static int64_t recv_byte(uint8_t *byte)
{
	struct iovec iov = { byte, 1 };

	return lz_net_recv(&net, &iov, 1);
}

START_TEST(options)
{
	ck_assert(fcntl(net.fd, F_GETFL) & O_NONBLOCK);
	ck_assert(!net.connecting);
	ck_assert_int_eq(lz_net_connected(&net), 0);
	ck_assert_int_ne(option(IPPROTO_TCP, TCP_NODELAY), 0);
	ck_assert_int_eq(option(SOL_SOCKET, SO_PRIORITY), 6);
	lz_net_set_use(&net, LZ_NET_BULK);
	ck_assert_int_eq(option(SOL_SOCKET, SO_PRIORITY), 0);
	lz_net_watch_peer(&net, 30000);
	ck_assert_int_ne(option(SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_le(option(IPPROTO_TCP, TCP_KEEPIDLE), 10);
	ck_assert_int_eq(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
}
END_TEST

START_TEST(polls_for_both)
{
	struct lz_completion c;
	uint8_t byte;

	ck_assert_int_eq(recv_byte(&byte), -EAGAIN);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert(net.polls_in && !net.polls_out);
	ck_assert(!completion(&c, 0));
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	ck_assert(next_is_out());
	ck_assert(net.polls_in && !net.polls_out);
	ck_assert_int_eq(write(peer, "x", 1), 1);
	ck_assert(!next_is_out());
	ck_assert(!net.polls_in);
	ck_assert_int_eq(recv_byte(&byte), 1);
	ck_assert_uint_eq(byte, 'x');
	/* It was asked for once, whatever was asked twice. */
	ck_assert(!completion(&c, 1000000));
}
END_TEST

START_TEST(waits_until_there_is_room)
{
	static uint8_t bytes[1 << 20];
	struct iovec iov[2] = { { bytes, 1000 }, { bytes, sizeof(bytes) } };
	int64_t n, total = 0;
	struct lz_completion c;

	while ((n = lz_net_send(&net, iov, 2)) > 0)
		total += n;
	ck_assert_int_eq(n, -EAGAIN);
	ck_assert_int_gt(total, 1000);
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	ck_assert(!completion(&c, 1000000));
	while (total > 0) {
		n = read(peer, bytes, sizeof(bytes));
		ck_assert_int_gt(n, 0);
		total -= n;
	}
	ck_assert(next_is_out());
}
END_TEST

START_TEST(late_completions_are_of_an_old_generation)
{
	struct lz_completion c;
	bool out, mine = false;

	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert_int_eq(lz_ring_submit(&ring), 0);
	ck_assert_int_eq(write(peer, "x", 1), 1);
	lz_net_close(&net, &ring);
	ck_assert_int_eq(net.fd, -1);
	close(peer);
	connect_both();
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	/* The old poll, its cancel, the new poll. */
	for (int i = 0; i < 3; i++) {
		bool is;

		ck_assert(completion(&c, -1));
		is = lz_net_completed(&net, c.tag, &out);
		ck_assert(!is || (out && !mine));
		mine = mine || is;
	}
	ck_assert(mine);
	/* Nor is another connection's its own. */
	c.tag = (struct lz_tag){ .kind = LZ_TAG_NET, .id = 6 << 1, .generation = net.generation };
	ck_assert(!lz_net_completed(&net, c.tag, &out));
	c.tag = (struct lz_tag){ .kind = LZ_TAG_READ, .id = 5 << 1, .generation = net.generation };
	ck_assert(!lz_net_completed(&net, c.tag, &out));
}
END_TEST

/* Closed with a poll in the ring: the peer sees it, by an EOF,
 * or by a reset where that was asked for. */
START_TEST(the_peer_sees_the_end)
{
	struct lz_completion c;
	char byte;

	if (_i & 1)
		lz_net_fail_hard(&net, true);
	if (_i & 2) {
		lz_net_fail_hard(&net, true);
		lz_net_fail_hard(&net, false);
	}
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	ck_assert(next_is_out());
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	lz_net_close(&net, &ring);
	lz_net_close(&net, &ring);
	while (completion(&c, 1000000))
		continue;
	if (_i == 1) {
		ck_assert_int_eq(read(peer, &byte, 1), -1);
		ck_assert_int_eq(errno, ECONNRESET);
	} else {
		ck_assert_int_eq(read(peer, &byte, 1), 0);
	}
}
END_TEST

START_TEST(sees_the_peers_end)
{
	struct linger reset = { 1, 0 };
	uint8_t byte;
	struct iovec iov = { &byte, 1 };

	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	if (_i)
		setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(peer);
	peer = -1;
	ck_assert(!next_is_out());
	ck_assert_int_eq(recv_byte(&byte), _i ? -ECONNRESET : 0);
	/* No signal comes with it. */
	while (lz_net_send(&net, &iov, 1) == 1)
		continue;
	ck_assert_int_eq(lz_net_send(&net, &iov, 1), -EPIPE);
}
END_TEST

static int begin_to_connect(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int ret = connect(fd, (const struct sockaddr *)to, sizeof(*to));

	ck_assert(ret == 0 || errno == EINPROGRESS || errno == ECONNREFUSED);
	return fd;
}

START_TEST(connecting_succeeds)
{
	lz_net_close(&net, &ring);
	lz_net_open(&net, begin_to_connect(&address), 9, LZ_NET_BULK);
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	ck_assert(next_is_out());
	ck_assert_int_eq(lz_net_connected(&net), 0);
	ck_assert(!net.connecting);
}
END_TEST

START_TEST(connecting_is_refused)
{
	lz_net_close(&net, &ring);
	close(listener);
	listener = -1;
	lz_net_open(&net, begin_to_connect(&address), 9, LZ_NET_BULK);
	ck_assert(net.connecting);
	ck_assert_int_eq(lz_net_poll_out(&net, &ring), 0);
	ck_assert(next_is_out());
	ck_assert_int_eq(lz_net_connected(&net), -ECONNREFUSED);
	/* And is no success when asked again. */
	ck_assert_int_lt(lz_net_connected(&net), 0);
	ck_assert_int_ne(lz_net_connected(&net), -EINPROGRESS);
}
END_TEST

/* The backlog is full: the kernel lets the call hang. */
START_TEST(connecting_goes_on)
{
	int fd[4];

	lz_net_close(&net, &ring);
	ck_assert_int_eq(listen(listener, 0), 0);
	for (int i = 0; i < 4; i++)
		fd[i] = begin_to_connect(&address);
	lz_net_open(&net, begin_to_connect(&address), 9, LZ_NET_BULK);
	ck_assert(net.connecting);
	ck_assert_int_eq(lz_net_connected(&net), -EINPROGRESS);
	ck_assert(net.connecting);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}
END_TEST

START_TEST(unix_sockets_have_fewer_options)
{
	int fd[2];
	uint8_t byte;

	lz_net_close(&net, &ring);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	lz_net_open(&net, fd[0], 5, LZ_NET_DEMAND);
	lz_net_watch_peer(&net, 1000);
	ck_assert(!net.connecting);
	ck_assert_int_eq(lz_net_poll_in(&net, &ring), 0);
	ck_assert_int_eq(write(fd[1], "y", 1), 1);
	ck_assert(!next_is_out());
	ck_assert_int_eq(recv_byte(&byte), 1);
	close(fd[1]);
	ck_assert_int_eq(recv_byte(&byte), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");

	if (!scratch_has_ring())
		return 77;
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, options);
	tcase_add_test(t, polls_for_both);
	tcase_add_test(t, waits_until_there_is_room);
	tcase_add_test(t, late_completions_are_of_an_old_generation);
	tcase_add_loop_test(t, the_peer_sees_the_end, 0, 3);
	tcase_add_loop_test(t, sees_the_peers_end, 0, 2);
	tcase_add_test(t, connecting_succeeds);
	tcase_add_test(t, connecting_is_refused);
	tcase_add_test(t, connecting_goes_on);
	tcase_add_test(t, unix_sockets_have_fewer_options);
	suite_add_tcase(s, t);
	return run_suite(s);
}
