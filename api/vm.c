#include "api/decode.h"

#include <string.h>

#define DEFAULT_DOWNTIME_MS 300
#define DEFAULT_COMPLETION  800

static void decode_disk(struct dec *d, const struct at *el, struct vm_disk *out)
{
        struct at image = dec_object(d, el, "image");
        struct at blank = dec_object(d, el, "blank");
        struct at claim = dec_object(d, el, "persistentVolumeClaim");
        const struct at *sized = image.j ? &image : claim.j ? &claim : &blank;

        *out = (struct vm_disk){
                .name = dec_str(d, el, "name", ""),
                .pool = dec_str(d, el, "pool", "default"),
                .image = dec_str(d, &image, "name", ""),
                .size = dec_quantity(d, sized, "size"),
                .claim = dec_str(d, &claim, "claimName", ""),
                .full = !strcmp(dec_str(d, &image, "clone", ""), "Full"),
                .retain = !strcmp(dec_str(d, el, "reclaimPolicy", ""), "Retain"),
                .kind = DISK_BAD,
        };
        if ((image.j != NULL) + (blank.j != NULL) + (claim.j != NULL) == 1)
                out->kind = image.j ? DISK_IMAGE : blank.j ? DISK_BLANK : DISK_PVC;
}

static void decode_disks(struct dec *d, const struct at *spec, struct vm *vm)
{
        struct at arr = dec_array(d, spec, "disks");

        vm->spec.disks = dec_alloc(d, json_count(arr.j), sizeof(*vm->spec.disks));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                decode_disk(d, &el, &vm->spec.disks[vm->spec.ndisks++]);
        }
}

static void decode_networks(struct dec *d, const struct at *spec, struct vm *vm)
{
        struct at arr = dec_array(d, spec, "networks");

        vm->spec.networks = dec_alloc(d, json_count(arr.j), sizeof(*vm->spec.networks));
        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                vm->spec.networks[vm->spec.nnetworks++] = (struct vm_network){
                        .name = dec_str(d, &el, "name", ""),
                        .bridge = dec_str(d, &el, "bridge", "br0"),
                        .mac = dec_str(d, &el, "mac", ""),
                        .model = dec_str(d, &el, "model", "virtio"),
                };
        }
}

static struct tolerations tolerations(struct dec *d, const struct at *spec)
{
        struct at arr = dec_array(d, spec, "tolerations");
        struct tolerations out = {.v = dec_alloc(d, json_count(arr.j), sizeof(*out.v))};

        dec_each(d, &arr, el)
        {
                dec_element(d, &el);
                out.v[out.n++] = (struct toleration){
                        .key = dec_str(d, &el, "key", ""),
                        .op = dec_str(d, &el, "operator", ""),
                        .value = dec_str(d, &el, "value", ""),
                        .effect = dec_str(d, &el, "effect", ""),
                        .seconds = dec_int(d, &el, "tolerationSeconds", -1),
                };
        }
        return out;
}

static void decode_placement(struct dec *d, const struct at *spec, struct placement *out)
{
        struct at affinity = dec_object(d, spec, "affinity");
        struct at node = dec_object(d, &affinity, "nodeAffinity");
        struct at required = dec_object(d, &node, "requiredDuringSchedulingIgnoredDuringExecution");
        struct at spread = dec_array(d, spec, "topologySpreadConstraints");

        *out = (struct placement){
                .node_name = dec_str(d, spec, "nodeName", ""),
                .node_selector = dec_kvs(d, spec, "nodeSelector"),
                .has_required = required.j,
                .tolerations = tolerations(d, spec),
                .affinity_json = dec_text(d, spec, "affinity"),
                .tolerations_json = dec_text(d, spec, "tolerations"),
                .spread_json = dec_text(d, spread.up, "topologySpreadConstraints"),
                .priority_class = dec_str(d, spec, "priorityClassName", ""),
        };
        dec_node_selector(d, &required, &out->required);
}

static void decode_migration(struct dec *d, const struct at *spec, struct vm *vm)
{
        struct at at = dec_object(d, spec, "migration");

        vm->spec.handover_text = dec_str(d, &at, "handover", "");
        vm->spec.on_timeout_text = dec_str(d, &at, "onTimeout", "");
        vm->spec.storage_text = dec_str(d, &at, "storage", "");
        vm->spec.migration = (struct vm_migration_policy){
                .max_downtime_ms = dec_int(d, &at, "maxDowntimeMs", DEFAULT_DOWNTIME_MS),
                .bandwidth_mibps = dec_int(d, &at, "bandwidthMiBps", 0),
                .completion_timeout_s_per_gib =
                        dec_int(d, &at, "completionTimeoutSecondsPerGiB", DEFAULT_COMPLETION),
                .auto_converge = dec_bool(d, &at, "autoConverge", true),
                .post_copy = dec_bool(d, &at, "postCopy", false),
                .on_timeout = on_timeout_parse(vm->spec.on_timeout_text),
                .handover = handover_parse(vm->spec.handover_text),
                .storage = storage_move_parse(vm->spec.storage_text),
        };
}

static struct vm_restore decode_restore(struct dec *d, const struct at *up, const char *key)
{
        struct at at = dec_object(d, up, key);

        return (struct vm_restore){
                .snapshot = dec_str(d, &at, "snapshot", ""),
                .requested_at = dec_str(d, &at, "requestedAt", ""),
        };
}

static void decode_spec(struct dec *d, const struct at *root, struct vm *vm)
{
        struct at spec = dec_object(d, root, "spec");
        struct at cpu = dec_object(d, &spec, "cpu");
        struct at memory = dec_object(d, &spec, "memory");
        struct at init = dec_object(d, &spec, "cloudInit");

        vm->spec.run_text = dec_str(d, &spec, "runStrategy", "");
        vm->spec.run = run_strategy_parse(vm->spec.run_text);
        vm->spec.restarted_at = dec_str(d, &spec, "restartedAt", "");
        vm->spec.restore = decode_restore(d, &spec, "restore");
        vm->spec.stop_grace_s =
                dec_int(d, &spec, "terminationGracePeriodSeconds", VM_GRACE_DEFAULT);
        vm->spec.shape.cores = dec_int(d, &cpu, "cores", 1);
        vm->spec.shape.cpu_model = dec_str(d, &cpu, "model", "");
        vm->spec.shape.memory = dec_quantity(d, &memory, "guest");
        vm->spec.shape.huge_pages = dec_str(d, &memory, "hugePages", "");
        decode_disks(d, &spec, vm);
        decode_networks(d, &spec, vm);
        vm->spec.user_data = dec_str(d, &init, "userData", "");
        vm->spec.network_data = dec_str(d, &init, "networkData", "");
        vm->spec.ssh_keys = dec_strs(d, &spec, "sshKeys");
        decode_placement(d, &spec, &vm->spec.placement);
        decode_migration(d, &spec, vm);
        vm->spec.eviction_text = dec_str(d, &spec, "evictionStrategy", "");
        vm->spec.eviction = eviction_parse(vm->spec.eviction_text);
}

static struct vm_shape decode_shape(struct dec *d, const struct at *at)
{
        return (struct vm_shape){
                .cores = dec_int(d, at, "cores", 0),
                .cpu_model = dec_str(d, at, "cpuModel", ""),
                .memory = dec_int(d, at, "memory", 0),
                .huge_pages = dec_str(d, at, "hugePages", ""),
        };
}

static void decode_status(struct dec *d, const struct at *root, struct vm *vm)
{
        struct at status = dec_object(d, root, "status");
        struct at wish = dec_object(d, &status, "wish");
        struct at owner = dec_object(d, &status, "owner");
        struct at running = dec_object(d, &status, "running");
        struct at granted = dec_object(d, &status, "granted");
        struct at migration = dec_object(d, &status, "migration");

        vm->status.phase = vm_phase_parse(dec_str(d, &status, "phase", ""));
        vm->status.observed_generation = dec_int(d, &status, "observedGeneration", 0);
        vm->status.wish.placement = dec_str(d, &wish, "placement", "");
        vm->status.wish.changed_us = dec_time(d, &wish, "changedAt");
        vm->status.wish.wavers = dec_bool(d, &wish, "wavers", false);
        vm->status.owner.node = dec_str(d, &owner, "node", "");
        vm->status.owner.epoch = dec_int(d, &owner, "epoch", 0);
        vm->status.storage_node = dec_str(d, &status, "storageNode", "");
        vm->status.pools = dec_kvs(d, &status, "pools");
        vm->status.pod_name = dec_str(d, &status, "podName", "");
        vm->status.addresses = dec_strs(d, &status, "addresses");
        vm->status.has_running = json_first(running.j);
        vm->status.running = decode_shape(d, &running);
        vm->status.restarted_at = dec_str(d, &status, "restartedAt", "");
        vm->status.granted.epoch = dec_int(d, &granted, "epoch", 0);
        vm->status.granted.restarted_at = dec_str(d, &granted, "restartedAt", "");
        vm->status.granted.shape = decode_shape(d, &granted);
        vm->status.restored = decode_restore(d, &status, "restored");
        vm->status.refused = dec_refusals(d, &status, "refused");
        dec_conditions(d, &status, "conditions", &vm->status.conditions);
        vm->status.migration.name = dec_str(d, &migration, "name", "");
        vm->status.migration.phase = dec_str(d, &migration, "phase", "");
        vm->status.migration.target = dec_str(d, &migration, "target", "");
        vm->status.migration.percent = dec_int(d, &migration, "percent", 0);
        vm->status.reason = dec_str(d, &status, "reason", "");
}

int vm_decode(const struct json *j, struct vm **out, struct err *e)
{
        struct at root;
        struct dec d;
        struct vm *vm = dec_begin(&d, j, sizeof(*vm), &root, e);

        if (vm) {
                vm->arena = d.a;
                dec_meta(&d, &root, &vm->meta);
                decode_spec(&d, &root, vm);
                decode_status(&d, &root, vm);
        }
        return dec_end(&d, vm, out);
}
