#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The same tests with the command built with -fsanitize=address,undefined. The shim stays uninstrumented,
# so what it is loaded into must be told that the sanitizer's library does not come first.
. "$(dirname "$0")/lib.sh"
[ -z "${SPOOLGUARD_SANITIZED:-}" ] || { echo "1..0"; exit 0; }

again() {
	[ -x "$O/asan/spoolguard" ] || skip "build/asan/spoolguard is not built"
	echo 'leak:libtinfo' >suppressions # ncurses forgets what it made for a terminal that it does not know
	LSAN_OPTIONS=suppressions=$T/suppressions:print_suppressions=0 SPOOLGUARD_SANITIZED=1 SG=$O/asan/spoolguard ASAN_OPTIONS=verify_asan_link_order=0:abort_on_error=0 \
		"$TOP/tests/$1.sh" >log 2>&1 || { grep -A20 '^not ok' log >&2; exit 1; }
	grep -q '^ok' log
}
test_sanitized_words() { again cli/test_words; }
test_sanitized_policy() { again cli/test_policy; }
test_sanitized_enable() { again cli/test_enable; }
test_sanitized_json() { again cli/test_json; }
test_sanitized_window() { again cli/test_window; }
test_sanitized_run() { again cli/test_run; }
test_sanitized_spool() { again spool/test_spool_command; }
tap_main
