#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# How this kernel reports a failed writeback: the ground that poisoning stands on.
. "$(dirname "$0")/../lib.sh"

# FS: a file with one block in place on a disk that then fails its writes; descriptions a and c are open on it,
# b is a dup of a. The block is in place because a failed allocation would end the journal, not only this file.
broken_file() {
	flakey_disk f "$(disk 0)"
	mk_fs "$1" /dev/mapper/f /mnt/f
	fdsh_start
	fd open a /mnt/f/log w creat
	fd_is 4096 write a 4096
	fd_is 0 fsync a
	sync -f /mnt/f
	fd dup b a
	fd open c /mnt/f/log w
	fd_is 0 fsync c
	fd_is 4096 pwrite a 0 4096 y
	flakey_set f error_writes
}

each_description_gets_it_once() {
	broken_file "$1"
	fd_is EIO fsync a
	flakey_set f ok
	fd_is 0 fsync a
	fd_is 0 fsync b
	fd_is EIO fsync c
	fd_is 0 fsync c
	fd open d /mnt/f/log w
	fd_is 0 fsync d
	fdsh_stop
}
test_ext4_reports_once_to_each_description() { each_description_gets_it_once ext4; }
test_xfs_reports_once_to_each_description() { each_description_gets_it_once xfs; }

test_a_sync_on_a_dup_consumes_the_error() {
	broken_file ext4
	fd_is EIO fsync b
	flakey_set f ok
	fd_is 0 fsync a
	fd_is EIO fsync c
	fdsh_stop
}

test_the_check_without_io_reports_and_consumes() {
	broken_file ext4
	fd_is EIO fsync a
	flakey_set f ok
	fd_is 0 check a
	fd_is EIO check c
	fd_is 0 check c
	fd_is 0 fsync c
	fdsh_stop
}

# Nobody has asked yet: then even a description opened after the failure learns of it, and only later ones are clean.
test_an_unreported_error_reaches_a_later_open() {
	broken_file ext4
	fd open d /mnt/f/log w
	# writeback that nobody waits for
	fd_is 0 start d
	flakey_set f ok
	fd open late /mnt/f/log w
	fd_is EIO fsync late
	fd open later /mnt/f/log w
	fd_is 0 fsync later
	fd_is EIO fsync a
	fd_is EIO fsync c
	fdsh_stop
}

tap_main
