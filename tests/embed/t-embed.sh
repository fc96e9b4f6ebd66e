#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The library as others get it: installed, found by pkg-config, linked shared and static, from C and
# from C++; every example of its man pages; and the checkpoint tool of mini.c, whose job must come
# to the same number whether it was moved or not.
set -euo pipefail
export LC_ALL=C

src=${srcdir:?} build=${top_builddir:?} CXX=${CXX:-g++}
read -ra cc <<<"${CC:-cc}"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lazyd-embed.XXXXXX")
trap 'rm -rf -- "$tmp"' EXIT
die() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }

[ "$(wc -l <"$src/tests/embed/mini.c")" -lt 200 ] || die "mini.c is no longer mini"
make -C "$build" install DESTDIR="$tmp/root" >"$tmp/install" 2>&1 || { cat "$tmp/install"; die "make install"; }
pc=$(find "$tmp/root" -name lazyd.pc)
[ -n "$pc" ] || die "no lazyd.pc installed"
# Nothing of this project but what was installed; the other libraries are the system's.
export PKG_CONFIG_PATH=${pc%/*}
prefix=$(sed -n 's/^prefix=//p' "$pc")
pkg() { pkg-config --define-variable=prefix="$tmp/root$prefix" "$@" lazyd; }
read -ra cflags <<<"$(pkg --cflags)"
read -ra shared <<<"$(pkg --libs)"
lib=$(pkg --variable=libdir)
# liblazyd.a, and what it stands on as the system has that.
read -ra below <<<"$(pkg --print-requires-private | tr '\n' ' ')"
read -ra static <<<"$lib/liblazyd.a $(pkg-config --libs "${below[@]}")"
[ -e "$lib/liblazyd.so" ] || die "no shared library installed: it is to be tested"
strict=(-std=gnu11 -O1 -Wall -Wextra -Werror)

# ---- mini.c, shared and static ----

"${cc[@]}" "${strict[@]}" "${cflags[@]}" -o "$tmp/mini-shared" "$src/tests/embed/mini.c" "${shared[@]}"
"${cc[@]}" "${strict[@]}" "${cflags[@]}" -o "$tmp/mini-static" "$src/tests/embed/mini.c" "${static[@]}"
[[ $(ldd "$tmp/mini-static") != *liblazyd* ]] || die "the static one wants the shared library"
export LD_LIBRARY_PATH=$lib
[[ $(ldd "$tmp/mini-shared") = *"liblazyd.so.0 => $lib/"* ]] || die "the shared one does without"
want=$("$tmp/mini-shared" run)
for mini in shared static; do
	mkdir "$tmp/$mini"
	"$tmp/mini-$mini" save "$tmp/$mini"
	got=$("$tmp/mini-$mini" restore "$tmp/$mini")
	[ "$got" = "$want" ] || die "mini, $mini: restored, the job came to $got and not to $want"
done
"$build/lazyd" inspect -D "$tmp/shared" >/dev/null || die "lazyd inspect does not like what mini saved"
# Pages that are lost are no zeros: the job does not come to a wrong number, it dies.
truncate -s 8192 "$tmp/static/pages-1.img"
if got=$("$tmp/mini-static" restore "$tmp/static" 2>/dev/null); then
	die "mini restored half a memory, and came to $got"
fi

# ---- C++ ----

"$CXX" -std=c++11 -Wall -Wextra -Werror -pedantic "${cflags[@]}" -o "$tmp/use" "$src/tests/embed/use.cc" "${shared[@]}"
"$tmp/use" >/dev/null || die "the C++ program failed"

# ---- the examples of the man pages ----

nr=0
for page in "$src"/man/*.3; do
	name=${page##*/}
	# What ERRORS and EXAMPLES are to be there.
	for section in EXAMPLES ERRORS; do
		grep -q "^\.Sh $section" "$page" || die "$name has no $section"
	done
	rm -f "$tmp"/example-*.c
	awk -v out="$tmp/example-" '
		/^\.Sh/ { examples = $2 == "EXAMPLES" }
		/^\.Ed/ { on = 0 }
		on { gsub(/\\e/, "\\"); gsub(/\\&/, ""); print > (out n ".c") }
		examples && /^\.Bd -literal/ { on = 1; n++ }' "$page"
	for c in "$tmp"/example-*.c; do
		[ -e "$c" ] || die "$name has EXAMPLES without one"
		grep -q '#include <lazyd.h>' "$c" || die "$name: an example without its includes"
		"${cc[@]}" "${strict[@]}" "${cflags[@]}" -c -o "$tmp/example.o" "$c" || die "$name: ${c##*/} does not compile"
		if grep -q '^int main' "$c"; then
			"${cc[@]}" -o "$tmp/example-$name" "$tmp/example.o" "${shared[@]}"
		fi
		nr=$((nr + 1))
	done
done
[ "$nr" -ge 8 ] || die "only $nr examples were found"
# Run, those that are programs.
[[ $(cd "$tmp/shared" && "$tmp/example-lazyd-images.3") =~ ^1:\ [1-9][0-9]*\ bytes$ ]] ||
	die "the example of lazyd-images(3) does not find what mini saved"
"$tmp/example-liblazyd.3" >/dev/null || die "the example of liblazyd(3) failed"
printf 'examples=%s mini=%s\n' "$nr" "$want"
