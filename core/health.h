/*
 * Health of a mount from the results of its probes, with hysteresis: one slow answer does not turn
 * a node away, one quick answer does not bring it back, and a mount that relapses must prove itself
 * longer. What leaves no doubt, such as that nothing is mounted, counts at once. Time is
 * passed in.
 */
#ifndef DROVER_CORE_HEALTH_H
#define DROVER_CORE_HEALTH_H

#include "core/host.h"

enum probe_result {
        PROBE_OK,
        PROBE_NOT_MOUNTED,   /* nothing is mounted at the path, or not on the host */
        PROBE_WRONG_EXPORT,  /* not what the configuration names, or not what was there before */
        PROBE_READ_ONLY,     /* mounted, or exported, read-only */
        PROBE_STALE,         /* the server does not know the directory any more */
        PROBE_FULL,          /* no room to write, or less than is to be kept free */
        PROBE_HUNG,          /* no answer within the deadline; the probe could be ended */
        PROBE_STUCK,         /* not even SIGKILL ended the probe */
        PROBE_SLOW,          /* all is well, but it took longer than the limit */
        PROBE_SERVER_SILENT, /* no answer, and the server does not answer either */
        PROBE_IO_ERROR,      /* an error of another kind, or other bytes than were written */
        PROBE_FORBIDDEN,     /* the server or the file system does not let us write */
        PROBE_FAILED,        /* the probe could not be made: it says nothing of the mount */
        PROBE_RESULTS
};
/* The stable word for it: "Healthy" "NotMounted" ... */
const char *probe_result_name(enum probe_result r);
/* PROBE_FAILED for other words. */
enum probe_result probe_result_parse(const char *name);
/* How to mend it, a sentence; "" for PROBE_OK. */
const char *probe_result_mend(enum probe_result r);
/* Reading may do when the probe had this result. */
bool probe_result_reads(enum probe_result r);
/* What a system call's error (positive) on the mount tells. */
enum probe_result probe_result_of(int error);

struct health_limits {
        int64_t bad;       /* results in a row that make a mount unhealthy */
        int64_t good;      /* results in a row that make it healthy again */
        int64_t period_ms; /* between probes while nothing changes */
        int64_t slow_ms;   /* a probe that takes longer is PROBE_SLOW, 0: none is */
        int64_t min_free_bytes, min_free_inodes; /* with less it is PROBE_FULL, 0: never */
};

/*
 * With a deadline of 3 s for a probe, a mount that hangs is found out within
 * period + deadline + confirm + deadline = 8.3 s, and one that is back, even after relapses, within
 * period + (good << relapses) * confirm = 3.8 s and what its probes take.
 */
#define HEALTH_DEFAULTS                                                                            \
        {                                                                                          \
                .bad = 2, .good = 3, .period_ms = 2000, .slow_ms = 2000,                           \
                .min_free_bytes = 64 << 20, .min_free_inodes = 64                                  \
        }
#define HEALTH_RELAPSE_MAX 1      /* each relapse doubles the good ones asked for, so often */
#define HEALTH_FORGIVE_MS  600000 /* healthy this long: relapses are forgotten */
#define HEALTH_CONFIRM_MS  300    /* before the probe that confirms a change */

struct health {
        enum mount_health state; /* MOUNT_UNKNOWN before the first result */
        enum probe_result last;  /* the last result, once there is one */
        int bad, good;           /* in a row */
        int relapses;
        int64_t healthy_since_ms;
};

/*
 * A probe that went well is not good enough yet when it took too long, or too little is free.
 * counts_inodes: the file system has a number of them at all.
 */
enum probe_result health_judge(const struct health_limits *l, int64_t latency_us,
                               int64_t free_bytes, int64_t free_inodes, bool counts_inodes);

/* Takes one result in; true when state changed. */
bool health_step(struct health *h, const struct health_limits *l, enum probe_result r,
                 int64_t now_ms);

/* "NotProbedYet", "Healthy", "Recovering" (unhealthy, and the last probe went well), or the word
 * for what is wrong. */
#define HEALTH_RECOVERING "Recovering"
const char *health_verdict(const struct health *h);

/* Good results in a row that an unhealthy mount still needs; 0 when it is not unhealthy. */
int health_needed(const struct health *h, const struct health_limits *l);

/* How long to wait until the next probe: shorter while a change awaits its confirmation. */
int64_t health_next_ms(const struct health *h, const struct health_limits *l);

#endif
