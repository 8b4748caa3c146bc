#include "core/affinity.h"
#include "tests/unit/oom.h"
#include "tests/unit/selector_gen.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARENA_MAX ((size_t)16 << 20)
#define ROUNDS    3000

/* VALUES("a", "b") */
#define VALUES(...)                                                                                \
        {                                                                                          \
                (const char *[]){__VA_ARGS__}, countof(((const char *[]){__VA_ARGS__}))            \
        }
#define NO_VALUES                                                                                  \
        {                                                                                          \
                NULL, 0                                                                            \
        }

static void names_of_operators(void **state)
{
        static const char *const names[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};

        (void)state;
        for (size_t i = 0; i < countof(names); i++) {
                assert_int_equal(selector_op_parse(names[i]), i);
                assert_string_equal(selector_op_name((enum selector_op)i), names[i]);
        }
        assert_int_equal(selector_op_parse("in"), OP_BAD);
        assert_int_equal(selector_op_parse(""), OP_BAD);
        assert_string_equal(selector_op_name(OP_BAD), "");
}

/* value NULL: the node lacks the label. */
struct row {
        const char *value;
        struct requirement r;
        bool matches;
};

static const struct row rows[] = {
        {"ssd", {"k", OP_IN, "", VALUES("hdd", "ssd")}, true},
        {"ssd", {"k", OP_IN, "", VALUES("hdd")}, false},
        {"", {"k", OP_IN, "", VALUES("")}, true},
        {NULL, {"k", OP_IN, "", VALUES("")}, false},
        {"ssd", {"k", OP_IN, "", NO_VALUES}, false},
        {"ssd", {"k", OP_NOT_IN, "", VALUES("hdd")}, true},
        {"ssd", {"k", OP_NOT_IN, "", VALUES("hdd", "ssd")}, false},
        {NULL, {"k", OP_NOT_IN, "", VALUES("hdd")}, true},
        {"ssd", {"k", OP_NOT_IN, "", NO_VALUES}, false},
        {NULL, {"k", OP_NOT_IN, "", NO_VALUES}, false},
        {"", {"k", OP_EXISTS, "", NO_VALUES}, true},
        {NULL, {"k", OP_EXISTS, "", NO_VALUES}, false},
        {"ssd", {"k", OP_EXISTS, "", VALUES("ssd")}, false},
        {NULL, {"k", OP_DOES_NOT_EXIST, "", NO_VALUES}, true},
        {"", {"k", OP_DOES_NOT_EXIST, "", NO_VALUES}, false},
        {NULL, {"k", OP_DOES_NOT_EXIST, "", VALUES("ssd")}, false},
        {"8", {"k", OP_GT, "", VALUES("7")}, true},
        {"7", {"k", OP_GT, "", VALUES("7")}, false},
        {"10", {"k", OP_GT, "", VALUES("9")}, true}, /* numbers, not texts */
        {"-3", {"k", OP_LT, "", VALUES("-2")}, true},
        {"-2", {"k", OP_LT, "", VALUES("-2")}, false},
        {"08", {"k", OP_GT, "", VALUES("7")}, true}, /* decimal, never octal */
        {NULL, {"k", OP_GT, "", VALUES("7")}, false},
        {"eight", {"k", OP_GT, "", VALUES("7")}, false},
        {"8x", {"k", OP_GT, "", VALUES("7")}, false},
        {" 8", {"k", OP_GT, "", VALUES("7")}, false},
        {"", {"k", OP_GT, "", VALUES("7")}, false},
        {"-", {"k", OP_LT, "", VALUES("7")}, false},
        {"8", {"k", OP_GT, "", VALUES("few")}, false},
        {"8", {"k", OP_GT, "", VALUES("1", "2")}, false},
        {"8", {"k", OP_LT, "", NO_VALUES}, false},
        {"9223372036854775807", {"k", OP_GT, "", VALUES("9223372036854775806")}, true},
        {"9223372036854775808", {"k", OP_GT, "", VALUES("1")}, false}, /* not in 64 bits */
        {"ssd", {"k", OP_BAD, "Near", VALUES("ssd")}, false},
        {NULL, {"k", OP_BAD, "", NO_VALUES}, false},
};

static void requirement_rows(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(rows); i++)
                if (requirement_matches(&rows[i].r, rows[i].value) != rows[i].matches)
                        fail_msg("row %zu: %s %s", i, rows[i].value ? rows[i].value : "(none)",
                                 selector_op_name(rows[i].r.op));
}

static void field_rows(void **state)
{
        const struct row field[] = {
                {"node1", {"metadata.name", OP_IN, "", VALUES("node1")}, true},
                {"node1", {"metadata.name", OP_IN, "", VALUES("node2")}, false},
                {"node1", {"metadata.name", OP_NOT_IN, "", VALUES("node2")}, true},
                {"node1", {"metadata.name", OP_NOT_IN, "", VALUES("node1")}, false},
                {"node1", {"metadata.name", OP_IN, "", VALUES("node1", "node2")}, false},
                {"node1", {"metadata.name", OP_NOT_IN, "", VALUES("node2", "node3")}, false},
                {"node1", {"metadata.name", OP_EXISTS, "", NO_VALUES}, false},
                {"5", {"metadata.name", OP_GT, "", VALUES("4")}, false},
                {"node1", {"spec.unschedulable", OP_NOT_IN, "", VALUES("true")}, false},
        };

        (void)state;
        for (size_t i = 0; i < countof(field); i++)
                if (field_matches(&field[i].r, field[i].value) != field[i].matches)
                        fail_msg("row %zu", i);
}

static void terms(void **state)
{
        struct requirement ssd = {"disk", OP_IN, "In", VALUES("ssd")};
        struct requirement big = {"cores", OP_GT, "Gt", VALUES("8")};
        struct requirement here = {"metadata.name", OP_IN, "In", VALUES("node1")};
        struct requirement both[] = {ssd, big};
        struct selector_term t[] = {{{both, 2}, {NULL, 0}}, {{NULL, 0}, {&here, 1}}};
        struct kv fast[] = {{"disk", "ssd"}, {"cores", "16"}}, slow[] = {{"disk", "ssd"}};
        struct kvs full = {fast, 2}, half = {slow, 1}, none = {NULL, 0};
        struct node_selector s = {t, 2}, first = {t, 1}, no_terms = {NULL, 0};
        struct selector_term nothing = {{NULL, 0}, {NULL, 0}};
        struct node_selector empty_term = {&nothing, 1};

        (void)state;
        assert_true(node_selector_matches(&first, true, &full, "node2"));
        assert_false(node_selector_matches(&first, true, &half, "node2")); /* ANDed */
        assert_true(node_selector_matches(&s, true, &none, "node1"));      /* ORed */
        assert_false(node_selector_matches(&s, true, &none, "node2"));
        assert_false(node_selector_matches(&empty_term, true, &full, "node1"));
        assert_false(node_selector_matches(&no_terms, true, &full, "node1"));
        assert_true(node_selector_matches(&no_terms, false, &none, "node1"));
}

static bool matches(const struct node_selector *s, const struct kvs *labels, const char *node)
{
        return node_selector_matches(s ? s : &(struct node_selector){0}, s != NULL, labels, node);
}

/* The product matches exactly where both factors do, and asking for it twice adds nothing. */
static void product(void **state)
{
        size_t hits = 0;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct arena *a autoarena = arena_new(ARENA_MAX);
                struct node_selector sx = gen_selector(a, 4), sy = gen_selector(a, 4);
                struct node_selector *x = gen(8) ? &sx : NULL, *y = gen(8) ? &sy : NULL;
                struct node_selector *both, *again;

                assert_int_equal(node_selector_and(a, x, y, &both), 0);
                assert_true((both == NULL) == (!x && !y));
                if (both && y)
                        assert_true(node_selector_implies(both, y));
                if (both && x)
                        assert_true(node_selector_implies(both, x));
                assert_int_equal(node_selector_and(a, y, x, &again), 0);
                for (int k = 0; k < 20; k++) {
                        struct kvs labels = gen_labels(a);
                        const char *node = gen_of(GEN_NODES);
                        bool want = matches(x, &labels, node) && matches(y, &labels, node);

                        assert_int_equal(matches(both, &labels, node), want);
                        assert_int_equal(matches(again, &labels, node), want);
                        hits += want && x && y;
                }
        }
        assert_true(hits > ROUNDS / 10); /* else the world is too big to tell anything */
}

/* Implication is by text, so it may miss some, but where it holds it is true of every node. */
static void implication(void **state)
{
        size_t held = 0;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct arena *a autoarena = arena_new(ARENA_MAX);
                struct node_selector x = gen_selector(a, 3), y = gen_selector(a, 3);

                if (gen(2) && x.n && y.n) /* else it rarely holds */
                        for (size_t i = 0; i < x.n; i++)
                                x.v[i] = y.v[gen(y.n)];
                if (!node_selector_implies(&x, &y))
                        continue;
                held++;
                for (int k = 0; k < 20; k++) {
                        struct kvs labels = gen_labels(a);
                        const char *node = gen_of(GEN_NODES);

                        if (matches(&x, &labels, node))
                                assert_true(matches(&y, &labels, node));
                }
        }
        assert_true(held > ROUNDS / 10);
}

static void implication_rows(void **state)
{
        struct requirement ssd = {"disk", OP_IN, "In", VALUES("ssd")};
        struct requirement any = {"disk", OP_IN, "In", VALUES("ssd", "hdd")};
        struct requirement not_ssd = {"disk", OP_NOT_IN, "NotIn", VALUES("ssd")};
        struct requirement pair[] = {any, ssd};
        struct selector_term one = {{&ssd, 1}, {NULL, 0}}, two = {{pair, 2}, {NULL, 0}},
                             other = {{&not_ssd, 1}, {NULL, 0}}, none = {{NULL, 0}, {NULL, 0}};
        struct selector_term mixed[] = {one, other}, dead[] = {none, one};
        struct node_selector s1 = {&one, 1}, s2 = {&two, 1}, s3 = {&other, 1}, all = {mixed, 2},
                             with_dead = {dead, 2}, only_dead = {&none, 1}, empty = {NULL, 0};

        (void)state;
        assert_true(node_selector_implies(&s1, &s1));
        assert_true(node_selector_implies(&s2, &s1));
        assert_false(node_selector_implies(&s1, &s2));
        assert_false(node_selector_implies(&s3, &s1)); /* another operator */
        assert_true(node_selector_implies(&s1, &all));
        assert_false(node_selector_implies(&all, &s1)); /* one term is not covered */
        assert_true(node_selector_implies(&with_dead, &s1));
        assert_false(node_selector_implies(&s1, &only_dead)); /* which matches no node */
        assert_true(node_selector_implies(&only_dead, &s1));
        assert_true(node_selector_implies(&empty, &s1));
        assert_false(node_selector_implies(&s1, &empty));
}

static void repeated_requirements_once(void **state)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct requirement ssd = {"disk", OP_IN, "In", VALUES("ssd")};
        struct requirement gone = {"old", OP_DOES_NOT_EXIST, "DoesNotExist", NO_VALUES};
        struct requirement pair[] = {ssd, gone, ssd};
        struct selector_term one = {{&ssd, 1}, {NULL, 0}}, more = {{pair, 3}, {NULL, 0}};
        struct node_selector x = {&one, 1}, y = {&more, 1}, *both;

        (void)state;
        assert_int_equal(node_selector_and(a, &x, &y, &both), 0);
        assert_int_equal(both->n, 1);
        assert_int_equal(both->v[0].exprs.n, 2);
}

static void too_many_terms(void **state)
{
        struct arena *a autoarena = arena_new(ARENA_MAX);
        struct selector_term t[SELECTOR_TERMS_MAX / 16 + 1] = {0};
        struct node_selector x = {t, 16}, y = {t, SELECTOR_TERMS_MAX / 16};
        struct node_selector *out = NULL, *before;

        (void)state;
        assert_int_equal(node_selector_and(a, &x, &y, &out), 0);
        assert_int_equal(out->n, SELECTOR_TERMS_MAX);
        before = out;
        y.n++;
        assert_int_equal(node_selector_and(a, &x, &y, &out), -E2BIG);
        assert_ptr_equal(out, before);
        y.n = 0; /* matches nothing, and so does the product */
        assert_int_equal(node_selector_and(a, &x, &y, &out), 0);
        assert_int_equal(out->n, 0);
}

static void without_memory(void **state)
{
        unsigned long n, room;

        (void)state;
        for (n = 1; n; n++) {
                struct arena *a autoarena = arena_new(ARENA_MAX);
                struct node_selector x = gen_selector(a, 6), y = gen_selector(a, 6), *out = NULL;
                int rc;

                oom_arm(n);
                rc = node_selector_and(a, &x, &y, &out);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        if (n > 3)
                                break;
                        n = 0; /* a pair too small to allocate anything: another one */
                        continue;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_null(out);
        }
        for (room = 0; room < 4096;
             room += 64) { /* and with an arena that is full sooner or later */
                struct arena *a autoarena = arena_new(room + 64);
                struct requirement r = {"k", OP_EXISTS, "Exists", NO_VALUES};
                struct selector_term t[] = {{{&r, 1}, {&r, 1}}, {{&r, 1}, {&r, 1}}};
                struct node_selector s = {t, 2}, *out = NULL;
                int rc = node_selector_and(a, &s, &s, &out);

                assert_true(rc == -ENOMEM ? !out : rc == 0 && out->n == 4);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_of_operators),
                cmocka_unit_test(requirement_rows),
                cmocka_unit_test(field_rows),
                cmocka_unit_test(terms),
                cmocka_unit_test(product),
                cmocka_unit_test(implication),
                cmocka_unit_test(implication_rows),
                cmocka_unit_test(repeated_requirements_once),
                cmocka_unit_test(too_many_terms),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
