#include "api/decode.h"

static void decode_verdicts(struct dec *d, const struct at *status, struct migration *m)
{
        struct at arr = dec_array(d, status, "verdicts");

        m->status.verdicts = dec_alloc(d, json_count(arr.j), sizeof(*m->status.verdicts));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                m->status.verdicts[m->status.nverdicts++] = (struct verdict){
                        .node = dec_str(d, &el, "node", ""),
                        .rule = dec_int(d, &el, "rule", 0),
                        .message = dec_str(d, &el, "message", ""),
                };
        }
}

static void decode_disks(struct dec *d, const struct at *transfer, struct transfer *out)
{
        struct at arr = dec_array(d, transfer, "disks");

        out->disks = dec_alloc(d, json_count(arr.j), sizeof(*out->disks));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                out->disks[out->ndisks++] = (struct transfer_disk){
                        .target = dec_str(d, &el, "target", ""),
                        .pool = dec_str(d, &el, "pool", ""),
                        .name = dec_str(d, &el, "name", ""),
                        .size = dec_int(d, &el, "size", 0),
                };
        }
}

static void decode_transfer(struct dec *d, const struct at *status, struct transfer *out)
{
        struct at at = dec_object(d, status, "transfer");

        *out = (struct transfer){
                .state = transfer_state_parse(dec_str(d, &at, "state", "")),
                .message = dec_str(d, &at, "message", ""),
                .proven = dec_bool(d, &at, "proven", false),
                .bytes_total = dec_int(d, &at, "bytesTotal", 0),
                .bytes_done = dec_int(d, &at, "bytesDone", 0),
                .bytes_left = dec_int(d, &at, "bytesLeft", 0),
                .dirty_bytes_per_s = dec_int(d, &at, "dirtyBytesPerSecond", 0),
                .iteration = dec_int(d, &at, "iteration", 0),
                .throttle_percent = dec_int(d, &at, "throttlePercent", 0),
                .expected_downtime_ms = dec_int(d, &at, "expectedDowntimeMs", 0),
                .downtime_ms = dec_int(d, &at, "downtimeMs", 0),
                .started_us = dec_time(d, &at, "startedAt"),
                .first_byte_us = dec_time(d, &at, "firstByteAt"),
                .switched_us = dec_time(d, &at, "switchedAt"),
                .ended_us = dec_time(d, &at, "endedAt"),
        };
        decode_disks(d, &at, out);
}

static void decode_status(struct dec *d, const struct at *root, struct migration *m)
{
        struct at status = dec_object(d, root, "status");

        m->status.phase = mig_phase_parse(dec_str(d, &status, "phase", ""));
        m->status.source = dec_str(d, &status, "source", "");
        m->status.target = dec_str(d, &status, "target", "");
        m->status.epoch = dec_int(d, &status, "epoch", 0);
        m->status.vm_uid = dec_str(d, &status, "vmUID", "");
        m->status.placement = dec_str(d, &status, "placement", "");
        m->status.pod = dec_str(d, &status, "pod", "");
        m->status.permit = dec_bool(d, &status, "permit", false);
        m->status.queue_position = dec_int(d, &status, "queuePosition", 0);
        m->status.refused = dec_refusals(d, &status, "refused");
        m->status.cordoned = dec_bool(d, &status, "cordoned", false);
        decode_verdicts(d, &status, m);
        m->status.more_verdicts = dec_int(d, &status, "moreVerdicts", 0);
        m->status.handover = handover_parse(dec_str(d, &status, "handover", ""));
        m->status.scheduled_us = dec_time(d, &status, "scheduledAt");
        m->status.copying_us = dec_time(d, &status, "copyingAt");
        m->status.switching_us = dec_time(d, &status, "switchingAt");
        m->status.confirming_us = dec_time(d, &status, "confirmingAt");
        m->status.finished_us = dec_time(d, &status, "finishedAt");
        m->status.downtime_ms = dec_int(d, &status, "downtimeMs", 0);
        m->status.total_ms = dec_int(d, &status, "totalMs", 0);
        m->status.message = dec_str(d, &status, "message", "");
        m->status.asked = dec_bool(d, &status, "asked", false);
        m->status.arrival = arrival_state_parse(dec_str(d, &status, "arrival", ""));
        decode_transfer(d, &status, &m->status.transfer);
}

int migration_decode(const struct json *j, struct migration **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct migration *m = dec_begin(&d, j, sizeof(*m), &root, e);

        if (m) {
                struct at spec = dec_object(&d, &root, "spec");
                m->arena = d.a;
                dec_meta(&d, &root, &m->meta);
                m->spec.vm = dec_str(&d, &spec, "vm", "");
                m->spec.target_node = dec_str(&d, &spec, "targetNode", "");
                m->spec.reason = mig_reason_parse(dec_str(&d, &spec, "reason", ""));
                m->spec.cancel = dec_bool(&d, &spec, "cancel", false);
                decode_status(&d, &root, m);
        }
        return dec_end(&d, m, out);
}
