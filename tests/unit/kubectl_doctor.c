/* The whole doctor with a kubectl that is a script: its exit code, whatever kubectl does. */
#include "kubectl/doctor.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char folder[] = "/tmp/drover-plugin-XXXXXX";
static char program[64];

static int make_folder(void **state)
{
        (void)state;
        if (!mkdtemp(folder))
                return -1;
        snprintf(program, sizeof(program), "%s/kubectl", folder);
        return 0;
}

static int remove_folder(void **state)
{
        (void)state;
        unlink(program);
        return rmdir(folder);
}

/* The exit code of a process of its own; -1 when it crashes. Its output goes to out. */
static int doctor(const char *const more[], int out)
{
        const char *words[16] = {"doctor", "--kubectl", program, "--timeout", "5"};
        int status, n = 5;

        while (*more)
                words[n++] = *more++;
        fflush(NULL);
        pid_t pid = fork();
        if (!pid) {
                dup2(out, STDOUT_FILENO);
                dup2(out, STDERR_FILENO);
                exit(doctor_main(n, (char **)(uintptr_t)words));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void kubectl_is(const char *script)
{
        char text[1024];
        struct err e;

        snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", script);
        unlink(program);
        assert_int_equal(file_write(program, text, strlen(text), 0755, &e), 0);
}

#define PODS                                                                                       \
        "{\"items\":[{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":"                   \
        "{\"app.kubernetes.io/name\":\"drover-agent\"}},\"spec\":{\"nodeName\":\"n1\"},"           \
        "\"status\":{\"phase\":\"Running\"}}]}"

static void exit_codes(void **state)
{
        static const struct {
                const char *script;
                int want;
        } ROWS[] = {
                {"echo '{\"items\":[]}'", 1}, /* nothing is installed */
                {"echo garbage", 2},
                {"echo '[[[['", 2},
                {"exit 1", 2},
                {"kill -9 $$", 2},
                {"exec sleep 60", 2},
                {"exec yes", 2},
                {"echo '{}'; yes | head -c 1000000 >&2; exit 1", 2},
                /* whoever may not read this and that is told so, and not sent away */
                {"case \"$*\" in *deployments*) echo '" PODS
                 "';; *) echo Forbidden >&2; exit 1;; esac",
                 1},
                {"echo '{\"items\":[1,null,[],{\"kind\":7},{\"kind\":\"Pod\",\"metadata\":[]}]}'",
                 1},
        };
        const char *const none[] = {NULL};
        autoclose int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                kubectl_is(ROWS[i].script);
                int rc = doctor(none, null);
                if (rc != ROWS[i].want)
                        fail_msg("row %zu: exit code %d", i, rc);
        }
        unlink(program);
        assert_int_equal(doctor(none, null), 2);
}

static void flags(void **state)
{
        static const char *const ROWS[][3] = {
                {"-o", "yaml"}, {"--no-such"}, {"word"}, {"--timeout", "0"}, {"--nodes", "n7"}};
        const char *const help[] = {"--help", NULL}, *const json[] = {"-o", "json", NULL};
        autoclose int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        (void)state;
        kubectl_is("echo '{\"items\":[]}'");
        for (size_t i = 0; i < countof(ROWS); i++)
                assert_int_equal(doctor(ROWS[i], null), 2);
        assert_int_equal(doctor(help, null), 0);
        assert_int_equal(doctor(json, null), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(exit_codes),
                cmocka_unit_test(flags),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
