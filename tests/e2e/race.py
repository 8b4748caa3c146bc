"""Fifty VMs made at once, for whom there is not room: no node is ever given more than it has, by one scheduler or by two
at the same time."""

import time

import lab
from guest import nodes, spec
from lab import at, expect

COUNT = 50
GI = 1 << 30
MEMORY = 5 * GI  # as much as makes a node take a few of them; a firmware that finds nothing to boot touches little of it
OVERHEAD = (96 << 20) + (8 << 20) + MEMORY // 512  # QEMU's own, docs/install.md
SETTLED_S = 5  # nothing has changed for so long
OTHER = {"drover.dev/scheduler": "default-scheduler"}


def room():
    """How many of them each node can take."""
    capacity = {h["metadata"]["name"]: at(h, "status.capacity") for h in lab.get("virtualmachinehosts", namespace="")}
    return {n: (c["memory"] - c["reservedMemory"]) // (MEMORY + OVERHEAD) for n, c in capacity.items()}


def vm(i, annotations):
    made = spec(f"race-{i}", memory={"guest": "5Gi"}, disks=[{"name": "data", "blank": {"size": "16Mi"}}])
    made["metadata"]["labels"]["race"] = "yes"
    made["metadata"]["annotations"] = annotations
    return made


def make(others):
    """others: how many of them go to the default scheduler whatever the webhook says."""
    lab.apply({"apiVersion": "v1", "kind": "List", "items": [vm(i, OTHER if i % COUNT < others else {}) for i in range(COUNT)]})


class Nodes:
    """Who is where, as each change of a VM says."""

    def __init__(self, limits):
        self.limits = limits
        self.owners, self.running = {}, set()

    def full(self):
        return len(self.running) == sum(self.limits.values())

    def seen(self, obj):
        """An event of a VM; true when it changes anything about who is where."""
        name, node = obj["metadata"]["name"], at(obj, "status.owner.node")
        before = self.owners.get(name), name in self.running
        if at(obj, "metadata.deletionTimestamp") or not node:  # a deleted one may have left already
            self.owners.pop(name, None)
            self.running.discard(name)
        else:
            self.owners[name] = node
            (self.running.add if at(obj, "status.phase") == "Running" else self.running.discard)(name)
        for node, limit in self.limits.items():
            has = sorted(n for n, o in self.owners.items() if o == node)
            expect(len(has) <= limit, f"{node} has room for {limit} and was given {has}")
        return before != (self.owners.get(name), name in self.running)


def follow(found, timeout):
    """Until every place is taken and then for some seconds more, in which nothing may change."""
    for _, obj in lab.events(timeout, "vm", "-l", "race=yes"):
        found.seen(obj)
        if found.full():
            break
    expect(found.full(), f"{len(found.running)} run where there is room for {found.limits}")
    for _, obj in lab.events(SETTLED_S, "vm", "-l", "race=yes"):
        expect(not found.seen(obj), f"{obj['metadata']['name']} has moved: {obj['status']}")


def in_libvirt(limits):
    for node, limit in limits.items():
        there = [d for d in lab.domains(node) if d.startswith("default_race-")]
        expect(len(there) == limit, f"{node} has room for {limit} and runs {there}")


def schedulers():
    return {p["metadata"]["name"]: p["spec"]["schedulerName"] for p in lab.get("pods", None, "-l", "drover.dev/vm")
            if p["metadata"]["name"].startswith("drover-vm-race-")}


def waiting():
    """What one that has no place is told."""
    for v in lab.get("vm", None, "-l", "race=yes"):
        if not at(v, "status.owner.node"):
            return v["metadata"]["name"]
    return None


def race(others, names):
    def step():
        limits = room()
        expect(set(limits) == set(nodes()) and COUNT > sum(limits.values()) > 0, f"room for {limits}")
        make(others)
        found, began = Nodes(limits), time.monotonic()
        follow(found, 240)
        took = time.monotonic() - began - SETTLED_S
        in_libvirt(limits)
        chose = list(schedulers().values())
        expect({n: chose.count(n) for n in set(chose)} == names, f"the pods' schedulers: {chose}")
        loser = waiting()
        pod = lab.get("pods", None, "-l", f"drover.dev/vm={loser}")[0]
        said = lab.wait_for(lambda: refusal(pod["metadata"]["name"]), 60, f"told why {loser} waits")
        winner = sorted(found.running)[0]
        lab.kubectl("delete", "vm", winner, "--timeout=60s")
        follow(Nodes(limits), 60)  # its place is taken
        in_libvirt(limits)
        return [f"{len(found.running)} of {COUNT} run, as many as there is room for: {limits}; all of them after {took:.1f} s", said]
    return step


def refusal(pod):
    said = next((at(c, "message", "") for c in at(lab.get("pod", pod), "status.conditions", []) if c["type"] == "PodScheduled"), "")
    return said if "memory" in said and "[rule" in said else None


def none_left():
    lab.kubectl("delete", "vm", "-l", "race=yes", "--wait=false")
    lab.wait_for(lambda: not lab.get("vm", None, "-l", "race=yes") and not schedulers(), 120, "gone", 0.5)
    for node in nodes():
        left = [d for d in lab.defined(node) if d.startswith("default_race-")]
        expect(not left, f"left on {node}: {left}")


def deploy(*components):
    """Until none of the webhook's pods is left that does as before."""
    before = [p["metadata"]["uid"] for p in webhook_pods()]
    lab.run(lab.ROOT / "scripts" / "deploy", *components, timeout=300)
    lab.wait_for(lambda: not any(p["metadata"]["uid"] in before for p in webhook_pods()), 60, "rid of the old webhooks", 0.5)


def webhook_pods():
    return lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-webhook", namespace="drover-system")


def second_scheduler():
    """As docs/install.md says, with the program that the lab's cluster runs."""
    deploy("second-scheduler")
    lease = lab.wait_for(lambda: at(lab.get("lease", "drover-scheduler", namespace="drover-system"), "spec.holderIdentity"),
                         30, "led by one of them")
    return [f"{lease} leads"]


def back():
    deploy()
    lab.kubectl("delete", "deployment,serviceaccount,poddisruptionbudget,role,rolebinding,lease", "drover-scheduler", "-n", "drover-system")
    lab.kubectl("delete", "clusterrolebinding", "drover-scheduler", "drover-scheduler-volumes")
    lab.kubectl("delete", "rolebinding", "drover-scheduler-authentication-reader", "-n", "kube-system")


def steps():
    return [(f"{COUNT} VMs at once", race(0, {"default-scheduler": COUNT})), ("they are deleted", none_left),
            ("a second kube-scheduler", second_scheduler),
            (f"{COUNT} VMs at once, two schedulers", race(COUNT // 2, {"default-scheduler": COUNT // 2, "drover-scheduler": COUNT // 2})),
            ("they are deleted as well", none_left), ("one scheduler again", back)]
