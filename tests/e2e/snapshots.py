"""Snapshots of a guest's disks: taken while it runs and while it does not, gone back to on another node, removed from the files;
an agent that is killed in the middle of one; and those that are refused."""

import os
import re
import signal
import subprocess

import cuts
import guest
import lab
from guest import Guest
from hold import Hold
from lab import at, condition, expect

NAME = "snapshots"
POOL = lab.LAB / "pool"
KUBECTL_PATH = {**lab.ENV, "PATH": f"{lab.LAB / 'bin'}:{os.environ['PATH']}"}


def drover(*words):
    """kubectl drover snapshot ..."""
    done = subprocess.run([str(lab.KUBECTL), "drover", "snapshot", *words], env=KUBECTL_PATH, text=True, capture_output=True, timeout=60)
    expect(done.returncode == 0, f"snapshot {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def refused(*words):
    done = subprocess.run([str(lab.KUBECTL), "drover", "snapshot", *words], env=KUBECTL_PATH, text=True, capture_output=True, timeout=60)
    expect(done.returncode, f"snapshot {' '.join(words)} was not refused")
    return done.stderr.strip()


def settled(name, timeout=60):
    return lab.watch("vmsnapshot", name, lambda s: s and at(s, "status.phase") in ("Ready", "Failed"), timeout, "Ready or Failed")


def ready(name):
    found = settled(name)
    expect(at(found, "status.phase") == "Ready", f"{name}: {at(found, 'status.message')}")
    return found


def failed(name, words):
    found = settled(name)
    said = at(found, "status.message", "")
    expect(at(found, "status.phase") == "Failed" and words in said, f"{name} is {at(found, 'status.phase')}: {said}")
    return said


def make(vm, name, **spec):
    lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineSnapshot", "metadata": {"name": name, "namespace": "default"},
               "spec": {"vm": vm, **spec}})


def gone(name):
    lab.wait_for(lambda: lab.get("vmsnapshot", name) is None, 60, f"gone: {name}", 0.3)


class Snapshots:
    def __init__(self):
        self.g = self.nodes = self.hold = None

    def steps(self):
        return [("snapshots: " + title, step) for title, step in [
            ("a guest", self.begin), ("taken of the guest while it runs", self.running),
            ("the guest moves, and goes back to it on the other node", self.moved_and_restored),
            ("once, not again", self.once), ("the agent is killed when it is about to say that it is taken", self.killed),
            ("asked for while the guest moves: taken when it has", self.during_a_move),
            ("taken of the guest while it does not run, and gone back to", self.halted),
            ("deleted while one waits to go back to it", self.kept),
            ("refused", self.refused), ("removed while the guest runs: nothing is left in the files", self.removed),
            ("with the VM", self.with_the_vm)]]

    # --- what is in the files and in the guest

    def tags(self):
        """The snapshots in each file of the VM's disks."""
        found = {}
        for disk in sorted((POOL / "disks" / self.g.uid).glob("*.qcow2")):
            text = lab.run("qemu-img", "snapshot", "-U", "-l", disk).stdout
            found[disk.name] = re.findall(r"^\d+\s+(drover-\S+)", text, re.M)
        return found

    def in_both(self, *snapshots):
        wanted = sorted(f"drover-{at(s, 'metadata.uid')}-{at(s, 'status.takenBy')}" for s in snapshots)
        tags = self.tags()
        expect({name: sorted(v) for name, v in tags.items()} == {"root.qcow2": wanted, "data.qcow2": wanted},
               f"in the files: {tags}, wanted: {wanted}")

    def on_disk(self):
        """Numbers of the records on the second disk, as the pool has it."""
        raw = lab.LAB / f"{NAME}.raw"
        lab.run("qemu-img", "convert", "-U", "-O", "raw", POOL / "disks" / self.g.uid / "data.qcow2", raw)
        try:
            content = raw.read_bytes()
        finally:
            raw.unlink()
        found = []
        while content[512 * len(found):].startswith(b"record "):
            found.append(int(content[512 * len(found):].split()[1]))
        return found

    def runs_anew(self, boot):
        """After a restart: the guest answers with another boot id."""
        def probe():
            try:
                now = lab.boot_id(self.g.address)
            except (lab.Failed, OSError):
                return None
            return now if now != boot else None
        self.g.booted(lab.wait_for(probe, 120, "booted anew", 0.5))

    def restored(self, name, requested):
        self.g.watch(lambda v: at(v, "status.restored.snapshot") == name and at(v, "status.restored.requestedAt") == requested
                     and at(v, "status.phase") == "Running" and condition(v, "RestartRequired").get("status") == "False", 120,
                     f"back at {name}")

    # --- the steps

    def begin(self):
        lab.guest_image()
        self.nodes = guest.nodes()
        self.g = Guest(NAME, self.nodes[0], terminationGracePeriodSeconds=0)
        for _ in range(3):
            self.g.record()

    def running(self):
        drover("create", NAME, "first")
        self.first = ready("first")
        expect(at(self.first, "status.quiesced") is True, f"not quiesced: {at(self.first, 'status.message')}")
        expect([d["name"] for d in at(self.first, "status.disks")] == ["root", "data"], f"of {at(self.first, 'status.disks')}")
        expect(at(self.first, "status.disks")[1]["size"] == 64 << 20, f"of {at(self.first, 'status.disks')}")
        expect([o["uid"] for o in at(self.first, "metadata.ownerReferences")] == [self.g.uid], "it is not the VM's")
        self.in_both(self.first)
        self.g.same()
        listed = drover("list", NAME)
        expect(re.search(r"^first\s+snapshots\s+Ready\s+true", listed, re.M), f"listed: {listed}")
        events = [e["reason"] for e in lab.get("events") if at(e, "involvedObject.uid") == at(self.first, "metadata.uid")]
        expect(events == ["Taken"], f"events: {events}")
        for _ in range(4):
            self.g.record()
        return [f"on {at(self.first, 'status.worker.node')}, at {at(self.first, 'status.createdAt')}"]

    def moved_and_restored(self):
        self.g.patch(nodeName=self.nodes[1])
        self.g.on(self.nodes[1])
        self.g.records_are_on_disk()
        self.in_both(self.first)
        drover("restore", NAME, "first")  # nothing happens before a restart
        vm = self.g.watch(lambda v: condition(v, "RestartRequired").get("reason") == "RestorePending", 20, "RestartRequired")
        self.g.record()
        boot = self.g.boot
        drover("restore", NAME, "first", "--restart")
        requested = at(self.g.vm(), "spec.restore.requestedAt")
        self.runs_anew(boot)
        self.restored("first", requested)
        expect(self.on_disk() == [0, 1, 2], f"records on the disk: {self.on_disk()}")
        self.in_both(self.first)
        expect((POOL / "disks" / self.g.uid / "restored").exists(), "no mark is left")
        return [condition(vm, "RestartRequired").get("message")]

    def restart(self):
        boot = self.g.boot
        self.g.patch(restartedAt=f"after {boot}")
        self.runs_anew(boot)

    def once(self):
        for _ in range(5):
            self.g.record()
        self.restart()
        expect(self.on_disk() == [0, 1, 2, 3, 4], f"records on the disk: {self.on_disk()}")

    def killed(self):
        """kill -9 with the snapshot in both files, and the word about it not written: the next agent begins anew."""
        self.hold = Hold()
        try:
            reached, release = self.hold.arm(lambda resource, old, new: resource == "virtualmachinesnapshots"
                                             and at(new, "status.progress.state") == "Taken" and at(new, "metadata.name") == "second")
            make(NAME, "second")
            expect(reached.wait(60), "it was not taken")
            before = self.tags()["data.qcow2"]
            expect(len(before) == 2, f"in the file: {before}")
            pid = cuts.agent_pid(self.nodes[1])
            os.kill(pid, signal.SIGKILL)
            lab.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 20, "dead")
            release.set()
            second = ready("second")
        finally:
            self.hold.close()
        self.in_both(self.first, second)
        self.g.same()
        self.g.record()  # it is not frozen
        lab.kubectl("rollout", "status", "-n", "drover-system", "daemonset/drover-agent", "--timeout=60s")
        drover("delete", "second")
        gone("second")
        self.in_both(self.first)

    def during_a_move(self):
        with guest.slowly(self.g):
            self.g.patch(nodeName=self.nodes[0])
            move = self.g.copying()
            make(NAME, "moving")
            waits = lab.watch("vmsnapshot", "moving", lambda s: at(s, "status.phase"), 20, "seen")
            expect(at(waits, "status.message") == f"waits for the migration {move} to end", f"it says: {at(waits, 'status.message')}")
        taken = ready("moving")
        expect(at(taken, "status.worker.node") == self.nodes[0], f"taken by {at(taken, 'status.worker.node')}")
        self.g.on(self.nodes[0])
        self.in_both(self.first, taken)
        drover("delete", "moving")
        return [at(waits, "status.message")]

    def halted(self):
        self.g.patch(runStrategy="Halted")
        self.g.watch(lambda v: at(v, "status.phase") == "Halted" and not at(v, "status.owner.node"), 60, "Halted")
        make(NAME, "third")
        third = ready("third")
        expect(at(third, "status.quiesced") is False, "it says that it was quiesced")
        self.in_both(self.first, third)
        yield f"by {at(third, 'status.worker.node')}: {at(third, 'status.message')}"
        make(NAME, "strict", quiesce="Required")
        yield failed("strict", "the guest does not run")
        drover("delete", "strict")
        boot = self.g.boot
        drover("restore", NAME, "first")
        self.g.patch(runStrategy="Always")
        self.runs_anew(boot)
        expect(self.on_disk() == [0, 1, 2], f"records on the disk: {self.on_disk()}")
        self.g.patch(runStrategy="Halted")
        self.g.watch(lambda v: at(v, "status.phase") == "Halted" and not at(v, "status.owner.node"), 60, "Halted")
        drover("restore", NAME, "third")
        # deleted, it waits for that
        lab.kubectl("delete", "vmsnapshot", "third", "--wait=false")
        kept = lab.watch("vmsnapshot", "third", lambda s: s is None or "kept until" in at(s, "status.message", ""), 30, "kept")
        expect(kept, "it went away before the disks were set back to it")
        yield at(kept, "status.message")

    def kept(self):
        boot = self.g.boot
        self.g.patch(runStrategy="Always")
        self.runs_anew(boot)
        gone("third")
        found = self.on_disk()
        expect(len(found) >= 5, f"records on the disk: {found}")
        self.in_both(self.first)

    def refused(self):
        yield refused("create", "no-such-vm", "x")
        yield refused("restore", NAME, "no-such-snapshot")
        lab.kubectl("delete", "vm", "snapshots-other", "--ignore-not-found", lab.timeout(60))
        lab.apply(guest.spec("snapshots-other", runStrategy="Halted"))
        yield refused("restore", "snapshots-other", "first")
        make("snapshots-other", "never-made")
        yield failed("never-made", "has never been made")
        lab.apply(guest.spec("snapshots-claim", runStrategy="Halted", disks=[{"name": "root", "persistentVolumeClaim": {"claimName": "c"}}]))
        make("snapshots-claim", "of-a-claim")
        yield failed("of-a-claim", "make a VolumeSnapshot of the claim c")
        for vm in ("snapshots-other", "snapshots-claim"):
            lab.kubectl("delete", "vm", vm, lab.timeout(60))
        for name in ("never-made", "of-a-claim"):
            gone(name)

    def removed(self):
        drover("delete", "first")
        gone("first")
        self.in_both()
        self.g.same()
        lab.run("qemu-img", "check", "-q", "-U", POOL / "disks" / self.g.uid / "data.qcow2")

    def with_the_vm(self):
        make(NAME, "last")
        ready("last")
        self.g.delete()
        gone("last")
        expect(not (POOL / "disks" / self.g.uid).exists(), "disks are left")


def steps():
    return Snapshots().steps()
