/* A new process that inherits nothing by chance. */
#ifndef DROVER_BASE_SPAWN_H
#define DROVER_BASE_SPAWN_H

#include "base/cleanup.h"

#include <sys/types.h>

/*
 * Starts argv (argv[0] is found in PATH unless it has a slash) with fds as its standard input,
 * output and error, -1 being /dev/null, in a process group of its own and with no signal blocked or
 * ignored. Descriptors that are not close-on-exec go along. 0 or a negative errno.
 */
must_check int spawn(const char *const argv[], const int fds[3], pid_t *pid);

#endif
