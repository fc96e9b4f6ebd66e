/* SPDX-License-Identifier: MIT */
/* The shared part of the programs that get checkpointed: see common.h for what it is. */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *fifo_path;
static sigset_t go_signal;
static int tell = -1; /* where the parent listens until this process is ready */

void work_start(const char *fifo)
{
	fifo_path = fifo;
	if (sysconf(_SC_PAGESIZE) != WORK_PAGE)
		work_bad("pages here are not of %d bytes", (int)WORK_PAGE);
	sigemptyset(&go_signal);
	sigaddset(&go_signal, SIGUSR1);
	sigprocmask(SIG_BLOCK, &go_signal, NULL);
}

static void speak(const char *head, const char *fmt, va_list ap)
{
	char line[2048];
	int fd, n, m;

	n = snprintf(line, sizeof(line), "%s", head);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	n = m < (int)sizeof(line) - n - 1 ? n + m : (int)sizeof(line) - 2;
	line[n++] = '\n';
	fd = open(fifo_path, O_WRONLY | O_APPEND | O_CLOEXEC);
	/* One write: lines of different processes must not mix. */
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		_exit(3);
	close(fd);
}

void work_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	speak("", fmt, ap);
	va_end(ap);
}

void work_bad(const char *fmt, ...)
{
	char head[32];
	va_list ap;

	snprintf(head, sizeof(head), "BAD %d ", (int)getpid());
	va_start(ap, fmt);
	speak(head, fmt, ap);
	va_end(ap);
	_exit(1);
}

void work_wait_go(void)
{
	int sig = 0;

	/* Being dumped and restored interrupts it. */
	while (sigwait(&go_signal, &sig) != 0 || sig != SIGUSR1)
		continue;
}

void work_ready(const char *fmt, ...)
{
	char head[32];
	va_list ap;

	if (tell >= 0) {
		if (write(tell, "r", 1) != 1)
			work_bad("write: %s", strerror(errno));
		close(tell);
		tell = -1;
	} else {
		snprintf(head, sizeof(head), "ready %d ", (int)getpid());
		va_start(ap, fmt);
		speak(head, fmt, ap);
		va_end(ap);
	}
	work_wait_go();
}

pid_t work_child(void)
{
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready))
		work_bad("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		work_bad("fork: %s", strerror(errno));
	if (pid == 0) {
		close(ready[0]);
		if (tell >= 0)
			close(tell);
		tell = ready[1];
		return 0;
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		work_bad("child %d did not come up", (int)pid);
	close(ready[0]);
	return pid;
}

void work_wake(pid_t child)
{
	if (kill(child, SIGUSR1))
		work_bad("kill: %s", strerror(errno));
}

void work_expect_exit(pid_t child, int code)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		work_bad("waitpid %d: %s", (int)child, strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		work_bad("child %d ended with status 0x%x, not exit %d", (int)child,
			 (unsigned int)status, code);
}

uint64_t work_number(const char *text, uint64_t least, uint64_t most)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || *end || v < least || v > most) {
		fprintf(stderr, "not a number between %llu and %llu: %s\n",
			(unsigned long long)least, (unsigned long long)most, text);
		exit(2);
	}
	return v;
}

/* The finalizer of splitmix64: every bit of the result depends on every bit of x. */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline uint64_t word(uint64_t token, unsigned int i)
{
	return mix(token + (i + 1) * 0x9e3779b97f4a7c15u);
}

uint64_t work_token(uint64_t seed, uint64_t page)
{
	uint64_t t = mix(mix(seed + 1) + page);

	return t == 0 || t > UINT64_MAX - 16 ? 0x1234567 : t;
}

void work_write(void *page, uint64_t token)
{
	uint64_t *p = page;

	if (token == 0) {
		memset(page, 0, WORK_PAGE);
		return;
	}
	for (unsigned int i = 0; i < WORK_WORDS; i++)
		p[i] = word(token, i);
}

int work_check(const void *page, uint64_t token)
{
	const volatile uint64_t *p = page;

	for (unsigned int i = 0; i < WORK_WORDS; i++)
		if (p[i] != (token ? word(token, i) : 0))
			return (int)i;
	return -1;
}

void work_expect(const void *page, uint64_t token, uint64_t number, const char *when)
{
	const volatile uint64_t *p = page;
	int at = work_check(page, token);
	unsigned int wrong = 0, zero = 0;

	if (at < 0)
		return;
	for (unsigned int i = 0; i < WORK_WORDS; i++) {
		wrong += p[i] != (token ? word(token, i) : 0);
		zero += p[i] == 0;
	}
	work_bad("%s: page %llu at %p: %u of %d words wrong, first at %d, %u are zero%s", when,
		 (unsigned long long)number, (const void *)page, wrong, (int)WORK_WORDS, at, zero,
		 token ? "" : " (all should be)");
}

void *work_area(uint64_t pages)
{
	void *area = mmap(NULL, pages * WORK_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		work_bad("mmap of %llu pages: %s", (unsigned long long)pages, strerror(errno));
	/* EINVAL: a kernel without huge pages. */
	if (madvise(area, pages * WORK_PAGE, MADV_NOHUGEPAGE) && errno != EINVAL)
		work_bad("madvise: %s", strerror(errno));
	return area;
}

uint64_t work_absent(const void *area, uint64_t pages)
{
	unsigned char present[4096];
	uint64_t absent = 0;

	for (uint64_t at = 0; at < pages; at += sizeof(present)) {
		uint64_t n = pages - at < sizeof(present) ? pages - at : sizeof(present);

		if (mincore((char *)(uintptr_t)area + at * WORK_PAGE, n * WORK_PAGE, present))
			work_bad("mincore: %s", strerror(errno));
		for (uint64_t i = 0; i < n; i++)
			absent += !(present[i] & 1);
	}
	return absent;
}

uint64_t work_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t work_rand(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return mix(*state);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void work_sort(uint64_t *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_size);
}

uint64_t work_permille(uint64_t *sorted, size_t count, unsigned int p)
{
	return count ? sorted[(count - 1) * p / 1000] : 0;
}

void work_order_init(struct work_order *o, uint64_t count, uint64_t seed)
{
	unsigned int bits = 2;

	while ((uint64_t)1 << bits < count)
		bits++;
	o->count = count;
	o->mask = ((uint64_t)1 << bits) - 1;
	o->shift = bits / 2;
	o->step = mix(seed) | 1;
	o->at = mix(seed + 1) & o->mask;
}

uint64_t work_order_next(struct work_order *o)
{
	uint64_t v;

	/* A full-period congruential sequence modulo 2^bits,
	 * its poor low bits mixed by a bijection. */
	do {
		o->at = (o->at * 6364136223846793005u + o->step) & o->mask;
		v = o->at ^ (o->at >> o->shift);
		v = (v * 0x9e3779b97f4a7c15u) & o->mask;
		v ^= v >> o->shift;
	} while (v >= o->count);
	return v;
}
