/* SPDX-License-Identifier: MIT */
/*
 * micro_tls NAME CA CERT KEY: what TLS handshakes with that key at both ends cost each end, and the
 * longest call that one makes, during which its loop does nothing else; then the rate of encrypting
 * and of decrypting. One thread, a socket pair, no waiting. Started by tls.sh.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "iouring/tls.h"

enum { SHAKES = 200, PIECE = 64 << 10, PIECES = 4096 };

struct end {
	struct lz_tls_session *s;
	int fd, ret;
	uint64_t all_ns, longest_ns;
};

static void step(struct end *e)
{
	uint64_t begun = lz_bench_now_ns(), ns;

	if (e->ret != -EAGAIN)
		return;
	e->ret = lz_tls_handshake(e->s);
	ns = lz_bench_now_ns() - begun;
	e->all_ns += ns;
	if (ns > e->longest_ns)
		e->longest_ns = ns;
	if (e->ret && e->ret != -EAGAIN) {
		fprintf(stderr, "micro_tls: %s\n", lz_tls_why(e->s));
		exit(1);
	}
}

/* [0] is the server. */
static void shake(struct end e[2], const struct lz_tls *tls)
{
	int fd[2], room = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		lz_bench_die("socketpair");
	for (int i = 0; i < 2; i++) {
		setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		e[i] = (struct end){ .fd = fd[i], .ret = -EAGAIN };
		if (lz_tls_session_new(&e[i].s, tls, fd[i], i == 0))
			lz_bench_die("lz_tls_session_new");
	}
	while (e[0].ret || e[1].ret) {
		step(&e[1]);
		step(&e[0]);
	}
}

static void part(struct end e[2])
{
	for (int i = 0; i < 2; i++) {
		lz_tls_session_free(e[i].s, false);
		close(e[i].fd);
	}
}

static void records(const char *name, struct end e[2])
{
	static uint8_t out[PIECE], in[PIECE];
	uint64_t seal_ns = 0, open_ns = 0;

	for (int i = 0; i < PIECES; i++) {
		uint64_t begun = lz_bench_now_ns();

		if (lz_tls_send(e[0].s, &(struct iovec){ out, PIECE }, 1) != PIECE)
			lz_bench_die("lz_tls_send");
		seal_ns += lz_bench_now_ns() - begun;
		begun = lz_bench_now_ns();
		if (lz_tls_recv(e[1].s, &(struct iovec){ in, PIECE }, 1) != PIECE)
			lz_bench_die("lz_tls_recv");
		open_ns += lz_bench_now_ns() - begun;
	}
	printf("name=tls_records key=%s send_mb_s=%.0f recv_mb_s=%.0f\n", name,
	       (double)PIECE * PIECES * 1000 / (double)seal_ns,
	       (double)PIECE * PIECES * 1000 / (double)open_ns);
}

int main(int argc, char **argv)
{
	static const char *const ends[] = { "server", "client" };
	struct lz_bench_samples *all[2], *longest[2];
	char why[LZ_TLS_WHY_MAX];
	struct lz_tls *tls;
	struct end e[2];

	if (argc != 5)
		return 2;
	if (lz_tls_new(
		    &tls,
		    &(struct lz_tls_options){ .cacert = argv[2], .cert = argv[3], .key = argv[4] },
		    why)) {
		fprintf(stderr, "micro_tls: %s\n", why);
		return 1;
	}
	for (int i = 0; i < 2; i++) {
		all[i] = lz_bench_samples_new(SHAKES);
		longest[i] = lz_bench_samples_new(SHAKES);
	}
	for (int n = 0; n < SHAKES; n++) {
		shake(e, tls);
		for (int i = 0; i < 2; i++) {
			lz_bench_samples_add(all[i], e[i].all_ns);
			lz_bench_samples_add(longest[i], e[i].longest_ns);
		}
		part(e);
	}
	for (int i = 0; i < 2; i++) {
		lz_bench_line("tls_handshake", all[i], "key=%s end=%s part=all", argv[1], ends[i]);
		lz_bench_line("tls_handshake", longest[i], "key=%s end=%s part=longest", argv[1],
			      ends[i]);
	}
	shake(e, tls);
	records(argv[1], e);
	part(e);
	lz_tls_free(tls);
	return 0;
}
