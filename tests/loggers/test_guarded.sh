#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Real loggers under guard, in each mode: their lines stay whole, the books balance to the last sync (with the
# observer's count where there is one), bounds hold, and nothing stays behind.
set -u
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/lib.sh"
# The books are about a disk.
case $(stat -f -c %T "${TMPDIR:-/tmp}") in tmpfs|ramfs) export TMPDIR=/var/tmp;; esac
own_observer "$@"

WINDOW=mode=window,max_delay=50ms,max_records=512,max_bytes=64KiB

# begin_guard POLICY: what logger_start starts from now on is guarded; its report is $T/report. Nothing of other
# sessions is seen, and none of ours by others.
begin_guard() {
	export SPOOLGUARD_RUNTIME_DIR=$T/run
	GUARD=("$SPOOLGUARD" -j run --report="$T/report" --policy "$1" --)
}
policy_for() { # MODE: observe and group for all that the logger touches, window for what it only appends to
	case $1 in
	window) echo "$T/l/**/*.log:$WINDOW;$T/l/**/current:$WINDOW;$T/l/**/*.incr.aof:$WINDOW";;
	*) echo "$T/l/**:mode=$1";;
	esac
}
# end_guard: stop the logger; then its broker ends, and nothing that has to do with this test is left.
end_guard() {
	local broker
	broker=$(broker_of "$LOGGER_PID")
	[ -n "$broker" ] || fail "$LOGGER_KIND has no broker"
	logger_stop
	report_of "$T/report"
	wait_for 20 eval "! kill -0 $broker 2>/dev/null" || fail "the broker $broker did not end"
	nothing_left
}
nothing_left() {
	local left
	left=$(grep -lsFf <(echo "$T/") /proc/[0-9]*/cmdline) || : # the pattern from a file: else grep finds itself
	[ -z "$left" ] || fail "left running: $(for p in $left; do tr '\0' ' ' <"$p"; done)"
	eq "$(find "$T/run" -type s | wc -l)" 0 "sockets left in the session directory"
}

# report FILTER: of one file of the logger's (path of $T/l), from the report
report() { jq -r --arg path "$1" "first(.files[] | select(.path == \$path)) | $2" "$T/report"; }

# All files of this test, as whoever saw them says.
books_balance() {
	local wrong
	jq -e --arg top "$T/l" '[.files[] | select(.path // "" | startswith($top)) | select(.shim)] | length > 0' \
		"$T/report" >/dev/null || fail "the report knows no file of the logger"
	wrong=$(jq -c --arg top "$T/l" --argjson observed "${OBSERVED:-0}" '
		.files[] | select(.path // "" | startswith($top)) | select(.shim) | .shim.syncs as $s |
		select($s.calls != $s.led + $s.grouped + $s.elided + $s.windowed + $s.poisoned + $s.refused
			or $s.issued != $s.led + $s.drains + $s.inline
			or $s.poisoned != 0 or $s.refused != 0 or $s.errors != 0
			or $observed == 1 and (.unseen != 0 or .kernel == null and $s.issued + (.broker.issued // 0) > 0
				or .kernel != null and .kernel.syncs != $s.issued + (.broker.issued // 0))
			or .at_risk.peak_records != null and .mode == "window" and (.at_risk.peak_records > .at_risk.max_records
				or .at_risk.peak_bytes > .at_risk.max_bytes
				or .kernel.most_at_risk.records > .at_risk.max_records
				or .kernel.most_at_risk.bytes > .at_risk.max_bytes)
			or .mode == "window" and .at_risk.records != 0)
		| {path, mode, unseen, s: $s, broker, kernel: .kernel.syncs, most: .kernel.most_at_risk, at_risk}' "$T/report")
	[ -z "$wrong" ] || fail "the books do not balance: $wrong"
}

# --- each logger in each mode ---

guarded() { # KIND MODE
	local options=()
	# A burst's lines are synced in batches else.
	[ "$1" != syslog_ng ] || options=('flush-lines(1)')
	begin_guard "$(policy_for "$2")"
	logger_start "$1" "$T/l" "${options[@]}"
	logger_send 200
	logger_wait 200
	logger_send 100 1000 paced 100
	logger_wait 300
	end_guard
	logger_intact 200
	logger_intact 100 paced
	eq "$(report "$LOGGER_FILE" .mode)" "$2" "mode in force of $LOGGER_FILE ($(report "$LOGGER_FILE" .mode_why))"
	books_balance
	[ "$1" != redis ] || logger_tool "$REDIS_CHECK_AOF" "$LOGGER_DIR/appendonlydir/appendonly.aof.manifest" >/dev/null
}
for kind in $LOGGER_KINDS; do
	for mode in observe group window; do
		eval "test_${kind}_guarded_in_$mode() { guarded $kind $mode; }"
	done
done

# A program that never asks for a sync gets none in observe, and in window all that the bound demands.
test_window_bounds_a_program_that_never_syncs() {
	begin_guard "$(policy_for window)"
	logger_start nginx "$T/l"
	logger_send 2000 0 line 100
	logger_wait 2000
	end_guard
	logger_intact 2000
	books_balance
	[ "$(report "$LOGGER_FILE" .broker.issued)" -ge 4 ] || fail "2000 records, at most 512 at risk: synced $(report "$LOGGER_FILE" .broker.issued) times"
}

test_tight_bounds_hold_in_a_burst() {
	begin_guard "$T/l/*.log:mode=window,max_delay=50ms,max_records=8,max_bytes=1KiB"
	logger_start rsyslogd "$T/l" 'queue.dequeueBatchSize="1"'
	logger_send 500 0 line 100
	logger_wait 500
	end_guard
	logger_intact 500
	books_balance
	[ "$(report "$LOGGER_FILE" .shim.appends_waited)" -gt 0 ] || fail "no append waited at a bound of 8 records"
}

# Rotation renames a file with data at risk, and begins another.
rotated() { cat "$LOGGER_DIR"/log/@* "$LOGGER_DIR/log/current"; }
test_svlogd_rotates_in_window() {
	begin_guard "$T/l/log/**:$WINDOW"
	logger_start svlogd "$T/l" s10000 n50
	logger_send 500 0 line 100
	wait_for 20 eval '[ "$(rotated | wc -l)" = 500 ]' || fail "$(rotated | wc -l) lines of 500"
	end_guard
	rotated >"$T/all"
	LOGGER_FILE=$T/all
	logger_intact 500
	books_balance
	[ "$(find "$T/l/log" -name '@*' | wc -l)" -ge 4 ] || fail "it did not rotate: $(ls "$T/l/log")"
}

# --- what rsyslogd pays per line ---

# 500 lines, each a batch of its own, 500 a second; kernel syncs of file and directory in all
rsyslogd_500() {
	logger_start rsyslogd "$T/l" 'queue.dequeueBatchSize="1"'
	logger_send 500 500
	logger_wait 500
}
both_syncs() { echo $(($(report "$LOGGER_FILE" "$1") + $(report "$LOGGER_DIR" "$1"))); }
issued='.shim.syncs.issued + (.broker.issued // 0)'

test_bare_rsyslogd_line_costs_two_kernel_syncs() {
	[ -n "$OBSERVED" ] || skip "only the observer sees a bare program"
	export SPOOLGUARD_RUNTIME_DIR=$T/run
	rsyslogd_500
	logger_stop
	"$SPOOLGUARD" -j file show >"$T/report"
	eq "$(both_syncs .kernel.syncs)" 1000 "kernel syncs of 500 lines"
}
elides_here() {
	case $(stat -f -c %T "$T") in ext2/ext3|xfs|btrfs) ;; *) skip "directories are only elided on ext4, xfs and btrfs";; esac
}
test_group_rsyslogd_line_costs_one_kernel_sync() {
	elides_here
	begin_guard "$(policy_for group)"
	rsyslogd_500
	end_guard
	logger_intact 500
	books_balance
	eq "$(report "$LOGGER_FILE" .shim.syncs.calls) $(report "$LOGGER_DIR" .shim.syncs.calls)" "500 500" "syncs that rsyslogd asked for"
	[ "$(both_syncs "$issued")" -le 550 ] || fail "500 lines cost $(both_syncs "$issued") kernel syncs"
	eq "$(report "$LOGGER_FILE" "$issued")" 500 "syncs of the file"
}
test_window_rsyslogd_line_costs_a_tenth_of_a_kernel_sync() {
	elides_here
	begin_guard "$(policy_for window)"
	rsyslogd_500
	end_guard
	logger_intact 500
	books_balance
	[ "$(both_syncs "$issued")" -le 50 ] || fail "500 lines cost $(both_syncs "$issued") kernel syncs"
	eq "$(report "$LOGGER_FILE" .shim.syncs.windowed)" 500 "syncs that returned inside the window"
}

# --- directories ---

DIR_CHANGES=$O/tests/loggers/dir_changes
tell() { # COMMAND…: to dir_changes
	local answer
	echo "$*" >&"${DIRS[1]}"
	read -r -t 20 answer <&"${DIRS[0]}" || fail "dir_changes does not answer: $*"
	eq "$answer" ok "$*"
}
dir_counter() { "$SPOOLGUARD" -j file show "$T/d" | jq -r --arg c "$1" '.files[0].shim.syncs[$c]'; }
# Sync until one is elided: then the directory is known to be as it was when it was last synced.
until_elided() {
	local before try
	before=$(dir_counter elided)
	for try in 1 2 3 4 5 6 7 8 9 10; do
		tell sync
		[ "$(dir_counter elided)" = "$before" ] || return 0
	done
	fail "no sync of an unchanged directory was elided"
}
test_a_changed_directory_is_always_synced() {
	local change issued elided
	elides_here
	mkdir "$T/d" "$T/elsewhere"
	begin_guard "$T/d/held:mode=group"
	coproc DIRS { "${GUARD[@]}" "$DIR_CHANGES" "$T/d" 2>"$T/err"; }
	tell hold held
	tell sync
	for change in "create a" "rename a b" "link b c" "unlink c" "mkdir m" "rmdir m" "symlink b s" "unlink s" \
		"rename b $T/elsewhere/b" "rename $T/elsewhere/b b" "create a" "rename a b" "unlink b" \
		"! touch $T/d/x" "! mv $T/d/x $T/d/y" "! rm $T/d/y"; do
		until_elided
		issued=$(dir_counter issued) elided=$(dir_counter elided)
		# The latter are done by a program that is not guarded.
		case $change in '! '*) ${change#! };; *) tell "$change";; esac
		tell sync
		eq "$(dir_counter issued) $(dir_counter elided)" "$((issued + 1)) $elided" "syncs issued and elided after: $change"
	done
	# As fast as it can, so that the directory's times stay the same over several changes.
	elided=$(dir_counter elided) issued=$(dir_counter issued)
	tell churn 400
	eq "$(dir_counter issued) $(dir_counter elided)" "$((issued + 400)) $elided" "syncs issued and elided by churn 400"
	until_elided
	eval "exec ${DIRS[1]}>&-"
	wait "$DIRS_PID"
	report_of "$T/report"
	[ -z "$OBSERVED" ] || eq "$(report "$T/d" .unseen)" 0 "syncs that the shim does not know"
}

# --- what a killed program leaves ---

LAZY=mode=window,max_delay=60s,max_records=100000,max_bytes=1GiB,adapt=off
now() { "$SPOOLGUARD" -j file show "$LOGGER_FILE" | jq -r ".files[0]$1"; }

# A look that the broker was too busy to answer knows nothing.
some_at_risk() { [ "$(now '.at_risk.records // 0')" -gt 0 ]; }

test_killed_rsyslogd_leaves_nothing_at_risk() {
	local broker
	begin_guard "$T/l/**/*.log:$LAZY"
	logger_start rsyslogd "$T/l" 'queue.dequeueBatchSize="1"'
	logger_send 200 500
	logger_wait 200
	wait_for 20 some_at_risk || fail "nothing was at risk"
	broker=$(broker_of "$LOGGER_PID")
	logger_kill
	report_of "$T/report"
	wait_for 20 eval "! kill -0 $broker 2>/dev/null" || fail "the broker did not end"
	nothing_left
	logger_intact 200
	books_balance
	eq "$(report "$LOGGER_FILE" '"\(.at_risk.records) \(.at_risk.bytes) \(.at_risk.lost_records)"')" "0 0 0" "at risk and lost"
	[ "$(report "$LOGGER_FILE" .broker.issued)" -ge 1 ] || fail "the broker synced nothing"
}

# Without its broker a window has nobody who syncs it: the program does so itself again.
test_killed_broker_leaves_nothing_at_risk() {
	local broker
	begin_guard "$(policy_for window)"
	logger_start rsyslogd "$T/l" 'queue.dequeueBatchSize="1"'
	logger_send 100 500
	logger_wait 100
	broker=$(broker_of "$LOGGER_PID")
	kill -KILL "$broker"
	logger_send 100 500 orphan
	logger_wait 200
	logger_stop
	logger_intact 100
	logger_intact 100 orphan
	[ -n "$OBSERVED" ] || return 0
	eq "$(now .at_risk.bytes)" 0 "bytes at risk, as the observer sees it"
	[ "$(now .kernel.syncs)" -ge 20 ] || fail "only $(now .kernel.syncs) syncs of the file"
}

test_window_without_broker_is_group_and_says_so() {
	export SPOOLGUARD_RUNTIME_DIR=$T/run
	GUARD=("$SPOOLGUARD" run --no-broker --policy "$(policy_for window)" --)
	logger_start rsyslogd "$T/l" 'queue.dequeueBatchSize="1"'
	grep -q 'window and ensure fall to group' "$LOGGER_DIR/logger.out"
	logger_send 100 500
	logger_wait 100
	logger_stop
	logger_intact 100
	[ -z "$OBSERVED" ] || eq "$(now '|"\(.kernel.syncs) \(.at_risk.bytes)"')" "100 0" "kernel syncs of 100 lines, bytes at risk"
}

# A program killed while somebody else is under the same broker, who keeps it alive to be asked.
test_flush_after_death_is_an_event() {
	local writer broker
	mkdir "$T/l"
	mkfifo "$T/go" "$T/end"
	LOGGER_FILE=$T/l/out.log
	begin_guard "$T/l/*.log:$LAZY"
	"${GUARD[@]}" sh -c '
		sh -c "echo \$\$ >\"\$2/pid\"; exec >>\"\$1\"; for i in 1 2 3 4 5; do echo line; done; read x <\"\$2/go\"" sh "$1" "$2" &
		read x <"$2/end"' sh "$LOGGER_FILE" "$T" 2>"$T/err" &
	LOGGER_PID=$!
	trap logger_kill EXIT
	wait_for 20 test -s "$T/pid" || fail "the writer did not start"
	writer=$(cat "$T/pid")
	wait_for 20 eval '[ "$(now .at_risk.records 2>/dev/null)" = 5 ]' || fail "at risk: $(now .at_risk)"
	eq "$(now .broker.issued)" 0 "syncs of the broker before the writer's death"
	broker=$(broker_of "$LOGGER_PID")
	kill -KILL "$writer"
	wait_for 20 eval '[ "$(now .at_risk.records)" = 0 ]' || fail "still at risk: $(now .at_risk)"
	eq "$(now .broker.issued)" 1 "syncs of the broker"
	"$SPOOLGUARD" -j file events "$LOGGER_FILE" >"$T/events"
	eq "$(jq -r '[.events[] | select(.event == "flushed after death")] | length' "$T/events")" 1 "events: $(cat "$T/events")"
	echo >"$T/end"
	wait "$LOGGER_PID"
	LOGGER_PID=
	report_of "$T/report"
	wait_for 20 eval "! kill -0 $broker 2>/dev/null" || fail "the broker did not end"
	books_balance
	nothing_left
}

tap_main
