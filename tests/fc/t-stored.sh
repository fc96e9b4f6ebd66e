#!/bin/bash
# SPDX-License-Identifier: MIT
# Keeper and worker killed in the same instant, again and again, under a stand-in for systemd that keeps their descriptors
# and starts them again, while VMs with balloons take their memory from a file here, and from a page server. VMs that
# are there go on, and others come.
# shellcheck source-path=SCRIPTDIR source=lib-fc.sh
. "${0%/*}/lib-fc.sh"
[ -x /usr/bin/python3 ] || skip "there is no python3"

here=$(cd "${0%/*}" && pwd)
mkfifo "$DIR/control"
exec 8<>"$DIR/control"
cat >"$DIR/lazyd" <<END
#!/bin/sh
[ "\$1" = fill ] || exec "$LAZYD" "\$@"
exec /usr/bin/python3 "$here/../cli/manager.py" "$DIR/control" "$LAZYD" "\$@" 8>&-
END
chmod +x "$DIR/lazyd"
LAZYD=$DIR/lazyd
# What the stand-in has started would go on without it.
trap '[ -z "$FILL_PID" ] || kill -KILL $(pgrep -P "$FILL_PID"); clean_up' EXIT

MIB=64
TRUTH=$DIR/memory
"$PEER" base "$TRUTH" $MIB 6 || fail "no memory file"
head -c 10000 /dev/urandom >"$DIR/vmstate"

restarted() { [ "$(count event=restarted)" -ge "$1" ]; }
loaded() { [ "$(grep -l loaded "$DIR"/peer-[1-6].out | wc -l)" = 6 ]; }

# live_through ARGUMENT...: a fill, which is started with them
live_through() {
	local deaths=0 pid
	"$@"
	for i in 1 2 3 4 5 6; do start_vm "$i" --operations 15000 --remove 10 --seed "$i" --threads 2; done
	within 60 loaded || fail "not all VMs have come"
	while [ $deaths -lt 6 ]; do
		deaths=$((deaths + 1))
		echo kill >&8
		within 20 restarted $deaths || fail "not restarted after $deaths deaths"
		[ $((deaths % 2)) = 0 ] || vm_ok --threads 1 --operations 1000 --remove 10
	done
	vms_end "${PIDS[@]: -6}"
	vm_ok
	kill -TERM "$(pgrep -P "$FILL_PID")"
	fill_ends 0
	logged "event=resumed spaces=[1-9]" || fail "none of them died in the midst of it"
	[ "$(figure pages_lost)" = 0 ] || fail "pages were lost"
}

ROW="memory in a file"
live_through fill --memory "$TRUTH" --no-sweep

ROW="memory with a page server"
serve --memory "$TRUTH" --snapshot "$DIR/vmstate"
live_through from_there
serve_ends
echo ok
