"""Twenty patches back and forth: one pod, one domain, every move counted, five records kept."""

import re

import lab
import scenario
from lab import at, expect

TIMES = 20


def succeeded():
    """drover_migrations_total{result="succeeded"}, added up over the migrator's pods."""
    total = 0
    for pod in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-migrator", namespace="drover-system"):
        text = lab.kubectl("get", "--raw", f"/api/v1/namespaces/drover-system/pods/{pod['metadata']['name']}:9402/proxy/metrics")
        for value in re.findall(r'^drover_migrations_total\{result="succeeded"\} ([0-9.e+]+)', text, re.M):
            total += float(value)
    return round(total)


def back_and_forth(main_job):
    def step():
        before = succeeded()
        gaps = []
        for _ in range(TIMES):
            for _ in main_job.migrate():
                pass
            gaps.append(main_job.gap)
        vm = lab.get("vm", "demo")
        expect(at(vm, "status.phase") == "Running", f"phase {at(vm, 'status.phase')}")
        # The last move's old pod is deleted by now, but its kubelet may still be at it.
        lab.wait_for(lambda: len(lab.get("pods", None, "-l", "drover.dev/vm=demo")) == 1, 30, "down to one pod")
        found = [d for n in ("node1", "node2") for d in lab.defined(n)]
        expect(found == ["default_demo"], f"domains {found}")
        expect(succeeded() - before == TIMES, f"{succeeded() - before} migrations counted")
        kept = lab.wait_for(lambda: len(scenario.migrations()) == 5 and scenario.migrations(), 20,
                            "down to five VirtualMachineMigrations")
        expect(all(at(m, "status.phase") == "Succeeded" for m in kept), "a migration kept did not succeed")
        gaps.sort()
        median = gaps[len(gaps) // 2]
        expect(median < scenario.GAP_TARGET_MS, f"median of the longest gaps is {median} ms: {gaps}")
        return [f"{TIMES} moves, longest gaps in ms: {gaps}", scenario.figure("migration_gap_median", median)]
    return step


def steps(main_job):
    return [(f"{TIMES} patches back and forth", back_and_forth(main_job))]
