"""Semantics of placement: what makes a guest move, what does not, and what happens when the wish changes midway."""

import datetime
import subprocess
import threading
import time

import cuts
import guest
import lab
from guest import Guest, slowly
from lab import at, condition, expect


MIGRATION_PORTS = (49152, 49215)  # libvirt's
LEARNED = 0.2  # seconds after which a bridge must know
CLOSE = 0.15  # seconds between two patches of a storm: a first wish that stands longer may be copied for by then


def require(key, op, *values):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": op, "values": list(values)}]}]}}}


def label(node, text):
    lab.kubectl("label", "node", node, "--overwrite", text)


def listens(node):
    """The addresses at which a guest's memory is taken."""
    rows = [line.split()[3].rsplit(":", 1) for line in lab.node_exec(node, "ss", "-Hltn").splitlines()]
    return {address for address, port in rows if MIGRATION_PORTS[0] <= int(port) <= MIGRATION_PORTS[1]}


class Learning:
    """Where a node's bridge learns that a MAC is, as the kernel tells it."""
    MARK = "02:00:00:00:00:fe"

    def __init__(self, node, mac):
        self.node, self.mac, self.seen, self.ready = node, mac, [], False
        self.process = self.thread = None

    def _bridge(self, *args):
        lab.run("ip", "netns", "exec", f"drover-{self.node}", "bridge", *args, check=False)

    def _told(self):
        """An entry of ours is heard of: from now on nothing is missed."""
        self._bridge("fdb", "add", self.MARK, "dev", "br0", "self")
        self._bridge("fdb", "del", self.MARK, "dev", "br0", "self")
        return self.ready

    def __enter__(self):
        self.process = subprocess.Popen(["nice", "-n", "-20", "ip", "netns", "exec", f"drover-{self.node}", "bridge", "monitor", "fdb"],
                                        stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        try:
            lab.wait_for(self._told, 20, "hearing of what the bridge learns")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _read(self):
        for line in self.process.stdout:
            words, now = line.split(), time.time()
            self.ready |= self.MARK in words
            if words[:2] == [self.mac, "dev"]:
                self.seen.append((now, words[2]))

    def __exit__(self, *_):
        self.process.terminate()
        self.thread.join()
        self.process.wait()

    def first(self, port):
        """When it was learned at that port."""
        return next((when for when, where in self.seen if where == port), None)


def ports_of(node, mac):
    """Where the node's bridge has that MAC."""
    shown = lab.run("ip", "netns", "exec", f"drover-{node}", "bridge", "fdb", "show", "br", "br0").stdout
    return {words[2] for line in shown.splitlines() if (words := line.split())[:2] == [mac, "dev"]}


class Semantics:
    """One guest for all of it, on node1 at the beginning of each step."""

    def __init__(self):
        self.g = None

    def steps(self):
        return [("semantics: " + title, self._at_home(step)) for title, step in [
            ("still satisfied, nothing moves", self.satisfied),
            ("a node's label moves it", self.node_label),
            ("a NoExecute taint moves it", self.taint),
            ("unsatisfiable: it stays, with a reason for each node", self.unsatisfiable),
            ("patched back before a target is found", self.back_before),
            ("patched back while copying", self.back_copying),
            ("patched back too late", self.back_late),
            ("memory is taken at the node's own address", self.incoming),
            ("retargeted while copying", self.retarget),
            ("a storm of 100 patches", self.storm),
            ("resized while copying", self.resized),
            ("a user's own migration", self.users_own),
            ("a user's migration is deleted while copying", self.users_deleted),
            ("handover Fast, by consent", self.fast),
            ("post-copy, by consent", self.post_copy),
            ("the guest's clock is set after a move", self.clock),
            ("the bridges know at once where it is", self.learned),
            ("required anti-affinity between VMs", self.anti_affinity),
            ("required affinity between VMs", self.near),
            ("writes while it is moved to and fro", self.writes),
            ("not complete in time: it stays", self.late_aborts),
            ("not complete in time: it stands still for the rest", self.late_pauses),
            ("halted while copying", self.halted),
            ("deleted while copying", self.deleted),
        ]]

    def _at_home(self, step):
        def run():
            if self.g is None:
                self.g = Guest("wanders", "node1")
            if self.g.node() != "node1":
                self.g.patch(nodeName="node1", nodeSelector=None, affinity=None, tolerations=None)
                self.g.on("node1")
            return step()
        return run

    def _names(self):
        return {m["metadata"]["name"] for m in self.g.migrations()}

    def _new(self, before):
        return [m for m in self.g.migrations() if m["metadata"]["name"] not in before]

    def satisfied(self):
        before = self._names()
        self.g.patch(nodeName=None, affinity=require("kubernetes.io/hostname", "In", "node1", "node2"))
        vm = self.g.watch(lambda v: at(v, "status.observedGeneration") == at(v, "metadata.generation"), 30, "looked at")
        expect(condition(vm, "PlacementSatisfied").get("status") == "True", f"{condition(vm, 'PlacementSatisfied')}")
        expect(not self._new(before), "a migration was made")
        self.g.settled("node1")

    def node_label(self):
        label("node1", "zone=a")
        label("node2", "zone=b")
        label("node3", "zone=c")
        try:
            self.g.patch(nodeName=None, affinity=None, nodeSelector={"zone": "a"})
            self.g.watch(lambda v: at(v, "status.observedGeneration") == at(v, "metadata.generation"), 30, "looked at")
            label("node3", "zone=a")
            label("node1", "zone=z")
            self.g.on("node3")
        finally:
            self.g.patch(nodeSelector=None)
            for n in ("node1", "node2", "node3"):
                label(n, "zone-")

    def taint(self):
        self.g.patch(nodeName=None, affinity=require("kubernetes.io/hostname", "In", "node1", "node2"))
        lab.kubectl("taint", "node", "node1", "maintenance=now:NoExecute")
        try:
            self.g.on("node2")
        finally:
            lab.kubectl("taint", "node", "node1", "maintenance-")

    def unsatisfiable(self):
        before = self._names()
        self.g.patch(nodeName=None, affinity=require("disk", "In", "nowhere"))
        vm = self.g.watch(lambda v: condition(v, "PlacementSatisfied").get("reason") == "Unschedulable", 60, "unschedulable")
        said = condition(vm, "PlacementSatisfied")["message"]
        others = set(guest.nodes()) - {"node1"}
        expect("disk" in said and all(n in said for n in others), f"the condition says: {said}")
        verdicts = {v["node"]: v for v in at(self._new(before)[0], "status.verdicts", [])}
        expect(set(verdicts) == others and all(v["rule"] for v in verdicts.values()), f"verdicts {verdicts}")
        self.g.patch(affinity=None, nodeName="node1")
        self.g.settled("node1")
        return [said]

    def back_before(self):
        before = self._names()
        self.g.patch(nodeName=None, affinity=require("disk", "In", "nowhere"))
        lab.wait_for(lambda: self._new(before), 30, "begun to move")
        self.g.patch(affinity=None, nodeName="node1")
        m = self.g.ended(self._new(before)[0]["metadata"]["name"])
        expect(at(m, "status.phase") == "Cancelled", f"phase {at(m, 'status.phase')}")
        self.g.on("node1")

    def back_copying(self):
        with slowly(self.g):
            self.g.patch(nodeName="node2")
            name = self.g.copying()
            self.g.patch(nodeName="node1")
            m = self.g.ended(name)
            expect(at(m, "status.phase") == "Cancelled", f"phase {at(m, 'status.phase')}")
        self.g.on("node1")
        return [at(m, "status.message")]

    def back_late(self):
        self.g.patch(nodeName="node2")
        name = self.g.copying()
        lab.watch("virtualmachinemigration", name, lambda m: at(m, "status.phase") not in ("Copying",), 60, "past copying")
        self.g.patch(nodeName="node1")
        m = self.g.ended(name)
        expect(at(m, "status.phase") == "Succeeded", f"phase {at(m, 'status.phase')}")
        self.g.on("node1")

    def incoming(self):
        """QEMU listens until the source has connected, so that is held off for a moment."""
        rule = ("INPUT", "-p", "tcp", "--dport", ":".join(map(str, MIGRATION_PORTS)), "-j", "DROP")
        cuts.filtered("node2", "-I", *rule)
        try:
            self.g.patch(nodeName="node2")
            found = lab.wait_for(lambda: listens("node2"), 30, "waiting for a guest's memory")
        finally:
            cuts.filtered("node2", "-D", *rule)
        expect(found == {cuts.address("node2")}, f"a guest's memory is taken at {found}")
        self.g.on("node2")

    def retarget(self):
        with slowly(self.g):
            self.g.patch(nodeName="node2")
            name = self.g.copying()
            self.g.patch(nodeName="node3")
            m = self.g.ended(name)
            expect(at(m, "status.phase") == "Cancelled", f"phase {at(m, 'status.phase')}")
        self.g.on("node3")

    def _changes_of_mind(self):
        """A hundred patches at twenty a second, to one node and another, node2 last; how long each wish stood."""
        api, path = lab.Api(), f"/apis/drover.dev/v1alpha1/namespaces/default/virtualmachines/{self.g.name}"
        began = last = time.monotonic()
        stood = []
        for i in range(100):
            api.patch(path, {"spec": {"nodeName": ("node3", "node2")[i % 2]}})
            stood.append(time.monotonic() - last)
            last = time.monotonic()
            time.sleep(max(0, began + 0.05 * (i + 1) - last))
        return stood

    def storm(self):
        """One move, to where the last wish is. A wish that stood long because the machine did may be followed besides."""
        before = self._names()
        stood = self._changes_of_mind()
        long = sum(s >= CLOSE for s in stood)
        self.g.on("node2")
        ends = [(at(m, "status.phase"), at(m, "status.target")) for m in self._new(before)]
        told = f"100 patches in {sum(stood):.1f} s, at most {1000 * max(stood):.0f} ms apart, {long} of them long"
        expect(long < 10, f"no storm: {told}")
        expect(("Succeeded", "node2") in ends and len(ends) <= 1 + long, f"{told}: ended in {ends}")
        expect(all(phase in ("Succeeded", "Cancelled") for phase, _ in ends), f"{told}: ended in {ends}")
        return [f"{told}: {len(ends)} migration{'s'[:len(ends) > 1]}, to node2"]

    def resized(self):
        with slowly(self.g):
            self.g.patch(nodeName="node2")
            self.g.copying()
            self.g.patch(memory={"guest": "320Mi"})
            self.g.patch(migration={"bandwidthMiBps": 0})
            self.g.on("node2")
        vm = self.g.vm()
        expect(at(vm, "status.running.memory") in ("256Mi", 256 << 20, str(256 << 20)), f"runs with {at(vm, 'status.running')}")
        expect(condition(vm, "RestartRequired").get("status") == "True", "no RestartRequired")
        self.g.patch(memory={"guest": "256Mi"})

    def _own(self, name, **fields):
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineMigration",
                   "metadata": {"name": name, "namespace": "default"}, "spec": {"vm": self.g.name, "reason": "User", **fields}})

    def users_own(self):
        self.g.patch(nodeName=None, affinity=None)
        self._own("by-hand", targetNode="node3")
        m = self.g.ended("by-hand")
        expect(at(m, "status.phase") == "Succeeded", f"{m['status']}")
        self.g.on("node3")
        self._own("anywhere")
        m = self.g.ended("anywhere")
        expect(at(m, "status.phase") == "Succeeded" and at(m, "status.target") != "node3", f"{m['status']}")
        self.g.on(at(m, "status.target"))

    def users_deleted(self):
        self.g.patch(nodeName=None, affinity=None)
        with slowly(self.g):
            self._own("called-off", targetNode="node2")
            self.g.copying()
            lab.kubectl("delete", "virtualmachinemigration", "called-off", "--timeout=60s")
        self.g.on("node1")

    def fast(self):
        """The locks of the pool are tried out between the two nodes before libvirt's own handover is used."""
        for node in ("node1", "node2"):
            lab.watch("vmhost", node, lambda h: all(m.get("lockArbitration") for m in at(h, "status.mounts", [])), 30,
                      "holding its lock", namespace="")
        self.g.patch(nodeName="node2", migration={"handover": "Fast"})
        self.g.on("node2")
        m = self.g.migrations()[-1]
        self.g.patch(migration={"handover": "Proven"})
        expect("Fast" in at(m, "status.transfer.message", ""), f"the transfer says {at(m, 'status.transfer.message')!r}")

    def post_copy(self):
        """It writes more than is sent, so that the copy cannot end otherwise."""
        restless = Guest("restless", "node1", memory={"guest": "512Mi"},
                         migration={"bandwidthMiBps": 60, "autoConverge": False, "handover": "Fast", "postCopy": True})
        try:
            guest.load(restless.address, "dirty 200 100")
            restless.record()
            restless.patch(nodeName="node2")
            m = restless.ended(restless.copying())
            expect(at(m, "status.phase") == "Succeeded" and "postCopy" in at(m, "status.transfer.message", ""),
                   f"{at(m, 'status.phase')}: {at(m, 'status.transfer.message')}")
            restless.on("node2")
            restless.record()
            restless.records_are_on_disk()
        finally:
            restless.delete()
        return [f"{at(m, 'status.transfer.message')}; paused {at(m, 'status.transfer.downtimeMs')} ms"]

    def clock(self):
        """An hour behind before the move, right soon after it."""
        domain = f"default_{self.g.name}"

        def wrong_by():
            said = lab.node_exec(self.g.node(), "virsh", "-q", "domtime", domain)
            return abs(int(said.split(":")[1]) - time.time())
        lab.node_exec("node1", "virsh", "-q", "domtime", domain, "--time", str(int(time.time()) - 3600))
        expect(wrong_by() > 3000, "the guest's clock could not be put back an hour")
        self.g.patch(nodeName="node2")
        self.g.on("node2")
        lab.wait_for(lambda: wrong_by() < 5, 20, "given the right time")

    def anti_affinity(self):
        """Another VM is on node2 and no two of the group may share a node: of two only node3 is left."""
        rule = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"group": "apart"}}, "topologyKey": "kubernetes.io/hostname"}]}}
        lab.kubectl("label", "vm", self.g.name, "group=apart", "--overwrite")
        other = guest.spec("keeps-away", nodeName="node2", memory={"guest": "128Mi"}, disks=[{"name": "d", "blank": {"size": "16Mi"}}])
        other["metadata"]["labels"]["group"] = "apart"
        lab.apply(other)
        try:
            lab.watch("vm", "keeps-away", lambda v: at(v, "status.phase") == "Running", 120, "Running")
            self.g.patch(nodeName=None, affinity={**require("kubernetes.io/hostname", "In", "node2", "node3"), **rule})
            self.g.on("node3")
        finally:
            lab.kubectl("delete", "vm", "keeps-away", "--wait=false") # nobody is at home to shut it down
            lab.kubectl("label", "vm", self.g.name, "group-")
            self.g.patch(affinity=None)

    def near(self):
        """It may go to node2 or node3 and would rather go to node2, but the VM that it has to be near is on node3."""
        rule = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"group": "near"}}, "topologyKey": "kubernetes.io/hostname"}]}}
        rather = [{"weight": 100, "preference": {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node2"]}]}}]

        def one_of(*names):
            wish = {**require("kubernetes.io/hostname", "In", *names), **rule}
            wish["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = rather
            self.g.patch(nodeName=None, affinity=wish)
        other = guest.spec("stays-near", nodeName="node3", memory={"guest": "128Mi"}, disks=[{"name": "d", "blank": {"size": "16Mi"}}])
        other["metadata"]["labels"]["group"] = "near"
        lab.apply(other)
        try:
            lab.watch("vm", "stays-near", lambda v: at(v, "status.phase") == "Running", 120, "Running")
            one_of("node2")
            vm = self.g.watch(lambda v: condition(v, "PlacementSatisfied").get("reason") == "Unschedulable", 60, "unschedulable")
            said = condition(vm, "PlacementSatisfied")["message"]
            expect("affinity" in said and at(vm, "status.owner.node") == "node1", f"on {at(vm, 'status.owner.node')}: {said}")
            one_of("node2", "node3")
            self.g.on("node3")
        finally:
            lab.kubectl("delete", "vm", "stays-near", "--wait=false")
            self.g.patch(affinity=None)
        return [said]

    def learned(self):
        """Frames to the guest go to where it runs from the moment on at which it does."""
        self.g.patch(nodeName="node1", affinity=None)
        mac = lab.node_exec("node1", "virsh", "-q", "domiflist", f"default_{self.g.name}").split()[4]
        with Learning("node2", mac) as bridge:
            self.g.patch(nodeName="node2")
            self.g.on("node2")
            port = lab.node_exec("node2", "virsh", "-q", "domiflist", f"default_{self.g.name}").split()[0]
            lab.wait_for(lambda: bridge.first(port), 10, f"learned that {mac} is at {port}: {bridge.seen}")
        resumed = datetime.datetime.fromisoformat(at(self.g.migrations()[-1], "status.transfer.endedAt").replace("Z", "+00:00"))
        late = bridge.first(port) - resumed.timestamp()
        expect(late < LEARNED, f"{mac} was learned at {port} {late:.3f} s after the guest was resumed")
        expect(ports_of("node2", mac) == {port}, f"node2 has {mac} at {ports_of('node2', mac)}")
        left = {p for p in ports_of("node1", mac) if p.startswith("vnet")}
        expect(not left, f"node1 has {mac} at {left}")
        return [f"{mac} learned at {port} {1000 * late:+.0f} ms from the resumption"]

    def writes(self):
        """Every record that was answered meanwhile is on the disk."""
        ending, failures = threading.Event(), []

        def write():
            try:
                while not ending.is_set():
                    self.g.record()
            except Exception as e:
                failures.append(e)
        before, writer = self.g.records, threading.Thread(target=write)
        writer.start()
        try:
            for node in ("node2", "node1", "node2", "node1"):
                self.g.patch(nodeName=node)
                self.g.on(node)
        finally:
            ending.set()
            writer.join()
        expect(not failures, f"after {self.g.records} records: {failures}")
        self.g.records_are_on_disk()
        return [f"{self.g.records - before} records in four moves"]

    def _late(self, on_timeout, see):
        """It writes more than is sent, and nothing slows it down."""
        restless = Guest("restless", "node1", memory={"guest": "512Mi"},
                         migration={"bandwidthMiBps": 40, "autoConverge": False, "completionTimeoutSecondsPerGiB": 15, "onTimeout": on_timeout})
        try:
            guest.load(restless.address, "dirty 200 100")
            restless.record()
            restless.patch(nodeName="node2")
            m = restless.ended(restless.copying())
            see(restless, m)
            restless.record()
            restless.records_are_on_disk()
        finally:
            restless.delete()
        return [f"{at(m, 'status.phase')}: {at(m, 'status.message')} {at(m, 'status.transfer.message')}; paused {at(m, 'status.transfer.downtimeMs')} ms"]

    def late_aborts(self):
        def see(restless, m):
            expect(at(m, "status.phase") == "Failed" and "within the time allowed" in at(m, "status.message", ""), f"{m['status']}")
            restless.patch(nodeName="node1")
            restless.on("node1")
        return self._late("Abort", see)

    def late_pauses(self):
        def see(restless, m):
            expect(at(m, "status.phase") == "Succeeded" and "onTimeout: Pause" in at(m, "status.transfer.message", ""), f"{m['status']}")
            restless.on("node2")
        return self._late("Pause", see)

    def halted(self):
        with slowly(self.g):
            self.g.patch(nodeName="node2")
            name = self.g.copying()
            self.g.patch(runStrategy="Halted")
            m = self.g.ended(name)
            expect(at(m, "status.phase") == "Cancelled", f"phase {at(m, 'status.phase')}")
            self.g.watch(lambda v: at(v, "status.phase") == "Halted", 90, "Halted")
        lab.wait_for(lambda: not self.g.domains() and not self.g.pods(), 60, "rid of pods and domains")
        self.g.session.close()
        self.g = Guest(self.g.name, "node1")

    def deleted(self):
        with slowly(self.g):
            self.g.patch(nodeName="node2")
            self.g.copying()
            self.g.delete()
        lab.wait_for(lambda: not self.g.migrations(), 30, "rid of its migrations")
        self.g = None


def steps():
    return Semantics().steps()
