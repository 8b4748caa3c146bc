/* Something that a thread of its own sees to while its asker does something else. */
#ifndef DROVER_AGENT_ERRAND_H
#define DROVER_AGENT_ERRAND_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>

/* All zero: none. Stays where it is, and ctx valid, until its end has been waited for. */
struct errand {
        pthread_t thread;
        bool begun;
        int (*run)(void *ctx, struct err *e);
        void *ctx;
        int rc;
        struct err error;
};

/* -EAGAIN without a thread for it. */
must_check int errand_begin(struct errand *x, int (*run)(void *ctx, struct err *e), void *ctx,
                            struct err *e);
/* Waits for it, once, and says what came of it; 0 when there is none (any more). */
must_check int errand_end(struct errand *x, struct err *e);
/* Likewise, whatever came of it. */
void errand_drop(struct errand *x);

#endif
