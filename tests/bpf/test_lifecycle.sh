#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Users of one observer that come, go and are killed at any time: whoever comes gets counts, whoever stays
# keeps them, the last one out leaves nothing. Needs root and a kernel that lets us attach.
. "$(dirname "$0")/../cli/lib.sh"
WATCH=$O/tests/bpf/sg-watch

need_tier() {
	need_root; need_python
	"$SG" -j feature >feature.json
	jq -e '[.features[] | select(.name | startswith("observer tier")) | .available] | index("yes")' feature.json >/dev/null ||
		skip "no tier attaches here"
}
need_pins() { # on a BPF file system of the test's own
	need_tier
	mkdir bpf; mount -t bpf bpf bpf 2>mnt || skip "no BPF file system: $(cat mnt)"
	trap 'jobs -p >left; [ ! -s left ] || kill $(cat left) 2>/dev/null; umount -l "$T/bpf"' EXIT # a test that fails leaves none
	export SPOOLGUARD_PIN_DIR=$T/bpf/pins
}
writer() { # COUNT FILE
	python3 -c '
import os, sys
fd = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(int(sys.argv[1])):
    os.write(fd, b"x" * 100); os.fsync(fd)
' "$1" "$2"
}
# observe NAME: in the background, ready; its number is in $pid, what it says in NAME.out and NAME.err.
observe() {
	"$SG" -j observe --path "$T/*" >"$1.out" 2>"$1.err" & pid=$!
	wait_for 20 grep -q . "$1.err" && grep -q Observing "$1.err" || fail "$1: $(cat "$1.err")"
}
# finish PID: end it as Ctrl-C does.
finish() { local rc=0; kill -INT "$1"; wait "$1" || rc=$?; eq $rc 0 "exit"; }
no_pins() { [ ! -e "$SPOOLGUARD_PIN_DIR" ] || fail "left: $(ls -a "$SPOOLGUARD_PIN_DIR")"; }
pins_gone() { [ ! -e "$SPOOLGUARD_PIN_DIR" ]; }
syncs() { jq -r "[.files[] | select(.path == \"$T/$2\") | .kernel.syncs] | add // 0" "$1.out"; }

# Two users whose lives overlap at another place each time.
overlap() {
	local i rc a
	for i in 1 2 3 4 5 6 7 8 9 10; do
		"$SG" observe --duration $((i * 40))ms --path "$T/*" >a.out 2>a.err & a=$!
		sleep "0.$((i * 9 + 9))"
		rc=0; "$SG" observe --duration 50ms --path "$T/*" >b.out 2>b.err || rc=$?
		eq $rc 0 "round $i, second: $(cat b.err)"
		wait $a || rc=$?
		eq $rc 0 "round $i, first: $(cat a.err)"
	done
}
test_one_starts_while_another_ends() { need_pins; overlap; no_pins; }
test_many_at_once() {
	need_pins
	local i pids=() rc=0
	for i in 1 2 3 4 5 6 7 8; do
		"$SG" observe --duration $((i * 30))ms >"$i.out" 2>"$i.err" & pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i" || rc=$?; done
	eq $rc 0 "exit: $(cat ./?.err)"
	no_pins
}
test_mount_of_our_own_comes_and_goes_with_the_users() {
	need_tier
	export -f overlap eq fail; export T SG
	unshare -m --propagation private bash -eEc '
		mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /sys/fs/bpf; unset SPOOLGUARD_PIN_DIR
		overlap
		eq "$(grep -c " /run/spoolguard" /proc/self/mounts)" 0 "mounts left"
		eq "$(ls /run/spoolguard)" "" "files left"'
}
test_owner_killed_leaves_the_observer_to_the_other() {
	need_pins
	observe a; local a=$pid; observe b; local b=$pid
	kill -9 $a; wait $a || true
	observe c; finish $pid
	writer 5 "$T/f"; finish $b
	eq "$(syncs b f)" 5 "syncs"
	no_pins
}
test_sharer_killed_holds_nobody_up() {
	need_pins
	observe a; local a=$pid; observe b; local b=$pid
	writer 3 "$T/f"
	kill -9 $b; wait $b || true
	finish $a
	eq "$(syncs a f)" 3 "syncs"
	no_pins
}
test_observer_without_users_is_replaced() {
	need_pins
	observe a; writer 3 "$T/old"; kill -9 $pid; wait $pid || true
	[ -e "$SPOOLGUARD_PIN_DIR/stats" ] || fail "no pins are left of the killed one"
	observe b; writer 2 "$T/new"; finish $pid
	eq "$(syncs b new) $(syncs b old)" "2 0" "syncs, new and of the killed one's time"
	no_pins
}
test_first_one_out_leaves_it_to_the_second() {
	need_pins
	observe a; local a=$pid; observe b; local b=$pid
	finish $a; writer 4 "$T/f"
	gives 0 "$SG" -j file show "$T/f"; json '.files[0].kernel.syncs == 4' out
	finish $b
	eq "$(syncs b f)" 4 "syncs"
	no_pins
}
test_two_runs_at_once_both_get_counts_of_the_kernel() {
	need_pins
	local i n pids
	for i in 1 2 3; do
		pids=()
		for n in a b; do
			"$SG" -j run --socket-dir "$T/s.$n" --report="$n.$i" -- perl -e '
				use IO::Handle; open my $f, ">>", $ARGV[0] or die; $f->autoflush(1);
				for (1 .. 20) { print $f "x\n"; $f->sync; select undef, undef, undef, 0.02 }' "$T/$n$i.log" 2>"$n.err" & pids+=($!)
		done
		wait "${pids[@]}"
		for n in a b; do
			wait_for 20 test -s "$n.$i" || fail "no report of $n: $(cat $n.err)"
			[ ! -s $n.err ] || fail "$n: $(cat $n.err)"
			json "[.files[] | select(.path == \"$T/$n$i.log\")] | length == 1 and .[0].kernel.syncs == 20" "$n.$i"
		done
	done
	wait_for 20 pins_gone || no_pins
}
test_observe_shares_the_observer_of_a_run() {
	need_pins
	"$SG" -j run --socket-dir "$T/s" --report=rep -- sh -c ': >ready; while [ -e ready ] && [ ! -e stop ]; do sleep 0.05; done
		echo x >>g; sync g' & local run=$!
	wait_for 20 test -e ready
	observe a; writer 6 "$T/f"; finish $pid
	eq "$(syncs a f)" 6 "syncs"
	eq "$("$WATCH" -p "$SPOOLGUARD_PIN_DIR" info | grep '^in_use=')" in_use=1
	touch stop; wait $run; wait_for 20 test -s rep
	json "[.files[] | select(.path == \"$T/g\")] | .[0].kernel.syncs == 1" rep
	wait_for 20 pins_gone || no_pins
}
test_one_in_use_is_not_replaced() {
	need_pins
	observe a; local a=$pid rc=0
	"$WATCH" -p "$SPOOLGUARD_PIN_DIR" -e replace start >out 2>&1 || rc=$?
	eq $rc 1 "replacement"; grep -q 'start: Device or resource busy' out || fail "$(cat out)"
	writer 2 "$T/f"; finish $a
	eq "$(syncs a f)" 2 "syncs"
	no_pins
}
test_user_of_a_stopped_one_spares_the_next() {
	need_pins
	observe a; local a=$pid
	"$WATCH" -p "$SPOOLGUARD_PIN_DIR" stop; no_pins
	observe b; local b=$pid
	finish $a; writer 3 "$T/f"
	gives 0 "$SG" -j file show "$T/f"; json '.files[0].kernel.syncs == 3' out
	finish $b; no_pins
}
tap_main
