#include "kube/base64.h"
#include "kube/config.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PEM      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#define PEM_B64  "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
#define TEXT_B64 "bm90IGEgUEVN" /* "not a PEM" */

static char dir[] = "/tmp/kube_config.XXXXXX";

static const char *put(const char *name, const char *text)
{
        static char path[256];

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
        return path;
}

#define FILE_WITH(cluster, user)                                                                   \
        "apiVersion: v1\nkind: Config\ncurrent-context: one\n"                                     \
        "clusters:\n- name: other\n  cluster: {server: 'https://other'}\n- name: lab\n  "          \
        "cluster:\n"                                                                               \
        "    x: y\n" cluster "users:\n- name: me\n  user:\n    x: y\n" user                        \
        "contexts:\n- name: two\n  context: {cluster: other, user: ''}\n"                          \
        "- name: one\n  context: {cluster: lab, user: me, namespace: vms}\n"
#define SERVER "    server: https://10.0.0.1:6443/\n"

static void whole(void **state)
{
        struct kube_config cfg;
        struct err e = {0};

        (void)state;
        const char *path =
                put("config", FILE_WITH(SERVER "    certificate-authority-data: " PEM_B64 "\n",
                                        "    client-certificate-data: " PEM_B64 "\n"
                                        "    client-key-data: " PEM_B64 "\n"
                                        "    token: ' abc '\n"));
        assert_int_equal(kube_config_file(path, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://10.0.0.1:6443");
        assert_string_equal(cfg.ca_pem, PEM);
        assert_string_equal(cfg.cert_pem, PEM);
        assert_string_equal(cfg.key_pem, PEM);
        assert_string_equal(cfg.token, "abc");
        assert_null(cfg.token_file);
        assert_string_equal(cfg.ns, "vms");
        assert_false(cfg.insecure);
        kube_config_free(&cfg);

        assert_int_equal(kube_config_file(path, "two", &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://other");
        assert_string_equal(cfg.ns, "default");
        assert_null(cfg.ca_pem);
        assert_null(cfg.token);
        kube_config_free(&cfg);
}

static void files_beside_it(void **state)
{
        struct kube_config cfg;
        struct err e = {0};
        char want[256];

        (void)state;
        put("ca.pem", PEM);
        put("c.pem", PEM);
        put("k.pem", PEM);
        put("tok", "from-a-file\n");
        const char *path = put("config", FILE_WITH(SERVER "    certificate-authority: ca.pem\n",
                                                   "    client-certificate: ./c.pem\n"
                                                   "    client-key: k.pem\n"
                                                   "    token: ignored\n    tokenFile: tok\n"));
        assert_int_equal(kube_config_file(path, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.ca_pem, PEM);
        assert_string_equal(cfg.cert_pem, PEM);
        assert_string_equal(cfg.key_pem, PEM);
        snprintf(want, sizeof(want), "%s/tok", dir);
        assert_string_equal(cfg.token_file, want);
        kube_config_free(&cfg);

        char absolute[512];
        snprintf(absolute, sizeof(absolute),
                 FILE_WITH("    server: http://[::1]:80//\n    certificate-authority: %s/ca.pem\n",
                           ""),
                 dir);
        assert_int_equal(kube_config_file(put("config", absolute), NULL, &cfg, &e), 0);
        assert_string_equal(cfg.server, "http://[::1]:80");
        assert_string_equal(cfg.ca_pem, PEM);
        kube_config_free(&cfg);
}

static void as_json(void **state)
{
        struct kube_config cfg;
        struct err e = {0};

        (void)state;
        const char *path = put(
                "config", "{\"current-context\":\"c\",\"clusters\":[{\"name\":\"k\",\"cluster\":{"
                          "\"server\":\"https://h:1\",\"insecure-skip-tls-verify\":true}}],"
                          "\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\"}}]}");
        assert_int_equal(kube_config_file(path, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://h:1");
        assert_true(cfg.insecure);
        kube_config_free(&cfg);
}

/* Each bad file with what the error must name. */
static const struct {
        const char *text, *says;
} bad[] = {
        {"", "not a kubeconfig"},
        {"- a\n- b\n", "not a kubeconfig"},
        {"a: [b\n", "line 2"},
        {"clusters: []\n", "current-context is not set"},
        {"current-context: nil\ncontexts: []\n", "contexts: there is none named \"nil\""},
        {"current-context: c\ncontexts: {c: d}\n", "contexts: there is none named \"c\""},
        {"current-context: c\ncontexts: [{name: c}]\n", "contexts[c].context"},
        {"current-context: c\ncontexts: [{name: c, context: {user: u}}]\n",
         "contexts[c].context.cluster"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n",
         "clusters: there is none named \"k\""},
        {FILE_WITH("", ""), "clusters[lab].server: is missing"},
        {FILE_WITH("    server: 10.0.0.1:6443\n", ""), "clusters[lab].server: is not a URL"},
        {FILE_WITH("    server: https://\n", ""), "clusters[lab].server: is not a URL"},
        {FILE_WITH("    server: 'https://u:p@h'\n", ""), "clusters[lab].server: is not a URL"},
        {FILE_WITH("    server: {a: b}\n", ""), "clusters[lab].server: is missing"},
        {FILE_WITH(SERVER "    certificate-authority-data: '%%%'\n", ""),
         "clusters[lab].certificate-authority-data: is not base64"},
        {FILE_WITH(SERVER "    certificate-authority-data: " TEXT_B64 "\n", ""),
         "clusters[lab].certificate-authority-data: has no PEM"},
        {FILE_WITH(SERVER "    certificate-authority: /nowhere/ca\n", ""),
         "clusters[lab].certificate-authority: open /nowhere/ca"},
        {FILE_WITH(SERVER
                   "    insecure-skip-tls-verify: true\n    certificate-authority-data: " PEM_B64
                   "\n",
                   ""),
         "clusters[lab].insecure-skip-tls-verify"},
        {FILE_WITH(SERVER "    proxy-url: http://p\n", ""),
         "clusters[lab].proxy-url: is not supported"},
        {FILE_WITH(SERVER "    tls-server-name: n\n", ""), "clusters[lab].tls-server-name"},
        {FILE_WITH(SERVER, "    exec: {command: aws}\n"), "users[me].exec: is not supported"},
        {FILE_WITH(SERVER, "    auth-provider: {name: gcp}\n"), "users[me].auth-provider"},
        {FILE_WITH(SERVER, "    username: a\n    password: b\n"), "users[me].username"},
        {FILE_WITH(SERVER, "    as: root\n"), "users[me].as:"},
        {FILE_WITH(SERVER, "    client-certificate-data: " PEM_B64 "\n"),
         "users[me].client-key: is missing"},
        {FILE_WITH(SERVER, "    client-key-data: " PEM_B64 "\n"),
         "users[me].client-certificate: is missing"},
        {FILE_WITH(SERVER, "    token: \"a\\nb\"\n"), "users[me].token"},
        {FILE_WITH(SERVER, "    tokenFile: missing\n"), "users[me].tokenFile"},
};

static void bad_ones_name_the_field(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                struct kube_config cfg = {.ns = "untouched"};
                struct err e = {0};
                int rc = kube_config_file(put("config", bad[i].text), NULL, &cfg, &e);

                if (rc >= 0 || !strstr(e.msg, bad[i].says))
                        fail_msg("row %zu: %d \"%s\", wanted \"%s\"", i, rc, e.msg, bad[i].says);
                assert_int_equal(rc, e.code);
                assert_non_null(strstr(e.msg, "/config: "));
                assert_string_equal(cfg.ns, "untouched");
                assert_null(cfg.arena);
        }
        struct kube_config cfg;
        struct err e;
        assert_int_equal(kube_config_file("/nowhere", NULL, &cfg, &e), -ENOENT);
        assert_int_equal(kube_config_file("/nowhere", NULL, &cfg, NULL), -ENOENT);
        assert_int_equal(kube_config_file(put("config", bad[3].text), "gone", &cfg, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "\"gone\""));
}

static void in_cluster(void **state)
{
        struct kube_config cfg;
        struct err e = {0};
        char want[256];

        (void)state;
        put("ca.crt", PEM);
        put("token", "t0\n");
        put("namespace", "drover-system\n");
        assert_int_equal(kube_config_in_cluster(dir, "10.96.0.1", "443", &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://10.96.0.1:443");
        assert_string_equal(cfg.ca_pem, PEM);
        snprintf(want, sizeof(want), "%s/token", dir);
        assert_string_equal(cfg.token_file, want);
        assert_string_equal(cfg.ns, "drover-system");
        kube_config_free(&cfg);

        assert_int_equal(kube_config_in_cluster(dir, "fd00::1", "443", &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://[fd00::1]:443");
        kube_config_free(&cfg);

        unsetenv("KUBERNETES_SERVICE_HOST");
        unsetenv("KUBERNETES_SERVICE_PORT");
        assert_int_equal(kube_config_in_cluster(dir, NULL, "443", &cfg, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "KUBERNETES_SERVICE_HOST"));
        assert_int_equal(kube_config_in_cluster(dir, "h", NULL, &cfg, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "KUBERNETES_SERVICE_PORT"));
        setenv("KUBERNETES_SERVICE_HOST", "1.2.3.4", 1);
        setenv("KUBERNETES_SERVICE_PORT", "7", 1);
        assert_int_equal(kube_config_in_cluster(dir, NULL, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://1.2.3.4:7");
        kube_config_free(&cfg);
        unsetenv("KUBERNETES_SERVICE_HOST");
}

static void in_cluster_with_something_missing(void **state)
{
        struct kube_config cfg;
        struct err e = {0};

        (void)state;
        put("ca.crt", PEM);
        put("token", "t0\n");
        remove(put("namespace", ""));
        assert_int_equal(kube_config_in_cluster(dir, "h", "1", &cfg, &e), 0);
        assert_string_equal(cfg.ns, "default");
        kube_config_free(&cfg);

        put("ca.crt", "garbage");
        assert_int_equal(kube_config_in_cluster(dir, "h", "1", &cfg, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "ca.crt"));
        remove(put("ca.crt", ""));
        assert_int_equal(kube_config_in_cluster(dir, "h", "1", &cfg, &e), -ENOENT);
        assert_non_null(strstr(e.msg, "ca.crt"));
        put("ca.crt", PEM);
        put("token", " \n");
        assert_int_equal(kube_config_in_cluster(dir, "h", "1", &cfg, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "token"));
        remove(put("token", ""));
        assert_int_equal(kube_config_in_cluster(dir, "h", "1", &cfg, &e), -ENOENT);
        assert_non_null(strstr(e.msg, "token"));
}

static void which_one(void **state)
{
        struct kube_config cfg;
        struct err e = {0};
        char kube[256];

        (void)state;
        unsetenv("KUBERNETES_SERVICE_HOST");
        setenv("KUBECONFIG", put("config", FILE_WITH(SERVER, "")), 1);
        assert_int_equal(kube_config_load(NULL, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.ns, "vms");
        kube_config_free(&cfg);
        assert_int_equal(kube_config_load(NULL, "two", &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://other");
        kube_config_free(&cfg);
        assert_int_equal(kube_config_load("/nowhere", NULL, &cfg, &e), -ENOENT);

        setenv("KUBECONFIG", "/a:/b", 1);
        assert_int_equal(kube_config_load(NULL, NULL, &cfg, &e), -ENOTSUP);
        assert_non_null(strstr(e.msg, "/a:/b"));

        unsetenv("KUBECONFIG");
        setenv("HOME", dir, 1);
        snprintf(kube, sizeof(kube), "%s/.kube", dir);
        assert_int_equal(mkdir(kube, 0700), 0);
        put(".kube/config", FILE_WITH("    server: https://home\n", ""));
        assert_int_equal(kube_config_load(NULL, NULL, &cfg, &e), 0);
        assert_string_equal(cfg.server, "https://home");
        kube_config_free(&cfg);
        unsetenv("HOME");
        assert_int_equal(kube_config_load(NULL, NULL, &cfg, &e), -ENOENT);
        setenv("HOME", dir, 1);
}

static void base64(void **state)
{
        static const struct {
                const char *in, *out;
        } rows[] = {{"", ""},
                    {"Zg==", "f"},
                    {"Zm8=", "fo"},
                    {"Zm9v", "foo"},
                    {" Zm9v\r\nYg ==\n", "foob"},
                    {"+/+/", "\xfb\xff\xbf"},
                    {"Z", NULL},
                    {"Zg", NULL},
                    {"Zg=", NULL},
                    {"Z===", NULL},
                    {"Zg==Zg==", NULL},
                    {"Zg=a", NULL},
                    {"Zm9v!", NULL},
                    {"Zm-_", NULL}};

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                autobuf struct buf b = buf_new(100);
                int rc = kube_base64_decode(rows[i].in, &b);

                if (rc != (rows[i].out ? 0 : -EINVAL))
                        fail_msg("%s: %d", rows[i].in, rc);
                if (rows[i].out)
                        assert_string_equal(buf_str(&b), rows[i].out);
        }
        autobuf struct buf small = buf_new(2);
        assert_int_equal(kube_base64_decode("Zm9v", &small), -E2BIG);
}

static void without_memory(void **state)
{
        put("tok", "from-a-file\n");
        const char *path =
                put("config", FILE_WITH(SERVER "    certificate-authority-data: " PEM_B64 "\n",
                                        "    client-certificate-data: " PEM_B64 "\n"
                                        "    client-key-data: " PEM_B64 "\n    tokenFile: tok\n"));
        unsigned long n = 1;

        (void)state;
        for (;; n++) {
                struct kube_config cfg = {.ns = "untouched"};
                struct err e = {0};

                oom_arm(n);
                int rc = kube_config_file(path, NULL, &cfg, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        kube_config_free(&cfg);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_string_equal(cfg.ns, "untouched");
        }
        assert_true(n > 5);
}

static int set_up(void **state)
{
        (void)state;
        return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
        char command[128];

        (void)state;
        snprintf(command, sizeof(command), "rm -rf %s", dir);
        return system(command);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(whole),
                cmocka_unit_test(files_beside_it),
                cmocka_unit_test(as_json),
                cmocka_unit_test(bad_ones_name_the_field),
                cmocka_unit_test(in_cluster),
                cmocka_unit_test(in_cluster_with_something_missing),
                cmocka_unit_test(which_one),
                cmocka_unit_test(base64),
                cmocka_unit_test(without_memory),
        };
        return cmocka_run_group_tests_name("kube_config", tests, set_up, tear_down);
}
