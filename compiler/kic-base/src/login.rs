//! Logins in addresses, which are not to be shown.

/// What to do with a user and password in the name of an image.
pub const WHERE_LOGINS_BELONG: &str =
    "leave the user and password out: they belong into `docker login`, `podman login` or `skopeo login`";

/// An address or an image's name without the user and password before its host, for messages and logs: those are not to hold
/// secrets, wherever the address came from.
pub fn without_login(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + "://".len()),
        None => ("", text),
    };
    format!("{scheme}{}", &rest[end_of_login(rest, !scheme.is_empty())..])
}

/// An address of a file without what secrets may be in: its login, its query and its fragment.
pub fn without_secrets(url: &str) -> String {
    let mut url = without_login(url);
    url.truncate(url.find(['?', '#']).unwrap_or(url.len()));
    url
}

/// Where the host begins, behind a login; 0 where there is none.
fn end_of_login(rest: &str, has_scheme: bool) -> usize {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if let Some(at) = authority.rfind('@') {
        let (before, after) = (&authority[..at], &authority[at + 1..]);
        // `nginx@sha256:…` and `nginx:1.27@sha256:…` have a digest there.
        let is_digest = ["sha256:", "sha512:"].iter().any(|begin| after.starts_with(begin));
        let is_login = !is_digest && (before.contains(':') || after.contains(['.', ':']));
        let may_be_name = !has_scheme && authority.len() == rest.len();
        return if may_be_name && !is_login { 0 } else { at + 1 };
    }
    // A password may hold what ends a host; then what stands in the place of a port is none. IPv6 addresses have colons of their own.
    let behind_address =
        authority.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(_, rest)| rest);
    let port = behind_address.unwrap_or(authority).rsplit_once(':').map(|(_, port)| port);
    match rest.rfind('@') {
        Some(at) if port.is_some_and(|port| port.parse::<u16>().is_err()) && rest[at..].contains('/') => {
            at + 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_left_out_with_the_login() {
        for (text, shown) in [
            ("https://host/x?token=hidden#hidden", "https://host/x"),
            ("https://me:hid?den@host/x#hidden", "https://host/x"),
            ("https://host/x#hidden?", "https://host/x"),
            ("https://host/x", "https://host/x"),
            ("?", ""),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }

    #[test]
    fn logins_are_left_out_and_all_else_stays() {
        for (text, shown) in [
            ("https://me:hidden@host/x", "https://host/x"),
            ("http://me:hidden@host:5000", "http://host:5000"),
            ("http://hidden@host/x?y", "http://host/x?y"),
            ("https://me:hid@den@host/x", "https://host/x"),
            ("https://me:hidden/den@host/x", "https://host/x"),
            ("me:hidden@host/x:v1", "host/x:v1"),
            ("me:hidden/den@host/x", "host/x"),
            ("me:hidden@proxy:3128", "proxy:3128"),
            ("hidden@proxy:3128", "proxy:3128"),
            ("docker://me:hidden@host/x@sha256:00", "docker://host/x@sha256:00"),
            ("a=http://me:hidden@host/x", "a=http://host/x"),
            ("http://me:hid/den@[::1]/x", "http://[::1]/x"),
        ] {
            assert_eq!(without_login(text), shown, "{text}");
        }
        for same in [
            "",
            "nginx",
            "nginx@sha256:00",
            "nginx:1.27@sha256:00",
            "host:5000/x@sha256:00",
            "host:5000/a/b:v1",
            "nginx@latest",
            "https://host/@types/node",
            "https://host:443/a@b/c",
            "https://[::1]/@types/node",
            "https://[::1]:443/a@b/c",
            "https://host/x?mail=a@b",
            "oci:folder/a@b",
        ] {
            assert_eq!(without_login(same), same);
        }
    }
}
