"""What ails a pool's mount on one node is named by its verdict in the VirtualMachineHost, in the Node's condition and in a
metric, each within ten seconds of the fault and of its end; the extender refuses the node with the reason meanwhile; and
nothing is ever written where the pool is not."""

import contextlib
import json
import os
import signal
import time

import bad_input
import lab
from lab import at, condition, expect

NODE, POOL, VM = "node2", "/var/lib/drover", "storage"
SOURCE = lab.LAB / "pool"  # of the mount that should be there: scripts/deploy tells the agents
LIMIT = 10  # seconds


# --- what is said of it

def agent_pod():
    return next(p["metadata"]["name"] for p in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-agent", namespace="drover-system")
                if at(p, "spec.nodeName") == NODE and not at(p, "metadata.deletionTimestamp"))


def metric(name):
    text = lab.kubectl("get", "--raw", f"/api/v1/namespaces/drover-system/pods/{agent_pod()}:9403/proxy/metrics")
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " ")), None)


def mount_of(host):
    return next((m for m in at(host, "status.mounts", []) if m["pool"] == "default"), {})


def refusal(pod):
    """What the extender says of the node, whatever the scheduler would say before it asks; None when it takes it."""
    extender = bad_input.Service("drover-extender", "/filter", "drover-scheduler-client")
    code, text = extender.post(json.dumps({"Pod": pod, "Nodes": None, "NodeNames": [NODE]}).encode())
    expect(code == 200, f"the extender says {code} {text}")
    answer = json.loads(text)
    return {**(answer.get("FailedNodes") or {}), **(answer.get("FailedAndUnresolvableNodes") or {})}.get(NODE)


class Clock:
    """Since a fault or its end."""

    def __init__(self):
        self.began = time.monotonic()

    def passed(self):
        return time.monotonic() - self.began

    def left(self):
        return max(LIMIT - self.passed(), 0.1)


def told(clock, verdict):
    """Everywhere in time; what was said where, and when."""
    healthy = verdict == "Healthy"
    wanted = "True" if healthy else "False"
    host = lab.watch("vmhost", NODE, lambda h: mount_of(h).get("verdict") == verdict and
                     mount_of(h).get("health") == ("Healthy" if healthy else "Unhealthy"), clock.left(), verdict, namespace="")
    at_host = clock.passed()
    node = lab.watch("node", NODE, lambda n: condition(n, "DroverStorageHealthy").get("status") == wanted and
                     condition(n, "DroverStorageHealthy").get("reason") == verdict, clock.left(), f"{verdict} at the Node", namespace="")
    at_node = clock.passed()
    lab.wait_for(lambda: metric('drover_mount_healthy{pool="default"}') == healthy, clock.left(), f"{verdict} in the metric", 0.2)
    message = condition(node, "DroverStorageHealthy").get("message")
    expect(healthy or ("pool default" in message and f"{verdict}: " in message), f"the Node's condition says: {message}")
    expect(healthy or mount_of(host)["reason"].startswith(f"{verdict}: "), f"the reason is {mount_of(host)['reason']}")
    return f"{verdict} {at_host:.1f} s later, at the Node after {at_node:.1f} s, in the metric after {clock.passed():.1f} s: {message}"


# --- faults, and their ends

@contextlib.contextmanager
def over_the_pool(source, *options):
    """A tmpfs is mounted over it."""
    lab.node_exec(NODE, "mount", "-t", "tmpfs", *options, source, POOL)
    try:
        yield
    finally:
        lab.node_exec(NODE, "umount", "-l", POOL)


@contextlib.contextmanager
def hung():
    with lab.HungMount(NODE):
        yield


@contextlib.contextmanager
def read_only():
    with over_the_pool(SOURCE, "-o", "ro"):
        yield


@contextlib.contextmanager
def full():
    with over_the_pool(SOURCE, "-o", "size=64k"):
        lab.node_exec(NODE, "sh", "-c", f"mkdir {POOL}/.drover; cat /dev/zero > {POOL}/fill", check=False)
        yield


@contextlib.contextmanager
def wrong_export():
    with over_the_pool("elsewhere"):
        yield
        expect(not lab.node_exec(NODE, "ls", "-A", POOL), "something was written to the wrong export")


@contextlib.contextmanager
def server_dead():
    """It is gone, and its mount is there still."""
    os.kill(lab.mount_server(NODE), signal.SIGKILL)
    try:
        yield
    finally:
        lab.node_exec(NODE, "umount", "-l", POOL)
        lab.run(lab.ROOT / "tests" / "lab" / "restart", NODE, "bindfs")


@contextlib.contextmanager
def gone():
    """Unmounted: what is left is the bare directory, which every tool could write to."""
    lab.node_exec(NODE, "umount", "-l", POOL)
    try:
        yield
        bare = lab.node_exec(NODE, "ls", "-A", POOL)
        expect(not bare, f"in the bare directory there is {bare.split()}")
    finally:
        lab.run(lab.ROOT / "tests" / "lab" / "restart", NODE, "bindfs")
    expect(lab.node_exec(NODE, "ls", "-A", POOL), "the pool is not back")


def fault(verdict, breakage):
    def step():
        pod = handle()
        broken = Clock()
        with breakage():
            yield told(broken, verdict)
            said = refusal(pod)
            expect(said and f"{verdict}: " in said and "[rule 7 pool-health]" in said, f"the extender says {said}")
            yield f"the extender: {said}"
        mended = Clock()
        yield told(mended, "Healthy")
        lab.wait_for(lambda: refusal(pod) is None, mended.left(), "taken by the extender again", 0.2)
    return step


# --- a VM that has its disk in the pool, and runs nowhere

def handle():
    return lab.wait_for(lambda: [p for p in lab.get("pods", None, "-l", f"drover.dev/vm={VM}") if not at(p, "metadata.deletionTimestamp")],
                        20, "a handle is there")[0]


def begin():
    lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": VM, "namespace": "default"},
               "spec": {"nodeSelector": {"no-such": "label"}, "memory": {"guest": "128Mi"},
                        "disks": [{"name": "root", "blank": {"size": "16Mi"}}]}})
    pod = handle()
    lab.wait_for(lambda: refusal(pod) is None, 20, "taken by the extender")
    free = metric('drover_mount_free_bytes{pool="default"}')
    expect(free and free > 0, "the metric tells nothing free")
    expect(metric('drover_mount_stuck_children{pool="default"}') == 0, "a probe is stuck")


def end():
    lab.kubectl("delete", "vm", VM, "--ignore-not-found", "--timeout=60s")


def steps():
    return [("storage: a VM's disk is in the pool", begin),
            ("storage: its server hangs", fault("Hung", hung)),
            ("storage: unmounted", fault("NotMounted", gone)),
            ("storage: mounted read-only", fault("ReadOnly", read_only)),
            ("storage: full", fault("Full", full)),
            ("storage: another export", fault("WrongExport", wrong_export)),
            ("storage: its server is dead", fault("ServerSilent", server_dead)),
            ("storage: the VM deleted", end)]
