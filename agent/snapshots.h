/*
 * Snapshots whose worker this node is: takes them, or removes them when they are deleted, and tells
 * the progress of it in status.progress, which is all of a snapshot that an agent may write. A
 * guest that runs here is asked through QEMU (agent/guestsnap.h), the files of one that does not
 * are changed by a tool (agent/snaptool.h).
 */
#ifndef DROVER_AGENT_SNAPSHOTS_H
#define DROVER_AGENT_SNAPSHOTS_H

#include "agent/agent.h"

/* Makes a->snapshots. */
must_check int snapshots_start(struct agent *a, struct kube_watch **out, struct err *e);

/* The work snapshot/NS/NAME. */
int64_t snapshot_work(struct agent *a, const char *rest);

/*
 * A snapshot of that VM was begun, maybe by an agent before this one, and its end was not told: the
 * guest may be frozen, and must not be moved before it is thawed. Or that is not known yet.
 */
bool snapshots_open(struct agent *a, const char *vm_uid);

#endif
