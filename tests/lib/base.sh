# shellcheck shell=bash disable=SC2034 # what is set here is read by tests
# SPDX-License-Identifier: MIT
#
# base.sh: what every test of the command begins with, whoever it plays. Read by tests/cli/lib.sh and tests/fc/lib-fc.sh,
# and by tests that want neither.
#
# NAME is the test's, build the build tree, LAZYD the binary (that of the build tree unless told).

set -u
export LC_ALL=C

NAME=${0##*/}
NAME=${NAME#t-}
NAME=${NAME%.sh}
build=$(cd "${top_builddir:-.}" && pwd)
LAZYD=${LAZYD:-$build/lazyd}

skip() { printf 'skip: test=%s %s\n' "$NAME" "$*"; exit 77; }

# within SECONDS COMMAND...: for what no event tells: asks again, with short naps, until it is so. 1 if it never was.
within() {
	local until=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.01
	done
}

# figure NAME [FILE]: from --stats $DIR/stats.json, or FILE.
figure() { sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' "${2:-$DIR/stats.json}" | head -n 1; }

# is_ready FIFO: waits for the zero byte that --status-fd writes there.
is_ready() { [ "$(timeout 60 od -An -tx1 -N1 "$1")" = " 00" ]; }

# worker_of KEEPER: the child that tells it of its end (field 38 of stat). Not so the one that LeakSanitizer clones when
# the keeper ends: that one killed, the keeper spins for ever. 1 if there is no worker, or not yet.
PROC=/proc
worker_of() {
	local child stat
	# shellcheck disable=SC2013 # words, not lines
	for child in $(cat "$PROC/$1"/task/*/children 2>/dev/null); do
		read -ra stat 2>/dev/null <"$PROC/$child/stat" && [ "${stat[37]}" = 17 ] && echo "$child" && return
	done
	return 1
}
