#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# What `make install` puts there is all that a user needs: the guide's examples are built from it, and run.
. "$(dirname "$0")/../lib/tap.sh"

P=/opt/spoolguard
installed() { make -s -C "$TOP" O="${O#"$TOP"/}" install DESTDIR="$T/root" PREFIX=$P >"$T/make.log" 2>&1 || fail "$(tail "$T/make.log")"; }
flags() { # as pkg-config gives them, of the tree where it lies now
	PKG_CONFIG_PATH=$T/root$P/lib/pkgconfig pkg-config --define-variable=prefix="$T/root$P" "$@" libspoolguard
}
# example LANGUAGE: the guide's code block in it.
example() { awk -v from="^\`\`\`$1\$" '$0 ~ from { f = 1; next } /^```$/ { f = 0 } f' "$TOP/docs/spool.md"; }
need() { command -v "$1" >/dev/null || skip "needs $1"; }

test_the_c_example_builds_and_prints_what_the_guide_says() {
	installed; example c >e.c; example text >want
	cc -std=c11 -Wall -Wextra -Wpedantic -Werror e.c $(flags --cflags --libs) -o e
	LD_LIBRARY_PATH=$T/root$P/lib ./e "$T/spool" >got; cmp want got
	LD_LIBRARY_PATH=$T/root$P/lib ./e "$T/spool" >got
	eq "$(tail -n 1 got)" '6: to be'; eq "$(wc -l <got)" 4
	LD_LIBRARY_PATH=$T/root$P/lib ldd e | grep -q "libspoolguard.so.0 => $T/root$P/lib/"
	"$T/root$P/bin/spoolguard" spool verify "$T/spool" | grep -q '6 records'
}
test_the_cpp_example_builds_and_runs() {
	need c++; installed; example cpp >e.cc
	c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror e.cc $(flags --cflags --libs) -o e
	eq "$(LD_LIBRARY_PATH=$T/root$P/lib ./e "$T/spool")" '1: hello from C++'
	eq "$(LD_LIBRARY_PATH=$T/root$P/lib ./e "$T/spool")" '2: hello from C++'
}
test_both_examples_link_the_static_library() {
	need c++; installed; example c >e.c; example cpp >e.cc; example text >want
	static=$(flags --static --libs | sed 's/-lspoolguard/-l:libspoolguard.a/')
	cc e.c $(flags --cflags) $static -o c-static
	c++ -std=c++17 e.cc $(flags --cflags) $static -o cc-static
	! ldd c-static cc-static | grep -q libspoolguard || fail "the shared library is used"
	./c-static "$T/spool" >got; cmp want got
	eq "$(./cc-static "$T/spool")" '4: hello from C++'
}
test_the_header_stands_alone_in_c_and_cpp() {
	installed; printf '#include <spoolguard/spool.h>\nint main(void) { return 0; }\n' >h.c; cp h.c h.cc
	cc -std=c99 -Wall -Wextra -Wpedantic -Werror -c h.c $(flags --cflags) -o h.o
	need c++; c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -c h.cc $(flags --cflags) -o h.oo
}
test_the_libraries_give_out_only_what_the_header_declares() {
	installed
	grep -o 'spool_[a-z_]*(' "$TOP/user/include/spoolguard/spool.h" | tr -d '(' | sort -u >mentioned
	nm -D --defined-only "$T/root$P/lib/libspoolguard.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >shared
	nm -g --defined-only "$T/root$P/lib/libspoolguard.a" | awk '$2 ~ /[A-Z]/ && NF == 3 { print $3 }' | sort >static
	[ -s shared ]; eq "$(comm -23 shared mentioned)" '' "not in the header"
	eq "$(cat static)" "$(cat shared)" "static and shared"
	# …and each function that the header declares is there.
	printf '#include <spoolguard/spool.h>\n' | cc -E -P - $(flags --cflags) | tr '\n' ' ' | tr ';' '\n' |
		grep -o ' \**spool_[a-z_]*(' | tr -d ' *(' | sort -u >declared
	eq "$(comm -23 declared shared)" '' "declared, and not there"
}
test_what_is_installed_has_its_names_and_modes() {
	installed; cd "$T/root$P"
	eq "$(readlink lib/libspoolguard.so)" libspoolguard.so.0
	readelf -d lib/libspoolguard.so.0 | grep -q 'SONAME.*libspoolguard.so.0'
	eq "$(stat -c %a include/spoolguard/spool.h)" 644; eq "$(stat -c %a lib/libspoolguard.a)" 644
	grep -q "^prefix=$P$" lib/pkgconfig/libspoolguard.pc
	for page in libspoolguard spool_open spool_append spool_reader spool_verify spool_mirror; do
		[ -s share/man/man3/$page.3 ] || fail "no $page.3"; done
	[ -s share/man/man1/spoolguard-spool.1 ]
}
test_each_call_has_a_manual_page() {
	installed; cd "$T/root$P/share/man/man3"
	for f in $(nm -D --defined-only "$T/root$P/lib/libspoolguard.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }'); do
		[ -s "$f.3" ] || fail "no manual page $f.3"
		{ cat "$f.3"; sed -n 's|^\.so man3/||p' "$f.3" | xargs -r cat; } | grep -q "Fn $f\|Fo $f\|Fn \"$f\|Fa .*$f" ||
			fail "$f.3 does not tell of $f"
	done
}
tap_main
