"""What makes that two nodes do not see the same pool, with one kernel each: another server under the same name, and mounts
that keep their locks to themselves. It is found out, no guest is sent there, and all is well when it is mended."""

import contextlib

import lab
import proofs
from lab import expect
from serverfaults import OPTIONS, POOL, SOURCE

NODE = proofs.NODE
OLD = f"addr={lab.SERVER},mountaddr={lab.SERVER},hard,vers=3,proto=tcp,port=2050,mountproto=tcp,mountport=2051"
LOCAL, LOCKLESS = "keeps locks to itself", "holds no lock here"
UNPROVEN = 19  # the rule of preflight


@contextlib.contextmanager
def beside(kind):
    """The second server; it goes on until nobody has anything of it mounted."""
    lab.nfs_server("beside", kind)
    try:
        yield
    finally:
        lab.nfs_server("alone")


@contextlib.contextmanager
def instead(*words):
    """While it lasts, NODE has mounted the second server over its pool, under the name of the right one; the options."""
    before = proofs.lies_there()
    lab.node_exec(NODE, "mount", *words, SOURCE, POOL)
    try:
        expect(proofs.lies_there() == before + [SOURCE], f"mounted: {proofs.lies_there()}")
        mounts = [line.split() for line in lab.node_exec(NODE, "cat", "/proc/mounts").splitlines()]
        yield next(words[3] for words in reversed(mounts) if words[1] == POOL)
    finally:
        lab.node_exec(NODE, "umount", "-l", POOL)  # lazily: the agent holds a lock there


class Apart(proofs.Proofs):
    def __init__(self, faults):
        super().__init__()
        self.faults = faults

    def another_server(self):
        self.guest = self.faults.g
        with beside("other"):
            with instead("-t", "nfs4", "-o", f"{OPTIONS},port=2050"):
                lines = self._found()
            return lines + self._mended()

    def locks_kept(self, option):
        """Its words come and go, its files are the right ones; but its locks hold nobody off."""
        def step():
            self.guest = self.faults.g
            with beside("old"):
                # -i: the options go to the kernel as they are, and nobody asks for rpc.statd
                with instead("-i", "-t", "nfs", "-o", f"{OLD},{option}") as options:
                    expect("local_lock=all" in options, f"options {options}")
                    took = proofs.until(proofs.taken_back, 60, f"taken back of {NODE}")
                    expect(took <= proofs.FOUND_S * lab.PATIENCE, f"taken back after {took:.1f} s")
                    yield f"{option}: taken back after {took:.1f} s; {lab.wait_for(self._said, 60, 'told why', 0.5)}"
                    yield self._unproven()
                yield from self._mended()
        return step

    @staticmethod
    def _said():
        mine, others = proofs.reasons(NODE).get("node1", ""), proofs.reasons("node1").get(NODE, "")
        return f"{NODE}: {mine}; node1: {others}" if LOCAL in mine and LOCKLESS in others else None

    def _unproven(self):
        """A move to NODE by hand waits for the proof, says so, and is called off."""
        name = f"to-{NODE}"
        lab.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "VirtualMachineMigration", "metadata": {"name": name, "namespace": "default"},
                   "spec": {"vm": self.guest.name, "reason": "User", "targetNode": NODE}})
        try:
            m = lab.watch("virtualmachinemigration", name, lambda m: any(v["rule"] == UNPROVEN for v in proofs.verdicts(m)), 60,
                          "refused by preflight")
            lab.patch("virtualmachinemigration", name, {"spec": {"cancel": True}})
            self.guest.ended(name)
        finally:
            lab.kubectl("delete", "virtualmachinemigration", name, lab.timeout(60))
        self.guest.settled("node1")
        return f"rule {UNPROVEN}: {next(v['message'] for v in proofs.verdicts(m) if v['rule'] == UNPROVEN)}"


def steps(faults):
    apart = Apart(faults)
    return [
        ("every two nodes prove it to each other", apart.every_pair),
        ("another server under the name of the right one", apart.another_server),
        ("NFS 3 with nolock", apart.locks_kept("nolock")),
        ("NFS 3 with local_lock=all", apart.locks_kept("local_lock=all")),
    ]
