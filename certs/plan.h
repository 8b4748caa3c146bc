/*
 * What the cluster's objects should be, as functions of what they are: no I/O. Each plan gets an
 * object (NULL: it does not exist) and yields the object that should be in its place, or NULL when
 * it may stay. Carried out by certs/ensure.c, which asks again when another writer was faster.
 */
#ifndef DROVER_CERTS_PLAN_H
#define DROVER_CERTS_PLAN_H

#include "base/json.h"
#include "certs/authority.h"

#define PLAN_WHY_MAX 256

/* What one run works with: begun by plan_wishes and plan_ca, in this order, then plan_bundle. */
struct estate {
        const char *ns;
        int64_t now_s, ca_days, settle_s, leaf_days;     /* leaf_days: the longest life of a leaf */
        int64_t renew_ca_s, renew_leaves_s, retire_ca_s; /* what people wish, see turn.h */
        struct pki_certs trusted;                        /* by the bundle, as it was found */
        struct authority authority;
        struct buf bundle,
                chain;     /* PEM: what others are to trust; what goes with a server's leaf */
        int64_t expires_s; /* of the CA or the leaf that was planned last */
        bool behind;       /* a bundle or a leaf was not as it should be */
        bool rotating;     /* a turn is waited for */
};
void estate_init(struct estate *s);
/* Forgets what was found and planned, for another run. */
void estate_reset(struct estate *s);

struct plan_object {
        const char *name;
        const struct pki_leaf *leaf; /* for plan_leaf */
};
/* why: a clause that says why *wanted is not NULL. */
typedef int plan_fn(struct estate *s, const struct plan_object *o, const struct json *current,
                    struct json **wanted, char why[PLAN_WHY_MAX], struct err *e);

/*
 * The Secret with ca.crt alone, which may be handed out. plan_wishes only reads it: what people
 * have written into its annotations, and which CAs it holds.
 */
plan_fn plan_wishes, plan_bundle;
/* The Secret with the CA's key (certs/authority.h), made when there is none. */
plan_fn plan_ca;
/* The same Secret, when all others are as they should be: the next turn of a rotation, if any. */
plan_fn plan_turn;
/* The same Secret again: its next CA does not stand in every bundle. */
plan_fn plan_distrust;
/* A Secret of type kubernetes.io/tls with tls.crt, tls.key and ca.crt. */
plan_fn plan_leaf;
/* A MutatingWebhookConfiguration or ValidatingWebhookConfiguration: the caBundle of every webhook.
 */
plan_fn plan_webhooks;

#endif
