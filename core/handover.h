/*
 * What the source's agent does when its guest is to run elsewhere, and at every turn that this can
 * take: a total, pure decision over (source x target x libvirt's word x whether anything is still
 * to come). Rules stand in one table, the first that fits decides; a test walks through every
 * combination, and judges each by a second statement of the invariant.
 *
 * The invariant: the target is resumed only when the source is dead, libvirt has said that it ended
 * it because the guest had moved, and the target holds the whole guest, sent by this very move. A
 * source that stands still goes on only when nothing of the guest can run on the target any more,
 * and is ended only when this move's guest runs there.
 */
#ifndef DROVER_CORE_HANDOVER_H
#define DROVER_CORE_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

enum ho_source {
        HO_SOURCE_RUNS,   /* or is paused for a reason of its own */
        HO_SOURCE_COPIES, /* the job goes on */
        HO_SOURCE_WAITS,  /* paused in the switch-over, no job: libvirt may come to itself yet */
        HO_SOURCE_FORGOT, /* likewise, for so long that it will not */
        HO_SOURCE_DEAD,   /* proven */
        HO_SOURCE_UNSEEN,
        HO_SOURCES
};
enum ho_target {
        HO_TARGET_RUNS,      /* this move's guest, resumed */
        HO_TARGET_COMPLETE,  /* this move's, paused after it has received everything */
        HO_TARGET_RECEIVING, /* this move's, paused as every guest is that still receives */
        HO_TARGET_OTHER,     /* active, of our uid, and not sent by this move */
        HO_TARGET_ABSENT,    /* or defined only */
        HO_TARGET_UNSEEN,    /* or not looked at */
        HO_TARGETS
};
enum ho_word {
        HO_UNASKED,
        HO_MOVED, /* libvirt ended the source because the guest had moved */
        HO_ENDED, /* it ended otherwise, and may have run on before */
        HO_WORDS
};
struct handover_state {
        enum ho_source source;
        enum ho_target target;
        enum ho_word word;
        bool over; /* libvirt's call: nothing more is sent */
};

enum ho_action {
        HO_WAIT,       /* look again */
        HO_JOIN,       /* watch the job to its end */
        HO_STAYS,      /* the guest runs here; what is on the target goes */
        HO_LOOK,       /* at the target: what it has decides */
        HO_ASK,        /* libvirt, why the source has ended */
        HO_RESUME,     /* the target */
        HO_DONE,       /* it runs there */
        HO_LOST,       /* it ended, and nothing on the target may run: that goes */
        HO_END_SOURCE, /* it runs there already: the source goes */
        HO_GO_ON,      /* what is on the target goes, and then the source goes on */
        HO_ACTIONS
};
const char *ho_action_name(enum ho_action a); /* "wait" ... */

/* The action, and in *rule (may be NULL) the index of the rule that gave it. */
enum ho_action handover_decide(const struct handover_state *s, size_t *rule);
size_t handover_rules(void);

#endif
