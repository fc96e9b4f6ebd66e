#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a program that was linked with liblazyd relies on, beside uffd/lazyd.abi: the symbols, the
# functions as they are declared, and where each member of each struct is. `abi.sh --update` writes
# that file: after looking at `git diff` whether what has changed may change (see lazyd.h).
set -euo pipefail
export LC_ALL=C

src=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${top_builddir:-$src/build}
kept=$src/uffd/lazyd.abi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-abi.XXXXXX")
trap 'rm -rf -- "$tmp"' EXIT

# The header's own text, without comments, a declaration a line.
${CC:-cc} -E -P -x c - <<<"#include \"$src/uffd/lazyd.h\"
LAZYD_HEADER_ENDS" | tr -s ' \t\n' ' ' | sed 's/.*struct lazyd;/struct lazyd;/; s/LAZYD_HEADER_ENDS.*//' >"$tmp/text"

declarations() {
	# Out with bodies, of structs and of inline functions.
	perl -0777 -pe '1 while s/\{[^{}]*\}//g; s/;/;\n/g' "$tmp/text" |
		sed 's/^ *//; s/ *$//; s/#pragma [^;]*) //' | grep -oE '[a-z].* \*?lazyd_[a-z0-9_]+\(.*\);$' | sort
}

layout() {
	perl -0777 -ne '
		print "#include <stdio.h>\n#include <stddef.h>\n#include \"uffd/lazyd.h\"\nint main(void) {\n";
		while (/struct (lazyd_\w+) (\{(?:[^{}]|(?2))*\});/g) {
			my ($s, $body) = ($1, $2);
			print "printf(\"struct $s %zu\\n\", sizeof(struct $s));\n";
			for my $d (split /;/, substr($body, 1, -1)) {
				my @m = $d =~ /\(\*(\w+)\)/ ? ($1) : map { /(\w+)\s*(?:\[[^\]]*\])?\s*$/ } split /,/, $d;
				print "printf(\"\\t%zu+%zu $_\\n\", offsetof(struct $s, $_), sizeof(((struct $s *)0)->$_));\n"
					for @m;
			}
		}
		while (/enum ?\w* \{([^}]*)\}/g) {
			for (split /,/, $1) { print "printf(\"%s = %d\\n\", \"$1\", (int)$1);\n" if /(LAZYD_\w+)/ }
		}
		print "return 0; }\n"' "$tmp/text" >"$tmp/layout.c"
	${CC:-cc} -I"$src" -o "$tmp/layout" "$tmp/layout.c" && "$tmp/layout"
}

{
	printf '# %s\n' 'SPDX-License-Identifier: MIT' \
		'Written by tests/embed/abi.sh --update, on a machine of 64 bits.'
	declarations
	layout
} >"$tmp/now"
[ "$(grep -c lazyd_ "$tmp/now")" -gt 50 ] || { echo "the header was not understood"; exit 1; }
if [ "${1:-}" = --update ]; then
	cp "$tmp/now" "$kept"
	exit 0
fi
diff -u "$kept" "$tmp/now" || { echo "lazyd.h is not what uffd/lazyd.abi says"; exit 1; }

# Exported is what is declared, under the version's name, and nothing else.
declarations | grep -oE 'lazyd_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$tmp/declared"
grep -ohE '^(static inline [a-z ]+ \*?)lazyd_[a-z_]+' "$src/uffd/lazyd.h" | grep -oE 'lazyd_[a-z_]+$' | sort -u >"$tmp/inline"
so=$build/.libs/liblazyd.so
if [ -e "$so" ]; then
	nm -D --defined-only "$so" | awk '$2 == "T" { print $3 }' | sort >"$tmp/exported"
	comm -23 "$tmp/declared" "$tmp/inline" | sed 's/$/@@LAZYD_0.1/' | sort | diff -u - "$tmp/exported" ||
		{ echo "what is exported is not what is declared"; exit 1; }
else
	echo "no shared library in this build: its symbols are looked at where there is one"
fi
