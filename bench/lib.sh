# shellcheck shell=bash disable=SC2034,SC2154 # what is set here is read by the benches, and what is read is set by lib.sh
# SPDX-License-Identifier: MIT
#
# What the benches with a real CRIU share, on top of tests/cli/lib.sh, which they read first: what daemons are run under,
# programs other than ours, and the lines. Started inside, as pid 1 of a namespace.
#
#   WHERE    hot (default): the images are in the page cache. cold: they are not, which is looked at with mincore()

bench=$build/bench
WHERE=${WHERE:-hot}
UNDER=("$bench/usage" "$DIR/fill.usage")
KEYS=200000

# cool: the images leave the page cache, where that is what is measured, and there is memory for them to come back to: warm.c.
cool() {
	[ "$WHERE" != hot ] || return 0
	"$bench/cold" "$DIR"/images/*.img || fail "the page cache is not rid of the images"
	"$bench/warm" 3072 || fail "no memory to be had"
}

redis() { timeout 60 redis-cli -s "$DIR/redis" "$@" 7>&- 8>&-; }
redis_answers() { [ "$(redis ping 2>/dev/null)" = PONG ]; }

# redis_up: KEYS values of 2 KiB under names that redis-benchmark makes too.
redis_up() {
	command -v redis-server redis-cli redis-benchmark >/dev/null || skip "redis-server and redis-tools are missing"
	start "$(command -v redis-server)" --port 0 --unixsocket "$DIR/redis" --dir "$DIR" --save '' --appendonly no --logfile ''
	within 20 redis_answers || fail "redis does not come up"
	redis eval "for i = 0, $KEYS - 1 do redis.call('set', string.format('key:%012d', i), string.rep('x', 2048)) end" 0 \
		>/dev/null || fail "redis cannot be filled"
	[ "$(redis dbsize)" = $KEYS ] || fail "redis has not got its keys"
}

# redis_load: as soon as it answers, 20,000 GETs of random keys by four clients. ANSWER is what they met: `first_ns` and
# `done_ns` are counted from BEGUN, the start of criu restore.
redis_load() {
	local first
	within 20 redis_answers || fail "redis does not answer"
	first=$EPOCHREALTIME
	# Its lines: names of columns, then figures in milliseconds, each in quotes.
	redis-benchmark -s "$DIR/redis" -c 4 -n 20000 -r $KEYS --csv GET key:__rand_int__ >"$DIR/redis.csv" 2>/dev/null 7>&- 8>&- ||
		fail "redis-benchmark: status $?"
	ANSWER=$(awk -v begun="$BEGUN" -v first="$first" -v done="$EPOCHREALTIME" -F '[",]+' '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
		END {
			printf "first_ns=%.0f done_ns=%.0f rps=%.0f p50_ns=%.0f p99_ns=%.0f max_ns=%.0f",
				(first - begun) * 1e9, (done - begun) * 1e9, $column["rps"], $column["p50_latency_ms"] * 1e6,
				$column["p99_latency_ms"] * 1e6, $column["max_latency_ms"] * 1e6
		}' "$DIR/redis.csv")
}

# python_up: a Python that has imported much, and will use it when told to.
python_up() {
	[ -x /usr/bin/python3 ] || skip "/usr/bin/python3 is missing"
	start /usr/bin/python3 -I -S "$srcdir/bench/pystart.py" "$DIR/say"
	heard_ready
}

# at_once: what is done with the process as soon as it is there.
at_once() {
	case $CASE in
	redis) redis_load ;;
	latency | python)
		go
		answer 120 || fail "$ANSWER"
		ANSWER+=" done_ns=$(awk -v begun="$BEGUN" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.0f", (now - begun) * 1e9 }')"
		;;
	esac
}

# at_last: and when its memory is there.
at_last() {
	case $CASE in
	drain | frag | tls)
		go
		answer 120 || fail "$ANSWER"
		;;
	redis) kill -KILL "$PID" ;;
	esac
	within 20 is_gone "$PID" || fail "process $PID does not end"
}

# used WHO: what it took, by the GiB of lazy pages.
used() {
	awk -v who="$1" -v pages="$LAZY_PAGES" -v RS='[ \n]' -F= '
		{ figure[$1] = $2 }
		END {
			printf " %s_cpu_ms_gib=%.0f %s_peak_kb=%d", who, figure["cpu_us"] / 1000 / (pages / 262144), who, figure["peak_kb"]
		}' "$DIR/$1.usage"
}

# line NAME KEY=VALUE...: a result, with what the process said last behind it.
line() {
	printf 'name=%s case=%s where=%s criu=%s' "$1" "$CASE" "$WHERE" "$VER"
	shift
	printf ' %s' "$@" "lazy_pages=$LAZY_PAGES" "restore_s=$RESTORE_S" "$ANSWER"
	printf '\n'
}
