# What the programs of a node are told, of either kind of lab: functions that write it, sourced by node-start, which has
# sourced lib.sh and set run to a folder of the node's own.
# shellcheck shell=bash disable=SC2154

configure_libvirt() { # configure_libvirt N : certificates, libvirtd and the QEMUs that it starts
	"$TOP/tests/lab/libvirt-pki" "node$1"
	[ -f "$run/host-uuid" ] || cat /proc/sys/kernel/random/uuid >"$run/host-uuid"
	cat >/etc/libvirt/libvirtd.conf <<-C
		listen_tls = 1
		listen_tcp = 0
		listen_addr = "$(node_ip "$1")"
		auth_unix_rw = "none"
		auth_unix_ro = "none"
		host_uuid = "$(cat "$run/host-uuid")"
	C
	cat >/etc/libvirt/qemu.conf <<-C
		user = "root"
		group = "root"
		security_driver = "none"
		stdio_handler = "file"
		cgroup_controllers = []
		namespaces = []
		remember_owner = 0
		migration_address = "$(node_ip "$1")"
		default_tls_x509_cert_dir = "/etc/pki/qemu"
		migrate_tls_x509_verify = 1
	C
}

configure_pods() { # configure_pods N : their network and containerd
	cat >/etc/cni/net.d/10-lab.conflist <<-J
		{"cniVersion":"0.4.0","name":"lab","plugins":[{"type":"ptp","ipam":{"type":"host-local","subnet":"$PODS.$1.0/24","routes":[{"dst":"0.0.0.0/0"}]}}]}
	J
	cat >"$run/containerd.toml" <<-C
		version = 2
		root = "$run/containerd"
		state = "/run/containerd/state"
		[grpc]
		 address = "/run/containerd/containerd.sock"
		[plugins."io.containerd.grpc.v1.cri"]
		 sandbox_image = "drover/pause:dev"
		 restrict_oom_score_adj = true
		 disable_apparmor = true
		 [plugins."io.containerd.grpc.v1.cri".cni]
		  bin_dir = "/usr/lib/cni"
		  conf_dir = "/etc/cni/net.d"
		 [plugins."io.containerd.grpc.v1.cri".containerd]
		  snapshotter = "overlayfs"
	C
}

configure_kubelet() { # configure_kubelet N CGROUP : kubelet, whose pods are below CGROUP, and kube-proxy
	cat >"$run/kubelet.yaml" <<-C
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		failCgroupV1: false
		cgroupDriver: cgroupfs
		cgroupRoot: $2
		enforceNodeAllocatable: [pods]
		failSwapOn: false
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $PKI/ca.crt}}
		authorization: {mode: AlwaysAllow}
		localStorageCapacityIsolation: false
		imageGCHighThresholdPercent: 100
		evictionHard: {memory.available: 50Mi}
		nodeStatusUpdateFrequency: $((${GRACE%s} / 5))s
		oomScoreAdj: 0
	C
	sed "s|KUBECONFIG|$PKI/proxy.kubeconfig|; s|NODE|node$1|" "$TOP/tests/cluster/kube-proxy.yaml" >"$run/kube-proxy.yaml"
}
