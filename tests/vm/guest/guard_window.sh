#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The window's bounds and its stalls, on slow and hanging disks, judged by the kernel's own record: ftrace of ext4
# on the disk, and the observer's count.
. "$(dirname "$0")/../lib.sh"
. "$TOP/tests/loggers/lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 400 s

LOG=/mnt/z/log
EVENTS="ext4:ext4_da_write_begin ext4:ext4_da_write_end ext4:ext4_write_begin ext4:ext4_sync_file_enter ext4:ext4_sync_file_exit"

slow_disk() {
	delay_disk z "$(disk 0)" 0 "$1"
	mk_fs ext4 /dev/mapper/z /mnt/z
}

# Each decision to admit an append, with the time that it was made for: sg_ledger_reserve(l, bytes, now_ns, …).
# On a copy, since a probe needs a file system of the guest's own.
probe_admission() {
	local at vaddr offset start
	cp "$PRELOAD" "$T/libspoolguard-preload.so"
	export SPOOLGUARD_PRELOAD=$T/libspoolguard-preload.so
	at=$((16#$(nm "$PRELOAD" | awk '$3 == "sg_ledger_reserve" { print $1 }')))
	read -r offset vaddr < <(readelf -lW "$PRELOAD" | awk '$1 == "LOAD" && / R E / { print $2, $3 }')
	start=$((at - vaddr + offset))
	echo "p:guard/asked $SPOOLGUARD_PRELOAD:$start now=%dx:u64" >$TRACE/uprobe_events
	echo "r:guard/answered $SPOOLGUARD_PRELOAD:$start ret=\$retval:s32" >>$TRACE/uprobe_events
	echo 1 >$TRACE/events/guard/enable
}
probe_end() {
	echo 0 >$TRACE/events/guard/enable
	echo >$TRACE/uprobe_events
}

# TRACE-FILE FILE RECORDS BYTES DELAY_MS RECORD_BYTES: fails if ever more was at risk, or an append was admitted while
# the oldest at risk was older. At risk: begun to be written, and not done when a sync began that has succeeded. Its
# age counts from when it was done: an append may hang in the kernel, and what is not there yet is not at risk.
# The file system writes one file's appends one after the other, and RECORD_BYTES divides a page (0: do not count).
within_bounds() {
	awk -v ino="$(stat -c %i "$2")" -v records="$3" -v bytes="$4" -v delay="$5" -v size="$6" '
		function number(name) {
			return match($0, name "[ =]-?[0-9]+") ? substr($0, RSTART + length(name) + 1, RLENGTH - length(name) - 1) + 0 : -1
		}
		!match($0, /-[0-9]+ +\[[0-9]+\]/) { next }
		{
			pid = substr($0, RSTART + 1) + 0
			match($0, / [0-9]+\.[0-9]+: [a-z0-9_]+:/)
			split(substr($0, RSTART + 1, RLENGTH - 2), part, ": ")
			time = part[1] * 1000; event = part[2]
		}
		event == "asked" { now[pid] = number("now") / 1e6; next }
		event == "answered" {
			if (number("ret") != 0) next
			admitted++
			# the oldest at risk when the decision was made
			for (i = first; i <= done && sync_at[i] && sync_at[i] <= now[pid]; i++);
			if (i <= done && written[i] < now[pid]) {
				age = now[pid] - written[i]
				if (age > oldest) oldest = age
				if (age > delay) { late++; if (late < 5) printf "admitted at %f, oldest from %f\n", now[pid], written[i] }
			}
			next
		}
		number("ino") != ino { next }
		event ~ /write_begin$/ {
			begun++
			begun_bytes += number("len")
			if (begun - covered > most) most = begun - covered
			if (begun_bytes - covered_bytes > most_bytes) most_bytes = begun_bytes - covered_bytes
		}
		event ~ /write_end$/ { written[++done] = time; done_bytes += number("copied") }
		event == "ext4_sync_file_enter" { snap[pid] = done; snap_bytes[pid] = done_bytes }
		event == "ext4_sync_file_exit" {
			if (number("ret") != 0 || !(pid in snap)) next
			syncs++
			for (; first <= snap[pid]; first++) sync_at[first] = time
			if (snap[pid] > covered) { covered = snap[pid]; covered_bytes = snap_bytes[pid] }
			delete snap[pid]
		}
		BEGIN { first = 1 }
		END {
			printf "%d appends, %d admitted in the window, %d syncs; at most %d records, %d bytes at risk; oldest at an admission %d ms\n",
				begun, admitted, syncs, most, most_bytes, oldest
			if (size && most > records) print "too many records", bad = 1
			if (most_bytes > bytes) print "too many bytes", bad = 1
			if (late) print late, "admitted past max_delay", bad = 1
			if (!begun || !syncs || !admitted) print "nothing happened", bad = 1
			exit bad
		}' "$1" || fail "out of bounds"
}

# POLICY RECORDS BYTES DELAY_MS: eight threads, on a slow disk and then on one whose every flush takes 3 s.
bounded() {
	local load counted records bytes
	slow_disk 20
	touch $LOG
	coproc RISK { exec "$O/tests/vm/riskwatch" $LOG; }
	read -r -t 60 -u "${RISK[0]}" || fail "no observer"
	exec {risk}<&"${RISK[0]}"
	guard "$LOG:mode=window,$1"
	probe_admission
	trace_start /mnt/z $EVENTS
	"${GUARD[@]}" "$O/tests/bench/sync_threads" $LOG 8 5000 >out & load=$!
	sleep 1.5
	delay_set z 0 3000
	sleep 3.5
	delay_set z 0 0
	wait $load
	exec {RISK[1]}>&-
	read -r -t 60 -u $risk counted || fail "the observer died"
	trace_stop trace
	probe_end
	echo "$(<out) records/s; the observer: $counted"
	within_bounds trace $LOG "$2" "$3" "$4" 128
	read -r _ records _ bytes <<<"$counted"
	[ "$records" -gt 0 ] && [ "$records" -le "$2" ] && [ "$bytes" -le "$3" ] || fail "the observer counted more at risk"
	eq "$(($(stat -c %s $LOG) % 128))" 0 "a torn record"
}
test_records_at_risk_are_bounded() { bounded max_records=16,max_bytes=1MiB,max_delay=20s 16 1048576 20000; }
test_bytes_at_risk_are_bounded() { bounded max_records=100000,max_bytes=1KiB,max_delay=20s 100000 1024 20000; }
test_nothing_is_admitted_past_max_delay() { bounded max_records=1000000,max_bytes=1GiB,max_delay=200ms 1000000 1073741824 200; }

# LOGGER POLICY BYTES DELAY_MS: every line, through 3 s flushes
logger_bounded() {
	slow_disk 5
	guard "/mnt/z/**:mode=window,$2"
	probe_admission
	logger_start "$1" /mnt/z
	trace_start /mnt/z $EVENTS
	logger_send 100 100
	delay_set z 0 3000
	logger_send 200 100 more
	delay_set z 0 0
	logger_wait 300
	logger_intact 100 line
	logger_intact 200 more
	logger_stop
	trace_stop trace
	probe_end
	within_bounds trace "$LOGGER_FILE" 0 "$3" "$4" 0
}
test_rsyslogd_stays_in_bounds_and_loses_no_line() {
	logger_bounded rsyslogd max_records=256,max_bytes=64KiB,max_delay=2s 65536 2000
}
test_redis_stays_in_bounds_and_loses_no_line() {
	logger_bounded redis max_records=256,max_bytes=64KiB,max_delay=2s 65536 2000
}

# --- stalls ---

# MODE-AND-MORE OPERATION-PATTERN: the disk hangs for 3 s, 1 s is a stall. All times are of CLOCK_MONOTONIC.
stalled() {
	local watch enter begun cleared exit age
	error_disk z "$(disk 0)"
	mk_fs ext4 /dev/mapper/z /mnt/z
	guard "$LOG:$1,stall=1s"
	fdsh_start
	fd open a $LOG w creat append
	fd_is 10 write a 10
	fd_is 0 fsync a
	sync -f /mnt/z
	trace_start /mnt/z ext4:ext4_sync_file_enter ext4:ext4_sync_file_exit
	suspend_disk z
	fd_is 10 write a 10
	fd_send fsync a
	wait_for 10 in_flight_stall || fail "no stall while the disk hangs"
	"$SPOOLGUARD" -j stall list --socket-dir "$T/s" >during
	sleep 1
	resume_disk z
	fd_wait
	eq "$FD_RET" 0 "fsync"
	wait_for 10 stall_over || fail "the stall did not end"
	trace_stop trace
	"$SPOOLGUARD" -j file events $LOG --socket-dir "$T/s" >events
	"$SPOOLGUARD" -j stall list --socket-dir "$T/s" >after
	enter=$(awk '/sync_file_enter/ { match($0, / [0-9]+\.[0-9]+: /); print int(substr($0, RSTART, RLENGTH) * 1000); exit }' trace)
	exit=$(awk '/sync_file_exit/ { match($0, / [0-9]+\.[0-9]+: /); print int(substr($0, RSTART, RLENGTH) * 1000); exit }' trace)
	begun=$(jq '[.events[] | select(.event == "stall begun")][0].ns / 1e6 | floor' events)
	age=$(jq '[.events[] | select(.event == "stall begun")][0].age_ns / 1e6 | floor' events)
	cleared=$(jq '[.events[] | select(.event == "stall cleared")][0].ns / 1e6 | floor' events)
	echo "sync from $enter to $exit ms by the kernel, stall begun at $begun (age $age ms), cleared at $cleared"
	[ $age -ge 1000 ] && [ $age -le 1200 ] || fail "begun when $age ms old, not within 1.2 x 1 s"
	[ $((begun - enter)) -le 1200 ] && [ $((begun - enter)) -ge 900 ] || fail "begun $((begun - enter)) ms after the kernel's sync"
	[ $cleared -ge $((exit - 1)) ] && [ $((cleared - exit)) -le 200 ] || fail "cleared $((cleared - exit)) ms after it ended"
	eq "$(jq '.stalls | length' during)" 1 "stalls in flight"
	eq "$(jq '.stalls[0].in_flight' after)" false "in flight after the end"
	[ "$(jq '.stalls[0].age_ns / 1e6 | floor' after)" -ge $((exit - enter)) ] || fail "shorter than the sync"
	fdsh_stop
}
in_flight_stall() { "$SPOOLGUARD" -j stall list --socket-dir "$T/s" | jq -e '.stalls[0].in_flight' >/dev/null; }
stall_over() { "$SPOOLGUARD" -j stall list --socket-dir "$T/s" | jq -e '.stalls[0].in_flight == false' >/dev/null; }
test_a_stall_of_the_callers_sync_is_told_when_it_begins_and_when_it_ends() { stalled mode=group; }
test_a_stall_of_the_brokers_sync_is_told_when_it_begins_and_when_it_ends() { stalled mode=window,max_delay=50ms,max_records=64,max_bytes=64KiB; }

tap_main
