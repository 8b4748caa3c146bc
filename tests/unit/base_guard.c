#include "base/file.h"
#include "base/guard.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char dir[] = "/tmp/base_guard.XXXXXX";
static char path[PATH_MAX];

static int make_dir(void **state)
{
        (void)state;
        snprintf(path, sizeof(path), "%s/key", mkdtemp(dir));
        return 0;
}

static int remove_dir(void **state)
{
        char cmd[64];

        (void)state;
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        return system(cmd);
}

static long locked_kb(void)
{
        FILE *f = fopen("/proc/self/status", "re");
        char line[256];
        long kb = -1;

        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "VmLck: %ld", &kb) == 1)
                        break;
        if (f)
                fclose(f);
        return kb;
}

static void a_secret_is_read_whole(void **state)
{
        struct secret s = {NULL, 0, false};
        char big[SECRET_MAX];
        struct err e;

        (void)state;
        assert_int_equal(file_write(path, "se\0cret", 7, 0600, &e), 0);
        assert_int_equal(secret_read(path, &s, &e), 0);
        assert_int_equal(s.len, 7);
        assert_memory_equal(s.data, "se\0cret", 8);
        secret_free(&s);
        assert_null(s.data);
        secret_free(&s);
        memset(big, 'k', sizeof(big));
        assert_int_equal(file_write(path, big, sizeof(big) - 1, 0600, &e), 0);
        assert_int_equal(secret_read(path, &s, &e), 0);
        assert_int_equal(s.len, SECRET_MAX - 1);
        assert_int_equal(strlen(s.data), SECRET_MAX - 1);
        secret_free(&s);
        assert_int_equal(file_write(path, "", 0, 0600, &e), 0);
        assert_int_equal(secret_read(path, &s, &e), 0);
        assert_string_equal(s.data, "");
        secret_free(&s);
}

static void what_cannot_be_read_is_an_error(void **state)
{
        struct secret s = {NULL, 0, false};
        char big[SECRET_MAX];
        struct err e;

        (void)state;
        memset(big, 'k', sizeof(big));
        assert_int_equal(file_write(path, big, sizeof(big), 0600, &e), 0);
        assert_int_equal(secret_read(path, &s, &e), -E2BIG);
        assert_non_null(strstr(e.msg, "larger than 16383 bytes"));
        assert_int_equal(secret_read("/no/such/key", &s, &e), -ENOENT);
        assert_int_equal(secret_read(dir, &s, &e), -EISDIR);
        assert_null(s.data);
}

/* Sanitizers leave mlock out. */
static void a_secret_is_locked_while_it_lasts(void **state)
{
        struct secret s = {NULL, 0, false};
        long before = locked_kb();
        struct err e;

        (void)state;
        assert_int_equal(file_write(path, "secret", 6, 0600, &e), 0);
        assert_int_equal(secret_read(path, &s, &e), 0);
        long during = locked_kb();
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
        (void)during;
#else
        assert_true(s.locked);
        assert_int_equal(during - before, SECRET_MAX / 1024);
#endif
        secret_free(&s);
        assert_int_equal(locked_kb(), before);
}

/* In a child, which says by its exit what is not as it should be. */
static int guarded(const struct rlimit *memlock)
{
        struct rlimit core = {0, 0};
        struct err e;

        if (memlock && setrlimit(RLIMIT_MEMLOCK, memlock) < 0)
                return 10;
        getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = core.rlim_max;
        setrlimit(RLIMIT_CORE, &core);
        if (prctl(PR_GET_DUMPABLE) != 1)
                return 11;
        if (guard_process(&e) < 0)
                return 12;
        getrlimit(RLIMIT_CORE, &core);
        if (core.rlim_cur || core.rlim_max)
                return 13;
        return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 14;
}

static int exit_of_guarded(const struct rlimit *memlock)
{
        pid_t pid = fork();
        int status;

        if (pid == 0)
                _exit(guarded(memlock));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void a_process_shuts_itself_off(void **state)
{
        const struct rlimit little = {0, 0};

        (void)state;
        assert_int_equal(exit_of_guarded(NULL), 0);
        assert_int_equal(exit_of_guarded(&little), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_secret_is_read_whole),
                cmocka_unit_test(what_cannot_be_read_is_an_error),
                cmocka_unit_test(a_secret_is_locked_while_it_lasts),
                cmocka_unit_test(a_process_shuts_itself_off),
        };

        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
