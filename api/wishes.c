#include "api/decode.h"

#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

static bool has_object(const struct at *at, const char *key)
{
        return json_type(json_get(at->j, key)) == JSON_OBJECT;
}

static void decode_term(struct dec *d, const struct at *at, struct pod_term *t)
{
        t->has_selector = has_object(at, "labelSelector");
        dec_label_selector(d, at, "labelSelector", &t->selector);
        dec_label_selector(d, at, "namespaceSelector", &t->namespace_selector);
        t->topology_key = dec_str(d, at, "topologyKey", "");
        t->namespaces = dec_strs(d, at, "namespaces");
        t->match_keys = dec_strs(d, at, "matchLabelKeys");
        t->mismatch_keys = dec_strs(d, at, "mismatchLabelKeys");
}

static void decode_pods(struct dec *d, const struct at *affinity, const char *key,
                        struct pod_wishes *out)
{
        struct at at = dec_object(d, affinity, key);
        struct at required = dec_array(d, &at, REQUIRED), preferred = dec_array(d, &at, PREFERRED);

        out->required = dec_alloc(d, json_count(required.j), sizeof(*out->required));
        out->preferred = dec_alloc(d, json_count(preferred.j), sizeof(*out->preferred));
        dec_each(d, &required, el)
        {
                dec_element(d, &el);
                decode_term(d, &el, &out->required[out->nrequired++]);
        }
        dec_each(d, &preferred, el)
        {
                struct pod_preference *p = &out->preferred[out->npreferred++];

                dec_element(d, &el);
                struct at term = dec_object(d, &el, "podAffinityTerm");
                p->weight = dec_int(d, &el, "weight", 0);
                decode_term(d, &term, &p->term);
        }
}

static void decode_nodes(struct dec *d, const struct at *affinity, struct wishes *out)
{
        struct at at = dec_object(d, affinity, "nodeAffinity");
        struct at arr = dec_array(d, &at, PREFERRED);

        out->preferred = dec_alloc(d, json_count(arr.j), sizeof(*out->preferred));
        dec_each(d, &arr, el)
        {
                struct node_preference *p = &out->preferred[out->npreferred++];

                dec_element(d, &el);
                struct at term = dec_object(d, &el, "preference");
                p->weight = dec_int(d, &el, "weight", 0);
                dec_selector_term(d, &term, &p->term);
        }
}

static void decode_spread(struct dec *d, const struct at *spec, struct wishes *out)
{
        struct at arr = dec_array(d, spec, "topologySpreadConstraints");

        out->spread = dec_alloc(d, json_count(arr.j), sizeof(*out->spread));
        dec_each(d, &arr, el)
        {
                struct spread *s = &out->spread[out->nspread++];

                dec_element(d, &el);
                s->max_skew = dec_int(d, &el, "maxSkew", 0);
                s->has_min_domains = json_type(json_get(el.j, "minDomains")) == JSON_NUMBER;
                s->min_domains = dec_int(d, &el, "minDomains", 1);
                s->topology_key = dec_str(d, &el, "topologyKey", "");
                s->unsatisfiable = dec_str(d, &el, "whenUnsatisfiable", "");
                s->affinity_policy = dec_str(d, &el, "nodeAffinityPolicy", "");
                s->taints_policy = dec_str(d, &el, "nodeTaintsPolicy", "");
                s->has_selector = has_object(&el, "labelSelector");
                dec_label_selector(d, &el, "labelSelector", &s->selector);
                s->match_keys = dec_strs(d, &el, "matchLabelKeys");
        }
}

void wishes_free(struct wishes *w)
{
        if (w)
                arena_free(w->arena);
}

int wishes_decode(const struct json *vm, struct wishes **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct wishes *w = dec_begin(&d, vm, sizeof(*w), &root, e);

        if (w) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at affinity = dec_object(&d, &spec, "affinity");
                w->arena = d.a;
                decode_nodes(&d, &affinity, w);
                decode_pods(&d, &affinity, "podAffinity", &w->near);
                decode_pods(&d, &affinity, "podAntiAffinity", &w->apart);
                decode_spread(&d, &spec, w);
        }
        return dec_end(&d, w, out);
}
