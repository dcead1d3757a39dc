#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The loggers that were fetched run bare, from where they were unpacked, and the helpers find their lines:
# what guarded tests rest on.
set -u
. "$(dirname "$0")/../lib/tap.sh"
. "$(dirname "$0")/lib.sh"

# KIND [OPTION]…: 50 lines as fast as it takes them, then 20 paced
runs_bare() {
	logger_start "$1" "$T/l" "${@:2}"
	eq "$(tr -d '\0' <"/proc/$LOGGER_PID/cmdline" | grep -c "$LOGGERS")" 1 "the program runs from its folder"
	logger_send 50
	logger_wait 50
	logger_intact 50
	logger_send 20 200 paced 100
	logger_wait 70
	logger_intact 20 paced
	logger_stop
	logger_intact 50
}
test_rsyslogd_runs_bare() { runs_bare rsyslogd; }
test_rsyslogd_line_by_line_runs_bare() { runs_bare rsyslogd 'queue.dequeueBatchSize="1"'; }
test_redis_runs_bare() {
	runs_bare redis
	logger_tool "$REDIS_CHECK_AOF" "$LOGGER_DIR/appendonlydir/appendonly.aof.manifest" >/dev/null
}
test_syslog_ng_runs_bare() { runs_bare syslog_ng; }
test_svlogd_runs_bare() { runs_bare svlogd; }
test_nginx_runs_bare() { runs_bare nginx; }

# A check that cannot fail checks nothing.
test_intact_finds_torn_missing_doubled_and_disordered_lines() {
	local change
	LOGGER_KIND=none LOGGER_FILE=$T/f
	"$SEND_LINES" - 5 >"$T/f"
	logger_intact 5
	for change in '3d' '3p' 's|4/5 .|4/5|' '2{h;d};4G' '$a line 6/5 .'; do
		"$SEND_LINES" - 5 | sed "$change" >"$T/f"
		if ( logger_intact 5 ) 2>>"$T/said"; then fail "found nothing wrong after: $change"; fi
	done
	for change in missing twice torn 'out of order' '6 lines, not 5'; do grep -q "$change" "$T/said"; done
}
test_wait_lines_gives_up_when_the_writer_is_gone() {
	local start=$SECONDS pid
	"$SEND_LINES" - 5 >"$T/f"
	eq "$("$WAIT_LINES" "$T/f" 5 10 | cut -d' ' -f1)" 5 lines
	sleep 0.2 & pid=$!
	if "$WAIT_LINES" "$T/f" 6 30 $pid 2>"$T/err"; then fail "6 lines of 5"; fi
	grep -q 'writer is gone, with 5 of 6' "$T/err"
	[ $((SECONDS - start)) -lt 10 ]
}
test_unpack_names_an_unknown_logger() {
	if "$TOP/scripts/unpack-loggers" "$T/x" syslogd 2>"$T/err"; then fail "unpacked something"; fi
	grep -q 'no logger "syslogd"' "$T/err"
}

tap_main
