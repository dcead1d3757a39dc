#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The command with the observer: alone, and joined with the shim. Needs root and a kernel that lets us attach.
. "$(dirname "$0")/lib.sh"

need_observer() { # pinned on a BPF file system of the test's own
	need_root; need_python
	mkdir bpf; mount -t bpf bpf bpf 2>mnt || skip "no BPF file system: $(cat mnt)"
	trap 'umount -l "$T/bpf"' EXIT
	export SPOOLGUARD_PIN_DIR=$T/bpf/pins
	"$SG" -j feature >feature.json
	jq -e '[.features[] | select(.name | startswith("observer tier")) | .available] | index("yes")' feature.json >/dev/null ||
		skip "no tier attaches here"
}
writer() { # COUNT FILE: unguarded
	python3 -c '
import os, sys
fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(int(sys.argv[1])):
    os.write(fd, b"x" * 100); os.fsync(fd)
' "$1" "$2"
}
test_observer_alone() {
	need_observer
	"$SG" -j observe --path "$T/f" >out 2>err & pid=$!
	wait_for 20 grep -q Observing err; writer 5 "$T/f"
	kill -INT $pid; wait $pid
	json '(.files | length) == 1 and .files[0].shim == null and .files[0].kernel.syncs == 5
		and .files[0].unseen == .files[0].kernel.syncs
		and .files[0].kernel.syncs_by_route.syscall == .files[0].kernel.syncs' out
}
test_interval_gives_one_document_per_line() {
	need_observer
	"$SG" -j observe --duration 1s --interval 300ms --path "$T/*" >out 2>err
	[ "$(wc -l <out)" -ge 3 ] || fail "$(wc -l <out) lines"
	eq "$(jq -c .schema out | sort -u)" 1
}
test_ctrl_c_ends_it_with_the_table() {
	need_observer
	"$SG" observe --path "$T/*" >out 2>err & pid=$!
	wait_for 20 grep -q Observing err; writer 3 "$T/f"; kill -INT $pid; wait $pid
	grep -q "$T/f" out || fail "$(cat out err)"
}
test_columns_of_guarded_programs_are_left_out_without_one() {
	need_observer
	"$SG" observe --path "$T/*" >alone 2>err & pid=$!
	wait_for 20 grep -q Observing err; writer 3 "$T/f"
	gives 0 "$SG" file show; eq "$(head -n 1 out | grep -coE 'CALLS|SHIM|BROKER|UNSEEN')" 0 "columns of file show"
	kill -INT $pid; wait $pid
	eq "$(head -n 1 alone | tr -s ' ' | cut -d ' ' -f 1-6)" "FILE MODE APPENDS BYTES KERNEL AT"
	"$SG" run --socket-dir "$T/s" --report=rep -- python3 -c 'open("g", "w").write("x"); import os; os.sync()'
	wait_for 20 test -s rep
	! grep -q FILE rep || head -n 1 rep | grep -q 'CALLS SHIM BROKER KERNEL UNSEEN' || fail "$(cat rep)"
}
test_only_the_processes_asked_for() {
	need_observer
	python3 -c '
import os, time
fd = os.open("mine", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while os.path.isdir(os.getcwd()) and not os.path.exists("stop"):
    os.write(fd, b"x"); os.fsync(fd); time.sleep(0.02)
' & pid=$!
	"$SG" -j observe --pid $pid --path "$T/[mo]*" >out 2>err & o=$!
	wait_for 20 grep -q Observing err; writer 3 "$T/other"; sleep 0.2; kill -INT $o
	wait $o; touch stop; wait $pid
	json "[.files[].path] == [\"$T/mine\"]" out
}
test_shim_and_observer_are_one_row() {
	need_observer
	"$SG" -j run --socket-dir "$T/s" --report=rep --policy "$T/*.log:mode=window" -- python3 -c '
import os, time
fd = os.open("a.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(30):
    os.write(fd, b"x" * 100); os.fdatasync(fd); time.sleep(0.005)
'
	wait_for 20 test -s rep
	json "[.files[] | select(.path == \"$T/a.log\")] | length == 1 and (.[0] |
		.seen_by == [\"shim\", \"broker\", \"kernel\"] and .shim.syncs.calls == 30 and .kernel.syncs > 0
		and .unseen == 0 and .kernel.syncs == .shim.syncs.issued + .broker.issued)" rep
}
test_a_sync_that_passed_the_shim_by_is_counted() {
	need_observer
	"$SG" -j run --socket-dir "$T/s" --report=rep --policy "$T/*.log:mode=group" -- python3 -c '
import ctypes, os
fd = os.open("a.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
libc = ctypes.CDLL(None)
for i in range(10):
    os.write(fd, b"x"); os.fdatasync(fd)
for i in range(4):
    os.write(fd, b"x"); libc.syscall(74, fd)
'
	wait_for 20 test -s rep
	json "[.files[] | select(.path == \"$T/a.log\")] | .[0].unseen == 4 and .[0].kernel.syncs == 14" rep
}
test_devices_are_told_while_it_runs() {
	need_observer
	"$SG" run --socket-dir "$T/s" --policy "$T/*.log:mode=group" -- sh -c '
		echo x >>a.log; sync a.log; : >ready; while [ ! -e stop ]; do sleep 0.05; done' & pid=$!
	wait_for 20 test -e ready
	gives 0 "$SG" -j device show; json '.tier | length > 0' out
	dev=$(jq -r '.devices[0].device // empty' out)
	gives 0 "$SG" device show
	if [ -n "$dev" ]; then
		gives 0 "$SG" -j device latency "$dev"; json '.devices | length == 1' out
		gives 0 "$SG" device latency "$dev"; grep -q 'p99' out
	fi
	gives 4 "$SG" -j device latency no-such-device; json '.error.code == 4' out
	touch stop; wait $pid
}
test_without_an_observer_devices_are_a_missing_feature() {
	need_root
	gives 3 "$SG" device show; says 'no observer runs'
	gives 3 "$SG" -j device show; json '.error.kind == "denied"' out
}
tap_main
