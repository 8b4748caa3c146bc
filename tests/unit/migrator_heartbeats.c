/* Who is silent, on virtual time. */
#include "migrator/world.h"
#include "tests/unit/api_text.h"

#define SECOND 1000

static struct heartbeats *beats;
static struct mono now;
static int64_t wall; /* of the agents' clocks, microseconds */
static int changes;

static int setup(void **state)
{
        (void)state;
        beats = heartbeats_new();
        now = (struct mono){(int64_t)3600 * 1000000000};
        wall = wall_us();
        changes = 0;
        return beats ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        heartbeats_free(beats);
        return 0;
}

static void lease(enum kube_event type, const char *name)
{
        char renewed[RFC3339_MAX], text[256];
        struct json *j;

        rfc3339_format(wall, 1, renewed);
        snprintf(text, sizeof(text), "{'metadata':{'name':'%s'},'spec':{'renewTime':'%s'}}", name,
                 renewed);
        j = json_of(text);
        heartbeats_take(beats, type, j, now);
        json_free(j);
}

static void count(void *ctx, const char *node)
{
        (void)ctx;
        (void)node;
        changes++;
}

static void pass(int64_t ms)
{
        now = mono_add_ms(now, ms);
        wall += ms * 1000;
}

/* n1's agent is dead unless told otherwise; n2's lives, and so does the migrators' election. */
static void listen(int seconds, bool n1)
{
        for (int i = 0; i < seconds; i++) {
                pass(SECOND);
                lease(KUBE_MODIFIED, i % 2 ? "drover-node-n2" : "drover-migrator");
                if (n1)
                        lease(KUBE_MODIFIED, "drover-node-n1");
        }
}

static enum liveness n1(void)
{
        return heartbeats_of(beats, "n1", now);
}

static void a_dead_agent_is_silent(void **state)
{
        (void)state;
        listen(20, true);
        assert_int_equal(n1(), LIVE_FRESH);
        listen(14, false);
        assert_int_equal(n1(), LIVE_FRESH);
        listen(1, false);
        assert_int_equal(n1(), LIVE_SILENT);
        assert_int_equal(heartbeats_of(beats, "n2", now), LIVE_FRESH);
        listen(1, true);
        assert_int_equal(n1(), LIVE_FRESH);
}

/* Our watch shows nothing for a minute: that nobody was heard says nothing of anybody. */
static void our_outage_is_not_theirs(void **state)
{
        (void)state;
        listen(20, true);
        pass(60 * SECOND);
        assert_int_equal(n1(), LIVE_UNHEARD);
        assert_int_equal(heartbeats_of(beats, "n2", now), LIVE_UNHEARD);
        listen(15, false); /* the first of which ends the outage */
        assert_int_equal(n1(), LIVE_UNHEARD);
        assert_int_equal(heartbeats_of(beats, "n2", now), LIVE_FRESH);
        listen(1, false);
        assert_int_equal(n1(), LIVE_SILENT);
}

/* What was heard of its silence before the outage does not count. */
static void the_whole_time_is_given_again(void **state)
{
        (void)state;
        listen(20, true);
        listen(12, false);
        pass(8 * SECOND);
        listen(10, false);
        assert_int_equal(n1(), LIVE_UNHEARD);
        listen(1, true);
        assert_int_equal(n1(), LIVE_FRESH);
}

/* One after the other: as long as it goes on nobody is called silent. */
static void an_outage_after_the_other(void **state)
{
        (void)state;
        listen(20, true);
        for (int i = 0; i < 20; i++) {
                pass(6 * SECOND);
                listen(9, false);
                assert_int_not_equal(n1(), LIVE_SILENT);
        }
        listen(15, false);
        assert_int_equal(n1(), LIVE_SILENT);
}

/* A migrator that starts has heard nothing yet; what the Lease itself says dates its freshness. */
static void at_the_start(void **state)
{
        (void)state;
        assert_int_equal(n1(), LIVE_UNHEARD);
        wall -= (int64_t)3600 * 1000000;
        lease(KUBE_ADDED, "drover-node-n1");
        wall += (int64_t)3600 * 1000000;
        lease(KUBE_ADDED, "drover-node-n2");
        assert_int_equal(n1(), LIVE_UNHEARD);
        assert_int_equal(heartbeats_of(beats, "n2", now), LIVE_FRESH);
        listen(15, false);
        assert_int_equal(n1(), LIVE_SILENT);
        assert_int_equal(heartbeats_of(beats, "never-seen", now), LIVE_SILENT);
}

static void a_lease_that_goes(void **state)
{
        (void)state;
        listen(20, true);
        lease(KUBE_DELETED, "drover-node-n1");
        assert_int_equal(n1(), LIVE_SILENT);
}

static void changes_are_told_once(void **state)
{
        (void)state;
        listen(20, true);
        heartbeats_check(beats, now, count, NULL);
        assert_int_equal(changes, 2);
        heartbeats_check(beats, now, count, NULL);
        assert_int_equal(changes, 2);
        pass(60 * SECOND);
        heartbeats_check(beats, now, count, NULL);
        assert_int_equal(changes, 4);
        listen(16, false);
        heartbeats_check(beats, now, count, NULL);
        assert_int_equal(changes, 6);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(a_dead_agent_is_silent),
                T(our_outage_is_not_theirs),
                T(the_whole_time_is_given_again),
                T(an_outage_after_the_other),
                T(at_the_start),
                T(a_lease_that_goes),
                T(changes_are_told_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
