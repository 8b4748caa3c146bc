#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CHUNK 512 /* most cached objects are small and there are thousands */
#define LAST_CHUNK  65536

struct chunk {
        struct chunk *next;
        size_t used, size;
        max_align_t data[];
};

struct arena {
        struct chunk *head;
        size_t total, limit;
};

struct arena *arena_new(size_t limit)
{
        struct arena *a = calloc(1, sizeof(*a));

        if (a)
                a->limit = limit;
        return a;
}

void arena_free(struct arena *a)
{
        if (!a)
                return;
        for (struct chunk *c = a->head, *next; c; c = next) {
                next = c->next;
                free(c);
        }
        free(a);
}

static struct chunk *grow(struct arena *a, size_t size)
{
        size_t want = a->head ? a->head->size * 2 : FIRST_CHUNK;
        struct chunk *c;

        if (want > LAST_CHUNK)
                want = LAST_CHUNK;
        if (want < size)
                want = size;
        if (a->total + want > a->limit)
                want = size;
        if (size > a->limit || a->total > a->limit - want)
                return NULL;
        c = calloc(1, sizeof(*c) + want);
        if (!c)
                return NULL;
        c->size = want;
        c->next = a->head;
        a->head = c;
        a->total += want;
        return c;
}

static void *take(struct arena *a, size_t size, size_t align)
{
        struct chunk *c = a->head;
        size_t at;

        if (size > SIZE_MAX / 2)
                return NULL;
        at = c ? (c->used + align - 1) & ~(align - 1) : 0;
        if (!c || at > c->size || size > c->size - at) {
                c = grow(a, size ? size : 1);
                if (!c)
                        return NULL;
                at = 0;
        }
        c->used = at + size;
        return (char *)c->data + at;
}

void *arena_alloc(struct arena *a, size_t size)
{
        return take(a, size, _Alignof(max_align_t));
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
        size_t total;

        if (__builtin_mul_overflow(n, size, &total))
                return NULL;
        return arena_alloc(a, total);
}

char *arena_strdup(struct arena *a, const char *s)
{
        size_t len;
        char *p;

        if (!s)
                return NULL;
        len = strlen(s) + 1;
        p = take(a, len, 1);
        if (p)
                memcpy(p, s, len);
        return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list ap;
        int len;
        char *p;

        va_start(ap, fmt);
        len = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (len < 0)
                return NULL;
        p = take(a, (size_t)len + 1, 1);
        if (!p)
                return NULL;
        va_start(ap, fmt);
        vsnprintf(p, (size_t)len + 1, fmt, ap);
        va_end(ap);
        return p;
}

size_t arena_size(const struct arena *a)
{
        return a->total;
}
