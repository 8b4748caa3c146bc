/* Guests whose storage fails on their node: who is moved, when, and what is said of it. */
#include "core/health.h"
#include "tests/unit/reconcile_scene.h"

static void ails(int i)
{
        w.mounts[i].health = MOUNT_UNHEALTHY;
        w.mounts[i].verdict = "ReadOnly";
        w.mounts[i].reason = "cannot write: Read-only file system";
}

static void recovers(int i)
{
        w.mounts[i].health = MOUNT_HEALTHY;
        w.mounts[i].reason = "";
}

static void later(int64_t ms)
{
        w.now += ms * 1000;
        play();
}

static const struct condition *storage(void)
{
        const struct condition *c = condition_get(&w.vm.status.conditions, "StorageHealthy");

        assert_non_null(c);
        return c;
}

static bool ailing(void)
{
        const struct rec_input in = {.vm = &w.vm,
                                     .nodes = w.rec,
                                     .nnodes = 2,
                                     .migrations = w.migp,
                                     .nmigrations = w.nmigs,
                                     .now_us = w.now};

        return rec_ailing(&in);
}

/* It has failed on node1 alone for long enough. */
static void fled(void)
{
        running();
        ails(0);
        play();
        later(REC_AILING_MS);
        assert_int_equal(w.nmigs, 1);
}

/* A pool that answers again is seen by its proofs at once, and healthy a little later. */
static void test_stays_while_its_pool_recovers(void **state)
{
        (void)state;
        running();
        ails(0);
        play();
        w.mounts[0].verdict = HEALTH_RECOVERING;
        later(REC_AILING_MS);
        assert_int_equal(w.nmigs, 0);
        assert_false(ailing());
        assert_in_range(w.out.again_ms, 1, REC_RECOVERS_MS + 1);
        w.mounts[0].verdict = "ReadOnly";
        later(REC_RECOVERS_MS);
        assert_int_equal(w.nmigs, 1);
}

static void test_fails_on_its_node_alone(void **state)
{
        (void)state;
        running();
        ails(0);
        play();
        assert_string_equal(storage()->status, "False");
        assert_string_equal(storage()->reason, "PoolUnhealthy");
        assert_non_null(strstr(storage()->message, "node1: pool default: cannot write"));
        assert_int_equal(w.nmigs, 0); /* it may pass */
        assert_true(w.out.again_ms > 0 && w.out.again_ms <= REC_AILING_MS + 1);
        assert_false(ailing());
        later(REC_AILING_MS - 1);
        assert_int_equal(w.nmigs, 0);
        w.now += 1000;
        assert_true(ailing());
        play();
        assert_int_equal(w.nmigs, 1);
        assert_string_equal(last()->meta.name, "demo-1-1");
        assert_int_equal(last()->spec.reason, REASON_STORAGE);
        assert_false(ailing()); /* a move is under way */
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING); /* no rule refuses its source */
        assert_string_equal(last()->status.target, "node2");
}

static void test_fails_everywhere(void **state)
{
        (void)state;
        running();
        ails(0);
        ails(1);
        play();
        later(REC_AILING_MS);
        later(600000);
        assert_int_equal(w.nmigs, 0);
        assert_true(ailing());
        recovers(1); /* level-triggered */
        play();
        assert_int_equal(w.nmigs, 1);
}

/* The server is back: one node finds it healthy sooner than the other. */
static void test_recovering_is_no_refuge(void **state)
{
        struct condition c[2] = {w.ready[1], {"StorageHealthy", "True", "Healthy", "", 0}};

        (void)state;
        running();
        ails(0);
        ails(1);
        play();
        later(60000);
        recovers(1);
        c[0] = w.ready[1];
        c[1].since_us = w.now;
        w.hosts[1].conditions = (struct conditions){c, 2};
        play();
        assert_int_equal(w.nmigs, 0);
        assert_int_equal(w.out.again_ms, REC_REFUGE_MS + 1);
        later(REC_REFUGE_MS);
        assert_int_equal(w.nmigs, 1);
}

static void stays(void)
{
        ails(0);
        play();
        later(REC_AILING_MS);
        assert_int_equal(w.nmigs, 0);
}

static void test_another_directory_is_no_refuge(void **state)
{
        (void)state;
        running();
        w.mounts[1].identity = "another";
        stays();
}

static void test_nor_is_where_it_may_not_be(void **state)
{
        (void)state;
        want_zone("a");
        running();
        stays();
}

static void test_nor_is_a_node_that_is_not_heard(void **state)
{
        (void)state;
        running();
        w.rec[1].alive = false;
        stays();
}

static void test_who_is_not_to_be_moved_stays(void **state)
{
        (void)state;
        running();
        w.vm.spec.eviction = EVICTION_NONE;
        stays();
}

static void test_a_silent_agents_word_is_old(void **state)
{
        (void)state;
        running();
        w.rec[0].alive = false;
        stays();
}

static void test_a_short_fault_moves_nobody(void **state)
{
        (void)state;
        running();
        ails(0);
        play();
        later(REC_AILING_MS - 1000);
        recovers(0);
        play();
        assert_string_equal(storage()->status, "True");
        ails(0); /* counted anew */
        play();
        later(REC_AILING_MS - 1000);
        assert_int_equal(w.nmigs, 0);
}

static void test_recovery_calls_off_what_has_not_begun(void **state)
{
        (void)state;
        fled();
        recovers(0);
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_non_null(strstr(last()->status.message, "healthy again"));
        assert_null(pod("drover-move-demo-1-1"));
}

static void test_recovery_stops_no_copy(void **state)
{
        (void)state;
        fled();
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        recovers(0);
        settle();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_false(last()->spec.cancel);
}

static void test_a_failed_attempt_waits(void **state)
{
        (void)state;
        fled();
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        last()->status.transfer.state = TRANSFER_FAILED;
        last()->status.transfer.message = "the pool hangs";
        play();
        assert_int_equal(last()->status.phase, MIG_FAILED);
        assert_int_equal(w.nmigs, 1);
        later(REC_BACKOFF_MIN_S * INT64_C(1000));
        assert_int_equal(w.nmigs, 2);
        assert_int_equal(last()->spec.reason, REASON_STORAGE);
}

static void test_the_placement_comes_first(void **state)
{
        (void)state;
        running();
        ails(0);
        play();
        w.now += REC_AILING_MS * INT64_C(1000);
        want_zone("b");
        play();
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(last()->spec.reason, REASON_PLACEMENT);
}

static void test_a_guest_that_stands_still_is_shown_and_moved(void **state)
{
        (void)state;
        running();
        domain(0, 1, DOMAIN_IO_ERROR);
        w.domains[0].reason = "paused after an input/output error of a disk";
        play();
        assert_int_equal(w.vm.status.phase, VM_PAUSED);
        assert_non_null(strstr(w.vm.status.reason, "input/output"));
        assert_string_equal(storage()->reason, "IOError");
        later(600000); /* its pool is well, and it has not been tried */
        assert_int_equal(w.nmigs, 0);
        ails(0);
        play();
        assert_string_equal(storage()->reason, "PoolUnhealthy");
        assert_non_null(strstr(storage()->message, "stands still"));
        later(REC_AILING_MS);
        assert_int_equal(w.nmigs, 1);
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_int_equal(w.vm.status.phase, VM_MIGRATING);
}

/* As its agent tells: it was let run on, and stands still once more. */
static void tried(int times)
{
        domain(0, 1, DOMAIN_IO_ERROR);
        w.domains[0].retries = times;
        play();
}

/* What its node has open is lost for good, though new files work. */
static void test_a_guest_that_stands_still_on_a_healthy_pool(void **state)
{
        (void)state;
        running();
        for (int i = 0; i < REC_STUCK_RETRIES; i++) {
                tried(i);
                assert_int_equal(w.nmigs, 0);
                domain(0, 1, DOMAIN_RUNNING); /* for a moment */
                play();
                assert_false(ailing());
        }
        tried(REC_STUCK_RETRIES);
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(last()->spec.reason, REASON_STORAGE);
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
}

static void test_whether_it_moves_depends_on_the_candidates(void **state)
{
        (void)state;
        running();
        w.rec[1].alive = false;
        tried(REC_STUCK_RETRIES);
        assert_int_equal(w.nmigs, 0);
        assert_true(ailing());
        w.rec[1].alive = true;
        play();
        assert_int_equal(w.nmigs, 1);
}

static void test_it_runs_on_before_its_move_has_begun(void **state)
{
        (void)state;
        running();
        tried(REC_STUCK_RETRIES);
        assert_int_equal(w.nmigs, 1);
        domain(0, 1, DOMAIN_RUNNING);
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_non_null(strstr(last()->status.message, "healthy again"));
}

/* The pool is another matter, and a silent agent's word is old. */
static void test_retries_count_on_healthy_pools_alone(void **state)
{
        (void)state;
        running();
        ails(0);
        ails(1);
        tried(REC_STUCK_RETRIES);
        later(REC_AILING_MS);
        assert_int_equal(w.nmigs, 0);
        recovers(0);
        recovers(1);
        w.rec[0].alive = false;
        play();
        assert_int_equal(w.nmigs, 0);
}

static void the_move_fails(void)
{
        pod(last()->status.pod)->node = "node2";
        play();
        last()->status.transfer.state = TRANSFER_FAILED;
        last()->status.transfer.message = "it cannot be flushed";
        play();
        assert_int_equal(last()->status.phase, MIG_FAILED);
}

/* It is the disk itself: elsewhere it is no better. */
static void test_it_is_not_moved_about_for_that(void **state)
{
        int64_t first;

        (void)state;
        running();
        tried(REC_STUCK_RETRIES);
        the_move_fails();
        first = last()->status.finished_us;
        later(60000);
        assert_int_equal(w.nmigs, 2);
        the_move_fails();
        later(300000);
        assert_int_equal(w.nmigs, 2);
        assert_true(w.out.again_ms > 0);
        w.now = first + REC_STUCK_MOVES_MS * INT64_C(1000) - 1;
        play();
        assert_int_equal(w.nmigs, 2);
        w.now++;
        play();
        assert_int_equal(w.nmigs, 3);
}

static void test_it_runs_on(void **state)
{
        (void)state;
        running();
        domain(0, 1, DOMAIN_IO_ERROR);
        play();
        domain(0, 1, DOMAIN_RUNNING);
        play();
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        assert_string_equal(storage()->status, "True");
}

static void test_a_wish_gives_way(void **state)
{
        (void)state;
        running();
        add_migration("wish");
        last()->spec.reason = REASON_USER;
        last()->spec.target_node = "node3";
        play();
        pod("drover-move-wish")->conditions = (struct conditions){
                &(struct condition){"PodScheduled", "False", "Unschedulable", "no node3", 0}, 1};
        ails(0);
        play();
        later(REC_AILING_MS);
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        assert_non_null(strstr(w.migs[0].status.message, "storage"));
        later(2000); /* as after any move that was called off */
        assert_int_equal(last()->spec.reason, REASON_STORAGE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(test_fails_on_its_node_alone),
                T(test_stays_while_its_pool_recovers),
                T(test_fails_everywhere),
                T(test_recovering_is_no_refuge),
                T(test_another_directory_is_no_refuge),
                T(test_nor_is_where_it_may_not_be),
                T(test_nor_is_a_node_that_is_not_heard),
                T(test_who_is_not_to_be_moved_stays),
                T(test_a_silent_agents_word_is_old),
                T(test_a_short_fault_moves_nobody),
                T(test_recovery_calls_off_what_has_not_begun),
                T(test_recovery_stops_no_copy),
                T(test_a_failed_attempt_waits),
                T(test_the_placement_comes_first),
                T(test_a_guest_that_stands_still_is_shown_and_moved),
                T(test_a_guest_that_stands_still_on_a_healthy_pool),
                T(test_it_runs_on_before_its_move_has_begun),
                T(test_whether_it_moves_depends_on_the_candidates),
                T(test_retries_count_on_healthy_pools_alone),
                T(test_it_is_not_moved_about_for_that),
                T(test_it_runs_on),
                T(test_a_wish_gives_way),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
