#include "api/decode.h"

#include <ctype.h>
#include <errno.h>

/* A number of our own in an annotation; 0 for what is none. */
static int64_t epoch_of(const char *text)
{
        char *end = NULL;

        errno = 0;
        long long v = isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : 0;
        return v > 0 && errno == 0 && !*end ? v : 0;
}

static const char *or_empty(const char *s)
{
        return s ? s : "";
}

int pod_decode(const struct json *j, struct pod **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct pod *p = dec_begin(&d, j, sizeof(*p), &root, e);

        if (p) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at status = dec_object(&d, &root, "status");
                const struct kvs *notes = &p->meta.annotations;
                p->arena = d.a;
                dec_meta(&d, &root, &p->meta);
                p->node = dec_str(&d, &spec, "nodeName", "");
                p->phase = pod_phase_parse(dec_str(&d, &status, "phase", ""));
                p->service_account = dec_str(&d, &spec, "serviceAccountName", "");
                dec_conditions(&d, &status, "conditions", &p->conditions);
                if (d.rc == 0) {
                        p->vm = or_empty(kvs_get(&p->meta.labels, DROVER_VM_LABEL));
                        p->vm_uid = or_empty(kvs_get(notes, DROVER_UID_ANNOTATION));
                        p->migration = or_empty(kvs_get(notes, DROVER_MIGRATION_ANNOTATION));
                        p->placement = or_empty(kvs_get(notes, DROVER_PLACEMENT_ANNOTATION));
                        p->fit = or_empty(kvs_get(notes, DROVER_FIT_ANNOTATION));
                        p->epoch = epoch_of(or_empty(kvs_get(notes, DROVER_EPOCH_ANNOTATION)));
                }
        }
        return dec_end(&d, p, out);
}
