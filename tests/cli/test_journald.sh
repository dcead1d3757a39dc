#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# A real systemd-journald, started by hand in a mount namespace of its own. It appends through a shared map, which no
# write shows: the observer sees the file all the same, and does not pretend to know what is at risk in it.
. "$(dirname "$0")/lib.sh"

inside() {
	mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log
	mkdir -p "$1/journal" /var/log/journal && mount --bind "$1/journal" /var/log/journal
	echo 0123456789abcdef0123456789abcdef >"$1/machine-id"
	mount --bind "$1/machine-id" /etc/machine-id || return 1
	/lib/systemd/systemd-journald & journald=$!
	trap 'kill $journald' EXIT
	wait_for 20 test -S /run/systemd/journal/dev-log || return 1
	"$SG" -j observe --duration 60s --path "$1/journal/**" --path '/var/log/journal/**' \
		>"$1/seen" 2>"$1/err" & observer=$!
	wait_for 30 grep -q Observing "$1/err" || return 1
	kill -USR1 $journald # from /run to /var/log
	wait_for 20 sh -c 'ls /var/log/journal/*/system.journal' >/dev/null || return 1
	for i in $(seq 20); do logger --socket /run/systemd/journal/dev-log "line $i"; done
	wait_for 20 sh -c 'journalctl -q -D /var/log/journal -t root -t logger | grep -c "line 20"' >/dev/null
	journalctl --sync 2>/dev/null || :
	kill -INT $observer; wait $observer
}
test_journald_is_seen_and_its_risk_called_unknown() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x /lib/systemd/systemd-journald ] || skip "no systemd-journald"
	# On a real disk: the default scratch may be a tmpfs.
	local d; d=$(mktemp -d /var/tmp/spoolguard-journald.XXXXXX)
	export -f inside wait_for; export SG
	unshare -m --propagation private bash -c 'inside "$1"' bash "$d" >"$T/out" 2>&1 || { cat "$T/out" "$d/err" >&2; rm -rf "$d"; fail "it did not run"; }
	cp "$d/seen" "$T/seen"; rm -rf "$d"
	jq -s '.[-1].files[] | select(.path | endswith("/system.journal"))' "$T/seen" >"$T/journal"
	[ -s "$T/journal" ] || fail "not seen: $(head -c 800 "$T/seen")"
	jq -es '.[0] | .kernel.last_writer.comm == "systemd-journal" and .at_risk.known == false' "$T/journal" >/dev/null ||
		fail "$(head -c 1500 "$T/journal")"
}
tap_main
