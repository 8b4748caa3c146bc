"""Drover's own parts are gone: what needs them waits, all else goes on, and everything starts again by itself."""

import faults
import lab
import nodeloss
from guest import Guest, nodes
from lab import at, condition, expect

PARTS = ("drover-webhook", "drover-extender", "drover-migrator", "drover-agent")


def stays_without_webhook():
    """A move needs objects that nobody admits: it waits, the guest runs on, and it goes on by itself."""
    g = Guest("patient", "node1")
    g.patch(nodeName=None, nodeSelector={"zone": "a"})
    lab.kubectl("label", "node", "node2", "zone=b", "--overwrite")
    try:
        lab.kubectl("label", "node", "node1", "zone=a", "--overwrite")
        g.watch(lambda v: condition(v, "PlacementSatisfied").get("status") == "True"
                and at(v, "status.observedGeneration") == at(v, "metadata.generation"), 30, "looked at")
        faults.webhooks(0)
        try:
            lab.kubectl("label", "node", "node2", "zone=a", "--overwrite")
            lab.kubectl("label", "node", "node1", "zone=b", "--overwrite")
            vm = g.watch(lambda v: condition(v, "PlacementSatisfied").get("status") == "False", 30, "wanting to move")
            g.same()
            expect(len(g.pods()) == 1 and g.node() == "node1", "it has another pod")
        finally:
            faults.webhooks(2)
        g.on("node2")
        return [condition(vm, "PlacementSatisfied")["message"]]
    finally:
        g.delete()
        for n in ("node1", "node2"):
            lab.kubectl("label", "node", n, "zone-")


def ready():
    for part in PARTS:
        kind = "daemonset" if part == "drover-agent" else "deployment"
        lab.kubectl("rollout", "status", "-n", "drover-system", f"{kind}/{part}", "--timeout=180s", timeout=200)
    for node in nodes():
        nodeloss.node_ready(node)


def cold_start():
    """The power of everything fails, and every pod of Drover's is lost: nothing that is admitted waits for what admits."""
    g = Guest("patient", "node1")
    g.record()
    owner = at(g.vm(), "status.owner")
    names = nodes()
    for node in names:
        nodeloss.power("off", node)
    lab.run(lab.ROOT / "tests" / "cluster" / "restart", timeout=320)
    lab.kubectl("delete", "pods", "-n", "drover-system", "--all", "--force", "--grace-period=0")
    for node in names:
        nodeloss.power("on", node)
    ready()
    lab.wait_for(lambda: nodeloss.new_boot(g), 120, "running again")
    vm = g.watch(lambda v: at(v, "status.phase") == "Running", 60, "Running")
    expect(at(vm, "status.owner") == owner, f"owner {at(vm, 'status.owner')}, was {owner}")
    g.records_are_on_disk()
    g.booted(lab.boot_id(g.address))
    g.one_domain("node1")
    g.patch(nodeName="node2")
    g.on("node2")
    g.delete()


def steps():
    return [("outage: a move waits for the webhook", stays_without_webhook),
            ("outage: cold start of the whole cluster", cold_start)]
