/* The parts of the agent, tied together. Made by main, which outlives all of them. */
#ifndef DROVER_AGENT_AGENT_H
#define DROVER_AGENT_AGENT_H

#include "agent/config.h"
#include "agent/mounts.h"
#include "agent/proofs.h"
#include "agent/table.h"
#include "agent/virt.h"
#include "agent/work.h"
#include "kube/client.h"
#include "kube/store.h"

#include <stdatomic.h>

struct publisher;
struct moves;
struct starts;
struct copies;
struct holds;

enum virt_type { VIRT_UNKNOWN, VIRT_QEMU, VIRT_KVM };

struct agent {
        struct agent_config config;
        struct kube_client *kube;
        struct virt *virt;
        struct table *table;
        struct mounts *mounts;
        struct proofs *proofs;
        struct work *work;
        struct publisher *publisher;
        struct moves *moves;               /* migrations this node is the source of */
        struct starts *starts;             /* what was started and stopped when */
        struct copies *copies;             /* disks that come along with moves to here */
        struct holds *holds;               /* who has which VM's disks in hand */
        _Atomic(enum virt_type) virt_type; /* once the facts are read */
        bool libvirt_lost;                 /* virt's thread only: it was told */
        atomic_bool started;               /* all parts are there: work may be done */
        atomic_bool ending;                /* nothing that takes long is begun or gone on with */
        atomic_bool synced;           /* the table holds all domains: read whole at least once */
        struct kube_store *vms;       /* whose owner is this node */
        struct kube_store *pods;      /* handles bound to this node */
        struct kube_store *moving;    /* VirtualMachineMigrations whose source is this node */
        struct kube_store *arriving;  /* ... whose target */
        struct kube_store *images;    /* VirtualMachineImages whose importer is this node */
        struct kube_store *snapshots; /* VirtualMachineSnapshots whose worker is this node */
        const struct kube_watch *snapshot_watch; /* that feeds them */
};

/*
 * Work by key; KIND/REST, where REST is NAMESPACE/NAME or a uuid:
 *   vm/NS/NAME      make the domain what the VM says
 *   domain/UUID     read a domain anew
 *   addresses/UUID  ask for a guest's addresses
 *   clock/UUID      set the clock of a guest that has landed
 *   claims/NS/NAME  whether other nodes may mount the claims of a VM's guest
 *   pod/NS/NAME     the readiness gate of a handle
 *   move/NS/NAME    a migration of which this node is the source
 *   arrival/NS/NAME a migration of which this node is the target
 *   erase/NS/NAME/UUID  the disks of a VM that is gone
 *   image/NS/NAME   an image of which this node is the importer
 *   leftover/NS/NAME/UID/EPOCH  what a fetch of one that was stopped has left
 *   prepare/NS/NAME files for the disks that come along with a migration to here
 *   stale           what moves have left in the local pools
 *   snapshot/NS/NAME  a snapshot of which this node is the worker
 *   offers          what the sources of moves to here find in the pools
 *   domains, facts, node  all domains; what the hypervisor can; labels and condition of the Node
 */
void agent_poke(struct agent *a, int64_t ms, const char *fmt, ...) printf_like(3, 4);

/* The work itself, each as a work_fn for its kind; rest is the key past "KIND/". */
int64_t vm_work(struct agent *a, const char *rest);
int64_t erase_work(struct agent *a, const char *rest);
int64_t domain_work(struct agent *a, const char *rest);
int64_t domains_work(struct agent *a, const char *rest);
int64_t addresses_work(struct agent *a, const char *rest);
int64_t pod_work(struct agent *a, const char *rest);
int64_t move_work(struct agent *a, const char *rest);
int64_t arrival_work(struct agent *a, const char *rest);
int64_t clock_work(struct agent *a, const char *rest);
int64_t claims_work(struct agent *a, const char *rest);
int64_t facts_work(struct agent *a, const char *rest);
int64_t node_work(struct agent *a, const char *rest);

/* What one thing means for the others. */
void agent_domain_changed(struct agent *a, const char *ns, const char *name);

/* Splits "NS/NAME"; false when it is not. */
bool agent_split(const char *rest, char ns[64], char name[254]);

#endif
