/*
 * The verdicts of `drover-agent doctor` (core/doctor.h) over facts of this node. Nothing here looks
 * anywhere.
 */
#ifndef DROVER_AGENT_CHECKUP_H
#define DROVER_AGENT_CHECKUP_H

#include "base/x509.h"
#include "core/doctor.h"
#include "core/host.h"

/* What is mounted at a pool's path, as /proc/PID/mountinfo says. */
struct checkup_mount {
        const char *pool, *path;
        bool mounted;                          /* in the agent's pod */
        bool elsewhere;                        /* libvirtd sees another mount there, or none */
        const char *fstype, *source, *options; /* when mounted; options separated by commas */
        const char *wanted; /* the source that mount-pools is told to mount; NULL: it is not told */
};
void checkup_mount(const struct checkup_mount *m, const char *node, struct findings *f);

/* free and total in bytes, inodes of which total 0 means that there is no such count. */
struct checkup_space {
        int64_t free, total, inodes_free, inodes_total;
};
void checkup_space(const char *pool, const struct checkup_space *s, const char *node,
                   struct findings *f);

/* A write of a pool's test file, or why it failed. */
void checkup_write(const char *pool, const char *error, int64_t us, const char *node,
                   struct findings *f);

/* h as facts_read makes it. kvm_device: the node has /dev/kvm; nested: guests of guests may use it.
 */
void checkup_hypervisor(const struct host *h, bool kvm_device, bool nested, const char *node,
                        struct findings *f);

/* One of libvirt's certificates; error is NULL, or why it could not be read. */
struct checkup_cert {
        const char *path, *error;
        bool names_node; /* it has to */
        bool ca;         /* it is the CA itself */
        struct x509_facts facts;
};
void checkup_pki(const struct checkup_cert *c, size_t n, int64_t now_s, const char *node,
                 struct findings *f);

/* there: QEMU finds parameters for the key exchange, and need not make its own for each arrival. */
void checkup_dh_params(bool there, const char *path, const char *node, struct findings *f);

/* needed: names of bridges that VMs ask for. */
void checkup_bridges(const struct strs *have, const struct strs *needed, const char *node,
                     struct findings *f);

/* address "": the peer's name does not resolve; back: the name that the address has, "" for none.
 */
void checkup_name(const char *peer, int64_t ms, const char *address, const char *back,
                  const char *node, struct findings *f);

#endif
