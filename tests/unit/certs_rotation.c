/*
 * A rotation from its beginning to its end, with a crash after each single write. Whoever reads a
 * Secret or a webhook configuration may see it as late as the time to settle: at each moment all
 * that can be seen of certificates must be good by all that can be seen of bundles.
 */
#include "certs/plan.h"
#include "certs/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/pem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW      INT64_C(1767225600) /* 2026-01-01 */
#define SETTLE   600
#define LIFE     90 /* days, of a leaf */
#define SEEN_MAX 128
#define LONG     200 /* runs; a rotation takes about thirty */

static const char *dns[] = {"drover-extender.drover-system.svc"};
static const struct pki_leaf serving = {.name = "drover-extender", .dns = {dns, 1}, .days = LIFE};
static const struct pki_leaf client = {.name = "drover-scheduler", .client = true, .days = LIFE};

enum place { CA, BUNDLE, SERVING, CLIENT, HOOKS, PLACES };
static const struct step {
        plan_fn *plan;
        enum place place;
        struct plan_object object;
} steps[] = {
        {plan_wishes, BUNDLE, {"drover-ca", NULL}},
        {plan_ca, CA, {"drover-ca-key", NULL}},
        {plan_bundle, BUNDLE, {"drover-ca", NULL}},
        {plan_leaf, SERVING, {"drover-extender-tls", &serving}},
        {plan_leaf, CLIENT, {"drover-scheduler-client", &client}},
        {plan_webhooks, HOOKS, {"drover", NULL}},
        {plan_turn, CA, {"drover-ca-key", NULL}},
};

/* A bundle or a leaf, and until when somebody may see it; 0: it stands. */
struct seen {
        struct pki_certs certs;
        enum place place;
        int64_t until;
};
struct world {
        struct json *object[PLACES];
        struct seen bundles[SEEN_MAX], leaves[SEEN_MAX];
        size_t nbundles, nleaves;
        struct pki_certs first; /* the bundle of a client that reads it once */
        int64_t now, ca_days;
        char why[PLAN_WHY_MAX]; /* of the last write */
};

static bool visible(const struct world *w, const struct seen *s)
{
        return s->until == 0 || s->until > w->now;
}

static bool good(X509 *leaf, const struct pki_certs *between, const struct pki_certs *trusted,
                 int64_t now)
{
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        STACK_OF(X509) *chain = sk_X509_new_null();

        for (size_t i = 0; i < trusted->n; i++)
                X509_STORE_add_cert(store, trusted->v[i]);
        for (size_t i = 1; between && i < between->n; i++)
                sk_X509_push(chain, between->v[i]);
        assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, chain), 1);
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)now);
        bool ok = X509_verify_cert(ctx) == 1;
        X509_STORE_CTX_free(ctx);
        X509_STORE_free(store);
        sk_X509_free(chain);
        return ok;
}

/* By the bundles alone; and, for who has read the first one and no other, by the chain. */
static void all_is_good(const struct world *w)
{
        for (size_t l = 0; l < w->nleaves; l++) {
                const struct seen *leaf = &w->leaves[l];

                if (!visible(w, leaf))
                        continue;
                for (size_t b = 0; b < w->nbundles; b++)
                        if (visible(w, &w->bundles[b]) &&
                            !good(leaf->certs.v[0], NULL, &w->bundles[b].certs, w->now))
                                fail_msg("after \"%s\": a leaf of %d is not good by a bundle of %d",
                                         w->why, leaf->place, w->bundles[b].place);
                if (leaf->place == SERVING &&
                    !good(leaf->certs.v[0], &leaf->certs, &w->first, w->now))
                        fail_msg("after \"%s\": not good by the first bundle", w->why);
        }
}

static void see(struct seen *all, size_t *n, enum place place, const char *pem, int64_t now)
{
        struct err e;

        for (size_t i = 0; i < *n; i++)
                if (all[i].place == place && all[i].until == 0)
                        all[i].until = now + SETTLE;
        assert_true(*n < SEEN_MAX);
        all[*n] = (struct seen){.place = place};
        assert_int_equal(pki_certs_parse(pem, &all[*n].certs, &e), 0);
        ++*n;
}

static void see_value(struct world *w, enum place place, const char *key)
{
        autosecret struct secret_text pem = {NULL, 0};
        bool leaf = strcmp(key, "tls.crt") == 0;
        struct err e;

        assert_int_equal(secret_value(w->object[place], key, &pem, &e), 0);
        see(leaf ? w->leaves : w->bundles, leaf ? &w->nleaves : &w->nbundles, place,
            secret_str(&pem), w->now);
}

static void see_hooks(struct world *w)
{
        const struct json *hook = json_first(json_get(w->object[HOOKS], "webhooks"));
        autojson struct json *as_secret = json_new_object();
        autosecret struct secret_text pem = {NULL, 0};
        struct err e;

        json_set_str(json_object_at(as_secret, "data"), "ca.crt",
                     json_str(json_get(hook, "clientConfig"), "caBundle", ""));
        assert_int_equal(secret_value(as_secret, "ca.crt", &pem, &e), 0);
        see(w->bundles, &w->nbundles, HOOKS, secret_str(&pem), w->now);
}

static void written(struct world *w, enum place place, struct json *wanted)
{
        json_free(w->object[place]);
        w->object[place] = wanted;
        if (place == BUNDLE || place == SERVING || place == CLIENT)
                see_value(w, place, "ca.crt");
        if (place == SERVING || place == CLIENT)
                see_value(w, place, "tls.crt");
        if (place == HOOKS)
                see_hooks(w);
}

static const struct step distrust = {plan_distrust, CA, {"drover-ca-key", NULL}};

static void plan(struct world *w, struct estate *s, const struct step *step, struct json **wanted)
{
        struct err e;

        if (step->plan(s, &step->object, w->object[step->place], wanted, w->why, &e) < 0)
                fail_msg("%s", e.msg);
}

/* A run that ends with its first write, as if it had crashed; false when it wrote nothing. */
static bool run(struct world *w)
{
        struct estate s = {.ns = "drover-system",
                           .now_s = w->now,
                           .ca_days = w->ca_days,
                           .settle_s = SETTLE,
                           .leaf_days = LIFE};
        struct json *wanted = NULL;

        estate_init(&s);
        for (size_t i = 0; !wanted && i < countof(steps); i++) {
                const struct step *step = &steps[i];

                plan(w, &s, step, &wanted);
                if (wanted && s.behind && s.authority.next.cert) {
                        struct json *first = NULL;

                        plan(w, &s, &distrust, &first);
                        if (first) {
                                json_free(wanted);
                                wanted = first;
                                step = &distrust;
                        }
                }
                if (wanted)
                        written(w, step->place, wanted);
        }
        estate_reset(&s);
        return wanted;
}

/* Runs each second until nothing is left to write; how many runs that took. */
static int settle_down(struct world *w)
{
        int n = 0;

        while (run(w)) {
                all_is_good(w);
                w->now++;
                assert_true(++n < LONG);
        }
        all_is_good(w);
        return n;
}

static void forget_of(const struct world *w, struct seen *all, size_t *n)
{
        size_t kept = 0;

        for (size_t i = 0; i < *n; i++)
                if (visible(w, &all[i]))
                        all[kept++] = all[i];
                else
                        pki_certs_free(&all[i].certs);
        *n = kept;
}

/* What nobody can see any more. */
static void forget(struct world *w)
{
        forget_of(w, w->bundles, &w->nbundles);
        forget_of(w, w->leaves, &w->nleaves);
}

static void world_new(struct world *w, int64_t ca_days)
{
        static const char hooks[] = "{\"metadata\":{},\"webhooks\":[{\"clientConfig\":{}}]}";
        autosecret struct secret_text pem = {NULL, 0};
        struct err e;

        *w = (struct world){.now = NOW, .ca_days = ca_days};
        assert_int_equal(json_parse(hooks, strlen(hooks), 4096, &w->object[HOOKS], &e), 0);
        for (int i = 0; i < 5; i++)
                assert_true(run(w));
        assert_int_equal(secret_value(w->object[BUNDLE], "ca.crt", &pem, &e), 0);
        assert_int_equal(pki_certs_parse(secret_str(&pem), &w->first, &e), 0);
        assert_false(run(w));
        all_is_good(w);
}

static void world_free(struct world *w)
{
        for (size_t i = 0; i < w->nbundles; i++)
                pki_certs_free(&w->bundles[i].certs);
        for (size_t i = 0; i < w->nleaves; i++)
                pki_certs_free(&w->leaves[i].certs);
        pki_certs_free(&w->first);
        for (size_t i = 0; i < PLACES; i++)
                json_free(w->object[i]);
}

static bool trusts_first(const struct world *w)
{
        for (size_t b = 0; b < w->nbundles; b++) {
                const struct seen *s = &w->bundles[b];

                for (size_t i = 0; s->until == 0 && i < s->certs.n; i++)
                        if (X509_cmp(s->certs.v[i], w->first.v[0]) == 0)
                                return true;
        }
        return false;
}

static bool signed_by_first(const struct world *w)
{
        for (size_t l = 0; l < w->nleaves; l++)
                if (w->leaves[l].until == 0 &&
                    good(w->leaves[l].certs.v[0], NULL, &w->first, w->now))
                        return true;
        return false;
}

static void wish(struct world *w, const char *annotation)
{
        w->now++;
        secret_set_time(w->object[BUNDLE], annotation, w->now);
}

/* Up to where the first CA signs no more, and is still trusted. */
static void rotate(struct world *w)
{
        assert_int_equal(settle_down(w), 6); /* stage, four bundles, trusted */
        assert_true(signed_by_first(w));
        w->now += SETTLE - 2;
        assert_int_equal(settle_down(w), 0);
        w->now++;
        assert_int_equal(settle_down(w), 6); /* switch, bundles in another order, replaced */
        assert_false(secret_has(w->object[CA], "next.key"));
}

static void asked_for_it_goes_by_steps_that_all_bear(void **state)
{
        struct world w;

        (void)state;
        world_new(&w, 3650);
        wish(&w, "drover.dev/renew-ca");
        rotate(&w);
        assert_false(signed_by_first(&w));
        assert_true(trusts_first(&w));
        w.now += SETTLE;
        assert_int_equal(settle_down(&w), 0);
        wish(&w, "drover.dev/retire-ca");
        assert_int_equal(settle_down(&w), 5); /* retire, four bundles */
        assert_false(trusts_first(&w));
        w.now += SETTLE;
        assert_int_equal(settle_down(&w), 0);
        world_free(&w);
}

/* Nobody says anything: the old CA goes when the last certificate that it can have signed ends. */
static void an_ageing_ca_is_succeeded_and_forgotten_in_time(void **state)
{
        int switched = -1, forgotten = -1;
        struct world w;

        (void)state;
        world_new(&w, 600);
        for (int day = 0; day <= 540; day += 30) {
                w.now = NOW + (int64_t)day * PKI_DAY_S;
                forget(&w);
                settle_down(&w);
                w.now += SETTLE;
                settle_down(&w);
                if (switched < 0 && !signed_by_first(&w))
                        switched = day;
                if (forgotten < 0 && !trusts_first(&w))
                        forgotten = day;
        }
        assert_int_equal(switched, 420);
        assert_int_equal(forgotten, 420 + LIFE + 30);
        world_free(&w);
}

static void a_second_rotation_needs_no_end_of_the_first(void **state)
{
        struct world w;

        (void)state;
        world_new(&w, 3650);
        wish(&w, "drover.dev/renew-ca");
        rotate(&w);
        wish(&w, "drover.dev/renew-ca");
        settle_down(&w);
        w.now += SETTLE;
        settle_down(&w);
        assert_false(secret_has(w.object[CA], "next.key"));
        assert_false(signed_by_first(&w));
        assert_true(trusts_first(&w));
        world_free(&w);
}

/* An administrator puts it into the Secret; all else is as with ours. */
static void a_next_ca_of_somebodys_own_is_brought_in(void **state)
{
        const struct pki_certs none = {.n = 0};
        autojson struct json *own = json_new_object();
        struct json *data;
        struct world w;
        struct err e;

        (void)state;
        world_new(&w, 3650);
        data = json_object_at(w.object[CA], "data");
        assert_int_equal(authority_begin(own, NOW, 100, &none, &e), 0);
        json_set_str(data, "next.key", json_str(json_get(own, "data"), "ca.key", ""));
        json_set_str(data, "next.crt", json_str(json_get(own, "data"), "ca.crt", ""));
        assert_int_equal(settle_down(&w), 5); /* four bundles, trusted */
        w.now += SETTLE;
        assert_int_equal(settle_down(&w), 6);
        assert_string_equal(json_str(json_get(w.object[CA], "data"), "ca.crt", ""),
                            json_str(json_get(own, "data"), "ca.crt", ""));
        assert_false(signed_by_first(&w));
        world_free(&w);
}

/* A bundle that somebody has spoilt while the new trust settles begins that time anew. */
static void lost_trust_has_to_settle_again(void **state)
{
        struct world w;

        (void)state;
        world_new(&w, 3650);
        wish(&w, "drover.dev/renew-ca");
        assert_int_equal(settle_down(&w), 6);
        w.now += SETTLE - 2;
        json_set_str(json_object_at(w.object[CLIENT], "data"), "ca.crt", "b2xk");
        assert_int_equal(settle_down(&w), 3); /* not trusted, the bundle, trusted */
        w.now += SETTLE - 2;
        assert_int_equal(settle_down(&w), 0);
        w.now++;
        assert_int_equal(settle_down(&w), 6);
        world_free(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(asked_for_it_goes_by_steps_that_all_bear),
                cmocka_unit_test(an_ageing_ca_is_succeeded_and_forgotten_in_time),
                cmocka_unit_test(a_second_rotation_needs_no_end_of_the_first),
                cmocka_unit_test(a_next_ca_of_somebodys_own_is_brought_in),
                cmocka_unit_test(lost_trust_has_to_settle_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
