#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# One file is one row with the right counts, in shim and observer alike, where identities are not simple: overlayfs (two
# inodes per file), btrfs (a device of its own per subvolume), an inode number that is used again.
. "$(dirname "$0")/../lib.sh"
. "$TOP/tests/vm/guard.sh"
# limit: 240 s

# POLICY: a guarded shell of descriptors with the observer, whose report lies in ./report at the end
start() {
	guard "$1" --report=report
	GUARD=("${GUARD[0]}" -j "${GUARD[@]:1}")
	fdsh_start
}
finish() {
	fdsh_stop
	wait_for 30 test -s report
}
# What the report has for files whose path ends so: rows, then per row appends, calls, kernel syncs, unseen
rows() {
	jq -r --arg last "$1" '[.files[] | select((.path // "") | endswith($last))] | "\(length)" +
		(map(" [\(.shim.appends) \(.shim.append_bytes) \(.shim.syncs.calls) \(.kernel.syncs) \(.kernel.operations.write.count) \(.unseen)]") | add)' report
}
three_syncs() {
	fd open a "$1" w creat append
	local i
	for i in 1 2 3; do
		fd_is 100 write a 100
		fd_is 0 fsync a
	done
	fd_is 0 close a
}

counted_once() {
	mk_fs "$1" "$(disk 0)" /mnt/m
	start "/mnt/m/**:mode=group"
	three_syncs /mnt/m/log-$1
	finish
	eq "$(rows /log-$1)" "1 [3 300 3 3 3 0]"
	eq "$(jq -r ".files[] | select(.path == \"/mnt/m/log-$1\") | .st_dev" report)" "$(stat -c %d /mnt/m/log-$1)" "device"
}
test_xfs() { counted_once xfs; }
test_btrfs_subvolume() {
	mk_fs btrfs "$(disk 0)" /mnt/m
	btrfs -q subvolume create /mnt/m/sub
	start "/mnt/m/**:mode=group"
	three_syncs /mnt/m/sub/log
	three_syncs /mnt/m/log
	finish
	eq "$(rows /sub/log)" "1 [3 300 3 3 3 0]"
	eq "$(rows /mnt/m/log)" "1 [3 300 3 3 3 0]"
	eq "$(jq -r '.files[] | select(.path == "/mnt/m/sub/log") | .st_dev' report)" "$(stat -c %d /mnt/m/sub/log)" "device"
}

test_overlayfs_is_one_file() {
	mk_fs ext4 "$(disk 0)" /mnt/m
	mkdir -p /mnt/m/{lower,upper,work} /mnt/ov
	echo old >/mnt/m/lower/from-below
	mount -t overlay -o lowerdir=/mnt/m/lower,upperdir=/mnt/m/upper,workdir=/mnt/m/work over /mnt/ov
	start "/mnt/ov/**:mode=group"
	three_syncs /mnt/ov/log
	# copied up when it is opened to be written: the kernel's own sync of the copy is nobody's call
	three_syncs /mnt/ov/from-below
	finish
	eq "$(rows /log)" "1 [3 300 3 3 3 0]"
	rows /from-below
	eq "$(jq -r '[.files[] | select((.path // "") | endswith("/from-below")) | select(.shim)] | length' report)" 1 "rows of what was copied up"
	eq "$(jq -r '.files[] | select((.path // "") | endswith("/from-below")) | select(.shim) | "\(.shim.appends) \(.shim.syncs.calls) \(.shim.syncs.issued)"' report)" "3 3 3"
}

# The broker keeps a file for a moment after its last close.
is_free() {
	touch /mnt/m/probe
	local ino
	ino=$(stat -c %i /mnt/m/probe)
	rm /mnt/m/probe
	[ "$ino" = "$1" ]
}
test_an_inode_number_used_again_is_another_file() {
	local first
	mk_fs ext4 "$(disk 0)" /mnt/m
	start "/mnt/m/**:mode=group"
	three_syncs /mnt/m/one
	first=$(stat -c %i /mnt/m/one)
	fd_is 0 unlink /mnt/m/one
	wait_for 20 is_free "$first" || fail "the inode number is not used again"
	three_syncs /mnt/m/two
	eq "$(stat -c %i /mnt/m/two)" "$first" "the inode number"
	finish
	eq "$(rows /one)" "1 [3 300 3 3 3 0]"
	eq "$(rows /two)" "1 [3 300 3 3 3 0]"
	eq "$(jq -r "[.files[] | select(.inode == $first)] | length" report)" 2 "rows of that inode number"
}

tap_main
