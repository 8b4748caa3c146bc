# Shared by the scripts of the lab. Source it from the top of the tree.
# shellcheck shell=bash
VERSION=v1.36.3
CACHE=${DROVER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drover}
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=$TOP/build/lab
BIN=$LAB/bin
PKI=$LAB/pki
export PATH=$PATH:/usr/sbin:/sbin

# Addresses: the lab's bridge on the host is 10.99.0.1, the control plane (a namespace of its own)
# 10.99.0.2, node N 10.99.0.(10+N) with its pods in 10.88.N.0/24; guests get 10.99.1.x by DHCP.
BRIDGE=drover0
HOST_IP=10.99.0.1
CONTROL_IP=10.99.0.2
CONTROL_NS=drover-control
SERVICE_CIDR=10.96.0.0/16
API_IP=10.96.0.1           # ClusterIP of the kubernetes Service
node_ip() { echo "10.99.0.$((10 + $1))"; }

say() { printf '%7.1f s  %s\n' "$(bc_seconds)" "$*"; }
bc_seconds() { awk -v n="$(date +%s.%N)" -v s="${LAB_STARTED:-$(date +%s.%N)}" 'BEGIN { print n - s }'; }
die() {
	echo "$0: $*" >&2
	exit 1
}
as_root() { # re-executes the calling script by sudo when we are not root: namespaces and bridges need it
	[ "$(id -u)" -eq 0 ] || exec sudo -E "$@"
}

# A process that we start is recorded in FILE as its pid and its start time, so that a later run never
# ends a stranger that got the same pid.
start_time() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null; }
record() { # record FILE PID
	mkdir -p "$(dirname "$1")"
	echo "$2" >"$1"
	start_time "$2" >"$1.start"
}
alive() { # alive FILE: is the recorded process still there?
	local pid
	pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(start_time "$pid")" = "$(cat "$1.start" 2>/dev/null)" ]
}
end() { # end FILE [SIGNAL]: ends the recorded process, by force after five seconds
	local pid i
	if alive "$1"; then
		pid=$(cat "$1")
		kill -"${2:-TERM}" "$pid" 2>/dev/null
		kill -CONT "$pid" 2>/dev/null
		for ((i = 0; i < 100; i++)); do
			alive "$1" || break
			[ "$i" -eq 50 ] && kill -KILL "$pid" 2>/dev/null
			sleep 0.05
		done
	fi
	rm -f "$1" "$1.start"
}
wait_until() { # wait_until SECONDS WHAT COMMAND... : asks often, until it says yes
	local limit=$1 what=$2 began=$SECONDS
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $((SECONDS - began)) -lt "$limit" ] || die "not $what within $limit s"
		sleep 0.1
	done
}
