"""Every manifest is taken by the real API server (server-side dry run). What is for operators that the lab has not got is
built, and looked at as far as that goes without them."""

import re
import tempfile

import lab
from lab import expect

MANIFESTS = lab.ROOT / "manifests"
ELSEWHERE = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}  # API versions of others, whose CRDs may be absent
TOGETHER = ["overlays/second-scheduler", "components/cert-manager", "components/monitoring"]


def overlays():
    """Components are built with the overlays that use them."""
    return sorted(p.parent for p in MANIFESTS.rglob("kustomization.yaml") if "kind: Component" not in p.read_text())


def field(document, name):
    """A field of the object itself, or of its metadata; kustomize writes one style alone."""
    found = re.search(rf"^{name}: (\S+)$", document, re.M) or re.search(rf"^  {name}: (\S+)$", document, re.M)
    expect(found, f"an object without {name}:\n{document[:400]}")
    return found.group(1)


def documents(folder):
    text = lab.kubectl("kustomize", folder)
    found = [d for d in re.split(r"^---\n", text, flags=re.M) if d.strip()]
    expect(found, f"{folder}: kustomize printed no object")
    return found


def dry_run(folder):
    found = documents(folder)
    ours = [d for d in found if field(d, "apiVersion") not in ELSEWHERE]
    theirs = [d for d in found if field(d, "apiVersion") in ELSEWHERE]
    for document in theirs:
        expect(field(document, "namespace") == "drover-system", f"not in drover-system:\n{document[:400]}")
    lab.run(lab.KUBECTL, "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin="---\n".join(ours))
    return [f"{len(ours)} objects" + "".join(f", {field(d, 'kind')} {field(d, 'name')}" for d in theirs)]


def together():
    """Whoever has all of it puts it together so."""
    with tempfile.TemporaryDirectory(dir=lab.LAB) as folder:
        first, *components = [f"../../../manifests/{part}" for part in TOGETHER]
        with open(f"{folder}/kustomization.yaml", "w") as f:
            f.write(f"resources: [{first}]\ncomponents: [{', '.join(components)}]\n")
        lines = dry_run(folder)
        text = "---\n".join(documents(folder))
    expect("name: drover-certs" not in text, "drover-certs is there in spite of cert-manager")
    expect("secretName: drover-ca\n" not in text, "the Secret drover-ca is used, which cert-manager does not make")
    return lines


def alerts():
    """Each metric in an alert is one that a component tells."""
    named = set(re.findall(r"drover_[a-z_]+", (MANIFESTS / "components" / "monitoring" / "alerts.yaml").read_text()))
    sources = "".join(p.read_text() for p in lab.ROOT.glob("*/*.c"))
    unknown = sorted(n for n in named if f'"{re.sub("_(total|sum|count|bucket)$", "", n)}"' not in sources)
    expect(named and not unknown, f"no component tells {unknown}")
    return sorted(named)


def examples():
    """A VM names its image, so the images come first, and for real."""
    for path in sorted((lab.ROOT / "examples").glob("*.yaml")):
        for part in path.read_text().split("\n---\n"):
            dry = [] if "kind: VirtualMachineImage" in part else ["--dry-run=server"]
            lab.apply(part, *dry)


def steps():
    return [(f"manifests {f.relative_to(lab.ROOT)} valid", lambda f=f: dry_run(f)) for f in overlays()] + [
        ("manifests with all components valid", together), ("alerts are about metrics that there are", alerts), ("examples valid", examples)]
