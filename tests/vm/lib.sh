# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced inside the virtual machine by tests/vm/guest/*.sh: disks that are slow, broken, or remember.
# Brings tests/lib/tap.sh and fdsh.sh along.
#
#   disk N                        the device of vm-run's Nth disk (from 0)
#   mk_fs ext4|xfs|btrfs DEV DIR  make a file system and mount it; MKFS_ARGS, MOUNT_OPTS
#
# Mapped disks lie at /dev/mapper/NAME over a device DEV; each begins healthy, and its …_set changes it live,
# under a mounted file system, without a sync and without a freeze:
#
#   delay_disk NAME DEV WRITE_MS FLUSH_MS [READ_MS]    delay_set NAME WRITE_MS FLUSH_MS [READ_MS]
#           an fsync is several delayed I/Os: it takes at least WRITE + FLUSH, often a multiple
#   flakey_disk NAME DEV         flakey_set NAME ok | error_writes | drop_writes
#           error_writes: reads work, writes and flushes fail; drop_writes: a disk that lies: all succeeds, nothing stays
#   error_disk NAME DEV          error_set NAME on | off      on: every I/O fails
#   logwrites_disk NAME DEV LOGDEV    log_mark NAME MARK      replay with logreplay
#   suspend_disk NAME, resume_disk NAME    between them every I/O waits: the simplest exact stall
#   remove_disk NAME
#
# What a test used is unmounted, healed and removed when the test ends (vm_clean).
. "$(dirname "${BASH_SOURCE[0]}")/../lib/tap.sh"
. "$TOP/tests/vm/fdsh.sh"
export DM_DISABLE_UDEV=1
VM_STATE=/run/disks LOGREPLAY=$O/tests/vm/logreplay
mkdir -p "$VM_STATE"

disk() {
	local serial
	for serial in /sys/block/vd*/serial; do
		[ "$(<"$serial")" = "disk$1" ] || continue
		serial=${serial%/serial}
		echo "/dev/${serial##*/}"
		return
	done
	echo "no disk $1: give vm-run another -d" >&2
	return 1
}

# Clean up once the running test (a subshell of tap_main) ends, however it ends.
vm_arm() { [ "$BASH_SUBSHELL" != 1 ] || trap vm_clean EXIT; }

vm_clean() {
	local name dir
	set +e
	for name in "$VM_STATE"/*; do
		[ -e "$name" ] || continue
		name=${name##*/}
		dm_swap "$name" "$(dm_linear "$name")" 2>/dev/null
	done
	cd /
	for dir in $(awk '$2 ~ "^/mnt" { print $2 }' /proc/mounts | sort -r); do
		# what was killed may need a moment to let go
		for name in 1 2 3 4 5 6 7 8 9 10; do
			umount "$dir" 2>/dev/null && continue 2
			sleep 0.2
		done
		umount -l "$dir"
	done
	for name in "$VM_STATE"/*; do
		[ ! -e "$name" ] || remove_disk "${name##*/}"
	done
}

mk_fs() {
	local type=$1 dev=$2 dir=$3
	vm_arm
	modprobe "$type"
	case $type in
	ext4) mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 ${MKFS_ARGS:-} "$dev";;
	xfs) mkfs.xfs -q -f ${MKFS_ARGS:-} "$dev";;
	btrfs) mkfs.btrfs -q -f ${MKFS_ARGS:-} "$dev";;
	*) fail "mk_fs: no file system $type";;
	esac
	mkdir -p "$dir"
	mount ${MOUNT_OPTS:+-o "$MOUNT_OPTS"} -t "$type" "$dev" "$dir"
}

# --- device mapper: the state file of NAME holds its DEV ---
dm_dev() { echo "$(<"$VM_STATE/$1")"; }
dm_sectors() { blockdev --getsz "$(dm_dev "$1")"; }
dm_linear() { echo "0 $(dm_sectors "$1") linear $(dm_dev "$1") 0"; }
dm_new() { # NAME DEV
	vm_arm
	[ -b "$2" ] || fail "$2 is no device"
	echo "$2" >"$VM_STATE/$1"
}
dm_create() {
	modprobe "dm-${2:-mod}"
	dmsetup create "$1" --table "$3"
	[ -b "/dev/mapper/$1" ] || dmsetup mknodes "$1"
}
# --noflush, --nolockfs: what is in flight meets the new table; a freeze would sync the file system first.
dm_swap() {
	dmsetup suspend --noflush --nolockfs "$1"
	dmsetup reload "$1" --table "$2"
	dmsetup resume "$1"
}

dm_delay_table() { # NAME WRITE FLUSH READ
	local dev
	dev=$(dm_dev "$1")
	echo "0 $(dm_sectors "$1") delay $dev 0 ${4:-0} $dev 0 $2 $dev 0 $3"
}
delay_disk() { dm_new "$1" "$2"; dm_create "$1" delay "$(dm_delay_table "$1" "$3" "$4" "${5:-0}")"; }
delay_set() { dm_swap "$1" "$(dm_delay_table "$1" "$2" "$3" "${4:-0}")"; }

dm_flakey_table() {
	local rest
	case $2 in
	ok) rest="1 0";;
	error_writes | drop_writes) rest="0 1 1 $2";;
	*) fail "flakey_set: no state $2";;
	esac
	echo "0 $(dm_sectors "$1") flakey $(dm_dev "$1") 0 $rest"
}
flakey_disk() { dm_new "$1" "$2"; dm_create "$1" flakey "$(dm_flakey_table "$1" ok)"; }
flakey_set() { dm_swap "$1" "$(dm_flakey_table "$1" "$2")"; }

error_disk() { dm_new "$1" "$2"; dm_create "$1" mod "$(dm_linear "$1")"; }
error_set() {
	case $2 in
	on) dm_swap "$1" "0 $(dm_sectors "$1") error";;
	off) dm_swap "$1" "$(dm_linear "$1")";;
	*) fail "error_set: no state $2";;
	esac
}

logwrites_disk() { dm_new "$1" "$2"; dm_create "$1" log-writes "0 $(dm_sectors "$1") log-writes $2 $3"; }
log_mark() { dmsetup message "$1" 0 mark "$2"; }

suspend_disk() { dmsetup suspend --noflush --nolockfs "$1"; }
resume_disk() { dmsetup resume "$1"; }
# A device may be busy for a moment after its unmount.
remove_disk() {
	local try
	for try in 1 2 3 4 5 6 7 8 9 10; do
		dmsetup remove "$1" 2>/dev/null && { rm -f "$VM_STATE/$1"; return 0; }
		dmsetup info "$1" >/dev/null 2>&1 || { rm -f "$VM_STATE/$1"; return 0; }
		sleep 0.1
	done
	echo "the disk $1 is still in use" >&2
	return 1
}
