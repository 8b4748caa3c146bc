"""The container of the component agent-mounts, as it is deployed, mounts into its node: once, and never over something else.
The lab's kernel has no NFS, so a tmpfs is mounted under the name of a server."""

import json

import lab
from lab import expect

NODE, NAME, NAMESPACE = "node1", "mount-pools", "drover-system"
EXTRA = "/var/lib/libvirt/extra/pool"
POOLS = f"default other:/elsewhere /var/lib/drover\nextra nas:/extra {EXTRA}\n"


def component():
    """The container and the volumes of it, from the manifests."""
    text = lab.kubectl("kustomize", lab.ROOT / "manifests" / "overlays" / "agent-mounts")
    documents = [d for d in text.split("\n---\n") if "\nkind: DaemonSet\n" in d]
    expect(len(documents) == 1, f"{len(documents)} DaemonSets")
    made = lab.run(lab.KUBECTL, "create", "--dry-run=client", "-o", "json", "-f", "-", stdin=documents[0]).stdout
    spec = json.loads(made)["spec"]["template"]["spec"]
    container = next(c for c in spec["containers"] if c["name"] == NAME)
    wanted = {m["name"] for m in container["volumeMounts"]}
    return container, [v for v in spec["volumes"] if v["name"] in wanted]


def mounts(path):
    """(source, type) of what lies at the path on the node, lowest first."""
    lines = [line.split() for line in lab.node_exec(NODE, "cat", "/proc/mounts").splitlines()]
    return [(words[0], words[2]) for words in lines if words[1] == path]


def start():
    container, volumes = component()
    container["args"].append("--type=tmpfs")
    for volume in volumes:
        volume["configMap"]["name"] = NAME
    lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {"pools": POOLS}})
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {
        "nodeName": NODE, "hostPID": True, "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}], "containers": [container], "volumes": volumes}})


def log():
    return lab.run(lab.KUBECTL, "logs", "-n", NAMESPACE, NAME, check=False).stdout


def mounted():
    before = mounts("/var/lib/drover")
    try:
        start()
        lab.wait_for(lambda: mounts(EXTRA), 60, "mounted")
        said = lab.wait_for(lambda: [line for line in log().splitlines() if "which stays" in line], 30, "told of the other mount", 0.5)
        lab.wait_for(lambda: [line for line in log().splitlines() if '"mounted"' in line and "nas:/extra" in line], 30, "told", 0.5)
        expect(mounts(EXTRA) == [("nas:/extra", "tmpfs")], f"{EXTRA}: {mounts(EXTRA)}")
        lab.kubectl("delete", "pod", "-n", NAMESPACE, NAME, "--timeout=60s")
        expect(mounts(EXTRA) == [("nas:/extra", "tmpfs")], "its end has unmounted the pool")
        expect(mounts("/var/lib/drover") == before, f"/var/lib/drover: {before}, then {mounts('/var/lib/drover')}")
    finally:
        lab.kubectl("delete", "pod,configmap", "-n", NAMESPACE, NAME, "--ignore-not-found", "--timeout=60s")
        lab.node_exec(NODE, "sh", "-c", f"umount {EXTRA}; rmdir -p {EXTRA}", check=False)
    return [json.loads(said[0])["msg"]]


def steps():
    return [("mount-pools: mounts, and never over something else", mounted)]
