/*
 * What the attacks are. Each goes on while the honest client is answered some hundred times, and
 * holds what it has got until then.
 */
#include "tests/hostile/hostile.h"

#include <poll.h>
#include <sys/resource.h>

#define ADDRESSES   12
#define ANSWERS     200 /* of the honest client, while an attack is held */
#define SILENT      10000
#define HALF_OPEN   2000
#define DRIPPING    400
#define DRIP_ROUNDS 3
#define FLOOD       ((size_t)1 << 20) /* bytes of a head */
#define POST_LINE   "POST %s HTTP/1.1\r\nHost: localhost\r\n"
#define JSON_TYPE   "Content-Type: application/json\r\n"

const char *address(size_t i)
{
        static const char *const a[ADDRESSES] = {
                "127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14", "127.0.0.15", "127.0.0.16",
                "127.0.0.17", "127.0.0.18", "127.0.0.19", "127.0.0.20", "127.0.0.21", "127.0.0.22"};

        return a[i % ADDRESSES];
}

/* --- many at a time */

static struct {
        pthread_mutex_t lock;
        char first[1024];
} complaints = {.lock = PTHREAD_MUTEX_INITIALIZER};

void complain(const char *fmt, ...)
{
        va_list ap;

        pthread_mutex_lock(&complaints.lock);
        va_start(ap, fmt);
        if (!*complaints.first)
                vsnprintf(complaints.first, sizeof(complaints.first), fmt, ap);
        va_end(ap);
        pthread_mutex_unlock(&complaints.lock);
}

void no_complaints(void)
{
        char text[sizeof(complaints.first)];

        pthread_mutex_lock(&complaints.lock);
        memcpy(text, complaints.first, sizeof(text));
        *complaints.first = 0;
        pthread_mutex_unlock(&complaints.lock);
        if (*text)
                fail_msg("%s", text);
}

struct member {
        pthread_t thread;
        const struct target *target;
        size_t number;
        void (*run)(const struct target *t, size_t number);
};

/* Attackers have machines of their own; here they share ours, and are not to be what is measured.
 */
static void *start_member(void *arg)
{
        struct member *m = arg;

        setpriority(PRIO_PROCESS, (id_t)gettid(), 19);
        m->run(m->target, m->number);
        return NULL;
}

void gang(size_t n, void (*run)(const struct target *t, size_t number), const struct target *t)
{
        autofree struct member *m = calloc(n, sizeof(*m));

        assert_non_null(m);
        for (size_t i = 0; i < n; i++) {
                m[i] = (struct member){.target = t, .number = i, .run = run};
                assert_int_equal(pthread_create(&m[i].thread, NULL, start_member, &m[i]), 0);
        }
        for (size_t i = 0; i < n; i++)
                pthread_join(m[i].thread, NULL);
}

/* --- connections without requests */

static void allow_descriptors(rlim_t n)
{
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max < n)
                limit.rlim_max = n;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                fail_msg("%lu open files are needed: %s", n, strerror(errno));
}

static int dial(const struct target *t, size_t i)
{
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(t->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address(i))};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
            (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS))
                complain("connection %zu: %s", i, strerror(errno));
        return fd;
}

static struct {
        size_t n;         /* connections */
        const void *data; /* that each says, and nothing more */
        size_t len;
} crowd;

/* All of them are open at a time as far as it is ours to say. */
static void join_crowd(const struct target *t, size_t number)
{
        size_t n = crowd.n;
        autofree int *fd = calloc(n, sizeof(*fd));

        (void)number;
        for (size_t i = 0; i < n; i++) {
                fd[i] = dial(t, i);
                if (crowd.len)
                        send(fd[i], crowd.data, crowd.len,
                             MSG_NOSIGNAL); /* it may be closed again already */
        }
        honest_await(ANSWERS);
        if (target_fds(t) > 2 * HTTP_CONNECTIONS)
                complain("%d descriptors are open at a time", target_fds(t));
        for (size_t i = 0; i < n; i++)
                close(fd[i]);
}

static void silent(const struct target *t)
{
        crowd.n = SILENT;
        crowd.len = 0;
        allow_descriptors(SILENT + 1024);
        gang(1, join_crowd, t);
}

/* What a client says first. */
static size_t client_hello(const struct target *t, void *out, size_t size)
{
        SSL *ssl = SSL_new(t->tls);
        BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());

        SSL_set_bio(ssl, in, sent);
        SSL_connect(ssl);
        int n = BIO_read(sent, out, (int)size);
        SSL_free(ssl);
        assert_true(n > 100);
        return (size_t)n;
}

/* The server has said its part and waits; or it waits for the rest of a record. */
static void half_open(const struct target *t)
{
        char hello[4096];

        crowd.n = HALF_OPEN;
        crowd.data = hello;
        crowd.len = client_hello(t, hello, sizeof(hello));
        allow_descriptors(HALF_OPEN + 1024);
        gang(1, join_crowd, t);
        crowd.len /= 2;
        gang(1, join_crowd, t);
}

/* --- slow ones */

static bool open_attacker(const struct target *t, size_t i, struct client *c)
{
        return client_open_from(c, address(i), t->port, t->tls);
}

static int head_of(const struct target *t, char *out, size_t size, const char *fields)
{
        return snprintf(out, size, POST_LINE "%s\r\n", t->path, fields);
}

/* A byte a second of the headers or of the body. */
static void drip(const struct target *t, size_t number)
{
        enum { N = DRIPPING / 4 };
        struct client *c = calloc(N, sizeof(*c));
        char head[256];
        int n = head_of(t, head, sizeof(head), JSON_TYPE "Content-Length: 60000\r\n");
        size_t begun = number % 2 ? (size_t)n : 5;

        for (size_t i = 0; i < N; i++)
                if (open_attacker(t, number * N + i, &c[i]))
                        client_send(&c[i], head, begun);
                else
                        complain("slow client: no connection");
        for (int round = 0; round < DRIP_ROUNDS; round++) {
                struct mono next = mono_add_ms(mono_now(), 1000);
                for (size_t i = 0; i < N; i++)
                        if (c[i].fd >= 0)
                                client_send(&c[i], head + 5 + round, 1);
                while (mono_ms_between(mono_now(), next) > 0)
                        nap_ms(10);
        }
        for (size_t i = 0; i < N; i++)
                client_close(&c[i]);
        free(c);
}

static void dripping(const struct target *t)
{
        gang(4, drip, t);
}

/* --- bodies */

/*
 * Sends until the answer begins, the connection ends, or all is sent; then reads the answer. False:
 * there was none.
 */
static bool push(struct client *c, const char *data, size_t len, size_t times, struct answer *a)
{
        for (size_t i = 0; i < times; i++) {
                struct pollfd p = {.fd = c->fd, .events = POLLIN};
                if (SSL_pending(c->ssl) || poll(&p, 1, 0) > 0 || !client_send(c, data, len))
                        break;
        }
        return client_read(c, a, false);
}

/* An answer, or to come again later: both are right when many come at once. */
static bool is_fair(const struct answer *a)
{
        return a->status == 200 || (a->status == 503 && strstr(a->head, "Retry-After: "));
}

static struct buf large_body;
static atomic_size_t large_answers;

static void send_large(const struct target *t, size_t number)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));

        for (int i = 0; i < 3; i++) {
                if (c->fd <= 0 && !open_attacker(t, number, c)) {
                        complain("large body: no connection");
                        break;
                }
                if (!ask(c, "POST", t->path, large_body.data, large_body.len, a))
                        client_close(c); /* made room for another: it may */
                else if (!is_fair(a))
                        complain("large body: %d %.200s", a->status, a->body);
                atomic_fetch_add(&large_answers, a->status == 200);
                a->status = 0;
        }
        if (c->fd > 0)
                client_close(c);
        free(c);
        free(a);
}

static void large_bodies(const struct target *t)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));

        large_body = buf_new(2 * LARGE_BODY);
        t->large(&large_body);
        assert_int_equal(large_body.failed, 0);
        assert_true(large_body.len > LARGE_BODY * 9 / 10 && large_body.len <= LARGE_BODY);
        atomic_store(&large_answers, 0);
        gang(16, send_large, t);
        if (!atomic_load(&large_answers))
                complain("not one of the large bodies was answered");
        if (!open_attacker(t, 0, c) ||
            ask(c, "POST", t->path, large_body.data, large_body.len, a) != 200)
                complain("a large body alone: %d %.200s", a->status, a->body);
        client_close(c);
        buf_free(&large_body);
        free(c);
        free(a);
}

static char noise[65536];

/* Too large to be read even in part. */
static void send_huge(const struct target *t, size_t number)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));
        char head[256];
        int n = head_of(t, head, sizeof(head), JSON_TYPE "Content-Length: 104857600\r\n");

        for (int i = 0; i < 4; i++) {
                if (!open_attacker(t, number, c) || !client_send(c, head, (size_t)n))
                        complain("huge body: no connection");
                else if (!push(c, noise, sizeof(noise), ((size_t)100 << 20) / sizeof(noise), a) ||
                         a->status != 413)
                        complain("huge body: %d, not 413: %s", a->status, a->body);
                client_close(c);
        }
        free(c);
        free(a);
}

static void huge_bodies(const struct target *t)
{
        gang(16, send_huge, t);
        honest_await(ANSWERS);
}

/* Chunks without end: read as far as is bearable, then cut. */
static void send_endless(const struct target *t, size_t number)
{
        static const char CHUNK[] = "10000\r\n";
        size_t bearable = t->max_body + HTTP_DRAIN_MAX + (16 << 20 /* on the way */), sent = 0;
        struct client *c = calloc(1, sizeof(*c));
        char head[256];
        int n = head_of(t, head, sizeof(head), JSON_TYPE "Transfer-Encoding: chunked\r\n");

        if (!open_attacker(t, number, c) || !client_send(c, head, (size_t)n))
                complain("endless body: no connection");
        while (c->fd >= 0 && sent <= bearable && client_send(c, CHUNK, sizeof(CHUNK) - 1) &&
               client_send(c, noise, sizeof(noise)) && client_send(c, "\r\n", 2))
                sent += sizeof(noise);
        if (sent > bearable)
                complain("endless body: %zu bytes were taken", sent);
        client_close(c);
        free(c);
}

static void endless_bodies(const struct target *t)
{
        gang(12, send_endless, t);
        honest_await(ANSWERS);
}

/* --- heads */

static bool refused_head(const struct answer *a)
{
        return a->status == 431 || a->status == 400 || a->status == 413 || a->status == 414;
}

static atomic_size_t heads_refused;

/*
 * The same over and over until the server has enough. It answers before it closes, but whether that
 * is read before the end is seen is chance.
 */
static void send_head(const struct target *t, size_t number, const char *begin, const char *again,
                      size_t size)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));

        if (!open_attacker(t, number, c) || !client_send(c, begin, strlen(begin)))
                complain("header flood: no connection");
        else if (push(c, again, size, FLOOD / size, a)) {
                atomic_fetch_add(&heads_refused, 1);
                if (!refused_head(a))
                        complain("header flood: %d", a->status);
        }
        client_close(c);
        free(c);
        free(a);
}

static void send_fields(const struct target *t, size_t number, size_t size)
{
        autofree char *field = malloc(size);
        char line[128];

        memset(field, 'h', size);
        memcpy(field, "X-Flood: ", 9);
        memcpy(field + size - 2, "\r\n", 2);
        snprintf(line, sizeof(line), POST_LINE, t->path);
        send_head(t, number, line, field, size);
}

static void flood_heads(const struct target *t, size_t number)
{
        send_fields(t, number, 32);
        send_fields(t, number, 1024);
        send_fields(t, number, FLOOD); /* one field */
        send_head(t, number, "GET /", noise, 4096);
}

static void header_floods(const struct target *t)
{
        memset(noise, 'x', sizeof(noise));
        atomic_store(&heads_refused, 0);
        gang(24, flood_heads, t);
        if (!atomic_load(&heads_refused))
                complain("not one of the heads was answered");
        honest_await(ANSWERS);
}

/* --- requests that are wrong otherwise */

static void send_types(const struct target *t, size_t number)
{
        static const char *const TYPES[] = {
                "Content-Type: text/plain\r\n",
                "Content-Type: application/json-patch+json\r\n",
                "Content-Type: application/vnd.kubernetes.protobuf\r\n",
                "Content-Type: multipart/form-data; boundary=application/json\r\n",
                "Content-Type: application/jsonx\r\n",
                "Content-Type: \r\n",
                "",
        };
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));
        char head[512], fields[256];

        if (!open_attacker(t, number, c))
                complain("content type: no connection");
        for (size_t i = 0; c->fd >= 0 && i < 20 * countof(TYPES); i++) {
                snprintf(fields, sizeof(fields), "%sContent-Length: 65536\r\n",
                         TYPES[i % countof(TYPES)]);
                int n = head_of(t, head, sizeof(head), fields);
                if (!client_send(c, head, (size_t)n) || !client_send(c, noise, sizeof(noise)) ||
                    !client_read(c, a, false) || a->status != 415) {
                        complain("%s: %d, not 415", TYPES[i % countof(TYPES)], a->status);
                        break;
                }
        }
        client_close(c);
        free(c);
        free(a);
}

static void content_types(const struct target *t)
{
        gang(8, send_types, t);
        honest_await(ANSWERS);
}

#define PIPELINED 500

static void send_pipeline(const struct target *t, size_t number)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));
        struct buf b = buf_new((size_t)4 << 20);

        for (int i = 0; i < PIPELINED; i++)
                buf_addf(&b, POST_LINE JSON_TYPE "Content-Length: %zu\r\n\r\n%s", t->path,
                         strlen(t->ask), t->ask);
        if (!open_attacker(t, number, c) || !client_send(c, b.data, b.len))
                complain("pipeline: no connection");
        for (int i = 0; c->fd >= 0 && i < PIPELINED; i++)
                if (!client_read(c, a, false) || a->status != 200 || !strstr(a->body, t->answer)) {
                        complain("pipelined request %d: %d %s", i + 1, a->status, a->body);
                        break;
                }
        client_close(c);
        buf_free(&b);
        free(c);
        free(a);
}

static void pipelining(const struct target *t)
{
        gang(8, send_pipeline, t);
        honest_await(ANSWERS);
}

/* Ended in order, half-way, or by a reset, at each place of a request. */
static void send_cut(const struct target *t, size_t number)
{
        static const struct linger HARD = {.l_onoff = 1};
        struct client *c = calloc(1, sizeof(*c));
        struct buf b = buf_new(65536);

        buf_addf(&b, POST_LINE JSON_TYPE "Content-Length: %zu\r\n\r\n%s", t->path, strlen(t->ask),
                 t->ask);
        for (size_t i = 0; i < 30; i++) {
                if (!open_attacker(t, number, c)) {
                        complain("cut request: no connection");
                        break;
                }
                client_send(c, b.data, (i * 8 + number) * b.len / 240);
                if (i % 3 == 0)
                        SSL_shutdown(c->ssl);
                else if (i % 3 == 1)
                        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &HARD, sizeof(HARD));
                client_close(c);
        }
        buf_free(&b);
        free(c);
}

static void cut_requests(const struct target *t)
{
        gang(8, send_cut, t);
        honest_await(ANSWERS);
}

/* --- TLS */

/* It is not granted, and nothing but that connection suffers. */
static void renegotiate(const struct target *t, size_t number)
{
        struct client *c = calloc(1, sizeof(*c));
        struct answer *a = calloc(1, sizeof(*a));

        for (int i = 0; i < 20; i++) {
                if (!client_open_from(c, address(number), t->port, t->tls12)) {
                        complain("renegotiation: no connection by TLS 1.2");
                        break;
                }
                if (get(c, "/healthz", a) != 200)
                        complain("TLS 1.2: %d", a->status);
                if (SSL_renegotiate(c->ssl) != 1 || SSL_do_handshake(c->ssl) == 1)
                        complain("the server renegotiated");
                client_close(c);
        }
        free(c);
        free(a);
}

static void renegotiation(const struct target *t)
{
        gang(8, renegotiate, t);
        honest_await(ANSWERS);
}

const struct attack ATTACKS[] = {
        {"silent", silent, false},
        {"half_open_handshakes", half_open, false},
        {"a_byte_a_second", dripping, false},
        {"large_bodies", large_bodies, true},
        {"huge_bodies", huge_bodies, false},
        {"endless_bodies", endless_bodies, true},
        {"header_floods", header_floods, false},
        {"renegotiation", renegotiation, false},
        {"content_types", content_types, false},
        {"pipelining", pipelining, false},
        {"cut_requests", cut_requests, false},
};
const size_t NATTACKS = countof(ATTACKS);
