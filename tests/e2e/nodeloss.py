"""A node is lost: silence keeps its guests where they are, an operator's word lets them start elsewhere, and a node that
comes back finds that they are no longer its own."""

import time

import lab
from guest import Guest, slowly
from lab import at, condition, expect

TAINT = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


def power(how, node):
    lab.run(lab.ROOT / "tests" / "lab" / "power", how, node, timeout=240)


def node_ready(node):
    lab.watch("node", node, lambda n: condition(n, "Ready").get("status") == "True", 120, "Ready", namespace="")
    lab.watch("vmhost", node, lambda h: condition(h, "Ready").get("status") == "True", 120, "Ready", namespace="")


def restarted(g, old_node):
    """The same VM, its disks and address, another boot; the records it had answered are on its disk."""
    vm = g.watch(lambda v: at(v, "status.phase") == "Running" and at(v, "status.owner.node") not in ("", old_node)
                 and at(v, "status.addresses"), 120, "Running elsewhere")
    expect(lab.boot_id(at(vm, "status.addresses")[0]) != g.boot, "the same boot id: it cannot be another boot")
    g.session.close()
    g.boot, g.session = lab.boot_id(g.address), lab.Session(g.address)
    g.records_are_on_disk()
    return vm


def out_of_service():
    g = Guest("survives", "node3")
    for _ in range(5):
        g.record()
    epoch = at(g.vm(), "status.owner.epoch")
    g.patch(nodeName=None)
    power("off", "node3")
    vm = g.watch(lambda v: at(v, "status.phase") == "Unknown", 60, "Unknown")
    expect(at(vm, "status.owner.node") == "node3", "silence alone has cost the node its guest")
    lab.watch("node", "node3", lambda n: condition(n, "Ready").get("status") != "True", 120, "NotReady", namespace="")
    expect(g.node() == "node3", "NotReady alone has cost the node its guest")
    began = time.monotonic()
    lab.kubectl("taint", "node", "node3", TAINT)
    try:
        vm = restarted(g, "node3")
        took = time.monotonic() - began
        expect(at(vm, "status.owner.epoch") == epoch + 1, f"epoch {at(vm, 'status.owner.epoch')} after {epoch}")
    finally:
        lab.kubectl("taint", "node", "node3", "node.kubernetes.io/out-of-service-")
        power("on", "node3")
    node_ready("node3")
    g.one_domain(at(vm, "status.owner.node"))
    lab.wait_for(lambda: len(g.pods()) == 1, 60, "down to one pod")
    g.same()
    g.delete()
    return [f"restarted on {at(vm, 'status.owner.node')} {took:.1f} s after the taint, at epoch {epoch + 1}; 5 records of 5 on its disk"]


def node_deleted():
    g = Guest("survives", "node3")
    g.record()
    g.patch(nodeName=None)
    power("off", "node3")
    lab.watch("node", "node3", lambda n: condition(n, "Ready").get("status") != "True", 120, "NotReady", namespace="")
    lab.kubectl("delete", "node", "node3")
    try:
        vm = restarted(g, "node3")
    finally:
        power("on", "node3")
    lab.wait_for(lambda: lab.get("node", "node3", namespace="") is not None, 60, "registered again")
    node_ready("node3")
    g.one_domain(at(vm, "status.owner.node"))
    g.delete()
    return [f"restarted on {at(vm, 'status.owner.node')}"]


def new_boot(g):
    try:
        return lab.boot_id(g.address) != g.boot
    except (OSError, lab.Failed):
        return False


def reboots():
    """Power fails for a moment: the owner starts its guest again, at the same epoch, with nobody asked."""
    g = Guest("survives", "node3")
    g.record()
    epoch = at(g.vm(), "status.owner.epoch")
    power("off", "node3")
    power("on", "node3")
    node_ready("node3")
    lab.wait_for(lambda: new_boot(g), 120, "running again on node3")
    vm = g.vm()
    expect(at(vm, "status.owner") == {"node": "node3", "epoch": epoch}, f"owner {at(vm, 'status.owner')}")
    g.session.close()
    g.boot, g.session = lab.boot_id(g.address), lab.Session(g.address)
    g.records_are_on_disk()
    g.one_domain("node3")
    g.delete()


def target_lost():
    """The power of the node that a guest is copied to fails: it stays where it is."""
    g = Guest("survives", "node1")
    g.record()
    with slowly(g):
        g.patch(nodeName="node3")
        name = g.copying()
        power("off", "node3")
        try:
            m = g.ended(name)
            g.same()
            g.patch(nodeName="node1")
        finally:
            power("on", "node3")
    expect(at(m, "status.phase") == "Failed" and g.node() == "node1", f"{at(m, 'status.phase')}, on {g.node()}")
    node_ready("node3")
    g.settled("node1")
    g.record()
    g.records_are_on_disk()
    g.delete()
    return [at(m, "status.message")]


def source_lost():
    """The power of the node that a guest is copied from fails: half a copy is no guest. Its owner starts it again."""
    g = Guest("survives", "node3")
    g.record()
    owner = at(g.vm(), "status.owner")
    with slowly(g):
        g.patch(nodeName="node1")
        name = g.copying()
        power("off", "node3")
        try:
            g.watch(lambda v: at(v, "status.phase") == "Unknown", 60, "Unknown")
            lab.watch("node", "node3", lambda n: condition(n, "Ready").get("status") != "True", 120, "NotReady", namespace="")
            expect(at(g.vm(), "status.owner") == owner, f"owner {at(g.vm(), 'status.owner')}, was {owner}")
            state = lab.node_exec("node1", "virsh", "-q", "domstate", f"default_{g.name}", check=False).strip()
            expect(state != "running", "half a copy runs")
            g.patch(nodeName="node3")
        finally:
            power("on", "node3")
    node_ready("node3")
    lab.wait_for(lambda: new_boot(g), 120, "running again on node3")
    m = g.ended(name)
    expect(at(m, "status.phase") in ("Failed", "Cancelled"), f"phase {at(m, 'status.phase')}")
    expect(at(g.vm(), "status.owner") == owner, f"owner {at(g.vm(), 'status.owner')}, was {owner}")
    g.records_are_on_disk()
    g.booted(lab.boot_id(g.address))
    g.settled("node3")
    g.delete()
    return [f"{at(m, 'status.phase')}: {at(m, 'status.message')}"]


def steps():
    return [("node loss: a power cut and back", reboots),
            ("node loss: the target while copying", target_lost),
            ("node loss: the source while copying", source_lost),
            ("node loss: taint out-of-service", out_of_service),
            ("node loss: the Node deleted", node_deleted)]
