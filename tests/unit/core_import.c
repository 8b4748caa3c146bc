/* Who imports an image, and what becomes of it: one step after the other, as the migrator takes
 * them. */
#include "core/import.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct scene {
        struct arena *a;
        struct image image;
        struct condition ready[2];
        struct host_mount mounts[2];
        struct host hosts[2];
        struct import_node nodes[2];
        const char *user;
        const char *finalizer[1];
        struct import_plan plan;
} s;

static int set_up(void **state)
{
        static const char *const NAMES[] = {"node1", "node2"};

        (void)state;
        s = (struct scene){.a = arena_new(1 << 20), .user = ""};
        s.image = (struct image){.meta = {.name = "i", .ns = "n", .uid = "u-1", .rv = "1"},
                                 .url = "https://x/i",
                                 .sha256 = "",
                                 .file = "",
                                 .pool = "default",
                                 .phase = "",
                                 .message = "",
                                 .importer.node = "",
                                 .progress.message = ""};
        for (int i = 0; i < 2; i++) {
                s.ready[i] = (struct condition){"Ready", "True", "", "", 0};
                s.mounts[i] = (struct host_mount){.pool = "default", .health = MOUNT_HEALTHY};
                s.hosts[i] = (struct host){.meta.name = NAMES[i],
                                           .mounts = &s.mounts[i],
                                           .nmounts = 1,
                                           .conditions = {&s.ready[i], 1}};
                s.nodes[i] = (struct import_node){NAMES[i], &s.hosts[i], true};
        }
        return s.a ? 0 : -1;
}

static int tear_down(void **state)
{
        (void)state;
        arena_free(s.a);
        return 0;
}

/* One step, and what it writes comes true. */
static enum import_kind step(void)
{
        const struct import_input in = {&s.image, s.nodes, 2, s.user};

        assert_int_equal(import_plan(s.a, &in, &s.plan), 0);
        if (s.plan.kind == IMPORT_SET)
                s.image = s.plan.next;
        if (s.plan.kind == IMPORT_HOLD) {
                s.finalizer[0] = DROVER_IMAGE_FINALIZER;
                s.image.meta.finalizers = (struct strs){s.finalizer, 1};
        }
        if (s.plan.kind == IMPORT_FREE)
                s.image.meta.finalizers.n = 0;
        return s.plan.kind;
}

static void play(void)
{
        for (int i = 0; i < 10; i++)
                if (step() == IMPORT_REST)
                        return;
        fail_msg("it comes to no rest");
}

static void says(enum import_state state, const char *message)
{
        s.image.progress = (struct image_progress){s.image.importer.epoch, state, 1, 2, message};
}

static int importer(void)
{
        return !strcmp(s.image.importer.node, "node1")   ? 0
               : !strcmp(s.image.importer.node, "node2") ? 1
                                                         : -1;
}

static void an_import(void **state)
{
        (void)state;
        /* held before anybody is asked: what is asked for is removed some day */
        assert_int_equal(step(), IMPORT_HOLD);
        play();
        assert_int_equal(s.image.importer.epoch, 1);
        assert_int_equal(s.image.importer.task, IMPORT_FETCH);
        assert_in_range(importer(), 0, 1);
        assert_string_equal(s.image.phase, "Importing");
        assert_false(s.plan.settled);
        says(IMPORT_FETCHING, "");
        assert_int_equal(step(), IMPORT_REST);
        says(IMPORT_WAITING, "the server answers 503");
        play();
        assert_non_null(strstr(s.image.message, "503"));
        assert_int_equal(s.image.importer.epoch, 1); /* the same tries again */
        says(IMPORT_DONE, "");
        play();
        assert_string_equal(s.image.phase, "Ready");
        assert_string_equal(s.image.message, "");
        assert_true(s.plan.settled);
        s.nodes[importer()].alive = false; /* nothing to it any more */
        assert_int_equal(step(), IMPORT_REST);
}

static void a_refused_one(void **state)
{
        (void)state;
        play();
        says(IMPORT_REFUSED, "the image names a backing file");
        play();
        assert_string_equal(s.image.phase, "Failed");
        assert_string_equal(s.image.message, "the image names a backing file");
        assert_true(s.plan.settled);
}

static void the_importer_is_lost(void **state)
{
        (void)state;
        play();
        for (int64_t epoch = 2; epoch < 6; epoch++) {
                int was = importer();
                switch (epoch) {
                case 2:
                        s.nodes[was].alive = false;
                        break;
                case 3:
                        s.nodes[!was].alive = true;
                        s.mounts[was].health = MOUNT_UNHEALTHY;
                        break;
                case 4:
                        s.mounts[!was].health = MOUNT_HEALTHY;
                        s.ready[was].status = "False";
                        break;
                default:
                        s.ready[!was].status = "True";
                        s.mounts[was].pool = "another";
                }
                play();
                assert_int_equal(importer(), !was);
                assert_int_equal(s.image.importer.epoch, epoch);
        }
        /* what the one before has to say counts for nothing */
        s.image.progress = (struct image_progress){4, IMPORT_DONE, 1, 1, ""};
        play();
        assert_string_equal(s.image.phase, "Importing");
        s.image.progress = (struct image_progress){4, IMPORT_REFUSED, 1, 1, "no"};
        play();
        assert_string_equal(s.image.phase, "Importing");
}

static void nobody_can(void **state)
{
        (void)state;
        s.nodes[0].alive = s.nodes[1].alive = false;
        play();
        assert_int_equal(s.image.importer.epoch, 0);
        assert_non_null(strstr(s.image.message, "waits for a node that has the pool default"));
        s.nodes[1].alive = true;
        play();
        assert_int_equal(importer(), 1);
        s.nodes[1].alive = false;
        play();
        assert_int_equal(importer(), 1); /* it may still be at it */
        assert_int_equal(s.image.importer.epoch, 1);
}

static void spread(void **state)
{
        static const char *const UIDS[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
        int on[2] = {0};

        (void)state;
        for (size_t i = 0; i < countof(UIDS); i++) {
                s.image.importer = (struct image_importer){"", 0, IMPORT_FETCH};
                s.image.phase = s.image.message = "";
                s.image.meta.uid = UIDS[i];
                play();
                on[importer()]++;
        }
        assert_true(on[0] && on[1]);
}

static void a_file_is_left_alone(void **state)
{
        (void)state;
        s.image.url = "";
        s.image.file = "x.qcow2";
        assert_int_equal(step(), IMPORT_REST);
        s.image.meta.deleting = true;
        assert_int_equal(step(), IMPORT_REST);
        assert_true(s.plan.settled);
}

static void deleted(void **state)
{
        (void)state;
        play();
        says(IMPORT_DONE, "");
        play();
        int was = importer();
        s.image.meta.deleting = true;
        s.user = "web";
        play();
        assert_int_equal(s.image.importer.task, IMPORT_FETCH);
        assert_non_null(strstr(s.image.message, "while the VM web names it"));
        assert_string_equal(s.image.phase, "Ready");
        s.user = "";
        play();
        assert_int_equal(s.image.importer.task, IMPORT_REMOVE);
        assert_int_equal(s.image.importer.epoch, 2);
        assert_int_equal(importer(), was); /* after whatever it was at */
        says(IMPORT_IN_USE, "the disk /x stands on it");
        play();
        assert_non_null(strstr(s.image.message, "the disk /x stands on it"));
        s.user = "late"; /* has no disk of it, and gets none */
        says(IMPORT_REMOVED, "");
        assert_int_equal(step(), IMPORT_FREE);
        assert_int_equal(step(), IMPORT_REST);
        assert_true(s.plan.settled);
}

static void the_remover_is_lost(void **state)
{
        (void)state;
        play();
        s.image.meta.deleting = true;
        play();
        int was = importer();
        s.nodes[was].alive = false;
        play();
        assert_int_equal(importer(), !was);
        assert_int_equal(s.image.importer.epoch, 3);
        assert_int_equal(s.image.importer.task, IMPORT_REMOVE);
        s.image.progress = (struct image_progress){2, IMPORT_REMOVED, 0, 0, ""};
        play(); /* of the one before: it may have come before a late word of a fetch */
        assert_int_equal(s.image.meta.finalizers.n, 1);
        says(IMPORT_REMOVED, "");
        assert_int_equal(step(), IMPORT_FREE);
}

static void deleted_before_anybody_was_asked(void **state)
{
        (void)state;
        s.nodes[0].alive = s.nodes[1].alive = false;
        play();
        s.image.meta.deleting = true;
        s.user = "web";
        assert_int_equal(step(), IMPORT_FREE);
        /* and one that is not ours to hold is not held */
        assert_int_equal(step(), IMPORT_REST);
}

static void words(void **state)
{
        (void)state;
        for (enum import_state i = IMPORT_UNSAID; i <= IMPORT_REMOVED; i++)
                assert_int_equal(import_state_parse(import_state_name(i)), i);
        assert_int_equal(import_state_parse("Dancing"), IMPORT_UNSAID);
        assert_int_equal(import_task_parse("Remove"), IMPORT_REMOVE);
        assert_int_equal(import_task_parse(""), IMPORT_FETCH);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(an_import),
                T(a_refused_one),
                T(the_importer_is_lost),
                T(nobody_can),
                T(spread),
                T(a_file_is_left_alone),
                T(deleted),
                T(the_remover_is_lost),
                T(deleted_before_anybody_was_asked),
                T(words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
