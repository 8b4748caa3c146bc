#include "kube/queue.h"

#include "base/mono.h"
#include "kube/backoff.h"
#include "kube/random.h"
#include "kube/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NOT_WAITING SIZE_MAX

/* What is known of a key; it lives as long as any of it is. */
struct item {
        struct ktable_node node;
        struct item *next; /* of the line */
        struct mono due;
        size_t at; /* place in the heap of the waiting, or NOT_WAITING */
        struct backoff backoff;
        bool queued; /* in line */
        bool taken;  /* somebody works on it */
        bool again;  /* added while it was taken */
        char key[];
};

struct kube_queue {
        pthread_mutex_t lock;
        pthread_cond_t cond;
        struct ktable items;
        struct item *first, *last; /* the line */
        size_t len;
        struct item **heap; /* by due */
        size_t waiting, cap;
        int64_t min_ms, max_ms;
        bool closed;
};

struct kube_queue *kube_queue_new(int64_t backoff_min_ms, int64_t backoff_max_ms)
{
        struct kube_queue *q = calloc(1, sizeof(*q));
        pthread_condattr_t attr;

        if (!q)
                return NULL;
        q->min_ms = backoff_min_ms;
        q->max_ms = backoff_max_ms;
        q->items = ktable_new();
        pthread_mutex_init(&q->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&q->cond, &attr);
        pthread_condattr_destroy(&attr);
        return q;
}

static struct item *item_of(struct ktable_node *n)
{
        return n ? ktable_entry(n, struct item, node) : NULL;
}

void kube_queue_free(struct kube_queue *q)
{
        if (!q)
                return;
        for (struct ktable_node *n = ktable_first(&q->items), *next; n; n = next) {
                next = ktable_after(&q->items, n);
                free(item_of(n));
        }
        ktable_free(&q->items);
        free(q->heap);
        pthread_cond_destroy(&q->cond);
        pthread_mutex_destroy(&q->lock);
        free(q);
}

/* --- items; all below are called with the lock held */

static struct item *find(struct kube_queue *q, const char *key)
{
        return item_of(ktable_find(&q->items, key));
}

/* NULL for a key that is too long, or without memory. */
static struct item *item_at(struct kube_queue *q, const char *key)
{
        struct item *it = find(q, key);
        size_t size = strlen(key) + 1;

        if (it || size > KUBE_KEY_MAX)
                return it;
        it = malloc(sizeof(*it) + size);
        if (!it)
                return NULL;
        *it = (struct item){.node.key = it->key,
                            .at = NOT_WAITING,
                            .backoff = {.min_ms = q->min_ms, .max_ms = q->max_ms}};
        memcpy(it->key, key, size);
        if (ktable_add(&q->items, &it->node) < 0) {
                free(it);
                return NULL;
        }
        return it;
}

static void trim(struct kube_queue *q, struct item *it)
{
        if (!it || it->queued || it->taken || it->at != NOT_WAITING || it->backoff.failures)
                return;
        ktable_remove(&q->items, &it->node);
        free(it);
}

static void enqueue(struct kube_queue *q, struct item *it)
{
        if (it->taken) {
                it->again = true;
                return;
        }
        if (it->queued)
                return;
        it->queued = true;
        it->next = NULL;
        if (q->last)
                q->last->next = it;
        else
                q->first = it;
        q->last = it;
        q->len++;
        pthread_cond_signal(&q->cond);
}

static struct item *dequeue(struct kube_queue *q)
{
        struct item *it = q->first;

        if (!it)
                return NULL;
        q->first = it->next;
        if (!q->first)
                q->last = NULL;
        q->len--;
        it->queued = false;
        it->taken = true;
        return it;
}

/* --- the heap of the waiting */

static void place(struct kube_queue *q, size_t at, struct item *it)
{
        q->heap[at] = it;
        it->at = at;
}

static void sift_up(struct kube_queue *q, struct item *it)
{
        size_t at = it->at;

        for (; at && q->heap[(at - 1) / 2]->due.ns > it->due.ns; at = (at - 1) / 2)
                place(q, at, q->heap[(at - 1) / 2]);
        place(q, at, it);
}

static struct item *pop(struct kube_queue *q)
{
        struct item *top = q->heap[0], *it = q->heap[--q->waiting];
        size_t at = 0;

        top->at = NOT_WAITING;
        if (it == top)
                return top;
        for (size_t kid = 1; kid < q->waiting; at = kid, kid = 2 * at + 1) {
                if (kid + 1 < q->waiting && q->heap[kid + 1]->due.ns < q->heap[kid]->due.ns)
                        kid++;
                if (q->heap[kid]->due.ns >= it->due.ns)
                        break;
                place(q, at, q->heap[kid]);
        }
        place(q, at, it);
        return top;
}

static bool make_room(struct kube_queue *q)
{
        size_t cap = q->cap ? q->cap * 2 : 16;
        struct item **heap;

        if (q->waiting < q->cap)
                return true;
        heap = realloc(q->heap, cap * sizeof(struct item *));
        if (!heap)
                return false;
        q->heap = heap;
        q->cap = cap;
        return true;
}

static void wait_for(struct kube_queue *q, struct item *it, int64_t ms)
{
        struct mono due = mono_add_ms(mono_now(), ms);

        if (it->at == NOT_WAITING) {
                if (!make_room(q)) {
                        enqueue(q, it); /* early is better than never */
                        return;
                }
                it->due = due;
                place(q, q->waiting++, it);
        } else if (due.ns < it->due.ns) {
                it->due = due;
        } else {
                return;
        }
        sift_up(q, it);
        if (it->at == 0)
                pthread_cond_signal(&q->cond); /* somebody may sleep for longer */
}

static void move_due(struct kube_queue *q)
{
        struct mono now = mono_now();

        while (q->waiting && q->heap[0]->due.ns <= now.ns)
                enqueue(q, pop(q));
}

/* --- the calls */

void kube_queue_add(struct kube_queue *q, const char *key)
{
        kube_queue_add_after(q, key, 0);
}

void kube_queue_add_after(struct kube_queue *q, const char *key, int64_t ms)
{
        struct item *it;

        pthread_mutex_lock(&q->lock);
        it = item_at(q, key);
        if (it && ms > 0)
                wait_for(q, it, ms);
        else if (it)
                enqueue(q, it);
        pthread_mutex_unlock(&q->lock);
}

void kube_queue_retry(struct kube_queue *q, const char *key)
{
        struct item *it;

        pthread_mutex_lock(&q->lock);
        it = item_at(q, key);
        if (it)
                wait_for(q, it, backoff_next(&it->backoff, kube_random()));
        pthread_mutex_unlock(&q->lock);
}

void kube_queue_forget(struct kube_queue *q, const char *key)
{
        struct item *it;

        pthread_mutex_lock(&q->lock);
        it = find(q, key);
        if (it)
                backoff_reset(&it->backoff);
        trim(q, it);
        pthread_mutex_unlock(&q->lock);
}

/* Sleeps until something may have changed; false when `until` (NULL: never) has passed. */
static bool nap(struct kube_queue *q, const struct mono *until)
{
        const struct mono *due = q->waiting ? &q->heap[0]->due : NULL;
        const struct mono *at = due && (!until || due->ns < until->ns) ? due : until;

        if (until && mono_now().ns >= until->ns)
                return false;
        if (!at) {
                pthread_cond_wait(&q->cond, &q->lock);
        } else {
                struct timespec t = {.tv_sec = at->ns / 1000000000, .tv_nsec = at->ns % 1000000000};
                pthread_cond_timedwait(&q->cond, &q->lock, &t);
        }
        return true;
}

bool kube_queue_take(struct kube_queue *q, char key[KUBE_KEY_MAX], int64_t ms)
{
        struct mono until = mono_add_ms(mono_now(), ms);
        struct item *it = NULL;

        pthread_mutex_lock(&q->lock);
        while (!q->closed) {
                move_due(q);
                it = dequeue(q);
                if (it || !nap(q, ms < 0 ? NULL : &until))
                        break;
        }
        if (it)
                memcpy(key, it->key, strlen(it->key) + 1);
        /* The signal that woke us may have stood for more than one key, or for a timer. */
        if (q->first || q->waiting)
                pthread_cond_signal(&q->cond);
        pthread_mutex_unlock(&q->lock);
        return it;
}

void kube_queue_done(struct kube_queue *q, const char *key)
{
        struct item *it;

        pthread_mutex_lock(&q->lock);
        it = find(q, key);
        if (it && it->taken) {
                it->taken = false;
                if (it->again) {
                        it->again = false;
                        enqueue(q, it);
                }
        }
        trim(q, it);
        pthread_mutex_unlock(&q->lock);
}

void kube_queue_close(struct kube_queue *q)
{
        pthread_mutex_lock(&q->lock);
        q->closed = true;
        pthread_cond_broadcast(&q->cond);
        pthread_mutex_unlock(&q->lock);
}

size_t kube_queue_len(struct kube_queue *q)
{
        pthread_mutex_lock(&q->lock);
        move_due(q);
        size_t n = q->len;
        pthread_mutex_unlock(&q->lock);
        return n;
}
