/* SPDX-License-Identifier: MIT */
/*
 * garbage ADDRESS PORT COUNT PID VADDR: so many clients of a page server, ten at a time, none of
 * which means well: random bytes, half headers, floods of good requests (PID, VADDR) whose answers
 * are not read, silence, broken hellos, uploads, requests for what cannot be. It is not told what
 * the server should do; the server's other clients are.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/ps.h"

enum { AT_A_TIME = 10, HOLD_MS = 100, FLOOD = 4000 };

static struct addrinfo *server;
static uint32_t pid;
static uint64_t vaddr, seed;

static uint64_t any(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 24;
}

/* A server that has had enough closes: no matter. */
static void say(int sock, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	while (len) {
		ssize_t n = send(sock, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd f = { .fd = sock, .events = POLLOUT };

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN || poll(&f, 1, HOLD_MS) <= 0) {
			return;
		}
	}
}

static void say_random(int sock, size_t len)
{
	unsigned char bytes[4096];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)any();
	say(sock, bytes, len);
}

static void say_header(int sock, uint32_t cmd, uint32_t flags, uint64_t nr, uint64_t at,
		       uint64_t dst_id)
{
	struct lz_ps_header h = {
		.cmd = cmd, .flags = flags, .nr_pages = nr, .vaddr = at, .dst_id = dst_id
	};
	uint8_t bytes[LZ_PS_HEADER_MAX];

	say(sock, bytes, lz_ps_put(any() & 1 ? LZ_PS_24 : LZ_PS_32, &h, bytes));
}

static void say_hello(int sock, uint32_t len, size_t bytes)
{
	struct lz_ps_header h = { .cmd = LZ_PS_PARENT, .dst_id = LZ_PS_PROBE };
	uint8_t probe[LZ_PS_HEADER_MAX];

	say(sock, probe, lz_ps_put(LZ_PS_32, &h, probe));
	say(sock, &len, sizeof(len));
	say_random(sock, bytes);
}

static void random_bytes(int sock)
{
	say_random(sock, 1 + any() % 4096);
}
static void half_header(int sock)
{
	say_random(sock, 1 + any() % 23);
}
static void silence(int sock)
{
	(void)sock;
}
static void long_hello(int sock)
{
	say_hello(sock, UINT32_MAX, 64);
}
static void wrong_hello(int sock)
{
	say_hello(sock, 128, 128);
}
static void half_hello(int sock)
{
	say_hello(sock, 128, 5);
}

static void flood(int sock)
{
	uint8_t bytes[LZ_PS_HEADER_MAX];
	struct lz_ps_header h = { .cmd = LZ_PS_GET, .nr_pages = 16, .vaddr = vaddr, .dst_id = pid };
	size_t len = lz_ps_put(LZ_PS_32, &h, bytes);

	for (int i = 0; i < FLOOD; i++)
		say(sock, bytes, len);
}

static void upload(int sock)
{
	say_header(sock, LZ_PS_OPEN2, 0, 0, 0, (uint64_t)pid << 8 | 1);
	say_header(sock, LZ_PS_ADD_F, LZ_PS_PRESENT, 1, vaddr, (uint64_t)pid << 8 | 1);
	say_random(sock, 4096);
}

static void impossible(int sock)
{
	static const uint64_t nr[] = { 0, 1, UINT32_MAX, 1 << 20 };
	uint64_t at[] = { 0, vaddr + 1, vaddr, UINT64_MAX - 4095 };

	say_header(sock, LZ_PS_GET, any() & 1 ? LZ_PS_VECTOR : 0, nr[any() % 4], at[any() % 4],
		   any() & 1 ? pid : any());
}

static void after_close(int sock)
{
	say_header(sock, LZ_PS_CLOSE, 0, 0, 0, 0);
	say_random(sock, 512);
}

static const struct {
	const char *name;
	void (*be)(int sock);
} kinds[] = { { "random", random_bytes },
	      { "half_header", half_header },
	      { "silence", silence },
	      { "long_hello", long_hello },
	      { "wrong_hello", wrong_hello },
	      { "half_hello", half_hello },
	      { "flood", flood },
	      { "upload", upload },
	      { "impossible", impossible },
	      { "after_close", after_close } };
enum { NR_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void one(size_t kind)
{
	struct linger reset = { .l_onoff = 1 };
	int sock = socket(server->ai_family, SOCK_STREAM, 0);
	struct pollfd f = { .fd = sock, .events = POLLRDHUP };

	if (sock < 0 || connect(sock, server->ai_addr, server->ai_addrlen) < 0) {
		fprintf(stderr, "garbage: connect: %s\n", strerror(errno));
		_exit(1);
	}
	kinds[kind].be(sock);
	poll(&f, 1, HOLD_MS);
	if (any() & 1)
		setsockopt(sock, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(sock);
}

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
	size_t count;
	int status, worst = 0;

	if (argc != 6 || getaddrinfo(argv[1], argv[2], &hints, &server) != 0)
		return 2;
	count = strtoull(argv[3], NULL, 10);
	pid = (uint32_t)strtoul(argv[4], NULL, 10);
	vaddr = strtoull(argv[5], NULL, 0);
	for (size_t child = 0; child < AT_A_TIME; child++) {
		if (fork() == 0) {
			for (size_t i = child; i < count; i += AT_A_TIME) {
				seed = i + 1;
				one(i / AT_A_TIME % NR_KINDS);
			}
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		worst |= status;
	printf("clients=%zu kinds=%d\n", count, (int)NR_KINDS);
	return worst ? 1 : 0;
}
