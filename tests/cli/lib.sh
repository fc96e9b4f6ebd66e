# shellcheck shell=bash disable=SC2034,SC2119,SC2120 # what is set here is read, and called without arguments, by tests
# SPDX-License-Identifier: MIT
#
# lib.sh: what the tests with a real CRIU share. A test sources it first and is then run once for each CRIU version, in
# a pid and mount namespace of its own: the pids of a checkpoint are free again whatever else the machine does, tests may
# run at the same time, and nothing survives the test. It is no test and starts nothing by itself.
#
# From the environment:
#   CRIU_VERSIONS   "4.1 4.2" unless told; fetched by get-criu where they are missing
#   DAEMON          lazyd (default), or criu for CRIU's own daemon in the same place
#   LAZYD           the binary, ${top_builddir:-.}/lazyd unless told; the programs that get checkpointed
#                   are in ${top_builddir:-.}/tests/cli/work
#   KEEP=1          leaves the folder of a failed test behind
# From what sources it (tests/net/lib-net.sh): NET=1 for a network namespace too, AT_SOURCE what runs a command on the
# host that is dumped from, PROC that host's /proc, IMAGES and RESTORE_IMAGES the images of the daemon and of criu restore.
# From benches: UNDER, a command that runs the daemon.
#
# A test sees: VER, CRIU (its path), DIR (a folder that goes away), NAME (of the test). Exit status 0, 1, or 77 with a
# line "skip: reason".

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib/base.sh
. "$here/../lib/base.sh"
DAEMON=${DAEMON:-lazyd}
WORK=$build/tests/cli/work

fail() {
	local log
	printf 'FAIL: test=%s criu=%s daemon=%s %s\n' "$NAME" "${VER:-}" "$DAEMON" "$*"
	for log in dump source restore daemon; do
		[ -s "${DIR:-/nonexistent}/work/$log.log" ] || continue
		printf -- '--- the end of %s.log\n' "$log"
		tail -n 12 "$DIR/work/$log.log"
	done
	exit 1
}

# once_more REASON: the checkpoint is not what the test is about, and it is CRIU's doing: a thread whose stack pointer
# ends in twelve zero bits, one in 256 of a program's, has all pages of its process dumped as eager. Or the fill was over
# before it could be disturbed. Four times, then it is a failure.
once_more() {
	printf 'again: test=%s criu=%s %s\n' "$NAME" "$VER" "$*"
	exit 75
}

# known REASON: a failure that CRIU's own daemon is known for; any other daemon fails by it.
known() {
	[ "$DAEMON" = criu ] || fail "$*"
	skip "criu=$VER: CRIU's own daemon fails here, as is known: $*"
}

# ---- outside: a namespace for each version ----

# Ends a namespace by its first process: unshare, its parent, is over when everybody in there is.
end_namespace() {
	local init
	init=$(cat "/proc/$1/task/$1/children" 2>/dev/null)
	# shellcheck disable=SC2086 # one pid, with a blank behind it
	kill -KILL ${init:-"$1"} 2>/dev/null
	wait "$1" 2>/dev/null
}

# The outer shell has the folder and the time limit; the test proper runs as pid 1 of a namespace, started with VER set.
outer() {
	local ver status worst=0 top='' child='' tries=0
	[ "$(id -u)" = 0 ] || skip "CRIU wants root"
	command -v unshare setsid od awk >/dev/null || skip "util-linux is missing"
	[ -x "$WORK/fill" ] || skip "the programs to be checkpointed are not built: $WORK"
	case $DAEMON in
	lazyd) [ -x "$LAZYD" ] || skip "there is no $LAZYD" ;;
	criu) ;;
	*) skip "DAEMON=$DAEMON is neither lazyd nor criu" ;;
	esac
	unshare --pid --fork --mount --mount-proc true 2>/dev/null || skip "no namespaces here"
	trap '[ -z "$child" ] || end_namespace "$child"; [ -z "$top" ] || rm -rf -- "$top"' EXIT
	trap 'exit 1' HUP INT TERM
	# shellcheck disable=SC2086 # words
	set -- ${CRIU_VERSIONS:-4.1 4.2}
	for (( ; $# ; )); do
		ver=$1
		if ! CRIU=$("$here/get-criu" "$ver"); then
			printf 'skip: test=%s there is no criu %s and it cannot be fetched\n' "$NAME" "$ver"
			[ $worst = 1 ] || worst=77
			shift
			continue
		fi
		top=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-$NAME.XXXXXX") || exit 1
		mkfifo "$top/alive"
		export CRIU DAEMON LAZYD
		VER=$ver DIR=$top unshare --pid --fork --kill-child --mount --mount-proc ${NET:+--net} bash "$0" 5>"$top/alive" &
		child=$!
		# unshare alone holds the fifo, so it ends with the test; its death takes the namespace along.
		exec 6<"$top/alive"
		read -r -t "${LIMIT:-240}" -u 6
		if [ $? -gt 128 ]; then
			printf 'FAIL: test=%s criu=%s daemon=%s not over after %s s\n' "$NAME" "$ver" "$DAEMON" \
				"${LIMIT:-240}"
			tail -n 12 "$top"/work/*.log 2>/dev/null
			end_namespace "$child"
			status=1
		else
			wait "$child" 2>/dev/null
			status=$?
		fi
		exec 6<&-
		child=
		if [ -n "${KEEP:-}" ] && [ $status != 0 ]; then
			printf 'kept: %s\n' "$top"
		else
			rm -rf -- "$top"
		fi
		top=
		tries=$((tries + 1))
		[ $status != 75 ] || [ $tries = 4 ] || continue
		tries=0
		shift
		case $status in
		0) ;;
		77) [ $worst = 1 ] || worst=77 ;;
		*) worst=1 ;;
		esac
	done
	exit $worst
}

if [ -z "${VER:-}" ] || [ $$ != 1 ]; then
	outer
fi

# ---- inside ----

# Whatever was inherited must not end up in a checkpoint.
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then
		eval "exec $fd>&-"
	fi
done
mkdir "$DIR/images" "$DIR/work"
mkfifo "$DIR/say" "$DIR/ended"
exec 7<>"$DIR/say" 8<>"$DIR/ended"
AT_SOURCE=()
UNDER=()

now() { printf '%s\n' "${EPOCHREALTIME/,/.}"; }
since() { awk -v a="$1" -v b="${2:-$EPOCHREALTIME}" 'BEGIN { printf "%.3f", b - a }'; }

# Zombies are not alive: they cannot say anything any more.
alive() {
	local stat
	{ read -r stat <"$PROC/$1/stat"; } 2>/dev/null || return 1
	case ${stat##*) } in Z* | X*) return 1 ;; esac
}

is_gone() { [ ! -e "$PROC/$1" ]; }
all_gone() { local pid; for pid in "$@"; do is_gone "$pid" || return 1; done; }

# children PID: its children, and theirs.
children() {
	local pid
	# shellcheck disable=SC2013 # words, not lines
	for pid in $(cat "$PROC/$1"/task/*/children 2>/dev/null); do
		printf '%s\n' "$pid"
		children "$pid"
	done
}

# hear SECONDS: one line of the process, into LINE. 1 when the process is gone without a word, 2 when none came in time.
hear() {
	local until=$((SECONDS + $1)) part=''
	# What has been read of a line when the time is over is in LINE all the same.
	while ! read -r -t 1 -u 7 LINE; do
		part+=$LINE
		if ! alive "$PID"; then
			read -r -t 0.1 -u 7 LINE && LINE=$part$LINE && return 0
			LINE="process $PID is gone without a word"
			return 1
		fi
		if [ $SECONDS -ge $until ]; then
			LINE="process $PID has said nothing for $1 s"
			return 2
		fi
	done
	LINE=$part$LINE
}

# start COMMAND...: a process to be checkpointed, leader of its own session and with nothing open; PID is its pid.
start() {
	setsid "$@" </dev/null >/dev/null 2>&1 7>&- 8>&- &
	PID=$!
	# The shell still reaps it, which frees its pid, but has nothing to say about how it ended.
	disown "$PID"
}

# work PROGRAM ARGUMENT...: one of our own, and waits until it is ready; READY is what it said.
work() {
	start "$WORK/$1" "$DIR/say" "${@:2}"
	heard_ready
}

heard_ready() {
	hear 120 || fail "$LINE, not even that it is ready"
	case $LINE in
	"ready $PID "*) READY=${LINE#"ready $PID "} ;;
	*) fail "instead of getting ready the program said: $LINE" ;;
	esac
}

# What tests must know of images, read with the smallest of parsers: records of varints, the bytes one a line.
# shellcheck disable=SC2016 # awk's dollars
readonly VARINTS='
	{ b[n++] = $1 }
	function varint(  v, m) {
		v = 0
		for (m = 1; at < n; m *= 128) {
			v += (b[at] % 128) * m
			if (b[at++] < 128)
				break
		}
		return v
	}
	function fixed32(  v) {
		v = b[at] + 256 * b[at + 1] + 65536 * b[at + 2]
		at += 4
		return v
	}'

# stat_field FILE MESSAGE FIELD: a number from the message of a stats file: 1 (dump) or 2 (restore).
stat_field() {
	od -An -v -w1 -tu1 -j8 "$1" | awk -v message="$2" -v field="$3" "$VARINTS"'
		END {
			for (fixed32(); at < n;) {
				key = varint()
				v = varint()
				if (key % 8 == 2 && int(key / 8) != message)
					at += v
				else if (key % 8 == 0 && int(key / 8) == field)
					answer = v
			}
			print answer + 0
		}'
}

# lazy_pages DIR: how many pages the images there leave to the daemon.
lazy_pages() {
	local image
	for image in "$1"/pagemap-[0-9]*.img; do
		od -An -v -w1 -tu1 -j8 "$image"
		echo end
	done | awk "$VARINTS"'
		$1 == "end" {
			n--
			for (at = 0; at < n;) {
				stop = fixed32()
				stop += at
				old = new = flags = 0
				while (at < stop) {
					key = varint()
					v = varint()
					if (key == 16)
						old = v
					else if (key == 32)
						flags = v
					else if (key == 40)
						new = v
				}
				if (int(flags / 2) % 2)
					sum += new ? new : old
			}
			n = 0
		}
		END { print sum + 0 }'
}

# dump: checkpoints PID into $DIR/images; LAZY_PAGES is how many pages are there to be restored lazily.
dump() {
	local pids t0=$EPOCHREALTIME
	pids="$PID $(children "$PID")"
	"${AT_SOURCE[@]}" "$CRIU" dump -t "$PID" -D "$DIR/images" -W "$DIR/work" -o dump.log -v2 "$@" </dev/null 7>&- 8>&- ||
		fail "criu dump: status $?"
	# shellcheck disable=SC2086 # a list
	within 20 all_gone $pids || fail "dumped, but not all of these are gone: $pids"
	DUMP_S=$(since "$t0")
	LAZY_PAGES=$(lazy_pages "$DIR/images")
	[ "$LAZY_PAGES" -gt 1000 ] || once_more "only $LAZY_PAGES pages in the image are lazy"
}

# daemon_command ARGUMENT...: DAEMON_COMMAND for the images in IMAGES (or $DIR/images).
daemon_command() {
	local common=(-D "${IMAGES:-$DIR/images}" -W "$DIR/work" -o daemon.log)
	case $DAEMON in
	lazyd) DAEMON_COMMAND=("$LAZYD" fill "${common[@]}" -v "$@") ;;
	criu) DAEMON_COMMAND=("$CRIU" lazy-pages "${common[@]}" -v1 "$@") ;;
	esac
}

# daemon ARGUMENT...: starts the daemon and returns once it listens; DAEMON_PID is its pid.
daemon() {
	local word
	rm -f "$DIR/status" "$DIR/work/daemon.log" "$DIR/stats.json"
	mkfifo "$DIR/status"
	daemon_command "$@" --status-fd 9
	[ "$DAEMON" != lazyd ] || DAEMON_COMMAND+=(--stats "$DIR/stats.json")
	# Its parent notes the moment it ends, so that waiting for that is waiting for a line.
	(
		exec 7>&- 8>&-
		"${UNDER[@]}" "${DAEMON_COMMAND[@]}" </dev/null >"$DIR/daemon.out" 2>&1 9>"$DIR/status" &
		printf 'pid %s\n' $! >"$DIR/ended"
		wait $!
		printf 'end %s %s\n' $? "$EPOCHREALTIME" >"$DIR/ended"
	) 2>/dev/null &
	read -r -t 20 -u 8 word DAEMON_PID
	[ "$word" = pid ] || fail "the daemon did not start"
	is_ready "$DIR/status" || fail "no ready byte from the daemon $(tail -n 3 "$DIR/daemon.out")"
	[ -S "$DIR/work/lazy-pages.socket" ] || fail "the daemon is ready and there is no socket"
}

# daemon_end SECONDS: waits for it to end: DAEMON_RC, DRAIN_S (since the restore). 1 if it does not.
daemon_end() {
	local word
	read -r -t "$1" -u 8 word DAEMON_RC DAEMON_END || return 1
	[ "$word" = end ] || fail "not an end of the daemon: $word"
	DRAIN_S=$(since "${RESTORED:-$DAEMON_END}" "$DAEMON_END")
}

daemon_is_over() { ! alive "$DAEMON_PID"; }

# daemon_ok SECONDS: it must end in time, with 0, and leave nothing behind.
daemon_ok() {
	daemon_end "$1" || fail "the daemon is not over after $1 s"
	[ "$DAEMON_RC" = 0 ] || fail "the daemon ended with status $DAEMON_RC"
	[ "$DAEMON" != lazyd ] || [ -s "$DIR/stats.json" ] || fail "the daemon has written no --stats"
	daemon_is_tidy
}

# daemon_failed SECONDS: it must end in time, not with 0, and the log must say why: REASON is the last such line.
daemon_failed() {
	daemon_end "$1" || fail "the daemon is not over after $1 s"
	[ "$DAEMON_RC" != 0 ] || fail "the daemon ended with 0"
	[ "$DAEMON_RC" -lt 126 ] || fail "the daemon ended with status $DAEMON_RC"
	REASON=$(grep -e 'level=error' -e 'level=warn' -e 'Error (' "$DIR/work/daemon.log" | tail -n 1)
	REASON=${REASON##*level=}
	[ -n "$REASON" ] || fail "the daemon failed without a reason"
	daemon_is_tidy
}

daemon_is_tidy() {
	local exe
	# CRIU leaves its socket behind.
	[ "$DAEMON" = lazyd ] || return 0
	[ ! -e "$DIR/work/lazy-pages.socket" ] || fail "the daemon is over and its socket is still there"
	for exe in /proc/[0-9]*/exe; do
		# What serves pages on another host is none of its business.
		[ "${exe%/exe}/ns/pid" -ef /proc/self/ns/pid ] || continue
		[ "$(readlink "$exe")" != "$(readlink -f "$LAZYD")" ] || fail "the daemon is over, but not $exe"
	done
}

# ---- keeper and worker of lazyd ----

# What is left when the one before this one is dead: KEEPER and WORKER, both alive. 1 if not yet.
have_pair() { WORKER=$(worker_of "$KEEPER") && alive "$WORKER" && alive "$KEEPER"; }

is_pair_over() { ! alive "$KEEPER"; }
have_pair_or_end() { have_pair || is_pair_over; }

# pair: KEEPER and WORKER of the daemon that has just been started.
pair() {
	KEEPER=$DAEMON_PID
	within 20 have_pair || fail "there is no worker"
}

# kill_keeper, kill_worker: and wait for the next pair, or the end: then 1.
kill_keeper() {
	kill -KILL "$KEEPER" 2>/dev/null || return 1
	KEEPER=$WORKER
	within 20 have_pair_or_end || fail "the worker $KEEPER is no keeper"
	! is_pair_over
}

kill_worker() {
	local last=$WORKER
	kill -KILL "$WORKER" 2>/dev/null || return 1
	within 20 another_pair || fail "no worker has come after $last"
	! is_pair_over
}
another_pair() { is_pair_over || { have_pair && [ "$WORKER" != "$last" ]; }; }

# succession_ok SECONDS: the last keeper must end in time, with 0 and without leaving anything behind. What was started
# ended by the first kill.
succession_ok() {
	within "$1" is_pair_over || fail "the keeper is not over after $1 s"
	daemon_end 20 || fail "the process that was started is not over"
	[ "$DAEMON_RC" = 137 ] || fail "the keeper that was killed ended with $DAEMON_RC"
	within 20 is_gone "$KEEPER" || fail "the last keeper stays"
	grep -q '"exit_status": 0' "$DIR/stats.json" || fail "no success in the stats: $(cat "$DIR/stats.json")"
	daemon_is_tidy
}

# try_restore ARGUMENT...: restores lazily; the status is CRIU's.
try_restore() {
	local t0=$EPOCHREALTIME status=0
	"$CRIU" restore -d --lazy-pages -D "${RESTORE_IMAGES:-$DIR/images}" -W "$DIR/work" -o restore.log -v2 "$@" \
		</dev/null 7>&- 8>&- || status=$?
	RESTORED=$EPOCHREALTIME
	RESTORE_S=$(since "$t0" "$RESTORED")
	return $status
}

# restore ARGUMENT...: the same, and it must have been lazy.
restore() {
	try_restore "$@" || {
		local status=$?
		# The kernel gives an id back a moment after nobody can see its thread any more (6.18).
		! grep -Eq 'create a thread: -17|fork for [0-9]+: File exists' "$DIR/work/restore.log" ||
			once_more "an id of the process that was there before was still taken"
		fail "criu restore: status $status"
	}
	alive "$PID" || fail "restored, but there is no process $PID"
	was_lazy
}

was_lazy() {
	local eager
	eager=$(stat_field "$DIR/work/stats-restore" 2 5)
	[ "$eager" -lt $((LAZY_PAGES / 4 + 2000)) ] || once_more "not lazy: $eager pages restored before the start"
}

go() { kill -USR1 "$PID" 2>/dev/null || fail "process $PID is gone and cannot be told to go on"; }

# answer SECONDS: what the process says at last, into ANSWER (without ok). Not 0 when it is BAD, or none comes.
answer() {
	local status=0
	hear "$1" || status=$?
	ANSWER=${LINE#ok }
	[ $status = 0 ] && [ "$ANSWER" != "$LINE" ]
}

# answer_ok SECONDS: it must be well, and the process must end.
answer_ok() {
	answer "$1" || fail "$ANSWER"
	within 20 is_gone "$PID" || fail "the process has answered and does not end"
}

# value NAME: of ANSWER
value() { awk -v name="$1" -v RS='[ \n]' -F= '$1 == name { print $2 }' <<<"$ANSWER"; }

# report [KEY=VALUE...]: the line for the record.
report() {
	printf 'result test=%s criu=%s daemon=%s dump_s=%s restore_s=%s drain_s=%s lazy_pages=%s' \
		"$NAME" "$VER" "$DAEMON" "${DUMP_S:-}" "${RESTORE_S:-}" "${DRAIN_S:-}" "${LAZY_PAGES:-}"
	printf ' %s' "$@"
	printf '\n'
}
