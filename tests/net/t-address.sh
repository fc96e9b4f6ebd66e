#!/bin/bash
# SPDX-License-Identifier: MIT
# The ways to a source: IPv4, IPv6, a name of several addresses, a unix socket, a connection that is handed over
# (--ps-socket), a source that ends with its first client (--once), and CRIU's name for it, which lets all addresses in.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
[ "$SOURCE:$DAEMON" = lazyd:lazyd ] || skip "this is of lazyd's options"

# fetch MODE ARGUMENT...: of the daemon.
fetch() {
	local mode=$1
	shift
	arrive "$@"
	verify
	daemon_ok 60
	report "mode=$mode source=$SOURCE" "$ANSWER"
}

work fill 32 1
leave
fetch ipv4
exec 5<>"/dev/tcp/$SOURCE_ADDR/$PORT" || fail "cannot connect"
fetch ps-socket --ps-socket 5
exec 5>&-
source_over

# A name of two hosts' addresses, and nobody listens at what is tried first.
printf '%s source\n' "$SOURCE_ADDR6" "$SOURCE_ADDR" 127.0.0.1 >"$DIR/hosts"
mount --bind "$DIR/hosts" /etc/hosts || fail "cannot have a name"
[ "$(getent ahosts source | head -n 1 | cut -d ' ' -f 1)" = "$SOURCE_ADDR6" ] || fail "IPv6 does not come first here"
LISTEN=$SOURCE_ADDR
source_up
fetch name --address source
grep -q "event=source-lost peer=source:$PORT reason=\"Connection refused\"" "$DIR/work/daemon.log" ||
	fail "the log does not name where nobody listens"
source_over
umount /etc/hosts

LISTEN=$SOURCE_ADDR6
source_up
fetch ipv6 --address "$SOURCE_ADDR6"
source_over

LISTEN=$DIR/pages.socket
source_up --once
[ -S "$LISTEN" ] || fail "there is no socket $LISTEN"
fetch unix --address "$LISTEN"
source_end 20 || fail "the source was to serve one client and goes on"
[ "$SOURCE_RC" = 0 ] || fail "the source ended with status $SOURCE_RC"
[ ! -e "$LISTEN" ] || fail "the source is over and $LISTEN is still there"

source_command() {
	SOURCE_COMMAND=("$LAZYD" page-server --lazy-pages -D "$DIR/images" -W "$DIR/source" -o source.log --port "$PORT" --status-fd 9)
}
source_up
fetch as-criu
source_end 20 || fail "a page-server was to serve one client and goes on"
[ "$SOURCE_RC" = 0 ] || fail "the source ended with status $SOURCE_RC"
