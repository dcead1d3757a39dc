#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"

slow_sync() { # a guarded program that syncs much data past a threshold of 1 ms, then waits for `stop`
	need_python
	"$SG" run --no-observe --socket-dir "$T/s" --policy "$T/*.log:mode=group,stall=1ms" -- python3 -c '
import os, sys, time
fd = os.open("a.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(3):
    os.write(fd, os.urandom(1 << 20) * 64); os.fdatasync(fd)
open("ready", "w").close()
while os.path.exists("ready") and not os.path.exists("stop"): time.sleep(0.02)
' & wait_for 60 test -e ready; sleep 0.3
}
test_a_stall_is_listed_with_file_operation_and_time() {
	slow_sync
	gives 0 "$SG" -j stall list --socket-dir s
	json "[.stalls[] | select(.path == \"$T/a.log\" and .operation == \"fdatasync\")] | length >= 1
		and (.[0] | .in_flight == false and .age_ns >= 1000000 and .seen_by == \"shim\"
		and (.began | test(\"^20[0-9-]+T[0-9:]+[+-][0-9]{4}$\")))" out
	gives 0 "$SG" stall --socket-dir s; grep -q "fdatasync.*$T/a.log" out
	gives 0 "$SG" -j file events a.log --socket-dir s
	json '[.events[].event] | index("stall begun") != null and index("stall cleared") != null' out
	gives 0 "$SG" -j file show a.log --socket-dir s; json '.files[0].stalls >= 0' out
	touch stop; wait
}
test_watch_prints_stalls_as_they_come() {
	slow_sync
	timeout -s INT 1 "$SG" stall watch --socket-dir s >out 2>err || :
	grep -q "stall begun.*a.log fdatasync" out || fail "$(cat out err)"
	grep -q "stall cleared" out
	rc=0; "$SG" -j stall watch --socket-dir s >lines 2>err & pid=$!
	wait_for 5 test -s lines; kill -INT $pid; wait $pid || rc=$?
	eq $rc 0 "ended by Ctrl-C"; eq "$(jq -c .schema lines | sort -u)" 1
	touch stop; wait
}
test_watch_does_not_burn() {
	mkdir s
	timeout -s INT 2 "$SG" stall watch --socket-dir s & pid=$!
	sleep 1.5; ticks=$(awk '{ print $14 + $15 }' /proc/$pid/stat /proc/$(pgrep -P $pid)/stat | paste -sd+ | bc)
	wait $pid || :
	[ "$ticks" -le 15 ] || fail "$ticks ticks of processor time in 1.5 s"
}
tap_main
