/*
 * VirtualMachineSnapshot: what it says, and who takes and removes it, a pure function of the
 * snapshot, its VM and the nodes. The migrator writes its status, but for `progress`: that is its
 * worker's.
 *
 * A snapshot is a part of the disks' own files (an internal snapshot of each qcow2), so that paths
 * stay, and nothing is to be kept together. The owner of the VM is the one that takes and removes
 * it, for only there the guest may run; of a VM that nobody owns it is any node that has the pools
 * and whose locks hold on other nodes too, for the VM may be started meanwhile. Each worker, and
 * each task, has an epoch of its own, and what it makes inside of the files bears that in its name:
 * what one does late is never taken for what another has done.
 *
 * A deleted snapshot that somebody was ever asked for is held by a finalizer until a worker, whose
 * task then is to remove it, has said that it is gone from the files; or the VM is, and its disks
 * with it.
 */
#ifndef DROVER_CORE_SNAPSHOT_H
#define DROVER_CORE_SNAPSHOT_H

#include "core/import.h"
#include "core/vm.h"

/* Holds a deleted snapshot until it is out of the disks. */
#define DROVER_SNAPSHOT_FINALIZER "drover.dev/snapshot"

enum snap_quiesce { QUIESCE_AUTO, QUIESCE_REQUIRED, QUIESCE_NEVER, QUIESCE_BAD };
const char *snap_quiesce_name(enum snap_quiesce q);  /* "Auto" "Required" "Never" */
enum snap_quiesce snap_quiesce_parse(const char *s); /* QUIESCE_AUTO for "" */

enum snap_task { SNAP_TAKE, SNAP_REMOVE };
const char *snap_task_name(enum snap_task t);  /* "Take" "Remove" */
enum snap_task snap_task_parse(const char *s); /* SNAP_TAKE for other words */

enum snap_state {
        SNAP_UNSAID,
        SNAP_WAITING, /* not now, and tried again: message says what for */
        /* QEMU is at it, the guest may be frozen: nothing moves it until another word is said */
        SNAP_TAKING,
        SNAP_REMOVING,
        SNAP_TAKEN,
        SNAP_REFUSED, /* for good: message says why */
        SNAP_REMOVED
};
const char *snap_state_name(enum snap_state s);  /* "" "Waiting" ... */
enum snap_state snap_state_parse(const char *s); /* SNAP_UNSAID for other words */

struct snap_worker {
        const char *node; /* "": nobody */
        int64_t epoch;    /* grows by one with each worker and each task; 0 before the first */
        enum snap_task task;
};

struct snap_disk {
        const char *name;
        int64_t size; /* of the disk as the guest sees it, in bytes */
};

/* What was taken: told by the worker in its progress, and kept in the status. */
struct snap_made {
        bool quiesced;    /* by the guest's agent */
        int64_t taken_us; /* 0: it is not */
        struct snap_disk *disks;
        size_t ndisks;
};

struct snap_progress {
        int64_t epoch; /* of the worker who says it */
        enum snap_state state;
        const char *message;
        struct snap_made made; /* with SNAP_TAKEN */
};

struct snapshot {
        struct arena *arena;
        struct meta meta;
        const char *vm; /* a VirtualMachine of the namespace */
        enum snap_quiesce quiesce;
        const char *quiesce_text; /* as written */
        const char *phase;        /* "" | Pending | InProgress | Ready | Failed | Deleting */
        const char *message;
        const char *vm_uid; /* "" before the first worker */
        int64_t taken;      /* the epoch of the worker that took it, 0: nobody has */
        struct snap_made made;
        struct snap_worker worker;
        struct snap_progress progress;
};

/*
 * What it is called inside of a disk's file: "drover-UID-EPOCH"; every name that its workers ever
 * used begins with snap_prefix's "drover-UID-".
 */
#define SNAP_TAG_MAX 128
void snap_tag(const struct snapshot *s, int64_t epoch, char out[SNAP_TAG_MAX]);
void snap_prefix(const struct snapshot *s, char out[SNAP_TAG_MAX]);

#define SNAP_AGAIN_MS 5000 /* between looks at a snapshot that is not at rest */

struct snap_input {
        const struct snapshot *snapshot;
        const struct vm *vm; /* of that name, NULL: there is none */
        const char *moving;  /* an unfinished migration of it, "": none */
        const struct import_node *nodes;
        size_t nnodes;
};

enum snap_kind {
        SNAP_REST,
        SNAP_HOLD, /* adds the finalizer, and the VM as its owner */
        SNAP_FREE, /* takes the finalizer away */
        SNAP_SET   /* writes next's status */
};

struct snap_plan {
        enum snap_kind kind;
        struct snapshot next;
        bool settled; /* nothing more to be done until the snapshot itself changes */
};

/* Strings of *out live in a, or in the input. 0, or -ENOMEM. */
int snap_plan(struct arena *a, const struct snap_input *in, struct snap_plan *out);

/* It was taken, or never will be; and nobody wants it removed. */
bool snap_settled(const struct snapshot *s);
/* The disks of the VM of that uid have it, or may have. */
bool snap_in_disks(const struct snapshot *s, const char *vm_uid);

/* Why the VM's disks cannot be set back to it now, a sentence in a; NULL when they can. */
const char *snap_unusable(struct arena *a, const struct snapshot *s, const struct vm *vm);

#endif
