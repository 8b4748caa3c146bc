// webhook is drover-webhook's /mutate as one would write it with controller-runtime: the pods of virtual machines get
// the machine's required node affinity, the managed resource and the machine's tolerations.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"drover.dev/tests/bench/admission/api"
)

type podMutator struct {
	client  client.Client
	decoder admission.Decoder
}

func (m *podMutator) Handle(ctx context.Context, req admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := m.decoder.Decode(req, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	name, ok := pod.Labels[api.VMLabel]
	if !ok {
		return admission.Allowed("not the pod of a virtual machine")
	}
	if req.UserInfo.Username != api.Migrator {
		return admission.Denied("only " + api.Migrator + " makes the pods of virtual machines")
	}
	vm := &api.VirtualMachine{}
	if err := m.client.Get(ctx, types.NamespacedName{Namespace: req.Namespace, Name: name}, vm); err != nil {
		if apierrors.IsNotFound(err) {
			return admission.Denied(fmt.Sprintf("there is no VirtualMachine %s", name))
		}
		return admission.Errored(http.StatusInternalServerError, err)
	}
	if uid := pod.Annotations[api.UIDAnnotation]; uid != "" && uid != string(vm.UID) {
		return admission.Denied(fmt.Sprintf("the VirtualMachine %s with uid %s is gone", name, uid))
	}
	if len(pod.Spec.Containers) == 0 {
		return admission.Denied("a VM pod needs a container")
	}
	mutate(pod, vm)
	raw, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, raw)
}

func run() error {
	host := flag.String("host", "127.0.0.1", "listen on this address")
	port := flag.Int("port", 9443, "HTTPS port")
	certs := flag.String("cert-dir", "", "folder of tls.crt and tls.key")
	kubeconfig := flag.String("peer-kubeconfig", "", "how to reach the API server")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := api.AddToScheme(scheme); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:        scheme,
		Cache:         cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:       metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{Host: *host, Port: *port, CertDir: *certs}),
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	if _, err := mgr.GetCache().GetInformer(ctx, &api.VirtualMachine{}); err != nil {
		return err
	}
	mgr.GetWebhookServer().Register("/mutate", &webhook.Admission{
		Handler: &podMutator{client: mgr.GetClient(), decoder: admission.NewDecoder(scheme)},
	})
	return mgr.Start(ctx)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}
