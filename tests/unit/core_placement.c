#include "core/placement.h"
#include "tests/unit/oom.h"
#include "tests/unit/selector_gen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARENA_MAX ((size_t)16 << 20)
#define ROUNDS    3000

/* A VM and a node that suit each other; each row spoils one thing. */
struct scene {
        struct vm vm;
        struct node node;
        struct vm_disk disks[2];
        struct kv labels[8], wanted[2];
        struct taint taints[3];
        struct toleration tolerations[2];
        struct selector_term terms[3];
        struct requirement r[3];
        const char *values[3];
};

static void set_scene(struct scene *s)
{
        memset(s, 0, sizeof(*s));
        s->labels[0] = (struct kv){"drover.dev/hypervisor", "true"};
        s->labels[1] = (struct kv){"pool.drover.dev/default", "true"};
        s->labels[2] = (struct kv){"cpu-model.drover.dev/EPYC", "true"};
        s->labels[3] = (struct kv){"disktype", "hdd"};
        s->labels[4] = (struct kv){"rank", "4"};
        s->node.meta = (struct meta){.name = "node2", .ns = "", .labels = {s->labels, 5}};
        s->node.taints = s->taints;
        s->disks[0] = (struct vm_disk){.name = "root", .kind = DISK_IMAGE, .pool = "default"};
        s->disks[1] =
                (struct vm_disk){.name = "data", .kind = DISK_PVC, .claim = "c", .pool = "nowhere"};
        s->vm.meta = (struct meta){.name = "web", .ns = "shop"};
        s->vm.spec.disks = s->disks;
        s->vm.spec.ndisks = 2;
        s->vm.spec.shape.cpu_model = "";
        s->vm.status.running.cpu_model = "";
        s->vm.spec.placement = (struct placement){
                .node_name = "",
                .node_selector = {s->wanted, 0},
                .tolerations = {s->tolerations, 0},
                .required = {s->terms, 0},
                .affinity_json = "",
                .tolerations_json = "",
                .spread_json = "",
                .priority_class = "",
        };
}

static void nothing(struct scene *s)
{
        (void)s;
}
static void other_name(struct scene *s)
{
        s->vm.spec.placement.node_name = "node1";
}
static void own_name(struct scene *s)
{
        s->vm.spec.placement.node_name = "node2";
}
static void wants(struct scene *s, const char *key, const char *value)
{
        s->wanted[0] = (struct kv){key, value};
        s->vm.spec.placement.node_selector.n = 1;
}
static void wants_ssd(struct scene *s)
{
        wants(s, "disktype", "ssd");
}
static void wants_hdd(struct scene *s)
{
        wants(s, "disktype", "hdd");
}
static void wants_zone(struct scene *s)
{
        wants(s, "zone", "a");
}
static void affinity(struct scene *s, const char *key, enum selector_op op, size_t n)
{
        s->values[0] = "ssd";
        s->values[1] = "nvme";
        s->r[0] = (struct requirement){key, op, op == OP_BAD ? "Near" : "", {s->values, n}};
        s->terms[0].exprs = (struct requirements){s->r, 1};
        s->vm.spec.placement.required.n = 1;
        s->vm.spec.placement.has_required = true;
}
static void affinity_in(struct scene *s)
{
        affinity(s, "disktype", OP_IN, 2);
}
static void affinity_in_one(struct scene *s)
{
        affinity(s, "disktype", OP_IN, 1);
}
static void affinity_not_in(struct scene *s)
{
        affinity(s, "disktype", OP_NOT_IN, 2);
        s->values[1] = "hdd";
}
static void affinity_exists(struct scene *s)
{
        affinity(s, "zone", OP_EXISTS, 0);
}
static void affinity_not_exists(struct scene *s)
{
        affinity(s, "disktype", OP_DOES_NOT_EXIST, 0);
}
static void affinity_more(struct scene *s)
{
        affinity(s, "rank", OP_GT, 1);
        s->values[0] = "8";
}
static void affinity_less(struct scene *s)
{
        affinity(s, "rank", OP_LT, 1);
        s->values[0] = "4";
}
static void affinity_bad(struct scene *s)
{
        affinity(s, "disktype", OP_BAD, 1);
}
static void affinity_name(struct scene *s)
{
        affinity(s, "metadata.name", OP_NOT_IN, 1);
        s->values[0] = "node2";
        s->terms[0].fields = s->terms[0].exprs;
        s->terms[0].exprs.n = 0;
}
static void affinity_no_term(struct scene *s)
{
        affinity_in(s);
        s->vm.spec.placement.required.n = 0;
}
static void affinity_empty_term(struct scene *s)
{
        affinity_in(s);
        s->terms[0].exprs.n = 0;
}
/* the second term fails in one thing, the first in two, the third says nothing */
static void affinity_nearest(struct scene *s)
{
        affinity_in(s);
        s->r[1] = (struct requirement){"zone", OP_EXISTS, "Exists", {NULL, 0}};
        s->terms[0].exprs.n = 2;
        s->r[2] = s->r[1];
        s->terms[1].exprs = (struct requirements){&s->r[2], 1};
        s->vm.spec.placement.required.n = 3;
}
static void affinity_or(struct scene *s)
{
        affinity_nearest(s);
        s->r[2].op = OP_DOES_NOT_EXIST;
}
static void no_hypervisor(struct scene *s)
{
        s->labels[0].value = "false";
}
static void no_hypervisor_label(struct scene *s)
{
        s->labels[0].key = "some/other";
}
static void cpu_there(struct scene *s)
{
        s->vm.spec.shape.cpu_model = "EPYC";
}
static void cpu_missing(struct scene *s)
{
        s->vm.spec.shape.cpu_model = "Skylake";
}
static void cpu_false(struct scene *s)
{
        cpu_there(s);
        s->labels[2].value = "false";
}
/* what it runs with counts, not what the spec has become */
static void cpu_running(struct scene *s)
{
        cpu_missing(s);
        s->vm.status.has_running = true;
}
static void cpu_running_missing(struct scene *s)
{
        s->vm.status.has_running = true;
        s->vm.status.running.cpu_model = "Skylake";
}
static void pool_missing(struct scene *s)
{
        s->disks[0].pool = "fast";
}
static void pool_false(struct scene *s)
{
        s->labels[1].value = "no";
}
static void taint(struct scene *s, const char *key, const char *value, const char *effect)
{
        s->taints[s->node.ntaints++] = (struct taint){key, value, effect};
}
static void no_execute(struct scene *s)
{
        taint(s, "maintenance", "soon", "NoExecute");
}
static void no_execute_bare(struct scene *s)
{
        taint(s, "maintenance", "", "NoExecute");
}
static void tolerate(struct scene *s, const char *key, const char *op, const char *value,
                     const char *effect)
{
        struct tolerations *t = &s->vm.spec.placement.tolerations;

        t->v[t->n++] = (struct toleration){key, op, value, effect, -1};
}
static void tolerated(struct scene *s)
{
        no_execute(s);
        tolerate(s, "other", "Exists", "", "");
        tolerate(s, "maintenance", "", "soon", "NoExecute");
}
static void unreachable(struct scene *s)
{
        taint(s, "node.kubernetes.io/unreachable", "", "NoSchedule");
        taint(s, "node.kubernetes.io/unreachable", "", "NoExecute");
        no_execute(s);
}
static void not_ready(struct scene *s)
{
        taint(s, "node.kubernetes.io/not-ready", "", "NoExecute");
}
static void no_schedule(struct scene *s)
{
        taint(s, "dedicated", "db", "NoSchedule");
}
static void prefer_no_schedule(struct scene *s)
{
        taint(s, "dedicated", "db", "PreferNoSchedule");
}
static void cordoned(struct scene *s)
{
        s->node.unschedulable = true;
        taint(s, "node.kubernetes.io/unschedulable", "", "NoSchedule");
}
static void cordon_tolerated(struct scene *s)
{
        cordoned(s);
        tolerate(s, "node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule");
}

/* at_start and running: the verdict on a new placement, and on a VM that runs there. */
static const struct row {
        void (*spoil)(struct scene *s);
        enum placement_rule at_start, running;
        const char *message; /* of the first that refuses, after "node2: " */
} rows[] = {
        {nothing, PLACE_OK, PLACE_OK, ""},
        {other_name, PLACE_NODE_NAME, PLACE_NODE_NAME, "spec.nodeName wants node1"},
        {own_name, PLACE_OK, PLACE_OK, ""},
        {wants_ssd, PLACE_NODE_SELECTOR, PLACE_NODE_SELECTOR,
         "label disktype is \"hdd\", spec.nodeSelector wants \"ssd\""},
        {wants_zone, PLACE_NODE_SELECTOR, PLACE_NODE_SELECTOR,
         "has no label zone, spec.nodeSelector wants \"a\""},
        {wants_hdd, PLACE_OK, PLACE_OK, ""},
        {affinity_in, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label disktype is \"hdd\", spec.affinity.nodeAffinity wants one of \"ssd\", \"nvme\""},
        {affinity_in_one, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label disktype is \"hdd\", spec.affinity.nodeAffinity wants \"ssd\""},
        {affinity_not_in, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label disktype is \"hdd\", spec.affinity.nodeAffinity wants none of \"ssd\", \"hdd\""},
        {affinity_exists, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "has no label zone, spec.affinity.nodeAffinity wants it"},
        {affinity_not_exists, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label disktype is \"hdd\", spec.affinity.nodeAffinity wants none"},
        {affinity_more, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label rank is \"4\", spec.affinity.nodeAffinity wants more than \"8\""},
        {affinity_less, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label rank is \"4\", spec.affinity.nodeAffinity wants less than \"4\""},
        {affinity_bad, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "label disktype is \"hdd\", spec.affinity.nodeAffinity wants \"Near\", which is no "
         "operator"},
        {affinity_name, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "the node's name is \"node2\", spec.affinity.nodeAffinity wants none of \"node2\""},
        {affinity_no_term, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "spec.affinity.nodeAffinity has no term that matches any node"},
        {affinity_empty_term, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "spec.affinity.nodeAffinity has no term that matches any node"},
        {affinity_nearest, PLACE_NODE_AFFINITY, PLACE_NODE_AFFINITY,
         "has no label zone, spec.affinity.nodeAffinity wants it (the nearest of 3 terms)"},
        {affinity_or, PLACE_OK, PLACE_OK, ""},
        {no_hypervisor, PLACE_HYPERVISOR, PLACE_HYPERVISOR,
         "is no hypervisor (label drover.dev/hypervisor is not \"true\")"},
        {no_hypervisor_label, PLACE_HYPERVISOR, PLACE_HYPERVISOR,
         "is no hypervisor (label drover.dev/hypervisor is not \"true\")"},
        {cpu_there, PLACE_OK, PLACE_OK, ""},
        {cpu_missing, PLACE_CPU_MODEL, PLACE_CPU_MODEL, "cannot run CPU model Skylake"},
        {cpu_false, PLACE_CPU_MODEL, PLACE_CPU_MODEL, "cannot run CPU model EPYC"},
        {cpu_running, PLACE_OK, PLACE_OK, ""},
        {cpu_running_missing, PLACE_CPU_MODEL, PLACE_CPU_MODEL, "cannot run CPU model Skylake"},
        {pool_missing, PLACE_POOL, PLACE_POOL, "has no storage pool fast, which disk root is in"},
        {pool_false, PLACE_POOL, PLACE_POOL, "has no storage pool default, which disk root is in"},
        {no_execute, PLACE_NO_EXECUTE, PLACE_NO_EXECUTE,
         "taint maintenance=soon:NoExecute is not tolerated"},
        {no_execute_bare, PLACE_NO_EXECUTE, PLACE_NO_EXECUTE,
         "taint maintenance:NoExecute is not tolerated"},
        {tolerated, PLACE_OK, PLACE_OK, ""},
        {unreachable, PLACE_NO_EXECUTE, PLACE_OK,
         "taint node.kubernetes.io/unreachable:NoExecute is not tolerated"},
        {not_ready, PLACE_NO_EXECUTE, PLACE_OK,
         "taint node.kubernetes.io/not-ready:NoExecute is not tolerated"},
        {no_schedule, PLACE_NO_SCHEDULE, PLACE_OK,
         "taint dedicated=db:NoSchedule is not tolerated"},
        {prefer_no_schedule, PLACE_OK, PLACE_OK, ""},
        {cordoned, PLACE_CORDONED, PLACE_OK, "is cordoned"},
        {cordon_tolerated, PLACE_OK, PLACE_OK, ""},
};

/* Whether the selector that the VM's pods get matches the node. */
static bool selected(const struct vm *vm, const struct node *node)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct node_selector *s = NULL;

        assert_int_equal(placement_selector(a, vm, &s), 0);
        assert_non_null(s);
        return node_selector_matches(s, true, &node->meta.labels, node->meta.name);
}

static void check_row(size_t i)
{
        const struct row *r = &rows[i];
        enum placement_rule start, running;
        char first[PLACEMENT_MESSAGE_MAX], second[PLACEMENT_MESSAGE_MAX], want[512];
        struct scene s;

        set_scene(&s);
        r->spoil(&s);
        start = placement_check(&s.vm, &s.node, false, first);
        running = placement_check(&s.vm, &s.node, true, second);
        snprintf(want, sizeof(want), "%s%s", *r->message ? "node2: " : "", r->message);
        if (start != r->at_start || running != r->running || strcmp(first, want) != 0)
                fail_msg("row %zu: %d %d, \"%s\"", i, start, running, first);
        assert_string_equal(second, running == PLACE_OK ? "" : want);
        assert_int_equal(selected(&s.vm, &s.node), start == PLACE_OK || start >= PLACE_NO_EXECUTE);
}

static void rule_rows(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(rows); i++)
                check_row(i);
}

/* The first rule decides, in the order of their numbers. */
static void order_of_rules(void **state)
{
        static void (*const all[])(struct scene *) = {other_name,    wants_ssd,   affinity_in,
                                                      no_hypervisor, cpu_missing, pool_false,
                                                      no_execute,    cordoned,    no_schedule};
        static const enum placement_rule order[] = {
                PLACE_NODE_NAME,  PLACE_NODE_SELECTOR, PLACE_NODE_AFFINITY,
                PLACE_HYPERVISOR, PLACE_CPU_MODEL,     PLACE_POOL,
                PLACE_NO_EXECUTE, PLACE_CORDONED,      PLACE_NO_SCHEDULE};
        char message[PLACEMENT_MESSAGE_MAX];
        struct scene s;

        (void)state;
        for (size_t from = 0; from < countof(all); from++) {
                set_scene(&s);
                for (size_t i = from; i < countof(all); i++)
                        all[i](&s);
                assert_int_equal(placement_check(&s.vm, &s.node, false, message), order[from]);
        }
}

static void long_message_is_cut(void **state)
{
        char key[300], message[PLACEMENT_MESSAGE_MAX];
        struct scene s;

        (void)state;
        for (size_t len = 180; len < sizeof(key); len++) {
                size_t cut;

                set_scene(&s);
                memset(key, 'k', len);
                key[len] = 0;
                wants(&s, key, "x");
                assert_int_equal(placement_check(&s.vm, &s.node, true, message),
                                 PLACE_NODE_SELECTOR);
                cut = strlen(message);
                assert_true(cut < PLACEMENT_MESSAGE_MAX);
                if (len + sizeof("node2: has no label , spec.nodeSelector wants \"x\"") >
                    PLACEMENT_MESSAGE_MAX) {
                        assert_int_equal(cut, PLACEMENT_MESSAGE_MAX - 1);
                        assert_string_equal(message + cut - 3, "...");
                }
        }
}

/* --- selector and judgement agree */

static const char *const LABELS[] = {"a",
                                     "b",
                                     "c",
                                     "d",
                                     "drover.dev/hypervisor",
                                     "cpu-model.drover.dev/M1",
                                     "cpu-model.drover.dev/M2",
                                     "pool.drover.dev/p1",
                                     "pool.drover.dev/p2"};
static const char *const MODELS[] = {"", "", "M1", "M2"};
static const char *const POOLS[] = {"p1", "p2"};

static void random_node(struct arena *a, struct node *n)
{
        *n = (struct node){.meta = {.name = gen_of(GEN_NODES)}};
        n->meta.labels.v = gen_alloc(a, countof(LABELS), sizeof(struct kv));
        for (size_t i = 0; i < countof(LABELS); i++) {
                const char *value = i < 4 ? gen_of(GEN_VALUES) : gen(12) ? "true" : "false";

                if (gen(i < 4 ? 3 : 12))
                        n->meta.labels.v[n->meta.labels.n++] = (struct kv){LABELS[i], value};
        }
}

static void random_vm(struct arena *a, struct vm *vm)
{
        struct placement *p = &vm->spec.placement;

        *vm = (struct vm){.meta = {.name = "web", .ns = "shop"}};
        p->node_name = gen(4) ? "" : gen_of(GEN_NODES);
        p->node_selector.v = gen_alloc(a, 2, sizeof(struct kv));
        p->node_selector.n = gen(4) / 2;
        for (size_t i = 0; i < p->node_selector.n; i++)
                p->node_selector.v[i] = (struct kv){gen_of(GEN_KEYS), gen_of(GEN_VALUES)};
        p->has_required = gen(2);
        if (p->has_required)
                p->required = gen_selector(a, 4);
        vm->spec.shape.cpu_model = gen_of(MODELS);
        vm->status.running.cpu_model = gen_of(MODELS);
        vm->status.has_running = gen(2);
        vm->spec.ndisks = gen(3);
        vm->spec.disks = gen_alloc(a, 3, sizeof(*vm->spec.disks));
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                vm->spec.disks[i] = (struct vm_disk){
                        .name = "d", .kind = (enum disk_kind)gen(DISK_BAD), .pool = gen_of(POOLS)};
}

static void selector_and_check_agree(void **state)
{
        char message[PLACEMENT_MESSAGE_MAX];
        size_t suits = 0;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct arena *a autoarena = arena_new(ARENA_MAX);
                struct node_selector *s;
                struct vm vm;

                random_vm(a, &vm);
                assert_int_equal(placement_selector(a, &vm, &s), 0);
                for (int k = 0; k < 20; k++) {
                        struct node node;
                        enum placement_rule rule;

                        random_node(a, &node);
                        rule = placement_check(&vm, &node, true, message);
                        if (node_selector_matches(s, true, &node.meta.labels, node.meta.name) !=
                            (rule == PLACE_OK))
                                fail_msg("round %d: rule %d, \"%s\"", round, rule, message);
                        assert_int_equal(!*message, rule == PLACE_OK);
                        suits += rule == PLACE_OK;
                }
        }
        assert_true(suits > ROUNDS);
}

static void selector_of_a_plain_vm(void **state)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct node_selector *s;
        struct scene scene;

        (void)state;
        set_scene(&scene);
        own_name(&scene);
        assert_int_equal(placement_selector(a, &scene.vm, &s), 0);
        assert_int_equal(s->n, 1);
        assert_int_equal(s->v[0].exprs.n, 2); /* hypervisor, pool; none for the claim */
        assert_string_equal(s->v[0].exprs.v[0].key, "drover.dev/hypervisor");
        assert_string_equal(s->v[0].exprs.v[1].key, "pool.drover.dev/default");
        assert_int_equal(s->v[0].fields.n, 1);
        assert_string_equal(s->v[0].fields.v[0].key, "metadata.name");
        assert_string_equal(s->v[0].fields.v[0].op_text, "In");
        assert_string_equal(s->v[0].fields.v[0].values.v[0], "node2");
}

static void selector_names_a_pool_once(void **state)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct node_selector *s;
        struct scene scene;

        (void)state;
        set_scene(&scene);
        scene.disks[1] = scene.disks[0];
        assert_int_equal(placement_selector(a, &scene.vm, &s), 0);
        assert_int_equal(s->v[0].exprs.n, 2);
        affinity_in(&scene);
        assert_int_equal(placement_selector(a, &scene.vm, &s), 0);
        assert_int_equal(s->v[0].exprs.n, 3);
}

static void selector_without_memory(void **state)
{
        size_t room;
        int rc = -ENOMEM;

        (void)state;
        for (room = 0; rc == -ENOMEM; room += 16) {
                struct arena *a autoarena = arena_new(room);
                struct node_selector *s = NULL;
                struct scene scene;

                set_scene(&scene);
                own_name(&scene);
                wants_hdd(&scene);
                affinity_or(&scene);
                cpu_there(&scene);
                rc = placement_selector(a, &scene.vm, &s);
                assert_int_equal(rc == 0, s != NULL);
        }
        assert_int_equal(rc, 0);
        assert_true(room > 160);
}

static void selector_too_big(void **state)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct selector_term many[SELECTOR_TERMS_MAX + 1] = {0};
        struct node_selector *s = NULL;
        struct scene scene;

        (void)state;
        set_scene(&scene);
        scene.vm.spec.placement.has_required = true;
        scene.vm.spec.placement.required = (struct node_selector){many, SELECTOR_TERMS_MAX + 1};
        assert_int_equal(placement_selector(a, &scene.vm, &s), -E2BIG);
        assert_null(s);
}

/* --- tolerations */

static void toleration_rows(void **state)
{
        static const struct {
                struct toleration t;
                struct taint taint;
                bool tolerated;
        } t[] = {
                {{"k", "", "v", "NoExecute", -1}, {"k", "v", "NoExecute"}, true},
                {{"k", "Equal", "v", "NoExecute", -1}, {"k", "v", "NoExecute"}, true},
                {{"k", "Equal", "w", "NoExecute", -1}, {"k", "v", "NoExecute"}, false},
                {{"k", "Equal", "", "NoExecute", -1}, {"k", "", "NoExecute"}, true},
                {{"k", "Equal", "v", "", -1}, {"k", "v", "NoExecute"}, true}, /* every effect */
                {{"k", "Equal", "v", "NoSchedule", -1}, {"k", "v", "NoExecute"}, false},
                {{"j", "Equal", "v", "", -1}, {"k", "v", "NoExecute"}, false},
                {{"k", "Exists", "", "", -1}, {"k", "v", "NoExecute"}, true},
                {{"j", "Exists", "", "", -1}, {"k", "v", "NoExecute"}, false},
                {{"", "Exists", "", "", -1}, {"k", "v", "NoExecute"}, true}, /* every taint */
                {{"", "Exists", "", "NoSchedule", -1}, {"k", "v", "NoExecute"}, false},
                {{"", "", "", "", -1}, {"k", "", "NoExecute"}, false}, /* needs a key */
                {{"k", "Like", "v", "", -1}, {"k", "v", "NoExecute"}, false},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++)
                if (toleration_tolerates(&t[i].t, &t[i].taint) != t[i].tolerated)
                        fail_msg("row %zu", i);
}

/* --- the hash */

static void hash_of(const struct scene *s, char out[17])
{
        placement_hash(&s->vm, out);
        assert_int_equal(strlen(out), 16);
        assert_int_equal(strspn(out, "0123456789abcdef"), 16);
}

static void set_affinity_text(struct scene *s)
{
        s->vm.spec.placement.affinity_json = "{\"nodeAffinity\":{}}";
}
static void set_tolerations_text(struct scene *s)
{
        s->vm.spec.placement.tolerations_json = "[]";
}
static void set_spread_text(struct scene *s)
{
        s->vm.spec.placement.spread_json = "[]";
}
static void two_labels(struct scene *s)
{
        s->wanted[0] = (struct kv){"a", "1"};
        s->wanted[1] = (struct kv){"b", "2"};
        s->vm.spec.placement.node_selector.n = 2;
}
static void two_labels_crossed(struct scene *s)
{
        two_labels(s);
        s->wanted[0].value = "2";
        s->wanted[1].value = "1";
}
static void key_runs_into_value(struct scene *s)
{
        wants(s, "disktypes", "sd");
}

static void another_claim(struct scene *s)
{
        s->disks[1].claim = "d"; /* a pod without it is of no use */
}

static void hash_tells_placements_apart(void **state)
{
        static void (*const changes[])(struct scene *) = {
                nothing,
                other_name,
                own_name,
                wants_ssd,
                wants_hdd,
                set_affinity_text,
                set_tolerations_text,
                set_spread_text,
                two_labels,
                two_labels_crossed,
                key_runs_into_value,
                another_claim,
        };
        char hash[countof(changes)][17];

        (void)state;
        for (size_t i = 0; i < countof(changes); i++) {
                struct scene s;

                set_scene(&s);
                changes[i](&s);
                hash_of(&s, hash[i]);
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(hash[i], hash[k]);
        }
}

static void hash_ignores_all_else(void **state)
{
        char first[17], second[17];
        struct scene s;
        struct kv swap;

        (void)state;
        set_scene(&s);
        two_labels(&s);
        hash_of(&s, first);
        swap = s.wanted[0];
        s.wanted[0] = s.wanted[1];
        s.wanted[1] = swap;
        s.vm.spec.shape.cores = 7;
        s.vm.spec.shape.memory = 1;
        s.vm.spec.placement.priority_class = "high";
        s.vm.meta.generation = 9;
        s.vm.status.owner = (struct vm_owner){"node1", 3};
        hash_of(&s, second);
        assert_string_equal(first, second);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rule_rows),
                cmocka_unit_test(order_of_rules),
                cmocka_unit_test(long_message_is_cut),
                cmocka_unit_test(selector_and_check_agree),
                cmocka_unit_test(selector_of_a_plain_vm),
                cmocka_unit_test(selector_names_a_pool_once),
                cmocka_unit_test(selector_without_memory),
                cmocka_unit_test(selector_too_big),
                cmocka_unit_test(toleration_rows),
                cmocka_unit_test(hash_tells_placements_apart),
                cmocka_unit_test(hash_ignores_all_else),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
