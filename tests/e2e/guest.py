"""A VM of a test's own: made, moved about, and asked whether it is still the same guest."""

import contextlib
import socket

import lab
from lab import at, expect

RECORD_PORT, LOAD_PORT = 7002, 7003


def spec(name, **fields):
    body = {"cpu": {"cores": 1}, "memory": {"guest": "256Mi"},
            "disks": [{"name": "root", "image": {"name": "guest"}}, {"name": "data", "blank": {"size": "64Mi"}}],
            "networks": [{"name": "lan", "bridge": "br0"}]}
    body.update(fields)
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": "default", "labels": {"test": name}}, "spec": body}


def nodes():
    return sorted(n["metadata"]["name"] for n in lab.get("nodes", namespace=""))


def pinned(node):
    """The placement that requires that node."""
    return {"nodeName": node}


def load(address, words):
    """tests/lab/guest-load.c in the guest."""
    with socket.create_connection((address, LOAD_PORT), timeout=300) as s:
        s.sendall(f"{words}\n".encode())
        expect(s.makefile().readline().strip() == "ok", f"the guest did not {words}")


class Guest:
    def __init__(self, name, node, **fields):
        self.name = name
        lab.kubectl("delete", "vm", name, "--ignore-not-found", lab.timeout(120))
        lab.apply(spec(name, **{**pinned(node), **fields}))
        vm = lab.watch("vm", name, lambda v: v and at(v, "status.phase") == "Running" and at(v, "status.addresses"),
                       180, "Running with an address")
        self.uid = at(vm, "metadata.uid")
        self.address = at(vm, "status.addresses")[0]
        self.boot = lab.boot_id(self.address)
        self.session = lab.Session(self.address)
        self.records = 0

    def vm(self):
        return lab.get("vm", self.name)

    def node(self):
        return at(self.vm(), "status.owner.node")

    def patch(self, **fields):
        lab.patch("vm", self.name, {"spec": fields})

    def watch(self, until, timeout, what):
        return lab.watch("vm", self.name, until, timeout, what)

    def on(self, node, timeout=120):
        """Waits until the guest runs there, for good: no migration is under way."""
        self.watch(lambda v: v and at(v, "status.phase") == "Running" and at(v, "status.owner.node") == node
                   and not at(v, "status.migration.name"), timeout, f"Running on {node}")
        self.settled(node)

    def settled(self, node):
        """One pod, one domain, both there, and the same guest as ever."""
        lab.wait_for(lambda: [p["spec"].get("nodeName") for p in self.pods()] == [node], 60, f"down to one pod on {node}")
        self.one_domain(node)
        self.same()

    def one_domain(self, node):
        lab.wait_for(lambda: self.domains() == [node], 60, f"down to one domain on {node} (now: {self.domains()})")

    def same(self):
        self.session.say()
        expect(lab.boot_id(self.address) == self.boot, "the guest was booted again")

    def pods(self):
        return [p for p in lab.get("pods", None, "-l", f"drover.dev/vm={self.name}")
                if not at(p, "metadata.deletionTimestamp")]

    def domains(self):
        """The nodes that have a domain of this guest, active or not."""
        return [n for n in nodes() if f"default_{self.name}" in lab.node_exec(n, "virsh", "-q", "list", "--all", "--name", check=False).split()]

    def migrations(self):
        found = [m for m in lab.get("virtualmachinemigrations") if at(m, "spec.vm") == self.name]
        return sorted(found, key=lambda m: (at(m, "metadata.creationTimestamp"), at(m, "metadata.name")))

    def phases(self):
        return [at(m, "status.phase") for m in self.migrations()]

    def copying(self, timeout=60):
        """Waits until the copy of a move is under way; the migration."""
        vm = self.watch(lambda v: v and at(v, "status.migration.phase") == "Copying", timeout, "copying")
        return at(vm, "status.migration.name")

    def ended(self, migration, timeout=120):
        return lab.watch("virtualmachinemigration", migration,
                         lambda m: m is None or at(m, "status.phase") in ("Succeeded", "Failed", "Cancelled"), timeout, "ended")

    def record(self):
        """A numbered record on the second disk, written and synced before the guest answers."""
        with lab.connect(self.address, RECORD_PORT, 60 * lab.PATIENCE) as s:
            answer = s.makefile().readline().strip()
        expect(answer == str(self.records), f"record {self.records}: the guest answered {answer!r}")
        self.records += 1

    def records_are_on_disk(self):
        """Every record that was answered stands on the disk as the pool has it."""
        disks = list((lab.LAB / "pool" / "disks" / self.uid).glob("data*"))
        expect(len(disks) == 1, f"disks of {self.name}: {disks}")
        image = disks[0]
        raw = lab.LAB / f"{self.name}.raw"
        lab.run("qemu-img", "convert", "-U", "-O", "raw", image, raw)
        try:
            content = raw.read_bytes()
        finally:
            raw.unlink()
        self.records_are_in(content)

    def records_are_in(self, content):
        """Every record that was answered stands in these bytes of its disk."""
        for n in range(self.records):
            block = content[512 * n:512 * n + 512]
            expect(block.startswith(f"record {n} ".encode()), f"record {n} is lost: the disk has {block[:20]!r}")

    def booted(self, boot):
        """It was started anew, and counts its records anew."""
        self.session.close()
        self.boot, self.session, self.records = boot, lab.Session(self.address), 0

    def delete(self):
        self.session.close()
        lab.kubectl("delete", "vm", self.name, lab.timeout(120))
        lab.wait_for(lambda: not self.domains() and not self.pods(), 60, "gone")


@contextlib.contextmanager
def slowly(guest, mibps=8):
    """While it lasts, copies of the guest take many seconds."""
    guest.patch(migration={"bandwidthMiBps": mibps})
    try:
        yield
    finally:
        if guest.vm():
            guest.patch(migration={"bandwidthMiBps": 0})
