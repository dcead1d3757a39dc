# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced. Downloads Debian packages and unpacks them in a folder: nothing is installed, no maintainer
# script runs, no service starts, and apt's own state under /var is only read. Needs no root.
#
#   debs_init DIR              DIR holds apt's scratch files; call it first
#   debs_depends PACKAGE       what a (meta) package depends on, one name a line
#   debs_unpack ROOT PACKAGE…  those packages and the dependencies that this machine lacks, under ROOT
#   debs_unpack_only ROOT PACKAGE…  without dependencies
#
# Each returns 1 after an explanation on stderr. apt's package lists are used as they are; if they are
# missing, or so old that the files they name are gone, fresh ones are fetched into DIR, once.

debs_init() {
	local tool
	for tool in apt-get apt-cache dpkg-deb; do
		command -v $tool >/dev/null || { echo "$0: needs $tool, so a Debian machine" >&2; return 1; }
	done
	DEBS=$1
	mkdir -p "$DEBS/cache/archives/partial" || return 1
	DEBS_REFRESHED=
	debs_options
}

# The lock is apt's only reason to want root for a download into a folder of one's own.
debs_options() {
	APT=(-q -o Debug::NoLocking=1 -o APT::Install-Recommends=0 -o Dir::Cache="$DEBS/cache"
	     -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30)
	[ ! -e "$DEBS/state/lists" ] || APT+=(-o Dir::State::lists="$DEBS/state/lists")
}

debs_refresh() {
	[ -z "$DEBS_REFRESHED" ] || return 1
	DEBS_REFRESHED=1
	mkdir -p "$DEBS/state/lists/partial" || return 1
	debs_options
	apt-get "${APT[@]}" update >>"$DEBS/log" 2>&1 </dev/null
}

# debs_try COMMAND…: once with the lists at hand, once more with fresh ones; the log only on failure.
debs_try() {
	: >"$DEBS/log"
	"$@" && return
	debs_refresh && "$@" && return
	grep -E '^(E|W|Err):?' "$DEBS/log" | sort -u | tail -n 12 >&2
	echo "$0: could not fetch: ${*:2}" >&2
	return 1
}

debs_depends() { debs_try debs_ask_depends "$1"; }
debs_ask_depends() {
	local out
	out=$(apt-cache "${APT[@]}" depends "$1" 2>>"$DEBS/log" | awk '$1 == "Depends:" { print $2 }')
	[ -n "$out" ] && echo "$out"
}

debs_unpack() { local root=$1; shift; debs_try debs_download_all "$@" && debs_extract "$root"; }
debs_unpack_only() { local root=$1; shift; debs_try debs_download_only "$@" && debs_extract "$root"; }

# --reinstall: fetch the wanted packages also where the machine has them; only libraries are taken from it.
debs_download_all() {
	rm -f "$DEBS"/cache/archives/*.deb
	apt-get "${APT[@]}" install -y --reinstall --download-only "$@" >>"$DEBS/log" 2>&1 </dev/null
}

debs_download_only() {
	rm -f "$DEBS"/cache/archives/*.deb
	( cd "$DEBS/cache/archives" && apt-get "${APT[@]}" download "$@" ) >>"$DEBS/log" 2>&1 </dev/null
}

debs_extract() {
	local root=$1 deb
	mkdir -p "$root" || return 1
	for deb in "$DEBS"/cache/archives/*.deb; do
		[ -e "$deb" ] || { echo "$0: apt downloaded nothing for $root" >&2; return 1; }
		dpkg-deb -x "$deb" "$root" || return 1
	done
	rm -f "$DEBS"/cache/archives/*.deb
}
