#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"

test_a_valid_policy_is_told_so() {
	printf '[/var/log/*.log]\nmode = group\n' >p
	gives 0 "$SG" policy check p; grep -q 'valid, 1 rule' out
	gives 0 "$SG" -j policy check p; json '.valid and .rules == 1 and .errors == []' out
	gives 0 "$SG" policy check - <p
	gives 0 "$SG" policy check --policy '/x:mode=group'
}
test_every_error_of_a_file_is_told() {
	printf '[/a]\nmode = fast\n[/b]\nmode = window\nmax_delay = 50\n[relative]\nmode = group\n[/c]\nnokey = 1\n' >p
	gives 1 "$SG" policy check p
	says 'p:2:'; says 'p:5:'; says 'p:9:'
	gives 1 "$SG" -j policy check p
	json '.valid == false and (.errors | length) >= 3 and .errors[0].line == 2' out
}
test_a_policy_that_cannot_be_read_is_an_io_error() {
	gives 4 "$SG" policy check missing; says 'missing: No such file'
	gives 4 "$SG" -j policy check missing; json '.error.code == 4' out
	gives 4 "$SG" policy check .; says 'directory'
	gives 2 "$SG" policy check p --policy '/x:mode=group'
}
test_hostile_policies_are_refused_not_obeyed() {
	head -c 300000 /dev/zero | tr '\0' 'x' >long; gives 1 "$SG" policy check long
	head -c 4096 /dev/urandom >noise; gives 1 "$SG" policy check noise
	printf '[/a]\nmode = gr\0up\n' >nul; gives 1 "$SG" policy check nul
	printf '[/a]\nmode = \033[31mgroup\n' >esc; gives 1 "$SG" policy check esc
	! grep -q $'\033' err || fail "an escape byte reached the terminal"
	gives 1 "$SG" -j policy check esc; json '.valid == false' out
	gives 0 "$SG" policy check /dev/null
}
test_show_tells_the_winning_rule_and_its_values() {
	printf '[/v/a.log]\nmode = group\n[/v/*]\nmode = window\nmax_delay = 20ms\n' >p
	gives 0 "$SG" policy show --policy-file p /v/a.log; grep -q '/v/a.log (.*line 1)' out
	gives 0 "$SG" -j policy show --policy-file p /v/b.log
	json '.mode == "window" and .rule.glob == "/v/*" and .rule.values.max_delay == {"value": "20ms", "given": true}
		and .rule.values.max_records.given == false' out
	gives 0 "$SG" -j policy show --policy-file p /w; json '.mode == "observe" and .rule == null' out
	gives 2 "$SG" policy show --policy-file p ''
}
test_show_resolves_links_as_the_shim_does() {
	mkdir real; ln -s real link; touch real/f
	gives 0 "$SG" -j policy show --policy "$T/real/*:mode=group" link/f; json '.mode == "group"' out
	gives 0 "$SG" -j policy show --policy "$T/real/*:mode=group" link/not-yet; json '.mode == "group"' out
}
test_the_environment_is_obeyed_in_the_order_of_the_shim() {
	printf '[/x]\nmode = ensure\n' >p
	SPOOLGUARD_CONF=$T/p gives 0 "$SG" -j policy show /x; json '.mode == "ensure"' out
	SPOOLGUARD_POLICY='/x:mode=group' SPOOLGUARD_CONF=$T/p gives 0 "$SG" -j policy show /x; json '.mode == "group"' out
	SPOOLGUARD_POLICY='/x:mode=group' gives 0 "$SG" -j policy show --policy '/x:mode=window' /x
	json '.mode == "window"' out
}
tap_main
