#include "base/file.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char dir[] = "/tmp/base_file.XXXXXX";
static char path[PATH_MAX];

static int make_dir(void **state)
{
        (void)state;
        snprintf(path, sizeof(path), "%s/f", mkdtemp(dir));
        return 0;
}

static int remove_dir(void **state)
{
        char cmd[64];

        (void)state;
        snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
        return system(cmd);
}

static void writes_and_reads(void **state)
{
        autobuf struct buf b = buf_new(1 << 20);
        char big[100000];
        struct stat st;
        struct err e;

        (void)state;
        memset(big, 'q', sizeof(big));
        assert_int_equal(file_write(path, "hello", 5, 0600, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        ino_t old = st.st_ino;
        assert_int_equal(file_read(path, &b, &e), 0);
        assert_string_equal(buf_str(&b), "hello");
        assert_int_equal(file_write(path, big, sizeof(big), 0644, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_true(st.st_ino != old);                /* replaced, not rewritten */
        assert_int_equal(file_read(path, &b, &e), 0); /* appends */
        assert_int_equal(b.len, 5 + sizeof(big));
        assert_memory_equal(b.data + 5, big, sizeof(big));
        assert_int_equal(file_write(path, "", 0, 0644, &e), 0);
        assert_int_equal(file_read(path, &b, &e), 0);
        assert_int_equal(b.len, 5 + sizeof(big));
}

static void failures_leave_the_buffer(void **state)
{
        autobuf struct buf b = buf_new(20);
        struct err e;

        (void)state;
        buf_adds(&b, "kept");
        assert_int_equal(file_read("/nonexistent/x", &b, &e), -ENOENT);
        assert_string_equal(e.msg, "open /nonexistent/x: No such file or directory");
        assert_int_equal(file_read("/tmp", &b, &e), -EISDIR);
        assert_int_equal(file_write(path, "more than sixteen bytes", 23, 0600, &e), 0);
        assert_int_equal(file_read(path, &b, &e), -E2BIG);
        assert_non_null(strstr(e.msg, "larger than 16 bytes"));
        assert_string_equal(buf_str(&b), "kept");
        assert_false(b.failed);
}

static void failed_write_keeps_the_old_file(void **state)
{
        autobuf struct buf b = buf_new(100);
        char sub[PATH_MAX + 8], deep[PATH_MAX + 10];
        struct err e;

        (void)state;
        snprintf(sub, sizeof(sub), "%s/sub", dir);
        snprintf(deep, sizeof(deep), "%s/x", sub);
        assert_int_equal(mkdir(sub, 0755), 0);
        assert_int_equal(file_write(deep, "x", 1, 0600, &e), 0);
        assert_true(file_write(sub, "x", 1, 0600, &e) < 0); /* rename over a directory */
        assert_int_equal(file_read(deep, &b, &e), 0);
        assert_int_equal(file_write("/nonexistent/x", "x", 1, 0600, &e), -ENOENT);
        assert_int_equal(unlink(deep), 0);
        assert_int_equal(rmdir(sub), 0);
        memset(sub, 'n', sizeof(sub) - 1);
        sub[sizeof(sub) - 1] = 0;
        assert_int_equal(file_write(sub, "x", 1, 0600, &e), -ENAMETOOLONG);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(dir), 0); /* no temporary file was left */
        assert_int_equal(mkdir(dir, 0700), 0);
}

static void relative_path(void **state)
{
        autobuf struct buf b = buf_new(100);
        struct err e;

        (void)state;
        assert_int_equal(chdir(dir), 0);
        assert_int_equal(file_write("plain", "abc", 3, 0600, &e), 0);
        assert_int_equal(file_read("plain", &b, &e), 0);
        assert_string_equal(buf_str(&b), "abc");
        assert_int_equal(chdir("/"), 0);
}

static void memory_out(void **state)
{
        autobuf struct buf b = buf_new(100);
        struct err e;

        (void)state;
        assert_int_equal(file_write(path, "abc", 3, 0600, &e), 0);
        oom_arm(1);
        assert_int_equal(file_read(path, &b, &e), -ENOMEM);
        assert_true(oom_disarm());
        assert_int_equal(file_read(path, &b, &e), 0);
        assert_string_equal(buf_str(&b), "abc");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(writes_and_reads),
                cmocka_unit_test(failures_leave_the_buffer),
                cmocka_unit_test(failed_write_keeps_the_old_file),
                cmocka_unit_test(relative_path),
                cmocka_unit_test(memory_out),
        };
        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
