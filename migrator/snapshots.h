/*
 * The turn of one snapshot of a VM: who takes or removes it, and what its status says. Its key in
 * the work queue begins with SNAPSHOTS_PREFIX, which no namespace's name does.
 */
#ifndef DROVER_MIGRATOR_SNAPSHOTS_H
#define DROVER_MIGRATOR_SNAPSHOTS_H

#include "migrator/act.h"

#define SNAPSHOTS_PREFIX "snapshot:"

/* "namespace/name" of a snapshot's key; NULL of another's. */
const char *snapshots_key(const char *key);

/* 0, or a failure of which e tells; -EAGAIN: what was known is stale, or the Lease is lost. */
must_check int snapshots_work(const struct actor *actor, const char *key, struct err *e);

#endif
