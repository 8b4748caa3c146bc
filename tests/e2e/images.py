"""Images from a server that hangs up and dawdles, and images that nobody should trust; importers that are lost in the middle;
disks that outlive their VM or do not, and an image that outlives its deletion for as long as a disk stands on it."""

import contextlib
import hashlib
import http.server
import pathlib
import re
import subprocess
import tempfile
import threading

import guest
import lab
from lab import at, expect

HOST = "10.99.0.1"  # tests/lib.sh
POOL = lab.LAB / "pool"
IMPORTED = POOL / "imported"


class Server:
    """Serves files; of those in `cut` the first answer ends in the middle, of those in `held` it stops there until let go."""

    def __init__(self):
        self.files, self.cut, self.ranges = {}, set(), []
        self.held, self.begun, self.go = set(), threading.Event(), threading.Event()
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                with contextlib.suppress(OSError):  # whoever asked is gone
                    server.answer(self)

        self.httpd = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.httpd.daemon_threads = True
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://{HOST}:{self.httpd.server_port}/{name}"

    def answer(self, request):
        name = request.path.lstrip("/")
        data = self.files[name]
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        found = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        begin = int(found.group(1)) if found and request.headers.get("If-Range", tag) == tag else 0
        with self.lock:
            self.ranges.append((name, begin))
            cut = name in self.cut
            self.cut.discard(name)
            held = name in self.held
            self.held.discard(name)
        request.send_response(206 if begin else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(data) - begin))
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        body, half = data[begin:], (len(data) - begin) // 2
        request.wfile.write(body[:half] if cut or held else body)
        if held:
            request.wfile.flush()
            self.begun.set()
            self.go.wait(120)
            request.wfile.write(body[half:])
        if cut:
            request.close_connection = True


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def made(*args):
    """What qemu-img makes of these arguments, its file being called `image`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["qemu-img", "create", "-q", *args], cwd=folder, check=True, timeout=30)
        return pathlib.Path(folder, "image").read_bytes()


def file_of(name):
    return IMPORTED / at(lab.get("vmimage", name), "metadata.uid")


def in_pool(folder):
    """Files, and folders that should not be there when they are empty."""
    return sorted(str(p.relative_to(POOL)) for p in (POOL / folder).glob("**/*"))


class Images:
    def __init__(self):
        self.server, self.uid = None, {}

    def begin(self):
        self.server = Server()
        self.source = (POOL / "images" / "guest.qcow2").read_bytes()
        self.before = in_pool("disks")

    def apply(self, name, data, sum_of=None):
        self.server.files[name] = data
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineImage", "metadata": {"name": name, "namespace": "default"},
                   "spec": {"source": {"url": self.server.url(name), "sha256": sha256(sum_of or data)}}})

    def ready(self, name, timeout=60):
        image = lab.watch("vmimage", name, lambda i: i and at(i, "status.phase") in ("Ready", "Failed"), timeout, "imported")
        expect(at(image, "status.phase") == "Ready", f"{name}: {at(image, 'status.message')}")
        self.uid[name] = at(image, "metadata.uid")
        self.alone(name)
        expect(file_of(name).read_bytes() == self.server.files[name], f"{name} is not what was served")
        return image

    def alone(self, name):
        """Nothing is left of its parts; what an agent left that hung goes when it has come to itself."""
        def there():
            return [p.name for p in IMPORTED.iterdir() if p.name.startswith(self.uid[name])]
        lab.wait_for(lambda: there() == [self.uid[name]], 30, f"without parts: of {name} the pool has {there()}")

    def cut(self):
        """The server hangs up in the middle, and is asked for the rest."""
        self.server.cut.add("cut")
        self.apply("cut", self.source)
        image = self.ready("cut")
        begins = [begin for name, begin in self.server.ranges if name == "cut"]
        expect(len(begins) == 2 and begins[0] == 0 and begins[1] > 0, f"asked from {begins}")
        return [f"{at(image, 'status.importer.node')}: {at(image, 'status.progress.bytesDone')} bytes, the second half from {begins[1]} on"]

    def refused(self, name, data, words, sum_of=None):
        def step():
            self.apply(name, data() if callable(data) else data, sum_of)
            image = lab.watch("vmimage", name, lambda i: i and at(i, "status.phase") in ("Ready", "Failed"), 60, "judged")
            said = at(image, "status.message", "")
            expect(at(image, "status.phase") == "Failed" and words in said, f"{at(image, 'status.phase')}: {said}")
            expect(not [p for p in IMPORTED.iterdir() if at(image, "metadata.uid") in p.name], "something of it is left")
            self.gone(name)
            return [said]
        return step

    def gone(self, name, timeout=60):
        lab.kubectl("delete", "vmimage", name, f"--timeout={timeout}s")

    def importer(self, name):
        self.server.held.add(name)
        self.server.begun.clear()
        self.server.go.clear()
        self.apply(name, self.source)
        expect(self.server.begun.wait(60), "nobody fetches it")
        return at(lab.get("vmimage", name), "status.importer")

    def agent_killed(self):
        """The same node's next agent goes on."""
        importer = self.importer("killed")
        pod = next(p for p in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-agent", namespace="drover-system")
                   if at(p, "spec.nodeName") == importer["node"])
        lab.kubectl("delete", "pod", at(pod, "metadata.name"), "-n", "drover-system", "--grace-period=0", "--force")
        image = self.ready("killed", 120)
        self.server.go.set()
        lab.kubectl("rollout", "status", "-n", "drover-system", "daemonset/drover-agent", "--timeout=60s")
        return [f"{importer['node']} at epoch {importer['epoch']}, {at(image, 'status.importer.node')} at {at(image, 'status.importer.epoch')}"]

    def pool_hangs(self):
        """Another node imports it; the first one, which comes to itself afterwards, does no harm."""
        importer = self.importer("hung")
        with lab.HungMount(importer["node"]):
            image = lab.watch("vmimage", "hung", lambda i: at(i, "status.phase") == "Ready", 120, "imported by another")
            inode = file_of("hung").stat().st_ino
        self.server.go.set()
        expect(at(image, "status.importer.node") != importer["node"] and at(image, "status.importer.epoch") == importer["epoch"] + 1,
               f"imported by {at(image, 'status.importer')}")
        lab.watch("vmhost", importer["node"], lambda h: all(m["health"] == "Healthy" for m in at(h, "status.mounts", [])), 60,
                  "healthy again", namespace="")
        self.ready("hung")
        expect(at(image, "status.progress.bytesDone") == len(self.source), f"progress: {at(image, 'status.progress')}")
        expect(file_of("hung").stat().st_ino == inode, "the image was replaced")
        self.gone("hung")
        return [f"{importer['node']}, then {at(image, 'status.importer.node')}"]

    def booted(self):
        """A VM on an imported image, one of its disks to be kept; and one with a copy of its own."""
        nodes = guest.nodes()
        self.over = guest.Guest("images-over", nodes[0], disks=[
            {"name": "root", "image": {"name": "cut"}, "reclaimPolicy": "Retain"}, {"name": "data", "blank": {"size": "64Mi"}}])
        self.full = guest.Guest("images-full", nodes[1], disks=[{"name": "root", "image": {"name": "killed", "clone": "Full"}}])
        backing = {}
        for vm in (self.over, self.full):
            info = lab.run("qemu-img", "info", "-U", POOL / "disks" / vm.uid / "root.qcow2").stdout
            backing[vm] = re.search("backing file: (\\S+)", info)
        expect(backing[self.over].group(1).endswith(self.uid["cut"]), "the overlay does not stand on the image")
        expect(not backing[self.full], "the full clone stands on something")

    def image_waits(self):
        """Deleted, but in use: by a VM, then by a disk that has outlived it."""
        lab.kubectl("delete", "vmimage", "cut", "--wait=false")
        image = lab.watch("vmimage", "cut", lambda i: i is None or "images-over" in at(i, "status.message", ""), 30, "kept for the VM")
        expect(lab.get("vmimage", "cut"), "the image went away under a VM")
        yield at(image, "status.message")
        self.over.delete()
        kept = in_pool("retained")
        uid = self.over.uid
        expect(kept == [f"retained/{uid}", f"retained/{uid}/root.qcow2"], f"retained: {kept}")
        said = [e["message"] for e in lab.get("events") if e["reason"] == "DiskRetained" and at(e, "involvedObject.uid") == uid]
        expect(len(said) == 1 and f"retained/{uid}/root.qcow2" in said[0], f"the event says {said}")
        yield said[0]
        image = lab.watch("vmimage", "cut", lambda i: i is None or "stands on it" in at(i, "status.message", ""), 60, "kept for the disk")
        expect(lab.get("vmimage", "cut") and (IMPORTED / self.uid["cut"]).exists(), "the image went away under a disk")
        yield at(image, "status.message")
        (POOL / "retained" / uid / "root.qcow2").unlink()
        (POOL / "retained" / uid).rmdir()
        lab.watch("vmimage", "cut", lambda i: i is None, 60, "gone")

    def full_clone(self):
        """Its VM needs the image no more, but names it; without it the image goes, and the disk with the VM."""
        self.full.same()
        self.full.delete()
        self.gone("killed")

    def nothing_left(self):
        expect(in_pool("imported") == [] and in_pool("retained") == [], f"left: {in_pool('imported')} {in_pool('retained')}")
        lab.wait_for(lambda: set(in_pool("disks")) <= set(self.before), 30, "without disks of VMs that are gone")
        self.server.httpd.shutdown()

    def steps(self):
        backing = ("-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", "image", "1M")
        return [(f"images: {title}", step) for title, step in [
            ("a server", self.begin), ("a transfer cut in the middle", self.cut),
            ("another sum", self.refused("sum", b"x" * 4096, "sha256", b"y")),
            ("a backing file", self.refused("backing", lambda: made(*backing), "backing file")),
            ("a huge disk", self.refused("huge", lambda: made("-f", "qcow2", "image", "40T"), "more than")),
            ("no image", self.refused("text", b"<html>", "sectors")),
            ("an agent killed in the middle", self.agent_killed), ("a pool that hangs in the middle", self.pool_hangs),
            ("guests on them", self.booted), ("an image waits for its disks", self.image_waits),
            ("a full clone", self.full_clone), ("nothing left", self.nothing_left)]]


def steps():
    return Images().steps()
