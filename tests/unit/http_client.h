/*
 * For the tests of http/: a certificate authority and a client that may misbehave. Both stand on
 * OpenSSL, so that the server's GnuTLS is not tested against itself.
 */
#ifndef DROVER_TESTS_UNIT_HTTP_CLIENT_H
#define DROVER_TESTS_UNIT_HTTP_CLIENT_H

#include "base/file.h"
#include "base/mono.h"
#include "http/server.h"
#include "tests/unit/oom.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline void nap_ms(long ms)
{
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* --- certificates */

struct identity_of {
        EVP_PKEY *key;
        X509 *cert;
};

static inline void identity_free(struct identity_of *id)
{
        EVP_PKEY_free(id->key);
        X509_free(id->cert);
}

static inline void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
        X509V3_CTX ctx;

        X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        assert_non_null(ext);
        X509_add_ext(x, ext, -1);
        X509_EXTENSION_free(ext);
}

/* cn_len < 0: strlen. by NULL: self-signed. usage NULL: a CA. from and to in seconds from now. */
static inline struct identity_of issue(const struct identity_of *by, const char *cn, int cn_len,
                                       const char *usage, long from, long to)
{
        static atomic_long serial = 1;
        struct identity_of id = {EVP_EC_gen("P-256"), X509_new()};
        X509 *issuer = by ? by->cert : id.cert;
        X509_NAME *name = X509_NAME_new();

        X509_set_version(id.cert, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(id.cert), atomic_fetch_add(&serial, 1));
        X509_gmtime_adj(X509_getm_notBefore(id.cert), from);
        X509_gmtime_adj(X509_getm_notAfter(id.cert), to);
        if (cn)
                X509_NAME_add_entry_by_txt(name, "CN", V_ASN1_UTF8STRING, (const unsigned char *)cn,
                                           cn_len, -1, 0);
        X509_NAME_add_entry_by_txt(name, "O", V_ASN1_UTF8STRING, (const unsigned char *)"test", -1,
                                   -1, 0);
        X509_set_subject_name(id.cert, name);
        X509_set_issuer_name(id.cert, by ? X509_get_subject_name(by->cert) : name);
        X509_NAME_free(name);
        X509_set_pubkey(id.cert, id.key);
        extend(id.cert, issuer, NID_basic_constraints, usage ? "CA:FALSE" : "critical,CA:TRUE");
        if (usage) {
                extend(id.cert, issuer, NID_ext_key_usage, usage);
                extend(id.cert, issuer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
        } else {
                extend(id.cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
        }
        assert_true(X509_sign(id.cert, by ? by->key : id.key, EVP_sha256()) > 0);
        return id;
}

static inline struct identity_of issue_ca(const char *cn)
{
        return issue(NULL, cn, -1, NULL, -60, 3600);
}

static inline void put(const char *path, BIO *bio)
{
        char *data;
        long len = BIO_get_mem_data(bio, &data);
        struct err e;

        if (file_write(path, data, (size_t)len, 0600, &e) < 0)
                fail_msg("%s", e.msg);
        BIO_free(bio);
}

/* The certificate and, when there is one, the intermediate behind it. */
static inline void write_cert(const char *path, const struct identity_of *id,
                              const struct identity_of *intermediate)
{
        BIO *bio = BIO_new(BIO_s_mem());

        PEM_write_bio_X509(bio, id->cert);
        if (intermediate)
                PEM_write_bio_X509(bio, intermediate->cert);
        put(path, bio);
}

static inline void write_key(const char *path, const struct identity_of *id)
{
        BIO *bio = BIO_new(BIO_s_mem());

        PEM_write_bio_PrivateKey(bio, id->key, NULL, NULL, 0, NULL, NULL);
        put(path, bio);
}

/* --- client */

struct client {
        int fd;
        SSL *ssl; /* NULL: plain */
        char in[65536];
        size_t len;
};

struct answer {
        int status;
        bool close; /* the server said so */
        char head[16384];
        char body[16384]; /* its beginning, always terminated */
        size_t body_len;
};

/* from: an address of 127.0.0.0/8. */
static inline bool client_dial_from(struct client *c, const char *from, uint16_t port)
{
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(from)};
        struct timeval limit = {.tv_sec = 20};
        int on = 1;

        c->ssl = NULL;
        c->len = 0;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        setsockopt(c->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
        if (bind(c->fd, (struct sockaddr *)&own, sizeof(own)) == 0 &&
            connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
                return true;
        close(c->fd);
        c->fd = -1;
        return false;
}

static inline bool client_dial(struct client *c, uint16_t port)
{
        return client_dial_from(c, "127.0.0.1", port);
}

static inline void client_close(struct client *c)
{
        if (c->ssl)
                SSL_free(c->ssl);
        if (c->fd >= 0)
                close(c->fd);
        c->ssl = NULL;
        c->fd = -1;
}

/* Connects from an address of 127.0.0.0/8, and shakes hands when ctx is given. */
static inline bool client_open_from(struct client *c, const char *from, uint16_t port, SSL_CTX *ctx)
{
        if (!client_dial_from(c, from, port))
                return false;
        if (!ctx)
                return true;
        c->ssl = SSL_new(ctx);
        SSL_set_fd(c->ssl, c->fd);
        if (SSL_connect(c->ssl) == 1)
                return true;
        client_close(c);
        return false;
}

static inline bool client_open(struct client *c, uint16_t port, SSL_CTX *ctx)
{
        return client_open_from(c, "127.0.0.1", port, ctx);
}

static inline bool client_send(struct client *c, const char *data, size_t len)
{
        while (len) {
                ssize_t n = c->ssl ? SSL_write(c->ssl, data, (int)(len < 65536 ? len : 65536))
                                   : send(c->fd, data, len, MSG_NOSIGNAL);
                if (n <= 0)
                        return false;
                data += n;
                len -= (size_t)n;
        }
        return true;
}

static inline bool client_fill(struct client *c)
{
        size_t room = sizeof(c->in) - 1 - c->len;
        ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->len, (int)room)
                           : recv(c->fd, c->in + c->len, room, 0);

        if (n <= 0)
                return false;
        c->len += (size_t)n;
        c->in[c->len] = 0;
        return true;
}

/* True when the server has ended the connection (and not only our patience). */
static inline bool client_ended(struct client *c)
{
        while (client_fill(c))
                c->len = 0;
        return c->ssl || errno != EAGAIN;
}

/* Reads one answer to its end; what follows stays in the client's buffer. no_body: of a HEAD. */
static inline bool client_read(struct client *c, struct answer *a, bool no_body)
{
        char *end, *field;
        size_t want = 0;

        memset(a, 0, sizeof(*a));
        c->in[c->len] = 0;
        while (!(end = strstr(c->in, "\r\n\r\n")))
                if (!client_fill(c))
                        return false;
        size_t head = (size_t)(end - c->in) + 4;
        if (head >= sizeof(a->head) || sscanf(c->in, "HTTP/1.%*d %d ", &a->status) != 1)
                return false;
        memcpy(a->head, c->in, head);
        field = strcasestr(a->head, "\r\ncontent-length:");
        if (field && !no_body)
                want = strtoul(field + 17, NULL, 10);
        a->close = strcasestr(a->head, "\r\nconnection: close") != NULL;
        c->len -= head;
        memmove(c->in, c->in + head, c->len + 1);
        while (want) {
                if (c->len == 0 && !client_fill(c))
                        return false;
                size_t n = c->len < want ? c->len : want;
                size_t keep = sizeof(a->body) - 1 - a->body_len;
                memcpy(a->body + a->body_len, c->in, n < keep ? n : keep);
                a->body_len += n < keep ? n : keep;
                c->len -= n;
                want -= n;
                memmove(c->in, c->in + n, c->len + 1);
        }
        return true;
}

/* One request on an open connection; the status, or 0 when there was no whole answer. */
static inline int ask(struct client *c, const char *method, const char *path, const char *body,
                      size_t len, struct answer *a)
{
        char head[512];
        int n = snprintf(head, sizeof(head),
                         "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         method, path, len);

        if (!client_send(c, head, (size_t)n) || !client_send(c, body, len) ||
            !client_read(c, a, strcmp(method, "HEAD") == 0))
                return 0;
        return a->status;
}

static inline int get(struct client *c, const char *path, struct answer *a)
{
        return ask(c, "GET", path, "", 0, a);
}

/* The same on a connection of its own. */
static inline int get_once(uint16_t port, SSL_CTX *ctx, const char *path, struct answer *a)
{
        struct client c;

        if (!client_open(&c, port, ctx))
                return 0;
        int status = get(&c, path, a);
        client_close(&c);
        return status;
}

#endif
