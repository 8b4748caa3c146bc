#include "tests/fake/apiserver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 65536

struct fake_conn {
        struct fake_conn *next;
        struct fake *fake;
        pthread_t thread;
        int fd, number;
        SSL *ssl;
        bool closing; /* by the script */
        char head[HEAD_MAX];
        size_t len; /* bytes in head, of this request and maybe the next */
};

struct fake {
        fake_script *script;
        void *ctx;
        int fd;
        char url[64];
        SSL_CTX *tls;
        pthread_t thread;
        pthread_mutex_t lock;
        struct fake_conn *conns;
        int requests, connections;
        bool stopping;
};

static bool stopping(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        bool v = f->stopping;
        pthread_mutex_unlock(&f->lock);
        return v;
}

/* --- bytes */

static ssize_t receive(struct fake_conn *c, char *p, size_t n)
{
        return c->ssl ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

bool fake_write(struct fake_conn *c, const void *data, size_t len)
{
        const char *p = data;

        while (len) {
                ssize_t n =
                        c->ssl ? SSL_write(c->ssl, p, (int)len) : send(c->fd, p, len, MSG_NOSIGNAL);
                if (n <= 0)
                        return false;
                p += n;
                len -= (size_t)n;
        }
        return true;
}

bool fake_puts(struct fake_conn *c, const char *s)
{
        return fake_write(c, s, strlen(s));
}

bool fake_printf(struct fake_conn *c, const char *fmt, ...)
{
        va_list ap;
        char *s;

        va_start(ap, fmt);
        int n = vasprintf(&s, fmt, ap);
        va_end(ap);
        if (n < 0)
                return false;
        bool ok = fake_write(c, s, (size_t)n);
        free(s);
        return ok;
}

/* Waits ms (<0: for ever); false when the peer has gone or the server stops. */
static bool wait_ms(struct fake_conn *c, int ms)
{
        for (int slice; ms != 0; ms -= ms < 0 ? 0 : slice) {
                struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

                slice = ms < 0 || ms > 20 ? 20 : ms;
                if (poll(&p, 1, slice) > 0 || stopping(c->fake))
                        return false;
        }
        return true;
}

bool fake_sleep(struct fake_conn *c, int ms)
{
        return wait_ms(c, ms);
}

void fake_hang(struct fake_conn *c)
{
        wait_ms(c, -1);
}

bool fake_drip(struct fake_conn *c, const char *s, int ms)
{
        for (; *s; s++)
                if (!fake_write(c, s, 1) || (ms && !wait_ms(c, ms)))
                        return false;
        return true;
}

/* --- answers */

bool fake_answer(struct fake_conn *c, int status, const char *headers, const char *body)
{
        return fake_printf(c,
                           "HTTP/1.1 %d Said\r\nContent-Type: application/json\r\n%s"
                           "Content-Length: %zu\r\n\r\n%s",
                           status, headers, strlen(body), body);
}

/* "/api/VERSION/" or "/apis/GROUP/VERSION/", then "namespaces/NS/" or not, then KIND/NAME. */
void fake_missing(const char *target, char *body, size_t size)
{
        char kind[64] = "", name[254] = "";
        const char *p = target;

        for (int skip = strncmp(target, "/apis/", 6) == 0 ? 4 : 3; skip && p; skip--)
                p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL;
        if (p && !strncmp(p, "namespaces/", 11) && strchr(p + 11, '/'))
                p = strchr(p + 11, '/') + 1;
        if (p)
                sscanf(p, "%63[^/]/%253[^/?]", kind, name);
        snprintf(body, size,
                 "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"%"
                 "s "
                 "\\\"%s\\\" not "
                 "found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"%s\",\"kind\":"
                 "\"%s\"},\"code\":404}",
                 kind, name, name, kind);
}

bool fake_stream(struct fake_conn *c)
{
        return fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n");
}

bool fake_chunk(struct fake_conn *c, const char *s)
{
        return !*s || fake_printf(c, "%zx\r\n%s\r\n", strlen(s), s);
}

bool fake_stream_end(struct fake_conn *c)
{
        return fake_puts(c, "0\r\n\r\n");
}

void fake_close(struct fake_conn *c)
{
        c->closing = true;
}

/* --- requests */

static bool fill(struct fake_conn *c)
{
        if (c->len == HEAD_MAX - 1)
                return false;
        ssize_t n = receive(c, c->head + c->len, HEAD_MAX - 1 - c->len);
        if (n <= 0)
                return false;
        c->len += (size_t)n;
        c->head[c->len] = 0;
        return true;
}

static size_t body_length(const char *head)
{
        const char *p = strcasestr(head, "\r\ncontent-length:");

        return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* One request read and answered; false at the end of the connection. */
static bool serve(struct fake_conn *c)
{
        char *end, *body, *save;
        size_t head, want;

        while (!(end = c->len ? strstr(c->head, "\r\n\r\n") : NULL))
                if (!fill(c))
                        return false;
        *end = 0;
        head = (size_t)(end - c->head) + 4;
        want = body_length(c->head);
        if (want > (16u << 20) || !(body = malloc(want + 1)))
                return false;
        size_t have = c->len - head < want ? c->len - head : want;
        memcpy(body, c->head + head, have);
        c->len -= head + have;
        char *lines = strdup(c->head);
        memmove(c->head, c->head + head + have, c->len + 1);
        while (have < want) {
                ssize_t n = receive(c, body + have, want - have);
                if (n <= 0)
                        break;
                have += (size_t)n;
        }
        body[have] = 0;
        char *rest = strstr(lines, "\r\n");
        if (rest)
                *rest = 0;
        struct fake_request r = {.method = strtok_r(lines, " ", &save),
                                 .target = strtok_r(NULL, " ", &save),
                                 .headers = rest ? rest + 2 : "",
                                 .body = body,
                                 .body_len = have,
                                 .connection = c->number};
        pthread_mutex_lock(&c->fake->lock);
        r.number = ++c->fake->requests;
        pthread_mutex_unlock(&c->fake->lock);
        if (have == want && r.target)
                c->fake->script(c, &r, c->fake->ctx);
        else
                c->closing = true;
        free(body);
        free(lines);
        return !c->closing && !stopping(c->fake);
}

static void *connection(void *arg)
{
        struct fake_conn *c = arg;
        int one = 1;

        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (c->fake->tls) {
                c->ssl = SSL_new(c->fake->tls);
                SSL_set_fd(c->ssl, c->fd);
        }
        if (!c->ssl || SSL_accept(c->ssl) == 1)
                while (serve(c))
                        ;
        if (c->ssl)
                SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_RDWR);
        return NULL;
}

static void add_connection(struct fake *f, int fd)
{
        struct fake_conn *c = calloc(1, sizeof(*c));

        c->fake = f;
        c->fd = fd;
        pthread_mutex_lock(&f->lock);
        c->number = ++f->connections;
        c->next = f->conns;
        if (f->stopping || pthread_create(&c->thread, NULL, connection, c) != 0) {
                close(fd);
                free(c);
        } else {
                f->conns = c;
        }
        pthread_mutex_unlock(&f->lock);
}

static void *acceptor(void *arg)
{
        struct fake *f = arg;

        while (!stopping(f)) {
                struct pollfd p = {.fd = f->fd, .events = POLLIN};
                if (poll(&p, 1, 20) <= 0)
                        continue;
                int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0)
                        add_connection(f, fd);
        }
        return NULL;
}

/* --- the server */

static bool listen_on_any_port(struct fake *f)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(a);

        f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (f->fd < 0 || bind(f->fd, (struct sockaddr *)&a, n) < 0 || listen(f->fd, 64) < 0 ||
            getsockname(f->fd, (struct sockaddr *)&a, &n) < 0)
                return false;
        snprintf(f->url, sizeof(f->url), "%s://127.0.0.1:%d", f->tls ? "https" : "http",
                 ntohs(a.sin_port));
        return true;
}

static struct fake *start(fake_script *script, void *ctx, SSL_CTX *tls)
{
        struct fake *f = calloc(1, sizeof(*f));

        signal(SIGPIPE, SIG_IGN);
        f->script = script;
        f->ctx = ctx;
        f->tls = tls;
        pthread_mutex_init(&f->lock, NULL);
        if (!listen_on_any_port(f) || pthread_create(&f->thread, NULL, acceptor, f) != 0) {
                perror("fake API server");
                abort();
        }
        return f;
}

struct fake *fake_start(fake_script *script, void *ctx)
{
        return start(script, ctx, NULL);
}

static X509 *certificate(const char *pem)
{
        BIO *b = BIO_new_mem_buf(pem, -1);
        X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

        BIO_free(b);
        return x;
}

struct fake *fake_start_tls(fake_script *script, void *ctx, const char *cert_pem,
                            const char *key_pem, const char *client_ca_pem)
{
        SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
        BIO *b = BIO_new_mem_buf(key_pem, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
        X509 *cert = certificate(cert_pem);

        SSL_CTX_use_certificate(tls, cert);
        SSL_CTX_use_PrivateKey(tls, key);
        if (client_ca_pem) {
                X509 *ca = certificate(client_ca_pem);
                X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), ca);
                SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
                X509_free(ca);
        }
        X509_free(cert);
        EVP_PKEY_free(key);
        BIO_free(b);
        return start(script, ctx, tls);
}

void fake_cut(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        for (struct fake_conn *c = f->conns; c; c = c->next)
                shutdown(c->fd, SHUT_RDWR);
        pthread_mutex_unlock(&f->lock);
}

void fake_stop(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        f->stopping = true;
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
        close(f->fd);
        fake_cut(f);
        for (struct fake_conn *c = f->conns, *next; c; c = next) {
                next = c->next;
                pthread_join(c->thread, NULL);
                SSL_free(c->ssl);
                close(c->fd);
                free(c);
        }
        SSL_CTX_free(f->tls);
        pthread_mutex_destroy(&f->lock);
        free(f);
}

const char *fake_url(const struct fake *f)
{
        return f->url;
}

int fake_requests(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        int n = f->requests;
        pthread_mutex_unlock(&f->lock);
        return n;
}

int fake_connections(struct fake *f)
{
        pthread_mutex_lock(&f->lock);
        int n = f->connections;
        pthread_mutex_unlock(&f->lock);
        return n;
}
