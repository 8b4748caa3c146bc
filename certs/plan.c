#include "certs/plan.h"

#include "certs/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void estate_init(struct estate *s)
{
        s->trusted.n = 0;
        s->authority = (struct authority){0};
        s->bundle = buf_new(PKI_PEM_MAX);
        s->chain = buf_new(PKI_PEM_MAX);
        s->behind = s->rotating = false;
}

void estate_reset(struct estate *s)
{
        pki_certs_free(&s->trusted);
        authority_free(&s->authority);
        buf_free(&s->bundle);
        buf_free(&s->chain);
        estate_init(s);
}

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "plan an object");
}

/* --- what people wish */

/* What cannot be read holds nothing worth keeping. */
static void read_trusted(struct estate *s, const struct json *bundle)
{
        autosecret struct secret_text text = {NULL, 0};
        struct err ignored;

        pki_certs_free(&s->trusted);
        if (secret_value(bundle, "ca.crt", &text, &ignored) == 0 &&
            pki_certs_parse(secret_str(&text), &s->trusted, &ignored) < 0)
                s->trusted.n = 0;
}

int plan_wishes(struct estate *s, const struct plan_object *o, const struct json *current,
                struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        const struct {
                const char *annotation;
                int64_t *at;
        } wishes[] = {
                {"drover.dev/renew-certificates", &s->renew_leaves_s},
                {"drover.dev/renew-ca", &s->renew_ca_s},
                {"drover.dev/retire-ca", &s->retire_ca_s},
        };

        (void)why;
        *wanted = NULL;
        read_trusted(s, current);
        for (size_t i = 0; i < countof(wishes); i++)
                if (secret_time(current, wishes[i].annotation, wishes[i].at, e) < 0)
                        return err_wrap(e, "Secret %s/%s", s->ns, o->name);
        return 0;
}

/* --- the CA */

static int adopt(struct estate *s, struct authority *a, struct err *e)
{
        struct buf bundle = buf_new(PKI_PEM_MAX), chain = buf_new(PKI_PEM_MAX);
        int rc = authority_bundle(a, s->now_s, &bundle, e);

        if (rc == 0)
                rc = authority_chain(a, s->now_s, &chain, e);
        if (rc < 0) {
                buf_free(&bundle);
                buf_free(&chain);
                authority_free(a);
                return rc;
        }
        authority_free(&s->authority);
        buf_free(&s->bundle);
        buf_free(&s->chain);
        s->authority = *a;
        s->bundle = bundle;
        s->chain = chain;
        s->expires_s = pki_expires(a->ca.cert);
        return 0;
}

int plan_ca(struct estate *s, const struct plan_object *o, const struct json *current,
            struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;
        struct authority a = {0};
        int rc = 0;

        if (!current) {
                draft = secret_draft(NULL, s->ns, o->name, "Opaque");
                rc = authority_begin(draft, s->now_s, s->ca_days, &s->trusted, e);
        }
        if (rc == 0)
                rc = authority_read(current ? current : draft, &a, e);
        if (rc < 0)
                return err_wrap(e, "Secret %s/%s", s->ns, o->name);
        rc = adopt(s, &a, e);
        if (rc < 0)
                return rc;
        if (draft)
                snprintf(why, PLAN_WHY_MAX, "there was none");
        *wanted = draft;
        draft = NULL;
        return 0;
}

static enum turn due(const struct estate *s, const char **why)
{
        const struct authority *a = &s->authority;
        const struct turn_facts f = {
                .now_s = s->now_s,
                .settle_s = s->settle_s,
                .leaf_s = s->leaf_days * PKI_DAY_S,
                .issued_s = pki_issued(a->ca.cert),
                .ageing = pki_ageing(a->ca.cert, s->now_s),
                .expired = pki_expired(a->ca.cert, s->now_s),
                .renewable = pki_self_signed(a->ca.cert),
                .staged = a->next.cert,
                .trusted_s = a->trusted_s,
                .former = a->former.n > 0,
                .full = a->former.n >= AUTHORITY_FORMER_MAX,
                .replaced_s = a->replaced_s,
                .renew_s = s->renew_ca_s,
                .retire_s = s->retire_ca_s,
        };

        return turn_next(&f, why);
}

/* Why something that is due cannot be done, and what to do about it. */
static int stuck(const struct estate *s, struct err *e)
{
        const struct authority *a = &s->authority;

        if (a->next.cert && a->former.n >= AUTHORITY_FORMER_MAX)
                return err_set(e, -EBUSY,
                               "the next CA waits: %zu earlier ones are still trusted (annotation "
                               "drover.dev/retire-ca)",
                               a->former.n);
        if (!a->next.cert && !pki_self_signed(a->ca.cert) &&
            turn_wished(pki_issued(a->ca.cert), s->renew_ca_s, s->now_s))
                return err_set(e, -EPERM,
                               "the CA is signed by another: its successor is for you to provide, "
                               "as next.key and next.crt");
        return 0;
}

/*
 * What was seen in this run was seen of the CAs that it began with: if others have changed them
 * since, the next run looks again.
 */
static bool same_cas(const struct estate *s, const struct authority *a)
{
        autobuf struct buf bundle = buf_new(PKI_PEM_MAX);
        struct err ignored;

        return authority_bundle(a, s->now_s, &bundle, &ignored) == 0 &&
               strcmp(buf_str(&bundle), buf_str(&s->bundle)) == 0;
}

int plan_turn(struct estate *s, const struct plan_object *o, const struct json *current,
              struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;
        struct authority now = {0};
        const char *clause;

        (void)o;
        *wanted = NULL;
        if (!current || authority_read(current, &now, e) < 0)
                return 0; /* the next run says what is wrong */
        if (!same_cas(s, &now)) {
                authority_free(&now);
                return 0;
        }
        authority_free(&s->authority);
        s->authority = now;
        s->rotating = now.next.cert || (now.former.n && s->retire_ca_s > now.replaced_s);
        enum turn turn = due(s, &clause);
        if (turn == TURN_NONE)
                return stuck(s, e);
        draft = json_clone(current);
        if (!draft)
                return no_memory(e);
        int rc = authority_turn(&s->authority, turn, s->now_s, s->ca_days, draft, e);
        if (rc < 0)
                return rc;
        snprintf(why, PLAN_WHY_MAX, "%s", clause);
        *wanted = draft;
        draft = NULL;
        return 0;
}

int plan_distrust(struct estate *s, const struct plan_object *o, const struct json *current,
                  struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;

        (void)s, (void)o;
        *wanted = NULL;
        if (!authority_trusted(current))
                return 0;
        draft = json_clone(current);
        if (!draft || !authority_distrust(draft))
                return no_memory(e);
        snprintf(why, PLAN_WHY_MAX, "the next CA does not stand in every bundle any more");
        *wanted = draft;
        draft = NULL;
        return 0;
}

/* --- what others trust */

int plan_bundle(struct estate *s, const struct plan_object *o, const struct json *current,
                struct json **wanted, char why[PLAN_WHY_MAX], struct err *e)
{
        autosecretjson struct json *draft = NULL;
        autosecret struct secret_text old = {NULL, 0};
        struct err ignored;

        *wanted = NULL;
        if (secret_value(current, "ca.crt", &old, &ignored) == 0 &&
            strcmp(secret_str(&old), buf_str(&s->bundle)) == 0)
                return 0;
        draft = secret_draft(current, s->ns, o->name, "Opaque");
        if (!secret_set(draft, "ca.crt", buf_str(&s->bundle)))
                return no_memory(e);
        s->behind = true;
        snprintf(why, PLAN_WHY_MAX, "%s", current ? "the CAs have changed" : "there was none");
        *wanted = draft;
        draft = NULL;
        return 0;
}

/* --- leaves */

static void leaf_flaw(struct estate *s, const struct json *current, const struct pki_leaf *want,
                      char flaw[PKI_FLAW_MAX])
{
        autosecret struct secret_text key_pem = {NULL, 0};
        autosecret struct secret_text cert_pem = {NULL, 0};
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        struct err e;

        if (!current)
                snprintf(flaw, PKI_FLAW_MAX, "there was none");
        else if (secret_value(current, "tls.crt", &cert_pem, &e) < 0 ||
                 secret_value(current, "tls.key", &key_pem, &e) < 0 ||
                 pki_cert_parse(secret_str(&cert_pem), &cert, &e) < 0 ||
                 pki_key_parse(secret_str(&key_pem), &key, &e) < 0)
                snprintf(flaw, PKI_FLAW_MAX, "%.*s", PKI_FLAW_MAX - 1, e.msg);
        else
                pki_leaf_flaw(cert, key, want, &s->authority.ca, s->now_s, flaw);
        if (!cert || *flaw)
                return;
        s->expires_s = pki_expires(cert);
        if (turn_wished(pki_issued(cert), s->renew_leaves_s, s->now_s))
                snprintf(flaw, PKI_FLAW_MAX, "its renewal was asked for");
}

static int issue(struct estate *s, const struct pki_leaf *want, struct json *draft, struct err *e)
{
        autokey EVP_PKEY *key = NULL;
        autox509 X509 *cert = NULL;
        int rc = pki_key_new(&key, e);

        if (rc == 0)
                rc = pki_leaf_new(want, key, &s->authority.ca, s->now_s, &cert, e);
        if (rc < 0)
                return rc;
        s->expires_s = pki_expires(cert);
        return secret_set_pair(draft, "tls.key", key, "tls.crt", cert,
                               want->client ? NULL : &s->chain, e);
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
        bool trusted = secret_value(current, "ca.crt", &bundle, &ignored) == 0 &&
                       strcmp(secret_str(&bundle), buf_str(&s->bundle)) == 0;
        if (!*flaw && trusted)
                return 0;
        snprintf(why, PLAN_WHY_MAX, "%s", *flaw ? flaw : "the CA bundle has changed");
        draft = secret_draft(current, s->ns, o->name, "kubernetes.io/tls");
        if (!secret_set(draft, "ca.crt", buf_str(&s->bundle)))
                return no_memory(e);
        if (*flaw)
                rc = issue(s, o->leaf, draft, e);
        if (rc < 0)
                return rc;
        s->behind = true;
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
        rc = secret_encode(buf_str(&s->bundle), &b64, e);
        if (rc < 0)
                return rc;
        draft = json_clone(current);
        rc = draft ? set_bundles(draft, secret_str(&b64)) : -ENOMEM;
        if (rc < 0)
                return no_memory(e);
        *wanted = NULL;
        if (rc == 0)
                return 0;
        s->behind = true;
        snprintf(why, PLAN_WHY_MAX, "the CAs have changed for %d of its webhooks", rc);
        *wanted = draft;
        draft = NULL;
        return 0;
}
