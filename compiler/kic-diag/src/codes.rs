use crate::{Class, Code, Severity};

/// Declares the codes: a constant each, and the list of them all. A code whose page is missing from the book
/// does not compile.
macro_rules! codes {
    ($($constant:ident $name:literal $severity:ident $class:ident $summary:literal;)*) => {
        pub(crate) mod declared {
            use super::{Class, Code, Severity};
            $(
                #[doc = $summary]
                pub static $constant: Code = Code {
                    name: $name,
                    severity: Severity::$severity,
                    class: Class::$class,
                    summary: $summary,
                    page: include_str!(concat!("../../../book/src/errors/", $name, ".md")),
                };
            )*
        }

        /// Every declared code, sorted by name.
        pub static ALL: &[&Code] = &[$(&declared::$constant),*];
    };
}

codes! {
    ANOTHER_REGISTRY "another-registry" Warning Input "A module names a registry beside that of the spec.";
    BAD_AUTH_REALM "bad-auth-realm" Error Environment "A registry names no usable token server.";
    BAD_CERTIFICATE_FILE "bad-certificate-file" Error Input "A file of certificate authorities holds none.";
    BASE_UNREAD "base-unread" Warning Input "What a base image that kic did not build brings is not part of the proof.";
    BODY_TOO_LARGE "body-too-large" Error Environment "A download is larger than it should be.";
    BODY_TRUNCATED "body-truncated" Error Environment "A download ended early, again and again.";
    BROKEN_CLOSURE "broken-closure" Error Input "An image lacks something that its cluster will ask for.";
    BROKEN_PLAN "broken-plan" Error Input "An image is not what its plan or an annotation says.";
    BROKEN_REGISTRY_TREE "broken-registry-tree" Error Input "The registry cache of an image does not hold together.";
    CHANGED_WHILE_DOWNLOADING "changed-while-downloading" Error Environment "A file changed while it was downloaded.";
    CHART_FAILED "chart-failed" Error Input "A chart cannot be rendered.";
    CHART_NOT_FOUND "chart-not-found" Error Input "A repository has no such chart.";
    CHART_REPOSITORY "chart-repository" Error Environment "The index of a chart repository cannot be used.";
    CONFLICTING_FORMS "conflicting-forms" Error Input "A node says one thing in two ways.";
    CONFLICTING_VALUES "conflicting-values" Error Input "Two modules give different values for one thing.";
    CONFUSABLE_CHARACTER "confusable-character" Error Input "A character only looks like one that KDL knows.";
    CREDENTIAL_HELPER "credential-helper" Error Environment "A credential helper gives no credentials.";
    DAMAGED_IMAGE "damaged-image" Error Input "A blob of an image is missing, or is not what its digest says.";
    DIGEST_MISMATCH "digest-mismatch" Error Environment "A download is not what its digest says.";
    DOCKER_CONFIG "docker-config" Error Environment "Docker's configuration cannot be read.";
    DOWNLOAD_NOT_FOUND "download-not-found" Error Input "A server has nothing at a URL.";
    DUPLICATE_LAYER "duplicate-layer" Error Input "Two layers of one kind have one name.";
    DUPLICATE_NODE "duplicate-node" Error Input "A node that may stand once stands twice.";
    DUPLICATE_PATH "duplicate-path" Error Input "Two parts of a layer write one path.";
    DUPLICATE_PROPERTY "duplicate-property" Error Input "A node has the same property twice.";
    EMPTY_LAYER "empty-layer" Warning Input "A layer holds nothing.";
    FILE_EXISTS "file-exists" Error Input "A file would be replaced that nobody said to replace.";
    FILE_NOT_FOUND "file-not-found" Error Input "A file that the spec names does not exist.";
    FOREIGN_LAYER "foreign-layer" Error Input "A base image has a layer that its registry does not hold.";
    IMAGE_LIKELY "image-likely" Note Input "An image is cached because it most likely is needed.";
    IMAGE_NOT_CACHED "image-not-cached" Error Input "An image that the cluster will ask for is in no registry cache.";
    IMAGE_NOT_FOUND "image-not-found" Error Input "A registry has no such image.";
    IMAGE_NOT_NAMED "image-not-named" Note Input "An operator may ask for images that no manifest names.";
    IMAGE_NOT_REWRITTEN "image-not-rewritten" Warning Input "An image keeps its name in a layer whose images are named anew.";
    IMAGE_UNDECIDED "image-undecided" Warning Input "An image may be needed, and the spec does not say whether to cache it.";
    IMAGE_UNREADABLE "image-unreadable" Warning Input "A container's image is no reference.";
    IMAGE_WITHOUT_NAME "image-without-name" Error Input "An image on disk bears no name to answer to.";
    INSECURE_REDIRECT "insecure-redirect" Error Environment "A server redirects from https to plain http.";
    INTERNAL "internal" Error Bug "Something that cannot happen did: a bug in kic.";
    INTERRUPTED "interrupted" Error Interrupted "The work was interrupted.";
    INVALID_ARGUMENT "invalid-argument" Error Input "The command line is wrong: something is missing, unknown, or does not go with the rest.";
    INVALID_CHARACTER "invalid-character" Error Input "A text holds a character that may not stand in one.";
    INVALID_CHART "invalid-chart" Error Input "What a spec names as a chart is none.";
    INVALID_CHECKSUM "invalid-checksum" Error Input "A text is no SHA-256 checksum.";
    INVALID_CONTROL "invalid-control" Error Input "A `use`, `let`, `when` or `for` is not well formed.";
    INVALID_DURATION "invalid-duration" Error Input "A text is no duration.";
    INVALID_ENVIRONMENT "invalid-environment" Error Environment "A variable of the environment has a value that kic cannot use.";
    INVALID_IMAGE "invalid-image" Error Input "A text is no image reference.";
    INVALID_KIND "invalid-kind" Error Input "A text names no kind of Kubernetes object.";
    INVALID_KUBEFILE "invalid-kubefile" Error Input "A Kubefile is not written as sealer reads it.";
    INVALID_LAYOUT "invalid-layout" Error Input "An image is not as the OCI image specification asks.";
    INVALID_LOCK "invalid-lock" Error Input "The lock file is not one that kic wrote.";
    INVALID_MANIFEST "invalid-manifest" Error Input "An image's manifest, index or configuration is not well formed.";
    INVALID_MODE "invalid-mode" Error Input "A text is no file mode.";
    INVALID_NAME "invalid-name" Error Input "A text is no name of a cluster, layer or label.";
    INVALID_NUMBER "invalid-number" Error Input "A number is misspelt or too large.";
    INVALID_OBJECT "invalid-object" Error Input "A Kubernetes object in KDL is not well formed.";
    INVALID_PATH "invalid-path" Error Input "A text is no path that may stand there.";
    INVALID_PLATFORM "invalid-platform" Error Input "A text is no platform.";
    INVALID_REFERENCE "invalid-reference" Error Input "A marked string holds something that is no reference.";
    INVALID_REGISTRY "invalid-registry" Error Input "A text is no registry host.";
    INVALID_RESOURCE "invalid-resource" Error Input "A text names no Kubernetes resource.";
    INVALID_STRING "invalid-string" Error Input "A string is not written as KDL wants it.";
    INVALID_URL "invalid-url" Error Input "A text is no URL that kic fetches.";
    INVALID_VERSION "invalid-version" Error Input "A text is no version.";
    INVALID_YAML "invalid-yaml" Error Input "A manifest is not well-formed YAML.";
    KDL_1 "kdl-1" Error Input "The text, or a word of it, is KDL 1.";
    KUSTOMIZE_FAILED "kustomize-failed" Error Input "A kustomization cannot be built.";
    LAYER_CYCLE "layer-cycle" Error Input "Layers come after each other in a circle.";
    LOCK_MISSING "lock-missing" Error Input "The lock lacks a pin, and may not be changed.";
    LOCK_NEWER "lock-newer" Error Input "The lock file was written by a newer kic.";
    LOCK_STALE "lock-stale" Error Input "The lock contradicts the spec, and may not be changed.";
    MISSING_ARGUMENT "missing-argument" Error Input "A node lacks an argument that it must have.";
    MISSING_FORM "missing-form" Error Input "A node says its one thing in no way.";
    MISSING_IMAGE_ALLOWED "missing-image-allowed" Warning Input "An image will be missing in the cluster, as the command line allows.";
    MISSING_NODE "missing-node" Error Input "A node lacks a child that it must have.";
    MISSING_PARAMETER "missing-parameter" Error Input "A parameter without a default is not given.";
    MISSING_PROPERTY "missing-property" Error Input "A node lacks a property that it must have.";
    MODULE_CYCLE "module-cycle" Error Input "A module uses itself, directly or through others.";
    NAME_COLLISION "name-collision" Error Input "Two images would answer to one name with different content.";
    NESTED_TOO_DEEP "nested-too-deep" Error Input "Blocks nest deeper than kic reads.";
    NO_COUNTERPART "no-counterpart" Warning Input "A line of a Kubefile has no counterpart in a spec.";
    NO_SOURCE "no-source" Error Input "An image does not say what it was compiled from.";
    NOT_A_MODULE "not-a-module" Error Input "A file that is used as a module is none.";
    NOT_A_SPEC "not-a-spec" Error Input "The file holds no cluster node.";
    NOT_AN_IMAGE "not-an-image" Error Input "A path on disk holds no image that kic reads.";
    NOT_FORMATTED "not-formatted" Error Input "A file is not formatted.";
    NOT_REDIRECTED "not-redirected" Warning Input "Nothing sends the pull of a cached image to the cache.";
    NOT_REPRODUCIBLE "not-reproducible" Error Bug "Two builds of one spec differ.";
    OBJECT_NOT_MADE "object-not-made" Warning Input "A check waits for an object that no manifest makes.";
    OFFLINE "offline" Error Environment "Something is missing, and the network may not be used.";
    OUTPUT_NOT_EMPTY "output-not-empty" Error Input "The output path holds something that is no image.";
    OUTPUT_UNWRITABLE "output-unwritable" Error Environment "The output, or standard output, cannot be written.";
    PLATFORM_DEPENDENT "platform-dependent" Error Input "Something that must be the same for all platforms depends on the platform.";
    PLATFORM_MISSING "platform-missing" Error Input "An image is not built for a platform that the spec asks for.";
    REBUILD_DIFFERS "rebuild-differs" Error Input "Compiled again from what is recorded in it, an image comes out differently.";
    REDIRECT_FAILS "redirect-fails" Error Input "A policy fails on a pod of the cluster.";
    REDIRECT_MISSES "redirect-misses" Error Input "What a policy or mirror makes of an image's name is in no registry cache.";
    REDIRECT_UNKNOWN "redirect-unknown" Warning Input "What a policy or mirror makes of an image's name cannot be said.";
    REDIRECT_UNSTABLE "redirect-unstable" Error Input "A policy changes what it has changed before.";
    REFERRER_LEFT_OUT "referrer-left-out" Warning Input "Something that refers to an image is of a kind that kic does not read.";
    REFUSED_VALUES "refused-values" Error Input "A module or spec refuses the values that it was given.";
    REGISTRY_BROKEN "registry-broken" Error Environment "A connection broke off, again and again.";
    REGISTRY_FORBIDDEN "registry-forbidden" Error Environment "A registry does not allow access.";
    REGISTRY_GARBAGE "registry-garbage" Error Environment "A registry sent something that it should not.";
    REGISTRY_PROXY "registry-proxy" Error Environment "A proxy is not there, or refuses.";
    REGISTRY_RATE_LIMITED "registry-rate-limited" Error Environment "A registry asks to come back later.";
    REGISTRY_REFUSED "registry-refused" Error Environment "A registry or server refuses a request.";
    REGISTRY_TIMEOUT "registry-timeout" Error Environment "A registry or server did not answer in time.";
    REGISTRY_TLS "registry-tls" Error Environment "A secure connection to a registry or server could not be made.";
    REGISTRY_TOO_SLOW "registry-too-slow" Error Environment "A download came too slowly to wait for.";
    REGISTRY_UNAUTHORIZED "registry-unauthorized" Error Environment "A registry wants credentials, or other ones.";
    REGISTRY_UNAVAILABLE "registry-unavailable" Error Environment "A registry or server is out of order.";
    REGISTRY_UNREACHABLE "registry-unreachable" Error Environment "A registry or server cannot be reached.";
    REMOTE_RESOURCE "remote-resource" Error Input "A kustomization fetches something from elsewhere.";
    RENDERER_FAILED "renderer-failed" Error Environment "The program that renders a chart or kustomization does not work.";
    RENDERER_MISSING "renderer-missing" Error Environment "The program that renders a chart or kustomization is not there.";
    RENDERING_DIFFERS "rendering-differs" Error Input "A chart becomes something else whenever it is rendered.";
    RESERVED_PATH "reserved-path" Error Input "A file would stand where kic writes its own.";
    SCHEMA_1_MANIFEST "schema-1-manifest" Error Input "An image has a Docker schema 1 manifest, which kic does not read.";
    SOURCE_CHANGED "source-changed" Error Environment "A file changed while it was compiled.";
    SPEC_CYCLE "spec-cycle" Error Input "A spec is, through its bases, its own base.";
    STORE_CORRUPT "store-corrupt" Error Environment "Bytes in the store are damaged.";
    STORE_FULL "store-full" Error Environment "No space is left for the store or the output.";
    STORE_HEALED "store-healed" Warning Environment "Damaged bytes in the store were replaced.";
    STORE_MISSING "store-missing" Warning Input "There is no store where one is looked at.";
    STORE_PERMISSION "store-permission" Error Environment "The store or output may not be used.";
    STORE_UNUSABLE "store-unusable" Error Environment "The store cannot be used.";
    SYNTAX_ERROR "syntax-error" Error Input "The text is not well-formed KDL 2.";
    TEXT_TOO_LARGE "text-too-large" Error Input "A text is longer than kic reads.";
    TOO_LARGE "too-large" Error Input "A spec becomes larger than kic takes.";
    TOO_MANY_LAYERS "too-many-layers" Error Input "The image would have more layers than container runtimes take.";
    TOO_MANY_REDIRECTS "too-many-redirects" Error Environment "A server redirects without end.";
    UNBALANCED_BRACE "unbalanced-brace" Error Input "A block is never closed, or a brace closes nothing.";
    UNEXPECTED_ARGUMENT "unexpected-argument" Error Input "A node has more arguments than it takes.";
    UNEXPECTED_CHILDREN "unexpected-children" Error Input "A node that takes no children has some.";
    UNKNOWN_ANNOTATION "unknown-annotation" Error Input "A value or node carries a type annotation that means nothing there.";
    UNKNOWN_CHOICE "unknown-choice" Error Input "A text is none of the choices that its place takes.";
    UNKNOWN_CODE "unknown-code" Error Input "A name is no error code, and none of the language.";
    UNKNOWN_DIGEST "unknown-digest" Error Input "A digest names nothing in the store, or more than one thing.";
    UNKNOWN_IMAGE "unknown-image" Error Input "A reference is that of no image of the spec.";
    UNKNOWN_LAYER "unknown-layer" Error Input "A name refers to a layer that does not exist.";
    UNKNOWN_MODULE "unknown-module" Error Input "A name that no module has.";
    UNKNOWN_NODE "unknown-node" Error Input "A node has a name that means nothing where it stands.";
    UNKNOWN_PARAMETER "unknown-parameter" Error Input "A value is given for a parameter that is not declared.";
    UNKNOWN_PIN "unknown-pin" Error Input "A name given to update is no image or URL of the spec.";
    UNKNOWN_PROPERTY "unknown-property" Error Input "A node has a property that means nothing on it.";
    UNKNOWN_TYPE "unknown-type" Error Input "A parameter is declared with a type that does not exist.";
    UNKNOWN_VARIABLE "unknown-variable" Error Input "A name that no value has.";
    UNPACK_REFUSED "unpack-refused" Error Input "A layer holds something that kic does not unpack.";
    UNREADABLE_FILE "unreadable-file" Error Environment "A file that the spec names cannot be read.";
    UNSUPPORTED_FILE "unsupported-file" Error Input "A folder holds something that cannot stand in an image.";
    UNTERMINATED_COMMENT "unterminated-comment" Error Input "A block comment is never closed.";
    UNTERMINATED_STRING "unterminated-string" Error Input "A string is never closed.";
    UNUSUAL_LAYOUT "unusual-layout" Warning Input "An image is not as the OCI image specification advises.";
    WRONG_TYPE "wrong-type" Error Input "A value has another type than the one that its place takes.";
}

/// The code of that name.
pub fn by_name(name: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_named_in_kebab_case() {
        for pair in ALL.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
        }
        for code in ALL {
            assert!(
                code.name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            assert!(
                code.page.starts_with(&format!("# `{}`\n", code.name)),
                "{}: title of its page",
                code.name
            );
            assert!(code.summary.ends_with('.'), "{}", code.name);
        }
    }
}
