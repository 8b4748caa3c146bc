/*
 * Keys and certificates (OpenSSL 3): ECDSA P-256, a CA that signs leaves directly. Time is passed
 * in as seconds since 1970. Private keys stay in OpenSSL's secure heap when there is one.
 */
#ifndef DROVER_CERTS_PKI_H
#define DROVER_CERTS_PKI_H

#include "base/buf.h"
#include "base/err.h"
#include "core/types.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define PKI_BACKDATE_S 3600 /* certificates begin in the past: clocks differ */
#define PKI_DAY_S      86400
#define PKI_PEM_MAX    ((size_t)64 << 10)

static inline void cleanup_key(EVP_PKEY **k)
{
        EVP_PKEY_free(*k);
}
#define autokey cleanup(cleanup_key)
static inline void cleanup_x509(X509 **c)
{
        X509_free(*c);
}
#define autox509 cleanup(cleanup_x509)

/* -EINVAL with "what: " and OpenSSL's last complaint. */
int pki_failed(struct err *e, const char *what);

/* Secret text in the secure heap, NUL-terminated, overwritten when released. */
struct secret_text {
        char *data;
        size_t size; /* of the allocation */
};
must_check int secret_text_new(size_t size, struct secret_text *out, struct err *e);
void secret_text_free(struct secret_text *s);
static inline const char *secret_str(const struct secret_text *s)
{
        return s->data ? s->data : "";
}
#define autosecret cleanup(secret_text_free)

must_check int pki_key_new(EVP_PKEY **out, struct err *e);
must_check int pki_key_parse(const char *pem, EVP_PKEY **out, struct err *e);
must_check int pki_key_print(const EVP_PKEY *key, struct secret_text *out, struct err *e);

#define PKI_CERTS_MAX 8
struct pki_certs {
        X509 *v[PKI_CERTS_MAX];
        size_t n;
};
void pki_certs_free(struct pki_certs *c);
#define autocerts cleanup(pki_certs_free)
/* All certificates of a PEM text, at least one. */
must_check int pki_certs_parse(const char *pem, struct pki_certs *out, struct err *e);
must_check int pki_cert_parse(const char *pem, X509 **out, struct err *e); /* the first */
/* Appends it. */
must_check int pki_cert_print(const X509 *cert, struct buf *b, struct err *e);

/* A new self-signed certificate for the key, of a name that no other CA has. */
must_check int pki_ca_new(EVP_PKEY *key, int64_t now_s, int64_t days, X509 **out, struct err *e);

struct pki_ca {
        X509 *cert;
        EVP_PKEY *key;
};
void pki_ca_free(struct pki_ca *ca);
/*
 * The CA `cert` once more, signed by `by` instead of itself: for those who trust only `by`, as long
 * as both are good.
 */
must_check int pki_cross_new(X509 *cert, const struct pki_ca *by, int64_t now_s, X509 **out,
                             struct err *e);

/* What a leaf must be. */
struct pki_leaf {
        const char *name; /* common name, at most 64 bytes */
        struct strs dns, ips;
        bool client; /* for a TLS client, else for a server */
        int64_t days;
};
must_check int pki_leaf_new(const struct pki_leaf *want, EVP_PKEY *key, const struct pki_ca *ca,
                            int64_t now_s, X509 **out, struct err *e);

#define PKI_FLAW_MAX 160
/*
 * Why the certificate is to be replaced, as a sentence; "" when it will do: another key, another
 * issuer, less than a third of its life left, not the names or the use that are wanted.
 */
void pki_leaf_flaw(X509 *cert, EVP_PKEY *key, const struct pki_leaf *want, const struct pki_ca *ca,
                   int64_t now_s, char flaw[PKI_FLAW_MAX]);
bool pki_key_fits(X509 *cert, EVP_PKEY *key);
bool pki_is_ca(X509 *cert);
bool pki_self_signed(X509 *cert);
/* Less than a third of its lifetime is left. */
bool pki_ageing(const X509 *cert, int64_t now_s);
bool pki_expired(const X509 *cert, int64_t now_s);
/* Seconds since 1970; of certificates that were made here. */
int64_t pki_issued(const X509 *cert);
int64_t pki_expires(const X509 *cert);

#endif
