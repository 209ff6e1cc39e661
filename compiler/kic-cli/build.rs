//! A program at a fixed place: what a position-independent one adds to every address in its data, ten thousand of them, takes a
//! tenth of a compile that finds nothing changed. Go's programs are linked like that, too.

#[expect(clippy::disallowed_methods, reason = "cargo says in the environment what is built for")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
