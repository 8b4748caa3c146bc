"""Who may ask the deployed extender: the scheduler by its certificate, and nobody else."""

import json
import pathlib
import tempfile

import bad_input
import lab
from lab import expect

VERBS = ("/filter", "/prioritize", "/preempt")
CALL = json.dumps({**bad_input.ARGS, "NodeNameToMetaVictims": {}}).encode()


class Authority:
    """Signs clients' certificates: the one that drover-certs has made, or one that nobody trusts."""

    def __init__(self, folder, trusted):
        self.folder = pathlib.Path(folder)
        data = bad_input.Service.secret("drover-ca-key")
        (self.folder / "ca.crt").write_text(data["ca.crt"])
        if trusted:
            (self.folder / "ca.key").touch(0o600)
            (self.folder / "ca.key").write_text(data["ca.key"])
        else:  # its name is right, too
            name = self._openssl("x509", "-in", "ca.crt", "-noout", "-subject", "-nameopt", "compat").partition("=")[2].strip()
            self._openssl("req", "-x509", *self.KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "1", "-subj", name)

    KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def _openssl(self, *words):
        return lab.run("env", "-C", self.folder, "openssl", *words).stdout

    def client(self, name, days):
        """Certificate and key of a client of that name; one of -1 day has expired."""
        (self.folder / "use").write_text("extendedKeyUsage=clientAuth\n")
        self._openssl("req", *self.KEY, "-keyout", "c.key", "-out", "c.csr", "-subj", f"/O=Drover/CN={name}")
        self._openssl("x509", "-req", "-in", "c.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
                      "-out", "c.crt", "-extfile", "use")
        return (self.folder / "c.crt").read_text() + (self.folder / "c.key").read_text()


def service(verb, pem=None):
    target = bad_input.Service("drover-extender", verb)
    if pem:
        bad_input.show(target.context, pem)
    return target


def answered():
    lines = []
    for verb in VERBS:
        status, text = bad_input.Service("drover-extender", verb, "drover-scheduler-client").post(CALL)
        expect(status == 200, f"{verb}: {status} {text}")
        lines.append(f"{verb}: {status}")
    return lines


def cut_off(pem):
    """No answer in HTTP at all: the handshake fails, with an alert or, where the end of the connection overtakes that,
    without. And the scheduler is still answered."""
    lines = []
    for verb in VERBS:
        answer, error = service(verb, pem).exchange(CALL)
        expect(not answer, f"{verb}: {answer[:200]!r}")
        lines.append(f"{verb}: {error or 'closed'}")
    return lines + answered()


def without():
    return cut_off(None)


def of_another_authority():
    with tempfile.TemporaryDirectory() as folder:
        return cut_off(Authority(folder, False).client("drover-scheduler", 1))


def expired():
    with tempfile.TemporaryDirectory() as folder:
        return cut_off(Authority(folder, True).client("drover-scheduler", -1))


def signed_here():
    """What is refused above is refused for what is wrong with it: one that is right in all is taken."""
    with tempfile.TemporaryDirectory() as folder:
        status, text = service("/filter", Authority(folder, True).client("drover-scheduler", 1)).post(CALL)
    expect(status == 200, f"{status} {text}")


def of_another_name():
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        pem = Authority(folder, True).client("drover-webhook", 1)
    for verb in VERBS:
        status, text = service(verb, pem).post(CALL)
        expect(status == 403 and "drover-scheduler" in text, f"{verb}: {status} {text}")
        lines.append(f"{verb}: {status} {text}")
    return lines


def steps():
    return [("extender: the scheduler is answered", answered),
            ("extender: a certificate like the scheduler's is taken", signed_here),
            ("extender: refuses a client without a certificate", without),
            ("extender: refuses one of another authority", of_another_authority),
            ("extender: refuses an expired one", expired),
            ("extender: refuses one of another name", of_another_name)]
