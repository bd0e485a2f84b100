package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/webhook"
)

const folder = "kubernetes"

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decode reads a file into a type of the Kubernetes API; an unknown field fails.
func decode[T any](t *testing.T, name string) T {
	t.Helper()
	var into T
	if err := yaml.UnmarshalStrict(read(t, name), &into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	// The decoder forgives a wrong case of letters, and the API server does not: so
	// every key must come out again as it went in.
	var written, known any
	again, err := yaml.Marshal(into)
	if err == nil {
		err = errors.Join(yaml.Unmarshal(read(t, name), &written), yaml.Unmarshal(again, &known))
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, path := range missing("", written, known) {
		t.Errorf("%s: unknown field %s", name, path)
	}
	return into
}

// missing returns the paths of the keys in written that are not in known.
func missing(path string, written, known any) []string {
	var paths []string
	switch written := written.(type) {
	case map[string]any:
		fields, _ := known.(map[string]any)
		for key, value := range written {
			if _, found := fields[key]; !found {
				paths = append(paths, path+"."+key)
				continue
			}
			paths = append(paths, missing(path+"."+key, value, fields[key])...)
		}
	case []any:
		items, _ := known.([]any)
		for i, value := range written {
			if i < len(items) {
				paths = append(paths, missing(fmt.Sprintf("%s[%d]", path, i), value, items[i])...)
			}
		}
	}
	return paths
}

func TestKustomization(t *testing.T) {
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Namespace  string   `json:"namespace"`
		Resources  []string `json:"resources"`
		Images     []struct {
			Name    string `json:"name"`
			NewName string `json:"newName"`
			NewTag  string `json:"newTag"`
		} `json:"images"`
	}
	if err := yaml.UnmarshalStrict(read(t, "kustomization.yaml"), &k); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name != "kustomization.yaml" && !slices.Contains(k.Resources, name) {
			t.Errorf("%s is not among the resources", name)
		}
	}
	if len(k.Resources) != len(files)-1 {
		t.Errorf("resources are %q, files are %q", k.Resources, files)
	}
	image := decode[appsv1.StatefulSet](t, "statefulset.yaml").Spec.Template.Spec.Containers[0].Image
	if len(k.Images) != 1 || k.Images[0].Name != image || k.Images[0].NewTag == "" {
		t.Errorf("images are %+v, the container's is %q", k.Images, image)
	}
}

// Each file is of the kind that its name says, in one namespace, with nothing in it
// that Kubernetes does not know.
func TestKinds(t *testing.T) {
	namespace := decode[corev1.Namespace](t, "namespace.yaml")
	account := decode[corev1.ServiceAccount](t, "serviceaccount.yaml")
	configMap := decode[corev1.ConfigMap](t, "configmap.yaml")
	service := decode[corev1.Service](t, "service.yaml")
	set := decode[appsv1.StatefulSet](t, "statefulset.yaml")

	for want, got := range map[string]string{
		"v1 Namespace":        namespace.APIVersion + " " + namespace.Kind,
		"v1 ServiceAccount":   account.APIVersion + " " + account.Kind,
		"v1 ConfigMap":        configMap.APIVersion + " " + configMap.Kind,
		"v1 Service":          service.APIVersion + " " + service.Kind,
		"apps/v1 StatefulSet": set.APIVersion + " " + set.Kind,
	} {
		if got != want {
			t.Errorf("kind is %q, want %q", got, want)
		}
	}
	for file, got := range map[string]string{
		"serviceaccount.yaml": account.Namespace,
		"configmap.yaml":      configMap.Namespace,
		"service.yaml":        service.Namespace,
		"statefulset.yaml":    set.Namespace,
	} {
		if got != namespace.Name {
			t.Errorf("%s is in the namespace %q, want %q", file, got, namespace.Name)
		}
	}
	if got := namespace.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("the namespace enforces %q, want restricted", got)
	}

	pod := set.Spec.Template
	if pod.Spec.ServiceAccountName != account.Name {
		t.Errorf("the pod's service account is %q, want %q", pod.Spec.ServiceAccountName, account.Name)
	}
	if set.Spec.ServiceName != service.Name {
		t.Errorf("the set's service is %q, want %q", set.Spec.ServiceName, service.Name)
	}
	for key, value := range service.Spec.Selector {
		if pod.Labels[key] != value || set.Spec.Selector.MatchLabels[key] != value {
			t.Errorf("the service selects %s=%s, which the pods do not have", key, value)
		}
	}
	if len(service.Spec.Ports) != 1 {
		t.Error("the service leads to more than webhooks")
	}
	if target := service.Spec.Ports[0].TargetPort.StrVal; target != pod.Spec.Containers[0].Ports[0].Name {
		t.Errorf("the service's port leads to %q", target)
	}
}

func TestHardening(t *testing.T) {
	account := decode[corev1.ServiceAccount](t, "serviceaccount.yaml")
	set := decode[appsv1.StatefulSet](t, "statefulset.yaml")
	pod := set.Spec.Template.Spec
	container := pod.Containers[0]
	if len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
		t.Fatal("another container needs checks of its own")
	}
	podContext, context := pod.SecurityContext, container.SecurityContext
	if podContext == nil || context == nil || context.Capabilities == nil || podContext.SeccompProfile == nil {
		t.Fatal("a security context is missing")
	}
	for what, holds := range map[string]bool{
		"one replica: SQLite has one process":         is(set.Spec.Replicas, 1),
		"not root":                                    is(podContext.RunAsNonRoot, true),
		"the image's user":                            is(podContext.RunAsUser, 65532) && is(podContext.RunAsGroup, 65532),
		"the volume is the user's":                    is(podContext.FSGroup, 65532),
		"seccomp profile of the runtime":              podContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"no privilege escalation":                     is(context.AllowPrivilegeEscalation, false),
		"not privileged":                              is(context.Privileged, false),
		"read-only root file system":                  is(context.ReadOnlyRootFilesystem, true),
		"no capabilities":                             slices.Equal(context.Capabilities.Drop, []corev1.Capability{"ALL"}) && len(context.Capabilities.Add) == 0,
		"no token of the service account, by the pod": is(pod.AutomountServiceAccountToken, false),
		"no token of the service account, by itself":  is(account.AutomountServiceAccountToken, false),
		"no variables about other services":           is(pod.EnableServiceLinks, false),
		"nothing of the host":                         !pod.HostNetwork && !pod.HostPID && !pod.HostIPC,
		"a limit of memory":                           !container.Resources.Limits.Memory().IsZero(),
		"requests":                                    !container.Resources.Requests.Memory().IsZero() && !container.Resources.Requests.Cpu().IsZero(),
		"liveness by /healthz":                        probes(container.LivenessProbe, "/healthz"),
		"start by /healthz":                           probes(container.StartupProbe, "/healthz"),
		"readiness by /readyz":                        probes(container.ReadinessProbe, "/readyz"),
	} {
		if !holds {
			t.Errorf("does not hold: %s", what)
		}
	}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			t.Errorf("the volume %q is a folder of the host", volume.Name)
		}
	}
}

func is[T comparable](got *T, want T) bool { return got != nil && *got == want }

func probes(p *corev1.Probe, path string) bool {
	return p != nil && p.HTTPGet != nil && p.HTTPGet.Path == path && p.HTTPGet.Port.StrVal == "private"
}

// The ConfigMap's server file and rules load, and the StatefulSet gives them what
// they need: variables, files, a place for the database, time to stop.
func TestConfigurationFits(t *testing.T) {
	data := decode[corev1.ConfigMap](t, "configmap.yaml").Data
	set := decode[appsv1.StatefulSet](t, "statefulset.yaml")
	pod := set.Spec.Template.Spec
	container := pod.Containers[0]

	fromSecret := map[string]string{} // variable: key of the Secret
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			continue
		}
		ref := variable.ValueFrom.SecretKeyRef
		if ref == nil || is(ref.Optional, true) {
			t.Errorf("%s does not come from a Secret that must exist", variable.Name)
			continue
		}
		fromSecret[variable.Name] = ref.Key
	}
	asked := map[string]bool{}
	env := func(name string) (string, bool) {
		asked[name] = true
		_, found := fromSecret[name]
		return "dummy for " + name, found
	}
	const mount = "/etc/gatewright"
	noFile := func(path string) ([]byte, error) { return nil, fmt.Errorf("the ConfigMap names the file %s", path) }
	c, complaints := config.Load(mount+"/gatewright.yaml", []byte(data["gatewright.yaml"]), kinds(), env, noFile)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	for variable, key := range fromSecret {
		if !asked[variable] {
			t.Errorf("%s is given and nothing asks for it", variable)
		}
		manual := string(read(t, "kustomization.yaml"))
		if !regexp.MustCompile(`(?m)^# +` + key + ` `).MatchString(manual) {
			t.Errorf("kustomization.yaml does not tell to put %s into the Secret", key)
		}
	}

	rulesFile, inMount := strings.CutPrefix(c.Rules, mount+"/")
	if _, complaints := rules.Load(rules.Source{Name: c.Rules, Data: []byte(data[rulesFile])}); !inMount || len(complaints) > 0 {
		t.Errorf("rules %s: %v", c.Rules, complaints)
	}
	if len(data) != 2 {
		t.Errorf("the ConfigMap has %d files; each needs a check here", len(data))
	}

	mounts := map[string]string{}
	for _, m := range container.VolumeMounts {
		mounts[m.MountPath] = m.Name
	}
	claim := set.Spec.VolumeClaimTemplates[0]
	if got := mounts[filepath.Dir(c.Store.SQLite.Path)]; got != claim.Name {
		t.Errorf("the database's folder is on %q, want the claimed volume %q", got, claim.Name)
	}
	if claim.Spec.Resources.Requests.Storage().IsZero() {
		t.Error("the claim asks for no storage")
	}
	if got := mounts[mount]; got == "" || !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.Name == got && v.ConfigMap != nil && v.ConfigMap.Name == "gatewright"
	}) {
		t.Errorf("%s is on %q, which is not the ConfigMap", mount, got)
	}
	if want := "/etc/gatewright/gatewright.yaml"; !slices.Contains(container.Args, want) {
		t.Errorf("the server is started with %q, want %s", container.Args, want)
	}
	for i, addr := range []string{c.HTTP.Addr, c.HTTP.PrivateAddr} {
		if want := fmt.Sprintf(":%d", container.Ports[i].ContainerPort); addr != want {
			t.Errorf("the server listens on %s, the container's port is %s", addr, want)
		}
	}
	if len(container.Ports) != 2 || container.Ports[1].Name != "private" || set.Spec.Template.Annotations["prometheus.io/port"] != "8081" {
		t.Error("metrics and health are not on the private port")
	}
	grace := pod.TerminationGracePeriodSeconds
	if grace == nil || time.Duration(*grace)*time.Second <= c.HTTP.ShutdownGrace {
		t.Errorf("the pod is killed before the server's %v are over", c.HTTP.ShutdownGrace)
	}
}

// No file of the set is a Secret: values come from the cluster only.
func TestNoSecretValues(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		var kind struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal(read(t, filepath.Base(file)), &kind); err != nil || kind.Kind == "Secret" {
			t.Errorf("%s is a %s: %v", file, kind.Kind, err)
		}
	}
}

// kinds are the kinds of git hosts that a server file can name.
func kinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	return kinds
}
