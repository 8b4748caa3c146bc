#include "api/decode.h"

int image_decode(const struct json *j, struct image **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct image *i = dec_begin(&d, j, sizeof(*i), &root, e);

        if (i) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at source = dec_object(&d, &spec, "source");
                struct at status = dec_object(&d, &root, "status");
                i->arena = d.a;
                dec_meta(&d, &root, &i->meta);
                i->url = dec_str(&d, &source, "url", "");
                i->sha256 = dec_str(&d, &source, "sha256", "");
                i->file = dec_str(&d, &source, "file", "");
                i->pool = dec_str(&d, &spec, "pool", "default");
                i->phase = dec_str(&d, &status, "phase", "");
                i->message = dec_str(&d, &status, "message", "");
        }
        return dec_end(&d, i, out);
}
