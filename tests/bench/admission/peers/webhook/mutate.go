package main

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"drover.dev/tests/bench/admission/api"
)

func in(key, value string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}}
}

func with(all []corev1.NodeSelectorRequirement, more ...corev1.NodeSelectorRequirement) []corev1.NodeSelectorRequirement {
	out := slices.Clone(all)
	for _, r := range more {
		if !contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func contains(all []corev1.NodeSelectorRequirement, r corev1.NodeSelectorRequirement) bool {
	return slices.ContainsFunc(all, func(x corev1.NodeSelectorRequirement) bool {
		return x.Key == r.Key && x.Operator == r.Operator && slices.Equal(x.Values, r.Values)
	})
}

func empty(t *corev1.NodeSelectorTerm) bool {
	return len(t.MatchExpressions) == 0 && len(t.MatchFields) == 0
}

// ownTerm is all of the machine's placement but its affinity.
func ownTerm(vm *api.VirtualMachine) corev1.NodeSelectorTerm {
	var t corev1.NodeSelectorTerm
	for _, key := range slices.Sorted(maps.Keys(vm.Spec.NodeSelector)) {
		t.MatchExpressions = with(t.MatchExpressions, in(key, vm.Spec.NodeSelector[key]))
	}
	t.MatchExpressions = with(t.MatchExpressions, in(api.HypervisorLabel, "true"))
	model := vm.Spec.CPU.Model
	if vm.Status.Running != nil {
		model = vm.Status.Running.CPUModel
	}
	if model != "" {
		t.MatchExpressions = with(t.MatchExpressions, in(api.CPULabelPrefix+model, "true"))
	}
	for _, d := range vm.Spec.Disks {
		if d.PersistentVolumeClaim == nil {
			t.MatchExpressions = with(t.MatchExpressions, in(api.PoolLabelPrefix+d.Pool, "true"))
		}
	}
	if vm.Spec.NodeName != "" {
		t.MatchFields = with(t.MatchFields, in("metadata.name", vm.Spec.NodeName))
	}
	return t
}

// and is the cross product of the terms; nil stands for no selector at all.
func and(x, y *corev1.NodeSelector) *corev1.NodeSelector {
	if x == nil {
		return y
	}
	if y == nil {
		return x
	}
	out := &corev1.NodeSelector{}
	for i := range x.NodeSelectorTerms {
		for j := range y.NodeSelectorTerms {
			a, b := &x.NodeSelectorTerms[i], &y.NodeSelectorTerms[j]
			var t corev1.NodeSelectorTerm
			if !empty(a) && !empty(b) {
				t.MatchExpressions = with(a.MatchExpressions, b.MatchExpressions...)
				t.MatchFields = with(a.MatchFields, b.MatchFields...)
			}
			out.NodeSelectorTerms = append(out.NodeSelectorTerms, t)
		}
	}
	return out
}

// implies: each term of x has all that some term of y asks for, so that nothing need be added.
func implies(x, y *corev1.NodeSelector) bool {
	holds := func(all, part []corev1.NodeSelectorRequirement) bool {
		return !slices.ContainsFunc(part, func(r corev1.NodeSelectorRequirement) bool { return !contains(all, r) })
	}
	for i := range x.NodeSelectorTerms {
		a := &x.NodeSelectorTerms[i]
		if empty(a) {
			continue
		}
		if !slices.ContainsFunc(y.NodeSelectorTerms, func(b corev1.NodeSelectorTerm) bool {
			return !empty(&b) && holds(a.MatchExpressions, b.MatchExpressions) && holds(a.MatchFields, b.MatchFields)
		}) {
			return false
		}
	}
	return true
}

func mutateAffinity(pod *corev1.Pod, vm *api.VirtualMachine) {
	wanted := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{ownTerm(vm)}}
	if a := vm.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		wanted = and(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution, wanted)
	}
	if pod.Spec.Affinity == nil {
		pod.Spec.Affinity = &corev1.Affinity{}
	}
	if pod.Spec.Affinity.NodeAffinity == nil {
		pod.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	required := &pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if *required == nil || !implies(*required, wanted) {
		*required = and(*required, wanted)
	}
}

func mutateTolerations(pod *corev1.Pod, vm *api.VirtualMachine) {
	for _, t := range vm.Spec.Tolerations {
		if t.Operator == "" {
			t.Operator = corev1.TolerationOpEqual
		}
		i := slices.IndexFunc(pod.Spec.Tolerations, func(have corev1.Toleration) bool { return have.MatchToleration(&t) })
		if i < 0 {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, t)
		} else if !equality.Semantic.DeepEqual(pod.Spec.Tolerations[i].TolerationSeconds, t.TolerationSeconds) {
			pod.Spec.Tolerations[i] = t
		}
	}
}

func mutate(pod *corev1.Pod, vm *api.VirtualMachine) {
	mutateAffinity(pod, vm)
	resources := &pod.Spec.Containers[0].Resources
	for _, list := range []*corev1.ResourceList{&resources.Limits, &resources.Requests} {
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[api.VMResource] = resource.MustParse("1")
	}
	mutateTolerations(pod, vm)
	if name := vm.Annotations["drover.dev/scheduler"]; name != "" {
		pod.Spec.SchedulerName = name
	}
}
