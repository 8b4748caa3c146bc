#include "extender/share.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX ((size_t)1 << 20)

/* One allocation: the struct, the pointers, the strings, the key. */
struct shared_strs {
        struct ktable_node node;
        size_t refs;
        struct strs list;
        const char *v[];
};

struct share share_new(void)
{
        return (struct share){ktable_new()};
}

void share_free(struct share *s)
{
        ktable_free(&s->table);
}

/* "3:br0,3:br7,": with the lengths no list reads as another, whatever its strings hold. */
static int write_key(struct buf *b, const struct strs *list)
{
        for (size_t i = 0; i < list->n; i++)
                buf_addf(b, "%zu:%s,", strlen(list->v[i]), list->v[i]);
        return b->failed ? b->error : 0;
}

static struct shared_strs *make(const struct strs *list, const struct buf *key)
{
        size_t pointers = list->n * sizeof(const char *);
        /* A string takes less room than its part of the key. */
        struct shared_strs *r = malloc(sizeof(*r) + pointers + key->len + key->len + 1);
        char *p;

        if (!r)
                return NULL;
        p = (char *)r->v + pointers;
        for (size_t i = 0; i < list->n; i++) {
                size_t size = strlen(list->v[i]) + 1;

                r->v[i] = memcpy(p, list->v[i], size);
                p += size;
        }
        r->node.key = memcpy(p, buf_str(key), key->len + 1);
        r->refs = 0;
        r->list = (struct strs){r->v, list->n};
        return r;
}

struct shared_strs *share_get(struct share *s, const struct strs *list)
{
        autobuf struct buf key = buf_new(KEY_MAX);
        struct ktable_node *found;
        struct shared_strs *r;

        if (write_key(&key, list) < 0)
                return NULL;
        found = ktable_find(&s->table, buf_str(&key));
        r = found ? ktable_entry(found, struct shared_strs, node) : make(list, &key);
        if (!r)
                return NULL;
        if (!found && ktable_add(&s->table, &r->node) < 0) {
                free(r);
                return NULL;
        }
        r->refs++;
        return r;
}

const struct strs *shared_strs(const struct shared_strs *r)
{
        return &r->list;
}

void share_put(struct share *s, struct shared_strs *r)
{
        if (!r || --r->refs > 0)
                return;
        ktable_remove(&s->table, &r->node);
        free(r);
}
