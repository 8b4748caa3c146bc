#include "base/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char constant[] = "as it was";
static char variable[] = "as it became";

static long resident_pages(void)
{
        FILE *f = fopen("/proc/self/statm", "r");
        long pages = 0;

        assert_non_null(f);
        assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
        fclose(f);
        return pages;
}

/* Everything goes on as before, in less room. */
static void what_is_needed_comes_back(void **state)
{
        char *(*const volatile from_libc)(const char *, int) = strrchr;

        (void)state;
        variable[0] = 'A';
        long before = resident_pages();
        for (int i = 0; i < 3; i++) {
                memory_settle();
                assert_string_equal(constant, "as it was");
                assert_string_equal(variable, "As it became");
                assert_ptr_equal(from_libc(constant, 'w'), constant + 6);
        }
        memory_settle();
        assert_true(resident_pages() < before);
}

int main(void)
{
        const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_needed_comes_back)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
