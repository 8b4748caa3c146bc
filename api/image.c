#include "api/decode.h"
#include "api/encode.h"

static void decode_status(struct dec *d, const struct at *root, struct image *i)
{
        struct at status = dec_object(d, root, "status");
        struct at importer = dec_object(d, &status, "importer");
        struct at progress = dec_object(d, &status, "progress");

        i->phase = dec_str(d, &status, "phase", "");
        i->message = dec_str(d, &status, "message", "");
        i->importer = (struct image_importer){
                .node = dec_str(d, &importer, "node", ""),
                .epoch = dec_int(d, &importer, "epoch", 0),
                .task = import_task_parse(dec_str(d, &importer, "task", "")),
        };
        i->progress = (struct image_progress){
                .epoch = dec_int(d, &progress, "epoch", 0),
                .state = import_state_parse(dec_str(d, &progress, "state", "")),
                .bytes_done = dec_int(d, &progress, "bytesDone", 0),
                .bytes_total = dec_int(d, &progress, "bytesTotal", 0),
                .message = dec_str(d, &progress, "message", ""),
        };
}

int image_decode(const struct json *j, struct image **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct image *i = dec_begin(&d, j, sizeof(*i), &root, e);

        if (i) {
                struct at spec = dec_object(&d, &root, "spec");
                struct at source = dec_object(&d, &spec, "source");
                i->arena = d.a;
                dec_meta(&d, &root, &i->meta);
                i->url = dec_str(&d, &source, "url", "");
                i->sha256 = dec_str(&d, &source, "sha256", "");
                i->file = dec_str(&d, &source, "file", "");
                i->pool = dec_str(&d, &spec, "pool", "default");
                decode_status(&d, &root, i);
        }
        return dec_end(&d, i, out);
}

struct json *image_status_encode(const struct image *i)
{
        struct enc e = enc_begin();

        enc_str(&e, e.root, "phase", i->phase);
        enc_str(&e, e.root, "message", i->message);
        struct json *importer = enc_object(&e, e.root, "importer");
        enc_str(&e, importer, "node", i->importer.node);
        enc_int(&e, importer, "epoch", i->importer.epoch);
        enc_str(&e, importer, "task", import_task_name(i->importer.task));
        return enc_end(&e);
}

struct json *image_progress_encode(const struct image_progress *p)
{
        struct enc e = enc_begin();

        enc_int(&e, e.root, "epoch", p->epoch);
        enc_str(&e, e.root, "state", import_state_name(p->state));
        enc_int(&e, e.root, "bytesDone", p->bytes_done);
        enc_int(&e, e.root, "bytesTotal", p->bytes_total);
        enc_str(&e, e.root, "message", p->message);
        return enc_end(&e);
}
