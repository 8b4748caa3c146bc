"""All certificates and their CA replaced, and the webhook rolled out, under load: no request fails, nothing is restarted."""

import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import tempfile
import threading
import time

import bad_input
import lab
import mtls
from lab import at, expect

SYSTEM = "drover-system"
LEAVES = {"drover-webhook": "drover-webhook-tls", "drover-extender": "drover-extender-tls"}  # by who serves it
CLIENT = "drover-scheduler-client"
PORT = 8443
PACE_S = 0.1       # between two requests of a load: two cores are shared with all of Kubernetes
PATIENCE_S = 240   # the lab's time to settle is a minute
NUDGE_S = 5
FOLLOWING = 20     # requests that must do well after a change, too
LIBVIRT_PORT = 16514
KEYS = re.compile(rb"PRIVATE KEY|client-key-data")


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def pems(text):
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", text, re.S)


def value(secret, key):
    return bad_input.decoded(secret["data"])[key]


def wish(name):
    """As docs/operations.md says it."""
    lab.kubectl("annotate", "secret", "drover-ca", "-n", SYSTEM, "--overwrite", f"drover.dev/{name}={stamp(now())}")


def secret(name):
    return bad_input.Service.secret(name)


def watch_secret(name, until, what):
    return lab.watch("secret", name, lambda s: s and until(s), PATIENCE_S, what, namespace=SYSTEM)


def watch_bundles(wanted, what):
    """Until the webhook configurations hold these CAs; the order says nothing."""
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        lab.watch(kind, "drover", lambda c: c and all(
            set(pems(bad_input.decoded({"b": w["clientConfig"].get("caBundle", "")})["b"])) == set(wanted) for w in c["webhooks"]),
            PATIENCE_S, what, namespace="")


# --- loads

class Load:
    """call() returns what went wrong, or nothing; again and again until stopped."""

    def __init__(self, name, call):
        self.name, self.call = name, call
        self.total, self.failures = 0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.wait(PACE_S):
            try:
                error = self.call()
            except Exception as e:  # whatever it was, the request has failed
                error = f"{type(e).__name__}: {e}"
            self.total += 1
            if error:
                self.failures.append(f"{stamp(now())} {error}")

    def good(self):
        """Those so far, and some after now."""
        seen = self.total
        lab.wait_for(lambda: self.failures or self.total >= seen + FOLLOWING, 120, f"going on: {self.name}")
        expect(not self.failures, f"{self.name}: {len(self.failures)} of {self.total} failed: {self.failures[:3]}")
        return f"{self.name}: {self.total} requests, none failed"

    def stop(self):
        self.stopping.set()
        self.thread.join()


class Admission:
    """VirtualMachines created in dry runs: the API server asks the webhook twice for each."""

    def __init__(self):
        self.api = lab.Api()
        self.body = bad_input.named("rotation", bad_input.GOOD)

    def __call__(self):
        try:
            status, text = self.api.send("POST", "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachines?dryRun=All",
                                         self.body, "application/json")
        except (OSError, http.client.HTTPException):
            self.api.connection = None
            raise
        return None if status == 201 else f"{status} {text[:300]!r}"


class Direct:
    """A new connection for each call. Like kube-scheduler, it has read its CA file once, and shows the certificate that its
    files hold now."""

    def __init__(self, service, path, body, client=None):
        self.client, self.body = client, body
        self.target = bad_input.Service(service, path, client)
        self.trusted = secret("drover-ca")["ca.crt"]

    def fetch(self):
        shown = secret(self.client)
        context = ssl.create_default_context(cadata=self.trusted)
        bad_input.show(context, shown["tls.crt"] + shown["tls.key"])
        self.target.context = context

    def __call__(self):
        status, text = self.target.post(self.body)
        return None if status == 200 else f"{status} {text[:300]}"


# --- what is served

def pods(component):
    return [p for p in lab.get("pods", None, "-l", f"app.kubernetes.io/name={component}", namespace=SYSTEM)
            if at(p, "status.phase") == "Running" and not at(p, "metadata.deletionTimestamp")]


def shown_at(address, port, pem=None):
    """The certificate that a server shows, whatever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pem:
        bad_input.show(context, pem)
    with socket.create_connection((address, port), timeout=20) as plain, context.wrap_socket(plain) as s:
        return ssl.DER_cert_to_PEM_cert(s.getpeercert(binary_form=True))


def served(component):
    client = secret(CLIENT)
    return {p["metadata"]["name"]: shown_at(at(p, "status.podIP"), PORT, client["tls.crt"] + client["tls.key"])
            for p in pods(component)}


def same(one, other):
    return ssl.PEM_cert_to_DER_cert(one) == ssl.PEM_cert_to_DER_cert(other)


def loads(component):
    """How often each pod has read its files: drover_http_certificate_loads_total."""
    found = {}
    for pod in pods(component):
        name = pod["metadata"]["name"]
        text = lab.kubectl("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{name}:9404/proxy/metrics")
        found[name] = float(re.search(r'^drover_http_certificate_loads_total\{result="ok"\} (\S+)', text, re.M).group(1))
    return found


def nudged(component, probe, what):
    """Kubelet looks at the Secrets of a pod each minute or so, and at once when the pod changes."""
    last = [0.0]

    def try_it():
        if time.monotonic() - last[0] > NUDGE_S:
            last[0] = time.monotonic()
            lab.kubectl("annotate", "pods", "-n", SYSTEM, "-l", f"app.kubernetes.io/name={component}", "--overwrite",
                        f"drover.dev/nudge={time.time_ns()}")
        return probe()

    return lab.wait_for(try_it, PATIENCE_S, what, 0.5)


def serves(component, pem):
    """Every pod shows this certificate."""
    nudged(component, lambda: all(same(shown, pem) for shown in served(component).values()), f"served by {component}")


def signed_by(leaf, ca):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("leaf", leaf), ("ca", ca)):
            pathlib.Path(folder, name).write_text(text)
        return lab.run("openssl", "verify", "-partial_chain", "-CAfile", f"{folder}/ca", f"{folder}/leaf",
                       check=False).returncode == 0


# --- the story

class Rotation:
    def __init__(self, main_job):
        self.main_job = main_job
        self.loads, self.extender, self.old_ca, self.new_ca, self.old_client, self.scheduler = [], None, None, None, None, None

    def begin(self):
        self.scheduler = (lab.LAB / "control-plane" / "kube-scheduler.pid").read_text()
        cas = pems(secret("drover-ca")["ca.crt"])
        expect(len(cas) == 1, f"{len(cas)} CAs are trusted: another rotation is under way")
        self.old_ca = cas[0]
        self.extender = Direct("drover-extender", "/filter", mtls.CALL, CLIENT)
        self.loads = [Load("VirtualMachines created by the API server", Admission()),
                      Load("the extender, by the scheduler's certificate", self.extender),
                      Load("the webhook, by connections of their own",
                           Direct("drover-webhook", "/validate", json.dumps(bad_input.REVIEW).encode()))]
        return self._good()

    def _good(self):
        return [load.good() for load in self.loads]

    def _fetch(self):
        """What an administrator's job does where kube-scheduler has copies; it reads them by itself."""
        self.extender.fetch()
        lab.run(lab.ROOT / "tests" / "cluster" / "scheduler", "fetch")

    def _leaves_follow(self, before):
        """Every leaf is another and served; returns those of the servers."""
        watch_secret(CLIENT, lambda s: value(s, "tls.crt") != before[CLIENT], "renewed")
        self._fetch()
        found = {}
        for component, name in LEAVES.items():
            found[name] = value(watch_secret(name, lambda s, n=name: value(s, "tls.crt") != before[n], "renewed"), "tls.crt")
            serves(component, pems(found[name])[0])
            yield f"{component}: its pods serve the new certificate"
        return found

    @staticmethod
    def _leaves():
        return {name: secret(name)["tls.crt"] for name in (CLIENT, *LEAVES.values())}

    def leaves(self):
        before = self._leaves()
        wish("renew-certificates")
        yield from self._leaves_follow(before)
        expect(pems(secret("drover-ca")["ca.crt"]) == [self.old_ca], "the CA has changed as well")
        yield from self._good()

    def ca(self):
        before, read = self._leaves(), loads("drover-extender")
        self.old_client = secret(CLIENT)["tls.crt"] + secret(CLIENT)["tls.key"]
        wish("renew-ca")
        both = pems(value(watch_secret("drover-ca", lambda s: len(pems(value(s, "ca.crt"))) == 2, "two CAs"), "ca.crt"))
        [self.new_ca] = [pem for pem in both if pem != self.old_ca]
        watch_bundles(both, "given both CAs")
        yield "both CAs stand in every bundle"
        nudged("drover-extender", lambda: all(n > read.get(pod, 0) for pod, n in loads("drover-extender").items()),
               "read by the extender")
        found = yield from self._leaves_follow(before)
        for name, text in found.items():
            expect(signed_by(pems(text)[0], self.new_ca), f"{name} was not signed by the new CA")
        yield "all certificates are of the new CA"
        watch_bundles(both, "given both CAs still")
        yield from self._good()

    def forgotten(self):
        """As soon as it is said that no copy of an old certificate is in use; kubelets have had their time before."""
        expect(self.new_ca, "there is no new CA")
        watch_secret("drover-ca-key", lambda s: "drover.dev/previous-replaced" in at(s, "metadata.annotations", {}),
                     "without a certificate of the old CA")
        replaced = at(lab.get("secret", "drover-ca-key", namespace=SYSTEM), "metadata.annotations")["drover.dev/previous-replaced"]
        lab.wait_for(lambda: stamp(now()) > replaced, 10, f"later than {replaced}")
        wish("retire-ca")
        watch_secret("drover-ca", lambda s: pems(value(s, "ca.crt")) == [self.new_ca], "without the old CA")
        watch_bundles([self.new_ca], "without the old CA")
        yield "no bundle holds the old CA"
        old = bad_input.Service("drover-extender", "/filter")
        bad_input.show(old.context, self.old_client)
        nudged("drover-extender", lambda: not old.exchange(mtls.CALL)[0], "closed to the old CA's certificates")
        yield "the extender refuses a certificate of the old CA"
        yield from self._good()

    def rollout(self):
        """Direct connections go by kube-proxy's rules, which follow when they can: this is about the API server's."""
        direct = self.loads.pop()
        direct.stop()
        direct_said = f"{direct.name}: {direct.total} requests, {len(direct.failures)} failed"
        expect(not direct.failures, f"{direct_said}: {direct.failures[:3]}")
        before = {p["metadata"]["uid"] for p in pods("drover-webhook")}
        lab.kubectl("rollout", "restart", "-n", SYSTEM, "deployment/drover-webhook")
        lab.kubectl("rollout", "status", "-n", SYSTEM, "deployment/drover-webhook", "--timeout=240s", timeout=260)
        for pod in lab.get("pods", None, "-l", "app.kubernetes.io/name=drover-webhook", namespace=SYSTEM):
            if pod["metadata"]["uid"] in before:
                lab.kubectl("wait", "--for=delete", f"pod/{pod['metadata']['name']}", "-n", SYSTEM, "--timeout=120s")
        return [direct_said] + self._good()

    def end(self):
        try:
            return self._good()
        finally:
            for load in self.loads:
                load.stop()

    def not_restarted(self):
        """It has trusted the old CA alone since it started; with other extenders it has to connect anew, and to ask them for
        the pod of the migration that follows."""
        lab.kubectl("rollout", "restart", "-n", SYSTEM, "deployment/drover-extender")
        lab.kubectl("rollout", "status", "-n", SYSTEM, "deployment/drover-extender", "--timeout=240s", timeout=260)
        yield from self.main_job.migrate()
        expect((lab.LAB / "control-plane" / "kube-scheduler.pid").read_text() == self.scheduler, "kube-scheduler was restarted")

    def libvirt(self):
        """The hypervisors' own CA, by the steps of docs/operations.md; guests and agents run on."""
        pki = Hypervisors()
        for said in (pki.trust_both, pki.new_certificates, pki.trust_new):
            yield said()
        yield from self.main_job.migrate()


class Hypervisors:
    """libvirt's certificates on the lab's nodes."""

    KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def __init__(self):
        self.pki = lab.LAB / "pki"
        self.addresses = {n["metadata"]["name"]: next(a["address"] for a in at(n, "status.addresses") if a["type"] == "InternalIP")
                          for n in lab.get("nodes", namespace="")}
        self.old = (self.pki / "libvirt-ca.crt").read_text()
        # of another name: GnuTLS takes the first of a name alone
        self._openssl("req", "-x509", *self.KEY, "-days", 365, "-keyout", "next.key", "-out", "next.crt",
                      "-subj", f"/CN=drover lab libvirt-ca {time.time_ns()}")
        self.new = (self.pki / "next.crt").read_text()

    def _openssl(self, *words):
        lab.run("env", "-C", self.pki, "openssl", *words)

    def _install(self):
        for node in self.addresses:
            lab.node_exec(node, lab.ROOT / "tests" / "lab" / "libvirt-pki", node)
            lab.node_exec(node, "virt-admin", "-c", "libvirtd:///system", "server-update-tls", "libvirtd")

    def trust_both(self):
        (self.pki / "libvirt-ca.crt").write_text(self.old + self.new)
        self._install()
        return "libvirtd of all nodes trusts both CAs"

    def new_certificates(self):
        for node, address in self.addresses.items():
            name = f"libvirt-{node}"
            (self.pki / "names").write_text(f"subjectAltName=DNS:{node},IP:{address}\n")
            self._openssl("req", *self.KEY, "-keyout", f"{name}.key", "-out", "next.csr", "-subj", f"/CN={node}")
            self._openssl("x509", "-req", "-in", "next.csr", "-CA", "next.crt", "-CAkey", "next.key", "-CAcreateserial",
                          "-days", 365, "-out", f"{name}.crt", "-extfile", "names")
        self._install()
        for node, address in self.addresses.items():
            expect(same(shown_at(address, LIBVIRT_PORT), (self.pki / f"libvirt-{node}.crt").read_text()),
                   f"libvirtd of {node} serves another certificate")
        return "libvirtd of all nodes serves a certificate of the new CA"

    def trust_new(self):
        os.replace(self.pki / "next.key", self.pki / "libvirt-ca.key")
        (self.pki / "libvirt-ca.crt").write_text(self.new)
        self._install()
        return "libvirtd of all nodes trusts the new CA alone"


def private_keys():
    """Whatever of the lab holds a private key is readable by its owner alone."""
    found = 0
    for folder in [lab.LAB / "pki", lab.LAB / "control-plane", *lab.LAB.glob("node*/root/etc/pki")]:
        for path in folder.rglob("*"):
            # gone: somebody replaces it
            with contextlib.suppress(FileNotFoundError):
                if not path.is_file() or path.stat().st_size > 1 << 16 or not KEYS.search(path.read_bytes()):
                    continue
                found += 1
                expect(path.stat().st_mode & 0o077 == 0, f"{path.relative_to(lab.LAB)}: mode {path.stat().st_mode & 0o777:o}")
    expect(found > 0, "no key was found at all")
    return [f"{found} files"]


def steps(main_job):
    r = Rotation(main_job)
    return [("private keys on disk are for their owner alone", private_keys),
            ("rotation: the load begins", r.begin),
            ("rotation: certificates renewed under load", r.leaves),
            ("rotation: CA renewed under load", r.ca),
            ("rotation: the old CA forgotten under load", r.forgotten),
            ("rotation: webhook rolled out under load", r.rollout),
            ("rotation: the load ends, no request has failed", r.end),
            ("rotation: kube-scheduler goes on by itself, a VM moves", r.not_restarted),
            ("rotation: libvirt's CA replaced, a VM moves", r.libvirt)]
