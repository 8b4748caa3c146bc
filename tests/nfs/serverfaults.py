"""The NFS server fails in every way that it can, for all nodes and for one: the nodes find out and recover, nothing is sent
where the storage is sick, a guest leaves a node that alone has the fault, and no record that a guest has synced is lost.

What tests/e2e/iofaults.py does on the fast lab is done here with a real server; the guest, and what is asked of it, are the
same."""

import contextlib
import errno
import os
import threading
import time

import iofaults
import lab
from guest import Guest, nodes
from lab import at, condition, expect

POOL = "/var/lib/drover"
SOURCE = f"{lab.SERVER}:/pool"
OPTIONS = "hard,vers=4.2,proto=tcp,timeo=600,retrans=2,noatime,nosuid,nodev"  # as docs/storage.md and tests/nfs/node-start say
SEEN_S = 20  # within which a fault is seen, and that it is over: with the overlay's deadline of 8 s it is 18.3 s at most
GRACE_S = 20  # more after a restart, in which clients claim their files again
RECORDS = 3  # written while all is well, before and after
SILENT = f"nor does its server at {lab.SERVER} port 2049 answer"


def health(host):
    return [m["health"] for m in at(host, "status.mounts", [])]


def why(host):
    return "; ".join(m.get("reason") or "" for m in at(host, "status.mounts", []))


def slack():
    """The limit is for a machine that does nothing else: NFS_SLACK=4 on one that is shared."""
    return float(os.environ.get("NFS_SLACK") or 1)


def seen(node, wanted, since, word="", limit=SEEN_S):
    """Waits for what the node's agent says of its pool, and what its Node says; a line."""
    host = lab.watch("vmhost", node, lambda h: h and set(health(h)) == {wanted} and word in why(h), 60,
                     f"{wanted} {word}", namespace="")
    status = "True" if wanted == "Healthy" else "False"
    lab.watch("node", node, lambda n: n and condition(n, "DroverStorageHealthy").get("status") == status, 60,
              f"DroverStorageHealthy={status}", namespace="")
    took = time.monotonic() - since
    expect(took <= limit * slack(), f"{node}: {wanted} {word} was said only after {took:.1f} s")
    return f"{node}: {wanted} after {took:.1f} s{f': {why(host)}' if why(host) else ''}"


def backoff(cut, joined):
    """How long after the network is whole again a connection may stand still: as long again as it had no answer (RFC 6298)."""
    return joined - cut


def everywhere(*args, **kw):
    found, failures = [], []

    def one(node):
        try:
            found.append(seen(node, *args, **kw))
        except Exception as failure:  # said by who waits for all
            failures.append(failure)
    threads = [threading.Thread(target=one, args=(n,)) for n in nodes()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return sorted(found)


class Writer:
    """with Writer(guest): a record after the other, as fast as the guest takes them; the slowest is told."""

    def __init__(self, guest):
        self.guest, self.slowest, self.failure = guest, 0.0, None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._write)

    def _write(self):
        try:
            while not self.stopping.is_set():
                began = time.monotonic()
                self.guest.record()
                self.slowest = max(self.slowest, time.monotonic() - began)
        except Exception as failure:  # raised where the writer is used
            self.failure = failure

    def more(self, count):
        """Waits until as many more have been answered."""
        least = self.guest.records + count
        lab.wait_for(lambda: self.failure or self.guest.records >= least, 60, f"at record {least}")
        if self.failure:
            raise self.failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        if self.failure:
            raise self.failure


def restart(*options):
    lab.nfs_server("stop")
    lab.nfs_server("start", *options)


@contextlib.contextmanager
def access(*words):
    lab.nfs_server("access", *words)
    try:
        yield
    finally:
        lab.nfs_server("access", "read-write")


@contextlib.contextmanager
def filled():
    """Not a byte is left."""
    file = lab.LAB / "pool" / "fill"
    try:
        with open(file, "wb", buffering=0) as f:
            while True:
                f.write(bytes(1 << 20))
    except OSError as full:
        expect(full.errno == errno.ENOSPC, f"{file}: {full}")
    try:
        yield
    finally:
        file.unlink()


@contextlib.contextmanager
def unmounted(node):
    lab.node_exec(node, "umount", "-l", POOL)
    try:
        yield
        bare = lab.node_exec(node, "ls", "-A", POOL)
        expect(not bare, f"in the bare directory there is {bare.split()}")
    finally:
        lab.node_exec(node, "mount", "-t", "nfs4", "-o", OPTIONS, SOURCE, POOL)


@contextlib.contextmanager
def hung_mount(node):
    """The kernel hears nothing of the server, everybody else does."""
    lab.nfs_server("cut", node, "mount")
    try:
        yield
    finally:
        lab.nfs_server("join", node, "mount")


class Faults(iofaults.IoFaults):
    def boot(self):
        lab.guest_image()
        self.nodes = nodes()
        self.g = Guest("records", "node1")
        self.g.patch(**iofaults.anywhere())
        return [f"records: {self.g.address}, boot id {self.g.boot}"]

    def of_one(self, node, breakage, word, wait=lambda cut, mended: 0):
        """What is said of a mount that fails on one node alone, on which no guest is; wait: what its recovery takes besides."""
        def step():
            began = time.monotonic()
            with breakage(node):
                yield seen(node, "Unhealthy", began, word)
            mended = time.monotonic()
            yield seen(node, "Healthy", mended, limit=SEEN_S + wait(began, mended))
        return step

    @contextlib.contextmanager
    def writing(self):
        """Before, while and after something happens to the server; it stays the same guest, where it is, and loses nothing."""
        node = self.g.node()
        with self.nothing_moves(), Writer(self.g) as writer:
            writer.more(RECORDS)
            yield writer
            writer.more(RECORDS)
        self.g.settled(node)
        self.g.records_are_on_disk()

    def told(self, writer):
        return f"the same guest; {self.g.records} records, every one on the disk; the slowest took {writer.slowest:.1f} s"

    def server_fails(self, fail, mend, limit):
        def step():
            with self.writing() as writer:
                began = time.monotonic()
                with contextlib.ExitStack() as mending:
                    mending.callback(lab.nfs_server, mend)
                    lab.nfs_server(fail)
                    yield from everywhere("Unhealthy", began, SILENT)
                yield from everywhere("Healthy", time.monotonic(), limit=limit)
            yield self.told(writer)
        return step

    def restarted(self):
        with self.writing() as writer:
            restart()
        yield from everywhere("Healthy", time.monotonic(), limit=SEEN_S + GRACE_S)
        yield self.told(writer)

    def slow_server(self):
        with self.writing() as writer:
            lab.nfs_server("slow", "64kbit")
            try:
                writer.more(RECORDS)
                said = [f"{n}: {' '.join(health(lab.get('vmhost', n, namespace='')))}" for n in self.nodes]
            finally:
                lab.nfs_server("quick")
        yield from said
        yield from everywhere("Healthy", time.monotonic())
        yield self.told(writer)

    def stops(self, fault, word):
        """All nodes find that nothing can be written, and so does the guest, which stands still before it is told."""
        def step():
            node = self.g.node()
            with self.nothing_moves():
                with fault():
                    yield from everywhere("Unhealthy", time.monotonic(), word)
                    record = iofaults.Record(self.g)
                    yield self.stands_still(node)
                    record.waits()
                yield from everywhere("Healthy", time.monotonic())
                self.runs(node, record)
        return step

    def sick_target(self):
        """What the target cannot reach it is not sent; when it can, the guest moves by itself."""
        try:
            began = time.monotonic()
            with lab.HungMount("node2"):
                yield seen("node2", "Unhealthy", began, SILENT)
                expect(set(health(lab.get("vmhost", "node1", namespace=""))) == {"Healthy"}, "node1 has caught it")
                self.g.patch(nodeName="node2")
                vm = self.g.watch(lambda v: condition(v, "PlacementSatisfied").get("reason") == "Unschedulable"
                                  and "ServerSilent" in condition(v, "PlacementSatisfied").get("message", ""), 60,
                                  "told why node2 is not to be had")
                yield f"PlacementSatisfied: {condition(vm, 'PlacementSatisfied').get('message')}"
                self.g.record()
                self.g.one_domain("node1")
                expect(at(self.g.vm(), "status.owner.node") == "node1", "it has another owner")
            joined = time.monotonic()
            yield seen("node2", "Healthy", joined, limit=SEEN_S + backoff(began, joined))
            self.g.on("node2")
            self.g.record()
            self.g.records_are_on_disk()
            yield "healthy again, and the guest has moved there"
        finally:
            self.g.patch(**iofaults.anywhere())

    def read_only_to_its_node(self):
        node = self.g.node()
        return self.flees(node, access("read-only", node))

    def other_export(self):
        """The server comes back with another directory under the name, then with the right one."""
        with self.nothing_moves():
            began = time.monotonic()
            with contextlib.ExitStack() as mending:
                mending.callback(restart)
                restart("other")
                yield from everywhere("Unhealthy", began, "Stale", limit=SEEN_S + GRACE_S)
            yield from everywhere("Healthy", time.monotonic(), limit=SEEN_S + GRACE_S)
        # A client that could not claim an open file from a server that came back says "input/output error" of it for good.
        # Where it is opened anew all is well.
        node = self.g.node()
        there = next(n for n in self.nodes if n != node)
        began = time.monotonic()
        record = iofaults.Record(self.g)
        yield self.stands_still(node)
        self.runs(there, record)
        m = self.g.migrations()[-1]
        expect(at(m, "spec.reason") == "Storage" and at(m, "status.phase") == "Succeeded", f"the move: {m}")
        yield f"moved to {there}, it runs on {record.done - began:.1f} s later"

    def gone(self):
        self.g.records_are_on_disk()
        self.g.delete()


def steps(faults):
    return [
        # its very first record needs room
        ("server full", faults.stops(filled, "Full")),
        ("not mounted on a node", faults.of_one("node2", unmounted, "NotMounted: nothing is mounted")),
        ("a mount that hangs, though its server answers",
         faults.of_one("node2", hung_mount, f"though its server at {lab.SERVER} port 2049 answers", backoff)),
        ("server stopped and started again", faults.server_fails("stop", "start", SEEN_S + GRACE_S)),
        ("server hung and awake again", faults.server_fails("hang", "wake", SEEN_S)),
        ("server restarted at once", faults.restarted),
        ("server slow", faults.slow_server),
        ("export read-only", faults.stops(lambda: access("read-only"), "ead-only")),
        ("a target whose storage is away gets no guest", faults.sick_target),
        ("export read-only to its node alone: it is moved, runs on", faults.read_only_to_its_node),
        ("its node cut off from the server: it waits, and no move is tried", faults.hangs),
        ("export of another directory: what is lost with it is opened anew elsewhere", faults.other_export),
    ]
