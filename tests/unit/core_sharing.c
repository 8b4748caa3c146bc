/* Proof of sharedness: transcripts of looks on virtual time, and what two nodes' words amount to.
 */
#include "core/sharing.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START 1000000

struct scene {
        struct sharing_track t;
        struct sharing_clock c;
};

static struct scene scene(void)
{
        struct scene s = {.c = {.now_ms = START, .now_us = 7, .fresh_ms = SHARING_FRESH_MS}};

        strcpy(s.t.node, "n2");
        return s;
}

static struct sharing_look look(int64_t number, enum sharing_lock lock)
{
        return (struct sharing_look){
                .word = true, .instance = "a", .number = number, .holds = true, .lock = lock};
}

/* One look each, a period apart; want says the state after each: S shared, N not, ? unknown. */
static void play(struct scene *s, const struct sharing_look *looks, const char *want)
{
        static const char SIGNS[] = {'?', 'S', 'N'};

        for (size_t i = 0; want[i]; i++) {
                s->c.now_ms += SHARING_PERIOD_MS;
                s->c.now_us++;
                (void)sharing_step(&s->t, &looks[i], &s->c);
                if (SIGNS[s->t.state] != want[i])
                        fail_msg("look %zu: %c instead of %c: %s", i, SIGNS[s->t.state], want[i],
                                 sharing_reason(s->t.flaw));
        }
}

#define PLAY(s, want, ...) play(s, (const struct sharing_look[]){__VA_ARGS__}, want)
#define R(n)               look(n, SHARING_REFUSED)
#define G(n)               look(n, SHARING_GRANTED)
#define NONE               ((struct sharing_look){0})

/* A refused lock is proof at the first look: a node that restarts need not wait. */
static void shared_at_once(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "SSSS", R(1), R(2), R(3), R(4));
        assert_true(s.t.locks);
        assert_int_equal(s.t.since_us, 8);
}

static void told_only_of_changes(void **state)
{
        struct scene s = scene();
        struct sharing_look l = R(1);

        (void)state;
        assert_true(sharing_step(&s.t, &l, &s.c));
        for (int i = 2; i < 9; i++) {
                l = R(i);
                s.c.now_ms += 3000;
                assert_false(sharing_step(&s.t, &l, &s.c));
        }
}

/* Words come, by whatever means; the lock of the real file is not there. */
static void a_synced_copy_is_never_shared(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "?NNNNNN", G(1), G(2), G(3), G(9), G(10), G(11), G(12));
        assert_int_equal(s.t.flaw, SHARING_OPEN);
        assert_false(s.t.locks);
}

/* An agent that dies between its word and our look leaves a claimed lock that nobody holds. */
static void a_dead_holder_refutes_nothing(void **state)
{
        struct scene s = scene();
        struct sharing_look l = G(1);

        (void)state;
        PLAY(&s, "SSSSS????", R(1), R(2), G(3), G(3), G(3), G(3), G(3), G(3), G(3));
        /* nor does its successor, before it has had time to be looked at twice */
        strcpy(l.instance, "b");
        PLAY(&s, "?", l);
        l.number++;
        l.lock = SHARING_REFUSED;
        PLAY(&s, "S", l);
}

/* Of one that was shared and is a copy from some moment on: for so long as evidence counts. */
static void evidence_ages(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "SSSSSNN", R(1), R(2), G(3), G(4), G(5), G(6), G(7));
        PLAY(&s, "S", R(8));
}

static void a_silent_node_is_unknown(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "SSSS??", R(1), R(1), R(1), R(1), R(1), R(1));
        assert_int_equal(s.t.flaw, SHARING_SILENT);
        PLAY(&s, "S", R(2));
        /* a word of long ago, whose lock nobody holds, says nothing against the directory */
        s = scene();
        PLAY(&s, "?????", G(1), G(1), G(1), G(1), G(1));
        assert_int_equal(s.t.flaw, SHARING_SILENT);
}

static void a_word_that_goes(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "SSSSN", R(1), NONE, NONE, NONE, NONE);
        assert_int_equal(s.t.flaw, SHARING_GONE);
        PLAY(&s, "S", R(9));
}

static void a_stale_copy_goes_backwards(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "SSSSN", R(5), G(2), G(3), G(4), G(2));
        assert_int_equal(s.t.flaw, SHARING_BACKWARDS);
        assert_int_equal(s.t.last.number, 5);
}

/* The number of another instance is compared with nothing. */
static void a_restart_counts_as_a_new_word(void **state)
{
        struct scene s = scene();
        struct sharing_look l = R(1);

        (void)state;
        PLAY(&s, "SS", R(50), R(51));
        strcpy(l.instance, "b");
        PLAY(&s, "S", l);
        assert_string_equal(s.t.last.instance, "b");
        assert_int_equal(s.t.word_ms, s.c.now_ms);
}

/* Whoever holds no lock can be refused none: that is no word against the directory. */
static void without_a_holder_nothing_is_known(void **state)
{
        struct sharing_look l[] = {G(1), G(2), G(3)};
        struct scene s = scene();

        (void)state;
        for (size_t i = 0; i < countof(l); i++)
                l[i].holds = false;
        play(&s, l, "???");
        assert_int_equal(s.t.flaw, SHARING_LOCKLESS);
        s = scene();
        for (size_t i = 0; i < countof(l); i++)
                l[i] = look((int64_t)i, SHARING_NO_LOCK);
        play(&s, l, "???");
        assert_int_equal(s.t.flaw, SHARING_LOCKLESS);
}

/* nolock: the trial says nothing of other nodes; and if two share a client, locks still do not. */
static void local_locks_prove_nothing(void **state)
{
        struct scene s = scene();

        (void)state;
        s.c.local_locks = true;
        PLAY(&s, "???", G(1), G(2), G(3));
        assert_int_equal(s.t.flaw, SHARING_LOCAL);
        s = scene();
        s.c.local_locks = true;
        PLAY(&s, "SS", R(1), R(2));
        assert_false(s.t.locks);
}

static void forgotten_after_long(void **state)
{
        struct scene s = scene();

        (void)state;
        PLAY(&s, "S", R(1));
        assert_false(sharing_forgotten(&s.t, s.c.now_ms + SHARING_FORGET_MS));
        assert_true(sharing_forgotten(&s.t, s.c.now_ms + SHARING_FORGET_MS + 1));
}

static void many_nodes_take_longer(void **state)
{
        (void)state;
        assert_int_equal(sharing_period_ms(0), SHARING_PERIOD_MS);
        assert_int_equal(sharing_period_ms(SHARING_AT_ONCE), SHARING_PERIOD_MS);
        assert_int_equal(sharing_fresh_ms(3), SHARING_FRESH_MS);
        for (size_t n = 0; n <= SHARING_PEERS_MAX; n++)
                assert_true(sharing_fresh_ms(n) >= 3 * sharing_period_ms(n));
        assert_true(sharing_period_ms(SHARING_PEERS_MAX) <= 60000);
}

/* --- pairs */

static struct pair {
        struct host hosts[2];
        struct host_mount mounts[2];
        struct host_peer peers[2];
} p;

static void make_pair(enum sharing first, enum sharing second)
{
        const enum sharing states[] = {first, second};
        static const char *const NAMES[] = {"n1", "n2"};

        for (int i = 0; i < 2; i++) {
                p.peers[i] = (struct host_peer){.node = NAMES[!i],
                                                .state = states[i],
                                                .locks = states[i] == SHARING_SHARED,
                                                .reason = i ? "second's reason" : "first's reason"};
                p.mounts[i] = (struct host_mount){.pool = "default",
                                                  .identity = "same",
                                                  .source = i ? "nas2:/x" : "nas1:/x",
                                                  .shared_with = &p.peers[i],
                                                  .nshared_with = 1};
                p.hosts[i] =
                        (struct host){.meta.name = NAMES[i], .mounts = &p.mounts[i], .nmounts = 1};
        }
}

static void expect_pair(enum sharing want, const char *says)
{
        char message[SHARING_MESSAGE_MAX];
        enum sharing got = sharing_pair(&p.hosts[0], &p.hosts[1], "default", message);

        if (got != want || !strstr(message, says) || (got == SHARING_SHARED) != !*message)
                fail_msg("%s instead of %s: %s", sharing_name(got), sharing_name(want), message);
        if (got != SHARING_SHARED) {
                assert_non_null(strstr(message, "default"));
                assert_non_null(strstr(message, "n1"));
                assert_non_null(strstr(message, "n2"));
        }
}

/* All nine pairs of words: both must say so, and one that refutes decides. */
static void both_must_say_so(void **state)
{
        (void)state;
        for (enum sharing x = SHARING_UNKNOWN; x <= SHARING_NOT_SHARED; x++)
                for (enum sharing y = SHARING_UNKNOWN; y <= SHARING_NOT_SHARED; y++) {
                        bool refuted = x == SHARING_NOT_SHARED || y == SHARING_NOT_SHARED;
                        bool shared = x == SHARING_SHARED && y == SHARING_SHARED;

                        make_pair(x, y);
                        expect_pair(refuted  ? SHARING_NOT_SHARED
                                    : shared ? SHARING_SHARED
                                             : SHARING_UNKNOWN,
                                    shared                    ? ""
                                    : x == SHARING_NOT_SHARED ? "first's"
                                    : refuted                 ? "n2 says of n1: second's"
                                    : x == SHARING_UNKNOWN    ? "n1 says of n2: first's"
                                                              : "second's");
                        assert_int_equal(sharing_locks(&p.hosts[0], &p.hosts[1], "default"),
                                         shared);
                }
}

/* An unhealthy pool is not written to: what its node reads, and is refused, is proof. */
static void who_cannot_write_is_not_heard(void **state)
{
        (void)state;
        make_pair(SHARING_SHARED, SHARING_UNKNOWN);
        p.mounts[0].health = MOUNT_UNHEALTHY;
        expect_pair(SHARING_SHARED, "");
        assert_false(sharing_locks(&p.hosts[0], &p.hosts[1], "default"));
        make_pair(SHARING_UNKNOWN, SHARING_UNKNOWN);
        p.mounts[0].health = MOUNT_UNHEALTHY;
        expect_pair(SHARING_UNKNOWN, "n1 says of n2: first's");
        make_pair(SHARING_SHARED, SHARING_NOT_SHARED);
        p.mounts[0].health = MOUNT_UNHEALTHY;
        expect_pair(SHARING_NOT_SHARED, "n2 says of n1: second's");
        make_pair(SHARING_UNKNOWN, SHARING_SHARED);
        p.mounts[1].health = MOUNT_UNHEALTHY;
        expect_pair(SHARING_UNKNOWN, "n1 says of n2: first's");
}

static void who_was_never_seen(void **state)
{
        (void)state;
        make_pair(SHARING_SHARED, SHARING_SHARED);
        p.mounts[1].nshared_with = 0;
        expect_pair(SHARING_UNKNOWN, "n2 says of n1: no word of it was ever here");
        assert_false(sharing_locks(&p.hosts[0], &p.hosts[1], "default"));
        make_pair(SHARING_SHARED, SHARING_SHARED);
        p.peers[0].node = "n3";
        expect_pair(SHARING_UNKNOWN, "n1 says of n2: no word");
}

static void other_directories(void **state)
{
        (void)state;
        make_pair(SHARING_SHARED, SHARING_SHARED); /* of before the change, still */
        p.mounts[1].identity = "another";
        expect_pair(SHARING_NOT_SHARED, "nas1:/x on the one, nas2:/x on the other");
        p.mounts[1].identity = "";
        expect_pair(SHARING_UNKNOWN, "n2 has not found its identity");
}

static void locks_of_both_count(void **state)
{
        (void)state;
        make_pair(SHARING_SHARED, SHARING_SHARED);
        p.peers[1].locks = false; /* mounted with nolock there */
        expect_pair(SHARING_SHARED, "");
        assert_false(sharing_locks(&p.hosts[0], &p.hosts[1], "default"));
        assert_false(sharing_locks(&p.hosts[0], &p.hosts[1], "no such pool"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(shared_at_once),
                cmocka_unit_test(told_only_of_changes),
                cmocka_unit_test(a_synced_copy_is_never_shared),
                cmocka_unit_test(a_dead_holder_refutes_nothing),
                cmocka_unit_test(evidence_ages),
                cmocka_unit_test(a_silent_node_is_unknown),
                cmocka_unit_test(a_word_that_goes),
                cmocka_unit_test(a_stale_copy_goes_backwards),
                cmocka_unit_test(a_restart_counts_as_a_new_word),
                cmocka_unit_test(without_a_holder_nothing_is_known),
                cmocka_unit_test(local_locks_prove_nothing),
                cmocka_unit_test(forgotten_after_long),
                cmocka_unit_test(many_nodes_take_longer),
                cmocka_unit_test(both_must_say_so),
                cmocka_unit_test(who_cannot_write_is_not_heard),
                cmocka_unit_test(who_was_never_seen),
                cmocka_unit_test(other_directories),
                cmocka_unit_test(locks_of_both_count),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
