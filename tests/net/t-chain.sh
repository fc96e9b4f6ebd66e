#!/bin/bash
# SPDX-License-Identifier: MIT
# A chain of five snapshots on the source. The destination has the pagemaps of all, and the pages of two of the parents;
# what the newest holds, and what only the other parents hold, comes from the source. Every byte is compared. CRIU's page
# server cannot serve what is in a parent.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "upstream's page server serves no pages of parents"

for what in "fill 128 1" "tree 16" "frag 8192"; do
	# shellcheck disable=SC2086 # words
	work $what
	rm -rf "$DIR/images" "$DIR/dump"
	mkdir "$DIR/images"
	dump
	mv "$DIR/images" "$DIR/dump"
	mkdir "$DIR/images"
	"$build/tests/cli/rechain" "$DIR/dump" "$DIR/images" 5 --lazy || fail "rechain: status $?"
	rm -rf "$DIR/dump"
	carry "$DIR/images" "$DIR/arrived"
	cp -a "$DIR"/images/snapshot-[1234] "$DIR/arrived"
	rm "$DIR"/arrived/snapshot-[13]/pages-*.img
	source_up
	PROC=/proc
	arrive
	go
	answer_ok 60
	daemon_ok 60
	source_over
	# Forked children have pages of their own to be filled.
	filled=$(($(figure pages_demand) + $(figure pages_neighbour) + $(figure pages_sweep)))
	remote=$(($(figure bytes_wire) / 4096 + $(figure remote_zero)))
	report "source=$SOURCE filled=$filled remote=$remote what=\"$what\"" "$ANSWER"
	[ $((remote * 10)) -lt $((filled * 9)) ] || fail "$remote of $filled pages came from the source, not three in five"
	[ $((remote * 10)) -gt $((filled * 4)) ] || fail "$remote of $filled pages came from the source, not three in five"
done
