# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced. One process whose system calls a test makes one by one, through the helper fdsh (its commands
# stand atop fdsh.c). GUARD, an array, goes before it: GUARD=("$SPOOLGUARD" run --policy … --).
#
#   fdsh_start           start it (FDSH_PID)
#   fd COMMAND…          run one command: FD_RET is its value or the errno's name, FD_US its duration
#   fd_is RET COMMAND…   and fail the test unless FD_RET is RET
#   fd_send COMMAND…     begin one without waiting; fd_wait collects it
#   fdsh_stop            let it close its files and exit
declare -p GUARD >/dev/null 2>&1 || GUARD=()

fdsh_start() {
	coproc FDSH { exec "${GUARD[@]}" "$O/tests/vm/fdsh"; }
	# The names that bash makes vanish when the process ends: keep our own.
	exec {FDSH_IN}>&"${FDSH[1]}" {FDSH_OUT}<&"${FDSH[0]}" {FDSH[1]}>&-
}
fd_send() { echo "$*" >&"$FDSH_IN"; }
fd_wait() {
	read -r -t "${FD_LIMIT:-60}" -u "$FDSH_OUT" _ _ _ FD_RET FD_US || fail "fdsh gave no answer"
}
fd() { fd_send "$@"; fd_wait; }
fd_is() { local want=$1; shift; fd "$@"; eq "$FD_RET" "$want" "$*"; }
fdsh_stop() {
	exec {FDSH_IN}>&-
	wait "$FDSH_PID"
}
