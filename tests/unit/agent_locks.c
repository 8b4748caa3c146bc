#include "agent/locks.h"

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
        if (!mkdtemp(pool))
                return -1;
        snprintf(path, sizeof(path), "%s/.drover", pool);
        return mkdir(path, 0700);
}

static int teardown(void **state)
{
        char path[100];

        (void)state;
        snprintf(path, sizeof(path), "%s/.drover/lock-%s", pool, node);
        unlink(path);
        snprintf(path, sizeof(path), "%s/.drover", pool);
        rmdir(path);
        return rmdir(pool);
}

/* A process that holds the lock; returns once it does. *says: what it writes further. */
static pid_t hold_and_hear(int *says)
{
        char *argv[] = {pool, node}, text[16] = "";
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
                setvbuf(stdout, NULL, _IOLBF, 0); /* as a tool has it */
                _exit(lock_tool_hold(argv));
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
        char *argv[] = {pool, node}, *stranger[] = {pool, (char[]){"node8"}};

        (void)state;
        assert_int_equal(lock_tool_refused(argv), 1); /* nobody has ever held it */
        pid_t pid = hold();
        assert_int_equal(lock_tool_refused(argv), 0);
        assert_int_equal(lock_tool_refused(stranger), 1);
        end(pid);
        assert_int_equal(lock_tool_refused(argv), 1);
}

static void held_by_one_only(void **state)
{
        char *argv[] = {pool, node};

        (void)state;
        pid_t pid = hold();
        assert_int_equal(lock_tool_hold(argv), 1); /* returns: it would wait for ever otherwise */
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

        (void)state;
        end(hold());
        snprintf(path, sizeof(path), "%s/.drover/lock-%s", pool, node);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &shared), 0); /* as one that asks just now */
        assert_int_equal(lock_ask(pool, node), LOCK_GRANTED);
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

        return cmocka_run_group_tests(tests, setup, teardown);
}
