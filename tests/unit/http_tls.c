#include "tests/unit/http_client.h"

#include <openssl/err.h>

static char dir[] = "/tmp/http_tls.XXXXXX";
static struct identity_of ca, other_ca, serving;
static struct http_server *server;
static uint16_t port;

static const char *in_dir(const char *name)
{
        static _Thread_local char path[4][PATH_MAX];
        static _Thread_local int turn;

        turn = (turn + 1) % 4;
        snprintf(path[turn], sizeof(path[0]), "%s/%s", dir, name);
        return path[turn];
}

/* --- server */

static void whoami(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        (void)ctx;
        buf_addf(&rep->body, "%s %zu", req->peer_cn ? req->peer_cn : "(none)", req->body_len);
}

static const struct http_route ROUTES[] = {{"GET", "/whoami", whoami}, {"POST", "/whoami", whoami}};

static atomic_int troubles;
static struct err last_trouble;
static pthread_mutex_t trouble_lock = PTHREAD_MUTEX_INITIALIZER;

static void trouble(void *ctx, const struct err *e)
{
        (void)ctx;
        pthread_mutex_lock(&trouble_lock);
        last_trouble = *e;
        pthread_mutex_unlock(&trouble_lock);
        atomic_fetch_add(&troubles, 1);
}

static bool last_trouble_says(const char *text)
{
        pthread_mutex_lock(&trouble_lock);
        bool found = strstr(last_trouble.msg, text);
        pthread_mutex_unlock(&trouble_lock);
        return found;
}

static int try_start(const char *client_ca, struct err *e)
{
        const struct http_config cfg = {
                .address = "127.0.0.1",
                .cert = in_dir("tls.crt"),
                .key = in_dir("tls.key"),
                .client_ca = client_ca,
                .request_seconds = 2,
                .trouble = trouble,
        };

        atomic_store(&troubles, 0);
        return http_server_start(&cfg, ROUTES, countof(ROUTES), NULL, &server, e);
}

static void start(const char *client_ca)
{
        struct err e;

        if (try_start(client_ca, &e) < 0)
                fail_msg("%s", e.msg);
        port = http_server_port(server);
}

static void stop(void)
{
        http_server_stop(server, 0, 1000);
        server = NULL;
}

/* A new pair in tls.crt and tls.key; its serial number. */
static long write_pair(void)
{
        identity_free(&serving);
        serving = issue(&ca, "server", -1, "serverAuth", -60, 3600);
        write_cert(in_dir("tls.crt"), &serving, NULL);
        write_key(in_dir("tls.key"), &serving);
        return ASN1_INTEGER_get(X509_get_serialNumber(serving.cert));
}

static int group_setup(void **state)
{
        (void)state;
        signal(SIGPIPE, SIG_IGN);
        assert_non_null(mkdtemp(dir));
        ca = issue_ca("ca");
        other_ca = issue_ca("ca"); /* of the same name */
        write_cert(in_dir("ca.crt"), &ca, NULL);
        return 0;
}

static int group_teardown(void **state)
{
        char cmd[PATH_MAX];

        (void)state;
        identity_free(&ca);
        identity_free(&other_ca);
        identity_free(&serving);
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        return system(cmd);
}

static int setup(void **state)
{
        (void)state;
        write_pair();
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        if (server)
                stop();
        return 0;
}

/* --- client */

/* Verifies the server; shows id (and the intermediate) when given. */
static SSL_CTX *context(const struct identity_of *id, const struct identity_of *intermediate)
{
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca.cert);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (id) {
                SSL_CTX_use_certificate(ctx, id->cert);
                SSL_CTX_use_PrivateKey(ctx, id->key);
        }
        if (intermediate)
                SSL_CTX_add1_chain_cert(ctx, intermediate->cert);
        return ctx;
}

/* The serial number of the certificate that a new connection is shown, 0 on failure. */
static long serial_shown(SSL_CTX *ctx)
{
        struct client c = {0};

        if (!client_open(&c, port, ctx))
                return 0;
        X509 *x = SSL_get1_peer_certificate(c.ssl);
        long serial = ASN1_INTEGER_get(X509_get_serialNumber(x));
        X509_free(x);
        client_close(&c);
        return serial;
}

static bool shows_within(SSL_CTX *ctx, long serial, int ms)
{
        for (struct mono end = mono_add_ms(mono_now(), ms); mono_ms_between(mono_now(), end) > 0;) {
                if (serial_shown(ctx) == serial)
                        return true;
                nap_ms(20);
        }
        return false;
}

/* --- protocol */

static void serves_over_tls(void **state)
{
        SSL_CTX *ctx = context(NULL, NULL);
        struct client c = {0};
        struct answer a = {0};
        char body[40000];

        (void)state;
        memset(body, 'b', sizeof(body));
        start(NULL);
        assert_true(client_open(&c, port, ctx));
        for (int i = 0; i < 20; i++) {
                assert_int_equal(ask(&c, "POST", "/whoami", body, sizeof(body), &a), 200);
                assert_string_equal(a.body, "(none) 40000");
                assert_int_equal(get(&c, "/none", &a), 404);
                assert_false(a.close);
        }
        assert_int_equal(get(&c, "/metrics", &a), 200);
        client_close(&c);
        SSL_CTX_free(ctx);
        stop();
}

/* Go offers h2 first; a server that lets it go unanswered or takes it breaks the conversation. */
static void alpn_selects_http11(void **state)
{
        static const unsigned char BOTH[] = "\x02h2\x08http/1.1", H1[] = "\x08http/1.1";
        const struct {
                const unsigned char *offer;
                unsigned len;
        } ROWS[] = {{BOTH, sizeof(BOTH) - 1}, {H1, sizeof(H1) - 1}, {NULL, 0}};
        struct answer a = {0};

        (void)state;
        start(NULL);
        for (size_t i = 0; i < countof(ROWS); i++) {
                SSL_CTX *ctx = context(NULL, NULL);
                struct client c = {0};
                const unsigned char *chosen;
                unsigned len;
                if (ROWS[i].offer)
                        SSL_CTX_set_alpn_protos(ctx, ROWS[i].offer, ROWS[i].len);
                assert_true(client_open(&c, port, ctx));
                SSL_get0_alpn_selected(c.ssl, &chosen, &len);
                assert_int_equal(len, ROWS[i].offer ? 8 : 0);
                if (len)
                        assert_memory_equal(chosen, "http/1.1", 8);
                assert_int_equal(get(&c, "/whoami", &a), 200);
                client_close(&c);
                SSL_CTX_free(ctx);
        }
        stop();
}

static void only_tls_12_and_13(void **state)
{
        static const int VERSIONS[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION,
                                       TLS1_3_VERSION};

        (void)state;
        start(NULL);
        for (size_t i = 0; i < countof(VERSIONS); i++) {
                SSL_CTX *ctx = context(NULL, NULL);
                struct client c = {0};
                SSL_CTX_set_security_level(ctx, 0);
                SSL_CTX_set_min_proto_version(ctx, VERSIONS[i]);
                SSL_CTX_set_max_proto_version(ctx, VERSIONS[i]);
                bool ok = client_open(&c, port, ctx);
                assert_int_equal(ok, VERSIONS[i] >= TLS1_2_VERSION);
                if (ok)
                        client_close(&c);
                SSL_CTX_free(ctx);
        }
        stop();
}

/* --- clients' certificates */

static int status_for(const struct identity_of *id, const struct identity_of *intermediate,
                      int version, char cn[64])
{
        SSL_CTX *ctx = context(id, intermediate);
        struct answer a = {0};

        SSL_CTX_set_min_proto_version(ctx, version);
        SSL_CTX_set_max_proto_version(ctx, version);
        int status = get_once(port, ctx, "/whoami", &a);
        snprintf(cn, 64, "%.63s", a.body);
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return status;
}

static void clients_are_verified(void **state)
{
        struct identity_of sub = issue(&ca, "intermediate", -1, NULL, -60, 3600);
        struct identity_of other_sub = issue(&other_ca, "intermediate", -1, NULL, -60, 3600);
        struct identity_of none = {0};
        struct {
                const char *what;
                struct identity_of id;
                const struct identity_of *via;
                const char *cn; /* NULL: refused */
        } rows[] = {
                {"right", issue(&ca, "kube-scheduler", -1, "clientAuth", -60, 3600), NULL,
                 "kube-scheduler 0"},
                {"both usages", issue(&ca, "both", -1, "serverAuth,clientAuth", -60, 3600), NULL,
                 "both 0"},
                {"no name", issue(&ca, NULL, 0, "clientAuth", -60, 3600), NULL, "(none) 0"},
                {"intermediate", issue(&sub, "deep", -1, "clientAuth", -60, 3600), &sub, "deep 0"},
                {"no certificate", none, NULL, NULL},
                {"intermediate not sent", issue(&sub, "x", -1, "clientAuth", -60, 3600), NULL,
                 NULL},
                {"other CA of that name", issue(&other_ca, "x", -1, "clientAuth", -60, 3600), NULL,
                 NULL},
                {"other CA's intermediate", issue(&other_sub, "x", -1, "clientAuth", -60, 3600),
                 &other_sub, NULL},
                {"self-signed", issue(NULL, "x", -1, "clientAuth", -60, 3600), NULL, NULL},
                {"expired", issue(&ca, "x", -1, "clientAuth", -7200, -3600), NULL, NULL},
                {"not yet valid", issue(&ca, "x", -1, "clientAuth", 3600, 7200), NULL, NULL},
                {"a server's", issue(&ca, "x", -1, "serverAuth", -60, 3600), NULL, NULL},
                {"name with a NUL", issue(&ca, "admin\0x", 7, "clientAuth", -60, 3600), NULL, NULL},
        };
        const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
        char cn[64];

        (void)state;
        start(in_dir("ca.crt"));
        for (size_t i = 0; i < countof(rows); i++) {
                for (size_t v = 0; v < countof(versions); v++) {
                        const struct identity_of *id = rows[i].id.cert ? &rows[i].id : NULL;
                        int status = status_for(id, rows[i].via, versions[v], cn);
                        if (status != (rows[i].cn ? 200 : 0))
                                fail_msg("%s: %d %s", rows[i].what, status, cn);
                        if (rows[i].cn)
                                assert_string_equal(cn, rows[i].cn);
                }
        }
        for (size_t i = 0; i < countof(rows); i++)
                identity_free(&rows[i].id);
        identity_free(&sub);
        identity_free(&other_sub);
        stop();
}

/* A resumed session would bring a client back without its certificate being looked at again. */
static void sessions_are_not_resumed(void **state)
{
        struct identity_of id = issue(&ca, "me", -1, "clientAuth", -60, 3600);
        const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

        (void)state;
        start(in_dir("ca.crt"));
        for (size_t v = 0; v < countof(versions); v++) {
                SSL_CTX *ctx = context(&id, NULL);
                SSL_SESSION *session = NULL;
                SSL_CTX_set_max_proto_version(ctx, versions[v]);
                for (int i = 0; i < 2; i++) {
                        struct client c = {0};
                        struct answer a = {0};
                        assert_true(client_dial(&c, port));
                        c.ssl = SSL_new(ctx);
                        SSL_set_fd(c.ssl, c.fd);
                        if (session)
                                SSL_set_session(c.ssl, session);
                        assert_int_equal(SSL_connect(c.ssl), 1);
                        assert_int_equal(get(&c, "/whoami", &a), 200);
                        assert_false(SSL_session_reused(c.ssl));
                        SSL_SESSION_free(session);
                        session = SSL_get1_session(c.ssl);
                        client_close(&c);
                }
                SSL_SESSION_free(session);
                SSL_CTX_free(ctx);
        }
        identity_free(&id);
        stop();
}

/* --- files that change */

static void new_files_are_used(void **state)
{
        SSL_CTX *ctx = context(NULL, NULL);
        long serial = ASN1_INTEGER_get(X509_get_serialNumber(serving.cert));
        struct client old = {0};
        struct answer a = {0};

        (void)state;
        start(NULL);
        assert_int_equal(serial_shown(ctx), serial);
        assert_true(client_open(&old, port, ctx));
        assert_int_equal(get(&old, "/whoami", &a), 200);
        serial = write_pair();
        assert_true(shows_within(ctx, serial, 1500));
        assert_int_equal(get(&old, "/whoami", &a), 200); /* connections outlive their certificate */
        client_close(&old);
        assert_int_equal(troubles <= 1, 1); /* it may have looked between the two writes */
        SSL_CTX_free(ctx);
        stop();
}

static void half_a_pair_is_not_used(void **state)
{
        SSL_CTX *ctx = context(NULL, NULL);
        long old = ASN1_INTEGER_get(X509_get_serialNumber(serving.cert));
        struct identity_of next = issue(&ca, "server", -1, "serverAuth", -60, 3600);
        long new = ASN1_INTEGER_get(X509_get_serialNumber(next.cert));
        autobuf struct buf pem = buf_new(1 << 20);
        struct answer a = {0};
        struct err e;

        (void)state;
        start(NULL);
        write_cert(in_dir("tls.crt"), &next, NULL);
        nap_ms(1300);
        assert_int_equal(serial_shown(ctx), old);
        assert_int_equal(troubles, 1); /* said once, though it looks again and again */
        assert_true(last_trouble_says("does not belong to certificate"));

        /* the certificate cut off in the middle, then empty, then gone */
        assert_int_equal(file_read(in_dir("tls.crt"), &pem, &e), 0);
        assert_int_equal(file_write(in_dir("tls.crt"), pem.data, pem.len / 2, 0600, &e), 0);
        nap_ms(700);
        assert_int_equal(serial_shown(ctx), old);
        assert_int_equal(file_write(in_dir("tls.crt"), "", 0, 0600, &e), 0);
        nap_ms(700);
        assert_int_equal(serial_shown(ctx), old);
        assert_int_equal(unlink(in_dir("tls.crt")), 0);
        nap_ms(700);
        assert_int_equal(serial_shown(ctx), old);
        assert_true(last_trouble_says("No such file"));

        write_key(in_dir("tls.key"), &next);
        write_cert(in_dir("tls.crt"), &next, NULL);
        assert_true(shows_within(ctx, new, 1500));
        int told = troubles;
        nap_ms(1200);
        assert_int_equal(troubles, told);
        assert_int_equal(get_once(port, ctx, "/metrics", &a), 200);
        identity_free(&next);
        SSL_CTX_free(ctx);
        stop();
}

/* As kubelet does it: DIR/..data is a symlink to a directory that is replaced. */
static void swap_secret(int generation)
{
        char sub[64], tmp[PATH_MAX], data[PATH_MAX];

        snprintf(sub, sizeof(sub), "..gen%d", generation);
        assert_int_equal(mkdir(in_dir(sub), 0755), 0);
        identity_free(&serving);
        serving = issue(&ca, "server", -1, "serverAuth", -60, 3600);
        snprintf(tmp, sizeof(tmp), "%s/tls.crt", in_dir(sub));
        write_cert(tmp, &serving, NULL);
        snprintf(tmp, sizeof(tmp), "%s/tls.key", in_dir(sub));
        write_key(tmp, &serving);
        snprintf(data, sizeof(data), "%s", in_dir("..data"));
        snprintf(tmp, sizeof(tmp), "%s", in_dir("..data_tmp"));
        assert_int_equal(symlink(sub, tmp), 0);
        assert_int_equal(rename(tmp, data), 0);
}

static void link_secret(void)
{
        static const char *const NAMES[] = {"tls.crt", "tls.key"};

        for (size_t i = 0; i < countof(NAMES); i++) {
                char to[64];
                snprintf(to, sizeof(to), "..data/%s", NAMES[i]);
                unlink(in_dir(NAMES[i]));
                assert_int_equal(symlink(to, in_dir(NAMES[i])), 0);
        }
}

static atomic_bool over;
static atomic_int asked, failed;

/* New connections and kept ones in turn. */
static void *load(void *arg)
{
        SSL_CTX *ctx = context(NULL, NULL);
        struct client c = {0};
        struct answer a = {0};

        (void)arg;
        while (!atomic_load(&over)) {
                if (!client_open(&c, port, ctx)) {
                        failed++;
                        continue;
                }
                for (int i = 0; i < 20; i++, asked++)
                        failed += get(&c, "/whoami", &a) != 200;
                client_close(&c);
        }
        SSL_CTX_free(ctx);
        return NULL;
}

static void reload_under_load_fails_nothing(void **state)
{
        SSL_CTX *ctx = context(NULL, NULL);
        pthread_t t[3];

        (void)state;
        swap_secret(0);
        link_secret();
        start(NULL);
        atomic_store(&over, false);
        asked = failed = 0;
        for (size_t i = 0; i < countof(t); i++)
                assert_int_equal(pthread_create(&t[i], NULL, load, NULL), 0);
        for (int generation = 1; generation <= 6; generation++) {
                swap_secret(generation);
                long want = ASN1_INTEGER_get(X509_get_serialNumber(serving.cert));
                assert_true(shows_within(ctx, want, 1500));
        }
        atomic_store(&over, true);
        for (size_t i = 0; i < countof(t); i++)
                pthread_join(t[i], NULL);
        assert_int_equal(failed, 0);
        assert_int_equal(troubles, 0); /* a swap is never seen half done */
        assert_true(asked > 300);
        unlink(in_dir("tls.crt"));
        unlink(in_dir("tls.key"));
        SSL_CTX_free(ctx);
        stop();
}

static void client_ca_is_followed_too(void **state)
{
        struct identity_of mine = issue(&ca, "mine", -1, "clientAuth", -60, 3600);
        struct identity_of theirs = issue(&other_ca, "theirs", -1, "clientAuth", -60, 3600);
        char cn[64];

        (void)state;
        write_cert(in_dir("clients.crt"), &ca, NULL);
        start(in_dir("clients.crt"));
        assert_int_equal(status_for(&mine, NULL, TLS1_3_VERSION, cn), 200);
        assert_int_equal(status_for(&theirs, NULL, TLS1_3_VERSION, cn), 0);
        write_cert(in_dir("clients.crt"), &ca, &other_ca); /* overlap */
        nap_ms(1200);
        assert_int_equal(status_for(&mine, NULL, TLS1_3_VERSION, cn), 200);
        assert_int_equal(status_for(&theirs, NULL, TLS1_3_VERSION, cn), 200);
        write_cert(in_dir("clients.crt"), &other_ca, NULL);
        nap_ms(1200);
        assert_int_equal(status_for(&mine, NULL, TLS1_3_VERSION, cn), 0);
        assert_int_equal(status_for(&theirs, NULL, TLS1_3_VERSION, cn), 200);
        identity_free(&mine);
        identity_free(&theirs);
        stop();
}

static void bad_files_refuse_the_start(void **state)
{
        struct identity_of next = issue(&ca, "server", -1, "serverAuth", -60, 3600);
        struct err e;

        (void)state;
        write_key(in_dir("tls.key"), &next);
        assert_int_equal(try_start(NULL, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "does not belong to certificate"));
        assert_int_equal(file_write(in_dir("tls.key"), "nonsense", 8, 0600, &e), 0);
        assert_int_equal(try_start(NULL, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "key "));
        assert_int_equal(unlink(in_dir("tls.key")), 0);
        assert_int_equal(try_start(NULL, &e), -ENOENT);
        write_pair();
        assert_int_equal(file_write(in_dir("bad.crt"), "nonsense", 8, 0600, &e), 0);
        assert_int_equal(try_start(in_dir("bad.crt"), &e), -EINVAL);
        assert_non_null(strstr(e.msg, "client CA"));
        assert_null(server);
        identity_free(&next);
}

/* --- hostile */

static void garbage_instead_of_a_handshake(void **state)
{
        static const char *const ODD[] = {
                "GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n",
                "\x16\x03\x01",
                "\x16\x03\x01\xff\xff",
                "\x16\x03\x01\x01\x05\x01\x01\x01\x01\x01",
                "\x15\x03\x03\x01\x02\x02\x28",
                "\x80\x2e\x01\x03\x01",
                "\r\n",
        };
        SSL_CTX *ctx = context(NULL, NULL);
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(NULL);
        srandom(5);
        for (size_t i = 0; i < 200; i++) {
                char noise[200] = {0};
                size_t len = (size_t)random() % sizeof(noise);
                for (size_t k = 0; k < len; k++)
                        noise[k] = (char)random();
                noise[0] = i % 2 ? 0x16 : noise[0];
                assert_true(client_dial(&c, port));
                if (i < countof(ODD))
                        client_send(&c, ODD[i], strlen(ODD[i]));
                else
                        client_send(&c, noise, len);
                client_close(&c);
        }
        assert_int_equal(get_once(port, ctx, "/whoami", &a), 200);
        SSL_CTX_free(ctx);
        stop();
}

/* A real handshake that ends or stalls after n bytes. */
static void truncated_and_stalled_handshakes(void **state)
{
        enum { STALLED = 20 };
        static struct client stalled[STALLED];
        SSL_CTX *ctx = context(NULL, NULL);
        unsigned char hello[2048];
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(NULL);
        SSL *ssl = SSL_new(ctx);
        BIO *out = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
        SSL_connect(ssl);
        int len = BIO_read(out, hello, sizeof(hello));
        assert_true(len > 100);
        SSL_free(ssl);
        for (int n = 0; n < len; n += 7) {
                assert_true(client_dial(&c, port));
                client_send(&c, (char *)hello, (size_t)n);
                client_close(&c);
        }
        struct mono t = mono_now();
        for (int i = 0; i < STALLED; i++) {
                assert_true(client_dial(&stalled[i], port));
                client_send(&stalled[i], (char *)hello, (size_t)(i * len / STALLED));
        }
        assert_int_equal(get_once(port, ctx, "/whoami", &a), 200); /* nobody waits for them */
        for (int i = 0; i < STALLED; i++) {
                assert_true(client_ended(&stalled[i]));
                client_close(&stalled[i]);
        }
        int64_t ms = mono_ms_between(t, mono_now());
        assert_true(ms >= 1900 && ms < 4500);
        SSL_CTX_free(ctx);
        ERR_clear_error();
        stop();
}

static void connections_cut_in_every_way(void **state)
{
        SSL_CTX *ctx = context(NULL, NULL);
        const char *head = "POST /whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345";
        struct client c = {0};
        struct answer a = {0};

        (void)state;
        start(NULL);
        for (int i = 0; i < 90; i++) {
                struct linger hard = {.l_onoff = 1};
                assert_true(client_open(&c, port, ctx));
                client_send(&c, head, strlen(head) - (size_t)(i % 30));
                if (i < 30)
                        SSL_shutdown(c.ssl);
                else if (i < 60)
                        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
                client_close(&c);
        }
        assert_int_equal(get_once(port, ctx, "/whoami", &a), 200);
        SSL_CTX_free(ctx);
        stop();
}

/* --- the end */

static void *until_told_to_close(void *arg)
{
        SSL_CTX *ctx = context(NULL, NULL);
        struct client c = {0};
        struct answer a = {0};

        (void)arg;
        if (!client_open(&c, port, ctx))
                failed++;
        while (c.fd >= 0 && !a.close) {
                failed += get(&c, "/whoami", &a) != 200;
                asked++;
                if (!a.status)
                        break;
        }
        client_close(&c);
        SSL_CTX_free(ctx);
        return NULL;
}

static void stop_under_load_fails_nothing(void **state)
{
        pthread_t t[4];

        (void)state;
        start(NULL);
        asked = failed = 0;
        for (size_t i = 0; i < countof(t); i++)
                assert_int_equal(pthread_create(&t[i], NULL, until_told_to_close, NULL), 0);
        nap_ms(300);
        http_server_stop(server, 300, 2000);
        server = NULL;
        for (size_t i = 0; i < countof(t); i++)
                pthread_join(t[i], NULL);
        assert_int_equal(failed, 0);
        assert_true(asked > 20);
}

static void each_allocation_of_the_start_fails_in_turn(void **state)
{
        (void)state;
        for (unsigned long n = 1; n; n++) {
                struct err e;
                oom_arm(n);
                int rc = try_start(in_dir("ca.crt"), &e);
                bool hit = oom_disarm();
                if (rc == 0)
                        stop();
                else
                        assert_int_equal(rc, -ENOMEM);
                if (!hit) {
                        assert_int_equal(rc, 0);
                        break;
                }
        }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(serves_over_tls),
                T(alpn_selects_http11),
                T(only_tls_12_and_13),
                T(clients_are_verified),
                T(sessions_are_not_resumed),
                T(new_files_are_used),
                T(half_a_pair_is_not_used),
                T(reload_under_load_fails_nothing),
                T(client_ca_is_followed_too),
                T(bad_files_refuse_the_start),
                T(garbage_instead_of_a_handshake),
                T(truncated_and_stalled_handshakes),
                T(connections_cut_in_every_way),
                T(stop_under_load_fails_nothing),
                T(each_allocation_of_the_start_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
