/* VirtualMachine, decoded. Units: memory in bytes, times as named. */
#ifndef DROVER_CORE_VM_H
#define DROVER_CORE_VM_H

#include "base/json.h"
#include "core/affinity.h"

enum run_strategy { RUN_ALWAYS, RUN_RERUN_ON_FAILURE, RUN_HALTED, RUN_BAD };
enum handover { HANDOVER_PROVEN, HANDOVER_FAST, HANDOVER_BAD };
enum on_timeout { TIMEOUT_ABORT, TIMEOUT_PAUSE, TIMEOUT_BAD };
enum storage_move { STORAGE_SHARED, STORAGE_COPY, STORAGE_BAD };
enum eviction { EVICTION_LIVE_MIGRATE, EVICTION_NONE, EVICTION_BAD };
/* "" parses as the default, the first value; what is none of the names as the _BAD one. */
enum run_strategy run_strategy_parse(const char *s);
const char *run_strategy_name(enum run_strategy r);
enum handover handover_parse(const char *s);
const char *handover_name(enum handover h);
enum on_timeout on_timeout_parse(const char *s);
const char *on_timeout_name(enum on_timeout t);
enum storage_move storage_move_parse(const char *s);
const char *storage_move_name(enum storage_move m);
enum eviction eviction_parse(const char *s);
const char *eviction_name(enum eviction v);
enum disk_kind { DISK_IMAGE, DISK_BLANK, DISK_PVC, DISK_BAD };

struct vm_disk {
        const char *name;
        enum disk_kind kind;
        const char *image; /* DISK_IMAGE: a VirtualMachineImage of the namespace */
        int64_t size;      /* bytes; 0: the image's own, or as much as the claim has room for */
        const char *claim; /* DISK_PVC */
        const char *pool;  /* "default" when not given */
        bool full;         /* DISK_IMAGE: a copy that stands on its own */
        bool retain;       /* stays when the VM is deleted */
};
struct vm_network {
        const char *name;
        const char *bridge; /* "br0" when not given */
        const char *mac;    /* "": derived from the VM's uid and the index */
        const char *model;  /* "virtio" when not given */
};
struct toleration {
        const char *key, *op, *value, *effect; /* op "" means Equal */
        int64_t seconds;                       /* -1: for ever */
};
struct tolerations {
        struct toleration *v;
        size_t n;
};

/* The fields of PodSpec that place a VM; what the scheduler alone looks at is in core/wishes.h. */
struct placement {
        const char *node_name;
        struct kvs node_selector;
        bool has_required; /* affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
                            */
        struct node_selector required;
        struct tolerations tolerations;
        const char *affinity_json;    /* spec.affinity as written, "" when absent: copied to pods */
        const char *tolerations_json; /* likewise */
        const char *spread_json;      /* topologySpreadConstraints, likewise */
        const char *priority_class;
};

/* What a domain is started with; migrations use that of the running one, never the spec's. */
struct vm_shape {
        int64_t cores;
        const char *cpu_model; /* "": the default model of the cluster */
        int64_t memory;
        const char *huge_pages; /* "", "2Mi", "1Gi" */
};

/*
 * A restart that the owner's agent is to carry out, and the shape that it brings: the migrator has
 * kept room for it. Once given it stays as it is until it is carried out, whatever becomes of the
 * spec: the agent may be at it.
 */
struct vm_grant {
        int64_t epoch;            /* of the owner; 0: there is none */
        const char *restarted_at; /* the spec.restartedAt that it answers */
        struct vm_shape shape;
};

struct vm_migration_policy {
        int64_t max_downtime_ms;              /* 300 */
        int64_t bandwidth_mibps;              /* 0: no limit of its own */
        int64_t completion_timeout_s_per_gib; /* 800 */
        bool auto_converge, post_copy;
        enum on_timeout on_timeout;
        enum handover handover;
        enum storage_move storage; /* of disks in pools that are local to a node */
};

/* A wish to have the disks set back to a snapshot at the next start of the guest. */
struct vm_restore {
        const char *snapshot; /* "": there is none */
        const char *requested_at;
};

/* The placement's last change. */
struct vm_wish {
        const char *placement; /* placement_hash; "": none has been seen */
        int64_t changed_us;    /* when it was seen */
        bool wavers;           /* it followed another one closely */
};

enum vm_phase {
        VM_PENDING,  /* wants to run, no pod yet or pod not bound */
        VM_STARTING, /* owned by a node whose agent is starting it */
        VM_RUNNING,
        VM_PAUSED, /* stands still after an I/O error of a disk */
        VM_MIGRATING,
        VM_STOPPING,
        VM_HALTED,
        VM_FAILED,
        VM_UNKNOWN /* the owner's agent is silent */
};
const char *vm_phase_name(enum vm_phase p);  /* "Pending" ... */
enum vm_phase vm_phase_parse(const char *s); /* VM_PENDING for "", VM_UNKNOWN for other words */

struct vm_owner {
        const char *node; /* "": nobody */
        int64_t epoch;    /* grows by one with each change of owner; 0 before the first */
};

struct vm_status {
        enum vm_phase phase;
        int64_t observed_generation;
        struct vm_wish wish;
        struct vm_owner owner;
        /* Where its disks lie: core/storage.h. */
        const char *storage_node; /* that of those in local pools; "": it has none there */
        struct kvs pools;         /* the identity of each pool that it has had disks in */
        const char *pod_name;
        struct strs addresses;
        bool has_running;
        struct vm_shape running;
        const char *restarted_at; /* the spec.restartedAt that was carried out */
        struct vm_grant granted;
        struct vm_restore restored; /* the spec.restore that was carried out last */
        struct refusals refused;    /* while nobody owns it */
        struct conditions conditions;
        struct {
                const char *name; /* "" when none is under way */
                const char *phase, *target;
                int64_t percent;
        } migration;
        const char *reason; /* why Failed or Pending, a sentence */
};

#define VM_GRACE_DEFAULT INT64_MIN /* as the node's agent is configured */

struct vm {
        struct arena *arena;
        struct meta meta;
        struct {
                enum run_strategy run;
                const char *run_text; /* as written, "" when absent */
                const char *restarted_at;
                struct vm_restore restore;
                int64_t stop_grace_s; /* from asking the guest to shut down to ending it */
                struct vm_shape shape;
                struct vm_disk *disks;
                size_t ndisks;
                struct vm_network *networks;
                size_t nnetworks;
                const char *user_data, *network_data; /* cloudInit, "" when absent */
                struct strs ssh_keys;
                struct placement placement;
                struct vm_migration_policy migration;
                const char *handover_text, *on_timeout_text, *storage_text;
                enum eviction eviction;
                const char *eviction_text;
        } spec;
        struct vm_status status;
};

bool vm_same_shape(const struct vm_shape *x, const struct vm_shape *y);
/* The grant that the owner has not carried out yet; NULL when there is none. */
const struct vm_grant *vm_granted(const struct vm *vm);
/* The shape that the owner's next start of the guest has, and the restartedAt that it carries out.
 */
const struct vm_shape *vm_start_shape(const struct vm *vm);
const char *vm_start_restarted_at(const struct vm *vm);
/* The first disk that is a PersistentVolumeClaim; NULL when there is none. */
const struct vm_disk *vm_claimed_disk(const struct vm *vm);
size_t vm_claims(const struct vm *vm); /* how many there are */
/*
 * What stands for a wish wherever it is to be told from another one: 16 digits, "" for none. A
 * domain that was started after it had been carried out bears it.
 */
#define VM_RESTORE_TOKEN 17
void vm_restore_token(const struct vm_restore *r, char out[VM_RESTORE_TOKEN]);
/* spec.restore asks for something that status.restored does not say was done. */
bool vm_restore_pending(const struct vm *vm);

/* One of its disks, made in a pool, stays when it is deleted. */
bool vm_retains(const struct vm *vm);

/* "namespace/name", or "name" of a cluster-scoped object, in the arena; NULL when out of memory. */
const char *meta_key(struct arena *a, const struct meta *m);
/* The MAC of network i: as given, else 52:54:00 and three bytes of a hash of the uid and i. */
void vm_mac(const struct vm *vm, size_t i, char out[18]);
/* The libvirt domain's name, "NAMESPACE_NAME" cut and hashed when over 64 bytes; its uuid is the
 * VM's uid. */
void vm_domain_name(const struct meta *m, char out[65]);

#endif
