/*
 * What `kubectl drover doctor` finds out: numbered checks, each with a verdict, a sentence, and how
 * to mend what is not right. Numbers and names stay what they are: docs/storage.md lists them.
 */
#ifndef DROVER_CORE_DOCTOR_H
#define DROVER_CORE_DOCTOR_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum doctor_check {
        DOCTOR_COMPONENTS = 1, /* seen at the API server */
        DOCTOR_CRDS,
        DOCTOR_ADMISSION,
        DOCTOR_SECRETS,
        DOCTOR_SCHEDULER,
        DOCTOR_AGENTS,
        DOCTOR_HOSTS,
        DOCTOR_HEARTBEAT,
        DOCTOR_SESSION,
        DOCTOR_POOL_HEALTH,
        DOCTOR_POOL_MOUNT, /* by the agent, on its node */
        DOCTOR_POOL_OPTIONS,
        DOCTOR_POOL_WRITE,
        DOCTOR_POOL_SPACE,
        DOCTOR_LIBVIRT,
        DOCTOR_PKI,
        DOCTOR_ARRIVALS,
        DOCTOR_PEERS,
        DOCTOR_KVM,
        DOCTOR_QEMU,
        DOCTOR_BRIDGES,
        DOCTOR_NAMES,
        DOCTOR_TIME, /* between nodes */
        DOCTOR_SHARED,
        DOCTOR_LOCKS,
        DOCTOR_TIDY,
        DOCTOR_CHECKS /* one more than the last */
};
const char *doctor_check_name(unsigned check); /* "pool-mount"; "?" for others */

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAULT, DOCTOR_VERDICTS };
const char *doctor_verdict_name(unsigned v); /* "ok" "warning" "fault" */
enum doctor_verdict
doctor_verdict_parse(const char *s); /* DOCTOR_FAULT for other words: doubt is told */

struct finding {
        unsigned check;
        enum doctor_verdict verdict;
        const char *node, *subject; /* "" where it is of none: a pool, a peer, a file */
        const char *says, *mend;    /* sentences; mend is "" when ok */
};

/* A bounded list. Strings are copied into the arena. */
struct findings {
        struct arena *arena;
        struct finding *v;
        size_t n, max;
        bool failed; /* one did not fit, or no memory */
};

/* With v == NULL and failed when out of memory. */
struct findings findings_new(struct arena *a, size_t max);
/* mend may be NULL, and is told only of what is not ok. */
void findings_add(struct findings *f, unsigned check, const char *node, const char *subject,
                  enum doctor_verdict v, const char *mend, const char *says, ...) printf_like(7, 8);
/* The worst verdict of all, DOCTOR_OK of none. */
enum doctor_verdict findings_worst(const struct findings *f);

/*
 * A node's clock, in microseconds, less that of who asks: somewhere between low and high, because
 * question and answer take their time.
 */
struct clock_range {
        const char *node;
        int64_t low_us, high_us;
};
#define DOCTOR_SKEW_US 1000000
/* DOCTOR_TIME: which nodes' clocks are certainly too far apart, and how exactly that is known. */
void doctor_judge_clocks(const struct clock_range *c, size_t n, struct findings *f);

#endif
