#include "core/health.h"

#include "base/cleanup.h"
#include "core/names.h"

static const char *const NAMES[PROBE_RESULTS] = {
        [PROBE_OK] = "ok",
        [PROBE_FAILED] = "failed",
        [PROBE_TIMEOUT] = "timeout",
        [PROBE_STUCK] = "stuck",
        [PROBE_NOT_MOUNTED] = "not-mounted",
        [PROBE_OTHER_MOUNT] = "other-mount",
};

const char *probe_result_name(enum probe_result r)
{
        return name_at(NAMES, countof(NAMES), r);
}

/* A single result of these kinds leaves no doubt. */
static bool certain(enum probe_result r)
{
        return r == PROBE_STUCK || r == PROBE_NOT_MOUNTED || r == PROBE_OTHER_MOUNT;
}

static int good_limit(const struct health *h)
{
        return HEALTH_GOOD_LIMIT << h->relapses;
}

static bool became(struct health *h, enum mount_health state, int64_t now_ms)
{
        if (h->state == state)
                return false;
        if (state == MOUNT_HEALTHY)
                h->healthy_since_ms = now_ms;
        h->state = state;
        return true;
}

static bool step_good(struct health *h, int64_t now_ms)
{
        h->bad = 0;
        h->good++;
        if (h->state == MOUNT_UNHEALTHY && h->good < good_limit(h))
                return false;
        if (h->state == MOUNT_HEALTHY && now_ms - h->healthy_since_ms >= HEALTH_FORGIVE_MS)
                h->relapses = 0;
        return became(h, MOUNT_HEALTHY, now_ms);
}

static bool step_bad(struct health *h, enum probe_result r, int64_t now_ms)
{
        h->good = 0;
        h->bad++;
        if (h->state == MOUNT_HEALTHY && h->bad < HEALTH_BAD_LIMIT && !certain(r))
                return false;
        if (h->state == MOUNT_HEALTHY) {
                if (now_ms - h->healthy_since_ms >= HEALTH_FORGIVE_MS)
                        h->relapses = 0;
                else if (h->relapses < HEALTH_RELAPSE_MAX)
                        h->relapses++;
        }
        return became(h, MOUNT_UNHEALTHY, now_ms);
}

bool health_step(struct health *h, enum probe_result r, int64_t now_ms)
{
        return r == PROBE_OK ? step_good(h, now_ms) : step_bad(h, r, now_ms);
}

int health_needed(const struct health *h)
{
        return h->state == MOUNT_UNHEALTHY ? good_limit(h) - h->good : 0;
}

int64_t health_next_ms(const struct health *h)
{
        if (h->state == MOUNT_HEALTHY && h->bad > 0)
                return HEALTH_CONFIRM_MS;
        if (h->state == MOUNT_UNHEALTHY && h->good > 0)
                return HEALTH_CONFIRM_MS * 2;
        return HEALTH_PERIOD_MS;
}
