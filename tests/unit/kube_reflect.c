#include "kube/reflect.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A transcript: what the machine asks for and reports, in order. */
static struct {
        char text[65536];
        bool quiet;
} log_;

printf_like(1, 2) static void say(const char *fmt, ...)
{
        size_t n = strlen(log_.text);
        va_list ap;

        va_start(ap, fmt);
        if (!log_.quiet)
                vsnprintf(log_.text + n, sizeof(log_.text) - n, fmt, ap);
        va_end(ap);
}

static void on_event(void *ctx, enum kube_event type, const struct json *object)
{
        const struct json *meta = json_get(object, "metadata");

        (void)ctx;
        say("%c %s%s%s@%s\n", "+~-"[type], json_str(meta, "namespace", ""),
            json_get(meta, "namespace") ? "/" : "", json_str(meta, "name", "?"),
            json_str(meta, "resourceVersion", "?"));
}

static void on_synced(void *ctx, const char *rv)
{
        assert_string_equal(rv, ((struct kube_reflect *)ctx)->rv);
        say("synced\n");
}

static void on_error(void *ctx, const struct err *e)
{
        (void)ctx;
        say("error %d/%d %s\n", e->code, e->http, e->msg);
}

static struct kube_reflect r;
static struct kube_watch_config cfg = {.resource = &KUBE_PODS,
                                       .event = on_event,
                                       .synced = on_synced,
                                       .error = on_error,
                                       .ctx = &r};

static int set_up(void **state)
{
        (void)state;
        log_.text[0] = 0;
        log_.quiet = false;
        kube_reflect_init(&r, &cfg, (struct backoff){.min_ms = 100, .max_ms = 800}, 5000);
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        kube_reflect_free(&r);
        return 0;
}

static void ask(void)
{
        autobuf struct buf url = buf_new(4096);
        struct err e;

        assert_int_equal(kube_reflect_url(&r, "s", 7, &url, &e), 0);
        say("GET %s\n", buf_str(&url));
}

/* The request ends: http, or a negative code; after lived ms. */
static int64_t end(int http_or_code, int64_t lived, int64_t retry_after)
{
        struct err e = {.code = http_or_code == 410   ? -ESTALE
                                : http_or_code == 404 ? -ENXIO
                                : http_or_code > 0    ? -EBUSY
                                                      : http_or_code,
                        .http = http_or_code > 0 ? http_or_code : 0,
                        .msg = "said"};
        struct kube_reflect_end how = {.http = http_or_code > 0 ? http_or_code : 200,
                                       .code = http_or_code < 0 ? http_or_code : 0,
                                       .err = &e,
                                       .retry_after_ms = retry_after,
                                       .lived_ms = lived};
        int64_t ms = kube_reflect_end(&r, &how, 0);

        say("wait %d\n", (int)ms);
        return ms;
}

static int data(const char *s)
{
        struct err e = {0};
        int rc = kube_reflect_data(&r, s, strlen(s), &e);

        if (rc < 0)
                say("refused %d %s\n", rc, e.msg);
        return rc;
}

/* As a shell does it: bytes, and their failure if any is the request's end. */
static void body(const char *s, int64_t lived)
{
        struct err e = {0};
        int rc = kube_reflect_data(&r, s, strlen(s), &e);
        struct kube_reflect_end how = {.http = 200, .code = rc, .err = &e, .lived_ms = lived};

        say("wait %d\n", (int)kube_reflect_end(&r, &how, 0));
}

#define POD(name, rv)                                                                              \
        "{\"metadata\":{\"namespace\":\"a\",\"name\":\"" name "\",\"resourceVersion\":\"" rv "\"}" \
        "}"
#define PAGE(rv, next, items)                                                                      \
        "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"" rv "\",\"continue\":\"" next  \
        "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define GONE                "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}"
#define LIST_URL            "GET s/api/v1/pods?limit=500\n"
#define WATCH_URL(rv)                                                                              \
        "GET "                                                                                     \
        "s/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=307&resourceVersion=" rv    \
        "\n"

static void expect(const char *want)
{
        assert_string_equal(log_.text, want);
        log_.text[0] = 0;
}

/* Listed whole with pods x@1 and y@2 at 10. */
static void listed(void)
{
        ask();
        body(PAGE("10", "", POD("x", "1") "," POD("y", "2")), 1);
        expect(LIST_URL "+ a/x@1\n+ a/y@2\nsynced\nwait 0\n");
        ask();
        expect(WATCH_URL("10"));
}

static void list_then_watch(void **state)
{
        (void)state;
        assert_false(r.synced);
        listed();
        assert_true(r.synced);
        data(EVENT("ADDED", POD("z", "11")) EVENT("MODIFIED", POD("x", "12")));
        data(EVENT("DELETED", POD("y", "13"))
                     EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"20\"}}"));
        end(200, 300000, 0);
        ask();
        expect("+ a/z@11\n~ a/x@12\n- a/y@13\nwait 0\n" WATCH_URL("20"));
        data(EVENT("ADDED", POD("y", "21"))); /* it was gone, so it is new */
        expect("+ a/y@21\n");
}

static void pages(void **state)
{
        (void)state;
        ask();
        body(PAGE("10", "tok/1", POD("x", "1")), 1);
        ask();
        body(PAGE("11", "tok/2", POD("y", "2")), 1);
        ask();
        assert_false(r.synced);
        body(PAGE("12", "", ""), 1);
        ask(); /* from the first page's version, at which the list is consistent */
        expect(LIST_URL
               "+ a/x@1\nwait 0\n"
               "GET s/api/v1/pods?limit=500&continue=tok%2F1\n+ a/y@2\nwait 0\n"
               "GET s/api/v1/pods?limit=500&continue=tok%2F2\nsynced\nwait 0\n" WATCH_URL("10"));
}

static void a_cut_page_is_asked_for_again(void **state)
{
        (void)state;
        ask();
        body(PAGE("10", "one", POD("x", "1")), 1);
        ask();
        data("{\"metadata\":{\"continue\":\"two\"},\"items\":[" POD("y", "2") ",");
        end(-ECONNRESET, 1, 0);
        ask();
        expect(LIST_URL "+ a/x@1\nwait 0\n"
                        "GET s/api/v1/pods?limit=500&continue=one\n+ a/y@2\n"
                        "error -104/0 said\nwait 100\n"
                        "GET s/api/v1/pods?limit=500&continue=one\n");
        body(PAGE("10", "", POD("y", "2") "," POD("z", "3")), 1);
        expect("~ a/y@2\n+ a/z@3\nsynced\nwait 0\n");
}

static void pages_that_expire_start_the_list_anew(void **state)
{
        (void)state;
        listed();
        end(410, 1, 0);
        ask();
        body(PAGE("30", "one", POD("x", "29")), 1);
        ask();
        end(410, 1, 0);
        ask();
        body(PAGE("40", "", POD("w", "39") "," POD("x", "29")), 1);
        expect("error -116/410 said\nwait 100\n" LIST_URL "~ a/x@29\nwait 0\n"
               "GET s/api/v1/pods?limit=500&continue=one\nerror -116/410 said\nwait 200\n" LIST_URL
               "+ a/w@39\n~ a/x@29\n- a/y@40\nsynced\nwait 0\n");
}

static void vanished_ones_are_deleted(void **state)
{
        (void)state;
        listed();
        data(EVENT("ADDED", POD("z", "11")));
        assert_int_equal(data(EVENT("ERROR", GONE)), -ESTALE);
        end(-ESTALE, 1, 0);
        ask();
        body(PAGE("50", "", POD("y", "2")), 1);
        ask();
        if (strstr(log_.text, "- a/x@50\n- a/z@50\n")) /* in either order */
                expect("+ a/z@11\nrefused -116 too old\nerror -116/0 said\nwait 100\n" LIST_URL
                       "~ a/y@2\n- a/x@50\n- a/z@50\nsynced\nwait 0\n" WATCH_URL("50"));
        else
                expect("+ a/z@11\nrefused -116 too old\nerror -116/0 said\nwait 100\n" LIST_URL
                       "~ a/y@2\n- a/z@50\n- a/x@50\nsynced\nwait 0\n" WATCH_URL("50"));
}

static void cluster_scoped_keys(void **state)
{
        (void)state;
        ask();
        body(PAGE("5", "", "{\"metadata\":{\"name\":\"node-1\",\"resourceVersion\":\"4\"}}"), 1);
        ask();
        end(410, 1, 0);
        ask();
        log_.text[0] = 0;
        body(PAGE("6", "", ""), 1);
        expect("- node-1@6\nsynced\nwait 0\n");
}

/* What makes a watch end in a new list, and what in the same place. */
static const struct {
        const char *line;
        bool relist;
} ends[] = {
        {EVENT("ERROR", GONE), true},
        {"{\"type\":\"MODIFIED\",\"obj\n", true},
        {"garbage\n", true},
        {"[]\n", true},
        {EVENT("FROBNICATED", POD("x", "3")), true},
        {EVENT("MODIFIED", "{\"metadata\":{\"resourceVersion\":\"3\"}}"), true},
        {EVENT("MODIFIED", "{\"metadata\":{\"name\":\"q\"}}"), true},
        {EVENT("BOOKMARK", "{}"), true},
        {EVENT("ERROR", "{\"kind\":\"Status\",\"code\":500,\"message\":\"etcd\"}"), false},
        {EVENT("ERROR", "{\"kind\":\"Status\",\"code\":429}"), false},
        {EVENT("ERROR", "null"), false},
        {"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"na", false}, /* cut */
};

static void where_a_watch_goes_on(void **state)
{
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
                listed();
                body(ends[i].line, 1);
                const char *wait = strstr(log_.text, "wait 100\n"),
                           *error = strstr(log_.text, "error ");
                if (!wait || !error)
                        fail_msg("%s: %s", ends[i].line, log_.text);
                log_.text[0] = 0;
                ask();
                if (strcmp(log_.text, ends[i].relist ? LIST_URL : WATCH_URL("10")) != 0)
                        fail_msg("%s: %s", ends[i].line, log_.text);
                tear_down(state);
                set_up(state);
        }
}

static void answers_that_are_no_watch(void **state)
{
        static const struct {
                int http;
                bool relist;
        } rows[] = {{410, true},
                    {400, true},
                    {404, true},
                    {403, true},
                    {500, false},
                    {429, false},
                    {503, false},
                    {401, false},
                    {504, false},
                    {-EBADMSG, true},
                    {-E2BIG, true},
                    {-ETIMEDOUT, false},
                    {-ECONNREFUSED, false},
                    {-ENOMEM, false}};

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                listed();
                end(rows[i].http, 1, 0);
                log_.text[0] = 0;
                ask();
                if (strcmp(log_.text, rows[i].relist ? LIST_URL : WATCH_URL("10")) != 0)
                        fail_msg("%d: %s", rows[i].http, log_.text);
                tear_down(state);
                set_up(state);
        }
}

static void a_watch_that_never_works_is_listed_again(void **state)
{
        (void)state;
        listed();
        for (int i = 1; i <= KUBE_WATCH_RETRIES; i++) {
                end(504, 1, 0);
                log_.text[0] = 0;
                ask();
                expect(i < KUBE_WATCH_RETRIES ? WATCH_URL("10") : LIST_URL);
        }
}

static void a_server_out_of_reach_costs_no_list(void **state)
{
        struct err e = {.code = -ECONNREFUSED, .msg = "refused"};
        struct kube_reflect_end how = {.code = -ECONNREFUSED, .err = &e};

        (void)state;
        listed();
        for (int i = 0; i < 3 * KUBE_WATCH_RETRIES; i++) {
                kube_reflect_end(&r, &how, 0);
                log_.text[0] = 0;
                ask();
                expect(WATCH_URL("10"));
        }
}

static void backoff_grows_and_health_resets_it(void **state)
{
        (void)state;
        for (int i = 0; i < 5; i++) {
                ask();
                assert_int_equal(end(-ECONNREFUSED, 0, 0), i < 3 ? 100 << i : 800);
        }
        ask();
        log_.text[0] = 0;
        body(PAGE("10", "", ""), 1);
        ask();
        assert_int_equal(end(-ECONNRESET, 4999, 0), 800); /* a list alone is not health */
        ask();
        assert_int_equal(end(200, 4999, 0), 800); /* nor is a watch that ends at once */
        ask();
        assert_int_equal(end(-ECONNRESET, 5000, 0), 100);
        ask();
        assert_int_equal(end(500, 9000, 0), 200); /* nor one that was refused slowly */
        ask();
        assert_int_equal(end(200, 5000, 0), 0);
        ask();
        assert_int_equal(end(503, 1, 7000), 7000); /* Retry-After, when it is longer */
        ask();
        assert_int_equal(end(503, 1, 7), 200);
}

static void short_watches_are_told(void **state)
{
        (void)state;
        listed();
        end(200, 3, 0);
        expect("error -104/0 the watch ended after 3 ms\nwait 100\n");
}

static void quiet_watches_go_on(void **state)
{
        struct err e = {.code = -ETIMEDOUT, .msg = "silent"};
        struct kube_reflect_end how = {
                .http = 200, .code = -ETIMEDOUT, .err = &e, .lived_ms = 90000};

        (void)state;
        listed();
        for (int i = 0; i < 2 * KUBE_WATCH_RETRIES; i++) {
                assert_int_equal(kube_reflect_end(&r, &how, 0), 0);
                ask();
                expect(WATCH_URL("10"));
        }
        how.http = 0; /* not even accepted */
        assert_int_equal(kube_reflect_end(&r, &how, 0), 100);
        expect("error -110/0 silent\n");
}

static void bad_lists(void **state)
{
        static const char *const rows[] = {
                "",
                "{}",
                "{\"items\":[]}",
                "{\"metadata\":{},\"items\":[]}",
                "{\"metadata\":7,\"items\":[]}",
                PAGE("10", "", "{}"),
                PAGE("10", "", "{\"metadata\":{\"name\":\"x\"}"),
                PAGE("10", "", "{\"metadata\" 5}"),
                "{\"metadata\":{\"resourceVersion\":"
                "\"0123456789012345678901234567890123456789012345678901234567890123\"},\"items\":[]"
                "}",
                "HTTP",
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                log_.text[0] = 0;
                ask();
                body(rows[i], 1);
                if (!strstr(log_.text, "error -74/") || strstr(log_.text, "synced"))
                        fail_msg("%s: %s", rows[i], log_.text);
        }
        assert_false(r.synced);
}

static void selectors(void **state)
{
        struct kube_watch_config own = cfg;

        own.ns = "kube-system";
        own.label_selector = "app in (a,b)";
        own.field_selector = "status.owner.node=n1";
        own.resource = &KUBE_VMS;
        tear_down(state);
        kube_reflect_init(&r, &own, (struct backoff){.min_ms = 100, .max_ms = 800}, 5000);
        ask();
        expect("GET s/apis/drover.dev/v1alpha1/namespaces/kube-system/virtualmachines?"
               "labelSelector=app%20in%20%28a%2Cb%29&fieldSelector=status.owner.node%3Dn1&limit="
               "500\n");
        kube_reflect_free(&r);
        own.ns = "../x";
        kube_reflect_init(&r, &own, (struct backoff){.min_ms = 100, .max_ms = 800}, 5000);
        autobuf struct buf url = buf_new(4096);
        struct err e;
        assert_int_equal(kube_reflect_url(&r, "s", 7, &url, &e), -EINVAL);
}

static void time_of_a_watch(void **state)
{
        (void)state;
        listed();
        for (uint64_t random = 0; random < 2000; random += 7) {
                autobuf struct buf url = buf_new(4096);
                assert_int_equal(kube_reflect_url(&r, "s", random, &url, NULL), 0);
                int s = atoi(strstr(buf_str(&url), "timeoutSeconds=") + 15);
                assert_in_range(s, 300, 600);
        }
}

static void on_listing(void *ctx)
{
        (void)ctx;
        say("listing\n");
}

/* Who keeps the objects is told when a list begins and ends, and no name is kept twice. */
static void names_may_be_kept_by_another(void **state)
{
        (void)state;
        cfg.listing = on_listing;
        ask();
        body(PAGE("10", "more", POD("x", "1")), 1);
        ask(); /* the same list */
        body(PAGE("10", "", POD("y", "2")), 1);
        ask();
        expect("listing\n" LIST_URL "~ a/x@1\nwait 0\n"
               "GET s/api/v1/pods?limit=500&continue=more\n~ a/y@2\nsynced\nwait 0\n" WATCH_URL(
                       "10"));
        data(EVENT("ADDED", POD("z", "11")) EVENT("DELETED", POD("x", "12")));
        end(410, 1, 0);
        expect("~ a/z@11\n- a/x@12\nerror -116/410 said\nwait 100\n");
        ask();
        body(PAGE("20", "", POD("z", "11")), 1);
        expect("listing\n" LIST_URL "~ a/z@11\nsynced\nwait 0\n"); /* of y nothing is said */
        assert_int_equal(r.known.count, 0);
        cfg.listing = NULL;
}

/* With each allocation failed in turn the machine asks again and ends with the same objects. */
static void without_memory(void **state)
{
        for (unsigned long n = 1; n < 1000; n++) {
                set_up(state);
                log_.quiet = true;
                oom_arm(n);
                for (int i = 0; i < 10 && !(r.synced && r.known.count == 1); i++) {
                        autobuf struct buf url = buf_new(4096);
                        struct err e = {0};
                        int rc = kube_reflect_url(&r, "s", 7, &url, &e);
                        struct kube_reflect_end how = {.http = 200, .err = &e, .lived_ms = 5000};
                        const char *text = r.phase == KUBE_LISTING
                                                   ? PAGE("10", "", POD("x", "1") "," POD("y", "2"))
                                                   : EVENT("DELETED", POD("y", "13"));
                        size_t half = strlen(text) / 2;
                        if (rc == 0)
                                rc = kube_reflect_data(&r, text, half, &e);
                        if (rc == 0)
                                rc = kube_reflect_data(&r, text + half, strlen(text) - half, &e);
                        how.code = rc;
                        kube_reflect_end(&r, &how, 0);
                }
                bool failed = oom_disarm();
                assert_true(r.synced);
                assert_int_equal(r.known.count, 1);
                tear_down(state);
                if (!failed) {
                        set_up(state);
                        return;
                }
        }
        fail();
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(list_then_watch),
                T(pages),
                T(a_cut_page_is_asked_for_again),
                T(pages_that_expire_start_the_list_anew),
                T(vanished_ones_are_deleted),
                T(cluster_scoped_keys),
                T(where_a_watch_goes_on),
                T(answers_that_are_no_watch),
                T(a_watch_that_never_works_is_listed_again),
                T(a_server_out_of_reach_costs_no_list),
                T(backoff_grows_and_health_resets_it),
                T(short_watches_are_told),
                T(quiet_watches_go_on),
                T(bad_lists),
                T(selectors),
                T(time_of_a_watch),
                T(names_may_be_kept_by_another),
                T(without_memory),
        };
        return cmocka_run_group_tests_name("kube_reflect", tests, NULL, NULL);
}
