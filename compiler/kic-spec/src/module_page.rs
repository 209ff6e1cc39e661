//! The book's page on a module of the standard library, from what the module says of itself.

use crate::evaluate::{ModuleDocumentation, ParameterDocumentation, documentation};

/// The page on the module of that name.
pub fn module_page(name: &str) -> Option<String> {
    let module = documentation(name)?;
    let mut page = format!("# `std:{name}`\n\n{}\n\n## Example\n", module.doc.trim_end());
    for example in &module.examples {
        page.push_str(&format!("\n```kdl,fragment\n{}\n```\n", example.trim_end()));
    }
    page.push_str("\n## Parameters\n\n");
    page.push_str(&parameters(&module));
    page.push_str(&format!(
        "\nThe module is [`stdlib/{name}.kdl`](https://github.com/kic-project/kic/blob/main/stdlib/{name}.kdl), in the language \
         itself: copied beside a\nspec and used by its path, it does the same. `kic std show {name}` prints this page.\n"
    ));
    Some(page)
}

fn parameters(module: &ModuleDocumentation) -> String {
    if module.parameters.is_empty() {
        return "It has none.\n".to_owned();
    }
    let mut table = String::from("| parameter | type | default | meaning |\n|---|---|---|---|\n");
    for parameter in &module.parameters {
        table.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            parameter.name,
            kind(parameter),
            default(parameter),
            parameter.doc.replace('\n', " ").replace('|', "\\|"),
        ));
    }
    table
}

fn kind(parameter: &ParameterDocumentation) -> String {
    if parameter.words.is_empty() {
        return format!("[`{}`](../reference/language.md#parameter-types)", parameter.kind);
    }
    let words: Vec<String> = parameter.words.iter().map(|word| format!("`\"{word}\"`")).collect();
    match parameter.kind.as_str() {
        "enum" => words.join(", "),
        other => format!("`{other}` of {}", words.join(", ")),
    }
}

fn default(parameter: &ParameterDocumentation) -> String {
    match &parameter.default {
        Some(default) if default.is_empty() => "nothing".to_owned(),
        Some(default) => format!("`{}`", default.replace('|', "\\|")),
        None if parameter.is_required => "required".to_owned(),
        None => "none".to_owned(),
    }
}
