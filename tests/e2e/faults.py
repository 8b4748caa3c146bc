"""An agent that loses libvirt or the API server says so, recovers, and touches no guest; nor does anything when no webhook
answers."""

import json
import os
import signal
import time

import bad_input
import cuts
import lab
import nodeloss
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


def refusal(pod, node, word="has not been heard from"):
    """What the extender says of the node, whatever the scheduler would say before it asks."""
    extender = bad_input.Service("drover-extender", "/filter", "drover-scheduler-client")
    code, text = extender.post(json.dumps({"Pod": pod, "Nodes": None, "NodeNames": [node]}).encode())
    expect(code == 200, f"the extender says {code} {text}")
    answer = json.loads(text)
    said = {**(answer.get("FailedNodes") or {}), **(answer.get("FailedAndUnresolvableNodes") or {})}.get(node, "")
    return said if word in said else None


def agent_cut_off(main_job):
    """One node's API server is gone, its kubelet's too: the guest keeps its owner, and nothing new is sent there."""
    def step():
        node, pod = main_job.node, scenario.handles()[0]
        owner = at(lab.get("vm", "demo"), "status.owner")
        with cuts.cut(node, cuts.API):
            vm = lab.watch("vm", "demo", lambda v: condition(v, "AgentConnected").get("status") == "False"
                           and at(v, "status.phase") == "Unknown", 60, "Unknown, with a silent agent")
            said = lab.wait_for(lambda: refusal(pod, node), 30, "refused by the extender", 0.5)
            lab.watch("node", node, lambda n: condition(n, "Ready").get("status") != "True", 60, "NotReady", namespace="")
            untouched(main_job)
            expect(at(lab.get("vm", "demo"), "status.owner") == owner, "silence has cost the node its guest")
        lab.watch("vm", "demo", lambda v: scenario.running_at(node)(v) and condition(v, "AgentConnected").get("status") == "True",
                  60, "Running again, with an agent")
        nodeloss.node_ready(node)
        untouched(main_job)
        expect([at(p, "metadata.uid") for p in scenario.handles()] == [at(pod, "metadata.uid")], "it has another pod")
        expect(at(lab.get("vm", "demo"), "status.owner") == owner, "it has another owner")
        yield f"AgentConnected: {condition(vm, 'AgentConnected').get('message')}"
        yield f"the extender: {node}: {said}"
        yield from main_job.migrate()
    return step


def webhooks(count):
    lab.kubectl("scale", "-n", "drover-system", "deployment/drover-webhook", f"--replicas={count}")
    lab.wait_for(lambda: len(lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-webhook", namespace="drover-system")) == count,
                 60, f"{count} webhooks")
    lab.kubectl("rollout", "status", "-n", "drover-system", "deployment/drover-webhook", "--timeout=60s")


def evict(pod, **fields):
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}, **fields})
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
            ("API server lost to one node", agent_cut_off(main_job)),
            ("no webhook answers", no_webhook(main_job))]
