/*
 * microhttpd's own timeout starts again with every byte, so that a client that drips may stay for
 * ever. Here every connection has a deadline for what it is at: its handshake, its request and the
 * answer, the pause until its next request.
 */
#include "http/internal.h"

#include <poll.h>

static void set_deadline(struct conn *c, unsigned ms)
{
        atomic_store_explicit(&c->deadline, mono_add_ms(mono_now(), ms).ns, memory_order_relaxed);
}

void conn_phase(struct conn *c, enum conn_phase phase)
{
        atomic_store_explicit(&c->since, mono_now().ns, memory_order_relaxed);
        atomic_store_explicit(&c->phase, (int)phase, memory_order_relaxed);
}

void conn_idle(struct conn *c)
{
        set_deadline(c, c->server->idle_ms);
        conn_phase(c, CONN_IDLE);
}

void conn_busy(struct conn *c)
{
        set_deadline(c, c->server->request_ms);
        conn_phase(c, CONN_PEER);
}

struct conn *conn_of(struct MHD_Connection *c)
{
        return MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static const struct sockaddr *address_of(struct MHD_Connection *c)
{
        return MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
}

static gnutls_session_t session_of(struct MHD_Connection *c)
{
        return MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
}

static void opened(struct http_server *s, struct MHD_Connection *mhd, void **context)
{
        struct conn *c = calloc(1, sizeof(*c));

        *context = c; /* without one the handshake or the first request ends the connection */
        if (s->tls)
                gnutls_session_set_ptr(session_of(mhd), NULL); /* was microhttpd's own */
        if (!c)
                return;
        c->server = s;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        conn_idle(c);
        if (s->tls) {
                handshake_prepare(c, session_of(mhd), tls_wants_client(s->tls));
                set_deadline(c, s->request_ms);
        }
        pthread_mutex_lock(&s->lock);
        c->next = s->conns;
        c->link = &s->conns;
        if (c->next)
                c->next->link = &c->next;
        s->conns = c;
        crowd_join(s, c, address_of(mhd));
        pthread_mutex_unlock(&s->lock);
}

/* Comes after the session's end and before the descriptor is closed. */
static void closed(struct http_server *s, struct conn *c)
{
        if (!c)
                return;
        pthread_mutex_lock(&s->lock);
        *c->link = c->next;
        if (c->next)
                c->next->link = c->link;
        crowd_leave(s, c);
        pthread_mutex_unlock(&s->lock);
        tls_put(c->tls);
        free(c);
}

void conn_notify(void *cls, struct MHD_Connection *c, void **context,
                 enum MHD_ConnectionNotificationCode what)
{
        if (what == MHD_CONNECTION_NOTIFY_STARTED)
                opened(cls, c, context);
        else
                closed(cls, *context);
}

static bool peer_has_closed(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLRDHUP};

        return poll(&p, 1, 0) == 1;
}

/*
 * The owning worker sees the end of the stream and closes; the lock keeps the descriptor ours.
 * microhttpd overlooks an end that comes together with data, because it takes a short read for the
 * last one: shutting down what the peer has shut down already makes it look again.
 */
void conns_tend(struct http_server *s, struct mono now)
{
        pthread_mutex_lock(&s->lock);
        for (struct conn *c = s->conns; c; c = c->next) {
                if (atomic_load_explicit(&c->deadline, memory_order_relaxed) < now.ns)
                        shutdown(c->fd, SHUT_RDWR);
                else if (peer_has_closed(c->fd))
                        shutdown(c->fd, SHUT_RD);
        }
        pthread_mutex_unlock(&s->lock);
}

bool conns_hang_up(struct http_server *s)
{
        pthread_mutex_lock(&s->lock);
        for (struct conn *c = s->conns; c; c = c->next)
                shutdown(c->fd, SHUT_RD);
        bool none = !s->conns;
        pthread_mutex_unlock(&s->lock);
        return none;
}
