#include "kube/backoff.h"

int64_t backoff_next(struct backoff *b, uint64_t random)
{
        int64_t ms = b->min_ms;

        for (int i = 0; i < b->failures && ms < b->max_ms; i++)
                ms = ms > b->max_ms / 2 ? b->max_ms : ms * 2;
        if (b->failures < 64)
                b->failures++;
        return ms - (int64_t)(random % ((uint64_t)ms / 2 + 1));
}

void backoff_reset(struct backoff *b)
{
        b->failures = 0;
}
