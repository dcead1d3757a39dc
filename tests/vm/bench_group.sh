#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# What group does on a disk whose flush takes 5 ms: records/s against the bare program, on ext4 (whose journal groups
# by itself) and xfs (which does not). Run by hand, in a machine of its own:
#
#	make test-helpers && tests/vm/guest-tests -d 512M -t 900 tests/vm/bench_group.sh
#
# PAIRS (3) interleaved pairs, in turns bare and group first, of MS (20000) milliseconds each; THREADS, FILE_SYSTEMS.
# The marks are those of the design; a machine that is not idle moves a ratio by 10 %.
#
# Read a ratio with care: dm-delay counts in timer ticks of 4 ms, and a
# program in step with them loses a whole tick, or none, by a few microseconds: a pause of up to one
# tick (PAUSE_US=4000) before a record shows how much of a ratio that is. The first trial of both sides takes a second.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 880 s
PAIRS=${PAIRS:-3} MS=${MS:-20000} PAUSE_US=${PAUSE_US:-0} THREADS=${THREADS:-1 4 16 64} FILE_SYSTEMS=${FILE_SYSTEMS:-ext4 xfs}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# FS THREADS LEAST: prints a line, and fails if the median of the pairs' ratios is below LEAST
compare() {
	local i bare group ratio
	for ((i = 0; i < PAIRS; i++)); do
		# The second of two runs is not the first: take turns.
		[ $((i % 2)) = 1 ] || bare=$("$O/tests/bench/sync_threads" /mnt/z/bare "$2" "$MS" "$PAUSE_US")
		group=$("${GUARD[@]}" "$O/tests/bench/sync_threads" /mnt/z/group "$2" "$MS" "$PAUSE_US")
		[ $((i % 2)) = 0 ] || bare=$("$O/tests/bench/sync_threads" /mnt/z/bare "$2" "$MS" "$PAUSE_US")
		rm -f /mnt/z/bare /mnt/z/group
		echo "$bare $group" | awk '{ print $2 / $1, $1, $2 }'
	done >pairs
	ratio=$(cut -d' ' -f1 pairs | median)
	echo "$1, $2 threads: $ratio x bare ($(cut -d' ' -f2 pairs | median) records/s bare, $(cut -d' ' -f3 pairs | median) in group; $(cut -d' ' -f1 pairs | xargs))" | tee -a "$VMOUT/bench"
	awk -v r="$ratio" -v least="$3" 'BEGIN { exit r < least }' || echo "below $3" >>misses
}
bench() {
	local n
	delay_disk z "$(disk 0)" 0 5
	mk_fs "$1" /dev/mapper/z /mnt/z
	guard "/mnt/z/*:mode=group"
	for n in $THREADS; do
		case $1:$n in
		xfs:64) compare $1 $n "${XFS_LEAST:-5}";;
		*) compare $1 $n "${LEAST:-0.97}";;
		esac
	done
	[ ! -e misses ] || fail "$(cat misses)"
}
test_groups_on_ext4() { [[ " $FILE_SYSTEMS " = *" ext4 "* ]] || skip "not asked for"; bench ext4; }
test_groups_on_xfs() { [[ " $FILE_SYSTEMS " = *" xfs "* ]] || skip "not asked for"; bench xfs; }

tap_main
