/*
 * What the migrator does about one VM: a pure function from what is known of it to an ordered list
 * of actions. Everything that must outlive a crash is in the API objects, so the function may be
 * asked again at any time and after any subset of its actions was carried out; each action is
 * either idempotent by its name or a compare-and-swap by the object's resourceVersion.
 *
 * Safety, in the order in which the rules guard it:
 *   - nobody but the owner's node runs the guest: the owner changes only when a migration has been
 *     confirmed (the source is proven dead and the target runs), or is cleared only when the
 *     owner's agent has said, for this very epoch, that the domain is gone;
 *   - the pod on the owner's node is never deleted while the guest is there;
 *   - the old pod is deleted last, after the owner has changed and the new one is Ready;
 *   - a node becomes owner or target only when it has the room (core/room.h);
 *   - the journal of a move outlives the move: a finalizer holds it from before its first word to
 *     its last, and deleting it is a wish to cancel.
 */
#ifndef DROVER_CORE_RECONCILE_H
#define DROVER_CORE_RECONCILE_H

#include "base/arena.h"
#include "core/capacity.h"
#include "core/migration.h"
#include "core/node.h"
#include "core/permits.h"

/* A deleted VM, no guest being there any more, whose disks are still to be removed by some node. */
bool rec_erasing(const struct vm *vm);

/* One node that matters to the VM: its owner's, its pods' and its migrations'. */
struct rec_node {
        const char *name;
        const struct node *node; /* NULL: no such Node */
        const struct host *host; /* NULL: no agent has reported */
        bool alive;   /* the agent has not been silent for REC_SILENT_MS of our listening */
        bool unheard; /* alive, for all we know: it is we who have not been listening */
        /* to other VMs that it owns or is the target of, whose guests host does not show yet */
        struct capacity_load promised;
        uint64_t seen; /* which state of the node this was, for who carries the plan out */
};

/*
 * Silent, and declared dead by somebody who can know: the Node was deleted, or bears the taint
 * node.kubernetes.io/out-of-service (KEP-2268). Its guests may be started elsewhere. An agent that
 * still speaks contradicts the declaration.
 */
bool rec_node_fenced(const struct rec_node *n);

struct rec_input {
        const struct vm *vm;
        const struct pod *const *pods; /* the VM's handles: label and uid fit */
        size_t npods;
        const struct migration *const *migrations; /* of the VM's uid, oldest first */
        size_t nmigrations;
        const struct rec_node *nodes;
        size_t nnodes;
        const struct rec_node *candidates; /* where it might go; while a move seeks its target,
                                              its storage ails (rec_ailing), or a deleted VM's
                                              disks are to be removed */
        size_t ncandidates;
        struct permits permits;  /* of the migration that waits for one */
        const char *claim_taken; /* whose guest has a claim of the VM, which has no owner, before
                                    it: a sentence; NULL: nobody's */
        const char *snapshot;    /* one that the VM's disks have, by name; NULL: they have none */
        int64_t now_us;
};

enum rec_kind {
        REC_ADD_FINALIZER,
        REC_REMOVE_FINALIZER,
        REC_CREATE_POD, /* name, epoch, migration, pin, avoid, adopts; exists already: fine */
        REC_DELETE_POD, /* name; gone already: fine */
        REC_LABEL_POD,  /* name: the VM's labels, as they are now; gone already: fine */
        REC_RETRY_POD,  /* name, fit: notes it, and so is scheduled anew; gone already: fine */
        REC_CREATE_MIGRATION, /* name, reason; exists already: fine */
        REC_CANCEL_MIGRATION, /* name: spec.cancel = true */
        REC_DELETE_MIGRATION, /* name */
        REC_HOLD_MIGRATION,   /* name: adds the finalizer */
        REC_FREE_MIGRATION,   /* name: takes it away */
        REC_SET_MIGRATION,    /* migration: its status, compare-and-swap; may name a target */
        REC_SET_VM,           /* vm: its status, compare-and-swap; may name an owner */
};

struct rec_action {
        enum rec_kind kind;
        const char *name;
        int64_t epoch;           /* the guest's when it runs behind this pod */
        const char *pin, *avoid; /* node names or "" */
        bool for_migration;
        const char *fit;             /* names of nodes, "" for none */
        bool adopts;                 /* the pod stands for a guest that is at its pin already */
        enum mig_reason reason;      /* of the migration to be created */
        struct vm *vm;               /* shallow copy with the wanted status */
        struct migration *migration; /* likewise */
        const char *why;             /* for the log, "" when plain */
};

#define REC_ACTIONS_MAX 24
struct rec_output {
        struct rec_action v[REC_ACTIONS_MAX];
        size_t n;
        const char *defect; /* a move that the machine does not allow was to be made, and was not:
                               to be logged; NULL when all is well */
        int64_t again_ms;   /* ask again after so long even if nothing happens; 0: no need */
};

/*
 * The one unfinished migration; of several, which only users and evictions can make, the one
 * furthest on. NULL: none.
 */
const struct migration *rec_current(const struct rec_input *in);

/*
 * No move is under way, and a pool of the VM has been unhealthy on the owner's node for
 * REC_AILING_MS, or the guest stands still there after an I/O error, though it was let run on
 * REC_STUCK_RETRIES times: whether the VM moves depends on the candidates.
 */
bool rec_ailing(const struct rec_input *in);

/* Fills *out; strings and copies live in a. 0, -ENOMEM, or -E2BIG when an action did not fit. */
int reconcile(struct arena *a, const struct rec_input *in, struct rec_output *out);

#define REC_SILENT_MS       15000 /* a heartbeat that has not changed for so long counts for nothing */
#define REC_SETTLE_MS       500   /* a placement that has stood so long is meant */
#define REC_AILING_MS       10000 /* beyond what makes a pool unhealthy; it may pass by itself */
#define REC_RECOVERS_MS     5000 /* between looks whether a pool that answers again has failed anew */
#define REC_REFUGE_MS       30000  /* healthy for so long is a node that a guest flees to */
#define REC_STUCK_RETRIES   5      /* in vain, on healthy pools: after about 90 seconds */
#define REC_STUCK_MOVES     2      /* at most, for the sake of storage, ... */
#define REC_STUCK_MOVES_MS  600000 /* ... in so long */
#define REC_READY_WAIT_S    30     /* the old handle's wait for the new one to be Ready */
#define REC_ROOM_AGAIN_MS   10000 /* between looks whether a host has room for a larger guest now */
#define REC_BACKOFF_MIN_S   10
#define REC_BACKOFF_MAX_S   300
#define REC_MIGRATIONS_KEPT 5

#endif
