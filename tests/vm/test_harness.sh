#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# vm-run and guest-tests tell the truth about what happened inside, above all about what went wrong.
set -u
. "$(dirname "$0")/../lib/tap.sh"
VM=$TOP/tests/vm

can_boot() { "$VM/vm-run" -n 2>"$T/why" || skip "$(<"$T/why")"; }

test_status_output_and_results_come_back() {
	can_boot
	local status=0
	truncate -s 1M "$T/image"
	"$VM/vm-run" -w "$T/results" -d "$T/image" -e GREETING='good day' -- \
		bash -c 'echo "$GREETING"; echo oops >&2; echo kept >$VMOUT/file; printf mark >/dev/vda; sync; exit 7' \
		>"$T/out" 2>"$T/err" || status=$?
	eq $status 7 status
	eq "$(<"$T/out")" 'good day' stdout
	eq "$(<"$T/err")" oops stderr
	eq "$(<"$T/results/file")" kept 'a file among the results'
	eq "$(head -c 4 "$T/image")" mark 'what was written to the image'
	grep -q 'Linux version' "$T/results/dmesg"
}

test_usage_and_a_missing_kernel_have_their_own_status() {
	local status=0
	"$VM/vm-run" 2>/dev/null || status=$?
	eq $status 2 'no command'
	status=0
	"$VM/vm-run" -k "$T" -- true 2>"$T/err" || status=$?
	eq $status 69 'no kernel'
	grep -q "no kernel in $T" "$T/err"
}

test_out_of_time_says_so() {
	can_boot
	local status=0
	"$VM/vm-run" -t 2 -- sleep 60 2>"$T/err" || status=$?
	eq $status 124 status
	grep -q 'no end after 2 s' "$T/err"
}

# One boot: a script without tests, one that hangs, one stuck in the kernel, a good one, one that kills the machine.
test_each_way_to_fail_is_reported_and_stays_alone() {
	can_boot
	local g=$T/guest status=0
	mkdir "$g"
	echo 'echo hello; exit 3' >"$g/none.sh"
	printf '# limit: 3 s\necho "ok 1 - before"; sleep 1000\n' >"$g/hang.sh"
	printf '# limit: 3 s\n. %q/lib.sh\n' "$VM" >"$g/stuck.sh"
	cat >>"$g/stuck.sh" <<-'E'
	test_stuck() { error_disk s "$(disk 0)"; mk_fs ext4 /dev/mapper/s /mnt/s; suspend_disk s; echo x >/mnt/s/x; sync /mnt/s/x; }
	tap_main
	E
	printf '. %q/lib.sh\n' "$VM" >"$g/good.sh"
	cat >>"$g/good.sh" <<-'E'
	test_a_disk() { mk_fs ext4 "$(disk 0)" /mnt/x; touch /mnt/x/y; }
	test_bad() { fail "the reason"; }
	test_skipped() { skip "not today"; }
	tap_main
	E
	echo 'echo "ok 1 - last words"; echo c >/proc/sysrq-trigger; sleep 5' >"$g/die.sh"
	GUEST='' ONLY='' VM_RESULTS='' "$VM/guest-tests" -d 64M "$g"/{none,hang,stuck,good,die}.sh >"$T/tap" || status=$?
	cat "$T/tap"
	eq $status 1 status
	grep -E '^(not )?ok' "$T/tap" | sed 's/ [0-9]* / /' >"$T/got"
	diff - "$T/got" <<-'E'
	not ok - none: no tests (exit status 3)
	ok - hang: before
	not ok - hang: no end after 3 s
	not ok - stuck: no end after 3 s
	ok - good: test_a_disk
	not ok - good: test_bad
	ok - good: test_skipped # SKIP not today
	ok - die: last words
	not ok - the virtual machine lived to the end of its tests
	E
	grep -q '# FAIL: the reason' "$T/tap"
	grep -q 'Kernel panic' "$T/tap"
}

# All processes inside stand still, as when the emulator hangs: said, and what was not done runs in another machine.
test_a_machine_that_stops_is_replaced_once() {
	can_boot
	local g=$T/guest status=0
	mkdir "$g" "$T/results"
	echo 'echo "ok 1 - done"' >"$g/before.sh"
	echo 'echo "ok 1 - seen twice"; [ -e $VMOUT/once ] || { touch $VMOUT/once; kill -STOP -1; sleep 60; }' >"$g/stops.sh"
	echo 'echo "ok 1 - done"' >"$g/after.sh"
	GUEST='' ONLY='' VM_STOPPED=10 VM_RESULTS=$T/results "$VM/guest-tests" "$g"/{before,stops,after}.sh >"$T/tap" || status=$?
	cat "$T/tap"
	eq $status 0 status
	grep -E '^(not )?ok' "$T/tap" | sed 's/ [0-9]* / /' >"$T/got"
	diff - "$T/got" <<-'E'
	ok - before: done
	ok - stops: seen twice
	ok - after: done
	E
	grep -q 'no process ran inside for 10 s' "$T/tap"
}

tap_main
