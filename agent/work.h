/*
 * Work by key on as many threads as it takes: one thread is always free to take the next key, up to
 * a bound, so that a few keys that are stuck in libvirt do not hold up the rest.
 */
#ifndef DROVER_AGENT_WORK_H
#define DROVER_AGENT_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORK_DONE  0
#define WORK_RETRY (-1) /* after the key's backoff */
/* A positive result: again after so many milliseconds. */
typedef int64_t (*work_fn)(void *ctx, const char *key);

struct work;
struct work *work_new(size_t max_threads, work_fn run, void *ctx);
/* Ends when all keys being worked on are done, or after ms; false for the latter (then nothing is
 * freed). */
bool work_free(struct work *w, int64_t ms);
void work_add(struct work *w, const char *key);
void work_add_after(struct work *w, const char *key, int64_t ms);
/* Keys being worked on right now. */
size_t work_busy(struct work *w);

#endif
