/* The decoders of all kinds, and the status encoders as their inverse. */
#include "api/codec.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>

#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

static struct vm *vm_of(const char *text)
{
        autojson struct json *j = json_of(text);
        struct vm *vm = NULL;
        struct err e = {0};

        if (vm_decode(j, &vm, &e) < 0)
                fail_msg("%s", e.msg);
        return vm;
}

static void vm_meta_and_shape(void **state)
{
        autojson struct json *j = json_file("vm.json");
        struct vm *vm;

        (void)state;
        assert_int_equal(vm_decode(j, &vm, NULL), 0);
        assert_string_equal(vm->meta.name, "web-1");
        assert_string_equal(vm->meta.ns, "shop");
        assert_string_equal(vm->meta.uid, "0d3c8f8e-6a0f-4c86-9f0a-5b6a3f2f7c11");
        assert_string_equal(vm->meta.rv, "4711");
        assert_int_equal(vm->meta.generation, 3);
        assert_int_equal(vm->meta.created_us, 1767323045000000);
        assert_true(vm->meta.deleting);
        assert_string_equal(kvs_get(&vm->meta.labels, "app"), "web");
        assert_string_equal(kvs_get(&vm->meta.labels, "tier"), "");
        assert_string_equal(kvs_get(&vm->meta.annotations, DROVER_SCHEDULER_ANNOTATION), "second");
        assert_int_equal(vm->meta.finalizers.n, 2);
        assert_string_equal(vm->meta.finalizers.v[1], "example.com/other");
        assert_int_equal(vm->spec.run, RUN_RERUN_ON_FAILURE);
        assert_string_equal(vm->spec.run_text, "RerunOnFailure");
        assert_string_equal(vm->spec.restarted_at, "2026-01-02T00:00:00Z");
        assert_string_equal(vm->spec.restore.snapshot, "before");
        assert_string_equal(vm->spec.restore.requested_at, "later");
        assert_string_equal(vm->status.restored.snapshot, "before");
        assert_string_equal(vm->status.restored.requested_at, "once");
        assert_int_equal(vm->spec.stop_grace_s, 120);
        assert_int_equal(vm->spec.shape.cores, 4);
        assert_string_equal(vm->spec.shape.cpu_model, "EPYC-Milan-v1");
        assert_int_equal(vm->spec.shape.memory, 2LL << 30);
        assert_string_equal(vm->spec.shape.huge_pages, "2Mi");
        assert_string_equal(vm->spec.user_data, "#cloud-config\n");
        assert_string_equal(vm->spec.network_data, "version: 2\n");
        assert_int_equal(vm->spec.ssh_keys.n, 1);
        assert_string_equal(vm->spec.ssh_keys.v[0], "ssh-ed25519 AAAA me@example.com");
        assert_int_equal(vm->spec.eviction, EVICTION_NONE);
        assert_string_equal(vm->spec.eviction_text, "None");
        assert_int_equal(vm->spec.migration.max_downtime_ms, 150);
        assert_int_equal(vm->spec.migration.bandwidth_mibps, 100);
        assert_int_equal(vm->spec.migration.completion_timeout_s_per_gib, 60);
        assert_false(vm->spec.migration.auto_converge);
        assert_true(vm->spec.migration.post_copy);
        assert_int_equal(vm->spec.migration.handover, HANDOVER_FAST);
        assert_string_equal(vm->spec.handover_text, "Fast");
        assert_int_equal(vm->spec.migration.storage, STORAGE_COPY);
        assert_string_equal(vm->status.storage_node, "node-2");
        assert_string_equal(kvs_get(&vm->status.pools, "fast"), "fedcba9876543210");
        vm_free(vm);
}

static void vm_devices(void **state)
{
        autojson struct json *j = json_file("vm.json");
        struct vm *vm;

        (void)state;
        assert_int_equal(vm_decode(j, &vm, NULL), 0);
        assert_int_equal(vm->spec.ndisks, 3);
        const struct vm_disk *d = vm->spec.disks;
        assert_int_equal(d[0].kind, DISK_IMAGE);
        assert_string_equal(d[0].name, "root");
        assert_string_equal(d[0].image, "debian-12");
        assert_int_equal(d[0].size, 20000000000);
        assert_string_equal(d[0].pool, "fast");
        assert_int_equal(d[1].kind, DISK_BLANK);
        assert_int_equal(d[1].size, 3LL << 29);
        assert_string_equal(d[1].pool, "default");
        assert_int_equal(d[2].kind, DISK_PVC);
        assert_string_equal(d[2].claim, "data-web-1");
        assert_int_equal(d[2].size, 1LL << 30);
        assert_int_equal(vm->spec.nnetworks, 2);
        const struct vm_network *n = vm->spec.networks;
        assert_string_equal(n[0].bridge, "br-lan");
        assert_string_equal(n[0].mac, "52:54:00:12:34:56");
        assert_string_equal(n[0].model, "e1000e");
        assert_string_equal(n[1].name, "san");
        assert_string_equal(n[1].bridge, "br0");
        assert_string_equal(n[1].mac, "");
        assert_string_equal(n[1].model, "virtio");
        vm_free(vm);
}

static void check_node_affinity(const struct placement *p)
{
        const struct selector_term *t = p->required.v;

        assert_true(p->has_required);
        assert_int_equal(p->required.n, 2);
        assert_int_equal(t[0].exprs.n, 2);
        assert_string_equal(t[0].exprs.v[0].key, "rack");
        assert_int_equal(t[0].exprs.v[0].op, OP_IN);
        assert_int_equal(t[0].exprs.v[0].values.n, 2);
        assert_string_equal(t[0].exprs.v[0].values.v[1], "r2");
        assert_int_equal(t[0].exprs.v[1].op, OP_GT);
        assert_int_equal(t[0].fields.n, 1);
        assert_string_equal(t[0].fields.v[0].key, "metadata.name");
        assert_int_equal(t[0].fields.v[0].op, OP_NOT_IN);
        assert_int_equal(t[1].exprs.n, 1);
        assert_int_equal(t[1].exprs.v[0].op, OP_EXISTS);
        assert_int_equal(t[1].exprs.v[0].values.n, 0);
        assert_int_equal(t[1].fields.n, 0);
}

static void vm_placement(void **state)
{
        autojson struct json *j = json_file("vm.json");
        struct vm *vm;

        (void)state;
        assert_int_equal(vm_decode(j, &vm, NULL), 0);
        const struct placement *p = &vm->spec.placement;
        assert_string_equal(p->node_name, "node-7");
        assert_string_equal(kvs_get(&p->node_selector, "zone"), "a");
        check_node_affinity(p);
        assert_int_equal(p->tolerations.n, 2);
        assert_string_equal(p->tolerations.v[0].value, "vms");
        assert_int_equal(p->tolerations.v[0].seconds, -1);
        assert_string_equal(p->tolerations.v[1].key, "");
        assert_string_equal(p->tolerations.v[1].op, "Exists");
        assert_int_equal(p->tolerations.v[1].seconds, 60);
        assert_string_equal(p->priority_class, "high");
        vm_free(vm);
}

/* What the scheduler alone looks at. */
static void vm_wishes(void **state)
{
        autojson struct json *j = json_file("vm.json");
        struct wishes *w;

        (void)state;
        assert_int_equal(wishes_decode(j, &w, NULL), 0);
        assert_int_equal(w->npreferred, 1);
        assert_int_equal(w->preferred[0].weight, 5);
        assert_int_equal(w->preferred[0].term.exprs.v[0].op, OP_DOES_NOT_EXIST);
        assert_int_equal(w->near.nrequired, 1);
        const struct pod_term *near = &w->near.required[0];
        assert_string_equal(near->topology_key, "zone");
        assert_true(near->has_selector);
        assert_string_equal(kvs_get(&near->selector.match_labels, "app"), "db");
        assert_int_equal(near->namespaces.n, 2);
        assert_string_equal(kvs_get(&near->namespace_selector.match_labels, "team"), "shop");
        assert_string_equal(near->match_keys.v[0], "version");
        assert_string_equal(near->mismatch_keys.v[0], "tenant");
        assert_int_equal(w->near.npreferred, 1);
        assert_int_equal(w->near.preferred[0].weight, 7);
        assert_string_equal(w->near.preferred[0].term.topology_key, "rack");
        assert_false(w->near.preferred[0].term.has_selector);
        assert_int_equal(w->apart.nrequired, 1);
        assert_int_equal(w->apart.required[0].selector.exprs.v[0].op, OP_NOT_IN);
        assert_int_equal(w->nspread, 2);
        const struct spread *s = &w->spread[0];
        assert_int_equal(s->max_skew, 1);
        assert_string_equal(s->topology_key, "zone");
        assert_string_equal(s->unsatisfiable, "DoNotSchedule");
        assert_true(s->has_min_domains);
        assert_int_equal(s->min_domains, 3);
        assert_string_equal(s->affinity_policy, "Honor");
        assert_string_equal(s->taints_policy, "Ignore");
        assert_string_equal(kvs_get(&s->selector.match_labels, "app"), "web");
        assert_string_equal(s->match_keys.v[0], "version");
        assert_false(w->spread[1].has_min_domains);
        assert_false(w->spread[1].has_selector);
        assert_string_equal(w->spread[1].affinity_policy, "");
        wishes_free(w);
        wishes_free(NULL);
}

static void bad_wishes(void **state)
{
        static const struct {
                const char *spec, *message;
        } ROWS[] = {
                {"{'affinity': {'podAffinity': []}}", "spec.affinity.podAffinity: not an object"},
                {"{'affinity': {'podAntiAffinity': {'" PREFERRED "': [{'weight': '1'}]}}}",
                 "spec.affinity.podAntiAffinity." PREFERRED "[0].weight: not an integer"},
                {"{'affinity': {'podAffinity': {'" PREFERRED "': [{'podAffinityTerm': 1}]}}}",
                 "spec.affinity.podAffinity." PREFERRED "[0].podAffinityTerm: not an object"},
                {"{'affinity': {'nodeAffinity': {'" PREFERRED "': [7]}}}",
                 "spec.affinity.nodeAffinity." PREFERRED "[0]: not an object"},
                {"{'topologySpreadConstraints': [{'minDomains': true}]}",
                 "spec.topologySpreadConstraints[0].minDomains: not an integer"},
                {"{'topologySpreadConstraints': [{'matchLabelKeys': [1]}]}",
                 "spec.topologySpreadConstraints[0].matchLabelKeys[0]: not a string"},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autobuf struct buf b = buf_new(TEXT_MAX);
                struct wishes *w = NULL;
                struct err e = {0};

                buf_addf(&b, "{'spec': %s}", ROWS[i].spec);
                autojson struct json *j = json_of(buf_str(&b));
                assert_int_equal(wishes_decode(j, &w, &e), -EINVAL);
                assert_string_equal(e.msg, ROWS[i].message);
                assert_null(w);
        }
}

/* What is copied to pods is all that was written, whatever of it is understood. */
static void vm_placement_texts(void **state)
{
        autojson struct json *j = json_file("vm.json");
        const struct json *spec = json_get(j, "spec");
        struct vm *vm;

        (void)state;
        assert_int_equal(vm_decode(j, &vm, NULL), 0);
        autojson struct json *affinity = json_of(vm->spec.placement.affinity_json);
        autojson struct json *tolerations = json_of(vm->spec.placement.tolerations_json);
        autojson struct json *spread = json_of(vm->spec.placement.spread_json);
        assert_json_equal(affinity, json_get(spec, "affinity"));
        assert_json_equal(tolerations, json_get(spec, "tolerations"));
        assert_json_equal(spread, json_get(spec, "topologySpreadConstraints"));
        vm_free(vm);
}

static void vm_defaults(void **state)
{
        struct vm *vm = vm_of("{}");

        (void)state;
        assert_string_equal(vm->meta.name, "");
        assert_false(vm->meta.deleting);
        assert_int_equal(vm->spec.run, RUN_ALWAYS);
        assert_string_equal(vm->spec.run_text, "");
        assert_int_equal(vm->spec.shape.cores, 1);
        assert_string_equal(vm->spec.shape.cpu_model, "");
        assert_int_equal(vm->spec.shape.memory, 0);
        assert_int_equal(vm->spec.ndisks, 0);
        assert_int_equal(vm->spec.migration.max_downtime_ms, 300);
        assert_int_equal(vm->spec.migration.bandwidth_mibps, 0);
        assert_int_equal(vm->spec.migration.completion_timeout_s_per_gib, 800);
        assert_true(vm->spec.migration.auto_converge);
        assert_false(vm->spec.migration.post_copy);
        assert_int_equal(vm->spec.migration.handover, HANDOVER_PROVEN);
        assert_int_equal(vm->spec.eviction, EVICTION_LIVE_MIGRATE);
        assert_int_equal(vm->spec.stop_grace_s, VM_GRACE_DEFAULT);
        assert_string_equal(vm->spec.placement.affinity_json, "");
        assert_string_equal(vm->spec.placement.tolerations_json, "");
        assert_string_equal(vm->spec.placement.spread_json, "");
        assert_false(vm->spec.placement.has_required);
        assert_int_equal(vm->status.phase, VM_PENDING);
        assert_string_equal(vm->status.owner.node, "");
        assert_int_equal(vm->status.owner.epoch, 0);
        assert_false(vm->status.has_running);
        vm_free(vm);
}

/* Wishes alone leave no requirement; an empty requirement is one, which nothing meets. */
static void vm_required_or_not(void **state)
{
        struct vm *vm = vm_of("{'spec': {'affinity': {'nodeAffinity':"
                              "{'preferredDuringSchedulingIgnoredDuringExecution': []}}}}");

        (void)state;
        assert_false(vm->spec.placement.has_required);
        vm_free(vm);
        vm = vm_of("{'spec': {'affinity': {'nodeAffinity':"
                   "{'requiredDuringSchedulingIgnoredDuringExecution': {}}}}}");
        assert_true(vm->spec.placement.has_required);
        assert_int_equal(vm->spec.placement.required.n, 0);
        vm_free(vm);
}

/* What is merely wrong stays visible for admission. */
static void vm_wrong_values(void **state)
{
        struct vm *vm = vm_of(
                "{'spec': {'runStrategy': 'Sometimes', 'evictionStrategy': 'Shutdown',"
                "'memory': {'guest': '-1Gi', 'hugePages': '3Mi'}, 'cpu': {'cores': -2},"
                "'migration': {'handover': 'Quick'},"
                "'disks': [{'name': 'a'}, {'name': 'b', 'image': {}, 'blank': {}},"
                "          {'image': {}, 'blank': null}],"
                "'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution':"
                "{'nodeSelectorTerms': [{'matchExpressions':"
                "[{'key': 'a', 'operator': 'Near', 'values': ['b']}]}]}}}}}");

        (void)state;
        assert_int_equal(vm->spec.run, RUN_BAD);
        assert_string_equal(vm->spec.run_text, "Sometimes");
        assert_int_equal(vm->spec.eviction, EVICTION_BAD);
        assert_string_equal(vm->spec.eviction_text, "Shutdown");
        assert_int_equal(vm->spec.shape.memory, -(1LL << 30));
        assert_int_equal(vm->spec.shape.cores, -2);
        assert_int_equal(vm->spec.migration.handover, HANDOVER_BAD);
        assert_string_equal(vm->spec.handover_text, "Quick");
        assert_int_equal(vm->spec.disks[0].kind, DISK_BAD);
        assert_int_equal(vm->spec.disks[1].kind, DISK_BAD);
        assert_int_equal(vm->spec.disks[2].kind, DISK_IMAGE);
        const struct requirement *r = vm->spec.placement.required.v[0].exprs.v;
        assert_int_equal(r->op, OP_BAD);
        assert_string_equal(r->op_text, "Near");
        vm_free(vm);
}

static void vm_quantities_as_numbers(void **state)
{
        struct vm *vm = vm_of("{'spec': {'memory': {'guest': 1073741824}}}");

        (void)state;
        assert_int_equal(vm->spec.shape.memory, 1LL << 30);
        vm_free(vm);
}

/* A whole copy of the object in an annotation is not kept in memory. */
static void bulk_is_left_out(void **state)
{
        struct vm *vm = vm_of("{'metadata': {'annotations': {'a': '1',"
                              "'kubectl.kubernetes.io/last-applied-configuration': '{}', 'b': '2'},"
                              "'managedFields': [7]}}");

        (void)state;
        assert_int_equal(vm->meta.annotations.n, 2);
        assert_string_equal(kvs_get(&vm->meta.annotations, "b"), "2");
        vm_free(vm);
}

typedef int (*decoder)(const struct json *j, void **out, struct err *e);
typedef void (*releaser)(void *object);

/* Both decoders of a VM: together they read all of its spec. */
static int vm_and_wishes(const struct json *j, void **out, struct err *e)
{
        struct wishes *w;
        struct vm *vm;
        int rc = vm_decode(j, &vm, e);

        if (rc < 0)
                return rc;
        rc = wishes_decode(j, &w, e);
        if (rc < 0) {
                vm_free(vm);
                return rc;
        }
        wishes_free(w);
        *out = vm;
        return 0;
}

static const struct kind {
        const char *file;
        decoder decode;
        releaser release;
} KINDS[] = {
        {"vm.json", vm_and_wishes, vm_free},
        {"host.json", host_decode_any, host_free},
        {"migration.json", migration_decode_any, migration_free},
        {"node.json", node_decode_any, node_free},
        {"pod.json", pod_decode_any, pod_free},
        {"image.json", image_decode_any, image_free},
        {"snapshot.json", snapshot_decode_any, snapshot_free},
};

static void refused(const struct kind *k, const char *text, const char *message)
{
        autojson struct json *j = json_of(text);
        void *out = (void *)0x77;
        struct err e = {0};

        if (k->decode(j, &out, &e) != -EINVAL || strcmp(e.msg, message) != 0)
                fail_msg("%s: \"%s\", not \"%s\"", text, e.msg, message);
        assert_int_equal(e.code, -EINVAL);
        assert_ptr_equal(out, (void *)0x77); /* untouched on failure */
}

static void messages(void **state)
{
        const struct kind *vm = &KINDS[0], *host = &KINDS[1], *pod = &KINDS[4];

        (void)state;
        refused(vm, "[]", "not an object");
        refused(vm, "{'spec': 3}", "spec: not an object");
        refused(vm, "{'spec': {'memory': {'guest': 'much'}}}", "spec.memory.guest: not a quantity");
        refused(vm, "{'spec': {'memory': {'guest': 1.5}}}", "spec.memory.guest: not a quantity");
        refused(vm, "{'spec': {'memory': {'guest': '9Ei'}}}",
                "spec.memory.guest: quantity out of range");
        refused(vm, "{'spec': {'cpu': {'cores': '4'}}}", "spec.cpu.cores: not an integer");
        refused(vm, "{'spec': {'cpu': {'cores': 4.5}}}", "spec.cpu.cores: not an integer");
        refused(vm, "{'spec': {'cpu': {'cores': 1e300}}}", "spec.cpu.cores: not an integer");
        refused(vm, "{'spec': {'migration': {'postCopy': 'yes'}}}",
                "spec.migration.postCopy: not true or false");
        refused(vm, "{'spec': {'disks': [{}, {'name': 4}]}}", "spec.disks[1].name: not a string");
        refused(vm, "{'spec': {'disks': [{}, 'root']}}", "spec.disks[1]: not an object");
        refused(vm, "{'spec': {'disks': {}}}", "spec.disks: not a list");
        refused(vm, "{'spec': {'sshKeys': ['a', null]}}", "spec.sshKeys[1]: not a string");
        refused(vm, "{'spec': {'nodeSelector': {'a/b': true}}}",
                "spec.nodeSelector.a/b: not a string");
        refused(vm,
                "{'spec': {'affinity': {'nodeAffinity':"
                "{'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms':"
                "[{}, {'matchExpressions': [{'key': 'a', 'operator': 'In', 'values': [1]}]}]}}}}}",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
                ".nodeSelectorTerms[1].matchExpressions[0].values[0]: not a string");
        refused(host, "{'status': {'mounts': [{'freeBytes': true}]}}",
                "status.mounts[0].freeBytes: not an integer");
        refused(pod, "{'metadata': {'labels': []}}", "metadata.labels: not an object");
}

/* Names of members come from outside too. */
static void long_paths_are_cut(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct err e = {0};
        void *out;

        (void)state;
        buf_adds(&b, "{'spec':{'nodeSelector':{'");
        for (int i = 0; i < 3000; i++)
                buf_adds(&b, "k");
        assert_int_equal(buf_adds(&b, "': 1}}}"), 0);
        autojson struct json *j = json_of(b.data);
        assert_int_equal(vm_decode_any(j, &out, &e), -EINVAL);
        assert_true(strlen(e.msg) < 300);
        assert_memory_equal(e.msg, "spec.nodeSelector.kkkk", 22);
        assert_non_null(strstr(e.msg, "kk: not a string"));
}

/* Parts that are not kept may hold anything. */
static bool unread(const char *path)
{
        return strcmp(path, "apiVersion") == 0 || strcmp(path, "kind") == 0 ||
               strstr(path, ".ignored");
}

static const char *wrong_type(struct json *obj, const char *key)
{
        bool list = json_type(json_get(obj, key)) == JSON_ARRAY;

        return json_set(obj, key, list ? json_new_string("x") : json_new_array()) ? key : NULL;
}

static void try_wrong(const struct kind *k, const struct json *root, const char *path)
{
        void *out = NULL;
        struct err e = {0};
        size_t n = strlen(path);

        int rc = k->decode(root, &out, &e);
        if (rc == 0)
                k->release(out);
        if (unread(path))
                assert_int_equal(rc, 0);
        else if (rc != -EINVAL || strncmp(e.msg, path, n) != 0 ||
                 strncmp(e.msg + n, ": not ", 6) != 0)
                fail_msg("%s: wrong type at %s: %d \"%s\"", k->file, path, rc, e.msg);
}

static void try_null(const struct kind *k, const struct json *root, const char *path)
{
        void *out = NULL;
        struct err e = {0};
        const char *at = strstr(path, "labels.");

        /* an absent member is fine everywhere, a null in a map of strings is not */
        int rc = k->decode(root, &out, &e);
        if (rc == 0)
                k->release(out);
        if (!at && !strstr(path, "annotations.") && !strstr(path, "nodeSelector.") &&
            !strstr(path, "matchLabels.") && !strstr(path, "status.pools.") && rc != 0)
                fail_msg("%s: null at %s: %d \"%s\"", k->file, path, rc, e.msg);
}

/* Each member of the fixture in turn, at any depth, gets a wrong type, then a null. */
static size_t spoil(const struct kind *k, struct json *root, struct json *obj, const char *path)
{
        size_t n = json_type(obj) == JSON_OBJECT ? json_count(obj) : 0, spoilt = 0;
        char below[1000], key[300];

        for (size_t i = 0; i < n; i++) {
                const struct json *c = json_first(obj);
                for (size_t skip = 0; skip < i; skip++)
                        c = json_next(c);
                snprintf(key, sizeof(key), "%s", json_key(c));
                snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", key);
                struct json *keep = json_clone(c);
                assert_non_null(wrong_type(obj, key));
                try_wrong(k, root, below);
                assert_non_null(json_set(obj, key, json_new_null()));
                try_null(k, root, below);
                assert_non_null(json_set(obj, key, keep));
                spoilt += 1 + spoil(k, root, keep, below);
                size_t at = 0;
                for (const struct json *el = json_first(keep); el && json_type(keep) == JSON_ARRAY;
                     el = json_next(el), at++) {
                        snprintf(below, sizeof(below), "%s%s%s[%zu]", path, *path ? "." : "", key,
                                 at);
                        spoilt += spoil(k, root, (struct json *)(uintptr_t)el, below);
                }
        }
        return spoilt;
}

static void every_type_is_checked(void **state)
{
        size_t spoilt = 0;

        (void)state;
        for (size_t i = 0; i < countof(KINDS); i++) {
                autojson struct json *j = json_file(KINDS[i].file);
                autojson struct json *before = json_clone(j);
                spoilt += spoil(&KINDS[i], j, j, "");
                assert_json_equal(j, before);
        }
        assert_true(spoilt > 200);
}

/* Objects of other kinds, and shapes nobody sends. */
static void hostile(void **state)
{
        static const char *const TEXTS[] = {
                "null", "true", "7", "'x'", "[]", "[{}]", "[[[[]]]]",
        };
        void *out;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(KINDS); i++) {
                for (size_t k = 0; k < countof(TEXTS); k++) {
                        autojson struct json *j = json_of(TEXTS[k]);
                        assert_int_equal(KINDS[i].decode(j, &out, &e), -EINVAL);
                        assert_int_equal(KINDS[i].decode(j, &out, NULL), -EINVAL);
                }
                assert_int_equal(KINDS[i].decode(NULL, &out, &e), -EINVAL);
                for (size_t k = 0; k < countof(KINDS); k++) { /* must not crash */
                        autojson struct json *j = json_file(KINDS[k].file);
                        if (KINDS[i].decode(j, &out, &e) == 0)
                                KINDS[i].release(out);
                }
                KINDS[i].release(NULL);
        }
}

/* A document within its own bound may still ask for more than an object may take. */
static void too_large(void **state)
{
        enum { N = 200000 };
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct err e = {0};
        void *out;

        (void)state;
        buf_adds(&b, "{'status':{'mounts':[");
        for (int i = 0; i < N; i++)
                buf_adds(&b, i ? ",{}" : "{}");
        assert_int_equal(buf_adds(&b, "]}}"), 0);
        autojson struct json *j = json_of(b.data);
        assert_int_equal(host_decode_any(j, &out, &e), -E2BIG);
        assert_non_null(strstr(e.msg, "16 MiB"));
}

static void no_memory(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(KINDS); i++) {
                autojson struct json *j = json_file(KINDS[i].file);
                unsigned long n;
                for (n = 1; n; n++) {
                        void *out = (void *)0x77;
                        struct err e = {0};
                        oom_arm(n);
                        int rc = KINDS[i].decode(j, &out, &e);
                        if (!oom_disarm()) {
                                assert_int_equal(rc, 0);
                                KINDS[i].release(out);
                                break;
                        }
                        assert_int_equal(rc, -ENOMEM);
                        assert_int_equal(e.code, -ENOMEM);
                        assert_ptr_equal(out, (void *)0x77);
                }
                assert_true(n > 1);
        }
}

/* The message of a type error survives that even the path cannot be made. */
static void no_memory_for_the_path(void **state)
{
        autojson struct json *j = json_of("{'spec': {'disks': 4}}");
        struct err e = {0};
        void *out;

        (void)state;
        oom_arm(2); /* the arena is the first */
        int rc = vm_decode_any(j, &out, &e);
        assert_true(oom_disarm());
        assert_true(rc == -EINVAL || rc == -ENOMEM);
        assert_int_equal(e.code, rc);
}

static void nodes(void **state)
{
        autojson struct json *j = json_file("node.json");
        struct node *n;

        (void)state;
        assert_int_equal(node_decode(j, &n, NULL), 0);
        assert_string_equal(n->meta.name, "node-2");
        assert_string_equal(kvs_get(&n->meta.labels, "kubernetes.io/hostname"), "node-2");
        assert_true(n->unschedulable);
        assert_int_equal(n->ntaints, 2);
        assert_string_equal(n->taints[0].key, "dedicated");
        assert_string_equal(n->taints[0].value, "vms");
        assert_string_equal(n->taints[1].value, "");
        assert_string_equal(n->taints[1].effect, "NoExecute");
        assert_true(condition_true(&n->conditions, "Ready"));
        assert_int_equal(n->addresses.n, 3);
        assert_string_equal(n->addresses.v[0], "10.9.0.2"); /* though written second */
        assert_string_equal(n->addresses.v[1], "node-2");
        assert_string_equal(n->addresses.v[2], "192.0.2.7");
        node_free(n);
}

static struct pod *pod_with_epoch(const char *epoch)
{
        char text[200];
        struct pod *p;

        snprintf(text, sizeof(text),
                 "{'metadata': {'annotations': {'" DROVER_EPOCH_ANNOTATION "': '%s'}}}", epoch);
        autojson struct json *j = json_of(text);
        assert_int_equal(pod_decode(j, &p, NULL), 0);
        return p;
}

static void pods(void **state)
{
        static const char *const NO_EPOCH[] = {
                "", "x", "-1", "+1", " 1", "1 ", "1.5", "0x1", "99999999999999999999", "0",
        };
        autojson struct json *j = json_file("pod.json");
        struct pod *p;

        (void)state;
        assert_int_equal(pod_decode(j, &p, NULL), 0);
        assert_string_equal(p->node, "node-3");
        assert_int_equal(p->phase, POD_RUNNING);
        assert_string_equal(p->service_account, "default");
        assert_string_equal(p->vm, "web-1");
        assert_string_equal(p->vm_uid, "0d3c8f8e-6a0f-4c86-9f0a-5b6a3f2f7c11");
        assert_string_equal(p->migration, "web-1-5-1");
        assert_string_equal(p->placement, "0123456789abcdef");
        assert_int_equal(p->epoch, 6);
        assert_true(pod_alive(p));
        assert_true(condition_true(&p->conditions, DROVER_RUNNING_GATE));
        pod_free(p);
        for (size_t i = 0; i < countof(NO_EPOCH); i++) {
                p = pod_with_epoch(NO_EPOCH[i]);
                assert_int_equal(p->epoch, 0);
                assert_string_equal(p->vm, "");
                assert_string_equal(p->node, "");
                assert_int_equal(p->phase, POD_PENDING);
                pod_free(p);
        }
        p = pod_with_epoch("9223372036854775807");
        assert_int_equal(p->epoch, INT64_MAX);
        pod_free(p);
}

static void images(void **state)
{
        autojson struct json *j = json_file("image.json");
        autojson struct json *bare = json_of("{'spec': {'source': {'file': 'a.img'}}}");
        struct image *i;

        (void)state;
        assert_int_equal(image_decode(j, &i, NULL), 0);
        assert_string_equal(i->url, "https://example.com/debian.qcow2");
        assert_string_equal(i->sha256, "abc");
        assert_string_equal(i->file, "");
        assert_string_equal(i->pool, "fast");
        assert_string_equal(i->phase, "Importing");
        assert_string_equal(i->message, "3 of 7 MiB");
        assert_string_equal(i->importer.node, "node1");
        assert_int_equal(i->importer.epoch, 2);
        assert_int_equal(i->importer.task, IMPORT_REMOVE);
        assert_int_equal(i->progress.epoch, 2);
        assert_int_equal(i->progress.state, IMPORT_IN_USE);
        assert_int_equal(i->progress.bytes_done, 3);
        assert_int_equal(i->progress.bytes_total, 7);
        assert_string_equal(i->progress.message, "a disk");
        autojson struct json *status = image_status_encode(i);
        json_set(status, "progress", image_progress_encode(&i->progress));
        assert_true(json_equal(status, json_get(j, "status")));
        image_free(i);
        assert_int_equal(image_decode(bare, &i, NULL), 0);
        assert_string_equal(i->file, "a.img");
        assert_string_equal(i->url, "");
        assert_string_equal(i->pool, "default");
        assert_string_equal(i->phase, "");
        image_free(i);
}

static void snapshots(void **state)
{
        autojson struct json *j = json_file("snapshot.json");
        autojson struct json *bare = json_of("{'spec': {'vm': 'web'}}");
        struct snapshot *s;

        (void)state;
        assert_int_equal(snapshot_decode(j, &s, NULL), 0);
        assert_string_equal(s->vm, "web");
        assert_int_equal(s->quiesce, QUIESCE_REQUIRED);
        assert_string_equal(s->phase, "Ready");
        assert_string_equal(s->vm_uid, "v-1");
        assert_int_equal(s->taken, 3);
        assert_true(s->made.quiesced && s->made.taken_us);
        assert_int_equal(s->made.ndisks, 2);
        assert_string_equal(s->made.disks[1].name, "data");
        assert_int_equal(s->made.disks[1].size, 8192);
        assert_string_equal(s->worker.node, "node1");
        assert_int_equal(s->worker.epoch, 4);
        assert_int_equal(s->worker.task, SNAP_REMOVE);
        assert_int_equal(s->progress.epoch, 4);
        assert_int_equal(s->progress.state, SNAP_WAITING);
        assert_string_equal(s->progress.message, "a lock");
        assert_int_equal(s->progress.made.ndisks, 1);
        autojson struct json *status = snapshot_status_encode(s);
        json_set(status, "progress", snap_progress_encode(&s->progress));
        assert_true(json_equal(status, json_get(j, "status")));
        snapshot_free(s);
        assert_int_equal(snapshot_decode(bare, &s, NULL), 0);
        assert_int_equal(s->quiesce, QUIESCE_AUTO);
        assert_string_equal(s->phase, "");
        assert_int_equal(s->worker.task, SNAP_TAKE);
        assert_int_equal(s->made.ndisks, 0);
        snapshot_free(s);
}

static void hosts(void **state)
{
        autojson struct json *j = json_file("host.json");
        autojson struct json *bare = json_of("{'metadata': {'name': 'n'}, 'status': {}}");
        struct host *h;

        (void)state;
        assert_int_equal(host_decode(j, &h, NULL), 0);
        assert_int_equal(h->capacity.huge_2mi, 512);
        assert_int_equal(h->capacity.huge_1gi, 8);
        assert_int_equal(h->capacity.cpu_overcommit_percent, 400);
        assert_int_equal(h->mounts[0].health, MOUNT_UNHEALTHY);
        assert_true(h->mounts[0].lock_arbitration);
        assert_int_equal(h->mounts[0].nshared_with, 2);
        const struct host_peer *peer = host_peer_of(&h->mounts[0], "node-1");
        assert_int_equal(peer->state, SHARING_SHARED);
        assert_true(peer->locks);
        peer = host_peer_of(&h->mounts[0], "node-3");
        assert_int_equal(peer->state, SHARING_NOT_SHARED);
        assert_false(peer->locks);
        assert_int_equal(peer->since_us, 1767225601000000);
        assert_string_equal(peer->reason, "its lock is not refused here");
        assert_null(host_peer_of(&h->mounts[0], "node-2"));
        assert_int_equal(h->domains[0].state, DOMAIN_PAUSED);
        assert_int_equal(h->domains[0].epoch, 5);
        host_free(h);
        assert_int_equal(host_decode(bare, &h, NULL), 0);
        assert_int_equal(h->capacity.cpu_overcommit_percent, 100);
        assert_int_equal(h->resolve_ms, -1);
        assert_int_equal(h->nmounts, 0);
        host_free(h);
}

static void migrations(void **state)
{
        autojson struct json *j = json_file("migration.json");
        autojson struct json *bare = json_of("{'spec': {'vm': 'a'}}");
        struct migration *m;

        (void)state;
        assert_int_equal(migration_decode(j, &m, NULL), 0);
        assert_string_equal(m->spec.vm, "web-1");
        assert_string_equal(m->spec.target_node, "node-3");
        assert_int_equal(m->spec.reason, REASON_DRAIN);
        assert_true(m->spec.cancel);
        assert_int_equal(m->status.phase, MIG_SWITCHING);
        assert_int_equal(m->status.handover, HANDOVER_FAST);
        assert_int_equal(m->status.copying_us, 1767323046000002);
        assert_int_equal(m->status.transfer.state, TRANSFER_SWITCHED);
        assert_int_equal(m->status.transfer.ndisks, 1);
        assert_string_equal(m->status.transfer.disks[0].target, "vdb");
        assert_string_equal(m->status.transfer.disks[0].pool, "scratch");
        assert_string_equal(m->status.transfer.disks[0].name, "data");
        assert_int_equal(m->status.transfer.disks[0].size, INT64_C(4) << 30);
        migration_free(m);
        assert_int_equal(migration_decode(bare, &m, NULL), 0);
        assert_int_equal(m->spec.reason, REASON_USER);
        assert_int_equal(m->status.phase, MIG_PENDING);
        assert_int_equal(m->status.handover, HANDOVER_PROVEN);
        assert_int_equal(m->status.transfer.state, TRANSFER_NONE);
        migration_free(m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(vm_meta_and_shape),
                cmocka_unit_test(vm_devices),
                cmocka_unit_test(vm_placement),
                cmocka_unit_test(vm_wishes),
                cmocka_unit_test(bad_wishes),
                cmocka_unit_test(vm_placement_texts),
                cmocka_unit_test(vm_defaults),
                cmocka_unit_test(vm_required_or_not),
                cmocka_unit_test(vm_wrong_values),
                cmocka_unit_test(vm_quantities_as_numbers),
                cmocka_unit_test(bulk_is_left_out),
                cmocka_unit_test(messages),
                cmocka_unit_test(long_paths_are_cut),
                cmocka_unit_test(every_type_is_checked),
                cmocka_unit_test(hostile),
                cmocka_unit_test(too_large),
                cmocka_unit_test(no_memory),
                cmocka_unit_test(no_memory_for_the_path),
                cmocka_unit_test(nodes),
                cmocka_unit_test(pods),
                cmocka_unit_test(images),
                cmocka_unit_test(snapshots),
                cmocka_unit_test(hosts),
                cmocka_unit_test(migrations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
