package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi/openapitest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicy"
	"k8s.io/kubernetes/pkg/registry/admissionregistration/mutatingadmissionpolicybinding"
)

// create does what the API server does before it stores a new object: it completes and validates it.
func create(object runtime.Object) error {
	var strategy rest.RESTCreateStrategy
	allowed := authorizerfactory.NewAlwaysAllowAuthorizer()
	switch object.(type) {
	case *admissionregistration.MutatingAdmissionPolicy:
		strategy = mutatingadmissionpolicy.NewStrategy(allowed, nil)
	case *admissionregistration.MutatingAdmissionPolicyBinding:
		strategy = mutatingadmissionpolicybinding.NewStrategy(allowed, nil, nil)
	default:
		return fmt.Errorf("%T is neither a mutating admission policy nor a binding", object)
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	rest.FillObjectMetaSystemFields(accessor)
	ctx := genericrequest.WithNamespace(context.Background(), metav1.NamespaceNone)
	return rest.BeforeCreate(strategy, ctx, object)
}

// An apiServer admits pods as the API server does, with this one plugin.
type apiServer struct {
	chain      admission.MutationInterface
	interfaces admission.ObjectInterfaces
}

// newAdmission starts the plugin with the policies and bindings of one file and the namespaces of another.
func newAdmission(policies, namespaces string) (*apiServer, error) {
	var stored []runtime.Object
	bound := map[string]bool{}
	for _, path := range []string{policies, namespaces} {
		objects, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, object := range objects {
			var version schema.GroupVersion = corev1.SchemeGroupVersion
			if path == policies {
				if err := create(object.internal); err != nil {
					return nil, fmt.Errorf("%s: %w", path, err)
				}
				version = admissionv1.SchemeGroupVersion
			}
			versioned, err := legacyscheme.Scheme.ConvertToVersion(object.internal, version)
			if err != nil {
				return nil, err
			}
			if binding, ok := versioned.(*admissionv1.MutatingAdmissionPolicyBinding); ok {
				bound[binding.Spec.PolicyName] = true
			}
			stored = append(stored, versioned)
		}
	}
	if len(bound) == 0 {
		return nil, errors.New("no policy is bound")
	}

	client := client{fake.NewClientset(stored...)}
	factory := informers.NewSharedInformerFactory(client, 0)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	plugins := admission.NewPlugins()
	mutating.Register(plugins)
	stop := make(chan struct{})
	initializer := initializer.New(
		client,
		dynamicfake.NewSimpleDynamicClient(legacyscheme.Scheme),
		factory,
		authorizerfactory.NewAlwaysAllowAuthorizer(),
		utilfeature.DefaultFeatureGate,
		compatibility.DefaultBuildEffectiveVersion(),
		stop,
		mapper,
	)
	noConfiguration, err := admission.ReadAdmissionConfiguration(nil, "", legacyscheme.Scheme)
	if err != nil {
		return nil, err
	}
	chain, err := plugins.NewFromPlugins([]string{mutating.PluginName}, noConfiguration, initializer, nil)
	if err != nil {
		return nil, err
	}
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	return &apiServer{
		chain.(admission.MutationInterface),
		admission.NewObjectInterfacesFromScheme(legacyscheme.Scheme),
	}, nil
}

// pod admits one pod, and says what has become of it.
func (server *apiServer) pod(object runtime.Object, operation, subresource string) (*outcome, error) {
	pod, ok := object.(*core.Pod)
	if !ok {
		return nil, fmt.Errorf("%T is no pod", object)
	}
	var old runtime.Object
	var options runtime.Object = &metav1.CreateOptions{}
	switch admission.Operation(operation) {
	case admission.Create:
	case admission.Update:
		old, options = pod.DeepCopy(), &metav1.UpdateOptions{}
	default:
		return nil, fmt.Errorf("the operation is CREATE or UPDATE, and not %s", operation)
	}
	after := pod.DeepCopy()
	attributes := admission.NewAttributesRecord(
		after, old,
		corev1.SchemeGroupVersion.WithKind("Pod"), pod.Namespace, pod.Name,
		corev1.SchemeGroupVersion.WithResource("pods"), subresource,
		admission.Operation(operation), options, false, &user.DefaultInfo{Name: "somebody"},
	)
	outcome := &outcome{Namespace: pod.Namespace, Name: pod.Name}
	err := server.chain.Admit(context.Background(), attributes, server.interfaces)
	// The plugin reads the schemas beside what goes on, and changes nothing before it has them.
	for patience := time.Now().Add(30 * time.Second); isTooEarly(err) && time.Now().Before(patience); {
		time.Sleep(20 * time.Millisecond)
		err = server.chain.Admit(context.Background(), attributes, server.interfaces)
	}
	if err != nil {
		outcome.Error = err.Error()
		return outcome, nil
	}
	versioned, err := legacyscheme.Scheme.ConvertToVersion(after, corev1.SchemeGroupVersion)
	outcome.Pod = versioned
	return outcome, err
}

// isTooEarly says whether the plugin does not know the schema of pods yet.
func isTooEarly(err error) bool {
	return err != nil && strings.Contains(err.Error(), "There can be a delay between")
}

// A client is the stand-in for a cluster that comes with client-go, which also knows the schemas of Kubernetes's own kinds.
type client struct{ *fake.Clientset }

func (client client) Discovery() discovery.DiscoveryInterface {
	return schemas{client.Clientset.Discovery()}
}

type schemas struct{ discovery.DiscoveryInterface }

func (schemas) OpenAPIV3() openapi.Client {
	return openapitest.NewEmbeddedFileClient()
}
