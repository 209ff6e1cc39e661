// image-spec-check holds JSON documents of an OCI layout against the schemas that the image specification publishes.
//
//	image-spec-check LAYOUT...
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/image-spec/schema"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	failed := false
	for _, layout := range os.Args[1:] {
		if err := check(layout); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", layout, err)
			failed = true
		}
	}
	if failed || len(os.Args) < 2 {
		os.Exit(1)
	}
}

func check(layout string) error {
	header, err := os.ReadFile(filepath.Join(layout, v1.ImageLayoutFile))
	if err != nil {
		return err
	}
	if err := schema.ValidatorMediaTypeLayoutHeader.Validate(bytes.NewReader(header)); err != nil {
		return fmt.Errorf("oci-layout: %w", err)
	}
	index, err := os.ReadFile(filepath.Join(layout, v1.ImageIndexFile))
	if err != nil {
		return err
	}
	return document(layout, v1.MediaTypeImageIndex, "index.json", index)
}

// document checks one document and everything that it refers to.
func document(layout, mediaType, name string, content []byte) error {
	switch mediaType {
	case v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, v1.MediaTypeImageConfig:
		if err := schema.Validator(mediaType).Validate(bytes.NewReader(content)); err != nil {
			return fmt.Errorf("%s (%s): %w", name, mediaType, err)
		}
	default:
		return nil
	}
	var refers struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
	}
	if err := json.Unmarshal(content, &refers); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if mediaType == v1.MediaTypeImageManifest && refers.Config != nil {
		refers.Manifests = append(refers.Manifests, *refers.Config)
	}
	if mediaType == v1.MediaTypeImageConfig {
		return nil
	}
	for _, descriptor := range refers.Manifests {
		path := filepath.Join(layout, "blobs", descriptor.Digest.Algorithm().String(), descriptor.Digest.Encoded())
		blob, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := document(layout, descriptor.MediaType, descriptor.Digest.String(), blob); err != nil {
			return err
		}
	}
	return nil
}
