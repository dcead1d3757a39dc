#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Programs under the preload library do what they do without it. In window and ensure under the real
# broker, started by `spoolguard run`.
. "$(dirname "$0")/../lib/tap.sh"
unset LD_PRELOAD "${!SPOOLGUARD_@}"
H=$O/tests/preload

modes() { echo observe group; [ -x "$SPOOLGUARD" ] && echo window ensure; true; }
# guarded MODE COMMAND…, with every file under the present directory in that mode
guarded() {
	local mode=$1 policy; shift
	policy="$(pwd -P)/**:mode=$mode"
	case $mode in
	observe|group) LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=$policy timeout 60 "$@";;
	*) timeout 60 "$SPOOLGUARD" run --no-observe --socket-dir "$T/run" \
		--policy "$policy,max_delay=50ms,max_records=64,max_bytes=64KiB" -- "$@";;
	esac
}
# in_modes FUNCTION: once in each mode, in a directory of its own
in_modes() {
	local m
	for m in $(modes); do
		mkdir -p "$T/$m"; cd "$T/$m"
		"$1" "$m" || fail "$1 in $m"
	done
}
family() { local want=$1 mode=$2 got rc=0; shift 2; got=$(guarded "$mode" "$H/family" "$@" 2>&1) || rc=$?; eq "$got, exit $rc" "$want, exit 0" "family $* in $mode"; }

# --- the same as without us ---

calls_are_the_same() {
	mkdir bare guarded
	(cd bare && "$H/calls") >bare.txt
	(cd guarded && guarded "$1" "$H/calls") >guarded.txt
	diff bare.txt guarded.txt && diff -r bare guarded
}
test_every_call_returns_what_it_returns_bare() { in_modes calls_are_the_same; }

smoke_script() {
	cat <<'END'
for i in $(seq 1 25); do
	echo "line $i" >>a.log; date -d "@$i" -u >>a.log; cat a.log | wc -c; printf '%d\n' "$i" | tee -a b.log
	sort -r a.log | head -n 1; dd if=a.log of=c.log bs=7 count=3 conv=notrunc,fsync status=none; sync a.log
	[ $((i % 5)) = 0 ] && { mv a.log "a$i.log"; : >a.log; gzip -nc "a$i.log" | md5sum; }
done
ls -l *.log | awk '{ print $1, $5, $9 }'; cat *.log | md5sum; ls missing; (exit 3); echo $?
exec 3>>b.log; echo three >&3; exec 3>&-; tail -n 2 b.log; ( trap 'echo term' TERM; kill -TERM $BASHPID; true )
END
}
smoke() {
	mkdir bare guarded
	smoke_script >script
	(cd bare && bash ../script) >bare.txt 2>&1
	(cd guarded && guarded "$1" bash ../script) >guarded.txt 2>&1
	[ "$(wc -l <bare.txt)" -gt 75 ] && diff bare.txt guarded.txt && diff -r bare guarded
}
test_shell_script_prints_the_same() { in_modes smoke; }

python() {
	cat >script.py <<'END'
import os, subprocess, tempfile, threading
f = open("p.log", "a")
def work():
    for i in range(20):
        os.write(f.fileno(), b"line\n"); os.fsync(f.fileno())
t = [threading.Thread(target=work) for _ in range(4)]
[x.start() for x in t]; [x.join() for x in t]
print(os.path.getsize("p.log"))
print(subprocess.run(["echo", "child"], capture_output=True, close_fds=True).stdout)
print(subprocess.run("exit 3", shell=True).returncode)
try: os.write(9999, b"x")
except OSError as e: print(e.errno)
pid = os.fork()
if pid == 0:
    os.write(f.fileno(), b"forked\n"); os._exit(0)
print(os.waitpid(pid, 0)[1])
os.rename("p.log", "q.log"); print(os.path.getsize("q.log"))
END
	mkdir bare guarded
	(cd bare && python3 ../script.py) >bare.txt 2>&1
	(cd guarded && guarded "$1" python3 ../script.py) >guarded.txt 2>&1
	diff bare.txt guarded.txt && diff -r bare guarded
}
test_python_prints_the_same() { command -v python3 >/dev/null || skip "no python3"; in_modes python; }

cat_is_the_same() { eq "$(guarded "$1" cat "$TOP/Makefile" | md5sum)" "$(md5sum <"$TOP/Makefile")" "cat"; }
test_cat_prints_the_same() { in_modes cat_is_the_same; }

# --- children, descriptors, locks ---

closes_all() {
	local how
	for how in loop range from raw; do
		rm -f d.log
		family "done" "$1" closeall $how d.log
		eq "$(sort d.log | uniq -c | xargs)" "1 after 1 before 100 more" "what closeall $how appended"
	done
}
test_daemon_that_closes_everything_goes_on() { in_modes closes_all; }

# Its connection to the broker is spared by the loop and by close_range, and made anew after raw calls.
test_window_goes_on_after_everything_was_closed() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	local how
	for how in loop range from raw; do
		rm -f w.log
		"$SPOOLGUARD" -j run --no-observe --socket-dir "$T/run" --report="$T/report" \
			--policy "$T/*.log:mode=window,max_records=64" -- "$H/family" closeall $how w.log
		wait_for 5 test -s "$T/report"
		eq "$(jq -c '.files[0] | [.shim.syncs.calls, .shim.syncs.windowed, .appends, .mode]' report)" \
			'[4,4,102,"window"]' "after closeall $how"
		[ "$(jq '.files[0].at_risk.peak_records' report)" -le 64 ] || fail "beyond the bound"
		rm report
	done
}

test_nothing_overtakes_data_at_risk() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	eq "$("$SPOOLGUARD" run --no-observe --socket-dir "$T/run" \
		--policy "$T/*.log:mode=window,max_delay=20s,max_records=1000,max_bytes=10MiB,adapt=off" -- \
		env -u LD_PRELOAD "$H/drains")" "0 failures" "drains"
}

# What is in the file is what was counted, and nothing is left at risk or under way.
test_cancelled_threads_leave_no_place_taken_in_the_window() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	"$SPOOLGUARD" -j run --no-observe --socket-dir "$T/run" --report="$T/report" \
		--policy "$T/*.log:mode=window,max_records=16,max_delay=20ms" -- "$H/family" cancel c.log
	wait_for 5 test -s "$T/report"
	eq "$(jq -c '.files[0] | [.bytes, .at_risk.records, .at_risk.bytes, .in_flight]' report)" \
		"[$(stat -c %s c.log),0,0,null]" "the report"
	[ "$(jq '.files[0].at_risk.peak_records' report)" -le 16 ] || fail "beyond the bound"
}

execs() { family end "$1" chain 10 x.log && eq "$(sort x.log | uniq -c | xargs)" "10 link 10 unsynced" "the chain's lines"; }
test_chain_of_execs_loses_nothing() { in_modes execs; }

forks() { family "" "$1" tree t.log && eq "$(sort t.log | uniq -c | xargs)" "400 child 8 grandchild 10 parent" "the tree's lines"; }
test_fork_and_vfork_children_append_and_sync() { in_modes forks; }

holds_locks() { family held "$1" locks l.log; family released "$1" flocks f.log; }
test_record_locks_and_flocks_stay_the_programs_own() { in_modes holds_locks; }

is_alone() { eq "$(guarded "$1" "$H/family" userns u.log)" "$("$H/family" userns u.log)" "unshare(CLONE_NEWUSER)"; }
test_program_gets_no_thread_of_ours() { in_modes is_alone; }

cancels() { family cancelled "$1" cancel c.log; }
test_threads_may_be_cancelled_anywhere() { in_modes cancels; }

storms() { family calm "$1" storm s.log; }
test_handlers_that_sync_inside_syncs_do_not_hang() { in_modes storms; }

is_durable() { family "$("$H/family" osync o.log)" "$1" osync o.log; eq "$(wc -l <o.log)" 40 "lines"; rm o.log; }
test_descriptors_with_o_sync_stay_so() { in_modes is_durable; }

is_daemon() {
	guarded "$1" "$H/family" daemon k.log >out 2>&1
	wait_for 5 grep -q 'daemon done' out
	eq "$(cat out)" "daemon done" "said"
	eq "$(cat k.log | xargs)" "log log" "the log"
}
test_daemon_of_libc_redirects_behind_our_back() { in_modes is_daemon; }

jumped() { family "done" "$1" jumps j.log; eq "$(tail -n 100 j.log | sort -u)" after "the log"; }
test_appends_go_on_after_handlers_jumped_out_of_them() { in_modes jumped; }

survives_the_killed() {
	local bounds=max_records=100000000,max_bytes=1GiB
	[ -x "$SPOOLGUARD" ] || skip "no command"
	eq "$(timeout 20 "$SPOOLGUARD" run --no-observe --socket-dir "$T/run" \
		--policy "$PWD/*.log:mode=$1,max_delay=50ms,$bounds" -- "$H/family" killed k.log)" "done" "killed"
	eq "$(tail -n 3 k.log | xargs)" "after after after" "the log"
}
test_appends_go_on_after_others_were_killed_inside_theirs() {
	survives_the_killed window
	survives_the_killed ensure
}

another_process_drains() {
	local show="$1; $SPOOLGUARD -j file show >shown"
	[ -x "$SPOOLGUARD" ] || skip "no command"
	export SPOOLGUARD_RUNTIME_DIR=$T/run
	eq "$(timeout 20 "$SPOOLGUARD" run --no-observe --policy "$T/?.log:mode=window,max_delay=20s,adapt=off" \
		-- "$H/family" moved m.log "$show")" "done" "moved"
	eq "$(jq -c '.files[] | select(.path | endswith("m.log")) | [.at_risk.records, .broker.issued]' shown)" '[0,1]' "m.log"
}
test_rename_by_another_process_drains() { another_process_drains "mv m.log n.log"; }
test_sync_of_the_directory_by_another_process_drains() { another_process_drains "sync ."; }
test_rename_by_another_process_of_a_file_in_group_does_not_wait() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	eq "$(timeout 20 "$SPOOLGUARD" run --no-observe --socket-dir "$T/run" --policy "$T/?.log:mode=group" \
		-- "$H/family" moved m.log 'echo more >>m.log; mv m.log n.log')" "done" "moved"
}

test_sync_of_a_cut_or_a_mode_in_a_window_is_made() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	"$SPOOLGUARD" -j run --no-observe --socket-dir "$T/run" --report="$T/report" \
		--policy "$T/b.log:mode=window,max_delay=50ms" -- "$H/family" bits b.log
	wait_for 5 test -s "$T/report"
	eq "$(jq -c '.files[] | select(.path | endswith("b.log")) | .shim.syncs | [.calls, .led, .windowed]' report)" \
		'[3,2,1]' "b.log"
}

exits() { family "" "$1" later e.log; eq "$(xargs <e.log)" "main atexit" "the log"; }
test_appends_of_exit_handlers_are_there() { in_modes exits; }

# --- begin and end ---

is_early() { eq "$(guarded "$1" "$H/early" 2>&1)" "" "early"; eq "$(cat early.log last.log | xargs)" "early stdio last" "the logs"; }
test_calls_before_our_constructor_work() { in_modes is_early; }

test_append_after_our_destructor_is_synced_by_the_broker() {
	[ -x "$SPOOLGUARD" ] || skip "no command"
	"$SPOOLGUARD" -j run --no-observe --socket-dir "$T/run" --report="$T/report" \
		--policy "$T/last.log:mode=window,max_delay=20s,adapt=off" -- "$H/early"
	wait_for 5 test -s "$T/report"
	eq "$(jq -c '.files[] | select(.path | endswith("last.log")) | [.appends, .at_risk.records, .broker.issued]' report)" \
		'[1,0,1]' "last.log"
}

is_quiet() { eq "$(guarded "$1" "$H/quiet" q.log r.log)" "0 allocations, all calls done" quiet; }
test_wrapped_calls_allocate_nothing() { in_modes is_quiet; }

# said_once MESSAGE NAME=VALUE…: the program runs, its stderr has the message, once, and nothing else
said_once() {
	local message=$1; shift
	out=$(env LD_PRELOAD="$PRELOAD" "$@" "$H/family" closeall loop a.log 2>err)
	eq "$out" "done" "the program"
	eq "$(grep -c "^spoolguard: .*$message" err)" 1 "messages"
	eq "$(wc -l <err)" 1 "lines on its stderr"
}
test_bad_policy_is_said_once_and_the_program_runs() { said_once windoww "SPOOLGUARD_POLICY=$T/*.log:mode=windoww"; }
test_missing_policy_file_is_said_once_and_the_program_runs() { said_once missing.conf: "SPOOLGUARD_CONF=$T/missing.conf"; }
test_absent_broker_is_said_once_and_the_program_runs() {
	said_once "fall back to group" "SPOOLGUARD_BROKER=$T/none.sock" "SPOOLGUARD_POLICY=$T/*.log:mode=window"
}
test_unreachable_broker_is_said_once_and_the_program_runs() {
	: >file
	said_once "fall back to group" "SPOOLGUARD_BROKER=$T/file/sock" "SPOOLGUARD_POLICY=$T/*.log:mode=ensure"
}

test_refused_memfd_is_said_once_and_the_program_runs() {
	# what strace injects, a seccomp filter does in earnest
	strace -f -qq -e trace=memfd_create -e inject=memfd_create:error=EPERM -o /dev/null \
		-E LD_PRELOAD="$PRELOAD" -E SPOOLGUARD_BROKER="$T/none.sock" -E "SPOOLGUARD_POLICY=$T/*.log:mode=window" \
		"$H/small" >out 2>err
	eq "$(<out)" "all so" "the program"
	eq "$(grep -c '^spoolguard: memfd_create is refused' err)" 1 "messages"
	eq "$(wc -l <err)" 1 "lines on its stderr"
}
test_missing_proc_is_said_once_and_the_program_runs() {
	[ "$(id -u)" = 0 ] || skip "not root"
	unshare -m sh -c 'umount -l /proc && exec env LD_PRELOAD="$1" SPOOLGUARD_POLICY="/**:mode=group" "$2"' \
		- "$PRELOAD" "$H/small" >out 2>err
	eq "$(<out)" "all so" "the program"
	eq "$(grep -c '^spoolguard: no /proc here' err)" 1 "messages"
	eq "$(wc -l <err)" 1 "lines on its stderr"
}

test_children_do_not_say_it_again() {
	LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=nonsense bash -c 'for i in $(seq 1 20); do date >/dev/null; done' 2>err
	eq "$(wc -l <err)" 1 "lines on stderr"
}

test_nothing_is_said_into_a_file_that_has_number_2() {
	LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=nonsense "$H/family" osync two.log >/dev/null 2>&-
	eq "$(sort -u two.log)" durable "the log"
}

test_disabled_library_does_nothing() {
	out=$(SPOOLGUARD_DISABLE=1 LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=nonsense "$H/small" 2>&1)
	eq "$out" "all so" "small"
}

test_setuid_program_ignores_us() {
	[ "$(id -u)" = 0 ] || skip "not root"
	chmod 777 "$T"
	cp "$H/small" small && chown nobody small && chmod u+s small
	out=$(LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY=nonsense ./small 2>&1)
	eq "$out" "all so" "small"
}

test_library_lives_beside_another_preload() {
	local p
	for p in "$H/nosync.so $PRELOAD" "$PRELOAD:$H/nosync.so"; do
		out=$(LD_PRELOAD=$p SPOOLGUARD_POLICY="$T/*.log:mode=group" "$H/family" chain 3 a.log 2>&1)
		eq "$out" end "with LD_PRELOAD=$p"
	done
}

test_library_beneath_us_that_voids_syncs_is_seen() {
	export SPOOLGUARD_POLICY="$T/*.log:mode=group"
	eq "$(LD_PRELOAD=$H/nosync.so "$H/verdict" a.log)" "$(LD_PRELOAD=$H/nosync.so "$H/verdict" b.log)"
	[ "$("$H/verdict" c.log)" != "$(LD_PRELOAD=$H/nosync.so "$H/verdict" c.log)" ] || fail "it was not seen"
}

# A tenth of a nanosecond is the unit. The least of many batches; a busy machine gets three tries.
test_write_that_is_no_business_of_ours_costs_at_most_15_ns() {
	local try bare with
	for try in 1 2 3; do
		bare=$("$H/speed") with=$(LD_PRELOAD=$PRELOAD SPOOLGUARD_POLICY="/nowhere/*:mode=group" "$H/speed")
		[ $((with - bare)) -gt 150 ] || return 0
	done
	fail "$with against $bare"
}

tap_main
