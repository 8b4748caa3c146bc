/*
 * What a watch says and does next, without I/O, clock or randomness of its own:
 *
 *   LISTING --page with "continue"--> LISTING --last page--> WATCHING --end--> WATCHING
 *      ^------------- 410, an event that cannot be read, several failures -------'
 *
 * A watch in which nothing changes may be silent for its whole life: an API server sends bookmarks
 * only once there has been an event since the watch began (kube-apiserver 1.36, seen). So the shell
 * ends a silent watch after a while and a new one from the same place shows that the server is
 * there.
 *
 * The shell (watch.c) sends the request that kube_reflect_url names, passes the bytes of the
 * answer to kube_reflect_data and its end to kube_reflect_end, which says how long to wait before
 * the next one.
 */
#ifndef DROVER_KUBE_REFLECT_H
#define DROVER_KUBE_REFLECT_H

#include "kube/backoff.h"
#include "kube/client.h"
#include "kube/split.h"
#include "kube/table.h"

#include <stdatomic.h>

#define KUBE_RV_MAX       64
#define KUBE_CONTINUE_MAX ((size_t)16 << 10)
/* Watches in a row that a server answered and failed, before a new list. */
#define KUBE_WATCH_RETRIES 5

enum kube_phase { KUBE_LISTING, KUBE_WATCHING };

struct kube_reflect {
        const struct kube_watch_config *cfg;
        enum kube_phase phase; /* the request under way, or the next one */
        char rv[KUBE_RV_MAX];  /* watch from here; of the first page while listing */
        struct buf page;       /* "continue" of the page to ask for; empty: the first */
        struct buf page_after; /* ... of the one after it, as far as known */
        bool page_first, page_last;
        struct kube_items items;
        struct kube_lines lines;
        struct ktable known; /* keys reported and not deleted; empty when cfg keeps them itself */
        unsigned generation; /* of the list that is being read */
        struct backoff backoff;
        int64_t healthy_ms;
        int failed_watches;
        uint64_t heard; /* objects, bookmarks and ends of pages so far */
        _Atomic bool synced;
};

/* How a request ended. */
struct kube_reflect_end {
        int http;               /* 0: no answer */
        int code;               /* 0, or why there is no whole answer: err says it */
        const struct err *err;  /* with code < 0 or an http that is not 2xx */
        int64_t retry_after_ms; /* 0: not named */
        int64_t lived_ms;       /* since the request was sent */
};

/* cfg must outlive it. */
void kube_reflect_init(struct kube_reflect *r, const struct kube_watch_config *cfg,
                       struct backoff backoff, int64_t healthy_ms);
void kube_reflect_free(struct kube_reflect *r);
/* The URL of the next request. */
must_check int kube_reflect_url(struct kube_reflect *r, const char *server, uint64_t random,
                                struct buf *url, struct err *e);
/* Bytes of a 2xx body. A failure ends the request; kube_reflect_end is told of it. */
must_check int kube_reflect_data(struct kube_reflect *r, const char *data, size_t len,
                                 struct err *e);
/* Milliseconds until the next request; calls cfg's synced and error. */
int64_t kube_reflect_end(struct kube_reflect *r, const struct kube_reflect_end *end,
                         uint64_t random);

#endif
