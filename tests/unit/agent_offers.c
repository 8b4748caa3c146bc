#include "agent/offers.h"
#include "agent/tool.h"
#include "tests/unit/pool_scene.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define M1 "11111111-77f2-4a4b-8d55-0d5f7f3a9a01"
#define M2 "22222222-77f2-4a4b-8d55-0d5f7f3a9a01"
#define M3 "33333333-77f2-4a4b-8d55-0d5f7f3a9a01"

static char ours[] = "/tmp/agent_offers.XXXXXX", copy[] = "/tmp/agent_offers.XXXXXX";

static char *file_in(const char *pool)
{
        static char path[128];

        snprintf(path, sizeof(path), "%s/.drover/moves-n2", pool);
        return path;
}

static int setup(void **state)
{
        char path[128];

        (void)state;
        if (pool_make(ours) || pool_make(copy))
                return -1;
        snprintf(path, sizeof(path), "%s/.drover", ours);
        if (mkdir(path, 0700))
                return -1;
        snprintf(path, sizeof(path), "%s/.drover", copy);
        return mkdir(path, 0700);
}

static int teardown(void **state)
{
        (void)state;
        return pool_remove(ours) || pool_remove(copy);
}

static int offer(const char *pool, const char *uids)
{
        char *argv[] = {(char[]){"offer"}, (char *)(uintptr_t)pool, (char[]){"n2"},
                        (char *)(uintptr_t)uids};

        return agent_tool(4, argv);
}

static bool seen(const char *pool, const char *node, const char *uid)
{
        char *argv[] = {(char[]){"seen"}, (char *)(uintptr_t)pool, (char *)(uintptr_t)node,
                        (char *)(uintptr_t)uid, (char[]){"0"}};

        return agent_tool(5, argv) == 0;
}

static void only_what_is_offered_now(void **state)
{
        (void)state;
        assert_false(seen(ours, "n2", M1));
        assert_int_equal(offer(ours, M1 "," M2), 0);
        assert_true(seen(ours, "n2", M1));
        assert_true(seen(ours, "n2", M2));
        assert_false(seen(ours, "n2", M3));
        assert_false(seen(ours, "n1", M1)); /* another node's word */
        assert_false(seen(ours, "n2", "11111111"));
        assert_false(seen(ours, "n2", ""));
        assert_int_equal(offer(ours, M3), 0);
        assert_false(seen(ours, "n2", M1));
        assert_true(seen(ours, "n2", M3));
        assert_int_equal(offer(ours, ""), 0);
        assert_false(seen(ours, "n2", M3));
}

/* A client that goes by the size it has seen last must not miss what has come since. */
static void the_file_has_one_size(void **state)
{
        struct stat before, after;

        (void)state;
        assert_int_equal(offer(ours, ""), 0);
        assert_int_equal(stat(file_in(ours), &before), 0);
        assert_int_equal(offer(ours, M1 "," M2), 0);
        assert_int_equal(stat(file_in(ours), &after), 0);
        assert_true(before.st_size > 0 && before.st_size == after.st_size);
        assert_int_equal(before.st_ino, after.st_ino);
}

/* Synced or restored: it holds all that was there, and nothing that came since. */
static void a_copy_of_the_directory_proves_nothing(void **state)
{
        char line[512];

        (void)state;
        assert_int_equal(offer(ours, M1), 0);
        snprintf(line, sizeof(line), "cp %s %s/.drover/", file_in(ours), copy);
        assert_int_equal(system(line), 0); /* NOLINT(cert-env33-c) */
        assert_int_equal(offer(ours, M1 "," M2), 0);
        assert_true(seen(ours, "n2", M2));
        assert_false(seen(copy, "n2", M2));
}

static void who_cannot_look_up_the_source_says_so(void **state)
{
        char slow[OFFER_SIZE], quick[OFFER_SIZE], both[2 * OFFER_SIZE];

        (void)state;
        offer_print(quick, M1, 49);
        assert_string_equal(quick, M1);
        offer_print(slow, M2, 50);
        assert_string_equal(slow, M2 "!50");
        snprintf(both, sizeof(both), "%s,%s", slow, quick);
        assert_int_equal(offer(ours, both), 0);
        assert_true(seen(ours, "n2", M1));
        assert_false(seen(ours, "n2", M2));
        assert_false(seen(ours, "n2", "50"));
        assert_int_equal(offer(ours, M2), 0); /* it does now */
        assert_true(seen(ours, "n2", M2));
}

static void *offer_later(void *ctx)
{
        (void)ctx;
        usleep(50000);
        assert_int_equal(offer(ours, M3), 0);
        return NULL;
}

static void it_is_waited_for(void **state)
{
        char *argv[] = {(char[]){"seen"}, ours, (char[]){"n2"}, (char[]){M3}, (char[]){"20000"}};
        pthread_t t;

        (void)state;
        assert_int_equal(offer(ours, ""), 0);
        assert_int_equal(pthread_create(&t, NULL, offer_later, NULL), 0);
        assert_int_equal(agent_tool(5, argv), 0);
        pthread_join(t, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(only_what_is_offered_now),
                cmocka_unit_test(the_file_has_one_size),
                cmocka_unit_test(a_copy_of_the_directory_proves_nothing),
                cmocka_unit_test(who_cannot_look_up_the_source_says_so),
                cmocka_unit_test(it_is_waited_for),
        };

        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, setup, teardown);
}
