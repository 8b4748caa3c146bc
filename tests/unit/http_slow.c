/* Handlers that have to wait: the slow threads, and what goes on beside them. */
#include "tests/unit/http_client.h"

#include <poll.h>

static struct http_server *server;
static uint16_t port;

/* --- a handler that waits until the gate is opened */

static struct {
        pthread_mutex_t lock;
        pthread_cond_t moved;
        bool open;
        int inside;  /* handlers that wait at the gate */
        int refused; /* that were called on a worker */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static void gate_set(bool open)
{
        pthread_mutex_lock(&gate.lock);
        gate.open = open;
        pthread_cond_broadcast(&gate.moved);
        pthread_mutex_unlock(&gate.lock);
}

static void gate_await(const int *counter, int n)
{
        struct timespec end;

        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 20;
        pthread_mutex_lock(&gate.lock);
        while (*counter != n && !pthread_cond_timedwait(&gate.moved, &gate.lock, &end))
                ;
        int got = *counter;
        pthread_mutex_unlock(&gate.lock);
        assert_int_equal(got, n);
}

static void gated(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx;
        pthread_mutex_lock(&gate.lock);
        if (!req->may_block) {
                gate.refused++;
                rep->later = true;
                buf_adds(&rep->body, "what is said with it is forgotten");
        } else {
                gate.inside++;
                pthread_cond_broadcast(&gate.moved);
                while (!gate.open)
                        pthread_cond_wait(&gate.moved, &gate.lock);
                gate.inside--;
                buf_addf(&rep->body, "%s %s %s %zu %s", req->method, req->path, req->query,
                         req->body_len, req->body);
        }
        pthread_cond_broadcast(&gate.moved);
        pthread_mutex_unlock(&gate.lock);
}

static void quick(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        buf_adds(&rep->body, "quick");
}

static void never(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        rep->later = true;
}

static const struct http_route ROUTES[] = {
        {"GET", "/gate", gated},
        {"POST", "/gate", gated},
        {"GET", "/quick", quick},
        {"GET", "/never", never},
};

static void start(const struct http_config *cfg)
{
        struct http_config local = *cfg;
        struct err e;

        local.address = "127.0.0.1";
        gate_set(false);
        if (http_server_start(&local, ROUTES, countof(ROUTES), NULL, &server, &e) < 0)
                fail_msg("%s", e.msg);
        port = http_server_port(server);
}

static void stop(void)
{
        gate_set(true);
        http_server_stop(server, 0, 5000);
        server = NULL;
}

static int teardown(void **state)
{
        (void)state;
        if (server)
                stop();
        return 0;
}

static void send_get(struct client *c, const char *path)
{
        char text[256];
        int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);

        assert_true(client_send(c, text, (size_t)n));
}

static void open_all(struct client *c, size_t n, SSL_CTX *ctx)
{
        for (size_t i = 0; i < n; i++)
                assert_true(client_open(&c[i], port, ctx));
}

static void close_all(struct client *c, size_t n)
{
        for (size_t i = 0; i < n; i++)
                client_close(&c[i]);
}

static int by_value(const void *a, const void *b)
{
        return *(const int64_t *)a < *(const int64_t *)b ? -1 : 1;
}

/* Milliseconds within which n requests of 100 on one connection are answered. */
static int64_t quick_ms(size_t n)
{
        struct client c = {0};
        struct answer a = {0};
        int64_t ms[100];

        assert_true(client_open(&c, port, NULL));
        for (size_t i = 0; i < countof(ms); i++) {
                struct mono t = mono_now();
                assert_int_equal(get(&c, "/quick", &a), 200);
                ms[i] = mono_ms_between(t, mono_now());
        }
        client_close(&c);
        qsort(ms, countof(ms), sizeof(ms[0]), by_value);
        return ms[n - 1];
}

/* --- */

static void others_do_not_wait(void **state)
{
        enum { THREADS = 3, QUEUE = 4 * THREADS };
        static struct client c[THREADS + QUEUE];
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.threads = 1, .slow_threads = THREADS});
        open_all(c, countof(c), NULL);
        for (size_t i = 0; i < THREADS; i++)
                send_get(&c[i], "/gate?x");
        gate_await(&gate.inside, THREADS);
        for (size_t i = THREADS; i < countof(c); i++)
                send_get(&c[i], "/gate?x");
        assert_true(quick_ms(95) < 50);
        gate_set(true);
        for (size_t i = 0; i < countof(c); i++) {
                assert_true(client_read(&c[i], &a, false));
                if (i < THREADS)
                        assert_string_equal(a.body, "GET /gate x 0 ");
        }
        close_all(c, countof(c));
        stop();
}

static void the_request_is_whole_the_second_time(void **state)
{
        static const char TWO[] = "POST /gate?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                  "application/json\r\nContent-Length: 7\r\n\r\n[1,2,3]"
                                  "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n";
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.slow_threads = 1});
        gate_set(true);
        gate.refused = 0;
        assert_true(client_open(&c, port, NULL));
        for (int i = 0; i < 50; i++) { /* and the pipelined one comes after it */
                assert_true(client_send(&c, TWO, sizeof(TWO) - 1));
                assert_true(client_read(&c, &a, false));
                assert_string_equal(a.body, "POST /gate a=b 7 [1,2,3]");
                assert_true(client_read(&c, &a, false));
                assert_string_equal(a.body, "quick");
                assert_false(a.close);
        }
        assert_int_equal(gate.refused, 50);
        client_close(&c);
        stop();
}

/* Which of those that come at once find the queue full is the workers' affair; how many is not. */
static void refused_when_all_is_full(void **state)
{
        enum { THREADS = 2, QUEUE = 4 * THREADS, MORE = 5 };
        static struct client c[THREADS + QUEUE + MORE];
        struct pollfd answered[countof(c)];
        struct answer a = {0};
        size_t busy = 0;

        (void)state;
        start(&(struct http_config){.slow_threads = THREADS});
        open_all(c, countof(c), NULL);
        for (size_t i = 0; i < THREADS; i++)
                send_get(&c[i], "/gate");
        gate_await(&gate.inside, THREADS);
        for (size_t i = THREADS; i < countof(c); i++)
                send_get(&c[i], "/gate");
        for (size_t i = 0; i < countof(c); i++)
                answered[i] = (struct pollfd){.fd = c[i].fd, .events = POLLIN};
        while (busy < MORE) {
                assert_true(poll(answered, countof(c), 20000) > 0);
                for (size_t i = 0; i < countof(c); i++) {
                        if (!answered[i].revents)
                                continue;
                        assert_true(client_read(&c[i], &a, false));
                        assert_int_equal(a.status, 503);
                        assert_non_null(strstr(a.head, "Retry-After: 1\r\n"));
                        assert_string_equal(a.body,
                                            "{\"error\":\"too many requests that have to wait\"}");
                        assert_false(a.close);
                        answered[i].fd = -1; /* which poll passes over */
                        busy++;
                }
        }
        assert_int_equal(busy, MORE);
        assert_int_equal(poll(answered, countof(c), 100), 0);
        gate_set(true);
        for (size_t i = 0; i < countof(c); i++)
                if (answered[i].fd >= 0)
                        assert_true(client_read(&c[i], &a, false));
        close_all(c, countof(c));
        stop();
}

/* Who asks has given up on it, or will before it is done. */
static void not_begun_after_a_second(void **state)
{
        static struct client c[4];
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.slow_threads = 1});
        open_all(c, countof(c), NULL);
        send_get(&c[0], "/gate");
        gate_await(&gate.inside, 1);
        for (size_t i = 1; i < countof(c); i++)
                send_get(&c[i], "/gate");
        nap_ms(1200);
        gate_set(true);
        for (size_t i = 0; i < countof(c); i++) {
                assert_true(client_read(&c[i], &a, false));
                assert_int_equal(a.status, i ? 503 : 200);
        }
        close_all(c, countof(c));
        stop();
}

static void without_slow_threads_workers_wait(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        gate_set(true);
        gate.refused = 0;
        assert_true(client_open(&c, port, NULL));
        assert_int_equal(get(&c, "/gate", &a), 200);
        assert_int_equal(gate.refused, 0);
        assert_int_equal(get(&c, "/never", &a), 503); /* nobody could call it again */
        client_close(&c);
        stop();
}

static void for_ever_later_is_an_error(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.slow_threads = 1});
        assert_true(client_open(&c, port, NULL));
        for (int i = 0; i < 3; i++)
                assert_int_equal(get(&c, "/never", &a), 503);
        client_close(&c);
        stop();
}

/* The client goes, in each of the ways there are, while its request is being worked for. */
static void clients_may_leave(void **state)
{
        static struct client c[3];
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.slow_threads = countof(c)});
        open_all(c, countof(c), NULL);
        for (size_t i = 0; i < countof(c); i++)
                send_get(&c[i], "/gate");
        gate_await(&gate.inside, countof(c));
        struct linger hard = {.l_onoff = 1};
        setsockopt(c[0].fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        client_close(&c[0]);
        client_close(&c[1]);
        shutdown(c[2].fd, SHUT_WR);
        nap_ms(700); /* the housekeeper has seen it */
        gate_set(true);
        assert_true(client_ended(&c[2]));
        client_close(&c[2]);
        assert_int_equal(get_once(port, NULL, "/quick", &a), 200);
        stop();
}

static void deadlines_hold(void **state)
{
        struct client c = {0};

        (void)state;
        start(&(struct http_config){.slow_threads = 1, .request_seconds = 1});
        assert_true(client_open(&c, port, NULL));
        struct mono t = mono_now();
        send_get(&c, "/gate");
        assert_true(client_ended(&c));
        int64_t ms = mono_ms_between(t, mono_now());
        assert_true(ms >= 900 && ms < 3000);
        client_close(&c);
        stop();
}

/* --- the end */

static atomic_bool stopped;

static void *stopper(void *drain_ms)
{
        http_server_stop(server, 0, *(unsigned *)drain_ms);
        server = NULL;
        atomic_store(&stopped, true);
        return NULL;
}

static void stop_waits_for_them(void **state)
{
        unsigned drain_ms = 5000;
        static struct client c[4];
        struct answer a = {0};
        pthread_t t;

        (void)state;
        start(&(struct http_config){.slow_threads = 1});
        open_all(c, countof(c), NULL);
        for (size_t i = 0; i < countof(c); i++) /* one runs, the others wait */
                send_get(&c[i], "/gate");
        gate_await(&gate.inside, 1);
        atomic_store(&stopped, false);
        pthread_create(&t, NULL, stopper, &drain_ms);
        nap_ms(100);
        assert_false(atomic_load(&stopped));
        gate_set(true);
        for (size_t i = 0; i < countof(c); i++) {
                assert_true(client_read(&c[i], &a, false));
                assert_int_equal(a.status, 200);
        }
        pthread_join(t, NULL);
        close_all(c, countof(c));
}

static void stop_beyond_the_drain(void **state)
{
        unsigned drain_ms = 200;
        static struct client c[6];
        struct answer a = {0};
        pthread_t t;
        int answered = 0;

        (void)state;
        start(&(struct http_config){.slow_threads = 1});
        open_all(c, countof(c), NULL);
        send_get(&c[0], "/gate");
        gate_await(&gate.inside, 1);
        for (size_t i = 1; i < countof(c) - 1; i++)
                send_get(&c[i], "/gate");
        client_close(&c[1]);
        struct mono began = mono_now();
        atomic_store(&stopped, false);
        pthread_create(&t, NULL, stopper, &drain_ms);
        nap_ms(500);
        assert_false(atomic_load(&stopped)); /* for the one that runs: it cannot be ended */
        gate_set(true);
        pthread_join(t, NULL);
        assert_true(mono_ms_between(began, mono_now()) < 3000);
        for (size_t i = 0; i < countof(c); i++) {
                if (c[i].fd < 0)
                        continue;
                if (i < countof(c) - 1 && client_read(&c[i], &a, false)) {
                        assert_int_equal(a.status, i ? 503 : 200);
                        answered++;
                }
                assert_true(client_ended(&c[i]));
        }
        assert_true(answered >= 1);
        close_all(c, countof(c));
}

/* --- many at once, over TLS too */

static atomic_int failures;

static void *hammer(void *ctx)
{
        struct client c = {0};
        struct answer a = {0};

        for (int i = 0; i < 5; i++) {
                if (!client_open(&c, port, ctx)) {
                        failures++;
                        continue;
                }
                for (int k = 0; k < 60; k++) {
                        int status = ask(&c, "POST", k % 3 ? "/gate" : "/none", "{}", 2, &a);
                        if (status != (k % 3 ? 200 : 404) || a.close)
                                failures++;
                }
                client_close(&c);
        }
        return NULL;
}

static void hammer_all(SSL_CTX *ctx)
{
        pthread_t t[6];

        failures = 0;
        gate_set(true);
        for (size_t i = 0; i < countof(t); i++)
                assert_int_equal(pthread_create(&t[i], NULL, hammer, ctx), 0);
        for (size_t i = 0; i < countof(t); i++)
                pthread_join(t[i], NULL);
        assert_int_equal(failures, 0);
}

static void many_clients(void **state)
{
        (void)state;
        start(&(struct http_config){.threads = 2, .slow_threads = 3});
        hammer_all(NULL);
        stop();
}

static void many_clients_over_tls(void **state)
{
        char dir[] = "/tmp/http_slow.XXXXXX", cert[64], key[64];
        struct identity_of ca = issue_ca("ca"), id;
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

        (void)state;
        assert_non_null(mkdtemp(dir));
        snprintf(cert, sizeof(cert), "%s/tls.crt", dir);
        snprintf(key, sizeof(key), "%s/tls.key", dir);
        id = issue(&ca, "server", -1, "serverAuth", -60, 3600);
        write_cert(cert, &id, NULL);
        write_key(key, &id);
        start(&(struct http_config){.threads = 2, .slow_threads = 3, .cert = cert, .key = key});
        hammer_all(ctx);
        stop();
        unlink(cert);
        unlink(key);
        rmdir(dir);
        identity_free(&id);
        identity_free(&ca);
        SSL_CTX_free(ctx);
}

static int group_setup(void **state)
{
        (void)state;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(others_do_not_wait),
                T(the_request_is_whole_the_second_time),
                T(refused_when_all_is_full),
                T(not_begun_after_a_second),
                T(without_slow_threads_workers_wait),
                T(for_ever_later_is_an_error),
                T(clients_may_leave),
                T(deadlines_hold),
                T(stop_waits_for_them),
                T(stop_beyond_the_drain),
                T(many_clients),
                T(many_clients_over_tls),
        };
        return cmocka_run_group_tests(tests, group_setup, NULL);
}
