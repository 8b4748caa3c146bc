/*
 * Children with a deadline. Whatever may touch a pool's mount runs in a child process, because a
 * hung mount holds its caller for ever, and a caller that is a thread of the agent could never be
 * got rid of. A child has a process group of its own, gets no file but its standard ones, and after
 * its deadline the group is killed. One that even SIGKILL does not end is *stuck*: it is left
 * behind, counted, and reaped when the kernel lets go of it.
 */
#ifndef DROVER_AGENT_CHILD_H
#define DROVER_AGENT_CHILD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_OUTPUT_MAX ((size_t)64 << 10)
#define CHILD_KILL_MS                                                                              \
        500 /* how long a killed child may take to vanish before it counts as stuck                \
             */

struct child {
        pid_t pid;
        int pidfd, out;
        bool ended;
        int status;      /* as waitpid gives it, once ended */
        struct buf text; /* standard output and error together, cut at CHILD_OUTPUT_MAX */
};

/* argv[0] is found in PATH unless it has a slash. */
must_check int child_start(struct child *c, const char *const argv[], struct err *e);
/* Collects output for up to ms; true when the child has ended. */
bool child_wait(struct child *c, int64_t ms);
/* What to wait for, into out; their number. child_wait takes in what comes. */
#define CHILD_FDS 2
size_t child_fds(const struct child *c, struct pollfd out[CHILD_FDS]);
void child_kill(struct child *c);
/* Kills it if it still runs; one that is stuck is left to child_reap. */
void child_free(struct child *c);
/* The same, but waits for its end until that time instead of CHILD_KILL_MS: for many at once. */
void child_free_by(struct child *c, struct mono end);

/*
 * Runs a child to its end: 0 when it exited with 0; -EIO when not, the message being what it wrote;
 * -ETIMEDOUT past the deadline; -EDEADLK when stuck. Its output goes to out (may be NULL).
 */
must_check int child_run(const char *const argv[], int64_t deadline_ms, struct buf *out,
                         struct err *e);

/* Reaps children that were left behind; the number still there. */
size_t child_reap(void);

#endif
