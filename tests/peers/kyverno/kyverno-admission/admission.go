package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	"github.com/julienschmidt/httprouter"
	"github.com/kyverno/kyverno/pkg/cel/libs"
	"github.com/kyverno/kyverno/pkg/cel/matching"
	mpolcompiler "github.com/kyverno/kyverno/pkg/cel/policies/mpol/compiler"
	mpolengine "github.com/kyverno/kyverno/pkg/cel/policies/mpol/engine"
	kyvernofake "github.com/kyverno/kyverno/pkg/client/clientset/versioned/fake"
	kyvernoinformers "github.com/kyverno/kyverno/pkg/client/informers/externalversions"
	"github.com/kyverno/kyverno/pkg/clients/dclient"
	"github.com/kyverno/kyverno/pkg/config"
	"github.com/kyverno/kyverno/pkg/engine"
	"github.com/kyverno/kyverno/pkg/engine/adapters"
	"github.com/kyverno/kyverno/pkg/engine/context/resolvers"
	"github.com/kyverno/kyverno/pkg/engine/factories"
	"github.com/kyverno/kyverno/pkg/engine/jmespath"
	"github.com/kyverno/kyverno/pkg/event"
	"github.com/kyverno/kyverno/pkg/exceptions"
	imageverifycache "github.com/kyverno/kyverno/pkg/image/verification/cache"
	"github.com/kyverno/kyverno/pkg/metrics"
	"github.com/kyverno/kyverno/pkg/policycache"
	reportutils "github.com/kyverno/kyverno/pkg/utils/report"
	"github.com/kyverno/kyverno/pkg/webhooks/handlers"
	"github.com/kyverno/kyverno/pkg/webhooks/resource"
	"github.com/kyverno/kyverno/pkg/webhooks/resource/mpol"
	"github.com/kyverno/kyverno/pkg/webhooks/updaterequest"
	"github.com/kyverno/sdk/extensions/registryclient"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
)

// kyverno is the webhooks, in the order in which the API server asks them, and what the API server asks before.
type kyverno struct {
	webhooks      []handlers.AdmissionHandler
	configuration config.Configuration
	namespaces    map[string]*corev1.Namespace
	policyNames   string
}

func newKyverno(given given) (*kyverno, error) {
	ctx := context.Background()
	configuration := config.NewDefaultConfiguration(false)
	if given.configuration != nil {
		configuration.Load(given.configuration)
	}
	kyverno := &kyverno{configuration: configuration, namespaces: map[string]*corev1.Namespace{}}

	var stored []runtime.Object
	for _, namespace := range given.namespaces {
		stored = append(stored, namespace)
		kyverno.namespaces[namespace.Name] = namespace
	}
	client := fake.NewClientset(stored...)
	factory := informers.NewSharedInformerFactory(client, 0)
	namespaceLister := factory.Core().V1().Namespaces().Lister()
	factory.Core().V1().Namespaces().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	kyvernoClient := kyvernofake.NewSimpleClientset()
	kyvernoFactory := kyvernoinformers.NewSharedInformerFactory(kyvernoClient, 0)
	kyvernos := kyvernoFactory.Kyverno()
	dynamic := dclient.NewEmptyFakeClient()
	configMaps, err := resolvers.NewClientBasedResolver(client)
	if err != nil {
		return nil, err
	}
	query := jmespath.New(configuration)
	reports := reportutils.NewReportingConfig(nil)

	cache := policycache.NewCache()
	for _, policy := range given.policies {
		key := policy.GetName()
		if policy.IsNamespaced() {
			key = policy.GetNamespace() + "/" + key
		}
		if err := cache.Set(key, policy, policycache.TestResourceFinder{}); err != nil {
			return nil, err
		}
	}
	engine := engine.NewEngine(
		configuration,
		query,
		adapters.Client(dynamic),
		factories.DefaultRegistryClientFactory(adapters.RegistryClient(registryclient.New()), nil),
		imageverifycache.DisabledImageVerifyCache(),
		factories.DefaultContextLoaderFactory(configMaps),
		exceptions.New(kyvernos.V2().PolicyExceptions().Lister()),
		nil,
	)
	policies := resource.NewHandlers(
		engine, dynamic, kyvernoClient, configuration, metrics.NewFakeMetricsConfig(), cache, namespaceLister,
		kyvernos.V2().UpdateRequests().Lister().UpdateRequests(config.KyvernoNamespace()),
		kyvernos.V1().ClusterPolicies(), kyvernos.V1().Policies(),
		updaterequest.NewFake(), event.NewFake(), false, "", "", query, 1, 1,
	)
	kyverno.webhook(func(ctx context.Context, logger logr.Logger, request handlers.AdmissionRequest, start time.Time) handlers.AdmissionResponse {
		return policies.Mutate(ctx, logger, request, "all", start)
	})

	libraries := libs.NewFakeContextProvider()
	provider, err := mpolengine.NewProvider(mpolcompiler.NewCompiler(), given.mutatingPolicies, nil, libraries)
	if err != nil {
		return nil, err
	}
	for _, policy := range given.mutatingPolicies {
		kyverno.policyNames += "/" + policy.GetName()
	}
	mutatingPolicies := mpol.New(
		libraries,
		mpolengine.NewEngine(
			provider, kyverno.namespace, matching.NewMatcher(),
			mpolcompiler.NewStaticTypeConverterManager(openapiclient.NewHardcodedBuiltins("1.30")), libraries,
		),
		kyvernoClient, reports, updaterequest.NewFake(), "", event.NewFake(),
	)
	for _, mutate := range []func(context.Context, logr.Logger, handlers.AdmissionRequest, string, time.Time) handlers.AdmissionResponse{
		mutatingPolicies.MutateClustered, mutatingPolicies.MutateNamespaced,
	} {
		kyverno.webhook(func(ctx context.Context, logger logr.Logger, request handlers.AdmissionRequest, start time.Time) handlers.AdmissionResponse {
			return mutate(ctx, logger, request, "", start)
		})
	}
	return kyverno, nil
}

// webhook adds a handler, behind the filters of Kyverno's settings, as its server adds it.
func (kyverno *kyverno) webhook(handler handlers.AdmissionHandler) {
	kyverno.webhooks = append(kyverno.webhooks, handler.WithFilter(kyverno.configuration))
}

func (kyverno *kyverno) namespace(name string) *corev1.Namespace {
	return kyverno.namespaces[name]
}

// outcome is one line of the output.
type outcome struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Pod       map[string]any `json:"pod,omitempty"`
	Error     string         `json:"error,omitempty"`
}

// admit gives a pod to each webhook, and says what has become of it.
func (kyverno *kyverno) admit(pod *unstructured.Unstructured, operation, subresource string) (*outcome, error) {
	outcome := &outcome{Namespace: pod.GetNamespace(), Name: pod.GetName()}
	before, err := pod.MarshalJSON()
	if err != nil {
		return nil, err
	}
	asked, err := kyverno.asked(pod)
	if err != nil {
		return nil, err
	}
	after := before
	for _, webhook := range kyverno.webhooks {
		if !asked {
			break
		}
		kind := corev1.SchemeGroupVersion.WithKind("Pod")
		resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
		request := handlers.AdmissionRequest{
			AdmissionRequest: admissionv1.AdmissionRequest{
				UID:             "1",
				Kind:            metav1.GroupVersionKind(kind),
				RequestKind:     (*metav1.GroupVersionKind)(&kind),
				Resource:        resource,
				RequestResource: &resource,
				SubResource:     subresource,
				Namespace:       pod.GetNamespace(),
				Name:            pod.GetName(),
				Operation:       admissionv1.Operation(operation),
				UserInfo:        authenticationv1.UserInfo{Username: "somebody"},
				Object:          runtime.RawExtension{Raw: after},
				DryRun:          new(bool),
			},
			GroupVersionKind: schema.GroupVersionKind(kind),
		}
		switch request.Operation {
		case admissionv1.Create:
		case admissionv1.Update:
			request.OldObject = runtime.RawExtension{Raw: before}
		default:
			return nil, fmt.Errorf("the operation is CREATE or UPDATE, and not %s", operation)
		}
		// The names stand in the path of the URL, for the MutatingPolicies.
		names := httprouter.Params{{Key: "policies", Value: kyverno.policyNames}}
		ctx := context.WithValue(context.Background(), httprouter.ParamsKey, names)
		response := webhook(ctx, logr.Discard(), request, time.Now())
		if !response.Allowed {
			outcome.Error = response.Result.Message
			return outcome, nil
		}
		if len(response.Patch) == 0 {
			continue
		}
		patch, err := jsonpatch.DecodePatch(response.Patch)
		if err != nil {
			return nil, err
		}
		if after, err = patch.Apply(after); err != nil {
			return nil, err
		}
	}
	return outcome, json.Unmarshal(after, &outcome.Pod)
}

// asked is the API server's part: the selectors that Kyverno's settings put on its webhooks.
func (kyverno *kyverno) asked(pod *unstructured.Unstructured) (bool, error) {
	settings := kyverno.configuration.GetWebhook()
	namespace := kyverno.namespaces[pod.GetNamespace()]
	if namespace == nil {
		return false, fmt.Errorf("there is no namespace %s", pod.GetNamespace())
	}
	for _, one := range []struct {
		selector *metav1.LabelSelector
		labels   map[string]string
	}{
		{settings.NamespaceSelector, namespace.Labels},
		{settings.ObjectSelector, pod.GetLabels()},
	} {
		if one.selector == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(one.selector)
		if err != nil || !selector.Matches(labels.Set(one.labels)) {
			return false, err
		}
	}
	return true, nil
}
