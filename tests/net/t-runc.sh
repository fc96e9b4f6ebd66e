#!/bin/bash
# SPDX-License-Identifier: MIT
# The lazy migration of a container as runc does it: `runc checkpoint --lazy-pages` on one host, the daemon and `runc restore
# --lazy-pages` on the other, each step begun when the one before has said that it is ready (--status-fd). The program in
# the container compares every byte.
# shellcheck source=tests/net/lib-net.sh
. "$(dirname "$0")/lib-net.sh"
command -v runc >/dev/null || skip "runc is missing"
[ -z "$ONLY_SOURCE" ] || [ "$SOURCE" = criu-live ] || skip "runc's source is a live dump"
SOURCE=criu-live
PATH=$(dirname "$CRIU"):$PATH
ID=${DIR##*/}

# Control groups outlive the namespaces.
clean() {
	on_source runc --root "$DIR/run-source" delete --force "$ID-1"
	runc --root "$DIR/run" delete --force "$ID-2"
} >/dev/null 2>&1
trap clean EXIT

# bundle PATH: a container that has this machine's programs, read-only, and the test's folder.
bundle() {
	local mounts='' dir
	mkdir -p "$1/rootfs"
	for dir in /usr /lib /lib64 /bin "$WORK" "$DIR"; do
		# Debian's /lib is a link into /usr.
		if [ -h "$dir" ]; then
			cp -P "$dir" "$1/rootfs"
		elif [ -e "$dir" ]; then
			mounts+=", { \"destination\": \"$dir\", \"type\": \"bind\", \"source\": \"$dir\", \"options\": [\"bind\", \"rw\"] }"
		fi
	done
	cat >"$1/config.json" <<-END
		{
			"ociVersion": "1.0.2",
			"process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/usr/bin"],
				"args": ["$WORK/fill", "$DIR/say", "256", "2"] },
			"root": { "path": "rootfs" },
			"mounts": [
				{ "destination": "/proc", "type": "proc", "source": "proc" },
				{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }
				$mounts
			],
			"linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] }
		}
	END
}

source_command() {
	SOURCE_COMMAND=(runc --root "$DIR/run-source" checkpoint --lazy-pages --page-server "$SOURCE_ADDR:$PORT" --status-fd 9
		--image-path "$DIR/images" --work-path "$DIR/source" "$ID-1")
}

try_restore() {
	local t0=$EPOCHREALTIME status=0
	runc --root "$DIR/run" --log "$DIR/work/runc.log" restore -d --lazy-pages --image-path "$DIR/arrived" --work-path "$DIR/work" \
		--bundle "$DIR/bundle2" --pid-file "$DIR/pid2" "$ID-2" </dev/null >/dev/null 2>&1 6>&- 7>&- 8>&- || status=$?
	RESTORED=$EPOCHREALTIME
	RESTORE_S=$(since "$t0" "$RESTORED")
	[ $status != 0 ] || PID=$(cat "$DIR/pid2")
	return $status
}

bundle "$DIR/bundle1"
bundle "$DIR/bundle2"
# shellcheck disable=SC2016 # expanded over there
on_source sh -c 'exec "$@" </dev/null >/dev/null 2>&1' - runc --root "$DIR/run-source" --log "$DIR/work/runc.log" run -d \
	--bundle "$DIR/bundle1" --pid-file "$DIR/pid1" "$ID-1" || skip "runc cannot run a container here: $(tail -n 1 "$DIR/work/runc.log")"
PROC=/proc/$SOURCE_INIT/root/proc
PID=$(cat "$DIR/pid1")
hear 60 || fail "$LINE, not even that it is ready"
[[ $LINE = "ready 1 "* ]] || fail "instead of getting ready the program said: $LINE"
leave
arrive
verify
daemon_ok 60
source_over
report "source=runc" "$ANSWER"
