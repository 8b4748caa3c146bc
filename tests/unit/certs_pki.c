#include "certs/pki.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW INT64_C(1767225600) /* 2026-01-01 */
#define DAY PKI_DAY_S

static const char *dns[] = {"drover-extender.drover-system.svc", "drover-extender"};
static const char *ips[] = {"10.96.0.20", "fd00::14"};
static const struct pki_leaf serving = {
        .name = "drover-extender", .dns = {dns, 2}, .ips = {ips, 2}, .days = 90};
static const struct pki_leaf client = {.name = "drover-scheduler", .client = true, .days = 365};

static void make_ca(struct pki_ca *ca)
{
        struct err e;

        *ca = (struct pki_ca){NULL, NULL};
        assert_int_equal(pki_key_new(&ca->key, &e), 0);
        assert_int_equal(pki_ca_new(ca->key, NOW, 3650, &ca->cert, &e), 0);
}

static void flaw_is(X509 *cert, EVP_PKEY *key, const struct pki_leaf *want, const struct pki_ca *ca,
                    int64_t now, const char *expected)
{
        char flaw[PKI_FLAW_MAX];

        pki_leaf_flaw(cert, key, want, ca, now, flaw);
        assert_string_equal(flaw, expected);
}

/* As a TLS peer judges it: 1 or the library's error code. */
static int verify_with(X509 *leaf, X509 *between, const struct pki_ca *ca, int purpose,
                       const char *host, const char *ip)
{
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        STACK_OF(X509) *chain = sk_X509_new_null();
        X509_VERIFY_PARAM *param;

        X509_STORE_add_cert(store, ca->cert);
        if (between)
                sk_X509_push(chain, between);
        assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
        X509_STORE_CTX_set_purpose(ctx, purpose);
        param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_time(param, (time_t)NOW);
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
        if (host)
                X509_VERIFY_PARAM_set1_host(param, host, 0);
        if (ip)
                X509_VERIFY_PARAM_set1_ip_asc(param, ip);
        int ok = X509_verify_cert(ctx);
        int code = ok == 1 ? 1 : X509_STORE_CTX_get_error(ctx);
        X509_STORE_CTX_free(ctx);
        X509_STORE_free(store);
        sk_X509_free(chain);
        return code;
}

static int verify(X509 *leaf, const struct pki_ca *ca, int purpose, const char *host,
                  const char *ip)
{
        return verify_with(leaf, NULL, ca, purpose, host, ip);
}

static void leaves_stand_a_peers_examination(void **state)
{
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL, *other = NULL;
        struct pki_ca ca;
        struct err e;

        (void)state;
        make_ca(&ca);
        assert_int_equal(pki_key_new(&key, &e), 0);
        assert_int_equal(pki_leaf_new(&serving, key, &ca, NOW, &cert, &e), 0);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, dns[0], NULL), 1);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, dns[1], NULL), 1);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, NULL, ips[0]), 1);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, NULL, ips[1]), 1);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, "other", NULL),
                         X509_V_ERR_HOSTNAME_MISMATCH);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL),
                         X509_V_ERR_INVALID_PURPOSE);
        assert_int_equal(pki_leaf_new(&client, key, &ca, NOW, &other, &e), 0);
        assert_int_equal(verify(other, &ca, X509_PURPOSE_SSL_CLIENT, NULL, NULL), 1);
        assert_int_not_equal(
                ASN1_INTEGER_cmp(X509_get0_serialNumber(cert), X509_get0_serialNumber(other)), 0);
        assert_int_equal(verify(other, &ca, X509_PURPOSE_SSL_SERVER, NULL, NULL),
                         X509_V_ERR_INVALID_PURPOSE);
        pki_ca_free(&ca);
}

static void a_flaw_is_found_and_named(void **state)
{
        static const char *fewer[] = {"drover-extender"}, *other_ip[] = {"10.96.0.21", "fd00::14"};
        struct pki_leaf want = serving;
        autokey EVP_PKEY *key = NULL, *other_key = NULL;
        autox509 X509 *cert = NULL;
        struct pki_ca ca, other_ca;
        struct err e;

        (void)state;
        make_ca(&ca);
        make_ca(&other_ca);
        assert_int_equal(pki_key_new(&key, &e), 0);
        assert_int_equal(pki_key_new(&other_key, &e), 0);
        assert_int_equal(pki_leaf_new(&serving, key, &ca, NOW, &cert, &e), 0);
        flaw_is(cert, key, &serving, &ca, NOW, "");
        flaw_is(cert, other_key, &serving, &ca, NOW, "its private key is another certificate's");
        flaw_is(cert, key, &serving, &other_ca, NOW, "it was not signed by the CA in use");
        flaw_is(cert, key, &serving, &ca, NOW + 59 * DAY, "");
        flaw_is(cert, key, &serving, &ca, NOW + 60 * DAY + 1,
                "less than a third of its lifetime is left");
        flaw_is(cert, key, &serving, &ca, NOW + 90 * DAY, "it has expired");
        want.dns = (struct strs){fewer, 1};
        flaw_is(cert, key, &want, &ca, NOW, "it has other names than are wanted");
        want = serving;
        want.ips = (struct strs){other_ip, 2};
        flaw_is(cert, key, &want, &ca, NOW, "it has other names than are wanted");
        want.ips = (struct strs){other_ip, 0};
        flaw_is(cert, key, &want, &ca, NOW, "it has other names than are wanted");
        want = serving;
        want.client = true;
        flaw_is(cert, key, &want, &ca, NOW, "it is for another use");
        pki_ca_free(&ca);
        pki_ca_free(&other_ca);
}

static void a_ca_vouches_for_its_successor(void **state)
{
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL, *cross = NULL;
        struct pki_ca old, new;
        struct err e;

        (void)state;
        make_ca(&old);
        make_ca(&new);
        assert_true(pki_is_ca(old.cert));
        assert_true(pki_self_signed(old.cert));
        assert_false(pki_ageing(old.cert, NOW + 2433 * DAY));
        assert_true(pki_ageing(old.cert, NOW + 2434 * DAY));
        assert_int_not_equal(
                X509_NAME_cmp(X509_get_subject_name(old.cert), X509_get_subject_name(new.cert)), 0);
        assert_int_equal(pki_key_new(&key, &e), 0);
        assert_int_equal(pki_leaf_new(&serving, key, &new, NOW, &cert, &e), 0);
        assert_false(pki_is_ca(cert));
        assert_int_equal(pki_cross_new(new.cert, &old, NOW, &cross, &e), 0);
        assert_int_equal(pki_expires(cross), NOW + 3650 * DAY);
        assert_false(pki_self_signed(cross));
        assert_int_equal(verify(cert, &old, X509_PURPOSE_SSL_SERVER, dns[0], NULL),
                         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
        assert_int_equal(verify_with(cert, cross, &old, X509_PURPOSE_SSL_SERVER, dns[0], NULL), 1);
        assert_int_equal(verify_with(cert, cross, &new, X509_PURPOSE_SSL_SERVER, dns[0], NULL), 1);
        pki_ca_free(&old);
        pki_ca_free(&new);
}

static void certificates_are_good_for_clocks_that_are_late(void **state)
{
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        struct pki_ca ca;
        struct err e;

        (void)state;
        make_ca(&ca);
        assert_int_equal(pki_key_new(&key, &e), 0);
        /* of a clock that is fast by as much as is allowed: verify() is at NOW */
        assert_int_equal(pki_leaf_new(&serving, key, &ca, NOW + PKI_BACKDATE_S, &cert, &e), 0);
        assert_int_equal(pki_issued(cert), NOW + PKI_BACKDATE_S);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, dns[0], NULL), 1);
        X509_free(cert);
        assert_int_equal(pki_leaf_new(&serving, key, &ca, NOW + PKI_BACKDATE_S + 1, &cert, &e), 0);
        assert_int_equal(verify(cert, &ca, X509_PURPOSE_SSL_SERVER, dns[0], NULL),
                         X509_V_ERR_CERT_NOT_YET_VALID);
        pki_ca_free(&ca);
}

static void pem_goes_there_and_back(void **state)
{
        autobuf struct buf b = buf_new(PKI_PEM_MAX);
        autosecret struct secret_text pem = {NULL, 0};
        autocerts struct pki_certs all = {.n = 0};
        autokey EVP_PKEY *key = NULL;
        struct pki_ca ca, other;
        struct err e;

        (void)state;
        make_ca(&ca);
        make_ca(&other);
        assert_int_equal(pki_key_print(ca.key, &pem, &e), 0);
        assert_int_equal(strncmp(pem.data, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
        assert_int_equal(pki_key_parse(pem.data, &key, &e), 0);
        assert_true(pki_key_fits(ca.cert, key));
        assert_false(pki_key_fits(other.cert, key));
        assert_int_equal(pki_cert_print(ca.cert, &b, &e), 0);
        assert_int_equal(pki_cert_print(other.cert, &b, &e), 0);
        assert_int_equal(pki_certs_parse(buf_str(&b), &all, &e), 0);
        assert_int_equal(all.n, 2);
        assert_int_equal(X509_cmp(all.v[1], other.cert), 0);
        pki_ca_free(&ca);
        pki_ca_free(&other);
}

static void what_is_no_pem_is_an_error(void **state)
{
        static const char *const bad[] = {
                "", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "-----BEGIN CERTIFICATE-----\n"};
        autobuf struct buf b = buf_new(PKI_PEM_MAX);
        struct pki_certs all = {.n = 0};
        EVP_PKEY *key = NULL;
        struct pki_ca ca;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(bad); i++) {
                assert_int_equal(pki_certs_parse(bad[i], &all, &e), -EINVAL);
                assert_int_equal(strncmp(e.msg, "read a certificate: ", 20), 0);
                assert_int_equal(pki_key_parse(bad[i], &key, &e), -EINVAL);
        }
        assert_int_equal(all.n, 0);
        assert_null(key);
        make_ca(&ca);
        for (int i = 0; i <= PKI_CERTS_MAX; i++)
                assert_int_equal(pki_cert_print(ca.cert, &b, &e), 0);
        assert_int_equal(pki_certs_parse(buf_str(&b), &all, &e), -E2BIG);
        buf_reset(&b);
        assert_int_equal(pki_cert_print(ca.cert, &b, &e), 0);
        assert_int_equal(buf_adds(&b, bad[2]), 0);
        assert_int_equal(pki_certs_parse(buf_str(&b), &all, &e), -EINVAL);
        pki_ca_free(&ca);
}

static void bad_wants_are_refused(void **state)
{
        static const char *no_ip[] = {"10.96.0.300"};
        struct pki_leaf want = serving;
        autokey EVP_PKEY *key = NULL;
        X509 *cert = NULL;
        struct pki_ca ca;
        struct err e;
        char name[80];

        (void)state;
        make_ca(&ca);
        assert_int_equal(pki_key_new(&key, &e), 0);
        want.ips = (struct strs){no_ip, 1};
        assert_int_equal(pki_leaf_new(&want, key, &ca, NOW, &cert, &e), -EINVAL);
        want = serving;
        memset(name, 'n', 65);
        name[65] = '\0';
        want.name = name;
        assert_int_equal(pki_leaf_new(&want, key, &ca, NOW, &cert, &e), -EINVAL);
        assert_null(cert);
        pki_ca_free(&ca);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(leaves_stand_a_peers_examination),
                cmocka_unit_test(a_flaw_is_found_and_named),
                cmocka_unit_test(a_ca_vouches_for_its_successor),
                cmocka_unit_test(certificates_are_good_for_clocks_that_are_late),
                cmocka_unit_test(pem_goes_there_and_back),
                cmocka_unit_test(what_is_no_pem_is_an_error),
                cmocka_unit_test(bad_wants_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
