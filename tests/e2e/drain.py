"""A node with twenty small VMs is drained by a taint: so many moves at a time, the others in a queue, and it ends."""

import time

import lab
from guest import Guest, spec
from lab import at, expect

COUNT, REAL = 20, 2  # the others have a blank disk, and a firmware that looks for something to boot
HOME = "node1"
PER_NODE, TOTAL = 2, 5  # the migrator's defaults
TAINT = "maintenance=now:NoExecute"


def others():
    return [n["metadata"]["name"] for n in lab.get("nodes", namespace="") if n["metadata"]["name"] != HOME]


def small(name):
    vm = spec(name, memory={"guest": "64Mi"}, disks=[{"name": "data", "blank": {"size": "16Mi"}}])
    vm["metadata"]["labels"]["drained"] = "yes"
    return vm


def vms():
    return lab.get("virtualmachines", None, "-l", "drained=yes")


def under_way(migrations):
    """Those that hold a place: their target was asked for, and they have not ended."""
    return [m for m in migrations if at(m, "status.phase") not in (None, "Succeeded", "Failed", "Cancelled")
            and (at(m, "status.phase") != "Pending" or at(m, "status.source") and not at(m, "status.queuePosition"))]


class Drain:
    def __init__(self):
        self.real = []

    def make(self):
        """Everything is on one node, because the other nodes take nothing new for a while."""
        lab.kubectl("cordon", *others())
        try:
            for i in range(COUNT - REAL):
                lab.apply(small(f"small-{i}"))
            self.real = [Guest(f"drained-{i}", HOME) for i in range(REAL)]
            for g in self.real:
                lab.kubectl("label", "vm", g.name, "drained=yes")
                g.patch(nodeName=None)
            lab.wait_for(lambda: all(at(v, "status.phase") == "Running" and at(v, "status.owner.node") == HOME for v in vms()),
                         180, "running, all twenty", 1)
        finally:
            lab.kubectl("uncordon", *others())

    def drain(self):
        most, copies, last_in_queue, began = 0, 0, 0, time.monotonic()
        lab.kubectl("taint", "node", HOME, TAINT)
        try:
            while any(at(v, "status.owner.node") == HOME or at(v, "status.migration.name") for v in vms()):
                expect(time.monotonic() - began < 300, f"not drained within 300 s: {[at(v, 'status') for v in vms()]}")
                found = lab.get("virtualmachinemigrations")
                holding = under_way(found)
                copying = [m for m in holding if at(m, "status.phase") != "Pending"]
                inbound = {n: sum(at(m, "status.target") == n for m in copying) for n in others()}
                expect(len(holding) <= min(PER_NODE, TOTAL), f"{len(holding)} moves out of {HOME} at a time")
                expect(all(n <= PER_NODE for n in inbound.values()), f"moves into a node: {inbound}")
                most, copies = max(most, len(holding)), max(copies, len(copying))
                last_in_queue = max([last_in_queue] + [at(m, "status.queuePosition", 0) for m in found if at(m, "status.phase") == "Pending"])
            took = time.monotonic() - began
            expect(most == PER_NODE, f"never more than {most} moves at a time")
            expect(last_in_queue >= COUNT - REAL - PER_NODE, f"the last one in the queue had the position {last_in_queue}")
            for g in self.real:
                g.settled(g.node())
            ends = [(at(v, "metadata.name"), at(m, "status.phase")) for v in vms() for m in lab.get("virtualmachinemigrations")
                    if at(m, "spec.vm") == at(v, "metadata.name") and at(m, "status.source") == HOME]
            expect(len(ends) == COUNT and all(phase == "Succeeded" for _, phase in ends), f"the migrations: {ends}")
            left = [d for d in lab.domains(HOME) if d.startswith(("default_small-", "default_drained-"))]
            expect(not left, f"left on {HOME}: {left}")
        finally:
            lab.kubectl("taint", "node", HOME, TAINT + "-")
        return [f"{COUNT} VMs left {HOME} in {took:.1f} s, {most} at a time, {copies} beyond Pending; the last one was number {last_in_queue} in the queue"]

    def end(self):
        lab.kubectl("delete", "vm", "-l", "drained=yes", "--timeout=180s")
        lab.wait_for(lambda: not lab.get("pods", None, "-l", "drover.dev/vm"), 60, "gone")


def steps():
    d = Drain()
    return [("drain: twenty VMs on one node", d.make), ("drain: by a taint, so many at a time", d.drain), ("drain: all gone", d.end)]
