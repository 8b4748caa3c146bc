"""A disk in a claim that every node mounts for itself from an NFS server, as a ReadWriteMany claim of a real cluster is: it
moves with its guest, and no record is lost."""

import claims
import lab
from serverfaults import OPTIONS


class Mounted(claims.Files):
    plugin = "kubernetes.io~nfs"

    def source(self):
        return {"nfs": {"server": lab.SERVER, "path": f"/pool/claims/{self.name}"}, "mountOptions": OPTIONS.split(",")}

    def moves(self):
        return [self.move(self.nodes[1]), self.move(self.nodes[0])]


def steps():
    mounted = Mounted()
    return [
        ("a guest with a disk in a claim, on NFS", mounted.make),
        ("it moves to and fro, and the disk with it", mounted.moves),
        ("deleted with its VM: the claim stays, and every record", mounted.ends),
    ]
