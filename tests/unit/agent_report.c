#include "agent/move.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/oom.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fake *server;
static struct kube_client *client;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last[4096]; /* what was written last */

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        pthread_mutex_lock(&lock);
        snprintf(last, sizeof(last), "%s", r->body);
        pthread_mutex_unlock(&lock);
        fake_answer(c, 200, "", "{}");
}

static int begin(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        server = fake_start(script, NULL);
        cfg.server = fake_url(server);
        return kube_client_new(&cfg, "test", &client, &e);
}

static int end(void **state)
{
        (void)state;
        kube_client_free(client);
        fake_stop(server);
        return 0;
}

static void change(struct move *m, enum transfer_state state, bool finished)
{
        pthread_mutex_lock(&m->lock);
        m->transfer.state = state;
        m->transfer.bytes_done++;
        m->transfer.iteration++;
        move_say(m, "%s", transfer_state_name(state));
        m->finished = finished;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
}

/* The move goes on while its reporter starts, and the last word is always written. */
static void what_is_reported_may_change_all_the_time(void **state)
{
        static struct agent a;
        static struct migration mig = {.meta = {.name = "web-2-1", .ns = "ns", .uid = "m1"}};
        static struct move m = {.a = &a, .key = "ns/web-2-1", .mig = &mig}; /* seen by TSan */
        pthread_t t;

        (void)state;
        a.kube = client;
        pthread_mutex_init(&m.lock, NULL);
        cond_init(&m.wake);
        m.transfer.message = m.message;
        for (int i = 0; i < 10; i++) {
                m.finished = false;
                pthread_mutex_lock(
                        &m.lock); /* who reads it without the lock is found out by TSan */
                assert_int_equal(pthread_create(&t, NULL, report_run, &m), 0);
                m.transfer.state = TRANSFER_RUNNING;
                pthread_mutex_unlock(&m.lock);
                for (int k = 0; k < 50; k++)
                        change(&m, TRANSFER_RUNNING, false);
                change(&m, TRANSFER_SWITCHED, false);
                change(&m, TRANSFER_DONE, true);
                pthread_join(t, NULL);
                assert_non_null(strstr(last, "\"Done\""));
        }
        pthread_cond_destroy(&m.wake);
        pthread_mutex_destroy(&m.lock);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_is_reported_may_change_all_the_time, begin,
                                                end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
