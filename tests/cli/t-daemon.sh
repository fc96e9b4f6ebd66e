#!/bin/bash
# SPDX-License-Identifier: MIT
# In the background, as container runtimes start it: options before the subcommand, which is CRIU's name for it;
# --daemon returns when the socket is there, --pidfile holds the decimal pid and no more, the log is where the work
# folder is. The exit status of a daemon in the background is nobody's, so its end is what counts.
. "$(dirname "$0")/lib.sh"

case $DAEMON in
lazyd) binary=$LAZYD ;;
criu) binary=$CRIU ;;
esac
work fill 128 2
dump
cd "$DIR" || exit 1
mkfifo status
is_ready status &
"$binary" -o daemon.log -v --no-default-config lazy-pages --images-dir images --work-dir "$DIR/work" --daemon \
	--pidfile daemon.pid --status-fd 9 </dev/null >daemon.out 2>&1 9>status 7>&- 8>&- ||
	fail "status $? from the start in the background: $(cat daemon.out)"
wait $! || fail "no ready byte"
[ -S work/lazy-pages.socket ] || fail "started, and there is no socket"
[[ $(od -An -c work/daemon.pid | tr -d ' \n') =~ ^[0-9]+$ ]] || fail "not a pidfile: $(cat work/daemon.pid)"
DAEMON_PID=$(cat work/daemon.pid)
alive "$DAEMON_PID" || fail "there is no process $DAEMON_PID"
[ "$(readlink "/proc/$DAEMON_PID/fd/0")" = /dev/null ] || fail "its standard input is not /dev/null"
[ -e work/daemon.log ] || fail "there is no log in the work folder"
restore
go
answer_ok 60
within 60 daemon_is_over || fail "the daemon is not over"
daemon_is_tidy
report "$ANSWER"
