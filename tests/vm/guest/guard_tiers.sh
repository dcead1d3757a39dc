#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# In every tier: kernel syncs = issued by the shim + issued by the broker + counted as unseen, where each is known from
# what the program did; and no call of the shim is shorter than what the kernel did in it.
. "$(dirname "$0")/../lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 240 s

WATCH=$O/tests/bpf/sg-watch IO=$O/tests/bpf/sg-io

report_get() { jq -r ".files[] | select(.path == \"$1\") | $2" report; }
report_is() { eq "$(report_get "$1" "$2")" "$3" "$(basename "$1"): $2"; }

owner_says() { grep -qE "^(tier=|start: )" start.out; }

equation() {
	local f
	modprobe -a ext4 dm-mod
	mk_fs ext4 "$(disk 0)" /mnt/e
	# An observer of that tier, which run shares as long as its owner lives.
	coproc OWNER { exec "$WATCH" -t "$1" -e replace start cat >start.out 2>&1; }
	wait_for 60 owner_says || fail "no observer: $(<start.out)"
	! grep -q '^start: ' start.out || skip "$(<start.out)"
	guard "/mnt/e/window:mode=window,max_delay=20s,max_records=4;/mnt/e/*:mode=group" --report=report
	cat >mixed <<-S
	"$IO" /mnt/e/mixed write fsync=3 fdatasync=2 append2=2 uring-fsync=2 msync=2
	"$O/tests/vm/rawsync" /mnt/e/mixed 3
	"$IO" /mnt/e/window write fsync write fsync write fsync write fsync write fsync
	for f in 1 2 3 4 5; do "$IO" /mnt/e/one\$f write fsync; done
	S
	GUARD=("${GUARD[0]}" -j "${GUARD[@]:1}")
	"${GUARD[@]}" bash mixed || fail "the program failed"
	wait_for 30 test -s report
	exec {OWNER[1]}>&-
	wait "$OWNER_PID"
	cp report $VMOUT/report."$1"
	eq "$(jq -r .sources.observer.tier report)" "$1" "tier"
	report_is /mnt/e/mixed '.shim.syncs.issued' 5
	report_is /mnt/e/mixed '.shim.syncs.led' 5
	report_is /mnt/e/mixed '.kernel.syncs' 14
	report_is /mnt/e/mixed '.unseen' 9
	report_is /mnt/e/mixed '.kernel.syncs_by_route | "\(.syscall) \(.osync) \(.msync) \(.io_uring)"' "8 2 2 2"
	report_is /mnt/e/window '.shim.syncs.windowed' 5
	report_is /mnt/e/window '.unseen' 0
	report_is /mnt/e/window '.kernel.syncs == .shim.syncs.issued + .broker.issued' true
	report_is /mnt/e/window '.kernel.syncs >= 2' true
	for f in 1 2 3 4 5; do
		report_is /mnt/e/one$f '"\(.shim.syncs.calls) \(.shim.syncs.issued) \(.kernel.syncs) \(.unseen)"' "1 1 1 0"
		report_is /mnt/e/one$f '.shim.syncs.call_ns >= .shim.syncs.issued_ns and .shim.syncs.issued_ns >= .kernel.operations.fsync.total_ns' true
		report_is /mnt/e/one$f '.kernel.operations.fsync.total_ns > 0' true
	done
}
test_fentry() { equation fentry; }
test_kprobe() { equation kprobe; }
test_tp_btf() { equation tp_btf; }
test_tracepoint() { equation tracepoint; }

tap_main
