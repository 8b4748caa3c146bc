"""Invalid specs get a denial that names the field and the reason; bodies that are no reviews get an error."""

import base64
import copy
import json
import socket
import ssl

import tempfile

import lab
from lab import expect

GOOD = {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachine",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"memory": {"guest": "128Mi"}, "disks": [{"name": "root", "blank": {"size": "1Gi"}}]}}

TERM = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def affinity(*expressions):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}}}


# what is wrong, the change to a good spec, words that the denial must have
DENIED = [
    ("negative memory", {"memory": {"guest": "-1Gi"}}, ["spec.memory.guest"]),
    ("no quantity", {"memory": {"guest": "much"}}, ["spec.memory.guest"]),
    ("two disks of one name", {"disks": [{"name": "a", "blank": {"size": "1Gi"}}, {"name": "a", "blank": {"size": "1Gi"}}]},
     ["spec.disks[1]", "uplicate"]),
    ("a disk of two sources", {"disks": [{"name": "a", "blank": {"size": "1Gi"}, "image": {"name": "guest"}}]},
     ["spec.disks[0]"]),
    ("unknown image", {"disks": [{"name": "a", "image": {"name": "no-such-image"}}]},
     ["spec.disks[0].image", "no-such-image"]),
    ("malformed affinity operator", {"affinity": affinity({"key": "a", "operator": "Near", "values": ["b"]})},
     [TERM, "Near"]),
    ("In without values", {"affinity": affinity({"key": "a", "operator": "In"})}, [TERM, "values"]),
    ("Gt with a word", {"affinity": affinity({"key": "a", "operator": "Gt", "values": ["many"]})}, [TERM, "many"]),
    ("nodeName against nodeSelector",
     {"nodeName": "node1", "nodeSelector": {"kubernetes.io/hostname": "node2"}}, ["spec.nodeSelector", "node1", "node2"]),
    ("zero cores", {"cpu": {"cores": 0}}, ["spec.cpu.cores"]),
    ("bad MAC", {"networks": [{"name": "n", "mac": "xx:54"}]}, ["spec.networks[0].mac"]),
    ("unknown run strategy", {"runStrategy": "Sometimes"}, ["spec.runStrategy", "Sometimes"]),
]


def denied(change, words):
    def step():
        vm = copy.deepcopy(GOOD)
        vm["spec"].update(change)
        done = lab.run(lab.KUBECTL, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(vm), check=False)
        expect(done.returncode != 0, "it was accepted")
        for word in words:
            expect(word in done.stderr, f"the denial does not say {word!r}: {done.stderr.strip()}")
        return [done.stderr.strip().replace("\n", " ")]
    return step


def good_is_accepted():
    """Else every denial above would prove nothing."""
    lab.run(lab.KUBECTL, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(GOOD))


def pod_not_of_the_migrator():
    pod = {"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": "forged", "namespace": "default", "labels": {"drover.dev/vm": "demo"}},
           "spec": {"containers": [{"name": "c", "image": "drover/handle:dev"}]}}
    done = lab.run(lab.KUBECTL, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
    expect(done.returncode != 0, "a VM pod made by another than the migrator was accepted")
    expect("drover-migrator" in done.stderr, f"the denial does not name who may: {done.stderr.strip()}")
    return [done.stderr.strip()]


BODIES = {
    "truncated": b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","requ',
    "not JSON": b"hello",
    "deeply nested": b'{"a":' * 100000,
    "huge": b'{"a":"' + b"x" * (9 << 20) + b'"}',
    "empty": b"",
}


class Service:
    """A Drover service as its callers see it: TLS, and for the extender the scheduler's certificate."""

    def __init__(self, name, path, client_secret=None):
        service = lab.get("service", name, namespace="drover-system")
        self.address, self.path = service["spec"]["clusterIP"], path
        self.context = ssl.create_default_context(cadata=self.secret("drover-ca")["ca.crt"])
        self.server_name = f"{name}.drover-system.svc"
        if client_secret:
            secret = self.secret(client_secret)
            self.show(secret["tls.crt"] + secret["tls.key"])

    def show(self, pem):
        """A certificate and its key, to be shown from now on."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as f:
            f.write(pem)
            f.flush()
            self.context.load_cert_chain(f.name)

    @staticmethod
    def secret(name):
        data = lab.get("secret", name, namespace="drover-system")["data"]
        return {k: base64.b64decode(v).decode() for k, v in data.items()}

    def exchange(self, body):
        """What came back, and the error that ended it early, if any."""
        answer, error = b"", None
        try:
            with socket.create_connection((self.address, 443), timeout=20) as plain, \
                    self.context.wrap_socket(plain, server_hostname=self.server_name) as s:
                head = (f"POST {self.path} HTTP/1.1\r\nHost: {self.server_name}\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n")
                s.sendall(head.encode())
                try:
                    s.sendall(body)
                except OSError as e:
                    error = e  # the server may answer a body that is too big before it has it all
                while more := s.recv(65536):
                    answer += more
        except OSError as e:
            error = e
        return answer, error

    def post(self, body):
        """Status and text; sent raw, so that bodies need not be what they say."""
        answer, error = self.exchange(body)
        expect(answer.startswith(b"HTTP/1.1 "), f"no HTTP answer: {answer[:100]!r} {error}")
        return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode(errors="replace")


def bodies(service, good):
    def step():
        target = Service(**service)
        lines = []
        for name, body in BODIES.items():
            status, text = target.post(body)
            refused = status in (400, 413) or (status == 200 and '"Error":"' in text.replace(" ", ""))
            expect(refused and text.strip(), f"{name}: {status} {text[:200]!r}")
            lines.append(f"{name}: {status} {text.strip()[:140]}")
        status, text = target.post(json.dumps(good).encode())
        expect(status == 200, f"after the bad bodies a good one got {status} {text[:200]}")
        return lines
    return step


REVIEW = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
    "uid": "1", "kind": {"group": "drover.dev", "version": "v1alpha1", "kind": "VirtualMachine"},
    "resource": {"group": "drover.dev", "version": "v1alpha1", "resource": "virtualmachines"},
    "namespace": "default", "name": "bad", "operation": "CREATE", "userInfo": {"username": "someone"},
    "object": GOOD, "dryRun": True}}
ARGS = {"Pod": {"metadata": {"name": "p", "namespace": "default"}, "spec": {}}, "Nodes": None, "NodeNames": ["node1"]}


def steps():
    return ([("good spec accepted", good_is_accepted)]
            + [(f"denied: {name}", denied(change, words)) for name, change, words in DENIED]
            + [("denied: a VM pod not of the migrator", pod_not_of_the_migrator),
               ("webhook: hostile bodies", bodies({"name": "drover-webhook", "path": "/validate"}, REVIEW)),
               ("extender: hostile bodies", bodies({"name": "drover-extender", "path": "/filter",
                                                    "client_secret": "drover-scheduler-client"}, ARGS))])
