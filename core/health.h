/*
 * Health of a mount from the results of its probes, with hysteresis: one slow answer does not turn
 * a node away, one quick answer does not bring it back, and a mount that relapses must prove itself
 * longer each time. A mount that hangs even a killed probe, is not there or is another one than
 * before counts at once. Time is passed in.
 */
#ifndef DROVER_CORE_HEALTH_H
#define DROVER_CORE_HEALTH_H

#include "core/host.h"

enum probe_result {
        PROBE_OK,
        PROBE_FAILED,  /* an error (EIO, ESTALE, EROFS, ENOSPC ...), or read back other bytes than
                          written */
        PROBE_TIMEOUT, /* no answer within the deadline; the probe could be killed */
        PROBE_STUCK,   /* not even SIGKILL ended the probe */
        PROBE_NOT_MOUNTED, /* nothing is mounted at the path */
        PROBE_OTHER_MOUNT, /* another identity than the mount had when it was last healthy */
        PROBE_RESULTS
};
const char *probe_result_name(enum probe_result r); /* "ok" "failed" ... */

#define HEALTH_BAD_LIMIT   2 /* bad results in a row that make a mount unhealthy */
#define HEALTH_GOOD_LIMIT  3 /* good ones in a row that make it healthy again */
#define HEALTH_RELAPSE_MAX 3 /* each relapse doubles the good ones asked for, up to this often */
#define HEALTH_FORGIVE_MS  600000 /* healthy this long: relapses are forgotten */
#define HEALTH_PERIOD_MS   3000   /* between probes when nothing changes */
#define HEALTH_CONFIRM_MS  500    /* before the probe that confirms a change */

struct health {
        enum mount_health state; /* MOUNT_UNKNOWN before the first result */
        int bad, good;           /* in a row */
        int relapses;
        int64_t healthy_since_ms;
};

/* Takes one result in; true when state changed. */
bool health_step(struct health *h, enum probe_result r, int64_t now_ms);

/* Good results in a row that an unhealthy mount still needs; 0 when it is not unhealthy. */
int health_needed(const struct health *h);

/* How long to wait until the next probe: shorter while a change awaits its confirmation. */
int64_t health_next_ms(const struct health *h);

#endif
