/* Keys, PEM and what a certificate says; certs/issue.c makes certificates. */
#include "certs/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NO_PASSWORD ((void *)(uintptr_t) "") /* in place of a question at the terminal */

int pki_failed(struct err *e, const char *what)
{
        unsigned long code = ERR_peek_last_error();
        const char *why = code ? ERR_reason_error_string(code) : NULL;

        ERR_clear_error();
        return err_set(e, -EINVAL, "%s: %s", what, why ? why : "failed");
}

int secret_text_new(size_t size, struct secret_text *out, struct err *e)
{
        char *data = OPENSSL_secure_zalloc(size);

        if (!data)
                return err_sys(e, -ENOMEM, "keep a secret");
        *out = (struct secret_text){data, size};
        return 0;
}

void secret_text_free(struct secret_text *s)
{
        OPENSSL_secure_clear_free(s->data, s->size);
        *s = (struct secret_text){NULL, 0};
}

int pki_key_new(EVP_PKEY **out, struct err *e)
{
        EVP_PKEY *key = EVP_EC_gen("P-256");

        if (!key)
                return pki_failed(e, "make a key");
        *out = key;
        return 0;
}

int pki_key_parse(const char *pem, EVP_PKEY **out, struct err *e)
{
        BIO *bio = BIO_new_mem_buf(pem, -1);
        EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NO_PASSWORD) : NULL;

        BIO_free(bio);
        if (!key)
                return pki_failed(e, "read a private key");
        *out = key;
        return 0;
}

static int keep_secret(BIO *bio, struct secret_text *out, struct err *e)
{
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        int rc = secret_text_new((size_t)len + 1, out, e);

        if (rc == 0 && data)
                memcpy(out->data, data, (size_t)len);
        return rc;
}

int pki_key_print(const EVP_PKEY *key, struct secret_text *out, struct err *e)
{
        BIO *bio = BIO_new(BIO_s_secmem());
        int rc;

        if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
                rc = keep_secret(bio, out, e);
        else
                rc = pki_failed(e, "write a private key");
        BIO_free(bio);
        return rc;
}

void pki_certs_free(struct pki_certs *c)
{
        for (size_t i = 0; i < c->n; i++)
                X509_free(c->v[i]);
        c->n = 0;
}

static int read_certs(BIO *bio, struct pki_certs *c, struct err *e)
{
        unsigned long code;
        X509 *cert;

        while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NO_PASSWORD))) {
                if (c->n == PKI_CERTS_MAX) {
                        X509_free(cert);
                        return err_set(e, -E2BIG, "more than %d certificates", PKI_CERTS_MAX);
                }
                c->v[c->n++] = cert;
        }
        code = ERR_peek_last_error();
        if (c->n == 0 || (code && ERR_GET_REASON(code) != PEM_R_NO_START_LINE))
                return pki_failed(e, "read a certificate");
        ERR_clear_error();
        return 0;
}

int pki_certs_parse(const char *pem, struct pki_certs *out, struct err *e)
{
        BIO *bio = BIO_new_mem_buf(pem, -1);
        struct pki_certs c = {.n = 0};
        int rc = bio ? read_certs(bio, &c, e) : err_sys(e, -ENOMEM, "read certificates");

        BIO_free(bio);
        if (rc < 0)
                pki_certs_free(&c);
        else
                *out = c;
        return rc;
}

int pki_cert_parse(const char *pem, X509 **out, struct err *e)
{
        autocerts struct pki_certs all = {.n = 0};
        int rc = pki_certs_parse(pem, &all, e);

        if (rc < 0)
                return rc;
        X509_up_ref(all.v[0]);
        *out = all.v[0];
        return 0;
}

int pki_cert_print(const X509 *cert, struct buf *b, struct err *e)
{
        BIO *bio = BIO_new(BIO_s_mem());
        char *data = NULL;
        long len = 0;
        int rc;

        if (bio && PEM_write_bio_X509(bio, (X509 *)(uintptr_t)cert) == 1)
                len = BIO_get_mem_data(bio, &data);
        if (len <= 0)
                rc = pki_failed(e, "write a certificate");
        else if ((rc = buf_add(b, data, (size_t)len)) < 0)
                err_sys(e, rc, "write a certificate");
        BIO_free(bio);
        return rc;
}

void pki_ca_free(struct pki_ca *ca)
{
        X509_free(ca->cert);
        EVP_PKEY_free(ca->key);
        *ca = (struct pki_ca){NULL, NULL};
}

/* --- what a certificate says */

static int64_t seconds(const ASN1_TIME *t)
{
        struct tm tm;

        return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int64_t pki_issued(const X509 *cert)
{
        return seconds(X509_get0_notBefore(cert)) + PKI_BACKDATE_S;
}

int64_t pki_expires(const X509 *cert)
{
        return seconds(X509_get0_notAfter(cert));
}

bool pki_ageing(const X509 *cert, int64_t now_s)
{
        int64_t from = seconds(X509_get0_notBefore(cert)), to = seconds(X509_get0_notAfter(cert));

        return (to - now_s) * 3 < to - from;
}

bool pki_expired(const X509 *cert, int64_t now_s)
{
        return pki_expires(cert) <= now_s;
}

bool pki_key_fits(X509 *cert, EVP_PKEY *key)
{
        bool fits = X509_check_private_key(cert, key) == 1;

        ERR_clear_error();
        return fits;
}

bool pki_is_ca(X509 *cert)
{
        return X509_check_ca(cert) == 1;
}

bool pki_self_signed(X509 *cert)
{
        return X509_self_signed(cert, 0) == 1;
}

static bool signed_by(X509 *cert, const struct pki_ca *ca)
{
        bool ok = X509_check_issued(ca->cert, cert) == X509_V_OK &&
                  X509_verify(cert, X509_get0_pubkey(ca->cert)) == 1;

        ERR_clear_error();
        return ok;
}

static bool is_ip(const GENERAL_NAME *n, const char *text)
{
        unsigned char bytes[sizeof(struct in6_addr)];
        int len = 0;

        if (n->type != GEN_IPADD)
                return false;
        if (inet_pton(AF_INET, text, bytes) == 1)
                len = 4;
        else if (inet_pton(AF_INET6, text, bytes) == 1)
                len = 16;
        return len && ASN1_STRING_length(n->d.iPAddress) == len &&
               memcmp(ASN1_STRING_get0_data(n->d.iPAddress), bytes, (size_t)len) == 0;
}

static bool is_dns(const GENERAL_NAME *n, const char *text)
{
        return n->type == GEN_DNS && (size_t)ASN1_STRING_length(n->d.dNSName) == strlen(text) &&
               memcmp(ASN1_STRING_get0_data(n->d.dNSName), text, strlen(text)) == 0;
}

static bool all_there(const GENERAL_NAMES *names, const struct strs *want,
                      bool (*is)(const GENERAL_NAME *, const char *))
{
        for (size_t i = 0; i < want->n; i++) {
                bool found = false;

                for (int j = 0; !found && j < sk_GENERAL_NAME_num(names); j++)
                        found = is(sk_GENERAL_NAME_value(names, j), want->v[i]);
                if (!found)
                        return false;
        }
        return true;
}

/* Just the names that are wanted: no fewer and no more. */
static bool names_fit(X509 *cert, const struct pki_leaf *want)
{
        GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
        size_t n = names ? (size_t)sk_GENERAL_NAME_num(names) : 0;
        bool fit = n == want->dns.n + want->ips.n;

        if (fit && n)
                fit = all_there(names, &want->dns, is_dns) && all_there(names, &want->ips, is_ip);
        GENERAL_NAMES_free(names);
        return fit;
}

static bool use_fits(X509 *cert, const struct pki_leaf *want)
{
        return (X509_get_extended_key_usage(cert) &
                (want->client ? XKU_SSL_CLIENT : XKU_SSL_SERVER)) &&
               X509_check_ca(cert) == 0;
}

void pki_leaf_flaw(X509 *cert, EVP_PKEY *key, const struct pki_leaf *want, const struct pki_ca *ca,
                   int64_t now_s, char flaw[PKI_FLAW_MAX])
{
        const char *why = "";

        if (!pki_key_fits(cert, key))
                why = "its private key is another certificate's";
        else if (!signed_by(cert, ca))
                why = "it was not signed by the CA in use";
        else if (pki_expired(cert, now_s))
                why = "it has expired";
        else if (pki_ageing(cert, now_s))
                why = "less than a third of its lifetime is left";
        else if (!names_fit(cert, want))
                why = "it has other names than are wanted";
        else if (!use_fits(cert, want))
                why = "it is for another use";
        snprintf(flaw, PKI_FLAW_MAX, "%s", why);
}
