"""kube-scheduler with the extender against kube-scheduler without, on nodes and pods that kwok plays."""

import json
import os
import re
import statistics
import subprocess
import time

import cluster
from cluster import ADMIN, KUBERNETES, ROOT, RUN, Failed, ask_https, cpu_seconds, free_port, sh, start, status, wait_for

LEASE_S = 1200  # of kwok's nodes: 5,000 heartbeats cost what would else be measured
SILENT_S = 3600


def config(name, extender, unlimited=True):
    """A scheduler's configuration file; extender: its port, or None; unlimited: it may bind faster than the 50 pods a second
    that are its default."""
    client = {"kubeconfig": str(ADMIN), "contentType": "application/vnd.kubernetes.protobuf"}
    if unlimited:
        client |= {"qps": 5000, "burst": 5000}
    content = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "clientConnection": client,
               "leaderElection": {"leaderElect": False}}
    if extender:
        content["extenders"] = [{
            "urlPrefix": f"https://127.0.0.1:{extender}", "filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 5,
            "nodeCacheCapable": True, "ignorable": False, "httpTimeout": "2s", "enableHTTPS": True,
            "tlsConfig": {"caFile": f"{RUN}/ca.crt", "certFile": f"{RUN}/scheduler.crt", "keyFile": f"{RUN}/scheduler.key"},
            "managedResources": [{"name": "drover.dev/vm", "ignoredByScheduler": True}]}]
    path = RUN / f"scheduler-{name}.yaml"
    path.write_text(json.dumps(content))
    return path


def mean_ms(text, metric, labels=""):
    """Of a histogram in Prometheus' text."""
    sums = {kind: sum(float(v) for v in re.findall(rf"^{metric}_{kind}{{?[^\n]*{labels}[^\n]*?}}? (\S+)$", text, re.M)) for kind in ("sum", "count")}
    return sums["sum"] / sums["count"] * 1000 if sums["count"] else 0


def scheduled(args, kind, path, extender):
    """One round: the pods wait, the scheduler starts; its bindings per second, and milliseconds a pod: of its algorithm, and
    of CPU time, the scheduler's from its start on and the extender's."""
    sh(*args.fixture, "pods", kind, args.pods, args.running)
    # before all else, or its times would be those at which it had its turn
    follower = subprocess.Popen([str(w) for w in ("nice", "-n", "-10", *args.fixture, "follow", args.pods)], env=cluster.ENV, stdout=subprocess.PIPE, text=True)
    port, before = free_port(), cpu_seconds(extender)
    scheduler = start("kube-scheduler", KUBERNETES / "kube-scheduler", "--config", path, "--bind-address=127.0.0.1", f"--secure-port={port}",
                      f"--tls-cert-file={RUN}/tls.crt", f"--tls-private-key-file={RUN}/tls.key", f"--authentication-kubeconfig={ADMIN}", f"--authorization-kubeconfig={ADMIN}")
    out, _ = follower.communicate()
    cpu = {"cpu": cpu_seconds(scheduler), "extender_cpu": cpu_seconds(extender) - before}
    if follower.returncode:
        raise Failed(f"not all {kind} pods were seen bound, {unbound()}, see {scheduler.log}")
    metrics = wait_for("metrics of the scheduler", lambda: ask_https(port, "/metrics", client="admin"), process=scheduler).decode()
    cluster.end(scheduler)
    sh(*args.fixture, "clear")
    rate, seconds = map(float, out.split())
    return {"rate": rate, "seconds": seconds, "ms": mean_ms(metrics, "scheduler_scheduling_algorithm_duration_seconds"),
            **{what: s * 1000 / args.pods for what, s in cpu.items()}}


def pending():
    return json.loads(cluster.kubectl("get", "--raw", "/api/v1/pods?fieldSelector=status.phase=Pending&limit=1"))["items"]


def unbound():
    """How many pods of the case have no node, and what the scheduler says of the first."""
    pods = json.loads(cluster.kubectl("get", "pods", "-A", "-l", "example.com/bench", "--field-selector", "spec.nodeName=", "-o", "json"))["items"]
    why = [c.get("message", "") for p in pods[:1] for c in p["status"].get("conditions", []) if c["type"] == "PodScheduled"]
    return f"{len(pods)} are not now{': ' + why[0] if why else ''}"


def measure(args, say, figure):
    port = free_port()
    extender = start("drover-extender-2", ROOT / "build" / "bin" / "drover-extender", "--address=127.0.0.1", f"--port={port}", "--health-port=0",
                     f"--cert={RUN}/tls.crt", f"--key={RUN}/tls.key", f"--client-ca={RUN}/ca.crt", f"--kubeconfig={ADMIN}",
                     f"--silent-seconds={SILENT_S}")
    wait_for("drover-extender ready", lambda: ask_https(port, "/readyz", client="scheduler"), process=extender)
    null_port = free_port()
    null = start("null-extender", args.peers / "null", f"-address=127.0.0.1:{null_port}", f"-cert={RUN}/tls.crt", f"-key={RUN}/tls.key", f"-client-ca={RUN}/ca.crt")
    kwok = start("kwok", args.peers / "kwok", "--kubeconfig", ADMIN, "--config", args.peers / "stages.yaml", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                 f"--node-lease-duration-seconds={LEASE_S}", "--server-address=127.0.0.1:0")
    began = time.monotonic()
    wait_for("all pods running", lambda: not pending(), timeout=300, process=kwok)
    say(f"kube-scheduler, {args.nodes} nodes played by kwok (its pods ran after {time.monotonic() - began:.0f} s), {args.pods} pods a round; "
        f"load average {os.getloadavg()[0]:.1f}")
    without, with_it, with_null = config("plain", None), config("extender", port), config("null", null_port)
    at_default, at_default_with = config("plain-default", None, False), config("extender-default", port, False)
    # one that looks at nothing shows what any extender costs; how fast a scheduler may bind is unlimited but in the last two,
    # where it is what it is unless one configures it
    arms = {"plain pods, no extender": ("plain", without), "plain pods, with it": ("plain", with_it),
            "pods placed as VMs, no extender": ("placed", without), "VM pods, with it": ("vm", with_it),
            "VM pods, one that looks at nothing": ("vm", with_null),
            "the same at 50 a second, none": ("placed", at_default), "the same at 50 a second, with": ("vm", at_default_with)}
    rows = {name: [] for name in arms}
    for i in range(args.scheduling_rounds):
        order = list(arms) if i % 2 == 0 else list(arms)[::-1]
        for name in order:
            rows[name].append(scheduled(args, *arms[name], null if arms[name][1] == with_null else extender))
    mid = {name: {key: statistics.median(r[key] for r in rows[name]) for key in rows[name][0]} for name in rows}
    for name, m in mid.items():
        say(f"    {name:34} {m['rate']:6.0f} pods/s   {m['ms']:6.2f} ms of scheduling a pod   {m['cpu']:6.2f} ms CPU of the scheduler   "
            f"{m['extender_cpu']:5.2f} of the extender   ({' '.join(format(r['rate'], '.0f') for r in rows[name])})")
    say(f"    {'drover-extender':34} {status(extender, 'VmRSS'):.1f} MiB RSS")
    a, b, c, d, n, e, f = arms
    figure("scheduling_plain_ratio", mid[b]["rate"] / mid[a]["rate"], "x", ">=", 0.95)
    figure("scheduling_vm_ratio", mid[d]["rate"] / mid[c]["rate"], "x", ">=", 0.95)
    figure("scheduling_vm_over_null_ratio", mid[d]["rate"] / mid[n]["rate"], "x", ">=", 0.95)
    figure("scheduling_vm_default_rate_ratio", mid[f]["rate"] / mid[e]["rate"], "x", ">=", 0.95)
    cluster.end(kwok)
    cluster.end(null)
    cluster.end(extender)
