#include "http/internal.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define HANG_UP_MS                                                                                 \
        1000            /* for clients that do not read their answer; workers need no more than 2  \
                         */
#define DYING        16 /* dropped connections that a worker has still to close */
#define TLS_VERSIONS "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static void nap(unsigned ms)
{
        struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

        while (nanosleep(&t, &t) < 0 && errno == EINTR)
                ;
}

/* Tells each different trouble once. */
static void refresh(struct http_server *s, struct err *last)
{
        struct err e;

        if (tls_refresh(s->tls, &e) == 0) {
                last->msg[0] = 0;
                return;
        }
        if (s->trouble && strcmp(e.msg, last->msg) != 0)
                s->trouble(s->ctx, &e);
        *last = e;
}

/*
 * Large bodies, and what is made of them, leave holes all over the heap, which malloc keeps. (Where
 * memory is locked the system does not take it back; then it waits for the next ones.)
 */
static void tidy(struct http_server *s)
{
        if (atomic_load(&s->large_bytes) == 0 && atomic_exchange(&s->untidy, false))
                malloc_trim(0);
}

static void *housekeeping(void *arg)
{
        struct http_server *s = arg;
        struct err last = {0};

        pthread_mutex_lock(&s->lock);
        while (!s->closing) {
                struct mono next = mono_add_ms(mono_now(), TICK_MS);
                struct timespec t = {.tv_sec = next.ns / 1000000000,
                                     .tv_nsec = next.ns % 1000000000};
                pthread_cond_timedwait(&s->wake, &s->lock, &t);
                pthread_mutex_unlock(&s->lock);
                conns_tend(s, mono_now());
                tidy(s);
                if (s->tls)
                        refresh(s, &last);
                pthread_mutex_lock(&s->lock);
        }
        pthread_mutex_unlock(&s->lock);
        return NULL;
}

/* With all signals blocked: they are the main program's. */
static int start_housekeeping(struct http_server *s)
{
        sigset_t all, old;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int rc = -pthread_create(&s->housekeeper, NULL, housekeeping, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return rc;
}

static void stop_housekeeping(struct http_server *s)
{
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->housekeeper, NULL);
}

static void server_free(struct http_server *s)
{
        pool_free(s->pool);
        tls_free(s->tls);
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

static struct http_server *server_new(const struct http_config *cfg)
{
        struct http_server *s = calloc(1, sizeof(*s));
        pthread_condattr_t attr;

        if (!s)
                return NULL;
        pthread_mutex_init(&s->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&s->wake, &attr);
        pthread_condattr_destroy(&attr);
        s->max_body = cfg->max_body ? cfg->max_body : (size_t)8 << 20;
        s->idle_ms = 1000 * (cfg->idle_seconds ? cfg->idle_seconds : 120);
        s->request_ms = 1000 * (cfg->request_seconds ? cfg->request_seconds : 30);
        s->max_conns = cfg->max_connections ? cfg->max_connections : HTTP_CONNECTIONS;
        s->trouble = cfg->trouble;
        s->responses = metric_counter("drover_http_responses", "HTTP responses by status.", "code");
        s->seconds = metric_histogram("drover_http_request_seconds",
                                      "From the request line to the answer, by path.", "path",
                                      (const double[]){.0001, .00025, .0005, .001, .0025, .005, .01,
                                                       .025, .1, .5, 1, 5, 30},
                                      13);
        s->drops = metric_counter("drover_http_dropped",
                                  "Connections ended to make room for others, by what they did.",
                                  "why");
        s->slow = metric_counter("drover_http_slow",
                                 "Requests handed to the slow threads, by what became of them.",
                                 "result");
        return s;
}

static int start_daemon(struct http_server *s, const struct http_config *cfg, int fd)
{
        unsigned threads = cfg->threads ? cfg->threads : 2;
        unsigned connections = threads * (s->max_conns + DYING); /* which it divides by threads */
        /* not epoll: 0.9.75's quiesce races with its workers for the listening socket, and aborts
         */
        unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                         (s->tls ? MHD_USE_TLS : 0U);
        struct MHD_OptionItem tls[] = {
                {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)handshake_certificate},
                {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_VERSIONS},
                {MHD_OPTION_END, 0, NULL},
        };

        s->daemon = MHD_start_daemon(
                flags, 0, NULL, NULL, request_access, s, MHD_OPTION_LISTEN_SOCKET, fd,
                MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0U,
                MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                HTTP_HEADER_MAX, MHD_OPTION_CONNECTION_TIMEOUT, 0U, /* see conn.c */
                MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, s,
                MHD_OPTION_URI_LOG_CALLBACK, request_begin, s, MHD_OPTION_NOTIFY_COMPLETED,
                request_completed, s, s->tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls,
                MHD_OPTION_END);
        return s->daemon ? 0 : errno ? -errno : -EIO;
}

static int start_threads(struct http_server *s, const struct http_config *cfg)
{
        int rc = cfg->slow_threads ? pool_start(cfg->slow_threads, &s->pool) : 0;

        if (rc == 0)
                rc = start_housekeeping(s);
        if (rc < 0)
                pool_end(s->pool);
        return rc;
}

/* From here on there is something to serve with; all that starts is stopped again on failure. */
static int run(struct http_server *s, const struct http_config *cfg, struct err *e)
{
        int fd = listen_socket(cfg->address, cfg->port, &s->port, e);

        if (fd < 0)
                return fd;
        int rc = start_threads(s, cfg);
        if (rc < 0) {
                close(fd);
                return err_sys(e, rc, "start the HTTP server");
        }
        errno = 0;
        rc = start_daemon(s, cfg, fd);
        if (rc < 0) {
                stop_housekeeping(s);
                pool_end(s->pool);
                if (fcntl(fd, F_GETFD) >= 0) /* microhttpd closes it in some cases of failure */
                        close(fd);
                return err_sys(e, rc, "start the HTTP server");
        }
        return 0;
}

int http_server_start(const struct http_config *cfg, const struct http_route *routes, size_t n,
                      void *ctx, struct http_server **out, struct err *e)
{
        if (!cfg->cert != !cfg->key || (cfg->client_ca && !cfg->cert))
                return err_set(e, -EINVAL, "TLS needs a certificate and a key");
        struct http_server *s = server_new(cfg);
        if (!s)
                return err_sys(e, -ENOMEM, "start the HTTP server");
        s->routes = routes;
        s->nroutes = n;
        s->ctx = ctx;
        int rc = cfg->cert ? tls_new(cfg->cert, cfg->key, cfg->client_ca, &s->tls, e) : 0;
        if (rc == 0)
                rc = run(s, cfg, e);
        if (rc < 0) {
                server_free(s);
                return rc;
        }
        *out = s;
        return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
        return s->port;
}

void http_server_ready(struct http_server *s, bool ready)
{
        atomic_store(&s->ready, ready);
}

/*
 * Connections are ended before microhttpd is stopped: 0.9.75 reads through a NULL when it answers a
 * malformed request at that moment (MHD_queue_response succeeds without keeping the response).
 */
void http_server_stop(struct http_server *s, unsigned linger_ms, unsigned drain_ms)
{
        if (!s)
                return;
        atomic_store(&s->stopping, true);
        nap(linger_ms);
        int fd = MHD_quiesce_daemon(s->daemon);
        if (fd >= 0) /* refuses from now on; closed when no worker can be at it any more */
                shutdown(fd, SHUT_RDWR);
        struct mono end = mono_add_ms(mono_now(), drain_ms);
        while (atomic_load(&s->active) && mono_ms_between(mono_now(), end) > 0)
                nap(2);
        pool_end(s->pool); /* resumes what it has, else microhttpd cannot be stopped */
        end = mono_add_ms(mono_now(), HANG_UP_MS);
        do
                nap(2);
        while (!conns_hang_up(s) && mono_ms_between(mono_now(), end) > 0);
        MHD_stop_daemon(s->daemon);
        stop_housekeeping(s);
        if (fd >= 0)
                close(fd);
        server_free(s);
}

void http_reply_error(struct http_reply *rep, unsigned status, const char *msg)
{
        rep->status = status;
        rep->content_type = "application/json";
        buf_reset(&rep->body);
        buf_adds(&rep->body, "{\"error\":");
        json_quote(&rep->body, msg);
        buf_adds(&rep->body, "}");
}
