/*
 * The status of each kind. Every member but an unset time is written, empty ones too, so that a
 * merge patch leaves nothing of an older status.
 */
#include "api/encode.h"

static void encode_shape(struct enc *e, struct json *to, const struct vm_shape *shape)
{
        enc_int(e, to, "cores", shape->cores);
        enc_str(e, to, "cpuModel", shape->cpu_model);
        enc_int(e, to, "memory", shape->memory);
        enc_str(e, to, "hugePages", shape->huge_pages);
}

static void encode_running(struct enc *e, const struct vm *vm)
{
        struct json *running = enc_object(e, e->root, "running");

        if (vm->status.has_running)
                encode_shape(e, running, &vm->status.running);
}

static void encode_granted(struct enc *e, const struct vm_grant *g)
{
        struct json *granted = enc_object(e, e->root, "granted");

        if (!g->epoch)
                return;
        enc_int(e, granted, "epoch", g->epoch);
        enc_str(e, granted, "restartedAt", g->restarted_at);
        encode_shape(e, granted, &g->shape);
}

static void encode_restored(struct enc *e, const struct vm_restore *r)
{
        struct json *restored = enc_object(e, e->root, "restored");

        if (!*r->snapshot)
                return;
        enc_str(e, restored, "snapshot", r->snapshot);
        enc_str(e, restored, "requestedAt", r->requested_at);
}

static void encode_wish(struct enc *e, const struct vm_wish *w)
{
        struct json *wish = enc_object(e, e->root, "wish");

        if (!*w->placement)
                return;
        enc_str(e, wish, "placement", w->placement);
        enc_time(e, wish, "changedAt", w->changed_us);
        enc_bool(e, wish, "wavers", w->wavers);
}

struct json *vm_status_encode(const struct vm *vm)
{
        struct enc e = enc_begin();

        enc_str(&e, e.root, "phase", vm_phase_name(vm->status.phase));
        enc_int(&e, e.root, "observedGeneration", vm->status.observed_generation);
        encode_wish(&e, &vm->status.wish);
        struct json *owner = enc_object(&e, e.root, "owner");
        enc_str(&e, owner, "node", vm->status.owner.node);
        enc_int(&e, owner, "epoch", vm->status.owner.epoch);
        enc_str(&e, e.root, "storageNode", vm->status.storage_node);
        struct json *pools = enc_object(&e, e.root, "pools");
        for (size_t i = 0; i < vm->status.pools.n; i++)
                enc_str(&e, pools, vm->status.pools.v[i].key, vm->status.pools.v[i].value);
        enc_str(&e, e.root, "podName", vm->status.pod_name);
        enc_strs(&e, e.root, "addresses", &vm->status.addresses);
        encode_running(&e, vm);
        enc_str(&e, e.root, "restartedAt", vm->status.restarted_at);
        encode_granted(&e, &vm->status.granted);
        encode_restored(&e, &vm->status.restored);
        enc_refusals(&e, e.root, "refused", &vm->status.refused);
        enc_conditions(&e, e.root, "conditions", &vm->status.conditions);
        struct json *migration = enc_object(&e, e.root, "migration");
        enc_str(&e, migration, "name", vm->status.migration.name);
        enc_str(&e, migration, "phase", vm->status.migration.phase);
        enc_str(&e, migration, "target", vm->status.migration.target);
        enc_int(&e, migration, "percent", vm->status.migration.percent);
        enc_str(&e, e.root, "reason", vm->status.reason);
        return enc_end(&e);
}

struct json *migration_status_encode(const struct migration *m)
{
        struct enc e = enc_begin();

        enc_str(&e, e.root, "phase", mig_phase_name(m->status.phase));
        enc_str(&e, e.root, "source", m->status.source);
        enc_str(&e, e.root, "target", m->status.target);
        enc_int(&e, e.root, "epoch", m->status.epoch);
        enc_str(&e, e.root, "vmUID", m->status.vm_uid);
        enc_str(&e, e.root, "placement", m->status.placement);
        enc_str(&e, e.root, "pod", m->status.pod);
        if (m->status.permit)
                enc_bool(&e, e.root, "permit", true);
        enc_int(&e, e.root, "queuePosition", m->status.queue_position);
        enc_refusals(&e, e.root, "refused", &m->status.refused);
        if (m->status.cordoned)
                enc_bool(&e, e.root, "cordoned", true);
        struct json *verdicts = enc_array(&e, e.root, "verdicts");
        for (size_t i = 0; i < m->status.nverdicts; i++) {
                struct json *v = enc_element(&e, verdicts);
                enc_str(&e, v, "node", m->status.verdicts[i].node);
                enc_int(&e, v, "rule", m->status.verdicts[i].rule);
                enc_str(&e, v, "message", m->status.verdicts[i].message);
        }
        if (m->status.more_verdicts)
                enc_int(&e, e.root, "moreVerdicts", m->status.more_verdicts);
        enc_str(&e, e.root, "handover", handover_name(m->status.handover));
        enc_time(&e, e.root, "scheduledAt", m->status.scheduled_us);
        enc_time(&e, e.root, "copyingAt", m->status.copying_us);
        enc_time(&e, e.root, "switchingAt", m->status.switching_us);
        enc_time(&e, e.root, "confirmingAt", m->status.confirming_us);
        enc_time(&e, e.root, "finishedAt", m->status.finished_us);
        enc_int(&e, e.root, "downtimeMs", m->status.downtime_ms);
        enc_int(&e, e.root, "totalMs", m->status.total_ms);
        enc_str(&e, e.root, "message", m->status.message);
        if (m->status.asked)
                enc_bool(&e, e.root, "asked", true);
        return enc_end(&e);
}

struct json *migration_encode(const struct vm *vm, const char *name, enum mig_reason reason)
{
        struct enc e = enc_begin();
        struct json *meta = enc_object(&e, e.root, "metadata");
        const struct strs held = {(const char *[]){DROVER_FINALIZER}, 1};

        enc_str(&e, e.root, "apiVersion", DROVER_API_VERSION);
        enc_str(&e, e.root, "kind", "VirtualMachineMigration");
        enc_str(&e, meta, "name", name);
        enc_str(&e, meta, "namespace", vm->meta.ns);
        enc_strs(&e, meta, "finalizers", &held);
        struct json *owner = enc_element(&e, enc_array(&e, meta, "ownerReferences"));
        enc_str(&e, owner, "apiVersion", DROVER_API_VERSION);
        enc_str(&e, owner, "kind", "VirtualMachine");
        enc_str(&e, owner, "name", vm->meta.name);
        enc_str(&e, owner, "uid", vm->meta.uid);
        struct json *spec = enc_object(&e, e.root, "spec");
        enc_str(&e, spec, "vm", vm->meta.name);
        enc_str(&e, spec, "reason", mig_reason_name(reason));
        return enc_end(&e);
}

struct json *transfer_encode(const struct transfer *t)
{
        struct enc e = enc_begin();

        enc_str(&e, e.root, "state", transfer_state_name(t->state));
        enc_str(&e, e.root, "message", t->message);
        if (t->proven)
                enc_bool(&e, e.root, "proven", true);
        struct json *disks = t->ndisks ? enc_array(&e, e.root, "disks") : NULL;
        for (size_t i = 0; i < t->ndisks; i++) {
                struct json *o = enc_element(&e, disks);
                enc_str(&e, o, "target", t->disks[i].target);
                enc_str(&e, o, "pool", t->disks[i].pool);
                enc_str(&e, o, "name", t->disks[i].name);
                enc_int(&e, o, "size", t->disks[i].size);
        }
        enc_int(&e, e.root, "bytesTotal", t->bytes_total);
        enc_int(&e, e.root, "bytesDone", t->bytes_done);
        enc_int(&e, e.root, "bytesLeft", t->bytes_left);
        enc_int(&e, e.root, "dirtyBytesPerSecond", t->dirty_bytes_per_s);
        enc_int(&e, e.root, "iteration", t->iteration);
        enc_int(&e, e.root, "throttlePercent", t->throttle_percent);
        enc_int(&e, e.root, "expectedDowntimeMs", t->expected_downtime_ms);
        enc_int(&e, e.root, "downtimeMs", t->downtime_ms);
        enc_time(&e, e.root, "startedAt", t->started_us);
        enc_time(&e, e.root, "firstByteAt", t->first_byte_us);
        enc_time(&e, e.root, "switchedAt", t->switched_us);
        enc_time(&e, e.root, "endedAt", t->ended_us);
        return enc_end(&e);
}

static void encode_capacity(struct enc *e, const struct host *h)
{
        struct json *capacity = enc_object(e, e->root, "capacity");
        struct json *used = enc_object(e, e->root, "used");

        enc_int(e, capacity, "cpus", h->capacity.cpus);
        enc_int(e, capacity, "memory", h->capacity.memory);
        enc_int(e, capacity, "hugePages2Mi", h->capacity.huge_2mi);
        enc_int(e, capacity, "hugePages1Gi", h->capacity.huge_1gi);
        enc_int(e, capacity, "slots", h->capacity.slots);
        enc_int(e, capacity, "cpuOvercommitPercent", h->capacity.cpu_overcommit_percent);
        enc_int(e, capacity, "reservedMemory", h->capacity.reserved_memory);
        enc_int(e, used, "cpus", h->used.cpus);
        enc_int(e, used, "memory", h->used.memory);
        enc_int(e, used, "domains", h->used.domains);
}

static void encode_peers(struct enc *e, struct json *mount, const struct host_mount *m)
{
        struct json *arr = enc_array(e, mount, "sharedWith");

        for (size_t i = 0; i < m->nshared_with; i++) {
                const struct host_peer *p = &m->shared_with[i];
                struct json *o = enc_element(e, arr);
                enc_str(e, o, "node", p->node);
                enc_str(e, o, "state", sharing_name(p->state));
                enc_bool(e, o, "locks", p->locks);
                enc_time(e, o, "since", p->since_us);
                enc_str(e, o, "reason", p->reason);
        }
}

static void encode_mounts(struct enc *e, const struct host *h)
{
        struct json *arr = enc_array(e, e->root, "mounts");

        for (size_t i = 0; i < h->nmounts; i++) {
                const struct host_mount *m = &h->mounts[i];
                struct json *o = enc_element(e, arr);
                enc_str(e, o, "pool", m->pool);
                if (m->local)
                        enc_bool(e, o, "local", true);
                enc_str(e, o, "path", m->path);
                enc_str(e, o, "fstype", m->fstype);
                enc_str(e, o, "source", m->source);
                enc_str(e, o, "health", mount_health_name(m->health));
                enc_str(e, o, "verdict", m->verdict);
                enc_str(e, o, "reason", m->reason);
                enc_str(e, o, "identity", m->identity);
                enc_int(e, o, "latencyUs", m->latency_us);
                enc_int(e, o, "freeBytes", m->free_bytes);
                enc_int(e, o, "freeInodes", m->free_inodes);
                enc_bool(e, o, "lockArbitration", m->lock_arbitration);
                encode_peers(e, o, m);
        }
}

static void encode_domains(struct enc *e, const struct host *h)
{
        struct json *arr = enc_array(e, e->root, "domains");

        for (size_t i = 0; i < h->ndomains; i++) {
                const struct host_domain *d = &h->domains[i];
                struct json *o = enc_element(e, arr);
                enc_str(e, o, "uid", d->uid);
                enc_str(e, o, "namespace", d->ns);
                enc_str(e, o, "name", d->name);
                enc_int(e, o, "epoch", d->epoch);
                enc_str(e, o, "migration", d->migration);
                enc_str(e, o, "state", domain_state_name(d->state));
                enc_str(e, o, "reason", d->reason);
                enc_strs(e, o, "addresses", &d->addresses);
                enc_str(e, o, "restartedAt", d->restarted_at);
                enc_str(e, o, "restored", d->restored);
                enc_int(e, o, "cores", d->cores);
                enc_int(e, o, "memory", d->memory);
                enc_str(e, o, "machine", d->machine);
                if (d->claims != SHARING_UNKNOWN || *d->claims_reason) {
                        enc_str(e, o, "claims", sharing_name(d->claims));
                        enc_str(e, o, "claimsReason", d->claims_reason);
                }
                if (d->retries)
                        enc_int(e, o, "retries", d->retries);
        }
}

static void encode_prepared(struct enc *e, const struct host *h)
{
        struct json *arr = enc_array(e, e->root, "prepared");

        for (size_t i = 0; i < h->nprepared; i++) {
                struct json *o = enc_element(e, arr);
                enc_str(e, o, "migration", h->prepared[i].migration);
                enc_str(e, o, "refused", h->prepared[i].refused);
        }
}

struct json *host_status_encode(const struct host *h)
{
        struct enc e = enc_begin();

        encode_capacity(&e, h);
        enc_strs(&e, e.root, "cpuModels", &h->cpu_models);
        enc_strs(&e, e.root, "bridges", &h->bridges);
        enc_strs(&e, e.root, "machineTypes", &h->machine_types);
        enc_str(&e, e.root, "qemuVersion", h->qemu_version);
        enc_str(&e, e.root, "libvirtVersion", h->libvirt_version);
        enc_str(&e, e.root, "virtType", h->virt_type);
        enc_str(&e, e.root, "migrationAddress", h->migration_address);
        enc_str(&e, e.root, "libvirtURI", h->libvirt_uri);
        enc_str(&e, e.root, "cannotReceive", h->cannot_receive);
        enc_int(&e, e.root, "resolveMs", h->resolve_ms);
        encode_mounts(&e, h);
        encode_domains(&e, h);
        encode_prepared(&e, h);
        enc_conditions(&e, e.root, "conditions", &h->conditions);
        enc_int(&e, e.root, "outbound", h->outbound);
        enc_int(&e, e.root, "inbound", h->inbound);
        return enc_end(&e);
}
