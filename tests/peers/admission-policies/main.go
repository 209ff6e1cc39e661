// admission-policies is the API server's own code for MutatingAdmissionPolicies, without a cluster.
//
//	admission-policies check FILE...
//	admission-policies apply POLICIES PODS NAMESPACES OPERATION [SUBRESOURCE]
//
// `check` does what the API server does with such an object as it is made: decodes it strictly, gives it its defaults,
// and validates it, which compiles its expressions. It names what it has read.
//
// `apply` gives each pod to the API server's admission plugin, with the policies and bindings in their place, and prints
// the pod after it, as JSON, one a line; of a pod that is refused, its namespace, its name and the error.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
)

func main() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "admission-policies: %v\n", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) >= 2 && arguments[0] == "check":
		return checkAll(arguments[1:])
	case (len(arguments) == 5 || len(arguments) == 6) && arguments[0] == "apply":
		subresource := ""
		if len(arguments) == 6 {
			subresource = arguments[5]
		}
		return apply(arguments[1], arguments[2], arguments[3], arguments[4], subresource)
	default:
		return errors.New("usage: check FILE... | apply POLICIES PODS NAMESPACES OPERATION [SUBRESOURCE]")
	}
}

func checkAll(paths []string) error {
	var all []error
	for _, path := range paths {
		objects, err := read(path)
		for _, object := range objects {
			if err == nil {
				err = create(object.internal)
			}
			if err == nil {
				fmt.Println(object.kind)
			}
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(all...)
}

// An object as the API server holds it, and the kind as which it came.
type object struct {
	kind     string
	internal runtime.Object
}

// read decodes each document of a file: strictly, with the defaults of its version, into the API server's own form.
func read(path string) ([]object, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	codecs := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	decoder := codecs.UniversalDecoder()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var objects []object
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		internal, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object{kind.String(), internal})
	}
}

// outcome is one line of what `apply` prints.
type outcome struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Pod       runtime.Object `json:"pod,omitempty"`
	Error     string         `json:"error,omitempty"`
}

func apply(policies, pods, namespaces, operation, subresource string) error {
	admit, err := newAdmission(policies, namespaces)
	if err != nil {
		return err
	}
	objects, err := read(pods)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(os.Stdout)
	for _, object := range objects {
		outcome, err := admit.pod(object.internal, operation, subresource)
		if err != nil {
			return err
		}
		if err := lines.Encode(outcome); err != nil {
			return err
		}
	}
	return nil
}
