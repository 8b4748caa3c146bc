/* VirtualMachineHost: what a node's agent says of its hypervisor. */
#ifndef DROVER_CORE_HOST_H
#define DROVER_CORE_HOST_H

#include "core/types.h"

enum mount_health { MOUNT_UNKNOWN, MOUNT_HEALTHY, MOUNT_UNHEALTHY };
const char *mount_health_name(enum mount_health h);  /* "Unknown" "Healthy" "Unhealthy" */
enum mount_health mount_health_parse(const char *s); /* MOUNT_UNKNOWN for other words */

/* Whether two nodes see the same directory; where neither is known nothing is assumed. */
enum sharing { SHARING_UNKNOWN, SHARING_SHARED, SHARING_NOT_SHARED };
const char *sharing_name(enum sharing s);  /* "Unknown" "Shared" "NotShared" */
enum sharing sharing_parse(const char *s); /* SHARING_UNKNOWN for other words */

/* What a node says of another in a pool: core/sharing.h. */
struct host_peer {
        const char *node;
        enum sharing state;
        bool locks;       /* the other's lock is refused here, and no mount option is against it */
        int64_t since_us; /* of the state; wall clock */
        const char *reason; /* a sentence when not shared */
};

struct host_mount {
        const char *pool; /* "default" */
        bool local;       /* the node's own: not to be shared with any other */
        const char *path, *fstype, *source;
        enum mount_health health;
        const char *verdict; /* a stable word: "Healthy" "Hung" ... of core/health.h; "": unknown */
        const char *reason;  /* a sentence when not healthy */
        const char *identity; /* of the pool's directory: another one for another, though not for a
                                 copy */
        int64_t latency_us, free_bytes, free_inodes;
        bool lock_arbitration;         /* the node holds its lock here, to be tried by others */
        struct host_peer *shared_with; /* whom it has never seen is not there */
        size_t nshared_with;
};

enum domain_state {
        DOMAIN_ABSENT,
        DOMAIN_RUNNING,
        DOMAIN_PAUSED,   /* by a person or by libvirt: reason says */
        DOMAIN_IO_ERROR, /* paused by QEMU after an I/O error of a disk: goes on when told to */
        DOMAIN_INCOMING, /* being received */
        DOMAIN_RECEIVED, /* received whole, paused before its first resume */
        DOMAIN_SHUTOFF,
        DOMAIN_CRASHED,
        DOMAIN_ERASED, /* absent, and the VM being deleted, its disks are gone too */
        DOMAIN_UNKNOWN
};
const char *domain_state_name(enum domain_state s);  /* "Running" ... */
enum domain_state domain_state_parse(const char *s); /* DOMAIN_UNKNOWN for other words */
/* The domain has a process and memory, as far as is known: what it takes is in the host's `used`.
 */
bool domain_takes_room(enum domain_state s);

struct host_domain {
        const char *uid, *ns, *name; /* of the VM */
        int64_t epoch;               /* from the domain's metadata */
        const char *migration;       /* uid of the one that brought it, "" when it started here */
        enum domain_state state;
        const char *reason; /* "" or a sentence: why it could not start, why it stopped */
        struct strs addresses;
        const char *restarted_at; /* the spec.restartedAt that was carried out */
        const char *restored;     /* the spec.restore before its start: vm_restore_token */
        /* what it runs with: capacity counts this */
        int64_t cores, memory;
        const char *machine; /* "pc-q35-7.2"; "" when not known */
        enum sharing claims; /* whether those that it has may be mounted by other nodes; of a guest
                                without claims it says nothing */
        const char *claims_reason; /* a sentence when they may not, or may not yet */
        int64_t retries; /* with IO_ERROR: how often in a row it was let run on, on healthy pools,
                            and has stopped again */
};

/* A move toward the node whose disks in local pools it was to make ready: agent/copies.h. */
struct host_prepared {
        const char *migration; /* its uid */
        const char *refused;   /* why they are not, a sentence; "": they are */
};

struct host {
        struct arena *arena;
        struct meta meta; /* name is the node's */
        struct host_capacity {
                int64_t cpus, memory;           /* of the machine; memory in bytes */
                int64_t huge_2mi, huge_1gi;     /* free pages */
                int64_t slots;                  /* VMs at most, 0: no bound */
                int64_t cpu_overcommit_percent; /* 100: none */
                int64_t reserved_memory;        /* kept for the host itself */
        } capacity;
        struct host_use {
                int64_t cpus, memory; /* by all domains, also those Drover did not start */
                int64_t domains;
        } used;
        struct strs cpu_models; /* usable by the hypervisor */
        struct strs bridges;
        struct strs machine_types;
        const char *qemu_version, *libvirt_version; /* "7.2.0" */
        const char *virt_type;                      /* "kvm" or "qemu" */
        const char *migration_address;              /* IP for the memory stream */
        const char *libvirt_uri;                    /* how peers reach it: qemu+tls://NAME/system */
        const char *cannot_receive; /* why no guest can arrive by migration, a sentence; "" */
        int64_t resolve_ms;         /* slowest look-up of a peer's or its own name; -1 unknown */
        struct host_mount *mounts;
        size_t nmounts;
        struct host_domain *domains;
        size_t ndomains;
        struct host_prepared *prepared;
        size_t nprepared;
        struct conditions conditions; /* Ready (agent and libvirt), StorageHealthy */
        int64_t outbound, inbound;    /* running migrations */
};

const struct host_mount *host_mount_of(const struct host *h, const char *pool); /* NULL when none */
/* What the mount's node says of that node, NULL: nothing. */
const struct host_peer *host_peer_of(const struct host_mount *m, const char *node);
const struct host_domain *host_domain_of(const struct host *h, const char *vm_uid);
bool host_has_cpu_model(const struct host *h, const char *model);
/* Compares dotted numbers: below, equal or above zero. */
long version_cmp(const char *x, const char *y);

#endif
