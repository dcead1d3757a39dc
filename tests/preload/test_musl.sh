#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# What the preload library brings into a stranger's process, and that musl's programs bear it.
. "$(dirname "$0")/../lib/tap.sh"

MUSL=$(ls /lib/ld-musl-*.so.1 2>/dev/null | head -n 1)
names() { awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u; }
# The symbols of the table.
table() {
	printf '%s\n' '#define SG_ANY(ret, symbol, ...) @@ symbol' '#define SG_BY_HAND_V(symbol) @@ symbol' \
		"#include \"$TOP/user/preload/symbols.def\"" | gcc -E -P - | tr '@' '\n' | awk 'NF { print $1 }' | sort
}

test_needs_nothing_that_musl_lacks() {
	[ -n "$MUSL" ] || skip "no musl"
	nm -D --undefined-only "$PRELOAD" | grep ' U ' | names >wanted
	nm -D --defined-only "$MUSL" | names >there
	eq "$(comm -23 wanted there)" "" "symbols that musl does not define"
}

test_exports_the_table_and_nothing_else() {
	nm -D --defined-only "$PRELOAD" | names >exported
	table >wanted
	eq "$(uniq -d wanted)" "" "rows there twice"
	diff wanted exported
}

# Inside the library a call by name would come back to the wrapper.
test_guard_calls_no_wrapped_symbol() {
	nm -u "$O"/pic/user/guard/*.o | grep ' U ' | names >called
	table >wrapped
	eq "$(comm -12 called wrapped)" "" "wrapped symbols that the guard calls by name"
}

test_links_libc_only() {
	eq "$(readelf -d "$PRELOAD" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')" "libc.so.6" "libraries needed"
	! readelf -d "$PRELOAD" | grep -q TEXTREL || fail "text relocations"
	! nm -D "$PRELOAD" | grep -q __tls_get_addr || fail "thread-local storage that may allocate"
}

test_dynamic_musl_program_runs() {
	[ -n "$MUSL" ] || skip "no musl"
	for mode in observe group; do
		out=$(LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY="$T/*.log:mode=$mode" "$O/tests/preload/small-musl" 2>&1)
		eq "$out" "all so" "small-musl in $mode"
	done
	# Is it really there?
	LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=nonsense "$O/tests/preload/small-musl" 2>&1 | grep -q '^spoolguard: ' ||
		fail "the library was not loaded"
}

test_static_program_is_left_alone() {
	out=$(LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY="$T/*.log:mode=group" "$O/tests/preload/small-static" 2>&1)
	eq "$out" "all so" "small-static"
}

tap_main
