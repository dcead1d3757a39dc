#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# A sync that failed is never made good again: poison, on a disk that fails and is healed.
. "$(dirname "$0")/../lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 300 s

LOG=/mnt/f/log

# FS POLICY: a guarded process, and everything that is open before the failure: a, its dup b, c of its own, and a
# child that has them too. The block is in place: see errseq.sh. No commit of the journal comes by itself.
open_before() {
	flakey_disk f "$(disk 0)"
	[ "$1" != ext4 ] || local MOUNT_OPTS=commit=300
	mk_fs "$1" /dev/mapper/f /mnt/f
	guard "/mnt/f/log:$2"
	fdsh_start
	fd open a $LOG w creat append
	fd_is 100 write a 100
	fd_is 0 fsync a
	sync -f /mnt/f
	fd dup b a
	fd open c $LOG w append
	fd_is 0 fsync c
	fd fork 1
	sync -f /mnt/f
	sync $LOG
}

all_before_get_eio() {
	local name
	for name in a b c; do
		fd_is EIO fsync $name
		fd_is EIO fdatasync $name
		fd_is EIO write $name 10
		fd_is EIO in 1 fsync $name
		fd_is EIO in 1 write $name 10
	done
}
later_opens_are_clean() {
	fd open late $LOG w append
	fd_is 10 write late 10
	fd_is 0 fsync late
	fd_is 0 close late
}
# Closing ends it for the number, not for its dup.
until_closed() {
	fd close a
	fd_is EIO fsync b
	fd open a $LOG w append
	fd_is 0 fsync a
	fd_is EIO fsync b
	fd_is EIO in 1 fsync a
}
# SINCE: seconds since 1970, before the failure
is_reported() {
	local when
	file_is $LOG .poisoned.errno EIO
	when=$(date -d "$(file_get $LOG .poisoned.when)" +%s)
	[ "$when" -ge "$1" ] && [ "$when" -le "$(date +%s)" ] || fail "poisoned at $when, not between $1 and now"
	"$SPOOLGUARD" file show $LOG --socket-dir "$T/s" | grep -q 'poisoned *EIO at 20'
}

group_poisons() {
	local since
	since=$(date +%s)
	open_before "$1" mode=group
	fd_is 10 write a 10 y
	flakey_set f error_writes
	fd_is EIO fsync a
	all_before_get_eio
	flakey_set f ok
	all_before_get_eio
	is_reported $since
	later_opens_are_clean
	all_before_get_eio
	until_closed
	file_is $LOG .shim.syncs.errors 2
	fdsh_stop
}
test_group_ext4_every_description_opened_before_gets_eio_until_closed() { group_poisons ext4; }
test_group_xfs_every_description_opened_before_gets_eio_until_closed() { group_poisons xfs; }

# The broker's background sync meets the error: the program had its 0 already, inside the window.
window_poisons() {
	local since
	since=$(date +%s)
	open_before "$1" mode=window,max_delay=100ms,max_records=64,max_bytes=64KiB
	flakey_set f error_writes
	fd_is 10 write a 10 y
	fd_is 0 fsync a
	wait_for 10 poisoned $LOG
	file_is $LOG .broker.errors 1
	file_is $LOG .at_risk.lost_records 1
	all_before_get_eio
	flakey_set f ok
	all_before_get_eio
	is_reported $since
	later_opens_are_clean
	all_before_get_eio
	until_closed
	file_is $LOG .broker.errors 1
	file_is $LOG .at_risk.lost_records 1
	fdsh_stop
}
test_window_ext4_every_description_opened_before_gets_eio_until_closed() { window_poisons ext4; }
test_window_xfs_every_description_opened_before_gets_eio_until_closed() { window_poisons xfs; }

# A drain that fails: the rename is not made, and tells.
test_a_rename_whose_drain_fails_is_not_made() {
	open_before ext4 mode=window,max_delay=20s,max_records=64,max_bytes=64KiB
	fd_is 10 write a 10 y
	fd_is 0 fsync a
	flakey_set f error_writes
	fd_is EIO rename $LOG /mnt/f/new
	flakey_set f ok
	[ -e $LOG ] && [ ! -e /mnt/f/new ] || fail "renamed all the same"
	fd_is EIO fsync c
	fdsh_stop
}

# Another program was told of the failure, so that a later open is clean; its sync leads a group that an earlier
# description is in. The disk is slow below, so that there is a group.
test_a_leader_opened_after_the_failure_gives_no_false_zero() {
	delay_disk z "$(disk 0)" 0 0 # cleaned up in the order of names
	flakey_disk f /dev/mapper/z
	local MOUNT_OPTS=commit=300
	mk_fs ext4 /dev/mapper/f /mnt/f
	guard "/mnt/f/log:mode=group"
	fdsh_start
	fd open a $LOG w creat append
	fd_is 100 write a 100
	fd_is 0 fsync a
	fd dup b a
	fd open c $LOG w append
	fd fork 1
	sync -f /mnt/f
	fd_is 10 write a 10 y
	flakey_set f error_writes
	! dd if=/dev/null of=$LOG conv=notrunc,fsync status=none 2>err || fail "the stranger's sync succeeded"
	flakey_set f ok
	fd open late $LOG w append
	fd_is 0 fsync late
	fd_is 10 write late 10
	delay_set z 700 700
	fd thread 1 fsync late
	sleep 0.2
	fd thread 2 fsync late
	sleep 0.2
	fd thread 3 fsync a
	fd_is 0 join 1
	fd_is 0 join 2
	fd_is EIO join 3
	# Whoever of 2 and 3 led: a busy machine may let 3 come first. Then 2 is told of an error that is not its own, and
	# makes a sync for itself.
	[ "$(file_get $LOG .shim.syncs.grouped)" -le 1 ] || fail "more than one of them was in a group"
	delay_set z 0 0
	for name in a b; do
		fd_is EIO fsync $name
		fd_is EIO in 1 fsync $name
		fd_is EIO write $name 10
	done
	fd_is EIO fsync c
	fd_is EIO fsync c
	fd_is EIO in 1 fsync c
	fd_is 0 fsync late
	poisoned $LOG
	fdsh_stop
}

# dm-error: a disk that is gone, where reads fail too.
test_a_disk_that_is_gone() {
	error_disk f "$(disk 0)"
	local MOUNT_OPTS=commit=300
	mk_fs ext4 /dev/mapper/f /mnt/f
	guard "/mnt/f/log:mode=group"
	fdsh_start
	fd open a $LOG w creat append
	fd_is 100 write a 100
	fd_is 0 fsync a
	sync -f /mnt/f
	fd_is 10 write a 10 y
	error_set f on
	fd_is EIO fsync a
	error_set f off
	fd_is EIO fsync a
	fd open late $LOG w append
	fd_is 0 fsync late
	fd_is EIO fsync a
	fdsh_stop
}

# warn: as the kernel does it, once for each description.
test_warn_tells_each_description_once() {
	open_before ext4 mode=group,on_error=warn
	fd_is 10 write a 10 y
	flakey_set f error_writes
	fd_is EIO fsync a
	flakey_set f ok
	fd_is EIO fsync c
	fd_is 0 fsync a
	fd_is 0 fsync c
	fd_is 10 write a 10
	file_is $LOG .poisoned null
	file_is $LOG .shim.syncs.errors 2
	fdsh_stop
}
test_warn_in_window_tells_each_description_once() {
	open_before ext4 mode=window,max_delay=100ms,max_records=64,max_bytes=64KiB,on_error=warn
	flakey_set f error_writes
	fd_is 10 write a 10 y
	fd_is 0 fsync a
	wait_for 10 broker_failed
	flakey_set f ok
	fd_is EIO fsync a
	fd_is EIO fsync c
	fd_is 0 fsync a
	fd_is 0 fsync b
	fd_is 0 fsync c
	file_is $LOG .poisoned null
	fdsh_stop
}
broker_failed() { [ "$(file_get $LOG .broker.errors)" = 1 ]; }

test_abort_ends_the_program_at_the_failed_sync() {
	open_before ext4 mode=group,on_error=abort
	fd_is 10 write a 10 y
	flakey_set f error_writes
	fd_send fsync a
	local status=0
	fdsh_stop || status=$?
	flakey_set f ok
	eq $status 134 "status of a program that aborted"
}
test_abort_in_window_ends_the_program_at_its_next_call() {
	open_before ext4 mode=window,max_delay=100ms,max_records=64,max_bytes=64KiB,on_error=abort
	flakey_set f error_writes
	fd_is 10 write a 10 y
	fd_is 0 fsync a
	wait_for 10 broker_failed
	flakey_set f ok
	fd_send fsync a
	local status=0
	fdsh_stop || status=$?
	eq $status 134 "status of a program that aborted"
}

tap_main
