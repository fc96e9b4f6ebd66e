#!/bin/bash
# SPDX-License-Identifier: MIT
# 128 MiB, one thread that touches an eighth of it, timed, and then reads all of it in random order while it arrives over a
# network: all pairings of lazyd and CRIU at either end, live dumps among them.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

up() { work fill 128 1 latency; }
# shellcheck disable=SC2086 # words
pairs $ALL_PAIRS
