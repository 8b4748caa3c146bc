/* Who we talk to and who we are: certificates from memory, tokens that rotate. */
#include "base/file.h"
#include "kube/io.h"
#include "tests/fake/apiserver.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
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

struct pair {
        EVP_PKEY *key;
        X509 *cert;
        char *cert_pem, *key_pem;
};

static char *pem_of(BIO *b)
{
        char *data;
        long n = BIO_get_mem_data(b, &data);
        char *s = strndup(data, (size_t)n);

        BIO_free(b);
        return s;
}

static void extend(X509 *x, int nid, const char *value)
{
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

        assert_non_null(ext);
        X509_add_ext(x, ext, -1);
        X509_EXTENSION_free(ext);
}

/* Signed by ca, or by itself where that is NULL; days < 0: expired. */
static struct pair issue(const struct pair *ca, const char *name, const char *san, int days)
{
        struct pair p = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
        X509_NAME *subject = X509_get_subject_name(p.cert);
        static long serial = 1;

        X509_set_version(p.cert, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
        X509_gmtime_adj(X509_getm_notBefore(p.cert), -86400 * 10);
        X509_gmtime_adj(X509_getm_notAfter(p.cert), 86400L * days);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
                                   0);
        X509_set_issuer_name(p.cert, ca ? X509_get_subject_name(ca->cert) : subject);
        X509_set_pubkey(p.cert, p.key);
        if (!ca)
                extend(p.cert, NID_basic_constraints, "critical,CA:TRUE");
        if (san)
                extend(p.cert, NID_subject_alt_name, san);
        assert_true(X509_sign(p.cert, ca ? ca->key : p.key, EVP_sha256()) > 0);
        BIO *b = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(b, p.cert);
        p.cert_pem = pem_of(b);
        b = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(b, p.key, NULL, NULL, 0, NULL, NULL);
        p.key_pem = pem_of(b);
        return p;
}

static void dispose(struct pair *p)
{
        EVP_PKEY_free(p->key);
        X509_free(p->cert);
        free(p->cert_pem);
        free(p->key_pem);
}

static struct pair ca, other_ca, leaf, wrong_name, expired, user;

static int set_up_all(void **state)
{
        (void)state;
        ca = issue(NULL, "ca", NULL, 10);
        other_ca = issue(NULL, "other", NULL, 10);
        leaf = issue(&ca, "server", "IP:127.0.0.1,DNS:localhost", 10);
        wrong_name = issue(&ca, "server", "DNS:elsewhere", 10);
        expired = issue(&ca, "server", "IP:127.0.0.1", -1);
        user = issue(&ca, "user", NULL, 10);
        return 0;
}

static int tear_down_all(void **state)
{
        struct pair *all[] = {&ca, &other_ca, &leaf, &wrong_name, &expired, &user};

        (void)state;
        for (size_t i = 0; i < 6; i++)
                dispose(all[i]);
        return 0;
}

static void ok(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)r;
        (void)ctx;
        fake_answer(c, 200, "", "{}");
}

/* What a get says with this configuration. */
static int get(struct kube_config cfg, const struct fake *f, struct err *e)
{
        struct kube_client *c;

        cfg.ns = "default";
        cfg.server = fake_url(f);
        int rc = kube_client_new(&cfg, "drover-test", &c, e);
        if (rc < 0)
                return rc;
        rc = kube_get(c, &KUBE_NODES, NULL, "n", NULL, e);
        if (rc == 0)
                rc = kube_get(c, &KUBE_NODES, NULL, "n", NULL, e);
        kube_client_free(c);
        return rc;
}

static void only_the_right_server(void **state)
{
        struct fake *good = fake_start_tls(ok, NULL, leaf.cert_pem, leaf.key_pem, NULL);
        struct fake *name = fake_start_tls(ok, NULL, wrong_name.cert_pem, wrong_name.key_pem, NULL);
        struct fake *old = fake_start_tls(ok, NULL, expired.cert_pem, expired.key_pem, NULL);
        struct err e = {.msg = ""};

        (void)state;
        if (get((struct kube_config){.ca_pem = ca.cert_pem}, good, &e) != 0)
                fail_msg("%s", e.msg);
        assert_int_equal(fake_connections(good), 1);
        assert_int_equal(get((struct kube_config){.ca_pem = other_ca.cert_pem}, good, &e),
                         -EKEYREJECTED);
        assert_non_null(strstr(e.msg, "certificate"));
        assert_int_equal(get((struct kube_config){0}, good, &e),
                         -EKEYREJECTED); /* the system's CAs */
        assert_int_equal(get((struct kube_config){.ca_pem = ca.cert_pem}, name, &e), -EKEYREJECTED);
        assert_int_equal(get((struct kube_config){.ca_pem = ca.cert_pem}, old, &e), -EKEYREJECTED);
        assert_int_equal(get((struct kube_config){.ca_pem = "-----BEGIN x"}, good, &e),
                         -EKEYREJECTED);
        assert_int_equal(fake_requests(good), 2);
        assert_int_equal(fake_requests(name) + fake_requests(old), 0);
        assert_int_equal(get((struct kube_config){.insecure = true}, name, &e), 0);
        fake_stop(good);
        fake_stop(name);
        fake_stop(old);
}

static void client_certificates(void **state)
{
        struct fake *f = fake_start_tls(ok, NULL, leaf.cert_pem, leaf.key_pem, ca.cert_pem);
        struct kube_config cfg = {
                .ca_pem = ca.cert_pem, .cert_pem = user.cert_pem, .key_pem = user.key_pem};
        struct err e = {.msg = ""};

        (void)state;
        if (get(cfg, f, &e) != 0)
                fail_msg("%s", e.msg);
        assert_int_equal(fake_requests(f), 2);
        cfg.cert_pem = other_ca.cert_pem;
        cfg.key_pem = other_ca.key_pem;
        assert_true(get(cfg, f, &e) < 0);
        cfg.cert_pem = user.cert_pem; /* not its key */
        assert_int_equal(get(cfg, f, &e), -EKEYREJECTED);
        cfg.cert_pem = cfg.key_pem = NULL;
        assert_true(get(cfg, f, &e) < 0);
        cfg.cert_pem = user.cert_pem;
        assert_int_equal(get(cfg, f, &e), -EINVAL);
        assert_int_equal(fake_requests(f), 2);
        fake_stop(f);
}

/* --- tokens: the server takes the one named by accept */

static char accept_token[64];
static char seen_tokens[1024];

static void guard(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        const char *p = strstr(r->headers, "Authorization: Bearer ");
        char token[64] = "none";

        (void)ctx;
        if (p)
                sscanf(p + 22, "%63[^\r]", token);
        size_t n = strlen(seen_tokens);
        snprintf(seen_tokens + n, sizeof(seen_tokens) - n, "%s ", token);
        fake_answer(c, strcmp(token, accept_token) == 0 ? 200 : 401, "", "{}");
}

static void put_token(const char *path, const char *token)
{
        struct err e;

        assert_int_equal(file_write(path, token, strlen(token), 0600, &e), 0);
}

static void rotating_tokens(void **state)
{
        char path[] = "/tmp/kube_token.XXXXXX";
        struct kube_config cfg = {.ns = "default", .token_file = path, .token = "never"};
        struct fake *f = fake_start(guard, NULL);
        struct kube_client *c;
        struct err e;

        (void)state;
        close(mkstemp(path));
        cfg.server = fake_url(f);
        strcpy(accept_token, "one");
        put_token(path, "one\n");
        assert_int_equal(kube_client_new(&cfg, "drover-test", &c, &e), 0);
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        put_token(path, "two\n"); /* not yet old enough to be read again */
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        strcpy(accept_token, "two"); /* a 401 has it read at once */
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        assert_string_equal(seen_tokens, "one one one two ");

        seen_tokens[0] = 0; /* a second refusal, or the same token again, is the answer */
        strcpy(accept_token, "four");
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), -EPERM);
        put_token(path, "three\n");
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), -EPERM);
        assert_int_equal(e.http, 401);
        assert_string_equal(seen_tokens, "two two three ");

        seen_tokens[0] = 0; /* of age it is read again; a file that is gone leaves the old one */
        c->tune.token_age_ms = 0;
        put_token(path, "four");
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        unlink(path);
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        put_token(path, "bro\nken");
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), 0);
        assert_string_equal(seen_tokens, "four four four ");
        kube_client_free(c);

        unlink(path); /* one that never was is an error that names it */
        assert_int_equal(kube_client_new(&cfg, "drover-test", &c, &e), 0);
        assert_int_equal(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e), -ENOENT);
        assert_non_null(strstr(e.msg, path));
        kube_client_free(c);
        fake_stop(f);
}

static void no_event(void *ctx, enum kube_event type, const struct json *object)
{
        (void)ctx;
        (void)type;
        (void)object;
}

/* A watch too asks again with the new token, at once. */
static void guarded_list(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        if (!strstr(r->headers, "Bearer new"))
                fake_answer(c, 401, "", "{}");
        else if (strstr(r->target, "watch=1"))
                fake_hang(c);
        else
                fake_answer(c, 200, "", "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}");
        (void)ctx;
}

static void watch_with_a_new_token(void **state)
{
        char path[] = "/tmp/kube_token.XXXXXX";
        struct kube_config cfg = {.ns = "default", .token_file = path};
        struct kube_watch_config watching = {.resource = &KUBE_PODS, .event = no_event};
        struct fake *f = fake_start(guarded_list, NULL);
        struct kube_watch *w;
        struct kube_client *c;
        struct err e;

        (void)state;
        close(mkstemp(path));
        cfg.server = fake_url(f);
        put_token(path, "old");
        assert_int_equal(kube_client_new(&cfg, "drover-test", &c, &e), 0);
        assert_true(kube_get(c, &KUBE_NODES, NULL, "n", NULL, &e) == -EPERM);
        put_token(path, "new");
        assert_int_equal(kube_watch_start(c, &watching, &w, &e), 0);
        for (int i = 0; i < 1000 && !kube_watch_synced(w); i++)
                nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        assert_true(kube_watch_synced(w));
        kube_watch_stop(w);
        kube_client_free(c);
        fake_stop(f);
        unlink(path);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(only_the_right_server),
                cmocka_unit_test(client_certificates),
                cmocka_unit_test(rotating_tokens),
                cmocka_unit_test(watch_with_a_new_token),
        };
        return cmocka_run_group_tests_name("kube_tls", tests, set_up_all, tear_down_all);
}
