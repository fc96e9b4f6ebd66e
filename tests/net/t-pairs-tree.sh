#!/bin/bash
# SPDX-License-Identifier: MIT
# A tree of five processes of 32 MiB each, which fork, fork again and exit while their memory arrives over a network: all
# pairings of lazyd and CRIU at either end, live dumps among them.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

up() { work tree 32; }
# shellcheck disable=SC2086 # words
pairs $ALL_PAIRS
