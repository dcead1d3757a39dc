#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The main job, as root and as somebody else: its tables are there, and nothing of it stays behind.
set -u
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/../loggers/lib.sh"
case $(stat -f -c %T "${TMPDIR:-/tmp}") in tmpfs|ramfs) export TMPDIR=/var/tmp;; esac
unset MAKEFLAGS MAKELEVEL MFLAGS CMD POLICY LINES_N SPOOLGUARD_POLICY SPOOLGUARD_CONF
own_pins "$@"

MAIN_JOB=$TOP/scripts/main-job
ordinary=()
[ "$(id -u)" != 0 ] || ordinary=(setpriv --reuid=65534 --regid=65534 --clear-groups)

needs_rsyslogd() { [ -e "$LOGGERS/rsyslog/.unpacked" ] || skip "no rsyslogd in $LOGGERS (make loggers)"; }
state_of_etc() { find /etc -printf '%p %i %T@ %s %m\n' 2>/dev/null | sort | md5sum; }
# What a job may leave nothing of: $T/tmp is its TMPDIR.
begin() { mkdir -m 777 "$T/tmp"; chmod 755 "$T"; export TMPDIR=$T/tmp; state_of_etc >"$T/etc"; }
nothing_left() {
	local left
	left=$(grep -lsFf <(echo "$T/tmp") /proc/[0-9]*/cmdline) || :
	[ -z "$left" ] || fail "left running: $(for p in $left; do tr '\0' ' ' <"$p"; done)"
	eq "$(ls -A "$T/tmp")" "" "left in TMPDIR"
	eq "$(state_of_etc)" "$(cat "$T/etc")" "state of /etc"
	[ ! -e /sys/fs/bpf/spoolguard ] || fail "pins are left: $(ls /sys/fs/bpf/spoolguard)"
}
# row LOAD MODE: the cells of that row, single-spaced
row() { awk -v load="$1" -v mode="$2" '$1 == load && $2 == mode { $1 = $1; print }' "$T/out"; }
rows_are_there() {
	local load mode
	for load in burst paced; do
		for mode in bare group window; do
			[ "$(row $load $mode | cut -d' ' -f3)" = 300 ] || fail "no row $load $mode with 300 lines in: $(cat "$T/out")"
		done
	done
	grep -q '^Group: .* kernel syncs a line where rsyslogd asks for 2.00' "$T/out"
	grep -q '^Window: ' "$T/out"
	! grep '^Note: ' "$T/out" >&2
	# A line of a burst costs one sync of the file in group, and a fraction in window.
	eq "$(row burst group | cut -d' ' -f5)" 1.00 "kernel syncs of the file per line in group"
	awk -v n="$(row burst window | cut -d' ' -f5)" 'BEGIN { exit !(n < 0.5) }'
}

test_main_job_as_root() {
	[ "$(id -u)" = 0 ] || skip "not root"
	needs_rsyslogd
	begin
	LINES_N=300 "$MAIN_JOB" >"$T/out" 2>"$T/err" || fail "status $?: $(cat "$T/err")"
	rows_are_there
	grep -q '^Observer: tier' "$T/out" || skip "no observer here: $(grep Observer: "$T/out")"
	eq "$(row burst bare | cut -d' ' -f5,6)" "1.00 1.00" "kernel syncs of file and directory per line, bare"
	eq "$(row burst bare | sed 's/.* % *//' | cut -d' ' -f1)" 1 "records at risk, bare"
	for f in burst-bare/out.log burst-group/out.log paced-window/out.log; do grep -q "^$f  *- " "$T/out"; done
	nothing_left
}
test_main_job_as_an_ordinary_user() {
	needs_rsyslogd
	begin
	LINES_N=300 "${ordinary[@]}" "$MAIN_JOB" >"$T/out" 2>"$T/err" || fail "status $?: $(cat "$T/err")"
	rows_are_there
	grep -q '^Observer: none' "$T/out"
	eq "$(row burst bare | cut -d' ' -f5-)" "– – – – – – – – –" "what nobody could see of a bare run"
	! grep 'observer saw' "$T/out"
	nothing_left
}

# In the midst of a run, as Ctrl-C or a closed terminal would.
interrupted() {
	local pid status=0
	needs_rsyslogd
	begin
	LINES_N=100000 env --default-signal=INT "$MAIN_JOB" >"$T/out" 2>"$T/err" &
	pid=$!
	wait_for 60 eval 'grep -qs "line 99/" "$T"/tmp/*/log/*/out.log' || fail "it did not begin: $(cat "$T/out" "$T/err")"
	kill -"$1" $pid
	wait $pid || status=$?
	eq $((status - 128)) "$(kill -l "$1")" "the signal that ended it"
	nothing_left
}
test_interrupt_leaves_nothing() { interrupted INT; }
test_sigterm_leaves_nothing() { interrupted TERM; }

test_reader_that_goes_away_leaves_nothing() {
	needs_rsyslogd
	begin
	LINES_N=100 "$MAIN_JOB" 2>"$T/err" | head -n 5 >"$T/out"
	wait_for 20 eval '[ -z "$(ls -A "$T/tmp")" ]' || fail "left in TMPDIR: $(find "$T/tmp")"
	nothing_left
}

command_is_guarded() { # WHO…
	local status=0
	begin
	mkdir -m 777 "$T/w"
	export SPOOLGUARD_RUNTIME_DIR=$T/w/run
	CMD="echo one >>$T/w/a.log; sync -d $T/w/a.log; exit 7" POLICY="$T/w/*.log:mode=group" \
		"$@" "$MAIN_JOB" >"$T/out" 2>"$T/err" || status=$?
	eq $status 7 "status of the command"
	grep -q "^$T/w/a.log  *group  *1 " "$T/out" || fail "no report of a.log: $(cat "$T/out" "$T/err")"
	CMD="echo two >>$T/w/b.log" "$@" "$MAIN_JOB" >"$T/out" 2>"$T/err"
	grep -q "^$T/w/b.log  *observe  *1 " "$T/out" || fail "no report of b.log: $(cat "$T/out" "$T/err")"
	nothing_left
}
test_command_is_guarded_and_its_status_passed_on() { command_is_guarded env; }
test_command_is_guarded_as_an_ordinary_user() { command_is_guarded "${ordinary[@]}" env; }
# Ctrl-C in a terminal is for the whole group of processes.
test_interrupted_command_is_reported() {
	local status=0
	begin
	export SPOOLGUARD_RUNTIME_DIR=$T/run
	CMD="echo one >>$T/a.log; echo >$T/begun; exec sleep 60" POLICY="$T/a.log:mode=group" \
		setsid env --default-signal=INT "$MAIN_JOB" >"$T/out" 2>"$T/err" &
	wait_for 20 test -e "$T/begun"
	kill -INT -- -$!
	wait $! || status=$?
	eq $status 130 "status of the interrupted command"
	grep -q "^$T/a.log  *group  *1 " "$T/out" || fail "no report: $(cat "$T/out" "$T/err")"
	nothing_left
}
test_missing_command_is_told() {
	local status=0
	begin
	SPOOLGUARD_RUNTIME_DIR=$T/run CMD=no-such-program "$MAIN_JOB" >"$T/out" 2>"$T/err" || status=$?
	eq $status 127 "status of a command that is not there"
	nothing_left
}
test_make_run_guards_a_command() {
	[ "$(id -u)" = 0 ] || skip "not root"
	begin
	SPOOLGUARD_RUNTIME_DIR=$T/run make -s -C "$TOP" O="$O" run CMD="echo one >>$T/a.log" >"$T/out" 2>"$T/err" || fail "status $?: $(cat "$T/err")"
	grep -q "^$T/a.log  *observe  *1 " "$T/out"
	nothing_left
}

test_bad_number_of_lines_is_refused() {
	local n status
	for n in 0 -1 5x 99999999; do
		status=0
		LINES_N=$n "$MAIN_JOB" >"$T/out" 2>"$T/err" || status=$?
		eq $status 2 "status with LINES_N=$n"
		grep -q 'LINES_N=' "$T/err"
	done
}
test_scratch_folder_in_memory_is_not_used() {
	needs_rsyslogd
	[ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "/dev/shm is no tmpfs"
	TMPDIR=/dev/shm LINES_N=10 "$MAIN_JOB" >"$T/out" 2>"$T/err" || fail "status $?: $(cat "$T/err")"
	grep -q '/dev/shm is in memory' "$T/err"
	grep -q ' in /var/tmp/' "$T/out"
}

tap_main
