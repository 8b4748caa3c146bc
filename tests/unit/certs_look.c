/* base/x509.h reads what certs/pki.h makes. */
#include "base/x509.h"
#include "certs/pki.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW INT64_C(1767225600) /* 2026-01-01 */

struct made {
        struct pki_ca ca;
        EVP_PKEY *key;
        struct buf ca_pem, pem;
};

static void make(struct made *m)
{
        static const char *dns[] = {"node1"};
        const struct pki_leaf want = {.name = "node1", .dns = {dns, 1}, .days = 90};
        X509 *cert;
        struct err e;

        *m = (struct made){.ca_pem = buf_new(PKI_PEM_MAX), .pem = buf_new(PKI_PEM_MAX)};
        assert_int_equal(pki_key_new(&m->ca.key, &e), 0);
        assert_int_equal(pki_ca_new(m->ca.key, NOW, 3650, &m->ca.cert, &e), 0);
        assert_int_equal(pki_cert_print(m->ca.cert, &m->ca_pem, &e), 0);
        assert_int_equal(pki_key_new(&m->key, &e), 0);
        assert_int_equal(pki_leaf_new(&want, m->key, &m->ca, NOW, &cert, &e), 0);
        assert_int_equal(pki_cert_print(cert, &m->pem, &e), 0);
        X509_free(cert);
}

static void unmake(struct made *m)
{
        pki_ca_free(&m->ca);
        EVP_PKEY_free(m->key);
        buf_free(&m->ca_pem);
        buf_free(&m->pem);
}

static void times_names_and_issuer(void **state)
{
        autobuf struct buf both = buf_new(PKI_PEM_MAX);
        struct made m, other;
        struct x509_facts x;
        struct err e;

        (void)state;
        make(&m);
        make(&other);
        assert_int_equal(x509_look(buf_str(&m.pem), "node1", buf_str(&m.ca_pem), &x, &e), 0);
        assert_int_equal(x.from_s, NOW - PKI_BACKDATE_S);
        assert_int_equal(x.until_s, NOW + 90 * PKI_DAY_S);
        assert_true(x.names && x.signed_by);
        assert_int_equal(x509_look(buf_str(&m.pem), "node2", buf_str(&other.ca_pem), &x, &e), 0);
        assert_false(x.names || x.signed_by); /* the same name, another key */
        assert_int_equal(x509_look(buf_str(&m.pem), NULL, NULL, &x, &e), 0);
        assert_false(x.names || x.signed_by);
        buf_adds(&both, buf_str(&other.ca_pem));
        buf_adds(&both, buf_str(&m.ca_pem));
        assert_int_equal(x509_look(buf_str(&m.pem), NULL, buf_str(&both), &x, &e), 0);
        assert_true(x.signed_by);
        unmake(&m);
        unmake(&other);
}

static void no_certificates(void **state)
{
        static const char *const BAD[] = {
                "", "hello", "-----BEGIN CERTIFICATE-----\n",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
        struct x509_facts x = {.until_s = 7};
        struct made m;
        struct err e;

        (void)state;
        make(&m);
        for (size_t i = 0; i < countof(BAD); i++) {
                assert_int_equal(x509_look(BAD[i], NULL, NULL, &x, &e), -EINVAL);
                assert_int_equal(x509_look(buf_str(&m.pem), NULL, BAD[i], &x, &e), -EINVAL);
        }
        assert_int_equal(x.until_s, 7);
        unmake(&m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(times_names_and_issuer),
                cmocka_unit_test(no_certificates),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
