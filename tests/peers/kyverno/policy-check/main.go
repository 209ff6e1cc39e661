// policy-check judges policies by the CustomResourceDefinitions of their kinds, as the API server does.
//
//	policy-check DEFINITIONS FILE...
//
// DEFINITIONS is a file with definitions, such as Kyverno's install manifest; other objects in it are left. Each object in
// the other files gets the defaults of its version, and then has to have no field that the schema does not know, no field
// twice, all that the schema asks for, and every rule in CEL of the schema. The kinds of what has passed are printed.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1validation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	sigsyaml "sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: policy-check DEFINITIONS FILE...")
		os.Exit(2)
	}
	versions, err := definitions(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(2)
	}
	failed := false
	for _, path := range os.Args[2:] {
		if err := check(versions, path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// version is a version of a kind that a definition serves.
type version struct {
	namespaced bool
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// definitions reads the versions that the definitions in a file serve.
func definitions(path string) (map[runtimeschema.GroupVersionKind]version, error) {
	documents, err := read(path)
	if err != nil {
		return nil, err
	}
	versions := map[runtimeschema.GroupVersionKind]version{}
	for _, document := range documents {
		var head struct{ Kind string }
		if err := sigsyaml.Unmarshal(document, &head); err != nil {
			return nil, err
		}
		if head.Kind != "CustomResourceDefinition" {
			continue
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := sigsyaml.UnmarshalStrict(document, definition); err != nil {
			return nil, err
		}
		for _, one := range definition.Spec.Versions {
			if !one.Served {
				continue
			}
			kind := runtimeschema.GroupVersionKind{
				Group: definition.Spec.Group, Version: one.Name, Kind: definition.Spec.Names.Kind,
			}
			properties := &apiextensions.JSONSchemaProps{}
			err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
				one.Schema.OpenAPIV3Schema, properties, nil)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			structural, err := schema.NewStructural(properties)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			validator, _, err := validation.NewSchemaValidator(properties)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			versions[kind] = version{
				namespaced: definition.Spec.Scope == apiextensionsv1.NamespaceScoped,
				structural: structural,
				schema:     validator,
				rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
			}
		}
	}
	if len(versions) == 0 {
		return nil, errors.New("it defines nothing")
	}
	return versions, nil
}

// check reads each document of a file, and names what has passed.
func check(versions map[runtimeschema.GroupVersionKind]version, path string) error {
	documents, err := read(path)
	if err != nil {
		return err
	}
	for _, document := range documents {
		content := map[string]any{}
		if err := sigsyaml.UnmarshalStrict(document, &content); err != nil {
			return err
		}
		object := &unstructured.Unstructured{Object: content}
		kind := object.GroupVersionKind()
		version, known := versions[kind]
		if !known {
			return fmt.Errorf("%s: no definition serves it", kind)
		}
		if err := version.create(object); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		fmt.Println(kind)
	}
	return nil
}

// create does what the API server does with a new object of this version, and returns all that is wrong with it.
func (version version) create(object *unstructured.Unstructured) error {
	unknown := pruning.PruneWithOptions(object.Object, version.structural, true,
		schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	_, _, ofMetadata, err := objectmeta.GetObjectMetaWithOptions(object.Object,
		objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return err
	}
	unknown = append(unknown, ofMetadata...)
	if len(unknown) > 0 {
		return fmt.Errorf("unknown field: %s", strings.Join(unknown, ", "))
	}
	defaulting.Default(object.Object, version.structural)

	all := metav1validation.ValidateObjectMetaAccessor(
		object, version.namespaced, metav1validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	all = append(all, objectmeta.Validate(nil, object.Object, version.structural, true)...)
	all = append(all, validation.ValidateCustomResource(nil, object.Object, version.schema)...)
	all = append(all, listtype.ValidateListSetsAndMaps(nil, version.structural, object.Object)...)
	// A schema without rules has no validator of them.
	if version.rules != nil && len(all) == 0 {
		errs, _ := version.rules.Validate(context.Background(), nil, version.structural, object.Object, nil,
			celconfig.RuntimeCELCostBudget)
		all = append(all, errs...)
	}
	return all.ToAggregate()
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
