#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Runs each fuzz target over its seeds and on from there, for FUZZ_SECONDS or FUZZ_RUNS inputs,
# whichever ends first. With FUZZ_KEEP=DIR new inputs are kept there, and what crashes it too.
. "$(dirname "$0")/../lib/tap.sh"

# Briefly here; `make fuzz` takes longer.
FUZZ_SECONDS=${FUZZ_SECONDS:-5} FUZZ_RUNS=${FUZZ_RUNS:-200000}
case ${FUZZ_KEEP:=} in ''|/*) ;; *) FUZZ_KEEP=$TOP/$FUZZ_KEEP;; esac

fuzz() {
	local bin=$O/tests/fuzz/fuzz_$1 seeds=$TOP/tests/fuzz/corpus/$1 dict=$TOP/tests/fuzz/$1.dict keep
	[ -x "$bin" ] || skip "fuzz_$1 is not built: clang's fuzzer library (libclang-rt-14-dev) is missing"
	keep=${FUZZ_KEEP:-$T}/$1
	mkdir -p "$keep"
	if [ -e "$dict" ]; then dict=-dict=$dict; else dict=; fi
	"$bin" -max_total_time="$FUZZ_SECONDS" -runs="$FUZZ_RUNS" -max_len=2048 -timeout=5 -rss_limit_mb=1024 \
		-print_final_stats=1 -artifact_prefix="$keep/" ${dict:+"$dict"} "$keep" "$seeds" >"$T/log" 2>&1 || {
		tail -n 40 "$T/log" >&2
		for f in "$keep"/crash-* "$keep"/timeout-*; do [ ! -e "$f" ] || od -c "$f" | head -n 40 >&2; done
		fail "fuzz_$1 found something; FUZZ_KEEP=DIR keeps the input"
	}
	grep -E '^stat::(number_of_executed_units|new_units_added)' "$T/log" | sed 's/^/# /' >&2
}

test_any_bytes_are_a_policy_or_a_clear_error() { fuzz policy; }
test_any_glob_matches_as_defined() { fuzz glob; }
test_any_session_memory_is_read_safely() { fuzz session; }
test_any_cursor_is_a_slot_that_is_valid_or_none() { fuzz cursor; }
test_any_bytes_read_as_valid_are_written_as_the_same() { fuzz frame; }
test_any_segment_is_walked_as_the_format_has_it() { fuzz segment; }
test_any_index_leads_to_the_right_record() { fuzz index; }
test_any_stream_makes_the_same_mirror_in_any_pieces() { fuzz mirror; }
test_any_bytes_are_an_audit_spool_told_in_full() { fuzz audit; }
test_any_bytes_are_a_commit_log_told_in_full() { fuzz commitlog; }

tap_main
