"""Networks that are cut and parts that stand still during a move: by then as many things are unknown as can be."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import lab
import matrix
from guest import slowly
from lab import at, expect

HOME, AWAY = matrix.HOME, matrix.AWAY
API = "10.99.0.2"
SECONDS = 20  # longer than a heartbeat and than libvirt's keepalive last
LIBVIRT_TLS = 16514


def address(node):
    return at(lab.get("vmhost", node, namespace=""), "status.migrationAddress")


def filtered(node, *rule, check=True):
    lab.run("ip", "netns", "exec", f"drover-{node}", "iptables", "-w", *rule, check=check)


@contextlib.contextmanager
def cut(node, peer):
    """Drops every packet between the node and that address."""
    rules = [("INPUT", "-s", peer, "-j", "DROP"), ("OUTPUT", "-d", peer, "-j", "DROP")]
    for r in rules:
        filtered(node, "-I", *r)
    try:
        yield
    finally:
        for r in rules:
            filtered(node, "-D", *r, check=False)


def cut_for_a_while(node, peer):
    with cut(node, peer):
        time.sleep(SECONDS)


def cut_nodes(g):
    cut_for_a_while(HOME, address(AWAY))


def cut_source_api(g):
    cut_for_a_while(HOME, API)


def cut_target_api(g):
    cut_for_a_while(AWAY, API)


CUTS = {"the nodes from each other": cut_nodes, "the source from the API server": cut_source_api,
        "the target from the API server": cut_target_api}


def agent_pid(node):
    pids = matrix._pids("drover-agent", node)
    expect(len(pids) == 1, f"agents on {node}: {pids}")
    return pids[0]


def source_gone(g):
    return f"default_{g.name}" not in lab.domains(HOME) and "paused" in lab.node_exec(
        AWAY, "virsh", "-q", "domstate", f"default_{g.name}", check=False)


class Cuts(matrix.Matrix):
    def __init__(self):
        super().__init__()
        self.whole = 0  # records of a move that nobody cuts, in the connection that has most

    def cut_case(self, boundary, what):
        matrix.VICTIMS[what] = CUTS[what]
        return self.case(boundary, what)

    def asleep(self, meanwhile):
        """The source's agent stands still when the source is dead and the target waits, paused, to be resumed."""
        def run():
            self._ready()
            g = self.g
            g.record()
            before = {m["metadata"]["name"] for m in g.migrations()}
            pid = agent_pid(HOME)
            g.patch(nodeName=AWAY, migration={"bandwidthMiBps": 30})
            try:
                g.copying()
                lab.wait_for(lambda: any(at(m, "status.transfer.firstByteAt") for m in g.migrations()
                                         if m["metadata"]["name"] not in before), 60, "copying for good", 0.02)
                os.kill(pid, signal.SIGSTOP)
                lab.wait_for(lambda: source_gone(g), 120, "switched over by libvirt")
                meanwhile(g)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                g.patch(migration={"bandwidthMiBps": 0})
            return self._outcome(before)
        return run

    def storage_hangs(self):
        """The source's storage hangs with a write in flight: its threads cannot be killed, nor the copy end."""
        self._ready()
        g = self.g
        before = {m["metadata"]["name"] for m in g.migrations()}
        with slowly(g, 20):
            g.patch(nodeName=AWAY)
            g.copying()
            with lab.HungMount(HOME):
                writer = threading.Thread(target=g.record)
                writer.start()
                time.sleep(15)
            writer.join()
        return self._outcome(before)

    def _through_proxy(self, record):
        """One move with a proxy in between: connections cut, records of the longest, and what became of it all."""
        self._ready()
        g = self.g
        g.record()
        before = {m["metadata"]["name"] for m in g.migrations()}
        with Proxy(record) as proxy:
            g.patch(nodeName=AWAY)
            lab.wait_for(lambda: any(at(m, "status.phase") in ("Failed", "Succeeded") for m in g.migrations()
                                     if m["metadata"]["name"] not in before), 240, "an end of the first move")
            cuts, carried = proxy.cuts(), proxy.carried()
        return cuts, carried, self._outcome(before)

    def counted(self):
        """A whole move, of which every record can be cut at."""
        cuts, self.whole, lines = self._through_proxy(NO_CUT)
        expect(not cuts, f"{cuts} connections cut")
        expect(max(RECORDS) >= self.whole > max(SOME_RECORDS), f"a move has {self.whole} records: RECORDS does not fit")
        return [f"{self.whole} records in one connection"] + lines

    def proxied(self, record):
        """Each connection to the target's libvirtd is cut when it has carried so many TLS records; one at least."""
        def run():
            if not self.whole:
                self.counted()
            if record >= self.whole:
                return [f"a whole move has {self.whole} records: there is none to cut at"]
            most = 0
            for _ in range(TRIES):  # a move does with some records less than the one that was counted
                cuts, carried, lines = self._through_proxy(record)
                if cuts:
                    return [f"{cuts} connections cut"] + lines
                most = max(most, carried)
            expect(most > max(SOME_RECORDS), f"no connection was cut: the longest had {most} records, the move that was counted {self.whole}")
            return [f"{TRIES} whole moves had at most {most} records: there was none to cut at"] + lines
        return run


class Proxy:
    """cutproxy.py between the source and the target's libvirtd."""

    def __init__(self, record):
        self.record, self.rule = record, ("OUTPUT", "-t", "nat", "-p", "tcp", "-d", address(AWAY), "--dport", str(LIBVIRT_TLS),
                                          "-m", "mark", "!", "--mark", "7", "-j", "REDIRECT", "--to-ports", "9912")

    def __enter__(self):
        self.log = lab.LAB / "cutproxy.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/drover-{HOME}", sys.executable, "-B", str(pathlib.Path(__file__).with_name("cutproxy.py")),
                 address(AWAY), str(LIBVIRT_TLS), "9912", str(self.record)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        lab.wait_for(lambda: "ready" in self.log.read_text(), 20, "the proxy is ready")
        filtered(HOME, "-t", "nat", "-I", *[w for w in self.rule if w not in ("-t", "nat")])
        return self

    def cuts(self):
        return self.log.read_text().split().count("cut")

    def carried(self):
        """Records of the connection that had most."""
        words = self.log.read_text().split()
        return max((int(n) for word, n in zip(words, words[1:]) if word == "carried"), default=0)

    def __exit__(self, *_):
        filtered(HOME, "-t", "nat", "-D", *[w for w in self.rule if w not in ("-t", "nat")], check=False)
        self.process.kill()
        self.process.wait()


def _kill_source_agent(g):
    matrix.kill_agent(HOME)(g)


def _nothing(g):
    pass


def _target_dies(g):
    matrix.kill_qemu(AWAY)(g)


def _target_libvirtd_dies(g):
    matrix.kill_libvirtd(AWAY)(g)


RECORDS = range(64)  # a whole move is about 41 in libvirtd's connection, 35 in the agent's
SOME_RECORDS = (15, 24, 33)
NO_CUT = 1 << 30
TRIES = 3


def steps(everything=False):
    cuts = Cuts()
    found = []
    for boundary in ("journal begun", "before Copying", "copy's first word", "while copying", "copy's last word", "before Confirming",
                     "before the owner", "before Succeeded") if everything else ("while copying", "copy's last word"):
        for what in CUTS:
            found.append((f"cut {boundary}: {what}", cuts.cut_case(boundary, what)))
    found += [("the source's agent sleeps through the handover", cuts.asleep(_nothing)),
              ("the source's agent dies in the handover", cuts.asleep(_kill_source_agent)),
              ("the target dies while it waits to be resumed", cuts.asleep(_target_dies)),
              ("the target's libvirtd dies while the guest waits", cuts.asleep(_target_libvirtd_dies)),
              ("the source's storage hangs with a write in flight", cuts.storage_hangs)]
    found.append(("a move through a proxy, its records counted", cuts.counted))
    for record in RECORDS if everything else SOME_RECORDS:
        found.append((f"libvirt's connection is cut at its record {record}", cuts.proxied(record)))
    return found + [("cuts: the lab as it was", cuts.end)]
