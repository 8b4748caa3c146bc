#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAP 256

struct buf buf_new(size_t limit)
{
        return (struct buf){.limit = limit};
}

void buf_free(struct buf *b)
{
        free(b->data);
        *b = buf_new(b->limit);
}

void buf_reset(struct buf *b)
{
        b->len = 0;
        b->failed = false;
        if (b->data)
                b->data[0] = 0;
}

/* Room for `more` bytes and the final NUL. */
static int reserve(struct buf *b, size_t more)
{
        size_t need, cap;
        char *p;

        if (b->failed || b->len > b->limit || more > b->limit - b->len) {
                b->failed = true;
                return -E2BIG;
        }
        need = b->len + more + 1;
        if (need <= b->cap)
                return 0;
        cap = b->cap ? b->cap : FIRST_CAP;
        while (cap < need)
                cap = cap > b->limit / 2 ? b->limit + 1 : cap * 2;
        p = realloc(b->data, cap);
        if (!p) {
                b->failed = true;
                return -ENOMEM;
        }
        b->data = p;
        b->cap = cap;
        return 0;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
        int rc = reserve(b, len);

        if (rc)
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
        int len, rc;

        va_start(ap, fmt);
        len = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (len < 0) {
                b->failed = true;
                return -EINVAL;
        }
        rc = reserve(b, (size_t)len);
        if (rc)
                return rc;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t)len;
        return 0;
}

void buf_drop(struct buf *b, size_t n)
{
        if (!b->data)
                return;
        memmove(b->data, b->data + n, b->len - n + 1);
        b->len -= n;
}

const char *buf_str(const struct buf *b)
{
        return b->data ? b->data : "";
}
