/*
 * Domain XML of a VM. The VM it is of stands in the domain's metadata,
 *   <drover:vm xmlns:drover='https://drover.dev/v1' namespace= name= epoch= restartedAt= .../>,
 * so that an agent knows its domains from libvirt alone, whatever happened to the agent before.
 */
#ifndef DROVER_AGENT_DOMXML_H
#define DROVER_AGENT_DOMXML_H

#include "agent/config.h"
#include "base/buf.h"
#include "core/ownership.h"
#include "core/vm.h"

#define DOMXML_MAX    ((size_t)1 << 20)
#define DOMXML_NS     "https://drover.dev/v1"
#define DOMXML_PREFIX "drover"
#define DOMXML_DISKS  24

struct domain_meta {
        char ns[64], name[254];
        int64_t epoch;
        char restarted_at[OWN_RESTARTED_MAX + 1];
        char restored[VM_RESTORE_TOKEN]; /* the restore that was carried out before its start */
        bool incoming;                   /* sent by a migration and not resumed yet */
        char migration[40];              /* the uid of that migration, "" for none */
        bool ended;                      /* the guest powered itself off */
};

/* Of a VM about to start at its owner's epoch. */
void domain_meta_of(const struct vm *vm, struct domain_meta *out);
/* The element, without prefix and namespace for virDomainSetMetadata, or with them. */
int domain_meta_print(const struct domain_meta *m, bool prefixed, struct buf *b);
/* From an element, or from a whole domain's XML. False when there is none of ours. */
bool domain_meta_parse(const char *xml, struct domain_meta *out);
/* The domain's XML with another element of ours. -EINVAL when it has none. */
must_check int domain_meta_replace(const char *xml, const struct domain_meta *m, struct buf *out,
                                   struct err *e);

/* What a disk is to QEMU. */
struct disk_source {
        const char *path;
        bool raw, block; /* else a qcow2, else a file */
};

struct domain_plan {
        const struct agent_config *config;
        const char *virt_type; /* "kvm" or "qemu" */
        const struct vm *vm;
        const struct vm_shape *shape;
        const struct disk_source *disks; /* one each of vm->spec.disks */
        const char *seed;                /* path of the cloud-init volume, NULL: none */
};
must_check int domxml_print(const struct domain_plan *p, struct buf *out, struct err *e);

/* CONSOLE_DIR/NAME.console.log: all that the guest wrote to its first serial port. */
int domxml_console_path(const struct agent_config *c, const struct vm *vm, struct buf *b);

#endif
