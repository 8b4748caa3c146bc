"""An agent that loses libvirt or the API server says so, recovers, and touches no guest; nor does anything when no webhook
answers."""

import json
import os
import signal
import time

import lab
import scenario
from lab import at, condition, expect


def pid_of(node, name):
    return int((lab.LAB / node / f"{name}.pid").read_text())


def untouched(main_job):
    main_job.session.say()
    expect(lab.boot_id(main_job.address) == main_job.boot, "the guest was booted again")


def start_libvirtd(node):
    lab.run(lab.ROOT / "tests" / "lab" / "restart", node, "libvirtd")


def kill_libvirtd(node):
    os.kill(pid_of(node, "libvirtd"), signal.SIGKILL)


def hang_libvirtd(node):
    os.kill(pid_of(node, "libvirtd"), signal.SIGSTOP)


def wake_libvirtd(node):
    os.kill(pid_of(node, "libvirtd"), signal.SIGCONT)


def libvirt_lost(main_job, lose, recover):
    def step():
        node = main_job.node
        lose(node)
        try:
            host = lab.watch("vmhost", node, lambda h: h and condition(h, "Ready").get("status") == "False", 60,
                             "not Ready for want of libvirt", namespace="")
            untouched(main_job)
        finally:
            recover(node)
        lab.watch("vmhost", node, lambda h: h and condition(h, "Ready").get("status") == "True", 60, "Ready again",
                  namespace="")
        untouched(main_job)
        vm = lab.watch("vm", "demo", scenario.running_at(node), 30, "Running still")
        expect(len(scenario.handles()) == 1, "more than one pod")
        return [f"{node}: {condition(host, 'Ready').get('reason')}: {condition(host, 'Ready').get('message')}",
                f"then {at(vm, 'status.phase')}"]
    return step


def api_lost(main_job):
    def step():
        server = int((lab.LAB / "control-plane" / "kube-apiserver.pid").read_text())
        os.kill(server, signal.SIGSTOP)
        try:
            # Longer than a lease of the agent lasts, so that everybody has noticed when it is back.
            lab.wait_for(lambda: _silent(20), 40, "the time is over", 1)
            untouched(main_job)
        finally:
            os.kill(server, signal.SIGCONT)
        lab.wait_for(lambda: scenario.running_at(main_job.node)(lab.get("vm", "demo")), 60, "Running again")
        untouched(main_job)
        return main_job.migrate()
    return step


def webhooks(count):
    lab.kubectl("scale", "-n", "drover-system", "deployment/drover-webhook", f"--replicas={count}")
    lab.wait_for(lambda: len(lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-webhook", namespace="drover-system")) == count,
                 60, f"{count} webhooks")
    lab.kubectl("rollout", "status", "-n", "drover-system", "deployment/drover-webhook", "--timeout=60s")


def evict(pod):
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}})
    return lab.run(lab.KUBECTL, "create", "--raw", f"/api/v1/namespaces/default/pods/{pod}/eviction", "-f", "-", stdin=eviction, check=False)


def no_webhook(main_job):
    """Pods that are no VM's come and go as ever; a VM's pod stays."""
    def step():
        plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": "default"},
                 "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "drover/handle:dev"}]}}
        handle = scenario.handles()[0]["metadata"]["name"]
        webhooks(0)
        try:
            lab.apply(plain)
            done = evict("plain")
            expect(done.returncode == 0, f"a pod of others cannot be evicted: {done.stderr}")
            done = evict(handle)
            expect(done.returncode and "evictions.drover.dev" in done.stderr, f"the eviction of a VM's pod: exit {done.returncode}: {done.stderr}")
            untouched(main_job)
        finally:
            webhooks(2)
        lab.watch("vm", "demo", scenario.running_at(main_job.node), 30, "Running still")
        return main_job.migrate()
    return step


_began = {}


def _silent(seconds):
    return time.monotonic() - _began.setdefault("api", time.monotonic()) > seconds


def steps(main_job):
    return [("libvirtd hangs", libvirt_lost(main_job, hang_libvirtd, wake_libvirtd)),
            ("libvirtd dies", libvirt_lost(main_job, kill_libvirtd, start_libvirtd)),
            ("API server lost", api_lost(main_job)),
            ("no webhook answers", no_webhook(main_job))]
