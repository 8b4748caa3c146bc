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

NODE_AFFINITY = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
TERM = f"{NODE_AFFINITY}.nodeSelectorTerms"


def affinity(*expressions, fields=()):
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": list(expressions), "matchFields": list(fields)}]}}}


def apart(selector):
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}]}}


def spread(selector):
    return [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]


def vm(**spec):
    made = copy.deepcopy(GOOD)
    made["spec"].update(spec)
    return made


def image(**source):
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineImage",
            "metadata": {"name": "bad", "namespace": "default"}, "spec": {"source": source}}


def snapshot(**spec):
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineSnapshot",
            "metadata": {"name": "bad", "namespace": "default"}, "spec": {"vm": "nobody", **spec}}


def move(**spec):
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineMigration",
            "metadata": {"name": "bad", "namespace": "default"}, "spec": {"vm": "nobody", **spec}}


def named(name, obj):
    return {**obj, "metadata": {**obj["metadata"], "name": name}}


NO_VALUES = {"matchExpressions": [{"key": "a", "operator": "In"}]}
SELECTOR_VALUES = "labelSelector.matchExpressions[0].values"

# what is wrong, the object, words that the denial must have; where a schema's rule and the webhook say the same in other
# words, the schema's are asked for, which is asked first
DENIED = [
    ("a name too long", named("n" * 51, GOOD), ["no longer than 50"]),
    ("negative memory", vm(memory={"guest": "-1Gi"}), ["spec.memory.guest", "at least 16Mi"]),
    ("no quantity", vm(memory={"guest": "much"}), ["spec.memory.guest", "at least 16Mi"]),
    ("too little memory", vm(memory={"guest": "15Mi"}), ["spec.memory.guest", "at least 16Mi"]),
    ("too little memory, as a number", vm(memory={"guest": 16777215}), ["spec.memory.guest", "at least 16Mi"]),
    ("memory that is no multiple of 2Mi", vm(memory={"guest": "129Mi", "hugePages": "2Mi"}),
     ["spec.memory.guest", "multiple of hugePages"]),
    ("memory that is no multiple of 1Gi", vm(memory={"guest": 1074790400, "hugePages": "1Gi"}),
     ["spec.memory.guest", "multiple of hugePages"]),
    ("huge pages of no size", vm(memory={"guest": "128Mi", "hugePages": "4Ki"}), ["spec.memory.hugePages", "4Ki"]),
    ("two disks of one name", vm(disks=[{"name": "a", "blank": {"size": "1Gi"}}, {"name": "a", "blank": {"size": "1Gi"}}]),
     ["spec.disks[1]", "uplicate"]),
    ("a disk of two sources", vm(disks=[{"name": "a", "blank": {"size": "1Gi"}, "image": {"name": "guest"}}]),
     ["spec.disks[0]", "exactly one of"]),
    ("a disk of no source", vm(disks=[{"name": "a"}]), ["spec.disks[0]", "exactly one of"]),
    ("a disk of no size", vm(disks=[{"name": "a", "blank": {"size": "0"}}]), ["spec.disks[0].blank.size", "above zero"]),
    ("a disk smaller than nothing", vm(disks=[{"name": "a", "image": {"name": "guest", "size": "-1Gi"}}]),
     ["spec.disks[0].image.size", "above zero"]),
    ("unknown image", vm(disks=[{"name": "a", "image": {"name": "no-such-image"}}]),
     ["spec.disks[0].image", "no-such-image"]),
    ("malformed affinity operator", vm(affinity=affinity({"key": "a", "operator": "Near", "values": ["b"]})), [TERM, "Near"]),
    ("In without values", vm(affinity=affinity({"key": "a", "operator": "In"})), [TERM, "values"]),
    ("Exists with values", vm(affinity=affinity({"key": "a", "operator": "Exists", "values": ["b"]})), [TERM, "values"]),
    ("Gt with a word", vm(affinity=affinity({"key": "a", "operator": "Gt", "values": ["many"]})), [TERM, "values"]),
    ("a field with two names",
     vm(affinity=affinity(fields=[{"key": "metadata.name", "operator": "In", "values": ["node1", "node2"]}])),
     ["matchFields[0].values", "exactly one"]),
    ("anti-affinity without values", vm(affinity=apart(NO_VALUES)), ["podAntiAffinity", SELECTOR_VALUES]),
    ("spread without values", vm(topologySpreadConstraints=spread(NO_VALUES)), ["topologySpreadConstraints", SELECTOR_VALUES]),
    ("a key that is none", vm(nodeSelector={"a b": "c"}), ["spec.nodeSelector", "label keys"]),
    ("nodeName against nodeSelector", vm(nodeName="node1", nodeSelector={"kubernetes.io/hostname": "node2"}),
     ["spec.nodeSelector", "node1", "node2"]),
    ("a toleration without a key", vm(tolerations=[{"operator": "Equal", "value": "b"}]), ["spec.tolerations[0].operator", "Exists"]),
    ("a toleration of any value, with a value", vm(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
     ["spec.tolerations[0].value", "Exists"]),
    ("a toleration for seconds of what evicts nobody",
     vm(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]),
     ["spec.tolerations[0].effect", "NoExecute"]),
    ("a toleration of no effect", vm(tolerations=[{"key": "a", "operator": "Exists", "effect": "Never"}]),
     ["spec.tolerations[0].effect", "Never"]),
    ("post-copy without consent to handover Fast", vm(migration={"postCopy": True}), ["spec.migration.postCopy", "Fast"]),
    ("zero cores", vm(cpu={"cores": 0}), ["spec.cpu.cores"]),
    ("bad MAC", vm(networks=[{"name": "n", "mac": "xx:54"}]), ["spec.networks[0].mac", "unicast"]),
    ("a MAC of a group", vm(networks=[{"name": "n", "mac": "53:54:00:00:00:01"}]), ["spec.networks[0].mac", "unicast"]),
    ("a grace of a day", vm(terminationGracePeriodSeconds=86400), ["spec.terminationGracePeriodSeconds", "3600"]),
    ("a grace of less than nothing", vm(terminationGracePeriodSeconds=-1), ["spec.terminationGracePeriodSeconds", "0"]),
    ("unknown run strategy", vm(runStrategy="Sometimes"), ["spec.runStrategy", "Sometimes"]),

    ("a restore to nothing", vm(restore={"requestedAt": "1"}), ["spec.restore.snapshot"]),
    ("a restore that no time tells from others", vm(restore={"snapshot": "s"}), ["spec.restore.requestedAt"]),
    ("a restore to no snapshot", vm(restore={"snapshot": "no-such", "requestedAt": "1"}), ["spec.restore.snapshot", "no-such"]),
    ("a snapshot of no VM", snapshot(), ["spec.vm", "nobody"]),
    ("a snapshot that is quiesced somehow", snapshot(quiesce="Somehow"), ["spec.quiesce", "Somehow"]),

    ("an image from nowhere", image(), ["spec.source", "exactly one of url and file"]),
    ("an image from two places", image(url="https://images.example/a.qcow2", file="a.qcow2"),
     ["spec.source", "exactly one of url and file"]),
    ("an image by ftp", image(url="ftp://images.example/a.qcow2"), ["spec.source.url", "http or https"]),
    ("an image from no host", image(url="https:///a.qcow2"), ["spec.source.url", "http or https"]),
    ("an image by http, unchecked", image(url="http://images.example/a.qcow2"), ["spec.source.url", "sha256"]),
    ("a checksum that is none", image(url="https://images.example/a.qcow2", sha256="g" * 64), ["spec.source.sha256", "hexadecimal"]),
    ("a checksum of a file", image(file="a.qcow2", sha256="a" * 64), ["spec.source.sha256", "url only"]),
    ("a file elsewhere", image(file="../../etc/shadow"), ["spec.source.file", "without a slash"]),
    ("a disk that is cloned in a third way", vm(disks=[{"name": "a", "image": {"name": "guest", "clone": "Linked"}}]),
     ["spec.disks[0].image.clone", "Linked"]),
    ("a disk that is reclaimed in a third way", vm(disks=[{"name": "a", "blank": {"size": "1Gi"}, "reclaimPolicy": "Recycle"}]),
     ["spec.disks[0].reclaimPolicy", "Recycle"]),
    ("a hidden file", image(file=".a.qcow2"), ["spec.source.file", "leading dot"]),

    ("a migration of no VM", move(vm=""), ["spec.vm"]),
    ("a migration for no reason", move(reason="Boredom"), ["spec.reason", "Boredom"]),
    ("a migration to no node", move(targetNode="Node 1"), ["spec.targetNode"]),
    ("a migration with too long a name", named("n" * 201, move()), ["no longer than 200"]),
]

# objects that are there, of which each row below tries to change one
STANDING = {
    "vm": named("bad-updates", vm(runStrategy="Halted")),
    "vmimage": named("bad-updates", image(file="guest.qcow2")),
    "vmm": named("bad-updates", move(targetNode="node2", reason="User", cancel=True)),
}
CHANGED = [
    ("memory", "vm", {"memory": {"guest": "1Mi"}}, ["spec.memory.guest", "at least 16Mi"]),
    ("huge pages", "vm", {"memory": {"guest": "129Mi", "hugePages": "2Mi"}}, ["spec.memory.guest", "multiple of hugePages"]),
    ("affinity", "vm", {"affinity": affinity({"key": "a", "operator": "In"})}, [TERM, "values"]),
    ("tolerations", "vm", {"tolerations": [{"operator": "Equal"}]}, ["spec.tolerations[0].operator", "Exists"]),
    ("nodeName against nodeSelector", "vm", {"nodeName": "node1", "nodeSelector": {"kubernetes.io/hostname": "node2"}},
     ["spec.nodeSelector", "node1", "node2"]),
    ("post-copy", "vm", {"migration": {"postCopy": True}}, ["spec.migration.postCopy", "Fast"]),
    ("a disk's source", "vm", {"disks": [{"name": "root", "image": {"name": "guest"}}]}, ["spec.disks[0]", "cannot change"]),
    ("a disk's size", "vm", {"disks": [{"name": "root", "blank": {"size": "2Gi"}}]}, ["spec.disks[0]", "cannot change"]),
    ("a second source", "vmimage", {"source": {"url": "https://images.example/a.qcow2"}}, ["exactly one of url and file"]),
    ("a file elsewhere", "vmimage", {"source": {"file": "../a"}}, ["spec.source.file", "without a slash"]),
    ("another VM", "vmm", {"vm": "somebody"}, ["spec.vm", "cannot be changed"]),
    ("another target", "vmm", {"targetNode": "node1"}, ["spec.targetNode", "cannot be changed"]),
    ("no target", "vmm", {"targetNode": None}, ["spec.targetNode", "cannot be changed"]),
    ("another reason", "vmm", {"reason": "Drain"}, ["spec.reason", "cannot be changed"]),
    ("the cancelling", "vmm", {"cancel": False}, ["spec.cancel", "cannot be taken back"]),
]
# the near ones that are right, else the denials would prove nothing
ACCEPTED = [("a VM", GOOD), ("the least memory", vm(memory={"guest": "16Mi"})), ("the longest name", named("n" * 50, GOOD)),
            ("huge pages", vm(memory={"guest": "128Mi", "hugePages": "2Mi"})),
            ("tolerations", vm(tolerations=[{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}])),
            ("post-copy with consent", vm(migration={"postCopy": True, "handover": "Fast"})),
            ("an image by https", image(url="https://images.example/a.qcow2")),
            ("an image by http", image(url="http://images.example/a.qcow2", sha256="0" * 64)), ("a migration", move())]

# hosts are the agents' to write: what others take from them is looked at
HOST_DENIED = [
    ("a command in a host's address", {"libvirtURI": "qemu+ssh://node1/system?command=/tmp/x"}, ["status.libvirtURI", "without parameters"]),
    ("an address of another kind", {"libvirtURI": "qemu:///system"}, ["status.libvirtURI", "without parameters"]),
    ("an option for a host's name", {"libvirtURI": "qemu+ssh://-oProxyCommand/system"}, ["status.libvirtURI", "without parameters"]),
    ("a name for a migration address", {"migrationAddress": "node1"}, ["status.migrationAddress", "IP address"]),
    ("less than no processors", {"capacity": {"cpus": -1}}, ["status.capacity.cpus"]),
]


def refused(done, words):
    expect(done.returncode != 0, "it was accepted")
    for word in words:
        expect(word in done.stderr, f"the denial does not say {word!r}: {done.stderr.strip()}")
    return [done.stderr.strip().replace("\n", " ")]


def create(obj, *args):
    return lab.run(lab.KUBECTL, "create", "-f", "-", *args, stdin=json.dumps(obj), check=False)


def denied(obj, words):
    return lambda: refused(create(obj, "--dry-run=server"), words)


def patch(kind, name, body, *args):
    return lab.run(lab.KUBECTL, "patch", kind, name, "--type=merge", "--dry-run=server", "-p", json.dumps(body), *args, check=False)


def change_denied(kind, spec, words):
    return lambda: refused(patch(kind, "bad-updates", {"spec": spec}), words)


def host_denied(status, words):
    return lambda: refused(patch("vmhost", "node1", {"status": status}, "--subresource=status"), words)


def accepted(obj):
    def step():
        done = create(obj, "--dry-run=server")
        expect(done.returncode == 0, f"it was denied: {done.stderr.strip()}")
    return step


def warned():
    """Legal and unwise: it is created, and kubectl shows what it will wait for."""
    done = create(vm(memory={"guest": "4096Gi"}, nodeSelector={"example.com/nowhere": "x"}), "--dry-run=server")
    expect(done.returncode == 0, f"it was denied: {done.stderr.strip()}")
    told = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
    for words in ("nobody can log in", "no hypervisor offers more than", "no node satisfies the placement now"):
        expect(any(words in line for line in told), f"no warning says {words!r}: {told}")
    yield from told


def standing():
    for kind, obj in STANDING.items():
        lab.kubectl("delete", kind, "bad-updates", "--ignore-not-found", "--timeout=60s")
        done = create(obj)
        expect(done.returncode == 0, f"{kind}: {done.stderr.strip()}")
        done = patch(kind, "bad-updates", {"metadata": {"labels": {"a": "b"}}})
        expect(done.returncode == 0, f"{kind}: a change that is right was denied: {done.stderr.strip()}")


def removed():
    for kind in STANDING:
        lab.kubectl("delete", kind, "bad-updates", "--timeout=60s")


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


def decoded(data):
    """The values of a Secret as text."""
    return {k: base64.b64decode(v).decode() for k, v in data.items()}


def show(context, pem):
    """A certificate and its key, to be shown from now on."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as f:
        f.write(pem)
        f.flush()
        context.load_cert_chain(f.name)


class Service:
    """A Drover service as its callers see it: TLS, and for the extender the scheduler's certificate."""

    def __init__(self, name, path, client_secret=None):
        service = lab.get("service", name, namespace="drover-system")
        self.address, self.path = service["spec"]["clusterIP"], path
        self.context = ssl.create_default_context(cadata=self.secret("drover-ca")["ca.crt"])
        self.server_name = f"{name}.drover-system.svc"
        if client_secret:
            secret = self.secret(client_secret)
            show(self.context, secret["tls.crt"] + secret["tls.key"])

    @staticmethod
    def secret(name):
        return decoded(lab.get("secret", name, namespace="drover-system")["data"])

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
    return ([(f"accepted: {name}", accepted(obj)) for name, obj in ACCEPTED]
            + [("warned of: nobody can log in, larger than all hosts, no such node", warned)]
            + [(f"denied: {name}", denied(obj, words)) for name, obj, words in DENIED]
            + [("objects to be changed", standing)]
            + [(f"change of {kind} denied: {name}", change_denied(kind, spec, words)) for name, kind, spec, words in CHANGED]
            + [("objects removed", removed)]
            + [(f"denied: {name}", host_denied(status, words)) for name, status, words in HOST_DENIED]
            + [("denied: a VM pod not of the migrator", pod_not_of_the_migrator),
               ("webhook: hostile bodies", bodies({"name": "drover-webhook", "path": "/validate"}, REVIEW)),
               ("extender: hostile bodies", bodies({"name": "drover-extender", "path": "/filter",
                                                    "client_secret": "drover-scheduler-client"}, ARGS))])
