#include "core/converge.h"

int64_t converge_allowed_ms(const struct vm_migration_policy *policy, int64_t bytes)
{
        const int64_t gib = (int64_t)1 << 30;
        int64_t gibs = (bytes + gib - 1) / gib;

        return policy->completion_timeout_s_per_gib * 1000 * (gibs > 0 ? gibs : 1);
}

int64_t converge_elapsed_ms(int64_t started_us, int64_t now_us)
{
        return started_us > 0 && now_us > started_us ? (now_us - started_us) / 1000 : 0;
}

static void count_pass(struct converge *c, int64_t pass, int64_t left)
{
        if (pass <= c->pass)
                return;
        /* the first two have the whole memory and what was written meanwhile: no measure yet */
        if (pass > 2 && left > c->left - c->left * CONVERGE_GAIN / 100)
                c->stalls++;
        else
                c->stalls = 0;
        c->pass = pass;
        c->left = left;
}

enum converge_action converge_step(struct converge *c, const struct vm_migration_policy *policy,
                                   int64_t pass, int64_t left, int64_t elapsed_ms,
                                   int64_t allowed_ms)
{
        bool late = allowed_ms > 0 && elapsed_ms > allowed_ms;

        count_pass(c, pass, left);
        if (c->acted)
                return CONVERGE_GO_ON;
        if (policy->post_copy && (late || c->stalls >= CONVERGE_STALLS)) {
                c->acted = true;
                return CONVERGE_POST_COPY;
        }
        if (!late)
                return CONVERGE_GO_ON;
        c->acted = true;
        return policy->on_timeout == TIMEOUT_PAUSE ? CONVERGE_PAUSE : CONVERGE_ABORT;
}

int64_t converge_bandwidth(int64_t own, int64_t of_node, size_t moves)
{
        int64_t share = of_node > 0 ? of_node / (int64_t)(moves ? moves : 1) : 0;

        if (of_node > 0 && share < 1)
                share = 1;
        if (own <= 0 || (share > 0 && share < own))
                return share;
        return own;
}
