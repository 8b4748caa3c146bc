"""The main job, told once: `demo` shows it, `run` counts it. A step returns the lines worth reading, or yields them as they
come true."""

import concurrent.futures
import json
import queue
import time

import lab
from lab import at, condition, expect, get

DEMO = (lab.ROOT / "examples" / "demo.yaml").read_text()
NAMESPACE = "default"
# A single move shares two cores with all of Kubernetes, so one figure says little: the target is for the median of
# many (moves.py asserts it), the limit for each.
GAP_TARGET_MS, GAP_LIMIT_MS = 300, 1000
WOKEN_S = 3  # the scheduler's own backoff ends at 2 as we configure it; not woken, a pod waits for five minutes
COMPONENTS = ("drover-webhook", "drover-extender", "drover-migrator")


def running_at(node):
    return lambda vm: (vm and at(vm, "status.phase") == "Running" and at(vm, "status.owner.node") == node
                       and at(vm, "status.addresses"))


def running(vm):
    return vm and at(vm, "status.phase") == "Running" and at(vm, "status.addresses")


def on_node(node):
    """A patch that requires one node by its host-name label."""
    return {"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}}}


def other(node):
    return "node1" if node == "node2" else "node2"


def figure(name, gap):
    return f"figure {name} {gap} ms target <= {GAP_TARGET_MS} {'ok' if gap <= GAP_TARGET_MS else 'short'}"


def told(vms):
    """A line whenever a VM's phase or its migration's progress is another; returns the phases."""
    phases, last = [], None
    for vm in vms:
        now = (at(vm, "status.phase"), at(vm, "status.migration.phase", ""), at(vm, "status.migration.percent", 0),
               at(vm, "status.migration.target", ""))
        phases.append(now[0])
        if now != last and now[1]:
            yield f"{now[0]}: {now[1]} {now[2]} %{f', to {now[3]}' if now[3] else ''}"
        last = now
    return phases


def handles(vm="demo"):
    """The VM's handle pods that are not on their way out."""
    return [p for p in get("pods", None, "-l", f"drover.dev/vm={vm}") if not at(p, "metadata.deletionTimestamp")]


def migrations(vm="demo"):
    found = [m for m in get("virtualmachinemigrations") if at(m, "spec.vm") == vm]
    return sorted(found, key=lambda m: at(m, "metadata.creationTimestamp"))


class Scenario:
    """State handed from step to step."""

    def __init__(self, mibps=0, gap_limit_ms=GAP_LIMIT_MS):
        """mibps: what the VM's copies are held to, so that a person can watch them; 0 is no limit. gap_limit_ms: how long a
        move may keep the guest from answering; None where only its success counts."""
        self.node = self.address = self.boot = self.session = self.gap = None
        self.mibps, self.gap_limit_ms = mibps, gap_limit_ms

    # each step: (title, method)
    def steps(self):
        return [
            ("cluster up", self.cluster_up),
            ("components Ready", self.components_ready),
            ("an unhealthy mount refuses a node", self.unhealthy_mount),
            ("VM applied", self.apply_vm),
            ("the pod as the webhook changed it", self.mutated_pod),
            ("VM Running", self.vm_running),
            ("TCP session opened into the guest", self.open_session),
            ("patched: live migration", self.migrate),
            ("patched back", self.migrate),
        ]

    def cluster_up(self):
        nodes = get("nodes", namespace="")
        expect(len(nodes) >= 2, f"{len(nodes)} nodes")
        lines = []
        for n in nodes:
            expect(condition(n, "Ready").get("status") == "True", f"{n['metadata']['name']} is not Ready")
            lines.append(f"{n['metadata']['name']} Ready, kubelet {at(n, 'status.nodeInfo.kubeletVersion')}, "
                         f"{at(n, 'status.nodeInfo.containerRuntimeVersion')}")
        return lines

    def components_ready(self):
        for name in COMPONENTS:
            lab.kubectl("rollout", "status", "-n", "drover-system", f"deployment/{name}", lab.timeout(120))
        lab.kubectl("rollout", "status", "-n", "drover-system", "daemonset/drover-agent", lab.timeout(120))
        for n in get("nodes", namespace=""):
            name = n["metadata"]["name"]
            lab.watch("vmhost", name, lambda h: h and condition(h, "Ready").get("status") == "True", 60, "Ready",
                      namespace="")
        pods = get("pods", namespace="drover-system")
        return [f"{at(p, 'metadata.name')} on {at(p, 'spec.nodeName')}" for p in pods
                if at(p, "status.phase") == "Running"]

    def unhealthy_mount(self):
        """node2's storage hangs; a VM that must be there is refused with a reason a person understands."""
        vm = {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine",
              "metadata": {"name": "refused", "namespace": NAMESPACE},
              "spec": {"nodeName": "node2", "memory": {"guest": "128Mi"},
                       "disks": [{"name": "root", "blank": {"size": "16Mi"}}]}}
        try:
            with lab.HungMount("node2"):
                lab.watch("vmhost", "node2", lambda h: any(m["health"] == "Unhealthy" for m in at(h, "status.mounts", [])),
                          30, "seen as unhealthy", namespace="")
                yield "node2's storage hangs, and its agent has said so"
                lab.apply(vm)
                pod = lab.wait_for(lambda: handles("refused"), 20, "made")[0]["metadata"]["name"]
                yield lab.wait_for(lambda: self._why_pending(pod), 30, "refused by the scheduler")
            lab.watch("vmhost", "node2", lambda h: all(m["health"] == "Healthy" for m in at(h, "status.mounts", [])),
                      30, "healthy again", namespace="")
            healthy = time.monotonic()
            yield "the storage is healthy again"
            lab.watch("pod", pod, lambda p: at(p, "spec.nodeName") == "node2", 30, "bound", namespace=NAMESPACE)
            woken = time.monotonic() - healthy
            expect(woken < WOKEN_S * lab.PATIENCE, f"bound only {woken:.1f} s after its storage was healthy again")
            yield f"bound to node2 {woken:.1f} s later"
        finally:
            lab.kubectl("delete", "vm", "refused", "--ignore-not-found", lab.timeout(60))

    @staticmethod
    def _why_pending(pod):
        text = lab.kubectl("describe", "pod", pod, "-n", NAMESPACE)
        lines = [line.strip() for line in text.splitlines() if "FailedScheduling" in line and "node2" in line]
        return lines[-1] if lines and "unhealthy" in lines[-1] and "[rule 7 pool-health]" in lines[-1] else None

    def apply_vm(self):
        # The host may hold a guest of an earlier run that was not removed; begin anew.
        lab.run(lab.KUBECTL, "delete", "vm", "demo", "--ignore-not-found", timeout=120)
        lines = lab.apply(DEMO).stdout.strip().splitlines()
        if self.mibps:
            lab.patch("vm", "demo", {"spec": {"migration": {"bandwidthMiBps": self.mibps}}})
            lines.append(f"its copies are held to {self.mibps} MiB/s, so that there is something to watch")
        return lines

    def mutated_pod(self):
        pod = lab.wait_for(handles, 20, "made")[0]
        terms = at(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms")
        resource = at(pod, "spec.containers")[0]["resources"].get("limits", {}).get("drover.dev/vm")
        expect(terms, "the pod has no required node affinity")
        expect(resource == "1", "the pod does not ask for drover.dev/vm")
        return [f"{pod['metadata']['name']}: nodeSelectorTerms {json.dumps(terms)}", f"drover.dev/vm: {resource}"]

    def vm_running(self):
        vm = lab.watch("vm", "demo", running, 120, "Running with an address")
        self.node, self.address = at(vm, "status.owner.node"), at(vm, "status.addresses")[0]
        expect(lab.domains(self.node) == ["default_demo"], f"domains on {self.node}: {lab.domains(self.node)}")
        console = lab.wait_for(lambda: self.console(), 60, "writing to its console")
        return [lab.kubectl("get", "vm", "demo").rstrip(), f"console of demo on {self.node}: ", *console[-3:]]

    def console(self):
        text = lab.node_exec(self.node, "cat", "/var/log/libvirt/qemu/default_demo.console.log", check=False)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines if any("GUEST-UP" in line for line in lines) else None

    def open_session(self):
        self.session = lab.Session(self.address)
        self.session.say()
        self.boot = lab.boot_id(self.address)
        return [f"{self.address} port {lab.ECHO_PORT}, guest boot id {self.boot}"]

    def migrate(self):
        """Says what happens as it happens; the longest gap is kept in self.gap."""
        source, target = self.node, other(self.node)
        patch = on_node(target)
        seen = queue.SimpleQueue()  # what a person with `kubectl get vm -w` sees
        yield f"kubectl patch vm demo --type merge -p '{json.dumps(patch)}'"
        with lab.GapMeter(self.address) as meter:
            lab.patch("vm", "demo", patch)
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                arrived = pool.submit(lab.watch, "vm", "demo", lambda v: seen.put(v) or running_at(target)(v), 120, f"Running on {target}")
                arrived.add_done_callback(lambda _: seen.put(None))
                phases = yield from told(iter(seen.get, None))
                arrived.result()
            took = time.monotonic() - began
            self.node = target
        expect("Migrating" in phases, f"phase Migrating was never shown: {phases}")
        lab.wait_for(lambda: len(handles()) == 1, 30, "down to one pod")
        expect(handles()[0]["spec"]["nodeName"] == target, "the pod left is not the one on the target")
        expect(lab.defined(source) == [], f"domains left on {source}: {lab.defined(source)}")
        expect(lab.domains(target) == ["default_demo"], f"domains on {target}: {lab.domains(target)}")
        last = migrations()[-1]
        yield (f"{source} -> {target} in {took:.1f} s, old pod gone; migration {last['metadata']['name']} "
               f"{at(last, 'status.phase')}, {at(last, 'status.totalMs')} ms, guest paused {at(last, 'status.downtimeMs')} ms")
        self.session.say()
        yield "the same TCP session is alive"
        expect(lab.boot_id(self.address) == self.boot, "the guest was booted again")
        yield f"the same guest: boot id {self.boot}"
        self.gap = meter.gap_ms()
        yield f"longest gap {self.gap} ms at {lab.GAP_INTERVAL * 1000:g} ms interval ({meter.replies} echoes)"
        if self.gap_limit_ms is not None:
            yield figure("migration_gap", self.gap)
            expect(self.gap < self.gap_limit_ms, f"longest gap {self.gap} ms, at most {self.gap_limit_ms} ms allowed")

    def delete_vm(self):
        if self.session:
            self.session.close()
        lab.kubectl("delete", "vm", "demo", lab.timeout(120))
        expect(not handles(), "a handle pod is left")
        lab.wait_for(lambda: not migrations(), 30, "rid of its migrations")
        for node in ("node1", "node2"):
            expect(lab.defined(node) == [], f"domains left on {node}: {lab.defined(node)}")
        expect(not list((lab.LAB / "pool" / "disks").glob("*/*")), "a disk is left in the pool")
