/* For drover.pml: the decisions of core/ as the model's state sees them. */
#ifndef DROVER_TESTS_MODEL_TABLES_H
#define DROVER_TESTS_MODEL_TABLES_H

#include "core/ownership.h"
#include "core/recovery.h"
#undef cleanup /* a name of spin's too */

/* A guest on a node, as in drover.pml. */
enum { GUEST_NONE, GUEST_RUNS, GUEST_SWITCHING, GUEST_RECEIVING, GUEST_RECEIVED };
#define NOBODY 3

static inline enum rcv_host model_host(int guest, int same_epoch, int sent, int unseen, int fenced)
{
        static const enum rcv_host SEEN[] = {
                [GUEST_NONE] = RCV_NONE,           [GUEST_RUNS] = RCV_RUNS,
                [GUEST_SWITCHING] = RCV_RUNS,      [GUEST_RECEIVING] = RCV_RECEIVING,
                [GUEST_RECEIVED] = RCV_RECEIVED,
        };

        if (fenced)
                return RCV_FENCED;
        if (unseen)
                return RCV_UNSEEN;
        return same_epoch && sent ? SEEN[guest] : RCV_NONE;
}

static inline enum own_domain model_domain(int guest, int sent)
{
        static const enum own_domain DOMAIN[] = {
                [GUEST_NONE] = OWN_ABSENT,         [GUEST_RUNS] = OWN_RUNNING,
                [GUEST_SWITCHING] = OWN_PAUSED,    [GUEST_RECEIVING] = OWN_RECEIVING,
                [GUEST_RECEIVED] = OWN_RECEIVED,
        };

        return guest == GUEST_RECEIVED && !sent ? OWN_LEFTOVER : DOMAIN[guest];
}

static inline enum own_epoch model_epoch(int domain, int owner)
{
        return domain < owner ? OWN_OLDER : domain > owner ? OWN_NEWER : OWN_EQUAL;
}

#endif
