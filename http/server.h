/*
 * HTTPS/1.1 server over libmicrohttpd (whose TLS is GnuTLS), with the limits a component on a
 * cluster network needs (below): connections (where there are too many, those that do least make
 * room, see crowd.c), header and body size, body bytes held by all requests together, request time.
 * Serves /healthz, /readyz and /metrics by itself (the last as application/openmetrics-text).
 * Certificates, keys and client CAs are re-read from disk within a second of their change, without
 * a restart and without failing a request.
 */
#ifndef DROVER_HTTP_SERVER_H
#define DROVER_HTTP_SERVER_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HTTP_CONNECTIONS  512                /* unless configured otherwise */
#define HTTP_HEADER_MAX   ((size_t)64 << 10) /* request line and headers */
#define HTTP_SMALL_BODY   ((size_t)64 << 10) /* up to here a body is its connection's affair */
#define HTTP_LARGE_BODIES 8 /* of the largest size, held by all larger ones together */
#define HTTP_DRAIN_MAX    ((size_t)16 << 20) /* bytes of a refused body that are read and dropped */

struct http_server;

struct http_config {
        const char *address;    /* "0.0.0.0" or "::", NULL for both families */
        uint16_t port;          /* 0 picks a free one, see http_server_port */
        const char *cert, *key; /* PEM files; both NULL: plain HTTP (tests and health ports only) */
        const char *client_ca; /* PEM file: require and verify a client certificate; NULL: do not */
        unsigned threads;      /* worker threads, 0 means 2 */
        unsigned slow_threads; /* for handlers that answer `later`; 0: workers run those too */
        unsigned max_connections; /* 0 means HTTP_CONNECTIONS */
        size_t max_body;          /* bytes of a request body, 0 means 8 MiB */
        unsigned idle_seconds;    /* keep-alive idle, 0 means 120 (above kube's 90) */
        unsigned request_seconds; /* a handshake, or a request from its first line to its answer; 0:
                                     30 */
        /*
         * Told, with the server's ctx, when the certificate files changed and could not be used
         * (the ones before stay in use). Once for each different reason. NULL: do not.
         */
        void (*trouble)(void *ctx, const struct err *e);
};

struct http_request {
        const char *method, *path, *query; /* query without '?', "" when none */
        const char *content_type;          /* "" when absent */
        const char *body;
        size_t body_len;
        const char *peer_cn; /* common name of the verified client certificate, NULL when none */
        bool may_block;      /* false on a worker thread, which serves others too: see `later` */
};

struct http_reply {
        unsigned status;          /* preset to 200 */
        const char *content_type; /* preset to "application/json"; must be a constant string */
        struct buf body;          /* preset empty, bounded by 64 MiB */
        unsigned retry_after;     /* seconds, 0: no header */
        /*
         * Instead of an answer: the handler would have to wait, or to work for long. It is called
         * again, with may_block, on one of the slow threads. While all of these are busy, a few
         * requests wait for a second, and any others are answered 503 with Retry-After.
         */
        bool later;
};

/* Must be quick unless the request may_block. */
typedef void (*http_handler)(void *ctx, const struct http_request *req, struct http_reply *rep);

/*
 * Starts the server; routes are exact paths. `ctx` and `routes` must outlive it. What is posted
 * must be application/json; anything else is answered 415.
 */
struct http_route {
        const char *method, *path;
        http_handler handle;
};
must_check int http_server_start(const struct http_config *cfg, const struct http_route *routes,
                                 size_t n, void *ctx, struct http_server **out, struct err *e);
uint16_t http_server_port(const struct http_server *s);
/* What /readyz says; not ready (503) at start. /healthz is always 200 while the server answers. */
void http_server_ready(struct http_server *s, bool ready);
/*
 * Graceful end: /readyz turns 503 at once, requests go on being served for `linger_ms` (the time
 * the endpoints need to forget us, kubernetes#127335), each with "Connection: close" so that
 * clients turn to another replica, then running ones are finished within `drain_ms` and the server
 * is freed; a handler that runs is waited for all the same. NULL is fine.
 */
void http_server_stop(struct http_server *s, unsigned linger_ms, unsigned drain_ms);

/* Fills rep with a JSON {"error": msg} and the status. */
void http_reply_error(struct http_reply *rep, unsigned status, const char *msg);

#endif
