#include "api/codec.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void good(void **state)
{
        static const struct {
                const char *text;
                int64_t value;
        } ROWS[] = {
                {"0", 0},
                {"1", 1},
                {"512Mi", 512LL << 20},
                {"2G", 2000000000},
                {"2Gi", 2LL << 30},
                {"1.5Gi", 3LL << 29},
                {"100m", 1},
                {"1000m", 1},
                {"1001m", 2},
                {"1n", 1},
                {"1u", 1},
                {"999999999n", 1},
                {"1500000u", 2},
                {"1500000000n", 2},
                {"1k", 1000},
                {"1Ki", 1024},
                {"1M", 1000000},
                {"3T", 3000000000000},
                {"1Ti", 1LL << 40},
                {"1P", 1000000000000000},
                {"1Pi", 1LL << 50},
                {"1E", 1000000000000000000},
                {"1Ei", 1LL << 60},
                {"7.999Ei", 9222219115350168962}, /* rounded up */
                {"1e3", 1000},
                {"1E3", 1000},
                {"1e+3", 1000},
                {"15e-1", 2},
                {"1e-400", 1},
                {"0e400", 0},
                {"0.0Ei", 0},
                {"+5", 5},
                {"-5", -5},
                {"-1Gi", -(1LL << 30)},
                {"-100m", -1},
                {"-0", 0},
                {".5", 1},
                {"5.", 5},
                {"0.5Gi", 1LL << 29},
                {"0.000001M", 1},
                {"00000000000000000000000000000007", 7},
                {"1.0000000000000000000000000000", 1},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775807", -INT64_MAX},
                {"1000000000000000000000n", 1000000000000},
                {"10000000000000000000000e-4", 1000000000000000000},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                int64_t v = -77;
                if (quantity_parse(ROWS[i].text, &v) != 0 || v != ROWS[i].value)
                        fail_msg("%s: %lld, not %lld", ROWS[i].text, (long long)v,
                                 (long long)ROWS[i].value);
        }
}

static void bad(void **state)
{
        static const char *const ROWS[] = {
                "",    "much", "Gi",   "-",   "+",   ".",     "--1",  "1 Gi",  " 1",    "1 ",
                "1gi", "1GI",  "1Gib", "1K",  "1mi", "1e",    "1e+",  "1e1.5", "1.2.3", "0x10",
                "1,5", "1Ei3", "1E3k", "inf", "nan", "1e3Gi", "\xff", "1\n",   "1KiB",  "..1",
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                int64_t v = -77;
                if (quantity_parse(ROWS[i], &v) != -EINVAL || v != -77)
                        fail_msg("\"%s\" passed", ROWS[i]);
        }
}

static void too_large(void **state)
{
        static const char *const ROWS[] = {
                "9223372036854775808",
                "8Ei",
                "-8Ei",
                "10E",
                "1e19",
                "1e1000",
                "1e99999999999999999999",
                "100000Pi",
                "99999999999999999999999999999",
                "12345678901234567891234Mi",
                "0.12345678901234567890123",
        };
        char long_one[4096];

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                int64_t v = -77;
                if (quantity_parse(ROWS[i], &v) != -ERANGE || v != -77)
                        fail_msg("\"%s\" passed", ROWS[i]);
        }
        memset(long_one, '9', sizeof(long_one));
        long_one[sizeof(long_one) - 1] = '\0';
        int64_t v;
        assert_int_equal(quantity_parse(long_one, &v), -ERANGE);
        memset(long_one, '0', sizeof(long_one) - 1);
        long_one[0] = '1';
        assert_int_equal(quantity_parse(long_one, &v), -ERANGE);
        long_one[0] = '0';
        assert_int_equal(quantity_parse(long_one, &v), 0);
        assert_int_equal(v, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good),
                cmocka_unit_test(bad),
                cmocka_unit_test(too_large),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
