/*
 * Where a kubelet has a claim for a pod, by the layout that it has kept for all plugins:
 *
 *   ROOT/pods/POD/volumes/PLUGIN/VOLUME[/mount]    a file system; /mount with the plugin
 *                                                  kubernetes.io~csi; the disk is disk.img in it
 *   ROOT/pods/POD/volumeDevices/PLUGIN/VOLUME      a symbolic link to a block device
 *
 * POD is the pod's uid and VOLUME the name of the PersistentVolume. On another node the same disk
 * has the same path but for the uid, which is that of the pod there. No I/O.
 */
#ifndef DROVER_AGENT_CLAIMPATH_H
#define DROVER_AGENT_CLAIMPATH_H

#include "base/buf.h"
#include "base/err.h"

#include <limits.h>

#define CLAIM_FILE    "disk.img" /* raw, always: what CDI calls it, too */
#define CLAIM_UID_MAX 64         /* bytes of a pod's uid, with the end */

/* A uid, plugin or volume as a part of a path: nothing that leads elsewhere. */
bool claimpath_part(const char *s);

/*
 * The same disk's path for another pod. False when path is not that of a claim's disk below root,
 * or pod is no uid.
 */
bool claimpath_for(const char *root, const char *path, const char *pod, char out[PATH_MAX]);

/*
 * The first of a domain's disks that is a claim's device, whose link `there` does not find: false
 * when there is none. out is its path.
 */
bool claimpath_lost(const char *root, const char *xml, bool (*there)(const char *path),
                    char out[PATH_MAX]);

/*
 * A domain's XML with the paths of its claims made those of another pod, and nothing else changed:
 * the file or dev of a source that is a disk's own. *n is how many there are. -EINVAL when pod is
 * no uid, or a path is too long.
 */
must_check int claimpath_move(const char *root, const char *xml, const char *pod, struct buf *out,
                              size_t *n, struct err *e);

#endif
