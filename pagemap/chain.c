/* SPDX-License-Identifier: MIT */
/*
 * Flattens a chain of pagemaps. Questions to a level come in ascending order, whatever level asks,
 * so every cursor only moves forward and nothing is searched for.
 */
#include "pagemap/chain.h"

#include <errno.h>
#include <inttypes.h>

#include "proto/criu/pagemap.pb-c.h"
#include "proto/unpack.h"

enum { PAGE_SHIFT = 12, PAGE_MASK = (1 << PAGE_SHIFT) - 1 };
enum { IN_PARENT = 1, IS_LAZY = 2, IS_PRESENT = 4, KNOWN_FLAGS = 7 };

static int refuse_unknown(struct lz_image *image, const ProtobufCMessage *message)
{
	if (!message->n_unknown_fields)
		return 0;
	return lz_image_refuse(image, -EPROTONOSUPPORT,
			       "has field %u, which this version does not know; it may change the "
			       "meaning of page data (compressed pages?): use a newer version, or "
			       "dump without compression",
			       message->unknown_fields[0].tag);
}

static int read_head(struct lz_chain_level *level)
{
	struct lz_image *image = &level->image;
	Lz__Criu__PagemapHead *head;
	const uint8_t *payload;
	size_t len;
	int err = lz_image_next(image, &payload, &len);

	if (err < 0)
		return err;
	if (!err)
		return lz_image_refuse(image, -EBADMSG, "holds no record");
	head = lz_unpack(&lz__criu__pagemap_head__descriptor, payload, len, &err);
	if (!head)
		return lz_image_refuse(image, err, "is no head of a pagemap");
	err = refuse_unknown(image, &head->base);
	level->pages_id = head->pages_id;
	lz__criu__pagemap_head__free_unpacked(head, NULL);
	return err;
}

/* Images older than the flags have at most in_parent. */
static uint32_t flags_of(const Lz__Criu__PagemapEntry *e)
{
	if (e->has_in_parent && e->in_parent)
		return e->flags | IN_PARENT;
	return e->has_flags ? e->flags : IS_PRESENT;
}

static int refuse_flags(struct lz_image *image, uint32_t flags)
{
	if (flags & ~(uint32_t)KNOWN_FLAGS)
		return lz_image_refuse(image, -EPROTONOSUPPORT,
				       "has flags 0x%x, of which this version does not know 0x%x; "
				       "they may change the meaning of page data: use a newer "
				       "version",
				       flags, flags & ~(uint32_t)KNOWN_FLAGS);
	if (!flags)
		return lz_image_refuse(image, -EBADMSG,
				       "says of its pages neither that they are stored, nor in a "
				       "parent, nor lazy");
	if ((flags & (IN_PARENT | IS_PRESENT)) == (IN_PARENT | IS_PRESENT))
		return lz_image_refuse(image, -EBADMSG,
				       "says of its pages both that they are stored and in a "
				       "parent");
	return 0;
}

/* Puts the cursor on what @e says. */
static int place(struct lz_chain_level *level, const Lz__Criu__PagemapEntry *e)
{
	uint64_t nr_pages = e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
	uint32_t flags = flags_of(e);
	uint64_t len;
	int err = refuse_flags(&level->image, flags);

	if (err)
		return err;
	if (!nr_pages || e->vaddr & PAGE_MASK)
		return lz_image_refuse(&level->image, -EBADMSG,
				       "has %" PRIu64 " pages at 0x%" PRIx64
				       ": none, or not at the start of a page",
				       nr_pages, e->vaddr);
	if (nr_pages > (UINT64_MAX - e->vaddr) >> PAGE_SHIFT)
		return lz_image_refuse(&level->image, -EBADMSG,
				       "has %" PRIu64 " pages at 0x%" PRIx64
				       ": more than there are addresses",
				       nr_pages, e->vaddr);
	len = nr_pages << PAGE_SHIFT;
	if (e->vaddr < level->entry.end)
		return lz_image_refuse(&level->image, -EBADMSG,
				       "begins at 0x%" PRIx64
				       ", before the end of the one before it, 0x%" PRIx64,
				       e->vaddr, level->entry.end);
	level->offset = level->end;
	if (flags & IS_PRESENT) {
		if (len > INT64_MAX - level->end)
			return lz_image_refuse(&level->image, -EBADMSG,
					       "ends beyond what a file can hold");
		level->end += len;
	}
	level->entry = (struct lz_range){ e->vaddr, e->vaddr + len };
	level->flags = flags;
	return 0;
}

/* 1: the cursor is on the next record. 0: there is none. */
static int step(struct lz_chain_level *level)
{
	Lz__Criu__PagemapEntry *e;
	const uint8_t *payload;
	size_t len;
	int err = lz_image_next(&level->image, &payload, &len);

	if (err <= 0) {
		level->entry.start = level->entry.end;
		return err;
	}
	e = lz_unpack(&lz__criu__pagemap_entry__descriptor, payload, len, &err);
	if (!e)
		return lz_image_refuse(&level->image, err, "is no entry of a pagemap");
	err = refuse_unknown(&level->image, &e->base);
	if (!err)
		err = place(level, e);
	lz__criu__pagemap_entry__free_unpacked(e, NULL);
	return err ? err : 1;
}

/* Moves the cursor to the first record that ends after @addr. 1: there is one. */
static int seek(struct lz_chain_level *level, uint64_t addr)
{
	int more = 1;

	while (more > 0 && (level->entry.end <= addr || lz_range_is_empty(level->entry)))
		more = step(level);
	return more;
}

/* Who has the page at @start, and how many behind it, at most up to @end. */
static int resolve(struct lz_chain *c, uint64_t start, uint64_t end, struct lz_chain_piece *piece)
{
	struct lz_chain_level *level = c->level;
	int found;

	while (level->flags & IN_PARENT) {
		struct lz_chain_level *child = level++;

		c->failed = (size_t)(child - c->level);
		if (c->failed + 1 == c->nr_levels)
			return lz_image_refuse(&child->image, -EBADMSG,
					       "says that a parent has the page at 0x%" PRIx64
					       ", but there is no parent with a pagemap of this "
					       "task",
					       start);
		c->failed++;
		found = seek(level, start);
		if (found < 0)
			return found;
		if (found && level->entry.start <= start) {
			end = level->entry.end < end ? level->entry.end : end;
			continue;
		}
		c->failed--;
		return lz_image_refuse(&child->image, -EBADMSG,
				       "says that the parent has the page at 0x%" PRIx64
				       ", but level %zu of the chain does not hold it",
				       start, c->failed + 1);
	}
	*piece = (struct lz_chain_piece){
		.start = start,
		.len = end - start,
		.absent = !(level->flags & IS_PRESENT),
		.level = (size_t)(level - c->level),
		.offset = level->offset + (start - level->entry.start),
	};
	return 1;
}

/*
 * The next stretch, at or behind c->at, of the newest snapshot's record that is wanted: all of it,
 * or what lies in one lazy area; empty if the record has no more. What is passed over is the
 * restorer's.
 */
static struct lz_range next_wanted(struct lz_chain *c)
{
	struct lz_range entry = { c->at, c->level[0].entry.end }, lazy = { entry.end, entry.end };

	if (c->all)
		return entry;
	while (c->at_seg < c->nr_segs && c->seg[c->at_seg].end <= entry.start)
		c->at_seg++;
	if (c->level[0].flags & IS_LAZY && c->at_seg < c->nr_segs) {
		const struct lz_seg *seg = &c->seg[c->at_seg];
		struct lz_range common = lz_range_common(entry,
							 (struct lz_range){ seg->start, seg->end });

		if (!lz_range_is_empty(common))
			lazy = common;
	}
	c->eager_bytes += lazy.start - entry.start;
	c->at = lazy.start;
	return lazy;
}

/* The pages wanted have all been given; what is left of the parents has still to be sound. */
static int finish(struct lz_chain *c)
{
	for (c->failed = 1; c->failed < c->nr_levels; c->failed++) {
		int err = seek(&c->level[c->failed], UINT64_MAX);

		if (err < 0)
			return err;
	}
	return 0;
}

int lz_chain_init(struct lz_chain *c, struct lz_chain_level *level, size_t nr_levels,
		  const struct lz_seg *seg, size_t nr_segs)
{
	*c = (struct lz_chain){
		.level = level,
		.nr_levels = nr_levels,
		.seg = seg,
		.nr_segs = nr_segs,
	};
	for (; c->failed < nr_levels; c->failed++) {
		int err = read_head(&level[c->failed]);

		if (err)
			return err;
	}
	return 0;
}

int lz_chain_next(struct lz_chain *c, struct lz_chain_piece *piece)
{
	struct lz_chain_level *top = &c->level[0];

	for (;;) {
		struct lz_range wanted = next_wanted(c);
		int err;

		if (!lz_range_is_empty(wanted)) {
			err = resolve(c, wanted.start, wanted.end, piece);
			if (err > 0)
				c->at += piece->len;
			return err;
		}
		c->failed = 0;
		err = step(top);
		if (err < 0)
			return err;
		if (!err)
			return finish(c);
		c->nr_entries++;
		c->at = top->entry.start;
	}
}
