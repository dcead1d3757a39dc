#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# What must not overtake data at risk in a window does not: by the order of the kernel's own events, and by cutting
# the power at every write of the disk.
. "$(dirname "$0")/../lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 300 s

# So far that no background sync comes by itself.
FAR=mode=window,max_delay=60s,max_records=1000,max_bytes=1MiB

# SYSCALL COMMAND…: append to a, inside the window; then the command's system call comes after a sync of the file that
# began after the append and succeeded, and without the command there would be none.
comes_after_a_sync() {
	local call=$1 ino
	shift
	fd_is 10 write a 10
	fd_is 0 fsync a
	ino=$(stat -c %i /mnt/o/a)
	trace_start /mnt/o ext4:ext4_da_write_end ext4:ext4_sync_file_enter ext4:ext4_sync_file_exit
	echo "common_pid == $FDSH_PID" >"$TRACE/events/syscalls/sys_enter_$call/filter"
	echo 1 >"$TRACE/events/syscalls/sys_enter_$call/enable"
	fd_is 10 write a 10
	fd_is 0 fsync a
	sleep 0.3 # a sync that somebody had begun would be seen
	echo probe >$TRACE/trace_marker
	if [ "$1" = end ]; then
		fdsh_stop
	else
		fd_send "$@"
		[ "$1" = exec ] && wait "$FDSH_PID" || fd_wait
	fi
	trace_stop trace
	awk -v ino="$ino" -v call="$call" '
		/ext4_da_write_end/ && $0 ~ "ino " ino " " { written = 1; begun = synced = 0 }
		/ext4_sync_file_enter/ && $0 ~ "ino " ino " " { if (!marked) early = 1; begun = 1 }
		/ext4_sync_file_exit/ && $0 ~ "ino " ino " ret 0" { if (begun) synced = 1 }
		/tracing_mark_write: probe/ { marked = 1 }
		marked && $0 ~ "sys_" call "\\(" { called = 1; if (!synced) bad = 1; exit }
		END { if (early) print "synced before it had to"; exit !(written && called) || bad || early }' trace ||
		{ tail -n 20 trace; fail "$call came before the sync"; }
}
# Most calls are also made by the shim itself or by libc in between; each of these is made once, after the mark.
test_each_call_that_must_wait_comes_after_a_sync() {
	mk_fs ext4 "$(disk 0)" /mnt/o
	guard "/mnt/o/**:$FAR"
	fdsh_start
	fd open a /mnt/o/a w creat append
	comes_after_a_sync rename rename /mnt/o/a /mnt/o/b
	eq "$FD_RET" 0 rename
	fd rename /mnt/o/b /mnt/o/a
	comes_after_a_sync link link /mnt/o/a /mnt/o/l
	comes_after_a_sync truncate truncate /mnt/o/a 5
	comes_after_a_sync ftruncate ftruncate a 5
	comes_after_a_sync unlink unlink /mnt/o/l
	comes_after_a_sync openat open t /mnt/o/a w trunc
	comes_after_a_sync close close a
	eq "$FD_RET" 0 close
	fd open a /mnt/o/a w append
	comes_after_a_sync exit_group end
	fdsh_start
	fd open a /mnt/o/a w append
	comes_after_a_sync execve exec /bin/true
}
test_a_directory_sync_drains_the_files_in_it() {
	mk_fs ext4 "$(disk 0)" /mnt/o
	guard "/mnt/o/**:$FAR"
	fdsh_start
	fd open a /mnt/o/a w creat append
	fd open d /mnt/o r dir
	comes_after_a_sync fsync fsync d
	eq "$FD_RET" 0 "fsync of the directory"
	fdsh_stop
}
# A killed program cannot drain: the broker does, at once.
test_what_a_killed_program_left_at_risk_is_synced() {
	mk_fs ext4 "$(disk 0)" /mnt/o
	guard "/mnt/o/**:$FAR"
	fdsh_start
	fd open a /mnt/o/a w creat append
	fd_is 10 write a 10
	fd_is 0 fsync a
	trace_start /mnt/o ext4:ext4_sync_file_exit
	kill -KILL "$FDSH_PID"
	guard_ended
	trace_stop trace
	grep -q "ext4_sync_file_exit: .*ino $(stat -c %i /mnt/o/a) ret 0" trace || fail "no sync after the kill"
}

# --- power cuts ---

# SYNC: name is replaced twice, by write, SYNC, close and rename, on a disk that remembers every write. ext4 is told not
# to help by itself.
replace_on_a_logged_disk() {
	modprobe loop
	logwrites_disk lw "$(disk 0)" "$(disk 1)"
	local MOUNT_OPTS=noauto_da_alloc MKFS_ARGS="-J size=4 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1" fill
	mk_fs ext4 /dev/mapper/lw /mnt/lw
	fdsh_start
	for fill in a b c; do
		fd open t /mnt/lw/tmp w creat append
		fd_is 8192 write t 8192 $fill
		[ -z "$1" ] || fd_is 0 fsync t
		fd_is 0 close t
		fd_is 0 rename /mnt/lw/tmp /mnt/lw/name
		if [ $fill = a ]; then
			sync /mnt/lw/name; sync -f /mnt/lw
			log_mark lw start
		else
			fd open d /mnt/lw r dir
			fd_is 0 fsync d
			fd close d
		fi
	done
	log_mark lw end
	fdsh_stop
	[ ${#GUARD[@]} = 0 ] || guard_ended
	umount /mnt/lw
	remove_disk lw
}
# What name holds after a power cut at entry N: one letter if it is whole.
cut_at() {
	rm -f cut; truncate -s "$(blockdev --getsize64 "$(disk 0)")" cut
	"$LOGREPLAY" "$(disk 1)" replay cut upto "$1" >/dev/null
	mkdir -p /mnt/cut
	mount -t ext4 -o loop cut /mnt/cut
	if [ "$(stat -c %s /mnt/cut/name 2>/dev/null)" = 8192 ]; then tr -s abc <"/mnt/cut/name"; echo; else echo neither; fi
	umount /mnt/cut
}
# [STOP]: every state from the mark "start" to "end", one line each, or until one is STOP
cuts() {
	local n got
	"$LOGREPLAY" "$(disk 1)" list >list
	for n in $(awk '/mark, start/ { on = 1 } on { print $1 + 1 } /mark, end/ { exit }' list); do
		got=$(cut_at $n)
		echo "$n $got"
		[ "$got" != "${1:-}" ] || break
	done >cuts
	cat cuts
}
test_a_power_cut_leaves_the_old_or_the_new_file_whole() {
	guard "/mnt/lw/**:$FAR"
	replace_on_a_logged_disk fsync
	cuts
	[ "$(wc -l <cuts)" -ge 6 ] || fail "only $(wc -l <cuts) states"
	! grep -qv ' [abc]$' cuts || fail "neither the old nor the new"
	eq "$(tail -n 1 cuts | cut -d' ' -f2)" c "after the last directory sync"
}
# The same without any sync loses both names: or the test above would prove nothing.
test_without_a_sync_a_power_cut_loses_both() {
	GUARD=()
	replace_on_a_logged_disk ''
	cuts neither
	grep -q neither cuts || fail "this file system needs no sync"
}

tap_main
