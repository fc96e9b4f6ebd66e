/* SPDX-License-Identifier: MIT */
/* The compiler's announcements, and the memory as it was at one of them: stores.h. */
#include "tests/prop/stores.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *memory, *left;
static size_t size;
static uint32_t countdown;
static bool died, announced;

void stores_watch(void *what, size_t len)
{
	memory = what;
	size = len;
	left = realloc(left, len);
	assert(left);
}

bool stores_are_announced(void)
{
	return announced;
}

void stores_arm(uint32_t n)
{
	countdown = n;
}

bool stores_died(void)
{
	if (!died)
		return false;
	memcpy(memory, left, size);
	died = false;
	return true;
}

static void store(const void *at)
{
	if (!countdown || (const unsigned char *)at < memory ||
	    (const unsigned char *)at >= memory + size || --countdown)
		return;
	memcpy(left, memory, size);
	died = true;
}

/* gcc knows the names and other types for them, as soon as any sanitizer is on. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"
#endif

/* What gcc and clang call, each for itself. */
#define ANNOUNCED(name)            \
	void name(const void *at); \
	void name(const void *at)  \
	{                          \
		store(at);         \
	}
#define IGNORED(name)              \
	void name(const void *at); \
	void name(const void *at)  \
	{                          \
		(void)at;          \
	}
ANNOUNCED(__tsan_write1)
ANNOUNCED(__tsan_write2)
ANNOUNCED(__tsan_write4)
ANNOUNCED(__tsan_write8)
ANNOUNCED(__tsan_write16)
ANNOUNCED(__tsan_unaligned_write2)
ANNOUNCED(__tsan_unaligned_write4)
ANNOUNCED(__tsan_unaligned_write8)
ANNOUNCED(__tsan_unaligned_write16)
ANNOUNCED(__tsan_read_write4)
ANNOUNCED(__tsan_read_write8)
IGNORED(__tsan_read1)
IGNORED(__tsan_read2)
IGNORED(__tsan_read4)
IGNORED(__tsan_read8)
IGNORED(__tsan_read16)
IGNORED(__tsan_unaligned_read2)
IGNORED(__tsan_unaligned_read4)
IGNORED(__tsan_unaligned_read8)
IGNORED(__tsan_unaligned_read16)
IGNORED(__tsan_func_entry)

void __tsan_init(void);
void __tsan_init(void)
{
	announced = true;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

void __tsan_read_range(const void *at, size_t len);
void __tsan_read_range(const void *at, size_t len)
{
	(void)at;
	(void)len;
}

void __tsan_write_range(const void *at, size_t len);
void __tsan_write_range(const void *at, size_t len)
{
	(void)len;
	store(at);
}

void __tsan_atomic32_store(uint32_t *at, uint32_t v, int order);
void __tsan_atomic32_store(uint32_t *at, uint32_t v, int order)
{
	(void)order;
	store(at);
	__atomic_store_n(at, v, __ATOMIC_SEQ_CST);
}

void __tsan_atomic64_store(uint64_t *at, uint64_t v, int order);
void __tsan_atomic64_store(uint64_t *at, uint64_t v, int order)
{
	(void)order;
	store(at);
	__atomic_store_n(at, v, __ATOMIC_SEQ_CST);
}

uint32_t __tsan_atomic32_fetch_add(uint32_t *at, uint32_t v, int order);
uint32_t __tsan_atomic32_fetch_add(uint32_t *at, uint32_t v, int order)
{
	(void)order;
	store(at);
	return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST);
}

uint32_t __tsan_atomic32_fetch_sub(uint32_t *at, uint32_t v, int order);
uint32_t __tsan_atomic32_fetch_sub(uint32_t *at, uint32_t v, int order)
{
	(void)order;
	store(at);
	return __atomic_fetch_sub(at, v, __ATOMIC_SEQ_CST);
}

/* The core is compiled with these in the place of what string.h has: a word at a time. */
void *stores_memset(void *at, int c, size_t len);
void *stores_memset(void *at, int c, size_t len)
{
	unsigned char *to = at;

	for (size_t n, i = 0; i < len; i += n) {
		n = len - i < 8 ? len - i : 8;
		store(to + i);
		(void)memset(to + i, c, n);
	}
	return at;
}

void *stores_memcpy(void *to, const void *from, size_t len);
void *stores_memcpy(void *to, const void *from, size_t len)
{
	for (size_t n, i = 0; i < len; i += n) {
		n = len - i < 8 ? len - i : 8;
		store((unsigned char *)to + i);
		(void)memcpy((unsigned char *)to + i, (const unsigned char *)from + i, n);
	}
	return to;
}
