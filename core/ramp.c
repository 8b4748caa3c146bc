#include "core/ramp.h"

static int64_t at_step(const struct ramp *r, int step)
{
        int64_t span = r->max_ms - RAMP_START_MS;

        if (span <= 0)
                return r->max_ms;
        /* Quadratic: small steps where they cost the guest least. */
        return RAMP_START_MS + span * step * step / (RAMP_STEPS * RAMP_STEPS);
}

void ramp_begin(struct ramp *r, int64_t max_ms, int64_t now_ms)
{
        *r = (struct ramp){.max_ms = max_ms > 0 ? max_ms : RAMP_START_MS, .since_ms = now_ms};
        r->now_ms = at_step(r, 0);
}

bool ramp_step(struct ramp *r, int64_t pass, int64_t now_ms)
{
        int64_t needed = r->step == 0 ? RAMP_PASSES : 1;

        if (r->step >= RAMP_STEPS || pass - r->pass <= needed ||
            now_ms - r->since_ms < RAMP_DWELL_MS)
                return false;
        int64_t before = r->now_ms;
        r->step++;
        r->pass = pass - 1; /* the pass that has just begun has not ended on this step */
        r->since_ms = now_ms;
        r->now_ms = at_step(r, r->step);
        return r->now_ms != before;
}
