/*
 * load: asks an HTTPS server as fast as it answers, over so many kept connections, and tells how
 * fast that was. One thread a connection, each with its next request when the last is answered;
 * TLS as Go's clients choose it first, so that every server under test enciphers alike.
 */
#include "base/mono.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODIES_MAX      4096
#define CONNECTIONS_MAX 64
#define SAMPLES_MAX     ((size_t)1 << 21) /* a connection */
#define WARM_SHARE      5                 /* the first fifth of the time is not counted */

struct body {
        char *request; /* head and body */
        size_t len;
};

static struct {
        const char *host, *port, *path, *ca;
        struct body bodies[BODIES_MAX];
        size_t nbodies;
        struct mono from, until; /* what is counted */
} job;

struct client {
        pthread_t thread;
        unsigned first; /* body */
        SSL *ssl;
        char in[32768];
        size_t at, end;  /* of what was read and is not used yet */
        uint32_t *us10;  /* tenths of microseconds */
        size_t n, bytes; /* counted answers, of all of them */
};

static void die(const char *what)
{
        fprintf(stderr, "load: %s\n", what);
        ERR_print_errors_fp(stderr);
        exit(1);
}

static void fill(struct client *c)
{
        int n = SSL_read(c->ssl, c->in, sizeof(c->in));

        if (n <= 0)
                die("the server has closed the connection");
        c->at = 0;
        c->end = (size_t)n;
}

/* One line without its end; longer ones are cut. */
static void line(struct client *c, char *out, size_t size)
{
        size_t n = 0;

        for (;;) {
                if (c->at == c->end)
                        fill(c);
                char ch = c->in[c->at++];
                if (ch == '\n')
                        break;
                if (ch != '\r' && n + 1 < size)
                        out[n++] = ch;
        }
        out[n] = 0;
}

static void skip(struct client *c, size_t n)
{
        while (n) {
                if (c->at == c->end)
                        fill(c);
                size_t part = c->end - c->at < n ? c->end - c->at : n;
                c->at += part;
                n -= part;
        }
}

static size_t skip_chunks(struct client *c)
{
        char text[256];
        size_t total = 0, n;

        do {
                line(c, text, sizeof(text));
                n = strtoul(text, NULL, 16);
                skip(c, n);
                line(c, text, sizeof(text));
                total += n;
        } while (n);
        return total;
}

/* The answer's length. */
static size_t answer(struct client *c)
{
        char text[256];
        size_t length = 0;
        bool chunked = false;

        line(c, text, sizeof(text));
        if (strncmp(text, "HTTP/1.1 200", 12) != 0)
                die(text);
        for (line(c, text, sizeof(text)); *text; line(c, text, sizeof(text))) {
                if (strncasecmp(text, "content-length:", 15) == 0)
                        length = strtoul(text + 15, NULL, 10);
                chunked |= strcasecmp(text, "transfer-encoding: chunked") == 0;
        }
        if (chunked)
                return skip_chunks(c);
        skip(c, length);
        return length;
}

static int dial(void)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *to;
        int one = 1;

        if (getaddrinfo(job.host, job.port, &hints, &to))
                die("no such address");
        int fd = socket(to->ai_family, to->ai_socktype, 0);
        if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) < 0)
                die("cannot connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        freeaddrinfo(to);
        return fd;
}

static SSL_CTX *context(void)
{
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

        if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
            !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
            !SSL_CTX_load_verify_locations(ctx, job.ca, NULL))
                die("TLS");
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        return ctx;
}

static void *run(void *arg)
{
        struct client *c = arg;

        for (size_t i = c->first; mono_now().ns < job.until.ns; i++) {
                const struct body *b = &job.bodies[i % job.nbodies];
                struct mono began = mono_now();

                if (SSL_write(c->ssl, b->request, (int)b->len) != (int)b->len)
                        die("cannot send");
                size_t bytes = answer(c);
                struct mono ended = mono_now();
                if (began.ns < job.from.ns || ended.ns > job.until.ns || c->n == SAMPLES_MAX)
                        continue;
                c->us10[c->n++] = (uint32_t)((ended.ns - began.ns) / 100);
                c->bytes += bytes;
        }
        return NULL;
}

static void read_bodies(const char *file)
{
        FILE *f = fopen(file, "r");
        char *text = NULL;
        size_t cap = 0;
        ssize_t n;

        if (!f)
                die(file);
        while (job.nbodies < BODIES_MAX && (n = getline(&text, &cap, f)) > 0) {
                struct body *b = &job.bodies[job.nbodies++];
                char head[512];

                n -= text[n - 1] == '\n';
                int h = snprintf(head, sizeof(head),
                                 "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: "
                                 "application/json\r\nAccept-Encoding: gzip\r\n"
                                 "Content-Length: %zd\r\n\r\n",
                                 job.path, job.host, job.port, n);
                b->len = (size_t)h + (size_t)n;
                b->request = malloc(b->len);
                if (!b->request)
                        die("out of memory");
                memcpy(b->request, head, (size_t)h);
                memcpy(b->request + h, text, (size_t)n);
        }
        free(text);
        fclose(f);
        if (!job.nbodies)
                die("no bodies");
}

static int ascending(const void *x, const void *y)
{
        uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

        return (a > b) - (a < b);
}

static void tell(struct client *clients, int n, double seconds)
{
        size_t total = 0, bytes = 0, k = 0;

        for (int i = 0; i < n; i++) {
                total += clients[i].n;
                bytes += clients[i].bytes;
        }
        uint32_t *all = calloc(total + 1, sizeof(*all));
        if (!all || !total)
                die("nothing was answered in the time that counts");
        for (int i = 0; i < n; i++)
                for (size_t j = 0; j < clients[i].n; j++)
                        all[k++] = clients[i].us10[j];
        qsort(all, total, sizeof(*all), ascending);
        printf("{\"answers\":%zu,\"per_second\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%."
               "1f,"
               "\"bytes\":%zu}\n",
               total, (double)total / seconds, all[total / 2] / 10.0, all[total * 99 / 100] / 10.0,
               all[total - 1] / 10.0, bytes / total);
        free(all);
}

int main(int argc, char **argv)
{
        static struct client clients[CONNECTIONS_MAX];

        if (argc != 8) {
                fprintf(stderr, "load HOST PORT PATH CA BODIES CONNECTIONS SECONDS\n"
                                "BODIES: a file, a request's body a line\n");
                return 2;
        }
        job.host = argv[1];
        job.port = argv[2];
        job.path = argv[3];
        job.ca = argv[4];
        read_bodies(argv[5]);
        int n = atoi(argv[6]);
        int64_t ms = (int64_t)(atof(argv[7]) * 1000);
        if (n < 1 || n > CONNECTIONS_MAX || ms < 100)
                die("so many connections or seconds cannot be");
        SSL_CTX *ctx = context();
        for (int i = 0; i < n; i++) {
                clients[i].first = (unsigned)(job.nbodies * (size_t)i / (size_t)n);
                clients[i].us10 = calloc(SAMPLES_MAX, sizeof(*clients[i].us10));
                clients[i].ssl = SSL_new(ctx);
                if (!clients[i].us10 || !clients[i].ssl || !SSL_set_fd(clients[i].ssl, dial()) ||
                    SSL_connect(clients[i].ssl) != 1)
                        die("handshake");
        }
        struct mono began = mono_now();
        job.from = mono_add_ms(began, ms / WARM_SHARE);
        job.until = mono_add_ms(began, ms);
        for (int i = 0; i < n; i++)
                if (pthread_create(&clients[i].thread, NULL, run, &clients[i]))
                        die("no thread");
        for (int i = 0; i < n; i++)
                pthread_join(clients[i].thread, NULL);
        tell(clients, n, (double)(ms - ms / WARM_SHARE) / 1000);
        return 0;
}
