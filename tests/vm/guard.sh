# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced by guest tests, after lib.sh: programs under guard, and what is told of them.
#
#   guard POLICY [OPTION]…     sets GUARD for fdsh.sh and the loggers, with a session directory of the test's own;
#                              OPTIONs are spoolguard run's (default: --no-observe)
#   guard_ended                waits until its broker is gone, and with it the last descriptor
#   file_is FILE FILTER WANT   what `file show` has under a filter of jq's; file_get FILE FILTER prints it
#   poisoned FILE              true once `file show` says so
#   trace_start DEV EVENT…     the kernel's own record (ftrace, CLOCK_MONOTONIC) of EVENTs, as file system:name, on a
#                              file system; trace_stop FILE writes it there
guard() {
	local policy=$1
	shift
	[ $# -gt 0 ] || set -- --no-observe
	GUARD=("$SPOOLGUARD" run "$@" --socket-dir "$T/s" --policy "$policy" --)
}
# A test that failed leaves its process behind, and that holds the disks.
eval "disks_clean() $(declare -f vm_clean | tail -n +2)"
vm_clean() {
	set +e
	[ -z "${FDSH_PID:-}" ] || { kill -KILL "$FDSH_PID"; wait "$FDSH_PID"; } 2>/dev/null
	disks_clean
}

no_broker() { ! compgen -G "$T/s/*.sock" >/dev/null; }
guard_ended() { wait_for 20 no_broker || fail "the broker did not end"; }

file_get() { "$SPOOLGUARD" -j file show "$1" --socket-dir "$T/s" | jq -r ".files[0]$2"; }
file_is() { eq "$(file_get "$1" "$2")" "$3" "$1: $2"; }
poisoned() { [ "$(file_get "$1" .poisoned)" != null ]; }

TRACE=/sys/kernel/tracing
trace_start() {
	local dev=$1 major minor event
	shift
	read -r major minor <<<"$(stat -c '%Hd %Ld' "$dev")"
	echo 0 >$TRACE/tracing_on
	echo >$TRACE/trace
	echo 16384 >$TRACE/buffer_size_kb
	echo mono >$TRACE/trace_clock
	for event; do
		echo "dev == $((major << 20 | minor))" >"$TRACE/events/${event/:/\/}/filter"
		echo 1 >"$TRACE/events/${event/:/\/}/enable"
	done
	echo 1 >$TRACE/tracing_on
}
trace_stop() {
	echo 0 >$TRACE/tracing_on
	cat $TRACE/trace >"$1"
	echo 0 >$TRACE/events/enable
	echo >$TRACE/trace
	grep -o 'entries-in-buffer/entries-written: .*' "$1" | awk -F'[ /]' '$3 != $4 { exit 1 }' ||
		fail "the trace buffer was too small"
}
