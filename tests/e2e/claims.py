"""Disks that are PersistentVolumeClaims: made, moved with their guest, kept when it goes; and those that keep a guest where it
is. The volumes are of kind `local`, in a folder that all nodes of the lab share, so that the kubelet mounts them below its
pods."""

import re

import faults
import guest
import iofaults
import lab
from guest import Guest
from lab import at, condition, expect

FOLDER = lab.LAB / "pool" / "claims"
IN_NODE = "/var/lib/drover/claims"
KUBELET = "/var/lib/kubelet/pods"


def local(path):
    """A volume that every node may have."""
    return {"local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "Exists"}]}]}}}


def volume(name, access, source, mode="Filesystem", size="64Mi"):
    """A PersistentVolume for the claim of its name."""
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{name}"}, "spec": {
        "capacity": {"storage": size}, "accessModes": [access], "volumeMode": mode, "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "default", "name": name}, **source}}


def claim(name, access, mode="Filesystem", size="64Mi"):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "accessModes": [access], "volumeMode": mode, "storageClassName": "", "volumeName": f"pv-{name}",
        "resources": {"requests": {"storage": size}}}}


def folder(name):
    path = FOLDER / name
    lab.run("rm", "-rf", path)
    path.mkdir(parents=True)
    return path


def disk(name):
    return {"name": "data", "persistentVolumeClaim": {"claimName": name}}


def removed(name):
    """The claim can go: no pod has it any more."""
    lab.kubectl("delete", "persistentvolumeclaim", name, "--ignore-not-found", lab.timeout(60))
    lab.kubectl("delete", "persistentvolume", f"pv-{name}", "--ignore-not-found", lab.timeout(60))


def handles(g):
    """All pods of the guest, those that are about to end included."""
    return lab.get("pods", None, "-l", f"drover.dev/vm={g.name}")


def pod_uid(g):
    pods = g.pods()
    expect(len(pods) == 1, f"pods: {[p['metadata']['name'] for p in pods]}")
    return pods[0]["metadata"]["uid"]


def paths(g, node, *which):
    """Where the guest's disks are, as the node's libvirtd says."""
    xml = lab.node_exec(node, "virsh", "-q", "dumpxml", *which, f"default_{g.name}")
    return re.findall(r"<source (?:file|dev)='([^']+)'", xml)


def migratable(g, status, words=""):
    vm = g.watch(lambda v: v and condition(v, "LiveMigratable").get("status") == status
                 and words in condition(v, "LiveMigratable").get("message", ""), 60, f"LiveMigratable {status} {words}")
    return condition(vm, "LiveMigratable").get("message")


class Shared:
    """A guest with a claim that all nodes may mount; of one kind or the other."""

    plugin = "kubernetes.io~local-volume"

    def __init__(self, name, kind):
        self.name, self.kind, self.g, self.nodes = name, kind, None, None

    def path(self, uid):
        return f"{KUBELET}/{uid}/{self.kind}/{self.plugin}/pv-{self.name}" + (
            "/disk.img" if self.kind == "volumes" else "")

    def is_at(self, node, uid):
        for which in ((), ("--inactive",)):
            found = [p for p in paths(self.g, node, *which) if p.startswith(KUBELET)]
            expect(found == [self.path(uid)], f"on {node} {which} the disk is {found}, not {self.path(uid)}")

    def starts(self):
        self.nodes = guest.nodes()
        self.g = Guest(self.name, self.nodes[0], disks=[{"name": "root", "image": {"name": "guest"}}, disk(self.name)])
        self.is_at(self.nodes[0], pod_uid(self.g))
        migratable(self.g, "True")
        self.write()

    def write(self):
        for _ in range(3):
            self.g.record()

    def move(self, node):
        before = self.g.node()
        self.g.patch(**guest.pinned(node))
        self.g.on(node)
        self.is_at(node, pod_uid(self.g))
        lab.wait_for(lambda: [p["spec"]["nodeName"] for p in handles(self.g)] == [node], 90, f"rid of its pods on {before}")
        self.write()
        m = self.g.migrations()[-1]
        expect(at(m, "status.phase") == "Succeeded", f"the move: {m}")
        return f"{before} -> {node}: paused {at(m, 'status.downtimeMs')} ms, {at(m, 'status.totalMs')} ms in all"

    def moves(self):
        return [self.move(self.nodes[1])]

    def adopted(self):
        """What QEMU has open stays, whatever becomes of the pod for which the kubelet has mounted it."""
        node, old = self.g.node(), self.g.pods()[0]["metadata"]
        lab.kubectl("delete", "pod", old["name"], "--wait=false")
        new = lab.wait_for(lambda: next((p for p in self.g.pods() if p["metadata"]["uid"] != old["uid"]
                                         and condition(p, "Ready").get("status") == "True"), None), 60, "adopted by a new pod")
        self.is_at(node, old["uid"])
        self.write()
        return [f"{new['metadata']['name']} stands for the guest", self.former(node, old), self.move(self.nodes[2])]

    def former(self, node, old):
        """What has become of the pod that was deleted, while the guest is still there."""
        raise NotImplementedError

    def content(self):
        raise NotImplementedError

    def ends(self):
        """The claim is the user's, with all that is in it."""
        self.g.delete()
        self.g.records_are_in(self.content())
        expect(at(lab.get("persistentvolumeclaim", self.name), "status.phase") == "Bound", "the claim is not Bound any more")
        removed(self.name)
        return [f"{self.g.records} records"]


class Files(Shared):
    def __init__(self):
        super().__init__("claimed", "volumes")

    def source(self):
        return local(f"{IN_NODE}/{self.name}")

    def make(self):
        lab.guest_image()
        removed(self.name)
        folder(self.name)
        lab.apply(volume(self.name, "ReadWriteMany", self.source()))
        lab.apply(claim(self.name, "ReadWriteMany"))
        self.starts()
        file = FOLDER / self.name / "disk.img"
        size = file.stat().st_size
        expect(size == 60 << 20, f"the disk is of {size} bytes")  # 94 % of the claim's 64 MiB, in whole MiB
        return [f"a disk of {size >> 20} MiB was made"]

    def former(self, node, old):
        """Its kubelet cannot unmount, so the pod cannot end."""
        lab.wait_for(lambda: "target is busy" in (lab.LAB / node / "kubelet.log").read_text(), 30, "busy")
        ending = [p["metadata"]["name"] for p in handles(self.g) if at(p, "metadata.deletionTimestamp")]
        expect(ending == [old["name"]], f"pods about to end: {ending}, not {old['name']}")
        return f"{old['name']} stays Terminating"

    def content(self):
        return (FOLDER / self.name / "disk.img").read_bytes()


class Device(Shared):
    """All nodes of the lab have one kernel, and so its loop devices."""

    def __init__(self):
        super().__init__("device", "volumeDevices")
        self.file, self.device = lab.LAB / "claim.img", None

    def make(self):
        lab.guest_image()
        removed(self.name)
        self.file.write_bytes(b"")
        with self.file.open("r+b") as f:
            f.truncate(64 << 20)
        for line in lab.run("losetup", "--associated", self.file).stdout.splitlines():  # of a run that was killed
            lab.run("losetup", "--detach", line.split(":")[0])
        self.device = lab.run("losetup", "--find", "--show", self.file).stdout.strip()
        lab.apply(volume(self.name, "ReadWriteMany", local(self.device), "Block"))
        lab.apply(claim(self.name, "ReadWriteMany", "Block"))
        self.starts()
        return [f"on {self.device}"]

    def adopted(self):
        """The link by which QEMU has opened it goes with the pod. The guest does not mind, nor does libvirtd, but QEMU would
        when it hands the guest over."""
        node, old = self.g.node(), self.g.pods()[0]["metadata"]
        lab.kubectl("delete", "pod", old["name"], "--wait=false")
        said = migratable(self.g, "False", "restart the guest")
        lab.node_exec(node, "test", "!", "-h", self.path(old["uid"]))
        lab.run(lab.ROOT / "tests" / "lab" / "restart", node, "libvirtd")
        lab.wait_for(lambda: condition(self.g.pods()[0], "Ready").get("status") == "True", 60, "adopted by a new pod")
        self.is_at(node, old["uid"])
        self.write()
        return [said, self.restarted(node)]

    def restarted(self, node):
        """By the link of the pod that it has now."""
        self.g.patch(restartedAt="now")
        lab.wait_for(lambda: self.opened(node) == [self.path(pod_uid(self.g))], 120, "started anew")
        migratable(self.g, "True")
        return f"restarted, it is at {self.opened(node)[0]}"

    def opened(self, node):
        return [p for p in paths(self.g, node) if p.startswith(KUBELET)]

    def content(self):
        return self.file.read_bytes()

    def ends(self):
        lines = super().ends()
        lab.run("losetup", "--detach", self.device)
        return lines


class Failing:
    """A claim on a small file system of its own, which is filled up under the guest. The pools are well all the while."""

    name, node, records = "failing", "node1", 8  # these fill what the guest writes at once, a page

    def __init__(self):
        self.image, self.path, self.filler = lab.LAB / "failing.img", f"{IN_NODE}/failing", f"{IN_NODE}/failing/filler"
        self.g = None

    def make(self):
        lab.guest_image()
        removed(self.name)
        folder(self.name)
        self.image.unlink(missing_ok=True)
        lab.run("truncate", "-s", "24M", self.image)
        lab.run("mkfs.ext4", "-q", "-b", "1024", "-m", "0", self.image)
        lab.node_exec(self.node, "mount", "-o", "loop", self.image, self.path)
        lab.apply(volume(self.name, "ReadWriteOnce", local(self.path), size="16Mi"))
        lab.apply(claim(self.name, "ReadWriteOnce", size="16Mi"))
        self.g = Guest(self.name, self.node, disks=[{"name": "root", "image": {"name": "guest"}}, disk(self.name)])
        for _ in range(self.records):
            self.g.record()

    def stands_still(self):
        """And nothing else does: no node is unhealthy, nothing moves."""
        lab.node_exec(self.node, "dd", "if=/dev/zero", f"of={self.filler}", "bs=1024", check=False)
        record = iofaults.Record(self.g)
        vm = self.g.watch(lambda v: at(v, "status.phase") == "Paused" and condition(v, "StorageHealthy").get("status") == "False",
                          30, "Paused, its storage unhealthy")
        host = lab.get("vmhost", self.node, namespace="")
        expect(condition(host, "StorageHealthy").get("status") == "True", f"its node: {condition(host, 'StorageHealthy')}")
        lab.wait_for(lambda: iofaults.host_domain(self.g, self.node).get("retries", 0) >= 2, 60, "tried again, in vain", 0.5)
        record.waits()
        lab.node_exec(self.node, "rm", self.filler)
        record.acknowledged()
        self.g.watch(lambda v: at(v, "status.phase") == "Running" and condition(v, "StorageHealthy").get("status") == "True",
                     60, "Running, its storage healthy")
        self.g.same()
        expect(not self.g.migrations(), "it was moved")
        return [f"{at(vm, 'status.reason')}; {condition(vm, 'StorageHealthy').get('message')}"]

    def ends(self):
        self.g.delete()
        self.g.records_are_in(lab.node_exec(self.node, "dd", f"if={self.path}/disk.img", "bs=512", f"count={self.g.records}").encode())
        removed(self.name)
        lab.node_exec(self.node, "umount", self.path)
        self.image.unlink()
        return [f"{self.g.records} records"]


class Kept:
    """A claim for one node alone, which is missing at first."""

    def __init__(self):
        self.name, self.pod = "kept", None

    def watch(self, until, timeout, what):
        return lab.watch("vm", self.name, until, timeout, what)

    def waits(self):
        lab.kubectl("delete", "vm", self.name, "--ignore-not-found", lab.timeout(120))
        removed(self.name)
        lab.apply(guest.spec(self.name, disks=[disk(self.name)], **guest.pinned("node1")))
        vm = self.watch(lambda v: v and "not found" in at(v, "status.reason", ""), 60, "waiting for its claim")
        folder(self.name)
        lab.apply(volume(self.name, "ReadWriteOnce", local(f"{IN_NODE}/{self.name}")))
        lab.apply(claim(self.name, "ReadWriteOnce"))
        self.watch(lambda v: v and at(v, "status.phase") == "Running", 120, "Running")
        return [at(vm, "status.reason")]

    def taken(self):
        """A second guest on the claim would be let in by Kubernetes, on the same node at least."""
        lab.kubectl("delete", "vm", "rival", "--ignore-not-found", lab.timeout(120))
        lab.apply(guest.spec("rival", disks=[disk(self.name)], **guest.pinned("node1")))
        vm = lab.watch("vm", "rival", lambda v: v and "claim kept" in at(v, "status.reason", ""), 30, "told whose the claim is")
        expect(at(vm, "status.phase") == "Pending" and not at(vm, "status.owner.node"), f"it is {at(vm, 'status')}")
        lab.kubectl("delete", "vm", "rival", lab.timeout(60))
        return [at(vm, "status.reason")]

    def stays(self):
        vm = self.watch(lambda v: condition(v, "LiveMigratable").get("reason") == "DiskNotShared", 60, "not LiveMigratable")
        said = condition(vm, "LiveMigratable")["message"]
        expect(said == "disk data: claim kept is ReadWriteOnce: no other node may write to it", said)
        lab.patch("vm", self.name, {"spec": guest.pinned("node2")})
        vm = self.watch(lambda v: condition(v, "PlacementSatisfied").get("reason") == "NotLiveMigratable", 30, "left where it is")
        expect(at(vm, "status.owner.node") == "node1" and not at(vm, "status.migration.name"), f"it moves: {at(vm, 'status')}")
        pod = at(vm, "status.podName")
        done = faults.evict(pod)
        expect(done.returncode and said in done.stderr, f"the eviction of {pod}: exit {done.returncode}: {done.stderr}")
        return [condition(vm, "PlacementSatisfied")["message"], done.stderr.strip()]

    def fixed(self):
        """What cannot come to pass is refused at once."""
        done = lab.run(lab.KUBECTL, "patch", "vm", self.name, "--type", "merge", "-p", '{"spec":{"disks":[]}}', check=False)
        expect(done.returncode and "can only be taken away while the VM is halted" in done.stderr, done.stderr)
        return [done.stderr.strip()]

    def starts_elsewhere(self):
        """Halted it lets go of the node, and its disk is found on the next."""
        file = FOLDER / self.name / "disk.img"
        was = file.stat().st_ino
        lab.patch("vm", self.name, {"spec": {"runStrategy": "Halted"}})
        self.watch(lambda v: at(v, "status.phase") == "Halted", 60, "Halted")
        lab.patch("vm", self.name, {"spec": {"runStrategy": "Always"}})
        self.watch(lambda v: at(v, "status.phase") == "Running" and at(v, "status.owner.node") == "node2", 120, "Running on node2")
        expect(file.stat().st_ino == was, "the disk was made anew")
        lab.kubectl("delete", "vm", self.name, lab.timeout(120))
        expect(file.exists(), "the disk was removed with the VM")
        removed(self.name)


def steps():
    files, device, failing, kept = Files(), Device(), Failing(), Kept()
    return [("claims: " + title, step) for title, step in [
        ("a guest with a disk that is made in one", files.make),
        ("it moves, and the disk with it", files.moves),
        ("its pod is deleted: it runs on, is adopted and moves again", files.adopted),
        ("deleted with its VM: the claim stays, and every record", files.ends),
        ("a guest with a block device", device.make),
        ("it moves, and the device with it", device.moves),
        ("its pod is deleted, libvirtd restarted: it runs on, and stays until it is restarted", device.adopted),
        ("deleted with its VM: the device stays, and every record", device.ends),
        ("a guest with one that has little room", failing.make),
        ("it fails: the guest stands still, is tried again, and runs on", failing.stands_still),
        ("deleted with its VM: every record is there", failing.ends),
        ("one that is missing is waited for", kept.waits),
        ("it is no other VM's", kept.taken),
        ("one for a single node keeps its guest there", kept.stays),
        ("none comes or goes while the guest is there", kept.fixed),
        ("halted, it starts elsewhere with the same disk", kept.starts_elsewhere)]]
