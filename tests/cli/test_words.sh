#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
. "$(dirname "$0")/lib.sh"

test_objects_and_commands_may_be_shortened() {
	gives 0 "$SG" v
	gives 0 "$SG" pol sh /x --policy '/x:mode=group'
	gives 0 "$SG" p s /x --policy '/x:mode=group'
	gives 0 "$SG" h
}
test_an_ambiguous_word_is_refused_with_the_choices() {
	gives 2 "$SG" f show; says 'object "f" is ambiguous: file, feature'
	gives 2 "$SG" d; says 'disable, device'
	gives 2 "$SG" -j s
	json '.error.kind == "usage" and .error.code == 2' out
}
test_an_unknown_word_is_refused_with_the_choices() {
	gives 2 "$SG" nonsense; says 'unknown object "nonsense"'
	gives 2 "$SG" file nonsense; says 'there are show, latency, top, events'
	gives 2 "$SG" policy; says 'needs a command'
	gives 2 "$SG" ''; says 'unknown object ""'
	gives 2 "$SG"; says 'no object is named'
}
test_bad_options_are_refused_by_name() {
	gives 2 "$SG" --bogus; says --bogus
	gives 2 "$SG" file show --bogus; says --bogus
	gives 2 "$SG" file show -x; says -x
	gives 2 "$SG" run --policy; says 'option --policy needs a value'
	gives 2 "$SG" device latency; says 'needs DEV'
	gives 2 "$SG" file show a b; says 'one word too many: b'
	gives 2 "$SG" version x
	gives 2 "$SG" observe --duration 5; says 'a time needs a unit'
	gives 2 "$SG" observe --duration 0s
	gives 2 "$SG" observe --pid abc; says 'no process number'
	gives 2 "$SG" file top --interval never
}
test_errors_are_json_wherever_the_option_stands() {
	for words in '-j file nonsense' 'file nonsense -j' 'file show --bogus -j' '-p nope' 'session show x --json' '-j' \
		'-j device latency' 'policy check -j'; do
		gives 2 "$SG" $words
		json '.error.code == 2 and (.error.message | length) > 0' out
		eq "$(cat err)" "" "standard error of $words"
	done
}
test_control_bytes_in_words_are_not_printed() {
	gives 2 "$SG" $'bad\e[31mword\n'; says 'bad\x1b[31mword\x0a'
	gives 2 "$SG" -j $'bad\xff'
	json '.error.message | contains("\\xff")' out
}
test_version_and_help_need_nothing() {
	gives 0 "$SG" -V; grep -q '^spoolguard [0-9]' out
	gives 0 "$SG" --version; gives 0 "$SG" -j version; json '.version | test("^[0-9]+\\.")' out
	gives 0 "$SG" -h; gives 0 "$SG" help file; grep -q 'spoolguard file latency' out
	gives 0 "$SG" file help; gives 0 "$SG" file --help; gives 0 "$SG" file show -h; gives 0 "$SG" run -h
	gives 2 "$SG" help nonsense
}
test_help_tells_every_option_of_every_command() {
	gives 0 "$SG" -j help; json '.objects | length >= 12' out
	mv out all
	for o in $(jq -r '.objects[].name' all); do
		gives 0 "$SG" help "$o"
		for word in $(jq -r --arg o "$o" '.objects[] | select(.name == $o) | .commands[].options[].name' all); do
			grep -q -- "--$word" out || fail "help $o lacks --$word"
		done
	done
}
test_output_that_does_not_arrive_is_an_error() {
	rc=0; "$SG" help >/dev/full 2>err || rc=$?
	eq $rc 4 "exit code"; says 'standard output'
	rc=0; "$SG" -j policy show /x --policy '/x:mode=group' >/dev/full 2>err || rc=$?
	eq $rc 4 "exit code"
}
# What completion offers is what the tables have, no more and no less.
offers() {
	( . "$TOP/completion/spoolguard"
	  COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
	  SPOOLGUARD=$SG _spoolguard; printf '%s\n' "${COMPREPLY[@]}" ) | sed 's/ $//' | grep -v '^$' | sort
}
test_completion_offers_exactly_the_objects_and_commands() {
	"$SG" -j help >all
	eq "$(offers spoolguard '')" "$(jq -r '.objects[].name' all | sort)" objects
	for o in $(jq -r '.objects[] | select(.commands[0].name != null) | .name' all); do
		eq "$(offers spoolguard "$o" '')" \
			"$( (jq -r --arg o "$o" '.objects[] | select(.name == $o) | .commands[].name' all; echo help) | sort)" "$o"
	done
}
test_completion_offers_exactly_the_options() {
	"$SG" -j help >all
	jq -r '.objects[] | .name as $o | .commands[] | "\($o) \(.name // "")"' all | while read -r o c; do
		eq "$(offers spoolguard $o $c --)" "$( (jq -r --arg o "$o" --arg c "$c" '.objects[] | select(.name == $o) |
			.commands[] | select((.name // "") == $c) | .options[] | "--" + .name' all
			printf '%s\n' --json --pretty --help) | sort)" "options of $o $c"
	done
}
test_completion_follows_shortened_words() {
	eq "$(offers spoolguard -j po ch --pol)" --policy
	eq "$(offers spoolguard po s)" show
	eq "$(offers spoolguard ru --pol)" "--policy
--policy-file"
}
tap_main
