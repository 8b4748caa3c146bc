#include "tests/unit/http_client.h"

#define POST "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

static struct http_server *server;
static uint16_t port;

static void stop(void)
{
        http_server_stop(server, 0, 1000);
        server = NULL;
}

/* --- handlers */

static int token; /* the routes' context */

static void echo(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        assert_ptr_equal(ctx, &token);
        buf_addf(&rep->body, "%s %s [%s] [%s] %zu %.20s", req->method, req->path, req->query,
                 req->content_type, req->body_len, req->body);
}

static void broken(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        rep->retry_after = 7;
        http_reply_error(rep, 500, "no \"luck\"");
}

static void overgrown(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        rep->body.limit = 10;
        buf_adds(&rep->body, "longer than the limit");
}

static void large(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        size_t n = strtoul(req->query, NULL, 10);

        (void)ctx;
        while (rep->body.len < n)
                buf_adds(&rep->body, "0123456789abcdef");
}

static void slow(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx;
        nap_ms(strtol(req->query, NULL, 10));
        buf_adds(&rep->body, "late");
}

static void empty(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        rep->status = 204;
}

static void fault(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)rep;
        oom_arm(strtoul(req->query, NULL, 10)); /* of the worker's thread */
}

static void faulted(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx, (void)req;
        buf_adds(&rep->body, oom_disarm() ? "yes" : "no");
}

static const struct http_route ROUTES[] = {
        {"POST", "/echo", echo},  {"GET", "/echo", echo},           {"GET", "/broken", broken},
        {"GET", "/empty", empty}, {"GET", "/overgrown", overgrown}, {"GET", "/large", large},
        {"GET", "/slow", slow},   {"GET", "/fault", fault},         {"GET", "/faulted", faulted},
};

static void start(const struct http_config *cfg)
{
        struct http_config local = *cfg;
        struct err e;

        local.address = "127.0.0.1";
        if (http_server_start(&local, ROUTES, countof(ROUTES), &token, &server, &e) < 0)
                fail_msg("%s", e.msg);
        port = http_server_port(server);
        assert_true(port != 0);
}

static int group_setup(void **state)
{
        (void)state;
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

/* A failed assertion leaves a server behind. */
static int teardown(void **state)
{
        (void)state;
        if (server)
                stop();
        return 0;
}

/* --- what a well-behaved client sees */

static void health_readiness_metrics(void **state)
{
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        assert_int_equal(get_once(port, NULL, "/healthz", &a), 200);
        assert_string_equal(a.body, "ok\n");
        assert_int_equal(get_once(port, NULL, "/readyz", &a), 503);
        http_server_ready(server, true);
        assert_int_equal(get_once(port, NULL, "/readyz?verbose", &a), 200);
        http_server_ready(server, false);
        assert_int_equal(get_once(port, NULL, "/readyz", &a), 503);
        assert_int_equal(get_once(port, NULL, "/metrics", &a), 200);
        assert_non_null(strstr(a.head, "application/openmetrics-text; version=1.0.0"));
        assert_non_null(strstr(a.body, "drover_http_responses_total{code=\"503\"} 2\n"));
        assert_non_null(strstr(a.body, "drover_http_request_seconds_count{path=\"/healthz\"} 1\n"));
        assert_string_equal(a.body + a.body_len - 6, "# EOF\n");
        stop();
}

static void requests_reach_their_route(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        assert_true(client_open(&c, port, NULL));
        assert_int_equal(ask(&c, "POST", "/echo?timeout=10s&x=%41", "hello", 5, &a), 200);
        assert_string_equal(a.body, "POST /echo [timeout=10s&x=%41] [application/json] 5 hello");
        assert_non_null(strstr(a.head, "Content-Type: application/json\r\n"));
        assert_int_equal(get(&c, "/echo", &a), 200);
        assert_string_equal(a.body, "GET /echo [] [application/json] 0 ");
        assert_int_equal(ask(&c, "HEAD", "/echo", "", 0, &a), 200);
        assert_int_equal(get(&c, "/empty", &a), 204);
        assert_int_equal(get(&c, "/none", &a), 404);
        assert_string_equal(a.body, "{\"error\":\"no such path\"}");
        assert_int_equal(get(&c, "/echo/", &a), 404);
        assert_int_equal(get(&c, "/%65cho", &a), 404); /* paths are compared as they are sent */
        assert_int_equal(get(&c, "/healthz%00x", &a), 404);
        assert_int_equal(ask(&c, "DELETE", "/broken", "", 0, &a), 405);
        assert_non_null(strstr(a.head, "Allow: GET\r\n"));
        assert_int_equal(ask(&c, "POST", "/healthz", "x", 1, &a), 405);
        assert_int_equal(get(&c, "/large?2000000", &a), 200);
        client_close(&c);
        stop();
}

/* Of the statuses with a body that a client reads, none may cost it its connection. */
static void errors_keep_the_connection(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.max_body = 1000});
        assert_true(client_open(&c, port, NULL));
        char *big = calloc(1, 100000);
        for (int i = 0; i < 20; i++) {
                assert_int_equal(get(&c, "/broken", &a), 500);
                assert_false(a.close);
                assert_non_null(strstr(a.head, "Retry-After: 7\r\n"));
                assert_string_equal(a.body, "{\"error\":\"no \\\"luck\\\"\"}");
                assert_int_equal(ask(&c, "POST", "/none", "body", 4, &a), 404);
                assert_int_equal(ask(&c, "POST", "/broken", "body", 4, &a), 405);
                assert_int_equal(ask(&c, "POST", "/echo", big, 100000, &a), 413);
                assert_false(a.close);
                assert_int_equal(get(&c, "/overgrown", &a), 500);
                assert_int_equal(get(&c, "/readyz", &a), 503);
                assert_int_equal(get(&c, "/echo", &a), 200);
                assert_false(a.close);
        }
        free(big);
        client_close(&c);
        stop();
}

static void pipelined_requests_are_answered_in_order(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        assert_true(client_open(&c, port, NULL));
        for (int i = 0; i < 50; i++) {
                char text[128];
                int n = snprintf(text, sizeof(text), "GET /echo?%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
                assert_true(client_send(&c, text, (size_t)n));
        }
        for (int i = 0; i < 50; i++) {
                char want[32];
                snprintf(want, sizeof(want), "[%d]", i);
                assert_true(client_read(&c, &a, false));
                assert_non_null(strstr(a.body, want));
        }
        client_close(&c);
        stop();
}

static void both_families_and_ports(void **state)
{
        struct http_config cfg = {.address = "127.0.0.1"};
        struct http_server *s = NULL;
        struct answer a = {0};
        struct err e;

        (void)state;
        start(&(struct http_config){.threads = 1});
        cfg.port = port;
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), -EADDRINUSE);
        assert_non_null(strstr(e.msg, "listen on 127.0.0.1 port"));
        assert_null(s);
        cfg = (struct http_config){.address = "not an address"};
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), -EADDRNOTAVAIL);
        cfg = (struct http_config){.cert = "/x"};
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), -EINVAL);
        cfg = (struct http_config){.client_ca = "/x"};
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), -EINVAL);
        cfg = (struct http_config){.cert = "/nonexistent", .key = "/nonexistent"};
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), -ENOENT);
        cfg = (struct http_config){.threads = 3};
        assert_int_equal(http_server_start(&cfg, NULL, 0, NULL, &s, &e), 0);
        assert_int_equal(get_once(http_server_port(s), NULL, "/healthz", &a), 200);
        http_server_stop(s, 0, 0);
        http_server_stop(NULL, 0, 0);
        stop();
}

/* --- bounds */

static void body_is_capped(void **state)
{
        static char body[1001];
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        memset(body, 'b', sizeof(body));
        start(&(struct http_config){.max_body = 1000});
        assert_true(client_open(&c, port, NULL));
        assert_int_equal(ask(&c, "POST", "/echo", body, 1000, &a), 200);
        assert_non_null(strstr(a.body, " 1000 bbb"));
        assert_int_equal(ask(&c, "POST", "/echo", body, 1001, &a), 413);
        assert_int_equal(ask(&c, "POST", "/echo", body, 1000, &a), 200);

        /* in chunks, where no length tells beforehand */
        const char *head = POST "Transfer-Encoding: chunked\r\n\r\n";
        for (int chunks = 10; chunks <= 11; chunks++) {
                assert_true(client_send(&c, head, strlen(head)));
                for (int i = 0; i < chunks; i++) {
                        assert_true(client_send(&c, "64\r\n", 4));
                        assert_true(client_send(&c, body, 100));
                        assert_true(client_send(&c, "\r\n", 2));
                }
                assert_true(client_send(&c, "0\r\n\r\n", 5));
                assert_true(client_read(&c, &a, false));
                assert_int_equal(a.status, chunks == 10 ? 200 : 413);
        }

        /* a length beyond what is worth reading: answered at once, without the body */
        head = POST "Content-Length: 99999999999\r\n\r\n";
        assert_true(client_send(&c, head, strlen(head)));
        assert_true(client_read(&c, &a, false));
        assert_int_equal(a.status, 413);
        assert_true(client_ended(&c));
        client_close(&c);
        stop();
}

static void endless_body_is_cut(void **state)
{
        static char chunk[65536 + 8] = "10000\r\n";
        struct client c = {0};
        size_t sent = 0;

        (void)state;
        start(&(struct http_config){.max_body = 1000});
        const char *head = POST "Transfer-Encoding: chunked\r\n\r\n";
        assert_true(client_open(&c, port, NULL));
        assert_true(client_send(&c, head, strlen(head)));
        memset(chunk + 7, 'x', 65536);
        while (sent < (size_t)1 << 30 && client_send(&c, chunk, 7 + 65536) &&
               client_send(&c, "\r\n", 2))
                sent += 65536;
        assert_true(sent < (size_t)64 << 20);
        client_close(&c);
        stop();
}

static void expect_continue(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.max_body = 1000});
        assert_true(client_open(&c, port, NULL));
        const char *head = POST "Content-Length: 5\r\n"
                                "Expect: 100-continue\r\n\r\n";
        assert_true(client_send(&c, head, strlen(head)));
        assert_true(client_read(&c, &a, false));
        assert_int_equal(a.status, 100);
        assert_true(client_send(&c, "hello", 5));
        assert_true(client_read(&c, &a, false));
        assert_int_equal(a.status, 200);
        client_close(&c);
        stop();
}

static void bodies_together_are_capped(void **state)
{
        enum { N = 12, MAX = 100000 };
        static struct client c[N];
        static char body[MAX];
        struct answer a = {0};
        int ok = 0, busy = 0;

        (void)state;
        start(&(struct http_config){.max_body = MAX});
        const char *head = POST "Content-Length: 100000\r\n\r\n";
        for (int i = 0; i < N; i++) {
                assert_true(client_open(&c[i], port, NULL));
                assert_true(client_send(&c[i], head, strlen(head)));
                assert_true(client_send(&c[i], body, MAX - 1));
        }
        nap_ms(300);
        for (int i = 0; i < N; i++) {
                assert_true(client_send(&c[i], body, 1));
                assert_true(client_read(&c[i], &a, false));
                ok += a.status == 200;
                busy += a.status == 503 && strstr(a.head, "Retry-After: 1\r\n");
        }
        assert_int_equal(ok + busy, N);
        assert_true(ok >= 7 && busy >= 3);
        /* all of it was given back */
        for (int i = 0; i < N; i++) {
                assert_int_equal(ask(&c[i], "POST", "/echo", body, MAX, &a), 200);
                client_close(&c[i]);
        }
        stop();
}

static void headers_are_capped(void **state)
{
        static char field[2000];
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        memset(field, 'h', sizeof(field));
        for (int n = 1; n <= 201; n += 50) {
                assert_true(client_open(&c, port, NULL));
                bool sent = client_send(&c, "GET /echo HTTP/1.1\r\nHost: x\r\n", 29);
                for (int i = 0; i < n && sent; i++)
                        sent = client_send(&c, "X-A: ", 5) && client_send(&c, field, 1000) &&
                               client_send(&c, "\r\n", 2);
                if (sent)
                        client_send(&c, "\r\n", 2);
                bool got = client_read(&c, &a, false);
                if (n <= 20)
                        assert_true(got && a.status == 200);
                else
                        assert_true(!got || a.status == 200 || a.status == 431 || a.status == 413);
                if (n > 100)
                        assert_true(!got || a.status != 200);
                client_close(&c);
        }
        /* a request line of its own */
        assert_true(client_open(&c, port, NULL));
        client_send(&c, "GET /", 5);
        for (int i = 0; i < 60 && client_send(&c, field, sizeof(field)); i++)
                ;
        assert_true(!client_read(&c, &a, false) || a.status >= 400);
        client_close(&c);
        assert_int_equal(get_once(port, NULL, "/healthz", &a), 200);
        stop();
}

static void other_content_types_are_refused(void **state)
{
        static const struct {
                const char *type;
                int status;
        } ROWS[] = {
                {"Content-Type: application/json\r\n", 200},
                {"content-type: Application/JSON; charset=utf-8\r\n", 200},
                {"Content-Type: application/json ;charset=utf-8\r\n", 200},
                {"", 415},
                {"Content-Type:\r\n", 415},
                {"Content-Type: text/plain\r\n", 415},
                {"Content-Type: application/jsonl\r\n", 415},
                {"Content-Type: application/json,text/plain\r\n", 415},
                {"Content-Type: application/vnd.kubernetes.protobuf\r\n", 415},
                {"Content-Type: text/plain; application/json\r\n", 415},
        };
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        assert_true(client_open(&c, port, NULL));
        for (size_t i = 0; i < countof(ROWS); i++) {
                char text[256];
                int n = snprintf(
                        text, sizeof(text),
                        "POST /echo HTTP/1.1\r\nHost: x\r\n%sContent-Length: 5\r\n\r\nhello",
                        ROWS[i].type);
                assert_true(client_send(&c, text, (size_t)n));
                assert_true(client_read(&c, &a, false));
                if (a.status != ROWS[i].status)
                        fail_msg("%d to %s", a.status, ROWS[i].type);
                if (a.status == 415)
                        assert_string_equal(
                                a.body, "{\"error\":\"Content-Type: must be application/json\"}");
                assert_false(a.close); /* the body was read, the connection goes on */
        }
        client_close(&c);
        stop();
}

/* --- time */

static int64_t ms_until_ended(struct client *c, struct mono since)
{
        assert_true(client_ended(c));
        return mono_ms_between(since, mono_now());
}

static void slow_requests_are_cut(void **state)
{
        static const char HEAD[] = "GET /echo HTTP/1.1\r\nHost: x\r\nX-Long-Header-Field: aaaaaaaa";
        static const char BODY[] = POST "Content-Length: 1000\r\n\r\n";
        struct client c = {0};

        (void)state;
        start(&(struct http_config){.request_seconds = 1, .idle_seconds = 2});
        for (int part = 0; part < 2; part++) {
                assert_true(client_open(&c, port, NULL));
                struct mono t = mono_now();
                assert_true(client_send(&c, part ? BODY : HEAD, part ? sizeof(BODY) - 1 : 40));
                /* a byte now and then keeps nothing alive */
                for (int i = 0; i < 100 && mono_ms_between(t, mono_now()) < 5000; i++) {
                        nap_ms(100);
                        if (!client_send(&c, "a", 1))
                                break;
                }
                int64_t ms = mono_ms_between(t, mono_now());
                assert_true(ms >= 900 && ms < 3500);
                client_close(&c);
        }
        stop();
}

static void silent_connections_are_cut(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.request_seconds = 1, .idle_seconds = 1});
        assert_true(client_open(&c, port, NULL)); /* never says anything */
        int64_t ms = ms_until_ended(&c, mono_now());
        assert_true(ms >= 900 && ms < 3000);
        client_close(&c);
        assert_true(client_open(&c, port, NULL)); /* asks now and then */
        for (int i = 0; i < 5; i++) {
                assert_int_equal(get(&c, "/echo", &a), 200);
                nap_ms(600);
        }
        ms = ms_until_ended(&c, mono_now());
        assert_true(ms < 2500);
        client_close(&c);
        stop();
}

static void drips_before_the_first_line_are_cut(void **state)
{
        struct client c = {0};

        (void)state;
        start(&(struct http_config){.request_seconds = 1, .idle_seconds = 1});
        assert_true(client_open(&c, port, NULL));
        struct mono t = mono_now();
        while (mono_ms_between(t, mono_now()) < 5000 && client_send(&c, "G", 1))
                nap_ms(100);
        assert_true(mono_ms_between(t, mono_now()) < 3500);
        client_close(&c);
        stop();
}

static void a_reader_that_stops_reading_is_cut(void **state)
{
        struct client c = {0};

        (void)state;
        start(&(struct http_config){.request_seconds = 1, .threads = 1});
        assert_true(client_open(&c, port, NULL));
        const char *head = "GET /large?40000000 HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_true(client_send(&c, head, strlen(head)));
        nap_ms(2500);
        size_t got = 0;
        while (client_fill(&c)) {
                got += c.len;
                c.len = 0;
        }
        assert_true(got < 40000000);
        client_close(&c);
        stop();
}

/* --- nonsense */

static void garbage_does_no_harm(void **state)
{
        static const char *const ODD[] = {
                "\r\n\r\n\r\n",
                "GET\r\n\r\n",
                "GET /echo\r\n\r\n",
                "GET /echo HTTP/9.9\r\nHost: x\r\n\r\n",
                "GET /echo HTTP/1.1\r\n\r\n", /* no Host */
                "GET /echo HTTP/1.1\r\nHost x\r\n\r\n",
                "GET  /echo  HTTP/1.1 \r\nHost: x\r\n\r\n",
                POST "Content-Length: -1\r\n\r\n",
                POST "Content-Length: 5x\r\n\r\nhello",
                POST "Content-Length: 99999999999999999999999\r\n\r\n",
                POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff1\r\n",
                POST "Transfer-Encoding: gzip\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",             /* h2 with prior knowledge */
                "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", /* a TLS hello */
                "GET /%zz%00%ff?%%%& HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET http://elsewhere/echo HTTP/1.1\r\nHost: x\r\n\r\n",
                "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
                "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
                "G\0T /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.request_seconds = 1, .idle_seconds = 1});
        for (size_t i = 0; i < countof(ODD); i++) {
                assert_true(client_open(&c, port, NULL));
                client_send(&c, ODD[i], i + 1 == countof(ODD) ? 31 : strlen(ODD[i]));
                shutdown(c.fd, SHUT_WR);
                if (client_read(&c, &a, false) && a.status < 400 && i != 6)
                        fail_msg("answered %d to %s", a.status, ODD[i]);
                client_close(&c);
        }
        srandom(3);
        for (int i = 0; i < 300; i++) {
                char noise[300];
                for (size_t k = 0; k < sizeof(noise); k++)
                        noise[k] = (char)random();
                assert_true(client_open(&c, port, NULL));
                client_send(&c, noise, (size_t)random() % sizeof(noise));
                client_close(&c);
        }
        assert_int_equal(get_once(port, NULL, "/echo", &a), 200);
        stop();
}

static void truncated_requests_do_no_harm(void **state)
{
        const char *whole = "POST /echo?q HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            "Content-Length: 10\r\n\r\n0123456789";
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        for (size_t n = 0; n < strlen(whole); n++) {
                assert_true(client_open(&c, port, NULL));
                client_send(&c, whole, n);
                if (n % 2)
                        shutdown(c.fd, SHUT_WR);
                client_close(&c);
        }
        for (int i = 0; i < 5; i++) { /* in single bytes it is whole all the same */
                assert_true(client_open(&c, port, NULL));
                for (size_t n = 0; n < strlen(whole); n++)
                        assert_true(client_send(&c, whole + n, 1));
                assert_true(client_read(&c, &a, false));
                assert_int_equal(a.status, 200);
                assert_non_null(strstr(a.body, "10 0123456789"));
                client_close(&c);
        }
        stop();
}

/* Data and the end of the stream in one: the place is free again long before any deadline. */
static void clients_that_leave_free_their_place(void **state)
{
        const char *head = POST "Content-Length: 9\r\n\r\n1";
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){.max_connections = 8});
        for (int i = 0; i < 8; i++) {
                assert_true(client_open(&c, port, NULL));
                client_send(&c, head, strlen(head));
                client_close(&c);
        }
        struct mono t = mono_now();
        while (get_once(port, NULL, "/echo", &a) != 200 && mono_ms_between(t, mono_now()) < 5000)
                nap_ms(20);
        assert_true(mono_ms_between(t, mono_now()) < 3000);
        stop();
}

static void a_half_closed_client_gets_its_answer(void **state)
{
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(&(struct http_config){0});
        for (int ms = 0; ms <= 1200; ms += 1200) { /* longer than the server looks away */
                char text[64];
                int n = snprintf(text, sizeof(text), "GET /slow?%d HTTP/1.1\r\nHost: x\r\n\r\n",
                                 ms);
                assert_true(client_open(&c, port, NULL));
                assert_true(client_send(&c, text, (size_t)n));
                shutdown(c.fd, SHUT_WR);
                assert_true(client_read(&c, &a, false));
                assert_string_equal(a.body, "late");
                assert_true(client_ended(&c));
                client_close(&c);
        }
        stop();
}

/* --- many at once, and the end */

static atomic_int failures, done;

static void *hammer(void *arg)
{
        struct client c = {0};
        struct answer a = {0};
        char body[3000];

        (void)arg;
        memset(body, 'x', sizeof(body));
        for (int i = 0; i < 10; i++) {
                if (!client_open(&c, port, NULL)) {
                        failures++;
                        continue;
                }
                for (int k = 0; k < 100; k++)
                        if (ask(&c, "POST", "/echo", body, sizeof(body), &a) != 200 || a.close)
                                failures++;
                client_close(&c);
        }
        return NULL;
}

static void many_clients(void **state)
{
        pthread_t t[6];

        (void)state;
        failures = 0;
        start(&(struct http_config){.threads = 3});
        for (size_t i = 0; i < countof(t); i++)
                assert_int_equal(pthread_create(&t[i], NULL, hammer, NULL), 0);
        for (size_t i = 0; i < countof(t); i++)
                pthread_join(t[i], NULL);
        assert_int_equal(failures, 0);
        stop();
}

static void *stopper(void *arg)
{
        http_server_stop(server, *(unsigned *)arg, 3000);
        server = NULL;
        atomic_store(&done, 1);
        return NULL;
}

static void stops_gracefully(void **state)
{
        unsigned linger = 600;
        struct client old = {0}, idle = {0};
        struct answer a = {0};
        pthread_t t;

        (void)state;
        done = 0;
        start(&(struct http_config){0});
        http_server_ready(server, true);
        assert_true(client_open(&old, port, NULL));
        assert_true(client_open(&idle, port, NULL));
        assert_int_equal(get(&old, "/echo", &a), 200);
        assert_int_equal(get(&idle, "/readyz", &a), 200);
        struct mono t0 = mono_now();
        pthread_create(&t, NULL, stopper, &linger);
        nap_ms(100);
        assert_int_equal(get_once(port, NULL, "/readyz", &a), 503); /* new ones are served too */
        assert_string_equal(a.body, "stopping\n");
        assert_int_equal(get(&old, "/echo", &a), 200);
        assert_true(a.close);
        client_close(&old);
        nap_ms(300);
        assert_true(client_open(&old, port, NULL));
        const char *head = "GET /slow?800 HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_true(client_send(&old, head, strlen(head)));
        nap_ms(500); /* now it drains */
        assert_int_equal(get_once(port, NULL, "/healthz", &a), 0);
        assert_int_equal(atomic_load(&done), 0);
        assert_true(client_read(&old, &a, false));
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "late");
        pthread_join(t, NULL);
        assert_true(mono_ms_between(t0, mono_now()) < 2500); /* it waits for no idle connection */
        assert_true(client_ended(&idle));
        client_close(&idle);
        client_close(&old);
}

static atomic_bool over;

static void *flood(void *arg)
{
        struct client c = {0};

        (void)arg;
        while (!atomic_load(&over)) {
                if (!client_open(&c, port, NULL))
                        continue;
                client_send(&c, "GET /echo HTTP/1.1\r\nHost x\r\n\r\n", 30);
                client_close(&c);
        }
        return NULL;
}

/* microhttpd reads through a NULL when it answers a malformed request while it is being stopped. */
static void stops_under_malformed_requests(void **state)
{
        pthread_t t[3];

        (void)state;
        for (int round = 0; round < 60; round++) {
                start(&(struct http_config){0});
                atomic_store(&over, false);
                for (size_t i = 0; i < countof(t); i++)
                        assert_int_equal(pthread_create(&t[i], NULL, flood, NULL), 0);
                nap_ms(10);
                stop();
                atomic_store(&over, true);
                for (size_t i = 0; i < countof(t); i++)
                        pthread_join(t[i], NULL);
        }
}

static void drain_is_bounded(void **state)
{
        struct client c = {0};

        (void)state;
        start(&(struct http_config){0});
        assert_true(client_open(&c, port, NULL));
        const char *head = POST "Content-Length: 10\r\n\r\n12";
        assert_true(client_send(&c, head, strlen(head)));
        nap_ms(100);
        struct mono t = mono_now();
        http_server_stop(server, 0, 300);
        server = NULL;
        int64_t ms = mono_ms_between(t, mono_now());
        assert_true(ms >= 290 && ms < 1500);
        assert_true(client_ended(&c));
        client_close(&c);
}

/* --- memory */

static void each_allocation_of_the_start_fails_in_turn(void **state)
{
        const struct http_config cfg = {.address = "127.0.0.1", .slow_threads = 2};

        (void)state;
        for (unsigned long n = 1; n; n++) {
                struct http_server *s = NULL;
                struct err e;
                oom_arm(n);
                int rc = http_server_start(&cfg, ROUTES, countof(ROUTES), &token, &s, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        http_server_stop(s, 0, 0);
                        break;
                }
                if (rc == 0) /* what failed was a metric, nothing to refuse service for */
                        http_server_stop(s, 0, 0);
                else
                        assert_int_equal(rc, -ENOMEM);
        }
}

static void each_allocation_of_a_request_fails_in_turn(void **state)
{
        struct client c = {0};
        struct answer a = {0};
        char path[32];
        int refused = 0;

        (void)state;
        start(&(struct http_config){.threads = 1});
        for (int n = 1; n < 100; n++) {
                snprintf(path, sizeof(path), "/fault?%d", n);
                assert_int_equal(get_once(port, NULL, path, &a), 200);
                /* the worker is the one thread armed: connection, request, body, reply */
                bool ok = client_open(&c, port, NULL) &&
                          ask(&c, "POST", "/echo", "hello", 5, &a) == 200;
                if (!ok && a.status)
                        assert_true(a.status == 503 || a.status == 500);
                refused += !ok;
                client_close(&c);
                if (get_once(port, NULL, "/faulted", &a) != 200) { /* it was the one that failed */
                        refused++;
                        assert_int_equal(get_once(port, NULL, "/faulted", &a), 200);
                }
                if (strcmp(a.body, "no") == 0)
                        break;
        }
        assert_true(refused >= 3);
        stop();
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(health_readiness_metrics),
                T(requests_reach_their_route),
                T(errors_keep_the_connection),
                T(pipelined_requests_are_answered_in_order),
                T(both_families_and_ports),
                T(body_is_capped),
                T(endless_body_is_cut),
                T(expect_continue),
                T(bodies_together_are_capped),
                T(headers_are_capped),
                T(other_content_types_are_refused),
                T(slow_requests_are_cut),
                T(silent_connections_are_cut),
                T(drips_before_the_first_line_are_cut),
                T(a_reader_that_stops_reading_is_cut),
                T(garbage_does_no_harm),
                T(truncated_requests_do_no_harm),
                T(clients_that_leave_free_their_place),
                T(a_half_closed_client_gets_its_answer),
                T(many_clients),
                T(stops_gracefully),
                T(stops_under_malformed_requests),
                T(drain_is_bounded),
                T(each_allocation_of_the_start_fails_in_turn),
                T(each_allocation_of_a_request_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, group_setup, NULL);
}
