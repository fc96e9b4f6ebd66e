# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # as in lib.sh
# SPDX-License-Identifier: MIT
#
# lib-net.sh: two hosts for the tests with a network, on top of tests/cli/lib.sh, which is read from here. A test sources
# it and then finds itself on the destination: the daemon and criu restore run there, in the namespaces that lib.sh makes
# (pid, mount) and a network namespace. The source is another set of the three inside; its processes have pids from 20,001
# on, so that on the destination, where a live dump's tasks must be restored while they still stand on the source, those
# are free. A veth pair joins the two: SOURCE_ADDR and DEST_ADDR (SOURCE_ADDR6, DEST_ADDR6) are its ends; link_* slow it
# down, delay it, cut it. No storage is shared: `carry` copies the images without the bytes of lazy pages.
#
#   SOURCE   lazyd: `lazyd serve`; criu: `criu page-server --lazy-pages`; criu-live: `criu dump --lazy-pages`
#   DAEMON   lazyd or criu, as in tests/cli. A test with all pairings takes those that fit where one of them is given.
#
# The life of a migration:
#   work fill 512 1    PID and READY; on the source, as everything until the restore
#   leave              a dump, or a live one; images carried over; the source listens: SOURCE_PID (of the destination's view)
#   arrive             the daemon, then criu restore
#   go; answer_ok 60   as in tests/cli
#   daemon_ok 60       likewise
#   source_over        criu's ends by itself, with 0; lazyd's is asked to
#
# CRIU's sources need pipes of 3.2 MiB: fs.pipe-max-size is raised for as long as any test is here that wants it.

here_net=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PIPES=/proc/sys/fs/pipe-max-size
PIPES_WANTED=4194304

# The first here notes what it was, the last one restores it.
pipes_widen() {
	exec 4<>"${TMPDIR:-/tmp}/lazyd-pipe-max-size" || return 1
	flock -w 60 -s 4 || return 1
	[ "$(cat $PIPES)" -lt $PIPES_WANTED ] || return 0
	cat $PIPES >"${TMPDIR:-/tmp}/lazyd-pipe-max-size"
	{ echo $PIPES_WANTED >$PIPES; } 2>/dev/null
}

pipes_restore() {
	local was
	if flock -n -x 4 && read -r was <"${TMPDIR:-/tmp}/lazyd-pipe-max-size"; then
		echo "$was" >$PIPES
		: >"${TMPDIR:-/tmp}/lazyd-pipe-max-size"
	fi
	exec 4<&-
}

if [ -z "${VER:-}" ] || [ $$ != 1 ]; then
	NET=1 ONLY_SOURCE=${SOURCE:-} ONLY_DAEMON=${DAEMON:-}
	export ONLY_SOURCE ONLY_DAEMON
	unset SOURCE
	pipes_widen
	# In a shell of its own, for lib.sh's part out here ends with the tests.
	(
		# shellcheck source=tests/cli/lib.sh
		. "$here_net/../cli/lib.sh"
	)
	status=$?
	pipes_restore
	exit $status
fi
# shellcheck source=tests/cli/lib.sh
. "$here_net/../cli/lib.sh"

SOURCE_ADDR=10.7.0.1 DEST_ADDR=10.7.0.2
SOURCE_ADDR6=fd07::1 DEST_ADDR6=fd07::2
PORT=7000
SOURCE=${ONLY_SOURCE:-lazyd}
SOURCE_UNDER=()

for tool in ip tc nsenter; do
	command -v $tool >/dev/null || skip "$tool is missing (iproute2, util-linux)"
done

# ---- the two hosts and the link ----

on_source() { nsenter --target "$SOURCE_INIT" --pid --mount --net -- "$@" 6>&- 7>&- 8>&-; }

# SOURCE_INIT is the source's first process: it reaps, and that is all.
source_host() {
	mkfifo "$DIR/source-up" "$DIR/source-life" "$DIR/source-ended"
	exec 6<>"$DIR/source-ended"
	# shellcheck disable=SC2016 # expanded in there
	unshare --pid --fork --kill-child --mount --mount-proc --net bash -c '
		echo 20000 >/proc/sys/kernel/ns_last_pid && echo up >"$1"
		exec 0<>"$2"
		while :; do read -r _; done' - "$DIR/source-up" "$DIR/source-life" </dev/null 6>&- 7>&- 8>&- &
	SOURCE_INIT=$!
	read -r -t 20 _ <"$DIR/source-up" || fail "the source host does not come up"
	SOURCE_INIT=$(cat "/proc/$SOURCE_INIT/task/$SOURCE_INIT/children")
	SOURCE_INIT=${SOURCE_INIT% }
	AT_SOURCE=(nsenter --target "$SOURCE_INIT" --pid --mount --net --)
}

link_make() {
	{
		ip link set lo up
		on_source ip link set lo up
		ip link add name wire type veth peer name wire netns "$SOURCE_INIT"
		link_address wire
	} || fail "no veth pair"
}

# link_address DEVICE: both ends of it get the hosts' addresses, and are up.
link_address() {
	ip link set "$1" up && on_source ip link set "$1" up &&
		ip address add "$DEST_ADDR/24" dev "$1" && on_source ip address add "$SOURCE_ADDR/24" dev "$1" &&
		ip address add "$DEST_ADDR6/64" dev "$1" nodad && on_source ip address add "$SOURCE_ADDR6/64" dev "$1" nodad
}

# link_rate MBIT: both ways, with a queue of 100 ms as a cheap switch has it.
link_rate() {
	{
		tc qdisc replace dev wire root tbf rate "$1mbit" burst 16kb latency 100ms &&
			on_source tc qdisc replace dev wire root tbf rate "$1mbit" burst 16kb latency 100ms
	} || skip "this kernel has no tbf"
}

# link_delay MS MBIT: a link with that delay each way in place of the veth pair, by relay.c: not every kernel has netem.
link_delay() {
	[ -c /dev/net/tun ] || skip "there is no /dev/net/tun"
	mkfifo "$DIR/relay-up"
	ip link del wire
	"$build/tests/net/relay" wire "$SOURCE_INIT" $(($1 * 1000)) "$2" </dev/null >"$DIR/relay-up" 6>&- 7>&- 8>&- &
	RELAY_PID=$!
	disown $RELAY_PID
	read -r -t 20 _ <"$DIR/relay-up" || fail "no relay"
	link_address wire || fail "no addresses for the relay"
}

link_cut() { on_source ip link set wire down; }
link_mend() { on_source ip link set wire up; }

# received: the bytes that have come to the destination by the link, headers included.
received() { awk '{ sub(":", " ") } $1 == "wire" { print $2 }' /proc/self/net/dev; }
received_or_over() { [ "$(received)" -ge "$1" ] || daemon_is_over; }

# receive MBYTES: waits until so much more has come. 1 when the daemon is over before.
receive() {
	within 60 received_or_over $(($(received) + $1 * 1000000)) || fail "nothing comes by the link any more"
	! daemon_is_over
}

# ticks PID: hundredths of a second that it and its children have been running.
ticks() {
	local pid stat sum=0
	for pid in "$1" $(children "$1"); do
		{ read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
		# shellcheck disable=SC2086 # words; utime and stime are the 14th and 15th, the 12th and 13th behind the name
		set -- ${stat##*) }
		sum=$((sum + ${12} + ${13}))
	done
	printf '%s\n' $sum
}

# ---- the migration ----

# Overrides lib.sh's: on the source. PID is the pid there, which will be that on the destination.
start() {
	PROC=/proc/$SOURCE_INIT/root/proc
	# Opened over there, in a mount namespace that criu dump knows.
	# shellcheck disable=SC2016 # expanded in there
	"${AT_SOURCE[@]}" sh -c 'exec setsid "$@" </dev/null >/dev/null 2>&1' - "$@" 6>&- 7>&- 8>&- &
	within 10 started $! || fail "does not start: $*"
	disown $!
}

# shellcheck disable=SC2317 # within calls it
started() {
	local inside
	inside=$(cat "/proc/$1/task/$1/children" 2>/dev/null)
	[ -n "$inside" ] && PID=$(awk '$1 == "NSpid:" { print $NF }' "/proc/${inside% }/status" 2>/dev/null) && [ -n "$PID" ]
}

# eager_ranges PAGEMAP: "id N", then "OFFSET COUNT" for each run of pages in the pages file that are not lazy.
eager_ranges() {
	od -An -v -w1 -tu1 -j8 "$1" | awk "$VARINTS"'
		END {
			at = start = count = offset = 0
			stop = fixed32()
			stop += at
			while (at < stop)
				if (varint() == 8)
					print "id", varint()
				else
					varint()
			while (at < n) {
				stop = fixed32()
				stop += at
				old = new = flags = 0
				for (plain = 1; at < stop;) {
					key = varint()
					v = varint()
					if (key == 16)
						old = v
					else if (key == 24)
						flags += v
					else if (key == 32) {
						flags += v
						plain = 0
					} else if (key == 40)
						new = v
				}
				pages = new ? new : old
				# No flags at all: an image of old, all there.
				if (plain && !flags)
					flags = 4
				if (int(flags / 4) % 2 == 0)
					continue
				if (int(flags / 2) % 2 == 0) {
					if (start + count != offset && count)
						print start, count
					if (start + count != offset || !count) {
						start = offset
						count = 0
					}
					count += pages
				}
				offset += pages
			}
			if (count)
				print start, count
		}'
}

# carry FROM TO: copies images as to another host: of the pages files only what is not lazy, at its place.
carry() {
	local image first second pages
	rm -rf "$2"
	mkdir "$2"
	find "$1" -mindepth 1 -maxdepth 1 ! -name 'pages-*.img' ! -type d -exec cp -a -t "$2" {} + || fail "cannot copy the images"
	for image in "$2"/pagemap-*.img; do
		pages=
		while read -r first second; do
			if [ "$first" = id ]; then
				pages=pages-$second.img
				[ -e "$1/$pages" ] || break
				truncate -r "$1/$pages" "$2/$pages"
			else
				dd if="$1/$pages" of="$2/$pages" bs=4096 skip="$first" seek="$first" count="$second" conv=notrunc \
					status=none || fail "cannot copy $pages"
			fi
		done < <(eager_ranges "$image")
		[ -n "$pages" ] || fail "no head in $image"
	done
}

source_command() {
	local common=(-D "$DIR/images" -W "$DIR/source" -o source.log --address "${LISTEN:-$SOURCE_ADDR}" --port "$PORT" --status-fd 9)
	case $SOURCE in
	lazyd) SOURCE_COMMAND=("$LAZYD" serve "${common[@]}" -v "$@") ;;
	criu) SOURCE_COMMAND=("$CRIU" page-server --lazy-pages "${common[@]}" -v1 "$@") ;;
	criu-live) SOURCE_COMMAND=("$CRIU" dump -t "$PID" --lazy-pages "${common[@]}" -v2 "$@") ;;
	*) skip "SOURCE=$SOURCE is neither lazyd nor criu nor criu-live" ;;
	esac
}

# source_up ARGUMENT...: starts the source; returns when it listens.
source_up() {
	local byte parent
	mkdir -p "$DIR/source"
	rm -f "$DIR/source-status" "$DIR/source/source.log"
	ln -sf ../source/source.log "$DIR/work/source.log"
	mkfifo "$DIR/source-status"
	[ "$SOURCE" = lazyd ] || [ "$(cat $PIPES)" -ge $PIPES_WANTED ] || skip "CRIU's source needs $PIPES of $PIPES_WANTED"
	source_command "$@"
	(
		exec 6>&- 7>&- 8>&-
		"${AT_SOURCE[@]}" "${SOURCE_UNDER[@]}" "${SOURCE_COMMAND[@]}" </dev/null >"$DIR/source.out" 2>&1 9>"$DIR/source-status" &
		wait $!
		printf 'end %s %s\n' $? "$EPOCHREALTIME" >"$DIR/source-ended"
	) 2>/dev/null &
	parent=$!
	is_ready "$DIR/source-status" || fail "no ready byte from the source $(tail -n 3 "$DIR/source.out")"
	# The shell, nsenter, and what that has started.
	SOURCE_PID=$(PROC=/proc && children "$parent" | sed -n 2p)
	[ -n "$SOURCE_PID" ] || fail "the source is ready and there is no process"
}

# source_end SECONDS: waits for it to end: SOURCE_RC, SOURCE_END. 1 if it does not.
source_end() {
	local word
	read -r -t "$1" -u 6 word SOURCE_RC SOURCE_END || return 1
	[ "$word" = end ] || fail "not an end of the source: $word"
}

# source_over: it must be well to the end, and say 0.
source_over() {
	[ "$SOURCE" != lazyd ] || kill -TERM "$SOURCE_PID" || fail "there is no source any more"
	source_end 20 || fail "the source is not over"
	[ "$SOURCE_RC" = 0 ] || fail "the source ended with status $SOURCE_RC"
}

# source_kill: like a host that fails; what was there is gone without a word. The kernel may take a moment more to close
# what io_uring held for it, and only then is the port free.
source_kill() {
	kill -KILL "$SOURCE_PID" || fail "there is no source any more"
	source_end 20 || fail "the source is not over"
	within 10 source_is_deaf || fail "the source is dead and its port is not free"
}
# shellcheck disable=SC2317 # within calls it
source_is_deaf() {
	! on_source cat /proc/net/tcp | awk -v port="$(printf ':%04X$' "$PORT")" '$2 ~ port && $4 == "0A" { n++ } END { exit !n }'
}

# nsenter stops when what it runs stops, and must be woken too.
source_stop() { kill -STOP "$SOURCE_PID"; }
source_go_on() { kill -CONT "$SOURCE_PID" "$(awk '$1 == "PPid:" { print $2 }' "/proc/$SOURCE_PID/status")"; }

# leave ARGUMENT...: from the source; the arguments are those of the program that serves the pages.
leave() {
	rm -rf "$DIR/images"
	mkdir "$DIR/images"
	if [ "$SOURCE" = criu-live ]; then
		source_up "$@"
		LAZY_PAGES=$(lazy_pages "$DIR/images")
		[ "$LAZY_PAGES" -gt 1000 ] || once_more "only $LAZY_PAGES pages in the image are lazy"
		carry "$DIR/images" "$DIR/arrived"
	else
		dump
		carry "$DIR/images" "$DIR/arrived"
		source_up "$@"
	fi
	PROC=/proc
}

# low_pids: before each of many restores: what else starts here must not have come to the pids of the source, at one of
# which criu restore would find it.
low_pids() {
	local last
	read -r last </proc/sys/kernel/ns_last_pid
	[ "$last" -lt 10000 ] || echo 1000 >/proc/sys/kernel/ns_last_pid || fail "pids cannot be set back"
}

# arrive ARGUMENT...: at the destination; the arguments are the daemon's.
arrive() {
	IMAGES=$DIR/arrived RESTORE_IMAGES=$DIR/arrived
	daemon --page-server --address "$SOURCE_ADDR" --port "$PORT" "$@"
	restore
}

# ---- all pairings ----

ALL_PAIRS='lazyd:lazyd lazyd:criu criu:lazyd criu:criu criu-live:lazyd criu-live:criu'

# pairs SOURCE:DAEMON...: a migration for each pairing of ends: `up` brings the process up, `verify` tells it to go on
# and has it checked, `judge` looks at the figures; a test may bring its own. One dump is for all but the live ones.
pairs() {
	local pair rx dumped=''
	for pair; do
		SOURCE=${pair%:*} DAEMON=${pair#*:}
		[ "$SOURCE:$DAEMON" = "${ONLY_SOURCE:-$SOURCE}:${ONLY_DAEMON:-$DAEMON}" ] || continue
		if [ "$SOURCE" = criu-live ] || [ -z "$dumped" ]; then
			up
			leave
			[ "$SOURCE" = criu-live ] || dumped=1
		else
			source_up
		fi
		rx=$(received)
		arrive
		verify
		daemon_ok 60
		WIRE_BYTES=$(($(received) - rx))
		source_over
		report "source=$SOURCE wire_bytes=$WIRE_BYTES" "$ANSWER"
		judge
	done
}

verify() {
	go
	answer_ok 120
}
judge() { :; }

# come_first: what else the machine has to do is kept out of a measurement: source, daemon, process and link go first.
come_first() {
	local pid
	for pid in "$PID" "$SOURCE_PID" "$DAEMON_PID" $(children "$DAEMON_PID") ${RELAY_PID:-}; do
		chrt --all-tasks --fifo --pid 1 "$pid" || return 0
	done
} 2>/dev/null

# ---- more destinations ----

# destination N: runs the test once more, as destination N of the images that are there: with pids and a fifo of its own,
# and GUEST=N. It ends before `source_host`; what it says is in $DIR/guest-N.out, its pid in GUEST_PID.
destination() {
	local host=$DIR
	mkdir "$host/guest-$1"
	GUEST=$1 HOST_DIR=$host DIR=$host/guest-$1 PID=$PID LAZY_PAGES=$LAZY_PAGES unshare --pid --fork --kill-child --mount \
		--mount-proc bash "$0" </dev/null >"$host/guest-$1.out" 2>&1 6>&- 7>&- 8>&- &
	GUEST_PID=$!
}

if [ -n "${GUEST:-}" ]; then
	# The process speaks to where the first one did.
	mount --bind "$DIR/say" "$HOST_DIR/say" || fail "mount --bind"
	ln -s "$HOST_DIR/arrived" "$DIR/arrived"
else
	source_host
	link_make
fi
