"""`kubectl drover doctor` on a healthy lab, and what it says of a hung mount, of a libvirtd that is away, and of a node with
another directory in the place of the pool. Nothing of it stays in the pool."""

import json
import os
import signal
import subprocess

import faults
import lab
from lab import condition, expect

POOL = lab.LAB / "pool"
# True of any lab: guests are emulated where there is no KVM, by Debian's QEMU.
OF_THE_LAB = {"kvm", "qemu"}
ENV = dict(lab.ENV, PATH=f"{lab.LAB / 'bin'}:{os.environ['PATH']}")


def doctor(*words, timeout=150):
    """Exit code, findings; as a user calls it."""
    done = subprocess.run([lab.KUBECTL, "drover", "doctor", "-o", "json", *words], env=ENV, capture_output=True, text=True,
                          timeout=timeout * lab.PATIENCE)
    expect(done.stdout, f"exit {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


def findings(report, verdict):
    return [f for f in report["findings"] if f["verdict"] == verdict]


def brief(found):
    return [f"{f['check']} {f['name']} {f['node']} {f['subject']}: {f['says']}" for f in found]


def has(report, name, node, word=""):
    found = [f for f in findings(report, "fault") if f["name"] == name and f["node"] == node and word in f["says"]]
    expect(found, f"no fault {name} of {node} with {word!r}: {brief(findings(report, 'fault'))}")
    expect(all(f["mend"] for f in found), f"no remedy: {found}")
    return brief(found[:1])


def nothing_left():
    left = [p.name for p in (POOL / ".drover").iterdir() if "doctor" in p.name]
    expect(not left, f"left in the pool: {left}")


def healthy():
    code, report = doctor()
    expect(code == 0, f"exit {code}: {brief(findings(report, 'fault'))}")
    warnings = findings(report, "warning")
    expect({f["name"] for f in warnings} <= OF_THE_LAB, f"warnings: {brief(warnings)}")
    nodes = {f["node"] for f in report["findings"] if f["name"] == "session"}
    for name in ("pool-shared", "pool-locks", "names", "peers"):
        pairs = [f for f in report["findings"] if f["name"] == name]
        expect(len(pairs) == len(nodes) * (len(nodes) - 1), f"{name}: {len(pairs)} findings of {len(nodes)} nodes")
    nothing_left()
    done = subprocess.run([lab.KUBECTL, "drover", "doctor"], env=ENV, capture_output=True, text=True, timeout=150)
    expect(done.returncode == 0 and "0 faults" in done.stdout, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    expect("\033" not in done.stdout, "colours without a terminal")
    return [f"{len(report['findings'])} findings of {len(nodes)} nodes"] + done.stdout.splitlines()


def hung_mount():
    with lab.HungMount("node2"):
        code, report = doctor()
        lines = has(report, "pool-write", "node2", "no answer")
    expect(code == 1, f"exit {code}")
    others = {f["node"] for f in findings(report, "fault")}
    expect(others == {"node2"}, f"faults of {others}: {brief(findings(report, 'fault'))}")
    lab.watch("vmhost", "node2", lambda h: h and condition(h, "StorageHealthy").get("status") == "True", 60, "healthy again",
              namespace="")
    nothing_left()
    return lines


def no_libvirtd():
    faults.hang_libvirtd("node2")
    try:
        code, report = doctor()
        lines = has(report, "libvirt", "node2") + has(report, "peers", "node1", "")
    finally:
        faults.wake_libvirtd("node2")
    expect(code == 1, f"exit {code}")
    lab.watch("vmhost", "node2", lambda h: h and condition(h, "Ready").get("status") == "True", 60, "Ready again", namespace="")
    nothing_left()
    return lines


def another_directory():
    """A tmpfs over the pool of one node: as good as any mount, but not the same as the others'."""
    agent = next(p["metadata"]["name"] for p in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-agent",
                                                       namespace="drover-system") if p["spec"]["nodeName"] == "node2")
    lab.node_exec("node2", "mount", "-t", "tmpfs", "-o", "size=64m", "elsewhere", "/var/lib/drover")
    try:
        lab.wait_for(lambda: "elsewhere" in lab.kubectl("exec", "-n", "drover-system", agent, "--", "drover-agent", "doctor"), 30,
                     "seen in the agent's pod", 0.5)
        code, report = doctor()
        lines = has(report, "pool-shared", "node2", "another directory") + has(report, "pool-shared", "node1", "node2")
    finally:
        lab.wait_for(lambda: "elsewhere" not in lab.node_exec("node2", "sh", "-c", "umount -l /var/lib/drover; grep elsewhere /proc/mounts",
                                                              check=False), 30, "unmounted", 0.2)  # lazily: the agent holds a lock there
    expect(code == 1, f"exit {code}")
    lab.watch("vmhost", "node2", lambda h: h and condition(h, "StorageHealthy").get("status") == "True", 60, "healthy again",
              namespace="")
    nothing_left()
    return lines


def interrupted():
    """^C in the middle: the files are removed before it ends."""
    process = subprocess.Popen([lab.KUBECTL, "drover", "doctor"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        lab.wait_for(lambda: any("doctor" in p.name for p in (POOL / ".drover").iterdir()), 60, "begun", 0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    expect(process.returncode == 2 and "interrupted" in said, f"exit {process.returncode}: {said}")
    lab.wait_for(lambda: not [p for p in (POOL / ".drover").iterdir() if "doctor" in p.name], 30, "tidy", 0.2)
    return [said.strip()]


def cannot_run():
    done = subprocess.run([lab.KUBECTL, "drover", "doctor", "--kubeconfig", "/nonexistent"], env=ENV, capture_output=True, text=True,
                          timeout=60)
    expect(done.returncode == 2 and done.stderr and not done.stdout, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    return [done.stderr.strip()]


def steps():
    return [("doctor: a healthy lab", healthy), ("doctor: interrupted", interrupted), ("doctor: a hung mount", hung_mount),
            ("doctor: a hung libvirtd", no_libvirtd), ("doctor: another directory", another_directory),
            ("doctor: no cluster", cannot_run)]
