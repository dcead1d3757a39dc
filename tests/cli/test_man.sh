#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"
MAN=$TOP/docs/man

test_manual_pages_are_clean() {
	cd "$TOP/docs"
	mandoc -T lint -W warning man/*.[1357] >"$T/out" 2>&1 || fail "$(cat "$T/out")"
}
test_every_object_has_a_page_that_names_its_commands_and_options() {
	"$SG" -j help >all
	for o in $(jq -r '.objects[].name | select(. != "version" and . != "help")' all); do
		page=$MAN/spoolguard-${o/disable/enable}.1
		[ -e "$page" ] || fail "no $page"
		for c in $(jq -r --arg o "$o" '.objects[] | select(.name == $o) | .commands[].name // empty' all); do
			grep -qw -- "$c" "$page" || fail "$page lacks the command $c"
		done
		for w in $(jq -r --arg o "$o" '.objects[] | select(.name == $o) | .commands[].options[].name' all); do
			grep -q -- "Fl -$w" "$page" || fail "$page lacks --$w"
		done
		grep -q "spoolguard-$o 1\|Cm.* $o$" "$MAN/spoolguard.1" || fail "spoolguard.1 lacks $o"
	done
}
test_no_page_names_an_option_that_is_not_there() {
	"$SG" -j help >all
	for page in "$MAN"/spoolguard-*.1; do
		o=$(basename "$page" .1); o=${o#spoolguard-}
		for w in $(grep -o 'Fl -[a-z][a-z0-9-]*' "$page" | cut -c5- | sort -u); do
			jq -e --arg o "$o" --arg w "$w" '[.objects[] | select(.name == $o) | .commands[].options[].name] |
				index($w)' all >/dev/null || fail "$page: --$w"
		done
	done
}
test_help_names_a_page_that_exists() {
	for o in $("$SG" -j help | jq -r '.objects[].name'); do
		page=$("$SG" help "$o" | sed -n 's/.*Manual: \(.*\)(1)\.$/\1/p')
		[ -e "$MAN/$page.1" ] || fail "help $o names $page"
	done
}
tap_main
