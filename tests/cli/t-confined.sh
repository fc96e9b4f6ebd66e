#!/bin/bash
# SPDX-License-Identifier: MIT
# What keeper, worker and server have kept while they are at work, as the kernel tells it: capabilities in every set,
# no_new_privs, the filter. And that it is enough: the fill ends well, and so it does when workers die, keepers die and
# newer versions take their place.
. "$(dirname "$0")/lib.sh"

[ "$DAEMON" = lazyd ] || skip "CRIU's own daemon keeps everything"

KILL=0000000000000020 NONE=0000000000000000
# Builds with a sanitizer give up capabilities and no more, and say so.
FILTER=2
[ "${LZ_BUILD:-plain}" = plain ] || FILTER=0

# field PID NAME: of its status.
field() { awk -v name="$2:" '$1 == name { print $2 }' "/proc/$1/status"; }

# confined WHO PID CAPABILITIES
confined() {
	local set
	for set in CapPrm CapEff CapBnd; do
		[ "$(field "$2" $set)" = "$3" ] || fail "$1: $set is $(field "$2" $set), not $3"
	done
	for set in CapInh CapAmb; do
		[ "$(field "$2" $set)" = $NONE ] || fail "$1: $set is $(field "$2" $set)"
	done
	[ "$(field "$2" NoNewPrivs)" = 1 ] || fail "$1: may gain privileges"
	[ "$(field "$2" Seccomp)" = $FILTER ] || fail "$1: Seccomp is $(field "$2" Seccomp), not $FILTER"
}

# said FILE CAPABILITIES: in one line of the log.
said() {
	local calls
	[ "$(grep -c event=confined "$1")" = 1 ] || fail "not one word of the confinement in $1"
	calls=$(sed -n "s/.* level=info event=confined capabilities=$2 \(.*\)/\1/p" "$1")
	[ -n "$calls" ] || fail "it is not $2 that was kept: $(grep event=confined "$1")"
	[ $FILTER = 0 ] || [[ $calls =~ ^system_calls=[1-9][0-9]\ landlock=[1-9]$ ]] || fail "what was kept: $calls"
	[ $FILTER = 2 ] || [[ $calls == *sanitizer* ]] || fail "what was kept: $calls"
	if grep event=not-confined "$1"; then fail "of $1"; fi
	KEPT=${calls% landlock*}
}

# upgrade: the program takes its own place; 1 when the fill is over before that.
upgraded_or_end() { [ "$(grep -c event=upgraded "$DIR/work/daemon.log")" -gt "$last" ] || is_pair_over; }
upgrade() {
	local last
	last=$(grep -c event=upgraded "$DIR/work/daemon.log")
	kill -USR2 "$KEEPER" 2>/dev/null || return 1
	within 20 upgraded_or_end || fail "not upgraded"
	within 20 have_pair_or_end || fail "upgraded, and there is no worker"
	! is_pair_over
}

work fill 128 2
dump
daemon
pair
confined keeper "$KEEPER" $KILL
confined worker "$WORKER" $KILL
restore
go
answer_ok 60
daemon_ok 60
said "$DIR/work/daemon.log" cap_kill
report "who=fill $KEPT" "$ANSWER"

# Of images that are somebody else's one is asked for more; from the last copy of them.
[ "$(stat -c %u "$DIR/images")" = 0 ] || fail "whose are the images?"
chown -R 65534 "$DIR/images"
daemon
confined keeper "$DAEMON_PID" 0000000000000028
restore
go
answer_ok 60
daemon_ok 60
said "$DIR/work/daemon.log" cap_fowner,cap_kill
report "who=others-images $KEPT" "$ANSWER"

# That may be read by who could read everything when it started: not by what is to take its place.
chmod 600 "$DIR/images"/*
daemon
pair
kill -USR2 "$KEEPER"
refused() { grep -q event=upgrade-refused "$DIR/work/daemon.log"; }
within 20 refused || fail "an upgrade that cannot read the images is not refused"
restore
go
answer_ok 60
daemon_ok 60
report "who=refused" "$ANSWER"
chmod 644 "$DIR/images"/*

# Of a directory as runc makes them, where going in takes a capability, no name is left either.
chmod 600 "$DIR/work"
daemon
said "$DIR/work/daemon.log" cap_fowner,cap_kill
kill -TERM "$DAEMON_PID"
daemon_end 60 || fail "the daemon is not over"
[ "$DAEMON_RC" = 0 ] || fail "the daemon ended with status $DAEMON_RC"
[ -S "$DIR/work/lazy-pages.socket" ] || fail "it could remove its socket: this is not such a directory"
chmod 755 "$DIR/work"

mkfifo "$DIR/serving"
"$LAZYD" serve -D "$DIR/images" -W "$DIR/work" -o serve.log -v --address "$DIR/work/pages.socket" --status-fd 9 \
	</dev/null >"$DIR/serve.out" 9>"$DIR/serving" 7>&- 8>&- &
SERVER=$!
is_ready "$DIR/serving" || fail "no ready byte: $(cat "$DIR/serve.out")"
confined server "$SERVER" $NONE
daemon --page-server --address "$DIR/work/pages.socket"
pair
upgrade || fail "no upgrade with a page server"
confined "keeper with a page server" "$KEEPER" 0000000000000028
restore
go
answer_ok 60
daemon_end 60 || fail "the daemon is not over"
[ "$DAEMON_RC" = 0 ] || fail "the daemon ended with status $DAEMON_RC"
kill -TERM "$SERVER"
wait "$SERVER" || fail "serve ended with status $?"
daemon_is_tidy
[ ! -e "$DIR/work/pages.socket" ] || fail "serve is over and its socket is still there"
said "$DIR/work/serve.log" none
report "who=serve $KEPT" "$ANSWER"

# ---- workers die, keepers die, newer versions take their place; a keeper that has been a worker is upgraded, too ----

is_noted() { [ "$(cat "$DIR/work/daemon.pid")" = "$KEEPER" ]; }
rm -rf "$DIR/images" "$DIR/stats.json" "$DIR/work/daemon.log"
mkdir "$DIR/images"
work fill 1024 2
dump
"$LAZYD" fill -D "$DIR/images" -W "$DIR/work" -o daemon.log -v --stats "$DIR/stats.json" --daemon --pidfile daemon.pid \
	</dev/null 7>&- 8>&- || fail "status $? from the start in the background"
DAEMON_PID=$(cat "$DIR/work/daemon.pid")
pair
for what in kill_worker kill_keeper upgrade kill_keeper kill_worker; do
	$what || fail "$what: the pair is over before any restore"
	confined "keeper after $what" "$KEEPER" $KILL
	confined "worker after $what" "$WORKER" $KILL
	within 20 is_noted || fail "$what: the pidfile holds $(cat "$DIR/work/daemon.pid"), the keeper is $KEEPER"
done
restore
go
steps=0
while kill_worker && kill_keeper && upgrade; do
	steps=$((steps + 3))
done
[ $steps -ge 3 ] || fail "the fill was over after $steps steps"
answer_ok 120
within 60 is_pair_over || fail "the keeper is not over"
within 20 is_gone "$KEEPER" || fail "the last keeper stays"
grep -q '"exit_status": 0' "$DIR/stats.json" || fail "no success in the stats: $(cat "$DIR/stats.json")"
daemon_is_tidy
if grep event=not-confined "$DIR/work/daemon.log"; then fail "of $DIR/work/daemon.log"; fi
if grep event=pidfile "$DIR/work/daemon.log"; then fail "of the pidfile"; fi
report "who=successors steps=$steps $ANSWER"
