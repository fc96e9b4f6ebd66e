#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The shape of the project, read from its files and from what was built of them: who includes whom,
# what the pure half calls, what the library exports, how things are named and how long they are.
# `make check` runs it; by hand: srcdir=. top_builddir=build tests/structure.sh
set -euo pipefail
export LC_ALL=C

src=${srcdir:-.}
build=${top_builddir:-$src}
failures=0

# check TITLE COMMAND...: the command prints its findings, one a line; any finding is a failure.
check() {
	local title=$1 found
	shift
	# A check that cannot be made has not been passed.
	found=$("$@") || found+=$'\n'"the check itself failed"
	if [ -z "$found" ]; then
		printf 'ok    %s\n' "$title"
	else
		printf 'FAIL  %s\n' "$title"
		printf '%s\n' "$found" | sed 's/^/\t/'
		failures=$((failures + 1))
	fi
}

# product [-name PATTERN...]: the files of the product that somebody has written.
product() {
	(cd "$src" && find proto pagemap iouring uffd tool -type f "$@" ! -name '*.pb-c.*' | sort)
}

# The same of the tests and of the bench.
written() {
	product "$@" && (cd "$src" && find tests bench -type f "$@" | sort)
}

# ---- read from the sources ----

# What a file may include is told by its folder; tool/ gets the one public header besides its own.
includes() {
	product -name '*.[ch]' | (cd "$src" && xargs awk '
		BEGIN {
			may["proto"] = "^proto/"
			may["pagemap"] = "^(proto|pagemap)/"
			may["iouring"] = "^(proto|iouring)/"
			may["uffd"] = "^(pagemap|iouring|uffd)/"
			may["tool"] = "^(tool/|uffd/lazyd\\.h$)"
		}
		/^[ \t]*#[ \t]*include[ \t]*"/ {
			split($0, quoted, "\"")
			split(FILENAME, path, "/")
			if (quoted[2] !~ may[path[1]])
				print FILENAME ":" FNR ": " quoted[2]
		}')
}

long_files() {
	written -name '*.[ch]' | (cd "$src" && xargs wc -l) |
		awk '$2 != "total" && $1 > 500 { print $2 ": " $1 " lines" }'
}

# clang-format sees to the code; a string is not cut.
wide_lines() {
	written -name '*.[ch]' | (cd "$src" && xargs awk '
		!/"/ {
			width = 0
			for (i = 1; i <= length($0); i++)
				width += substr($0, i, 1) == "\t" ? 8 - width % 8 : 1
			if (width > 100)
				print FILENAME ":" FNR ": " width
		}')
}

# In kernel style only a function has both its braces alone in the first column.
long_functions() {
	written -name '*.c' | (cd "$src" && xargs awk '
		/^{$/ { start = FNR }
		/^}$/ && start {
			if (FNR - start + 1 > 70)
				print FILENAME ":" start ": " FNR - start + 1 " lines"
			start = 0
		}')
}

# The functions that lazyd.h declares.
# Those with a body are the caller's own, and call another.
exported() {
	perl -0pe 's{/\*.*?\*/}{}gs; s{^static inline .*?^\}}{}gms' "$src/uffd/lazyd.h" |
		grep -oE '\blazyd_[a-z0-9_]+\(' | tr -d '(' | sort -u
}

declared() {
	perl -0pe 's{/\*.*?\*/}{}gs' "$src/uffd/lazyd.h" | grep -oE '\blazyd_[a-z0-9_]+\(' | tr -d '(' |
		sort -u
}

undocumented() {
	local f
	for f in $(declared); do
		grep -qE "^\.Fn $f( |\$)" "$src"/man/*.3 || echo "$f"
	done
}

# The tests that lazyd-migration(7) names before its rows, and those of their cases that it names.
untested() {
	local section file words word found path
	section=$(sed -n '/^\.Sh WHAT DIES/,/^\.Sh CHECKPOINTING/p' "$src/man/lazyd-migration.7")
	grep -q '^\.It ' <<<"$section" || echo "lazyd-migration(7) has no such table"
	awk '/^\.\\"/ { named = 1 } /^\.It / { if (!named) print "without a test: " $0; named = 0 }' <<<"$section"
	while read -r file words; do
		found=
		for path in "$src/tests/$file" "$src/tests/cli/$file" "$src/tests/net/$file"; do
			[ ! -f "$path" ] || found=$path
		done
		[ -n "$found" ] || echo "there is no $file"
		for word in $words; do
			[ -z "$found" ] || grep -qw -- "$word" "$found" || echo "$file has no $word"
		done
	done < <(sed -nE 's/^\.\\" ([a-z/-]+\.(sh|c))( .*)?$/\1\3/p' <<<"$section")
}

# What the pages for developers name and nobody has: paths, functions, fuzzers.
named() { { grep -oE "$1" "$src/$page" || true; } | sort -u; }
misremembered() {
	local page word called
	called=$(cd "$src" && find proto pagemap iouring uffd tool tests bench -name '*.[ch]' -exec cat {} + |
		grep -oE '\b[a-z_][a-z0-9_]*\(' | sort -u)
	for page in README.md CONTRIBUTING.md bench/README.md; do
		for word in $(named '\b(proto|pagemap|iouring|uffd|tool|man|tests|bench)/[a-z0-9_./-]*[a-z0-9_]'); do
			compgen -G "$src/$word*" >/dev/null || echo "$page: there is no $word"
		done
		for word in $(named '\b[a-z_][a-z0-9_]*\(\)'); do
			grep -qx -- "${word%)}" <<<"$called" || echo "$page: there is no $word"
		done
		for word in $(named '\bfuzz_[a-z]+'); do
			[ -f "$src/tests/fuzz/$word.c" ] || echo "$page: there is no $word"
		done
	done
}

unlisted() {
	local f
	{ product -name '*.c' && cd "$src" && find tests bench -name '*.c'; } |
		while read -r f; do
			# Programs are listed by their name, other sources with .c.
			grep -qE "(^|[[:space:]])${f%.c}(\.c)?([[:space:]]|\$)" "$src/Makefile.am" || echo "$f"
		done
}

unlicensed() {
	{ product && cd "$src" && find tests bench -name '*.[ch]' -o -name '*.sh'; } |
		(cd "$src" && while read -r f; do
			head -n 2 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f"
		done)
}

# ---- read from what was built ----

# libcore reaches memory, strings and its own kind: no system call, clock, errno, global or log.
impure() {
	local own allowed
	own=$(nm --defined-only "$build/.libs/libcore.a" | awk 'NF == 3 { print $3 }' | sort -u)
	allowed='_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__assert_fail|malloc|calloc|realloc|free'
	allowed+='|(__)?mem[a-z]+(_chk)?|str(n?len|n?cmp|r?chr|n?dup|c?spn|str)'
	allowed+='|(__)?str(n?cpy|n?cat)(_chk)?|(__)?v?snprintf(_chk)?|qsort|bsearch|protobuf_c_[a-z_]+'
	# The compiler's own arithmetic.
	allowed+='|__[a-z]+[sdt]i[0-9]'
	nm -A -u "$build/.libs/libcore.a" | awk '{ print $NF, $1 }' | sort -u |
		awk -v own="$own" -v allowed="^($allowed)\$" '
			BEGIN { n = split(own, list, "\n"); for (i = 1; i <= n; i++) mine[list[i]] = 1 }
			!($1 in mine) && $1 !~ allowed { print $2 " calls " $1 }'
}

# The difference between the functions lazyd.h declares and the symbols liblazyd.so exports.
exports() {
	{ diff <(exported) <(nm -D --defined-only "$build/.libs/liblazyd.so" | awk '$2 != "A" { print $3 }' |
			sed 's/@.*//' | sort -u) || true; } |
		sed -n 's/^< /declared, not exported: /p; s/^> /exported, not declared: /p'
}

# The long options of each subcommand: those it takes, by the tables in its sources, those that its --help names, and
# those that lazyd(1) has below its headings.
taken() { (cd "$src/tool" && cat -- "$@") | sed -nE 's/.*\{ "([a-z-]+)", [a-z]+_argument.*/\1/p' | sort -u; }
told() { grep -oE -- "$1" | sed 's/.*--//' | sort -u; }
explained() {
	awk -v below="$1" '/^\.S[hs] / { on = substr($0, 5) ~ "^Options of (" below ")$" } on && /^\.It / {
		for (i = 1; i < NF; i++)
			if ($i == "Fl" && $(i + 1) ~ /^-./)
				print substr($(i + 1), 2)
	}' "$src/man/lazyd.1" | sort -u
}
# apart NAME OPTIONS OTHER-NAME OTHER-OPTIONS
apart() {
	{ diff <(printf '%s\n' "$2") <(printf '%s\n' "$4") || true; } |
		sed -n "s/^< /$1, but not $3: --/p; s/^> /$3, but not $1: --/p"
}
unexplained() {
	local name options below files words
	while IFS=: read -r name below files; do
		# shellcheck disable=SC2086 # words
		options=$(taken $files | grep -vx help)
		apart "$name takes" "$options" "lazyd(1) has of it" "$(explained "$below")"
		case $name in
		fill | serve) words=$("$build/lazyd" $name --help | told '^  (-., |    )--[a-z-]+') ;;
		*) words=$("$build/lazyd" --help | grep -E "^($name) " | sed 's/-D /--images-dir /; s/-o /--output /' |
			told '--[a-z-]+') ;;
		esac
		apart "$name takes" "$options" "its --help has" "$words"
	done <<-END
		fill:both fill and serve|TLS|fill|fill for VMs:fill_options.c service.h session.h
		serve:both fill and serve|TLS|serve:serve.c service.h
		check|inspect:check and inspect:check.c inspect.c
		workingset:workingset:workingset.c
		demo:demo:demo.c
	END
	# Before the subcommand main() must know whose argument the next word is.
	sed -nE 's/.*\{ "([a-z-]+)", required_argument.*/\1/p' "$src"/tool/*.[ch] | sort -u | while read -r name; do
		grep -qE "[[:space:]]\"$name\"," "$src/tool/main.c" || echo "main.c does not know that --$name takes an argument"
	done
}

misnamed() {
	local dir allowed
	for dir in proto pagemap iouring uffd tool; do
		allowed='^lz_'
		[ $dir = uffd ] && allowed='^(lz|lazyd)_'
		[ $dir = tool ] && allowed='^(lz_|main$)'
		find "$build/$dir" -name '*.o' ! -name '*.pb-c.o' -exec nm -A --defined-only -g {} + |
			awk -v allowed="$allowed" '$NF !~ allowed { print $1, $NF }'
	done
}

check "includes go proto <- pagemap <- uffd <- tool and proto <- iouring <- uffd" includes
check "no file has more than 500 lines" long_files
check "no line is wider than 100 columns" wide_lines
check "no function has more than 70 lines" long_functions
check "every function of lazyd.h has its manual" undocumented
check "every row of lazyd-migration(7)'s table of deaths is a test" untested
check "what the README and CONTRIBUTING name is there" misremembered
check "every source is named in Makefile.am" unlisted
check "every file says its licence" unlicensed
if [ "${LZ_BUILD:-plain}" = plain ]; then
	check "libcore.a is pure" impure
	check "liblazyd.so exports what lazyd.h declares" exports
	check "what is not static is called lz_" misnamed
	check "each option is in its --help and in lazyd(1), and no other" unexplained
else
	echo "note  what was built is looked at in builds without instrumentation"
fi
exit $((failures > 0))
