/*
 * Mount options, as mount(8) takes them and as /proc/PID/mountinfo shows them, and the rules by
 * which they suit a pool or do not. The only place that knows them.
 */
#ifndef DROVER_CORE_MOUNTOPTS_H
#define DROVER_CORE_MOUNTOPTS_H

#include "base/err.h"

#include <stdbool.h>

#define MOUNTOPTS_KEY_MAX   32
#define MOUNTOPTS_VALUE_MAX 128

struct mountopt {
        char key[MOUNTOPTS_KEY_MAX], value[MOUNTOPTS_VALUE_MAX]; /* value "": it has none */
};

/*
 * The option at *p, options being separated by commas; *p moves on to the next, to the end after
 * the last. -EINVAL when it is none (no key, too long, a quote); then *p moves on all the same.
 */
must_check int mountopts_next(const char **p, struct mountopt *out, struct err *e);

/* The last option of that name counts; "nfsvers" is another word for "vers". False: not there. */
bool mountopts_get(const char *options, const char *key, struct mountopt *out);
bool mountopts_same_key(const char *a, const char *b);

enum mountopts_flaw {
        MOUNTOPTS_FINE,
        MOUNTOPTS_SOFT,        /* guests get I/O errors when the server is slow */
        MOUNTOPTS_LOCAL_LOCKS, /* locks do not reach the other nodes */
        MOUNTOPTS_OLD_VERSION, /* NFS below 4: locks are a service of their own */
        MOUNTOPTS_READ_ONLY,
        MOUNTOPTS_NO_MOUNT, /* asks mount(8) for something else than to mount a pool */
};
/* What is wrong with an option for a pool; text gets why, a constant, when it is not fine. */
enum mountopts_flaw mountopts_judge(const struct mountopt *o, const char **text);

/*
 * Whether this mount keeps locks (some of them) on the node, so that they say nothing about others,
 * whatever a trial has shown; out is the option that does, for a sentence. False for what is not
 * NFS: there only a trial tells.
 */
bool mountopts_local_locks(const char *fstype, const char *options, struct mountopt *out);

#endif
