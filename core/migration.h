/*
 * VirtualMachineMigration: the journal of one move, and its state machine. The migrator writes all
 * of status but `transfer`, which the source node's agent alone writes.
 */
#ifndef DROVER_CORE_MIGRATION_H
#define DROVER_CORE_MIGRATION_H

#include "core/vm.h"

enum mig_phase {
        MIG_PENDING,    /* waits for a permit or for its pod to be bound */
        MIG_SCHEDULED,  /* target known */
        MIG_PREFLIGHT,  /* verdicts being written */
        MIG_COPYING,    /* the source agent copies */
        MIG_SWITCHING,  /* source dead or dying, target not yet running */
        MIG_CONFIRMING, /* target runs; owner being moved, old pod being deleted */
        MIG_SUCCEEDED,
        MIG_FAILED,
        MIG_CANCELLED,
        MIG_UNKNOWN, /* both hosts are asked before anything is decided */
        MIG_PHASES
};
const char *mig_phase_name(enum mig_phase p);
enum mig_phase mig_phase_parse(const char *s); /* MIG_PENDING for "", MIG_UNKNOWN for other words */
bool mig_finished(enum mig_phase p);
struct migration;
/*
 * It has begun and cannot go on: no node can take the guest, or one of the two hosts is not fit. So
 * it has no permit and waits for none.
 */
bool mig_stuck(const struct migration *m);
/* The declared table of legal moves: no phase is skipped, so each has its time in the journal. */
bool mig_may_move(enum mig_phase from, enum mig_phase to);

enum mig_reason {
        REASON_PLACEMENT,
        REASON_STORAGE, /* the storage of the VM's node fails, that of another does not */
        REASON_DRAIN,
        REASON_USER
};
const char *mig_reason_name(enum mig_reason r);
enum mig_reason mig_reason_parse(const char *s); /* REASON_USER for other words */

/* Written by the source agent. */
enum transfer_state {
        TRANSFER_NONE,      /* not begun */
        TRANSFER_RUNNING,   /* libvirt's call is under way */
        TRANSFER_SWITCHED,  /* source proven dead, target resumed not yet confirmed */
        TRANSFER_DONE,      /* target runs */
        TRANSFER_FAILED,    /* the guest runs on the source as before */
        TRANSFER_CANCELLED, /* on request; the guest runs on the source as before */
        TRANSFER_LOST       /* the agent cannot say; recovery decides */
};
const char *transfer_state_name(enum transfer_state s);
/* TRANSFER_NONE for "", TRANSFER_LOST for other words. */
enum transfer_state transfer_state_parse(const char *s);

/* Written by the target's agent, once, when it is asked. */
enum arrival_state {
        ARRIVAL_UNSAID,
        ARRIVAL_NONE, /* no guest of this migration is here */
        ARRIVAL_RECEIVING,
        ARRIVAL_RECEIVED, /* whole, never resumed */
        ARRIVAL_RUNNING
};
const char *arrival_state_name(enum arrival_state s);  /* "" for ARRIVAL_UNSAID */
enum arrival_state arrival_state_parse(const char *s); /* ARRIVAL_UNSAID for other words */

/* A disk of a local pool that goes along: which it is to the guest, and what the target is to make.
 */
struct transfer_disk {
        const char *target;      /* "vda" */
        const char *pool, *name; /* the file is POOL/disks/UID/NAME.qcow2 */
        int64_t size;            /* bytes that the guest sees */
};

struct transfer {
        enum transfer_state state;
        const char *message;
        bool proven; /* Fast was asked for, and the proven handover is used all the same */
        struct transfer_disk *disks; /* told before anything is copied */
        size_t ndisks;
        int64_t bytes_total, bytes_done, bytes_left; /* memory, and those disks */
        int64_t dirty_bytes_per_s, iteration, expected_downtime_ms;
        int64_t throttle_percent; /* how much auto-converge slows the guest */
        int64_t downtime_ms; /* guest paused: last seen running on source to resumed on target */
        int64_t started_us, first_byte_us, switched_us, ended_us;
};

struct verdict {
        const char *node;
        int64_t rule; /* number of the preflight rule that refuses, 0: fit */
        const char *message;
};

struct migration {
        struct arena *arena;
        struct meta meta;
        struct {
                const char *vm;
                const char *target_node; /* "" unless asked for */
                enum mig_reason reason;
                bool cancel;
        } spec;
        struct {
                enum mig_phase phase;
                const char *source, *target; /* node names */
                int64_t epoch; /* the owner's epoch when it began; the target will run at epoch + 1
                                */
                const char *vm_uid;
                const char *placement;   /* hash of the placement it was made for */
                const char *pod;         /* target pod */
                struct refusals refused; /* while it seeks its target */
                bool permit; /* holds a place among the moves; from the copy on it does anyway */
                int64_t queue_position; /* among those that wait for a place; 0: does not wait */
                bool cordoned;          /* the source was unschedulable when it began */
                struct verdict *verdicts;
                size_t nverdicts;
                int64_t more_verdicts; /* left out */
                enum handover handover;
                int64_t scheduled_us, copying_us, switching_us, confirming_us, finished_us;
                int64_t downtime_ms, total_ms;
                const char *message;
                bool asked; /* the source is lost for good: the target's agent is to say */
                enum arrival_state arrival; /* its answer */
                struct transfer transfer;
        } status;
};

#endif
