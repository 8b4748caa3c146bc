#include "api/decode.h"

static void decode_capacity(struct dec *d, const struct at *status, struct host *h)
{
        struct at capacity = dec_object(d, status, "capacity");
        struct at used = dec_object(d, status, "used");

        h->capacity.cpus = dec_int(d, &capacity, "cpus", 0);
        h->capacity.memory = dec_int(d, &capacity, "memory", 0);
        h->capacity.huge_2mi = dec_int(d, &capacity, "hugePages2Mi", 0);
        h->capacity.huge_1gi = dec_int(d, &capacity, "hugePages1Gi", 0);
        h->capacity.slots = dec_int(d, &capacity, "slots", 0);
        h->capacity.cpu_overcommit_percent = dec_int(d, &capacity, "cpuOvercommitPercent", 100);
        h->capacity.reserved_memory = dec_int(d, &capacity, "reservedMemory", 0);
        h->used.cpus = dec_int(d, &used, "cpus", 0);
        h->used.memory = dec_int(d, &used, "memory", 0);
        h->used.domains = dec_int(d, &used, "domains", 0);
}

static void decode_peers(struct dec *d, const struct at *mount, struct host_mount *m)
{
        struct at arr = dec_array(d, mount, "sharedWith");

        m->shared_with = dec_alloc(d, json_count(arr.j), sizeof(*m->shared_with));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                m->shared_with[m->nshared_with++] = (struct host_peer){
                        .node = dec_str(d, &el, "node", ""),
                        .state = sharing_parse(dec_str(d, &el, "state", "")),
                        .locks = dec_bool(d, &el, "locks", false),
                        .since_us = dec_time(d, &el, "since"),
                        .reason = dec_str(d, &el, "reason", ""),
                };
        }
}

static void decode_mounts(struct dec *d, const struct at *status, struct host *h)
{
        struct at arr = dec_array(d, status, "mounts");

        h->mounts = dec_alloc(d, json_count(arr.j), sizeof(*h->mounts));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                struct host_mount *m = &h->mounts[h->nmounts++];
                *m = (struct host_mount){
                        .pool = dec_str(d, &el, "pool", "default"),
                        .local = dec_bool(d, &el, "local", false),
                        .path = dec_str(d, &el, "path", ""),
                        .fstype = dec_str(d, &el, "fstype", ""),
                        .source = dec_str(d, &el, "source", ""),
                        .health = mount_health_parse(dec_str(d, &el, "health", "")),
                        .verdict = dec_str(d, &el, "verdict", ""),
                        .reason = dec_str(d, &el, "reason", ""),
                        .identity = dec_str(d, &el, "identity", ""),
                        .latency_us = dec_int(d, &el, "latencyUs", 0),
                        .free_bytes = dec_int(d, &el, "freeBytes", 0),
                        .free_inodes = dec_int(d, &el, "freeInodes", 0),
                        .lock_arbitration = dec_bool(d, &el, "lockArbitration", false),
                };
                decode_peers(d, &el, m);
        }
}

static void decode_domains(struct dec *d, const struct at *status, struct host *h)
{
        struct at arr = dec_array(d, status, "domains");

        h->domains = dec_alloc(d, json_count(arr.j), sizeof(*h->domains));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                h->domains[h->ndomains++] = (struct host_domain){
                        .uid = dec_str(d, &el, "uid", ""),
                        .ns = dec_str(d, &el, "namespace", ""),
                        .name = dec_str(d, &el, "name", ""),
                        .epoch = dec_int(d, &el, "epoch", 0),
                        .migration = dec_str(d, &el, "migration", ""),
                        .state = domain_state_parse(dec_str(d, &el, "state", "")),
                        .reason = dec_str(d, &el, "reason", ""),
                        .addresses = dec_strs(d, &el, "addresses"),
                        .restarted_at = dec_str(d, &el, "restartedAt", ""),
                        .restored = dec_str(d, &el, "restored", ""),
                        .cores = dec_int(d, &el, "cores", 0),
                        .memory = dec_int(d, &el, "memory", 0),
                        .machine = dec_str(d, &el, "machine", ""),
                        .claims = sharing_parse(dec_str(d, &el, "claims", "")),
                        .claims_reason = dec_str(d, &el, "claimsReason", ""),
                        .retries = dec_int(d, &el, "retries", 0),
                };
        }
}

static void decode_prepared(struct dec *d, const struct at *status, struct host *h)
{
        struct at arr = dec_array(d, status, "prepared");

        h->prepared = dec_alloc(d, json_count(arr.j), sizeof(*h->prepared));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                h->prepared[h->nprepared++] = (struct host_prepared){
                        .migration = dec_str(d, &el, "migration", ""),
                        .refused = dec_str(d, &el, "refused", ""),
                };
        }
}

static void decode_status(struct dec *d, const struct at *root, struct host *h)
{
        struct at status = dec_object(d, root, "status");

        decode_capacity(d, &status, h);
        h->cpu_models = dec_strs(d, &status, "cpuModels");
        h->bridges = dec_strs(d, &status, "bridges");
        h->machine_types = dec_strs(d, &status, "machineTypes");
        h->qemu_version = dec_str(d, &status, "qemuVersion", "");
        h->libvirt_version = dec_str(d, &status, "libvirtVersion", "");
        h->virt_type = dec_str(d, &status, "virtType", "");
        h->migration_address = dec_str(d, &status, "migrationAddress", "");
        h->libvirt_uri = dec_str(d, &status, "libvirtURI", "");
        h->cannot_receive = dec_str(d, &status, "cannotReceive", "");
        h->resolve_ms = dec_int(d, &status, "resolveMs", -1);
        decode_mounts(d, &status, h);
        decode_domains(d, &status, h);
        decode_prepared(d, &status, h);
        dec_conditions(d, &status, "conditions", &h->conditions);
        h->outbound = dec_int(d, &status, "outbound", 0);
        h->inbound = dec_int(d, &status, "inbound", 0);
}

int host_decode(const struct json *j, struct host **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct host *h = dec_begin(&d, j, sizeof(*h), &root, e);

        if (h) {
                h->arena = d.a;
                dec_meta(&d, &root, &h->meta);
                decode_status(&d, &root, h);
        }
        return dec_end(&d, h, out);
}
