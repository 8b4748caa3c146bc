/* Admission reviews. */
#include "api/admission.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>

static const char REVIEW[] =
        "{'apiVersion': 'admission.k8s.io/v1', 'kind': 'AdmissionReview', 'request': {"
        "'uid': 'u-1', 'operation': 'UPDATE', 'name': 'web-1', 'namespace': 'shop',"
        "'kind': {'group': 'drover.dev', 'version': 'v1alpha1', 'kind': 'VirtualMachine'},"
        "'resource': {'group': 'drover.dev', 'version': 'v1', 'resource': 'virtualmachines'},"
        "'subResource': 'status', 'dryRun': true,"
        "'userInfo': {'username': 'jane', 'groups': ['dev', 'ops']},"
        "'object': {'spec': {'a': 1}}, 'oldObject': null}}";

/* The first n bytes, in memory that ends with them. */
static char *cut(const char *text, size_t n)
{
        char *copy = malloc(n);

        assert_non_null(copy);
        for (size_t i = 0; i < n; i++)
                copy[i] = text[i] == '\'' ? '"' : text[i];
        return copy;
}

static int review(const char *text, struct admission_request *out, struct err *e)
{
        autobuf struct buf body = buf_new(TEXT_MAX);

        quoted(&body, text);
        return admission_decode(body.data, body.len, 1 << 20, out, e);
}

static void admission_request(void **state)
{
        struct admission_request r;
        struct err e = {0};

        (void)state;
        assert_int_equal(review(REVIEW, &r, &e), 0);
        assert_string_equal(r.uid, "u-1");
        assert_string_equal(r.operation, "UPDATE");
        assert_string_equal(r.kind, "VirtualMachine");
        assert_string_equal(r.resource, "virtualmachines");
        assert_string_equal(r.subresource, "status");
        assert_string_equal(r.ns, "shop");
        assert_string_equal(r.name, "web-1");
        assert_string_equal(r.user, "jane");
        assert_int_equal(r.groups.n, 2);
        assert_string_equal(r.groups.v[1], "ops");
        assert_true(r.dry_run);
        assert_int_equal(json_int(json_get(r.object, "spec"), "a", 0), 1);
        assert_null(r.old_object);
        admission_free(&r);
        admission_free(&r); /* twice does no harm */
        assert_int_equal(review("{'apiVersion': 'admission.k8s.io/v1', 'kind': 'AdmissionReview',"
                                "'request': {'uid': 'u'}}",
                                &r, &e),
                         0);
        assert_string_equal(r.name, "");
        assert_false(r.dry_run);
        assert_null(r.object);
        admission_free(&r);
}

#define HEAD "'apiVersion': 'admission.k8s.io/v1', 'kind': 'AdmissionReview'"

static void bad_reviews(void **state)
{
        static const struct {
                const char *text, *message;
        } ROWS[] = {
                {"[]", "not an object"},
                {"{}", "not an AdmissionReview"},
                {"{'kind': 'Pod', 'apiVersion': 'v1'}", "not an AdmissionReview"},
                {"{'kind': 'AdmissionReview', 'apiVersion': 'admission.k8s.io/v1beta1'}",
                 "apiVersion: not admission.k8s.io/v1"},
                {"{" HEAD "}", "request: missing"},
                {"{" HEAD ", 'request': null}", "request: missing"},
                {"{" HEAD ", 'request': []}", "request: not an object"},
                {"{" HEAD ", 'request': {}}", "request.uid: missing"},
                {"{" HEAD ", 'request': {'uid': ''}}", "request.uid: missing"},
                {"{" HEAD ", 'request': {'uid': 7}}", "request.uid: not a string"},
                {"{" HEAD ", 'request': {'uid': 'u', 'object': 'x'}}",
                 "request.object: not an object"},
                {"{" HEAD ", 'request': {'uid': 'u', 'userInfo': {'groups': [1]}}}",
                 "request.userInfo.groups[0]: not a string"},
                {"{" HEAD ", 'request': {'uid': 'u', 'dryRun': 1}}",
                 "request.dryRun: not true or false"},
        };
        struct admission_request r;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct err e = {0};
                memset(&r, 0x77, sizeof(r));
                assert_int_equal(review(ROWS[i].text, &r, &e), -EINVAL);
                assert_string_equal(e.msg, ROWS[i].message);
                assert_int_equal(((char *)&r)[0], 0x77);
                assert_int_equal(review(ROWS[i].text, &r, NULL), -EINVAL);
        }
        assert_int_equal(admission_decode("{}", 2, 1, &r, NULL), -E2BIG);
        assert_int_equal(admission_decode("{\"a\":", 5, 99, &r, NULL), -EINVAL);
        assert_int_equal(admission_decode("", 0, 99, &r, NULL), -EINVAL);
        for (size_t n = 1; n < sizeof(REVIEW) - 1; n++) { /* cut anywhere, nothing behind */
                char *body = cut(REVIEW, n);
                assert_true(admission_decode(body, n, 1 << 20, &r, NULL) < 0);
                free(body);
        }
}

static void reviews_without_memory(void **state)
{
        autobuf struct buf body = buf_new(TEXT_MAX);
        unsigned long n;

        (void)state;
        quoted(&body, REVIEW);
        for (n = 1; n; n++) {
                struct admission_request r;
                struct err e = {0};
                oom_arm(n);
                int rc = admission_decode(body.data, body.len, 1 << 20, &r, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        admission_free(&r);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
        }
        assert_true(n > 20);
}

static struct json *answered(const struct admission_answer *ans)
{
        struct admission_request r = {.uid = "u\"1"};
        autobuf struct buf b = buf_new(1 << 20);
        struct json *j = NULL;

        assert_int_equal(admission_encode(&r, ans, &b), 0);
        assert_int_equal(json_parse(b.data, b.len, 1 << 20, &j, NULL), 0);
        assert_string_equal(json_str(j, "kind", ""), "AdmissionReview");
        assert_string_equal(json_str(j, "apiVersion", ""), "admission.k8s.io/v1");
        assert_string_equal(json_str(json_get(j, "response"), "uid", ""), "u\"1");
        return j;
}

static void answers(void **state)
{
        static const char *const WARNINGS[] = {"one", "t\"wo"};

        (void)state;
        autojson struct json *yes = answered(&(struct admission_answer){.allowed = true});
        const struct json *r = json_get(yes, "response");
        assert_true(json_bool(r, "allowed", false));
        assert_null(json_get(r, "status"));
        assert_null(json_get(r, "patch"));
        assert_null(json_get(r, "patchType"));
        assert_null(json_get(r, "warnings"));

        autojson struct json *no = answered(&(struct admission_answer){
                .code = 422,
                .reason = "Invalid",
                .message = "spec.x: \"bad\"\n\xff",
                .warnings = WARNINGS,
                .nwarnings = 2,
                .patch = yes, /* of a denial: ignored */
        });
        r = json_get(no, "response");
        assert_true(json_type(json_get(r, "allowed")) == JSON_BOOL);
        assert_false(json_bool(r, "allowed", true));
        assert_int_equal(json_int(json_get(r, "status"), "code", 0), 422);
        assert_string_equal(json_str(json_get(r, "status"), "reason", ""), "Invalid");
        assert_string_equal(json_str(json_get(r, "status"), "message", ""),
                            "spec.x: \"bad\"\n\xEF\xBF\xBD");
        assert_null(part(r, "status/details"));
        assert_null(json_get(r, "patch"));
        assert_int_equal(json_count(json_get(r, "warnings")), 2);

        autojson struct json *later =
                answered(&(struct admission_answer){.code = 429, .retry_after_s = 3});
        r = part(later, "response/status");
        assert_int_equal(json_int(json_get(r, "details"), "retryAfterSeconds", 0), 3);
        assert_string_equal(json_str(r, "message", "-"), "");
}

/* RFC 4648, by its own table. */
static size_t unbase64(const char *s, char *out)
{
        static const char DIGITS[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        unsigned v = 0;
        int bits = 0;
        size_t n = 0;

        assert_int_equal(strlen(s) % 4, 0);
        for (; *s && *s != '='; s++) {
                const char *d = strchr(DIGITS, *s);
                assert_non_null(d);
                v = v << 6 | (unsigned)(d - DIGITS);
                bits += 6;
                if (bits >= 8) {
                        bits -= 8;
                        out[n++] = (char)(v >> bits & 0xff);
                }
        }
        assert_int_equal(v & ((1U << bits) - 1), 0);
        out[n] = '\0';
        return n;
}

static void patches(void **state)
{
        (void)state;
        for (size_t len = 0; len < 12; len++) {        /* every padding */
                char value[16] = "\xC3\xA4", out[400]; /* an umlaut: bytes over 127 */
                memset(value + 2, 'x', len);
                value[2 + len] = '\0';
                autojson struct json *patch =
                        json_of("[{'op': 'add', 'path': '/metadata/labels', 'value': {}}]");
                struct json *op = (struct json *)(uintptr_t)json_first(patch);
                assert_non_null(json_set_str(op, "path", value));
                autojson struct json *j =
                        answered(&(struct admission_answer){.allowed = true, .patch = patch});
                const struct json *r = json_get(j, "response");
                assert_string_equal(json_str(r, "patchType", ""), "JSONPatch");
                size_t n = unbase64(json_str(r, "patch", ""), out);
                autojson struct json *back = NULL;
                assert_int_equal(json_parse(out, n, sizeof(out), &back, NULL), 0);
                assert_json_equal(back, patch);
        }
}

static void answers_that_do_not_fit(void **state)
{
        autojson struct json *patch = json_of("[1, 2, 3, 'four']");
        struct admission_request r = {.uid = "u"};
        struct admission_answer yes = {.allowed = true, .patch = patch};
        struct admission_answer no = {.code = 403, .reason = "Forbidden", .message = "no"};
        autobuf struct buf whole = buf_new(1000);

        (void)state;
        assert_int_equal(admission_encode(&r, &yes, &whole), 0);
        for (size_t limit = 0; limit < whole.len; limit++) {
                autobuf struct buf b = buf_new(limit);
                assert_int_equal(admission_encode(&r, &yes, &b), -E2BIG);
                autobuf struct buf c = buf_new(limit < 100 ? limit : 100);
                assert_int_equal(admission_encode(&r, &no, &c), -E2BIG);
        }
        for (unsigned long n = 1; n; n++) {
                autobuf struct buf b = buf_new(1000);
                oom_arm(n);
                int rc = admission_encode(&r, &yes, &b);
                if (!oom_disarm())
                        break;
                assert_int_equal(rc, -ENOMEM);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(admission_request),
                cmocka_unit_test(bad_reviews),
                cmocka_unit_test(reviews_without_memory),
                cmocka_unit_test(answers),
                cmocka_unit_test(patches),
                cmocka_unit_test(answers_that_do_not_fit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
