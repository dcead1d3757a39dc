#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"
DOC=$TOP/docs/window.md

# The block of window.md that begins with "$ spoolguard …", without that line.
block() { awk -v want="\$ $1" '$0 == want { on = 1; next } /^```/ { on = 0 } on' "$DOC"; }
# figure DISK RULE COLUMN FILE: one figure of --csv.
figure() { awk -F, -v d="$1" -v r="$2" -v c="$3" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
	$1 == d && $2 == r { print $at[c] }' "$4"; }
more() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }' || fail "$3: $1 is not more than $2"; }

test_the_tables_of_the_guide_are_what_the_command_prints() {
	[ "$(grep -c '^\$ spoolguard window simulate' "$DOC")" = 2 ]
	grep '^\$ spoolguard window simulate' "$DOC" | cut -c3- | while read -r _ words; do
		block "spoolguard $words" >want; [ "$(wc -l <want)" = 36 ] || fail "no table of $words"
		gives 0 "$SG" $words
		sed 's/ *$//' out | diff -u want - || fail "docs/window.md differs from: spoolguard $words"
	done
}
test_the_controller_is_near_the_best_on_every_disk() {
	gives 0 "$SG" window simulate --csv
	eq "$(tail -n +2 out | cut -d, -f1 | uniq | tr '\n' ' ')" "nvme ssd disk network degrading stalling mixed " disks
	for d in nvme ssd disk network degrading stalling mixed; do
		more "$(figure $d controller of_best out)" 0.85 "$d"
		for r in controller 'every record' 'half a sync' 'every second'; do
			more 513 "$(figure $d "$r" at_risk_max out)" "at risk on $d, $r"
			more 1.0001 "$(figure $d "$r" of_best out)" "$d, $r against the best"
		done
	done
}
test_on_changing_disks_it_is_better_than_each_fixed_window() {
	gives 0 "$SG" window simulate --csv; mv out full
	gives 0 "$SG" window simulate --csv --rate 2000; mv out paced
	for d in mixed degrading; do
		for r in 'every record' 'half a sync' 'every second'; do
			more "$(figure $d controller records_per_s full)" "$(figure $d "$r" records_per_s full)" "$d, $r"
		done
		eq "$(figure $d controller records_per_s paced)" 2000.0 "$d"
		for r in 'every record' 'half a sync'; do
			more "$(figure $d "$r" in_sync paced)" "$(figure $d controller in_sync paced)" "in sync on $d, $r"
		done
		more "$(figure $d 'every second' wait_mean_ns paced)" "$(figure $d controller wait_mean_ns paced)" "waits on $d"
	done
}
test_it_is_deterministic_and_seeds_differ() {
	words='window simulate --disk network --disk stalling --duration 2s --files 3'
	gives 0 "$SG" $words --plot a.svg; mv out one
	gives 0 "$SG" $words --plot b.svg; cmp one out; cmp a.svg b.svg
	gives 0 "$SG" $words --seed 2; ! cmp -s one out
	gives 0 "$SG" $words --csv; mv out one
	gives 0 "$SG" -j $words
	json '[.disks[].disk] == ["network", "stalling"] and all(.disks[].rules[]; .files == 3)' out
	eq "$(jq -r '.disks[] | .disk as $d | .rules[] | "\($d),\(.rule),\(.wait_mean_ns),\(.at_risk.max)"' out)" \
		"$(grep -v 'offline best' one | tail -n +2 | cut -d, -f1,2,5,9)" "JSON against CSV"
}
test_the_plot_is_an_svg_with_a_bar_for_each_rule() {
	gives 0 "$SG" window simulate --disk ssd --duration 1s --plot plot.svg
	grep -q '^<svg ' plot.svg; eq "$(tail -n 1 plot.svg)" '</svg>'
	eq "$(grep -c '<title>ssd' plot.svg)" 4 bars
	if command -v xmllint >/dev/null; then xmllint --noout plot.svg; fi
	gives 4 "$SG" window simulate --disk ssd --duration 1s --plot no/such/plot.svg; says 'no/such/plot.svg'
}
test_bounds_are_kept() {
	gives 0 "$SG" -j window simulate --duration 1s --max-records 30 --max-bytes 4KiB --max-delay 5ms
	json 'all(.disks[].rules[].at_risk; .max <= 20 and .max_bytes <= 4096) and .max_records == 30' out
}
test_bad_values_are_refused_by_name() {
	gives 2 "$SG" window simulate --disk tape; says 'no such disk; there are nvme, ssd'
	gives 2 "$SG" window simulate --rate 300000; says 'at most 200000'
	gives 2 "$SG" window simulate --rate 0; says 'no whole number'
	gives 2 "$SG" window simulate --files 1001; says 'at most 1000'
	gives 2 "$SG" window simulate --duration 2h; says 'at most 1h'
	gives 2 "$SG" window simulate --max-bytes 3kB; says '--max-bytes'
	gives 2 "$SG" window simulate --max-delay 5; says 'needs a unit'
	gives 2 "$SG" window simulate --max-delay 2d; says 'at most 1d'
	gives 2 "$SG" window simulate --seed x; says '--seed'
	gives 2 "$SG" -j window simulate --disk tape; json '.error.kind == "usage"' out
}
test_a_trace_is_simulated() {
	for i in $(seq 0 999); do echo "$((i * 1000000)),append,100,5000"; done >appends
	for i in $(seq 0 9); do echo "$((i * 100000000)),fdatasync,0,3000000"; done >syncs
	sort -n appends syncs >trace.csv
	gives 0 "$SG" -j window simulate --trace trace.csv
	json '.duration_ns == 999000001 and (.disks | length) == 1 and .disks[0].disk == "recorded"
		and .disks[0].rules[0].records == 1000 and .disks[0].rules[0].at_risk.max_bytes <= 5000
		and .disks[0].rules[1].records < 400' out
	mv out want; gives 0 "$SG" -j window simulate --trace - <trace.csv; cmp want out
}
test_a_bad_trace_is_refused_by_line() {
	printf '1,append,1,1\n2,write,1,1\n' >bad.csv
	gives 2 "$SG" window simulate --trace bad.csv; says 'bad.csv:2: no such operation'
	gives 2 "$SG" window simulate --trace /dev/null; says 'no append'
	gives 4 "$SG" window simulate --trace no/such; says 'no/such'
	gives 4 "$SG" window simulate --trace .; says '.: '
	gives 2 "$SG" window simulate --trace bad.csv --rate 5; says 'the trace has its own'
}
test_the_recipe_of_the_guide_records_a_trace() {
	command -v strace >/dev/null || skip "needs strace"
	need_python
	cat >writer.py <<-'END'
	import os
	fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
	for i in range(50):
	    os.write(fd, b"x" * 99 + b"\n"); (os.fsync if i % 2 else os.fdatasync)(fd)
	END
	strace -o /dev/null true 2>/dev/null || skip "no ptrace here"
	touch log
	awk '/^```sh/ { on = 1; next } /^```/ { on = 0 } on' "$DOC" |
		sed -e "s|-P FILE|-P $T/log|; s|PROGRAM|python3 writer.py|; s|\bout\b|calls|; s|^spoolguard|\"$SG\" -j|" >recipe
	[ "$(grep -c strace recipe)" = 1 ]
	gives 0 bash -e recipe
	eq "$(cut -d, -f2 trace.csv | sort | uniq -c | tr -s ' \n' ' ')" " 50 append 25 fdatasync 25 fsync " operations
	json '.disks[0].rules[0].records == 50' out
}
test_completion_knows_the_disks() {
	gives 2 "$SG" window simulate --disk ''
	eq "$(sed -n 's/.*disk-kind) compgen -W "\([^"]*\)".*/\1/p' "$TOP/completion/spoolguard")" \
		"$(sed -n 's/.*there are //p' err | tr -d ,)" "kinds of disks"
}
# --- the same controller in the broker ---
guarded() { # append 700 records, each synced, and stay until `stop` is there
	need_python
	"$SG" run --no-observe --socket-dir "$T/s" --policy "$T/*.log:mode=window,max_delay=60s,max_records=1000,$1" -- python3 -c '
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.fdatasync(fd)
for i in range(700):
    os.write(fd, b"x" * 99 + b"\n"); os.fdatasync(fd)
open("ready", "w").close()
while not os.path.exists("stop"): time.sleep(0.02)
' "$T/a.log" & wait_for 20 test -e ready
}
at_risk() { "$SG" -j file show a.log --socket-dir s | jq '.files[0].at_risk.records'; }
test_adapt_off_begins_no_sync_before_a_bound() {
	guarded adapt=off; sleep 0.3
	more "$(at_risk)" 690 "records at risk"
	touch stop; wait
}
test_adapt_begins_one_at_half_a_window() {
	guarded adapt=on
	less() { [ "$(at_risk)" -lt 500 ]; }
	wait_for 5 less || fail "$(at_risk) at risk"
	touch stop; wait
}
tap_main
