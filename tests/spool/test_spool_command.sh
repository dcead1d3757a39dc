#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# spoolguard spool: what each command prints, does and returns.
. "$(dirname "$0")/../cli/lib.sh"

fill() { seq "${2:-10}" | "$SG" spool append "$1" >/dev/null; }
segment() { ls "$1"/*.spool | tail -n 1; }
# flip FILE OFFSET: another byte there.
flip() {
	local was; was=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf "\\x$(printf %x $((was ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
same_segments() {
	local f n=0
	for f in "$1"/*.spool; do cmp "$f" "$2/${f##*/}"; n=$((n + 1)); done
	eq "$(ls "$2"/*.spool | wc -l)" $n "segments of $2"
}

test_append_tells_how_many_from_where_to_where_and_what_is_durable() {
	seq 3 >in
	gives 0 "$SG" spool append new/deep/A <in
	eq "$(cat out)" 'new/deep/A: appended 3 records, 1 to 3; durable up to 3'
	gives 0 "$SG" -j spool append new/deep/A <in
	json '.appended == 3 and .first == 4 and .last == 6 and .durable == 6 and .signal == null' out
	gives 0 "$SG" -j spool append new/deep/A </dev/null; json '.appended == 0 and .first == null and .durable == 6' out
}
test_each_sync_mode_and_option_appends() {
	for o in '--sync none' '--sync record' '--sync batch --batch-records 2 --batch-bytes 1KiB --batch-delay 5ms' \
		'--sync adaptive' '--segment-bytes 4KiB' '--prealloc reserve' '--prealloc written --segment-bytes 64KiB' \
		'--on-error warn' '--on-error abort' '--max-bytes 1MiB' '--lines'; do
		rm -rf A; seq 200 >in
		gives 0 "$SG" spool append A $o <in; grep -q 'durable up to 200$' out || fail "$o: $(cat out)"
		gives 0 "$SG" spool cat A; cmp in out || fail "$o: other records"
		gives 0 "$SG" spool verify A
	done
}
test_lines_are_records_with_or_without_a_last_newline() {
	printf 'a\n\nb\0c\nlast' >in
	gives 0 "$SG" spool append A <in; grep -q 'appended 4 records' out
	gives 0 "$SG" spool cat A; printf 'a\n\nb\0c\nlast\n' | cmp - out
}
test_a_line_that_is_too_long_is_named() {
	{ echo first; head -c 67108865 /dev/zero | tr '\0' x; } >in
	gives 4 "$SG" spool append A <in; says 'line 2 is longer than 67108864 bytes'; says 'durable up to 1'
	gives 0 "$SG" spool cat A; eq "$(cat out)" first
	{ head -c 67108864 /dev/zero | tr '\0' y; echo; } >in
	gives 0 "$SG" spool append A <in
	gives 0 "$SG" spool cat A --from 2; cmp in out
}
test_records_by_length_prefix_come_back_by_length_prefix() {
	printf '\x03\0\0\0a\nb\0\0\0\0\x01\0\0\0\xff' >in
	gives 0 "$SG" spool append A --length-prefix <in; grep -q 'appended 3 records' out
	gives 0 "$SG" spool cat A --length-prefix; cmp in out
	printf '\x05\0\0\0ab' >in
	gives 4 "$SG" spool append B --length-prefix <in; says 'ends in the middle of record 1'
	printf '\xff\xff\xff\xff' >in
	gives 4 "$SG" spool append B --length-prefix <in; says 'record 1 is longer'
}
test_a_full_spool_is_an_error_that_keeps_what_was_appended() {
	yes 0123456789012345678901234567890123456789 | head -n 2000 >in
	gives 4 "$SG" spool append A --max-bytes 20KiB --segment-bytes 8KiB <in
	says 'the spool is full'; says 'durable up to'
	n=$(sed -n 's/.*; \([0-9]*\) records\{0,1\} appended.*/\1/p' err)
	eq "$("$SG" spool cat A | wc -l)" "$n" "records"
	gives 0 "$SG" spool verify A
	gives 4 "$SG" -j spool append A --max-bytes 20KiB <in; json '.error.code == 4' out
}
test_sigterm_ends_an_append_with_all_of_it_durable() {
	for sig in TERM INT HUP; do
		rm -rf A pipe; mkfifo pipe
		env --default-signal=INT "$SG" -j spool append A --sync none <pipe >out 2>err & pid=$!
		exec 3>pipe; printf 'one\ntwo\nthr' >&3
		# Two records are in the file; the rest of the input cannot come in later than the signal.
		wait_for 20 sh -c 'cat A/*.spool 2>/dev/null | grep -aq two'
		kill -$sig $pid; rc=0; wait $pid || rc=$?
		exec 3>&-
		eq $rc $((128 + $(kill -l $sig))) "ended by SIG$sig"
		json '.appended == 2 and .durable == 2 and .signal != null' out
		says '3 bytes of an unfinished line were not appended'
		eq "$("$SG" spool cat A | wc -l)" 2
	done
}
test_a_second_writer_is_refused() {
	mkfifo pipe; "$SG" spool append A <pipe >first & exec 3>pipe
	wait_for 20 test -e A/lock; wait_for 20 compgen -G 'A/*.spool' >/dev/null
	gives 4 "$SG" spool append A </dev/null; says 'a writer, a recovery or a mirror holds this spool'
	gives 4 "$SG" -j spool recover A; json '.error.code == 4' out
	gives 4 "$SG" spool mirror - A </dev/null; says 'holds this spool'
	exec 3>&-; wait
	gives 0 "$SG" spool append A </dev/null
}
test_cat_gives_ranges() {
	fill A 20
	eq "$("$SG" spool cat A --from 5 --to 7 | paste -sd,)" 5,6,7
	eq "$("$SG" spool cat A --from 19 | paste -sd,)" 19,20
	eq "$("$SG" spool cat A --to 2 | paste -sd,)" 1,2
	eq "$("$SG" spool cat A --from 21)" ''
}
test_cat_json_is_one_document_per_record_with_text_or_base64() {
	printf 'plain\n"quo\\te\001\n\xff\xfe\nM\xc3\xbcll\n' | "$SG" spool append A >/dev/null
	gives 0 "$SG" -j spool cat A
	eq "$(wc -l <out)" 4; eq "$(jq -c .schema out | sort -u)" 1
	eq "$(jq -r 'select(.seq == 1).text' out)" plain
	eq "$(jq -r 'select(.seq == 2).text' out)" $'"quo\\te\001'
	eq "$(jq -r 'select(.seq == 3).base64' out | base64 -d | od -An -tx1 | tr -d ' ')" fffe
	eq "$(jq -r 'select(.seq == 4).text' out)" Müll
	for n in 0 1 2 3 4 5; do
		rm -rf B; { printf "\\x0$((n + 1))\0\0\0\xff"; head -c $n /dev/zero; } >in
		"$SG" spool append B --length-prefix <in >/dev/null
		"$SG" -j spool cat B | jq -r .base64 | base64 -d >got; tail -c +5 in | cmp - got
	done
}
test_cat_follows_a_live_spool() {
	mkfifo pipe; "$SG" spool append A --sync record <pipe >/dev/null & exec 3>pipe
	echo one >&3; wait_for 20 compgen -G 'A/*.spool' >/dev/null
	"$SG" spool cat A --follow >got & cat_pid=$!
	wait_for 20 grep -q one got; echo two >&3; wait_for 20 grep -q two got
	kill -TERM $cat_pid; rc=0; wait $cat_pid || rc=$?; eq $rc 143 "ended by SIGTERM"
	exec 3>&-; wait
	eq "$(paste -sd, got)" one,two
}
test_a_consumer_continues_where_it_acknowledged() {
	fill A 10
	eq "$("$SG" spool cat A --consumer c --ack --to 4 | paste -sd,)" 1,2,3,4
	eq "$("$SG" spool cat A --consumer c --to 6 | paste -sd,)" 5,6
	eq "$("$SG" spool cat A --consumer c --ack --to 6 | paste -sd,)" 5,6
	gives 0 "$SG" -j spool info A; json '.consumers == [{"name": "c", "acked": 6, "behind": 4, "error": null}]' out
	gives 0 "$SG" spool ack A --consumer c --seq 8
	eq "$("$SG" spool cat A --consumer c | paste -sd,)" 9,10
	gives 0 "$SG" -j spool ack A --consumer other --seq 3; json '.acked == 3 and .consumer == "other"' out
	gives 4 "$SG" spool ack A --consumer c --seq 11; says 'record 11 is not there'
	gives 2 "$SG" spool cat A --consumer .bad; says "no consumer's name"
}
test_delete_takes_what_all_have_acknowledged() {
	seq 3000 | "$SG" spool append A --segment-bytes 8KiB >/dev/null
	before=$(ls A/*.spool | wc -l); [ "$before" -gt 5 ]
	"$SG" spool cat A --consumer c --ack --delete >got; eq "$(wc -l <got)" 3000
	eq "$(ls A/*.spool | wc -l)" 1
	gives 0 "$SG" spool verify A
	gives 0 "$SG" -j spool info A; json '.last == 3000 and .first > 1' out
}
test_a_reader_that_goes_away_ends_cat_quietly() {
	fill A 100000
	rc=0; { "$SG" spool cat A 2>err; echo $? >rc; } | head -n 1 >got || :
	eq "$(cat got)" 1; eq "$(cat rc)" 141; eq "$(cat err)" ''
}
test_verify_finds_damage_and_exits_1() {
	fill A 30
	gives 0 "$SG" spool verify A; grep -q '30 records (1 to 30).*nothing wrong' out
	flip "$(segment A)" 400
	gives 1 "$SG" spool verify A; grep -q '^damage .*costs record [0-9]*, which was durable$' out
	gives 1 "$SG" -j spool verify A
	json '.format == "native" and .missing_records == 1 and ([.findings[].kind] | index("damage") != null) and .records == 29' out
	gives 1 "$SG" spool cat A; eq "$(wc -l <out)" 29; says '1 record is missing before record'
}
test_recover_mends_and_keeps_what_it_takes_out() {
	fill A 30
	size=$(stat -c %s "$(segment A)"); truncate -s $((size - 3)) "$(segment A)"; cp -r A B
	gives 1 "$SG" -j spool recover A --dry-run; json '.dry_run and .torn_bytes > 0' out
	cmp "$(segment A)" "$(segment B)"
	gives 1 "$SG" spool recover A; grep -q '^torn .*kept as quarantine/' out
	compgen -G 'A/quarantine/*' >/dev/null
	gives 1 "$SG" spool verify A; grep -q '29 records' out; eq "$(cut -d' ' -f1 out | head -n -1)" gap "what is left to tell"
	gives 1 "$SG" spool recover A
	seq 1 | gives 0 "$SG" spool append A; grep -q 'appended 1 record, 31 to 31' out
}
test_raw_through_a_pipe_gives_an_identical_mirror() {
	seq 5000 | "$SG" spool append A --segment-bytes 16KiB >/dev/null
	"$SG" spool cat --raw A | "$SG" spool mirror - B >out; grep -q 'durable up to record 5000' out
	same_segments A B
	gives 0 "$SG" spool verify B; grep -q 'nothing wrong$' out || fail "not even an index is missing: $(cat out)"
	for f in A/*.index; do cmp "$f" "B/${f##*/}"; done
	seq 5001 6000 | "$SG" spool append A --segment-bytes 16KiB >/dev/null
	"$SG" spool cat --raw A | "$SG" -j spool mirror - B >out; json '.durable == 6000 and .skipped_records == 5000' out
	same_segments A B
}
test_a_preallocated_spool_is_mirrored_without_its_zeros() {
	seq 100 | "$SG" spool append A --prealloc written --segment-bytes 64KiB >/dev/null
	truncate -s 65536 "$(segment A)" # as after a crash: its zeros are still there
	gives 0 "$SG" spool mirror A B; gives 0 "$SG" spool verify B
	[ "$(stat -c %s "$(segment B)")" -lt 65536 ]
	"$SG" spool cat --raw A | cmp - "$(segment B)"
	eq "$("$SG" spool cat B | wc -l)" 100
}
test_mirror_says_what_is_wrong_with_a_stream_and_where() {
	fill A 30; "$SG" spool cat --raw A >raw; size=$(stat -c %s raw)
	head -c $((size - 2)) raw >cut
	gives 1 "$SG" spool mirror - B <cut; says 'no whole record'; says 'durable up to record 29'
	gives 0 "$SG" spool mirror - C --trailing trim <cut; grep -q '32 bytes at the end left out' out
	flip raw $((128 + 4 * 33 + 32)) # the payload of record 5
	gives 1 "$SG" -j spool mirror - D <raw
	json '.error.kind == "found" and (.error.message | test("byte 260: checksum; .* record 4$"))' out
	fill E 3
	gives 1 "$SG" spool mirror E C; says 'another spool'
	gives 2 "$SG" spool mirror A B --trailing perhaps; says 'there are error, trim'
}
test_mirror_of_a_directory_takes_only_what_is_new() {
	fill A 100
	gives 0 "$SG" -j spool mirror A B; json '.durable == 100 and .skipped_records == 0' out
	fill A 5
	gives 0 "$SG" -j spool mirror A B; json '.durable == 105 and .skipped_records == 1' out
	same_segments A B
	gives 4 "$SG" spool mirror nowhere B; says 'No such file or directory'
}
test_a_live_spool_is_mirrored_again_and_again() {
	mkfifo pipe; "$SG" spool append A --segment-bytes 32KiB --batch-records 7 <pipe >live & pid=$!
	exec 3>pipe; echo 0 >&3; wait_for 20 compgen -G 'A/*.spool' >/dev/null
	{ seq 5000 >&3; } & feeder=$!
	exec 3>&-; n=0
	while kill -0 $pid 2>/dev/null; do
		gives 0 "$SG" -j spool mirror A B; n=$((n + 1))
		json '.durable == .written' out
		"$SG" spool cat --raw A | "$SG" spool mirror - C >/dev/null
	done
	wait $feeder; wait $pid; [ $n -gt 1 ] || fail "the writer was too quick to be met"
	gives 0 "$SG" spool mirror A B; gives 0 "$SG" spool mirror A C
	same_segments A B; same_segments A C
	eq "$("$SG" spool cat B | wc -l)" 5001
}
test_a_mirror_that_is_killed_resumes_to_the_same_bytes() {
	seq 300000 | "$SG" spool append A --sync none --segment-bytes 256KiB >/dev/null
	for i in $(seq ${KILLS:-20}); do
		timeout -s KILL 0.0$((RANDOM % 90 + 10)) "$SG" spool mirror A B >/dev/null 2>err || [ $? = 137 ] || fail "$(cat err)"
		"$SG" spool cat --raw A | timeout -s KILL 0.0$((RANDOM % 90 + 10)) "$SG" spool mirror - C >/dev/null 2>err || :
		[ $((i % 7)) != 0 ] || rm -rf B
	done
	gives 0 "$SG" spool mirror A B; gives 0 "$SG" spool mirror A C
	same_segments A B; same_segments A C
}
test_all_formats_convert_and_are_told_apart() {
	fill A 50
	for f in native audit commitlog; do
		gives 0 "$SG" spool convert A $f --to-format $f; grep -q "50 records.* from native to $f" out
		gives 0 "$SG" spool verify $f
		gives 0 "$SG" -j spool info $f; json ".format == \"$f\" and .first == 1 and .last == 50" out
		gives 0 "$SG" spool cat $f; seq 50 | cmp - out
		gives 0 "$SG" -j spool convert $f back-$f --to-format native; json '.records == 50 and .to == "native"' out
		gives 0 "$SG" spool cat back-$f; seq 50 | cmp - out
	done
	gives 0 "$SG" spool mirror commitlog M; cmp commitlog/*.stdb.log M/*.stdb.log
	"$SG" spool cat --raw commitlog | "$SG" spool mirror - N >/dev/null; cmp commitlog/*.stdb.log N/*.stdb.log
	gives 2 "$SG" spool cat --raw audit
	gives 2 "$SG" spool mirror audit X --format audit
	gives 4 "$SG" spool convert A native --to-format audit; says 'not empty'
	gives 2 "$SG" spool convert A Z; says '--to-format'
	gives 2 "$SG" spool cat audit --consumer x; says 'for native spools'
}
test_usage_errors_exit_2_and_missing_things_4() {
	gives 2 "$SG" spool; says 'needs a command'
	gives 2 "$SG" spool append; says 'needs DIR'
	gives 2 "$SG" spool append A --sync sometimes </dev/null; says 'there are batch, none, record, adaptive'
	gives 2 "$SG" spool append A --max-bytes 5MB </dev/null; says 'no size above 0'
	gives 2 "$SG" spool append A --segment-bytes 1KiB </dev/null; says 'out of its range'
	gives 2 "$SG" spool append A --lines --length-prefix </dev/null; says 'exclude each other'
	[ ! -e A ] || fail "a bad command line made a spool"
	gives 2 "$SG" spool cat A --ack; says '--ack needs --consumer'
	gives 2 "$SG" spool cat A --consumer c --delete; says '--delete needs --ack'
	gives 2 "$SG" spool cat A --raw --from 3; says '--raw and --from exclude'
	gives 2 "$SG" -j spool cat A --raw; json '.error.code == 2' out
	gives 2 "$SG" spool cat A --from 0; says 'whole number above 0'
	gives 2 "$SG" spool ack A --seq 3; says 'needs --consumer and --seq'
	for c in 'cat nowhere' 'cat --raw nowhere' 'info nowhere' 'verify nowhere' 'recover nowhere' 'mirror nowhere B' \
		'convert nowhere B --to-format audit' 'ack nowhere --consumer c --seq 1'; do
		gives 4 "$SG" spool $c; says 'No such file or directory'
		case $c in *--raw*) continue;; esac
		gives 4 "$SG" -j spool $c; json '.error.code == 4' out
	done
}
test_without_permission_it_exits_3() {
	need_root; for_nobody; fill A 3; chmod 700 A
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" spool cat "$T/A"; says 'Permission denied'
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" -j spool append "$T/A" </dev/null; json '.error.kind == "denied"' out
}
test_names_with_control_bytes_are_escaped() {
	d=$'we\nird\e[1m'; fill "$d" 3
	for c in append info verify recover; do gives 0 "$SG" spool $c "$d" </dev/null
		! grep -q $'\033' out || fail "$c: an escape byte"; done
	gives 0 "$SG" -j spool info "$d"; json '.first == 1 and .last == 3' out
}
test_long_work_shows_a_bar_on_a_terminal_only() {
	fill A 1000
	for c in 'verify A' 'recover A' 'mirror A B' 'convert A C --to-format audit'; do
		script -qec "$SG spool $c" /dev/null </dev/null >typed || skip "script(1) gives no terminal here"
		grep -q "${c%% *} \[" typed || fail "$c: no bar: $(cat -v typed)"
		rm -rf B C; gives 0 "$SG" spool $c; eq "$(cat err)" '' "standard error of $c"; rm -rf B C
	done
}
# What completion offers for an option with fixed words, the command takes, and it names them when it does not.
test_completion_offers_the_words_that_the_options_take() {
	. "$TOP/completion/spoolguard"
	for o in 'append --sync' 'append --prealloc' 'append --on-error' 'mirror --trailing' 'cat --format' 'convert --to-format'; do
		COMP_WORDS=(spoolguard spool $o ''); COMP_CWORD=4; COMPREPLY=(); SPOOLGUARD=$SG _spoolguard
		[ ${#COMPREPLY[@]} -ge 2 ] || fail "nothing for $o"
		case $o in mirror*|convert*) args='A B';; *) args=A;; esac
		gives 2 "$SG" spool $o nonsense $args </dev/null
		for w in "${COMPREPLY[@]}"; do says "$w"; done
	done
}
test_output_that_does_not_arrive_is_an_error() {
	fill A 3
	for o in '' --raw --length-prefix; do
		rc=0; "$SG" spool cat A $o >/dev/full 2>err || rc=$?; eq $rc 4 "cat $o"; says 'standard output'
	done
	rc=0; "$SG" spool cat A --consumer c --ack >/dev/full 2>err || rc=$?; eq $rc 4
	gives 0 "$SG" -j spool info A; json '[.consumers[].acked] == [0]' out
}
test_following_without_inotify_is_an_error_and_no_silence() {
	fill A 3
	unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_inotify_instances' 2>/dev/null || skip "needs a user namespace"
	gives 4 timeout 10 unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"' sh "$SG" spool cat A --follow
	says 'Too many open files'; eq "$(wc -l <out)" 3
}
test_what_was_acknowledged_may_be_acknowledged_again() {
	fill A 5
	gives 0 "$SG" spool ack A --consumer c --seq 5
	gives 0 "$SG" spool ack A --consumer c --seq 5
	gives 0 "$SG" spool ack A --consumer c --seq 3
	gives 0 "$SG" -j spool info A; json '[.consumers[].acked] == [5]' out
	gives 4 "$SG" spool ack A --consumer c --seq 6; says 'record 6 is not there, or not durable'
}
test_a_directory_mirrored_onto_itself_is_left_as_it_is() {
	fill A 3; printf torn >>"$(segment A)"; cp -r A B
	for s in A ./A "$PWD/B/../A"; do gives 2 "$SG" spool mirror A "$s"; says 'no mirror of itself'; done
	diff -r A B
	gives 0 "$SG" spool convert A L --to-format commitlog; printf 'in flight' >>"$(ls L/*)"; cp -r L M
	gives 2 "$SG" spool mirror L L; diff -r L M
}
# What is opened next would be standard output or error, and what is printed go into it.
test_closed_standard_descriptors_write_into_no_file_of_a_spool() {
	fill A 5; gives 0 "$SG" spool mirror A M; fill A 3; printf torn >>"$(segment A)"
	rc=0; "$SG" spool mirror A M <&- >&- 2>&- || rc=$?; eq $rc 1
	gives 0 "$SG" spool cat M; eq "$(wc -l <out)" 8
	rc=0; "$SG" spool append M <&- >&- 2>&- || rc=$?; eq $rc 4
	rc=0; "$SG" spool recover M <&- >&- 2>&- || rc=$?; eq $rc 4
	gives 0 "$SG" spool verify M; [ ! -s M/lock ] || fail "in lock: $(cat M/lock)"
	gives 4 "$SG" spool append A <&-; says 'standard input'
	rc=0; "$SG" spool cat M >&- 2>err || rc=$?; eq $rc 4; says 'standard output'
}
test_a_fifo_in_a_spool_hangs_nothing() {
	for f in 00000000000000000002.spool lock durable cursor-c 00000000000000000001.index; do
		rm -rf A; fill A 3; rm -f "A/$f"; mkfifo "A/$f"
		for c in 'cat A' 'cat A --raw' 'cat A --consumer c' 'info A' 'verify A' 'mirror A B' 'append A' 'recover A'; do
			rm -rf B; rc=0; timeout 5 "$SG" spool $c </dev/null >out 2>err || rc=$?
			[ $rc != 124 ] || fail "$c with the FIFO $f hangs"
		done
	done
}
tap_main
