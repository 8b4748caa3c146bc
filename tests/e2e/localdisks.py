"""Disks in pools that are a node's own: they keep their VM there, or are copied along when it moves; nothing of them is lost,
and nothing is left over, whoever is killed meanwhile."""

import faults
import guest
import lab
import matrix
import snapshots
from guest import Guest, slowly
from lab import at, condition, expect

SYSTEM, AGENT = "drover-system", "daemonset/drover-agent"
POOL, PATH = "scratch", "/var/lib/libvirt/scratch"
ENV = {"POOLS": "default=/var/lib/drover", "LOCAL_POOLS": ""}
DISKS = [{"name": "root", "pool": POOL, "image": {"name": "guest", "clone": "Full"}},
         {"name": "data", "pool": POOL, "blank": {"size": "64Mi"}}]


def folder(node, uid):
    """The VM's files in the node's pool."""
    return lab.node_exec(node, "sh", "-c", f"ls {PATH}/disks/{uid} 2>/dev/null || :").split()


def restart_agents(pools, local):
    """With these pools, as an administrator would say it."""
    lab.kubectl("set", "env", "-n", SYSTEM, AGENT, f"POOLS={pools}", f"LOCAL_POOLS={local}")
    lab.kubectl("rollout", "status", "-n", SYSTEM, AGENT, lab.timeout(180))


def local_mount(host):
    return next((m for m in at(host, "status.mounts", []) if m["pool"] == POOL), {})


class LocalDisks:
    def __init__(self):
        self.g = self.a = self.b = None

    def steps(self):
        return [("local disks: " + title, step) for title, step in [
            ("pools that are the nodes' own", self.pools),
            ("they keep the VM where it is, which is said", self.kept),
            ("started again: there, with its records", self.started_again),
            ("copied along when asked", self.copied),
            ("a snapshot stays behind, and keeps the VM", self.snapshot),
            ("without it: and back", self.copied),
            ("a copy that is called off leaves nothing", self.called_off),
            ("the target's agent is killed in the middle: nothing is left", self.agent_killed),
            ("a file in the way: nothing is touched", self.in_the_way),
            ("VM deleted: they go", self.gone),
            ("pools as they were", self.end)]]

    def pools(self):
        lab.guest_image()
        nodes = guest.nodes()
        self.a, self.b = nodes[:2]
        for node in nodes:
            lab.node_exec(node, "sh", "-c", f"mkdir -p {PATH} && mount --bind {PATH} {PATH}")
        restart_agents(f"default=/var/lib/drover,{POOL}={PATH}", POOL)
        for node in nodes:
            host = lab.watch("vmhost", node, lambda h: h and local_mount(h).get("health") == "Healthy", 60, "healthy", namespace="")
            expect(local_mount(host).get("local") is True, f"{node} does not say that it is local: {local_mount(host)}")
            expect(not local_mount(host).get("sharedWith"), f"{node}: shared with {local_mount(host)['sharedWith']}")
        return [f"{len(nodes)} nodes have a pool of their own at {PATH}"]

    def on_disk(self, node):
        """Every record that was answered stands on the node's disk."""
        raw = "/tmp/local.raw"
        lab.node_exec(node, "qemu-img", "convert", "-U", "-O", "raw", f"{PATH}/disks/{self.g.uid}/data.qcow2", raw)
        try:
            text = lab.node_exec(node, "sh", "-c", f"tr -d '\\000' <{raw}")
        finally:
            lab.node_exec(node, "rm", "-f", raw)
        found = [line.split()[1] for line in text.splitlines() if line.startswith("record ")]
        expect(found[:self.g.records] == [str(n) for n in range(self.g.records)], f"records on {node}: {found}, answered: {self.g.records}")

    def only_on(self, node):
        other = self.b if node == self.a else self.a
        lab.wait_for(lambda: not folder(other, self.g.uid), 60, f"gone from {other}: {folder(other, self.g.uid)}", 0.5)
        expect(sorted(folder(node, self.g.uid)) == ["data.qcow2", "root.qcow2"], f"{node} has {folder(node, self.g.uid)}")
        expect(at(self.g.vm(), "status.storageNode") == node, f"status.storageNode: {at(self.g.vm(), 'status.storageNode')}")

    def kept(self):
        self.g = Guest("local", self.a, disks=DISKS)
        for _ in range(3):
            self.g.record()
        self.only_on(self.a)
        vm = self.g.watch(lambda v: condition(v, "LiveMigratable").get("status") == "False", 30, "not migratable")
        self.g.patch(**guest.pinned(self.b))
        vm = self.g.watch(lambda v: condition(v, "PlacementSatisfied").get("reason") == "NotLiveMigratable", 30, "told that it stays")
        expect(not self.g.migrations(), f"migrations were made: {self.g.phases()}")
        pod = self.g.pods()[0]["metadata"]["name"]
        said = faults.evict(pod).stderr.strip()
        expect("cannot be migrated" in said, f"the eviction was answered: {said}")
        self.g.same()
        return [condition(vm, "LiveMigratable")["message"], condition(vm, "PlacementSatisfied")["message"], said]

    def started_again(self):
        """Its placement names the other node: it waits, and starts nowhere else."""
        self.g.session.close()
        self.g.patch(runStrategy="Halted")
        self.g.watch(lambda v: at(v, "status.phase") == "Halted" and not at(v, "status.owner.node"), 90, "halted")
        self.g.patch(runStrategy="Always")
        vm = self.g.watch(lambda v: "starts nowhere else" in at(v, "status.reason", ""), 60, "told where its disks are")
        self.only_on(self.a)
        self.g.patch(**guest.pinned(self.a))
        self.g.watch(lambda v: at(v, "status.phase") == "Running" and at(v, "status.addresses"), 120, "Running again")
        expect(self.g.node() == self.a, f"it runs on {self.g.node()}")
        self.on_disk(self.a)
        self.g.address = at(self.g.vm(), "status.addresses")[0]
        self.g.booted(lab.boot_id(self.g.address))
        return [at(vm, "status.reason")]

    def copied(self):
        """While it writes records."""
        here = self.g.node()
        there = self.b if here == self.a else self.a
        for _ in range(3):
            self.g.record()
        # so that it writes records meanwhile, and no longer: QEMU before 9.0 forgets writes of an emulated guest in proportion
        self.g.patch(migration={"storage": "Copy", "bandwidthMiBps": 32})
        self.g.watch(lambda v: condition(v, "LiveMigratable").get("status") == "True", 30, "migratable")
        self.g.patch(**guest.pinned(there))
        name = self.g.copying()
        before = self.g.records
        while at(lab.get("virtualmachinemigration", name), "status.phase") == "Copying":
            self.g.record()
        meanwhile = self.g.records - before
        self.g.on(there, 180)
        self.g.record()
        m = self.g.ended(name)
        expect(at(m, "status.phase") == "Succeeded", f"{at(m, 'status.phase')}: {at(m, 'status.message')}")
        expect([d["name"] for d in at(m, "status.transfer.disks", [])] == ["root", "data"], f"disks: {at(m, 'status.transfer')}")
        expect(at(m, "status.transfer.bytesTotal", 0) > 256 << 20, f"bytes: {at(m, 'status.transfer.bytesTotal')}")
        self.only_on(there)
        self.on_disk(there)
        return [f"from {here} to {there} in {at(m, 'status.totalMs')} ms, paused for {at(m, 'status.downtimeMs')} ms",
                f"{meanwhile} records meanwhile, {self.g.records} in all"]

    def snapshot(self):
        """What the target would not have is not left without a word."""
        snapshots.make(self.g.name, "local")
        snapshots.ready("local")
        vm = self.g.watch(lambda v: condition(v, "LiveMigratable").get("status") == "False", 30, "not migratable")
        said = condition(vm, "LiveMigratable")["message"]
        expect("has snapshots, such as local" in said, said)
        lab.kubectl("delete", "vmsnapshot", "local", lab.timeout(60))
        self.g.watch(lambda v: condition(v, "LiveMigratable").get("status") == "True", 30, "migratable again")
        return [said]

    def begin_copy(self):
        """Of which the target has files; the migration and the two nodes."""
        here = self.g.node()
        there = self.b if here == self.a else self.a
        self.g.patch(**guest.pinned(there))
        name = self.g.copying()
        lab.wait_for(lambda: len(folder(there, self.g.uid)) == 2, 60, f"prepared on {there}", 0.2)
        lab.wait_for(lambda: f"default_{self.g.name}" in lab.defined(there), 60, "received", 0.2)
        return name, here, there

    def stays(self, name, here, there, phases):
        m = self.g.ended(name, 180)
        expect(at(m, "status.phase") in phases, f"{at(m, 'status.phase')}: {at(m, 'status.message')}")
        self.g.on(here)
        self.g.record()
        self.only_on(here)
        self.on_disk(here)
        return [f"{name}: {at(m, 'status.phase')}: {at(m, 'status.message')}; nothing is left on {there}"]

    def called_off(self):
        with slowly(self.g, 2):
            name, here, there = self.begin_copy()
            self.g.record()
            self.g.patch(**guest.pinned(here))
            return self.stays(name, here, there, ["Cancelled"])

    def agent_killed(self):
        with slowly(self.g, 2):
            name, here, there = self.begin_copy()
            matrix.kill_agent(there)(self.g)
            self.g.patch(**guest.pinned(here))
            return self.stays(name, here, there, ["Cancelled", "Failed"])

    def in_the_way(self):
        """As if the pool were the same under another name: the source goes on as if nothing had been."""
        here = self.g.node()
        there = self.b if here == self.a else self.a
        file = f"{PATH}/disks/{self.g.uid}/data.qcow2"
        lab.node_exec(there, "sh", "-c", f"mkdir -p {PATH}/disks/{self.g.uid} && echo precious >{file}")
        self.g.patch(**guest.pinned(there))
        vm = self.g.watch(lambda v: at(v, "status.migration.name"), 30, "moving")
        m = self.g.ended(at(vm, "status.migration.name"), 120)
        self.g.patch(**guest.pinned(here))
        expect(at(m, "status.phase") == "Failed" and "there already" in at(m, "status.message", ""),
               f"{at(m, 'status.phase')}: {at(m, 'status.message')}")
        self.g.on(here)
        self.g.record()
        self.only_on(here)  # what was there was nobody's: the VM's disks are on this node
        self.on_disk(here)
        return [at(m, "status.message")]

    def gone(self):
        self.g.delete()
        for node in (self.a, self.b):
            lab.wait_for(lambda: not folder(node, self.g.uid), 60, f"gone from {node}")
            expect(not lab.node_exec(node, "ls", f"{PATH}/disks").split(), f"{node}: something is left")

    def end(self):
        restart_agents(ENV["POOLS"], ENV["LOCAL_POOLS"])
        for node in guest.nodes():
            lab.watch("vmhost", node, lambda h: h and [m["pool"] for m in at(h, "status.mounts", [])] == ["default"]
                      and at(h, "status.mounts")[0]["health"] == "Healthy", 60, "with one pool", namespace="")
            lab.node_exec(node, "sh", "-c", f"umount {PATH} && rm -rf {PATH}")


def steps():
    return LocalDisks().steps()
