"""kube-scheduler with nodeCacheCapable: false: whole Nodes travel to the extender and back."""

import lab
from lab import at, expect


def scheduler(node_cache_capable):
    lab.run(lab.ROOT / "tests" / "cluster" / "scheduler", "with-extender", node_cache_capable)


def vm(name, bridge):
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"memory": {"guest": "128Mi"}, "disks": [{"name": "root", "blank": {"size": "16Mi"}}],
                     "networks": [{"name": "n", "bridge": bridge}]}}


def handle(name):
    pods = lab.get("pods", None, "-l", f"drover.dev/vm={name}")
    return pods[0] if pods else None


def refusal(name):
    """What the scheduler says of a pod that no node takes; every node that the extender refuses has a rule."""
    for c in at(handle(name) or {}, "status.conditions", []):
        if c["type"] == "PodScheduled" and "[rule 5 bridge]" in c.get("message", ""):
            return c["message"]
    return None


def whole_nodes():
    scheduler("false")
    try:
        lab.apply(vm("whole", "br0"))
        lab.apply(vm("nowhere", "br9"))
        pod = lab.wait_for(lambda: handle("whole"), 20, "made")["metadata"]["name"]
        bound = lab.watch("pod", pod, lambda p: p and at(p, "spec.nodeName"), 60, "bound")
        said = lab.wait_for(lambda: refusal("nowhere"), 60, "refused by the extender")
        for node in lab.get("nodes", namespace=""):
            name = node["metadata"]["name"]
            expect(f"{name}: it has no network bridge br9 [rule 5 bridge]" in said, f"{name} is not in: {said}")
    finally:
        scheduler("true")
        for name in ("whole", "nowhere"):
            lab.kubectl("delete", "vm", name, "--ignore-not-found", "--timeout=60s")
    return [f"{pod} bound to {at(bound, 'spec.nodeName')}", said]


def steps():
    return [("scheduler that sends whole Nodes", whole_nodes)]
