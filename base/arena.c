/*
 * A list of blocks; aligned objects fill a block from below, strings, which need no alignment,
 * from above. The first block is part of the arena, so that a small object costs one allocation;
 * a further one is half of what was taken before, so that at most a third lies unused.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BLOCK 448 /* with the headers half a KiB */
#define BLOCK_MIN   512
#define BLOCK_MAX   ((size_t)64 << 10)
#define ALIGN       alignof(max_align_t)

struct block {
        struct block *next;
        size_t lo, hi; /* data[lo..hi) is free */
        alignas(ALIGN) char data[];
};

struct arena {
        size_t room;  /* bytes that blocks may yet hold */
        size_t taken; /* from the system */
        struct block *head;
        struct block first;
};

struct arena *arena_new(size_t limit)
{
        size_t size = limit < FIRST_BLOCK ? limit : FIRST_BLOCK;
        struct arena *a = calloc(1, sizeof(*a) + size);

        if (!a)
                return NULL;
        a->room = limit - size;
        a->taken = sizeof(*a) + size;
        a->head = &a->first;
        a->first.hi = size;
        return a;
}

void arena_free(struct arena *a)
{
        if (!a)
                return;
        for (struct block *b = a->head, *next; b; b = next) {
                next = b->next;
                if (b != &a->first)
                        free(b);
        }
        free(a);
}

static size_t left(const struct block *b)
{
        return b->hi - b->lo;
}

/* A new block with at least `need` bytes. */
static struct block *grow(struct arena *a, size_t need)
{
        size_t size = a->taken / 2;

        if (need > a->room)
                return NULL;
        if (size < BLOCK_MIN)
                size = BLOCK_MIN;
        if (size > BLOCK_MAX)
                size = BLOCK_MAX;
        if (size > a->room)
                size = a->room;
        if (size < need)
                size = need;
        if (size > SIZE_MAX - sizeof(struct block))
                return NULL;
        struct block *b = calloc(1, sizeof(*b) + size);
        if (!b)
                return NULL;
        b->hi = size;
        a->room -= size;
        a->taken += sizeof(*b) + size;
        /* what has more left afterwards stays or comes in front */
        struct block **at = size - need > left(a->head) ? &a->head : &a->head->next;
        b->next = *at;
        *at = b;
        return b;
}

/* A block that has n bytes free. */
static struct block *with_room(struct arena *a, size_t n)
{
        return n <= left(a->head) ? a->head : grow(a, n);
}

void *arena_alloc(struct arena *a, size_t size)
{
        struct block *b = size <= SIZE_MAX - ALIGN ? with_room(a, size) : NULL;

        if (!b)
                return NULL;
        void *p = b->data + b->lo;
        size_t end = (b->lo + size + ALIGN - 1) / ALIGN * ALIGN;
        b->lo = end < b->hi ? end : b->hi;
        return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
        size_t total;

        return __builtin_mul_overflow(n, size, &total) ? NULL : arena_alloc(a, total);
}

/* Room for a string of n bytes and its NUL. */
static char *string_alloc(struct arena *a, size_t n)
{
        struct block *b = with_room(a, n + 1);

        if (!b)
                return NULL;
        b->hi -= n + 1;
        return b->data + b->hi;
}

char *arena_strdup(struct arena *a, const char *s)
{
        if (!s)
                return NULL;
        size_t n = strlen(s);
        char *p = string_alloc(a, n);
        return p ? memcpy(p, s, n + 1) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        char *p = n < 0 ? NULL : string_alloc(a, (size_t)n);
        if (!p)
                return NULL;
        va_start(ap, fmt);
        vsnprintf(p, (size_t)n + 1, fmt, ap);
        va_end(ap);
        return p;
}

size_t arena_size(const struct arena *a)
{
        return a->taken;
}
