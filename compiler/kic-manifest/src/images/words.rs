/// The words of a name, in lower case: `thanosImage`, `THANOS_IMAGE`, `--thanos-image` and `thanos.image` are
/// all `thanos`, `image`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut previous = ' ';
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let hump = character.is_ascii_uppercase()
            && (previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || (previous.is_ascii_uppercase()
                    && characters.peek().is_some_and(char::is_ascii_lowercase)));
        if (hump || !character.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        previous = character;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// What the name of a field, variable or flag says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// That it is an image: `image`, `brokerImage`, `RELATED_IMAGE_WEBHOOK`, `--acme-http01-solver-image`.
    Image,
    /// That it is text for people, code, or a pattern: never an image.
    Prose,
    /// Nothing.
    Neutral,
}

/// Words behind `image` that make it something other than an image.
const ABOUT_IMAGES: &[&str] = &[
    "policy",
    "policies",
    "secret",
    "secrets",
    "tag",
    "tags",
    "version",
    "registry",
    "registries",
    "repository",
    "repo",
    "repositories",
    "prefix",
    "suffix",
    "id",
    "ids",
    "size",
    "type",
    "format",
    "dir",
    "directory",
    "folder",
    "timeout",
    "interval",
    "gc",
    "threshold",
    "percent",
    "digest",
    "sha",
    "mode",
    "config",
    "enabled",
    "pull",
    "credentials",
    "auth",
    "selector",
    "family",
    "project",
    "os",
    "arch",
    "verification",
    "verify",
    "service",
    "controller",
    "scan",
    "scanner",
    "scanning",
    "cache",
    "period",
    "age",
    "limit",
    "count",
    "key",
    "file",
    "user",
    "username",
    "password",
    "token",
    "host",
    "port",
    "endpoint",
    "server",
    "streams",
    "stream",
    "filter",
    "patterns",
    "pattern",
    "regex",
    "updater",
    "update",
    "manager",
    "builder",
    "signature",
    "signatures",
    "list",
    "checksum",
];

/// What stands for itself behind `image`: `imageName`, `IMAGE_REF`.
const NAMES_OF_IMAGES: &[&str] = &["name", "ref", "reference", "uri", "url", "fqin", "pullspec", "full"];

/// What two words behind `image` mean the whole of it: `imagePullSpec`, `IMAGE_AND_VERSION`.
const ENDS_OF_IMAGES: &[[&str; 2]] = &[["pull", "spec"], ["and", "version"], ["and", "tag"]];

const PROSE: &[&str] = &[
    "description",
    "documentation",
    "doc",
    "docs",
    "message",
    "messages",
    "summary",
    "title",
    "comment",
    "comments",
    "help",
    "notes",
    "note",
    "example",
    "examples",
    "markdown",
    "readme",
    "changelog",
    "regex",
    "regexp",
    "pattern",
    "expression",
    "rego",
    "glob",
    "icon",
    "changes",
    "license",
    "licenses",
    "homepage",
];

/// What the words of a key say. `image` must end them, but for names such as `imageName`.
pub(crate) fn key_hint(words: &[String]) -> Hint {
    let image = |word: &String| word.ends_with("image");
    let words = ENDS_OF_IMAGES
        .iter()
        .find_map(|end| words.strip_suffix(end.map(str::to_owned).as_slice()))
        .filter(|stem| stem.last().is_some_and(image))
        .unwrap_or(words);
    let Some(last) = words.last() else { return Hint::Neutral };
    if image(last) {
        return Hint::Image;
    }
    if words.len() > 1 && image(&words[words.len() - 2]) && NAMES_OF_IMAGES.contains(&last.as_str()) {
        return Hint::Image;
    }
    if PROSE.contains(&last.as_str()) { Hint::Prose } else { Hint::Neutral }
}

/// What the name of a field says: one in capitals is the name of a variable, wherever it stands.
pub(crate) fn field_hint(name: &str, words: &[String]) -> Hint {
    let variable = name.contains('_') && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    if variable { variable_hint(words) } else { key_hint(words) }
}

/// What the words of a variable or flag say: `image` may stand anywhere in them, as in
/// `RELATED_IMAGE_WEBHOOK`.
pub(crate) fn variable_hint(words: &[String]) -> Hint {
    let Some(last) = words.last() else { return Hint::Neutral };
    if key_hint(words) == Hint::Image {
        return Hint::Image;
    }
    let named = words.iter().any(|word| word.ends_with("image") || word == "images");
    if named && (last.ends_with("image") || !ABOUT_IMAGES.contains(&last.as_str())) {
        return Hint::Image;
    }
    key_hint(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_words() {
        for (name, expected) in [
            ("thanosImage", "thanos image"),
            ("RELATED_IMAGE_KAFKA_3", "related image kafka 3"),
            ("--acme-http01-solver-image", "acme http01 solver image"),
            ("imageURL", "image url"),
            ("HTTPImage", "http image"),
            ("config.linkerd.io/proxy-image", "config linkerd io proxy image"),
            ("+(image)", "image"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected);
        }
    }

    #[test]
    fn only_names_of_images_hint_at_images() {
        for name in
            ["image", "brokerImage", "docker_image", "imageName", "osImage", "baseimage", "sandbox_image"]
        {
            assert_eq!(key_hint(&words(name)), Hint::Image, "{name}");
        }
        for name in ["imagePullPolicy", "imageTag", "imageID", "images", "IMAGE_FOO"] {
            assert_eq!(key_hint(&words(name)), Hint::Neutral, "{name}");
        }
        for name in ["registrationImagePullSpec", "ENGINE_IMAGE_AND_VERSION"] {
            assert_eq!(key_hint(&words(name)), Hint::Image, "{name}");
        }
        for (name, hint) in
            [("ENGINE_IMAGE_CWL", Hint::Image), ("IMAGE", Hint::Image), ("engineImageCwl", Hint::Neutral)]
        {
            assert_eq!(field_hint(name, &words(name)), hint, "{name}");
        }
        for name in ["RELATED_IMAGE_A", "A_IMAGE", "IMAGE", "STRIMZI_KAFKA_IMAGES", "IMAGE_NAME"] {
            assert_eq!(variable_hint(&words(name)), Hint::Image, "{name}");
        }
        for name in
            ["IMAGE_TAG", "IMAGE_PULL_POLICY", "IMAGE_REGISTRY", "IMAGINE", "imageGCHighThresholdPercent"]
        {
            assert_eq!(variable_hint(&words(name)), Hint::Neutral, "{name}");
        }
    }
}
