/* More connections than may be, and more large bodies: who makes room for whom. */
#include "tests/unit/http_client.h"

#define FEW  "127.0.0.2" /* an address that opens many */
#define POST "POST /quick HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

static struct http_server *server;
static uint16_t port;
static atomic_bool gate;
static atomic_int inside;

static void quick(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx;
        buf_addf(&rep->body, "%zu", req->body_len);
}

static void gated(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx;
        rep->later = !req->may_block;
        if (rep->later)
                return;
        atomic_fetch_add(&inside, 1);
        while (!atomic_load(&gate))
                nap_ms(1);
        atomic_fetch_sub(&inside, 1);
}

static const struct http_route ROUTES[] = {
        {"GET", "/quick", quick}, {"POST", "/quick", quick}, {"GET", "/gate", gated}};

static void start(unsigned connections, unsigned slow_threads, size_t max_body)
{
        /* one worker: what comes first is seen first */
        const struct http_config cfg = {.address = "127.0.0.1",
                                        .threads = 1,
                                        .max_connections = connections,
                                        .slow_threads = slow_threads,
                                        .max_body = max_body};
        struct err e;

        atomic_store(&gate, false);
        if (http_server_start(&cfg, ROUTES, countof(ROUTES), NULL, &server, &e) < 0)
                fail_msg("%s", e.msg);
        port = http_server_port(server);
}

static int teardown(void **state)
{
        (void)state;
        atomic_store(&gate, true);
        http_server_stop(server, 0, 1000);
        return 0;
}

static void dial(struct client *c, size_t n, const char *from)
{
        for (size_t i = 0; i < n; i++) {
                c[i].ssl = NULL;
                assert_true(client_dial_from(&c[i], from, port));
        }
}

static void tell(struct client *c, size_t n, const char *text)
{
        for (size_t i = 0; i < n; i++)
                client_send(&c[i], text, strlen(text));
}

static void hang_up(struct client *c, size_t n)
{
        for (size_t i = 0; i < n; i++)
                client_close(&c[i]);
}

/* How many of them the server still answers. */
static size_t alive(struct client *c, size_t n)
{
        struct answer a = {0};
        size_t count = 0;

        for (size_t i = 0; i < n; i++)
                count += get(&c[i], "/quick", &a) == 200;
        return count;
}

/* --- connections */

static void idle_ones_go_oldest_first(void **state)
{
        enum { N = 40, MAX = 16 };
        static struct client c[N];

        (void)state;
        start(MAX, 0, 0);
        for (size_t i = 0; i < N; i++) {
                dial(&c[i], 1, "127.0.0.1");
                assert_int_equal(alive(&c[i], 1),
                                 1); /* a new one is served, however many there are */
        }
        assert_int_equal(alive(c, N - MAX), 0);
        assert_int_equal(alive(c + N - MAX, MAX), MAX);
        hang_up(c, N);
        dial(c, MAX, "127.0.0.1"); /* their places are free */
        assert_int_equal(alive(c, MAX), MAX);
        hang_up(c, MAX);
}

/* Ones that say nothing, and ones that send a byte now and then. */
static void silent_ones_go(void **state)
{
        enum { N = 200, MAX = 16 };
        static struct client c[N];
        struct client honest;

        (void)state;
        start(MAX, 0, 0);
        dial(&honest, 1, "127.0.0.1");
        dial(c, N / 2, FEW);
        assert_int_equal(alive(&honest, 1), 1);
        dial(c + N / 2, N / 2, FEW);
        tell(c, N, "GET /qui");
        for (int i = 0; i < 20; i++)
                assert_int_equal(alive(&honest, 1), 1);
        client_close(&honest);
        dial(&honest, 1, "127.0.0.1");
        assert_int_equal(alive(&honest, 1), 1);
        client_close(&honest);
        hang_up(c, N);
}

/* Whose request has begun just now may stay, unless there is nobody else to go. */
static void those_with_a_request_go_last(void **state)
{
        enum { MAX = 8 };
        static struct client busy[MAX], idle[MAX], late[MAX];
        struct answer a = {0};

        (void)state;
        start(MAX, 0, 0);
        dial(busy, MAX / 2, "127.0.0.1");
        dial(idle, MAX / 2, "127.0.0.1");
        assert_int_equal(alive(idle, MAX / 2), MAX / 2);
        tell(busy, MAX / 2, POST "Content-Length: 4\r\n\r\n12");
        assert_int_equal(alive(idle, MAX / 2), MAX / 2); /* the ones before were seen by then */
        dial(late, MAX / 2, "127.0.0.1");
        assert_int_equal(alive(late, MAX / 2), MAX / 2);
        assert_int_equal(alive(idle, MAX / 2), 0);
        tell(busy, MAX / 2, "34");
        for (size_t i = 0; i < MAX / 2; i++) {
                assert_true(client_read(&busy[i], &a, false));
                assert_string_equal(a.body, "4");
        }
        hang_up(busy, MAX / 2);
        hang_up(idle, MAX / 2);
        hang_up(late, MAX / 2);
}

/* A request that does not come forward is no better than none. */
static void slow_requests_go(void **state)
{
        enum { MAX = 8 };
        static struct client slow[MAX];
        struct client idle, late;

        (void)state;
        start(MAX, 0, 0);
        dial(slow, MAX - 1, "127.0.0.1");
        tell(slow, MAX - 1, POST "Content-Length: 4\r\n\r\n12");
        nap_ms(1100);
        dial(&idle, 1, "127.0.0.1");
        assert_int_equal(alive(&idle, 1), 1);
        dial(&late, 1, "127.0.0.1");
        assert_int_equal(alive(&late, 1), 1);
        assert_int_equal(alive(&idle, 1), 1); /* older ones have gone instead */
        client_close(&idle);
        client_close(&late);
        hang_up(slow, MAX - 1);
}

static void few_addresses_hurt_only_themselves(void **state)
{
        enum { N = 300, MAX = 32, OURS = 8 };
        static struct client flood[N], honest[OURS];

        (void)state;
        start(MAX, 0, 0);
        dial(honest, OURS, "127.0.0.1");
        assert_int_equal(alive(honest, OURS), OURS); /* idle ones, and older than all others */
        dial(flood, N, FEW);
        tell(flood, N, POST "Content-Length: 4\r\n\r\n12"); /* young requests even */
        assert_int_equal(alive(honest, OURS), OURS);
        hang_up(flood, N);
        hang_up(honest, OURS);
}

/* Neighbours are told apart, though there are many of them. */
static void neighbours_are_not_confused(void **state)
{
        enum { MAX = 32, NEIGHBOURS = 10, EACH = 16 };
        static struct client flood[NEIGHBOURS * EACH], honest;
        char from[32];

        (void)state;
        start(MAX, 0, 0);
        for (int own = 2; own < 10; own++) {
                snprintf(from, sizeof(from), "127.0.0.%d", own);
                dial(&honest, 1, from);
                assert_int_equal(alive(&honest, 1), 1);
                for (size_t i = 0; i < countof(flood); i++) {
                        snprintf(from, sizeof(from), "127.0.0.%zu", 10 + i % NEIGHBOURS);
                        dial(&flood[i], 1, from);
                }
                assert_int_equal(alive(&flood[countof(flood) - 1], 1), 1); /* all were seen */
                assert_int_equal(alive(&honest, 1), 1);
                client_close(&honest);
                hang_up(flood, countof(flood));
        }
}

static void those_that_we_work_for_stay(void **state)
{
        enum { MAX = 4 };
        static struct client c[MAX];
        struct client more = {0};
        struct answer a = {0};

        (void)state;
        start(MAX, MAX, 0);
        dial(c, MAX, "127.0.0.1");
        tell(c, MAX, "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n");
        while (atomic_load(&inside) != MAX)
                nap_ms(1);
        dial(&more, 1, "127.0.0.1");
        assert_int_equal(alive(&more, 1), 0); /* there is no place at all */
        client_close(&more);
        atomic_store(&gate, true);
        for (size_t i = 0; i < MAX; i++) {
                assert_true(client_read(&c[i], &a, false));
                assert_int_equal(a.status, 200);
        }
        dial(&more, 1, "127.0.0.1");
        assert_int_equal(alive(&more, 1), 1);
        client_close(&more);
        hang_up(c, MAX);
}

/* --- bodies */

#define MAX_BODY 100000 /* a large one; eight of them are held at a time */
#define LARGE    POST "Content-Length: 100000\r\n\r\n"

static int post(struct client *c, size_t len)
{
        static char body[MAX_BODY];
        struct answer a = {0};

        return ask(c, "POST", "/quick", body, len, &a);
}

/* What a body says that it will be is set aside, though nothing of it has come. */
static void announced_bodies_are_held(void **state)
{
        enum { N = 8 };
        static struct client slow[N];
        struct client honest;

        (void)state;
        start(0, 0, MAX_BODY);
        dial(slow, N, FEW);
        dial(&honest, 1, "127.0.0.1");
        tell(slow, N, LARGE);
        nap_ms(200);
        assert_int_equal(post(&honest, MAX_BODY), 503);
        assert_int_equal(post(&honest, 65536), 200); /* those that are not large always pass */
        client_close(&slow[0]);
        nap_ms(700); /* the housekeeper has seen it */
        assert_int_equal(post(&honest, MAX_BODY), 200);
        client_close(&honest);
        hang_up(slow, N);
}

static void slow_large_bodies_go(void **state)
{
        enum { N = 8 };
        static struct client slow[N];
        struct client honest;
        int status = 0;

        (void)state;
        start(0, 0, MAX_BODY);
        dial(slow, N, FEW);
        dial(&honest, 1, "127.0.0.1");
        tell(slow, 1, LARGE);
        nap_ms(20);
        tell(slow + 1, N - 1, LARGE);
        nap_ms(1200);
        assert_int_equal(post(&honest, MAX_BODY), 503); /* asked to come again in a second */
        assert_true(client_ended(&slow[0]));
        for (int i = 0; i < 5 && status != 200; i++)
                status = post(&honest, MAX_BODY);
        assert_int_equal(status, 200);
        client_close(&honest);
        hang_up(slow, N);
}

/* Chunked ones tell no length: they are counted as they grow. */
static void chunked_bodies_are_held(void **state)
{
        enum { N = 9, SIZE = 90000 };
        static struct client c[N];
        static char chunk[SIZE];
        struct answer a = {0};
        int ok = 0, busy = 0;

        (void)state;
        start(0, 0, MAX_BODY);
        dial(c, N, "127.0.0.1");
        for (size_t i = 0; i < N; i++) {
                tell(&c[i], 1, POST "Transfer-Encoding: chunked\r\n\r\n15f90\r\n");
                assert_true(client_send(&c[i], chunk, SIZE));
        }
        nap_ms(300);
        for (size_t i = 0; i < N; i++) {
                tell(&c[i], 1, "\r\n0\r\n\r\n");
                assert_true(client_read(&c[i], &a, false));
                ok += a.status == 200 && strcmp(a.body, "90000") == 0;
                busy += a.status == 503;
        }
        assert_int_equal(ok, 8);
        assert_int_equal(busy, 1);
        assert_int_equal(post(&c[0], MAX_BODY), 200);
        hang_up(c, N);
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
                T(idle_ones_go_oldest_first),
                T(silent_ones_go),
                T(those_with_a_request_go_last),
                T(slow_requests_go),
                T(few_addresses_hurt_only_themselves),
                T(neighbours_are_not_confused),
                T(those_that_we_work_for_stay),
                T(announced_bodies_are_held),
                T(slow_large_bodies_go),
                T(chunked_bodies_are_held),
        };
        return cmocka_run_group_tests(tests, group_setup, NULL);
}
