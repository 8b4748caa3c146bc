/* What the files of http/ share. */
#ifndef DROVER_HTTP_INTERNAL_H
#define DROVER_HTTP_INTERNAL_H

#include "base/metrics.h"
#include "base/mono.h"
#include "http/server.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define CN_MAX  256
#define TICK_MS 500 /* deadlines and certificate files are looked at this often */

/* --- tls.c: the files and what was last read from them */

struct tls;
struct tls_set; /* one consistent reading of certificate, key and client CA; reference counted */

/* ca may be NULL. */
int tls_new(const char *cert, const char *key, const char *ca, struct tls **out, struct err *e);
void tls_free(struct tls *t);
/* Reads the files again if they are others than the ones in use; the old set stays on failure. */
int tls_refresh(struct tls *t, struct err *e);
struct tls_set *tls_get(struct tls *t);
void tls_put(struct tls_set *set); /* NULL is fine */
bool tls_wants_client(const struct tls *t);

/* --- handshake.c: what GnuTLS asks during a handshake */

struct conn;
/* Attaches c to the session before its handshake. */
void handshake_prepare(struct conn *c, gnutls_session_t session, bool want_client);
int handshake_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int nca,
                          const gnutls_pk_algorithm_t *algos, int nalgos, gnutls_pcert_st **chain,
                          unsigned *n, gnutls_privkey_t *key);

/* The parts of a set. */
gnutls_pcert_st *tls_chain(struct tls_set *set, unsigned *n);
gnutls_privkey_t tls_key(const struct tls_set *set);
gnutls_x509_trust_list_t tls_trust(const struct tls_set *set, size_t i); /* NULL past the last */

/* --- conn.c: the open connections and how long each may take for what it is at */

enum conn_phase {
        CONN_IDLE, /* in its handshake or without a request: nothing is lost with it */
        CONN_PEER, /* the client brings its request or takes its answer */
        CONN_OURS, /* we work for it */
};

struct conn {
        struct conn *next, **link;
        struct http_server *server;
        int fd;
        _Atomic int64_t deadline; /* monotonic ns; past it the connection is cut */
        _Atomic int64_t since;    /* monotonic ns: when its phase began */
        atomic_int phase;         /* enum conn_phase */
        atomic_bool large;        /* holds a share of the memory of large bodies */
        struct home *home;        /* under the server's lock, NULL once it is dropped */
        bool dropped;             /* to make room; under the server's lock */
        struct tls_set *tls;      /* of its handshake, held while GnuTLS may use it */
        char cn[CN_MAX];          /* of the verified client certificate, "" without */
};

/* MHD_NotifyConnectionCallback; cls is the server. */
void conn_notify(void *cls, struct MHD_Connection *c, void **context,
                 enum MHD_ConnectionNotificationCode what);
struct conn *conn_of(struct MHD_Connection *c);
void conn_idle(struct conn *c);
void conn_busy(struct conn *c); /* a request has begun: its time runs */
void conn_phase(struct conn *c, enum conn_phase phase);
/* Cuts the ones past their deadline and has workers notice peers that have gone. */
void conns_tend(struct http_server *s, struct mono now);
/* Ends the input of all; true when there are none left. */
bool conns_hang_up(struct http_server *s);

/* --- crowd.c: who makes room for others */

#define HOME_BITS 10
struct home { /* the connections of one address */
        struct home *next, **link;
        uint64_t owner;
        unsigned conns; /* dropped ones apart */
};
/* With the server's lock held: counts c, and drops it or another where there are too many. */
void crowd_join(struct http_server *s, struct conn *c, const struct sockaddr *from);
/* With the server's lock held. */
void crowd_leave(struct http_server *s, struct conn *c);
/* Large bodies have no memory left: drops the one that takes the longest, if that is too long. */
void crowd_press(struct http_server *s);

/* --- pool.c: the slow threads */

struct job {
        struct job *next;
        struct mono since; /* when it was taken */
        struct MHD_Connection *connection;
        void (*run)(struct job *j, bool run); /* run false: too late, answer so */
};
struct pool;
int pool_start(unsigned threads, struct pool **out);
/*
 * Takes a job and suspends its connection until it has run; false when there is no room. To be
 * called by the connection's worker.
 */
bool pool_take(struct pool *p, struct job *j);
/* What waits is answered, what runs is waited for; nothing is taken any more. NULL is fine. */
void pool_end(struct pool *p);
void pool_free(struct pool *p); /* after its end; NULL is fine */

/* --- request.c: from the request line to the answer */

void *request_begin(void *cls, const char *uri, struct MHD_Connection *c);
enum MHD_Result request_access(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *len, void **context);
void request_completed(void *cls, struct MHD_Connection *c, void **context,
                       enum MHD_RequestTerminationCode why);

/* --- route.c: who answers what */

struct http_target {
        http_handler handle; /* NULL: nobody, see status */
        void *ctx;
        const char *label; /* for metrics: the path, or "other" */
        unsigned status;   /* 404 or 405, and the text that goes with it */
        const char *why;
        const char *allow; /* method to name in a 405 */
};
struct http_target route_find(struct http_server *s, const char *method, const char *path);

/* --- listen.c */

int listen_socket(const char *address, uint16_t port, uint16_t *bound, struct err *e);

struct http_server {
        struct MHD_Daemon *daemon;
        const struct http_route *routes;
        size_t nroutes;
        void *ctx;
        void (*trouble)(void *ctx, const struct err *e);
        size_t max_body;
        unsigned idle_ms, request_ms;
        uint16_t port;
        struct tls *tls; /* NULL: plain HTTP */

        atomic_bool ready, stopping;
        atomic_uint active;         /* requests between their first line and their completion */
        _Atomic size_t large_bytes; /* held for bodies that are large */
        atomic_bool untidy;         /* some were given back since the heap was trimmed */
        struct pool *pool;          /* NULL: none */

        pthread_mutex_t lock; /* the connections and closing */
        struct conn *conns;
        unsigned nconns, max_conns; /* dropped ones apart, which are about to go */
        struct home *homes[1 << HOME_BITS];
        bool closing;
        pthread_cond_t wake;
        pthread_t housekeeper;

        struct metric *responses, *seconds, *drops, *slow;
};

#endif
