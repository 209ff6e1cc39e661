//! `COPY`, `ADD`, `APP` and the downloads of `RUN`: what comes into the image.

use kic_diag::{Diagnostic, declared as code};

use super::super::copied::{Copied, Kind, is_url, join, name, plain};
use super::super::instruction::{Instruction, words};
use super::super::variables::Substituted;
use super::{APPLICATIONS, Conversion};

impl Conversion<'_> {
    pub(super) fn copy(&mut self, one: &Instruction) {
        if one.has_texts {
            self.note(
                &one.span,
                "`copy` takes no text that stands in the Kubefile",
                "write it down in a `files` layer: `text \"/etc/x.conf\" \"…\"`",
            );
            return;
        }
        let mut mode = None;
        for option in &one.options {
            match option.split_once('=') {
                Some(("from", _)) => {
                    self.note(
                        &one.span,
                        "a spec has no stages to copy from",
                        "copy the result of the other stage: put it beside the spec, or `fetch` it",
                    );
                    return;
                }
                Some(("chmod", bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    mode = Some(format!("{bits:0>4}"));
                }
                _ => self.no_option(one, option),
            }
        }
        let mut words = words(&one.rest);
        let Some(to) = words.pop().filter(|_| !words.is_empty()) else {
            self.diagnostics.push(
                Diagnostic::new(
                    &code::INVALID_KUBEFILE,
                    format!("`{}` needs a source and a target", one.name),
                )
                .at(&one.span, "it has one path")
                .help(format!("write `{} SOURCE TARGET`, such as `COPY etc .`", one.name)),
            );
            return;
        };
        let to = self.substituted(&to, &one.span);
        let Some(to) = to.known().map(str::to_owned) else {
            self.note(&one.span, "the target depends on an `ARG`", "write the path down");
            return;
        };
        let several = words.len() > 1;
        for from in words {
            let from = self.substituted(&from, &one.span);
            self.bring_in(from, &to, several, mode.clone(), one);
        }
    }

    /// One source of a `COPY`.
    fn bring_in(
        &mut self,
        from: Substituted,
        to: &str,
        several: bool,
        mode: Option<String>,
        one: &Instruction,
    ) {
        let Some(known) = from.known().map(str::to_owned) else {
            // Only the contents of a folder can be meant by all that is in it.
            let from = from.map(|text| text.strip_suffix("/*").unwrap_or(text).to_owned());
            self.parts.copies.push(Copied {
                from,
                to: plain(to),
                is_into: false,
                kind: None,
                mode,
                used: Vec::new(),
                span: one.span.clone(),
            });
            return;
        };
        let is_named = |name_of: &str| name(&plain(to)).contains('.') || name(&plain(to)) == name(name_of);
        let is_folder_target =
            |name_of: &str| to.ends_with('/') || several || plain(to).is_empty() || !is_named(name_of);
        if is_url(&known) {
            let is_into = is_folder_target(&known);
            self.push(from, to, is_into, None, mode, one);
            return;
        }
        let known = plain(&known);
        if let Some(inner) = known.strip_suffix("/*").or((known == "*").then_some("")) {
            let inner = if inner.is_empty() { "." } else { inner };
            self.push(Substituted::literal(inner), to, false, Some(Kind::Folder), mode, one);
            return;
        }
        if known.contains(['*', '?', '[']) {
            self.note(
                &one.span,
                "`copy` takes no pattern",
                "copy the folder, and leave out the rest: `exclude \"*.md\"`",
            );
            return;
        }
        let known = if known.is_empty() { ".".to_owned() } else { known };
        let kind = self.folder.kind(&known).or((known == ".").then_some(Kind::Folder));
        let is_archive =
            [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"].iter().any(|end| known.ends_with(end));
        if one.name == "ADD" && is_archive {
            self.note(
                &one.span,
                "`ADD` unpacks an archive, and `copy` does not",
                "unpack it beside the spec, and copy the folder",
            );
        }
        let folder = match kind {
            // The folder itself, and not only what is in it.
            Some(Kind::Folder) if self.is_early && known != "." => join(&plain(to), name(&known)),
            _ => to.to_owned(),
        };
        let is_into = kind != Some(Kind::Folder) && (self.is_early || is_folder_target(&known));
        self.push(Substituted::literal(known), &folder, is_into, kind, mode, one);
    }

    fn push(
        &mut self,
        from: Substituted,
        to: &str,
        is_into: bool,
        kind: Option<Kind>,
        mode: Option<String>,
        one: &Instruction,
    ) {
        let (to, span) = (plain(to), one.span.clone());
        self.parts.copies.push(Copied { from, to, is_into, kind, mode, used: Vec::new(), span });
    }

    pub(super) fn application(&mut self, one: &Instruction) {
        let mut words = words(&one.rest).into_iter();
        let Some(app) = words.next() else { return };
        if one.name != "APP" {
            let kind = one.name.to_lowercase();
            self.label(&format!("cluster.alpha.sealer.io/kube-{kind}-{app}"), "true");
        }
        let folder = format!("{APPLICATIONS}/{app}");
        for word in words {
            let path = match word.strip_prefix("local://") {
                Some(path) => plain(path),
                None if is_url(&word) => word,
                None => {
                    self.diagnostics.push(
                        Diagnostic::new(
                            &code::INVALID_KUBEFILE,
                            format!("`{word}` is no source of `{}`", one.name),
                        )
                        .at(&one.span, "this line")
                        .help("write `local://PATH`, or a URL"),
                    );
                    continue;
                }
            };
            self.applications.entry(app.clone()).or_default().paths.push(path.clone());
            let kind = self.folder.kind(&path);
            self.push(Substituted::literal(path), &folder, kind != Some(Kind::Folder), kind, None, one);
        }
    }

    pub(super) fn run_while_building(&mut self, one: &Instruction) {
        if let Some((url, to)) = download(&one.rest) {
            let url = self.substituted(&url, &one.span);
            let (to, is_into) = match to {
                Some(to) => (to, false),
                None => (String::new(), true),
            };
            self.push(url, &to, is_into, None, None, one);
            return;
        }
        self.note(
            &one.span,
            "kic runs nothing while it compiles: what a command does may differ on each run",
            "copy the result (`copy`), download it by URL and checksum (`fetch`), or run the command at the start (`run`)",
        );
    }
}

/// The URL that `wget` or `curl` fetches, and the file that it is written to.
fn download(command: &str) -> Option<(String, Option<String>)> {
    if command.contains(['|', ';', '&', '<', '>', '(', ')', '`', '\n']) {
        return None;
    }
    let all = words(command);
    let (program, rest) = all.split_first()?;
    let (mut url, mut to, mut keeps_name) = (None, None, program == "wget");
    if !matches!(program.as_str(), "wget" | "curl") {
        return None;
    }
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-O" if program == "curl" => keeps_name = true,
            "-LO" | "-fLO" | "-fsSLO" | "-sLO" | "-OL" if program == "curl" => keeps_name = true,
            "-O" | "--output-document" if program == "wget" => to = Some(plain(rest.next()?)),
            "-o" | "--output" | "-Lo" | "-fLo" | "-fsSLo" | "-sLo" if program == "curl" => {
                to = Some(plain(rest.next()?))
            }
            "-q" | "-L" | "-f" | "-s" | "-S" | "-fsSL" | "-fL" | "-sL" | "--no-check-certificate" | "-k" => {}
            word if is_url(word) && url.is_none() => url = Some(word.to_owned()),
            _ => return None,
        }
    }
    (to.is_some() || keeps_name).then_some((url?, to))
}
