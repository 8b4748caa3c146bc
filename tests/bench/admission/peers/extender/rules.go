package main

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/tests/bench/admission/api"
)

const (
	mib            = int64(1) << 20
	overheadGuest  = 96 * mib
	overheadCore   = 8 * mib
	overheadFactor = 512
)

// demand is what a virtual machine asks of a host.
type demand struct {
	uid            string
	cores, memory  int64
	hugePages      string
	model          string
	pools, bridges []string
}

func demandOf(vm *api.VirtualMachine) *demand {
	d := &demand{uid: string(vm.UID), cores: vm.Spec.CPU.Cores, memory: vm.Spec.Memory.Guest.Value(),
		hugePages: vm.Spec.Memory.HugePages, model: vm.Spec.CPU.Model}
	if r := vm.Status.Running; r != nil && vm.Status.Owner.Node != "" {
		d.cores, d.memory, d.hugePages, d.model = r.Cores, r.Memory, r.HugePages, r.CPUModel
	}
	for i := range vm.Spec.Disks {
		if p := vm.Spec.Disks[i].Pool; vm.Spec.Disks[i].PersistentVolumeClaim == nil && !slices.Contains(d.pools, p) {
			d.pools = append(d.pools, p)
		}
	}
	for i := range vm.Spec.Networks {
		if b := vm.Spec.Networks[i].Bridge; !slices.Contains(d.bridges, b) {
			d.bridges = append(d.bridges, b)
		}
	}
	return d
}

func overhead(guests, cores, memory int64) int64 {
	return guests*overheadGuest + cores*overheadCore + (memory+overheadFactor-1)/overheadFactor
}

// ordinary is the memory that does not come from huge pages.
func (d *demand) ordinary() int64 {
	if d.hugePages != "" {
		return overhead(1, d.cores, d.memory)
	}
	return d.memory + overhead(1, d.cores, d.memory)
}

func pages(bytes int64, size string) int64 {
	page := 2 * mib
	if size == "1Gi" {
		page = 1024 * mib
	}
	return (bytes + page - 1) / page
}

// demand of the virtual machine that the pod stands for; nil for other pods.
func (f *facts) demand(pod *corev1.Pod) (*demand, error) {
	name := pod.Labels[api.VMLabel]
	if name == "" {
		return nil, nil
	}
	vm := f.vm(pod.Namespace, name)
	if vm == nil {
		return nil, fmt.Errorf("VirtualMachine %s/%s is not known yet", pod.Namespace, name)
	}
	if uid := pod.Annotations[api.UIDAnnotation]; uid != "" && uid != string(vm.UID) {
		return nil, fmt.Errorf("pod %s was made for an earlier VirtualMachine %s", pod.Name, name)
	}
	return demandOf(vm), nil
}

func takesRoom(state string) bool {
	switch state {
	case "Absent", "Shutoff", "Crashed", "Erased":
		return false
	}
	return true
}

func holds(host *api.VirtualMachineHost, uid string) bool {
	return slices.ContainsFunc(host.Status.Domains, func(d api.Domain) bool { return d.UID == uid && takesRoom(d.State) })
}

// load is what is promised to guests that are bound to a host but not there yet.
type load struct {
	guests, cores, memory, huge2Mi, huge1Gi int64
}

func (f *facts) promised(host *api.VirtualMachineHost) (l load, err error) {
	pods, err := f.pods.ByIndex(byNode, host.Name)
	if err != nil {
		return l, err
	}
	var counted []string
	for _, object := range pods {
		pod := object.(*corev1.Pod)
		key := pod.Namespace + "/" + pod.Labels[api.VMLabel]
		vm := f.vm(pod.Namespace, pod.Labels[api.VMLabel])
		uid := pod.Annotations[api.UIDAnnotation]
		if uid == "" && vm != nil {
			uid = string(vm.UID)
		}
		if holds(host, uid) || slices.Contains(counted, key) {
			continue
		}
		counted = append(counted, key)
		l.guests++
		if vm == nil {
			continue
		}
		d := demandOf(vm)
		l.cores += d.cores
		l.memory += d.ordinary()
		switch d.hugePages {
		case "2Mi":
			l.huge2Mi += pages(d.memory, d.hugePages)
		case "1Gi":
			l.huge1Gi += pages(d.memory, d.hugePages)
		}
	}
	return l, nil
}

func (f *facts) silence(node string) (time.Duration, bool) {
	lease, err := f.leases.Get(api.LeasePrefix + node)
	if err != nil || lease.Spec.RenewTime == nil {
		return 0, false
	}
	return time.Since(lease.Spec.RenewTime.Time), true
}

// refuses says why the host cannot take the guest, "" when it can, and whether preemption could not help either.
func (f *facts) refuses(node string, d *demand) (message string, unresolvable bool) {
	if d == nil {
		return "", false
	}
	host := f.host(node)
	if host == nil {
		return node + ": no Drover agent has reported a hypervisor there", true
	}
	silence, heard := f.silence(node)
	if !heard {
		return node + ": its Drover agent has sent no heartbeat yet", true
	}
	if silence > f.silent {
		return fmt.Sprintf("%s: its Drover agent has not been heard from for %s", node, silence.Truncate(time.Minute)), true
	}
	if ready := meta.FindStatusCondition(host.Status.Conditions, "Ready"); ready == nil || ready.Status != metav1.ConditionTrue {
		return node + ": its hypervisor is not Ready", true
	}
	if holds(host, d.uid) {
		return "", false
	}
	if message := lacks(host, d); message != "" {
		return node + ": " + message, true
	}
	promised, err := f.promised(host)
	if err != nil {
		return node + ": " + err.Error(), false
	}
	if message := short(host, &promised, d); message != "" {
		return node + ": " + message, false
	}
	return "", false
}

// lacks is what no departure of other guests would mend.
func lacks(host *api.VirtualMachineHost, d *demand) string {
	s := &host.Status
	if d.model != "" && !slices.Contains(s.CPUModels, d.model) {
		return "its hypervisor cannot run CPU model " + d.model
	}
	for _, bridge := range d.bridges {
		if !slices.Contains(s.Bridges, bridge) {
			return "it has no network bridge " + bridge
		}
	}
	for _, pool := range d.pools {
		i := slices.IndexFunc(s.Mounts, func(m api.Mount) bool { return m.Pool == pool })
		if i < 0 {
			return "storage pool " + pool + " is not mounted there"
		}
		if m := &s.Mounts[i]; m.Health != "Healthy" {
			return fmt.Sprintf("storage pool %s at %s is %s: %s", m.Pool, m.Path, m.Health, m.Reason)
		}
	}
	return ""
}

// short is what there is too little of.
func short(host *api.VirtualMachineHost, promised *load, d *demand) string {
	c, used := &host.Status.Capacity, &host.Status.Used
	if taken := used.Domains + promised.guests; c.Slots > 0 && taken >= c.Slots {
		return fmt.Sprintf("%d of %d VMs are there", taken, c.Slots)
	}
	cpus := c.CPUs
	if c.CPUOvercommitPercent > 0 {
		cpus = cpus * c.CPUOvercommitPercent / 100
	}
	if free := cpus - used.CPUs - promised.cores; d.cores > free {
		return fmt.Sprintf("%d CPUs are asked for, %d of %d are free", d.cores, max(free, 0), cpus)
	}
	free := c.Memory - c.ReservedMemory - used.Memory - overhead(used.Domains, used.CPUs, used.Memory) -
		c.HugePages2Mi*2*mib - c.HugePages1Gi*1024*mib - promised.memory
	if need := d.ordinary(); need > free {
		return fmt.Sprintf("%d MiB of memory are needed, %d MiB are free", need/mib, max(free, 0)/mib)
	}
	if d.hugePages == "" {
		return ""
	}
	spare := c.HugePages2Mi - promised.huge2Mi
	if d.hugePages == "1Gi" {
		spare = c.HugePages1Gi - promised.huge1Gi
	}
	if need := pages(d.memory, d.hugePages); need > spare {
		return fmt.Sprintf("%d huge pages of %s are asked for, %d are free", need, d.hugePages, max(spare, 0))
	}
	return ""
}
