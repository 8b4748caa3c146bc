"""What the lab is: the pool is the kernel's NFS 4.2 as docs/storage.md wants it, shared and with locks, as the doctor proves."""

import lab
from doctor import brief, doctor, findings
from guest import nodes
from lab import at, expect

OPTIONS = {"vers=4.2", "hard", "proto=tcp"}


def mounted():
    """By the node's own word and by Drover's."""
    for node in nodes():
        fields = lab.node_exec(node, "findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", "/var/lib/drover").split()
        expect(fields[1] == "nfs4", f"{node}: {fields}")
        expect(OPTIONS <= set(fields[2].split(",")), f"{node}: options {fields[2]}")
        host = lab.watch("vmhost", node, lambda h: h and at(h, "status.mounts") and all(
            m["health"] == "Healthy" for m in at(h, "status.mounts")), 60, "healthy", namespace="")
        mount = at(host, "status.mounts")[0]
        expect(mount.get("source") == fields[0], f"{node}: its mount is of {fields[0]}, its VirtualMachineHost says {mount}")
        yield (f"{node}: Linux {lab.node_exec(node, 'uname', '-r').strip()}, {fields[0]} {fields[1]} "
               f"{fields[2].split(',local_lock')[0]}")


def shared():
    """Written here, read there, and locked here, refused there, between every two nodes."""
    _, report = doctor()
    of_pools = [f for f in report["findings"] if f["name"].startswith("pool")]
    wrong = [f for f in of_pools if f["verdict"] != "ok"]
    expect(not wrong, f"the doctor says: {brief(wrong)}")
    count = len(nodes())
    for name in ("pool-shared", "pool-locks"):
        expect(len([f for f in of_pools if f["name"] == name]) == count * (count - 1), f"{name}: {brief(of_pools)}")
    return brief(of_pools) + brief(findings(report, "fault"))


def steps():
    return [
        ("the pool is NFS 4.2 of the kernel", mounted),
        ("the doctor proves it shared, with locks", shared),
    ]
