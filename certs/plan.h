/*
 * What the cluster's objects should be, as functions of what they are: no I/O. Each plan gets an
 * object (NULL: it does not exist) and yields the object that should be in its place, or NULL when
 * it may stay. Carried out by certs/ensure.c, which asks again when another writer was faster.
 */
#ifndef DROVER_CERTS_PLAN_H
#define DROVER_CERTS_PLAN_H

#include "base/json.h"
#include "certs/pki.h"

#define PLAN_WHY_MAX 256
#define BUNDLE_CERTS 2 /* the CA in use and its predecessor */

/* What one run works with: begun by plan_ca, which must come first, then plan_bundle. */
struct estate {
        const char *ns;
        int64_t now_s, ca_days;
        struct pki_ca ca;
        struct buf bundle; /* PEM: what others are to trust */
};
void estate_free(struct estate *s);

struct plan_object {
        const char *name;
        const struct pki_leaf *leaf; /* for plan_leaf */
};
/* why: a clause that says why *wanted is not NULL. */
typedef int plan_fn(struct estate *s, const struct plan_object *o, const struct json *current,
                    struct json **wanted, char why[PLAN_WHY_MAX], struct err *e);

/* The Secret with the CA's key, ca.key and ca.crt. Sets s->ca to what the Secret will hold. */
plan_fn plan_ca;
/* The Secret with ca.crt alone, which may be handed out. Sets s->bundle. */
plan_fn plan_bundle;
/* A Secret of type kubernetes.io/tls with tls.crt, tls.key and ca.crt. */
plan_fn plan_leaf;
/* A MutatingWebhookConfiguration or ValidatingWebhookConfiguration: the caBundle of every webhook.
 */
plan_fn plan_webhooks;

/* Overwrites the values of a Secret before it is freed. */
void secret_wipe(struct json *secret);
static inline void cleanup_secret(struct json **secret)
{
        secret_wipe(*secret);
        json_free(*secret);
}
#define autosecretjson cleanup(cleanup_secret)

#endif
