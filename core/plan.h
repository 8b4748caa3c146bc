/* Shared by the parts of reconcile(): the plan being made. Not for others. */
#ifndef DROVER_CORE_PLAN_H
#define DROVER_CORE_PLAN_H

#include "core/reconcile.h"
#include "core/sharing.h"

struct plan {
        struct arena *a;
        const struct rec_input *in;
        struct rec_output *out;
        const struct vm *vm;
        struct vm *next; /* shallow copy of vm: the status to be */
        int rc;          /* the first failure */
};

/* Appends an action of this kind; never NULL (a scratch one after a failure, see p->rc). */
struct rec_action *plan_add(struct plan *p, enum rec_kind kind, const char *name);
/* A string in the arena, "" and p->rc set when out of memory. */
const char *plan_text(struct plan *p, const char *fmt, ...) printf_like(2, 3);
/* Ask again after ms at the latest. */
void plan_again(struct plan *p, int64_t ms);

const struct rec_node *plan_node(const struct plan *p, const char *name); /* NULL when not given */
/* What the node's agent says of the VM's domain; NULL when it says nothing. */
const struct host_domain *plan_domain(const struct plan *p, const char *node);
const struct pod *plan_pod(const struct plan *p, const char *name);

/* Sets a condition in next->status, with its time when the status changes. */
void plan_condition(struct plan *p, const char *type, bool is_true, const char *reason,
                    const char *message);

/* Has our finalizer. */
bool plan_held(const struct meta *m);
/* Runs or not, as the spec wants it. */
bool plan_wants_run(const struct vm *vm);
/* The node of the owner no longer suits the VM: the sentence, else NULL. */
const char *plan_misplaced(struct plan *p);
/*
 * Why a guest that is misplaced is left where it is all the same, with a word for the condition in
 * *reason (may be NULL); NULL when it is to be moved.
 */
const char *plan_stays(struct plan *p, const char **reason);
/*
 * Whether the guest's disks let it leave its owner's node while it runs: only when they are SHARED,
 * or come along. *why (may be NULL) is a clause that says why not, or why that is not known.
 */
enum sharing plan_disks(struct plan *p, const char **why);
void plan_phase(struct plan *p, enum vm_phase phase, const char *reason);

/*
 * core/settle.c: a first change of the placement is acted upon at once. One that follows another
 * within REC_SETTLE_MS shows that more may come: nothing is begun for it before it has stood that
 * long. What has been begun is called off for no change that has not. Both are known from the VM's
 * status, which is written with each change of the spec anyway, so that a new leader waits no
 * longer and no shorter.
 */
void plan_note_wish(struct plan *p);
/* The placement has stood for REC_SETTLE_MS; else the VM is looked at again when it has. */
bool plan_wish_settled(struct plan *p);
/* It is one of several in quick succession, and has not; likewise. */
bool plan_wish_wavers(struct plan *p);

/* core/move.c: advances the unfinished migration m. */
void plan_move(struct plan *p, const struct migration *m);
/* Begins a migration for that reason; after failures a little later. */
void plan_begin_move(struct plan *p, enum mig_reason reason, const char *why);

/*
 * core/refuge.c: the storage that fails on the VM's node and is well on another. A pool of the VM's
 * is unhealthy on the owner's node, or the guest stands still there after an I/O error: the
 * sentence, else NULL.
 */
const char *plan_ails(struct plan *p);
/*
 * Why the guest is to leave for that: it has been so for REC_AILING_MS, or REC_STUCK_RETRIES
 * times, and there is a node that could take it, whose pools are healthy. NULL while it is to stay.
 */
const char *plan_flees(struct plan *p);

/* core/life.c: stop, fencing, phase; what there is to do about the VM but for its moves. */
void plan_life(struct plan *p, const struct migration *m);
/* core/erase.c: a deleted VM's disks. They are gone, or never were; a node is chosen to remove
 * them. */
#define PLAN_DISKS_REMOVED "DisksRemoved" /* condition of a VM that is being deleted */
bool plan_erased(const struct vm *vm);
void plan_erase(struct plan *p);
/* core/start.c: nobody owns the VM and it should run. */
void plan_start(struct plan *p);
/* core/handles.c: the owner's guest has one handle; m is the migration under way or NULL. */
void plan_handles(struct plan *p, const struct migration *m);
/* The guest's handle and the pod of the migration m (or NULL) bear the VM's labels. */
void plan_labels(struct plan *p, const struct migration *m);
/* Deletes the VM's pods but that of this name. */
void plan_delete_pods(struct plan *p, const char *keep);
void plan_clear_running(struct plan *p);
/* core/state.c: the conditions of a VM that has an owner, whose agent says d of its guest. */
void plan_conditions(struct plan *p, const struct rec_node *owner, const struct host_domain *d);
/*
 * core/restart.c: grants the restart that the spec asks for, when the owner has the room; and notes
 * that a granted one was carried out, by what the agent says of the guest.
 */
void plan_restart(struct plan *p, const struct rec_node *owner);
void plan_restarted(struct plan *p, const struct host_domain *d);
/* Notes that the disks were set back before the guest was started, likewise. */
void plan_restored(struct plan *p, const struct host_domain *d);
/* Why the restart that the spec asks for is not granted, NULL when it is, or none is due. */
const char *plan_restart_waits(struct plan *p, const struct rec_node *owner);

#endif
