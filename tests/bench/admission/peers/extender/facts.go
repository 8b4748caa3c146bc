package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	coordination "k8s.io/client-go/listers/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"drover.dev/tests/bench/admission/api"
)

const (
	byNode = "node"
)

// facts is what the informers show.
type facts struct {
	hosts, vms cache.Store
	pods       cache.Indexer
	leases     coordination.LeaseNamespaceLister
	silent     time.Duration
}

func stripManagedFields(object any) (any, error) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
	}
	return object, nil
}

// droverClient is what client-gen would make of the group.
func droverClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c := rest.CopyConfig(config)
	c.GroupVersion = &api.GroupVersion
	c.APIPath = "/apis"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(c)
}

func podIndexers() cache.Indexers {
	return cache.Indexers{
		byNode: func(object any) ([]string, error) {
			pod := object.(*corev1.Pod)
			if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				return nil, nil
			}
			return []string{pod.Spec.NodeName}, nil
		},
	}
}

func newFacts(ctx context.Context, config *rest.Config, silent time.Duration) (*facts, error) {
	drover, err := droverClient(config)
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	watch := func(resource string, object runtime.Object) cache.SharedIndexInformer {
		return cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(drover, resource, metav1.NamespaceAll, fields.Everything()), object, 0, cache.Indexers{})
	}
	hosts := watch("virtualmachinehosts", &api.VirtualMachineHost{})
	vms := watch("virtualmachines", &api.VirtualMachine{})
	pods := informers.NewSharedInformerFactoryWithOptions(clients, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = api.VMLabel })).Core().V1().Pods().Informer()
	leases := informers.NewSharedInformerFactoryWithOptions(clients, 0,
		informers.WithNamespace(api.Namespace)).Coordination().V1().Leases()
	if err := pods.AddIndexers(podIndexers()); err != nil {
		return nil, err
	}
	var synced []cache.InformerSynced
	for _, informer := range []cache.SharedIndexInformer{hosts, vms, pods, leases.Informer()} {
		if err := informer.SetTransform(stripManagedFields); err != nil {
			return nil, err
		}
		go informer.RunWithContext(ctx)
		synced = append(synced, informer.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil, errors.New("the caches have not synced")
	}
	return &facts{
		hosts: hosts.GetStore(), vms: vms.GetStore(), pods: pods.GetIndexer(),
		leases: leases.Lister().Leases(api.Namespace), silent: silent,
	}, nil
}

func (f *facts) host(name string) *api.VirtualMachineHost {
	object, ok, err := f.hosts.GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	return object.(*api.VirtualMachineHost)
}

func (f *facts) vm(namespace, name string) *api.VirtualMachine {
	object, ok, err := f.vms.GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return nil
	}
	return object.(*api.VirtualMachine)
}
