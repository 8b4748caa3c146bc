#include "webhook/texts.h"

#include "kube/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct text {
        struct ktable_node node;
        size_t holders;
        char s[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ktable texts; /* under lock */

static struct text *text_of(struct ktable_node *n)
{
        return n ? ktable_entry(n, struct text, node) : NULL;
}

static struct text *add(const char *s)
{
        size_t size = strlen(s) + 1;
        struct text *t = malloc(sizeof(*t) + size);

        if (!t)
                return NULL;
        *t = (struct text){.node.key = t->s};
        memcpy(t->s, s, size);
        if (!texts.size)
                texts = ktable_new();
        if (ktable_add(&texts, &t->node) < 0) {
                free(t);
                return NULL;
        }
        return t;
}

const char *text_hold(const char *s)
{
        pthread_mutex_lock(&lock);
        struct text *t = text_of(ktable_find(&texts, s));
        if (!t)
                t = add(s);
        if (t)
                t->holders++;
        pthread_mutex_unlock(&lock);
        return t ? t->s : NULL;
}

void text_drop(const char *text)
{
        if (!text)
                return;
        pthread_mutex_lock(&lock);
        struct text *t = text_of(ktable_find(&texts, text));
        if (--t->holders == 0) {
                ktable_remove(&texts, &t->node);
                free(t);
        }
        if (!texts.count)
                ktable_free(&texts);
        pthread_mutex_unlock(&lock);
}
