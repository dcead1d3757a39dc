# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# What the tests of the command share. Each has a session directory of its own below $T.
. "$(dirname "${BASH_SOURCE[0]}")/../lib/tap.sh"
SG=${SG:-$SPOOLGUARD}
unset SPOOLGUARD_POLICY SPOOLGUARD_CONF SPOOLGUARD_BROKER LD_PRELOAD
# No observer but our own: another one on this machine is not ours to read or to end.
export SPOOLGUARD_PIN_DIR=/nonexistent
export LC_ALL=C.UTF-8 SPOOLGUARD_PRELOAD=$PRELOAD

# gives CODE COMMAND…: it must end with this exit code; standard output and error go to out and err.
gives() {
	local want=$1 got=0; shift
	"$@" >out 2>err || got=$?
	[ "$got" = "$want" ] || fail "$*: exit $got, expected $want: $(head -c 600 out err)"
}
# says TEXT: the last command said it on standard error.
says() { grep -qF -- "$1" err || fail "standard error lacks '$1': $(cat err)"; }
# json FILTER FILE: valid JSON, one document, schema 1, and the filter holds.
json() {
	[ "$(jq -s length "$2")" = 1 ] || fail "no one JSON document: $(head -c 300 "$2")"
	jq -e ".schema == 1 and ($1)" "$2" >/dev/null || fail "$1 does not hold: $(head -c 600 "$2")"
}
# Where nobody can read the test's binaries, a copy that everybody can.
for_nobody() {
	install -d -m 755 "$T/bin"; chmod 755 "$T"
	install -m 755 "$SG" "$T/bin/spoolguard"
	install -m 755 "$PRELOAD" "$T/bin/libspoolguard-preload.so"
	NOBODY=(setpriv --reuid 65534 --regid 65534 --clear-groups env -u SPOOLGUARD_PRELOAD -u XDG_RUNTIME_DIR)
}
need_python() { command -v python3 >/dev/null || skip "needs python3"; }
need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
# brokers_gone DIR: no broker is left in it.
brokers_gone() { ! compgen -G "$1/broker.*.sock" >/dev/null; }
