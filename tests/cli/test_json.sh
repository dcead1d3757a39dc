#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Every command with -j prints one valid document, with sessions to tell of and without.
. "$(dirname "$0")/lib.sh"

commands() {
	cat <<END
file show --socket-dir $1
file top --socket-dir $1
file events --socket-dir $1
file events --all --socket-dir $1
session list --socket-dir $1
session list --all --socket-dir $1
stall list --socket-dir $1
policy check /dev/null
policy show /x --policy /x:mode=group
version
help
END
}
guarded() { # a program under guard that stays until `stop` is there
	need_python
	"$SG" run --no-observe --socket-dir "$T/s" --policy "$T/*.log:mode=${1:-group}" -- python3 -c '
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for i in range(20):
    os.write(fd, b"x" * 99 + b"\n"); os.fdatasync(fd)
open("ready", "w").close()
while os.path.exists("ready") and not os.path.exists("stop"): time.sleep(0.02)
' "$T/$2" & wait_for 20 test -e ready
}
test_with_nothing_guarded() {
	mkdir s
	while read -r c; do
		gives 0 "$SG" -j $c; json true out
		gives 0 "$SG" -p $c; json true out; [ "$(wc -l <out)" -gt 1 ] || fail "-p $c is not indented"
		gives 0 "$SG" $c
	done < <(commands s)
}
test_with_a_guarded_program() {
	guarded group a.log
	while read -r c; do
		gives 0 "$SG" -j $c; json true out
		gives 0 "$SG" $c
	done < <(commands s)
	for c in "file show a.log" "file show $T/a.log" "file latency a.log" "file show $(stat -c %d:%i a.log)" \
		"file latency $(stat -c %Hd:%Ld:%i a.log)"; do
		gives 0 "$SG" -j $c --socket-dir s
		json "(.files | length) == 1 and .files[0].path == \"$T/a.log\" and .files[0].shim.appends == 20
			and .files[0].shim.syncs.calls == 20 and .files[0].mode == \"group\"" out
		gives 0 "$SG" $c --socket-dir s; grep -qF a.log out
	done
	gives 0 "$SG" -j file latency a.log --socket-dir s
	json '[.files[0].latency.call.buckets[].count] | add == 20' out
	gives 0 "$SG" -j session list --socket-dir s; json '[.sessions[] | select(.ended | not)] | length == 1' out
	pid=$(jq '.sessions[] | select(.ended | not) | .pid' out)
	gives 0 "$SG" -j session show $pid --socket-dir s; json ".session.pid == $pid and .files[0].shim.appends == 20" out
	gives 0 "$SG" session show $pid --socket-dir s
	touch stop; wait
}
test_every_equation_of_the_counters_is_there() {
	guarded group a.log
	gives 0 "$SG" -j file show a.log --socket-dir s
	json '.files[0].shim.syncs | .calls == .led + .grouped + .elided + .windowed + .poisoned + .refused
		and .issued == .led + .drains + .inline' out
	touch stop; wait
}
test_what_is_not_there_is_an_error() {
	mkdir s
	gives 4 "$SG" -j file show /no/such/file --socket-dir s; json '.error.code == 4' out
	gives 4 "$SG" -j file latency 1:2 --socket-dir s; json '.error.code == 4' out
	gives 4 "$SG" -j session show 1 --socket-dir s; json '.error.code == 4' out
	gives 2 "$SG" -j session show self --socket-dir s; json '.error.code == 2' out
	gives 4 "$SG" -j file show --socket-dir no-such-dir; json '.error.message | contains("no-such-dir")' out
	gives 4 "$SG" file show --socket-dir no-such-dir; says 'no-such-dir'
	gives 4 "$SG" -j observe --pid 999999999; json '.error.code == 4' out
}
test_another_user_may_read_neither_sessions_nor_the_observer() {
	need_root; for_nobody; mkdir -m 700 locked
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" -j file show --socket-dir "$T/locked"; json '.error.kind == "denied"' out
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" -j observe --duration 1s; json '.error.code == 3' out
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" observe --duration 1s; says root
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" -j device show; json '.error.code == 3' out
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" device latency vda; says root
	gives 0 "${NOBODY[@]}" "$T/bin/spoolguard" -j feature; json '[.features[] | select(.name | startswith("observer tier"))
		| .available] == ["no", "no", "no", "no"]' out
}
test_names_with_bytes_that_are_no_text_are_escaped() {
	guarded group $'we\nird\e[1m\xff.log'
	gives 0 "$SG" -j file show --socket-dir s; json '(.files | length) == 1' out
	gives 0 "$SG" file show --socket-dir s
	! grep -q $'\033' out || fail "an escape byte reached the terminal"
	eq "$(wc -l <out)" 2 "lines"
	touch stop; wait
}
test_stall_watch_is_one_document_per_line() {
	guarded group a.log
	timeout -s INT 1 "$SG" -j stall watch --socket-dir s >out 2>err || rc=$?
	eq "${rc:-0}" 124 "ended by timeout"; jq -e . out >/dev/null || [ ! -s out ]
	timeout -s INT 1 "$SG" -j file events --all --follow --socket-dir s >out 2>err || :
	[ -s out ] || fail "no events"
	eq "$(jq -c .schema out | sort -u)" 1
	touch stop; wait
}
test_feature_probe_tells_each_thing_with_a_reason() {
	gives 0 "$SG" -j feature probe
	json '[.features[] | select(.available == "no" and .detail == null and .name != "observer running")] == []
		and (.mounts | length) > 0 and ([.features[].name] | index("kernel") != null)' out
	gives 0 "$SG" feature; grep -q 'preload library' out
}
test_top_without_a_terminal_prints_one_snapshot() {
	guarded group a.log
	gives 0 timeout 5 "$SG" file top --socket-dir s </dev/null; grep -q a.log out
	touch stop; wait
}
test_top_fits_a_terminal_of_80_by_24_and_quits_with_q() {
	guarded group a.log
	cat >drive.py <<-'END'
	import os, pty, sys, time, struct, fcntl, termios, select
	pid, fd = pty.fork()
	if pid == 0:
	    os.environ["TERM"] = "xterm"
	    os.execv(sys.argv[1], [sys.argv[1], "file", "top", "--interval", "100ms", "--socket-dir", "s"])
	fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
	seen = b""
	end = time.time() + 10
	keys = [b"a", b"p", b"\x1b[C", b"i", b"q"]
	step = time.time() + 0.5
	while time.time() < end:
	    r, _, _ = select.select([fd], [], [], 0.1)
	    if r:
	        try:
	            data = os.read(fd, 65536)
	        except OSError:
	            break
	        if not data:
	            break
	        seen += data
	    if keys and time.time() > step:
	        os.write(fd, keys.pop(0)); step = time.time() + 0.25
	_, status = os.waitpid(pid, 0)
	assert b"a.log" in seen, seen[:2000]
	assert b"SYNC/s" in seen and b"q quit" in seen
	sys.exit(os.waitstatus_to_exitcode(status))
	END
	gives 0 timeout 20 python3 drive.py "$SG"
	touch stop; wait
}
test_top_on_an_unknown_terminal_is_an_error() {
	mkdir s
	TERM=no-such-terminal gives 3 script -qec "$SG file top --socket-dir s" /dev/null </dev/null || :
	grep -q 'TERM=no-such-terminal' out || skip "script(1) gives no terminal here"
}
tap_main
