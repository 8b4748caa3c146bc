"""The bench's own control plane on loopback: etcd and kube-apiserver on free ports, without kubelets; and the processes
that are measured. All of them end with the bench, by the pids that it started."""

import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
RUN = ROOT / "build" / "bench" / "admission"
KUBERNETES = ROOT / "build" / "lab" / "bin"
ADMIN = RUN / "admin.kubeconfig"
ENV = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin", KUBECONFIG=str(ADMIN), KUBERC="off",
           KUBECACHEDIR=str(RUN / "kubectl"))
started = []


class Failed(Exception):
    """What the bench cannot go on without; the text is for a person."""


def sh(*words, stdin=None, timeout=600):
    done = subprocess.run([str(w) for w in words], input=stdin, env=ENV, text=True, capture_output=True, timeout=timeout)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, ask, timeout=120, process=None):
    deadline = time.monotonic() + timeout
    while True:
        try:
            answer = ask()
            if answer:
                return answer
        except OSError:
            pass
        if process and process.poll() is not None:
            raise Failed(f"{process.args[0]} has ended, see {process.log}")
        if time.monotonic() > deadline:
            raise Failed(f"not {what} within {timeout} s")
        time.sleep(0.1)


def start(name, *words, core=None):
    """A process whose output goes to NAME.log, and that ends with us however we end; core: the only one it may use."""
    pin = ["setpriv", "--pdeathsig", "KILL"] + ([] if core is None else ["taskset", "-c", str(core)])
    log = RUN / f"{name}.log"
    with open(log, "ab") as out:
        p = subprocess.Popen([*pin, *map(str, words)], env=ENV, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    p.log = log
    started.append(p)
    return p


def end(p, how=signal.SIGKILL):
    if p.poll() is None:
        p.send_signal(how)
    p.wait()
    if p in started:
        started.remove(p)


@atexit.register
def end_all():
    for p in reversed(started[:]):
        end(p)


def certificates():
    def openssl(*words):
        sh("openssl", *words)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-keyout", RUN / "ca.key", "-out", RUN / "ca.crt", "-subj", "/CN=bench")
    for name, subject, more in (("tls", "/CN=server", "subjectAltName=IP:127.0.0.1,DNS:localhost,IP:10.96.0.1"),
                                ("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"),
                                ("scheduler", "/CN=drover-scheduler", "extendedKeyUsage=clientAuth")):
        extensions = RUN / f"{name}.ext"
        extensions.write_text(more + "\n")
        openssl("req", *curve, "-keyout", RUN / f"{name}.key", "-out", RUN / f"{name}.csr", "-subj", subject)
        openssl("x509", "-req", "-in", RUN / f"{name}.csr", "-CA", RUN / "ca.crt", "-CAkey", RUN / "ca.key", "-CAcreateserial", "-days", "2",
                "-out", RUN / f"{name}.crt", "-extfile", extensions)
    openssl("genrsa", "-out", RUN / "sa.key", "2048")
    openssl("rsa", "-in", RUN / "sa.key", "-pubout", "-out", RUN / "sa.pub")


def ask_https(port, path, body=None, client=None):
    """The body of the answer; anything but 200 is an OSError."""
    context = ssl.create_default_context(cafile=str(RUN / "ca.crt"))
    if client:
        context.load_cert_chain(str(RUN / f"{client}.crt"), str(RUN / f"{client}.key"))
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return answer.read()


def control_plane():
    """Starts etcd on what RUN/etcd holds, and the API server; returns both and its port."""
    store, peer, port = free_port(), free_port(), free_port()
    etcd = start("etcd", "etcd", "--data-dir", RUN / "etcd", "--unsafe-no-fsync", "--listen-client-urls", f"http://127.0.0.1:{store}",
                 "--advertise-client-urls", f"http://127.0.0.1:{store}", "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                 "--quota-backend-bytes", 4 << 30)
    # no queues: what fills and follows the cluster is not to wait for its turn; no controller would take the taint of
    # new nodes away
    api = start("kube-apiserver", KUBERNETES / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}",
                "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={RUN}/sa.pub",
                f"--service-account-signing-key-file={RUN}/sa.key", "--service-cluster-ip-range=10.96.0.0/16",
                f"--tls-cert-file={RUN}/tls.crt", f"--tls-private-key-file={RUN}/tls.key", f"--client-ca-file={RUN}/ca.crt",
                "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition", f"--secure-port={port}",
                "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--enable-priority-and-fairness=false",
                "--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000", "--allow-privileged")
    ADMIN.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority": f"{RUN}/ca.crt"}}],
        "users": [{"name": "admin", "user": {"client-certificate": f"{RUN}/admin.crt", "client-key": f"{RUN}/admin.key"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "admin"}}]}))
    wait_for("etcd up", lambda: socket.create_connection(("127.0.0.1", store)).close() is None, process=etcd)
    wait_for("the API server ready", lambda: ask_https(port, "/readyz", client="admin") == b"ok", process=api)
    return etcd, api, port


def filled(snapshot, fill):
    """The control plane with what fill() makes, kept as the folder `snapshot` for the next time; returns the API's port."""
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    certificates()
    if snapshot.exists():
        shutil.copytree(snapshot, RUN / "etcd")
        return control_plane()[2]
    etcd, api, _ = control_plane()
    kubectl("apply", "-f", ROOT / "manifests" / "base" / "crds")
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    fill()
    for p in (api, etcd):
        end(p, signal.SIGTERM)
    part = snapshot.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(RUN / "etcd", part)
    part.rename(snapshot)
    return control_plane()[2]


def kubectl(*words, **kw):
    return sh(KUBERNETES / "kubectl", *words, **kw)


def status(p, key):
    """A line of /proc/PID/status in MiB."""
    for text in pathlib.Path(f"/proc/{p.pid}/status").read_text().splitlines():
        if text.startswith(f"{key}:"):
            return int(text.split()[1]) / 1024
    raise Failed(f"no {key} of {p.args[0]}")


def cpu_seconds(p):
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{p.pid}/task").iterdir()) / 1e9
