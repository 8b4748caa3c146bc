/* Who may ask the extender: over real TLS, with certificates as drover-certs makes them. */
#include "extender/serve.h"
#include "tests/unit/http_client.h"

static char dir[] = "/tmp/extender_tls.XXXXXX";
static struct identity_of ca, serving;
static struct http_server *server;
static struct service service;
static uint16_t port;

static const char *in_dir(const char *name)
{
        static char path[4][PATH_MAX];
        static int turn;

        turn = (turn + 1) % 4;
        snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
        return path[turn];
}

static int group_setup(void **state)
{
        const struct fleet_config cfg = {.silent_ms = 20000, .migration_slots = 2};

        (void)state;
        signal(SIGPIPE, SIG_IGN);
        assert_non_null(mkdtemp(dir));
        ca = issue_ca("drover");
        serving = issue(&ca, "drover-extender", -1, "serverAuth", -60, 3600);
        write_cert(in_dir("ca.crt"), &ca, NULL);
        write_cert(in_dir("tls.crt"), &serving, NULL);
        write_key(in_dir("tls.key"), &serving);
        service_init(&service, fleet_new(&cfg), 1 << 20);
        service.client = "drover-scheduler";
        const struct http_config https = {.address = "127.0.0.1",
                                          .cert = in_dir("tls.crt"),
                                          .key = in_dir("tls.key"),
                                          .client_ca = in_dir("ca.crt")};
        struct err e;
        if (http_server_start(&https, SERVE_ROUTES, countof(SERVE_ROUTES), &service, &server, &e) <
            0)
                fail_msg("%s", e.msg);
        port = http_server_port(server);
        return 0;
}

static int group_teardown(void **state)
{
        char cmd[PATH_MAX];

        (void)state;
        http_server_stop(server, 0, 1000);
        fleet_free(service.fleet);
        identity_free(&ca);
        identity_free(&serving);
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        return system(cmd);
}

/* Status of a call to the verb with such a certificate (NULL: none), 0 when there was no answer. */
static int status_of(const struct identity_of *id, const char *verb, struct answer *a)
{
        static const char BODY[] = "{\"Pod\":{},\"NodeNames\":[],\"NodeNameToMetaVictims\":{}}";
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        struct client c = {0};
        int status = 0;

        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca.cert);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (id) {
                SSL_CTX_use_certificate(ctx, id->cert);
                SSL_CTX_use_PrivateKey(ctx, id->key);
        }
        if (client_open(&c, port, ctx)) {
                status = ask(&c, "POST", verb, BODY, sizeof(BODY) - 1, a);
                client_close(&c);
        }
        SSL_CTX_free(ctx);
        return status;
}

static const char *const VERBS[] = {"/filter", "/prioritize", "/preempt"};

static void expect_status(struct identity_of id, int status, const char *body)
{
        for (size_t i = 0; i < countof(VERBS); i++) {
                struct answer a = {0};

                int got = status_of(&id, VERBS[i], &a);
                if (got != status)
                        fail_msg("%s: %d, not %d: %s", VERBS[i], got, status, a.body);
                if (body && !strstr(a.body, body))
                        fail_msg("%s: %s", VERBS[i], a.body);
        }
        identity_free(&id);
}

static void the_scheduler_is_answered(void **state)
{
        (void)state;
        expect_status(issue(&ca, "drover-scheduler", -1, "clientAuth", -60, 3600), 200, NULL);
}

static void another_name_is_refused(void **state)
{
        static const char *const NAMES[] = {"drover-webhook", "drover-scheduler2",
                                            "Drover-Scheduler", "drover-schedule"};

        (void)state;
        for (size_t i = 0; i < countof(NAMES); i++)
                expect_status(issue(&ca, NAMES[i], -1, "clientAuth", -60, 3600), 403,
                              "not for \\\"drover-scheduler\\\"");
        expect_status(issue(&ca, NULL, 0, "clientAuth", -60, 3600), 403, "is for \\\"\\\"");
        /* One with a NUL in it is no name at all. */
        expect_status(issue(&ca, "drover-scheduler\0.evil", 22, "clientAuth", -60, 3600), 0, NULL);
}

static void no_certificate_is_refused(void **state)
{
        struct answer a = {0};

        (void)state;
        assert_int_equal(status_of(NULL, "/filter", &a), 0);
}

static void another_authority_is_refused(void **state)
{
        struct identity_of other = issue_ca("drover"); /* of the same name */

        (void)state;
        expect_status(issue(&other, "drover-scheduler", -1, "clientAuth", -60, 3600), 0, NULL);
        identity_free(&other);
}

static void the_expired_and_the_not_yet_valid_are_refused(void **state)
{
        (void)state;
        expect_status(issue(&ca, "drover-scheduler", -1, "clientAuth", -7200, -3600), 0, NULL);
        expect_status(issue(&ca, "drover-scheduler", -1, "clientAuth", 3600, 7200), 0, NULL);
}

static void a_servers_certificate_is_no_clients(void **state)
{
        (void)state;
        expect_status(issue(&ca, "drover-scheduler", -1, "serverAuth", -60, 3600), 0, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_scheduler_is_answered),
                cmocka_unit_test(another_name_is_refused),
                cmocka_unit_test(no_certificate_is_refused),
                cmocka_unit_test(another_authority_is_refused),
                cmocka_unit_test(the_expired_and_the_not_yet_valid_are_refused),
                cmocka_unit_test(a_servers_certificate_is_no_clients),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
