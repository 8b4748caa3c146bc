/* Making certificates. */
#include "certs/pki.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define CA_NAME      "Drover CA"
#define CA_NAME_MAX  32
#define SERIAL_BYTES 16

static bool set_serial(X509 *cert)
{
        unsigned char bytes[SERIAL_BYTES];
        BIGNUM *n;
        bool ok;

        if (RAND_bytes(bytes, sizeof(bytes)) != 1)
                return false;
        bytes[0] = (unsigned char)((bytes[0] & 0x7F) | 0x40); /* positive and of one length */
        n = BN_bin2bn(bytes, sizeof(bytes), NULL);
        ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
        BN_free(n);
        return ok;
}

static bool set_name(X509_NAME *name, const char *cn)
{
        return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Drover",
                                          -1, -1, 0) == 1 &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
                                          -1, 0) == 1;
}

static bool set_time(X509 *cert, int64_t now_s, int64_t days)
{
        return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now_s - PKI_BACKDATE_S)) &&
               ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now_s + days * PKI_DAY_S));
}

/* An extension in OpenSSL's own notation; only with constant text. */
static bool extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
        X509_EXTENSION *ext;
        X509V3_CTX ctx;
        bool ok;

        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
        ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        ok = ext && X509_add_ext(cert, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        return ok;
}

static bool begin(X509 *cert, EVP_PKEY *key, int64_t now_s, int64_t days)
{
        return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
               set_time(cert, now_s, days) && X509_set_pubkey(cert, key) == 1;
}

/*
 * "Drover CA 4f1c9a02", after its serial number: some verifiers take, of two CAs of one name, the
 * first alone.
 */
static bool name_ca(X509 *cert)
{
        const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
        const unsigned char *b = ASN1_STRING_get0_data(serial);
        char name[CA_NAME_MAX];

        snprintf(name, sizeof(name), CA_NAME " %02x%02x%02x%02x", b[0], b[1], b[2], b[3]);
        return set_name(X509_get_subject_name(cert), name) &&
               X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1;
}

/* No limit on the path: CAs that follow are signed by those before, see pki_cross_new. */
static bool extend_ca(X509 *cert, X509 *issuer)
{
        return extend(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
               extend(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               extend(cert, issuer, NID_subject_key_identifier, "hash");
}

int pki_ca_new(EVP_PKEY *key, int64_t now_s, int64_t days, X509 **out, struct err *e)
{
        X509 *cert = X509_new();

        if (cert && begin(cert, key, now_s, days) && name_ca(cert) && extend_ca(cert, cert) &&
            X509_sign(cert, key, EVP_sha256()) > 0) {
                *out = cert;
                return 0;
        }
        X509_free(cert);
        return pki_failed(e, "make the CA's certificate");
}

int pki_cross_new(X509 *ca, const struct pki_ca *by, int64_t now_s, X509 **out, struct err *e)
{
        int64_t end =
                pki_expires(ca) < pki_expires(by->cert) ? pki_expires(ca) : pki_expires(by->cert);
        X509 *cert = X509_new();

        if (cert && begin(cert, X509_get0_pubkey(ca), now_s, 0) &&
            ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)end) &&
            X509_set_subject_name(cert, X509_get_subject_name(ca)) == 1 &&
            X509_set_issuer_name(cert, X509_get_subject_name(by->cert)) == 1 &&
            extend_ca(cert, by->cert) &&
            extend(cert, by->cert, NID_authority_key_identifier, "keyid") &&
            X509_sign(cert, by->key, EVP_sha256()) > 0) {
                *out = cert;
                return 0;
        }
        X509_free(cert);
        return pki_failed(e, "sign the next CA by the one before");
}

static bool add_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
        GENERAL_NAME *n = value ? GENERAL_NAME_new() : NULL;

        if (!n) {
                ASN1_STRING_free(value);
                return false;
        }
        GENERAL_NAME_set0_value(n, type, value);
        if (sk_GENERAL_NAME_push(names, n) > 0)
                return true;
        GENERAL_NAME_free(n);
        return false;
}

static ASN1_STRING *dns_value(const char *text)
{
        ASN1_STRING *s = ASN1_IA5STRING_new();

        if (s && ASN1_STRING_set(s, text, -1) == 1)
                return s;
        ASN1_STRING_free(s);
        return NULL;
}

static bool add_alt_names(X509 *cert, const struct pki_leaf *want)
{
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        bool ok = names;

        for (size_t i = 0; ok && i < want->dns.n; i++)
                ok = add_name(names, GEN_DNS, dns_value(want->dns.v[i]));
        for (size_t i = 0; ok && i < want->ips.n; i++)
                ok = add_name(names, GEN_IPADD, a2i_IPADDRESS(want->ips.v[i]));
        if (ok && sk_GENERAL_NAME_num(names) > 0)
                ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) ==
                     1;
        GENERAL_NAMES_free(names);
        return ok;
}

int pki_leaf_new(const struct pki_leaf *want, EVP_PKEY *key, const struct pki_ca *ca, int64_t now_s,
                 X509 **out, struct err *e)
{
        X509 *cert = X509_new();

        if (cert && begin(cert, key, now_s, want->days) &&
            set_name(X509_get_subject_name(cert), want->name) &&
            X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) == 1 &&
            extend(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
            extend(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
            extend(cert, ca->cert, NID_ext_key_usage, want->client ? "clientAuth" : "serverAuth") &&
            extend(cert, ca->cert, NID_subject_key_identifier, "hash") &&
            extend(cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
            add_alt_names(cert, want) && X509_sign(cert, ca->key, EVP_sha256()) > 0) {
                *out = cert;
                return 0;
        }
        X509_free(cert);
        return pki_failed(e, "make a certificate");
}
