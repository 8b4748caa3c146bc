#include "base/x509.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define CERTS_MAX 16

static void cleanup_bio(BIO **b)
{
        BIO_free(*b);
}

static void cleanup_cert(X509 **c)
{
        X509_free(*c);
}

static BIO *open_text(const char *pem)
{
        return BIO_new_mem_buf(pem, (int)strnlen(pem, INT32_MAX));
}

static int64_t seconds(const ASN1_TIME *t)
{
        struct tm tm;

        return ASN1_TIME_to_tm(t, &tm) ? timegm(&tm) : 0;
}

/* -EINVAL when the text holds no certificate at all. */
static int signed_by(X509 *cert, const char *ca, bool *out, struct err *e)
{
        cleanup(cleanup_bio) BIO *b = open_text(ca);
        size_t n = 0;

        *out = false;
        for (X509 *c; b && n < CERTS_MAX && (c = PEM_read_bio_X509(b, NULL, NULL, NULL)); n++) {
                *out |= X509_verify(cert, X509_get0_pubkey(c)) == 1;
                X509_free(c);
        }
        ERR_clear_error();
        return n ? 0 : err_set(e, -EINVAL, "the CA is no certificate in PEM");
}

int x509_look(const char *pem, const char *host, const char *ca, struct x509_facts *out,
              struct err *e)
{
        cleanup(cleanup_bio) BIO *b = open_text(pem);
        cleanup(cleanup_cert) X509 *cert = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
        struct x509_facts x = {0};

        ERR_clear_error();
        if (!cert)
                return err_set(e, -EINVAL, "no certificate in PEM");
        x.from_s = seconds(X509_get0_notBefore(cert));
        x.until_s = seconds(X509_get0_notAfter(cert));
        x.names = host && X509_check_host(cert, host, 0, 0, NULL) == 1;
        int rc = ca ? signed_by(cert, ca, &x.signed_by, e) : 0;
        if (rc)
                return rc;
        *out = x;
        return 0;
}
