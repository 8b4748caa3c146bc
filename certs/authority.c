#include "certs/authority.h"

#include "certs/secret.h"

#include <errno.h>

#define TRUSTED  "drover.dev/next-trusted"
#define REPLACED "drover.dev/previous-replaced"

void authority_free(struct authority *a)
{
        pki_ca_free(&a->ca);
        pki_ca_free(&a->next);
        pki_certs_free(&a->former);
        pki_certs_free(&a->cross);
}

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "write a CA");
}

/* --- reading */

static int read_pair(const struct json *secret, const char *key_name, const char *cert_name,
                     struct pki_ca *out, struct err *e)
{
        autosecret struct secret_text key = {NULL, 0};
        autosecret struct secret_text cert = {NULL, 0};
        struct pki_ca ca = {NULL, NULL};
        int rc = secret_value(secret, key_name, &key, e);

        if (rc == 0)
                rc = secret_value(secret, cert_name, &cert, e);
        if (rc == 0)
                rc = pki_key_parse(secret_str(&key), &ca.key, e);
        if (rc == 0)
                rc = pki_cert_parse(secret_str(&cert), &ca.cert, e);
        if (rc == 0 && !pki_key_fits(ca.cert, ca.key))
                rc = err_set(e, -EINVAL, "its %s does not belong to its %s", key_name, cert_name);
        if (rc == 0 && !pki_is_ca(ca.cert))
                rc = err_set(e, -EINVAL, "its %s is not a CA's", cert_name);
        if (rc < 0) {
                pki_ca_free(&ca);
                return rc;
        }
        *out = ca;
        return 0;
}

static int read_certs(const struct json *secret, const char *name, struct pki_certs *out,
                      struct err *e)
{
        autosecret struct secret_text text = {NULL, 0};
        int rc;

        if (!secret_has(secret, name))
                return 0;
        rc = secret_value(secret, name, &text, e);
        if (rc == 0)
                rc = pki_certs_parse(secret_str(&text), out, e);
        return rc < 0 ? err_wrap(e, "its %s", name) : 0;
}

int authority_read(const struct json *secret, struct authority *out, struct err *e)
{
        struct authority a = {0};
        int rc = read_pair(secret, "ca.key", "ca.crt", &a.ca, e);

        /* A CA that does not make sense may be someone's own: it is not for us to overwrite. */
        if (rc < 0)
                return err_wrap(e, "delete it to have a new CA made");
        if (secret_has(secret, "next.crt") || secret_has(secret, "next.key"))
                rc = read_pair(secret, "next.key", "next.crt", &a.next, e);
        if (rc < 0)
                err_wrap(e, "mend the next CA, or remove it");
        if (rc == 0)
                rc = read_certs(secret, "previous.crt", &a.former, e);
        if (rc == 0)
                rc = read_certs(secret, "cross.crt", &a.cross, e);
        if (rc == 0)
                rc = secret_time(secret, TRUSTED, &a.trusted_s, e);
        if (rc == 0)
                rc = secret_time(secret, REPLACED, &a.replaced_s, e);
        if (rc < 0) {
                authority_free(&a);
                return rc;
        }
        *out = a;
        return 0;
}

/* --- as PEM */

/* Those that are still good, at most `max`. */
static int print_certs(const struct pki_certs *certs, int64_t now_s, size_t max, struct buf *b,
                       struct err *e)
{
        int rc = 0;
        size_t n = 0;

        for (size_t i = 0; rc == 0 && n < max && i < certs->n; i++) {
                if (pki_expired(certs->v[i], now_s))
                        continue;
                rc = pki_cert_print(certs->v[i], b, e);
                n++;
        }
        return rc;
}

int authority_bundle(const struct authority *a, int64_t now_s, struct buf *b, struct err *e)
{
        int rc = pki_cert_print(a->ca.cert, b, e);

        if (rc == 0 && a->next.cert)
                rc = pki_cert_print(a->next.cert, b, e);
        return rc < 0 ? rc : print_certs(&a->former, now_s, AUTHORITY_FORMER_MAX, b, e);
}

int authority_chain(const struct authority *a, int64_t now_s, struct buf *b, struct err *e)
{
        return print_certs(&a->cross, now_s, AUTHORITY_FORMER_MAX, b, e);
}

/* --- writing */

static int write_new(struct json *draft, const char *key_name, const char *cert_name, int64_t now_s,
                     int64_t days, struct err *e)
{
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        int rc = pki_key_new(&key, e);

        if (rc == 0)
                rc = pki_ca_new(key, now_s, days, &cert, e);
        return rc < 0 ? rc : secret_set_pair(draft, key_name, key, cert_name, cert, NULL, e);
}

/* `first` (NULL: none) and then those that are still good; nothing at all removes the value. */
static int write_certs(struct json *draft, const char *name, const X509 *first,
                       const struct pki_certs *rest, int64_t now_s, struct err *e)
{
        autobuf struct buf pem = buf_new(PKI_PEM_MAX);
        int rc = first ? pki_cert_print(first, &pem, e) : 0;

        if (rc == 0)
                rc = print_certs(rest, now_s, AUTHORITY_FORMER_MAX - (first ? 1 : 0), &pem, e);
        if (rc < 0)
                return rc;
        if (pem.len == 0)
                secret_unset(draft, name);
        else if (!secret_set(draft, name, buf_str(&pem)))
                return no_memory(e);
        return 0;
}

int authority_begin(struct json *draft, int64_t now_s, int64_t days, const struct pki_certs *former,
                    struct err *e)
{
        int rc = write_new(draft, "ca.key", "ca.crt", now_s, days, e);

        return rc < 0 ? rc : write_certs(draft, "previous.crt", NULL, former, now_s, e);
}

/* The key of the CA before goes in the same write: from then on nobody signs by it. */
static int switch_over(const struct authority *a, int64_t now_s, struct json *draft, struct err *e)
{
        autox509 X509 *cross = NULL;
        int rc = pki_cross_new(a->next.cert, &a->ca, now_s, &cross, e);

        if (rc == 0)
                rc = write_certs(draft, "cross.crt", cross, &a->cross, now_s, e);
        if (rc == 0)
                rc = write_certs(draft, "previous.crt", a->ca.cert, &a->former, now_s, e);
        if (rc < 0)
                return rc;
        return secret_move(draft, "next.key", "ca.key") &&
                               secret_move(draft, "next.crt", "ca.crt") &&
                               authority_distrust(draft) && secret_set_time(draft, REPLACED, 0)
                       ? 0
                       : no_memory(e);
}

bool authority_trusted(const struct json *secret)
{
        return json_get(json_path(secret, "metadata", "annotations", NULL), TRUSTED);
}

bool authority_distrust(struct json *draft)
{
        return secret_set_time(draft, TRUSTED, 0);
}

int authority_turn(const struct authority *a, enum turn turn, int64_t now_s, int64_t days,
                   struct json *draft, struct err *e)
{
        switch (turn) {
        case TURN_NONE:
                return 0;
        case TURN_STAGE:
                return authority_distrust(draft)
                               ? write_new(draft, "next.key", "next.crt", now_s, days, e)
                               : no_memory(e);
        case TURN_TRUSTED:
                return secret_set_time(draft, TRUSTED, now_s) ? 0 : no_memory(e);
        case TURN_SWITCH:
                return switch_over(a, now_s, draft, e);
        case TURN_REPLACED:
                return secret_set_time(draft, REPLACED, now_s) ? 0 : no_memory(e);
        case TURN_RETIRE:
                secret_unset(draft, "previous.crt");
                return secret_set_time(draft, REPLACED, 0) ? 0 : no_memory(e);
        }
        return err_set(e, -EINVAL, "no such turn: %d", turn);
}
