"""Pods pass the Pod Security level "restricted": those of virtual machines, and those of Drover but for the agent's."""

import json

import lab
from lab import at, expect

NAMESPACE = "strict"


def namespace():
    lab.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    lab.wait_for(lambda: lab.get("serviceaccount", "default", namespace=NAMESPACE), 30, "given a ServiceAccount")


def try_pod(name, template):
    spec = {k: v for k, v in template["spec"].items() if k not in ("serviceAccountName", "serviceAccount")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
    return lab.run(lab.KUBECTL, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)


def components():
    tried = []
    for found in lab.get("deployments", namespace="drover-system"):
        name = found["metadata"]["name"]
        done = try_pod(name, at(found, "spec.template"))
        expect(done.returncode == 0, f"{name}: {done.stderr.strip()}")
        tried.append(name)
    for name in ("drover-webhook", "drover-extender", "drover-migrator", "drover-certs"):
        expect(name in tried, f"{name} is not among {tried}")
    return [", ".join(tried)]


def agent():
    """Else the level would not be enforced at all."""
    done = try_pod("drover-agent", at(lab.get("daemonset", "drover-agent", namespace="drover-system"), "spec.template"))
    expect(done.returncode != 0 and "violates PodSecurity" in done.stderr, f"exit {done.returncode}: {done.stderr.strip()}")


def virtual_machine():
    lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": "strict", "namespace": NAMESPACE},
               "spec": {"memory": {"guest": "64Mi"}, "disks": [{"name": "data", "blank": {"size": "16Mi"}}]}})
    try:
        lab.watch("vm", "strict", lambda v: v and at(v, "status.phase") == "Running", 120, "Running", namespace=NAMESPACE)
    finally:
        lab.kubectl("delete", "vm", "strict", "-n", NAMESPACE, "--timeout=120s")


def removed():
    lab.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def steps():
    return [("Pod Security: " + title, step) for title, step in [
        ("a namespace that enforces restricted", namespace), ("the agent's pod is refused there", agent),
        ("all other pods of Drover are not", components), ("nor is a VM's", virtual_machine), ("the namespace is gone", removed)]]
