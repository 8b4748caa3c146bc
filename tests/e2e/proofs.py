"""Proofs that two nodes see the same pool: kept for every pair, lost when another directory, a copy in step or locks that do
not reach the other nodes stand in the place of one node's pool, and found again when that is mended."""

import contextlib
import functools
import shutil
import threading
import time

import guest
import lab
from guest import Guest
from lab import at, expect

POOL, COPY = lab.LAB / "pool", lab.LAB / "copy"
MOUNT = "/var/lib/drover"
NODE = "node3" if lab.KIND == "lab" else "node2"  # no guest is on it
FOUND_S = 20  # what docs/storage.md promises
SYNC_S = 0.05
WAITS_S = 30  # for a move that has waited to be done


def says(host):
    """What a node says of the others: {node: state}."""
    return {p["node"]: p["state"] for m in at(host, "status.mounts", []) for p in m.get("sharedWith", [])}


def reasons(node):
    return {p["node"]: p["reason"] for m in at(lab.get("vmhost", node, namespace=""), "status.mounts") for p in m.get("sharedWith", [])}


def verdicts(migration):
    return [v for v in at(migration, "status.verdicts", []) if v["node"] == NODE]


def said_of_node(pod):
    text = lab.condition(pod, "PodScheduled")["message"]
    return text[text.index(f"{NODE}:"):].split("]")[0] + "]"


def until(true, timeout, what):
    """Follows all hosts until true({node: {node: state}}); the seconds that it took."""
    began, states = time.monotonic(), {}
    for happened, host in lab.events(timeout, "vmhost", namespace=""):
        states[at(host, "metadata.name")] = says(host) if happened != "DELETED" else {}
        if true(states):
            return time.monotonic() - began
    raise lab.Failed(f"not {what} within {timeout} s: {states}")


@functools.cache
def nodes():
    return guest.nodes()


def pairs(states):
    return [(a, b, states.get(a, {}).get(b)) for a in nodes() for b in nodes() if a != b]


def all_shared(states):
    return all(state == "Shared" for _, _, state in pairs(states))


def with_node(states):
    return [(a, b, s) for a, b, s in pairs(states) if NODE in (a, b)]


def taken_back(states):
    """NODE and the others say no more of each other that they share. The others go on."""
    rest = {s for a, b, s in pairs(states) if NODE not in (a, b)}
    return "Shared" not in [s for _, _, s in with_node(states)] and rest <= {"Shared"}


def refuted(states):
    """Moreover, of each two of them one says that it is not the same."""
    by = {b if a == NODE else a for a, b, s in with_node(states) if s == "NotShared"}
    return taken_back(states) and by == set(nodes()) - {NODE}


def lies_there():
    """What is mounted at the pool's path, the lowest first."""
    lines = [line.split() for line in lab.node_exec(NODE, "cat", "/proc/mounts").splitlines()]
    return [words[0] for words in lines if words[1] == MOUNT]


@contextlib.contextmanager
def instead(source, locks=True):
    """While it lasts, NODE has this directory of the machine mounted over its pool, as the lab mounts pools, and under the
    name of the right one: by that alone nobody finds out."""
    preload = [f"LD_PRELOAD={lab.LAB / 'bin' / 'ofdlocks.so'}"] if locks else []
    forward = ["--enable-lock-forwarding"] if locks else []
    before = lies_there()
    lab.node_exec(NODE, "mount", "--bind", source, POOL)
    try:
        lab.node_exec(NODE, "env", *preload, "bindfs", "--multithreaded", *forward, "-o",
                      "allow_other,nonempty,attr_timeout=0,entry_timeout=0,negative_timeout=0", POOL, MOUNT)
    finally:
        lab.node_exec(NODE, "umount", "-l", POOL)  # whose directory the new server has open
    try:
        expect(lies_there() == before + [str(POOL)], f"mounted: {lies_there()}")
        yield
    finally:
        lab.node_exec(NODE, "umount", "-l", MOUNT)  # lazily: the agent holds a lock there
        expect(lies_there() == before, f"mounted: {lies_there()}")


class Sync:
    """Keeps .drover of COPY in step with that of the pool, in both directions, as a tool for mirroring would."""

    def __init__(self):
        self.stopping, self.rounds = threading.Event(), 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _one_way(self, source, target, mine):
        for path in list((source / ".drover").rglob("*")):
            name = path.relative_to(source)
            if path.is_dir():
                (target / name).mkdir(exist_ok=True)
            elif (path.name == NODE or path.name.endswith(f"-{NODE}")) == mine:
                with contextlib.suppress(FileNotFoundError):
                    text = path.read_bytes()
                    if not (target / name).exists() or (target / name).read_bytes() != text:
                        (target / name).write_bytes(text)

    def _run(self):
        while not self.stopping.wait(SYNC_S):
            self._one_way(POOL, COPY, False)
            self._one_way(COPY, POOL, True)
            self.rounds += 1

    def __enter__(self):
        (COPY / ".drover").mkdir(parents=True)
        self.thread.start()
        lab.wait_for(lambda: self.rounds, 30, "copied once", SYNC_S)

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


@contextlib.contextmanager
def emptied():
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(COPY, ignore_errors=True)


class Proofs:
    def __init__(self):
        self.guest = None

    def every_pair(self):
        took = until(all_shared, 60, "Shared between every two nodes")
        hosts = lab.get("vmhost", namespace="")
        locks = [p["locks"] for h in hosts for m in at(h, "status.mounts") for p in m["sharedWith"]]
        expect(len(locks) == len(nodes()) * (len(nodes()) - 1) and all(locks), f"locks {locks}")
        return [f"{len(locks)} pairs after {took:.1f} s"]

    def _refused(self):
        """A move to NODE, by hand: what preflight says of it, and the extender to the scheduler."""
        name = f"to-{NODE}"
        lab.kubectl("delete", "virtualmachinemigration", name, "--ignore-not-found", lab.timeout(60))
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineMigration", "metadata": {"name": name, "namespace": "default"},
                   "spec": {"vm": self.guest.name, "reason": "User", "targetNode": NODE}})
        pod = f"drover-move-{name}"
        try:
            p = lab.watch("pod", pod, lambda p: p and "pool-apart" in lab.condition(p, "PodScheduled").get("message", ""), 60,
                          "refused by the extender")
            m = lab.watch("virtualmachinemigration", name, lambda m: any(v["rule"] == 9 for v in verdicts(m)), 60, "refused by preflight")
        finally:
            lab.kubectl("delete", "virtualmachinemigration", name, lab.timeout(60))
        words = next(v["message"] for v in verdicts(m) if v["rule"] == 9)
        expect("default" in words and NODE in words and "node1" in words, f"rule 9 says {words}")
        self.guest.settled("node1")
        return [f"the scheduler is told: {said_of_node(p)}", f"rule 9: {words}"]

    def _found(self):
        took = until(taken_back, 60, f"taken back of {NODE}")
        expect(took <= FOUND_S * lab.PATIENCE, f"taken back after {took:.1f} s")
        took_all = took + until(refuted, 60, f"refuted by {NODE} or of it")
        lab.watch("vmhost", NODE, lambda h: lab.condition(h, "StorageHealthy").get("status") == "True", 60, "healthy as it is", namespace="")
        return [f"taken back after {took:.1f} s, refuted after {took_all:.1f} s: {NODE} says of node1: {reasons(NODE).get('node1')}",
                *self._refused()]

    def _mended(self):
        took = until(all_shared, 60, "Shared again")
        return [f"mended after {took:.1f} s"]

    def another_directory(self):
        self.guest = Guest("stays", "node1")
        self.guest.patch(nodeName=None)
        with emptied():
            with instead(COPY):
                lines = self._found()
            return lines + self._mended()

    def copy_in_step(self):
        """Everything that is written here comes to be there in a moment, and the other way round."""
        with emptied():
            with Sync(), instead(COPY):
                lines = self._found()
            expect("not refused" in lines[0], lines[0])
            return lines + self._mended()

    def locks_lost(self):
        """The right directory; what is locked by one node is not locked for the other. A move that has waited goes on when
        that is mended, without the scheduler's own five minutes."""
        with instead(POOL, locks=False):
            lines = self._found()
            self.guest.patch(nodeName=NODE)
            self.guest.watch(lambda v: lab.condition(v, "PlacementSatisfied").get("reason") == "Unschedulable", 60, "waiting for a node")
        expect("not refused" in lines[0], lines[0])
        lines += self._mended()
        mended = time.monotonic()
        self.guest.on(NODE)
        took = time.monotonic() - mended
        expect(took < WAITS_S * lab.PATIENCE, f"the move went on {took:.0f} s after it could")
        return lines + [f"the move that waited is done {took:.1f} s later"]

    def end(self):
        self.guest.delete()


def steps():
    p = Proofs()
    return [("the guest's image", lab.guest_image), ("proofs: every pair of nodes", p.every_pair),
            ("proofs: another directory", p.another_directory), ("proofs: a copy in step", p.copy_in_step),
            ("proofs: locks that stay on the node", p.locks_lost), ("proofs: the lab as it was", p.end)]
