#include "base/mono.h"
#include "kube/io.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/oom.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fake *server;
static struct kube_client *client;

static void begin(fake_script *script, void *ctx)
{
        struct kube_config cfg = {.ns = "default", .token = "secret"};
        struct err e;

        server = fake_start(script, ctx);
        cfg.server = fake_url(server);
        if (kube_client_new(&cfg, "drover-test/1", &client, &e) < 0)
                fail_msg("%s", e.msg);
        client->tune.backoff_min_ms = 10;
        client->tune.request_ms = 3000;
}

static int tear_down(void **state)
{
        (void)state;
        kube_client_free(client);
        client = NULL;
        fake_stop(server);
        return 0;
}

/* --- the verbs as they go over the wire */

static char wire[8192], wire_headers[8192];

static void record(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const char *p = strstr(r->headers, "Content-Type: ");
        char type[64] = "";

        (void)ctx;
        if (p)
                sscanf(p, "Content-Type: %63[^\r]", type);
        snprintf(wire, sizeof(wire), "%s %s [%s] %s", r->method, r->target, type, r->body);
        snprintf(wire_headers, sizeof(wire_headers), "%s\r\n", r->headers);
        fake_answer(c, strcmp(r->method, "POST") == 0 ? 201 : 200, "",
                    "{\"metadata\":{\"name\":\"it\",\"resourceVersion\":\"7\"}}");
}

static void verbs(void **state)
{
        autojson struct json *o = NULL;
        struct json *out = NULL;
        struct err e = {0};

        (void)state;
        begin(record, NULL);
        assert_int_equal(json_parse("{\"metadata\":{\"name\":\"a\"}}", 25, 100, &o, &e), 0);
        assert_int_equal(kube_get(client, &KUBE_PODS, "n", "p", &out, &e), 0);
        assert_string_equal(wire, "GET /api/v1/namespaces/n/pods/p [] ");
        assert_non_null(strstr(wire_headers, "Authorization: Bearer secret\r\n"));
        assert_non_null(strstr(wire_headers, "Accept: application/json\r\n"));
        assert_non_null(strstr(wire_headers, "User-Agent: drover-test/1"));
        assert_string_equal(json_str(json_get(out, "metadata"), "resourceVersion", ""), "7");
        json_free(out);
        assert_int_equal(kube_get(client, &KUBE_NODES, "ignored", "n 1", NULL, &e), 0);
        assert_string_equal(wire, "GET /api/v1/nodes/n%201 [] ");
        assert_int_equal(kube_create(client, &KUBE_VMS, "n", o, &out, &e), 0);
        assert_string_equal(wire, "POST /apis/drover.dev/v1alpha1/namespaces/n/virtualmachines "
                                  "[application/json] {\"metadata\":{\"name\":\"a\"}}");
        json_free(out);
        assert_int_equal(kube_create(client, &KUBE_HOSTS, NULL, o, NULL, &e), 0);
        assert_non_null(strstr(wire, "POST /apis/drover.dev/v1alpha1/virtualmachinehosts "));
        assert_int_equal(kube_patch(client, &KUBE_VMS, "n", "a", "status", o, NULL, &e), 0);
        assert_string_equal(wire,
                            "PATCH /apis/drover.dev/v1alpha1/namespaces/n/virtualmachines/a/status "
                            "[application/merge-patch+json] {\"metadata\":{\"name\":\"a\"}}");
        assert_int_equal(
                kube_patch_strategic(client, &KUBE_NODES, NULL, "a", "status", o, NULL, &e), 0);
        assert_non_null(strstr(wire, "PATCH /api/v1/nodes/a/status "
                                     "[application/strategic-merge-patch+json] {"));
        assert_int_equal(kube_update(client, &KUBE_LEASES, "n", "a", o, NULL, &e), 0);
        assert_non_null(strstr(wire, "PUT /apis/coordination.k8s.io/v1/namespaces/n/leases/a "
                                     "[application/json] {"));
        assert_int_equal(kube_delete(client, &KUBE_PODS, "n", "p", "uid-1", 0, &e), 0);
        assert_string_equal(wire,
                            "DELETE /api/v1/namespaces/n/pods/p [application/json] "
                            "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{"
                            "\"uid\":\"uid-1\"},\"gracePeriodSeconds\":0}");
        assert_int_equal(kube_delete(client, &KUBE_PODS, "n", "p", NULL, -1, &e), 0);
        assert_non_null(strstr(wire, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"}"));
        assert_null(strstr(wire_headers, "Expect:"));
        assert_int_equal(fake_connections(server), 1); /* kept alive */
}

/* curl would ask "Expect: 100-continue" of a large body and wait for an answer. */
static void large_bodies(void **state)
{
        size_t n = 2 << 20;
        autofree char *text = calloc(1, n + 1);
        autojson struct json *o = json_new_object();
        struct mono start = mono_now();
        struct err e;

        (void)state;
        begin(record, NULL);
        memset(text, 'x', n);
        assert_non_null(json_set_str(o, "large", text));
        assert_int_equal(kube_update(client, &KUBE_PODS, "n", "p", o, NULL, &e), 0);
        assert_null(strstr(wire_headers, "Expect:"));
        assert_true(mono_ms_between(start, mono_now()) < 900);
}

static void names_that_are_none(void **state)
{
        autojson struct json *o = json_new_object();
        struct err e = {0};

        (void)state;
        begin(record, NULL);
        assert_int_equal(kube_get(client, &KUBE_PODS, "n", "..", NULL, &e), -EINVAL);
        assert_int_equal(kube_get(client, &KUBE_PODS, "n/x", "p", NULL, &e), -EINVAL);
        assert_int_equal(kube_get(client, &KUBE_PODS, "n", "", NULL, &e), -EINVAL);
        assert_int_equal(kube_get(client, &KUBE_PODS, NULL, "p", NULL, &e), -EINVAL);
        assert_int_equal(kube_get(client, &KUBE_PODS, "n", NULL, NULL, &e), -EINVAL);
        assert_int_equal(kube_delete(client, &KUBE_PODS, "n", NULL, NULL, -1, &e), -EINVAL);
        assert_int_equal(kube_create(client, &KUBE_PODS, NULL, o, NULL, &e), -EINVAL);
        assert_int_equal(fake_requests(server), 0);
}

/* --- errors */

struct reply {
        int status;
        const char *headers, *body;
        int good_after; /* requests answered 200 from here; 0: never */
};

static void reply(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const struct reply *x = ctx;

        if (x->good_after && r->number > x->good_after)
                fake_answer(c, 200, "", "{}");
        else
                fake_answer(c, x->status, x->headers, x->body);
}

#define STATUS(text) "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"message\":\"" text "\"}"

#define MISSING(reason, kind, name)                                                                \
        "{\"kind\":\"Status\",\"message\":\"" kind " not found\",\"reason\":\"" reason             \
        "\",\"details\":{\"name\":\"" name "\",\"kind\":\"" kind "\"}}"

static int call(const char *verb, struct err *e)
{
        autojson struct json *o = json_new_object();

        if (strcmp(verb, "get") == 0)
                return kube_get(client, &KUBE_PODS, "n", "p", NULL, e);
        if (strcmp(verb, "create") == 0)
                return kube_create(client, &KUBE_PODS, "n", o, NULL, e);
        if (strcmp(verb, "patch") == 0)
                return kube_patch(client, &KUBE_PODS, "n", "p", NULL, o, NULL, e);
        if (strcmp(verb, "update") == 0)
                return kube_update(client, &KUBE_PODS, "n", "p", o, NULL, e);
        return kube_delete(client, &KUBE_PODS, "n", "p", NULL, -1, e);
}

static const struct {
        const char *verb;
        struct reply r;
        int code, requests;
        const char *says;
} answers[] = {
        {"get", {404, "", MISSING("NotFound", "pods", "p"), 0}, -ENOENT, 1, "not found"},
        {"patch", {404, "", MISSING("NotFound", "pods", "p"), 0}, -ENOENT, 1, "not found"},
        {"delete", {404, "", MISSING("NotFound", "pods", "p"), 0}, 0, 1, ""},
        /* no proof that the pod is gone: its namespace, its kind, or the whole API is missing */
        {"get", {404, "", MISSING("NotFound", "namespaces", "n"), 0}, -ENXIO, 1, "not found"},
        {"get", {404, "", MISSING("NotFound", "pods", "q"), 0}, -ENXIO, 1, "not found"},
        {"get", {404, "", MISSING("NotFound", "nodes", "p"), 0}, -ENXIO, 1, "not found"},
        {"get", {404, "", MISSING("Gone", "pods", "p"), 0}, -ENXIO, 1, "not found"},
        {"get", {404, "", STATUS("the server could not find it"), 0}, -ENXIO, 1, "could not"},
        {"get", {404, "", "404 page not found", 0}, -ENXIO, 1, "HTTP 404"},
        {"delete", {404, "", "404 page not found", 0}, -ENXIO, 1, "HTTP 404"},
        {"delete", {404, "", MISSING("NotFound", "namespaces", "n"), 0}, -ENXIO, 1, "not found"},
        {"create", {404, "", MISSING("NotFound", "namespaces", "n"), 0}, -ENXIO, 1, "not found"},
        {"create", {409, "", STATUS("already exists"), 0}, -EEXIST, 1, "already exists"},
        {"create",
         {409, "", "{\"reason\":\"Conflict\",\"message\":\"quota\"}", 0},
         -EAGAIN,
         1,
         "quota"},
        {"patch", {409, "", STATUS("modified"), 0}, -EAGAIN, 1, "modified"},
        {"update", {409, "", STATUS("modified"), 0}, -EAGAIN, 1, "modified"},
        {"delete", {409, "", STATUS("uid"), 0}, -EAGAIN, 1, "uid"},
        {"get", {403, "", STATUS("forbidden"), 0}, -EACCES, 1, "forbidden"},
        {"get", {401, "", STATUS("Unauthorized"), 0}, -EPERM, 1, "Unauthorized"},
        {"patch", {422, "", STATUS("invalid"), 0}, -EINVAL, 1, "invalid"},
        {"patch", {400, "", STATUS("bad"), 0}, -EINVAL, 1, "bad"},
        {"get", {410, "", STATUS("expired"), 0}, -ESTALE, 1, "expired"},
        {"create", {413, "", "too big", 0}, -E2BIG, 1, "HTTP 413"},
        {"get", {302, "Location: /elsewhere\r\n", "", 0}, -EPROTO, 1, "HTTP 302"},
        {"get", {500, "", "<html>", 0}, -EBUSY, 5, "HTTP 500"},
        {"get", {503, "", STATUS("not ready"), 2}, 0, 3, ""},
        {"patch", {429, "", STATUS("slow down"), 1}, 0, 2, ""},
        {"create", {429, "", STATUS("slow down"), 1}, 0, 2, ""},
        {"create", {500, "", STATUS("maybe done"), 1}, -EBUSY, 1, "maybe done"},
        {"create", {503, "Retry-After: 1\r\n", STATUS("starting"), 1}, 0, 2, ""},
        {"get", {429, "Retry-After: 100\r\n", STATUS("later"), 1}, -EBUSY, 1, "later"},
};

static void answers_and_codes(void **state)
{
        for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
                struct reply r = answers[i].r;
                struct err e = {.msg = ""};

                begin(reply, &r);
                int rc = call(answers[i].verb, &e);
                if (rc != answers[i].code || fake_requests(server) != answers[i].requests ||
                    !strstr(e.msg, answers[i].says))
                        fail_msg("row %zu: %d after %d requests: %s", i, rc, fake_requests(server),
                                 e.msg);
                if (rc < 0) {
                        assert_int_equal(e.code, rc);
                        assert_int_equal(e.http, r.status);
                        assert_non_null(strstr(e.msg, "pods n")); /* context */
                }
                assert_true(call(answers[i].verb, NULL) <= 0);
                tear_down(state);
        }
        begin(reply, (void *)(uintptr_t)&answers[0].r);
}

static void retry_after_is_waited_for(void **state)
{
        struct reply r = {429, "Retry-After: 1\r\n", STATUS("x"), 1};
        struct mono start = mono_now();
        struct err e;

        (void)state;
        begin(reply, &r);
        assert_int_equal(call("get", &e), 0);
        assert_in_range(mono_ms_between(start, mono_now()), 1000, 2500);
}

/* --- what no server should do */

static const char *const hostile[] = {"garbage",    "close",    "cut-header", "cut-body",
                                      "short-body", "not-json", "no-body",    "huge",
                                      "huge-error", "headers",  "long-header"};

static void misbehave(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const char *how = ctx;
        static char block[65536];

        (void)r;
        fake_close(c);
        memset(block, 'x', sizeof(block));
        if (strcmp(how, "garbage") == 0)
                fake_puts(c, "\x16\x03\x01 this is not HTTP\r\n\r\n");
        if (strcmp(how, "cut-header") == 0)
                fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Le");
        if (strcmp(how, "cut-body") == 0)
                fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":");
        if (strcmp(how, "short-body") == 0)
                fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{\"a\":1}");
        if (strcmp(how, "not-json") == 0)
                fake_answer(c, 200, "", "<html>");
        if (strcmp(how, "no-body") == 0)
                fake_answer(c, 200, "", "");
        if (strncmp(how, "huge", 4) == 0) {
                fake_printf(c, "HTTP/1.1 %s Said\r\nContent-Length: 104857600\r\n\r\n",
                            how[4] ? "404" : "200");
                for (int i = 0; i < 1600 && fake_write(c, block, sizeof(block)); i++)
                        ;
        }
        if (strcmp(how, "headers") == 0) {
                fake_puts(c, "HTTP/1.1 200 OK\r\n");
                for (int i = 0; i < 10000000 && fake_printf(c, "X-%d: abcdefghijklmnop\r\n", i);
                     i++)
                        ;
        }
        if (strcmp(how, "long-header") == 0) {
                fake_puts(c, "HTTP/1.1 200 OK\r\nX: ");
                for (int i = 0; i < 1600 && fake_write(c, block, sizeof(block)); i++)
                        ;
        }
}

static size_t rss(void)
{
        FILE *f = fopen("/proc/self/statm", "r");
        size_t size, resident = 0;

        assert_int_equal(fscanf(f, "%zu %zu", &size, &resident), 2);
        fclose(f);
        return resident * 4096;
}

static void hostile_answers_fail_and_that_is_all(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
                struct json *out = (struct json *)0x1;
                struct err e = {.msg = ""};

                begin(misbehave, (void *)(uintptr_t)hostile[i]);
                size_t before = rss();
                int rc = kube_get(client, &KUBE_PODS, "n", "p", &out, &e);
                if (rc >= 0 || rc != e.code || !*e.msg || out != (struct json *)0x1)
                        fail_msg("%s: %d %s", hostile[i], rc, e.msg);
                int want = strcmp(hostile[i], "huge-error") == 0 ? -ENXIO
                           : strncmp(hostile[i], "huge", 4) == 0 ? -E2BIG
                           : strcmp(hostile[i], "headers") == 0  ? -E2BIG
                                                                 : rc;
                if (rc != want)
                        fail_msg("%s: %d %s", hostile[i], rc, e.msg);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
                if (rss() > before + ((size_t)24 << 20))
                        fail_msg("%s: %zu bytes more", hostile[i], rss() - before);
#endif
                (void)before;
                tear_down(state);
        }
        begin(record, NULL);
}

static void silence(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        int *how = ctx;

        (void)r;
        if (*how == 1)
                fake_drip(c,
                          "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"a\":1,\"b\":2,\"c\":3",
                          50);
        fake_hang(c);
}

static void deadline(void **state)
{
        (void)state;
        for (int how = 0; how < 2; how++) {
                struct mono start = mono_now();
                struct err e;

                begin(silence, &how);
                client->tune.request_ms = 400;
                assert_int_equal(call("get", &e), -ETIMEDOUT);
                assert_in_range(mono_ms_between(start, mono_now()), 390, 1500);
                tear_down(state);
        }
        begin(record, NULL);
}

static void always_later(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)r, (void)ctx;
        fake_answer(c, 503, "Retry-After: 1\r\n", "{}");
}

/* An address that takes no connection: what is under way fills its backlog. */
static int full_backlog(char url[64], int waiting[4])
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
        assert_int_equal(listen(fd, 0), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
        for (int i = 0; i < 4; i++) {
                waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                (void)!connect(waiting[i], (struct sockaddr *)&a, n);
        }
        snprintf(url, 64, "http://127.0.0.1:%d", ntohs(a.sin_port));
        return fd;
}

/* Who has somebody waiting gets an answer in the time it has, whatever the server does. */
static void time_is_given_at_creation(void **state)
{
        struct kube_config cfg = {.ns = "default", .request_ms = 400};
        int how = 0, waiting[4];
        char full[64];
        struct fake *servers[] = {fake_start(silence, &how), fake_start(always_later, NULL)};
        int fd = full_backlog(full, waiting);
        const char *const urls[] = {fake_url(servers[0]), fake_url(servers[1]), full};
        const int codes[] = {-ETIMEDOUT, -EBUSY, -ETIMEDOUT};

        (void)state;
        for (size_t i = 0; i < countof(urls); i++) {
                struct mono start = mono_now();
                struct kube_client *c;
                struct err e;

                cfg.server = urls[i];
                assert_int_equal(kube_client_new(&cfg, "x", &c, &e), 0);
                assert_int_equal(kube_get(c, &KUBE_PODS, "n", "p", NULL, &e), codes[i]);
                assert_true(mono_ms_between(start, mono_now()) < 1500);
                kube_client_free(c);
        }
        for (size_t i = 0; i < countof(waiting); i++)
                close(waiting[i]);
        close(fd);
        fake_stop(servers[0]);
        fake_stop(servers[1]);
        begin(record, NULL);
}

/* A call may have less time than the client gives. */
static void a_deadline_of_its_own(void **state)
{
        autojson struct json *patch = json_new_object();
        struct mono start = mono_now();
        struct err e;
        int how = 0;

        (void)state;
        begin(silence, &how);
        assert_int_equal(kube_patch_until(client, mono_add_ms(start, 300), &KUBE_PODS, "n", "p",
                                          "status", patch, NULL, &e),
                         -ETIMEDOUT);
        assert_in_range(mono_ms_between(start, mono_now()), 290, 1500);
}

struct stall {
        struct kube_task task;
        struct mono until;
};

static void stall(struct kube_task *task)
{
        const struct stall *s = (const struct stall *)task;

        while (mono_now().ns < s->until.ns)
                usleep(1000);
}

/* Neither by this thread nor by the client's that has not run for a while. */
static void what_comes_too_late_is_not_sent(void **state)
{
        autojson struct json *patch = json_new_object();
        struct stall s = {.task.run = stall};
        struct err e;

        (void)state;
        begin(record, NULL);
        assert_int_equal(kube_patch_until(client, mono_add_ms(mono_now(), -1), &KUBE_PODS, "n", "p",
                                          "status", patch, NULL, &e),
                         -ETIMEDOUT);
        s.until = mono_add_ms(mono_now(), 100);
        assert_int_equal(kube_io_post(client, &s.task), 0);
        assert_int_equal(
                kube_patch_until(client, s.until, &KUBE_PODS, "n", "p", "status", patch, NULL, &e),
                -ETIMEDOUT);
        assert_int_equal(fake_requests(server), 0);
}

static void nobody_there(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct kube_client *c;
        struct err e;
        char url[64];

        (void)state;
        begin(record, NULL);
        snprintf(url, sizeof(url), "%s", fake_url(server));
        struct fake *other = fake_start(record, NULL);
        cfg.server = fake_url(other);
        assert_int_equal(kube_client_new(&cfg, "x", &c, &e), 0);
        fake_stop(other);
        assert_int_equal(kube_get(c, &KUBE_PODS, "n", "p", NULL, &e), -ECONNREFUSED);
        assert_int_equal(e.http, 0);
        kube_client_free(c);

        cfg.server = "http://name.invalid";
        assert_int_equal(kube_client_new(&cfg, "x", &c, &e), 0);
        assert_int_equal(kube_get(c, &KUBE_PODS, "n", "p", NULL, &e), -EHOSTUNREACH);
        kube_client_free(c);
        kube_client_free(NULL);
        cfg.server = NULL;
        assert_int_equal(kube_client_new(&cfg, "x", &c, &e), -EINVAL);
}

/* A connection that the server closed while it was idle is no error. */
static void close_after(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)r;
        (void)ctx;
        fake_answer(c, 200, "", "{}");
        fake_close(c);
}

static void closed_idle_connections(void **state)
{
        struct err e;

        (void)state;
        begin(close_after, NULL);
        for (int i = 0; i < 20; i++)
                assert_int_equal(call(i % 2 ? "patch" : "create", &e), 0);
        assert_int_equal(fake_requests(server), 20);
}

/* --- many at once, one of them slow */

static void slow_for_some(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (strstr(r->target, "slow"))
                fake_drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 20);
        else
                fake_answer(c, 200, "", "{}");
}

static _Atomic int slow_done;

static void *slow_caller(void *arg)
{
        struct err e;

        if (kube_get(client, &KUBE_PODS, "n", "slow", NULL, &e) == 0)
                slow_done++;
        return arg;
}

static void *fast_caller(void *arg)
{
        struct err e;
        int *ok = arg;

        for (int i = 0; i < 50; i++)
                if (kube_get(client, &KUBE_PODS, "n", "fast", NULL, &e) == 0)
                        ++*ok;
        return NULL;
}

static void a_slow_answer_blocks_nobody(void **state)
{
        pthread_t slow, fast[4];
        int ok[4] = {0};

        (void)state;
        begin(slow_for_some, NULL);
        slow_done = 0;
        pthread_create(&slow, NULL, slow_caller, NULL);
        for (int i = 0; i < 4; i++)
                pthread_create(&fast[i], NULL, fast_caller, &ok[i]);
        for (int i = 0; i < 4; i++) {
                pthread_join(fast[i], NULL);
                assert_int_equal(ok[i], 50);
        }
        pthread_join(slow, NULL);
        assert_int_equal(slow_done, 1);
        assert_true(fake_connections(server) <= 6);
}

/* --- lists */

#define META(rv, next) "\"metadata\":{\"resourceVersion\":\"" rv "\",\"continue\":\"" next "\"}"

static void two_pages(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        int *expired = ctx;

        if (!strstr(r->target, "/api/v1/pods?limit=500&labelSelector=a%3Db&fieldSelector=c%3Dd"))
                fake_answer(c, 400, "", "");
        else if (!strstr(r->target, "continue="))
                fake_answer(c, 200, "", "{" META("5", "t=") ",\"items\":[{\"n\":1},{\"n\":2}]}");
        else if (*expired && --*expired >= 0)
                fake_answer(c, 410, "", STATUS("expired"));
        else
                fake_answer(c, 200, "", "{\"items\":[{\"n\":3}]," META("5", "") "}");
}

static void lists(void **state)
{
        int expired = 0;
        struct json *out = NULL;
        struct err e;

        (void)state;
        begin(two_pages, &expired);
        for (int n = 0; n < 3; n++) {
                expired = n;
                assert_int_equal(kube_list(client, &KUBE_PODS, NULL, "a=b", "c=d", &out, &e), 0);
                assert_int_equal(json_count(out), 3);
                int i = 0;
                for (const struct json *j = json_first(out); j; j = json_next(j))
                        assert_int_equal(json_int(j, "n", 0), ++i);
                json_free(out);
        }
        expired = 100;
        out = NULL;
        assert_int_equal(kube_list(client, &KUBE_PODS, NULL, "a=b", "c=d", &out, &e), -ESTALE);
        assert_int_equal(e.http, 410);
        assert_null(out);
}

static void pages_of_all(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        int *expired = ctx;

        if (strstr(r->target, "resourceVersion")) /* then a cache that lags may answer */
                fake_answer(c, 400, "", "");
        else if (!strstr(r->target, "continue="))
                fake_answer(c, 200, "", "{" META("5", "t=") ",\"items\":[{\"n\":1},{\"n\":2}]}");
        else if (*expired && --*expired >= 0)
                fake_answer(c, 410, "", STATUS("expired"));
        else
                fake_answer(c, 200, "", "{\"items\":[{\"n\":3}]," META("5", "") "}");
}

static int add_up(void *ctx, const struct json *object, struct err *e)
{
        int64_t *sum = ctx;

        *sum += json_int(object, "n", 0);
        return *sum > 100 ? err_set(e, -E2BIG, "too much") : 0;
}

static void one_by_one(void **state)
{
        int expired = 0;
        int64_t sum = 0;
        struct err e;

        (void)state;
        begin(pages_of_all, &expired);
        assert_int_equal(kube_list_each(client, &KUBE_PODS, NULL, NULL, add_up, &sum, &e), 0);
        assert_int_equal(sum, 6);
        expired = 1; /* begins anew */
        assert_int_equal(kube_list_each(client, &KUBE_PODS, NULL, NULL, add_up, &sum, &e), 0);
        assert_int_equal(sum, 6 + 3 + 6);
        expired = 100;
        assert_int_equal(kube_list_each(client, &KUBE_PODS, NULL, NULL, add_up, &sum, &e), -ESTALE);
        expired = 0;
        sum = 100;
        assert_int_equal(kube_list_each(client, &KUBE_PODS, NULL, NULL, add_up, &sum, &e), -E2BIG);
        assert_int_equal(sum, 101);
}

static void bad_lists(void **state)
{
        static const char *const bodies[] = {"",
                                             "[]",
                                             "{\"items\":[{]}",
                                             "{\"items\":[{}",
                                             "{\"metadata\":{]}",
                                             "{\"items\":[{\"a\" 1}]}"};
        struct json *out = NULL;
        struct err e;

        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
                struct reply r = {200, "", bodies[i], 0};
                begin(reply, &r);
                int rc = kube_list(client, &KUBE_PODS, "n", NULL, NULL, &out, &e);
                if (rc != -EBADMSG)
                        fail_msg("%s: %d", bodies[i], rc);
                assert_null(out);
                tear_down(state);
        }
        begin(record, NULL);
}

/* --- a request under way when the client ends is given back */

static void *blocked_caller(void *arg)
{
        int *rc = arg;
        struct err e;

        *rc = kube_get(client, &KUBE_PODS, "n", "p", NULL, &e);
        return NULL;
}

static void ended_in_the_middle(void **state)
{
        int how = 0, rc = 1;
        pthread_t t;

        (void)state;
        begin(silence, &how);
        pthread_create(&t, NULL, blocked_caller, &rc);
        while (fake_requests(server) == 0)
                sched_yield();
        kube_client_free(client);
        client = NULL;
        pthread_join(t, NULL);
        assert_int_equal(rc, -ECANCELED);
}

/* Each allocation of the calling thread failed in turn; the I/O thread goes on. */
static void without_memory(void **state)
{
        struct kube_config cfg = {.server = "http://127.0.0.1:1", .ns = "n", .token = "t"};
        unsigned long n = 1;

        (void)state;
        begin(record, NULL);
        for (;; n++) {
                autojson struct json *o = json_new_object();
                struct json *out = NULL;
                struct err e = {0};

                oom_arm(n);
                int rc = kube_patch(client, &KUBE_PODS, "n", "p", "status", o, &out, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        json_free(out);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(e.code, -ENOMEM);
                assert_null(out);
        }
        assert_true(n > 2);
        for (n = 1;; n++) {
                struct kube_client *c = NULL;
                struct err e;

                oom_arm(n);
                int rc = kube_client_new(&cfg, "x", &c, &e);
                if (!oom_disarm()) {
                        kube_client_free(c);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_null(c);
        }
        assert_true(n > 2);
}

static void ended_between_attempts(void **state)
{
        struct reply r = {503, "Retry-After: 2\r\n", STATUS("not yet"), 0};
        struct mono start = mono_now();
        int rc = 1;
        pthread_t t;

        (void)state;
        begin(reply, &r);
        pthread_create(&t, NULL, blocked_caller, &rc);
        while (fake_requests(server) == 0)
                sched_yield();
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        kube_client_free(client);
        client = NULL;
        pthread_join(t, NULL);
        assert_int_equal(rc, -EBUSY);
        assert_true(mono_ms_between(start, mono_now()) < 1500);
}

#define T(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(verbs),
                T(large_bodies),
                T(names_that_are_none),
                T(answers_and_codes),
                T(retry_after_is_waited_for),
                T(hostile_answers_fail_and_that_is_all),
                T(deadline),
                T(time_is_given_at_creation),
                T(a_deadline_of_its_own),
                T(what_comes_too_late_is_not_sent),
                T(nobody_there),
                T(closed_idle_connections),
                T(a_slow_answer_blocks_nobody),
                T(lists),
                T(one_by_one),
                T(bad_lists),
                T(ended_in_the_middle),
                T(ended_between_attempts),
                T(without_memory),
        };
        return cmocka_run_group_tests_name("kube_request", tests, NULL, NULL);
}
