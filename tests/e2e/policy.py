"""What a stolen node can write. The token of an agent names its node, and the API server holds it to what is that node's own:
for each thing that is allowed there is a near one that is not."""

import http.client
import json
import ssl

import lab
import scenario
from lab import at, expect

DROVER = "/apis/drover.dev/v1alpha1"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/drover-system/leases"
MIGRATION = "of-nobody"
IMAGE = "of-nobody"
NOBODY = "5a1b0c0e-77f2-4a4b-8d55-0d5f7f3a9a01"  # the uid of no VM
JOURNAL = f"{DROVER}/namespaces/default/virtualmachinemigrations/{MIGRATION}"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


NOW = "2024-01-01T00:00:00Z"
# Of a migration's status, what is not for its source's agent to write.
NOT_THE_SOURCES = [
    ("phase", "Succeeded"), ("source", "node2"), ("target", "node3"), ("epoch", 7), ("vmUID", NOBODY), ("placement", "0" * 16),
    ("pod", "drover-move-x"), ("permit", True), ("queuePosition", 0), ("refused", {"count": 1}), ("cordoned", True), ("verdicts", []),
    ("verdicts", None), ("moreVerdicts", 1), ("handover", "Fast"), ("scheduledAt", NOW), ("copyingAt", NOW), ("switchingAt", NOW),
    ("confirmingAt", NOW), ("finishedAt", NOW), ("downtimeMs", 1), ("totalMs", 1), ("message", "all is well"), ("asked", True),
    ("arrival", "Running")]


class Token:
    """The API server as one sees it who has stolen drover-agent's token from a node; without a node, one that names none."""

    def __init__(self, node=None):
        bound = ["--bound-object-kind", "Node", "--bound-object-name", node] if node else []
        token = lab.kubectl("create", "token", "drover-agent", "-n", "drover-system", *bound).strip()
        server = lab.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        self.headers = {"Authorization": f"Bearer {token}"}
        self.host = server.removeprefix("https://")
        self.context = ssl.create_default_context(cafile=str(lab.LAB / "pki" / "ca.crt"))

    def send(self, method, path, body, kind=MERGE):
        """Status and message. A dry run: what is not refused is not done either."""
        connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
        try:
            connection.request(method, f"{path}?dryRun=All", json.dumps(body),
                               {**self.headers, "Content-Type": kind if method == "PATCH" else "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, json.loads(text).get("message", "")


def status(**fields):
    return {"status": fields}


def conditions(**fields):
    """A strategic patch of one condition, which says what it said before."""
    return {"status": {"conditions": [{"lastTransitionTime": "2024-01-01T00:00:00Z", **fields}]}}


def metadata(**fields):
    return {"metadata": fields}


class Policy:
    def __init__(self, main_job):
        self.main_job = main_job
        self.tokens = {}

    def _token(self, node):
        if node not in self.tokens:
            self.tokens[node] = Token(node)
        return self.tokens[node]

    def begin(self):
        """A move that nobody makes: of no VM, and Pending, so that neither migrator nor agents take it up."""
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineMigration",
                   "metadata": {"name": MIGRATION, "namespace": "default"}, "spec": {"vm": "nobody", "reason": "User"}})
        lab.patch("virtualmachinemigration", MIGRATION, status(
            phase="Pending", source="node1", target="node2", epoch=1, queuePosition=1, message="waits",
            verdicts=[{"node": "node2", "rule": 0, "message": ""}], transfer={"state": "None"}), "--subresource=status")

    def every_field(self):
        """A field that is added to the journal later is missed here."""
        crd = lab.get("customresourcedefinition", "virtualmachinemigrations.drover.dev", namespace="")
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
        missed = set(schema) - {field for field, _ in NOT_THE_SOURCES}
        expect(missed == {"transfer"}, f"not tried: {sorted(missed - {'transfer'})}")

    def asked(self):
        lab.patch("virtualmachinemigration", MIGRATION, status(asked=True), "--subresource=status")

    def answers(self):
        """Asked for real, the agent of the target answers: it gets past the policy."""
        lab.patch("virtualmachinemigration", MIGRATION, status(phase="Unknown", asked=True, vmUID=NOBODY), "--subresource=status")
        m = lab.watch("virtualmachinemigration", MIGRATION, lambda m: at(m, "status.arrival"), 30, "answered")
        expect(at(m, "status.arrival") == "None", f"the agent says {at(m, 'status.arrival')}")

    def end(self):
        lab.kubectl("delete", "virtualmachinemigration", MIGRATION, "--timeout=30s")

    def handle(self):
        """The demo's pod and the node that it is on."""
        pod = scenario.handles()[0]
        return f"/api/v1/namespaces/default/pods/{at(pod, 'metadata.name')}/status", at(pod, "spec.nodeName")

    def agent_pod(self):
        pod = next(p for p in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-agent", namespace="drover-system")
                   if at(p, "spec.nodeName") == "node1")
        return f"/api/v1/namespaces/drover-system/pods/{at(pod, 'metadata.name')}/status", "node1"

    # what a step sends is (node of the token, method, path, body, kind of patch), or a function that returns it

    def allowed(self, request):
        def step():
            node, *rest = request() if callable(request) else request
            code, said = self._token(node).send(*rest)
            expect(code in (200, 201), f"refused: {code} {said}")
        return step

    def denied(self, request, *words):
        def step():
            node, *rest = request() if callable(request) else request
            code, said = self._token(node).send(*rest)
            expect(code in (403, 422), f"not refused: {code} {said}")
            for word in words:
                expect(word in said, f"the refusal does not say {word!r}: {said}")
            return [said]
        return step

    def of_handle(self, other, body):
        def request():
            path, node = self.handle()
            return scenario.other(node) if other else node, "PATCH", path, body, STRATEGIC
        return request

    def of_agent_pod(self, body):
        def request():
            path, node = self.agent_pod()
            return node, "PATCH", path, body, STRATEGIC
        return request

    def nodes(self):
        def node(name, body, subresource="", kind=MERGE):
            return "node1", "PATCH", f"/api/v1/nodes/{name}{subresource}", body, kind

        def host(name, body):
            return "node1", "PATCH", f"{DROVER}/virtualmachinehosts/{name}/status", body

        def lease(name):
            return "node1", "PATCH", f"{LEASES}/{name}", {"spec": {"holderIdentity": "node1"}}
        another, conditional = "of another node", "only write the conditions DroverHypervisorReady"
        return [
            ("its own host", self.allowed(host("node1", status(outbound=0)))),
            ("another's host", self.denied(host("node2", status(outbound=0)), another)),
            ("a host that is none", self.denied(("node1", "POST", f"{DROVER}/virtualmachinehosts", {
                "apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineHost", **metadata(name="node9")}), another)),
            ("a token of no node", self.denied((None, *host("node1", status(outbound=0))[1:]), "names no node")),
            ("its own heartbeat", self.allowed(lease("drover-node-node1"))),
            ("another's heartbeat", self.denied(lease("drover-node-node2"), "this Lease")),
            ("the migrator's Lease", self.denied(lease("drover-migrator"), "this Lease")),
            ("labels of its own", self.allowed(node("node1", metadata(labels={"pool.drover.dev/default": "true"})))),
            ("labels of another node", self.denied(node("node2", metadata(labels={"pool.drover.dev/x": "true"})), another)),
            ("labels of others", self.denied(node("node1", metadata(labels={"zone": "b"})), "only write the labels")),
            ("a label taken away", self.denied(node("node1", metadata(labels={"kubernetes.io/hostname": None})), "not remove labels")),
            ("its node's spec", self.denied(node("node1", {"spec": {"unschedulable": True}}), "spec")),
            ("conditions of its own", self.allowed(node(
                "node1", conditions(type="DroverStorageHealthy", status="True"), "/status", STRATEGIC))),
            ("the condition Ready", self.denied(node(
                "node1", conditions(type="Ready", status="Unknown"), "/status", STRATEGIC), conditional)),
            ("all conditions taken away", self.denied(node("node1", status(conditions=[]), "/status"), conditional)),
            ("its node's resources", self.denied(node("node1", status(capacity={"cpu": "1000"}), "/status"), conditional)),
            ("its node's addresses", self.denied(node("node1", status(addresses=[]), "/status"), conditional)),
        ]

    def pods(self):
        gate = conditions(type="drover.dev/domain-running", status="True")
        return [
            ("the gate of a handle here", self.allowed(self.of_handle(False, gate))),
            ("the gate of a handle elsewhere", self.denied(self.of_handle(True, gate), "only write the status of handles on it")),
            ("the gate of another pod", self.denied(self.of_agent_pod(gate), "only write the status of handles on it")),
            ("a handle's condition Ready", self.denied(
                self.of_handle(False, conditions(type="Ready", status="False")), "only write the conditions drover.dev/domain-running")),
            ("a handle's phase", self.denied(
                self.of_handle(False, status(phase="Failed")), "only write the conditions drover.dev/domain-running")),
        ]

    def journals(self):
        def journal(node, **fields):
            return node, "PATCH", JOURNAL + "/status", status(**fields)
        return [
            ("every field of a migration's status is tried", self.every_field),
            ("the transfer, by the source", self.allowed(journal("node1", transfer={"state": "Running"}))),
            ("the transfer, by the target", self.denied(journal("node2", transfer={"state": "Done"}), "not the source")),
            ("the transfer, by another", self.denied(journal("node3", transfer={"state": "Done"}), "not the source")),
            *[(f"{field}: {json.dumps(value)}, by the source",
               self.denied(journal("node1", **{field: value}), "only write status.transfer")) for field, value in NOT_THE_SOURCES],
            ("the transfer and more, by the source",
             self.denied(journal("node1", transfer={"state": "Done"}, phase="Confirming"), "only write status.transfer")),
            ("the answer of a target that is not asked", self.denied(journal("node2", arrival="Running"), "that is asked")),
            ("a target is asked", self.asked),
            ("the answer, by the target", self.allowed(journal("node2", arrival="Running"))),
            ("the answer, by another", self.denied(journal("node3", arrival="Running"), "that is asked")),
            ("the transfer, by a target that is asked",
             self.denied(journal("node2", transfer={"state": "Done"}), "only write status.arrival")),
            ("a VM's owner", self.denied(("node1", "PATCH", f"{DROVER}/namespaces/default/virtualmachines/demo/status",
                                          status(owner={"node": "node1", "epoch": 99})), "cannot patch")),
            ("a migration's spec", self.denied(("node1", "PATCH", JOURNAL, {"spec": {"cancel": True}}), "cannot patch")),
        ]

    def begin_image(self):
        """An image whose importer is node1, as far as the policy sees; being a file, it is nobody's to import."""
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineImage",
                   "metadata": {"name": IMAGE, "namespace": "default"}, "spec": {"source": {"file": "none.qcow2"}}})
        lab.patch("virtualmachineimage", IMAGE, status(phase="Importing", importer={"node": "node1", "epoch": 3, "task": "Fetch"}),
                  "--subresource=status")

    def end_image(self):
        lab.kubectl("delete", "virtualmachineimage", IMAGE, "--timeout=30s")

    def images(self):
        def image(node, **fields):
            return node, "PATCH", f"{DROVER}/namespaces/default/virtualmachineimages/{IMAGE}/status", status(**fields)
        progress = {"epoch": 3, "state": "Done"}
        return [
            ("an image with an importer", self.begin_image),
            ("the progress, by the importer", self.allowed(image("node1", progress=progress))),
            ("the progress, by another", self.denied(image("node2", progress=progress), "not the importer")),
            ("the progress of another epoch", self.denied(image("node1", progress={"epoch": 4, "state": "Done"}), "importer's epoch")),
            *[(f"{field}, by the importer", self.denied(image("node1", progress=progress, **{field: value}), "only write status.progress"))
              for field, value in [("phase", "Ready"), ("message", "x"), ("importer", {"node": "node2"})]],
            ("an image's spec", self.denied(("node1", "PATCH", f"{DROVER}/namespaces/default/virtualmachineimages/{IMAGE}",
                                             {"spec": {"source": {"file": "x"}}}), "cannot patch")),
            ("the image is gone", self.end_image)]

    def begin_snapshot(self):
        """A snapshot whose worker is node1, as far as the policy sees; being Failed, it is nobody's to take."""
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineSnapshot",
                   "metadata": {"name": IMAGE, "namespace": "default"}, "spec": {"vm": "demo"}})
        lab.watch("vmsnapshot", IMAGE, lambda s: s and at(s, "status.phase") in ("Ready", "Failed"), 60, "settled")
        lab.patch("vmsnapshot", IMAGE, status(worker={"node": "node1", "epoch": 7, "task": "Take"}), "--subresource=status")

    def end_snapshot(self):
        lab.kubectl("delete", "vmsnapshot", IMAGE, "--timeout=60s")

    def snapshots(self):
        path = f"{DROVER}/namespaces/default/virtualmachinesnapshots/{IMAGE}"

        def snapshot(node, **fields):
            return node, "PATCH", f"{path}/status", status(**fields)
        progress = {"epoch": 7, "state": "Waiting"}
        return [
            ("a snapshot with a worker", self.begin_snapshot),
            ("the progress of a snapshot, by its worker", self.allowed(snapshot("node1", progress=progress))),
            ("the progress of a snapshot, by another", self.denied(snapshot("node2", progress=progress), "not the worker")),
            ("the progress of a snapshot, of another epoch",
             self.denied(snapshot("node1", progress={"epoch": 8, "state": "Taken"}), "worker's epoch")),
            *[(f"{field} of a snapshot, by its worker",
               self.denied(snapshot("node1", progress=progress, **{field: value}), "only write status.progress"))
              for field, value in [("phase", "Pending"), ("message", "x"), ("vmUID", "x"), ("worker", {"node": "node2"})]],
            ("a snapshot's spec", self.denied(("node1", "PATCH", path, {"spec": {"quiesce": "Never"}}), "cannot patch")),
            ("the snapshot is gone", self.end_snapshot)]

    def steps(self):
        return [("policy: " + title, step) for title, step in [
            ("a migration that nobody makes", self.begin), *self.nodes(), *self.pods(), *self.journals(), *self.images(), *self.snapshots(),
            ("the agent answers when it is asked", self.answers), ("the migration is gone", self.end)]]


def steps(main_job):
    return Policy(main_job).steps()
