/* Shared by the parts of a move: core/move.c, core/target.c, core/outlook.c. Not for others. */
#ifndef DROVER_CORE_MOVE_H
#define DROVER_CORE_MOVE_H

#include "core/plan.h"
#include "core/recovery.h"

struct move {
        struct plan *p;
        const struct migration *was;
        struct migration *m; /* its status to be */
};

bool move_at(const struct move *mv, enum mig_phase phase);
/*
 * Every move of the machine goes through here. The table decides whether it is legal, and what must
 * hold in each phase is looked at. One that is not legal is not made and is a defect of ours: it is
 * told in the output. To where it is already is no move.
 */
void move_go(struct move *mv, enum mig_phase to);
void move_say(struct move *mv, const char *message);
/* Ends a move that left the guest where it was; by way of Unknown where that must be asked first.
 */
void move_give_up(struct move *mv, enum mig_phase end, const char *message);

/* core/target.c: before the copy, a target is found and checked. */
void move_proceed(struct move *mv);
/* Or nothing of it yet, as the message says; its permit is for those that can go on. */
void move_wait(struct move *mv, const char *message);
/* The target's pod: the migration's name, and how many targets had no room after all. */
void move_name_pod(struct move *mv);

/* core/outlook.c */
enum rcv_action move_decide(const struct move *mv);
enum rcv_owner move_owner(const struct move *mv);
/* The source is lost for good, so nobody is left who could resume the target: now its agent's word
 * is the last one. */
void move_ask_target(struct move *mv);
/* Why a migration fails, in the words of who knows. */
const char *move_failure(const struct move *mv);

#endif
