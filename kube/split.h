/*
 * Cuts the two streams an API server sends into JSON texts, each handed on once, when it is
 * complete: a watch (one object a line) and a list (the elements of "items", and "metadata").
 * Memory is bounded by one object, whatever the length of the stream.
 */
#ifndef DROVER_KUBE_SPLIT_H
#define DROVER_KUBE_SPLIT_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* A negative result ends the feeding and is its result. */
typedef int kube_text_fn(void *ctx, const char *text, size_t len, struct err *e);

struct kube_lines {
        struct buf part; /* the beginning of a line that has not ended */
};
struct kube_lines kube_lines_new(size_t max);
void kube_lines_free(struct kube_lines *l);
/* -E2BIG for a line longer than max; blank lines are skipped. */
must_check int kube_lines_feed(struct kube_lines *l, const char *data, size_t len,
                               kube_text_fn *line, void *ctx, struct err *e);

struct kube_items {
        int state; /* of items.c */
        int depth; /* inside the value being read */
        bool string, escape, scalar;
        bool item;  /* the value being read is an element of "items" */
        bool first; /* nothing yet in this object or array */
        char key[16];
        size_t key_len;
        struct buf part; /* the beginning of a wanted value */
        kube_text_fn *on_item, *on_metadata;
        void *ctx;
};
struct kube_items kube_items_new(size_t max, kube_text_fn *on_item, kube_text_fn *on_metadata,
                                 void *ctx);
void kube_items_free(struct kube_items *s);
/* -EBADMSG for what is not a list, -E2BIG for an object larger than max. */
must_check int kube_items_feed(struct kube_items *s, const char *data, size_t len, struct err *e);
/* True when the list has ended. */
bool kube_items_done(const struct kube_items *s);

#endif
