# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced by shell tests. Each test is a function `test_…`; `tap_main` runs them all, each in a
# subshell with a scratch directory of its own ($T), and prints TAP. A failing command fails the test.
#
#   skip "why"        leave the running test, skipped
#   fail "what"       leave it, failed
#   eq GOT WANT WHAT  compare strings
#
# $TOP is the source tree, $O the build folder (absolute).
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
O=${O:-build}; case $O in /*) ;; *) O=$TOP/$O;; esac
SPOOLGUARD=$O/spoolguard PRELOAD=$O/libspoolguard-preload.so

skip() { echo "$*" >"$T/.skip"; exit 77; }
fail() { echo "FAIL: $*" >&2; exit 1; }
eq() { [ "$1" = "$2" ] || fail "${3:-value}: got '$1', expected '$2'"; }
# wait_for SECONDS COMMAND…: until the command succeeds; polls, for conditions that have no event.
wait_for() {
	local end=$((SECONDS + $1)); shift
	until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.02; done
}
tap_main() {
	local n=0 rc name bad=0
	for name in ${ONLY:-$(declare -F | awk '$3 ~ /^test_/ {print $3}')}; do
		n=$((n + 1))
		T=$(mktemp -d "${TMPDIR:-/tmp}/spoolguard-test.XXXXXX")
		( set -eE; trap 'echo "at line $LINENO: $BASH_COMMAND" >&2' ERR; cd "$T"; "$name" ) >"$T.log" 2>&1
		rc=$?
		case $rc in
		0) echo "ok $n - $name";;
		77) echo "ok $n - $name # SKIP $(cat "$T/.skip" 2>/dev/null)";;
		*) echo "not ok $n - $name"; sed 's/^/    # /' "$T.log" | tail -n "${TAP_LINES:-30}"; bad=1;;
		esac
		rm -rf "$T" "$T.log"
	done
	echo "1..$n"
	return $bad
}
