"""Every part of the system is killed at every boundary of a move. Whatever falls, the guest runs exactly once afterwards,
has every write that it has answered, and nothing is left over."""

import os
import pathlib
import signal
import time

import lab
from guest import Guest, nodes, slowly
from hold import Hold
from lab import at, expect

HOME, AWAY = "node1", "node2"


# --- the boundaries: what is about to be written

def _migration(predicate):
    return lambda resource, old, new: resource == "virtualmachinemigrations" and predicate(at(old, "status", {}), at(new, "status", {}))


def _phase(phase):
    return _migration(lambda old, new: old.get("phase") != phase and new.get("phase") == phase)


def _transfer(state):
    return _migration(lambda old, new: at(old, "transfer.state") != state and at(new, "transfer.state") == state)


BOUNDARIES = {
    "journal begun": _migration(lambda old, new: not old.get("source") and new.get("source")),
    "before Copying": _phase("Copying"),
    "copy's first word": _transfer("Running"),
    "while copying": None,
    "copy's last word": _transfer("Done"),
    "before Confirming": _phase("Confirming"),
    "before the owner": lambda resource, old, new: resource == "virtualmachines" and at(old, "status.owner") != at(new, "status.owner"),
    "before Succeeded": _phase("Succeeded"),
}


# --- the victims

def _pods(component, node=None):
    pods = lab.get("pods", None, "-l", f"app.kubernetes.io/name={component}", namespace="drover-system")
    return [p for p in pods if not node or at(p, "spec.nodeName") == node]


def _pids(program, node):
    """Pids, as this machine knows them, of a program in a node."""
    found = []
    for pid in map(int, lab.run("pgrep", "-x", program[:15], check=False).stdout.split()):
        try:
            if _node_of(pid) == node:
                found.append(pid)
        except OSError:
            continue  # it has ended
    return found


def _command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _node_of(pid):
    """Walks up to process 1 of the node."""
    inits = {int(file.read_text()): file.parent.name for file in lab.LAB.glob("node*/init.pid")}
    while pid > 1:
        if pid in inits:
            return inits[pid]
        with open(f"/proc/{pid}/stat") as f:
            pid = int(f.read().rsplit(")", 1)[1].split()[1])
    return None


def _kill_pods(component, program, node=None):
    """Its processes die at once; the pods go too, since a container killed again and again waits ever longer."""
    for pod in _pods(component, node):
        for pid in _pids(program, at(pod, "spec.nodeName")):
            os.kill(pid, signal.SIGKILL)
        lab.kubectl("delete", "pod", "-n", "drover-system", at(pod, "metadata.name"), "--force", "--grace-period=0")


def kill_migrator(g):
    _kill_pods("drover-migrator", "drover-migrator")


def kill_agent(node):
    return lambda g: _kill_pods("drover-agent", "drover-agent", node)


def kill_libvirtd(node):
    return lambda g: lab.run(lab.ROOT / "tests" / "lab" / "restart", node, "libvirtd")


def kill_kubelet(node):
    return lambda g: lab.run(lab.ROOT / "tests" / "lab" / "restart", node, "kubelet")


def kill_qemu(node):
    def kill(g):
        pid = lab.node_exec(node, "cat", f"/run/libvirt/qemu/default_{g.name}.pid", check=False).strip()
        if pid:
            lab.node_exec(node, "kill", "-KILL", pid, check=False)
            g.killed = True
    return kill


def kill_apiserver(g):
    lab.run(lab.ROOT / "tests" / "cluster" / "restart", "kube-apiserver", timeout=330)


VICTIMS = {
    "migrator": kill_migrator,
    "source agent": kill_agent(HOME),
    "target agent": kill_agent(AWAY),
    "source libvirtd": kill_libvirtd(HOME),
    "target libvirtd": kill_libvirtd(AWAY),
    "source QEMU": kill_qemu(HOME),
    "target QEMU": kill_qemu(AWAY),
    "source kubelet": kill_kubelet(HOME),
    "target kubelet": kill_kubelet(AWAY),
    "API server": kill_apiserver,
}
# What `make test` has time for; `make test-faults` does all.
SOME = [("journal begun", "migrator"), ("before Copying", "migrator"), ("copy's first word", "source agent"),
        ("while copying", "source agent"), ("while copying", "source libvirtd"), ("while copying", "target libvirtd"),
        ("while copying", "source QEMU"), ("while copying", "target QEMU"), ("copy's last word", "source agent"),
        ("copy's last word", "API server"), ("before Confirming", "migrator"), ("before the owner", "migrator"),
        ("before the owner", "target QEMU"), ("before Succeeded", "target agent")]


def offered():
    """What the pool still says of moves on their way, a text a node."""
    files = sorted((lab.LAB / "pool" / ".drover").glob("moves-*"))
    return [f"{f.name}: {text}" for f in files if (text := f.read_text().strip("\0 \n"))]


def left_over(g):
    """What a guest that is gone has left behind in the nodes and in their pool; a text each. The agents' own files in the pool
    are there for good and cannot grow in number: a lock, a probe, a word and the moves to come for each node."""
    found = []
    for node in nodes():
        ports = lab.node_exec(node, "ss", "-Htln", "sport >= :49152 and sport <= :49215").strip()
        found += [f"{node} listens at {ports}"] if ports else []
        files = lab.node_exec(node, "find", "/run/libvirt/qemu", "/var/lib/libvirt/qemu", "/etc/libvirt/qemu",
                              "-name", f"*default_{g.name}*", check=False).split()
        found += [f"{node}: {f}" for f in files]
    agents = lab.LAB / "pool" / ".drover"
    own = {"identity", "words"} | {f"{kind}{node}" for kind in ("lock-", "probe-", "moves-", "words/") for node in nodes()}
    found += [f"pool: .drover/{name}" for f in agents.rglob("*") if (name := str(f.relative_to(agents))) not in own]
    disks = lab.LAB / "pool" / "disks" / g.uid
    return found + ([f"pool: {disks.name}"] if disks.exists() else [])


class Matrix:
    def __init__(self):
        self.hold = self.g = None

    def _ready(self):
        """The guest is at home, and everything that a case before has killed is back."""
        if self.hold is None:
            self.hold = Hold()
        lab.wait_for(lambda: len([p for p in _pods("drover-migrator") + _pods("drover-agent")
                                  if lab.condition(p, "Ready").get("status") == "True"]) == 2 + len(nodes()), 90, "all pods Ready again")
        for node in (HOME, AWAY):
            lab.watch("vmhost", node, lambda h: lab.condition(h, "Ready").get("status") == "True", 60, "Ready", namespace="")
        if self.g is None:
            self.g = Guest("endures", HOME)
        self.g.killed = False
        if self.g.node() != HOME:
            self.g.patch(nodeName=HOME)
            self.g.on(HOME)

    def case(self, boundary, victim):
        def run():
            self._ready()
            g = self.g
            g.record()
            before = {m["metadata"]["name"] for m in g.migrations()}
            predicate = BOUNDARIES[boundary]
            if predicate:
                reached, release = self.hold.arm(predicate)
                g.patch(nodeName=AWAY)
                expect(reached.wait(60), f"{boundary}: never reached")
                try:
                    VICTIMS[victim](g)
                finally:
                    release.set()
            else:
                with slowly(g):
                    g.patch(nodeName=AWAY)
                    g.copying()
                    time.sleep(0.5)  # into the copy
                    VICTIMS[victim](g)
            return self._outcome(before)
        return run

    def fast(self):
        """libvirt's own handover, by consent: nobody is left who watches it. That locks keep the two nodes apart is proved."""
        self._ready()
        for node in (HOME, AWAY):
            lab.watch("vmhost", node, lambda h: all(m.get("lockArbitration") for m in at(h, "status.mounts", [])), 60,
                      "holding its lock", namespace="")
        before = {m["metadata"]["name"] for m in self.g.migrations()}
        self.g.patch(migration={"handover": "Fast"})
        try:
            lines = self.case("while copying", "source agent")()
        finally:
            self.g.patch(migration={"handover": "Proven"})
        first = [m for m in self.g.migrations() if m["metadata"]["name"] not in before][0]
        expect(at(first, "status.handover") == "Fast", f"the handover was {at(first, 'status.handover')}")
        return lines

    def _outcome(self, before):
        g = self.g
        g.watch(lambda v: v and at(v, "status.phase") == "Running" and at(v, "status.owner.node") == AWAY
                and not at(v, "status.migration.name"), 180, "Running on the target in the end")
        lab.wait_for(lambda: [p["spec"].get("nodeName") for p in g.pods()] == [AWAY], 60, "down to one pod")
        g.one_domain(AWAY)
        boot = lab.wait_for(self._boot, 120, "answering")
        expect(boot == g.boot or g.killed, "the guest was booted again though nobody had killed it")
        if boot == g.boot:
            g.session.say()
            g.record()
        records = g.records
        g.records_are_on_disk()
        qemus = [n for n in (HOME, AWAY) for pid in _pids("qemu-system-x86", n) if g.uid in _command(pid)]
        expect(qemus == [AWAY], f"its QEMU processes are on {qemus}")
        if boot != g.boot:
            g.booted(boot)
        ends = [f"{at(m, 'status.phase')}" for m in g.migrations() if m["metadata"]["name"] not in before]
        return [f"migrations: {', '.join(ends)}; {'killed, and started again' if g.records != records else 'the same guest'}; "
                f"{records} records on its disk"]

    def _boot(self):
        try:
            return lab.boot_id(self.g.address)
        except (OSError, lab.Failed):
            return None

    def end(self):
        try:
            if self.g:
                self.g.delete()
                lab.wait_for(lambda: not offered(), 30, f"rid of words about moves (now: {offered()})")
                found = left_over(self.g)
                expect(not found, f"left behind: {found}")
        finally:
            if self.hold:
                self.hold.close()


def steps(everything=False):
    matrix = Matrix()
    cases = [(b, v) for b in BOUNDARIES for v in VICTIMS] if everything else SOME
    return ([(f"killed {boundary}: {victim}", matrix.case(boundary, victim)) for boundary, victim in cases]
            + [("killed while copying by handover Fast: source agent", matrix.fast), ("killed: the lab as it was", matrix.end)])
