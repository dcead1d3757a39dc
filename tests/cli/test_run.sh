#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"

run() { "$SG" run --no-observe --socket-dir "$T/s" "$@"; }
rows() { jq --arg p "$1" '[.files[] | select(.path == $p)]' "$2"; }

test_it_executes_in_place() {
	# pid and parent are what they would be without us, and so are input, output and status.
	echo hello >in
	sh -c 'echo $$; exec "$@"' sh "$SG" run --no-observe --socket-dir "$T/s" -- sh -c 'echo $$; cat; exit 42' <in >o || rc=$?
	eq "$rc" 42 "exit status"
	eq "$(sed -n 1p o)" "$(sed -n 2p o)" pid
	eq "$(sed -n 3p o)" hello input
	wait_for 10 brokers_gone "$T/s"
}
test_its_options_end_at_the_program() {
	eq "$(run echo -j --policy x)" "-j --policy x"
	eq "$(run -- echo -j)" -j
	gives 2 "$SG" run; says 'needs [--] PROGRAM'
	gives 2 "$SG" run --; says 'needs [--] PROGRAM'
}
test_a_missing_program_exits_127() {
	gives 127 "$SG" run -- /no/such/program; says '/no/such/program: no such program'
	gives 127 "$SG" run -- no-such-program-in-path
	gives 127 "$SG" run -- ''
	gives 127 "$SG" -j run -- /no/such/program; json '.error.code == 127 and .error.kind == "not-found"' out
	printf '#!/no/such/interpreter\n' >script; chmod +x script
	gives 127 run ./script
}
test_a_program_that_cannot_be_executed_exits_126() {
	echo x >plain
	gives 126 "$SG" run -- ./plain; says 'cannot be executed'
	gives 126 "$SG" run -- "$T"
	gives 126 "$SG" -j run -- ./plain; json '.error.code == 126' out
}
bad_policies() {
	cat <<'END'
/a:mode=fast
/a:mode
/a:mode=
/a
/a:=
:mode=group
a:mode=group
*.log:mode=group
/a:color=red
/a:mode=window,max_delay=50
/a:mode=window,max_delay=0ms
/a:mode=window,max_delay=-1ms
/a:mode=window,max_delay=5parsecs
/a:mode=window,max_delay=99999999999999999999s
/a:mode=window,max_delay=25h
/a:mode=window,max_records=0
/a:mode=window,max_records=many
/a:mode=window,max_records=1.5
/a:mode=window,max_records=99999999999999999999
/a:mode=window,max_bytes=0
/a:mode=window,max_bytes=1MB
/a:mode=window,max_bytes=big
/a:mode=window,max_bytes=2048TiB
/a:mode=group,stall=soon
/a:mode=group,stall=0s
/a:mode=group,adapt=maybe
/a:mode=group,on_stall=panic
/a:mode=group,on_stall=spill:
/a:mode=group,on_stall=spill:relative
/a:mode=group,on_error=ignore
/a:mode=group,backend=magic
/a:mode=group,mode=window
/a:mode=group;/b:mode=fast
/a[:mode=group
END
}
test_a_bad_policy_is_refused_and_the_program_not_started() {
	local n=0 p
	while read -r p; do
		n=$((n + 1)); rm -f started
		gives 2 "$SG" run --policy "$p" -- touch started
		[ ! -e started ] || fail "$p: the program was started"
		says -- 'policy' 
		gives 2 "$SG" -j run --policy "$p" -- touch started
		json '.error.code == 2' out
	done < <(bad_policies)
	[ $n -ge 30 ] || fail "only $n policies"
}
test_a_bad_policy_file_is_told_with_line_and_key() {
	printf '[/a]\nmode = group\n\n[/b]\nmode = window\nmax_delay = 50\n' >p.conf
	gives 2 "$SG" run --policy-file p.conf -- true
	says 'p.conf:6: max_delay = "50"'
	gives 4 "$SG" run --policy-file missing.conf -- true; says 'missing.conf'
	gives 2 "$SG" run --policy /a:mode=group --policy-file p.conf -- true; says 'exclude each other'
	SPOOLGUARD_POLICY='/a:mode=fast' gives 2 "$SG" run -- true; says SPOOLGUARD_POLICY
}
test_the_policy_goes_to_the_program_in_one_line() {
	printf '; comment\n[/var/log/a,b.log]\nmode = window\nmax_delay = 20ms\n' >p.conf
	line=$(run --policy-file p.conf -- printenv SPOOLGUARD_POLICY)
	eq "$(wc -l <<<"$line")" 1 lines
	gives 0 "$SG" -j policy show --policy "$line" /var/log/a,b.log
	json '.mode == "window" and .rule.values.max_delay.value == "20ms"' out
}
test_what_was_preloaded_stays() {
	eq "$(LD_PRELOAD=libm.so.6 run -- printenv LD_PRELOAD)" "libm.so.6:$(realpath "$PRELOAD")"
	eq "$(run -- printenv LD_PRELOAD)" "$(realpath "$PRELOAD")"
	eq "$(run -- "$SG" run --no-broker -- printenv LD_PRELOAD)" "$(realpath "$PRELOAD")" "nested"
}
test_a_missing_preload_library_is_told() {
	SPOOLGUARD_PRELOAD=$T/none.so gives 3 "$SG" run -- true; says "$T/none.so"
	mkdir 'a b'; cp "$PRELOAD" 'a b/x.so'
	SPOOLGUARD_PRELOAD="$T/a b/x.so" gives 3 "$SG" run -- true; says 'cannot be preloaded'
}
test_without_a_broker_there_is_none() {
	eq "$(SPOOLGUARD_BROKER=/stale "$SG" run --no-broker --socket-dir "$T/s" -- sh -c 'echo ${SPOOLGUARD_BROKER-unset}')" unset
	[ ! -e s ] || fail "a session directory was made"
	gives 2 "$SG" run --no-broker --report -- true; says 'exclude each other'
}
test_an_unwritable_session_directory_is_told_and_harms_nothing() {
	need_root; for_nobody; mkdir -m 755 locked
	gives 7 "${NOBODY[@]}" "$T/bin/spoolguard" run --socket-dir "$T/locked/s" -- sh -c 'echo fine; exit 7'
	eq "$(cat out)" fine; says "$T/locked/s: Permission denied"; says '--socket-dir'
	eq "$(wc -l <err)" 1 "lines of warning"
	touch file
	gives 0 "$SG" run --no-observe --socket-dir "$T/file" -- true; says 'no broker'
}
test_another_user_has_no_observer_and_says_nothing_of_it() {
	need_root; for_nobody; install -d -o 65534 -g 65534 mine
	gives 0 "${NOBODY[@]}" "$T/bin/spoolguard" run --socket-dir "$T/mine/s" -- sh -c 'echo x >$0; sync $0' "$T/mine/f"
	eq "$(cat err)" ""
	wait_for 10 brokers_gone "$T/mine/s"
}
test_it_serves_a_program_of_another_user() {
	need_root; for_nobody; install -d -o 65534 -g 65534 mine
	gives 0 "${NOBODY[@]}" "$T/bin/spoolguard" -j run --socket-dir "$T/mine/s" --report="$T/mine/r" \
		--policy "$T/mine/*.log:mode=window" -- \
		dd if=/dev/zero of="$T/mine/a.log" bs=100 count=10 oflag=append conv=fsync status=none
	wait_for 10 test -s mine/r
	json "[.files[] | select(.path == \"$T/mine/a.log\")] | length == 1 and .[0].shim.appends == 10
		and .[0].mode == \"window\" and .[0].kernel == null and .[0].unseen == null" mine/r
}
test_a_program_that_no_preload_reaches_is_told_of() {
	echo 'int main(void) { return 5; }' >s.c
	gcc -static -o static s.c || skip "no static libc"
	gives 5 run ./static; says 'is linked statically'
	printf '#!%s/static\n' "$T" >script; chmod +x script
	gives 5 run ./script; says 'is linked statically'
	gcc -o dynamic s.c; gives 5 run ./dynamic; eq "$(cat err)" ""
}
test_a_setuid_program_is_told_of() {
	need_root; for_nobody
	echo 'int main(void) { return 6; }' >s.c; gcc -o prog s.c; chmod 4755 prog
	install -d -o 65534 -g 65534 mine
	gives 6 "${NOBODY[@]}" "$T/bin/spoolguard" run --socket-dir "$T/mine/s" -- "$T/prog"
	says 'LD_PRELOAD'
}
test_the_report_comes_when_all_have_ended() {
	run --report=rep --policy "$T/*.log:mode=group" -- sh -c '
		(sleep 0.7; echo late >>late.log; sync late.log; :) & echo early >>early.log; sync early.log'
	[ ! -e rep ] || fail "reported before the child had ended"
	wait_for 10 test -e rep
	grep -q early.log rep; grep -q late.log rep
	eq "$(ls)" "$(printf 'early.log\nlate.log\nrep\ns')" "files left"
}
test_the_report_goes_to_standard_error() {
	run --report --policy "$T/*.log:mode=group" -- sh -c 'echo x >>a.log; sync a.log' 2>&1 >/dev/null | cat >err
	grep -q "$T/a.log" err || fail "$(cat err)"
	"$SG" -j run --no-observe --socket-dir "$T/s" --report -- true 2>&1 >/dev/null | cat >out
	json '.files == []' out
}
test_a_report_that_cannot_be_written_is_told_before_the_start() {
	gives 4 run --report=no/such/dir/rep -- touch started; says 'no/such/dir/rep'
	[ ! -e started ] || fail "the program was started"
	gives 4 run -j --report=no/such/dir/rep -- true; json '.error.code == 4' out
}
test_pipelines_do_not_wait_for_the_broker() {
	# The broker lives as long as the background child; what reads our output must not.
	local start=$SECONDS
	run -- sh -c 'sleep 5 >/dev/null 2>&1 & echo $! >pid; echo out' 2>&1 | cat >o
	[ $((SECONDS - start)) -lt 4 ] || fail "the pipeline waited $((SECONDS - start)) s"
	kill "$(cat pid)"
	wait_for 10 brokers_gone "$T/s"
}
test_the_program_has_no_child_and_no_descriptor_of_ours() {
	run -- sh -c 'ls /proc/$$/fd >fds; ps -o pid= --ppid $$ | grep -cv "^ *$" >children || :'
	# ls and ps themselves aside
	[ "$(cat children)" -le 3 ] || fail "children: $(cat children)"
	eq "$(sort -n fds | awk '$1 < 200' | tr '\n' ' ' | cut -c1-6)" "0 1 2 " "low descriptors"
	cat >wait.c <<-'END'
	#include <sys/wait.h>
	#include <errno.h>
	int main(void) { return wait(0) < 0 && errno == ECHILD ? 0 : 1; }
	END
	gcc -o wait wait.c
	gives 0 timeout 10 "$SG" run --no-observe --socket-dir "$T/s" -- ./wait
}
test_signals_reach_the_program_only() {
	run --report=rep -- sh -c 'trap "echo got >>sig; exit 9" INT; echo $$ >pid; while :; do sleep 0.05; done' &
	wait_for 10 test -s pid
	kill -INT "$(cat pid)"; wait $! || rc=$?
	eq "${rc:-0}" 9; wait_for 10 test -e rep
}
test_a_blocked_or_ignored_signal_stays_so() {
	local show='awk "/SigIgn|SigBlk|SigPnd|ShdPnd/" /proc/self/status' bare
	bare=$(sh -c 'trap "" HUP USR1; exec "$@"' sh sh -c "$show")
	eq "$(sh -c 'trap "" HUP USR1; exec "$@"' sh "$SG" run --no-observe --socket-dir "$T/s" -- sh -c "$show")" "$bare"
}
# A kernel without BTF: an empty file in its place, in a mount namespace of our own.
test_a_kernel_without_btf_costs_the_observer_alone() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	unshare -m mount --bind /dev/null /sys/kernel/btf/vmlinux 2>/dev/null || skip "no mount over /sys/kernel/btf/vmlinux"
	without_btf() { unshare -m sh -c 'mount --bind /dev/null /sys/kernel/btf/vmlinux && exec "$@"' sh "$@"; }
	export SPOOLGUARD_PIN_DIR=$T/pins
	gives 3 without_btf "$SG" observe --duration 1s; says BTF
	gives 3 without_btf "$SG" -j observe --duration 1s; json '.error.code == 3' out
	gives 5 without_btf "$SG" run --socket-dir "$T/s" -- sh -c 'echo unharmed; exit 5'; says BTF
	eq "$(cat out)" unharmed
	gives 0 without_btf "$SG" -j feature probe
	json '[.features[] | select(.name == "btf")][0].available == "no"' out
}
tap_main
