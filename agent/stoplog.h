/*
 * libvirt's word on why it ended a guest, from the domain's log: libvirtd writes the line
 * "TIME: shutting down, reason=migrated" before it kills the source of a migration, and only when
 * the target's answer has reached it. Whoever has seen the process dead and finds that line knows
 * at once what libvirt itself would say only when it is through with the dead process, and no event
 * can come too late for that. What cannot be read proves nothing: then libvirt is asked.
 */
#ifndef DROVER_AGENT_STOPLOG_H
#define DROVER_AGENT_STOPLOG_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct stoplog {
        int fd; /* -1: none */
        off_t from;
};

/* What DIR/NAME.log holds from now on: opened while the guest runs. */
must_check int stoplog_open(const char *dir, const char *name, struct stoplog *out, struct err *e);
void stoplog_close(struct stoplog *l);
/* The last end that was written since is that of a guest that has moved away. */
bool stoplog_migrated(const struct stoplog *l);

#endif
