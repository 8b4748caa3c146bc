"""What becomes of guests when their storage fails: they stand still and run on, are moved off a node that alone has the
fault, and never lose a record that they have acknowledged."""

import contextlib
import errno
import re
import threading
import time

import faults
import guest
import lab
from guest import Guest
from lab import at, condition, expect

SYSTEM = "drover-system"
HELD_OFF = 12  # seconds, by which a move has begun if there is to be one


def anywhere():
    return {"nodeName": None}


def host_domain(g, node):
    return next((d for d in at(lab.get("vmhost", node, namespace=""), "status.domains", []) if d["uid"] == g.uid), {})


def healthy(*nodes, timeout=60):
    for node in nodes:
        lab.watch("vmhost", node, lambda h: h and [m["health"] for m in at(h, "status.mounts", [])] == ["Healthy"], timeout,
                  "healthy again", namespace="")


def unhealthy(node):
    host = lab.watch("vmhost", node, lambda h: h and [m["health"] for m in at(h, "status.mounts", [])] == ["Unhealthy"], 30,
                     "unhealthy", namespace="")
    return at(host, "status.mounts")[0]["reason"]


def agent_of(node):
    return next(p["metadata"]["name"] for p in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-agent", namespace=SYSTEM)
                if at(p, "spec.nodeName") == node and not at(p, "metadata.deletionTimestamp"))


def metric(node, name):
    text = lab.kubectl("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{agent_of(node)}:9403/proxy/metrics")
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    return found and float(found.group(1))


def refused(node, pod):
    return lab.wait_for(lambda: faults.refusal(pod, node, "unhealthy"), 20, f"{node} refused by the extender", 0.5)


class Record(threading.Thread):
    """A record that the guest cannot write now: acknowledged once its storage is well again."""

    def __init__(self, g):
        super().__init__(daemon=True)
        self.g, self.failure, self.done = g, None, None
        self.start()

    def run(self):
        try:
            self.g.record()
        except (lab.Failed, OSError) as failure:
            self.failure = failure
        self.done = time.monotonic()

    def waits(self):
        expect(self.is_alive(), f"the guest has answered while its storage fails: {self.failure or 'acknowledged'}")

    def acknowledged(self, timeout=60):
        self.join(timeout * lab.PATIENCE)
        expect(not self.is_alive() and not self.failure, f"the record was not acknowledged: {self.failure or 'no answer'}")


class IoFaults:
    """One guest, with a disk that it writes numbered records to."""

    def __init__(self):
        self.g = self.nodes = None

    def steps(self):
        return [("storage fails: " + title, step) for title, step in [
            ("a guest to try it with", self.make),
            ("another directory on its node alone: it runs on and stays", self.other_directory),
            ("slow: it is slow", self.slow),
            ("read-only on its node alone: it stands still, is moved, runs on", self.read_only),
            ("hangs on its node alone: it waits, and no move is tried", self.hangs),
            ("away from all nodes: it stands still, nothing moves, it runs on", self.away),
            ("full: it is tried again until there is room", self.full),
            ("no record is lost", self.end)]]

    def make(self):
        lab.guest_image()
        self.nodes = guest.nodes()
        self.g = Guest("storage", self.nodes[0])
        for _ in range(3):
            self.g.record()
        self.g.patch(**anywhere())

    def stands_still(self, node):
        """Everywhere that one looks; what the VM's condition says."""
        vm = self.g.watch(lambda v: at(v, "status.phase") == "Paused" and condition(v, "StorageHealthy").get("status") == "False",
                          30, "Paused, its storage unhealthy")
        expect(at(vm, "status.owner.node") == node, "it has another owner")
        lab.wait_for(lambda: host_domain(self.g, node).get("state") == "IOError", 10, "IOError, as its host says")
        lab.wait_for(lambda: metric(node, "drover_agent_guests_io_error") == 1, 10, "counted by the agent's metric")
        lab.wait_for(lambda: self.events("IOError"), 10, "told by an event")
        return f"{at(vm, 'status.reason')}; {condition(vm, 'StorageHealthy').get('message')}"

    def events(self, reason):
        return [e for e in lab.get("events") if e.get("reason") == reason and at(e, "involvedObject.uid") == self.g.uid]

    def runs(self, node, record):
        """On that node again, or, when none is named, wherever it may have been moved to."""
        record.acknowledged()
        vm = self.g.watch(lambda v: at(v, "status.phase") == "Running" and condition(v, "StorageHealthy").get("status") == "True",
                          60, "Running, its storage healthy")
        now = at(vm, "status.owner.node")
        expect(node in (None, now), f"it is on {now}")
        self.g.on(now)
        self.g.record()

    @contextlib.contextmanager
    def nothing_moves(self):
        before = [at(m, "metadata.name") for m in self.g.migrations()]
        yield
        after = [at(m, "metadata.name") for m in self.g.migrations()]
        expect(after == before, f"migrations were made: {after}, before: {before}")

    def held_off(self):
        """Until a move would have been made, were there one to be made."""
        began = time.monotonic()
        lab.wait_for(lambda: time.monotonic() - began > HELD_OFF, 2 * HELD_OFF, "the time is over", 0.5)

    def other_directory(self):
        node = self.g.node()
        lab.node_exec(node, "mount", "-t", "tmpfs", "tmpfs", "/var/lib/drover")
        try:
            reason = unhealthy(node)
            with self.nothing_moves():
                self.held_off()
                for _ in range(3):
                    self.g.record()  # its files are open, and those of the right pool
                self.g.same()
        finally:
            lab.node_exec(node, "umount", "/var/lib/drover")
        healthy(node)
        return [f"{node}: {reason}"]

    def slow(self):
        node, began = self.g.node(), time.monotonic()
        with self.nothing_moves(), lab.Faults(node, delay=200):
            for _ in range(3):
                self.g.record()
        self.g.same()
        return [f"{(time.monotonic() - began) / 3:.1f} s a record"]

    def read_only(self):
        node = self.g.node()
        return self.flees(node, lab.Faults(node, write=errno.EROFS))

    def flees(self, node, fault):
        """From a node, its own, on which alone it cannot write while the fault lasts."""
        pod = self.g.pods()[0]
        with fault:
            began = time.monotonic()
            record = Record(self.g)
            said = self.stands_still(node)
            record.waits()
            unhealthy(node)
            refusal = refused(node, pod)
            record.acknowledged(90)
            moved = time.monotonic() - began
            vm = self.g.watch(lambda v: at(v, "status.owner.node") != node and not at(v, "status.migration.name"), 60, "elsewhere")
            self.runs(at(vm, "status.owner.node"), record)
        m = self.g.migrations()[-1]
        expect(at(m, "spec.reason") == "Storage" and at(m, "status.phase") == "Succeeded", f"the move: {m}")
        healthy(node)
        return [said, f"the extender: {node}: {refusal}", f"runs on {self.g.node()} {moved:.1f} s after the fault",
                f"the migration: {at(m, 'status.message')}"]

    def hangs(self):
        """Nothing of the pool can be read, so nothing proves where a move would lead: none is tried."""
        node = self.g.node()
        with self.nothing_moves(), lab.HungMount(node):
            record = Record(self.g)
            reason = unhealthy(node)
            self.held_off()
            record.waits()
            self.g.same()  # what needs no disk goes on
            expect(self.g.domains() == [node], f"it is on {self.g.domains()}")
        self.runs(node, record)
        healthy(node)
        return [f"{node}: {reason}"]

    def away(self):
        node = self.g.node()
        with self.nothing_moves(), lab.Faults(*self.nodes, read=errno.EIO, write=errno.EIO):
            record = Record(self.g)
            said = self.stands_still(node)
            self.held_off()
            record.waits()
            lab.kubectl("delete", "pod", "-n", SYSTEM, agent_of(node), "--wait=false")  # the next one finds it paused
            back = time.monotonic()
        self.runs(node, record)
        healthy(*self.nodes)
        return [said, f"runs {record.done - back:.1f} s after the server was back"]

    def full(self):
        node = self.g.node()
        with self.nothing_moves(), lab.Faults(*self.nodes, write=errno.ENOSPC, least=512):
            record = Record(self.g)
            said = self.stands_still(node)
            lab.wait_for(lambda: metric(node, "drover_agent_guest_retries_total") >= 3, 40, "tried again", 0.5)
            record.waits()
            freed = time.monotonic()
        self.runs(node, record)
        return [said, f"runs {record.done - freed:.1f} s after there was room"]

    def end(self):
        self.g.records_are_on_disk()
        lines = [f"{self.g.records} records"]
        self.g.delete()
        return lines


def steps():
    return IoFaults().steps()
