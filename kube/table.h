/*
 * Hash table of nodes that live inside the caller's own structs, keyed by strings that the caller
 * keeps alive while the node is in the table. Not thread safe.
 */
#ifndef DROVER_KUBE_TABLE_H
#define DROVER_KUBE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct ktable_node {
        struct ktable_node *next;
        const char *key;
        uint64_t hash;
};

struct ktable {
        struct ktable_node **slots;
        size_t count;
        size_t size; /* a power of two, 0 before the first node */
        uint64_t seed;
};

/* Empty; allocates nothing. */
struct ktable ktable_new(void);
/* Forgets the nodes, which stay the caller's. */
void ktable_free(struct ktable *t);

/* node->key must not be present. 0 or -ENOMEM (only ever for the first node). */
int ktable_add(struct ktable *t, struct ktable_node *node);
struct ktable_node *ktable_find(const struct ktable *t, const char *key);
void ktable_remove(struct ktable *t, struct ktable_node *node);

/*
 * All nodes in no order: for (n = ktable_first(t); n; n = ktable_after(t, n)). To remove while
 * walking, ask for the node after first.
 */
struct ktable_node *ktable_first(const struct ktable *t);
struct ktable_node *ktable_after(const struct ktable *t, const struct ktable_node *node);

#define ktable_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
