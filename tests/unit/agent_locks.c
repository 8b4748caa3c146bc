#include "agent/locks.h"
#include "agent/pool.h"
#include "agent/tool.h"
#include "tests/unit/pool_scene.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char pool[] = "/tmp/agent_locks.XXXXXX";
static char node[] = "node7";

static int setup(void **state)
{
        char path[100];

        (void)state;
        if (pool_make(pool))
                return -1;
        snprintf(path, sizeof(path), "%s/.drover", pool);
        return mkdir(path, 0700);
}

static int teardown(void **state)
{
        (void)state;
        return pool_remove(pool);
}

/* The exit code of the tool. */
static int tool(const char *verb, const char *who)
{
        char *argv[] = {(char *)(uintptr_t)verb, pool, (char *)(uintptr_t)who};

        return agent_tool(3, argv);
}

/* A process that holds the lock; returns once it does. *says: what it writes further. */
static pid_t hold_and_hear(int *says)
{
        char text[16] = "";
        int out[2];

        assert_int_equal(pipe(out), 0);
        fflush(stdout); /* or the child writes it once more */
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(out[1], STDOUT_FILENO);
                close(out[0]);
                close(out[1]);
                _exit(tool("hold", node));
        }
        close(out[1]);
        assert_true(read(out[0], text, sizeof(text) - 1) > 0);
        assert_string_equal(text, "held\n");
        *says = out[0];
        return pid;
}

static pid_t hold(void)
{
        int says;
        pid_t pid = hold_and_hear(&says);

        close(says);
        return pid;
}

static void end(pid_t pid)
{
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void refused_while_another_holds_it(void **state)
{
        (void)state;
        assert_int_equal(tool("refused", node), 1); /* nobody has ever held it */
        pid_t pid = hold();
        assert_int_equal(tool("refused", node), 0);
        assert_int_equal(tool("refused", "node8"), 1);
        end(pid);
        assert_int_equal(tool("refused", node), 1);
}

static void held_by_one_only(void **state)
{
        (void)state;
        pid_t pid = hold();
        assert_int_equal(tool("hold", node), 1); /* returns: it would wait for ever otherwise */
        end(pid);
        pid = hold();
        end(pid);
}

/* What is mounted over the pool is not locked by the one who holds the lock below. */
static void given_up_when_its_file_is_another(void **state)
{
        char path[100], text[256] = "";
        int status, says;

        (void)state;
        pid_t pid = hold_and_hear(&says);
        snprintf(path, sizeof(path), "%s/.drover/lock-%s", pool, node);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
                fail_msg("status %#x", (unsigned)status);
        assert_true(read(says, text, sizeof(text) - 1) > 0);
        assert_memory_equal(text, "lost ", 5);
        close(says);
}

/* Any number may ask at once: none is taken for the holder by another. */
static void askers_do_not_refuse_each_other(void **state)
{
        struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        char path[100];
        struct err e;

        (void)state;
        end(hold());
        snprintf(path, sizeof(path), "%s/.drover/lock-%s", pool, node);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &shared), 0); /* as one that asks just now */
        assert_int_equal(enter_pool(pool, &e), 0);
        assert_int_equal(lock_ask(node), LOCK_GRANTED);
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(refused_while_another_holds_it),
                cmocka_unit_test(held_by_one_only),
                cmocka_unit_test(given_up_when_its_file_is_another),
                cmocka_unit_test(askers_do_not_refuse_each_other),
        };

        if (!pools_possible())
                return 1;
        return cmocka_run_group_tests(tests, setup, teardown);
}
