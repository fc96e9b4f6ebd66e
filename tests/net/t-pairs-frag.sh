#!/bin/bash
# SPDX-License-Identifier: MIT
# Every second page of an area populated, so that there are as many ranges as pages: all pairings of lazyd and CRIU at
# either end. 131,072 ranges between two lazyds; CRIU's time grows with the square of them and it gets fewer.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"

up() { work frag $ranges; }

ranges=131072
pairs lazyd:lazyd
ranges=8192
# shellcheck disable=SC2086 # words
pairs ${ALL_PAIRS#* }
