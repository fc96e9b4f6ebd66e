#!/bin/bash
# SPDX-License-Identifier: MIT
# One case with a real CRIU: one checkpoint, restored lazily by turns with CRIU's own daemon and with `lazyd fill`, ROUNDS
# times each, every byte compared at the end of each. Prints a line of `name=restore case=...` a restore. Started by
# run; shares the surroundings of the tests, which see to root, namespaces and the CRIU itself.
#
#   CASE     drain    512 MiB that nobody touches until all is filled
#            frag     131,072 single pages, every second one, likewise
#            latency  512 MiB of which an eighth is touched at random while the rest is filled
#   ROUNDS   3 unless told
. "${srcdir:?}/tests/cli/lib.sh"

case $CASE in
drain) work fill 512 1 ;;
frag) work frag 131072 ;;
latency) work fill 512 1 latency ;;
esac
dump
for ((round = 0; round < ${ROUNDS:-3}; round++)); do
	for DAEMON in criu lazyd; do
		daemon
		restore
		if [ "$CASE" = latency ]; then
			go
			answer_ok 120
			daemon_ok 120
		else
			daemon_ok 150
			go
			answer_ok 120
		fi
		printf 'name=restore case=%s criu=%s daemon=%s drain_s=%s restore_s=%s %s\n' "$CASE" "$VER" "$DAEMON" \
			"$DRAIN_S" "$RESTORE_S" "$ANSWER"
	done
done
