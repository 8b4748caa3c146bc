/* What this agent did to a guest and when: for graces and for the pace of restarts. Lost with it.
 */
#ifndef DROVER_AGENT_STARTS_H
#define DROVER_AGENT_STARTS_H

#include <stdbool.h>
#include <stdint.h>

struct starts;
struct starts *starts_new(void);
void starts_free(struct starts *s);

/* How long to wait before starting it (again), 0: now. Restarts in quick succession are paced. */
int64_t starts_wait_ms(struct starts *s, const char *uuid, int64_t now_ms);
void starts_started(struct starts *s, const char *uuid, int64_t now_ms);
/*
 * The same of a guest that an I/O error has stopped, to be asked for as long as it stands still: a
 * few seconds from the first time, in which its pool may turn out to be unhealthy, then at a
 * growing pace for as long as it stops again soon.
 */
int64_t starts_retry_wait_ms(struct starts *s, const char *uuid, int64_t now_ms);
void starts_retried(struct starts *s, const char *uuid, int64_t now_ms);
/* How often in a row that has been in vain. */
unsigned starts_retries(struct starts *s, const char *uuid, int64_t now_ms);
/* Since when its stop has been asked for: now for the first call since it was last started. */
int64_t starts_stopping(struct starts *s, const char *uuid, int64_t now_ms, bool *first);
/* It is to run after all: a stop asked for before does not count. */
void starts_unstop(struct starts *s, const char *uuid);
/* It is gone for good. */
void starts_forget(struct starts *s, const char *uuid);

#endif
