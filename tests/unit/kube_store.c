#include "kube/store.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct thing {
        char name[64], node[64];
        int value;
};

static _Atomic int alive; /* decoded and not freed */

static int decode(const struct json *object, void **out, struct err *e)
{
        const char *node = json_str(json_get(object, "spec"), "node", "");
        struct thing *t;

        if (strcmp(node, "bad") == 0)
                return err_set(e, -EINVAL, "spec.node is bad");
        t = calloc(1, sizeof(*t));
        if (!t)
                return err_sys(e, -ENOMEM, "decode");
        snprintf(t->name, sizeof(t->name), "%s",
                 json_str(json_get(object, "metadata"), "name", ""));
        snprintf(t->node, sizeof(t->node), "%s", node);
        t->value = (int)json_int(json_get(object, "spec"), "value", 0);
        alive++;
        *out = t;
        return 0;
}

static void free_thing(void *object)
{
        alive--;
        free(object);
}

static bool by_node(const void *object, char *buf, size_t size)
{
        const struct thing *t = object;

        snprintf(buf, size, "%s", t->node);
        return *t->node;
}

static const struct kube_store_type type = {decode, free_thing, by_node};

/* What the hooks were told: "name old->new;" */
struct heard {
        struct kube_store *store;
        char text[1024];
};

static void changed(void *ctx, const void *before, const void *after)
{
        const struct thing *a = before, *b = after;
        struct heard *h = ctx;
        size_t n = strlen(h->text);

        snprintf(h->text + n, sizeof(h->text) - n, "%s %d->%d;", a ? a->name : b->name,
                 a ? a->value : -1, b ? b->value : -1);
        if (h->store)
                kube_store_count(h->store); /* no lock is held */
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        struct heard *h = ctx;
        size_t n = strlen(h->text);

        snprintf(h->text + n, sizeof(h->text) - n, "[%s: %s]", key, e->msg);
}

static struct json *object(const char *ns, const char *name, uint64_t rv, const char *node,
                           int value)
{
        struct json *o = json_new_object(), *meta = json_object_at(o, "metadata");
        struct json *spec = json_object_at(o, "spec");
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, rv);
        json_set_str(meta, "namespace", ns);
        json_set_str(meta, "name", name);
        if (rv)
                json_set_str(meta, "resourceVersion", text);
        json_set_str(spec, "node", node);
        json_set_int(spec, "value", value);
        return o;
}

static void event(struct kube_store *s, enum kube_event e, const char *name, uint64_t rv,
                  const char *node, int value)
{
        autojson struct json *o = object("ns", name, rv, node, value);

        kube_store_event(s, e, o);
}

static void apply(struct kube_store *s, const char *name, uint64_t rv, int value)
{
        autojson struct json *o = object("ns", name, rv, "n1", value);

        kube_store_apply(s, o);
}

static int value_of(struct kube_store *s, const char *key)
{
        autoref struct kube_ref *r = kube_store_get(s, key);

        return r ? ((const struct thing *)kube_ref_object(r))->value : -1;
}

static void changes_are_told(void **state)
{
        struct heard h = {0};
        struct kube_store_hooks hooks = {changed, undecodable, &h};
        struct kube_store *s = h.store = kube_store_new(&type, &hooks);

        (void)state;
        event(s, KUBE_ADDED, "a", 1, "n1", 1);
        event(s, KUBE_MODIFIED, "a", 2, "n1", 2);
        event(s, KUBE_MODIFIED, "a", 2, "n1", 3); /* the same version says nothing new */
        event(s, KUBE_ADDED, "b", 3, "", 4);
        event(s, KUBE_DELETED, "a", 5, "n1", 2);
        event(s, KUBE_DELETED, "a", 5, "n1", 2);
        event(s, KUBE_DELETED, "never", 6, "n1", 2);
        assert_string_equal(h.text, "a -1->1;a 1->2;b -1->4;a 2->-1;");
        assert_int_equal(kube_store_count(s), 1);
        assert_int_equal(value_of(s, "ns/b"), 4);
        assert_int_equal(value_of(s, "b"), -1);

        autojson struct json *cluster = object(NULL, "c", 7, "n1", 5);
        kube_store_event(s, KUBE_ADDED, cluster);
        assert_int_equal(value_of(s, "c"), 5);
        kube_store_free(s);
        assert_int_equal(alive, 0);
}

static void an_older_version_never_wins(void **state)
{
        struct kube_store *s = kube_store_new(&type, NULL);

        (void)state;
        apply(s, "a", 9, 9);
        event(s, KUBE_MODIFIED, "a", 8, "n1", 8);
        assert_int_equal(value_of(s, "ns/a"), 9);
        apply(s, "a", 10, 10); /* as numbers: "10" > "9" */
        assert_int_equal(value_of(s, "ns/a"), 10);
        event(s, KUBE_DELETED, "a", 9, "n1", 9);
        assert_int_equal(value_of(s, "ns/a"), 10);
        apply(s, "a", UINT64_MAX - 1, 11);
        apply(s, "a", UINT64_MAX, 12);
        apply(s, "a", 1u << 31, 13);
        assert_int_equal(value_of(s, "ns/a"), 12);
        apply(s, "a", 0, 14); /* without a version there is nothing to compare */
        assert_int_equal(value_of(s, "ns/a"), 14);
        kube_store_free(s);
        assert_int_equal(alive, 0);
}

static void the_dead_stay_dead(void **state)
{
        struct kube_store *s = kube_store_new(&type, NULL);

        (void)state;
        apply(s, "a", 20, 1);
        event(s, KUBE_DELETED, "a", 22, "n1", 1);
        apply(s, "a", 21, 2); /* the late answer to an own write from before the deletion */
        assert_int_equal(kube_store_count(s), 0);
        apply(s, "a", 23, 3); /* made again */
        assert_int_equal(value_of(s, "ns/a"), 3);
        event(s, KUBE_DELETED, "a", 24, "n1", 3);
        apply(s, "a", 23, 3);
        assert_int_equal(kube_store_count(s), 0);

        /* Of a deletion that was seen before the object itself too. */
        event(s, KUBE_DELETED, "b", 30, "n1", 3);
        apply(s, "b", 29, 3);
        assert_int_equal(kube_store_count(s), 0);

        /* The memory of them is bounded. */
        for (int i = 0; i < 3000; i++) {
                char name[16];
                snprintf(name, sizeof(name), "x%d", i);
                event(s, KUBE_DELETED, name, (uint64_t)(100 + i), "n1", 0);
        }
        apply(s, "x2999", 100, 1);
        assert_int_equal(kube_store_count(s), 0);
        apply(s, "x0", 100, 1);
        assert_int_equal(kube_store_count(s), 1);
        kube_store_free(s);
        assert_int_equal(alive, 0);
}

/* What a whole list does not show is gone, but for what was written after it was taken. */
static void a_list_ends_what_it_does_not_show(void **state)
{
        struct heard h = {0};
        struct kube_store_hooks hooks = {changed, undecodable, &h};
        struct kube_store *s = kube_store_new(&type, &hooks);

        (void)state;
        h.store = s;
        kube_store_listing(s);
        event(s, KUBE_MODIFIED, "a", 1, "n1", 1);
        event(s, KUBE_MODIFIED, "b", 2, "n1", 2);
        event(s, KUBE_MODIFIED, "c", 3, "n1", 3);
        event(s, KUBE_MODIFIED, "d", 4, "n1", 4);
        kube_store_listed(s, "4");
        assert_int_equal(kube_store_count(s), 4);

        /* one is the same, one is not understood, one is gone, one is gone and was written before
         */
        *h.text = '\0';
        kube_store_listing(s);
        event(s, KUBE_MODIFIED, "a", 1, "n1", 1);
        event(s, KUBE_MODIFIED, "b", 9, "bad", 2);
        apply(s, "d", 7, 8);
        apply(s, "new", 21, 6);
        kube_store_listed(s, "20");
        assert_non_null(strstr(h.text, "c 3->-1;"));
        assert_non_null(strstr(h.text, "d 8->-1;"));
        assert_null(strstr(h.text, "a "));
        assert_null(strstr(h.text, "b 2"));
        assert_int_equal(kube_store_count(s), 3);
        assert_int_equal(value_of(s, "ns/b"), 2);
        assert_int_equal(value_of(s, "ns/new"), 6);
        apply(s, "c", 15, 3); /* a late answer from before it was gone */
        assert_int_equal(value_of(s, "ns/c"), -1);

        /* a list that did not come to its end says nothing */
        kube_store_listing(s);
        kube_store_listing(s);
        event(s, KUBE_MODIFIED, "new", 21, "n1", 6);
        kube_store_listed(s, "30");
        assert_int_equal(kube_store_count(s), 1);
        kube_store_free(s);
        assert_int_equal(alive, 0);
}

static void undecodable_ones_keep_the_older(void **state)
{
        struct heard h = {0};
        struct kube_store_hooks hooks = {NULL, undecodable, &h};
        struct kube_store *s = kube_store_new(&type, &hooks);
        autojson struct json *nameless = json_new_object();

        (void)state;
        event(s, KUBE_ADDED, "a", 1, "n1", 1);
        event(s, KUBE_MODIFIED, "a", 2, "bad", 2);
        kube_store_event(s, KUBE_ADDED, nameless);
        assert_string_equal(h.text, "[ns/a: spec.node is bad][: an object without a name]");
        assert_int_equal(value_of(s, "ns/a"), 1);
        kube_store_free(s);
        assert_int_equal(alive, 0);
}

static void names_in(struct kube_refs *refs, char *out)
{
        *out = 0;
        for (size_t i = 0; i < refs->n; i++)
                strcat(out, ((const struct thing *)kube_ref_object(refs->v[i]))->name);
}

static void expect_indexed(struct kube_store *s, const char *key, const char *want)
{
        autorefs struct kube_refs refs = {0};
        char names[256];

        assert_int_equal(kube_store_indexed(s, key, &refs), 0);
        names_in(&refs, names);
        assert_string_equal(names, want);
}

static void index_follows_the_objects(void **state)
{
        struct kube_store *s = kube_store_new(&type, NULL);

        (void)state;
        event(s, KUBE_ADDED, "c", 1, "n1", 0);
        event(s, KUBE_ADDED, "a", 2, "n1", 0);
        event(s, KUBE_ADDED, "b", 3, "n1", 0);
        event(s, KUBE_ADDED, "d", 4, "", 0);
        expect_indexed(s, "n1", "abc");
        expect_indexed(s, "n2", "");
        expect_indexed(s, "", "");
        event(s, KUBE_MODIFIED, "b", 5, "n2", 0);
        event(s, KUBE_MODIFIED, "d", 6, "n2", 0);
        expect_indexed(s, "n1", "ac");
        expect_indexed(s, "n2", "bd");
        event(s, KUBE_MODIFIED, "b", 7, "", 0);
        event(s, KUBE_DELETED, "c", 8, "n1", 0);
        event(s, KUBE_DELETED, "a", 9, "n1", 0);
        event(s, KUBE_MODIFIED, "d", 10, "n2", 1);
        expect_indexed(s, "n1", "");
        expect_indexed(s, "n2", "d");
        autorefs struct kube_refs all = {0};
        char names[256];
        assert_int_equal(kube_store_all(s, &all), 0);
        names_in(&all, names);
        assert_string_equal(names, "bd");
        kube_store_free(s);
}

static void references_outlive_deletion_and_store(void **state)
{
        struct kube_store *s = kube_store_new(&type, NULL);
        struct kube_refs refs;

        (void)state;
        event(s, KUBE_ADDED, "a", 1, "n1", 1);
        event(s, KUBE_ADDED, "b", 2, "n1", 2);
        struct kube_ref *old = kube_store_get(s, "ns/a");
        assert_int_equal(kube_store_all(s, &refs), 0);
        event(s, KUBE_MODIFIED, "a", 3, "n1", 3);
        event(s, KUBE_DELETED, "b", 4, "n1", 2);
        assert_int_equal(((const struct thing *)kube_ref_object(old))->value, 1);
        kube_store_free(s);
        assert_int_equal(alive, 2);
        assert_int_equal(((const struct thing *)kube_ref_object(refs.v[1]))->value, 2);
        kube_refs_put(&refs);
        kube_refs_put(&refs);
        assert_int_equal(alive, 1);
        kube_ref_put(old);
        kube_ref_put(NULL);
        assert_int_equal(alive, 0);
}

static bool add_up(void *ctx, const void *o)
{
        int *left = ctx;

        (void)o;
        return --*left > 0;
}

static void each_stops_when_told(void **state)
{
        struct kube_store *s = kube_store_new(&type, NULL);
        int left = 100;

        (void)state;
        for (int i = 0; i < 10; i++) {
                char name[8];
                snprintf(name, sizeof(name), "%d", i);
                event(s, KUBE_ADDED, name, (uint64_t)(i + 1), "n1", i);
        }
        kube_store_each(s, add_up, &left);
        assert_int_equal(left, 90);
        left = 3;
        kube_store_each(s, add_up, &left);
        assert_int_equal(left, 0);
        kube_store_free(s);
}

static struct {
        struct kube_store *s;
        _Atomic bool stop;
        _Atomic int wrong;
} crowd;

static void *writer(void *arg)
{
        uint64_t rv = 1 + (uint64_t)(uintptr_t)arg;

        for (int i = 0; i < 4000; i++, rv += 3) {
                char name[8];
                snprintf(name, sizeof(name), "%d", i % 20);
                event(crowd.s, i % 7 == 6 ? KUBE_DELETED : KUBE_MODIFIED, name, rv,
                      i % 2 ? "n1" : "n2", (int)rv);
        }
        return NULL;
}

static bool look(void *ctx, const void *o)
{
        (void)ctx;
        return ((const struct thing *)o)->value >= 0;
}

static void *reader(void *arg)
{
        int last[20] = {0};

        while (!crowd.stop) {
                autorefs struct kube_refs refs = {0};
                if (kube_store_indexed(crowd.s, "n1", &refs) != 0)
                        crowd.wrong++;
                for (size_t i = 0; i < refs.n; i++)
                        if (strcmp(((const struct thing *)kube_ref_object(refs.v[i]))->node,
                                   "n1") != 0)
                                crowd.wrong++;
                kube_store_each(crowd.s, look, NULL);
                for (int i = 0; i < 20; i++) {
                        char key[16];
                        snprintf(key, sizeof(key), "ns/%d", i);
                        int v = value_of(crowd.s, key);
                        if (v >= 0 && v < last[i])
                                crowd.wrong++; /* back in time */
                        last[i] = v > last[i] ? v : last[i];
                }
        }
        return arg;
}

static void crowded(void **state)
{
        pthread_t w[2], r[2];

        (void)state;
        crowd.s = kube_store_new(&type, NULL);
        for (uintptr_t i = 0; i < 2; i++) {
                pthread_create(&w[i], NULL, writer, (void *)i);
                pthread_create(&r[i], NULL, reader, NULL);
        }
        for (int i = 0; i < 2; i++)
                pthread_join(w[i], NULL);
        crowd.stop = true;
        for (int i = 0; i < 2; i++)
                pthread_join(r[i], NULL);
        assert_int_equal(crowd.wrong, 0);
        kube_store_free(crowd.s);
        assert_int_equal(alive, 0);
}

static void without_memory(void **state)
{
        (void)state;
        for (unsigned long n = 1; n < 200; n++) {
                struct heard h = {0};
                struct kube_store_hooks hooks = {NULL, undecodable, &h};
                autojson struct json *first = object("ns", "a", 1, "n1", 1);
                autojson struct json *second = object("ns", "a", 2, "n2", 2);
                autojson struct json *gone = object("ns", "a", 3, "n2", 2);
                struct kube_refs refs;
                int rc = 0;

                oom_arm(n);
                struct kube_store *s = kube_store_new(&type, &hooks);
                if (s) {
                        kube_store_event(s, KUBE_ADDED, first);
                        kube_store_event(s, KUBE_MODIFIED, second);
                        rc = kube_store_all(s, &refs);
                        if (rc == 0)
                                kube_refs_put(&refs);
                }
                bool failed = oom_disarm();
                if (!failed) {
                        assert_int_equal(rc, 0);
                        assert_string_equal(h.text, "");
                        assert_int_equal(value_of(s, "ns/a"), 2);
                } else if (s) { /* said, by one way or the other, and the older one stays */
                        assert_true(rc == -ENOMEM || *h.text);
                        assert_true(kube_store_count(s) <= 1);
                        oom_arm(1);
                        kube_store_event(s, KUBE_DELETED, gone);
                        oom_disarm();
                        assert_int_equal(kube_store_count(s), 0);
                }
                kube_store_free(s);
                assert_int_equal(alive, 0);
                if (!failed)
                        return;
        }
        fail();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(changes_are_told),
                cmocka_unit_test(an_older_version_never_wins),
                cmocka_unit_test(the_dead_stay_dead),
                cmocka_unit_test(a_list_ends_what_it_does_not_show),
                cmocka_unit_test(undecodable_ones_keep_the_older),
                cmocka_unit_test(index_follows_the_objects),
                cmocka_unit_test(references_outlive_deletion_and_store),
                cmocka_unit_test(each_stops_when_told),
                cmocka_unit_test(crowded),
                cmocka_unit_test(without_memory),
        };
        return cmocka_run_group_tests_name("kube_store", tests, NULL, NULL);
}
