/* Exponential backoff with jitter; the randomness is passed in. */
#ifndef DROVER_KUBE_BACKOFF_H
#define DROVER_KUBE_BACKOFF_H

#include <stdint.h>

struct backoff {
        int64_t min_ms, max_ms;
        int failures; /* in a row */
};

/* The next wait: between half and the whole of min * 2^failures, at most max. */
int64_t backoff_next(struct backoff *b, uint64_t random);
void backoff_reset(struct backoff *b);

#endif
