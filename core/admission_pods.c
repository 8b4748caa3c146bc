/* Nearness to other VMs and spreading among nodes: what the API server would refuse in a pod. */
#include "core/admission_rules.h"

#include <string.h>

static bool selects_by(const struct label_selector *s, const char *key)
{
        for (size_t i = 0; i < s->exprs.n; i++)
                if (!strcmp(s->exprs.v[i].key, key))
                        return true;
        return kvs_get(&s->match_labels, key);
}

/* Keys whose values are those of the pod itself. */
static void check_keys(struct admit *c, const struct spot *up, const char *name,
                       const struct strs *keys, bool has_selector)
{
        admit_count(c, spot(up, name), keys->n, ADMISSION_POD_TERMS_MAX);
        if (keys->n && !has_selector)
                admit_tell_at(c, spot(up, name), "needs a labelSelector");
        for (size_t i = 0; i < keys->n; i++)
                admit_label_key(c, spot_at(up, name, i), keys->v[i]);
}

static void check_match_keys(struct admit *c, const struct spot *up, const struct strs *keys,
                             const struct strs *mismatch, bool has_selector,
                             const struct label_selector *s)
{
        check_keys(c, up, "matchLabelKeys", keys, has_selector);
        for (size_t i = 0; i < keys->n; i++) {
                const struct spot *at = spot_at(up, "matchLabelKeys", i);

                if (selects_by(s, keys->v[i]))
                        admit_tell_at(c, at, "\"%s\" stands in labelSelector too", keys->v[i]);
                if (mismatch && strs_has(mismatch, keys->v[i]))
                        admit_tell_at(c, at, "\"%s\" stands in mismatchLabelKeys too", keys->v[i]);
        }
}

static void check_term(struct admit *c, const struct spot *at, const struct pod_term *t)
{
        admit_label_key(c, spot(at, "topologyKey"), t->topology_key);
        admit_label_selector(c, spot(at, "labelSelector"), &t->selector);
        admit_label_selector(c, spot(at, "namespaceSelector"), &t->namespace_selector);
        admit_count(c, spot(at, "namespaces"), t->namespaces.n, ADMISSION_LIST_MAX);
        for (size_t i = 0; i < t->namespaces.n; i++)
                if (!is_dns_label(t->namespaces.v[i]))
                        admit_tell_at(c, spot_at(at, "namespaces", i),
                                      "\"%s\" is no name of a namespace", t->namespaces.v[i]);
        check_match_keys(c, at, &t->match_keys, &t->mismatch_keys, t->has_selector, &t->selector);
        check_keys(c, at, "mismatchLabelKeys", &t->mismatch_keys, t->has_selector);
}

static void check_wishes(struct admit *c, const char *path, const struct pod_wishes *w)
{
        const struct spot *up = spot(NULL, path);

        for (size_t i = 0; i < w->nrequired; i++)
                check_term(c, spot_at(up, REQUIRED, i), &w->required[i]);
        for (size_t i = 0; i < w->npreferred; i++) {
                const struct spot *at = spot_at(up, PREFERRED, i);

                admit_between(c, spot(at, "weight"), w->preferred[i].weight, 1, 100);
                check_term(c, spot(at, "podAffinityTerm"), &w->preferred[i].term);
        }
}

void admit_pod_affinity(struct admit *c)
{
        check_wishes(c, "spec.affinity.podAffinity", &c->wishes->near);
        check_wishes(c, "spec.affinity.podAntiAffinity", &c->wishes->apart);
}

/* --- topologySpreadConstraints */

static bool same_kind(const struct spread *x, const struct spread *y)
{
        return !strcmp(x->topology_key, y->topology_key) &&
               !strcmp(x->unsatisfiable, y->unsatisfiable);
}

static void check_spread(struct admit *c, const struct spot *at, const struct spread *s)
{
        static const char *const unsatisfiable[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
        static const char *const policies[] = {"", "Honor", "Ignore", NULL};

        admit_between(c, spot(at, "maxSkew"), s->max_skew, 1, INT32_MAX);
        admit_label_key(c, spot(at, "topologyKey"), s->topology_key);
        admit_one_of(c, spot(at, "whenUnsatisfiable"), s->unsatisfiable, unsatisfiable);
        if (s->has_min_domains && strcmp(s->unsatisfiable, "DoNotSchedule") != 0)
                admit_tell_at(c, spot(at, "minDomains"), "needs whenUnsatisfiable: DoNotSchedule");
        admit_between(c, spot(at, "minDomains"), s->min_domains, 1, INT32_MAX);
        admit_one_of(c, spot(at, "nodeAffinityPolicy"), s->affinity_policy, policies);
        admit_one_of(c, spot(at, "nodeTaintsPolicy"), s->taints_policy, policies);
        admit_label_selector(c, spot(at, "labelSelector"), &s->selector);
        check_match_keys(c, at, &s->match_keys, NULL, s->has_selector, &s->selector);
}

void admit_spread(struct admit *c)
{
        const struct wishes *w = c->wishes;

        for (size_t i = 0; i < w->nspread; i++) {
                const struct spot *at = spot_at(NULL, "spec.topologySpreadConstraints", i);
                size_t k = 0;

                check_spread(c, at, &w->spread[i]);
                while (k < i && !same_kind(&w->spread[k], &w->spread[i]))
                        k++;
                if (k < i)
                        admit_tell_at(c, spot(at, "topologyKey"),
                                      "Duplicate value: spec.topologySpreadConstraints[%zu] has "
                                      "\"%s\" and %s too",
                                      k, w->spread[i].topology_key, w->spread[i].unsatisfiable);
        }
}
