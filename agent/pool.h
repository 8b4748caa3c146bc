/*
 * The one door to a pool. Where nothing is mounted there is a bare directory that looks like an
 * empty pool and takes what is written, on one node alone: so whoever works in a pool enters it
 * here first, and then goes by paths relative to it. Once inside he stays on the mount that was
 * looked at, also when it is unmounted or something is mounted over it meanwhile.
 *
 * All of this touches the mount and may hang with it: for children only.
 */
#ifndef DROVER_AGENT_POOL_H
#define DROVER_AGENT_POOL_H

#include "base/err.h"

#include <stdbool.h>

/*
 * The file by which it is seen what is mounted on the node itself, such as /proc/1/mountinfo; not
 * set: what is mounted here counts. In a pod the bare directory of the node may be a mount.
 */
#define POOL_HOST_MOUNTS "HOST_MOUNTINFO"

/*
 * Makes the pool at that path the working directory. -ENODEV when nothing is mounted there, or not
 * what the node has there; else why it cannot be opened. The working directory stays as it was on
 * failure.
 */
must_check int enter_pool(const char *path, struct err *e);

/* A path relative to a pool that stays within it. */
bool inside_pool(const char *path);

#endif
