#!/bin/bash
# SPDX-License-Identifier: MIT
# The command without a restore: check, inspect, demo, help, and what is refused, each with its exit status, one sentence
# where it fails, and JSON that is JSON. What check says of CRIU and runc is asked with the fetched ones and with programs
# that lie about being one.
set -u
export LC_ALL=C
build=$(cd "${top_builddir:-.}" && pwd)
LAZYD=${LAZYD:-$build/lazyd}
DIR=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-tool.XXXXXX") || exit 1
trap 'rm -rf -- "$DIR"' EXIT
failed=0

fail() {
	printf 'FAIL: %s\n' "$*"
	sed 's/^/    /' "$DIR/out" "$DIR/err" 2>/dev/null
	failed=1
}

# ends STATUS COMMAND...: it must end with that; out and err hold what it printed.
ends() {
	local want=$1 got
	shift
	timeout 60 "$@" </dev/null >"$DIR/out" 2>"$DIR/err"
	got=$?
	[ $got = "$want" ] || fail "status $got, not $want: $*"
}

# sentence TEXT: err is one line and says TEXT.
sentence() {
	[ "$(wc -l <"$DIR/err")" = 1 ] || fail "not one line"
	grep -qF -- "$1" "$DIR/err" || fail "does not say: $1"
}

json() { /usr/bin/python3 -m json.tool <"$DIR/out" >/dev/null || fail "no JSON"; }

ends 0 "$LAZYD" --help
[ "$(wc -l <"$DIR/out")" -le 24 ] || fail "the help does not fit a screen"
for command in fill lazy-pages serve page-server; do
	ends 0 "$LAZYD" $command --help
	grep -q -- --ps-socket "$DIR/out" || fail "this is not the help of $command"
done
ends 0 "$LAZYD" check -h
grep -q '^check ' "$DIR/out" || fail "this is not the help of check"
ends 0 "$LAZYD" --version
ends 2 "$LAZYD" frobnicate
sentence frobnicate
ends 2 "$LAZYD" fill --on-lost=pray
sentence pray
ends 2 "$LAZYD" fill --status-fd 77
sentence 77
ends 2 "$LAZYD" fill --status-fd 1 --daemon
sentence --status-fd
ends 2 "$LAZYD" serve --ps-socket 0 -d
sentence --ps-socket
for command in fill lazy-pages serve page-server check inspect workingset demo; do
	ends 2 "$LAZYD" $command --no-such-option
	sentence "lazyd: there is no option \"--no-such-option\", or it lacks its argument: see \`lazyd $command --help\`"
done
ends 2 "$LAZYD" fill -vy
sentence 'not "y"'
ends 2 "$LAZYD" serve -dx
sentence '"-x"'
ends 2 "$LAZYD" serve --port
sentence '"--port"'
ends 1 "$LAZYD" workingset inspect "$DIR/no.ws"
sentence "$DIR/no.ws: No such file or directory"
ends 1 "$LAZYD" fill -D "$DIR/nowhere"
sentence nowhere
mkdir "$DIR/empty"
ends 1 "$LAZYD" -v fill -D "$DIR/empty"
sentence inventory.img
ends 1 "$LAZYD" inspect -D "$DIR/empty"

ends 0 "$LAZYD" check
ends 0 "$LAZYD" check --json
json

here=$(cd "$(dirname "$0")" && pwd)

# ---- workingset: with the seeds of its fuzzer ----

seeds=$here/../fuzz/corpus/fuzz_wset
number() { sed -n 's/.*"'"$1"'": *\([0-9a-z]*\).*/\1/p' "$DIR/out" | tail -n 1; }

ends 0 "$LAZYD" workingset inspect "$seeds/some"
grep -q '^ *1000 ' "$DIR/out" || fail "no task 1000"
grep -q '^swept ' "$DIR/out" || fail "it is not called swept"
ends 0 "$LAZYD" workingset inspect "$seeds/some" --json
json
[ "$(number pages)" = 1219 ] && [ "$(number runs)" = 8 ] || fail "not 1219 pages in 8 runs"
ends 0 "$LAZYD" workingset svg "$seeds/some"
/usr/bin/python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.stdin)' <"$DIR/out" || fail "no XML"
ends 0 "$LAZYD" workingset svg "$seeds/empty" -o "$DIR/empty.svg"
[ -s "$DIR/empty.svg" ] || fail "no picture"
ends 0 "$LAZYD" workingset merge "$seeds/some" "$seeds/empty" "$seeds/some" -o "$DIR/merged.ws"
[ ! -e "$DIR/merged.ws.new" ] || fail "the temporary file is still there"
ends 0 "$LAZYD" workingset inspect --json "$DIR/merged.ws"
[ "$(number pages)" = 1219 ] || fail "not the same pages when merged with itself"
ends 1 "$LAZYD" workingset merge "$seeds/some" -o "$DIR/empty"
sentence "is there and is no file"
for bad in cut damaged newer many wrong-0 wrong-1 wrong-2 wrong-3; do
	ends 1 "$LAZYD" workingset inspect "$seeds/$bad"
	sentence "$seeds/$bad "
	ends 1 "$LAZYD" workingset merge "$seeds/some" "$seeds/$bad" -o "$DIR/not.ws"
	sentence "$seeds/$bad "
	[ ! -e "$DIR/not.ws" ] && [ ! -e "$DIR/not.ws.new" ] || fail "there is a file"
done
ends 1 "$LAZYD" workingset inspect "$DIR/nowhere.ws"
sentence "No such file"
cp "$seeds/some" "$DIR/other.ws"
printf '\001' | dd of="$DIR/other.ws" bs=1 seek=16 conv=notrunc status=none
/usr/bin/python3 - "$DIR/other.ws" <<'END'
import sys, zlib
b = open(sys.argv[1], "rb").read()[:-4]
open(sys.argv[1], "wb").write(b + zlib.crc32(b).to_bytes(4, "little"))
END
ends 1 "$LAZYD" workingset merge "$seeds/some" "$DIR/other.ws" -o "$DIR/not.ws"
sentence "other images"
ends 2 "$LAZYD" workingset
ends 2 "$LAZYD" workingset frobnicate
ends 2 "$LAZYD" workingset inspect
ends 2 "$LAZYD" workingset merge "$seeds/some"
ends 2 "$LAZYD" fill --record-window soon
sentence soon
ends 2 "$LAZYD" fill --record-window 5
sentence 'without "--record"'

# ---- check --criu ----

fake=$DIR/fake
mkdir -p "$fake/both" "$fake/alone"

# says TEXT...: out has each of them.
says() {
	local text
	for text; do
		grep -qF -- "$text" "$DIR/out" || fail "does not say: $text"
	done
}

# program FILE: what it does for "--version", "check", "check uffd-noncoop", "features" or "COMMAND help" is read.
program() {
	{
		echo '#!/bin/sh'
		echo 'case "$1 $3 $2" in *-noncoop*) what="check uffd" ;; *--help*) what="$1 help" ;; *) what=$1 ;; esac'
		cat
	} >"$1"
	chmod 755 "$1"
}

good_criu='case $what in --version) echo "Version: 4.1.1" ;; check) echo Looks good. ;; esac'
good_runc='case $what in --version) echo "runc version 1.1.5+ds1" ;; *help) echo "--lazy-pages --status-fd" ;;
features) exit 1 ;; esac'
program "$fake/both/criu" <<<"$good_criu"
program "$fake/both/runc" <<<"$good_runc"
cp "$fake/both/criu" "$fake/alone/criu"

# looks STATUS OPTION...: check --criu with the good programs in PATH.
looks() {
	local want=$1
	shift
	ends "$want" env PATH="$fake/both:/usr/bin:/bin" "$LAZYD" check "$@"
}

looks 0 --criu
says "criu can do" "runc can do" "ok       version: 4.1.1" "24 bytes" "ok       version: 1.1.5+ds1" \
	"its criu: $fake/both/criu"
looks 0 --criu --json
json
looks 2 --criu-path
looks 1 --criu-path "$DIR/nowhere"
says "No such file" "criu CANNOT do" "runc can do"
looks 1 --criu-path "$DIR"
says "Permission denied"
looks 1 --runc-path "$DIR/nowhere"
says "criu can do" "runc CANNOT do"
ends 0 env PATH="$fake/alone" "$LAZYD" check --criu
says "criu can do" "absent   program"
ends 1 env PATH="$DIR/nowhere::." "$LAZYD" check --criu
says "there is none in PATH"
ends 1 env PATH="$DIR/nowhere" "$LAZYD" check --criu-path "$fake/alone/criu" --runc-path "$fake/both/runc"
says "criu can do" "runc CANNOT do" "and there is none"
looks 0 --criu-path "$fake/alone/criu"
says "limited  its criu: $fake/both/criu"

# odd WORDS STATUS: a criu that does what is read, and what is then said of it.
odd() {
	program "$fake/odd"
	looks "$2" --criu-path "$fake/odd"
	says "$1"
	if LC_ALL=C grep -q '[^[:print:][:space:]]' "$DIR/out"; then fail "its bytes are printed as they are"; fi
	looks "$2" --criu-path "$fake/odd" --json
	json
}

odd 'it says: ?[31mhello? world' 1 <<<'printf "\033[31mhello\377 world\n\n"'
odd "it says nothing" 1 </dev/null
odd "it says: Version: many" 1 <<<'echo "Version: many"'
printf '\177ELF' >"$fake/odd"
looks 1 --criu-path "$fake/odd"
says "it says: Exec format error"
odd "it died of signal 11" 1 <<<'kill -SEGV $$'
odd "more than 1 MiB" 1 <<<'exec yes'
odd "it has no lazy pages yet" 1 <<<'echo "Version: 3.4"'
odd "tested with CRIU 4.1 and 4.2" 0 <<<'echo "GitID: v9.10"; echo "Version: 9.10"'
odd "32 bytes" 0 <<<'echo "Version: 4.2"'
odd "the vDSO of Linux 6.13" 1 <<<'[ $what = --version ] && echo "Version: 3.17.1" && exit
echo "Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds"; exit 1'
odd "userfaultfd with events" 1 <<<'[ "$what" != "check uffd" ] && echo "Version: 4.1" && exit
echo "Warn (x): odd"; echo "Error (criu/cr-check.c:1): UFFD is not supported" >&2; exit 1'
odd "it says: Error (criu/a.c:1): real" 1 <<<'[ $what = --version ] && echo "Version: 4.1" && exit
echo first; echo "Error (criu/util.c:642): exited, status=1"; echo "Error (criu/a.c:1): real"; echo last; exit 1'
# Who goes on behind its back does not keep it waiting.
odd "criu can do" 0 <<<'sleep 1000 & echo "Version: 4.1"'

# A criu that hangs is ended, and so is what it has started: nobody holds the fifo any more.
mkfifo "$fake/alive"
timeout 50 cat "$fake/alive" &
program "$fake/odd" <<<"exec 7>'$fake/alive'; trap '' TERM HUP; sleep 1000; sleep 1000"
looks 1 --criu-path "$fake/odd"
says "it was not over after 10 s"
wait $! || fail "what a program has started goes on when that is ended"

program "$fake/odd" <<<'case $what in --version) echo "runc version 1.0" ;; esac'
looks 1 --runc-path "$fake/odd"
says "its help does not know the option" "runc CANNOT do"
program "$fake/odd" <<'END'
case $what in --version) echo "runc version 1.2.0" ;; *help) echo "--lazy-pages --status-fd" ;;
features) echo '{"annotations": {"org.opencontainers.runc.checkpoint.enabled": "false"}}' ;; esac
END
looks 1 --runc-path "$fake/odd"
says "no       built with checkpoints"

for ver in 4.1 4.2; do
	criu=$("$here/get-criu" "$ver") || { echo "no criu $ver to be had, so it is not looked at"; continue; }
	status=0 word="ok       criu check --feature uffd-noncoop"
	[ "$(id -u)" = 0 ] || status=1 word="run lazyd check --criu as root"
	looks $status --criu-path "$criu"
	says "version: $ver" "$([ $ver = 4.1 ] && echo 24 || echo 32) bytes" "$word"
	json_out=$(PATH="${criu%/*}:$PATH" "$LAZYD" check --criu --json)
	[[ $json_out == *"\"can_criu\": $([ $status = 0 ] && echo true || echo false)"* ]] || fail "can_criu: $json_out"
done

# ---- demo, inspect ----

ends 0 "$LAZYD" demo --size 32 --json --keep "$DIR/images"
json
ends 0 "$LAZYD" inspect -D "$DIR/images"
ends 0 "$LAZYD" inspect -D "$DIR/images" --json
json
"$build/tests/lib/mkimages" "$DIR/absent" ranges=4 pages=64 gap=2 absent_every=2 || fail "no images"
ends 1 "$LAZYD" inspect -D "$DIR/absent" --json
[ "$(number pages_per_run)" = 64 ] || fail "runs of 64 pages, and every second one stored nowhere, are of $(number pages_per_run)"
# Relative names are in the work directory, which is not where the user is.
ends 1 "$LAZYD" fill -D "$DIR/images" --replay no.ws
sentence "no.ws (--replay), in the work directory"
ends 1 "$LAZYD" fill -D "$DIR/images" --record no/boot.ws
sentence "no/boot.ws (--record), in the work directory"
for option in --port=7 --address=there --tls; do
	ends 1 "$LAZYD" fill -D "$DIR/images" $option --restore-timeout 1 --no-progress -o "$DIR/fill.log"
	sentence "lazyd: without --page-server the pages come from the images, and not from ${option%=*}"
done
ends 1 "$LAZYD" fill -D "$DIR/images" --replay "$DIR/no.ws"
sentence "$DIR/no.ws (--replay): No such file"
# Where the log is a file, too.
mkdir -p "$DIR/taken/lazy-pages.socket"
ends 1 "$LAZYD" fill -D "$DIR/images" -W "$DIR/taken" -o fill.log
sentence "cannot listen at $DIR/taken/lazy-pages.socket (-W, else -D): Address already in use"
ends 1 "$LAZYD" fill -D "$DIR/empty" -o fill.log --daemon
sentence inventory.img
truncate -s 1M "$DIR/memory"
ends 1 "$LAZYD" fill --firecracker "$DIR/no/vm.sock" --memory "$DIR/memory" -o "$DIR/fill.log"
sentence "cannot listen at $DIR/no/vm.sock (--firecracker): No such file or directory"
pages=$(echo "$DIR"/images/pages-*.img)
truncate -s 1000000 "$pages"
ends 1 "$LAZYD" inspect -D "$DIR/images"
grep -q problem "$DIR/out" || fail "a pages file that was cut short is no problem"
printf 'garbage!' >"$DIR/images/pstree.img"
ends 1 "$LAZYD" fill -D "$DIR/images"
sentence pstree.img

# ---- serve --pid: one does not stop oneself ----

# shellcheck disable=SC2016 # the pid of that shell
{
	ends 1 bash -c 'exec "$0" serve --pid $$ --stop -D "$1"' "$LAZYD" "$DIR/empty"
	sentence "is itself process"
	ends 1 bash -c '"$0" serve --pid $$ --tree --stop -D "$1"; exit $?' "$LAZYD" "$DIR/empty"
	sentence "is below process"
}
ends 1 "$LAZYD" serve --pid 4194304 -D "$DIR/empty"
sentence "No such process"

# ---- inspect --pid ----

ends 0 "$LAZYD" inspect --pid $$
ends 0 "$LAZYD" inspect --pid=$$ --wait 5 --json
json
grep -q '"whole": true' "$DIR/out" || fail "no lazy restore, and it is not whole"
ends 2 "$LAZYD" inspect --pid 0
ends 2 "$LAZYD" inspect --pid self
sentence "self"
ends 2 "$LAZYD" inspect --pid $$ --wait soon
ends 2 "$LAZYD" inspect --wait 5
sentence "which --pid"
ends 1 "$LAZYD" inspect --pid 4194305
sentence "No such process"

# ---- what is printed gets nowhere ----

# full STATUS ARGUMENT...: on a full disk it says so, once.
full() {
	local want=$1 got
	shift
	"$LAZYD" "$@" >/dev/full 2>"$DIR/err"
	got=$?
	[ $got = "$want" ] || fail "status $got, not $want, on a full disk: $*"
	sentence "standard output cannot be written: No space left"
}
full 1 --help
full 1 --version
full 1 inspect --pid $$
full 1 inspect --pid $$ --json
full 1 workingset inspect "$seeds/some"
full 1 workingset inspect "$seeds/some" --json
full 1 workingset svg "$seeds/some"
full 1 check
full 1 check --json

[ $failed = 0 ] && echo ok
exit $failed
