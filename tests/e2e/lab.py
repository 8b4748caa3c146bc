"""What the end-to-end programs need of the lab: kubectl, nodes, a session into a guest, a gap meter."""

import base64
import errno
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIND = os.environ.get("DROVER_LAB", "lab")  # "lab", or "nfs": see tests/lib.sh
LAB = ROOT / "build" / KIND
KUBECTL = LAB / "bin" / "kubectl"
ENV = dict(os.environ, KUBECONFIG=str(LAB / "kubeconfig"), KUBECACHEDIR=str(LAB / "kubectl"), KUBERC="off")
ECHO_PORT, BOOT_ID_PORT = 7, 7001
PATIENCE = float(os.environ.get("DROVER_PATIENCE") or {"lab": 1, "nfs": 8}[KIND])  # limits of time are multiplied by it
SERVER = "10.109.0.3"  # of the pool, in the NFS lab
GAP_INTERVAL = {"lab": 0.005, "nfs": 0.5}[KIND]  # more is more than a guest of an emulated node can answer
GAP_OPEN_S = 10


if os.geteuid():  # raw sockets for the gap meter, signals to what the lab runs
    os.execvp("sudo", ["sudo", "-E", sys.executable, "-B", *sys.argv])


class Failed(Exception):
    """An expectation that did not hold; the text is for a person."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


def run(*args, stdin=None, check=True, timeout=120):
    done = subprocess.run([str(a) for a in args], input=stdin, env=ENV, text=True,
                          capture_output=True, timeout=timeout * PATIENCE)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, args))}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def kubectl(*args, **kw):
    return run(KUBECTL, *args, **kw).stdout


def timeout(seconds):
    """For kubectl's own waiting."""
    return f"--timeout={seconds * PATIENCE:g}s"


def get(kind, name=None, *args, namespace="default"):
    """The object, or the list of items; None when there is no such object."""
    words = ["get", kind] + ([name] if name else []) + ["-n", namespace, "-o", "json", *args]
    done = run(KUBECTL, *words, check=False)
    if done.returncode:
        if "NotFound" in done.stderr:
            return None
        raise Failed(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return found if name else found["items"]


def apply(obj, *args):
    text = obj if isinstance(obj, str) else json.dumps(obj)
    return run(KUBECTL, "apply", "-f", "-", *args, stdin=text)


def guest_image():
    """The VirtualMachineImage of the demo, without its VM."""
    apply((ROOT / "examples" / "demo.yaml").read_text().split("---")[0])


def patch(kind, name, body, *args):
    return kubectl("patch", kind, name, "--type", "merge", "-p", json.dumps(body), *args)


class Api:
    """The API server without kubectl's half a second a call."""

    def __init__(self):
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        self.host = cluster["server"].split("//")[1]
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for key, source in (("ca", cluster.get("certificate-authority-data")), ("crt", user.get("client-certificate-data")),
                                ("key", user.get("client-key-data"))):
                files[key] = os.path.join(folder, key)
                pathlib.Path(files[key]).write_bytes(base64.b64decode(source))
            self.context = ssl.create_default_context(cafile=files["ca"])
            self.context.load_cert_chain(files["crt"], files["key"])
        self.connection = None

    def send(self, method, path, body, kind):
        """Status and text of the answer."""
        if not self.connection:
            self.connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
        self.connection.request(method, path, json.dumps(body), {"Content-Type": kind})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def patch(self, path, body):
        status, text = self.send("PATCH", path, body, "application/merge-patch+json")
        expect(status == 200, f"PATCH {path}: {status} {text[:300]!r}")


def at(obj, path, default=None):
    """at(vm, 'status.owner.node')"""
    for key in path.split("."):
        if not isinstance(obj, dict) or key not in obj:
            return default
        obj = obj[key]
    return obj


def condition(obj, kind):
    for c in at(obj, "status.conditions", []):
        if c["type"] == kind:
            return c
    return {}


def events(timeout, kind, *words, namespace="default"):
    """(type, object) of each event of `kubectl get --watch`, the objects of the beginning included; ends with the time."""
    deadline = time.monotonic() + timeout * PATIENCE
    process = subprocess.Popen([str(KUBECTL), "get", kind, "-n", namespace, *words, "--watch", "-o", "json", "--output-watch-events"],
                               env=ENV, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    decoder, text = json.JSONDecoder(), ""
    try:
        while (left := deadline - time.monotonic()) > 0 and select.select([process.stdout], [], [], left)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                raise Failed(f"the watch of {kind} ended")
            text += chunk.decode()
            while text.lstrip():
                try:
                    event, end = decoder.raw_decode(text.lstrip())
                except ValueError:
                    break
                text = text.lstrip()[end:]
                yield event["type"], event["object"]
    finally:
        process.kill()
        process.wait()


def watch(kind, name, until, timeout, what, namespace="default"):
    """Follows one object until until(object) is true, of None when it is deleted; returns the object."""
    last = None
    for happened, last in events(timeout, kind, "--field-selector", f"metadata.name={name}", namespace=namespace):
        if until(None if happened == "DELETED" else last):
            return last
    seen = at(last, "status") or at(last, "metadata")  # nothing of a Secret's data
    raise Failed(f"{kind}/{name}: not {what} within {timeout * PATIENCE:g} s; last seen: {json.dumps(seen)}")


def wait_for(probe, timeout, what, interval=0.1):
    """Asks probe() until it gives something true: for what has no watch (files, processes, metrics)."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not {what} within {timeout * PATIENCE:g} s")
        time.sleep(interval)


def node_exec(node, *args, check=True, timeout=60):
    return run(ROOT / "tests" / KIND / "node", node, *args, check=check, timeout=timeout).stdout


def domains(node):
    """Names of the running or paused domains on a node, as its libvirtd says."""
    return node_exec(node, "virsh", "-q", "list", "--name").split()


def defined(node):
    """Likewise, and those that are only defined."""
    return node_exec(node, "virsh", "-q", "list", "--all", "--name").split()


def mount_server(node):
    """Pid of the FUSE server behind the node's pool."""
    return int((LAB / node / "bindfs.pid").read_text())


class Faults:
    """with Faults('node2', write=errno.EROFS): that node's pool answers so, to all who have files open there as well.
    `least`: shorter writes succeed; `delay`: milliseconds a call. See tests/lab/poolfaults.c."""

    def __init__(self, *nodes, read=0, write=0, least=0, delay=0):
        self.files = [LAB / node / "pool-faults" for node in nodes]
        self.words = struct.pack("=iiii", read, write, least, delay)

    def __enter__(self):
        self._write(self.words)
        return self

    def __exit__(self, *_):
        self._write(bytes(16))

    def _write(self, words):
        for file in self.files:
            with open(file, "r+b", buffering=0) as f:
                f.write(words)


def nfs_server(*action):
    """What tests/nfs/server says that it can do."""
    return run(ROOT / "tests" / "nfs" / "server", *action).stdout


class HungMount:
    """with HungMount('node2'): every access to that node's pool hangs."""

    def __init__(self, node):
        self.node = node
        self.pid = mount_server(node) if KIND == "lab" else None

    def __enter__(self):
        if self.pid:
            os.kill(self.pid, signal.SIGSTOP)
        else:
            nfs_server("cut", self.node)

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGCONT)
        else:
            nfs_server("join", self.node)


class Session:
    """One TCP connection into the guest's echo service, kept for the whole of a test."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.create_connection((address, ECHO_PORT), timeout=30 * PATIENCE)
        self.turns = 0

    def say(self):
        """A word there and back; any loss of the connection is an error."""
        self.turns += 1
        word = f"turn {self.turns}\n".encode()
        self.socket.sendall(word)
        answer = b""
        while not answer.endswith(b"\n"):
            more = self.socket.recv(4096)
            expect(more, "the guest closed the TCP session")
            answer += more
        expect(answer == word, f"the guest answered {answer!r} to {word!r}")

    def close(self):
        self.socket.close()


def connect(address, port, timeout):
    """To a guest. Who answers no ARP for three seconds counts as unreachable, which a guest of a guest may be and answer yet."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return socket.create_connection((address, port), timeout=timeout)
        except OSError as failure:
            if KIND != "nfs" or failure.errno != errno.EHOSTUNREACH or time.monotonic() > deadline:
                raise


def boot_id(address):
    with connect(address, BOOT_ID_PORT, 30 * PATIENCE) as s:
        text = b""
        while more := s.recv(4096):
            text += more
    expect(len(text.strip()) == 36, f"no boot id from {address}: {text!r}")
    return text.decode().strip()


class GapMeter:
    """ICMP echo to the guest each GAP_INTERVAL; the longest time between two answers."""

    def __init__(self, address):
        self.address = address
        self.longest = self.ended = 0.0  # ended: wall time
        self.replies = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.replies, 30, f"any echo from {self.address}", 0.01)
        return self

    def __exit__(self, *_):
        """The gap that is open now counts: whoever stops is answered once more, or waits as long as a gap may last."""
        seen, deadline = self.replies, time.monotonic() + GAP_OPEN_S * PATIENCE
        while self.replies == seen and time.monotonic() < deadline:
            time.sleep(GAP_INTERVAL)
        self.stopping.set()
        self.thread.join()

    def gap_ms(self):
        return round(self.longest * 1000)

    @staticmethod
    def _checksum(data):
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total >> 16) + (total & 0xFFFF)
        return ~(total + (total >> 16)) & 0xFFFF

    def _run(self):
        ident = os.getpid() & 0xFFFF
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
            last, due, sequence = None, time.monotonic(), 0
            while not self.stopping.is_set():
                now = time.monotonic()
                if now >= due:
                    sequence = (sequence + 1) & 0xFFFF
                    head = struct.pack("!BBHHH", 8, 0, 0, ident, sequence)
                    s.sendto(struct.pack("!BBHHH", 8, 0, self._checksum(head), ident, sequence),
                             (self.address, 0))
                    due = max(due + GAP_INTERVAL, now)
                if not select.select([s], [], [], max(0, due - time.monotonic()))[0]:
                    continue
                data, peer = s.recvfrom(2048)
                if peer[0] == self.address and data[20] == 0 and data[24:26] == struct.pack("!H", ident):
                    now = time.monotonic()
                    self.replies += 1
                    if last is not None:
                        if now - last > self.longest:
                            self.longest, self.ended = now - last, time.time()
                    last = now
            if last is not None and time.monotonic() - last > self.longest:
                self.longest, self.ended = time.monotonic() - last, time.time()
