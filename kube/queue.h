/*
 * Work queue of keys, as in client-go's workqueue: a key is queued at most once, a key that is
 * added while it is being worked on is worked on again afterwards, delays and per-key exponential
 * backoff. Thread safe. A key that is longer than KUBE_KEY_MAX - 1, or for which there is no
 * memory, is dropped: whoever must not lose one looks at everything again now and then.
 */
#ifndef DROVER_KUBE_QUEUE_H
#define DROVER_KUBE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KUBE_KEY_MAX 512

struct kube_queue;
struct kube_queue *kube_queue_new(int64_t backoff_min_ms, int64_t backoff_max_ms);
void kube_queue_free(struct kube_queue *q);
void kube_queue_add(struct kube_queue *q, const char *key);
/* The earliest of several delays wins. */
void kube_queue_add_after(struct kube_queue *q, const char *key, int64_t ms);
/* After the key's backoff, doubling (jittered) at each call until kube_queue_forget. */
void kube_queue_retry(struct kube_queue *q, const char *key);
void kube_queue_forget(struct kube_queue *q, const char *key);
/* Waits up to ms (<0: for ever) for a key; false at the end of the wait or when closed. */
bool kube_queue_take(struct kube_queue *q, char key[KUBE_KEY_MAX], int64_t ms);
/* Must follow each successful take. */
void kube_queue_done(struct kube_queue *q, const char *key);
/* Wakes all waiters; takes return false from now on. */
void kube_queue_close(struct kube_queue *q);
size_t kube_queue_len(struct kube_queue *q);

#endif
