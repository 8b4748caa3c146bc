/*
 * Snapshots of a guest that runs, by QEMU itself: of all its disks in one transaction, so that they
 * are of one moment. While it is copied to another node this does no harm. Once it has been handed
 * over QEMU (7.2) refuses to take one, but dies of one that it is to remove: whoever calls this
 * sees to it that no move is under way.
 */
#ifndef DROVER_AGENT_GUESTSNAP_H
#define DROVER_AGENT_GUESTSNAP_H

#include "agent/domxml.h"
#include "agent/virt.h"
#include "agent/xmldisk.h"
#include "base/arena.h"
#include "base/json.h"

struct guest_disk {
        const char *name;             /* of the VM's disk: of its file, without ".qcow2" */
        const char *node;             /* of QEMU's block layer */
        int64_t size;                 /* bytes */
        const struct json *snapshots; /* an array of {"name": ...}, or NULL */
};

/* The disks that the guest can write to. Lives in its arena and its answer. */
struct guest_disks {
        struct arena *arena;
        struct json *answer;
        struct guest_disk v[DOMXML_DISKS];
        size_t n;
};

/* -EINVAL, with a sentence that names the disk, when one of them cannot have snapshots. */
must_check int guest_disks_read(virConnectPtr c, const char *uuid, struct guest_disks *out,
                                struct err *e);
void guest_disks_free(struct guest_disks *d);
/* What it is made of: the domain's XML and what QEMU answers to query-block, which is taken over.
 */
must_check int guest_disks_parse(const char *xml, struct json *answer, struct guest_disks *out,
                                 struct err *e);

/* What QEMU says of the domain's disks; the caller frees it. */
must_check int guest_blocks_read(virDomainPtr dom, struct json **out, struct err *e);
/* How many snapshots the image of a disk holds by that. -EAGAIN when nothing is said of the disk.
 */
must_check int guest_disk_snapshots(const struct json *blocks, const struct xml_disk *d,
                                    size_t *out, struct err *e);

must_check int guest_snapshot_take(virConnectPtr c, const char *uuid, const struct guest_disks *d,
                                   const char *tag, struct err *e);
/* Removes all whose names begin with prefix; none is fine. */
must_check int guest_snapshot_drop(virConnectPtr c, const char *uuid, const struct guest_disks *d,
                                   const char *prefix, struct err *e);

/*
 * The guest's agent brings its file systems to rest, and lets them go on: their number, or a
 * negative code when it does not answer in a few seconds. Whatever guest_freeze returns, the guest
 * may be frozen then, or be so a moment later.
 */
must_check int guest_freeze(virConnectPtr c, const char *uuid, struct err *e);
must_check int guest_thaw(virConnectPtr c, const char *uuid, struct err *e);

#endif
