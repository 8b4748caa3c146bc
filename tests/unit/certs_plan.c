#include "certs/plan.h"
#include "certs/secret.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW       INT64_C(1767225600) /* 2026-01-01 */
#define DAY       PKI_DAY_S
#define VALUE_MAX 4096

static const char *dns[] = {"drover-webhook.drover-system.svc", "drover-webhook"};
static const struct pki_leaf leaf = {.name = "drover-webhook", .dns = {dns, 2}, .days = 90};
static const struct plan_object ca_object = {"drover-ca-key", NULL};
static const struct plan_object bundle_object = {"drover-ca", NULL};
static const struct plan_object leaf_object = {"drover-webhook-tls", &leaf};
static const struct plan_object hooks_object = {"drover", NULL};

static struct estate estate_new(void)
{
        struct estate s = {.ns = "drover-system",
                           .now_s = NOW,
                           .ca_days = 3650,
                           .settle_s = 600,
                           .leaf_days = 365};

        estate_init(&s);
        return s;
}

/* What the plan wants in place of *object, which becomes that; "" when it may stay. */
static char why[PLAN_WHY_MAX];
static int carry_out(plan_fn *plan, struct estate *s, const struct plan_object *o,
                     struct json **object)
{
        struct json *wanted = NULL;
        struct err e;
        int rc;

        why[0] = '\0';
        rc = plan(s, o, *object, &wanted, why, &e);
        if (rc < 0) {
                assert_null(wanted);
                snprintf(why, sizeof(why), "%.255s", e.msg);
                return rc;
        }
        assert_int_equal(!wanted, !*why);
        if (wanted) {
                json_free(*object);
                *object = wanted;
        }
        return 0;
}

struct scene {
        struct estate s;
        struct json *ca, *bundle, *leaf;
};
static void everything(struct scene *c)
{
        assert_int_equal(carry_out(plan_wishes, &c->s, &bundle_object, &c->bundle), 0);
        assert_int_equal(carry_out(plan_ca, &c->s, &ca_object, &c->ca), 0);
        assert_int_equal(carry_out(plan_bundle, &c->s, &bundle_object, &c->bundle), 0);
        assert_int_equal(carry_out(plan_leaf, &c->s, &leaf_object, &c->leaf), 0);
}
static void scene_new(struct scene *c)
{
        *c = (struct scene){.s = estate_new()};
        everything(c);
        assert_string_equal(why, "there was none");
}
static void scene_free(struct scene *c)
{
        estate_reset(&c->s);
        json_free(c->ca);
        json_free(c->bundle);
        json_free(c->leaf);
}

static const char *value(const struct json *secret, const char *key)
{
        return json_str(json_get(secret, "data"), key, "");
}

static void copy(char out[VALUE_MAX], const char *text)
{
        assert_in_range(snprintf(out, VALUE_MAX, "%s", text), 1, VALUE_MAX - 1);
}

static void nothing_becomes_everything(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        assert_string_equal(json_str(c.ca, "type", ""), "Opaque");
        assert_string_equal(json_str(json_get(c.ca, "metadata"), "name", ""), "drover-ca-key");
        assert_string_equal(json_str(json_get(c.ca, "metadata"), "namespace", ""), "drover-system");
        assert_string_equal(json_str(c.leaf, "type", ""), "kubernetes.io/tls");
        assert_int_equal(json_count(json_get(c.ca, "data")), 2);
        assert_int_equal(json_count(json_get(c.bundle, "data")), 1);
        assert_int_equal(json_count(json_get(c.leaf, "data")), 3);
        assert_string_equal(value(c.bundle, "ca.crt"), value(c.leaf, "ca.crt"));
        assert_string_equal(value(c.bundle, "ca.crt"), value(c.ca, "ca.crt"));
        scene_free(&c);
}

static void what_is_right_stays(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        assert_int_equal(carry_out(plan_ca, &c.s, &ca_object, &c.ca), 0);
        assert_string_equal(why, "");
        assert_int_equal(carry_out(plan_bundle, &c.s, &bundle_object, &c.bundle), 0);
        assert_string_equal(why, "");
        assert_int_equal(carry_out(plan_leaf, &c.s, &leaf_object, &c.leaf), 0);
        assert_string_equal(why, "");
        scene_free(&c);
}

static void a_changed_object_keeps_what_is_not_ours(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        json_set_str(json_object_at(c.leaf, "metadata"), "resourceVersion", "7");
        json_set_str(json_object_at(c.leaf, "data"), "other", "b3RoZXI=");
        c.s.now_s += 61 * DAY;
        char before[VALUE_MAX];
        copy(before, value(c.leaf, "tls.key"));
        everything(&c);
        assert_string_equal(why, "less than a third of its lifetime is left");
        assert_string_equal(json_str(json_get(c.leaf, "metadata"), "resourceVersion", ""), "7");
        assert_string_equal(value(c.leaf, "other"), "b3RoZXI=");
        assert_string_not_equal(value(c.leaf, "tls.key"), before);
        scene_free(&c);
}

static size_t trusted(const struct scene *c)
{
        autocerts struct pki_certs all = {.n = 0};
        struct err e;

        assert_int_equal(pki_certs_parse(buf_str(&c->s.bundle), &all, &e), 0);
        return all.n;
}

static void a_deleted_ca_is_replaced_and_the_old_stays_trusted(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        for (int i = 0; i < 2; i++) {
                json_free(c.ca);
                c.ca = NULL;
                everything(&c);
                assert_string_equal(why, "it was not signed by the CA in use");
                assert_int_equal(trusted(&c), i + 2);
        }
        /* Once the older have expired they go. */
        c.s.now_s += 3651 * DAY;
        json_free(c.ca);
        c.ca = NULL;
        everything(&c);
        assert_int_equal(trusted(&c), 1);
        scene_free(&c);
}

static void leaves_are_renewed_when_that_is_asked_for(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        assert_int_equal(c.s.expires_s, NOW + 90 * DAY);
        c.s.now_s = NOW + 10;
        secret_set_time(c.bundle, "drover.dev/renew-certificates", NOW + 11); /* yet to come */
        everything(&c);
        assert_string_equal(why, "");
        c.s.now_s = NOW + 11;
        everything(&c);
        assert_string_equal(why, "its renewal was asked for");
        assert_int_equal(c.s.expires_s, NOW + 11 + 90 * DAY);
        everything(&c);
        assert_string_equal(why, "");
        scene_free(&c);
}

static void a_slip_in_an_annotation_is_named(void **state)
{
        struct json *notes;
        struct scene c;

        (void)state;
        scene_new(&c);
        notes = json_object_at(json_object_at(c.bundle, "metadata"), "annotations");
        json_set_str(notes, "drover.dev/retire-ca", "now");
        assert_int_equal(carry_out(plan_wishes, &c.s, &bundle_object, &c.bundle), -EINVAL);
        assert_string_equal(why, "Secret drover-system/drover-ca: annotation drover.dev/retire-ca: "
                                 "now is not a time like 2026-01-02T03:04:05Z");
        assert_int_equal(c.s.trusted.n, 1);
        scene_free(&c);
}

static void only_the_bundle_changes_in_a_good_leaf(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        char cert[VALUE_MAX];
        copy(cert, value(c.leaf, "tls.crt"));
        json_set_str(json_object_at(c.leaf, "data"), "ca.crt", "b2xk");
        everything(&c);
        assert_string_equal(why, "the CA bundle has changed");
        assert_string_equal(value(c.leaf, "tls.crt"), cert);
        scene_free(&c);
}

static void unreadable_leaves_and_bundles_are_made_anew(void **state)
{
        static const struct {
                const char *key, *value, *why;
        } bad[] = {
                {"tls.crt", "", "it has no tls.crt"},
                {"tls.key", "", "it has no tls.key"},
                {"tls.crt", "!!!!", "its tls.crt is not base64"},
                {"tls.crt", "aGVsbG8=", "read a certificate: no start line"},
                {"tls.key", "aGVsbG8=", "read a private key: unsupported"},
        };
        struct scene c;

        (void)state;
        scene_new(&c);
        for (size_t i = 0; i < countof(bad); i++) {
                json_set_str(json_object_at(c.leaf, "data"), bad[i].key, bad[i].value);
                everything(&c);
                assert_string_equal(why, bad[i].why);
        }
        json_set_str(json_object_at(c.bundle, "data"), "ca.crt", "aGVsbG8=");
        assert_int_equal(carry_out(plan_bundle, &c.s, &bundle_object, &c.bundle), 0);
        assert_string_equal(why, "the CAs have changed");
        assert_string_equal(value(c.bundle, "ca.crt"), value(c.ca, "ca.crt"));
        scene_free(&c);
}

static void a_ca_that_makes_no_sense_is_not_touched(void **state)
{
        struct scene c, other;

        (void)state;
        scene_new(&c);
        scene_new(&other);
        char key[VALUE_MAX];
        copy(key, value(c.ca, "ca.key"));
        json_set_str(json_object_at(c.ca, "data"), "ca.key", value(other.ca, "ca.key"));
        assert_int_equal(carry_out(plan_ca, &c.s, &ca_object, &c.ca), -EINVAL);
        assert_string_equal(why, "Secret drover-system/drover-ca-key: delete it to have a new CA "
                                 "made: its ca.key does not belong to its ca.crt");
        json_set_str(json_object_at(c.ca, "data"), "ca.key", value(c.leaf, "tls.key"));
        json_set_str(json_object_at(c.ca, "data"), "ca.crt", value(c.leaf, "tls.crt"));
        assert_int_equal(carry_out(plan_ca, &c.s, &ca_object, &c.ca), -EINVAL);
        assert_non_null(strstr(why, "its ca.crt is not a CA's"));
        json_remove(json_object_at(c.ca, "data"), "ca.crt");
        assert_int_equal(carry_out(plan_ca, &c.s, &ca_object, &c.ca), -ENOENT);
        assert_non_null(strstr(why, "it has no ca.crt"));
        assert_non_null(c.s.authority.ca.cert);
        scene_free(&c);
        scene_new(&c);
        json_set_str(json_object_at(c.ca, "data"), "next.crt", value(other.ca, "ca.crt"));
        assert_int_equal(carry_out(plan_ca, &c.s, &ca_object, &c.ca), -ENOENT);
        assert_string_equal(why, "Secret drover-system/drover-ca-key: mend the next CA, or remove "
                                 "it: it has no next.key");
        scene_free(&c);
        scene_free(&other);
}

static void every_webhook_gets_the_bundle(void **state)
{
        static const char text[] =
                "{\"metadata\":{\"name\":\"drover\",\"resourceVersion\":\"3\"},"
                "\"webhooks\":[{\"name\":\"a\",\"clientConfig\":{\"service\":{}}},"
                "{\"name\":\"b\",\"clientConfig\":{\"caBundle\":\"b2xk\"}}]}";
        struct json *hooks = NULL;
        struct scene c;
        struct err e;

        (void)state;
        scene_new(&c);
        assert_int_equal(json_parse(text, strlen(text), 4096, &hooks, &e), 0);
        assert_int_equal(carry_out(plan_webhooks, &c.s, &hooks_object, &hooks), 0);
        assert_string_equal(why, "the CAs have changed for 2 of its webhooks");
        for (const struct json *w = json_first(json_get(hooks, "webhooks")); w; w = json_next(w))
                assert_string_equal(json_str(json_get(w, "clientConfig"), "caBundle", ""),
                                    value(c.bundle, "ca.crt"));
        assert_non_null(json_path(json_first(json_get(hooks, "webhooks")), "clientConfig",
                                  "service", NULL));
        assert_int_equal(carry_out(plan_webhooks, &c.s, &hooks_object, &hooks), 0);
        assert_string_equal(why, "");
        json_free(hooks);
        hooks = NULL;
        assert_int_equal(carry_out(plan_webhooks, &c.s, &hooks_object, &hooks), -ENOENT);
        assert_string_equal(why, "drover does not exist yet");
        scene_free(&c);
}

static void a_wiped_secret_says_nothing(void **state)
{
        struct scene c;

        (void)state;
        scene_new(&c);
        secret_wipe(c.leaf);
        assert_string_equal(value(c.leaf, "tls.key"), "");
        secret_wipe(NULL);
        scene_free(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_becomes_everything),
                cmocka_unit_test(what_is_right_stays),
                cmocka_unit_test(a_changed_object_keeps_what_is_not_ours),
                cmocka_unit_test(a_deleted_ca_is_replaced_and_the_old_stays_trusted),
                cmocka_unit_test(leaves_are_renewed_when_that_is_asked_for),
                cmocka_unit_test(a_slip_in_an_annotation_is_named),
                cmocka_unit_test(only_the_bundle_changes_in_a_good_leaf),
                cmocka_unit_test(unreadable_leaves_and_bundles_are_made_anew),
                cmocka_unit_test(a_ca_that_makes_no_sense_is_not_touched),
                cmocka_unit_test(every_webhook_gets_the_bundle),
                cmocka_unit_test(a_wiped_secret_says_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
