/* One domain: what libvirt says of it, and what can be done to it. All by uuid, all may block. */
#ifndef DROVER_AGENT_DOMAIN_H
#define DROVER_AGENT_DOMAIN_H

#include "agent/domxml.h"
#include "agent/virt.h"
#include "core/host.h"

struct domain_facts {
        char uuid[VIR_UUID_STRING_BUFLEN];
        char libvirt_name[128];
        bool ours;               /* carries our metadata */
        struct domain_meta meta; /* when ours */
        int vir_state, vir_reason;
        bool active;
        enum own_domain own;     /* for the decision */
        enum domain_state state; /* for publication */
        int64_t cores, memory;   /* memory in bytes */
        char machine[64];        /* domain_machine's; "" when not asked for */
};

/* Reads it anew. -ENOENT when libvirt does not know the uuid. */
must_check int domain_read(virConnectPtr c, const char *uuid, struct domain_facts *out,
                           struct err *e);
/* The machine type of an active domain as it runs, "" when libvirt does not say. */
void domain_machine(virConnectPtr c, const char *uuid, char *out, size_t size);
/* Why it is in its state, a sentence; "" while it runs. */
const char *domain_reason(const struct domain_facts *f);
/* QEMU has paused it after an I/O error of a disk. */
bool domain_io_error(const struct domain_facts *f);
/* Judges vir_state and vir_reason; own, state and active are set. */
void domain_judge(struct domain_facts *f);

/* Calls visit with the uuid of each domain, active or not. */
must_check int domain_each(virConnectPtr c, void (*visit)(void *ctx, const char *uuid), void *ctx,
                           struct err *e);

must_check int domain_define(virConnectPtr c, const char *xml, struct err *e);
/* A domain that runs already is success. */
must_check int domain_create(virConnectPtr c, const char *uuid, struct err *e);
must_check int domain_resume(virConnectPtr c, const char *uuid, struct err *e);
/* Asks the guest's agent, or presses its power button. */
must_check int domain_shutdown(virConnectPtr c, const char *uuid, struct err *e);
/* Ends it at once and removes its definition; a missing one is success. */
must_check int domain_remove(virConnectPtr c, const char *uuid, struct err *e);
/* Ends it at once. An inactive one is success. */
must_check int domain_destroy(virConnectPtr c, const char *uuid, struct err *e);
/* The definition of a domain that is not active; -EBUSY when it is, 0 when there is none. */
must_check int domain_undefine(virConnectPtr c, const char *uuid, struct err *e);
/* Writes our metadata to the running domain (live) or to its definition. */
must_check int domain_set_meta(virConnectPtr c, const char *uuid, const struct domain_meta *m,
                               bool live, struct err *e);
/* Its addresses: what the guest's agent says, else the node's ARP table. At most max, no loopback.
 */
#define DOMAIN_ADDRESSES_MAX 8
#define DOMAIN_ADDRESS_SIZE  48
size_t domain_addresses(virConnectPtr c, const char *uuid,
                        char out[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE]);

#endif
