/*
 * What a migration needs next: a total, pure decision over (journal phase x owner x source x target
 * x what the source's agent says). The same table drives the straight path and every recovery, so
 * that no crash finds a state nobody has thought of. Rules stand in one table, the first that fits
 * decides; a test walks through every combination, and a second implementation of the invariant
 * judges each.
 *
 * The invariant: the owner moves only when the source is known not to run the guest any more and
 * the target runs it, or holds all of it as it was when the source ended; a migration is given up
 * only when the target is known not to run the guest and nobody is left who could resume it there.
 */
#ifndef DROVER_CORE_RECOVERY_H
#define DROVER_CORE_RECOVERY_H

#include "core/migration.h"

enum rcv_owner {
        RCV_OWNER_SOURCE, /* at the epoch that the migration began with */
        RCV_OWNER_TARGET, /* at the next one */
        RCV_OWNER_OTHER,  /* nobody, or by other means */
        RCV_OWNERS
};
enum rcv_host {
        RCV_UNSEEN,    /* its agent is silent, or libvirt does not answer it */
        RCV_FENCED,    /* silent, and declared dead: see rec_node_fenced() */
        RCV_NONE,      /* speaks: no guest is active here */
        RCV_RUNS,      /* running or paused, but not an arrival */
        RCV_RECEIVING, /* target only: paused, not all of it here yet */
        RCV_RECEIVED,  /* target only: all of it here, never resumed */
        RCV_HOSTS
};
struct recovery {
        enum mig_phase phase;
        enum rcv_owner owner;
        enum rcv_host source, target;
        enum transfer_state job; /* the last word of the source's agent */
        bool fast;               /* libvirt's own handover: a running target proves nothing */
        bool answered; /* target is the answer of its agent to a question put after the source was
                          fenced; without it, it may be what was so before */
};

enum rcv_action {
        RCV_REST,    /* over */
        RCV_PROCEED, /* not begun to copy: find a target, check it */
        RCV_WAIT,    /* somebody else's turn */
        RCV_ASK,     /* to phase Unknown */
        RCV_COPY,    /* to phase Copying */
        RCV_SWITCH,  /* to phase Switching */
        RCV_CONFIRM, /* to phase Confirming, and the owner to the target */
        RCV_FINISH,  /* the owner has moved: delete the old pod, then Succeeded */
        RCV_FAIL,    /* Failed */
        RCV_CANCEL,  /* Cancelled */
        RCV_ACTIONS
};
const char *rcv_action_name(enum rcv_action a); /* "rest" ... */

/* The action, and in *rule (may be NULL) the index of the rule that gave it. */
enum rcv_action recovery_decide(const struct recovery *r, size_t *rule);
size_t recovery_rules(void);

#endif
