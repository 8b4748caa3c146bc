/* Random selectors and labels for property tests, from a small world so that they often meet. */
#ifndef DROVER_TESTS_UNIT_SELECTOR_GEN_H
#define DROVER_TESTS_UNIT_SELECTOR_GEN_H

#include "core/affinity.h"

#include <stdlib.h>

static const char *const GEN_KEYS[] = {"a", "b", "c", "d"};
static const char *const GEN_VALUES[] = {"", "x", "y", "3", "7", "-2"};
static const char *const GEN_NODES[] = {"node1", "node2", "node3"};

static uint64_t gen_state = 0x2545f4914f6cdd1d;

/* xorshift64*: the same run each time. */
static inline size_t gen(size_t n)
{
        gen_state ^= gen_state >> 12;
        gen_state ^= gen_state << 25;
        gen_state ^= gen_state >> 27;
        return (size_t)((gen_state * 0x2545f4914f6cdd1dU) >> 33) % n;
}

#define gen_of(array) ((array)[gen(countof(array))])

static inline void *gen_alloc(struct arena *a, size_t n, size_t size)
{
        void *p = arena_array(a, n, size);

        if (!p)
                abort();
        return p;
}

static inline struct strs gen_values(struct arena *a, size_t n, bool names)
{
        struct strs s = {gen_alloc(a, n, sizeof(*s.v)), n};

        for (size_t i = 0; i < n; i++)
                s.v[i] = names ? gen_of(GEN_NODES) : gen_of(GEN_VALUES);
        return s;
}

/* Mostly sound; one in ten is malformed, which matches nothing. */
static inline struct requirement gen_requirement(struct arena *a, bool field)
{
        struct requirement r = {.key = field ? "metadata.name" : gen_of(GEN_KEYS),
                                .op = (enum selector_op)gen(field ? 2 : OP_BAD)};

        switch (r.op) {
        case OP_IN:
        case OP_NOT_IN:
                r.values = gen_values(a, field ? 1 : 1 + gen(3), field);
                break;
        case OP_GT:
        case OP_LT:
                r.values = gen_values(a, 1, false);
                break;
        default:
                break;
        }
        if (gen(10) == 0) {
                r.values = gen_values(a, gen(3), field);
                r.op = (enum selector_op)gen(OP_BAD + 1);
        }
        r.op_text = r.op == OP_BAD ? "Near" : selector_op_name(r.op);
        return r;
}

static inline struct requirements gen_requirements(struct arena *a, size_t n, bool fields)
{
        struct requirements r = {gen_alloc(a, n, sizeof(*r.v)), n};

        for (size_t i = 0; i < n; i++)
                r.v[i] = gen_requirement(a, fields);
        return r;
}

static inline struct node_selector gen_selector(struct arena *a, size_t most_terms)
{
        struct node_selector s = {.n = gen(most_terms + 1)};

        s.v = gen_alloc(a, s.n, sizeof(*s.v));
        for (size_t i = 0; i < s.n; i++) {
                s.v[i].exprs = gen_requirements(a, gen(4), false);
                s.v[i].fields = gen_requirements(a, gen(4) == 0, true);
        }
        return s;
}

static inline struct kvs gen_labels(struct arena *a)
{
        struct kvs m = {gen_alloc(a, countof(GEN_KEYS), sizeof(*m.v)), 0};

        for (size_t i = 0; i < countof(GEN_KEYS); i++)
                if (gen(3))
                        m.v[m.n++] = (struct kv){GEN_KEYS[i], gen_of(GEN_VALUES)};
        return m;
}

#endif
