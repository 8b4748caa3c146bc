#include "api/decode.h"
#include "api/encode.h"

static struct snap_made decode_made(struct dec *d, const struct at *at)
{
        struct snap_made m = {.quiesced = dec_bool(d, at, "quiesced", false),
                              .taken_us = dec_time(d, at, "createdAt")};
        struct at arr = dec_array(d, at, "disks");

        m.disks = dec_alloc(d, json_count(arr.j), sizeof(*m.disks));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                m.disks[m.ndisks++] = (struct snap_disk){
                        .name = dec_str(d, &el, "name", ""),
                        .size = dec_int(d, &el, "size", 0),
                };
        }
        return m;
}

static void decode_status(struct dec *d, const struct at *root, struct snapshot *s)
{
        struct at status = dec_object(d, root, "status");
        struct at worker = dec_object(d, &status, "worker");
        struct at progress = dec_object(d, &status, "progress");

        s->phase = dec_str(d, &status, "phase", "");
        s->message = dec_str(d, &status, "message", "");
        s->vm_uid = dec_str(d, &status, "vmUID", "");
        s->taken = dec_int(d, &status, "takenBy", 0);
        s->made = decode_made(d, &status);
        s->worker = (struct snap_worker){
                .node = dec_str(d, &worker, "node", ""),
                .epoch = dec_int(d, &worker, "epoch", 0),
                .task = snap_task_parse(dec_str(d, &worker, "task", "")),
        };
        s->progress = (struct snap_progress){
                .epoch = dec_int(d, &progress, "epoch", 0),
                .state = snap_state_parse(dec_str(d, &progress, "state", "")),
                .message = dec_str(d, &progress, "message", ""),
                .made = decode_made(d, &progress),
        };
}

int snapshot_decode(const struct json *j, struct snapshot **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct snapshot *s = dec_begin(&d, j, sizeof(*s), &root, e);

        if (s) {
                struct at spec = dec_object(&d, &root, "spec");
                s->arena = d.a;
                dec_meta(&d, &root, &s->meta);
                s->vm = dec_str(&d, &spec, "vm", "");
                s->quiesce_text = dec_str(&d, &spec, "quiesce", "");
                s->quiesce = snap_quiesce_parse(s->quiesce_text);
                decode_status(&d, &root, s);
        }
        return dec_end(&d, s, out);
}

static void encode_made(struct enc *e, struct json *to, const struct snap_made *m)
{
        enc_bool(e, to, "quiesced", m->quiesced);
        enc_time(e, to, "createdAt", m->taken_us);
        struct json *arr = enc_array(e, to, "disks");
        for (size_t i = 0; i < m->ndisks; i++) {
                struct json *disk = enc_element(e, arr);
                enc_str(e, disk, "name", m->disks[i].name);
                enc_int(e, disk, "size", m->disks[i].size);
        }
}

struct json *snapshot_status_encode(const struct snapshot *s)
{
        struct enc e = enc_begin();

        enc_str(&e, e.root, "phase", s->phase);
        enc_str(&e, e.root, "message", s->message);
        enc_str(&e, e.root, "vmUID", s->vm_uid);
        enc_int(&e, e.root, "takenBy", s->taken);
        encode_made(&e, e.root, &s->made);
        struct json *worker = enc_object(&e, e.root, "worker");
        enc_str(&e, worker, "node", s->worker.node);
        enc_int(&e, worker, "epoch", s->worker.epoch);
        enc_str(&e, worker, "task", snap_task_name(s->worker.task));
        return enc_end(&e);
}

struct json *snap_progress_encode(const struct snap_progress *p)
{
        struct enc e = enc_begin();

        enc_int(&e, e.root, "epoch", p->epoch);
        enc_str(&e, e.root, "state", snap_state_name(p->state));
        enc_str(&e, e.root, "message", p->message);
        encode_made(&e, e.root, &p->made);
        return enc_end(&e);
}
