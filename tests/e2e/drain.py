"""Nodes with twenty small VMs are drained, by a taint and by kubectl: so many moves at a time, the others in a queue, and
it ends."""

import subprocess
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
    """Those that hold a place, and have not ended."""
    return [m for m in migrations if at(m, "status.phase") not in (None, "Succeeded", "Failed", "Cancelled")
            and (at(m, "status.permit") or at(m, "status.phase") not in ("Pending", "Scheduled", "Preflight"))]


class Drain:
    def __init__(self):
        self.real = []

    def make(self):
        """Everything is on one node, because the other nodes take nothing new for a while."""
        lab.guest_image()
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
            left = [d for d in lab.defined(HOME) if d.startswith(("default_small-", "default_drained-"))]
            expect(not left, f"left on {HOME}: {left}")
        finally:
            lab.kubectl("taint", "node", HOME, TAINT + "-")
        return [f"{COUNT} VMs left {HOME} in {took:.1f} s, {most} at a time, {copies} beyond Pending; the last one was number {last_in_queue} in the queue"]

    def _busiest(self):
        owners = [at(v, "status.owner.node") for v in vms()]
        return max(others() + [HOME], key=owners.count)

    def _names(self):
        return {m["metadata"]["name"] for m in lab.get("virtualmachinemigrations")}

    def _at_rest(self, timeout=120):
        lab.wait_for(lambda: not any(at(v, "status.migration.name") for v in vms()), timeout, "all at rest", 0.5)

    def dry_run(self):
        node, before = self._busiest(), self._names()
        said = lab.run(lab.KUBECTL, "drain", node, "--ignore-daemonsets", "--dry-run=server").stderr
        expect("is asked to leave" in said, f"the dry run says: {said}")
        expect(self._names() == before, "a dry run has begun migrations")

    def never(self):
        """At once, instead of trying again for ever."""
        vm = next(v for v in vms() if v["metadata"]["name"].startswith("small-"))
        name, node = vm["metadata"]["name"], at(vm, "status.owner.node")
        lab.patch("vm", name, {"spec": {"evictionStrategy": "None"}})
        try:
            began = time.monotonic()
            done = lab.run(lab.KUBECTL, "drain", node, "--pod-selector", f"drover.dev/vm={name}", check=False)
            expect(done.returncode and "evictionStrategy None" in done.stderr and time.monotonic() - began < 10,
                   f"exit {done.returncode}: {done.stderr}")
        finally:
            lab.kubectl("uncordon", node)
            lab.patch("vm", name, {"spec": {"evictionStrategy": "LiveMigrate"}})
        expect(at(lab.get("vm", name), "status.owner.node") == node, "it has moved all the same")

    def by_kubectl(self):
        node, began = self._busiest(), time.monotonic()
        there = [v["metadata"]["name"] for v in vms() if at(v, "status.owner.node") == node]
        try:
            said = lab.run(lab.KUBECTL, "drain", node, "--ignore-daemonsets", timeout=400).stderr
            took = time.monotonic() - began
            for v in vms():
                expect(at(v, "status.phase") == "Running" and at(v, "status.owner.node") != node, f"{v['metadata']['name']}: {v['status']}")
            expect("is asked to leave" in said, f"the drain says: {said}")
            for g in self.real:
                g.settled(g.node())
            left = [d for d in lab.defined(node) if d.startswith(("default_small-", "default_drained-"))]
            expect(not left, f"left on {node}: {left}")
        finally:
            lab.kubectl("uncordon", node)
        return [f"{len(there)} VMs left {node} in {took:.1f} s; the drain was told {said.count('429') + said.count('will retry')} times to come back",
                next((line for line in said.splitlines() if "is leaving" in line), "")]

    def called_off(self):
        """The drain is ended and the node uncordoned while some copy and others wait."""
        node, before = self._busiest(), self._names()

        def ours():
            return [m for m in lab.get("virtualmachinemigrations") if m["metadata"]["name"] not in before]
        drain = subprocess.Popen([str(lab.KUBECTL), "drain", node, "--ignore-daemonsets", "--pod-selector", "drover.dev/vm"], env=lab.ENV,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            lab.wait_for(lambda: {"Copying", "Pending"} <= {at(m, "status.phase") for m in ours()}, 60, "some copying and others waiting")
        finally:
            drain.kill()
            drain.wait()
            lab.kubectl("uncordon", node)
        self._at_rest()
        off = [m for m in ours() if at(m, "status.phase") == "Cancelled"]
        expect(off and all("schedulable again" in at(m, "status.message", "") for m in off), f"{[at(m, 'status') for m in ours()]}")
        expect(all(at(m, "status.phase") in ("Succeeded", "Cancelled") for m in ours()), f"{[at(m, 'status.phase') for m in ours()]}")
        return [f"{len(off)} called off, {len(ours()) - len(off)} completed"]

    def end(self):
        lab.kubectl("delete", "vm", "-l", "drained=yes", "--timeout=180s")
        lab.wait_for(lambda: not lab.get("pods", None, "-l", "drover.dev/vm"), 60, "gone")


def steps():
    d = Drain()
    return [("drain: twenty VMs on one node", d.make), ("drain: by a taint, so many at a time", d.drain),
            ("drain: a dry run starts nothing", d.dry_run), ("drain: evictionStrategy None says so at once", d.never),
            ("drain: uncordoned halfway", d.called_off), ("drain: by kubectl drain", d.by_kubectl), ("drain: all gone", d.end)]
