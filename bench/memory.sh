#!/bin/bash
# SPDX-License-Identifier: MIT
# What `lazyd fill` (keeper and worker) takes for images that nobody could dump in a test: 100 GiB in one range, and
# 1,000,000 ranges of a page, both sparse files. A stand-in takes the part of the restorer. With `serve`, what `lazyd
# serve` takes for images of 1 GiB and of 100 GiB, of which a `lazyd fill` asks for 100,000 random pages. Started by run.
#   memory.sh sparse|ranges|serve
set -u
export LC_ALL=C

build=${top_builddir:?}
base=0x10000000000
dir=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-memory.XXXXXX") || exit 1
daemon=''
trap '[ -z "$daemon" ] || kill -KILL "$daemon" 2>/dev/null; rm -rf -- "$dir"' EXIT
die() { printf 'memory.sh: %s\n' "$*" >&2; cat "$dir"/log >&2; exit 1; }

# memory_of PHASE: a line for the keeper and one for each worker.
memory_of() {
	local pid who=keeper
	for pid in "$daemon" $(cat /proc/"$daemon"/task/*/children); do
		awk -v head="name=memory case=$what phase=$1 who=$who" '
			/^(VmHWM|VmRSS|RssAnon|RssFile|RssShmem):/ { sub(":", "", $1); text = text " " tolower($1) "_kb=" $2 }
			END { print head text }' "/proc/$pid/status"
		who=worker
	done
}

# serve_one GIB: a line for the server when all has been had from it.
serve_one() {
	local gib=$1 server port word
	rm -rf "${dir:?}"/*
	"$build/tests/lib/mkimages" "$dir" base=$base first_pid=1000 sparse=1 ranges=1 pages=$((gib << 18)) || exit 1
	mkfifo "$dir/ready" "$dir/up" "$dir/in" "$dir/out"
	"$build/lazyd" serve -D "$dir" --no-progress --status-fd 9 9>"$dir/up" >"$dir/listening" 2>"$dir/log" &
	server=$!
	read -r -d '' _ <"$dir/up"
	port=$(sed -n 's/.*port=//p' "$dir/listening")
	"$build/lazyd" fill -D "$dir" --page-server --port "$port" --no-progress --status-fd 9 9>"$dir/ready" 2>>"$dir/log" &
	daemon=$!
	read -r -d '' _ <"$dir/ready"
	exec 7<>"$dir/in" 8<>"$dir/out"
	(cd "$dir" && exec "$build/bench/restorer_standin" -p 1000 -b $base -l $((gib << 30)) -t 100000 -u) <&7 >&8 7<&- 8<&- &
	standin=$!
	read -r -t 100 -u 8 word _ || die "the stand-in has not touched its memory"
	awk -v head="name=memory case=serve gib=$gib fds=$(find "/proc/$server/fd" -mindepth 1 | wc -l)" '
		/^(VmHWM|VmRSS|RssAnon|RssFile|RssShmem):/ { sub(":", "", $1); text = text " " tolower($1) "_kb=" $2 }
		END { print head text }' "/proc/$server/status"
	echo >&7
	read -r -t 10 -u 8 word || die "the stand-in could not finish"
	wait "$daemon" || die "the daemon ended with $?"
	daemon=''
	echo >&7
	wait "$standin"
	kill -TERM "$server"
	wait "$server" || die "the server ended with $?"
}

what=$1
if [ "$what" = serve ]; then
	serve_one 1
	serve_one 100
	exit
fi
case $what in
sparse) # Faults only: a sweep of it would want 100 GiB of the machine.
	image=(ranges=1 pages=$((100 << 18)))
	task=(-l $((100 << 30)) -t 100000 -u)
	;;
ranges) # Every second page of 8 GiB, all of it filled.
	image=(ranges=1000000 pages=1 gap=1)
	task=(-l $((1000000 * 8192)) -t 1000)
	;;
*) die "sparse, ranges or serve, not $what" ;;
esac
"$build/tests/lib/mkimages" "$dir" base=$base first_pid=1000 sparse=1 "${image[@]}" || exit 1
mkfifo "$dir/ready" "$dir/in" "$dir/out"
"$build/lazyd" fill -D "$dir" --no-progress --stats "$dir/stats" --status-fd 9 9>"$dir/ready" 2>"$dir/log" &
daemon=$!
t0=$EPOCHREALTIME
read -r -d '' _ <"$dir/ready"
t1=$EPOCHREALTIME
exec 7<>"$dir/in" 8<>"$dir/out"
(cd "$dir" && exec "$build/bench/restorer_standin" -p 1000 -b $base "${task[@]}") <&7 >&8 7<&- 8<&- &
standin=$!
read -r -t 60 -u 8 word _ || die "the stand-in has not touched its memory"
memory_of "$word"
t2=$EPOCHREALTIME
echo >&7
read -r -t 10 -u 8 word || die "the stand-in could not finish"
# The worker is looked at while it works: it is gone with the last page.
seen=''
while kill -0 "$daemon" 2>/dev/null && now=$(memory_of filling 2>/dev/null); do
	[[ $now == *"who=worker vmhwm"* ]] || break
	seen=$now
	sleep 0.05
done
wait "$daemon" || die "the daemon ended with $?"
daemon=''
t3=$EPOCHREALTIME
[ -z "$seen" ] || printf '%s\n' "$seen"
echo >&7
wait "$standin" || die "the stand-in ended with $?"
awk -v what="$what" -v t0="$t0" -v t1="$t1" -v t2="$t2" -v t3="$t3" '
	BEGIN { printf "name=memory_times case=%s ready_s=%.3f fill_s=%.3f\n", what, t1 - t0, t3 - t2 }'
