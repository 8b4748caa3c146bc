#include "certs/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void estate_free(struct estate *s)
{
        pki_ca_free(&s->ca);
        buf_free(&s->bundle);
}

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "plan an object");
}

void secret_wipe(struct json *secret)
{
        for (const struct json *c = json_first(json_get(secret, "data")); c; c = json_next(c)) {
                char *text = (char *)(uintptr_t)json_string(c); /* the tree is ours */

                if (text)
                        OPENSSL_cleanse(text, strlen(text));
        }
}

/* --- base64, as Secrets and caBundle hold it */

static int encode(const char *text, struct secret_text *out, struct err *e)
{
        size_t len = strlen(text);
        int rc = secret_text_new((len + 2) / 3 * 4 + 1, out, e);

        if (rc == 0)
                EVP_EncodeBlock((unsigned char *)out->data, (const unsigned char *)text, (int)len);
        return rc;
}

/* What stands under the key, decoded; -ENOENT with a reason when nothing or nothing sound does. */
static int value_of(const struct json *secret, const char *key, struct secret_text *out,
                    struct err *e)
{
        const char *text = json_str(json_get(secret, "data"), key, "");
        size_t len = strlen(text);
        int rc, n;

        if (!len || len > PKI_PEM_MAX)
                return err_set(e, -ENOENT, "it has no %s", key);
        rc = secret_text_new(len + 1, out, e);
        if (rc < 0)
                return rc;
        n = EVP_DecodeBlock((unsigned char *)out->data, (const unsigned char *)text, (int)len);
        if (n < 0) {
                secret_text_free(out);
                return err_set(e, -ENOENT, "its %s is not base64", key);
        }
        out->data[n] = '\0'; /* padding decodes to NULs, which end the text as well */
        return 0;
}

/* Replaces or adds a value; false when out of memory. */
static bool set_value(struct json *secret, const char *key, const char *text)
{
        autosecret struct secret_text b64 = {NULL, 0};
        struct err ignored;

        return encode(text, &b64, &ignored) == 0 &&
               json_set_str(json_object_at(secret, "data"), key, secret_str(&b64));
}

/* The object to be changed: a copy of what there is, or a new one. */
static struct json *secret_draft(const struct json *current, const char *ns, const char *name,
                                 const char *type)
{
        struct json *s, *meta, *labels;

        if (current)
                return json_clone(current);
        s = json_new_object();
        meta = json_object_at(s, "metadata");
        labels = json_object_at(meta, "labels");
        if (json_set_str(s, "apiVersion", "v1") && json_set_str(s, "kind", "Secret") &&
            json_set_str(s, "type", type) && json_set_str(meta, "name", name) &&
            json_set_str(meta, "namespace", ns) &&
            json_set_str(labels, "app.kubernetes.io/part-of", "drover") &&
            json_set_str(labels, "app.kubernetes.io/managed-by", "drover-certs"))
                return s;
        json_free(s);
        return NULL;
}

/* --- the CA */

static int read_ca(const struct json *secret, struct pki_ca *out, struct err *e)
{
        autosecret struct secret_text key = {NULL, 0};
        autosecret struct secret_text cert = {NULL, 0};
        struct pki_ca ca = {NULL, NULL};
        int rc = value_of(secret, "ca.key", &key, e);

        if (rc == 0)
                rc = value_of(secret, "ca.crt", &cert, e);
        if (rc == 0)
                rc = pki_key_parse(secret_str(&key), &ca.key, e);
        if (rc == 0)
                rc = pki_cert_parse(secret_str(&cert), &ca.cert, e);
        if (rc == 0 && !pki_key_fits(ca.cert, ca.key))
                rc = err_set(e, -EINVAL, "its ca.key does not belong to its ca.crt");
        if (rc == 0 && !pki_is_ca(ca.cert))
                rc = err_set(e, -EINVAL, "its ca.crt is not a CA's");
        if (rc < 0) {
                pki_ca_free(&ca);
                return rc;
        }
        *out = ca;
        return 0;
}

static int write_ca(struct estate *s, const struct json *current, const char *name,
                    const struct pki_ca *ca, struct json **wanted, struct err *e)
{
        autosecretjson struct json *draft = secret_draft(current, s->ns, name, "Opaque");
        autosecret struct secret_text key = {NULL, 0};
        autobuf struct buf cert = buf_new(PKI_PEM_MAX);
        int rc = pki_key_print(ca->key, &key, e);

        if (rc == 0)
                rc = pki_cert_print(ca->cert, &cert, e);
        if (rc < 0)
                return rc;
        if (!set_value(draft, "ca.key", secret_str(&key)) ||
            !set_value(draft, "ca.crt", buf_str(&cert)))
                return no_memory(e);
        *wanted = draft;
        draft = NULL;
        return 0;
}

/* With the same key and name, what the old certificate's key has signed stays good. */
static int renew_ca(const struct estate *s, struct pki_ca *ca, struct err *e)
{
        X509 *cert = NULL;
        int rc = ca->key ? 0 : pki_key_new(&ca->key, e);

        if (rc == 0)
                rc = pki_ca_new(ca->key, ca->cert, s->now_s, s->ca_days, &cert, e);
        if (rc < 0)
                return rc;
        X509_free(ca->cert);
        ca->cert = cert;
        return 0;
}

int plan_ca(struct estate *s, const struct plan_object *o, const struct json *current,
            struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        struct pki_ca ca = {NULL, NULL};
        int rc = current ? read_ca(current, &ca, e) : 0;

        /* A CA that does not make sense may be someone's own: it is not for us to overwrite. */
        if (rc < 0)
                return err_wrap(e, "Secret %s/%s (delete it to have a new CA made)", s->ns,
                                o->name);
        *wanted = NULL;
        if (!current || (pki_self_signed(ca.cert) && pki_ageing(ca.cert, s->now_s))) {
                snprintf(why, PLAN_WHY_MAX, "%s",
                         current ? "less than a third of its lifetime is left" : "there was none");
                rc = renew_ca(s, &ca, e);
                if (rc == 0)
                        rc = write_ca(s, current, o->name, &ca, wanted, e);
        }
        if (rc < 0) {
                pki_ca_free(&ca);
                return rc;
        }
        pki_ca_free(&s->ca);
        s->ca = ca;
        return 0;
}

/* --- what others trust */

/* The CA in use first, then the newest other that is still valid. */
static int write_bundle(const struct estate *s, const struct pki_certs *old, struct buf *b,
                        struct err *e)
{
        int rc = pki_cert_print(s->ca.cert, b, e);
        size_t n = 1;

        for (size_t i = 0; rc == 0 && n < BUNDLE_CERTS && i < old->n; i++) {
                if (X509_cmp(old->v[i], s->ca.cert) == 0 || pki_expired(old->v[i], s->now_s))
                        continue;
                rc = pki_cert_print(old->v[i], b, e);
                n++;
        }
        return rc;
}

int plan_bundle(struct estate *s, const struct plan_object *o, const struct json *current,
                struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;
        autosecret struct secret_text old = {NULL, 0};
        autocerts struct pki_certs certs = {.n = 0};
        struct buf b = buf_new(PKI_PEM_MAX);
        struct err ignored;
        int rc;

        /* An unreadable bundle holds nothing worth keeping: it is written anew. */
        if (value_of(current, "ca.crt", &old, &ignored) == 0 &&
            pki_certs_parse(secret_str(&old), &certs, &ignored) < 0)
                certs.n = 0;
        rc = write_bundle(s, &certs, &b, e);
        if (rc < 0) {
                buf_free(&b);
                return rc;
        }
        buf_free(&s->bundle);
        s->bundle = b;
        *wanted = NULL;
        if (strcmp(secret_str(&old), buf_str(&b)) == 0)
                return 0;
        draft = secret_draft(current, s->ns, o->name, "Opaque");
        if (!set_value(draft, "ca.crt", buf_str(&b)))
                return no_memory(e);
        snprintf(why, PLAN_WHY_MAX, "%s", current ? "the CA has changed" : "there was none");
        *wanted = draft;
        draft = NULL;
        return 0;
}

/* --- leaves */

static void leaf_flaw(const struct estate *s, const struct json *current,
                      const struct pki_leaf *want, char flaw[PKI_FLAW_MAX])
{
        autosecret struct secret_text key_pem = {NULL, 0};
        autosecret struct secret_text cert_pem = {NULL, 0};
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        struct err e;

        if (!current)
                snprintf(flaw, PKI_FLAW_MAX, "there was none");
        else if (value_of(current, "tls.crt", &cert_pem, &e) < 0 ||
                 value_of(current, "tls.key", &key_pem, &e) < 0 ||
                 pki_cert_parse(secret_str(&cert_pem), &cert, &e) < 0 ||
                 pki_key_parse(secret_str(&key_pem), &key, &e) < 0)
                snprintf(flaw, PKI_FLAW_MAX, "%.*s", PKI_FLAW_MAX - 1, e.msg);
        else
                pki_leaf_flaw(cert, key, want, &s->ca, s->now_s, flaw);
}

static int issue(const struct estate *s, const struct pki_leaf *want, struct json *draft,
                 struct err *e)
{
        autosecret struct secret_text key_pem = {NULL, 0};
        autobuf struct buf cert_pem = buf_new(PKI_PEM_MAX);
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        int rc = pki_key_new(&key, e);

        if (rc == 0)
                rc = pki_leaf_new(want, key, &s->ca, s->now_s, &cert, e);
        if (rc == 0)
                rc = pki_key_print(key, &key_pem, e);
        if (rc == 0)
                rc = pki_cert_print(cert, &cert_pem, e);
        if (rc < 0)
                return rc;
        return set_value(draft, "tls.crt", buf_str(&cert_pem)) &&
                               set_value(draft, "tls.key", secret_str(&key_pem))
                       ? 0
                       : no_memory(e);
}

int plan_leaf(struct estate *s, const struct plan_object *o, const struct json *current,
              struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;
        autosecret struct secret_text bundle = {NULL, 0};
        char flaw[PKI_FLAW_MAX];
        struct err ignored;
        int rc = 0;

        *wanted = NULL;
        leaf_flaw(s, current, o->leaf, flaw);
        bool trusted = value_of(current, "ca.crt", &bundle, &ignored) == 0 &&
                       strcmp(secret_str(&bundle), buf_str(&s->bundle)) == 0;
        if (!*flaw && trusted)
                return 0;
        snprintf(why, PLAN_WHY_MAX, "%s", *flaw ? flaw : "the CA bundle has changed");
        draft = secret_draft(current, s->ns, o->name, "kubernetes.io/tls");
        if (!set_value(draft, "ca.crt", buf_str(&s->bundle)))
                return no_memory(e);
        if (*flaw)
                rc = issue(s, o->leaf, draft, e);
        if (rc < 0)
                return rc;
        *wanted = draft;
        draft = NULL;
        return 0;
}

/* --- webhook configurations */

/* How many of the webhooks were given another caBundle, or -ENOMEM. */
static int set_bundles(struct json *draft, const char *b64)
{
        int changed = 0;

        for (const struct json *w = json_first(json_get(draft, "webhooks")); w; w = json_next(w)) {
                struct json *client = json_mut((struct json *)(uintptr_t)w, "clientConfig");

                if (strcmp(json_str(client, "caBundle", ""), b64) == 0)
                        continue;
                if (!json_set_str(client, "caBundle", b64))
                        return -ENOMEM;
                changed++;
        }
        return changed;
}

int plan_webhooks(struct estate *s, const struct plan_object *o, const struct json *current,
                  struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecret struct secret_text b64 = {NULL, 0};
        autojson struct json *draft = NULL;
        int rc;

        if (!current)
                return err_set(e, -ENOENT, "%s does not exist yet", o->name);
        rc = encode(buf_str(&s->bundle), &b64, e);
        if (rc < 0)
                return rc;
        draft = json_clone(current);
        rc = draft ? set_bundles(draft, secret_str(&b64)) : -ENOMEM;
        if (rc < 0)
                return no_memory(e);
        *wanted = NULL;
        if (rc == 0)
                return 0;
        snprintf(why, PLAN_WHY_MAX, "the CA has changed for %d of its webhooks", rc);
        *wanted = draft;
        draft = NULL;
        return 0;
}
