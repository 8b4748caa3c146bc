#include "kube/table.h"

#include "base/fnv.h"
#include "kube/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 16

struct ktable ktable_new(void)
{
        return (struct ktable){.seed = kube_random()};
}

void ktable_free(struct ktable *t)
{
        free(t->slots);
        t->slots = NULL;
        t->size = t->count = 0;
}

/* From a secret start, so that names cannot be chosen to collide, and a final mix. */
static uint64_t hash_of(const struct ktable *t, const char *key)
{
        uint64_t h = fnv64(t->seed ^ FNV64_START, key);

        h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
        return h ^ (h >> 32);
}

static void resize(struct ktable *t, size_t size)
{
        struct ktable_node **slots = calloc(size, sizeof(struct ktable_node *));

        if (!slots)
                return; /* longer chains, nothing worse */
        for (size_t i = 0; i < t->size; i++) {
                for (struct ktable_node *n = t->slots[i], *next; n; n = next) {
                        struct ktable_node **slot = &slots[n->hash & (size - 1)];

                        next = n->next;
                        n->next = *slot;
                        *slot = n;
                }
        }
        free(t->slots);
        t->slots = slots;
        t->size = size;
}

int ktable_add(struct ktable *t, struct ktable_node *node)
{
        struct ktable_node **slot;

        if (t->count >= t->size)
                resize(t, t->size ? t->size * 2 : FIRST_SIZE);
        if (!t->size)
                return -ENOMEM;
        node->hash = hash_of(t, node->key);
        slot = &t->slots[node->hash & (t->size - 1)];
        node->next = *slot;
        *slot = node;
        t->count++;
        return 0;
}

struct ktable_node *ktable_find(const struct ktable *t, const char *key)
{
        uint64_t h;

        if (!t->count)
                return NULL;
        h = hash_of(t, key);
        for (struct ktable_node *n = t->slots[h & (t->size - 1)]; n; n = n->next)
                if (n->hash == h && strcmp(n->key, key) == 0)
                        return n;
        return NULL;
}

void ktable_remove(struct ktable *t, struct ktable_node *node)
{
        struct ktable_node **p = &t->slots[node->hash & (t->size - 1)];

        while (*p != node)
                p = &(*p)->next;
        *p = node->next;
        node->next = NULL;
        t->count--;
}

static struct ktable_node *first_from(const struct ktable *t, size_t slot)
{
        for (; slot < t->size; slot++)
                if (t->slots[slot])
                        return t->slots[slot];
        return NULL;
}

struct ktable_node *ktable_first(const struct ktable *t)
{
        return first_from(t, 0);
}

struct ktable_node *ktable_after(const struct ktable *t, const struct ktable_node *node)
{
        return node->next ? node->next : first_from(t, (node->hash & (t->size - 1)) + 1);
}
