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
    INTERNAL "internal" Error Bug "Something that cannot happen did: a bug in kic.";
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
