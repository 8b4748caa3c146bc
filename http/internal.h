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

struct conn {
        struct conn *next, **link;
        struct http_server *server;
        int fd;
        _Atomic int64_t deadline; /* monotonic ns; past it the connection is cut */
        struct tls_set *tls;      /* of its handshake, held while GnuTLS may use it */
        char cn[CN_MAX];          /* of the verified client certificate, "" without */
};

/* MHD_NotifyConnectionCallback; cls is the server. */
void conn_notify(void *cls, struct MHD_Connection *c, void **context,
                 enum MHD_ConnectionNotificationCode what);
struct conn *conn_of(struct MHD_Connection *c);
void conn_idle(struct conn *c);
void conn_busy(struct conn *c);
/* Cuts the ones past their deadline and has workers notice peers that have gone. */
void conns_tend(struct http_server *s, struct mono now);
/* Ends the input of all; true when there are none left. */
bool conns_hang_up(struct http_server *s);

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
        unsigned status;   /* 404 or 405 */
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
        atomic_uint active;        /* requests between their first line and their completion */
        _Atomic size_t body_bytes; /* held by them */

        pthread_mutex_t lock; /* conns and closing */
        struct conn *conns;
        bool closing;
        pthread_cond_t wake;
        pthread_t housekeeper;

        struct metric *responses, *seconds;
};

#endif
