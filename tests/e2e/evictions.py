"""Who empties nodes otherwise than kubectl drain does: one eviction and no second, a taint of the cluster-autoscaler's, a
budget that a user has set, a guest that cannot be moved."""

import subprocess

import faults
import guest
import lab
from guest import Guest
from lab import at, expect

HOME = "node1"


def spread_out(g):
    g.patch(nodeName=None)


def evict(g, **options):
    """The pod of the guest, by the API alone; what is said of it."""
    pod = g.pods()[0]["metadata"]["name"]
    done = faults.evict(pod, deleteOptions=options)
    expect(done.returncode and "TooManyRequests" in done.stderr, f"the eviction of {pod}: exit {done.returncode}: {done.stderr}")
    expect(f"VM default/{g.name}" in done.stderr, f"the eviction of {pod} says: {done.stderr}")
    return done.stderr.strip()


def away(g):
    """It has left on its own, and one pod and one domain are elsewhere."""
    g.watch(lambda v: at(v, "status.phase") == "Running" and at(v, "status.owner.node") != HOME and not at(v, "status.migration.name"),
            120, f"away from {HOME}")
    g.settled(g.node())


class Evictions:
    def __init__(self):
        self.g = None

    def once(self):
        """A descheduler asks one time, with the uid of the pod that it means, and does not cordon the node."""
        self.g = Guest("evicted", HOME)
        spread_out(self.g)
        said = evict(self.g, preconditions={"uid": self.g.pods()[0]["metadata"]["uid"]})
        away(self.g)
        return [said]

    def dry(self):
        """It is told what an eviction would do, and nothing is done."""
        before = {m["metadata"]["name"] for m in self.g.migrations()}
        done = faults.evict(self.g.pods()[0]["metadata"]["name"], deleteOptions={"dryRun": ["All"]})
        expect(done.returncode == 0 and f"VM default/{self.g.name} is asked to leave" in done.stderr, f"exit {done.returncode}: {done.stderr}")
        expect({m["metadata"]["name"] for m in self.g.migrations()} == before, "a dry run has begun a migration")
        return [done.stderr.strip()]

    def autoscaler(self):
        """It taints the node for new pods and evicts with a grace of its own, again and again until the pod is gone."""
        self.g.patch(nodeName=HOME)
        self.g.on(HOME)
        spread_out(self.g)
        lab.kubectl("taint", "node", HOME, "ToBeDeletedByClusterAutoscaler=1:NoSchedule")
        try:
            said = evict(self.g, gracePeriodSeconds=30)
            away(self.g)
        finally:
            lab.kubectl("taint", "node", HOME, "ToBeDeletedByClusterAutoscaler-")
        return [said]

    def budget(self):
        """Two VMs of which both are to be there at any time: the drain ends, and at no time are there fewer than two."""
        second = Guest("evicted-too", HOME)
        self.g.patch(nodeName=HOME)
        self.g.on(HOME)
        lab.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "both", "namespace": "default"},
                   "spec": {"minAvailable": 2, "selector": {"matchExpressions": [
                       {"key": "drover.dev/vm", "operator": "In", "values": [self.g.name, second.name]}]}}})
        healthy = []
        try:
            lab.watch("poddisruptionbudget", "both", lambda b: at(b, "status.currentHealthy") == 2, 30, "counting two pods")
            for g in (self.g, second):
                spread_out(g)
            drain = subprocess.Popen([str(lab.KUBECTL), "drain", HOME, "--ignore-daemonsets", "--timeout=200s", "--pod-selector",
                                      f"drover.dev/vm in ({self.g.name},{second.name})"],
                                     env=lab.ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _, b in lab.events(200, "poddisruptionbudget"):
                healthy.append(at(b, "status.currentHealthy"))
                if drain.poll() is not None or all(g.node() != HOME for g in (self.g, second)):
                    break
            _, said = drain.communicate(timeout=120)
            expect(drain.returncode == 0, f"the drain: exit {drain.returncode}: {said}")
            healthy.append(at(lab.get("poddisruptionbudget", "both"), "status.currentHealthy"))
            expect(min(healthy) >= 2, f"pods that were there: {healthy}")
            for g in (self.g, second):
                away(g)
        finally:
            lab.kubectl("uncordon", HOME)
            lab.kubectl("delete", "poddisruptionbudget", "both")
        second.delete()
        return [f"pods that were there, as the budget counted them: {healthy}"]

    def pinned(self):
        """No other node may have it: the drain is told so, and the guest runs on."""
        self.g.patch(nodeName=HOME)
        self.g.on(HOME)
        evict(self.g)
        name = at(self.g.watch(lambda v: at(v, "status.migration.name"), 30, "asked to leave"), "status.migration.name")
        lab.watch("virtualmachinemigration", name, lambda m: at(m, "status.verdicts"), 30, "judged")
        said = lab.wait_for(lambda: self._said_why(), 30, "told why")
        self.g.same()
        expect(self.g.node() == HOME, "it has moved")
        return [said]

    def _said_why(self):
        said = evict(self.g)
        return said if all(n in said for n in guest.nodes() if n != HOME) else None

    def gone(self):
        self.g.delete()
        lab.wait_for(lambda: not self.g.migrations(), 30, "rid of its migrations")


def steps():
    e = Evictions()
    return [("evictions: " + title, step) for title, step in [
        ("one, and no second", e.once), ("a dry run", e.dry), ("as the cluster-autoscaler does", e.autoscaler),
        ("a budget is kept", e.budget), ("no other node may have it", e.pinned), ("VM deleted", e.gone)]]
