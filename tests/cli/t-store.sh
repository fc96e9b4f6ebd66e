#!/bin/bash
# SPDX-License-Identifier: MIT
# Keeper and worker killed in the same instant, under a stand-in for systemd that keeps their descriptors and starts them
# again: before any restore, and up to a dozen times in the middle of a fill. Every byte is right, and the exit status is
# that of the last one.
. "$(dirname "$0")/lib.sh"
[ "$DAEMON" = lazyd ] || skip "CRIU's daemon keeps nothing anywhere"
[ -x /usr/bin/python3 ] || skip "there is no python3"

mkfifo "$DIR/control"
binary=$LAZYD
seen() { [ "$(grep -c event=restarted "$DIR/work/daemon.log")" -ge "$1" ]; }
seen_or_end() { seen "$1" || daemon_is_over; }

# both_die: and go on; 1 when the fill was over before that.
both_die() {
	daemon_is_over && return 1
	echo kill >&5
	within 20 seen_or_end $((deaths + 1)) || fail "not restarted after $deaths deaths"
	seen $((deaths + 1)) || return 1
	deaths=$((deaths + 1))
}

# The command that is started is the stand-in's.
daemon_by_manager() {
	cat >"$DIR/lazyd" <<END
#!/bin/sh
exec /usr/bin/python3 "$here/manager.py" "$DIR/control" "$binary" "\$@"
END
	chmod +x "$DIR/lazyd"
	LAZYD=$DIR/lazyd
	deaths=0
	exec 5<>"$DIR/control"
	daemon
	LAZYD=$binary
}

# begin WORKLOAD: restored, and all have died once before that.
begin() {
	rm -rf "$DIR/images" && mkdir "$DIR/images"
	work "$@"
	dump
	daemon_by_manager
	both_die || fail "over before any restore"
	restore
}

begin fill 1024 2
go
while [ $deaths -lt 12 ] && both_die; do :; done
[ $deaths -ge 2 ] || fail "the fill was over after $deaths deaths"
answer_ok 120
daemon_ok 60
report "workload=fill deaths=$deaths $ANSWER"

# Five tasks. Not while they fork: a child that came in the instant of the death is not in the store.
begin tree 200
while [ $deaths -lt 5 ] && both_die; do :; done
[ $deaths -ge 2 ] || fail "the fill was over after $deaths deaths"
go
answer_ok 120
daemon_ok 60
report "workload=tree deaths=$deaths $ANSWER"
