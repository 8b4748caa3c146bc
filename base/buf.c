#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CAP_MIN 64

struct buf buf_new(size_t limit)
{
        /* one byte of every capacity is the NUL's */
        return (struct buf){.limit = limit < SIZE_MAX ? limit : SIZE_MAX - 1};
}

void buf_free(struct buf *b)
{
        free(b->data);
        *b = buf_new(b->limit);
}

void buf_reset(struct buf *b)
{
        buf_cut(b, 0);
}

static int fail(struct buf *b, int code)
{
        b->failed = true;
        b->error = code;
        return code;
}

/* Makes room for n more bytes and the NUL. */
static int reserve(struct buf *b, size_t n)
{
        if (b->failed)
                return b->error;
        if (n > b->limit - b->len)
                return fail(b, -E2BIG);
        if (b->len + n < b->cap)
                return 0;
        size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
        if (cap < CAP_MIN)
                cap = CAP_MIN;
        if (cap < b->len + n + 1)
                cap = b->len + n + 1;
        if (cap > b->limit + 1)
                cap = b->limit + 1;
        char *data = realloc(b->data, cap);
        if (!data)
                return fail(b, -ENOMEM);
        b->data = data;
        b->cap = cap;
        return 0;
}

int buf_reserve(struct buf *b, size_t size)
{
        if (size > b->limit)
                return -E2BIG;
        if (size < b->cap)
                return 0;
        char *data = realloc(b->data, size + 1);
        if (!data)
                return -ENOMEM;
        data[b->len] = 0;
        b->data = data;
        b->cap = size + 1;
        return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
        int rc = reserve(b, len);

        if (rc < 0)
                return rc;
        if (len)
                memcpy(b->data + b->len, data, len);
        b->len += len;
        b->data[b->len] = 0;
        return 0;
}

int buf_adds(struct buf *b, const char *s)
{
        return buf_add(b, s, strlen(s));
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0)
                return fail(b, -E2BIG);
        int rc = reserve(b, (size_t)n);
        if (rc < 0)
                return rc;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t)n;
        return 0;
}

int buf_add_num(struct buf *b, double v)
{
        char text[32];

        for (int digits = 15; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, v);
                if (strtod(text, NULL) == v)
                        break;
        }
        return buf_adds(b, text);
}

void buf_drop(struct buf *b, size_t n)
{
        if (n == 0)
                return;
        b->len -= n;
        memmove(b->data, b->data + n, b->len + 1);
}

void buf_cut(struct buf *b, size_t len)
{
        b->len = len;
        if (b->data)
                b->data[len] = 0;
        b->failed = false;
        b->error = 0;
}

const char *buf_str(const struct buf *b)
{
        return b->data ? b->data : "";
}
