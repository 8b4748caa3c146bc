/* Carries the actions of reconcile() out. */
#ifndef DROVER_MIGRATOR_ACT_H
#define DROVER_MIGRATOR_ACT_H

#include "migrator/gather.h"

struct actor {
        struct world *world;
        const char *handle_image;
};

/*
 * In order, up to the first failure. *again says that something was written whose effect
 * reconcile() should see at once. -EAGAIN: what was known is stale, the watch will bring the news.
 */
must_check int act_all(const struct actor *actor, const struct vm *vm, const struct rec_output *out,
                       bool *again, struct err *e);

#endif
