#!/bin/bash
# SPDX-License-Identifier: MIT
# Dumped by CRIU 4.1 and restored by 4.2, whose page-server headers are of another length: lazyd at one end or both speaks
# to either. CRIU 4.2's page server with images of 4.1 is the one case that must be told (--ps-header).
CRIU_VERSIONS=4.2
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
OLD=$("$here/get-criu" 4.1) || skip "there is no criu 4.1"
NEW=$CRIU

up() { work fill 64 1; }
verify() { go; answer_ok 60; }

# one SOURCE CRIU DAEMON ARGUMENT...: that page server, restored by the new one.
one() {
	local source=$1 server=$2 daemon=$3
	shift 3
	[ "$source:$daemon" = "${ONLY_SOURCE:-$source}:${ONLY_DAEMON:-$daemon}" ] || return 0
	SOURCE=$source DAEMON=$daemon
	CRIU=$server
	source_up
	CRIU=$NEW
	PROC=/proc
	arrive "$@"
	verify
	daemon_ok 60
	source_over
	report "source=$source server=\"$("$server" --version | head -n 1)\" arguments=\"$*\"" "$ANSWER"
}

CRIU=$OLD
up
dump
CRIU=$NEW
carry "$DIR/images" "$DIR/arrived"
one lazyd "$NEW" lazyd
one lazyd "$NEW" criu
one criu "$OLD" lazyd
one criu "$NEW" lazyd --ps-header 32
one criu "$NEW" criu
