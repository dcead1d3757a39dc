#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# enable and disable on a made-up system below $T/r; nothing of this machine's is touched.
. "$(dirname "$0")/lib.sh"

# unit NAME LINE…: a unit file in the made-up system
unit() {
	local name=$1; shift
	mkdir -p r/usr/lib/systemd/system
	printf '%s\n' '[Unit]' 'Description=x' '[Service]' "$@" '[Install]' >"r/usr/lib/systemd/system/$name.service"
}
program() { # a dynamic program below r
	mkdir -p "r$(dirname "$1")"; cp /bin/true "r$1"
}
conf() { echo "r/etc/systemd/system/$1.service.d/spoolguard.conf"; }
enable() { "$SG" enable --root "$T/r" "$@"; }

test_it_puts_run_before_the_program() {
	program /usr/sbin/logger; unit lg 'Type=notify' 'ExecStart=/usr/sbin/logger -n $OPTS %i'
	gives 0 enable lg; grep -q 'daemon-reload' out
	grep -qx "ExecStart=" "$(conf lg)"
	grep -qx "ExecStart=$(realpath "$SG") run --no-observe -- /usr/sbin/logger -n \$OPTS %i" "$(conf lg)"
	grep -qx 'RuntimeDirectory=spoolguard-%N' "$(conf lg)"
	grep -q '^# Made by spoolguard enable' "$(conf lg)"
	eq "$(stat -c %a "$(conf lg)")" 644
}
test_enabling_twice_does_not_wrap_twice() {
	program /usr/sbin/logger; unit lg 'ExecStart=/usr/sbin/logger'
	gives 0 enable lg; cp "$(conf lg)" first
	gives 0 enable lg.service; cmp first "$(conf lg)"
}
test_drop_ins_prefixes_and_continued_lines_count() {
	program /bin/a; program /bin/b
	unit lg 'ExecStart=/bin/a' '# ExecStart=/bin/comment'
	mkdir -p r/etc/systemd/system/lg.service.d
	printf '[Service]\nExecStart=\nExecStart=-/bin/b one \\\n  two\n' >r/etc/systemd/system/lg.service.d/10-x.conf
	gives 0 enable lg
	eq "$(grep -c ^ExecStart= "$(conf lg)")" 2
	grep -q "^ExecStart=-$(realpath "$SG") run --no-observe -- /bin/b one *two$" "$(conf lg)"
}
test_dry_run_prints_and_writes_nothing() {
	program /bin/a; unit lg 'ExecStart=/bin/a'
	gives 0 enable --dry-run lg; grep -q '^ExecStart=.*-- /bin/a$' out
	[ ! -e r/etc ] || fail "something was written"
	gives 0 "$SG" -j enable --root "$T/r" --dry-run lg
	json '.written == false and (.content | contains("-- /bin/a"))' out
}
test_json() {
	program /bin/a; unit lg 'ExecStart=/bin/a'
	gives 0 "$SG" -j enable --root "$T/r" lg; json '.written and .unit == "lg.service" and .reload_needed' out
	gives 0 "$SG" -j disable --root "$T/r" lg; json '.unit == "lg.service"' out
	gives 4 "$SG" -j disable --root "$T/r" lg; json '.error.code == 4' out
}
test_the_policy_is_checked_and_quoted() {
	program /bin/a; unit lg 'ExecStart=/bin/a'
	gives 2 enable --policy '/x:mode=fast' lg; [ ! -e "$(conf lg)" ]
	gives 0 enable --policy '/x%y"z:mode=group' lg
	grep -qxF 'Environment="SPOOLGUARD_POLICY=/x%%y\"z:mode=group"' "$(conf lg)"
	printf '[/x]\nmode = group\n' >p.conf
	gives 0 enable --policy-file p.conf lg
	grep -qF -- "--policy-file \"$T/p.conf\" --" "$(conf lg)"
	gives 4 enable --policy-file none.conf lg
}
test_what_cannot_be_guarded_is_refused() {
	program /bin/a
	echo 'int main(void) { return 0; }' >s.c; gcc -static -o r/bin/static s.c
	unit st 'ExecStart=/bin/static'; gives 3 enable st; says 'linked statically'
	unit at 'ExecStart=@/bin/a other'; gives 3 enable at; says 'prefix @'
	unit aa 'ExecStart=/bin/a' 'AppArmorProfile=x'; gives 3 enable aa; says AppArmorProfile
	unit rd 'ExecStart=/bin/a' 'RootDirectory=/srv'; gives 3 enable rd; says '/srv'
	unit sc 'ExecStart=/bin/a' 'SystemCallFilter=read write'; gives 3 enable sc; says SystemCallFilter
	unit no 'User=x'; gives 3 enable no; says 'no ExecStart'
	gives 3 "$SG" -j enable --root "$T/r" st; json '.error.kind == "denied"' out
	gives 0 enable --force st; [ -e "$(conf st)" ]
}
test_what_may_go_wrong_is_warned_of() {
	program /bin/a; mkdir -p r/etc/apparmor.d; echo x >r/etc/apparmor.d/bin.a
	unit w 'ExecStart=/bin/a' 'Type=forking' 'Environment=LD_PRELOAD=/x.so' 'RestrictAddressFamilies=AF_INET' \
		'SystemCallFilter=@system-service' 'ProtectSystem=strict'
	gives 0 enable w; says /etc/apparmor.d/bin.a; says PIDFile; says 'preloads something'; says AF_UNIX
}
test_unknown_units_and_names() {
	mkdir r
	gives 4 enable nosuch; says 'no such unit'
	gives 2 enable '../evil'; says 'no name of a unit'
	gives 2 enable 'a b'; gives 2 enable ''; gives 2 enable -- -x; gives 2 enable 'a;b'
	gives 2 "$SG" enable; gives 2 "$SG" disable
}
test_an_instance_of_a_template() {
	program /bin/a; unit 't@' 'ExecStart=/bin/a %i'
	gives 0 enable 't@one'; [ -e "$(conf 't@one')" ]
}
test_disable_removes_only_what_enable_made() {
	program /bin/a; unit lg 'ExecStart=/bin/a'
	gives 4 "$SG" disable --root "$T/r" lg; says 'is not enabled'
	gives 0 enable lg; gives 0 "$SG" disable --root "$T/r" lg
	[ ! -e r/etc/systemd/system/lg.service.d ] || fail "the folder stayed"
	mkdir -p r/etc/systemd/system/lg.service.d; echo '[Service]' >"$(conf lg)"
	gives 4 "$SG" disable --root "$T/r" lg; says 'not made by spoolguard'
	gives 4 enable lg; says 'not made by spoolguard'
	eq "$(cat "$(conf lg)")" '[Service]'
}
test_without_permission_it_says_so() {
	need_root; for_nobody; program /bin/a; unit lg 'ExecStart=/bin/a'
	gives 3 "${NOBODY[@]}" "$T/bin/spoolguard" enable --root "$T/r" lg; says 'Run this as root'
}
tap_main
