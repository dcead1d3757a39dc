# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
# Sourced by tests, after tests/lib/tap.sh: real loggers, bare or guarded, fed and checked alike.
#
#   logger_start KIND DIR [OPTION]…  start one with its files and socket in DIR (short: a socket's path is at most 107)
#       rsyslogd       sync="on"; OPTIONs are main_queue parameters, like 'queue.dequeueBatchSize="1"'
#       redis          appendfsync always; OPTIONs are redis-server's, like --appendfsync everysec
#       syslog_ng      fsync(yes); OPTIONs are options of file(), like 'flush-lines(1)': a burst's lines are synced
#                      in batches else
#       svlogd         a FIFO; never syncs but at rotation; OPTIONs are lines of its config
#       nginx          access log; a master and a worker; OPTIONs follow access_log's path and format
#     sets LOGGER_KIND, LOGGER_PID, LOGGER_DIR, LOGGER_TO (what send_lines sends to) and LOGGER_FILE (the spool file)
#   logger_send COUNT [RATE [PREFIX [BYTES]]]   number of lines, begin and end, once all are handed over
#   logger_wait COUNT [SECONDS]                 number of lines and time of the last, once all are in LOGGER_FILE
#   logger_intact COUNT [PREFIX]                fail unless each line is there, once, whole, in order
#   logger_stop [SIGNAL]                        by its pid; fails unless it ends with status 0 within 20 s
#   logger_tool PROGRAM…                        a tool of the loggers: "$REDIS_CLI", "$REDIS_CHECK_AOF", …
#   logger_each COMMAND…                        run COMMAND KIND for each
#
# GUARD, an array, goes before the logger's program: GUARD=("$SPOOLGUARD" run --policy "$policy" --). The process must
# stay the one that was started (run execs in place). Whatever a test leaves running is killed when it ends.
#   own_pins "$@"           first in a script: as root it goes on in a mount namespace where the observer's pins are its
#                           own, so that no other observer comes and goes meanwhile
#   own_observer "$@"       the same, and starts an observer that lasts until the script ends. Sets OBSERVED, empty when
#                           there is none
#   report_of FILE          waits for the report that `run --report=FILE` writes at the end
#   broker_of PID           pid of the broker of the guarded process PID
OBSERVED= OBSERVER_PID= OBSERVER_DIR=
own_pins() {
	[ "$(id -u)" = 0 ] || return 0
	if [ -z "${SG_OWN_PINS:-}" ]; then
		! unshare -m --propagation private true 2>/dev/null ||
			SG_OWN_PINS=1 exec unshare -m --propagation private "$BASH" "$0" "$@"
	else
		mount -t bpf -o mode=0700 bpf /sys/fs/bpf || echo "# no BPF file system: the observer's pins are shared"
	fi
}
own_observer() {
	own_pins "$@"
	[ "$(id -u)" = 0 ] || return 0
	OBSERVER_DIR=$(mktemp -d "${TMPDIR:-/tmp}/spoolguard-test.XXXXXX")
	trap own_observer_stop EXIT
	SPOOLGUARD_RUNTIME_DIR=$OBSERVER_DIR "$SPOOLGUARD" observe >/dev/null 2>"$OBSERVER_DIR/err" &
	OBSERVER_PID=$!
	wait_for 60 own_observer_settled
	if kill -0 $OBSERVER_PID 2>/dev/null; then OBSERVED=1; else echo "# no observer: $(cat "$OBSERVER_DIR/err")"; fi
}
own_observer_settled() {
	! kill -0 $OBSERVER_PID 2>/dev/null ||
		SPOOLGUARD_RUNTIME_DIR=$OBSERVER_DIR "$SPOOLGUARD" -j file show 2>/dev/null | jq -e .sources.observer >/dev/null
}
own_observer_stop() {
	kill "$OBSERVER_PID" 2>/dev/null
	wait "$OBSERVER_PID"
	rm -rf "$OBSERVER_DIR"
}
# By its title: the broker is a daemon.
broker_of() {
	local f
	f=$(grep -lsz "^spoolguard: broker of $1\$" /proc/[0-9]*/cmdline | head -n 1)
	f=${f#/proc/}
	echo "${f%%/*}"
}
report_of() { wait_for 20 test -s "$1" || fail "no report $1 after 20 s"; }

declare -p GUARD >/dev/null 2>&1 || GUARD=()
LOGGER_PID= LOGGER_KINDS="rsyslogd redis syslog_ng svlogd nginx"
SEND_LINES=$O/tests/loggers/send_lines WAIT_LINES=$O/tests/loggers/wait_lines
LOGGERS=${LOGGERS:-$TOP/build/loggers} # the same for every O

logger_start() {
	local kind=$1 dir=$2
	shift 2
	[ -e "$LOGGERS/.done" ] || skip "no loggers in $LOGGERS (make loggers)"
	. "$LOGGERS/env"
	[ "$BASH_SUBSHELL" != 1 ] || trap 'logger_kill; ! declare -F vm_clean >/dev/null || vm_clean' EXIT
	mkdir -p "$dir"
	LOGGER_KIND=$kind LOGGER_DIR=$(cd "$dir" && pwd)
	"logger_start_$kind" "$@"
	wait_for 20 logger_ready || { cat "$LOGGER_DIR/logger.out" >&2; fail "$kind did not start"; }
}
# The programs come unpacked, not installed: their libraries are named for them alone.
logger_run() {
	LD_LIBRARY_PATH=$LOGGER_LIB "${GUARD[@]}" "$@" </dev/null >"$LOGGER_DIR/logger.out" 2>&1 &
	LOGGER_PID=$!
}
# logger_tool PROGRAM…: one of the loggers' own tools, never guarded
logger_tool() { LD_LIBRARY_PATH=$LOGGER_LIB "$@"; }
logger_alive() { kill -0 "$LOGGER_PID" 2>/dev/null; }
logger_ready() {
	logger_alive || { cat "$LOGGER_DIR/logger.out" >&2; fail "$LOGGER_KIND ended at once"; }
	if [ "$LOGGER_KIND" = svlogd ]; then [ -e "$LOGGER_FILE" ]; else [ -e "${LOGGER_TO#*:}" ]; fi
}
logger_kill() {
	[ -n "$LOGGER_PID" ] || return 0
	kill -KILL "$LOGGER_PID" 2>/dev/null || :
	wait "$LOGGER_PID" 2>/dev/null || :
	LOGGER_PID=
}

logger_start_rsyslogd() {
	LOGGER_TO=$LOGGER_DIR/log.sock LOGGER_FILE=$LOGGER_DIR/out.log
	# A full queue makes the input wait, where the default would drop after two seconds.
	# The ruleset is the input's own: rsyslogd's messages about itself stay out of the file.
	cat >"$LOGGER_DIR/rsyslog.conf" <<-CONF
	global(workDirectory="$LOGGER_DIR")
	module(load="imuxsock" SysSock.Use="off")
	main_queue(queue.timeoutEnqueue="600000" $*)
	template(name="plain" type="string" string="%msg%\n")
	ruleset(name="lines") { action(type="omfile" file="$LOGGER_FILE" template="plain" sync="${RSYSLOG_SYNC:-on}") }
	input(type="imuxsock" Socket="$LOGGER_TO" RateLimit.Interval="0" ruleset="lines")
	CONF
	logger_run "$RSYSLOGD" -n -f "$LOGGER_DIR/rsyslog.conf" -i "$LOGGER_DIR/pid" -M "$RSYSLOG_MODDIR"
}

logger_start_redis() {
	LOGGER_TO=redis:$LOGGER_DIR/redis.sock LOGGER_FILE=$LOGGER_DIR/appendonlydir/appendonly.aof.1.incr.aof
	logger_run "$REDIS_SERVER" --port 0 --unixsocket "${LOGGER_TO#*:}" --dir "$LOGGER_DIR" --save "" \
		--appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0 "$@"
}

logger_start_syslog_ng() {
	LOGGER_TO=$LOGGER_DIR/log.sock LOGGER_FILE=$LOGGER_DIR/out.log
	cat >"$LOGGER_DIR/syslog-ng.conf" <<-CONF
	@version: 3.38
	options { stats-freq(0); };
	source s { unix-dgram("$LOGGER_TO"); };
	destination d { file("$LOGGER_FILE" fsync(yes) template("\$MESSAGE\n") log-fifo-size(100000) $*); };
	log { source(s); destination(d); flags(flow-control); };
	CONF
	logger_run "$SYSLOG_NG" --foreground --no-caps --module-path "$SYSLOG_NG_MODDIR" --cfgfile "$LOGGER_DIR/syslog-ng.conf" \
		--pidfile "$LOGGER_DIR/pid" --control "$LOGGER_DIR/control" --persist-file "$LOGGER_DIR/persist"
}

logger_start_svlogd() {
	LOGGER_TO=$LOGGER_DIR/fifo LOGGER_FILE=$LOGGER_DIR/log/current
	mkdir -p "$LOGGER_DIR/log"
	[ $# = 0 ] || printf '%s\n' "$@" >"$LOGGER_DIR/log/config"
	mkfifo "$LOGGER_TO"
	# Open for both, so that the end of one sender is not the end of the log.
	LD_LIBRARY_PATH=$LOGGER_LIB "${GUARD[@]}" "$SVLOGD" "$LOGGER_DIR/log" <>"$LOGGER_TO" >"$LOGGER_DIR/logger.out" 2>&1 &
	LOGGER_PID=$!
}

logger_start_nginx() {
	LOGGER_TO=http:$LOGGER_DIR/nginx.sock LOGGER_FILE=$LOGGER_DIR/out.log
	# The temporary folders would be made under /var. As root a worker changes to the user www-data.
	cat >"$LOGGER_DIR/nginx.conf" <<-CONF
	daemon off;
	pid $LOGGER_DIR/pid;
	worker_processes 1;
	events { worker_connections 64; }
	http {
		log_format plain '\$http_x_line';
		access_log $LOGGER_FILE plain $*;
		keepalive_requests 1000000000;
		client_body_temp_path $LOGGER_DIR/t1; proxy_temp_path $LOGGER_DIR/t2; fastcgi_temp_path $LOGGER_DIR/t3;
		uwsgi_temp_path $LOGGER_DIR/t4; scgi_temp_path $LOGGER_DIR/t5;
		server { listen unix:${LOGGER_TO#*:}; location / { return 204; } }
	}
	CONF
	logger_run "$NGINX" -p "$LOGGER_DIR" -c "$LOGGER_DIR/nginx.conf" -e stderr
}

logger_send() { "$SEND_LINES" "$LOGGER_TO" "$@"; }
# Each command of redis takes seven lines of its file, after two or three to choose the database.
logger_wait() {
	local lines=$1
	[ "$LOGGER_KIND" != redis ] || lines=$((lines * 7))
	"$WAIT_LINES" "$LOGGER_FILE" $lines "${2:-60}" "$LOGGER_PID"
}
logger_intact() {
	tr -d '\r' <"$LOGGER_FILE" | awk -v count="$1" -v prefix="${2:-line}" '
		index($0, prefix " ") {
			sub("^ *", "")
			if ($0 !~ "^" prefix " [0-9]+/[0-9]+ [.]+$") { print "torn: " $0; bad = 1; next }
			split($2, n, "/")
			if (seen[n[1]]++) { print "twice: " $0; bad = 1 }
			if (n[1] < last) { print "out of order, after " last ": " $0; bad = 1 }
			last = n[1]
			have++
		}
		END {
			for (i = 1; i <= count; i++) if (!seen[i]) { print "missing: " i; bad = 1; if (++missed == 10) break }
			if (have != count) { print have + 0 " lines, not " count; bad = 1 }
			exit bad
		}' >&2 || fail "$LOGGER_KIND: $LOGGER_FILE is not intact"
}
logger_gone() { ! logger_alive; }
logger_stop() {
	local status=0
	kill -"${1:-TERM}" "$LOGGER_PID"
	wait_for 20 logger_gone || fail "$LOGGER_KIND did not stop within 20 s"
	wait "$LOGGER_PID" || status=$?
	LOGGER_PID=
	[ $status = 0 ] || { cat "$LOGGER_DIR/logger.out" >&2; fail "$LOGGER_KIND ended with status $status"; }
}
logger_each() {
	local kind
	for kind in $LOGGER_KINDS; do "$@" "$kind"; done
}
