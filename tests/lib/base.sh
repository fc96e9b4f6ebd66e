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

# figure NAME: from --stats $DIR/stats.json.
figure() { sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' "$DIR/stats.json" | head -n 1; }
