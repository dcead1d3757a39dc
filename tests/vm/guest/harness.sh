#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The tools of lib.sh do what they claim: what a test of Spoolguard rests on is itself tested.
. "$(dirname "$0")/../lib.sh"

# One synced append: FD_US is what the sync took.
synced_write() { fd_is 4096 write a 4096; fd_is 0 fsync a; }

test_machine_is_as_promised() {
	local dir
	eq "$(id -u)" 0 "user"
	for dir in /dev/shm /sys/fs/bpf /sys/kernel/tracing /sys/kernel/debug /sys/fs/cgroup; do
		mountpoint -q $dir || fail "nothing mounted at $dir"
	done
	[ -e /sys/kernel/btf/vmlinux ] || fail "no BTF"
	grep -q ^cpu /sys/fs/cgroup/cgroup.controllers || grep -q cpu /sys/fs/cgroup/cgroup.controllers
	{ echo >/dev/tcp/127.0.0.1/9 || :; } 2>&1 | grep -q refused
	touch "$TOP/.written-in-the-guest" && rm "$TOP/.written-in-the-guest"
	[ -b "$(disk 0)" ] && [ -b "$(disk 1)" ] && [ -b "$(disk 2)" ]
}

test_delay_disk_delays_each_sync_and_changes_live() {
	delay_disk slow "$(disk 0)" 0 0
	mk_fs ext4 /dev/mapper/slow /mnt/slow
	fdsh_start
	fd open a /mnt/slow/a w creat append
	synced_write; local fast=$FD_US
	delay_set slow 0 300; synced_write; local flush=$FD_US
	delay_set slow 200 0; synced_write; local write=$FD_US
	delay_set slow 0 0; synced_write; local healed=$FD_US
	fdsh_stop
	echo "fsync: $fast us, flush +300 ms: $flush us, write +200 ms: $write us, healed: $healed us"
	[ $flush -ge 300000 ] || fail "a flush delayed by 300 ms: fsync took $flush us"
	[ $write -ge 200000 ] || fail "a write delayed by 200 ms: fsync took $write us"
	[ $fast -lt 200000 ] && [ $healed -lt 200000 ] || fail "no delay: fsync took $fast us and $healed us"
}

test_each_file_system_is_made_mounted_and_cleaned_up() {
	local fs
	for fs in ext4 xfs btrfs; do
		( error_disk any "$(disk 0)"
		mk_fs $fs /dev/mapper/any /mnt/any
		eq "$(stat -f -c %T /mnt/any)" "$(case $fs in ext4) echo ext2/ext3;; *) echo $fs;; esac)"
		echo x >/mnt/any/x; sync /mnt/any/x
		vm_clean )
		if mountpoint -q /mnt/any || [ -e /dev/mapper/any ]; then fail "$fs: left behind"; fi
	done
}

test_delay_disk_delays_dd() {
	delay_disk slow "$(disk 0)" 0 250
	mk_fs xfs /dev/mapper/slow /mnt/slow
	local start end
	start=$(date +%s%N)
	dd if=/dev/zero of=/mnt/slow/f bs=4k count=1 conv=fsync status=none
	end=$(date +%s%N)
	[ $((end - start)) -ge 250000000 ] || fail "dd conv=fsync took $(((end - start) / 1000)) us"
}

test_suspended_disk_stalls_a_sync_until_resumed() {
	error_disk s "$(disk 0)"
	mk_fs ext4 /dev/mapper/s /mnt/s
	fdsh_start
	fd open a /mnt/s/a w creat append
	synced_write
	fd_is 4096 write a 4096
	suspend_disk s
	fd_send fsync a
	sleep 1.2
	resume_disk s
	fd_wait
	eq "$FD_RET" 0 "fsync"
	[ $FD_US -ge 1100000 ] || fail "suspended for 1.2 s, but fsync took $FD_US us"
	[ $FD_US -lt 6000000 ] || fail "resumed after 1.2 s, but fsync took $FD_US us"
	fdsh_stop
}

test_flakey_disk_that_drops_writes_lies() {
	flakey_disk f "$(disk 0)"
	mk_fs ext4 /dev/mapper/f /mnt/f
	echo kept >/mnt/f/kept; sync -f /mnt/f/kept
	flakey_set f drop_writes
	echo lost >/mnt/f/lost
	sync /mnt/f/lost || fail "a lying disk fails no sync"
	umount /mnt/f
	flakey_set f ok
	mount /dev/mapper/f /mnt/f
	eq "$(cat /mnt/f/kept)" kept
	eq "$(cat /mnt/f/lost 2>/dev/null || :)" "" "what the disk dropped"
}

test_error_disk_fails_every_io() {
	error_disk e "$(disk 0)"
	dd if=/dev/mapper/e of=/dev/null bs=4k count=1 iflag=direct status=none
	error_set e on
	if dd if=/dev/mapper/e of=/dev/null bs=4k count=1 iflag=direct status=none 2>"$T/err"; then fail "a read succeeded"; fi
	grep -q 'Input/output error' "$T/err"
	if dd if=/dev/zero of=/dev/mapper/e bs=4k count=1 oflag=direct status=none 2>"$T/err"; then fail "a write succeeded"; fi
	grep -q 'Input/output error' "$T/err"
	error_set e off
	dd if=/dev/zero of=/dev/mapper/e bs=4k count=1 oflag=direct status=none
}

test_logwrites_replay_holds_what_was_synced_before_each_mark() {
	local i j cut=$T/cut
	modprobe loop
	logwrites_disk lw "$(disk 0)" "$(disk 1)"
	mk_fs ext4 /dev/mapper/lw /mnt/lw
	for i in 1 2 3; do
		echo "record $i" >/mnt/lw/$i
		sync /mnt/lw/$i /mnt/lw
		log_mark lw "synced-$i"
	done
	umount /mnt/lw
	remove_disk lw
	"$LOGREPLAY" "$(disk 1)" list >"$T/list"
	grep -q 'mark, synced-2$' "$T/list"
	grep -q 'flush,' "$T/list"
	for i in 1 2 3; do
		rm -f "$cut"; truncate -s "$(blockdev --getsize64 "$(disk 0)")" "$cut"
		"$LOGREPLAY" "$(disk 1)" replay "$cut" mark "synced-$i"
		mkdir -p /mnt/cut; mount -t ext4 -o loop "$cut" /mnt/cut
		for j in 1 2 3; do
			if [ $j -le $i ]; then eq "$(cat /mnt/cut/$j)" "record $j" "file $j cut at mark $i"
			else [ ! -s /mnt/cut/$j ] || fail "file $j is there before it was written"; fi
		done
		umount /mnt/cut
	done
	if "$LOGREPLAY" "$(disk 1)" replay "$cut" mark none 2>"$T/err"; then fail "replayed to a mark that is not there"; fi
	grep -q 'no mark "none"' "$T/err"
}

tap_main
