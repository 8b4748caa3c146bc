/* Watches over real sockets against a server that does everything wrong. */
#include "base/mono.h"
#include "kube/io.h"
#include "kube/store.h"
#include "tests/fake/apiserver.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fake *server;
static struct kube_client *client;
static struct kube_watch *watch;

/* What came, in order: "+a ~a -a S !code " */
static struct {
        pthread_mutex_t lock;
        char text[16384];
} got = {.lock = PTHREAD_MUTEX_INITIALIZER};

printf_like(1, 2) static void note(const char *fmt, ...)
{
        va_list ap;

        pthread_mutex_lock(&got.lock);
        size_t n = strlen(got.text);
        va_start(ap, fmt);
        vsnprintf(got.text + n, sizeof(got.text) - n, fmt, ap);
        va_end(ap);
        pthread_mutex_unlock(&got.lock);
}

static void on_event(void *ctx, enum kube_event type, const struct json *object)
{
        (void)ctx;
        note("%c%s ", "+~-"[type], json_str(json_get(object, "metadata"), "name", "?"));
}

static void on_synced(void *ctx, const char *rv)
{
        (void)ctx;
        (void)rv;
        note("S ");
}

static void on_error(void *ctx, const struct err *e)
{
        (void)ctx;
        note("!%d ", -e->code);
}

static bool came(const char *want)
{
        pthread_mutex_lock(&got.lock);
        bool v = strstr(got.text, want);
        pthread_mutex_unlock(&got.lock);
        return v;
}

static void nap(int ms)
{
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void wait_for(const char *want)
{
        struct mono start = mono_now();

        while (!came(want)) {
                if (mono_ms_between(start, mono_now()) > 20000)
                        fail_msg("wanted \"%s\", got \"%s\"", want, got.text);
                nap(2);
        }
}

static const struct kube_watch_config config = {
        .resource = &KUBE_PODS, .event = on_event, .synced = on_synced, .error = on_error};

static void begin(fake_script *script, void *ctx)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        got.text[0] = 0;
        server = fake_start(script, ctx);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &client, &e), 0);
        client->tune.backoff_min_ms = 5;
        client->tune.backoff_max_ms = 100;
        client->tune.healthy_ms = 100000;
        assert_int_equal(kube_watch_start(client, &config, &watch, &e), 0);
}

static int tear_down(void **state)
{
        (void)state;
        kube_watch_stop(watch);
        watch = NULL;
        kube_client_free(client);
        fake_stop(server);
        return 0;
}

#define OBJECT(name, rv)    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" rv "\"}}"
#define LIST(rv, items)     "{\"metadata\":{\"resourceVersion\":\"" rv "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"

static bool watching(const struct fake_request *r)
{
        return strstr(r->target, "watch=1");
}

static bool from(const struct fake_request *r, const char *rv)
{
        const char *p = strstr(r->target, "resourceVersion=");

        return p && strcmp(p + 16, rv) == 0;
}

static bool list_a(struct fake_conn *c, const struct fake_request *r)
{
        if (watching(r))
                return false;
        fake_answer(c, 200, "", LIST("10", OBJECT("a", "1")));
        return true;
}

/* --- the pieces in which bytes come do not matter */

static void drip(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (!watching(r)) {
                fake_puts(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for (const char *p = LIST("10", OBJECT("a", "1") "," OBJECT("b", "2")); *p; p++)
                        fake_printf(c, "1\r\n%c\r\n", *p);
                fake_stream_end(c);
                return;
        }
        fake_stream(c);
        for (const char *p = EVENT("ADDED", OBJECT("c", "11")) EVENT("DELETED", OBJECT("a", "12"));
             *p; p++)
                fake_printf(c, "1\r\n%c\r\n", *p);
        fake_hang(c);
}

static void byte_by_byte(void **state)
{
        (void)state;
        begin(drip, NULL);
        wait_for("+a +b S +c -a ");
        assert_true(kube_watch_synced(watch));
        assert_true(kube_watch_silence_ms(watch) < 5000);
}

static void slow_drip(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (strstr(r->target, "/nodes/")) {
                fake_answer(c, 200, "", "{}");
        } else if (!list_a(c, r)) {
                fake_puts(c, "HTTP/1.1 200 OK\r\n\r\n");
                fake_drip(c, EVENT("ADDED", OBJECT("b", "11")), 30);
                fake_hang(c);
        }
}

static void a_slow_watch_blocks_no_request(void **state)
{
        struct mono start;
        struct err e;

        (void)state;
        begin(slow_drip, NULL);
        wait_for("S ");
        start = mono_now();
        for (int i = 0; i < 20; i++)
                assert_int_equal(kube_get(client, &KUBE_NODES, NULL, "x", NULL, &e), 0);
        assert_true(mono_ms_between(start, mono_now()) < 1500);
        assert_false(came("+b"));
        wait_for("+b ");
}

/* --- connections that end */

static void cut_in_the_middle(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (list_a(c, r))
                return;
        fake_stream(c);
        if (from(r, "10")) {
                fake_chunk(
                        c,
                        EVENT("ADDED",
                              OBJECT("b",
                                     "11")) "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na");
                fake_close(c);
        } else if (from(r, "11")) {
                fake_chunk(c, EVENT("ADDED", OBJECT("c", "12")) "{\"type\":\"MOD");
                fake_stream_end(c); /* a clean end in mid-event */
        } else if (from(r, "12")) {
                fake_chunk(c, EVENT("BOOKMARK", OBJECT("", "50"))
                                      EVENT("MODIFIED", OBJECT("b", "51")));
                fake_puts(c, "ff\r\nnot a whole chu");
                fake_close(c);
        } else if (from(r, "51")) {
                fake_chunk(c, EVENT("MODIFIED", OBJECT("c", "52")));
                fake_hang(c);
        } else {
                fake_chunk(c, EVENT("ADDED", OBJECT("wrong-version", "99")));
        }
}

static void goes_on_where_it_was_cut(void **state)
{
        (void)state;
        begin(cut_in_the_middle, NULL);
        wait_for("~c ");
        assert_string_equal(got.text, "+a S +b !104 +c !104 ~b !104 ~c ");
}

static void flaky(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *n = ctx;

        if (!watching(r)) {
                switch ((*n)++) {
                case 0:
                        fake_close(c);
                        return;
                case 1:
                        fake_answer(c, 500, "", "oops");
                        return;
                case 2:
                        fake_answer(c, 200, "", "<html>");
                        return;
                case 3:
                        fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
                        fake_puts(c, LIST("10", OBJECT("a", "1")));
                        fake_close(c);
                        return;
                case 4:
                        fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
                        fake_puts(c, LIST("10", OBJECT("a", "1")));
                        fake_close(c);
                        return;
                default:
                        list_a(c, r);
                        return;
                }
        }
        fake_stream(c);
        fake_hang(c);
}

static void a_list_that_fails_in_all_ways(void **state)
{
        _Atomic int n = 0;

        (void)state;
        begin(flaky, &n);
        wait_for("S ");
        /* What followed the short answer may have met the next request on that connection. */
        if (!came("!104 !16 !74 +a !104 !74 !71 ~a S "))
                assert_string_equal(got.text, "!104 !16 !74 +a !104 !74 ~a S ");
}

/* --- 410, errors, garbage */

static void gone_both_ways(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *lists = ctx;

        if (!watching(r)) {
                int n = ++*lists;
                fake_answer(c, 200, "",
                            n == 1   ? LIST("10", OBJECT("a", "1") "," OBJECT("b", "2"))
                            : n == 2 ? LIST("20", OBJECT("b", "2") "," OBJECT("c", "11"))
                                     : LIST("30", OBJECT("c", "11")));
        } else if (from(r, "10")) {
                fake_answer(c, 410, "",
                            "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}");
        } else if (from(r, "20")) {
                fake_stream(c);
                fake_chunk(c, EVENT("ERROR",
                                    "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}"));
                fake_hang(c);
        } else {
                fake_stream(c);
                fake_hang(c);
        }
}

static void expired_versions_list_again(void **state)
{
        _Atomic int lists = 0;

        (void)state;
        begin(gone_both_ways, &lists);
        wait_for("~c -b S ");
        assert_string_equal(got.text, "+a +b S !116 ~b +c -a S !116 ~c -b S ");
}

static void garbage(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *n = ctx;

        if (list_a(c, r))
                return;
        switch ((*n)++) {
        case 0:
                fake_stream(c);
                fake_chunk(c, "\xff\xfe\x01garbage\n");
                fake_hang(c); /* the client must leave by itself */
                return;
        case 1:
                fake_stream(c);
                fake_chunk(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":}}\n");
                fake_hang(c);
                return;
        case 2:
                fake_puts(c, "\x15\x03\x01 no HTTP at all\n\n");
                fake_close(c);
                return;
        case 3:
                fake_puts(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
                fake_hang(c);
                return;
        case 4:
                fake_stream(c);
                for (int i = 0; i < 5000; i++) /* deeper than any object */
                        fake_chunk(c, "{\"a\":");
                fake_chunk(c, "\n");
                fake_hang(c);
                return;
        default:
                fake_stream(c);
                fake_chunk(c, EVENT("ADDED", OBJECT("b", "11")));
                fake_hang(c);
        }
}

static void garbage_is_survived(void **state)
{
        _Atomic int n = 0;

        (void)state;
        begin(garbage, &n);
        wait_for("+b ");
        assert_int_equal(n, 6);
        assert_non_null(strstr(got.text, "+a S !74 ~a S !74 ~a S !"));
}

static void busy(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        struct mono *times = ctx;

        if (r->number <= 2)
                times[r->number - 1] = mono_now();
        if (r->number == 1)
                fake_answer(c, 429, "Retry-After: 1\r\n", "{\"message\":\"slow down\"}");
        else if (!list_a(c, r))
                fake_hang(c);
}

static void retry_after(void **state)
{
        struct mono times[2];

        (void)state;
        begin(busy, times);
        wait_for("S ");
        assert_string_equal(got.text, "!16 +a S ");
        assert_in_range(mono_ms_between(times[0], times[1]), 1000, 3000);
}

/* --- too large, endless, silent */

static size_t rss(void)
{
        FILE *f = fopen("/proc/self/statm", "r");
        size_t size, resident = 0;

        assert_int_equal(fscanf(f, "%zu %zu", &size, &resident), 2);
        fclose(f);
        return resident * 4096;
}

struct large {
        const char *where; /* "event", "item", "header", "skipped" */
        _Atomic int times;
        _Atomic size_t most;
};

static void pour(struct fake_conn *c, struct large *l)
{
        static char block[65536];

        memset(block, 'x', sizeof(block));
        for (int i = 0; i < 1600 && fake_write(c, block, sizeof(block)); i++) {
                size_t now = rss();
                if (now > l->most)
                        l->most = now;
        }
        fake_close(c);
}

static void large_script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        struct large *l = ctx;
        bool event = strcmp(l->where, "event") == 0;

        if (watching(r) == event && l->times++ == 0) {
                fake_puts(c, "HTTP/1.1 200 OK\r\n");
                fake_puts(c, strcmp(l->where, "header") == 0 ? "X-Header: "
                                                             : "Content-Length: 110000000\r\n\r\n");
                if (event)
                        fake_puts(c, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"");
                else
                        fake_puts(c, strcmp(l->where, "item") == 0 ? "{\"items\":[{\"name\":\""
                                                                   : "{\"other\":\"");
                pour(c, l);
        } else if (!list_a(c, r)) {
                fake_stream(c);
                fake_chunk(c, EVENT("ADDED", OBJECT("b", "11")));
                fake_hang(c);
        }
}

static void a_hundred_megabytes(void **state)
{
        static const char *const where[] = {"event", "item", "header", "skipped"};

        for (size_t i = 0; i < 4; i++) {
                struct large l = {.where = where[i]};
                size_t before = rss();

                begin(large_script, &l);
                wait_for("+b ");
                if (!strstr(got.text, i < 2 ? "!7 " : "!"))
                        fail_msg("%s: %s", where[i], got.text);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
                if (l.most > before + ((size_t)24 << 20))
                        fail_msg("%s: %zu KiB more", where[i], (l.most - before) >> 10);
#endif
                (void)before;
                tear_down(state);
        }
        begin(drip, NULL);
}

static void mute(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *watches = ctx;

        if (list_a(c, r))
                return;
        if (++*watches == 1) {
                fake_stream(c);
                fake_chunk(c, EVENT("BOOKMARK", OBJECT("", "40")));
                fake_hang(c);
        } else if (*watches == 2) {
                fake_hang(c); /* not even a header */
        } else if (from(r, "40")) {
                fake_stream(c);
                for (int i = 0; i < 40 && fake_sleep(c, 50); i++) /* quiet, but alive */
                        fake_chunk(c, EVENT("BOOKMARK", OBJECT("", "41")));
                fake_chunk(c, EVENT("ADDED", OBJECT("b", "42")));
                fake_hang(c);
        }
}

static void silent_servers_are_left(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        _Atomic int watches = 0;
        struct err e;

        (void)state;
        got.text[0] = 0;
        server = fake_start(mute, &watches);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &client, &e), 0);
        client->tune.backoff_min_ms = 5;
        client->tune.watch_silence_ms = 700;
        client->tune.answer_ms = 300;
        assert_int_equal(kube_watch_start(client, &config, &watch, &e), 0);
        wait_for("+b ");
        assert_string_equal(got.text, "+a S !110 +b "); /* quiet is no error, no header is one */
        assert_int_equal(watches, 3);
        nap(100);
        assert_in_range(kube_watch_silence_ms(watch), 100, 600);
}

static void nothing_to_say(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (list_a(c, r))
                return;
        fake_stream(c);
        fake_hang(c);
}

static void quiet_watches_are_renewed(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        got.text[0] = 0;
        server = fake_start(nothing_to_say, NULL);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &client, &e), 0);
        client->tune.watch_silence_ms = 100;
        assert_int_equal(kube_watch_start(client, &config, &watch, &e), 0);
        wait_for("S ");
        struct mono start = mono_now();
        for (int i = 0; i < 50; i++) {
                assert_true(kube_watch_silence_ms(watch) < 1000);
                nap(20);
        }
        assert_string_equal(got.text, "+a S ");
        int64_t renewals = mono_ms_between(start, mono_now()) / 100;
        assert_in_range(fake_requests(server), 5, renewals + 4);
}

static void half_a_page(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *n = ctx;

        if (++*n > 1) {
                nothing_to_say(c, r, NULL);
                return;
        }
        fake_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"items\":[");
        fake_hang(c);
}

static void silent_pages_are_left(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        _Atomic int n = 0;
        struct err e;

        (void)state;
        got.text[0] = 0;
        server = fake_start(half_a_page, &n);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &client, &e), 0);
        client->tune.page_silence_ms = 200;
        assert_int_equal(kube_watch_start(client, &config, &watch, &e), 0);
        wait_for("!110 +a S ");
}

static void mute_list(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        _Atomic int *n = ctx;

        if (++*n == 1)
                fake_hang(c);
        else if (!list_a(c, r))
                fake_hang(c);
}

static void silent_lists_are_left(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        _Atomic int n = 0;
        struct err e;

        (void)state;
        got.text[0] = 0;
        server = fake_start(mute_list, &n);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "drover-test", &client, &e), 0);
        client->tune.answer_ms = 200;
        assert_int_equal(kube_watch_start(client, &config, &watch, &e), 0);
        wait_for("!110 +a S ");
        assert_true(fake_connections(server) >= 2); /* not on the one that went silent */
}

/* --- a server that goes away and comes back; backoff */

static void plain(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (list_a(c, r))
                return;
        fake_stream(c);
        fake_hang(c);
}

static void cut_connections_are_made_again(void **state)
{
        (void)state;
        begin(plain, NULL);
        wait_for("S ");
        for (int i = 0; i < 3; i++) {
                int before = fake_requests(server);
                nap(100);
                fake_cut(server);
                while (fake_requests(server) == before)
                        nap(2);
        }
        assert_int_equal(strncmp(got.text, "+a S !104 !104 ", 15), 0);
}

static void refuse(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)r;
        (void)ctx;
        fake_answer(c, 503, "", "");
}

static void failures_back_off(void **state)
{
        (void)state;
        begin(refuse, NULL);
        struct mono start = mono_now();
        nap(1000);
        /* 5 + 10 + 20 + 40 + 80 + 100 ... ms, half of it at the least. */
        int64_t ms = mono_ms_between(start, mono_now());
        assert_in_range(fake_requests(server), 8, 8 + ms / 50);
}

static void hurry(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        if (list_a(c, r))
                return;
        fake_stream(c);
        fake_chunk(c, EVENT("BOOKMARK", OBJECT("", "11")));
        fake_stream_end(c);
}

static void watches_that_end_at_once_make_no_storm(void **state)
{
        (void)state;
        begin(hurry, NULL);
        struct mono start = mono_now();
        nap(1000);
        int64_t ms = mono_ms_between(start, mono_now());
        assert_in_range(fake_requests(server), 8, 16 + ms / 50);
}

/* --- lives */

static void stop_and_free_in_any_state(void **state)
{
        struct err e;

        (void)state;
        begin(plain, NULL);
        for (int i = 0; i < 60; i++) {
                struct kube_watch *w;

                assert_int_equal(kube_watch_start(client, &config, &w, &e), 0);
                if (i % 3)
                        nap(i % 7);
                kube_watch_stop(w);
        }
        kube_watch_stop(NULL);
        struct kube_watch *forgotten; /* freed with the client */
        assert_int_equal(kube_watch_start(client, &config, &forgotten, &e), 0);
}

static void sync_call_in_callback(void *ctx, enum kube_event type, const struct json *object)
{
        struct err e;

        (void)type;
        (void)object;
        *(_Atomic int *)ctx = kube_get(client, &KUBE_PODS, "n", "p", NULL, &e);
}

static void calls_inside_callbacks_are_refused(void **state)
{
        struct kube_watch_config cfg = config;
        _Atomic int rc = 1;
        struct kube_watch *w;
        struct err e;

        (void)state;
        begin(plain, NULL);
        cfg.event = sync_call_in_callback;
        cfg.synced = NULL;
        cfg.error = NULL;
        cfg.ctx = &rc;
        assert_int_equal(kube_watch_start(client, &cfg, &w, &e), 0);
        while (!kube_watch_synced(w))
                nap(2);
        assert_int_equal(rc, -EDEADLK);
        kube_watch_stop(w);
}

/* --- with a store: what the server has is what the store has, whatever happens in between */

static struct {
        pthread_mutex_t lock;
        int rv, value[30]; /* 0: absent, else the version it was written at */
} truth = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void print_list(char *out, size_t size)
{
        size_t n = 0;
        const char *comma = "";

        pthread_mutex_lock(&truth.lock);
        n += (size_t)snprintf(out, size, "{\"metadata\":{\"resourceVersion\":\"%d\"},\"items\":[",
                              truth.rv);
        for (int i = 0; i < 30; i++) {
                if (!truth.value[i])
                        continue;
                n += (size_t)snprintf(
                        out + n, size - n,
                        "%s{\"metadata\":{\"name\":\"o%d\",\"resourceVersion\":\"%d\"}}", comma, i,
                        truth.value[i]);
                comma = ",";
        }
        snprintf(out + n, size - n, "]}");
        pthread_mutex_unlock(&truth.lock);
}

/* Makes one change and tells it, or dies in one of many ways. */
static void chaos(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        unsigned seed = (unsigned)r->number;
        _Atomic bool *calm = ctx;
        char text[8192];

        if (!watching(r)) {
                print_list(text, sizeof(text));
                fake_answer(c, 200, "", text);
                return;
        }
        pthread_mutex_lock(&truth.lock);
        bool current = atoi(strstr(r->target, "resourceVersion=") + 16) == truth.rv;
        pthread_mutex_unlock(&truth.lock);
        if (!current) {
                fake_answer(c, 410, "", "{}");
                return;
        }
        fake_stream(c);
        while (!*calm) {
                pthread_mutex_lock(&truth.lock);
                int i = rand_r(&seed) % 30, old = truth.value[i], rv = ++truth.rv;
                bool gone = old && rand_r(&seed) % 2;
                truth.value[i] = gone ? 0 : rv;
                snprintf(text, sizeof(text),
                         "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"o%d\","
                         "\"resourceVersion\":\"%d\"}}}\n",
                         gone  ? "DELETED"
                         : old ? "MODIFIED"
                               : "ADDED",
                         i, rv);
                pthread_mutex_unlock(&truth.lock);
                int fate = rand_r(&seed) % 40;
                if (fate == 0) { /* changed, but never told */
                        fake_close(c);
                        return;
                }
                if (fate == 1) {
                        text[strlen(text) / 2] = 0;
                        fake_chunk(c, text);
                        fake_stream_end(c);
                        return;
                }
                if (fate == 2)
                        fake_chunk(c, "nonsense\n");
                if (!fake_chunk(c, text))
                        return;
        }
        fake_hang(c);
}

static int decode(const struct json *object, void **out, struct err *e)
{
        int *rv = malloc(sizeof(*rv));

        if (!rv)
                return err_sys(e, -ENOMEM, "decode");
        *rv = atoi(json_str(json_get(object, "metadata"), "resourceVersion", "0"));
        *out = rv;
        return 0;
}

static bool store_is_true(struct kube_store *s)
{
        bool same = true;

        pthread_mutex_lock(&truth.lock);
        for (int i = 0; i < 30; i++) {
                char key[8];
                snprintf(key, sizeof(key), "o%d", i);
                autoref struct kube_ref *ref = kube_store_get(s, key);
                same = same && (ref ? *(const int *)kube_ref_object(ref) : 0) == truth.value[i];
        }
        pthread_mutex_unlock(&truth.lock);
        return same;
}

static void store_follows_through_chaos(void **state)
{
        static const struct kube_store_type type = {decode, free, NULL};
        struct kube_store *s = kube_store_new(&type, NULL);
        struct kube_watch_config cfg = {
                .resource = &KUBE_PODS, .event = kube_store_event, .ctx = s};
        struct kube_config where = {.ns = "default"};
        _Atomic bool calm = false;
        struct err e;

        (void)state;
        truth.rv = 1;
        server = fake_start(chaos, &calm);
        where.server = fake_url(server);
        assert_int_equal(kube_client_new(&where, "drover-test", &client, &e), 0);
        client->tune.backoff_min_ms = 1;
        client->tune.backoff_max_ms = 5;
        assert_int_equal(kube_watch_start(client, &cfg, &watch, &e), 0);
        nap(1500);
        calm = true;
        struct mono start = mono_now();
        while (!store_is_true(s)) {
                if (mono_ms_between(start, mono_now()) > 10000)
                        fail_msg("the store is not what the server has after %d requests",
                                 fake_requests(server));
                nap(5);
        }
        assert_true(truth.rv > 100);
        assert_true(fake_requests(server) > 10);
        kube_watch_stop(watch);
        watch = NULL;
        kube_store_free(s);
}

#define T(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(byte_by_byte),
                T(a_slow_watch_blocks_no_request),
                T(goes_on_where_it_was_cut),
                T(a_list_that_fails_in_all_ways),
                T(expired_versions_list_again),
                T(garbage_is_survived),
                T(retry_after),
                T(a_hundred_megabytes),
                T(silent_servers_are_left),
                T(silent_lists_are_left),
                T(quiet_watches_are_renewed),
                T(silent_pages_are_left),
                T(cut_connections_are_made_again),
                T(failures_back_off),
                T(watches_that_end_at_once_make_no_storm),
                T(stop_and_free_in_any_state),
                T(calls_inside_callbacks_are_refused),
                T(store_follows_through_chaos),
        };
        return cmocka_run_group_tests_name("kube_watch", tests, NULL, NULL);
}
