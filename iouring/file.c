/* SPDX-License-Identifier: MIT */
/*
 * A regular file as a page source: read through the ring where its bytes are on a disk, mapped
 * where they are in the page cache already. The mapping is for UFFDIO_COPY only. Nothing here
 * touches it, so a file that shrinks is an EFAULT of that ioctl and never a SIGBUS.
 */
#include "iouring/source.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "iouring/asked.h"
#include "iouring/cached.h"
#include "iouring/ring.h"

/*
 * One access maps the present pages of a whole window (the kernel's fault-around), so windows are
 * what the mapping's page tables are counted in. After STREAM_MAX of them, 16 MiB, it is made anew:
 * that takes 50 us, or 450 us where each page is mapped by itself (tmpfs).
 *
 * To get at a page of a mapped window costs nothing, of one that is not 3 us, and to read it into a
 * buffer 1.4 us. So single pages are read, and where nothing else is to be done windows are mapped
 * for those to come: PREPARE_MAX of them, 64 MiB, for 128 KiB of page tables.
 */
enum { WINDOW_SHIFT = 16, STREAM_MAX = 256, PREPARE_MAX = 1024 };
/* Windows asked about, and then mapped, in one prepare(): 14 us. */
enum { PREPARE_STEP = 4 };
/*
 * After so many slices in a row, or where one is longer than a window, so many windows are mapped
 * at once, as long as a slice takes; fewer where a single page was read lately, for the next one
 * may have to wait for it. To ask about what is mapped costs nothing, about what is not a twentieth
 * of its copy.
 */
enum { STREAK_MIN = 3, STRETCH_WINDOWS = 16, STRETCH_FEWER = 4 };
/* For so long after a read through the ring pages may be in the cache without their bytes. */
#define QUIET_NS INT64_C(100000000)
/* What is mapped is taken to stay resident for so long: the kernel evicts it last. */
#define STAYS_NS INT64_C(1000000000)
#define WINDOW_BYTES (UINT64_C(1) << WINDOW_SHIFT)
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
/* Pages asked about beyond what was asked for. */
enum { AHEAD_PAGES = 64 };

/*
 * Of each row of questions, and what fetch() has brought in last: one is gone through while the
 * next is on its way. What was resident at @tick, and whether it has been mapped since then.
 */
enum { FETCHED = LZ_ASKED_ROWS, FETCHED_LAST, NR_KNOWN };
struct lz_file_known {
	uint64_t start, end;
	int64_t tick;
	bool mapped;
};

struct lz_file {
	struct lz_source source;
	int fd;
	uint64_t size;
	uint64_t page;   /* bytes */
	uint64_t behind; /* where the first page behind the file is, mapped as well */
	uint8_t *map;    /* NULL: this file cannot be mapped */
	bool truthful;   /* mincore() answers for this file */
	uint64_t last_window;
	uint64_t nr_windows; /* given out since the mapping was made */
	/* Windows [prepared, prepared_end) are mapped, all since prepared_tick; more may be. */
	uint64_t prepared, prepared_end;
	int64_t prepared_tick;
	bool prepares;
	struct lz_file_known known[NR_KNOWN];
	uint64_t single_end; /* of the last single page: who reads on there wants more of them */
	int64_t single_tick;
	struct lz_asked asked;
	int64_t read_tick; /* of the last read through the ring */
	struct lz_file_look as;
	int64_t looked_tick;
	bool may_change; /* it is not looked at */
	bool changed;
	bool swept;   /* fetch() brings it in */
	int fetched;  /* of those that are known the one that fetch() forgets next */
	bool punched; /* it has got holes: each read looks for them */
};

static int lz_file_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r);
static bool lz_file_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len);
static bool lz_file_resident(struct lz_source *s, uint64_t offset, size_t len);
static bool lz_file_at_hand(struct lz_source *s, uint64_t offset, size_t len);
static bool lz_file_prepare(struct lz_source *s);
static bool lz_file_renews(const struct lz_source *s);
static int lz_file_fetch(struct lz_source *s, struct lz_ring *ring, uint64_t offset, size_t len,
			 struct lz_tag tag);
static const void *lz_file_at(struct lz_source *s, uint64_t offset, size_t len);
static bool lz_file_has_changed(struct lz_source *s);
static void lz_file_close(struct lz_source *s);
static bool lz_file_is_good(struct lz_file *f);
static bool lz_file_stays(const struct lz_file *f);
static bool lz_file_is_prepared(const struct lz_file *f, uint64_t offset, size_t len);
static void lz_file_compare(struct lz_file *f);
static int64_t lz_file_tick(void);
static bool lz_file_map_windows(const struct lz_file *f, uint64_t from, uint64_t to);
static bool lz_file_map_stretch(struct lz_file *f, const struct lz_asked_row *by, int64_t tick);
static void lz_file_ask(struct lz_file *f, const struct lz_asked_row *by, int64_t tick);
static bool lz_file_knows(const struct lz_file *f, uint64_t offset, uint64_t end, int64_t tick);
static bool lz_file_has_mapped(const struct lz_file *f, uint64_t offset, uint64_t end);
static void lz_file_map_anew(struct lz_file *f);
static void lz_file_map(struct lz_file *f);
static void lz_file_unmap(struct lz_file *f);
static bool lz_file_holds(const struct lz_file *f, uint64_t offset, size_t len);

static const struct lz_source_ops lz_file_ops = {
	.begin = lz_file_begin,
	.read_now = lz_file_read_now,
	.resident = lz_file_resident,
	.at_hand = lz_file_at_hand,
	.prepare = lz_file_prepare,
	.renews = lz_file_renews,
	.fetch = lz_file_fetch,
	.at = lz_file_at,
	.has_changed = lz_file_has_changed,
	.close = lz_file_close,
};

int lz_file_open(struct lz_source **out, int fd, uint64_t size, const struct lz_file_look *as)
{
	struct lz_file *f;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || size > INT64_MAX)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->source.ops = &lz_file_ops;
	f->fd = fd;
	f->size = size;
	f->page = (uint64_t)sysconf(_SC_PAGESIZE);
	f->behind = (size + f->page - 1) & ~(f->page - 1);
	f->may_change = !as;
	if (as)
		f->as = *as;
	f->prepared_tick = -STAYS_NS;
	f->read_tick = f->single_tick = -QUIET_NS;
	f->fetched = FETCHED;
	f->single_end = UINT64_MAX;
	lz_asked_init(&f->asked, WINDOW_BYTES);
	lz_file_map(f);
	*out = &f->source;
	return 0;
}

static int lz_file_begin(struct lz_source *s, struct lz_ring *ring, struct lz_source_read *r)
{
	struct lz_file *f = (struct lz_file *)s;
	struct lz_tag tag = { .kind = LZ_TAG_READ, .id = r->request, .generation = r->generation };
	uint64_t from = r->offset + r->have;
	off_t hole;

	if (from > INT64_MAX) /* io_uring would take -1 for the descriptor's own position */
		return -EINVAL;
	if (!lz_file_is_good(f))
		return -ESTALE;
	f->read_tick = lz_file_tick();
	if (f->punched) {
		hole = lseek(f->fd, (off_t)from, SEEK_HOLE);
		if (hole >= 0 && (uint64_t)hole < r->offset + r->len && (uint64_t)hole < f->size)
			return -ENODATA;
	}
	return lz_ring_read(ring, f->fd, r->to + r->have, r->len - r->have, from, tag);
}

static bool lz_file_read_now(struct lz_source *s, uint64_t offset, void *to, size_t len)
{
	struct lz_file *f = (struct lz_file *)s;
	struct iovec io = { .iov_base = to, .iov_len = len };

	if (!lz_file_is_good(f) || f->punched)
		return false;
	if (preadv2(f->fd, &io, 1, (off_t)offset, RWF_NOWAIT) != (ssize_t)len)
		return false;
	f->single_end = offset + len;
	f->single_tick = f->looked_tick;
	if (!f->prepares && !lz_file_stays(f)) {
		f->prepared = f->prepared_end = offset >> WINDOW_SHIFT;
		f->prepared_tick = f->looked_tick;
		f->prepares = f->truthful && !f->may_change;
	}
	return true;
}

/* What is known is believed for the rest of the clock's tick (a few milliseconds): a page evicted
 * within it makes one copy wait. */
static bool lz_file_resident(struct lz_source *s, uint64_t offset, size_t len)
{
	struct lz_file *f = (struct lz_file *)s;
	uint64_t end = offset + len;
	struct lz_asked_row *by;
	int64_t tick;
	bool yes;

	if (!lz_file_is_good(f) || f->punched || !f->truthful || !lz_file_holds(f, offset, len))
		return false;
	if (lz_file_is_prepared(f, offset, len) && lz_file_stays(f))
		return true;
	if (lz_file_renews(s))
		lz_file_map_anew(f);
	if (!f->truthful)
		return false;
	tick = lz_file_tick();
	by = lz_asked_by(&f->asked, offset, end);
	if (!lz_file_knows(f, offset, end, tick))
		lz_file_ask(f, by, tick);
	yes = lz_file_knows(f, offset, end, tick);
	if (!yes)
		lz_asked_in_vain(by);
	return yes;
}

static bool lz_file_at_hand(struct lz_source *s, uint64_t offset, size_t len)
{
	struct lz_file *f = (struct lz_file *)s;

	return (lz_asked_up_to(&f->asked, offset) || offset == f->single_end ||
		lz_file_is_prepared(f, offset, len)) &&
	       lz_file_resident(s, offset, len);
}

/* Onward from the page read last to the end of the file, then backward from there. */
static bool lz_file_prepare(struct lz_source *s)
{
	struct lz_file *f = (struct lz_file *)s;
	uint64_t all = (f->size + WINDOW_BYTES - 1) >> WINDOW_SHIFT, n = PREPARE_STEP;
	uint64_t at = f->prepared_end, end;
	bool ahead = at < all;

	if (f->prepares && !ahead)
		at = f->prepared - (f->prepared < n ? f->prepared : n);
	f->prepares = f->prepares && lz_file_is_good(f) && !f->punched &&
		      f->prepared_end - f->prepared < PREPARE_MAX && (ahead || f->prepared);
	if (!f->prepares)
		return false;
	end = ahead ? at + n : f->prepared;
	at <<= WINDOW_SHIFT;
	end = end < all ? end << WINDOW_SHIFT : f->size;
	f->prepares = lz_cached_until(f->fd, f->page, f->map, at, end) == end &&
		      lz_file_map_windows(f, at, end);
	if (f->prepares && ahead)
		f->prepared_end = (end + WINDOW_BYTES - 1) >> WINDOW_SHIFT;
	else if (f->prepares)
		f->prepared = at >> WINDOW_SHIFT;
	return f->prepares;
}

static bool lz_file_renews(const struct lz_source *s)
{
	return ((const struct lz_file *)s)->nr_windows > STREAM_MAX - STRETCH_WINDOWS;
}

static int lz_file_fetch(struct lz_source *s, struct lz_ring *ring, uint64_t offset, size_t len,
			 struct lz_tag tag)
{
	struct lz_file *f = (struct lz_file *)s;
	uint64_t end = offset + len;

	if (!lz_file_is_good(f) || f->punched || !f->truthful || !lz_file_holds(f, offset, len) ||
	    lz_cached_comes(f->fd, f->page, f->map, offset, end))
		return 0;
	if (!f->swept)
		lz_cached_want_huge(f->map, f->behind);
	f->swept = true;
	f->read_tick = lz_file_tick();
	/* Mapped as well, and resident as soon as resident() says so. */
	f->known[f->fetched] = (struct lz_file_known){ offset, end, .mapped = true };
	f->fetched = f->fetched == FETCHED ? FETCHED_LAST : FETCHED;
	f->nr_windows += len >> WINDOW_SHIFT;
	len += offset & (f->page - 1);
	return !lz_ring_populate(ring, f->map + (offset & ~(f->page - 1)), len, tag);
}

static const void *lz_file_at(struct lz_source *s, uint64_t offset, size_t len)
{
	struct lz_file *f = (struct lz_file *)s;
	uint64_t first = offset >> WINDOW_SHIFT, last = (offset + len - 1) >> WINDOW_SHIFT;
	uint64_t windows = last - first + (first != f->last_window);

	if (!len || f->changed || f->punched || !lz_file_holds(f, offset, len))
		return NULL;
	if (lz_file_has_mapped(f, offset, offset + len) || lz_file_is_prepared(f, offset, len))
		return f->map + offset;
	f->nr_windows += windows;
	f->last_window = last;
	/* Not within the ioctl, which would begin to copy, give up and begin anew. */
	if (len > f->page)
		(void)lz_file_map_windows(f, offset, offset + len);
	return f->map + offset;
}

static bool lz_file_has_changed(struct lz_source *s)
{
	struct lz_file *f = (struct lz_file *)s;

	if (!f->may_change)
		lz_file_compare(f);
	return f->changed;
}

static void lz_file_close(struct lz_source *s)
{
	struct lz_file *f = (struct lz_file *)s;

	lz_file_unmap(f);
	free(f);
}

/* Not before every read, of which there may be 100,000 a second: once a tick is for nothing. */
static bool lz_file_is_good(struct lz_file *f)
{
	int64_t tick;

	if (f->may_change || f->changed)
		return !f->changed;
	tick = lz_file_tick();
	if (tick != f->looked_tick)
		lz_file_compare(f);
	f->looked_tick = tick;
	return !f->changed;
}

static bool lz_file_stays(const struct lz_file *f)
{
	return f->looked_tick - f->prepared_tick < STAYS_NS;
}

static bool lz_file_is_prepared(const struct lz_file *f, uint64_t offset, size_t len)
{
	return offset >> WINDOW_SHIFT >= f->prepared &&
	       (offset + len - 1) >> WINDOW_SHIFT < f->prepared_end;
}

/*
 * Whoever writes to a file, cuts it short or punches a hole sets its time of modification first.
 * CRIU punches holes where it has done with pages (--auto-dedup), and nobody else's page is changed
 * by that: the file is as long as before, had no holes and now has.
 */
static void lz_file_compare(struct lz_file *f)
{
	struct lz_file_look now;
	struct stat st;

	if (fstat(f->fd, &st) < 0) {
		f->changed = true;
		return;
	}
	now.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	now.blocks = (uint64_t)st.st_blocks;
	if (now.mtime_ns == f->as.mtime_ns)
		return;
	if ((uint64_t)st.st_size == f->size && now.blocks < f->as.blocks &&
	    (f->punched || f->as.blocks * 512 >= f->size) && now.blocks * 512 < f->size)
		f->punched = true;
	else
		f->changed = true;
	f->as = now;
}

static int64_t lz_file_tick(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The kernel's windows are aligned where they are mapped to. */
static bool lz_file_map_windows(const struct lz_file *f, uint64_t from, uint64_t to)
{
	for (uint64_t p = from; p < to;
	     p += WINDOW_BYTES - ((uintptr_t)(f->map + p) & (WINDOW_BYTES - 1)))
		if (madvise(f->map + (p & ~(f->page - 1)), f->page, MADV_POPULATE_READ))
			return false;
	return true;
}

/*
 * Maps a stretch with what is asked for at its beginning or end, and knows it. Only where nobody
 * has read lately: to map a page whose read is under way is to wait for it.
 */
static bool lz_file_map_stretch(struct lz_file *f, const struct lz_asked_row *by, int64_t tick)
{
	const bool fewer = tick - f->single_tick < QUIET_NS;
	const uint64_t len = (fewer ? STRETCH_FEWER : STRETCH_WINDOWS) * WINDOW_BYTES;
	struct lz_file_known k = { .start = by->start & ~(WINDOW_BYTES - 1),
				   .end = (by->end + WINDOW_BYTES - 1) & ~(WINDOW_BYTES - 1),
				   .tick = tick,
				   .mapped = true };
	uint64_t windows;

	if (k.end - k.start < len && !by->backward)
		k.end = k.start + len;
	else if (k.end - k.start < len)
		k.start = k.end < len ? 0 : k.end - len;
	windows = (k.end - k.start) / WINDOW_BYTES;
	k.end = k.end < f->size ? k.end : f->size;
	if (!lz_cached_holds(f->fd, f->page, k.start, k.end))
		return false;
	f->nr_windows += windows;
	if (!lz_file_map_windows(f, k.start, k.end))
		return false;
	k.end = lz_cached_until(f->fd, f->page, f->map, k.start, k.end);
	f->known[by - f->asked.row] = k;
	return true;
}

static void lz_file_ask(struct lz_file *f, const struct lz_asked_row *by, int64_t tick)
{
	uint64_t to = by->end;

	if (by->streak >= STREAK_MIN || by->end - by->start > WINDOW_BYTES) {
		if (tick - f->read_tick >= QUIET_NS && lz_file_map_stretch(f, by, tick))
			return;
		to += by->backward ? 0 : AHEAD_PAGES * f->page;
	}
	to = to < f->size ? to : f->size;
	f->known[by - f->asked.row] = (struct lz_file_known){
		.start = by->start,
		.end = lz_cached_until(f->fd, f->page, f->map, by->start, to),
		.tick = tick
	};
}

static bool lz_file_knows(const struct lz_file *f, uint64_t offset, uint64_t end, int64_t tick)
{
	for (const struct lz_file_known *k = f->known; k < f->known + NR_KNOWN; k++)
		if (k->tick == tick && offset >= k->start && end <= k->end)
			return true;
	return false;
}

static bool lz_file_has_mapped(const struct lz_file *f, uint64_t offset, uint64_t end)
{
	for (const struct lz_file_known *k = f->known; k < f->known + NR_KNOWN; k++)
		if (k->mapped && offset >= k->start && end <= k->end)
			return true;
	return false;
}

/*
 * mincore() tells the truth to who owns the file, could write to it or has CAP_FOWNER; to all
 * others everything is resident. So a page is mapped in which there is no file: who is told that
 * it is resident is told nothing.
 */
static void lz_file_map(struct lz_file *f)
{
	unsigned char vec;
	void *map;

	f->truthful = false;
	f->nr_windows = 0;
	f->last_window = UINT64_MAX;
	f->prepared = f->prepared_end = 0;
	f->prepares = false;
	map = mmap(NULL, f->behind + f->page, PROT_READ, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return;
	f->map = map;
	if (f->swept)
		lz_cached_want_huge(f->map, f->behind);
	f->truthful = mincore(f->map + f->behind, f->page, &vec) == 0 && !(vec & 1);
}

static void lz_file_map_anew(struct lz_file *f)
{
	lz_file_unmap(f);
	lz_file_map(f);
	for (int i = 0; i < NR_KNOWN; i++)
		f->known[i].mapped = false;
}

static void lz_file_unmap(struct lz_file *f)
{
	if (f->map)
		munmap(f->map, f->behind + f->page);
	f->map = NULL;
}

static bool lz_file_holds(const struct lz_file *f, uint64_t offset, size_t len)
{
	return f->map && offset <= f->size && len <= f->size - offset;
}
