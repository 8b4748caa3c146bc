/*
 * The importer's work with an API server and a server of images of the test's, on a pool that is a
 * mount of the test's own.
 */
#include "agent/child.h"
#include "agent/import.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "tests/fake/objects.h"
#include "tests/unit/api_text.h"

#include <openssl/evp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#define UID  "11111111-2222-3333-4444-555555555555"
#define PATH "/apis/drover.dev/v1alpha1/namespaces/shop/virtualmachineimages/debian"
#define SIZE 65536

static struct scene {
        struct agent a;
        struct fake_objects objects;
        struct fake *api, *web;
        char pool[64], body[SIZE], sum[65];
        atomic_bool cut, down;
        /* what is done to the object while the body is under way */
        void (*meanwhile)(void);
} s;

static bool have_mount;

static void web_script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        (void)ctx;
        (void)r;
        if (s.down) {
                fake_answer(c, 503, "", "later");
                return;
        }
        fake_printf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", SIZE);
        fake_write(c, s.body, SIZE / 2);
        if (s.meanwhile)
                s.meanwhile();
        if (s.cut) {
                fake_hang(c);
                return;
        }
        fake_write(c, s.body + SIZE / 2, SIZE - SIZE / 2);
}

static void quiet(void *ctx)
{
        (void)ctx;
}

static int64_t no_work(void *ctx, const char *key)
{
        (void)ctx;
        (void)key;
        return WORK_DONE;
}

static int decode(const struct json *j, void **out, struct err *e)
{
        return image_decode_any(j, out, e);
}

/* As the watch would bring it. */
static void brought(void)
{
        autojson struct json *j = fake_objects_get(&s.objects, PATH);

        assert_non_null(j);
        kube_store_apply(s.a.images, j);
}

static void put(const char *task, int epoch, const char *more)
{
        char text[2048], sum[80];

        snprintf(sum, sizeof(sum), "%s", s.sum);
        snprintf(text, sizeof(text),
                 "{'metadata':{'name':'debian','namespace':'shop','uid':'" UID "'%s},"
                 "'spec':{'source':{'url':'%s/debian','sha256':'%s'},'pool':'default'},"
                 "'status':{'phase':'Importing','importer':{'node':'n1','epoch':%d,'task':'%s'}}}",
                 more, fake_url(s.web), sum, epoch, task);
        autojson struct json *j = json_of(text);
        struct err e = {0};
        autojson struct json *was = fake_objects_get(&s.objects, PATH);
        int rc = was ? kube_patch(s.a.kube, &KUBE_IMAGES, "shop", "debian", NULL, j, NULL, &e)
                     : kube_create(s.a.kube, &KUBE_IMAGES, "shop", j, NULL, &e);
        if (rc)
                fail_msg("%s", e.msg);
        brought();
}

static int begin(void **state)
{
        static const struct kube_store_type TYPE = {.decode = decode, .free = image_free};
        struct kube_config cfg = {.ns = "default"};
        unsigned char sum[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        char why[320];
        struct err e;

        (void)state;
        if (!have_mount)
                return 0;
        memset(&s, 0, sizeof(s));
        setenv("DROVER_LOG", "error", 1);
        snprintf(s.pool, sizeof(s.pool), "/tmp/drover-import-XXXXXX");
        assert_non_null(mkdtemp(s.pool));
        assert_int_equal(mount("pool", s.pool, "tmpfs", 0, NULL), 0);
        memset(s.body, 'x', SIZE);
        assert_int_equal(EVP_Digest(s.body, SIZE, sum, &n, EVP_sha256(), NULL), 1);
        for (unsigned i = 0; i < n; i++)
                snprintf(s.sum + 2 * i, 3, "%02x", sum[i]);
        fake_objects_init(&s.objects);
        s.api = fake_start(fake_objects_script, &s.objects);
        s.web = fake_start(web_script, NULL);
        cfg.server = fake_url(s.api);
        s.a.config = (struct agent_config){.node = "n1",
                                           .pools = {{.name = "default", .path = s.pool}},
                                           .npools = 1,
                                           .libvirt_run = "/nowhere",
                                           .probe_deadline_ms = 20000,
                                           .disk_deadline_s = 60,
                                           .image_max = 1 << 20,
                                           .image_virtual_max = 1 << 20,
                                           .image_stall_s = 60,
                                           .image_local = true,
                                           .image_ca = ""};
        s.a.images = kube_store_new(&TYPE, NULL);
        s.a.work = work_new(2, no_work, NULL);
        assert_int_equal(kube_client_new(&cfg, "test", &s.a.kube, &e), 0);
        assert_int_equal(mounts_start(&s.a.config, quiet, NULL, &s.a.mounts, &e), 0);
        for (int i = 0; i < 3000 && !mounts_usable(s.a.mounts, "default", why); i++)
                usleep(10000);
        assert_true(mounts_usable(s.a.mounts, "default", why));
        return 0;
}

static int finish(void **state)
{
        (void)state;
        if (!have_mount)
                return 0;
        assert_true(work_free(s.a.work, 10000));
        mounts_stop(s.a.mounts);
        mounts_free(s.a.mounts);
        kube_client_free(s.a.kube);
        kube_store_free(s.a.images);
        fake_stop(s.api);
        fake_stop(s.web);
        fake_objects_free(&s.objects);
        umount2(s.pool, MNT_DETACH);
        return rmdir(s.pool);
}

static int64_t work(void)
{
        int64_t next = image_work(&s.a, "shop/debian");

        if (kube_store_count(s.a.images))
                brought();
        return next;
}

static void said(const char *state, const char *words)
{
        autojson struct json *j = fake_objects_get(&s.objects, PATH);
        const struct json *p = json_path(j, "status", "progress", NULL);
        const char *message = json_str(p, "message", "");

        if (strcmp(json_str(p, "state", ""), state) != 0 || !strstr(message, words))
                fail_msg("%s: %s", json_str(p, "state", ""), message);
}

static void files_are(const char *want)
{
        autobuf struct buf out = buf_new(4096);
        char command[256];
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        struct err e;

        snprintf(command, sizeof(command),
                 "cd %s && find imported -type f 2>/dev/null | sort | tr '\\n' ' '", s.pool);
        assert_int_equal(child_run(argv, 10000, &out, &e), 0);
        assert_string_equal(buf_str(&out), want);
}

#define PLACED "imported/" UID " "

static void imported_and_removed(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 1, "");
        assert_int_equal(work(), WORK_DONE);
        said("Done", "");
        files_are(PLACED);
        assert_int_equal(work(), WORK_DONE); /* nothing more to it */
        put("Fetch", 2, "");                 /* it was another's, who had come that far */
        s.down = true;
        assert_int_equal(work(), WORK_DONE);
        said("Done", "");
        put("Remove", 3, ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
        assert_int_equal(work(), WORK_DONE);
        said("Removed", "");
        files_are("");
}

static void tried_again(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 1, "");
        s.down = true;
        assert_int_equal(work(), WORK_RETRY);
        said("Waiting", "503");
        s.down = false;
        assert_int_equal(work(), WORK_DONE);
        said("Done", "");
}

static void refused(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 1, "");
        s.body[0] = 'y';
        assert_int_equal(work(), WORK_DONE);
        said("Refused", "sha256");
        files_are("");
        assert_int_equal(work(), WORK_DONE); /* for good */
}

static void to_another(void)
{
        put("Fetch", 2, "");
}

static void deleted(void)
{
        put("Remove", 2, ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
}

/* Whoever is no longer the importer stops, and places nothing. */
static void no_longer_ours(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 1, "");
        s.cut = true;
        s.meanwhile = to_another;
        assert_int_equal(work(), WORK_RETRY);
        files_are("imported/" UID ".1.note imported/" UID ".1.part ");
        s.cut = false;
        s.meanwhile = NULL;
        assert_int_equal(work(), WORK_DONE);
        files_are(PLACED);
}

/* All that is there was fetched, but meanwhile it was deleted: the fresh look sees it. */
static void deleted_in_the_middle(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 1, "");
        s.meanwhile = deleted;
        int64_t next = work();
        assert_int_equal(next, WORK_RETRY);
        s.meanwhile = NULL;
        assert_int_equal(work(), WORK_DONE);
        said("Removed", "");
        files_are("");
}

/* A fetch that hung, and came to itself when the next importer was done. */
static void what_is_left_behind(void **state)
{
        autobuf struct buf path = buf_new(200);
        struct err e;

        (void)state;
        if (!have_mount)
                skip();
        put("Fetch", 2, "");
        assert_int_equal(work(), WORK_DONE);
        buf_addf(&path, "%s/imported/" UID ".1.note", s.pool);
        assert_int_equal(file_write(buf_str(&path), "0 0 x", 5, 0600, &e), 0);
        assert_true(leftover_work(&s.a, "shop/debian/" UID "/1") >
                    0); /* it may be taken over yet */
        autojson struct json *ready = json_of("{'status':{'phase':'Ready'}}");
        assert_int_equal(
                kube_patch(s.a.kube, &KUBE_IMAGES, "shop", "debian", NULL, ready, NULL, &e), 0);
        assert_int_equal(leftover_work(&s.a, "shop/debian/" UID "/1"), WORK_DONE);
        files_are(PLACED);
        assert_int_equal(leftover_work(&s.a, "shop/debian"), WORK_DONE);
}

static void not_asked(void **state)
{
        (void)state;
        if (!have_mount)
                skip();
        s.down = true;
        put("Fetch", 1, ",'deletionTimestamp':'2026-01-01T00:00:00Z'"); /* not begun with */
        assert_int_equal(work(), WORK_DONE);
        put("Fetch", 0, "");
        assert_int_equal(work(), WORK_DONE);
        said("", "");
        assert_int_equal(fake_requests(s.web), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                T(imported_and_removed), T(tried_again),           T(refused),
                T(no_longer_ours),       T(deleted_in_the_middle), T(not_asked),
                T(what_is_left_behind),
        };

        if (argc > 1 && !strcmp(argv[1], "tool"))
                return agent_tool(argc - 2, argv + 2);
        have_mount = (!unshare(CLONE_NEWNS) || !unshare(CLONE_NEWUSER | CLONE_NEWNS)) &&
                     !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
