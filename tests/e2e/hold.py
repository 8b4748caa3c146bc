"""Stops the system at the boundary between two of its writes.

An admission webhook of the test's own sees every write to a VM's or a migration's status before it is committed. The one
that a test has armed it for is held until the test lets it go, so that whatever the test breaks meanwhile breaks between
the decision and its record.
"""

import base64
import http.server
import json
import pathlib
import ssl
import tempfile
import threading

import lab

NAME = "hold.test.drover.dev"
HOST, PORT = "10.99.0.1", 9911
LONGEST = 20  # seconds, below the webhook's own timeout: then the write goes through


class Hold:
    def __init__(self):
        self.lock = threading.Lock()
        self.armed = None  # (predicate, reached, release)
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=hold", "-addext", f"subjectAltName=IP:{HOST}", "-keyout", folder / "key", "-out", folder / "crt")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "crt", folder / "key")
        hold = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hold._wait(review["request"])
                body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                                   "response": {"uid": review["request"]["uid"], "allowed": True}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, PORT), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # the API server was killed while it asked
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self._configure(base64.b64encode((folder / "crt").read_bytes()).decode())

    def _configure(self, bundle):
        rule = {"apiGroups": ["drover.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["virtualmachines/status", "virtualmachinemigrations/status", "virtualmachinesnapshots/status"]}
        lab.apply({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                   "metadata": {"name": NAME}, "webhooks": [{
                       "name": NAME, "rules": [rule], "sideEffects": "None", "admissionReviewVersions": ["v1"],
                       "failurePolicy": "Ignore", "timeoutSeconds": 30,
                       "clientConfig": {"url": f"https://{HOST}:{PORT}/", "caBundle": bundle}}]})

    def close(self):
        try:
            lab.kubectl("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")
        finally:
            self.server.shutdown()
            self.server.server_close()
            self.folder.cleanup()

    def _wait(self, request):
        with self.lock:
            armed = self.armed
            if not armed or not armed[0](request["resource"]["resource"], request["oldObject"], request["object"]):
                return
            self.armed = None
        armed[1].set()
        armed[2].wait(LONGEST)

    def arm(self, predicate):
        """predicate(resource, old, new); returns (reached, release), both events."""
        reached, release = threading.Event(), threading.Event()
        with self.lock:
            self.armed = (predicate, reached, release)
        return reached, release
