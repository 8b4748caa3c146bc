"""Every manifest is taken by the real API server (server-side dry run)."""

import lab
from lab import expect


def overlays():
    """What can be applied as it is; a component is a part of one that can."""
    return sorted(p.parent for p in (lab.ROOT / "manifests").rglob("kustomization.yaml") if "kind: Component" not in p.read_text())


def dry_run(folder):
    def step():
        text = lab.kubectl("kustomize", folder)
        expect("kind:" in text, f"{folder}: kustomize printed no object")
        done = lab.run(lab.KUBECTL, "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-",
                       stdin=text)
        return [f"{len(done.stdout.splitlines())} objects"]
    return step


def examples():
    """A VM names its image, so the images come first, and for real."""
    for path in sorted((lab.ROOT / "examples").glob("*.yaml")):
        for part in path.read_text().split("\n---\n"):
            dry = [] if "kind: VirtualMachineImage" in part else ["--dry-run=server"]
            lab.apply(part, *dry)


def steps():
    return [(f"manifests {f.relative_to(lab.ROOT)} valid", dry_run(f)) for f in overlays()] + [
        ("examples valid", examples)]
