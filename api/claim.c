#include "api/decode.h"

#include <string.h>

int claim_decode(const struct json *j, struct claim **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct claim *c = dec_begin(&d, j, sizeof(*c), &root, e);

        if (c) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at status = dec_object(&d, &root, "status");
                struct at capacity = dec_object(&d, &status, "capacity");
                c->arena = d.a;
                dec_meta(&d, &root, &c->meta);
                c->access_modes = dec_strs(&d, &spec, "accessModes");
                c->block = !strcmp(dec_str(&d, &spec, "volumeMode", ""), "Block");
                c->volume = dec_str(&d, &spec, "volumeName", "");
                c->capacity = dec_quantity(&d, &capacity, "storage");
                if (strcmp(dec_str(&d, &status, "phase", ""), "Bound") != 0)
                        c->volume = "";
        }
        return dec_end(&d, c, out);
}
