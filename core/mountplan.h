/*
 * What to do about a pool that the agent is to mount: from what is wanted and what is mounted.
 * Never over something else, and nothing is ever unmounted.
 */
#ifndef DROVER_CORE_MOUNTPLAN_H
#define DROVER_CORE_MOUNTPLAN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define MOUNTPLAN_OPTIONS_MAX 1024

/* A line of the configuration: POOL SERVER:/EXPORT /PATH [OPTIONS]. */
struct mountplan_entry {
        char pool[64], source[300], path[256], options[MOUNTPLAN_OPTIONS_MAX]; /* options "" */
};

/*
 * Reads up to max lines of text; blank ones and those that begin with # are left out. *n is their
 * number. -EINVAL with the line's number: nothing of a text that is wrong is carried out.
 */
must_check int mountplan_parse(const char *text, struct mountplan_entry *out, size_t max, size_t *n,
                               struct err *e);

/*
 * The options to mount with: the safe ones (hard, vers=4.2, proto=tcp, noatime, nosuid, nodev ...)
 * with those that were given in their place. -EINVAL for one that would cost guests their writes
 * or their locks (soft, nolock, local_lock, ro, below version 4), or does not fit.
 */
must_check int mountplan_options(const char *given, char out[MOUNTPLAN_OPTIONS_MAX], struct err *e);

enum mountplan_do { MOUNTPLAN_MOUNT, MOUNTPLAN_LEAVE, MOUNTPLAN_REFUSE };
/* want: the source that should be; mounted: that of what is mounted at the path now, NULL when
 * nothing is. */
enum mountplan_do mountplan_decide(const char *want, const char *mounted);

#define MOUNTPLAN_PERIOD_MS  5000  /* between looks while all is as it should be */
#define MOUNTPLAN_BACKOFF_MS 60000 /* at most, after failures */
/* How long to wait after so many failed attempts in a row. */
long mountplan_wait_ms(unsigned failures);

#endif
