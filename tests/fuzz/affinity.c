/*
 * Any JSON as a node selector: written out and read again it matches the same nodes, and so does
 * its conjunction with itself.
 */
#include "core/affinity.h"
#include "api/codec.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define ARENA_MAX ((size_t)64 << 20)
#define LABELS    16

/* Nodes that the selector has something to say about: labels of its own keys. */
static struct kvs labels_of(const struct node_selector *s, struct kv *v, int which)
{
        static const char *const NUMBERS[] = {"7", "-1", ""};
        struct kvs all = {v, 0};

        for (size_t t = 0; t < s->n; t++)
                for (size_t i = 0; i < s->v[t].exprs.n && all.n < LABELS; i++) {
                        const struct requirement *r = &s->v[t].exprs.v[i];
                        const char *value = NUMBERS[(t + i) % 3];

                        if (which == 1 && r->values.n)
                                value = r->values.v[0];
                        if (which && !kvs_get(&all, r->key))
                                v[all.n++] = (struct kv){r->key, value};
                }
        return all;
}

static bool matches(const struct node_selector *s, const struct kvs *labels)
{
        return node_selector_matches(s, true, labels, "node1");
}

static void alike(const struct node_selector *x, const struct node_selector *y)
{
        struct kv v[LABELS];

        for (int which = 0; which < 3; which++) {
                struct kvs labels = labels_of(x, v, which);
                must(matches(x, &labels) == matches(y, &labels));
        }
}

static void written_out(const struct node_selector *s, struct arena *a)
{
        struct json *j = node_selector_encode(s);
        struct node_selector again;
        struct err e;

        must(j);
        must(node_selector_decode(a, j, "again", &again, &e) == 0);
        alike(s, &again);
        must(node_selector_implies(s, &again) && node_selector_implies(&again, s));
        json_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *j = fuzz_json(data, size);
        struct arena *a = arena_new(ARENA_MAX);
        struct node_selector s, *both;
        struct err e;

        must(a);
        if (j && node_selector_decode(a, j, "selector", &s, &e) == 0) {
                written_out(&s, a);
                int rc = node_selector_and(a, &s, &s, &both);
                must(rc == 0 || rc == -E2BIG);
                if (rc == 0)
                        alike(&s, both);
        }
        arena_free(a);
        json_free(j);
        return 0;
}
