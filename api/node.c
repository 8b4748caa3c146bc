#include "api/decode.h"

#include <string.h>

static void decode_taints(struct dec *d, const struct at *spec, struct node *n)
{
        struct at arr = dec_array(d, spec, "taints");

        n->taints = dec_alloc(d, json_count(arr.j), sizeof(*n->taints));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                n->taints[n->ntaints++] = (struct taint){
                        .key = dec_str(d, &el, "key", ""),
                        .value = dec_str(d, &el, "value", ""),
                        .effect = dec_str(d, &el, "effect", ""),
                };
        }
}

/* InternalIP first, then the others as they come. */
static void decode_addresses(struct dec *d, const struct at *status, struct node *n)
{
        struct at arr = dec_array(d, status, "addresses");

        n->addresses.v = dec_alloc(d, json_count(arr.j), sizeof(*n->addresses.v));
        for (int others = 0; others < 2; others++)
                dec_each(d, &arr, el)
                {
                        dec_element(d, &el);
                        const char *type = dec_str(d, &el, "type", "");
                        if ((strcmp(type, "InternalIP") != 0) == others)
                                n->addresses.v[n->addresses.n++] = dec_str(d, &el, "address", "");
                }
}

int node_decode(const struct json *j, struct node **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct node *n = dec_begin(&d, j, sizeof(*n), &root, e);

        if (n) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at status = dec_object(&d, &root, "status");
                n->arena = d.a;
                dec_meta(&d, &root, &n->meta);
                n->unschedulable = dec_bool(&d, &spec, "unschedulable", false);
                decode_taints(&d, &spec, n);
                dec_conditions(&d, &status, "conditions", &n->conditions);
                decode_addresses(&d, &status, n);
        }
        return dec_end(&d, n, out);
}
