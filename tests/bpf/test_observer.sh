#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# The observer against a program that makes known syncs: every count must be equal, in any tier.
# TIER=fentry|kprobe|tp_btf|tracepoint (default: tp_btf, which loads nearly everywhere).
. "$(dirname "$0")/../lib/tap.sh"
TIER=${TIER:-tp_btf}
WATCH=$O/tests/bpf/sg-watch IO=$O/tests/bpf/sg-io

# In a virtual machine these are modules that nothing has asked for yet.
for module in loop overlay dm-mod; do modprobe -q "$module" 2>/dev/null || true; done

root_only() { [ "$(id -u)" = 0 ] || skip "needs root"; }
is_vfs_tier() { [ "$TIER" = fentry ] || [ "$TIER" = kprobe ]; }

# Undo in reverse order what a test set up, also when it fails.
cleanup=()
undo() { local i; for ((i = ${#cleanup[@]} - 1; i >= 0; i--)); do eval "${cleanup[i]}" || true; done; }
later() { cleanup+=("$*"); trap undo EXIT; }

# A BPF file system of the test's own for pins: other observers on this machine are none of our business.
pins() {
	root_only
	mkdir -p "$T/bpf"
	mount -t bpf bpf "$T/bpf" || skip "no BPF file system"
	later "umount $T/bpf"
	PIN=$T/bpf/sg
}
watch() { "$WATCH" -p "$PIN" "$@"; }
# Only a tier that this kernel cannot attach is a reason to skip.
started() { case $1 in 0) ;; 95) skip "tier $TIER: $(grep "^$TIER: " "$2")";; *) fail "start: $(cat "$2")";; esac; }
start() { local rc=0; watch -t "$TIER" "$@" start >start.out 2>&1 || rc=$?; started $rc start.out; later "watch stop"; }

# fs TYPE [MKFS OPTIONS]: a file system on a loop device, mounted at $T/m.
fs() {
	local type=$1 size=600M; shift
	root_only
	command -v "mkfs.$type" >/dev/null || skip "no mkfs.$type"
	truncate -s $size "$T/img"
	"mkfs.$type" -q "$@" "$T/img" >mkfs.out 2>&1 || fail "mkfs.$type: $(cat mkfs.out)"
	mkdir -p "$T/m"
	mount -o loop "$T/img" "$T/m" 2>mount.out || skip "no $type on a loop device: $(tail -n 1 mount.out)"
	later "umount $T/m"
}

# All counts of a file, one "op/route count" per line, sorted.
counts() { watch dump | awk -v p="path=$1" '$1=="stat" && $NF==p { for (i=2;i<NF;i++) {split($i,a,"="); v[a[1]]=a[2]}
	print v["op"] "/" v["route"], v["count"] }' | sort; }
# field FILE KEY: a value of the file's line.
field() { watch dump | awk -v p="path=$1" -v k="$2" '$1=="file" && $NF==p { for (i=2;i<NF;i++) {n=index($i,"=");
	if (substr($i,1,n-1)==k) print substr($i,n+1)} }'; }
# stat_field FILE OP ROUTE KEY
stat_field() { watch dump | awk -v p="path=$1" -v o="op=$2" -v r="route=$3" -v k="$4" '$1=="stat" && $NF==p && $3==o && $4==r {
	for (i=2;i<NF;i++) {split($i,a,"="); if (a[1]==k) print a[2]} }'; }
info() { watch info | sed -n "s/^$1=//p"; }
same() { diff -u <(sort <<<"$2") <(echo "$1") >&2 || fail "${3:-counts} differ from what was done (- expected, + seen)"; }

# --- counts ---

every_route() {
	"$IO" "$1" write=3 pwrite writev fsync=2 fdatasync=3 append2=2 osync rwfdsync range=2 msync=2 \
		uring-fsync uring-fdatasync=2 uring-fixed uring-write uring-dsync aio-write aio-fsync aio-fdsync=2 \
		dirfsync rofsync badfsync pipefsync
}
EVERY_ROUTE='write/syscall 9
fsync/syscall 3
fdatasync/syscall 3
dsync-write/osync 4
sync_file_range/syscall 2
msync/mmap 2
fsync/io_uring 2
fdatasync/io_uring 2
write/io_uring 2
dsync-write/io_uring 1
write/aio 1
fsync/aio 1
fdatasync/aio 2'

check_every_route() {
	start -D "$T/m"
	every_route "$T/m/f"
	same "$(counts "$T/m/f")" "$1"
	same "$(counts "$T/m")" 'fsync/syscall 1' "counts of the directory"
	eq "$(stat_field "$T/m/f" write syscall bytes)" 900 "bytes written"
	eq "$(stat_field "$T/m/f" fsync syscall hist)" 3 "calls in the histogram"
	eq "$(stat_field "$T/m/f" fsync syscall ordered)" 1 "quantiles in order"
	eq "$(field "$T/m/f" path_state)" ok "path"
	eq "$(watch info | grep -c '^drop_.*=[^0]')" 0 "drops"
	eq "$(watch inflight | wc -l)" 0 "calls left in flight"
}
test_every_route_is_counted_on_ext4() { pins; fs ext4; check_every_route "$EVERY_ROUTE"; eq "$(stat_field "$T/m/f" fsync aio untimed)" 0; }
test_every_route_is_counted_on_xfs() {
	pins; fs xfs
	# The program counts an aio fsync of xfs only where it passes a function of the VFS, or as begun.
	check_every_route "$(if is_vfs_tier; then echo "$EVERY_ROUTE"; else sed 's,^fdatasync/aio.*,,; s,^fsync/aio 1,fsync/aio 3,' <<<"$EVERY_ROUTE" | sed '/^$/d'; fi)"
	is_vfs_tier || eq "$(stat_field "$T/m/f" fsync aio untimed)" 3 "aio fsyncs without an end"
}
test_every_route_is_counted_on_btrfs() { pins; fs btrfs; check_every_route "$EVERY_ROUTE"; }

test_syncs_are_put_down_to_the_process() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" write fsync=2 aio-fsync append2 & local a=$!; wait $a
	"$IO" "$T/m/f" fsync=3 & local b=$!; wait $b
	same "$(watch dump | awk -v a="tgid=$a" -v b="tgid=$b" '$1=="sync" { who = $3==a ? "a" : $3==b ? "b" : $3; print who, $4, $5 }' | sort)" \
'a route=syscall count=2
a route=aio count=1
a route=osync count=1
b route=syscall count=3'
}
test_concurrent_syncs_are_all_counted() {
	pins; fs ext4; start -D "$T/m"
	local i pids=()
	for i in {1..32}; do "$IO" "$T/m/f" write=20 fsync=20 & pids+=($!); done
	wait "${pids[@]}"
	eq "$(watch inflight | wc -l)" 0
	# A kretprobe has few slots: what it misses is counted as lost, so that the sum is still exact.
	local n; n=$(($(stat_field "$T/m/f" fsync syscall count) + $(stat_field "$T/m/f" write syscall count)))
	[ "$TIER" = kprobe ] || eq "$(info drop_lost_end)" 0 "lost ends"
	eq $((n + $(info drop_lost_end))) 1280 "calls counted or lost"
}
test_sync_nested_in_a_write_is_counted_beside_it() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" append2=50 osync=50
	same "$(counts "$T/m/f")" 'write/syscall 100
dsync-write/osync 100'
	eq "$(field "$T/m/f" at_risk)" 0 "at risk after O_SYNC writes"
}
test_return_codes_are_counted() {
	pins; root_only
	mkdir small m; mount -t tmpfs -o size=12M tmpfs small; later "umount $T/small"
	truncate -s 200M small/img; mkfs.ext4 -q -O ^has_journal -E nodiscard small/img
	mount -o loop small/img m || skip "no loop device"; later "umount $T/m"
	start -D "$T/m"
	# The disk is an image in a file system that fills up: writes are taken, their sync fails.
	dd if=/dev/zero of=m/big bs=1M count=40 conv=fsync 2>dd.out && fail "the disk did not fail"
	local e=5; ! grep -q 'No space left' dd.out || e=28 # kernels differ in what a full image is
	eq "$(watch dump | awk '$1=="stat" && /op=fsync / {print $6, $7}')" "errors=1 errno=$e" "failed fsync"
	eq "$(watch dump | awk '$1=="error" && /op=fsync / {print $4, $5}')" "errno=$e count=1" "by errno"
	eq "$(field "$T/m/big" failed)" $e "the file's failure"
	eq "$(field "$T/m/big" at_risk)" unknown "at risk after a failed sync"
	local ino; ino=$(stat -c %i m/big)
	eq "$(watch dump | awk -v i="ino=$ino" '$1=="wberror" && $2==i {print ($3!="recorded=0"), $4, $5}')" "1 reported=1 errno=$e" "writeback error" # more may be recorded since
	"$IO" -k "$T/m/big" fsync || true
	eq "$(field "$T/m/big" at_risk)" unknown "at risk after a later success"
}

# --- identity ---

test_reused_inode_number_is_another_file() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" write fsync=2 recreate write fsync=3
	same "$(watch dump | awk -v p="path=$T/m/f" '$1=="stat" && $NF==p && $3=="op=fsync" {print $5}' | sort)" 'count=2
count=3'
	eq "$(watch dump | awk -v p="path=$T/m/f" '$1=="file" && $NF==p {print $3}' | sort -u | wc -l)" 1 "inode numbers"
	eq "$(watch dump | awk -v p="path=$T/m/f" '$1=="file" && $NF==p {print $4}' | sort -u | wc -l)" 2 "generations"
	same "$(watch dump | awk -v p="path=$T/m/f" '$1=="file" && $NF==p {print $(NF-1)}' | sort)" 'path_state=ok
path_state=ok'
}
test_overlayfs_counts_the_file_that_the_program_sees() {
	pins; fs ext4; mkdir m/l m/u m/w o
	mount -t overlay -o "lowerdir=$T/m/l,upperdir=$T/m/u,workdir=$T/m/w" overlay o || skip "no overlayfs"; later "umount $T/o"
	"$IO" "$T/o/f" write
	start
	"$IO" "$T/o/f" write=2 fsync=2 fdatasync append2
	same "$(counts "$T/o/f")" 'write/syscall 3
fsync/syscall 2
fdatasync/syscall 1
dsync-write/osync 1'
	same "$(counts "$T/m/u/f")" '' "counts of the upper file"
	eq "$(field "$T/o/f" path_state)" ok "path on the overlay"
	eq "$(field "$T/o/f" at_risk)" 0 "at risk"
}
test_btrfs_device_is_the_subvolumes() {
	pins; fs btrfs
	command -v btrfs >/dev/null || skip "no btrfs"
	btrfs -q subvolume create m/sub; start
	"$IO" "$T/m/sub/f" write fsync
	eq "$(field "$T/m/sub/f" dev)" "$(stat -c %Hd:%Ld m/sub/f)" "device"
	eq "$(field "$T/m/sub/f" ino)" "$(stat -c %i m/sub/f)" "inode"
}
test_renamed_file_gets_its_new_name_at_the_next_sync() {
	pins; fs ext4; start -D "$T/m"
	mkdir m/d
	"$IO" "$T/m/f" write fsync "rename=$T/m/d/g" sleep=700 fsync & local io=$!
	wait_for 5 test -e m/d/g
	eq "$(field "$T/m/f" path_state)" stale "old name"
	wait $io
	eq "$(field "$T/m/d/g" path_state)" ok "new name"
}
test_deep_path_and_mounts_are_followed() {
	pins; fs ext4; start -D "$T/m"
	local d=$T/m/a/b/c/d/e/f/g/h/i/j; mkdir -p "$d"
	"$IO" "$d/file with blank" write fsync
	eq "$(watch dump | grep '^file' | grep -c "path_state=ok path=$d/file with blank\$")" 1 "path with a blank"
}

# --- at risk ---

test_at_risk_is_what_was_written_since_the_sync_began() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" write=7;		eq "$(field "$T/m/f" at_risk)" 700
	"$IO" "$T/m/f" range write;	eq "$(field "$T/m/f" at_risk)" 800 "sync_file_range makes nothing durable"
	eq "$(field "$T/m/f" records)" 8
	"$IO" "$T/m/f" fdatasync;	eq "$(field "$T/m/f" at_risk)" 0
	eq "$(field "$T/m/f" records)" 0
	"$IO" "$T/m/f" write=2 append2;	eq "$(field "$T/m/f" at_risk)" 200 "an O_DSYNC write adds nothing, and syncs only itself"
	eq "$(field "$T/m/f" max_risk)" 8/800 "greatest ever at risk, in records and bytes"
}
test_mmap_writer_is_unknown_until_a_sync() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" mmap;	eq "$(field "$T/m/f" at_risk)" unknown
	eq "$(field "$T/m/f" path_state)" ok "path"
	"$IO" "$T/m/f" fsync;	eq "$(field "$T/m/f" at_risk)" 0
	"$IO" "$T/m/f" fsync mmap sleep=1; eq "$(field "$T/m/f" unknown_route)" mmap
	eq "$(field "$T/m/f" at_risk)" unknown
}
test_io_uring_and_aio_writers_are_unknown_until_a_sync() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" uring-write;	eq "$(field "$T/m/f" at_risk)" unknown
	eq "$(field "$T/m/f" unknown_route)" io_uring
	"$IO" "$T/m/f" fsync;		eq "$(field "$T/m/f" at_risk)" 0
	"$IO" "$T/m/f" aio-write;	eq "$(field "$T/m/f" at_risk)" unknown
	eq "$(field "$T/m/f" unknown_route)" aio
	"$IO" "$T/m/f" uring-fsync;	eq "$(field "$T/m/f" at_risk)" 0
	"$IO" "$T/m/f" aio-write aio-fsync; eq "$(field "$T/m/f" at_risk)" 0
}
test_sendfile_is_counted_or_unknown() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" sendfile
	if is_vfs_tier; then eq "$(field "$T/m/f" at_risk)" unknown; else eq "$(field "$T/m/f" at_risk)" 100; fi
}
test_file_dirty_before_it_was_seen_is_unknown() {
	pins; fs ext4; start -T 1
	"$IO" "$T/m/f" write
	watch -D "$T/m" start >/dev/null # takes over, with another filter
	"$IO" "$T/m/f" write;	eq "$(field "$T/m/f" at_risk)" unknown
	"$IO" "$T/m/f" fsync;	eq "$(field "$T/m/f" at_risk)" 0
}

# --- in flight ---

test_hung_sync_is_seen_in_flight() {
	pins
	truncate -s 64M img
	local loop; loop=$(losetup -f --show img) || skip "no loop device"; later "losetup -d $loop"
	export DM_DISABLE_UDEV=1
	dmsetup create "sg$$" --table "0 131072 linear $loop 0" 2>/dev/null || skip "no device mapper"; later "dmsetup remove sg$$"
	mkfs.ext4 -q "/dev/mapper/sg$$"; mkdir m; mount "/dev/mapper/sg$$" m; later "umount $T/m"
	start -D "$T/m"
	"$IO" "$T/m/f" write fsync # so that opening it needs no disk
	dmsetup suspend --noflush --nolockfs "sg$$"; later "dmsetup resume sg$$"
	"$IO" "$T/m/f" write fsync & local io=$!
	wait_for 10 eval 'watch inflight | grep -q "op=fsync route=syscall tgid=$io tid=$io comm=sg-io age_ms=[1-9][0-9][0-9]"' || fail "not in flight: $(watch inflight)"
	dmsetup resume "sg$$"; wait $io
	eq "$(watch inflight | wc -l)" 0 "in flight after the end"
	eq "$(stat_field "$T/m/f" fsync syscall count)" 2
}

# --- devices ---

test_device_requests_are_timed() {
	pins; fs ext4; start
	local dev; dev=$(stat -c %Hd:%Ld m)
	"$IO" "$T/m/f" write fsync write fsync
	local line; line=$(watch dump | grep "^device dev=$dev op=flush ") || fail "no flush of $dev: $(watch dump | grep ^device)"
	[[ $line =~ count=([0-9]+)\ errors=0\ .*hist=([0-9]+)\ inflight=0 ]] || fail "$line"
	eq "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "requests in the histogram"
	[ "${BASH_REMATCH[1]}" -ge 2 ] || fail "two syncs without two flushes: $line"
	watch dump | grep -q "^device dev=$dev op=write count=[1-9]" || fail "no writes of $dev"
}
test_flush_of_a_loop_device_is_no_aio_sync() {
	pins; fs ext4; start
	"$IO" "$T/m/f" write fsync
	# Its worker syncs the image; a file system without sync tracepoints hides it from the tracepoint tiers.
	case $(stat -f -c %T "$T/img") in ext2/ext3) ;; *) is_vfs_tier || skip "the image is on a file system that hides it";; esac
	counts "$T/img" >seen
	grep -q '^fsync/other [1-9]' seen || fail "no sync of the image by the kernel: $(cat seen)"
	! grep -q /aio seen || fail "$(cat seen)"
}

# --- full maps ---

test_full_map_is_counted_and_folded() {
	pins; fs ext4; start -D "$T/m" -f 5
	local i
	for i in 1 2 3 4 5 6 7 8 9; do "$IO" "$T/m/f$i" write fsync; done
	eq "$(watch dump | grep -c '^file .*other=0')" 4 "files kept"
	eq "$(info drop_files_full)" 10 "drops: five files, a write and a sync each"
	same "$(watch dump | awk '$1=="stat" && $2=="ino=0" {print $3, $5}' | sort)" 'op=fsync count=5
op=write count=5' "counts folded into other"
	eq "$(watch forget-idle)" evicted=4
	"$IO" "$T/m/f9" fsync=2
	same "$(counts "$T/m/f9")" 'fsync/syscall 2' "counts after eviction"
}
test_full_counts_are_folded() {
	pins; fs ext4; start -D "$T/m" -s 43
	"$IO" "$T/m/f" write fsync=3
	eq "$(info drop_stats_full)" 3
	same "$(watch dump | awk '$1=="stat" && $2=="ino=0" {print $3, $5}')" 'op=fsync count=3' "counts folded into other"
}

# --- life ---

test_pins_are_private_and_typed() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" write fsync
	eq "$(stat -c %a "$PIN")" 700 "mode of the directory"
	eq "$(find "$PIN" -type f ! -perm 600 -o -type f ! -uid 0 | wc -l)" 0 "pins not 0600 root"
	local tool; tool=$(command -v bpftool /usr/sbin/bpftool | head -n 1) || skip "no bpftool"
	"$tool" -j map dump pinned "$PIN/stats" >dump.json
	eq "$(jq -c '[.[].formatted | select(.value.count > 0 and .key.file.ino != 0) | [.key.op, .key.route, .value.count, .value.errors]] | sort' dump.json)" \
		'[["SG_OP_FSYNC","SG_ROUTE_SYSCALL",1,0],["SG_OP_WRITE","SG_ROUTE_SYSCALL",1,0]]' "named dump"
}
test_observer_outlives_its_starter() {
	pins; fs ext4; start -D "$T/m"
	eq "$(info owner_alive)" 0 "the starter has ended"
	eq "$(info tier) $(info pin_dir)" "$TIER $PIN"
	"$IO" "$T/m/f" write fsync=4
	eq "$(stat_field "$T/m/f" fsync syscall count)" 4
}
test_second_start_reuses_replaces_or_fails() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/f" fsync=2
	local rc=0; watch -e fail start >/dev/null 2>err || rc=$?
	eq $rc 17 "start beside one that runs"
	watch start >/dev/null
	eq "$(stat_field "$T/m/f" fsync syscall count)" 2 "counts after reuse"
	"$IO" "$T/m/f" fsync
	eq "$(stat_field "$T/m/f" fsync syscall count)" 3 "one observer counts once"
	watch -t "$TIER" -e replace -D "$T/m" start >/dev/null
	eq "$(watch dump | grep -c ^stat)" 0 "counts after replacement"
	"$IO" "$T/m/f" fsync
	eq "$(stat_field "$T/m/f" fsync syscall count)" 1 "one observer counts once"
}
test_two_starts_at_once_leave_one_observer() {
	pins; fs ext4
	watch -t "$TIER" -D "$T/m" start >a 2>&1 & local a=$!
	watch -t "$TIER" -D "$T/m" start >b 2>&1 & local b=$!
	local rc=0; wait $a || rc=$?; started $rc a; wait $b; later "watch stop"
	"$IO" "$T/m/f" fsync=5
	eq "$(stat_field "$T/m/f" fsync syscall count)" 5
}
test_pins_of_another_layout_are_replaced() {
	pins; fs ext4; start -D "$T/m"
	rm "$PIN/syncs"; ln -f "$PIN/owner" "$PIN/syncs" 2>/dev/null || { local tool; tool=$(command -v bpftool /usr/sbin/bpftool | head -n 1)
		"$tool" map pin pinned "$PIN/owner" "$PIN/syncs"; }
	local rc=0; watch info 2>/dev/null || rc=$?
	eq $rc 1 "open of another layout"
	watch -t "$TIER" -D "$T/m" start >/dev/null
	"$IO" "$T/m/f" fsync
	eq "$(stat_field "$T/m/f" fsync syscall count)" 1
}
test_stop_removes_all() {
	pins; fs ext4; start -D "$T/m"
	watch stop
	[ ! -e "$PIN" ] || fail "left: $(ls "$PIN")"
	local rc=0; watch info 2>/dev/null || rc=$?
	eq $rc 2 "open after the stop"
}
test_unpinned_observer_ends_with_its_process() {
	root_only; fs ext4
	"$WATCH" -p "" -t "$TIER" -D "$T/m" start "$IO" "$T/m/f" write fsync=2 >out 2>&1 || started $? out
	grep -q '^pinned=0' out || fail "pinned"
	grep -q 'op=fsync route=syscall count=2 ' out || fail "$(grep ^stat out)"
}
test_forced_tier_is_that_tier_or_nothing() {
	pins
	local t rc works; "$WATCH" probe >probe.out
	for t in fentry kprobe tp_btf tracepoint; do
		works=$(sed -n "s/^works_$t=//p" probe.out) rc=0
		watch -t $t start >"out.$t" 2>&1 || rc=$?
		if [ "$works" = 1 ]; then
			eq "$rc $(info tier)" "0 $t" "forced $t"; watch stop
		else
			eq $rc 95 "forced $t, which cannot attach"
			grep -q "^$t: .*: " "out.$t" || fail "no reason given: $(cat "out.$t")"
		fi
	done
	local best; best=$(sed -n 's/^works_\(.*\)=1/\1/p' probe.out | head -n 1)
	watch start >out; later "watch stop"
	eq "$(info tier)" "$best" "best tier"
}
test_not_root_is_refused() {
	root_only
	cp "$WATCH" w; chmod 755 "$T" w
	local rc=0; setpriv --reuid 65534 --regid 65534 --clear-groups ./w start >out 2>&1 || rc=$?
	eq $rc 3 "start"
	rc=0; setpriv --reuid 65534 --regid 65534 --clear-groups ./w info >out 2>&1 || rc=$?
	eq $rc 3 "open"
	rc=0; setpriv --reuid 65534 --regid 65534 --clear-groups ./w probe >out 2>&1 || rc=$?
	eq $rc 3 "probe"
	grep -q 'probe: Operation not permitted' out || fail "$(cat out)"
}
test_filter_by_process() {
	pins; fs ext4; start -T $$
	"$IO" "$T/m/f" write fsync
	eq "$(watch dump | grep -c '^file')" 0 "files of other processes"
}
test_files_are_shown_by_path() {
	pins; fs ext4; start -D "$T/m"
	"$IO" "$T/m/a.log" fsync; "$IO" "$T/m/b.txt" fsync; "$IO" "$T/m/c.log" fsync
	same "$(watch -g '*/m/*.log' dump | awk '$1=="file" {print $NF}' | sort)" "path=$T/m/a.log
path=$T/m/c.log"
}
test_filter_by_cgroup() {
	pins; fs ext4
	local root group; root=$(awk '$3=="cgroup2" {print $2; exit}' /proc/mounts)
	[ -n "$root" ] || skip "no cgroup2"
	group=$root/sg-test-$$; mkdir "$group" 2>/dev/null || skip "cannot make a cgroup"; later "rmdir $group"
	start -C "$(stat -c %i "$group")"
	"$IO" "$T/m/f" write fsync=2
	( echo $BASHPID >"$group/cgroup.procs"; exec "$IO" "$T/m/g" write fsync=3 )
	eq "$(watch dump | grep -c '^file')" 1 "files"
	eq "$(stat_field "$T/m/g" fsync syscall count)" 3 "syncs from within the cgroup"
}

tap_main
