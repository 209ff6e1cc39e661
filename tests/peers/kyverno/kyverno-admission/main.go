// kyverno-admission is Kyverno's admission controller without a cluster: the handlers of its webhooks, called as its server
// calls them.
//
//	kyverno-admission POLICIES PODS NAMESPACES OPERATION SUBRESOURCE [MANIFEST]
//
// It gives each pod to the handlers, and prints the pod after them, as JSON, one a line; of a pod that is refused, its
// namespace, its name and the error. SUBRESOURCE may be empty. MANIFEST holds Kyverno's ConfigMap among other objects, such
// as its install manifest does; without it, Kyverno filters nothing.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	policiesv1beta1 "github.com/kyverno/api/api/policies.kyverno.io/v1beta1"
	kyvernov1 "github.com/kyverno/kyverno/api/kyverno/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	sigsyaml "sigs.k8s.io/yaml"
)

func main() {
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "kyverno-admission: %v\n", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 5 && len(arguments) != 6 {
		return errors.New("usage: POLICIES PODS NAMESPACES OPERATION SUBRESOURCE [MANIFEST]")
	}
	var given given
	for place, path := range append([]string{arguments[0], arguments[2]}, arguments[5:]...) {
		documents, err := read(path)
		if err != nil {
			return err
		}
		for _, document := range documents {
			add := given.add
			if place == 2 {
				add = given.configure
			}
			if err := add(document); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	if len(arguments) == 6 && given.configuration == nil {
		return fmt.Errorf("%s: it has no ConfigMap of Kyverno's", arguments[5])
	}
	kyverno, err := newKyverno(given)
	if err != nil {
		return err
	}
	pods, err := read(arguments[1])
	if err != nil {
		return err
	}
	lines := json.NewEncoder(os.Stdout)
	for _, document := range pods {
		object := map[string]any{}
		if err := sigsyaml.Unmarshal(document, &object); err != nil {
			return err
		}
		pod := &unstructured.Unstructured{Object: object}
		if pod.GroupVersionKind() != corev1.SchemeGroupVersion.WithKind("Pod") {
			return fmt.Errorf("%s: %s is no pod", arguments[1], pod.GroupVersionKind())
		}
		outcome, err := kyverno.admit(pod, arguments[3], arguments[4])
		if err != nil {
			return err
		}
		if err := lines.Encode(outcome); err != nil {
			return err
		}
	}
	return nil
}

// read splits a file into its documents.
func read(path string) ([][]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var documents [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		documents = append(documents, bytes.Clone(document))
	}
}

// given is what the cluster has before the first pod comes.
type given struct {
	policies         []kyvernov1.PolicyInterface
	mutatingPolicies []policiesv1beta1.MutatingPolicyLike
	namespaces       []*corev1.Namespace
	configuration    *corev1.ConfigMap
}

// add takes a policy or a namespace.
func (given *given) add(document []byte) error {
	kind, err := kindOf(document)
	if err != nil {
		return err
	}
	var object any
	switch kind.Group + "/" + kind.Kind {
	case "kyverno.io/ClusterPolicy":
		policy := &kyvernov1.ClusterPolicy{}
		given.policies = append(given.policies, policy)
		object = policy
	case "kyverno.io/Policy":
		policy := &kyvernov1.Policy{}
		given.policies = append(given.policies, policy)
		object = policy
	// All versions of these have one form; Kyverno itself reads each as this one.
	case "policies.kyverno.io/MutatingPolicy":
		policy := &policiesv1beta1.MutatingPolicy{}
		given.mutatingPolicies = append(given.mutatingPolicies, policy)
		object = policy
	case "policies.kyverno.io/NamespacedMutatingPolicy":
		policy := &policiesv1beta1.NamespacedMutatingPolicy{}
		given.mutatingPolicies = append(given.mutatingPolicies, policy)
		object = policy
	case "/Namespace":
		namespace := &corev1.Namespace{}
		given.namespaces = append(given.namespaces, namespace)
		object = namespace
	default:
		return fmt.Errorf("%s is neither a policy nor a namespace", kind)
	}
	return sigsyaml.UnmarshalStrict(document, object)
}

// configure takes Kyverno's own ConfigMap, and leaves all else.
func (given *given) configure(document []byte) error {
	kind, err := kindOf(document)
	if err != nil || kind != corev1.SchemeGroupVersion.WithKind("ConfigMap") {
		return err
	}
	settings := &corev1.ConfigMap{}
	if err := sigsyaml.UnmarshalStrict(document, settings); err != nil {
		return err
	}
	if settings.Name == "kyverno" {
		given.configuration = settings
	}
	return nil
}

func kindOf(document []byte) (schema.GroupVersionKind, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	err := sigsyaml.Unmarshal(document, &head)
	return schema.FromAPIVersionAndKind(head.APIVersion, head.Kind), err
}
