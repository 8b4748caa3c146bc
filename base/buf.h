/*
 * Growable byte buffer with a bound given at creation. The contents are always followed by a
 * NUL that is not counted, so that data may be used as a C string. Once an append fails the
 * buffer is `failed`: later appends fail too, so a writer may check once at its end.
 */
#ifndef DROVER_BASE_BUF_H
#define DROVER_BASE_BUF_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct buf {
        char *data; /* NULL until the first append */
        size_t len;
        size_t cap;
        size_t limit;
        bool failed; /* an append did not fit or memory ran out */
        int error;   /* the code of the append that failed */
};

/* An empty buffer that never holds more than `limit` bytes. Allocates nothing. */
struct buf buf_new(size_t limit);
void buf_free(struct buf *b);

/* Empties the buffer, keeps its memory, and forgets a failure. */
void buf_reset(struct buf *b);

/* Memory for `size` bytes in all, no more, so that they come without being copied as it grows. 0,
 * -E2BIG past the limit, -ENOMEM; a failure leaves the buffer as it was. */
int buf_reserve(struct buf *b, size_t size);

/* 0, -E2BIG past the limit, -ENOMEM. On failure the contents stay as they were. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) printf_like(2, 3);

/* The shortest decimal text that reads back as v, which must be finite. */
int buf_add_num(struct buf *b, double v);

/* Removes the first n (<= len) bytes. */
void buf_drop(struct buf *b, size_t n);
/* Shortens the contents to len (<= b->len) and forgets a failure. */
void buf_cut(struct buf *b, size_t len);

/* The contents as a C string, "" when empty; valid until the next change. */
const char *buf_str(const struct buf *b);

#define autobuf cleanup(buf_free)

#endif
