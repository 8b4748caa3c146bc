/*
 * The client's I/O thread: one curl multi handle, transfers, timers and tasks. Everything here but
 * kube_io_post and kube_io_call is for that thread alone.
 */
#ifndef DROVER_KUBE_IO_H
#define DROVER_KUBE_IO_H

#include "base/buf.h"
#include "base/mono.h"
#include "kube/client.h"
#include "kube/token.h"

#include <curl/curl.h>
#include <pthread.h>

/* Work for the I/O thread. The struct is the caller's and must live until run is called. */
struct kube_task {
        struct kube_task *next;
        void (*run)(struct kube_task *t);
};

struct kube_timer {
        struct kube_timer *next;
        struct mono at;
        bool armed;
        void (*fire)(struct kube_timer *t);
};

/* One HTTP request and its answer. */
struct kube_transfer {
        /* What is asked; set before kube_transfer_start and left alone until done. */
        struct kube_client *client;
        const char *method;
        const char *url;
        const char *accept;       /* NULL: application/json */
        const char *content_type; /* with a body */
        const char *body;         /* NULL: none */
        size_t body_len;
        int64_t deadline_ms; /* for all of it */
        struct mono until;   /* nothing is sent later, nor waited for; .ns 0: no such limit */
        int64_t answer_ms;   /* until the answer's header; 0: no limit but the deadline */
        int64_t silence_ms;  /* without a byte after it; 0: likewise */
        /* The answer's header has come, and it is a 2xx; may be NULL. */
        void (*answered)(struct kube_transfer *t);
        /* Bytes of a 2xx body as they come; a negative result ends the transfer and is its code. */
        int (*sink)(struct kube_transfer *t, const char *data, size_t len, struct err *e);
        void (*done)(struct kube_transfer *t); /* at the end; not called after a cancel */

        /* The answer. */
        int http;               /* 0 before there is one */
        int code;               /* 0 or why there is no whole answer */
        struct err err;         /* with code */
        int64_t retry_after_ms; /* 0: the server named none */
        struct buf problem;     /* beginning of the body of an answer that is not 2xx */

        /* Of transfer.c. */
        struct kube_transfer *next;
        CURL *easy;
        struct curl_slist *headers;
        size_t header_bytes;
        bool has_header;
        struct mono started, heard;
        struct kube_timer timer;
        bool token_retried;
        char curl_error[CURL_ERROR_SIZE];
};

/* Times, so that tests need not wait for them. */
struct kube_tuning {
        int64_t connect_ms;
        int64_t request_ms;       /* a synchronous call, retries included */
        int64_t page_ms;          /* a page of a reflector's list */
        int64_t answer_ms;        /* a reflector's request until the header of its answer */
        int64_t page_silence_ms;  /* a page without a byte */
        int64_t watch_silence_ms; /* bookmarks come about each minute, but not while nothing changes
                                   */
        int64_t healthy_ms;       /* a watch that lived this long resets the backoff */
        int64_t backoff_min_ms, backoff_max_ms;
        int64_t token_age_ms;
};

struct kube_client {
        struct kube_config cfg;
        struct kube_tuning tune; /* changed by tests only, before the first request */
        char *user_agent;

        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t cond; /* a call's task has run, a caller has left, or the client stops */
        int callers;         /* inside synchronous calls */
        struct kube_task *tasks, **tasks_end;
        bool stopping;

        /* The I/O thread's own. */
        CURLM *multi;
        struct kube_transfer *transfers;
        struct kube_timer *timers;
        struct kube_watch *watches;
        struct kube_token token;
        bool suspect; /* a connection went silent: the next transfer opens one of its own */
};

/* io.c */
must_check int kube_io_start(struct kube_client *c, struct err *e);
/* Ends the thread; transfers under way end with -ECANCELED. Returns when no caller is inside. */
void kube_io_stop(struct kube_client *c);
/*
 * Around all that a caller's thread does with a client, so that it is not freed beneath. -ECANCELED
 * once the client stops, -EDEADLK on the I/O thread itself.
 */
must_check int kube_io_enter(struct kube_client *c);
void kube_io_leave(struct kube_client *c);
/* False when the client stops meanwhile. */
bool kube_io_sleep(struct kube_client *c, int64_t ms);
/* Has t run on the I/O thread. -ECANCELED once the client stops. */
must_check int kube_io_post(struct kube_client *c, struct kube_task *t);
/* Enters, posts, waits until t ran, and leaves. */
must_check int kube_io_call(struct kube_client *c, struct kube_task *t);
void kube_timer_set(struct kube_client *c, struct kube_timer *t, struct mono at);
void kube_timer_clear(struct kube_client *c, struct kube_timer *t);

/* transfer.c */
void kube_transfer_start(struct kube_transfer *t);
/* Takes a transfer back before it is done; fine for one that is not under way. */
void kube_transfer_cancel(struct kube_transfer *t);
/* As cancel, and then done is called with this error. */
void kube_transfer_fail(struct kube_transfer *t, const struct err *e);
void kube_transfer_finish(struct kube_transfer *t, CURLcode result);
void kube_transfer_free(struct kube_transfer *t);

/* watch.c: stops all watches of a client whose thread ends, and frees them. */
void kube_watches_end(struct kube_client *c);

#endif
