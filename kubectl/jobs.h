/*
 * Programs that are run beside each other, each with pipes of its own: kubectl, for which this
 * program has no other way to the cluster. One thread waits for all of them. A job gets a process
 * group of its own, so that ^C at the terminal ends it only when it has been told to tidy up.
 */
#ifndef DROVER_KUBECTL_JOBS_H
#define DROVER_KUBECTL_JOBS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mono.h"

#include <stdbool.h>
#include <sys/types.h>

#define JOB_OUTPUT_MAX ((size_t)32 << 20)
#define JOB_ERROR_MAX  ((size_t)8 << 10)

struct job {
        pid_t pid; /* 0: none */
        int in, out, err;
        bool ended, flooded; /* flooded: it wrote more than its bound, and was killed for it */
        int status;          /* as waitpid gives it, once ended */
        struct buf text;     /* standard output */
        struct buf said;     /* standard error, its beginning */
};

/* ^C and the like are noticed from here on by jobs_wait instead of ending the process. */
void jobs_begin(void);
/* argv[0] is found in PATH unless it has a slash. max bytes of output. */
must_check int job_start(struct job *j, const char *const argv[], size_t max, struct err *e);
/* Its standard input; a job that does not read it does not hold us up: false, it is then deaf. */
bool job_write(struct job *j, const char *text);
void job_close_input(struct job *j);
void job_kill(struct job *j);
/* Kills it if it still runs. Idempotent. */
void job_free(struct job *j);

enum jobs_event { JOBS_NEWS, JOBS_TIMEOUT, JOBS_INTERRUPTED };
/*
 * Waits until any of n jobs has written something or ended, to `until` at most. Each interrupt is
 * told once. JOBS_NEWS also when all have ended already.
 */
enum jobs_event jobs_wait(struct job *jobs, size_t n, struct mono until);

/* 0 when it has ended well; else -EIO and the last line that it said. */
must_check int job_result(const struct job *j, const char *name, struct err *e);

#endif
